/*
 * A libc that refuses things other than memory, at the start of the library or of a thread, and
 * later; and limits that are hard to reach, such as a full region or a counter that would wrap.
 * Each scene has a process of its own, because the library initialises once per process.
 *
 * The linker's --wrap puts the functions here in front of those of the libc.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "support/calls.h"
#include "support/child.h"
#include "support/system.h"
#include "support/unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/context.h"
#include "../src/line.h"
#include "../src/os.h"
#include "../src/sweep.h"

static struct {
    bool key, atfork, specific, attributes, random, write, hint, unmap, protect, advice, secure;
} refuse = {.atfork = true}; /* as while the library is loaded */

#define WRAPPED(type, name, refused, answer, parameters, arguments) \
    type __real_##name parameters;                                  \
    type __wrap_##name parameters;                                  \
    type __wrap_##name parameters                                   \
    {                                                               \
        return refused ? answer : __real_##name arguments;          \
    }
WRAPPED(int, pthread_key_create, refuse.key, EAGAIN, (pthread_key_t * key, void (*end)(void *)),
        (key, end))
WRAPPED(int, pthread_atfork, refuse.atfork, ENOMEM,
        (void (*before)(void), void (*parent)(void), void (*child)(void)), (before, parent, child))
WRAPPED(int, pthread_setspecific, refuse.specific, ENOMEM, (pthread_key_t key, const void *value),
        (key, value))
WRAPPED(int, pthread_getattr_np, refuse.attributes, ENOMEM,
        (pthread_t thread, pthread_attr_t *attributes), (thread, attributes))
WRAPPED(int, getentropy, refuse.random, -1, (void *buffer, size_t size), (buffer, size))
WRAPPED(ssize_t, writev, refuse.write, -1, (int file, const struct iovec *pieces, int count),
        (file, pieces, count))
WRAPPED(int, munmap, refuse.unmap, -1, (void *address, size_t size), (address, size))
WRAPPED(int, mprotect, refuse.protect, -1, (void *address, size_t size, int protection),
        (address, size, protection))
WRAPPED(int, madvise, refuse.advice, -1, (void *address, size_t size, int advice),
        (address, size, advice))
WRAPPED(unsigned long, getauxval, refuse.secure, 1, (unsigned long type), (type))

/* With refuse.hint, mmap ignores the place that was asked for unless MAP_FIXED is set. */
static void (*meanwhile)(void); /* called at each mapping; or null */
void *__real_mmap(void *place, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *place, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *place, size_t size, int protection, int flags, int file, off_t offset)
{
    bool ignored = refuse.hint && (flags & MAP_FIXED) == 0;
    if (meanwhile != NULL) {
        meanwhile();
    }
    return __real_mmap(ignored ? NULL : place, size, protection, flags, file, offset);
}

static int create_and_dispose(void)
{
    JsRuntimeHandle runtime = NULL;
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    CHILD_CHECK(jsrtmem_free(jsrtmem_alloc(runtime, 100)) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return 0;
}

/* The library's first call fails and says so. The next call initialises the library. */
static int begins_later(void *argument)
{
    bool *refused = argument;
    JsRuntimeHandle runtime = &runtime;

    *refused = true;
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsErrorOutOfMemory);
    CHILD_CHECK(runtime == NULL);
    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsErrorOutOfMemory);
    JsErrorCode code = jsrtmem_set_diagnostics(0); /* needs no record of the thread */
    CHILD_CHECK(code == (refused == &refuse.specific ? JsNoError : JsErrorOutOfMemory));
    *refused = false;
    return create_and_dispose();
}

static void a_library_that_cannot_begin_begins_later(void **state)
{
    (void)state;
    assert_int_equal(child_run(begins_later, &refuse.key), 0);
    assert_int_equal(child_run(begins_later, &refuse.atfork), 0);
    assert_int_equal(child_run(begins_later, &refuse.specific), 0);
}

/* The calls that also work on a thread whose end cannot be watched: queries, and
 * jsrtmem_abandon. */
static bool works_anywhere(const struct call *call)
{
    return call->function == call_get_usage || call->function == call_get_limit ||
           call->function == call_is_disabled || call->function == call_get_stats ||
           call->function == call_abandon || call->function == call_get_runtime ||
           call->function == call_get_data;
}

struct place {
    JsRuntimeHandle runtime;
    JsContextRef context;
    void *object, *reallocated;
    int failed;
};

