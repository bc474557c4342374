/*
 * Diagnostics: which ones the environment and the API turn on, and what they print. Each case runs
 * this program again, in a process of its own, with its standard error in a file.
 */
#include "support/child.h"
#include "support/system.h"
#include "support/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <sys/socket.h>
#include <unistd.h>
#endif

#define VARIABLE "JSRTMEM_DIAGNOSTICS"
#define ALL (JSRTMEM_DIAGNOSTICS_MISUSE | JSRTMEM_DIAGNOSTICS_REFUSALS | JSRTMEM_DIAGNOSTICS_STATS)

/* ---- In the child ---- */

static JsRuntimeHandle create(void)
{
    JsRuntimeHandle runtime = NULL;
    return JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError ? runtime : NULL;
}

/* Causes one misuse, one refusal and one runtime's statistics. */
static int live_a_little(void)
{
    JsRuntimeHandle runtime = create();
    CHILD_CHECK(runtime != NULL);
    void *object = jsrtmem_alloc(runtime, 100);
    CHILD_CHECK(jsrtmem_free(object) == JsNoError);
    CHILD_CHECK(jsrtmem_free(object) == JsErrorInvalidArgument);
    CHILD_CHECK(jsrtmem_alloc(runtime, SIZE_MAX) == NULL);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    return 0;
}

static int with_none(void)
{
    CHILD_CHECK(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_NONE) == JsNoError);
    return live_a_little();
}

static int with_refusals(void)
{
    CHILD_CHECK(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_REFUSALS) == JsNoError);
    CHILD_CHECK(jsrtmem_set_diagnostics(8) == JsErrorInvalidArgument);
    CHILD_CHECK(jsrtmem_set_diagnostics(ALL | 0x80000000u) == JsErrorInvalidArgument);
    return live_a_little();
}

static int off_again(void)
{
    CHILD_CHECK(jsrtmem_set_diagnostics(ALL) == JsNoError);
    CHILD_CHECK(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_NONE) == JsNoError);
    return live_a_little();
}

/* Prints what the child expects the library to say, on a line that begins with a star. */
static void expect(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputc('*', stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    (void)fflush(stderr);
    va_end(args);
}

static int misuses(void)
{
    JsRuntimeHandle runtime = create();
    JsRuntimeHandle other = create();
    static char foreign[64];
    CHILD_CHECK(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_MISUSE) == JsNoError);
    for (int entered = 0; entered < 2; entered++) {
        char *object = jsrtmem_alloc(runtime, 100);
        char *large = jsrtmem_alloc(runtime, 1000000);
        char *others = jsrtmem_alloc(other, 100);
        expect("misuse: jsrtmem_free of 0x%zx, which is in no runtime's memory",
               (size_t)(uintptr_t)foreign);
        CHILD_CHECK(jsrtmem_free(foreign) == JsErrorInvalidArgument);
        expect("misuse: jsrtmem_free of 0x%zx, where no object starts",
               (size_t)(uintptr_t)(object + 16));
        CHILD_CHECK(jsrtmem_free(object + 16) == JsErrorInvalidArgument);
        expect("misuse: jsrtmem_free of 0x%zx, where no object starts",
               (size_t)(uintptr_t)(object + 1));
        CHILD_CHECK(jsrtmem_free(object + 1) == JsErrorInvalidArgument);
        expect("misuse: jsrtmem_free of 0x%zx, where no object starts",
               (size_t)(uintptr_t)(large + 64));
        CHILD_CHECK(jsrtmem_free(large + 64) == JsErrorInvalidArgument);
        expect("misuse: jsrtmem_realloc of 0x%zx, which is an object of another runtime",
               (size_t)(uintptr_t)others);
        CHILD_CHECK(jsrtmem_realloc(runtime, others, 300) == NULL);
        expect("misuse: jsrtmem_realloc of 0x%zx, which is an object of another runtime",
               (size_t)(uintptr_t)others);
        CHILD_CHECK(jsrtmem_realloc(runtime, others, 0) == NULL);
        CHILD_CHECK(jsrtmem_free(object) == JsNoError && jsrtmem_free(others) == JsNoError);
        expect("misuse: jsrtmem_free of 0x%zx, which is freed already", (size_t)(uintptr_t)object);
        CHILD_CHECK(jsrtmem_free(object) == JsErrorInvalidArgument);
        expect("misuse: jsrtmem_realloc of 0x%zx, which is freed already",
               (size_t)(uintptr_t)object);
        CHILD_CHECK(jsrtmem_realloc(runtime, object, 100) == NULL);
        CHILD_CHECK(jsrtmem_usable_size(object) == 0); /* a query is no misuse */
        CHILD_CHECK(jsrtmem_free(NULL) == JsNoError && jsrtmem_free(large) == JsNoError);
        CHILD_CHECK(jsrtmem_enter(runtime) == JsNoError);
    }
    return 0;
}

