/*
 * The books: why a request was refused, what a runtime and the process hold, the process reserve.
 */
#include "support/calls.h"
#include "support/child.h"
#include "support/host.h"
#include "support/unit.h"
#include "support/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- refusals ------------------------------------------------------------------------------- */

struct refusal_seen {
    jsrtmem_refusal_info info;
    JsErrorCode code;
};

static void look_at_refusal(void *argument)
{
    struct refusal_seen *seen = argument;

    memset(seen, 0x5c, sizeof(*seen));
    seen->info.struct_size = sizeof(seen->info);
    seen->code = jsrtmem_last_refusal(&seen->info);
}

static void a_fresh_thread_has_no_refusal(void **state)
{
    worker *other = worker_start();
    struct refusal_seen seen;

    (void)state;
    assert_null(jsrtmem_alloc(NULL, 10)); /* refused on this thread, not on the other one */
    worker_run(other, look_at_refusal, &seen);
    assert_ok(seen.code);
    assert_int_equal(seen.info.reason, JSRTMEM_REFUSAL_NONE);
    assert_null(seen.info.runtime);
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
    worker_stop(other);
}

static void expect_refusal(jsrtmem_refusal reason, JsRuntimeHandle runtime, size_t requested)
{
    jsrtmem_refusal_info info = last_refusal();

    require(info.reason == reason, "reason %d, not %d", (int)info.reason, (int)reason);
    assert_ptr_equal(info.runtime, runtime);
    if (runtime != NULL) {
        assert_int_equal(info.requested, requested);
        assert_int_equal(info.usage, usage_of(runtime));
        assert_int_equal(info.limit, limit_of(runtime));
    }
}

static bool allocate_too_much(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryAllocate) {
        *(void **)self->context = jsrtmem_alloc(self->runtime, MIB(3));
    }
    return true;
}

static void every_reason_is_reached(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    void *served = &served;

    (void)state;
    (void)new_object(runtime, 100);
    assert_ok(JsSetRuntimeMemoryLimit(runtime, MIB(1)));
    assert_null(jsrtmem_alloc(runtime, MIB(2)));
    expect_refusal(JSRTMEM_REFUSAL_LIMIT, runtime, MIB(2));
    assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));

    host.refuse = true;
    assert_null(jsrtmem_alloc(runtime, MIB(2) + 1));
    expect_refusal(JSRTMEM_REFUSAL_HOST, runtime, MIB(2) + 1);
    host.refuse = false;

    assert_null(jsrtmem_alloc(runtime, SIZE_MAX));
    expect_refusal(JSRTMEM_REFUSAL_SIZE, runtime, SIZE_MAX);

    assert_ok(worker_do(other, call_enter, runtime, NULL));
    assert_null(jsrtmem_alloc(runtime, 10));
    expect_refusal(JSRTMEM_REFUSAL_THREAD, runtime, 10);
    assert_ok(worker_do(other, call_leave, runtime, NULL));

    host_set_hook(&host, allocate_too_much, &served);
    assert_non_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_null(served);
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_CALLBACK);
    assert_int_equal(last_refusal().requested, MIB(3));

    assert_null(jsrtmem_aligned_alloc(runtime, 3, 10));
    expect_refusal(JSRTMEM_REFUSAL_ARGUMENT, runtime, 10);
    assert_null(jsrtmem_alloc(&host, 10));
    expect_refusal(JSRTMEM_REFUSAL_ARGUMENT, NULL, 10);
    assert_null(jsrtmem_realloc(runtime, &host, 10));
    expect_refusal(JSRTMEM_REFUSAL_ARGUMENT, NULL, 10);
    assert_null(jsrtmem_realloc(runtime, &host, SIZE_MAX));
    expect_refusal(JSRTMEM_REFUSAL_ARGUMENT, NULL, SIZE_MAX);
    dispose(runtime);
    worker_stop(other);
}

static bool look_at_failure(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryFailure) {
        *(jsrtmem_refusal_info *)self->context = last_refusal();
    }
    return !self->refuse;
}

