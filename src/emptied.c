#include "emptied.h"

/* Any other small block, at random: to move the arena takes a step for each block, and whichever
 * order blocks become empty in, the arena is rarely in the next one. NULL if there is none. */
static struct jm_block *draw_other_small(const struct jm_heap *heap, const struct jm_block *but)
{
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    struct jm_block *other = NULL;
    for (size_t count = 1; block != NULL; block = jm_load_relaxed(&block->next)) {
        if (block != but && jm_arena_draw(heap->arena, count++) == 0) {
            other = block;
        }
    }
    return other;
}

/* Retires the span, and moves an arena that lies in a block to another block; without another, the
 * heap has no arena. */
static void leave_arena(struct jm_heap *heap, struct jm_block *block)
{
    if (block == jm_arena_home(heap->arena)) {
        struct jm_block *other = draw_other_small(heap, block);
        if (other == NULL) {
            jm_arena_retire_span(heap->arena);
            jm_heap_set_arena(heap, NULL);
            return;
        }
        jm_heap_set_arena(heap, jm_arena_move(heap->arena, other));
    }
    jm_arena_retire_span(heap->arena);
}

/* While a block's objects are taken off the lists, this many objects of other blocks may be passed:
 * this part of the block's granules, and some. None are passed unless there can be no new block:
 * only then is a broken list costly, as it has all blocks swept. */
#define PASSED_DIVISOR 32
#define PASSED_LEAST 16

/* True if a link leads to a free object of class `code`. */
static bool is_free(struct jm_arena *arena, const struct jm_link *link, unsigned code)
{
    const jm_state *state = link == NULL ? NULL : jm_arena_find(arena, link);
    return state != NULL && jm_load_relaxed(state) == code + JM_FREE;
}

/* Takes a block's objects off a list, at most `*inside` of them, and passes at most `*passed`
 * objects of other blocks. Ends at a link that leads to no free object of the class. */
static void drop_from_list(struct jm_arena *arena, unsigned code, const struct jm_block *block,
                           size_t *inside, size_t *passed)
{
    struct jm_link *before = &arena->free[code];
    struct jm_link *link = before->next;
    while (is_free(arena, link, code)) {
        struct jm_link *next = jm_link_next(link);
        bool is_inside = jm_granule_of(block, link) < block->granules;
        size_t *left = is_inside ? inside : passed;
        if (*left == 0) {
            return;
        }
        --*left;
        if (is_inside) {
            jm_link_set(before, next);
        } else {
            before = link;
        }
        link = next;
    }
}

/* Unlists the objects of a block that is to go. After usage has risen and fallen they are at the
 * heads of the lists or not far behind. A list in which some remain is broken. Each link was put
 * there by a free, or is part of a cycle that the tenant made. */
static void drop_links(struct jm_heap *heap, const struct jm_block *block)
{
    size_t inside = block->granules;
    size_t passed = jm_heap_is_short(heap) ? block->granules / PASSED_DIVISOR + PASSED_LEAST : 0;
    jm_arena_list_last(heap->arena);
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        drop_from_list(heap->arena, code, block, &inside, &passed);
    }
}

/* The difference, or 0 if there are more granules than the count. */
static uint32_t subtract(uint32_t count, uint32_t granules)
{
    return count - (granules < count ? granules : count);
}

/* Takes a block's granules out of the counts that make a sweep due: it would find nothing in the
 * other blocks. */
static void forget_cut(struct jm_arena *arena, const struct jm_block *block)
{
    uint32_t granules = (uint32_t)block->granules - block->first_granule;
    arena->since_sweep = subtract(arena->since_sweep, granules);
    arena->swept_objects = subtract(arena->swept_objects, granules);
    arena->due_at = subtract(arena->due_at, granules);
}

/* Takes a block's free objects off the lists, as far as drop_links does. */
static void unlist_objects(struct jm_heap *heap, const struct jm_block *block)
{
    if (block->carved != block->first_granule) {
        drop_links(heap, block);
        forget_cut(heap->arena, block);
    }
}

/* A map is cleared object by object for the first granules / CLEAR_DIVISOR objects at most, and
 * from there on as a whole. */
#define CLEAR_DIVISOR 1024

/* Clears the map of an empty block without holes, so that all of the block can become its rest. To
 * find it empty again takes no look at the map then, and its next tenant need not clear it. */
static void clear_map(struct jm_block *block)
{
    size_t granule = block->first_granule;
    size_t steps = block->granules / CLEAR_DIVISOR;
    size_t granules;
    for (; granule < block->carved && steps > 0; granule += granules, steps--) {
        granules = jm_state_granules[jm_load_relaxed(&block->map[granule])];
        if (granules == 0) { /* it is unlisted */
            break;
        }
        jm_store_relaxed(&block->map[granule], 0);
    }
    jm_zero_bytes(&block->map[granule], block->carved - granule); /* if there were many */
    block->unlisted = block->left_free = 0;
}

#define FEW_OBJECTS 4

/* pre: the span lies in another block. */
static bool has_few_objects(const struct jm_arena *arena, const struct jm_block *block)
{
    size_t granule = block->first_granule;
    for (unsigned steps = FEW_OBJECTS; granule < block->carved && steps > 0; steps--) {
        granule = jm_arena_end_at(arena, block, granule);
    }
    return granule >= block->carved;
}

void jm_emptied_remove(struct jm_heap *heap, struct jm_block *block)
{
    leave_arena(heap, block);
    if (heap->arena != NULL) {
        unlist_objects(heap, block);
    }
    if (!jm_block_has_holes(block)) {
        clear_map(block);
        block->carved = block->first_granule;
    }
}

/* Few objects are left alone: it takes no time to see that none lives, and the next object takes
 * the place of the last one, not the place behind it. */
void jm_emptied_clear(struct jm_heap *heap, struct jm_block *block)
{
    if (block != heap->arena->span.block && !jm_block_has_holes(block) &&
        !has_few_objects(heap->arena, block)) {
        unlist_objects(heap, block);
        clear_map(block);
        jm_arena_uncarve(heap->arena, block, block->first_granule);
    }
}
