#include "account.h"

#include "diagnose.h"
#include "header.h"
#include "line.h"
#include "reserve.h"

/* Finds the first live runtime from `*index` on, and moves `*index` behind it. False if there is
 * none. */
static bool next_live(size_t *index, struct jm_ref *ref)
{
    struct jm_slot *slot;
    while ((slot = jm_registry_slot(JM_KIND_RUNTIME, (*index)++)) != NULL) {
        *ref = jm_registry_look(slot);
        if (ref->slot != NULL) {
            return true;
        }
    }
    return false;
}

struct jm_totals jm_account_totals(void)
{
    struct jm_totals totals = {
        .reserve = jm_reserve_bytes(),
        .reserve_limit = jm_reserve_limit(),
        .metadata = jm_registry_metadata() + jm_pagemap_metadata() + jm_region_metadata() +
                    jm_header_metadata(),
    };
    struct jm_ref ref;
    for (size_t index = 0; next_live(&index, &ref);) {
        size_t usage = jm_load_relaxed(&jm_runtime_quota(jm_runtime_at(ref))->usage);
        if (jm_registry_holds(ref)) {
            totals.runtimes++;
            totals.usage += usage;
        }
    }
    return totals;
}

void jm_account_print(struct jm_ref ref)
{
    const struct jm_runtime *runtime = jm_runtime_at(ref);
    const struct jm_quota *quota = &runtime->heap.supply.quota;
    size_t usage, peak;
    jm_quota_read(quota, &usage, &peak);
    struct jm_line line = jm_line_begin();
    jm_line_text(&line, "stats: runtime ");
    jm_line_address(&line, jm_runtime_handle(runtime));
    jm_line_field(&line, ", usage", usage);
    jm_line_field(&line, ", peak", peak);
    jm_line_limit(&line, ", limit", jm_load_relaxed(&quota->limit));
    jm_line_field(&line, ", blocks", jm_load_relaxed(&runtime->heap.supply.block_count));
    jm_line_field(&line, ", allocate", jm_load_relaxed(&quota->events[JM_EVENT_ALLOCATE]));
    jm_line_field(&line, ", free", jm_load_relaxed(&quota->events[JM_EVENT_FREE]));
    jm_line_field(&line, ", failure", jm_load_relaxed(&quota->events[JM_EVENT_FAILURE]));
    if (jm_registry_holds(ref)) { /* untested: else they may be another runtime's */
        jm_line_end(&line);
    }
}

/* Runs when the process ends or the library is unloaded. */
__attribute__((destructor)) static void print_all(void)
{
    if (!jm_diagnoses(JM_DIAGNOSE_STATS)) {
        return;
    }
    struct jm_ref ref;
    for (size_t index = 0; next_live(&index, &ref);) {
        jm_account_print(ref);
    }
    struct jm_totals totals = jm_account_totals();
    struct jm_line line = jm_line_begin();
    jm_line_text(&line, "stats: process");
    jm_line_field(&line, ", runtimes", totals.runtimes);
    jm_line_field(&line, ", usage", totals.usage);
    jm_line_field(&line, ", reserve", totals.reserve);
    jm_line_field(&line, ", reserve limit", totals.reserve_limit);
    jm_line_field(&line, ", metadata", totals.metadata);
    jm_line_end(&line);
}
