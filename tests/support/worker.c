#include "worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    worker_job job; /* null: idle */
    void *argument;
    bool stopping;
};

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
};

static void *must_have(void *memory)
{
    if (memory == NULL) {
        (void)fprintf(stderr, "out of memory in the test itself\n");
        abort();
    }
    return memory;
}

static void *worker_main(void *argument)
{
    worker *self = argument;

    (void)pthread_mutex_lock(&self->lock);
    for (;;) {
        while (self->job == NULL && !self->stopping) {
            (void)pthread_cond_wait(&self->changed, &self->lock);
        }
        if (self->job == NULL) {
            break;
        }
        (void)pthread_mutex_unlock(&self->lock);
        self->job(self->argument);
        (void)pthread_mutex_lock(&self->lock);
        self->job = NULL;
        (void)pthread_cond_broadcast(&self->changed);
    }
    (void)pthread_mutex_unlock(&self->lock);
    return NULL;
}

worker *worker_start(void)
{
    worker *self = must_have(calloc(1, sizeof(*self)));

    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->changed, NULL);
    if (pthread_create(&self->thread, NULL, worker_main, self) != 0) {
        (void)must_have(NULL);
    }
    return self;
}

void worker_post(worker *self, worker_job job, void *argument)
{
    worker_wait(self);
    (void)pthread_mutex_lock(&self->lock);
    self->job = job;
    self->argument = argument;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
}

void worker_wait(worker *self)
{
    (void)pthread_mutex_lock(&self->lock);
    while (self->job != NULL) {
        (void)pthread_cond_wait(&self->changed, &self->lock);
    }
    (void)pthread_mutex_unlock(&self->lock);
}

bool worker_is_busy(worker *self)
{
    (void)pthread_mutex_lock(&self->lock);
    bool busy = self->job != NULL;
    (void)pthread_mutex_unlock(&self->lock);
    return busy;
}

void worker_run(worker *self, worker_job job, void *argument)
{
    worker_post(self, job, argument);
    worker_wait(self);
}

void worker_join(worker *self)
{
    (void)pthread_join(self->thread, NULL);
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->lock);
    free(self);
}

void worker_stop(worker *self)
{
    worker_wait(self);
    (void)pthread_mutex_lock(&self->lock);
    self->stopping = true;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
    worker_join(self);
}

struct call_job {
    worker_call call;
    void *handle;
    void *out;
    JsErrorCode code;
};

static void do_call(void *argument)
{
    struct call_job *job = argument;

    job->code = job->call(job->handle, job->out);
}

JsErrorCode worker_do(worker *self, worker_call call, void *handle, void *out)
{
    struct call_job job = {call, handle, out, JsNoError};

    worker_run(self, do_call, &job);
    return job.code;
}

unsigned thread_number(void)
{
    static atomic_uint next = 1;
    static _Thread_local unsigned mine;

    if (mine == 0) {
        mine = atomic_fetch_add(&next, 1u);
    }
    return mine;
}

gate *gate_new(void)
{
    gate *self = must_have(calloc(1, sizeof(*self)));

    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->changed, NULL);
    return self;
}

void gate_delete(gate *self)
{
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->lock);
    free(self);
}

void gate_open(gate *self)
{
    (void)pthread_mutex_lock(&self->lock);
    self->open = true;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
}

void gate_wait(gate *self)
{
    (void)pthread_mutex_lock(&self->lock);
    while (!self->open) {
        (void)pthread_cond_wait(&self->changed, &self->lock);
    }
    (void)pthread_mutex_unlock(&self->lock);
}

bool gate_is_open(gate *self)
{
    (void)pthread_mutex_lock(&self->lock);
    bool open = self->open;
    (void)pthread_mutex_unlock(&self->lock);
    return open;
}
