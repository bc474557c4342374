/*
 * callgrind.c - instructions per unit of work: unlike time, they repeat exactly.
 *
 * Each workload runs twice with different amounts of work: start and end cancel out.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <stdlib.h>
#include <string.h>

struct count {
    const char *workload;
    const char *units; /* name of the unit of work */
    uint64_t few;
    uint64_t many;
};

static const struct count counts[] = {
    {"W1k", "pair", 20000, 60000},  {"W1b", "pair", 25600, 76800},   {"W1u", "pair", 20000, 60000},
    {"W2c", "pair", 40000, 120000}, {"W2r", "pair", 40000, 120000},  {"W2l", "pair", 40000, 120000},
    {"W3", "pair", 20000, 60000},   {"W4e", "tenant", 20, 220},      {"W4s", "request", 20, 120},
    {"W4", "request", 10, 40},      {"W5-1k", "pair", 10000, 40000}, {"W9v", "step", 500, 2000},
    {"W9s", "step", 5000, 20000},   {"W10", "call", 1, 8000},
};

struct reading {
    double units;
    double instructions;
};

static void read_line(void *context, char *line)
{
    struct reading *reading = context;
    const char *collected = strstr(line, "Collected : ");

    if (strncmp(line, "units ", 6) == 0) {
        reading->units = strtod(line + 6, NULL);
    } else if (collected != NULL) {
        reading->instructions = strtod(collected + 12, NULL);
    }
}

static bool count_once(const struct contender *contender, const struct count *count, uint64_t units,
                       const char *trace, struct reading *reading)
{
    char exact[32];
    const char *arguments[] = {"valgrind",
                               "--tool=callgrind",
                               "--callgrind-out-file=/dev/null",
                               contender->program,
                               count->workload,
                               "--exact",
                               exact,
                               "--trace",
                               trace,
                               NULL};

    snprintf(exact, sizeof(exact), "%llu", (unsigned long long)units);
    *reading = (struct reading){0, 0};
    return child_run(arguments, contender->library_path, true, read_line, reading) &&
           reading->units > 0 && reading->instructions > 0;
}

static void print_count(FILE *file, const struct contender *contender, const struct count *count,
                        const char *trace)
{
    struct reading few;
    struct reading many;
    char number[32];

    if (!count_once(contender, count, count->few, trace, &few) ||
        !count_once(contender, count, count->many, trace, &many) || many.units <= few.units) {
        fprintf(file, " %16s", "-");
        return;
    }
    format_number(number, sizeof(number),
                  (many.instructions - few.instructions) / (many.units - few.units));
    fprintf(file, " %16s", number);
    fflush(file);
}

void callgrind_print(FILE *file, const struct results *results, const char *trace)
{
    size_t c;
    size_t i;

    fprintf(file, "Instructions per unit of work, harness included, by callgrind\n\n%-16s", "");
    for (i = 0; i < results->contender_count; i++) {
        fprintf(file, " %16.16s", results->contenders[i].title);
    }
    fputc('\n', file);
    for (c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
        if (strcmp(counts[c].workload, "W10") == 0 && trace[0] == '\0') {
            continue;
        }
        fprintf(file, "%-7s %-8s", counts[c].workload, counts[c].units);
        for (i = 0; i < results->contender_count; i++) {
            print_count(file, &results->contenders[i], &counts[c], trace);
        }
        fputc('\n', file);
    }
}
