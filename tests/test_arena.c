/*
 * The arena: its objects tile its blocks, also after splitting and extending. Links that a tenant
 * wrote, or that a released block left behind, never lead it astray.
 */
#include "support/heap_check.h"
#include "support/poke.h"
#include "support/random.h"
#include "support/rig.h"

#include "sweep.h"

RIG_OF_EACH_TEST
#define HEAP (&rig.heap)

/* ---- Objects that the test holds: overlaps show in their bytes ---- */

#define HELD_MAX 5000

struct held {
    unsigned char *bytes;
    size_t size; /* the usable size */
    uint64_t id;
};

static struct held held[HELD_MAX];
static size_t held_count;
static uint64_t next_id = 1;

static struct held *hold(void *object)
{
    struct held *self = &held[held_count++];
    *self = (struct held){object, jm_heap_usable(HEAP, object), next_id++};
    assert_true(self->size != 0);
    pattern_fill(self->bytes, self->size, self->id);
    return self;
}

static void assert_held(const struct held *self)
{
    require(pattern_holds(self->bytes, self->size, self->id), "%zu bytes were handed out twice",
            self->size);
}

static void *let_go(size_t index)
{
    unsigned char *object = held[index].bytes;
    assert_held(&held[index]);
    held[index] = held[--held_count];
    return object;
}

static void free_held(size_t index)
{
    assert_true(jm_heap_free(HEAP, let_go(index)));
}

static void assert_all_held(void)
{
    for (size_t i = 0; i < held_count; i++) {
        assert_held(&held[i]);
    }
}

static void free_all(void)
{
    while (held_count > 0) {
        free_held(held_count - 1);
    }
}

/* An object's place in its block. */
struct place {
    struct jm_block *block;
    size_t granule;
    unsigned state;
};

static jm_state *find(const void *object)
{
    jm_state *found = jm_arena_find(HEAP->arena, object);
    assert_non_null(found);
    return found;
}

/* The live granules of the heap. */
static uint64_t live_now(void)
{
    return jm_survey_live(&HEAP->supply).bytes >> JM_GRANULE_BITS;
}

static struct place place_of(const void *object)
{
    jm_state *found = find(object);
    struct jm_block *block = jm_block_of(object);
    size_t granule = jm_granule_of(block, object);
    assert_ptr_equal(found, &block->map[granule]);
    return (struct place){block, granule, jm_load_relaxed(found)};
}

/* ---- Tiles ---- */

static void resize_one(struct random *random, size_t size)
{
    size_t index = random_below(random, held_count);
    struct held before = held[index];
    enum jm_verdict verdict = JM_GRANTED;
    unsigned char *object = jm_heap_resize(HEAP, before.bytes, size, &verdict);
    assert_non_null(object);
    require(pattern_holds(object, before.size < size ? before.size : size, before.id),
            "content lost from %zu to %zu bytes", before.size, size);
    held[index] = held[--held_count];
    (void)hold(object);
}

static void whatever_is_done_the_blocks_stay_tiled(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct random random = random_seeded(seed);
        for (int step = 0; step < 6000; step++) {
            size_t size = random_size(&random, step % 50 == 0 ? 18 : 12);
            size_t choice = random_below(&random, 100);
            enum jm_verdict verdict = JM_GRANTED;
            if (held_count == 0 || (choice < 45 && held_count < 1500)) {
                (void)hold(rig_alloc(&rig, size));
            } else if (choice < 55 && held_count < 1500) {
                size_t alignment = (size_t)16 << random_below(&random, 11);
                void *object = jm_heap_alloc_aligned(HEAP, alignment, size, &verdict);
                assert_int_equal((uintptr_t)object % alignment, 0);
                (void)hold(object);
            } else if (choice < 70) {
                resize_one(&random, size);
            } else {
                free_held(random_below(&random, held_count));
            }
            if (step % 300 == 0) {
                jm_heap_tidy(HEAP);
                (void)assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
            }
        }
        assert_all_held();
        free_all();
        struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
        assert_int_equal(walk.live_objects, 0);
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

static void a_whole_block_can_be_handed_out(void **state)
{
    (void)state;
    (void)hold(rig_alloc(&rig, 16));
    while (rig_usage(&rig) == jm_small_block_min()) {
        (void)hold(rig_alloc(&rig, 16));
    }
    struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS);
    assert_int_equal(walk.small_blocks, 2);
    size_t room = jm_small_block_min() - JM_PAD -
                  ((size_t)jm_arena_home(HEAP->arena)->first_granule << JM_GRANULE_BITS);
    assert_int_equal(walk.live_bytes, room + 16);
    assert_int_equal(walk.free_bytes, 0);
    assert_all_held();
    free_all();
}

