/* on_tbb.h - a oneTBB memory pool per tenant, with callbacks that count and limit what it takes.
 *
 * The interface is C++ (namespace rml in tbb/scalable_allocator.h), but made of plain functions and
 * one plain struct, so it is declared here by symbol and no C++ compiler is needed.
 * SPDX-License-Identifier: MIT */

#ifndef BENCH_ADAPTER_TBB_H
#define BENCH_ADAPTER_TBB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TENANT_HEAPS 1
#define TENANT_USAGE 1
#define TENANT_MAX 1000 /* each pool takes one of the process's 1,024 thread-specific keys */

struct pool;

void *pool_malloc(struct pool *pool,
                  size_t size) __asm__("_ZN3rml11pool_mallocEPNS_10MemoryPoolEm");
void *
pool_aligned_malloc(struct pool *pool, size_t size,
                    size_t alignment) __asm__("_ZN3rml19pool_aligned_mallocEPNS_10MemoryPoolEmm");
void *pool_realloc(struct pool *pool, void *ptr,
                   size_t size) __asm__("_ZN3rml12pool_reallocEPNS_10MemoryPoolEPvm");
bool pool_free(struct pool *pool, void *ptr) __asm__("_ZN3rml9pool_freeEPNS_10MemoryPoolEPv");

struct account {
    _Atomic size_t used;
    size_t limit;
    _Atomic long long events;
};

struct tenant {
    struct pool *pool;
    struct account *account;
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
    return pool_malloc(tenant.pool, size);
}

#define TENANT_ALIGNED
static inline void *tenant_alloc_aligned(struct tenant tenant, size_t alignment, size_t size)
{
    return pool_aligned_malloc(tenant.pool, size, alignment);
}

#define TENANT_CALLOC
static inline void *tenant_calloc(struct tenant tenant, size_t size)
{
    void *ptr = pool_malloc(tenant.pool, size); /* a pool has no calloc */

    return ptr == NULL ? NULL : memset(ptr, 0, size);
}

static inline void *tenant_realloc(struct tenant tenant, void *ptr, size_t size)
{
    return pool_realloc(tenant.pool, ptr, size);
}

static inline void tenant_free(struct tenant tenant, void *ptr)
{
    pool_free(tenant.pool, ptr);
}

static inline void tenant_free_remote(struct tenant tenant, void *ptr)
{
    pool_free(tenant.pool, ptr);
}

static inline size_t tenant_usage(struct tenant tenant)
{
    return atomic_load_explicit(&tenant.account->used, memory_order_relaxed);
}

/* The pool's callbacks keep the limit: oneTBB has no other way. */
#define TENANT_LIMITS
static inline void tenant_set_limit(struct tenant tenant, size_t bytes)
{
    tenant.account->limit = bytes;
}

#define TENANT_BUDGETS
static inline void tenant_set_budget(struct tenant tenant, size_t bytes)
{
    tenant_set_limit(tenant, bytes);
}

#endif /* BENCH_ADAPTER_TBB_H */
