/*
 * Races at every possible point: while one thread is in a call, another thread acts on the same
 * runtime, between any two instructions of that call. At every point the call gives the result
 * that it gives alone, or reports that it came too late. It never reports on another runtime or
 * context that took the place, and everything can be disposed afterwards.
 */
#include "support/calls.h"
#include "support/child.h"
#include "support/steps.h"
#include "support/unit.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The points in a call at which a race is tried: all of a short call, this many of a long one. */
#define POINTS 600

#define LIMIT MIB(64)
#define ATTRIBUTES (JsRuntimeAttributeAllowScriptInterrupt | JsRuntimeAttributeEnableIdleProcessing)

static worker *other;

/* A runtime, and the one that takes its place after it was disposed. */
struct scene {
    JsRuntimeHandle runtime, later;
    JsRuntimeHandle created, kept; /* created by the call; by the event */
    JsContextRef context, later_context;
    void *object, *large;
    void *spare; /* where a large object was; the next one of its size will be there */
    size_t usage;
    int data, later_data;
    size_t seen; /* the usage that the event read */

    const struct attempt *attempt;
    union call_buffer out;
    JsErrorCode code;  /* of the call */
    JsErrorCode other; /* of the event */
    bool happened;
};

/* ---- The host's callbacks: each has a state of its own ---- */

static int first_state, second_state;
static bool confused; /* a callback got the state of the other one */

static bool CHAKRA_CALLBACK allow_first(void *state, JsMemoryEventType event, size_t size)
{
    (void)event, (void)size;
    confused = confused || state != &first_state;
    return true;
}

static bool CHAKRA_CALLBACK allow_second(void *state, JsMemoryEventType event, size_t size)
{
    (void)event, (void)size;
    confused = confused || state != &second_state;
    return true;
}

/* ---- What is called ---- */

struct attempt {
    const char *name;
    JsErrorCode (*function)(struct scene *scene);
    bool entered; /* this thread has entered the runtime */
    bool current; /* the context is current on this thread */
};

static JsErrorCode code_of(const void *object)
{
    return object != NULL ? JsNoError : code_of_refusal();
}

#define CALL_OF_RUNTIME(name, function)                    \
    static JsErrorCode name(struct scene *scene)           \
    {                                                      \
        return function(scene->runtime, scene->out.bytes); \
    }
#define CALL_OF_CONTEXT(name, function)                    \
    static JsErrorCode name(struct scene *scene)           \
    {                                                      \
        return function(scene->context, scene->out.bytes); \
    }
CALL_OF_RUNTIME(dispose_it, call_dispose)
CALL_OF_RUNTIME(collect, call_collect)
CALL_OF_RUNTIME(get_usage, call_get_usage)
CALL_OF_RUNTIME(get_limit, call_get_limit)
CALL_OF_RUNTIME(create_context, call_create_context)
CALL_OF_RUNTIME(disable, call_disable)
CALL_OF_RUNTIME(enable, call_enable)
CALL_OF_RUNTIME(is_disabled, call_is_disabled)
CALL_OF_RUNTIME(enter, call_enter)
CALL_OF_RUNTIME(reset_peak, call_reset_peak)
CALL_OF_CONTEXT(set_current, call_set_current)
CALL_OF_CONTEXT(get_runtime, call_get_runtime)
CALL_OF_CONTEXT(get_data, call_get_data)
CALL_OF_CONTEXT(add_ref, call_add_ref)
CALL_OF_CONTEXT(release, call_release)

static JsErrorCode set_limit(struct scene *scene)
{
    return JsSetRuntimeMemoryLimit(scene->runtime, LIMIT);
}

static JsErrorCode unset_callback(struct scene *scene)
{
    return JsSetRuntimeMemoryAllocationCallback(scene->runtime, NULL, NULL);
}

static JsErrorCode set_data(struct scene *scene)
{
    return JsSetContextData(scene->context, &scene->data);
}

static JsErrorCode get_stats(struct scene *scene)
{
    scene->out.stats.struct_size = sizeof(jsrtmem_stats);
    return jsrtmem_get_stats(scene->runtime, &scene->out.stats);
}

