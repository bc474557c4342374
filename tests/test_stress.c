/*
 * Threads that interfere with each other, for as long as requested: in each test a few threads
 * work on the same things at random; then the records that they kept are checked.
 *
 * usage: test_stress [--seed N] [--scale N] [--forks N]
 *   --seed   of the random numbers; printed, to repeat a run as far as threads allow (default 1)
 *   --scale  length of the tests, 1 for a few seconds in all (default 1)
 *   --forks  how often a process under load is forked (default 40)
 */
#include "support/child.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t seed = 1;
static size_t scale = 1;
static size_t forks = 40;

/* ---- teams ----------------------------------------------------------------------------------- */

#define LANES 6

/* One thread's part of a test. Lanes with a number of rounds keep the others going until they are
 * through. */
struct lane {
    pthread_t thread;
    struct random random;
    void *shared;
    size_t rounds; /* to do; 0: as long as others have some */
    size_t done, odd;
    int line; /* of the first oddity */
};

static atomic_size_t working;

static void note_odd(struct lane *self, int line)
{
    if (self->odd++ == 0) {
        self->line = line;
    }
}
/* A condition that a lane records if it is false, and the main thread asserts. */
#define FACT(condition) ((condition) ? (void)0 : note_odd(self, __LINE__))

static bool goes_on(struct lane *self)
{
    if (self->rounds == 0) {
        self->done++;
        return atomic_load(&working) > 0;
    }
    if (self->done < self->rounds) {
        self->done++;
        return true;
    }
    (void)atomic_fetch_sub(&working, 1);
    return false;
}

struct part {
    void *(*function)(void *lane);
    size_t rounds;
};

static struct lane lanes[LANES];

/* A further thread now and then stops the lanes by a signal, in the middle of whatever they do. So
 * the others meet them at every point, on one processor too. */
static struct {
    pthread_t thread;
    size_t lanes;
    atomic_bool ends;
} disturber;

static void stop_for_a_moment(int number)
{
    int error = errno;

    (void)number;
    (void)nanosleep(&(struct timespec){0, 1}, NULL);
    errno = error;
}

static void *disturb(void *unused)
{
    struct random random = random_seeded(seed);

    (void)unused;
    while (!atomic_load(&disturber.ends)) {
        (void)pthread_kill(lanes[random_below(&random, disturber.lanes)].thread, SIGUSR2);
        (void)nanosleep(&(struct timespec){0, 20000}, NULL);
    }
    return NULL;
}

/* With `hold`, the main thread counts as working too, until it takes itself off `working`. */
static void start_team(const struct part *parts, size_t count, void *shared, bool hold)
{
    assert_true(count <= LANES);
    atomic_store(&working, 0);
    (void)atomic_fetch_add(&working, hold ? 1 : 0);
    for (size_t i = 0; i < count; i++) {
        lanes[i] = (struct lane){.random = random_seeded(seed * 1000 + i), .shared = shared};
        lanes[i].rounds = parts[i].rounds * scale;
        (void)atomic_fetch_add(&working, parts[i].rounds != 0 ? 1 : 0);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&lanes[i].thread, NULL, parts[i].function, &lanes[i]), 0);
    }
    disturber.lanes = count;
    atomic_store(&disturber.ends, false);
    assert_int_equal(pthread_create(&disturber.thread, NULL, disturb, NULL), 0);
}

static void end_team(size_t count)
{
    while (atomic_load(&working) > 0) {
        (void)nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    atomic_store(&disturber.ends, true);
    (void)pthread_join(disturber.thread, NULL); /* first: the threads that it signals must exist */
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(lanes[i].thread, NULL);
    }
    for (size_t i = 0; i < count; i++) {
        require(lanes[i].odd == 0, "lane %zu: %zu oddities in %zu rounds, the first in line %d", i,
                lanes[i].odd, lanes[i].done, lanes[i].line);
        require(lanes[i].done > 0, "lane %zu did nothing", i);
    }
}

static void run_team(const struct part *parts, size_t count, void *shared)
{
    start_team(parts, count, shared, false);
    end_team(count);
}

/* ---- reads against create and dispose -------------------------------------------------------- */

#define SHOWN 8

/* A runtime's limit and usage identify it: a read must never see another runtime's. Each of the two
 * lanes that replace runtimes has its own places. */
