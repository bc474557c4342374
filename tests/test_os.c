/*
 * The functions of os.h against the system that the tests run on: the promises of their pre: and
 * post: lines. What happens if the system refuses is in test_faults.c.
 */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sys/mman.h>
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "os.h"
#include "support/unit.h"

static size_t page(void)
{
    return jm_os_page_size();
}

static void page_size_is_a_power_of_two(void **state)
{
    (void)state;
    assert_true(jm_is_power_of_two(page()));
    assert_int_equal(page(), jm_os_page_size());
}

static void mappings_are_aligned_zero_and_writable(void **state)
{
    (void)state;
    for (size_t alignment = page(); alignment <= ((size_t)1 << 28); alignment *= 4) {
        size_t size = 3 * page();
        struct jm_os_extent extent;
        unsigned char *address = jm_os_map(size, alignment, &extent);
        assert_non_null(address);
        assert_int_equal((uintptr_t)address & (alignment - 1), 0);
        assert_true((uintptr_t)address >= (uintptr_t)extent.address);
        assert_true((uintptr_t)address + size <= (uintptr_t)extent.address + extent.size);
        for (size_t at = 0; at < size; at += 64) {
            assert_int_equal(address[at], 0);
        }
        memset(address, 0x5a, size);
        assert_true(jm_os_unmap(&extent));
    }
}

/* If neighbours are in the way, alignment needs a larger reservation. The result is still one
 * extent. */
static void alignment_holds_in_a_crowd(void **state)
{
    enum { CROWD = 64 };
    struct jm_os_extent crowd[CROWD], between[CROWD];
    (void)state;
    for (int i = 0; i < CROWD; i++) {
        assert_non_null(jm_os_map(page(), page(), &between[i]));
        void *address = jm_os_map(2 * page(), (size_t)1 << 20, &crowd[i]);
        assert_non_null(address);
        assert_int_equal((uintptr_t)address & (((size_t)1 << 20) - 1), 0);
        memset(address, 1, 2 * page());
    }
    for (int i = 0; i < CROWD; i++) {
        assert_true(jm_os_unmap(&crowd[i]));
        jm_os_discard(&between[i]);
    }
}

#if defined(__linux__)
/* Reserves gap.size bytes again and again until the OS chooses the gap, and then leaves the gap
 * free: the OS will choose it for the next mapping of this size. Returns the number of other
 * reservations, or `most` if the OS never chose the gap. */
static size_t fill_up_to(struct jm_os_extent gap, void *others[], size_t most)
{
    for (size_t count = 0; count < most; count++) {
        void *address = jm_os_reserve(gap.size);
        assert_non_null(address);
        if (address == gap.address) {
            assert_true(jm_os_unmap(&gap));
            return count;
        }
        others[count] = address;
    }
    return most;
}

static void drop_all(void *others[], size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(jm_os_unmap(&(struct jm_os_extent){others[i], size}));
    }
}

/* If the OS chooses a gap that is long enough but has no aligned place, the mapping lies elsewhere
 * and is no longer than requested. */
static void a_gap_without_an_aligned_place_is_passed(void **state)
{
    const size_t alignment = (size_t)1 << 20;
    void *others[4096];
    struct jm_os_extent around, extent;
    (void)state;
    unsigned char *start = jm_os_map(4 * alignment, alignment, &around);
    assert_non_null(start);
    struct jm_os_extent gap = {start + alignment + page(), alignment / 2};
    assert_true(jm_os_unmap(&gap));
    size_t count = fill_up_to(gap, others, COUNT_OF(others));
    if (count == COUNT_OF(others)) {
        drop_all(others, count, gap.size);
        assert_true(jm_os_unmap(&around));
        print_message("this system goes on without filling gaps, as QEMU does\n");
        skip();
    }
    void *address = jm_os_map(gap.size, alignment, &extent);
    assert_non_null(address);
    assert_int_equal((uintptr_t)address & (alignment - 1), 0);
    assert_int_equal(extent.size, gap.size);
    assert_true(jm_os_unmap(&extent));
    drop_all(others, count, gap.size);
    assert_true(jm_os_unmap(&around)); /* parts of it are unmapped already */
}
#endif

#if defined(__linux__) && defined(MADV_POPULATE_WRITE)
static bool is_there(void *address, size_t pages)
{
    unsigned char
        there[4096]; /* one byte for each page of the kernel, which may be smaller than page() */
    memset(there, 1, sizeof(there));
    assert_true(pages * page() <= sizeof(there) * 4096);
    assert_int_equal(mincore(address, pages * page(), there), 0);
    for (size_t i = 0; i < sizeof(there); i++) {
        if ((there[i] & 1) == 0) {
            return false;
        }
    }
    return true;
}

