/*
 * Sweeping: free neighbours are joined, free space at a block's end becomes its rest, queued
 * objects stay, and what is carved agrees with the maps.
 */
#include "support/heap_check.h"
#include "support/random.h"
#include "support/rig.h"

#include "demand.h"

RIG_OF_EACH_TEST
#define HEAP (&rig.heap)

/* Sweeps, and checks what a sweep promises. */
static struct heap_walk swept(void)
{
    struct heap_walk before = assert_heap(HEAP, HEAP_MAPS);
    jm_sweep(HEAP->arena);
    struct heap_walk walk = assert_heap(HEAP, HEAP_LISTS | HEAP_UNTOUCHED);
    assert_int_equal(walk.free_pairs, 0);
    assert_int_equal(walk.cut_lists, 0);
    assert_int_equal(walk.live_objects, before.live_objects);
    assert_int_equal(walk.live_bytes, before.live_bytes);
    assert_int_equal(walk.queued_objects, before.queued_objects);
    assert_int_equal(jm_survey_carved(&HEAP->supply).objects << JM_GRANULE_BITS,
                     walk.live_bytes + walk.free_bytes);
    assert_ptr_equal(HEAP->arena->span.block, &jm_no_block);
    assert_false(HEAP->arena->broken);
    assert_int_equal(HEAP->arena->due_at, 0);
    return walk;
}

static void neighbours_become_one(void **state)
{
    unsigned char *objects[64];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 48);
    }
    for (size_t i = 8; i < 40; i++) {
        assert_true(jm_heap_free(HEAP, objects[i ^ 5])); /* in no order */
    }
    struct heap_walk walk = swept();
    assert_int_equal(walk.free_bytes, 32 * 48);
    unsigned code = jm_class_within(32 * 3);
    assert_ptr_equal(HEAP->arena->free[code].next, objects[8]);
    size_t usage = rig_usage(&rig);
    assert_ptr_equal(rig_alloc(&rig, (size_t)jm_class_granules[code] * 16), objects[8]);
    assert_int_equal(rig_usage(&rig), usage);
}

static size_t sweeps_made;
void __wrap_jm_sweep(struct jm_arena *arena);
void __real_jm_sweep(struct jm_arena *arena);

void __wrap_jm_sweep(struct jm_arena *arena)
{
    sweeps_made++;
    __real_jm_sweep(arena);
}

/* A heap of small objects, some of them freed at random, has no room for larger ones. It is not
 * swept for each burst of these, but as soon as there may be room. */
static void bursts_of_larger_objects_cost_few_sweeps(void **state)
{
    enum { BURSTS = 40, BURST = 60, LITTLE = 200000 };
    static void *little[LITTLE];
    void *burst[BURST];
    struct random random = random_seeded(1);

    (void)state;
    for (size_t i = 0; i < LITTLE; i++) {
        little[i] = rig_alloc(&rig, 64);
    }
    for (size_t i = 0; i < LITTLE; i++) {
        if (random_chance(&random, 20)) {
            assert_true(jm_heap_free(HEAP, little[i]));
            little[i] = NULL;
        }
    }
    sweeps_made = 0;
    for (size_t round = 0; round < BURSTS; round++) {
        for (size_t i = 0; i < BURST; i++) {
            burst[i] = rig_alloc(&rig, 65536 + random_below(&random, 131072));
        }
        for (size_t i = 0; i < BURST; i++) {
            assert_true(jm_heap_free(HEAP, burst[i]));
        }
        jm_heap_tidy(HEAP);
    }
    require(sweeps_made <= BURSTS / 3, "%zu sweeps", sweeps_made);
    for (size_t i = 0; i < LITTLE / 2; i++) {
        assert_true(i % 20000 == 0 || little[i] == NULL || jm_heap_free(HEAP, little[i]));
    }
    size_t usage = rig_usage(&rig);
    for (size_t i = 0; i < BURST; i++) {
        (void)rig_alloc(&rig, 65536);
    }
    require(rig_usage(&rig) <= usage + MIB(2), "%zu bytes more", rig_usage(&rig) - usage);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* A block that is released takes its objects off the lists. The lists are not mended by a sweep
 * each time. */
static void blocks_that_come_and_go_cost_few_sweeps(void **state)
{
    void *objects[30];
    size_t sweeps = 0;

    (void)state;
    for (size_t i = 0; i < 4000; i++) {
        (void)rig_alloc(&rig, 16384);
    }
    for (size_t cycle = 0; cycle < 20; cycle++) {
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            uint32_t cut = HEAP->arena->since_sweep; /* a sweep resets it */
            objects[i] = rig_alloc(&rig, 200000);
            sweeps += HEAP->arena->since_sweep < cut;
        }
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
        rig_forget(&rig);
        jm_heap_tidy(HEAP);
        assert_true(rig.count > 0);
        (void)assert_heap(HEAP, HEAP_LISTS);
    }
    assert_true(sweeps <= 3);
}

