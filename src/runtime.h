/*
 * Layer 4: runtimes. A runtime is a quota and a heap, used by one thread at a time.
 *
 * A thread uses a runtime while it has entered it (jm_runtime_push, or a current context), for the
 * length of an operation (any call that may take or give back blocks, or that came without
 * entering), or for the length of a visit, a small operation that is not counted (see entry.h):
 *
 *      owner == 0                    no thread uses it: entries == operations == 0
 *      owner == thread id << 1 | 1   entries > 0
 *      owner == thread id << 1       entries == 0, operations > 0, or a visit
 *      owner == JM_HALF_DISPOSED     a callback left its dispose: only a dispose can use it
 *      owner == JM_NEVER             not live, or not yet: no thread can use it
 *                                    (but 0 in a slot that was never used)
 *
 * The thread that changes `owner` from 0 owns everything in the runtime except fields marked as
 * shared. An operation of another thread waits for the end of an operation, never for the end of an
 * entry.
 */
#ifndef JM_RUNTIME_H
#define JM_RUNTIME_H

#include "heap.h"
#include "registry.h"

#define JM_NEVER UINT64_MAX
#define JM_HALF_DISPOSED (UINT64_MAX - 2) /* odd as well: nobody waits for its end */

struct jm_before_collect; /* see before_collect.h */

/* The hook of its runtime that a call belongs to. */
enum jm_site { JM_SITE_EVENT, JM_SITE_BEFORE_COLLECT };

/* The first cache line has everything that entering and leaving touch. */
struct jm_runtime {
    struct jm_slot slot; /* first: the registry knows only this */
    uint32_t entries;
    _Atomic(uint64_t) owner;
    _Atomic(jm_thread_id) next_turn; /* the waiting thread that has the next turn; 0: none */
    uint32_t contexts;               /* under the lock: index + 1 of the first */
    _Atomic(uint16_t) attributes;    /* shared: constant while live */
    bool disposing;                  /* a dispose began */
    _Atomic(bool) disabled;          /* shared, written by all */
    struct jm_heap heap;
    /* shared: null until the first callback is set, then constant */
    _Atomic(struct jm_before_collect *) before_collect;
};
static_assert(sizeof(struct jm_runtime) <= 256, "what an idle runtime costs");

JM_INLINE struct jm_quota *jm_runtime_quota(struct jm_runtime *runtime)
{
    return &runtime->heap.supply.quota;
}

/* BUSY: another thread keeps this one out, or a dispose began. STALE: the handle is not valid.
 * NO_ROOM: no memory for a frame, or too many entries. */
enum jm_access { JM_ACCESS_GRANTED, JM_ACCESS_STALE, JM_ACCESS_BUSY, JM_ACCESS_NO_ROOM };

/*
 * Begins every call that may run host code, or depends on whether the thread is inside it. Gives
 * the thread an id, and ends the callbacks that the stack shows were left by a jump. `here` is a
 * frame of the library's entry. post: false if the OS has no room for the thread.
 */
bool jm_runtime_settle_slowly(uintptr_t here);
JM_INLINE bool jm_runtime_is_settled(void) /* true: inside no callback, nothing to do */
{
    /* A thread has an id only once the library is prepared. */
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

/* True while the calling thread uses the runtime. pre: the thread has an id, or some thread uses
 * the runtime. */
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

/* Creates a runtime and returns its handle. 0 if there is no memory or no handle left. */
uintptr_t jm_runtime_create(uint32_t attributes);

enum jm_disposal { JM_DISPOSED, JM_DISPOSE_STALE, JM_DISPOSE_IN_USE };
enum jm_disposal jm_runtime_dispose(struct jm_ref ref);

/*
 * An operation in progress. Host code may run inside it. If the host leaves it by an exception,
 * that ends the operation; if by a jump, jm_runtime_settle or jm_runtime_abandon ends it.
 */
struct jm_operation {
    struct jm_runtime *runtime; /* null: none */
    uint32_t index;             /* its number among the runtime's operations in progress, from 1 */
};

/* Declares an operation, not begun, that ends if its scope is left by an exception. */
#define JM_OPERATION(name) \
    __attribute__((cleanup(jm_operation_unwind))) struct jm_operation name = {NULL, 0}

/*
 * Begins an operation. Waits while another thread's operation runs, unless the thread is inside a
 * callback. BUSY: another thread has entered the runtime; or is inside it and must not be waited
 * for; or the runtime is being disposed.
 */
enum jm_access jm_operation_begin(struct jm_operation *operation, struct jm_ref ref);

/* The same without waiting, for a runtime in any state. Granted only if it is live. */
enum jm_access jm_operation_try(struct jm_operation *operation, struct jm_runtime *runtime);

/* Takes in queued frees and gives back the blocks that wait for it. Host code may run and jump out,
 * so call this while there is no result to lose. */
void jm_operation_tidy(const struct jm_operation *operation);

/* The same as an operation of its own, for a runtime that the calling thread uses. */
void jm_runtime_tidy(struct jm_runtime *runtime);

/* The same if much is queued, for a runtime that is about to be entered or left. Waits as
 * jm_operation_begin does, and does nothing if that is not granted. pre: the thread is settled. */
void jm_runtime_take_in(struct jm_ref ref);

/* Ends an operation, unless the host has ended it from inside a callback. */
void jm_operation_end(struct jm_operation *operation);
void jm_operation_unwind(struct jm_operation *operation);

/* Runs the before-collect callback, then collects unless the host ended the operation. */
void jm_runtime_collect(const struct jm_operation *operation);

/* Ends the innermost callback of this runtime that the thread is inside of, and all callbacks
 * inside that one, unless jm_runtime_settle from `here` already does. */
void jm_runtime_abandon(struct jm_runtime *runtime, uintptr_t here);

/* The lock that guards what any thread may change: limit, pairs, contexts. Several runtimes share
 * one. */
struct jm_lock *jm_runtime_lock_of(const struct jm_runtime *runtime);

/* Takes that lock. False if the handle is stale. */
bool jm_runtime_lock(struct jm_ref ref);
void jm_runtime_unlock(struct jm_ref ref);

/* Tells probes and diagnostics of a refusal that the thread has recorded. */
void jm_runtime_trace_refusal(enum jm_verdict verdict, uintptr_t handle, size_t requested);

/* Records a refusal as the thread's last, and traces it. pre: the calling thread uses the runtime,
 * or it is NULL. */
void jm_runtime_refuse(enum jm_verdict verdict, const struct jm_runtime *runtime, size_t requested);

/* The same for a runtime that another thread uses: THREAD; or ARGUMENT without a runtime, if it was
 * disposed meanwhile. */
void jm_runtime_refuse_busy(struct jm_ref ref, uintptr_t handle, size_t requested);

/* Waits for the end of a charge in progress that an older limit than the one just set may have
 * allowed. */
void jm_runtime_await_charge(struct jm_ref ref);

/* Ends the thread's innermost callback, with the operation that called it and those that began
 * inside it. */
void jm_runtime_abandon_innermost(void);

/* Leaves everything that the exiting thread uses, and gives up the slots that it keeps. */
void jm_runtime_thread_exit(void);

/* For a fork: takes or drops the locks of all runtimes. Whether the calling thread has them. */
void jm_runtime_for_locks(jm_lock_step *step);
bool jm_runtime_holds_locks(void);

#endif