static void inside_failure_the_refusal_is_known(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    jsrtmem_refusal_info seen = {.reason = JSRTMEM_REFUSAL_NONE};

    (void)state;
    host_set_hook(&host, look_at_failure, &seen);
    for (int by_limit = 0; by_limit <= 1; by_limit++) {
        assert_null(jsrtmem_aligned_alloc(runtime, 3, 77));
        host.refuse = by_limit == 0;
        assert_ok(JsSetRuntimeMemoryLimit(runtime, by_limit != 0 ? KIB(100) : SIZE_MAX));
        assert_null(jsrtmem_alloc(runtime, MIB(2)));
        assert_int_equal(seen.reason, by_limit != 0 ? JSRTMEM_REFUSAL_LIMIT : JSRTMEM_REFUSAL_HOST);
        assert_ptr_equal(seen.runtime, runtime);
        assert_int_equal(seen.requested, MIB(2));
        assert_int_equal(seen.limit, limit_of(runtime));
    }
    dispose(runtime);
}

static bool raise_limit_in_failure(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryFailure) {
        assert_ok(JsSetRuntimeMemoryLimit(self->runtime, SIZE_MAX));
        assert_null(jsrtmem_alloc(self->runtime, MIB(3))); /* refused with CALLBACK */
    }
    return true;
}

/* The host raises the limit and is refused another request inside Failure: the record stays. */
static void a_refusal_has_the_figures_of_its_moment(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    (void)new_object(runtime, 100);
    host_set_hook(&host, raise_limit_in_failure, NULL);
    assert_ok(JsSetRuntimeMemoryLimit(runtime, KIB(100)));
    assert_null(jsrtmem_alloc(runtime, MIB(2)));
    jsrtmem_refusal_info info = last_refusal();
    assert_int_equal(info.reason, JSRTMEM_REFUSAL_LIMIT);
    assert_ptr_equal(info.runtime, runtime);
    assert_int_equal(info.requested, MIB(2));
    assert_int_equal(info.usage, usage_of(runtime));
    assert_int_equal(info.limit, KIB(100));
    dispose(runtime);
}

struct met {
    JsRuntimeHandle other;
    JsMemoryEventType inside;
};

static bool refuse_and_be_refused(struct host *self, const struct host_event *event)
{
    const struct met *met = self->context;
    if (event->type == met->inside) {
        assert_null(jsrtmem_alloc(met->other, 12345));
    }
    return event->type != JsMemoryAllocate;
}

/* The host refuses the block that the realloc asks for, but the realloc is served in place, so that
 * is no refusal. What the host was refused inside Allocate or Failure stays on record. */
static void what_is_refused_inside_a_served_call_is_kept(void **state)
{
    static const JsMemoryEventType events[] = {JsMemoryAllocate, JsMemoryFailure};

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(events); i++) {
        bool is_own = i >= COUNT_OF(events); /* the inner request is for this runtime */
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        JsRuntimeHandle other = new_runtime();
        struct met met = {is_own ? runtime : other, events[i % COUNT_OF(events)]};
        assert_ok(JsSetRuntimeMemoryLimit(other, 0));
        void *object = new_object(runtime, MIB(1));
        assert_null(jsrtmem_alloc(other, 7));
        host_set_hook(&host, refuse_and_be_refused, &met);
        object = jsrtmem_realloc(runtime, object, 100); /* would become small, but stays in place */
        assert_non_null(object);
        jsrtmem_refusal_info info = last_refusal();
        assert_int_equal(info.reason, is_own ? JSRTMEM_REFUSAL_CALLBACK : JSRTMEM_REFUSAL_LIMIT);
        assert_ptr_equal(info.runtime, met.other);
        assert_int_equal(info.requested, 12345);
        dispose(other);
        dispose(runtime);
    }
}

static void a_refusal_is_kept_until_the_next(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    assert_null(jsrtmem_aligned_alloc(runtime, 3, 77));
    void *object = new_object(runtime, 100);
    object = jsrtmem_realloc(runtime, object, 1000);
    assert_ok(jsrtmem_free(object));
    assert_ok(JsCollectGarbage(runtime));
    assert_code(worker_do(other, call_alloc, NULL, NULL), JsErrorInvalidArgument);
    jsrtmem_refusal_info info = last_refusal();
    assert_int_equal(info.reason, JSRTMEM_REFUSAL_ARGUMENT);
    assert_int_equal(info.requested, 77);
    assert_ptr_equal(info.runtime, runtime);
    dispose(runtime);
    info = last_refusal();
    assert_int_equal(info.requested, 77);
    assert_null(jsrtmem_alloc(runtime, 5));
    info = last_refusal();
    assert_int_equal(info.reason, JSRTMEM_REFUSAL_ARGUMENT);
    assert_null(info.runtime);
    worker_stop(other);
}

