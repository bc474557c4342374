/*
 * Layer 3: sweeping. Walks the state maps of a heap's small blocks, joins neighbouring free objects, and
 * makes all free lists anew. The map alone decides: it also mends lists that a stray write broke.
 */
#ifndef JM_SWEEP_H
#define JM_SWEEP_H

#include "arena.h"

/* What the small blocks add up to, in granules. Queued objects count as live. */
struct jm_census {
    size_t carved; /* live and free */
    size_t live;
    size_t objects; /* live */
};

/* post: no free object could be larger by taking from the next one; the span is retired. Queued objects
 * stay as they are. */
void jm_sweep(struct jm_arena *arena);

/* Adds up the blocks' counters. pre: no span, or its rest counts as carved. */
struct jm_census jm_sweep_census(const struct jm_supply *supply);

#endif