static const char *limit_text(size_t limit)
{
    static char text[32];
    (void)snprintf(text, sizeof(text), "%zu", limit);
    return limit == SIZE_MAX ? "none" : text;
}

static int refuse(JsRuntimeHandle runtime, const char *reason, void *object)
{
    jsrtmem_refusal_info info = last_refusal();
    CHILD_CHECK(object == NULL && info.runtime == runtime);
    if (runtime == NULL) {
        expect("refused: %s: runtime none, requested %zu", reason, info.requested);
        return 0;
    }
    expect("refused: %s: runtime 0x%zx, requested %zu, usage %zu, limit %s", reason,
           (size_t)(uintptr_t)runtime, info.requested, info.usage, limit_text(info.limit));
    return 0;
}

static bool CHAKRA_CALLBACK say_no(void *state, JsMemoryEventType event, size_t bytes)
{
    (void)state, (void)event, (void)bytes;
    return false;
}

/* The expected text is known only after the refusal: the lines come in pairs. */
static int refusals(void)
{
    JsRuntimeHandle runtime = create();
    CHILD_CHECK(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_REFUSALS) == JsNoError);
    int bad = refuse(runtime, "size", jsrtmem_alloc(runtime, SIZE_MAX));
    bad += refuse(NULL, "argument", jsrtmem_alloc(NULL, 100));
    bad += refuse(runtime, "argument", jsrtmem_aligned_alloc(runtime, 3, 100));
    CHILD_CHECK(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, say_no) == JsNoError);
    bad += refuse(runtime, "host", jsrtmem_alloc(runtime, 2000000));
    CHILD_CHECK(JsSetRuntimeMemoryLimit(runtime, 50000) == JsNoError);
    bad += refuse(runtime, "limit", jsrtmem_alloc(runtime, 2000000));
    return bad;
}

static void expect_stats(JsRuntimeHandle runtime)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    (void)jsrtmem_get_stats(runtime, &stats);
    expect(
        "stats: runtime 0x%zx, usage %zu, peak %zu, limit %s, blocks %zu, allocate %zu, free %zu, "
        "failure %zu",
        (size_t)(uintptr_t)runtime, stats.usage, stats.peak_usage, limit_text(stats.limit),
        stats.blocks, (size_t)stats.allocate_events, (size_t)stats.free_events,
        (size_t)stats.failure_events);
}

static int figures(void)
{
    JsRuntimeHandle runtime = create();
    JsRuntimeHandle left = create();
    CHILD_CHECK(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_STATS) == JsNoError);
    CHILD_CHECK(JsSetRuntimeMemoryLimit(runtime, MIB(2)) == JsNoError);
    CHILD_CHECK(jsrtmem_free(jsrtmem_alloc(runtime, MIB(1))) == JsNoError);
    CHILD_CHECK(jsrtmem_alloc(runtime, 100) != NULL);
    CHILD_CHECK(jsrtmem_alloc(runtime, MIB(3)) == NULL);
    CHILD_CHECK(jsrtmem_alloc(left, 100) != NULL);
    expect_stats(runtime);
    CHILD_CHECK(JsDisposeRuntime(runtime) == JsNoError);
    expect_stats(left);
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    expect("stats: process, runtimes %zu, usage %zu, reserve %zu, reserve limit %zu, metadata %zu",
           stats.runtimes, stats.usage, stats.reserve, stats.reserve_limit, stats.metadata);
    return 0;
}

#define THREADS 4
#define LINES 500

static void *refuse_often(void *unused)
{
    for (int i = 0; i < LINES; i++) {
        (void)jsrtmem_alloc(NULL, 100);
    }
    return unused;
}

static int threads(void)
{
    pthread_t all[THREADS];
    CHILD_CHECK(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_REFUSALS) == JsNoError);
    for (int i = 0; i < THREADS; i++) {
        CHILD_CHECK(pthread_create(&all[i], NULL, refuse_often, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHILD_CHECK(pthread_join(all[i], NULL) == 0);
    }
    return 0;
}

static const char *output; /* the file that a part writes to */

static int live_with_a_reserve_limit(void)
{
    char argument[340];
    (void)snprintf(argument, sizeof(argument), "live=%s", output);
    return child_run_again(argument, "JSRTMEM_RESERVE_LIMIT", "8M");
}

static const struct {
    const char *name;
    int (*function)(void);
} parts[] = {
    {"live", live_a_little}, {"none", with_none},  {"some", with_refusals},
    {"off", off_again},      {"misuse", misuses},  {"refused", refusals},
    {"stats", figures},      {"threads", threads}, {"both", live_with_a_reserve_limit},
};

/* `argument`: NAME=FILE. */
static int run_part(char *argument)
{
    char *file = strchr(argument, '=');
    CHILD_CHECK(file != NULL);
    *file = '\0';
    output = file + 1;
    CHILD_CHECK(freopen(output, "w", stderr) != NULL);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (strcmp(parts[i].name, argument) == 0) {
            return parts[i].function();
        }
    }
    return 1;
}

