/*
 * A host that locks its memory (mlockall), which makes every accessible page resident at once. The
 * library still gives memory back, and what it keeps ready costs little.
 *
 * Skipped if the system does not let a process lock enough.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "support/child.h"
#include "support/random.h"
#include "support/unit.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define NOT_PERMITTED 77 /* exit status of a child that may not lock memory */

/* The most memory that may be resident beside the tenants' blocks. The library's tables take three
 * sixteenths of the peak, grow in steps and are not given back. Some of the libc's is resident,
 * too. */
#define TABLES(bytes) (MIB(3) + 400 * page_size() + (bytes) / 4)

#define OBJECTS 20000
#define OBJECT_SIZE KIB(2)

/* A number in /proc/self/statm, in bytes: the mapped or the resident memory. */
enum column { MAPPED, RESIDENT };

static size_t bytes_of(enum column column)
{
    FILE *file = fopen("/proc/self/statm", "r");
    char line[128] = "";
    char *end = line;
    size_t pages = 0;

    if (file == NULL || fgets(line, sizeof(line), file) == NULL) {
        abort();
    }
    (void)fclose(file);
    for (enum column i = MAPPED; i <= column; i++) {
        pages = (size_t)strtoull(end, &end, 10);
    }
    return pages * page_size();
}

struct locked {
    bool region; /* the address space has room for one */
    size_t peak; /* the most that was held */
    size_t base; /* resident when all was locked */
    JsRuntimeHandle runtime;
};

/* Checks that all that the runtime holds is resident, and hardly anything else. */
static int check_resident(struct locked *self)
{
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};

    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    size_t held = stats.usage + stats.reserve;
    size_t now = bytes_of(RESIDENT);
    self->peak = held > self->peak ? held : self->peak;
    if (now < self->base + held || now > self->base + held + TABLES(self->peak)) {
        (void)fprintf(stderr, "%zu KiB are held, %zu KiB are in memory\n", held >> 10,
                      (now - self->base) >> 10);
        return 1;
    }
    return 0;
}

static unsigned char *objects[OBJECTS];

static int fill(struct locked *self)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        if (objects[i] == NULL) {
            objects[i] = jsrtmem_alloc(self->runtime, OBJECT_SIZE);
            CHILD_CHECK(objects[i] != NULL);
            pattern_fill(objects[i], OBJECT_SIZE, i);
        }
    }
    return check_resident(self);
}

static int release(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        CHILD_CHECK(pattern_holds(objects[i], OBJECT_SIZE, i));
        CHILD_CHECK(jsrtmem_free(objects[i]) == JsNoError);
        objects[i] = NULL;
    }
    return 0;
}

static int collect(struct locked *self, size_t *usage)
{
    CHILD_CHECK(JsCollectGarbage(self->runtime) == JsNoError);
    CHILD_CHECK(JsGetRuntimeMemoryUsage(self->runtime, usage) == JsNoError);
    return check_resident(self);
}

/* Blocks are given back, and so are runs of free pages in blocks with live objects. Both serve
 * again. */
static int use_small(struct locked *self)
{
    size_t full = 0;
    size_t usage = 0;

    CHILD_CHECK(fill(self) == 0);
    CHILD_CHECK(collect(self, &full) == 0);
    CHILD_CHECK(full >= OBJECTS * OBJECT_SIZE);
    for (size_t i = 0; i < OBJECTS; i += 1000) {
        CHILD_CHECK(release(i, i + 900) == 0);
    }
    CHILD_CHECK(collect(self, &usage) == 0);
    CHILD_CHECK(usage < full / 4);
    CHILD_CHECK(fill(self) == 0);
    CHILD_CHECK(release(0, OBJECTS) == 0);
    CHILD_CHECK(collect(self, &usage) == 0);
    CHILD_CHECK(usage == 0);
    return 0;
}

