/* on_mimalloc.h - a mimalloc heap per tenant: no counter, no limit.
 * SPDX-License-Identifier: MIT */

#ifndef BENCH_ADAPTER_MIMALLOC_H
#define BENCH_ADAPTER_MIMALLOC_H

#include <mimalloc.h>

#define TENANT_HEAPS 1
#define TENANT_USAGE 0
#define TENANT_MAX 10000

struct tenant {
    mi_heap_t *heap;
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
    return mi_heap_malloc(tenant.heap, size);
}

#define TENANT_ALIGNED
static inline void *tenant_alloc_aligned(struct tenant tenant, size_t alignment, size_t size)
{
    return mi_heap_malloc_aligned(tenant.heap, size, alignment);
}

#define TENANT_CALLOC
static inline void *tenant_calloc(struct tenant tenant, size_t size)
{
    return mi_heap_zalloc(tenant.heap, size);
}

static inline void *tenant_realloc(struct tenant tenant, void *ptr, size_t size)
{
    return mi_heap_realloc(tenant.heap, ptr, size);
}

static inline void tenant_free(struct tenant tenant, void *ptr)
{
    (void)tenant;
    mi_free(ptr);
}

static inline void tenant_free_remote(struct tenant tenant, void *ptr)
{
    (void)tenant;
    mi_free(ptr);
}

static inline size_t tenant_usage(struct tenant tenant)
{
    (void)tenant;
    return 0;
}

#endif /* BENCH_ADAPTER_MIMALLOC_H */
