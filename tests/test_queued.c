/*
 * What other threads free of a runtime in use: no event comes then; the next use takes it in, if
 * blocks may go with it.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/unit.h"
#include "support/worker.h"

#include <string.h>

/* Of so many objects of 300 KiB, a queued one is worth a look at all, or is not. */
#define FEW 200
#define MANY 400

static void free_object(void *object)
{
    (void)jsrtmem_free(object);
}

/* ---- the next use --------------------------------------------------------------------------- */

#define LOAD 4000

/* What another thread frees: one large object, or all the objects of many small blocks. */
struct load {
    size_t count, size;
    void *objects[LOAD];
    void *small; /* one more, of the class that is used meanwhile */
};

static void fill(struct load *load, JsRuntimeHandle runtime, bool large)
{
    load->count = large ? 1 : LOAD;
    load->size = large ? MIB(1) : 1000;
    load->small = new_object(runtime, 64);
    assert_ok(jsrtmem_free(new_object(runtime, 64)));
    for (size_t i = 0; i < load->count; i++) {
        load->objects[i] = new_object(runtime, load->size);
    }
}

static void free_all(void *argument)
{
    struct load *load = argument;

    for (size_t i = 0; i < load->count; i++) {
        (void)jsrtmem_free(load->objects[i]);
    }
}

struct queueing {
    struct load load;
    worker *other;
};

/* In the first event: has the other thread free all. */
static bool queue_inside(struct host *self, const struct host_event *event)
{
    struct queueing *queueing = self->context;

    (void)event;
    if (self->calls_of_hook++ == 0) {
        worker_run(queueing->other, free_all, &queueing->load);
    }
    return true;
}

static void enter(JsRuntimeHandle runtime, JsContextRef context, void *small)
{
    (void)context, (void)small;
    assert_ok(jsrtmem_enter(runtime));
}

static void make_current(JsRuntimeHandle runtime, JsContextRef context, void *small)
{
    (void)runtime, (void)small;
    assert_ok(JsSetCurrentContext(context));
}

static void alloc(JsRuntimeHandle runtime, JsContextRef context, void *small)
{
    (void)context, (void)small;
    assert_non_null(jsrtmem_alloc(runtime, 64));
}

static void resize(JsRuntimeHandle runtime, JsContextRef context, void *small)
{
    (void)context;
    assert_non_null(jsrtmem_realloc(runtime, small, 50));
}

static void free_one(JsRuntimeHandle runtime, JsContextRef context, void *small)
{
    (void)runtime, (void)context;
    assert_ok(jsrtmem_free(small));
}

/* The frees are queued while a call that did not enter is inside a callback. */
static void any_use_without_entering_takes_them_in(void **state)
{
    static void (*const uses[])(JsRuntimeHandle, JsContextRef, void *) = {
        enter, make_current, alloc, resize, free_one,
    };
    static struct queueing queueing;
    queueing.other = worker_start();

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(uses); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        JsContextRef context = new_context(runtime);
        fill(&queueing.load, runtime, i % 2 == 0);
        host_clear(&host);
        host_set_hook(&host, queue_inside, &queueing);
        (void)new_object(runtime, MIB(2));
        assert_trace(&host, "A");
        size_t usage = usage_of(runtime);
        uses[i / 2](runtime, context, queueing.load.small);
        require(usage_of(runtime) <= usage - MIB(1), "use %zu: nothing was taken in", i);
        for (size_t k = 1; k < host.count; k++) {
            assert_int_equal(host.events[k].type, JsMemoryFree);
            assert_int_equal(host.events[k].thread, thread_number());
        }
        assert_balanced(&host);
        (void)jsrtmem_leave(runtime); /* if it was entered */
        assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
        dispose(runtime);
        assert_all_freed(&host);
    }
    worker_stop(queueing.other);
}

enum way_out { LEAVE, CONTEXT_TO_NONE, CONTEXT_TO_OTHER, WAYS_OUT };

static JsErrorCode go_out(enum way_out way, JsRuntimeHandle runtime, JsContextRef other)
{
    return way == LEAVE             ? jsrtmem_leave(runtime)
           : way == CONTEXT_TO_NONE ? JsSetCurrentContext(JS_INVALID_REFERENCE)
                                    : JsSetCurrentContext(other);
}

