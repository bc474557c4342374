/*
 * churn.c - one tenant, one thread: pairs, batches, random churn, stacks, growing objects.
 *
 * Operations are drawn before the clock starts: a timed loop reads them from an array.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#define OBJECT_SIZE 64   /* bytes, in W1 */
#define ZEROED_SIZE 4096 /* in W1c */
#define BACKGROUND 100   /* other live objects, in W1k */
#define BATCH 256        /* objects, in W1b */

#define BUFFER_SIZE ((size_t)1 << 20) /* bytes, in W8, */
#define FRAME_SIZE ((size_t)8 << 20)  /* and in W8l: an HD frame */
#define PAGE 4096

#define SMALL_LOW 16 /* bytes; the range of sizes in W2 */
#define SMALL_HIGH 1024
#define MEDIUM_HIGH ((size_t)16 << 10) /* in W9r */
#define LARGE_HIGH ((size_t)256 << 10) /* bytes; the end of the range in W3 */

/* An operation of a churn: the slot in the upper bits, size - 1 in the lower ones. */
#define OPS ((uint32_t)1 << 17) /* far more than a branch predictor remembers */
#define SIZE_BITS 18
#define SIZE_MASK (((uint32_t)1 << SIZE_BITS) - 1)
#define SETTLE (OPS * 8) /* pairs before the footprint is read */

_Static_assert(LARGE_HIGH - 1 <= SIZE_MASK, "sizes fit their bits");

/* ---- W1: one size
 * ------------------------------------------------------------------------------- */

static uint64_t pairs_loop(void *state, uint64_t units)
{
    const struct tenant tenant = *(const struct tenant *)state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        tenant_free(tenant, take(tenant, OBJECT_SIZE));
    }
    return units;
}

/* The background objects and the tenant stay until the process ends. */
static void pairs(const char *row, bool entered, loop_fn *loop)
{
    struct tenant tenant;
    int i;

    if (!tenant_create(&tenant)) {
        fail("no tenant");
    }
    if (entered) {
        tenant_enter(tenant);
    }
    for (i = 0; i < BACKGROUND; i++) {
        take(tenant, OBJECT_SIZE);
    }
    emit(row, measure(loop, &tenant));
}

void run_pairs(void)
{
    pairs("W1k", true, pairs_loop);
}

void run_unentered(void)
{
    pairs("W1u", false, pairs_loop);
}

#if defined(TENANT_ALIGNED)
static uint64_t aligned_pairs_loop(void *state, uint64_t units)
{
    const struct tenant tenant = *(const struct tenant *)state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        char *object = tenant_alloc_aligned(tenant, OBJECT_SIZE, OBJECT_SIZE);

        if (object == NULL) {
            fail("an aligned object was refused");
        }
        *object = (char)i;
        tenant_free(tenant, object);
    }
    return units;
}
#endif

void run_aligned_pairs(void)
{
#if defined(TENANT_ALIGNED)
    pairs("W1a", true, aligned_pairs_loop);
#else
    emit_none("W1a", "not aligned");
#endif
}

#if defined(TENANT_CALLOC)
static uint64_t zeroed_pairs_loop(void *state, uint64_t units)
{
    const struct tenant tenant = *(const struct tenant *)state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        char *object = tenant_calloc(tenant, ZEROED_SIZE);

        if (object == NULL) {
            fail("a zeroed object was refused");
        }
        *object = (char)i;
        tenant_free(tenant, object);
    }
    return units;
}
#endif

void run_zeroed_pairs(void)
{
#if defined(TENANT_CALLOC)
    pairs("W1c", true, zeroed_pairs_loop);
#else
    emit_none("W1c", "not zeroed");
#endif
}

static uint64_t batches_loop(void *state, uint64_t units)
{
    const struct tenant tenant = *(const struct tenant *)state;
    void *batch[BATCH];
    uint64_t done;
    int i;

    for (done = 0; done < units; done += BATCH) {
        for (i = 0; i < BATCH; i++) {
            batch[i] = take(tenant, OBJECT_SIZE);
        }
        for (i = 0; i < BATCH; i++) {
            tenant_free(tenant, batch[i]);
        }
    }
    return done;
}

void run_batches(void)
{
    struct tenant tenant = open_tenant();

    emit("W1b", measure(batches_loop, &tenant));
    close_tenant(tenant);
}

/* ---- W8: one large object at a time
 * ------------------------------------------------------------- */

struct buffers {
    struct tenant tenant;
    size_t size;
};

