/*
 * preload.c - puts a program that knows nothing of the library under a budget.
 *
 * usage: LD_PRELOAD=libjsrtmem_preload.so [JSRTMEM_PRELOAD_LIMIT=64M]
 *            [JSRTMEM_PRELOAD_REPORT=stderr|/a/file] program...
 *
 *   JSRTMEM_PRELOAD_LIMIT   limit of all runtimes of the process together: bytes, or with K, M or G
 *   JSRTMEM_PRELOAD_REPORT  where to write a line about usage, peak and refusals at exit
 *
 * Replaces the whole malloc family. Each thread has a runtime of its own and stays entered: most
 * calls take the fast path. All runtimes share one budget, which their callbacks keep.
 *
 *      tenant   idle -> used by a thread, from its first allocation to its exit -> idle -> ...
 *
 * An idle tenant keeps the objects that outlived their thread, and serves the next thread that
 * needs a tenant. There are never more tenants than there were threads at one time. The list of
 * tenants only grows and has no lock: a fork at any moment leaves the child a usable list. In the
 * child, tenants of threads that vanished stay marked as used, and their objects stay where they
 * are.
 *
 * A thread that is past its exit handler, or still settling, borrows an idle tenant for one call.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#define _GNU_SOURCE

#include <jsrtmem.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define NO_LIMIT SIZE_MAX

/* Allocated in its own runtime, and never freed. */
struct tenant {
    JsRuntimeHandle runtime;
    atomic_bool used;
    struct tenant *next;
};

/* used == bytes granted by callbacks - bytes that later events took back */
static struct {
    _Atomic(struct tenant *) tenants;
    _Atomic(size_t) count; /* of tenants */
    _Atomic(size_t) used, peak, limit;
    _Atomic(size_t) refusals; /* requests that got no memory */
    pthread_key_t exit_key;
    bool ready;
    char report[1024]; /* empty: none. A copy: programs may overwrite their environment */
} process = {.limit = NO_LIMIT};

enum phase { PHASE_NEW, PHASE_SETTLING, PHASE_HOME, PHASE_LEAVING };

static _Thread_local struct {
    struct tenant *home;
    enum phase phase;
    size_t granted; /* by the last answer to an Allocate; 0 once a Failure took it back */
} self __attribute__((tls_model("initial-exec")));

/* ---- the budget ------------------------------------------------------------------------------ */

static bool take_from_budget(size_t bytes)
{
    size_t used = atomic_load(&process.used);
    do {
        size_t limit = atomic_load(&process.limit);
        if (used > limit || bytes > limit - used)
            return false;
    } while (!atomic_compare_exchange_weak(&process.used, &used, used + bytes));
    return true;
}

/* A grant was used unless the next event is a Failure: so the peak is noted at the next event. */
static size_t note_peak(void)
{
    size_t used = atomic_load(&process.used);
    size_t peak = atomic_load(&process.peak);
    while (used > peak && !atomic_compare_exchange_weak(&process.peak, &peak, used)) {
    }
    return used > peak ? used : peak;
}

/* No runtime has a limit of its own: a Failure always belongs to this thread's last Allocate. */
static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType event, size_t bytes)
{
    (void)state;
    switch (event) {
    case JsMemoryAllocate:
        (void)note_peak();
        self.granted = take_from_budget(bytes) ? bytes : 0;
        return self.granted != 0;
    case JsMemoryFailure:
        atomic_fetch_sub(&process.used, self.granted);
        self.granted = 0;
        return true;
    default:
        (void)note_peak();
        atomic_fetch_sub(&process.used, bytes);
        return true;
    }
}

/* ---- tenants --------------------------------------------------------------------------------- */

/* A new tenant, used by the calling thread and entered. */
static struct tenant *create(void)
{
    JsRuntimeHandle runtime;
    if (JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError)
        return NULL;
    (void)JsSetRuntimeMemoryAllocationCallback(runtime, NULL, on_event);
    struct tenant *tenant = jsrtmem_calloc(runtime, 1, sizeof *tenant);
    if (tenant == NULL || jsrtmem_enter(runtime) != JsNoError) {
        (void)JsDisposeRuntime(runtime);
        return NULL;
    }
    tenant->runtime = runtime;
    atomic_init(&tenant->used, true);
    tenant->next = atomic_load(&process.tenants);
    while (!atomic_compare_exchange_weak(&process.tenants, &tenant->next, tenant)) {
    }
    atomic_fetch_add(&process.count, 1);
    return tenant;
}