static JsErrorCode get_process_stats(struct scene *scene)
{
    (void)scene;
    (void)process_stats();
    return JsNoError;
}

static JsErrorCode alloc(struct scene *scene)
{
    return code_of(jsrtmem_alloc(scene->runtime, 100));
}

static JsErrorCode alloc_block(struct scene *scene)
{
    return code_of(jsrtmem_alloc(scene->runtime, KIB(20)));
}

/* The spare is more than three times as large. */
static JsErrorCode alloc_large(struct scene *scene)
{
    return code_of(jsrtmem_alloc(scene->runtime, KIB(600)));
}

/* Another thread may free the object before this call returns. */
static JsErrorCode zero_large(struct scene *scene)
{
    void *object = jsrtmem_calloc(scene->runtime, 1, MIB(2));
    return object == NULL || object == scene->spare ? code_of(object) : JsErrorFatal;
}

/* No limit in force allows this request: it is refused, whichever limit the call saw. */
static JsErrorCode alloc_too_much(struct scene *scene)
{
    if (jsrtmem_alloc(scene->runtime, LIMIT) != NULL) {
        return JsErrorFatal;
    }
    JsErrorCode code = code_of_refusal();
    return code == JsErrorOutOfMemory ? JsNoError : code;
}

static JsErrorCode grow(struct scene *scene)
{
    void *object = jsrtmem_realloc(scene->runtime, scene->object, 1000);
    scene->object = object != NULL ? object : scene->object;
    return code_of(object);
}

/* The object was cut last, so it has room behind it. */
static JsErrorCode extend(struct scene *scene)
{
    return code_of(jsrtmem_realloc(scene->runtime, scene->large, KIB(210)));
}

static JsErrorCode to_nothing(struct scene *scene)
{
    jsrtmem_refusal before = last_reason();
    (void)jsrtmem_realloc(scene->runtime, scene->object, 0);
    return last_reason() == before ? JsNoError : code_of_refusal();
}

static JsErrorCode free_it(struct scene *scene)
{
    return jsrtmem_free(scene->object);
}

static JsErrorCode free_large(struct scene *scene)
{
    return jsrtmem_free(scene->large);
}

static JsErrorCode free_both(struct scene *scene)
{
    JsErrorCode code = jsrtmem_free(scene->object);
    (void)jsrtmem_free(scene->large);
    (void)jsrtmem_free(scene->spare);
    return code;
}

static JsErrorCode ask_size(struct scene *scene)
{
    scene->out.size = jsrtmem_usable_size(scene->object);
    return scene->out.size != 0 ? JsNoError : JsErrorInvalidArgument;
}

static JsErrorCode ask_runtime(struct scene *scene)
{
    return jsrtmem_runtime_of(scene->object, &scene->out.pointer);
}

static JsErrorCode create(struct scene *scene)
{
    return JsCreateRuntime(ATTRIBUTES, NULL, &scene->created);
}

static JsErrorCode idle(struct scene *scene)
{
    return JsIdle(&scene->out.number);
}

static const struct attempt attempts[] = {
    {"dispose", dispose_it, false, false},
    {"collect", collect, false, false},
    {"collect, entered", collect, true, false},
    {"get the usage", get_usage, false, false},
    {"get the limit", get_limit, false, false},
    {"set the limit", set_limit, false, false},
    {"unset the callback", unset_callback, false, false},
    {"create a context", create_context, false, false},
    {"disable", disable, false, false},
    {"enable", enable, false, false},
    {"ask whether it is disabled", is_disabled, false, false},
    {"enter", enter, false, false},
    {"reset the peak", reset_peak, false, false},
    {"get the statistics", get_stats, false, false},
    {"get the process's", get_process_stats, false, false},
    {"make current", set_current, false, false},
    {"get the runtime", get_runtime, false, false},
    {"get the data", get_data, false, false},
    {"set the data", set_data, false, false},
    {"add a reference", add_ref, false, false},
    {"release a reference", release, false, false},
    {"alloc", alloc, false, false},
    {"alloc, entered", alloc, true, false},
    {"alloc of a block, entered", alloc_block, true, false},
    {"alloc of a large object", alloc_large, false, false},
    {"calloc of a large object", zero_large, false, false},
    {"alloc of too much, entered", alloc_too_much, true, false},
    {"realloc", grow, false, false},
    {"realloc, entered", grow, true, false},
    {"realloc in place", extend, false, false},
    {"realloc in place, entered", extend, true, false},
    {"realloc to nothing", to_nothing, false, false},
    {"free", free_it, false, false},
    {"free, entered", free_it, true, false},
    {"free a large object", free_large, false, false},
    {"ask for the size", ask_size, false, false},
    {"ask for the runtime", ask_runtime, false, false},
    {"create", create, false, false},
    {"idle", idle, false, true},
};

