/*
 * The free objects that a sweep of a large heap leaves in no list: they count as free, and are
 * listed bit by bit when something is needed.
 */
#include "support/heap_check.h"
#include "support/random.h"
#include "support/rig.h"

RIG_OF_EACH_TEST
#define HEAP (&rig.heap)

#define SIZE 96 /* the bytes of most objects here */
#define CODE 6  /* the size class of SIZE */

/* The most objects that a sweep lists, and that a step after it lists. A sweep may list one block
 * more, and a step 64 states. */
#define STEP 1024

static unsigned char *objects[40000];

/* Frees every second of many objects, so that each free run is as long as one of them. */
static void alternate(void)
{
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, SIZE);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i += 2) {
        assert_true(jm_heap_free(HEAP, objects[i]));
        objects[i] = NULL;
    }
    jm_sweep(HEAP->arena);
    (void)assert_heap(HEAP, HEAP_LISTS);
    assert_int_equal(HEAP->arena->longest_unlisted, CODE);
}

static size_t count_listed(unsigned code)
{
    size_t count = 0;
    for (const struct jm_link *link = HEAP->arena->free[code].next; link != NULL;
         link = jm_link_next(link)) {
        count++;
    }
    return count;
}

/* Acts as if all listed objects were used up. */
static void forget_lists(void)
{
    jm_arena_clear_lists(HEAP->arena);
    HEAP->arena->broken = true;
}

/* The first block with unlisted objects. */
static struct jm_block *unlisted_block(void)
{
    struct jm_block *block = jm_load_relaxed(&HEAP->supply.small);
    while (block != NULL && block->unlisted == 0) {
        block = jm_load_relaxed(&block->next);
    }
    assert_non_null(block);
    return block;
}

static size_t unlisted_granule(const struct jm_block *block)
{
    size_t granule = block->first_granule;
    while (jm_load_relaxed(&block->map[granule]) != JM_UNLISTED) {
        granule++;
    }
    return granule;
}

static void all_of_it_serves_a_step_at_a_time(void **state)
{
    size_t steps = 0;

    (void)state;
    alternate();
    size_t usage = rig_usage(&rig);
    size_t free = assert_heap(HEAP, HEAP_LISTS).free_objects;
    assert_true(free > COUNT_OF(objects) / 2 - 100); /* except at the ends of blocks */
    assert_true(count_listed(CODE) >= STEP && count_listed(CODE) < free / 2);
    for (size_t i = 0; i < free; i++) {
        bool was_empty = count_listed(CODE) == 0;
        (void)rig_alloc(&rig, SIZE);
        if (was_empty && count_listed(CODE) > 0) {
            steps++;
            assert_true(count_listed(CODE) < STEP + 64);
            (void)assert_heap(HEAP, HEAP_LISTS);
        }
    }
    assert_true(steps > free / STEP / 2);
    assert_int_equal(rig_usage(&rig), usage);
    assert_true(assert_heap(HEAP, HEAP_LISTS).free_objects <= 1); /* the rest of a span */
}

/* Nothing is listed for a request that no unlisted object is long enough for. */
static void what_is_too_short_stays_as_it_is(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    alternate();
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, 4 * SIZE, &verdict) != NULL) { /* the rests of blocks */
    }
    assert_int_equal(verdict, JM_REFUSED_LIMIT);
    assert_int_equal(HEAP->arena->longest_unlisted, CODE);
    assert_true(count_listed(CODE) < COUNT_OF(objects) / 4);
    assert_false(jm_sweep_list(HEAP->arena, CODE)); /* enough of that class is listed */
    forget_lists();
    assert_false(jm_sweep_list(HEAP->arena, CODE + 1));
    assert_true(jm_sweep_list(HEAP->arena, CODE));
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* A step continues until it has listed an object that serves. What lies behind that object still
 * counts as unlisted. */
static void a_step_ends_with_what_serves(void **state)
{
    const unsigned code = jm_class_of_size(KIB(1));
    static void *longer[8];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        if (i % (COUNT_OF(objects) / COUNT_OF(longer)) == 0) {
            longer[count] = rig_alloc(&rig, KIB(8 - count)); /* the last blocks are listed first */
            count++;
        }
        objects[i] = rig_alloc(&rig, SIZE);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i += 2) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(jm_heap_free(HEAP, longer[i]));
    }
    jm_sweep(HEAP->arena);
    assert_true(HEAP->arena->longest_unlisted >= jm_class_granules[code]);
    forget_lists();
    while (jm_sweep_list(HEAP->arena, code)) {
        bool serves = jm_arena_next_listed(HEAP->arena, code) <= JM_CLASSES;
        require(serves, "a step has listed %zu short ones only", count_listed(CODE));
        forget_lists();
        (void)assert_heap(HEAP, HEAP_LISTS);
    }
    assert_true(HEAP->arena->longest_unlisted < jm_class_granules[code]);
    for (struct jm_block *block = jm_load_relaxed(&HEAP->supply.small); block != NULL;
         block = jm_load_relaxed(&block->next)) {
        assert_true(block->unlisted < jm_class_granules[code]);
    }
}

