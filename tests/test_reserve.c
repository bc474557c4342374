/*
 * The process reserve: its bound, what it keeps and hands out, blocks that the OS does not take
 * back, blocks that are still being read, and the environment variable.
 */
#include "support/child.h"
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "header.h"
#include "inspect.h"
#include "process.h"
#include "reserve.h"
#include "runtime.h"

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

static int empty(void **state)
{
    (void)state;
    fake_os_reset();
    jm_reserve_set_limit(0);
    jm_reserve_drain();
    return jm_reserve_bytes() == 0 ? 0 : -1;
}

/* A block as a heap gives it back: unregistered, with its content untouched. */
static struct jm_block *try_block(size_t size, bool small)
{
    struct jm_os_extent extent;
    char *start = jm_os_map(size, jm_small_block_min(), &extent);
    if (start == NULL) {
        return NULL;
    }
    struct jm_block *block = jm_header_take();
    assert_non_null(block);
    jm_inspect_add_root(extent.address, extent.size);
    block->extent = extent;
    block->charge = size;
    block->granules = small ? (size - JM_PAD) >> JM_GRANULE_BITS : 0;
    block->map = (jm_state *)(void *)start;
    block->start = start;
    block->first_granule = (uint32_t)jm_first_granule(size);
    return block;
}

/* The tenant that takes blocks: not the one that had them, unless a test says so. */
static const struct jm_supply taker = {.tenancy = 7, .has_large_spares = true};

static struct jm_block *take(size_t size)
{
    return jm_reserve_take(size, &taker, false);
}

/* Where a block's objects begin. */
static char *objects_of(struct jm_block *block)
{
    return block->start + ((size_t)block->first_granule << JM_GRANULE_BITS);
}

static struct jm_block *new_block(size_t size)
{
    struct jm_block *block = try_block(size, true);
    assert_non_null(block);
    return block;
}

static struct jm_block *new_large_block(size_t size)
{
    struct jm_block *block = try_block(size, false);
    assert_non_null(block);
    return block;
}

static void give(size_t size)
{
    assert_true(jm_reserve_give(new_block(size), false));
}

static void unmap(struct jm_block *block)
{
    jm_inspect_remove_root(block->extent.address, block->extent.size);
    assert_true(jm_os_unmap(&block->extent));
    jm_header_give(block);
}

/* The reserve's bytes == what the OS has given besides tables. */
#define assert_bytes_kept(expected) assert_int_equal(jm_reserve_bytes(), (expected))
static size_t mapped_before;
#define assert_bytes(expected)                                        \
    do {                                                              \
        assert_int_equal(jm_reserve_bytes(), (expected));             \
        assert_int_equal(fake_os_held() - mapped_before, (expected)); \
        assert_null(fake_os_fault());                                 \
    } while (0)

static int empty_and_look(void **state)
{
    int result = empty(state);
    mapped_before = fake_os_held();
    return result;
}

static void blocks_are_kept_up_to_the_bound(void **state)
{
    (void)state;
    jm_reserve_set_limit(KIB(256));
    assert_int_equal(jm_reserve_limit(), KIB(256));
    for (size_t i = 1; i <= 4; i++) {
        give(KIB(64));
        assert_bytes(KIB(64) * i);
    }
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    give(KIB(64));
    assert_bytes(KIB(256));
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1);
}

static void a_block_that_does_not_fit_leaves_the_others(void **state)
{
    (void)state;
    jm_reserve_set_limit(KIB(256) - 1);
    give(KIB(128));
    give(KIB(64));
    assert_bytes(KIB(192));
    give(KIB(256));
    assert_bytes(KIB(192));
}

static void a_bound_of_zero_keeps_nothing(void **state)
{
    (void)state;
    give(KIB(64));
    give(MIB(1));
    assert_bytes(0);
}

static void a_lower_bound_trims_at_once(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (size_t i = 0; i < 4; i++) {
        give(KIB(64));
        give(KIB(256));
        give(MIB(1));
    }
    assert_bytes(4 * (KIB(64) + KIB(256) + MIB(1)));
    size_t before = jm_reserve_bytes();
    jm_reserve_set_limit(before);
    assert_bytes(before);
    jm_reserve_set_limit(before - 1);
    assert_bytes(before - MIB(1)); /* one block of 1 MiB is enough */
    jm_reserve_set_limit(KIB(64));
    assert_bytes(KIB(64));
    jm_reserve_set_limit(0);
    assert_bytes(0);
    jm_reserve_set_limit(SIZE_MAX); /* sums do not wrap */
    give(MIB(1));
    assert_bytes(MIB(1));
}

static void what_is_taken_has_exactly_the_size(void **state)
{
    const size_t sizes[] = {KIB(64), KIB(128), KIB(256), KIB(512), MIB(1), MIB(2), MIB(4)};

    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct jm_block *block = new_block(sizes[i]);
        struct jm_os_extent extent = block->extent;
        assert_true(jm_reserve_give(block, false));
        for (size_t other = 0; other < COUNT_OF(sizes); other++) {
            if (other != i) {
                assert_null(take(sizes[other]));
            }
        }
        assert_ptr_equal(take(sizes[i]), block);
        assert_int_equal(block->charge, sizes[i]);
        assert_memory_equal(&block->extent, &extent, sizeof(extent));
        assert_null(take(sizes[i]));
        assert_int_equal(jm_reserve_bytes(), 0);
        unmap(block);
    }
    assert_bytes(0);
}

static void blocks_that_are_not_worth_it_go_to_the_os(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(64));
    assert_true(jm_reserve_give(new_large_block(KIB(64)), false));
    assert_true(jm_reserve_give(new_large_block(KIB(64) + jm_os_page_size()), true));
    assert_bytes(0);
}

/* Fills all that a tenant may have written: the header, the first `touched` bytes of the map, and
 * the objects up to granule `touched`. */
static void soil(struct jm_block *block, size_t touched)
{
    struct jm_block old;
    memcpy(&old, block, sizeof(old));
    size_t first = (size_t)block->first_granule << JM_GRANULE_BITS;

    memset(block, 0xee, sizeof(*block));
    memset(old.start, 0xee, touched);
    if ((touched << JM_GRANULE_BITS) > first) {
        memset(old.start + first, 0xee, (touched << JM_GRANULE_BITS) - first);
    }
    block->extent = old.extent;
    block->charge = old.charge;
    block->granules = old.granules;
    block->start = old.start;
    block->map = old.map;
    block->first_granule = old.first_granule;
    block->touched = (uint32_t)touched;
}

/* Checks that nothing of the last tenant is left except the header of a block of this size. */
static void assert_clean(const struct jm_block *block, size_t size)
{
    assert_int_equal(block->charge, size);
    assert_true(block->extent.size >= size); /* larger if the alignment was forced */
    assert_int_equal(block->granules, (size - JM_PAD) >> JM_GRANULE_BITS);
    assert_int_equal(block->first_granule, jm_first_granule(size));
    assert_ptr_equal((void *)block->map, block->start);
    assert_int_equal(block->touched, 0);
    assert_int_equal(jm_load_relaxed(&block->queued), 0);
    assert_true(bytes_are(block->start, size, 0));
}

static void what_is_taken_is_zero(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (size_t size = KIB(64); size <= JM_SMALL_BLOCK_MAX; size *= 2) {
        size_t granules = (size - JM_PAD) >> JM_GRANULE_BITS;
        size_t first = jm_first_granule(size);
        const size_t touched[] = {0, first, first + 1, first + 777, granules};
        for (size_t i = 0; i < COUNT_OF(touched); i++) {
            struct jm_block *block = new_block(size);
            soil(block, touched[i]);
            assert_true(jm_reserve_give(block, false));
            assert_ptr_equal(take(size), block);
            assert_clean(block, size);
            unmap(block);
        }
    }
    assert_bytes(0);
}

