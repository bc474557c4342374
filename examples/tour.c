/*
 * tour.c - two tenants in one process: what the library does for a host, in eight steps.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 *
 * Needs libc only. Prints what happens, checks it against what the library promises, and draws each
 * tenant's usage over time. Exit code: 0 if every promise was kept, 1 if not.
 */

#define _POSIX_C_SOURCE 200809L /* isatty */

#include <jsrtmem.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <unistd.h>
#endif

#define KIB ((size_t)1024)
#define LIMIT (2048 * KIB)
#define OBJECT_SIZE (4 * KIB)
#define MAX_OBJECTS 1024
#define MAX_SAMPLES 8192
#define LAST_STEP 8
#define EVENTS_SHOWN 3  /* grants and frees in a row; refusals are always shown */
#define IDLE_SAMPLES 10 /* after each step */

#define CHART_WIDTH 64
#define CHART_HEIGHT 8
#define CHART_LEVELS ((size_t)8) /* per character */

typedef struct tenant {
    const char *name;
    JsRuntimeHandle runtime;
    bool willing;  /* what the callback answers */
    size_t mirror; /* the usage, computed from the events alone */
    unsigned char *objects[MAX_OBJECTS];
    size_t count;
    size_t samples[MAX_SAMPLES];
} tenant;

static tenant mail = {.name = "mail", .willing = true};
static tenant shop = {.name = "shop", .willing = true};

static struct {
    int step;
    int routine; /* grants and frees since the last check */
    int broken;  /* promises */
    size_t samples;
    size_t step_began[LAST_STEP + 1]; /* the first sample of each step */
} tour;

/* ---- output ---------------------------------------------------------------------------------- */

/* A control code, if the output is a terminal; else an empty string. */
static const char *style(const char *code)
{
#if defined(_WIN32)
    (void)code;
    return "";
#else
    const char *terminal = getenv("TERM");
    bool plain = getenv("NO_COLOR") != NULL || terminal == NULL || strcmp(terminal, "dumb") == 0;
    return isatty(STDOUT_FILENO) && !plain ? code : "";
#endif
}

static size_t usage_of(const tenant *t)
{
    size_t usage = 0;
    JsGetRuntimeMemoryUsage(t->runtime, &usage);
    return usage;
}

/* Reads both usages for the chart. Any thread could, at any time, without a lock. */
static void sample(void)
{
    if (tour.samples == MAX_SAMPLES)
        return;
    mail.samples[tour.samples] = usage_of(&mail);
    shop.samples[tour.samples] = usage_of(&shop);
    tour.samples++;
}

static void end_events(void)
{
    if (tour.routine > EVENTS_SHOWN)
        printf("     ... and %d more grants and frees\n", tour.routine - EVENTS_SHOWN);
    tour.routine = 0;
}

static void end_step(void)
{
    end_events();
    for (int i = 0; i < IDLE_SAMPLES && tour.step > 0; i++)
        sample();
}

static void step(const char *title)
{
    end_step();
    tour.step++;
    tour.step_began[tour.step] = tour.samples;
    printf("\n%s%d. %s%s\n", style("\033[1m"), tour.step, title, style("\033[0m"));
}

static void check(bool kept, const char *promise)
{
    end_events();
    if (kept) {
        printf("   ok: %s\n", promise);
        return;
    }
    tour.broken++;
    printf("   %sNOT AS PROMISED: %s%s\n", style("\033[31m"), promise, style("\033[0m"));
}

/* ---- the tenants ----------------------------------------------------------------------------- */

static void log_event(const tenant *t, const char *what, size_t bytes, bool routine)
{
    if (routine && ++tour.routine > EVENTS_SHOWN)
        return;
    if (!routine)
        end_events();
    printf("     %s: %-17s %8zu KiB\n", t->name, what, bytes / KIB);
}

/*
 * Logs the events of a tenant, answers them, and keeps its books. If the OS refuses a granted
 * block, a Failure follows, and the usage is then below the mirror.
 */
static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType type, size_t bytes)
{
    tenant *t = (tenant *)state;
    switch (type) {
    case JsMemoryAllocate:
        log_event(t, t->willing ? "allocate, granted" : "allocate, vetoed", bytes, t->willing);
        if (t->willing)
            t->mirror += bytes;
        break;
    case JsMemoryFree:
        log_event(t, "free", bytes, true);
        t->mirror -= bytes;
        break;
    case JsMemoryFailure:
        log_event(t, "failure", bytes, false);
        if (usage_of(t) < t->mirror)
            t->mirror -= bytes;
        break;
    }
    return t->willing;
}

static void create(tenant *t)
{
    size_t limit = 0;
    bool created = JsCreateRuntime(JsRuntimeAttributeNone, NULL, &t->runtime) == JsNoError;
    t->mirror = usage_of(t);
    JsSetRuntimeMemoryAllocationCallback(t->runtime, t, on_event);
    JsSetRuntimeMemoryLimit(t->runtime, LIMIT);
    JsGetRuntimeMemoryLimit(t->runtime, &limit);
    check(created && limit == LIMIT, "the runtime is there, and its limit reads back");
}

