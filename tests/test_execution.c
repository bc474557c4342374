/*
 * JsIdle and the execution state, row by row.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/unit.h"
#include "support/worker.h"

#define KNOWN_ATTRIBUTES 0x1ffu
#define INTERRUPTIBLE JsRuntimeAttributeAllowScriptInterrupt
#define IDLING JsRuntimeAttributeEnableIdleProcessing

/* ---- idle ----------------------------------------------------------------------------------- */

static void idle_needs_an_out_pointer_first(void **state)
{
    (void)state;
    assert_code(JsIdle(NULL), JsErrorNullArgument);
    JsRuntimeHandle runtime = new_runtime_with(IDLING);
    (void)new_current_context(runtime);
    assert_code(JsIdle(NULL), JsErrorNullArgument);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    dispose(runtime);
}

static void idle_needs_a_current_context(void **state)
{
    JsRuntimeHandle runtime = new_runtime_with(IDLING);
    unsigned tick = 77;

    (void)state;
    assert_code(JsIdle(&tick), JsErrorNoCurrentContext);
    assert_int_equal(tick, 77);
    (void)new_context(runtime);
    assert_code(JsIdle(&tick), JsErrorNoCurrentContext);
    assert_int_equal(tick, 77);
    dispose(runtime);
}

static void idle_needs_the_attribute(void **state)
{
    JsRuntimeHandle runtime = new_runtime_with(KNOWN_ATTRIBUTES & ~(unsigned)IDLING);
    unsigned tick = 77;

    (void)state;
    (void)new_current_context(runtime);
    assert_code(JsIdle(&tick), JsErrorIdleNotEnabled);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    dispose(runtime);
}

static void idle_gives_empty_blocks_back(void **state)
{
    JsRuntimeHandle runtime = new_runtime_with(IDLING);
    struct host host;
    unsigned tick = 0;

    (void)state;
    host_attach(&host, runtime);
    (void)new_current_context(runtime);
    assert_ok(jsrtmem_free(new_object(runtime, 100)));
    assert_ok(jsrtmem_free(new_object(runtime, MIB(1))));
    for (int i = 0; i < 10 && tick != 0xffffffffu; i++) {
        assert_ok(JsIdle(&tick));
    }
    assert_int_equal(tick, 0xffffffffu);
    assert_int_equal(usage_of(runtime), 0);
    assert_balanced(&host);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    dispose(runtime);
}

/* ---- execution state ------------------------------------------------------------------------ */

static bool is_disabled(JsRuntimeHandle runtime)
{
    bool disabled = false;

    assert_ok(JsIsRuntimeExecutionDisabled(runtime, &disabled));
    return disabled;
}

static void disable_needs_the_attribute(void **state)
{
    JsRuntimeHandle runtime = new_runtime_with(KNOWN_ATTRIBUTES & ~(unsigned)INTERRUPTIBLE);

    (void)state;
    assert_code(JsDisableRuntimeExecution(runtime), JsErrorCannotDisableExecution);
    assert_false(is_disabled(runtime));
    assert_ok(JsEnableRuntimeExecution(runtime));
    assert_false(is_disabled(runtime));
    dispose(runtime);
}

static void disable_and_enable_set_the_flag(void **state)
{
    JsRuntimeHandle runtime = new_runtime_with(INTERRUPTIBLE);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_false(is_disabled(runtime));
        assert_ok(JsDisableRuntimeExecution(runtime));
        assert_true(is_disabled(runtime));
        assert_ok(JsDisableRuntimeExecution(runtime));
        assert_true(is_disabled(runtime));
        assert_ok(JsEnableRuntimeExecution(runtime));
    }
    assert_ok(JsDisableRuntimeExecution(runtime));
    dispose(runtime);
}

static void a_new_runtime_is_enabled_whatever_the_last_one_was(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        JsRuntimeHandle runtime = new_runtime_with(INTERRUPTIBLE);
        assert_false(is_disabled(runtime));
        assert_ok(JsDisableRuntimeExecution(runtime));
        dispose(runtime);
    }
}

static void disable_works_from_any_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime_with(INTERRUPTIBLE);
    bool seen = false;

    (void)state;
    (void)new_current_context(runtime);
    assert_ok(worker_do(other, call_disable, runtime, NULL));
    assert_true(is_disabled(runtime));
    assert_ok(worker_do(other, call_is_disabled, runtime, &seen));
    assert_true(seen);
    assert_code(worker_do(other, call_enable, runtime, NULL), JsErrorWrongThread);
    assert_true(is_disabled(runtime));
    assert_ok(JsEnableRuntimeExecution(runtime));
    assert_false(is_disabled(runtime));
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    assert_ok(worker_do(other, call_disable, runtime, NULL));
    assert_ok(worker_do(other, call_enable, runtime, NULL));
    assert_false(is_disabled(runtime));
    dispose(runtime);
    worker_stop(other);
}

static void enable_without_the_attribute_works_even_while_current_elsewhere(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    assert_ok(worker_do(other, call_enter, runtime, NULL));
    assert_ok(JsEnableRuntimeExecution(runtime));
    assert_ok(worker_do(other, call_leave, runtime, NULL));
    dispose(runtime);
    worker_stop(other);
}

static void disabled_execution_does_not_stop_the_allocator(void **state)
{
    JsRuntimeHandle runtime = new_runtime_with(INTERRUPTIBLE);
    JsContextRef context = NULL;

    (void)state;
    assert_ok(JsDisableRuntimeExecution(runtime));
    void *object = new_object(runtime, MIB(1));
    object = jsrtmem_realloc(runtime, object, MIB(2));
    assert_non_null(object);
    assert_ok(jsrtmem_free(object));
    assert_ok(JsCollectGarbage(runtime));
    assert_ok(jsrtmem_enter(runtime));
    assert_non_null(jsrtmem_alloc(runtime, 10));
    assert_ok(jsrtmem_leave(runtime));
    assert_code(JsCreateContext(runtime, &context), JsErrorInDisabledState);
    assert_null(context);
    dispose(runtime);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("JsIdle(NULL)", idle_needs_an_out_pointer_first),
        UNIT_ROW("JsIdle: no context", idle_needs_a_current_context),
        UNIT_ROW("JsIdle: no attribute", idle_needs_the_attribute),
        UNIT_ROW("JsIdle", idle_gives_empty_blocks_back),
        UNIT_ROW("JsDisableRuntimeExecution: no attribute", disable_needs_the_attribute),
        UNIT_ROW("JsDisableRuntimeExecution", disable_and_enable_set_the_flag),
        UNIT_ROW("execution anew", a_new_runtime_is_enabled_whatever_the_last_one_was),
        UNIT_ROW("JsDisableRuntimeExecution: any thread", disable_works_from_any_thread),
        UNIT_ROW("JsEnableRuntimeExecution: no attribute",
                 enable_without_the_attribute_works_even_while_current_elsewhere),
        UNIT_ROW("disabled execution and the allocator",
                 disabled_execution_does_not_stop_the_allocator),
    };

    return cmocka_run_group_tests_name("execution", tests, NULL, NULL);
}
