/*
 * Layer 2: a hook: a callback of the host, and the call of it that is in progress.
 *
 * The pair (function, state) changes atomically. Only the thread that uses the runtime calls, so at
 * most one call per hook is in progress:
 *
 *      phase even: no call             phase odd: call number (phase + 1) / 2 is in progress
 *
 * A call begins its phase first and then reads the pair. A change writes the pair first and then
 * reads the phase. So a changer that sees an even phase knows that the old pair will not be called
 * again.
 *
 * No lock is held while the host runs.
 */
#ifndef JM_HOOK_H
#define JM_HOOK_H

#include "atomic.h"
#include "base.h"
#include "thread.h"

typedef void (*jm_hook_function)(void);

/* A call in progress. Written by the calling thread only. */
struct jm_call {
    _Atomic(jm_thread_id) thread; /* the calling thread's id, which any thread may read; 0: none */
    struct jm_call *outer;        /* the enclosing call on the same thread; NULL: none */
    uintptr_t mark;               /* stack address that the host's frames lie below, see JM_MARK */
    size_t requested;             /* bytes of the request that the host is asked for */
    uint32_t operations;          /* the runtime's operations in progress, including the caller */
    uint16_t site;                /* which of the runtime's hooks this is; set by the runtime */
    bool asking;                  /* the host may refuse; else it is only notified */
    bool searched; /* the one full search of a callback was made, see jm_quota_claim_search */
};

struct jm_hook {
    struct jm_call call;
    _Atomic(jm_hook_function) function; /* written under the runtime's lock */
    _Atomic(void *) state;              /* written under the runtime's lock */
    _Atomic(uint32_t) version;          /* odd while the pair is written; 0: never written */
    _Atomic(uint32_t) phase;            /* written by the calling thread */
};

/* A consistent copy of the pair, and the phase in which it may be called. */
struct jm_pair {
    jm_hook_function function;
    void *state;
    uint32_t phase;
};

/*
 * Declares the mark of a function that calls the host: the low end of some room on the stack. The
 * host's frames lie below it. If the host jumps out and calls the library again, from the frame it
 * jumped to or a little below, that call's frames lie above the mark. The room leaves space for
 * that little, and for the library's frames down to the one that it compares with the mark: without
 * optimisation they are many, and with AddressSanitizer large.
 */
#if defined(JM_ASAN)
#define JM_MARK_ROOM 8192
#else
#define JM_MARK_ROOM 2048
#endif
#define JM_MARK(name)                                         \
    JM_UNINITIALIZED unsigned char name##_room[JM_MARK_ROOM]; \
    uintptr_t name = (uintptr_t)(name##_room);                \
    JM_PIN(name)

/* Attributes of a function that declares a mark. AddressSanitizer and SafeStack would move the room
 * off the stack. The function must call the host through another noinline function, because the
 * host's own function may be inlined. */
#if defined(__clang__)
#define JM_MARKS JM_NOINLINE __attribute__((no_sanitize("address", "safe-stack")))
#else
#define JM_MARKS JM_NOINLINE __attribute__((no_sanitize_address))
#endif

/*
 * Begins a call: registers it with the thread and reads the pair. `mark` is the JM_MARK of the
 * function that will call the host. Returns false, with no call begun, if no callback is set.
 */
bool jm_hook_begin(struct jm_hook *hook, struct jm_pair *pair, uintptr_t mark);

/*
 * Ends the call begun as `pair`, and any calls inside it that the host left without returning:
 * those on the thread's own stack. One on a coroutine's stack may still return, later than this
 * one. Returns false if the call itself was abandoned before.
 */
bool jm_hook_end(struct jm_hook *hook, const struct jm_pair *pair);

/* Ends the thread's innermost call, which the host left by a jump into an outer one, and the
 * operation that made the call. Layer 4 knows operations, and sets this pointer before the first
 * call. */
extern JM_HIDDEN void (*jm_hook_abandon)(void);

/* Ends the thread's innermost call and nothing else. */
void jm_hook_end_innermost(void);

/* Forgets a call, and a change of the pair, in progress on threads that a fork left behind. */
void jm_hook_forget(struct jm_hook *hook);

/* True while the calling thread is inside this hook. */
static inline bool jm_hook_is_mine(const struct jm_hook *hook)
{
    return jm_thread.calls != NULL && jm_load_relaxed(&hook->call.thread) == jm_thread.id;
}

/* True if a frame at `here` proves that the host left this call without returning from it. */
bool jm_hook_was_left(const struct jm_hook *hook, uintptr_t here);

/* Resets a hook: it has no pair and never had one. pre: no thread calls or changes it. */
void jm_hook_reset(struct jm_hook *hook);

/* Changes the pair. True if there may have been an earlier pair, which may still be in use. pre:
 * the runtime's lock is held. */
bool jm_hook_set(struct jm_hook *hook, jm_hook_function function, void *state);

/* Waits until a call that may still use the previous pair has ended, or until `*tag` differs from
 * `live_tag`: then the hook's runtime is gone. pre: the thread holds no lock and is inside no
 * callback. */
void jm_hook_quiesce(const struct jm_hook *hook, const _Atomic(uint32_t) *tag, uint32_t live_tag);

#endif
