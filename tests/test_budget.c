/*
 * A host that keeps a limit of its own, in its callback: the heap fills it as it fills the
 * runtime's limit, and asks the host once for each request that there is no room for.
 */
#include "support/heap_check.h"
#include "support/random.h"
#include "support/rig.h"

#include "arena.h"
#include "large.h"

RIG_OF_EACH_TEST
#define HEAP (&rig.heap)

static size_t budget;
static size_t asked; /* bytes of the last request for a block */

static void keep_budget(struct rig *self, unsigned event)
{
    if (event == JM_EVENT_ALLOCATE) {
        asked = self->bytes;
        self->refuse = self->usage + self->bytes > budget;
    }
}

static void set_budget(size_t bytes)
{
    budget = bytes;
    rig.inside = keep_budget;
}

static enum jm_verdict verdict_on(size_t size)
{
    enum jm_verdict verdict = JM_GRANTED;
    return jm_heap_alloc(HEAP, size, &verdict) == NULL ? verdict : JM_GRANTED;
}

/* Allocates until the host refuses. */
static void fill_up(size_t size)
{
    enum jm_verdict verdict;
    while ((verdict = verdict_on(size)) == JM_GRANTED) {
    }
    assert_int_equal(verdict, JM_REFUSED_HOST);
    rig.refuse = false;
    rig_forget(&rig);
}

static void *objects[32768];

/* Fills a budget of 1 MiB with objects of 256 bytes. Returns how many there are. */
static size_t fill_mib(void)
{
    enum jm_verdict verdict = JM_GRANTED;
    size_t count = 0;

    set_budget(MIB(1));
    while ((objects[count] = jm_heap_alloc(HEAP, 256, &verdict)) != NULL) {
        count++;
    }
    fill_up(256);
    return count;
}

/* Allocates until the heap requests a block, which must be granted. Returns the bytes of that
 * request. */
static size_t next_asked(size_t size)
{
    asked = 0;
    while (asked == 0) {
        assert_int_equal(verdict_on(size), JM_GRANTED);
    }
    return asked;
}

/* After a refusal the heap asks for the smallest block. It asks for more once more was granted than
 * had been refused. */
static void less_is_asked_for_after_a_refusal(void **state)
{
    const size_t least = jm_small_block_min();

    (void)state;
    set_budget(MIB(1));
    fill_up(256);
    assert_int_equal(asked, KIB(128));
    fill_up(256);
    assert_true(rig_usage(&rig) > budget - least);
    budget += 2 * least;
    assert_int_equal(next_asked(256), least);
    fill_up(256); /* tries a larger block, as the last was granted */
    assert_int_equal(asked, KIB(128));
    assert_int_equal(next_asked(256), least);
    budget = MIB(16);
    assert_int_equal(next_asked(256), least);
    for (size_t round = 0; round < 20 && next_asked(256) == least; round++) {
    }
    assert_int_equal(asked, KIB(128));
    while (rig_usage(&rig) < MIB(4)) {
        size_t before = asked;
        require(next_asked(256) >= before && asked <= 2 * before, "%zu bytes after %zu", asked,
                before);
    }
    assert_int_equal(asked, KIB(256)); /* an eighth of the usage, rounded down to a power of two */
}

/* Allocates until the heap requests a block, granted or not. Returns the bytes of that request. */
static size_t next_tried(size_t size)
{
    asked = 0;
    while (asked == 0) {
        (void)verdict_on(size);
    }
    return asked;
}

/* The size is halved after each refusal, down to the smallest. It is doubled once more is granted
 * than was refused. */
static void what_is_asked_for_is_halved_and_doubled(void **state)
{
    (void)state;
    set_budget(MIB(16));
    fill_up(256);
    assert_int_equal(asked, MIB(1));
    budget = rig_usage(&rig);
    for (size_t size = MIB(1) / 2; size >= KIB(128); size /= 2) {
        assert_int_equal(next_tried(256), size);
    }
    assert_int_equal(next_tried(256), jm_small_block_min());
    budget = MIB(64);
    while (next_asked(256) < KIB(128)) {
    }
    for (size_t size = KIB(128); size <= MIB(1); size *= 2) {
        assert_int_equal(asked, size);
        (void)next_asked(256);
    }
}

