/*
 * Layer 3: giving blocks back. A large block goes when its object is freed. A small block is not
 * empty while it has a witness (see witness.h). Small blocks without one are in doubt, in a chain
 * of the arena:
 *
 *      a block is new, or its witness was freed       the block is in doubt
 *      and no other was found
 *      another block is in doubt already              a witness is looked for there; if there is
 *                                                     none, the next tidy gives one of the two back
 *
 * Objects may be allocated in a block in doubt: before it is given back, a witness is looked for
 * once more.
 *
 * One empty block is kept, and those that the OS refuses. The others go at the end of the free.
 * They go at the beginning of the next operation if the free was inside the host's callback, or if
 * an event could lose an object not yet returned.
 */
#include "chain.h"
#include "demand.h"
#include "heap.h"
#include "reserve.h"
#include "sweep.h"
#include "witness.h"

/* With at most this many granules cut into objects, a heap keeps short runs of free pages at a
 * collect, unless it is loose: its blocks stay without short holes, so that the next runtime gets
 * them warm. */
#define SMALL_HEAP ((size_t)4 << 20 >> JM_GRANULE_BITS)

void jm_heap_note_empty(struct jm_heap *heap, struct jm_block *block)
{
    jm_chain_push(&heap->empty_large, block);
    heap->untidy = true;
    jm_heap_set_tidy_due(heap, true);
}

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

/* Takes an empty small block out of the arena. An arena that lies in this block moves to another;
 * without another, the heap has no arena. */
static void remove_from_arena(struct jm_heap *heap, struct jm_block *block)
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

/* Clears an empty block that stays for now, if possible. Few objects are left alone: it takes no
 * time to see that none lives, and the next object takes the place of the last one, not the place
 * behind it. */
static void forget_objects(struct jm_heap *heap, struct jm_block *block)
{
    if (block != heap->arena->span.block && !jm_block_has_holes(block) &&
        !has_few_objects(heap->arena, block)) {
        unlist_objects(heap, block);
        clear_map(block);
        jm_arena_uncarve(heap->arena, block, block->first_granule);
    }
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
        forget_objects(heap, block);
        if (other != NULL) {
            forget_objects(heap, other);
        }
    }
}

/* Puts a block that the OS refused behind all others in doubt. `among`: one of the last of those,
 * or NULL. */
static void push_last(struct jm_arena *arena, struct jm_block *among, struct jm_block *block)
{
    struct jm_block **end = among == NULL ? &arena->doubtful : &among->chain_next;
    while (*end != NULL) {
        end = &(*end)->chain_next;
    }
    jm_chain_push(end, block);
}

