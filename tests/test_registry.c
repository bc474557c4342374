/*
 * Handles: one to one with live slots, of one kind, stale for ever once retracted. Worn-out slots
 * stay out of use. Threads take, find and give slots at the same time.
 */
#include "support/child.h"
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "before_collect.h"
#include "context.h"
#include "process.h"
#include "registry.h"
#include "runtime.h"

#define HANDLE_BITS (sizeof(uintptr_t) * CHAR_BIT)
#define CHUNK_SLOTS ((size_t)1 << JM_CHUNK_BITS)
#define TAG_MASK ((uint32_t)(((uint64_t)1 << (JM_GENERATION_BITS + 1)) - 1))

#define INDEX_MASK (((uintptr_t)1 << JM_INDEX_BITS) - 1)

/* More slots than a chunk holds. */
#define MANY 3000

static const enum jm_kind kinds[JM_HANDLE_KINDS] = {JM_KIND_RUNTIME, JM_KIND_CONTEXT};

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

static void CHAKRA_CALLBACK no_call(void *state)
{
    (void)state;
}

static bool finds(enum jm_kind kind, uintptr_t handle)
{
    struct jm_ref ref = jm_registry_find(kind, handle);
    return ref.slot != NULL && jm_registry_holds(ref);
}

static struct jm_slot *take(enum jm_kind kind)
{
    struct jm_slot *slot = jm_registry_take(kind);
    assert_non_null(slot);
    assert_int_equal(jm_load_relaxed(&slot->tag) % 2, 0);
    return slot;
}

static size_t count_live(enum jm_kind kind)
{
    size_t live = 0;
    const struct jm_slot *slot;
    for (size_t index = 0; (slot = jm_registry_slot(kind, index)) != NULL; index++) {
        live += jm_load_relaxed(&slot->tag) % 2;
    }
    return live;
}

/* What the library asks the OS to populate. */
static uintptr_t populated_from;
static size_t populated;
void __wrap_jm_os_populate(void *address, size_t size);

void __wrap_jm_os_populate(void *address, size_t size)
{
    populated_from = (uintptr_t)address;
    populated += size;
}

/* The attempt of a waiting dispose at which the stranger leaves the runtime; SIZE_MAX: never. */
static size_t leaves_at = SIZE_MAX;
static struct jm_runtime *entered;
void __wrap_jm_os_pause(unsigned attempt);
void __real_jm_os_pause(unsigned attempt);

void __wrap_jm_os_pause(unsigned attempt)
{
    if (attempt == leaves_at) {
        jm_store_release(&entered->owner, 0);
    }
    __real_jm_os_pause(attempt);
}

/* A stranger with a stale handle may be inside the slot's next runtime for a moment. A dispose
 * waits for it, and reports "in use" only if it stays. */
static void a_stranger_is_waited_for_by_a_dispose(void **state)
{
    (void)state;
    for (int stays = 0; stays <= 1; stays++) {
        uintptr_t handle = jm_runtime_create(0);
        struct jm_ref ref = jm_registry_find(JM_KIND_RUNTIME, handle);
        entered = jm_runtime_at(ref);
        leaves_at = stays ? SIZE_MAX : 5;
        jm_store_relaxed(&entered->owner, (jm_thread.id + 1) << 1);
        assert_int_equal(jm_runtime_dispose(ref), stays ? JM_DISPOSE_IN_USE : JM_DISPOSED);
        if (stays) {
            jm_store_relaxed(&entered->owner, 0);
            assert_int_equal(jm_runtime_dispose(ref), JM_DISPOSED);
        }
        leaves_at = SIZE_MAX;
    }
}

/* Takes slots until `count` exist. Returns the bytes populated meanwhile. */
static size_t populated_until(enum jm_kind kind, size_t count)
{
    populated = 0;
    while (jm_load_relaxed(&jm_tables[kind].count) < count) {
        (void)take(kind);
    }
    return populated;
}

/* The first chunk, enough for a host of few runtimes, is populated page by page, as it is touched.
 * The next eight are populated one at a time, later ones eight at a time. Eight chunks of runtimes
 * fill a huge page. */
