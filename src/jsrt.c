/*
 * Layer 5: jsrt.h. Checks handles, then pointers, and delegates.
 */
#include "jsrt.h"

#include "abi.h"
#include "context.h"
#include "notice.h"

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

CHAKRA_API JsGetRuntimeMemoryUsage(JsRuntimeHandle runtime, size_t *memoryUsage)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    if (memoryUsage == NULL) {
        return JsErrorNullArgument;
    }
    size_t usage = jm_load_relaxed(&jm_runtime_quota(jm_runtime_at(ref))->usage);
    if (!jm_registry_holds(ref)) {
        return JsErrorInvalidArgument;
    }
    *memoryUsage = usage;
    return JsNoError;
}

CHAKRA_API JsGetRuntimeMemoryLimit(JsRuntimeHandle runtime, size_t *memoryLimit)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    if (memoryLimit == NULL) {
        return JsErrorNullArgument;
    }
    size_t limit = jm_load_relaxed(&jm_runtime_quota(jm_runtime_at(ref))->limit);
    if (!jm_registry_holds(ref)) {
        return JsErrorInvalidArgument;
    }
    *memoryLimit = limit;
    return JsNoError;
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
    JsErrorCode error = jm_abi_find(runtime, JM_HERE, &ref);
    if (error != JsNoError) {
        return error;
    }
    bool has_notice = jm_load_relaxed(&jm_runtime_at(ref)->notice) != NULL;
    if (beforeCollectCallback != NULL && !has_notice && !jm_notice_add(ref)) {
        return JsErrorOutOfMemory;
    }
    if (!jm_runtime_lock(ref)) {       /* untested: disposed meanwhile, */
        return JsErrorInvalidArgument; /* untested: by chance only, see test_steps.c */
    }
    struct jm_notice *notice = jm_load_relaxed(&jm_runtime_at(ref)->notice);
    if (notice == NULL) { /* nothing was set */
        jm_runtime_unlock(ref);
        return JsNoError;
    }
    return set_hook(ref, &notice->hook, (jm_hook_function)beforeCollectCallback, callbackState);
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

CHAKRA_API JsAddRef(JsRef ref, unsigned int *count)
{
    bool ready = jm_runtime_settle(JM_HERE);
    struct jm_ref found = jm_context_find(ref);
    if (found.slot != NULL && !ready) {
        return JsErrorOutOfMemory;
    }
    switch (jm_context_add_reference(found, count)) {
    case JM_COUNTED:
        return JsNoError;
    case JM_COUNT_LIMIT:
        return JsErrorOutOfMemory;
    default:
        return JsErrorInvalidArgument;
    }
}

CHAKRA_API JsRelease(JsRef ref, unsigned int *count)
{
    bool ready = jm_runtime_settle(JM_HERE);
    struct jm_ref found = jm_context_find(ref);
    if (found.slot != NULL && !ready) {
        return JsErrorOutOfMemory;
    }
    return jm_context_release(found, count) == JM_COUNTED ? JsNoError : JsErrorInvalidArgument;
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

/* Reads a runtime's attributes. False if the handle is stale. */
static bool attributes_of(struct jm_ref ref, uint32_t *attributes)
{
    *attributes = jm_load_relaxed(&jm_runtime_at(ref)->attributes);
    return jm_registry_holds(ref);
}

/* Sets the flag that engines poll. */
static JsErrorCode set_disabled(JsRuntimeHandle runtime, bool disabled, uintptr_t here)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_lock(runtime, here, &ref);
    if (error == JsNoError) {
        jm_store_release(&jm_runtime_at(ref)->disabled, disabled);
        jm_runtime_unlock(ref);
    }
    return error;
}

CHAKRA_API JsDisableRuntimeExecution(JsRuntimeHandle runtime)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    uint32_t attributes;
    if (ref.slot == NULL || !attributes_of(ref, &attributes)) {
        return JsErrorInvalidArgument;
    }
    if ((attributes & JsRuntimeAttributeAllowScriptInterrupt) == 0) {
        return JsErrorCannotDisableExecution;
    }
    return set_disabled(runtime, true, JM_HERE);
}

CHAKRA_API JsEnableRuntimeExecution(JsRuntimeHandle runtime)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    uint32_t attributes;
    if (ref.slot == NULL || !attributes_of(ref, &attributes)) {
        return JsErrorInvalidArgument;
    }
    if ((attributes & JsRuntimeAttributeAllowScriptInterrupt) == 0) {
        return JsNoError;
    }
    if (jm_runtime_is_entered_elsewhere(jm_runtime_at(ref))) {
        bool live = jm_registry_holds(ref);
        return live ? JsErrorWrongThread : JsErrorInvalidArgument; /* untested: disposed just now */
    }
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
