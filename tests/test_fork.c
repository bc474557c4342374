/*
 * After fork the child uses every runtime that no other thread had current or was inside of,
 * creates new ones, and disposes all.
 */
#include "support/calls.h"
#include "support/child.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OBJECTS 200

/* What the parent had at the fork. */
struct family {
    JsRuntimeHandle idle;    /* used by no thread */
    JsRuntimeHandle entered; /* entered by the thread that forks */
    JsRuntimeHandle taken;   /* entered by another thread, or null */
    JsContextRef context;    /* of the idle runtime */
    unsigned char *objects[OBJECTS];
};

static int use_new_runtime(void)
{
    JsRuntimeHandle runtime = NULL;

    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    for (size_t size = 1; size < MIB(8); size *= 3) {
        void *object = jsrtmem_calloc(runtime, 1, size);

        CHILD_CHECK(object != NULL && bytes_are(object, size, 0));
        CHILD_CHECK(jsrtmem_free(object) == JsNoError);
        CHILD_CHECK(jsrtmem_alloc(runtime, size) != NULL);
    }
    CHILD_CHECK(JsCollectGarbage(runtime) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return 0;
}

static int use_idle_runtime(struct family *family)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    JsRuntimeHandle owner = NULL;

    for (size_t i = 0; i < OBJECTS; i++) {
        CHILD_CHECK(pattern_holds(family->objects[i], 100 + i, i));
        CHILD_CHECK(jsrtmem_runtime_of(family->objects[i], &owner) == JsNoError);
        CHILD_CHECK(owner == family->idle);
        CHILD_CHECK(i % 2 == 0 || jsrtmem_free(family->objects[i]) == JsNoError);
    }
    CHILD_CHECK(jsrtmem_alloc(family->idle, MIB(2)) != NULL);
    CHILD_CHECK(jsrtmem_get_stats(family->idle, &stats) == JsNoError);
    CHILD_CHECK(stats.live_objects == OBJECTS / 2 + 1);
    return 0;
}

static int use_in_child(void *argument)
{
    struct family *family = argument;
    jsrtmem_process_stats process = {.struct_size = sizeof(process)};

    CHILD_CHECK(use_new_runtime() == 0);
    CHILD_CHECK(use_idle_runtime(family) == 0);
    CHILD_CHECK(JsDisposeRuntime(family->entered) == JsErrorRuntimeInUse);
    void *object = jsrtmem_alloc(family->entered, 1000);
    CHILD_CHECK(object != NULL);
    CHILD_CHECK(jsrtmem_free(object) == JsNoError);
    CHILD_CHECK(jsrtmem_leave(family->entered) == JsNoError);
    CHILD_CHECK(JsSetCurrentContext(family->context) == JsNoError);
    CHILD_CHECK(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(family->entered) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(family->idle) == JsNoError);
    CHILD_CHECK(family->taken == NULL || JsDisposeRuntime(family->taken) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&process) == JsNoError);
    CHILD_CHECK(process.runtimes == 0 && process.usage == 0);
    return 0;
}

static void start_family(struct family *family)
{
    memset(family, 0, sizeof(*family));
    family->idle = new_runtime();
    family->entered = new_runtime();
    family->context = new_context(family->idle);
    for (size_t i = 0; i < OBJECTS; i++) {
        family->objects[i] = new_object(family->idle, 100 + i);
        pattern_fill(family->objects[i], 100 + i, i);
    }
    assert_ok(jsrtmem_enter(family->entered));
}

/* Checks that nothing changed for the parent. */
static void end_family(struct family *family)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_true(pattern_holds(family->objects[i], 100 + i, i));
        assert_ok(jsrtmem_free(family->objects[i]));
    }
    assert_int_equal(stats_of(family->idle).live_objects, 0);
    assert_ok(jsrtmem_leave(family->entered));
    dispose(family->idle);
    dispose(family->entered);
}

static void a_child_uses_and_disposes_what_its_thread_could_use(void **state)
{
    struct family family;

    (void)state;
    start_family(&family);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(child_run(use_in_child, &family), 0);
    }
    end_family(&family);
}

