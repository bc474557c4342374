#include "runtime.h"

#include "account.h"
#include "before_collect.h"
#include "context.h"
#include "diagnose.h"
#include "entry.h"
#include "inspect.h"
#include "os.h"
#include "probe.h"
#include "process.h"
#include "reserve.h"

static_assert(offsetof(struct jm_runtime, slot) == 0, "the registry casts");
static_assert(offsetof(struct jm_context, slot) == 0, "the registry casts");
static_assert(offsetof(struct jm_before_collect, slot) == 0, "the registry casts");

const size_t jm_slot_sizes[JM_KINDS] = {
    (sizeof(struct jm_runtime) + JM_CACHE_LINE - 1) & ~(size_t)(JM_CACHE_LINE - 1),
    sizeof(struct jm_context),
    sizeof(struct jm_before_collect),
};

/* ---- Ownership ---- */

/* After this many attempts a thread takes the next turn from the thread that has it, which may have
 * come later, or vanished. A thread that has the turn pauses no longer than at this attempt. */
#define TURN_ATTEMPTS (JM_PAUSE_AWAKE + 4)

/* Claims the next turn. True if the calling thread has it now. */
static bool take_turn(struct jm_runtime *runtime, unsigned attempt)
{
    jm_thread_id next = jm_load_relaxed(&runtime->next_turn);
    bool is_free = next == 0 || attempt > TURN_ATTEMPTS || jm_thread_is_gone(next);
    if (is_free && jm_cas_acquire(&runtime->next_turn, &next,
                                  jm_thread.id)) { /* untested: another thread just did */
        return true;
    }
    return next == jm_thread.id;
}

/* Tries once to take a runtime. False if the thread has to wait; else `access` is the outcome. */
static bool try_once(struct jm_ref ref, unsigned attempt, enum jm_access *access)
{
    struct jm_runtime *runtime = jm_runtime_at(ref);
    uint64_t owner = jm_load_acquire(&runtime->owner);
    if (!jm_registry_holds(ref)) { /* untested: disposed just now */
        *access = JM_ACCESS_STALE; /* untested: within a few steps */
        return true;               /* untested: within a few steps */
    }
    bool never_ends = owner != 0 && ((owner & 1) != 0 || jm_thread_is_gone(owner >> 1));
    if (never_ends || jm_thread.calls != NULL) {
        *access = JM_ACCESS_BUSY;
        return true;
    }
    if (!take_turn(runtime, attempt) || !jm_runtime_try_take(runtime)) {
        return false;
    }
    *access = jm_runtime_admit(ref);
    return true;
}

/* Takes a runtime that another thread uses or waits for, or did a moment ago. Threads take turns:
 * one that uses the runtime call after call would otherwise keep the others out for ever. */
static JM_NOINLINE enum jm_access take_contended(struct jm_ref ref)
{
    struct jm_runtime *runtime = jm_runtime_at(ref);
    enum jm_access access;
    for (unsigned attempt = 0; !try_once(ref, attempt, &access); attempt++) {
        bool is_next = jm_load_relaxed(&runtime->next_turn) == jm_thread.id;
        jm_os_pause(is_next && attempt > TURN_ATTEMPTS ? TURN_ATTEMPTS : attempt);
    }
    if (jm_load_relaxed(&runtime->next_turn) == jm_thread.id) {
        jm_store_relaxed(&runtime->next_turn, 0);
    }
    return access;
}

/* Makes the calling thread use the runtime, if it does not yet. If GRANTED, `owner` stays set until
 * jm_runtime_update_owner. */
static enum jm_access take(struct jm_ref ref)
{
    struct jm_runtime *runtime = jm_runtime_at(ref);
    if (jm_runtime_is_mine(runtime)) {
        return jm_registry_holds(ref) ? JM_ACCESS_GRANTED : JM_ACCESS_STALE;
    }
    bool goes_first = jm_thread.calls != NULL; /* nobody waits inside a callback */
    bool taken = (goes_first || !jm_runtime_is_wanted(runtime)) && jm_runtime_try_take(runtime);
    return JM_LIKELY(taken) ? jm_runtime_admit(ref) : take_contended(ref);
}

