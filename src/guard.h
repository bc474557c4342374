/*
 * Layer 1: memory for the library's own tables, between inaccessible guards:
 *
 *      | guard, JM_GUARD_SIZE | the table | guard, JM_GUARD_SIZE |
 *
 * The OS may place a table next to the memory of tenants. A linear overflow of an object hits a
 * guard before it reaches the table.
 */
#ifndef JM_GUARD_H
#define JM_GUARD_H

#include "base.h"

/* A multiple of every page size, so that tables are page-aligned. */
#define JM_GUARD_SIZE ((size_t)64 << 10)

/* Reserves room for a permanent table that is opened step by step with jm_os_commit. NULL: the OS
 * refused. */
void *jm_guard_reserve(size_t size);

/* Maps a table, readable, writable and zero. NULL: the OS refused. */
void *jm_guard_map(size_t size);

/* Gives back a whole table: now or, if the OS refuses, later. */
void jm_guard_discard(void *table, size_t size);

#endif