static uint64_t buffers_loop(void *state, uint64_t units)
{
    const struct buffers buffers = *(const struct buffers *)state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        char *buffer = take(buffers.tenant, buffers.size);
        size_t page;

        for (page = 0; page < buffers.size; page += PAGE) {
            buffer[page] = (char)i;
        }
        tenant_free(buffers.tenant, buffer);
    }
    return units;
}

static void one_buffer(const char *row, size_t size)
{
    struct buffers buffers = {open_tenant(), size};

    emit(row, measure(buffers_loop, &buffers));
    close_tenant(buffers.tenant);
}

void run_buffers(void)
{
    one_buffer("W8", BUFFER_SIZE);
}

void run_frames(void)
{
    one_buffer("W8l", FRAME_SIZE);
}

#define BUFFERS 10 /* live, in W8v and in each tenant of W8t */
#define BUFFER_LOW ((size_t)300 << 10)

struct varied {
    struct tenant tenant;
    uint64_t seed;
    void *buffers[BUFFERS];
};

static uint64_t varied_loop(void *state, uint64_t units)
{
    struct varied *varied = state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        const uint64_t bits = random_bits(&varied->seed);
        const size_t size = BUFFER_LOW + (size_t)(bits >> 16) % (BUFFER_SIZE - BUFFER_LOW);
        void **slot = &varied->buffers[bits % BUFFERS];
        size_t page;

        if (*slot != NULL) {
            tenant_free(varied->tenant, *slot);
        }
        *slot = take(varied->tenant, size);
        for (page = 0; page < size; page += PAGE) {
            ((char *)*slot)[page] = (char)i;
        }
    }
    return units;
}

static void varied_close(const struct varied *varied)
{
    int i;

    for (i = 0; !TENANT_HEAPS && i < BUFFERS; i++) {
        tenant_free(varied->tenant, varied->buffers[i]);
    }
    close_tenant(varied->tenant);
}

void run_varied_buffers(void)
{
    struct varied varied = {.tenant = open_tenant(), .seed = 8};

    emit("W8v", measure(varied_loop, &varied));
    varied_close(&varied);
}

#define TENANTS 8 /* in W8t */
#define WARM_UP 2000

struct varied_tenants {
    struct varied varied[TENANTS];
    uint64_t seed;
};

/* One tenant or another does a step of W8v. */
static uint64_t varied_tenants_loop(void *state, uint64_t units)
{
    struct varied_tenants *all = state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        struct varied *varied = &all->varied[random_bits(&all->seed) % TENANTS];

        tenant_enter(varied->tenant);
        varied_loop(varied, 1);
        tenant_leave(varied->tenant);
    }
    return units;
}

void run_varied_tenants(void)
{
    struct varied_tenants all = {.seed = TENANTS};
    size_t base = resident_bytes();
    int i;

    for (i = 0; i < TENANTS; i++) {
        all.varied[i] = (struct varied){.tenant = open_tenant(), .seed = (uint64_t)i};
        tenant_leave(all.varied[i].tenant);
    }
    varied_tenants_loop(&all, WARM_UP);
    emit("W8t", measure(varied_tenants_loop, &all));
    emit("W8t-peak", (double)(resident_peak_bytes() - base) / 1048576);
    for (i = 0; i < TENANTS; i++) {
        tenant_enter(all.varied[i].tenant);
        varied_close(&all.varied[i]);
    }
}

#define CHUNK ((size_t)256 << 10) /* also the alignment, as in an engine */
#define CHUNKS 64

#if defined(TENANT_ALIGNED)
struct chunks {
    struct tenant tenant;
    uint64_t seed;
    char *live[CHUNKS];
};

static uint64_t chunks_loop(void *state, uint64_t units)
{
    struct chunks *chunks = state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        char **slot = &chunks->live[random_bits(&chunks->seed) % CHUNKS];
        size_t page;

        if (*slot != NULL) {
            tenant_free(chunks->tenant, *slot);
        }
        *slot = tenant_alloc_aligned(chunks->tenant, CHUNK, CHUNK);
        if (*slot == NULL || (uintptr_t)*slot % CHUNK != 0) {
            fail("a chunk was refused, or is not aligned");
        }
        for (page = 0; page < CHUNK; page += PAGE) {
            (*slot)[page] = (char)i;
        }
    }
    return units;
}
#endif

void run_chunks(void)
{
#if defined(TENANT_ALIGNED)
    struct chunks chunks = {.tenant = open_tenant(), .seed = 8};
    int i;

    emit("W8a", measure(chunks_loop, &chunks));
    for (i = 0; !TENANT_HEAPS && i < CHUNKS; i++) {
        tenant_free(chunks.tenant, chunks.live[i]);
    }
    close_tenant(chunks.tenant);
#else
    emit_none("W8a", "not aligned");
#endif
}

