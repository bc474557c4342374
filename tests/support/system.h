/*
 * What tests need of the system that they run on: in system_posix.c and system_windows.c, together with
 * child.h and page_size.
 */
#ifndef JM_TESTS_SYSTEM_H
#define JM_TESTS_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

/* Addresses that nothing can be read from; null: none were had. `size` is a multiple of 64 KiB. */
char *no_access_new(size_t size);
bool no_access_delete(char *pages, size_t size);

/* Bytes of addresses that this process has mapped. Linux alone. */
size_t mapped_now(void);

/* Makes an empty file for this process and its children, and gives its name. */
bool scratch_file(char *name, size_t size);

#endif
