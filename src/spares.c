#include "spares.h"

#include "chain.h"

/* The number of lists of tenants; an address selects one. The list of orphans follows them. */
#define LISTS 32
#define ORPHANS LISTS

/* A search looks at no more blocks than this, the newest first. */
#define STEPS 128

/* A block fits if its surplus is at most this many times the requested size, or this part of it: of
 * a tenant's own spares, the object gets all, and of orphans, the surplus goes to the OS. */
#define SURPLUS_FACTOR_OWN 2
#define SURPLUS_DIVISOR_ANY 4

/* Larger blocks are not zeroed for another tenant. Zeroing takes a seventh of the time of new pages
 * if the object uses all of them, but ten times as long if it uses few. This is an object of 1 MiB
 * with its surplus. */
#define ORPHAN_MAX ((size_t)9 << 17)

/* From this number on, a tenant's spares are many. */
#define MANY 48

/* A list has at most this room, in bytes. */
#define ROOM_MAX ((size_t)4 << 20)

struct list {
    _Alignas(JM_CACHE_LINE) struct jm_lock lock;
    _Atomic(size_t) room; /* written under the lock */
    struct jm_block *blocks;
};

/* Process state. A list and its room change under the lock of the list. */
static struct {
    struct list lists[LISTS + 1];
    unsigned next; /* the list whose oldest blocks go next. Under the lock of the reserve */
} spares;

static struct list *list_of(const struct jm_supply *tenant)
{
    return &spares.lists[tenant == NULL ? ORPHANS : (uintptr_t)tenant / sizeof *tenant % LISTS];
}

bool jm_spares_may_be_orphan(const struct jm_block *block)
{
    /* The charge differs if a fork came in the middle of a change of size. */
    return block->charge <= ORPHAN_MAX && block->charge == block->extent.size;
}

void jm_spares_make_orphan(struct jm_block *block)
{
    block->tenant = NULL;
    block->tenancy = jm_thread.id;
}

void jm_spares_add(struct jm_block *block)
{
    struct list *list = list_of(block->tenant);
    jm_lock_take(&list->lock);
    jm_chain_push(&list->blocks, block);
    jm_lock_drop(&list->lock);
}

bool jm_spares_put(struct jm_block *block)
{
    struct list *list = list_of(block->tenant);
    if (jm_load_relaxed(&list->room) < block->charge) {
        return false;
    }
    jm_lock_take(&list->lock);
    bool put = jm_pagemap_is_quiet() && jm_load_relaxed(&list->room) >= block->charge;
    if (put) {
        jm_add_owned(&list->room, 0 - block->charge);
        jm_chain_push(&list->blocks, block);
    }
    jm_lock_drop(&list->lock);
    return put;
}

/* Takes the block at `place` off a list. pre: the lock is held. */
static struct jm_spare pop(struct list *list, struct jm_block **place)
{
    struct jm_block *block = jm_chain_pop(place);
    size_t room = jm_load_relaxed(&list->room) + block->charge;
    if (room > ROOM_MAX) {
        return (struct jm_spare){block, block->charge};
    }
    jm_store_relaxed(&list->room, room);
    return (struct jm_spare){block, 0};
}

static bool may_have(const struct jm_block *block, const struct jm_supply *tenant)
{
    return tenant == NULL ? jm_spares_may_be_orphan(block) : jm_block_was_of(block, tenant);
}

static bool fits(const struct jm_block *block, size_t size, size_t alignment, size_t surplus)
{
    bool is_close = block->charge >= size && block->charge - size <= surplus;
    return is_close && jm_is_aligned(block->start, alignment);
}

/* True for an orphan that the calling thread left: its memory is in a cache nearby. */
static bool is_near(const struct jm_block *block)
{
    return block->tenant == NULL && block->tenancy == jm_thread.id;
}

static bool is_better(const struct jm_block *block, const struct jm_block *best)
{
    return block->charge < best->charge ||
           (block->charge == best->charge && is_near(block) && !is_near(best));
}

/* The place of the smallest block in a list that fits and that `tenant` had or, if `tenant` is
 * NULL, that may be an orphan: of several orphans one that the calling thread left. NULL if there
 * is none within the steps left. pre: the lock is held. */
static struct jm_block **find(struct list *list, size_t size, size_t alignment,
                              const struct jm_supply *tenant, unsigned *steps)
{
    struct jm_block **best = NULL;
    size_t surplus = tenant == NULL ? size / SURPLUS_DIVISOR_ANY : size * SURPLUS_FACTOR_OWN;
    for (struct jm_block **place = &list->blocks; *place != NULL && *steps > 0; --*steps) {
        if (fits(*place, size, alignment, surplus) && may_have(*place, tenant) &&
            (best == NULL || is_better(*place, *best))) {
            best = place;
            if ((*best)->charge == size && (tenant != NULL || is_near(*best))) {
                break;
            }
        }
        place = &(*place)->chain_next;
    }
    return best;
}

static struct jm_spare take(struct list *list, size_t size, size_t alignment,
                            const struct jm_supply *tenant, unsigned *steps)
{
    struct jm_spare spare = {NULL, 0};
    jm_lock_take(&list->lock);
    struct jm_block **place = find(list, size, alignment, tenant, steps);
    if (place != NULL) {
        spare = pop(list, place);
    }
    jm_lock_drop(&list->lock);
    return spare;
}