/* The span may lie in a block whose objects are to be listed. It is retired first. */
static void the_span_is_put_back_first(void **state)
{
    (void)state;
    alternate();
    struct jm_block *block = unlisted_block();
    jm_arena_retire_span(HEAP->arena);
    size_t start = unlisted_granule(block);
    /* As if a longer object had been cut: its start is live, and the rest is the span. */
    jm_store_relaxed(&block->map[start], JM_PLAIN + 2);
    jm_arena_open_span(HEAP->arena, block, start + 2, start + CODE);
    (void)assert_heap(HEAP, HEAP_MAPS);
    forget_lists();
    assert_true(jm_sweep_list(HEAP->arena, CODE));
    assert_int_equal(jm_load_relaxed(&block->map[start + 2]), JM_FREE + CODE - 2);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

static void it_is_free_for_whoever_asks(void **state)
{
    (void)state;
    alternate();
    struct jm_block *block = unlisted_block();
    void *object = jm_granule_address(block, unlisted_granule(block));
    assert_int_equal(jm_heap_usable(HEAP, object), 0);
    assert_false(jm_heap_free(HEAP, object));
    assert_false(jm_heap_queue_free(block, object));
    assert_string_equal(jm_heap_fault_any(object), "which is freed already");
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* An empty block is given back with its unlisted objects. */
static void a_block_that_becomes_empty_goes(void **state)
{
    size_t gone = 0;

    (void)state;
    alternate();
    for (size_t first = 1; first < COUNT_OF(objects); first += 2) {
        struct jm_block *block = objects[first] == NULL ? NULL : jm_block_of(objects[first]);
        if (block == NULL || block->unlisted == 0) {
            continue;
        }
        for (size_t i = first; i < COUNT_OF(objects); i += 2) {
            if (objects[i] != NULL && jm_block_of(objects[i]) == block) {
                assert_true(jm_heap_free(HEAP, objects[i]));
                objects[i] = NULL;
            }
        }
        gone++;
        jm_heap_tidy(HEAP);
        assert_true(assert_heap(HEAP, HEAP_LISTS).empty_small <= 1);
    }
    assert_true(gone > 1);
    for (size_t i = 1; i < COUNT_OF(objects); i += 2) {
        assert_true(objects[i] == NULL || jm_heap_free(HEAP, objects[i]));
    }
    jm_heap_tidy(HEAP);
    assert_true(assert_heap(HEAP, HEAP_LISTS).small_blocks <= 1);
}

/* Frees every second object and, in each block, all objects from `start` to `end`, in 64ths of the
 * block; in every second block, all from `start` on. */
static void thin_out(size_t start, size_t end)
{
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        const struct jm_block *block = objects[i] == NULL ? NULL : jm_block_of(objects[i]);
        if (block == NULL) {
            continue;
        }
        bool to_end = (uintptr_t)block->start / jm_block_size(block) % 2 == 0;
        size_t place = jm_granule_of(block, objects[i]) * 64 / block->granules;
        if (i % 2 == 0 || (place >= start && (to_end || place < end))) {
            assert_true(jm_heap_free(HEAP, objects[i]));
            objects[i] = NULL;
        }
    }
}

/* Sweeps, and gives long runs back. Returns their bytes. `again`: nothing has changed since that
 * sweep. */
static size_t give(bool again)
{
    jm_sweep(HEAP->arena);
    size_t given = jm_sweep_and_decommit(HEAP->arena, JM_HOLE_MIN, SIZE_MAX, again);
    jm_quota_refund(&HEAP->supply.quota, given);
    (void)assert_heap(HEAP, HEAP_LISTS);
    return given;
}

/* With `again`, a sweep skips blocks that have not changed since the last one. It must find as much
 * to give back: long runs, rests of blocks, and runs beside a hole. */
static void what_goes_is_found_again(void **state)
{
    size_t given[2], beside[2];
    uint32_t left[2];

    (void)state;
    for (unsigned again = 0; again < 2; again++) {
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            objects[i] = rig_alloc(&rig, SIZE);
        }
        thin_out(24, 56);
        given[again] = give(again != 0);
        thin_out(20, 60);
        beside[again] = give(again != 0);
        left[again] = HEAP->arena->left_free;
        rig_drop(&rig);
        rig_make(&rig);
    }
    assert_true(given[0] >= JM_HOLE_MIN << JM_GRANULE_BITS);
    assert_true(beside[0] > 0 || jm_os_page_size() == KIB(64));
    assert_in_range(given[1], given[0] / 8 * 7, given[0] / 8 * 9);
    assert_in_range(beside[1], beside[0] / 8 * 7, beside[0] / 8 * 9);
    assert_in_range(left[1], left[0] / 8 * 7, left[0] / 8 * 9);
}

