/*
 * goals.c - the library's goals, and whether this run met them.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <math.h>
#include <string.h>

/** @brief Our value in a row is at most `limit` times the peer's, or `limit` without a peer. */
struct goal {
    const char *row;
    const char *peer;
    double limit;
};

static const struct goal goals[] = {
    {"W1k", "mimalloc", 0.75},
    {"W1k", "counter", 0.35},
    {"W1b", "mimalloc", 0.9},
    {"W2c", "mimalloc", 0.75},
    {"W2l", "mimalloc", 0.6},
    {"W2r", "mimalloc", 0.9},
    {"W2r", "jemalloc", 0.45},
    {"W2r", "counter", 0.25},
    {"W3", "mimalloc", 0.5},
    {"W4e", NULL, 100},
    {"W4s", "mimalloc", 0.1},
    {"W4", "mimalloc", 0.8},
    {"W5-1k", "mimalloc", 0.5},
    {"W5-1k-rss", NULL, 8},
    {"W5-10k", NULL, 80},
    {"W5-10k-dispose", NULL, 500},
    {"W6", "mimalloc", 0.5},
    {"W7-scaling", NULL, 1.05},
    {"W9v", NULL, 6},
    {"W9s", NULL, 4},
    {"idle", NULL, 100},
    {"idle-rss", NULL, 256},
    {"usage", NULL, 3},
    {"usage-other", NULL, 2},
    {"usage-owner", NULL, 1.02},
    {"W2r-held", NULL, 1.35},
    {"W10-lua-held", NULL, 1.35},
    {"W10-duktape-held", NULL, 1.35},
    {"give", NULL, 2},
    {"give-groups", NULL, 2},
    {"give-all", NULL, 0},
};

/* The rows of the overall comparison. */
static const char *const overall[] = {"W1k", "W1b", "W2c", "W2r", "W2l", "W3", "W4e", "W4s", "W4"};

static const struct cell *find(const struct results *results, const char *row, const char *name)
{
    const size_t r = row_find(row);
    const size_t c = contender_find(results, name);

    return r < row_count && c < results->contender_count && results->cells[r][c].count != 0
               ? &results->cells[r][c]
               : NULL;
}

static void print_goal(FILE *file, const struct results *results, const struct goal *goal)
{
    const struct cell *own = find(results, goal->row, "jsrtmem");
    const struct cell *peer = goal->peer != NULL ? find(results, goal->row, goal->peer) : NULL;
    double value;

    if (own == NULL || (goal->peer != NULL && peer == NULL)) {
        return;
    }
    value = cell_median(own) / (peer != NULL ? cell_median(peer) : 1);
    if (peer != NULL) {
        fprintf(file, "  %-6s  %-16s %8.2f x %-9s  at most %g x\n",
                value <= goal->limit ? "met" : "MISSED", goal->row, value, goal->peer, goal->limit);
    } else {
        fprintf(file, "  %-6s  %-16s %8.2f %-11s  at most %g\n",
                value <= goal->limit ? "met" : "MISSED", goal->row, value,
                rows[row_find(goal->row)].unit, goal->limit);
    }
}

/* Prints the geometric mean of our ratios to a peer, and the worst row. */
static void print_overall(FILE *file, const struct results *results, const struct contender *peer)
{
    const char *worst_row = "";
    double worst = 0;
    double sum = 0;
    unsigned count = 0;
    size_t i;

    for (i = 0; i < sizeof(overall) / sizeof(*overall); i++) {
        const struct cell *own = find(results, overall[i], "jsrtmem");
        const struct cell *other = find(results, overall[i], peer->name);
        double ratio;

        if (own == NULL || other == NULL) {
            continue;
        }
        ratio = cell_median(own) / cell_median(other);
        sum += log(ratio);
        count++;
        if (ratio > worst) {
            worst = ratio;
            worst_row = overall[i];
        }
    }
    if (count != 0) {
        fprintf(file, "  %-16s geometric mean %6.3f x, worst row %6.2f x (%s)\n", peer->title,
                exp(sum / count), worst, worst_row);
    }
}

void goals_print(FILE *file, const struct results *results)
{
    size_t i;

    if (contender_find(results, "jsrtmem") == results->contender_count) {
        return;
    }
    fprintf(file, "\nlibjsrtmem against its goals:\n");
    for (i = 0; i < sizeof(goals) / sizeof(*goals); i++) {
        print_goal(file, results, &goals[i]);
    }
    fprintf(file, "\nlibjsrtmem against each peer, W1k..W4:\n");
    for (i = 1; i < results->contender_count; i++) {
        if (strcmp(results->contenders[i].name, "nothing") == 0) {
            continue;
        }
        print_overall(file, results, &results->contenders[i]);
    }
}
