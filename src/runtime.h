/*
 * Layer 4: runtimes. A runtime is a quota and a heap, used by one thread at a time.
 *
 * A thread uses a runtime because it entered it (jm_runtime_push, or a current context), or for the
 * length of an operation (any call that may take or give back blocks, or that came without entering), or of a
 * visit, which is a small operation that nobody counts (see entry.h):
 *
 *      owner == 0                            nobody uses it: entries == operations == 0
 *      owner == thread id << 1 | 1           entries > 0
 *      owner == thread id << 1               entries == 0, operations > 0, or a visit
 *      owner == JM_NEVER                     it is not live, or not yet: nobody can use it. (A slot that never was
 *                                            in use has 0.)
 *
 * Whoever changes `owner` from 0 owns everything in the runtime but what is marked as shared. An
 * operation of another thread waits for the end of an operation, never for an entry.
 */
#ifndef JM_RUNTIME_H
#define JM_RUNTIME_H

#include "heap.h"
#include "registry.h"

#define JM_NEVER UINT64_MAX

struct jm_notice; /* see notice.h */

/* Which hook of its runtime a call belongs to. */
enum jm_site { JM_SITE_EVENT, JM_SITE_BEFORE_COLLECT };

/* What entering and leaving touch lies in the first cache line. */
struct jm_runtime {
    struct jm_slot slot; /* first: the registry knows nothing more */
    uint32_t entries;
    _Atomic(uint64_t) owner;
    _Atomic(jm_thread_id) next_turn; /* the thread that waits and has the next turn; 0: none */
    uint32_t contexts;               /* under the lock: index + 1 of the first */
    _Atomic(uint16_t) attributes;    /* shared: constant while live */
    bool disposing;                  /* a dispose began, and may have been left by a jump */
    _Atomic(bool) disabled;          /* shared, written by all */
    struct jm_heap heap;
    _Atomic(struct jm_notice *) notice; /* shared: null until the first callback, constant then */
};
static_assert(sizeof(struct jm_runtime) <= 256, "what an idle runtime costs");

JM_INLINE struct jm_quota *jm_runtime_quota(struct jm_runtime *runtime)
{
    return &runtime->heap.supply.quota;
}

/* BUSY: another thread keeps this one out, or a dispose began; STALE: the handle is not valid; NO_ROOM: no memory for a
 * frame, or too many entries. */
enum jm_access { JM_ACCESS_GRANTED, JM_ACCESS_STALE, JM_ACCESS_BUSY, JM_ACCESS_NO_ROOM };

/*
 * What every call that may run host code, or depends on whether it does, begins with: gives the thread
 * an id, and undoes the callbacks that the stack shows were left by a jump. `here` is a frame of the
 * library's entry. post: false: the OS has no room for the thread.
 */
bool jm_runtime_settle_slowly(uintptr_t here);
JM_INLINE bool jm_runtime_is_settled(void) /* is inside no callback, and has nothing to do */
{
    /* A thread with an id has prepared the library. */
    return JM_LIKELY(jm_thread.id != 0 && jm_thread.calls == NULL);
}
JM_INLINE bool jm_runtime_settle(uintptr_t here)
{
    return jm_runtime_is_settled() || jm_runtime_settle_slowly(here);
}

JM_INLINE struct jm_ref jm_runtime_find(const void *handle)
{
    return jm_registry_find(JM_KIND_RUNTIME, (uintptr_t)handle);
}

static inline struct jm_runtime *jm_runtime_at(struct jm_ref ref)
{
    return (struct jm_runtime *)(void *)ref.slot;
}

static inline struct jm_runtime *jm_runtime_of_heap(struct jm_heap *heap)
{
    return JM_CONTAINER(heap, struct jm_runtime, heap);
}

static inline uintptr_t jm_runtime_handle(const struct jm_runtime *runtime)
{
    return jm_registry_handle(JM_KIND_RUNTIME, &runtime->slot);
}

/* True while the calling thread uses the runtime. pre: the thread has an id, or somebody uses it. */
static inline bool jm_runtime_is_mine(const struct jm_runtime *runtime)
{
    return jm_load_relaxed(&runtime->owner) >> 1 == jm_thread.id;
}

