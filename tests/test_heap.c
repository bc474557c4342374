/*
 * Heaps: which blocks are kept and which are given back, also from callbacks and if the OS does
 * not take them; how objects change their size; where the arena lives.
 */
#include "support/fake_os.h"
#include "support/heap_check.h"
#include "support/poke.h"
#include "support/random.h"
#include "support/rig.h"

#include <errno.h>
#include <stdlib.h>

#include "large.h"
#include "sweep.h"

static struct rig rig;
#define HEAP (&rig.heap)

static int make(void **state)
{
    (void)state;
    fake_os_reset();
    rig_make(&rig);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    fake_os_reset();
    jm_heap_make_current(NULL, 0);
    rig_drop(&rig);
    jm_reserve_drain();
    bool clean = fake_os_fault() == NULL && fake_os_reserved() == 0 && jm_reserve_bytes() == 0;
    return clean ? 0 : -1;
}

static void free_object(void *object)
{
    assert_true(jm_heap_free(HEAP, object));
}

static struct heap_walk check(void)
{
    return assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
}

/* Objects of 8 KiB, allocated until the heap has a given number of small blocks. */
#define MANY 400
static void *many[MANY];
static size_t many_count;

static void fill_blocks(size_t blocks)
{
    many_count = 0;
    while (check().small_blocks < blocks) {
        many[many_count++] = rig_alloc(&rig, KIB(8));
    }
    while (jm_arena_span_granules(HEAP->arena) >= KIB(8) >> JM_GRANULE_BITS) {
        many[many_count++] = rig_alloc(&rig, KIB(8));
    }
}

static struct jm_block *block_of(const void *object)
{
    return jm_pagemap_block(object);
}

/* Frees the objects in block `in` (NULL: in all blocks), except those in block `but`. */
static void free_many(const struct jm_block *in, const struct jm_block *but)
{
    for (size_t i = 0; i < many_count; i++) {
        if (many[i] != NULL && (in == NULL || block_of(many[i]) == in) &&
            block_of(many[i]) != but) {
            free_object(many[i]);
            many[i] = NULL;
        }
    }
}

/* ---- Which blocks stay ---- */

static void one_empty_block_is_kept(void **state)
{
    (void)state;
    fill_blocks(5);
    rig_forget(&rig);
    free_many(NULL, NULL);
    assert_log(&rig, ""); /* a free alone gives nothing back */
    jm_heap_tidy(HEAP);
    assert_log(&rig, "FFFF");
    assert_int_equal(check().small_blocks, 1);
    jm_heap_tidy(HEAP);
    assert_log(&rig, "");
    /* The block is kept through any number of uses. */
    for (int i = 0; i < 10; i++) {
        free_object(rig_alloc(&rig, KIB(8)));
        jm_heap_tidy(HEAP);
    }
    assert_log(&rig, "");
    jm_heap_collect(HEAP);
    assert_log(&rig, "F");
    assert_int_equal(rig_usage(&rig), 0);
    assert_null(HEAP->arena);
}

static void the_largest_empty_block_is_the_one(void **state)
{
    (void)state;
    fill_blocks(2);
    void *large = rig_alloc(&rig, KIB(200)); /* needs a larger block */
    struct jm_block *largest = block_of(large);
    assert_true(largest->charge > JM_UNIT);
    free_object(large);
    free_many(NULL, NULL);
    jm_heap_tidy(HEAP);
    assert_int_equal(check().small_blocks, 1);
    assert_ptr_equal(jm_arena_home(HEAP->arena), largest);
}

static void check_map_is_clear(const struct jm_block *block)
{
    for (size_t granule = 0; granule < block->granules; granule++) {
        assert_int_equal(jm_load_relaxed(&block->map[granule]), 0);
    }
}

/* A released block has a clear map, whether it had few objects or many: its next owner need not
 * clear it. */
static void a_block_goes_with_a_clear_map(void **state)
{
    void *large[4];
    struct jm_block *blocks[COUNT_OF(large)];

    (void)state;
    jm_reserve_set_limit(MIB(32));
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        large[i] = rig_alloc(&rig, KIB(200)); /* one per block */
        blocks[i] = block_of(large[i]);
    }
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        free_object(large[i]);
    }
    jm_heap_tidy(HEAP);
    const struct jm_block *kept = jm_arena_home(HEAP->arena);
    for (size_t i = 0; i < COUNT_OF(large);
         i++) { /* the one kept needs no clear map: it is found empty soon */
        if (blocks[i] != kept) {
            assert_true(blocks[i]->carved == blocks[i]->first_granule);
            check_map_is_clear(blocks[i]);
        }
    }
    fill_blocks(4);
    struct jm_block *crowded = block_of(many[many_count - 1]);
    assert_ptr_not_equal(crowded, kept);
    free_many(crowded, NULL);
    free_many(NULL, NULL);
    jm_heap_tidy(HEAP);
    assert_ptr_not_equal(jm_arena_home(HEAP->arena), crowded);
    assert_true(crowded->carved == crowded->first_granule);
    check_map_is_clear(crowded);
    for (size_t i = 0; i < MANY / 4; i++) { /* the blocks serve again as if new */
        (void)rig_alloc(&rig, i % 16 == 0 ? KIB(200) : KIB(8));
        (void)check();
    }
}

/* A cleared block that the OS does not take is fully usable. */
static void a_clear_block_that_stays_is_used_again(void **state)
{
    void *large[3];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        large[i] = rig_alloc(&rig, KIB(200));
    }
    size_t usage = rig_usage(&rig);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        free_object(large[i]);
    }
    jm_heap_tidy(HEAP);
    assert_int_equal(check().small_blocks, COUNT_OF(large));
    rig_set_limit(&rig, usage);
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        assert_non_null(rig_alloc(&rig, KIB(200)));
        (void)check();
    }
    assert_int_equal(rig_usage(&rig), usage);
}

/* If the limit allows it, the spare block of a large object serves a smaller object whole, and is
 * charged whole. */
static void a_spare_block_serves_whole(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(32));
    free_object(rig_alloc(&rig, MIB(1)));
    jm_heap_tidy(HEAP);
    size_t whole = jm_reserve_bytes();
    size_t calls = fake_os_calls(FAKE_RETURN) + fake_os_calls(FAKE_MAP);
    rig_forget(&rig);
    void *object = rig_alloc(&rig, KIB(900));
    assert_log(&rig, "A");
    assert_int_equal(rig.bytes, whole);
    assert_int_equal(rig_usage(&rig), whole);
    assert_int_equal(jm_reserve_bytes(), 0);
    assert_int_equal(fake_os_calls(FAKE_RETURN) + fake_os_calls(FAKE_MAP), calls);
    (void)check();
    free_object(object);
    jm_heap_tidy(HEAP);
    assert_int_equal(jm_reserve_bytes(), whole);
    rig_set_limit(&rig, whole - 1);
    object = rig_alloc(&rig, KIB(900));
    assert_true(rig_usage(&rig) < whole && rig_usage(&rig) >= KIB(900));
    assert_int_equal(rig.bytes, rig_usage(&rig));
    assert_int_equal(jm_reserve_bytes(), 0);
    (void)check();
}

/* If the host refuses a spare whole, the next request asks for no more than it needs. The host
 * refuses more than `most` bytes. */
static size_t most;

static void refuse_more_than_most(struct rig *self, unsigned event)
{
    self->refuse = event == JM_EVENT_ALLOCATE && self->bytes > most;
}

static void a_spare_block_that_the_host_refuses_is_cut(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    (void)state;
    jm_reserve_set_limit(MIB(32));
    free_object(rig_alloc(&rig, MIB(1)));
    jm_heap_tidy(HEAP);
    rig_forget(&rig);
    most = KIB(1000);
    rig.inside = refuse_more_than_most;
    assert_null(jm_heap_alloc(HEAP, KIB(900), &verdict));
    assert_int_equal(verdict, JM_REFUSED_HOST);
    assert_log(&rig, "AX");
    assert_non_null(rig_alloc(&rig, KIB(900)));
    assert_log(&rig, "A");
    assert_int_equal(jm_reserve_bytes(), 0); /* it was cut to size */
    assert_true(rig_usage(&rig) <= most);
    rig.inside = NULL;
}

/* A spare does not serve whole at another alignment, or if it is a large part of the room. */
static void a_spare_block_serves_whole_where_it_fits(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    (void)state;
    jm_reserve_set_limit(MIB(32));
    void *object = rig_alloc(&rig, MIB(1));
    size_t alignment = (uintptr_t)object & (0 - (uintptr_t)object);
    free_object(object);
    jm_heap_tidy(HEAP);
    size_t whole = jm_reserve_bytes();
    object = jm_heap_alloc_aligned(HEAP, 2 * alignment, KIB(900), &verdict);
    assert_non_null(object);
    assert_true(rig_usage(&rig) < whole);
    assert_int_equal(jm_reserve_bytes(), whole);
    free_object(object);
    jm_heap_collect(HEAP);
    free_object(rig_alloc(&rig, MIB(1)));
    jm_heap_tidy(HEAP);
    assert_int_equal(jm_reserve_bytes(), whole);
    rig_set_limit(&rig, 8 * whole - 1);
    object = rig_alloc(&rig, KIB(900));
    assert_true(rig_usage(&rig) < whole);
    assert_int_equal(jm_reserve_bytes(), 0);
    (void)check();
}

/* An object in a spare grows in it, and shrinks a little, without an event. */
static void an_object_in_a_spare_block_has_all_of_it(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    (void)state;
    jm_reserve_set_limit(MIB(32));
    free_object(rig_alloc(&rig, MIB(1)));
    jm_heap_tidy(HEAP);
    void *object = rig_alloc(&rig, KIB(900));
    size_t usage = rig_usage(&rig);
    rig_forget(&rig);
    assert_ptr_equal(jm_heap_resize(HEAP, object, KIB(910), &verdict), object);
    assert_ptr_equal(jm_heap_resize(HEAP, object, MIB(1), &verdict), object);
    assert_ptr_equal(jm_heap_resize(HEAP, object, KIB(850), &verdict), object);
    assert_log(&rig, "");
    assert_int_equal(rig_usage(&rig), usage);
    rig_set_limit(&rig, usage + KIB(512)); /* with less room it gives its surplus back */
    assert_ptr_equal(jm_heap_resize(HEAP, object, KIB(850), &verdict), object);
    assert_log(&rig, "F");
    assert_true(rig_usage(&rig) < usage);
    rig_set_limit(&rig, SIZE_MAX);
    assert_ptr_equal(jm_heap_resize(HEAP, object, KIB(600), &verdict), object);
    assert_log(&rig, "F");
    assert_true(rig_usage(&rig) < KIB(700));
}

/* The host may empty the reserve while it is asked for a block that lies in it. */
static void empty_the_reserve(struct rig *self, unsigned event)
{
    (void)self;
    (void)event;
    jm_reserve_drain();
}

static void a_spare_block_that_went_meanwhile_is_made_anew(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(32));
    free_object(rig_alloc(&rig, MIB(1)));
    jm_heap_tidy(HEAP);
    size_t whole = jm_reserve_bytes();
    rig_forget(&rig);
    rig.inside = empty_the_reserve;
    assert_non_null(rig_alloc(&rig, KIB(900)));
    assert_log(&rig, "A");
    assert_int_equal(rig_usage(&rig), whole);
    (void)check();
}

