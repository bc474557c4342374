/* on_counter.h - glibc behind a counter and a limit per tenant, which is what hosts do today.
 *
 * Favours glibc: the counter is a plain word that only the tenant's thread writes (a locked add
 * would cost several ns more), and frees from other threads have a word of their own.
 * SPDX-License-Identifier: MIT */

#ifndef BENCH_ADAPTER_COUNTER_H
#define BENCH_ADAPTER_COUNTER_H

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#define TENANT_HEAPS 0
#define TENANT_USAGE 1
#define TENANT_MAX 10000

struct account {
    _Atomic size_t used; /* written by the tenant's thread, read by all */
    size_t limit;
    _Alignas(64) _Atomic size_t freed_remotely;
};

struct tenant {
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

static inline size_t account_used(const struct account *account)
{
    return atomic_load_explicit(&account->used, memory_order_relaxed);
}

static inline void account_set(struct account *account, size_t used)
{
    atomic_store_explicit(&account->used, used, memory_order_relaxed);
}

static inline void *tenant_alloc(struct tenant tenant, size_t size)
{
    struct account *account = tenant.account;
    const size_t used = account_used(account);
    void *ptr;

    if (used > account->limit || size > account->limit - used) {
        return NULL;
    }
    ptr = malloc(size);
    if (ptr != NULL) {
        account_set(account, used + malloc_usable_size(ptr));
    }
    return ptr;
}

#define TENANT_ALIGNED
static inline void *tenant_alloc_aligned(struct tenant tenant, size_t alignment, size_t size)
{
    struct account *account = tenant.account;
    const size_t used = account_used(account);
    void *ptr;

    if (used > account->limit || size > account->limit - used) {
        return NULL;
    }
    ptr = aligned_alloc(alignment, size);
    if (ptr != NULL) {
        account_set(account, used + malloc_usable_size(ptr));
    }
    return ptr;
}

#define TENANT_CALLOC
static inline void *tenant_calloc(struct tenant tenant, size_t size)
{
    struct account *account = tenant.account;
    const size_t used = account_used(account);
    void *ptr;

    if (used > account->limit || size > account->limit - used) {
        return NULL;
    }
    ptr = calloc(1, size);
    if (ptr != NULL) {
        account_set(account, used + malloc_usable_size(ptr));
    }
    return ptr;
}

static inline void *tenant_realloc(struct tenant tenant, void *ptr, size_t size)
{
    struct account *account = tenant.account;
    const size_t used = account_used(account) - (ptr != NULL ? malloc_usable_size(ptr) : 0);
    void *moved;

    if (used > account->limit || size > account->limit - used) {
        return NULL;
    }
    moved = realloc(ptr, size);
    if (moved != NULL) {
        account_set(account, used + malloc_usable_size(moved));
    }
    return moved;
}

static inline void tenant_free(struct tenant tenant, void *ptr)
{
    struct account *account = tenant.account;

    account_set(account, account_used(account) - malloc_usable_size(ptr));
    free(ptr);
}

static inline void tenant_free_remote(struct tenant tenant, void *ptr)
{
    atomic_fetch_add_explicit(&tenant.account->freed_remotely, malloc_usable_size(ptr),
                              memory_order_relaxed);
    free(ptr);
}

static inline size_t tenant_usage(struct tenant tenant)
{
    return account_used(tenant.account) -
           atomic_load_explicit(&tenant.account->freed_remotely, memory_order_relaxed);
}

#define TENANT_LIMITS
static inline void tenant_set_limit(struct tenant tenant, size_t bytes)
{
    tenant.account->limit = bytes;
}

#endif /* BENCH_ADAPTER_COUNTER_H */
