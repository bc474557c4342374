#include "arena.h"

#include <string.h>

struct jm_block jm_no_block;

struct jm_arena jm_no_arena = {
    .span = {.block = &jm_no_block},
    .longest_rest = UINT32_MAX,
    .second_rest = UINT32_MAX,
    .longest_hole = UINT32_MAX,
};

static struct jm_arena *copy_into(struct jm_block *block, const struct jm_arena *arena,
                                  struct jm_supply *supply)
{
    struct jm_arena *copy = (struct jm_arena *)(void *)block->arena;
    size_t size = sizeof *arena;
    JM_PIN(size); /* for a known size compilers emit one instruction, which is slow to start */
    memcpy(copy, arena, size);
    copy->supply = supply;
    jm_arena_forget_last(copy);
    jm_block_set_small_token(supply, copy);
    return copy;
}

struct jm_arena *jm_arena_create(struct jm_supply *supply, struct jm_block *block)
{
    return copy_into(block, &jm_no_arena, supply);
}

struct jm_arena *jm_arena_move(struct jm_arena *arena, struct jm_block *block)
{
    jm_arena_list_last(arena);
    return copy_into(block, arena, arena->supply);
}

jm_state *jm_arena_find(struct jm_arena *arena, const void *pointer)
{
    jm_state *state;
    if (jm_arena_peek(arena, pointer, &state)) {
        return state;
    }
    if (jm_region_holds(pointer)) {
        return NULL;
    }
    jm_token *token = jm_pagemap_token(pointer);
    if (token == NULL || jm_load_relaxed(token) != arena) {
        return NULL;
    }
    struct jm_block *block = jm_pagemap_block(pointer);
    size_t granule = jm_granule_of(block, pointer);
    return granule < block->granules ? &block->map[granule] : NULL;
}

void *jm_arena_pop_found(struct jm_arena *arena, unsigned code)
{
    struct jm_link *list = &arena->free[code];
    struct jm_link *link = list->next;
    jm_state *state = link == NULL ? NULL : jm_arena_find(arena, link);
    if (link == NULL) {
        return NULL;
    }
    if (state != NULL && jm_arena_take(list, link, state, code)) {
        arena->listed_sum += jm_place_of(list->next) - jm_place_of(link);
        return link;
    }
    list->next = NULL; /* the map still has what followed */
    arena->broken = true;
    return NULL;
}

void *jm_arena_pop_larger(struct jm_arena *arena, unsigned code)
{
    unsigned larger = code + 1;
    void *object = NULL;
    for (; object == NULL && larger <= JM_CLASSES && jm_class_serves(larger, code); larger++) {
        object = jm_arena_pop_found(arena, larger);
    }
    return object;
}

void jm_arena_clear_lists(struct jm_arena *arena)
{
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        arena->free[code].next = NULL;
    }
    jm_arena_forget_last(arena);
}

void jm_arena_open_span(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end)
{
    arena->span = (struct jm_span){
        .next = jm_granule_address(block, start),
        .end = jm_granule_address(block, end),
        .block = block,
        .states = (uintptr_t)block->map - ((uintptr_t)block->start >> JM_GRANULE_BITS),
    };
}

/* Raises the block's `touched` to what was cut off the span. Returns the granule where the span
 * begins now. */
static uint32_t note_touched(const struct jm_span *span)
{
    uint32_t next = (uint32_t)jm_granule_of(span->block, span->next);
    if (span->block->touched < next) {
        span->block->touched = next;
    }
    return next;
}

bool jm_arena_retract(struct jm_arena *arena, jm_state *state, void *object, unsigned kind,
                      unsigned old, unsigned code)
{
    if (arena->span.next != (char *)object + jm_class_bytes(old)) {
        return false;
    }
    (void)note_touched(&arena->span);
    arena->span.next = (char *)object + jm_class_bytes(code);
    jm_inspect_close(arena->span.next, jm_class_bytes(old) - jm_class_bytes(code));
    jm_store_byte(state, code + kind);
    return true;
}

void jm_arena_retire_span(struct jm_arena *arena)
{
    struct jm_block *block = arena->span.block;
    if (block == &jm_no_block) {
        return;
    }
    uint32_t next = note_touched(&arena->span);
    uint32_t end = (uint32_t)jm_granule_of(block, arena->span.end);
    arena->span = jm_no_arena.span;
    if (end == block->granules) {
        jm_arena_uncarve(arena, block, next);
    } else {
        jm_arena_free_run(arena, block, next, end);
    }
}

void jm_arena_free_run(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end)
{
    while (start < end) {
        unsigned code = jm_class_within(end - start);
        jm_inspect_close(jm_granule_address(block, start), jm_class_bytes(code));
        struct jm_link *list = &arena->free[code], *link = jm_granule_address(block, start);
        arena->listed_sum += jm_place_of(link) - jm_place_of(list->next);
        jm_arena_list(list, link);
        jm_store_relaxed(&block->map[start], (uint8_t)(code + JM_FREE));
        start += jm_class_granules[code];
    }
}

unsigned jm_arena_next_listed(const struct jm_arena *arena, unsigned code)
{
    enum { STEP = 8 }; /* most are empty */
    for (; code + STEP <= JM_CLASSES + 1; code += STEP) {
        uintptr_t any = 0;
        for (unsigned i = 0; i < STEP; i++) {
            any |= (uintptr_t)arena->free[code + i].next;
        }
        if (any != 0) {
            break;
        }
    }
    while (code <= JM_CLASSES && arena->free[code].next == NULL) {
        code++;
    }
    return code;
}

bool jm_arena_lists_nothing(const struct jm_arena *arena)
{
    return jm_arena_next_listed(arena, 1) > JM_CLASSES;
}

