/*
 * Holes: free pages inside blocks with live objects, given back by a collect, or, if many lie side
 * by side, by a request that the limit has no room for. They are asked for again as blocks are.
 * The objects around them lose nothing, whoever refuses.
 */
#include "support/fake_os.h"
#include "support/heap_check.h"
#include "support/poke.h"
#include "support/random.h"
#include "support/rig.h"

#include <errno.h>

#include "hole.h"
#include "large.h"
#include "sweep.h"

static struct rig rig;
#define HEAP (&rig.heap)

#define OBJECTS 40960 /* 10 MiB: most blocks have room for a hole between two objects that stay */
#define SIZE ((size_t)256)
#define KEPT 2048 /* every KEPT-th object stays */

static unsigned char *objects[OBJECTS];

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
    rig_drop(&rig);
    return fake_os_fault() == NULL ? 0 : -1;
}

/* Fills a heap, then frees most of it: a few objects live, all over its blocks. */
static void thin_out(void)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = rig_alloc(&rig, SIZE);
        pattern_fill(objects[i], SIZE, i);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (i % KEPT != 0) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
    }
    jm_heap_tidy(HEAP);
    rig_forget(&rig);
}

/* Gives long runs of free pages back but no short ones, as a request beyond the limit does. */
static void press(void)
{
    rig_set_limit(&rig, rig_usage(&rig));
    jm_heap_make_room(HEAP, 1, true);
    rig_set_limit(&rig, SIZE_MAX);
}

static struct heap_walk check(void)
{
    for (size_t i = 0; i < OBJECTS; i += KEPT) {
        assert_true(pattern_holds(objects[i], SIZE, i));
        assert_int_equal(jm_heap_usable(HEAP, objects[i]), SIZE);
    }
    assert_null(fake_os_fault());
    return assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
}

/* The address of the first hole. NULL if there is none. */
static char *hole(void)
{
    struct jm_run run = jm_hole_find(HEAP->arena, jm_page_granules(), jm_page_granules());
    return run.block == NULL ? NULL : jm_granule_address(run.block, run.start);
}

static void a_collect_gives_pages_back(void **state)
{
    (void)state;
    thin_out();
    size_t usage = rig_usage(&rig);
    jm_heap_collect(HEAP);
    struct heap_walk walk = check();
    assert_int_equal(walk.live_objects, OBJECTS / KEPT);
    size_t around = OBJECTS / KEPT * jm_os_page_size(); /* the pages around live objects */
    assert_true(rig_usage(&rig) < usage / 4 + around);
    assert_int_equal(rig_usage(&rig), fake_os_held());
    size_t free_events = rig.count;
    assert_true(free_events >= 1 && strspn(rig.text, "F") == free_events);
    rig_forget(&rig);
    jm_heap_collect(HEAP);
    assert_log(&rig, ""); /* nothing changed since */
}

/* The pages of a block that hold a part of a live object or of the block's map, and its last
 * page. */
static size_t pages_in_use(const struct jm_block *block)
{
    const size_t page = jm_page_granules();
    size_t count = (block->first_granule + page - 1) / page;
    size_t seen = count * page;
    for (size_t granule = block->first_granule; granule < block->granules; granule++) {
        unsigned byte = jm_load_relaxed(&block->map[granule]);
        if (jm_is_live(byte)) {
            size_t first = granule / page * page;
            size_t end = granule + jm_class_granules[jm_state_class(byte)];
            first = first < seen ? seen : first;
            seen = end > first ? jm_align_up(end, page) : seen;
            count += end > first ? (seen - first) / page : 0;
        }
    }
    return count + (seen <= block->granules);
}

/* Fills a heap, then frees it at random: a tenth lives. */
static void scatter(void)
{
    struct random random = random_seeded(5);
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = rig_alloc(&rig, 16 + random_below(&random, 3000));
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (!random_chance(&random, 10)) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
    }
}

/* Apart from the last page of each block, less could be held only by moving objects. */
static void a_collect_leaves_the_pages_in_use(void **state)
{
    (void)state;
    scatter();
    size_t usage = rig_usage(&rig);
    jm_heap_collect(HEAP);
    size_t pages = 0;
    const struct jm_block *block = jm_load_relaxed(&HEAP->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        pages += pages_in_use(block);
    }
    assert_int_equal(rig_usage(&rig), pages * jm_os_page_size());
    assert_int_equal(rig_usage(&rig), fake_os_held());
    assert_true(rig_usage(&rig) < usage / 4 * 3 || jm_os_page_size() > KIB(16));
    (void)assert_heap(HEAP, HEAP_LISTS);
}

static bool is_free_at(const struct jm_block *block, size_t granule)
{
    return granule < block->carved && jm_is_free(jm_load_relaxed(&block->map[granule]));
}

/* The end of the neighbouring holes from a granule on, or of as many pages of them. */
static size_t end_of_holes(const struct jm_block *block, size_t granule, size_t pages)
{
    const size_t page = jm_page_granules();
    size_t end = granule + page;
    for (; --pages > 0 && end < block->carved; end += page) {
        unsigned byte = jm_load_relaxed(&block->map[end]);
        if (byte != JM_HOLE && byte != 0) {
            break;
        }
    }
    return end;
}

/* The address of the first hole that has, with the free objects beside it, as many granules as
 * `pages` pages. Walks over everything, without what the heap remembers. */
static char *first_hole(size_t pages)
{
    const size_t page = jm_page_granules();
    const struct jm_block *block = jm_load_relaxed(&HEAP->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        size_t next;
        size_t free = 0; /* granules in front */
        for (size_t at = block->first_granule; at < block->carved; at = next) {
            next = jm_arena_end_at(HEAP->arena, block, at);
            if (jm_load_relaxed(&block->map[at]) != JM_HOLE) {
                free = is_free_at(block, at) ? free + next - at : 0;
                continue;
            }
            size_t end = end_of_holes(block, at, pages);
            size_t behind = end;
            while (end - at < pages * page && is_free_at(block, behind)) {
                behind = jm_arena_end_at(HEAP->arena, block, behind);
            }
            if (free + behind - at >= pages * page) {
                return jm_granule_address(block, at);
            }
            next = next < end ? end : next;
            free = 0;
        }
    }
    return NULL;
}