/* Free memory that is given back with its block no longer counts as free. */
static void what_a_block_had_is_not_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, SIZE);
    }
    thin_out(24, 56);
    assert_true(give(false) > 0);
    const struct jm_block *block = unlisted_block();
    while (!jm_block_has_holes(block)) {
        block = jm_load_relaxed(&block->next);
        assert_non_null(block);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        if (objects[i] != NULL && jm_block_of(objects[i]) == block) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
    }
    jm_sweep(HEAP->arena);
    jm_heap_note_done(HEAP, JM_DONE_SWEEP);
    size_t left = HEAP->arena->left_free;
    size_t blocks = assert_heap(HEAP, HEAP_LISTS).small_blocks;
    rig_set_limit(&rig, rig_usage(&rig));
    jm_heap_make_room(HEAP, MIB(1), true);
    struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS);
    assert_int_equal(walk.small_blocks, blocks - 1);
    assert_true(HEAP->arena->left_free < left);
    assert_true((size_t)HEAP->arena->left_free << JM_GRANULE_BITS <= walk.free_bytes);
}

/* An aligned free object is found although it is in no list and no unlisted run is longer. */
static void an_aligned_one_needs_no_new_block(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects) / 4; i++) {
        objects[i] = jm_heap_alloc_aligned(HEAP, 128, 128, &verdict);
    }
    for (size_t i = 0; i < COUNT_OF(objects) / 4; i += 2) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    jm_sweep(HEAP->arena);
    assert_int_equal(HEAP->arena->longest_unlisted, 8);
    size_t usage = rig_usage(&rig);
    for (size_t i = 0; i < COUNT_OF(objects) / 4; i += 2) {
        assert_non_null(jm_heap_alloc_aligned(HEAP, 128, 128, &verdict));
    }
    assert_int_equal(rig_usage(&rig), usage);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* Nothing is listed while the request can be cut from a listed object. */
static void what_is_listed_serves_first(void **state)
{
    (void)state;
    alternate();
    size_t listed = count_listed(CODE);
    assert_true(listed >= STEP);
    for (size_t i = 1; i < STEP; i++) {
        (void)rig_alloc(&rig, SIZE - 32); /* of a class with no free object */
        assert_true(count_listed(CODE) <= listed && count_listed(CODE) + i + 1 >= listed);
    }
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* A long free object is not cut up for small ones while there are free objects of their size. */
static void what_is_long_is_spared(void **state)
{
    (void)state;
    void *large = rig_alloc(&rig, KIB(200));
    alternate();
    size_t free = assert_heap(HEAP, HEAP_LISTS).free_objects;
    size_t usage = rig_usage(&rig);
    assert_true(jm_heap_free(HEAP, large));
    for (size_t i = 0; i < free; i++) {
        (void)rig_alloc(&rig, SIZE);
    }
    assert_ptr_equal(rig_alloc(&rig, KIB(200)), large);
    assert_int_equal(rig_usage(&rig), usage);
}

/* A block with objects listed since the last sweep is swept again. Otherwise these objects would be
 * in no list any more. */
static void what_was_listed_since_is_not_lost(void **state)
{
    (void)state;
    alternate();
    while (count_listed(CODE) > 0) {
        (void)rig_alloc(&rig, SIZE);
    }
    jm_arena_list_last(HEAP->arena);
    assert_true(jm_sweep_list(HEAP->arena, CODE));
    (void)jm_sweep_and_decommit(HEAP->arena, JM_HOLE_MIN, 0, true);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* An aligned place in the span is used before the span is retired to list others. */
static void an_aligned_place_in_the_span_is_taken(void **state)
{
    const size_t alignment = KIB(4);
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    alternate();
    char *large = jm_heap_alloc_aligned(HEAP, alignment, 2 * alignment, &verdict);
    assert_non_null(large);
    jm_arena_retire_span(HEAP->arena);
    forget_lists();
    assert_true(jm_heap_free(HEAP, large));
    jm_arena_list_last(HEAP->arena);
    jm_arena_choose_span(HEAP->arena, 1);
    while (HEAP->arena->span.next < large + alignment - 16) {
        assert_true(jm_arena_has_room(HEAP->arena, 1));
        (void)jm_arena_cut(HEAP->arena, 1);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    void *object = jm_heap_alloc_aligned(HEAP, alignment, SIZE, &verdict);
    assert_ptr_equal(object, large + alignment);
    (void)assert_heap(HEAP, HEAP_MAPS);
}

/* At the limit an aligned free object is found wherever it lies. */
static void an_aligned_one_is_found(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    unsigned char *aligned[600];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(aligned); i++) {
        aligned[i] = rig_alloc(&rig, 128);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, SIZE);
    }
    for (size_t i = 0; i < COUNT_OF(aligned); i += 2) {
        count += (uintptr_t)aligned[i] % 128 == 0;
        assert_true(jm_heap_free(HEAP, aligned[i]));
    }
    for (size_t i = 0; i < COUNT_OF(objects); i += 2) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, KIB(1), &verdict) != NULL) { /* the rests of blocks */
    }
    jm_sweep(HEAP->arena);
    assert_int_equal(HEAP->arena->longest_unlisted, 8);
    assert_true(count > COUNT_OF(aligned) / 8);
    for (size_t i = 0; i < count; i++) {
        void *object = jm_heap_alloc_aligned(HEAP, 128, 128, &verdict);
        require(object != NULL && (uintptr_t)object % 128 == 0, "%zu of %zu", i, count);
    }
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* Many sizes, in many blocks, listed or not: no live object changes, and all memory is given back
 * in the end. */
