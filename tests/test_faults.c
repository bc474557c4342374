/*
 * Fail until success: a workload takes every path of the allocator. It runs once for each of its
 * OS calls, with that call refused, or that one and all later ones. The same for each question to
 * the host, answered with no or with a lower limit. Every refusal is reported and loses nothing.
 * Once nothing refuses any more the workload succeeds, and all memory goes back.
 *
 * Each run is a process of its own: the tables, which are made once per process, are refused too.
 */
#include "support/child.h"
#include "support/fake_os.h"
#include "support/heap_check.h"
#include "support/host.h"
#include "support/marked.h"
#include "support/rig.h"
#include "support/system.h"
#include "support/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- What goes wrong in a run ---- */

enum trouble { TROUBLE_NONE, TROUBLE_OS, TROUBLE_VETO, TROUBLE_LIMIT };

struct plan {
    enum trouble trouble;
    enum fake_function function; /* OS function that fails */
    size_t nth;                  /* which call or question, from 1 */
    bool onward;                 /* also all later ones; a limit: half the usage, not all of it */
};

/* The child writes its report into the file that this variable names. The parent reads it. */
#define REPORT_VARIABLE "JSRTMEM_TEST_REPORT"

struct report {
    size_t calls[FAKE_ALL + 1];
    size_t questions; /* Allocate events */
    size_t struck;    /* how often the plan struck */
    size_t refusals;  /* API calls that were refused because of it */
    char fault[240];
};
static struct report report;

#define SLOTS 96

static struct run {
    struct plan plan;
    bool trouble; /* the plan is in force */
    size_t questions, struck;
    size_t seen; /* `struck` at the last full check */
    JsRuntimeHandle runtime;
    struct host host, other_host;
    struct object slots[SLOTS];
    uint64_t next_id;
    worker *worker;
} run;

_Noreturn static void hand_over(int status)
{
    const char *name = getenv(REPORT_VARIABLE);
    FILE *file = name == NULL ? NULL : fopen(name, "wb");
    bool written = file != NULL && fwrite(&report, sizeof(report), 1, file) == 1;
    written = file != NULL && fclose(file) == 0 && written;
    _Exit(written ? status : 2);
}

/* cmocka's assertions must not run in a child: the first fault ends the process. */
_Noreturn static void give_up(int line, const char *text, const char *more)
{
    (void)snprintf(report.fault, sizeof(report.fault), "line %d: %s %s", line, text, more);
    hand_over(1);
}
#define MUST(condition) ((condition) ? (void)0 : give_up(__LINE__, #condition, ""))

static size_t struck(void)
{
    return run.struck + fake_os_refused();
}

/* Acts on the n-th question to the host. */
static bool on_event(struct host *self, const struct host_event *event)
{
    const struct plan *plan = &run.plan;
    if (event->type != JsMemoryAllocate || !run.trouble) {
        return true;
    }
    size_t question = ++run.questions;
    bool met = question == plan->nth || (plan->onward && question > plan->nth);
    if (plan->trouble == TROUBLE_VETO && met) {
        run.struck++;
        return false;
    }
    if (plan->trouble == TROUBLE_LIMIT && question == plan->nth) {
        run.struck++;
        MUST(JsSetRuntimeMemoryLimit(self->runtime,
                                     plan->onward ? event->usage / 2 : event->usage) == JsNoError);
    }
    return true;
}

/* ---- What must hold ---- */

static void check_host(struct host *host)
{
    size_t usage = 0;
    host_settle(host);
    if (host->faults != 0) {
        give_up(__LINE__, "an event:", host->fault);
    }
    MUST(JsGetRuntimeMemoryUsage(host->runtime, &usage) == JsNoError);
    MUST(usage == host->balance);
}