static void a_child_disposes_what_another_thread_had_entered(void **state)
{
    worker *other = worker_start();
    struct family family;

    (void)state;
    start_family(&family);
    family.taken = new_runtime();
    assert_ok(worker_do(other, call_enter, family.taken, NULL));
    assert_ok(worker_do(other, call_alloc, family.taken, NULL));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(child_run(use_in_child, &family), 0);
    }
    assert_code(jsrtmem_enter(family.taken), JsErrorWrongThread);
    assert_ok(worker_do(other, call_leave, family.taken, NULL));
    dispose(family.taken);
    end_family(&family);
    worker_stop(other);
}

static void a_child_disposes_what_another_thread_had_a_context_of(void **state)
{
    worker *other = worker_start();
    struct family family;

    (void)state;
    start_family(&family);
    family.taken = new_runtime();
    assert_ok(worker_do(other, call_set_current, new_context(family.taken), NULL));
    assert_int_equal(child_run(use_in_child, &family), 0);
    worker_stop(other);
    dispose(family.taken);
    end_family(&family);
}

/* ---- forking in the middle of things -------------------------------------------------------- */

struct busy {
    JsRuntimeHandle runtime;
    gate *started;
    atomic_bool stop;
    size_t rounds, failed;
};

static void be_busy(void *argument)
{
    struct busy *self = argument;
    struct random random = random_seeded(4);

    while (!atomic_load(&self->stop)) {
        JsRuntimeHandle fresh = NULL;
        void *object = jsrtmem_alloc(self->runtime, random_size(&random, 19));

        self->failed += object == NULL || jsrtmem_free(object) != JsNoError;
        self->failed += JsCreateRuntime(JsRuntimeAttributeNone, NULL, &fresh) != JsNoError;
        self->failed += jsrtmem_alloc(fresh, random_size(&random, 17)) == NULL;
        self->failed += JsDisposeRuntime(fresh) != JsNoError;
        self->failed += jsrtmem_set_reserve_limit(MIB(1) + random_below(&random, MIB(1))) != 0;
        if (self->rounds++ == 100) {
            gate_open(self->started);
        }
    }
}

static int use_beside_the_busy(void *argument)
{
    struct busy *busy = argument;

    CHILD_CHECK(use_new_runtime() == 0);
    CHILD_CHECK(JsDisposeRuntime(busy->runtime) == JsNoError);
    CHILD_CHECK(use_new_runtime() == 0);
    return 0;
}

static void a_child_of_a_busy_process_works(void **state)
{
    static struct busy busy;
    worker *other = worker_start();
    int result = 0;

    (void)state;
    memset(&busy, 0, sizeof(busy));
    busy.runtime = new_runtime();
    busy.started = gate_new();
    worker_post(other, be_busy, &busy);
    gate_wait(busy.started);
    /* An emulator takes half a second for a child. */
    int children = getenv("JSRTMEM_EMULATOR") != NULL ? 10 : 100;
    for (int i = 0; i < children && result == 0; i++) {
        result = child_run(use_beside_the_busy, &busy);
    }
    atomic_store(&busy.stop, true);
    worker_stop(other);
    assert_int_equal(result, 0);
    assert_int_equal(busy.failed, 0);
    dispose(busy.runtime);
    assert_ok(jsrtmem_set_reserve_limit(MIB(32)));
    gate_delete(busy.started);
}

/* A callback that stays inside while another thread forks. */
struct asked {
    JsRuntimeHandle runtime;
    gate *inside, *leave;
    void *object;
};

static bool CHAKRA_CALLBACK stay_inside(void *state, JsMemoryEventType event, size_t size)
{
    struct asked *self = state;

    (void)event, (void)size;
    gate_open(self->inside);
    gate_wait(self->leave);
    return true;
}

static void ask_the_host(void *argument)
{
    struct asked *self = argument;

    self->object = jsrtmem_alloc(self->runtime, 100);
}

/* The thread inside the call does not exist in the child: no other thread may continue in its
 * runtime. */
static int use_what_was_in_use(void *argument)
{
    struct asked *asked = argument;
    size_t usage = 1;

    CHILD_CHECK(jsrtmem_alloc(asked->runtime, 100) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_THREAD);
    CHILD_CHECK(JsCollectGarbage(asked->runtime) == JsErrorWrongThread);
    CHILD_CHECK(JsGetRuntimeMemoryUsage(asked->runtime, &usage) == JsNoError && usage == 0);
    CHILD_CHECK(JsDisposeRuntime(asked->runtime) == JsNoError);
    return use_new_runtime();
}