static int check_unwatched(struct place *place)
{
    for (size_t i = 0; i < all_calls_count; i++) {
        const struct call *call = &all_calls[i];
        union call_buffer out = {.bytes = {0}};
        if (call->out == CALL_OUT_STRUCT) {
            out.stats.struct_size = sizeof(out.stats);
        }
        JsErrorCode code =
            call->function(call->kind == CALL_CONTEXT ? place->context : place->runtime, &out);
        JsErrorCode expected = works_anywhere(call) ? JsNoError : JsErrorOutOfMemory;
        if (call->function == call_leave) {
            expected = JsErrorInvalidArgument;
        }
        if (code != expected) {
            (void)fprintf(stderr, "%s: %#x\n", call->name, (unsigned)code);
            return 1;
        }
    }
    CHILD_CHECK(jsrtmem_realloc(place->runtime, place->reallocated, 0) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
    CHILD_CHECK(jsrtmem_realloc(NULL, place->reallocated, 0) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_ARGUMENT);
    CHILD_CHECK(jsrtmem_alloc(place->runtime, 100) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
    CHILD_CHECK(jsrtmem_alloc(NULL, 100) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_ARGUMENT);
    CHILD_CHECK(jsrtmem_usable_size(place->reallocated) == 112);
    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsErrorOutOfMemory);
    CHILD_CHECK(jsrtmem_free(place->object) == JsNoError);
    CHILD_CHECK(jsrtmem_free(place->object) == JsErrorInvalidArgument);
    CHILD_CHECK(jsrtmem_free(&place) == JsErrorInvalidArgument);
    CHILD_CHECK(jsrtmem_usable_size(place->object) == 0);
    return 0;
}

static void *unwatched(void *argument)
{
    struct place *place = argument;

    refuse.specific = true;
    place->failed = check_unwatched(place);
    refuse.specific = false;
    return NULL;
}

static int thread_cannot_be_watched(void *unused)
{
    struct place place = {NULL, NULL, NULL, NULL, 1};
    pthread_t thread;

    (void)unused;
    place.runtime = new_runtime_with(JsRuntimeAttributeAllowScriptInterrupt);
    place.context = new_context(place.runtime);
    place.object = new_object(place.runtime, 100);
    place.reallocated = new_object(place.runtime, 100);
    CHILD_CHECK(pthread_create(&thread, NULL, unwatched, &place) == 0);
    (void)pthread_join(thread, NULL);
    CHILD_CHECK(place.failed == 0);
    CHILD_CHECK(JsCollectGarbage(place.runtime) == JsNoError);
    CHILD_CHECK(stats_of(place.runtime).live_objects == 1);
    CHILD_CHECK(JsDisposeRuntime(place.runtime) == JsNoError);
    return 0;
}

static void a_thread_that_cannot_be_watched_looks_and_frees(void **state)
{
    (void)state;
    assert_int_equal(child_run(thread_cannot_be_watched, NULL), 0);
}

/* Such a thread may fork, too. The child works like any other, and a lock of the parent stays with
 * its holder. */
static int use_forked(void *unused)
{
    (void)unused;
    refuse.specific = false;
    return create_and_dispose();
}

static void *fork_unwatched(void *argument)
{
    int *failed = argument;

    refuse.specific = true;
    *failed = child_run(use_forked, NULL);
    refuse.specific = false;
    return NULL;
}

static int unwatched_thread_forks(void *unused)
{
    pthread_t thread;
    int failed = 1;

    (void)unused;
    (void)new_runtime();
    struct jm_ref ref = jm_runtime_find(new_runtime()); /* its lock is not the first one */
    const struct jm_lock *lock = jm_runtime_lock_of(jm_runtime_at(ref));
    CHILD_CHECK(jm_runtime_lock(ref));
    CHILD_CHECK(pthread_create(&thread, NULL, fork_unwatched, &failed) == 0);
    (void)pthread_join(thread, NULL);
    CHILD_CHECK(failed == 0);
    CHILD_CHECK(jm_load_relaxed(&lock->owner) == jm_thread.id);
    jm_runtime_unlock(ref);
    return create_and_dispose();
}

static void a_thread_that_cannot_be_watched_forks(void **state)
{
    (void)state;
    assert_int_equal(child_run(unwatched_thread_forks, NULL), 0);
}

/* Without random bytes, handles are mixed with a secret of clocks and addresses. They work, and are
 * no small numbers. */
static int no_random(void *unused)
{
    JsRuntimeHandle first = NULL;
    JsRuntimeHandle second = NULL;

    (void)unused;
    refuse.random = true;
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &first) == JsNoError);
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &second) == JsNoError);
    uintptr_t apart = (uintptr_t)first - (uintptr_t)second;
    CHILD_CHECK(apart > 1000 && 0 - apart > 1000);
    CHILD_CHECK(JsDisposeRuntime(first) == JsNoError);
    CHILD_CHECK(JsDisposeRuntime(first) == JsErrorInvalidArgument);
    CHILD_CHECK(JsDisposeRuntime(second) == JsNoError);
    return 0;
}