/* Allocates up to `count` objects. Returns how many fitted. */
static size_t allocate(tenant *t, size_t count)
{
    size_t done = 0;
    jsrtmem_enter(t->runtime); /* allocations take the fast path until jsrtmem_leave */
    while (done < count && t->count < MAX_OBJECTS) {
        unsigned char *object = jsrtmem_alloc(t->runtime, OBJECT_SIZE);
        if (object == NULL)
            break;
        memset(object, (int)(t->count % 251), OBJECT_SIZE);
        t->objects[t->count++] = object;
        done++;
        if (done % 4 == 0)
            sample();
    }
    jsrtmem_leave(t->runtime);
    sample();
    return done;
}

/* Frees the newest objects, until `count` are left. */
static void free_down_to(tenant *t, size_t count)
{
    jsrtmem_enter(t->runtime);
    while (t->count > count) {
        jsrtmem_free(t->objects[--t->count]);
        if (t->count % 4 == 0)
            sample();
    }
    jsrtmem_leave(t->runtime);
}

static bool intact(const tenant *t)
{
    for (size_t i = 0; i < t->count; i++)
        for (size_t j = 0; j < OBJECT_SIZE; j++)
            if (t->objects[i][j] != (unsigned char)(i % 251))
                return false;
    return true;
}

static bool refused_by(const tenant *t, jsrtmem_refusal reason)
{
    jsrtmem_refusal_info info = {.struct_size = sizeof info};
    jsrtmem_last_refusal(&info);
    return info.reason == reason && info.runtime == t->runtime;
}

/* ---- the steps ------------------------------------------------------------------------------- */

static void step_create(void)
{
    step("Create two tenants, mail and shop, each with a limit of 2048 KiB and an event log.");
    create(&mail);
    create(&shop);
    sample();
}

static void step_work(void)
{
    step("Both work. The runtime asks the host for each block that it takes from the OS.");
    size_t done = 0;
    for (int turn = 0; turn < 4; turn++)
        done += allocate(&mail, 32) + allocate(&shop, 32);
    check(done == 256, "256 objects of 4 KiB are there");
    check(usage_of(&mail) >= 128 * OBJECT_SIZE, "the usage covers a tenant's objects");
    check(usage_of(&mail) == mail.mirror && usage_of(&shop) == shop.mirror,
          "each usage is the sum of its tenant's events");
}

static void step_limit(void)
{
    step("Shop wants more and more: its limit stops it. Mail does not notice.");
    size_t done = allocate(&shop, MAX_OBJECTS);
    check(done < MAX_OBJECTS && refused_by(&shop, JSRTMEM_REFUSAL_LIMIT), "refused by the limit");
    check(usage_of(&shop) <= LIMIT, "the usage is not above the limit");
    check(intact(&shop), "shop's objects are as they were");
    check(allocate(&mail, 32) == 32, "mail has its room");
}

static void step_recover(void)
{
    step("Shop frees three quarters, a collect gives the blocks back, and there is room again.");
    size_t full = usage_of(&shop);
    free_down_to(&shop, shop.count / 4);
    JsCollectGarbage(shop.runtime);
    sample();
    check(usage_of(&shop) < full / 2, "the usage is down to less than half");
    check(allocate(&shop, 160) == 160 && intact(&shop), "shop works on");
}

static void step_veto(void)
{
    step("The host says no to mail, by its callback; later it says yes again.");
    mail.willing = false;
    size_t before = usage_of(&mail);
    size_t done = allocate(&mail, MAX_OBJECTS);
    check(done < MAX_OBJECTS && refused_by(&mail, JSRTMEM_REFUSAL_HOST), "refused by the host");
    check(usage_of(&mail) == before, "the usage is what it was");
    mail.willing = true;
    check(allocate(&mail, 64) == 64, "a refusal is not remembered: mail works on");
}

/* Makes huge requests until the OS refuses one: on 64 bits, the first. */
static bool exhaust_os(tenant *t)
{
    void *taken[8] = {NULL};
    size_t count = 0;
    while (count < 8 && (taken[count] = jsrtmem_alloc(t->runtime, PTRDIFF_MAX / 2)) != NULL)
        count++;
    bool refused = count < 8 && refused_by(t, JSRTMEM_REFUSAL_OS);
    while (count > 0)
        jsrtmem_free(taken[--count]);
    return refused;
}

static void step_os(void)
{
    step("Without a limit, mail asks for more than any machine has. The host agrees; the OS does "
         "not.");
    size_t before = usage_of(&mail);
    JsSetRuntimeMemoryLimit(mail.runtime, (size_t)-1);
    check(exhaust_os(&mail), "refused by the OS");
    JsSetRuntimeMemoryLimit(mail.runtime, LIMIT);
    JsCollectGarbage(mail.runtime);
    check(usage_of(&mail) <= before && usage_of(&mail) == mail.mirror,
          "nothing was charged for it");
    check(intact(&mail) && allocate(&mail, 32) == 32, "mail works on");
}