/* Once spares have more than a quarter of what the reserve has room for, one is made to fit instead
 * of mapping a new block: cut or, if the OS can, lengthened. */
static void a_spare_block_of_another_size_is_made_to_fit(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(16));
    free_object(rig_alloc(&rig, MIB(5)));
    jm_heap_tidy(HEAP);
    size_t maps = fake_os_calls(FAKE_MAP);
    void *object = rig_alloc(&rig, KIB(1536));
    pattern_fill(object, KIB(1536), 1);
    assert_int_equal(fake_os_calls(FAKE_MAP), maps);
    assert_int_equal(jm_reserve_bytes(), 0);
    assert_true(rig_usage(&rig) < MIB(2));
    (void)check();
    free_object(object);
    jm_heap_tidy(HEAP);
    object = rig_alloc(&rig, MIB(3)); /* a new one, as spares are few */
    assert_int_equal(fake_os_calls(FAKE_MAP), maps + 1);
    assert_int_equal(jm_reserve_bytes(), jm_large_bytes(KIB(1536)));
    free_object(object);
    jm_heap_tidy(HEAP);
    object = rig_alloc(&rig, MIB(4));
    pattern_fill(object, MIB(4), 2);
    assert_int_equal(rig_usage(&rig), jm_large_bytes(MIB(4)));
    assert_int_equal(jm_reserve_bytes(), jm_large_bytes(KIB(1536)));
#if !defined(_WIN32) /* which replaces the spare by a new block */
    assert_int_equal(fake_os_calls(FAKE_MAP), maps + 1);
#endif
    (void)check();
    assert_true(pattern_holds(object, MIB(4), 2));
}

/* Spares of other tenants do not count: a tenant's own two sizes stay as they are. */
static void spares_of_others_make_no_spare_fit(void **state)
{
    static struct jm_supply other = {.tenancy = 9};
    (void)state;
    jm_reserve_set_limit(MIB(64));
    struct jm_block *block = block_of(rig_alloc(&rig, MIB(10)));
    free_object(block->start);
    jm_heap_tidy(HEAP);
    block->tenant = &other; /* in the same list or not */
    void *small = rig_alloc(&rig, MIB(1));
    void *large = rig_alloc(&rig, MIB(5));
    free_object(small);
    free_object(large);
    jm_heap_tidy(HEAP);
    size_t kept = jm_reserve_bytes();
    size_t maps = fake_os_calls(FAKE_MAP);
    void *middle = rig_alloc(&rig, KIB(1300));
    assert_int_equal(fake_os_calls(FAKE_MAP), maps + 1);
    assert_int_equal(jm_reserve_bytes(), kept);
    free_object(middle);
}

/* A spare that can be neither cut nor lengthened is given back. */
static void a_spare_block_that_cannot_be_changed_goes(void **state)
{
    (void)state;
    for (int larger = 0; larger <= 1; larger++) {
        jm_reserve_set_limit(MIB(8));
        free_object(rig_alloc(&rig, MIB(5)));
        jm_heap_tidy(HEAP);
        fake_os_refuse(larger ? FAKE_MOVE : FAKE_SHRINK, 1, true, ENOMEM);
        size_t size = larger ? MIB(7) : KIB(1536);
        void *object = rig_alloc(&rig, size);
        assert_int_equal(rig_usage(&rig), jm_large_bytes(size));
        assert_int_equal(jm_reserve_bytes(), 0);
        (void)check();
        fake_os_reset();
        free_object(object);
        jm_heap_tidy(HEAP);
        jm_reserve_set_limit(0);
    }
}

static void the_arena_moves_when_its_home_goes(void **state)
{
    (void)state;
    jm_heap_make_current(HEAP, 77);
    fill_blocks(4);
    for (int moves = 0; moves < 3; moves++) {
        struct jm_block *home = jm_arena_home(HEAP->arena);
        free_many(home, NULL);
        jm_heap_collect(HEAP);
        assert_true(HEAP->arena != NULL && jm_arena_home(HEAP->arena) != home);
        assert_ptr_equal(jm_current.arena, &jm_no_arena); /* until something changes */
        jm_heap_note_change(HEAP);
        assert_ptr_equal(jm_current.arena, HEAP->arena);
        assert_int_equal(jm_current.handle, 77);
        assert_int_equal(check().small_blocks, (size_t)(3 - moves));
    }
    free_many(NULL, NULL);
    jm_heap_collect(HEAP);
    assert_null(HEAP->arena);
    assert_ptr_equal(jm_current.arena, &jm_no_arena);
    (void)rig_alloc(&rig, 16);
    assert_ptr_equal(jm_current.arena, HEAP->arena);
}

static void a_block_is_given_up_for_a_request_at_the_limit(void **state)
{
    (void)state;
    fill_blocks(3);
    struct jm_block *home = jm_arena_home(HEAP->arena);
    free_many(NULL, home);
    jm_heap_tidy(HEAP);
    assert_int_equal(check().small_blocks, 2); /* one of them empty */
    rig_forget(&rig);
    rig_set_limit(&rig, jm_small_block_min() + MIB(1) + jm_os_page_size());
    void *large = rig_alloc(&rig, MIB(1));
    assert_log(&rig, "FA");
    assert_int_equal(rig_usage(&rig), jm_load_relaxed(&HEAP->supply.quota.limit));
    free_object(large);
    enum jm_verdict verdict = JM_GRANTED;
    assert_null(jm_heap_alloc(HEAP, MIB(2), &verdict));
    assert_int_equal(verdict, JM_REFUSED_LIMIT);
    assert_log(&rig, "FX"); /* the empty large block went first */
}

/* ---- Inside callbacks ---- */

static void *to_free[4];
static size_t usage_inside;

static void free_inside(struct rig *self, unsigned event)
{
    (void)self;
    (void)event;
    usage_inside = rig_usage(&rig);
    for (size_t i = 0; i < COUNT_OF(to_free); i++) {
        if (to_free[i] != NULL) {
            assert_true(jm_heap_free(HEAP, to_free[i]));
            assert_false(jm_heap_free(HEAP, to_free[i]));
            to_free[i] = NULL;
        }
    }
    jm_heap_tidy(HEAP); /* does nothing here */
    assert_int_equal(rig_usage(&rig), usage_inside);
}

static void what_is_emptied_inside_a_callback_goes_at_the_next_use(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(to_free); i++) {
        to_free[i] = rig_alloc(&rig, i % 2 == 0 ? KIB(165) : MIB(1));
    }
    void *kept = rig_alloc(&rig, JM_SMALL_MAX);
    size_t kept_charge = block_of(kept)->charge;
    rig_forget(&rig);
    rig.inside = free_inside;
    void *asked = rig_alloc(&rig, MIB(2)); /* its Allocate frees all four */
    rig.inside = NULL;
    assert_log(&rig, "A");
    assert_int_equal(check().empty_large, 2);
    assert_true(HEAP->untidy);
    jm_heap_tidy(HEAP);
    assert_log(&rig, "FFF"); /* one small block is kept */
    struct heap_walk walk = check();
    assert_int_equal(walk.empty_large, 0);
    assert_false(HEAP->untidy);
    assert_int_equal(walk.live_objects, 2);
    jm_heap_collect(HEAP);
    assert_true(block_of(kept)->charge < kept_charge); /* free pages beside the object go too */
    assert_int_equal(rig_usage(&rig), block_of(kept)->charge + MIB(2) + jm_os_page_size());
    free_object(kept);
    free_object(asked);
}

/* Frees inside Free events. A collect continues until nothing more becomes empty. */
static void what_is_emptied_while_blocks_go_goes_along(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(to_free); i++) {
        to_free[i] = rig_alloc(&rig, i % 2 == 0 ? JM_SMALL_MAX : MIB(1));
    }
    free_object(rig_alloc(&rig, MIB(1)));
    rig.inside = free_inside;
    rig_forget(&rig);
    jm_heap_collect(HEAP);
    rig.inside = NULL;
    assert_log(&rig, "FFFFF");
    assert_int_equal(rig_usage(&rig), 0);
}

static void *last_object;

static void free_last(struct rig *self, unsigned event)
{
    (void)event;
    self->inside = NULL;
    free_object(last_object);
}

/* The same for an object in a block that the collect has already examined. */
static void what_is_emptied_behind_a_collect_goes_along(void **state)
{
    (void)state;
    fill_blocks(2);
    struct jm_block *first = jm_load_relaxed(&HEAP->supply.small);
    assert_ptr_equal(block_of(many[many_count - 1]), first);
    last_object = many[many_count - 1];
    for (size_t i = 0; i + 1 < many_count; i++) {
        free_object(many[i]);
    }
    rig_forget(&rig);
    rig.inside = free_last;
    jm_heap_collect(HEAP);
    assert_null(rig.inside);
    assert_log(&rig, "FF");
    assert_int_equal(rig_usage(&rig), 0);
}

static jmp_buf out;

static void leave_by_a_jump(struct rig *self, unsigned event)
{
    (void)event;
    self->inside = NULL;
    longjmp(out, 1);
}

/* The OS refuses an empty block, and then the host leaves the collect. The block is not
 * forgotten. */
static void a_jump_out_of_a_collect_forgets_no_empty_block(void **state)
{
    (void)state;
    fill_blocks(3);
    free_many(block_of(many[0]), NULL);
    free_object(rig_alloc(&rig, MIB(1)));
    fake_os_refuse(FAKE_RETURN, 1, false, ENOMEM);
    rig.inside = leave_by_a_jump;
    if (setjmp(out) == 0) {
        jm_heap_collect(HEAP);
    }
    assert_null(rig.inside);
    jm_hook_end_innermost();
    assert_int_equal(check().empty_small, 1);
    free_many(block_of(many[many_count - 1]), NULL);
    jm_heap_tidy(HEAP);
    assert_int_equal(check().empty_small, 1);
    assert_int_equal(check().small_blocks, 2);
}

/* Allocates an object in a block of its own, of `blocks` smallest ones. */
static void *alloc_in_block(size_t blocks)
{
    rig_set_limit(&rig, rig_usage(&rig) + blocks * jm_small_block_min());
    return rig_alloc(&rig, blocks * jm_small_block_min() / 2);
}

/* To move the arena takes a step for each block. Here the block that is kept empty is larger than
 * the others, and the arena's goes first. */
