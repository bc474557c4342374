/*
 * The sequences of events, seen from outside: what is reported, in which order, with which usage.
 * The host (support/host.h) checks usage == accepted - freed at every event.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <stdio.h>

static const size_t some_sizes[] = {0, 10, 1000, 5000, 12000, 70000, 150000, MIB(1), MIB(20) + 1};

/* ---- granted and refused -------------------------------------------------------------------- */

static void granted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(some_sizes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);

        (void)new_object(runtime, some_sizes[i]);
        assert_trace(&host, "A");
        assert_int_equal(host.events[0].usage, 0);
        assert_int_equal(usage_of(runtime), host.events[0].size);
        assert_true(usage_of(runtime) >= some_sizes[i]);
        assert_balanced(&host);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

static void host_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(some_sizes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);

        host.refuse = true;
        assert_null(jsrtmem_alloc(runtime, some_sizes[i]));
        assert_trace(&host, "VX");
        assert_int_equal(host.events[0].size, host.events[1].size);
        assert_int_equal(host.events[0].usage, 0);
        assert_int_equal(host.events[1].usage, 0);
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_HOST);
        assert_balanced(&host);
        dispose(runtime);
        assert_trace(&host, "VX");
    }
}

static void refusal_is_not_remembered(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    host.refuse = true;
    assert_null(jsrtmem_alloc(runtime, 100));
    assert_null(jsrtmem_alloc(runtime, 100));
    assert_null(jsrtmem_alloc(runtime, 100));
    assert_trace(&host, "VXVXVX");
    host.refuse = false;
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_trace(&host, "VXVXVXA");
    dispose(runtime);
    assert_all_freed(&host);
}

static void over_the_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(some_sizes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        size_t limits[] = {0, 1, page_size() - 1};

        for (size_t j = 0; j < COUNT_OF(limits); j++) {
            host_clear(&host);
            assert_ok(JsSetRuntimeMemoryLimit(runtime, limits[j]));
            assert_null(jsrtmem_alloc(runtime, some_sizes[i]));
            assert_trace(&host, "X");
            assert_int_equal(last_reason(), JSRTMEM_REFUSAL_LIMIT);
            assert_true(host.events[0].size >= some_sizes[i]);
        }
        assert_balanced(&host);
        dispose(runtime);
    }
}

/* The size that a Failure reports is the smallest that serves. With room for exactly that size the
 * same request is granted, and with a byte less it is not. */
static void at_the_limit_is_granted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(some_sizes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);

        assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
        assert_null(jsrtmem_alloc(runtime, some_sizes[i]));
        size_t needed = host.events[0].size;
        assert_ok(JsSetRuntimeMemoryLimit(runtime, needed - 1));
        assert_null(jsrtmem_alloc(runtime, some_sizes[i]));
        assert_int_equal(host.events[1].size, needed);
        assert_ok(JsSetRuntimeMemoryLimit(runtime, needed));
        assert_non_null(jsrtmem_alloc(runtime, some_sizes[i]));
        assert_trace(&host, "XXA");
        assert_int_equal(usage_of(runtime), needed);
        assert_balanced(&host);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

static void growing_to_the_limit_never_passes_it(void **state)
{
    (void)state;
    for (size_t size = 16; size <= KIB(512); size *= 3) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        size_t limit = MIB(4) + 12345;
        size_t granted_bytes = 0;

        assert_ok(JsSetRuntimeMemoryLimit(runtime, limit));
        while (jsrtmem_alloc(runtime, size) != NULL) {
            assert_true(usage_of(runtime) <= limit);
            host_settle(&host);
            granted_bytes += size;
        }
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_LIMIT);
        assert_true(usage_of(runtime) <= limit);
        require(granted_bytes >= limit / 2, "objects of %zu: %zu bytes of a limit of %zu", size,
                granted_bytes, limit);
        assert_balanced(&host);
        assert_true(host.peak <= limit);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

/* A runtime that has grown asks for larger blocks. If those do not fit under the limit, it asks for
 * the same small block as a fresh runtime. */
