/*
 * Bad pointers: double, interior, misaligned and foreign ones are freed, measured and reallocated.
 * Stray writes into memory that was freed or never handed out. Neither may ever change anything.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/poke.h"
#include "support/random.h"
#include "support/system.h"
#include "support/unit.h"
#include "support/worker.h"

#include <stdlib.h>

static const size_t object_sizes[] = {0,     1,       16,       17,       64,     100,
                                      1000,  1024,    4000,     4096,     5000,   16384,
                                      40000, KIB(64), KIB(100), KIB(300), MIB(1), MIB(3) + 5};

static void expect_refused(JsRuntimeHandle runtime, void *pointer, const char *what)
{
    JsRuntimeHandle owner = &owner;

    require(jsrtmem_free(pointer) == JsErrorInvalidArgument, "free of %p, %s", pointer, what);
    require(jsrtmem_usable_size(pointer) == 0, "usable_size of %p, %s", pointer, what);
    require(jsrtmem_runtime_of(pointer, &owner) == JsErrorInvalidArgument && owner == &owner,
            "runtime_of %p, %s", pointer, what);
    require(jsrtmem_runtime_of(pointer, NULL) == JsErrorInvalidArgument, "runtime_of %p, %s",
            pointer, what);
    require(jsrtmem_realloc(runtime, pointer, 100) == NULL &&
                last_reason() == JSRTMEM_REFUSAL_ARGUMENT && last_refusal().runtime == NULL,
            "realloc of %p, %s", pointer, what);
    require(jsrtmem_realloc(runtime, pointer, 0) == NULL &&
                last_reason() == JSRTMEM_REFUSAL_ARGUMENT,
            "realloc of %p to 0, %s", pointer, what);
}

/* Every function that takes a pointer refuses this one, whether or not the runtime is entered. */
static void expect_bad(JsRuntimeHandle runtime, void *pointer, const char *what)
{
    expect_refused(runtime, pointer, what);
    assert_ok(jsrtmem_enter(runtime));
    expect_refused(runtime, pointer, what);
    assert_ok(jsrtmem_leave(runtime));
}

/* The counters of a runtime, to check that nothing was touched. */
struct counters {
    size_t usage, live_objects, live_bytes;
    uint64_t events;
};

static struct counters counters_of(JsRuntimeHandle runtime)
{
    jsrtmem_stats stats = stats_of(runtime);
    struct counters counters = {stats.usage, stats.live_objects, stats.live_bytes,
                                stats.allocate_events + stats.free_events + stats.failure_events};

    return counters;
}

static void expect_untouched(JsRuntimeHandle runtime, const struct counters *before)
{
    struct counters now = counters_of(runtime);

    assert_int_equal(now.usage, before->usage);
    assert_int_equal(now.live_objects, before->live_objects);
    assert_int_equal(now.live_bytes, before->live_bytes);
    assert_int_equal(now.events, before->events);
}

/* ---- double --------------------------------------------------------------------------------- */

static void double_free_of_every_size(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(object_sizes); i++) {
        void *neighbour = new_object(runtime, object_sizes[i]);
        void *object = new_object(runtime, object_sizes[i]);

        assert_ok(jsrtmem_free(object));
        struct counters before = counters_of(runtime);
        expect_bad(runtime, object, "freed already");
        expect_bad(runtime, object, "freed already");
        expect_untouched(runtime, &before);
        assert_ok(jsrtmem_free(neighbour));
        expect_bad(runtime, neighbour, "freed already");
        expect_bad(runtime, object, "freed already");
        assert_ok(JsCollectGarbage(runtime));
        expect_bad(runtime, neighbour, "freed, and its block given back");
        expect_bad(runtime, object, "freed, and its block given back");
    }
    dispose(runtime);
}

static void double_free_is_seen_long_after(void **state)
{
    enum { OBJECTS = 5000 };
    static void *objects[OBJECTS];
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (int entered = 0; entered < 2; entered++) {
        if (entered) {
            assert_ok(jsrtmem_enter(runtime));
        }
        for (size_t i = 0; i < OBJECTS; i++) {
            objects[i] = new_object(runtime, i % 2000);
        }
        for (size_t i = 0; i < OBJECTS; i++) {
            assert_ok(jsrtmem_free(objects[i * 7 % OBJECTS]));
        }
        for (size_t i = 0; i < OBJECTS; i++) {
            expect_bad(runtime, objects[i], "freed already");
        }
        if (entered) {
            assert_ok(jsrtmem_leave(runtime));
        }
    }
    assert_int_equal(stats_of(runtime).live_objects, 0);
    assert_int_equal(stats_of(runtime).misuses, 0);
    dispose(runtime);
}

