/*
 * The shelves of the reserve: what lies on them, for whom, how much, and when others get it.
 */
#include "support/fake_os.h"
#include "support/unit.h"
#include "support/worker.h"

#include <pthread.h>

#include "header.h"
#include "inspect.h"
#include "process.h"
#include "reserve.h"
#include "shelf.h"

static _Atomic int faults; /* that other threads saw */
static worker *other;      /* one for all tests: the next thread's shelf may be that of this one */

static int start(void **state)
{
    (void)state;
    other = worker_start();
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    worker_stop(other);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    jm_reserve_set_limit(0);
    bool is_empty = jm_reserve_bytes() == 0;
    jm_reserve_set_limit(MIB(8));
    fake_os_reset();
    return is_empty ? 0 : -1;
}

static size_t least(void)
{
    return jm_small_block_min();
}

/* A block as a heap leaves it. Its map is elsewhere, as for blocks of the region. */
static struct jm_block *new_block(size_t size)
{
    struct jm_os_extent extent;
    char *memory = jm_os_map(size, size, &extent);
    struct jm_block *block = jm_header_take();
    if (memory == NULL || block == NULL) {
        return NULL;
    }
    jm_inspect_add_root(extent.address, extent.size);
    block->extent = extent;
    block->charge = size;
    block->granules = (size - JM_PAD) >> JM_GRANULE_BITS;
    block->start = memory;
    block->first_granule = 0;
    return block;
}

static struct jm_block *take(size_t size)
{
    static const struct jm_supply taker = {.tenancy = 7};
    return jm_reserve_take(size, &taker, true);
}

/* What a second thread does. */
struct errand {
    size_t size;
    struct jm_block *taken;
};

static void take_there(void *argument)
{
    struct errand *errand = argument;
    (void)jm_thread_ready();
    errand->taken = take(errand->size);
}

static void leave_there(void *argument)
{
    (void)jm_thread_ready();
    jm_reserve_leave(argument);
}

static struct jm_block *other_takes(size_t size)
{
    struct errand errand = {.size = size};
    worker_run(other, take_there, &errand);
    return errand.taken;
}

static void other_leaves(struct jm_block *block)
{
    worker_run(other, leave_there, block);
}

static void leave_all(struct jm_block **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        jm_reserve_leave(blocks[i]);
    }
}

/* Takes `count` blocks that it left before: so the shelf has room for them. */
static void take_all(struct jm_block **blocks, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = new_block(size);
        assert_non_null(blocks[i]);
    }
    size_t before = jm_reserve_bytes();
    leave_all(blocks, count);
    assert_int_equal(jm_reserve_bytes() - before, count * size);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = take(size);
        assert_non_null(blocks[i]);
    }
    assert_int_equal(jm_reserve_bytes(), before);
}

/* Makes the calling thread one that uses a given shelf. */
static void use_shelf(size_t shelf)
{
    while (!jm_thread_ready() || jm_thread.id % JM_SHELVES != shelf) {
        jm_thread_reset(); /* the next id is another one */
    }
}

static void a_thread_finds_what_it_brought_back(void **state)
{
    (void)state;
    struct jm_block *block;
    take_all(&block, 1, least());
    jm_reserve_leave(block);
    assert_int_equal(jm_reserve_bytes(), least());
    assert_null(other_takes(least()));
    assert_null(take(2 * least()));
    assert_null(take(JM_SHELF_BYTES));
    assert_ptr_equal(take(least()), block);
    assert_int_equal(jm_reserve_bytes(), 0);
    jm_reserve_leave(block);
    fake_os_reset();
    jm_reserve_set_limit(0);
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1);
}

static void what_was_never_taken_is_for_all(void **state)
{
    (void)state;
    struct jm_block *block = new_block(least());
    assert_non_null(block);
    jm_reserve_leave(block);
    assert_ptr_equal(other_takes(least()), block);
    jm_reserve_leave(block);
    assert_ptr_equal(other_takes(least()), block);
    other_leaves(block);
    assert_null(take(least()));
    assert_ptr_equal(other_takes(least()), block);
    other_leaves(block);
}

static void a_share_is_bounded(void **state)
{
    (void)state;
    enum { MOST = JM_SHELF_BYTES / JM_UNIT };
    struct jm_block *blocks[MOST + 1];
    size_t count = JM_SHELF_BYTES / least() + 1;
    take_all(blocks, count, least());
    leave_all(blocks, count);
    assert_int_equal(jm_reserve_bytes(), count * least());
    assert_non_null(blocks[0] = other_takes(least()));
    assert_null(other_takes(least()));
    other_leaves(blocks[0]);
    for (size_t i = 0; i + 1 < count; i++) {
        assert_non_null(blocks[i] = take(least()));
    }
    assert_null(take(least()));
    leave_all(blocks, count - 1); /* all are back: the rooms are as they were */
    assert_int_equal(jm_reserve_bytes(), count * least());
}

