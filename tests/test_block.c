/*
 * Blocks: who is asked in which order, what is registered and charged when, and what remains if
 * the host, the limit or the OS refuses.
 */
#include "support/fake_os.h"
#include "support/heap_check.h"
#include "support/random.h"
#include "support/rig.h"
#include "support/worker.h"

#include <errno.h>

#include "block.h"
#include "header.h"

static struct rig rig;
#define SUPPLY (&rig.heap.supply)

/* What the OS holds beyond this is the usage and the reserve, unless an unmapping failed. */
static size_t mapped_before;

static int make(void **state)
{
    (void)state;
    fake_os_reset();
    fake_os_watch(NULL, NULL);
    rig_make(&rig);
    jm_reserve_drain();
    mapped_before = fake_os_held();
    return jm_reserve_bytes() == 0 ? 0 : -1;
}

static size_t mapped(void)
{
    return fake_os_held() - mapped_before;
}

static int drop(void **state)
{
    (void)state;
    fake_os_reset();
    fake_os_watch(NULL, NULL);
    rig_drop(&rig);
    jm_reserve_set_limit(0);
    jm_reserve_drain();
    return mapped() == 0 && fake_os_reserved() == 0 && fake_os_fault() == NULL ? 0 : -1;
}

static struct jm_supply *owner_of(const void *address)
{
    const struct jm_block *block = jm_pagemap_block(address);
    return block == NULL ? NULL : jm_load_relaxed(&block->owner);
}

static struct jm_block *small_block(size_t size)
{
    enum jm_verdict verdict = JM_REFUSED_SIZE;
    struct jm_block *block = jm_block_acquire_small(SUPPLY, size, &verdict);
    assert_non_null(block);
    assert_int_equal(verdict, JM_GRANTED);
    return block;
}

static struct jm_block *large_block(size_t bytes, size_t alignment)
{
    enum jm_verdict verdict = JM_REFUSED_SIZE;
    struct jm_block *block = jm_block_acquire_large(SUPPLY, bytes, alignment, &verdict);
    assert_non_null(block);
    assert_int_equal(verdict, JM_GRANTED);
    return block;
}

static void assert_registered(const struct jm_block *block, bool registered)
{
    if (jm_block_is_large(block)) {
        assert_true((owner_of(block->start) == SUPPLY) == registered);
        return;
    }
    for (size_t offset = 0; offset < block->charge; offset += JM_UNIT) {
        assert_true((jm_pagemap_block(block->start + offset) == block) == registered);
    }
}

/* Checks that the supply's lists hold exactly these blocks, and that the usage is the sum of their
 * charges. */
static void assert_supply(const struct jm_block *const *blocks, size_t count)
{
    size_t charge = 0;
    size_t found = 0;

    for (int large = 0; large <= 1; large++) {
        const struct jm_block *previous = NULL;
        const struct jm_block *block = jm_load_relaxed(large ? &SUPPLY->large : &SUPPLY->small);
        for (; block != NULL; previous = block, block = jm_load_relaxed(&block->next)) {
            assert_ptr_equal(block->previous, previous);
            assert_int_equal(jm_block_is_large(block), large);
            bool known = false;
            for (size_t i = 0; i < count; i++) {
                known = known || blocks[i] == block;
            }
            assert_true(known);
            assert_registered(block, true);
            charge += block->charge;
            found++;
        }
    }
    assert_int_equal(found, count);
    assert_int_equal(jm_load_relaxed(&SUPPLY->block_count), count);
    assert_int_equal(rig_usage(&rig), charge);
    assert_int_equal(jm_load_relaxed(&SUPPLY->quota.charging) % 2, 0);
}

static void nothing_is_held(void)
{
    assert_supply(NULL, 0);
    assert_int_equal(mapped(), jm_reserve_bytes());
    assert_null(fake_os_fault());
}

/* ---- Acquiring ---- */

static void a_small_block_is_charged_registered_and_zero(void **state)
{
    (void)state;
    for (size_t size = jm_small_block_min(); size <= JM_SMALL_BLOCK_MAX; size *= 2) {
        const struct jm_block *block = small_block(size);
        assert_log(&rig, "A");
        assert_int_equal(rig.bytes, size);
        assert_int_equal(rig.usage, 0);
        assert_int_equal(block->charge, size);
        assert_int_equal((uintptr_t)block->start % JM_UNIT, 0);
        assert_int_equal(block->granules << JM_GRANULE_BITS, size - JM_PAD);
        assert_int_equal((size >> JM_GRANULE_BITS) >> block->segment_bits, 64);
        assert_true(bytes_are(block->start, size, 0) &&
                    bytes_are((void *)block->map, size / 16, 0));
        assert_supply(&block, 1);
        assert_int_equal(mapped(), size);
        assert_true(jm_block_release(SUPPLY, (struct jm_block *)(uintptr_t)block, false));
        assert_log(&rig, "F");
        nothing_is_held();
    }
}

