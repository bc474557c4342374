/*
 * Contexts, row by row: create, current, data, count, lifetime, and what they keep other threads
 * from doing.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/unit.h"
#include "support/worker.h"

#define INTERRUPTIBLE JsRuntimeAttributeAllowScriptInterrupt

/* Makes a context current (null: none), and checks that it is. */
static void set_current(JsContextRef context)
{
    assert_ok(JsSetCurrentContext(context));
    assert_ptr_equal(current_context(), context);
}

static unsigned count_after_add(JsContextRef context)
{
    unsigned count = 0;

    assert_ok(JsAddRef(context, &count));
    return count;
}

static unsigned count_after_release(JsContextRef context)
{
    unsigned count = 0;

    assert_ok(JsRelease(context, &count));
    return count;
}

static bool is_alive(JsContextRef context)
{
    void *data = NULL;
    JsErrorCode code = JsGetContextData(context, &data);

    require(code == JsNoError || code == JsErrorInvalidArgument, "JsGetContextData gave 0x%x",
            (unsigned)code);
    return code == JsNoError;
}

/* ---- create --------------------------------------------------------------------------------- */

static void create_checks_the_out_pointer_first(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    assert_code(JsCreateContext(runtime, NULL), JsErrorNullArgument);
    assert_code(JsCreateContext(NULL, NULL), JsErrorNullArgument);
    assert_code(JsCreateContext(runtime, NULL), JsErrorNullArgument);
    dispose(runtime);
    assert_code(JsCreateContext(runtime, NULL), JsErrorNullArgument);
}

static void create_is_refused_while_current_on_another_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);
    JsContextRef untouched = &other;

    (void)state;
    assert_ok(worker_do(other, call_set_current, context, NULL));
    assert_code(JsCreateContext(runtime, &untouched), JsErrorWrongThread);
    assert_ok(worker_do(other, call_set_current, NULL, NULL));
    assert_ok(worker_do(other, call_enter, runtime, NULL));
    assert_code(JsCreateContext(runtime, &untouched), JsErrorWrongThread);
    assert_ptr_equal(untouched, &other);
    assert_ok(worker_do(other, call_leave, runtime, NULL));
    assert_ok(JsCreateContext(runtime, &untouched));
    assert_ptr_not_equal(untouched, &other);
    dispose(runtime);
    worker_stop(other);
}

static void create_is_refused_while_execution_is_disabled(void **state)
{
    JsRuntimeHandle runtime = new_runtime_with(INTERRUPTIBLE);
    JsContextRef context = &runtime;

    (void)state;
    assert_ok(JsDisableRuntimeExecution(runtime));
    assert_code(JsCreateContext(runtime, &context), JsErrorInDisabledState);
    assert_ptr_equal(context, &runtime);
    assert_ok(JsEnableRuntimeExecution(runtime));
    assert_ok(JsCreateContext(runtime, &context));
    dispose(runtime);
}

static void create_works_at_limit_zero_and_costs_no_usage(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    host.refuse = true;
    for (size_t i = 0; i < 1000; i++) {
        JsContextRef context = new_context(runtime);

        assert_true(is_alive(context));
    }
    assert_int_equal(usage_of(runtime), 0);
    assert_trace(&host, "");
    dispose(runtime);
}

static void create_gives_each_context_a_handle_of_its_own(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef contexts[200];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(contexts); i++) {
        contexts[i] = new_context(runtime);
        assert_ptr_not_equal(contexts[i], runtime);
        for (size_t j = 0; j < i; j++) {
            assert_ptr_not_equal(contexts[i], contexts[j]);
        }
    }
    dispose(runtime);
    for (size_t i = 0; i < COUNT_OF(contexts); i++) {
        assert_false(is_alive(contexts[i]));
    }
}

static void create_on_another_thread_than_the_runtime(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = NULL;

    (void)state;
    assert_ok(worker_do(other, call_create_context, runtime, &context));
    set_current(context);
    set_current(NULL);
    dispose(runtime);
    worker_stop(other);
}

