/*
 * threads.c - two threads: handing objects over, working side by side, reading the usage.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIVE 500    /* objects, in the churns here */
#define SIZE_LOW 16 /* bytes */
#define SIZE_HIGH 1024

#define RING 8192 /* objects under way */
#define CHUNK 64  /* objects handed over at once: the ring costs little */

static pthread_t start_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, body, argument) != 0) {
        fail("no thread");
    }
    return thread;
}

static bool two_cpus(const char *row)
{
    if (options.cpus[0] >= 0 && options.cpus[1] < 0) {
        emit_none(row, "one CPU");
        return false;
    }
    return true;
}

/* Waits until a word changes; yields now and then, in case the other thread has no CPU. */
static uint64_t wait_change(const _Atomic uint64_t *word, uint64_t value)
{
    uint64_t seen;
    unsigned spins = 0;

    while ((seen = atomic_load_explicit(word, memory_order_acquire)) == value) {
        if (++spins % 4096 == 0) {
            sched_yield();
        }
    }
    return seen;
}

/* ---- W6: one thread allocates, another frees
 * ---------------------------------------------------- */

struct handover {
    _Alignas(64) _Atomic uint64_t written;
    _Alignas(64) _Atomic uint64_t read;
    _Alignas(64) void *ring[RING];
    uint16_t sizes[RING];
    struct tenant tenant;
};

#define END ((void *)-1)

static void *consumer(void *argument)
{
    struct handover *handover = argument;
    const struct tenant tenant = handover->tenant;
    uint64_t read = 0;
    uint64_t written = 0;

    pin(1);
    for (;;) {
        written = wait_change(&handover->written, read);
        for (; read < written; read++) {
            void *ptr = handover->ring[read % RING];

            if (ptr == END) {
                return NULL;
            }
            tenant_free_remote(tenant, ptr);
            if (read % CHUNK == CHUNK - 1) {
                atomic_store_explicit(&handover->read, read + 1, memory_order_release);
            }
        }
        atomic_store_explicit(&handover->read, read, memory_order_release);
    }
}

/* Returns once the consumer has freed all objects. */
static uint64_t handover_loop(void *state, uint64_t units)
{
    struct handover *handover = state;
    const struct tenant tenant = handover->tenant;
    const uint64_t first = atomic_load(&handover->written);
    uint64_t written = first;
    uint64_t read = first;

    units = (units + CHUNK - 1) / CHUNK * CHUNK;
    while (written - first < units) {
        while (written + CHUNK - read > RING) {
            read = wait_change(&handover->read, read);
        }
        do {
            handover->ring[written % RING] = take(tenant, handover->sizes[written % RING]);
        } while (++written % CHUNK != 0);
        atomic_store_explicit(&handover->written, written, memory_order_release);
    }
    while (read != written) {
        read = wait_change(&handover->read, read);
    }
    return units;
}

void run_handover(void)
{
    struct handover *handover = harness_memory(sizeof(*handover));
    uint64_t seed = RING;
    pthread_t thread;
    uint64_t written;
    int i;

    if (!two_cpus("W6")) {
        return;
    }
    for (i = 0; i < RING; i++) {
        handover->sizes[i] = (uint16_t)random_size(&seed, SIZE_LOW, SIZE_HIGH);
    }
    handover->tenant = open_tenant();
    thread = start_thread(consumer, handover);
    emit("W6", measure(handover_loop, handover));
    written = atomic_load(&handover->written);
    handover->ring[written % RING] = END;
    atomic_store(&handover->written, written + 1);
    pthread_join(thread, NULL);
    close_tenant(handover->tenant);
}

/* ---- W6l: the same with large objects, one at a time
 * -------------------------------------------- */

#define LARGE_SIZE ((size_t)1 << 20)
#define LARGE_WAYS 8 /* objects under way */

struct way {
    _Alignas(64) _Atomic(void *) object;
};

struct ways {
    struct way ways[LARGE_WAYS];
    struct tenant tenant;
};

