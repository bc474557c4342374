/*
 * What fork leaves behind, from inside: the ids, locks and calls of threads that do not exist in
 * the child.
 */
#include "support/child.h"
#include "support/unit.h"
#include "support/worker.h"

#include "header.h"
#include "hook.h"
#include "jsrtmem.h"
#include "os.h"
#include "os_deferred.h"
#include "pagemap.h"
#include "process.h"
#include "region.h"
#include "reserve.h"
#include "runtime.h"
#include "shelf.h"
#include "spares.h"
#include "thread.h"

static _Atomic(uint32_t) nobody; /* the tag of a slot that is never given back */

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

static uintptr_t here(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}

static void nothing(void)
{
}

static void note_id(void *argument)
{
    (void)jm_thread_ready();
    *(jm_thread_id *)argument = jm_thread.id;
}

static int ids_in_child(void *argument)
{
    const jm_thread_id *ids = argument; /* of this thread, and of one that only the parent has */
    CHILD_CHECK(jm_thread.id == ids[0]);
    CHILD_CHECK(!jm_thread_is_gone(ids[0]));
    CHILD_CHECK(jm_thread_is_gone(ids[1]));
    jm_thread_reset(); /* as a new thread would: this process's ids continue */
    CHILD_CHECK(jm_thread_ready());
    jm_thread_id later = jm_thread.id;
    CHILD_CHECK(later != ids[0] && later != ids[1] && !jm_thread_is_gone(later));
    return 0;
}

/* In each of many generations, the process differs from its ancestors by its count of forks. */
static int be_a_late_child(void *unused)
{
    const uint16_t forks = jm_thread_forks();
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        jm_thread_forked();
        CHILD_CHECK(jm_thread_forks() != forks);
    }
    return 0;
}

static void a_late_child_takes_itself_for_no_parent(void **state)
{
    (void)state;
    assert_int_equal(child_run(be_a_late_child, NULL), 0);
}

static void a_forked_child_knows_who_is_gone(void **state)
{
    jm_thread_id ids[2] = {jm_thread.id, 0};
    worker *other = worker_start();

    (void)state;
    worker_run(other, note_id, &ids[1]);
    assert_int_equal(child_run(ids_in_child, ids), 0);
    assert_false(jm_thread_is_gone(ids[1]));
    worker_stop(other);
}

static void take_lock(void *argument)
{
    (void)jm_thread_ready();
    jm_lock_take(argument);
}

static void drop_lock(void *argument)
{
    jm_lock_drop(argument);
}

static int take_lock_in_child(void *argument)
{
    struct jm_lock *lock = argument;
    CHILD_CHECK(jm_load_relaxed(&lock->owner) != jm_thread.id);
    jm_lock_take(lock); /* a hung child is killed */
    CHILD_CHECK(jm_load_relaxed(&lock->owner) == jm_thread.id);
    jm_lock_drop(lock);
    return 0;
}

static void a_forked_child_takes_over_a_lock(void **state)
{
    static struct jm_lock lock;
    worker *other = worker_start();

    (void)state;
    worker_run(other, take_lock, &lock);
    assert_int_equal(child_run(take_lock_in_child, &lock), 0);
    worker_run(other, drop_lock, &lock);
    jm_lock_take(&lock);
    jm_lock_drop(&lock);
    worker_stop(other);
}

static void begin_and_stay(void *argument)
{
    struct jm_pair pair;
    (void)jm_thread_ready();
    (void)jm_hook_begin(argument, &pair, here());
}

static void end_stay(void *argument)
{
    (void)argument;
    jm_hook_end_innermost();
}

static int quiesce_in_child(void *argument)
{
    struct jm_hook *hook = argument;
    CHILD_CHECK(jm_load_relaxed(&hook->phase) % 2 == 1);
    jm_hook_set(hook, NULL, NULL);
    jm_hook_quiesce(hook, &nobody, 0); /* a hung child is killed */
    jm_hook_forget(hook);
    CHILD_CHECK(jm_load_relaxed(&hook->phase) % 2 == 0);
    return 0;
}