static void each_request_in_vain_is_put_to_the_host_once(void **state)
{
    (void)state;
    set_budget(MIB(1));
    fill_up(256);
    fill_up(256);
    for (size_t size = 16; size <= MIB(4); size *= 4) {
        if (verdict_on(size) == JM_GRANTED) {
            continue; /* some memory was left */
        }
        rig_forget(&rig);
        assert_int_equal(verdict_on(size), JM_REFUSED_HOST);
        assert_log(&rig, "VX"); /* V: rig.refuse is still set from the refusal before */
    }
}

/* If free neighbours can be joined, a request is served without asking the host. */
static void what_is_at_hand_is_looked_for_first(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    size_t count = fill_mib();

    (void)state;
    for (size_t i = 0; i < count / 2; i++) {
        assert_true(jm_heap_free(HEAP, objects[i]));
    }
    rig_forget(&rig);
    for (size_t i = 0; i < 20; i++) {
        assert_non_null(jm_heap_alloc(HEAP, 1000, &verdict));
    }
    assert_log(&rig, "");
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* The kept empty block is given back before the host is asked for another one. */
static void what_is_empty_goes_first(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;
    size_t count = fill_mib();

    (void)state;
    struct jm_block *block = jm_block_of(objects[count / 2]);
    size_t bytes = block->charge;
    for (size_t i = 0; i < count; i++) {
        if (jm_block_of(objects[i]) == block) {
            assert_true(jm_heap_free(HEAP, objects[i]));
        }
    }
    jm_heap_tidy(HEAP);
    assert_log(&rig, "");
    assert_non_null(jm_heap_alloc(HEAP, bytes - JM_PAD, &verdict));
    assert_log(&rig, "FA");
}

/* A refusal of a large request says nothing about small ones. */
static void a_refusal_of_much_is_none_of_little(void **state)
{
    (void)state;
    set_budget(MIB(4));
    assert_int_equal(next_asked(256), jm_small_block_min());
    assert_int_equal(verdict_on(MIB(8)), JM_REFUSED_HOST);
    assert_int_equal(verdict_on(PTRDIFF_MAX / 2), JM_REFUSED_HOST);
    assert_int_equal(next_asked(256), KIB(128));
    fill_up(256);
    fill_up(256);
    while (asked > jm_small_block_min()) {
        fill_up(256);
    }
    assert_int_equal(verdict_on(MIB(8)), JM_REFUSED_HOST); /* nor does it make them ask for more */
    fill_up(256);
    assert_int_equal(asked, jm_small_block_min());
}

/* Skips a test if pages are larger than `page`, and says why. */
static void leave_out_beyond(size_t page, const char *why)
{
    if (jm_os_page_size() > page) {
        print_message("             left out: %s\n", why);
        skip();
    }
}

/* After a refusal, growth in place also asks for no more than it needs. */
static void what_grows_has_what_the_host_allows(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    set_budget(MIB(1));
    leave_out_beyond(KIB(16), "such pages leave no room for an eighth");
    void *object = rig_alloc(&rig, KIB(600));
    assert_null(jm_heap_resize(HEAP, object, KIB(970), &verdict));
    assert_int_equal(verdict, JM_REFUSED_HOST);
    assert_non_null(jm_heap_resize(HEAP, object, KIB(970), &verdict));
}

/* If few objects live, short runs of pages are given back to make room for long ones, as at a
 * limit. */
static void what_is_long_has_room_where_little_lives(void **state)
{
    enum { OBJECTS = 8192 };
    struct random random = random_seeded(6);
    enum jm_verdict verdict = JM_GRANTED;
    size_t served = 0;

    (void)state;
    leave_out_beyond(4096, "of larger pages few have no object");
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = rig_alloc(&rig, 1000);
    }
    set_budget(rig_usage(&rig));
    fill_up(1000);
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_true(random_below(&random, 10) == 0 || jm_heap_free(HEAP, objects[i]));
    }
    jm_heap_tidy(HEAP);
    for (int refusals = 0; refusals < 20;) { /* the first few find the bound */
        bool is_served = jm_heap_alloc(HEAP, KIB(100), &verdict) != NULL;
        served += is_served ? KIB(100) : 0;
        refusals += !is_served;
    }
    require(served > budget / 5 * 2, "%zu of %zu bytes", served, budget);
}