/* A large amount is cleared by the OS or, if it refuses, with memset. */
static void what_the_os_does_not_clear_is_zero_too(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (int refuses = 0; refuses <= 1; refuses++) {
        struct jm_block *block = new_block(JM_SMALL_BLOCK_MAX);
        soil(block, block->granules);
        assert_true(jm_reserve_give(block, false));
        if (refuses) {
            fake_os_refuse(FAKE_PURGE, 1, true, ENOMEM);
        }
        assert_ptr_equal(take(JM_SMALL_BLOCK_MAX), block);
        assert_int_equal(fake_os_refused() > 0, refuses);
        fake_os_reset();
        assert_clean(block, JM_SMALL_BLOCK_MAX);
        unmap(block);
    }
    assert_bytes(0);
}

static void what_the_same_tenant_takes_back_has_a_clean_map_only(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    struct jm_block *block = new_block(KIB(128));
    size_t first = jm_first_granule(KIB(128));
    soil(block, first + 100);
    block->tenant = &taker;
    block->tenancy = taker.tenancy;
    assert_true(jm_reserve_give(block, false));
    assert_ptr_equal(take(KIB(128)), block);
    assert_int_equal(block->touched, first + 100); /* must still be cleared for the next tenant */
    assert_true(bytes_are(objects_of(block), 100 << JM_GRANULE_BITS, 0xee));
    for (size_t granule = 0; granule < KIB(128) >> JM_GRANULE_BITS; granule++) {
        assert_int_equal(block->map[granule], 0);
    }
    block->tenant = &taker;
    block->tenancy = taker.tenancy - 1; /* an earlier runtime of the same slot */
    block->granules = (KIB(128) - JM_PAD) >> JM_GRANULE_BITS;
    assert_true(jm_reserve_give(block, false));
    assert_ptr_equal(take(KIB(128)), block);
    assert_true(bytes_are(objects_of(block), 100 << JM_GRANULE_BITS, 0));
    unmap(block);
    assert_bytes(0);
}

/* ---- Neighbours ---- */

/* A block of the region, of the smallest size, with all its memory handed out. */
static struct jm_block *block_at(char *address)
{
    struct jm_block *block = jm_region_head_of(address);
    const size_t size = jm_small_block_min();

    block->extent = (struct jm_os_extent){address, size};
    block->charge = size;
    block->granules = (size - JM_PAD) >> JM_GRANULE_BITS;
    block->start = address;
    block->map = jm_region_state_of(address);
    block->first_granule = 0;
    block->touched = (uint32_t)block->granules;
    memset(address, 1, size);
    jm_store_relaxed(block->map, 7);
    return block;
}

/* True if memory that was given back is zero. On Windows it cannot be read. */
static bool is_gone(const void *address, size_t size)
{
#if defined(_WIN32)
    return address != NULL && size != 0;
#else
    return bytes_are(address, size, 0);
#endif
}

#define ROW 9 /* blocks side by side */
#define GAP 3 /* the one of them that is in use */

/* Takes a whole lot of the region, and gives it back except for its first ROW blocks. Returns their
 * address. */
static char *take_row(void)
{
    const size_t size = jm_small_block_min();
    const size_t lot = (size_t)4 << 20;
    static char *taken[((size_t)4 << 20) / JM_UNIT];
    bool has_room = false;
    char *row = NULL;

    for (size_t i = 0; i < lot / size; i++) {
        taken[i] = jm_region_alloc(size, &has_room);
        assert_non_null(taken[i]);
        row = i == 0 || taken[i] < row ? taken[i] : row;
    }
    for (size_t i = lot / size; i-- > 0;) {
        assert_true(taken[i] < row + lot);
        if (taken[i] >= row + ROW * size) {
            jm_region_free(taken[i], size);
        }
    }
    return row;
}

/* Gives the reserve all blocks of a row except the gap, in mixed order. */
static char *give_row(void)
{
    static const size_t order[ROW] = {5, 0, 8, 2, 7, 1, 6, 4, GAP};
    const size_t size = jm_small_block_min();
    char *row = take_row();

    for (size_t i = 0; i < ROW - 1; i++) {
        assert_true(jm_reserve_give(block_at(row + order[i] * size), false));
    }
    return row;
}

static void neighbours_go_in_one_call(void **state)
{
    const size_t size = jm_small_block_min();

    (void)state;
    jm_reserve_set_limit(ROW * size);
    char *row = give_row();
    char *gap = row + GAP * size;
    assert_int_equal(jm_reserve_bytes(), (ROW - 1) * size);
    fake_os_refuse(FAKE_DECOMMIT, 2, true, ENOMEM); /* the second piece and all after it */
    jm_reserve_drain();
    assert_int_equal(jm_reserve_bytes(), 5 * size);
    /* The first piece; then five blocks, each tried with those behind it, then alone. */
    assert_int_equal(fake_os_calls(FAKE_DECOMMIT), 1 + 9);
    assert_true(is_gone(row, GAP * size));
    assert_true(bytes_are(gap + size, 5 * size, 1)); /* unchanged */
    fake_os_refuse(FAKE_DECOMMIT, 1, false,
                   ENOMEM); /* refuses five together; one alone and four together succeed */
    jm_reserve_drain();
    assert_int_equal(fake_os_calls(FAKE_DECOMMIT), 3);
    assert_int_equal(jm_reserve_bytes(), 0);
    for (char *block = row; block < row + ROW * size; block += size) {
        assert_true(block == gap || is_gone(block, size));
        assert_int_equal(jm_load_relaxed(jm_region_state_of(block)), 0);
    }
    jm_region_free(gap, size);
}

/* Blocks with mappings of their own are unmapped one by one. Stretches of the region that lie
 * between them still go together. */
static void neighbours_and_others_go_in_turn(void **state)
{
    const size_t size = jm_small_block_min();

    (void)state;
    jm_reserve_set_limit(2 * ROW * size);
    give(size);
    char *row = give_row();
    give(size);
    jm_reserve_set_limit(0);
    assert_int_equal(jm_reserve_bytes(), 0);
    assert_int_equal(fake_os_calls(FAKE_DECOMMIT), 2);
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 2);
    assert_true(is_gone(row, GAP * size));
    jm_region_free(row + GAP * size, size);
}

/* At the bound, each block given makes one other go: no call waits for many. */
static void a_full_reserve_makes_room(void **state)
{
    const size_t size = KIB(64);

    (void)state;
    jm_reserve_set_limit(24 * size);
    for (size_t i = 1; i <= 24; i++) {
        give(size);
        assert_bytes(i * size);
    }
    for (size_t i = 1; i <= 4; i++) { /* three are chosen at once, then the next three */
        struct jm_block *block = new_block(size);
        assert_true(jm_reserve_give(block, false));
        assert_bytes(24 * size);
        assert_int_equal(fake_os_calls(FAKE_UNMAP), i);
    }
    jm_reserve_drop(&taker, SIZE_MAX); /* there are only small ones, some of them chosen */
    assert_bytes(24 * size);
    fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
    struct jm_block *block = new_block(size);
    assert_false(jm_reserve_give(block, false));
    assert_int_equal(jm_reserve_bytes(), 24 * size);
    fake_os_reset();
    jm_reserve_set_limit(8 * size);
    assert_int_equal(jm_reserve_bytes(), 8 * size);
    assert_true(jm_reserve_give(block, false)); /* exactly an eighth */
    assert_bytes(8 * size);
    fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
    struct jm_block *other = new_block(size);
    assert_false(jm_reserve_give(other, false));
    fake_os_reset();
    unmap(other);
    for (size_t i = 8; i > 0; i--) {
        assert_int_equal(jm_reserve_bytes(), i * size);
        block = take(size); /* a refused block can still be used */
        assert_non_null(block);
        unmap(block);
    }
}