static void quiesce_does_not_wait_for_a_thread_that_a_fork_left_behind(void **state)
{
    static struct jm_hook hook;
    worker *other = worker_start();

    (void)state;
    jm_hook_set(&hook, nothing, NULL);
    worker_run(other, begin_and_stay, &hook);
    assert_int_equal(child_run(quiesce_in_child, &hook), 0);
    worker_run(other, end_stay, &hook);
    jm_hook_quiesce(&hook, &nobody, 0);
    worker_stop(other);
}

/* The wait ends once the hook's former runtime is gone, even if another one's call is in
 * progress. */
static void quiesce_does_not_wait_for_another_runtime(void **state)
{
    static struct jm_hook hook;
    worker *other = worker_start();

    (void)state;
    jm_hook_set(&hook, nothing, NULL);
    worker_run(other, begin_and_stay, &hook);
    jm_hook_quiesce(&hook, &nobody, 1); /* a hung test is killed */
    assert_int_equal(jm_load_relaxed(&hook.phase) % 2, 1);
    worker_run(other, end_stay, &hook);
    worker_stop(other);
}

static void begin_charge_and_stay(void *argument)
{
    struct jm_quota *quota = &jm_runtime_at(jm_runtime_find(argument))->heap.supply.quota;
    struct jm_pair pair;
    require(jsrtmem_enter(argument) == JsNoError, "it is entered");
    require(jm_hook_begin(&quota->hook, &pair, here()), "its callback is called");
    (void)jm_quota_begin_charge(quota, 4096);
}

static void end_charge_and_leave(void *argument)
{
    struct jm_quota *quota = &jm_runtime_at(jm_runtime_find(argument))->heap.supply.quota;
    jm_quota_end_charge(quota, 0);
    jm_hook_end_innermost();
    require(jsrtmem_leave(argument) == JsNoError, "it is left");
}

static int lower_limit_in_child(void *runtime)
{
    const struct jm_runtime *record = jm_runtime_at(jm_runtime_find(runtime));
    CHILD_CHECK(jm_load_relaxed(&record->heap.supply.quota.charging) % 2 == 1);
    CHILD_CHECK(JsSetRuntimeMemoryLimit(runtime, 1) == JsNoError); /* a hung child is killed */
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    CHILD_CHECK(jm_load_relaxed(&record->heap.supply.quota.charging) % 2 == 0);
    CHILD_CHECK(jm_load_relaxed(&record->heap.supply.quota.hook.phase) % 2 == 0);
    return 0;
}

static void nobody_waits_for_a_charge_that_a_fork_left_behind(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime;

    (void)state;
    assert_int_equal(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime), JsNoError);
    jm_hook_set(&jm_runtime_at(jm_runtime_find(runtime))->heap.supply.quota.hook, nothing, NULL);
    worker_run(other, begin_charge_and_stay, runtime);
    assert_int_equal(child_run(lower_limit_in_child, runtime), 0);
    worker_run(other, end_charge_and_leave, runtime);
    assert_int_equal(JsDisposeRuntime(runtime), JsNoError);
    worker_stop(other);
}

static _Atomic(uint32_t) *reader;

static void enter(void *unused)
{
    (void)unused;
    (void)jm_thread_ready();
    reader = jm_pagemap_enter();
}

static void leave(void *unused)
{
    (void)unused;
    jm_pagemap_leave(reader);
}

static int wait_in_child(void *unused)
{
    (void)unused;
    CHILD_CHECK(jm_pagemap_is_quiet());
    CHILD_CHECK(jm_pagemap_wait(jm_pagemap_since(), 110));
    return 0;
}

static void a_child_does_not_wait_for_readers_that_a_fork_left_behind(void **state)
{
    worker *other = worker_start();

    (void)state;
    worker_run(other, enter, NULL);
    assert_int_equal(child_run(wait_in_child, NULL), 0);
    assert_false(jm_pagemap_is_quiet());
    worker_run(other, leave, NULL);
    assert_true(jm_pagemap_is_quiet());
    worker_stop(other);
}

/* Threads that take new slots all the time: at most forks, one of them holds the lock for that. */
#define FORKS 50
#define NEW_SLOTS 400000
static struct {
    _Atomic(bool) stop;
    _Atomic(size_t) faults;
    _Atomic(uint8_t) taken[2 * NEW_SLOTS + 1]; /* by index; one is left in the list */
} growth;