static void a_large_block_holds_an_aligned_object(void **state)
{
    size_t page = jm_os_page_size();

    (void)state;
    for (size_t alignment = JM_GRANULE; alignment <= MIB(16); alignment *= 4) {
        struct jm_block *block = large_block(jm_small_block_min(), alignment);
        char *object = block->start;
        assert_int_equal((uintptr_t)object % alignment, 0);
        uintptr_t place = (uintptr_t)block - (uintptr_t)block->extent.address;
        assert_true(place >= block->extent.size); /* no header where a tenant writes */
        assert_int_equal(block->charge, jm_small_block_min());
        assert_int_equal(rig.bytes, jm_small_block_min());
        assert_int_equal(jm_load_relaxed(&block->bytes), jm_small_block_min());
        assert_int_equal(jm_load_relaxed(&block->state), JM_LARGE_LIVE);
        assert_true(bytes_are(object, jm_small_block_min(), 0));
        memset(object, 1, jm_small_block_min());
        assert_supply((const struct jm_block *const *)&block, 1);
        assert_int_equal(mapped(), block->charge);
        if (alignment <= page) {
            assert_true(block->resizable);
        }
        assert_true(jm_block_release(SUPPLY, block, false));
        nothing_is_held();
    }
}

static void blocks_leave_the_lists_from_any_place(void **state)
{
    struct random random = random_seeded(3);
    struct jm_block *blocks[12];
    size_t count = 0;

    (void)state;
    for (int round = 0; round < 300; round++) {
        if (count < COUNT_OF(blocks) && random_chance(&random, 60)) {
            blocks[count++] = random_chance(&random, 50) ? small_block(jm_small_block_min())
                                                         : large_block(jm_small_block_min(), 16);
        } else if (count > 0) {
            size_t index = random_below(&random, count);
            assert_true(jm_block_release(SUPPLY, blocks[index], false));
            blocks[index] = blocks[--count];
        }
        assert_supply((const struct jm_block *const *)blocks, count);
        assert_int_equal(mapped(), rig_usage(&rig));
    }
}

/* Tries once to acquire a block of either kind, which must fail. Returns the verdict. */
static enum jm_verdict refused(bool large)
{
    enum jm_verdict verdict = JM_GRANTED;
    struct jm_block *block =
        large ? jm_block_acquire_large(SUPPLY, jm_small_block_min(), 16, &verdict)
              : jm_block_acquire_small(SUPPLY, jm_small_block_min(), &verdict);
    assert_null(block);
    return verdict;
}

static void ask_inside(struct rig *self, unsigned event)
{
    (void)self;
    (void)event;
    assert_int_equal(refused(true), JM_REFUSED_CALLBACK);
    assert_int_equal(refused(false), JM_REFUSED_CALLBACK);
}

static void each_refusal_says_who_it_was(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        fake_os_reset();
        rig_set_limit(&rig, jm_small_block_min() - 1);
        assert_int_equal(refused(large), JM_REFUSED_LIMIT);
        assert_log(&rig, "X");
        assert_int_equal(rig.bytes, jm_small_block_min());
        rig_set_limit(&rig, JM_NO_LIMIT);

        rig.refuse = true;
        assert_int_equal(refused(large), JM_REFUSED_HOST);
        assert_log(&rig, "VX");
        rig.refuse = false;
        assert_int_equal(fake_os_calls(FAKE_ALL), 0);

        fake_os_refuse(FAKE_ALL, 1, true, EAGAIN);
        assert_int_equal(refused(large), JM_REFUSED_OS);
        assert_log(&rig, "AX");
        assert_int_equal(rig.usage, 0);
        fake_os_reset();
        nothing_is_held();

        rig.inside = ask_inside;
        struct jm_block *block =
            large ? large_block(jm_small_block_min(), 16) : small_block(jm_small_block_min());
        assert_log(&rig, "A");
        assert_true(jm_block_release(SUPPLY, block, false));
        assert_log(&rig, "F");
        rig.inside = NULL;
        nothing_is_held();
    }
    assert_int_equal(jm_load_relaxed(&SUPPLY->quota.peak), jm_small_block_min());
}

