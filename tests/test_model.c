/*
 * A model that does random things to several runtimes, from two threads and from inside callbacks,
 * and checks the library against it: usage == accepted - freed at every event and at every
 * read, here and on other threads; no growth above the limit in force; 0 after dispose; objects
 * keep their bytes.
 *
 *      test_model [seed [operations]]
 *
 * Three threads. The main thread and a mate take turns, so the model itself needs no lock. An
 * observer reads all the time, and compares if no operation ran meanwhile (`epoch` is even).
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/inside.h"
#include "support/marked.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define TENANTS 6
#define OBJECTS_MAX 300
#define STACK_MAX 6
#define CONTEXTS_MAX 4

enum owner { NOBODY, MAIN, MATE };

struct tenant {
    struct host host;
    JsRuntimeHandle runtime;
    struct object objects[OBJECTS_MAX];
    size_t count;
    JsContextRef contexts[CONTEXTS_MAX];
    unsigned counts[CONTEXTS_MAX]; /* references added; 0: the context is not kept */
    unsigned veto;                 /* percent of the requests that the host refuses */
    bool disposing;
};

struct model {
    uint64_t seed;
    struct random random;
    struct tenant tenants[TENANTS];
    struct tenant *entered[STACK_MAX]; /* entered by the main thread, innermost last */
    size_t depth;
    struct tenant *mates;   /* the one that the mate has entered */
    struct tenant *current; /* the one whose context is current on the main thread */
    size_t current_index;
    worker *mate, *reader, *observer;
    uint64_t next_id;
    size_t nested; /* operations inside callbacks */
    size_t operation;
    const char *name;
};

static struct model the_model;

/* Shared with the observer. */
static atomic_size_t epoch;
static _Atomic(JsRuntimeHandle) seen_runtimes[TENANTS];
static atomic_size_t seen_usages[TENANTS];
static atomic_bool observer_stops;
static atomic_size_t observer_faults;
static atomic_size_t observer_reads;

#define hold(condition, ...)                                                     \
    do {                                                                         \
        if (!(condition)) {                                                      \
            print_error("seed %" PRIu64 ", operation %zu, %s\n", the_model.seed, \
                        the_model.operation, the_model.name);                    \
            unit_fail(__FILE__, __LINE__, __VA_ARGS__);                          \
        }                                                                        \
    } while (0)

static size_t below(size_t bound)
{
    return random_below(&the_model.random, bound);
}

static bool chance(unsigned percent)
{
    return random_chance(&the_model.random, percent);
}

static struct tenant *any_tenant(void)
{
    return &the_model.tenants[below(TENANTS)];
}

static size_t any_size(void)
{
    return chance(1) ? 0 : random_size(&the_model.random, chance(4) ? 22 : 11);
}

static enum owner owner_of(const struct tenant *tenant)
{
    if (the_model.mates == tenant) {
        return MATE;
    }
    for (size_t i = 0; i < the_model.depth; i++) {
        if (the_model.entered[i] == tenant) {
            return MAIN;
        }
    }
    return the_model.current == tenant ? MAIN : NOBODY;
}

/* ---- objects -------------------------------------------------------------------------------- */

static void keep_object(struct tenant *tenant, void *bytes, size_t size)
{
    struct object *object = &tenant->objects[tenant->count++];

    *object = (struct object){bytes, size, the_model.next_id};
    the_model.next_id += 2;
    mark(object);
}

static struct object take_object(struct tenant *tenant)
{
    size_t index = below(tenant->count);
    struct object object = tenant->objects[index];

    tenant->objects[index] = tenant->objects[--tenant->count];
    return object;
}

static void *allocate_somehow(JsRuntimeHandle runtime, size_t size, unsigned how)
{
    if (how == 0) {
        void *object = jsrtmem_calloc(runtime, 1, size);

        return object == NULL || bytes_are(object, size, 0) ? object : &the_model;
    }
    if (how == 1) {
        return jsrtmem_aligned_alloc(runtime, (size_t)16 << (size % 13), size);
    }
    return jsrtmem_alloc(runtime, size);
}

