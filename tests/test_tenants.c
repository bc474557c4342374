/*
 * Very many runtimes at once. The argument is their number; the default is quick.
 */
#include "support/random.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

static size_t tenants = 100000;
static JsRuntimeHandle *runtimes;

static void create_all(void)
{
    for (size_t i = 0; i < tenants; i++) {
        require(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtimes[i]) == JsNoError,
                "runtime %zu of %zu cannot be created", i, tenants);
    }
}

static int by_value(const void *left, const void *right)
{
    uintptr_t a = (uintptr_t)((const JsRuntimeHandle *)left)[0];
    uintptr_t b = (uintptr_t)((const JsRuntimeHandle *)right)[0];

    return a < b ? -1 : a > b;
}

static void all_live_at_once_and_apart(void **state)
{
    size_t before = process_stats().runtimes;

    (void)state;
    create_all();
    assert_int_equal(process_stats().runtimes, before + tenants);
    for (size_t i = 0; i < tenants; i++) {
        assert_ok(JsSetRuntimeMemoryLimit(runtimes[i], i));
    }
    for (size_t i = 0; i < tenants; i++) {
        size_t limit = 0;

        assert_ok(JsGetRuntimeMemoryLimit(runtimes[i], &limit));
        require(limit == i, "runtime %zu has the limit of %zu", i, limit);
    }
    qsort(runtimes, tenants, sizeof(*runtimes), by_value);
    for (size_t i = 1; i < tenants; i++) {
        assert_ptr_not_equal(runtimes[i - 1], runtimes[i]);
    }
    for (size_t i = 0; i < tenants; i++) {
        assert_ok(JsDisposeRuntime(runtimes[i]));
    }
    assert_int_equal(process_stats().runtimes, before);
    for (size_t i = 0; i < tenants; i += 97) {
        assert_code(JsDisposeRuntime(runtimes[i]), JsErrorInvalidArgument);
    }
}

/* Every hundredth runtime holds objects. They are used in turn. */
static void many_hold_objects(void **state)
{
    size_t holders = tenants / 100;

    (void)state;
    create_all();
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < holders; i++) {
            unsigned char *object = jsrtmem_alloc(runtimes[i * 100], 16 + (i + round) % 500);

            require(object != NULL, "no object in runtime %zu", i * 100);
            object[0] = (unsigned char)i;
        }
    }
    for (size_t i = 0; i < tenants; i++) {
        size_t usage = 1;

        assert_ok(JsGetRuntimeMemoryUsage(runtimes[i], &usage));
        assert_true(i % 100 == 0 ? usage > 0 || i / 100 >= holders : usage == 0);
        assert_ok(JsDisposeRuntime(runtimes[i]));
    }
}

static void slots_are_used_again(void **state)
{
    size_t metadata;

    (void)state;
    create_all();
    for (size_t i = 0; i < tenants; i++) {
        assert_ok(JsDisposeRuntime(runtimes[i]));
    }
    metadata = process_stats().metadata;
    for (int round = 0; round < 3; round++) {
        create_all();
        for (size_t i = 0; i < tenants; i++) {
            assert_ok(JsDisposeRuntime(runtimes[i]));
        }
    }
    require(process_stats().metadata <= metadata + metadata / 4, "metadata grew from %zu to %zu",
            metadata, process_stats().metadata);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_live_at_once_and_apart),
        cmocka_unit_test(many_hold_objects),
        cmocka_unit_test(slots_are_used_again),
    };

    if (argc > 1) {
        tenants = (size_t)strtoull(argv[1], NULL, 10);
    }
    runtimes = calloc(tenants, sizeof(*runtimes));
    if (tenants == 0 || runtimes == NULL) {
        (void)fprintf(stderr, "usage: test_tenants [number of runtimes]\n");
        return 1;
    }
    (void)printf("%zu runtimes\n", tenants);
    int failures = cmocka_run_group_tests_name("tenants", tests, NULL, NULL);
    free(runtimes);
    return failures;
}
