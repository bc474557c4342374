/*
 * Stops the calling thread between two instructions of the library, and lets another thread do a job
 * there: so a race happens at every point where it can, and not by chance.
 *
 * x86-64 and Linux: the processor's trap flag tells which instructions a call has, and a breakpoint stops
 * it at one of them. The test links the shared library, whose instructions lie apart.
 */
#ifndef JM_TESTS_STEPS_H
#define JM_TESTS_STEPS_H

#include <stdint.h>

#include "worker.h"

/* False where this machine, or what watches the program, does not let us. To be called first. */
bool steps_begin(void);

/* Makes a call, and writes down where its instructions within the library lie, each once, in the order in
 * which they are first come by: as many as there is room for, evenly spread. Returns how many. */
size_t steps_trace(worker_job call, void *argument, uintptr_t *points, size_t room);

/*
 * Makes a call. When it comes by `point` for the first time, `job` runs on the worker, until it is done, or
 * waits within the library for something that this thread has. When this returns the job is done, or it was
 * never begun.
 */
void steps_run(worker_job call, void *argument, uintptr_t point, worker *other, worker_job job,
               void *job_argument);

#endif
