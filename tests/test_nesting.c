/*
 * Several runtimes and threads around a callback: using other runtimes inside one, callbacks
 * within callbacks, a callback that blocks, and that nothing waits inside a callback.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

static void provoke_every_event(JsRuntimeHandle runtime)
{
    void *first = new_object(runtime, MIB(2));
    void *second = new_object(runtime, MIB(2));

    assert_ok(jsrtmem_free(first));
    assert_ok(jsrtmem_free(second));
    assert_ok(JsCollectGarbage(runtime));
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    assert_null(jsrtmem_alloc(runtime, MIB(2)));
    assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
}

/* ---- other runtimes ------------------------------------------------------------------------- */

struct other_use {
    struct host inner;
    JsErrorCode codes;
    unsigned calls;
    bool lost;
};

static bool use_another_runtime(struct host *self, const struct host_event *event)
{
    struct other_use *use = self->context;
    JsRuntimeHandle inner = use->inner.runtime;
    JsRuntimeHandle fresh = NULL;
    JsContextRef context = NULL;

    (void)event;
    use->calls++;
    use->codes |= jsrtmem_enter(inner);
    void *object = jsrtmem_alloc(inner, MIB(2));
    use->lost |= object == NULL || jsrtmem_alloc(inner, 100) == NULL;
    use->codes |= jsrtmem_free(object);
    use->codes |= JsCollectGarbage(inner);
    use->codes |= jsrtmem_leave(inner);
    use->codes |= JsCreateContext(inner, &context);
    use->codes |= JsCreateRuntime(JsRuntimeAttributeNone, NULL, &fresh);
    use->lost |= jsrtmem_calloc(fresh, 10, 1000) == NULL;
    use->codes |= JsDisposeRuntime(fresh);
    return true;
}

static void other_runtimes_work(void **state)
{
    struct host host;
    struct other_use use = {.codes = JsNoError};
    JsRuntimeHandle runtime = host_new_runtime(&host);
    JsRuntimeHandle inner = host_new_runtime(&use.inner);

    (void)state;
    host_set_hook(&host, use_another_runtime, &use);
    provoke_every_event(runtime);
    assert_true(use.calls >= 4);
    assert_ok(use.codes);
    assert_false(use.lost);
    assert_true(use.inner.count >= use.calls);
    assert_balanced(&host);
    assert_balanced(&use.inner);
    host_set_hook(&host, NULL, NULL);
    dispose(runtime);
    dispose(inner);
    assert_all_freed(&host);
    assert_all_freed(&use.inner);
}

/* A runtime that is disposed, and another one that is created in its first Free event. */
struct ending {
    void *objects[1000];
    size_t count;
    JsRuntimeHandle heir;
    size_t inherited;
};

static bool begin_another(struct host *self, const struct host_event *event)
{
    struct ending *ending = self->context;

    if (event->type != JsMemoryFree || ending->heir != NULL ||
        JsCreateRuntime(JsRuntimeAttributeNone, NULL, &ending->heir) != JsNoError ||
        jsrtmem_enter(ending->heir) != JsNoError) {
        return true;
    }
    char *own = jsrtmem_alloc(ending->heir, 100000); /* lies in the released block */
    ending->inherited += own == NULL;
    for (size_t i = 0; i < ending->count; i++) {
        void *object = ending->objects[i];
        ending->inherited += object != own && jsrtmem_realloc(ending->heir, object, 2000) != NULL;
    }
    ending->inherited += jsrtmem_leave(ending->heir) != JsNoError;
    return true;
}

/* Blocks are released one by one. The other runtime may get the first one, and have its arena where
 * the old runtime had its own. The old runtime's other blocks are still not part of it. */
static void what_ends_leaves_no_object_to_others(void **state)
{
    struct host host;
    struct ending ending = {.count = 0};
    void *first[1000];
    size_t count = 0;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    first[count++] = new_object(runtime, 1000);
    const size_t usage = usage_of(runtime);
    while (usage_of(runtime) <= 3 * usage + KIB(256)) {
        void *object = new_object(runtime, 1000);
        if (usage_of(runtime) == usage) {
            first[count++] = object;
        } else {
            ending.objects[ending.count++] = object;
        }
    }
    while (count > 0) {
        assert_ok(jsrtmem_free(first[--count]));
    }
    const size_t all = usage_of(runtime);
    assert_ok(
        JsCollectGarbage(runtime)); /* releases the first block; the arena moves to the newest */
    assert_true(usage_of(runtime) < all);
    host_set_hook(&host, begin_another, &ending);
    dispose(runtime);
    assert_non_null(ending.heir);
    assert_int_equal(ending.inherited, 0);
    dispose(ending.heir);
    assert_all_freed(&host);
}

