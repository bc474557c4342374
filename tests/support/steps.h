/*
 * Stops the calling thread between two instructions of the library, and lets another thread do a
 * job there: a race then happens at every possible point, not by chance.
 *
 * x86-64 and Linux: the processor's trap flag tells which instructions a call executes, and a
 * breakpoint stops it at one of them. The test links the shared library, whose instructions lie
 * apart from the program's.
 */
#ifndef JM_TESTS_STEPS_H
#define JM_TESTS_STEPS_H

#include <stdint.h>

#include "worker.h"

/* False if this machine, or a tool that watches the program, does not allow it. To be called
 * first. */
bool steps_begin(void);

/* Makes a call, and lists the addresses of the library's instructions that it executes, each
 * once, in the order of their first execution: at most `room`, evenly spread. Returns how many. */
size_t steps_trace(worker_job call, void *argument, uintptr_t *points, size_t room);

/*
 * Makes a call. When it reaches `point` for the first time, `job` runs on the worker until it is
 * done, or until it waits in the library for something that this thread holds. On return the job is
 * done, or was never begun.
 */
void steps_run(worker_job call, void *argument, uintptr_t point, worker *other, worker_job job,
               void *job_argument);

#endif
