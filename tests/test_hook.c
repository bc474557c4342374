/*
 * Hooks: function and state change as one pair, a change waits for a call that may use the old
 * pair, and calls that the host left by a jump are undone in the right order.
 */
#include "support/unit.h"
#include "support/worker.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "hook.h"
#include "process.h"
#include "runtime.h"

static _Atomic(uint32_t) nobody; /* the tag of a slot that is never given back */

static struct jm_hook first_hook, second_hook, third_hook;

/* Replaces the library's: the hooks here belong to no runtime. */
static void leave(void)
{
    jm_hook_end_innermost();
}

static int start(void **state)
{
    (void)state;
    bool ready = jm_process_init() && jm_thread_ready();
    jm_hook_abandon = leave;
    return ready ? 0 : -1;
}

static uintptr_t here(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}

static void nothing(void)
{
}

static void without_a_function_no_call_begins(void **state)
{
    struct jm_pair pair;

    (void)state;
    jm_hook_set(&first_hook, NULL, NULL);
    assert_false(jm_hook_begin(&first_hook, &pair, here()));
    assert_false(jm_hook_is_mine(&first_hook));
    assert_null(jm_thread.calls);
    assert_int_equal(jm_load_relaxed(&first_hook.phase) % 2, 0);
}

static void a_call_is_known_from_begin_to_end(void **state)
{
    struct jm_pair pair;
    int value = 0;

    (void)state;
    jm_hook_set(&first_hook, nothing, &value);
    assert_true(jm_hook_begin(&first_hook, &pair, here()));
    assert_ptr_equal(pair.state, &value);
    assert_true(pair.function == nothing);
    assert_true(jm_hook_is_mine(&first_hook));
    assert_ptr_equal(jm_thread.calls, &first_hook.call);
    assert_int_equal(jm_load_relaxed(&first_hook.phase) % 2, 1);
    assert_true(jm_hook_end(&first_hook, &pair));
    assert_false(jm_hook_is_mine(&first_hook));
    assert_null(jm_thread.calls);
    assert_int_equal(jm_load_relaxed(&first_hook.phase) % 2, 0);
    assert_false(jm_hook_end(&first_hook, &pair)); /* not twice */
}

/* Begins a call of each hook, the second inside the first. */
static void begin_both(struct jm_pair *first, struct jm_pair *second)
{
    jm_hook_set(&first_hook, nothing, NULL);
    jm_hook_set(&second_hook, nothing, NULL);
    assert_true(jm_hook_begin(&first_hook, first, here()));
    assert_true(jm_hook_begin(&second_hook, second, here()));
    assert_ptr_equal(jm_thread.calls, &second_hook.call);
    assert_ptr_equal(second_hook.call.outer, &first_hook.call);
}

static void assert_nobody_inside(void)
{
    assert_null(jm_thread.calls);
    assert_false(jm_hook_is_mine(&first_hook));
    assert_false(jm_hook_is_mine(&second_hook));
    assert_int_equal(jm_load_relaxed(&first_hook.phase) % 2, 0);
    assert_int_equal(jm_load_relaxed(&second_hook.phase) % 2, 0);
}

static void ending_the_outer_call_ends_those_inside(void **state)
{
    struct jm_pair first, second;

    (void)state;
    begin_both(&first, &second);
    assert_true(jm_hook_end(&first_hook, &first)); /* a jump left the inner one */
    assert_nobody_inside();
    assert_false(jm_hook_end(&second_hook, &second));
}

/* Two coroutines of one thread may both wait inside a callback: each ends its own. */
static void calls_of_coroutines_end_in_any_order(void **state)
{
    static char stacks[2][64];
    struct jm_pair first, second;

    (void)state;
    for (int third = 0; third <= 1; third++) {
        struct jm_pair inside;
        begin_both(&first, &second);
        first_hook.call.mark = (uintptr_t)stacks[0];
        second_hook.call.mark = (uintptr_t)stacks[1];
        if (third) { /* and one on the thread's own stack */
            jm_hook_set(&third_hook, nothing, NULL);
            assert_true(jm_hook_begin(&third_hook, &inside, here()));
        }
        assert_true(jm_hook_end(&first_hook, &first));
        assert_false(jm_hook_is_mine(&first_hook));
        assert_true(jm_hook_is_mine(&second_hook));
        assert_true(!third || jm_hook_end(&third_hook, &inside));
        assert_ptr_equal(jm_thread.calls, &second_hook.call);
        assert_null(second_hook.call.outer);
        assert_true(jm_hook_end(&second_hook, &second));
        assert_nobody_inside();
    }
}

static void calls_are_abandoned_from_the_innermost_on(void **state)
{
    struct jm_pair first, second;

    (void)state;
    begin_both(&first, &second);
    jm_hook_end_innermost();
    jm_hook_end_innermost();
    assert_nobody_inside();
    assert_false(jm_hook_end(&second_hook, &second));
    assert_false(jm_hook_end(&first_hook, &first));
    assert_nobody_inside();
}

