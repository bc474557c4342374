/*
 * Threads: entering and leaving, calls without entering, frees from elsewhere, thread exit, and
 * races with more than one valid outcome.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define THREADS 4

static void start_all(worker *workers[], worker_job job, void *arguments, size_t size)
{
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = worker_start();
        worker_post(workers[i], job, (char *)arguments + i * size);
    }
}

static void stop_all(worker *workers[])
{
    for (size_t i = 0; i < THREADS; i++) {
        worker_stop(workers[i]);
    }
}

/* ---- entering and leaving ------------------------------------------------------------------- */

static void look_at_current(void *argument)
{
    *(JsRuntimeHandle *)argument = jsrtmem_current();
}

static void current_is_what_was_entered_last(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle outer = new_runtime();
    JsRuntimeHandle inner = new_runtime();
    JsRuntimeHandle elsewhere = outer;
    JsContextRef context = JS_INVALID_REFERENCE;

    (void)state;
    assert_null(jsrtmem_current());
    assert_null(jsrtmem_alloc(jsrtmem_current(), 1));
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
    assert_ok(JsCreateContext(outer, &context));
    assert_ok(JsSetCurrentContext(context));
    assert_ptr_equal(jsrtmem_current(), outer);
    assert_ok(jsrtmem_enter(inner));
    assert_ptr_equal(jsrtmem_current(), inner);
    assert_ok(jsrtmem_enter(outer));
    assert_ptr_equal(jsrtmem_current(), outer);
    assert_ok(jsrtmem_leave(outer));
    assert_ptr_equal(jsrtmem_current(), inner);
    worker_run(other, look_at_current, &elsewhere);
    assert_null(elsewhere);
    assert_ok(jsrtmem_leave(inner));
    assert_ptr_equal(jsrtmem_current(), outer);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    assert_null(jsrtmem_current());
    dispose(inner);
    dispose(outer);
    worker_stop(other);
}

static void enter_keeps_other_threads_out(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    void *object = new_object(runtime, 100);
    void *out = object;
    JsRuntimeHandle owner = NULL;

    (void)state;
    pattern_fill(object, 100, 4);
    assert_ok(jsrtmem_enter(runtime));
    assert_code(worker_do(other, call_alloc, runtime, NULL), JsErrorWrongThread);
    assert_code(worker_do(other, call_calloc, runtime, NULL), JsErrorWrongThread);
    assert_code(worker_do(other, call_aligned_alloc, runtime, NULL), JsErrorWrongThread);
    assert_code(worker_do(other, call_realloc, runtime, &out), JsErrorWrongThread);
    assert_code(worker_do(other, call_enter, runtime, NULL), JsErrorWrongThread);
    assert_code(worker_do(other, call_leave, runtime, NULL), JsErrorInvalidArgument);
    assert_ptr_equal(out, object);
    assert_true(pattern_holds(object, 100, 4));
    assert_true(jsrtmem_usable_size(object) >= 100);
    assert_ok(jsrtmem_runtime_of(object, &owner));
    assert_ptr_equal(owner, runtime);
    assert_ok(worker_do(other, call_free, object, NULL));
    assert_ok(jsrtmem_leave(runtime));
    assert_ok(worker_do(other, call_alloc, runtime, NULL));
    dispose(runtime);
    worker_stop(other);
}

static void leave_undoes_the_innermost_enter_only(void **state)
{
    JsRuntimeHandle a = new_runtime();
    JsRuntimeHandle b = new_runtime();

    (void)state;
    assert_code(jsrtmem_leave(a), JsErrorInvalidArgument);
    assert_ok(jsrtmem_enter(a));
    assert_code(jsrtmem_leave(b), JsErrorInvalidArgument);
    assert_ok(jsrtmem_enter(b));
    assert_code(jsrtmem_leave(a), JsErrorInvalidArgument);
    assert_ok(jsrtmem_enter(a));
    assert_ok(jsrtmem_enter(a));
    assert_code(jsrtmem_leave(b), JsErrorInvalidArgument);
    assert_ok(jsrtmem_leave(a));
    assert_ok(jsrtmem_leave(a));
    assert_ok(jsrtmem_leave(b));
    assert_code(jsrtmem_leave(b), JsErrorInvalidArgument);
    assert_ok(jsrtmem_leave(a));
    assert_code(jsrtmem_leave(a), JsErrorInvalidArgument);
    dispose(a);
    dispose(b);
}

