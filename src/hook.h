/*
 * Layer 2: a callback of the host, and the call of it that is in progress.
 *
 * The pair (function, state) changes as one. Only the thread that uses the runtime calls, so at most
 * one call per hook is in progress:
 *
 *      phase even: nobody is inside        phase odd: call number (phase + 1) / 2 is in progress
 *
 * A call begins its phase first and reads the pair after; a change writes the pair first and reads the
 * phase after. So a changer that sees an even phase knows that the old pair will not be called again.
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
    _Atomic(jm_thread_id) thread; /* who is inside, which others compare with their id; 0: nobody */
    struct jm_call *outer;        /* the call that the thread was inside of already */
    uintptr_t mark;               /* the host's frames lie below it */
    size_t requested;             /* bytes of the request for which the host is asked */
    uint32_t operations;          /* of the runtime in progress, the calling one included */
    uint16_t site;                /* which of its runtime's hooks this is; set by the runtime */
    bool asking;                  /* for a yes or no; else it is told or notified */
    bool looked; /* a request in vain has had all looked through, see jm_quota_claim_search */
};

struct jm_hook {
    struct jm_call call;
    _Atomic(jm_hook_function) function; /* written under the runtime's lock */
    _Atomic(void *) state;              /* written under the runtime's lock */
    _Atomic(uint32_t) version;          /* odd while the pair is being written; 0: it never was */
    _Atomic(uint32_t) phase;            /* written by the calling thread */
};

/* A pair that was read in one piece, and the phase in which it may be called. */
struct jm_pair {
    jm_hook_function function;
    void *state;
    uint32_t phase;
};

/*
 * Declares the mark of a function that calls the host, behind some room on the stack. The host's frames lie below it.
 * Those of a later call of the library, from where the host jumped to or a little below, lie above: the room is for
 * that little, and for the frames, many without optimisation, down to where the library looks.
 */
#define JM_MARK_ROOM 2048
#define JM_MARK(name)                                      \
    JM_LEFT_ALONE unsigned char name##_room[JM_MARK_ROOM]; \
    uintptr_t name = (uintptr_t)(name##_room);             \
    JM_PIN(name)

/* For such a function: some tools would take the room from elsewhere. It calls the host in another function, that is not
 * inlined, as the host's own may be. */
#if defined(__clang__)
#define JM_MARKS JM_NOINLINE __attribute__((no_sanitize("address", "safe-stack")))
#else
#define JM_MARKS JM_NOINLINE __attribute__((no_sanitize_address))
#endif

/*
 * Begins a call: registers it with the thread and reads the pair. Returns false where no callback is
 * set; then no call was begun. `mark` is that of the function that will call the host.
 */
bool jm_hook_begin(struct jm_hook *hook, struct jm_pair *pair, uintptr_t mark);

/*
 * Ends the call begun as `pair`, and any calls inside it that the host left without returning.
 * Returns false where it had been abandoned meanwhile.
 */
bool jm_hook_end(struct jm_hook *hook, const struct jm_pair *pair);

/* Ends the thread's innermost call, and what was going on when it was made: the host jumped out of it into an outer one.
 * Layer 4 knows what that is, and sets this before the first call. */
extern JM_HIDDEN void (*jm_hook_leave)(void);

/* Ends that call and nothing else. */
void jm_hook_end_innermost(void);

/* Forgets a call in progress on a thread that a fork left behind. */
void jm_hook_forget(struct jm_hook *hook);

/* True while the calling thread is inside this hook. */
static inline bool jm_hook_is_mine(const struct jm_hook *hook)
{
    return jm_thread.calls != NULL && jm_load_relaxed(&hook->call.thread) == jm_thread.id;
}

/* True where a frame at `here` shows that the host left this call without returning from it. */
bool jm_hook_was_left(const struct jm_hook *hook, uintptr_t here);

/* Makes a hook new: there is no pair, and there was none. pre: nobody calls or changes it. */
void jm_hook_reset(struct jm_hook *hook);

/* Changes the pair. pre: the runtime's lock is held. Returns whether there may have been another one, which
 * may still be in use. */
bool jm_hook_set(struct jm_hook *hook, jm_hook_function function, void *state);

/* Waits until a call that may still use the pair before the last change has ended, or `*tag` is no longer as given: the
 * hook is another's then. pre: no lock is held, and the thread is inside no callback. */
void jm_hook_quiesce(const struct jm_hook *hook, const _Atomic(uint32_t) *tag, uint32_t given);

#endif
