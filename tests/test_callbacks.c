/*
 * Calls inside an allocation callback and their results: gets, refused calls, nested objects.
 * Using other runtimes is in test_nesting.c, changing callbacks in test_swap.c, leaving them by
 * longjmp in test_longjmp.c.
 */
#include "support/calls.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#define IDLING JsRuntimeAttributeEnableIdleProcessing
#define ALL_EVENTS 3

static const char *const event_names[ALL_EVENTS] = {"Allocate", "Free", "Failure"};

/* Causes an event of the given type in the host's runtime. The hook must allow Allocate. */
static void provoke(struct host *host, JsMemoryEventType type)
{
    if (type == JsMemoryFailure) {
        size_t limit = limit_of(host->runtime);

        assert_ok(JsSetRuntimeMemoryLimit(host->runtime, 0));
        assert_null(jsrtmem_alloc(host->runtime, MIB(2)));
        assert_ok(JsSetRuntimeMemoryLimit(host->runtime, limit));
        return;
    }
    void *first = new_object(host->runtime, MIB(2));
    void *second = new_object(host->runtime, MIB(2));
    assert_ok(jsrtmem_free(first));
    assert_ok(jsrtmem_free(second));
    assert_ok(JsCollectGarbage(host->runtime));
}

/* ---- refused with RuntimeInUse -------------------------------------------------------------- */

#define TRIES_MAX 12

struct
try {
    const char *name;
    JsErrorCode code;
};

struct tries {
    JsMemoryEventType type; /* the event in which to try, once */
    bool done;
    JsContextRef own;     /* a context of the runtime that is not current */
    JsContextRef foreign; /* a context of another runtime; null: none is tried */
    JsContextRef created; /* must stay unchanged */
    unsigned tick;
    size_t count;
    struct try list[TRIES_MAX];
    size_t usage_before, usage_after;
};

static void note_try(struct tries *tries, const char *name, JsErrorCode code)
{
    tries->list[tries->count].name = name;
    tries->list[tries->count].code = code;
    tries->count++;
}

static bool try_refused_calls(struct host *self, const struct host_event *event)
{
    struct tries *tries = self->context;
    JsRuntimeHandle runtime = self->runtime;

    if (event->type != tries->type || tries->done) {
        return true;
    }
    tries->done = true;
    (void)JsGetRuntimeMemoryUsage(runtime, &tries->usage_before);
    note_try(tries, "JsDisposeRuntime", JsDisposeRuntime(runtime));
    note_try(tries, "JsCollectGarbage", JsCollectGarbage(runtime));
    note_try(tries, "JsCreateContext", JsCreateContext(runtime, &tries->created));
    note_try(tries, "JsSetCurrentContext(own)", JsSetCurrentContext(tries->own));
    note_try(tries, "jsrtmem_enter", jsrtmem_enter(runtime));
    note_try(tries, "jsrtmem_leave", jsrtmem_leave(runtime)); /* refused whether entered or not */
    if (tries->foreign != NULL) {
        note_try(tries, "JsSetCurrentContext(foreign)", JsSetCurrentContext(tries->foreign));
        note_try(tries, "JsSetCurrentContext(null)", JsSetCurrentContext(JS_INVALID_REFERENCE));
        note_try(tries, "JsIdle", JsIdle(&tries->tick));
    }
    (void)JsGetRuntimeMemoryUsage(runtime, &tries->usage_after);
    return true;
}

static void check_tries(const struct tries *tries, size_t expected)
{
    require(tries->done, "no %s event came", event_names[tries->type]);
    assert_int_equal(tries->count, expected);
    for (size_t i = 0; i < tries->count; i++) {
        require(tries->list[i].code == JsErrorRuntimeInUse, "%s inside %s gave 0x%x",
                tries->list[i].name, event_names[tries->type], (unsigned)tries->list[i].code);
    }
    assert_ptr_equal(tries->created, tries);
    assert_int_equal(tries->usage_before, tries->usage_after);
}

static unsigned collects;