/* Checks everything, after each call that the plan struck and at the end. */
static void check_all(void)
{
    check_host(&run.host);
    const char *fault = heap_check(heap_of(run.runtime), HEAP_LISTS, NULL);
    if (fault != NULL) {
        give_up(__LINE__, "the heap:", fault);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        MUST(run.slots[i].bytes == NULL || is_intact(&run.slots[i]));
    }
    MUST(fake_os_held() >= run.host.balance + jm_reserve_bytes());
    if (fake_os_fault() != NULL) {
        give_up(__LINE__, "the OS:", fake_os_fault());
    }
}

static void check(void)
{
    check_host(&run.host);
    if (struck() != run.seen) {
        run.seen = struck();
        check_all();
    }
}

/* Checks that a refused call has reported its reason. True if the plan struck only once: the caller
 * must repeat the call. */
static bool try_again(jsrtmem_refusal reason, size_t requested)
{
    static const jsrtmem_refusal reasons[] = {JSRTMEM_REFUSAL_NONE, JSRTMEM_REFUSAL_OS,
                                              JSRTMEM_REFUSAL_HOST, JSRTMEM_REFUSAL_LIMIT};
    jsrtmem_refusal_info info = {.struct_size = sizeof(info)};
    MUST(run.trouble && run.plan.trouble != TROUBLE_NONE && struck() > 0);
    report.refusals++;
    if (reason != JSRTMEM_REFUSAL_NONE) {
        MUST(jsrtmem_last_refusal(&info) == JsNoError);
        MUST(info.reason == reasons[run.plan.trouble] && info.reason == reason);
        MUST(info.requested == requested && info.runtime == run.runtime);
    }
    check();
    return !run.plan.onward && run.plan.trouble != TROUBLE_LIMIT;
}

static jsrtmem_refusal expected_reason(void)
{
    return run.plan.trouble == TROUBLE_OS     ? JSRTMEM_REFUSAL_OS
           : run.plan.trouble == TROUBLE_VETO ? JSRTMEM_REFUSAL_HOST
                                              : JSRTMEM_REFUSAL_LIMIT;
}

/* The same for calls that return a code. Only the OS can refuse them. */
static bool code_again(JsErrorCode code)
{
    MUST(code == JsErrorOutOfMemory && run.plan.trouble == TROUBLE_OS);
    return try_again(JSRTMEM_REFUSAL_NONE, 0);
}

/* ---- The steps ---- */

enum how { PLAIN, ZEROED, ALIGNED };

static void *ask(enum how how, size_t alignment, size_t size)
{
    if (how == ALIGNED) {
        return jsrtmem_aligned_alloc(run.runtime, alignment, size);
    }
    return how == ZEROED ? jsrtmem_calloc(run.runtime, 2, size / 2)
                         : jsrtmem_alloc(run.runtime, size);
}

static void take(size_t slot, enum how how, size_t alignment, size_t size)
{
    struct object *object = &run.slots[slot];
    MUST(object->bytes == NULL);
    void *bytes = ask(how, alignment, size);
    if (bytes == NULL && try_again(expected_reason(), size)) {
        bytes = ask(how, alignment, size);
        MUST(bytes != NULL);
    }
    check();
    if (bytes == NULL) {
        return;
    }
    MUST((uintptr_t)bytes % alignment == 0);
    MUST(how != ZEROED || bytes_are(bytes, size, 0));
    *object = (struct object){bytes, size, run.next_id};
    run.next_id += 2;
    mark(object);
}

static void take_plain(size_t slot, size_t size)
{
    take(slot, PLAIN, JM_GRANULE, size);
}

/* A smaller size is never refused. A refused object stays as it is. */
static void resize(size_t slot, size_t size)
{
    struct object *object = &run.slots[slot];
    if (object->bytes == NULL) {
        return;
    }
    void *bytes = jsrtmem_realloc(run.runtime, object->bytes, size);
    MUST(bytes != NULL || size > object->size);
    if (bytes == NULL && try_again(expected_reason(), size)) {
        bytes = jsrtmem_realloc(run.runtime, object->bytes, size);
        MUST(bytes != NULL);
    }
    if (bytes != NULL) {
        MUST(start_is_kept(object, bytes, size));
        object->bytes = bytes;
        object->size = size;
        mark(object);
    }
    check();
}

