/* on_glibc.c - the calls to glibc that are not on timed paths.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"

#include <gnu/libc-version.h>
#include <malloc.h>
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
    tenant->unused = 0;
    return true;
}

bool tenant_create(struct tenant *tenant)
{
    return tenant_create_bare(tenant);
}

void tenant_destroy(struct tenant tenant)
{
    (void)tenant;
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
