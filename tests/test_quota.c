/*
 * The quota alone: what is asked, granted, charged, failed and refunded, and what the host is
 * told.
 */
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <string.h>

#include "os.h"
#include "process.h"
#include "quota.h"
#include "runtime.h"

#define LOG_MAX 64

/* A host that logs events as letters: A granted, V refused, F free, X failure. */
struct log {
    struct jm_quota *quota;
    char text[LOG_MAX];
    size_t count;
    size_t bytes, usage; /* of the last event */
    bool refuse;
    size_t limit_inside; /* the limit that it sets while it is asked; 0: none */
    enum jm_verdict nested;
    bool ask_inside;
};

static struct jm_quota the_quota;
static struct log the_log;

static bool JM_CALLBACK on_event(void *state, unsigned event, size_t bytes)
{
    struct log *log = state;
    const char letters[JM_EVENTS] = {log->refuse ? 'V' : 'A', 'F', 'X'};

    if (log->count < LOG_MAX - 1) {
        log->text[log->count++] = letters[event];
        log->text[log->count] = '\0';
    }
    log->bytes = bytes;
    log->usage = jm_load_relaxed(&log->quota->usage);
    if (event == JM_EVENT_ALLOCATE && log->limit_inside != 0) {
        jm_store_relaxed(&log->quota->limit, log->limit_inside);
    }
    if (log->ask_inside) {
        log->nested = jm_quota_ask(log->quota, 1);
    }
    return !log->refuse;
}

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

static int make_quota(void **state)
{
    (void)state;
    the_log = (struct log){.quota = &the_quota};
    jm_quota_reset(&the_quota);
    jm_hook_set(&the_quota.hook, (jm_hook_function)on_event, &the_log);
    return 0;
}

static void assert_log(const char *expected)
{
    assert_string_equal(the_log.text, expected);
    the_log.count = 0;
    the_log.text[0] = '\0';
}

static size_t usage(void)
{
    return jm_load_relaxed(&the_quota.usage);
}

static size_t peak(void)
{
    return jm_load_relaxed(&the_quota.peak);
}

static void set_limit(size_t limit)
{
    jm_store_relaxed(&the_quota.limit, limit);
}

/* Asks and charges. Both must succeed. */
static void take(size_t bytes)
{
    assert_int_equal(jm_quota_ask(&the_quota, bytes), JM_GRANTED);
    assert_true(jm_quota_charge(&the_quota, bytes));
}

static void a_new_quota_is_empty_and_unlimited(void **state)
{
    (void)state;
    assert_int_equal(usage(), 0);
    assert_int_equal(peak(), 0);
    assert_int_equal(jm_load_relaxed(&the_quota.limit), JM_NO_LIMIT);
    for (int event = 0; event < JM_EVENTS; event++) {
        assert_int_equal(jm_load_relaxed(&the_quota.events[event]), 0);
    }
    assert_log("");
}

static void granted_charges_after_the_host_agreed(void **state)
{
    (void)state;
    assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_GRANTED);
    assert_int_equal(the_log.bytes, 4096);
    assert_int_equal(the_log.usage, 0);
    assert_int_equal(usage(), 0);
    assert_true(jm_quota_charge(&the_quota, 4096));
    assert_int_equal(usage(), 4096);
    assert_log("A");
}

static void released_refunds_before_the_host_is_told(void **state)
{
    (void)state;
    take(8192);
    jm_quota_refund(&the_quota, 4096);
    assert_int_equal(the_log.bytes, 4096);
    assert_int_equal(the_log.usage, 4096);
    assert_int_equal(usage(), 4096);
    assert_int_equal(peak(), 8192);
    assert_log("AF");
}

static void the_host_may_refuse(void **state)
{
    (void)state;
    the_log.refuse = true;
    assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_REFUSED_HOST);
    assert_log("VX");
    the_log.refuse = false;
    take(4096);
    assert_log("A");
    assert_int_equal(usage(), 4096);
}

static void the_limit_is_asked_before_the_host(void **state)
{
    (void)state;
    set_limit(8192);
    take(4096);
    assert_int_equal(jm_quota_ask(&the_quota, 4097), JM_REFUSED_LIMIT);
    assert_int_equal(the_log.bytes, 4097);
    assert_log("AX");
    take(4096); /* a usage equal to the limit is allowed */
    assert_log("A");
    assert_int_equal(jm_quota_ask(&the_quota, 1), JM_REFUSED_LIMIT);
    assert_log("X");
    set_limit(0);
    assert_int_equal(jm_quota_ask(&the_quota, 1), JM_REFUSED_LIMIT);
    assert_log("X");
    assert_int_equal(usage(), 8192);
}

static void no_supply_is_told(void **state)
{
    (void)state;
    assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_GRANTED);
    jm_quota_fail(&the_quota, 4096, JM_REFUSED_OS);
    assert_log("AX");
    assert_int_equal(usage(), 0);
    assert_int_equal(peak(), 0);
}

