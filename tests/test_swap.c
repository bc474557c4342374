/*
 * Changing the allocation callback: it takes effect from the next event on, together with its
 * state, and the old callback has ended when the call returns.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/unit.h"
#include "support/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- inside a callback ---------------------------------------------------------------------- */

/* Hands the runtime and its balance so far to the host in `context`. */
static bool hand_over(struct host *self, const struct host_event *event)
{
    struct host *next = self->context;

    memset(next, 0, sizeof(*next));
    next->runtime = self->runtime;
    next->balance = self->balance;
    (void)JsSetRuntimeMemoryAllocationCallback(self->runtime, next, host_callback);
    return event->type != JsMemoryAllocate || !self->refuse;
}

static void change_inside_applies_from_the_next_event(void **state)
{
    struct host first;
    struct host second;
    JsRuntimeHandle runtime = host_new_runtime(&first);

    (void)state;
    first.refuse = true;
    host_set_hook(&first, hand_over, &second);
    assert_null(jsrtmem_alloc(runtime, 100));
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_HOST);
    assert_trace(&first, "V");
    assert_trace(&second, "X");
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_trace(&first, "V");
    assert_trace(&second, "XA");
    assert_balanced(&second);
    dispose(runtime);
    assert_all_freed(&second);
}

static void change_inside_a_grant_applies_from_the_next_event(void **state)
{
    struct host first;
    struct host second;
    JsRuntimeHandle runtime = host_new_runtime(&first);

    (void)state;
    host_set_hook(&first, hand_over, &second);
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_trace(&first, "A");
    second.balance = usage_of(runtime);
    dispose(runtime);
    assert_trace(&first, "A");
    assert_true(second.count > 0);
    assert_all_freed(&second);
}

static bool unset(struct host *self, const struct host_event *event)
{
    (void)JsSetRuntimeMemoryAllocationCallback(self->runtime, self, NULL);
    return event->type != JsMemoryAllocate || !self->refuse;
}

static void unset_inside_ends_the_events(void **state)
{
    (void)state;
    for (int refuse = 0; refuse < 2; refuse++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);

        host.refuse = refuse != 0;
        host_set_hook(&host, unset, NULL);
        assert_int_equal(jsrtmem_alloc(runtime, 100) == NULL, refuse);
        assert_trace(&host, refuse ? "V" : "A");
        assert_non_null(jsrtmem_alloc(runtime, MIB(1)));
        assert_int_equal(stats_of(runtime).failure_events, refuse);
        dispose(runtime);
        assert_trace(&host, refuse ? "V" : "A");
    }
}

/* ---- quiescence ----------------------------------------------------------------------------- */

struct visit {
    gate *arrived, *go;
    atomic_bool inside;
    bool answer;
};

static bool visit_slowly(struct host *self, const struct host_event *event)
{
    struct visit *visit = self->context;

    if (event->type == JsMemoryAllocate) {
        atomic_store(&visit->inside, true);
        gate_open(visit->arrived);
        gate_wait(visit->go);
        atomic_store(&visit->inside, false);
        return visit->answer;
    }
    return true;
}

struct swap_job {
    JsRuntimeHandle runtime;
    struct visit *visit;
    JsErrorCode code;
    bool inside_after;
};

static void unset_and_look(void *argument)
{
    struct swap_job *job = argument;

    job->code = JsSetRuntimeMemoryAllocationCallback(job->runtime, NULL, NULL);
    job->inside_after = atomic_load(&job->visit->inside);
}

static void allocate(void *argument)
{
    void **handle_then_object = argument;

    *handle_then_object = jsrtmem_alloc(*handle_then_object, MIB(1));
}

/* Gives the other thread time to go wrong. A test that passes does not depend on it. */
static void linger(void)
{
    struct timespec time = {0, 30000000};

    (void)nanosleep(&time, NULL);
}

static void change_waits_for_the_old_callback(void **state)
{
    worker *user = worker_start();
    worker *changer = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct visit visit = {.arrived = gate_new(), .go = gate_new(), .answer = false};
    struct swap_job job = {.runtime = runtime, .visit = &visit};
    void *in_out = runtime;

    (void)state;
    host_set_hook(&host, visit_slowly, &visit);
    worker_post(user, allocate, &in_out);
    gate_wait(visit.arrived);
    worker_post(changer, unset_and_look, &job);
    linger();
    bool waited = worker_is_busy(changer);
    gate_open(visit.go);
    worker_wait(changer);
    worker_wait(user);
    assert_true(waited);
    assert_ok(job.code);
    assert_false(job.inside_after);
    assert_null(in_out);
    assert_trace(&host, "V"); /* no Failure event: the pair had changed before */
    dispose(runtime);
    gate_delete(visit.arrived);
    gate_delete(visit.go);
    worker_stop(user);
    worker_stop(changer);
}

struct inner_change {
    JsRuntimeHandle runtime;
    struct visit *visit;
    JsErrorCode code;
    bool inside_after;
    unsigned calls;
};

static bool change_another(struct host *self, const struct host_event *event)
{
    struct inner_change *change = self->context;

    if (event->type == JsMemoryAllocate && change->calls++ == 0) {
        change->code = JsSetRuntimeMemoryAllocationCallback(change->runtime, NULL, NULL);
        change->inside_after = atomic_load(&change->visit->inside);
    }
    return true;
}