static void what_many_need_is_had_at_once(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        size_t chunk = jm_align_up(CHUNK_SLOTS * jm_slot_sizes[k], jm_os_page_size());
        size_t group = jm_align_up(8 * CHUNK_SLOTS * jm_slot_sizes[k], jm_os_page_size());
        assert_true(take(kinds[k])->index < CHUNK_SLOTS - 1); /* less than a chunk is in use */
        size_t metadata = jm_registry_metadata();
        assert_int_equal(populated_until(kinds[k], CHUNK_SLOTS), 0);
        assert_int_equal(populated_until(kinds[k], CHUNK_SLOTS + 1), chunk);
        assert_int_equal(populated_until(kinds[k], 9 * CHUNK_SLOTS), 7 * chunk);
        assert_int_equal(jm_registry_metadata(), metadata + 8 * chunk);
        assert_int_equal(populated_until(kinds[k], 9 * CHUNK_SLOTS + 1), group);
        assert_int_equal(jm_registry_metadata(), metadata + 8 * chunk + group);
        assert_int_equal(populated_from % (group % MIB(2) == 0 ? MIB(2) : jm_os_page_size()), 0);
        assert_int_equal(populated_until(kinds[k], 17 * CHUNK_SLOTS), 0);
    }
}

/* The handle that a slot with this index and tag would have. */
static uintptr_t encode(enum jm_kind kind, uintptr_t index, uint32_t tag)
{
    uintptr_t plain =
        (uintptr_t)(tag >> 1) << (JM_INDEX_BITS + 1) | (uintptr_t)kind << JM_INDEX_BITS | index;
    return plain * jm_load_relaxed(&jm_secret.multiplier) ^ jm_load_relaxed(&jm_secret.mask);
}

/* The handles of one process reveal nothing about those of another. */
static void each_process_has_secrets_of_its_own(void **state)
{
    (void)state;
    for (int process = 0; process < 8; process++) {
        uintptr_t multiplier = jm_load_relaxed(&jm_secret.multiplier);
        uintptr_t mask = jm_load_relaxed(&jm_secret.mask);
        jm_registry_init();
        assert_true(jm_load_relaxed(&jm_secret.multiplier) != multiplier);
        assert_true(jm_load_relaxed(&jm_secret.mask) != mask);
        uintptr_t inverse = jm_load_relaxed(&jm_secret.inverse);
        assert_int_equal(jm_load_relaxed(&jm_secret.multiplier) * inverse, 1);
        /* The index that handle 0 decodes to. */
        uintptr_t index = jm_load_relaxed(&jm_secret.mask) * inverse & INDEX_MASK;
        assert_int_equal(index, INDEX_MASK);
        assert_true(index >= (uint64_t)JM_MAX_CHUNKS << JM_CHUNK_BITS);
    }
}

/* Runs in a process of its own. Returns some bits of the first generation of its first slot, 0 to
 * 127; 255 on failure. */
static int show_generation(void)
{
    if (!jm_process_init() || !jm_thread_ready()) {
        return 255;
    }
    uint32_t tag = jm_load_relaxed(&jm_registry_take(JM_KIND_RUNTIME)->tag);
    return (int)((tag >> 1) * 0x9e3779b1u >> 25);
}

static void generations_begin_anywhere(void **state)
{
    int first = child_run_again("show", "JSRTMEM_NOTHING", NULL);
    bool differ = false;
    (void)state;
    assert_in_range(first, 0, 127);
    for (int process = 0; process < 8; process++) { /* all are equal once in 2^56 runs */
        int another = child_run_again("show", "JSRTMEM_NOTHING", NULL);
        assert_in_range(another, 0, 127);
        differ = differ || another != first;
    }
    assert_true(differ);
}