static void handles_need_no_random_device(void **state)
{
    unsigned char bytes[2][64] = {{0}};

    (void)state;
    assert_int_equal(child_run(no_random, NULL), 0);
    refuse.random = true;
    jm_os_random(bytes[0], sizeof(bytes[0]));
    jm_os_random(bytes[1], sizeof(bytes[1]));
    refuse.random = false;
    assert_memory_not_equal(bytes[0], bytes[1], sizeof(bytes[0]));
}

/* If the stack's bounds are unknown, no frame shows that a callback was left. */
static void a_stack_without_bounds_shows_nothing(void **state)
{
    int here = 0;

    (void)state;
    assert_true(jm_os_on_stack((uintptr_t)&here, (uintptr_t)&here));
    assert_false(jm_os_on_stack(1, (uintptr_t)&here));
    assert_false(jm_os_on_stack((uintptr_t)&here, 1));
    refuse.attributes = true;
    assert_false(jm_os_on_stack((uintptr_t)&here, (uintptr_t)&here));
    refuse.attributes = false;
}

static void a_complaint_that_nobody_hears_leaves_errno(void **state)
{
    (void)state;
    refuse.write = true;
    errno = 12345;
    jm_os_complain("nobody hears this");
    assert_int_equal(errno, 12345);
    refuse.write = false;
}

/* Another thread creates the region after a fast path read its base and before it reads its size.
 * The fast path must find no object then. */
static int look_too_early(void *unused)
{
    static _Alignas(JM_GRANULE) char variable[JM_GRANULE];
    _Alignas(JM_GRANULE) char local[JM_GRANULE];
    void *const pointers[] = {NULL, variable, local,
                              (void *)(uintptr_t)0x400000}; /* where programs are loaded */
    (void)unused;
    CHILD_CHECK(!jm_region_exists());
    jm_store_relaxed(&jm_region.granules, (size_t)1 << (JM_REGION_BITS - JM_GRANULE_BITS));
    for (size_t i = 0; i < COUNT_OF(pointers); i++) {
        jm_state *state;
        CHILD_CHECK(!jm_arena_peek(&jm_no_arena, pointers[i], &state));
    }
    return 0;
}

static void nothing_lies_in_a_region_before_it_is_there(void **state)
{
    (void)state;
    assert_int_equal(child_run(look_too_early, NULL), 0);
}

static void *wait_and_complain(void *reached)
{
    (void)pthread_cancel(pthread_self());
    for (unsigned i = 0; i < 100; i++) { /* the last ones sleep */
        jm_os_pause(i);
    }
    jm_os_complain("a line");
    *(bool *)reached = true;
    return NULL;
}

static int be_cancelled(void *reached)
{
    pthread_t thread;
    void *result = NULL;
    int pipe_ends[2];
    CHILD_CHECK(pipe(pipe_ends) == 0);
    (void)dup2(pipe_ends[1], STDERR_FILENO);
    CHILD_CHECK(pthread_create(&thread, NULL, wait_and_complain, reached) == 0);
    CHILD_CHECK(pthread_join(thread, &result) == 0);
    return *(bool *)reached ? 0 : 1;
}

/* A thread cancelled there would keep what it holds. */
static void no_thread_is_cancelled_inside_the_library(void **state)
{
    bool reached = false;
    (void)state;
    assert_int_equal(child_run(be_cancelled, &reached), 0);
}

static int fail_check(void *argument)
{
    int *pipe_ends = argument;

    (void)dup2(pipe_ends[1], STDERR_FILENO);
    jm_check_failed("a == b", "file.c", 42);
}

/* A failed check prints what failed and where, and ends the process at once. */
static void a_failed_check_says_where_and_aborts(void **state)
{
    int pipe_ends[2];
    char line[200] = "";

    (void)state;
    assert_int_equal(pipe(pipe_ends), 0);
    assert_int_equal(child_run(fail_check, pipe_ends), -1);
    (void)close(pipe_ends[1]);
    assert_true(read(pipe_ends[0], line, sizeof(line) - 1) > 0);
    if (getenv("JSRTMEM_EMULATOR") != NULL) {
        strchr(line, '\n')[1] = '\0'; /* drops what an emulator says about the signal */
    }
    assert_string_equal(line, "libjsrtmem: file.c:42: check failed: a == b\n");
    (void)close(pipe_ends[0]);
}

