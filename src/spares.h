/*
 * Layer 2: spares, the large blocks that wait in the reserve for an object that they can hold. They lie in lists, the
 * latest first:
 *
 *      of tenants     block - block - ...     those that a tenant had wait for it, as they are; tenants share lists
 *      of orphans     block - block - ...     those of tenants that have ended wait for any, which has them zeroed
 *
 * Everything here is called under the lock of the reserve, which counts what it puts into a list and takes from a place.
 * A place is where a list, or a block in it, holds the next block; it lasts until the list changes.
 */
#ifndef JM_SPARES_H
#define JM_SPARES_H

#include "block.h"

/* The list that a block belongs in. */
struct jm_block **jm_spares_list(const struct jm_block *block);

/* True where a tenant that ends may leave a block to others: it is not too large to be zeroed. */
bool jm_spares_may_be_orphan(const struct jm_block *block);

/* The place of the best block of a tenant's own that has `size` bytes or up to a quarter more. NULL: there is none. */
struct jm_block **jm_spares_find_own(size_t size, size_t alignment, const struct jm_supply *tenant);

/* The same of its own, or else of orphans; or, where there is no room for one more, of anybody's. */
struct jm_block **jm_spares_find(size_t size, size_t alignment, const struct jm_supply *tenant,
                                 bool has_room);

/* The place of the block of a tenant's own that is nearest in size, where those are many, or more than `enough` bytes: too
 * many fit nothing then, and this is to be made to fit instead of one more. NULL: they are few, and left as they are. */
struct jm_block **jm_spares_find_nearest(size_t size, const struct jm_supply *tenant,
                                         size_t enough);

/* Makes orphans of a tenant's own, so far as they may be. */
void jm_spares_leave(const struct jm_supply *tenant);

/* Moves the oldest blocks of orphans, or of all lists in turn, to a chain, until they have `bytes` or none is left.
 * Returns what they have. */
size_t jm_spares_move_orphans(struct jm_block **chain, size_t bytes);
size_t jm_spares_move_oldest(struct jm_block **chain, size_t bytes);

/* Moves all blocks that a tenant had to a chain. */
void jm_spares_move_own(struct jm_block **chain, const struct jm_supply *tenant);

#endif