static void a_handle_is_valid_from_publish_to_retract(void **state)
{
    (void)state;
    for (size_t i = 0; i < JM_HANDLE_KINDS; i++) {
        enum jm_kind kind = kinds[i];
        size_t live = count_live(kind);
        struct jm_slot *slot = take(kind);
        assert_int_equal(jm_registry_handle(kind, slot), 0);
        assert_int_equal(count_live(kind), live);
        uintptr_t handle = jm_registry_publish(kind, slot);
        assert_true(handle != 0);
        assert_int_equal(count_live(kind), live + 1);
        assert_true(jm_registry_handle(kind, slot) == handle);
        struct jm_ref ref = jm_registry_find(kind, handle);
        assert_ptr_equal(ref.slot, slot);
        assert_true(jm_registry_holds(ref));
        assert_ptr_equal(jm_registry_slot(kind, slot->index), slot);
        jm_registry_retract(slot);
        assert_false(jm_registry_holds(ref));
        assert_null(jm_registry_find(kind, handle).slot);
        assert_int_equal(jm_registry_handle(kind, slot), 0);
        assert_int_equal(count_live(kind), live);
        jm_registry_give(kind, slot);
        assert_null(jm_registry_find(kind, handle).slot);
    }
}

/* Many live handles of both kinds. */
static struct jm_slot *slots[JM_HANDLE_KINDS][MANY];
static uintptr_t handles[JM_HANDLE_KINDS][MANY];

static int make_many(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        for (size_t i = 0; i < MANY; i++) {
            slots[k][i] = jm_registry_take(kinds[k]);
            if (slots[k][i] == NULL) {
                return -1;
            }
            handles[k][i] = jm_registry_publish(kinds[k], slots[k][i]);
        }
    }
    return 0;
}

static int drop_many(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        for (size_t i = 0; i < MANY; i++) {
            jm_registry_retract(slots[k][i]);
            jm_registry_give(kinds[k], slots[k][i]);
        }
    }
    return 0;
}

static int compare(const void *left, const void *right)
{
    uintptr_t l = *(const uintptr_t *)left;
    uintptr_t r = *(const uintptr_t *)right;
    return (l > r) - (l < r);
}

static void handles_differ_and_lead_to_their_slots(void **state)
{
    static uintptr_t sorted[JM_HANDLE_KINDS * MANY];

    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        for (size_t i = 0; i < MANY; i++) {
            assert_ptr_equal(jm_registry_find(kinds[k], handles[k][i]).slot, slots[k][i]);
            sorted[k * MANY + i] = handles[k][i];
        }
    }
    qsort(sorted, COUNT_OF(sorted), sizeof(sorted[0]), compare);
    for (size_t i = 0; i + 1 < COUNT_OF(sorted); i++) {
        assert_true(sorted[i] != sorted[i + 1]);
    }
}

static void kinds_are_never_confused(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        assert_null(jm_registry_find(JM_KIND_CONTEXT, handles[0][i]).slot);
        assert_null(jm_registry_find(JM_KIND_RUNTIME, handles[1][i]).slot);
    }
}

/* Checks that a handle which the registry accepts is that of a live slot. On 64-bit, none of the
 * few forgeries of a test is accepted; on 32-bit, one may be. */
static size_t accepted;
static void forge(uintptr_t handle)
{
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        struct jm_ref ref = jm_registry_find(kinds[k], handle);
        if (ref.slot != NULL) {
            accepted++;
            assert_true(jm_registry_handle(kinds[k], ref.slot) == handle);
        }
    }
}

static void assert_forgeries_failed(void)
{
    assert_true(accepted == 0 || HANDLE_BITS == 32);
    accepted = 0;
}

static void values_that_hosts_pass_by_mistake_are_no_handles(void **state)
{
    (void)state;
    assert_null(jm_registry_find(JM_KIND_RUNTIME, 0).slot);
    assert_null(jm_registry_find(JM_KIND_CONTEXT, 0).slot);
    for (uintptr_t value = 0; value < 100000; value++) {
        forge(value);
        forge(0 - value);
    }
    for (size_t i = 0; i < MANY; i++) {
        forge((uintptr_t)slots[0][i]);
        forge((uintptr_t)slots[1][i]);
        forge((uintptr_t)&slots[0][i]);
    }
    assert_forgeries_failed();
}

static void random_values_are_no_handles(void **state)
{
    struct random random = random_seeded(1);

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        forge((uintptr_t)random_next(&random));
    }
    assert_forgeries_failed();
}

