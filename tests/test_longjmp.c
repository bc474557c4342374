/*
 * Callbacks that are left by longjmp: nothing is lost, and the runtime works again at once from a
 * shallower frame, after jsrtmem_abandon, or after the thread has exited.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

/* ---- leaving -------------------------------------------------------------------------------- */

/* Leaves an event of `type` by longjmp, after `skip` others of that type. */
struct escape {
    JsMemoryEventType type;
    size_t skip;
    size_t left; /* how many events were left */
};

/* Each thread's target of longjmp. */
static _Thread_local jmp_buf way_out;

static bool leave_by_longjmp(struct host *self, const struct host_event *event)
{
    struct escape *escape = self->context;

    if (event->type == escape->type && self->calls_of_hook++ == escape->skip) {
        escape->left++;
        host_left(self);
        longjmp(way_out, 1);
    }
    return !self->refuse;
}

typedef void (*body)(void *argument);

/* Calls the function at `depth` + 1 frames of 8 KiB below the caller. */
static __attribute__((noinline)) void call_at_depth(body function, void *argument, size_t depth)
{
    volatile char pad[8192];

    pad[0] = (char)depth;
    if (depth > 0) {
        call_at_depth(function, argument, depth - 1);
    } else {
        function(argument);
    }
    pad[1] = pad[0];
}

/* Calls the function some frames below. True if it was left by longjmp. */
static __attribute__((noinline)) bool is_left(body function, void *argument)
{
    if (setjmp(way_out) == 0) {
        call_at_depth(function, argument, 1);
        return false;
    }
    return true;
}

/* Far below the frames of is_left, so that the stack does not show that a callback was left. */
static void call_far_below(body function, void *argument)
{
    call_at_depth(function, argument, 20);
}

/* ---- what is left --------------------------------------------------------------------------- */

struct request {
    JsRuntimeHandle runtime;
    size_t size;
    void *object;
};

static void do_alloc(void *argument)
{
    struct request *request = argument;

    request->object = jsrtmem_alloc(request->runtime, request->size);
}

static void do_calloc(void *argument)
{
    struct request *request = argument;

    request->object = jsrtmem_calloc(request->runtime, 1, request->size);
}

static void do_aligned_alloc(void *argument)
{
    struct request *request = argument;

    request->object = jsrtmem_aligned_alloc(request->runtime, 4096, request->size);
}

static void do_realloc(void *argument)
{
    struct request *request = argument;

    request->object = jsrtmem_realloc(request->runtime, request->object, request->size);
}

static void do_free(void *argument)
{
    (void)jsrtmem_free(((struct request *)argument)->object);
}

static void do_collect(void *argument)
{
    (void)JsCollectGarbage(((struct request *)argument)->runtime);
}

static void do_dispose(void *argument)
{
    (void)JsDisposeRuntime(((struct request *)argument)->runtime);
}

/* Checks that the runtime grants, frees and collects, that another thread can enter it, and that
 * nothing is lost. */
static void check_works(struct host *host, JsRuntimeHandle runtime)
{
    worker *other = worker_start();
    void *small = new_object(runtime, 100);
    void *large = new_object(runtime, MIB(3));

    pattern_fill(small, 100, 1);
    assert_balanced(host);
    assert_ok(jsrtmem_free(large));
    assert_true(pattern_holds(small, 100, 1));
    assert_ok(jsrtmem_free(small));
    assert_ok(JsCollectGarbage(runtime));
    assert_balanced(host);
    assert_ok(worker_do(other, call_enter, runtime, NULL));
    assert_ok(worker_do(other, call_leave, runtime, NULL));
    (void)new_context(runtime);
    worker_stop(other);
}

static void end(struct host *host, JsRuntimeHandle runtime)
{
    host_set_hook(host, NULL, NULL);
    host->refuse = false;
    dispose(runtime);
    assert_all_freed(host);
}

/* ---- Allocate and Failure ------------------------------------------------------------------- */

static void allocate_left_by_every_request(void **state)
{
    body requests[] = {do_alloc, do_calloc, do_aligned_alloc, do_realloc};
    size_t sizes[] = {10, 5000, MIB(1)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(requests) * COUNT_OF(sizes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = JsMemoryAllocate};
        struct request request = {runtime, sizes[i / COUNT_OF(requests)], NULL};

        host_set_hook(&host, leave_by_longjmp, &escape);
        assert_true(is_left(requests[i % COUNT_OF(requests)], &request));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_HOST);
        assert_ptr_equal(last_refusal().runtime, runtime);
        assert_int_equal(last_refusal().requested, request.size);
        assert_int_equal(usage_of(runtime), 0);
        assert_trace(&host, "A"); /* asked, but never answered */
        check_works(&host, runtime);
        assert_int_equal(stats_of(runtime).live_objects, 0);
        assert_int_equal(usage_of(runtime), 0);
        end(&host, runtime);
    }
}

