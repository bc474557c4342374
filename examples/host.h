/*
 * host.h - what the example hosts share: one runtime under a budget, its events, its report.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 *
 * lua_host.c and duktape_host.c show the engine's side: how a script engine takes its memory from a
 * runtime. host.c shows the host's side: how the runtime is created, watched, limited and disposed.
 *
 * One runtime serves all scripts, one after the other. For each script host_main enters the runtime
 * once and calls the engine, which
 *   1. creates its state in the runtime; its allocator calls host_note_refusal after each refusal;
 *   2. calls host_set_budget(host, true): from then on --limit and --veto-after apply;
 *   3. runs the script, in a protected call;
 *   4. calls host_report, closes its state and returns the status.
 */

#ifndef JSRTMEM_EXAMPLES_HOST_H
#define JSRTMEM_EXAMPLES_HOST_H

#include "options.h"

#include <jsrtmem.h>

/* The outcome of a script. The process exits with the highest one that occurred. */
typedef enum host_status {
    HOST_OK = 0,
    HOST_SCRIPT_FAILED = 1, /* the script ended with an error of its own */
    HOST_BAD_USAGE = 2,     /* bad option or unreadable script; nothing was run */
    HOST_OUT_OF_MEMORY = 3, /* the script was refused memory and did not catch the error */
    HOST_BROKEN_PROMISE = 4 /* the books do not balance: a bug, must never happen */
} host_status;

typedef struct host {
    host_options options;
    JsRuntimeHandle runtime;
    bool abandoned; /* set by an engine that cannot close its state and leaves it in the runtime */

    /* The books, kept from the events alone: mirror == granted - undone - freed == usage. */
    size_t mirror;
    unsigned long event_count;
    bool broken;

    /* About the running script. */
    bool budget_on;
    unsigned long asked; /* Allocate events under the budget */
    unsigned long refusals;
    jsrtmem_refusal_info last_refusal;
    jsrtmem_stats at_start;
} host;

/* Runs one script in an engine of its own. pre: the runtime is entered. */
typedef host_status (*host_engine)(host *h, const host_script *script);

/* The whole program: options, runtime, scripts, dispose. Returns the exit code. */
int host_main(int argc, char **argv, host_engine engine);

/* Applies the limit and veto of the options, or lifts them. */
void host_set_budget(host *h, bool on);

/* Keeps the reason of a refusal for the report. To be called right after the runtime refused. */
void host_note_refusal(host *h);

/*
 * Prints how the script ended, why it was refused memory and, with --stats, what it holds.
 * `message` is the error text if `status` is an error. Returns `status`. pre: the engine's state is
 * still open.
 */
host_status host_report(host *h, const host_script *script, host_status status,
                        const char *message);

#endif /* JSRTMEM_EXAMPLES_HOST_H */