static void a_privileged_process_has_no_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("JSRTMEM_TEST", "1", 1), 0);
    assert_string_equal(jm_os_environment("JSRTMEM_TEST"), "1");
    refuse.secure = true;
    assert_null(jm_os_environment("JSRTMEM_TEST"));
    refuse.secure = false;
}

/* Mappings that could not be unmapped are remembered, up to a number. Until they are gone, nothing
 * new is mapped. */
static void what_cannot_be_unmapped_is_tried_again(void **state)
{
    enum { MANY = 300 };
    static struct jm_os_extent extents[MANY];
    struct jm_os_extent extent;
    size_t page = jm_os_page_size();

    (void)state;
    for (int i = 0; i < MANY; i++) {
        assert_non_null(jm_os_map(page, page, &extents[i]));
    }
    refuse.unmap = true;
    for (int i = 0; i < MANY; i++) {
        jm_os_discard(&extents[i]);
    }
    assert_null(jm_os_map(page, page, &extent));
    assert_null(jm_os_reserve(page));
    refuse.unmap = false;
    void *reserved = jm_os_reserve(page);
    assert_non_null(reserved);
    jm_os_discard(&(struct jm_os_extent){reserved, page});
    assert_non_null(jm_os_map(page, page, &extent));
    assert_true(jm_os_unmap(&extent));
}

/* If no aligned place is found, a part of a larger reservation is opened. If that fails, the whole
 * reservation is given back. */
static void a_reservation_that_cannot_be_opened_is_given_back(void **state)
{
    const size_t alignment = (size_t)1 << 28;
    struct jm_os_extent extent;
    size_t page = jm_os_page_size();

    (void)state;
    size_t mapped = mapped_now();
    refuse.hint = refuse.protect = true;
    void *refused = jm_os_map(page, alignment, &extent);
    refuse.protect = false;
    size_t mapped_then = mapped_now();
    char *address = jm_os_map(page, alignment, &extent);
    refuse.hint = false;
    assert_null(refused);
    assert_true(mapped_then < mapped + alignment); /* an emulator maps for itself, too */
    assert_non_null(address);
    assert_true(extent.size > page);
    address[0] = 1;
    assert_true(jm_os_unmap(&extent));
}

static void only_whole_pages_are_purged_and_only_with_leave(void **state)
{
    struct jm_os_extent extent;
    size_t page = jm_os_page_size();
    char *address = jm_os_map(2 * page, page, &extent);

    (void)state;
    assert_non_null(address);
    memset(address, 1, 2 * page);
    assert_false(jm_os_purge(address + 16, page));
    assert_false(jm_os_purge(address, page - 16));
    refuse.advice = true;
    assert_false(jm_os_purge(address, page));
    refuse.advice = false;
    assert_int_equal(address[0], 1);
    assert_true(jm_os_purge(address, page));
    assert_int_equal(address[0], 0);
    assert_int_equal(address[page], 1);
    assert_true(jm_os_unmap(&extent));
}

/* Pauses grow with each attempt, and never overflow to none at all. */
static void the_longest_pause_is_a_pause(void **state)
{
    const unsigned attempts[] = {UINT32_MAX, UINT32_MAX / 2};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(attempts); i++) {
        struct timespec start;
        struct timespec end;
        (void)clock_gettime(CLOCK_MONOTONIC, &start);
        jm_os_pause(attempts[i]);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        assert_true((end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec >=
                    1000000);
    }
}

/* Text that is too long for a line is cut off. */
static void a_line_has_an_end(void **state)
{
    struct jm_line line = jm_line_begin();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        jm_line_text(&line, "long ");
    }
    assert_int_equal(line.length, sizeof(line.text) - 1);
    refuse.write = true;
    jm_line_end(&line);
    refuse.write = false;
    assert_int_equal(strlen(line.text), sizeof(line.text) - 1);
}

static char *first_taken, *last_taken, *last_stretch; /* addresses in the region */