/* ---- statistics of a runtime ---------------------------------------------------------------- */

static void stats_follow_what_is_done(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    jsrtmem_stats stats = stats_of(runtime);

    (void)state;
    assert_int_equal(stats.struct_size, sizeof(stats));
    void *small = new_object(runtime, 100);
    void *large = new_object(runtime, MIB(2));
    stats = stats_of(runtime);
    assert_int_equal(stats.usage, usage_of(runtime));
    assert_int_equal(stats.live_objects, 2);
    assert_int_equal(stats.live_bytes, jsrtmem_usable_size(small) + jsrtmem_usable_size(large));
    assert_true(stats.blocks >= 1);
    assert_true(stats.allocate_events >= 1);
    assert_int_equal(stats.free_events, 0);
    assert_int_equal(stats.failure_events, 0);
    assert_int_equal(stats.peak_usage, stats.usage);

    assert_ok(jsrtmem_free(large));
    assert_ok(jsrtmem_free(small));
    assert_ok(JsCollectGarbage(runtime));
    stats = stats_of(runtime);
    assert_int_equal(stats.live_objects, 0);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.blocks, 0);
    assert_int_equal(stats.usage, 0);
    assert_true(stats.free_events >= 1);
    assert_true(stats.peak_usage >= MIB(2));
    dispose(runtime);
}

static void peak_starts_again_where_it_is_reset(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    void *object = new_object(runtime, MIB(8));
    assert_ok(jsrtmem_free(object));
    assert_ok(JsCollectGarbage(runtime));
    assert_true(stats_of(runtime).peak_usage >= MIB(8));
    assert_ok(worker_do(other, call_reset_peak, runtime, NULL));
    assert_int_equal(stats_of(runtime).peak_usage, 0);
    (void)new_object(runtime, MIB(1));
    assert_int_equal(stats_of(runtime).peak_usage, usage_of(runtime));
    dispose(runtime);
    worker_stop(other);
}

static void what_is_live_stays_counted_when_a_runtime_is_left(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    void *objects[50];
    size_t bytes = 0;

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, i * 50);
        bytes += jsrtmem_usable_size(objects[i]);
    }
    assert_ok(jsrtmem_leave(runtime));
    assert_int_equal(stats_of(runtime).live_objects, COUNT_OF(objects));
    assert_int_equal(stats_of(runtime).live_bytes, bytes);
    JsContextRef context = new_current_context(runtime);
    (void)context;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(jsrtmem_free(objects[i]));
    }
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    assert_int_equal(stats_of(runtime).live_objects, 0);
    assert_int_equal(stats_of(runtime).live_bytes, 0);
    dispose(runtime);
}

static JsRuntimeHandle owned;

static void look_at_stats(void *argument)
{
    jsrtmem_stats *stats = argument;

    *stats = stats_of(owned);
}

/* Another thread reads the exact counts after each call. */
static void what_is_live_is_exact_while_a_runtime_is_in_use(void **state)
{
    void *objects[50];
    jsrtmem_stats stats;
    size_t bytes = 0;

    (void)state;
    owned = new_runtime();
    worker *other = worker_start();
    worker_run(other, look_at_stats, &stats);
    assert_int_equal(stats.live_objects, 0);
    assert_ok(jsrtmem_enter(owned));
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(owned, i == 30 ? MIB(1) : i * 50);
        bytes += jsrtmem_usable_size(objects[i]);
        worker_run(other, look_at_stats, &stats);
        assert_int_equal(stats.live_objects, i + 1);
        assert_int_equal(stats.live_bytes, bytes);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(jsrtmem_free(objects[i]));
        worker_run(other, look_at_stats, &stats);
        assert_int_equal(stats.live_objects, COUNT_OF(objects) - 1 - i);
    }
    assert_int_equal(stats.live_bytes, 0);
    assert_ok(jsrtmem_leave(owned));
    worker_stop(other);
    dispose(owned);
}

static void free_elsewhere(void *argument)
{
    assert_ok(jsrtmem_free(argument));
}

/* An object that another thread freed is no longer live, even before the heap takes the free in.
 * The usage does not change. */
