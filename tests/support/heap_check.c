#include "heap_check.h"

#include "../../src/heap.h"

#include "poke.h"

struct check {
    const struct jm_heap *heap;
    unsigned parts;
    struct heap_walk walk;
    size_t free[JM_CLASSES + 1]; /* free objects by class code, according to the maps */
    struct jm_live live;         /* without queued objects */
    size_t queued_bytes;         /* in large blocks */
    size_t long_rests;           /* blocks whose rest is longer than the second one */
};

static bool map_is_clear(const struct jm_block *block, size_t start, size_t end)
{
    for (size_t granule = start; granule < end; granule++) {
        if (jm_load_relaxed(&block->map[granule]) != 0) {
            return false;
        }
    }
    return true;
}

/* The span's part of a block; empty if the span lies elsewhere. */
struct stretch {
    size_t start, end;
};

static struct stretch span_in(const struct jm_heap *heap, const struct jm_block *block)
{
    const struct jm_span *span = &heap->arena->span;
    if (span->block != block || span->next == span->end) {
        return (struct stretch){JM_NO_GRANULE, JM_NO_GRANULE};
    }
    return (struct stretch){jm_granule_of(block, span->next), jm_granule_of(block, span->end)};
}

static bool is_in_doubt(const struct jm_heap *heap, const struct jm_block *wanted)
{
    size_t most = jm_load_relaxed(&heap->supply.block_count);
    const struct jm_block *block = heap->arena->doubtful;
    for (size_t i = 0; block != NULL && block != wanted && i < most; i++) {
        block = block->chain_next;
    }
    return block == wanted;
}

/* The objects of one block while it is walked. */
struct tiles {
    size_t held;          /* objects, live or queued */
    uint64_t segments;    /* segments that hold queued objects */
    size_t free_granules; /* of the free object that ends here; 0 if none */
    size_t witnesses;
    size_t hole_granules; /* of the holes that end here; 0 if none */
};

static const char *check_object(struct check *check, const struct jm_block *block, size_t granule,
                                struct tiles *tiles)
{
    unsigned state = jm_load_relaxed(&block->map[granule]);
    unsigned code = jm_arena_class_at(check->heap->arena, block, granule);
    if (state == 0) {
        return "a granule below `carved` belongs to no object";
    }
    bool is_witness = block->has_witness && block->witness == granule;
    if (jm_is_witness(state) ? !is_witness : is_witness && !jm_is_queued(state)) {
        return "the witness is another one than the header says";
    }
    tiles->witnesses += is_witness;
    size_t granules = jm_class_granules[code];
    if (granules > block->carved - granule) {
        return "an object reaches beyond `carved`";
    }
    if (!map_is_clear(block, granule + 1, granule + granules)) {
        return "an object starts inside another one";
    }
    if (jm_is_free(state)) {
        check->free[code]++;
        check->walk.free_objects++;
        check->walk.free_bytes += granules << JM_GRANULE_BITS;
        size_t before = tiles->free_granules;
        bool pair = before != 0 && jm_class_granules[jm_class_within(before + granules)] > before;
        check->walk.free_pairs += pair;
        tiles->free_granules = granules;
        return NULL;
    }
    tiles->free_granules = 0;
    check->walk.live_objects++;
    check->walk.live_bytes += granules << JM_GRANULE_BITS;
    tiles->held++;
    if (jm_is_queued(state)) {
        check->walk.queued_objects++;
        tiles->segments |= (uint64_t)1 << (granule >> block->segment_bits);
    } else {
        check->live.bytes += granules << JM_GRANULE_BITS;
        check->live.objects++;
    }
    return NULL;
}

/* An unlisted run has no class: all of it counts as one free object. */
static const char *check_unlisted(struct check *check, const struct jm_block *block,
                                  size_t granules, struct tiles *tiles)
{
    if (granules > block->unlisted || block->unlisted > check->heap->arena->longest_unlisted) {
        return "more is in no list than the block says, or the arena";
    }
    check->walk.free_objects++;
    check->walk.free_bytes += granules << JM_GRANULE_BITS;
    check->walk.free_pairs += tiles->free_granules != 0;
    tiles->free_granules = granules;
    return NULL;
}

