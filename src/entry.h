/*
 * Layer 4: which thread uses a runtime. The fast paths of entering and leaving are here, rare cases
 * in runtime.c.
 *
 *      entries == pushes not yet popped + current contexts, of the thread that `owner` names
 */
#ifndef JM_ENTRY_H
#define JM_ENTRY_H

#include "runtime.h"

/* The value of `owner` while the calling thread uses a runtime. */
static inline uint64_t jm_runtime_my_owner(bool entered)
{
    return jm_thread.id << 1 | entered;
}

/* True if a thread waits for the runtime. Threads that come later let it go first. */
static inline bool jm_runtime_is_wanted(const struct jm_runtime *runtime)
{
    return jm_load_relaxed(&runtime->next_turn) != 0;
}

/* Takes a runtime that no thread uses. False if one does. */
static inline bool jm_runtime_try_take(struct jm_runtime *runtime)
{
    uint64_t nobody = 0;
    return jm_cas_acquire(&runtime->owner, &nobody, jm_runtime_my_owner(false));
}

/* Tells whether the thread that has just taken a runtime may use it. If not GRANTED, releases
 * it. */
static inline enum jm_access jm_runtime_admit(struct jm_ref ref)
{
    if (JM_LIKELY(jm_registry_holds(ref))) {
        return JM_ACCESS_GRANTED;
    }
    jm_store_release(&jm_runtime_at(ref)->owner, 0);
    return JM_ACCESS_STALE;
}

/*
 * Takes a runtime that no thread uses, for a small operation: a few steps in which no host code
 * runs and nothing can fail. False if a thread uses it, or there is more to do. The runtime may be
 * another one than was looked up.
 */
JM_INLINE bool jm_runtime_visit(struct jm_runtime *runtime)
{
    if (!jm_runtime_is_settled() || jm_inspect_watched || jm_load_relaxed(&runtime->owner) != 0 ||
        jm_runtime_is_wanted(runtime) || !jm_runtime_try_take(runtime)) {
        return false;
    }
    if (JM_UNLIKELY(runtime->heap.untidy || jm_heap_owes_drain(&runtime->heap))) {
        jm_store_release(&runtime->owner, 0);
        return false;
    }
    return true;
}

static inline void jm_runtime_end_visit(struct jm_runtime *runtime)
{
    jm_store_release(&runtime->owner, 0);
}

/* Sets `owner` by what the calling thread still has in the runtime. Outside callbacks it has no
 * operation, so the count of operations, which lies in another cache line, is not read. */
static inline void jm_runtime_update_owner(struct jm_runtime *runtime)
{
    JM_ASSERT(jm_thread.calls != NULL || jm_runtime_quota(runtime)->operations == 0);
    if (runtime->entries > 0) {
        jm_store_relaxed(&runtime->owner, jm_runtime_my_owner(true));
    } else if (jm_thread.calls != NULL && jm_runtime_quota(runtime)->operations > 0) {
        jm_store_relaxed(&runtime->owner, jm_runtime_my_owner(false));
    } else {
        jm_store_release(&runtime->owner, runtime->disposing ? JM_HALF_DISPOSED : 0);
    }
}

/* Takes a runtime and adds an entry. The runtime is the calling thread's until all its entries are
 * dropped. UINT32_MAX entries may exist at once. */
enum jm_access jm_runtime_take_entry(struct jm_ref ref);

/* Adds an entry. pre: the runtime is taken. */
static inline enum jm_access jm_runtime_add_entry(struct jm_runtime *runtime)
{
    if (JM_UNLIKELY(runtime->entries == UINT32_MAX)) {
        return JM_ACCESS_NO_ROOM;
    }
    runtime->entries++;
    jm_store_relaxed(&runtime->owner, jm_runtime_my_owner(true));
    return JM_ACCESS_GRANTED;
}

static inline void jm_runtime_drop_entry(struct jm_runtime *runtime)
{
    runtime->entries--;
    jm_runtime_update_owner(runtime);
}

/* The runtime that the thread entered last, or whose context is current; all null if there is
 * none. */
struct jm_frame jm_runtime_current(void);

/* Points the fast paths at the current runtime. */
void jm_runtime_refresh_current(void);

/* Records on the thread that it entered a runtime, or returns why it may not. pre: there is room
 * for a frame. */
JM_INLINE enum jm_access jm_runtime_add_frame(struct jm_ref ref, uintptr_t handle,
                                              enum jm_access access)
{
    if (JM_UNLIKELY(access != JM_ACCESS_GRANTED)) {
        return access;
    }
    struct jm_runtime *runtime = jm_runtime_at(ref);
    if (JM_UNLIKELY(jm_runtime_add_entry(runtime) != JM_ACCESS_GRANTED)) {
        return JM_ACCESS_NO_ROOM;
    }
    jm_thread.frames[jm_thread.frame_count++] = (struct jm_frame){runtime, handle};
    jm_heap_make_current(&runtime->heap, handle);
    return JM_ACCESS_GRANTED;
}

/* Prefetches the lists of small objects, while other instructions wait for the stores to the
 * runtime left before. */
static inline void jm_runtime_prefetch(const struct jm_runtime *runtime)
{
    uintptr_t arena = (uintptr_t)jm_load_relaxed(&runtime->heap.supply.small_token); /* or null */
    for (size_t line = 0; line < 4; line++) {
        JM_PREFETCH((const void *)(arena + JM_CACHE_LINE * line));
    }
}

/*
 * Enters for jsrtmem_enter, by a handle and its ref, which puts a frame on the thread. The locked
 * step waits for stores made just before it. So this function saves nothing on the stack; work that
 * would need that is in other functions.
 */
enum jm_access jm_runtime_push_slowly(struct jm_ref ref, uintptr_t handle);
JM_INLINE enum jm_access jm_runtime_push(struct jm_ref ref, uintptr_t handle)
{
    struct jm_runtime *runtime = jm_runtime_at(ref);
    jm_runtime_prefetch(runtime);
    bool taken = jm_thread.frame_count < jm_thread.frame_capacity &&
                 jm_load_relaxed(&runtime->owner) == 0 && !jm_runtime_is_wanted(runtime) &&
                 jm_runtime_try_take(runtime);
    return JM_LIKELY(taken) ? jm_runtime_add_frame(ref, handle, jm_runtime_admit(ref))
                            : jm_runtime_push_slowly(ref, handle);
}

/* Undoes the thread's last push. pre: there is one. */
void jm_runtime_pop_to_other(struct jm_runtime *runtime);
JM_INLINE void jm_runtime_pop(void)
{
    struct jm_runtime *runtime = jm_thread.frames[--jm_thread.frame_count].runtime;
    if (jm_thread.frame_count > 0 || jm_thread.context != 0) {
        jm_runtime_pop_to_other(runtime);
        return;
    }
    jm_heap_make_current(NULL, 0);
    jm_runtime_drop_entry(runtime);
}

#endif
