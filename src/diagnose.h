/*
 * Layer 2: diagnostics on standard error for debugging: a line for each event of the kinds that are
 * on. None of these events is on a fast path.
 *
 * Any thread may call these functions.
 */
#ifndef JM_DIAGNOSE_H
#define JM_DIAGNOSE_H

#include "atomic.h"
#include "quota.h"

/* The values are those of the public enumeration. */
enum jm_diagnostic { JM_DIAGNOSE_MISUSE = 1, JM_DIAGNOSE_REFUSALS = 2, JM_DIAGNOSE_STATS = 4 };
#define JM_DIAGNOSE_ALL 7u

/* Process state: the kinds that are on. Written by any thread. */
extern JM_HIDDEN _Atomic(unsigned) jm_diagnostics;

static inline bool jm_diagnoses(enum jm_diagnostic kind)
{
    return JM_UNLIKELY((jm_load_relaxed(&jm_diagnostics) & (unsigned)kind) != 0);
}

/* Reports that `call` was given a pointer that is not an object it can work on. `what` says what it
 * is instead. */
void jm_diagnose_misuse(const char *call, const void *pointer, const char *what);

/* Reports a refusal, with the figures recorded for the thread. `runtime` is a handle; 0: none. */
void jm_diagnose_refusal(enum jm_verdict verdict, uintptr_t runtime, size_t requested, size_t usage,
                         size_t limit);

#endif