static void allocate_left_while_growing_keeps_the_object(void **state)
{
    size_t sizes[] = {100, 5000, KIB(200), MIB(4)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = JsMemoryAllocate};
        struct request request = {runtime, MIB(30), new_object(runtime, sizes[i])};
        unsigned char *object = request.object;

        pattern_fill(object, sizes[i], i);
        host_set_hook(&host, leave_by_longjmp, &escape);
        assert_true(is_left(do_realloc, &request));
        assert_ptr_equal(request.object, object);
        assert_true(pattern_holds(object, sizes[i], i));
        assert_true(jsrtmem_usable_size(object) >= sizes[i]);
        object = jsrtmem_realloc(runtime, object, MIB(30));
        assert_non_null(object);
        assert_true(pattern_holds(object, sizes[i], i));
        assert_ok(jsrtmem_free(object));
        check_works(&host, runtime);
        end(&host, runtime);
    }
}

static void failure_left_after_every_cause(void **state)
{
    (void)state;
    for (int by_limit = 0; by_limit < 2; by_limit++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = JsMemoryFailure};
        struct request request = {runtime, MIB(1), NULL};

        host_set_hook(&host, leave_by_longjmp, &escape);
        host.refuse = !by_limit;
        assert_ok(JsSetRuntimeMemoryLimit(runtime, by_limit ? 0 : SIZE_MAX));
        assert_null(jsrtmem_aligned_alloc(runtime, 3, 77)); /* an earlier refusal, to be replaced */
        assert_true(is_left(do_alloc, &request));
        assert_int_equal(last_reason(), by_limit ? JSRTMEM_REFUSAL_LIMIT : JSRTMEM_REFUSAL_HOST);
        assert_int_equal(last_refusal().requested, MIB(1));
        assert_trace(&host, by_limit ? "X" : "VX");
        assert_int_equal(usage_of(runtime), 0);
        host.refuse = false;
        assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
        check_works(&host, runtime);
        end(&host, runtime);
    }
}

static void left_again_and_again(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct request request = {runtime, MIB(1), NULL};
    void *keep = new_object(runtime, 5000);
    size_t usage = usage_of(runtime);

    (void)state;
    pattern_fill(keep, 5000, 2);
    struct escape escape = {.type = JsMemoryAllocate};
    for (size_t i = 0; i < 500; i++) {
        host_clear(&host);
        host_set_hook(&host, leave_by_longjmp, &escape);
        assert_true(is_left(do_alloc, &request));
        assert_int_equal(escape.left, i + 1);
        assert_int_equal(usage_of(runtime), usage);
    }
    assert_true(pattern_holds(keep, 5000, 2));
    assert_balanced(&host);
    check_works(&host, runtime);
    assert_ok(jsrtmem_free(keep));
    end(&host, runtime);
}

static void left_while_entered_and_with_a_context(void **state)
{
    (void)state;
    for (int by_context = 0; by_context < 2; by_context++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        JsContextRef context = new_context(runtime);
        struct escape escape = {.type = JsMemoryAllocate};
        struct request request = {runtime, MIB(1), NULL};

        assert_ok(by_context ? JsSetCurrentContext(context) : jsrtmem_enter(runtime));
        host_set_hook(&host, leave_by_longjmp, &escape);
        assert_true(is_left(do_alloc, &request));
        assert_non_null(jsrtmem_alloc(runtime, 100));
        assert_code(JsDisposeRuntime(runtime), JsErrorRuntimeInUse);
        assert_ptr_equal(current_context(), by_context ? context : NULL);
        assert_ok(by_context ? JsSetCurrentContext(NULL) : jsrtmem_leave(runtime));
        check_works(&host, runtime);
        end(&host, runtime);
    }
}

/* ---- Free, before-collect, dispose ---------------------------------------------------------- */

/* Objects in blocks of their own. The request frees the first one, or collects after the others
 * were freed. */