static void double_free_from_another_thread(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(object_sizes); i++) {
        void *object = new_object(runtime, object_sizes[i]);

        assert_ok(worker_do(other, call_free, object, NULL));
        assert_code(worker_do(other, call_free, object, NULL), JsErrorInvalidArgument);
        assert_code(jsrtmem_free(object), JsErrorInvalidArgument);
        object = new_object(runtime, object_sizes[i]);
        assert_ok(jsrtmem_free(object));
        assert_code(worker_do(other, call_free, object, NULL), JsErrorInvalidArgument);
    }
    assert_int_equal(stats_of(runtime).live_objects, 0);
    dispose(runtime);
    worker_stop(other);
}

/* If a free is queued and the object is freed again, the second free is refused at once, or counted
 * as a misuse when it is taken in. */
static void double_free_of_queued_objects_is_refused_or_counted(void **state)
{
    worker *other = worker_start();
    JsRuntimeHandle runtime = new_runtime();
    size_t accepted = 0;

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (size_t i = 0; i < COUNT_OF(object_sizes); i++) {
        for (int by_owner = 0; by_owner < 2; by_owner++) {
            void *object = new_object(runtime, object_sizes[i]);
            JsErrorCode first = worker_do(other, call_free, object, NULL);
            JsErrorCode second =
                by_owner ? jsrtmem_free(object) : worker_do(other, call_free, object, NULL);

            assert_ok(first);
            assert_true(second == JsNoError || second == JsErrorInvalidArgument);
            accepted += second == JsNoError ? 2 : 1;
        }
    }
    assert_ok(JsCollectGarbage(runtime));
    assert_ok(jsrtmem_leave(runtime));
    jsrtmem_stats stats = stats_of(runtime);
    assert_int_equal(stats.live_objects, 0);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.usage, 0);
    assert_int_equal(accepted - stats.misuses, 2 * COUNT_OF(object_sizes));
    dispose(runtime);
    worker_stop(other);
}

/* ---- interior and misaligned ---------------------------------------------------------------- */

static void every_offset_within_small_objects(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(object_sizes) && object_sizes[i] <= KIB(100); i++) {
        unsigned char *object = new_object(runtime, object_sizes[i]);
        size_t usable = jsrtmem_usable_size(object);

        pattern_fill(object, usable, i);
        struct counters before = counters_of(runtime);
        for (size_t offset = 1; offset < usable; offset++) {
            if (offset <= 4096 || offset % 16 == 0 || offset % 257 == 0) {
                expect_bad(runtime, object + offset, "interior");
            }
        }
        expect_untouched(runtime, &before);
        assert_true(pattern_holds(object, usable, i));
        assert_int_equal(jsrtmem_usable_size(object), usable);
    }
    dispose(runtime);
}

static void offsets_within_large_objects(void **state)
{
    struct random random = random_seeded(3);
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t size = KIB(200); size < MIB(40); size = size * 3 + 100) {
        unsigned char *object = new_object(runtime, size);
        size_t usable = jsrtmem_usable_size(object);

        struct counters before = counters_of(runtime);
        for (size_t offset = 1; offset <= 2048; offset++) {
            expect_bad(runtime, object + offset, "interior of a large object");
            expect_bad(runtime, object + usable - offset, "interior of a large object");
        }
        for (size_t offset = page_size(); offset < usable; offset += page_size()) {
            expect_bad(runtime, object + offset, "a page of a large object");
        }
        for (size_t i = 0; i < 2000; i++) {
            expect_bad(runtime, object + 1 + random_below(&random, usable - 1), "interior");
        }
        expect_untouched(runtime, &before);
        assert_ok(jsrtmem_free(object));
    }
    dispose(runtime);
}

static void interior_of_aligned_objects(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t alignment = 32; alignment <= MIB(1); alignment *= 2) {
        unsigned char *object = jsrtmem_aligned_alloc(runtime, alignment, 300);

        assert_non_null(object);
        for (size_t offset = 1; offset < 300; offset++) {
            expect_bad(runtime, object + offset, "interior of an aligned object");
        }
        for (size_t offset = 16; offset < alignment && offset <= KIB(64); offset += 16) {
            expect_bad(runtime, object - offset, "before an aligned object");
        }
        assert_ok(jsrtmem_free(object));
        expect_bad(runtime, object, "freed already");
    }
    dispose(runtime);
}

