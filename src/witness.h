/*
 * Layer 3: witnesses. A small block's witness is an object of it, live or queued, which shows that the block
 * is not empty. While it is live its state tells it from the others, so that whoever frees it notices, and
 * looks for another one; to free any other object costs nothing for it.
 */
#ifndef JM_WITNESS_H
#define JM_WITNESS_H

#include "arena.h"

/* Finds a witness for a block that has none. False: no object of it is live or queued. */
bool jm_witness_find(struct jm_arena *arena, struct jm_block *block);

/* Finds another witness for a block that has one. False: it is the only object. */
bool jm_witness_pass_on(struct jm_arena *arena, struct jm_block *block);

#endif