/* What a hook found in its first Allocate event. */
struct findings {
    bool done;
    JsContextRef foreign;
    JsRuntimeHandle outer;
    JsErrorCode first, second;
    bool large_refused;
    void *small;
};

static bool set_context_of_another_runtime(struct host *self, const struct host_event *event)
{
    struct findings *found = self->context;

    if (!found->done && event->type == JsMemoryAllocate) {
        found->done = true;
        found->first = JsSetCurrentContext(found->foreign);
        found->second = JsSetCurrentContext(JS_INVALID_REFERENCE);
    }
    return true;
}

static void contexts_of_other_runtimes_may_change(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    JsRuntimeHandle other = new_runtime();
    struct findings found = {.foreign = new_context(other)};

    (void)state;
    host_set_hook(&host, set_context_of_another_runtime, &found);
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_true(found.done);
    assert_ok(found.first);
    assert_ok(found.second);
    dispose(runtime);
    dispose(other);
}

/* The callback of `outer` allocates in `inner`, whose callback uses `outer`. */
static bool use_outer_from_inner(struct host *self, const struct host_event *event)
{
    struct findings *found = self->context;

    if (event->type == JsMemoryAllocate && !found->done) {
        found->done = true;
        found->first = JsDisposeRuntime(found->outer);
        found->second = jsrtmem_enter(found->outer);
        found->large_refused = jsrtmem_alloc(found->outer, MIB(16)) == NULL &&
                               last_reason() == JSRTMEM_REFUSAL_CALLBACK;
        found->small = jsrtmem_alloc(found->outer, 64);
    }
    return true;
}

static bool allocate_in_inner(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryAllocate && self->calls_of_hook++ == 0) {
        return jsrtmem_alloc(((struct host *)self->context)->runtime, MIB(1)) != NULL;
    }
    return true;
}

static void callbacks_within_callbacks(void **state)
{
    struct host outer;
    struct host inner;
    JsRuntimeHandle outer_runtime = host_new_runtime(&outer);
    JsRuntimeHandle inner_runtime = host_new_runtime(&inner);
    struct findings found = {.outer = outer_runtime};

    (void)state;
    (void)new_object(outer_runtime, 64);
    assert_ok(jsrtmem_free(new_object(outer_runtime, 64)));
    host_set_hook(&outer, allocate_in_inner, &inner);
    host_set_hook(&inner, use_outer_from_inner, &found);
    assert_non_null(jsrtmem_alloc(outer_runtime, MIB(1)));
    assert_true(found.done);
    assert_code(found.first, JsErrorRuntimeInUse);
    assert_code(found.second, JsErrorRuntimeInUse);
    assert_true(found.large_refused);
    assert_non_null(found.small);
    assert_ok(jsrtmem_free(found.small));
    assert_balanced(&outer);
    assert_balanced(&inner);
    dispose(outer_runtime);
    dispose(inner_runtime);
    assert_all_freed(&outer);
    assert_all_freed(&inner);
}

/* ---- a callback that blocks ----------------------------------------------------------------- */

struct block {
    gate *arrived, *go;
    bool answer;
};

static void delete_gates(struct block *block)
{
    gate_delete(block->arrived);
    gate_delete(block->go);
}

static bool block_on_allocate(struct host *self, const struct host_event *event)
{
    struct block *block = self->context;

    if (event->type == JsMemoryAllocate) {
        gate_open(block->arrived);
        gate_wait(block->go);
        return block->answer;
    }
    return true;
}

static void allocate_a_large_object(void *argument)
{
    void **handle_then_object = argument;

    *handle_then_object = jsrtmem_alloc(*handle_then_object, MIB(4));
}

