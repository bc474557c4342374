/*
 * What tests need from the system that they run on. Implemented in system_posix.c and
 * system_windows.c, together with child.h and page_size.
 */
#ifndef JM_TESTS_SYSTEM_H
#define JM_TESTS_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

/* Maps addresses that cannot be accessed. NULL: refused. `size` is a multiple of 64 KiB. */
char *no_access_new(size_t size);
bool no_access_delete(char *pages, size_t size);

/* Bytes of addresses that this process has mapped. Linux only. */
size_t mapped_now(void);

/* Creates an empty file for this process and its children, and stores its name. */
bool scratch_file(char *name, size_t size);

#endif
