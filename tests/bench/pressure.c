/*
 * pressure.c - tenants under pressure: one that is full, one whose memory rises and falls, one
 * whose object sizes change.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <stdlib.h>

/* ---- W11: full
 * ---------------------------------------------------------------------------------- */

/* A tenant that is filled up to its limit and then keeps allocating. */
struct full {
    const char *row, *live_row;
    size_t limit;
    size_t low, sizes; /* object sizes: low <= size < low + sizes, in bytes */
};

struct cached {
    void *object;
    size_t size;
};

struct cache {
    const struct full *full;
    struct tenant tenant;
    uint64_t seed;
    struct cached *entries; /* a ring */
    size_t room, oldest, count, bytes;
};

static void drop_oldest(struct cache *cache)
{
    struct cached *entry = &cache->entries[cache->oldest];

    if (cache->count == 0) {
        fail("refused with nothing live");
    }
    tenant_free(cache->tenant, entry->object);
    cache->bytes -= entry->size;
    cache->oldest = (cache->oldest + 1) % cache->room;
    cache->count--;
}

/* Allocates an object. False: refused. */
static bool insert(struct cache *cache, size_t size)
{
    void *object = tenant_alloc(cache->tenant, size);

    if (object == NULL) {
        return false;
    }
    *(volatile uint64_t *)object = size;
    cache->entries[(cache->oldest + cache->count++) % cache->room] = (struct cached){object, size};
    cache->bytes += size;
    return true;
}

