/* on_tbb.c - pools with counting callbacks.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* rml::MemPoolPolicy, version 1 */
struct policy {
    void *(*alloc)(intptr_t id, size_t *bytes);
    int (*free)(intptr_t id, void *raw, size_t bytes);
    size_t granularity; /* 0: the library's default */
    int version;
    unsigned fixed_pool : 1;
    unsigned keep_all_memory : 1;
    unsigned reserved : 30;
};

int pool_create(intptr_t id, const struct policy *policy, struct pool **pool) __asm__(
    "_ZN3rml14pool_create_v1ElPKNS_13MemPoolPolicyEPPNS_10MemoryPoolE");
bool pool_destroy(struct pool *pool) __asm__("_ZN3rml12pool_destroyEPNS_10MemoryPoolE");
int scalable_allocation_command(int command, void *parameter);

#define CLEAN_ALL_BUFFERS 0

static void *take(intptr_t id, size_t *bytes)
{
    struct account *account = (struct account *)id;
    const size_t used = atomic_fetch_add(&account->used, *bytes);
    void *raw = MAP_FAILED;

    if (used <= account->limit && *bytes <= account->limit - used) {
        raw = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (raw == MAP_FAILED) {
        atomic_fetch_sub(&account->used, *bytes);
        return NULL;
    }
    atomic_fetch_add(&account->events, 1);
    return raw;
}

static int give(intptr_t id, void *raw, size_t bytes)
{
    struct account *account = (struct account *)id;

    if (munmap(raw, bytes) != 0) {
        return -1;
    }
    atomic_fetch_sub(&account->used, bytes);
    atomic_fetch_add(&account->events, 1);
    return 0;
}

void adapter_version(char *text, size_t size)
{
    snprintf(text, size, "oneTBB %s", BENCH_TBB_VERSION);
}

const void *adapter_code(void)
{
    return (const void *)(uintptr_t)&pool_malloc;
}

bool tenant_create(struct tenant *tenant)
{
    const struct policy policy = {.alloc = take, .free = give, .version = 1};
    struct account *account = malloc(sizeof(*account));

    if (account == NULL) {
        return false;
    }
    atomic_init(&account->used, 0);
    atomic_init(&account->events, 0);
    account->limit = TENANT_LIMIT;
    tenant->account = account;
    if (pool_create((intptr_t)account, &policy, &tenant->pool) != 0) {
        free(account);
        return false;
    }
    return true;
}

bool tenant_create_bare(struct tenant *tenant)
{
    return tenant_create(tenant);
}

void tenant_destroy(struct tenant tenant)
{
    pool_destroy(tenant.pool);
    free(tenant.account);
}

size_t tenant_footprint(struct tenant tenant)
{
    return tenant_usage(tenant);
}

void tenant_collect(struct tenant tenant)
{
    (void)tenant;
    scalable_allocation_command(CLEAN_ALL_BUFFERS, NULL);
}

long long tenant_events(struct tenant tenant)
{
    return atomic_load(&tenant.account->events);
}