static void a_refused_block_leaves_no_header_behind(void **state)
{
    (void)state;
    fake_os_refuse(FAKE_MAP, 1, true, ENOMEM);
    assert_int_equal(refused(true), JM_REFUSED_OS);
    size_t metadata = jm_header_metadata();
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(refused(true), JM_REFUSED_OS);
        rig_forget(&rig);
    }
    assert_int_equal(jm_header_metadata(), metadata);
}

static void lower_the_limit(void *context, enum fake_function function, size_t nth)
{
    (void)function;
    (void)nth;
    rig_set_limit(&rig, *(const size_t *)context);
}

static void a_limit_lowered_while_the_os_works_refuses(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        for (int fails = 0; fails <= 1; fails++) {
            size_t limit = jm_small_block_min() - 1;
            fake_os_refuse(FAKE_RETURN, (size_t)fails, fails, ENOMEM);
            fake_os_watch(lower_the_limit, &limit);
            assert_int_equal(refused(large), JM_REFUSED_LIMIT);
            fake_os_watch(NULL, NULL);
            assert_log(&rig, "AX");
            assert_int_equal(jm_load_relaxed(&SUPPLY->quota.peak), 0);
            assert_int_equal(jm_reserve_bytes(), fails ? jm_small_block_min() : 0);
            nothing_is_held();
            fake_os_reset();
            jm_reserve_drain();
            rig_set_limit(&rig, JM_NO_LIMIT);
            nothing_is_held();
        }
    }
}

static void the_reserve_is_given_up_before_the_os_refuses(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        jm_reserve_set_limit(MIB(1));
        assert_true(jm_block_release(SUPPLY, small_block(KIB(512)), false));
        assert_int_equal(jm_reserve_bytes(), KIB(512));
        rig_forget(&rig);
        fake_os_refuse(large ? FAKE_MAP : FAKE_COMMIT, 1, false, ENOMEM);
        struct jm_block *block =
            large ? large_block(jm_small_block_min(), 16) : small_block(jm_small_block_min());
        assert_int_equal(fake_os_refused(), 1);
        assert_int_equal(jm_reserve_bytes(), 0);
        assert_log(&rig, "A");
        fake_os_reset();
        jm_reserve_set_limit(0);
        assert_true(jm_block_release(SUPPLY, block, false));
        rig_forget(&rig);
        nothing_is_held();
    }
}

static void the_reserve_serves_like_the_os(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(1));
    struct jm_block *block = small_block(KIB(128));
    assert_true(jm_block_release(SUPPLY, block, false));
    assert_log(&rig, "AF");
    assert_int_equal(jm_reserve_bytes(), KIB(128));
    fake_os_refuse(FAKE_ALL, 1, true, 0);
    rig.refuse = true;
    enum jm_verdict verdict;
    assert_null(jm_block_acquire_small(SUPPLY, KIB(128), &verdict));
    assert_int_equal(verdict, JM_REFUSED_HOST);
    assert_log(&rig, "VX");
    rig.refuse = false;
    const struct jm_block *again = small_block(KIB(128));
    assert_ptr_equal(again, block);
    assert_log(&rig, "A");
    assert_int_equal(jm_reserve_bytes(), 0);
    assert_int_equal(fake_os_calls(FAKE_ALL), 0);
    assert_supply(&again, 1);
}

/* Its counts are 0 even if its header is one that another block used. */
static void a_block_that_the_os_gives_again_is_untouched(void **state)
{
    (void)state;
    jm_reserve_set_limit(0);
    struct jm_block *block = small_block(jm_small_block_min());
    char *start = block->start;
    block->touched = block->carved = (uint32_t)block->granules;
    assert_true(jm_block_release(SUPPLY, block, false));
    block = small_block(jm_small_block_min());
    assert_ptr_equal(block->start, start);
    assert_int_equal(block->touched, 0);
    assert_int_equal(block->carved, 0);
    assert_true(jm_block_release(SUPPLY, block, false));
}