/* A larger block makes several others go. A block larger than the bound is unmapped itself. */
static void a_full_reserve_makes_room_for_a_larger_block(void **state)
{
    const size_t size = KIB(64);

    (void)state;
    jm_reserve_set_limit(24 * size);
    for (size_t i = 1; i <= 24; i++) {
        give(size);
    }
    give(8 * size);
    assert_bytes(24 * size);
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 8);
    give(32 * size); /* larger than the bound */
    assert_bytes(24 * size);
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 9);
}

/* All neighbours that were chosen go in one call. */
static void a_full_reserve_gives_neighbours_in_one_call(void **state)
{
    const size_t size = jm_small_block_min();

    (void)state;
    jm_reserve_set_limit(64 * size); /* eight blocks are chosen: five neighbours and three */
    for (size_t i = 0; i < 64 - (ROW - 1); i++) {
        give(size);
    }
    char *row = give_row();
    assert_int_equal(jm_reserve_bytes(), 64 * size);
    give(size);
    assert_int_equal(fake_os_calls(FAKE_DECOMMIT), 1);
    assert_true(jm_reserve_bytes() == (64 - 3 + 1) * size ||
                jm_reserve_bytes() == (64 - 5 + 1) * size);
    while (jm_reserve_bytes() < 64 * size) {
        give(size);
    }
    give(size);
    assert_int_equal(fake_os_calls(FAKE_DECOMMIT), 2);
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    jm_reserve_set_limit(0);
    jm_region_free(row + GAP * size, size);
}

/* ---- Large blocks: for the tenant that had them ---- */

/* A large block of `taker`, as a heap gives it back. */
static struct jm_block *new_spare(size_t size)
{
    struct jm_block *block = new_large_block(size);
    block->resizable = true;
    block->tenant = &taker;
    block->tenancy = taker.tenancy;
    return block;
}

static struct jm_block *give_spare(size_t size)
{
    struct jm_block *block = new_spare(size);
    assert_true(jm_reserve_give(block, false));
    return block;
}

static struct jm_block *take_spare(size_t size)
{
    return jm_reserve_take_large(size, 16, &taker);
}

static void a_large_block_waits_for_its_tenant(void **state)
{
    static const struct jm_supply other = {.tenancy = 7};
    const struct jm_supply later = {.tenancy = 8};

    (void)state;
    jm_reserve_set_limit(MIB(8));
    struct jm_block *block = give_spare(KIB(512));
    memset(block->arena, 0x5a, sizeof(block->arena));
    assert_bytes(KIB(512));
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    assert_null(jm_reserve_take_large(KIB(512), 16, &other));
    assert_null(jm_reserve_take_large(KIB(512), 16, &later));
    block->tenant = &later;
    /* The block was an earlier runtime's in the same slot. */
    assert_null(jm_reserve_take_large(KIB(512), 16, &later));
    block->tenant = &taker;
    block->tenancy = taker.tenancy - 1;
    assert_null(take_spare(KIB(512))); /* likewise */
    block->tenancy = taker.tenancy;
    assert_ptr_equal(take_spare(KIB(512)), block);
    assert_int_equal(jm_reserve_bytes(), 0);
    assert_int_equal(block->charge, KIB(512));
    assert_true(bytes_are(block->arena, sizeof(block->arena), 0x5a));
    assert_null(take_spare(KIB(512)));
    unmap(block);
}

/* The header of each block that goes to the OS is reused. */
static void headers_of_blocks_that_go_are_used_again(void **state)
{
    (void)state;
    jm_reserve_set_limit(0);
    give(KIB(64));
    size_t metadata = jm_header_metadata();
    for (size_t i = 0; i < 1000; i++) {
        assert_true(jm_reserve_give(new_large_block(KIB(64)), false));
        give(KIB(64));
    }
    assert_int_equal(jm_header_metadata(), metadata);
    assert_bytes(0);
}

static void the_large_block_that_fits_best_is_taken(void **state)
{
    const size_t page = jm_os_page_size();
    const size_t size = 40 * page;
    struct jm_block *blocks[4];

    (void)state;
    jm_reserve_set_limit(MIB(64));
    blocks[0] = give_spare(size + 9 * page);
    blocks[1] = give_spare(3 * size + page); /* more than three times as large */
    blocks[2] = give_spare(3 * size);
    blocks[3] = give_spare(size - page);
    assert_int_equal(jm_reserve_large_bytes(size, 16, &taker), size + 9 * page);
    assert_ptr_equal(take_spare(size), blocks[0]);
    assert_ptr_equal(take_spare(size), blocks[2]);
    assert_int_equal(jm_reserve_large_bytes(size, 16, &taker), 0);
    assert_null(take_spare(size));
    assert_ptr_equal(take_spare(size - page), blocks[3]);
    assert_ptr_equal(take_spare(3 * size + page), blocks[1]);
    assert_int_equal(jm_reserve_bytes(), 0);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        unmap(blocks[i]);
    }
}

/* A search looks at 128 blocks, the newest ones. */
static void a_search_for_a_large_block_ends(void **state)
{
    const size_t size = 20 * jm_os_page_size();
    struct jm_block *spare = NULL;

    (void)state;
    jm_reserve_set_limit(MIB(1024));
    for (int others = 127; others <= 128; others++) {
        spare = give_spare(size);
        for (int i = 0; i < others; i++) {
            give_spare(2 * size)->tenancy++; /* another tenancy's: not a spare of the taker */
        }
        assert_int_equal(jm_reserve_large_bytes(size, 16, &taker), others < 128 ? size : 0);
        assert_ptr_equal(take_spare(size), others < 128 ? spare : NULL);
        jm_reserve_drain();
        assert_int_equal(jm_reserve_bytes(), 0);
        if (others < 128) {
            unmap(spare);
        }
    }
}

/* Once a tenant has 48 spares and none fits, one is made to fit, however few bytes they have. */
static void many_spares_are_enough(void **state)
{
    const size_t size = 20 * jm_os_page_size();
    (void)state;
    jm_reserve_set_limit(MIB(2048));
    for (int spares = 1; spares <= 48; spares++) {
        assert_null(take_spare(size));
        (void)give_spare(4 * size);
    }
    struct jm_block *block = take_spare(size);
    assert_non_null(block);
    assert_int_equal(block->charge, 4 * size);
    assert_null(take_spare(size));
    unmap(block);
    jm_reserve_drop(&taker, SIZE_MAX);
    assert_int_equal(jm_reserve_bytes(), 0);
}

static void the_nearest_of_many_is_made_to_fit(void **state)
{
    const size_t size = 20 * jm_os_page_size();
    (void)state;
    jm_reserve_set_limit(MIB(2048));
    for (int spares = 1; spares < 48; spares++) {
        (void)give_spare(spares == 1 ? size / 20 * 8 : 4 * size);
    }
    struct jm_block *nearest = give_spare(size / 2 * 3);
    assert_ptr_equal(take_spare(size), nearest);
    unmap(nearest);
    jm_reserve_drop(&taker, SIZE_MAX);
    assert_int_equal(jm_reserve_bytes(), 0);
}

static void give_others(size_t size)
{
    static const struct jm_supply other = {.tenancy = 9};
    struct jm_block *block = new_spare(size);
    block->tenant = &other;
    block->tenancy = other.tenancy;
    assert_true(jm_reserve_give(block, false));
}

/* The less room is left in the reserve, the fewer spares are enough for a tenant. */
static void a_full_reserve_makes_few_spares_enough(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    struct jm_block *spare = give_spare(MIB(1));
    give_others(MIB(3)); /* leaves 4 MiB: a quarter of them is as much as the tenant has */
    assert_null(take_spare(KIB(256)));
    give_others(KIB(64));
    assert_ptr_equal(take_spare(KIB(256)), spare);
    unmap(spare);
}

