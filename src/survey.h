/*
 * Layer 3: what is live and what is free in a heap's small blocks. The fast paths count nothing: whoever wants to know reads
 * the maps, all of them, or a few samples.
 */
#ifndef JM_SURVEY_H
#define JM_SURVEY_H

#include "arena.h"

/* What is carved of all small blocks, in granules: objects, live, free or queued, and holes. pre: no span, or its rest
 * counts as objects. */
struct jm_carved {
    size_t objects, holes;
};
struct jm_carved jm_survey_carved(const struct jm_supply *supply);

/* What is free in all small blocks, in granules, but for what lies beside holes that were made last. pre: they were swept, and
 * nothing has changed. */
size_t jm_survey_free(const struct jm_arena *arena);

/* Those of the objects' granules that are free, more or less: guessed from so many of them. */
size_t jm_survey_guess_free(struct jm_arena *arena, struct jm_carved carved, size_t samples);

/* What is live in all small blocks, which is what no thread has freed. Any thread may call, but not between
 * jm_pagemap_enter and jm_pagemap_leave; where blocks come and go meanwhile, some count twice or not at all. */
struct jm_live {
    size_t bytes, objects;
};
struct jm_live jm_survey_live(const struct jm_supply *supply);

#endif
