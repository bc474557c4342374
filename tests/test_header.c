/*
 * Room for headers: each header is zero and has one user, returned ones are used again, guards lie
 * around them, and a refusal of the OS loses nothing.
 */
#include "support/child.h"
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "process.h"
#include "region.h"
#include "runtime.h"

/* Headers in a stretch outside of the region. */
#define HEADERS (KIB(256) / JM_HEAD_SIZE)

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

static struct jm_block *take(void)
{
    struct jm_block *block = jm_header_take();
    assert_non_null(block);
    assert_true(bytes_are(block, offsetof(struct jm_block, arena), 0));
    return block;
}

static int compare(const void *left, const void *right)
{
    uintptr_t a = *(const uintptr_t *)left;
    uintptr_t b = *(const uintptr_t *)right;
    return (a > b) - (a < b);
}

static void headers_are_zero_and_apart(void **state)
{
    enum { COUNT = 3 * HEADERS };
    static struct jm_block *blocks[COUNT];
    static uintptr_t sorted[COUNT];

    (void)state;
    for (int round = 0; round < 2; round++) {
        size_t metadata = jm_header_metadata();
        size_t mapped = fake_os_mapped();
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = take();
            assert_int_equal((uintptr_t)blocks[i] % _Alignof(struct jm_block), 0);
            memset(blocks[i], 0xa5, sizeof(*blocks[i]));
            sorted[i] = (uintptr_t)blocks[i];
        }
        assert_int_equal(fake_os_mapped() - mapped, jm_header_metadata() - metadata);
        assert_true(round == 0 || jm_header_metadata() == metadata);
        qsort(sorted, COUNT, sizeof(sorted[0]), compare);
        for (size_t i = 1; i < COUNT; i++) {
            assert_true(sorted[i] - sorted[i - 1] >= sizeof(struct jm_block));
        }
        for (size_t i = 0; i < COUNT; i++) {
            jm_header_give(blocks[i]);
        }
    }
    assert_null(fake_os_fault());
}

/* Takes headers until the next one needs the OS. Returns how many. */
static size_t use_up(struct jm_block **blocks, size_t most)
{
    size_t count = 0;
    fake_os_refuse(FAKE_ALL, 1, true, ENOMEM);
    while ((blocks[count] = jm_header_take()) != NULL) {
        assert_true(++count < most);
    }
    assert_int_equal(fake_os_refused(), 1);
    fake_os_reset();
    return count;
}

/* If the first step of opening a stretch is refused, nothing of it is opened, and it serves the
 * next request. */
static void a_refusal_loses_nothing(void **state)
{
    enum { MOST = 8 * HEADERS };
    static struct jm_block *blocks[MOST];
    const enum fake_function functions[] = {FAKE_RESERVE, FAKE_COMMIT};

    (void)state;
    size_t count = use_up(blocks, MOST);
    for (size_t steps = 0; steps < 2 * HEADERS; steps++) {
        for (size_t i = 0; i < COUNT_OF(functions); i++) {
            size_t metadata = jm_header_metadata();
            fake_os_refuse(functions[i], 1, true, EPERM);
            struct jm_block *block = jm_header_take();
            assert_true((block == NULL) == (fake_os_refused() != 0));
            assert_int_equal(fake_os_calls(FAKE_UNMAP) + fake_os_calls(FAKE_DISCARD), 0);
            assert_true(block != NULL || jm_header_metadata() == metadata);
            fake_os_reset();
            blocks[count] = block != NULL ? block : take();
            assert_true(++count < MOST);
        }
    }
    assert_int_equal(fake_os_reserved(), 0);
    while (count > 0) {
        jm_header_give(blocks[--count]);
    }
    assert_null(fake_os_fault());
}

static void what_was_given_last_is_taken_first(void **state)
{
    struct jm_block *first = take();
    struct jm_block *second = take();

    (void)state;
    jm_header_give(first);
    jm_header_give(second);
    assert_ptr_equal(take(), second);
    assert_ptr_equal(take(), first);
    jm_header_give(second);
    jm_header_give(first);
}

/* A worker that takes a few headers, marks them and gives them back, again and again. */
struct user {
    size_t id, shared;
};

static void use_headers(void *argument)
{
    enum { FEW = 2, ROUNDS = 300000 };
    struct user *user = argument;
    (void)jm_thread_ready();
    for (size_t round = 0; round < ROUNDS && user->shared == 0; round++) {
        struct jm_block *blocks[FEW];
        for (size_t i = 0; i < FEW; i++) {
            blocks[i] = jm_header_take();
            user->shared += blocks[i]->charge != 0;
            blocks[i]->charge = user->id;
        }
        for (size_t i = 0; i < FEW; i++) {
            user->shared += blocks[i]->charge != user->id;
            jm_header_give(blocks[i]);
        }
    }
}

static void threads_do_not_share_a_header(void **state)
{
    struct user users[] = {{1, 0}, {2, 0}, {3, 0}};
    worker *workers[COUNT_OF(users)];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        workers[i] = worker_start();
        worker_post(workers[i], use_headers, &users[i]);
    }
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        worker_stop(workers[i]);
        assert_int_equal(users[i].shared, 0);
    }
}

/* Runs in the child and begins a stretch. Returns 0 if the memory that it touches is accessible. */
static int touch(const char *where)
{
    CHILD_CHECK(jm_process_init() && jm_thread_ready());
    char *first = (char *)jm_header_take();
    char *region = jm_region_headers();
    CHILD_CHECK(region == NULL || first == region);
    for (size_t i = 1; i < HEADERS; i++) {
        CHILD_CHECK((char *)jm_header_take() == first + i * JM_HEAD_SIZE);
    }
    volatile char *at = first;
    if (strcmp(where, "before") == 0) {
        at[-1] = 1;
    } else if (strcmp(where, "behind") == 0) {
        at[KIB(256)] = 1;
    } else {
        at[0] = at[KIB(256) - 1] = 1;
    }
    return 0;
}

static void guards_lie_around_a_stretch(void **state)
{
    (void)state;
    assert_int_equal(child_run_again("inside", "JSRTMEM", NULL), 0);
    assert_int_not_equal(child_run_again("before", "JSRTMEM", NULL), 0);
    assert_int_not_equal(child_run_again("behind", "JSRTMEM", NULL), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return touch(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(headers_are_zero_and_apart, reset),
        cmocka_unit_test_setup(what_was_given_last_is_taken_first, reset),
        cmocka_unit_test_setup(a_refusal_loses_nothing, reset),
        cmocka_unit_test_setup(threads_do_not_share_a_header, reset),
        cmocka_unit_test_setup(guards_lie_around_a_stretch, reset),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