static void a_limit_lowered_below_the_usage_wraps_nothing(void **state)
{
    (void)state;
    take(65536);
    set_limit(4096);
    const size_t sizes[] = {1, 4096, 61440, 65536, SIZE_MAX - 65536, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        require(!jm_quota_allows(&the_quota, sizes[i]), "%zu bytes", sizes[i]);
        assert_int_equal(jm_quota_ask(&the_quota, sizes[i]), JM_REFUSED_LIMIT);
        assert_false(jm_quota_charge(&the_quota, sizes[i]));
    }
    assert_int_equal(usage(), 65536);
    jm_quota_refund(&the_quota, 65536);
    take(4096);
    assert_int_equal(usage(), 4096);
}

static void a_limit_lowered_while_the_host_is_asked_refuses(void **state)
{
    (void)state;
    the_log.limit_inside = 4095;
    assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_REFUSED_LIMIT);
    assert_log("AX");
    assert_int_equal(usage(), 0);
}

static void a_limit_lowered_before_the_charge_refuses_it(void **state)
{
    (void)state;
    assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_GRANTED);
    set_limit(4095);
    assert_false(jm_quota_charge(&the_quota, 4096));
    jm_quota_fail(&the_quota, 4096, JM_REFUSED_OS);
    assert_log("AX");
    assert_int_equal(usage(), 0);
    assert_int_equal(peak(), 0);
}

/* A charge that was opened before the supply came ends with it, whatever comes. */
static void an_open_charge_ends(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        set_limit(JM_NO_LIMIT);
        assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_GRANTED);
        jm_quota_open_charge(&the_quota);
        assert_int_equal(jm_load_relaxed(&the_quota.charging) % 2, 1);
        set_limit(way == 0 ? 4095 : 4096);
        if (way == 2) {
            jm_quota_end_charge(&the_quota, 0);
        } else {
            assert_int_equal(jm_quota_charge(&the_quota, 4096), way == 1);
        }
        assert_int_equal(jm_load_relaxed(&the_quota.charging) % 2, 0);
        assert_int_equal(usage(), way == 1 ? 4096 : 0);
        jm_store_relaxed(&the_quota.usage, 0);
    }
}

static void sums_near_the_end_of_size_do_not_wrap(void **state)
{
    (void)state;
    take(SIZE_MAX - 4095);
    assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_REFUSED_LIMIT);
    assert_int_equal(jm_quota_ask(&the_quota, SIZE_MAX), JM_REFUSED_LIMIT);
    assert_false(jm_quota_charge(&the_quota, 4096));
    take(4095);
    assert_int_equal(usage(), SIZE_MAX);
    assert_int_equal(peak(), SIZE_MAX);
    assert_int_equal(jm_quota_ask(&the_quota, 1), JM_REFUSED_LIMIT);
    jm_quota_refund(&the_quota, SIZE_MAX);
    assert_int_equal(usage(), 0);
    set_limit(SIZE_MAX - 1);
    assert_int_equal(jm_quota_ask(&the_quota, SIZE_MAX), JM_REFUSED_LIMIT);
    take(SIZE_MAX - 1);
}

static void the_peak_is_the_highest_usage(void **state)
{
    (void)state;
    take(4096);
    take(8192);
    jm_quota_refund(&the_quota, 8192);
    assert_int_equal(peak(), 12288);
    take(4096);
    assert_int_equal(peak(), 12288);
    take(8192);
    assert_int_equal(peak(), 16384);
    jm_store_relaxed(&the_quota.peak, usage());
    jm_quota_refund(&the_quota, 16384);
    assert_int_equal(peak(), 16384);
}

/* A thread that charges on request, at about the time at which the peak is reset. */
#define ROUNDS (UNIT_SANITIZED ? 10000u : 50000u)
static struct {
    _Atomic(unsigned) begun, done;
} meeting;

static void wait_for(_Atomic(unsigned) *count, unsigned round)
{
    for (unsigned attempt = 0; jm_load_acquire(count) != round; attempt++) {
        jm_os_pause(attempt / 64);
    }
}

static void charge_each_round(void *unused)
{
    (void)unused;
    (void)jm_thread_ready();
    for (unsigned round = 1; round <= ROUNDS; round++) {
        wait_for(&meeting.begun, round);
        (void)jm_quota_charge(&the_quota, 4096);
        jm_store_release(&meeting.done, round);
    }
}

static void a_charge_and_a_reset_of_the_peak_see_each_other(void **state)
{
    worker *other = worker_start();
    size_t lost = 0;

    (void)state;
    worker_post(other, charge_each_round, NULL);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        jm_store_relaxed(&the_quota.usage, 0);
        jm_store_relaxed(&the_quota.peak, round % 2 == 0 ? 4096 : 8192);
        jm_store_release(&meeting.begun, round);
        for (volatile unsigned i = 0; i < round / 2 % 128; i++) {
        }
        jm_quota_reset_peak(&the_quota);
        wait_for(&meeting.done, round);
        lost += peak() < usage();
    }
    worker_stop(other);
    assert_int_equal(lost, 0);
}

