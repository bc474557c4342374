/*
 * The region: stretches are aligned, disjoint and zero, stretches of different tenants lie far
 * apart, and whatever is given back, refused or used up leaves the region usable as before.
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "os.h"
#include "process.h"
#include "region.h"
#include "runtime.h"

#define LARGEST ((size_t)4 << 20)
#define HUGE_FROM (8 * LARGEST)

/* At this distance, heads lie two pages apart, and so do maps: threads do not contend. */
#define FAR (8 * JM_UNIT)

/* The number of stretches taken one after another. */
#define ROW 16

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

static char *take(size_t size)
{
    bool has_room = false;
    char *address = jm_region_alloc(size, &has_room);

    assert_non_null(address);
    assert_true(has_room);
    return address;
}

static void give(char *address, size_t size)
{
    assert_true(jm_region_decommit(address, size));
    jm_region_free(address, size);
}

static size_t smallest(void)
{
    return jm_small_block_min();
}

#if defined(__linux__)
/* True if the OS was asked to use huge pages at an address ("hg"), or not to use them ("nh"). */
static bool has_flag(const char *address, const char *flag)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool is_there = false;
    bool found = false;

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) {
            is_there = from <= (uintptr_t)address && (uintptr_t)address < to;
        }
        found |= is_there && strncmp(line, "VmFlags:", 8) == 0 && strstr(line, flag) != NULL;
    }
    assert_int_equal(fclose(maps), 0);
    return found;
}

static bool has_huge_pages(void)
{
    FILE *enabled = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (enabled != NULL) {
        assert_int_equal(fclose(enabled), 0);
    }
    return enabled != NULL && has_flag(jm_load_relaxed(&jm_region.base) - 4096, " nh");
}

/* A few small stretches behind many large ones get no huge pages: these would hold more memory than
 * the stretches use. */
static void few_stretches_lie_in_small_pages(void **state)
{
    enum { LARGE = 10, FEW = 500 };
    const char *base = jm_load_relaxed(&jm_region.base);
    char *large[LARGE], *few[FEW];
    size_t count = 0;
    size_t refused = 0;

    (void)state;
    for (size_t i = 0; i < LARGE; i++) {
        bool grows_by_much = i > 0 && large[i - 1] + LARGEST == base + HUGE_FROM;
        if (grows_by_much) { /* refuses growth by HUGE_FROM; a smaller growth still succeeds */
            fake_os_refuse(FAKE_COMMIT, 1, false, ENOMEM);
        }
        large[i] = take(LARGEST);
        refused += fake_os_refused();
        fake_os_reset();
    }
    assert_int_equal(refused, 1);
    do { /* the first ones come from the rest of a lot in front of the large ones */
        few[count++] = take(smallest());
    } while (few[count - 1] < large[LARGE - 1] && count < FEW);
    assert_true(few[count - 1] > large[LARGE - 1]);
    assert_false(has_flag(few[count - 1], " hg"));
    while (count > 0) {
        give(few[--count], smallest());
    }
    for (size_t i = LARGE; i-- > 0;) {
        give(large[i], LARGEST);
    }
}
#endif

/* Takes a row of stretches, checks that they are far apart, and gives them back. */
static void take_row(size_t size)
{
    const size_t apart = size < FAR ? FAR : size;
    char *row[ROW];

    for (size_t i = 0; i < ROW; i++) {
        row[i] = take(size);
        for (size_t j = 0; j < i; j++) {
            const char *low = row[i] < row[j] ? row[i] : row[j];
            const char *high = row[i] < row[j] ? row[j] : row[i];
            assert_true((size_t)(high - low) >= apart);
        }
    }
    for (size_t i = ROW; i-- > 0;) {
        give(row[i], size);
    }
}

static void neighbours_in_time_are_far_apart(void **state)
{
    (void)state;
    for (size_t size = smallest(); size <= LARGEST; size *= 2) {
        take_row(size);
    }
}

/* Even if larger stretches have left the rest of a lot. */
static void the_rest_of_a_lot_is_no_closer(void **state)
{
    const size_t size = 2 * smallest();

    (void)state;
    char *larger = take(size);
    take_row(smallest());
    give(larger, size);
}