static void *large_consumer(void *argument)
{
    struct ways *ways = argument;
    unsigned i;

    pin(1);
    for (i = 0;; i = (i + 1) % LARGE_WAYS) {
        void *ptr = atomic_exchange(&ways->ways[i].object, NULL);

        if (ptr == END) {
            return NULL;
        }
        if (ptr != NULL) {
            tenant_free_remote(ways->tenant, ptr);
        } else {
            sched_yield();
        }
    }
}

static void hand_over(struct way *way, void *ptr)
{
    void *none = NULL;

    while (!atomic_compare_exchange_weak(&way->object, &none, ptr)) {
        none = NULL;
        sched_yield();
    }
}

static uint64_t ways_loop(void *state, uint64_t units)
{
    struct ways *ways = state;
    uint64_t i;

    for (i = 0; i < units; i++) {
        char *object = take(ways->tenant, LARGE_SIZE);
        size_t page;

        for (page = 0; page < LARGE_SIZE; page += 4096) {
            object[page] = (char)i;
        }
        hand_over(&ways->ways[i % LARGE_WAYS], object);
    }
    return units;
}

void run_handover_large(void)
{
    struct ways *ways = harness_memory(sizeof(*ways));
    size_t base = resident_bytes();
    pthread_t thread;

    if (!two_cpus("W6l")) {
        return;
    }
    ways->tenant = open_tenant();
    thread = start_thread(large_consumer, ways);
    emit("W6l", measure(ways_loop, ways));
    hand_over(&ways->ways[0], END);
    pthread_join(thread, NULL);
    emit("W6l-peak", (double)(resident_peak_bytes() - base) / 1048576);
    close_tenant(ways->tenant);
}

/* ---- W7: two threads, each with tenants of its own
 * ---------------------------------------------- */

struct worker {
    struct churn churn;
    struct request request;
    double ns;
    unsigned cpu;
    uint64_t workers;
    _Atomic uint64_t *gate; /* counts the workers that are ready, then those that are done */
};

static uint64_t arrive(const struct worker *worker)
{
    return atomic_fetch_add(worker->gate, 1) + 1;
}

/* Times a loop once all workers have come here. None stops while another is still being timed. */
static void time_together(struct worker *worker, loop_fn *loop, void *state)
{
    uint64_t arrived = arrive(worker);

    while (arrived < worker->workers) {
        arrived = wait_change(worker->gate, arrived);
    }
    worker->ns = measure(loop, state);
    arrived = arrive(worker);
    while (arrived < 2 * worker->workers) {
        loop(state, 100);
        arrived = atomic_load(worker->gate);
    }
}

static void *work_in_one_tenant(void *argument)
{
    struct worker *worker = argument;

    pin(worker->cpu);
    churn_fill(&worker->churn, open_tenant());
    time_together(worker, churn_loop, &worker->churn);
    churn_close(&worker->churn);
    close_tenant(worker->churn.tenant);
    return NULL;
}

static void *serve_requests(void *argument)
{
    struct worker *worker = argument;

    pin(worker->cpu);
    time_together(worker, request_loop, &worker->request);
    return NULL;
}

/* What the workers do. */
struct job {
    void *(*body)(void *worker);
    uint32_t objects; /* of a request; 0: they churn */
};

/* Workers and their gate, in memory that is shared across fork. */
struct team {
    struct worker workers[2];
    _Alignas(64) _Atomic uint64_t gate;
};

static struct team *draw_team(const struct job *job, uint64_t count)
{
    struct team *team = harness_memory_shared(sizeof(*team));
    uint64_t i;

    for (i = 0; i < count; i++) {
        struct worker *worker = &team->workers[i];

        *worker = (struct worker){.cpu = (unsigned)i, .gate = &team->gate, .workers = count};
        if (job->objects == 0) {
            churn_draw(&worker->churn, LIVE, SIZE_LOW, SIZE_HIGH);
        } else {
            request_draw(&worker->request, job->objects, 0);
        }
    }
    return team;
}

static double in_threads(const struct job *job, uint64_t count)
{
    struct team *team = draw_team(job, count);
    pthread_t threads[2];
    double sum = 0;
    uint64_t i;

    for (i = 0; i < count; i++) {
        threads[i] = start_thread(job->body, &team->workers[i]);
    }
    for (i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        sum += team->workers[i].ns;
    }
    return sum / (double)count;
}