static struct asked new_asked(void)
{
    return (struct asked){new_runtime(), gate_new(), gate_new(), NULL};
}

/* Forks while another thread is inside the callback that `job` leads to. */
static void fork_inside(struct asked *asked, void (*job)(void *), int (*in_child)(void *))
{
    worker *other = worker_start();

    worker_post(other, job, asked);
    gate_wait(asked->inside);
    assert_int_equal(child_run(in_child, asked), 0);
    gate_open(asked->leave);
    worker_stop(other);
}

static void drop_asked(struct asked *asked)
{
    dispose(asked->runtime);
    gate_delete(asked->inside);
    gate_delete(asked->leave);
}

static void a_child_disposes_what_another_thread_was_asked_about(void **state)
{
    struct asked asked = new_asked();

    (void)state;
    assert_ok(JsSetRuntimeMemoryAllocationCallback(asked.runtime, &asked, stay_inside));
    fork_inside(&asked, ask_the_host, use_what_was_in_use);
    assert_non_null(asked.object);
    assert_ok(JsSetRuntimeMemoryAllocationCallback(asked.runtime, NULL, NULL));
    drop_asked(&asked);
}

static void CHAKRA_CALLBACK stay_before_collect(void *state)
{
    struct asked *self = state;

    gate_open(self->inside);
    gate_wait(self->leave);
}

static void collect_in(void *argument)
{
    struct asked *self = argument;

    (void)JsCollectGarbage(self->runtime);
}

static int collections;

static void CHAKRA_CALLBACK count_collection(void *state)
{
    (void)state;
    collections++;
}

/* The same inside a before-collect callback. The next runtime reuses its record. */
static int dispose_and_set_anew(void *argument)
{
    struct asked *asked = argument;
    JsRuntimeHandle runtime;

    CHILD_CHECK(JsDisposeRuntime(asked->runtime) == JsNoError);
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    CHILD_CHECK(JsSetRuntimeBeforeCollectCallback(runtime, NULL, count_collection) == JsNoError);
    CHILD_CHECK(JsCollectGarbage(runtime) == JsNoError && collections == 1);
    CHILD_CHECK(JsSetRuntimeBeforeCollectCallback(runtime, NULL, NULL) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return use_new_runtime();
}

static void a_child_disposes_what_another_thread_was_collecting(void **state)
{
    struct asked asked = new_asked();

    (void)state;
    assert_ok(JsSetRuntimeBeforeCollectCallback(asked.runtime, &asked, stay_before_collect));
    fork_inside(&asked, collect_in, dispose_and_set_anew);
    drop_asked(&asked);
}

static int fork_again(void *argument)
{
    CHILD_CHECK(use_new_runtime() == 0);
    return child_run(use_in_child, argument);
}

static void a_grandchild_works(void **state)
{
    struct family family;

    (void)state;
    start_family(&family);
    assert_int_equal(child_run(fork_again, &family), 0);
    end_family(&family);
}

static int return_from_the_callback(void *argument)
{
    (void)argument;
    return use_new_runtime();
}

static bool fork_in_callback(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryAllocate && self->calls_of_hook++ == 0) {
        *(int *)self->context = child_run(return_from_the_callback, NULL);
    }
    return true;
}

static void a_child_made_inside_a_callback_works(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    int result = -1;

    (void)state;
    host_set_hook(&host, fork_in_callback, &result);
    assert_non_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_int_equal(result, 0);
    assert_balanced(&host);
    dispose(runtime);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_uses_and_disposes_what_its_thread_could_use),
        cmocka_unit_test(a_child_disposes_what_another_thread_had_entered),
        cmocka_unit_test(a_child_disposes_what_another_thread_had_a_context_of),
        cmocka_unit_test(a_child_of_a_busy_process_works),
        cmocka_unit_test(a_child_disposes_what_another_thread_was_asked_about),
        cmocka_unit_test(a_child_disposes_what_another_thread_was_collecting),
        cmocka_unit_test(a_grandchild_works),
        cmocka_unit_test(a_child_made_inside_a_callback_works),
    };

    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