/* If the OS gives a new block, the reserve's block of another size is left alone. */
static void the_reserve_keeps_what_does_not_fit(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(1));
    assert_true(jm_block_release(SUPPLY, small_block(KIB(128)), false));
    const struct jm_block *other = small_block(KIB(256));
    assert_int_equal(jm_reserve_bytes(), KIB(128));
    assert_int_equal(mapped(), KIB(128) + KIB(256));
    assert_supply(&other, 1);
}

/* ---- Large blocks that come back ---- */

static size_t os_calls(void)
{
    return fake_os_calls(FAKE_ALL);
}

static struct jm_block *release_large(size_t bytes)
{
    struct jm_block *block = large_block(bytes, 16);
    memset(block->start, 1, bytes);
    assert_true(jm_block_release(SUPPLY, block, false));
    rig_forget(&rig);
    return block;
}

static void a_large_block_comes_back_to_its_tenant(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    struct jm_block *block = release_large(MIB(1));
    size_t calls = os_calls();
    const struct jm_block *again = large_block(MIB(1), 16);
    assert_ptr_equal(again, block);
    assert_log(&rig, "A");
    assert_int_equal(rig.bytes, MIB(1));
    assert_true(again->is_dirty);
    assert_supply(&again, 1);
    assert_int_equal(os_calls(), calls);
    assert_true(jm_block_release(SUPPLY, block, false));
    rig.refuse = true;
    enum jm_verdict verdict;
    assert_null(jm_block_acquire_large(SUPPLY, MIB(1), 16, &verdict));
    assert_int_equal(verdict, JM_REFUSED_HOST);
    rig.refuse = false;
    assert_int_equal(jm_reserve_bytes(), MIB(1));
    assert_int_equal(os_calls(), calls);
    jm_reserve_drop(SUPPLY, SIZE_MAX);
    rig_forget(&rig);
    nothing_is_held();
}

/* With little room, a spare's surplus is cut off. Exactly what is mapped is charged. */
static void a_large_block_comes_back_as_small_as_it_is_asked_for(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    rig_set_limit(&rig, MIB(4));
    for (int fails = 0; fails <= 1; fails++) {
        struct jm_block *block = release_large(MIB(1));
        fake_os_refuse(FAKE_SHRINK, (size_t)fails, fails, ENOMEM);
        const struct jm_block *again = large_block(MIB(1) - KIB(128), 16);
        assert_true(fails || again == block);
        assert_int_equal(again->is_dirty, !fails);
        assert_int_equal(again->charge, MIB(1) - KIB(128));
        assert_int_equal(jm_load_relaxed(&again->bytes), MIB(1) - KIB(128));
        assert_int_equal(mapped(), again->charge + jm_reserve_bytes());
        assert_supply(&again, 1);
        fake_os_reset();
        assert_true(jm_block_release(SUPPLY, (struct jm_block *)(uintptr_t)again, false));
        jm_reserve_drop(SUPPLY, SIZE_MAX);
        rig_forget(&rig);
        nothing_is_held();
    }
}

/* ---- Releasing ---- */

static const char *released; /* its former address */
static size_t mapped_inside;

static void look_inside(struct rig *self, unsigned event)
{
    (void)self;
    if (event == JM_EVENT_FREE) {
        mapped_inside = mapped();
        assert_null(owner_of(released));
    }
}

static void a_free_is_told_when_the_block_is_gone(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        struct jm_block *block =
            large ? large_block(jm_small_block_min(), 16) : small_block(jm_small_block_min());
        rig_forget(&rig);
        rig.inside = look_inside;
        released = block->start;
        mapped_inside = SIZE_MAX;
        assert_true(jm_block_release(SUPPLY, block, false));
        assert_log(&rig, "F");
        assert_int_equal(rig.bytes, jm_small_block_min());
        assert_int_equal(rig.usage, 0);
        assert_int_equal(mapped_inside, 0);
        rig.inside = NULL;
    }
}

static void a_block_that_the_os_does_not_take_stays(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        struct jm_block *block =
            large ? large_block(jm_small_block_min(), 16) : small_block(jm_small_block_min());
        struct jm_block *other =
            large ? large_block(jm_small_block_min(), 16) : small_block(jm_small_block_min());
        const struct jm_block *both[] = {block, other};
        rig_forget(&rig);
        fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
        assert_false(jm_block_release(SUPPLY, block, false));
        assert_log(&rig, "");
        assert_supply(both, 2);
        assert_true(jm_block_release(SUPPLY, block, true)); /* into the reserve */
        assert_log(&rig, "F");
        assert_supply((const struct jm_block *const *)&other, 1);
        assert_int_equal(jm_reserve_bytes(), jm_small_block_min());
        fake_os_reset();
        assert_true(jm_block_release(SUPPLY, other, false));
        jm_reserve_drain();
        rig_forget(&rig);
        nothing_is_held();
    }
}

