/*
 * Layer 4: what runtimes and the process hold, added up; and, where the stats diagnostic is on, told: a line
 * for each runtime as it ends, and for the process and what is left as that ends.
 */
#ifndef JM_ACCOUNT_H
#define JM_ACCOUNT_H

#include "runtime.h"

struct jm_totals {
    size_t runtimes, usage;        /* live; the usage of each at some moment of the call */
    size_t reserve, reserve_limit; /* bytes */
    size_t metadata;               /* bytes of tables of the process */
};

/* Any thread may call. */
struct jm_totals jm_account_totals(void);

/* Prints the figures of a runtime, unless it is disposed meanwhile. Any thread may call. */
void jm_account_tell(struct jm_ref ref);

#endif
