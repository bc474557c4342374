#include "heap.h"

#include "demand.h"
#include "hole.h"
#include "large.h"

JM_LOCAL struct jm_current_heap jm_current_local JM_TLS_MODEL = {0, &jm_no_arena, NULL};

static void refresh_current(struct jm_heap *heap)
{
    if (jm_current.heap == heap) {
        jm_heap_make_current(heap, jm_current.handle);
    }
}

void jm_heap_set_arena(struct jm_heap *heap, struct jm_arena *arena)
{
    heap->arena = arena;
    jm_store_release(&heap->supply.small_token, arena);
    refresh_current(heap);
}

void jm_heap_note_done(struct jm_heap *heap, uint8_t done)
{
    heap->done |= done;
    refresh_current(heap);
}

void jm_heap_forget_done(struct jm_heap *heap)
{
    heap->done = 0;
    refresh_current(heap);
}

void jm_heap_reset(struct jm_heap *heap)
{
    jm_quota_reset(&heap->supply.quota);
    heap->supply.tenancy++;
    heap->supply.has_large_spares = heap->supply.has_small_spares = false;
    jm_store_relaxed(&heap->supply.small, NULL);
    jm_store_relaxed(&heap->supply.large, NULL);
    jm_store_relaxed(&heap->supply.small_token, NULL);
    jm_store_relaxed(&heap->supply.block_count, 0);
    heap->arena = NULL;
    heap->empty_large = heap->refused_large = NULL;
    heap->untidy = heap->tidy_due = false;
    heap->doubted = false;
    heap->done = 0;
    heap->forks = jm_thread_forks();
    jm_store_relaxed(&heap->queued, 0);
    jm_store_relaxed(&heap->queued_pages, 0);
    heap->bound = JM_NO_BOUND;
    heap->bound_was_refused = false;
}

void jm_heap_set_tidy_due(struct jm_heap *heap, bool tidy_due)
{
    heap->tidy_due = tidy_due;
    refresh_current(heap);
}

/* Rebuilds a list of blocks, of whose links only `next` can be trusted. Returns the sum of their
 * charges. */
static size_t mend_list(struct jm_heap *heap, struct jm_block *block)
{
    size_t charge = 0;
    struct jm_block *previous = NULL;
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        block->previous = previous;
        block->carved = block->touched = (uint32_t)block->granules;
        charge += block->charge;
        jm_add_owned(&heap->supply.block_count, 1);
        previous = block;
    }
    return charge;
}

void jm_heap_salvage(struct jm_heap *heap)
{
    heap->arena = NULL;
    jm_store_relaxed(&heap->supply.small_token, NULL);
    heap->empty_large = heap->refused_large = NULL;
    jm_store_relaxed(&heap->supply.block_count, 0);
    size_t charge = mend_list(heap, jm_load_relaxed(&heap->supply.small));
    charge += mend_list(heap, jm_load_relaxed(&heap->supply.large));
    struct jm_quota *quota = &heap->supply.quota;
    if (jm_load_relaxed(&quota->usage) < charge) { /* else a block in transit is still charged */
        jm_store_relaxed(&quota->usage, charge);
    }
}

/* ---- Counting ---- */

struct jm_live jm_heap_live_any(const struct jm_heap *heap)
{
    struct jm_live live = jm_survey_live(&heap->supply);
    _Atomic(uint32_t) *readers = jm_pagemap_enter();
    atomic_thread_fence(memory_order_seq_cst); /* as in jm_survey_live */
    const struct jm_block *block = jm_load_acquire(&heap->supply.large);
    for (; block != NULL; block = jm_load_acquire(&block->next)) {
        if (jm_load_relaxed(&block->state) == JM_LARGE_LIVE) {
            live.bytes += jm_large_usable(block);
            live.objects++;
        }
    }
    jm_pagemap_leave(readers);
    return live;
}

/* ---- Growing ---- */

/*
 * A host may enforce a limit of its own in its callback. The bound is that limit as inferred from
 * its refusals, until it grants more. Near the bound the heap first looks for memory that it has,
 * and asks for less. The host is still asked for what has no room below the bound.
 */
static size_t bound_of(const struct jm_heap *heap)
{
    return heap->bound == JM_NO_BOUND ? JM_NO_LIMIT : heap->bound * JM_PAGE;
}

static void set_bound(struct jm_heap *heap, size_t usage)
{
    bool is_bound = usage < JM_NO_LIMIT && usage / JM_PAGE < JM_NO_BOUND;
    heap->bound = is_bound ? (uint32_t)(usage / JM_PAGE) : JM_NO_BOUND;
}