static void nothing_is_told_inside_the_callback(void **state)
{
    (void)state;
    the_log.ask_inside = true;
    take(4096);
    assert_int_equal(the_log.nested, JM_REFUSED_CALLBACK);
    the_log.nested = JM_GRANTED;
    jm_quota_refund(&the_quota, 4096);
    assert_int_equal(the_log.nested, JM_REFUSED_CALLBACK);
    set_limit(0);
    the_log.nested = JM_GRANTED;
    assert_int_equal(jm_quota_ask(&the_quota, 4096), JM_REFUSED_LIMIT);
    assert_int_equal(the_log.nested, JM_REFUSED_CALLBACK);
    assert_log("AFX");
    assert_false(jm_quota_in_callback(&the_quota));
}

static void without_a_callback_events_are_counted(void **state)
{
    (void)state;
    jm_hook_set(&the_quota.hook, NULL, NULL);
    take(4096);
    take(4096);
    jm_quota_refund(&the_quota, 4096);
    set_limit(0);
    assert_int_equal(jm_quota_ask(&the_quota, 1), JM_REFUSED_LIMIT);
    assert_int_equal(jm_load_relaxed(&the_quota.events[JM_EVENT_ALLOCATE]), 2);
    assert_int_equal(jm_load_relaxed(&the_quota.events[JM_EVENT_FREE]), 1);
    assert_int_equal(jm_load_relaxed(&the_quota.events[JM_EVENT_FAILURE]), 1);
    assert_log("");
}

static void reset_forgets_everything(void **state)
{
    (void)state;
    take(4096);
    assert_log("A");
    set_limit(1);
    the_quota.operations = 3;
    jm_quota_reset(&the_quota);
    a_new_quota_is_empty_and_unlimited(state);
    assert_int_equal(the_quota.operations, 0);
    take(4096);
    assert_log(""); /* the callback was reset too */
}

static void a_refusal_without_a_runtime_tells_no_figures(void **state)
{
    (void)state;
    jm_quota_note_refusal(NULL, 0, JM_REFUSED_ARGUMENT, 5);
    assert_int_equal(jm_thread.refusal.reason, JM_REFUSED_ARGUMENT);
    assert_int_equal(jm_thread.refusal.requested, 5);
    assert_int_equal(jm_thread.refusal.usage, 0);
    assert_int_equal(jm_thread.refusal.limit, 0);
}

/* In the model, a sum that wraps does not fit. */
static void random_requests_agree_with_a_model(void **state)
{
    struct random random = random_seeded(11);
    size_t held = 0;
    size_t highest = 0;
    size_t limit = SIZE_MAX;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        size_t bytes = (size_t)(random_next(&random) >> random_below(&random, 63)) | 1;
        switch (random_below(&random, 4)) {
        case 0:
            limit = (size_t)(random_next(&random) >> random_below(&random, 64));
            set_limit(limit);
            break;
        case 1:
            if (held > 0) {
                bytes = bytes % held + 1;
                jm_quota_refund(&the_quota, bytes);
                held -= bytes;
            }
            break;
        default:
            the_log.refuse = random_chance(&random, 10);
            bool fits = held + bytes >= held && held + bytes <= limit;
            enum jm_verdict expected = !fits            ? JM_REFUSED_LIMIT
                                       : the_log.refuse ? JM_REFUSED_HOST
                                                        : JM_GRANTED;
            assert_int_equal(jm_quota_ask(&the_quota, bytes), expected);
            if (expected == JM_GRANTED && random_chance(&random, 80)) {
                assert_true(jm_quota_charge(&the_quota, bytes));
                held += bytes;
            }
        }
        highest = held > highest ? held : highest;
        assert_int_equal(usage(), held);
        assert_int_equal(peak(), highest);
    }
}

#define QUOTA_TEST(function) cmocka_unit_test_setup(function, make_quota)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUOTA_TEST(a_new_quota_is_empty_and_unlimited),
        QUOTA_TEST(granted_charges_after_the_host_agreed),
        QUOTA_TEST(released_refunds_before_the_host_is_told),
        QUOTA_TEST(the_host_may_refuse),
        QUOTA_TEST(the_limit_is_asked_before_the_host),
        QUOTA_TEST(no_supply_is_told),
        QUOTA_TEST(a_limit_lowered_below_the_usage_wraps_nothing),
        QUOTA_TEST(a_limit_lowered_while_the_host_is_asked_refuses),
        QUOTA_TEST(a_limit_lowered_before_the_charge_refuses_it),
        QUOTA_TEST(an_open_charge_ends),
        QUOTA_TEST(sums_near_the_end_of_size_do_not_wrap),
        QUOTA_TEST(the_peak_is_the_highest_usage),
        QUOTA_TEST(a_charge_and_a_reset_of_the_peak_see_each_other),
        QUOTA_TEST(nothing_is_told_inside_the_callback),
        QUOTA_TEST(without_a_callback_events_are_counted),
        QUOTA_TEST(reset_forgets_everything),
        QUOTA_TEST(a_refusal_without_a_runtime_tells_no_figures),
        QUOTA_TEST(random_requests_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