/* Takes all addresses of the region. False if the region seems to have room left. */
static bool take_region(void)
{
    bool has_room = true;
    for (char *next; (next = jm_region_alloc(MIB(4), &has_room)) != NULL; last_taken = next) {
        first_taken = first_taken != NULL ? first_taken : next;
    }
    if (has_room) {
        return false;
    }
    for (char *next; (next = jm_region_alloc(JM_UNIT, &has_room)) != NULL; last_stretch = next) {
    }
    return !has_room;
}

/* With a full region, blocks are mappings of their own. */
static int fill_region(void *unused)
{
    JsRuntimeHandle runtime = NULL;

    (void)unused;
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    CHILD_CHECK(take_region());
    unsigned char *object = jsrtmem_alloc(runtime, 100);
    CHILD_CHECK(object != NULL && !jm_region_holds(object));
    /* Such a block contains its map. What a tenant writes into it must not reach the next one. */
    struct jm_block *block = jm_pagemap_block(object);
    size_t granule = block->granules - 1;
    jm_store_relaxed(&block->map[granule], JM_FREE + 2);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    runtime = new_runtime();
    CHILD_CHECK(jsrtmem_alloc(runtime, 100) == object);
    CHILD_CHECK(jm_load_relaxed(&block->map[granule]) == 0);
    CHILD_CHECK(first_taken == NULL ||
                (size_t)(last_taken - first_taken) > ((size_t)1 << JM_REGION_BITS) / 2);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return 0;
}

static void blocks_are_mappings_where_the_region_is_full(void **state)
{
    (void)state;
    assert_int_equal(child_run(fill_region, NULL), 0);
}

/* Acts as another thread that always comes in time: the region seems to have room, but has none. */
static void free_and_alloc_last_stretch(void)
{
    bool has_room = true;
    jm_region_free(last_stretch, JM_UNIT);
    last_stretch = jm_region_alloc(JM_UNIT, &has_room);
}

/* A block that contains its map may be too small for the object. Then a block with room for both is
 * asked for. */
static int want_what_another_takes(void *unused)
{
    JsRuntimeHandle runtime = new_runtime();
    const size_t size = JM_UNIT / 16 * 13; /* a block of one unit has room for it, or for its map */
    jsrtmem_stats stats = {.struct_size = sizeof stats};

    (void)unused;
    CHILD_CHECK(JsSetRuntimeMemoryLimit(runtime, KIB(100)) == JsNoError);
    bool has_room = true;
    last_stretch =
        jm_region_alloc(JM_UNIT, &has_room); /* opens a lot; take_region takes the rest */
    CHILD_CHECK(last_stretch != NULL && take_region());
    free_and_alloc_last_stretch();
    CHILD_CHECK(jm_region_has_room());
    meanwhile = free_and_alloc_last_stretch;
    CHILD_CHECK(jsrtmem_alloc(runtime, size) != NULL);
    meanwhile = NULL;
    CHILD_CHECK(jsrtmem_get_stats(runtime, &stats) == JsNoError);
    CHILD_CHECK(stats.allocate_events == 2);
    return 0;
}

static void a_block_too_small_for_its_map_is_the_only_one(void **state)
{
    (void)state;
    if (jm_region_exists()) {
        assert_int_equal(child_run(want_what_another_takes, NULL), 0);
    }
}

/* A map that no longer says where objects start, as after a stray write into it, ends the
 * process. */
static int break_map(void *unused)
{
    JsRuntimeHandle runtime = new_runtime();
    void *object = new_object(runtime, 100);
    struct jm_block *block = jm_pagemap_block(object);

    (void)unused;
    refuse.write = true;
    jm_store_relaxed(&block->map[jm_granule_of(block, object)], 0);
    jm_sweep(jm_runtime_at(jm_runtime_find(runtime))->heap.arena);
    return 0;
}

/* So does a map that is broken behind a free object. */
static int break_map_behind(void *unused)
{
    JsRuntimeHandle runtime = new_runtime();
    void *free_one = new_object(runtime, 100);
    void *object = new_object(runtime, 100);
    struct jm_block *block = jm_pagemap_block(object);

    (void)unused;
    refuse.write = true;
    (void)new_object(runtime, 100);
    (void)jsrtmem_free(free_one);
    jm_store_relaxed(&block->map[jm_granule_of(block, object)], 0);
    jm_sweep(jm_runtime_at(jm_runtime_find(runtime))->heap.arena);
    return 0;
}

static void a_broken_map_is_not_swept(void **state)
{
    (void)state;
    assert_int_equal(child_run(break_map, NULL), -1);
    assert_int_equal(child_run(break_map_behind, NULL), -1);
}

