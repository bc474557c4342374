/*
 * Layer 2: the process reserve. It keeps released blocks warm, up to a bound, so that runtimes that come
 * and go do not pay for mappings and page faults. What one tenant left in a block is zeroed for another. A large block
 * waits for the tenant that had it, as it is; for any, if it is not too large to be zeroed, when that ends, or when the
 * reserve is full. Who collects means to give to the OS: so its large blocks go then, and the small ones that it grew by.
 *
 * Any thread may call; the reserve has a lock of its own. It knows no runtime and no host.
 */
#ifndef JM_RESERVE_H
#define JM_RESERVE_H

#include "block.h"

#define JM_RESERVE_DEFAULT_LIMIT ((size_t)32 << 20)

/* More than this of a block is not worth the zeroing, for another tenant or a calloc, which may touch little of it: the OS
 * takes and clears it in one step. */
#define JM_RESERVE_ZEROED_MAX ((size_t)1 << 20)

/* Blocks may wait past the bound for readers to leave them; with more than this, whoever gives waits. */
#define JM_RESERVE_WAITING_MAX ((size_t)32 << 20)

/* A block of exactly `size` bytes whose map is clear, and its memory, unless the tenant had it last; `whole`: and that has
 * no map in it. Or NULL. */
struct jm_block *jm_reserve_take(size_t size, const struct jm_supply *tenant, bool whole);

/* A large block of `size` bytes or up to a quarter more, whose object is aligned, zero so far as `size` unless it is
 * `recycled`; or, where too many that the tenant had are kept, one of these of any size; to be made to fit. Or NULL. */
struct jm_block *jm_reserve_take_large(size_t size, size_t alignment,
                                       const struct jm_supply *tenant);

/* What a block has that the tenant had and that would be taken as it is; 0: there is none. What others left is not told. */
size_t jm_reserve_large_bytes(size_t size, size_t alignment, const struct jm_supply *tenant);

/* Leaves the large blocks that a tenant had to others, which is how it ends. */
void jm_reserve_leave_large(const struct jm_supply *tenant);

/* Gives the large blocks that a tenant had to the OS; or those, and the small ones that it grew by, which are of
 * JM_SMALL_BLOCK_GROWTH and more. */
void jm_reserve_drop_large(const struct jm_supply *tenant);
void jm_reserve_drop_grown(const struct jm_supply *tenant);

/*
 * Takes an unregistered block: keeps it, where it is of use and the bound allows, or unmaps it. False: the OS would not
 * take it, and it is the tenant's still. `for_good`, as when the tenant ends: what the OS would not take is kept then,
 * past the bound if need be.
 */
bool jm_reserve_give(struct jm_block *block, bool for_good);

/* The same of a tenant that ends, always: a large block is kept for any tenant where there is room. */
void jm_reserve_leave(struct jm_block *block);

/* Unmaps what waited for its readers and has none any more; and now and then asks the OS again for what it refused. Cheap
 * where nothing waits. */
void jm_reserve_drop_waiting(void);

/* Unmaps everything that the OS will take. */
void jm_reserve_drain(void);

void jm_reserve_set_limit(size_t bytes); /* trims at once */
size_t jm_reserve_limit(void);
size_t jm_reserve_bytes(void);

void jm_reserve_before_fork(void);
void jm_reserve_after_fork(void);

#endif
