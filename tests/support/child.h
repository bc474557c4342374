/*
 * Parts of a test that need a process of their own. cmocka's checks must not run there: a child's
 * function returns 0, or uses CHILD_CHECK, which says what failed and returns 1.
 *
 * What needs fork, or a limit to the address space, is in system_posix.c only.
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

/* Runs this program again with one argument, without spaces, and one environment variable (null value:
 * unset), and gives back its exit status, or -1. A child that hangs is killed, or by the test's own
 * time limit. */
int child_run_again(const char *argument, const char *variable, const char *value);

/* Forks, and gives the function's result (0..255) back, or -1 if the child was killed. A child that
 * hangs is killed. */
int child_run(int (*function)(void *), void *argument);

/* False: no limit keeps this process from mapping, as under an emulator, or a sanitizer needs terabytes. */
bool child_has_address_limit(void);

/* Lets this process map so many bytes more than it has mapped now; then as many as it likes. */
int child_limit_address_space(size_t more);
int child_unlimit_address_space(void);

#endif
