#include "reserve.h"

#include <string.h>

#include "backlog.h"
#include "chain.h"
#include "inspect.h"
#include "shelf.h"
#include "spares.h"

static_assert((JM_UNIT << (JM_STRETCH_ORDERS - 1)) == JM_SMALL_BLOCK_MAX, "a bin per size");

/*
 * Process state.
 *
 *      bytes == sum of charge over bins, spares, backlog and going
 *               + sum of rooms of spares + sum of shares of shelves
 *
 * A block counts until the OS has taken it.
 *
 * All of it changes under `lock`, except `going` and `orphans_go`, which change under `trimming`.
 * `trimming` is taken before `lock`. It is held while the OS takes blocks, so other threads can
 * take and keep blocks meanwhile.
 */
static struct {
    struct jm_lock lock, trimming;
    struct jm_block *bins[JM_STRETCH_ORDERS]; /* small blocks, as their tenants left them */
    struct jm_block *going;                   /* chosen to go to the OS next, in address order */
    bool orphans_go;                          /* they are orphans only */
    _Atomic(size_t) bytes, limit;
} reserve = {.limit = JM_RESERVE_DEFAULT_LIMIT};

/* When the bound is reached, blocks of this part of it are chosen to go at once. */
#define TRIM_DIVISOR 8

/* None go to make room for a block that is itself larger than this part of the bound. */
#define LARGE_DIVISOR 2

/* Steps to wait for a released block's readers before the block goes to the backlog. */
#define PATIENCE JM_PAUSE_SPINS

/* True if a block can be used again as it is. */
static bool is_of_use(const struct jm_block *block)
{
    return jm_block_is_large(block) ? block->resizable : block->charge == jm_block_size(block);
}

/* Lists a block. Does not count its bytes. pre: the lock is held. */
static void put(struct jm_block *block)
{
    if (jm_block_is_large(block)) {
        jm_spares_add(block);
    } else {
        jm_chain_push(&reserve.bins[jm_stretch_order(block->charge)], block);
    }
}

/* These two: pre: the lock is held. */
static void count(size_t bytes)
{
    jm_add_owned(&reserve.bytes, bytes);
}

static void uncount(size_t bytes)
{
    jm_add_owned(&reserve.bytes, 0 - bytes);
}

static void lock_and_uncount(size_t bytes)
{
    jm_lock_take(&reserve.lock);
    uncount(bytes);
    jm_lock_drop(&reserve.lock);
}

/* Chooses blocks of `bytes` or slightly more to go: large ones first, or only orphans. pre: no
 * block is chosen. */
static void choose_going(size_t bytes, bool only_orphans)
{
    struct jm_block *chosen = NULL;
    jm_lock_take(&reserve.lock);
    if (only_orphans) {
        (void)jm_spares_move_orphans(&chosen, bytes);
    } else {
        size_t sum = jm_spares_move_oldest(&chosen, bytes);
        for (unsigned bin = JM_STRETCH_ORDERS; bin-- > 0 && sum < bytes;) {
            sum += jm_chain_move(&reserve.bins[bin], &chosen, bytes - sum);
        }
    }
    jm_lock_drop(&reserve.lock);
    reserve.going = jm_chain_sort(chosen);
    reserve.orphans_go = only_orphans;
}

/* Chooses blocks to go unless some are chosen already. False if there are none. */
static bool ensure_going(size_t bytes, bool only_orphans)
{
    if (reserve.going == NULL) {
        choose_going(bytes, only_orphans);
    }
    return reserve.going != NULL;
}

/* Puts blocks back into the lists that they came from; they can still be used as they are. pre: the
 * lock is held. */
static void put_all(struct jm_block **blocks)
{
    while (*blocks != NULL) {
        put(jm_chain_pop(blocks));
    }
}

static void put_back(struct jm_block **blocks)
{
    jm_lock_take(&reserve.lock);
    put_all(blocks);
    jm_lock_drop(&reserve.lock);
}

/* Ends all shares and rooms: others may use what they were kept for. */
static void end_shares(void)
{
    struct jm_block *blocks = NULL;
    jm_lock_take(&reserve.lock);
    uncount(jm_shelf_clear_all(&blocks) + jm_spares_end_rooms());
    put_all(&blocks);
    jm_lock_drop(&reserve.lock);
}

/* Gives the first block of a list to the OS, together with adjacent ones behind it, and then
 * uncounts them. False if the OS refused the first. */
