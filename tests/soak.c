/*
 * Tenants that come, grow, shrink, are refused and go, for as long as requested. Afterwards the
 * process is as before: usage, resident memory and mappings are back where they were.
 *
 * usage: soak [--seconds N | --rounds N] [--seed N]
 *   --rounds   number of rounds (default 300); a round has a few hundred operations per thread
 *   --seconds  runs rounds until N seconds have passed: 600 for ten minutes
 *   --seed     seed of the random numbers; printed (default 1)
 *
 * Prints a line of progress if the output is a terminal.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "jsrtmem.h"
#include "support/random.h"

#define THREADS 3
#define TENANTS 6 /* per thread */
#define OBJECTS 300
#define WARM_ROUNDS 10
#define OPERATIONS 400

/* How far resident memory and the number of mappings may rise above the base. A sanitizer build
 * defines larger values, as sanitizers keep memory of their own. Blocks of each of three sizes are
 * cut far apart from 4 MiB of addresses. Half used, these are 32 mappings, which stay and are used
 * again. As many are allowed for all other memory. */
#if !defined(RSS_SLACK)
#define RSS_SLACK ((size_t)4 << 20)
#define MAPPING_SLACK ((size_t)(3 + 1) * 32)
#endif

struct object {
    unsigned char *bytes;
    size_t size;
};

struct tenant {
    JsRuntimeHandle runtime;
    size_t balance, pending; /* according to the events */
    struct random *random;
    bool vetoes;
    size_t count;
    struct object objects[OBJECTS];
};

struct lane {
    struct random random;
    struct tenant tenants[TENANTS];
    size_t operations, refusals, events;
    const char *fault;
};

static struct lane lanes[THREADS];

#define FACT(lane, condition)                        \
    do {                                             \
        if (!(condition) && (lane)->fault == NULL) { \
            (lane)->fault = #condition;              \
        }                                            \
    } while (0)

static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType event, size_t size)
{
    struct tenant *self = state;
    bool answer = true;

    if (event == JsMemoryAllocate) {
        self->balance += self->pending;
        answer = !self->vetoes || random_chance(self->random, 60);
        self->pending = answer ? size : 0;
    } else if (event == JsMemoryFailure) {
        self->pending = 0; /* the failed one: earlier ones were settled after each operation */
    } else {
        self->balance += self->pending - size;
        self->pending = 0;
    }
    return answer;
}

static void settle(struct lane *lane, struct tenant *self)
{
    size_t usage = 0;

    self->balance += self->pending;
    self->pending = 0;
    lane->operations++;
    FACT(lane, JsGetRuntimeMemoryUsage(self->runtime, &usage) == JsNoError);
    FACT(lane, usage == self->balance);
}

static void start_tenant(struct lane *lane, struct tenant *self)
{
    memset(self, 0, sizeof(*self));
    self->random = &lane->random;
    self->vetoes = random_chance(&lane->random, 20);
    FACT(lane, JsCreateRuntime(JsRuntimeAttributeNone, NULL, &self->runtime) == JsNoError);
    if (random_chance(&lane->random, 50)) {
        size_t limit = random_size(&lane->random, 25);
        FACT(lane, JsSetRuntimeMemoryLimit(self->runtime, limit) == JsNoError);
    }
    FACT(lane, JsSetRuntimeMemoryAllocationCallback(self->runtime, self, on_event) == JsNoError);
}

static void end_tenant(struct lane *lane, struct tenant *self)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};

    FACT(lane, jsrtmem_get_stats(self->runtime, &stats) == JsNoError);
    lane->events += (size_t)(stats.allocate_events + stats.free_events + stats.failure_events);
    FACT(lane, JsDisposeRuntime(self->runtime) == JsNoError);
    FACT(lane, self->balance + self->pending == 0);
    self->runtime = NULL;
}

static size_t size_for(struct lane *lane)
{
    return random_size(&lane->random, random_chance(&lane->random, 4) ? 21 : 12);
}

