#include "quota.h"

#include "inspect.h"
#include "probe.h"

#if !defined(__EXCEPTIONS)
#error "compile with -fexceptions: what a host throws in its callback passes through here"
#endif

void jm_quota_reset(struct jm_quota *quota)
{
    jm_store_relaxed(&quota->usage, 0);
    jm_store_relaxed(&quota->limit, JM_NO_LIMIT);
    jm_store_relaxed(&quota->peak, 0);
    for (int event = 0; event < JM_EVENTS; event++) {
        jm_store_relaxed(&quota->events[event], 0);
    }
    jm_hook_reset(&quota->hook);
    quota->operations = 0;
}

/* What has to be undone if the host throws an exception through a delivery. */
struct delivery {
    struct jm_hook *hook;
    struct jm_pair pair;
    bool ended;
    size_t requested; /* saves jm_thread.requested, which requests inside overwrite */
};

/* Ends the call of the host. False if it was abandoned meanwhile. */
static bool end_delivery(struct delivery *delivery)
{
    jm_inspect_begin();
    jm_thread.requested = delivery->requested;
    delivery->ended = true;
    return jm_hook_end(delivery->hook, &delivery->pair);
}

static void unwind(struct delivery *delivery)
{
    if (!delivery->ended) {
        jm_thread.unwound = delivery->hook->call.asking;
        (void)end_delivery(delivery);
    }
}

static JM_NOINLINE bool call_host(const struct jm_pair *pair, enum jm_event event, size_t bytes)
{
    return ((jm_event_function)pair->function)(pair->state, (unsigned)event, bytes);
}

/* Counts an event and calls the host. Returns its answer; true without a callback; false if the
 * call was abandoned. */
static JM_MARKS bool deliver(struct jm_quota *quota, enum jm_event event, size_t bytes)
{
    jm_add_owned(&quota->events[event], 1);
    __attribute__((cleanup(unwind))) struct delivery delivery = {&quota->hook, {0}, true, 0};
    JM_MARK(mark);
    if (!jm_hook_begin(&quota->hook, &delivery.pair, mark)) {
        return true;
    }
    quota->hook.call.asking = event == JM_EVENT_ALLOCATE;
    quota->hook.call.searched = false;
    quota->hook.call.requested = jm_thread.requested;
    quota->hook.call.operations = quota->operations;
    delivery.requested = jm_thread.requested;
    delivery.ended = false;
    jm_inspect_end();
    bool answer = call_host(&delivery.pair, event, bytes);
    return end_delivery(&delivery) && answer;
}

void jm_quota_note_refusal(const struct jm_quota *quota, uintptr_t handle, enum jm_verdict verdict,
                           size_t requested)
{
    jm_thread.refusal.reason = verdict;
    jm_thread.refusal.requested = requested;
    jm_thread.refusal.handle = handle;
    jm_thread.refusal.usage = quota == NULL ? 0 : jm_load_relaxed(&quota->usage);
    jm_thread.refusal.limit = quota == NULL ? 0 : jm_load_relaxed(&quota->limit);
}

void jm_quota_fail(struct jm_quota *quota, size_t bytes, enum jm_verdict verdict)
{
    const struct jm_refusal before = jm_thread.refusal;
    /* First: the host may read the refusal, or jump. */
    jm_quota_note_refusal(quota, quota->handle, verdict, jm_thread.requested);
    const struct jm_refusal noted = jm_thread.refusal;
    (void)deliver(quota, JM_EVENT_FAILURE, bytes);
    jm_thread.reported = noted;
    jm_thread.before_reported = before;
}

enum jm_verdict jm_quota_ask(struct jm_quota *quota, size_t bytes)
{
    if (jm_quota_in_callback(quota)) {
        return JM_REFUSED_CALLBACK;
    }
    if (!jm_quota_allows(quota, bytes)) {
        jm_quota_fail(quota, bytes, JM_REFUSED_LIMIT);
        return JM_REFUSED_LIMIT;
    }
    if (!deliver(quota, JM_EVENT_ALLOCATE, bytes)) {
        jm_quota_fail(quota, bytes, JM_REFUSED_HOST);
        return JM_REFUSED_HOST;
    }
    if (!jm_quota_allows(quota, bytes)) {
        jm_quota_fail(quota, bytes, JM_REFUSED_LIMIT); /* lowered while the host was asked */
        return JM_REFUSED_LIMIT;
    }
    return JM_GRANTED;
}

void jm_quota_forget(struct jm_quota *quota)
{
    quota->operations = 0;
    jm_store_relaxed(&quota->charging, 0);
    jm_hook_forget(&quota->hook);
}

bool jm_quota_begin_charge(struct jm_quota *quota, size_t bytes)
{
    /* Either this sees a lowered limit, or the thread that lowered it sees this charge going on. */
    if (jm_load_relaxed(&quota->charging) % 2 == 1) {
        jm_fence_after_locked(); /* a lock was taken since */
    } else {
        jm_quota_open_charge(quota);
        atomic_thread_fence(memory_order_seq_cst);
    }
    if (!jm_quota_allows(quota, bytes)) {
        jm_quota_end_charge(quota, 0);
        return false;
    }
    return true;
}

static void charge(struct jm_quota *quota, size_t bytes)
{
    size_t usage = jm_load_relaxed(&quota->usage) + bytes;
    jm_store_release(&quota->usage, usage); /* see jm_quota_refund */
    if (usage <= jm_load_relaxed(&quota->peak)) {
        /* Pairs with the fence in jm_quota_reset_peak: either the reset sees this charge, or this
         * sees the peak that it set. */
        atomic_thread_fence(memory_order_seq_cst);
    }
    if (usage > jm_load_relaxed(&quota->peak)) {
        jm_store_release(&quota->peak, usage);
    }
    jm_probe_acquire(quota->handle, bytes);
}

void jm_quota_end_charge(struct jm_quota *quota, size_t bytes)
{
    if (bytes != 0) {
        charge(quota, bytes);
    }
    jm_store_release(&quota->charging, (jm_load_relaxed(&quota->charging) | 1) + 1);
}

bool jm_quota_charge(struct jm_quota *quota, size_t bytes)
{
    bool allowed = jm_quota_begin_charge(quota, bytes);
    if (allowed) {
        jm_quota_end_charge(quota, bytes);
    }
    return allowed;
}

/* The peak is never left below the usage: a concurrent charge saw the new peak, or the second load
 * of the usage sees it. */
void jm_quota_reset_peak(struct jm_quota *quota)
{
    (void)atomic_exchange(&quota->peak, jm_load_relaxed(&quota->usage));
    jm_fence_after_locked(); /* pairs with the fence in charge */
    size_t peak = jm_load_relaxed(&quota->peak);
    size_t usage = jm_load_relaxed(&quota->usage);
    while (usage > peak && !atomic_compare_exchange_weak(&quota->peak, &peak, usage)) {
        usage = jm_load_relaxed(&quota->usage);
    }
}

void jm_quota_refund(struct jm_quota *quota, size_t bytes)
{
    /* Release: whoever sees this usage also sees the peak that was before. */
    jm_store_release(&quota->usage, jm_load_relaxed(&quota->usage) - bytes);
    jm_probe_release(quota->handle, bytes);
    (void)deliver(quota, JM_EVENT_FREE, bytes);
}
