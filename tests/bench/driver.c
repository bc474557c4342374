/*
 * driver.c - the benchmark's command.
 *
 *   bench-driver [--rounds N] [--ms N] [--only ID,ID..] [--peers NAME,NAME..]
 *                [--trace LABEL=FILE].. [--also TITLE=DIR].. [--markdown FILE] [--brief FILE]
 *                [--svg FILE] [--samples FILE] [--callgrind]
 *
 * Every measurement is a process of its own: round by round, workload by workload, one allocator
 * after the other. A slow minute of the machine then hits all alike. Each round starts with another
 * allocator: in a virtual machine the first process may have to get its memory back from the host.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRACES_MAX 8

static const struct {
    const char *name;
    const char *title;
} known[] = {
    {"jsrtmem", "libjsrtmem"},    {"linked", "linked in"},       {"glibc", "glibc"},
    {"counter", "glibc+counter"}, {"mimalloc", "mimalloc heap"}, {"jemalloc", "jemalloc arena"},
    {"tbb", "oneTBB pool"},       {"tcmalloc", "tcmalloc"},      {"nothing", "harness alone"},
};

struct command {
    const char *only;
    const char *peers;
    const char *also[CONTENDERS_MAX];
    size_t also_count;
    const char *traces[TRACES_MAX]; /* LABEL=FILE */
    size_t trace_count;
    const char *markdown;
    const char *brief;
    const char *svg;
    const char *samples;
    const char *ms;
    bool callgrind;
    char cpus[32];
};

static struct results results = {.rounds = 7};

static void stop(const char *message, const char *what)
{
    fprintf(stderr, "bench-driver: %s: %s\n", what, message);
    exit(EXIT_FAILURE);
}