static void CHAKRA_CALLBACK count_collects(void *state)
{
    (void)state;
    collects++;
}

static void refused_calls_with_a_current_context(void **state)
{
    (void)state;
    for (unsigned type = 0; type < ALL_EVENTS; type++) {
        struct host host;
        JsRuntimeHandle runtime = new_runtime_with(IDLING);
        JsRuntimeHandle other = new_runtime_with(IDLING);
        struct tries tries = {.type = (JsMemoryEventType)type, .created = &tries, .tick = 77};

        host_attach(&host, runtime);
        tries.own = new_context(runtime);
        tries.foreign = new_context(other);
        JsContextRef current = new_current_context(runtime);
        host_set_hook(&host, try_refused_calls, &tries);
        collects = 0;
        assert_ok(JsSetRuntimeBeforeCollectCallback(runtime, NULL, count_collects));
        provoke(&host, tries.type);
        assert_int_equal(collects, tries.type == JsMemoryFailure ? 0 : 1);
        check_tries(&tries, 9);
        assert_int_equal(tries.tick, 77);
        assert_ptr_equal(current_context(), current);
        assert_balanced(&host);
        assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
        dispose(runtime);
        dispose(other);
        assert_all_freed(&host);
    }
}

static void refused_calls_while_entered(void **state)
{
    worker *other = worker_start();

    (void)state;
    for (unsigned type = 0; type < ALL_EVENTS; type++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct tries tries = {.type = (JsMemoryEventType)type, .created = &tries};

        tries.own = new_context(runtime);
        host_set_hook(&host, try_refused_calls, &tries);
        assert_ok(jsrtmem_enter(runtime));
        provoke(&host, tries.type);
        check_tries(&tries, 6);
        assert_code(worker_do(other, call_enter, runtime, NULL), JsErrorWrongThread);
        assert_ok(jsrtmem_leave(runtime));
        assert_ok(worker_do(other, call_enter, runtime, NULL));
        assert_ok(worker_do(other, call_leave, runtime, NULL));
        dispose(runtime);
        assert_all_freed(&host);
    }
    worker_stop(other);
}