/* ---- In the test ---- */

static char said[KIB(256)];

/* Runs a part with the variable set (null: unset), and reads its output into `said`. */
static void run(const char *part, const char *value)
{
    char name[300];
    char argument[340];

    assert_true(scratch_file(name, sizeof(name)));
    (void)snprintf(argument, sizeof(argument), "%s=%s", part, name);
    int status = child_run_again(argument, VARIABLE, value);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    said[fread(said, 1, sizeof(said) - 1, file)] = '\0';
    (void)fclose(file);
    (void)remove(name);
    require(status == 0, "%s with %s: status %d, and %s", part, value, status, said);
}

static size_t count(const char *text)
{
    size_t found = 0;
    for (const char *at = strstr(said, text); at != NULL; at = strstr(at + 1, text)) {
        found++;
    }
    return found;
}

static void expect_kinds(const char *value, unsigned flags, size_t complaints)
{
    bool on = (flags & JSRTMEM_DIAGNOSTICS_STATS) != 0;

    require(count("libjsrtmem: misuse: ") == ((flags & JSRTMEM_DIAGNOSTICS_MISUSE) != 0) &&
                count("libjsrtmem: refused: ") == ((flags & JSRTMEM_DIAGNOSTICS_REFUSALS) != 0) &&
                count("libjsrtmem: stats: runtime ") == on &&
                count("libjsrtmem: stats: process") == on && count(VARIABLE) == complaints &&
                count("\n") == (size_t)__builtin_popcount(flags) + on + complaints,
            "\"%s\": not what was asked for, but\n%s", value == NULL ? "(not set)" : value, said);
}

