/*
 * pressure.c - a tenant that is full, and one whose memory rises and falls.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <stdlib.h>

/* ---- W11: full ---------------------------------------------------------------------------------- */

#define FULL ((size_t)64 << 20) /* the tenant's limit, in bytes */
#define SIZE_LOW 16
#define SIZES 1024 /* from there on */

/* As many as can ever live, and a few more. */
#define CACHE_MAX (FULL / SIZE_LOW + 1)

struct cached {
    void *object;
    size_t size;
};

struct cache {
    struct tenant tenant;
    uint64_t seed;
    struct cached *entries; /* a ring */
    size_t oldest, count, bytes;
};

static void drop_oldest(struct cache *cache)
{
    struct cached *entry = &cache->entries[cache->oldest];

    if (cache->count == 0) {
        fail("refused with nothing live");
    }
    tenant_free(cache->tenant, entry->object);
    cache->bytes -= entry->size;
    cache->oldest = (cache->oldest + 1) % CACHE_MAX;
    cache->count--;
}

/* False: refused. */
static bool insert(struct cache *cache, size_t size)
{
    void *object = tenant_alloc(cache->tenant, size);

    if (object == NULL) {
        return false;
    }
    *(volatile uint64_t *)object = size;
    cache->entries[(cache->oldest + cache->count++) % CACHE_MAX] = (struct cached){object, size};
    cache->bytes += size;
    return true;
}

static size_t next_size(struct cache *cache)
{
    return SIZE_LOW + (size_t)(random_bits(&cache->seed) % SIZES);
}

static uint64_t cache_loop(void *state, uint64_t units)
{
    struct cache *cache = state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        const size_t size = next_size(cache);

        while (!insert(cache, size)) {
            drop_oldest(cache);
        }
    }
    return units;
}

void run_full(void)
{
#if defined(TENANT_LIMITS)
    struct cache cache = {.seed = 11};

    cache.entries = harness_memory(CACHE_MAX * sizeof(*cache.entries));
    cache.tenant = open_tenant();
    tenant_set_limit(cache.tenant, FULL);
    while (insert(&cache, next_size(&cache))) {
    }
    emit("W11", measure(cache_loop, &cache));
    emit("W11-live", (double)cache.bytes / (double)FULL);
    while (!TENANT_HEAPS && cache.count > 0) {
        drop_oldest(&cache);
    }
    close_tenant(cache.tenant);
#else
    (void)cache_loop;
    emit_none("W11", "no limit");
#endif
}

/* ---- W12: rise and fall ------------------------------------------------------------------------- */

#define STAYS ((size_t)64 << 20 >> 6) /* objects of 64 B */
#define COMES 60
#define COMES_SIZE ((size_t)200000)

static uint64_t tide_loop(void *state, uint64_t units)
{
    const struct tenant tenant = *(const struct tenant *)state;
    void *objects[COMES];
    uint64_t done;

    for (done = 0; done < units; done += COMES) {
        unsigned i;

        for (i = 0; i < COMES; i++) {
            objects[i] = take(tenant, COMES_SIZE + 400 * i);
        }
        for (i = 0; i < COMES; i++) {
            tenant_free(tenant, objects[i]);
        }
    }
    return done;
}

void run_tide(void)
{
    struct tenant tenant = open_tenant();
    void **stays = harness_memory(STAYS * sizeof(*stays));
    size_t i;

    for (i = 0; i < STAYS; i++) {
        stays[i] = take(tenant, 64);
    }
    emit("W12", measure(tide_loop, &tenant));
    for (i = 0; !TENANT_HEAPS && i < STAYS; i++) {
        tenant_free(tenant, stays[i]);
    }
    close_tenant(tenant);
}
