/* The parts of an Edge-mode host that touch these headers; compiled with USE_EDGEMODE_JSRT only. */
#if defined(USE_EDGEMODE_JSRT)
#include "jsrt.h"

bool CALLBACK header_service(JsBackgroundWorkItemCallback callback, void *state);
bool CALLBACK header_on_event(void *state, JsMemoryEventType event, size_t size);
void CALLBACK header_before_collect(void *state);
JsErrorCode header_host(void);

JsErrorCode header_host(void)
{
    JsRuntimeHandle runtime = JS_INVALID_RUNTIME_HANDLE;
    JsContextRef context = JS_INVALID_REFERENCE;
    JsRuntimeAttributes attributes = (JsRuntimeAttributes)(JsRuntimeAttributeAllowScriptInterrupt |
                                                           JsRuntimeAttributeEnableIdleProcessing);
    if (JsCreateRuntime(attributes, header_service, &runtime) != JsNoError) {
        return JsErrorFatal;
    }
    if (JsSetRuntimeMemoryAllocationCallback(runtime, JS_INVALID_REFERENCE, header_on_event) !=
            JsNoError ||
        JsSetRuntimeBeforeCollectCallback(runtime, JS_INVALID_REFERENCE, header_before_collect) !=
            JsNoError ||
        JsSetRuntimeMemoryLimit(runtime, (size_t)-1) != JsNoError ||
        JsCreateContext(runtime, &context) != JsNoError) {
        return JsErrorFatal;
    }
    (void)JsSetCurrentContext(context);
    (void)JsSetCurrentContext(JS_INVALID_REFERENCE);
    return JsDisposeRuntime(runtime);
}
#else
extern int header_not_edge;
#endif