/* ---- Splitting and extending ---- */

static void a_split_keeps_one_part_and_frees_the_rest(void **state)
{
    (void)state;
    for (unsigned old = 2; old <= JM_CLASSES; old += 3) {
        for (unsigned code = 1; code < old; code += 2) {
            void *object = rig_alloc(&rig, (size_t)jm_class_granules[old] << JM_GRANULE_BITS);
            struct place place = place_of(object);
            size_t spare = (size_t)jm_class_granules[old] - jm_class_granules[code];
            size_t shift = code % 3 == 0 ? 0 : code % 3 == 1 ? spare / 2 : spare;
            assert_int_equal(place.state, old + JM_PLAIN);
            uint64_t live = live_now();
            jm_arena_split(HEAP->arena, place.block, place.granule, JM_PLAIN + old,
                           place.granule + shift, code);
            assert_int_equal(live_now(), live - jm_class_granules[old] + jm_class_granules[code]);
            (void)assert_heap(HEAP, HEAP_LISTS);
            void *kept = jm_granule_address(place.block, place.granule + shift);
            assert_int_equal(jm_heap_usable(HEAP, kept),
                             (size_t)jm_class_granules[code] << JM_GRANULE_BITS);
            assert_int_equal(jm_heap_usable(HEAP, object),
                             shift == 0 ? jm_heap_usable(HEAP, kept) : 0);
            assert_true(jm_heap_free(HEAP, kept));
        }
        jm_heap_collect(HEAP);
    }
}

/* Leaves one free object of class `larger`, in its list, and no span. */
static void *list_one(unsigned larger)
{
    void *object = rig_alloc(&rig, jm_class_bytes(larger));
    jm_arena_retire_span(HEAP->arena);
    jm_arena_clear_lists(HEAP->arena);
    assert_true(jm_heap_free(HEAP, object));
    jm_arena_list_last(HEAP->arena);
    return object;
}

static void a_larger_free_object_becomes_the_span_whatever_its_class(void **state)
{
    (void)state;
    for (unsigned code = 1; code < JM_CLASSES; code += 3) {
        for (unsigned larger = code + 1; larger <= JM_CLASSES; larger++) {
            char *object = list_one(larger);
            struct jm_arena *arena = HEAP->arena;
            jm_arena_choose_span(arena, code);
            assert_ptr_equal(arena->span.next, object);
            assert_ptr_equal(arena->span.end, object + jm_class_bytes(larger));
            assert_ptr_equal(jm_arena_cut(arena, code), object);
            assert_true(jm_heap_free(HEAP, object));
            jm_arena_retire_span(arena);
            jm_sweep(arena);
            (void)assert_heap(HEAP, HEAP_LISTS);
            jm_heap_collect(HEAP);
        }
    }
}

static void a_free_object_that_is_not_much_larger_serves_whole(void **state)
{
    (void)state;
    for (unsigned code = 1; code < JM_CLASSES; code++) {
        for (unsigned larger = code + 1; larger <= JM_CLASSES && larger < code + 8; larger++) {
            void *object = list_one(larger);
            size_t near = jm_class_near(code); /* serves whole, however little room there is */
            bool is_short = larger % 2 == 0;
            bool whole = is_short ? larger == near : jm_class_serves(larger, code);
            rig_set_limit(&rig, is_short ? rig_usage(&rig) : JM_NO_LIMIT);
            assert_ptr_equal(jm_heap_refill(HEAP, code), object);
            assert_int_equal(jm_heap_usable(HEAP, object), jm_class_bytes(whole ? larger : code));
            assert_true(jm_heap_free(HEAP, object));
            rig_set_limit(&rig, JM_NO_LIMIT);
            jm_arena_retire_span(HEAP->arena);
            jm_sweep(HEAP->arena);
            (void)assert_heap(HEAP, HEAP_LISTS);
            jm_heap_collect(HEAP);
        }
    }
}