static void free_left(body function, size_t skip)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct escape escape = {.type = JsMemoryFree, .skip = skip};
    struct request request = {runtime, KIB(50), NULL};
    void *objects[4];

    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, MIB(2));
    }
    request.object = objects[0];
    pattern_fill(request.object, KIB(50), 3);
    /* One empty block may be kept without an event. */
    for (size_t i = 1; i < (function == do_collect ? COUNT_OF(objects) : 2); i++) {
        assert_ok(jsrtmem_free(objects[i]));
    }
    host_set_hook(&host, leave_by_longjmp, &escape);
    bool left = is_left(function, &request);
    assert_int_equal(left, escape.left);
    host_set_hook(&host, NULL, NULL);
    assert_balanced(&host);
    check_works(&host, runtime);
    if (function == do_free) {
        assert_code(jsrtmem_free(objects[0]), JsErrorInvalidArgument);
    }
    end(&host, runtime);
}

static void free_left_by_free_and_collect(void **state)
{
    (void)state;
    for (size_t skip = 0; skip < 4; skip++) {
        free_left(do_free, skip);
        free_left(do_collect, skip);
    }
}

/* The event that is left may report pages that a shrinking object gave back. The object must exist,
 * in its old or its new place. */
static void free_left_by_a_shrinking_realloc(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct escape escape = {.type = JsMemoryFree};
    struct request request = {runtime, MIB(1), new_object(runtime, MIB(64))};
    void *object = request.object;

    (void)state;
    host_set_hook(&host, leave_by_longjmp, &escape);
    bool left = is_left(do_realloc, &request);
    assert_int_equal(left, escape.left);
    host_set_hook(&host, NULL, NULL);
    assert_balanced(&host);
    if (left && jsrtmem_usable_size(object) != 0) {
        assert_ok(jsrtmem_free(object));
    }
    check_works(&host, runtime);
    end(&host, runtime);
}

static unsigned collects_left;

static void CHAKRA_CALLBACK leave_collect(void *state)
{
    if (state != NULL && collects_left++ == 0) {
        longjmp(way_out, 1);
    }
}

static void before_collect_left(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct request request = {runtime, 0, NULL};

    (void)state;
    collects_left = 0;
    assert_ok(jsrtmem_free(new_object(runtime, MIB(1))));
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, &host, leave_collect));
    assert_true(is_left(do_collect, &request));
    assert_int_equal(collects_left, 1);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(collects_left, 2);
    assert_int_equal(usage_of(runtime), 0);
    check_works(&host, runtime);
    end(&host, runtime);
}

static void before_collect_left_and_disposed_at_once(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct request request = {runtime, 0, NULL};

    (void)state;
    collects_left = 0;
    (void)new_object(runtime, MIB(1));
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, &host, leave_collect));
    assert_true(is_left(do_collect, &request));
    end(&host, runtime);
}

static void dispose_left_is_finished_by_the_next(void **state)
{
    (void)state;
    for (size_t skip = 0; skip < 6; skip++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = JsMemoryFree, .skip = skip};
        struct request request = {runtime, 0, NULL};

        for (size_t i = 0; i < 4; i++) {
            (void)new_object(runtime, MIB(1));
            (void)new_object(runtime, 100);
        }
        host_set_hook(&host, leave_by_longjmp, &escape);
        if (is_left(do_dispose, &request)) {
            assert_ok(JsDisposeRuntime(runtime));
        }
        assert_code(JsDisposeRuntime(runtime), JsErrorInvalidArgument);
        assert_all_freed(&host);
    }
}

static void dispose_left_at_every_event_is_finished_in_the_end(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct escape escape = {.type = JsMemoryFree};
    struct request request = {runtime, 0, NULL};
    size_t left = 0;

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        (void)new_object(runtime, MIB(1));
    }
    host_set_hook(&host, leave_by_longjmp, &escape);
    while (left < 100 && is_left(do_dispose, &request)) {
        left++;
        host.calls_of_hook = 0;
    }
    assert_true(left >= 6 && left < 100);
    assert_code(JsDisposeRuntime(runtime), JsErrorInvalidArgument);
    assert_all_freed(&host);
}

/* A free in a runtime whose dispose was left leaves the block to the next dispose. No event comes
 * before that. */
static void objects_of_a_dispose_that_was_left_can_be_freed(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct escape escape = {.type = JsMemoryFree};
    struct request request = {runtime, 0, NULL};
    void *objects[4];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, MIB(1));
    }
    host_set_hook(&host, leave_by_longjmp, &escape);
    assert_true(is_left(do_dispose, &request));
    size_t events = host.count;
    size_t freed = 0;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        freed += jsrtmem_free(objects[i]) == JsNoError;
        assert_code(jsrtmem_free(objects[i]), JsErrorInvalidArgument);
    }
    assert_int_equal(freed, COUNT_OF(objects) - 1); /* one was freed before the jump */
    assert_int_equal(host.count, events);
    assert_null(jsrtmem_alloc(runtime, 1));
    assert_ok(JsDisposeRuntime(runtime));
    assert_all_freed(&host);
}

