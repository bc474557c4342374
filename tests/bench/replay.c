/*
 * replay.c - W10: a script engine's calls of its allocator, recorded once and replayed.
 *
 * A trace is text: a line "jsrtmem-trace 1 OPS SLOTS", then one operation after the other:
 *
 *   +SIZE        allocate into the slot that was emptied last, or into a new one
 *   =SLOT:SIZE   reallocate the object of a slot
 *   -SLOT        free the object of a slot, and empty the slot
 *
 * A trace ends with nothing live: a closing engine frees object by object.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <stdio.h>

enum kind { KIND_ALLOC, KIND_REALLOC, KIND_FREE };

struct op {
    uint32_t kind : 2;
    uint32_t slot : 30;
    uint32_t size;
};

struct trace {
    struct op *ops;
    void **slots;
    uint32_t op_count;
    uint32_t slot_count;
    uint32_t peak_op; /* the operation after which most bytes are live */
    size_t peak_bytes;
};

static FILE *open_trace(struct trace *trace)
{
    FILE *file = options.trace != NULL ? fopen(options.trace, "r") : NULL;

    if (file == NULL) {
        fail("W10 needs --trace FILE");
    }
    if (fscanf(file, "jsrtmem-trace 1 %u %u", &trace->op_count, &trace->slot_count) != 2 ||
        trace->op_count == 0 || trace->slot_count >= (uint32_t)1 << 30) {
        fail("not a trace");
    }
    trace->ops = harness_memory(trace->op_count * sizeof(*trace->ops));
    trace->slots = harness_memory((size_t)(trace->slot_count + 1) * sizeof(*trace->slots));
    return file;
}

static bool read_op(FILE *file, struct op *op)
{
    unsigned slot = 0;
    unsigned size = 0;
    char sign;

    if (fscanf(file, " %c", &sign) != 1) {
        return false;
    }
    switch (sign) {
    case '+':
        op->kind = KIND_ALLOC;
        return fscanf(file, "%u", &op->size) == 1;
    case '=':
        op->kind = KIND_REALLOC;
        if (fscanf(file, "%u:%u", &slot, &size) != 2) {
            return false;
        }
        break;
    case '-':
        op->kind = KIND_FREE;
        if (fscanf(file, "%u", &slot) != 1) {
            return false;
        }
        break;
    default:
        return false;
    }
    op->slot = slot & (((uint32_t)1 << 30) - 1);
    op->size = size;
    return true;
}

/* Assigns slots to allocations and finds the peak. Refuses an inconsistent trace. */
static void read_trace(struct trace *trace)
{
    FILE *file = open_trace(trace);
    const size_t slots = trace->slot_count;
    uint32_t *sizes = harness_memory((slots + 1) * sizeof(*sizes)); /* size + 1; 0: empty */
    uint32_t *empty = harness_memory((slots + 1) * sizeof(*empty));
    size_t empties = 0;
    uint32_t used = 0;
    size_t live = 0;
    uint32_t i;

    for (i = 0; i < trace->op_count; i++) {
        struct op *op = &trace->ops[i];

        if (!read_op(file, op)) {
            fail("the trace is cut short");
        }
        if (op->kind == KIND_ALLOC) {
            op->slot = (empties != 0 ? empty[--empties] : used++) & (((uint32_t)1 << 30) - 1);
        }
        if (op->slot >= slots || (op->kind == KIND_ALLOC) != (sizes[op->slot] == 0)) {
            fail("the trace does not hold together");
        }
        if (op->kind != KIND_ALLOC) {
            live -= sizes[op->slot] - 1;
        }
        sizes[op->slot] = op->kind == KIND_FREE ? 0 : op->size + 1;
        if (op->kind == KIND_FREE) {
            empty[empties++] = op->slot;
        } else {
            live += op->size;
        }
        if (live > trace->peak_bytes) {
            trace->peak_bytes = live;
            trace->peak_op = i;
        }
    }
    fclose(file);
}

static void replay(const struct trace *trace, struct tenant tenant, uint32_t from, uint32_t to)
{
    void **slots = trace->slots;
    uint32_t i;

    for (i = from; i < to; i++) {
        const struct op op = trace->ops[i];
        void **slot = &slots[op.slot];

        switch (op.kind) {
        case KIND_ALLOC:
            *slot = take(tenant, op.size);
            break;
        case KIND_REALLOC:
            *slot = tenant_realloc(tenant, *slot, op.size);
            if (*slot == NULL) {
                fail("a realloc was refused");
            }
            break;
        default:
            tenant_free(tenant, *slot);
            break;
        }
    }
}

/* Replays an engine's whole life, from creating its tenant to destroying it. */
static uint64_t replay_loop(void *state, uint64_t units)
{
    const struct trace *trace = state;
    uint64_t done = 0;

    while (done < units) {
        const struct tenant tenant = open_tenant();

        replay(trace, tenant, 0, trace->op_count);
        close_tenant(tenant);
        done += trace->op_count;
    }
    return done;
}

void run_replay(void)
{
    struct trace trace = {NULL, NULL, 0, 0, 0, 0};
    struct tenant tenant;
    size_t base;

    read_trace(&trace);
    if (options.exact == 0) {
        base = resident_bytes();
        tenant = open_tenant();
        replay(&trace, tenant, 0, trace.peak_op + 1);
        emit("W10-held", (double)held_bytes(tenant, base) / (double)trace.peak_bytes);
        emit("W10-peak", (double)(resident_peak_bytes() - base) / 1048576);
        replay(&trace, tenant, trace.peak_op + 1, trace.op_count);
        close_tenant(tenant);
    }
    emit("W10", measure(replay_loop, &trace));
}
