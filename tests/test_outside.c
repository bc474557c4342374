/*
 * The OS refuses the shipped library, from outside: this program's own mmap family stands in front
 * of the libc's. The workload uses every path. For each of its calls, in a process of its own,
 * that call fails, once or from then on, with one of a few errnos. Then the address space is
 * really limited, and mappings really run out.
 *
 * usage: test_outside [--all]     --all: each call with each of the errnos, a few minutes
 *
 * After each refusal: all objects as before, a clear reason, the right events. Once the OS no
 * longer refuses: everything works, the usage goes back to 0, and only the library's tables stay
 * mapped.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "support/child.h"
#include "support/host.h"
#include "support/marked.h"
#include "support/mmap_faults.h"
#include "support/unit.h"
#include "support/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define OBJECTS 220
#define CONTEXTS 1100 /* more contexts than a chunk holds */
#define DEPTH 20      /* more nested enters than a thread's record holds */

/* Shared with the children. */
struct tally {
    size_t calls;    /* calls of the mmap family in a run without refusals */
    size_t refused;  /* calls that the OS refused */
    size_t refusals; /* requests that the library refused */
};
static struct tally *tally;

/* One run of the workload. */
struct run {
    JsRuntimeHandle runtime;
    struct host host;
    struct object objects[OBJECTS];
    size_t entered;
};

/* ---- what must hold -------------------------------------------------------------------------- */

static int check_all(struct run *self)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};

    host_settle(&self->host);
    CHILD_CHECK(self->host.faults == 0);
    CHILD_CHECK(jsrtmem_get_stats(self->runtime, &stats) == JsNoError);
    CHILD_CHECK(stats.usage == self->host.balance);
    CHILD_CHECK(stats.peak_usage == self->host.peak);
    CHILD_CHECK(stats.allocate_events == self->host.of_type[JsMemoryAllocate]);
    CHILD_CHECK(stats.free_events == self->host.of_type[JsMemoryFree]);
    CHILD_CHECK(stats.failure_events == self->host.of_type[JsMemoryFailure]);
    for (size_t i = 0; i < OBJECTS; i++) {
        CHILD_CHECK(self->objects[i].bytes == NULL || is_intact(&self->objects[i]));
    }
    return 0;
}

/* The state after a refused allocation. */
static int check_refusal(struct run *self, size_t failures)
{
    tally->refusals++;
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
    CHILD_CHECK(last_refusal().runtime == self->runtime);
    CHILD_CHECK(self->host.of_type[JsMemoryFailure] > failures);
    return tally->refusals % 32 < 4 ? check_all(self) : 0;
}

/* ---- the workload ---------------------------------------------------------------------------- */

enum way { ALLOC, CALLOC, ALIGNED };

/* Allocates an object. If `once`, the second attempt must succeed. */
static int obtain(struct run *self, size_t index, enum way way, size_t size, bool once)
{
    struct object *object = &self->objects[index];

    for (int attempt = 0; attempt < 2 && object->bytes == NULL; attempt++) {
        size_t failures = self->host.of_type[JsMemoryFailure];
        void *bytes = way == ALLOC    ? jsrtmem_alloc(self->runtime, size)
                      : way == CALLOC ? jsrtmem_calloc(self->runtime, 1, size)
                                      : jsrtmem_aligned_alloc(self->runtime, KIB(128), size);

        host_settle(&self->host);
        if (bytes == NULL) {
            CHILD_CHECK(check_refusal(self, failures) == 0);
            continue;
        }
        CHILD_CHECK(way != CALLOC || bytes_are(bytes, size, 0));
        CHILD_CHECK(way != ALIGNED || (uintptr_t)bytes % KIB(128) == 0);
        *object = (struct object){bytes, size, 1000 + 2 * index};
        mark(object);
    }
    CHILD_CHECK(object->bytes != NULL || !once);
    return 0;
}

static int change(struct run *self, size_t index, size_t size, bool once)
{
    struct object *object = &self->objects[index];
    bool done = object->bytes == NULL;

    for (int attempt = 0; attempt < 2 && !done; attempt++) {
        size_t failures = self->host.of_type[JsMemoryFailure];
        void *bytes = jsrtmem_realloc(self->runtime, object->bytes, size);

        host_settle(&self->host);
        done = bytes != NULL;
        if (!done) {
            CHILD_CHECK(size > object->size); /* shrinking never fails */
            CHILD_CHECK(check_refusal(self, failures) == 0);
            continue;
        }
        CHILD_CHECK(start_is_kept(object, bytes, size));
        *object = (struct object){bytes, size, object->id};
        mark(object);
    }
    CHILD_CHECK(done || !once);
    return 0;
}

