/*
 * Layer 2: the process reserve. It caches released blocks, up to a bound, so that creating and
 * disposing runtimes does not pay for mappings and page faults. A block that changes tenants is
 * zeroed wherever it had been handed out.
 *
 * A large block is kept unchanged for its former tenant. Any tenant may take it if it is small
 * enough to be zeroed, and its former tenant has ended or the reserve is full. A collect means
 * "give memory back to the OS": it drops the runtime's large blocks and the small blocks it grew
 * by.
 *
 * Any thread may call; the reserve has its own lock. It knows no runtime and no host.
 */
#ifndef JM_RESERVE_H
#define JM_RESERVE_H

#include "block.h"

#define JM_RESERVE_DEFAULT_LIMIT ((size_t)32 << 20)

/* More bytes than this, of a small block for another tenant or of a large one for a calloc, are
 * purged rather than zeroed with memset, if possible: the OS takes the pages and clears them in one
 * step, and the new owner may touch few of them. */
#define JM_RESERVE_ZEROED_MAX ((size_t)1 << 20)

/* With blocks that wait for their readers, the reserve may exceed its bound by this many bytes.
 * Beyond that, a thread that gives a block with readers waits. */
#define JM_RESERVE_WAITING_MAX ((size_t)32 << 20)

/* Takes a small block of exactly `size` bytes. Its map is clear. Its memory is zero unless `tenant`
 * had it last. `map_apart`: not a block with its map inside. NULL if there is none. */
struct jm_block *jm_reserve_take(size_t size, const struct jm_supply *tenant, bool map_apart);

/* Takes a large block whose object is aligned: one that the tenant had, of `size` bytes or up to
 * three times as many; else one that others left, up to a quarter larger; else, if enough of the
 * tenant's own are kept, one of those of any size. The caller makes it fit. Its first `size` bytes
 * are zero unless `is_dirty`. NULL if there is none. */
struct jm_block *jm_reserve_take_large(size_t size, size_t alignment,
                                       const struct jm_supply *tenant);

/* The bytes of the tenant's former block that jm_reserve_take_large would take as it is. 0 if there
 * is none. Blocks that other tenants left are not reported. */
size_t jm_reserve_large_bytes(size_t size, size_t alignment, const struct jm_supply *tenant);

/* Leaves an ending tenant's former large blocks to other tenants. Those too large to be zeroed go
 * to the OS. */
void jm_reserve_leave_large(const struct jm_supply *tenant);

/* Gives a tenant's former large blocks to the OS, and its small ones of at least `least` bytes. */
void jm_reserve_drop(const struct jm_supply *tenant, size_t least);

/*
 * Takes an unregistered block. Keeps it if it is of use and the bound allows, otherwise unmaps it,
 * later if it has readers. False if the OS refuses it: the block is still the tenant's. `for_good`,
 * as when the tenant ends: always takes it, and keeps what the OS refuses, if need be past the
 * bound.
 */
bool jm_reserve_give(struct jm_block *block, bool for_good);

/* Takes a block of an ending tenant; cannot fail. A large block is kept for any tenant if it is
 * small enough to be zeroed and there is room. */
void jm_reserve_leave(struct jm_block *block);

/* Unmaps blocks that waited for their readers and have none left. Now and then retries those that
 * the OS refused. Cheap if nothing waits. */
void jm_reserve_drop_waiting(void);

/* Unmaps everything that the OS will take. */
void jm_reserve_drain(void);

void jm_reserve_set_limit(size_t bytes); /* trims at once */
size_t jm_reserve_limit(void);
size_t jm_reserve_bytes(void);

void jm_reserve_for_locks(jm_lock_step *step);

#endif
