/*
 * results.c - see driver.h.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;

    return (a > b) - (a < b);
}

/* The sample at index halves / 2 in sorted order, or the mean of two neighbours. */
static double ordered(const struct cell *cell, unsigned halves)
{
    double samples[ROUNDS_MAX];

    memcpy(samples, cell->samples, sizeof(samples));
    qsort(samples, cell->count, sizeof(*samples), compare);
    return (samples[halves / 2] + samples[(halves + 1) / 2]) / 2;
}

double cell_median(const struct cell *cell)
{
    return ordered(cell, cell->count - 1);
}

double cell_min(const struct cell *cell)
{
    return ordered(cell, 0);
}

double cell_max(const struct cell *cell)
{
    return ordered(cell, 2 * (cell->count - 1));
}

size_t contender_find(const struct results *results, const char *name)
{
    size_t i;

    for (i = 0; i < results->contender_count; i++) {
        if (strcmp(results->contenders[i].name, name) == 0) {
            break;
        }
    }
    return i;
}

bool row_has_results(const struct results *results, size_t row)
{
    size_t i;

    for (i = 0; i < results->contender_count; i++) {
        if (results->cells[row][i].count != 0) {
            return true;
        }
    }
    return false;
}

void format_number(char *text, size_t size, double number)
{
    if (number > -10 && number < 10) {
        snprintf(text, size, "%.2f", number);
    } else if (number < 100) {
        snprintf(text, size, "%.1f", number);
    } else if (number < 10000) {
        snprintf(text, size, "%.0f", number);
    } else if (number < 1e6) {
        snprintf(text, size, "%.1fk", number / 1e3);
    } else {
        snprintf(text, size, "%.2fM", number / 1e6);
    }
}

static void processor(char *text, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    snprintf(text, size, "unknown CPU");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            snprintf(text, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

void describe_machine(struct results *results)
{
    const time_t now = time(NULL);
    struct utsname system;
    char cpu[128];

    processor(cpu, sizeof(cpu));
    uname(&system);
    snprintf(results->machine, sizeof(results->machine), "%s, %ld CPUs, %s %s, gcc %s", cpu,
             sysconf(_SC_NPROCESSORS_ONLN), system.sysname, system.release, __VERSION__);
    strftime(results->date, sizeof(results->date), "%Y-%m-%d", gmtime(&now));
}
