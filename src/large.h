/*
 * Layer 3: large objects, each in a block of its own.
 *
 * Runs on the thread that uses the heap. The host may run inside jm_large_alloc,
 * jm_large_alloc_least and jm_large_resize.
 */
#ifndef JM_LARGE_H
#define JM_LARGE_H

#include "heap.h"

/* The bytes of the smallest block for an object of `size` bytes. */
size_t jm_large_bytes(size_t size);

/* True if an object's block, with the slack for its alignment, is within PTRDIFF_MAX. */
bool jm_large_is_possible(size_t size, size_t alignment);

/* Allocates an object of `size` bytes. NULL if refused: see `verdict`. */
void *jm_large_alloc(struct jm_heap *heap, size_t size, size_t alignment, enum jm_verdict *verdict);

/* The same, in the smallest possible block. pre: the need was noted; nothing else can serve it. */
void *jm_large_alloc_least(struct jm_heap *heap, size_t size, size_t alignment,
                           enum jm_verdict *verdict);

/* The large block of this heap whose live object starts at `pointer`, or NULL. */
struct jm_block *jm_large_find(const struct jm_heap *heap, const void *pointer);

/* Makes the first `bytes` of a new object zero. */
void jm_large_clear(const struct jm_block *block, size_t bytes);

/* Changes the size of a block's object, which may move or become a small one. NULL: it is
 * unchanged, or was freed meanwhile. */
void *jm_large_resize(struct jm_heap *heap, struct jm_block *block, size_t size,
                      enum jm_verdict *verdict);

#endif