static void sweeps_and_steps_keep_what_lives(void **state)
{
    static size_t sizes[COUNT_OF(objects)];

    (void)state;
    memset(objects, 0, sizeof objects);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct random random = random_seeded(seed);
        enum jm_verdict verdict = JM_GRANTED;
        for (size_t step = 0; step < 200000; step++) {
            size_t i = random_below(&random, COUNT_OF(objects));
            if (objects[i] == NULL) {
                sizes[i] = random_size(&random, step % 40000 < 20000 ? 8 : 12);
                objects[i] = random_chance(&random, 5)
                                 ? jm_heap_alloc_aligned(HEAP, 128, sizes[i], &verdict)
                                 : rig_alloc(&rig, sizes[i]);
                assert_non_null(objects[i]);
                pattern_fill(objects[i], sizes[i], i);
            } else {
                assert_true(pattern_holds(objects[i], sizes[i], i));
                assert_true(random_chance(&random, 10)
                                ? jm_heap_queue_free(jm_block_of(objects[i]), objects[i])
                                : jm_heap_free(HEAP, objects[i]));
                objects[i] = NULL;
            }
            if (random_below(&random, 10000) == 0) {
                jm_sweep(HEAP->arena);
                (void)assert_heap(HEAP, HEAP_LISTS);
            } else if (random_below(&random, 10000) == 0) {
                jm_heap_tidy(HEAP);
                (void)assert_heap(HEAP, HEAP_LISTS);
            }
        }
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            assert_true(objects[i] == NULL || pattern_holds(objects[i], sizes[i], i));
            assert_true(objects[i] == NULL || jm_heap_free(HEAP, objects[i]));
            objects[i] = NULL;
        }
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

#define LISTING_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTING_TEST(all_of_it_serves_a_step_at_a_time),
        LISTING_TEST(what_is_too_short_stays_as_it_is),
        LISTING_TEST(a_step_ends_with_what_serves),
        LISTING_TEST(the_span_is_put_back_first),
        LISTING_TEST(it_is_free_for_whoever_asks),
        LISTING_TEST(a_block_that_becomes_empty_goes),
        LISTING_TEST(what_goes_is_found_again),
        LISTING_TEST(what_a_block_had_is_not_left),
        LISTING_TEST(what_is_listed_serves_first),
        LISTING_TEST(an_aligned_one_needs_no_new_block),
        LISTING_TEST(what_is_long_is_spared),
        LISTING_TEST(what_was_listed_since_is_not_lost),
        LISTING_TEST(an_aligned_place_in_the_span_is_taken),
        LISTING_TEST(an_aligned_one_is_found),
        LISTING_TEST(sweeps_and_steps_keep_what_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