/* ---- the stack does not show it ------------------------------------------------------------- */

struct abandoned {
    JsRuntimeHandle runtime;
    bool abandon;
    JsErrorCode abandoned, freed, collected;
    void *to_free, *object;
};

static void use_far_below(void *argument)
{
    struct abandoned *self = argument;

    if (self->abandon) {
        self->abandoned = jsrtmem_abandon(self->runtime);
        self->collected = JsCollectGarbage(self->runtime);
        self->object = jsrtmem_alloc(self->runtime, MIB(1));
    }
    self->freed = jsrtmem_free(self->to_free);
}

static void abandon_makes_the_runtime_usable_from_any_depth(void **state)
{
    JsMemoryEventType types[] = {JsMemoryAllocate, JsMemoryFailure};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = types[i]};
        struct request request = {runtime, MIB(1), NULL};
        struct abandoned use = {.runtime = runtime, .abandon = true};

        use.to_free = new_object(runtime, MIB(2));
        host_set_hook(&host, leave_by_longjmp, &escape);
        host.refuse = types[i] == JsMemoryFailure;
        assert_true(is_left(do_alloc, &request));
        host.refuse = false;
        call_far_below(use_far_below, &use);
        assert_ok(use.abandoned);
        assert_ok(use.collected);
        assert_ok(use.freed);
        assert_non_null(use.object);
        assert_balanced(&host);
        check_works(&host, runtime);
        end(&host, runtime);
    }
}

static void CHAKRA_CALLBACK note_collect(void *state)
{
    (void)state;
}

/* The callback is found even if the runtime has a before-collect callback, too. */
static void abandon_finds_the_callback_that_was_left(void **state)
{
    (void)state;
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct escape escape = {.type = JsMemoryAllocate};
    struct request request = {runtime, MIB(1), NULL};
    struct abandoned use = {.runtime = runtime, .abandon = true};

    use.to_free = new_object(runtime, MIB(2));
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, NULL, note_collect));
    host_set_hook(&host, leave_by_longjmp, &escape);
    assert_true(is_left(do_alloc, &request));
    call_far_below(use_far_below, &use);
    assert_ok(use.abandoned);
    assert_ok(use.collected);
    assert_ok(use.freed);
    assert_non_null(use.object);
    check_works(&host, runtime);
    end(&host, runtime);
}

/* Calls a function that is left, then the next one from the same frame. In a build without
 * optimisation, the library then looks from deeper in the stack than it called the host. */
static __attribute__((noinline)) bool is_left_before(body function, void *argument, body next,
                                                     void *next_argument)
{
    if (setjmp(way_out) == 0) {
        function(argument);
        return false;
    }
    next(next_argument);
    return true;
}

static void a_call_from_the_same_frame_sees_it(void **state)
{
    static const struct {
        body function;
        int type; /* of the event that is left; -1: before-collect */
    } left[] = {{do_alloc, JsMemoryAllocate},
                {do_free, JsMemoryFree},
                {do_collect, -1},
                {do_dispose, JsMemoryFree}};
    static const body next[] = {do_alloc, do_calloc,  do_aligned_alloc, do_realloc,
                                do_free,  do_collect, do_dispose};
    worker *other = worker_start();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(left) * COUNT_OF(next); i++) {
        struct host host, bystanders_host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        JsRuntimeHandle bystander = host_new_runtime(&bystanders_host);
        struct escape escape = {.type = (JsMemoryEventType)left[i % COUNT_OF(left)].type};
        struct request request = {runtime, MIB(1), new_object(runtime, MIB(2))};
        struct request later = {bystander, 100, new_object(bystander, 50)};

        if (left[i % COUNT_OF(left)].type < 0) {
            collects_left = 0;
            assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, &host, leave_collect));
        } else {
            host_set_hook(&host, leave_by_longjmp, &escape);
        }
        assert_true(is_left_before(left[i % COUNT_OF(left)].function, &request,
                                   next[i / COUNT_OF(left)], &later));
        assert_ok(worker_do(other, call_dispose, runtime, NULL));
        (void)JsDisposeRuntime(bystander);
    }
    worker_stop(other);
}

