/*
 * The pointer map: every address has an answer, ranges are registered exactly, growth can be
 * refused, and a thread that gives memory back sees the readers.
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>

#include "os.h"
#include "pagemap.h"
#include "process.h"
#include "runtime.h"

#define LEAF_SPAN ((uintptr_t)1 << (JM_UNIT_BITS + JM_LEAF_BITS))

/* The map never dereferences what it holds, so tests may invent blocks and addresses. */
#define BLOCK ((struct jm_block *)(uintptr_t)0x1000)
#define TOKEN ((struct jm_supply *)(uintptr_t)0x2000)

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

/* Returns the first of two neighbouring roots that no test has used yet. The search begins at a
 * quarter of the map. */
static uintptr_t unused_root(void)
{
    static uintptr_t next = ((uintptr_t)1 << JM_ROOT_BITS) / 4;
    while (jm_load_relaxed(&jm_pagemap_root[next]) != NULL ||
           jm_load_relaxed(&jm_pagemap_root[next + 1]) != NULL) {
        next++;
    }
    next += 2;
    return next - 2;
}

static void *at(uintptr_t address)
{
    return (void *)address;
}

static size_t leaf_size(void)
{
    return jm_align_up(sizeof(struct jm_leaf), jm_os_page_size());
}

static const void *token_of(uintptr_t address)
{
    const jm_token *token = jm_pagemap_token(at(address));
    return token == NULL ? NULL : jm_load_relaxed(token);
}

static void any_address_has_an_answer(void **state)
{
    struct random random = random_seeded(5);
    int local = 0;

    (void)state;
    assert_null(token_of(0));
    assert_null(token_of(1));
    assert_null(token_of(UINTPTR_MAX));
    assert_null(token_of((uintptr_t)&local));
    assert_null(token_of((uintptr_t)&any_address_has_an_answer));
    for (unsigned bit = 0; bit < sizeof(uintptr_t) * 8; bit++) {
        assert_null(token_of((uintptr_t)1 << bit));
        assert_null(token_of(((uintptr_t)1 << bit) - 1));
    }
    for (int i = 0; i < 1000000; i++) {
        assert_null(token_of((uintptr_t)(random_next(&random) >> random_below(&random, 64))));
    }
}

static void a_range_is_registered_and_nothing_beside_it(void **state)
{
    uintptr_t start = unused_root() * LEAF_SPAN + 5 * JM_UNIT;
    size_t size = 3 * JM_UNIT;

    (void)state;
    assert_true(jm_pagemap_prepare(at(start), size));
    assert_null(token_of(start));
    jm_pagemap_set(at(start), size, BLOCK, TOKEN);
    assert_null(token_of(start - 1));
    assert_null(token_of(start + size));
    for (uintptr_t address = start; address < start + size; address += 4096) {
        assert_ptr_equal(token_of(address), TOKEN);
        assert_ptr_equal(jm_pagemap_block(at(address)), BLOCK);
    }
    assert_ptr_equal(token_of(start + size - 1), TOKEN);
    jm_pagemap_set(at(start), size, NULL, NULL);
    for (uintptr_t address = start; address < start + size; address += 4096) {
        assert_null(token_of(address));
        assert_null(jm_pagemap_block(at(address)));
    }
}

static void one_byte_registers_its_unit(void **state)
{
    uintptr_t start = unused_root() * LEAF_SPAN + 4096;

    (void)state;
    assert_true(jm_pagemap_prepare(at(start), 1));
    jm_pagemap_set(at(start), 1, BLOCK, TOKEN);
    assert_ptr_equal(token_of(start), TOKEN);
    assert_ptr_equal(token_of(start + JM_UNIT - 4097), TOKEN);
    assert_null(token_of(start + JM_UNIT));
    jm_pagemap_set(at(start), 1, NULL, NULL);
    assert_null(token_of(start));
}

