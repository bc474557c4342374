#include "block.h"

#include <string.h>

#include "header.h"
#include "inspect.h"
#include "reserve.h"

static _Atomic(struct jm_block *) *list_of(struct jm_supply *supply, const struct jm_block *block)
{
    return jm_block_is_large(block) ? &supply->large : &supply->small;
}

static void link_block(struct jm_supply *supply, struct jm_block *block)
{
    _Atomic(struct jm_block *) *list = list_of(supply, block);
    struct jm_block *first = jm_load_relaxed(list);
    block->previous = NULL;
    jm_store_relaxed(&block->next, first);
    if (first != NULL) {
        first->previous = block;
    }
    jm_store_release(list, block);
    jm_add_owned(&supply->block_count, 1);
}

static void unlink_block(struct jm_supply *supply, struct jm_block *block)
{
    struct jm_block *next = jm_load_relaxed(&block->next);
    if (block->previous != NULL) {
        jm_store_release(&block->previous->next, next);
    } else {
        jm_store_release(list_of(supply, block), next);
    }
    if (next != NULL) {
        next->previous = block->previous;
    }
    jm_add_owned(&supply->block_count, (uint32_t)-1);
}

/* A small block registers all its units, a large one only the unit that it starts in. */
static size_t registered_size(const struct jm_block *block)
{
    return jm_block_is_large(block) ? 1 : jm_block_size(block);
}

static void register_block(struct jm_supply *supply, struct jm_block *block)
{
    bool is_large = jm_block_is_large(block);
    jm_store_relaxed(&block->owner, supply);
    jm_pagemap_set(block->start, registered_size(block), block,
                   is_large ? supply : jm_load_relaxed(&supply->small_token));
}

static void unregister_block(const struct jm_block *block)
{
    jm_pagemap_set(block->start, registered_size(block), NULL, NULL);
}

void jm_block_set_small_token(struct jm_supply *supply, const void *token)
{
    const struct jm_block *block = jm_load_relaxed(&supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        jm_pagemap_set_token(block->start, jm_block_size(block), token);
    }
}

/* Cuts a small block from the region. NULL: the OS refused, or the region has no room. */
static struct jm_block *cut_block(size_t size, bool *has_room)
{
    char *start = jm_region_alloc(size, has_room);
    if (start == NULL) {
        return NULL;
    }
    jm_inspect_open(start, size); /* the release of a former block may have closed it */
    struct jm_block *block = jm_region_head_of(start);
    const size_t own = offsetof(struct jm_block, first_granule);
    memset(&block->first_granule, 0, offsetof(struct jm_block, arena) - own);
    block->extent = (struct jm_os_extent){start, size};
    block->charge = size;
    block->start = start;
    block->map = jm_region_state_of(start);
    block->tenant = NULL;
    return block;
}

/* Maps the memory of a block. The first `registered` bytes can be registered then. False: the OS
 * refused. */
static bool map_memory(struct jm_block *block, size_t size, size_t alignment, size_t registered)
{
    struct jm_os_extent extent;
    char *start = jm_os_map(size, alignment, &extent);
    if (start == NULL) {
        return false;
    }
    if (!jm_pagemap_prepare(start, registered)) {
        jm_os_discard(&extent);
        return false;
    }
    jm_inspect_add_root(extent.address, extent.size);
    block->extent = extent;
    block->charge = size;
    block->start = start;
    block->resizable = extent.size == size;
    return true;
}

static struct jm_block *map_block(size_t size, size_t alignment, size_t registered)
{
    struct jm_block *block = jm_header_take();
    if (block != NULL && !map_memory(block, size, alignment, registered)) {
        jm_header_give(block);
        return NULL;
    }
    return block;
}

/* Maps a block that can be registered, if need be after draining the reserve. NULL: the OS
 * refused. */
static struct jm_block *map_or_drain(size_t size, size_t alignment, size_t registered)
{
    struct jm_block *block = map_block(size, alignment, registered);
    if (block == NULL && jm_reserve_bytes() != 0) {
        jm_reserve_drain();
        block = map_block(size, alignment, registered);
    }
    return block;
}

/* Maps a small block outside of the region, with its map inside. NULL: the OS refused. */
static struct jm_block *map_small_block(size_t size)
{
    struct jm_block *block = map_or_drain(size, size, size);
    if (block != NULL) {
        block->map = (jm_state *)(void *)block->start;
        block->first_granule = (uint32_t)jm_first_granule(size);
    }
    return block;
}

