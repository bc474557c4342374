/*
 * The OS refuses because the process has reached its limit of addresses: what the host is told,
 * what the caller sees, and that everything works again once there is room. Each row needs a
 * process of its own.
 */
#include "support/child.h"
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"

#include <stdio.h>

static bool refused_by_os(const struct host *host, size_t first_event)
{
    return host->count == first_event + 2 && host->events[first_event].type == JsMemoryAllocate &&
           host->events[first_event].answer &&
           host->events[first_event + 1].type == JsMemoryFailure &&
           host->events[first_event].size == host->events[first_event + 1].size &&
           host->faults == 0;
}

static int refuse_a_large_block(void *argument)
{
    struct host *host = argument;
    unsigned char *object = jsrtmem_alloc(host->runtime, KIB(100));
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    size_t usage = 0;

    CHILD_CHECK(object != NULL);
    pattern_fill(object, KIB(100), 9);
    CHILD_CHECK(JsGetRuntimeMemoryUsage(host->runtime, &usage) == JsNoError);
    size_t events = host->count;
    CHILD_CHECK(child_limit_address_space(MIB(16)) == 0);
    CHILD_CHECK(jsrtmem_alloc(host->runtime, MIB(256)) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
    CHILD_CHECK(last_refusal().usage == usage);
    CHILD_CHECK(refused_by_os(host, events));
    CHILD_CHECK(host->events[events + 1].usage == usage);
    CHILD_CHECK(jsrtmem_get_stats(host->runtime, &stats) == JsNoError);
    CHILD_CHECK(stats.usage == usage && stats.peak_usage == usage && stats.failure_events == 1);
    CHILD_CHECK(jsrtmem_realloc(host->runtime, object, MIB(256)) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
    CHILD_CHECK(pattern_holds(object, KIB(100), 9));
    CHILD_CHECK(child_unlimit_address_space() == 0);
    CHILD_CHECK(jsrtmem_alloc(host->runtime, MIB(256)) != NULL);
    CHILD_CHECK(JsDisposeRuntime(host->runtime) == JsNoError);
    CHILD_CHECK(host->faults == 0 && host->balance == 0);
    return 0;
}

#define SMALL_MAX 20000
#define SMALL_SIZE 4000

static int refuse_small_blocks(void *argument)
{
    static unsigned char *objects[SMALL_MAX];
    struct host *host = argument;
    size_t count = 0;

    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsNoError);
    CHILD_CHECK(child_limit_address_space(MIB(16)) == 0);
    while (count < SMALL_MAX &&
           (objects[count] = jsrtmem_alloc(host->runtime, SMALL_SIZE)) != NULL) {
        pattern_fill(objects[count], SMALL_SIZE, count);
        host_settle(host);
        count++;
    }
    CHILD_CHECK(count > 500 && count < SMALL_MAX);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
    CHILD_CHECK(host->count < HOST_EVENTS_MAX && refused_by_os(host, host->count - 2));
    for (size_t i = 0; i < count; i++) {
        CHILD_CHECK(pattern_holds(objects[i], SMALL_SIZE, i));
    }
    for (size_t i = 0; i < count; i++) {
        CHILD_CHECK(jsrtmem_free(objects[i]) == JsNoError);
    }
    CHILD_CHECK(jsrtmem_alloc(host->runtime, SMALL_SIZE) != NULL);
    CHILD_CHECK(JsDisposeRuntime(host->runtime) == JsNoError);
    CHILD_CHECK(host->faults == 0 && host->balance == 0);
    return 0;
}

static int refuse_the_first_block(void *argument)
{
    struct host *host = argument;
    size_t usage = 1;

    CHILD_CHECK(jsrtmem_set_reserve_limit(0) == JsNoError);
    CHILD_CHECK(child_limit_address_space(0) == 0);
    CHILD_CHECK(jsrtmem_alloc(host->runtime, GIB(1)) == NULL);
    CHILD_CHECK(last_reason() == JSRTMEM_REFUSAL_OS);
    CHILD_CHECK(refused_by_os(host, 0));
    CHILD_CHECK(JsGetRuntimeMemoryUsage(host->runtime, &usage) == JsNoError && usage == 0);
    CHILD_CHECK(child_unlimit_address_space() == 0);
    CHILD_CHECK(jsrtmem_alloc(host->runtime, MIB(1)) != NULL);
    CHILD_CHECK(JsDisposeRuntime(host->runtime) == JsNoError);
    CHILD_CHECK(host->faults == 0 && host->balance == 0);
    return 0;
}

/* The reserve's blocks are given up before a request is refused because the OS has no memory. */
static int take_what_the_reserve_keeps(void *argument)
{
    struct host *host = argument;
    jsrtmem_process_stats stats = {.struct_size = sizeof(stats)};
    JsRuntimeHandle other = NULL;

    CHILD_CHECK(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &other) == JsNoError);
    for (size_t i = 0; i < 8000; i++) {
        CHILD_CHECK(jsrtmem_alloc(other, 4000) != NULL);
    }
    CHILD_CHECK(JsDisposeRuntime(other) == JsNoError);
    CHILD_CHECK(jsrtmem_get_process_stats(&stats) == JsNoError);
    CHILD_CHECK(stats.reserve >= MIB(8));
    CHILD_CHECK(child_limit_address_space(MIB(1)) == 0);
    CHILD_CHECK(jsrtmem_alloc(host->runtime, stats.reserve - MIB(4)) != NULL);
    CHILD_CHECK(host->count == 1 && host->faults == 0);
    return 0;
}

static void in_child(int (*function)(void *))
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);

    assert_int_equal(child_run(function, &host), 0);
    dispose(runtime);
}

static void the_os_refuses_a_large_block(void **state)
{
    (void)state;
    in_child(refuse_a_large_block);
}

static void the_os_refuses_small_blocks(void **state)
{
    (void)state;
    in_child(refuse_small_blocks);
}

static void the_os_refuses_the_first_block(void **state)
{
    (void)state;
    in_child(refuse_the_first_block);
}

static void the_os_is_not_blamed_for_the_reserve(void **state)
{
    (void)state;
    in_child(take_what_the_reserve_keeps);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT_ROW("a large block: Allocate, Failure", the_os_refuses_a_large_block),
        UNIT_ROW("small blocks: Allocate, Failure", the_os_refuses_small_blocks),
        UNIT_ROW("the first block: Allocate, Failure", the_os_refuses_the_first_block),
        UNIT_ROW("the reserve's blocks go first", the_os_is_not_blamed_for_the_reserve),
    };

    if (!child_has_address_limit()) {
        (void)printf("not run: nothing limits the address space of a process here\n");
        return 77;
    }
    /* With so little address space at the first runtime there is no region: each block is a
     * mapping. */
    if (child_limit_address_space(sizeof(void *) > 4 ? GIB(1) : MIB(128)) != 0) {
        return 1;
    }
    dispose(new_runtime());
    if (child_unlimit_address_space() != 0) {
        return 1;
    }
    return cmocka_run_group_tests_name("address space", tests, NULL, NULL);
}