static size_t next_size(struct cache *cache)
{
    return cache->full->low + (size_t)(random_bits(&cache->seed) % cache->full->sizes);
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

#if defined(TENANT_LIMITS)
/* Runs a full tenant. `limit` sets the tenant's limit, or has the host keep it. */
static void fill_tenant(const struct full *full, void (*limit)(struct tenant, size_t))
{
    /* At least as many as can ever be live. */
    struct cache cache = {.full = full, .seed = 11, .room = full->limit / full->low + 1};

    cache.entries = harness_memory(cache.room * sizeof(*cache.entries));
    cache.tenant = open_tenant();
    limit(cache.tenant, full->limit);
    while (insert(&cache, next_size(&cache))) {
    }
    if (cache.count == 0) {
        emit_none(full->row, "holds nothing");
        close_tenant(cache.tenant);
        return;
    }
    emit(full->row, measure(cache_loop, &cache));
    emit(full->live_row, (double)cache.bytes / (double)full->limit);
    while (!TENANT_HEAPS && cache.count > 0) {
        drop_oldest(&cache);
    }
    close_tenant(cache.tenant);
}
#endif

static void run_full_tenant(const struct full *full)
{
#if defined(TENANT_LIMITS)
    fill_tenant(full, tenant_set_limit);
#else
    (void)cache_loop;
    emit_none(full->row, "no limit");
#endif
}

void run_full(void)
{
    static const struct full full = {"W11", "W11-live", (size_t)64 << 20, 16, 1024};

    run_full_tenant(&full);
}

void run_full_small(void)
{
    static const struct full full = {"W11s", "W11s-live", (size_t)1 << 20, 16, 1024};

    run_full_tenant(&full);
}

void run_full_medium(void)
{
    static const struct full full = {"W11m", "W11m-live", (size_t)64 << 20, 8 << 10, 22 << 10};

    run_full_tenant(&full);
}

/* W11 with the limit kept by the host's callback. */
void run_full_asked(void)
{
#if defined(TENANT_BUDGETS)
    static const struct full full = {"W11c", "W11c-live", (size_t)64 << 20, 16, 1024};

    fill_tenant(&full, tenant_set_budget);
#else
    emit_none("W11c", "no hook");
#endif
}

/* ---- W11g: a limit that grows with what it limits
 * -------------------------------------------------- */

#define GROWN ((size_t)64 << 20)
#define STEP ((size_t)64 << 10)

#if defined(TENANT_LIMITS)
/* Allocates an object, and frees a random one every third time on average. False: refused. */
static bool insert_some(struct cache *cache)
{
    if (!insert(cache, next_size(cache))) {
        return false;
    }
    if (random_bits(&cache->seed) % 3 == 0 && cache->count > 1) {
        const size_t last = --cache->count;
        struct cached *any = &cache->entries[random_bits(&cache->seed) % cache->count];

        tenant_free(cache->tenant, any->object);
        *any = cache->entries[last];
    }
    return true;
}

/* Returns the number of objects allocated. */
static uint64_t grow_tenant(struct cache *cache)
{
    uint64_t done = 0;
    size_t limit;

    cache->tenant = open_tenant();
    cache->count = 0;
    for (limit = STEP; limit <= GROWN; limit += STEP) {
        tenant_set_limit(cache->tenant, limit);
        while (insert_some(cache)) {
            done++;
        }
    }
    while (cache->count > 0) {
        drop_oldest(cache);
    }
    cache->oldest = 0;
    close_tenant(cache->tenant);
    return done;
}

static uint64_t growth_loop(void *state, uint64_t units)
{
    uint64_t done = 0;

    while (done < units) {
        done += grow_tenant(state);
    }
    return done;
}
#endif

void run_full_growing(void)
{
#if defined(TENANT_LIMITS)
    static const struct full full = {.low = 16, .sizes = 1024};
    struct cache cache = {.full = &full, .seed = 11, .room = GROWN / 16};

    cache.entries = harness_memory(cache.room * sizeof(*cache.entries));
    emit("W11g", measure(growth_loop, &cache));
    harness_memory_return(cache.entries, cache.room * sizeof(*cache.entries));
#else
    emit_none("W11g", "no limit");
#endif
}

/* ---- W12: rise and fall
 * ------------------------------------------------------------------------- */

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

/* ---- W13: the sizes change
 * ---------------------------------------------------------------------- */

#define LIVE ((size_t)64 << 20) /* bytes */
#define LITTLE_LOW 16
#define LITTLE_HIGH 256
#define MEDIUM_LOW 1024
#define MEDIUM_HIGH 8192

struct shift {
    struct tenant tenant;
    uint64_t seed;
    struct cached *entries;
    size_t count, bytes;
    double longest; /* ns */
};

/* Notes the duration of a call that began at `start`. */
static void note_call(struct shift *shift, double start)
{
    const double took = now_ns() - start;

    shift->longest = took > shift->longest ? took : shift->longest;
}

static void fill_up(struct shift *shift, size_t low, size_t high)
{
    while (shift->bytes < LIVE) {
        const size_t size = random_size(&shift->seed, low, high);
        const double start = now_ns();
        void *object = take(shift->tenant, size);

        note_call(shift, start);
        shift->entries[shift->count++] = (struct cached){object, size};
        shift->bytes += size;
    }
}

/* Frees random objects until at most `bytes` are live. */
static void thin_out(struct shift *shift, size_t bytes)
{
    while (shift->bytes > bytes) {
        struct cached *any = &shift->entries[random_bits(&shift->seed) % shift->count];
        const double start = now_ns();

        tenant_free(shift->tenant, any->object);
        note_call(shift, start);
        shift->bytes -= any->size;
        *any = shift->entries[--shift->count];
    }
}

void run_shift(void)
{
    const size_t room = (LIVE / LITTLE_LOW + 1) * sizeof(struct cached);
    struct shift shift = {.tenant = open_tenant(), .seed = 13};

    shift.entries = harness_memory(room);
    fill_up(&shift, LITTLE_LOW, LITTLE_HIGH);
    shift.longest = 0;
    thin_out(&shift, LIVE / 2);
    fill_up(&shift, MEDIUM_LOW, MEDIUM_HIGH);
    thin_out(&shift, LIVE / 2);
    fill_up(&shift, LITTLE_LOW, LITTLE_HIGH);
    emit("W13", shift.longest / 1e3);
    thin_out(&shift, 0);
    close_tenant(shift.tenant);
    harness_memory_return(shift.entries, room);
}