static void near_the_limit_the_smallest_block_is_asked_for(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t largest = 0;

    (void)state;
    (void)new_object(runtime, 100);
    size_t smallest = host.events[0].size;
    while (usage_of(runtime) < MIB(32)) {
        (void)new_object(runtime, 100);
        host_settle(&host);
    }
    for (size_t i = 0; i < host.count && i < HOST_EVENTS_MAX; i++) {
        largest = host.events[i].size > largest ? host.events[i].size : largest;
    }
    assert_true(largest > smallest);
    size_t room = KIB(128) - smallest;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, usage_of(runtime) + room));
    host_clear(&host);
    while (jsrtmem_alloc(runtime, 100) != NULL) {
        host_settle(&host);
    }
    assert_int_equal(host.count, room / smallest + 1); /* the last is a Failure */
    assert_int_equal(host.events[host.count - 1].type, JsMemoryFailure);
    for (size_t i = 0; i < host.count; i++) {
        assert_int_equal(host.events[i].size, smallest);
    }
    assert_int_equal(usage_of(runtime), limit_of(runtime));
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

/* If a host raises the limit step by step, the runtime takes a few blocks per step. */
static void under_a_limit_that_is_raised_blocks_are_as_large_as_it_allows(void **state)
{
    enum { STEP = 960 << 10, STEPS = 16 };
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t limit = STEP; limit <= STEPS * (size_t)STEP; limit += STEP) {
        assert_ok(JsSetRuntimeMemoryLimit(runtime, limit));
        while (jsrtmem_alloc(runtime, 100) != NULL) {
        }
        assert_int_equal(usage_of(runtime), limit);
    }
    assert_true(stats_of(runtime).blocks < 8 * STEPS);
    dispose(runtime);
}

/* Under a limit, an object that fills more than half of a block does not waste the rest. */
static void under_a_limit_little_is_lost_to_blocks(void **state)
{
    size_t sizes[] = {16384, 32768, 65536, 100000, 200000};
    size_t limits[] = {KIB(512), MIB(1)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (size_t j = 0; j < COUNT_OF(limits) && page_size() == 4096; j++) {
            JsRuntimeHandle runtime = new_runtime();
            size_t count = 0;

            assert_ok(JsSetRuntimeMemoryLimit(runtime, limits[j]));
            while (jsrtmem_alloc(runtime, sizes[i]) != NULL) {
                count++;
            }
            require(count * sizes[i] > limits[j] / 3 * 2, "%zu of %zu", count, sizes[i]);
            dispose(runtime);
        }
    }
}

/* If the limit allows no block to be shared, an object gets a block of its own, which is given back
 * with it. */
static void near_the_limit_an_object_has_a_block_of_its_own(void **state)
{
    static const struct {
        size_t alignment, size, limit;
    } wishes[] = {{16, 70000, 82000},
                  {16, 150000, 200000},
                  {KIB(128), 16, 66000},
                  {KIB(128), 30000, KIB(100)}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wishes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        size_t limit = page_size() > KIB(16) ? MIB(1) : wishes[i].limit;

        assert_ok(JsSetRuntimeMemoryLimit(runtime, limit));
        unsigned char *object = jsrtmem_aligned_alloc(runtime, wishes[i].alignment, wishes[i].size);
        assert_non_null(object);
        assert_int_equal((uintptr_t)object % wishes[i].alignment, 0);
        assert_true(jsrtmem_usable_size(object) >= wishes[i].size);
        pattern_fill(object, wishes[i].size, i);
        assert_true(usage_of(runtime) <= limit);
        assert_trace(&host, "A");
        assert_ok(JsSetRuntimeMemoryLimit(runtime, MIB(16)));
        unsigned char *grown = jsrtmem_realloc(runtime, object, 2 * wishes[i].size);
        assert_non_null(grown);
        assert_true(pattern_holds(grown, wishes[i].size, i));
        assert_ok(jsrtmem_free(grown));
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
        assert_balanced(&host);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

/* ---- the limit changes meanwhile ------------------------------------------------------------ */

static bool set_limit_when_asked(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryAllocate) {
        size_t limit = event->usage + event->size - *(size_t *)self->context;

        (void)JsSetRuntimeMemoryLimit(self->runtime, limit);
    }
    return true;
}

static void limit_lowered_while_the_host_is_asked(void **state)
{
    size_t missing[] = {1, page_size(), KIB(64)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);

        (void)new_object(runtime, 10);
        host_clear(&host);
        host_set_hook(&host, set_limit_when_asked, &missing[i]);
        size_t before = usage_of(runtime);
        assert_null(jsrtmem_alloc(runtime, MIB(1)));
        assert_trace(&host, "AX");
        assert_int_equal(host.events[0].size, host.events[1].size);
        assert_int_equal(host.events[1].usage, before);
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_LIMIT);
        assert_balanced(&host);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

static void limit_lowered_to_what_is_asked_for_still_grants(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t missing = 0;

    (void)state;
    (void)new_object(runtime, 10);
    host_clear(&host);
    host_set_hook(&host, set_limit_when_asked, &missing);
    assert_non_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_trace(&host, "A");
    assert_int_equal(usage_of(runtime), limit_of(runtime));
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

static bool lower_limit_elsewhere(struct host *self, const struct host_event *event)
{
    size_t limit = 0;

    if (event->type == JsMemoryAllocate) {
        (void)worker_do(self->context, call_set_limit, self->runtime, &limit);
    }
    return true;
}

static void limit_lowered_by_another_thread_while_the_host_is_asked(void **state)
{
    worker *other = worker_start();
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    host_set_hook(&host, lower_limit_elsewhere, other);
    assert_null(jsrtmem_alloc(runtime, MIB(1)));
    assert_trace(&host, "AX");
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_LIMIT);
    assert_int_equal(limit_of(runtime), 0);
    assert_balanced(&host);
    dispose(runtime);
    worker_stop(other);
}

static bool raise_limit_on_failure(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryFailure) {
        (void)JsSetRuntimeMemoryLimit(self->runtime, SIZE_MAX);
    }
    return true;
}