static void of_two_larger_ones_that_with_room_for_two_becomes_the_span(void **state)
{
    (void)state;
    unsigned char *small = rig_alloc(&rig, 80);
    unsigned char *between = rig_alloc(&rig, 16);
    unsigned char *large = rig_alloc(&rig, 160);
    jm_arena_retire_span(HEAP->arena);
    assert_true(jm_heap_free(HEAP, small) && jm_heap_free(HEAP, large));
    jm_arena_list_last(HEAP->arena);
    jm_arena_choose_span(HEAP->arena, 4);
    assert_ptr_equal(HEAP->arena->span.next, large);
    assert_ptr_equal(jm_arena_cut(HEAP->arena, 4), large);
    (void)assert_heap(HEAP, HEAP_LISTS);
    assert_true(jm_heap_free(HEAP, between));
}

static void the_rest_of_a_block_becomes_the_span_where_it_just_fits(void **state)
{
    (void)state;
    (void)rig_alloc(&rig, 16);
    struct jm_arena *arena = HEAP->arena;
    const struct jm_block *block = arena->span.block;
    while (jm_arena_span_granules(arena) > 8) {
        assert_non_null(jm_arena_cut(arena, 4));
    }
    while (jm_arena_span_granules(arena) > 4) {
        assert_non_null(jm_arena_cut(arena, 1));
    }
    jm_arena_retire_span(arena);
    assert_int_equal(block->carved, block->granules - 4);
    jm_arena_choose_span(arena, 5);
    assert_int_equal(jm_arena_span_granules(arena), 0);
    jm_arena_choose_span(arena, 4);
    assert_int_equal(jm_arena_span_granules(arena), 4);
    assert_int_equal(block->carved, block->granules);
    assert_non_null(jm_arena_cut(arena, 4));
    (void)assert_heap(HEAP, HEAP_LISTS);
}

static void an_object_extends_into_the_span_behind_it_only(void **state)
{
    (void)state;
    struct held *first = hold(rig_alloc(&rig, 64));
    struct held *second = hold(rig_alloc(&rig, 64));
    struct jm_arena *arena = HEAP->arena;
    jm_state *state_of = find(second->bytes);
    assert_false(jm_arena_extend(arena, find(first->bytes), first->bytes, JM_PLAIN, 4, 5));
    uint64_t live = live_now();
    char *next = arena->span.next;
    assert_true(jm_arena_extend(arena, state_of, second->bytes, JM_PLAIN, 4, 8));
    assert_ptr_equal(arena->span.next, next + 4 * JM_GRANULE);
    assert_int_equal(live_now(), live + 4);
    assert_int_equal(jm_heap_usable(HEAP, second->bytes), 128);
    assert_held(second);
    /* It does not extend beyond the span's end. */
    unsigned most = jm_class_within(jm_arena_span_granules(arena) + 8);
    assert_false(jm_arena_extend(arena, state_of, second->bytes, JM_PLAIN, 8, most + 1));
    assert_true(jm_arena_extend(arena, state_of, second->bytes, JM_PLAIN, 8, most));
    (void)assert_heap(HEAP, HEAP_LISTS);
    jm_arena_retire_span(arena);
    assert_false(jm_arena_extend(arena, state_of, second->bytes, JM_PLAIN, most, most + 1));
    (void)assert_heap(HEAP, HEAP_LISTS);
    held_count = 0;
}

