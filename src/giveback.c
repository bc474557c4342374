/*
 * Layer 3: giving blocks back. A large block goes when its object does. A small one is not empty while it has
 * a witness (see witness.h). Those without are in doubt, in a chain of the arena's:
 *
 *      a block is new, or its witness was freed and no other is found    it is in doubt
 *      another one is in doubt already                                   a witness is looked for there;
 *                                                                        where there is none, the next tidy
 *                                                                        gives one of them back
 *
 * Objects may be allocated in a block that is in doubt: whoever is to give it back looks for a witness once more.
 *
 * One empty block is kept, and those that the OS refuses to take. The others go at the end of the free or, where that was
 * inside the host's callback, or on the way to an object that an event could lose, at the beginning of the next operation.
 */
#include "chain.h"
#include "demand.h"
#include "heap.h"
#include "reserve.h"
#include "sweep.h"
#include "witness.h"

/* A heap with no more granules in objects keeps short runs of free pages at a collect, unless it is loose: its blocks stay
 * whole, so that the next runtime has them warm. */
#define SMALL_HEAP ((size_t)4 << 20 >> JM_GRANULE_BITS)

void jm_heap_note_empty(struct jm_heap *heap, struct jm_block *block)
{
    jm_chain_push(&heap->empty_large, block);
    heap->untidy = true;
    jm_heap_set_tidy_due(heap, true);
}

/* True where a small block is not empty: it has a witness from now on. */
static bool ensure_witness(struct jm_heap *heap, struct jm_block *block)
{
    return block->has_witness || jm_witness_find(heap->arena, block);
}

static struct jm_block *find_other_small(const struct jm_heap *heap, const struct jm_block *but)
{
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    return block == but ? jm_load_relaxed(&block->next) : block;
}

/* Takes an empty small block out of the arena, which moves out of it. */
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

/* While a block's objects are taken off the lists, so many others are passed: this part of its granules, and some. Where there
 * can be no new block, a broken list has all blocks swept; else it costs little, and none is passed. */
#define PASSED_DIVISOR 32
#define PASSED_LEAST 16

/* Where a link leads that is to be followed: into the block, elsewhere, or nowhere. */
enum place { NOWHERE, INSIDE, ELSEWHERE };

static enum place place_of(struct jm_arena *arena, const struct jm_block *block,
                           const void *pointer, unsigned code)
{
    size_t granule = jm_granule_of(block, pointer);
    bool is_inside = granule < block->granules;
    const jm_state *state = is_inside         ? &block->map[granule]
                            : pointer != NULL ? jm_arena_find(arena, pointer)
                                              : NULL;
    if (state == NULL || jm_load_relaxed(state) != code + JM_FREE) {
        return NOWHERE;
    }
    return is_inside ? INSIDE : ELSEWHERE;
}

/* Takes a block's objects off a list, as long as `left` has any of each place left. */
static void drop_from_list(struct jm_arena *arena, unsigned code, const struct jm_block *block,
                           size_t left[])
{
    struct jm_link *before = &arena->free[code];
    struct jm_link *link = before->next;
    for (enum place place; left[place = place_of(arena, block, link, code)] > 0; left[place]--) {
        struct jm_link *next = jm_link_next(link);
        if (place == INSIDE) {
            jm_link_set(before, next);
        } else {
            before = link;
        }
        link = next;
    }
}

/* A block goes: takes its objects off the lists, where they are at the beginnings after a rise and a fall, or not far
 * behind: a list that they are left in is broken. Each was put there by a free; or leads in a circle, which the tenant has
 * made. */
static void drop_links(struct jm_heap *heap, const struct jm_block *block)
{
    size_t passed = block->granules / PASSED_DIVISOR + PASSED_LEAST;
    size_t left[] = {
        [NOWHERE] = 0,
        [INSIDE] = block->granules,
        [ELSEWHERE] = jm_heap_is_short(heap) ? passed : 0,
    };
    jm_arena_list_last(heap->arena);
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        drop_from_list(heap->arena, code, block, left);
    }
}