/* ---- Operations ---- */

static void start(struct jm_operation *operation, struct jm_runtime *runtime)
{
    operation->runtime = runtime;
    operation->index = ++jm_runtime_quota(runtime)->operations;
    jm_inspect_begin();
    jm_reserve_drop_waiting(); /* blocks that waited for readers to leave them */
}

enum jm_access jm_operation_begin(struct jm_operation *operation, struct jm_ref ref)
{
    enum jm_access access = take(ref);
    if (access == JM_ACCESS_GRANTED) {
        start(operation, jm_runtime_at(ref));
    }
    return access;
}

enum jm_access jm_operation_try(struct jm_operation *operation, struct jm_runtime *runtime)
{
    if (!jm_runtime_is_mine(runtime)) {
        bool is_wanted = jm_runtime_is_wanted(runtime) &&
                         !jm_thread_is_gone(jm_load_relaxed(&runtime->next_turn));
        if (is_wanted || !jm_runtime_try_take(runtime)) {
            return JM_ACCESS_BUSY;
        }
    }
    start(operation, runtime);
    return JM_ACCESS_GRANTED;
}

/* False if the operation was ended from inside a callback. */
static bool goes_on(const struct jm_operation *operation)
{
    const struct jm_runtime *runtime = operation->runtime;
    return jm_runtime_is_mine(runtime) && runtime->heap.supply.quota.operations >= operation->index;
}

void jm_operation_tidy(const struct jm_operation *operation)
{
    struct jm_heap *heap = &operation->runtime->heap;
    if (JM_UNLIKELY(heap->untidy || jm_load_relaxed(&heap->queued) != 0 ||
                    jm_load_relaxed(&heap->queued_pages) != 0)) {
        jm_heap_tidy(heap);
    }
}

void jm_runtime_tidy(struct jm_runtime *runtime)
{
    JM_OPERATION(operation);
    (void)jm_operation_try(&operation, runtime); /* granted: the runtime is ours */
    jm_operation_tidy(&operation);
    jm_operation_end(&operation);
}

void jm_runtime_take_in(struct jm_ref ref)
{
    JM_OPERATION(operation);
    if (jm_heap_owes_drain(&jm_runtime_at(ref)->heap) &&
        jm_operation_begin(&operation, ref) == JM_ACCESS_GRANTED) {
        jm_operation_tidy(&operation);
        jm_operation_end(&operation);
    }
}

void jm_operation_end(struct jm_operation *operation)
{
    struct jm_runtime *runtime = operation->runtime;
    jm_inspect_end();
    if (JM_LIKELY(goes_on(operation))) {
        jm_runtime_quota(runtime)->operations = operation->index - 1;
        jm_runtime_update_owner(runtime);
    }
    operation->runtime = NULL;
}

void jm_operation_unwind(struct jm_operation *operation)
{
    if (operation->runtime == NULL) {
        return;
    }
    if (jm_thread.unwound) {
        jm_runtime_refuse(JM_REFUSED_HOST, operation->runtime, jm_thread.requested);
        jm_thread.unwound = false;
    }
    jm_operation_end(operation);
}

/* ---- Callbacks that were left ---- */

static struct jm_runtime *runtime_of_call(struct jm_call *call)
{
    struct jm_hook *hook = JM_CONTAINER(call, struct jm_hook, call);
    if (call->site == JM_SITE_BEFORE_COLLECT) {
        return JM_CONTAINER(hook, struct jm_before_collect, hook)->runtime;
    }
    struct jm_quota *quota = JM_CONTAINER(hook, struct jm_quota, hook);
    struct jm_supply *supply = JM_CONTAINER(quota, struct jm_supply, quota);
    return jm_runtime_of_heap(JM_CONTAINER(supply, struct jm_heap, supply));
}

