/*
 * Layer 2: what the library says on standard error for those who look for a mistake: a line for each
 * event of the kinds that were asked for, all of them off the fast paths.
 *
 * Any thread may call.
 */
#ifndef JM_DIAGNOSE_H
#define JM_DIAGNOSE_H

#include "atomic.h"
#include "quota.h"

/* The values are those of the public enumeration. */
enum jm_diagnostic { JM_DIAGNOSE_MISUSE = 1, JM_DIAGNOSE_REFUSALS = 2, JM_DIAGNOSE_STATS = 4 };
#define JM_DIAGNOSE_ALL 7u

/* Process state: the kinds that are on. Written by all. */
extern JM_HIDDEN _Atomic(unsigned) jm_diagnostics;

static inline bool jm_diagnoses(enum jm_diagnostic kind)
{
    return JM_UNLIKELY((jm_load_relaxed(&jm_diagnostics) & (unsigned)kind) != 0);
}

/* A call was handed a pointer that is no object it could work on; `what` it is instead. */
void jm_diagnose_misuse(const char *call, const void *pointer, const char *what);

/* A refusal, as it is remembered for the thread; `runtime` 0: of none. */
void jm_diagnose_refusal(enum jm_verdict verdict, uintptr_t runtime, size_t requested, size_t usage,
                         size_t limit);

#endif