static void grow(struct lane *lane, struct tenant *self)
{
    for (size_t i = random_below(&lane->random, 60); i > 0 && self->count < OBJECTS; i--) {
        struct object object = {NULL, size_for(lane)};

        object.bytes = jsrtmem_alloc(self->runtime, object.size);
        settle(lane, self);
        if (object.bytes == NULL) {
            lane->refusals++;
            continue;
        }
        object.bytes[0] = object.bytes[object.size - 1] = (unsigned char)object.size;
        self->objects[self->count++] = object;
    }
}

static void check_object(struct lane *lane, const struct object *object)
{
    FACT(lane, object->bytes[0] == (unsigned char)object->size);
    FACT(lane, object->bytes[object->size - 1] == (unsigned char)object->size);
}

static void shrink(struct lane *lane, struct tenant *self)
{
    for (size_t i = random_below(&lane->random, 80); i > 0 && self->count > 0; i--) {
        struct object *object = &self->objects[random_below(&lane->random, self->count)];

        check_object(lane, object);
        FACT(lane, jsrtmem_free(object->bytes) == JsNoError);
        *object = self->objects[--self->count];
        settle(lane, self);
    }
}

static void resize(struct lane *lane, struct tenant *self)
{
    if (self->count == 0) {
        return;
    }
    struct object *object = &self->objects[random_below(&lane->random, self->count)];
    size_t size = size_for(lane);

    check_object(lane, object);
    unsigned char *bytes = jsrtmem_realloc(self->runtime, object->bytes, size);
    settle(lane, self);
    if (bytes == NULL) {
        FACT(lane, size > object->size);
        lane->refusals++;
        return;
    }
    FACT(lane, bytes[0] == (unsigned char)object->size);
    bytes[0] = bytes[size - 1] = (unsigned char)size;
    *object = (struct object){bytes, size};
}

static void operate(struct lane *lane)
{
    struct tenant *self = &lane->tenants[random_below(&lane->random, TENANTS)];

    if (self->runtime == NULL) {
        start_tenant(lane, self);
    }
    bool entered = random_chance(&lane->random, 50);
    FACT(lane, !entered || jsrtmem_enter(self->runtime) == JsNoError);
    switch (random_below(&lane->random, 10)) {
    case 0:
    case 1:
    case 2:
        grow(lane, self);
        break;
    case 3:
    case 4:
    case 5:
        shrink(lane, self);
        break;
    case 6:
        FACT(lane, JsCollectGarbage(self->runtime) == JsNoError);
        settle(lane, self);
        break;
    case 7:
        FACT(lane,
             JsSetRuntimeMemoryLimit(self->runtime, random_size(&lane->random, 25)) == JsNoError);
        break;
    default:
        resize(lane, self);
    }
    FACT(lane, !entered || jsrtmem_leave(self->runtime) == JsNoError);
    if (random_chance(&lane->random, 3)) {
        end_tenant(lane, self);
    }
}

static void *run_lane(void *argument)
{
    struct lane *lane = argument;

    for (size_t i = 0; i < OPERATIONS; i++) {
        operate(lane);
    }
    for (size_t i = 0; i < TENANTS; i++) {
        if (lane->tenants[i].runtime != NULL) {
            end_tenant(lane, &lane->tenants[i]);
        }
    }
    return NULL;
}

/* ---- the process ----------------------------------------------------------------------------- */

struct level {
    size_t usage, reserve, runtimes, rss, mappings;
};

static size_t count_lines(const char *name)
{
    FILE *file = fopen(name, "r");
    size_t lines = 0;

    for (int c = 0; file != NULL && (c = getc(file)) != EOF;) {
        lines += c == '\n' ? 1 : 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return lines;
}

static size_t read_rss(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    char line[128] = "";

    if (file == NULL) {
        return 0;
    }
    const char *read = fgets(line, sizeof(line), file);
    (void)fclose(file);
    const char *second = read == NULL ? NULL : strchr(line, ' ');
    return second == NULL ? 0 : (size_t)strtoull(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Measures what the process holds without any tenant and with an empty reserve. */
static struct level measure(void)
{
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};

    (void)jsrtmem_set_reserve_limit(0);
    (void)jsrtmem_get_process_stats(&stats);
    struct level level = {.usage = stats.usage,
                          .reserve = stats.reserve,
                          .runtimes = stats.runtimes,
                          .rss = read_rss(),
                          .mappings = count_lines("/proc/self/maps")};
    (void)jsrtmem_set_reserve_limit((size_t)32 << 20);
    return level;
}

static void run_round(void)
{
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, run_lane, &lanes[i]) != 0) {
            lanes[i].fault = "no thread";
            threads[i] = pthread_self();
        }
    }
    for (size_t i = 0; i < THREADS; i++) {
        if (!pthread_equal(threads[i], pthread_self())) {
            (void)pthread_join(threads[i], NULL);
        }
    }
}

