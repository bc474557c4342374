/*
 * Layer 5: the part of jsrtmem.h that reports refusals and statistics, and sets the reserve's bound
 * and the diagnostics.
 */
#include "jsrtmem.h"

#include <string.h>

#include "abi.h"
#include "account.h"
#include "diagnose.h"
#include "process.h"
#include "reserve.h"

static_assert((int)JSRTMEM_REFUSAL_LIMIT == JM_REFUSED_LIMIT &&
                  (int)JSRTMEM_REFUSAL_HOST == JM_REFUSED_HOST &&
                  (int)JSRTMEM_REFUSAL_OS == JM_REFUSED_OS &&
                  (int)JSRTMEM_REFUSAL_SIZE == JM_REFUSED_SIZE &&
                  (int)JSRTMEM_REFUSAL_THREAD == JM_REFUSED_THREAD &&
                  (int)JSRTMEM_REFUSAL_CALLBACK == JM_REFUSED_CALLBACK &&
                  (int)JSRTMEM_REFUSAL_ARGUMENT == JM_REFUSED_ARGUMENT,
              "verdicts are handed out as they are");

static_assert((int)JSRTMEM_DIAGNOSTICS_MISUSE == JM_DIAGNOSE_MISUSE &&
                  (int)JSRTMEM_DIAGNOSTICS_REFUSALS == JM_DIAGNOSE_REFUSALS &&
                  (int)JSRTMEM_DIAGNOSTICS_STATS == JM_DIAGNOSE_STATS,
              "diagnostics are switched as they are named");

/* The size of each struct's first version, which every caller has. Structs grow at their end. */
#define UP_TO(type, field) (offsetof(type, field) + sizeof((type){0}.field))
#define FIRST_REFUSAL_INFO UP_TO(jsrtmem_refusal_info, limit)
#define FIRST_STATS UP_TO(jsrtmem_stats, misuses)
#define FIRST_PROCESS_STATS UP_TO(jsrtmem_process_stats, metadata)

/* Copies a filled struct of `known` bytes to a caller that knows `asked` bytes of it. */
static JsErrorCode hand_out(void *to, size_t asked, const void *from, size_t known)
{
    size_t size = asked < known ? asked : known;
    memcpy(to, from, size);
    *(size_t *)to = size; /* struct_size is the first field */
    return JsNoError;
}

JSRTMEM_API(JsErrorCode) jsrtmem_last_refusal(jsrtmem_refusal_info *info)
{
    if (info == NULL) {
        return JsErrorNullArgument;
    }
    if (info->struct_size < FIRST_REFUSAL_INFO) {
        return JsErrorInvalidArgument;
    }
    (void)jm_runtime_settle(JM_HERE); /* a callback left by a jump may count as a refusal */
    jsrtmem_refusal_info answer = {
        .reason = (jsrtmem_refusal)jm_thread.refusal.reason,
        .runtime = (JsRuntimeHandle)jm_thread.refusal.handle,
        .requested = jm_thread.refusal.requested,
        .usage = jm_thread.refusal.usage,
        .limit = jm_thread.refusal.limit,
    };
    return hand_out(info, info->struct_size, &answer, sizeof answer);
}

JSRTMEM_API(JsErrorCode) jsrtmem_get_stats(JsRuntimeHandle runtime, jsrtmem_stats *stats)
{
    struct jm_ref ref = jm_runtime_find(runtime);
    if (ref.slot == NULL) {
        return JsErrorInvalidArgument;
    }
    if (stats == NULL) {
        return JsErrorNullArgument;
    }
    if (stats->struct_size < FIRST_STATS) {
        return JsErrorInvalidArgument;
    }
    const struct jm_heap *heap = &jm_runtime_at(ref)->heap;
    const struct jm_quota *quota = &heap->supply.quota;
    struct jm_live live = jm_heap_live_any(heap);
    size_t usage, peak;
    jm_quota_read(quota, &usage, &peak);
    jsrtmem_stats answer = {
        .usage = usage,
        .peak_usage = peak,
        .limit = jm_load_relaxed(&quota->limit),
        .live_bytes = live.bytes,
        .live_objects = live.objects,
        .blocks = jm_load_relaxed(&heap->supply.block_count),
        .allocate_events = jm_load_relaxed(&quota->events[JM_EVENT_ALLOCATE]),
        .free_events = jm_load_relaxed(&quota->events[JM_EVENT_FREE]),
        .failure_events = jm_load_relaxed(&quota->events[JM_EVENT_FAILURE]),
        .misuses = 0, /* the state map recognises none late */
    };
    if (!jm_registry_holds(ref)) {
        return JsErrorInvalidArgument;
    }
    return hand_out(stats, stats->struct_size, &answer, sizeof answer);
}

JSRTMEM_API(JsErrorCode) jsrtmem_reset_peak(JsRuntimeHandle runtime)
{
    struct jm_ref ref;
    JsErrorCode error = jm_abi_lock(runtime, JM_HERE, &ref);
    if (error == JsNoError) {
        jm_quota_reset_peak(jm_runtime_quota(jm_runtime_at(ref)));
        jm_runtime_unlock(ref);
    }
    return error;
}

JSRTMEM_API(JsErrorCode) jsrtmem_get_process_stats(jsrtmem_process_stats *stats)
{
    if (stats == NULL) {
        return JsErrorNullArgument;
    }
    if (stats->struct_size < FIRST_PROCESS_STATS) {
        return JsErrorInvalidArgument;
    }
    struct jm_totals totals = jm_account_totals();
    jsrtmem_process_stats answer = {
        .runtimes = totals.runtimes,
        .usage = totals.usage,
        .reserve = totals.reserve,
        .reserve_limit = totals.reserve_limit,
        .metadata = totals.metadata,
    };
    return hand_out(stats, stats->struct_size, &answer, sizeof answer);
}

JSRTMEM_API(JsErrorCode) jsrtmem_set_reserve_limit(size_t bytes)
{
    if (!jm_process_init() || !jm_thread_ready()) {
        return JsErrorOutOfMemory;
    }
    jm_reserve_set_limit(bytes);
    return JsNoError;
}

JSRTMEM_API(JsErrorCode) jsrtmem_set_diagnostics(unsigned int flags)
{
    if ((flags & ~JM_DIAGNOSE_ALL) != 0) {
        return JsErrorInvalidArgument;
    }
    if (!jm_process_init()) { /* it reads the environment */
        return JsErrorOutOfMemory;
    }
    jm_store_relaxed(&jm_diagnostics, flags);
    return JsNoError;
}

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

JSRTMEM_API(const char *) jsrtmem_version(void)
{
    return TEXT(JSRTMEM_VERSION_MAJOR) "." TEXT(JSRTMEM_VERSION_MINOR) "." TEXT(
        JSRTMEM_VERSION_PATCH);
}