/* Older kernels do not know the advice, and emulators may accept but ignore it. */
static bool can_populate(void)
{
    struct jm_os_extent extent;
    void *address = jm_os_map(page(), page(), &extent);
    assert_non_null(address);
    bool can = madvise(address, page(), MADV_POPULATE_WRITE) == 0 && is_there(address, 1);
    jm_os_discard(&extent);
    return can;
}
#else
static bool is_there(void *address, size_t pages)
{
    (void)address, (void)pages;
    return true;
}

static bool can_populate(void)
{
    return false;
}
#endif

static void populated_memory_is_there_and_zero(void **state)
{
    enum { PAGES = 64 };
    struct jm_os_extent extent;
    (void)state;
    unsigned char *address = jm_os_map(PAGES * page(), page(), &extent);
    assert_non_null(address);
    assert_true(!can_populate() || !is_there(address, PAGES));
    jm_os_populate(address, PAGES * page());
    assert_true(!can_populate() || is_there(address, PAGES));
    for (size_t at = 0; at < PAGES * page(); at += 64) {
        assert_int_equal(address[at], 0);
    }
    assert_true(jm_os_unmap(&extent));
}

static void what_no_system_has_is_refused(void **state)
{
    struct jm_os_extent extent;
    (void)state;
    assert_null(jm_os_map(SIZE_MAX / 8 * 7 & ~(page() - 1), page(), &extent));
    assert_null(jm_os_reserve(SIZE_MAX & ~(page() - 1)));
}

static void content_survives_growth_moves_and_shrinking(void **state)
{
    struct jm_os_extent extent;
    size_t size = 16 * page();
    (void)state;
    unsigned char *address = jm_os_map(size, page(), &extent);
    assert_non_null(address);
    memset(address, 0x42, size);
    if (jm_os_extend(address, size, size + page())) {
        size += page();
        assert_int_equal(address[size - 1], 0);
    }
    unsigned char *moved = jm_os_move(address, size, 2 * size);
    if (moved != NULL) {
        address = moved;
        assert_int_equal(address[2 * size - 1], 0);
        size *= 2;
    }
    assert_true(jm_os_shrink(address, size, 15 * page()));
    for (size_t at = 0; at < 15 * page(); at++) {
        assert_int_equal(address[at], 0x42);
    }
    assert_true(jm_os_unmap(&(struct jm_os_extent){address, 15 * page()}));
}

/* A move to a size that the system cannot have fails, and changes nothing here or elsewhere. */
static void a_move_that_cannot_be_changes_nothing(void **state)
{
    const size_t size = 4 * page();
    struct jm_os_extent extent;

    (void)state;
    unsigned char *address = jm_os_map(size, page(), &extent);
    assert_non_null(address);
    memset(address, 0x42, size);
    assert_null(jm_os_move(address, size, SIZE_MAX & ~(page() - 1)));
    for (size_t at = 0; at < size; at++) {
        assert_int_equal(address[at], 0x42);
    }
    assert_true(jm_os_unmap(&extent));
}

static void random_bytes_differ(void **state)
{
    unsigned char first[32] = {0}, second[32] = {0};
    (void)state;
    jm_os_random(first, sizeof first);
    jm_os_random(second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
}

static void only_the_own_stack_is_the_own_stack(void **state)
{
    static int somewhere;
    int here = 0;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    (void)state;
    assert_true(jm_os_on_stack(frame, frame + 16));
    assert_false(jm_os_on_stack(frame, (uintptr_t)&somewhere));
    assert_false(jm_os_on_stack((uintptr_t)&somewhere, frame));
    assert_int_equal(here, 0);
}

static void pauses_come_back(void **state)
{
    (void)state;
    for (unsigned attempt = 0; attempt < 110; attempt++) {
        jm_os_pause(attempt);
    }
    jm_os_pause(UINT32_MAX);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_size_is_a_power_of_two),
        cmocka_unit_test(mappings_are_aligned_zero_and_writable),
        cmocka_unit_test(alignment_holds_in_a_crowd),
#if defined(__linux__)
        cmocka_unit_test(a_gap_without_an_aligned_place_is_passed),
#endif
        cmocka_unit_test(populated_memory_is_there_and_zero),
        cmocka_unit_test(what_no_system_has_is_refused),
        cmocka_unit_test(content_survives_growth_moves_and_shrinking),
        cmocka_unit_test(a_move_that_cannot_be_changes_nothing),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(only_the_own_stack_is_the_own_stack),
        cmocka_unit_test(pauses_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
