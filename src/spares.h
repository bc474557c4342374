/*
 * Layer 2: spares, the large blocks that wait in the reserve for an object that fits. They lie in
 * lists, newest first:
 *
 *      of tenants     block - block - ...     kept unchanged for their tenant; tenants share lists
 *      of orphans     block - block - ...     the tenant has ended; zeroed for any other tenant
 *
 * Everything here is called under the lock of the reserve. The reserve counts the bytes of blocks
 * that it puts into a list or takes from a place. A place is the pointer that holds the next block,
 * in a list head or in a block. It is valid until the list changes.
 */
#ifndef JM_SPARES_H
#define JM_SPARES_H

#include "block.h"

/* The list that a block belongs in. */
struct jm_block **jm_spares_list(const struct jm_block *block);

/* True if an ending tenant may leave a block to others: it is not too large to be zeroed. */
bool jm_spares_may_be_orphan(const struct jm_block *block);

/* Records that the tenant of a block has ended, and which thread leaves it. */
void jm_spares_make_orphan(struct jm_block *block);

/* The place of the best of a tenant's own spares with `size` bytes or up to a quarter more. NULL if
 * there is none. */
struct jm_block **jm_spares_find_own(size_t size, size_t alignment, const struct jm_supply *tenant);

/* The same for its own spares, else for orphans or, if the reserve has no room for one more block,
 * for any tenant's that may be an orphan. */
struct jm_block **jm_spares_find(size_t size, size_t alignment, const struct jm_supply *tenant,
                                 bool has_room);

/* The place of the tenant's own spare nearest in size, if it has many spares or more than `enough`
 * bytes of them. Too many of them fit no request then, so the caller makes this one fit instead of
 * mapping one more. NULL if they are few: those are left alone. */
struct jm_block **jm_spares_find_nearest(size_t size, const struct jm_supply *tenant,
                                         size_t enough);

/* Makes orphans of a tenant's own spares, except those that are too large. */
void jm_spares_leave(const struct jm_supply *tenant);

/* Moves the oldest orphans, or the oldest blocks of one list after another, to a chain until they
 * have `bytes` or none is left. Returns their bytes. */
size_t jm_spares_move_orphans(struct jm_block **chain, size_t bytes);
size_t jm_spares_move_oldest(struct jm_block **chain, size_t bytes);

/* Moves all of a tenant's own spares to a chain. */
void jm_spares_move_own(struct jm_block **chain, const struct jm_supply *tenant);

#endif