/* The hole is found whatever was searched for before, and whichever pages went or came back
 * meanwhile. */
static void the_first_hole_that_is_long_enough_is_found(void **state)
{
    struct random random = random_seeded(9);
    size_t found = 0;

    (void)state;
    scatter();
    for (size_t round = 0; round < 400; round++) {
        if (round % 100 == 0) {
            for (size_t i = round / 100; i < OBJECTS; i += 4) {
                (void)jm_heap_free(HEAP, objects[i]); /* false: it is free already */
            }
            jm_heap_collect(HEAP);
        }
        size_t pages = 1 + random_below(&random, 4);
        size_t granules = pages * jm_page_granules();
        struct jm_run run = jm_hole_find(HEAP->arena, granules, granules);
        char *place = run.block == NULL ? NULL : jm_granule_address(run.block, run.start);
        assert_ptr_equal(place, first_hole(pages));
        if (place != NULL && random_chance(&random, 50)) {
            (void)rig_alloc(&rig, pages * jm_os_page_size() - 1000);
        }
        found += place != NULL;
    }
    assert_true(found > 300 || jm_os_page_size() > KIB(4));
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* The amount of free memory is not guessed again for each page that comes back. */
static void short_holes_cost_no_guess_each(void **state)
{
    (void)state;
    scatter();
    jm_heap_collect(HEAP);
    size_t usage = rig_usage(&rig);
    size_t guesses = 0;
    while (hole() != NULL) {
        uint32_t drawn = HEAP->arena->random;
        (void)rig_alloc(&rig, 1000);
        guesses += HEAP->arena->random != drawn;
    }
    size_t pages = (rig_usage(&rig) - usage) / jm_os_page_size();
    require(guesses * 8 < pages || jm_os_page_size() > KIB(4), "%zu guesses, %zu pages", guesses,
            pages);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* Frees less than JM_HOLE_MIN of neighbours from `some[first]` on. False if they are in several
 * blocks. */
static bool free_short_run(unsigned char *const some[], size_t first)
{
    size_t count = (JM_HOLE_MIN << JM_GRANULE_BITS) / SIZE - 1;
    if (some[first + count] != some[first] + count * SIZE) {
        return false;
    }
    for (size_t i = first; i < first + count; i++) {
        assert_true(jm_heap_free(HEAP, some[i]));
    }
    return true;
}

/* The blocks of a small heap stay whole for the next runtime. */
static void a_small_heap_keeps_short_runs(void **state)
{
    enum { COUNT = 4096 };
    static unsigned char *some[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        some[i] = rig_alloc(&rig, SIZE);
    }
    size_t first = COUNT / 2;
    while (!free_short_run(some, first)) {
        first++;
    }
    size_t usage = rig_usage(&rig);
    rig_forget(&rig);
    jm_heap_collect(HEAP);
    assert_log(&rig, "");
    assert_int_equal(rig_usage(&rig), usage);
    assert_null(hole());
}

/* If more than a quarter of it is free, a block's rest included, they go. */
static void a_small_heap_that_is_loose_gives_short_runs(void **state)
{
    (void)state;
    unsigned char *some[40]; /* in one block */
    for (size_t i = 0; i < COUNT_OF(some); i++) {
        some[i] = rig_alloc(&rig, SIZE);
    }
    for (size_t i = 1; i < COUNT_OF(some); i++) {
        assert_true(jm_heap_free(HEAP, some[i]));
    }
    jm_heap_collect(HEAP);
    /* The pages of a map in the block, of the object, and the last one. */
    assert_true(rig_usage(&rig) <= 3 * jm_os_page_size());
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* The carved granules, compared with the maps. */
static size_t count_carved(void)
{
    jm_arena_retire_span(HEAP->arena);
    struct heap_walk walk = check();
    size_t carved = jm_survey_carved(&HEAP->supply).objects;
    assert_int_equal(carved << JM_GRANULE_BITS, walk.live_bytes + walk.free_bytes);
    return carved;
}

static void holes_do_not_count_as_carved(void **state)
{
    (void)state;
    thin_out();
    size_t carved = count_carved();
    jm_heap_collect(HEAP);
    assert_non_null(hole());
    assert_true(count_carved() < carved / 2);
}

/* No run begins or ends at a page boundary. */
static void the_ends_of_runs_stay(void **state)
{
    enum { SMALL = 48, COUNT = 60000, EACH = 3001 };
    static unsigned char *many[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = rig_alloc(&rig, SMALL);
        pattern_fill(many[i], SMALL, i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(i % EACH == 0 || jm_heap_free(HEAP, many[i]));
    }
    jm_heap_collect(HEAP);
    assert_non_null(hole());
    assert_null(fake_os_fault());
    (void)assert_heap(HEAP, HEAP_LISTS);
    for (size_t i = 0; i < COUNT; i += EACH) {
        assert_true(pattern_holds(many[i], SMALL, i));
    }
}

/* Frees `length` neighbouring pages from a multiple of 64 KiB on. All else lives. */
static void the_shortest_run_that_goes_has_64_kib(void **state)
{
    enum { PAGE = 4096, PAGES = 256 };
    static char *pages[PAGES];
    (void)state;
    for (size_t length = 15; length <= 16; length++) {
        void *large = rig_alloc(&rig, JM_SMALL_MAX); /* so that the blocks are not the smallest */
        for (size_t i = 0; i < PAGES; i++) {
            pages[i] = rig_alloc(&rig, PAGE);
        }
        size_t first = 1;
        while ((uintptr_t)pages[first] % KIB(64) != 0 ||
               pages[first + 16] != pages[first - 1] + 17 * PAGE) {
            assert_true(++first + 16 < PAGES);
        }
        for (size_t i = first; i < first + length; i++) {
            assert_true(jm_heap_free(HEAP, pages[i]));
        }
        press();
        const struct jm_block *block = jm_block_of(pages[first - 1]);
        unsigned state_of_first = jm_load_relaxed(&block->map[jm_granule_of(block, pages[first])]);
        assert_int_equal(state_of_first == JM_HOLE, length == 16);
        (void)assert_heap(HEAP, HEAP_LISTS);
        assert_true(jm_heap_usable(HEAP, large) != 0);
        jm_heap_release_all(HEAP);
    }
}

/* Free pages in front of a hole and behind it are given back, too, however few. Otherwise a long
 * run that holes cut in pieces would stay forever. */
static void what_is_beside_a_hole_goes(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    const size_t page = jm_os_page_size();

    (void)state;
    if (page >> JM_GRANULE_BITS >= JM_HOLE_MIN) {
        print_message("             left out: with such pages no run of them is short\n");
        skip();
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = rig_alloc(&rig, SIZE);
        pattern_fill(objects[i], SIZE, i);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_true(i % KEPT == 0 || (uintptr_t)objects[i] / page % 4 != 0 ||
                    jm_heap_free(HEAP, objects[i]));
    }
    rig_set_limit(&rig, rig_usage(&rig));
    void *large = NULL; /* so large that short runs go */
    for (int tries = 0; tries < 100 && large == NULL; tries++) {
        large = jm_heap_alloc(HEAP, MIB(2), &verdict);
    }
    assert_non_null(hole());
    assert_true(jm_heap_free(HEAP, large));
    rig_set_limit(&rig, SIZE_MAX);
    for (size_t i = 0; i < OBJECTS; i++) {
        if (i % KEPT != 0 && jm_heap_usable(HEAP, objects[i]) == SIZE) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
    }
    jm_heap_collect(HEAP);
    size_t maps = 0; /* and two pages behind each, in blocks outside of the region */
    const struct jm_block *block = jm_load_relaxed(&HEAP->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        maps += ((size_t)block->first_granule << JM_GRANULE_BITS) +
                (block->first_granule != 0 ? 2 * page : 0);
    }
    require(rig_usage(&rig) <= OBJECTS / KEPT * 3 * page + maps, "%zu bytes, %zu of them maps",
            rig_usage(&rig), maps);
    (void)check();
}

/* The same in a small heap, where such short runs stay elsewhere: in front and behind. */
static void in_a_small_heap_what_is_beside_a_hole_goes(void **state)
{
    enum { PAGES = 256 };
    static char *pages[PAGES];
    const size_t page = jm_os_page_size();

    (void)state;
    if (page != 4096) {
        print_message("             left out: a hole would have other lengths with such pages\n");
        skip();
    }
    (void)rig_alloc(&rig, JM_SMALL_MAX); /* so that the blocks are not the smallest */
    for (size_t i = 0; i < PAGES; i++) {
        pages[i] = rig_alloc(&rig, page);
    }
    size_t first = 1;
    while ((uintptr_t)pages[first] % page != 0 ||
           pages[first + 20] != pages[first - 1] + 21 * page) {
        assert_true(++first + 20 < PAGES);
    }
    for (size_t i = first + 1; i < first + 17; i++) {
        assert_true(jm_heap_free(HEAP, pages[i]));
    }
    jm_heap_collect(HEAP);
    size_t usage = rig_usage(&rig);
    assert_non_null(hole());
    assert_true(jm_heap_free(HEAP, pages[first + 19])); /* not beside a hole: it stays */
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), usage);
    assert_true(jm_heap_free(HEAP, pages[first])); /* in front of the hole */
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), usage - page);
    assert_true(jm_heap_free(HEAP, pages[first + 17])); /* behind the hole */
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), usage - 2 * page);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* The rest between a hole and the end of a block goes, too. */
static void in_a_small_heap_the_rest_behind_a_hole_goes(void **state)
{
    enum { PAGES = 256 };
    static char *pages[PAGES];
    const size_t page = jm_os_page_size();
    size_t last = 0;
    size_t rest;

    (void)state;
    if (page != 4096) {
        print_message("             left out: a hole would have other lengths with such pages\n");
        skip();
    }
    (void)rig_alloc(&rig, JM_SMALL_MAX); /* so that the blocks are not the smallest */
    do {
        assert_true(last + 1 < PAGES);
        pages[last++] = rig_alloc(&rig, page);
        rest = (size_t)(HEAP->arena->span.end - HEAP->arena->span.next);
    } while (last < 20 || pages[last - 18] != pages[last - 1] - 17 * page || rest < 2 * page ||
             rest > 8 * page);
    last--;
    for (size_t i = last - 17; i < last; i++) {
        assert_true(jm_heap_free(HEAP, pages[i]));
    }
    jm_heap_collect(HEAP);
    size_t usage = rig_usage(&rig);
    assert_non_null(hole());
    assert_true(jm_heap_free(HEAP, pages[last]));
    jm_heap_collect(HEAP);
    assert_true(rig_usage(&rig) <= usage - 2 * page);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* The bytes that a collect gives back of a heap of `mib` MiB in which two of every `each` pages are
 * free. */
static size_t collected_of(size_t mib, size_t each)
{
    const size_t count = MIB(mib) / 4096;

    for (size_t i = 0; i < count; i++) {
        objects[i] = rig_alloc(&rig, 4096);
    }
    for (size_t i = 1; i + 1 < count; i += each) {
        assert_true(jm_heap_free(HEAP, objects[i]) && jm_heap_free(HEAP, objects[i + 1]));
    }
    size_t usage = rig_usage(&rig);
    jm_heap_collect(HEAP);
    usage -= rig_usage(&rig);
    (void)assert_heap(HEAP, HEAP_LISTS);
    jm_heap_release_all(HEAP);
    return usage;
}

/* A heap is small if it has up to 4 MiB of small objects, free ones included, and at most a quarter
 * is free. */
static void a_heap_is_small_up_to_4_mib(void **state)
{
    (void)state;
    if (jm_os_page_size() != 4096) {
        print_message("             left out: with such pages the objects are no pages\n");
        skip();
    }
    assert_true(collected_of(3, 9) < KIB(400)); /* the rest behind all objects */
    assert_true(collected_of(5, 9) > MIB(1));
    assert_true(collected_of(3, 4) > MIB(1));
}

static void *allocated_inside;

static void allocate_inside(struct rig *self, unsigned event)
{
    (void)event;
    self->inside = NULL;
    allocated_inside = jm_heap_refill(HEAP, 1);
}

/* While the host is asked for a hole, it allocates without a new block. The span that this opens is
 * not lost. */
static void a_span_that_the_host_opened_meanwhile_is_not_lost(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    rig.inside = allocate_inside;
    while (rig.inside != NULL) {
        (void)rig_alloc(&rig, 5000);
    }
    assert_non_null(allocated_inside);
    (void)check();
}

static void a_hole_is_no_object(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    char *start = hole();
    assert_non_null(start);
    for (size_t offset = 0; offset < 2 * jm_os_page_size(); offset += 16) {
        enum jm_verdict verdict = JM_GRANTED;
        assert_false(jm_heap_free(HEAP, start + offset));
        assert_int_equal(jm_heap_usable(HEAP, start + offset), 0);
        assert_null(jm_heap_resize(HEAP, start + offset, 100, &verdict));
        assert_false(jm_heap_queue_free(jm_block_of(start), start + offset));
        assert_null(jm_heap_of_in(jm_pagemap_block(start + offset), start + offset));
    }
    (void)check();
}

/* The first page of a hole's part of the map stays. The other pages go, if the OS takes them. */
static void the_map_of_a_hole_goes_too(void **state)
{
    (void)state;
    for (int refused = 0; refused <= 1; refused++) {
        thin_out();
        fake_os_reset();
        if (refused) {
            fake_os_refuse(FAKE_PURGE, 1, true, ENOMEM);
        }
        jm_heap_collect(HEAP);
        bool has_pages = (KEPT * SIZE >> JM_GRANULE_BITS) >= 3 * jm_os_page_size();
        assert_int_equal(fake_os_calls(FAKE_PURGE) >= OBJECTS / KEPT / 2, has_pages);
        assert_int_equal(fake_os_refused() != 0, refused && has_pages);
        fake_os_reset();
        (void)check();
        for (size_t i = 0; i < OBJECTS; i += KEPT) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

/* Objects between two holes are freed later, and leave a third one. */
static void neighbouring_holes_serve_as_one(void **state)
{
    enum { FROM = 700, TO = 1212 }; /* places among each KEPT objects */
    const size_t wanted = KIB(384) >> JM_GRANULE_BITS;
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = rig_alloc(&rig, SIZE);
        pattern_fill(objects[i], SIZE, i);
    }
    /* The end of the last block must not make such a hole on its own. */
    while (jm_arena_span_granules(HEAP->arena) >= wanted / 4) {
        (void)rig_alloc(&rig, SIZE);
    }
    for (int later = 0; later <= 1; later++) {
        for (size_t i = 0; i < OBJECTS; i++) {
            size_t place = i % KEPT;
            if (place != 0 && (FROM <= place && place < TO) == later) {
                assert_true(jm_heap_free(HEAP, objects[i]));
            }
        }
        jm_heap_collect(HEAP);
        (void)check();
        assert_int_equal(jm_hole_find(HEAP->arena, wanted, wanted).block != NULL, later);
    }
    struct jm_run run = jm_hole_find(HEAP->arena, wanted, wanted);
    assert_true(run.end - run.start >= wanted);
    assert_true(jm_block_commit_pages(&HEAP->supply, run.block, run.start, run.end, &verdict));
    jm_hole_fill(HEAP->arena, run);
    (void)check();
    while (hole() != NULL) {
        run = jm_hole_find(HEAP->arena, jm_page_granules(),
                           jm_page_granules()); /* a page at a time */
        assert_int_equal(run.end - run.start, jm_page_granules());
        assert_true(jm_block_commit_pages(&HEAP->supply, run.block, run.start, run.end, &verdict));
        jm_hole_fill(HEAP->arena, run);
    }
    (void)check();
    const struct jm_block *block = jm_load_relaxed(&HEAP->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        assert_int_equal(block->charge, jm_block_size(block)); /* no hole is left */
    }
}

/* A hole ends where the carved part of a block ends, and the span begins there. */
static void the_span_is_no_part_of_a_hole(void **state)
{
    (void)state;
    void *kept = rig_alloc(&rig, JM_SMALL_MAX);
    void *object = rig_alloc(&rig, JM_SMALL_MAX);
    assert_non_null(kept);
    assert_true(jm_heap_free(HEAP, object));
    for (int i = 0; i < 2;
         i++) { /* what is left behind the hole is a free object; then, the block's rest */
        jm_heap_collect(HEAP);
        assert_true(jm_heap_free(HEAP, rig_alloc(&rig, 16)));
    }
    jm_heap_collect(HEAP);
    struct jm_run run = jm_hole_find(HEAP->arena, 1, JM_SMALL_GRANULES);
    struct jm_block *block = run.block;
    assert_non_null(block);
    assert_int_equal(run.end, block->carved);
    assert_true(block->carved < block->granules);
    jm_arena_open_span(HEAP->arena, block, block->carved, block->granules);
    block->carved = (uint32_t)block->granules;
    size_t length = run.end - run.start;
    run = jm_hole_find(HEAP->arena, 1, JM_SMALL_GRANULES);
    assert_int_equal(run.end - run.start, length);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* Objects longer than the holes between them: after a collect, as many fit as before. */
static void holes_serve_with_what_is_free_beside_them(void **state)
{
    enum { COUNT = 500 };
    const size_t size = jm_os_page_size() / 2 * 3;
    static void *many[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = rig_alloc(&rig, size);
    }
    size_t usage = rig_usage(&rig);
    rig_set_limit(&rig, usage);
    for (size_t i = 0; i < COUNT; i += 2) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    jm_heap_collect(HEAP);
    assert_true(rig_usage(&rig) < usage - usage / 8);
    for (size_t i = 0; i < COUNT; i += 2) {
        many[i] = rig_alloc(&rig, size); /* a refusal fails the test */
        (void)assert_heap(HEAP, HEAP_LISTS);
    }
    assert_true(rig_usage(&rig) <= usage);
    rig_set_limit(&rig, SIZE_MAX);
}

/* What was freed beside a hole since serves with it, too. That leaves stray links in the lists. */
static void holes_serve_with_what_is_freed_later(void **state)
{
    enum { COUNT = 1000 }; /* more than a small heap */
    const size_t page = jm_os_page_size();
    const size_t size = jm_class_bytes(jm_class_of_size(page / 2 * 3));
    static char *many[COUNT];
    size_t i = 1;

    (void)state;
    for (size_t k = 0; k < COUNT; k++) {
        many[k] = rig_alloc(&rig, size);
    }
    while (jm_arena_span_granules(HEAP->arena) << JM_GRANULE_BITS >= size) {
        (void)rig_alloc(&rig, size);
    }
    while ((uintptr_t)many[i] % page != 0 || many[i + 1] != many[i - 1] + 2 * size) {
        assert_true(++i + 1 < COUNT);
    }
    assert_true(jm_heap_free(HEAP, many[i]));
    jm_heap_collect(HEAP); /* its first page becomes a hole */
    size_t usage = rig_usage(&rig);
    assert_true(jm_heap_free(HEAP, many[i + 1])); /* listed by the next free */
    assert_true(jm_heap_free(HEAP, many[i - 1])); /* not listed yet */
    char *whole = rig_alloc(&rig, page / 2 * 5);
    assert_ptr_equal(whole, many[i - 1]);
    assert_int_equal(rig_usage(&rig), usage + page);
    (void)assert_heap(HEAP, HEAP_MAPS);
    char *next = rig_alloc(&rig, size); /* from what is left, not at a stray link */
    assert_ptr_equal(next, whole + jm_heap_usable(HEAP, whole));
    jm_heap_collect(HEAP);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* Finds the first hole. Returns what lives in front of it; NULL if nothing does in its block. */
static char *find_first(struct jm_run *run)
{
    *run = jm_hole_find(HEAP->arena, jm_page_granules(), JM_SMALL_BLOCK_MAX >> JM_GRANULE_BITS);
    assert_non_null(run->block);
    for (size_t at = run->start; at > run->block->first_granule;) {
        at = jm_arena_start_before(run->block, at);
        if (!is_free_at(run->block, at)) {
            return jm_granule_address(run->block, at);
        }
    }
    return NULL;
}

static void fill(struct jm_run run)
{
    enum jm_verdict verdict = JM_GRANTED;

    assert_true(jm_block_commit_pages(&HEAP->supply, run.block, run.start, run.end, &verdict));
    jm_hole_fill(HEAP->arena, run);
}

/* The object freed last is in no list yet, and must not get into one later. */
static void holes_take_the_object_freed_last(void **state)
{
    struct jm_run run;
    char *in_front;

    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    while ((in_front = find_first(&run)) == NULL) {
        fill(run);
    }
    assert_true(jm_heap_free(HEAP, in_front));
    assert_ptr_equal(HEAP->arena->last.object, in_front);
    fill(run);
    assert_true((char *)HEAP->arena->span.next <= in_front);
    assert_true(HEAP->arena->last.object != (void *)in_front);
    (void)assert_heap(HEAP, HEAP_MAPS);
}

/* What the host allocated while it was asked. */
static unsigned char *beside[4000];
static size_t beside_count;

static void allocate_beside(struct rig *self, unsigned event)
{
    enum jm_verdict verdict = JM_GRANTED;
    for (int i = 0; i < 4 && beside_count < COUNT_OF(beside); i++) {
        unsigned char *object = jm_heap_alloc(&self->heap, SIZE, &verdict);
        if (object == NULL) {
            return;
        }
        pattern_fill(object, SIZE, beside_count);
        beside[beside_count++] = object;
    }
    (void)event;
}

/* While the host is asked for a hole, it allocates what is free beside it. */
static void the_host_may_take_what_is_beside_a_hole(void **state)
{
    enum { COUNT = 400 };
    const size_t size = jm_os_page_size() / 2 * 3;
    static unsigned char *many[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = rig_alloc(&rig, size);
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    jm_heap_collect(HEAP);
    beside_count = 0;
    rig.inside = allocate_beside;
    for (size_t i = 0; i < COUNT; i += 2) {
        many[i] = rig_alloc(&rig, size);
        pattern_fill(many[i], size, i);
    }
    rig.inside = NULL;
    for (size_t i = 0; i < beside_count; i++) {
        assert_true(pattern_holds(beside[i], SIZE, i));
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        assert_true(pattern_holds(many[i], size, i));
    }
    assert_true(beside_count > COUNT || jm_os_page_size() > KIB(4));
    (void)assert_heap(HEAP, HEAP_MAPS);
}

static void holes_are_asked_for_before_new_blocks(void **state)
{
    (void)state;
    thin_out();
    size_t usage = rig_usage(&rig);
    jm_heap_collect(HEAP);
    size_t blocks = jm_load_relaxed(&HEAP->supply.block_count);
    size_t collected = rig_usage(&rig);
    rig_forget(&rig);
    size_t count = 0;
    while (hole() != NULL) {
        (void)rig_alloc(&rig, 1000);
        assert_true(++count * 1000 < 2 * usage);
    }
    assert_int_equal(jm_load_relaxed(&HEAP->supply.block_count), blocks);
    assert_true(rig.count > 0 && strspn(rig.text, "A") == rig.count);
    assert_true(rig_usage(&rig) > collected);
    assert_int_equal(rig_usage(&rig), fake_os_held());
    (void)check();
}

/* A sample that falls into a hole finds nothing free. */
static void a_guess_that_meets_holes_only_finds_nothing(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    struct jm_carved carved = jm_survey_carved(&HEAP->supply);
    size_t zeros = 0;
    for (int i = 0; i < 20; i++) {
        size_t guess = jm_survey_guess_free(HEAP->arena, carved, 1);
        assert_true(guess <= carved.objects);
        zeros += guess == 0;
    }
    assert_true(zeros > 0);
}

/* A part is no smaller than the shortest hole, so that the host is not asked for each page. */
static void a_hole_is_asked_for_in_parts(void **state)
{
    size_t parts = 0;
    size_t most = 0;

    (void)state;
    thin_out();
    press();
    while (hole() != NULL) {
        rig_forget(&rig);
        (void)rig_alloc(&rig, 1000);
        if (rig.count != 0) {
            assert_log(&rig, "A");
            assert_true(rig.bytes >= KIB(64));
            most = rig.bytes > most ? rig.bytes : most;
            parts++;
        }
    }
    assert_true(parts > OBJECTS / KEPT);
    assert_true(most >= KIB(128) && most < KIB(128) + KIB(64) + jm_os_page_size());
    (void)check();
}

static void where_the_limit_allows_no_more_a_hole_gives_what_is_needed(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    size_t page = jm_os_page_size();

    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    for (size_t bytes = page; bytes <= 4 * page; bytes *= 2) {
        rig_set_limit(&rig, rig_usage(&rig)); /* first use up what is at hand */
        while (jm_heap_alloc(HEAP, page, &verdict) != NULL) {
        }
        rig_forget(&rig);
        rig_set_limit(&rig, rig_usage(&rig) + bytes + page - 1);
        assert_non_null(jm_heap_alloc(HEAP, bytes, &verdict));
        assert_log(&rig, "A");
        assert_int_equal(rig.bytes, bytes);
        assert_null(jm_heap_alloc(HEAP, 2 * page, &verdict));
        assert_int_equal(verdict, JM_REFUSED_LIMIT);
        (void)check();
    }
}

/* If no run of pages is long enough for a request, short ones are given back to make room for it:
 * no more of them than it needs. */
static void where_the_limit_leaves_nothing_else_short_runs_go(void **state)
{
    enum {
        EACH = 40
    }; /* so that 10 KiB lie between two objects that stay, or more where pages are larger */
    enum jm_verdict verdict = JM_GRANTED;
    size_t each = EACH * jm_os_page_size() / 4096;

    (void)state;
    if (jm_os_page_size() >> JM_GRANULE_BITS >= JM_HOLE_MIN) {
        return; /* no run of pages is short */
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = rig_alloc(&rig, SIZE);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (i % each != 0) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
    }
    press();
    size_t usage = rig_usage(&rig);
    rig_set_limit(&rig, usage);
    rig_forget(&rig);
    assert_non_null(jm_heap_alloc(HEAP, MIB(1), &verdict));
    assert_log(&rig, "FA");
    assert_true(rig_usage(&rig) <= usage && rig_usage(&rig) > usage - KIB(64));
    (void)assert_heap(HEAP, HEAP_LISTS);
    assert_null(jm_heap_alloc(HEAP, MIB(10), &verdict)); /* more than is free */
    assert_int_equal(verdict, JM_REFUSED_LIMIT);
    assert_non_null(jm_heap_alloc(HEAP, MIB(2), &verdict));
    assert_null(jm_heap_alloc(HEAP, MIB(8), &verdict));
    assert_non_null(jm_heap_alloc(HEAP, SIZE, &verdict));
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* If few objects live, a long object finds room for itself and for the next ones, in a large heap
 * and in a small one. */
static void what_is_long_has_room_where_little_lives(void **state)
{
    (void)state;
    if (jm_os_page_size() != 4096) {
        print_message("             left out: of larger pages few have no object\n");
        skip();
    }
    for (size_t count = 4000; count <= OBJECTS; count *= 10) {
        struct random random = random_seeded(count);
        enum jm_verdict verdict = JM_GRANTED;
        size_t served = 0;
        for (size_t i = 0; i < count; i++) {
            objects[i] = rig_alloc(&rig, SIZE * 4);
        }
        rig_set_limit(&rig, rig_usage(&rig));
        for (size_t i = 0; i < count; i++) {
            assert_true(random_below(&random, 10) == 0 || jm_heap_free(HEAP, objects[i]));
        }
        jm_heap_tidy(HEAP);
        for (size_t size = KIB(20); size <= KIB(100); size += KIB(80)) { /* in a block, or alone */
            while (jm_heap_alloc(HEAP, size, &verdict) != NULL) {
                served += size;
            }
        }
        (void)assert_heap(HEAP, HEAP_LISTS);
        require(served > rig_usage(&rig) / 5 * 2, "%zu of %zu bytes", served, rig_usage(&rig));
        rig_drop(&rig);
        rig_make(&rig);
    }
}

/* A sweep that did not help is no reason to keep long runs. */
static void after_a_sweep_long_runs_go_where_the_limit_is_reached(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    void *large = rig_alloc(&rig, MIB(1));
    thin_out();
    rig_set_limit(&rig, 1);
    jm_heap_make_room(HEAP, MIB(1), false); /* empty blocks only */
    rig_set_limit(&rig, rig_usage(&rig));
    jm_sweep(HEAP->arena);
    jm_heap_note_done(HEAP, JM_DONE_SWEEP);
    large = jm_heap_resize(HEAP, large, MIB(1) + jm_os_page_size(), &verdict);
    assert_non_null(large);
    (void)check();
}

/* A hole needs room for all of an object's class. If the limit allows less, a block of the object's
 * own may do. */
static void where_the_limit_allows_no_hole_an_object_is_alone(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    size_t size =
        jm_class_bytes(jm_class_of_size(KIB(96)) - 1) + 16; /* an eighth less than its class */

    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    rig_set_limit(&rig, rig_usage(&rig)); /* first use up what is at hand */
    while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
    }
    size_t alone = jm_large_bytes(size);
    if (alone == JM_SMALL_MAX) {
        return; /* pages of 64 KiB */
    }
    assert_non_null(hole());
    rig_forget(&rig);
    rig_set_limit(&rig, rig_usage(&rig) + alone);
    assert_non_null(jm_heap_alloc(HEAP, size, &verdict));
    assert_log(&rig, "A");
    assert_int_equal(rig.bytes, alone);
    (void)check();
}

/* Short runs go for such an object, too, if they are too few for a block that objects share. */
static void short_runs_go_for_an_object_that_is_alone(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    const size_t page = jm_os_page_size();
    const size_t size = 4 * page + 16;
    void *runs[6];

    (void)state;
    if (size > JM_SMALL_MAX) {
        return; /* pages of 64 KiB */
    }
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        runs[i] = jm_heap_alloc_aligned(HEAP, page, 3 * page, &verdict);
        assert_non_null(runs[i]);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
    }
    assert_true(jm_heap_free(HEAP, runs[1]));
    assert_true(jm_heap_free(HEAP, runs[4]));
    rig_forget(&rig);
    assert_non_null(jm_heap_alloc(HEAP, size, &verdict));
    assert_log(&rig, "FA");
    assert_int_equal(rig.bytes, jm_large_bytes(size));
    (void)assert_heap(HEAP, HEAP_LISTS);
}

static void what_comes_back_is_zero(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    struct jm_run run =
        jm_hole_find(HEAP->arena, KIB(64) >> JM_GRANULE_BITS, KIB(64) >> JM_GRANULE_BITS);
    enum jm_verdict verdict = JM_GRANTED;
    assert_true(jm_block_commit_pages(&HEAP->supply, run.block, run.start, run.end, &verdict));
    jm_hole_fill(HEAP->arena, run);
    assert_true(peek_is_zero(jm_granule_address(run.block, run.start), KIB(64)));
    (void)check();
}

/* Fills the heap until a request is refused. Returns the verdict. */
static enum jm_verdict ask(void)
{
    enum jm_verdict verdict = JM_GRANTED;
    while (jm_heap_alloc(HEAP, 1000, &verdict) != NULL) {
    }
    return verdict;
}

static void each_may_refuse_a_hole(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    size_t usage = rig_usage(&rig);
    rig_forget(&rig);
    rig.refuse = true;
    assert_int_equal(ask(), JM_REFUSED_HOST);
    assert_log(&rig, "VX");
    rig.refuse = false;
    fake_os_refuse(FAKE_COMMIT, 1, true, ENOMEM);
    assert_int_equal(ask(), JM_REFUSED_OS);
    assert_log(&rig, "AX");
    fake_os_reset();
    assert_int_equal(rig_usage(&rig), usage);
    (void)check();
    rig_set_limit(&rig, usage);
    assert_int_equal(ask(), JM_REFUSED_LIMIT);
    assert_log(&rig, "X");
    rig_set_limit(&rig, usage + jm_os_page_size()); /* the smallest that serves is asked for */
    (void)rig_alloc(&rig, 1000);
    assert_log(&rig, "A");
    assert_int_equal(rig.bytes, jm_os_page_size());
    (void)check();
}

static void lower_the_limit(struct rig *self, unsigned event)
{
    (void)event;
    rig_set_limit(self, 1);
}

static void a_limit_lowered_while_the_host_is_asked_refuses(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    size_t usage = rig_usage(&rig);
    rig_forget(&rig);
    rig.inside = lower_the_limit;
    assert_int_equal(ask(), JM_REFUSED_LIMIT);
    rig.inside = NULL;
    assert_log(&rig, "AX");
    rig_set_limit(&rig, JM_NO_LIMIT);
    assert_int_equal(rig_usage(&rig), usage);
    (void)check();
}

static void lower_the_limit_meanwhile(void *context, enum fake_function function, size_t nth)
{
    (void)context, (void)nth;
    if (function == FAKE_COMMIT) {
        rig_set_limit(&rig, 1);
    }
}

/* The same if the limit is lowered while the OS works. The pages go back, if the OS takes them, and
 * the peak does not include them. */
static void a_limit_lowered_while_the_os_works_refuses(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    size_t usage = rig_usage(&rig);
    for (int fails = 0; fails <= 1; fails++) {
        rig_forget(&rig);
        jm_quota_reset_peak(&HEAP->supply.quota);
        fake_os_watch(lower_the_limit_meanwhile, NULL);
        if (fails) {
            fake_os_refuse(FAKE_DECOMMIT, 1, true, ENOMEM);
        }
        assert_int_equal(ask(), JM_REFUSED_LIMIT);
        fake_os_watch(NULL, NULL);
        assert_log(&rig, "AX");
        rig_set_limit(&rig, JM_NO_LIMIT);
        assert_int_equal(rig_usage(&rig), usage);
        assert_int_equal(jm_load_relaxed(&HEAP->supply.quota.peak), usage);
        (void)check();
    }
    fake_os_reset();
    while (rig.count == 0) {
        (void)rig_alloc(&rig, 1000);
    }
    assert_log(&rig, "A"); /* for the same pages */
    (void)check();
}

static bool is_charged; /* for pages that the OS is taking */
static void look_at_charges(void *context, enum fake_function function, size_t nth)
{
    size_t charge = 0;
    (void)context, (void)nth;
    for (struct jm_block *block = jm_load_relaxed(&HEAP->supply.small); block != NULL;
         block = jm_load_relaxed(&block->next)) {
        charge += block->charge;
    }
    is_charged |= function == FAKE_DECOMMIT && charge == rig_usage(&rig);
}

/* The block is charged less before its pages go. If another thread forks meanwhile, the child does
 * not take the block for whole. */
static void a_hole_is_one_before_its_pages_go(void **state)
{
    (void)state;
    thin_out();
    size_t calls = fake_os_calls(FAKE_DECOMMIT);
    fake_os_watch(look_at_charges, NULL);
    press();
    fake_os_watch(NULL, NULL);
    assert_true(fake_os_calls(FAKE_DECOMMIT) > calls);
    assert_false(is_charged);
    (void)check();
}

static void what_the_os_does_not_take_stays_of_use(void **state)
{
    (void)state;
    thin_out();
    size_t usage = rig_usage(&rig);
    fake_os_refuse(FAKE_RETURN, 1, true, ENOMEM);
    jm_heap_collect(HEAP);
    assert_log(&rig, "");
    assert_int_equal(rig_usage(&rig), usage);
    fake_os_reset();
    (void)check();
    for (size_t i = 0; i < OBJECTS / 2; i++) {
        (void)rig_alloc(&rig, SIZE); /* free memory serves */
    }
    assert_log(&rig, "");
    (void)check();
}

/* A block with holes is given back as a whole, and refunds what was left of its charge. */
static void blocks_with_holes_go(void **state)
{
    (void)state;
    thin_out();
    jm_heap_collect(HEAP);
    for (size_t i = 0; i < OBJECTS; i += KEPT) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    jm_heap_collect(HEAP);
    assert_int_equal(rig_usage(&rig), 0);
    assert_int_equal(fake_os_held(), jm_reserve_bytes());
    assert_null(fake_os_fault());
}

static void blocks_with_holes_are_not_kept(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(64));
    thin_out();
    jm_heap_collect(HEAP);
    assert_non_null(hole());
    jm_heap_release_all(HEAP);
    assert_int_equal(rig_usage(&rig), 0);
    assert_int_equal(fake_os_held(), jm_reserve_bytes());
    jm_reserve_set_limit(0);
    assert_int_equal(fake_os_held(), 0);
}

static void holes_come_and_go(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct random random = random_seeded(seed);
        static unsigned char *many[4096];
        static size_t sizes[COUNT_OF(many)];
        for (int step = 0; step < 60000; step++) {
            size_t i = random_below(&random, COUNT_OF(many));
            size_t group = i / 512 * 512;
            if (step % 5000 == 4999) { /* neighbours are freed together */
                for (i = group; i < group + 512; i++) {
                    assert_true(many[i] == NULL || jm_heap_free(HEAP, many[i]));
                    many[i] = NULL;
                }
                jm_heap_collect(HEAP);
                (void)assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
            } else if (many[i] == NULL) {
                sizes[i] = random_size(&random, 12);
                many[i] = rig_alloc(&rig, sizes[i]);
                pattern_fill(many[i], sizes[i], i);
            } else {
                assert_true(pattern_holds(many[i], sizes[i], i));
                assert_true(jm_heap_free(HEAP, many[i]));
                many[i] = NULL;
            }
        }
        for (size_t i = 0; i < COUNT_OF(many); i++) {
            assert_true(many[i] == NULL || pattern_holds(many[i], sizes[i], i));
            assert_true(many[i] == NULL || jm_heap_free(HEAP, many[i]));
            many[i] = NULL;
        }
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

#define HOLE_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLE_TEST(a_collect_gives_pages_back),
        HOLE_TEST(a_collect_leaves_the_pages_in_use),
        HOLE_TEST(the_first_hole_that_is_long_enough_is_found),
        HOLE_TEST(short_holes_cost_no_guess_each),
        HOLE_TEST(a_small_heap_keeps_short_runs),
        HOLE_TEST(a_small_heap_that_is_loose_gives_short_runs),
        HOLE_TEST(holes_do_not_count_as_carved),
        HOLE_TEST(the_ends_of_runs_stay),
        HOLE_TEST(the_shortest_run_that_goes_has_64_kib),
        HOLE_TEST(what_is_beside_a_hole_goes),
        HOLE_TEST(in_a_small_heap_what_is_beside_a_hole_goes),
        HOLE_TEST(in_a_small_heap_the_rest_behind_a_hole_goes),
        HOLE_TEST(a_heap_is_small_up_to_4_mib),
        HOLE_TEST(a_span_that_the_host_opened_meanwhile_is_not_lost),
        HOLE_TEST(a_hole_is_no_object),
        HOLE_TEST(the_map_of_a_hole_goes_too),
        HOLE_TEST(neighbouring_holes_serve_as_one),
        HOLE_TEST(the_span_is_no_part_of_a_hole),
        HOLE_TEST(holes_serve_with_what_is_free_beside_them),
        HOLE_TEST(holes_serve_with_what_is_freed_later),
        HOLE_TEST(holes_take_the_object_freed_last),
        HOLE_TEST(the_host_may_take_what_is_beside_a_hole),
        HOLE_TEST(holes_are_asked_for_before_new_blocks),
        HOLE_TEST(a_hole_is_asked_for_in_parts),
        HOLE_TEST(where_the_limit_allows_no_more_a_hole_gives_what_is_needed),
        HOLE_TEST(a_guess_that_meets_holes_only_finds_nothing),
        HOLE_TEST(where_the_limit_leaves_nothing_else_short_runs_go),
        HOLE_TEST(what_is_long_has_room_where_little_lives),
        HOLE_TEST(after_a_sweep_long_runs_go_where_the_limit_is_reached),
        HOLE_TEST(where_the_limit_allows_no_hole_an_object_is_alone),
        HOLE_TEST(short_runs_go_for_an_object_that_is_alone),
        HOLE_TEST(what_comes_back_is_zero),
        HOLE_TEST(each_may_refuse_a_hole),
        HOLE_TEST(a_limit_lowered_while_the_host_is_asked_refuses),
        HOLE_TEST(a_limit_lowered_while_the_os_works_refuses),
        HOLE_TEST(a_hole_is_one_before_its_pages_go),
        HOLE_TEST(what_the_os_does_not_take_stays_of_use),
        HOLE_TEST(blocks_with_holes_go),
        HOLE_TEST(blocks_with_holes_are_not_kept),
        HOLE_TEST(holes_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
