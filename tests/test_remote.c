/*
 * Frees from other threads: they wait in the maps until the heap's user takes them in. Each object
 * is taken in once, however many threads free it, and a second free is refused at once.
 */
#include "support/heap_check.h"
#include "support/random.h"
#include "support/rig.h"

#include <pthread.h>

RIG_OF_EACH_TEST
#define HEAP (&rig.heap)

static bool queue(void *object)
{
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    struct jm_block *block = jm_pagemap_block(object);
    bool queued = block != NULL && jm_heap_queue_free(block, object);
    jm_pagemap_leave(reader);
    return queued;
}

static struct heap_walk check(void)
{
    return assert_heap(HEAP, HEAP_LISTS);
}

static void queued_objects_are_taken_in(void **state)
{
    void *objects[300];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, i % 50 == 7 ? MIB(1) : 16 + 40 * i);
    }
    struct heap_walk before = check();
    assert_false(jm_heap_drain(HEAP));
    size_t queued = 0;
    for (size_t i = 0; i < COUNT_OF(objects); i += i % 7 + 1) {
        assert_true(queue(objects[i]));
        queued++;
    }
    struct heap_walk walk = check();
    assert_int_equal(walk.queued_objects, queued);
    assert_int_equal(walk.live_objects,
                     before.live_objects); /* queued ones count as live until taken in */
    assert_true(jm_heap_drain(HEAP));
    assert_false(jm_heap_drain(HEAP));
    walk = check();
    assert_int_equal(walk.queued_objects, 0);
    assert_int_equal(walk.live_objects, before.live_objects - queued);
    jm_heap_tidy(HEAP);
    (void)check();
}

/* Whatever lies behind the object: the span, or another object that is live, queued or free. */
static void an_object_is_taken_in_as_what_it_was(void **state)
{
    enum { SPAN, LIVE, QUEUED, FREE, ENDS };
    size_t seen = 0;
    (void)state;
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        for (unsigned end = SPAN; end < ENDS; end++) {
            const size_t size = jm_class_bytes(code);
            void *object = rig_alloc(&rig, size);
            void *next = end == SPAN ? NULL : rig_alloc(&rig, size);
            assert_true(end != QUEUED || queue(next));
            assert_true(end != FREE || jm_heap_free(HEAP, next));
            assert_true(queue(object));
            assert_int_equal(check().queued_objects, end == QUEUED ? 2 : 1);
            assert_true(jm_heap_drain(HEAP));
            (void)check();
            struct jm_block *block = jm_block_of(object);
            size_t granule = jm_granule_of(block, object);
            if (granule < block->carved) { /* else the block became empty */
                assert_int_equal(jm_arena_class_at(HEAP->arena, block, granule), code);
                seen++;
            }
            assert_true(end != LIVE || jm_heap_free(HEAP, next));
            jm_heap_collect(HEAP);
            assert_int_equal(rig_usage(&rig), 0);
        }
    }
    assert_true(seen > JM_CLASSES * ENDS / 4 * 3);
}

static void a_second_free_is_refused_at_once(void **state)
{
    const size_t sizes[] = {16, 1000, JM_SMALL_MAX, MIB(1)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        enum jm_verdict verdict = JM_GRANTED;
        void *object = rig_alloc(&rig, sizes[i]);
        assert_true(queue(object));
        assert_false(queue(object));
        assert_false(jm_heap_free(HEAP, object));
        assert_int_equal(jm_heap_usable(HEAP, object), 0);
        assert_int_equal(jm_heap_usable_in(jm_pagemap_block(object), object), 0);
        assert_null(jm_heap_of_in(jm_pagemap_block(object), object));
        assert_null(jm_heap_resize(HEAP, object, 10, &verdict));
        assert_int_equal(verdict, JM_REFUSED_ARGUMENT);
        assert_true(jm_heap_drain(HEAP));
        assert_false(queue(object));
        assert_false(jm_heap_free(HEAP, object));
        (void)check();
    }
}