/* One object is live. Every other address near it is bad, including the allocator's own memory. */
static void addresses_around_the_only_object(void **state)
{
    size_t sizes[] = {16, 100, 3000, KIB(40), KIB(500)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        JsRuntimeHandle runtime = new_runtime();
        unsigned char *object = new_object(runtime, sizes[i]);
        uintptr_t around = (uintptr_t)object & ~(uintptr_t)(KIB(64) - 1);

        pattern_fill(object, sizes[i], i);
        struct counters before = counters_of(runtime);
        for (uintptr_t at = around - KIB(64); at < around + KIB(192); at += 8) {
            if (at != (uintptr_t)object) {
                expect_bad(runtime, (void *)at, "near the only object");
            }
        }
        expect_untouched(runtime, &before);
        assert_true(pattern_holds(object, sizes[i], i));
        dispose(runtime);
    }
}

/* ---- foreign -------------------------------------------------------------------------------- */

static int in_data = 7;
static char in_bss[4096];
static const char in_constants[64] = "constant";

static void foreign_memory(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    char on_stack[256] = "stack";
    char *from_libc = malloc(1000);
    char *large_from_libc = malloc(MIB(3));

    (void)state;
    assert_non_null(from_libc);
    assert_non_null(large_from_libc);
    (void)new_object(runtime, 100);
    struct counters before = counters_of(runtime);
    for (size_t offset = 0; offset < 64; offset++) {
        expect_bad(runtime, on_stack + offset, "on the stack");
        expect_bad(runtime, in_bss + offset, "in bss");
        expect_bad(runtime, from_libc + offset, "of libc");
        expect_bad(runtime, large_from_libc + offset, "of libc");
        expect_bad(runtime, (char *)(uintptr_t)in_constants + offset, "in constants");
    }
    expect_bad(runtime, &in_data, "in data");
    expect_bad(runtime, (void *)(uintptr_t)&foreign_memory, "in code");
    expect_bad(runtime, (void *)(uintptr_t)&jsrtmem_free, "in the library's code");
    expect_bad(runtime, runtime, "a handle");
    expect_bad(runtime, (void *)(uintptr_t)jsrtmem_version(), "in the library's constants");
    expect_untouched(runtime, &before);
    assert_string_equal(on_stack, "stack");
    free(from_libc);
    free(large_from_libc);
    dispose(runtime);
}

static void addresses_that_no_memory_has(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    struct random random = random_seeded(11);

    (void)state;
    for (uintptr_t at = 1; at < 4096; at++) {
        expect_bad(runtime, (void *)at, "in the null page");
        expect_bad(runtime, (void *)(UINTPTR_MAX - at + 1), "at the top");
    }
    for (unsigned bit = 12; bit < sizeof(uintptr_t) * 8; bit++) {
        uintptr_t power = (uintptr_t)1 << bit;

        expect_bad(runtime, (void *)power, "a power of two");
        expect_bad(runtime, (void *)(power - 16), "below a power of two");
        expect_bad(runtime, (void *)(power + 16), "above a power of two");
        expect_bad(runtime, (void *)~power, "all ones but one");
    }
    for (size_t i = 0; i < 100000; i++) {
        expect_bad(runtime, (void *)((uintptr_t)random_next(&random) & ~(uintptr_t)15), "random");
    }
    dispose(runtime);
}

static void unmapped_and_inaccessible_pages(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    size_t size = MIB(1);
    char *pages = no_access_new(size);

    (void)state;
    assert_non_null(pages);
    for (size_t offset = 0; offset < size; offset += 1008) {
        expect_bad(runtime, pages + offset, "inaccessible");
    }
    assert_true(no_access_delete(pages, size));
    for (size_t offset = 0; offset < size; offset += 1008) {
        expect_bad(runtime, pages + offset, "unmapped");
    }
    dispose(runtime);
}

static void objects_of_disposed_runtimes(void **state)
{
    static void *objects[COUNT_OF(object_sizes)];
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (int round = 0; round < 3; round++) {
        JsRuntimeHandle gone = new_runtime();

        for (size_t i = 0; i < COUNT_OF(object_sizes); i++) {
            objects[i] = new_object(gone, object_sizes[i]);
        }
        dispose(gone);
        for (size_t i = 0; i < COUNT_OF(object_sizes); i++) {
            expect_bad(runtime, objects[i], "of a disposed runtime");
        }
    }
    dispose(runtime);
}

/* ---- stray writes --------------------------------------------------------------------------- */