/* A lot is used up before another one is begun, in whatever order its stretches are taken. */
static void a_lot_is_used_up(void **state)
{
    const size_t size = 2 * smallest();
    const size_t count = LARGEST / size;
    char *taken[LARGEST / JM_UNIT];
    size_t inside = 0;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        taken[i] = take(size);
        uintptr_t lot = (uintptr_t)taken[0] & ~(LARGEST - 1);
        inside += ((uintptr_t)taken[i] & ~(LARGEST - 1)) == lot;
        for (size_t j = 0; j < i; j++) {
            assert_ptr_not_equal(taken[i], taken[j]);
        }
    }
    assert_int_equal(inside, count);
    for (size_t i = count; i-- > 0;) {
        give(taken[i], size);
    }
}

/* Stretches that were taken in any order are decommitted by one call if they form one piece. */
static void neighbours_are_cleared_together(void **state)
{
    const size_t size = smallest();
    const size_t count = LARGEST / size;
    char *taken[LARGEST / JM_UNIT];
    char *lot = NULL;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        taken[i] = take(size);
        lot = i == 0 || taken[i] < lot ? taken[i] : lot;
        memset(taken[i], 1, size);
        jm_store_relaxed(jm_region_state_of(taken[i]), 7);
    }
    size_t calls = fake_os_calls(FAKE_DECOMMIT);
    assert_true(jm_region_decommit(lot, LARGEST));
    assert_int_equal(fake_os_calls(FAKE_DECOMMIT), calls + 1);
    for (size_t i = count; i-- > 0;) {
        assert_true(taken[i] - lot < (ptrdiff_t)LARGEST);
        assert_int_equal(jm_load_relaxed(jm_region_state_of(taken[i])), 0);
        jm_region_free(taken[i], size);
    }
    assert_ptr_equal(take(size), taken[0]);
    assert_true(bytes_are(taken[0], size, 0));
    give(taken[0], size);
}

#define LIVE 64

static void stretches_are_aligned_disjoint_and_zero(void **state)
{
    struct {
        char *address;
        size_t size;
    } live[LIVE] = {{NULL, 0}};
    struct random random = random_seeded(3);
    size_t metadata = jm_region_metadata();

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        size_t slot = random_below(&random, LIVE);
        char *address = live[slot].address;
        size_t size = live[slot].size;
        if (address != NULL) {
            assert_true(bytes_are(address, 64, (unsigned char)slot));
            assert_true(bytes_are(address + size - 64, 64, (unsigned char)slot));
            jm_store_relaxed(jm_region_state_of(address), 7);
            give(address, size);
            assert_int_equal(jm_load_relaxed(jm_region_state_of(address)), 0);
            live[slot].address = NULL;
            continue;
        }
        size = smallest() << random_below(&random, 7);
        size = size > LARGEST ? LARGEST : size;
        address = take(size);
        assert_int_equal((uintptr_t)address % size, 0);
        assert_true(jm_region_holds(address) && jm_region_holds(address + size - 1));
        assert_true(bytes_are(address, 64, 0) && bytes_are(address + size - 64, 64, 0));
        for (size_t j = 0; j < LIVE; j++) {
            assert_true(live[j].address == NULL || address >= live[j].address + live[j].size ||
                        live[j].address >= address + size);
        }
        memset(address, (int)slot, 64);
        memset(address + size - 64, (int)slot, 64);
        live[slot].address = address;
        live[slot].size = size;
    }
    for (size_t i = 0; i < LIVE; i++) {
        if (live[i].address != NULL) {
            give(live[i].address, live[i].size);
        }
    }
    assert_int_equal(jm_region_metadata(), metadata);
}

/* A header, one byte per granule, and two pointers per unit. */
static void the_tables_count(void **state)
{
    (void)state;
    for (size_t size = smallest(); size <= LARGEST; size *= 2) {
        size_t before = jm_region_metadata();
        char *address = take(size);
        assert_int_equal(jm_region_metadata() - before,
                         JM_HEAD_SIZE + size / 16 + size / JM_UNIT * 2 * sizeof(void *));
        give(address, size);
        assert_int_equal(jm_region_metadata(), before);
    }
}

static void a_refusal_loses_nothing(void **state)
{
    const size_t size = smallest();
    size_t metadata = jm_region_metadata();
    bool has_room = false;

    (void)state;
    char *first = take(size);
    give(first, size);
    fake_os_refuse(FAKE_COMMIT, 1, false, 0);
    assert_null(jm_region_alloc(size, &has_room));
    assert_true(has_room);
    assert_int_equal(fake_os_refused(), 1);
    assert_int_equal(jm_region_metadata(), metadata);
    assert_ptr_equal(take(size), first);
    fake_os_refuse(FAKE_DECOMMIT, 1, false, 0);
    first[5] = 5;
    assert_false(jm_region_decommit(first, size));
    assert_int_equal(first[5], 5);
    fake_os_reset();
    give(first, size);
    assert_int_equal(jm_region_metadata(), metadata);
}

