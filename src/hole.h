/*
 * Layer 3: holes, pages in the middle of small blocks that a sweep gave back. They are asked for again before a new block is.
 */
#ifndef JM_HOLE_H
#define JM_HOLE_H

#include "arena.h"

/* Pages of a block, by granules. */
struct jm_run {
    struct jm_block *block; /* null: none */
    size_t start, end;
};

/* The first hole of at least `least` granules, or so much of it as `most`; both are whole pages. Where there is one, the
 * span is retired. */
struct jm_run jm_hole_find(struct jm_arena *arena, size_t least, size_t most);

/* Makes a hole the span. pre: its pages were acquired. */
void jm_hole_fill(struct jm_arena *arena, struct jm_run run);

#endif