/* Gives back an empty small block that was taken out of doubt. False if the OS refuses it now. */
static bool release_small(struct jm_heap *heap, struct jm_block *block)
{
    remove_from_arena(heap, block);
    if (heap->arena != NULL) {
        unlist_objects(heap, block);
    }
    if (!jm_block_has_holes(block)) {
        clear_map(block);
        block->carved = block->first_granule;
    }
    if (jm_block_release(&heap->supply, block, false)) {
        return true;
    }
    if (heap->arena == NULL) {
        jm_heap_set_arena(heap, jm_arena_create(&heap->supply, block));
    }
    heap->arena->broken = true;                  /* the block's objects are in no list, */
    jm_arena_note_rest(heap->arena, UINT32_MAX); /* or it has none and is all rest */
    heap->arena->longest_unlisted = UINT32_MAX;
    return false;
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

/* Takes the empty small block that goes next out of doubt. With `keep_one`, of two that is the
 * smaller, or the newer in doubt if they are equal, and a single one stays. NULL if none is to
 * go. */
static struct jm_block *choose_going(struct jm_heap *heap, bool keep_one)
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

void jm_heap_release_kept(struct jm_heap *heap)
{
    struct jm_block *going = choose_going(heap, true);
    if (going == NULL) { /* only one is empty */
        going = choose_going(heap, false);
    }
    if (!release_small(heap, going)) {
        push_last(heap->arena, NULL, going);
    }
}

static size_t count_doubtful(const struct jm_heap *heap)
{
    const struct jm_block *block = heap->arena == NULL ? NULL : heap->arena->doubtful;
    size_t count = 0;
    for (; block != NULL; block = block->chain_next) {
        count++;
    }
    return count;
}

/* Gives back the empty small blocks, except one if `keep_one`. False if the OS refused any. A
 * collect tries each block once; any other caller stops at the first refusal. A refused block goes
 * behind all others. */
static bool release_all_small(struct jm_heap *heap, bool keep_one)
{
    struct jm_block *going;
    struct jm_block *refused = NULL; /* the last in doubt; NULL: the host ran since */
    bool all = true;
    size_t tries = count_doubtful(heap);
    while ((all || !keep_one) && tries-- > 0 && (going = choose_going(heap, keep_one)) != NULL) {
        if (release_small(heap, going)) {
            refused = NULL;
        } else {
            push_last(heap->arena, refused == going ? NULL : refused, going);
            refused = going;
            all = false;
        }
    }
    return all;
}

/* The large blocks that the OS refused form a circular list; the heap holds the last. A block that
 * is refused again goes behind all others. */
static void push_refused(struct jm_heap *heap, struct jm_block *block)
{
    struct jm_block *last = heap->refused_large;
    block->chain_next = last == NULL ? block : last->chain_next;
    if (last != NULL) {
        last->chain_next = block;
    }
    heap->refused_large = block;
}

/* Puts the first of them back to be tried again. False if there is none. */
static bool retry_one(struct jm_heap *heap)
{
    struct jm_block *last = heap->refused_large;
    if (last == NULL) {
        return false;
    }
    struct jm_block *first = last->chain_next;
    last->chain_next = first->chain_next;
    heap->refused_large = first == last ? NULL : last;
    jm_chain_push(&heap->empty_large, first);
    return true;
}

/* Gives back the empty large blocks. Retries a refused one for each that goes. Returns the number
 * that went. */
static size_t release_large(struct jm_heap *heap)
{
    size_t gone = 0;
    while (heap->empty_large != NULL) {
        struct jm_block *block = jm_chain_pop(&heap->empty_large);
        if (jm_block_release(&heap->supply, block, false)) {
            gone++;
            (void)retry_one(heap);
        } else {
            push_refused(heap, block);
        }
    }
    return gone;
}

/* A collect repeats while more than this part of the retried blocks go: each that goes makes room
 * for others. */
#define GOES_DIVISOR 8

/*
 * Gives back the empty large blocks. False if the OS refused any. Of the refused blocks, a collect
 * retries all and any other caller one: in a process at its mapping limit, every operation would
 * retry all of them in vain.
 */
static bool release_all_large(struct jm_heap *heap, bool retries_all)
{
    size_t tried, gone;
    do {
        tried = 0;
        while (retry_one(heap) && retries_all) { /* else one */
            tried++;
        }
        if (retries_all && heap->empty_large != NULL) {
            /* Neighbours in one mapping: each is at the edge once the one before it has gone. */
            heap->empty_large = jm_chain_sort(heap->empty_large);
        }
        gone = release_large(heap);
    } while (retries_all && heap->refused_large != NULL && gone > tried / GOES_DIVISOR);
    return heap->refused_large == NULL;
}

/* Gives back empty blocks until no more become empty: the host may free inside its callback. */
static void release_empties(struct jm_heap *heap, bool keep_one)
{
    bool small, large;
    heap->untidy = true; /* in case the host jumps out of its callback */
    do {
        heap->doubted = false;
        small = release_all_small(heap, keep_one);
        large = release_all_large(heap, !keep_one);
    } while (heap->doubted);
    heap->untidy = !(small && large);
    jm_heap_set_tidy_due(heap, false);
}

void jm_heap_tidy(struct jm_heap *heap)
{
    if (jm_quota_in_callback(&heap->supply.quota)) {
        return;
    }
    (void)jm_heap_drain_much(heap);
    if (heap->untidy) {
        release_empties(heap, true);
    }
}

/* Decommits runs of free pages, if there may be any; see jm_sweep_and_decommit. */
static void decommit_runs(struct jm_heap *heap, size_t least, size_t enough)
{
    uint8_t goal = least < JM_HOLE_MIN ? JM_DONE_ALL_RUNS : JM_DONE_LONG_RUNS;
    if (heap->arena == NULL || (heap->done & goal) != 0) {
        return;
    }
    size_t bytes = jm_sweep_and_decommit(heap->arena, least, enough, heap->done != 0);
    jm_heap_note_done(heap, (uint8_t)(JM_DONE_LONG_RUNS | (bytes < enough ? goal : 0)));
    if (bytes != 0) {
        jm_quota_refund(&heap->supply.quota, bytes);
    }
}

/* Takes in queued frees. Gives back empty blocks, and runs of at least `least` granules of free
 * pages; 0: no runs. */
static void collect(struct jm_heap *heap, size_t least)
{
    (void)jm_heap_drain_all(heap);
    release_empties(heap, false);
    if (least != 0) {
        decommit_runs(heap, least, SIZE_MAX);
    }
    jm_reserve_drop_waiting();
}

/* At least this part of a loose heap goes at once: a runtime that asks for something long will ask
 * for more. */
#define LOOSE_GOES_DIVISOR 16

/* Decommits short runs of free pages, if enough is free at all, to make room for a request too
 * long for any of them. */
static void decommit_short_runs(struct jm_heap *heap, size_t bytes)
{
    size_t room = jm_heap_room(heap);
    size_t missing = bytes <= room ? 0 : bytes - room;
    bool is_long = bytes > jm_small_block_min();
    bool all_gone = (heap->done & JM_DONE_ALL_RUNS) != 0;
    struct jm_arena *arena = heap->arena;
    if (missing != 0 && is_long && !all_gone && arena != NULL &&
        missing >> JM_GRANULE_BITS <= arena->left_free + jm_survey_rests(&heap->supply)) {
        size_t swept = (size_t)arena->swept_objects << JM_GRANULE_BITS;
        size_t least = jm_demand_is_loose(arena) ? swept / LOOSE_GOES_DIVISOR : 0;
        decommit_runs(heap, jm_page_granules(), missing < least ? least : missing);
    }
}

void jm_heap_make_room(struct jm_heap *heap, size_t bytes, bool search_all)
{
    bool fits = jm_heap_has_room(heap, bytes);
    if (!fits && !jm_quota_in_callback(&heap->supply.quota)) {
        collect(heap, search_all || heap->done == JM_DONE_SWEEP ? JM_HOLE_MIN : 0);
        if (heap->done != 0) { /* swept, and nothing has changed since */
            decommit_short_runs(heap, bytes);
        }
    }
    bool is_sure = heap->bound == JM_NO_BOUND; /* else see jm_heap_note_answer */
    if (is_sure && heap->arena != NULL && jm_heap_has_room(heap, bytes)) {
        jm_demand_note_room(heap->arena, SIZE_MAX);
    }
}

/* True if a heap that was just swept is loose, with the rests of its blocks. */
static bool is_loose(const struct jm_heap *heap)
{
    size_t rests = jm_survey_rests(&heap->supply);
    size_t taken = jm_survey_carved(&heap->supply).objects + rests;
    return heap->arena->left_free + rests > taken / JM_LOOSE_DIVISOR;
}

void jm_heap_collect(struct jm_heap *heap)
{
    struct jm_supply *supply = &heap->supply;
    jm_heap_mark_after_fork(heap);
    bool is_small = jm_survey_carved(supply).objects <= SMALL_HEAP;
    collect(heap, is_small ? JM_HOLE_MIN : jm_page_granules());
    if (heap->arena != NULL && is_loose(heap)) {
        decommit_runs(heap, jm_page_granules(), SIZE_MAX);
    }
    if (supply->has_large_spares || supply->has_small_spares) {
        supply->has_large_spares = supply->has_small_spares = false;
        jm_reserve_drop(supply, JM_SMALL_BLOCK_GROWTH);
    }
    if (heap->arena != NULL) {
        jm_demand_note_room(heap->arena, SIZE_MAX);
    }
}

void jm_heap_release_all(struct jm_heap *heap)
{
    if (heap->arena != NULL) {
        jm_arena_retire_span(heap->arena);
    }
    jm_heap_set_arena(heap, NULL);
    /* First: the arena's place may hold another heap's arena before all these blocks are gone. */
    jm_block_set_small_token(&heap->supply, NULL);
    heap->empty_large = heap->refused_large = NULL;
    struct jm_block *block;
    while ((block = jm_load_relaxed(&heap->supply.small)) != NULL ||
           (block = jm_load_relaxed(&heap->supply.large)) != NULL) {
        (void)jm_block_release(&heap->supply, block, true);
    }
    if (heap->supply.has_large_spares) {
        jm_reserve_leave_large(&heap->supply);
    }
    size_t lost = jm_load_relaxed(&heap->supply.quota.usage);
    if (lost != 0) { /* in transit when a fork left the runtime's user behind */
        jm_quota_refund(&heap->supply.quota, lost);
    }
}