/* ---- Rooms: what a tenant took it may bring back without another count ---- */

static void what_a_tenant_took_it_brings_back(void **state)
{
    static const struct jm_supply other = {.tenancy = 9};
    struct jm_block *spares[6];
    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (size_t i = 0; i < COUNT_OF(spares); i++) {
        spares[i] = give_spare(MIB(1));
    }
    for (size_t i = 0; i < COUNT_OF(spares); i++) {
        assert_non_null(spares[i] = take_spare(MIB(1)));
        assert_bytes_kept(MIB(5 - i));
    }
    for (size_t i = 0; i < COUNT_OF(spares); i++) {
        assert_true(jm_reserve_give(spares[i], false));
        assert_bytes_kept(MIB(1 + i));
    }
    /* What is being read is not brought back. */
    struct jm_block *read = take_spare(MIB(1));
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    assert_true(jm_reserve_give(read, false));
    assert_bytes_kept(MIB(6));
    jm_pagemap_leave(reader);
    jm_reserve_drop_waiting();
    assert_bytes_kept(MIB(5));
    /* A tenant that ends leaves its spares, and the room, to others. */
    struct jm_block *left = take_spare(MIB(1));
    jm_reserve_leave_large(&taker);
    jm_reserve_leave(left);
    assert_bytes_kept(MIB(5));
    assert_ptr_equal(jm_reserve_take_large(MIB(1), 16, &other), left);
    jm_reserve_leave(left);
    assert_bytes_kept(MIB(5));
}

static void rooms_of_spares_are_given_up_for_blocks(void **state)
{
    struct jm_block *spares[3];
    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (size_t i = 0; i < COUNT_OF(spares); i++) {
        (void)give_spare(MIB(1));
    }
    for (size_t i = 0; i < COUNT_OF(spares); i++) {
        assert_non_null(spares[i] = take_spare(MIB(1)));
    }
    (void)give_spare(MIB(3));
    jm_reserve_set_limit(MIB(4)); /* ends the rooms */
    assert_bytes_kept(MIB(3));
    assert_true(jm_reserve_give(spares[0], false));
    assert_bytes_kept(MIB(4));
    assert_ptr_equal(take_spare(MIB(1)), spares[0]); /* leaves a room of 1 MiB */
    (void)give_spare(KIB(512));                      /* of the room */
    assert_bytes_kept(MIB(3) + KIB(512));
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    give(KIB(256)); /* needs the other half */
    assert_bytes_kept(MIB(3) + KIB(768));
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    assert_true(jm_reserve_give(spares[0], false));
    assert_true(jm_reserve_bytes() <= MIB(4));
    assert_true(fake_os_calls(FAKE_UNMAP) > 0);
    unmap(spares[1]);
    unmap(spares[2]);
}

static void a_large_object_is_aligned_where_it_is_asked_for(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    struct jm_block *block = give_spare(KIB(256));
    uintptr_t object = (uintptr_t)block->start;
    size_t alignment = object & (0 - object);
    assert_null(jm_reserve_take_large(KIB(256), 2 * alignment, &taker));
    assert_ptr_equal(jm_reserve_take_large(KIB(256), alignment, &taker), block);
    unmap(block);
}

/* A large block that an ended tenant left serves other tenants, zeroed. If the reserve is full, any
 * tenant's block does. */
static void a_large_block_serves_others_clear(void **state)
{
    enum { ENDS, ENDED, FULL, WAYS };
    static const struct jm_supply other = {.tenancy = 7};
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        jm_reserve_set_limit(MIB(4));
        struct jm_block *block = new_spare(KIB(512));
        memset(block->start, 0x77, KIB(512));
        block->is_dirty = true;
        if (way == ENDS) {
            jm_reserve_leave(block);
        } else {
            assert_true(jm_reserve_give(block, false));
        }
        (void)give_spare(MIB(1));
        if (way != ENDS) {
            assert_null(jm_reserve_take_large(KIB(500), 16, &other));
        }
        if (way == ENDED) {
            jm_reserve_leave_large(&taker);
        } else if (way == FULL) {
            (void)give_spare(MIB(2));
            (void)give_spare(KIB(256));
        }
        assert_null(jm_reserve_take_large(KIB(300), 16, &other)); /* the block is too large */
        assert_int_equal(jm_reserve_large_bytes(KIB(500), 16, &other), 0);
        assert_ptr_equal(jm_reserve_take_large(KIB(500), 16, &other), block);
        assert_true(bytes_are(block->start, KIB(500), 0));
        assert_false(block->is_dirty);
        unmap(block);
        jm_reserve_drain();
    }
}

/* A block of an ending tenant displaces none that is kept for another tenant. A block that a fork
 * met in the middle of a change of size is not kept. A block that the OS refuses still serves all
 * tenants. */
static void leave_there(void *block)
{
    if (jm_thread_ready()) {
        jm_reserve_leave(block);
    }
}

/* Of several that fit as well, a thread takes one that it left: its cache may still have it. */
static void of_what_is_left_a_thread_takes_its_own(void **state)
{
    static const struct jm_supply other = {.tenancy = 8};
    (void)state;
    jm_reserve_set_limit(MIB(8));
    struct jm_block *larger = new_spare(KIB(576)), *own = new_spare(KIB(512));
    struct jm_block *strange = new_spare(KIB(512)), *close = new_spare(KIB(448));
    jm_reserve_leave(larger);
    jm_reserve_leave(own);
    worker *thread = worker_start();
    worker_run(thread, leave_there, strange);
    worker_run(thread, leave_there, close);
    worker_stop(thread);
    assert_ptr_equal(jm_reserve_take_large(KIB(512), 16, &other), own);
    jm_reserve_leave(own);
    jm_reserve_leave(new_spare(KIB(640)));
    assert_ptr_equal(jm_reserve_take_large(KIB(512), 16, &other), own);
    assert_ptr_equal(jm_reserve_take_large(KIB(512), 16, &other), strange); /* not the larger */
    assert_ptr_equal(jm_reserve_take_large(KIB(512), 16, &other), larger);
    assert_ptr_equal(jm_reserve_take_large(KIB(448), 16, &other), close);
    unmap(own);
    unmap(strange);
    unmap(larger);
    unmap(close);
}

static void not_all_that_is_left_is_kept(void **state)
{
    static const struct jm_supply other = {.tenancy = 7};
    (void)state;
    jm_reserve_set_limit(MIB(1));
    struct jm_block *kept = give_spare(KIB(768));
    jm_reserve_leave(new_spare(KIB(512)));
    assert_bytes(KIB(768));
    jm_reserve_leave(new_spare(KIB(256)));
    assert_bytes(MIB(1));
    jm_reserve_leave(new_spare(KIB(128))); /* displaces only what an ended tenant left */
    assert_bytes(KIB(896));
    assert_ptr_equal(take_spare(KIB(768)), kept);
    unmap(kept);
    jm_reserve_drain();
    struct jm_block *block = new_spare(KIB(512));
    block->charge += jm_os_page_size();
    jm_reserve_leave(block);
    assert_bytes(0);
    for (int way = 0; way < 2; way++) {
        block = new_spare(KIB(512));
        if (way == 0) {
            jm_reserve_leave(block);
        } else {
            assert_true(jm_reserve_give(block, false));
            jm_reserve_leave_large(&taker);
        }
        fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
        jm_reserve_set_limit(0);
        fake_os_reset();
        assert_bytes(KIB(512));
        jm_reserve_set_limit(MIB(1));
        assert_ptr_equal(jm_reserve_take_large(KIB(512), 16, &other), block);
        unmap(block);
    }
}

