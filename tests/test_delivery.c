/*
 * Events: how they are counted, on which thread they come, which ones a dispose delivers, and that
 * the process reserve makes no difference.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/unit.h"
#include "support/worker.h"

static void do_some_of_everything(JsRuntimeHandle runtime)
{
    void *large = new_object(runtime, MIB(3));

    (void)new_object(runtime, 100);
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    assert_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
    assert_ok(jsrtmem_free(large));
    (void)new_object(runtime, MIB(5));
    assert_ok(JsCollectGarbage(runtime));
}

static void events_are_counted_with_and_without_a_callback(void **state)
{
    struct host host;
    JsRuntimeHandle with = host_new_runtime(&host);
    JsRuntimeHandle without = new_runtime();

    (void)state;
    do_some_of_everything(with);
    do_some_of_everything(without);
    jsrtmem_stats a = stats_of(with);
    jsrtmem_stats b = stats_of(without);
    assert_int_equal(a.allocate_events, host_count_of(&host, JsMemoryAllocate));
    assert_int_equal(a.free_events, host_count_of(&host, JsMemoryFree));
    assert_int_equal(a.failure_events, host_count_of(&host, JsMemoryFailure));
    assert_int_equal(a.failure_events, 1);
    assert_int_equal(a.allocate_events, b.allocate_events);
    assert_int_equal(a.free_events, b.free_events);
    assert_int_equal(a.failure_events, b.failure_events);
    assert_int_equal(a.usage, b.usage);
    dispose(with);
    dispose(without);
    assert_all_freed(&host);
}

/* ---- the process reserve -------------------------------------------------------------------- */

static void fill_the_reserve(void)
{
    JsRuntimeHandle runtime = new_runtime();

    for (size_t i = 0; i < 8; i++) {
        (void)new_object(runtime, MIB(1));
        (void)new_object(runtime, 1000);
    }
    dispose(runtime);
}

static void blocks_from_the_reserve_are_asked_for_and_charged(void **state)
{
    struct host host;

    (void)state;
    fill_the_reserve();
    JsRuntimeHandle runtime = host_new_runtime(&host);
    host.refuse = true;
    assert_null(jsrtmem_alloc(runtime, 1000));
    assert_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_trace(&host, "VXVX");
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    assert_null(jsrtmem_alloc(runtime, 1000));
    assert_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_trace(&host, "VXVXXX");
    assert_int_equal(usage_of(runtime), 0);
    host.refuse = false;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
    assert_non_null(jsrtmem_alloc(runtime, 1000));
    assert_non_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_true(usage_of(runtime) > MIB(1));
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

/* ---- threads -------------------------------------------------------------------------------- */

static JsErrorCode alloc_a_large_object(void *runtime, void *out)
{
    *(void **)out = jsrtmem_alloc(runtime, MIB(1));
    return *(void **)out != NULL ? JsNoError : code_of_refusal();
}

static void events_come_on_the_thread_that_uses_the_runtime(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    void *object = NULL;

    (void)state;
    assert_ok(worker_do(other, alloc_a_large_object, runtime, &object));
    assert_trace(&host, "A");
    assert_int_not_equal(host.events[0].thread, thread_number());
    assert_ok(jsrtmem_free(object));
    assert_ok(JsCollectGarbage(runtime));
    assert_true(host.count > 1);
    for (size_t i = 1; i < host.count; i++) {
        assert_int_equal(host.events[i].thread, thread_number());
    }
    dispose(runtime);
    assert_all_freed(&host);
    worker_stop(other);
}

static void free_elsewhere_is_done_at_once_where_nobody_uses_the_runtime(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    void *objects[4];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, MIB(1));
    }
    host_clear(&host);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(worker_do(other, call_free, objects[i], NULL));
        assert_int_equal(stats_of(runtime).live_objects, COUNT_OF(objects) - i - 1);
    }
    assert_true(stats_of(runtime).blocks <= 1);
    for (size_t i = 0; i < host.count; i++) {
        assert_int_not_equal(host.events[i].thread, thread_number());
    }
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
    worker_stop(other);
}

