#include "large.h"

#include <string.h>

/* Large blocks are not shortened below this: two of them could start in one unit of the map then. */
#define LARGE_MIN (2 * JM_UNIT)

/* True where a block of `size` bytes, its header and what aligns it are within PTRDIFF_MAX. */
static bool is_possible(size_t size, size_t alignment)
{
    size_t room = PTRDIFF_MAX - 2 * jm_os_page_size();
    return size <= room && alignment <= room - size;
}

void *jm_large_alloc(struct jm_heap *heap, size_t size, size_t alignment, enum jm_verdict *verdict)
{
    if (!is_possible(size, alignment)) {
        *verdict = JM_REFUSED_SIZE;
        return NULL;
    }
    size_t bytes = jm_align_up(size + (size == 0), jm_os_page_size());
    jm_heap_make_room(heap, bytes + jm_os_page_size());
    struct jm_block *block = jm_block_acquire_large(&heap->supply, bytes, alignment, verdict);
    if (block == NULL) {
        return NULL;
    }
    jm_heap_publish(heap);
    return jm_block_object(block);
}

struct jm_block *jm_large_find(const struct jm_heap *heap, const void *pointer)
{
    const struct jm_unit *unit = jm_pagemap_unit(pointer);
    if (unit == NULL || jm_load_relaxed(&unit->owner) != &heap->supply) {
        return NULL;
    }
    struct jm_block *block = jm_load_relaxed(&unit->block);
    bool is_object = jm_block_is_large(block) && jm_block_object(block) == pointer &&
                     jm_load_relaxed(&block->state) == JM_LARGE_LIVE;
    return is_object ? block : NULL;
}

/* Moves the content among the small objects, if there is room without asking anybody. */
static void *move_to_small(struct jm_heap *heap, void *pointer, size_t size)
{
    void *moved = jm_heap_refill(heap, jm_class_of_size(size));
    if (moved != NULL) {
        memcpy(moved, pointer, size);
        (void)jm_heap_free(heap, pointer);
    }
    return moved;
}

/* Never refused: at worst the object keeps its block as it is. */
static void *shrink(struct jm_heap *heap, struct jm_block *block, size_t bytes, size_t size)
{
    void *pointer = jm_block_object(block);
    void *moved = size <= JM_SMALL_MAX ? move_to_small(heap, pointer, size) : NULL;
    if (moved != NULL) {
        return moved;
    }
    bytes = bytes < LARGE_MIN ? LARGE_MIN : bytes;
    if (bytes < jm_load_relaxed(&block->usable) && jm_block_is_resizable(block) &&
        !jm_quota_in_callback(&heap->supply.quota)) {
        (void)jm_block_shrink(&heap->supply, block, bytes);
        jm_heap_publish(heap);
    }
    return pointer;
}

void *jm_large_resize(struct jm_heap *heap, struct jm_block *block, size_t size,
                      enum jm_verdict *verdict)
{
    size_t usable = jm_load_relaxed(&block->usable);
    if (!is_possible(size, JM_GRANULE)) {
        *verdict = JM_REFUSED_SIZE;
        return NULL;
    }
    size_t bytes = jm_align_up(size, jm_os_page_size());
    if (bytes == usable) {
        return jm_block_object(block);
    }
    if (bytes < usable) {
        return shrink(heap, block, bytes, size);
    }
    void *pointer = jm_block_object(block);
    if (!jm_block_is_resizable(block)) {
        return jm_heap_move(heap, pointer, size, verdict);
    }
    jm_heap_make_room(heap, bytes - usable);
    struct jm_block *grown = jm_block_grow(&heap->supply, block, bytes, verdict);
    if (grown != NULL && jm_load_relaxed(&grown->state) != JM_LARGE_LIVE) {
        *verdict = JM_REFUSED_ARGUMENT; /* the host freed it while it was asked */
        return NULL;
    }
    if (grown != NULL) {
        jm_heap_publish(heap);
        return jm_block_object(grown);
    }
    return *verdict == JM_REFUSED_OS ? jm_heap_move(heap, pointer, size, verdict) : NULL;
}