static void a_runtime_entered_below_stays_current(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle a = new_runtime();
    JsRuntimeHandle b = new_runtime();

    (void)state;
    assert_ok(jsrtmem_enter(a));
    assert_ok(jsrtmem_enter(b));
    void *of_a = new_object(a, 100);
    void *of_b = new_object(b, 100);
    assert_code(worker_do(other, call_alloc, a, NULL), JsErrorWrongThread);
    assert_code(worker_do(other, call_alloc, b, NULL), JsErrorWrongThread);
    of_a = jsrtmem_realloc(a, of_a, 5000);
    assert_non_null(of_a);
    assert_ok(jsrtmem_free(of_a));
    assert_ok(jsrtmem_free(of_b));
    assert_ok(JsCollectGarbage(a));
    assert_ok(jsrtmem_leave(b));
    assert_ok(worker_do(other, call_enter, b, NULL));
    assert_code(worker_do(other, call_enter, a, NULL), JsErrorWrongThread);
    assert_ok(worker_do(other, call_leave, b, NULL));
    assert_ok(jsrtmem_leave(a));
    dispose(a);
    dispose(b);
    worker_stop(other);
}

static void enters_nest_deep(void **state)
{
    enum { DEPTH = 300 };
    JsRuntimeHandle runtimes[3];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(runtimes); i++) {
        runtimes[i] = new_runtime();
    }
    for (size_t i = 0; i < DEPTH; i++) {
        assert_ok(jsrtmem_enter(runtimes[i % 3]));
        assert_non_null(jsrtmem_alloc(runtimes[i % 3], 10));
        assert_non_null(jsrtmem_alloc(runtimes[(i + 1) % 3], 10));
    }
    for (size_t i = DEPTH; i-- > 0;) {
        assert_code(JsDisposeRuntime(runtimes[i % 3]), JsErrorRuntimeInUse);
        assert_ok(jsrtmem_leave(runtimes[i % 3]));
    }
    for (size_t i = 0; i < COUNT_OF(runtimes); i++) {
        dispose(runtimes[i]);
    }
}

static void enter_twice(void *argument)
{
    JsRuntimeHandle *runtimes = argument;

    (void)jsrtmem_enter(runtimes[0]);
    (void)jsrtmem_enter(runtimes[1]);
    (void)jsrtmem_enter(runtimes[0]);
    runtimes[2] = jsrtmem_alloc(runtimes[0], 100);
}

static void thread_exit_leaves_all_that_was_entered(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        JsRuntimeHandle runtimes[3] = {new_runtime(), new_runtime(), NULL};
        worker *other = worker_start();

        worker_run(other, enter_twice, runtimes);
        assert_code(jsrtmem_enter(runtimes[0]), JsErrorWrongThread);
        assert_code(jsrtmem_enter(runtimes[1]), JsErrorWrongThread);
        worker_stop(other);
        assert_ok(jsrtmem_free(runtimes[2]));
        assert_int_equal(stats_of(runtimes[0]).live_objects, 0);
        assert_ok(jsrtmem_enter(runtimes[1]));
        assert_ok(jsrtmem_leave(runtimes[1]));
        dispose(runtimes[0]);
        dispose(runtimes[1]);
    }
}

static void thread_exit_takes_queued_frees_along(void **state)
{
    JsRuntimeHandle runtimes[3] = {new_runtime(), new_runtime(), NULL};
    worker *other = worker_start();

    (void)state;
    worker_run(other, enter_twice, runtimes);
    assert_ok(jsrtmem_free(runtimes[2])); /* queued */
    worker_stop(other);
    assert_ok(JsCollectGarbage(runtimes[0]));
    assert_int_equal(stats_of(runtimes[0]).live_objects, 0);
    assert_int_equal(usage_of(runtimes[0]), 0);
    dispose(runtimes[0]);
    dispose(runtimes[1]);
}

/* ---- without entering ----------------------------------------------------------------------- */

struct churn {
    JsRuntimeHandle runtime;
    uint64_t seed;
    size_t operations, refused, broken, failed;
    atomic_bool *stop; /* may be null */
};

#define CHURN_SLOTS 64

static void churn(void *argument)
{
    struct churn *self = argument;
    struct random random = random_seeded(self->seed);
    unsigned char *objects[CHURN_SLOTS] = {NULL};
    size_t sizes[CHURN_SLOTS] = {0};

    for (size_t i = 0; i < self->operations && !(self->stop && atomic_load(self->stop)); i++) {
        size_t slot = random_below(&random, CHURN_SLOTS);

        if (objects[slot] != NULL) {
            self->broken += !pattern_holds(objects[slot], sizes[slot], self->seed + slot);
            self->failed += jsrtmem_free(objects[slot]) != JsNoError;
            objects[slot] = NULL;
            continue;
        }
        sizes[slot] = random_size(&random, random_chance(&random, 1) ? 18 : 10);
        objects[slot] = jsrtmem_alloc(self->runtime, sizes[slot]);
        self->refused += objects[slot] == NULL;
        if (objects[slot] != NULL) {
            pattern_fill(objects[slot], sizes[slot], self->seed + slot);
        }
    }
    for (size_t i = 0; i < CHURN_SLOTS; i++) {
        self->failed += jsrtmem_free(objects[i]) != JsNoError;
    }
}