static int release(struct run *self, size_t index)
{
    if (self->objects[index].bytes != NULL) {
        CHILD_CHECK(jsrtmem_free(self->objects[index].bytes) == JsNoError);
        self->objects[index].bytes = NULL;
    }
    return 0;
}

/* Makes a call that returns a code. If it returns OutOfMemory, the OS refused, and the call is
 * repeated. If `once`, the second attempt must succeed. */
#define ATTEMPT(call, once)                                                          \
    do {                                                                             \
        JsErrorCode code_ = (call);                                                  \
        if (code_ == JsErrorOutOfMemory) {                                           \
            tally->refusals++;                                                       \
            code_ = (call);                                                          \
        }                                                                            \
        CHILD_CHECK(code_ == JsNoError || (!(once) && code_ == JsErrorOutOfMemory)); \
    } while (0)

static int create(struct run *self, bool once)
{
    memset(self, 0, sizeof(*self));
    ATTEMPT(JsCreateRuntime(JsRuntimeAttributeEnableIdleProcessing, NULL, &self->runtime), once);
    if (self->runtime == NULL) {
        return 0;
    }
    self->host.runtime = self->runtime;
    CHILD_CHECK(JsSetRuntimeMemoryAllocationCallback(self->runtime, &self->host, host_callback) ==
                JsNoError);
    return 0;
}

static int enter(struct run *self, JsRuntimeHandle other, bool once)
{
    for (size_t i = 0; i < DEPTH; i++) {
        JsRuntimeHandle runtime = i % 2 == 0 ? self->runtime : other;
        JsErrorCode code = jsrtmem_enter(runtime);

        if (code == JsErrorOutOfMemory) {
            tally->refusals++;
            code = jsrtmem_enter(runtime);
        }
        if (code != JsNoError) {
            CHILD_CHECK(code == JsErrorOutOfMemory && !once);
            break;
        }
        self->entered++;
    }
    return 0;
}

static int leave(struct run *self, JsRuntimeHandle other)
{
    while (self->entered > 0) {
        self->entered--;
        CHILD_CHECK(jsrtmem_leave(self->entered % 2 == 0 ? self->runtime : other) == JsNoError);
    }
    return 0;
}

static int use_objects(struct run *self, bool once)
{
    for (size_t i = 0; i < 160; i++) {
        CHILD_CHECK(obtain(self, i, i % 7 == 0 ? CALLOC : ALLOC, 1 + i * i / 8, once) == 0);
    }
    for (size_t i = 160; i < 180; i += 2) {
        CHILD_CHECK(obtain(self, i, (enum way)(i / 2 % 3), KIB(20) * (i - 158), once) == 0);
    }
    CHILD_CHECK(obtain(self, 180, ALLOC, MIB(3), once) == 0);
    CHILD_CHECK(check_all(self) == 0);
    for (size_t i = 157; i < 181; i++) {
        CHILD_CHECK(change(self, i, self->objects[i].size * 2 + 100, once) == 0);
        CHILD_CHECK(change(self, i, self->objects[i].size * 5, once) == 0);
        CHILD_CHECK(change(self, i, self->objects[i].size / 4 + 1, once) == 0);
        CHILD_CHECK(i % 2 == 0 || change(self, i, 50, once) == 0);
    }
    CHILD_CHECK(check_all(self) == 0);
    for (size_t i = 0; i < 181; i += 1 + i % 2) {
        CHILD_CHECK(release(self, i) == 0);
    }
    CHILD_CHECK(JsCollectGarbage(self->runtime) == JsNoError);
    for (size_t i = 181; i < OBJECTS; i++) {
        CHILD_CHECK(obtain(self, i, ALLOC, 300 * (i - 180), once) == 0);
    }
    return check_all(self);
}