/* A reference count that would wrap is refused, and stays. */
static void references_do_not_wrap(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    JsContextRef context = new_context(runtime);
    struct jm_context *record = jm_context_at(jm_context_find(context));
    unsigned count = 0;

    (void)state;
    record->references = UINT32_MAX - 2;
    assert_ok(JsAddRef(context, &count));
    assert_int_equal(count, UINT32_MAX - 1);
    assert_code(JsAddRef(context, &count), JsErrorOutOfMemory);
    assert_ok(JsRelease(context, &count));
    assert_int_equal(count, UINT32_MAX - 2);
    dispose(runtime);
}

/* The same for entries: a count that wrapped would let another thread in. */
static void entries_do_not_wrap(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    struct jm_runtime *record = jm_runtime_at(jm_runtime_find(runtime));
    JsContextRef context = new_context(runtime), other = new_context(runtime);

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    record->entries = UINT32_MAX;
    assert_code(jsrtmem_enter(runtime), JsErrorOutOfMemory);
    assert_non_null(jsrtmem_alloc(runtime, 16));
    record->entries = 1;
    assert_ok(jsrtmem_leave(runtime));
    assert_ok(JsSetCurrentContext(context));
    record->entries = UINT32_MAX;
    assert_code(JsSetCurrentContext(other), JsErrorOutOfMemory);
    record->entries = 1;
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    dispose(runtime);
}

/* A refusal by a handle whose runtime ended meanwhile names no other runtime, not even the next one
 * in its slot. A thread that waited for the old runtime keeps no other from using the new one. */
static void a_refusal_names_no_other_runtime(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    struct jm_ref ref = jm_runtime_find(runtime);
    jsrtmem_refusal_info info = {.struct_size = sizeof(info)};

    (void)state;
    jm_runtime_refuse_busy(ref, (uintptr_t)runtime, 77);
    assert_ok(jsrtmem_last_refusal(&info));
    assert_int_equal(info.reason, JSRTMEM_REFUSAL_THREAD);
    assert_ptr_equal(info.runtime, runtime);
    jm_store_relaxed(&jm_runtime_at(ref)->next_turn, 12345);
    dispose(runtime);
    JsRuntimeHandle next = new_runtime();
    assert_ptr_equal(jm_runtime_find(next).slot, ref.slot);
    assert_int_equal(jm_load_relaxed(&jm_runtime_at(ref)->next_turn), 0);
    assert_ok(JsSetRuntimeMemoryLimit(next, 12345));
    jm_runtime_refuse_busy(ref, (uintptr_t)runtime, 77);
    assert_ok(jsrtmem_last_refusal(&info));
    assert_int_equal(info.reason, JSRTMEM_REFUSAL_ARGUMENT);
    assert_null(info.runtime);
    assert_int_equal(info.limit, 0);
    assert_int_equal(info.requested, 77);
    dispose(next);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_library_that_cannot_begin_begins_later),
        cmocka_unit_test(a_thread_that_cannot_be_watched_looks_and_frees),
        cmocka_unit_test(a_thread_that_cannot_be_watched_forks),
        cmocka_unit_test(handles_need_no_random_device),
        cmocka_unit_test(a_stack_without_bounds_shows_nothing),
        cmocka_unit_test(a_complaint_that_nobody_hears_leaves_errno),
        cmocka_unit_test(nothing_lies_in_a_region_before_it_is_there),
        cmocka_unit_test(no_thread_is_cancelled_inside_the_library),
        cmocka_unit_test(a_failed_check_says_where_and_aborts),
        cmocka_unit_test(a_privileged_process_has_no_environment),
        cmocka_unit_test(what_cannot_be_unmapped_is_tried_again),
        cmocka_unit_test(a_reservation_that_cannot_be_opened_is_given_back),
        cmocka_unit_test(only_whole_pages_are_purged_and_only_with_leave),
        cmocka_unit_test(the_longest_pause_is_a_pause),
        cmocka_unit_test(references_do_not_wrap),
        cmocka_unit_test(a_line_has_an_end),
        cmocka_unit_test(blocks_are_mappings_where_the_region_is_full),
        cmocka_unit_test(a_block_too_small_for_its_map_is_the_only_one),
        cmocka_unit_test(a_broken_map_is_not_swept),
        cmocka_unit_test(entries_do_not_wrap),
        cmocka_unit_test(a_refusal_names_no_other_runtime),
    };

    refuse.atfork = false;
    return cmocka_run_group_tests_name("libc", tests, NULL, NULL);
}
