#include "calls.h"

#include <string.h>

#define FILL_BYTE 0xa7
#define ALLOC_SIZE ((size_t)100)

const struct call all_calls[] = {
    {"JsDisposeRuntime", CALL_RUNTIME, CALL_NO_OUT, false, call_dispose},
    {"JsCollectGarbage", CALL_RUNTIME, CALL_NO_OUT, false, call_collect},
    {"JsGetRuntimeMemoryUsage", CALL_RUNTIME, CALL_OUT, false, call_get_usage},
    {"JsGetRuntimeMemoryLimit", CALL_RUNTIME, CALL_OUT, false, call_get_limit},
    {"JsSetRuntimeMemoryLimit", CALL_RUNTIME, CALL_NO_OUT, false, call_set_limit},
    {"JsSetRuntimeMemoryAllocationCallback", CALL_RUNTIME, CALL_NO_OUT, false, call_unset_callback},
    {"JsSetRuntimeBeforeCollectCallback", CALL_RUNTIME, CALL_NO_OUT, false,
     call_unset_before_collect},
    {"JsCreateContext", CALL_RUNTIME, CALL_OUT_FIRST, false, call_create_context},
    {"JsDisableRuntimeExecution", CALL_RUNTIME, CALL_NO_OUT, false, call_disable},
    {"JsEnableRuntimeExecution", CALL_RUNTIME, CALL_NO_OUT, false, call_enable},
    {"JsIsRuntimeExecutionDisabled", CALL_RUNTIME, CALL_OUT, false, call_is_disabled},
    {"jsrtmem_alloc", CALL_RUNTIME, CALL_NO_OUT, false, call_alloc},
    {"jsrtmem_calloc", CALL_RUNTIME, CALL_NO_OUT, false, call_calloc},
    {"jsrtmem_aligned_alloc", CALL_RUNTIME, CALL_NO_OUT, false, call_aligned_alloc},
    {"jsrtmem_realloc", CALL_RUNTIME, CALL_NO_OUT, false, call_realloc},
    {"jsrtmem_enter", CALL_RUNTIME, CALL_NO_OUT, false, call_enter},
    {"jsrtmem_leave", CALL_RUNTIME, CALL_NO_OUT, false, call_leave},
    {"jsrtmem_abandon", CALL_RUNTIME, CALL_NO_OUT, false, call_abandon},
    {"jsrtmem_get_stats", CALL_RUNTIME, CALL_OUT_STRUCT, false, call_get_stats},
    {"jsrtmem_reset_peak", CALL_RUNTIME, CALL_NO_OUT, false, call_reset_peak},
    {"JsSetCurrentContext", CALL_CONTEXT, CALL_NO_OUT, true, call_set_current},
    {"JsGetRuntime", CALL_CONTEXT, CALL_OUT, false, call_get_runtime},
    {"JsGetContextData", CALL_CONTEXT, CALL_OUT, false, call_get_data},
    {"JsSetContextData", CALL_CONTEXT, CALL_NO_OUT, false, call_set_data},
    {"JsAddRef", CALL_CONTEXT, CALL_OUT_OPTIONAL, false, call_add_ref},
    {"JsRelease", CALL_CONTEXT, CALL_OUT_OPTIONAL, false, call_release},
};
const size_t all_calls_count = sizeof(all_calls) / sizeof(all_calls[0]);

void call_buffer_fill(union call_buffer *buffer)
{
    memset(buffer->bytes, FILL_BYTE, sizeof(buffer->bytes));
}

bool call_buffer_is_untouched(const union call_buffer *buffer)
{
    for (size_t i = 0; i < sizeof(buffer->bytes); i++) {
        if (buffer->bytes[i] != FILL_BYTE) {
            return false;
        }
    }
    return true;
}

JsErrorCode code_of_refusal(void)
{
    jsrtmem_refusal_info info = {.struct_size = sizeof(info)};

    if (jsrtmem_last_refusal(&info) != JsNoError) {
        return JsErrorFatal;
    }
    switch (info.reason) {
    case JSRTMEM_REFUSAL_LIMIT:
    case JSRTMEM_REFUSAL_HOST:
    case JSRTMEM_REFUSAL_OS:
    case JSRTMEM_REFUSAL_SIZE:
        return JsErrorOutOfMemory;
    case JSRTMEM_REFUSAL_THREAD:
        return JsErrorWrongThread;
    case JSRTMEM_REFUSAL_CALLBACK:
        return JsErrorRuntimeInUse;
    case JSRTMEM_REFUSAL_ARGUMENT:
        return JsErrorInvalidArgument;
    case JSRTMEM_REFUSAL_NONE:
    default:
        return JsErrorFatal;
    }
}