static void take_new_slots(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    for (int i = 0; i < NEW_SLOTS && !jm_load_relaxed(&growth.stop); i++) {
        struct jm_slot *slot = jm_registry_take(JM_KIND_CONTEXT);
        bool is_mine = slot != NULL && slot->index < sizeof(growth.taken) &&
                       atomic_exchange(&growth.taken[slot->index], 1) == 0;
        atomic_fetch_add(&growth.faults, !is_mine);
    }
}

static int take_new_slot_in_child(void *argument)
{
    (void)argument;
    CHILD_CHECK(jm_registry_take(JM_KIND_CONTEXT) != NULL); /* a hung child is killed */
    return 0;
}

static void forks_while_slots_are_added_lose_none(void **state)
{
    worker *others[2] = {worker_start(), worker_start()};
    int result = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        worker_post(others[i], take_new_slots, NULL);
    }
    for (int i = 0; i < FORKS && result == 0; i++) {
        result = child_run(take_new_slot_in_child, NULL);
    }
    jm_store_relaxed(&growth.stop, true);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        worker_stop(others[i]);
    }
    assert_int_equal(result, 0);
    assert_int_equal(jm_load_relaxed(&growth.faults), 0);
}

/* A thread that creates and disposes runtimes: at most forks, it moves a block from or to its
 * shelf. */
static void serve_requests(void *argument)
{
    _Atomic(bool) *stop = argument;
    while (!jm_load_relaxed(stop)) {
        JsRuntimeHandle runtime;
        void *object = NULL;
        bool served = JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError;
        object = served ? jsrtmem_alloc(runtime, 100) : NULL;
        served = served && object != NULL && JsDisposeRuntime(runtime) == JsNoError;
        atomic_fetch_add(&growth.faults, !served);
    }
}

static int drain_in_child(void *argument)
{
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    (void)argument;
    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    CHILD_CHECK(stats.reserve == 0);
    return 0;
}

static void forks_while_blocks_come_and_go_lose_none(void **state)
{
    _Atomic(bool) stop = false;
    worker *others[2] = {worker_start(), worker_start()};
    int result = 0;

    (void)state;
    jm_store_relaxed(&growth.faults, 0);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        worker_post(others[i], serve_requests, (void *)&stop);
    }
    for (int i = 0; i < 4 * FORKS && result == 0; i++) {
        result = child_run(drain_in_child, NULL);
    }
    jm_store_relaxed(&stop, true);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        worker_stop(others[i]);
    }
    assert_int_equal(result, 0);
    assert_int_equal(jm_load_relaxed(&growth.faults), 0);
}

/* Each set of locks that a fork must not find held, and the file that it belongs to. */
static const struct {
    const char *file;
    void (*for_locks)(jm_lock_step *step);
} sets_of_locks[] = {
    {"runtime.c", jm_runtime_for_locks},         {"registry.c", jm_registry_for_locks},
    {"reserve.c", jm_reserve_for_locks},         {"shelf.c", jm_shelf_for_locks},
    {"spares.c", jm_spares_for_locks},           {"header.c", jm_header_for_locks},
    {"region.c", jm_region_for_locks},           {"pagemap.c", jm_pagemap_for_locks},
    {"os_deferred.c", jm_os_deferred_for_locks},
};

static int do_nothing(void *unused)
{
    (void)unused;
    return 0;
}

static void fork_once(void *result)
{
    *(int *)result = jm_thread_ready() ? child_run(do_nothing, NULL) : -1;
}

static void take_locks(void *set)
{
    (void)jm_thread_ready();
    sets_of_locks[*(size_t *)set].for_locks(jm_lock_take);
}

static void drop_locks(void *set)
{
    sets_of_locks[*(size_t *)set].for_locks(jm_lock_drop);
}

