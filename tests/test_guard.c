/*
 * Guards: a table between them is zero and writable, a refusal of the OS loses nothing, a write
 * that runs on into a guard kills the process, and every table that the OS may map beside a
 * tenant's memory has guards.
 */
#include "support/child.h"
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include <errno.h>
#include <string.h>

#include "guard.h"
#include "os.h"
#include "pagemap.h"
#include "process.h"
#include "region.h"
#include "registry.h"
#include "runtime.h"

static size_t table_size(void)
{
    return 3 * jm_os_page_size();
}

static int start(void **state)
{
    (void)state;
    return jm_process_init() && jm_thread_ready() ? 0 : -1;
}

static int reset(void **state)
{
    (void)state;
    fake_os_reset();
    return 0;
}

static void a_table_is_zero_and_writable(void **state)
{
    size_t size = table_size();

    (void)state;
    for (int round = 0; round < 3; round++) {
        char *table = jm_guard_map(size);
        assert_non_null(table);
        assert_int_equal((uintptr_t)table % jm_os_page_size(), 0);
        assert_int_equal(fake_os_mapped(), size);
        assert_true(bytes_are(table, size, 0));
        memset(table, 0xa5, size);
        jm_guard_discard(table, size);
        assert_int_equal(fake_os_mapped(), 0);
        assert_int_equal(fake_os_reserved(), 0);
    }
    assert_null(fake_os_fault());
}

static void a_reserved_table_is_opened_step_by_step(void **state)
{
    size_t page = jm_os_page_size();

    (void)state;
    char *table = jm_guard_reserve(table_size());
    assert_non_null(table);
    assert_int_equal(fake_os_mapped(), 0);
    for (size_t step = 0; step < table_size(); step += page) {
        assert_true(jm_os_commit(table + step, page));
        assert_true(bytes_are(table + step, page, 0));
    }
    jm_guard_discard(table, table_size());
    assert_int_equal(fake_os_mapped(), 0);
    assert_null(fake_os_fault());
}

static void a_refusal_loses_nothing(void **state)
{
    const enum fake_function functions[] = {FAKE_RESERVE, FAKE_COMMIT};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        fake_os_refuse(functions[i], 1, true, EPERM);
        assert_null(jm_guard_map(table_size()));
        assert_int_equal(fake_os_refused(), 1);
        assert_int_equal(fake_os_mapped(), 0);
        assert_int_equal(fake_os_reserved(), 0);
    }
    fake_os_reset();
    char *table = jm_guard_map(table_size());
    fake_os_refuse(FAKE_DISCARD, 1, true, ENOMEM);
    jm_guard_discard(table, table_size());
    assert_int_equal(fake_os_mapped(), table_size());
    fake_os_reset();
    jm_guard_discard(jm_guard_map(table_size()), table_size()); /* takes the first table along */
    assert_int_equal(fake_os_mapped(), 0);
    assert_null(fake_os_fault());
}

/* Touches a table, or the first or the last byte of one of its guards. */
static int touch(volatile char *table, size_t size, const char *where)
{
    if (strcmp(where, "before") == 0) {
        table[-1] = 1;
    } else if (strcmp(where, "behind") == 0) {
        table[size] = 1;
    } else if (strcmp(where, "far-before") == 0) {
        table[-(ptrdiff_t)JM_GUARD_SIZE] = 1;
    } else if (strcmp(where, "far-behind") == 0) {
        table[size + JM_GUARD_SIZE - 1] = 1;
    } else {
        CHILD_CHECK(strcmp(where, "inside") == 0);
        table[0] = table[0];
        table[size - 1] = table[size - 1];
    }
    return 0;
}

static int touch_leaf(const char *where)
{
    const uintptr_t span = (uintptr_t)1 << (JM_UNIT_BITS + JM_LEAF_BITS);
    const void *address = (const void *)(5 * span);
    CHILD_CHECK(jm_pagemap_prepare(address, JM_UNIT));
    size_t size = jm_align_up(sizeof(struct jm_leaf), jm_os_page_size());
    return touch((volatile char *)jm_pagemap_leaf(address), size, where);
}

static int touch_slots(const char *where)
{
    const enum jm_kind kind = JM_KIND_RUNTIME;
    CHILD_CHECK(jm_registry_take(kind) != NULL);
    size_t size = jm_align_up(jm_slot_sizes[kind] << JM_CHUNK_BITS, jm_os_page_size());
    return touch(jm_load_relaxed(&jm_tables[kind].chunks[0]), size, where);
}

/* Frames outside of the thread's own record, which they leave once it is full. */
static int touch_frames(const char *where)
{
    while (jm_thread.frame_capacity == JM_INLINE_FRAMES) {
        CHILD_CHECK(jm_thread_reserve_frame());
        jm_thread.frame_count++;
    }
    size_t size =
        jm_align_up(jm_thread.frame_capacity * sizeof(struct jm_frame), jm_os_page_size());
    return touch((volatile char *)jm_thread.frames, size, where);
}

/* The tenants' memory in the region. A closed gap separates it from the state map in front. */
static int touch_blocks(const char *where)
{
    const size_t size = KIB(64); /* a multiple of every page size */
    bool has_room;
    volatile char *first = jm_region_alloc(size, &has_room);
    CHILD_CHECK(first == jm_load_relaxed(&jm_region.base));
    return touch(first, size, where);
}

static const struct {
    const char *name;
    int (*touch)(const char *where);
    size_t places; /* how many of the places below apply */
} tables[] = {{"leaf", touch_leaf, 5},
              {"slots", touch_slots, 5},
              {"frames", touch_frames, 5},
              {"blocks", touch_blocks, 3}};

/* Runs in the child. `argument`: TABLE:WHERE. */
static int run_child(const char *argument)
{
    CHILD_CHECK(jm_process_init() && jm_thread_ready());
    const char *where = strchr(argument, ':') + 1;
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        if (strncmp(argument, tables[i].name, strlen(tables[i].name)) == 0) {
            return tables[i].touch(where);
        }
    }
    return 0;
}

static void guards_lie_around_each_table(void **state)
{
    const char *const places[] = {"inside", "before", "far-before", "behind", "far-behind"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        for (size_t k = 0; k < tables[i].places; k++) {
            char argument[64];
            (void)snprintf(argument, sizeof argument, "%s:%s", tables[i].name, places[k]);
            bool lives = child_run_again(argument, "JSRTMEM", NULL) == 0;
            assert_true(lives == (k == 0));
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return run_child(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_table_is_zero_and_writable, reset),
        cmocka_unit_test_setup(a_reserved_table_is_opened_step_by_step, reset),
        cmocka_unit_test_setup(a_refusal_loses_nothing, reset),
        cmocka_unit_test_setup(guards_lie_around_each_table, reset),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