static void block_delays_only_its_own_runtime(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct block block = {gate_new(), gate_new(), true};
    void *object = new_object(runtime, 100);
    void *in_out = runtime;
    size_t usage = usage_of(runtime);

    (void)state;
    host_clear(&host);
    host.limit_may_race = true;
    host_set_hook(&host, block_on_allocate, &block);
    worker_post(other, allocate_a_large_object, &in_out);
    gate_wait(block.arrived);

    assert_int_equal(usage_of(runtime), usage);
    assert_int_equal(stats_of(runtime).usage, usage);
    assert_int_equal(stats_of(runtime).peak_usage, usage);
    assert_ok(JsSetRuntimeMemoryLimit(runtime, MIB(64)));
    assert_int_equal(limit_of(runtime), MIB(64));
    assert_true(jsrtmem_usable_size(object) >= 100);
    assert_code(JsDisposeRuntime(runtime), JsErrorRuntimeInUse);
    assert_ok(jsrtmem_free(object));
    JsRuntimeHandle free_one = new_runtime();
    assert_non_null(jsrtmem_alloc(free_one, MIB(4)));
    assert_ok(JsCollectGarbage(free_one));
    dispose(free_one);
    assert_true(worker_is_busy(other));

    gate_open(block.go);
    worker_wait(other);
    assert_non_null(in_out);
    assert_trace(&host, "A");
    assert_balanced(&host);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(stats_of(runtime).live_objects, 1);
    dispose(runtime);
    assert_all_freed(&host);
    delete_gates(&block);
    worker_stop(other);
}

static void start_blocked(struct host *host, struct block *block, worker *other, void **in_out)
{
    block->arrived = gate_new();
    block->go = gate_new();
    host_set_hook(host, block_on_allocate, block);
    worker_post(other, allocate_a_large_object, in_out);
    gate_wait(block->arrived);
}

struct waiting {
    JsRuntimeHandle runtime;
    JsErrorCode alloc, collect, enter, leave;
};

static void use_in_turn(void *argument)
{
    struct waiting *self = argument;

    self->alloc = call_alloc(self->runtime, NULL);
    self->collect = JsCollectGarbage(self->runtime);
    self->enter = jsrtmem_enter(self->runtime);
    self->leave = jsrtmem_leave(self->runtime);
}

/* A call that finds the runtime held by another thread's call waits until that call ends. */
static void calls_wait_for_a_call_that_did_not_enter(void **state)
{
    worker *other = worker_start();
    worker *third = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct block block = {NULL, NULL, true};
    struct waiting waiting = {.runtime = runtime};
    void *in_out = runtime;

    (void)state;
    start_blocked(&host, &block, other, &in_out);
    worker_post(third, use_in_turn, &waiting);
    assert_true(worker_is_busy(other));
    gate_open(block.go);
    worker_wait(other);
    worker_wait(third);
    assert_non_null(in_out);
    assert_ok(waiting.alloc);
    assert_ok(waiting.collect);
    assert_ok(waiting.enter);
    assert_ok(waiting.leave);
    assert_balanced(&host);
    dispose(runtime);
    delete_gates(&block);
    worker_stop(other);
    worker_stop(third);
}

static void enter_then_allocate(void *argument)
{
    (void)jsrtmem_enter(*(void **)argument);
    allocate_a_large_object(argument);
}

/* If the other thread has entered, calls are refused and never wait, even while it is in a
 * callback. */
static void calls_do_not_wait_for_a_thread_that_entered(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct block block = {gate_new(), gate_new(), true};
    void *in_out = runtime;

    (void)state;
    host_set_hook(&host, block_on_allocate, &block);
    worker_post(other, enter_then_allocate, &in_out);
    gate_wait(block.arrived);
    JsErrorCode alloc = call_alloc(runtime, NULL);
    JsErrorCode collect = JsCollectGarbage(runtime);
    JsErrorCode enter = jsrtmem_enter(runtime);
    JsErrorCode disposed = JsDisposeRuntime(runtime);
    gate_open(block.go);
    worker_wait(other);
    assert_code(alloc, JsErrorWrongThread);
    assert_code(collect, JsErrorWrongThread);
    assert_code(enter, JsErrorWrongThread);
    assert_code(disposed, JsErrorRuntimeInUse);
    assert_non_null(in_out);
    worker_stop(other);
    assert_balanced(&host);
    dispose(runtime);
    delete_gates(&block);
}

struct held_use {
    JsRuntimeHandle held;
    JsContextRef context, created;
    void *object, *second;
    jsrtmem_refusal alloc, calloc, aligned, realloc;
    bool served;
    JsErrorCode enter, collect, create, set_current, disposed, freed, get, set, unset;
    unsigned calls;
};

static jsrtmem_refusal reason_or_served(struct held_use *use, void *object)
{
    use->served |= object != NULL;
    return last_reason();
}

