/*
 * table.c - the results as a table for a terminal, as Markdown, and as raw samples.
 *
 * A cell is the median. A peer's cell also tells ours as a multiple of it: less than 1 means that
 * libjsrtmem is better. The range of the rounds stands below.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <string.h>
#include <sys/ioctl.h>

#define ID_WIDTH 17
#define TITLE_WIDTH 60
#define CELL_WIDTH 14

/* Our cell in a row. NULL if we do not take part. */
static const struct cell *ours(const struct results *results, size_t row)
{
    const size_t index = contender_find(results, "jsrtmem");

    return index < results->contender_count && results->cells[row][index].count != 0
               ? &results->cells[row][index]
               : NULL;
}

static void format_title(char *text, size_t size, const struct row *row)
{
    snprintf(text, size, "%s%s%s", row->title, row->unit[0] != '\0' ? ", " : "", row->unit);
}

/* The median, and our multiple of it. */
static void format_value(char *text, size_t size, const struct results *results, size_t row,
                         size_t contender)
{
    const struct cell *cell = &results->cells[row][contender];
    const struct cell *own = ours(results, row);
    char number[24];

    if (cell->count == 0) {
        snprintf(text, size, "-");
        return;
    }
    format_number(number, sizeof(number), cell_median(cell));
    if (own == NULL || own == cell || cell_median(cell) <= 0 ||
        strcmp(results->contenders[contender].name, "nothing") == 0 ||
        strcmp(rows[row].id, "idle-count") == 0) {
        snprintf(text, size, "%s", number);
    } else {
        const double ratio = cell_median(own) / cell_median(cell);
        char times[24];

        format_number(times, sizeof(times), ratio);
        snprintf(text, size, "%s (%sx)", number, ratio > 0 && ratio < 0.005 ? "<.01" : times);
    }
}

static void format_range(char *text, size_t size, const struct cell *cell)
{
    char low[24];
    char high[24];

    if (cell->count == 0) {
        snprintf(text, size, "%s", cell->reason);
        return;
    }
    format_number(low, sizeof(low), cell_min(cell));
    format_number(high, sizeof(high), cell_max(cell));
    snprintf(text, size, "%s..%s", low, high);
}

static void describe(FILE *file, const struct results *results, const char *line_end)
{
    size_t i;

    fprintf(file, "%s; %s; %u round%s, interleaved, pinned%s\n", results->date, results->machine,
            results->rounds, results->rounds == 1 ? "" : "s", line_end);
    for (i = 0; i < results->contender_count; i++) {
        fprintf(file, "%s%s: %s (%s)", i == 0 ? "" : "; ", results->contenders[i].title,
                results->contenders[i].version, results->contenders[i].object);
    }
    fprintf(file, "%s\n", line_end);
}

static void print_wide(FILE *file, const struct results *results)
{
    char text[128];
    size_t row;
    size_t i;

    fprintf(file, "\n%-*s", ID_WIDTH + TITLE_WIDTH, "");
    for (i = 0; i < results->contender_count; i++) {
        fprintf(file, " %*.*s", CELL_WIDTH, CELL_WIDTH, results->contenders[i].title);
    }
    fputc('\n', file);
    for (row = 0; row < row_count; row++) {
        if (!row_has_results(results, row)) {
            continue;
        }
        format_title(text, sizeof(text), &rows[row]);
        fprintf(file, "%-*s%-*s", ID_WIDTH, rows[row].id, TITLE_WIDTH, text);
        for (i = 0; i < results->contender_count; i++) {
            format_value(text, sizeof(text), results, row, i);
            fprintf(file, " %*s", CELL_WIDTH, text);
        }
        fprintf(file, "\n%-*s", ID_WIDTH + TITLE_WIDTH, "");
        for (i = 0; i < results->contender_count; i++) {
            format_range(text, sizeof(text), &results->cells[row][i]);
            fprintf(file, " %*s", CELL_WIDTH, text);
        }
        fputc('\n', file);
    }
    fprintf(file, "\nmedian (libjsrtmem as a multiple of it), below it least..greatest round; "
                  "less is better\n");
}

/* The same as print_wide, one contender below the other. */
static void print_narrow(FILE *file, const struct results *results)
{
    char value[64];
    char range[64];
    char title[128];
    size_t row;
    size_t i;

    for (row = 0; row < row_count; row++) {
        if (!row_has_results(results, row)) {
            continue;
        }
        format_title(title, sizeof(title), &rows[row]);
        fprintf(file, "\n%s  %s\n", rows[row].id, title);
        for (i = 0; i < results->contender_count; i++) {
            format_value(value, sizeof(value), results, row, i);
            format_range(range, sizeof(range), &results->cells[row][i]);
            fprintf(file, "    %-*s %*s  %s\n", CELL_WIDTH, results->contenders[i].title,
                    CELL_WIDTH, value, range);
        }
    }
    fprintf(file, "\nmedian (libjsrtmem as a multiple of it), least..greatest round; "
                  "less is better\n");
}

void table_print(FILE *file, const struct results *results)
{
    const size_t wide = ID_WIDTH + TITLE_WIDTH + results->contender_count * (CELL_WIDTH + 1);
    struct winsize window;

    describe(file, results, "");
    if (ioctl(fileno(file), TIOCGWINSZ, &window) == 0 && window.ws_col < wide) {
        print_narrow(file, results);
    } else {
        print_wide(file, results);
    }
}

static void write_markdown(FILE *file, const struct results *results, bool brief)
{
    char text[128];
    size_t row;
    size_t i;

    describe(file, results, "  ");
    fprintf(file, "Median, libjsrtmem as a multiple of it%s; less is better.\n\n| |",
            brief ? "" : ", and the range of the rounds");
    for (i = 0; i < results->contender_count; i++) {
        fprintf(file, " %s |", results->contenders[i].title);
    }
    fprintf(file, "\n|---|");
    for (i = 0; i < results->contender_count; i++) {
        fprintf(file, "---|");
    }
    fputc('\n', file);
    for (row = 0; row < row_count; row++) {
        if (!row_has_results(results, row) || (brief && !rows[row].brief)) {
            continue;
        }
        format_title(text, sizeof(text), &rows[row]);
        fprintf(file, "| **%s** %s |", rows[row].id, text);
        for (i = 0; i < results->contender_count; i++) {
            format_value(text, sizeof(text), results, row, i);
            fprintf(file, " %s", text);
            if (!brief) {
                format_range(text, sizeof(text), &results->cells[row][i]);
                fprintf(file, "<br><sub>%s</sub>", text);
            }
            fprintf(file, " |");
        }
        fputc('\n', file);
    }
}

void table_write_markdown(FILE *file, const struct results *results)
{
    write_markdown(file, results, false);
}

/* Only the rows that tell most, without ranges. */
void table_write_brief(FILE *file, const struct results *results)
{
    write_markdown(file, results, true);
}

void samples_write(FILE *file, const struct results *results)
{
    size_t row;
    size_t i;
    unsigned n;

    describe(file, results, "");
    for (row = 0; row < row_count; row++) {
        for (i = 0; i < results->contender_count; i++) {
            const struct cell *cell = &results->cells[row][i];

            if (cell->count != 0) {
                fprintf(file, "%s %s", rows[row].id, results->contenders[i].name);
                for (n = 0; n < cell->count; n++) {
                    fprintf(file, " %.6g", cell->samples[n]);
                }
                fputc('\n', file);
            }
        }
    }
}
