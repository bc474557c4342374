/*
 * Layer 3: giving blocks back. A heap keeps one empty small block; all others go at once, or, where they
 * became empty inside the host's callback, when the operation that it was called from ends.
 */
#include "heap.h"
#include "reserve.h"

void jm_heap_note_empty(struct jm_heap *heap, struct jm_block *block)
{
    heap->emptied++;
    if (heap->spare == NULL || heap->spare == block || jm_block_live(heap->spare) != 0) {
        heap->spare = block;
    } else {
        heap->untidy = true;
    }
}

static bool is_empty(const struct jm_block *block)
{
    if (jm_block_is_large(block)) {
        return jm_load_relaxed(&block->state) == JM_LARGE_NONE;
    }
    return jm_block_live(block) == 0;
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
    struct jm_block *other = find_other_small(heap, block);
    if (other == NULL) {
        jm_arena_retire_span(heap->arena);
        jm_heap_set_arena(heap, NULL, NULL);
        return;
    }
    jm_arena_close_block(heap->arena, block);
    if (block == heap->home) {
        jm_heap_set_arena(heap, jm_arena_move(heap->arena, other), other);
    }
}

/* Gives one empty block back. False: the OS does not take it now. */
static bool release_empty(struct jm_heap *heap, struct jm_block *block)
{
    bool small = !jm_block_is_large(block);
    if (small) {
        abandon_small(heap, block);
    }
    if (jm_block_release(&heap->supply, block, false)) {
        return true;
    }
    if (small) {
        if (heap->arena == NULL) {
            jm_heap_set_arena(heap, jm_arena_create(&heap->supply, block), block);
        }
        heap->arena->broken = true; /* its objects are in no list */
    }
    return false;
}

/* The empty small block to keep: the largest. */
static struct jm_block *find_kept(const struct jm_heap *heap)
{
    struct jm_block *kept = NULL;
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        if (is_empty(block) && (kept == NULL || kept->charge < block->charge)) {
            kept = block;
        }
    }
    return kept;
}

/* Gives a list's empty blocks back, but for `kept`. False: the OS did not take them all. The host cannot
 * change the list: inside its callback no block comes or goes. */
static bool release_list(struct jm_heap *heap, struct jm_block *block, const struct jm_block *kept)
{
    bool all = true;
    while (block != NULL) {
        struct jm_block *next = jm_load_relaxed(&block->next);
        if (block != kept && is_empty(block)) {
            all = release_empty(heap, block) && all;
        }
        block = next;
    }
    return all;
}

/* Until nothing more becomes empty: the host may free inside its callback. */
static void release_empties(struct jm_heap *heap, bool keep_one)
{
    uint32_t emptied;
    bool all;
    heap->untidy = true; /* should the host leave its callback by a jump */
    do {
        emptied = heap->emptied;
        struct jm_block *kept = keep_one ? find_kept(heap) : NULL;
        heap->spare = kept;
        all = release_list(heap, jm_load_relaxed(&heap->supply.small), kept);
        all = release_list(heap, jm_load_relaxed(&heap->supply.large), kept) && all;
    } while (heap->emptied != emptied);
    heap->untidy = !all;
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

void jm_heap_collect(struct jm_heap *heap)
{
    (void)jm_heap_drain(heap);
    release_empties(heap, false);
    jm_reserve_settle();
}

void jm_heap_release_all(struct jm_heap *heap)
{
    if (heap->arena != NULL) {
        jm_arena_retire_span(heap->arena);
    }
    jm_heap_set_arena(heap, NULL, NULL);
    heap->spare = NULL;
    struct jm_block *block;
    while ((block = jm_load_relaxed(&heap->supply.small)) != NULL ||
           (block = jm_load_relaxed(&heap->supply.large)) != NULL) {
        (void)jm_block_release(&heap->supply, block, true);
    }
}
