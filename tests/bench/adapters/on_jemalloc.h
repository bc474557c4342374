/* on_jemalloc.h - a jemalloc arena per tenant, with extent hooks that count and limit what it takes
 * from the OS, and a thread cache of its own.
 * SPDX-License-Identifier: MIT */

#ifndef BENCH_ADAPTER_JEMALLOC_H
#define BENCH_ADAPTER_JEMALLOC_H

#include <jemalloc/jemalloc.h>

#include <stdatomic.h>

#define TENANT_HEAPS 1
#define TENANT_USAGE 1
#define TENANT_MAX 4000 /* arenas and caches have 12-bit numbers */

struct account {
    extent_hooks_t hooks; /* first: the hooks are handed their own address */
    _Atomic size_t used;
    size_t limit;
    _Atomic long long events;
    unsigned arena;
    unsigned cache;
};

struct tenant {
    struct account *account;
    int flags;
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
    return mallocx(size, tenant.flags);
}

#define TENANT_ALIGNED
static inline void *tenant_alloc_aligned(struct tenant tenant, size_t alignment, size_t size)
{
    return mallocx(size, tenant.flags | MALLOCX_ALIGN(alignment));
}

#define TENANT_CALLOC
static inline void *tenant_calloc(struct tenant tenant, size_t size)
{
    return mallocx(size, tenant.flags | MALLOCX_ZERO);
}

static inline void *tenant_realloc(struct tenant tenant, void *ptr, size_t size)
{
    return ptr == NULL ? mallocx(size, tenant.flags) : rallocx(ptr, size, tenant.flags);
}

static inline void tenant_free(struct tenant tenant, void *ptr)
{
    dallocx(ptr, tenant.flags);
}

/* Frees into the freeing thread's automatic cache, which returns objects to the arena in
 * batches. */
static inline void tenant_free_remote(struct tenant tenant, void *ptr)
{
    (void)tenant;
    dallocx(ptr, 0);
}

static inline size_t tenant_usage(struct tenant tenant)
{
    return atomic_load_explicit(&tenant.account->used, memory_order_relaxed);
}

/* The extent hooks keep the limit: jemalloc has no other way. */
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

#endif /* BENCH_ADAPTER_JEMALLOC_H */
