/*
 * Layer 1: what the library knows about the calling thread, and the waits that may happen on it.
 */
#ifndef JM_THREAD_H
#define JM_THREAD_H

#include "atomic.h"
#include "base.h"
#include "os_local.h"

struct jm_call;
struct jm_runtime;

/*
 * A thread's id is never reused. Its upper bits count the forks that led to this process, so that a
 * forked child can tell the threads that did not come along. The highest bit is 0: who owns a runtime needs one more.
 */
typedef uint64_t jm_thread_id;
#define JM_THREAD_ID_BITS 63

/* Runtimes that the thread entered, innermost last; equal neighbours are counted, not repeated. */
struct jm_frame {
    struct jm_runtime *runtime;
    uintptr_t handle;
    size_t count;
};

/* Nests this deep need no memory of their own. */
#define JM_INLINE_FRAMES 4

/* A refusal, see jsrtmem_last_refusal. */
struct jm_refusal {
    unsigned reason;
    uintptr_t handle;
    size_t requested, usage, limit;
};

struct jm_thread_record {
    jm_thread_id id;         /* 0: the thread has not been seen */
    struct jm_call *calls;   /* host callbacks that the thread is inside of, innermost first */
    struct jm_frame *frames; /* inline_frames, or a mapping of its own */
    size_t frame_count, frame_capacity;
    uintptr_t context; /* the current context's handle, 0: none */
    struct jm_frame inline_frames[JM_INLINE_FRAMES];

    size_t requested; /* bytes of the request for which a host may be asked */
    bool unwound;     /* an exception left a callback that was asking */

    struct jm_refusal refusal; /* the latest */
    struct jm_refusal told;    /* the latest that a host has been told of, */
    struct jm_refusal before;  /* and what was the latest before that */
};

extern JM_LOCAL struct jm_thread_record jm_thread_local JM_TLS_MODEL;
#define jm_thread JM_OWN(jm_thread_local)

/* Gives the thread an id and has its exit watched. post: false: the OS has no room, or there is no id. */
JM_COLD bool jm_thread_register(void);

/* Makes sure that the thread has an id. */
JM_INLINE bool jm_thread_ready(void)
{
    return JM_LIKELY(jm_thread.id != 0) || jm_thread_register();
}

/* True for a thread of the process that this one was forked from, other than the forking thread. */
bool jm_thread_is_gone(jm_thread_id id);

/* In a forked child: all threads but the caller are gone. */
void jm_thread_forked(void);

/* How many forks lie between the first process and this one, modulo 65,536. */
uint16_t jm_thread_forks(void);

/* Makes room for one more frame. post: false: no memory. */
bool jm_thread_grow_frames(void);
static inline bool jm_thread_reserve_frame(void)
{
    return jm_thread.frame_count < jm_thread.frame_capacity || jm_thread_grow_frames();
}

/* The frame of the runtime that the thread entered last; NULL: none. */
JM_INLINE struct jm_frame *jm_thread_innermost(void)
{
    size_t count = jm_thread.frame_count;
    return count == 0 ? NULL : &jm_thread.frames[count - 1];
}

/* Gives back what the thread's record holds; the record may be used again. */
void jm_thread_reset(void);

/*
 * A lock for sections in which no host code runs: most are a few steps; some call the OS: where tables grow, or
 * memory is given back.
 * The word holds the owner's id, so that a forked child takes over what a vanished thread held.
 * pre: the thread has an id, or the library is just being prepared.
 */
struct jm_lock {
    _Atomic(jm_thread_id) owner;
};

void jm_lock_contended(struct jm_lock *lock);

JM_INLINE void jm_lock_take(struct jm_lock *lock)
{
    jm_thread_id nobody = 0;
    atomic_signal_fence(memory_order_release); /* nothing sinks below, see jm_fence_after_swap */
    if (JM_UNLIKELY(!jm_swap_acquire(&lock->owner, &nobody, jm_thread.id))) {
        jm_lock_contended(lock);
    }
}

JM_INLINE void jm_lock_drop(struct jm_lock *lock)
{
    jm_store_release(&lock->owner, 0);
}

#endif
