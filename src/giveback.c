/*
 * Layer 3: giving blocks back. A large block goes when its object is freed, a small one when it is
 * found empty (see doubt.h).
 *
 * One empty small block is kept, and those that the OS refuses. The others go at the end of the
 * free. They go at the beginning of the next operation if the free was inside the host's callback,
 * or if an event could lose an object not yet returned.
 */
#include "chain.h"
#include "demand.h"
#include "doubt.h"
#include "emptied.h"
#include "heap.h"
#include "reserve.h"
#include "sweep.h"

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

/* Gives back an empty small block that was taken out of doubt. False if the OS refuses it now. */
static bool release_small(struct jm_heap *heap, struct jm_block *block)
{
    jm_emptied_remove(heap, block);
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

void jm_heap_release_kept(struct jm_heap *heap)
{
    struct jm_block *going = jm_doubt_take(heap, true);
    if (going == NULL) { /* only one is empty */
        going = jm_doubt_take(heap, false);
    }
    if (!release_small(heap, going)) {
        jm_doubt_put_last(heap->arena, NULL, going);
    }
}

/* Gives back the empty small blocks, except one if `keep_one`. False if the OS refused any. A
 * collect tries each block once; any other caller stops at the first refusal. A refused block goes
 * behind all others. */
static bool release_all_small(struct jm_heap *heap, bool keep_one)
{
    struct jm_block *going;
    struct jm_block *refused = NULL; /* the last in doubt; NULL: the host ran since */
    bool all = true;
    size_t tries = jm_doubt_count(heap);
    while ((all || !keep_one) && tries-- > 0 && (going = jm_doubt_take(heap, keep_one)) != NULL) {
        if (release_small(heap, going)) {
            refused = NULL;
        } else {
            jm_doubt_put_last(heap->arena, refused == going ? NULL : refused, going);
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