static JsErrorCode store_object(void *object, void *out)
{
    if (object == NULL) {
        return code_of_refusal();
    }
    if (out != NULL) {
        *(void **)out = object;
    }
    return JsNoError;
}

JsErrorCode call_dispose(void *runtime, void *unused)
{
    (void)unused;
    return JsDisposeRuntime(runtime);
}

JsErrorCode call_collect(void *runtime, void *unused)
{
    (void)unused;
    return JsCollectGarbage(runtime);
}

JsErrorCode call_get_usage(void *runtime, void *out)
{
    return JsGetRuntimeMemoryUsage(runtime, out);
}

JsErrorCode call_get_limit(void *runtime, void *out)
{
    return JsGetRuntimeMemoryLimit(runtime, out);
}

JsErrorCode call_set_limit(void *runtime, void *limit_or_null)
{
    return JsSetRuntimeMemoryLimit(runtime, limit_or_null != NULL ? *(size_t *)limit_or_null : 0);
}

JsErrorCode call_unset_callback(void *runtime, void *unused)
{
    return JsSetRuntimeMemoryAllocationCallback(runtime, unused, NULL);
}

JsErrorCode call_unset_before_collect(void *runtime, void *unused)
{
    return JsSetRuntimeBeforeCollectCallback(runtime, unused, NULL);
}

JsErrorCode call_create_context(void *runtime, void *out)
{
    return JsCreateContext(runtime, out);
}

JsErrorCode call_disable(void *runtime, void *unused)
{
    (void)unused;
    return JsDisableRuntimeExecution(runtime);
}

JsErrorCode call_enable(void *runtime, void *unused)
{
    (void)unused;
    return JsEnableRuntimeExecution(runtime);
}

JsErrorCode call_is_disabled(void *runtime, void *out)
{
    return JsIsRuntimeExecutionDisabled(runtime, out);
}

JsErrorCode call_alloc(void *runtime, void *out)
{
    return store_object(jsrtmem_alloc(runtime, ALLOC_SIZE), out);
}

JsErrorCode call_calloc(void *runtime, void *out)
{
    return store_object(jsrtmem_calloc(runtime, 4, ALLOC_SIZE), out);
}

JsErrorCode call_aligned_alloc(void *runtime, void *out)
{
    return store_object(jsrtmem_aligned_alloc(runtime, 64, ALLOC_SIZE), out);
}

JsErrorCode call_realloc(void *runtime, void *out)
{
    return store_object(jsrtmem_realloc(runtime, out != NULL ? *(void **)out : NULL, ALLOC_SIZE),
                        out);
}

JsErrorCode call_enter(void *runtime, void *unused)
{
    (void)unused;
    return jsrtmem_enter(runtime);
}

JsErrorCode call_leave(void *runtime, void *unused)
{
    (void)unused;
    return jsrtmem_leave(runtime);
}

JsErrorCode call_abandon(void *runtime, void *unused)
{
    (void)unused;
    return jsrtmem_abandon(runtime);
}

JsErrorCode call_get_stats(void *runtime, void *out)
{
    return jsrtmem_get_stats(runtime, out);
}

JsErrorCode call_reset_peak(void *runtime, void *unused)
{
    (void)unused;
    return jsrtmem_reset_peak(runtime);
}

JsErrorCode call_set_current(void *context, void *unused)
{
    (void)unused;
    return JsSetCurrentContext(context);
}

JsErrorCode call_get_current(void *unused, void *out)
{
    (void)unused;
    return JsGetCurrentContext(out);
}

JsErrorCode call_get_runtime(void *context, void *out)
{
    return JsGetRuntime(context, out);
}

JsErrorCode call_get_data(void *context, void *out)
{
    return JsGetContextData(context, out);
}

JsErrorCode call_set_data(void *context, void *data)
{
    return JsSetContextData(context, data);
}

JsErrorCode call_add_ref(void *context, void *out)
{
    return JsAddRef(context, out);
}

JsErrorCode call_release(void *context, void *out)
{
    return JsRelease(context, out);
}

JsErrorCode call_free(void *object, void *unused)
{
    (void)unused;
    return jsrtmem_free(object);
}

JsErrorCode call_idle(void *unused, void *out)
{
    (void)unused;
    return JsIdle(out);
}