static void flipped_bits_make_no_handle(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        for (size_t i = 0; i < MANY; i++) {
            for (size_t bit = 0; bit < HANDLE_BITS; bit++) {
                forge(handles[k][i] ^ (uintptr_t)1 << bit);
            }
        }
        for (size_t i = 0; i < MANY; i += 100) {
            for (size_t bit = 0; bit < HANDLE_BITS; bit++) {
                for (size_t other = 0; other < bit; other++) {
                    forge(handles[k][i] ^ (uintptr_t)1 << bit ^ (uintptr_t)1 << other);
                }
            }
        }
    }
    assert_forgeries_failed();
}

static void neighbours_and_mixtures_make_no_handle(void **state)
{
    (void)state;
    for (size_t i = 1; i + 1 < MANY; i++) {
        for (uintptr_t step = 1; step <= 64; step++) {
            forge(handles[0][i] + step);
            forge(handles[0][i] - step);
        }
        forge(handles[0][i] ^ handles[0][i + 1]);
        forge(handles[0][i] + (handles[0][i + 1] - handles[0][0]));
        forge(2 * handles[0][i] - handles[0][i - 1]);
        forge((handles[0][i] ^ handles[0][i - 1]) ^ handles[0][i + 1]);
        for (unsigned bits = 8; bits < HANDLE_BITS; bits += 8) {
            uintptr_t low = ((uintptr_t)1 << bits) - 1;
            uintptr_t mixed = (handles[0][i] & ~low) | (handles[0][i + 1] & low);
            if (mixed != handles[0][i] && mixed != handles[0][i + 1]) {
                forge(mixed);
            }
        }
    }
    assert_forgeries_failed();
}

static void stale_handles_stay_stale(void **state)
{
    enum { GENERATIONS = 1000 }; /* fewer than a slot has on any platform */
    static uintptr_t old[GENERATIONS];

    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        struct jm_slot *slot = take(kinds[k]);
        jm_registry_publish(kinds[k], slot);
        jm_registry_retract(slot);
        jm_registry_give(kinds[k], slot);
        for (size_t i = 0; i < GENERATIONS; i++) {
            slot = take(kinds[k]);
            old[i] = jm_registry_publish(kinds[k], slot);
            for (size_t before = i > 50 ? i - 50 : 0; before < i; before++) {
                assert_false(finds(kinds[k], old[before]));
            }
            jm_registry_retract(slot);
            jm_registry_give(kinds[k], slot);
        }
        for (size_t i = 0; i < GENERATIONS; i++) {
            assert_false(finds(kinds[k], old[i]));
            for (size_t other = 0; other < i; other++) {
                assert_true(old[other] != old[i]);
            }
        }
    }
}

/* Takes a slot that was never used. Its tag is where its generations begin. */
static struct jm_slot *take_fresh(enum jm_kind kind)
{
    size_t count = jm_load_relaxed(&jm_tables[kind].count);
    struct jm_slot *slot = take(kind);
    while (slot->index < count) {
        slot = take(kind); /* empties the free list, for good */
    }
    return slot;
}

/* As if no index were left. */
static struct jm_slot *take_where_none_can_be_added(enum jm_kind kind)
{
    size_t count = jm_load_relaxed(&jm_tables[kind].count);
    jm_store_relaxed(&jm_tables[kind].count, (size_t)JM_MAX_CHUNKS << JM_CHUNK_BITS);
    struct jm_slot *slot = jm_registry_take(kind);
    jm_store_relaxed(&jm_tables[kind].count, count);
    return slot;
}

/* Takes a slot that was never used, and all that are free. */
static struct jm_slot *take_fresh_and_last(enum jm_kind kind)
{
    struct jm_slot *slot = take_fresh(kind);
    assert_non_null(take_where_none_can_be_added(kind)); /* the one that is left otherwise */
    return slot;
}

static void a_slot_whose_generations_are_used_up_is_never_handed_out_again(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        enum jm_kind kind = kinds[k];
        struct jm_slot *worn = take_fresh(kind);
        uint32_t first = jm_load_relaxed(&worn->tag);

        /* One generation before the last, the slot is still reused. */
        jm_store_relaxed(&worn->tag, (first - 4) & TAG_MASK);
        uintptr_t before_last = jm_registry_publish(kind, worn);
        jm_registry_retract(worn);
        jm_registry_give(kind, worn);
        assert_ptr_equal(jm_registry_take(kind), worn);

        uintptr_t last = jm_registry_publish(kind, worn);
        assert_true(finds(kind, last));
        assert_false(finds(kind, before_last));
        jm_registry_retract(worn);
        jm_registry_give(kind, worn);
        for (size_t i = 0; i < 2 * CHUNK_SLOTS; i++) {
            assert_true(take(kind) != worn);
        }
        assert_false(finds(kind, last));
        assert_int_equal(jm_registry_handle(kind, worn), 0);
    }
}

