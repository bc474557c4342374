/*
 * Layer 1: what the library knows about the calling thread, and the locks that it may wait for.
 */
#ifndef JM_THREAD_H
#define JM_THREAD_H

#include "atomic.h"
#include "base.h"
#include "os_local.h"

struct jm_call;
struct jm_runtime;

/*
 * A thread's id is never reused. Its upper bits count the forks that led to the process it began
 * in, so a forked child can tell which threads did not come along. The highest bit is 0: a
 * runtime's `owner` holds an id and one more bit.
 */
typedef uint64_t jm_thread_id;
#define JM_THREAD_ID_BITS 63

/* A runtime that the thread entered. The innermost frame is the last. */
struct jm_frame {
    struct jm_runtime *runtime;
    uintptr_t handle;
};

/* Up to this nesting depth, frames need no memory outside the record. */
#define JM_INLINE_FRAMES 4

/* What jsrtmem_last_refusal tells about a refusal. */
struct jm_refusal {
    unsigned reason;
    uintptr_t handle;
    size_t requested, usage, limit;
};

struct jm_thread_record {
    jm_thread_id id;         /* 0: the thread is not registered */
    struct jm_call *calls;   /* host callbacks in progress on the thread, innermost first */
    struct jm_frame *frames; /* inline_frames or a mapping */
    size_t frame_count, frame_capacity;
    uintptr_t context; /* the current context's handle; 0: none */
    struct jm_frame inline_frames[JM_INLINE_FRAMES];

    size_t requested; /* bytes of the request that a host may be asked for */
    bool unwound;     /* an exception left a callback that asked the host for memory */
    bool exits;       /* the thread exits: it may have no later chance to give up what it keeps */

    struct jm_refusal refusal;         /* the latest */
    struct jm_refusal reported;        /* the latest that a host was told of */
    struct jm_refusal before_reported; /* `refusal` just before that one */
};

extern JM_LOCAL struct jm_thread_record jm_thread_local JM_TLS_MODEL;
#define jm_thread JM_OWN(jm_thread_local)

/* Gives the thread an id and watches its exit. post: false: the OS has no room, or no id is
 * left. */
JM_COLD bool jm_thread_register(void);

/* Registers the thread if it has no id. post: false: as jm_thread_register. */
JM_INLINE bool jm_thread_ready(void)
{
    return JM_LIKELY(jm_thread.id != 0) || jm_thread_register();
}

/* True for a thread of a process that this one descends from, unless it forked this process. */
bool jm_thread_is_gone(jm_thread_id id);

/* Records, in a forked child, that all threads but the caller are gone. */
void jm_thread_forked(void);

/* The number of forks from the first process to this one, modulo 65,536. */
uint16_t jm_thread_forks(void);

/* Make room for one more frame. post: false: no memory. */
bool jm_thread_grow_frames(void);
static inline bool jm_thread_reserve_frame(void)
{
    return jm_thread.frame_count < jm_thread.frame_capacity || jm_thread_grow_frames();
}

/* The frame of the runtime that the thread entered last. NULL: none. */
JM_INLINE struct jm_frame *jm_thread_innermost(void)
{
    size_t count = jm_thread.frame_count;
    return count == 0 ? NULL : &jm_thread.frames[count - 1];
}

/* Gives back the memory that the record holds, and clears the id. The thread may register again. */
void jm_thread_reset(void);

/*
 * A lock for sections in which no host code runs. Most are a few steps. Some call the OS, to grow a
 * table or to give memory back. The word holds the owner's id, so that a forked child can take over
 * a lock from a thread that is gone.
 * pre: the thread has an id, or the library is being initialised.
 */
struct jm_lock {
    _Atomic(jm_thread_id) owner;
};

void jm_lock_contended(struct jm_lock *lock);

JM_INLINE void jm_lock_take(struct jm_lock *lock)
{
    jm_thread_id nobody = 0;
    atomic_signal_fence(memory_order_release); /* nothing sinks below, see jm_fence_after_locked */
    if (JM_UNLIKELY(!jm_cas_acquire(&lock->owner, &nobody, jm_thread.id))) {
        jm_lock_contended(lock);
    }
}

JM_INLINE void jm_lock_drop(struct jm_lock *lock)
{
    jm_store_release(&lock->owner, 0);
}

/* What a fork does with every lock, one of these two. Each file with a lock has a function
 * jm_<file>_for_locks, which process.c calls. */
typedef void jm_lock_step(struct jm_lock *lock);

#endif
