/*
 * exercise.c - the edge cases of a malloc family. Runs with any malloc. Under the preload example
 * it shows that nothing is lost if threads come and go, processes fork, and calls come late.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Volatile pointers: the compiler must not know what the calls do. */
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_reallocarray)(void *, size_t, size_t) = reallocarray;
static void (*volatile do_free)(void *) = free;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void *(*volatile do_aligned_alloc)(size_t, size_t) = aligned_alloc;
static int (*volatile do_posix_memalign)(void **, size_t, size_t) = posix_memalign;

/* Atomic: all threads count here. */
static atomic_size_t checks, failures;

static void expect(bool holds, const char *what, int line)
{
    atomic_fetch_add(&checks, 1);
    if (!holds && atomic_fetch_add(&failures, 1) < 20) {
        fprintf(stderr, "exercise.c:%d: does not hold: %s\n", line, what);
    }
}
#define EXPECT(condition) expect((condition), #condition, __LINE__)

static bool is_filled(const unsigned char *bytes, size_t size, unsigned char value)
{
    return size == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static void *filled(size_t size, unsigned char value)
{
    void *object = do_malloc(size);
    EXPECT(object != NULL && (uintptr_t)object % 16 == 0);
    return object == NULL ? NULL : memset(object, value, size);
}

/* ---- the calls ------------------------------------------------------------------------------- */

static void call_with_sizes(void)
{
    static const size_t sizes[] = {0,    1,     8,      16,      24,      100,     1000,
                                   4096, 60000, 100000, 1000000, 5000000, 20000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        unsigned char *object = filled(size, 0x5a);
        EXPECT(malloc_usable_size(object) >= size);
        object = do_realloc(object, size * 3 / 2 + 1);
        EXPECT(is_filled(object, size, 0x5a));
        object = do_realloc(object, size / 3 + 1);
        EXPECT(is_filled(object, size / 3, 0x5a));
        do_free(object);
        object = do_calloc(size + 1, 3);
        EXPECT(is_filled(object, 3 * (size + 1), 0));
        do_free(object);
    }
    EXPECT(malloc_usable_size(NULL) == 0);
    void *first = do_malloc(0);
    void *second = do_realloc(NULL, 0);
    EXPECT(first != NULL && second != NULL && first != second);
    do_free(first);
    EXPECT(do_realloc(second, 0) == NULL);
    do_free(NULL);
}

static void call_with_alignments(void)
{
    for (size_t alignment = 1; alignment <= (size_t)1 << 21; alignment *= 2) {
        for (size_t size = 1; size < 300000; size *= 17) {
            unsigned char *object = do_memalign(alignment, size);
            EXPECT(object != NULL && (uintptr_t)object % alignment == 0);
            memset(object, 1, size);
            object = do_realloc(object, 2 * size);
            EXPECT(is_filled(object, size, 1));
            do_free(object);
            object = do_aligned_alloc(alignment, size);
            EXPECT(object != NULL && (uintptr_t)object % alignment == 0);
            do_free(object);
            void *result = NULL;
            int code = do_posix_memalign(&result, alignment, size);
            EXPECT(code == (alignment < sizeof(void *) ? EINVAL : 0));
            EXPECT((uintptr_t)result % alignment == 0);
            do_free(result);
        }
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *whole = pvalloc(1);
    void *some = valloc(1);
    EXPECT((uintptr_t)whole % page == 0 && malloc_usable_size(whole) >= page);
    EXPECT((uintptr_t)some % page == 0);
    do_free(whole);
    do_free(some);
}

static void call_with_too_much(void)
{
    void *result = &result;
    void *object = filled(100, 7);
    errno = 0;
    EXPECT(do_malloc(SIZE_MAX) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(do_malloc((size_t)PTRDIFF_MAX + 1) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(do_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(do_reallocarray(object, SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(do_realloc(object, SIZE_MAX - 100) == NULL && errno == ENOMEM);
    EXPECT(is_filled(object, 100, 7));
    errno = 0;
    EXPECT(do_memalign(64, SIZE_MAX - 100) == NULL && errno == ENOMEM);
    EXPECT(do_posix_memalign(&result, 64, SIZE_MAX - 100) == ENOMEM);
    EXPECT(do_posix_memalign(&result, 48, 10) == EINVAL && result == &result);
    errno = EDOM;
    do_free(object);
    EXPECT(errno == EDOM);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define OBJECTS 300
struct batch {
    unsigned char *objects[OBJECTS];
};

static size_t size_of(size_t i)
{
    return i % 40 == 0 ? 40000 + i * 500 : 1 + i * 7;
}

static void *make_batch(void *argument)
{
    struct batch *batch = argument;
    for (size_t i = 0; i < OBJECTS; i++)
        batch->objects[i] = filled(size_of(i), (unsigned char)i);
    return batch;
}

/* Frees a third, resizes a third, and leaves a third to the caller. */
static void *mix_batch(void *argument)
{
    struct batch *batch = argument;
    for (size_t i = 0; i < OBJECTS; i++) {
        EXPECT(is_filled(batch->objects[i], size_of(i), (unsigned char)i));
        if (i % 3 == 0) {
            do_free(batch->objects[i]);
            batch->objects[i] = NULL;
        } else if (i % 3 == 1) {
            batch->objects[i] = do_realloc(batch->objects[i], 2 * size_of(i));
            EXPECT(is_filled(batch->objects[i], size_of(i), (unsigned char)i));
        }
    }
    return batch;
}

static void run_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    bool started = pthread_create(&thread, NULL, function, argument) == 0;
    EXPECT(started);
    if (started)
        (void)pthread_join(thread, NULL);
}

static void free_batch(struct batch *batch)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        EXPECT(batch->objects[i] == NULL ||
               is_filled(batch->objects[i], size_of(i), (unsigned char)i));
        do_free(batch->objects[i]);
    }
}

/* Objects outlive the thread that made them; others free and resize them. */
static void pass_objects_on(void)
{
    static struct batch batches[8];
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 8; i++)
            run_thread(make_batch, &batches[i]);
        for (size_t i = 0; i < 8; i++)
            run_thread(mix_batch, &batches[7 - i]);
        for (size_t i = 0; i < 8; i++)
            free_batch(&batches[i]);
    }
}

/* Threads exchange the objects that they make, through one place. */
static _Atomic(unsigned char *) place;

static void *exchange(void *argument)
{
    size_t seed = (size_t)argument;
    for (size_t i = 0; i < 60000; i++) {
        size_t size = 20 + (i * seed) % 3000;
        unsigned char *object = filled(size, (unsigned char)size);
        object = atomic_exchange(&place, object);
        if (object != NULL) {
            EXPECT(is_filled(object, 20, object[0]));
            do_free(object);
        }
    }
    return NULL;
}

static void exchange_objects(void)
{
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        EXPECT(pthread_create(&threads[i], NULL, exchange, (void *)(2 * i + 5)) == 0);
    for (size_t i = 0; i < 3; i++)
        (void)pthread_join(threads[i], NULL);
    do_free(atomic_exchange(&place, NULL));
}

/* ---- late callers ---------------------------------------------------------------------------- */

static pthread_key_t late_keys[40];

/* A key destructor that allocates in every round of destructors. */
static void allocate_late(void *argument)
{
    pthread_key_t *key = argument;
    unsigned char *object = filled(2000, 3);
    object = do_realloc(object, 200000);
    EXPECT(is_filled(object, 2000, 3));
    do_free(object);
    (void)pthread_setspecific(*key, key);
}

static void *exit_with_late_calls(void *argument)
{
    for (size_t i = 0; i < 40; i++)
        (void)pthread_setspecific(late_keys[i], &late_keys[i]);
    return filled(100, (unsigned char)(uintptr_t)argument);
}

static void exit_late(void)
{
    for (size_t i = 0; i < 40; i++)
        EXPECT(pthread_key_create(&late_keys[i], allocate_late) == 0);
    for (size_t i = 0; i < 60; i++) {
        pthread_t thread;
        void *object = NULL;
        EXPECT(pthread_create(&thread, NULL, exit_with_late_calls, (void *)i) == 0);
        (void)pthread_join(thread, &object);
        EXPECT(is_filled(object, 100, (unsigned char)i));
        do_free(object);
    }
    for (size_t i = 0; i < 40; i++)
        (void)pthread_key_delete(late_keys[i]);
}

static void *kept;

static void allocate_at_exit(void)
{
    kept = do_realloc(kept, 100000);
    EXPECT(is_filled(kept, 100, 9));
    do_free(kept);
    if (atomic_load(&failures) != 0)
        _exit(1);
}

/* ---- forks, and code that comes and goes ----------------------------------------------------- */

static atomic_bool stop;

static void *keep_allocating(void *argument)
{
    struct batch *batch = argument;
    while (!atomic_load(&stop)) {
        make_batch(batch);
        free_batch(batch);
    }
    return NULL;
}

/* Uses the objects of the parent's threads, and threads of its own. */
static _Noreturn void be_child(struct batch *batch)
{
    static struct batch own;
    atomic_store(&failures, 0);
    (void)alarm(50);
    mix_batch(batch);
    free_batch(batch);
    run_thread(make_batch, &own);
    free_batch(&own);
    pid_t grandchild = fork();
    if (grandchild == 0) {
        make_batch(&own);
        free_batch(&own);
        _exit(atomic_load(&failures) != 0);
    }
    int status = 1;
    EXPECT(waitpid(grandchild, &status, 0) == grandchild && status == 0);
    _exit(atomic_load(&failures) != 0);
}

static void fork_among_threads(void)
{
    static struct batch busy[2], idle;
    pthread_t threads[2];
    run_thread(make_batch, &idle);
    for (size_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, keep_allocating, &busy[i]) == 0);
    for (int round = 0; round < 30; round++) {
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            be_child(&idle);
        int status = 1;
        EXPECT(waitpid(child, &status, 0) == child);
        EXPECT(status == 0);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    free_batch(&idle);
}

static void *load_and_unload(void *argument)
{
    for (int round = 0; round < 100; round++) {
        void *library = dlopen(argument, RTLD_NOW | RTLD_LOCAL);
        EXPECT(library != NULL && dlsym(library, "ns_name_pton") != NULL);
        if (library != NULL)
            (void)dlclose(library);
        EXPECT(dlopen("no such library", RTLD_NOW) == NULL && dlerror() != NULL);
    }
    return NULL;
}

static void load_libraries(void)
{
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, load_and_unload, "libresolv.so.2") == 0);
    for (size_t i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
}

/* ---- under a limit
 * ---------------------------------------------------------------------------- */

/* Allocates until refused, or up to `enough` bytes, then frees everything. Returns the bytes it
 * got. */
static size_t fill_up(size_t size, size_t enough)
{
    void **last = NULL;
    size_t total = 0;
    while (total < enough) {
        errno = 0;
        void **object = do_malloc(size);
        if (object == NULL) {
            EXPECT(errno == ENOMEM);
            break;
        }
        memset(object, 0x77, size);
        *object = (void *)last;
        last = object;
        total += size;
    }
    while (last != NULL) {
        void **next = *last;
        do_free((void *)last);
        last = next;
    }
    return total;
}

static void *fill_up_elsewhere(void *argument)
{
    size_t limit = *(size_t *)argument;
    EXPECT(fill_up(1000, limit) < limit);
    return NULL;
}

/* Requests are refused cleanly, and freed memory is available again, to every thread. */
static int work_under(size_t limit)
{
    for (size_t size = 16; size <= limit; size *= 5) {
        size_t first = fill_up(size, 2 * limit);
        size_t second = fill_up(size, 2 * limit);
        EXPECT(first < limit && second >= first - first / 8);
        pthread_t thread;
        if (pthread_create(&thread, NULL, fill_up_elsewhere, &limit) == 0)
            (void)pthread_join(thread, NULL);
    }
    return atomic_load(&failures) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return work_under((size_t)strtoull(argv[1], NULL, 10));
    kept = filled(100, 9);
    (void)atexit(allocate_at_exit);
    call_with_sizes();
    call_with_alignments();
    call_with_too_much();
    pass_objects_on();
    exchange_objects();
    exit_late();
    load_libraries();
    fork_among_threads();
    printf("exercise: %s\n", atomic_load(&failures) == 0 ? "as promised" : "FAILED");
    return atomic_load(&failures) == 0 ? 0 : 1;
}
