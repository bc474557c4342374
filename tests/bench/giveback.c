/*
 * giveback.c - how much goes back to the OS after many frees; and that a loop on the edge of a
 * block does not take and give back memory all the time.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE 4096 /* bytes */

#define TOTAL ((size_t)100 << 20) /* bytes asked for */
#define SIZE_LOW 16               /* bytes */
#define SIZE_HIGH 1024
#define OBJECTS_MAX (TOTAL / 128)
#define GROUP 1000 /* objects that die together, as those of a request do */

#define LEVELS 8192 /* objects that are kept, one more at each level */
#define LEVEL_SIZE 64
#define BURST 8 /* objects that come and go at each level */
#define BURST_SIZE 1024
#define BURSTS 16

struct object {
    void *ptr;
    uint32_t size;
};

static int compare_pages(const void *left, const void *right)
{
    const uintptr_t a = *(const uintptr_t *)left;
    const uintptr_t b = *(const uintptr_t *)right;

    return (a > b) - (a < b);
}

/* Frees randomly chosen groups of `group` objects. A group was allocated in sequence, and is freed
 * in the same order. Returns the bytes that are still live. */
static size_t free_some(struct tenant tenant, struct object *objects, size_t count,
                        unsigned percent, size_t group)
{
    uint64_t seed = percent;
    size_t live = 0;
    bool doomed = false;
    size_t i;

    for (i = 0; i < count; i++) {
        if (i % group == 0) {
            doomed = random_bits(&seed) % 100 < percent;
        }
        if (doomed && objects[i].ptr != NULL) {
            tenant_free(tenant, objects[i].ptr);
            objects[i].ptr = NULL;
        } else if (objects[i].ptr != NULL) {
            live += objects[i].size;
        }
    }
    return live;
}

/* Counts the pages that contain a part of a live object: unless objects move, no fewer can be
 * held. */
static size_t pages_in_use(const struct object *objects, size_t count, uintptr_t *pages)
{
    size_t entries = 0;
    size_t distinct = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        const uintptr_t first = (uintptr_t)objects[i].ptr / PAGE;

        if (objects[i].ptr != NULL) {
            pages[entries++] = first;
            if (((uintptr_t)objects[i].ptr + objects[i].size - 1) / PAGE != first) {
                pages[entries++] = first + 1;
            }
        }
    }
    qsort(pages, entries, sizeof(*pages), compare_pages);
    for (i = 0; i < entries; i++) {
        distinct += i == 0 || pages[i] != pages[i - 1];
    }
    return distinct;
}

/* Allocates the freed objects again. Returns the ns per object. */
static double make_again(struct tenant tenant, struct object *objects, size_t count)
{
    const double start = now_ns();
    size_t made = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        if (objects[i].ptr == NULL) {
            objects[i].ptr = take(tenant, objects[i].size);
            made++;
        }
    }
    return (now_ns() - start) / (double)made;
}

static void emit_of(const char *row, const char *what, double value)
{
    char name[64];

    snprintf(name, sizeof(name), "%s-%s", row, what);
    emit(name, value);
}

/* Allocates 100 MB; frees 90 % of it, collects, and allocates it again; frees all, and collects. */
static void many_objects(const char *row, size_t group)
{
    struct object *objects = harness_memory(OBJECTS_MAX * sizeof(*objects));
    uintptr_t *pages = harness_memory(OBJECTS_MAX * sizeof(*pages) / 4);
    const size_t base = resident_bytes();
    const struct tenant tenant = open_tenant();
    uint64_t seed = TOTAL;
    size_t bytes = 0;
    size_t count = 0;
    double start;

    while (bytes < TOTAL && count < OBJECTS_MAX) {
        const size_t size = random_size(&seed, SIZE_LOW, SIZE_HIGH);

        objects[count].ptr = take(tenant, size);
        objects[count].size = (uint32_t)size;
        bytes += size;
        count++;
    }
    emit_of(row, "full", (double)held_bytes(tenant, base) / (double)bytes);
    bytes = free_some(tenant, objects, count, 90, group);
    start = now_ns();
    tenant_collect(tenant);
    emit_of(row, "ms", (now_ns() - start) / 1e6);
    emit(row, (double)held_bytes(tenant, base) / (double)bytes);
    emit_of(row, "rss", (double)(resident_bytes() - base) / (double)bytes);
    emit_of(row, "pages", (double)(pages_in_use(objects, count, pages) * PAGE) / (double)bytes);
    emit_of(row, "again", make_again(tenant, objects, count));
    free_some(tenant, objects, count, 100, 1);
    tenant_collect(tenant);
    emit_of(row, "all", (double)held_bytes(tenant, base) / 1024);
    emit_of(row, "all-rss", ((double)resident_bytes() - (double)base) / 1024);
    close_tenant(tenant);
    harness_memory_return(pages, OBJECTS_MAX * sizeof(*pages) / 4);
    harness_memory_return(objects, OBJECTS_MAX * sizeof(*objects));
}

/* At some levels of filling the burst needs a new block, and leaves it empty. */
void run_edges(void)
{
    const struct tenant tenant = open_tenant();
    void **kept = harness_memory(LEVELS * sizeof(*kept));
    void *burst[BURST];
    long long events = tenant_events(tenant);
    int level;
    int i;
    int n;

    if (events < 0) {
        emit_none("edge", "not counted");
        return;
    }
    for (level = 0; level < LEVELS; level++) {
        kept[level] = take(tenant, LEVEL_SIZE);
        for (n = 0; n < BURSTS; n++) {
            for (i = 0; i < BURST; i++) {
                burst[i] = take(tenant, BURST_SIZE);
            }
            for (i = 0; i < BURST; i++) {
                tenant_free(tenant, burst[i]);
            }
        }
    }
    events = tenant_events(tenant) - events;
    emit("edge", (double)events * 1e6 / ((double)LEVELS * BURSTS * BURST));
    close_tenant(tenant);
}

void run_giving_back(void)
{
    many_objects("give", 1);
}

void run_giving_back_groups(void)
{
    many_objects("give-groups", GROUP);
}
