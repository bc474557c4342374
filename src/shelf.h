/*
 * Layer 2: shelves, the part of the reserve that a thread finds near. A thread that creates and
 * disposes runtimes puts their small blocks onto its shelf, and takes them from there: it neither
 * waits for the reserve's lock, nor fetches from another processor what that one wrote last.
 *
 *      shelf of a thread == id mod JM_SHELVES; each has a lock and a cache line of its own
 *      share == room + bytes on the shelf <= JM_SHELF_BYTES
 *
 * A shelf has room for what its threads took from the reserve and have not brought back. The
 * reserve counts the shares: as long as a thread brings what it took, no sum that all threads share
 * changes.
 *
 * Any thread may call. The lock of a shelf may be taken under the reserve's.
 */
#ifndef JM_SHELF_H
#define JM_SHELF_H

#include "block.h"

#define JM_SHELVES 32
#define JM_SHELF_BYTES ((size_t)1 << 20)

/* Takes a block of `size` bytes off the calling thread's shelf. NULL if there is none. */
struct jm_block *jm_shelf_take(size_t size);

/* Puts an unregistered small block, to be used again as it is, onto the calling thread's shelf.
 * False if there is no room, or it may have readers. */
bool jm_shelf_put(struct jm_block *block);

/* Adds to the share of the calling thread's shelf a block that the thread takes from elsewhere in
 * the reserve. False: the share has become as large as may be, or the shelf does not take such
 * blocks. */
bool jm_shelf_add_room(const struct jm_block *block);

/* Ends all shares: moves the blocks to a chain, and returns the bytes of the rooms. */
size_t jm_shelf_clear_all(struct jm_block **chain);

/* The bytes of all rooms. */
size_t jm_shelf_rooms(void);

void jm_shelf_for_locks(jm_lock_step *step);

#endif
