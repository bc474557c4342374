/*
 * Layer 3: holes, pages inside small blocks that a sweep decommitted. They are asked for again
 * before a new block is. What was left free beside a hole is too short for objects as long as
 * those that lay there. It serves together with the hole:
 *
 *      | live | free |      hole      | free | live |
 *                    start            end
 */
#ifndef JM_HOLE_H
#define JM_HOLE_H

#include "arena.h"

/* A hole, or its first pages, from granule to granule. */
struct jm_run {
    struct jm_block *block; /* null: none */
    size_t start, end;
};

/* Returns the first hole that has at least `least` granules, with what is free beside it. It is cut
 * off after `most` granules, which are whole pages. Retires the span if there may be such a hole.
 * What was freed beside holes since the last sweep may be missed. */
struct jm_run jm_hole_find(struct jm_arena *arena, size_t least, size_t most);

/* Cuts off the pages that are not needed for `least` granules. */
void jm_hole_cut(struct jm_run *run, size_t least);

/* Makes a hole the span, with what is free beside it: less than before if the host has allocated
 * there when it was asked for the pages. pre: the pages were committed. */
void jm_hole_fill(struct jm_arena *arena, struct jm_run run);

#endif