static struct jm_block *new_small_block(size_t size)
{
    bool has_room;
    struct jm_block *block = cut_block(size, &has_room);
    if (block == NULL && has_room && jm_reserve_bytes() != 0) {
        jm_reserve_drain();
        block = cut_block(size, &has_room);
    }
    return has_room ? block : map_small_block(size);
}

/* The last step of an acquisition: charges, links and registers a block, or gives it back. */
static struct jm_block *admit(struct jm_supply *supply, struct jm_block *block,
                              enum jm_verdict *verdict)
{
    size_t charge = block->charge;
    if (!jm_quota_charge(&supply->quota, charge)) {
        (void)jm_reserve_give(block, true);
        *verdict = JM_REFUSED_LIMIT;
        jm_quota_fail(&supply->quota, charge, *verdict);
        return NULL;
    }
    link_block(supply, block);
    register_block(supply, block);
    return block;
}

static struct jm_block *fail_os(struct jm_supply *supply, size_t bytes, enum jm_verdict *verdict)
{
    *verdict = JM_REFUSED_OS;
    jm_quota_fail(&supply->quota, bytes, *verdict);
    return NULL;
}

struct jm_block *jm_block_acquire_small(struct jm_supply *supply, size_t size,
                                        enum jm_verdict *verdict)
{
    *verdict = jm_quota_ask(&supply->quota, size);
    if (*verdict != JM_GRANTED) {
        return NULL;
    }
    jm_quota_open_charge(&supply->quota);
    /* While the region has room, the heap counts on a block without a map inside. */
    struct jm_block *block = jm_reserve_take(size, supply, jm_region_has_room());
    if (block == NULL) {
        jm_quota_end_charge(&supply->quota, 0); /* nobody has to wait for the OS */
        block = new_small_block(size);
    }
    if (block == NULL) {
        return fail_os(supply, size, verdict);
    }
    jm_store_relaxed(&block->segment_bits, jm_doublings(JM_SEGMENTS * JM_GRANULE, size));
    block->witness = 0;
    block->has_witness = false;
    block->far_count = 0;
    block->partly_listed = false;
    block->unlisted = 0;
    block->granules = (size - JM_PAD) >> JM_GRANULE_BITS;
    return admit(supply, block, verdict);
}

static void set_extent(struct jm_block *block, struct jm_os_extent extent)
{
    jm_inspect_remove_root(block->extent.address, block->extent.size);
    block->extent = extent;
    jm_inspect_add_root(extent.address, extent.size);
}

/* Shortens the extent. False: nothing changed. */
static bool shrink_extent(struct jm_block *block, size_t size)
{
    const struct jm_os_extent old = block->extent;
    jm_inspect_open(block->start + size, old.size - size);
    /* First: the child of a fork in between must not see an extent of which a part is gone. */
    set_extent(block, (struct jm_os_extent){old.address, size});
    if (!jm_os_shrink(block->start, old.size, size)) {
        set_extent(block, old);
        return false;
    }
    return true;
}

/* Lengthens the extent of a block without tenant. It may move. False: the block cannot be used,
 * moved or not. */
static bool move_extent(struct jm_block *block, size_t size)
{
    char *moved = jm_os_move(block->start, block->extent.size, size);
    if (moved == NULL) {
        return false;
    }
    block->start = moved;
    set_extent(block, (struct jm_os_extent){moved, size});
    return jm_pagemap_prepare(moved, 1);
}

static bool fit_extent(struct jm_block *block, size_t size)
{
    size_t has = block->extent.size;
    return has == size || (has > size ? shrink_extent(block, size) : move_extent(block, size));
}

/* Takes a large block from the reserve. NULL: none fits or can be made to fit. */
static struct jm_block *recycle_block(const struct jm_supply *supply, size_t size, size_t alignment)
{
    struct jm_block *block = jm_reserve_take_large(size, alignment, supply);
    if (block == NULL) {
        return NULL;
    }
    bool fits = fit_extent(block, size);
    block->charge = block->extent.size;
    if (!fits) {
        (void)jm_reserve_give(block, true);
        return NULL;
    }
    return block;
}

size_t jm_block_spare(const struct jm_supply *supply, size_t bytes, size_t alignment)
{
    return supply->has_large_spares ? jm_reserve_large_bytes(bytes, alignment, supply) : 0;
}

