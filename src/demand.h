/*
 * Layer 3: whether a sweep is due. A sweep walks over all small blocks of a heap. That pays if much
 * is free, but in other sizes than those in demand. Nothing counts free memory: it is guessed from
 * samples, once enough was requested since the last sweep to make the guess worth its time, too.
 * The arena holds what is remembered.
 */
#ifndef JM_DEMAND_H
#define JM_DEMAND_H

#include "sweep.h"

/* True if a sweep should be tried for an object of class `code` before a new block, although the
 * limit has room for one: much seems to be free in other sizes, or lists are broken. pre: there is
 * no span. */
bool jm_demand_makes_due(struct jm_arena *arena, unsigned code);

/* Counts a request that the limit has no room for. True if it is time to search all blocks for free
 * memory. post: there is no span. */
bool jm_demand_note_need(struct jm_arena *arena, size_t bytes);

/* A heap is loose if more than this part of its granules is free: then short runs of free pages are
 * worth giving back, too. */
#define JM_LOOSE_DIVISOR 4

/* True if a heap was loose after the last sweep, not counting the rests of blocks. */
bool jm_demand_is_loose(const struct jm_arena *arena);

/* Notes that there is room for requests of up to `bytes`: failed sweeps for such requests at the
 * limit are forgotten. */
void jm_demand_note_room(struct jm_arena *arena, size_t bytes);

/* Notes whether a sweep has served a request of `bytes`. `grows`: the limit had room for a new
 * block. */
void jm_demand_note_sweep(struct jm_arena *arena, size_t bytes, bool served, bool grows);

#endif