struct shown {
    _Atomic(JsRuntimeHandle) handles[SHOWN];
    atomic_size_t limits[SHOWN], usages[SHOWN];
    atomic_size_t numbers;
};

#define SHOWN_LIMIT MIB(64)

static void *replace_runtimes(void *argument)
{
    struct lane *self = argument;
    struct shown *shown = self->shared;

    while (goes_on(self)) {
        JsRuntimeHandle runtime = NULL;
        size_t usage = 0;
        size_t limit = SHOWN_LIMIT + atomic_fetch_add(&shown->numbers, 1);
        size_t place = 2 * random_below(&self->random, SHOWN / 2) + (size_t)(self - lanes) % 2;

        FACT(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
        FACT(JsSetRuntimeMemoryLimit(runtime, limit) == JsNoError);
        /* One block, so the usage stays the same until the dispose, and is then 0. */
        FACT(jsrtmem_alloc(runtime, KIB(64) + limit % 61 * KIB(64)) != NULL);
        FACT(JsGetRuntimeMemoryUsage(runtime, &usage) == JsNoError && usage > 0);
        atomic_store(&shown->limits[place], 0);
        runtime = atomic_exchange(&shown->handles[place], runtime);
        atomic_store(&shown->usages[place], usage);
        atomic_store(&shown->limits[place], limit);
        FACT(runtime == NULL || JsDisposeRuntime(runtime) == JsNoError);
    }
    return NULL;
}

static void *read_runtimes(void *argument)
{
    struct lane *self = argument;
    struct shown *shown = self->shared;

    while (goes_on(self)) {
        size_t place = random_below(&self->random, SHOWN);
        size_t wanted = atomic_load(&shown->limits[place]);
        size_t held = atomic_load(&shown->usages[place]);
        JsRuntimeHandle runtime = atomic_load(&shown->handles[place]);
        bool same = atomic_load(&shown->limits[place]) == wanted && wanted != 0;
        jsrtmem_stats stats = {.struct_size = sizeof(stats)};
        size_t usage = 1;
        size_t limit = 1;

        if (random_chance(&self->random, 10)) {
            (void)sched_yield(); /* another runtime may take the place before the reads */
        }
        JsErrorCode code = JsGetRuntimeMemoryUsage(runtime, &usage);
        FACT(code == JsNoError ? usage % page_size() == 0 && usage <= SHOWN_LIMIT
                               : code == JsErrorInvalidArgument && usage == 1);
        FACT(code != JsNoError || !same || usage == held || usage == 0);
        code = JsGetRuntimeMemoryLimit(runtime, &limit);
        FACT(code == JsNoError ? limit >= SHOWN_LIMIT
                               : code == JsErrorInvalidArgument && limit == 1);
        FACT(code != JsNoError || !same || limit == wanted);
        code = jsrtmem_get_stats(runtime, &stats);
        FACT(code == JsNoError ? stats.limit == limit || limit == 1
                               : code == JsErrorInvalidArgument);
        FACT(code != JsNoError || !same || stats.usage == held || stats.usage == 0);
        FACT(code != JsNoError || stats.usage <= stats.peak_usage || stats.usage == 0);
    }
    return NULL;
}

static void reads_see_their_own_runtime(void **state)
{
    static struct shown shown;
    static const struct part parts[] = {{replace_runtimes, 10000},
                                        {replace_runtimes, 10000},
                                        {read_runtimes, 0},
                                        {read_runtimes, 0}};
    size_t before = process_stats().runtimes;

    (void)state;
    run_team(parts, COUNT_OF(parts), &shown);
    for (size_t i = 0; i < SHOWN; i++) {
        JsRuntimeHandle runtime = atomic_exchange(&shown.handles[i], NULL);

        if (runtime != NULL) {
            dispose(runtime);
        }
    }
    assert_int_equal(process_stats().runtimes, before);
}

/* ---- frees from elsewhere -------------------------------------------------------------------- */

#define CELLS 256

/* Objects on their way from the owner to the threads that free them. The first bytes hold the
 * object's size. */
struct market {
    JsRuntimeHandle runtime;
    _Atomic(unsigned char *) cells[CELLS];
};

static void *make_objects(void *argument)
{
    struct lane *self = argument;
    struct market *market = self->shared;

    FACT(jsrtmem_enter(market->runtime) == JsNoError);
    while (goes_on(self)) {
        size_t size = 16 + random_size(&self->random, random_chance(&self->random, 3) ? 19 : 11);
        unsigned char *object = jsrtmem_alloc(market->runtime, size);

        FACT(object != NULL);
        if (object == NULL) {
            continue;
        }
        pattern_fill(object, size, size);
        memcpy(object, &size, sizeof(size));
        object = atomic_exchange(&market->cells[random_below(&self->random, CELLS)], object);
        FACT(object == NULL || jsrtmem_free(object) == JsNoError);
        if (self->done % 997 == 0) {
            FACT(JsCollectGarbage(market->runtime) == JsNoError);
        }
    }
    FACT(jsrtmem_leave(market->runtime) == JsNoError);
    return NULL;
}

static void free_checked(struct lane *self, unsigned char *object)
{
    size_t size;

    memcpy(&size, object, sizeof(size));
    FACT(jsrtmem_usable_size(object) >= size);
    FACT(object[size - 1] == pattern_byte(size, size - 1));
    FACT(object[size / 2 + 4] == pattern_byte(size, size / 2 + 4));
    FACT(jsrtmem_free(object) == JsNoError);
}

static void *free_objects(void *argument)
{
    struct lane *self = argument;
    struct market *market = self->shared;

    while (goes_on(self)) {
        size_t cell = random_below(&self->random, CELLS);
        unsigned char *object = atomic_exchange(&market->cells[cell], NULL);

        if (object != NULL) {
            free_checked(self, object);
        }
    }
    return NULL;
}

/* Disposes runtimes whose blocks are neighbours of those that other threads free into. */
static void *make_and_dispose(void *argument)
{
    struct lane *self = argument;

    while (goes_on(self)) {
        JsRuntimeHandle runtime = NULL;

        FACT(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
        for (size_t i = random_below(&self->random, 30); i > 0; i--) {
            size_t size = random_size(&self->random, 16);
            unsigned char *object = jsrtmem_alloc(runtime, size);

            FACT(object != NULL);
            if (object != NULL) {
                memset(object, 0xee, size);
            }
        }
        FACT(JsDisposeRuntime(runtime) == JsNoError);
    }
    return NULL;
}

static void frees_race_with_the_owner_and_with_disposes(void **state)
{
    static struct market market;
    static struct host host;
    static const struct part parts[] = {
        {make_objects, 60000}, {free_objects, 0}, {free_objects, 0}, {make_and_dispose, 0}};

    (void)state;
    market.runtime = host_new_runtime(&host);
    run_team(parts, COUNT_OF(parts), &market);
    for (size_t i = 0; i < CELLS; i++) {
        if (market.cells[i] != NULL) {
            assert_ok(jsrtmem_free(market.cells[i]));
            market.cells[i] = NULL;
        }
    }
    assert_ok(JsCollectGarbage(market.runtime));
    assert_balanced(&host);
    assert_int_equal(stats_of(market.runtime).live_objects, 0);
    assert_int_equal(usage_of(market.runtime), 0);
    dispose(market.runtime);
    assert_all_freed(&host);
}

/* ---- frees of what may be gone
 * ---------------------------------------------------------------- */

#define RUMOURS 64

/* Pointers that any thread may free, whether or not another one did before, while the blocks that
 * they point into pass from runtime to runtime. */
struct rumours {
    _Atomic(void *) pointers[RUMOURS];
};

static void *make_and_free_twice(void *argument)
{
    struct lane *self = argument;
    struct rumours *rumours = self->shared;

    while (goes_on(self)) {
        JsRuntimeHandle runtime = NULL;
        JsErrorCode code;

        FACT(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
        FACT(jsrtmem_enter(runtime) == JsNoError);
        for (size_t i = 0; i < 200; i++) {
            size_t size =
                16 + random_size(&self->random, random_chance(&self->random, 10) ? 17 : 9);
            void *object = jsrtmem_alloc(runtime, size);

            FACT(object != NULL);
            atomic_store(&rumours->pointers[random_below(&self->random, RUMOURS)], object);
            if (random_chance(&self->random, 30)) {
                (void)jsrtmem_free(object);
            }
            if (random_chance(&self->random, 1)) {
                FACT(JsCollectGarbage(runtime) == JsNoError);
            }
        }
        FACT(jsrtmem_leave(runtime) == JsNoError);
        while ((code = JsDisposeRuntime(runtime)) == JsErrorRuntimeInUse) {
            (void)sched_yield(); /* another thread is freeing in it */
        }
        FACT(code == JsNoError);
    }
    return NULL;
}

static void *free_by_hearsay(void *argument)
{
    struct lane *self = argument;
    struct rumours *rumours = self->shared;

    while (goes_on(self)) {
        void *object = atomic_load(&rumours->pointers[random_below(&self->random, RUMOURS)]);
        JsErrorCode code = jsrtmem_free(object);
        FACT(code == JsNoError || code == JsErrorInvalidArgument);
    }
    return NULL;
}

/* Through an old pointer to the same address, another thread may free an object before its owner
 * gets it. The owner gets memory that was cleared before that. */
static void *make_large_zeros(void *argument)
{
    struct lane *self = argument;
    struct rumours *rumours = self->shared;
    JsRuntimeHandle runtime = NULL;

    FACT(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    while (goes_on(self)) {
        void *object = jsrtmem_calloc(runtime, 1, 300000);

        FACT(object != NULL);
        atomic_store(&rumours->pointers[random_below(&self->random, RUMOURS)], object);
        (void)jsrtmem_free(object);
    }
    FACT(JsCollectGarbage(runtime) == JsNoError);
    FACT(JsDisposeRuntime(runtime) == JsNoError);
    return NULL;
}

static void large_objects_may_be_freed_before_they_are_had(void **state)
{
    static struct rumours rumours;
    static const struct part parts[] = {{make_large_zeros, 20000}, {free_by_hearsay, 0}};

    (void)state;
    run_team(parts, COUNT_OF(parts), &rumours);
}

static void frees_of_what_may_be_gone_harm_no_bystander(void **state)
{
    enum { OBJECTS = 500, SIZE = 300 };
    static struct rumours rumours;
    static unsigned char *objects[OBJECTS];
    static const struct part parts[] = {{make_and_free_twice, 300},
                                        {make_and_free_twice, 300},
                                        {free_by_hearsay, 0},
                                        {free_by_hearsay, 0}};
    size_t limit = process_stats().reserve_limit;

    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        assert_ok(jsrtmem_set_reserve_limit(
            kept != 0 ? MIB(32) : 0)); /* blocks go to the OS, or are handed on */
        JsRuntimeHandle bystander = new_runtime();
        for (size_t i = 0; i < OBJECTS; i++) {
            objects[i] = new_object(bystander, SIZE);
            pattern_fill(objects[i], SIZE, i);
        }
        run_team(parts, COUNT_OF(parts), &rumours);
        print_message("             %zu frees by hearsay\n", lanes[2].done + lanes[3].done);
        for (size_t i = 0; i < OBJECTS; i++) {
            require(pattern_holds(objects[i], SIZE, i), "object %zu has changed", i);
            assert_ok(jsrtmem_free(objects[i]));
        }
        assert_ok(JsCollectGarbage(bystander));
        assert_int_equal(stats_of(bystander).live_objects, 0);
        assert_int_equal(usage_of(bystander), 0);
        dispose(bystander);
        memset(&rumours, 0, sizeof(rumours));
    }
    assert_ok(jsrtmem_set_reserve_limit(limit));
}

/* ---- callbacks that are swapped -------------------------------------------------------------- */

#define STATES 32

/* The life of a callback's state: in use from before it is set until the setter that replaces it
 * has returned. */
struct swap_state {
    atomic_bool alive;
    atomic_size_t calls, late;
    unsigned char kind;
};

struct swap {
    JsRuntimeHandle runtime;
    struct swap_state states[STATES];
};

static bool note_call(void *state, unsigned char kind)
{
    struct swap_state *self = state;

    (void)atomic_fetch_add(&self->calls, 1);
    if (!atomic_load(&self->alive) || self->kind != kind) {
        (void)atomic_fetch_add(&self->late, 1);
    }
    (void)sched_yield();
    if (!atomic_load(&self->alive)) {
        (void)atomic_fetch_add(&self->late, 1);
    }
    return true;
}

static bool CHAKRA_CALLBACK even_callback(void *state, JsMemoryEventType event, size_t size)
{
    (void)event, (void)size;
    return note_call(state, 0);
}

static bool CHAKRA_CALLBACK odd_callback(void *state, JsMemoryEventType event, size_t size)
{
    (void)event, (void)size;
    return note_call(state, 1);
}

static size_t calls_of(struct swap *swap)
{
    size_t calls = 0;
    for (size_t i = 0; i < STATES; i++) {
        calls += atomic_load(&swap->states[i].calls);
    }
    return calls;
}

static void *cause_events(void *argument)
{
    struct lane *self = argument;
    struct swap *swap = self->shared;

    /* Until there was a call: the other lane may lose its processor. */
    while (calls_of(swap) == 0 || goes_on(self)) {
        void *object = jsrtmem_alloc(swap->runtime, MIB(1) + random_below(&self->random, MIB(1)));

        FACT(object != NULL && jsrtmem_free(object) == JsNoError);
    }
    return NULL;
}

static void *swap_callbacks(void *argument)
{
    struct lane *self = argument;
    struct swap *swap = self->shared;
    struct swap_state *last = &swap->states[0]; /* already in use */

    for (size_t i = 1; goes_on(self); i++) {
        struct swap_state *next = i % 5 == 4 ? NULL : &swap->states[i % STATES];
        JsMemoryAllocationCallback function = i % 2 == 0 ? even_callback : odd_callback;

        if (next != NULL) {
            next->kind = i % 2;
            atomic_store(&next->alive, true);
        }
        FACT(JsSetRuntimeMemoryAllocationCallback(swap->runtime, next,
                                                  next == NULL ? NULL : function) == JsNoError);
        if (last != NULL) {
            atomic_store(&last->alive, false);
        }
        last = next;
    }
    return NULL;
}

static void a_replaced_callback_is_out_of_use(void **state)
{
    static struct swap swap;
    static const struct part parts[] = {{cause_events, 4000}, {swap_callbacks, 0}};
    size_t late = 0;

    (void)state;
    swap.runtime = new_runtime();
    atomic_store(&swap.states[0].alive, true); /* as if swap_callbacks had set it */
    assert_ok(JsSetRuntimeMemoryAllocationCallback(swap.runtime, &swap.states[0], even_callback));
    run_team(parts, COUNT_OF(parts), &swap);
    for (size_t i = 0; i < STATES; i++) {
        late += atomic_load(&swap.states[i].late);
    }
    assert_int_equal(late, 0);
    assert_ok(JsSetRuntimeMemoryAllocationCallback(swap.runtime, NULL, NULL));
    dispose(swap.runtime);
}

/* ---- limits that change ---------------------------------------------------------------------- */

#define HIGH_LIMIT MIB(4)

struct growth {
    JsRuntimeHandle runtime;
    struct host host;
    atomic_size_t resets; /* resets of the peak; odd during one */
};

/* The peak is never below the usage, except perhaps during a reset. */
static bool peak_is_right(struct growth *growth)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    size_t resets = atomic_load(&growth->resets);
    bool read = jsrtmem_get_stats(growth->runtime, &stats) == JsNoError;

    return read && (stats.usage <= stats.peak_usage || resets % 2 != 0 ||
                    atomic_load(&growth->resets) != resets);
}

static void *grow_and_shrink(void *argument)
{
    struct lane *self = argument;
    struct growth *growth = self->shared;
    JsRuntimeHandle runtime = growth->runtime;
    unsigned char *objects[16] = {NULL};
    size_t sizes[16] = {0};
    size_t granted = 0;

    while (goes_on(self)) {
        size_t i = random_below(&self->random, 16);
        size_t size = random_size(&self->random, 22);
        size_t kept = size < sizes[i] ? size : sizes[i];
        size_t usage = 0;
        unsigned char *object = jsrtmem_realloc(runtime, objects[i], size);

        host_settle(&growth->host);
        if (object == NULL) {
            FACT(last_reason() == JSRTMEM_REFUSAL_LIMIT);
        } else {
            FACT(sizes[i] == 0 || (object[0] == (unsigned char)i &&
                                   object[kept - 1] == (kept == sizes[i] ? i : object[kept - 1])));
            objects[i] = object;
            sizes[i] = size;
            object[size - 1] = (unsigned char)i;
            object[0] = (unsigned char)i;
            granted++;
        }
        if (random_chance(&self->random, 30)) {
            FACT(jsrtmem_free(objects[i]) == JsNoError);
            objects[i] = NULL;
            sizes[i] = 0;
        }
        FACT(JsGetRuntimeMemoryUsage(runtime, &usage) == JsNoError && usage <= HIGH_LIMIT);
        FACT(peak_is_right(growth));
    }
    for (size_t i = 0; i < 16; i++) {
        FACT(jsrtmem_free(objects[i]) == JsNoError);
    }
    FACT(granted > 0);
    return NULL;
}

static void *change_limit(void *argument)
{
    struct lane *self = argument;
    struct growth *growth = self->shared;

    while (goes_on(self)) {
        size_t limit =
            random_chance(&self->random, 50) ? HIGH_LIMIT : random_below(&self->random, HIGH_LIMIT);
        size_t peak = random_below(&self->random, 8);

        FACT(JsSetRuntimeMemoryLimit(growth->runtime, limit) == JsNoError);
        if (peak < 4) {
            (void)atomic_fetch_add(&growth->resets, 1);
            FACT(jsrtmem_reset_peak(growth->runtime) == JsNoError);
            (void)atomic_fetch_add(&growth->resets, 1);
        }
    }
    return NULL;
}

static void limits_change_against_growth(void **state)
{
    static struct growth growth;
    static const struct part parts[] = {{grow_and_shrink, 6000}, {change_limit, 0}};
    JsRuntimeHandle runtime = host_new_runtime(&growth.host);

    (void)state;
    growth.runtime = runtime;
    growth.host.limit_may_race = true;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, HIGH_LIMIT));
    run_team(parts, COUNT_OF(parts), &growth);
    assert_balanced(&growth.host);
    jsrtmem_stats stats = stats_of(runtime);
    assert_true(stats.usage <= stats.peak_usage && stats.peak_usage <= HIGH_LIMIT);
    assert_true(stats.failure_events > 0);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    dispose(runtime);
    assert_all_freed(&growth.host);
}