/* A large object gets up to an eighth more than it needs only if the host grants that. */
static void large_objects_have_what_the_host_allows(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    set_budget(MIB(1));
    leave_out_beyond(KIB(16), "such pages leave no room for an eighth");
    assert_int_equal(verdict_on(KIB(970)), JM_REFUSED_HOST);
    assert_true(asked > MIB(1));
    for (size_t round = 0; round < 3; round++) {
        void *object = jm_heap_alloc(HEAP, KIB(970), &verdict);
        assert_non_null(object);
        assert_true(jm_heap_free(HEAP, object));
        jm_heap_tidy(HEAP);
    }
    void *object = rig_alloc(&rig, KIB(600));
    object = jm_heap_resize(HEAP, object, KIB(970), &verdict);
    assert_non_null(object);
    assert_true(rig_usage(&rig) <= budget);
    budget = MIB(4); /* the next grant shows that there is more */
    assert_int_equal(verdict_on(MIB(1)), JM_GRANTED);
    assert_int_equal(verdict_on(KIB(970)), JM_GRANTED);
    assert_true(asked > KIB(1000));
}

/* A grant of all that was not refused shows no more room: the next request, too, asks for no more
 * than it needs. */
static void what_fits_exactly_shows_no_more_room(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    set_budget(128000);
    leave_out_beyond(KIB(4), "with such pages no usage is exactly what was not refused");
    assert_int_equal(verdict_on(83962), JM_REFUSED_HOST); /* 128 KiB */
    void *object = jm_heap_resize(HEAP, rig_alloc(&rig, 2327), 93414, &verdict);
    assert_non_null(object);
    assert_int_equal(verdict_on(20000), JM_GRANTED);
    assert_int_equal(rig_usage(&rig), 128000 / KIB(4) * KIB(4));
    assert_true(jm_heap_free(HEAP, object));
    jm_heap_tidy(HEAP);
    assert_non_null(jm_heap_alloc(HEAP, 93414, &verdict));
}

/* A large object that shrinks does not keep its tail if little room is left. */
static void what_shrinks_leaves_its_end_to_others(void **state)
{
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    set_budget(MIB(2));
    void *object = rig_alloc(&rig, KIB(1000));
    fill_up(KIB(300));
    size_t usage = rig_usage(&rig);
    object = jm_heap_resize(HEAP, object, KIB(850), &verdict);
    assert_non_null(object);
    assert_true(rig_usage(&rig) + KIB(100) < usage);
    assert_int_equal(verdict_on(KIB(90)), JM_GRANTED);
}

/* A budget without room for a block may have room for a hole. */
static void a_hole_is_asked_for_where_a_block_has_no_room(void **state)
{
    const size_t page = jm_os_page_size();
    enum jm_verdict verdict = JM_GRANTED;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = rig_alloc(&rig, 256);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_true(i % 2048 == 0 || jm_heap_free(HEAP, objects[i]));
    }
    jm_heap_collect(HEAP);
    set_budget(rig_usage(&rig));
    fill_up(16);
    leave_out_beyond(jm_small_block_min() - 1, "with such pages a hole is no smaller than a block");
    fill_up(16);
    budget = rig_usage(&rig) + page;
    rig_forget(&rig);
    assert_non_null(jm_heap_alloc(HEAP, 16, &verdict));
    assert_log(&rig, "A");
    assert_int_equal(asked, page);
}

/* A host that refuses large blocks only is not short of memory. Such refusals must cost little: few
 * sweeps, and few pages given back. */
static size_t taste;
static void refuse_large_blocks(struct rig *self, unsigned event)
{
    self->refuse = event == JM_EVENT_ALLOCATE && self->bytes > taste;
}