static int use_contexts(struct run *self, bool once)
{
    JsContextRef context = NULL;
    unsigned int tick = 0;
    size_t refusals = tally->refusals;

    for (size_t i = 0; i < CONTEXTS && tally->refusals < refusals + 10; i++) {
        ATTEMPT(JsCreateContext(self->runtime, &context), once);
    }
    if (context != NULL) {
        CHILD_CHECK(JsSetCurrentContext(context) == JsNoError);
        CHILD_CHECK(JsIdle(&tick) == JsNoError);
        CHILD_CHECK(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);
    }
    return 0;
}

/* A second tenant uses the memory that the first one gave back. */
static int use_reserve(bool once)
{
    static struct run other;

    CHILD_CHECK(jsrtmem_set_reserve_limit(KIB(128)) == JsNoError);
    CHILD_CHECK(jsrtmem_set_reserve_limit(MIB(32)) == JsNoError);
    CHILD_CHECK(create(&other, once) == 0);
    if (other.runtime != NULL) {
        for (size_t i = 0; i < 100; i++) {
            CHILD_CHECK(obtain(&other, i, ALLOC, 50 * i, once) == 0);
        }
        CHILD_CHECK(check_all(&other) == 0);
        CHILD_CHECK(JsDisposeRuntime(other.runtime) == JsNoError);
        host_settle(&other.host);
        CHILD_CHECK(other.host.faults == 0 && other.host.balance == 0);
    }
    return 0;
}

/* If `once`, at most one call is refused, so every second attempt succeeds. */
static int work(bool once)
{
    static struct run first;
    static struct run second;

    CHILD_CHECK(create(&first, once) == 0 && create(&second, once) == 0);
    if (first.runtime != NULL && second.runtime != NULL) {
        CHILD_CHECK(use_objects(&first, once) == 0);
        CHILD_CHECK(enter(&first, second.runtime, once) == 0);
        CHILD_CHECK(use_objects(&second, once) == 0);
        CHILD_CHECK(use_objects(&first, once) == 0);
        CHILD_CHECK(leave(&first, second.runtime) == 0);
        CHILD_CHECK(use_contexts(&first, once) == 0);
        CHILD_CHECK(use_reserve(once) == 0);
        CHILD_CHECK(check_all(&first) == 0 && check_all(&second) == 0);
    }
    struct run *runs[] = {&first, &second};
    for (size_t i = 0; i < 2; i++) {
        if (runs[i]->runtime != NULL) {
            CHILD_CHECK(JsDisposeRuntime(runs[i]->runtime) == JsNoError);
            host_settle(&runs[i]->host);
            CHILD_CHECK(runs[i]->host.faults == 0 && runs[i]->host.balance == 0);
        }
    }
    return use_reserve(once);
}

/* The workload succeeds once the OS refuses nothing. */
static int recover(size_t mapped_before)
{
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    size_t refusals = tally->refusals;

    mmap_faults_disarm();
    CHILD_CHECK(work(true) == 0);
    CHILD_CHECK(tally->refusals == refusals);
    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    CHILD_CHECK(stats.runtimes == 0 && stats.usage == 0 && stats.reserve == 0);
    /* This thread's record of nested enters is one page, which belongs to no runtime. */
    size_t frames = mmap_faults_mapped() - mapped_before - stats.metadata;
    CHILD_CHECK(frames <= page_size());
    return 0;
}

/* ---- each call of the family ----------------------------------------------------------------- */

static bool all; /* each call with each errno, instead of one errno in turn */

struct point {
    size_t nth;
    bool onward;
    int error;
};

static int run_point(void *argument)
{
    const struct point *point = argument;
    size_t mapped = mmap_faults_mapped();

    mmap_faults_arm(point->nth == 0 ? 0 : MMAP_ALL, point->nth, point->onward, point->error);
    CHILD_CHECK(work(!point->onward) == 0);
    if (point->nth == 0) {
        tally->calls = mmap_faults_calls(MMAP_ALL);
    }
    tally->refused += mmap_faults_refused();
    CHILD_CHECK(point->nth == 0 || mmap_faults_refused() > 0);
    return recover(mapped);
}

