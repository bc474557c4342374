/*
 * The drop-in API, row by row: create, limit, callbacks, dispose, collect, and what hosts in the
 * field do. Contexts, idle processing and execution state, handles and events have files of their
 * own: test_contexts.c, test_execution.c, test_handles.c, test_events.c.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#define KNOWN_ATTRIBUTES 0x1ffu

/* ---- create --------------------------------------------------------------------------------- */

static bool CHAKRA_CALLBACK service_says_no(JsBackgroundWorkItemCallback callback, void *state)
{
    (void)callback;
    (void)state;
    return false;
}

static bool CHAKRA_CALLBACK service_says_yes(JsBackgroundWorkItemCallback callback, void *state)
{
    (void)callback;
    (void)state;
    return true;
}

static JsErrorCode create(unsigned attributes, JsRuntimeHandle *runtime)
{
    return JsCreateRuntime((JsRuntimeAttributes)attributes, NULL, runtime);
}

static void create_checks_the_out_pointer_first(void **state)
{
    (void)state;
    assert_code(create(0, NULL), JsErrorNullArgument);
    assert_code(create(KNOWN_ATTRIBUTES, NULL), JsErrorNullArgument);
    assert_code(create(KNOWN_ATTRIBUTES + 1, NULL), JsErrorNullArgument);
}

static void create_refuses_each_unknown_attribute(void **state)
{
    size_t before = process_stats().runtimes;

    (void)state;
    for (unsigned bit = KNOWN_ATTRIBUTES + 1; bit != 0; bit <<= 1) {
        for (unsigned known = 0; known <= KNOWN_ATTRIBUTES; known += 0x55) {
            JsRuntimeHandle runtime = &before;

            assert_code(create(bit | known, &runtime), JsErrorInvalidArgument);
            assert_null(runtime);
        }
    }
    assert_int_equal(process_stats().runtimes, before);
}

static void check_fresh(JsRuntimeHandle runtime)
{
    assert_int_equal(limit_of(runtime), SIZE_MAX);
    assert_true(usage_of(runtime) < limit_of(runtime));
    assert_null(current_context());

    jsrtmem_stats stats = stats_of(runtime);
    assert_int_equal(stats.usage, usage_of(runtime));
    assert_int_equal(stats.limit, SIZE_MAX);
    assert_int_equal(stats.live_objects, 0);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.misuses, 0);
    assert_int_equal(stats.failure_events, 0);
}

static void create_takes_every_set_of_known_attributes(void **state)
{
    (void)state;
    for (unsigned attributes = 0; attributes <= KNOWN_ATTRIBUTES; attributes++) {
        JsRuntimeHandle runtime = new_runtime_with(attributes);

        check_fresh(runtime);
        assert_non_null(jsrtmem_alloc(runtime, 10));
        dispose(runtime);
    }
}

static void create_takes_any_service(void **state)
{
    JsThreadServiceCallback services[] = {NULL, service_says_no, service_says_yes};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(services); i++) {
        JsRuntimeHandle runtime = NULL;

        assert_ok(JsCreateRuntime(JsRuntimeAttributeNone, services[i], &runtime));
        check_fresh(runtime);
        assert_ok(jsrtmem_free(new_object(runtime, MIB(1))));
        assert_ok(JsCollectGarbage(runtime));
        dispose(runtime);
    }
}

static void create_makes_the_runtime_current_nowhere(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    assert_code(jsrtmem_leave(runtime), JsErrorInvalidArgument);
    assert_ok(worker_do(other, call_enter, runtime, NULL));
    assert_ok(worker_do(other, call_leave, runtime, NULL));
    dispose(runtime);
    worker_stop(other);
}

/* ---- limit ---------------------------------------------------------------------------------- */

static void limit_reads_back_every_value(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    void *object = new_object(runtime, KIB(100));
    size_t usage = usage_of(runtime);
    size_t values[] = {0,
                       1,
                       page_size(),
                       usage - 1,
                       usage,
                       usage + 1,
                       SIZE_MAX / 2,
                       PTRDIFF_MAX,
                       SIZE_MAX - 1,
                       SIZE_MAX};

    (void)state;
    pattern_fill(object, KIB(100), 5);
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        assert_ok(JsSetRuntimeMemoryLimit(runtime, values[i]));
        assert_int_equal(limit_of(runtime), values[i]);
        assert_int_equal(stats_of(runtime).limit, values[i]);
        assert_int_equal(usage_of(runtime), usage);
    }
    assert_true(pattern_holds(object, KIB(100), 5));
    dispose(runtime);
}