/* ---- Holes ---- */

static void assert_map(struct jm_block *block, size_t start, size_t end)
{
    void *map = (void *)block->map;
    assert_true(bytes_are(map, start, 1));
    assert_true(bytes_are((char *)map + start, end - start, 0));
    assert_true(bytes_are((char *)map + end, block->granules - end, 1));
}

/* Of the state map behind a hole, whole pages are given back, except the page with the hole's first
 * granule and pages that describe anything else. */
static void a_hole_takes_its_part_of_the_map_along(void **state)
{
    const size_t page = jm_page_granules();
    const size_t part = jm_os_page_size(); /* the granules that one page of the map describes */

    (void)state;
    for (size_t start = part - page; start <= part + page; start += page) {
        for (size_t end = 3 * part - page; end <= 3 * part + page; end += page) {
            struct jm_block *block = small_block(JM_SMALL_BLOCK_MAX);
            memset((void *)block->map, 1, block->granules);
            memset((void *)(block->map + start), 0, end - start);
            fake_os_reset();
            assert_true(jm_block_decommit_pages(block, start, end));
            bool holds_one = start < part || end >= 3 * part; /* a whole page of the map */
            assert_int_equal(fake_os_calls(FAKE_PURGE), holds_one);
            assert_int_equal(block->charge,
                             JM_SMALL_BLOCK_MAX - ((end - start) << JM_GRANULE_BITS));
            assert_map(block, start, end);
            jm_quota_refund(&SUPPLY->quota, JM_SMALL_BLOCK_MAX - block->charge);
            assert_true(jm_block_release(SUPPLY, block, false));
            rig_forget(&rig);
            nothing_is_held();
        }
    }
}

/* ---- Growing and shrinking ---- */

#define BYTES ((size_t)256 << 10)

static struct jm_block *marked_block(void)
{
    struct jm_block *block = large_block(BYTES, 16);
    pattern_fill(block->start, BYTES, 9);
    rig_forget(&rig);
    return block;
}

static void assert_marked(const struct jm_block *block, size_t bytes)
{
    const char *object = block->start;
    size_t kept = bytes < BYTES ? bytes : BYTES;
    assert_true(pattern_holds(object, kept, 9));
    assert_true(bytes_are(object + kept, bytes - kept, 0));
    assert_int_equal(jm_load_relaxed(&block->bytes), bytes);
    assert_int_equal(block->charge, bytes);
    assert_supply(&block, 1);
}

static void grow(struct jm_block *block, size_t bytes)
{
    enum jm_verdict verdict = JM_REFUSED_SIZE;
    assert_true(jm_block_grow(SUPPLY, block, bytes, &verdict));
    assert_int_equal(verdict, JM_GRANTED);
}

static enum jm_verdict not_grown(struct jm_block *block, size_t bytes)
{
    enum jm_verdict verdict = JM_GRANTED;
    assert_false(jm_block_grow(SUPPLY, block, bytes, &verdict));
    return verdict;
}

static bool os_moves(void)
{
    struct jm_os_extent extent;
    void *address = jm_os_map(jm_small_block_min(), jm_os_page_size(), &extent); /* exact size */
    assert_non_null(address);
    void *moved = jm_os_move(address, extent.size, 2 * extent.size);
    if (moved != NULL) {
        extent = (struct jm_os_extent){moved, 2 * extent.size};
    }
    jm_os_discard(&extent);
    return moved != NULL;
}

/* Grows a block that the OS does not extend in place: by one move. If the OS cannot move either,
 * growth is refused and the block stays as it was. */
static void grow_by_moving(struct jm_block *block, size_t bytes, bool moves)
{
    size_t before = jm_load_relaxed(&block->bytes);
    const char *object = block->start;
    if (moves) {
        grow(block, bytes);
        assert_true(block->start != object);
        assert_log(&rig, "A");
        assert_marked(block, bytes);
    } else {
        assert_int_equal(not_grown(block, bytes), JM_REFUSED_OS);
        assert_log(&rig, "AX");
        assert_marked(block, before);
    }
    assert_int_equal(fake_os_calls(FAKE_MOVE), 1);
    assert_int_equal(mapped(), rig_usage(&rig));
    assert_int_equal(fake_os_reserved(), 0);
}