static void what_is_queued_is_not_live(void **state)
{
    const size_t sizes[] = {100, MIB(1)};

    (void)state;
    owned = new_runtime();
    worker *other = worker_start();
    assert_ok(jsrtmem_enter(owned));
    void *kept = new_object(owned, 50);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *object = new_object(owned, sizes[i]);
        size_t usage = stats_of(owned).usage;
        assert_int_equal(stats_of(owned).live_objects, 2);
        worker_run(other, free_elsewhere, object);
        assert_int_equal(stats_of(owned).live_objects, 1);
        assert_int_equal(stats_of(owned).live_bytes, jsrtmem_usable_size(kept));
        assert_int_equal(stats_of(owned).usage, usage);
    }
    assert_ok(jsrtmem_leave(owned));
    worker_stop(other);
    dispose(owned);
}

/* ---- statistics of the process -------------------------------------------------------------- */

static void process_stats_add_up_the_live_runtimes(void **state)
{
    JsRuntimeHandle runtimes[10];
    jsrtmem_process_stats before = process_stats();
    size_t usage = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(runtimes); i++) {
        runtimes[i] = new_runtime();
        (void)new_object(runtimes[i], i * 100000);
        usage += usage_of(runtimes[i]);
    }
    jsrtmem_process_stats stats = process_stats();
    assert_int_equal(stats.struct_size, sizeof(stats));
    assert_int_equal(stats.runtimes, before.runtimes + COUNT_OF(runtimes));
    assert_int_equal(stats.usage, before.usage + usage);
    assert_true(stats.metadata > 0);
    for (size_t i = 0; i < COUNT_OF(runtimes); i++) {
        dispose(runtimes[i]);
    }
    stats = process_stats();
    assert_int_equal(stats.runtimes, before.runtimes);
    assert_int_equal(stats.usage, before.usage);
    assert_true(stats.reserve <= stats.reserve_limit);
}

/* The tables record only where a large object starts. */
static void metadata_does_not_grow_with_the_size_of_an_object(void **state)
{
    const bool wide = sizeof(void *) == 8;
    const size_t leaf = wide ? MIB(1) : KIB(64);         /* of the pointer map, at most */
    const size_t reach = wide ? MIB(1024) : 3 * MIB(64); /* of one leaf, or of three */
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    assert_ok(jsrtmem_free(new_object(runtime, MIB(1))));
    size_t before = process_stats().metadata;
    assert_ok(jsrtmem_free(new_object(runtime, reach + reach / 4)));
    assert_in_range(process_stats().metadata, before, before + leaf + leaf / 2);
    dispose(runtime);
}

/* ---- the reserve ---------------------------------------------------------------------------- */

static void release_megabytes(size_t count)
{
    JsRuntimeHandle runtime = new_runtime();

    for (size_t i = 0; i < count; i++) {
        (void)new_object(runtime, i % 2 == 0 ? KIB(500) : 1000);
        (void)new_object(runtime, KIB(500));
    }
    dispose(runtime);
}

static void reserve_keeps_to_its_limit(void **state)
{
    size_t limits[] = {MIB(32), MIB(4), MIB(1), KIB(64), 1, 0, MIB(2), SIZE_MAX, MIB(32)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        assert_ok(jsrtmem_set_reserve_limit(limits[i]));
        assert_int_equal(process_stats().reserve_limit, limits[i]);
        assert_true(process_stats().reserve <= limits[i]); /* trimmed at once */
        release_megabytes(20);
        assert_true(process_stats().reserve <= limits[i]);
    }
}

static void a_reserve_of_nothing_holds_nothing(void **state)
{
    (void)state;
    release_megabytes(10);
    assert_ok(jsrtmem_set_reserve_limit(0));
    assert_int_equal(process_stats().reserve, 0);
    release_megabytes(10);
    assert_int_equal(process_stats().reserve, 0);
    JsRuntimeHandle runtime = new_runtime();
    for (size_t i = 0; i < 20; i++) {
        assert_ok(jsrtmem_free(new_object(runtime, KIB(300))));
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(process_stats().reserve, 0);
    }
    dispose(runtime);
    assert_ok(jsrtmem_set_reserve_limit(MIB(32)));
}

/* Blocks that a runtime gave back on its own may wait in the reserve. A collect gives them to the
 * OS, except those that other runtimes begin with. */