/* Blocks for objects of up to 1 MiB are zeroed for other tenants. Larger ones are not, even if the
 * reserve is full. */
static void a_block_that_is_too_large_serves_no_other(void **state)
{
    static const struct jm_supply other = {.tenancy = 7};
    const size_t largest = MIB(9) / 8;
    (void)state;
    jm_reserve_set_limit(MIB(4));
    struct jm_block *block = new_spare(largest);
    jm_reserve_leave(block);
    assert_ptr_equal(jm_reserve_take_large(largest, 16, &other), block);
    unmap(block);
    (void)give_spare(largest + jm_os_page_size());
    (void)give_spare(MIB(2) + KIB(512));
    assert_null(jm_reserve_take_large(largest, 16, &other));
    jm_reserve_drain();
}

/* A block with its map inside holds less than a heap expects while the region has room. */
static void a_block_with_a_map_in_it_is_not_taken_for_another(void **state)
{
    const size_t size = jm_small_block_min();
    (void)state;
    jm_reserve_set_limit(MIB(4));
    struct jm_block *block = new_block(size);
    struct jm_block *apart = new_block(size);
    apart->first_granule = 0;
    assert_true(jm_reserve_give(apart, false));
    assert_true(jm_reserve_give(block, false));
    assert_ptr_equal(jm_reserve_take(size, &taker, true), apart);
    assert_null(jm_reserve_take(size, &taker, true));
    assert_ptr_equal(jm_reserve_take(size, &taker, false), block);
    unmap(block);
    apart->first_granule = block->first_granule;
    unmap(apart);
}

static void large_blocks_that_are_not_worth_it_go_to_the_os(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(64));
    (void)give_spare(MIB(64) + jm_os_page_size());
    assert_bytes(0);
    assert_true(jm_reserve_give(new_spare(KIB(256)), true));
    assert_bytes(0);
    jm_reserve_leave(new_spare(MIB(2))); /* its tenant ends */
    assert_bytes(0);
    (void)give_spare(MIB(2));
    jm_reserve_leave_large(&taker); /* its tenant ends */
    assert_bytes(0);
    assert_true(jm_reserve_give(new_large_block(KIB(256)), false)); /* part of a reservation */
    assert_bytes(0);
    (void)give_spare(MIB(64));
    assert_bytes(MIB(64));
    jm_reserve_set_limit(MIB(3));
    assert_bytes(0);
}

/* The block given back last stays. */
static void the_oldest_large_blocks_go(void **state)
{
    const size_t size = KIB(512);

    (void)state;
    jm_reserve_set_limit(8 * size);
    for (size_t i = 0; i < 8; i++) {
        (void)give_spare(size);
    }
    struct jm_block *latest = give_spare(size);
    assert_bytes(8 * size);
    for (size_t i = 0; i < 8; i++) {
        struct jm_block *block = take_spare(size);
        assert_true(i != 0 || block == latest);
        unmap(block);
    }
    assert_null(take_spare(size));
}

static void large_blocks_go_first(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(4));
    give(KIB(64));
    (void)give_spare(KIB(256));
    give(MIB(1));
    (void)give_spare(KIB(256));
    jm_reserve_set_limit(MIB(1) + KIB(256) + KIB(64));
    assert_bytes(MIB(1) + KIB(256) + KIB(64));
    jm_reserve_set_limit(MIB(1) + KIB(64));
    assert_bytes(MIB(1) + KIB(64));
    assert_null(take_spare(KIB(256)));
}

static void a_tenants_large_blocks_go_with_it(void **state)
{
    static const struct jm_supply other = {.tenancy = 7};

    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (size_t i = 0; i < 6; i++) {
        struct jm_block *block = new_spare(KIB(256) + i * jm_os_page_size());
        block->tenant = i % 3 == 0 ? &other : &taker;
        assert_true(jm_reserve_give(block, false));
    }
    size_t others = 2 * KIB(256) + 3 * jm_os_page_size();
    size_t all = jm_reserve_bytes();
    fake_os_refuse(FAKE_UNMAP, 2, true, ENOMEM);
    jm_reserve_drop(&taker, SIZE_MAX);
    assert_true(jm_reserve_bytes() > others && jm_reserve_bytes() < all);
    assert_null(take_spare(KIB(256)));
    fake_os_reset();
    jm_reserve_drop_waiting();
    assert_bytes(others);
    jm_reserve_drop(&other, SIZE_MAX);
    assert_bytes(0);
}

/* The block given back first goes first. */
static void which_large_blocks_go(void **state)
{
    const size_t size = KIB(512);
    struct jm_block *given[8];

    (void)state;
    jm_reserve_set_limit(8 * size);
    for (size_t i = 0; i < 8; i++) {
        given[i] = give_spare(size);
    }
    struct jm_block *latest = give_spare(size);
    assert_ptr_equal(take_spare(size), latest);
    for (size_t i = 8; i-- > 1;) {
        assert_ptr_equal(take_spare(size), given[i]);
        unmap(given[i]);
    }
    unmap(latest);
    assert_null(take_spare(size));
}

static void for_most_of_the_bound_no_others_go(void **state)
{
    const size_t size = KIB(64);

    (void)state;
    jm_reserve_set_limit(24 * size);
    for (size_t i = 0; i < 24; i++) {
        give(size);
    }
    assert_true(jm_reserve_give(new_spare(13 * size), false));
    assert_bytes(24 * size);
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1); /* the block itself */
    assert_true(jm_reserve_give(new_spare(12 * size), false));
    assert_bytes(24 * size);
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1 + 12);
}

/* A tenant's large blocks go, also those that are only chosen to go. */
static void of_a_tenants_large_blocks_those_go_that_are_about_to(void **state)
{
    const size_t size = KIB(128);

    (void)state;
    jm_reserve_set_limit(32 * size);
    for (size_t i = 0; i < 32; i++) {
        (void)give_spare(size);
    }
    give(size); /* four are chosen, and one of them goes */
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 1);
    jm_reserve_drop(&taker, SIZE_MAX);
    assert_bytes(size);
}

static void give_of(const struct jm_supply *tenant, size_t size)
{
    struct jm_block *block = new_block(size);
    block->tenant = tenant;
    block->tenancy = tenant->tenancy;
    assert_true(jm_reserve_give(block, false));
}

/* Small blocks of the size that a heap grows by go, and all large blocks. */
static void what_a_tenant_collects_goes_to_the_os(void **state)
{
    static const struct jm_supply other = {.tenancy = 7};
    const size_t sizes[] = {jm_small_block_min(), KIB(64), KIB(128), KIB(256), MIB(2)};
    size_t all = 0;

    (void)state;
    jm_reserve_set_limit(MIB(16));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        give_of(&taker, sizes[i]);
        give_of(&other, sizes[i]);
        all += 2 * sizes[i];
    }
    (void)give_spare(KIB(512));
    jm_reserve_drop(&taker, SIZE_MAX);
    assert_bytes(all);
    (void)give_spare(KIB(512));
    fake_os_refuse(FAKE_UNMAP, 1, false, ENOMEM); /* a refused block waits for another time */
    jm_reserve_drop(&taker, JM_SMALL_BLOCK_GROWTH);
    assert_true(jm_reserve_bytes() > all - (KIB(128) + KIB(256) + MIB(2)));
    jm_reserve_drop_waiting();
    assert_bytes(all - (KIB(128) + KIB(256) + MIB(2)));
    jm_reserve_drop(&taker, JM_SMALL_BLOCK_GROWTH);
    assert_bytes(all - (KIB(128) + KIB(256) + MIB(2)));
    jm_reserve_drop(&other, JM_SMALL_BLOCK_GROWTH);
    assert_bytes(2 * (jm_small_block_min() + KIB(64)));
}