static void step_misuse(void)
{
    step("A tenant frees an object twice, and a handle is made up: told, not obeyed.");
    void *object = jsrtmem_alloc(shop.runtime, 100);
    jsrtmem_free(object);
    check(jsrtmem_free(object) == JsErrorInvalidArgument, "the second free is refused");
    check(jsrtmem_free(shop.objects[0] + 16) == JsErrorInvalidArgument,
          "so is one inside of an object");
    check(JsCollectGarbage((JsRuntimeHandle)(uintptr_t)0x1234) == JsErrorInvalidArgument,
          "a made-up handle is no runtime");
    check(intact(&shop), "shop's objects are as they were");
    sample();
}

static void step_dispose(void)
{
    step(
        "Dispose, with all objects still there: every byte that was granted is reported as freed.");
    size_t count = shop.count;
    check(count > 0 && JsDisposeRuntime(shop.runtime) == JsNoError, "shop is gone");
    sample();
    check(shop.mirror == 0, "shop's events add up to 0");
    check(intact(&mail) && allocate(&mail, 32) == 32, "mail does not notice");
    check(JsDisposeRuntime(mail.runtime) == JsNoError && mail.mirror == 0, "mail's do too");
    sample();
    jsrtmem_process_stats process = {.struct_size = sizeof process};
    jsrtmem_get_process_stats(&process);
    check(process.runtimes == 0 && process.usage == 0, "no runtime and no usage is left");
    end_step();
}

/* ---- the chart ------------------------------------------------------------------------------- */

static bool utf8_terminal(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0')
            return strstr(value, "UTF-8") != NULL || strstr(value, "utf8") != NULL;
    }
    return false;
}

/* A character that is filled from below, to `level` of CHART_LEVELS. */
static const char *bar(size_t level, bool utf8)
{
    static const char *const blocks[CHART_LEVELS + 1] = {
        " ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const ascii[CHART_LEVELS + 1] = {" ", ".", ".", ".", ":",
                                                        ":", ":", "#", "#"};
    return utf8 ? blocks[level] : ascii[level];
}

/* The first sample of a column. A column shows the highest usage among its samples. */
static size_t column_start(size_t column)
{
    return column * tour.samples / CHART_WIDTH;
}

static size_t column_usage(const tenant *t, size_t column)
{
    size_t highest = t->samples[column_start(column)];
    for (size_t i = column_start(column); i < column_start(column + 1); i++)
        if (t->samples[i] > highest)
            highest = t->samples[i];
    return highest;
}

static void draw_row(const tenant *t, size_t row, bool utf8)
{
    const size_t unit = LIMIT / (CHART_HEIGHT * CHART_LEVELS);
    printf("  %5zu KiB |", (row + 1) * CHART_LEVELS * unit / KIB);
    for (size_t column = 0; column < CHART_WIDTH; column++) {
        size_t filled = (column_usage(t, column) + unit - 1) / unit;
        size_t below = row * CHART_LEVELS;
        size_t level = filled > below ? filled - below : 0;
        fputs(bar(level > CHART_LEVELS ? CHART_LEVELS : level, utf8), stdout);
    }
    putchar('\n');
}

/* The number of each step, under the column in which it began. */
static void draw_steps(void)
{
    char line[CHART_WIDTH + 1];
    memset(line, '-', CHART_WIDTH);
    line[CHART_WIDTH] = '\0';
    for (int number = 1; number <= LAST_STEP; number++)
        line[tour.step_began[number] * CHART_WIDTH / tour.samples] = (char)('0' + number);
    printf("       step +%s\n", line);
}

static void draw(const tenant *t, const char *colour)
{
    size_t peak = 0;
    for (size_t i = 0; i < tour.samples; i++)
        if (t->samples[i] > peak)
            peak = t->samples[i];
    printf("\n%s: usage over time, from %zu reads; highest %zu KiB\n", t->name, tour.samples,
           peak / KIB);
    fputs(style(colour), stdout);
    for (size_t row = CHART_HEIGHT; row-- > 0;)
        draw_row(t, row, utf8_terminal());
    fputs(style("\033[0m"), stdout);
    draw_steps();
}

int main(void)
{
    printf("libjsrtmem %s: two tenants, one process\n", jsrtmem_version());
    step_create();
    step_work();
    step_limit();
    step_recover();
    step_veto();
    step_os();
    step_misuse();
    step_dispose();
    draw(&mail, "\033[36m");
    draw(&shop, "\033[33m");
    if (tour.broken == 0)
        printf("\nAll was as promised.\n");
    else
        printf("\n%d promises were broken.\n", tour.broken);
    return tour.broken == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