static void limit_raised_inside_a_failure_helps_the_next_request(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    host_set_hook(&host, raise_limit_on_failure, NULL);
    assert_null(jsrtmem_alloc(runtime, 100));
    assert_trace(&host, "X");
    assert_non_null(jsrtmem_alloc(runtime, 100));
    assert_trace(&host, "XA");
    dispose(runtime);
    assert_all_freed(&host);
}

/* ---- requests that no block can serve ------------------------------------------------------- */

static void too_large_is_refused_without_an_event(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t sizes[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX - page_size(), SIZE_MAX - 1, SIZE_MAX};

    (void)state;
    void *object = new_object(runtime, 100);
    host_clear(&host);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_null(jsrtmem_alloc(runtime, sizes[i]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
        assert_null(jsrtmem_calloc(runtime, 1, sizes[i]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
        assert_null(jsrtmem_calloc(runtime, sizes[i], 3));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
        assert_null(jsrtmem_aligned_alloc(runtime, 4096, sizes[i]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
        assert_null(jsrtmem_realloc(runtime, object, sizes[i]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
        assert_null(jsrtmem_realloc(runtime, NULL, sizes[i]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
    }
    assert_trace(&host, "");
    assert_ok(jsrtmem_free(object));
    dispose(runtime);
}

/* A growth that is too large for any block gives no block back to make room for a move. */
static void too_large_a_growth_gives_nothing_back(void **state)
{
    struct host host;
    void *objects[200];
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    void *last = new_object(runtime, 1000);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, 1000);
    }
    void *alone = new_object(runtime, 100000); /* in another block */
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(jsrtmem_free(objects[i]));
    }
    assert_ok(jsrtmem_free(last));
    host_clear(&host);
    assert_null(jsrtmem_realloc(runtime, alone, (size_t)PTRDIFF_MAX + 2));
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
    assert_trace(&host, "");
    assert_ok(jsrtmem_free(alone));
    dispose(runtime);
}

/* PTRDIFF_MAX itself is a valid request. No OS with 64 bits can serve it. With 32 bits, half of it
 * may be served. */
static void far_too_large_is_refused_by_size_or_by_the_os(void **state)
{
    size_t sizes[] = {PTRDIFF_MAX, PTRDIFF_MAX - 1, PTRDIFF_MAX / 2, PTRDIFF_MAX - MIB(4)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        void *object = jsrtmem_alloc(runtime, sizes[i]);

        if (object != NULL) {
            assert_true(sizeof(size_t) < 8 && jsrtmem_usable_size(object) >= sizes[i]);
            assert_trace(&host, "A");
            assert_ok(jsrtmem_free(object));
            assert_ok(JsCollectGarbage(runtime));
        } else if (host.count == 0) {
            assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
        } else {
            assert_int_equal(last_reason(), JSRTMEM_REFUSAL_OS);
            assert_trace(&host, "AX");
        }
        assert_balanced(&host);
        assert_int_equal(usage_of(runtime), 0);
        assert_non_null(jsrtmem_alloc(runtime, 100));
        dispose(runtime);
        assert_all_freed(&host);
    }
}

/* ---- released ------------------------------------------------------------------------------- */

static void released_by_collect(void **state)
{
    void *objects[8];
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = new_object(runtime, MIB(1) + i * 5000);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(jsrtmem_free(objects[i]));
        assert_balanced(&host);
    }
    assert_true(stats_of(runtime).blocks <= 1);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    assert_int_equal(stats_of(runtime).blocks, 0);
    assert_true(host_count_of(&host, JsMemoryFree) > 0);
    assert_int_equal(host_count_of(&host, JsMemoryFailure), 0);
    assert_balanced(&host);
    size_t events = host.count;
    dispose(runtime);
    assert_int_equal(host.count, events);
}

static void at_most_one_empty_block_is_kept(void **state)
{
    enum { OBJECTS = 20000 };
    static void *objects[OBJECTS];
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < OBJECTS; i++) {
            objects[i] = new_object(runtime, 16 + i % 300);
        }
        assert_true(stats_of(runtime).blocks >= 1);
        for (size_t i = 0; i < OBJECTS; i++) {
            assert_ok(jsrtmem_free(objects[i * 7919 % OBJECTS]));
        }
        require(stats_of(runtime).blocks <= 1, "%zu blocks are kept", stats_of(runtime).blocks);
        assert_balanced(&host);
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
        assert_balanced(&host);
    }
    dispose(runtime);
    assert_all_freed(&host);
}

/* Empty blocks go back however much of the heap stays in use. */
static void a_heap_in_use_gives_empty_blocks_back(void **state)
{
    enum { OBJECTS = 1000 };
    static void *objects[OBJECTS];
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = new_object(runtime, KIB(8));
    }
    size_t usage = usage_of(runtime);
    for (size_t i = 0; i < OBJECTS * 4 / 10; i++) {
        assert_ok(jsrtmem_free(objects[i]));
    }
    /* All but the kept empty block and the blocks at either end, which may be in use in part. */
    size_t freed = OBJECTS * 4 / 10 * KIB(8);
    require(usage - usage_of(runtime) >= freed - MIB(2), "%zu of %zu bytes went",
            usage - usage_of(runtime), freed);
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

static bool answer_no_but_to_allocate(struct host *self, const struct host_event *event)
{
    (void)self;
    return event->type == JsMemoryAllocate;
}

static void answers_to_free_and_failure_are_ignored(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    (void)state;
    host_set_hook(&host, answer_no_but_to_allocate, NULL);
    for (int i = 0; i < 10; i++) {
        void *object = new_object(runtime, MIB(1));

        assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
        assert_null(jsrtmem_alloc(runtime, MIB(2)));
        assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
        assert_ok(jsrtmem_free(object));
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
    }
    dispose(runtime);
    assert_all_freed(&host);
}

static void growing_and_shrinking_keep_the_balance(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t sizes[] = {KIB(300), MIB(1), MIB(9), MIB(2), MIB(33), MIB(32), KIB(900), 100, MIB(5)};
    size_t size = KIB(300);
    unsigned char *object = new_object(runtime, size);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t kept = size < sizes[i] ? size : sizes[i];

        pattern_fill(object, size, i);
        object = jsrtmem_realloc(runtime, object, sizes[i]);
        assert_non_null(object);
        size = sizes[i];
        assert_true(pattern_holds(object, kept, i));
        assert_balanced(&host);
        assert_true(usage_of(runtime) >= size);
    }
    dispose(runtime);
    assert_all_freed(&host);
}

static void shrinking_a_large_object_gives_pages_back(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    unsigned char *object = new_object(runtime, MIB(64));

    (void)state;
    pattern_fill(object, MIB(1), 4);
    host.refuse = true;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    host_clear(&host);
    object = jsrtmem_realloc(runtime, object, MIB(1));
    assert_non_null(object);
    assert_true(pattern_holds(object, MIB(1), 4));
    assert_int_equal(host_count_of(&host, JsMemoryFree), host.count);
    assert_true(usage_of(runtime) < MIB(8));
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

static void refused_growth_leaves_the_object(void **state)
{
    (void)state;
    for (size_t size = 100; size < MIB(4); size = size * 3 + 1) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        unsigned char *object = new_object(runtime, size);
        size_t usable = jsrtmem_usable_size(object);

        pattern_fill(object, usable, size);
        host_clear(&host);
        size_t usage = usage_of(runtime);
        assert_ok(JsSetRuntimeMemoryLimit(runtime, usage));
        assert_null(jsrtmem_realloc(runtime, object, MIB(40)));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_LIMIT);
        assert_int_equal(host_count_of(&host, JsMemoryFailure), host.count);
        assert_in_range(host.count, 1, 2);
        assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
        host_clear(&host);
        host.refuse = true;
        assert_null(jsrtmem_realloc(runtime, object, MIB(40)));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_HOST);
        assert_int_equal(host_count_of(&host, JsMemoryFailure) * 2, host.count);
        assert_in_range(host.count, 2, 4);
        assert_int_equal(jsrtmem_usable_size(object), usable);
        assert_true(pattern_holds(object, usable, size));
        assert_int_equal(usage_of(runtime), usage);
        assert_balanced(&host);
        assert_ok(jsrtmem_free(object));
        dispose(runtime);
        assert_all_freed(&host);
    }
}