/* ---- W2, W3: random slots, many sizes
 * ----------------------------------------------------------- */

void churn_draw(struct churn *churn, uint32_t live, size_t low, size_t high)
{
    uint32_t *ops = harness_memory(OPS * sizeof(*ops));
    uint64_t seed = live;
    uint32_t i;

    for (i = 0; i < OPS; i++) {
        const uint32_t slot = (uint32_t)(random_bits(&seed) % live);

        ops[i] = slot << SIZE_BITS | (uint32_t)(random_size(&seed, low, high) - 1);
    }
    *churn = (struct churn){.ops = ops, .live = live};
    churn->slots = harness_memory(live * sizeof(*churn->slots));
    churn->sizes = harness_memory(live * sizeof(*churn->sizes));
}

void churn_fill(struct churn *churn, struct tenant tenant)
{
    uint32_t i;

    churn->tenant = tenant;
    churn->cursor = 0;
    for (i = 0; i < churn->live; i++) {
        churn->slots[i] = take(tenant, (churn->ops[i] & SIZE_MASK) + 1);
    }
}

uint64_t churn_loop(void *state, uint64_t units)
{
    struct churn *churn = state;
    const struct tenant tenant = churn->tenant;
    void **slots = churn->slots;
    const uint32_t *ops = churn->ops;
    uint32_t cursor = churn->cursor;
    uint64_t i;

    for (i = 0; i < units; i++) {
        const uint32_t op = ops[cursor++ % OPS];
        void **slot = &slots[op >> SIZE_BITS];

        tenant_free(tenant, *slot);
        *slot = take(tenant, (op & SIZE_MASK) + 1);
    }
    churn->cursor = cursor;
    return units;
}

size_t churn_live_bytes(struct churn *churn)
{
    const uint32_t steps = churn->cursor < OPS ? churn->cursor : OPS;
    size_t bytes = 0;
    uint32_t i;

    for (i = 0; i < churn->live; i++) {
        churn->sizes[i] = (churn->ops[i] & SIZE_MASK) + 1;
    }
    for (i = churn->cursor - steps; i != churn->cursor; i++) {
        const uint32_t op = churn->ops[i % OPS];

        churn->sizes[op >> SIZE_BITS] = (op & SIZE_MASK) + 1;
    }
    for (i = 0; i < churn->live; i++) {
        bytes += churn->sizes[i];
    }
    return bytes;
}

void churn_close(struct churn *churn)
{
    uint32_t i;

    for (i = 0; !TENANT_HEAPS && i < churn->live; i++) {
        tenant_free(churn->tenant, churn->slots[i]);
    }
}

/* Resizes an object and writes its new last word, as an engine would. */
static void *resize(struct tenant tenant, void *ptr, size_t size)
{
    ptr = tenant_realloc(tenant, ptr, size);
    if (ptr == NULL) {
        fail("a realloc was refused");
    }
    *(volatile uint64_t *)((char *)ptr + size - sizeof(uint64_t)) = size;
    return ptr;
}

static uint64_t resize_loop(void *state, uint64_t units)
{
    struct churn *churn = state;
    uint32_t cursor = churn->cursor;
    uint64_t i;

    for (i = 0; i < units; i++) {
        const uint32_t op = churn->ops[cursor++ % OPS];
        void **slot = &churn->slots[op >> SIZE_BITS];

        *slot = resize(churn->tenant, *slot, (op & SIZE_MASK) + 1);
    }
    churn->cursor = cursor;
    return units;
}

/* Runs a churn. If `held` is a row, also emits the memory held once it has settled, and `peak`. */
static void churn(const char *row, loop_fn *loop, uint32_t live, size_t high, const char *held,
                  const char *peak)
{
    struct churn state;
    size_t base;

    churn_draw(&state, live, SMALL_LOW, high);
    base = resident_bytes();
    churn_fill(&state, open_tenant());
    if (held != NULL && options.exact == 0) {
        loop(&state, SETTLE);
        emit(held, (double)held_bytes(state.tenant, base) / (double)churn_live_bytes(&state));
        emit(peak, (double)(resident_peak_bytes() - base) / 1048576);
    }
    emit(row, measure(loop, &state));
    churn_close(&state);
    close_tenant(state.tenant);
}

void run_churn(void)
{
    churn("W2c", churn_loop, 500, SMALL_HIGH, NULL, NULL);
}

void run_churn_large(void)
{
    churn("W3", churn_loop, 500, LARGE_HIGH, "W3-held", "W3-peak");
}

void run_churn_many(void)
{
    churn("W2r", churn_loop, 10000, SMALL_HIGH, "W2r-held", "W2r-peak");
}