static void not_all_blocks_lie_on_shelves(void **state)
{
    (void)state;
    struct jm_block *block;
    take_all(&block, 1, JM_SHELF_BYTES);
    jm_reserve_leave(block);
    assert_ptr_equal(other_takes(JM_SHELF_BYTES), block);
    other_leaves(block);

    /* One with a map inside: a thread that needs one without must not find it. */
    take_all(&block, 1, least());
    struct jm_block *own_map = new_block(least());
    assert_non_null(own_map);
    own_map->map = (jm_state *)(void *)own_map->start;
    own_map->first_granule = (uint32_t)jm_first_granule(least());
    jm_reserve_leave(own_map);
    assert_null(take(least()));
    jm_reserve_leave(block);

    /* One with a hole is of no use to others. */
    take_all(&block, 1, 2 * least());
    block->charge -= page_size();
    size_t before = jm_reserve_bytes();
    jm_reserve_leave(block);
    assert_int_equal(jm_reserve_bytes(), before);
}

static void what_is_read_is_put_onto_no_shelf(void **state)
{
    (void)state;
    struct jm_block *block;
    take_all(&block, 1, least());
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    jm_reserve_leave(block);
    assert_null(take(least()));
    assert_int_equal(jm_reserve_bytes(), least());
    jm_pagemap_leave(reader);
    jm_reserve_drop_waiting();
    assert_int_equal(jm_reserve_bytes(), 0);
}

static void rooms_are_given_up_for_blocks(void **state)
{
    (void)state;
    struct jm_block *blocks[2];
    jm_reserve_set_limit(3 * least());
    take_all(blocks, 2, least());
    struct jm_block *third = new_block(2 * least());
    assert_non_null(third);
    fake_os_reset(); /* aligned memory may have been cut out of more */
    other_leaves(third);
    assert_int_equal(jm_reserve_bytes(), 2 * least());
    jm_reserve_leave(blocks[0]);
    assert_int_equal(jm_reserve_bytes(), 3 * least());
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    assert_ptr_equal(other_takes(least()), blocks[0]); /* there was no room on the shelf */
    other_leaves(blocks[0]);
    jm_reserve_leave(blocks[1]);
    assert_int_equal(jm_reserve_bytes(), 2 * least());
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1);
}

static void bring_to_each_shelf(void *argument)
{
    size_t size = *(size_t *)argument;
    for (size_t i = 0; i < JM_SHELVES; i++) {
        use_shelf(i);
        struct jm_block *block = take(size);
        atomic_fetch_add(&faults, block == NULL);
        atomic_fetch_add(&faults, jm_reserve_bytes() != (JM_SHELVES - 1) * size);
        if (block != NULL) {
            jm_reserve_leave(block);
        }
    }
}

static void what_lies_on_any_shelf_counts(void **state)
{
    (void)state;
    size_t size = least();
    for (size_t i = 0; i < JM_SHELVES; i++) {
        jm_reserve_leave(new_block(size));
    }
    worker_run(other, bring_to_each_shelf, &size);
    assert_int_equal(jm_load_relaxed(&faults), 0);
    assert_int_equal(jm_reserve_bytes(), JM_SHELVES * size);
    jm_reserve_set_limit(JM_SHELVES * size);
    assert_int_equal(jm_reserve_bytes(), JM_SHELVES * size);
    for (size_t i = 0; i < JM_SHELVES; i++) {
        assert_non_null(other_takes(size)); /* the shares have ended: they are for all */
    }
    assert_int_equal(jm_reserve_bytes(), 0);
}

static void a_full_reserve_lets_go_what_lies_on_shelves(void **state)
{
    (void)state;
    struct jm_block *blocks[2];
    jm_reserve_set_limit(2 * least());
    take_all(blocks, 2, least());
    leave_all(blocks, 2);
    struct jm_block *third = new_block(least());
    assert_non_null(third);
    fake_os_reset();
    other_leaves(third);
    assert_int_equal(jm_reserve_bytes(), 2 * least());
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1);
    assert_non_null(blocks[0] = other_takes(least()));
    assert_non_null(blocks[1] = other_takes(least()));
    other_leaves(blocks[0]);
    other_leaves(blocks[1]);
    jm_reserve_drain();
    assert_int_equal(jm_reserve_bytes(), 0);
}

static void a_lower_bound_ends_shares(void **state)
{
    (void)state;
    struct jm_block *blocks[2];
    take_all(blocks, 2, least());
    fake_os_reset();
    jm_reserve_leave(blocks[0]);
    jm_reserve_set_limit(least());
    assert_int_equal(jm_reserve_bytes(), least());
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    jm_reserve_leave(blocks[1]); /* no room, and none for both */
    assert_int_equal(jm_reserve_bytes(), least());
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1);
}

