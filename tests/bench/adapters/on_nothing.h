/* on_nothing.h - no allocator: hands out the same few addresses again and again.
 *
 * This measures the harness itself: a reader can subtract it.
 * SPDX-License-Identifier: MIT */

#ifndef BENCH_ADAPTER_NOTHING_H
#define BENCH_ADAPTER_NOTHING_H

#include <stdbool.h>
#include <stddef.h>

#define TENANT_HEAPS 1
#define TENANT_USAGE 0
#define TENANT_MAX 0 /* rows about many tenants mean nothing here */

struct tenant {
    char *place;
};

/* One call each, as for an allocator; the barrier keeps the compiler from looking inside. */
void *nothing_alloc(char *place, size_t size);
void nothing_free(void *ptr);

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
    return nothing_alloc(tenant.place, size);
}

static inline void *tenant_realloc(struct tenant tenant, void *ptr, size_t size)
{
    (void)ptr;
    return nothing_alloc(tenant.place, size);
}

static inline void tenant_free(struct tenant tenant, void *ptr)
{
    (void)tenant;
    nothing_free(ptr);
}

static inline void tenant_free_remote(struct tenant tenant, void *ptr)
{
    (void)tenant;
    nothing_free(ptr);
}

static inline size_t tenant_usage(struct tenant tenant)
{
    (void)tenant;
    return 0;
}

#endif /* BENCH_ADAPTER_NOTHING_H */