/* ---- entering -------------------------------------------------------------------------------- */

struct door {
    JsRuntimeHandle runtime;
    atomic_uint inside;
    size_t plain; /* not atomic: changed by the thread that is inside */
    atomic_size_t entered;
};

static void *contend(void *argument)
{
    struct lane *self = argument;
    struct door *door = self->shared;

    while (goes_on(self)) {
        JsErrorCode code = jsrtmem_enter(door->runtime);
        if (code == JsNoError) {
            FACT(atomic_fetch_add(&door->inside, 1) == 0);
            door->plain++;
            void *object = jsrtmem_alloc(door->runtime, random_size(&self->random, 14));
            FACT(object != NULL && jsrtmem_free(object) == JsNoError);
            (void)atomic_fetch_add(&door->entered, 1);
            FACT(atomic_fetch_sub(&door->inside, 1) == 1);
            FACT(jsrtmem_leave(door->runtime) == JsNoError);
        } else {
            FACT(code == JsErrorWrongThread);
            void *object = jsrtmem_alloc(door->runtime, random_size(&self->random, 14));
            FACT(object == NULL ? last_reason() == JSRTMEM_REFUSAL_THREAD
                                : jsrtmem_free(object) == JsNoError);
        }
    }
    return NULL;
}

static void one_thread_at_a_time_is_inside(void **state)
{
    static struct door door;
    static const struct part parts[] = {
        {contend, 15000}, {contend, 15000}, {contend, 15000}, {contend, 15000}};

    (void)state;
    door.runtime = new_runtime();
    run_team(parts, COUNT_OF(parts), &door);
    assert_true(door.entered > 0);
    assert_int_equal(door.plain, door.entered);
    assert_int_equal(stats_of(door.runtime).live_objects, 0);
    dispose(door.runtime);
}