static void the_arena_moves_rarely(void **state)
{
    enum { BLOCKS = 200 };
    void *some[BLOCKS];

    (void)state;
    for (int newest_first = 0; newest_first <= 1; newest_first++) {
        size_t moves = 0;
        for (size_t i = 0; i < BLOCKS; i++) {
            some[i] = alloc_in_block(i == BLOCKS / 2 ? 2 : 1);
        }
        free_object(some[BLOCKS / 2]);
        free_object(some[0]);
        for (size_t i = 1; i < BLOCKS; i++) {
            const struct jm_arena *arena = HEAP->arena;
            size_t index = newest_first ? BLOCKS - i : i;
            if (index != BLOCKS / 2) {
                free_object(some[index]);
                jm_heap_tidy(HEAP);
            }
            moves += HEAP->arena != arena;
        }
        require(moves < 25, "%zu moves", moves);
        rig_set_limit(&rig, SIZE_MAX);
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

/* Of two empty blocks the OS refuses the first, and takes the second and pages of the first. The
 * collect has not given everything back. */
static void one_refusal_of_the_os_keeps_one_block(void **state)
{
    (void)state;
    fill_blocks(3);
    free_many(NULL, block_of(many[many_count / 2])); /* which is full */
    assert_int_equal(check().empty_small, 2);
    rig_forget(&rig);
    fake_os_refuse(FAKE_RETURN, 1, false, ENOMEM);
    jm_heap_collect(HEAP);
    assert_log(&rig, "FF");
    assert_int_equal(check().empty_small, 1);
    assert_true(HEAP->untidy);
    jm_heap_collect(HEAP);
    assert_log(&rig, "F");
    assert_int_equal(check().empty_small, 0);
    assert_false(HEAP->untidy);
}

/* Makes two blocks in doubt (one of them because the OS refused it) that hold objects again, and a
 * third that is full. Returns the third; `many` are its objects. */
static struct jm_block *refill_what_is_in_doubt(void)
{
    fill_blocks(3);
    struct jm_block *full = block_of(many[many_count / 2]);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    free_many(NULL, full);
    jm_heap_tidy(HEAP);
    fake_os_reset();
    assert_int_equal(check().empty_small, 2);
    assert_true(HEAP->untidy);
    for (size_t blocks = check().small_blocks; check().small_blocks == blocks;) {
        (void)rig_alloc(&rig, KIB(8));
    }
    assert_int_equal(check().empty_small, 0);
    return full;
}

/* A block in doubt is examined again before it is given back. */
static void blocks_in_doubt_may_be_in_use_again(void **state)
{
    (void)state;
    (void)refill_what_is_in_doubt();
    jm_heap_tidy(HEAP); /* nothing goes */
    assert_false(HEAP->untidy);
    assert_int_equal(check().empty_small, 0);
    rig_drop(&rig);
    rig_make(&rig);

    free_many(refill_what_is_in_doubt(), NULL); /* one is kept */
    assert_int_equal(check().empty_small, 1);
    jm_heap_tidy(HEAP);
    assert_int_equal(check().empty_small, 1);
    rig_drop(&rig);
    rig_make(&rig);

    fill_blocks(2);
    free_many(NULL, block_of(many[0]));
    (void)rig_alloc(&rig, KIB(200)); /* in a new block, which is in doubt, too */
    rig_forget(&rig);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    jm_heap_collect(HEAP); /* the OS refuses it at each try */
    assert_log(&rig, "");
    assert_int_equal(check().empty_small, 1);
    assert_true(HEAP->untidy);
    fake_os_reset();
    jm_heap_collect(HEAP);
    assert_int_equal(check().empty_small, 0);
}

/* If the OS refuses many empty blocks, each use asks it for one, and for all once it takes that
 * one. */
static void each_use_asks_again_for_one_block(void **state)
{
    enum { BLOCKS = 20 };
    void *large[BLOCKS];

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        large[i] = rig_alloc(&rig, MIB(40)); /* too large for the reserve */
    }
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_true(jm_heap_free(HEAP, large[i]));
    }
    jm_heap_tidy(HEAP);
    assert_true(HEAP->untidy);
    size_t calls = fake_os_calls(FAKE_RETURN);
    const struct jm_block *first = HEAP->refused_large->chain_next;
    jm_heap_tidy(HEAP);
    assert_int_equal(fake_os_calls(FAKE_RETURN), calls + 1);
    assert_ptr_equal(HEAP->refused_large, first); /* a refused block hides no other */
    jm_heap_collect(HEAP);
    assert_int_equal(fake_os_calls(FAKE_RETURN), calls + 1 + BLOCKS);
    assert_int_equal(check().large_blocks, BLOCKS);
    first = HEAP->refused_large->chain_next;
    for (size_t i = 1; i < BLOCKS;
         i++) { /* ordered by address, as each may be the end of a mapping */
        assert_true(first->start < first->chain_next->start);
        first = first->chain_next;
    }
    /* The OS takes the next one, and refuses the one behind it. */
    for (size_t left = BLOCKS; left > 1; left--) {
        fake_os_refuse(FAKE_RETURN, 2, true, ENOMEM);
        jm_heap_tidy(HEAP);
        assert_int_equal(fake_os_calls(FAKE_RETURN), 2);
        assert_int_equal(check().large_blocks, left - 1);
    }
    fake_os_reset();
    jm_heap_tidy(HEAP);
    assert_int_equal(check().large_blocks, 0);
    assert_false(HEAP->untidy);
}

/* One refusal does not end a collect: blocks given back after it may have made room. */
static void a_collect_asks_again_within_itself(void **state)
{
    void *large[8];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        large[i] = rig_alloc(&rig, MIB(40));
    }
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        assert_true(jm_heap_free(HEAP, large[i]));
    }
    /* The OS refuses the last of them, after which no other is given back. */
    fake_os_refuse(FAKE_RETURN, COUNT_OF(large), false, ENOMEM);
    jm_heap_collect(HEAP);
    assert_int_equal(fake_os_refused(), 1);
    assert_int_equal(check().large_blocks, 0);
    assert_false(HEAP->untidy);
}

static void idle_is_asked_again_for_what_the_os_did_not_take(void **state)
{
    JsRuntimeHandle runtime = NULL;
    JsContextRef context = NULL;
    unsigned int tick = 1;
    (void)state;
    assert_ok(JsCreateRuntime(JsRuntimeAttributeEnableIdleProcessing, NULL, &runtime));
    assert_ok(JsCreateContext(runtime, &context));
    assert_ok(JsSetCurrentContext(context));
    void *object = jsrtmem_alloc(runtime, MIB(1));
    assert_non_null(object);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    assert_ok(jsrtmem_free(object));
    assert_ok(JsIdle(&tick));
    assert_int_equal(tick, 0);
    fake_os_reset();
    assert_ok(JsIdle(&tick));
    assert_int_equal(tick, 0xffffffffu);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    assert_ok(JsDisposeRuntime(runtime));
}

/* ---- Changing sizes ---- */

static void *resized(void *object, size_t size)
{
    enum jm_verdict verdict = JM_GRANTED;
    void *result = jm_heap_resize(HEAP, object, size, &verdict);
    require(result != NULL, "not resized to %zu bytes: %d", size, (int)verdict);
    assert_true(jm_heap_usable(HEAP, result) >= size);
    return result;
}

static void small_objects_change_in_place_where_they_can(void **state)
{
    (void)state;
    void *object = rig_alloc(&rig, 1000);
    pattern_fill(object, 1000, 1);
    assert_ptr_equal(resized(object, 1010), object);                   /* the same class */
    assert_ptr_equal(resized(object, 5000), object);                   /* into the span behind it */
    assert_ptr_equal(jm_heap_resize_here(HEAP, object, 1000), object); /* the end is freed */
    assert_int_equal(jm_heap_usable(HEAP, object), 1024);
    assert_ptr_equal(rig_alloc(&rig, 4096), (char *)object + 1024);
    void *moved = resized(object, 5000); /* another object lies behind it now */
    assert_true(moved != object);
    assert_int_equal(jm_heap_usable(HEAP, object), 0);
    assert_true(pattern_holds(moved, 1000, 1));
    assert_ptr_equal(resized(moved, 1), moved);
    (void)check();
}

/* Frees all objects in a block but the first. Returns the index of the first. */
static size_t free_but_first(const struct jm_block *block)
{
    size_t first = 0;
    while (block_of(many[first]) != block) {
        first++;
    }
    for (size_t i = first + 1; i < many_count; i++) {
        if (many[i] != NULL && block_of(many[i]) == block) {
            free_object(many[i]);
            many[i] = NULL;
        }
    }
    return first;
}

/* The last object of a block moves to a new place while another block is kept empty. The kept block
 * is given back first: if the host jumped out of its Free event later, the new object would be
 * lost. */
static void what_moves_leaves_no_second_empty_block(void **state)
{
    const size_t sizes[] = {KIB(9), JM_SMALL_MAX, MIB(1)};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (int room = 0; room < 2; room++) { /* 1: for the new object, in a block of others */
            fill_blocks(4);
            struct jm_block *spare = block_of(many[0]);
            struct jm_block *other = block_of(many[many_count / 2]);
            struct jm_block *last = block_of(many[many_count - 1]);
            assert_true(spare != last && other != last && spare != other);
            if (room == 1) {
                (void)free_but_first(other);
            }
            size_t left = free_but_first(last);
            free_many(spare, NULL);
            jm_heap_tidy(HEAP);
            assert_int_equal(check().empty_small, 1);
            pattern_fill(many[left], KIB(8), i);
            void *moved = resized(many[left], sizes[i]);
            assert_true(pattern_holds(moved, KIB(8), i));
            assert_true(check().empty_small <= 1);
            rig_drop(&rig);
            rig_make(&rig);
        }
    }
}

/* The same if a free object is at hand. Only an operation may call the host, and resize_here begins
 * none. */
static void what_would_leave_a_second_empty_block_is_not_moved_here(void **state)
{
    (void)state;
    fill_blocks(4);
    struct jm_block *spare = block_of(many[0]);
    struct jm_block *other = block_of(many[many_count / 2]);
    size_t left = free_but_first(block_of(many[many_count - 1]));
    void *object = resized(many[left], 100);
    free_many(spare, NULL);
    jm_heap_tidy(HEAP);
    (void)free_but_first(other); /* its objects are first in the list now */
    rig_forget(&rig);
    assert_null(jm_heap_resize_here(HEAP, object, KIB(8)));
    assert_int_equal(check().empty_small, 1);
    assert_ptr_equal(block_of(resized(object, KIB(8))), other);
    assert_int_equal(check().empty_small, 1);
    assert_log(&rig, "F");
    assert_non_null(jm_heap_resize_here(HEAP, resized(rig_alloc(&rig, 50), 100), KIB(8)));
}

/* Inside another runtime's callback blocks are given back as usual. */
static void what_moves_inside_a_foreign_callback_leaves_no_second_empty_block(void **state)
{
    static struct jm_hook foreign;
    struct jm_pair pair;

    (void)state;
    fill_blocks(4);
    size_t left = free_but_first(block_of(many[many_count - 1]));
    void *object = resized(many[left], 100);
    free_many(block_of(many[0]), NULL);
    jm_heap_tidy(HEAP);
    (void)free_but_first(block_of(many[many_count / 2]));
    jm_hook_set(&foreign, (jm_hook_function)abort, NULL);
    assert_true(jm_hook_begin(&foreign, &pair, (uintptr_t)__builtin_frame_address(0)));
    assert_null(jm_heap_resize_here(HEAP, object, KIB(8)));
    assert_true(jm_hook_end(&foreign, &pair));
    assert_int_equal(check().empty_small, 1);
}

/* The same if the OS refuses the kept block: the object moves, and both blocks wait. */
static void what_the_os_does_not_take_waits_where_objects_move(void **state)
{
    (void)state;
    fill_blocks(4);
    struct jm_block *spare = block_of(many[0]);
    size_t left = free_but_first(block_of(many[many_count - 1]));
    free_many(spare, NULL);
    jm_heap_tidy(HEAP);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    pattern_fill(many[left], KIB(8), 4);
    void *moved = resized(many[left], JM_SMALL_MAX);
    assert_true(pattern_holds(moved, KIB(8), 4));
    assert_true(HEAP->untidy);
    (void)check();
    fake_os_reset();
    jm_heap_tidy(HEAP);
    assert_false(HEAP->untidy);
    assert_true(check().empty_small <= 1);
}