/* An idle tenant, or a new one: used by the calling thread and entered. */
static struct tenant *take(void)
{
    struct tenant *tenant = atomic_load(&process.tenants);
    for (; tenant != NULL; tenant = tenant->next) {
        bool idle = false;
        if (!atomic_compare_exchange_strong(&tenant->used, &idle, true))
            continue;
        JsErrorCode code = jsrtmem_enter(tenant->runtime);
        if (code == JsNoError)
            return tenant;
        /* A thread that did not survive the fork was using this tenant: it stays used for ever. Any
         * other error is lack of memory. */
        if (code != JsErrorWrongThread) {
            atomic_store(&tenant->used, false);
            return NULL;
        }
    }
    return create();
}

static void give(struct tenant *tenant)
{
    (void)jsrtmem_leave(
        tenant->runtime); /* no effect if the library's own exit handler ran first */
    atomic_store(&tenant->used, false);
}

static void on_thread_exit(void *home)
{
    struct tenant *tenant = home;
    self.phase = PHASE_LEAVING;
    self.home = NULL;
    (void)JsCollectGarbage(tenant->runtime);
    give(tenant);
}

/* Gives the thread a tenant until it exits. The first call comes from the dynamic linker or from a
 * constructor, before there is a second thread. */
static struct tenant *settle(void)
{
    self.phase = PHASE_SETTLING;
    if (!process.ready) {
        process.ready = pthread_key_create(&process.exit_key, on_thread_exit) == 0;
    }
    struct tenant *tenant = take();
    if (tenant != NULL && process.ready && pthread_setspecific(process.exit_key, tenant) == 0) {
        self.home = tenant;
        self.phase = PHASE_HOME;
    } else {
        self.phase = PHASE_NEW; /* the tenant, if any, serves this call only */
    }
    return tenant;
}

/* The tenant that serves a call; NULL if there is no memory. To be followed by done. */
static inline struct tenant *begin(void)
{
    if (__builtin_expect(self.home != NULL, 1))
        return self.home;
    return self.phase == PHASE_NEW ? settle() : take();
}

static inline void *done(struct tenant *tenant, void *object)
{
    if (__builtin_expect(tenant != self.home, 0) && tenant != NULL)
        give(tenant);
    if (__builtin_expect(object == NULL, 0)) {
        atomic_fetch_add(&process.refusals, 1);
        errno = ENOMEM;
    }
    return object;
}

/* ---- the family ------------------------------------------------------------------------------ */

EXPORT void *malloc(size_t size)
{
    struct tenant *tenant = begin();
    return done(tenant, tenant == NULL ? NULL : jsrtmem_alloc(tenant->runtime, size));
}

EXPORT void *calloc(size_t count, size_t size)
{
    struct tenant *tenant = begin();
    return done(tenant, tenant == NULL ? NULL : jsrtmem_calloc(tenant->runtime, count, size));
}

static _Noreturn void die_of(const char *call, const void *pointer)
{
    char line[120];
    int length = snprintf(line, sizeof line, "jsrtmem preload: %s of %p, which is no live object\n",
                          call, pointer);
    if (write(STDERR_FILENO, line, (size_t)length) < 0) {
        /* nowhere to report it */
    }
    abort();
}

EXPORT void free(void *pointer)
{
    int error = errno;
    if (jsrtmem_free(pointer) != JsNoError)
        die_of("free", pointer);
    errno = error;
}

/* Resizes an object of another runtime, which jsrtmem_realloc refuses: moves it here unless it
 * fits. */
static void *move(struct tenant *tenant, void *pointer, size_t size)
{
    size_t usable = jsrtmem_usable_size(pointer);
    if (usable == 0)
        die_of("realloc", pointer);
    if (size <= usable && size >= usable - usable / 4)
        return pointer;
    void *moved = jsrtmem_alloc(tenant->runtime, size);
    if (moved == NULL)
        return size <= usable ? pointer : NULL;
    memcpy(moved, pointer, size < usable ? size : usable);
    (void)jsrtmem_free(pointer);
    return moved;
}