/* What comes and goes with a block makes no sweep due, which would find nothing in all others. */
static void forget_cut(struct jm_arena *arena, const struct jm_block *block)
{
    uint32_t granules = (uint32_t)block->granules - block->first;
    arena->since_sweep -= granules < arena->since_sweep ? granules : arena->since_sweep;
    arena->swept -= granules < arena->swept ? granules : arena->swept;
    arena->due_at -= granules < arena->due_at ? granules : arena->due_at;
}

/* What is free in a block is in no list any more, so far as drop_links sees to that. */
static void unlist_objects(struct jm_heap *heap, const struct jm_block *block)
{
    if (block->carved != block->first) {
        drop_links(heap, block);
        forget_cut(heap->arena, block);
    }
}

/* Of a block that has no more objects than this part of its granules the map is cleared object by object. */
#define CLEAR_DIVISOR 1024

/* Clears the map of an empty block without holes, of which all is to be its rest: to find it empty again takes no look at the
 * map, and whoever takes it next need not clear that. */
static void clear_map(struct jm_block *block)
{
    size_t granule = block->first;
    size_t steps = block->granules / CLEAR_DIVISOR;
    size_t granules;
    for (; granule < block->carved && steps > 0; granule += granules, steps--) {
        granules = jm_state_granules[jm_load_relaxed(&block->map[granule])];
        if (granules == 0) { /* it is in no list */
            break;
        }
        jm_store_relaxed(&block->map[granule], 0);
    }
    jm_zero_bytes(&block->map[granule], block->carved - granule); /* of many */
    block->unlisted = block->left_free = 0;
}

#define FEW_OBJECTS 4

/* pre: the span lies elsewhere. */
static bool has_few_objects(const struct jm_arena *arena, const struct jm_block *block)
{
    size_t granule = block->first;
    for (unsigned steps = FEW_OBJECTS; granule < block->carved && steps > 0; steps--) {
        granule = jm_arena_end_at(arena, block, granule);
    }
    return granule >= block->carved;
}

/* Does so, if that is possible, where the block stays for now. Of few objects it takes no time to see that none lives: they
 * stay, so that what comes next finds its place where the last one was, and not behind it. */
static void forget_objects(struct jm_heap *heap, struct jm_block *block)
{
    if (block != heap->arena->span.block && !jm_block_has_holes(block) &&
        !has_few_objects(heap->arena, block)) {
        unlist_objects(heap, block);
        clear_map(block);
        jm_arena_uncarve(heap->arena, block, block->first);
    }
}

/* Takes blocks off the beginning of a chain of those in doubt until one is empty. Returns where that is; or null is. */
static struct jm_block **first_empty(struct jm_heap *heap, struct jm_block **chain)
{
    while (*chain != NULL && ensure_witness(heap, *chain)) {
        (void)jm_chain_pop(chain);
    }
    return chain;
}

/* True where blocks are in doubt beside the one that is kept if it is empty. */
static bool doubts_many(const struct jm_heap *heap)
{
    const struct jm_block *first = heap->arena == NULL ? NULL : heap->arena->doubtful;
    return first != NULL && first->behind != NULL;
}

bool jm_heap_doubt(struct jm_heap *heap, struct jm_block *block)
{
    struct jm_block **chain = &heap->arena->doubtful;
    if (!doubts_many(heap)) {
        chain = first_empty(heap, chain);
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
        /* In this order: what was freed last is listed first. */
        struct jm_block *other = *first_empty(heap, &block->behind);
        forget_objects(heap, block);
        if (other != NULL) {
            forget_objects(heap, other);
        }
    }
}

/* Puts a block that the OS did not take behind all others in doubt. `among`: one of the last of them; or null. */
static void push_last(struct jm_arena *arena, struct jm_block *among, struct jm_block *block)
{
    struct jm_block **end = among == NULL ? &arena->doubtful : &among->behind;
    while (*end != NULL) {
        end = &(*end)->behind;
    }
    jm_chain_push(end, block);
}

