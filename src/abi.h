/*
 * Layer 5: shared by the functions of both public headers: finding a runtime, and error codes.
 */
#ifndef JM_ABI_H
#define JM_ABI_H

#include "jsrt.h"

#include "entry.h"

JM_INLINE JsErrorCode jm_abi_error(enum jm_access access)
{
    static const JsErrorCode errors[] = {
        [JM_ACCESS_GRANTED] = JsNoError,
        [JM_ACCESS_STALE] = JsErrorInvalidArgument,
        [JM_ACCESS_BUSY] = JsErrorWrongThread,
        [JM_ACCESS_NO_ROOM] = JsErrorOutOfMemory,
    };
    return errors[access];
}

/* The frame of a function that the host called. It shows which callbacks were left by a jump. */
#define JM_HERE ((uintptr_t)__builtin_frame_address(0))

/* Finds a runtime for a call that may use or change it. pre: `here` is JM_HERE. */
static inline JsErrorCode jm_abi_find(JsRuntimeHandle runtime, uintptr_t here, struct jm_ref *ref)
{
    bool ready = jm_runtime_settle(here); /* first: it may change what is found */
    *ref = jm_runtime_find(runtime);
    if (ref->slot == NULL) {
        return JsErrorInvalidArgument;
    }
    return ready ? JsNoError : JsErrorOutOfMemory;
}

/* Finds and locks a runtime for a change that any thread may make at any time. jm_runtime_unlock
 * ends it. */
static inline JsErrorCode jm_abi_lock(JsRuntimeHandle runtime, uintptr_t here, struct jm_ref *ref)
{
    JsErrorCode error = jm_abi_find(runtime, here, ref);
    if (error != JsNoError) {
        return error;
    }
    return jm_runtime_lock(*ref) ? JsNoError : JsErrorInvalidArgument;
}

#endif