static void *to_move, *moved_inside;

static void move_inside(struct rig *self, unsigned event)
{
    (void)event;
    self->inside = NULL;
    moved_inside = jm_heap_resize_here(HEAP, to_move, KIB(8));
}

/* Inside the runtime's own callback no block is given back. The block stays empty beside the kept
 * one until the next use. */
static void what_moves_inside_a_callback_may_leave_a_second_empty_block(void **state)
{
    (void)state;
    fill_blocks(4);
    struct jm_block *other = block_of(many[many_count / 2]);
    size_t left = free_but_first(block_of(many[many_count - 1]));
    to_move = resized(many[left], 100);
    free_many(block_of(many[0]), NULL);
    jm_heap_tidy(HEAP);
    (void)free_but_first(other);
    assert_int_equal(check().empty_small, 1);
    rig_forget(&rig);
    rig.inside = move_inside;
    (void)rig_alloc(&rig, MIB(1));
    assert_ptr_equal(block_of(moved_inside), other);
    assert_log(&rig, "A");
    assert_int_equal(check().empty_small, 2);
    jm_heap_tidy(HEAP);
    assert_log(&rig, "F");
    assert_int_equal(check().empty_small, 1);
}

static void objects_change_between_small_and_large(void **state)
{
    (void)state;
    unsigned char *object = rig_alloc(&rig, JM_SMALL_MAX);
    pattern_fill(object, JM_SMALL_MAX, 2);
    unsigned char *large = resized(object, JM_SMALL_MAX + 1);
    assert_true(pattern_holds(large, JM_SMALL_MAX, 2));
    assert_int_equal(jm_heap_usable(HEAP, object), 0);
    size_t page = jm_os_page_size();
    const size_t sizes[] = {MIB(3), MIB(1), 5 * page, KIB(600), 1, MIB(2), JM_SMALL_MAX};
    size_t kept = JM_SMALL_MAX;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *before = large;
        kept = sizes[i] < kept ? sizes[i] : kept;
        size_t old = jm_heap_usable(HEAP, large);
        large = resized(large, sizes[i]);
        assert_true(pattern_holds(large, kept, 2));
        bool is_little = sizes[i] <= JM_SMALL_MAX / 4; /* becomes a small object */
        jm_heap_tidy(HEAP);
        assert_int_equal(check().large_blocks, !is_little);
        if (is_little) {
            continue;
        }
        assert_true(sizes[i] > old || large == before); /* shrinking happens in place */
        assert_int_equal((jm_heap_usable(HEAP, large) + JM_PAD) % page, 0);
        size_t least = sizes[i] < JM_UNIT ? JM_UNIT : sizes[i];
        assert_true(jm_heap_usable(HEAP, large) < least + least / 8 + page);
    }
    free_object(large);
    jm_heap_tidy(HEAP);
    assert_int_equal(check().large_blocks, 0);
}

static void *freed_inside;
static enum jm_event freed_at;

static void free_the_large_one(struct rig *self, unsigned event)
{
    if (event == freed_at) {
        self->inside = NULL;
        assert_true(jm_heap_free(&self->heap, freed_inside));
    }
}

/* A large object that shrinks to little becomes small, so that it holds no mapping. If it cannot,
 * it stays large, which is no refusal. */
static void what_shrinks_to_little_becomes_small(void **state)
{
    enum { MOVES, ROOM, VETO, LIMIT, OS, FREED, WAYS };
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        enum jm_verdict verdict = JM_GRANTED;
        unsigned char *large = rig_alloc(&rig, KIB(300));
        pattern_fill(large, 100, 3);
        assert_log(&rig, "A");
        assert_ptr_equal(resized(large, KIB(100)), large); /* not little enough */
        assert_log(&rig, "F");
        large = resized(large, KIB(300)); /* in place, if the OS can */
        assert_log(&rig, "A");
        rig.refuse = way == VETO;
        rig_set_limit(&rig, way == LIMIT  ? KIB(100)
                            : way == ROOM ? rig_usage(&rig) /* its end makes room */
                                          : JM_NO_LIMIT);
        if (way == OS) {
            fake_os_refuse(FAKE_ALL, 1, true, ENOMEM);
        }
        freed_inside = large;
        freed_at = JM_EVENT_ALLOCATE;
        rig.inside = way == FREED ? free_the_large_one : NULL;
        unsigned char *little = jm_heap_resize(HEAP, large, 100, &verdict);
        rig.refuse = false;
        rig_set_limit(&rig, JM_NO_LIMIT);
        fake_os_reset();
        jm_heap_tidy(HEAP);
        if (way == FREED) {
            assert_null(little);
            assert_int_equal(verdict, JM_REFUSED_ARGUMENT);
        } else {
            assert_true(pattern_holds(little, 100, 3));
            assert_true((little != large) == (way <= ROOM));
            assert_int_equal(check().large_blocks, way > ROOM);
            free_object(little);
        }
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
        HEAP->bound = JM_NO_BOUND; /* as if nothing had been refused */
        rig_forget(&rig);
    }
}

static void lower_the_limit(void)
{
    rig_set_limit(&rig, rig_usage(&rig));
}

static void lower_in_event(struct rig *self, unsigned event)
{
    (void)self;
    if (event == JM_EVENT_ALLOCATE) {
        lower_the_limit();
    }
}

static void lower_in_commit(void *context, enum fake_function function, size_t nth)
{
    (void)context, (void)nth;
    if (function == FAKE_COMMIT) {
        lower_the_limit();
    }
}

/* Grows a block at the limit. If that is to be served, the block must grow in place. */
enum growth { SERVED, LOWERED_IN_EVENT, LOWERED_IN_COMMIT, COMMIT_REFUSED, GROWTHS };
static void grow_at_the_limit(void *object, size_t size, enum growth growth)
{
    enum jm_verdict verdict = JM_GRANTED;
    size_t charge = block_of(object)->charge;
    rig_set_limit(&rig, rig_usage(&rig) + jm_large_bytes(size) - charge);
    rig.inside = growth == LOWERED_IN_EVENT ? lower_in_event : NULL;
    fake_os_watch(growth == LOWERED_IN_COMMIT ? lower_in_commit : NULL, NULL);
    if (growth == COMMIT_REFUSED) {
        fake_os_refuse(FAKE_COMMIT, 1, true, ENOMEM);
    }
    void *grown = jm_heap_resize(HEAP, object, size, &verdict);
    rig.inside = NULL;
    fake_os_watch(NULL, NULL);
    fake_os_reset();
    rig_set_limit(&rig, JM_NO_LIMIT);
    assert_int_equal(verdict,
                     growth == SERVED ? JM_GRANTED : JM_REFUSED_LIMIT); /* it refuses a move, too */
    assert_ptr_equal(grown, growth == SERVED ? object : NULL);
    assert_int_equal(block_of(object)->charge, grown == NULL ? charge : jm_large_bytes(size));
    assert_int_equal(rig_usage(&rig), fake_os_held());
}

/* An object in a larger reservation can grow into that. An end that it gave back stays reserved. */
static void an_aligned_large_object_has_its_reservation(void **state)
{
    (void)state;
    enum jm_verdict verdict = JM_GRANTED;
    void *objects[6];
    fake_os_reserve_more(true);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = jm_heap_alloc_aligned(HEAP, MIB(4), MIB(1), &verdict);
        assert_int_equal((uintptr_t)objects[i] % MIB(4), 0);
        pattern_fill(objects[i], MIB(1), i);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        size_t charge = block_of(objects[i])->charge;
        fake_os_refuse(FAKE_ALL, 1, true, ENOMEM);
        assert_ptr_equal(resized(objects[i], KIB(300)), objects[i]);
        assert_int_equal(block_of(objects[i])->charge, charge);
        fake_os_reset();
        assert_ptr_equal(resized(objects[i], KIB(300)), objects[i]);
        assert_true(block_of(objects[i])->charge < KIB(400));
        assert_int_equal(rig_usage(&rig), fake_os_held());
        assert_false(block_of(objects[i])->resizable);
        for (enum growth growth = GROWTHS; growth-- > 0;) {
            grow_at_the_limit(objects[i], KIB(900), growth);
        }
        const struct jm_os_extent *extent = &block_of(objects[i])->extent;
        char *end = (char *)extent->address + extent->size;
        size_t room = (size_t)(end - (char *)objects[i]) - JM_PAD; /* perhaps between steps */
        assert_ptr_equal(resized(objects[i], room), objects[i]);
        assert_int_equal(jm_heap_usable(HEAP, objects[i]), room);
        assert_true(pattern_holds(objects[i], KIB(300), i));
        objects[i] = resized(objects[i], MIB(16));
        jm_heap_tidy(HEAP); /* its former block */
        assert_true(pattern_holds(objects[i], KIB(300), i));
    }
    jm_heap_tidy(HEAP);
    assert_int_equal(check().large_blocks, COUNT_OF(objects));
    fake_os_reserve_more(false);
}

/* Sizes around the end of a block: it has no page too few and, if the limit has no more room, none
 * too many. */
static void a_large_object_has_what_was_asked_for(void **state)
{
    const size_t page = jm_os_page_size();
    const size_t steps[] = {0, 1, JM_PAD - 1, JM_PAD, JM_PAD + 1, page - 1, page, page + 1};

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(steps); i++) {
        size_t step = steps[i / 2];
        void *object = rig_alloc(&rig, MIB(1));
        size_t size = jm_heap_usable(HEAP, object);
        size = i % 2 == 0 ? size + step : size - step;
        fake_os_reset();
        object = resized(object, size);
        assert_true(step != 0 || fake_os_calls(FAKE_ALL) == 0);
        assert_true(jm_heap_usable(HEAP, object) >= size);
        assert_true(jm_heap_usable(HEAP, object) < size + size / 8 + page);
        free_object(object);
        jm_heap_collect(HEAP);
        jm_store_relaxed(&HEAP->supply.quota.limit, jm_large_bytes(size));
        object = rig_alloc(&rig, size);
        assert_true(jm_heap_usable(HEAP, object) < size + page);
        jm_store_relaxed(&HEAP->supply.quota.limit, JM_NO_LIMIT);
        free_object(object);
    }
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), 0);
}

/* This holds for any size, not only for powers of two. */
static void a_large_block_is_an_eighth_larger_at_most(void **state)
{
    (void)state;
    for (size_t size = JM_SMALL_MAX + 1; size < MIB(6); size += 12345) {
        void *object = rig_alloc(&rig, size);
        require(rig_usage(&rig) <= size + size / 8 + JM_PAD + jm_os_page_size(), "%zu of %zu", size,
                rig_usage(&rig));
        free_object(object);
        jm_heap_tidy(HEAP);
    }
}

/* The limit needs room only for what is added. */
static void what_grows_has_its_eighth_where_the_limit_allows_it(void **state)
{
    (void)state;
    void *object = rig_alloc(&rig, MIB(4));
    rig_set_limit(&rig, rig_usage(&rig) + MIB(1));
    object = resized(object, jm_heap_usable(HEAP, object) + 1);
    assert_true(jm_heap_usable(HEAP, object) >= MIB(4) + KIB(512));
    free_object(object);
}