/* ---- What happens meanwhile ---- */

struct event {
    const char *name;
    JsErrorCode (*function)(struct scene *scene);
    JsErrorCode (*undo)(struct scene *scene); /* afterwards, on the same thread; may be NULL */
    JsErrorCode allowed;                      /* what the call may return instead */
};

/* Puts another runtime, with other figures, in the same slot. */
static JsErrorCode dispose_and_create(struct scene *scene)
{
    JsErrorCode code = JsDisposeRuntime(scene->runtime);
    if (code != JsNoError) {
        return code;
    }
    (void)JsCreateRuntime(ATTRIBUTES, NULL, &scene->later);
    (void)JsSetRuntimeMemoryLimit(scene->later, LIMIT / 2);
    (void)JsCreateContext(scene->later, &scene->later_context);
    (void)JsSetContextData(scene->later_context, &scene->later_data);
    (void)jsrtmem_alloc(scene->later, MIB(1));
    return JsNoError;
}

/* Puts another context in the same slot. */
static JsErrorCode destroy_and_create(struct scene *scene)
{
    JsErrorCode code = JsRelease(scene->context, NULL);
    if (code == JsNoError && JsGetContextData(scene->context, &(void *){NULL}) != JsNoError) {
        (void)JsCreateContext(scene->runtime, &scene->later_context);
        (void)JsSetContextData(scene->later_context, &scene->later_data);
    }
    return code;
}

static JsErrorCode leave(struct scene *scene)
{
    return jsrtmem_leave(scene->runtime);
}

static JsErrorCode unset_current(struct scene *scene)
{
    (void)scene;
    return JsSetCurrentContext(JS_INVALID_REFERENCE);
}

static JsErrorCode lower_limit(struct scene *scene)
{
    return JsSetRuntimeMemoryLimit(scene->runtime, 1);
}

static JsErrorCode raise_limit(struct scene *scene)
{
    return JsSetRuntimeMemoryLimit(scene->runtime, LIMIT);
}

static JsErrorCode set_callback(struct scene *scene)
{
    return JsSetRuntimeMemoryAllocationCallback(scene->runtime, &second_state, allow_second);
}

static JsErrorCode look_at_usage(struct scene *scene)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    JsErrorCode code = jsrtmem_get_stats(scene->runtime, &stats);
    if (code == JsNoError && stats.usage > stats.peak_usage) {
        return JsErrorFatal;
    }
    return JsGetRuntimeMemoryUsage(scene->runtime, &scene->seen);
}

/* The slot that was first in the free list is first again, but the slot behind it is in use: the
 * ABA case. */
static JsErrorCode come_and_go(struct scene *scene)
{
    JsRuntimeHandle gone = NULL;
    (void)JsCreateRuntime(ATTRIBUTES, NULL, &gone);
    (void)JsCreateRuntime(ATTRIBUTES, NULL, &scene->kept);
    return JsDisposeRuntime(gone);
}

