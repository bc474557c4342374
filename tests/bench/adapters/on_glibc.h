/* on_glibc.h - plain malloc, shared by all tenants: no counter, no limit.
 * on_tcmalloc.c uses this header too, linked with another malloc.
 * SPDX-License-Identifier: MIT */

#ifndef BENCH_ADAPTER_GLIBC_H
#define BENCH_ADAPTER_GLIBC_H

#include <stdlib.h>

#define TENANT_HEAPS 0
#define TENANT_USAGE 0
#define TENANT_MAX 10000

struct tenant {
    int unused;
};

static inline void tenant_enter(struct tenant tenant)
{
    (void)tenant;
}

static inline void tenant_leave(struct tenant tenant)
{
    (void)tenant;
}

static inline void *tenant_alloc(struct tenant tenant, size_t size)
{
    (void)tenant;
    return malloc(size);
}

#define TENANT_ALIGNED
static inline void *tenant_alloc_aligned(struct tenant tenant, size_t alignment, size_t size)
{
    (void)tenant;
    return aligned_alloc(alignment, size);
}

#define TENANT_CALLOC
static inline void *tenant_calloc(struct tenant tenant, size_t size)
{
    (void)tenant;
    return calloc(1, size);
}

static inline void *tenant_realloc(struct tenant tenant, void *ptr, size_t size)
{
    (void)tenant;
    return realloc(ptr, size);
}

static inline void tenant_free(struct tenant tenant, void *ptr)
{
    (void)tenant;
    free(ptr);
}

static inline void tenant_free_remote(struct tenant tenant, void *ptr)
{
    (void)tenant;
    free(ptr);
}

static inline size_t tenant_usage(struct tenant tenant)
{
    (void)tenant;
    return 0;
}

#endif /* BENCH_ADAPTER_GLIBC_H */