/* A tenant has made links lead in a circle, or nowhere. That costs a walk over a block's granules,
 * once. */
static void bad_links_do_not_keep_their_block(void **state)
{
    (void)state;
    for (size_t offset = 0; offset <= 16; offset += 16) {
        char *objects[2000];
        void *stays = rig_alloc(&rig, 64);
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            objects[i] = rig_alloc(&rig, 500);
        }
        for (size_t i = 0; i < COUNT_OF(objects);
             i++) { /* the list begins with those of the last block */
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
        jm_arena_list_last(HEAP->arena);
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            jm_link_set((void *)objects[i], (void *)(objects[i] + offset));
        }
        jm_heap_collect(HEAP);
        assert_int_equal(jm_load_relaxed(&HEAP->supply.block_count), 1);
        assert_true(jm_heap_free(HEAP, stays));
        jm_heap_collect(HEAP);
    }
}

static void *many[40000];

/* At the limit, a large heap is not swept for each refused request. A small one is. */
static size_t sweeps_while_room_is_made(size_t objects, size_t rounds)
{
    static void *all[20000];
    enum jm_verdict verdict = JM_GRANTED;
    size_t sweeps = 0;
    size_t next = 0;

    for (size_t i = 0; i < objects; i++) {
        all[i] = rig_alloc(&rig, 256);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
    }
    for (size_t round = 0; round < rounds; round++) {
        uint32_t cut = HEAP->arena->since_sweep;
        assert_null(jm_heap_alloc(HEAP, 500, &verdict));
        assert_int_equal(verdict, JM_REFUSED_LIMIT);
        sweeps += HEAP->arena->since_sweep <= cut;
        assert_true(jm_heap_free(HEAP, all[next]));
        next += 3; /* never neighbours */
    }
    /* What becomes free meanwhile is found soon. */
    for (; next < objects / 2; next += 3) {
        assert_true(jm_heap_free(HEAP, all[next]));
        assert_true(jm_heap_free(HEAP, all[next + 1]));
    }
    void *object = NULL;
    for (int tries = 0; object == NULL && tries < 8; tries++) {
        object = jm_heap_alloc(HEAP, 500, &verdict);
    }
    assert_non_null(object);
    return sweeps;
}

static void room_made_object_by_object_costs_few_sweeps(void **state)
{
    (void)state;
    assert_true(sweeps_while_room_is_made(20000, 200) < 10);
    rig_drop(&rig);
    rig_make(&rig);
    assert_true(sweeps_while_room_is_made(4000, 200) < 50);
}

static void free_one(size_t index)
{
    assert_true(jm_heap_free(HEAP, many[index]));
}

static void free_one_and_use_it(size_t index)
{
    enum jm_verdict verdict = JM_GRANTED;
    free_one(index);
    assert_ptr_equal(jm_heap_alloc(HEAP, 256, &verdict), many[index]);
}

/* In place: nothing else has room for it. */
static void shrink_one(size_t index)
{
    enum jm_verdict verdict = JM_GRANTED;
    assert_ptr_equal(jm_heap_resize(HEAP, many[index], 144, &verdict), many[index]);
}

/* Counts the guesses of how much is free: each draws a random number. */
static size_t guesses_while_room_is_made(size_t request, size_t rounds, size_t at_once,
                                         void (*make_room)(size_t))
{
    enum jm_verdict verdict = JM_GRANTED;
    size_t guesses = 0;
    size_t next = 0;

    for (size_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = rig_alloc(&rig, 256);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
    }
    /* Something has changed since that sweep. */
    assert_true(jm_heap_free(HEAP, many[COUNT_OF(many) - 1]));
    for (size_t round = 0; round < rounds; round++) {
        uint32_t drawn = HEAP->arena->random;
        assert_null(jm_heap_alloc(HEAP, request, &verdict));
        assert_int_equal(verdict, JM_REFUSED_LIMIT);
        guesses += HEAP->arena->random != drawn;
        for (size_t i = 0; i < at_once; i++) {
            make_room(next);
            next += 3; /* never neighbours */
        }
    }
    rig_drop(&rig);
    rig_make(&rig);
    return guesses;
}

/* If one object is freed between two refused requests, the amount is known, whatever is allocated
 * meanwhile. If more are freed, it is guessed. */