static void limit_is_set_and_read_from_any_thread_at_any_time(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    size_t wanted = MIB(3);
    size_t read = 0;

    (void)state;
    assert_ok(worker_do(other, call_set_limit, runtime, &wanted));
    assert_int_equal(limit_of(runtime), MIB(3));
    assert_ok(jsrtmem_enter(runtime));
    wanted = MIB(2);
    assert_ok(worker_do(other, call_set_limit, runtime, &wanted));
    assert_ok(worker_do(other, call_get_limit, runtime, &read));
    assert_int_equal(read, MIB(2));
    assert_int_equal(limit_of(runtime), MIB(2));
    assert_null(jsrtmem_alloc(runtime, MIB(2)));
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_LIMIT);
    assert_ok(jsrtmem_leave(runtime));
    dispose(runtime);
    worker_stop(other);
}

static void usage_is_read_from_any_thread_at_any_time(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    size_t read = 0;

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    (void)new_object(runtime, MIB(1));
    assert_ok(worker_do(other, call_get_usage, runtime, &read));
    assert_int_equal(read, usage_of(runtime));
    assert_true(read >= MIB(1));
    assert_ok(worker_do(other, call_get_stats, runtime, &stats));
    assert_int_equal(stats.usage, read);
    assert_ok(worker_do(other, call_reset_peak, runtime, NULL));
    assert_ok(jsrtmem_leave(runtime));
    dispose(runtime);
    worker_stop(other);
}

static void limit_and_callback_are_set_in_either_order(void **state)
{
    (void)state;
    for (int callback_first = 0; callback_first < 2; callback_first++) {
        JsRuntimeHandle runtime = new_runtime();
        struct host host;

        if (callback_first) {
            host_attach(&host, runtime);
        }
        assert_ok(JsSetRuntimeMemoryLimit(runtime, MIB(1)));
        if (!callback_first) {
            host_attach(&host, runtime);
        }
        assert_null(jsrtmem_alloc(runtime, MIB(2)));
        assert_true(usage_of(runtime) <= limit_of(runtime));
        assert_trace(&host, "X");
        assert_non_null(jsrtmem_alloc(runtime, 10));
        assert_trace(&host, "XA");
        dispose(runtime);
        assert_all_freed(&host);
    }
}

/* ---- callbacks set and unset ---------------------------------------------------------------- */

static void null_callback_unsets_the_callback(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    host.refuse = true;
    assert_null(jsrtmem_alloc(runtime, 10));
    assert_trace(&host, "VX");
    assert_ok(JsSetRuntimeMemoryAllocationCallback(runtime, &host, NULL));
    assert_non_null(jsrtmem_alloc(runtime, 10));
    assert_ok(jsrtmem_free(new_object(runtime, MIB(4))));
    assert_ok(JsCollectGarbage(runtime));
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    assert_null(jsrtmem_alloc(runtime, MIB(1)));
    dispose(runtime);
    assert_trace(&host, "VX");
}

static void callback_is_set_and_unset_from_any_thread(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    assert_ok(worker_do(other, call_unset_callback, runtime, NULL));
    (void)new_object(runtime, MIB(1));
    assert_trace(&host, "");
    assert_ok(jsrtmem_leave(runtime));
    dispose(runtime);
    worker_stop(other);
}

static unsigned calls_with_null;

static bool CHAKRA_CALLBACK count_null_states(void *state, JsMemoryEventType type, size_t size)
{
    (void)type;
    (void)size;
    calls_with_null += state == NULL ? 1 : 0;
    return true;
}

static void callback_with_null_state_is_called_with_null(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    calls_with_null = 0;
    assert_ok(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, count_null_states));
    (void)new_object(runtime, 10);
    assert_int_equal(calls_with_null, 1);
    dispose(runtime);
    assert_true(calls_with_null > 1);
}

struct collect_log {
    JsRuntimeHandle runtime;
    unsigned calls;
    unsigned thread;
    JsErrorCode nested;
    JsErrorCode disposed;
    JsErrorCode entered, left, created, made_current, unset;
    JsContextRef current;
    size_t usage;
    void *to_free;
};

static void CHAKRA_CALLBACK note_collect(void *state)
{
    struct collect_log *log = state;

    log->calls++;
    log->thread = thread_number();
    (void)JsGetCurrentContext(&log->current);
}