/* carved - first granule == live + free + queued + holes + span, granule by granule. */
static const char *check_tiles(struct check *check, const struct jm_block *block)
{
    struct stretch span = span_in(check->heap, block);
    struct tiles tiles = {0};
    size_t first = block->first_granule;
    size_t granule = first;
    size_t holes = 0;
    bool span_seen = span.start == JM_NO_GRANULE;
    while (granule < block->carved) {
        if (granule == span.start) {
            span_seen = true;
            tiles.free_granules = tiles.hole_granules = 0;
            if (span.end > block->carved || !map_is_clear(block, span.start, span.end)) {
                return "the span is not what it should be";
            }
            granule = span.end;
            continue;
        }
        size_t page = jm_os_page_size() >> JM_GRANULE_BITS;
        if (jm_load_relaxed(&block->map[granule]) == JM_HOLE) {
            size_t end = jm_arena_end_at(check->heap->arena, block, granule);
            tiles.free_granules = 0;
            if (granule % page != 0 || end % page != 0) {
                return "a hole is no page";
            }
            tiles.hole_granules += end - granule;
            if (tiles.hole_granules > check->heap->arena->longest_hole) {
                return "a hole is longer than the arena says";
            }
            holes += (end - granule) << JM_GRANULE_BITS;
            granule = end;
            continue;
        }
        tiles.hole_granules = 0;
        if (jm_load_relaxed(&block->map[granule]) == JM_UNLISTED) {
            size_t end = jm_arena_end_at(check->heap->arena, block, granule);
            const char *fault = check_unlisted(check, block, end - granule, &tiles);
            if (fault != NULL) {
                return fault;
            }
            granule = end;
            continue;
        }
        const char *fault = check_object(check, block, granule, &tiles);
        if (fault != NULL) {
            return fault;
        }
        granule += jm_class_granules[jm_arena_class_at(check->heap->arena, block, granule)];
    }
    if (!span_seen) {
        return "the span does not start where an object ends";
    }
    bool has_span = check->heap->arena->span.block == block;
    if (!has_span && block->touched < block->carved) {
        return "an object lies where nothing was touched";
    }
    if (block->charge + holes != jm_block_size(block)) {
        return "a block is charged for more or less than what it has";
    }
    if (!map_is_clear(block, 0, first) || !map_is_clear(block, block->carved, block->granules)) {
        return "the map knows objects where none can be";
    }
    if (tiles.witnesses != block->has_witness) {
        return "there is no witness where the header says";
    }
    if (block->has_witness == is_in_doubt(check->heap, block)) {
        return "a block without a witness is not in doubt, or one that has one is";
    }
    check->walk.empty_small += tiles.held == 0;
    if ((tiles.segments & ~jm_load_relaxed(&block->queued)) != 0 ||
        (tiles.segments != 0 && (jm_load_relaxed(&check->heap->queued) & JM_TAKE_IN_SMALL) == 0)) {
        return "a queued object is marked in the map only";
    }
    return NULL;
}

/* If the span ends where its block does, used up or not, all memory before it was handed out. */
static const char *check_untouched(const struct check *check, const struct jm_block *block)
{
    const struct jm_span *span = &check->heap->arena->span;
    bool is_last = span->block == block && jm_granule_of(block, span->end) == block->granules;
    size_t start = is_last ? jm_granule_of(block, span->next) : 0;
    if (start < block->touched) {
        start = block->touched;
    }
    const char *bytes = jm_granule_address(block, start);
    size_t size = start < block->granules ? (block->granules - start) << JM_GRANULE_BITS : 0;
    if (!peek_is_zero(bytes, size)) {
        return "memory that counts as untouched is not zero";
    }
    return NULL;
}

static const char *check_small(struct check *check, const struct jm_block *block)
{
    check->walk.small_blocks++;
    size_t metadata = (size_t)block->first_granule << JM_GRANULE_BITS;
    bool apart = jm_region_holds(block->start);
    if (apart ? metadata != 0 || block != jm_region_head_of(block->start) ||
                    block->map != jm_region_state_of(block->start)
              : metadata < block->charge >> JM_GRANULE_BITS || metadata % JM_METADATA_STEP != 0 ||
                    (const void *)block->map != (const void *)block->start) {
        return "the metadata do not lie where they should";
    }
    if (!jm_is_power_of_two(jm_block_size(block)) || (uintptr_t)block->start % JM_UNIT != 0) {
        return "a small block's size or place";
    }
    if (block->carved > block->granules || block->carved < block->first_granule) {
        return "a small block's bounds";
    }
    if (check->heap->arena != NULL &&
        block->granules - block->carved > check->heap->arena->longest_rest) {
        return "a block has more behind its objects than the arena says";
    }
    check->long_rests += check->heap->arena != NULL &&
                         block->granules - block->carved > check->heap->arena->second_rest;
    for (size_t offset = 0; offset < jm_block_size(block); offset += JM_UNIT) {
        const jm_token *token = jm_pagemap_token(block->start + offset);
        if (token == NULL || jm_load_relaxed(token) != check->heap->arena ||
            jm_pagemap_block(block->start + offset) != block) {
            return "a small block is not registered";
        }
    }
    if (block->owner != &check->heap->supply) {
        return "a small block has another owner";
    }
    if (check->heap->arena == NULL) {
        return "a small block without an arena";
    }
    const char *fault = check_tiles(check, block);
    if (fault == NULL && (check->parts & HEAP_UNTOUCHED) != 0) {
        fault = check_untouched(check, block);
    }
    return fault;
}

