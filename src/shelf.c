#include "shelf.h"

#include "chain.h"
#include "pagemap.h"

/* A shelf has blocks of fewer than these orders, up to half of JM_SHELF_BYTES. */
#define ORDERS 6
static_assert(JM_UNIT << ORDERS == JM_SHELF_BYTES, "a share has room for two of the largest");

/* Written under the lock. Read without it, `share` and `room` only tell whether to take it. */
struct shelf {
    _Alignas(JM_CACHE_LINE) struct jm_lock lock;
    _Atomic(uint32_t) share, room; /* in units */
    struct jm_block *blocks[ORDERS];
};
static_assert(sizeof(struct shelf) == JM_CACHE_LINE || sizeof(void *) != 8, "one line");

/* Process state. */
static struct shelf shelves[JM_SHELVES];

static struct shelf *own(void)
{
    return &shelves[jm_thread.id % JM_SHELVES];
}

static uint32_t units_of(const struct jm_block *block)
{
    return (uint32_t)(block->charge >> JM_UNIT_BITS);
}

/* True if blocks like this one have a place on shelves: those with a map inside have none, as
 * nobody asks for them while others are left. */
static bool has_place(const struct jm_block *block)
{
    return jm_stretch_order(block->charge) < ORDERS && !jm_block_has_map_inside(block);
}

struct jm_block *jm_shelf_take(size_t size)
{
    struct shelf *shelf = own();
    unsigned order = jm_stretch_order(size);
    if (order >= ORDERS || jm_load_relaxed(&shelf->share) == jm_load_relaxed(&shelf->room)) {
        return NULL;
    }
    struct jm_block *block = NULL;
    jm_lock_take(&shelf->lock);
    if (shelf->blocks[order] != NULL) {
        block = jm_chain_pop(&shelf->blocks[order]);
        jm_add_owned(&shelf->room, units_of(block));
    }
    jm_lock_drop(&shelf->lock);
    return block;
}

bool jm_shelf_put(struct jm_block *block)
{
    struct shelf *shelf = own();
    uint32_t units = units_of(block);
    if (jm_load_relaxed(&shelf->room) < units || !has_place(block)) {
        return false;
    }
    jm_lock_take(&shelf->lock);
    bool put = jm_pagemap_is_quiet() && jm_load_relaxed(&shelf->room) >= units;
    if (put) {
        jm_add_owned(&shelf->room, 0 - units);
        jm_chain_push(&shelf->blocks[jm_stretch_order(block->charge)], block);
    }
    jm_lock_drop(&shelf->lock);
    return put;
}

bool jm_shelf_add_room(const struct jm_block *block)
{
    struct shelf *shelf = own();
    uint32_t units = units_of(block);
    if (!has_place(block)) {
        return false;
    }
    jm_lock_take(&shelf->lock);
    bool added = jm_load_relaxed(&shelf->share) + units <= JM_SHELF_BYTES >> JM_UNIT_BITS;
    if (added) {
        jm_add_owned(&shelf->share, units);
        jm_add_owned(&shelf->room, units);
    }
    jm_lock_drop(&shelf->lock);
    return added;
}

/* Moves the blocks of a shelf to a chain. Returns the units that it had room for. */
static size_t clear(struct shelf *shelf, struct jm_block **chain)
{
    jm_lock_take(&shelf->lock);
    for (int order = 0; order < ORDERS; order++) {
        (void)jm_chain_move(&shelf->blocks[order], chain, SIZE_MAX);
    }
    size_t room = jm_load_relaxed(&shelf->room);
    jm_store_relaxed(&shelf->share, 0);
    jm_store_relaxed(&shelf->room, 0);
    jm_lock_drop(&shelf->lock);
    return room;
}

size_t jm_shelf_clear_all(struct jm_block **chain)
{
    size_t units = 0;
    for (int i = 0; i < JM_SHELVES; i++) {
        if (jm_load_relaxed(&shelves[i].share) != 0) {
            units += clear(&shelves[i], chain);
        }
    }
    return units << JM_UNIT_BITS;
}

size_t jm_shelf_rooms(void)
{
    size_t units = 0;
    for (int i = 0; i < JM_SHELVES; i++) {
        units += jm_load_relaxed(&shelves[i].room);
    }
    return units << JM_UNIT_BITS;
}

void jm_shelf_for_locks(jm_lock_step *step)
{
    for (int i = 0; i < JM_SHELVES; i++) {
        step(&shelves[i].lock);
    }
}