static bool give_first_to_os(struct jm_block **list)
{
    size_t bytes = jm_chain_give_to_os(list);
    lock_and_uncount(bytes);
    return bytes != 0;
}

/* Gives blocks to the OS until at most `limit` bytes are left, except those that it refuses. */
static void trim_lists(size_t limit)
{
    struct jm_block *refused = NULL;
    size_t bytes;
    jm_lock_take(&reserve.trimming);
    end_shares();
    while ((bytes = jm_load_relaxed(&reserve.bytes)) > limit &&
           ensure_going(bytes - limit, false)) {
        while (reserve.going != NULL && jm_load_relaxed(&reserve.bytes) > limit) {
            if (!give_first_to_os(&reserve.going)) {
                jm_chain_push(&refused, jm_chain_pop(&reserve.going));
            }
        }
        if (refused != NULL) {
            break;
        }
    }
    put_back(&refused);
    jm_lock_drop(&reserve.trimming);
}

/* Clears a small block for its next tenant: always the map, and the memory that was handed out
 * unless the same tenant had it. The rest of the header is the same for every tenant or is written
 * before it is read. */
static void clear(struct jm_block *block, const struct jm_supply *tenant)
{
    jm_inspect_open(block->extent.address, block->extent.size);
    bool is_same = jm_block_was_of(block, tenant);
    if (block->touched > block->first_granule && !is_same) {
        char *first = block->start + ((size_t)block->first_granule << JM_GRANULE_BITS);
        size_t bytes = (size_t)(block->touched - block->first_granule) << JM_GRANULE_BITS;
        /* What lies behind `bytes` in the last page is untouched, or the pad. */
        size_t pages = jm_align_up(bytes, jm_os_page_size());
        if (bytes <= JM_RESERVE_ZEROED_MAX || !jm_os_purge(first, pages)) {
            jm_zero(first, bytes);
        }
    }
    if (jm_block_has_map_inside(block)) {
        /* A tenant may have written to any part of the map. */
        jm_zero_bytes(block->map, (size_t)block->first_granule << JM_GRANULE_BITS);
    } else if (block->carved > 0) {
        jm_zero_bytes(block->map, block->touched);
    }
    jm_store_relaxed(&block->queued, 0);
    block->touched = is_same ? block->touched : 0;
}

/* The same for a large block of which `size` bytes will be used. */
static void clear_large(struct jm_block *block, size_t size, const struct jm_supply *tenant)
{
    jm_inspect_open(block->extent.address, block->extent.size);
    block->is_dirty = jm_block_was_of(block, tenant);
    if (!block->is_dirty) {
        memset(block->start, 0, size);
    }
}

/* Takes a small block from its bin. Its bytes stay counted if the thread's shelf has room for them
 * now. */
static struct jm_block *take_from_bin(unsigned order, bool map_apart)
{
    struct jm_block **place = &reserve.bins[order];
    struct jm_block *block = NULL;
    jm_lock_take(&reserve.lock);
    while (*place != NULL && map_apart && jm_block_has_map_inside(*place)) {
        place = &(*place)->chain_next;
    }
    if (*place != NULL) {
        block = jm_chain_pop(place);
        uncount(jm_shelf_add_room(block) ? 0 : block->charge);
    }
    jm_lock_drop(&reserve.lock);
    return block;
}

struct jm_block *jm_reserve_take(size_t size, const struct jm_supply *tenant, bool map_apart)
{
    struct jm_block *block = jm_shelf_take(size);
    if (block == NULL) {
        block = take_from_bin(jm_stretch_order(size), map_apart);
    }
    if (block != NULL) {
        clear(block, tenant);
    }
    return block;
}

static bool fits(size_t size)
{
    size_t bytes = jm_load_relaxed(&reserve.bytes);
    size_t limit = jm_load_relaxed(&reserve.limit);
    return bytes <= limit && size <= limit - bytes;
}

/* Keeps a block, past the bound if need be, and lets others go instead. */
static void keep(struct jm_block *block, void (*add)(struct jm_block *))
{
    jm_lock_take(&reserve.lock);
    count(block->charge);
    add(block);
    size_t limit = jm_load_relaxed(&reserve.limit);
    bool is_over = jm_load_relaxed(&reserve.bytes) > limit;
    if (is_over) {
        uncount(jm_backlog_look());
    }
    jm_lock_drop(&reserve.lock);
    if (is_over) {
        trim_lists(limit);
    }
}