/* Gives one empty small block back, which is in doubt no more. False: the OS does not take it now. */
static bool release_small(struct jm_heap *heap, struct jm_block *block)
{
    abandon_small(heap, block);
    if (heap->arena != NULL) {
        unlist_objects(heap, block);
    }
    if (!jm_block_has_holes(block)) {
        clear_map(block);
        block->carved = block->first;
    }
    if (jm_block_release(&heap->supply, block, false)) {
        return true;
    }
    if (heap->arena == NULL) {
        jm_heap_set_arena(heap, jm_arena_create(&heap->supply, block));
    }
    heap->arena->broken = true;                  /* its objects are in no list, */
    jm_arena_note_rest(heap->arena, UINT32_MAX); /* or it has none */
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
    if (state == NULL || !jm_is_witness(jm_load_relaxed(state)) ||
        jm_witness_pass_on(arena, jm_block_of(pointer))) {
        return false;
    }
    return *first_empty(heap, &arena->doubtful) != NULL;
}

/* Takes the empty small block that goes next out of doubt. Of two, one of which may stay, that is the smaller, or newer.
 * NULL: there is none, or only the one that stays if `keep_one`. */
static struct jm_block *choose_going(struct jm_heap *heap, bool keep_one)
{
    if (heap->arena == NULL || (keep_one && !doubts_many(heap))) {
        return NULL;
    }
    struct jm_block **place = first_empty(heap, &heap->arena->doubtful);
    if (keep_one && *place != NULL) {
        struct jm_block **other = first_empty(heap, &(*place)->behind);
        place = *other == NULL || (*place)->charge > (*other)->charge ? other : place;
    }
    return *place == NULL ? NULL : jm_chain_pop(place);
}