void jm_runtime_abandon_innermost(void)
{
    struct jm_call *call = jm_thread.calls;
    struct jm_runtime *runtime = runtime_of_call(call);
    if (call->asking) {
        jm_runtime_refuse(JM_REFUSED_HOST, runtime, call->requested);
    }
    jm_runtime_quota(runtime)->operations = call->operations - 1;
    jm_hook_end_innermost();
    jm_runtime_update_owner(runtime);
}

bool jm_runtime_settle_slowly(uintptr_t here)
{
    while (JM_UNLIKELY(jm_thread.calls != NULL) &&
           jm_hook_was_left(JM_CONTAINER(jm_thread.calls, struct jm_hook, call), here)) {
        jm_runtime_abandon_innermost();
    }
    return jm_process_init() && jm_thread_ready();
}

void jm_runtime_abandon(struct jm_runtime *runtime, uintptr_t here)
{
    struct jm_hook *event = &jm_runtime_quota(runtime)->hook;
    struct jm_before_collect *record = jm_load_acquire(&runtime->before_collect);
    struct jm_hook *hook = jm_hook_is_mine(event) || record == NULL ? event : &record->hook;
    (void)jm_runtime_settle(here);
    while (jm_hook_is_mine(hook)) {
        jm_runtime_abandon_innermost();
    }
}

void jm_runtime_trace_refusal(enum jm_verdict verdict, uintptr_t handle, size_t requested)
{
    jm_probe_refuse(handle, verdict, requested);
    if (jm_diagnoses(JM_DIAGNOSE_REFUSALS)) {
        jm_diagnose_refusal(verdict, handle, requested, jm_thread.refusal.usage,
                            jm_thread.refusal.limit);
    }
}

void jm_runtime_refuse(enum jm_verdict verdict, const struct jm_runtime *runtime, size_t requested)
{
    uintptr_t handle = runtime == NULL ? 0 : jm_runtime_handle(runtime);
    const struct jm_quota *quota = runtime == NULL ? NULL : &runtime->heap.supply.quota;
    jm_quota_note_refusal(quota, handle, verdict, requested);
    jm_runtime_trace_refusal(verdict, handle, requested);
}

void jm_runtime_refuse_busy(struct jm_ref ref, uintptr_t handle, size_t requested)
{
    const struct jm_quota *quota = jm_runtime_quota(jm_runtime_at(ref));
    jm_quota_note_refusal(quota, handle, JM_REFUSED_THREAD, requested);
    if (jm_registry_holds(ref)) {
        jm_runtime_trace_refusal(JM_REFUSED_THREAD, handle, requested);
    } else {
        jm_runtime_refuse(JM_REFUSED_ARGUMENT, NULL, requested); /* disposed just now */
    }
}

void jm_runtime_await_charge(struct jm_ref ref)
{
    const struct jm_runtime *runtime = jm_runtime_at(ref);
    const struct jm_quota *quota = &runtime->heap.supply.quota;
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in jm_quota_begin_charge */
    uint32_t charging = jm_load_seq_cst(&quota->charging);
    for (unsigned attempt = 0; charging % 2 == 1; attempt++) {
        uint64_t owner = jm_load_relaxed(&runtime->owner);          /* JM_NEVER if disposed */
        bool is_gone = owner != 0 && jm_thread_is_gone(owner >> 1); /* untested: 0: it just left */
        if (is_gone || jm_runtime_is_mine(runtime) || /* untested: in a signal handler */
            jm_load_acquire(&quota->charging) != charging) {
            return;
        }
        jm_os_pause(attempt);
    }
}

/* Process state. Not one lock per runtime, so that a fork can take all of them, but so many that
 * threads seldom share one, each in a cache line of its own. */
#define LOCKS 128
static struct {
    _Alignas(JM_CACHE_LINE) struct jm_lock lock;
} locks[LOCKS];

struct jm_lock *jm_runtime_lock_of(const struct jm_runtime *runtime)
{
    return &locks[runtime->slot.index % LOCKS].lock;
}

bool jm_runtime_lock(struct jm_ref ref)
{
    jm_lock_take(jm_runtime_lock_of(jm_runtime_at(ref)));
    if (!jm_registry_holds(ref)) {
        jm_runtime_unlock(ref);
        return false;
    }
    return true;
}