/* ---- current -------------------------------------------------------------------------------- */

static void set_null_leaves_and_works_where_there_is_none(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);

    (void)state;
    set_current(JS_INVALID_REFERENCE);
    set_current(context);
    assert_code(worker_do(other, call_enter, runtime, NULL), JsErrorWrongThread);
    set_current(JS_INVALID_REFERENCE);
    set_current(JS_INVALID_REFERENCE);
    assert_ok(worker_do(other, call_enter, runtime, NULL));
    assert_ok(worker_do(other, call_leave, runtime, NULL));
    dispose(runtime);
    worker_stop(other);
}

static void set_replaces_the_context_of_this_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle first = new_runtime();
    JsRuntimeHandle second = new_runtime();
    JsContextRef a = new_context(first);
    JsContextRef b = new_context(first);
    JsContextRef c = new_context(second);

    (void)state;
    set_current(a);
    set_current(a);
    set_current(b);
    assert_code(worker_do(other, call_set_current, a, NULL), JsErrorWrongThread);
    set_current(c);
    assert_ok(worker_do(other, call_set_current, a, NULL));
    assert_code(worker_do(other, call_set_current, c, NULL), JsErrorWrongThread);
    set_current(NULL);
    assert_ok(worker_do(other, call_set_current, NULL, NULL));
    dispose(first);
    dispose(second);
    worker_stop(other);
}

static void set_is_refused_while_the_runtime_is_current_elsewhere(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle taken = new_runtime();
    JsRuntimeHandle mine = new_runtime();
    JsContextRef theirs = new_context(taken);
    JsContextRef second = new_context(taken);
    JsContextRef own = new_context(mine);

    (void)state;
    set_current(own);
    assert_ok(worker_do(other, call_set_current, theirs, NULL));
    assert_code(JsSetCurrentContext(theirs), JsErrorWrongThread);
    assert_code(JsSetCurrentContext(second), JsErrorWrongThread);
    assert_ptr_equal(current_context(), own);
    assert_code(worker_do(other, call_enter, mine, NULL), JsErrorWrongThread);
    assert_ok(worker_do(other, call_set_current, NULL, NULL));
    assert_ok(worker_do(other, call_enter, taken, NULL));
    assert_code(JsSetCurrentContext(second), JsErrorWrongThread);
    assert_ptr_equal(current_context(), own);
    assert_ok(worker_do(other, call_leave, taken, NULL));
    set_current(second);
    set_current(NULL);
    dispose(taken);
    dispose(mine);
    worker_stop(other);
}

static void set_is_refused_while_an_enter_is_open(void **state)
{
    JsRuntimeHandle first = new_runtime();
    JsRuntimeHandle second = new_runtime();
    JsContextRef a = new_context(first);
    JsContextRef b = new_context(second);

    (void)state;
    assert_ok(jsrtmem_enter(first));
    assert_code(JsSetCurrentContext(a), JsErrorRuntimeInUse);
    assert_code(JsSetCurrentContext(b), JsErrorRuntimeInUse);
    assert_code(JsSetCurrentContext(JS_INVALID_REFERENCE), JsErrorRuntimeInUse);
    assert_null(current_context());
    assert_ok(jsrtmem_leave(first));
    set_current(a);
    assert_ok(jsrtmem_enter(second));
    assert_code(JsSetCurrentContext(a), JsErrorRuntimeInUse);
    assert_code(JsSetCurrentContext(b), JsErrorRuntimeInUse);
    assert_code(JsSetCurrentContext(JS_INVALID_REFERENCE), JsErrorRuntimeInUse);
    assert_ok(jsrtmem_leave(second));
    assert_ptr_equal(current_context(), a);
    set_current(NULL);
    dispose(first);
    dispose(second);
}

