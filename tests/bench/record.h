/*
 * record.h - writing a trace for replay.c from inside an engine's allocator hooks.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include <stddef.h>

/** @brief Hooks: malloc, realloc and free that record their calls. */
void *record_alloc(size_t size);
void *record_realloc(void *ptr, size_t size);
void record_free(void *ptr);

/** @brief Reads a whole text file; the caller frees it. Ends the program if it cannot. */
char *record_script(const char *path, size_t *length);

/** @brief Writes the trace to a file. Ends the program if it cannot. */
void record_write(const char *path);

#endif /* BENCH_RECORD_H */
