/*
 * Layer 5: jsrt.h. Checks handles, then pointers, and delegates.
 */
#include "jsrt.h"

#include "abi.h"
#include "before_collect.h"
#include "context.h"

#define KNOWN_ATTRIBUTES 0x1ffu
#define NEVER_AGAIN 0xffffffffu /* JsIdle: nothing is left to do */

static_assert((int)JsMemoryAllocate == JM_EVENT_ALLOCATE && (int)JsMemoryFree == JM_EVENT_FREE &&
                  (int)JsMemoryFailure == JM_EVENT_FAILURE,
              "events are handed out as they are");

/* ---- Runtimes ---- */

CHAKRA_API JsCreateRuntime(JsRuntimeAttributes attributes, JsThreadServiceCallback threadService,
                           JsRuntimeHandle *runtime)
{
    (void)threadService; /* nothing is ever done in the background */
    if (runtime == NULL) {
        return JsErrorNullArgument;
    }
    *runtime = JS_INVALID_RUNTIME_HANDLE;
    if (((unsigned)attributes & ~KNOWN_ATTRIBUTES) != 0) {
        return JsErrorInvalidArgument;
    }
    uintptr_t handle = jm_runtime_settle(JM_HERE) ? jm_runtime_create((uint32_t)attributes) : 0;
    if (handle == 0) {
        return JsErrorOutOfMemory;
    }
    *runtime = (JsRuntimeHandle)handle;
    return JsNoError;
}

CHAKRA_API JsDisposeRuntime(JsRuntimeHandle runtime)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_find(runtime, JM_HERE, &ref);
    if (error != JsNoError) {
        return error;
    }
    switch (jm_runtime_dispose(ref)) {
    case JM_DISPOSED:
        return JsNoError;
    case JM_DISPOSE_IN_USE:
        return JsErrorRuntimeInUse;
    default:
        return JsErrorInvalidArgument;
    }
}

/* Begins an operation for a Js call that is not allowed inside the allocation callback. */
static JsErrorCode begin(struct jm_operation *operation, JsRuntimeHandle runtime, uintptr_t here)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_find(runtime, here, &ref);
    if (error != JsNoError) {
        return error;
    }
    if (jm_runtime_in_event(jm_runtime_at(ref))) {
        return JsErrorRuntimeInUse;
    }
    return jm_abi_error(jm_operation_begin(operation, ref));
}

CHAKRA_API JsCollectGarbage(JsRuntimeHandle runtime)
{
    JM_OPERATION(operation);
    JsErrorCode error = begin(&operation, runtime, JM_HERE);
    if (error != JsNoError) {
        return error;
    }
    jm_runtime_collect(&operation);
    jm_operation_end(&operation);
    return JsNoError;
}

/* Reads a runtime's limit or usage. */
JM_INLINE JsErrorCode read_figure(JsRuntimeHandle runtime, bool is_limit, size_t *figure)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    if (figure == NULL) {
        return JsErrorNullArgument;
    }
    const struct jm_quota *quota = jm_runtime_quota(jm_runtime_at(ref));
    size_t value = jm_load_relaxed(is_limit ? &quota->limit : &quota->usage);
    if (!jm_registry_holds(ref)) {
        return JsErrorInvalidArgument;
    }
    *figure = value;
    return JsNoError;
}

CHAKRA_API JsGetRuntimeMemoryUsage(JsRuntimeHandle runtime, size_t *memoryUsage)
{
    return read_figure(runtime, false, memoryUsage);
}

CHAKRA_API JsGetRuntimeMemoryLimit(JsRuntimeHandle runtime, size_t *memoryLimit)
{
    return read_figure(runtime, true, memoryLimit);
}

CHAKRA_API JsSetRuntimeMemoryLimit(JsRuntimeHandle runtime, size_t memoryLimit)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_lock(runtime, JM_HERE, &ref);
    if (error != JsNoError) {
        return error;
    }
    jm_store_relaxed(&jm_runtime_quota(jm_runtime_at(ref))->limit, memoryLimit);
    jm_runtime_unlock(ref);
    jm_runtime_await_charge(ref);
    return JsNoError;
}