size_t jm_heap_room(const struct jm_heap *heap)
{
    size_t room = jm_quota_room(&heap->supply.quota);
    size_t usage = jm_load_relaxed(&heap->supply.quota.usage);
    size_t bound = bound_of(heap);
    size_t below = usage < bound ? bound - usage : 0;
    return room < below ? room : below;
}

/* The room to expect after the host granted `bytes` up to a guessed bound, or beyond any. */
static size_t room_beyond(size_t bytes)
{
    size_t twice = bytes < SIZE_MAX / 2 ? 2 * bytes : SIZE_MAX;
    return twice < JM_SMALL_BLOCK_GROWTH ? JM_SMALL_BLOCK_GROWTH : twice;
}

void jm_heap_note_answer(struct jm_heap *heap, size_t bytes, enum jm_verdict verdict)
{
    size_t usage = jm_load_relaxed(&heap->supply.quota.usage);
    size_t bound = bound_of(heap);
    size_t below = usage < bound ? bound - usage : 0;
    if (verdict == JM_GRANTED && heap->arena != NULL) {
        jm_demand_note_room(heap->arena, bytes);
    }
    bool is_reached = heap->bound_was_refused ? usage > bound : usage >= bound;
    if (verdict == JM_REFUSED_HOST && bytes <= below) {
        set_bound(heap, usage + bytes - 1);
        heap->bound_was_refused = true;
    } else if (verdict == JM_GRANTED && is_reached) {
        size_t room = room_beyond(bytes);
        set_bound(heap, room < JM_NO_LIMIT - usage ? usage + room : JM_NO_LIMIT);
        heap->bound_was_refused = false;
    }
}

/* The bytes of the smallest block that holds an object of class `code`, and its own map if
 * `has_map`. */
static size_t smallest_block(unsigned code, bool has_map)
{
    size_t bytes = jm_class_bytes(code) + JM_PAD;
    size_t size = jm_small_block_min();
    while ((has_map ? jm_first_granule(size) << JM_GRANULE_BITS : 0) + bytes > size) {
        size *= 2;
    }
    return size;
}

/* A new block is at most this part of what the heap holds, or JM_SMALL_BLOCK_GROWTH, so the slack
 * stays small. It may be up to half of what the heap holds if a smaller one would be poorly filled,
 * see fills_little. */
#define GROWTH_DIVISOR 8

/* True if objects of class `code` fill less than 5/8 of a block of `size` bytes. 128 KiB, for
 * example, hold one object of 64 KiB: the pad leaves no room for a second. */
static bool fills_little(unsigned code, size_t size)
{
    size_t bytes = jm_class_bytes(code);
    return (size - JM_PAD) / bytes * bytes < size / 8 * 5;
}

/* The bytes of the block to ask for. They grow with the heap, as far as the limit allows. If it has
 * no room even for JM_SMALL_BLOCK_GROWTH, this is the smallest block that serves. */
static size_t next_block(const struct jm_heap *heap, unsigned code, size_t smallest)
{
    size_t usage = jm_load_relaxed(&heap->supply.quota.usage);
    size_t share = usage / GROWTH_DIVISOR;
    size_t least = smallest < JM_SMALL_BLOCK_GROWTH ? JM_SMALL_BLOCK_GROWTH : smallest;
    size_t size = usage == 0 ? smallest : least;
    while (2 * size <= share && 2 * size <= JM_SMALL_BLOCK_MAX) {
        size *= 2;
    }
    while (2 * size <= usage / 2 && 2 * size <= JM_SMALL_BLOCK_MAX && fills_little(code, size)) {
        size *= 2;
    }
    while (size > least && !jm_heap_has_room(heap, size)) {
        size /= 2;
    }
    return jm_heap_has_room(heap, size) ? size : smallest;
}

/* The hole to ask for. Of a long hole this is about as much as a new block would have, and leaves a
 * remainder that is worth asking for too. If the limit or the bound has no room for that, it is
 * just what the object needs; none if the limit, whatever the bound, has no room even for that. */
