/* Every value and every signature of the headers, written down a second time. */
#include "jsrt.h"
#include "jsrtmem.h"

/* Fails to compile where the condition is false, in every language version. */
#define HOLDS(name, condition) typedef char holds_##name[(condition) ? 1 : -1]

#define VALUE(name, value) HOLDS(name, (long)(name) == (value))

VALUE(JsNoError, 0);
VALUE(JsErrorCategoryUsage, 0x10000);
VALUE(JsErrorInvalidArgument, 0x10001);
VALUE(JsErrorNullArgument, 0x10002);
VALUE(JsErrorNoCurrentContext, 0x10003);
VALUE(JsErrorInExceptionState, 0x10004);
VALUE(JsErrorNotImplemented, 0x10005);
VALUE(JsErrorWrongThread, 0x10006);
VALUE(JsErrorRuntimeInUse, 0x10007);
VALUE(JsErrorBadSerializedScript, 0x10008);
VALUE(JsErrorInDisabledState, 0x10009);
VALUE(JsErrorCannotDisableExecution, 0x1000a);
VALUE(JsErrorHeapEnumInProgress, 0x1000b);
VALUE(JsErrorArgumentNotObject, 0x1000c);
VALUE(JsErrorInProfileCallback, 0x1000d);
VALUE(JsErrorInThreadServiceCallback, 0x1000e);
VALUE(JsErrorCannotSerializeDebugScript, 0x1000f);
VALUE(JsErrorAlreadyDebuggingContext, 0x10010);
VALUE(JsErrorAlreadyProfilingContext, 0x10011);
VALUE(JsErrorIdleNotEnabled, 0x10012);
VALUE(JsCannotSetProjectionEnqueueCallback, 0x10013);
VALUE(JsErrorCannotStartProjection, 0x10014);
VALUE(JsErrorInObjectBeforeCollectCallback, 0x10015);
VALUE(JsErrorObjectNotInspectable, 0x10016);
VALUE(JsErrorPropertyNotSymbol, 0x10017);
VALUE(JsErrorPropertyNotString, 0x10018);
VALUE(JsErrorInvalidContext, 0x10019);
VALUE(JsInvalidModuleHostInfoKind, 0x1001a);
VALUE(JsErrorModuleParsed, 0x1001b);
VALUE(JsNoWeakRefRequired, 0x1001c);
VALUE(JsErrorPromisePending, 0x1001d);
VALUE(JsErrorModuleNotEvaluated, 0x1001e);
VALUE(JsErrorCategoryEngine, 0x20000);
VALUE(JsErrorOutOfMemory, 0x20001);
VALUE(JsErrorBadFPUState, 0x20002);
VALUE(JsErrorCategoryScript, 0x30000);
VALUE(JsErrorScriptException, 0x30001);
VALUE(JsErrorScriptCompile, 0x30002);
VALUE(JsErrorScriptTerminated, 0x30003);
VALUE(JsErrorScriptEvalDisabled, 0x30004);
VALUE(JsErrorCategoryFatal, 0x40000);
VALUE(JsErrorFatal, 0x40001);
VALUE(JsErrorWrongRuntime, 0x40002);
VALUE(JsErrorCategoryDiagError, 0x50000);
VALUE(JsErrorDiagAlreadyInDebugMode, 0x50001);
VALUE(JsErrorDiagNotInDebugMode, 0x50002);
VALUE(JsErrorDiagNotAtBreak, 0x50003);
VALUE(JsErrorDiagInvalidHandle, 0x50004);
VALUE(JsErrorDiagObjectNotFound, 0x50005);
VALUE(JsErrorDiagUnableToPerformAction, 0x50006);
VALUE(JsSerializerNotSupported, 0x50007);
VALUE(JsTransferableNotSupported, 0x50008);
VALUE(JsTransferableAlreadyDetached, 0x50009);

VALUE(JsMemoryAllocate, 0);
VALUE(JsMemoryFree, 1);
VALUE(JsMemoryFailure, 2);