/* Makes the smallest listed object of a class greater than `code` the span. False if there is
 * none. */
static bool span_from_free(struct jm_arena *arena, unsigned code)
{
    unsigned larger = code;
    while ((larger = jm_arena_next_listed(arena, larger + 1)) <= JM_CLASSES) {
        void *object = jm_arena_pop_found(arena, larger);
        if (object != NULL) {
            struct jm_block *block = jm_block_of(object);
            size_t start = jm_granule_of(block, object);
            jm_inspect_close(object, jm_class_bytes(larger));
            jm_arena_open_span(arena, block, start, start + jm_class_granules[larger]);
            return true;
        }
    }
    return false;
}

/* Makes the rest of some block the span, if an object of class `code` fits into one. */
static void span_from_rest(struct jm_arena *arena, unsigned code)
{
    if (jm_class_granules[code] > arena->longest_rest) {
        return;
    }
    uint32_t longest = arena->longest_rest, second = arena->second_rest;
    arena->longest_rest = arena->second_rest = 0;
    struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        uint32_t rest = (uint32_t)block->granules - block->carved;
        if (rest >= jm_class_granules[code]) {
            jm_arena_open_span(arena, block, block->carved, block->granules);
            block->carved = (uint32_t)block->granules;
            arena->longest_rest = rest > second ? second : longest;
            arena->second_rest = second;
            return;
        }
        jm_arena_note_rest(arena, rest);
    }
}

void jm_arena_choose_span(struct jm_arena *arena, unsigned code)
{
    jm_arena_retire_span(arena);
    /* Prefer one with room for two: the next object will probably be of this class too. */
    if (!span_from_free(arena, jm_class_twice(code)) && !span_from_free(arena, code)) {
        span_from_rest(arena, code);
    }
}

void jm_arena_open_block(struct jm_arena *arena, struct jm_block *block)
{
    jm_arena_retire_span(arena);
    uint32_t granules = (uint32_t)block->granules;
    block->carved = granules;
    char *first = jm_granule_address(block, block->first_granule);
    jm_inspect_supply(first, (size_t)(block->start + jm_block_size(block) - first));
    jm_arena_open_span(arena, block, block->first_granule, granules);
}

size_t jm_arena_end(const struct jm_arena *arena, const struct jm_block *block)
{
    bool is_rest =
        arena->span.block == block && jm_granule_of(block, arena->span.end) == block->granules;
    return is_rest ? jm_granule_of(block, arena->span.next) : block->carved;
}

/* The granule where the unbroken row of objects and holes around `granule` ends: at the span, or at
 * `carved`. */
static size_t end_of_objects(const struct jm_arena *arena, const struct jm_block *block,
                             size_t granule)
{
    size_t span = arena->span.block == block ? jm_granule_of(block, arena->span.next) : 0;
    return span > granule ? span : block->carved;
}

/* The granule behind `granule` where the next object or hole starts, or where the row ends. */
static size_t next_start(const struct jm_arena *arena, const struct jm_block *block, size_t granule)
{
    size_t most = end_of_objects(arena, block, granule);
    size_t end = granule + 1;
    while (end + JM_BLANK_STATES <= most && jm_are_blank(block->map, end)) {
        end += JM_BLANK_STATES;
    }
    for (; end + JM_WORD <= most; end += JM_WORD) {
        uint64_t states = jm_load_states(block->map, end);
        if (states != 0) {
            return end + jm_first_state(states);
        }
    }
    while (end < most && jm_load_relaxed(&block->map[end]) == 0) {
        end++;
    }
    return end;
}

/* The same behind a hole, which is whole pages. */
static size_t end_of_hole(const struct jm_arena *arena, const struct jm_block *block,
                          size_t granule)
{
    size_t most = end_of_objects(arena, block, granule);
    size_t end = granule;
    do {
        end += jm_page_granules();
    } while (end < most && jm_load_relaxed(&block->map[end]) == 0);
    return end;
}

unsigned jm_arena_class_at(const struct jm_arena *arena, const struct jm_block *block,
                           size_t granule)
{
    unsigned state = jm_load_relaxed(&block->map[granule]);
    if (state == JM_QUEUED) {
        return jm_class_of(next_start(arena, block, granule) - granule);
    }
    return jm_is_queued(state) ? state - JM_QUEUED : jm_state_class(state);
}

size_t jm_arena_find_end(const struct jm_arena *arena, const struct jm_block *block, size_t granule)
{
    bool is_hole = jm_load_relaxed(&block->map[granule]) == JM_HOLE;
    return is_hole ? end_of_hole(arena, block, granule) : next_start(arena, block, granule);
}

size_t jm_arena_start_before(const struct jm_block *block, size_t granule)
{
    size_t word = granule & ~(JM_WORD - 1);
    size_t among = granule - word; /* states of that word that come before */
    uint64_t states = jm_load_states(block->map, word) & (((uint64_t)1 << 8 * among) - 1);
    if (states == 0) {
        word = jm_find_states_before(block->map, word, block->first_granule);
        states = jm_load_states(block->map, word);
    }
    JM_CHECK(states != 0);
    return word + jm_last_state(states);
}

void jm_arena_split(struct jm_arena *arena, struct jm_block *block, size_t start, unsigned live,
                    size_t granule, unsigned code)
{
    unsigned old = jm_state_class(live);
    size_t end = start + jm_class_granules[old];
    jm_store_byte(&block->map[granule], live - old + code);
    arena->freed += (uint32_t)(jm_class_granules[old] - jm_class_granules[code]);
    jm_arena_free_run(arena, block, start, granule);
    jm_arena_free_run(arena, block, granule + jm_class_granules[code], end);
}
