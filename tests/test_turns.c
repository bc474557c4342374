/*
 * A thread that waits for a runtime gets the next turn: another thread that uses the runtime
 * without entering it, call after call, keeps nobody out.
 */
#include "support/rig.h"
#include "support/worker.h"

#include "entry.h"

#include <sched.h>

static struct jm_runtime *runtime_of(JsRuntimeHandle runtime)
{
    return jm_runtime_at(jm_runtime_find(runtime));
}

/* ---- Order ---- */

static worker *other;

/* The threads that were granted blocks, in order: M is the main thread, O the other. */
static struct {
    JsRuntimeHandle runtime;
    char order[8];
    size_t count;
    bool waits; /* the other thread must come while the main one is asked */
    void (*come)(void *);
} turns;

static void alloc_there(void *unused)
{
    (void)unused;
    (void)jsrtmem_alloc(turns.runtime, MIB(1));
}

static void enter_there(void *unused)
{
    (void)unused;
    if (jsrtmem_enter(turns.runtime) == JsNoError) {
        (void)jsrtmem_alloc(turns.runtime, MIB(1));
        (void)jsrtmem_leave(turns.runtime);
    }
}

static bool CHAKRA_CALLBACK note_turn(void *state, JsMemoryEventType event, size_t size)
{
    (void)size;
    if (event == JsMemoryAllocate) {
        bool is_main = jm_thread.id == *(jm_thread_id *)state;
        turns.order[turns.count++] = is_main ? 'M' : 'O';
        if (is_main && turns.waits) {
            turns.waits = false;
            worker_post(other, turns.come, NULL);
            while (!jm_runtime_is_wanted(runtime_of(turns.runtime))) {
                (void)sched_yield();
            }
        }
    }
    return true;
}

/* The other thread comes while the main one is asked for its first block. */
static void take_turns(void (*come)(void *))
{
    static jm_thread_id main_thread;
    memset(&turns, 0, sizeof turns);
    turns.runtime = new_runtime();
    main_thread = jm_thread.id;
    turns.come = come;
    turns.waits = true;
    assert_ok(JsSetRuntimeMemoryAllocationCallback(turns.runtime, &main_thread, note_turn));
    void *first = jsrtmem_alloc(turns.runtime, MIB(1));
    void *second = jsrtmem_alloc(turns.runtime, MIB(1));           /* after the waiting one */
    for (int tries = 0; second == NULL && tries < 1000; tries++) { /* which may have entered */
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_THREAD);
        worker_wait(other);
        second = jsrtmem_alloc(turns.runtime, MIB(1));
    }
    worker_wait(other);
    assert_non_null(first);
    assert_non_null(second);
    assert_false(jm_runtime_is_wanted(runtime_of(turns.runtime)));
    assert_ok(JsSetRuntimeMemoryAllocationCallback(turns.runtime, NULL, NULL));
    dispose(turns.runtime);
}

/* The waiting thread is next, unless it gets no processor for so long that it loses its turn. So a
 * few tries are allowed, more than a busy machine needs. */
static void who_waits_is_next(void **state)
{
    void (*const ways[])(void *) = {alloc_there, enter_there};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        for (int tries = 0; tries < 50 && strcmp(turns.order, "MOM") != 0; tries++) {
            take_turns(ways[i]);
        }
        assert_string_equal(turns.order, "MOM");
        turns.order[0] = '\0';
    }
}

/* ---- Turns of others ---- */

static void note_thread(void *id)
{
    *(jm_thread_id *)id = jsrtmem_usable_size(NULL) == 0 ? jm_thread.id : 0;
}

/* A free does not wait for its turn: it is queued for the next user. */
static void a_free_goes_past_who_waits(void **state)
{
    jm_thread_id waiting = 0;
    JsRuntimeHandle runtime = new_runtime();
    void *objects[] = {new_object(runtime, 100), new_object(runtime, 100),
                       new_object(runtime, MIB(1))};

    (void)state;
    worker_run(other, alloc_there, NULL); /* gives the thread an id */
    worker_run(other, note_thread, &waiting);
    assert_true(waiting != 0 && waiting != jm_thread.id);
    jm_store_relaxed(&runtime_of(runtime)->next_turn, waiting);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(jsrtmem_free(objects[i]));
        assert_code(jsrtmem_free(objects[i]), JsErrorInvalidArgument);
    }
    jm_store_relaxed(&runtime_of(runtime)->next_turn, 0);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    dispose(runtime);
}

/* A thread that has the turn may have left its call by a jump. Others wait for a while, not for
 * ever. */
static void a_turn_that_is_not_taken_is_lost(void **state)
{
    jm_thread_id waiting = 0;
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    worker_run(other, note_thread, &waiting);
    jm_store_relaxed(&runtime_of(runtime)->next_turn, waiting);
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_false(jm_runtime_is_wanted(runtime_of(runtime)));
    dispose(runtime);
}

static bool CHAKRA_CALLBACK use_the_other(void *state, JsMemoryEventType event, size_t size)
{
    (void)size;
    return event != JsMemoryAllocate || jsrtmem_alloc(state, 100) != NULL;
}

/* No call waits inside a callback: a runtime that nobody uses serves it at once. */
static void who_is_in_a_callback_goes_first(void **state)
{
    jm_thread_id waiting = 0;
    JsRuntimeHandle runtime = new_runtime();
    JsRuntimeHandle other_runtime = new_runtime();

    (void)state;
    worker_run(other, note_thread, &waiting);
    jm_store_relaxed(&runtime_of(other_runtime)->next_turn, waiting);
    assert_ok(JsSetRuntimeMemoryAllocationCallback(runtime, other_runtime, use_the_other));
    assert_non_null(jsrtmem_alloc(runtime, MIB(1)));
    jm_store_relaxed(&runtime_of(other_runtime)->next_turn, 0);
    dispose(runtime);
    dispose(other_runtime);
}

/* As after a fork, when the other threads are gone. */
static void the_turn_of_a_thread_that_is_gone_is_anybodys(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    jm_thread_id gone = jm_thread.id ^ (jm_thread_id)1 << 62;

    (void)state;
    assert_true(jm_thread_is_gone(gone));
    void *large = new_object(runtime, MIB(1));
    jm_store_relaxed(&runtime_of(runtime)->next_turn, gone);
    assert_ok(jsrtmem_free(large));
    assert_int_equal(usage_of(runtime), 0); /* it was not queued for another thread */
    void *object = new_object(runtime, 100);
    assert_false(jm_runtime_is_wanted(runtime_of(runtime)));
    jm_store_relaxed(&runtime_of(runtime)->next_turn, gone);
    assert_ok(jsrtmem_enter(runtime));
    assert_ok(jsrtmem_free(object));
    assert_ok(jsrtmem_leave(runtime));
    assert_false(jm_runtime_is_wanted(runtime_of(runtime)));
    jm_store_relaxed(&runtime_of(runtime)->next_turn, gone);
    dispose(runtime);
}

static int start(void **state)
{
    (void)state;
    other = worker_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    worker_stop(other);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_next),
        cmocka_unit_test(a_free_goes_past_who_waits),
        cmocka_unit_test(a_turn_that_is_not_taken_is_lost),
        cmocka_unit_test(who_is_in_a_callback_goes_first),
        cmocka_unit_test(the_turn_of_a_thread_that_is_gone_is_anybodys),
    };

    return cmocka_run_group_tests_name("turns", tests, start, stop);
}