VALUE(JsRuntimeAttributeNone, 0x0);
VALUE(JsRuntimeAttributeDisableBackgroundWork, 0x1);
VALUE(JsRuntimeAttributeAllowScriptInterrupt, 0x2);
VALUE(JsRuntimeAttributeEnableIdleProcessing, 0x4);
VALUE(JsRuntimeAttributeDisableNativeCodeGeneration, 0x8);
VALUE(JsRuntimeAttributeDisableEval, 0x10);
VALUE(JsRuntimeAttributeEnableExperimentalFeatures, 0x20);
VALUE(JsRuntimeAttributeDispatchSetExceptionsToDebugger, 0x40);
VALUE(JsRuntimeAttributeDisableFatalOnOOM, 0x80);
VALUE(JsRuntimeAttributeDisableExecutablePageAllocation, 0x100);

VALUE(JSRTMEM_REFUSAL_NONE, 0);
VALUE(JSRTMEM_REFUSAL_LIMIT, 1);
VALUE(JSRTMEM_REFUSAL_HOST, 2);
VALUE(JSRTMEM_REFUSAL_OS, 3);
VALUE(JSRTMEM_REFUSAL_SIZE, 4);
VALUE(JSRTMEM_REFUSAL_THREAD, 5);
VALUE(JSRTMEM_REFUSAL_CALLBACK, 6);
VALUE(JSRTMEM_REFUSAL_ARGUMENT, 7);

VALUE(JSRTMEM_DIAGNOSTICS_NONE, 0);
VALUE(JSRTMEM_DIAGNOSTICS_MISUSE, 1);
VALUE(JSRTMEM_DIAGNOSTICS_REFUSALS, 2);
VALUE(JSRTMEM_DIAGNOSTICS_STATS, 4);

/* Enums are as wide as int, as on every platform of the API. */
HOLDS(size_of_error, sizeof(JsErrorCode) == sizeof(int));
HOLDS(size_of_attributes, sizeof(JsRuntimeAttributes) == sizeof(int));
HOLDS(size_of_event, sizeof(JsMemoryEventType) == sizeof(int));
HOLDS(size_of_refusal, sizeof(jsrtmem_refusal) == sizeof(int));
HOLDS(size_of_bool, sizeof(bool) == 1);

/* Structs: the fields in their order, size_t wide but where 64 bits are promised. */
#define AT(type, field, offset) HOLDS(type##_##field, offsetof(type, field) == (offset))
#define WORD sizeof(size_t)
AT(jsrtmem_refusal_info, struct_size, 0);
AT(jsrtmem_refusal_info, reason, WORD);
AT(jsrtmem_refusal_info, runtime, 2 * WORD);
AT(jsrtmem_refusal_info, requested, 3 * WORD);
AT(jsrtmem_refusal_info, usage, 4 * WORD);
AT(jsrtmem_refusal_info, limit, 5 * WORD);
AT(jsrtmem_stats, struct_size, 0);
AT(jsrtmem_stats, usage, WORD);
AT(jsrtmem_stats, peak_usage, 2 * WORD);
AT(jsrtmem_stats, limit, 3 * WORD);
AT(jsrtmem_stats, live_bytes, 4 * WORD);
AT(jsrtmem_stats, live_objects, 5 * WORD);
AT(jsrtmem_stats, blocks, 6 * WORD);
#define EVENTS offsetof(jsrtmem_stats, allocate_events)
HOLDS(events_follow, EVENTS >= 7 * WORD && EVENTS < 7 * WORD + 8);
AT(jsrtmem_stats, free_events, EVENTS + 8);
AT(jsrtmem_stats, failure_events, EVENTS + 16);
AT(jsrtmem_stats, misuses, EVENTS + 24);
AT(jsrtmem_process_stats, struct_size, 0);
AT(jsrtmem_process_stats, runtimes, WORD);
AT(jsrtmem_process_stats, usage, 2 * WORD);
AT(jsrtmem_process_stats, reserve, 3 * WORD);
AT(jsrtmem_process_stats, reserve_limit, 4 * WORD);
AT(jsrtmem_process_stats, metadata, 5 * WORD);

