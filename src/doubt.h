/*
 * Layer 3: blocks in doubt. A small block is not empty while it has a witness (see witness.h).
 * Those without one are in doubt, in a chain of the arena:
 *
 *      a block is new, or its witness was freed       the block is in doubt
 *      and no other was found
 *      another block is in doubt already              a witness is looked for there; if there is
 *                                                     none, the next tidy gives one of the two back
 *
 * Objects may be allocated in a block in doubt: before it is given back, a witness is looked for
 * once more. What the rest of the heap calls is in heap.h.
 */
#ifndef JM_DOUBT_H
#define JM_DOUBT_H

#include "heap.h"

/* Takes the empty small block that goes next out of doubt. With `keep_one`, of two that is the
 * smaller, or the newer in doubt if they are equal, and a single one stays. NULL if none is to
 * go. */
struct jm_block *jm_doubt_take(struct jm_heap *heap, bool keep_one);

/* Puts a block that the OS refused behind all others in doubt. `among`: one of the last of those,
 * or NULL. */
void jm_doubt_put_last(struct jm_arena *arena, struct jm_block *among, struct jm_block *block);

/* The number of blocks in doubt. */
size_t jm_doubt_count(const struct jm_heap *heap);

#endif
