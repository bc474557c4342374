/*
 * harness.h - measuring: time, repetitions, seeds, resident set, threads, and what is printed.
 *
 * A program of the harness runs one workload and prints its results, one `row value` a line, where
 * the row is one of rows.c; `row - reason` says that the allocator cannot do it. That text is all
 * that the driver knows about an allocator.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "adapter.h"

/** @brief How the program was called. */
struct options {
    const char *workload;
    uint64_t exact;   /* units to run once, untimed, for an instruction counter; 0 to measure */
    unsigned repeats; /* timed runs, of which the median is printed */
    double run_ns;    /* what a timed run should take */
    const char *trace;
    int cpus[2]; /* -1: wherever the OS likes */
};

extern struct options options;

/** @brief Ends the program with a message. */
noreturn void fail(const char *message);

/** @brief Prints a result. */
void emit(const char *row, double value);

/** @brief Says why there is no result. */
void emit_none(const char *row, const char *reason);

/** @brief Tells the time in ns. */
double now_ns(void);

/** @brief Steps a generator and returns 64 random bits; the same for all allocators. */
uint64_t random_bits(uint64_t *state);

/** @brief Draws a size between low and high bytes, uniform in its logarithm. */
size_t random_size(uint64_t *state, size_t low, size_t high);

/** @brief Tells the resident set, in bytes. */
size_t resident_bytes(void);

/** @brief Tells the largest resident set so far, in bytes. */
size_t resident_peak_bytes(void);

/** @brief Gets memory for the harness itself from the OS, touched, so that it is resident. */
void *harness_memory(size_t bytes);

/** @brief The same, shared with processes that are forked later. */
void *harness_memory_shared(size_t bytes);

/** @brief Gives memory of harness_memory back. */
void harness_memory_return(void *memory, size_t bytes);

/** @brief Binds the calling thread to the n-th of the CPUs that were given. */
void pin(unsigned n);

/** @brief Orders doubles and takes the middle one. */
double median(double *values, size_t count);

/**
 * @brief A workload: does about `units` units of work and returns how many it did.
 *
 * Called again and again, so it must leave a state in which it can go on.
 */
typedef uint64_t loop_fn(void *state, uint64_t units);

/** @brief Warms up, finds the number of units for a run, and returns the median ns per unit. */
double measure(loop_fn *loop, void *state);

/** @brief Creates a tenant and enters it. */
struct tenant open_tenant(void);

/** @brief Leaves a tenant and destroys it. */
void close_tenant(struct tenant tenant);

/**
 * @brief Allocates an object and writes its first word, as an engine would.
 *
 * Only the first: what writing the rest costs is the same for all and would hide the allocator.
 */
static inline void *take(struct tenant tenant, size_t size)
{
    void *ptr = tenant_alloc(tenant, size);

    if (__builtin_expect(ptr == NULL, 0)) {
        fail("an allocation was refused");
    }
    *(volatile uint64_t *)ptr = size;
    return ptr;
}

/* The workloads, by file. */
void run_pairs(void);
void run_batches(void);
void run_unentered(void);
void run_churn(void);
void run_churn_many(void);
void run_churn_large(void);
void run_stack(void);
void run_buffers(void);
void run_frames(void);
void run_varied_buffers(void);
void run_chunks(void);
void run_vector(void);
void run_vectors(void);
void run_resizes(void);
void run_string(void);
void run_create(void);
void run_create_full(void);
void run_request_small(void);
void run_request(void);
void run_request_buffer(void);
void run_tenants_1k(void);
void run_tenants_10k(void);
void run_idle(void);
void run_handover(void);
void run_handover_large(void);
void run_two_threads(void);
void run_usage(void);
void run_full(void);
void run_full_small(void);
void run_full_medium(void);
void run_full_asked(void);
void run_full_growing(void);
void run_tide(void);
void run_shift(void);
void run_replay(void);
void run_giving_back(void);
void run_giving_back_groups(void);
void run_edges(void);

/* Random churn, which several workloads run. */
struct churn {
    struct tenant tenant;
    void **slots;
    uint32_t *sizes; /* scratch */
    const uint32_t *ops;
    uint32_t cursor;
    uint32_t live;
};

/** @brief Draws the operations of a churn, sizes between low and high bytes. */
void churn_draw(struct churn *churn, uint32_t live, size_t low, size_t high);

/** @brief Allocates the live objects in a tenant that is entered. */
void churn_fill(struct churn *churn, struct tenant tenant);

/** @brief Runs pairs of free and alloc in random slots. */
loop_fn churn_loop;

/** @brief Adds up what was asked for and is live now. */
size_t churn_live_bytes(struct churn *churn);

/** @brief Frees the live objects where the tenant's end would not. */
void churn_close(struct churn *churn);

/**
 * @brief Tells what the tenant holds from the OS, in bytes.
 *
 * What the allocator says; if it cannot tell, the growth of the resident set since `base`.
 */
size_t held_bytes(struct tenant tenant, size_t base);

#endif /* BENCH_HARNESS_H */
