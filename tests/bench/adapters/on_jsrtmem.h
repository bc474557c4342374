/* on_jsrtmem.h - libjsrtmem as a user links it: public headers, shared library, limit and callback
 * set.
 * SPDX-License-Identifier: MIT */

#ifndef BENCH_ADAPTER_JSRTMEM_H
#define BENCH_ADAPTER_JSRTMEM_H

#include <jsrtmem.h>

#define TENANT_HEAPS 1
#define TENANT_USAGE 1
#define TENANT_MAX 1000000

struct tenant {
    JsRuntimeHandle runtime;
};

static inline void tenant_enter(struct tenant tenant)
{
    jsrtmem_enter(tenant.runtime);
}

static inline void tenant_leave(struct tenant tenant)
{
    jsrtmem_leave(tenant.runtime);
}

static inline void *tenant_alloc(struct tenant tenant, size_t size)
{
    return jsrtmem_alloc(tenant.runtime, size);
}

#define TENANT_ALIGNED
static inline void *tenant_alloc_aligned(struct tenant tenant, size_t alignment, size_t size)
{
    return jsrtmem_aligned_alloc(tenant.runtime, alignment, size);
}

#define TENANT_CALLOC
static inline void *tenant_calloc(struct tenant tenant, size_t size)
{
    return jsrtmem_calloc(tenant.runtime, 1, size);
}

static inline void *tenant_realloc(struct tenant tenant, void *ptr, size_t size)
{
    return jsrtmem_realloc(tenant.runtime, ptr, size);
}

static inline void tenant_free(struct tenant tenant, void *ptr)
{
    (void)tenant;
    jsrtmem_free(ptr);
}

static inline void tenant_free_remote(struct tenant tenant, void *ptr)
{
    (void)tenant;
    jsrtmem_free(ptr);
}

static inline size_t tenant_usage(struct tenant tenant)
{
    size_t usage = 0;

    JsGetRuntimeMemoryUsage(tenant.runtime, &usage);
    return usage;
}

#define TENANT_LIMITS
static inline void tenant_set_limit(struct tenant tenant, size_t bytes)
{
    JsSetRuntimeMemoryLimit(tenant.runtime, bytes);
}

/* For one tenant at a time. */
#define TENANT_BUDGETS
void tenant_set_budget(struct tenant tenant, size_t bytes);

#endif /* BENCH_ADAPTER_JSRTMEM_H */