static void get_current_needs_an_out_pointer(void **state)
{
    JsContextRef context = &context;

    (void)state;
    assert_code(JsGetCurrentContext(NULL), JsErrorNullArgument);
    assert_ok(JsGetCurrentContext(&context));
    assert_null(context);
}

static void current_is_of_each_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_current_context(runtime);
    JsContextRef theirs = &other;

    (void)state;
    assert_ok(worker_do(other, call_get_current, NULL, &theirs));
    assert_null(theirs);
    assert_ok(worker_do(other, call_set_current, NULL, NULL));
    assert_ptr_equal(current_context(), context);
    set_current(NULL);
    dispose(runtime);
    worker_stop(other);
}

static void thread_exit_leaves_the_context(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);

    (void)state;
    for (int i = 0; i < 20; i++) {
        worker *other = worker_start();

        assert_ok(worker_do(other, call_set_current, context, NULL));
        assert_code(JsSetCurrentContext(context), JsErrorWrongThread);
        worker_stop(other);
        set_current(context);
        set_current(NULL);
    }
    dispose(runtime);
}

/* ---- data and runtime ----------------------------------------------------------------------- */

static void data_starts_null_and_holds_any_value(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);
    JsContextRef neighbour = new_context(runtime);
    void *data = &data;

    (void)state;
    assert_ok(JsGetContextData(context, &data));
    assert_null(data);
    assert_ok(JsSetContextData(context, &data));
    assert_ok(JsGetContextData(context, &data));
    assert_ptr_equal(data, &data);
    assert_ok(JsSetContextData(context, (void *)(uintptr_t)3));
    assert_ok(JsGetContextData(context, &data));
    assert_ptr_equal(data, (void *)(uintptr_t)3);
    assert_ok(JsGetContextData(neighbour, &data));
    assert_null(data);
    assert_ok(JsSetContextData(context, NULL));
    assert_ok(JsGetContextData(context, &data));
    assert_null(data);
    dispose(runtime);
}

static void data_of_a_reused_slot_starts_null(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (int i = 0; i < 100; i++) {
        JsContextRef context = new_context(runtime);
        void *data = &data;

        assert_ok(JsGetContextData(context, &data));
        assert_null(data);
        assert_ok(JsSetContextData(context, &data));
        assert_int_equal(count_after_add(context), 1);
        assert_int_equal(count_after_release(context), 0);
    }
    dispose(runtime);
}

static void runtime_of_a_context(void **state)
{
    JsRuntimeHandle first = new_runtime();
    JsRuntimeHandle second = new_runtime();
    JsContextRef a = new_context(first);
    JsContextRef b = new_context(second);
    JsRuntimeHandle found = NULL;

    (void)state;
    assert_ok(JsGetRuntime(a, &found));
    assert_ptr_equal(found, first);
    assert_ok(JsGetRuntime(b, &found));
    assert_ptr_equal(found, second);
    dispose(first);
    assert_code(JsGetRuntime(a, &found), JsErrorInvalidArgument);
    assert_ptr_equal(found, second);
    dispose(second);
}

static void data_and_counts_work_from_any_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_current_context(runtime);
    JsRuntimeHandle found = NULL;
    void *data = NULL;
    unsigned count = 0;

    (void)state;
    assert_ok(worker_do(other, call_set_data, context, &count));
    assert_ok(worker_do(other, call_get_data, context, &data));
    assert_ptr_equal(data, &count);
    assert_ok(worker_do(other, call_get_runtime, context, &found));
    assert_ptr_equal(found, runtime);
    assert_ok(worker_do(other, call_add_ref, context, &count));
    assert_int_equal(count, 2);
    assert_ok(worker_do(other, call_release, context, &count));
    assert_int_equal(count, 1);
    assert_ok(worker_do(other, call_add_ref, context, NULL));
    assert_ok(worker_do(other, call_release, context, NULL));
    assert_ptr_equal(current_context(), context);
    set_current(NULL);
    dispose(runtime);
    worker_stop(other);
}