static void generations_go_round_once(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        enum jm_kind kind = kinds[k];
        struct jm_slot *slot = take_fresh(kind);
        /* The tag wraps around to 0. The generations do not end there: they begin anywhere. */
        jm_store_relaxed(&slot->tag, TAG_MASK - 1);
        if (jm_load_relaxed(&slot->tag) == 0) {
            continue;
        }
        uintptr_t high = jm_registry_publish(kind, slot);
        assert_ptr_equal(jm_registry_find(kind, high).slot, slot);
        jm_registry_retract(slot);
        assert_int_equal(jm_load_relaxed(&slot->tag), 0);
        uintptr_t low = jm_registry_publish(kind, slot);
        assert_ptr_equal(jm_registry_find(kind, low).slot, slot);
        assert_null(jm_registry_find(kind, high).slot);
        jm_registry_retract(slot);
        assert_null(jm_registry_find(kind, low).slot);
    }
}

static void first_generations_cannot_be_guessed(void **state)
{
    size_t equal = 0;
    size_t regular = 0; /* nearly as far from the tag before as from the tag after */

    (void)state;
    for (size_t i = 1; i + 1 < MANY; i++) {
        uint32_t before = jm_load_relaxed(&slots[0][i - 1]->tag);
        uint32_t here = jm_load_relaxed(&slots[0][i]->tag);
        uint32_t after = jm_load_relaxed(&slots[0][i + 1]->tag);
        equal += here == after;
        regular += (((after - here) - (here - before) + 4) & TAG_MASK) <= 8;
    }
    assert_true(equal < (HANDLE_BITS == 32 ? 50 : 3));
    assert_true(regular < (HANDLE_BITS == 32 ? 100 : 10));
}

static void slots_beyond_the_last_one_do_not_exist(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        size_t count = jm_load_relaxed(&jm_tables[k].count);
        assert_non_null(jm_registry_slot(kinds[k], count - 1));
        assert_null(jm_registry_slot(kinds[k], count));
        assert_null(jm_registry_slot(kinds[k], SIZE_MAX));
    }
}

static void a_chunk_that_cannot_be_had_is_a_refusal(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        enum jm_kind kind = kinds[k];
        size_t index = take_fresh(kind)->index;
        /* Until the next slot needs several chunks. */
        while ((index + 1) % (8 * CHUNK_SLOTS) != CHUNK_SLOTS) {
            index = take(kind)->index;
        }
        assert_non_null(take_where_none_can_be_added(kind)); /* the one that was left */
        size_t metadata = jm_registry_metadata();
        fake_os_refuse(FAKE_RESERVE, 1, true, 0);
        assert_null(jm_registry_take(kind));
        assert_null(jm_registry_take(kind));
        assert_int_equal(fake_os_refused(), 4); /* each call asks for all of them, then for one */
        assert_int_equal(jm_registry_metadata(), metadata);
        assert_int_equal(jm_load_relaxed(&jm_tables[kind].count), index + 1);
        assert_null(jm_registry_find(kind, encode(kind, index + 1, 1)).slot);
        fake_os_refuse(FAKE_RESERVE, 1, false, 0);
        struct jm_slot *slot = take(kind);
        fake_os_reset();
        assert_int_equal(slot->index, index + 1);
        assert_int_equal(jm_registry_metadata(),
                         metadata + jm_align_up(CHUNK_SLOTS * jm_slot_sizes[k], jm_os_page_size()));
        jm_registry_publish(kind, slot);
        jm_registry_retract(slot);
        jm_registry_give(kind, slot);
    }
    assert_null(fake_os_fault());
}