static void refused_calls_without_entering(void **state)
{
    (void)state;
    for (unsigned type = 0; type < ALL_EVENTS; type++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct tries tries = {.type = (JsMemoryEventType)type, .created = &tries};

        tries.own = new_context(runtime);
        host_set_hook(&host, try_refused_calls, &tries);
        provoke(&host, tries.type);
        check_tries(&tries, 6);
        assert_null(current_context());
        assert_code(jsrtmem_leave(runtime), JsErrorInvalidArgument);
        assert_balanced(&host);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

/* ---- gets and sets -------------------------------------------------------------------------- */

struct reads {
    JsRuntimeHandle runtime;
    JsContextRef context;
    void *object;
    unsigned calls;
    const char *wrong;
};

static void expect_read(struct reads *reads, bool holds, const char *what)
{
    if (!holds && reads->wrong == NULL) {
        reads->wrong = what;
    }
}

static void read_of_runtime(struct reads *reads, const struct host_event *event)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    jsrtmem_process_stats process = {.struct_size = sizeof(process)};
    bool disabled = true;

    expect_read(reads, jsrtmem_get_stats(reads->runtime, &stats) == JsNoError, "stats");
    expect_read(reads, stats.usage == event->usage && stats.limit == event->limit, "stats' usage");
    expect_read(reads, jsrtmem_get_process_stats(&process) == JsNoError, "process stats");
    expect_read(reads, process.usage >= event->usage, "process stats' usage");
    expect_read(reads, jsrtmem_reset_peak(reads->runtime) == JsNoError, "reset_peak");
    expect_read(reads,
                JsIsRuntimeExecutionDisabled(reads->runtime, &disabled) == JsNoError && !disabled,
                "JsIsRuntimeExecutionDisabled");
}

static void read_of_context(struct reads *reads)
{
    JsRuntimeHandle runtime = NULL;
    JsContextRef current = NULL;
    void *data = NULL;
    unsigned count = 0;

    expect_read(reads, JsGetRuntime(reads->context, &runtime) == JsNoError, "JsGetRuntime");
    expect_read(reads, runtime == reads->runtime, "JsGetRuntime's runtime");
    expect_read(reads, JsSetContextData(reads->context, reads) == JsNoError, "JsSetContextData");
    expect_read(reads, JsGetContextData(reads->context, &data) == JsNoError, "JsGetContextData");
    expect_read(reads, data == reads, "JsGetContextData's data");
    expect_read(reads, JsGetCurrentContext(&current) == JsNoError, "JsGetCurrentContext");
    expect_read(reads, current == reads->context, "JsGetCurrentContext's context");
    expect_read(reads, JsAddRef(reads->context, &count) == JsNoError && count >= 2, "JsAddRef");
    expect_read(reads, JsRelease(reads->context, &count) == JsNoError && count >= 1, "JsRelease");
}

static void read_of_object(struct reads *reads)
{
    JsRuntimeHandle runtime = NULL;

    expect_read(reads, jsrtmem_usable_size(reads->object) >= 100, "jsrtmem_usable_size");
    expect_read(reads, jsrtmem_usable_size((char *)reads->object + 1) == 0, "bad usable_size");
    expect_read(reads, jsrtmem_runtime_of(reads->object, &runtime) == JsNoError, "runtime_of");
    expect_read(reads, runtime == reads->runtime, "runtime_of's runtime");
    expect_read(reads, jsrtmem_free((char *)reads->object + 16) == JsErrorInvalidArgument,
                "a bad free");
}

static bool read_everything(struct host *self, const struct host_event *event)
{
    struct reads *reads = self->context;

    reads->calls++;
    read_of_runtime(reads, event);
    read_of_context(reads);
    read_of_object(reads);
    expect_read(reads, JsSetRuntimeMemoryLimit(self->runtime, event->limit) == JsNoError, "limit");
    expect_read(reads, JsSetRuntimeBeforeCollectCallback(self->runtime, NULL, NULL) == JsNoError,
                "JsSetRuntimeBeforeCollectCallback");
    expect_read(reads,
                JsSetRuntimeMemoryAllocationCallback(self->runtime, self, host_callback) ==
                    JsNoError,
                "JsSetRuntimeMemoryAllocationCallback");
    return true;
}

static void every_get_and_set_works(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct reads reads = {.runtime = runtime, .object = new_object(runtime, 100)};

    (void)state;
    reads.context = new_current_context(runtime);
    assert_ok(JsAddRef(reads.context, NULL));
    host_set_hook(&host, read_everything, &reads);
    for (unsigned type = 0; type < ALL_EVENTS; type++) {
        provoke(&host, (JsMemoryEventType)type);
    }
    require(reads.wrong == NULL, "wrong inside a callback: %s", reads.wrong);
    assert_true(reads.calls > 5);
    assert_balanced(&host);
    host_set_hook(&host, NULL, NULL);
    assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    dispose(runtime);
    assert_all_freed(&host);
}

/* ---- nested objects ------------------------------------------------------------------------- */

struct nested {
    JsMemoryEventType type;
    unsigned calls;
    void *small[64];
    size_t small_count;
    jsrtmem_refusal large_reason, realloc_reason;
    bool large_served, realloc_served;
    void *to_free[4];
    size_t free_count;
    JsErrorCode freed, freed_twice;
    void *to_shrink;
};

static void allocate_nested(struct host *self, struct nested *nested)
{
    if (nested->small_count < COUNT_OF(nested->small)) {
        void *object = jsrtmem_alloc(self->runtime, 64);

        if (object != NULL) {
            pattern_fill(object, 64, nested->small_count);
            nested->small[nested->small_count++] = object;
        }
    }
    nested->large_served |= jsrtmem_alloc(self->runtime, MIB(16)) != NULL;
    nested->large_reason = last_reason();
}

static bool allocate_in_callback(struct host *self, const struct host_event *event)
{
    struct nested *nested = self->context;

    if (event->type == nested->type) {
        nested->calls++;
        allocate_nested(self, nested);
    }
    return true;
}

static void objects_are_served_from_blocks_held(void **state)
{
    (void)state;
    for (unsigned type = 0; type < ALL_EVENTS; type++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct nested nested = {.type = (JsMemoryEventType)type};
        void *keep = new_object(runtime, 64);

        assert_ok(jsrtmem_free(new_object(runtime, 64)));
        host_set_hook(&host, allocate_in_callback, &nested);
        provoke(&host, nested.type);
        assert_true(nested.calls > 0);
        require(nested.small_count == nested.calls, "%zu of %u objects were served inside %s",
                nested.small_count, nested.calls, event_names[type]);
        assert_false(nested.large_served);
        assert_int_equal(nested.large_reason, JSRTMEM_REFUSAL_CALLBACK);
        assert_balanced(&host);
        for (size_t i = 0; i < nested.small_count; i++) {
            assert_true(pattern_holds(nested.small[i], 64, i));
            assert_ok(jsrtmem_free(nested.small[i]));
        }
        assert_ok(jsrtmem_free(keep));
        host_set_hook(&host, NULL, NULL);
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

static void first_block_cannot_be_had_inside_a_callback(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct nested nested = {.type = JsMemoryAllocate};

    (void)state;
    host_set_hook(&host, allocate_in_callback, &nested);
    assert_non_null(jsrtmem_alloc(runtime, 64));
    assert_int_equal(nested.small_count, 0);
    assert_int_equal(nested.large_reason, JSRTMEM_REFUSAL_CALLBACK);
    assert_trace(&host, "A");
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

static bool free_in_callback(struct host *self, const struct host_event *event)
{
    struct nested *nested = self->context;

    if (event->type == nested->type) {
        while (nested->free_count > 0) {
            void *object = nested->to_free[--nested->free_count];

            nested->freed |= jsrtmem_free(object);
            nested->freed_twice = jsrtmem_free(object);
        }
        nested->calls++;
    }
    return true;
}

/* A call that a fast path would serve counts as a use, too. */
static void use_next(JsRuntimeHandle runtime, unsigned use, void *object)
{
    if (use == 0) {
        assert_non_null(jsrtmem_alloc(runtime, 64));
    } else if (use == 1) {
        assert_ok(jsrtmem_free(object));
    } else {
        assert_non_null(jsrtmem_realloc(runtime, object, 100));
    }
}

static void check_next_use(JsMemoryEventType type, unsigned use, bool entered)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct nested nested = {.type = type};

    assert_ok(entered ? jsrtmem_enter(runtime) : JsNoError);
    (void)new_object(runtime, 64);
    void *object = new_object(runtime, 64);
    assert_ok(jsrtmem_free(new_object(runtime, 64))); /* an object for the fast path */
    for (size_t i = 0; i < COUNT_OF(nested.to_free); i++) {
        nested.to_free[nested.free_count++] = new_object(runtime, MIB(3));
    }
    host_set_hook(&host, free_in_callback, &nested);
    if (nested.type == JsMemoryAllocate) {
        (void)new_object(runtime, MIB(2)); /* provoke would collect */
    } else {
        provoke(&host, nested.type);
    }
    assert_int_equal(nested.free_count, 0);
    assert_ok(nested.freed);
    assert_code(nested.freed_twice, JsErrorInvalidArgument);
    assert_true(nested.calls > 0);
    use_next(runtime, use, object);
    require(usage_of(runtime) < MIB(8), "%zu bytes are held after the next use", usage_of(runtime));
    assert_balanced(&host);
    assert_ok(entered ? jsrtmem_leave(runtime) : JsNoError);
    dispose(runtime);
    assert_all_freed(&host);
}

static void blocks_emptied_inside_go_back_at_the_next_use(void **state)
{
    (void)state;
    for (unsigned type = 0; type < ALL_EVENTS; type++) {
        for (unsigned use = 0; use < 3; use++) {
            check_next_use((JsMemoryEventType)type, use, false);
            check_next_use((JsMemoryEventType)type, use, true);
        }
    }
}

#define SMALL_OBJECTS 3000
static void *small_objects[SMALL_OBJECTS];

static bool free_small_objects(struct host *self, const struct host_event *event)
{
    if (event->type == JsMemoryFree && self->calls_of_hook++ == 0) {
        for (size_t i = 0; i < SMALL_OBJECTS; i++) {
            *(JsErrorCode *)self->context |= jsrtmem_free(small_objects[i]);
        }
    }
    return true;
}

static JsErrorCode free_or_collect(JsRuntimeHandle runtime, void *object, bool queued,
                                   worker *other)
{
    if (!queued) {
        return jsrtmem_free(object);
    }
    JsErrorCode code = worker_do(other, call_free, object, NULL);
    return code != JsNoError ? code : JsCollectGarbage(runtime);
}

/* The Free event comes from a free or, if `queued`, from a collect that takes a queued free in. */
static void blocks_of_small_objects_emptied_inside_go_back_too(void **state)
{
    worker *other = worker_start();

    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        JsErrorCode codes = JsNoError;

        assert_ok(jsrtmem_enter(runtime));
        for (size_t i = 0; i < SMALL_OBJECTS; i++) {
            small_objects[i] = new_object(runtime, 500);
        }
        void *large = new_object(runtime, MIB(2));
        assert_true(stats_of(runtime).blocks > 4);
        host_set_hook(&host, free_small_objects, &codes);
        assert_ok(free_or_collect(runtime, large, queued, other));
        assert_ok(jsrtmem_free(new_object(runtime, 500))); /* the next use */
        if (host.calls_of_hook > 0) {
            assert_ok(codes);
            require(stats_of(runtime).blocks <= 1, "%zu blocks are kept", stats_of(runtime).blocks);
        }
        assert_ok(jsrtmem_leave(runtime));
        assert_balanced(&host);
        dispose(runtime);
        assert_all_freed(&host);
    }
    worker_stop(other);
}

static bool realloc_in_callback(struct host *self, const struct host_event *event)
{
    struct nested *nested = self->context;

    if (event->type == nested->type && nested->to_shrink != NULL) {
        nested->realloc_served = jsrtmem_realloc(self->runtime, nested->to_shrink, MIB(64)) != NULL;
        nested->realloc_reason = last_reason();
        nested->to_free[0] = jsrtmem_realloc(self->runtime, nested->to_shrink, KIB(100));
        nested->to_shrink = NULL;
        nested->to_free[1] = jsrtmem_realloc(self->runtime, nested->to_free[1], 300);
    }
    return true;
}

static void realloc_inside_shrinks_and_does_not_grow(void **state)
{
    (void)state;
    for (unsigned type = 0; type < ALL_EVENTS; type++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct nested nested = {.type = (JsMemoryEventType)type};

        nested.to_free[1] =
            new_object(runtime, 64); /* the only object of its block, with room behind it */
        pattern_fill(nested.to_free[1], 64, 9);
        nested.to_shrink = new_object(runtime, MIB(3));
        pattern_fill(nested.to_shrink, KIB(100), 8);
        host_set_hook(&host, realloc_in_callback, &nested);
        provoke(&host, nested.type);
        assert_false(nested.realloc_served);
        assert_int_equal(nested.realloc_reason, JSRTMEM_REFUSAL_CALLBACK);
        assert_non_null(nested.to_free[0]);
        assert_true(pattern_holds(nested.to_free[0], KIB(100), 8));
        assert_non_null(nested.to_free[1]);
        assert_true(pattern_holds(nested.to_free[1], 64, 9));
        assert_balanced(&host);
        assert_ok(jsrtmem_free(nested.to_free[0]));
        assert_ok(jsrtmem_free(nested.to_free[1]));
        dispose(runtime);
        assert_all_freed(&host);
    }
}

/* The host frees or resizes the very object that is being resized. That is its mistake, but must do
 * no harm. */
struct crossing {
    void *object;
    bool resize;
    JsErrorCode freed;
    void *resized;
};

static bool cross_in_callback(struct host *self, const struct host_event *event)
{
    struct crossing *crossing = self->context;

    if (event->type == JsMemoryAllocate && self->calls_of_hook++ == 0) {
        if (crossing->resize) {
            crossing->resized = jsrtmem_realloc(self->runtime, crossing->object, 10);
        } else {
            crossing->freed = jsrtmem_free(crossing->object);
        }
    }
    return true;
}

static void the_object_being_resized_is_used_inside(void **state)
{
    size_t sizes[] = {100, 5000, KIB(200), MIB(3)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes) * 2; i++) {
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);
        struct crossing crossing = {new_object(runtime, sizes[i / 2]), i % 2 != 0, JsNoError, NULL};
        void *keep = new_object(runtime, 1000);

        pattern_fill(keep, 1000, 5);
        host_set_hook(&host, cross_in_callback, &crossing);
        void *result = jsrtmem_realloc(runtime, crossing.object, MIB(20));
        assert_true(host.calls_of_hook > 0);
        assert_true(pattern_holds(keep, 1000, 5));
        assert_ok(jsrtmem_free(keep));
        if (result != NULL) {
            assert_true(jsrtmem_usable_size(result) >= MIB(20));
            assert_ok(jsrtmem_free(result));
        }
        if (crossing.resized != NULL && crossing.resized != result) {
            (void)jsrtmem_free(crossing.resized);
        }
        assert_balanced(&host);
        assert_ok(JsCollectGarbage(runtime));
        require(stats_of(runtime).live_objects == 0, "size %zu: %zu objects are left", sizes[i / 2],
                stats_of(runtime).live_objects);
        assert_int_equal(usage_of(runtime), 0);
        dispose(runtime);
        assert_all_freed(&host);
    }
}

