/*
 * Witnesses: a small block has one as long as one of its objects is live or queued, whichever
 * object is the last and however it came to be. Freeing objects in order does not look for a new
 * witness each time.
 */
#include "support/heap_check.h"
#include "support/random.h"
#include "support/rig.h"

#include "chain.h"
#include "witness.h"

RIG_OF_EACH_TEST
#define HEAP (&rig.heap)

static void free_object(void *object)
{
    assert_true(jm_heap_free(HEAP, object));
}

/* Makes a block look for a witness as if it had none. */
static bool find_anew(struct jm_block *block)
{
    if (block->has_witness) {
        jm_state *state = &block->map[block->witness];
        jm_store_relaxed(state, (uint8_t)(jm_load_relaxed(state) - JM_WITNESS + JM_PLAIN));
        block->has_witness = false;
    }
    if (HEAP->arena->doubtful != block) {
        (void)jm_heap_doubt(HEAP, block);
    }
    if (!jm_witness_find(HEAP->arena, block)) {
        return false;
    }
    (void)jm_chain_pop(&HEAP->arena->doubtful); /* no longer in doubt */
    return true;
}

static void *witness_of(const struct jm_block *block)
{
    assert_true(block->has_witness);
    assert_true(jm_is_witness(jm_load_relaxed(&block->map[block->witness])));
    return jm_granule_address(block, block->witness);
}

/* The last live object is found, whichever it is and whatever lies around it: small objects, large
 * ones, the span. */
static void what_is_left_is_found(void **state)
{
    enum { MANY = 200 };
    void *objects[MANY];

    (void)state;
    for (size_t last = 0; last < MANY; last += 7) {
        for (size_t i = 0; i < MANY; i++) {
            objects[i] = rig_alloc(&rig, i % 20 == 0 ? 2000 : 16 + i);
        }
        struct jm_block *block = jm_block_of(objects[last]);
        for (size_t i = 0; i < MANY; i++) {
            assert_true(i == last || jm_heap_free(HEAP, objects[i]));
        }
        assert_true(find_anew(block));
        assert_ptr_equal(witness_of(block), objects[last]);
        assert_false(jm_witness_pass_on(HEAP->arena, block));
        assert_ptr_equal(witness_of(block), objects[last]);
        (void)assert_heap(HEAP, HEAP_MAPS);
        free_object(objects[last]);
        for (struct jm_block *each = jm_load_relaxed(&HEAP->supply.small); each != NULL;
             each = jm_load_relaxed(&each->next)) {
            assert_false(each->has_witness);
            assert_false(jm_witness_find(HEAP->arena, each));
        }
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

/* From any place, in long blocks too, among large objects, holes and the span. */
static void it_is_found_in_blocks_of_all_kinds(void **state)
{
    enum { MANY = 3000 };
    static void *objects[MANY];
    struct random random = random_seeded(3);

    (void)state;
    for (int round = 0; round < 12; round++) {
        for (size_t i = 0; i < MANY; i++) {
            objects[i] = rig_alloc(&rig, random_size(&random, 8 + (unsigned)round));
        }
        size_t left = MANY;
        while (left > 1) {
            size_t i = random_below(&random, left);
            free_object(objects[i]);
            objects[i] = objects[--left];
            if (left % 500 == 0) {
                jm_heap_collect(HEAP); /* makes holes */
            }
            if (random_chance(&random, 3)) {
                struct jm_block *block = jm_block_of(objects[random_below(&random, left)]);
                assert_true(jm_block_is_large(block) || find_anew(block));
                (void)assert_heap(HEAP, HEAP_MAPS);
            }
        }
        struct jm_block *last = jm_block_of(objects[0]);
        assert_true(jm_block_is_large(last) || (find_anew(last) && witness_of(last) == objects[0]));
        free_object(objects[0]);
        jm_heap_collect(HEAP);
        assert_int_equal(rig_usage(&rig), 0);
    }
}

/* In whatever order the objects are freed. */
static void few_of_many_are_the_witness_when_they_go(void **state)
{
    enum { MANY = 4000 };
    static void *objects[MANY];

    (void)state;
    for (int order = 0; order < 3; order++) {
        for (size_t i = 0; i < MANY; i++) {
            objects[i] = rig_alloc(&rig, 16);
        }
        size_t changes = 0;
        assert_true(find_anew(jm_block_of(objects[0])) &&
                    find_anew(jm_block_of(objects[MANY - 1])));
        for (size_t i = 0; i < MANY; i++) {
            const size_t places[] = {i, MANY - 1 - i, i * 2639 % MANY};
            void *object = objects[places[order]];
            const struct jm_block *block = jm_block_of(object);
            changes += block->has_witness && witness_of(block) == object;
            free_object(object);
        }
        require(changes > 0 && changes < MANY / 10, "order %d: %zu changes", order, changes);
    }
}

static void another_one_takes_over(void **state)
{
    (void)state;
    void *objects[3];
    for (size_t i = 0; i < 3; i++) {
        objects[i] = rig_alloc(&rig, 100);
    }
    struct jm_block *block = jm_block_of(objects[0]);
    assert_true(find_anew(block));
    for (int i = 0; i < 10; i++) {
        void *before = witness_of(block);
        assert_true(jm_witness_pass_on(HEAP->arena, block));
        assert_ptr_not_equal(witness_of(block), before);
        (void)assert_heap(HEAP, HEAP_MAPS);
    }
    for (size_t left = 3; left > 0; left--) { /* also if the witness is freed */
        void *witness = witness_of(block);
        free_object(witness);
        (void)assert_heap(HEAP, HEAP_MAPS);
    }
    assert_false(block->has_witness);
}

/* The state of a large witness has its highest bit set, as have the states of possible
 * successors. */
static void a_large_witness_is_not_its_own_successor(void **state)
{
    (void)state;
    void *large = rig_alloc(&rig, 8000);
    (void)rig_alloc(&rig, 100);
    struct jm_block *block = jm_block_of(large);
    assert_ptr_equal(jm_block_of(rig_alloc(&rig, 100)), block);
    assert_true(find_anew(block));
    for (int i = 0; i < 1000; i++) {
        const void *before = witness_of(block);
        assert_true(jm_witness_pass_on(HEAP->arena, block));
        assert_ptr_not_equal(witness_of(block), before);
    }
    (void)assert_heap(HEAP, HEAP_MAPS);
}

/* An object that another thread freed keeps its block until it is taken in, also as the witness. */
static void a_queued_object_can_be_it(void **state)
{
    (void)state;
    void *objects[2] = {rig_alloc(&rig, 100), rig_alloc(&rig, 5000)};
    struct jm_block *block = jm_block_of(objects[0]);
    assert_true(find_anew(block));
    for (size_t left = 2; left > 0; left--) {
        void *witness = witness_of(block);
        assert_true(jm_heap_queue_free(block, witness));
        assert_true(block->has_witness);
        (void)assert_heap(HEAP, HEAP_MAPS);
        assert_true(jm_heap_drain(HEAP));
        assert_int_equal(block->has_witness, left > 1);
        (void)assert_heap(HEAP, HEAP_LISTS);
    }
    /* A queued object can also be found as the new witness. */
    void *object = rig_alloc(&rig, 300);
    assert_true(jm_heap_queue_free(block, object));
    assert_false(block->has_witness);
    assert_true(find_anew(block));
    assert_ptr_equal(jm_granule_address(block, block->witness), object);
    (void)assert_heap(HEAP, HEAP_MAPS);
    assert_true(jm_heap_drain(HEAP));
    assert_false(block->has_witness);
}

static void it_may_change_its_size(void **state)
{
    const size_t sizes[] = {100, 5000, 40, 40, 3000, 16, 9000, 200000, 64};
    (void)state;
    void *object = rig_alloc(&rig, 50);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            struct jm_block *block = jm_block_of(object);
            assert_true(find_anew(block));
            enum jm_verdict verdict = JM_GRANTED;
            void *resized = round == 1 ? jm_heap_resize_here(HEAP, object, sizes[i]) : NULL;
            object = resized != NULL ? resized : jm_heap_resize(HEAP, object, sizes[i], &verdict);
            assert_non_null(object);
            assert_true(jm_heap_usable(HEAP, object) >= sizes[i]);
            (void)assert_heap(HEAP, HEAP_LISTS);
            jm_heap_tidy(HEAP);
            if (round == 2) {
                (void)rig_alloc(&rig, sizes[i]); /* others can take over */
            }
        }
    }
}