/* ---- An OS that does not take memory back ---- */

static void what_the_os_does_not_take_stays_with_the_giver(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        struct jm_block *block = large ? new_large_block(KIB(128)) : new_block(KIB(128));
        memset(block->arena, 0x5a, sizeof(block->arena));
        fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
        assert_false(jm_reserve_give(block, false));
        assert_int_equal(fake_os_refused(), 1);
        assert_int_equal(jm_reserve_bytes(), 0);
        assert_true(bytes_are(block->arena, sizeof(block->arena), 0x5a));
        fake_os_reset();
        assert_true(jm_reserve_give(block, false));
        assert_bytes(0);
    }
}

static void what_must_be_kept_is_kept_past_the_bound(void **state)
{
    (void)state;
    fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
    struct jm_block *small = new_block(KIB(128));
    soil(small, small->granules);
    assert_true(jm_reserve_give(small, true));
    assert_true(jm_reserve_give(new_large_block(KIB(64) + jm_os_page_size()), true));
    assert_true(jm_reserve_give(new_large_block(MIB(3)), true));
    assert_bytes(KIB(192) + jm_os_page_size() + MIB(3));
    assert_int_equal(jm_reserve_limit(), 0);
    /* Small blocks can be used as they are. */
    assert_ptr_equal(take(KIB(128)), small);
    assert_clean(small, KIB(128));
    assert_int_equal(jm_reserve_bytes(), KIB(64) + jm_os_page_size() + MIB(3));
    fake_os_reset();
    unmap(small);
    jm_reserve_drain();
    assert_bytes(0);
}

static void what_the_os_refused_goes_when_it_takes_it(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(2));
    give(KIB(64));
    give(KIB(256));
    give(KIB(256));
    size_t all = KIB(64) + 2 * KIB(256);
    fake_os_refuse(FAKE_UNMAP, 1, true, EPERM);
    jm_reserve_drain();
    assert_bytes(all);
    jm_reserve_set_limit(0);
    assert_bytes(all);
    fake_os_refuse(FAKE_UNMAP, 1, false, ENOMEM); /* one is refused, the others go */
    jm_reserve_drain();
    assert_int_equal(fake_os_refused(), 1);
    assert_true(jm_reserve_bytes() == KIB(64) || jm_reserve_bytes() == KIB(256));
    fake_os_reset();
    jm_reserve_drain();
    assert_bytes(0);
}

/* ---- Readers ---- */

static void what_is_read_waits_for_its_readers(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        struct jm_block *block = large ? new_large_block(KIB(128)) : new_block(KIB(128));
        memset(block->arena, 0x5a, sizeof(block->arena));
        _Atomic(uint32_t) *reader = jm_pagemap_enter();
        assert_true(jm_reserve_give(block, false));
        assert_bytes(KIB(128)); /* exceeds the bound, which is 0 */
        jm_reserve_drop_waiting();
        jm_reserve_drain();
        jm_reserve_set_limit(0);
        assert_null(take(KIB(128)));
        assert_bytes(KIB(128));
        assert_true(bytes_are(block->arena, sizeof(block->arena), 0x5a));
        jm_pagemap_leave(reader);
        assert_bytes(KIB(128));
        jm_reserve_drop_waiting();
        assert_bytes(0);
    }
}

static void what_waited_is_not_handed_out(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    give(KIB(64));
    assert_null(take(KIB(64)));
    jm_pagemap_leave(reader);
    struct jm_block *taken = take(KIB(64));
    assert_null(taken); /* a block that waited was not cleared */
    jm_reserve_drop_waiting();
    assert_bytes(0);
}

/* If all that is kept waits for readers, nothing can go to make room. */
static void what_waits_makes_no_room(void **state)
{
    (void)state;
    jm_reserve_set_limit(KIB(512));
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    give(KIB(512));
    give(KIB(64));
    assert_bytes(KIB(576));
    assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
    jm_pagemap_leave(reader);
    jm_reserve_drop_waiting();
    assert_bytes(0);
}

static void later_readers_do_not_hold_it(void **state)
{
    (void)state;
    _Atomic(uint32_t) *old = jm_pagemap_enter();
    give(KIB(64));
    _Atomic(uint32_t) *late = jm_pagemap_enter();
    give(KIB(128)); /* the late reader may be reading this one */
    jm_pagemap_leave(old);
    jm_reserve_drop_waiting();
    assert_bytes(KIB(128));
    jm_pagemap_leave(late);
    jm_reserve_drop_waiting();
    assert_bytes(0);
}

static void the_next_one_given_back_takes_what_waited_along(void **state)
{
    (void)state;
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    give(KIB(64));
    jm_pagemap_leave(reader);
    assert_bytes(KIB(64));
    give(KIB(64));
    assert_bytes(0);
}

enum reader_phase { READER_STARTS, READER_READS, READER_LEAVES };
static _Atomic(int) reader_phase;
static unsigned reader_delay; /* steps until it leaves, once it is told */

static void *read_until_told(void *unused)
{
    (void)unused;
    (void)jm_thread_ready();
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    atomic_store(&reader_phase, READER_READS);
    for (unsigned attempt = 0; jm_load_seq_cst(&reader_phase) == READER_READS; attempt++) {
        jm_os_pause(attempt);
    }
    for (unsigned step = 0; step < reader_delay; step++) {
        jm_os_pause(step);
    }
    jm_pagemap_leave(reader);
    return NULL;
}

static pthread_t start_reader(void)
{
    pthread_t thread;

    atomic_store(&reader_phase, READER_STARTS);
    assert_int_equal(pthread_create(&thread, NULL, read_until_told, NULL), 0);
    for (unsigned attempt = 0; jm_load_seq_cst(&reader_phase) != READER_READS; attempt++) {
        jm_os_pause(attempt);
    }
    return thread;
}

static _Atomic(int) given;

static void *give_large(void *block)
{
    (void)jm_thread_ready();
    bool gone = jm_reserve_give(block, false);
    atomic_store(&given, 1);
    return gone ? block : NULL;
}

/* While a reader reads, blocks wait. Once too many wait, the thread that gives a block waits for
 * the reader. */
static void what_waits_is_bounded(void **state)
{
    const size_t size = MIB(8);
    pthread_t giver;
    void *result = NULL;

    (void)state;
    pthread_t reader = start_reader();
    while (jm_reserve_bytes() <= JM_RESERVE_WAITING_MAX) {
        size_t before = jm_reserve_bytes();
        assert_true(jm_reserve_give(new_large_block(size), false));
        assert_int_equal(jm_reserve_bytes(), before + size);
    }
    atomic_store(&given, 0);
    assert_int_equal(pthread_create(&giver, NULL, give_large, new_large_block(size)), 0);
    for (unsigned attempt = 0; attempt < 300 && jm_load_seq_cst(&given) == 0; attempt++) {
        jm_os_pause(attempt);
    }
    assert_int_equal(jm_load_seq_cst(&given), 0);
    atomic_store(&reader_phase, READER_LEAVES);
    assert_int_equal(pthread_join(giver, &result), 0);
    assert_non_null(result);
    assert_int_equal(pthread_join(reader, NULL), 0);
    jm_reserve_drop_waiting();
    assert_bytes(0);
}

/* Whenever the reader leaves, a block that is of use is kept or put aside. */
static void what_is_read_for_a_moment_only_is_not_lost(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(1));
    for (int i = 0; i < 200; i++) {
        reader_delay = (unsigned)i % 32;
        pthread_t reader = start_reader();
        struct jm_block *block = new_block(KIB(64));
        fake_os_reset();
        atomic_store(&reader_phase, READER_LEAVES);
        assert_true(jm_reserve_give(block, false));
        assert_int_equal(fake_os_calls(FAKE_UNMAP), 0);
        assert_int_equal(jm_reserve_bytes(), KIB(64));
        assert_int_equal(pthread_join(reader, NULL), 0);
        jm_reserve_drain();
        assert_bytes(0);
    }
    reader_delay = 0;
}