static void a_range_may_cross_leaves(void **state)
{
    uintptr_t border = (unused_root() + 1) * LEAF_SPAN;
    size_t metadata = jm_pagemap_metadata();

    (void)state;
    assert_true(jm_pagemap_prepare(at(border - JM_UNIT), 2 * JM_UNIT));
    assert_int_equal(jm_pagemap_metadata(), metadata + 2 * leaf_size());
    jm_pagemap_set(at(border - JM_UNIT), 2 * JM_UNIT, BLOCK, TOKEN);
    assert_null(token_of(border - JM_UNIT - 1));
    assert_ptr_equal(token_of(border - 1), TOKEN);
    assert_ptr_equal(token_of(border), TOKEN);
    assert_null(token_of(border + JM_UNIT));
    jm_pagemap_set(at(border - JM_UNIT), 2 * JM_UNIT, NULL, NULL);
    /* Leaves are kept. */
    assert_int_equal(jm_pagemap_metadata(), metadata + 2 * leaf_size());
    assert_true(jm_pagemap_prepare(at(border - JM_UNIT), 2 * JM_UNIT));
    assert_int_equal(jm_pagemap_metadata(), metadata + 2 * leaf_size());
}

static void a_range_that_ends_at_a_border_needs_one_leaf(void **state)
{
    uintptr_t border = (unused_root() + 1) * LEAF_SPAN;
    size_t metadata = jm_pagemap_metadata();

    (void)state;
    assert_true(jm_pagemap_prepare(at(border - JM_UNIT), JM_UNIT));
    assert_int_equal(jm_pagemap_metadata(), metadata + leaf_size());
}

static void addresses_beyond_the_map_are_refused(void **state)
{
    (void)state;
#if UINTPTR_MAX > 0xffffffffu
    uintptr_t end = (uintptr_t)1 << JM_ADDRESS_BITS;
    size_t metadata = jm_pagemap_metadata();

    assert_false(jm_pagemap_prepare(at(end), JM_UNIT));
    assert_false(jm_pagemap_prepare(at(end - JM_UNIT), 2 * JM_UNIT));
    assert_false(jm_pagemap_prepare(at(UINTPTR_MAX - JM_UNIT + 1), JM_UNIT));
    assert_null(jm_pagemap_token(at(end)));
    assert_null(jm_pagemap_token(at(UINTPTR_MAX)));
    assert_int_equal(jm_pagemap_metadata(), metadata);
    assert_true(jm_pagemap_prepare(at(end - JM_UNIT), JM_UNIT));
#else
    assert_true(jm_pagemap_prepare(at(0 - JM_UNIT), JM_UNIT)); /* the map covers all addresses */
#endif
}

static void a_leaf_that_cannot_be_had_is_a_refusal(void **state)
{
    uintptr_t border = (unused_root() + 1) * LEAF_SPAN;
    size_t metadata = jm_pagemap_metadata();

    (void)state;
    for (size_t nth = 1; nth <= 2; nth++) {
        fake_os_refuse(FAKE_RESERVE, nth, false, 0);
        assert_false(jm_pagemap_prepare(at(border - JM_UNIT), 2 * JM_UNIT));
        assert_int_equal(fake_os_refused(), 1);
        assert_int_equal(jm_pagemap_metadata(), metadata + (nth - 1) * leaf_size());
        fake_os_refuse(FAKE_RESERVE, 1, true, 0);
        assert_false(jm_pagemap_prepare(at(border - JM_UNIT), 2 * JM_UNIT));
        fake_os_reset();
    }
    assert_true(jm_pagemap_prepare(at(border - JM_UNIT), 2 * JM_UNIT));
    assert_int_equal(jm_pagemap_metadata(), metadata + 2 * leaf_size());
    assert_null(fake_os_fault());
}

/* ---- Threads ---- */

#define THREADS 4
#define ROOTS 16

static uintptr_t shared_roots[ROOTS];
static _Atomic(size_t) thread_faults;

static void *prepare_all(void *argument)
{
    uintptr_t own = (uintptr_t)argument;
    (void)jm_thread_ready();
    for (int i = 0; i < ROOTS; i++) {
        uintptr_t address = shared_roots[i] * LEAF_SPAN + own * JM_UNIT;
        if (!jm_pagemap_prepare(at(address), JM_UNIT)) {
            atomic_fetch_add(&thread_faults, 1);
            continue;
        }
        jm_pagemap_set(at(address), JM_UNIT, BLOCK, TOKEN);
    }
    return NULL;
}

