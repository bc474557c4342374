/*
 * quick.c - one program, a few seconds: libjsrtmem beside malloc with a counter and a limit.
 *
 * Measures a 64-byte alloc and free in an entered runtime, through the shared library, with a limit
 * and a callback set, against what hosts do today; and the cost of a read of the usage.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include <jsrtmem.h>

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SIZE 64 /* bytes */
#define PAIRS 2000000
#define ROUNDS 15      /* interleaved; the medians are printed */
#define BACKGROUND 100 /* other live objects */
#define LIMIT ((size_t)1 << 30)

#define RATIO_GOAL 0.5
#define READ_GOAL 3.0 /* ns */

struct account {
    size_t used;
    size_t limit;
};

static void *counted_alloc(struct account *account, size_t size)
{
    void *ptr;

    if (account->used > account->limit || size > account->limit - account->used) {
        return NULL;
    }
    ptr = malloc(size);
    if (ptr != NULL) {
        account->used += malloc_usable_size(ptr);
    }
    return ptr;
}

static void counted_free(struct account *account, void *ptr)
{
    account->used -= malloc_usable_size(ptr);
    free(ptr);
}

static void stop(const char *message)
{
    fprintf(stderr, "bench-quick: %s\n", message);
    exit(EXIT_FAILURE);
}

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Writes the first word, as an engine would. */
static void *touched(void *ptr)
{
    if (ptr == NULL) {
        stop("an allocation was refused");
    }
    *(volatile size_t *)ptr = SIZE;
    return ptr;
}

static double time_ours(JsRuntimeHandle runtime)
{
    const double start = now_ns();
    int i;

    for (i = 0; i < PAIRS; i++) {
        jsrtmem_free(touched(jsrtmem_alloc(runtime, SIZE)));
    }
    return (now_ns() - start) / PAIRS;
}

static double time_counted(struct account *account)
{
    const double start = now_ns();
    int i;

    for (i = 0; i < PAIRS; i++) {
        counted_free(account, touched(counted_alloc(account, SIZE)));
    }
    return (now_ns() - start) / PAIRS;
}

static double time_reads(JsRuntimeHandle runtime)
{
    const double start = now_ns();
    size_t usage = 0;
    int i;

    for (i = 0; i < PAIRS; i++) {
        JsGetRuntimeMemoryUsage(runtime, &usage);
    }
    if (usage == 0) {
        stop("the usage is 0");
    }
    return (now_ns() - start) / PAIRS;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;

    return (a > b) - (a < b);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof(*values), compare);
    return values[ROUNDS / 2];
}

static bool CHAKRA_CALLBACK allow(void *state, JsMemoryEventType event, size_t size)
{
    (void)state;
    (void)event;
    (void)size;
    return true;
}

static JsRuntimeHandle open_runtime(void)
{
    JsRuntimeHandle runtime;

    if (JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError ||
        JsSetRuntimeMemoryLimit(runtime, LIMIT) != JsNoError ||
        JsSetRuntimeMemoryAllocationCallback(runtime, NULL, allow) != JsNoError ||
        jsrtmem_enter(runtime) != JsNoError) {
        stop("no runtime");
    }
    return runtime;
}

int main(void)
{
    struct account account = {.limit = LIMIT};
    const JsRuntimeHandle runtime = open_runtime();
    double ours[ROUNDS];
    double counted[ROUNDS];
    double reads[ROUNDS];
    double ratio;
    int i;

    for (i = 0; i < BACKGROUND; i++) {
        touched(jsrtmem_alloc(runtime, SIZE));
        touched(counted_alloc(&account, SIZE));
    }
    for (i = 0; i < ROUNDS; i++) {
        ours[i] = time_ours(runtime);
        counted[i] = time_counted(&account);
        reads[i] = time_reads(runtime);
    }
    ratio = median(ours) / median(counted);
    printf("64 B alloc + free, jsrtmem, entered:           %6.2f ns\n", median(ours));
    printf("64 B malloc + free, with counter and limit:    %6.2f ns\n", median(counted));
    printf("ratio:                                         %6.2f    goal: at most %.2f: %s\n",
           ratio, RATIO_GOAL, ratio <= RATIO_GOAL ? "met" : "MISSED");
    printf("JsGetRuntimeMemoryUsage:                       %6.2f ns goal: at most %.0f ns: %s\n",
           median(reads), READ_GOAL, median(reads) <= READ_GOAL ? "met" : "MISSED");
    jsrtmem_leave(runtime);
    JsDisposeRuntime(runtime);
    return EXIT_SUCCESS;
}