static void a_collect_empties_the_reserve_of_what_it_had(void **state)
{
    enum { OBJECTS = 4000 };
    static void *objects[OBJECTS];

    (void)state;
    assert_ok(jsrtmem_set_reserve_limit(0));
    assert_ok(jsrtmem_set_reserve_limit(MIB(32)));
    for (int large = 0; large <= 1; large++) {
        JsRuntimeHandle runtime = new_runtime();
        size_t count = large ? 8 : OBJECTS;

        for (size_t i = 0; i < count; i++) {
            objects[i] = new_object(runtime, large ? MIB(1) : 1000);
        }
        for (size_t i = 0; i < count; i++) {
            assert_ok(jsrtmem_free(objects[i]));
        }
        assert_true(process_stats().reserve >= MIB(2));
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
        assert_true(process_stats().reserve < KIB(256));
        dispose(runtime);
    }
}

/* With this argument, the program exits with 0 if the reserve limit is the number in it. */
#define RESERVE_ARGUMENT "reserve-limit="

static int check_reserve_limit(const char *argument)
{
    size_t expected = (size_t)strtoull(argument + strlen(RESERVE_ARGUMENT), NULL, 10);
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    JsRuntimeHandle runtime = NULL;

    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    CHILD_CHECK(stats.reserve_limit == expected);
    CHILD_CHECK(jsrtmem_alloc(runtime, MIB(2)) != NULL);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    CHILD_CHECK(stats.reserve <= expected);
    return 0;
}

static void reserve_limit_comes_from_the_environment(void **state)
{
    static const struct {
        const char *value;
        size_t expected;
    } rows[] = {
        {NULL, MIB(32)}, {"0", 0},  {"1000000", 1000000}, {"64K", KIB(64)}, {"3M", MIB(3)},
        {"1G", GIB(1)},  {"0M", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char argument[64];

        (void)snprintf(argument, sizeof(argument), "%s%zu", RESERVE_ARGUMENT, rows[i].expected);
        require(child_run_again(argument, "JSRTMEM_RESERVE_LIMIT", rows[i].value) == 0,
                "JSRTMEM_RESERVE_LIMIT=%s gives another limit",
                rows[i].value != NULL ? rows[i].value : "(unset)");
    }
}

/* ---- version -------------------------------------------------------------------------------- */

static void version_is_that_of_the_header(void **state)
{
    char expected[64];

    (void)state;
    (void)snprintf(expected, sizeof(expected), "%d.%d.%d", JSRTMEM_VERSION_MAJOR,
                   JSRTMEM_VERSION_MINOR, JSRTMEM_VERSION_PATCH);
    assert_string_equal(jsrtmem_version(), expected);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_thread_has_no_refusal),
        cmocka_unit_test(every_reason_is_reached),
        cmocka_unit_test(inside_failure_the_refusal_is_known),
        cmocka_unit_test(a_refusal_has_the_figures_of_its_moment),
        cmocka_unit_test(what_is_refused_inside_a_served_call_is_kept),
        cmocka_unit_test(a_refusal_is_kept_until_the_next),
        cmocka_unit_test(stats_follow_what_is_done),
        cmocka_unit_test(peak_starts_again_where_it_is_reset),
        cmocka_unit_test(what_is_live_stays_counted_when_a_runtime_is_left),
        cmocka_unit_test(what_is_live_is_exact_while_a_runtime_is_in_use),
        cmocka_unit_test(what_is_queued_is_not_live),
        cmocka_unit_test(process_stats_add_up_the_live_runtimes),
        cmocka_unit_test(metadata_does_not_grow_with_the_size_of_an_object),
        cmocka_unit_test(reserve_keeps_to_its_limit),
        cmocka_unit_test(a_reserve_of_nothing_holds_nothing),
        cmocka_unit_test(a_collect_empties_the_reserve_of_what_it_had),
        cmocka_unit_test(reserve_limit_comes_from_the_environment),
        cmocka_unit_test(version_is_that_of_the_header),
    };

    if (argc > 1 && strncmp(argv[1], RESERVE_ARGUMENT, strlen(RESERVE_ARGUMENT)) == 0) {
        return check_reserve_limit(argv[1]);
    }
    return cmocka_run_group_tests_name("accounts", tests, NULL, NULL);
}