struct jm_block *jm_block_acquire_large(struct jm_supply *supply, size_t bytes, size_t alignment,
                                        enum jm_verdict *verdict)
{
    size_t page = jm_os_page_size();
    *verdict = jm_quota_ask(&supply->quota, bytes);
    if (*verdict != JM_GRANTED) {
        return NULL;
    }
    struct jm_block *block = recycle_block(supply, bytes, alignment);
    if (block == NULL) {
        block = map_or_drain(bytes, alignment > page ? alignment : page, 1);
    }
    if (block == NULL) {
        return fail_os(supply, bytes, verdict);
    }
    jm_store_relaxed(&block->bytes, bytes);
    jm_store_relaxed(&block->state, JM_LARGE_LIVE);
    return admit(supply, block, verdict);
}

/* Tells tools that the objects of a block without tenant must not be touched. */
static void close_block(const struct jm_block *block)
{
    if (jm_block_is_large(block)) {
        /* After a fork amid a shrink, `bytes` may still count the end that was cut off. */
        size_t bytes = jm_load_relaxed(&block->bytes);
        jm_inspect_close(block->start, block->resizable ? block->extent.size : bytes);
    } else {
        const char *first = block->start + ((size_t)block->first_granule << JM_GRANULE_BITS);
        jm_inspect_close(first, (size_t)(block->start + jm_block_size(block) - first));
    }
}

bool jm_block_release(struct jm_supply *supply, struct jm_block *block, bool for_good)
{
    size_t charge = block->charge;
    supply->has_large_spares |= jm_block_is_large(block);
    supply->has_small_spares |= charge >= JM_SMALL_BLOCK_GROWTH;
    block->tenant = supply;
    block->tenancy = supply->tenancy;
    unlink_block(supply, block);
    unregister_block(block);
    close_block(block);
    if (for_good) {
        jm_reserve_leave(block);
    } else if (!jm_reserve_give(block, false)) {
        register_block(supply, block);
        link_block(supply, block);
        return false;
    }
    jm_quota_refund(&supply->quota, charge);
    return true;
}

/* Gives back the pages of a map that only describe granules of a hole. The page with the first
 * granule's state stays: that state marks the hole. */
static void purge_map(struct jm_block *block, size_t start, size_t end)
{
    const size_t page = jm_os_page_size();
    uintptr_t first = jm_align_up((uintptr_t)&block->map[start + 1], page);
    uintptr_t last = (uintptr_t)&block->map[end] & ~(page - 1);
    if (first < last) {
        (void)jm_os_purge((void *)first, last - first); /* if refused: it is zero already */
    }
}

bool jm_block_decommit_pages(struct jm_block *block, size_t start, size_t end)
{
    size_t bytes = (end - start) << JM_GRANULE_BITS;
    char *address = block->start + (start << JM_GRANULE_BITS);
    jm_region_split_huge_pages(address, address + bytes);
    /* First: the child of a fork in between must not find the block without holes. */
    block->charge -= bytes;
    if (!jm_os_decommit_part(address, bytes)) {
        block->charge += bytes;
        return false;
    }
    purge_map(block, start, end);
    return true;
}

bool jm_block_commit_pages(struct jm_supply *supply, struct jm_block *block, size_t start,
                           size_t end, enum jm_verdict *verdict)
{
    size_t bytes = (end - start) << JM_GRANULE_BITS;
    char *address = block->start + (start << JM_GRANULE_BITS);
    *verdict = jm_quota_ask(&supply->quota, bytes);
    if (*verdict != JM_GRANTED) {
        return false;
    }
    if (!jm_os_commit(address, bytes)) {
        *verdict = JM_REFUSED_OS;
    } else if (!jm_quota_charge(&supply->quota, bytes)) {
        (void)jm_os_decommit(address, bytes); /* if refused: a hole all the same */
        *verdict = JM_REFUSED_LIMIT;
    } else {
        block->charge += bytes;
        return true;
    }
    jm_quota_fail(&supply->quota, bytes, *verdict);
    return false;
}

/* Steps to wait for a block's readers before it is moved, some of them sleeps; and the bytes for
 * which there is one step more: a larger block, whose copy takes longer, waits longer. */
#define MOVE_PATIENCE (JM_PAUSE_AWAKE + 14)
#define MOVE_PATIENCE_STEP ((size_t)16 << 20)

/* False if the readers take longer: the object is copied instead. If the limit has no room for a
 * copy, waits until they have left. */
static bool await_readers(const struct jm_supply *supply, size_t size)
{
    const unsigned patience = MOVE_PATIENCE + (unsigned)(size / MOVE_PATIENCE_STEP);
    const uint32_t since = jm_pagemap_since();
    bool have_left;
    do {
        have_left = jm_pagemap_wait(since, patience);
    } while (!have_left && !jm_quota_allows(&supply->quota, size));
    return have_left;
}