static int find_fault(const struct level *base, const struct level *now, uint64_t round)
{
    for (size_t i = 0; i < THREADS; i++) {
        if (lanes[i].fault != NULL) {
            (void)printf("soak: round %llu: does not hold: %s\n", (unsigned long long)round,
                         lanes[i].fault);
            return 1;
        }
    }
    if (now->usage != 0 || now->reserve != 0 || now->runtimes != 0 ||
        now->rss > base->rss + RSS_SLACK || now->mappings > base->mappings + MAPPING_SLACK) {
        (void)printf(
            "soak: round %llu: not back: usage %zu, reserve %zu, runtimes %zu, resident %zu "
            "(was %zu), mappings %zu (were %zu)\n",
            (unsigned long long)round, now->usage, now->reserve, now->runtimes, now->rss, base->rss,
            now->mappings, base->mappings);
        return 1;
    }
    return 0;
}

static bool read_option(char **argv, const char *name, uint64_t *value)
{
    char *end = NULL;

    if (strcmp(argv[0], name) != 0 || argv[1] == NULL) {
        return false;
    }
    *value = strtoull(argv[1], &end, 10);
    return *end == '\0' && end != argv[1];
}

int main(int argc, char **argv)
{
    uint64_t rounds = 300;
    uint64_t seconds = 0;
    uint64_t seed = 1;
    struct level base = {0};
    struct level now = {0};
    time_t start = time(NULL);

    for (int i = 1; i < argc; i += 2) {
        if (!read_option(argv + i, "--rounds", &rounds) &&
            !read_option(argv + i, "--seconds", &seconds) &&
            !read_option(argv + i, "--seed", &seed)) {
            (void)fprintf(stderr, "usage: soak [--seconds N | --rounds N] [--seed N]\n");
            return 2;
        }
    }
    (void)printf("soak: --seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < THREADS; i++) {
        lanes[i].random = random_seeded(seed * 100 + i);
    }
    uint64_t round = 0;
    uint64_t passed = 0;
    do {
        run_round();
        now = measure();
        base = ++round <= WARM_ROUNDS ? now : base; /* by now threads' stacks and the like exist */
        passed = (uint64_t)(time(NULL) - start);
        if (find_fault(&base, &now, round) != 0) {
            return 1;
        }
        if (isatty(STDOUT_FILENO)) {
            (void)printf("\rround %llu, %llu s, resident %zu KiB, %zu mappings ",
                         (unsigned long long)round, (unsigned long long)passed, now.rss >> 10,
                         now.mappings);
            (void)fflush(stdout);
        }
    } while (seconds != 0 ? passed < seconds : round < rounds);
    size_t operations = 0;
    size_t refusals = 0;
    size_t events = 0;
    for (size_t i = 0; i < THREADS; i++) {
        operations += lanes[i].operations;
        refusals += lanes[i].refusals;
        events += lanes[i].events;
    }
    (void)printf(
        "%ssoak: %llu rounds, %zu operations, %zu events, %zu refusals; resident %zu -> %zu "
        "KiB, mappings %zu -> %zu\n",
        isatty(STDOUT_FILENO) ? "\r" : "", (unsigned long long)round, operations, events, refusals,
        base.rss >> 10, now.rss >> 10, base.mappings, now.mappings);
    return operations > 0 && refusals > 0 ? 0 : 1;
}
