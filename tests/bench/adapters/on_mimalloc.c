/* on_mimalloc.c - the calls to mimalloc that are not on timed paths.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"

#include <stdint.h>
#include <stdio.h>

void adapter_version(char *text, size_t size)
{
    const int version = mi_version(); /* 209 is 2.0.9 */

    snprintf(text, size, "mimalloc %d.%d.%d", version / 100, version / 10 % 10, version % 10);
}

const void *adapter_code(void)
{
    return (const void *)(uintptr_t)&mi_heap_malloc;
}

bool tenant_create_bare(struct tenant *tenant)
{
    tenant->heap = mi_heap_new();
    return tenant->heap != NULL;
}

bool tenant_create(struct tenant *tenant)
{
    return tenant_create_bare(tenant);
}

void tenant_destroy(struct tenant tenant)
{
    mi_heap_destroy(tenant.heap);
}

/* Heaps share segments, and a heap knows only the used part of its pages: the resident set is
 * the fairer figure. */
size_t tenant_footprint(struct tenant tenant)
{
    (void)tenant;
    return FOOTPRINT_UNKNOWN;
}

void tenant_collect(struct tenant tenant)
{
    mi_heap_collect(tenant.heap, true);
    mi_collect(true);
}

long long tenant_events(struct tenant tenant)
{
    (void)tenant;
    return -1;
}