size_t jm_spares_own_bytes(size_t size, size_t alignment, const struct jm_supply *tenant)
{
    unsigned steps = STEPS;
    struct list *list = list_of(tenant);
    jm_lock_take(&list->lock);
    struct jm_block **place = find(list, size, alignment, tenant, &steps);
    size_t bytes = place == NULL ? 0 : (*place)->charge;
    jm_lock_drop(&list->lock);
    return bytes;
}

struct jm_spare jm_spares_take_own(size_t size, size_t alignment, const struct jm_supply *tenant)
{
    unsigned steps = STEPS;
    return take(list_of(tenant), size, alignment, tenant, &steps);
}

struct jm_spare jm_spares_take_any(size_t size, size_t alignment, bool has_room)
{
    unsigned steps = STEPS;
    unsigned lists = has_room ? 1 : LISTS + 1; /* with room, others keep theirs */
    struct jm_spare spare = {NULL, 0};
    for (unsigned i = 0; i < lists && spare.block == NULL && size <= ORPHAN_MAX; i++) {
        spare = take(&spares.lists[ORPHANS - i], size, alignment, NULL, &steps);
    }
    return spare;
}

/* The place of the tenant's own spare nearest in size, see jm_spares_take_nearest. */
static struct jm_block **find_nearest(struct list *list, size_t size,
                                      const struct jm_supply *tenant, size_t enough)
{
    struct jm_block **nearest = NULL;
    struct jm_block **place = &list->blocks;
    size_t least = SIZE_MAX;
    size_t bytes = 0;
    unsigned count = 0;
    for (unsigned steps = 0; *place != NULL && steps < STEPS; steps++) {
        size_t charge = (*place)->charge;
        size_t apart = charge < size ? size - charge : charge - size;
        if (jm_block_was_of(*place, tenant)) {
            bytes += charge;
            count++;
            nearest = apart < least ? place : nearest;
            least = apart < least ? apart : least;
        }
        place = &(*place)->chain_next;
    }
    return bytes > enough || count >= MANY ? nearest : NULL;
}

struct jm_spare jm_spares_take_nearest(size_t size, const struct jm_supply *tenant, size_t enough)
{
    struct jm_spare spare = {NULL, 0};
    struct list *list = list_of(tenant);
    jm_lock_take(&list->lock);
    struct jm_block **place = find_nearest(list, size, tenant, enough);
    if (place != NULL) {
        spare = pop(list, place);
    }
    jm_lock_drop(&list->lock);
    return spare;
}

/* Moves a tenant's blocks that may be orphans to a chain. pre: the lock is held. */
static struct jm_block *move_orphans_to_be(struct list *list, const struct jm_supply *tenant)
{
    struct jm_block *chain = NULL;
    for (struct jm_block **place = &list->blocks; *place != NULL;) {
        if (jm_block_was_of(*place, tenant) && jm_spares_may_be_orphan(*place)) {
            jm_chain_push(&chain, jm_chain_pop(place));
        } else {
            place = &(*place)->chain_next;
        }
    }
    return chain;
}

void jm_spares_leave(const struct jm_supply *tenant)
{
    struct list *list = list_of(tenant);
    jm_lock_take(&list->lock);
    struct jm_block *chain = move_orphans_to_be(list, tenant);
    jm_lock_drop(&list->lock);
    while (chain != NULL) {
        struct jm_block *block = jm_chain_pop(&chain);
        jm_spares_make_orphan(block);
        jm_spares_add(block);
    }
}

static size_t move_oldest(struct list *list, struct jm_block **chain, size_t bytes)
{
    struct jm_block *oldest_first = NULL;
    jm_lock_take(&list->lock);
    (void)jm_chain_move(&list->blocks, &oldest_first, SIZE_MAX);
    size_t sum = jm_chain_move(&oldest_first, chain, bytes);
    (void)jm_chain_move(&oldest_first, &list->blocks, SIZE_MAX);
    jm_lock_drop(&list->lock);
    return sum;
}

size_t jm_spares_move_orphans(struct jm_block **chain, size_t bytes)
{
    return move_oldest(&spares.lists[ORPHANS], chain, bytes);
}

size_t jm_spares_move_oldest(struct jm_block **chain, size_t bytes)
{
    size_t sum = 0;
    for (unsigned i = 0; i <= LISTS && sum < bytes; i++) {
        sum += move_oldest(&spares.lists[spares.next++ % (LISTS + 1)], chain, bytes - sum);
    }
    return sum;
}

void jm_spares_move_own(struct jm_block **chain, const struct jm_supply *tenant)
{
    struct list *list = list_of(tenant);
    jm_lock_take(&list->lock);
    jm_chain_move_of(&list->blocks, chain, tenant, 0);
    jm_lock_drop(&list->lock);
}

size_t jm_spares_end_rooms(void)
{
    size_t bytes = 0;
    for (int i = 0; i <= LISTS; i++) {
        struct list *list = &spares.lists[i];
        if (jm_load_relaxed(&list->room) != 0) {
            jm_lock_take(&list->lock);
            bytes += jm_load_relaxed(&list->room);
            jm_store_relaxed(&list->room, 0);
            jm_lock_drop(&list->lock);
        }
    }
    return bytes;
}

size_t jm_spares_rooms(void)
{
    size_t bytes = 0;
    for (int i = 0; i <= LISTS; i++) {
        bytes += jm_load_relaxed(&spares.lists[i].room);
    }
    return bytes;
}

void jm_spares_for_locks(jm_lock_step *step)
{
    for (int i = 0; i <= LISTS; i++) {
        step(&spares.lists[i].lock);
    }
}