/* Changes a hook's pair. Outside callbacks, waits until the old pair is no longer in use. */
static JsErrorCode set_hook(struct jm_ref ref, struct jm_hook *hook, jm_hook_function function,
                            void *state)
{
    bool had_pair = jm_hook_set(hook, function, function == NULL ? NULL : state);
    jm_runtime_unlock(ref);
    if (had_pair && jm_thread.calls == NULL) {
        jm_hook_quiesce(hook, &ref.slot->tag, ref.tag);
    }
    return JsNoError;
}

CHAKRA_API JsSetRuntimeMemoryAllocationCallback(JsRuntimeHandle runtime, void *callbackState,
                                                JsMemoryAllocationCallback allocationCallback)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_lock(runtime, JM_HERE, &ref);
    if (error != JsNoError) {
        return error;
    }
    return set_hook(ref, &jm_runtime_quota(jm_runtime_at(ref))->hook,
                    (jm_hook_function)allocationCallback, callbackState);
}

CHAKRA_API JsSetRuntimeBeforeCollectCallback(JsRuntimeHandle runtime, void *callbackState,
                                             JsBeforeCollectCallback beforeCollectCallback)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_lock(runtime, JM_HERE, &ref);
    if (error != JsNoError) {
        return error;
    }
    struct jm_before_collect *record = jm_load_relaxed(&jm_runtime_at(ref)->before_collect);
    if (record == NULL && beforeCollectCallback != NULL) {
        record = jm_before_collect_create(jm_runtime_at(ref));
    }
    if (record == NULL) { /* nothing was set, or there is no memory */
        jm_runtime_unlock(ref);
        return beforeCollectCallback == NULL ? JsNoError : JsErrorOutOfMemory;
    }
    return set_hook(ref, &record->hook, (jm_hook_function)beforeCollectCallback, callbackState);
}

/* ---- Contexts ---- */

CHAKRA_API JsCreateContext(JsRuntimeHandle runtime, JsContextRef *newContext)
{
    if (newContext == NULL) {
        return JsErrorNullArgument;
    }
    JM_OPERATION(operation); /* untested: nothing unwinds it, no host code runs */
    JsErrorCode error = begin(&operation, runtime, JM_HERE);
    if (error != JsNoError) {
        return error;
    }
    bool disabled = jm_load_relaxed(&operation.runtime->disabled);
    uintptr_t handle = disabled ? 0 : jm_context_create(operation.runtime);
    jm_operation_end(&operation);
    if (handle == 0) {
        return disabled ? JsErrorInDisabledState : JsErrorOutOfMemory;
    }
    *newContext = (JsContextRef)handle;
    return JsNoError;
}

/* True inside the allocation callback of the context's runtime. False for a null slot. */
static bool context_in_event(struct jm_ref ref)
{
    return ref.slot != NULL && jm_runtime_in_event(jm_load_relaxed(&jm_context_at(ref)->runtime));
}

/* Finds the context that is to become current; none for JS_INVALID_REFERENCE. */
static JsErrorCode find_next(JsContextRef context, struct jm_ref *ref)
{
    *ref = jm_context_find(context);
    if (context != JS_INVALID_REFERENCE && ref->slot == NULL) {
        return JsErrorInvalidArgument;
    }
    bool is_barred = jm_thread.frame_count > 0 || context_in_event(*ref) ||
                     context_in_event(jm_context_current());
    return is_barred ? JsErrorRuntimeInUse : JsNoError;
}

CHAKRA_API JsSetCurrentContext(JsContextRef context)
{
    bool ready = jm_runtime_settle(JM_HERE);
    struct jm_ref ref;
    JsErrorCode error = find_next(context, &ref);
    if (error != JsNoError) {
        return error;
    }
    if (!ready) {
        return JsErrorOutOfMemory;
    }
    jm_context_take_in(jm_context_current());
    jm_context_take_in(ref);
    error = find_next(context, &ref); /* again: callbacks may have run */
    return error != JsNoError ? error : jm_abi_error(jm_context_set_current(ref));
}

CHAKRA_API JsGetCurrentContext(JsContextRef *currentContext)
{
    if (currentContext == NULL) {
        return JsErrorNullArgument;
    }
    *currentContext = (JsContextRef)jm_thread.context;
    return JsNoError;
}

CHAKRA_API JsGetRuntime(JsContextRef context, JsRuntimeHandle *runtime)
{
    struct jm_ref ref = jm_context_find(context);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    if (runtime == NULL) {
        return JsErrorNullArgument;
    }
    uintptr_t handle = jm_runtime_handle(jm_load_relaxed(&jm_context_at(ref)->runtime));
    if (!jm_registry_holds(ref)) {
        return JsErrorInvalidArgument;
    }
    *runtime = (JsRuntimeHandle)handle;
    return JsNoError;
}