static void before_collect_runs_at_once_and_without_a_context(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    struct collect_log log = {.current = &log};

    (void)state;
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, &log, note_collect));
    assert_int_equal(log.calls, 0);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(log.calls, 1);
    assert_int_equal(log.thread, thread_number());
    assert_null(log.current);
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, &log, NULL));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(log.calls, 1);
    dispose(runtime);
    assert_int_equal(log.calls, 1);
}

static JsErrorCode set_note_collect(void *runtime, void *log)
{
    return JsSetRuntimeBeforeCollectCallback(runtime, log, note_collect);
}

/* Each runtime calls its own callback once per collect, however often it was set. A runtime without
 * one calls none. */
static void before_collect_is_each_runtimes_own(void **state)
{
    enum { COUNT = 40, SETS = 3 };
    static struct collect_log logs[COUNT];
    JsRuntimeHandle runtimes[COUNT];

    (void)state;
    for (int round = 0; round < 3; round++) { /* later rounds reuse what earlier ones left */
        memset(logs, 0, sizeof(logs));
        for (int i = 0; i < COUNT; i++) {
            runtimes[i] = new_runtime();
            assert_ok(JsSetRuntimeBeforeCollectCallback(runtimes[i], &logs[i], NULL));
            for (int set = 0; i % 2 == 0 && set < SETS; set++) {
                assert_ok(JsSetRuntimeBeforeCollectCallback(runtimes[i], &logs[i], note_collect));
            }
        }
        for (int i = 0; i < COUNT; i++) {
            assert_ok(JsCollectGarbage(runtimes[i]));
            assert_int_equal(logs[i].calls, i % 2 == 0);
        }
        for (int i = 0; i < COUNT; i++) {
            dispose(runtimes[i]);
            assert_code(JsSetRuntimeBeforeCollectCallback(runtimes[i], NULL, note_collect),
                        JsErrorInvalidArgument);
        }
    }
}

static void before_collect_is_set_from_any_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    struct collect_log log = {0};

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    assert_ok(worker_do(other, set_note_collect, runtime, &log));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(log.calls, 1);
    assert_ok(worker_do(other, call_unset_before_collect, runtime, NULL));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(log.calls, 1);
    assert_ok(jsrtmem_leave(runtime));
    assert_ok(worker_do(other, set_note_collect, runtime, &log));
    assert_ok(worker_do(other, call_collect, runtime, NULL));
    assert_int_equal(log.calls, 2);
    assert_int_not_equal(log.thread, thread_number());
    dispose(runtime);
    worker_stop(other);
}

static void CHAKRA_CALLBACK use_all_in_collect(void *state)
{
    struct collect_log *log = state;
    JsContextRef context = NULL;

    log->calls++;
    log->disposed = JsDisposeRuntime(log->runtime);
    log->nested = JsCollectGarbage(log->runtime);
    log->entered = jsrtmem_enter(log->runtime);
    log->left = jsrtmem_leave(log->runtime);
    log->created = JsCreateContext(log->runtime, &context);
    log->made_current = JsSetCurrentContext(context);
    log->unset = JsSetCurrentContext(JS_INVALID_REFERENCE);
    (void)jsrtmem_free(log->to_free);
    (void)JsGetRuntimeMemoryUsage(log->runtime, &log->usage);
}

static void inside_before_collect_only_dispose_is_refused(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct collect_log log = {.runtime = runtime, .to_free = new_object(runtime, 1000)};

    (void)state;
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, &log, use_all_in_collect));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(log.calls, 1);
    assert_code(log.disposed, JsErrorRuntimeInUse);
    assert_ok(log.nested);
    assert_ok(log.entered);
    assert_ok(log.left);
    assert_ok(log.created);
    assert_ok(log.made_current);
    assert_ok(log.unset);
    assert_int_equal(usage_of(runtime), 0);
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

/* ---- dispose -------------------------------------------------------------------------------- */

static void check_dispose_is_refused(JsRuntimeHandle runtime, const unsigned char *object)
{
    size_t usage = usage_of(runtime);

    assert_code(JsDisposeRuntime(runtime), JsErrorRuntimeInUse);
    assert_int_equal(usage_of(runtime), usage);
    assert_true(pattern_holds(object, 1000, 3));
    assert_true(jsrtmem_usable_size(object) >= 1000);
}

static JsRuntimeHandle runtime_with_object(unsigned char **object)
{
    JsRuntimeHandle runtime = new_runtime();

    *object = new_object(runtime, 1000);
    pattern_fill(*object, 1000, 3);
    return runtime;
}