static void a_block_grows_by_the_difference(void **state)
{
    struct jm_block *block = marked_block();

    (void)state;
    grow(block, 2 * BYTES); /* in place or elsewhere, as the OS decides */
    assert_log(&rig, "A");
    assert_int_equal(rig.bytes, BYTES);
    assert_marked(block, 2 * BYTES);
    assert_int_equal(mapped(), rig_usage(&rig));
    assert_int_equal(fake_os_reserved(), 0);
}

static void a_block_that_cannot_grow_in_place_moves(void **state)
{
    bool moves = os_moves();
    struct jm_block *block = marked_block();
    const void *old_object = block->start;

    (void)state;
    fake_os_refuse(FAKE_EXTEND, 1, true, ENOMEM);
    grow_by_moving(block, 5 * BYTES, moves);
    assert_true((owner_of(old_object) == NULL) == moves);
}

/* Runs at the first call, whose outcome is decided already. From the next call on, another function
 * is refused. */
static void refuse_another(void *context, enum fake_function function, size_t nth)
{
    (void)function;
    (void)nth;
    fake_os_watch(NULL, NULL);
    fake_os_refuse(*(const enum fake_function *)context, 1, true, ENOMEM);
}

static void growth_that_is_refused_changes_nothing(void **state)
{
    const enum fake_function functions[] = {FAKE_RESERVE,
                                            FAKE_MOVE}; /* no leaf of the map; no place */
    struct jm_block *block = marked_block();
    size_t usage = rig_usage(&rig);

    (void)state;
    rig_set_limit(&rig, usage + BYTES - 1);
    assert_int_equal(not_grown(block, 2 * BYTES), JM_REFUSED_LIMIT);
    assert_log(&rig, "X");
    assert_int_equal(rig.bytes, BYTES);
    rig_set_limit(&rig, JM_NO_LIMIT);
    rig.refuse = true;
    assert_int_equal(not_grown(block, 2 * BYTES), JM_REFUSED_HOST);
    assert_log(&rig, "VX");
    rig.refuse = false;
    fake_os_refuse(FAKE_ALL, 1, true, EPERM);
    assert_int_equal(not_grown(block, 2 * BYTES), JM_REFUSED_OS);
    assert_log(&rig, "AX");
    assert_int_equal(rig.usage, usage);
    assert_marked(block, BYTES);
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        fake_os_refuse(FAKE_EXTEND, 1, true, ENOMEM);
        fake_os_watch(refuse_another, (void *)(uintptr_t)&functions[i]);
        assert_int_equal(not_grown(block, 2 * BYTES), JM_REFUSED_OS);
        assert_log(&rig, "AX");
        assert_int_equal(fake_os_calls(functions[i]), 1);
        assert_int_equal(fake_os_refused(), 1);
        assert_marked(block, BYTES);
        assert_int_equal(mapped(), rig_usage(&rig));
        assert_int_equal(fake_os_reserved(), 0);
    }
}

/* The usage that others see while the OS is asked for a move, which it refuses. */
static size_t usage_meanwhile;

static void look_meanwhile(void *context, enum fake_function function, size_t nth)
{
    (void)context;
    (void)nth;
    if (function == FAKE_EXTEND) {
        fake_os_refuse(FAKE_MOVE, 1, true, ENOMEM);
    } else if (function == FAKE_MOVE) {
        usage_meanwhile = rig_usage(&rig);
        assert_int_equal(jm_load_relaxed(&SUPPLY->quota.charging) % 2, 1); /* until it is charged */
        jm_quota_reset_peak(&SUPPLY->quota);
    }
}

static void growth_that_is_refused_shows_in_no_figure(void **state)
{
    struct jm_block *block = marked_block();
    size_t usage = rig_usage(&rig);

    (void)state;
    usage_meanwhile = 0;
    fake_os_refuse(FAKE_EXTEND, 1, true, ENOMEM);
    fake_os_watch(look_meanwhile, NULL);
    assert_int_equal(not_grown(block, 2 * BYTES), JM_REFUSED_OS);
    assert_int_equal(usage_meanwhile, usage);
    assert_int_equal(jm_load_relaxed(&SUPPLY->quota.peak), usage);
    assert_marked(block, BYTES);
}

/* A reader on another thread. It stays on a block until the test lets it leave, and a while
 * longer. */