/* Two processes share only the machine: no allocator can win back what they lose. */
static double in_processes(const struct job *job, uint64_t count)
{
    struct team *team = draw_team(job, count);
    double sum = 0;
    uint64_t i;

    for (i = 0; i < count; i++) {
        const pid_t child = fork();

        if (child == 0) {
            pthread_join(start_thread(job->body, &team->workers[i]), NULL);
            _exit(EXIT_SUCCESS);
        }
        if (child < 0) {
            fail("no process");
        }
    }
    for (i = 0; i < count; i++) {
        int status;

        if (wait(&status) < 0 || status != 0) {
            fail("a worker failed");
        }
    }
    for (i = 0; i < count; i++) {
        sum += team->workers[i].ns;
    }
    return sum / (double)count;
}

/* Emits the time with two threads, and its ratio to the time of one alone. */
static void emit_scaling(const struct job *job, const char *row, const char *scaling)
{
    const double alone = in_threads(job, 1);
    const double together = in_threads(job, 2);

    emit(row, together);
    emit(scaling, together / alone);
}

void run_two_threads(void)
{
    const struct job job = {work_in_one_tenant, 0};

    if (two_cpus("W7")) {
        emit("W7-machine", in_processes(&job, 2) / in_processes(&job, 1));
        emit_scaling(&job, "W7", "W7-scaling");
    }
}

void run_two_small(void)
{
    const struct job job = {serve_requests, REQUEST_SMALL};

    if (two_cpus("W7s")) {
        emit_scaling(&job, "W7s", "W7s-scaling");
    }
}

void run_two_requests(void)
{
    const struct job job = {serve_requests, REQUEST};

    if (two_cpus("W7r")) {
        emit_scaling(&job, "W7r", "W7r-scaling");
    }
}

/* ---- reading the usage
 * -------------------------------------------------------------------------- */

#define READS_AT_ONCE 1024

struct reader {
    struct tenant tenant;
    _Atomic bool stop;
    _Atomic uint64_t started;
    double ns;
};

static uint64_t usage_loop(void *state, uint64_t units)
{
    const struct tenant tenant = *(const struct tenant *)state;
    size_t sum = 0;
    uint64_t i;

    for (i = 0; i < units; i++) {
        sum += tenant_usage(tenant);
        __asm__ volatile("" ::"r"(sum) : "memory"); /* keeps the compiler from dropping reads */
    }
    return units;
}

static void *read_usage(void *argument)
{
    struct reader *reader = argument;
    uint64_t reads = 0;
    double start;

    pin(1);
    atomic_store(&reader->started, 1);
    start = now_ns();
    while (!atomic_load_explicit(&reader->stop, memory_order_relaxed)) {
        reads += usage_loop(&reader->tenant, READS_AT_ONCE);
    }
    reader->ns = (now_ns() - start) / (double)reads;
    return NULL;
}

void run_usage(void)
{
    struct churn churn;
    struct reader reader = {.stop = false};
    double alone;
    double watched;
    pthread_t thread;

    if (!TENANT_USAGE) {
        emit_none("usage", "no counter");
        return;
    }
    churn_draw(&churn, LIVE, SIZE_LOW, SIZE_HIGH);
    churn_fill(&churn, open_tenant());
    emit("usage", measure(usage_loop, &churn.tenant));
    if (two_cpus("usage-other")) {
        /* glibc takes locks once a thread was started, so one is started before the first timing,
         * too. */
        pthread_join(
            start_thread(read_usage, &(struct reader){.tenant = churn.tenant, .stop = true}), NULL);
        alone = measure(churn_loop, &churn);
        reader.tenant = churn.tenant;
        thread = start_thread(read_usage, &reader);
        wait_change(&reader.started, 0);
        watched = measure(churn_loop, &churn);
        atomic_store(&reader.stop, true);
        pthread_join(thread, NULL);
        emit("usage-other", reader.ns);
        emit("usage-owner", watched / alone);
    }
    churn_close(&churn);
    close_tenant(churn.tenant);
}
