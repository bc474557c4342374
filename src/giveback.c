/*
 * Layer 3: giving blocks back. A heap keeps one empty small block. All others go at the end of the free
 * that emptied them or, where that was inside the host's callback, or on the way to an object that an
 * event could lose, at the beginning of the next operation.
 */
#include "heap.h"
#include "reserve.h"
#include "sweep.h"

void jm_heap_note_empty(struct jm_heap *heap, struct jm_block *block)
{
    if (!jm_block_is_large(block) && !jm_block_turned_empty(block)) {
        return;
    }
    heap->emptied++;
    if (jm_block_is_large(block)) {
        block->next_empty = heap->empty_large;
        heap->empty_large = block;
        heap->untidy = true;
    } else if (heap->spare == NULL || heap->spare == block || jm_block_live(heap->spare) != 0) {
        heap->spare = block;
    } else {
        heap->untidy = heap->untidy_small = true;
    }
}

static struct jm_block *find_other_small(const struct jm_heap *heap, const struct jm_block *but)
{
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    return block == but ? jm_load_relaxed(&block->next) : block;
}

/* Takes a small block out of the arena, which moves out of it. */
static void abandon_small(struct jm_heap *heap, struct jm_block *block)
{
    heap->spare = heap->spare == block ? NULL : heap->spare;
    if (block == heap->home) {
        struct jm_block *other = find_other_small(heap, block);
        if (other == NULL) {
            jm_arena_retire_span(heap->arena);
            jm_heap_set_arena(heap, NULL, NULL);
            return;
        }
        jm_heap_set_arena(heap, jm_arena_move(heap->arena, other), other);
    }
    jm_arena_close_block(heap->arena);
}

/* Gives one empty small block back. False: the OS does not take it now. */
static bool release_small(struct jm_heap *heap, struct jm_block *block)
{
    abandon_small(heap, block);
    if (jm_block_release(&heap->supply, block, false)) {
        return true;
    }
    if (heap->arena == NULL) {
        jm_heap_set_arena(heap, jm_arena_create(&heap->supply, block), block);
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
        if (jm_block_live(block) == 0 && (kept == NULL || kept->charge < block->charge)) {
            kept = block;
        }
    }
    return kept;
}

bool jm_heap_leaves_empty(const struct jm_heap *heap, const void *pointer)
{
    const struct jm_block *spare = heap->spare;
    if (spare == NULL || !jm_block_unit_has_one(pointer) || jm_block_live(spare) != 0 ||
        jm_quota_in_callback(&heap->supply.quota) || jm_heap_usable(heap, pointer) == 0) {
        return false;
    }
    return jm_block_live(jm_block_of(pointer)) >> 32 == 1;
}

void jm_heap_release_spare(struct jm_heap *heap)
{
    if (!release_small(heap, heap->spare)) {
        heap->untidy = heap->untidy_small = true;
    }
}

/* Gives the empty small blocks back, but for one if `keep_one`. False: the OS did not take them all. The
 * host cannot change the list: inside its callback no block comes or goes. */
static bool release_all_small(struct jm_heap *heap, bool keep_one)
{
    bool all = true;
    struct jm_block *kept = keep_one ? find_kept(heap) : NULL;
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    heap->spare = kept;
    while (block != NULL) {
        struct jm_block *next = jm_load_relaxed(&block->next);
        if (block != kept && jm_block_live(block) == 0) {
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
    jm_heap_publish(heap);
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
    struct jm_census census = jm_sweep_census(&heap->supply);
    if (heap->arena == NULL || jm_sweep_live_word(&census) == heap->given_live) {
        return;
    }
    heap->given_live = jm_sweep_live_word(&census);
    size_t given = jm_sweep_and_give(heap->arena);
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
    jm_heap_set_arena(heap, NULL, NULL);
    heap->spare = heap->empty_large = heap->refused_large = NULL;
    struct jm_block *block;
    while ((block = jm_load_relaxed(&heap->supply.small)) != NULL ||
           (block = jm_load_relaxed(&heap->supply.large)) != NULL) {
        (void)jm_block_release(&heap->supply, block, true);
    }
}
