/*
 * main.c - the program of one allocator: finds the workload and runs it.
 *
 *   bench-NAME --about
 *   bench-NAME WORKLOAD [--repeats N] [--ms N] [--cpus A,B] [--trace FILE] [--exact UNITS]
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct workload {
    const char *name;
    void (*run)(void);
} workloads[] = {
    {"W1k", run_pairs},          {"W1b", run_batches},      {"W1u", run_unentered},
    {"W2c", run_churn},          {"W2r", run_churn_many},   {"W2l", run_stack},
    {"W3", run_churn_large},     {"W4e", run_create},       {"W4f", run_create_full},
    {"W4s", run_request_small},  {"W4", run_request},       {"W5-1k", run_tenants_1k},
    {"W5-10k", run_tenants_10k}, {"W6", run_handover},      {"W7", run_two_threads},
    {"W8", run_buffers},         {"W9v", run_vector},       {"W9m", run_vectors},
    {"W9s", run_string},         {"W10", run_replay},       {"usage", run_usage},
    {"idle", run_idle},          {"give", run_giving_back}, {"give-groups", run_giving_back_groups},
    {"edge", run_edges},         {"W8l", run_frames},       {"W6l", run_handover_large},
    {"W8v", run_varied_buffers}, {"W8a", run_chunks},       {"W11", run_full},
    {"W11s", run_full_small},    {"W11m", run_full_medium}, {"W11c", run_full_asked},
    {"W11g", run_full_growing},  {"W12", run_tide},         {"W9r", run_resizes},
    {"W4l", run_request_buffer}, {"W13", run_shift},        {"W1a", run_aligned_pairs},
    {"W1c", run_zeroed_pairs},   {"W7s", run_two_small},    {"W7r", run_two_requests},
    {"W8t", run_varied_tenants},
};

static void about(void)
{
    char version[64];
    Dl_info info;
    const char *name = "?";

    adapter_version(version, sizeof(version));
    if (dladdr(adapter_code(), &info) != 0 && info.dli_fname != NULL) {
        const char *slash = strrchr(info.dli_fname, '/');

        name = slash != NULL ? slash + 1 : info.dli_fname;
    }
    printf("version %s\nobject %s\nheaps %d\n", version, name, TENANT_HEAPS);
}

static void parse(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--repeats") == 0) {
            options.repeats = (unsigned)atoi(value);
        } else if (strcmp(argv[i], "--ms") == 0) {
            options.run_ns = atof(value) * 1e6;
        } else if (strcmp(argv[i], "--exact") == 0) {
            options.exact = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--trace") == 0) {
            options.trace = value;
        } else if (strcmp(argv[i], "--cpus") == 0) {
            if (sscanf(value, "%d,%d", &options.cpus[0], &options.cpus[1]) < 1) {
                fail("--cpus A,B");
            }
        } else {
            options.workload = argv[i];
            continue;
        }
        i++;
    }
}

int main(int argc, char **argv)
{
    size_t i;

    if (argc == 2 && strcmp(argv[1], "--about") == 0) {
        about();
        return EXIT_SUCCESS;
    }
    parse(argc, argv);
    if (options.repeats == 0 || options.run_ns <= 0) {
        fail("--repeats and --ms need a positive number");
    }
    pin(0);
    for (i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
        if (options.workload != NULL && strcmp(options.workload, workloads[i].name) == 0) {
            workloads[i].run();
            return EXIT_SUCCESS;
        }
    }
    fail("no such workload");
}