static void room_made_object_by_object_costs_few_guesses(void **state)
{
    static const struct {
        size_t request, rounds, at_once;
        void (*make_room)(size_t);
        size_t least, most; /* guesses */
    } rows[] = {
        {500, 1000, 1, free_one, 2, 20},
        {KIB(20), 1000, 1, free_one, 2, 20}, /* large enough for a block of its own */
        {KIB(488), 1000, 1, free_one, 2, 20},
        {500, 1000, 1, free_one_and_use_it, 2, 20},
        {500, 10000, 1, shrink_one, 8, 30},
        {500, 200, 2, free_one, 190, 200},
        {500, 200, 0, free_one, 190, 200}, /* retries: the last guess may have been unlucky */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t guesses = guesses_while_room_is_made(rows[i].request, rows[i].rounds,
                                                    rows[i].at_once, rows[i].make_room);
        require(guesses >= rows[i].least && guesses <= rows[i].most, "row %zu: %zu guesses", i,
                guesses);
    }
}

/* A heap that has grown since the last refusal has nothing more free: there is nothing to guess. */
static void a_rising_limit_costs_few_guesses(void **state)
{
    enum { ROUNDS = 200 };
    enum jm_verdict verdict = JM_GRANTED;
    size_t guesses = 0;

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        rig_set_limit(&rig, rig_usage(&rig) + 4 * jm_small_block_min());
        do { /* a guess sets `missing`, which is more than is ever freed here */
            if (HEAP->arena != NULL) {
                HEAP->arena->missing = UINT32_MAX;
            }
        } while (jm_heap_alloc(HEAP, 4000, &verdict) != NULL);
        assert_int_equal(verdict, JM_REFUSED_LIMIT);
        guesses += HEAP->arena->missing != UINT32_MAX;
    }
    require(guesses < ROUNDS / 4, "%zu guesses", guesses); /* or sweeps */
}

/* Each failed sweep halves the rate of the next ones. */
static void sweeps_in_vain_become_fewer(void **state)
{
    enum { ROUNDS = 3000 };
    enum jm_verdict verdict = JM_GRANTED;
    size_t sweeps = 0;

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        many[i] = rig_alloc(&rig, 256);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    for (size_t round = 0; round < ROUNDS; round++) {
        uint32_t cut = HEAP->arena->since_sweep;
        assert_null(jm_heap_alloc(HEAP, MIB(2), &verdict));
        assert_int_equal(verdict, JM_REFUSED_LIMIT);
        sweeps += HEAP->arena->since_sweep <= cut;
        assert_true(jm_heap_free(HEAP, many[round]));
        many[round] = jm_heap_alloc(HEAP, 256, &verdict);
        assert_non_null(many[round]);
    }
    require(sweeps >= 2 && sweeps <= 10, "%zu sweeps", sweeps);
    /* Room that appears later is found. */
    for (size_t i = 0; i < 20000; i++) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    assert_non_null(jm_heap_alloc(HEAP, MIB(2), &verdict));
    assert_int_equal(HEAP->arena == NULL ? 0 : HEAP->arena->failed_at_limit[3], 0);
}

/* Nor do sweeps become many if much is free, in pieces that are too small. */
static void what_is_free_in_pieces_costs_few_sweeps(void **state)
{
    enum { COUNT = 40000, ROUNDS = 2000 };
    enum jm_verdict verdict = JM_GRANTED;
    struct random random = random_seeded(4);
    size_t sweeps = 0;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = rig_alloc(&rig, 64);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
    }
    for (size_t i = 2; i < COUNT; i++) { /* frees four in ten at random */
        if (random_below(&random, 10) < 4) {
            assert_true(jm_heap_free(HEAP, many[i]));
        }
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        uint32_t cut = HEAP->arena->since_sweep;
        assert_null(jm_heap_alloc(HEAP, KIB(4), &verdict));
        sweeps += HEAP->arena->since_sweep <= cut;
        assert_true(jm_heap_free(HEAP, many[1]));
        many[1] = jm_heap_alloc(HEAP, 64, &verdict);
        assert_non_null(many[1]);
    }
    require(sweeps >= 1 && sweeps <= 12, "%zu sweeps", sweeps);
}

/* Pieces that are too small do not keep larger room beside them from being found soon. */
static void what_is_freed_beside_pieces_is_found(void **state)
{
    enum { COUNT = 40000, TRIES = 8 };
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t tenths = 2; tenths <= 8; tenths++) {
        struct random random = random_seeded(tenths);
        void *object = NULL;
        for (size_t i = 0; i < COUNT; i++) {
            many[i] = rig_alloc(&rig, 64);
        }
        rig_set_limit(&rig, rig_usage(&rig));
        while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
        }
        for (size_t i = 1; i < COUNT; i++) {
            if (i % 100 != 0 && random_below(&random, 10) < tenths) {
                assert_true(jm_heap_free(HEAP, many[i]));
                many[i] = NULL;
            }
        }
        assert_null(jm_heap_alloc(HEAP, KIB(4), &verdict));
        for (size_t i = 1; i < COUNT; i++) { /* no block becomes empty */
            assert_true(i % 100 == 0 || many[i] == NULL || jm_heap_free(HEAP, many[i]));
        }
        for (size_t tries = 0; object == NULL && tries < TRIES; tries++) {
            object = jm_heap_alloc(HEAP, KIB(4), &verdict);
        }
        assert_non_null(object);
        rig_set_limit(&rig, JM_NO_LIMIT);
        jm_heap_release_all(HEAP);
    }
}