static void where_handles_run_out_nothing_is_handed_out(void **state)
{
    (void)state;
    for (size_t k = 0; k < JM_HANDLE_KINDS; k++) {
        (void)take_fresh_and_last(kinds[k]);
        assert_null(take_where_none_can_be_added(kinds[k]));
        assert_non_null(jm_registry_take(kinds[k]));
    }
    assert_true(((uint64_t)JM_MAX_CHUNKS << JM_CHUNK_BITS) >= 1000000);
}

/* ---- Threads ---- */

#define THREADS 4
#define ROUNDS 20000
#define BOARD 64

static struct {
    _Atomic(uintptr_t) board[BOARD]; /* handles, live or stale */
    _Atomic(size_t) faults;
    _Atomic(uint32_t) *owned; /* by index: 1 if taken */
    size_t owned_count;
} shared;

static void fault_if(bool wrong)
{
    if (wrong) {
        atomic_fetch_add(&shared.faults, 1);
    }
}

/* Reads a slot as the library does: first the data, then whether the handle still holds. */
static void read_somebody(struct random *random)
{
    uintptr_t handle = jm_load_acquire(&shared.board[random_below(random, BOARD)]);
    struct jm_ref ref = jm_registry_find(JM_KIND_CONTEXT, handle);
    if (ref.slot == NULL) {
        return;
    }
    struct jm_context *context = jm_context_at(ref);
    uintptr_t data = (uintptr_t)jm_load_relaxed(&context->data);
    if (jm_registry_holds(ref)) {
        fault_if(data != (uintptr_t)ref.slot->index + 1);
    }
}

static void *take_and_give(void *argument)
{
    struct random random = random_seeded((uintptr_t)argument);
    (void)jm_thread_ready();
    for (int i = 0; i < ROUNDS; i++) {
        struct jm_slot *slot = jm_registry_take(JM_KIND_CONTEXT);
        if (slot == NULL || slot->index >= shared.owned_count) {
            fault_if(true);
            break;
        }
        fault_if(atomic_exchange(&shared.owned[slot->index], 1) != 0);
        struct jm_context *context = (struct jm_context *)(void *)slot;
        jm_store_relaxed(&context->data, (void *)((uintptr_t)slot->index + 1));
        uintptr_t handle = jm_registry_publish(JM_KIND_CONTEXT, slot);
        jm_store_release(&shared.board[random_below(&random, BOARD)], handle);
        read_somebody(&random);
        fault_if(jm_registry_find(JM_KIND_CONTEXT, handle).slot != slot);
        fault_if(finds(JM_KIND_RUNTIME, handle));
        jm_registry_retract(slot);
        jm_store_relaxed(&context->data, (void *)UINTPTR_MAX); /* what the next user may write */
        fault_if(finds(JM_KIND_CONTEXT, handle));
        fault_if(atomic_exchange(&shared.owned[slot->index], 0) != 1);
        jm_registry_give(JM_KIND_CONTEXT, slot);
        if (random_below(&random, 2) == 0) {
            jm_registry_thread_exit(); /* else this thread would take the slot again itself */
        }
        read_somebody(&random);
    }
    return NULL;
}

static void threads_share_the_slots(void **state)
{
    pthread_t threads[THREADS];
    size_t live = count_live(JM_KIND_CONTEXT);
    struct jm_slot *spare[2 * THREADS]; /* so many are free that threads keep some */

    (void)state;
    (void)take_fresh(JM_KIND_CONTEXT);
    for (size_t i = 0; i < COUNT_OF(spare); i++) {
        spare[i] = take(JM_KIND_CONTEXT);
    }
    for (size_t i = 0; i < COUNT_OF(spare); i++) {
        (void)jm_registry_publish(JM_KIND_CONTEXT, spare[i]);
        jm_registry_retract(spare[i]);
        jm_registry_give(JM_KIND_CONTEXT, spare[i]);
    }
    size_t count = jm_load_relaxed(&jm_tables[JM_KIND_CONTEXT].count);
    /* If there are few generations, slots wear out and more are needed. */
    shared.owned_count = count + THREADS * (1 + 2 * ROUNDS / (TAG_MASK / 2));
    shared.owned = calloc(shared.owned_count, sizeof(*shared.owned));
    assert_non_null(shared.owned);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&shared.faults), 0);
    assert_int_equal(count_live(JM_KIND_CONTEXT), live);
    /* If no slot wears out, slots are reused, and hardly more exist than there are threads. */
    if (HANDLE_BITS > 32) {
        assert_true(jm_load_relaxed(&jm_tables[JM_KIND_CONTEXT].count) <= count + THREADS);
    }
    free(shared.owned);
}

