/*
 * chart.c - the times as an SVG: a line per workload, a dot per allocator, as a multiple of ours.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <math.h>
#include <string.h>

#define WIDTH 1010
#define LEFT 460 /* where the axis begins; left of it the titles */
#define RIGHT 920
#define TOP 96
#define STEP 24 /* from line to line */

/* The axis is logarithmic; dots beyond its ends are put there as triangles. */
#define LEAST 0.25
#define GREATEST 64.0

/* Distinct in colour-blindness, and on light and dark pages. */
static const char *const colours[CONTENDERS_MAX] = {"#d55e00", "#777777", "#999933", "#0072b2",
                                                    "#cc79a7", "#009e73", "#e69f00", "#56b4e9",
                                                    "#882255", "#332288", "#117733", "#661100"};

static double x_of(double ratio)
{
    const double part = log(ratio / LEAST) / log(GREATEST / LEAST);

    return LEFT + (RIGHT - LEFT) * (part < 0 ? 0 : part > 1 ? 1 : part);
}

static bool is_drawn(const struct results *results, size_t contender)
{
    return strcmp(results->contenders[contender].name, "nothing") != 0;
}

static void draw_legend(FILE *file, const struct results *results)
{
    double x = 16;
    size_t i;

    for (i = 0; i < results->contender_count; i++) {
        if (is_drawn(results, i)) {
            fprintf(file,
                    "<circle cx=\"%.0f\" cy=\"48\" r=\"5\" fill=\"%s\"/>"
                    "<text x=\"%.0f\" y=\"52\">%s</text>\n",
                    x, colours[i], x + 10, results->contenders[i].title);
            x += 28 + 6.6 * (double)strlen(results->contenders[i].title);
        }
    }
}

static void draw_axis(FILE *file, int bottom)
{
    double ratio;

    for (ratio = LEAST; ratio <= GREATEST; ratio *= 2) {
        fprintf(file,
                "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\"/>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                x_of(ratio), TOP - 10, x_of(ratio), bottom, ratio == 1 ? "#d55e00" : "#dddddd",
                x_of(ratio), TOP - 16, ratio);
    }
}

static void draw_dot(FILE *file, const struct results *results, size_t row, size_t contender,
                     double base, int y)
{
    const double value = cell_median(&results->cells[row][contender]);
    const double ratio = value / base;
    const double x = x_of(ratio);
    const char *colour = colours[contender];

    if (ratio > GREATEST || ratio < LEAST) {
        const int tip = ratio < LEAST ? -7 : 7;

        fprintf(file, "<path d=\"M%.1f %d l%d 5 l%d 5 z\" fill=\"%s\">", x, y - 5, tip, -tip,
                colour);
    } else {
        fprintf(file, "<circle cx=\"%.1f\" cy=\"%d\" r=\"5\" fill=\"%s\" fill-opacity=\"0.9\">", x,
                y, colour);
    }
    fprintf(file, "<title>%s: %.4g %s, %.3g times</title></%s>\n",
            results->contenders[contender].title, value, rows[row].unit, ratio,
            ratio > GREATEST || ratio < LEAST ? "path" : "circle");
}

/* Peers first, so that the first contender, ours, lies on top. */
static void draw_row(FILE *file, const struct results *results, size_t row, int y)
{
    const double base = cell_median(&results->cells[row][0]);
    char number[32];
    size_t i;

    format_number(number, sizeof(number), base);
    fprintf(file,
            "<text x=\"16\" y=\"%d\"><tspan font-weight=\"bold\">%s</tspan> %s</text>"
            "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#eeeeee\"/>"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s %s</text>\n",
            y + 4, rows[row].id, rows[row].title, LEFT, y, RIGHT, y, WIDTH - 12, y + 4, number,
            rows[row].unit);
    for (i = results->contender_count; i-- > 0;) {
        if (results->cells[row][i].count != 0 && is_drawn(results, i)) {
            draw_dot(file, results, row, i, base, y);
        }
    }
}

void chart_write(FILE *file, const struct results *results)
{
    int y = TOP + STEP / 2;
    int lines = 0;
    size_t row;

    for (row = 0; row < row_count; row++) {
        lines += rows[row].chart && results->cells[row][0].count != 0;
    }
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"16\" y=\"24\" font-size=\"16\">Time as a multiple of %s "
            "(left is faster; its own time at the right)</text>\n",
            WIDTH, TOP + lines * STEP + 40, results->contenders[0].title);
    draw_legend(file, results);
    draw_axis(file, TOP + lines * STEP);
    for (row = 0; row < row_count; row++) {
        if (rows[row].chart && results->cells[row][0].count != 0) {
            draw_row(file, results, row, y);
            y += STEP;
        }
    }
    fprintf(file, "<text x=\"16\" y=\"%d\" fill=\"#666666\">%s; %s; medians of %u rounds</text>\n",
            y + 20, results->date, results->machine, results->rounds);
    fprintf(file, "</svg>\n");
}