/* ---- threads that exit ----------------------------------------------------------------------- */

#define HOMES 4

struct homes {
    JsRuntimeHandle runtimes[HOMES];
    atomic_size_t left; /* objects that were left behind */
};

/* The thread exits as it is: entered, several levels deep, with live objects. */
static void *exit_entered(void *argument)
{
    struct lane *self = argument;
    struct homes *homes = self->shared;

    for (size_t i = random_below(&self->random, 8) + 1; i > 0; i--) {
        JsRuntimeHandle runtime = homes->runtimes[random_below(&self->random, HOMES)];
        JsErrorCode code = jsrtmem_enter(runtime);
        unsigned char *object;

        FACT(code == JsNoError || code == JsErrorWrongThread);
        object = jsrtmem_alloc(runtime, random_size(&self->random, 13));
        FACT(object != NULL || (code != JsNoError && last_reason() == JSRTMEM_REFUSAL_THREAD));
        (void)atomic_fetch_add(&homes->left, object != NULL ? 1 : 0);
    }
    self->done++;
    (void)atomic_fetch_sub(&working, 1);
    return NULL;
}

static void exits_leave_what_was_entered(void **state)
{
    static struct homes homes;
    static const struct part parts[] = {
        {exit_entered, 1}, {exit_entered, 1}, {exit_entered, 1}, {exit_entered, 1}};
    size_t objects = 0;
    uint64_t first = seed;

    (void)state;
    for (size_t i = 0; i < HOMES; i++) {
        homes.runtimes[i] = new_runtime();
    }
    for (size_t round = 0; round < 150 * scale; round++) {
        run_team(parts, COUNT_OF(parts), &homes);
        seed++; /* uses other numbers in the next round */
    }
    seed = first;
    for (size_t i = 0; i < HOMES; i++) {
        assert_ok(jsrtmem_enter(homes.runtimes[i]));
        objects += stats_of(homes.runtimes[i]).live_objects;
        assert_ok(jsrtmem_leave(homes.runtimes[i]));
        dispose(homes.runtimes[i]);
    }
    assert_int_equal(objects, atomic_load(&homes.left));
}

