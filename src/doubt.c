#include "doubt.h"

#include "chain.h"
#include "emptied.h"
#include "witness.h"

/* Looks at a block's new witness. */
static void note_witness(struct jm_heap *heap, const struct jm_block *block)
{
    if (jm_is_queued(jm_load_relaxed(&block->map[block->witness]))) {
        jm_heap_note_pinned(heap, block);
    }
}

/* True if a small block is not empty; it then has a witness. */
static bool ensure_witness(struct jm_heap *heap, struct jm_block *block)
{
    if (!block->has_witness && jm_witness_find(heap->arena, block)) {
        note_witness(heap, block);
    }
    return block->has_witness;
}

/* Pops blocks with a witness off a chain of blocks in doubt. Returns `chain`, which then is NULL or
 * begins with an empty block. */
static struct jm_block **pop_to_empty(struct jm_heap *heap, struct jm_block **chain)
{
    while (*chain != NULL && ensure_witness(heap, *chain)) {
        (void)jm_chain_pop(chain);
    }
    return chain;
}

/* True if blocks are in doubt besides the one that is kept if it is empty. */
static bool doubts_many(const struct jm_heap *heap)
{
    const struct jm_block *first = heap->arena == NULL ? NULL : heap->arena->doubtful;
    return first != NULL && first->chain_next != NULL;
}

bool jm_heap_doubt(struct jm_heap *heap, struct jm_block *block)
{
    struct jm_block **chain = &heap->arena->doubtful;
    if (!doubts_many(heap)) {
        chain = pop_to_empty(heap, chain);
    }
    jm_chain_push(chain, block);
    heap->doubted = true;
    if (!doubts_many(heap)) {
        return true;
    }
    heap->untidy = true;
    jm_heap_set_tidy_due(heap, true);
    return false;
}

void jm_heap_lose_witness(struct jm_heap *heap, struct jm_block *block)
{
    block->has_witness = false;
    if (!ensure_witness(heap, block) && !jm_heap_doubt(heap, block)) {
        /* In this order: the objects freed last, those of `block`, come first in the lists. */
        struct jm_block *other = *pop_to_empty(heap, &block->chain_next);
        jm_emptied_clear(heap, block);
        if (other != NULL) {
            jm_emptied_clear(heap, other);
        }
    }
}

bool jm_heap_leaves_empty(struct jm_heap *heap, const void *pointer)
{
    struct jm_arena *arena = heap->arena;
    bool is_inside = jm_quota_in_callback(&heap->supply.quota);
    if (arena == NULL || is_inside) { /* untested: a witness is moved inside, by chance */
        return false;
    }
    const jm_state *state = jm_arena_find(arena, pointer);
    if (state == NULL || !jm_is_witness(jm_load_relaxed(state))) {
        return false;
    }
    struct jm_block *block = jm_block_of(pointer);
    if (jm_witness_pass_on(arena, block)) {
        note_witness(heap, block);
        return false;
    }
    return *pop_to_empty(heap, &arena->doubtful) != NULL;
}

struct jm_block *jm_doubt_take(struct jm_heap *heap, bool keep_one)
{
    if (heap->arena == NULL || (keep_one && !doubts_many(heap))) {
        return NULL;
    }
    struct jm_block **place = pop_to_empty(heap, &heap->arena->doubtful);
    if (keep_one && *place != NULL) {
        struct jm_block **other = pop_to_empty(heap, &(*place)->chain_next);
        place = *other == NULL || (*place)->charge > (*other)->charge ? other : place;
    }
    return *place == NULL ? NULL : jm_chain_pop(place);
}

void jm_doubt_put_last(struct jm_arena *arena, struct jm_block *among, struct jm_block *block)
{
    struct jm_block **end = among == NULL ? &arena->doubtful : &among->chain_next;
    while (*end != NULL) {
        end = &(*end)->chain_next;
    }
    jm_chain_push(end, block);
}

size_t jm_doubt_count(const struct jm_heap *heap)
{
    const struct jm_block *block = heap->arena == NULL ? NULL : heap->arena->doubtful;
    size_t count = 0;
    for (; block != NULL; block = block->chain_next) {
        count++;
    }
    return count;
}