void jm_runtime_unlock(struct jm_ref ref)
{
    jm_lock_drop(jm_runtime_lock_of(jm_runtime_at(ref)));
}

void jm_runtime_for_locks(jm_lock_step *step)
{
    for (int i = 0; i < LOCKS; i++) {
        step(&locks[i].lock);
    }
}

bool jm_runtime_holds_locks(void)
{
    uint64_t id = jm_thread.id;
    return id != 0 && jm_load_relaxed(&locks[0].lock.owner) == id; /* untested: registered since */
}

/* ---- Entering ---- */

struct jm_frame jm_runtime_current(void)
{
    const struct jm_frame *top = jm_thread_innermost();
    if (top != NULL) {
        return *top;
    }
    if (jm_thread.context == 0) {
        return (struct jm_frame){NULL, 0};
    }
    struct jm_runtime *runtime = jm_load_relaxed(&jm_context_at(jm_context_current())->runtime);
    return (struct jm_frame){runtime, jm_runtime_handle(runtime)};
}

void jm_runtime_refresh_current(void)
{
    struct jm_frame current = jm_runtime_current();
    jm_heap_make_current(current.runtime == NULL ? NULL : &current.runtime->heap, current.handle);
}

enum jm_access jm_runtime_take_entry(struct jm_ref ref)
{
    enum jm_access access = take(ref);
    return access == JM_ACCESS_GRANTED ? jm_runtime_add_entry(jm_runtime_at(ref)) : access;
}

enum jm_access jm_runtime_push_slowly(struct jm_ref ref, uintptr_t handle)
{
    return jm_thread_reserve_frame() ? jm_runtime_add_frame(ref, handle, take(ref))
                                     : JM_ACCESS_NO_ROOM;
}

void jm_runtime_pop_to_other(struct jm_runtime *runtime)
{
    jm_runtime_refresh_current();
    jm_runtime_drop_entry(runtime);
}

/* ---- Collecting ---- */

void jm_runtime_collect(const struct jm_operation *operation)
{
    struct jm_runtime *runtime = operation->runtime;
    struct jm_before_collect *record = jm_load_acquire(&runtime->before_collect);
    if (record != NULL) {
        if (jm_hook_is_mine(&record->hook)) {
            return;
        }
        jm_before_collect_call(record);
    }
    if (goes_on(operation)) {
        jm_heap_collect(&runtime->heap);
    }
}

/* ---- Life ---- */

static void reset(struct jm_runtime *runtime, uint32_t attributes)
{
    jm_store_relaxed(&runtime->attributes, (uint16_t)attributes);
    jm_heap_reset(&runtime->heap);
    jm_store_relaxed(&runtime->before_collect, NULL);
    jm_runtime_quota(runtime)->hook.call.site = JM_SITE_EVENT;
    runtime->entries = 0;
    jm_store_relaxed(&runtime->next_turn, 0); /* left by a waiter for an earlier runtime */
    runtime->contexts = 0;
    runtime->disposing = false;
    jm_store_relaxed(&runtime->disabled, false);
}

uintptr_t jm_runtime_create(uint32_t attributes)
{
    struct jm_slot *slot = jm_registry_take(JM_KIND_RUNTIME);
    if (slot == NULL) {
        return 0;
    }
    struct jm_runtime *runtime = (struct jm_runtime *)(void *)slot;
    jm_store_relaxed(&runtime->owner, JM_NEVER); /* was 0 if the slot was never used */
    reset(runtime, attributes);
    jm_inspect_create(&runtime->heap);
    uintptr_t handle = jm_registry_publish(JM_KIND_RUNTIME, slot);
    jm_runtime_quota(runtime)->handle = handle;
    jm_probe_create(handle);
    jm_store_release(&runtime->owner, 0);
    return handle;
}

