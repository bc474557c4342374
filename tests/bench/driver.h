/*
 * driver.h - runs the programs in turn, keeps what they print, and shows it.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONTENDERS_MAX 12
#define ROUNDS_MAX 64
#define ROWS_MAX 96
#define TEXT_MAX 64 /* bytes of a name or a version */
#define PATH_LENGTH 1024

/* ---- rows.c: what is measured --------------------------------------------------------------- */

/** @brief A line of the table. */
struct row {
    const char *id;       /* as the programs print it */
    const char *workload; /* the workload that prints it */
    const char *title;
    const char *unit; /* "ns", "x", "KiB", ...; less is better in all of them */
    bool chart;       /* also in the chart */
    bool brief;       /* also in the brief table */
};

extern const struct row rows[];
extern const size_t row_count;

/** @brief Finds a row by its id; row_count if there is none. */
size_t row_find(const char *id);

/* ---- results.c: what came out --------------------------------------------------------------- */

/** @brief An allocator that takes part. */
struct contender {
    char name[TEXT_MAX];  /* of the program: bench-NAME */
    char title[TEXT_MAX]; /* for the reader */
    char version[TEXT_MAX];
    char object[TEXT_MAX]; /* the file that has its code */
    char program[PATH_LENGTH];
    char library_path[PATH_LENGTH]; /* where another build of the library is; empty: as linked */
};

/** @brief What one contender has for one row. */
struct cell {
    double samples[ROUNDS_MAX]; /* one a round */
    unsigned count;
    char reason[TEXT_MAX]; /* why there are none */
};

/** @brief A run of the benchmark. */
struct results {
    struct contender contenders[CONTENDERS_MAX];
    size_t contender_count;
    struct cell cells[ROWS_MAX][CONTENDERS_MAX];
    unsigned rounds;
    char machine[256];
    char date[TEXT_MAX];
};

/** @brief Middle, least and greatest of a cell that has samples. */
double cell_median(const struct cell *cell);
double cell_min(const struct cell *cell);
double cell_max(const struct cell *cell);

/** @brief Finds a contender by name; contender_count if it does not take part. */
size_t contender_find(const struct results *results, const char *name);

/** @brief Tells whether any contender has samples in a row. */
bool row_has_results(const struct results *results, size_t row);

/** @brief Writes a number with three or four digits that count. */
void format_number(char *text, size_t size, double number);

/** @brief Fills in machine and date. */
void describe_machine(struct results *results);

/* ---- children.c: running programs ----------------------------------------------------------- */

typedef void line_fn(void *context, char *line);

/**
 * @brief Runs a program and hands over each line that it prints.
 *
 * @param arguments null-terminated; the first is the program, searched in PATH if it has no slash.
 * @param library_path for LD_LIBRARY_PATH; empty for none.
 * @param errors whether to hand over what it prints on standard error too.
 * @return true if it ended well.
 */
bool child_run(const char *const *arguments, const char *library_path, bool errors, line_fn *line,
               void *context);

/* ---- reports -------------------------------------------------------------------------------- */

void table_print(FILE *file, const struct results *results);
void table_write_markdown(FILE *file, const struct results *results);
void table_write_brief(FILE *file, const struct results *results);
void chart_write(FILE *file, const struct results *results);
void samples_write(FILE *file, const struct results *results);
void goals_print(FILE *file, const struct results *results);

/** @brief Counts instructions per unit of work with callgrind, and prints them as a table. */
void callgrind_print(FILE *file, const struct results *results, const char *trace);

#endif /* BENCH_DRIVER_H */