static void *on_another_thread(void *(*job)(void *), void *argument)
{
    pthread_t thread;
    void *result;

    assert_int_equal(pthread_create(&thread, NULL, job, argument), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return result;
}

static void *take_last(void *unused)
{
    (void)unused;
    return jm_thread_ready() ? take_where_none_can_be_added(JM_KIND_RUNTIME) : NULL;
}

static struct jm_slot *two[2];

/* Two dead slots that were used, and no other one is free. */
static void take_two(void)
{
    two[0] = take_fresh(JM_KIND_RUNTIME);
    two[1] = take_fresh_and_last(JM_KIND_RUNTIME);
    for (size_t i = 0; i < 2; i++) {
        (void)jm_registry_publish(JM_KIND_RUNTIME, two[i]);
        jm_registry_retract(two[i]);
    }
}

static void give_two(void)
{
    jm_registry_give(JM_KIND_RUNTIME, two[0]);
    jm_registry_give(JM_KIND_RUNTIME, two[1]);
}

static void *give_and_end(void *unused)
{
    if (jm_thread_ready()) {
        give_two();
    }
    return unused;
}

static void a_thread_keeps_what_it_gave_last_until_it_ends(void **state)
{
    (void)state;
    take_two();
    give_two(); /* the first is there for others, the second is kept */
    assert_ptr_equal(on_another_thread(take_last, NULL), two[0]);
    assert_null(on_another_thread(take_last, NULL));
    assert_ptr_equal(take(JM_KIND_RUNTIME), two[1]);
    (void)on_another_thread(give_and_end, NULL);
    assert_ptr_equal(take(JM_KIND_RUNTIME), two[1]);
    assert_ptr_equal(on_another_thread(take_last, NULL), two[0]);
}

/* One slot stays in the list, so that each of many threads keeps the one that it uses. */
static void as_long_as_slots_can_be_added_one_is_left(void **state)
{
    (void)state;
    take_two();
    give_two(); /* two[0] is in the list, two[1] is kept */
    assert_ptr_equal(take(JM_KIND_RUNTIME), two[1]);
    struct jm_slot *added = take(JM_KIND_RUNTIME);
    assert_true(added != two[0]);
    (void)jm_registry_publish(JM_KIND_RUNTIME, added);
    jm_registry_retract(added);
    jm_registry_give(JM_KIND_RUNTIME, added);
    assert_ptr_equal(on_another_thread(take_last, NULL), two[0]);
    assert_ptr_equal(take(JM_KIND_RUNTIME), added);
}

/* As a destructor of the host does that disposes a runtime when nothing else is called any more. */
static void *give_after_the_end(void *unused)
{
    (void)unused;
    (void)jm_thread_ready();
    jm_runtime_thread_exit();
    (void)jm_thread_ready();
    give_two();
    return on_another_thread(take_last, NULL);
}

static void a_thread_that_exits_keeps_nothing(void **state)
{
    (void)state;
    take_two();
    assert_ptr_equal(on_another_thread(give_after_the_end, NULL), two[1]);
}

/* Threads that need new slots at the same time. */
#define NEW_SLOTS 100000
static struct {
    _Atomic(uint8_t) *taken; /* by index */
    size_t count;
    _Atomic(unsigned) ready;
} growth;

static void *take_new(void *argument)
{
    (void)argument;
    (void)jm_thread_ready();
    atomic_fetch_add(&growth.ready, 1);
    while (jm_load_relaxed(&growth.ready) < THREADS) {
        (void)sched_yield();
    }
    for (int i = 0; i < NEW_SLOTS; i++) {
        struct jm_slot *slot = jm_registry_take(JM_KIND_CONTEXT);
        bool usable = slot != NULL && slot->index < growth.count;
        fault_if(!usable || atomic_exchange(&growth.taken[slot->index], 1) != 0);
    }
    return NULL;
}

static void no_two_threads_get_one_new_slot(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    growth.count = (size_t)take_fresh(JM_KIND_CONTEXT)->index + 1 + THREADS * NEW_SLOTS;
    growth.taken = calloc(growth.count, sizeof(*growth.taken));
    assert_non_null(growth.taken);
    jm_store_relaxed(&shared.faults, 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_new, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(jm_load_relaxed(&shared.faults), 0);
    assert_int_equal(jm_load_relaxed(&jm_tables[JM_KIND_CONTEXT].count), growth.count);
    free(growth.taken);
}

/* The record of the before-collect callback, which few hosts set, is allocated when the callback is
 * first set, kept until the dispose, and then reused. */
static void the_record_of_a_callback_comes_and_goes_with_it(void **state)
{
    enum { TIMES = 5000 };

    (void)state;
    struct jm_table *table = &jm_tables[JM_KIND_BEFORE_COLLECT];
    assert_int_equal(jm_load_relaxed(&table->count), 0);
    JsRuntimeHandle runtime = (JsRuntimeHandle)jm_runtime_create(0);
    fake_os_refuse(FAKE_RESERVE, 1, true, 0);
    assert_code(JsSetRuntimeBeforeCollectCallback(runtime, NULL, no_call), JsErrorOutOfMemory);
    assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, NULL, NULL));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(fake_os_refused(), 1);
    fake_os_reset();
    for (int round = 0; round < TIMES; round++) {
        assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, NULL, no_call));
        assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, NULL, NULL));
        assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, NULL, no_call));
        assert_ok(JsDisposeRuntime(runtime));
        runtime = (JsRuntimeHandle)jm_runtime_create(0);
    }
    /* Two slots, one of which a thread may keep, serve all runtimes, plus one for each that wore
     * out. */
    const size_t uses = (size_t)1 << (JM_GENERATION_BITS < 30 ? JM_GENERATION_BITS : 30);
    assert_in_range(jm_load_relaxed(&table->count), 2, 3 + TIMES / uses);
    assert_ok(JsDisposeRuntime(runtime));
    assert_int_equal(count_live(JM_KIND_BEFORE_COLLECT), 0);
}