static bool free_in_free(struct host *self, const struct host_event *event)
{
    struct crossing *crossing = self->context;

    if (event->type == JsMemoryFree && self->calls_of_hook++ == 0) {
        crossing->freed = jsrtmem_free(crossing->object);
    }
    return true;
}

static void the_object_that_shrinks_is_freed_inside(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    struct crossing crossing = {new_object(runtime, MIB(3)), false, JsErrorFatal, NULL};

    (void)state;
    host_set_hook(&host, free_in_free, &crossing);
    assert_null(jsrtmem_realloc(runtime, crossing.object, MIB(1)));
    assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
    assert_ok(crossing.freed);
    assert_int_equal(jsrtmem_usable_size(crossing.object), 0);
    assert_balanced(&host);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    dispose(runtime);
    assert_all_freed(&host);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("RuntimeInUse: a context is current", refused_calls_with_a_current_context),
        UNIT_ROW("RuntimeInUse: entered", refused_calls_while_entered),
        UNIT_ROW("RuntimeInUse: not entered", refused_calls_without_entering),
        UNIT_ROW("gets and sets", every_get_and_set_works),
        UNIT_ROW("objects from blocks held", objects_are_served_from_blocks_held),
        UNIT_ROW("objects before the first block", first_block_cannot_be_had_inside_a_callback),
        UNIT_ROW("frees: blocks go back at the next use",
                 blocks_emptied_inside_go_back_at_the_next_use),
        UNIT_ROW("frees: blocks of small objects go back too",
                 blocks_of_small_objects_emptied_inside_go_back_too),
        UNIT_ROW("realloc", realloc_inside_shrinks_and_does_not_grow),
        UNIT_ROW("realloc, of the object being resized", the_object_being_resized_is_used_inside),
        UNIT_ROW("free, of the object that shrinks", the_object_that_shrinks_is_freed_inside),
    };

    return cmocka_run_group_tests_name("callbacks", tests, NULL, NULL);
}