static void what_waited_and_is_refused_by_the_os_waits_on(void **state)
{
    (void)state;
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    give(KIB(64));
    give(KIB(128));
    jm_pagemap_leave(reader);
    fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
    jm_reserve_drop_waiting();
    jm_reserve_drop_waiting();
    assert_bytes(KIB(192));
    size_t calls = fake_os_calls(FAKE_UNMAP);
    jm_reserve_drop_waiting(); /* not offered again at once */
    assert_int_equal(fake_os_calls(FAKE_UNMAP), calls);
    fake_os_refuse(FAKE_UNMAP, 1, false, ENOMEM);
    jm_reserve_drop_waiting();
    assert_int_equal(fake_os_refused(), 1);
    assert_true(jm_reserve_bytes() == KIB(64) || jm_reserve_bytes() == KIB(128));
    fake_os_reset();
    for (int looks = 0; looks < 4; looks++) {
        jm_reserve_drop_waiting();
    }
    assert_bytes(0);
}

/* Blocks that wait for readers come and go independently of those that the OS refuses. */
static void what_waits_for_its_readers_does_not_wait_for_the_os(void **state)
{
    (void)state;
    fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
    assert_true(jm_reserve_give(new_large_block(MIB(1)), true));
    for (int looks = 0; looks < 2000; looks++) {
        jm_reserve_drop_waiting();
    }
    fake_os_reset();
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    give(KIB(64));
    jm_pagemap_leave(reader);
    assert_int_equal(jm_reserve_bytes(), MIB(1) + KIB(64));
    jm_reserve_drop_waiting();
    assert_int_equal(jm_reserve_bytes(), MIB(1));
    jm_reserve_drain();
    assert_bytes(0);
}

/* If the OS takes nothing back, it is asked less and less often, and each call waits for few
 * answers. */
static void much_that_is_refused_takes_no_time(void **state)
{
    enum { MANY = 200, LOOKS = 10000 };

    (void)state;
    fake_os_refuse(FAKE_UNMAP, 1, true, ENOMEM);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(jm_reserve_give(new_large_block(MIB(1)), true));
    }
    size_t most = 0;
    size_t before = fake_os_calls(FAKE_UNMAP);
    for (size_t i = 0; i < LOOKS; i++) {
        size_t calls = fake_os_calls(FAKE_UNMAP);
        jm_reserve_drop_waiting();
        calls = fake_os_calls(FAKE_UNMAP) - calls;
        most = most < calls ? calls : most;
    }
    assert_in_range(most, 1, MANY / 2);
    assert_true(fake_os_calls(FAKE_UNMAP) - before < LOOKS / 8);
    assert_bytes(MANY * MIB(1));
    fake_os_reset();
    for (size_t i = 0; i < LOOKS && jm_reserve_bytes() != 0; i++) {
        size_t bytes = jm_reserve_bytes();
        jm_reserve_drop_waiting();
        assert_true(bytes - jm_reserve_bytes() < MANY / 2 * MIB(1)); /* few at once, even now */
    }
    assert_bytes(0);
}

/* ---- Threads ---- */

#define THREADS 4
#define ROUNDS 3000
#define MARKED 1024 /* bytes */

static _Atomic(size_t) thread_faults;

/* A block that is taken belongs to this thread alone: another owner would overwrite the mark. */
static void *take_and_give(void *argument)
{
    struct random random = random_seeded((uintptr_t)argument);
    (void)jm_thread_ready();
    for (int i = 0; i < ROUNDS; i++) {
        size_t size = KIB(64) << random_below(&random, 2);
        struct jm_block *block = take(size);
        if (block == NULL) {
            block = try_block(size, true);
        }
        if (block == NULL) {
            atomic_fetch_add(&thread_faults, 1);
            continue;
        }
        atomic_fetch_add(&thread_faults, !bytes_are(objects_of(block), MARKED, 0));
        memset(objects_of(block), (int)(uintptr_t)argument + 1, MARKED);
        block->granules = (size - JM_PAD) >> JM_GRANULE_BITS;
        block->touched = (uint32_t)(jm_first_granule(size) + (MARKED >> JM_GRANULE_BITS));
        if (random_chance(&random, 10)) {
            _Atomic(uint32_t) *reader = jm_pagemap_enter();
            jm_pagemap_leave(reader);
        }
        if (random_chance(&random, 2)) {
            jm_reserve_set_limit(random_below(&random, KIB(512)));
        }
        atomic_fetch_add(&thread_faults, !bytes_are(objects_of(block), MARKED,
                                                    (unsigned char)((uintptr_t)argument + 1)));
        atomic_fetch_add(&thread_faults, !jm_reserve_give(block, true));
    }
    return NULL;
}

/* A block of the region that no other thread has. NULL on a fault. */
static struct jm_block *take_stretch(void)
{
    bool has_room = false;
    struct jm_block *block = take(jm_small_block_min());
    if (block != NULL) {
        return bytes_are(block->start, MARKED, 0) ? block : NULL;
    }
    char *address = jm_region_alloc(jm_small_block_min(), &has_room);
    return address != NULL && bytes_are(address, MARKED, 0) ? block_at(address) : NULL;
}

/* The same with stretches, enough to reach the bound again and again. */
static void *take_and_give_rows(void *argument)
{
    struct jm_block *held[ROW];
    (void)jm_thread_ready();
    for (int i = 0; i < ROUNDS / ROW; i++) {
        for (size_t j = 0; j < ROW; j++) {
            held[j] = take_stretch();
            if (held[j] == NULL) {
                atomic_fetch_add(&thread_faults, 1);
                return NULL;
            }
            memset(held[j]->start, (int)(uintptr_t)argument + 1, MARKED);
            held[j]->touched = (uint32_t)(MARKED >> JM_GRANULE_BITS);
        }
        for (size_t j = 0; j < ROW; j++) {
            atomic_fetch_add(&thread_faults, !bytes_are(held[j]->start, MARKED,
                                                        (unsigned char)((uintptr_t)argument + 1)));
            atomic_fetch_add(&thread_faults, !jm_reserve_give(held[j], true));
        }
    }
    return NULL;
}

static void share(void *(*work)(void *), size_t limit)
{
    pthread_t threads[THREADS];

    jm_reserve_set_limit(limit);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&thread_faults), 0);
    jm_reserve_drop_waiting();
    assert_true(jm_reserve_bytes() <= jm_reserve_limit());
    jm_reserve_set_limit(0);
    assert_int_equal(jm_reserve_bytes(), 0);
}

static void threads_share_the_reserve(void **state)
{
    (void)state;
    share(take_and_give, KIB(256));
    assert_bytes(0);
}

static void threads_give_back_what_others_take(void **state)
{
    (void)state;
    share(take_and_give_rows, 16 * jm_small_block_min());
    assert_true(fake_os_calls(FAKE_DECOMMIT) > 0);
}

/* ---- The environment: each value in a process of its own ---- */

#define LIMIT_VARIABLE "JSRTMEM_RESERVE_LIMIT"

/* What a child must find: the bound, and whether the library complained. */
struct reading {
    const char *value; /* NULL: not set */
    const char *bound; /* NULL: bad value, so the default bound and a complaint */
};

#if SIZE_MAX > 0xffffffffu
#define SIZE_MAX_TEXT "18446744073709551615"
#define BEYOND_TEXT "18446744073709551616"
#define MOST_G_TEXT "17179869183G"
#define MOST_G_BYTES "18446744072635809792"
#define BEYOND_G_TEXT "17179869184G"
#else
#define SIZE_MAX_TEXT "4294967295"
#define BEYOND_TEXT "4294967296"
#define MOST_G_TEXT "3G"
#define MOST_G_BYTES "3221225472"
#define BEYOND_G_TEXT "4G"
#endif

