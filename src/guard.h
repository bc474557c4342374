/*
 * Layer 1: memory for the library's own tables, between closed guards:
 *
 *      | closed, JM_GUARD_SIZE | the table | closed, JM_GUARD_SIZE |
 *
 * The OS may map it beside the memory of tenants: who writes on beyond an object meets a guard before a table.
 */
#ifndef JM_GUARD_H
#define JM_GUARD_H

#include "base.h"

/* A multiple of every page size, so that a table is, too. */
#define JM_GUARD_SIZE ((size_t)64 << 10)

/* Room for a table that is opened step by step (jm_os_commit), and stays. NULL: the OS refused. */
void *jm_guard_reserve(size_t size);

/* A table, readable, writable and zero. NULL: the OS refused. */
void *jm_guard_map(size_t size);

/* Gives a whole table back, now or, where the OS refuses, later. */
void jm_guard_discard(void *table, size_t size);

#endif
