/*
 * tenants.c - many tenants: whole requests, switching between thousands, idle ones.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIZE_LOW 16 /* bytes */
#define SIZE_HIGH 1024
#define SIZES 65536 /* drawn in advance */

#define REQUEST_BUFFER ((size_t)300 << 10) /* bytes, in W4l */
#define TENANT_OBJECTS 20                  /* objects of a tenant in W5 */
#define SETTLE 32                          /* pairs in each tenant of W5 before the clock starts */

static uint16_t *draw_sizes(void)
{
    uint16_t *sizes = harness_memory(SIZES * sizeof(*sizes));
    uint64_t seed = SIZES;
    size_t i;

    for (i = 0; i < SIZES; i++) {
        sizes[i] = (uint16_t)random_size(&seed, SIZE_LOW, SIZE_HIGH);
    }
    return sizes;
}

static void create_or_fail(bool (*create)(struct tenant *tenant), struct tenant *tenant)
{
    if (!create(tenant)) {
        fail("no tenant");
    }
}

/* ---- W4: a tenant per request
 * ------------------------------------------------------------------- */

static uint64_t create_loop(void *state, uint64_t units)
{
    uint64_t i;

    (void)state;
    for (i = 0; i < units; i++) {
        struct tenant tenant;

        create_or_fail(tenant_create_bare, &tenant);
        tenant_destroy(tenant);
    }
    return units;
}

void run_create(void)
{
    emit("W4e", measure(create_loop, NULL));
}

static uint64_t create_full_loop(void *state, uint64_t units)
{
    uint64_t i;

    (void)state;
    for (i = 0; i < units; i++) {
        close_tenant(open_tenant());
    }
    return units;
}

void run_create_full(void)
{
    emit("W4f", measure(create_full_loop, NULL));
}

uint64_t request_loop(void *state, uint64_t units)
{
    struct request *request = state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        const struct tenant tenant = open_tenant();
        void *buffer = NULL;
        uint32_t n;

        for (n = 0; n < request->count; n++) {
            request->objects[n] = take(tenant, request->sizes[request->cursor++ % SIZES]);
        }
        if (request->buffer != 0) {
            buffer = memset(take(tenant, request->buffer), (int)i, request->buffer);
        }
        for (n = 0; !TENANT_HEAPS && n < request->count; n++) {
            tenant_free(tenant, request->objects[n]);
        }
        if (!TENANT_HEAPS && buffer != NULL) {
            tenant_free(tenant, buffer);
        }
        close_tenant(tenant);
    }
    return units;
}

void request_draw(struct request *request, uint32_t count, size_t buffer)
{
    *request = (struct request){.sizes = draw_sizes(), .count = count, .buffer = buffer};
    request->objects = harness_memory(count * sizeof(*request->objects));
}

static void request(const char *row, uint32_t count, size_t buffer)
{
    struct request state;

    request_draw(&state, count, buffer);
    emit(row, measure(request_loop, &state));
}

void run_request_small(void)
{
    request("W4s", REQUEST_SMALL, 0);
}

void run_request(void)
{
    request("W4", REQUEST, 0);
}

void run_request_buffer(void)
{
    request("W4l", REQUEST_SMALL, REQUEST_BUFFER);
}

/* ---- W5: switching between many tenants
 * --------------------------------------------------------- */

struct crowd {
    struct tenant *tenants;
    void *(*objects)[TENANT_OBJECTS];
    const uint16_t *sizes;
    uint32_t count;
    uint32_t next;   /* tenant */
    uint32_t cursor; /* size, and by it the object */
};

/* A pair in each tenant in turn, entered for that pair only. */
static uint64_t crowd_loop(void *state, uint64_t units)
{
    struct crowd *crowd = state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        const struct tenant tenant = crowd->tenants[crowd->next];
        const uint16_t size = crowd->sizes[crowd->cursor++ % SIZES];
        void **object = &crowd->objects[crowd->next][size % TENANT_OBJECTS];

        tenant_enter(tenant);
        tenant_free(tenant, *object);
        *object = take(tenant, size);
        tenant_leave(tenant);
        if (++crowd->next == crowd->count) {
            crowd->next = 0;
        }
    }
    return units;
}

static void crowd_fill(struct crowd *crowd)
{
    uint32_t i;
    int n;

    for (i = 0; i < crowd->count; i++) {
        create_or_fail(tenant_create, &crowd->tenants[i]);
        tenant_enter(crowd->tenants[i]);
        for (n = 0; n < TENANT_OBJECTS; n++) {
            crowd->objects[i][n] = take(crowd->tenants[i], crowd->sizes[crowd->cursor++ % SIZES]);
        }
        tenant_leave(crowd->tenants[i]);
    }
}

static void crowd_dispose(struct crowd *crowd)
{
    uint32_t i;
    int n;

    for (i = 0; i < crowd->count; i++) {
        for (n = 0; !TENANT_HEAPS && n < TENANT_OBJECTS; n++) {
            tenant_free(crowd->tenants[i], crowd->objects[i][n]);
        }
        tenant_destroy(crowd->tenants[i]);
    }
}

static void emit_of(const char *row, const char *what, double value)
{
    char name[64];

    snprintf(name, sizeof(name), "%s-%s", row, what);
    emit(name, value);
}

static void tenants(const char *row, uint32_t count)
{
    struct crowd crowd = {.count = count, .sizes = draw_sizes()};
    char reason[64];
    size_t base;
    double start;

    if (count > TENANT_MAX) {
        snprintf(reason, sizeof(reason), "%d at most", TENANT_MAX);
        emit_none(row, reason);
        return;
    }
    crowd.tenants = harness_memory(count * sizeof(*crowd.tenants));
    crowd.objects = harness_memory(count * sizeof(*crowd.objects));
    base = resident_bytes();
    start = now_ns();
    crowd_fill(&crowd);
    emit_of(row, "fill", (now_ns() - start) / count);
    crowd_loop(&crowd, (uint64_t)count * SETTLE);
    emit_of(row, "rss", (double)(resident_bytes() - base) / 1024 / count);
    emit(row, measure(crowd_loop, &crowd));
    start = now_ns();
    crowd_dispose(&crowd);
    emit_of(row, "dispose", (now_ns() - start) / count);
}

void run_tenants_1k(void)
{
    tenants("W5-1k", 1000);
}

void run_tenants_10k(void)
{
    tenants("W5-10k", 10000);
}

/* ---- idle tenants
 * ------------------------------------------------------------------------------- */

void run_idle(void)
{
    const uint32_t count = TENANT_MAX;
    struct tenant *idle;
    size_t base;
    double start;
    uint32_t i;

    if (!TENANT_HEAPS || count == 0) {
        emit_none("idle", "no tenants");
        return;
    }
    idle = harness_memory(count * sizeof(*idle));
    create_or_fail(tenant_create_bare, &idle[0]); /* one-time costs do not count for a tenant */
    tenant_destroy(idle[0]);
    base = resident_bytes();
    start = now_ns();
    for (i = 0; i < count; i++) {
        create_or_fail(tenant_create_bare, &idle[i]);
    }
    emit("idle", (now_ns() - start) / count);
    emit("idle-rss", round((double)(resident_bytes() - base) / count));
    emit("idle-count", count);
    start = now_ns();
    for (i = 0; i < count; i++) {
        tenant_destroy(idle[i]);
    }
    emit("idle-dispose", (now_ns() - start) / count);
}