static void dispose_is_refused_while_current_on_this_thread(void **state)
{
    unsigned char *object;
    JsRuntimeHandle runtime = runtime_with_object(&object);
    JsContextRef context = new_current_context(runtime);

    (void)state;
    check_dispose_is_refused(runtime, object);
    assert_ptr_equal(current_context(), context);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    dispose(runtime);
}

static void dispose_is_refused_while_entered_on_this_thread(void **state)
{
    unsigned char *object;
    JsRuntimeHandle runtime = runtime_with_object(&object);
    JsRuntimeHandle over = new_runtime();

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    check_dispose_is_refused(runtime, object);
    assert_ok(jsrtmem_enter(over));
    check_dispose_is_refused(runtime, object);
    assert_ok(jsrtmem_leave(over));
    check_dispose_is_refused(runtime, object);
    assert_ok(jsrtmem_leave(runtime));
    dispose(over);
    dispose(runtime);
}

static void dispose_is_refused_while_current_on_another_thread(void **state)
{
    worker *other = worker_start();
    unsigned char *object;
    JsRuntimeHandle runtime = runtime_with_object(&object);
    JsContextRef context = new_context(runtime);

    (void)state;
    assert_ok(worker_do(other, call_set_current, context, NULL));
    check_dispose_is_refused(runtime, object);
    assert_ok(worker_do(other, call_set_current, NULL, NULL));
    assert_ok(worker_do(other, call_enter, runtime, NULL));
    check_dispose_is_refused(runtime, object);
    assert_ok(worker_do(other, call_leave, runtime, NULL));
    dispose(runtime);
    worker_stop(other);
}

static void dispose_works_on_another_thread_and_its_events_arrive(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    JsContextRef context = new_current_context(runtime);

    (void)state;
    (void)context;
    for (size_t size = 10; size < MIB(4); size *= 3) {
        (void)new_object(runtime, size);
    }
    host_clear(&host);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    assert_ok(worker_do(other, call_dispose, runtime, NULL));
    assert_true(host.count > 0);
    for (size_t i = 0; i < host.count; i++) {
        assert_int_equal(host.events[i].type, JsMemoryFree);
        assert_int_not_equal(host.events[i].thread, thread_number());
    }
    assert_all_freed(&host);
    worker_stop(other);
}

static void dispose_takes_queued_frees_without_complaint(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    void *objects[100];

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, 16 + i * 97);
    }
    host_clear(&host);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(worker_do(other, call_free, objects[i], NULL));
    }
    assert_trace(&host, "");
    assert_ok(jsrtmem_leave(runtime));
    dispose(runtime);
    assert_all_freed(&host);
    worker_stop(other);
}

struct hammer {
    JsRuntimeHandle runtime;
    gate *started;
    size_t good, gone, odd;
};

static void hammer_note(struct hammer *hammer, JsErrorCode code)
{
    hammer->good += code == JsNoError ? 1 : 0;
    hammer->gone += code == JsErrorInvalidArgument ? 1 : 0;
    hammer->odd += code != JsNoError && code != JsErrorInvalidArgument ? 1 : 0;
}

static void get_and_set_until_gone(void *argument)
{
    struct hammer *hammer = argument;
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    size_t value;

    while (hammer->gone == 0) {
        hammer_note(hammer, JsGetRuntimeMemoryUsage(hammer->runtime, &value));
        hammer_note(hammer, JsSetRuntimeMemoryLimit(hammer->runtime, SIZE_MAX - 1));
        hammer_note(hammer, JsGetRuntimeMemoryLimit(hammer->runtime, &value));
        hammer_note(hammer, jsrtmem_get_stats(hammer->runtime, &stats));
        hammer_note(hammer, JsSetRuntimeMemoryAllocationCallback(hammer->runtime, NULL, NULL));
        hammer_note(hammer, JsSetRuntimeBeforeCollectCallback(hammer->runtime, NULL, NULL));
        gate_open(hammer->started);
    }
}

static void dispose_is_not_disturbed_by_gets_and_sets(void **state)
{
    worker *other = worker_start();

    (void)state;
    for (size_t i = 0; i < 300; i++) {
        struct hammer hammer = {.runtime = new_runtime(), .started = gate_new()};

        (void)new_object(hammer.runtime, 100);
        worker_post(other, get_and_set_until_gone, &hammer);
        gate_wait(hammer.started);
        JsErrorCode code = JsDisposeRuntime(hammer.runtime);
        if (code != JsNoError) {
            (void)JsDisposeRuntime(hammer.runtime);
        }
        worker_wait(other);
        assert_ok(code);
        assert_int_equal(hammer.odd, 0);
        gate_delete(hammer.started);
    }
    worker_stop(other);
}