static void every_call_is_refused(void **state)
{
    static const int errors[] = {ENOMEM, EPERM, EAGAIN};
    struct point point = {0, false, 0};
    size_t tried = 0;
    size_t survived = 0;

    (void)state;
    assert_int_equal(child_run(run_point, &point), 0);
    assert_true(tally->calls > 100);
    /* An emulator needs a second per process: it gets only a tenth of the points. */
    size_t step = getenv("JSRTMEM_EMULATOR") != NULL ? 10 : 1;
    for (point.nth = 1; point.nth <= tally->calls; point.nth += step) {
        for (size_t mode = 0; mode < 2 * COUNT_OF(errors); mode++) {
            if (!all && mode / 2 != point.nth % COUNT_OF(errors)) {
                continue;
            }
            point.onward = mode % 2 != 0;
            point.error = errors[mode / 2];
            tried++;
            int result = child_run(run_point, &point);
            survived += result == 0;
            if (result != 0) {
                print_error("call %zu, %s, errno %d: %d\n", point.nth,
                            point.onward ? "from there on" : "once", point.error, result);
            }
        }
    }
    print_message("             %zu calls, %zu points tried, %zu survived; %zu calls refused, and "
                  "%zu requests\n",
                  tally->calls, tried, survived, tally->refused, tally->refusals);
    assert_int_equal(survived, tried);
    assert_true(tally->refused >= tried && tally->refusals > tried / 4);
}

/* ---- limits of the process ------------------------------------------------------------------- */

static int run_with_little_space(void *argument)
{
    size_t mapped = mmap_faults_mapped();

    CHILD_CHECK(child_limit_address_space(*(const size_t *)argument) == 0);
    CHILD_CHECK(work(false) == 0);
    CHILD_CHECK(child_unlimit_address_space() == 0);
    return recover(mapped);
}

static void address_space_runs_out(void **state)
{
    static const size_t rooms[] = {0,      KIB(64), KIB(128), KIB(300), KIB(700), MIB(1),
                                   MIB(2), MIB(4),  MIB(8),   MIB(16),  MIB(32)};

    (void)state;
    if (!child_has_address_limit()) {
        print_message("             not run: nothing limits the address space of a process here\n");
        skip();
    }
    tally->refusals = 0;
    for (size_t i = 0; i < COUNT_OF(rooms); i++) {
        size_t before = tally->refusals;
        size_t room = rooms[i];
        int result = child_run(run_with_little_space, &room);

        require(result == 0, "with %zu KiB: %d", room >> 10, result);
        assert_true(tally->refusals > before || room >= MIB(16));
    }
    print_message("             %zu steps, %zu requests refused\n", COUNT_OF(rooms),
                  tally->refusals);
}

static size_t mapping_limit(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    char line[64] = "";

    if (file == NULL) {
        return 0;
    }
    bool read = fgets(line, sizeof(line), file) != NULL;
    (void)fclose(file);
    return read ? (size_t)strtoull(line, NULL, 10) : 0;
}

/* Splits one reservation by protecting every second page differently, until the process has as many
 * mappings as the OS allows. */