/* However many sweeps failed, even a little that becomes free is found in the end. */
static void a_heap_is_looked_at_in_the_end(void **state)
{
    enum { COUNT = 30000, RUN = 200, ROUNDS = 20000 };
    enum jm_verdict verdict = JM_GRANTED;
    void *object = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = rig_alloc(&rig, 16);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        assert_null(jm_heap_alloc(HEAP, 1000, &verdict));
        assert_true(jm_heap_free(HEAP, many[0]));
        many[0] = jm_heap_alloc(HEAP, 16, &verdict);
    }
    for (size_t i = COUNT / 2; i < COUNT / 2 + RUN; i++) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    for (size_t round = 0; object == NULL && round < ROUNDS; round++) {
        object = jm_heap_alloc(HEAP, 1000, &verdict);
    }
    assert_non_null(object);
}

/* Once there is room, and after a collect, failed sweeps for requests of the size are forgotten. */
static void room_ends_the_doubt(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (int collects = 0; collects <= 1; collects++) {
        for (size_t i = 0; i < 20000; i++) {
            many[i] = rig_alloc(&rig, 256);
        }
        rig_set_limit(&rig, rig_usage(&rig));
        for (size_t round = 0; round < 3000; round++) {
            assert_null(jm_heap_alloc(HEAP, MIB(2), &verdict));
            assert_true(jm_heap_free(HEAP, many[round]));
            many[round] = jm_heap_alloc(HEAP, 256, &verdict);
        }
        assert_true(HEAP->arena->failed_at_limit[3] > 0);
        if (collects) {
            jm_heap_collect(HEAP);
        } else {
            for (size_t i = 1; i < 20000; i++) { /* one stays, and with it the arena */
                assert_true(jm_heap_free(HEAP, many[i]));
            }
            void *large = jm_heap_alloc(HEAP, MIB(2), &verdict);
            assert_non_null(large);
        }
        assert_non_null(HEAP->arena);
        assert_int_equal(HEAP->arena->failed_at_limit[3], 0);
        rig_set_limit(&rig, JM_NO_LIMIT);
        jm_heap_release_all(HEAP);
    }
}

/* Memory that the heap holds serves requests, however low the limit is, and whatever larger
 * requests were refused before. */
static void a_limit_below_a_request_leaves_it_what_is_free(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        many[i] = rig_alloc(&rig, 64);
    }
    rig_set_limit(&rig, 0);
    while (jm_heap_alloc(HEAP, 64, &verdict) != NULL) {
    }
    for (size_t i = 0; i < 20; i++) {
        assert_null(jm_heap_alloc(HEAP, MIB(2), &verdict));
    }
    for (size_t i = 0; i < 2000; i++) {
        if (i % 100 != 0) {
            assert_true(jm_heap_free(HEAP, many[i]));
        }
    }
    for (size_t i = 0; i < 100; i++) {
        assert_non_null(jm_heap_alloc(HEAP, 1024, &verdict));
    }
}

static void in_a_small_heap_every_request_is_looked_for(void **state)
{
    (void)state;
    assert_true(sweeps_while_room_is_made(40, 5) >= 4);
}

static void *joined;
static void join_inside(struct rig *self, unsigned event)
{
    enum jm_verdict verdict = JM_GRANTED;
    if (event == JM_EVENT_ALLOCATE) {
        self->inside = NULL;
        joined = jm_heap_alloc(HEAP, 5000, &verdict);
        /* Nor is there a search for this one. */
        assert_null(jm_heap_alloc(HEAP, KIB(200), &verdict));
    }
}

/* Inside the callback the heap gets no new block, whatever the limit is: it joins what is free. */
static void inside_the_callback_what_is_free_is_joined(void **state)
{
    enum { COUNT = 4000, FIRST = 500, END = 600 };
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = rig_alloc(&rig, 112);
    }
    rig_set_limit(&rig, rig_usage(&rig));
    while (jm_heap_alloc(HEAP, 16, &verdict) != NULL) {
    }
    for (size_t i = FIRST; i < END; i++) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    rig_set_limit(&rig, JM_NO_LIMIT);
    rig.inside = join_inside;
    (void)rig_alloc(&rig, MIB(1));
    assert_non_null(joined);
}

