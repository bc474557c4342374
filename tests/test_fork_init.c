/*
 * A fork waits while another thread is inside the first call of the library. While a fork is under
 * way no thread begins that first call. A fork before the first call prepares nothing.
 */
#include "support/child.h"
#include "support/fake_os.h"
#include "support/unit.h"
#include "support/worker.h"

#include <pthread.h>

#include "jsrtmem.h"
#include "os.h"
#include "process.h"
#include "region.h"
#include "runtime.h"

static struct {
    gate *inside, *go_on;
    bool is_ready;
} first;

/* Stops the first call in the middle, where it reserves the region. */
static void hold_up_region(void *context, enum fake_function function, size_t nth)
{
    (void)context;
    (void)nth;
    if (function == FAKE_RESERVE) {
        fake_os_watch(NULL, NULL);
        gate_open(first.inside);
        gate_wait(first.go_on);
    }
}

static void begin(void *unused)
{
    (void)unused;
    first.is_ready = jm_process_init();
}

static int use(void *unused)
{
    JsRuntimeHandle runtime;
    (void)unused;
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    void *object = jsrtmem_alloc(runtime, MIB(1));
    CHILD_CHECK(object != NULL && jsrtmem_free(object) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return 0;
}

static int use_and_fork(void *unused)
{
    CHILD_CHECK(use(unused) == 0);
    CHILD_CHECK(child_run(use, unused) == 0);
    return use(unused);
}

static void go_on_later(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 200; i++) {
        jm_os_pause(i);
    }
    gate_open(first.go_on);
}

/* The child has what the parent's first call created. */
static int use_what_was_made(void *unused)
{
    CHILD_CHECK(jm_load_relaxed(&jm_region.granules) == 0);
    CHILD_CHECK(jm_region_headers() != NULL || sizeof(void *) < 8);
    return use_and_fork(unused);
}

/* Each case runs in a process of its own, which has not called the library before. */
static int fork_during_first_call(void *unused)
{
    worker *other = worker_start();
    worker *third = worker_start();
    first.inside = gate_new();
    first.go_on = gate_new();
    fake_os_watch(hold_up_region, NULL);
    worker_post(other, begin, NULL);
    gate_wait(first.inside);
    worker_post(third, go_on_later, NULL);
    CHILD_CHECK(child_run(use_what_was_made, unused) == 0);
    CHILD_CHECK(gate_is_open(first.go_on));
    worker_stop(other);
    worker_stop(third);
    gate_delete(first.inside);
    gate_delete(first.go_on);
    CHILD_CHECK(first.is_ready);
    return use_and_fork(unused);
}

static void a_fork_waits_for_the_first_call(void **state)
{
    (void)state;
    assert_int_equal(child_run(fork_during_first_call, NULL), 0);
}

/* The other thread's first call comes before, during or after any of the forks. */
static int begin_among_forks(void *unused)
{
    worker *other = worker_start();
    worker_post(other, begin, NULL);
    for (int i = 0; i < 4; i++) {
        CHILD_CHECK(child_run(use_and_fork, unused) == 0);
    }
    worker_stop(other);
    CHILD_CHECK(first.is_ready);
    return use_and_fork(unused);
}

static void a_first_call_and_forks_do_not_meet(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(child_run(begin_among_forks, NULL), 0);
    }
}

static int is_not_prepared(void *unused)
{
    (void)unused;
    CHILD_CHECK(jm_thread.id == 0);
    CHILD_CHECK(jm_region_headers() == NULL);
    return 0;
}

static int fork_and_begin(void *unused)
{
    CHILD_CHECK(child_run(is_not_prepared, unused) == 0);
    CHILD_CHECK(is_not_prepared(unused) == 0);
    CHILD_CHECK(child_run(use_and_fork, unused) == 0);
    return use_and_fork(unused);
}

static void a_fork_before_the_first_call_prepares_nothing(void **state)
{
    (void)state;
    assert_int_equal(child_run(fork_and_begin, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fork_waits_for_the_first_call),
        cmocka_unit_test(a_first_call_and_forks_do_not_meet),
        cmocka_unit_test(a_fork_before_the_first_call_prepares_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