static void a_host_of_small_taste_costs_little(void **state)
{
    enum { OBJECTS = 16384 };
    struct random random = random_seeded(5);
    enum jm_verdict verdict = JM_GRANTED;
    size_t sweeps = 0;

    (void)state;
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = rig_alloc(&rig, 1000);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (random_below(&random, 3) == 0) {
            assert_true(jm_heap_free(HEAP, objects[i]));
            objects[i] = NULL;
        }
    }
    taste = MIB(1);
    rig.inside = refuse_large_blocks;
    size_t usage = 0; /* after long runs were given back */
    for (size_t round = 0; round < 2000; round++) {
        usage = round == 100 ? rig_usage(&rig) : usage;
        size_t i = random_below(&random, OBJECTS);
        uint32_t cut = HEAP->arena->since_sweep;
        assert_int_equal(verdict_on(MIB(2)), JM_REFUSED_HOST);
        sweeps += HEAP->arena->since_sweep < cut;
        assert_true(objects[i] == NULL || jm_heap_free(HEAP, objects[i]));
        objects[i] = jm_heap_alloc(HEAP, 1000, &verdict);
        assert_non_null(objects[i]);
        rig_forget(&rig);
    }
    require(sweeps <= 20, "%zu sweeps", sweeps);
    require(rig_usage(&rig) > usage / 50 * 49, "%zu of %zu bytes", rig_usage(&rig), usage);
    (void)assert_heap(HEAP, HEAP_LISTS);
}

/* ---- How full it gets ---- */

#define LIVE 8192
static struct {
    void *object;
    size_t size;
} ring[LIVE];

/* Allocates objects at random; the oldest are freed until the next one fits. Returns the live part
 * of `room`, in thousandths. */
static size_t fill_and_turn(size_t room, size_t most)
{
    struct random random = random_seeded(3);
    enum jm_verdict verdict = JM_GRANTED;
    size_t oldest = 0, next = 0, bytes = 0, sum = 0;
    enum { ROUNDS = 30000, COUNTED = 10000 };

    for (size_t round = 0; round < ROUNDS; round++) {
        size_t size = 16 + random_below(&random, most);
        void *object;
        while ((object = jm_heap_alloc(HEAP, size, &verdict)) == NULL) {
            assert_true(oldest < next);
            assert_true(jm_heap_free(HEAP, ring[oldest % LIVE].object));
            bytes -= ring[oldest++ % LIVE].size;
            jm_heap_tidy(HEAP);
            rig_forget(&rig);
        }
        assert_true(next - oldest < LIVE);
        ring[next % LIVE].object = object;
        ring[next++ % LIVE].size = size;
        bytes += size;
        sum += round >= ROUNDS - COUNTED ? bytes / 64 : 0;
    }
    (void)assert_heap(HEAP, HEAP_LISTS);
    return (size_t)((uint64_t)sum * 64 * 1000 / COUNTED / room);
}

static void it_gets_as_full_as_with_a_limit(void **state)
{
    (void)state;
    for (size_t most = 1024; most <= KIB(8); most *= 8) {
        rig_set_limit(&rig, MIB(1));
        size_t by_limit = fill_and_turn(MIB(1), most);
        rig_drop(&rig);
        rig_make(&rig);
        set_budget(MIB(1));
        size_t by_host = fill_and_turn(MIB(1), most);
        rig_drop(&rig);
        rig_make(&rig);
        require(by_limit >= 700, "%zu of a limit live", by_limit);
        require(by_host + 30 >= by_limit, "%zu of what the host allows live, %zu of a limit",
                by_host, by_limit);
    }
}

#define BUDGET_TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BUDGET_TEST(less_is_asked_for_after_a_refusal),
        BUDGET_TEST(what_is_asked_for_is_halved_and_doubled),
        BUDGET_TEST(each_request_in_vain_is_put_to_the_host_once),
        BUDGET_TEST(what_is_at_hand_is_looked_for_first),
        BUDGET_TEST(what_is_empty_goes_first),
        BUDGET_TEST(a_refusal_of_much_is_none_of_little),
        BUDGET_TEST(what_grows_has_what_the_host_allows),
        BUDGET_TEST(what_is_long_has_room_where_little_lives),
        BUDGET_TEST(large_objects_have_what_the_host_allows),
        BUDGET_TEST(what_fits_exactly_shows_no_more_room),
        BUDGET_TEST(what_shrinks_leaves_its_end_to_others),
        BUDGET_TEST(a_hole_is_asked_for_where_a_block_has_no_room),
        BUDGET_TEST(a_host_of_small_taste_costs_little),
        BUDGET_TEST(it_gets_as_full_as_with_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