/* An object that becomes small leaves its block whole in the reserve, for when it grows again. */
static void what_grows_and_becomes_small_in_turn_keeps_a_block(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(32));
    void *object = rig_alloc(&rig, 1000);
    object = resized(object, KIB(300));
    size_t maps = fake_os_calls(FAKE_MAP);
    size_t whole = jm_large_bytes(KIB(300));
    for (int i = 0; i < 10; i++) {
        object = resized(object, 1000);
        jm_heap_tidy(HEAP);
        assert_true(jm_reserve_bytes() >= whole && jm_reserve_bytes() < 2 * whole);
        object = resized(object, KIB(300));
        assert_true(jm_reserve_bytes() < whole);
        (void)check();
    }
    assert_int_equal(fake_os_calls(FAKE_MAP), maps);
    free_object(object);
}

static void *too_large, *shrunk;
static void shrink_inside(struct rig *self, unsigned event)
{
    enum jm_verdict verdict = JM_GRANTED;
    (void)event;
    self->inside = NULL;
    jm_thread.refusal.requested = 77;
    shrunk = jm_heap_resize(HEAP, too_large, 100, &verdict);
}

static void what_shrinks_inside_a_callback_is_no_refusal(void **state)
{
    (void)state;
    too_large = rig_alloc(&rig, KIB(300));
    rig.inside = shrink_inside;
    void *asked = rig_alloc(&rig, MIB(1));
    assert_ptr_equal(shrunk, too_large);
    assert_int_equal(jm_thread.refusal.requested, 77);
    free_object(shrunk);
    free_object(asked);
}

/* The host frees the object inside an event. Even if the growth is refused, too, the verdict is
 * that the caller's pointer is no object. */
static void what_is_freed_while_it_grows_is_no_object(void **state)
{
    enum { GRANTED, VETO, LIMIT, WAYS };
    (void)state;
    for (size_t size = 1000; size <= MIB(1); size += MIB(1) - 1000) {
        for (int way = 0; way < WAYS; way++) {
            enum jm_verdict verdict = JM_GRANTED;
            freed_inside = rig_alloc(&rig, size);
            (void)rig_alloc(&rig, 1000);
            rig.refuse = way == VETO;
            freed_at = way == LIMIT ? JM_EVENT_FAILURE : JM_EVENT_ALLOCATE;
            rig.inside = free_the_large_one;
            rig_set_limit(&rig, way == LIMIT ? rig_usage(&rig) + KIB(100) : JM_NO_LIMIT);
            assert_null(jm_heap_resize(HEAP, freed_inside, MIB(2), &verdict));
            assert_int_equal(verdict, JM_REFUSED_ARGUMENT);
            assert_null(rig.inside);
            rig_drop(&rig);
            rig_make(&rig);
        }
    }
}

static void sizes_that_no_block_can_have_are_refused_unasked(void **state)
{
    const size_t quarter = SIZE_MAX / 4 + 1; /* two of them are more than PTRDIFF_MAX */
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    assert_null(jm_heap_alloc_aligned(HEAP, quarter, quarter, &verdict));
    assert_int_equal(verdict, JM_REFUSED_SIZE);
    assert_null(jm_heap_alloc(HEAP, PTRDIFF_MAX, &verdict));
    assert_int_equal(verdict, JM_REFUSED_SIZE);
    assert_int_equal(fake_os_calls(FAKE_ALL), 0);
    assert_log(&rig, "");
}

/* Runs at the first call, which is refused. From then on moves are refused. */
static void refuse_moves(void *context, enum fake_function function, size_t nth)
{
    (void)context;
    (void)function;
    (void)nth;
    fake_os_watch(NULL, NULL);
    fake_os_refuse(FAKE_MOVE, 1, true, ENOMEM);
}

static void a_large_object_that_the_os_cannot_move_is_copied(void **state)
{
    (void)state;
    unsigned char *object = rig_alloc(&rig, MIB(1));
    pattern_fill(object, MIB(1), 3);
    rig_forget(&rig);
    fake_os_refuse(FAKE_EXTEND, 1, true, ENOMEM);
    fake_os_watch(refuse_moves, NULL);
    jm_thread.refusal.requested = 77;
    unsigned char *copy = resized(object, MIB(2));
    fake_os_reset();
    assert_ptr_not_equal(copy, object);
    assert_log(&rig, "AXA");
    assert_int_equal(jm_thread.refusal.requested, 77); /* the request was served */
    jm_heap_tidy(HEAP);
    assert_log(&rig, "F");
    assert_true(pattern_holds(copy, MIB(1), 3));
    assert_int_equal(check().large_blocks, 1);
    free_object(copy);
}

/* Growth does not wait for a reader that has stopped, for example because it lost its processor. */
static void a_large_object_that_somebody_reads_is_copied(void **state)
{
    (void)state;
    unsigned char *object = rig_alloc(&rig, MIB(1));
    pattern_fill(object, MIB(1), 4);
    rig_forget(&rig);
    fake_os_refuse(FAKE_EXTEND, 1, true, ENOMEM);
    _Atomic(uint32_t) *readers = jm_pagemap_enter();
    unsigned char *copy = resized(object, MIB(2));
    jm_pagemap_leave(readers);
    fake_os_reset();
    assert_ptr_not_equal(copy, object);
    assert_log(&rig, "AXA");
    assert_true(pattern_holds(copy, MIB(1), 4));
    free_object(copy);
    jm_heap_tidy(HEAP);
}

/* Room is made for the growth only, not for the whole object. */
static void an_empty_block_stays_where_growth_fits_beside_it(void **state)
{
    (void)state;
    fill_blocks(3);
    free_many(NULL, jm_arena_home(HEAP->arena));
    jm_heap_tidy(HEAP);
    void *object = rig_alloc(&rig, MIB(1));
    assert_int_equal(check().empty_small, 1);
    rig_set_limit(&rig, rig_usage(&rig) + MIB(1));
    rig_forget(&rig);
    object = resized(object, MIB(2));
    assert_log(&rig, "A");
    assert_int_equal(check().empty_small, 1);
    free_object(object);
}

static void a_refused_resize_leaves_the_object(void **state)
{
    const size_t sizes[] = {100, KIB(100), MIB(1)};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        enum jm_verdict verdict = JM_GRANTED;
        unsigned char *object = rig_alloc(&rig, sizes[i]);
        size_t usable = jm_heap_usable(HEAP, object);
        pattern_fill(object, sizes[i], 4);
        rig_set_limit(&rig, rig_usage(&rig));
        rig_forget(&rig);
        assert_null(jm_heap_resize(HEAP, object, MIB(3), &verdict));
        assert_int_equal(verdict, JM_REFUSED_LIMIT);
        assert_int_equal(strcspn(rig.text, "X") + 1, rig.count); /* one Failure, the last event */
        rig_forget(&rig);
        rig_set_limit(&rig, JM_NO_LIMIT);
        rig.refuse = true;
        assert_null(jm_heap_resize(HEAP, object, MIB(3), &verdict));
        assert_int_equal(verdict, JM_REFUSED_HOST);
        assert_log(&rig, "VX");
        rig.refuse = false;
        fake_os_refuse(FAKE_ALL, 1, true, ENOMEM);
        assert_null(jm_heap_resize(HEAP, object, MIB(3), &verdict));
        assert_int_equal(verdict, JM_REFUSED_OS);
        object = resized(object, sizes[i] / 2); /* to shrink works even now */
        fake_os_reset();
        assert_null(jm_heap_resize(HEAP, object, PTRDIFF_MAX, &verdict));
        assert_int_equal(verdict, JM_REFUSED_SIZE);
        assert_true(jm_heap_usable(HEAP, object) <= usable);
        assert_true(pattern_holds(object, sizes[i] / 2, 4));
        (void)check();
        free_object(object);
    }
}

/* The host frees the object that is being resized. The resize returns no object, and nothing is
 * lost. */
static void an_object_freed_while_it_is_resized_is_an_error(void **state)
{
    const size_t sizes[] = {KIB(100), MIB(1)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        enum jm_verdict verdict = JM_GRANTED;
        void *object = rig_alloc(&rig, sizes[i]);
        to_free[0] = object;
        rig.inside = free_inside;
        assert_null(jm_heap_resize(HEAP, object, MIB(3), &verdict));
        rig.inside = NULL;
        assert_int_equal(verdict, JM_REFUSED_ARGUMENT);
        assert_int_equal(check().live_objects, 0);
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

static void what_is_no_object_is_not_touched(void **state)
{
    int local = 0;
    (void)state;
    char *small = rig_alloc(&rig, 100);
    char *large = rig_alloc(&rig, MIB(1));
    char *freed = rig_alloc(&rig, 100);
    free_object(freed);
    struct jm_block *home = jm_arena_home(HEAP->arena);
    void *const bad[] = {NULL,  &local,      small + 1,       small + 16,    small - 16,
                         freed, large + 1,   large + 16,      large + 70000, block_of(large),
                         home,  HEAP->arena, small + JM_UNIT, home->map};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        enum jm_verdict verdict = JM_GRANTED;
        if (bad[i] == large) { /* the OS may put it a unit behind `small` */
            continue;
        }
        assert_false(jm_heap_free(HEAP, bad[i]));
        assert_int_equal(jm_heap_usable(HEAP, bad[i]), 0);
        assert_null(jm_heap_resize(HEAP, bad[i], 200, &verdict));
        assert_int_equal(verdict, JM_REFUSED_ARGUMENT);
    }
    assert_int_equal(check().live_objects, 2);
}

/* ---- Large blocks that come back ---- */

/* A large object is cleared by writing zeros or, if it is very large and the OS can, by the OS. */
static void a_large_object_is_cleared_if_it_has_to_be(void **state)
{
    static const size_t sizes[] = {MIB(1) - KIB(4), MIB(2), MIB(2)};
    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        bool purges = sizes[i] > MIB(1);
        bool refused = i == 2;
        char *object = rig_alloc(&rig, sizes[i]);
        size_t bytes = purges ? jm_heap_usable(HEAP, object) : sizes[i];
        fake_os_reset();
        jm_large_clear(block_of(object), bytes); /* it is still zero */
        assert_int_equal(fake_os_calls(FAKE_PURGE), 0);
        memset(object, 1, bytes);
        free_object(object);
        jm_heap_tidy(HEAP);
        assert_ptr_equal(rig_alloc(&rig, sizes[i]), object);
        fake_os_reset();
        if (refused) {
            fake_os_refuse(FAKE_PURGE, 1, true, ENOMEM);
        }
        jm_large_clear(block_of(object), bytes);
        assert_int_equal(fake_os_calls(FAKE_PURGE), purges);
        assert_int_equal(fake_os_refused(), refused);
        assert_true(bytes_are(object, bytes, 0));
        free_object(object);
        jm_heap_collect(HEAP);
    }
    jm_reserve_set_limit(0);
}

/* Spares that are kept for a heap are given back by its collect. When the heap ends, they are for
 * all. */