static void check_empty(JsRuntimeHandle runtime)
{
    assert_ok(JsCollectGarbage(runtime));
    jsrtmem_stats stats = stats_of(runtime);
    assert_int_equal(stats.live_objects, 0);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.usage, 0);
    assert_int_equal(stats.misuses, 0);
}

static void several_threads_call_without_entering(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct churn jobs[THREADS];
    worker *workers[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        jobs[i] = (struct churn){.runtime = runtime, .seed = i * 1000, .operations = 20000};
    }
    start_all(workers, churn, jobs, sizeof(jobs[0]));
    stop_all(workers);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(jobs[i].refused, 0); /* calls wait for one another */
        assert_int_equal(jobs[i].broken, 0);
        assert_int_equal(jobs[i].failed, 0);
    }
    check_empty(runtime);
    assert_balanced(&host);
    dispose(runtime);
}

static void enter_waits_for_calls_that_did_not_enter(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    atomic_bool stop = false;
    struct churn jobs[THREADS];
    worker *workers[THREADS];
    JsErrorCode codes = JsNoError;
    size_t lost = 0;

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        jobs[i] = (struct churn){
            .runtime = runtime, .seed = i * 1000, .operations = SIZE_MAX, .stop = &stop};
    }
    start_all(workers, churn, jobs, sizeof(jobs[0]));
    for (int i = 0; i < 3000; i++) {
        codes |= jsrtmem_enter(runtime);
        void *object = jsrtmem_alloc(runtime, 200);
        lost += object == NULL;
        codes |= jsrtmem_free(object);
        codes |= jsrtmem_leave(runtime);
    }
    atomic_store(&stop, true);
    stop_all(workers);
    assert_ok(codes);
    assert_int_equal(lost, 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(jobs[i].broken, 0);
        assert_int_equal(jobs[i].failed, 0);
    }
    check_empty(runtime);
    dispose(runtime);
}

/* ---- frees from elsewhere ------------------------------------------------------------------- */

#define MAIL_SLOTS 256

/* Objects on their way from one thread to another. Each holds its size at its start. */
struct mail {
    _Atomic(uint64_t *) slots[MAIL_SLOTS];
    atomic_bool stop;
};

struct mail_job {
    struct mail *mail;
    JsRuntimeHandle runtime;
    uint64_t seed;
    size_t freed, broken, failed;
};

static void take_mail(struct mail_job *self, size_t slot)
{
    uint64_t *object = atomic_exchange(&self->mail->slots[slot], NULL);

    if (object == NULL) {
        (void)sched_yield();
        return;
    }
    self->broken += jsrtmem_usable_size(object) < object[0];
    self->broken += !pattern_holds(object + 1, (size_t)object[0] - sizeof(*object), object[0]);
    self->failed += jsrtmem_free(object) != JsNoError;
    self->freed++;
}

static void free_mail(void *argument)
{
    struct mail_job *self = argument;
    struct random random = random_seeded(self->seed);

    while (!atomic_load(&self->mail->stop)) {
        take_mail(self, random_below(&random, MAIL_SLOTS));
    }
}

static size_t send_mail(struct mail *mail, JsRuntimeHandle runtime, size_t operations)
{
    struct random random = random_seeded(42);
    size_t sent = 0;

    for (size_t i = 0; i < operations; i++) {
        size_t size = sizeof(uint64_t) + random_size(&random, random_chance(&random, 1) ? 17 : 9);
        uint64_t *object = jsrtmem_alloc(runtime, size);
        uint64_t *expected = NULL;

        if (object == NULL) {
            continue;
        }
        object[0] = size;
        pattern_fill(object + 1, size - sizeof(*object), size);
        sent++;
        while (!atomic_compare_exchange_strong(&mail->slots[random_below(&random, MAIL_SLOTS)],
                                               &expected, object)) {
            expected = NULL;
        }
    }
    return sent;
}

