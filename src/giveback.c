/*
 * Layer 3: giving blocks back. A large block goes when its object does. Whether a small block is empty, its
 * map tells, but to ask takes time; so the heap looks for such blocks when less is live than the arena's mark:
 *
 *      mark == min(half of what small blocks hold, live - an eighth of it)     in granules, at least 1
 *      mark == 0                                                               where there is one block only
 *
 * `live` is what was live at the last look or, where blocks came since, after the last one came. So a heap of
 * which half is in use is left alone, and one that shrinks is looked at eight times on its way.
 *
 * One empty small block is kept. The others go at the end of the free that passed the mark or, where that
 * was inside the host's callback, or on the way to an object that an event could lose, at the beginning of
 * the next operation.
 */
#include "heap.h"
#include "reserve.h"
#include "sweep.h"

/* The next look comes after this part of what is held was freed, and a block of the usual size. */
#define LOOK_DIVISOR 8
#define LOOK_MIN ((size_t)64 << 10)

void jm_heap_note_empty(struct jm_heap *heap, struct jm_block *block)
{
    block->next_empty = heap->empty_large;
    heap->empty_large = block;
    heap->untidy = true;
}

/* A heap's mark, as it should be now. */
static uint64_t find_mark(const struct jm_heap *heap)
{
    const struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    if (jm_load_relaxed(&block->next) == NULL) {
        return 0;
    }
    size_t live = jm_live_bytes(jm_load_relaxed(&heap->arena->live));
    size_t held = jm_load_relaxed(&heap->supply.quota.usage) - jm_load_relaxed(&heap->large_bytes);
    size_t part = held / LOOK_DIVISOR < LOOK_MIN ? LOOK_MIN : held / LOOK_DIVISOR;
    size_t mark = live > part ? live - part : JM_GRANULE;
    mark = mark < held / 2 ? mark : held / 2;
    return (uint64_t)(mark >> JM_GRANULE_BITS) << 32;
}

void jm_heap_raise_mark(struct jm_heap *heap)
{
    uint64_t mark = find_mark(heap);
    if (mark > heap->arena->mark) {
        heap->arena->mark = mark;
    }
}

void jm_heap_look(struct jm_heap *heap)
{
    size_t empty = 0;
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        empty += jm_sweep_is_empty(block);
    }
    if (empty > 1) {
        heap->emptied++;
        heap->untidy = heap->untidy_small = true;
    }
    heap->arena->mark = find_mark(heap);
}

static struct jm_block *find_other_small(const struct jm_heap *heap, const struct jm_block *but)
{
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    return block == but ? jm_load_relaxed(&block->next) : block;
}

/* Takes a small block out of the arena, which moves out of it. */
static void abandon_small(struct jm_heap *heap, struct jm_block *block)
{
    if (block == jm_arena_home(heap->arena)) {
        struct jm_block *other = find_other_small(heap, block);
        if (other == NULL) {
            jm_arena_retire_span(heap->arena);
            jm_heap_set_arena(heap, NULL);
            return;
        }
        jm_heap_set_arena(heap, jm_arena_move(heap->arena, other));
    }
    jm_arena_retire_span(heap->arena);
}

/* Gives one empty small block back. False: the OS does not take it now. */
static bool release_small(struct jm_heap *heap, struct jm_block *block)
{
    abandon_small(heap, block);
    if (jm_block_release(&heap->supply, block, false)) {
        return true;
    }
    if (heap->arena == NULL) {
        jm_heap_set_arena(heap, jm_arena_create(&heap->supply, block));
    }
    heap->arena->broken = true; /* its objects are in no list */
    return false;
}

/* The empty small block to keep: the largest. */
static struct jm_block *find_kept(const struct jm_heap *heap)
{
    struct jm_block *kept = NULL;
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        if ((kept == NULL || kept->charge < block->charge) && jm_sweep_is_empty(block)) {
            kept = block;
        }
    }
    return kept;
}

/* Gives the empty small blocks back, but for one if `keep_one`. False: the OS did not take them all. The
 * host cannot change the list: inside its callback no block comes or goes. */
static bool release_all_small(struct jm_heap *heap, bool keep_one)
{
    bool all = true;
    struct jm_block *kept = keep_one ? find_kept(heap) : NULL;
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    while (block != NULL) {
        struct jm_block *next = jm_load_relaxed(&block->next);
        if (block != kept && jm_sweep_is_empty(block)) {
            all = release_small(heap, block) && all;
        }
        block = next;
    }
    return all;
}

/* Gives the empty large blocks back. False: the OS did not take them all; those are tried next time. */
static bool release_all_large(struct jm_heap *heap)
{
    struct jm_block *block;
    while ((block = heap->refused_large) != NULL) {
        heap->refused_large = block->next_empty;
        block->next_empty = heap->empty_large;
        heap->empty_large = block;
    }
    while ((block = heap->empty_large) != NULL) {
        heap->empty_large = block->next_empty;
        if (!jm_block_release(&heap->supply, block, false)) {
            block->next_empty = heap->refused_large;
            heap->refused_large = block;
        }
    }
    return heap->refused_large == NULL;
}

/* Until nothing more becomes empty: the host may free inside its callback. */
static void release_empties(struct jm_heap *heap, bool keep_one)
{
    uint32_t emptied;
    bool small = true;
    bool large;
    /* Should the host leave its callback by a jump. */
    heap->untidy = true;
    heap->untidy_small |= !keep_one;
    do {
        emptied = heap->emptied;
        if (heap->untidy_small) {
            small = release_all_small(heap, keep_one);
        }
        large = release_all_large(heap);
    } while (heap->emptied != emptied);
    heap->untidy_small = !small;
    heap->untidy = !(small && large);
}

void jm_heap_tidy(struct jm_heap *heap)
{
    if (heap->untidy && !jm_quota_in_callback(&heap->supply.quota)) {
        release_empties(heap, true);
    }
}

void jm_heap_make_room(struct jm_heap *heap, size_t bytes)
{
    bool fits = jm_quota_allows(&heap->supply.quota, bytes);
    if (!fits && !jm_quota_in_callback(&heap->supply.quota)) {
        jm_heap_collect(heap);
    }
}

/* Gives long runs of free pages back, if anything was freed or taken since the last time. */
static void give_runs(struct jm_heap *heap)
{
    struct jm_arena *arena = heap->arena;
    if (arena == NULL || arena->given == jm_load_relaxed(&arena->live)) {
        return;
    }
    arena->given = jm_load_relaxed(&arena->live);
    size_t given = jm_sweep_and_give(arena);
    if (given != 0) {
        jm_quota_refund(&heap->supply.quota, given);
    }
}

void jm_heap_collect(struct jm_heap *heap)
{
    (void)jm_heap_drain(heap);
    release_empties(heap, false);
    give_runs(heap);
    jm_reserve_settle();
}

void jm_heap_release_all(struct jm_heap *heap)
{
    if (heap->arena != NULL) {
        jm_arena_retire_span(heap->arena);
    }
    jm_heap_set_arena(heap, NULL);
    heap->empty_large = heap->refused_large = NULL;
    struct jm_block *block;
    while ((block = jm_load_relaxed(&heap->supply.small)) != NULL ||
           (block = jm_load_relaxed(&heap->supply.large)) != NULL) {
        (void)jm_block_release(&heap->supply, block, true);
    }
}