static void large_blocks_are_kept_for_as_long_as_there_is_use(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (int ends = 0; ends <= 1; ends++) {
        for (int i = 0; i < 3; i++) {
            free_object(rig_alloc(&rig, MIB(1) + KIB(64) * (size_t)i));
            jm_heap_tidy(HEAP);
        }
        assert_true(jm_reserve_bytes() >= MIB(1));
        (void)rig_alloc(&rig, MIB(2));
        if (ends) {
            jm_heap_release_all(HEAP);
        } else {
            jm_heap_collect(HEAP);
        }
        assert_int_equal(jm_reserve_bytes() >= MIB(1), ends);
        assert_int_equal(jm_reserve_bytes() == 0, !ends);
        assert_int_equal(rig_usage(&rig), ends ? 0 : MIB(2) + jm_os_page_size());
    }
    jm_reserve_set_limit(0);
}

/* ---- An OS that takes nothing back ---- */

static void what_the_os_refuses_stays_of_use_and_goes_later(void **state)
{
    (void)state;
    fill_blocks(3);
    void *large = rig_alloc(&rig, MIB(1));
    free_object(large);
    free_many(NULL, NULL);
    size_t usage = rig_usage(&rig);
    rig_forget(&rig);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    for (int i = 0; i < 3; i++) {
        jm_heap_collect(HEAP);
        assert_log(&rig, "");
        assert_int_equal(rig_usage(&rig), usage);
        assert_true(HEAP->untidy);
        assert_int_equal(check().small_blocks, 3);
        jm_heap_tidy(HEAP);
    }
    size_t count = many_count;
    for (size_t i = 0; i < count; i++) {
        many[i] = rig_alloc(&rig, KIB(8)); /* the empty blocks serve */
        pattern_fill(many[i], KIB(8), i);
    }
    assert_log(&rig, "");
    for (size_t i = 0; i < count; i++) {
        assert_true(pattern_holds(many[i], KIB(8), i));
    }
    free_many(NULL, NULL);
    fake_os_refuse(FAKE_RETURN, 2, false, ENOMEM); /* one is refused, the others go */
    jm_heap_tidy(HEAP);
    assert_int_equal(check().charge, rig_usage(&rig));
    assert_true(HEAP->untidy);
    fake_os_reset();
    jm_heap_tidy(HEAP);
    assert_false(HEAP->untidy);
    struct heap_walk walk = check();
    assert_int_equal(walk.small_blocks, 1);
    assert_int_equal(walk.large_blocks, 0);
    assert_log(&rig, "FFF");
}

static void all_blocks_go_whatever_the_os_says(void **state)
{
    (void)state;
    fill_blocks(3);
    (void)rig_alloc(&rig, MIB(1));
    free_object(rig_alloc(&rig, MIB(2)));
    size_t usage = rig_usage(&rig);
    rig_forget(&rig);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    jm_heap_release_all(HEAP);
    assert_log(&rig, "FFFFF");
    assert_int_equal(rig_usage(&rig), 0);
    assert_int_equal(jm_reserve_bytes(), usage);
}

static void a_forgotten_heap_can_be_released(void **state)
{
    (void)state;
    fill_blocks(3);
    (void)rig_alloc(&rig, MIB(1));
    free_object(rig_alloc(&rig, MIB(2)));
    size_t usage = rig_usage(&rig);
    jm_store_relaxed(&HEAP->supply.quota.usage, usage + 4096); /* as in the middle of a charge */
    jm_store_relaxed(&HEAP->supply.block_count, 1);
    for (struct jm_block *block = jm_load_relaxed(&HEAP->supply.small); block != NULL;
         block = jm_load_relaxed(&block->next)) {
        block->previous = (struct jm_block *)(uintptr_t)16;
    }
    jm_heap_salvage(HEAP);
    assert_int_equal(rig_usage(&rig), usage + 4096);
    rig_forget(&rig);
    jm_heap_release_all(HEAP);
    assert_log(&rig, "FFFFFF");
    assert_int_equal(rig.bytes, 4096); /* the charge that had no block */
    assert_int_equal(rig_usage(&rig), 0);
}

static void a_forgotten_heap_is_charged_for_its_blocks_at_least(void **state)
{
    (void)state;
    fill_blocks(3);
    size_t usage = rig_usage(&rig);
    jm_store_relaxed(&HEAP->supply.quota.usage, usage - 4096);
    jm_heap_salvage(HEAP);
    assert_int_equal(rig_usage(&rig), usage);
    rig_forget(&rig);
    jm_heap_release_all(HEAP);
    assert_log(&rig, "FFF");
    assert_int_equal(rig_usage(&rig), 0);
}

/* At any time at most one block is empty, except for those that a drain or the host's callback
 * emptied. */
static void one_empty_block_is_kept_whatever_happens(void **state)
{
    (void)state;
    struct random random = random_seeded(9);
    static void *objects[24];
    for (size_t step = 0; step < 3000; step++) {
        size_t i = random_below(&random, step / 100 % COUNT_OF(objects) + 1);
        size_t size = random_chance(&random, 50) ? JM_SMALL_MAX >> random_below(&random, 4) : 100;
        if (objects[i] == NULL) {
            objects[i] = rig_alloc(&rig, size);
        } else if (random_chance(&random, 60)) {
            objects[i] = resized(objects[i], size);
        } else {
            free_object(objects[i]);
            objects[i] = NULL;
            jm_heap_tidy(HEAP); /* as callers of jm_heap_free do */
        }
        size_t empty = check().empty_small;
        require(empty <= 1, "step %zu: %zu empty blocks", step, empty);
    }
}

/* In whatever order the objects go, at most one block is empty at each step. */
static void a_heap_that_shrinks_gives_back_as_it_goes(void **state)
{
    enum { COUNT = 20000 };
    static void *objects[COUNT];

    (void)state;
    for (int order = 0; order < 4;
         order++) { /* upwards, downwards, scattered, every other one first */
        for (size_t i = 0; i < COUNT; i++) {
            objects[i] = rig_alloc(&rig, i % 100 == 0 ? KIB(4) : 16 + i % 150);
        }
        for (size_t i = 0; i < COUNT; i++) {
            const size_t places[] = {i, COUNT - 1 - i, i * 7919 % COUNT,
                                     i < COUNT / 2 ? 2 * i : 2 * (i - COUNT / 2) + 1};
            free_object(objects[places[order]]);
            jm_heap_tidy(HEAP);
            if (i % 64 == 0 || COUNT - i < 200) {
                size_t empty = check().empty_small;
                require(empty <= 1, "order %d, step %zu: %zu empty blocks", order, i, empty);
            }
        }
        assert_int_equal(check().small_blocks, 1);
    }
}

static void what_is_live_is_counted(void **state)
{
    (void)state;
    struct random random = random_seeded(8);
    static void *objects[300];
    for (int step = 0; step < 3000; step++) {
        size_t i = random_below(&random, COUNT_OF(objects));
        if (objects[i] != NULL) {
            free_object(objects[i]);
            objects[i] = NULL;
        } else {
            objects[i] = rig_alloc(&rig, random_size(&random, step % 20 == 0 ? 20 : 13));
        }
        if (step % 100 == 0) {
            struct jm_live live = jm_heap_live_any(HEAP);
            struct heap_walk walk = check();
            assert_int_equal(live.objects, walk.live_objects);
            assert_int_equal(live.bytes, walk.live_bytes);
            jm_heap_tidy(HEAP);
        }
    }
}

/* An aligned free object is found behind a few others in its list, but not behind many. */
static void an_aligned_object_is_found_behind_others(void **state)
{
    enum { FEW = 15, TOO_MANY = 16, ALIGNED_TO = 512 };
    (void)state;
    for (int others = FEW; others <= TOO_MANY; others++) {
        void *objects[40];
        void *aligned = NULL;
        enum jm_verdict verdict = JM_GRANTED;
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            objects[i] = rig_alloc(&rig, 64);
            aligned = (uintptr_t)objects[i] % ALIGNED_TO == 0 ? objects[i] : aligned;
        }
        assert_non_null(aligned);
        free_object(aligned);
        int freed = 0;
        for (size_t i = 0; i < COUNT_OF(objects) && freed < others; i++) {
            if ((uintptr_t)objects[i] % ALIGNED_TO != 0) {
                free_object(objects[i]);
                freed++;
            }
        }
        void *found = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 64, &verdict);
        assert_int_equal((uintptr_t)found % ALIGNED_TO, 0);
        assert_true((found == aligned) == (others == FEW));
        (void)check();
        rig_drop(&rig);
        jm_heap_reset(HEAP);
    }
}

/* Of new aligned objects, only the first leaves a gap in front, which serves others. Nothing is
 * wasted behind any of them. */
static void aligned_objects_lie_side_by_side(void **state)
{
    enum { ALIGNED_TO = 64 };
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    char *before = rig_alloc(&rig, 16);
    char *first = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, ALIGNED_TO, &verdict);
    for (size_t i = 1; i < 100; i++) {
        char *next = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, ALIGNED_TO, &verdict);
        assert_ptr_equal(next, first + i * ALIGNED_TO);
    }
    assert_int_equal(first - before, ALIGNED_TO);
    assert_int_equal(check().free_bytes, ALIGNED_TO - 16);
    jm_heap_note_done(HEAP, JM_DONE_SWEEP); /* each allocation is a change */
    assert_non_null(jm_heap_alloc_aligned(HEAP, ALIGNED_TO, ALIGNED_TO, &verdict));
    assert_int_equal(HEAP->done, 0);
    assert_ptr_equal(rig_alloc(&rig, ALIGNED_TO - 16), before + 16);
    assert_int_equal(check().free_bytes, 0);
}

/* The span serves up to its end, and no further. */
static void an_aligned_object_ends_with_the_span(void **state)
{
    enum { ALIGNED_TO = 64 };
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t rest = 0; rest < 3 * ALIGNED_TO; rest += JM_GRANULE) {
        (void)rig_alloc(&rig, 16);
        while ((size_t)(HEAP->arena->span.end - HEAP->arena->span.next) > rest) {
            (void)rig_alloc(&rig, 16);
        }
        assert_int_equal(HEAP->arena->span.end - HEAP->arena->span.next, rest);
        const struct jm_block *block = HEAP->arena->span.block;
        const char *end = HEAP->arena->span.end;
        uintptr_t aligned = jm_align_up((uintptr_t)HEAP->arena->span.next, ALIGNED_TO);
        char *object = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, ALIGNED_TO, &verdict);
        bool fits = aligned + ALIGNED_TO <= (uintptr_t)end;
        assert_int_equal((uintptr_t)object % ALIGNED_TO, 0);
        assert_true(fits == ((uintptr_t)object == aligned && block_of(object) == block));
        (void)check();
        rig_drop(&rig);
        jm_heap_reset(HEAP);
    }
}

/* A free object that is up to a quarter larger serves if it is aligned. */
static void a_larger_aligned_object_serves(void **state)
{
    enum { ALIGNED_TO = 256 };
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    void *larger = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 320, &verdict);
    void *largest = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 400, &verdict);
    (void)rig_alloc(&rig, 16);
    free_object(largest);
    free_object(larger);
    assert_ptr_equal(jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 256, &verdict), larger);
    assert_int_equal(jm_heap_usable(HEAP, larger), 320);
    assert_ptr_not_equal(jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 256, &verdict), largest);
    assert_ptr_equal(jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 384, &verdict), largest);
    (void)check();
}