static void what_is_free_at_the_end_is_the_rest(void **state)
{
    unsigned char *objects[64];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 100);
        memset(objects[i], 0xee, 100);
    }
    for (size_t i = 10; i < COUNT_OF(objects); i++) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    struct heap_walk walk = swept();
    struct jm_block *block = jm_arena_home(HEAP->arena);
    assert_int_equal(walk.free_objects, 0);
    assert_ptr_equal(jm_granule_address(block, block->carved), objects[10]);
    assert_true((unsigned char *)jm_granule_address(block, block->touched) >= objects[63] + 100);
    /* If all is free, the whole block is its rest. */
    for (size_t i = 0; i < 10; i++) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    (void)swept();
    assert_int_equal(block->carved, block->first_granule);
    assert_ptr_equal(rig_alloc(&rig, 32), objects[0]);
    (void)swept(); /* with memory behind the span's end that was touched once */
}

static void a_run_beyond_any_class_becomes_several(void **state)
{
    unsigned char *objects[4];

    (void)state;
    (void)rig_alloc(&rig, JM_SMALL_MAX);
    rig_drop(&rig);
    rig_make(&rig);
    enum jm_verdict verdict;
    struct jm_block *block = jm_block_acquire_small(&HEAP->supply, MIB(2), &verdict);
    assert_non_null(block);
    jm_heap_set_arena(HEAP, jm_arena_create(&HEAP->supply, block));
    jm_arena_open_block(HEAP->arena, block);
    jm_heap_doubt(HEAP, block);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, JM_SMALL_MAX);
    }
    unsigned char *last = rig_alloc(&rig, 16);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    struct heap_walk walk = swept();
    assert_int_equal(walk.free_bytes, 4 * JM_SMALL_MAX);
    assert_int_equal(walk.free_objects, 4);
    assert_true(jm_heap_free(HEAP, last));
    walk = swept();
    assert_int_equal(walk.free_objects, 0);
}

static void queued_objects_stay_between_free_ones(void **state)
{
    unsigned char *objects[9];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 64);
    }
    for (size_t i = 1; i < 8; i++) {
        if (i == 4) {
            assert_true(jm_heap_queue_free(jm_block_of(objects[i]), objects[i]));
        } else {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
    }
    struct heap_walk walk = swept();
    assert_int_equal(walk.queued_objects, 1);
    assert_int_equal(walk.free_bytes, 6 * 64);
    assert_int_equal(walk.free_objects, 2);
    assert_true(jm_heap_drain(HEAP));
    walk = swept();
    assert_int_equal(walk.queued_objects, 0);
    assert_int_equal(walk.free_objects, 1);
    assert_int_equal(walk.free_bytes, 7 * 64);
}

/* Many sizes, freed at random. A sweep at any time changes no object, and finds all free memory. */
static void a_sweep_at_any_time_keeps_what_lives(void **state)
{
    static unsigned char *objects[1000];
    static size_t sizes[COUNT_OF(objects)];

    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct random random = random_seeded(seed);
        for (int step = 0; step < 8000; step++) {
            size_t i = random_below(&random, COUNT_OF(objects));
            if (objects[i] == NULL) {
                sizes[i] = random_size(&random, 11);
                objects[i] = rig_alloc(&rig, sizes[i]);
                pattern_fill(objects[i], sizes[i], i);
            } else {
                assert_true(pattern_holds(objects[i], sizes[i], i));
                assert_true(jm_heap_free(HEAP, objects[i]));
                objects[i] = NULL;
            }
            if (random_below(&random, 400) == 0) {
                (void)swept();
            }
        }
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            assert_true(objects[i] == NULL || pattern_holds(objects[i], sizes[i], i));
            assert_true(objects[i] == NULL || jm_heap_free(HEAP, objects[i]));
            objects[i] = NULL;
        }
        struct heap_walk walk = swept();
        assert_int_equal(walk.live_objects, 0);
        assert_int_equal(walk.free_bytes, 0);
    }
}

/* Small objects are freed and larger ones requested: the memory is reused, and the heap hardly
 * grows. */
static void what_was_freed_small_serves_large(void **state)
{
    static void *objects[20000];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 64);
    }
    size_t usage = rig_usage(&rig);
    void *keeper = rig_alloc(&rig, 64);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_true(i % 100 == 0 || jm_heap_free(HEAP, objects[i]));
    }
    for (size_t i = 0; i < COUNT_OF(objects) / 40; i++) {
        (void)rig_alloc(&rig, 1024);
    }
    assert_true(rig_usage(&rig) <= usage + usage / 4);
    assert_true(jm_heap_free(HEAP, keeper));
    (void)swept();
}

/* At the limit, free neighbours are joined before the request is refused. */
static void a_sweep_comes_before_a_refusal(void **state)
{
    void *objects[400];
    size_t count = 0;
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    rig_set_limit(&rig, jm_small_block_min());
    while (count < COUNT_OF(objects) &&
           (objects[count] = jm_heap_alloc(HEAP, 512, &verdict)) != NULL) {
        count++;
    }
    assert_true(count > 20 && count < COUNT_OF(objects));
    assert_int_equal(verdict, JM_REFUSED_LIMIT);
    assert_log(&rig, "AX");
    for (size_t i = 5; i < 13; i++) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    assert_ptr_equal(jm_heap_alloc(HEAP, 4096, &verdict), objects[5]);
    assert_log(&rig, "");
    assert_null(jm_heap_alloc(HEAP, 4096, &verdict));
    assert_int_equal(verdict, JM_REFUSED_LIMIT);
    assert_log(&rig, "X");
    (void)swept();
}