#define STRAY_OBJECTS 2000
#define SCRIBBLE_KINDS 7

struct stray {
    JsRuntimeHandle runtime;
    struct random random;
    unsigned char *objects[STRAY_OBJECTS]; /* NULL if freed */
    size_t sizes[STRAY_OBJECTS];
    unsigned char *freed[STRAY_OBJECTS];
    size_t freed_sizes[STRAY_OBJECTS];
    size_t freed_count;
};

static void stray_fill(struct stray *self, size_t size_or_random)
{
    for (size_t i = 0; i < STRAY_OBJECTS; i++) {
        size_t size = size_or_random != 0 ? size_or_random : random_size(&self->random, 10);

        if (self->objects[i] != NULL) {
            continue;
        }
        self->objects[i] = new_object(self->runtime, size);
        self->sizes[i] = jsrtmem_usable_size(self->objects[i]);
        pattern_fill(self->objects[i], self->sizes[i], i);
    }
}

static void stray_check(const struct stray *self)
{
    for (size_t i = 0; i < STRAY_OBJECTS; i++) {
        require(self->objects[i] == NULL || pattern_holds(self->objects[i], self->sizes[i], i),
                "object %zu was overwritten", i);
    }
}

/* Frees every other object, so nearly every page keeps a live one and stays mapped. */
static void stray_free_half(struct stray *self)
{
    self->freed_count = 0;
    for (size_t i = random_below(&self->random, 2); i < STRAY_OBJECTS; i += 2) {
        self->freed[self->freed_count] = self->objects[i];
        self->freed_sizes[self->freed_count] = self->sizes[i];
        self->freed_count++;
        assert_ok(jsrtmem_free(self->objects[i]));
        self->objects[i] = NULL;
    }
}

/* What a hostile or careless tenant may write: constants, noise, addresses. */
static void scribble(struct stray *self, unsigned char *bytes, size_t size, unsigned kind)
{
    static const unsigned char constants[] = {0x00, 0xff, 0x01, 0x80};

    if (kind < COUNT_OF(constants)) {
        poke_fill(bytes, constants[kind], size);
        return;
    }
    for (size_t at = 0; at + sizeof(uintptr_t) <= size; at += sizeof(uintptr_t)) {
        uintptr_t value = (uintptr_t)random_next(&self->random);
        size_t index = random_below(&self->random, STRAY_OBJECTS);

        if (kind == COUNT_OF(constants)) {
            value = (uintptr_t)self->objects[index]; /* a live object's address, or null */
        } else if (kind == COUNT_OF(constants) + 1) {
            value = (uintptr_t)&in_bss[index % sizeof(in_bss)];
        }
        poke(bytes + at, &value, sizeof(value));
    }
}

static bool page_has_a_live_object(const struct stray *self, uintptr_t page)
{
    for (size_t i = 0; i < STRAY_OBJECTS; i++) {
        uintptr_t start = (uintptr_t)self->objects[i];

        if (start != 0 && start < page + page_size() && start + self->sizes[i] > page) {
            return true;
        }
    }
    return false;
}

/* Scribbles over a freed object, but not in pages that may have gone back to the OS. */
static void scribble_over_freed(struct stray *self, size_t index, unsigned kind)
{
    uintptr_t start = (uintptr_t)self->freed[index];
    uintptr_t end = start + self->freed_sizes[index];

    while (start < end) {
        uintptr_t page = start & ~(uintptr_t)(page_size() - 1);
        uintptr_t stop = end < page + page_size() ? end : page + page_size();

        if (page_has_a_live_object(self, page)) {
            scribble(self, (unsigned char *)start, stop - start, kind);
        }
        start = stop;
    }
}

static void stray_round(struct stray *self, size_t size, unsigned kind)
{
    stray_fill(self, size);
    stray_free_half(self);
    for (size_t i = 0; i < self->freed_count; i++) {
        scribble_over_freed(self, i, kind);
    }
    stray_check(self);
    for (size_t i = 0; i < self->freed_count; i++) {
        require(jsrtmem_free(self->freed[i]) == JsErrorInvalidArgument, "freed again: %p",
                (void *)self->freed[i]);
    }
    stray_fill(self, size);
    stray_check(self);
}

static void stray_start(struct stray *self)
{
    memset(self, 0, sizeof(*self));
    self->random = random_seeded(23);
    self->runtime = new_runtime();
}