/* A declaration that differs from the header's does not compile. */
#if defined(__cplusplus)
extern "C" {
#endif

typedef bool(CHAKRA_CALLBACK *expected_event)(void *, JsMemoryEventType, size_t);
typedef void(CHAKRA_CALLBACK *expected_collect)(void *);
typedef bool(CHAKRA_CALLBACK *expected_service)(void(CHAKRA_CALLBACK *)(void *), void *);

#define JS JSRT_EXPORT JsErrorCode JSRT_CALL
JS JsCreateRuntime(JsRuntimeAttributes, expected_service, void **);
JS JsDisposeRuntime(void *);
JS JsCollectGarbage(void *);
JS JsGetRuntimeMemoryUsage(void *, size_t *);
JS JsGetRuntimeMemoryLimit(void *, size_t *);
JS JsSetRuntimeMemoryLimit(void *, size_t);
JS JsSetRuntimeMemoryAllocationCallback(void *, void *, expected_event);
JS JsSetRuntimeBeforeCollectCallback(void *, void *, expected_collect);
JS JsCreateContext(void *, void **);
JS JsSetCurrentContext(void *);
JS JsGetCurrentContext(void **);
JS JsGetRuntime(void *, void **);
JS JsGetContextData(void *, void **);
JS JsSetContextData(void *, void *);
JS JsAddRef(void *, unsigned int *);
JS JsRelease(void *, unsigned int *);
JS JsIdle(unsigned int *);
JS JsDisableRuntimeExecution(void *);
JS JsEnableRuntimeExecution(void *);
JS JsIsRuntimeExecutionDisabled(void *, bool *);

JSRTMEM_API(void *) jsrtmem_alloc(void *, size_t);
JSRTMEM_API(void *) jsrtmem_calloc(void *, size_t, size_t);
JSRTMEM_API(void *) jsrtmem_aligned_alloc(void *, size_t, size_t);
JSRTMEM_API(void *) jsrtmem_realloc(void *, void *, size_t);
JSRTMEM_API(JsErrorCode) jsrtmem_free(void *);
JSRTMEM_API(size_t) jsrtmem_usable_size(const void *);
JSRTMEM_API(JsErrorCode) jsrtmem_runtime_of(const void *, void **);
JSRTMEM_API(JsErrorCode) jsrtmem_enter(void *);
JSRTMEM_API(JsErrorCode) jsrtmem_leave(void *);
JSRTMEM_API(void *) jsrtmem_current(void);
JSRTMEM_API(JsErrorCode) jsrtmem_last_refusal(jsrtmem_refusal_info *);
JSRTMEM_API(JsErrorCode) jsrtmem_abandon(void *);
JSRTMEM_API(JsErrorCode) jsrtmem_get_stats(void *, jsrtmem_stats *);
JSRTMEM_API(JsErrorCode) jsrtmem_reset_peak(void *);
JSRTMEM_API(JsErrorCode) jsrtmem_get_process_stats(jsrtmem_process_stats *);
JSRTMEM_API(JsErrorCode) jsrtmem_set_reserve_limit(size_t);
JSRTMEM_API(JsErrorCode) jsrtmem_set_diagnostics(unsigned int);
JSRTMEM_API(const char *) jsrtmem_version(void);

/* Handles, references and the null ones are void pointers. */
void header_types(void **runtime, void **reference);
void header_types(void **runtime, void **reference)
{
    JsRuntimeHandle *handle = runtime;
    JsRef *ref = reference;
    JsContextRef *context = ref;
    JsValueRef *value = context;
    *handle = JS_INVALID_RUNTIME_HANDLE;
    *value = JS_INVALID_REFERENCE;
}

#if defined(__cplusplus)
} /* extern "C" */
#endif