static void what_is_no_object_is_not_queued(void **state)
{
    int local = 0;
    (void)state;
    char *small = rig_alloc(&rig, 100);
    char *large = rig_alloc(&rig, MIB(1));
    char *freed = rig_alloc(&rig, 100);
    assert_true(jm_heap_free(HEAP, freed));
    struct jm_block *home = jm_arena_home(HEAP->arena);
    char *end = home->start + jm_block_size(home); /* another block may begin there */
    void *const bad[] = {NULL,  &local,      small + 1,  small + 16,    small - 16,
                         freed, large + 1,   large + 16, large + 70000, large - 16,
                         home,  HEAP->arena, end - 16,   home->map};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(queue(bad[i]));
        assert_int_equal(jm_heap_usable_in(jm_pagemap_block(bad[i]), bad[i]), 0);
        assert_null(jm_heap_of_in(jm_pagemap_block(bad[i]), bad[i]));
    }
    assert_false(jm_heap_drain(HEAP));
    assert_ptr_equal(jm_heap_of_in(jm_pagemap_block(small), small), HEAP);
    assert_ptr_equal(jm_heap_of_in(jm_pagemap_block(large), large), HEAP);
    assert_int_equal(check().live_objects, 2);
}

/* A block whose objects are all queued still has live objects. It is released once they are taken
 * in. */
static void a_block_with_queued_objects_stays(void **state)
{
    (void)state;
    void *small = rig_alloc(&rig, JM_SMALL_MAX);
    void *large = rig_alloc(&rig, MIB(1));
    size_t usage = rig_usage(&rig);
    rig_forget(&rig);
    assert_true(queue(small) && queue(large));
    assert_int_equal(rig_usage(&rig), usage);
    assert_log(&rig, "");
    jm_heap_collect(HEAP); /* takes them in first */
    assert_log(&rig, "FF");
    assert_int_equal(rig_usage(&rig), 0);
}

/* A thread is stopped after the first step of a free, which marks the object as queued. The marks
 * of another free cause the object to be taken in, and the block passes to another heap. Then the
 * thread goes on. */
static void marks_that_come_late_cost_a_look(void **state)
{
    static struct rig other;
    (void)state;
    rig_make(&other);
    jm_reserve_set_limit(MIB(1));
    void *object = rig_alloc(&rig, 64);
    struct jm_block *block = jm_block_of(object);
    if (!jm_region_holds(object)) {
        rig_drop(&other);
        return; /* outside the region, the release waits for the thread */
    }
    _Atomic(uint8_t) *place = jm_region_state_of(object);
    jm_store_relaxed(place, JM_QUEUED);
    jm_store_relaxed(&block->queued, UINT64_MAX);
    jm_store_relaxed(&HEAP->queued, JM_TAKE_IN_SMALL);
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), 0);

    unsigned char *theirs = rig_alloc(&other, 64);
    assert_ptr_equal(jm_block_of(theirs), block);
    memset(theirs, 7, 64);
    assert_int_equal(jm_load_relaxed(&block->queued), 0);
    for (int mark = 0; mark < 64; mark++) {
        (void)atomic_fetch_or(&block->queued, (uint64_t)1 << mark);
        (void)atomic_fetch_or(&HEAP->queued, JM_TAKE_IN_SMALL);
        (void)atomic_fetch_or(&other.heap.queued, JM_TAKE_IN_SMALL);
        assert_true(jm_heap_drain(HEAP));
        assert_true(jm_heap_drain(&other.heap));
        assert_int_equal(assert_heap(&other.heap, HEAP_LISTS).live_objects, 1);
        assert_int_equal(check().live_objects, 0);
    }
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(theirs[i], 7);
    }
    assert_true(queue(theirs)); /* a free that comes now belongs to the other heap */
    assert_true(jm_heap_drain(&other.heap));
    rig_drop(&other);
    jm_reserve_set_limit(0);
}

/* A range and the block that it belonged to: what a thread remembers that looked an address up
 * before the block was released. */
struct memory {
    const char *start, *end;
    struct jm_block *block;
};