/* At the limit any aligned free object serves, and is cut to size. */
static void at_the_limit_any_aligned_object_serves(void **state)
{
    enum { ALIGNED_TO = 4096 };
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t size = 4096; size < 12288; size += 496) {
        void *object = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, size, &verdict);
        (void)rig_alloc(&rig, 16);
        rig_set_limit(&rig, rig_usage(&rig));
        while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
        }
        free_object(object);
        rig_forget(&rig);
        assert_ptr_equal(jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 4096, &verdict), object);
        assert_true(jm_heap_usable(HEAP, object) <= 4096 + 4096 / 4);
        assert_log(&rig, "");
        (void)check();
        rig_drop(&rig);
        jm_heap_reset(HEAP);
    }
}

/* The largest classes, beyond which there is none, serve aligned requests, too. */
static void the_largest_aligned_objects(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    (void)rig_alloc(&rig, 16);
    for (unsigned code = JM_CLASSES - 3; code < JM_CLASSES; code++) {
        void *object = jm_heap_alloc_aligned(HEAP, 32, jm_class_bytes(code), &verdict);
        assert_int_equal((uintptr_t)object % 32, 0);
        assert_int_equal(jm_heap_usable(HEAP, object), jm_class_bytes(code));
        (void)check();
    }
}

/* The search ends at a free object that a tenant wrote into. No live object is handed out. */
static void a_link_astray_ends_the_search_for_an_aligned_object(void **state)
{
    enum { ALIGNED_TO = 512 };
    void *objects[40], *astray[3];
    size_t freed = 0;
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 64);
    }
    for (size_t i = 0; i < COUNT_OF(objects) && freed < COUNT_OF(astray); i++) {
        if ((uintptr_t)objects[i] % ALIGNED_TO != 0) {
            free_object(objects[i]);
            astray[freed++] = objects[i];
        }
    }
    for (size_t i = 0; i < freed; i++) {
        poke(astray[i], &objects[COUNT_OF(objects) - 1], sizeof(void *)); /* a live object */
    }
    void *found = jm_heap_alloc_aligned(HEAP, ALIGNED_TO, 64, &verdict);
    assert_int_equal((uintptr_t)found % ALIGNED_TO, 0);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ptr_not_equal(found, objects[i]);
    }
    free_object(found);
}

/* A large heap is examined part by part, so that no reader keeps blocks from the OS for long. Each
 * object is counted once. */
static void what_is_live_in_a_large_heap_is_counted_once(void **state)
{
    (void)state;
    size_t bytes = 0;
    size_t objects = 0;
    while (rig_usage(&rig) < MIB(30)) {
        void *object = rig_alloc(&rig, objects % 3 == 0 ? KIB(40) : KIB(4));
        bytes += jm_heap_usable(HEAP, object);
        objects++;
    }
    for (int i = 0; i < 3; i++) {
        struct jm_live live = jm_heap_live_any(HEAP);
        assert_int_equal(live.objects, objects);
        assert_int_equal(live.bytes, bytes);
    }
    assert_true(jm_pagemap_is_quiet());
}

/* The rest of an older block serves if that of the newest is too short. */
static void the_rest_of_any_block_serves(void **state)
{
    (void)state;
    fill_blocks(2);
    struct jm_block *older = block_of(many[0]);
    size_t last = 0;
    while (block_of(many[last + 1]) == older) {
        last++;
    }
    free_object(many[last]);
    jm_sweep(HEAP->arena);
    rig_forget(&rig);
    assert_ptr_equal(rig_alloc(&rig, KIB(8)), many[last]);
    assert_log(&rig, "");
    (void)check();
}

/* ---- The walk itself ---- */

/* Damages the heap's own data: the walk must report it, and nothing more once it is undone. */
static void damage(const char *what, void *place, const void *value, size_t size)
{
    unsigned char old[16];
    assert_true(size <= sizeof(old));
    assert_null(heap_check(HEAP, HEAP_LISTS, NULL));
    memcpy(old, place, size);
    memcpy(place, value, size);
    const char *fault = heap_check(HEAP, HEAP_LISTS, NULL);
    memcpy(place, old, size);
    require(fault != NULL, "not seen: %s", what);
    assert_null(heap_check(HEAP, HEAP_LISTS, NULL));
}

#define DAMAGE(place, type, value) damage(#place, (void *)&(place), &(type){value}, sizeof(type))

static void the_walk_sees_each_damage(void **state)
{
    (void)state;
    fill_blocks(3);
    struct jm_block *large = block_of(rig_alloc(&rig, MIB(1)));
    struct jm_link *freed = rig_alloc(&rig, 100);
    struct jm_link *listed = rig_alloc(&rig, 100);
    char *queued = rig_alloc(&rig, 200);
    (void)rig_alloc(&rig, 100); /* a queued object ends where the next one, or the span, starts */
    free_object(listed);
    free_object(freed);
    assert_true(jm_heap_queue_free(block_of(queued), queued));
    char *live = many[0];
    struct jm_block *block = block_of(live);
    struct jm_block *first = jm_load_relaxed(&HEAP->supply.small);
    struct jm_arena *arena = HEAP->arena;
    jm_token *token = jm_pagemap_token(live);
    size_t granule = jm_granule_of(block, live);
    unsigned code = jm_class_of_size(100);
    size_t usage = rig_usage(&rig);

    DAMAGE(block->map[granule], uint8_t, 0);
    DAMAGE(block->map[granule], uint8_t, 1);
    DAMAGE(block->map[granule], uint8_t, (uint8_t)(jm_class_of_size(KIB(8)) + JM_FREE));
    DAMAGE(block->map[granule], uint8_t, JM_QUEUED);
    DAMAGE(block->map[granule], uint8_t, jm_queued_state(code));
    DAMAGE(block->map[granule], uint8_t, jm_queued_state(code + 1));
    DAMAGE(block->map[granule], uint8_t, JM_HOLE);
    DAMAGE(block->map[granule + 1], uint8_t, 1);
    DAMAGE(block->has_witness, bool, !block->has_witness);
    DAMAGE(block->witness, uint32_t, block->witness + 1);
    DAMAGE(arena->doubtful, void *, large);
    DAMAGE(*token, void *, NULL);
    DAMAGE(block->owner, void *, NULL);
    DAMAGE(block->charge, size_t, block->charge + jm_os_page_size());
    DAMAGE(block->granules, size_t, block->granules - 1);
    DAMAGE(block->carved, uint32_t, block->carved - 1);
    DAMAGE(block->touched, uint32_t, block->carved - 1);
    DAMAGE(block_of(queued)->queued, uint64_t, 0);
    DAMAGE(HEAP->queued, uint8_t, 0);
    DAMAGE(first->next, void *, NULL);
    DAMAGE(first->previous, void *, block);
    DAMAGE(HEAP->supply.small, void *, jm_load_relaxed(&first->next));
    DAMAGE(HEAP->supply.block_count, uint32_t, 1);
    DAMAGE(HEAP->supply.quota.usage, size_t, usage + 1);
    DAMAGE(HEAP->supply.small_token, void *, NULL);
    DAMAGE(HEAP->arena, void *, NULL);
    DAMAGE(arena->supply, void *, NULL);
    DAMAGE(arena->span.next, char *, arena->span.next + JM_GRANULE);
    DAMAGE(arena->span.end, char *, arena->span.end - JM_GRANULE);
    DAMAGE(arena->free[code].next, void *, NULL);
    jm_inspect_open(listed, sizeof(*listed)); /* it is free: AddressSanitizer would object */
    DAMAGE(listed->next, void *, listed);
    DAMAGE(large->state, unsigned, JM_LARGE_NONE);
    DAMAGE(large->bytes, size_t, 2 * jm_load_relaxed(&large->bytes));
    DAMAGE(HEAP->empty_large, void *, large);
}

/* If no object of a class is free, a free one of the next class serves if it is little larger, and
 * keeps its size. So too if only a part of it is to be handed out. */
static void a_free_object_of_the_near_class_serves(void **state)
{
    (void)state;
    for (unsigned code = 1; code < JM_CLASSES; code++) {
        enum jm_verdict verdict = JM_GRANTED;
        size_t size = jm_class_bytes(code);
        size_t larger = jm_class_bytes(code + 1);
        void *kept = rig_alloc(&rig, 16);
        void *free = rig_alloc(&rig, larger);
        void *behind = rig_alloc(&rig, 16);
        free_object(free);
        void *object = rig_alloc(&rig, size);
        bool serves = code >= JM_NEAR_MIN;
        assert_true((object == free) == serves);
        assert_int_equal(jm_heap_usable(HEAP, object), serves ? larger : size);
        assert_ptr_equal(jm_heap_resize(HEAP, object, size, &verdict), object);
        assert_ptr_equal(jm_heap_resize_here(HEAP, object, size), object);
        assert_int_equal(jm_heap_usable(HEAP, object), serves ? larger : size);
        (void)check();
        free_object(object);
        object = jm_heap_alloc_aligned(HEAP, 32, size - 16, &verdict);
        assert_int_equal((uintptr_t)object % 32, 0);
        (void)check();
        free_object(object);
        free_object(behind);
        free_object(kept);
        jm_heap_collect(HEAP);
        rig_forget(&rig);
    }
}

/* An object that has more than was asked for keeps its size until less than four fifths of it are
 * asked for. */
static void an_object_that_grows_does_not_shrink(void **state)
{
    (void)state;
    for (unsigned code = 1; code < JM_CLASSES; code++) {
        for (unsigned larger = code + 1; larger <= JM_CLASSES && larger < code + 6; larger++) {
            enum jm_verdict verdict = JM_GRANTED;
            size_t usable = jm_class_bytes(larger);
            size_t size = jm_class_bytes(code);
            void *object = rig_alloc(&rig, usable);
            size_t kept = jm_class_serves(larger, code) ? usable : size;
            assert_ptr_equal(jm_heap_resize(HEAP, object, size, &verdict), object);
            assert_int_equal(jm_heap_usable(HEAP, object), kept);
            assert_non_null(jm_heap_resize(HEAP, object, size + 1, &verdict));
            jm_heap_release_all(HEAP);
            rig_forget(&rig);
        }
    }
}

/* If every shrinking object were split, remnants between objects would fill the heap. So it moves
 * to a free object of its new size, and leaves its place whole. */
static void what_shrinks_goes_to_what_is_free(void **state)
{
    (void)state;
    for (size_t large = KIB(1); large <= KIB(64); large *= 8) {
        enum jm_verdict verdict = JM_GRANTED;
        unsigned char *object = rig_alloc(&rig, large);
        (void)rig_alloc(&rig, 16);
        void *free = rig_alloc(&rig, 200);
        (void)rig_alloc(&rig, 16);
        free_object(free);
        pattern_fill(object, large, large);
        unsigned char *moved = large == KIB(8) ? jm_heap_resize(HEAP, object, 200, &verdict)
                                               : jm_heap_resize_here(HEAP, object, 200);
        assert_ptr_equal(moved, free);
        assert_true(pattern_holds(moved, 200, large));
        assert_int_equal(jm_heap_usable(HEAP, moved), 208);
        assert_ptr_equal(rig_alloc(&rig, large), object);
        (void)check();
        jm_heap_release_all(HEAP);
        rig_forget(&rig);
    }
}

/* At the limit no larger free object is cut to make a place for an object that shrinks. */
static void what_shrinks_at_the_limit_cuts_nothing(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    (void)state;
    rig_set_limit(&rig, KIB(128));
    void *large = rig_alloc(&rig, KIB(64));
    void *object = rig_alloc(&rig, 4000);
    while (jm_heap_alloc(HEAP, 64, &verdict) != NULL) {
    }
    free_object(large);
    assert_ptr_equal(jm_heap_resize(HEAP, object, 200, &verdict), object);
    assert_ptr_equal(rig_alloc(&rig, KIB(64)), large);
    (void)check();
    jm_heap_release_all(HEAP);
    rig_forget(&rig);
}