/* ---- forks under load ------------------------------------------------------------------------ */

struct load {
    struct market market;
    JsRuntimeHandle idle;
    unsigned char *object; /* belongs to the idle runtime */
};

static int be_child(void *argument)
{
    struct load *load = argument;
    JsRuntimeHandle runtime = NULL;
    jsrtmem_process_stats before = {.struct_size = sizeof(before)};

    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    for (size_t size = 1; size < MIB(2); size *= 5) {
        unsigned char *object = jsrtmem_calloc(runtime, 1, size);
        CHILD_CHECK(object != NULL && bytes_are(object, size, 0));
        CHILD_CHECK(jsrtmem_realloc(runtime, object, 2 * size) != NULL);
    }
    CHILD_CHECK(pattern_holds(load->object, 1000, 5));
    CHILD_CHECK(jsrtmem_free(load->object) == JsNoError);
    CHILD_CHECK(jsrtmem_alloc(load->idle, 100000) != NULL);
    CHILD_CHECK(JsDisposeRuntime(load->idle) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(load->market.runtime) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&before) == JsNoError);
    return 0;
}

static void children_of_a_process_under_load_work(void **state)
{
    static struct load load;
    static const struct part parts[] = {
        {make_objects, 0}, {free_objects, 0}, {make_and_dispose, 0}};
    int result = 0;
    size_t done = 0;

    (void)state;
    load.market.runtime = new_runtime();
    load.idle = new_runtime();
    load.object = new_object(load.idle, 1000);
    pattern_fill(load.object, 1000, 5);
    start_team(parts, COUNT_OF(parts), &load.market, true);
    for (; done < forks && result == 0; done++) {
        result = child_run(be_child, &load);
    }
    (void)atomic_fetch_sub(&working, 1);
    end_team(COUNT_OF(parts));
    require(result == 0, "child %zu of %zu gave %d", done, forks, result);
    assert_true(pattern_holds(load.object, 1000, 5));
    for (size_t i = 0; i < CELLS; i++) {
        assert_ok(jsrtmem_free(atomic_exchange(&load.market.cells[i], NULL)));
    }
    assert_ok(JsCollectGarbage(load.market.runtime));
    assert_int_equal(stats_of(load.market.runtime).live_objects, 0);
    dispose(load.market.runtime);
    dispose(load.idle);
    print_message("             %zu forks\n", done);
}