static struct jm_block *remembered(const struct memory *memories, size_t count, const char *address)
{
    for (size_t i = 0; i < count; i++) {
        if (address >= memories[i].start && address < memories[i].end) {
            return memories[i].block;
        }
    }
    return NULL;
}

/* Two threads free one object. The first one looks its block up and is stopped. The free of the
 * second one is taken in, and the memory is cut into smaller blocks of another heap. What the first
 * one then frees is an object of that heap. This misuse costs the heap the object, but leaves
 * nothing behind. */
static void marks_are_made_where_the_object_is(void **state)
{
    enum { BLOCKS = 60, OTHERS = 4 };
    static struct rig others[OTHERS];
    struct memory memories[BLOCKS];
    size_t met = 0;
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        struct jm_block *block = jm_block_of(rig_alloc(&rig, JM_SMALL_MAX));
        memories[i] = (struct memory){block->start, block->start + jm_block_size(block), block};
    }
    bool in_region = jm_region_holds(memories[0].start);
    rig_drop(&rig); /* outside the region, the release would wait for the thread */
    rig_make(&rig);
    if (in_region) { /* the thread goes on while nobody owns the memory */
        _Atomic(uint8_t) *place = jm_region_state_of(memories[0].start);
        jm_store_relaxed(place, 1 + JM_PLAIN);
        assert_true(jm_heap_queue_free(memories[0].block, (void *)(uintptr_t)memories[0].start));
        jm_store_relaxed(place, 0);
    }
    for (size_t i = 0; in_region && i < OTHERS; i++) {
        rig_make(&others[i]);
        for (size_t j = 0; j < BLOCKS / 2; j++) {
            void *theirs = rig_alloc(&others[i], JM_SMALL_MAX);
            struct jm_block *old = remembered(memories, BLOCKS, theirs);
            if (old != NULL && old != jm_block_of(theirs)) {
                assert_true(jm_heap_queue_free(old, theirs));
                (void)jm_heap_drain(&others[i].heap);
                assert_int_equal(assert_heap(&others[i].heap, HEAP_LISTS).queued_objects, 0);
                met++;
            }
        }
    }
    assert_true(met > 0 || !in_region);
    for (size_t i = 0; in_region && i < OTHERS; i++) {
        rig_drop(&others[i]);
    }
}

static void blocks_emptied_by_a_drain_go_at_the_next_use(void **state)
{
    void *objects[3];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, JM_SMALL_MAX);
    }
    assert_int_equal(check().small_blocks, COUNT_OF(objects));
    rig_forget(&rig);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_true(queue(objects[i]));
    }
    assert_true(jm_heap_drain(HEAP));
    assert_log(&rig, "");
    jm_heap_tidy(HEAP);
    assert_log(&rig, "FF"); /* one block is kept */
}

/* A drain finds the marks in every part of a map, in maps of every size. */
static void each_place_of_a_map_is_drained(void **state)
{
    static void *objects[20000];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 16 + i % 3 * 100);
    }
    struct random random = random_seeded(6);
    size_t live = COUNT_OF(objects);
    while (live > 0) {
        size_t burst = 1 + random_below(&random, live < 800 ? live : 800);
        for (size_t i = 0; i < burst; i++) {
            size_t index = random_below(&random, live);
            assert_true(queue(objects[index]));
            objects[index] = objects[--live];
        }
        assert_true(jm_heap_drain(HEAP));
        struct heap_walk walk = assert_heap(HEAP, HEAP_MAPS);
        assert_int_equal(walk.live_objects, live);
        assert_int_equal(walk.queued_objects, 0);
    }
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), 0);
}

/* ---- Threads ---- */

#define THREADS 3
#define OBJECTS 3000

static struct {
    _Atomic(void *) objects[OBJECTS];
    _Atomic(size_t) queued, refused;
    _Atomic(bool) done;
} shared;