/* Allocates objects of 16 bytes to 1 KiB until the heap holds `usage` bytes. Returns their
 * number. */
static size_t fill(size_t usage)
{
    struct random random = random_seeded(usage);
    size_t count = 0;
    while (rig_usage(&rig) < usage) {
        require(count < COUNT_OF(many), "more than %zu objects", count);
        many[count++] = rig_alloc(&rig, 16 + random_below(&random, 1009));
    }
    return count;
}

/* The free bytes, as guessed and as counted. */
static void guess(size_t *guessed, size_t *real)
{
    jm_arena_retire_span(HEAP->arena);
    *real = assert_heap(HEAP, HEAP_LISTS).free_bytes;
    struct jm_carved carved = jm_survey_carved(&HEAP->supply);
    *guessed = jm_survey_guess_free(HEAP->arena, carved, 128) << JM_GRANULE_BITS;
}

static void what_is_free_is_guessed(void **state)
{
    size_t guessed;
    size_t real;

    (void)state;
    for (size_t i = 0; i < 18; i++) {
        many[i] = rig_alloc(&rig, 8 * i);
    }
    for (size_t i = 0; i < 18; i += 3) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    /* So few granules are all looked at. */
    guess(&guessed, &real);
    assert_true(real > 200);
    assert_int_equal(guessed, real);
    rig_drop(&rig);
    rig_make(&rig);

    size_t count = fill(MIB(8));
    guess(&guessed, &real);
    assert_true(guessed < MIB(8) / 20); /* only rests of spans */
    for (size_t i = 0; i < count; i += 4) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    for (int i = 0; i < 100; i++) { /* other samples each time */
        guess(&guessed, &real);
        assert_true(guessed > real / 3 && guessed < 2 * real);
    }
}

/* Objects of 32 bytes are live and free alternately, and a step between samples is a multiple of
 * that period. Samples at equal distances would all meet the same kind. */
static void what_takes_turns_is_guessed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        many[i] = rig_alloc(&rig, 32);
    }
    for (size_t i = 0; i < COUNT_OF(many); i += 2) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
    jm_arena_retire_span(HEAP->arena);
    struct jm_carved carved = jm_survey_carved(&HEAP->supply);
    size_t real = assert_heap(HEAP, HEAP_LISTS).free_bytes >> JM_GRANULE_BITS;
    size_t samples = 200;
    while (carved.objects / samples % 4 != 3) { /* + 1 makes the step */
        samples++;
    }
    for (int i = 0; i < 100; i++) {
        size_t guessed = jm_survey_guess_free(HEAP->arena, carved, samples);
        assert_in_range(guessed, real / 4 * 3, real / 4 * 5);
    }
}

/* The same for a few pieces so large that they begin far from each other. */
static void what_is_free_in_large_pieces_is_guessed(void **state)
{
    enum { COUNT = 120 };
    const size_t sizes[][2] = {{KIB(200), KIB(40)}, {KIB(100), KIB(100)}};
    size_t guessed;
    size_t real;

    (void)state;
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        for (size_t i = 0; i < COUNT; i++) {
            many[i] = rig_alloc(&rig, sizes[k][i % 2]);
        }
        for (size_t i = 0; i < COUNT; i += 2) {
            assert_true(jm_heap_free(HEAP, many[i]));
        }
        for (int i = 0; i < 100; i++) {
            guess(&guessed, &real);
            assert_true(guessed > real / 4 * 3 && guessed < real / 4 * 5);
        }
        assert_true(real > MIB(4)); /* most of it lies in blocks that are not empty */
        rig_drop(&rig);
        rig_make(&rig);
    }
}

/* A heap in which nothing was freed is not swept. */
static void who_only_allocates_is_not_swept(void **state)
{
    (void)state;
    (void)fill(MIB(1));
    const struct jm_arena *arena = HEAP->arena;
    uint32_t cut = arena->since_sweep;
    size_t count = fill(MIB(2));
    assert_true(HEAP->arena == arena &&
                arena->since_sweep > cut + (MIB(1) >> (JM_GRANULE_BITS + 1)));
    for (size_t i = 0; i < count; i++) {
        assert_true(i % 8 == 0 || jm_heap_free(HEAP, many[i]));
    }
    (void)rig_alloc(&rig, KIB(100));
    (void)rig_alloc(&rig, KIB(100));
    assert_true(arena->since_sweep < cut); /* swept at last */
}