static void drop_slot(size_t slot)
{
    struct object *object = &run.slots[slot];
    if (object->bytes != NULL) {
        MUST(is_intact(object));
        MUST(jsrtmem_free(object->bytes) == JsNoError);
        MUST(jsrtmem_free(object->bytes) == JsErrorInvalidArgument);
        object->bytes = NULL;
        check();
    }
}

static void collect(void)
{
    MUST(JsCollectGarbage(run.runtime) == JsNoError);
    check();
}

static void objects_of_all_sizes(void)
{
    const size_t sizes[] = {0, 24, 100, 1000, 5000, 70000, 200000, KIB(300), MIB(1), MIB(3)};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        take_plain(i, sizes[i]);
    }
    take(10, ZEROED, JM_GRANULE, 600);
    take(11, ZEROED, JM_GRANULE, KIB(600));
    take(12, ALIGNED, 4096, 100);
    take(13, ALIGNED, KIB(64), 1000);
    take(14, ALIGNED, MIB(1), KIB(500));
    take(15, ALIGNED, KIB(256), 40);
}

static void objects_change_size(void)
{
    resize(1, 90); /* by a copy, or into the memory behind it */
    resize(1, 5000);
    resize(1, KIB(300)); /* to a block of its own */
    resize(3, 40);
    resize(6, 50);
    resize(7, KIB(900)); /* in place or by a move */
    resize(7, MIB(5));
    resize(7, MIB(1));
    resize(7, MIB(2)); /* its former room is still there */
    resize(7, KIB(100));
    resize(9, 10);
    resize(9, MIB(4));
    resize(14, KIB(900)); /* lies in a reservation: by a copy */
    resize(14, KIB(400));
}

static void free_three(void *argument)
{
    const size_t *slots = argument;
    for (size_t i = 0; i < 3; i++) {
        void *bytes = run.slots[slots[i]].bytes;
        MUST(bytes == NULL || jsrtmem_free(bytes) == JsNoError);
        MUST(bytes == NULL || jsrtmem_free(bytes) == JsErrorInvalidArgument);
        run.slots[slots[i]].bytes = NULL;
    }
}

static void another_thread_frees(void)
{
    size_t first[] = {4, 5, 8};
    size_t second[] = {10, 11, 12};
    MUST(jsrtmem_enter(run.runtime) == JsNoError);
    worker_run(run.worker, free_three, first); /* queued: this thread is inside */
    check();
    take_plain(4, 5000);
    take_plain(5, KIB(400));
    MUST(jsrtmem_leave(run.runtime) == JsNoError);
    worker_run(run.worker, free_three, second); /* at once: no thread is inside */
    check();
}

static void entered(void)
{
    MUST(jsrtmem_enter(run.runtime) == JsNoError);
    for (size_t i = 16; i < SLOTS; i++) {
        take_plain(i, 1500 + 40 * i);
    }
    for (size_t i = 16; i < SLOTS; i += 2) {
        drop_slot(i);
    }
    for (size_t i = 16; i < SLOTS; i += 2) {
        take_plain(i, 40000 + 1000 * i);
    }
    for (size_t i = 16; i < SLOTS; i++) {
        drop_slot(i);
    }
    MUST(jsrtmem_leave(run.runtime) == JsNoError);
}

static void in_a_context(void)
{
    JsContextRef context = JS_INVALID_REFERENCE;
    JsErrorCode code = JsCreateContext(run.runtime, &context);
    if (code != JsNoError && code_again(code)) {
        code = JsCreateContext(run.runtime, &context);
        MUST(code == JsNoError);
    }
    if (code != JsNoError) {
        MUST(context == JS_INVALID_REFERENCE);
        return;
    }
    MUST(JsAddRef(context, NULL) == JsNoError);
    MUST(JsSetCurrentContext(context) == JsNoError);
    take_plain(16, 300);
    take_plain(17, KIB(270));
    drop_slot(17);
    MUST(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);
    MUST(JsRelease(context, NULL) == JsNoError); /* the context ends */
    MUST(JsSetCurrentContext(context) == JsErrorInvalidArgument);
    drop_slot(16);
}