/* ---- inside callbacks ----------------------------------------------------------------------- */

static void host_fault(struct host *host, const char *text)
{
    host->fault = host->faults++ == 0 ? text : host->fault;
}

static void change_limit(struct tenant *tenant)
{
    size_t usage = tenant->host.balance;
    size_t limits[] = {SIZE_MAX,  SIZE_MAX, usage,   usage + below(MIB(8)), usage + KIB(64), 0,
                       usage / 2, MIB(64),  SIZE_MAX};
    size_t limit = limits[below(COUNT_OF(limits))];
    size_t read = limit + 1;

    if (JsSetRuntimeMemoryLimit(tenant->runtime, limit) != JsNoError ||
        JsGetRuntimeMemoryLimit(tenant->runtime, &read) != JsNoError || read != limit) {
        host_fault(&tenant->host, "a limit does not read back");
    }
}

static void nested_allocation(struct tenant *tenant)
{
    size_t size = any_size();

    if (tenant->count < OBJECTS_MAX - 10) {
        void *object = allocate_somehow(tenant->runtime, size, (unsigned)below(3));

        the_model.nested++;
        if (object == &the_model) {
            host_fault(&tenant->host, "calloc inside a callback does not zero");
        } else if (object != NULL) {
            keep_object(tenant, object, size);
        }
    }
}

static void nested_free(struct tenant *tenant)
{
    if (tenant->count > 0) {
        struct object object = take_object(tenant);

        the_model.nested++;
        if (!is_intact(&object) || jsrtmem_free(object.bytes) != JsNoError) {
            host_fault(&tenant->host, "an object is lost inside a callback");
        }
    }
}

static void nested_read(struct tenant *tenant, const struct host_event *event)
{
    size_t usage = event->usage + 1;

    if (worker_do(the_model.reader, call_get_usage, tenant->runtime, &usage) != JsNoError ||
        usage != event->usage) {
        host_fault(&tenant->host, "another thread reads another usage inside an event");
    }
}

static void nested_use_of_another(struct tenant *tenant)
{
    struct tenant *other = any_tenant();

    if (other == tenant || other->host.inside || other->disposing) {
        return;
    }
    if (chance(50)) {
        nested_allocation(other);
    } else {
        nested_free(other);
    }
}

static bool act_in_callback(struct host *host, const struct host_event *event)
{
    struct tenant *tenant = host->context;

    if (chance(10)) {
        nested_read(tenant, event);
    }
    if (chance(10)) {
        change_limit(tenant);
    }
    if (chance(10) && JsDisposeRuntime(tenant->runtime) != JsErrorRuntimeInUse) {
        host_fault(host, "dispose inside a callback");
    }
    if (chance(10) && JsCollectGarbage(tenant->runtime) != JsErrorRuntimeInUse) {
        host_fault(host, "collect inside a callback");
    }
    if (!tenant->disposing && chance(15)) {
        nested_allocation(tenant);
    }
    if (!tenant->disposing && chance(15)) {
        nested_free(tenant);
    }
    if (chance(10)) {
        nested_use_of_another(tenant);
    }
    if (chance(5)) {
        (void)JsSetRuntimeMemoryAllocationCallback(tenant->runtime, host, host_callback);
    }
    return !chance(tenant->veto);
}

/* ---- operations ----------------------------------------------------------------------------- */

static void start_tenant(struct tenant *tenant)
{
    memset(tenant, 0, sizeof(*tenant));
    tenant->runtime = host_new_runtime(&tenant->host);
    host_set_hook(&tenant->host, act_in_callback, tenant);
}