static void stray_end(struct stray *self)
{
    stray_check(self);
    for (size_t i = 0; i < STRAY_OBJECTS; i++) {
        if (self->objects[i] != NULL) {
            assert_ok(jsrtmem_free(self->objects[i]));
        }
    }
    assert_ok(JsCollectGarbage(self->runtime));
    assert_int_equal(usage_of(self->runtime), 0);
    dispose(self->runtime);
}

static struct stray the_stray;

static void writes_into_freed_objects_of_one_size(void **state)
{
    size_t sizes[] = {16, 32, 48, 64, 100, 256, 500, 1000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        stray_start(&the_stray);
        for (unsigned kind = 0; kind < SCRIBBLE_KINDS; kind++) {
            stray_round(&the_stray, sizes[i], kind);
        }
        stray_end(&the_stray);
    }
}

static void writes_into_freed_objects_of_all_sizes(void **state)
{
    (void)state;
    for (int entered = 0; entered < 2; entered++) {
        stray_start(&the_stray);
        if (entered) {
            assert_ok(jsrtmem_enter(the_stray.runtime));
        }
        for (unsigned round = 0; round < 3 * SCRIBBLE_KINDS; round++) {
            stray_round(&the_stray, 0, round % SCRIBBLE_KINDS);
        }
        if (entered) {
            assert_ok(jsrtmem_leave(the_stray.runtime));
        }
        stray_end(&the_stray);
    }
}

/* An aligned range of this size in which an object begins holds no data of the allocator. */
#define STRETCH KIB(4)

/* Marks the bytes of live objects within one stretch. */
static void mark_live(const struct stray *self, uintptr_t stretch, unsigned char *live)
{
    for (size_t i = 0; i < STRAY_OBJECTS; i++) {
        uintptr_t start = (uintptr_t)self->objects[i];
        uintptr_t end = start + self->sizes[i];

        if (start == 0 || end <= stretch || start >= stretch + STRETCH) {
            continue;
        }
        for (uintptr_t at = start < stretch ? stretch : start; at < end && at < stretch + STRETCH;
             at++) {
            live[at - stretch] = 1;
        }
    }
}

/* Overwrites every byte outside live objects in each stretch where a live object begins: free
 * objects, gaps, and whatever the allocator may keep next to them. */
static void overwrite_around(struct stray *self, unsigned kind)
{
    static unsigned char live[STRETCH];
    static unsigned char noise[STRETCH];
    uintptr_t done = 0;

    for (size_t i = 0; i < STRAY_OBJECTS; i++) {
        uintptr_t stretch = (uintptr_t)self->objects[i] & ~(uintptr_t)(STRETCH - 1);

        if (self->objects[i] == NULL || stretch == done) {
            continue;
        }
        memset(live, 0, STRETCH);
        mark_live(self, stretch, live);
        scribble(self, noise, STRETCH, kind);
        for (size_t at = 0; at < STRETCH; at++) {
            if (!live[at]) {
                poke((unsigned char *)stretch + at, &noise[at], 1);
            }
        }
        done = stretch;
    }
}

static void writes_next_to_live_objects(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < SCRIBBLE_KINDS; kind++) {
        stray_start(&the_stray);
        stray_fill(&the_stray, kind % 2 == 0 ? 0 : 200);
        stray_free_half(&the_stray);
        overwrite_around(&the_stray, kind);
        stray_check(&the_stray);
        stray_fill(&the_stray, 0);
        overwrite_around(&the_stray, kind);
        stray_check(&the_stray);
        stray_free_half(&the_stray);
        stray_fill(&the_stray, 0);
        stray_end(&the_stray);
    }
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(double_free_of_every_size),
        cmocka_unit_test(double_free_is_seen_long_after),
        cmocka_unit_test(double_free_from_another_thread),
        cmocka_unit_test(double_free_of_queued_objects_is_refused_or_counted),
        cmocka_unit_test(every_offset_within_small_objects),
        cmocka_unit_test(offsets_within_large_objects),
        cmocka_unit_test(interior_of_aligned_objects),
        cmocka_unit_test(addresses_around_the_only_object),
        cmocka_unit_test(foreign_memory),
        cmocka_unit_test(addresses_that_no_memory_has),
        cmocka_unit_test(unmapped_and_inaccessible_pages),
        cmocka_unit_test(objects_of_disposed_runtimes),
        cmocka_unit_test(writes_into_freed_objects_of_one_size),
        cmocka_unit_test(writes_into_freed_objects_of_all_sizes),
        cmocka_unit_test(writes_next_to_live_objects),
    };

    return cmocka_run_group_tests_name("misuse", tests, NULL, NULL);
}
