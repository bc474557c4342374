/*
 * driver.h - runs the programs in turn, keeps their results, and reports them.
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

/* ---- results.c: the results ----------------------------------------------------------------- */

/** @brief An allocator that takes part. */
struct contender {
    char name[TEXT_MAX];  /* of the program: bench-NAME */
    char title[TEXT_MAX]; /* in the reports */
    char version[TEXT_MAX];
    char object[TEXT_MAX]; /* the file that contains its code */
    char program[PATH_LENGTH];
    char library_path[PATH_LENGTH]; /* folder of another build of the library; empty: as linked */
};

/** @brief The results of one contender in one row. */
struct cell {
    double samples[ROUNDS_MAX]; /* one per round */
    unsigned count;
    char reason[TEXT_MAX]; /* why there are no samples */
};

/** @brief A run of the benchmark. */
struct results {
    struct contender contenders[CONTENDERS_MAX];
    size_t contender_count;
    struct cell cells[ROWS_MAX][CONTENDERS_MAX];
    unsigned rounds;
    char machine[512];
    char date[TEXT_MAX];
};

/** @brief Return the median, least and greatest sample. pre: the cell has samples. */
double cell_median(const struct cell *cell);
double cell_min(const struct cell *cell);
double cell_max(const struct cell *cell);

/** @brief Finds a contender by name; contender_count if it does not take part. */
size_t contender_find(const struct results *results, const char *name);

/** @brief Tells whether any contender has samples in a row. */
bool row_has_results(const struct results *results, size_t row);

/** @brief Writes a number with three or four significant digits. */
void format_number(char *text, size_t size, double number);

/** @brief Fills in machine and date. */
void describe_machine(struct results *results);

/* ---- children.c: running programs ----------------------------------------------------------- */

typedef void line_fn(void *context, char *line);

/**
 * @brief Runs a program and passes each line that it prints to `line`.
 *
 * @param arguments null-terminated; the first is the program, searched in PATH if it has no slash.
 * @param library_path for LD_LIBRARY_PATH; empty for none.
 * @param errors whether to pass lines of its standard error too.
 * @return true if the program succeeded.
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
