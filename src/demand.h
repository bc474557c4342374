/*
 * Layer 3: whether a sweep is due. To walk over all small blocks of a heap is worth it where much is free, but in other
 * sizes than those in demand. What is free nobody counts: it is guessed from samples, once so much was asked for since the
 * last sweep that the guess is worth its time, too. The arena holds what is remembered.
 */
#ifndef JM_DEMAND_H
#define JM_DEMAND_H

#include "sweep.h"

/* Whether a sweep rather than a new block, for which the limit has room, may help an object of class `code`: where much is
 * free in other sizes, or where lists are broken. pre: there is no span. */
bool jm_demand_makes_due(struct jm_arena *arena, unsigned code);

/* Counts a request that the limit has no room for. True where it is time to look for what is free in all blocks. post:
 * there is no span. */
bool jm_demand_note_need(struct jm_arena *arena, size_t bytes);

/* True where so much was free after the last sweep that it is worth while to give short runs of free pages back, too. */
bool jm_demand_is_loose(const struct jm_arena *arena);

/* Notes that there is room for requests of up to so many bytes. */
void jm_demand_note_room(struct jm_arena *arena, size_t bytes);

/* Notes whether a sweep has served a request, for which there was room to grow, or not. */
void jm_demand_note_sweep(struct jm_arena *arena, size_t bytes, bool served, bool grows);

#endif
