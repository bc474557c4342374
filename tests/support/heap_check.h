/*
 * Checks a heap, from the outside, against the invariants of src/block.h, arena.h and heap.h:
 * every small block is tiled by its objects and the span without a gap; the counts agree with the
 * maps; the lists lead to free objects, each once, and to all of them if no block was given back;
 * the blocks are linked, registered and charged.
 *
 * To be called by the heap's user while no other thread frees into it.
 */
#ifndef JM_TESTS_HEAP_CHECK_H
#define JM_TESTS_HEAP_CHECK_H

#include <stddef.h>

struct jm_heap;

/* What a walk found. */
struct heap_walk {
    size_t small_blocks, large_blocks;
    size_t empty_small,
        empty_large; /* blocks without an object; large ones wait to be given back */
    size_t live_objects, live_bytes; /* queued ones included */
    size_t queued_objects;
    size_t free_objects, free_bytes;
    size_t
        free_pairs; /* free neighbours, the first of which could be larger if joined to the next */
    size_t cut_lists; /* with HEAP_LISTS: lists that end in a link to no free object */
    size_t charge;    /* of all blocks */
};

/* What is checked in addition to the maps, the counters and the links. */
enum heap_part {
    HEAP_MAPS = 0,
    HEAP_LISTS = 1,    /* the free lists are complete, except those that end in a link to a block
                        * that was given back: no stray write has broken them */
    HEAP_UNTOUCHED = 2 /* memory that was never touched is zero: no stray write there either */
};

/* NULL if the heap is sound, else what is wrong. `walk` may be null. Any thread, also in a
 * child. */
const char *heap_check(const struct jm_heap *heap, unsigned parts, struct heap_walk *walk);

/* The same as a cmocka assertion. Returns what the walk found. */
struct heap_walk heap_check_at(const struct jm_heap *heap, unsigned parts, const char *file,
                               int line);
#define assert_heap(heap, parts) heap_check_at((heap), (parts), __FILE__, __LINE__)

#endif