static const char *check_large(struct check *check, const struct jm_block *block)
{
    unsigned state = jm_load_relaxed(&block->state);
    size_t usable = jm_load_relaxed(&block->bytes);
    const jm_token *token = jm_pagemap_token(block->start);
    check->walk.large_blocks++;
    if (state != JM_LARGE_NONE) {
        check->walk.live_objects++;
        check->walk.live_bytes += jm_large_usable(block);
        check->walk.queued_objects += state == JM_LARGE_QUEUED;
    }
    if (state == JM_LARGE_LIVE) {
        check->live.bytes += jm_large_usable(block);
        check->live.objects++;
    }
    check->walk.empty_large += state == JM_LARGE_NONE;
    check->queued_bytes += state == JM_LARGE_QUEUED ? usable : 0;
    if (state > JM_LARGE_QUEUED || block->charge != usable) {
        return "a large block's state or size";
    }
    if (token == NULL || jm_load_relaxed(token) != &check->heap->supply ||
        jm_pagemap_block(block->start) != block || block->owner != &check->heap->supply) {
        return "a large block is not registered";
    }
    return NULL;
}

static const char *check_region(const struct jm_block *block)
{
    uintptr_t region = (uintptr_t)block->extent.address;
    uintptr_t start = (uintptr_t)block->start;
    bool inside = region <= start && start - region <= block->extent.size &&
                  block->charge <= block->extent.size - (start - region);
    return inside ? NULL : "a block lies outside of its region";
}

static const char *check_block(struct check *check, const struct jm_block *block)
{
    const char *fault = check_region(block);
    check->walk.charge += block->charge;
    if (fault != NULL) {
        return fault;
    }
    return jm_block_is_large(block) ? check_large(check, block) : check_small(check, block);
}

/* Checks one of the supply's lists. `found` counts its blocks. */
static const char *check_list(struct check *check, const struct jm_block *first, bool large,
                              size_t *found)
{
    const struct jm_block *previous = NULL;
    size_t count = jm_load_relaxed(&check->heap->supply.block_count);
    for (const struct jm_block *block = first; block != NULL;
         previous = block, block = jm_load_relaxed(&block->next)) {
        if (block->previous != previous || ++*found > count || jm_block_is_large(block) != large) {
            return "the blocks are not linked as they should be";
        }
        const char *fault = check_block(check, block);
        if (fault != NULL) {
            return fault;
        }
    }
    return NULL;
}

static const char *check_blocks(struct check *check)
{
    const struct jm_supply *supply = &check->heap->supply;
    size_t found = 0;
    const char *fault = check_list(check, jm_load_relaxed(&supply->small), false, &found);
    if (fault == NULL) {
        fault = check_list(check, jm_load_relaxed(&supply->large), true, &found);
    }
    if (fault != NULL) {
        return fault;
    }
    struct jm_live live = jm_heap_live_any(check->heap);
    if (live.bytes != check->live.bytes || live.objects != check->live.objects) {
        return "what counts as live is not what the maps say";
    }
    if (check->queued_bytes > jm_load_relaxed(&check->heap->queued_pages) * JM_PAGE) {
        return "a queued large object is marked in its block only";
    }
    if (found != jm_load_relaxed(&supply->block_count)) {
        return "the count of blocks is not what the lists say";
    }
    if (jm_load_relaxed(&supply->quota.charging) % 2 != 0) {
        return "a charge has no end";
    }
    if (check->walk.charge != jm_load_relaxed(&supply->quota.usage)) {
        return "the usage is not the sum of the blocks";
    }
    return NULL;
}

static bool is_empty_large(const struct jm_block *block)
{
    return jm_block_is_large(block) && jm_load_relaxed(&block->state) == JM_LARGE_NONE;
}

/* The number of blocks in a chain; SIZE_MAX if one holds an object. */
static size_t count_empty(const struct jm_block *block, size_t most)
{
    size_t count = 0;
    for (; block != NULL && count <= most; block = block->chain_next, count++) {
        if (!is_empty_large(block)) {
            return SIZE_MAX;
        }
    }
    return count;
}

static size_t count_circle(const struct jm_block *last, size_t most)
{
    size_t count = 0;
    const struct jm_block *block = last;
    while (block != NULL && count <= most) {
        if (!is_empty_large(block)) {
            return SIZE_MAX;
        }
        count++;
        block = block->chain_next == last ? NULL : block->chain_next;
    }
    return count;
}

/* Each large block without an object waits in one of two lists. If any does, or if more than one
 * small block is empty, the heap must be untidy, so that they are looked for. */
