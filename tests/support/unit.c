#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

void unit_check_code(JsErrorCode actual, JsErrorCode expected, const char *call, const char *file,
                     int line)
{
    if (actual != expected) {
        print_error("%s gave 0x%x, not 0x%x\n", call, (unsigned)actual, (unsigned)expected);
        _fail(file, line);
    }
}

void unit_fail(const char *file, int line, const char *format, ...)
{
    char text[400];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    print_error("%s\n", text);
    _fail(file, line);
    abort(); /* never reached: cmocka leaves the test */
}

size_t usage_of(JsRuntimeHandle runtime)
{
    size_t usage = 0;

    assert_ok(JsGetRuntimeMemoryUsage(runtime, &usage));
    return usage;
}

size_t limit_of(JsRuntimeHandle runtime)
{
    size_t limit = 0;

    assert_ok(JsGetRuntimeMemoryLimit(runtime, &limit));
    return limit;
}

jsrtmem_stats stats_of(JsRuntimeHandle runtime)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};

    assert_ok(jsrtmem_get_stats(runtime, &stats));
    return stats;
}

jsrtmem_process_stats process_stats(void)
{
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};

    assert_ok(jsrtmem_get_process_stats(&stats));
    return stats;
}

jsrtmem_refusal_info last_refusal(void)
{
    jsrtmem_refusal_info info = {.struct_size = sizeof(info)};

    (void)jsrtmem_last_refusal(&info);
    return info;
}

jsrtmem_refusal last_reason(void)
{
    return last_refusal().reason;
}

JsRuntimeHandle new_runtime(void)
{
    return new_runtime_with(JsRuntimeAttributeNone);
}

JsRuntimeHandle new_runtime_with(unsigned attributes)
{
    JsRuntimeHandle runtime = JS_INVALID_RUNTIME_HANDLE;

    assert_ok(JsCreateRuntime((JsRuntimeAttributes)attributes, NULL, &runtime));
    assert_non_null(runtime);
    return runtime;
}

void dispose(JsRuntimeHandle runtime)
{
    assert_ok(JsDisposeRuntime(runtime));
}

JsContextRef new_context(JsRuntimeHandle runtime)
{
    JsContextRef context = JS_INVALID_REFERENCE;

    assert_ok(JsCreateContext(runtime, &context));
    assert_non_null(context);
    return context;
}

JsContextRef new_current_context(JsRuntimeHandle runtime)
{
    JsContextRef context = new_context(runtime);

    assert_ok(JsSetCurrentContext(context));
    return context;
}

JsContextRef current_context(void)
{
    JsContextRef context = JS_INVALID_REFERENCE;

    assert_ok(JsGetCurrentContext(&context));
    return context;
}

void *new_object(JsRuntimeHandle runtime, size_t size)
{
    void *object = jsrtmem_alloc(runtime, size);

    require(object != NULL, "no object of %zu bytes, reason %d", size, (int)last_reason());
    return object;
}