CHAKRA_API JsGetContextData(JsContextRef context, void **data)
{
    struct jm_ref ref = jm_context_find(context);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    if (data == NULL) {
        return JsErrorNullArgument;
    }
    return jm_context_get_data(ref, data) ? JsNoError : JsErrorInvalidArgument;
}

CHAKRA_API JsSetContextData(JsContextRef context, void *data)
{
    bool ready = jm_runtime_settle(JM_HERE);
    struct jm_ref ref = jm_context_find(context);
    if (ref.slot != NULL && !ready) {
        return JsErrorOutOfMemory;
    }
    return jm_context_set_data(ref, data) ? JsNoError : JsErrorInvalidArgument;
}

static JsErrorCode change_count(JsRef ref, bool up, unsigned *count, uintptr_t here)
{
    bool ready = jm_runtime_settle(here);
    struct jm_ref found = jm_context_find(ref);
    if (found.slot != NULL && !ready) {
        return JsErrorOutOfMemory;
    }
    enum jm_count outcome = jm_context_count(found, up, count);
    if (outcome == JM_COUNTED) {
        return JsNoError;
    }
    return up && outcome == JM_COUNT_LIMIT ? JsErrorOutOfMemory : JsErrorInvalidArgument;
}

CHAKRA_API JsAddRef(JsRef ref, unsigned int *count)
{
    return change_count(ref, true, count, JM_HERE);
}

CHAKRA_API JsRelease(JsRef ref, unsigned int *count)
{
    return change_count(ref, false, count, JM_HERE);
}

/* ---- Idling and execution ---- */

CHAKRA_API JsIdle(unsigned int *nextIdleTick)
{
    if (nextIdleTick == NULL) {
        return JsErrorNullArgument;
    }
    (void)jm_runtime_settle(JM_HERE);
    struct jm_ref ref = jm_context_current();
    if (ref.slot == NULL) {
        return JsErrorNoCurrentContext;
    }
    struct jm_runtime *current = jm_load_relaxed(&jm_context_at(ref)->runtime);
    if (jm_runtime_in_event(current)) {
        return JsErrorRuntimeInUse;
    }
    if ((jm_load_relaxed(&current->attributes) & JsRuntimeAttributeEnableIdleProcessing) == 0) {
        return JsErrorIdleNotEnabled;
    }
    JM_OPERATION(operation);
    (void)jm_operation_try(&operation, current); /* granted: this thread uses the runtime */
    jm_heap_collect(&current->heap);
    *nextIdleTick = current->heap.untidy ? 0 : NEVER_AGAIN;
    jm_operation_end(&operation);
    return JsNoError;
}

/* Sets the flag that engines poll. */
static JsErrorCode set_disabled(JsRuntimeHandle handle, bool disabled, uintptr_t here)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_lock(handle, here, &ref);
    if (error != JsNoError) {
        return error;
    }
    struct jm_runtime *runtime = jm_runtime_at(ref);
    if ((jm_load_relaxed(&runtime->attributes) & JsRuntimeAttributeAllowScriptInterrupt) == 0) {
        error = disabled ? JsErrorCannotDisableExecution : JsNoError;
    } else if (!disabled && jm_runtime_is_entered_elsewhere(runtime)) {
        error = JsErrorWrongThread;
    } else {
        jm_store_release(&runtime->disabled, disabled);
    }
    jm_runtime_unlock(ref);
    return error;
}

CHAKRA_API JsDisableRuntimeExecution(JsRuntimeHandle runtime)
{
    return set_disabled(runtime, true, JM_HERE);
}

CHAKRA_API JsEnableRuntimeExecution(JsRuntimeHandle runtime)
{
    return set_disabled(runtime, false, JM_HERE);
}

CHAKRA_API JsIsRuntimeExecutionDisabled(JsRuntimeHandle runtime, bool *isDisabled)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    if (isDisabled == NULL) {
        return JsErrorNullArgument;
    }
    bool disabled = jm_load_relaxed(&jm_runtime_at(ref)->disabled);
    if (!jm_registry_holds(ref)) {
        return JsErrorInvalidArgument;
    }
    *isDisabled = disabled;
    return JsNoError;
}