static struct jm_run next_hole(const struct jm_heap *heap, unsigned code)
{
    const struct jm_run none = {.block = NULL};
    const struct jm_quota *quota = &heap->supply.quota;
    const size_t page = jm_page_granules();
    const size_t least = jm_class_granules[code];
    /* Most often less than a page is free at either end of a hole. */
    size_t alone = least > 3 * page ? least - 2 * page : page;
    if (heap->arena == NULL || !jm_quota_allows(quota, alone << JM_GRANULE_BITS)) {
        return none;
    }
    size_t most = jm_align_up(least, page) + (JM_SMALL_BLOCK_GROWTH >> JM_GRANULE_BITS);
    struct jm_run run = jm_hole_find(heap->arena, least, most + JM_HOLE_MIN);
    if (run.end - run.start == most + JM_HOLE_MIN) {
        run.end -= JM_HOLE_MIN;
    }
    if (run.block != NULL && !jm_heap_has_room(heap, (run.end - run.start) << JM_GRANULE_BITS)) {
        jm_hole_cut(&run, least);
    }
    return jm_quota_allows(quota, (run.end - run.start) << JM_GRANULE_BITS) ? run : none;
}

static bool fill_hole(struct jm_heap *heap, struct jm_run run, enum jm_verdict *verdict)
{
    bool taken = jm_block_commit_pages(&heap->supply, run.block, run.start, run.end, verdict);
    jm_heap_note_answer(heap, (run.end - run.start) << JM_GRANULE_BITS, *verdict);
    if (!taken) {
        return false;
    }
    jm_hole_fill(heap->arena, run);
    heap->arena->since_sweep += (uint32_t)(run.end - run.start);
    return true;
}

static bool add_block(struct jm_heap *heap, unsigned code, size_t smallest,
                      enum jm_verdict *verdict)
{
    size_t size = next_block(heap, code, smallest);
    struct jm_block *block = jm_block_acquire_small(&heap->supply, size, verdict);
    jm_heap_note_answer(heap, size, *verdict);
    if (block == NULL) {
        return false;
    }
    if (heap->arena == NULL) {
        jm_heap_set_arena(heap, jm_arena_create(&heap->supply, block));
    }
    jm_arena_open_block(heap->arena, block);
    heap->arena->since_sweep += jm_arena_span_granules(heap->arena);
    (void)jm_heap_doubt(heap, block);
    return true;
}

/* ---- Small objects ---- */

bool jm_heap_note_need(struct jm_heap *heap, size_t bytes)
{
    size_t limit = jm_load_relaxed(&heap->supply.quota.limit);
    bool is_hopeless = bytes > limit && bytes > JM_SMALL_MAX; /* else held memory may serve */
    return heap->arena != NULL && heap->done == 0 && !is_hopeless &&
           jm_demand_note_need(heap->arena, bytes);
}

/* Takes a free object of class `code`, the one freed last included. NULL if there is none. */
static void *pop(struct jm_arena *arena, unsigned code)
{
    jm_arena_list_last(arena);
    return jm_arena_pop_found(arena, code);
}

/* NULL if the span is too short. */
static void *cut(struct jm_arena *arena, unsigned code)
{
    return jm_arena_has_room(arena, code) ? jm_arena_cut(arena, code) : NULL;
}

bool jm_heap_is_short(const struct jm_heap *heap)
{
    return jm_quota_in_callback(&heap->supply.quota) ||
           !jm_heap_has_room(heap, jm_small_block_min());
}

void *jm_heap_refill(struct jm_heap *heap, unsigned code)
{
    struct jm_arena *arena = heap->arena;
    if (arena == NULL) {
        return NULL;
    }
    void *object = pop(arena, code);
    if (object == NULL && jm_heap_drain(heap)) {
        object = pop(arena, code);
    }
    if (object == NULL) {
        object = jm_arena_pop_found(arena, (unsigned)jm_class_near(code));
    }
    if (object == NULL) {
        object = cut(arena, code);
    }
    if (object == NULL && !jm_heap_is_short(heap)) {
        object = jm_arena_pop_larger(arena, code);
    }
    if (object == NULL && jm_sweep_list(arena, code)) {
        object = jm_arena_pop_found(arena, code);
    }
    if (object == NULL) {
        jm_arena_choose_span(arena, code);
        arena->since_sweep += jm_arena_span_granules(arena);
        object = cut(arena, code);
        JM_PREFETCH(arena->span.next); /* the next object will probably be cut here too */
    }
    if (object != NULL) {
        jm_heap_note_change(heap);
    }
    return object;
}

/* Allocates without a new block and without calling the host, after a sweep if one is due. NULL if
 * that is not possible. `search_all` is set then if the limit allows no new block either and it is
 * time to search everything, which is not repeated until something changes. */