static int run_with_few_mappings(void *argument)
{
    size_t spare = *(const size_t *)argument;
    size_t pages = 2 * mapping_limit();
    size_t mapped = mmap_faults_mapped();
    size_t done = 1;
    char *field = mmap(NULL, pages * page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHILD_CHECK(field != MAP_FAILED);
    while (done < pages && mprotect(field + done * page_size(), page_size(), PROT_READ) == 0) {
        done += 2;
    }
    CHILD_CHECK(done < pages && errno == ENOMEM);
    for (size_t i = 0; i < spare; i++) { /* each iteration gives two mappings back */
        done -= 2;
        CHILD_CHECK(mprotect(field + done * page_size(), page_size(), PROT_NONE) == 0);
    }
    CHILD_CHECK(work(false) == 0);
    CHILD_CHECK(munmap(field, pages * page_size()) == 0);
    return recover(mapped);
}

static void mappings_run_out(void **state)
{
    static const size_t spares[] = {0, 1, 2, 3, 5, 8, 20, 50};

    (void)state;
    /* Not run if the limit is unknown or takes minutes to reach, or if a sanitizer or emulator maps
     * memory as well. */
    bool alone = !UNIT_SANITIZED && getenv("JSRTMEM_EMULATOR") == NULL;
    if (!alone || mapping_limit() == 0 || mapping_limit() > 300000) {
        print_message("             not run: no limit to mappings that this process can reach\n");
        skip();
    }
    tally->refusals = 0;
    for (size_t i = 0; i < COUNT_OF(spares); i++) {
        size_t spare = spares[i];
        int result = child_run(run_with_few_mappings, &spare);

        require(result == 0, "with %zu mappings to spare: %d", 2 * spare, result);
    }
    assert_true(tally->refusals > 0);
    print_message("             %zu steps below %zu mappings, %zu requests refused\n",
                  COUNT_OF(spares), mapping_limit(), tally->refusals);
}

/* ---- regions that cannot be given back ------------------------------------------------------- */

static int keep_failing(void *unused)
{
    JsRuntimeHandle runtime = NULL;
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    size_t mapped = mmap_faults_mapped();

    (void)unused;
    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    CHILD_CHECK(jsrtmem_alloc(runtime, 1) != NULL);
    /* With both calls refused, a misaligned mapping is neither unmapped nor made accessible. */
    mmap_faults_arm(MMAP_UNMAP | MMAP_PROTECT, 1, true, ENOMEM);
    for (size_t i = 0; i < 3000; i++) {
        (void)jsrtmem_aligned_alloc(runtime, MIB(4), 100);
    }
    tally->refused = mmap_faults_refused();
    mmap_faults_disarm();
    CHILD_CHECK(jsrtmem_alloc(runtime, MIB(1)) != NULL);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    CHILD_CHECK(mmap_faults_mapped() == mapped + stats.metadata);
    return 0;
}

static void what_could_not_be_discarded_is_not_lost(void **state)
{
    (void)state;
    assert_int_equal(child_run(keep_failing, NULL), 0);
    assert_true(tally->refused > 0);
}

/* ---- forks in the middle of a change of size ------------------------------------------------- */

/* The object that another thread resizes. `host` is what the host maps at once in the place that
 * the object, or its end, has left. */
static struct change {
    JsRuntimeHandle runtime;
    void *object;
    size_t size;
    char *host;
    gate *changed, *forked;
} resize;

static void map_and_wait(void *address)
{
    resize.host = mmap(address, MIB(1), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    gate_open(resize.changed);
    gate_wait(resize.forked);
}

static void change_size(void *argument)
{
    (void)argument;
    resize.object = jsrtmem_realloc(resize.runtime, resize.object, resize.size);
}

static int dispose_in_child(void *argument)
{
    (void)argument;
    CHILD_CHECK(JsDisposeRuntime(resize.runtime) == JsNoError);
    resize.host[0] = resize.host[MIB(1) - 1] = 1; /* faults if the dispose unmapped it */
    return 0;
}

/* The child disposes the runtime, as it may. That must unmap the runtime's memory and nothing
 * else. */
static void fork_while_changed(size_t size, enum mmap_function function)
{
    worker *other = worker_start();
    assert_ok(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &resize.runtime));
    resize.object = jsrtmem_alloc(resize.runtime, MIB(8));
    resize.size = size;
    resize.changed = gate_new();
    resize.forked = gate_new();
    mmap_faults_arm(MMAP_REMAP, 1, false, ENOMEM); /* no growth in place: the object moves */
    mmap_faults_after(function, map_and_wait);
    worker_post(other, change_size, NULL);
    gate_wait(resize.changed);
    assert_ptr_not_equal(resize.host, MAP_FAILED);
    int result = child_run(dispose_in_child, NULL);
    gate_open(resize.forked);
    worker_stop(other);
    mmap_faults_disarm();
    assert_int_equal(result, 0);
    assert_non_null(resize.object);
    assert_ok(JsDisposeRuntime(resize.runtime));
    assert_int_equal(munmap(resize.host, MIB(1)), 0);
    gate_delete(resize.changed);
    gate_delete(resize.forked);
}

static void a_fork_while_an_object_moves_leaves_its_old_place_alone(void **state)
{
    (void)state;
    fork_while_changed(MIB(32), MMAP_REMAP);
}

static void a_fork_while_an_object_shrinks_leaves_its_old_end_alone(void **state)
{
    (void)state;
    fork_while_changed(MIB(4), MMAP_UNMAP);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_refused),
        cmocka_unit_test(address_space_runs_out),
        cmocka_unit_test(mappings_run_out),
        cmocka_unit_test(what_could_not_be_discarded_is_not_lost),
        cmocka_unit_test(a_fork_while_an_object_moves_leaves_its_old_place_alone),
        cmocka_unit_test(a_fork_while_an_object_shrinks_leaves_its_old_end_alone),
    };

    all = argc > 1 && strcmp(argv[1], "--all") == 0;
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) {
        return 1;
    }
    return cmocka_run_group_tests_name("outside", tests, NULL, NULL);
}
