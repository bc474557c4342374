#include "arena.h"

struct jm_block jm_no_block;

#define EMPTY_LIST(granules) {NULL, JM_LIVE(granules)},
#define NO_BLOCKS_4 &jm_no_block, &jm_no_block, &jm_no_block, &jm_no_block
#define NO_BLOCKS_16 NO_BLOCKS_4, NO_BLOCKS_4, NO_BLOCKS_4, NO_BLOCKS_4
#define NO_BLOCKS_32 NO_BLOCKS_16, NO_BLOCKS_16
struct jm_arena jm_no_arena = {
    .free = {{NULL, 0}, JM_FOR_CLASSES(EMPTY_LIST)},
    .span = {&jm_no_block, 0, 0},
    .blocks = {NO_BLOCKS_32, NO_BLOCKS_32, NO_BLOCKS_32, NO_BLOCKS_32},
};
static_assert(JM_CACHE_UNITS == 128, "jm_no_arena lists every entry");

static struct jm_arena *arena_in(struct jm_block *block)
{
    return (struct jm_arena *)(void *)block->arena;
}

static void remember(struct jm_arena *arena, struct jm_block *from, struct jm_block *to)
{
    for (size_t offset = 0; offset < from->charge; offset += JM_UNIT) {
        struct jm_block **entry = &arena->blocks[jm_unit_slot((char *)from + offset)];
        if (to == from || *entry == from) {
            *entry = to;
        }
    }
}

struct jm_arena *jm_arena_create(struct jm_supply *supply, struct jm_block *block)
{
    struct jm_arena *arena = arena_in(block);
    *arena = jm_no_arena;
    arena->supply = supply;
    return arena;
}

struct jm_arena *jm_arena_move(const struct jm_arena *arena, struct jm_block *block)
{
    struct jm_arena *moved = arena_in(block);
    *moved = *arena;
    return moved;
}

struct jm_block *jm_arena_find(struct jm_arena *arena, const void *pointer, size_t *granule)
{
    struct jm_block *block;
    if (jm_arena_peek(arena, pointer, &block, granule)) {
        return block;
    }
    const struct jm_unit *unit = jm_pagemap_unit(pointer);
    if (unit == NULL || arena->supply == NULL || jm_load_relaxed(&unit->owner) != arena->supply) {
        return NULL;
    }
    /* Our own blocks are ours to read: nobody else unregisters them. */
    block = jm_load_relaxed(&unit->block);
    *granule = jm_granule_of(block, pointer);
    if (*granule >= block->granules) {
        return NULL;
    }
    arena->blocks[jm_unit_slot(pointer)] = block;
    return block;
}

void *jm_arena_pop_found(struct jm_arena *arena, unsigned code)
{
    struct jm_link *link = arena->free[code].first;
    size_t granule;
    if (link == NULL) {
        return NULL;
    }
    struct jm_block *block = jm_arena_find(arena, link, &granule);
    if (block != NULL && jm_load_relaxed(&block->map[granule]) == code + JM_FREE) {
        return jm_arena_pop(arena, code);
    }
    arena->free[code].first = NULL; /* what followed is still in the map */
    arena->broken = true;
    return NULL;
}

void jm_arena_clear_lists(struct jm_arena *arena)
{
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        arena->free[code].first = NULL;
    }
}

void *jm_arena_cut(struct jm_arena *arena, unsigned code)
{
    struct jm_span *span = &arena->span;
    uint32_t granules = jm_class_granules[code];
    if (span->end - span->next < granules) {
        return NULL;
    }
    struct jm_block *block = span->block;
    uint32_t granule = span->next;
    span->next += granules;
    jm_store_relaxed(&block->map[granule], (uint8_t)code);
    jm_add_owned(&block->taken, jm_class_live(code));
    return jm_granule_address(block, granule);
}