/* Checks that the reason of a refusal fits the owner of the runtime and the events reported. */
static void check_refusal(const struct tenant *tenant, jsrtmem_refusal reason, bool by_main,
                          size_t failures_before)
{
    enum owner owner = owner_of(tenant);

    if (reason == JSRTMEM_REFUSAL_THREAD) {
        hold(owner == (by_main ? MATE : MAIN), "refused as another thread's, owner %d", (int)owner);
        return;
    }
    hold(owner == NOBODY || owner == (by_main ? MAIN : MATE), "not refused as another thread's");
    hold(reason == JSRTMEM_REFUSAL_LIMIT || reason == JSRTMEM_REFUSAL_HOST,
         "refused with reason %d", (int)reason);
    hold(tenant->host.of_type[JsMemoryFailure] > failures_before, "refused without a Failure");
}

struct allocation {
    JsRuntimeHandle runtime;
    size_t size;
    unsigned how;
    void *object;
    jsrtmem_refusal reason;
};

static void do_allocation(void *argument)
{
    struct allocation *self = argument;

    self->object = allocate_somehow(self->runtime, self->size, self->how);
    self->reason = self->object == NULL ? last_reason() : JSRTMEM_REFUSAL_NONE;
}

static void allocate_as(bool by_main)
{
    struct tenant *tenant = any_tenant();
    struct allocation job = {tenant->runtime, any_size(), (unsigned)below(6), NULL,
                             JSRTMEM_REFUSAL_NONE};
    size_t failures = tenant->host.of_type[JsMemoryFailure];

    if (tenant->count >= OBJECTS_MAX / 2) {
        return;
    }
    if (by_main) {
        do_allocation(&job);
    } else {
        worker_run(the_model.mate, do_allocation, &job);
    }
    hold(job.object != &the_model, "calloc does not zero");
    if (job.object == NULL) {
        check_refusal(tenant, job.reason, by_main, failures);
    } else {
        keep_object(tenant, job.object, job.size);
    }
}

static void allocate(void)
{
    allocate_as(true);
}

static void allocate_on_the_mate(void)
{
    allocate_as(false);
}

static void free_as(bool by_main)
{
    struct tenant *tenant = any_tenant();

    if (tenant->count == 0) {
        return;
    }
    struct object object = take_object(tenant);
    size_t nested = the_model.nested;
    bool queued = owner_of(tenant) == (by_main ? MATE : MAIN);

    hold(is_intact(&object), "object %" PRIu64 " was overwritten", object.id);
    hold((by_main ? jsrtmem_free(object.bytes)
                  : worker_do(the_model.mate, call_free, object.bytes, NULL)) == JsNoError,
         "an object cannot be freed");
    if (nested == the_model.nested && !queued) {
        hold(jsrtmem_free(object.bytes) == JsErrorInvalidArgument, "an object is freed twice");
        hold(jsrtmem_usable_size(object.bytes) == 0, "a freed object has a size");
    }
}

static void free_here(void)
{
    free_as(true);
}

static void free_on_the_mate(void)
{
    free_as(false);
}

static void reallocate(void)
{
    struct tenant *tenant = any_tenant();
    size_t size = any_size() + 1;

    if (tenant->count == 0) {
        return;
    }
    struct object object = take_object(tenant);
    size_t failures = tenant->host.of_type[JsMemoryFailure];
    hold(is_intact(&object), "object %" PRIu64 " was overwritten", object.id);
    unsigned char *moved = jsrtmem_realloc(tenant->runtime, object.bytes, size);
    if (moved == NULL) {
        check_refusal(tenant, last_reason(), true, failures);
        hold(size > object.size || last_reason() == JSRTMEM_REFUSAL_THREAD, "a shrink failed");
        hold(is_intact(&object), "a failed realloc changed object %" PRIu64, object.id);
        tenant->objects[tenant->count++] = object;
        return;
    }
    hold(start_is_kept(&object, moved, size), "realloc lost bytes");
    keep_object(tenant, moved, size);
}

static void set_limit(void)
{
    change_limit(any_tenant());
}

static void set_veto(void)
{
    unsigned vetoes[] = {0, 0, 0, 20, 100};

    any_tenant()->veto = vetoes[below(COUNT_OF(vetoes))];
}