static void a_fork_waits_for_each_lock(void **state)
{
    worker *holder = worker_start(), *forker = worker_start();
    (void)state;
    for (size_t set = 0; set < COUNT_OF(sets_of_locks); set++) {
        int result = -1;
        worker_run(holder, take_locks, &set);
        worker_post(forker, fork_once, &result);
        for (unsigned attempt = 0; attempt < JM_PAUSE_AWAKE + 40; attempt++) {
            jm_os_pause(attempt);
            require(worker_is_busy(forker), "a fork came while locks of %s were held",
                    sets_of_locks[set].file);
        }
        worker_run(holder, drop_locks, &set);
        worker_wait(forker);
        assert_int_equal(result, 0);
    }
    worker_stop(holder);
    worker_stop(forker);
}

/* An extent that the OS refused to take back, and takes now, while another thread forks. */
static struct {
    gate *inside;
    size_t unmapped;
} deferred;

static bool unmap(const struct jm_os_extent *extent)
{
    (void)extent;
    deferred.unmapped++;
    return true;
}

static bool unmap_slowly(const struct jm_os_extent *extent)
{
    bool done = unmap(extent);
    gate_open(deferred.inside);
    for (unsigned i = 0; i < 150; i++) {
        jm_os_pause(i);
    }
    return done;
}

static void retry_slowly(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    (void)jm_os_deferred_retry(unmap_slowly);
}

static int retry_in_child(void *argument)
{
    (void)argument;
    CHILD_CHECK(deferred.unmapped == 1 && jm_os_deferred_retry(unmap));
    CHILD_CHECK(deferred.unmapped == 1);
    return 0;
}

static void what_is_unmapped_while_a_fork_comes_is_not_unmapped_again(void **state)
{
    worker *other = worker_start();

    (void)state;
    deferred.inside = gate_new();
    jm_os_deferred_keep(&(struct jm_os_extent){&deferred, 1});
    worker_post(other, retry_slowly, NULL);
    gate_wait(deferred.inside);
    assert_int_equal(child_run(retry_in_child, NULL), 0);
    worker_stop(other);
    gate_delete(deferred.inside);
    assert_int_equal(deferred.unmapped, 1);
}

static int collect_in_child(void *runtime)
{
    size_t usage = 1;
    CHILD_CHECK(JsCollectGarbage(runtime) == JsNoError);
    CHILD_CHECK(JsGetRuntimeMemoryUsage(runtime, &usage) == JsNoError && usage == 0);
    return 0;
}

/* A thread had queued two objects but not yet marked anything else when the fork left it behind. */
static void what_a_thread_left_unmarked_is_taken_in(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    void *object = new_object(runtime, 100);
    void *large = new_object(runtime, MIB(1));
    assert_ok(JsCollectGarbage(runtime)); /* free pages go, so that the next one finds none */
    const struct jm_block *block = jm_block_of(object);
    jm_state *place = &block->map[jm_granule_of(block, object)];
    jm_store_relaxed(place, jm_queued_state(jm_state_class(jm_load_relaxed(place))));
    jm_store_relaxed(&jm_block_of(large)->state, JM_LARGE_QUEUED);
    assert_int_equal(child_run(collect_in_child, runtime), 0);
    size_t usage = usage_of(runtime);
    assert_ok(JsCollectGarbage(runtime)); /* here the thread exists, and will mark them */
    assert_int_equal(usage_of(runtime), usage);
    dispose(runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_child_takes_itself_for_no_parent),
        cmocka_unit_test(a_forked_child_knows_who_is_gone),
        cmocka_unit_test(a_forked_child_takes_over_a_lock),
        cmocka_unit_test(quiesce_does_not_wait_for_a_thread_that_a_fork_left_behind),
        cmocka_unit_test(quiesce_does_not_wait_for_another_runtime),
        cmocka_unit_test(nobody_waits_for_a_charge_that_a_fork_left_behind),
        cmocka_unit_test(a_child_does_not_wait_for_readers_that_a_fork_left_behind),
        cmocka_unit_test(forks_while_slots_are_added_lose_none),
        cmocka_unit_test(forks_while_blocks_come_and_go_lose_none),
        cmocka_unit_test(a_fork_waits_for_each_lock),
        cmocka_unit_test(what_is_unmapped_while_a_fork_comes_is_not_unmapped_again),
        cmocka_unit_test(what_a_thread_left_unmarked_is_taken_in),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