/* ---- Other runtimes ---- */

static JsRuntimeHandle create(void)
{
    JsRuntimeHandle runtime = JS_INVALID_RUNTIME_HANDLE;
    JsErrorCode code = JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime);
    if (code != JsNoError) {
        MUST(code == JsErrorOutOfMemory && runtime == JS_INVALID_RUNTIME_HANDLE);
        MUST(run.trouble && run.plan.trouble == TROUBLE_OS && fake_os_refused() > 0);
    }
    return runtime;
}

static void attach(struct host *host, JsRuntimeHandle runtime)
{
    memset(host, 0, sizeof(*host));
    host->runtime = runtime;
    host->hook = on_event;
    MUST(JsSetRuntimeMemoryAllocationCallback(runtime, host, host_callback) == JsNoError);
}

/* Creates a runtime, and disposes of it while it holds objects, whether or not the OS takes its
 * memory back. */
static void a_runtime_comes_and_goes(void)
{
    JsRuntimeHandle other = create();
    if (other == JS_INVALID_RUNTIME_HANDLE) {
        return;
    }
    attach(&run.other_host, other);
    for (size_t size = 10; size < MIB(1); size *= 3) {
        void *object = jsrtmem_alloc(other, size);
        MUST(object != NULL || (run.trouble && struck() > 0));
        if (object != NULL) {
            memset(object, 0xee, size);
        }
        check_host(&run.other_host);
    }
    MUST(JsDisposeRuntime(other) == JsNoError);
    MUST(run.other_host.faults == 0 && run.other_host.balance == 0);
    check();
}

#define DEPTH 300

struct nest {
    JsRuntimeHandle runtimes[2];
    size_t depth;
};

/* Enters so deeply that the frames need memory twice. The thread's end gives it back. */
static void enter_deeply(void *argument)
{
    struct nest *nest = argument;
    for (nest->depth = 0; nest->depth < DEPTH; nest->depth++) {
        JsErrorCode code = jsrtmem_enter(nest->runtimes[nest->depth % 2]);
        if (code != JsNoError) {
            MUST(code == JsErrorOutOfMemory && run.trouble && fake_os_refused() > 0);
            break;
        }
    }
    for (size_t left = nest->depth; left > 5; left--) {
        MUST(jsrtmem_leave(nest->runtimes[left % 2]) == JsErrorInvalidArgument);
        MUST(jsrtmem_leave(nest->runtimes[(left - 1) % 2]) == JsNoError);
    }
}

static void a_thread_enters_deeply(void)
{
    struct nest nest = {{create(), create()}, 0};
    if (nest.runtimes[0] != NULL && nest.runtimes[1] != NULL) {
        worker *thread = worker_start();
        worker_run(thread, enter_deeply, &nest);
        worker_stop(thread);
    }
    for (size_t i = 0; i < 2; i++) {
        MUST(nest.runtimes[i] == NULL || JsDisposeRuntime(nest.runtimes[i]) == JsNoError);
    }
    check();
}

/* ---- The workload ---- */

static void workload(void)
{
    MUST(jsrtmem_set_reserve_limit(0) == JsNoError);
    objects_of_all_sizes();
    objects_change_size();
    another_thread_frees();
    in_a_context();
    entered();
    collect();
    MUST(jsrtmem_set_reserve_limit(MIB(1)) == JsNoError);
    a_runtime_comes_and_goes();
    entered(); /* with what the other runtime left */
    MUST(jsrtmem_set_reserve_limit(KIB(64)) == JsNoError);
    a_thread_enters_deeply();
    for (size_t i = 0; i < SLOTS; i++) {
        drop_slot(i);
    }
    collect();
    check_all();
}

