/*
 * A second thread that does one job after another, and gates to hold it up.
 *
 * Jobs record what they see; the main thread checks. worker_post and worker_wait order the memory
 * of both threads, so a job's results need no lock of their own.
 */
#ifndef JM_TESTS_WORKER_H
#define JM_TESTS_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "jsrt.h"

typedef void (*worker_job)(void *argument);
typedef struct worker worker;

worker *worker_start(void);
void worker_post(worker *self, worker_job job, void *argument);
void worker_wait(worker *self);
bool worker_is_busy(worker *self);
void worker_run(worker *self, worker_job job, void *argument); /* post, wait */

/* Ends the thread and joins it: its thread exit is over when this returns. */
void worker_stop(worker *self);

/* Like worker_stop, for a job that has ended the thread itself (by pthread_exit). */
void worker_join(worker *self);

/* Runs a call on the worker and returns its code. */
typedef JsErrorCode (*worker_call)(void *handle, void *out);
JsErrorCode worker_do(worker *self, worker_call call, void *handle, void *out);

/* A small number, unique to the calling thread. */
unsigned thread_number(void);

/* A gate is shut until somebody opens it. */
typedef struct gate gate;
gate *gate_new(void);
void gate_delete(gate *self);
void gate_open(gate *self);
void gate_wait(gate *self);
bool gate_is_open(gate *self);

#endif