#if defined(__linux__)
static size_t count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    size_t count = 0;

    assert_non_null(maps);
    for (int c; (c = getc(maps)) != EOF;) {
        count += c == '\n';
    }
    assert_int_equal(fclose(maps), 0);
    return count;
}

/* Linux gives a process some 65,000 mappings. A crowd of small tenants must not use up one for
 * every few of them. */
static void many_stretches_are_one_mapping(void **state)
{
    enum { CROWD = 4000 };
    static char *crowd[CROWD];
    size_t mappings = count_mappings();

    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = take(smallest());
        crowd[i][0] = 1;
    }
    assert_true(count_mappings() < mappings + CROWD / 50);
    for (size_t i = CROWD; i-- > 0;) {
        give(crowd[i], smallest());
    }
}

static const char *lot_of(const char *address)
{
    return address - (uintptr_t)address % LARGEST;
}

static bool is_odd(const char *address)
{
    return (uintptr_t)address / smallest() % 2 != 0;
}

/* If many stretches are in use, they lie in huge pages. A lot that is used up gets no new huge
 * pages when some of its stretches are given back. Its other stretches keep their content. */
static void many_stretches_lie_in_huge_pages(void **state)
{
    enum { CROWD = 7000, KEPT = 0x5a };
    static char *crowd[CROWD];
    size_t first = CROWD - 1; /* becomes the index of the last lot's first stretch */
    const bool has_huge = has_huge_pages();

    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = take(smallest());
    }
    while (lot_of(crowd[first - 1]) == lot_of(crowd[CROWD - 1])) {
        first--;
    }
    assert_true(!has_huge || has_flag(crowd[CROWD - 1], " hg"));
    assert_true(!has_huge || has_flag(crowd[first - 1], " nh"));
    for (size_t i = first; i < CROWD; i++) {
        memset(crowd[i], KEPT, smallest());
    }
    for (size_t i = first; i < CROWD; i++) {
        if (is_odd(crowd[i])) {
            assert_true(jm_region_decommit(crowd[i], smallest()));
        }
    }
    for (size_t i = first; i < CROWD; i++) {
        assert_true(bytes_are(crowd[i], smallest(), is_odd(crowd[i]) ? 0 : KEPT));
    }
    for (size_t i = CROWD; i-- > 0;) {
        give(crowd[i], smallest());
    }
}
#endif

/* ---- Last: where the region ends ---- */

/* The whole region. Some machines refuse to commit that much: there, the tests that need it are
 * skipped. */
static char *lots[((size_t)1 << JM_REGION_BITS) / LARGEST];
#define LOTS (sizeof(lots) / sizeof(lots[0]))

static bool has_lot(void)
{
    bool has_room;
    char *lot = jm_region_alloc(LARGEST, &has_room);

    assert_int_equal(lot != NULL, has_room);
    assert_int_equal(has_room, jm_region_has_room());
    if (lot != NULL) {
        assert_int_equal((uintptr_t)lot % LARGEST, 0);
        assert_true(bytes_are(lot, LARGEST, 0));
    }
    return lot != NULL;
}

/* Memory that was cut up small serves large requests before more of the region is used. */
static void what_is_joined_serves_first(void **state)
{
    enum { CROWD = 4000 };
    static char *crowd[CROWD];
    char *highest = NULL;

    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = take(smallest());
        highest = crowd[i] > highest ? crowd[i] : highest;
    }
    for (size_t i = 0; i < CROWD; i++) {
        give(crowd[i], smallest());
    }
    char *large[CROWD * KIB(16) / LARGEST - 1];
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        large[i] = take(LARGEST);
        assert_true(large[i] < highest);
    }
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        give(large[i], LARGEST);
    }
}

/* One stretch in a hundred stays in use. The rest of each lot still serves again, wave after
 * wave. */