static void an_object_extends_to_the_very_end_of_the_span(void **state)
{
    (void)state;
    (void)rig_alloc(&rig, 16);
    struct jm_arena *arena = HEAP->arena;
    while (jm_arena_span_granules(arena) > 8) {
        assert_non_null(jm_arena_cut(arena, 1));
    }
    void *object = jm_arena_cut(arena, 4);
    jm_state *state_of = find(object);
    assert_false(jm_arena_extend(arena, state_of, object, JM_PLAIN, 4, 9));
    assert_true(jm_arena_extend(arena, state_of, object, JM_PLAIN, 4, 8));
    assert_int_equal(jm_arena_span_granules(arena), 0);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

static void an_object_shrinks_into_the_span_behind_it_only(void **state)
{
    (void)state;
    struct held *first = hold(rig_alloc(&rig, 128));
    struct held *second = hold(rig_alloc(&rig, 128));
    struct jm_arena *arena = HEAP->arena;
    jm_state *state_of = find(second->bytes);
    assert_false(jm_arena_retract(arena, find(first->bytes), first->bytes, JM_PLAIN, 8, 4));
    uint64_t live = live_now();
    char *next = arena->span.next;
    assert_true(jm_arena_retract(arena, state_of, second->bytes, JM_PLAIN, 8, 3));
    assert_ptr_equal(arena->span.next, next - 5 * JM_GRANULE);
    assert_int_equal(live_now(), live - 5);
    assert_int_equal(jm_heap_usable(HEAP, second->bytes), 48);
    (void)assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED); /* the granules it lost were written to */
    assert_ptr_equal(rig_alloc(&rig, 16), next - 5 * JM_GRANULE);
    jm_arena_retire_span(arena);
    (void)assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
    assert_false(jm_arena_retract(arena, state_of, second->bytes, JM_PLAIN, 3, 1));
    /* jm_heap_resize shrinks an object by a retract, or else by a split. */
    enum jm_verdict verdict = JM_GRANTED;
    unsigned char *object = rig_alloc(&rig, 512);
    memset(object, 0xee, 512);
    next = arena->span.next;
    assert_ptr_equal(jm_heap_resize(HEAP, object, 16, &verdict), object);
    assert_ptr_equal(arena->span.next, next - 31 * JM_GRANULE);
    (void)assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
    held_count = 0;
}

/* ---- Links that tenants write ---- */

enum scribble {
    RANDOM_VALUE,
    INTO_LIVE,     /* a live object, or an address inside one */
    INTO_FREE,     /* a free object of any class */
    INTO_ITSELF,   /* a ring of one */
    INTO_A_RING,   /* a ring of two */
    INTO_METADATA, /* a block's header */
    SCRIBBLES
};

static uintptr_t scribbled_link(struct random *random, enum scribble what, void *const *freed,
                                size_t count, size_t index)
{
    struct jm_block *block = jm_load_relaxed(&HEAP->supply.small);
    switch (what) {
    case INTO_LIVE:
        return (uintptr_t)held[random_below(random, held_count)].bytes +
               16 * random_below(random, 3) + random_below(random, 2);
    case INTO_FREE:
        return (uintptr_t)freed[random_below(random, count)];
    case INTO_ITSELF:
        return (uintptr_t)freed[index];
    case INTO_A_RING:
        return (uintptr_t)freed[index ^ 1];
    case INTO_METADATA:
        return (uintptr_t)block + 16 * random_below(random, sizeof(*block) / 16);
    default:
        return (uintptr_t)(random_next(random) >> random_below(random, 64));
    }
}

/* Takes `count` objects. No object may be handed out twice. */
static void take_back(struct random *random, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = 16 + 16 * random_below(random, 12);
        void *object =
            jm_arena_pop(HEAP->arena, jm_class_of_size(size)); /* as the fast path does */
        (void)hold(object != NULL ? object : rig_alloc(&rig, size));
        if (i % 64 == 0) {
            (void)assert_heap(HEAP, HEAP_MAPS);
        }
    }
    assert_all_held();
}

static void scribbled_links_heal(void **state)
{
    static void *freed[HELD_MAX];

    (void)state;
    for (int what = 0; what < SCRIBBLES; what++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            struct random random = random_seeded(seed * SCRIBBLES + (unsigned)what);
            size_t count = 0;
            for (int i = 0; i < 1200; i++) {
                (void)hold(rig_alloc(&rig, 16 + 16 * random_below(&random, 12)));
            }
            while (count < 600) {
                size_t index = random_below(&random, held_count);
                freed[count++] = held[index].bytes;
                free_held(index);
            }
            for (size_t i = 0; i < count; i++) {
                if (random_chance(&random, seed == 1 ? 100 : 20)) {
                    uintptr_t link = scribbled_link(&random, (enum scribble)what, freed, count, i);
                    poke(freed[i], &link, sizeof(link));
                }
            }
            size_t usage = rig_usage(&rig);
            take_back(&random, 550);
            require(rig_usage(&rig) <= usage + JM_UNIT, "scribble %d costs blocks", what);
            jm_sweep(HEAP->arena);
            struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS);
            assert_int_equal(walk.free_pairs, 0);
            assert_int_equal(walk.live_objects, held_count);
            assert_int_equal(walk.cut_lists, 0);
            free_all();
            (void)assert_heap(HEAP, HEAP_LISTS);
            jm_heap_collect(HEAP);
            assert_int_equal(rig_usage(&rig), 0);
        }
    }
}