/* A room is no block: a large block that fits need not take another's place. */
static void rooms_do_not_make_the_reserve_full(void **state)
{
    (void)state;
    struct jm_block *small;
    struct jm_supply tenant = {.tenancy = 1}, stranger = {.tenancy = 2};
    jm_reserve_set_limit(3 * least());
    take_all(&small, 1, least());
    struct jm_block *large = new_block(2 * least());
    assert_non_null(large);
    large->granules = 0;
    large->resizable = true;
    large->tenant = &tenant;
    large->tenancy = tenant.tenancy;
    assert_true(jm_reserve_give(large, false));
    assert_null(jm_reserve_take_large(least(), page_size(), &stranger));
    assert_ptr_equal(jm_reserve_take_large(2 * least(), page_size(), &tenant), large);
    large->tenant = NULL;
    jm_reserve_leave(large);
    jm_reserve_leave(small);
}

/* ---- Threads ---- */

#define THREADS 6
#define ROUNDS 20000
#define MOST_HELD 24

static struct jm_block *take_or_map(size_t size)
{
    struct jm_block *block = take(size);
    return block != NULL ? block : new_block(size);
}

/* Takes and leaves blocks of several sizes. They must be zero, and nobody else's. */
static void *come_and_go(void *argument)
{
    uint32_t random = (uint32_t)(uintptr_t)argument;
    struct jm_block *held[MOST_HELD];
    size_t count = 0;
    use_shelf(random % 2); /* two threads to a shelf */
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1664525u + 1013904223u;
        if (count == MOST_HELD || (count > 0 && random >> 31 != 0)) {
            struct jm_block *block = held[--count];
            atomic_fetch_add(&faults, *(uintptr_t *)(void *)block->start != (uintptr_t)argument);
            block->touched = 1;
            jm_reserve_leave(block);
            continue;
        }
        struct jm_block *block = take_or_map(least() << (random >> 29 & 3));
        if (block == NULL) {
            atomic_fetch_add(&faults, 1);
            return NULL;
        }
        atomic_fetch_add(&faults, *(uintptr_t *)(void *)block->start != 0);
        *(uintptr_t *)(void *)block->start = (uintptr_t)argument;
        held[count++] = block;
        if ((random >> 16) % 512 == 0) {
            jm_reserve_set_limit(random % 2 == 0 ? MIB(4) : 8 * least());
        }
    }
    while (count > 0) {
        held[--count]->touched = 1;
        jm_reserve_leave(held[count]);
    }
    return NULL;
}

static struct jm_block *take_or_map_large(size_t size, const struct jm_supply *tenant)
{
    struct jm_block *block = jm_reserve_take_large(size, page_size(), tenant);
    if (block == NULL) {
        block = new_block(size);
        if (block != NULL) {
            block->granules = 0;
            block->resizable = true;
        }
    }
    return block;
}

/* The same with large blocks. They keep what the tenant wrote; others find zeroes. */
static void *come_and_go_large(void *argument)
{
    struct jm_supply tenant = {.tenancy = (uintptr_t)argument, .has_large_spares = true};
    uint32_t random = (uint32_t)(uintptr_t)argument;
    (void)jm_thread_ready();
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1664525u + 1013904223u;
        struct jm_block *block = take_or_map_large(least() << (random >> 29 & 3), &tenant);
        if (block == NULL) {
            atomic_fetch_add(&faults, 1);
            return NULL;
        }
        uintptr_t *word = (uintptr_t *)(void *)block->start;
        atomic_fetch_add(&faults, *word != 0 && *word != (uintptr_t)argument);
        *word = (uintptr_t)argument;
        block->tenant = &tenant;
        block->tenancy = tenant.tenancy;
        if (random % 3 == 0) {
            jm_reserve_leave(block);
        } else {
            atomic_fetch_add(&faults, !jm_reserve_give(block, false));
        }
        if ((random >> 16) % 256 == 0) {
            jm_reserve_leave_large(&tenant);
        }
    }
    jm_reserve_leave_large(&tenant);
    return NULL;
}

static void threads_come_and_go(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    size_t before = fake_os_held();
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *(*body)(void *) = i < THREADS / 2 ? come_and_go : come_and_go_large;
        assert_int_equal(pthread_create(&threads[i], NULL, body, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&faults), 0);
    assert_true(jm_reserve_bytes() <= jm_reserve_limit());
    assert_int_equal(fake_os_held() - before, jm_reserve_bytes());
    jm_reserve_set_limit(0);
    assert_int_equal(jm_reserve_bytes(), 0);
    assert_null(fake_os_fault());
}

#define SHELF_TEST(function) cmocka_unit_test_setup(function, empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHELF_TEST(a_thread_finds_what_it_brought_back),
        SHELF_TEST(what_was_never_taken_is_for_all),
        SHELF_TEST(a_share_is_bounded),
        SHELF_TEST(not_all_blocks_lie_on_shelves),
        SHELF_TEST(what_is_read_is_put_onto_no_shelf),
        SHELF_TEST(rooms_are_given_up_for_blocks),
        SHELF_TEST(what_lies_on_any_shelf_counts),
        SHELF_TEST(a_full_reserve_lets_go_what_lies_on_shelves),
        SHELF_TEST(a_lower_bound_ends_shares),
        SHELF_TEST(rooms_do_not_make_the_reserve_full),
        SHELF_TEST(threads_come_and_go),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