size_t jm_reserve_large_bytes(size_t size, size_t alignment, const struct jm_supply *tenant)
{
    return jm_spares_own_bytes(size, alignment, tenant);
}

/* A tenant has enough spares if they have this part of the bytes that the reserve has room for:
 * then one of them is made to fit. So few tenants keep spares of many sizes, and one mostly fits.
 * Many keep few, or they would drive each other's out, and most objects would need new pages. */
#define ENOUGH_DIVISOR 4

static size_t room_left(void)
{
    size_t bytes = jm_reserve_bytes();
    size_t limit = jm_load_relaxed(&reserve.limit);
    return bytes < limit ? limit - bytes : 0;
}

static struct jm_spare take_spare(size_t size, size_t alignment, const struct jm_supply *tenant)
{
    struct jm_spare spare = jm_spares_take_own(size, alignment, tenant);
    if (spare.block == NULL) {
        bool has_room = fits(size) || size <= room_left(); /* rooms can be given up */
        spare = jm_spares_take_any(size, alignment, has_room);
    }
    if (spare.block == NULL && tenant->has_large_spares && alignment <= jm_os_page_size()) {
        spare = jm_spares_take_nearest(size, tenant, room_left() / ENOUGH_DIVISOR);
    }
    return spare;
}

struct jm_block *jm_reserve_take_large(size_t size, size_t alignment,
                                       const struct jm_supply *tenant)
{
    struct jm_spare spare = take_spare(size, alignment, tenant);
    if (spare.excess != 0) {
        lock_and_uncount(spare.excess);
    }
    if (spare.block != NULL) {
        clear_large(spare.block, size, tenant);
    }
    return spare.block;
}

/* Puts a block that the OS refused into the backlog. Its bytes are counted already. */
static void backlog_for_os(struct jm_block *block)
{
    jm_lock_take(&reserve.lock);
    jm_backlog_await_os(block);
    jm_lock_drop(&reserve.lock);
}

void jm_reserve_leave_large(const struct jm_supply *tenant)
{
    jm_spares_leave(tenant);
    jm_reserve_drop(tenant, SIZE_MAX);
}

void jm_reserve_drop(const struct jm_supply *tenant, size_t least)
{
    struct jm_block *dropped = NULL;
    jm_lock_take(&reserve.trimming);
    jm_lock_take(&reserve.lock);
    for (unsigned bin = 0; bin < JM_STRETCH_ORDERS; bin++) {
        if (JM_UNIT << bin >= least) {
            jm_chain_move_of(&reserve.bins[bin], &dropped, tenant, least);
        }
    }
    jm_spares_move_own(&dropped, tenant);
    jm_chain_move_of(&reserve.going, &dropped, tenant, least);
    jm_lock_drop(&reserve.lock);
    dropped = jm_chain_sort(dropped);
    while (dropped != NULL) {
        if (!give_first_to_os(&dropped)) {
            backlog_for_os(jm_chain_pop(&dropped));
        }
    }
    jm_lock_drop(&reserve.trimming);
}

void jm_reserve_drop_waiting(void)
{
    if (!jm_backlog_is_empty()) {
        jm_lock_take(&reserve.lock);
        uncount(jm_backlog_look());
        jm_lock_drop(&reserve.lock);
    }
}

/*
 * If the bound does not allow a block, shares and rooms end, and then others go: only orphans if
 * `only_orphans`, and none if the block is so large that most would have to. The blocks chosen at
 * once have a part of the bound, or the bytes missing if that is more: among many blocks some are
 * adjacent, and to give those in one call takes a fraction of the time that one by one does. The
 * chosen blocks go call by call, as room is needed.
 */
static void make_room(size_t size, bool only_orphans)
{
    size_t limit = jm_load_relaxed(&reserve.limit);
    size_t part = limit / TRIM_DIVISOR;
    if (!fits(size) && size <= limit) {
        end_shares();
    }
    if (fits(size) || size > limit / LARGE_DIVISOR) {
        return;
    }
    jm_lock_take(&reserve.trimming);
    if (only_orphans && !reserve.orphans_go) {
        put_back(&reserve.going);
    }
    bool taken = true;
    size_t bytes;
    while (taken && (bytes = jm_load_relaxed(&reserve.bytes)) + size > limit) {
        size_t missing = bytes + size - limit;
        taken = ensure_going(missing > part ? missing : part, only_orphans) &&
                give_first_to_os(&reserve.going);
    }
    if (!taken) {
        put_back(&reserve.going);
    }
    jm_lock_drop(&reserve.trimming);
}