/* The child waits for nothing, whatever the other thread left half done. */
static int go_on_in_child(void *argument)
{
    struct scene *scene = argument;
    JsRuntimeHandle fresh = NULL;
    JsErrorCode set =
        JsSetRuntimeMemoryAllocationCallback(scene->runtime, &second_state, allow_second);
    CHILD_CHECK(set == JsNoError || scene->attempt->function == dispose_it);
    CHILD_CHECK(JsDisposeRuntime(scene->runtime) == set);
    CHILD_CHECK(JsCreateRuntime(ATTRIBUTES, NULL, &fresh) == JsNoError);
    CHILD_CHECK(jsrtmem_alloc(fresh, MIB(1)) != NULL);
    CHILD_CHECK(JsDisposeRuntime(fresh) == JsNoError);
    return 0;
}

static JsErrorCode fork_it(struct scene *scene)
{
    return child_run(go_on_in_child, scene) == 0 ? JsNoError : JsErrorFatal;
}

static const struct event events[] = {
    {"it is disposed", dispose_and_create, NULL, JsErrorInvalidArgument},
    {"it is entered", enter, leave, JsErrorWrongThread},
    {"its context is made current", set_current, unset_current, JsErrorWrongThread},
    {"its context is destroyed", destroy_and_create, NULL, JsErrorInvalidArgument},
    {"its limit is lowered", lower_limit, raise_limit, JsErrorOutOfMemory},
    {"its callback is set", set_callback, unset_callback, JsNoError},
    {"its objects are freed", free_both, NULL, JsErrorInvalidArgument},
    {"a block is taken", alloc_large, NULL, JsNoError},
    {"it is collected", collect, NULL, JsNoError},
    {"its usage is read", look_at_usage, NULL, JsNoError},
    {"its peak is reset", reset_peak, NULL, JsNoError},
    {"others come and go", come_and_go, NULL, JsNoError},
    {"the process is forked", fork_it, NULL, JsNoError},
};

/* ---- The race ---- */

static const struct event *event;

static struct trace {
    uintptr_t points[POINTS];
    size_t count;
    JsErrorCode code;
} traces[COUNT_OF(attempts)];

static void make(struct scene *scene, const struct attempt *attempt)
{
    memset(scene, 0, sizeof(*scene));
    scene->attempt = attempt;
    scene->runtime = new_runtime_with(ATTRIBUTES);
    scene->context = new_context(scene->runtime);
    assert_ok(JsAddRef(scene->context, NULL));
    assert_ok(JsSetContextData(scene->context, &scene->data));
    assert_ok(JsSetRuntimeMemoryLimit(scene->runtime, LIMIT));
    assert_ok(JsSetRuntimeMemoryAllocationCallback(scene->runtime, &first_state, allow_first));
    scene->spare = new_object(scene->runtime, MIB(2));
    assert_ok(jsrtmem_free(scene->spare)); /* makes the peak exceed the usage */
    scene->object = new_object(scene->runtime, 100);
    scene->large = new_object(scene->runtime, KIB(200));
    scene->usage = usage_of(scene->runtime);
    if (attempt->entered) {
        assert_ok(jsrtmem_enter(scene->runtime));
    }
    if (attempt->current) {
        assert_ok(JsSetCurrentContext(scene->context));
    }
}

static void do_call(void *argument)
{
    struct scene *scene = argument;

    scene->code = scene->attempt->function(scene);
}

static void do_event(void *argument)
{
    struct scene *scene = argument;

    scene->happened = true;
    scene->other = event->function(scene);
}

static void undo_event(void *argument)
{
    struct scene *scene = argument;

    scene->other = event->undo(scene);
}

/* True if the call told of the runtime and context that it was asked about. */
static bool told_right(const struct scene *scene)
{
    JsErrorCode (*function)(struct scene *) = scene->attempt->function;

    if (scene->code != JsNoError) {
        return true;
    }
    /* The usage shows all of a charge or nothing of it. */
    if (function == alloc_block || function == alloc_large) {
        return event->function != look_at_usage || !scene->happened ||
               scene->seen == scene->usage || scene->seen == usage_of(scene->runtime);
    }
    if (function == get_usage) {
        return scene->out.size <= scene->usage || event->function == alloc_large;
    }
    if (function == get_limit) {
        return scene->out.size == LIMIT || event->function == lower_limit;
    }
    if (function == get_stats) {
        return scene->out.stats.usage <= scene->out.stats.peak_usage &&
               (scene->out.stats.limit == LIMIT || event->function == lower_limit);
    }
    if (function == get_runtime || function == ask_runtime) {
        return scene->out.pointer == scene->runtime;
    }
    return function != get_data || scene->out.pointer == &scene->data;
}