#define MANY_TEST(function) cmocka_unit_test_setup_teardown(function, make_many, drop_many)

int main(int argc, char **argv)
{
    (void)argv;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_process_has_secrets_of_its_own), /* before any handle exists */
        cmocka_unit_test(what_many_need_is_had_at_once),
        cmocka_unit_test(a_stranger_is_waited_for_by_a_dispose),
        cmocka_unit_test(generations_begin_anywhere),
        cmocka_unit_test(the_record_of_a_callback_comes_and_goes_with_it),
        cmocka_unit_test(a_handle_is_valid_from_publish_to_retract),
        MANY_TEST(handles_differ_and_lead_to_their_slots),
        MANY_TEST(kinds_are_never_confused),
        MANY_TEST(values_that_hosts_pass_by_mistake_are_no_handles),
        MANY_TEST(random_values_are_no_handles),
        MANY_TEST(flipped_bits_make_no_handle),
        MANY_TEST(neighbours_and_mixtures_make_no_handle),
        cmocka_unit_test(stale_handles_stay_stale),
        cmocka_unit_test(a_slot_whose_generations_are_used_up_is_never_handed_out_again),
        cmocka_unit_test(generations_go_round_once),
        MANY_TEST(first_generations_cannot_be_guessed),
        cmocka_unit_test(slots_beyond_the_last_one_do_not_exist),
        cmocka_unit_test(a_chunk_that_cannot_be_had_is_a_refusal),
        cmocka_unit_test(where_handles_run_out_nothing_is_handed_out),
        cmocka_unit_test(threads_share_the_slots),
        cmocka_unit_test(a_thread_keeps_what_it_gave_last_until_it_ends),
        cmocka_unit_test(as_long_as_slots_can_be_added_one_is_left),
        cmocka_unit_test(a_thread_that_exits_keeps_nothing),
        cmocka_unit_test(no_two_threads_get_one_new_slot),
    };
    return argc > 1 ? show_generation() : cmocka_run_group_tests(tests, start, NULL);
}