static void dispose_ends_the_contexts(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);
    void *data = &data;

    (void)state;
    assert_ok(JsAddRef(context, NULL));
    dispose(runtime);
    assert_code(JsGetContextData(context, &data), JsErrorInvalidArgument);
    assert_ptr_equal(data, &data);
    assert_code(JsSetCurrentContext(context), JsErrorInvalidArgument);
    assert_code(JsDisposeRuntime(runtime), JsErrorInvalidArgument);
}

/* ---- collect -------------------------------------------------------------------------------- */

static void collect_is_refused_while_current_on_another_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);
    struct collect_log log = {0};

    (void)state;
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, &log, note_collect));
    assert_ok(worker_do(other, call_set_current, context, NULL));
    assert_code(JsCollectGarbage(runtime), JsErrorWrongThread);
    assert_ok(worker_do(other, call_set_current, NULL, NULL));
    assert_ok(worker_do(other, call_enter, runtime, NULL));
    assert_code(JsCollectGarbage(runtime), JsErrorWrongThread);
    assert_int_equal(log.calls, 0);
    assert_ok(worker_do(other, call_collect, runtime, NULL));
    assert_int_equal(log.calls, 1);
    assert_ok(worker_do(other, call_leave, runtime, NULL));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(log.calls, 2);
    dispose(runtime);
    worker_stop(other);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("JsCreateRuntime(any, any, NULL)", create_checks_the_out_pointer_first),
        UNIT_ROW("JsCreateRuntime(unknown bit)", create_refuses_each_unknown_attribute),
        UNIT_ROW("JsCreateRuntime(valid)", create_takes_every_set_of_known_attributes),
        UNIT_ROW("JsCreateRuntime(any service)", create_takes_any_service),
        UNIT_ROW("JsCreateRuntime: current nowhere", create_makes_the_runtime_current_nowhere),
        UNIT_ROW("JsSetRuntimeMemoryLimit(any value)", limit_reads_back_every_value),
        UNIT_ROW("JsSetRuntimeMemoryLimit: any thread",
                 limit_is_set_and_read_from_any_thread_at_any_time),
        UNIT_ROW("JsGetRuntimeMemoryUsage: any thread", usage_is_read_from_any_thread_at_any_time),
        UNIT_ROW("limit and callback in either order", limit_and_callback_are_set_in_either_order),
        UNIT_ROW("allocation callback (state, NULL)", null_callback_unsets_the_callback),
        UNIT_ROW("allocation callback: any thread", callback_is_set_and_unset_from_any_thread),
        UNIT_ROW("allocation callback (NULL, fn)", callback_with_null_state_is_called_with_null),
        UNIT_ROW("before-collect callback: synchronous",
                 before_collect_runs_at_once_and_without_a_context),
        UNIT_ROW("before-collect callback: each runtime's own",
                 before_collect_is_each_runtimes_own),
        UNIT_ROW("before-collect callback: any thread", before_collect_is_set_from_any_thread),
        UNIT_ROW("inside before-collect", inside_before_collect_only_dispose_is_refused),
        UNIT_ROW("JsDisposeRuntime: current here", dispose_is_refused_while_current_on_this_thread),
        UNIT_ROW("JsDisposeRuntime: entered here", dispose_is_refused_while_entered_on_this_thread),
        UNIT_ROW("JsDisposeRuntime: current elsewhere",
                 dispose_is_refused_while_current_on_another_thread),
        UNIT_ROW("JsDisposeRuntime: not by the creator",
                 dispose_works_on_another_thread_and_its_events_arrive),
        UNIT_ROW("JsDisposeRuntime: queued frees", dispose_takes_queued_frees_without_complaint),
        UNIT_ROW("JsDisposeRuntime: gets and sets meanwhile",
                 dispose_is_not_disturbed_by_gets_and_sets),
        UNIT_ROW("JsDisposeRuntime: contexts", dispose_ends_the_contexts),
        UNIT_ROW("JsCollectGarbage: current elsewhere",
                 collect_is_refused_while_current_on_another_thread),
    };

    return cmocka_run_group_tests_name("contract", tests, NULL, NULL);
}