/* Checks that every live runtime has a slot of its own, as have the next ones. */
static void end_created(struct scene *scene)
{
    JsRuntimeHandle next = new_runtime();
    JsRuntimeHandle last = new_runtime();

    dispose(last);
    dispose(next);
    if (scene->created != NULL) {
        dispose(scene->created);
    }
    if (scene->kept != NULL) {
        dispose(scene->kept);
    }
}

/* Ends what is left of a scene. All of it must succeed. */
static void clear(struct scene *scene, const char *name)
{
    bool gone = false;

    if (scene->attempt->current || scene->attempt->function == set_current) {
        assert_ok(JsSetCurrentContext(JS_INVALID_REFERENCE));
    }
    gone = scene->later != NULL && event->function == dispose_and_create;
    gone = gone || (scene->attempt->function == dispose_it && scene->code == JsNoError);
    if (scene->happened && event->undo != NULL && scene->other == JsNoError && !gone) {
        worker_run(other, undo_event, scene);
        require(scene->other == JsNoError, "%s: cannot be undone: %#x", name,
                (unsigned)scene->other);
    }
    if (!gone) {
        jsrtmem_stats stats = stats_of(scene->runtime);
        require(stats.peak_usage >= stats.usage, "%s: a peak of %zu under the usage %zu", name,
                stats.peak_usage, stats.usage);
    }
    if (scene->attempt->entered ||
        (scene->attempt->function == enter && scene->code == JsNoError)) {
        assert_ok(jsrtmem_leave(scene->runtime));
    }
    require(JsDisposeRuntime(scene->runtime) == (gone ? JsErrorInvalidArgument : JsNoError),
            "%s: not as it should be afterwards", name);
    if (scene->later != NULL) {
        dispose(scene->later);
    }
    end_created(scene);
}

static void race_at(const struct attempt *attempt, size_t i)
{
    const struct trace *trace = &traces[attempt - attempts];
    struct scene scene;
    char name[200];

    make(&scene, attempt);
    steps_run(do_call, &scene, trace->points[i], other, do_event, &scene);
    (void)snprintf(name, sizeof(name), "%s, and at point %zu of %zu %s", attempt->name, i,
                   trace->count, event->name);
    bool in_use = attempt->function == dispose_it && scene.code == JsErrorRuntimeInUse;
    require(scene.code == trace->code || scene.code == event->allowed || in_use,
            "%s: %#x, alone %#x", name, (unsigned)scene.code, (unsigned)trace->code);
    require(scene.code == trace->code || scene.happened, "%s: %#x, without a reason", name,
            (unsigned)scene.code);
    require(scene.other != JsErrorFatal, "%s: the other thread fails", name);
    require(told_right(&scene), "%s: told about another one", name);
    require(!confused, "%s: a callback with another one's state", name);
    clear(&scene, name);
}

static void every_call(void **state)
{
    size_t runtimes = process_stats().runtimes;

    event = *state;
    for (size_t i = 0; i < COUNT_OF(attempts); i++) {
        for (size_t point = 0; point < traces[i].count; point++) {
            race_at(&attempts[i], point);
        }
    }
    assert_int_equal(process_stats().runtimes, runtimes);
    assert_int_equal(process_stats().usage, 0);
}

/* Records the points of each call, and its result if nothing happens meanwhile. */
static void trace_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(attempts); i++) {
        struct scene scene;

        make(&scene, &attempts[i]);
        traces[i].count = steps_trace(do_call, &scene, traces[i].points, POINTS);
        traces[i].code = scene.code;
        require(scene.code == JsNoError, "%s: %#x", attempts[i].name, (unsigned)scene.code);
        clear(&scene, attempts[i].name);
    }
}

