/*
 * A fork while another thread is inside the first call of the library: before the library knows of forks, the
 * child begins anew; after, the fork waits until the first call is done. Where it comes to know of forks while
 * one is under way, the child begins anew, too.
 */
#include "support/child.h"
#include "support/fake_os.h"
#include "support/unit.h"
#include "support/worker.h"

#include <pthread.h>

#include "jsrtmem.h"
#include "os.h"
#include "region.h"
#include "runtime.h"

static struct {
    gate *inside, *go_on;
    _Atomic(bool) holds_up_key; /* the first thing that the first call needs of the system */
    worker *begins_in_fork;
    bool is_ready, has_region;
} first;

static void hold_up(void)
{
    gate_open(first.inside);
    gate_wait(first.go_on);
}

/* The linker's --wrap puts it before the libc's. */
int __real_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    if (atomic_exchange(&first.holds_up_key, false)) {
        hold_up();
    }
    return __real_pthread_key_create(key, destructor);
}

/* The region is reserved once forks are known of. */
static void hold_up_region(void *context, enum fake_function function, size_t nth)
{
    (void)context;
    (void)nth;
    if (function == FAKE_RESERVE) {
        fake_os_watch(NULL, NULL);
        hold_up();
    }
}

static void begin(void *argument);

/* What a host does before a fork: meanwhile another thread begins. */
static void before_fork(void)
{
    worker *other = first.begins_in_fork;
    first.begins_in_fork = NULL;
    if (other != NULL) {
        worker_post(other, begin, NULL);
        gate_wait(first.inside);
    }
}

static void begin(void *argument)
{
    (void)argument;
    first.is_ready = jm_runtime_init();
    first.has_region = jm_load_relaxed(&jm_region.base) != NULL;
}

static int use(void *has_region)
{
    JsRuntimeHandle runtime;
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    CHILD_CHECK(has_region == NULL || jm_load_relaxed(&jm_region.base) != NULL);
    void *object = jsrtmem_alloc(runtime, MIB(1));
    CHILD_CHECK(object != NULL && jsrtmem_free(object) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return 0;
}

static int use_and_fork(void *has_region)
{
    CHILD_CHECK(use(has_region) == 0);
    CHILD_CHECK(child_run(use, has_region) == 0);
    return use(has_region);
}

static void go_on_later(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < 200; i++) {
        jm_os_pause(i);
    }
    gate_open(first.go_on);
}

enum moment { BEFORE_HOOKS, BEHIND_HOOKS, HOOKS_IN_FORK };

/* Each case in a process of its own, which has not called the library. */
static int fork_while(enum moment moment)
{
    worker *other = worker_start();
    worker *third = worker_start();
    first.inside = gate_new();
    first.go_on = gate_new();
    if (moment == BEFORE_HOOKS) {
        atomic_store(&first.holds_up_key, true);
    } else {
        fake_os_watch(hold_up_region, NULL);
    }
    if (moment == HOOKS_IN_FORK) {
        CHILD_CHECK(pthread_atfork(before_fork, NULL, NULL) == 0);
        first.begins_in_fork = other;
    } else {
        worker_post(other, begin, NULL);
        gate_wait(first.inside);
    }
    if (moment == BEHIND_HOOKS) {
        worker_post(third, go_on_later, NULL);
    }
    CHILD_CHECK(child_run(use_and_fork, moment == BEHIND_HOOKS ? &first : NULL) == 0);
    gate_open(first.go_on);
    worker_stop(other);
    worker_stop(third);
    gate_delete(first.inside);
    gate_delete(first.go_on);
    CHILD_CHECK(first.is_ready);
    return use_and_fork(first.has_region ? &first : NULL);
}

static int fork_before(void *unused)
{
    (void)unused;
    return fork_while(BEFORE_HOOKS);
}

static int fork_after(void *unused)
{
    (void)unused;
    return fork_while(BEHIND_HOOKS);
}

static int fork_between(void *unused)
{
    (void)unused;
    return fork_while(HOOKS_IN_FORK);
}

static void a_child_begins_anew_what_another_thread_had_begun(void **state)
{
    (void)state;
    assert_int_equal(child_run(fork_before, NULL), 0);
}

static void a_child_that_inherits_the_hooks_of_what_had_begun_can_fork(void **state)
{
    (void)state;
    assert_int_equal(child_run(fork_between, NULL), 0);
}

static void a_fork_waits_for_the_first_call(void **state)
{
    (void)state;
    assert_int_equal(child_run(fork_after, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_begins_anew_what_another_thread_had_begun),
        cmocka_unit_test(a_fork_waits_for_the_first_call),
        cmocka_unit_test(a_child_that_inherits_the_hooks_of_what_had_begun_can_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