static void *find_free(struct jm_heap *heap, unsigned code, size_t smallest, bool *search_all)
{
    void *object = jm_heap_refill(heap, code);
    struct jm_arena *arena = heap->arena;
    *search_all = false;
    if (object != NULL || arena == NULL || heap->done != 0) {
        return object;
    }
    jm_arena_retire_span(arena);
    struct jm_quota *quota = &heap->supply.quota;
    bool grows =
        !jm_quota_in_callback(quota) && jm_heap_has_room(heap, next_block(heap, code, smallest));
    *search_all =
        !grows && (jm_quota_claim_search(quota) || jm_heap_note_need(heap, jm_class_bytes(code)));
    bool has_any = arena->broken || !jm_arena_lists_nothing(arena);
    if (has_any && (grows ? jm_demand_makes_due(arena, code) : *search_all)) {
        jm_sweep(arena);
        jm_heap_note_done(heap, JM_DONE_SWEEP);
        object = jm_heap_refill(heap, code);
        jm_demand_note_sweep(arena, jm_class_bytes(code), object != NULL, grows);
    }
    return object;
}

/* True if the limit has no room for a small block of `smallest` bytes, and a large one for `size`
 * bytes is smaller. */
static bool is_better_alone(const struct jm_heap *heap, size_t size, size_t smallest)
{
    return jm_large_bytes(size) < smallest && !jm_heap_has_room(heap, smallest);
}

void *jm_heap_alloc_small(struct jm_heap *heap, unsigned code, size_t alignment, size_t size,
                          enum jm_verdict *verdict)
{
    size_t smallest = smallest_block(code, !jm_region_has_room());
    void *object;
    bool search_all;
    while ((object = find_free(heap, code, smallest, &search_all)) == NULL) {
        jm_heap_make_room(heap, smallest, search_all);
        struct jm_run hole = next_hole(heap, code);
        if (hole.block == NULL && is_better_alone(heap, size, smallest)) {
            return jm_large_alloc_least(heap, size, alignment, verdict);
        }
        bool grown = hole.block != NULL ? fill_hole(heap, hole, verdict)
                                        : add_block(heap, code, smallest, verdict);
        if (!grown) {
            return NULL;
        }
        /* If another thread took the region's last stretch, the new block holds its own map, and
         * may be too small. */
        smallest = smallest_block(code, true);
    }
    return object;
}

/* ---- Objects of both kinds ---- */

void *jm_heap_alloc(struct jm_heap *heap, size_t size, enum jm_verdict *verdict)
{
    void *object = size > JM_SMALL_MAX ? jm_large_alloc(heap, size, JM_GRANULE, verdict)
                                       : jm_heap_alloc_small(heap, jm_class_of_size(size),
                                                             JM_GRANULE, size, verdict);
    return jm_inspect_alloc(heap, object, size);
}

size_t jm_heap_usable(const struct jm_heap *heap, const void *pointer)
{
    unsigned live;
    if (jm_heap_find_small(heap, pointer, &live) != NULL) {
        return jm_class_bytes(jm_state_class(live));
    }
    const struct jm_block *block = jm_large_find(heap, pointer);
    return block == NULL ? 0 : jm_large_usable(block);
}

/* Frees a small object that was live a moment ago. False if another thread has freed it since. */
static bool free_small(struct jm_heap *heap, void *pointer, jm_state *state)
{
    uint8_t live = jm_load_relaxed(state);
    unsigned code = jm_state_class(live);
    if (!jm_is_live(live) || !jm_cas_acquire(state, &live, (uint8_t)(code + JM_FREE))) {
        return false;
    }
    jm_inspect_free(heap, pointer);
    jm_arena_push(heap->arena, state, pointer, code);
    jm_heap_note_change(heap);
    if (jm_is_witness(live)) {
        jm_heap_lose_witness(heap, jm_block_of(pointer));
    }
    return true;
}

bool jm_heap_free(struct jm_heap *heap, void *pointer)
{
    unsigned live;
    jm_state *state = jm_heap_find_small(heap, pointer, &live);
    if (state != NULL) {
        return free_small(heap, pointer, state);
    }
    struct jm_block *block = jm_large_find(heap, pointer);
    if (block == NULL) {
        return false;
    }
    unsigned large = JM_LARGE_LIVE;
    if (!jm_cas_acquire(&block->state, &large, JM_LARGE_NONE)) { /* untested: queued since */
        return false; /* untested: the look before saw it live */
    }
    jm_inspect_free(heap, pointer);
    jm_inspect_close(pointer, jm_large_usable(block));
    jm_heap_note_empty(heap, block);
    return true;
}
