#include "os_orphans.h"

#include "thread.h"

#define MAX_ORPHANS 256

static struct {
    struct jm_lock lock;
    struct jm_os_extent extents[MAX_ORPHANS];
    _Atomic(size_t) count;
} orphans;

void jm_orphans_keep(const struct jm_os_extent *extent)
{
    jm_lock_take(&orphans.lock);
    size_t count = jm_load_relaxed(&orphans.count);
    if (count < MAX_ORPHANS) {
        orphans.extents[count] = *extent;
        jm_store_relaxed(&orphans.count, count + 1);
    }
    jm_lock_drop(&orphans.lock);
}

bool jm_orphans_retry(bool (*unmap)(const struct jm_os_extent *))
{
    if (JM_LIKELY(jm_load_relaxed(&orphans.count) == 0)) {
        return true;
    }
    jm_lock_take(&orphans.lock);
    size_t kept = 0;
    for (size_t i = 0; i < jm_load_relaxed(&orphans.count); i++) {
        if (!unmap(&orphans.extents[i])) {
            orphans.extents[kept++] = orphans.extents[i];
        }
    }
    jm_store_relaxed(&orphans.count, kept);
    jm_lock_drop(&orphans.lock);
    return kept < MAX_ORPHANS / 2;
}

void jm_orphans_for_locks(jm_lock_step *step)
{
    step(&orphans.lock);
}
