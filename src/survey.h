/*
 * Layer 3: surveys what is live and what is free in a heap's small blocks. The fast paths count
 * nothing, so a survey reads the state maps, whole or in samples.
 */
#ifndef JM_SURVEY_H
#define JM_SURVEY_H

#include "arena.h"

/* The carved granules of all small blocks: those of objects, live, free or queued, and those of
 * holes. If there is a span, it counts as objects. */
struct jm_carved {
    size_t objects, holes;
};
struct jm_carved jm_survey_carved(const struct jm_supply *supply);

/* The granules in the rests of all small blocks. pre: there is no span. */
size_t jm_survey_rests(const struct jm_supply *supply);

/* Guesses how many of the objects' granules are free, from about `samples` of them. pre: no
 * span. */
size_t jm_survey_guess_free(struct jm_arena *arena, struct jm_carved carved, size_t samples);

/* The objects in all small blocks that no thread has freed. Any thread may call, but not between
 * jm_pagemap_enter and jm_pagemap_leave. If blocks come and go meanwhile, some count twice or not
 * at all. */
struct jm_live {
    size_t bytes, objects;
};
struct jm_live jm_survey_live(const struct jm_supply *supply);

#endif