/* At the limit no list leads into a block that was given back, although its objects were freed in
 * between those of a block that stays. */
static void what_goes_with_its_block_is_in_no_list(void **state)
{
    enum { MANY = 4000, FIRST = 70 };
    void *objects[MANY];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        objects[i] = rig_alloc(&rig, 208);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    for (size_t i = 0; i < MANY - FIRST; i++) {
        if (i % (MANY / FIRST) == 0) {
            assert_true(jm_heap_free(HEAP, objects[i / (MANY / FIRST)])); /* their block stays */
        }
        assert_true(jm_heap_free(HEAP, objects[FIRST + i]));
    }
    struct heap_walk before = assert_heap(HEAP, HEAP_LISTS);
    jm_heap_tidy(HEAP);
    struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS);
    assert_true(walk.small_blocks < before.small_blocks);
    assert_int_equal(walk.cut_lists, 0);
    for (size_t i = 0; i < FIRST; i++) {
        (void)rig_alloc(&rig, 208);
    }
    assert_false(HEAP->arena->broken);
}

/* A free object's link leads to a live object, whose bytes lead on. The list ends at that link. */
static void a_list_ends_where_a_link_leads_nowhere(void **state)
{
    (void)state;
    void *first = rig_alloc(&rig, 64);
    void *second = rig_alloc(&rig, 64);
    struct held *live = hold(rig_alloc(&rig, 64));
    assert_true(jm_heap_free(HEAP, second));
    assert_true(jm_heap_free(HEAP, first));
    struct jm_arena *arena = HEAP->arena;
    struct jm_link *link = first;
    jm_arena_list_last(arena);
    jm_link_set(link, (struct jm_link *)(void *)live->bytes);
    assert_ptr_equal(jm_arena_pop(arena, 4), first);
    assert_null(jm_arena_pop(arena, 4));
    assert_false(arena->broken);
    assert_null(jm_arena_pop_found(arena, 4));
    assert_true(arena->broken);
    assert_null(arena->free[4].next);
    assert_held(live);
    jm_sweep(arena);
    assert_false(arena->broken);
    assert_ptr_equal(rig_alloc(&rig, 64), second);
    held_count = 0;
}

/* Pops as the fast path does or, if that fails, as the slow path does. */
static void *pop(unsigned code)
{
    void *object = jm_arena_pop(HEAP->arena, code);
    return object != NULL ? object : jm_arena_pop_found(HEAP->arena, code);
}

/* The list also ends at a link to an object that is free in another heap. */
static void a_list_ends_where_a_link_leads_to_another_heap(void **state)
{
    static struct rig other;
    (void)state;
    rig_make(&other);
    void *first = rig_alloc(&rig, 64);
    struct jm_link *theirs = rig_alloc(&other, 64);
    void *kept = rig_alloc(&other, 64);
    assert_true(jm_heap_free(&other.heap, theirs));
    assert_true(jm_heap_free(HEAP, first));
    jm_arena_list_last(HEAP->arena);
    void *link = theirs;
    poke(first, &link, sizeof link);
    assert_ptr_equal(pop(4), first);
    assert_null(pop(4));
    assert_ptr_not_equal(rig_alloc(&rig, 64), (void *)theirs);
    assert_int_equal(assert_heap(&other.heap, HEAP_LISTS).live_objects, 1);
    assert_non_null(kept);
    rig_drop(&other);
}

/* ---- What was freed last ---- */