static bool is_due(void)
{
    jm_arena_retire_span(HEAP->arena);
    return jm_demand_makes_due(HEAP->arena, jm_class_of_size(100));
}

/* Fills the heap up to `usage` bytes, sweeps, and frees every second object. */
static void halve(size_t usage)
{
    size_t count = fill(usage);
    jm_sweep(HEAP->arena);
    for (size_t i = 0; i < count; i += 2) {
        assert_true(jm_heap_free(HEAP, many[i]));
    }
}

/* If much is free, a sweep is due as soon as an eighth of the heap was cut, and not before. If
 * lists are broken, it is due at once in a small heap. */
static void a_sweep_is_due_when_enough_was_cut(void **state)
{
    (void)state;
    halve(KIB(700));
    struct jm_arena *arena = HEAP->arena;
    assert_false(is_due());
    assert_true(arena->due_at > 0);
    arena->broken = true;
    assert_true(is_due());
    arena->broken = false;
    arena->since_sweep = arena->due_at - 1;
    assert_false(is_due());
    arena->since_sweep = arena->due_at;
    assert_true(is_due());
    arena->broken = true;
    rig_drop(&rig);

    halve(MIB(2));
    arena = HEAP->arena;
    assert_false(is_due());
    arena->broken = true;
    assert_false(is_due());
    arena->since_sweep = arena->due_at;
    assert_true(is_due());
}

/* After a failed sweep, more must be free for the next one, until a sweep has helped. Each
 * magnitude of sizes is judged by itself. */
static void what_a_sweep_did_is_remembered_by_size(void **state)
{
    (void)state;
    halve(MIB(2));
    struct jm_arena *arena = HEAP->arena;
    assert_false(is_due());
    arena->since_sweep = arena->due_at;
    arena->left_free = arena->swept_objects;
    jm_demand_note_sweep(arena, 100, false, true);
    assert_false(is_due());
    arena->since_sweep = arena->due_at;
    jm_demand_note_sweep(arena, KIB(8), true, true);
    assert_false(is_due());
    arena->since_sweep = arena->due_at;
    jm_demand_note_sweep(arena, 100, true, true);
    assert_true(is_due());
}

/* The amount cut that makes a sweep due shrinks with the heap. */
static void a_heap_that_shrank_is_swept_as_one_of_its_size(void **state)
{
    (void)state;
    (void)fill(MIB(1));
    size_t count = fill(MIB(16));
    assert_true(jm_heap_free(HEAP, many[--count]));
    while (HEAP->arena->due_at == 0) {
        (void)rig_alloc(&rig, KIB(20));
    }
    uint32_t eighth = (uint32_t)(jm_survey_carved(&HEAP->supply).objects / 8);
    assert_in_range(HEAP->arena->due_at, eighth / 2, eighth);
    for (size_t i = 0; i < count; i++) {
        assert_true(jm_heap_free(HEAP, many[i]));
        jm_heap_tidy(HEAP);
    }
    assert_true(HEAP->arena->due_at <= jm_survey_carved(&HEAP->supply).objects / 8);
}

/* Requests more than there is. True if the heap was swept for it. */
static bool is_swept_for(size_t bytes)
{
    const uint32_t cut = 123456;
    enum jm_verdict verdict = JM_GRANTED;
    HEAP->arena->since_sweep = cut;
    assert_null(jm_heap_alloc(HEAP, bytes, &verdict));
    assert_int_equal(verdict, JM_REFUSED_LIMIT);
    return HEAP->arena->since_sweep != cut;
}

static bool is_swept_in_vain(void)
{
    return is_swept_for(jm_small_block_min() - KIB(2));
}

/* Fills the heap up to 16 MiB while the limit rises by `step` at a time. Returns the number of
 * objects. */
static size_t fill_in_steps(size_t step)
{
    enum jm_verdict verdict;
    size_t count = 0;
    for (size_t limit = step; limit <= MIB(16); limit += step) {
        rig_set_limit(&rig, limit);
        while ((many[count] = jm_heap_alloc(HEAP, 1000, &verdict)) != NULL) {
            require(++count < COUNT_OF(many), "more than %zu objects", count);
        }
        assert_int_equal(verdict, JM_REFUSED_LIMIT);
    }
    return count;
}

/* What a host frees is found at once, in however many blocks: its next request succeeds. */
static void what_is_freed_at_the_limit_serves_at_once(void **state)
{
    const size_t steps[] = {KIB(64), MIB(16)};
    struct random random = random_seeded(1);
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        size_t count = fill_in_steps(steps[i]);
        for (size_t round = 0; round < 3; round++) {
            assert_null(jm_heap_alloc(HEAP, KIB(12), &verdict));
            for (size_t object = 0; object < count; object++) {
                if (many[object] != NULL && random_chance(&random, 60)) {
                    assert_true(jm_heap_free(HEAP, many[object]));
                    many[object] = NULL;
                }
            }
            assert_non_null(jm_heap_alloc(HEAP, KIB(4), &verdict));
            for (size_t object = 0; object < count; object++) {
                if (many[object] == NULL) {
                    many[object] = jm_heap_alloc(HEAP, 1000, &verdict);
                }
            }
        }
        rig_drop(&rig);
    }
}

