/*
 * Layer 5: the part of jsrtmem.h by which a thread enters and leaves runtimes.
 */
#include "jsrtmem.h"

#include "abi.h"

JM_INLINE JsErrorCode enter(struct jm_ref ref, JsRuntimeHandle runtime)
{
    return jm_abi_error(jm_runtime_push(ref, (uintptr_t)runtime));
}

static JM_NOINLINE JsErrorCode enter_slow(JsRuntimeHandle runtime)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_find(runtime, JM_HERE, &ref);
    if (error != JsNoError) {
        return error;
    }
    if (jm_runtime_in_event(jm_runtime_at(ref))) {
        return JsErrorRuntimeInUse;
    }
    jm_runtime_take_in(ref);
    return enter(ref, runtime);
}

JSRTMEM_API(JsErrorCode) jsrtmem_enter(JsRuntimeHandle runtime)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    bool is_fast = ref.slot != NULL && jm_runtime_is_settled() &&
                   !jm_heap_owes_drain(&jm_runtime_at(ref)->heap);
    return is_fast ? enter(ref, runtime) : enter_slow(runtime);
}

static bool is_innermost(JsRuntimeHandle runtime)
{
    const struct jm_frame *top = jm_thread_innermost();
    return top != NULL && top->handle == (uintptr_t)runtime;
}

/* Handles the rare cases: inside a callback; the innermost entered runtime is another one; there
 * are frees to take in. */
static JM_NOINLINE JsErrorCode leave_slow(JsRuntimeHandle runtime)
{
    (void)jm_runtime_settle(JM_HERE);
    struct jm_ref ref = jm_runtime_find(runtime);
    if (ref.slot != NULL && jm_runtime_in_event(jm_runtime_at(ref))) {
        return JsErrorRuntimeInUse;
    }
    if (is_innermost(runtime)) {
        jm_runtime_take_in(ref);
    }
    if (!is_innermost(runtime)) { /* or no longer: a callback entered another one */
        return JsErrorInvalidArgument;
    }
    jm_runtime_pop();
    return JsNoError;
}

JSRTMEM_API(JsErrorCode) jsrtmem_leave(JsRuntimeHandle runtime)
{
    bool is_fast = jm_runtime_is_settled() && is_innermost(runtime) &&
                   !jm_heap_owes_drain(&jm_thread_innermost()->runtime->heap);
    if (JM_UNLIKELY(!is_fast)) {
        return leave_slow(runtime);
    }
    jm_runtime_pop();
    return JsNoError;
}

JSRTMEM_API(JsRuntimeHandle) jsrtmem_current(void)
{
    uintptr_t handle = jm_current.handle;
    return (JsRuntimeHandle)(JM_LIKELY(handle != 0) ? handle : jm_runtime_current().handle);
}

JSRTMEM_API(JsErrorCode) jsrtmem_abandon(JsRuntimeHandle runtime)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    jm_runtime_abandon(jm_runtime_at(ref), JM_HERE);
    return JsNoError;
}