/* True while another thread uses the runtime. */
static inline bool jm_runtime_is_used_elsewhere(const struct jm_runtime *runtime)
{
    return jm_load_relaxed(&runtime->owner) != 0 && !jm_runtime_is_mine(runtime);
}

/* True while another thread has the runtime entered. */
static inline bool jm_runtime_is_entered_elsewhere(const struct jm_runtime *runtime)
{
    return (jm_load_relaxed(&runtime->owner) & 1) != 0 && !jm_runtime_is_mine(runtime);
}

/* True while the calling thread is inside the runtime's allocation callback. */
static inline bool jm_runtime_in_event(const struct jm_runtime *runtime)
{
    return jm_quota_in_callback(&runtime->heap.supply.quota);
}

/* A new runtime's handle; 0: no memory, or no handles. */
uintptr_t jm_runtime_create(uint32_t attributes);

enum jm_disposal { JM_DISPOSED, JM_DISPOSE_STALE, JM_DISPOSE_IN_USE };
enum jm_disposal jm_runtime_dispose(struct jm_ref ref);

/*
 * An operation in progress. Host code may run inside it, and leave it by an exception, which ends it, or
 * by a jump, after which it is ended by jm_runtime_settle or jm_runtime_abandon.
 */
struct jm_operation {
    struct jm_runtime *runtime; /* null: none */
    uint32_t index;             /* which of the runtime's operations in progress, from 1 */
};

/* Declares an operation, not begun, that ends where its scope is left by an exception. */
#define JM_OPERATION(name) \
    __attribute__((cleanup(jm_operation_unwind))) struct jm_operation name = {NULL, 0}

/*
 * Begins an operation; waits while another thread's operation runs, unless the thread is inside a
 * callback. BUSY: another thread has entered the runtime, or is inside of it and must not be waited
 * for; or it is being disposed.
 */
enum jm_access jm_operation_begin(struct jm_operation *operation, struct jm_ref ref);

/* The same without waiting, for a runtime in any state; granted only if it is live. */
enum jm_access jm_operation_try(struct jm_operation *operation, struct jm_runtime *runtime);

/* Gives back what waits for it. The host may run: before there is a result that it could lose. */
void jm_operation_tidy(const struct jm_operation *operation);

/* Ends an operation, unless the host has ended it from inside a callback. */
void jm_operation_end(struct jm_operation *operation);
void jm_operation_unwind(struct jm_operation *operation);

/* Runs the before-collect callback and then, unless the host ended the operation, collects. */
void jm_runtime_collect(const struct jm_operation *operation);

/* Undoes the innermost callback of this runtime that the thread is inside of, unless the stack, seen
 * from `here`, showed by itself what was left. */
void jm_runtime_abandon(struct jm_runtime *runtime, uintptr_t here);

/* The lock that guards what any thread may change: limit, pairs, contexts. Runtimes share a few. */
struct jm_lock *jm_runtime_lock_of(const struct jm_runtime *runtime);

/* Takes it. False: the handle is stale. */
bool jm_runtime_lock(struct jm_ref ref);
void jm_runtime_unlock(struct jm_ref ref);

/* Tells those who watch of a refusal that the thread remembers. */
void jm_runtime_tell_refusal(enum jm_verdict verdict, uintptr_t handle, size_t requested);

/* Remembers a refusal for the thread, too. pre: the runtime, or NULL, is the thread's. */
void jm_runtime_refuse(enum jm_verdict verdict, const struct jm_runtime *runtime, size_t requested);

/* The same, as THREAD, where another thread has it; as ARGUMENT, of no runtime, where it was disposed meanwhile. */
void jm_runtime_refuse_busy(struct jm_ref ref, uintptr_t handle, size_t requested);

/* Waits for a charge in progress that an older limit than the one just set may have allowed. */
void jm_runtime_await_charge(struct jm_ref ref);

/* Undoes the thread's innermost call: its operation and those that began inside it are over. */
void jm_runtime_abandon_innermost(void);

/* Leaves whatever the thread uses, as it ends. */
void jm_runtime_thread_exit(void);

/* Takes the locks of all runtimes, for a fork; whether the calling thread has done that; and drops them. */
void jm_runtime_before_fork(void);
bool jm_runtime_holds_locks(void);
void jm_runtime_after_fork(void);

#endif
