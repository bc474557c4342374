/*
 * harness.h - measuring: time, repetitions, seeds, resident set, threads, output.
 *
 * A program of the harness runs one workload and prints its results, one `row value` per line. The
 * row is one of rows.c. `row - reason` says that the allocator cannot do it. This text is all that
 * the driver knows about an allocator.
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
    unsigned repeats; /* timed runs; their median is printed */
    double run_ns;    /* target duration of a timed run */
    const char *trace;
    int cpus[2]; /* -1: the OS chooses */
};

extern struct options options;

/** @brief Ends the program with a message. */
noreturn void fail(const char *message);

/** @brief Prints a result. */
void emit(const char *row, double value);

/** @brief Prints why there is no result. */
void emit_none(const char *row, const char *reason);

/** @brief Returns the time in ns. */
double now_ns(void);

/** @brief Advances a generator and returns 64 random bits; the same for all allocators. */
uint64_t random_bits(uint64_t *state);

/** @brief Draws a size between low and high bytes, uniform in its logarithm. */
size_t random_size(uint64_t *state, size_t low, size_t high);

/** @brief Returns the resident set, in bytes. */
size_t resident_bytes(void);

/** @brief Returns the largest resident set so far, in bytes. */
size_t resident_peak_bytes(void);

/** @brief Takes memory for the harness itself from the OS, and touches it: it is resident. */
void *harness_memory(size_t bytes);

/** @brief The same, shared with processes that are forked later. */
void *harness_memory_shared(size_t bytes);

/** @brief Gives memory from harness_memory back. */
void harness_memory_return(void *memory, size_t bytes);

/** @brief Binds the calling thread to the n-th of the given CPUs. */
void pin(unsigned n);

/** @brief Sorts the values and returns the middle one. */
double median(double *values, size_t count);

/**
 * @brief A workload: does about `units` units of work and returns how many it did.
 *
 * Called repeatedly: it must leave a state from which it can continue.
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
 * Only the first word: writing the rest costs the same for all allocators and would hide them.
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
void run_aligned_pairs(void);
void run_zeroed_pairs(void);
void run_churn(void);
void run_churn_many(void);
void run_churn_large(void);
void run_stack(void);
void run_buffers(void);
void run_frames(void);
void run_varied_buffers(void);
void run_varied_tenants(void);
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
void run_two_small(void);
void run_two_requests(void);
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

/* Whole requests, a tenant each. */
#define REQUEST_SMALL 20 /* objects of a request */
#define REQUEST 1000
struct request {
    void **objects; /* scratch */
    const uint16_t *sizes;
    uint32_t cursor;
    uint32_t count;
    size_t buffer; /* bytes of one more object, all written; or 0 */
};

/** @brief Draws the sizes of requests of `count` objects each. */
void request_draw(struct request *request, uint32_t count, size_t buffer);

/** @brief Serves requests. */
loop_fn request_loop;

/* Random churn, used by several workloads. */
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

/** @brief Allocates the live objects. pre: the tenant is entered. */
void churn_fill(struct churn *churn, struct tenant tenant);

/** @brief Runs pairs of free and alloc in random slots. */
loop_fn churn_loop;

/** @brief Returns the requested bytes of all live objects. */
size_t churn_live_bytes(struct churn *churn);

/** @brief Frees the live objects if destroying the tenant would not. */
void churn_close(struct churn *churn);

/**
 * @brief Returns what the tenant holds from the OS, in bytes.
 *
 * As the allocator reports it. If it cannot tell: the growth of the resident set since `base`.
 */
size_t held_bytes(struct tenant tenant, size_t base);

#endif /* BENCH_HARNESS_H */