/* ---- counts and life ------------------------------------------------------------------------ */

static void count_starts_at_zero_and_counts(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);

    (void)state;
    for (unsigned i = 1; i <= 1000; i++) {
        assert_int_equal(count_after_add(context), i);
    }
    for (unsigned i = 1000; i-- > 0;) {
        assert_int_equal(count_after_release(context), i);
        assert_int_equal(is_alive(context), i != 0);
    }
    dispose(runtime);
}

static void release_with_nothing_to_take_is_refused(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);
    unsigned count = 77;

    (void)state;
    assert_code(JsRelease(context, &count), JsErrorInvalidArgument);
    assert_code(JsRelease(context, NULL), JsErrorInvalidArgument);
    assert_int_equal(count, 77);
    assert_true(is_alive(context));
    assert_int_equal(count_after_add(context), 1);
    assert_int_equal(count_after_release(context), 0);
    assert_code(JsRelease(context, &count), JsErrorInvalidArgument);
    dispose(runtime);
}

static void being_current_counts_as_a_reference_that_release_never_takes(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_current_context(runtime);
    unsigned count = 77;

    (void)state;
    assert_code(JsRelease(context, &count), JsErrorInvalidArgument);
    assert_int_equal(count, 77);
    assert_int_equal(count_after_add(context), 2);
    assert_int_equal(count_after_release(context), 1);
    assert_code(JsRelease(context, &count), JsErrorInvalidArgument);
    assert_ptr_equal(current_context(), context);
    set_current(context);
    assert_int_equal(count_after_add(context), 2);
    set_current(NULL);
    assert_int_equal(count_after_add(context), 2);
    assert_int_equal(count_after_release(context), 1);
    assert_int_equal(count_after_release(context), 0);
    assert_false(is_alive(context));
    dispose(runtime);
}

static void context_that_was_only_ever_current_lives_on(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);
    JsContextRef other = new_context(runtime);

    (void)state;
    set_current(context);
    set_current(other);
    set_current(context);
    set_current(NULL);
    assert_ok(JsCollectGarbage(runtime));
    assert_true(is_alive(context));
    assert_true(is_alive(other));
    dispose(runtime);
}

static void context_released_while_current_ends_when_left(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);

    (void)state;
    assert_int_equal(count_after_add(context), 1);
    set_current(context);
    assert_int_equal(count_after_release(context), 1);
    assert_true(is_alive(context));
    assert_ptr_equal(current_context(), context);
    assert_non_null(jsrtmem_alloc(runtime, 10));
    set_current(NULL);
    assert_false(is_alive(context));
    assert_code(JsSetCurrentContext(context), JsErrorInvalidArgument);
    dispose(runtime);
}

static void context_released_while_current_elsewhere_ends_when_left(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);

    (void)state;
    assert_int_equal(count_after_add(context), 1);
    assert_ok(worker_do(other, call_set_current, context, NULL));
    assert_int_equal(count_after_release(context), 1);
    assert_true(is_alive(context));
    worker_stop(other);
    assert_false(is_alive(context));
    dispose(runtime);
}

static void context_kept_by_a_reference_outlives_being_current(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);

    (void)state;
    assert_int_equal(count_after_add(context), 1);
    for (int i = 0; i < 5; i++) {
        set_current(context);
        set_current(NULL);
        assert_ok(JsCollectGarbage(runtime));
        assert_true(is_alive(context));
    }
    assert_int_equal(count_after_release(context), 0);
    assert_false(is_alive(context));
    dispose(runtime);
}

static void replaced_context_loses_its_reference_of_being_current(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef a = new_context(runtime);
    JsContextRef b = new_context(runtime);

    (void)state;
    assert_int_equal(count_after_add(a), 1);
    set_current(a);
    assert_int_equal(count_after_release(a), 1);
    set_current(b);
    assert_false(is_alive(a));
    assert_int_equal(count_after_add(b), 2);
    set_current(NULL);
    assert_true(is_alive(b));
    dispose(runtime);
}

