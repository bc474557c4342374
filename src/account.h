/*
 * Layer 4: totals of what runtimes and the process hold. If the stats diagnostic is on, they are
 * printed: a line for each runtime when it is disposed, and when the process ends, one for each
 * that is left and one for the process.
 */
#ifndef JM_ACCOUNT_H
#define JM_ACCOUNT_H

#include "runtime.h"

struct jm_totals {
    size_t runtimes, usage;        /* live ones; bytes, of each at some moment during the call */
    size_t reserve, reserve_limit; /* bytes */
    size_t metadata;               /* bytes of the process's tables */
};

/* Any thread may call. */
struct jm_totals jm_account_totals(void);

/* Prints the figures of a runtime, unless it is disposed meanwhile. Any thread may call. */
void jm_account_print(struct jm_ref ref);

#endif