#define WITNESS_TEST(function) cmocka_unit_test_setup_teardown(function, make, drop)

/* The whole map is searched until it is known where the few objects are. */
static void a_few_far_apart_that_take_turns_are_known(void **state)
{
    enum { MANY = 16000, APART = 4000, FEW = 4 };
    static void *objects[MANY];
    size_t searches = 0;

    (void)state;
    void *first = NULL; /* in a block of the largest size */
    while (rig.bytes < JM_SMALL_BLOCK_MAX) {
        first = rig_alloc(&rig, KIB(100));
    }
    for (size_t i = 0; i < MANY; i++) {
        objects[i] = rig_alloc(&rig, 200);
    }
    for (size_t i = 0; i < MANY; i++) {
        assert_true(i % APART == 0 || jm_heap_free(HEAP, objects[i]));
    }
    free_object(first);
    jm_block_of(first)->far_count = 100; /* more entries than it has; none of them helps */
    assert_true(find_anew(jm_block_of(first)));
    for (size_t i = 0; i < 1000; i++) {
        void **oldest = &objects[i % FEW * APART];
        struct jm_block *block = jm_block_of(*oldest);
        unsigned next = block->far_count;
        void *object = rig_alloc(&rig, 200);
        free_object(*oldest);
        searches += block->far_count != next;
        *oldest = object;
    }
    assert_true(searches > 0 && searches < 50);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* The next owner of a block, which may have less of it, does not look where the last owner's
 * witnesses were. */
static void what_is_known_is_forgotten_with_the_block(void **state)
{
    (void)state;
    jm_reserve_set_limit(MIB(32));
    struct jm_block *block = jm_block_of(rig_alloc(&rig, 100));
    block->far_count = JM_FAR_WITNESSES;
    rig_drop(&rig);
    jm_heap_reset(HEAP);
    assert_ptr_equal(jm_block_of(rig_alloc(&rig, 100)), block);
    assert_int_equal(block->far_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITNESS_TEST(what_is_left_is_found),
        WITNESS_TEST(it_is_found_in_blocks_of_all_kinds),
        WITNESS_TEST(few_of_many_are_the_witness_when_they_go),
        WITNESS_TEST(a_few_far_apart_that_take_turns_are_known),
        WITNESS_TEST(what_is_known_is_forgotten_with_the_block),
        WITNESS_TEST(another_one_takes_over),
        WITNESS_TEST(a_large_witness_is_not_its_own_successor),
        WITNESS_TEST(a_queued_object_can_be_it),
        WITNESS_TEST(it_may_change_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
