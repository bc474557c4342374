/*
 * Layer 2: what a runtime may hold, what it holds, and what its host is told.
 *
 *      usage <= peak   after every charge and every reset of the peak
 *      usage <= limit  after every charge, for the limit of the last setter that has returned
 *      usage == bytes granted - bytes released, as the events report them
 *
 * Written by the thread that uses the runtime, one at a time. Any thread may set the limit or the
 * callback pair, or reset the peak, under the runtime's lock. Any thread may read at any time.
 *
 *      granted      jm_quota_ask -> JM_GRANTED, supply found, jm_quota_charge -> true
 *      refused      jm_quota_ask -> anything else; the host knows, except of JM_REFUSED_CALLBACK
 *      no supply    jm_quota_ask -> JM_GRANTED, jm_quota_fail
 *      overtaken    jm_quota_ask -> JM_GRANTED, jm_quota_charge -> false, supply returned,
 *                   jm_quota_fail
 *      not returnable   jm_quota_ask -> JM_GRANTED, jm_quota_begin_charge -> true,
 *                       supply found or not, jm_quota_end_charge
 *      quickly found    before the supply, jm_quota_open_charge; then as any above. If it is not
 *                       found quickly after all, jm_quota_end_charge with 0
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
    _Atomic(uint32_t) charging; /* odd from before the last check of the limit until the charge */
    uintptr_t handle;           /* the runtime's, for refusals and probes; constant while live */
    struct jm_hook hook;
    _Atomic(size_t) usage, limit, peak;
    _Atomic(uint64_t) events[JM_EVENTS];
};

/* Resets a quota: nothing used, no limit, no callback. pre: no thread uses the runtime. */
void jm_quota_reset(struct jm_quota *quota);

/*
 * Asks for `bytes`: checks the limit, then asks the host. A refusal has been reported to the host.
 * Inside the host's own callback the host is neither asked nor told, and the answer is
 * JM_REFUSED_CALLBACK.
 */
enum jm_verdict jm_quota_ask(struct jm_quota *quota, size_t bytes);

/* Charges granted bytes. False if the limit no longer allows them: nothing was charged. */
bool jm_quota_charge(struct jm_quota *quota, size_t bytes);

/* The same in two steps, for a supply that cannot be returned: the caller asks for it in between.
 * No host code may run there, because a thread that lowers the limit waits for the end. End with 0
 * bytes if the supply was refused. */
bool jm_quota_begin_charge(struct jm_quota *quota, size_t bytes);
void jm_quota_end_charge(struct jm_quota *quota, size_t bytes);

/* Marks a charge as begun, for a supply that takes a lock: that is the fence, which jm_quota_charge
 * then need not make. As long as that supply lasts, a thread that lowers the limit waits. */
static inline void jm_quota_open_charge(struct jm_quota *quota)
{
    jm_store_relaxed(&quota->charging, jm_load_relaxed(&quota->charging) | 1);
}

/* Forgets what was in progress on a thread that a fork left behind. */
void jm_quota_forget(struct jm_quota *quota);

/* Sets the peak to the usage. Any thread, under the runtime's lock. */
void jm_quota_reset_peak(struct jm_quota *quota);

/* Records a refusal for the thread and tells the host. */
void jm_quota_fail(struct jm_quota *quota, size_t bytes, enum jm_verdict verdict);

/* Records a refusal for the thread. `quota` is NULL if no runtime is concerned. The handle is
 * passed because the quota may have become another runtime's by now. */
void jm_quota_note_refusal(const struct jm_quota *quota, uintptr_t handle, enum jm_verdict verdict,
                           size_t requested);

/* True for a refusal that the host is told of: jm_thread.reported holds what it was then. */
static inline bool jm_verdict_is_reported(enum jm_verdict verdict)
{
    return verdict == JM_REFUSED_LIMIT || verdict == JM_REFUSED_HOST || verdict == JM_REFUSED_OS;
}

/* Subtracts released bytes from the usage, then tells the host. */
void jm_quota_refund(struct jm_quota *quota, size_t bytes);

/* Reads the usage, and a peak that is not below it, although a charge raises the peak a few steps
 * later. Any thread. */
static inline void jm_quota_read(const struct jm_quota *quota, size_t *usage, size_t *peak)
{
    *usage = jm_load_acquire(&quota->usage); /* before the peak */
    *peak = jm_load_relaxed(&quota->peak);
    *peak = *peak < *usage ? *usage : *peak;
}

/* The bytes left below the limit; 0 if it was lowered below the usage. */
static inline size_t jm_quota_room(const struct jm_quota *quota)
{
    size_t usage = jm_load_relaxed(&quota->usage);
    size_t limit = jm_load_relaxed(&quota->limit);
    return usage <= limit ? limit - usage : 0;
}

/* True if `bytes` more are within the limit. pre: `bytes` is not 0. */
static inline bool jm_quota_allows(const struct jm_quota *quota, size_t bytes)
{
    return bytes <= jm_quota_room(quota);
}

/* True if the calling thread is inside this quota's callback, where no event may be delivered. */
static inline bool jm_quota_in_callback(const struct jm_quota *quota)
{
    return jm_hook_is_mine(&quota->hook);
}

/* True once in each callback of this quota. A request made there cannot get a new block, so the
 * first one is worth a search of everything the heap holds. */
static inline bool jm_quota_claim_search(struct jm_quota *quota)
{
    bool is_first = jm_quota_in_callback(quota) && !quota->hook.call.searched;
    if (is_first) {
        quota->hook.call.searched = true;
    }
    return is_first;
}

#endif