static void use_held_runtime(struct held_use *use)
{
    size_t usage;

    use->calls++;
    use->alloc = reason_or_served(use, jsrtmem_alloc(use->held, 10));
    use->calloc = reason_or_served(use, jsrtmem_calloc(use->held, 10, 10));
    use->aligned = reason_or_served(use, jsrtmem_aligned_alloc(use->held, 64, 10));
    use->realloc = reason_or_served(use, jsrtmem_realloc(use->held, use->object, 5000));
    use->enter = jsrtmem_enter(use->held);
    use->collect = JsCollectGarbage(use->held);
    use->create = JsCreateContext(use->held, &use->created);
    use->set_current = JsSetCurrentContext(use->context);
    use->disposed = JsDisposeRuntime(use->held);
    use->freed = jsrtmem_free(use->second);
    use->get = JsGetRuntimeMemoryUsage(use->held, &usage);
    use->set = JsSetRuntimeMemoryLimit(use->held, SIZE_MAX - 1);
    use->unset = JsSetRuntimeMemoryAllocationCallback(use->held, NULL, NULL);
}

static bool use_held_in_callback(struct host *self, const struct host_event *event)
{
    struct held_use *use = self->context;

    if (event->type == JsMemoryAllocate && use->calls == 0) {
        use_held_runtime(use);
    }
    return true;
}

static void check_held_use(const struct held_use *use)
{
    assert_int_equal(use->calls, 1);
    assert_false(use->served);
    assert_int_equal(use->alloc, JSRTMEM_REFUSAL_THREAD);
    assert_int_equal(use->calloc, JSRTMEM_REFUSAL_THREAD);
    assert_int_equal(use->aligned, JSRTMEM_REFUSAL_THREAD);
    assert_int_equal(use->realloc, JSRTMEM_REFUSAL_THREAD);
    assert_code(use->enter, JsErrorWrongThread);
    assert_code(use->collect, JsErrorWrongThread);
    assert_code(use->create, JsErrorWrongThread);
    assert_code(use->set_current, JsErrorWrongThread);
    assert_code(use->disposed, JsErrorRuntimeInUse);
    assert_ok(use->freed);
    assert_ok(use->get);
    assert_ok(use->set);
    assert_ok(use->unset);
}

/* A worker is inside the callback of `held` without having entered `held`. The main thread, inside
 * the callback of another runtime, uses `held`: no call may wait there. */
static void nothing_waits_inside_a_callback(void **state)
{
    worker *other = worker_start();
    struct host held_host;
    struct host host;
    JsRuntimeHandle held = host_new_runtime(&held_host);
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct block block = {gate_new(), gate_new(), false};
    struct held_use use = {.held = held, .context = new_context(held), .created = &use};
    void *in_out = held;

    (void)state;
    use.object = new_object(held, 100);
    use.second = new_object(held, 100);
    pattern_fill(use.object, 100, 6);
    host_clear(&held_host);
    held_host.limit_may_race = true;
    host_set_hook(&held_host, block_on_allocate, &block);
    host_set_hook(&host, use_held_in_callback, &use);
    worker_post(other, allocate_a_large_object, &in_out);
    gate_wait(block.arrived);
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_true(worker_is_busy(other));
    gate_open(block.go);
    worker_wait(other);

    check_held_use(&use);
    assert_ptr_equal(use.created, &use);
    assert_true(pattern_holds(use.object, 100, 6));
    assert_null(in_out);
    assert_trace(&held_host, "V"); /* no Failure event: the callback was unset meanwhile */
    assert_ok(JsCollectGarbage(held));
    assert_int_equal(stats_of(held).live_objects, 1);
    dispose(held);
    dispose(runtime);
    delete_gates(&block);
    worker_stop(other);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("other runtimes", other_runtimes_work),
        UNIT_ROW("a runtime that ends", what_ends_leaves_no_object_to_others),
        UNIT_ROW("contexts of other runtimes", contexts_of_other_runtimes_may_change),
        UNIT_ROW("callbacks within callbacks", callbacks_within_callbacks),
        UNIT_ROW("a callback that blocks", block_delays_only_its_own_runtime),
        UNIT_ROW("calls wait for a call", calls_wait_for_a_call_that_did_not_enter),
        UNIT_ROW("calls do not wait for a thread", calls_do_not_wait_for_a_thread_that_entered),
        UNIT_ROW("nothing waits inside a callback", nothing_waits_inside_a_callback),
    };

    return cmocka_run_group_tests_name("nesting", tests, NULL, NULL);
}