static struct {
    struct jm_block *block;
    gate *standing, *leave;
    _Atomic(bool) left;
    bool intact;
} visit;

static void read_block(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    gate_open(visit.standing);
    gate_wait(visit.leave);
    for (unsigned i = 0; i < 200; i++) { /* longer than a move that can copy instead would wait */
        jm_os_pause(i);
    }
    visit.intact = pattern_holds(visit.block->start, BYTES, 9);
    atomic_store(&visit.left, true);
    jm_pagemap_leave(reader);
}

/* Lets the reader leave once the block is unregistered. `moved_under_reader`: it had not left when
 * the block was moved. */
static bool moved_under_reader;

static void watch_move(void *context, enum fake_function function, size_t nth)
{
    (void)context;
    (void)nth;
    if (function == FAKE_RESERVE) {
        gate_open(visit.leave);
    } else if (function == FAKE_MOVE) {
        moved_under_reader = !jm_load_seq_cst(&visit.left);
    }
}

/* The limit has room for the growth, but not for a copy of the new size: so the move waits. */
static void a_block_that_is_read_moves_when_its_reader_has_left(void **state)
{
    (void)state;
    bool moves = os_moves();
    worker *other = worker_start();
    struct jm_block *block = marked_block();
    visit.block = block;
    visit.standing = gate_new();
    visit.leave = gate_new();
    atomic_store(&visit.left, false);
    worker_post(other, read_block, NULL);
    gate_wait(visit.standing);
    moved_under_reader = true;
    fake_os_refuse(FAKE_EXTEND, 1, true, ENOMEM);
    fake_os_watch(watch_move, NULL);
    rig_set_limit(&rig, rig_usage(&rig) + BYTES + BYTES / 2);
    grow_by_moving(block, 2 * BYTES, moves);
    rig_set_limit(&rig, JM_NO_LIMIT);
    fake_os_watch(NULL, NULL);
    worker_stop(other);
    gate_delete(visit.standing);
    gate_delete(visit.leave);
    assert_false(moved_under_reader);
    assert_true(visit.intact);
}

/* A reader that walks the lists may be at a block that is put aside. The block must keep its
 * next. */
static void a_block_put_aside_for_its_readers_keeps_its_next(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        struct jm_block *blocks[5];
        const struct jm_block *next[COUNT_OF(blocks)];
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] =
                large ? large_block(jm_small_block_min(), 16) : small_block(jm_small_block_min());
        }
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            next[i] = jm_load_relaxed(&blocks[i]->next);
        }
        _Atomic(uint32_t) *reader = jm_pagemap_enter();
        for (size_t i = 1; i < COUNT_OF(blocks); i += 2) {
            assert_true(jm_block_release(SUPPLY, blocks[i], false));
        }
        assert_int_equal(jm_reserve_bytes(), 2 * jm_small_block_min());
        for (size_t i = 1; i < COUNT_OF(blocks); i += 2) {
            assert_ptr_equal(jm_load_relaxed(&blocks[i]->next), next[i]);
        }
        jm_reserve_drop_waiting(); /* looks at all of them, drops none */
        assert_int_equal(jm_reserve_bytes(), 2 * jm_small_block_min());
        for (size_t i = 1; i < COUNT_OF(blocks); i += 2) {
            assert_ptr_equal(jm_load_relaxed(&blocks[i]->next), next[i]);
        }
        const struct jm_block *kept[] = {blocks[0], blocks[2], blocks[4]};
        assert_supply(kept, 3);
        jm_pagemap_leave(reader);
        jm_reserve_drop_waiting();
        assert_int_equal(mapped(), rig_usage(&rig));
        for (size_t i = 0; i < COUNT_OF(blocks); i += 2) {
            assert_true(jm_block_release(SUPPLY, blocks[i], false));
        }
        rig_forget(&rig);
        nothing_is_held();
    }
}

/* A marked block with room behind it: it was larger before. */
static struct jm_block *growable_block(void)
{
    struct jm_block *block = large_block(2 * BYTES, 16);
    assert_true(jm_block_shrink(SUPPLY, block, BYTES));
    pattern_fill(block->start, BYTES, 9);
    rig_forget(&rig);
    return block;
}

/* The first OS call lowers the limit. With `shrink_fails`, the OS takes nothing back from then
 * on. */
struct squeeze {
    size_t limit;
    bool shrink_fails;
};

