/*
 * Runs inputs without a fuzzer: files, or random ones.
 *
 * usage: fuzz_replay FILE...                 each file is an input
 *        fuzz_replay --random SEED COUNT     COUNT inputs; the seeds are SEED, SEED + 1, ...
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/random.h"
#include "ops.h"

#define INPUT_MAX ((size_t)1 << 14)

static uint8_t input[INPUT_MAX];
static uint64_t current; /* the seed */

/* Adds the seed: the fault itself has been printed. */
static void on_abort(int signal)
{
    (void)signal;
    (void)dprintf(STDERR_FILENO, "fuzz_replay: seed %llu\n", (unsigned long long)current);
}

static int run_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        perror(name);
        return 1;
    }
    size_t size = fread(input, 1, sizeof input, file);
    (void)fclose(file);
    (void)printf("%s\n", name);
    (void)fflush(stdout);
    ops_run(input, size);
    return 0;
}

static void run_random(uint64_t seed)
{
    struct random random = random_seeded(seed);
    size_t size = 100 + random_below(&random, INPUT_MAX / 4);
    for (size_t i = 0; i < size; i++) {
        input[i] = (uint8_t)random_next(&random);
    }
    ops_run(input, size);
}

static void print_tally(void)
{
    static const char *const reasons[] = {"none", "limit",  "host",     "OS",
                                          "size", "thread", "callback", "argument"};
    (void)printf("%zu operations, %zu on the other thread, %zu events, %zu faults; refused by",
                 ops_tally.operations, ops_tally.crossings, ops_tally.events, ops_tally.faults);
    for (size_t i = 1; i < 7; i++) {
        (void)printf(" %s %zu%s", reasons[i], ops_tally.refusals[i], i < 6 ? "," : "\n");
    }
}

int main(int argc, char **argv)
{
    int result = 0;
    (void)signal(SIGABRT, on_abort);
    if (argc == 4 && strcmp(argv[1], "--random") == 0) {
        uint64_t seed = strtoull(argv[2], NULL, 10);
        uint64_t count = strtoull(argv[3], NULL, 10);
        for (uint64_t i = 0; i < count; i++) {
            if (isatty(STDOUT_FILENO)) {
                (void)printf("seed %llu\r", (unsigned long long)(seed + i));
                (void)fflush(stdout);
            }
            current = seed + i;
            run_random(seed + i);
        }
    } else {
        for (int i = 1; i < argc; i++) {
            result |= run_file(argv[i]);
        }
    }
    print_tally();
    return result;
}
