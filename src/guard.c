#include "guard.h"

#include "os.h"

void *jm_guard_reserve(size_t size)
{
    char *space = jm_os_reserve(JM_GUARD_SIZE + size + JM_GUARD_SIZE);
    return space == NULL ? NULL : space + JM_GUARD_SIZE;
}

void *jm_guard_map(size_t size)
{
    void *table = jm_guard_reserve(size);
    if (table != NULL && !jm_os_commit(table, size)) {
        jm_guard_discard(table, size);
        return NULL;
    }
    return table;
}

void jm_guard_discard(void *table, size_t size)
{
    char *space = (char *)table - JM_GUARD_SIZE;
    jm_os_discard(&(struct jm_os_extent){space, JM_GUARD_SIZE + size + JM_GUARD_SIZE});
}