static void squeeze_growth(void *context, enum fake_function function, size_t nth)
{
    const struct squeeze *squeeze = context;
    (void)function;
    (void)nth;
    fake_os_watch(NULL, NULL);
    rig_set_limit(&rig, squeeze->limit);
    if (squeeze->shrink_fails) {
        fake_os_refuse(FAKE_SHRINK, 1, true, ENOMEM);
    }
}

static void a_limit_lowered_while_a_block_grows_refuses(void **state)
{
    (void)state;
    for (int move = 0; move <= 1; move++) {
        for (int fails = 0; fails <= 1; fails++) {
            struct jm_block *block = growable_block();
            struct squeeze squeeze = {rig_usage(&rig) + BYTES - 1, fails};
            fake_os_refuse(FAKE_EXTEND, (size_t)move, true, ENOMEM);
            fake_os_watch(squeeze_growth, &squeeze);
            assert_int_equal(not_grown(block, 2 * BYTES), JM_REFUSED_LIMIT);
            assert_log(&rig, "AX");
            rig_set_limit(&rig, JM_NO_LIMIT);
            assert_int_equal(fake_os_calls(FAKE_MOVE), 0); /* a move is charged before it is made */
            assert_marked(block, BYTES);
            bool left_over = fails && !move;
            assert_int_equal(mapped(), rig_usage(&rig) + (left_over ? BYTES : 0));
            fake_os_reset();
            if (left_over) {
                /* Memory that the OS did not take back is used now. */
                grow(block, 2 * BYTES);
                assert_int_equal(fake_os_calls(FAKE_ALL), 0);
                assert_int_equal(mapped(), rig_usage(&rig));
            }
            assert_true(jm_block_release(SUPPLY, block, false));
            rig_forget(&rig);
            nothing_is_held();
        }
    }
}

static void a_block_shrinks_by_the_difference(void **state)
{
    struct jm_block *block = marked_block();
    size_t usage = rig_usage(&rig);

    (void)state;
    fake_os_refuse(FAKE_SHRINK, 1, true, ENOMEM);
    assert_false(jm_block_shrink(SUPPLY, block, jm_small_block_min()));
    assert_log(&rig, "");
    assert_marked(block, BYTES);
    fake_os_reset();
    assert_true(jm_block_shrink(SUPPLY, block, jm_small_block_min()));
    assert_log(&rig, "F");
    assert_int_equal(rig.bytes, BYTES - jm_small_block_min());
    assert_int_equal(rig.usage, usage - rig.bytes);
    assert_marked(block, jm_small_block_min());
    assert_int_equal(mapped(), rig_usage(&rig));
}

#define BLOCK_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLOCK_TEST(a_small_block_is_charged_registered_and_zero),
        BLOCK_TEST(a_large_block_holds_an_aligned_object),
        BLOCK_TEST(blocks_leave_the_lists_from_any_place),
        BLOCK_TEST(each_refusal_says_who_it_was),
        BLOCK_TEST(a_refused_block_leaves_no_header_behind),
        BLOCK_TEST(a_limit_lowered_while_the_os_works_refuses),
        BLOCK_TEST(the_reserve_is_given_up_before_the_os_refuses),
        BLOCK_TEST(the_reserve_serves_like_the_os),
        BLOCK_TEST(a_block_that_the_os_gives_again_is_untouched),
        BLOCK_TEST(the_reserve_keeps_what_does_not_fit),
        BLOCK_TEST(a_large_block_comes_back_to_its_tenant),
        BLOCK_TEST(a_large_block_comes_back_as_small_as_it_is_asked_for),
        BLOCK_TEST(a_free_is_told_when_the_block_is_gone),
        BLOCK_TEST(a_block_that_the_os_does_not_take_stays),
        BLOCK_TEST(a_hole_takes_its_part_of_the_map_along),
        BLOCK_TEST(a_block_grows_by_the_difference),
        BLOCK_TEST(a_block_that_cannot_grow_in_place_moves),
        BLOCK_TEST(growth_that_is_refused_changes_nothing),
        BLOCK_TEST(growth_that_is_refused_shows_in_no_figure),
        BLOCK_TEST(a_block_that_is_read_moves_when_its_reader_has_left),
        BLOCK_TEST(a_block_put_aside_for_its_readers_keeps_its_next),
        BLOCK_TEST(a_limit_lowered_while_a_block_grows_refuses),
        BLOCK_TEST(a_block_shrinks_by_the_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