/* Frees every object that it sees, as the other threads do. One of them wins each object. */
static void *free_all_seen(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    for (bool done = false; !done;) {
        done = jm_load_acquire(&shared.done);
        for (size_t i = 0; i < OBJECTS; i++) {
            void *object = atomic_load(&shared.objects[i]);
            if (object != NULL) {
                atomic_fetch_add(queue(object) ? &shared.queued : &shared.refused, 1);
            }
        }
    }
    return NULL;
}

/* An object that was taken in may be handed out again at its old address. It is then also freed
 * through its old entry. Each allocation is freed exactly once. */
static void threads_agree_who_freed_an_object(void **state)
{
    pthread_t threads[THREADS];
    struct random random = random_seeded(2);

    (void)state;
    jm_store_relaxed(&shared.done, false);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, free_all_seen, NULL), 0);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        atomic_store(&shared.objects[i],
                     rig_alloc(&rig, i % 200 == 0 ? MIB(1) : random_size(&random, 10)));
    }
    jm_store_release(&shared.done, true);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)jm_heap_drain_all(HEAP);
    struct heap_walk walk = check();
    assert_int_equal(walk.queued_objects, 0);
    assert_int_equal(walk.live_objects, 0);
    assert_int_equal(atomic_load(&shared.queued), OBJECTS);
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_false(queue(atomic_load(&shared.objects[i])));
    }
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), 0);
}

/* One thread allocates and marks objects, others check and free them. No object is lost, and none
 * is handed out twice. */
#define LANES 64
#define ROUNDS 400

static struct lanes {
    _Atomic(unsigned char *) lanes[LANES];
    _Atomic(size_t) faults;
    _Atomic(bool) done;
} belt;

static size_t lane_size(size_t lane)
{
    return lane == 0 ? MIB(1) : 16 + 37 * lane;
}

static void *take_from_lanes(void *argument)
{
    size_t own = (size_t)(uintptr_t)argument;
    (void)jm_thread_ready();
    for (bool done = false; !done;) {
        done = jm_load_acquire(&belt.done);
        for (size_t lane = own; lane < LANES; lane += THREADS) {
            unsigned char *object = atomic_exchange(&belt.lanes[lane], NULL);
            if (object != NULL) {
                bool whole = pattern_holds(object, lane == 0 ? 4096 : lane_size(lane), lane);
                atomic_fetch_add(&belt.faults, !whole || !queue(object));
            }
        }
    }
    return NULL;
}

static void objects_go_round_between_threads(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    jm_store_relaxed(&belt.done, false);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_from_lanes, (void *)(uintptr_t)i),
                         0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t lane = 0; lane < LANES; lane++) {
            if (jm_load_acquire(&belt.lanes[lane]) == NULL) {
                unsigned char *object = rig_alloc(&rig, lane_size(lane));
                pattern_fill(object, lane == 0 ? 4096 : lane_size(lane), lane);
                jm_store_release(&belt.lanes[lane], object);
            }
        }
        if (round % 16 == 0) {
            jm_heap_collect(HEAP);
        } else {
            (void)jm_heap_drain(HEAP);
            jm_heap_tidy(HEAP);
        }
    }
    jm_store_release(&belt.done, true);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&belt.faults), 0);
    (void)jm_heap_drain_all(HEAP);
    assert_int_equal(check().live_objects, 0);
    jm_heap_collect(HEAP);
    jm_reserve_drop_waiting();
    assert_int_equal(rig_usage(&rig), 0);
}

#define REMOTE_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REMOTE_TEST(queued_objects_are_taken_in),
        REMOTE_TEST(an_object_is_taken_in_as_what_it_was),
        REMOTE_TEST(a_second_free_is_refused_at_once),
        REMOTE_TEST(what_is_no_object_is_not_queued),
        REMOTE_TEST(a_block_with_queued_objects_stays),
        REMOTE_TEST(marks_that_come_late_cost_a_look),
        REMOTE_TEST(marks_are_made_where_the_object_is),
        REMOTE_TEST(blocks_emptied_by_a_drain_go_at_the_next_use),
        REMOTE_TEST(each_place_of_a_map_is_drained),
        REMOTE_TEST(threads_agree_who_freed_an_object),
        REMOTE_TEST(objects_go_round_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
