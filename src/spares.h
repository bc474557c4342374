/*
 * Layer 2: spares, the large blocks that wait in the reserve for an object that fits. They lie in
 * lists, newest first:
 *
 *      of tenants     block - block - ...     kept unchanged for their tenant; tenants share lists
 *      of orphans     block - block - ...     the tenant has ended; zeroed for any other tenant
 *
 * Each list has a lock, which may be taken under the reserve's, and room for what was taken from it
 * and not brought back. The reserve counts blocks and rooms: as long as a tenant brings what it
 * took, no sum that all threads share changes.
 *
 * Any thread may call, with or without the lock of the reserve unless said otherwise.
 */
#ifndef JM_SPARES_H
#define JM_SPARES_H

#include "block.h"

/* A block that was taken from a list. */
struct jm_spare {
    struct jm_block *block; /* NULL: none */
    size_t excess;          /* its bytes, if the list has no more room for them: uncount them */
};

/* True if an ending tenant may leave a block to others: it is not too large to be zeroed. */
bool jm_spares_may_be_orphan(const struct jm_block *block);

/* Records that the tenant of a block has ended, and which thread leaves it. */
void jm_spares_make_orphan(struct jm_block *block);

/* Adds a counted block to the list that it belongs in. */
void jm_spares_add(struct jm_block *block);

/* Adds an unregistered block that is not counted. False if its list has no room, or it may have
 * readers. */
bool jm_spares_put(struct jm_block *block);

/* Takes the best of a tenant's own spares with `size` bytes or up to three times as many. */
struct jm_spare jm_spares_take_own(size_t size, size_t alignment, const struct jm_supply *tenant);

/* The bytes of the block that jm_spares_take_own would take; 0: none. */
size_t jm_spares_own_bytes(size_t size, size_t alignment, const struct jm_supply *tenant);

/* Takes an orphan with `size` bytes or up to a quarter more or, if the reserve has no room for one
 * more block, any tenant's that may be an orphan. */
struct jm_spare jm_spares_take_any(size_t size, size_t alignment, bool has_room);

/* Takes the tenant's own spare nearest in size, if it has many spares or more than `enough` bytes
 * of them. Too many of them fit no request then, so the caller makes this one fit instead of
 * mapping one more. None if they are few: those are left alone. */
struct jm_spare jm_spares_take_nearest(size_t size, const struct jm_supply *tenant, size_t enough);

/* Makes orphans of a tenant's own spares, except those that are too large. */
void jm_spares_leave(const struct jm_supply *tenant);

/* Moves the oldest orphans, or the oldest blocks of one list after another, to a chain until they
 * have `bytes` or none is left. Returns their bytes. The second one: under the lock of the
 * reserve. */
size_t jm_spares_move_orphans(struct jm_block **chain, size_t bytes);
size_t jm_spares_move_oldest(struct jm_block **chain, size_t bytes);

/* Moves all of a tenant's own spares to a chain. */
void jm_spares_move_own(struct jm_block **chain, const struct jm_supply *tenant);

/* Ends all rooms. Returns the bytes that they had. */
size_t jm_spares_end_rooms(void);

/* The bytes of all rooms. */
size_t jm_spares_rooms(void);

void jm_spares_for_locks(jm_lock_step *step);

#endif