static const char *check_empties(const struct check *check)
{
    const struct jm_heap *heap = check->heap;
    size_t most = check->walk.large_blocks;
    size_t waiting = count_empty(heap->empty_large, most);
    size_t refused = count_circle(heap->refused_large, most);
    if (waiting > most || refused > most || waiting + refused != check->walk.empty_large) {
        return "the lists of empty large blocks are not what the blocks say";
    }
    if (check->walk.empty_large != 0 && !heap->untidy) {
        return "empty large blocks that nobody looks for";
    }
    return check->walk.empty_small <= 1 || heap->untidy
               ? NULL
               : "empty small blocks that nobody looks for";
}

static bool is_own_small(const struct check *check, const struct jm_block *wanted)
{
    const struct jm_block *block = jm_load_relaxed(&check->heap->supply.small);
    while (block != NULL && block != wanted) {
        block = jm_load_relaxed(&block->next);
    }
    return block != NULL;
}

static const char *check_arena(const struct check *check)
{
    const struct jm_heap *heap = check->heap;
    const struct jm_arena *arena = heap->arena;
    if (arena == NULL) {
        return heap->supply.small_token == NULL ? NULL : "a token without an arena";
    }
    if (!is_own_small(check, jm_arena_home(arena))) {
        return "the arena lies in none of the heap's blocks";
    }
    size_t count = 0;
    for (const struct jm_block *block = arena->doubtful; block != NULL; block = block->chain_next) {
        if (!is_own_small(check, block) || count++ > check->walk.small_blocks) {
            return "a block in doubt is none of the heap's, or twice";
        }
    }
    if (arena->supply != &heap->supply) {
        return "the arena has another supply";
    }
    if (check->long_rests > 1) {
        return "two blocks have more behind their objects than the arena says";
    }
    return heap->supply.small_token == arena ? NULL : "new blocks would have another token";
}

/* True if a link is a free object of class `code`. */
static bool is_listed_rightly(const struct check *check, const struct jm_link *link, unsigned code)
{
    const struct jm_block *block = jm_pagemap_block(link);
    if (block == NULL || block->owner != &check->heap->supply) {
        return false;
    }
    size_t granule = jm_granule_of(block, link);
    return granule < block->granules &&
           jm_load_relaxed(&block->map[granule]) == (uint8_t)(code + JM_FREE);
}

/* The object that was freed last, if any, is a free object of the class that it is noted with. */
static const char *check_last(const struct check *check, const struct jm_arena *arena)
{
    size_t code = (size_t)(arena->last.list - arena->free);
    if (arena->last.object == &arena->free[0]) {
        return code == 0 ? NULL : "nothing was freed last, and has a list";
    }
    bool is_right = code >= 1 && code <= JM_CLASSES &&
                    is_listed_rightly(check, arena->last.object, (unsigned)code);
    return is_right ? NULL : "what was freed last is no free object of its class";
}

/* A link into a block that was given back ends its list: the objects behind it are in the map only.
 * If another block took its place, the link may lead back into the list. */
static const char *check_lists(struct check *check)
{
    const struct jm_arena *arena = check->heap->arena;
    bool given_back = jm_load_relaxed(&check->heap->supply.quota.events[JM_EVENT_FREE]) != 0;
    const char *fault = arena == NULL ? NULL : check_last(check, arena);
    if (fault != NULL) {
        return fault;
    }
    for (unsigned code = 1; arena != NULL && code <= JM_CLASSES; code++) {
        size_t found = arena->last.list == &arena->free[code]; /* the last one is in no list */
        const struct jm_link *link = arena->free[code].next;
        for (; link != NULL && is_listed_rightly(check, link, code); link = jm_link_next(link)) {
            if (++found > check->free[code]) {
                break;
            }
        }
        if (found > check->free[code] && !given_back) {
            return "a list leads in a ring";
        }
        check->walk.cut_lists += link != NULL;
        if (found != check->free[code] && link == NULL && !arena->broken) {
            return "a free object is in no list";
        }
    }
    return NULL;
}

const char *heap_check(const struct jm_heap *heap, unsigned parts, struct heap_walk *walk)
{
    struct check check = {.heap = heap, .parts = parts};
    const char *fault = check_blocks(&check);
    if (fault == NULL) {
        fault = check_arena(&check);
    }
    if (fault == NULL) {
        fault = check_empties(&check);
    }
    if (fault == NULL && (heap->arena == NULL) != (check.walk.small_blocks == 0)) {
        fault = "an arena without small blocks";
    }
    if (fault == NULL && (parts & HEAP_LISTS) != 0) {
        fault = check_lists(&check);
    }
    if (walk != NULL) {
        *walk = check.walk;
    }
    return fault;
}