/* A heap at its limit is swept again only after a change. Changes are noticed, although no fast
 * path reports them. */
static void a_heap_at_its_limit_is_swept_once(void **state)
{
    void *objects[8];

    (void)state;
    rig_set_limit(&rig, jm_small_block_min());
    jm_heap_make_current(HEAP, 77);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 1000);
    }
    assert_true(jm_heap_free(HEAP, objects[1]));
    assert_ptr_equal(jm_current.arena, HEAP->arena);
    assert_false(is_swept_for(MIB(1))); /* above the limit: what is free does not matter */
    assert_true(is_swept_in_vain());
    assert_ptr_equal(jm_current.arena, &jm_no_arena);
    assert_false(is_swept_in_vain());
    jm_heap_collect(HEAP);
    assert_false(is_swept_in_vain());

    assert_true(jm_heap_free(HEAP, objects[3]));
    assert_ptr_equal(jm_current.arena, HEAP->arena);
    assert_true(is_swept_in_vain());
    assert_non_null(rig_alloc(&rig, 1000));
    assert_true(is_swept_in_vain());
    assert_non_null(jm_heap_resize_here(HEAP, objects[5], 100));
    assert_true(is_swept_in_vain());
    assert_true(jm_heap_queue_free(jm_block_of(objects[6]), objects[6]));
    assert_true(is_swept_in_vain());
    assert_false(is_swept_in_vain());
    jm_heap_make_current(NULL, 0);
    (void)swept();
}

/* A block that the heap took and does not use is given back, even if nothing was freed since the
 * last collect. */
static void what_was_taken_and_is_not_used_is_given_back(void **state)
{
    (void)state;
    (void)fill(MIB(2));
    jm_heap_collect(HEAP);
    rig_forget(&rig);
    jm_heap_collect(HEAP);
    assert_log(&rig, "");
    while (rig.bytes < KIB(128) || rig.count == 0) {
        rig_forget(&rig);
        (void)rig_alloc(&rig, 500);
    }
    assert_log(&rig, "A");
    jm_heap_collect(HEAP);
    assert_log(&rig, "F");
    (void)assert_heap(HEAP, HEAP_LISTS);
}

#define SWEEP_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SWEEP_TEST(neighbours_become_one),
        SWEEP_TEST(bad_links_do_not_keep_their_block),
        SWEEP_TEST(room_made_object_by_object_costs_few_sweeps),
        SWEEP_TEST(room_made_object_by_object_costs_few_guesses),
        SWEEP_TEST(a_rising_limit_costs_few_guesses),
        SWEEP_TEST(sweeps_in_vain_become_fewer),
        SWEEP_TEST(what_is_free_in_pieces_costs_few_sweeps),
        SWEEP_TEST(what_is_freed_beside_pieces_is_found),
        SWEEP_TEST(a_heap_is_looked_at_in_the_end),
        SWEEP_TEST(room_ends_the_doubt),
        SWEEP_TEST(a_limit_below_a_request_leaves_it_what_is_free),
        SWEEP_TEST(in_a_small_heap_every_request_is_looked_for),
        SWEEP_TEST(blocks_that_come_and_go_cost_few_sweeps),
        SWEEP_TEST(bursts_of_larger_objects_cost_few_sweeps),
        SWEEP_TEST(inside_the_callback_what_is_free_is_joined),
        SWEEP_TEST(what_is_free_at_the_end_is_the_rest),
        SWEEP_TEST(a_run_beyond_any_class_becomes_several),
        SWEEP_TEST(queued_objects_stay_between_free_ones),
        SWEEP_TEST(a_sweep_at_any_time_keeps_what_lives),
        SWEEP_TEST(what_was_freed_small_serves_large),
        SWEEP_TEST(a_sweep_comes_before_a_refusal),
        SWEEP_TEST(what_is_free_is_guessed),
        SWEEP_TEST(what_takes_turns_is_guessed),
        SWEEP_TEST(what_is_free_in_large_pieces_is_guessed),
        SWEEP_TEST(who_only_allocates_is_not_swept),
        SWEEP_TEST(a_sweep_is_due_when_enough_was_cut),
        SWEEP_TEST(what_a_sweep_did_is_remembered_by_size),
        SWEEP_TEST(a_heap_that_shrank_is_swept_as_one_of_its_size),
        SWEEP_TEST(what_is_freed_at_the_limit_serves_at_once),
        SWEEP_TEST(a_heap_at_its_limit_is_swept_once),
        SWEEP_TEST(what_was_taken_and_is_not_used_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
