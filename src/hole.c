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

/* Returns the first hole from `start` on that is long enough; holes side by side count as one. If
 * there is none: an empty run without a block, at the end of the carved part. */
static struct jm_run find_hole_from(struct jm_block *block, size_t start, size_t least, size_t most)
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
        if (end - start >= least) {
            return (struct jm_run){block, start, end};
        }
    }
    return (struct jm_run){NULL, start, start};
}

/* Goes on where the last search ended, if that was for as many granules or fewer. Otherwise a heap
 * full of short holes would be walked over for each of its long ones. */
static struct jm_run find_hole_in(struct jm_block *block, size_t least, size_t most)
{
    size_t start = least >= block->hole_searched_for ? block->hole_searched_to : 0;
    struct jm_run run = find_hole_from(block, start, least, most);
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
        if ((jm_block_size(block) - block->charge) >> JM_GRANULE_BITS >= least) {
            run = find_hole_in(block, least, most);
        }
    }
    if (run.block == NULL) {
        arena->longest_hole = (uint32_t)least - 1;
    }
    return run;
}

void jm_hole_fill(struct jm_arena *arena, struct jm_run run)
{
    jm_arena_retire_span(arena);
    jm_state *map = run.block->map;
    for (size_t page = run.start; page < run.end; page += jm_page_granules()) {
        jm_store_relaxed(&map[page], 0);
    }
    if (run.end < run.block->carved && jm_load_relaxed(&map[run.end]) == 0) {
        jm_store_relaxed(&map[run.end], JM_HOLE); /* the rest of it starts here */
    }
    jm_inspect_supply(jm_granule_address(run.block, run.start), (run.end - run.start)
                                                                    << JM_GRANULE_BITS);
    jm_arena_open_span(arena, run.block, run.start, run.end);
}