static void reset_peak(void)
{
    struct tenant *tenant = any_tenant();

    assert_ok(jsrtmem_reset_peak(tenant->runtime));
    tenant->host.peak = tenant->host.balance;
}

static void collect(void)
{
    struct tenant *tenant = any_tenant();
    enum owner owner = owner_of(tenant);
    size_t nested = the_model.nested;

    assert_code(JsCollectGarbage(tenant->runtime), owner == MATE ? JsErrorWrongThread : JsNoError);
    if (owner == NOBODY && nested == the_model.nested) {
        jsrtmem_stats stats = stats_of(tenant->runtime);

        hold(stats.live_objects == tenant->count, "%zu objects live, not %zu", stats.live_objects,
             tenant->count);
        hold(tenant->count != 0 || stats.usage == 0, "%zu bytes are held for nothing", stats.usage);
    }
}

static void enter(void)
{
    struct tenant *tenant = any_tenant();

    if (the_model.depth < STACK_MAX) {
        bool taken = owner_of(tenant) == MATE;

        assert_code(jsrtmem_enter(tenant->runtime), taken ? JsErrorWrongThread : JsNoError);
        if (!taken) {
            the_model.entered[the_model.depth++] = tenant;
        }
    }
}

static void leave(void)
{
    struct tenant *tenant = any_tenant();

    if (the_model.depth == 0 || the_model.entered[the_model.depth - 1] != tenant) {
        assert_code(jsrtmem_leave(tenant->runtime), JsErrorInvalidArgument);
        tenant = the_model.depth > 0 ? the_model.entered[the_model.depth - 1] : NULL;
    }
    if (tenant != NULL && the_model.depth > 0) {
        assert_ok(jsrtmem_leave(tenant->runtime));
        the_model.depth--;
    }
}

static void enter_on_the_mate(void)
{
    struct tenant *tenant = any_tenant();
    bool taken = owner_of(tenant) == MAIN;

    if (the_model.mates == NULL) {
        assert_code(worker_do(the_model.mate, call_enter, tenant->runtime, NULL),
                    taken ? JsErrorWrongThread : JsNoError);
        the_model.mates = taken ? NULL : tenant;
    }
}

static void leave_on_the_mate(void)
{
    if (the_model.mates == NULL) {
        return;
    }
    if (chance(20)) { /* the thread leaves by its exit */
        worker_stop(the_model.mate);
        the_model.mate = worker_start();
    } else {
        assert_ok(worker_do(the_model.mate, call_leave, the_model.mates->runtime, NULL));
    }
    the_model.mates = NULL;
}

static void create_context(void)
{
    struct tenant *tenant = any_tenant();
    size_t index = below(CONTEXTS_MAX);
    JsContextRef context = NULL;

    if (tenant->counts[index] == 0) {
        bool taken = owner_of(tenant) == MATE;

        assert_code(JsCreateContext(tenant->runtime, &context),
                    taken ? JsErrorWrongThread : JsNoError);
        if (!taken) {
            assert_ok(JsAddRef(context, &tenant->counts[index]));
            tenant->contexts[index] = context;
        }
    }
}

static void set_current(void)
{
    struct tenant *tenant = any_tenant();
    size_t index = below(CONTEXTS_MAX);
    JsContextRef context = tenant->counts[index] != 0 ? tenant->contexts[index] : NULL;
    JsErrorCode expected = JsNoError;

    if (the_model.depth > 0) {
        expected = JsErrorRuntimeInUse;
    } else if (context != NULL && owner_of(tenant) == MATE) {
        expected = JsErrorWrongThread;
    }
    if (the_model.depth > 0 && context != NULL && owner_of(tenant) == MATE) {
        return; /* the order of the two checks is not promised */
    }
    assert_code(JsSetCurrentContext(context), expected);
    if (expected == JsNoError) {
        the_model.current = context != NULL ? tenant : NULL;
        the_model.current_index = index;
    }
    if (the_model.depth == 0) {
        tenant = the_model.current;
        assert_ptr_equal(current_context(),
                         tenant != NULL ? tenant->contexts[the_model.current_index] : NULL);
    }
}