static void until_it_is_seen_calls_lose_nothing(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct escape escape = {.type = JsMemoryAllocate};
    struct request request = {runtime, MIB(1), NULL};
    struct abandoned use = {.runtime = runtime};

    (void)state;
    use.to_free = new_object(runtime, MIB(2));
    host_set_hook(&host, leave_by_longjmp, &escape);
    assert_true(is_left(do_alloc, &request));
    call_far_below(use_far_below, &use);
    assert_ok(use.freed);
    assert_ok(jsrtmem_abandon(runtime));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    assert_int_equal(stats_of(runtime).live_objects, 0);
    check_works(&host, runtime);
    end(&host, runtime);
}

static void abandon_without_a_callback_left_does_nothing(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    assert_ok(jsrtmem_abandon(runtime));
    assert_ok(jsrtmem_enter(runtime));
    assert_ok(jsrtmem_abandon(runtime));
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_code(JsDisposeRuntime(runtime), JsErrorRuntimeInUse);
    assert_ok(jsrtmem_leave(runtime));
    assert_ok(jsrtmem_abandon(runtime));
    check_works(&host, runtime);
    end(&host, runtime);
}

static void leave_on_a_thread(void *argument)
{
    struct request *request = argument;

    if (request->size == 0 && jsrtmem_enter(request->runtime) != JsNoError) {
        return;
    }
    struct request alloc = {request->runtime, MIB(1), NULL};
    request->object = is_left(do_alloc, &alloc) ? request : NULL;
}

static void thread_exit_after_leaving(void **state)
{
    (void)state;
    for (size_t entered = 0; entered < 2; entered++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = JsMemoryAllocate};
        struct request request = {runtime, entered ? 0 : 1, NULL};
        worker *other = worker_start();

        host_set_hook(&host, leave_by_longjmp, &escape);
        worker_run(other, leave_on_a_thread, &request);
        worker_stop(other);
        assert_non_null(request.object);
        assert_int_equal(usage_of(runtime), 0);
        check_works(&host, runtime);
        end(&host, runtime);
    }
}

static void thread_exit_after_leaving_and_disposed_at_once(void **state)
{
    (void)state;
    for (size_t entered = 0; entered < 2; entered++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = JsMemoryAllocate};
        struct request request = {runtime, entered ? 0 : 1, NULL};
        worker *other = worker_start();

        (void)new_object(runtime, 100);
        host_set_hook(&host, leave_by_longjmp, &escape);
        worker_run(other, leave_on_a_thread, &request);
        worker_stop(other);
        end(&host, runtime);
    }
}

/* ---- two runtimes --------------------------------------------------------------------------- */

static bool allocate_in_the_other(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryAllocate && self->calls_of_hook++ == 0) {
        struct host *inner = self->context;

        host_left(self); /* the inner callback's jump leaves this one, too */
        (void)jsrtmem_alloc(inner->runtime, MIB(1));
    }
    return true;
}

static void two_callbacks_left_at_once(void **state)
{
    struct host outer;
    struct host inner;
    JsRuntimeHandle outer_runtime = host_new_runtime(&outer);
    JsRuntimeHandle inner_runtime = host_new_runtime(&inner);
    struct escape escape = {.type = JsMemoryAllocate};
    struct request request = {outer_runtime, MIB(1), NULL};

    (void)state;
    host_set_hook(&outer, allocate_in_the_other, &inner);
    host_set_hook(&inner, leave_by_longjmp, &escape);
    assert_true(is_left(do_alloc, &request));
    assert_int_equal(usage_of(outer_runtime), 0);
    assert_int_equal(usage_of(inner_runtime), 0);
    check_works(&inner, inner_runtime);
    check_works(&outer, outer_runtime);
    end(&inner, inner_runtime);
    end(&outer, outer_runtime);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

/* ---- Callbacks that abandon themselves, and return all the same ---- */

static bool CHAKRA_CALLBACK abandon_and_allow(void *state, JsMemoryEventType type, size_t size)
{
    (void)size;
    if (type == JsMemoryAllocate) {
        (void)jsrtmem_abandon(state);
    }
    return true;
}

static void CHAKRA_CALLBACK abandon_collect(void *state)
{
    (void)jsrtmem_abandon(state);
}

/* A callback that abandons itself ends the call that asked it, as a jump would. Its return value is
 * no answer any more. */
static void an_abandoned_callback_may_return(void **state)
{
    (void)state;
    for (int entered = 0; entered < 2; entered++) {
        JsRuntimeHandle runtime = new_runtime();
        if (entered != 0) {
            assert_ok(jsrtmem_enter(runtime));
        }
        assert_ok(JsSetRuntimeMemoryAllocationCallback(runtime, runtime, abandon_and_allow));
        assert_null(jsrtmem_alloc(runtime, 100));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_HOST);
        assert_int_equal(usage_of(runtime), 0);
        assert_ok(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, NULL));
        void *object = new_object(runtime, MIB(1));
        assert_ok(jsrtmem_free(object));
        assert_ok(jsrtmem_free(new_object(runtime, 100)));
        size_t usage = usage_of(runtime);
        assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, runtime, abandon_collect));
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), usage); /* the collect was abandoned too */
        assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, NULL, NULL));
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
        if (entered != 0) {
            assert_ok(jsrtmem_leave(runtime));
        }
        dispose(runtime);
    }
}

