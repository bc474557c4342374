#include "os_deferred.h"

#include "thread.h"

#define MAX_DEFERRED 256

static struct {
    struct jm_lock lock;
    struct jm_os_extent extents[MAX_DEFERRED];
    _Atomic(size_t) count;
} deferred;

void jm_os_deferred_keep(const struct jm_os_extent *extent)
{
    jm_lock_take(&deferred.lock);
    size_t count = jm_load_relaxed(&deferred.count);
    if (count < MAX_DEFERRED) {
        deferred.extents[count] = *extent;
        jm_store_relaxed(&deferred.count, count + 1);
    }
    jm_lock_drop(&deferred.lock);
}

bool jm_os_deferred_retry(bool (*unmap)(const struct jm_os_extent *))
{
    if (JM_LIKELY(jm_load_relaxed(&deferred.count) == 0)) {
        return true;
    }
    jm_lock_take(&deferred.lock);
    size_t kept = 0;
    for (size_t i = 0; i < jm_load_relaxed(&deferred.count); i++) {
        if (!unmap(&deferred.extents[i])) {
            deferred.extents[kept++] = deferred.extents[i];
        }
    }
    jm_store_relaxed(&deferred.count, kept);
    jm_lock_drop(&deferred.lock);
    return kept < MAX_DEFERRED / 2;
}

void jm_os_deferred_for_locks(jm_lock_step *step)
{
    step(&deferred.lock);
}