void jm_heap_release_kept(struct jm_heap *heap)
{
    struct jm_block *going = choose_going(heap, true);
    if (going == NULL) { /* there is one alone */
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
    for (; block != NULL; block = block->behind) {
        count++;
    }
    return count;
}

/* Gives the empty small blocks back, but for one if `keep_one`. False: the OS did not take them all. A collect tries each once,
 * and all else none after one that was refused, which comes after all others then. */
static bool release_all_small(struct jm_heap *heap, bool keep_one)
{
    struct jm_block *going;
    struct jm_block *refused = NULL; /* the last; null: who knows what the host did since */
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

/* What the OS refused lies in a circle, of which the heap has the last: who is tried again in vain comes after all
 * others. */
static void push_refused(struct jm_heap *heap, struct jm_block *block)
{
    struct jm_block *last = heap->refused_large;
    block->behind = last == NULL ? block : last->behind;
    if (last != NULL) {
        last->behind = block;
    }
    heap->refused_large = block;
}

/* Has the first of them tried again. False: there is none. */
static bool retry_one(struct jm_heap *heap)
{
    struct jm_block *last = heap->refused_large;
    if (last == NULL) {
        return false;
    }
    struct jm_block *first = last->behind;
    last->behind = first->behind;
    heap->refused_large = first == last ? NULL : last;
    jm_chain_push(&heap->empty_large, first);
    return true;
}

/* Gives the empty large blocks back, and has one tried again for each that goes. Returns how many went. */
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

/* A collect goes on while so much of what it tries goes: what goes makes room for the others. */
#define GOES_DIVISOR 8

/*
 * Gives the empty large blocks back. False: the OS did not take them all. Of those a collect tries all again, and all else
 * one: where a process has as many mappings as it may, each use would try them all in vain.
 */
static bool release_all_large(struct jm_heap *heap, bool retries_all)
{
    size_t tried, gone;
    do {
        tried = 0;
        while (retry_one(heap) && retries_all) { /* or one */
            tried++;
        }
        if (retries_all && heap->empty_large != NULL) {
            /* Neighbours in a mapping: each is the end of it once the one before went. */
            heap->empty_large = jm_chain_sort(heap->empty_large);
        }
        gone = release_large(heap);
    } while (retries_all && heap->refused_large != NULL && gone > tried / GOES_DIVISOR);
    return heap->refused_large == NULL;
}

/* Until nothing more becomes empty: the host may free inside its callback. */
static void release_empties(struct jm_heap *heap, bool keep_one)
{
    bool small, large;
    heap->untidy = true; /* should the host leave its callback by a jump */
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

/* Gives runs of free pages back, see jm_sweep_and_give, if there may be any. */
static void give_runs(struct jm_heap *heap, size_t least, size_t enough)
{
    uint8_t goal = least < JM_HOLE_MIN ? JM_DONE_ALL_RUNS : JM_DONE_LONG_RUNS;
    if (heap->arena == NULL || (heap->done & goal) != 0) {
        return;
    }
    size_t given = jm_sweep_and_give(heap->arena, least, enough, heap->done != 0);
    jm_heap_note_done(heap, (uint8_t)(JM_DONE_LONG_RUNS | (given < enough ? goal : 0)));
    if (given != 0) {
        jm_quota_refund(&heap->supply.quota, given);
    }
}

/* Gives back what is empty, and runs of at least `least` granules of free pages; 0: no runs. */
static void collect(struct jm_heap *heap, size_t least)
{
    (void)jm_heap_drain_all(heap);
    release_empties(heap, false);
    if (least != 0) {
        give_runs(heap, least, SIZE_MAX);
    }
    jm_reserve_drop_waiting();
}

/* Of a loose heap this part goes at once: who asks for something long will ask for more. */
#define LOOSE_GOES_DIVISOR 16

/* What is too long for the runs that are kept may have room once they go, if so much is free at all. */
static void give_short_runs(struct jm_heap *heap, size_t bytes)
{
    size_t room = jm_heap_room(heap);
    size_t missing = bytes <= room ? 0 : bytes - room;
    bool is_long = bytes > jm_small_block_min();
    if (missing != 0 && is_long && heap->arena != NULL &&
        missing >> JM_GRANULE_BITS <= jm_survey_free(heap->arena)) {
        size_t swept = (size_t)heap->arena->swept << JM_GRANULE_BITS;
        size_t least = jm_demand_is_loose(heap->arena) ? swept / LOOSE_GOES_DIVISOR : 0;
        give_runs(heap, jm_page_granules(), missing < least ? least : missing);
    }
}

void jm_heap_make_room(struct jm_heap *heap, size_t bytes, bool search_all)
{
    bool fits = jm_heap_has_room(heap, bytes);
    if (!fits && !jm_quota_in_callback(&heap->supply.quota)) {
        collect(heap, search_all || heap->done == JM_DONE_SWEEP ? JM_HOLE_MIN : 0);
        if (heap->done != 0) { /* swept, and nothing has changed */
            give_short_runs(heap, bytes);
        }
    }
    bool is_sure = heap->bound == JM_NO_BOUND; /* else see jm_heap_note_answer */
    if (is_sure && heap->arena != NULL && jm_heap_has_room(heap, bytes)) {
        jm_demand_note_room(heap->arena, SIZE_MAX);
    }
}

void jm_heap_collect(struct jm_heap *heap)
{
    struct jm_supply *supply = &heap->supply;
    jm_heap_mark_after_fork(heap);
    bool is_small = jm_survey_carved(supply).objects <= SMALL_HEAP;
    collect(heap, is_small ? JM_HOLE_MIN : jm_page_granules());
    if (heap->arena != NULL && jm_demand_is_loose(heap->arena)) {
        give_runs(heap, jm_page_granules(), SIZE_MAX);
    }
    if (supply->has_large_spares || supply->has_small_spares) {
        supply->has_large_spares = supply->has_small_spares = false;
        jm_reserve_drop_grown(supply);
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
    /* Now: the arena's place may be another heap's arena before all of these blocks went. */
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
    if (lost != 0) { /* on its way when a fork left its user behind */
        jm_quota_refund(&heap->supply.quota, lost);
    }
}