static void enter_over_a_context_gives_it_back_on_leave(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle first = new_runtime();
    JsRuntimeHandle second = new_runtime();
    JsContextRef context = new_current_context(first);

    (void)state;
    assert_ok(jsrtmem_enter(second));
    assert_code(worker_do(other, call_enter, first, NULL), JsErrorWrongThread);
    assert_code(worker_do(other, call_enter, second, NULL), JsErrorWrongThread);
    assert_ok(jsrtmem_leave(second));
    assert_ptr_equal(current_context(), context);
    assert_ok(worker_do(other, call_enter, second, NULL));
    assert_ok(worker_do(other, call_leave, second, NULL));
    assert_ok(jsrtmem_enter(first));
    assert_ok(jsrtmem_leave(first));
    assert_code(worker_do(other, call_enter, first, NULL), JsErrorWrongThread);
    assert_code(jsrtmem_leave(first), JsErrorInvalidArgument);
    set_current(NULL);
    dispose(first);
    dispose(second);
    worker_stop(other);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("JsCreateContext(any, NULL)", create_checks_the_out_pointer_first),
        UNIT_ROW("JsCreateContext: current elsewhere",
                 create_is_refused_while_current_on_another_thread),
        UNIT_ROW("JsCreateContext: disabled", create_is_refused_while_execution_is_disabled),
        UNIT_ROW("JsCreateContext: limit 0", create_works_at_limit_zero_and_costs_no_usage),
        UNIT_ROW("JsCreateContext: handles", create_gives_each_context_a_handle_of_its_own),
        UNIT_ROW("JsCreateContext: any thread", create_on_another_thread_than_the_runtime),
        UNIT_ROW("JsSetCurrentContext(null)", set_null_leaves_and_works_where_there_is_none),
        UNIT_ROW("JsSetCurrentContext(ctx): replaces", set_replaces_the_context_of_this_thread),
        UNIT_ROW("JsSetCurrentContext(ctx): current elsewhere",
                 set_is_refused_while_the_runtime_is_current_elsewhere),
        UNIT_ROW("JsSetCurrentContext: entered", set_is_refused_while_an_enter_is_open),
        UNIT_ROW("JsGetCurrentContext(NULL)", get_current_needs_an_out_pointer),
        UNIT_ROW("JsGetCurrentContext: each thread", current_is_of_each_thread),
        UNIT_ROW("current context: thread exit", thread_exit_leaves_the_context),
        UNIT_ROW("JsGetContextData", data_starts_null_and_holds_any_value),
        UNIT_ROW("JsGetContextData: reused slot", data_of_a_reused_slot_starts_null),
        UNIT_ROW("JsGetRuntime", runtime_of_a_context),
        UNIT_ROW("data and counts: any thread", data_and_counts_work_from_any_thread),
        UNIT_ROW("JsAddRef, JsRelease", count_starts_at_zero_and_counts),
        UNIT_ROW("JsRelease: nothing to take", release_with_nothing_to_take_is_refused),
        UNIT_ROW("JsRelease: current",
                 being_current_counts_as_a_reference_that_release_never_takes),
        UNIT_ROW("life: only ever current", context_that_was_only_ever_current_lives_on),
        UNIT_ROW("life: released while current", context_released_while_current_ends_when_left),
        UNIT_ROW("life: released while current elsewhere",
                 context_released_while_current_elsewhere_ends_when_left),
        UNIT_ROW("life: kept by a reference", context_kept_by_a_reference_outlives_being_current),
        UNIT_ROW("life: replaced", replaced_context_loses_its_reference_of_being_current),
        UNIT_ROW("jsrtmem_enter over a context", enter_over_a_context_gives_it_back_on_leave),
    };

    return cmocka_run_group_tests_name("contexts", tests, NULL, NULL);
}