/* Takes a runtime from a thread that a fork left behind, at an unknown point. */
static bool take_from_gone(struct jm_runtime *runtime)
{
    uint64_t owner = jm_load_acquire(&runtime->owner);
    bool used = owner != 0 && owner != JM_NEVER;   /* untested: changed since it was tried */
    if (!used || !jm_thread_is_gone(owner >> 1)) { /* untested: !used */
        return false;
    }
    uint64_t mine = jm_runtime_my_owner(false);
    if (!jm_cas_acquire(&runtime->owner, &owner, mine)) { /* untested: two threads do it */
        return false; /* untested: two threads of a child that dispose the same runtime */
    }
    runtime->entries = 0;
    jm_quota_forget(jm_runtime_quota(runtime));
    struct jm_before_collect *record = jm_load_relaxed(&runtime->before_collect);
    if (record != NULL) {
        jm_hook_forget(&record->hook);
    }
    jm_heap_salvage(&runtime->heap);
    return true;
}

/* If the host leaves a callback, the runtime stays, and the next dispose goes on with it. */
static void dispose(struct jm_ref ref)
{
    struct jm_runtime *runtime = jm_runtime_at(ref);
    JM_OPERATION(operation);
    start(&operation, runtime);
    if (!runtime->disposing) {
        runtime->disposing = true;
        if (jm_diagnoses(JM_DIAGNOSE_STATS)) {
            jm_account_print(ref);
        }
        jm_inspect_destroy(&runtime->heap);
    }
    jm_heap_release_all(&runtime->heap);
    jm_lock_take(jm_runtime_lock_of(runtime));
    jm_context_dispose_all(runtime);
    jm_registry_retract(&runtime->slot);
    struct jm_before_collect *record = jm_load_relaxed(&runtime->before_collect);
    jm_lock_drop(jm_runtime_lock_of(runtime));
    jm_before_collect_dispose(record);
    jm_probe_dispose(jm_runtime_quota(runtime)->handle);
    jm_inspect_end();
    operation.runtime = NULL;
    jm_store_release(&runtime->owner, JM_NEVER); /* a late free finds it in use */
    jm_registry_give(JM_KIND_RUNTIME, &runtime->slot);
}

/* Steps that a dispose waits for a runtime in use. Its user may be a call by a stale handle, which
 * holds the slot only until it notices that. */
#define STRANGER_PATIENCE (JM_PAUSE_AWAKE - 32)

/* Takes a runtime that no thread uses, also one whose dispose was left. */
static bool try_take_to_dispose(struct jm_runtime *runtime)
{
    uint64_t left = JM_HALF_DISPOSED;
    return jm_runtime_try_take(runtime) ||
           jm_cas_acquire(&runtime->owner, &left, jm_runtime_my_owner(false));
}

static bool take_to_dispose(struct jm_runtime *runtime)
{
    for (unsigned attempt = 0; !try_take_to_dispose(runtime); attempt++) {
        uint64_t owner = jm_load_relaxed(&runtime->owner);
        bool may_be_stranger = (owner & 1) == 0 && !jm_runtime_is_mine(runtime);
        if (!may_be_stranger || jm_thread.calls != NULL || attempt == STRANGER_PATIENCE) {
            return take_from_gone(runtime);
        }
        jm_os_pause(attempt);
    }
    return true;
}

enum jm_disposal jm_runtime_dispose(struct jm_ref ref)
{
    struct jm_runtime *runtime = jm_runtime_at(ref);
    if (!take_to_dispose(runtime)) {
        bool live = jm_registry_holds(ref);
        return live ? JM_DISPOSE_IN_USE : JM_DISPOSE_STALE; /* untested: disposed just now */
    }
    if (!jm_registry_holds(ref)) {
        jm_runtime_update_owner(runtime);
        return JM_DISPOSE_STALE;
    }
    dispose(ref);
    return JM_DISPOSED;
}

/* ---- The end of a thread ---- */

void jm_runtime_thread_exit(void)
{
    while (jm_thread.calls != NULL) {
        jm_runtime_abandon_innermost();
    }
    while (jm_thread.frame_count > 0) {
        jm_runtime_pop();
    }
    (void)jm_context_set_current((struct jm_ref){NULL, 0});
    jm_thread.exits = true;
    jm_registry_thread_exit();
    jm_thread_reset();
}