static void change_inside_a_callback_does_not_wait(void **state)
{
    worker *user = worker_start();
    struct host blocked;
    struct host host;
    JsRuntimeHandle blocked_runtime = host_new_runtime(&blocked);
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct visit visit = {.arrived = gate_new(), .go = gate_new(), .answer = true};
    struct inner_change change = {.runtime = blocked_runtime, .visit = &visit};
    void *in_out = blocked_runtime;

    (void)state;
    host_set_hook(&blocked, visit_slowly, &visit);
    host_set_hook(&host, change_another, &change);
    worker_post(user, allocate, &in_out);
    gate_wait(visit.arrived);
    assert_non_null(jsrtmem_alloc(runtime, 100)); /* hangs if the change waits */
    gate_open(visit.go);
    worker_wait(user);
    assert_int_equal(change.calls, 1);
    assert_ok(change.code);
    assert_true(change.inside_after);
    assert_non_null(in_out);
    dispose(blocked_runtime);
    assert_trace(&blocked, "A");
    dispose(runtime);
    gate_delete(visit.arrived);
    gate_delete(visit.go);
    worker_stop(user);
}

/* ---- pairs ---------------------------------------------------------------------------------- */

#define SWAPS 20000
#define LIVE 0x600dc0deu
#define DEAD 0xdeadu

/* A state that belongs to one of two callbacks and is freed after it was replaced. */
struct pair_state {
    unsigned alive;
    unsigned owner;
};

struct pair_log {
    JsRuntimeHandle runtime;
    atomic_bool stop;
    gate *started;
    size_t objects;
};

static atomic_size_t pair_calls;
static atomic_size_t pair_faults;

static bool note_pair(const struct pair_state *state, unsigned owner)
{
    atomic_fetch_add(&pair_calls, 1u);
    if (state->alive != LIVE || state->owner != owner) {
        atomic_fetch_add(&pair_faults, 1u);
    }
    return true;
}

static bool CHAKRA_CALLBACK pair_first(void *state, JsMemoryEventType type, size_t size)
{
    (void)type;
    (void)size;
    return note_pair(state, 1);
}

static bool CHAKRA_CALLBACK pair_second(void *state, JsMemoryEventType type, size_t size)
{
    (void)type;
    (void)size;
    return note_pair(state, 2);
}

static void use_until_stopped(void *argument)
{
    struct pair_log *log = argument;

    while (!atomic_load(&log->stop)) {
        void *first = jsrtmem_alloc(log->runtime, MIB(1));
        void *second = jsrtmem_alloc(log->runtime, MIB(1));

        log->objects += first != NULL && second != NULL ? 2 : 0;
        (void)jsrtmem_free(first);
        (void)jsrtmem_free(second);
        (void)JsCollectGarbage(log->runtime);
        for (int i = 0; i < 200; i++) { /* over the limit: events without a system call */
            log->objects += jsrtmem_alloc(log->runtime, MIB(64)) != NULL ? 1 : 0;
        }
        gate_open(log->started);
    }
}

static struct pair_state *new_pair_state(unsigned owner)
{
    struct pair_state *state = malloc(sizeof(*state));

    assert_non_null(state);
    state->alive = LIVE;
    state->owner = owner;
    return state;
}

static void kill_pair_state(struct pair_state *state)
{
    if (state != NULL) {
        state->alive = DEAD;
        free(state);
    }
}

static void pair_changes_as_one_and_its_state_may_be_freed(void **state)
{
    JsMemoryAllocationCallback callbacks[] = {pair_first, pair_second};
    struct pair_log log = {.runtime = new_runtime(), .started = gate_new()};
    worker *user = worker_start();
    struct pair_state *current = NULL;
    JsErrorCode codes = JsNoError;

    (void)state;
    atomic_store(&pair_calls, 0u);
    atomic_store(&pair_faults, 0u);
    assert_ok(JsSetRuntimeMemoryLimit(log.runtime, MIB(32)));
    worker_post(user, use_until_stopped, &log);
    gate_wait(log.started);
    for (unsigned i = 0; i < SWAPS || atomic_load(&pair_calls) < 100; i++) {
        struct pair_state *next = new_pair_state(i % 2 + 1);

        codes |= JsSetRuntimeMemoryAllocationCallback(log.runtime, next, callbacks[i % 2]);
        kill_pair_state(current);
        current = next;
    }
    codes |= JsSetRuntimeMemoryAllocationCallback(log.runtime, NULL, NULL);
    kill_pair_state(current);
    atomic_store(&log.stop, true);
    worker_wait(user);
    assert_ok(codes);
    assert_true(log.objects > 0);
    assert_int_equal(atomic_load(&pair_faults), 0);
    dispose(log.runtime);
    gate_delete(log.started);
    worker_stop(user);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("changed while refusing: the Failure goes to the new one",
                 change_inside_applies_from_the_next_event),
        UNIT_ROW("changed while granting: the Free goes to the new one",
                 change_inside_a_grant_applies_from_the_next_event),
        UNIT_ROW("unset inside: no event any more", unset_inside_ends_the_events),
        UNIT_ROW("a change from outside waits", change_waits_for_the_old_callback),
        UNIT_ROW("a change inside a callback does not wait",
                 change_inside_a_callback_does_not_wait),
        UNIT_ROW("a pair is never torn, nor used after its end",
                 pair_changes_as_one_and_its_state_may_be_freed),
    };

    return cmocka_run_group_tests_name("swap", tests, NULL, NULL);
}