/* An object that shrinks may move into what the ones before it have left. */
static void shrunk_objects_make_room_at_the_limit(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    void *objects[40];
    size_t count = 0;
    (void)state;
    rig_set_limit(&rig, KIB(128));
    while ((objects[count] = jm_heap_alloc(HEAP, 4000, &verdict)) != NULL) {
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        objects[i] = jm_heap_resize(HEAP, objects[i], 200, &verdict);
    }
    for (size_t i = 0; i < count - 4; i++) {
        (void)rig_alloc(&rig, 4000);
    }
    (void)check();
    jm_heap_release_all(HEAP);
    rig_forget(&rig);
}

/* An object that shrinks stays if nothing of its new size is free and there is no memory for it. */
static void what_shrinks_in_a_full_heap_stays(void **state)
{
    for (int here = 0; here < 2; here++) {
        enum jm_verdict verdict = JM_GRANTED;
        (void)state;
        rig_set_limit(&rig, jm_small_block_min());
        char *object = rig_alloc(&rig, 4000);
        while (jm_heap_alloc(HEAP, 64, &verdict) != NULL) {
        }
        jm_heap_note_done(HEAP, JM_DONE_SWEEP);
        assert_ptr_equal(here == 1 ? jm_heap_resize_here(HEAP, object, 200)
                                   : jm_heap_resize(HEAP, object, 200, &verdict),
                         object);
        assert_int_equal(HEAP->done, 0); /* there is a new free object to find */
        assert_int_equal(jm_heap_usable(HEAP, object), 208);
        char *rest = rig_alloc(&rig, 2000);
        assert_true(rest > object && rest < object + 4000);
        (void)check();
        jm_heap_release_all(HEAP);
        rig_forget(&rig);
    }
}

/* A block of twice their size has no room for two of them. */
static void objects_of_powers_of_two_share_larger_blocks(void **state)
{
    (void)state;
    for (size_t size = KIB(64); size <= KIB(256); size *= 2) {
        for (int i = 0; i < 16; i++) {
            (void)rig_alloc(&rig, size);
        }
        assert_in_range(rig_usage(&rig), 16 * size, 24 * size);
        (void)check();
        jm_heap_release_all(HEAP);
        rig_forget(&rig);
    }
}

static void objects_of_changing_sizes_hold_little(void **state)
{
    enum { OBJECTS = 2000, STEPS = 100000 };
    static void *objects[OBJECTS];
    struct random random = random_seeded(9);
    size_t live = 0;

    (void)state;
    memset(objects, 0, sizeof objects);
    for (int step = 0; step < STEPS; step++) {
        enum jm_verdict verdict = JM_GRANTED;
        size_t i = random_below(&random, OBJECTS);
        size_t size = random_size(&random, 12);
        live -= objects[i] == NULL ? 0 : jm_heap_usable(HEAP, objects[i]);
        objects[i] = objects[i] == NULL ? rig_alloc(&rig, size)
                                        : jm_heap_resize(HEAP, objects[i], size, &verdict);
        assert_non_null(objects[i]);
        live += jm_heap_usable(HEAP, objects[i]);
    }
    assert_in_range(rig_usage(&rig), live, live / 3 * 5);
    (void)check();
    jm_heap_release_all(HEAP);
    rig_forget(&rig);
}

#define HEAP_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

/* The OS takes nothing back: empty blocks stay, and serve again. */
static void what_the_os_does_not_take_serves_again(void **state)
{
    (void)state;
    void *object = rig_alloc(&rig, 100);
    void *large = rig_alloc(&rig, MIB(1));
    size_t usage = rig_usage(&rig);
    free_object(object);
    free_object(large);
    fake_os_refuse(FAKE_RETURN, 1, true, EINVAL);
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), usage);
    assert_true(HEAP->untidy);
    assert_non_null(HEAP->arena);
    (void)check();
    object = rig_alloc(&rig, 100);
    assert_int_equal(rig_usage(&rig), usage);
    free_object(object);
    fill_blocks(3);
    free_many(NULL, NULL);
    usage = rig_usage(&rig);
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), usage);
    fake_os_reset();
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), 0);
    assert_false(HEAP->untidy);
}

static void the_largest_heap_takes_no_larger_blocks(void **state)
{
    (void)state;
    (void)rig_alloc(&rig, MIB(1000));
    (void)rig_alloc(&rig, 16);
    assert_int_equal(rig.bytes, JM_SMALL_BLOCK_MAX);
}

static void *victim;

static void free_victim(struct rig *self, unsigned event)
{
    if (event == JM_EVENT_FREE && victim != NULL) {
        void *object = victim;
        victim = NULL;
        (void)jm_heap_free(&self->heap, object);
    }
}

/* A block is given back to make room for the object's growth. In its Free event the host frees the
 * object. */
static void an_object_that_is_freed_while_room_is_made_does_not_grow(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    (void)state;
    free_object(rig_alloc(&rig, 100));
    victim = rig_alloc(&rig, MIB(1));
    void *object = victim;
    rig_set_limit(&rig, rig_usage(&rig));
    rig.inside = free_victim;
    assert_null(jm_heap_resize(HEAP, object, MIB(2), &verdict));
    assert_int_equal(verdict, JM_REFUSED_ARGUMENT);
    assert_null(victim);
    assert_int_equal(jm_heap_usable(HEAP, object), 0);
    rig.inside = NULL;
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(one_empty_block_is_kept),
        HEAP_TEST(the_largest_empty_block_is_the_one),
        HEAP_TEST(a_block_goes_with_a_clear_map),
        HEAP_TEST(a_clear_block_that_stays_is_used_again),
        HEAP_TEST(a_spare_block_serves_whole),
        HEAP_TEST(a_spare_block_that_went_meanwhile_is_made_anew),
        HEAP_TEST(a_spare_block_that_the_host_refuses_is_cut),
        HEAP_TEST(a_spare_block_serves_whole_where_it_fits),
        HEAP_TEST(an_object_in_a_spare_block_has_all_of_it),
        HEAP_TEST(a_spare_block_of_another_size_is_made_to_fit),
        HEAP_TEST(spares_of_others_make_no_spare_fit),
        HEAP_TEST(a_spare_block_that_cannot_be_changed_goes),
        HEAP_TEST(the_arena_moves_when_its_home_goes),
        HEAP_TEST(a_block_is_given_up_for_a_request_at_the_limit),
        HEAP_TEST(what_is_emptied_inside_a_callback_goes_at_the_next_use),
        HEAP_TEST(what_is_emptied_while_blocks_go_goes_along),
        HEAP_TEST(what_is_emptied_behind_a_collect_goes_along),
        HEAP_TEST(a_jump_out_of_a_collect_forgets_no_empty_block),
        HEAP_TEST(small_objects_change_in_place_where_they_can),
        HEAP_TEST(an_aligned_object_is_found_behind_others),
        HEAP_TEST(aligned_objects_lie_side_by_side),
        HEAP_TEST(an_aligned_object_ends_with_the_span),
        HEAP_TEST(a_larger_aligned_object_serves),
        HEAP_TEST(at_the_limit_any_aligned_object_serves),
        HEAP_TEST(the_largest_aligned_objects),
        HEAP_TEST(a_link_astray_ends_the_search_for_an_aligned_object),
        HEAP_TEST(what_moves_inside_a_foreign_callback_leaves_no_second_empty_block),
        HEAP_TEST(what_is_live_in_a_large_heap_is_counted_once),
        HEAP_TEST(the_rest_of_any_block_serves),
        HEAP_TEST(a_free_object_of_the_near_class_serves),
        HEAP_TEST(an_object_that_grows_does_not_shrink),
        HEAP_TEST(what_shrinks_goes_to_what_is_free),
        HEAP_TEST(what_shrinks_at_the_limit_cuts_nothing),
        HEAP_TEST(shrunk_objects_make_room_at_the_limit),
        HEAP_TEST(what_shrinks_in_a_full_heap_stays),
        HEAP_TEST(objects_of_powers_of_two_share_larger_blocks),
        HEAP_TEST(objects_of_changing_sizes_hold_little),
        HEAP_TEST(the_walk_sees_each_damage),
        HEAP_TEST(the_arena_moves_rarely),
        HEAP_TEST(one_refusal_of_the_os_keeps_one_block),
        HEAP_TEST(blocks_in_doubt_may_be_in_use_again),
        HEAP_TEST(each_use_asks_again_for_one_block),
        HEAP_TEST(a_large_block_is_an_eighth_larger_at_most),
        HEAP_TEST(what_grows_has_its_eighth_where_the_limit_allows_it),
        HEAP_TEST(what_shrinks_inside_a_callback_is_no_refusal),
        HEAP_TEST(what_is_freed_while_it_grows_is_no_object),
        HEAP_TEST(a_collect_asks_again_within_itself),
        HEAP_TEST(idle_is_asked_again_for_what_the_os_did_not_take),
        HEAP_TEST(what_moves_leaves_no_second_empty_block),
        HEAP_TEST(what_would_leave_a_second_empty_block_is_not_moved_here),
        HEAP_TEST(what_the_os_does_not_take_waits_where_objects_move),
        HEAP_TEST(what_moves_inside_a_callback_may_leave_a_second_empty_block),
        HEAP_TEST(objects_change_between_small_and_large),
        HEAP_TEST(what_shrinks_to_little_becomes_small),
        HEAP_TEST(what_grows_and_becomes_small_in_turn_keeps_a_block),
        HEAP_TEST(an_aligned_large_object_has_its_reservation),
        HEAP_TEST(a_large_object_has_what_was_asked_for),
        HEAP_TEST(sizes_that_no_block_can_have_are_refused_unasked),
        HEAP_TEST(a_large_object_that_the_os_cannot_move_is_copied),
        HEAP_TEST(a_large_object_that_somebody_reads_is_copied),
        HEAP_TEST(an_empty_block_stays_where_growth_fits_beside_it),
        HEAP_TEST(a_refused_resize_leaves_the_object),
        HEAP_TEST(an_object_freed_while_it_is_resized_is_an_error),
        HEAP_TEST(what_is_no_object_is_not_touched),
        HEAP_TEST(a_large_object_is_cleared_if_it_has_to_be),
        HEAP_TEST(large_blocks_are_kept_for_as_long_as_there_is_use),
        HEAP_TEST(what_the_os_refuses_stays_of_use_and_goes_later),
        HEAP_TEST(all_blocks_go_whatever_the_os_says),
        HEAP_TEST(a_forgotten_heap_can_be_released),
        HEAP_TEST(a_forgotten_heap_is_charged_for_its_blocks_at_least),
        HEAP_TEST(one_empty_block_is_kept_whatever_happens),
        HEAP_TEST(a_heap_that_shrinks_gives_back_as_it_goes),
        HEAP_TEST(what_is_live_is_counted),
        HEAP_TEST(what_the_os_does_not_take_serves_again),
        HEAP_TEST(the_largest_heap_takes_no_larger_blocks),
        HEAP_TEST(an_object_that_is_freed_while_room_is_made_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