static void leaving_takes_them_in(void **state)
{
    static struct load load;
    worker *other = worker_start();
    JsRuntimeHandle elsewhere = new_runtime();
    JsContextRef context_elsewhere = new_context(elsewhere);

    (void)state;
    for (int i = 0; i < 2 * WAYS_OUT; i++) {
        enum way_out way = (enum way_out)(i / 2);
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        assert_ok(way == LEAVE ? jsrtmem_enter(runtime)
                               : JsSetCurrentContext(new_context(runtime)));
        fill(&load, runtime, i % 2 == 0);
        size_t usage = usage_of(runtime);
        host_clear(&host);
        worker_run(other, free_all, &load);
        for (int k = 0; k < 100; k++) { /* the fast path does not look */
            assert_ok(jsrtmem_free(new_object(runtime, 64)));
        }
        assert_trace(&host, "");
        assert_ok(go_out(way, runtime, context_elsewhere));
        require(usage_of(runtime) <= usage - MIB(1), "way %d: nothing was taken in", i);
        assert_int_equal(host_count_of(&host, JsMemoryFree), host.count);
        assert_int_equal(host.events[0].thread, thread_number());
        assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
        assert_balanced(&host);
        dispose(runtime);
        assert_all_freed(&host);
    }
    dispose(elsewhere);
    worker_stop(other);
}

/* ---- what callbacks do to contexts ----------------------------------------------------------- */

struct swap {
    JsContextRef doomed;   /* is destroyed in the first Free event, */
    JsRuntimeHandle third; /* and a context of this one is made current */
    JsContextRef current;
};

static bool swap_contexts(struct host *self, const struct host_event *event)
{
    struct swap *swap = self->context;

    if (event->type == JsMemoryFree && self->calls_of_hook++ == 0) {
        bool done = JsRelease(swap->doomed, NULL) == JsNoError &&
                    JsCreateContext(swap->third, &swap->current) == JsNoError &&
                    JsSetCurrentContext(swap->current) == JsNoError;
        self->fault = done ? self->fault : "swap";
        self->faults += !done;
    }
    return true;
}

/* The context that is to become current is looked up again after the callbacks: a new one may have
 * its place. */
static void the_context_may_be_gone_when_its_callbacks_return(void **state)
{
    static struct queueing queueing;
    struct swap swap = {.third = new_runtime()};
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    queueing.other = worker_start();
    swap.doomed = new_context(runtime);
    assert_ok(JsAddRef(swap.doomed, NULL));
    fill(&queueing.load, runtime, true);
    host_set_hook(&host, queue_inside, &queueing);
    (void)new_object(runtime, MIB(2));
    host_set_hook(&host, swap_contexts, &swap);
    assert_code(JsSetCurrentContext(swap.doomed), JsErrorInvalidArgument);
    assert_ptr_equal(current_context(), swap.current);
    assert_ptr_equal(jsrtmem_current(), swap.third);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
    dispose(swap.third);
    worker_stop(queueing.other);
}

/* ---- the host, meanwhile -------------------------------------------------------------------- */

static bool enter_another(struct host *self, const struct host_event *event)
{
    (void)event;
    if (jsrtmem_enter(*(JsRuntimeHandle *)self->context) != JsNoError) {
        self->faults++;
        self->fault = "enter";
    }
    return true;
}

/* A runtime that this thread is inside of, and is to leave in one of the ways. */
struct stay {
    enum way_out way;
    struct host host;
    JsRuntimeHandle runtime, another;
    JsContextRef elsewhere; /* a context of `another` */
};

/* Goes in. Another thread frees a large object meanwhile. */
static void go_in(struct stay *stay, worker *other, host_hook hook)
{
    stay->runtime = host_new_runtime(&stay->host);
    stay->another = new_runtime();
    stay->elsewhere = new_context(stay->another);
    assert_ok(stay->way == LEAVE ? jsrtmem_enter(stay->runtime)
                                 : JsSetCurrentContext(new_context(stay->runtime)));
    worker_run(other, free_object, new_object(stay->runtime, MIB(1)));
    host_set_hook(&stay->host, hook, &stay->another);
}

/* Still inside: goes out, and disposes. */
static void end_stay(struct stay *stay)
{
    assert_ptr_equal(jsrtmem_current(), stay->runtime);
    assert_ok(go_out(stay->way, stay->runtime, stay->elsewhere));
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    assert_null(jsrtmem_current());
    assert_int_equal(usage_of(stay->runtime), 0);
    assert_balanced(&stay->host);
    dispose(stay->runtime);
    assert_all_freed(&stay->host);
    dispose(stay->another);
}

