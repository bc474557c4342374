#include "sweep.h"

/* Ends a run of free granules: in the middle as free objects, at the end as the block's rest. */
static void flush_run(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end)
{
    if (end == block->carved) {
        if (block->touched < block->carved) {
            block->touched = block->carved;
        }
        block->carved = (uint32_t)start;
    } else {
        jm_arena_free_run(arena, block, start, end);
    }
}

static void sweep_block(struct jm_arena *arena, struct jm_block *block)
{
    size_t end = block->carved;
    size_t run = JM_NO_GRANULE;
    for (size_t granule = block->first; granule < end;) {
        unsigned state = jm_load_relaxed(&block->map[granule]);
        unsigned code = jm_state_class(state);
        JM_CHECK(code != 0);
        if (jm_is_free(state)) {
            jm_store_relaxed(&block->map[granule], 0);
            run = run == JM_NO_GRANULE ? granule : run;
        } else if (run != JM_NO_GRANULE) {
            flush_run(arena, block, run, granule);
            run = JM_NO_GRANULE;
        }
        granule += jm_class_granules[code];
    }
    if (run != JM_NO_GRANULE) {
        flush_run(arena, block, run, end);
    }
}

void jm_sweep(struct jm_arena *arena)
{
    jm_arena_retire_span(arena);
    jm_arena_clear_lists(arena);
    struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        sweep_block(arena, block);
    }
    arena->broken = false;
}

struct jm_census jm_sweep_census(const struct jm_supply *supply)
{
    struct jm_census census = {0, 0, 0};
    const struct jm_block *block = jm_load_relaxed(&supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        uint64_t live = jm_block_live(block);
        census.carved += block->carved - block->first;
        census.live += (uint32_t)live;
        census.objects += (size_t)(live >> 32);
    }
    return census;
}