static void what_was_freed_last_is_listed_by_the_next_free(void **state)
{
    (void)state;
    void *objects[] = {rig_alloc(&rig, 64), rig_alloc(&rig, 64), rig_alloc(&rig, 96)};
    struct jm_arena *arena = HEAP->arena;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_true(jm_heap_free(HEAP, objects[i]));
        assert_false(jm_heap_free(HEAP, objects[i]));
        assert_ptr_equal(arena->last.object, objects[i]);
        assert_ptr_equal(arena->free[4].next, i == 0 ? NULL : objects[i - 1]);
        (void)assert_heap(HEAP, HEAP_LISTS);
    }
    assert_null(arena->free[6].next);
    bool has_region = jm_region_holds(objects[2]);
    assert_null(jm_arena_pop_last(arena, 4));
    assert_ptr_equal(jm_arena_pop_last(arena, 6), has_region ? objects[2] : NULL);
    assert_null(jm_arena_pop_last(arena, 6));
    (void)assert_heap(HEAP, HEAP_LISTS);
    jm_arena_list_last(arena); /* no effect in the region: it was popped */
    (void)assert_heap(HEAP, HEAP_LISTS);
    assert_ptr_equal(arena->free[6].next, has_region ? NULL : objects[2]);
    assert_ptr_equal(jm_arena_pop(arena, 4), objects[1]);
    assert_ptr_equal(jm_arena_pop(arena, 4), objects[0]);
}

/* The next free writes a link into the object freed last. If that were handed out before, its
 * holder would find those bytes changed. */
static void what_was_freed_last_is_not_handed_out_however_a_link_leads_there(void **state)
{
    (void)state;
    void *first = rig_alloc(&rig, 64);
    void *last = rig_alloc(&rig, 64);
    struct jm_arena *arena = HEAP->arena;
    assert_true(jm_heap_free(HEAP, first));
    assert_true(jm_heap_free(HEAP, last));
    poke(first, &last, sizeof last);
    assert_ptr_equal(jm_arena_pop(arena, 4), first);
    assert_null(jm_arena_pop(arena, 4));
    void *found = jm_heap_refill(HEAP, 4);
    assert_ptr_equal(found, last);
    memset(found, 0x5a, 64);
    assert_true(jm_heap_free(HEAP, first));
    assert_true(jm_heap_free(HEAP, rig_alloc(&rig, 96)));
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(((unsigned char *)found)[i], 0x5a);
    }
    jm_sweep(arena);
}

/* The block of the object freed last may be given back, and the arena with it. */
static void what_was_freed_last_may_go_with_its_block(void **state)
{
    (void)state;
    for (int home_goes = 0; home_goes <= 1; home_goes++) {
        size_t count = 0;
        while (rig_usage(&rig) <= jm_small_block_min()) {
            (void)hold(rig_alloc(&rig, 1024));
        }
        const struct jm_block *home = jm_arena_home(HEAP->arena);
        for (size_t i = held_count; i-- > 0;) { /* the last one freed is in a block that goes */
            bool goes = (place_of(held[i].bytes).block == home) == (home_goes != 0);
            if (goes) {
                free_held(i);
                count++;
            }
        }
        assert_true(count > 0 && held_count > 0);
        const void *last = HEAP->arena->last.object;
        jm_heap_collect(HEAP);
        assert_true(HEAP->arena->last.object != last);
        struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS);
        assert_int_equal(walk.small_blocks, 1);
        free_all();
        (void)assert_heap(HEAP, HEAP_LISTS);
        jm_heap_collect(HEAP);
    }
}

/* ---- Blocks that go ---- */