static void free_elsewhere_is_queued_without_an_event_while_in_use(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    void *objects[6];

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, MIB(1));
    }
    host_clear(&host);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(worker_do(other, call_free, objects[i], NULL));
    }
    assert_trace(&host, "");
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    assert_true(host.count > 0);
    for (size_t i = 0; i < host.count; i++) {
        assert_int_equal(host.events[i].thread, thread_number());
    }
    assert_ok(jsrtmem_leave(runtime));
    assert_int_equal(stats_of(runtime).live_objects, 0);
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
    worker_stop(other);
}

static void queued_frees_are_taken_in_by_the_next_use(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    for (int still_entered = 0; still_entered < 2; still_entered++) {
        void *objects[4];

        assert_ok(jsrtmem_enter(runtime));
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            objects[i] = new_object(runtime, MIB(1));
        }
        assert_ok(JsSetRuntimeMemoryLimit(runtime, usage_of(runtime)));
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            assert_ok(worker_do(other, call_free, objects[i], NULL));
        }
        if (!still_entered) {
            assert_ok(jsrtmem_leave(runtime));
        }
        /* There is room for this object once the queued frees are taken in. */
        assert_ok(jsrtmem_free(new_object(runtime, MIB(3))));
        if (still_entered) {
            assert_ok(jsrtmem_leave(runtime));
        }
        assert_int_equal(stats_of(runtime).live_objects, 0);
        assert_int_equal(host_count_of(&host, JsMemoryFailure), 0);
        assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
    }
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
    worker_stop(other);
}

static bool read_elsewhere(struct host *self, const struct host_event *event)
{
    size_t usage = 1;

    if (worker_do(self->context, call_get_usage, self->runtime, &usage) != JsNoError ||
        usage != event->usage) {
        self->faults++;
        self->fault = "another thread reads another usage inside an event";
    }
    return event->size < MIB(8);
}

static void another_thread_reads_the_same_usage_inside_an_event(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    host_set_hook(&host, read_elsewhere, other);
    void *object = new_object(runtime, MIB(1));
    assert_null(jsrtmem_alloc(runtime, MIB(8)));
    assert_ok(jsrtmem_free(object));
    assert_ok(JsCollectGarbage(runtime));
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
    worker_stop(other);
}

/* ---- dispose -------------------------------------------------------------------------------- */

static void no_event_comes_after_dispose(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    do_some_of_everything(runtime);
    dispose(runtime);
    assert_all_freed(&host);
    size_t events = host.count;
    fill_the_reserve();
    assert_code(JsDisposeRuntime(runtime), JsErrorInvalidArgument);
    assert_code(JsCollectGarbage(runtime), JsErrorInvalidArgument);
    assert_null(jsrtmem_alloc(runtime, 10));
    assert_int_equal(host.count, events);
}

struct dispose_log {
    JsErrorCode usage, limit, set_limit, stats, set_before_collect, disposed, collected, created;
    unsigned calls;
};

static bool use_handle_in_dispose(struct host *self, const struct host_event *event)
{
    struct dispose_log *log = self->context;
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    JsContextRef context;
    size_t value;

    if (event->type != JsMemoryFree || log == NULL) {
        return true;
    }
    log->calls++;
    log->usage |= JsGetRuntimeMemoryUsage(self->runtime, &value);
    log->limit |= JsGetRuntimeMemoryLimit(self->runtime, &value);
    log->set_limit |= JsSetRuntimeMemoryLimit(self->runtime, event->usage);
    log->stats |= jsrtmem_get_stats(self->runtime, &stats);
    log->set_before_collect |= JsSetRuntimeBeforeCollectCallback(self->runtime, NULL, NULL);
    log->disposed = JsDisposeRuntime(self->runtime);
    log->collected = JsCollectGarbage(self->runtime);
    log->created = JsCreateContext(self->runtime, &context);
    (void)jsrtmem_alloc(self->runtime, 100);
    (void)jsrtmem_alloc(self->runtime, MIB(100));
    return true;
}