/* Inside one runtime's callback, another runtime's callback is left by a jump into the first, which
 * goes on and returns. */
static bool leave_an_inner_callback(struct host *self, const struct host_event *event)
{
    struct request *inner = self->context;

    if (event->type == JsMemoryAllocate && inner->size != 0) {
        struct request request = *inner;
        inner->size = 0;
        assert_true(is_left(do_alloc, &request));
    }
    return true;
}

static void left_into_the_callback_of_another_runtime(void **state)
{
    (void)state;
    for (int entered = 0; entered <= 1; entered++) {
        struct host inner_host;
        struct host host;
        JsRuntimeHandle inner = host_new_runtime(&inner_host);
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct escape escape = {.type = JsMemoryAllocate};
        struct request request = {inner, MIB(1), NULL};

        if (entered) {
            assert_ok(jsrtmem_enter(inner));
        }
        host_set_hook(&inner_host, leave_by_longjmp, &escape);
        host_set_hook(&host, leave_an_inner_callback, &request);
        assert_ok(jsrtmem_free(new_object(runtime, MIB(2))));
        assert_int_equal(escape.left, 1);
        if (entered) {
            assert_ok(jsrtmem_leave(inner));
        }
        worker *other = worker_start(); /* first: the main thread would end the call left there */
        assert_ok(worker_do(other, call_enter, inner, NULL));
        assert_ok(worker_do(other, call_leave, inner, NULL));
        worker_stop(other);
        check_works(&inner_host, inner);
        check_works(&host, runtime);
        end(&inner_host, inner);
        end(&host, runtime);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("Allocate left", allocate_left_by_every_request),
        UNIT_ROW("Allocate left while an object grows",
                 allocate_left_while_growing_keeps_the_object),
        UNIT_ROW("Failure left", failure_left_after_every_cause),
        UNIT_ROW("left 500 times", left_again_and_again),
        UNIT_ROW("left while current", left_while_entered_and_with_a_context),
        UNIT_ROW("Free left", free_left_by_free_and_collect),
        UNIT_ROW("Free left while an object shrinks", free_left_by_a_shrinking_realloc),
        UNIT_ROW("before-collect left", before_collect_left),
        UNIT_ROW("before-collect left, then dispose", before_collect_left_and_disposed_at_once),
        UNIT_ROW("dispose left", dispose_left_is_finished_by_the_next),
        UNIT_ROW("dispose left, then frees", objects_of_a_dispose_that_was_left_can_be_freed),
        UNIT_ROW("dispose left at every event", dispose_left_at_every_event_is_finished_in_the_end),
        UNIT_ROW("jsrtmem_abandon", abandon_makes_the_runtime_usable_from_any_depth),
        UNIT_ROW("jsrtmem_abandon: two callbacks", abandon_finds_the_callback_that_was_left),
        UNIT_ROW("seen from the same frame", a_call_from_the_same_frame_sees_it),
        UNIT_ROW("until it is seen", until_it_is_seen_calls_lose_nothing),
        UNIT_ROW("jsrtmem_abandon: nothing was left", abandon_without_a_callback_left_does_nothing),
        UNIT_ROW("abandoned, and returned", an_abandoned_callback_may_return),
        UNIT_ROW("thread exit", thread_exit_after_leaving),
        UNIT_ROW("thread exit, then dispose", thread_exit_after_leaving_and_disposed_at_once),
        UNIT_ROW("left into another callback", left_into_the_callback_of_another_runtime),
        UNIT_ROW("two callbacks left at once", two_callbacks_left_at_once),
    };

    return cmocka_run_group_tests_name("longjmp", tests, NULL, NULL);
}
