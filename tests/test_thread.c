/*
 * Threads: ids, the lock, and the frames that nested entries need.
 */
#include "support/fake_os.h"
#include "support/unit.h"
#include "support/worker.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "os.h"
#include "process.h"
#include "runtime.h"
#include "thread.h"

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

#define THREADS 4
#define ROUNDS 20000

static void note_id(void *argument)
{
    (void)jm_thread_ready();
    *(jm_thread_id *)argument = jm_thread.id;
}

static void an_id_belongs_to_one_thread_for_ever(void **state)
{
    jm_thread_id ids[64];
    jm_thread_id mine = jm_thread.id;

    (void)state;
    assert_true(mine != 0);
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        worker *other = worker_start(); /* may get the record that the last one left */
        worker_run(other, note_id, &ids[i]);
        worker_stop(other);
        assert_true(ids[i] != 0 && ids[i] != mine);
        assert_false(jm_thread_is_gone(ids[i]));
        for (size_t k = 0; k < i; k++) {
            assert_true(ids[k] != ids[i]);
        }
    }
    assert_true(jm_thread.id == mine);
}

static struct {
    struct jm_lock lock;
    size_t plain; /* not atomic: the lock guards it */
    unsigned inside;
    size_t faults;
} guarded;

static void *count_under_lock(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    for (int i = 0; i < ROUNDS; i++) {
        jm_lock_take(&guarded.lock);
        guarded.faults += ++guarded.inside != 1;
        guarded.faults += jm_load_relaxed(&guarded.lock.owner) != jm_thread.id;
        guarded.plain++;
        if (i % 1000 == 0) {
            (void)sched_yield();
        }
        guarded.inside--;
        jm_lock_drop(&guarded.lock);
    }
    return NULL;
}

static void a_lock_lets_one_in_at_a_time(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_under_lock, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(guarded.plain, (size_t)THREADS * ROUNDS);
    assert_int_equal(guarded.faults, 0);
    assert_int_equal(jm_load_relaxed(&guarded.lock.owner), 0);
}

/* ---- Frames ---- */

#define DEPTH 2000

static struct jm_runtime *frame_mark(size_t depth)
{
    return (struct jm_runtime *)(uintptr_t)(64 * (depth + 1));
}

/* Fills frames up to `depth`, or until there is no room. Returns their number. */
static size_t fill_frames(size_t depth)
{
    while (jm_thread.frame_count < depth && jm_thread_reserve_frame()) {
        jm_thread.frames[jm_thread.frame_count] =
            (struct jm_frame){frame_mark(jm_thread.frame_count), jm_thread.frame_count};
        jm_thread.frame_count++;
    }
    return jm_thread.frame_count;
}

static bool frames_hold(void)
{
    for (size_t i = 0; i < jm_thread.frame_count; i++) {
        if (jm_thread.frames[i].runtime != frame_mark(i) || jm_thread.frames[i].handle != i) {
            return false;
        }
    }
    return true;
}

struct frames_job {
    size_t inline_calls, filled, refused_at, filled_after;
    bool held, held_after;
    size_t mapped;
};

static void grow_frames(void *argument)
{
    struct frames_job *job = argument;
    (void)jm_thread_ready();
    size_t before = fake_os_mapped();
    fake_os_reset();
    (void)fill_frames(JM_INLINE_FRAMES);
    job->inline_calls = fake_os_calls(FAKE_ALL);
    job->filled = fill_frames(DEPTH);
    job->held = frames_hold();
    fake_os_refuse(FAKE_RESERVE, 1, true, 0);
    job->refused_at = fill_frames(10 * DEPTH);
    fake_os_reset();
    job->filled_after = fill_frames(job->refused_at + 1);
    job->held_after = frames_hold();
    job->mapped = fake_os_mapped() - before;
    jm_thread.frame_count = 0;
}

static void frames_grow_with_the_depth(void **state)
{
    struct frames_job job = {0};
    worker *other = worker_start();
    size_t before = fake_os_mapped();

    (void)state;
    worker_run(other, grow_frames, &job);
    assert_int_equal(job.inline_calls, 0);
    assert_int_equal(job.filled, DEPTH);
    assert_true(job.held);
    assert_true(job.refused_at >= DEPTH && job.refused_at < 10 * DEPTH);
    assert_int_equal(job.filled_after, job.refused_at + 1);
    assert_true(job.held_after);
    /* One mapping holds all frames. It is given back when the thread exits. */
    assert_true(job.mapped >= job.filled_after * sizeof(struct jm_frame));
    assert_true(job.mapped <= 4 * job.filled_after * sizeof(struct jm_frame));
    worker_stop(other);
    assert_int_equal(fake_os_mapped(), before);
    assert_null(fake_os_fault());
}

static void reset_thread(void *argument)
{
    bool *worked = argument;
    (void)jm_thread_ready();
    jm_thread_id old = jm_thread.id;
    (void)fill_frames(100);
    jm_thread_reset();
    *worked = jm_thread.id == 0 && jm_thread.frame_count == 0;
    *worked = *worked && jm_thread_ready() && jm_thread.id != old;
    *worked = *worked && fill_frames(100) == 100 && frames_hold();
    jm_thread.frame_count = 0;
}

static void a_record_can_be_used_after_its_reset(void **state)
{
    bool worked = false;
    worker *other = worker_start();
    size_t before = fake_os_mapped();

    (void)state;
    worker_run(other, reset_thread, &worked);
    assert_true(worked);
    worker_stop(other);
    assert_int_equal(fake_os_mapped(), before);
    assert_null(fake_os_fault());
}

/* Entering alternating runtimes needs a frame each time; a refusal changes nothing. */
static void entries_need_room_for_their_frames(void **state)
{
    JsRuntimeHandle runtimes[2] = {new_runtime(), new_runtime()};
    size_t depth = 0;

    (void)state;
    fake_os_refuse(FAKE_RESERVE, 1, true, 0);
    while (jsrtmem_enter(runtimes[depth % 2]) == JsNoError) {
        depth++;
    }
    assert_int_equal(depth, JM_INLINE_FRAMES);
    assert_code(jsrtmem_enter(runtimes[depth % 2]), JsErrorOutOfMemory);
    assert_code(jsrtmem_leave(runtimes[depth % 2]), JsErrorInvalidArgument);
    fake_os_reset();
    for (; depth < 1000; depth++) {
        assert_ok(jsrtmem_enter(runtimes[depth % 2]));
    }
    while (depth-- > 0) {
        assert_code(JsDisposeRuntime(runtimes[depth % 2]), JsErrorRuntimeInUse);
        assert_ok(jsrtmem_leave(runtimes[depth % 2]));
    }
    dispose(runtimes[0]);
    dispose(runtimes[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_belongs_to_one_thread_for_ever),
        cmocka_unit_test(a_lock_lets_one_in_at_a_time),
        cmocka_unit_test(frames_grow_with_the_depth),
        cmocka_unit_test(a_record_can_be_used_after_its_reset),
        cmocka_unit_test(entries_need_room_for_their_frames),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