static void another_runtime_may_be_entered_meanwhile(void **state)
{
    worker *other = worker_start();
    struct stay stay;

    (void)state;
    for (stay.way = LEAVE; stay.way < WAYS_OUT; stay.way++) {
        go_in(&stay, other, enter_another);
        assert_code(go_out(stay.way, stay.runtime, stay.elsewhere),
                    stay.way == LEAVE ? JsErrorInvalidArgument : JsErrorRuntimeInUse);
        assert_ptr_equal(jsrtmem_current(), stay.another);
        assert_ok(jsrtmem_leave(stay.another));
        end_stay(&stay);
    }
    worker_stop(other);
}

static jmp_buf beyond;

static bool jump(struct host *self, const struct host_event *event)
{
    (void)event;
    if (self->calls_of_hook++ == 0) {
        host_left(self);
        longjmp(beyond, 1);
    }
    return true;
}

static __attribute__((noinline)) bool is_left_by_jump(const struct stay *stay)
{
    if (setjmp(beyond) == 0) {
        (void)go_out(stay->way, stay->runtime, stay->elsewhere);
        return false;
    }
    return true;
}

static void a_runtime_stays_entered_if_its_callback_jumps_out(void **state)
{
    worker *other = worker_start();
    struct stay stay;

    (void)state;
    for (stay.way = LEAVE; stay.way < WAYS_OUT; stay.way++) {
        go_in(&stay, other, jump);
        assert_true(is_left_by_jump(&stay));
        assert_ok(jsrtmem_abandon(stay.runtime));
        end_stay(&stay);
    }
    worker_stop(other);
}

/* ---- when it is worth a look ---------------------------------------------------------------- */

/* The last objects of a small block are its owner's and another thread's. Whichever of them proves
 * the block not empty: once both are freed, the block goes when the runtime is left. */
static void a_block_goes_that_both_have_emptied(void **state)
{
    enum { LAST = 4 }; /* the first block has room for one of them, the second one for three */
    worker *other = worker_start();

    (void)state;
    for (size_t k = 1; k < LAST; k++) {
        JsRuntimeHandle runtime = new_runtime();
        void *objects[LAST];
        assert_ok(jsrtmem_enter(runtime));
        for (size_t i = 0; i < LAST; i++) {
            objects[i] = new_object(runtime, 30000);
        }
        assert_int_equal(stats_of(runtime).blocks, 2);
        worker_run(other, free_object, objects[k]);
        for (size_t i = 0; i < LAST; i++) {
            assert_ok(i == k ? JsNoError : jsrtmem_free(objects[i]));
        }
        assert_ok(jsrtmem_leave(runtime));
        assert_int_equal(stats_of(runtime).live_objects, 0);
        assert_int_equal(stats_of(runtime).blocks, 1); /* one is kept */
        dispose(runtime);
    }
    worker_stop(other);
}

/* Queued objects are taken in before the runtime grows: it never holds much more than its live
 * objects. */
static void large_objects_that_others_free_are_taken_in(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    worker *other = worker_start();

    (void)state;
    for (int live = 1; live <= 64; live *= 8) {
        for (int i = 1; i < live; i++) {
            (void)new_object(runtime, MIB(1));
        }
        assert_ok(jsrtmem_enter(runtime));
        size_t usage = usage_of(runtime);
        for (int i = 0; i < 100; i++) {
            worker_run(other, free_object, new_object(runtime, MIB(1)));
            assert_in_range(usage_of(runtime), usage, usage + usage / 8 + MIB(3));
        }
        assert_ok(jsrtmem_leave(runtime));
    }
    dispose(runtime);
    worker_stop(other);
}

/* A runtime with few large objects takes a queued one in at its next use, because the search is
 * cheap. With many, a collect takes it in. */
static void one_large_object_is_taken_in_by_the_next_use_of_few(void **state)
{
    static const int counts[] = {FEW, MANY};
    static void *objects[MANY];
    worker *other = worker_start();

    (void)state;
    for (size_t k = 0; k < COUNT_OF(counts); k++) {
        JsRuntimeHandle runtime = new_runtime();
        assert_ok(jsrtmem_enter(runtime));
        for (int i = 0; i < counts[k]; i++) {
            objects[i] = new_object(runtime, KIB(300));
        }
        size_t usage = usage_of(runtime);
        size_t block = usage / (size_t)counts[k];
        worker_run(other, free_object, objects[0]);
        assert_int_equal(usage_of(runtime), usage);
        assert_ok(jsrtmem_free(objects[1]));
        assert_int_equal(usage_of(runtime), usage - (counts[k] == FEW ? 2 : 1) * block);
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), usage - 2 * block);
        assert_ok(jsrtmem_leave(runtime));
        dispose(runtime);
    }
    worker_stop(other);
}