static void count_context(void)
{
    struct tenant *tenant = any_tenant();
    size_t index = below(CONTEXTS_MAX);
    bool is_current = the_model.current == tenant && the_model.current_index == index;
    unsigned count = 0;

    if (tenant->counts[index] == 0) {
        return;
    }
    if (chance(50)) {
        assert_ok(JsAddRef(tenant->contexts[index], &count));
        tenant->counts[index]++;
        assert_int_equal(count, tenant->counts[index] + (is_current ? 1u : 0u));
    } else if (!is_current || tenant->counts[index] > 1) {
        assert_ok(JsRelease(tenant->contexts[index], &count));
        tenant->counts[index]--;
        assert_int_equal(count, tenant->counts[index] + (is_current ? 1u : 0u));
    }
}

static void dispose_and_create(void)
{
    struct tenant *tenant = any_tenant();
    JsRuntimeHandle old = tenant->runtime;
    struct object object = tenant->count > 0 ? tenant->objects[0] : (struct object){NULL, 0, 0};

    if (owner_of(tenant) != NOBODY) {
        assert_code(JsDisposeRuntime(old), JsErrorRuntimeInUse);
        return;
    }
    tenant->disposing = true;
    if (chance(30)) {
        assert_ok(worker_do(the_model.mate, call_dispose, old, NULL));
    } else {
        assert_ok(JsDisposeRuntime(old));
    }
    assert_all_freed(&tenant->host);
    assert_code(JsDisposeRuntime(old), JsErrorInvalidArgument);
    /* During the dispose, another runtime may have got the object's address. */
    JsRuntimeHandle owner = NULL;
    hold(jsrtmem_runtime_of(object.bytes, &owner) != JsNoError || owner != old,
         "an object outlives its runtime");
    start_tenant(tenant);
}

