/* on_counter.c - creating and destroying the counters of on_counter.h.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"

#include <gnu/libc-version.h>
#include <stdint.h>
#include <stdio.h>

void adapter_version(char *text, size_t size)
{
    snprintf(text, size, "glibc %s", gnu_get_libc_version());
}

const void *adapter_code(void)
{
    return (const void *)(uintptr_t)&malloc;
}

bool tenant_create_bare(struct tenant *tenant)
{
    struct account *account = malloc(sizeof(*account));

    if (account == NULL) {
        return false;
    }
    account_set(account, 0);
    atomic_init(&account->freed_remotely, 0);
    account->limit = TENANT_LIMIT;
    tenant->account = account;
    return true;
}

bool tenant_create(struct tenant *tenant)
{
    return tenant_create_bare(tenant);
}

void tenant_destroy(struct tenant tenant)
{
    free(tenant.account);
}

/* True after malloc_trim: the arena still counts what it gave back. */
static bool trimmed;

size_t tenant_footprint(struct tenant tenant)
{
    const struct mallinfo2 info = mallinfo2();

    (void)tenant;
    return trimmed ? FOOTPRINT_UNKNOWN : info.arena + info.hblkhd;
}

void tenant_collect(struct tenant tenant)
{
    (void)tenant;
    malloc_trim(0);
    trimmed = true;
}

long long tenant_events(struct tenant tenant)
{
    (void)tenant;
    return -1;
}