static void objects_are_freed_by_other_threads(void **state)
{
    (void)state;
    for (int entered = 0; entered < 2; entered++) {
        static struct mail mail;
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct mail_job jobs[THREADS + 1];
        worker *workers[THREADS];
        size_t freed = 0;

        memset(&mail, 0, sizeof(mail));
        for (size_t i = 0; i <= THREADS; i++) {
            jobs[i] = (struct mail_job){.mail = &mail, .runtime = runtime, .seed = i};
        }
        start_all(workers, free_mail, jobs, sizeof(jobs[0]));
        assert_ok(entered ? jsrtmem_enter(runtime) : JsNoError);
        size_t sent = send_mail(&mail, runtime, 30000);
        assert_ok(entered ? jsrtmem_leave(runtime) : JsNoError);
        atomic_store(&mail.stop, true);
        stop_all(workers);
        for (size_t i = 0; i < MAIL_SLOTS; i++) {
            take_mail(&jobs[THREADS], i);
        }
        for (size_t i = 0; i <= THREADS; i++) {
            assert_int_equal(jobs[i].broken, 0);
            assert_int_equal(jobs[i].failed, 0);
            freed += jobs[i].freed;
        }
        assert_int_equal(sent, 30000);
        assert_int_equal(freed, sent);
        check_empty(runtime);
        assert_balanced(&host);
        dispose(runtime);
    }
}

/* ---- races ---------------------------------------------------------------------------------- */

struct free_race {
    gate *go;
    void **objects;
    size_t count;
    size_t good, refused, odd;
};

static void free_all(void *argument)
{
    struct free_race *self = argument;

    gate_wait(self->go);
    for (size_t i = 0; i < self->count; i++) {
        JsErrorCode code = jsrtmem_free(self->objects[i]);

        self->good += code == JsNoError;
        self->refused += code == JsErrorInvalidArgument;
        self->odd += code != JsNoError && code != JsErrorInvalidArgument;
    }
}

/* Four threads free the same objects. Of each object, one free counts. */
static void the_same_objects_freed_by_all_threads_at_once(void **state)
{
    enum { OBJECTS = 1000 };
    static void *objects[OBJECTS];

    (void)state;
    for (size_t round = 0; round < 20; round++) {
        JsRuntimeHandle runtime = new_runtime();
        struct free_race jobs[THREADS];
        worker *workers[THREADS];
        gate *go = gate_new();
        size_t good = 0;

        for (size_t i = 0; i < OBJECTS; i++) {
            objects[i] = new_object(runtime, i * 37 % 3000);
        }
        assert_ok(round % 2 ? jsrtmem_enter(runtime) : JsNoError);
        for (size_t i = 0; i < THREADS; i++) {
            jobs[i] = (struct free_race){.go = go, .objects = objects, .count = OBJECTS};
        }
        start_all(workers, free_all, jobs, sizeof(jobs[0]));
        gate_open(go);
        stop_all(workers);
        assert_ok(round % 2 ? jsrtmem_leave(runtime) : JsNoError);
        assert_ok(JsCollectGarbage(runtime));
        jsrtmem_stats stats = stats_of(runtime);
        for (size_t i = 0; i < THREADS; i++) {
            assert_int_equal(jobs[i].odd, 0);
            good += jobs[i].good;
        }
        assert_int_equal(stats.live_objects, 0);
        assert_int_equal(stats.usage, 0);
        /* If the main thread has entered, all frees are queued, and each surplus one is counted as
         * a misuse. */
        size_t seen = good - (size_t)stats.misuses;
        require(round % 2 ? seen == OBJECTS : seen >= OBJECTS,
                "%zu frees were accepted, %zu counted as misuse", good, (size_t)stats.misuses);
        dispose(runtime);
        gate_delete(go);
    }
}

/* Frees race with the dispose of their runtime. Each comes before it or is refused. */
static void frees_race_with_dispose(void **state)
{
    enum { OBJECTS = 200 };
    static void *objects[OBJECTS];
    worker *other = worker_start();

    (void)state;
    for (size_t round = 0; round < 200; round++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct free_race job = {.go = gate_new(), .objects = objects, .count = OBJECTS};
        JsErrorCode code = JsErrorRuntimeInUse;

        for (size_t i = 0; i < OBJECTS; i++) {
            objects[i] = new_object(runtime, i % 20 == 0 ? MIB(1) : 100);
        }
        worker_post(other, free_all, &job);
        gate_open(job.go);
        while (code == JsErrorRuntimeInUse) {
            code = JsDisposeRuntime(runtime);
        }
        worker_wait(other);
        assert_ok(code);
        assert_int_equal(job.odd, 0);
        assert_int_equal(job.good + job.refused, OBJECTS);
        assert_all_freed(&host);
        gate_delete(job.go);
    }
    worker_stop(other);
}