static void threads_agree_on_a_leaf(void **state)
{
    pthread_t threads[THREADS];
    size_t metadata = jm_pagemap_metadata();

    (void)state;
    for (int i = 0; i < ROOTS; i++) {
        shared_roots[i] = unused_root();
    }
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, prepare_all, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&thread_faults), 0);
    assert_int_equal(jm_pagemap_metadata(), metadata + ROOTS * leaf_size());
    for (int i = 0; i < ROOTS; i++) {
        for (uintptr_t own = 0; own < THREADS; own++) {
            assert_ptr_equal(token_of(shared_roots[i] * LEAF_SPAN + own * JM_UNIT), TOKEN);
        }
        jm_pagemap_set(at(shared_roots[i] * LEAF_SPAN), THREADS * JM_UNIT, NULL, NULL);
    }
}

/* Waits for readers on a thread of its own, and tells when the wait is over. */
static _Atomic(bool) waited;

static void *wait_for_readers(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    (void)jm_pagemap_wait(jm_pagemap_since(), UINT_MAX);
    atomic_store(&waited, true);
    return NULL;
}

/* A reader that began before the wait delays it. A reader that begins during the wait does not. */
static void a_wait_ends_when_the_readers_before_it_have_left(void **state)
{
    (void)state;
    (void)jm_pagemap_wait(jm_pagemap_since(), UINT_MAX); /* returns at once: nobody reads */
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        _Atomic(uint32_t) *first = jm_pagemap_enter();
        _Atomic(uint32_t) *second = jm_pagemap_enter();
        uint32_t epoch = jm_load_seq_cst(&jm_pagemap_epoch);
        atomic_store(&waited, false);
        assert_int_equal(pthread_create(&thread, NULL, wait_for_readers, NULL), 0);
        while (jm_load_seq_cst(&jm_pagemap_epoch) == epoch) {
            (void)sched_yield(); /* until the waiter has advanced the epoch, once */
        }
        _Atomic(uint32_t) *late = jm_pagemap_enter();
        for (int i = 0; i < 100; i++) {
            (void)sched_yield();
        }
        jm_pagemap_leave(first);
        (void)sched_yield();
        assert_false(jm_load_seq_cst(&waited));
        jm_pagemap_leave(second);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(jm_load_seq_cst(&waited));
        jm_pagemap_leave(late);
    }
}

/* Later readers read in later epochs, however many there are and in whatever order they leave. */
static void later_readers_do_not_hold_up_an_earlier_epoch(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        _Atomic(uint32_t) *old = jm_pagemap_enter();
        uint32_t since = jm_load_seq_cst(&jm_pagemap_epoch);
        uint32_t epoch = jm_pagemap_advance();
        assert_int_equal(epoch, since + 1); /* one epoch may begin while the old has readers */
        assert_false(jm_pagemap_is_over(since, epoch));
        _Atomic(uint32_t) *late = jm_pagemap_enter();
        assert_int_equal(jm_pagemap_advance(), since + 1);
        jm_pagemap_leave(old);
        epoch = jm_pagemap_advance();
        assert_true(jm_pagemap_is_over(since, epoch));
        assert_false(jm_pagemap_is_over(since + 1, epoch));
        jm_pagemap_leave(late);
        assert_true(jm_pagemap_is_over(since + 1, jm_pagemap_advance()));
    }
}

static void epochs_go_round(void **state)
{
    (void)state;
    assert_true(jm_pagemap_is_over(UINT32_MAX, 1));
    assert_false(jm_pagemap_is_over(UINT32_MAX, 0));
    assert_false(jm_pagemap_is_over(UINT32_MAX, UINT32_MAX));
    atomic_store(&jm_pagemap_epoch, UINT32_MAX);
    _Atomic(uint32_t) *reader = jm_pagemap_enter();
    assert_int_equal(jm_pagemap_advance(), 0);
    assert_int_equal(jm_pagemap_advance(), 0);
    jm_pagemap_leave(reader);
    assert_int_equal(jm_pagemap_advance(), 2);
}