/* Keeps a block unless it may have readers or the bound does not allow it. */
static bool keep_within_limit(struct jm_block *block)
{
    jm_lock_take(&reserve.lock);
    bool kept = jm_pagemap_is_quiet() && fits(block->charge);
    if (kept) {
        count(block->charge);
        put(block);
    }
    jm_lock_drop(&reserve.lock);
    return kept;
}

/* Waits until an unregistered block has no readers. False if they take more than a few steps. */
static bool wait_for_readers(struct jm_block *block)
{
    block->waits_since = jm_pagemap_since();
    return jm_pagemap_wait(block->waits_since, PATIENCE);
}

static bool too_much_waits(void)
{
    size_t limit = jm_load_relaxed(&reserve.limit);
    size_t bytes = jm_load_relaxed(&reserve.bytes);
    return bytes > limit && bytes - limit > JM_RESERVE_WAITING_MAX;
}

/* Puts a block that may have readers into the backlog. If too much waits there already, first waits
 * until older blocks have gone or until this one could go itself. */
static void backlog_for_readers(struct jm_block *block)
{
    for (unsigned attempt = 0; too_much_waits(); attempt++) {
        uint32_t epoch = jm_pagemap_advance();
        if (jm_pagemap_is_over(block->waits_since, epoch)) { /* untested: by chance */
            break; /* untested: its readers have left just now */
        }
        jm_os_pause(attempt);
        jm_reserve_drop_waiting();
    }
    keep(block, jm_backlog_await_readers);
}

bool jm_reserve_give(struct jm_block *block, bool for_good)
{
    /* A large block that its tenant does not want back is of no use here; jm_reserve_leave offers
     * it to others first. */
    bool of_use = is_of_use(block) && !(for_good && jm_block_is_large(block));
    jm_reserve_drop_waiting();
    if (of_use && jm_block_is_large(block) && jm_spares_put(block)) {
        return true;
    }
    if (of_use) {
        make_room(block->charge, false);
    }
    if (of_use && keep_within_limit(block)) {
        return true;
    }
    if (!wait_for_readers(block)) {
        backlog_for_readers(block);
        return true;
    }
    if (!of_use || !fits(block->charge)) {
        if (jm_chain_give_one_to_os(block)) {
            return true;
        }
        if (!for_good) {
            return false;
        }
    }
    keep(block, of_use ? put : jm_backlog_await_os);
    return true;
}

/* Keeps a large block as an orphan; only other orphans make room for it. False: it is not kept. */
static bool keep_orphan(struct jm_block *block)
{
    if (!is_of_use(block) || !jm_spares_may_be_orphan(block)) {
        return false;
    }
    jm_spares_make_orphan(block);
    jm_reserve_drop_waiting();
    if (jm_spares_put(block)) {
        return true;
    }
    make_room(block->charge, true);
    return keep_within_limit(block);
}

static bool shelve(struct jm_block *block)
{
    return is_of_use(block) && jm_shelf_put(block);
}

void jm_reserve_leave(struct jm_block *block)
{
    bool kept = jm_block_is_large(block) ? keep_orphan(block) : shelve(block);
    if (!kept) {
        (void)jm_reserve_give(block, true);
    }
}

/* Offers the OS again, without a pause, all blocks that it refused before; then gives it others
 * until at most `limit` bytes are left. */
static void trim(size_t limit)
{
    jm_lock_take(&reserve.lock);
    uncount(jm_backlog_look_at_all());
    jm_lock_drop(&reserve.lock);
    trim_lists(limit);
}

void jm_reserve_drain(void)
{
    trim(0);
}

void jm_reserve_set_limit(size_t bytes)
{
    jm_lock_take(&reserve.lock);
    jm_store_relaxed(&reserve.limit, bytes);
    jm_lock_drop(&reserve.lock);
    trim(bytes);
}

size_t jm_reserve_limit(void)
{
    return jm_load_relaxed(&reserve.limit);
}

size_t jm_reserve_bytes(void)
{
    size_t rooms = jm_shelf_rooms() + jm_spares_rooms();
    size_t bytes = jm_load_relaxed(&reserve.bytes);
    return bytes > rooms ? bytes - rooms : 0; /* read one after the other */
}

void jm_reserve_for_locks(jm_lock_step *step)
{
    step(&reserve.trimming);
    step(&reserve.lock);
    jm_shelf_for_locks(step);
    jm_spares_for_locks(step);
}
