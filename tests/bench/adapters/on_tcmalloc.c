/* on_tcmalloc.c - gperftools' tcmalloc_minimal in place of glibc's malloc, through on_glibc.h.
 *
 * Debian's runtime package has no header, so the few functions are declared here.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"

#include <stdint.h>
#include <stdio.h>

const char *tc_version(int *major, int *minor, const char **patch);
int MallocExtension_GetNumericProperty(const char *property, size_t *value);
void MallocExtension_ReleaseFreeMemory(void);

void adapter_version(char *text, size_t size)
{
    snprintf(text, size, "%s", tc_version(NULL, NULL, NULL));
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

size_t tenant_footprint(struct tenant tenant)
{
    size_t heap = 0;
    size_t unmapped = 0;

    (void)tenant;
    if (!MallocExtension_GetNumericProperty("generic.heap_size", &heap) ||
        !MallocExtension_GetNumericProperty("tcmalloc.pageheap_unmapped_bytes", &unmapped)) {
        return FOOTPRINT_UNKNOWN;
    }
    return heap - unmapped;
}

void tenant_collect(struct tenant tenant)
{
    (void)tenant;
    MallocExtension_ReleaseFreeMemory();
}

long long tenant_events(struct tenant tenant)
{
    (void)tenant;
    return -1;
}
