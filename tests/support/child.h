/*
 * Parts of a test that need a process of their own. cmocka's checks must not run there: a child's
 * function returns 0, or uses CHILD_CHECK, which prints what failed and returns 1.
 *
 * Functions that need fork, or a limit on the address space, are in system_posix.c only.
 */
#ifndef JM_TESTS_CHILD_H
#define JM_TESTS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CHILD_CHECK(condition)                                                                \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            (void)fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #condition); \
            return 1;                                                                         \
        }                                                                                     \
    } while (0)

/* Runs this program again with one argument, without spaces, and one environment variable (null
 * value: unset). Returns its exit status, or -1. A child that hangs is killed, here or by the
 * test's own time limit. */
int child_run_again(const char *argument, const char *variable, const char *value);

/* Forks and runs the function in the child. Returns its result (0..255), or -1 if the child was
 * killed. A child that hangs is killed. */
int child_run(int (*function)(void *), void *argument);

/* False if a limit on address space has no effect (under an emulator), or cannot be set (a
 * sanitizer needs terabytes). */
bool child_has_address_limit(void);

/* Limits this process to `more` bytes beyond what it has mapped now; lifts the limit. */
int child_limit_address_space(size_t more);
int child_unlimit_address_space(void);

#endif