/* A reader is seen in either parity of the epoch. */
static void it_is_quiet_where_nobody_reads(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_true(jm_pagemap_is_quiet());
        _Atomic(uint32_t) *reader = jm_pagemap_enter();
        assert_false(jm_pagemap_is_quiet());
        jm_pagemap_leave(reader);
        uint32_t epoch = jm_load_seq_cst(&jm_pagemap_epoch);
        atomic_store(&jm_pagemap_epoch, epoch + 1); /* the next round uses the other counter */
    }
    (void)jm_pagemap_wait(jm_pagemap_since(), UINT_MAX); /* returns at once */
}

/* The thread's id selects the stripe. */
static void readers_of_every_stripe_are_seen(void **state)
{
    jm_thread_id own = jm_thread.id;

    (void)state;
    for (unsigned i = 0; i < JM_READER_STRIPES; i++) {
        jm_thread.id = own + i; /* simulates another thread */
        _Atomic(uint32_t) *reader = jm_pagemap_enter();
        uint32_t since = jm_pagemap_since();
        assert_false(jm_pagemap_is_quiet());
        assert_false(jm_pagemap_is_over(since, jm_pagemap_advance()));
        assert_false(jm_pagemap_is_over(since, jm_pagemap_advance()));
        jm_pagemap_leave(reader);
        assert_true(jm_pagemap_is_over(since, jm_pagemap_advance()));
    }
    jm_thread.id = own;
}

/* Memory that is taken away while a reader may be in it. A reader would then see the poison. */
static struct {
    uintptr_t address;
    _Atomic(bool) done;
    _Atomic(size_t) hits, poisoned;
    struct {
        unsigned payload; /* not atomic, like a block's header */
    } objects[2];
} grave;

static void *read_always(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    while (!jm_load_acquire(&grave.done)) {
        _Atomic(uint32_t) *readers = jm_pagemap_enter();
        const struct jm_block *block = jm_pagemap_block(at(grave.address));
        if (block != NULL) {
            atomic_fetch_add(&grave.hits, 1);
            unsigned payload = *(const unsigned *)(const void *)block;
            atomic_fetch_add(&grave.poisoned, payload != 1);
        }
        jm_pagemap_leave(readers);
        (void)sched_yield();
    }
    return NULL;
}

static void nothing_is_taken_from_under_a_reader(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    grave.address = unused_root() * LEAF_SPAN;
    assert_true(jm_pagemap_prepare(at(grave.address), JM_UNIT));
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_always, NULL), 0);
    }
    size_t rounds = 0;
    for (size_t turn = 0; rounds < 200 || jm_load_relaxed(&grave.hits) < 100; turn++) {
        unsigned *payload = &grave.objects[turn % 2].payload;
        *payload = 1;
        jm_pagemap_set(at(grave.address), 1, (struct jm_block *)(void *)payload, TOKEN);
        jm_pagemap_set(at(grave.address), 1, NULL, NULL);
        (void)jm_pagemap_wait(jm_pagemap_since(), UINT_MAX);
        *payload = 0; /* poison: the memory has another user now */
        rounds++;
    }
    jm_store_release(&grave.done, true);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&grave.poisoned), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_address_has_an_answer),
        cmocka_unit_test(a_range_is_registered_and_nothing_beside_it),
        cmocka_unit_test(one_byte_registers_its_unit),
        cmocka_unit_test(a_range_may_cross_leaves),
        cmocka_unit_test(a_range_that_ends_at_a_border_needs_one_leaf),
        cmocka_unit_test(addresses_beyond_the_map_are_refused),
        cmocka_unit_test(a_leaf_that_cannot_be_had_is_a_refusal),
        cmocka_unit_test(threads_agree_on_a_leaf),
        cmocka_unit_test(a_wait_ends_when_the_readers_before_it_have_left),
        cmocka_unit_test(later_readers_do_not_hold_up_an_earlier_epoch),
        cmocka_unit_test(epochs_go_round),
        cmocka_unit_test(it_is_quiet_where_nobody_reads),
        cmocka_unit_test(readers_of_every_stripe_are_seen),
        cmocka_unit_test(nothing_is_taken_from_under_a_reader),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
