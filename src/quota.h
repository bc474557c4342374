/*
 * Layer 2: what one runtime may hold, what it holds, and what its host is told.
 *
 *      usage <= peak  after every charge, and after a reset of the peak
 *      usage <= limit  after every charge, for the limit that was set last by a setter that has returned
 *      usage == bytes granted - bytes released, as the events report them
 *
 * Written by the thread that uses the runtime, one at a time (the limit, the pair and a reset of the
 * peak: by any thread, under the runtime's lock); read by any thread at any time.
 *
 *      granted      jm_quota_ask -> JM_GRANTED, supply found, jm_quota_charge -> true
 *      refused      jm_quota_ask -> anything else: the host has been told, but of JM_REFUSED_CALLBACK
 *      no supply    jm_quota_ask -> JM_GRANTED, jm_quota_fail
 *      overtaken    jm_quota_ask -> JM_GRANTED, jm_quota_charge -> false, supply returned, jm_quota_fail
 *      not returnable   jm_quota_ask -> JM_GRANTED, jm_quota_begin_charge -> true, supply found or not,
 *                       jm_quota_end_charge
 *      released     supply returned, jm_quota_refund
 */
#ifndef JM_QUOTA_H
#define JM_QUOTA_H

#include "hook.h"

/* The values are those of the public event and refusal enumerations. */
enum jm_event { JM_EVENT_ALLOCATE = 0, JM_EVENT_FREE = 1, JM_EVENT_FAILURE = 2, JM_EVENTS = 3 };

enum jm_verdict {
    JM_GRANTED = 0,
    JM_REFUSED_LIMIT,
    JM_REFUSED_HOST,
    JM_REFUSED_OS,
    JM_REFUSED_SIZE,
    JM_REFUSED_THREAD,
    JM_REFUSED_CALLBACK,
    JM_REFUSED_ARGUMENT
};

typedef bool(JM_CALLBACK *jm_event_function)(void *state, unsigned event, size_t bytes);

#define JM_NO_LIMIT SIZE_MAX

struct jm_quota {
    uint32_t operations;        /* in progress on the runtime; written by the thread that uses it */
    _Atomic(uint32_t) charging; /* odd from the last look at the limit until the charge */
    uintptr_t handle;           /* of the runtime, for those who watch; constant while live */
    struct jm_hook hook;
    _Atomic(size_t) usage, limit, peak;
    _Atomic(uint64_t) events[JM_EVENTS];
};

/* Makes a quota new: nothing used, no limit, no callback. pre: nobody uses the runtime. */
void jm_quota_reset(struct jm_quota *quota);

/*
 * Asks for `bytes`: first the limit, then the host. A refusal has been reported to the host, except
 * inside the host's own callback, where it is asked nothing and JM_REFUSED_CALLBACK is the answer.
 */
enum jm_verdict jm_quota_ask(struct jm_quota *quota, size_t bytes);

/* Charges what was granted. False where the limit does not allow it any more: nothing was charged. */
bool jm_quota_charge(struct jm_quota *quota, size_t bytes);

/* The same for a supply that cannot be returned, which is asked for in between: no host code runs there, for who lowers
 * the limit waits for the end. 0 bytes: there was none. */
bool jm_quota_begin_charge(struct jm_quota *quota, size_t bytes);
void jm_quota_end_charge(struct jm_quota *quota, size_t bytes);

/* Forgets what a thread was doing that a fork left behind. */
void jm_quota_forget(struct jm_quota *quota);

/* Sets the peak to the usage. Any thread, under the runtime's lock. */
void jm_quota_reset_peak(struct jm_quota *quota);

/* Remembers a refusal for the thread and tells the host. */
void jm_quota_fail(struct jm_quota *quota, size_t bytes, enum jm_verdict verdict);

/* Remembers a refusal for the thread. NULL: of no runtime. The handle is not taken from the quota, which may become
 * another runtime's meanwhile. */
void jm_quota_note_refusal(const struct jm_quota *quota, uintptr_t handle, enum jm_verdict verdict,
                           size_t requested);

/* True of refusals that the host is told of: jm_thread.told has the figures of that moment. */
static inline bool jm_verdict_is_reported(enum jm_verdict verdict)
{
    return verdict == JM_REFUSED_LIMIT || verdict == JM_REFUSED_HOST || verdict == JM_REFUSED_OS;
}

/* Takes what was released off the usage and tells the host. */
void jm_quota_refund(struct jm_quota *quota, size_t bytes);

/* The usage, and a peak that is not below it, though it is charged a few steps later. Any thread. */
static inline void jm_quota_read(const struct jm_quota *quota, size_t *usage, size_t *peak)
{
    *usage = jm_load_acquire(&quota->usage); /* before the peak */
    *peak = jm_load_relaxed(&quota->peak);
    *peak = *peak < *usage ? *usage : *peak;
}

/* The bytes up to the limit; none, too, where it was lowered below the usage. */
static inline size_t jm_quota_room(const struct jm_quota *quota)
{
    size_t usage = jm_load_relaxed(&quota->usage);
    size_t limit = jm_load_relaxed(&quota->limit);
    return usage <= limit ? limit - usage : 0;
}

/* True where `bytes` more, which are not 0, are within the limit. */
static inline bool jm_quota_allows(const struct jm_quota *quota, size_t bytes)
{
    return bytes <= jm_quota_room(quota);
}

/* True while the calling thread is inside this quota's callback: no event may be delivered. */
static inline bool jm_quota_in_callback(const struct jm_quota *quota)
{
    return jm_hook_is_mine(&quota->hook);
}

/* True once in each callback of this quota: a request made there cannot have a new block, so the first is worth a
 * search of all that is held. */
static inline bool jm_quota_claim_search(struct jm_quota *quota)
{
    bool is_first = jm_quota_in_callback(quota) && !quota->hook.call.looked;
    if (is_first) {
        quota->hook.call.looked = true;
    }
    return is_first;
}

#endif
