/*
 * Layer 3: emptied blocks. A small block without objects leaves its free ones in the arena's lists,
 * in its map and in the counts that make a sweep due.
 */
#ifndef JM_EMPTIED_H
#define JM_EMPTIED_H

#include "heap.h"

/* Takes a block that is to go out of the arena. If that lies in the block, it moves to another;
 * without another, the heap has no arena. */
void jm_emptied_remove(struct jm_heap *heap, struct jm_block *block);

/* Makes all of a block that stays for now its rest, if possible. */
void jm_emptied_clear(struct jm_heap *heap, struct jm_block *block);

#endif