/* Moves a block to a larger place, and charges the difference. False: it is where it was. */
static bool move_block(struct jm_supply *supply, struct jm_block *block, size_t size)
{
    /* In advance, for any new address: a move cannot be undone. */
    struct jm_leaf *leaf = jm_pagemap_new_leaf();
    if (leaf == NULL) {
        return false;
    }
    /* The child of a fork in between cannot know where the block is. */
    unlink_block(supply, block);
    unregister_block(block);
    char *moved = NULL;
    size_t delta = size - block->charge;
    if (await_readers(supply, size) && jm_quota_begin_charge(&supply->quota, delta)) {
        jm_inspect_open(block->start, block->extent.size); /* others may get these addresses */
        moved = jm_os_move(block->start, block->extent.size, size);
        jm_quota_end_charge(&supply->quota, moved == NULL ? 0 : delta);
    }
    if (moved != NULL) {
        block->start = moved;
        set_extent(block, (struct jm_os_extent){moved, size});
    }
    jm_pagemap_install(block->start, leaf);
    link_block(supply, block);
    register_block(supply, block);
    return moved != NULL;
}

/* The bytes that a block can have inside its extent. */
static size_t room_in_extent(const struct jm_block *block)
{
    const char *end = (char *)block->extent.address + block->extent.size;
    return (size_t)(end - block->start);
}

bool jm_block_can_grow(const struct jm_block *block, size_t bytes)
{
    return block->resizable || bytes <= room_in_extent(block);
}

/* Lengthens a block inside its extent or, if it is resizable, the extent in place. */
static bool extend_extent(struct jm_block *block, size_t size)
{
    if (!block->resizable) {
        return jm_os_commit(block->start + block->charge, size - block->charge);
    }
    if (size > block->extent.size) {
        if (!jm_os_extend(block->start, block->extent.size, size)) {
            return false;
        }
        set_extent(block, (struct jm_os_extent){block->extent.address, size});
    }
    return true;
}

/* Gives back what a block has beyond `bytes`: shortens the extent or, if the block is not
 * resizable, only decommits. */
static bool give_end(struct jm_block *block, size_t has, size_t bytes)
{
    if (block->resizable) {
        return shrink_extent(block, bytes);
    }
    jm_inspect_open(block->start + bytes, has - bytes);
    return jm_os_decommit(block->start + bytes, has - bytes);
}

/* Grows a block in place or, if that fails, by a move, which cannot be undone. */
static enum jm_verdict grow_granted(struct jm_supply *supply, struct jm_block *block, size_t delta)
{
    struct jm_quota *quota = &supply->quota;
    if (extend_extent(block, block->charge + delta)) {
        if (jm_quota_charge(quota, delta)) {
            return JM_GRANTED;
        }
        (void)give_end(block, block->charge + delta, block->charge);
        return JM_REFUSED_LIMIT;
    }
    if (!jm_quota_allows(quota, delta)) {
        return JM_REFUSED_LIMIT;
    }
    if (!block->resizable || !move_block(supply, block, block->charge + delta)) {
        bool still_fits = jm_quota_allows(quota, delta);
        return still_fits ? JM_REFUSED_OS : JM_REFUSED_LIMIT; /* untested: lowered meanwhile */
    }
    return JM_GRANTED;
}

bool jm_block_grow(struct jm_supply *supply, struct jm_block *block, size_t bytes,
                   enum jm_verdict *verdict)
{
    size_t delta = bytes - jm_load_relaxed(&block->bytes);
    *verdict = jm_quota_ask(&supply->quota, delta);
    if (*verdict != JM_GRANTED) {
        return false;
    }
    bool is_live = jm_load_relaxed(&block->state) == JM_LARGE_LIVE; /* the host has not freed it */
    *verdict = is_live ? grow_granted(supply, block, delta) : JM_REFUSED_ARGUMENT;
    if (*verdict != JM_GRANTED) {
        jm_quota_fail(&supply->quota, delta, *verdict);
        return false;
    }
    block->charge = bytes;
    jm_store_relaxed(&block->bytes, bytes);
    return true;
}

bool jm_block_shrink(struct jm_supply *supply, struct jm_block *block, size_t bytes)
{
    size_t delta = jm_load_relaxed(&block->bytes) - bytes;
    if (!give_end(block, block->charge, bytes)) {
        return false;
    }
    block->charge = bytes;
    jm_store_relaxed(&block->bytes, bytes);
    jm_quota_refund(&supply->quota, delta);
    return true;
}