static void abandoning_the_inner_call_keeps_the_outer(void **state)
{
    struct jm_pair first, second;

    (void)state;
    begin_both(&first, &second);
    jm_hook_end_innermost();
    assert_ptr_equal(jm_thread.calls, &first_hook.call);
    assert_true(jm_hook_is_mine(&first_hook));
    assert_false(jm_hook_end(&second_hook, &second));
    assert_true(jm_hook_end(&first_hook, &first));
    assert_nobody_inside();
}

static void an_abandoned_call_does_not_end_a_later_one(void **state)
{
    struct jm_pair old, later;

    (void)state;
    jm_hook_set(&first_hook, nothing, NULL);
    assert_true(jm_hook_begin(&first_hook, &old, here()));
    jm_hook_end_innermost();
    assert_true(jm_hook_begin(&first_hook, &later, here()));
    assert_false(jm_hook_end(&first_hook, &old));
    assert_true(jm_hook_is_mine(&first_hook));
    assert_true(jm_hook_end(&first_hook, &later));
}

static void a_frame_tells_whether_the_call_was_left(void **state)
{
    struct jm_pair pair;
    uintptr_t mark = here();
    char *elsewhere = malloc(16);

    (void)state;
    assert_non_null(elsewhere);
    jm_hook_set(&first_hook, nothing, NULL);
    assert_true(jm_hook_begin(&first_hook, &pair, mark));
    assert_false(jm_hook_was_left(&first_hook, mark));
    assert_false(jm_hook_was_left(&first_hook, mark - 64));            /* deeper: still inside */
    assert_true(jm_hook_was_left(&first_hook, mark + 64));             /* shallower: left */
    assert_false(jm_hook_was_left(&first_hook, (uintptr_t)elsewhere)); /* another stack */
    assert_false(jm_hook_was_left(&first_hook, UINTPTR_MAX));
    assert_true(jm_hook_end(&first_hook, &pair));
    free(elsewhere);
}

static void forgetting_leaves_a_hook_that_works(void **state)
{
    struct jm_pair pair;

    (void)state;
    jm_hook_set(&second_hook, nothing, NULL);
    /* What a thread leaves that vanishes inside a call while another changes the pair. */
    jm_store_relaxed(&second_hook.call.thread, jm_thread.id + 1000);
    jm_store_relaxed(&second_hook.phase, 7);
    jm_store_relaxed(&second_hook.version, 5);
    jm_hook_forget(&second_hook);
    assert_int_equal(jm_load_relaxed(&second_hook.call.thread), 0);
    assert_int_equal(jm_load_relaxed(&second_hook.phase) % 2, 0);
    assert_int_equal(jm_load_relaxed(&second_hook.version) % 2, 0);
    assert_true(jm_hook_begin(&second_hook, &pair, here()));
    assert_true(jm_hook_end(&second_hook, &pair));
    jm_hook_quiesce(&second_hook, &nobody, 0);
}

/* ---- Threads ---- */

#define PAIRS 8
#define SWAPPERS 2
#define CALLS 20000

/* A state belongs to one function. It is dead once a change of the pair has waited for it. */
struct target {
    unsigned function;
    unsigned payload;        /* nonzero while usable; not atomic, like a host's data */
    _Atomic(unsigned) alive; /* until the thread that replaced it has waited */
};

static struct {
    struct jm_hook hook;
    struct jm_lock lock;
    struct target *current; /* guarded by the lock */
    _Atomic(size_t) faults;
    _Atomic(bool) done;
    _Atomic(size_t) swaps;
} stress;

/* The functions only have to differ. */
static void function_0(void)
{
    (void)0;
}
static void function_1(void)
{
    jm_store_relaxed(&stress.faults, jm_load_relaxed(&stress.faults) + 1); /* never called */
}
static const jm_hook_function functions[2] = {function_0, function_1};

static void *swap_pairs(void *argument)
{
    struct target *targets = argument; /* a ring of this thread's own */
    (void)jm_thread_ready();
    for (size_t i = 0; !jm_load_acquire(&stress.done); i++) {
        struct target *target = &targets[i % PAIRS];
        while (jm_load_acquire(&target->alive) != 0 && !jm_load_acquire(&stress.done)) {
            (void)sched_yield(); /* another thread replaced it, and still waits */
        }
        if (jm_load_acquire(&stress.done)) {
            break;
        }
        target->payload = 1;
        jm_store_relaxed(&target->alive, 1);
        jm_lock_take(&stress.lock);
        struct target *old = stress.current;
        jm_hook_set(&stress.hook, functions[target->function], target);
        stress.current = target;
        jm_lock_drop(&stress.lock);
        jm_hook_quiesce(&stress.hook, &nobody, 0);
        if (old != NULL) {
            old->payload = 0;
            jm_store_release(&old->alive, 0);
        }
        atomic_fetch_add(&stress.swaps, 1);
    }
    return NULL;
}

