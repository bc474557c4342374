/*
 * harness.c - see harness.h.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define REPEATS_MAX 64

struct options options = {.repeats = 3, .run_ns = 25e6, .cpus = {-1, -1}};

noreturn void fail(const char *message)
{
    fprintf(stderr, "bench: %s: %s\n", options.workload != NULL ? options.workload : "?", message);
    exit(EXIT_FAILURE);
}

void emit(const char *row, double value)
{
    printf("%s %.6g\n", row, value);
}

void emit_none(const char *row, const char *reason)
{
    printf("%s - %s\n", row, reason);
}

double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* A counter through a mixing function: every seed gives a full period. */
uint64_t random_bits(uint64_t *state)
{
    uint64_t bits = *state += 0x9e3779b97f4a7c15u;

    bits = (bits ^ (bits >> 32)) * 0xd6e8feb86659fd93u;
    bits = (bits ^ (bits >> 32)) * 0xd6e8feb86659fd93u;
    return bits ^ (bits >> 32);
}

size_t random_size(uint64_t *state, size_t low, size_t high)
{
    const double uniform = (double)(random_bits(state) >> 11) / 9007199254740992.0; /* 2^53 */

    return (size_t)((double)low * exp(uniform * log((double)high / (double)low)));
}

/* A line of a file under /proc, in KiB. */
static size_t proc_kib(const char *path, const char *field)
{
    FILE *file = fopen(path, "r");
    char line[256];
    size_t kib = 0;

    if (file == NULL) {
        fail("no /proc here");
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            kib = strtoul(line + strlen(field), NULL, 10);
            break;
        }
    }
    fclose(file);
    return kib;
}

size_t resident_bytes(void)
{
    return proc_kib("/proc/self/smaps_rollup", "Rss:") * 1024;
}

size_t resident_peak_bytes(void)
{
    return proc_kib("/proc/self/status", "VmHWM:") * 1024;
}

static void *map(size_t bytes, int sharing)
{
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        fail("no memory for the harness");
    }
    return memory;
}

void *harness_memory(size_t bytes)
{
    return map(bytes, MAP_PRIVATE);
}

void *harness_memory_shared(size_t bytes)
{
    return map(bytes, MAP_SHARED);
}

void harness_memory_return(void *memory, size_t bytes)
{
    munmap(memory, bytes);
}

void pin(unsigned n)
{
    cpu_set_t set;

    if (options.cpus[n] < 0) {
        return;
    }
    CPU_ZERO(&set);
    CPU_SET((unsigned)options.cpus[n], &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        fail(strerror(errno));
    }
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;

    return (a > b) - (a < b);
}

double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double run_once(loop_fn *loop, void *state, uint64_t units, uint64_t *done)
{
    const double start = now_ns();

    *done = loop(state, units);
    return now_ns() - start;
}

double measure(loop_fn *loop, void *state)
{
    double results[REPEATS_MAX];
    uint64_t units = 256;
    uint64_t done;
    unsigned i;

    if (options.exact != 0) {
        printf("units %llu\n", (unsigned long long)loop(state, options.exact));
        fflush(stdout);
        _exit(EXIT_SUCCESS);
    }
    for (;;) {
        const double elapsed = run_once(loop, state, units, &done);

        if (elapsed >= options.run_ns / 4) {
            units = (uint64_t)((double)done * options.run_ns / elapsed) + 1;
            break;
        }
        units *= 2;
    }
    for (i = 0; i < options.repeats && i < REPEATS_MAX; i++) {
        const double elapsed = run_once(loop, state, units, &done);

        results[i] = elapsed / (double)done;
    }
    return median(results, i);
}

struct tenant open_tenant(void)
{
    struct tenant tenant;

    if (!tenant_create(&tenant)) {
        fail("no tenant");
    }
    tenant_enter(tenant);
    return tenant;
}

void close_tenant(struct tenant tenant)
{
    tenant_leave(tenant);
    tenant_destroy(tenant);
}

size_t held_bytes(struct tenant tenant, size_t base)
{
    const size_t held = tenant_footprint(tenant);
    const size_t resident = resident_bytes();

    if (held != FOOTPRINT_UNKNOWN) {
        return held;
    }
    return resident > base ? resident - base : 0;
}