static void links_to_a_closed_block_lead_nowhere(void **state)
{
    static void *objects[500];

    (void)state;
    /* Frees all objects of the home block and half of the other block's, in turns. */
    size_t count = jm_small_block_min() / 256 + 186;
    assert_true(count <= COUNT_OF(objects));
    for (size_t i = 0; i < count; i++) {
        objects[i] = rig_alloc(&rig, 256);
    }
    struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS);
    assert_int_equal(walk.small_blocks, 2);
    struct jm_block *home = jm_arena_home(HEAP->arena);
    size_t apart = 0;
    for (size_t low = 0, high = count - 1; low < high; low++, high--) {
        void *two[] = {objects[low], objects[high]};
        for (size_t i = 0; i < 2; i++) {
            if (place_of(two[i]).block == home || high % 2 == 0) {
                assert_true(jm_heap_free(HEAP, two[i]));
                apart += place_of(two[i]).block != home;
            } else {
                (void)hold(two[i]);
            }
        }
    }
    assert_true(apart > 20 && held_count > 20);
    jm_heap_collect(HEAP); /* the home block goes: no object lives in it */
    assert_true(jm_arena_home(HEAP->arena) != home);
    walk = assert_heap(HEAP, HEAP_LISTS);
    assert_int_equal(walk.small_blocks, 1);
    assert_int_equal(walk.live_objects, held_count);
    for (size_t i = 0; i < apart; i++) {
        (void)hold(rig_alloc(&rig, 256)); /* finds the free objects of the other block */
    }
    walk = assert_heap(HEAP, HEAP_LISTS);
    assert_int_equal(walk.small_blocks, 1);
    assert_all_held();
    free_all();
}

/* The same while the heap takes released blocks back from the reserve. */
static void a_closed_block_may_come_back(void **state)
{
    size_t came_back = 0;

    (void)state;
    jm_reserve_set_limit(MIB(8));
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random random = random_seeded(seed);
        for (int round = 0; round < 8; round++) {
            size_t kept = jm_reserve_bytes();
            while (held_count < 900) {
                (void)hold(rig_alloc(&rig, 16 + 64 * random_below(&random, 40)));
            }
            came_back += round == 0 ? 0 : kept - jm_reserve_bytes();
            for (size_t i = held_count; i-- > 0;) {
                bool low = (uintptr_t)held[i].bytes / KIB(128) % 2 == (uint64_t)round % 2;
                if (low || random_chance(&random, 30)) {
                    free_held(i); /* whole blocks, and parts of others */
                }
            }
            jm_heap_tidy(HEAP);
            (void)assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
            assert_all_held();
        }
        free_all();
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
    assert_true(came_back > 0);
    jm_reserve_set_limit(0);
}

static void no_arena_refuses_every_question(void **state)
{
    int local = 0;
    jm_state *found;

    (void)state;
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        assert_null(jm_arena_pop(&jm_no_arena, code));
        assert_false(jm_arena_has_room(&jm_no_arena, code));
    }
    assert_false(jm_arena_peek(&jm_no_arena, NULL, &found));
    assert_false(jm_arena_peek(&jm_no_arena, &local, &found));
    assert_false(jm_arena_peek(&jm_no_arena, &jm_no_block, &found));
}

#define ARENA_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(whatever_is_done_the_blocks_stay_tiled),
        ARENA_TEST(a_whole_block_can_be_handed_out),
        ARENA_TEST(a_split_keeps_one_part_and_frees_the_rest),
        ARENA_TEST(a_larger_free_object_becomes_the_span_whatever_its_class),
        ARENA_TEST(a_free_object_that_is_not_much_larger_serves_whole),
        ARENA_TEST(of_two_larger_ones_that_with_room_for_two_becomes_the_span),
        ARENA_TEST(the_rest_of_a_block_becomes_the_span_where_it_just_fits),
        ARENA_TEST(an_object_extends_into_the_span_behind_it_only),
        ARENA_TEST(an_object_extends_to_the_very_end_of_the_span),
        ARENA_TEST(an_object_shrinks_into_the_span_behind_it_only),
        ARENA_TEST(scribbled_links_heal),
        ARENA_TEST(what_goes_with_its_block_is_in_no_list),
        ARENA_TEST(a_list_ends_where_a_link_leads_nowhere),
        ARENA_TEST(a_list_ends_where_a_link_leads_to_another_heap),
        ARENA_TEST(what_was_freed_last_is_listed_by_the_next_free),
        ARENA_TEST(what_was_freed_last_is_not_handed_out_however_a_link_leads_there),
        ARENA_TEST(what_was_freed_last_may_go_with_its_block),
        ARENA_TEST(links_to_a_closed_block_lead_nowhere),
        ARENA_TEST(a_closed_block_may_come_back),
        cmocka_unit_test(no_arena_refuses_every_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