/* Ends the plan: the OS and the host refuse nothing any more. */
static void end_trouble(void)
{
    for (int i = 0; i <= FAKE_ALL; i++) {
        report.calls[i] = fake_os_calls((enum fake_function)i);
    }
    report.questions = run.questions;
    report.struck = run.struck = struck();
    run.trouble = false;
    fake_os_reset();
    run.seen = run.struck;
}

static void begin_trouble(void)
{
    run.trouble = true;
    if (run.plan.trouble == TROUBLE_OS) {
        fake_os_refuse(run.plan.function, run.plan.nth, run.plan.onward, ENOMEM);
    } else {
        fake_os_reset();
    }
}

/* Checks that nothing was lost: the OS has everything back but the tables. */
static void check_end(void)
{
    MUST(run.host.faults == 0 && run.host.balance == 0);
    MUST(jsrtmem_set_reserve_limit(0) == JsNoError);
    struct jm_os_extent extent;
    MUST(jm_os_map(jm_os_page_size(), jm_os_page_size(), &extent) != NULL);
    MUST(jm_os_unmap(&extent));
    MUST(jm_reserve_bytes() == 0);
    MUST(fake_os_held() == 0);
    MUST(fake_os_reserved() == 0 && fake_os_fault() == NULL);
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    MUST(jsrtmem_get_process_stats(&stats) == JsNoError);
    MUST(stats.usage == 0 && stats.runtimes == 0 && stats.reserve == 0);
}

/* Runs a whole plan, in a child. */
_Noreturn static void run_plan(struct plan plan)
{
    run.plan = plan;
    run.worker = worker_start();
    begin_trouble();
    run.runtime = create();
    if (run.runtime == JS_INVALID_RUNTIME_HANDLE) {
        report.refusals++;
        end_trouble(); /* no runtime to go on with */
        run.runtime = create();
        attach(&run.host, run.runtime);
    } else {
        attach(&run.host, run.runtime);
        workload();
        end_trouble();
    }
    MUST(JsSetRuntimeMemoryLimit(run.runtime, (size_t)-1) == JsNoError);
    collect();
    MUST(run.host.balance == 0); /* the OS now takes what it refused to take */
    workload();
    MUST(run.host.balance == 0);
    MUST(JsDisposeRuntime(run.runtime) == JsNoError);
    worker_stop(run.worker);
    check_end();
    hand_over(0);
}

/* A plan as the argument of a child. */
#define PLAN_FORM "%u:%u:%u:%u"

static void write_plan(char *text, size_t size, struct plan plan)
{
    (void)snprintf(text, size, PLAN_FORM, (unsigned)plan.trouble, (unsigned)plan.function,
                   (unsigned)plan.nth, (unsigned)plan.onward);
}

static bool read_plan(const char *text, struct plan *plan)
{
    unsigned trouble, function, nth, onward;
    if (sscanf(text, PLAN_FORM, &trouble, &function, &nth, &onward) != 4) {
        return false;
    }
    *plan = (struct plan){(enum trouble)trouble, (enum fake_function)function, nth, onward != 0};
    return true;
}

/* ---- The parent ---- */

static char report_name[512];

static void clear_report(void)
{
    FILE *file = fopen(report_name, "wb");
    memset(&report, 0, sizeof(report));
    if (file != NULL) {
        (void)fclose(file);
    }
}

/* Reads the report from the file. False if the child left none. */
static bool read_report(void)
{
    FILE *file = fopen(report_name, "rb");
    bool whole = file != NULL && fread(&report, sizeof(report), 1, file) == 1;
    if (file != NULL) {
        (void)fclose(file);
    }
    return whole;
}

static struct totals {
    size_t tried, struck, refused, survived;
} totals;

static const char *name_of(const struct plan *plan)
{
    return plan->trouble == TROUBLE_OS     ? fake_names[plan->function]
           : plan->trouble == TROUBLE_VETO ? "veto"
                                           : "limit";
}