void jm_arena_retire_span(struct jm_arena *arena)
{
    struct jm_span span = arena->span;
    if (span.block == &jm_no_block) {
        return;
    }
    arena->span = (struct jm_span){&jm_no_block, 0, 0};
    if (span.block->touched < span.next) {
        span.block->touched = span.next;
    }
    if (span.end == span.block->granules) {
        span.block->carved = span.next;
    } else {
        jm_arena_free_run(arena, span.block, span.next, span.end);
    }
}

void jm_arena_free_run(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end)
{
    while (start < end) {
        unsigned code = jm_class_within(end - start);
        struct jm_link *link = jm_granule_address(block, start);
        link->next = arena->free[code].first;
        arena->free[code].first = link;
        jm_store_relaxed(&block->map[start], (uint8_t)(code + JM_FREE));
        start += jm_class_granules[code];
    }
}

/* Makes the smallest larger free object the span. */
static bool span_from_free(struct jm_arena *arena, unsigned code)
{
    for (unsigned larger = code + 1; larger <= JM_CLASSES; larger++) {
        if (arena->free[larger].first == NULL) {
            continue;
        }
        void *object = jm_arena_pop(arena, larger);
        if (object == NULL) {
            object = jm_arena_pop_found(arena, larger);
        }
        if (object != NULL) {
            size_t granule;
            struct jm_block *block = jm_arena_find(arena, object, &granule);
            jm_store_relaxed(&block->map[granule], 0);
            jm_add_owned(&block->freed, jm_class_live(larger));
            uint32_t start = (uint32_t)granule;
            arena->span = (struct jm_span){block, start, start + jm_class_granules[larger]};
            return true;
        }
    }
    return false;
}

/* Makes what lies behind some block's objects the span. */
static bool span_from_rest(struct jm_arena *arena, unsigned code)
{
    struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        uint32_t granules = (uint32_t)block->granules;
        if (granules - block->carved >= jm_class_granules[code]) {
            arena->span = (struct jm_span){block, block->carved, granules};
            block->carved = granules;
            return true;
        }
    }
    return false;
}

bool jm_arena_choose_span(struct jm_arena *arena, unsigned code)
{
    jm_arena_retire_span(arena);
    return span_from_free(arena, code) || span_from_rest(arena, code);
}

void jm_arena_open_block(struct jm_arena *arena, struct jm_block *block)
{
    jm_arena_retire_span(arena);
    uint32_t first = (uint32_t)jm_first_granule(block->charge);
    uint32_t granules = (uint32_t)block->granules;
    block->touched = block->touched < first ? first : block->touched;
    block->carved = granules;
    arena->span = (struct jm_span){block, first, granules};
    remember(arena, block, block);
}

void jm_arena_close_block(struct jm_arena *arena, struct jm_block *block)
{
    jm_arena_retire_span(arena);
    remember(arena, block, &jm_no_block);
}

void jm_arena_split(struct jm_arena *arena, struct jm_block *block, size_t start, unsigned old,
                    size_t granule, unsigned code)
{
    size_t end = start + jm_class_granules[old];
    jm_store_relaxed(&block->map[start], 0);
    jm_store_relaxed(&block->map[granule], (uint8_t)code);
    jm_add_owned(&block->taken, jm_class_live(code) - jm_class_live(old));
    jm_arena_free_run(arena, block, start, granule);
    jm_arena_free_run(arena, block, granule + jm_class_granules[code], end);
}

bool jm_arena_extend(struct jm_arena *arena, struct jm_block *block, size_t granule, unsigned old,
                     unsigned code)
{
    struct jm_span *span = &arena->span;
    uint32_t more = (uint32_t)(jm_class_granules[code] - jm_class_granules[old]);
    if (span->block != block || granule + jm_class_granules[old] != span->next ||
        span->end - span->next < more) {
        return false;
    }
    span->next += more;
    jm_store_relaxed(&block->map[granule], (uint8_t)code);
    jm_add_owned(&block->taken, jm_class_live(code) - jm_class_live(old));
    return true;
}