void run_resizes(void)
{
    churn("W9r", resize_loop, 10000, MEDIUM_HIGH, "W9r-held", "W9r-peak");
}

/* ---- W2l: last in, first out
 * -------------------------------------------------------------------- */

#define DEPTH 512
#define RUNS 4096     /* must be even: a run of pushes, a run of pops */
#define RUN_LENGTH 32 /* at most */

struct stack {
    struct tenant tenant;
    void *objects[DEPTH];
    uint16_t sizes[RUNS / 2 * RUN_LENGTH];
    uint8_t runs[RUNS];
};

/* Goes through all runs; afterwards the stack is empty again. */
static uint64_t stack_pass(struct stack *stack)
{
    const struct tenant tenant = stack->tenant;
    const uint16_t *size = stack->sizes;
    void **top = stack->objects;
    uint32_t run;

    for (run = 0; run < RUNS; run += 2) {
        unsigned n;

        for (n = stack->runs[run]; n != 0; n--) {
            *top++ = take(tenant, *size++);
        }
        for (n = stack->runs[run + 1]; n != 0; n--) {
            tenant_free(tenant, *--top);
        }
    }
    while (top != stack->objects) {
        tenant_free(tenant, *--top);
    }
    return (uint64_t)(size - stack->sizes);
}

static uint64_t stack_loop(void *state, uint64_t units)
{
    uint64_t done = 0;

    while (done < units) {
        done += stack_pass(state);
    }
    return done;
}

static void draw_runs(struct stack *stack)
{
    uint64_t seed = DEPTH;
    unsigned depth = 0;
    uint32_t i;

    for (i = 0; i < RUNS; i += 2) {
        unsigned pushes = 1 + (unsigned)(random_bits(&seed) % RUN_LENGTH);
        unsigned pops = 1 + (unsigned)(random_bits(&seed) % RUN_LENGTH);

        pushes = pushes < DEPTH - depth ? pushes : DEPTH - depth;
        depth += pushes;
        pops = pops < depth ? pops : depth;
        depth -= pops;
        stack->runs[i] = (uint8_t)pushes;
        stack->runs[i + 1] = (uint8_t)pops;
    }
    for (i = 0; i < RUNS / 2 * RUN_LENGTH; i++) {
        stack->sizes[i] = (uint16_t)random_size(&seed, SMALL_LOW, SMALL_HIGH);
    }
}

void run_stack(void)
{
    struct stack *stack = harness_memory(sizeof(*stack));

    draw_runs(stack);
    stack->tenant = open_tenant();
    emit("W2l", measure(stack_loop, stack));
    close_tenant(stack->tenant);
}

/* ---- W9: growing objects
 * ------------------------------------------------------------------------ */

#define VECTOR_FIRST 16                 /* bytes */
#define VECTOR_LAST ((size_t)128 << 10) /* bytes */
#define VECTORS 8
#define STRING_LAST 4096 /* bytes */

static uint64_t grow_vectors(struct tenant tenant, unsigned count)
{
    void *vectors[VECTORS] = {NULL};
    uint64_t steps = 0;
    size_t size;
    unsigned i;

    for (size = VECTOR_FIRST; size <= VECTOR_LAST; size *= 2) {
        for (i = 0; i < count; i++) {
            vectors[i] = resize(tenant, vectors[i], size);
            steps++;
        }
    }
    for (i = 0; i < count; i++) {
        tenant_free(tenant, vectors[i]);
    }
    return steps;
}

static uint64_t vector_loop(void *state, uint64_t units)
{
    uint64_t done = 0;

    while (done < units) {
        done += grow_vectors(*(const struct tenant *)state, 1);
    }
    return done;
}

static uint64_t vectors_loop(void *state, uint64_t units)
{
    uint64_t done = 0;

    while (done < units) {
        done += grow_vectors(*(const struct tenant *)state, VECTORS);
    }
    return done;
}

static uint64_t string_loop(void *state, uint64_t units)
{
    const struct tenant tenant = *(const struct tenant *)state;
    uint64_t done = 0;

    while (done < units) {
        void *string = NULL;
        size_t size;

        for (size = 16; size <= STRING_LAST; size += 16) {
            string = resize(tenant, string, size);
            done++;
        }
        tenant_free(tenant, string);
    }
    return done;
}

static void growth(const char *row, loop_fn *loop)
{
    struct tenant tenant = open_tenant();

    emit(row, measure(loop, &tenant));
    close_tenant(tenant);
}

void run_vector(void)
{
    growth("W9v", vector_loop);
}

void run_vectors(void)
{
    growth("W9m", vectors_loop);
}

void run_string(void)
{
    growth("W9s", string_loop);
}
