/*
 * Fork handlers that a host registers while it is running find the library with no lock taken:
 * they may call it, and may take locks under which the host calls it.
 */
#include "support/child.h"
#include "support/unit.h"
#include "support/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "jsrtmem.h"

static struct {
    JsRuntimeHandle runtime, dropped;
    int before, in_parent, in_child; /* successful calls */
    pthread_mutex_t lock;
    _Atomic(bool) stop;
    _Atomic(unsigned) turns;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Makes calls that take the locks of runtimes, of the registry, of the reserve and of the region.
 * Returns how many succeeded. */
static int call_all(void)
{
    JsRuntimeHandle fresh = NULL;
    int right = 0;
    right += JsSetRuntimeMemoryLimit(host.runtime, MIB(64)) == JsNoError;
    right += JsSetRuntimeMemoryAllocationCallback(host.runtime, NULL, NULL) == JsNoError;
    right += JsCreateRuntime(JsRuntimeAttributeNone, NULL, &fresh) == JsNoError;
    void *object = jsrtmem_alloc(fresh, MIB(1));
    right += object != NULL && jsrtmem_free(object) == JsNoError;
    right += jsrtmem_alloc(fresh, 100) != NULL;
    right += JsDisposeRuntime(fresh) == JsNoError;
    right += jsrtmem_set_reserve_limit(MIB(1)) == JsNoError;
    return right;
}
#define ALL_CALLS 7

static void before(void)
{
    host.before = call_all();
}

static void in_parent(void)
{
    host.in_parent = call_all();
}

static void in_child(void)
{
    host.in_child = call_all() + (JsDisposeRuntime(host.dropped) == JsNoError);
}

static int look_in_child(void *unused)
{
    (void)unused;
    CHILD_CHECK(host.in_child == ALL_CALLS + 1);
    return 0;
}

static int call_in_handlers(void *unused)
{
    CHILD_CHECK(pthread_atfork(before, in_parent, in_child) == 0);
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &host.runtime) == JsNoError);
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &host.dropped) == JsNoError);
    CHILD_CHECK(child_run(look_in_child, unused) == 0);
    CHILD_CHECK(host.before == ALL_CALLS && host.in_parent == ALL_CALLS);
    CHILD_CHECK(JsDisposeRuntime(host.dropped) == JsNoError);
    return 0;
}

static void handlers_may_call_the_library(void **state)
{
    (void)state;
    assert_int_equal(child_run(call_in_handlers, NULL), 0);
}

static void take_lock(void)
{
    (void)pthread_mutex_lock(&host.lock);
}

static void drop_lock(void)
{
    (void)pthread_mutex_unlock(&host.lock);
}

static void work_under_lock(void *unused)
{
    (void)unused;
    while (!atomic_load(&host.stop)) {
        take_lock();
        (void)call_all();
        drop_lock();
        atomic_fetch_add(&host.turns, 1);
    }
}

static int work_in_child(void *unused)
{
    (void)unused;
    take_lock(); /* no thread of the child holds it */
    drop_lock();
    return 0;
}

static int lock_in_handlers(void *unused)
{
    worker *other = worker_start();
    CHILD_CHECK(pthread_atfork(take_lock, drop_lock, drop_lock) == 0);
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &host.runtime) == JsNoError);
    worker_post(other, work_under_lock, NULL);
    /* An emulator takes seconds for a child. */
    int children = getenv("JSRTMEM_EMULATOR") != NULL ? 5 : 200;
    for (int i = 0; i < children; i++) {
        CHILD_CHECK(child_run(work_in_child, unused) == 0);
    }
    while (atomic_load(&host.turns) == 0) {
    }
    atomic_store(&host.stop, true);
    worker_stop(other);
    return JsDisposeRuntime(host.runtime) == JsNoError ? 0 : 1;
}

static void handlers_may_take_locks_that_are_held_over_calls(void **state)
{
    (void)state;
    assert_int_equal(child_run(lock_in_handlers, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handlers_may_call_the_library),
        cmocka_unit_test(handlers_may_take_locks_that_are_held_over_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