/* ---- A dispose that was left ---- */

static jmp_buf out_of_dispose;

static bool CHAKRA_CALLBACK leave_dispose(void *state, JsMemoryEventType type, size_t size)
{
    (void)state, (void)size;
    if (type == JsMemoryFree) {
        longjmp(out_of_dispose, 1);
    }
    return true;
}

/* Makes a scene in which a dispose waits to be finished. */
static void make_half_disposed(struct scene *scene, const struct attempt *attempt)
{
    make(scene, attempt);
    assert_ok(JsSetRuntimeMemoryAllocationCallback(scene->runtime, NULL, leave_dispose));
    if (setjmp(out_of_dispose) == 0) {
        (void)JsDisposeRuntime(scene->runtime);
        fail();
    }
    (void)jsrtmem_usable_size(NULL); /* notices that the callback was left */
    assert_ok(JsSetRuntimeMemoryAllocationCallback(scene->runtime, NULL, NULL));
}

static JsErrorCode finish_dispose(struct scene *scene)
{
    return JsDisposeRuntime(scene->runtime);
}

/* No call by another thread, a free least of all, makes the dispose that finishes it fail. */
static void a_dispose_that_was_left_can_be_finished_at_any_time(void **state)
{
    static const struct attempt on_half_disposed[] = {
        {"free", free_it, false, false},
        {"free a large object", free_large, false, false},
        {"alloc", alloc, false, false},
        {"enter", enter, false, false},
        {"collect", collect, false, false},
        {"make current", set_current, false, false},
        {"set the limit", set_limit, false, false},
    };
    static const struct event finish = {"its dispose is finished", finish_dispose, NULL,
                                        JsErrorInvalidArgument};
    struct trace *trace = &traces[0];

    (void)state;
    event = &finish;
    for (size_t i = 0; i < COUNT_OF(on_half_disposed); i++) {
        const struct attempt *attempt = &on_half_disposed[i];
        struct scene scene;

        make_half_disposed(&scene, attempt);
        trace->count = steps_trace(do_call, &scene, trace->points, POINTS);
        trace->code = scene.code;
        assert_ok(JsDisposeRuntime(scene.runtime));
        for (size_t point = 0; point < trace->count; point++) {
            make_half_disposed(&scene, attempt);
            steps_run(do_call, &scene, trace->points[point], other, do_event, &scene);
            require(!scene.happened || scene.other == JsNoError,
                    "%s, and at point %zu of %zu %s: %#x", attempt->name, point, trace->count,
                    event->name, (unsigned)scene.other);
            require(scene.code == trace->code || scene.code == event->allowed,
                    "%s, and at point %zu %s: the call gives %#x", attempt->name, point,
                    event->name, (unsigned)scene.code);
            assert_code(JsDisposeRuntime(scene.runtime),
                        scene.happened ? JsErrorInvalidArgument : JsNoError);
        }
    }
}

/* Leaves more free slots than a scene needs. */
static void make_room(void)
{
    JsRuntimeHandle runtimes[8];

    for (size_t i = 0; i < COUNT_OF(runtimes); i++) {
        runtimes[i] = new_runtime();
    }
    for (size_t i = 0; i < COUNT_OF(runtimes); i++) {
        dispose(runtimes[i]);
    }
}

int main(void)
{
    struct CMUnitTest tests[2 + COUNT_OF(events)] = {cmocka_unit_test(trace_all)};

    if (!steps_begin()) {
        (void)puts("skipped: this machine does not stop after each instruction");
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        tests[1 + i] = (struct CMUnitTest){events[i].name, every_call, NULL, NULL,
                                           (void *)(uintptr_t)&events[i]};
    }
    tests[1 + COUNT_OF(events)] = (struct CMUnitTest)cmocka_unit_test(
        a_dispose_that_was_left_can_be_finished_at_any_time); /* last: it takes a trace's place */
    other = worker_start();
    make_room();
    int failed = cmocka_run_group_tests_name("steps", tests, NULL, NULL);
    worker_stop(other);
    return failed;
}
