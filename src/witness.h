/*
 * Layer 3: witnesses. A small block's witness is one of its objects, live or queued, that proves
 * the block is not empty. A live witness has a state of its own, so that freeing it is noticed and
 * another one is looked for. Freeing any other object costs nothing extra.
 */
#ifndef JM_WITNESS_H
#define JM_WITNESS_H

#include "arena.h"

/* Finds a witness for a block that has none. False if none of its objects is live or queued. */
bool jm_witness_find(struct jm_arena *arena, struct jm_block *block);

/* Finds another witness for a block that has a live one. False if no other object is live or
 * queued. */
bool jm_witness_pass_on(struct jm_arena *arena, struct jm_block *block);

#endif
