/*
 * options.h - the command line of the example hosts: options and scripts.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#ifndef JSRTMEM_EXAMPLES_OPTIONS_H
#define JSRTMEM_EXAMPLES_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#define HOST_NO_LIMIT ((size_t)-1)

typedef struct host_options {
    const char *program;
    size_t limit;             /* bytes; HOST_NO_LIMIT for none */
    unsigned long veto_after; /* refuse a script's Nth Allocate event and all later ones; 0: none */
    bool events, stats;
    int script_count, arg_count;
    char **scripts, **args; /* into argv */
} host_options;

typedef struct host_script {
    const char *path;
    char *text; /* without a "#!" line */
    size_t length;
} host_script;

typedef enum host_options_result {
    HOST_OPTIONS_RUN,
    HOST_OPTIONS_HELP, /* requested, and printed */
    HOST_OPTIONS_BAD   /* the reason was printed */
} host_options_result;

/* Reads the command line; reorders argv. */
host_options_result host_parse_options(host_options *o, int argc, char **argv);

/* Reads all scripts, before the first one runs. NULL if one cannot be read; the reason is
 * printed. */
host_script *host_load_scripts(const host_options *o);

void host_free_scripts(host_script *scripts, const host_options *o);

#endif /* JSRTMEM_EXAMPLES_OPTIONS_H */