/* ---- running -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned weight;
    void (*run)(void);
} operations[] = {
    {"allocate", 300, allocate},
    {"free", 160, free_here},
    {"reallocate", 100, reallocate},
    {"allocate on the mate", 60, allocate_on_the_mate},
    {"free on the mate", 80, free_on_the_mate},
    {"set limit", 40, set_limit},
    {"set veto", 30, set_veto},
    {"reset peak", 10, reset_peak},
    {"collect", 30, collect},
    {"enter", 40, enter},
    {"leave", 50, leave},
    {"enter on the mate", 20, enter_on_the_mate},
    {"leave on the mate", 30, leave_on_the_mate},
    {"create context", 10, create_context},
    {"set current", 25, set_current},
    {"count context", 10, count_context},
    {"dispose and create", 12, dispose_and_create},
};

static void check_tenant(struct tenant *tenant)
{
    jsrtmem_stats stats = stats_of(tenant->runtime);
    size_t usage = 0;

    assert_balanced(&tenant->host);
    hold(worker_do(the_model.reader, call_get_usage, tenant->runtime, &usage) == JsNoError &&
             usage == tenant->host.balance,
         "another thread reads %zu, not %zu", usage, tenant->host.balance);
    hold(stats.usage == usage, "the stats' usage is %zu, not %zu", stats.usage, usage);
    hold(stats.peak_usage == tenant->host.peak, "the peak is %zu, not %zu", stats.peak_usage,
         tenant->host.peak);
    hold(stats.allocate_events == tenant->host.of_type[JsMemoryAllocate] &&
             stats.free_events == tenant->host.of_type[JsMemoryFree] &&
             stats.failure_events == tenant->host.of_type[JsMemoryFailure],
         "the events are not counted as they came");
    hold(stats.misuses == 0, "%zu misuses", (size_t)stats.misuses);
    const char *fault = inside_fault(tenant->runtime, false);
    hold(fault == NULL, "inside: %s", fault);
}

static void publish(void)
{
    for (size_t i = 0; i < TENANTS; i++) {
        atomic_store(&seen_runtimes[i], the_model.tenants[i].runtime);
        atomic_store(&seen_usages[i], the_model.tenants[i].host.balance);
    }
}

static void run_one(size_t choice)
{
    size_t index = 0;

    while (choice >= operations[index].weight) {
        choice -= operations[index].weight;
        index++;
    }
    the_model.name = operations[index].name;
    atomic_fetch_add(&epoch, 1u);
    operations[index].run();
    for (size_t i = 0; i < TENANTS; i++) {
        check_tenant(&the_model.tenants[i]);
    }
    publish();
    atomic_fetch_add(&epoch, 1u);
}

static void observe(void *unused)
{
    (void)unused;
    while (!atomic_load(&observer_stops)) {
        size_t index = atomic_load(&observer_reads) % TENANTS;
        size_t before = atomic_load(&epoch);
        size_t usage = 0;
        JsErrorCode code = JsGetRuntimeMemoryUsage(atomic_load(&seen_runtimes[index]), &usage);
        size_t expected = atomic_load(&seen_usages[index]);

        if (before % 2 == 0 && atomic_load(&epoch) == before &&
            (code != JsNoError || usage != expected)) {
            atomic_fetch_add(&observer_faults, 1u);
        }
        atomic_fetch_add(&observer_reads, 1u);
    }
}

static void leave_everything(void)
{
    while (the_model.depth > 0) {
        assert_ok(jsrtmem_leave(the_model.entered[--the_model.depth]->runtime));
    }
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    worker_stop(the_model.mate);
    worker_stop(the_model.reader);
}

static void finish_tenant(struct tenant *tenant)
{
    host_set_hook(&tenant->host, NULL, NULL);
    for (size_t i = 0; i < tenant->count; i++) {
        hold(is_intact(&tenant->objects[i]), "an object was overwritten");
        assert_ok(jsrtmem_free(tenant->objects[i].bytes));
    }
    assert_ok(JsCollectGarbage(tenant->runtime));
    assert_int_equal(usage_of(tenant->runtime), 0);
    assert_balanced(&tenant->host);
    dispose(tenant->runtime);
    assert_all_freed(&tenant->host);
}

static void run_model(uint64_t seed, size_t count)
{
    unsigned weights = 0;

    memset(&the_model, 0, sizeof(the_model));
    the_model.seed = seed;
    the_model.name = "start";
    the_model.random = random_seeded(seed);
    the_model.mate = worker_start();
    the_model.reader = worker_start();
    the_model.observer = worker_start();
    for (size_t i = 0; i < TENANTS; i++) {
        start_tenant(&the_model.tenants[i]);
    }
    for (size_t i = 0; i < COUNT_OF(operations); i++) {
        weights += operations[i].weight;
    }
    publish();
    atomic_store(&observer_stops, false);
    size_t reads = atomic_load(&observer_reads);
    worker_post(the_model.observer, observe, NULL);
    while (atomic_load(&observer_reads) == reads) {
        (void)sched_yield();
    }
    for (size_t i = 0; i < count; i++) {
        the_model.operation = i;
        run_one(below(weights));
    }
    atomic_store(&observer_stops, true);
    worker_stop(the_model.observer);
    assert_int_equal(atomic_load(&observer_faults), 0);
    leave_everything();
    for (size_t i = 0; i < TENANTS; i++) {
        finish_tenant(&the_model.tenants[i]);
    }
}

static uint64_t first_seed = 1;
static size_t seeds = 4;
static size_t operation_count = 5000;

static void the_library_follows_the_model(void **state)
{
    (void)state;
    for (size_t i = 0; i < seeds; i++) {
        (void)printf("seed %" PRIu64 ", %zu operations\n", first_seed + i, operation_count);
        (void)fflush(stdout);
        run_model(first_seed + i, operation_count);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_follows_the_model),
    };

    if (argc > 1) {
        first_seed = strtoull(argv[1], NULL, 10);
        seeds = 1;
    }
    if (argc > 2) {
        operation_count = (size_t)strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
