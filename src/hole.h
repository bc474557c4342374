/*
 * Layer 3: holes, pages inside small blocks that a sweep gave back. They are taken again before a
 * new block is asked for.
 */
#ifndef JM_HOLE_H
#define JM_HOLE_H

#include "arena.h"

/* Whole pages of a block, from granule to granule. */
struct jm_run {
    struct jm_block *block; /* null: none */
    size_t start, end;
};

/* Returns the first hole of at least `least` granules, cut off after `most`; both are multiples of
 * a page. Retires the span if there may be such a hole. */
struct jm_run jm_hole_find(struct jm_arena *arena, size_t least, size_t most);

/* Makes a hole the span. pre: its pages were acquired. */
void jm_hole_fill(struct jm_arena *arena, struct jm_run run);

#endif