static void what_stays_keeps_no_lot_from_use(void **state)
{
    enum { CROWD = 4000, EACH = 100 };
    static char *crowd[CROWD];
    static char *stay[10 * CROWD / EACH];
    size_t staying = 0;
    char *highest = NULL;

    (void)state;
    for (int wave = 0; wave < 9; wave++) {
        size_t size = smallest() << wave % 3;
        size_t count = CROWD >> wave % 3;
        for (size_t i = 0; i < count; i++) {
            crowd[i] = take(size);
            assert_true(wave < 3 || crowd[i] < highest + 3 * LARGEST);
            highest = wave < 3 && crowd[i] > highest ? crowd[i] : highest;
        }
        for (size_t i = 0; i < count; i++) {
            if (i % EACH == 0) {
                stay[staying++] = crowd[i];
            } else {
                give(crowd[i], size);
            }
        }
    }
    staying = 0;
    for (int wave = 0; wave < 9; wave++) {
        for (size_t i = 0; i < (size_t)CROWD >> wave % 3; i += EACH) {
            give(stay[staying++], smallest() << wave % 3);
        }
    }
}

/* Gives back every `step`th piece of a lot from `first` on, never neighbours in succession. */
static void give_pieces(char *lot, size_t first, size_t step)
{
    const size_t count = LARGEST / smallest() / step;

    for (size_t i = 0; i < count; i++) {
        give(lot + (first + i * 7 % count * step) * smallest(), smallest());
    }
}

static void what_the_other_tests_cut_up_is_joined(void **state)
{
    bool has_room = true;
    size_t count = 0;

    (void)state;
    while (count < LOTS && (lots[count] = jm_region_alloc(LARGEST, &has_room)) != NULL) {
        count++;
    }
    if (count < LOTS && has_room) {
        print_message("             left out: this system does not promise as much memory\n");
        lots[0] = NULL;
        skip();
    }
    assert_int_equal(count, LOTS);
    assert_false(has_lot());
    assert_null(jm_region_alloc(smallest(), &has_room));
}

static void what_came_back_in_pieces_is_joined(void **state)
{
    (void)state;
    if (lots[0] == NULL) {
        skip();
    }
    for (size_t i = 0; i < 8; i++) {
        give_pieces(lots[i], 0, 1);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_true(has_lot());
    }
    assert_false(has_lot());
}

static void what_is_taken_again_is_not_joined(void **state)
{
    const size_t pieces = LARGEST / smallest();
    char *taken[5];

    (void)state;
    if (lots[0] == NULL) {
        skip();
    }
    give_pieces(lots[0], 0, 1);
    for (size_t i = 0; i < 5; i++) { /* both lower and upper halves */
        taken[i] = take(smallest());
    }
    give_pieces(lots[1], 0, 1);
    assert_true(has_lot());
    assert_false(has_lot());
    for (size_t i = 5; i < pieces; i++) {
        const char *piece = take(smallest());
        for (size_t j = 0; j < 5; j++) {
            assert_ptr_not_equal(piece, taken[j]);
        }
    }
    assert_false(has_lot());
}

/* Joining looks at all listed pieces, so it waits until an eighth of them was given back. */
static void it_is_joined_again_once_enough_came_back(void **state)
{
    (void)state;
    if (lots[0] == NULL) {
        skip();
    }
    for (size_t i = 0; i < 10; i++) {
        give_pieces(lots[i], 0, 2);
    }
    assert_false(has_lot());
    give_pieces(lots[0], 1, 2); /* one in eleven listed pieces came back */
    assert_false(has_lot());
    give_pieces(lots[1], 1, 2); /* one in six */
    assert_true(has_lot());
    assert_true(has_lot());
    assert_false(has_lot());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rest_of_a_lot_is_no_closer), /* first: no stretch is listed yet */
#if defined(__linux__)
        cmocka_unit_test(few_stretches_lie_in_small_pages), /* before many are in use */
        cmocka_unit_test(
            many_stretches_are_one_mapping), /* first: before the tests that commit more */
        cmocka_unit_test(many_stretches_lie_in_huge_pages),
#endif
        cmocka_unit_test(what_is_joined_serves_first),
        cmocka_unit_test(what_stays_keeps_no_lot_from_use),
        cmocka_unit_test(neighbours_in_time_are_far_apart),
        cmocka_unit_test(a_lot_is_used_up),
        cmocka_unit_test(neighbours_are_cleared_together),
        cmocka_unit_test(stretches_are_aligned_disjoint_and_zero),
        cmocka_unit_test(the_tables_count),
        cmocka_unit_test(a_refusal_loses_nothing),
        cmocka_unit_test(what_the_other_tests_cut_up_is_joined),
        cmocka_unit_test(what_came_back_in_pieces_is_joined),
        cmocka_unit_test(what_is_taken_again_is_not_joined),
        cmocka_unit_test(it_is_joined_again_once_enough_came_back),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