static const struct reading readings[] = {
    {NULL, "33554432"},
    {"0", "0"},
    {"1", "1"},
    {"0012", "12"},
    {"9", "9"},
    {"65536", "65536"},
    {"3K", "3072"},
    {"5M", "5242880"},
    {"1G", "1073741824"},
    {"0G", "0"},
    {SIZE_MAX_TEXT, SIZE_MAX_TEXT},
    {MOST_G_TEXT, MOST_G_BYTES},
    {"", "33554432"},
    {" ", NULL},
    {" 1", NULL},
    {"1 ", NULL},
    {"-1", NULL},
    {"+1", NULL},
    {"K", NULL},
    {"1k", NULL},
    {"1m", NULL},
    {"1KK", NULL},
    {"1KB", NULL},
    {"1T", NULL},
    {"1.5M", NULL},
    {"0x10", NULL},
    {"1e6", NULL},
    {"none", NULL},
    {"12three", NULL},
    {BEYOND_TEXT, NULL},
    {BEYOND_G_TEXT, NULL},
    {"99999999999999999999999999999999999999", NULL},
};

static void the_environment_sets_the_bound(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(readings); i++) {
        const struct reading *reading = &readings[i];
        const char *argument = reading->bound == NULL ? "bad" : reading->bound;
        int status = child_run_again(argument, LIMIT_VARIABLE, reading->value);
        require(status == 0, "\"%s\": %s", reading->value == NULL ? "(not set)" : reading->value,
                status == 1   ? "another bound"
                : status == 2 ? "a complaint too much, none, or another one"
                              : "the child failed");
    }
}

/* True if the file holds exactly one line, which names the bad value and the bound that is used. If
 * `value` is null, true if the file is empty. */
static bool tells_of(FILE *complaints, const char *value)
{
    char said[400];
    char line[400] = "";
    rewind(complaints);
    said[fread(said, 1, sizeof(said) - 1, complaints)] = '\0';
    char *end = strstr(said, "\r\n"); /* the line end on Windows */
    if (end != NULL) {
        memmove(end, end + 1, strlen(end));
    }
    if (value != NULL) {
        (void)snprintf(line, sizeof(line),
                       "libjsrtmem: " LIMIT_VARIABLE
                       "=\"%s\" is not a possible number of bytes, with "
                       "or without K, M or G, and ignored: the bound is 32M\n",
                       value);
    }
    return strcmp(said, line) == 0;
}

/* Runs in the child: redirects standard error to a file, creates the first runtime, and checks
 * both. */
static int read_environment(const char *expected)
{
    bool bad = strcmp(expected, "bad") == 0;
    FILE *complaints = tmpfile();
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    JsRuntimeHandle runtime = JS_INVALID_RUNTIME_HANDLE;

    if (complaints == NULL || dup2(fileno(complaints), STDERR_FILENO) < 0 ||
        JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError ||
        jsrtmem_get_process_stats(&stats) != JsNoError || JsDisposeRuntime(runtime) != JsNoError) {
        return 3;
    }
    size_t bound = bad ? (size_t)32 << 20 : (size_t)strtoull(expected, NULL, 10);
    if (stats.reserve_limit != bound) {
        return 1;
    }
    const char *value =
        getenv(LIMIT_VARIABLE); /* some C libraries report an empty variable as unset */
    return tells_of(complaints, !bad ? NULL : value == NULL ? "" : value) ? 0 : 2;
}

#define RESERVE_TEST(function) cmocka_unit_test_setup_teardown(function, empty_and_look, empty)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        RESERVE_TEST(blocks_are_kept_up_to_the_bound),
        RESERVE_TEST(a_block_that_does_not_fit_leaves_the_others),
        RESERVE_TEST(a_bound_of_zero_keeps_nothing),
        RESERVE_TEST(a_lower_bound_trims_at_once),
        RESERVE_TEST(what_is_taken_has_exactly_the_size),
        RESERVE_TEST(blocks_that_are_not_worth_it_go_to_the_os),
        RESERVE_TEST(what_is_taken_is_zero),
        RESERVE_TEST(what_the_os_does_not_clear_is_zero_too),
        RESERVE_TEST(what_the_same_tenant_takes_back_has_a_clean_map_only),
        RESERVE_TEST(neighbours_go_in_one_call),
        RESERVE_TEST(neighbours_and_others_go_in_turn),
        RESERVE_TEST(a_full_reserve_makes_room),
        RESERVE_TEST(a_full_reserve_makes_room_for_a_larger_block),
        RESERVE_TEST(a_full_reserve_gives_neighbours_in_one_call),
        RESERVE_TEST(a_large_block_waits_for_its_tenant),
        RESERVE_TEST(headers_of_blocks_that_go_are_used_again),
        RESERVE_TEST(the_large_block_that_fits_best_is_taken),
        RESERVE_TEST(a_search_for_a_large_block_ends),
        RESERVE_TEST(many_spares_are_enough),
        RESERVE_TEST(the_nearest_of_many_is_made_to_fit),
        RESERVE_TEST(a_full_reserve_makes_few_spares_enough),
        RESERVE_TEST(what_a_tenant_took_it_brings_back),
        RESERVE_TEST(rooms_of_spares_are_given_up_for_blocks),
        RESERVE_TEST(a_large_object_is_aligned_where_it_is_asked_for),
        RESERVE_TEST(a_large_block_serves_others_clear),
        RESERVE_TEST(of_what_is_left_a_thread_takes_its_own),
        RESERVE_TEST(not_all_that_is_left_is_kept),
        RESERVE_TEST(a_block_that_is_too_large_serves_no_other),
        RESERVE_TEST(a_block_with_a_map_in_it_is_not_taken_for_another),
        RESERVE_TEST(large_blocks_that_are_not_worth_it_go_to_the_os),
        RESERVE_TEST(large_blocks_go_first),
        RESERVE_TEST(the_oldest_large_blocks_go),
        RESERVE_TEST(which_large_blocks_go),
        RESERVE_TEST(for_most_of_the_bound_no_others_go),
        RESERVE_TEST(of_a_tenants_large_blocks_those_go_that_are_about_to),
        RESERVE_TEST(a_tenants_large_blocks_go_with_it),
        RESERVE_TEST(what_a_tenant_collects_goes_to_the_os),
        RESERVE_TEST(what_the_os_does_not_take_stays_with_the_giver),
        RESERVE_TEST(what_must_be_kept_is_kept_past_the_bound),
        RESERVE_TEST(what_the_os_refused_goes_when_it_takes_it),
        RESERVE_TEST(what_is_read_waits_for_its_readers),
        RESERVE_TEST(what_waited_is_not_handed_out),
        RESERVE_TEST(what_waits_makes_no_room),
        RESERVE_TEST(later_readers_do_not_hold_it),
        RESERVE_TEST(the_next_one_given_back_takes_what_waited_along),
        RESERVE_TEST(what_waits_is_bounded),
        RESERVE_TEST(what_is_read_for_a_moment_only_is_not_lost),
        RESERVE_TEST(what_waited_and_is_refused_by_the_os_waits_on),
        RESERVE_TEST(what_waits_for_its_readers_does_not_wait_for_the_os),
        RESERVE_TEST(much_that_is_refused_takes_no_time),

        RESERVE_TEST(threads_share_the_reserve),
        RESERVE_TEST(threads_give_back_what_others_take),
        cmocka_unit_test(the_environment_sets_the_bound),
    };
    if (argc > 1) {
        return read_environment(argv[1]);
    }
    return cmocka_run_group_tests(tests, start, NULL);
}