static void the_environment_switches_them_on(void **state)
{
    static const struct {
        const char *value;
        unsigned flags;
    } rows[] = {
        {NULL, 0},
        {"", 0},
        {"misuse", JSRTMEM_DIAGNOSTICS_MISUSE},
        {"refusals", JSRTMEM_DIAGNOSTICS_REFUSALS},
        {"stats", JSRTMEM_DIAGNOSTICS_STATS},
        {"stats,misuse", JSRTMEM_DIAGNOSTICS_STATS | JSRTMEM_DIAGNOSTICS_MISUSE},
        {"misuse,misuse", JSRTMEM_DIAGNOSTICS_MISUSE},
        {"refusals,stats,misuse", ALL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        run("live", rows[i].value);
        expect_kinds(rows[i].value, rows[i].flags, 0);
    }
    run("both", "misuse,stats"); /* with the reserve limit's variable set, too */
    expect_kinds("both", JSRTMEM_DIAGNOSTICS_MISUSE | JSRTMEM_DIAGNOSTICS_STATS, 0);
}

/* A value that is not valid as a whole is ignored, and shown in one line. */
static void a_bad_value_is_named_and_ignored(void **state)
{
    static const struct {
        const char *value, *shown;
    } rows[] = {
        {" ", " "},
        {",", ","},
        {"all", "all"},
        {"none", "none"},
        {"7", "7"},
        {"Misuse", "Misuse"},
        {"misuse ", "misuse "},
        {" misuse", " misuse"},
        {"misuse,", "misuse,"},
        {",misuse", ",misuse"},
        {"misuse,,stats", "misuse,,stats"},
        {"misuse stats", "misuse stats"},
        {"misuse;stats", "misuse;stats"},
        {"misus", "misus"},
        {"misuses", "misuses"},
        {"stats,everything", "stats,everything"},
        {"stats,\033[31m\n\177", "stats,?[31m??"},
        {"stats,stats,stats,stats,stats,stats,stats,x",
         "stats,stats,stats,stats,stats,stats,stat..."},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char line[300];

        run("live", rows[i].value);
        expect_kinds(rows[i].value, 0, 1);
        (void)snprintf(line, sizeof(line),
                       "libjsrtmem: " VARIABLE
                       "=\"%s\" is not a list of misuse, refusals and stats "
                       "with commas between, and ignored: all are off\n",
                       rows[i].shown);
        assert_string_equal(said, line);
    }
}

static void the_api_comes_before_the_environment(void **state)
{
    (void)state;
    run("none", "misuse,refusals,stats");
    expect_kinds("none after all", 0, 0);
    run("some", "misuse,stats");
    expect_kinds("refusals after others", JSRTMEM_DIAGNOSTICS_REFUSALS, 0);
    run("some", NULL);
    expect_kinds("refusals alone", JSRTMEM_DIAGNOSTICS_REFUSALS, 0);
    run("off", NULL);
    expect_kinds("off again", 0, 0);
    run("some", "nonsense");
    expect_kinds("refusals in spite of nonsense", JSRTMEM_DIAGNOSTICS_REFUSALS, 1);
}

/* In each pair of lines, one is the library's and the other, with a star, says what was expected.
 * Returns the number of pairs. */
static size_t expect_pairs(const char *part)
{
    size_t pairs = 0;

    run(part, NULL);
    for (char *first = strtok(said, "\n"); first != NULL; first = strtok(NULL, "\n"), pairs++) {
        char *second = strtok(NULL, "\n");
        bool star = *first == '*';

        assert_non_null(second);
        require((*second == '*') != star, "%s: no pair:\n%s\n%s", part, first, second);
        const char *wanted = (star ? first : second) + 1;
        const char *line = star ? second : first;
        size_t prefix = strlen("libjsrtmem: ");
        require(strncmp(line, "libjsrtmem: ", prefix) == 0 && strcmp(line + prefix, wanted) == 0,
                "%s: '%s', not '%s'", part, line, wanted);
    }
    return pairs;
}

static void misuse_is_told_with_its_kind(void **state)
{
    (void)state;
    assert_int_equal(expect_pairs("misuse"), 16);
}

static void refusals_are_told_as_they_are_remembered(void **state)
{
    (void)state;
    assert_int_equal(expect_pairs("refused"), 5);
}

/* The statistics of what is left come at exit: the last two expected lines precede both of
 * theirs. */
static void stats_are_those_of_the_api(void **state)
{
    char *lines[6];
    size_t found = 0;

    (void)state;
    run("stats", NULL);
    for (char *line = strtok(said, "\n"); line != NULL && found < 6; line = strtok(NULL, "\n")) {
        lines[found++] = line;
    }
    assert_int_equal(found, 6);
    static const struct {
        size_t wanted, line;
    } pairs[] = {{0, 1}, {2, 4}, {3, 5}};
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        assert_int_equal(*lines[pairs[i].wanted], '*');
        assert_string_equal(lines[pairs[i].line] + strlen("libjsrtmem: "),
                            lines[pairs[i].wanted] + 1);
    }
}

#define A_REFUSAL "libjsrtmem: refused: argument: runtime none, requested 100\n"

static void lines_of_threads_do_not_mix(void **state)
{
    static const char line[] = A_REFUSAL;

    (void)state;
    run("threads", NULL);
    assert_int_equal(strlen(said), THREADS * LINES * strlen(line));
    assert_int_equal(count(line), THREADS * LINES);
}

#if !defined(_WIN32)
/* A socket of datagrams keeps writes apart: one write arrives as one datagram. */
static void a_line_is_written_in_one_piece(void **state)
{
    int ends[2];
    int before = dup(STDERR_FILENO);

    (void)state;
    assert_true(before >= 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
    assert_ok(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_REFUSALS));
    (void)dup2(ends[0], STDERR_FILENO);
    (void)jsrtmem_alloc(NULL, 100);
    (void)dup2(before, STDERR_FILENO);
    assert_ok(jsrtmem_set_diagnostics(JSRTMEM_DIAGNOSTICS_NONE));
    ssize_t size = recv(ends[1], said, sizeof(said) - 1, MSG_DONTWAIT);
    assert_true(size > 0);
    said[size] = '\0';
    assert_string_equal(said, A_REFUSAL);
    (void)close(before), (void)close(ends[0]), (void)close(ends[1]);
}
#endif

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_switches_them_on),
        cmocka_unit_test(a_bad_value_is_named_and_ignored),
        cmocka_unit_test(the_api_comes_before_the_environment),
        cmocka_unit_test(misuse_is_told_with_its_kind),
        cmocka_unit_test(refusals_are_told_as_they_are_remembered),
        cmocka_unit_test(stats_are_those_of_the_api),
        cmocka_unit_test(lines_of_threads_do_not_mix),
#if !defined(_WIN32)
        cmocka_unit_test(a_line_is_written_in_one_piece),
#endif
    };

    if (argc > 1) {
        return run_part(argv[1]);
    }
    return cmocka_run_group_tests_name("diagnostics", tests, NULL, NULL);
}