/* What was taken in does not add up with what is queued later. */
static void what_was_taken_in_counts_no_more(void **state)
{
    static void *objects[MANY];
    JsRuntimeHandle runtime = new_runtime();
    worker *other = worker_start();

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (int i = 0; i < MANY; i++) {
        objects[i] = new_object(runtime, KIB(300));
    }
    size_t block = usage_of(runtime) / MANY;
    worker_run(other, free_object, objects[0]);
    worker_run(other, free_object, objects[1]);
    assert_ok(jsrtmem_leave(runtime));
    assert_int_equal(usage_of(runtime), (MANY - 2) * block);
    assert_ok(jsrtmem_enter(runtime));
    worker_run(other, free_object, objects[2]);
    assert_ok(jsrtmem_leave(runtime));
    assert_int_equal(usage_of(runtime), (MANY - 2) * block);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), (MANY - 3) * block);
    dispose(runtime);
    worker_stop(other);
}

/* A queued amount that was small may be large once the owner has freed most of the rest. Then it is
 * taken in. */
static void what_is_much_by_now_is_taken_in(void **state)
{
    enum { OBJECTS = MANY, FREED = MANY - FEW };
    static void *objects[OBJECTS];
    JsRuntimeHandle runtime = new_runtime();
    worker *other = worker_start();

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (int i = 0; i < OBJECTS; i++) {
        objects[i] = new_object(runtime, KIB(300));
    }
    size_t block = usage_of(runtime) / OBJECTS;
    worker_run(other, free_object, objects[0]);
    assert_ok(jsrtmem_free(objects[1]));
    assert_int_equal(usage_of(runtime), (OBJECTS - 1) * block);
    for (int i = 2; i <= FREED; i++) {
        assert_ok(jsrtmem_free(objects[i]));
    }
    assert_int_equal(usage_of(runtime), (OBJECTS - FREED - 1) * block);
    assert_ok(jsrtmem_leave(runtime));
    dispose(runtime);
    worker_stop(other);
}

/* A block that is empty after its frees were taken in is given back by the same call. */
static void blocks_that_others_empty_go(void **state)
{
    enum { OBJECTS = 4000 };
    static void *objects[OBJECTS];
    JsRuntimeHandle runtime = new_runtime();
    worker *other = worker_start();

    (void)state;
    for (int use = 0; use < 3; use++) {
        assert_ok(jsrtmem_enter(runtime));
        for (int i = 0; i < OBJECTS; i++) {
            objects[i] = new_object(runtime, 1000);
        }
        for (int i = 1; i < OBJECTS; i++) {
            worker_run(other, free_object, objects[i]);
        }
        void *object = use == 0   ? jsrtmem_aligned_alloc(runtime, 4096, 100000)
                       : use == 1 ? jsrtmem_realloc(runtime, objects[0], 250000)
                                  : jsrtmem_alloc(runtime, 300000);
        assert_non_null(object);
        assert_true(usage_of(runtime) < MIB(1));
        assert_ok(jsrtmem_leave(runtime));
        assert_ok(jsrtmem_free(object));
        (void)jsrtmem_free(use == 1 ? NULL : objects[0]);
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
    }
    dispose(runtime);
    worker_stop(other);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_use_without_entering_takes_them_in),
        cmocka_unit_test(leaving_takes_them_in),
        cmocka_unit_test(the_context_may_be_gone_when_its_callbacks_return),
        cmocka_unit_test(another_runtime_may_be_entered_meanwhile),
        cmocka_unit_test(a_runtime_stays_entered_if_its_callback_jumps_out),
        cmocka_unit_test(a_block_goes_that_both_have_emptied),
        cmocka_unit_test(large_objects_that_others_free_are_taken_in),
        cmocka_unit_test(one_large_object_is_taken_in_by_the_next_use_of_few),
        cmocka_unit_test(what_was_taken_in_counts_no_more),
        cmocka_unit_test(what_is_much_by_now_is_taken_in),
        cmocka_unit_test(blocks_that_others_empty_go),
    };

    return cmocka_run_group_tests_name("queued", tests, NULL, NULL);
}