/* ---- peak and counters ---------------------------------------------------------------------- */

static void peak_shows_no_failed_request(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t missing = 1;

    (void)state;
    host.refuse = true;
    assert_null(jsrtmem_alloc(runtime, MIB(8)));
    host.refuse = false;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, MIB(1)));
    assert_null(jsrtmem_alloc(runtime, MIB(8)));
    assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
    host_set_hook(&host, set_limit_when_asked, &missing);
    assert_null(jsrtmem_alloc(runtime, MIB(8)));
    assert_int_equal(stats_of(runtime).peak_usage, 0);
    host_set_hook(&host, NULL, NULL);
    assert_ok(JsSetRuntimeMemoryLimit(runtime, SIZE_MAX));
    void *object = new_object(runtime, MIB(2));
    size_t peak = usage_of(runtime);
    assert_int_equal(stats_of(runtime).peak_usage, peak);
    assert_ok(jsrtmem_free(object));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(stats_of(runtime).peak_usage, peak);
    assert_ok(jsrtmem_reset_peak(runtime));
    assert_int_equal(stats_of(runtime).peak_usage, usage_of(runtime));
    dispose(runtime);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("granted: Allocate", granted),
        UNIT_ROW("host refuses: Allocate, Failure", host_refuses),
        UNIT_ROW("refused: the next request asks again", refusal_is_not_remembered),
        UNIT_ROW("over the limit: Failure only", over_the_limit),
        UNIT_ROW("at the limit: granted", at_the_limit_is_granted),
        UNIT_ROW("up to the limit: never above it", growing_to_the_limit_never_passes_it),
        UNIT_ROW("near the limit: the smallest block",
                 near_the_limit_the_smallest_block_is_asked_for),
        UNIT_ROW("a limit that is raised: blocks as large as it allows",
                 under_a_limit_that_is_raised_blocks_are_as_large_as_it_allows),
        UNIT_ROW("little is lost to blocks", under_a_limit_little_is_lost_to_blocks),
        UNIT_ROW("near the limit: a block of its own",
                 near_the_limit_an_object_has_a_block_of_its_own),
        UNIT_ROW("limit lowered meanwhile: Allocate, Failure",
                 limit_lowered_while_the_host_is_asked),
        UNIT_ROW("limit lowered meanwhile, but enough: Allocate",
                 limit_lowered_to_what_is_asked_for_still_grants),
        UNIT_ROW("limit lowered meanwhile elsewhere: Allocate, Failure",
                 limit_lowered_by_another_thread_while_the_host_is_asked),
        UNIT_ROW("limit raised in Failure: the next request",
                 limit_raised_inside_a_failure_helps_the_next_request),
        UNIT_ROW("above PTRDIFF_MAX: no event", too_large_is_refused_without_an_event),
        UNIT_ROW("growing above PTRDIFF_MAX: no event", too_large_a_growth_gives_nothing_back),
        UNIT_ROW("up to PTRDIFF_MAX: SIZE or OS", far_too_large_is_refused_by_size_or_by_the_os),
        UNIT_ROW("released: Free", released_by_collect),
        UNIT_ROW("at most one empty block is kept", at_most_one_empty_block_is_kept),
        UNIT_ROW("the same with others in use", a_heap_in_use_gives_empty_blocks_back),
        UNIT_ROW("answers to Free and Failure", answers_to_free_and_failure_are_ignored),
        UNIT_ROW("grow and shrink: the difference", growing_and_shrinking_keep_the_balance),
        UNIT_ROW("shrink: Free", shrinking_a_large_object_gives_pages_back),
        UNIT_ROW("refused growth", refused_growth_leaves_the_object),
        UNIT_ROW("peak", peak_shows_no_failed_request),
    };

    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