static void inside_the_events_of_dispose_the_handle_works(void **state)
{
    struct host host;
    struct dispose_log log = {0};
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    do_some_of_everything(runtime);
    host_set_hook(&host, use_handle_in_dispose, &log);
    dispose(runtime);
    assert_true(log.calls > 0);
    assert_ok(log.usage);
    assert_ok(log.limit);
    assert_ok(log.set_limit);
    assert_ok(log.stats);
    assert_ok(log.set_before_collect);
    assert_code(log.disposed, JsErrorRuntimeInUse);
    assert_code(log.collected, JsErrorRuntimeInUse);
    assert_code(log.created, JsErrorRuntimeInUse);
    assert_all_freed(&host);
}

struct freed_in_dispose {
    void *objects[3];
    JsErrorCode freed, again;
    size_t usable, usable_then;
};

/* Frees the objects whose blocks are still there. As on any other thread, a free works. */
static bool free_in_dispose(struct host *self, const struct host_event *event)
{
    struct freed_in_dispose *log = self->context;

    if (event->type != JsMemoryFree || log == NULL || self->calls_of_hook++ > 0) {
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(log->objects); i++) {
        size_t usable = jsrtmem_usable_size(log->objects[i]);
        if (usable != 0) {
            log->usable += usable;
            log->freed |= jsrtmem_free(log->objects[i]);
            log->again = jsrtmem_free(log->objects[i]);
            log->usable_then += jsrtmem_usable_size(log->objects[i]);
        }
    }
    return true;
}

static void inside_the_events_of_dispose_objects_are_freed(void **state)
{
    struct host host;
    struct freed_in_dispose log = {.freed = JsNoError};
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    log.objects[0] = new_object(runtime, 1000);
    log.objects[1] = new_object(runtime, 100000);
    log.objects[2] = new_object(runtime, 1000000);
    host_set_hook(&host, free_in_dispose, &log);
    dispose(runtime);
    assert_ok(log.freed);
    assert_code(log.again, JsErrorInvalidArgument);
    assert_true(log.usable > 1000000);
    assert_int_equal(log.usable_then, 0);
    assert_all_freed(&host);
}

static bool unset_in_dispose(struct host *self, const struct host_event *event)
{
    (void)event;
    (void)JsSetRuntimeMemoryAllocationCallback(self->runtime, NULL, NULL);
    return true;
}

static void callback_unset_inside_dispose_is_not_called_again(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    (void)new_object(runtime, MIB(1));
    (void)new_object(runtime, MIB(2));
    (void)new_object(runtime, 100);
    host_clear(&host);
    host_set_hook(&host, unset_in_dispose, NULL);
    dispose(runtime);
    assert_trace(&host, "F");
}

static void dispose_does_not_ask(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    do_some_of_everything(runtime);
    host.refuse = true;
    host_clear(&host);
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    dispose(runtime);
    assert_int_equal(host_count_of(&host, JsMemoryFree), host.count);
    assert_all_freed(&host);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("events are counted", events_are_counted_with_and_without_a_callback),
        UNIT_ROW("blocks from the reserve", blocks_from_the_reserve_are_asked_for_and_charged),
        UNIT_ROW("events: on which thread", events_come_on_the_thread_that_uses_the_runtime),
        UNIT_ROW("free elsewhere, nobody uses it",
                 free_elsewhere_is_done_at_once_where_nobody_uses_the_runtime),
        UNIT_ROW("free elsewhere, in use: no event",
                 free_elsewhere_is_queued_without_an_event_while_in_use),
        UNIT_ROW("free elsewhere, in use: taken in by the next use",
                 queued_frees_are_taken_in_by_the_next_use),
        UNIT_ROW("usage as another thread sees it",
                 another_thread_reads_the_same_usage_inside_an_event),
        UNIT_ROW("after dispose: no event", no_event_comes_after_dispose),
        UNIT_ROW("inside dispose: the handle", inside_the_events_of_dispose_the_handle_works),
        UNIT_ROW("inside dispose: frees", inside_the_events_of_dispose_objects_are_freed),
        UNIT_ROW("inside dispose: unset", callback_unset_inside_dispose_is_not_called_again),
        UNIT_ROW("dispose does not ask", dispose_does_not_ask),
    };

    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
