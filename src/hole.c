#include "hole.h"

/* True if a page directly behind one of a hole is part of a hole, too. Where a hole ends, something
 * else starts, or the carved part ends. pre: there is no span. */
static bool is_in_hole(const struct jm_block *block, size_t page)
{
    if (page >= block->carved) {
        return false;
    }
    unsigned state = jm_load_relaxed(&block->map[page]);
    return state == 0 || state == JM_HOLE;
}

/* The granule where what is free in front of another one starts. Free objects are passed over until
 * they have `enough` granules. */
static size_t free_before(const struct jm_block *block, size_t granule, size_t enough)
{
    size_t first = granule;
    while (first > block->first_granule && granule - first < enough) {
        size_t start = jm_arena_start_before(block, first);
        if (!jm_is_free(jm_load_relaxed(&block->map[start]))) {
            break;
        }
        first = start;
    }
    return first;
}

/* The granule where what is free from another one on ends, likewise. */
static size_t free_behind(const struct jm_arena *arena, const struct jm_block *block,
                          size_t granule, size_t enough)
{
    size_t last = granule;
    while (last < block->carved && last - granule < enough &&
           jm_is_free(jm_load_relaxed(&block->map[last]))) {
        last = jm_arena_end_at(arena, block, last);
    }
    return last;
}

/* Returns the first hole from `start` on that serves; holes side by side count as one. If there is
 * none: an empty run without a block, at the end of the carved part. */
static struct jm_run find_hole_from(const struct jm_arena *arena, struct jm_block *block,
                                    size_t start, size_t least, size_t most)
{
    const size_t page = jm_page_granules();
    for (size_t end; start < block->carved; start = end) {
        end = start + page;
        if (jm_load_relaxed(&block->map[start]) != JM_HOLE) {
            continue;
        }
        while (end < start + most && is_in_hole(block, end)) {
            end += page;
        }
        if (end - start >= least ||
            free_behind(arena, block, end, least) - free_before(block, start, least) >= least) {
            return (struct jm_run){block, start, end};
        }
    }
    return (struct jm_run){NULL, start, start};
}

/* Goes on where the last search ended, if that was for as many granules or fewer. Otherwise a heap
 * full of short holes would be walked over for each of its long ones. */
static struct jm_run find_hole_in(const struct jm_arena *arena, struct jm_block *block,
                                  size_t least, size_t most)
{
    size_t start = least >= block->hole_searched_for ? block->hole_searched_to : 0;
    struct jm_run run = find_hole_from(arena, block, start, least, most);
    block->hole_searched_for = (uint32_t)least;
    block->hole_searched_to = (uint32_t)run.start;
    return run;
}

struct jm_run jm_hole_find(struct jm_arena *arena, size_t least, size_t most)
{
    struct jm_run run = {.block = NULL};
    if (least > arena->longest_hole) {
        return run;
    }
    jm_arena_retire_span(arena);
    struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL && run.block == NULL; block = jm_load_relaxed(&block->next)) {
        if (jm_block_has_holes(block)) {
            run = find_hole_in(arena, block, least, most);
        }
    }
    if (run.block == NULL) {
        arena->longest_hole = (uint32_t)least - 1;
    }
    return run;
}

void jm_hole_cut(struct jm_run *run, size_t least)
{
    size_t before = run->start - free_before(run->block, run->start, least);
    size_t needed = least > before ? least - before : 1;
    size_t end = run->start + jm_align_up(needed, jm_page_granules());
    run->end = end < run->end ? end : run->end;
}

/* Takes free objects out of the map. Links to them may stay in lists, where a pop refuses them. */
static void forget_free(const struct jm_block *block, size_t start, size_t end)
{
    jm_inspect_close(jm_granule_address(block, start), (end - start) << JM_GRANULE_BITS);
    jm_zero_bytes(&block->map[start], end - start);
}

void jm_hole_fill(struct jm_arena *arena, struct jm_run run)
{
    jm_arena_retire_span(arena);
    jm_arena_list_last(arena); /* it may be beside the hole */
    struct jm_block *block = run.block;
    for (size_t page = run.start; page < run.end; page += jm_page_granules()) {
        jm_store_relaxed(&block->map[page], 0);
    }
    if (run.end < block->carved && jm_load_relaxed(&block->map[run.end]) == 0) {
        jm_store_relaxed(&block->map[run.end], JM_HOLE); /* the rest of it starts here */
    }
    jm_inspect_supply(jm_granule_address(block, run.start), (run.end - run.start)
                                                                << JM_GRANULE_BITS);
    size_t first = free_before(block, run.start, JM_SMALL_GRANULES);
    size_t last = free_behind(arena, block, run.end, JM_SMALL_GRANULES);
    forget_free(block, first, run.start);
    forget_free(block, run.end, last);
    jm_arena_open_span(arena, block, first, last);
}