EXPORT void *realloc(void *pointer, size_t size)
{
    if (pointer != NULL && size == 0) {
        free(pointer);
        return NULL;
    }
    struct tenant *tenant = begin();
    if (tenant == NULL)
        return done(tenant, NULL);
    void *object = jsrtmem_realloc(tenant->runtime, pointer, size);
    if (object == NULL) {
        jsrtmem_refusal_info info = {.struct_size = sizeof info};
        (void)jsrtmem_last_refusal(&info);
        if (info.reason == JSRTMEM_REFUSAL_ARGUMENT)
            object = move(tenant, pointer, size);
    }
    return done(tenant, object);
}

EXPORT void *reallocarray(void *pointer, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return done(NULL, NULL);
    return realloc(pointer, bytes);
}

static void *aligned(size_t alignment, size_t size)
{
    struct tenant *tenant = begin();
    return done(tenant,
                tenant == NULL ? NULL : jsrtmem_aligned_alloc(tenant->runtime, alignment, size));
}

/* As in glibc, an alignment that is no power of two is rounded up to one. */
EXPORT void *memalign(size_t alignment, size_t size)
{
    size_t power = 1;
    while (power < alignment && power <= SIZE_MAX / 2)
        power *= 2;
    if (power < alignment) {
        errno = EINVAL;
        return NULL;
    }
    return aligned(power, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0)
        return EINVAL;
    int error = errno;
    void *object = aligned(alignment, size);
    errno = error;
    if (object == NULL)
        return ENOMEM;
    *result = object;
    return 0;
}

EXPORT void *valloc(size_t size)
{
    return aligned((size_t)sysconf(_SC_PAGESIZE), size);
}

EXPORT void *pvalloc(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size > SIZE_MAX - (page - 1))
        return done(NULL, NULL);
    return aligned(page, (size + page - 1) & ~(page - 1));
}

EXPORT size_t malloc_usable_size(void *pointer)
{
    return jsrtmem_usable_size(pointer);
}

/* ---- options and report ---------------------------------------------------------------------- */

static _Noreturn void bad_option(const char *name, const char *want)
{
    (void)dprintf(STDERR_FILENO, "jsrtmem preload: %s wants %s; not: %s\n", name, want,
                  getenv(name));
    _exit(2);
}

/* Reads digits, followed by at most one of K, M and G. */
static bool parse_size(const char *text, size_t *size)
{
    static const char suffixes[] = "KMG";
    size_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(value, (size_t)10, &value) ||
            __builtin_add_overflow(value, (size_t)(*p - '0'), &value))
            return false;
    }
    if (p == text)
        return false;
    const char *suffix = *p == '\0' ? NULL : strchr(suffixes, *p);
    if (suffix != NULL) {
        unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (value > SIZE_MAX >> shift)
            return false;
        value <<= shift;
        p++;
    }
    *size = value;
    return *p == '\0';
}

__attribute__((constructor)) static void read_options(void)
{
    const char *text = getenv("JSRTMEM_PRELOAD_LIMIT");
    size_t limit = NO_LIMIT;
    if (text != NULL && !parse_size(text, &limit))
        bad_option("JSRTMEM_PRELOAD_LIMIT", "bytes, or with K, M or G");
    atomic_store(&process.limit, limit);
    text = getenv("JSRTMEM_PRELOAD_REPORT");
    if (text == NULL)
        return;
    if ((strcmp(text, "stderr") != 0 && *text != '/') || strlen(text) >= sizeof process.report)
        bad_option("JSRTMEM_PRELOAD_REPORT", "stderr, or the absolute path of a file");
    memcpy(process.report, text, strlen(text) + 1);
}

__attribute__((destructor)) static void report(void)
{
    if (*process.report == '\0')
        return;
    jsrtmem_process_stats stats = {.struct_size = sizeof stats};
    (void)jsrtmem_get_process_stats(&stats);
    char line[256];
    int length = snprintf(line, sizeof line,
                          "preload: %.60s: usage %zu, by the events %zu, peak %zu, refusals %zu, "
                          "runtimes %zu\n",
                          program_invocation_short_name, stats.usage, atomic_load(&process.used),
                          note_peak(), atomic_load(&process.refusals), atomic_load(&process.count));
    int file = STDERR_FILENO;
    if (*process.report == '/')
        file = open(process.report, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file >= 0 && write(file, line, (size_t)length) == length && file != STDERR_FILENO)
        (void)close(file);
}