struct probe {
    gate *started;
    atomic_bool stop;
    _Atomic(char *) around;
    size_t probes, odd;
};

static void probe_addresses(void *argument)
{
    struct probe *self = argument;
    struct random random = random_seeded(8);
    JsRuntimeHandle owner;

    while (!atomic_load(&self->stop)) {
        char *at = atomic_load(&self->around) + random_below(&random, MIB(4));
        JsErrorCode code = jsrtmem_runtime_of(at, &owner);

        self->odd += code != JsNoError && code != JsErrorInvalidArgument;
        self->odd += jsrtmem_usable_size(at) > MIB(2);
        if (self->probes++ == 0) {
            gate_open(self->started);
        }
    }
}

/* Queries about addresses whose blocks come and go meanwhile get one of the valid answers. */
static void questions_race_with_blocks_that_come_and_go(void **state)
{
    static struct probe probe;
    worker *other = worker_start();
    struct random random = random_seeded(9);

    (void)state;
    JsRuntimeHandle keeper = new_runtime();
    atomic_store(&probe.around, (char *)new_object(keeper, 100) - MIB(2));
    probe.started = gate_new();
    worker_post(other, probe_addresses, &probe);
    gate_wait(probe.started);
    for (size_t round = 0; round < 300; round++) {
        JsRuntimeHandle runtime = new_runtime();

        for (size_t i = 0; i < 20; i++) {
            char *object = new_object(runtime, random_size(&random, 20));

            atomic_store(&probe.around, object - MIB(1));
            if (i % 2 == 0) {
                assert_ok(jsrtmem_free(object));
            }
        }
        dispose(runtime);
    }
    atomic_store(&probe.stop, true);
    worker_stop(other);
    assert_int_equal(probe.odd, 0);
    dispose(keeper);
    gate_delete(probe.started);
}

struct cycle {
    size_t seed, failed;
};

static void create_and_dispose(void *argument)
{
    struct cycle *self = argument;

    for (size_t i = 0; i < 2000; i++) {
        JsRuntimeHandle runtime = NULL;
        size_t usage = 0;

        self->failed += JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError;
        unsigned char *object = jsrtmem_calloc(runtime, 1, 100 + i % 5000);
        if (object == NULL || !bytes_are(object, 100, 0)) {
            self->failed++;
            return;
        }
        memset(object, 0x5a, 100);
        self->failed += JsGetRuntimeMemoryUsage(runtime, &usage) != JsNoError || usage == 0;
        self->failed += JsDisposeRuntime(runtime) != JsNoError;
        self->failed += JsDisposeRuntime(runtime) != JsErrorInvalidArgument;
    }
}

static void runtimes_are_made_and_disposed_by_all_threads(void **state)
{
    struct cycle jobs[THREADS] = {{0, 0}, {1, 0}, {2, 0}, {3, 0}};
    worker *workers[THREADS];
    size_t before = process_stats().runtimes;

    (void)state;
    start_all(workers, create_and_dispose, jobs, sizeof(jobs[0]));
    stop_all(workers);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(jobs[i].failed, 0);
    }
    assert_int_equal(process_stats().runtimes, before);
}

static void many_short_threads(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    for (size_t i = 0; i < 200; i++) {
        struct churn job = {.runtime = runtime, .seed = i, .operations = 200};
        worker *other = worker_start();

        worker_run(other, churn, &job);
        worker_stop(other);
        assert_int_equal(job.refused + job.broken + job.failed, 0);
    }
    check_empty(runtime);
    assert_balanced(&host);
    dispose(runtime);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(current_is_what_was_entered_last),
        cmocka_unit_test(enter_keeps_other_threads_out),
        cmocka_unit_test(leave_undoes_the_innermost_enter_only),
        cmocka_unit_test(a_runtime_entered_below_stays_current),
        cmocka_unit_test(enters_nest_deep),
        cmocka_unit_test(thread_exit_leaves_all_that_was_entered),
        cmocka_unit_test(thread_exit_takes_queued_frees_along),
        cmocka_unit_test(several_threads_call_without_entering),
        cmocka_unit_test(enter_waits_for_calls_that_did_not_enter),
        cmocka_unit_test(objects_are_freed_by_other_threads),
        cmocka_unit_test(the_same_objects_freed_by_all_threads_at_once),
        cmocka_unit_test(frees_race_with_dispose),
        cmocka_unit_test(questions_race_with_blocks_that_come_and_go),
        cmocka_unit_test(runtimes_are_made_and_disposed_by_all_threads),
        cmocka_unit_test(many_short_threads),
    };

    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