static void call_once(void)
{
    struct jm_pair pair;
    if (!jm_hook_begin(&stress.hook, &pair, here())) {
        return;
    }
    struct target *target = pair.state;
    if (pair.function != functions[target->function]) {
        atomic_fetch_add(&stress.faults, 1); /* a mix of two pairs */
    }
    for (int look = 0; look < 4; look++) {
        if (target->payload == 0) {
            atomic_fetch_add(&stress.faults, 1); /* quiesce did not wait */
        }
        if (look == 1) {
            (void)sched_yield();
        }
    }
    if (!jm_hook_end(&stress.hook, &pair)) {
        atomic_fetch_add(&stress.faults, 1);
    }
}

static void pairs_are_swapped_in_one_piece_and_waited_for(void **state)
{
    static struct target targets[SWAPPERS][PAIRS];
    pthread_t threads[SWAPPERS];

    (void)state;
    for (unsigned thread = 0; thread < SWAPPERS; thread++) {
        for (unsigned i = 0; i < PAIRS; i++) {
            targets[thread][i].function = (thread + i) % 2;
        }
        assert_int_equal(pthread_create(&threads[thread], NULL, swap_pairs, targets[thread]), 0);
    }
    for (size_t i = 0; i < CALLS || jm_load_relaxed(&stress.swaps) < 1000; i++) {
        call_once();
    }
    jm_store_release(&stress.done, true);
    for (unsigned thread = 0; thread < SWAPPERS; thread++) {
        assert_int_equal(pthread_join(threads[thread], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&stress.faults), 0);
}

struct wait {
    struct jm_hook hook;
    gate *changed; /* opened before the wait begins */
    _Atomic(bool) over;
};

static void change_and_wait(void *argument)
{
    struct wait *wait = argument;
    (void)jm_thread_ready();
    jm_hook_set(&wait->hook, NULL, NULL);
    gate_open(wait->changed);
    jm_hook_quiesce(&wait->hook, &nobody, 0);
    jm_store_release(&wait->over, true);
}

static void quiesce_lasts_as_long_as_the_call(void **state)
{
    static struct wait wait;
    struct jm_pair pair;
    worker *other = worker_start();

    (void)state;
    wait.changed = gate_new();
    jm_hook_set(&wait.hook, nothing, NULL);
    assert_true(jm_hook_begin(&wait.hook, &pair, here()));
    worker_post(other, change_and_wait, &wait);
    gate_wait(wait.changed);
    for (int i = 0; i < 1000; i++) {
        (void)sched_yield();
        assert_false(jm_load_acquire(&wait.over));
    }
    assert_true(jm_hook_end(&wait.hook, &pair));
    worker_wait(other);
    assert_true(jm_load_acquire(&wait.over));
    worker_stop(other);
    gate_delete(wait.changed);
}

static void a_change_tells_whether_an_older_pair_may_be_in_use(void **state)
{
    static struct jm_hook hook;
    struct jm_pair pair;

    (void)state;
    assert_false(jm_hook_set(&hook, NULL, NULL)); /* none was ever set */
    assert_true(jm_hook_set(&hook, nothing, &pair));
    jm_hook_reset(&hook);
    assert_false(jm_hook_begin(&hook, &pair, here()));
    assert_false(jm_hook_set(&hook, nothing, NULL));
    assert_true(jm_hook_set(&hook, NULL, NULL)); /* the pair before NULL may still be in use */
    assert_true(jm_hook_set(&hook, NULL, NULL));
    jm_store_relaxed(&hook.version, UINT32_MAX - 1); /* as after two thousand million changes */
    assert_true(jm_hook_set(&hook, nothing, NULL));
    assert_true(jm_hook_set(&hook, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_function_no_call_begins),
        cmocka_unit_test(a_call_is_known_from_begin_to_end),
        cmocka_unit_test(ending_the_outer_call_ends_those_inside),
        cmocka_unit_test(calls_of_coroutines_end_in_any_order),
        cmocka_unit_test(calls_are_abandoned_from_the_innermost_on),
        cmocka_unit_test(abandoning_the_inner_call_keeps_the_outer),
        cmocka_unit_test(an_abandoned_call_does_not_end_a_later_one),
        cmocka_unit_test(a_frame_tells_whether_the_call_was_left),
        cmocka_unit_test(forgetting_leaves_a_hook_that_works),
        cmocka_unit_test(pairs_are_swapped_in_one_piece_and_waited_for),
        cmocka_unit_test(quiesce_lasts_as_long_as_the_call),
        cmocka_unit_test(a_change_tells_whether_an_older_pair_may_be_in_use),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