/* ---- a signal handler ------------------------------------------------------------------------ */

static JsRuntimeHandle watched;
static atomic_size_t signals, odd_signals;

static void read_in_handler(int number)
{
    size_t usage = 1;
    size_t limit = 0;

    (void)number;
    if (JsGetRuntimeMemoryUsage(watched, &usage) != JsNoError || usage % 4096 != 0 ||
        JsGetRuntimeMemoryLimit(watched, &limit) != JsNoError || limit != MIB(512)) {
        (void)atomic_fetch_add(&odd_signals, 1);
    }
    (void)atomic_fetch_add(&signals, 1);
}

static void *be_interrupted(void *argument)
{
    struct lane *self = argument;

    while (goes_on(self)) {
        void *object = jsrtmem_alloc(watched, KIB(40) + random_size(&self->random, 17));
        JsRuntimeHandle runtime = NULL;

        for (int i = 0; i < 16; i++) { /* a read that waited for a lock would hang */
            FACT(JsSetRuntimeMemoryLimit(watched, MIB(512)) == JsNoError);
        }
        FACT(object != NULL && jsrtmem_free(object) == JsNoError);
        FACT(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
        FACT(jsrtmem_alloc(runtime, 100) != NULL);
        FACT(JsDisposeRuntime(runtime) == JsNoError);
    }
    return NULL;
}

static void a_signal_handler_reads_usage(void **state)
{
    struct sigaction action = {.sa_handler = read_in_handler, .sa_flags = SA_RESTART};
    struct sigaction before;
    static const struct part parts[] = {{be_interrupted, 0}, {be_interrupted, 0}};

    (void)state;
    watched = new_runtime();
    assert_ok(JsSetRuntimeMemoryLimit(watched, MIB(512)));
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    start_team(parts, COUNT_OF(parts), NULL, true);
    for (size_t i = 0; i < 2000 * scale; i++) {
        (void)pthread_kill(lanes[i % 2].thread, SIGUSR1);
        (void)sched_yield();
    }
    (void)atomic_fetch_sub(&working, 1);
    end_team(COUNT_OF(parts));
    (void)sigaction(SIGUSR1, &before, NULL);
    assert_true(atomic_load(&signals) > 0);
    assert_int_equal(atomic_load(&odd_signals), 0);
    dispose(watched);
}

/* ---- the list of tests ----------------------------------------------------------------------- */

static bool read_option(char **argv, const char *name, uint64_t *value)
{
    char *end = NULL;

    if (strcmp(argv[0], name) != 0 || argv[1] == NULL) {
        return false;
    }
    *value = strtoull(argv[1], &end, 10);
    return *end == '\0';
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_see_their_own_runtime),
        cmocka_unit_test(frees_race_with_the_owner_and_with_disposes),
        cmocka_unit_test(large_objects_may_be_freed_before_they_are_had),
        cmocka_unit_test(frees_of_what_may_be_gone_harm_no_bystander),
        cmocka_unit_test(a_replaced_callback_is_out_of_use),
        cmocka_unit_test(limits_change_against_growth),
        cmocka_unit_test(one_thread_at_a_time_is_inside),
        cmocka_unit_test(exits_leave_what_was_entered),
        cmocka_unit_test(children_of_a_process_under_load_work),
        cmocka_unit_test(a_signal_handler_reads_usage),
    };

    for (int i = 1; i < argc; i += 2) {
        uint64_t value = 0;
        if (read_option(argv + i, "--seed", &seed)) {
            continue;
        }
        if (read_option(argv + i, "--scale", &value)) {
            scale = (size_t)value;
        } else if (read_option(argv + i, "--forks", &value)) {
            forks = (size_t)value;
        } else {
            (void)fprintf(stderr, "usage: test_stress [--seed N] [--scale N] [--forks N]\n");
            return 2;
        }
    }
    struct sigaction action = {.sa_handler = stop_for_a_moment, .sa_flags = SA_RESTART};
    if (sigaction(SIGUSR2, &action, NULL) != 0) {
        return 1;
    }
    print_message("stress: --seed %llu --scale %zu --forks %zu\n", (unsigned long long)seed, scale,
                  forks);
    return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}
