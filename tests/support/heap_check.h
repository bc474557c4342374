/*
 * Holds a heap to the invariants that src/block.h, arena.h and heap.h state, from the outside: every
 * small block is tiled by its objects and the span without a gap; the counts are what the maps say;
 * the lists lead to free objects, each once, and to all of them where no block was given back; the
 * blocks are linked, registered and charged.
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
        free_pairs; /* neighbours that are free, of which the first could be larger with the other */
    size_t cut_lists; /* with HEAP_LISTS: lists that end in a link to what is no free object */
    size_t charge;    /* of all blocks */
};

/* What is checked beside the maps, the counters and the links. */
enum heap_part {
    HEAP_MAPS = 0,
    HEAP_LISTS = 1,    /* the free lists are complete, but for those that end in a link to a block
                        * that was given back: no stray write has broken them */
    HEAP_UNTOUCHED = 2 /* what the blocks call untouched is zero: no stray write there either */
};

/* Null where all is well, or what is wrong. `walk` may be null. Any thread, inside a child too. */
const char *heap_check(const struct jm_heap *heap, unsigned parts, struct heap_walk *walk);

/* The same as an assertion of cmocka's, which gives back what was found. */
struct heap_walk heap_check_at(const struct jm_heap *heap, unsigned parts, const char *file,
                               int line);
#define assert_heap(heap, parts) heap_check_at((heap), (parts), __FILE__, __LINE__)

#endif