/* True if a comma-separated list contains a name. No list contains every name. */
static bool listed(const char *list, const char *name)
{
    const size_t length = strlen(name);
    const char *at;

    if (list == NULL) {
        return true;
    }
    for (at = list; at != NULL; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL) {
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* ---- contenders
 * --------------------------------------------------------------------------------- */

static void read_about(void *context, char *line)
{
    struct contender *contender = context;

    if (strncmp(line, "version ", 8) == 0) {
        snprintf(contender->version, sizeof(contender->version), "%.*s", TEXT_MAX - 1, line + 8);
    } else if (strncmp(line, "object ", 7) == 0) {
        snprintf(contender->object, sizeof(contender->object), "%.*s", TEXT_MAX - 1, line + 7);
    }
}

/* Adds a program to the contenders, if it was built. Another build of the library has a title. */
static bool add_contender(const char *directory, const char *name, const char *title,
                          const char *library_path)
{
    struct contender *contender = &results.contenders[results.contender_count];
    const char *arguments[] = {contender->program, "--about", NULL};

    if (results.contender_count == CONTENDERS_MAX) {
        stop("too many", "contenders");
    }
    snprintf(contender->program, sizeof(contender->program), "%s/bench-%s", directory, name);
    if (access(contender->program, X_OK) != 0) {
        return false;
    }
    snprintf(contender->name, TEXT_MAX, "%s", library_path[0] == '\0' ? name : title);
    snprintf(contender->title, TEXT_MAX, "%s", title);
    snprintf(contender->library_path, PATH_LENGTH, "%s", library_path);
    if (!child_run(arguments, library_path, false, read_about, contender)) {
        stop("does not start", contender->program);
    }
    results.contender_count++;
    return true;
}

static void add_other_builds(const char *directory, const struct command *command)
{
    size_t i;

    for (i = 0; i < command->also_count; i++) {
        const char *path = strchr(command->also[i], '=');
        char title[TEXT_MAX];

        if (path == NULL) {
            stop("TITLE=DIRECTORY is needed", command->also[i]);
        }
        snprintf(title, sizeof(title), "%.*s", (int)(path - command->also[i]), command->also[i]);
        if (!add_contender(directory, "jsrtmem", title, path + 1)) {
            stop("there is no bench-jsrtmem to run it with", command->also[i]);
        }
    }
}

static void find_contenders(const struct command *command)
{
    char directory[PATH_LENGTH - TEXT_MAX];
    const ssize_t length = readlink("/proc/self/exe", directory, sizeof(directory) - 1);
    size_t i;

    if (length < 0) {
        stop(strerror(errno), "/proc/self/exe");
    }
    directory[length] = '\0';
    *strrchr(directory, '/') = '\0';
    add_contender(directory, known[0].name, known[0].title, "");
    add_other_builds(directory, command);
    for (i = 1; i < sizeof(known) / sizeof(*known); i++) {
        if (listed(command->peers, known[i].name)) {
            add_contender(directory, known[i].name, known[i].title, "");
        }
    }
    if (results.contender_count == 0) {
        stop("no bench-NAME programs there", directory);
    }
}

/* ---- running
 * ------------------------------------------------------------------------------------ */

struct run {
    const char *workload;
    size_t contender;
    bool traced; /* the program prints W10 for any trace */
};

/* Without an allocator (bench-nothing) there is only time to measure, no memory. */
static bool says_something(size_t row, const struct contender *contender)
{
    return strcmp(contender->name, "nothing") != 0 || strcmp(rows[row].unit, "ns") == 0 ||
           strncmp(rows[row].id, "W7", 2) == 0;
}

static void read_result(void *context, char *line)
{
    const struct run *run = context;
    char *value = strchr(line, ' ');
    char id[TEXT_MAX];
    struct cell *cell;
    size_t row;

    if (value == NULL) {
        return;
    }
    *value++ = '\0';
    if (run->traced) {
        snprintf(id, sizeof(id), "%s%s", run->workload, line + strlen("W10"));
    } else {
        snprintf(id, sizeof(id), "%.*s", TEXT_MAX - 1, line);
    }
    row = row_find(id);
    if (row == row_count || !says_something(row, &results.contenders[run->contender])) {
        return;
    }
    cell = &results.cells[row][run->contender];
    if (value[0] == '-' && value[1] == ' ') {
        snprintf(cell->reason, sizeof(cell->reason), "%.*s", TEXT_MAX - 1, value + 2);
    } else if (cell->count < ROUNDS_MAX) {
        cell->samples[cell->count++] = strtod(value, NULL);
    }
}

/* The trace file of workload W10-LABEL. NULL if none was given. */
static const char *trace_of(const struct command *command, const char *workload)
{
    const char *label = workload + strlen("W10-");
    size_t i;

    for (i = 0; i < command->trace_count; i++) {
        const char *path = strchr(command->traces[i], '=');

        if (path != NULL && strlen(label) == (size_t)(path - command->traces[i]) &&
            strncmp(command->traces[i], label, strlen(label)) == 0) {
            return path + 1;
        }
    }
    return NULL;
}

static void run_one(const struct command *command, const char *workload, size_t contender)
{
    const struct contender *who = &results.contenders[contender];
    struct run run = {workload, contender, strncmp(workload, "W10-", 4) == 0};
    const char *trace = run.traced ? trace_of(command, workload) : "";
    const char *arguments[] = {who->program, run.traced ? "W10" : workload,
                               "--ms",       command->ms,
                               "--cpus",     command->cpus,
                               "--trace",    trace,
                               NULL};

    if (trace != NULL && !child_run(arguments, who->library_path, false, read_result, &run)) {
        const size_t row = row_find(workload);

        fprintf(stderr, "bench-driver: %s failed in %s\n", who->title, workload);
        if (row < row_count) {
            snprintf(results.cells[row][contender].reason, TEXT_MAX, "failed");
        }
    }
}

/* Lists the selected workloads, each once: several rows may share one. Returns how many. */
static size_t list_workloads(const struct command *command, const char **workloads)
{
    size_t count = 0;
    size_t row;
    size_t i;

    for (row = 0; row < row_count; row++) {
        const char *workload = rows[row].workload;

        for (i = 0; i < count && strcmp(workloads[i], workload) != 0; i++) {
        }
        if (i == count && listed(command->only, workload)) {
            workloads[count++] = workload;
        }
    }
    return count;
}

static void show_progress(size_t done, size_t all, time_t start, unsigned round,
                          const char *workload, const char *title)
{
    const double elapsed = difftime(time(NULL), start);
    const double left = done != 0 ? elapsed * (double)(all - done) / (double)done : 0;

    fprintf(stderr, "\r%3zu %%  round %u of %u  %-12s %-18s", done * 100 / all, round + 1,
            results.rounds, workload, title);
    if (elapsed >= 5) {
        fprintf(stderr, "  %d:%02d left", (int)left / 60, (int)left % 60);
    }
    fprintf(stderr, "\033[K");
}

static void run_all(const struct command *command)
{
    const char *workloads[ROWS_MAX];
    const size_t count = list_workloads(command, workloads);
    const size_t all = results.rounds * count * results.contender_count;
    const bool terminal = isatty(STDERR_FILENO) != 0;
    const time_t start = time(NULL);
    size_t done = 0;
    unsigned round;
    size_t w;
    size_t i;

    for (round = 0; round < results.rounds; round++) {
        for (w = 0; w < count; w++) {
            for (i = 0; i < results.contender_count; i++) {
                const size_t next = (i + round) % results.contender_count;

                if (terminal) {
                    show_progress(done, all, start, round, workloads[w],
                                  results.contenders[next].title);
                }
                run_one(command, workloads[w], next);
                done++;
            }
        }
    }
    if (terminal) {
        fprintf(stderr, "\r\033[K");
    }
}

/* ---- the command
 * -------------------------------------------------------------------------------- */

/* Chooses the last CPU for the work and the one before it for a second thread; the first does
 * the rest. */
static void choose_cpus(struct command *command)
{
    cpu_set_t set;
    int chosen[2] = {-1, -1};
    int cpu;

    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        for (cpu = CPU_SETSIZE; cpu-- > 0 && chosen[1] < 0;) {
            if (CPU_ISSET((unsigned)cpu, &set)) {
                chosen[chosen[0] < 0 ? 0 : 1] = cpu;
            }
        }
    }
    snprintf(command->cpus, sizeof(command->cpus), "%d,%d", chosen[0], chosen[1]);
}

static void parse(int argc, char **argv, struct command *command)
{
    int i;

    for (i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--callgrind") == 0) {
            command->callgrind = true;
            continue;
        }
        if (strcmp(argv[i], "--rounds") == 0) {
            results.rounds = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "--ms") == 0) {
            command->ms = value;
        } else if (strcmp(argv[i], "--only") == 0) {
            command->only = value;
        } else if (strcmp(argv[i], "--peers") == 0) {
            command->peers = value;
        } else if (strcmp(argv[i], "--trace") == 0 && command->trace_count < TRACES_MAX) {
            command->traces[command->trace_count++] = value;
        } else if (strcmp(argv[i], "--also") == 0 && command->also_count < CONTENDERS_MAX) {
            command->also[command->also_count++] = value;
        } else if (strcmp(argv[i], "--markdown") == 0) {
            command->markdown = value;
        } else if (strcmp(argv[i], "--brief") == 0) {
            command->brief = value;
        } else if (strcmp(argv[i], "--svg") == 0) {
            command->svg = value;
        } else if (strcmp(argv[i], "--samples") == 0) {
            command->samples = value;
        } else {
            stop("unknown option", argv[i]);
        }
        i++;
    }
    if (results.rounds == 0 || results.rounds > ROUNDS_MAX) {
        stop("1 to 64", "--rounds");
    }
}

static void write_file(const char *path, void (*write)(FILE *file, const struct results *results))
{
    FILE *file;

    if (path == NULL) {
        return;
    }
    file = fopen(path, "w");
    if (file == NULL) {
        stop(strerror(errno), path);
    }
    write(file, &results);
    if (fclose(file) != 0) {
        stop(strerror(errno), path);
    }
}

int main(int argc, char **argv)
{
    struct command command = {.ms = "25"};

    parse(argc, argv, &command);
    choose_cpus(&command);
    describe_machine(&results);
    find_contenders(&command);
    if (command.callgrind) {
        const char *trace = trace_of(&command, "W10-shipped");

        callgrind_print(stdout, &results, trace != NULL ? trace : "");
        return EXIT_SUCCESS;
    }
    run_all(&command);
    table_print(stdout, &results);
    goals_print(stdout, &results);
    write_file(command.markdown, table_write_markdown);
    write_file(command.brief, table_write_brief);
    write_file(command.svg, chart_write);
    write_file(command.samples, samples_write);
    return EXIT_SUCCESS;
}