/* Wine fails to start about one program of some thousand. That one seems to exit with 1, but a
 * child of this test that exits with 1 leaves a report. */
#define STARTS 3

/* Runs a plan in a process of its own. Returns its exit status, or -1 if it was killed. */
static int run_child(struct plan plan)
{
    char argument[64];
    write_plan(argument, sizeof(argument), plan);
    for (int start = 1;; start++) {
        clear_report();
        int status = child_run_again(argument, REPORT_VARIABLE, report_name);
        if (read_report()) {
            return status;
        }
        if (status != 1 || start == STARTS) {
            (void)snprintf(report.fault, sizeof(report.fault), "no report, exit status %d", status);
            return -1;
        }
    }
}

static void try_plan(struct plan plan)
{
    int status = run_child(plan);
    totals.tried++;
    totals.struck += report.struck != 0;
    totals.refused += report.refusals != 0;
    totals.survived += status == 0;
    if (status != 0) {
        print_error("%s %zu%s: %s\n", name_of(&plan), plan.nth, plan.onward ? " and on" : "",
                    report.fault);
    }
}

/* To refuse only the n-th call of all functions is to refuse some call of one function, which is
 * tried anyway. */
static void try_each(enum trouble trouble, enum fake_function function, size_t count)
{
    bool of_all = trouble == TROUBLE_OS && function == FAKE_ALL;
    for (int onward = of_all; onward <= 1; onward++) {
        for (size_t nth = 1; nth <= count; nth++) {
            try_plan((struct plan){trouble, function, nth, onward});
        }
    }
}

/* A run without trouble. Returns its counts. */
static struct report clean_run(void)
{
    try_plan((struct plan){TROUBLE_NONE, FAKE_ALL, 0, false});
    assert_int_equal(totals.survived, 1);
    totals = (struct totals){0, 0, 0, 0};
    return report;
}

static int begin(void **state)
{
    (void)state;
    totals = (struct totals){0, 0, 0, 0};
    return 0;
}

static void tell(const char *what)
{
    print_message("%s: %zu points tried, %zu met, %zu with a call refused, %zu survived\n", what,
                  totals.tried, totals.struck, totals.refused, totals.survived);
    assert_int_equal(totals.survived, totals.tried);
}

static void each_function_of_the_os_is_called(void **state)
{
    struct report clean = clean_run();

    (void)state;
    assert_int_equal(clean.struck, 0);
    assert_int_equal(clean.refusals, 0);
    assert_true(clean.questions > 20);
    for (int i = 0; i < FAKE_ALL; i++) {
        require(clean.calls[i] > 0, "the workload does without %s", fake_names[i]);
    }
}

static void any_call_of_the_os_may_be_refused(void **state)
{
    struct report clean = clean_run();

    (void)state;
    for (int i = 0; i <= FAKE_ALL; i++) {
        try_each(TROUBLE_OS, (enum fake_function)i, clean.calls[i]);
    }
    tell("the OS");
}

static void any_question_may_be_answered_with_no(void **state)
{
    struct report clean = clean_run();

    (void)state;
    try_each(TROUBLE_VETO, FAKE_ALL, clean.questions);
    tell("the host");
}

static void the_limit_may_fall_at_any_question(void **state)
{
    struct report clean = clean_run();

    (void)state;
    try_each(TROUBLE_LIMIT, FAKE_ALL, clean.questions);
    tell("the limit");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_function_of_the_os_is_called, begin),
        cmocka_unit_test_setup(any_call_of_the_os_may_be_refused, begin),
        cmocka_unit_test_setup(any_question_may_be_answered_with_no, begin),
        cmocka_unit_test_setup(the_limit_may_fall_at_any_question, begin),
    };
    struct plan plan;
    if (argc > 1 && read_plan(argv[1], &plan)) {
        run_plan(plan);
    }
    if (!scratch_file(report_name, sizeof(report_name))) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)remove(report_name);
    return failed;
}