static int use_large(struct locked *self)
{
    size_t usage = 0;
    unsigned char *object = jsrtmem_calloc(self->runtime, 1, MIB(1));

    CHILD_CHECK(object != NULL && bytes_are(object, MIB(1), 0));
    pattern_fill(object, MIB(1), 1);
    for (size_t size = MIB(2); size <= MIB(32); size *= 2) {
        object = jsrtmem_realloc(self->runtime, object, size);
        CHILD_CHECK(object != NULL && pattern_holds(object, MIB(1), 1));
        CHILD_CHECK(check_resident(self) == 0);
    }
    object = jsrtmem_realloc(self->runtime, object, KIB(300));
    CHILD_CHECK(object != NULL && pattern_holds(object, KIB(300), 1));
    CHILD_CHECK(check_resident(self) == 0);
    CHILD_CHECK(jsrtmem_free(object) == JsNoError);
    CHILD_CHECK(collect(self, &usage) == 0);
    CHILD_CHECK(usage == 0);
    return 0;
}

static int be_locked(void *argument)
{
    struct locked *self = argument;

    struct rlimit limit;

    CHILD_CHECK(self->region || child_limit_address_space(MIB(512)) == 0);
    bool has_room = geteuid() == 0 || (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
                                       limit.rlim_cur >= bytes_of(MAPPED) + MIB(64));
    if (!has_room || mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        return NOT_PERMITTED;
    }
    self->base = bytes_of(RESIDENT);
    for (int round = 0; round < 3; round++) {
        CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &self->runtime) == JsNoError);
        unsigned char *object = jsrtmem_alloc(self->runtime, 1);
        CHILD_CHECK(object != NULL && check_resident(self) == 0);
        CHILD_CHECK(jsrtmem_free(object) == JsNoError);
        CHILD_CHECK(use_small(self) == 0);
        CHILD_CHECK(use_large(self) == 0);
        CHILD_CHECK(fill(self) == 0);
        CHILD_CHECK(JsDisposeRuntime(self->runtime) == JsNoError);
        CHILD_CHECK(check_resident(self) == 0);
        for (size_t i = 0; i < OBJECTS; i++) {
            objects[i] = NULL;
        }
    }
    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsNoError);
    CHILD_CHECK(check_resident(self) == 0);
    return 0;
}

/* The limit on locked memory makes the OS refuse blocks. Each refusal has a clear reason, and
 * nothing is lost. */
static int reach_the_limit(void *unused)
{
    struct rlimit limit;
    JsRuntimeHandle runtime = NULL;
    size_t count = 0;

    (void)unused;
    if ((geteuid() == 0 && setuid(65534) != 0) || getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        return NOT_PERMITTED;
    }
    size_t wanted = bytes_of(MAPPED) + MIB(3);
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        return NOT_PERMITTED;
    }
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    for (int round = 0; round < 3; round++) {
        for (count = 0; (objects[count] = jsrtmem_alloc(runtime, OBJECT_SIZE)) != NULL; count++) {
            CHILD_CHECK(count + 1 < OBJECTS);
            pattern_fill(objects[count], OBJECT_SIZE, count);
        }
        CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
        CHILD_CHECK(release(0, count) == 0);
        CHILD_CHECK(count > 0 && JsCollectGarbage(runtime) == JsNoError);
    }
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return 0;
}

static void run_locked(int (*function)(void *), bool region)
{
    struct locked locked = {.region = region};
    int result = child_run(function, &locked);

    if (result == NOT_PERMITTED) {
        print_message("             left out: this system does not let the process lock memory\n");
        skip();
    }
    assert_int_equal(result, 0);
}

static void locked_memory_is_given_back(void **state)
{
    (void)state;
    run_locked(be_locked, true);
}

static void locked_memory_without_a_region_is_given_back(void **state)
{
    (void)state;
    run_locked(be_locked, false);
}

static void a_limit_of_locked_memory_refuses_blocks(void **state)
{
    (void)state;
    run_locked(reach_the_limit, true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(locked_memory_is_given_back),
        cmocka_unit_test(locked_memory_without_a_region_is_given_back),
        cmocka_unit_test(a_limit_of_locked_memory_refuses_blocks),
    };

    if (UNIT_SANITIZED) { /* sanitizers need terabytes of address space */
        return 77;        /* which ctest reports as skipped */
    }
    return cmocka_run_group_tests_name("locked", tests, NULL, NULL);
}
