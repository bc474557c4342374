#include "sweep.h"

#include <string.h>

/* What a sweep does with the runs that it finds. */
struct sweep {
    struct jm_arena *arena;
    size_t least;  /* granules of pages that go, */
    size_t beside; /* or that go beside a hole, until */
    size_t enough; /* bytes have gone */
    size_t given;  /* bytes */
    size_t left;   /* granules, free still */
};

/* Makes the pages of a run a hole, and its ends free objects. False: it is too short, or not needed, or the OS refused.
 * Beside a hole none is too short: it would stay in pieces else, however long it is with them. */
static bool give_run(struct sweep *sweep, struct jm_block *block, size_t start, size_t end,
                     bool is_beside)
{
    size_t least = is_beside ? sweep->beside : sweep->least;
    size_t first = jm_align_up(start, jm_page_granules());
    size_t last = end & ~(jm_page_granules() - 1);
    bool goes = last >= first + least && sweep->given < sweep->enough;
    if (!goes || !jm_block_give_pages(block, first, last)) {
        if (goes && last < first + JM_HOLE_MIN) { /* nor will it other short ones */
            sweep->least = sweep->least < JM_HOLE_MIN ? JM_HOLE_MIN : sweep->least;
            sweep->beside = JM_HOLE_MIN;
        }
        return false;
    }
    jm_store_relaxed(&block->map[first], JM_HOLE);
    block->hole_searched_to = 0;
    sweep->arena->longest_hole = UINT32_MAX; /* there may be others beside it */
    sweep->given += (last - first) << JM_GRANULE_BITS;
    jm_arena_free_run(sweep->arena, block, start, first);
    jm_arena_free_run(sweep->arena, block, last, end);
    return true;
}

/* Ends a run of free granules: in the middle as free objects, at the end as the block's rest. */
static void flush_run(struct sweep *sweep, struct jm_block *block, size_t start, size_t end,
                      bool is_beside)
{
    bool is_rest = end == block->carved;
    if (give_run(sweep, block, start, is_rest ? block->granules : end, is_beside)) {
        block->carved = is_rest ? (uint32_t)block->granules : block->carved;
        block->touched = block->touched < block->carved ? block->carved : block->touched;
    } else if (is_rest) {
        jm_arena_uncarve(sweep->arena, block, (uint32_t)start);
    } else {
        sweep->left += end - start;
        jm_arena_free_run(sweep->arena, block, start, end);
    }
}

/*
 * What is free or a hole has to be found among what lives, which is most. Their states, and those of some witnesses, are
 * loose: neither 0 nor with the highest bit. Among small objects the next one is looked for in many states at once.
 */
#define LOW_BITS (~JM_HIGH_BITS)
#define LOOSE(states) ((((states)&LOW_BITS) + LOW_BITS) & ~(states)) /* its highest bits tell */

typedef uint64_t words __attribute__((vector_size(16)));
#define AT_ONCE (4 * sizeof(words)) /* states */

static bool has_loose(const struct jm_block *block, size_t granule)
{
    words loose = {0, 0};
    for (size_t i = 0; i < AT_ONCE; i += sizeof(words)) {
        words states;
        jm_copy_bytes((uint8_t *)&states, &block->map[granule + i], sizeof states);
        loose |= LOOSE(states);
    }
    return ((loose[0] | loose[1]) & JM_HIGH_BITS) != 0;
}

static uint64_t loose_states(const struct jm_block *block, size_t word)
{
    uint64_t states = jm_load_states(block->map, word);
    return LOOSE(states) & JM_HIGH_BITS;
}

/* The first granule from one on, or `end`, where a state is loose: by all states. */
static size_t find_loose(const struct jm_block *block, size_t granule, size_t end)
{
    size_t word = granule & ~(JM_WORD - 1);
    uint64_t loose = loose_states(block, word) & UINT64_MAX << 8 * (granule - word);
    while (loose == 0 && (word += JM_WORD) < end) {
        while (word + AT_ONCE <= end && !has_loose(block, word)) {
            word += AT_ONCE;
        }
        loose = word < end ? loose_states(block, word) : 0;
    }
    return loose == 0 ? end : word + jm_first_state(loose);
}

/* Behind a small object that lives: the next loose state or, where the next WINDOW granules have none, where an object
 * starts behind these. */
#define SMALL (AT_ONCE / 2) /* granules, at most */
#define WINDOW (16 * AT_ONCE)
static size_t skip_live(const struct jm_arena *arena, const struct jm_block *block, size_t granule,
                        size_t end)
{
    size_t last = end - granule > WINDOW ? granule + WINDOW : end;
    size_t loose = find_loose(block, granule, last);
    return loose != last || last == end ? loose : jm_arena_find_end(arena, block, last - 1);
}

static void sweep_block(struct sweep *sweep, struct jm_block *block)
{
    size_t end = block->carved;
    size_t run = JM_NO_GRANULE;
    bool is_behind = false; /* a hole lies in front of the run */
    for (size_t granule = block->first; granule < end;) {
        unsigned state = jm_load_relaxed(&block->map[granule]);
        size_t next = jm_arena_end_at(sweep->arena, block, granule);
        JM_CHECK(state != 0);
        if (jm_is_free(state)) {
            jm_store_relaxed(&block->map[granule], 0);
            run = run == JM_NO_GRANULE ? granule : run;
        } else {
            bool is_hole = state == JM_HOLE;
            if (run != JM_NO_GRANULE) {
                flush_run(sweep, block, run, granule, is_behind || is_hole);
            }
            run = JM_NO_GRANULE;
            is_behind = is_hole;
            if (next - granule <= SMALL && next < end) { /* no hole is so small */
                next = skip_live(sweep->arena, block, next, end);
            }
        }
        granule = next;
    }
    if (run != JM_NO_GRANULE || end < block->granules) {
        flush_run(sweep, block, run == JM_NO_GRANULE ? end : run, end, is_behind);
    }
}

size_t jm_sweep_and_give(struct jm_arena *arena, size_t least, size_t enough)
{
    struct sweep sweep = {.arena = arena, .least = least, .enough = enough};
    sweep.beside = jm_page_granules();
    jm_arena_retire_span(arena);
    jm_arena_clear_lists(arena);
    arena->longest_rest = arena->second_rest = 0;
    struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        sweep_block(&sweep, block);
    }
    arena->has_short_runs = least > jm_page_granules() || sweep.given >= enough;
    arena->broken = false;
    arena->since_sweep = 0;
    arena->due_at = 0;
    arena->left_free = (uint32_t)sweep.left;
    struct jm_carved carved = jm_sweep_carved(arena->supply);
    arena->swept = (uint32_t)carved.objects;
    arena->swept_holes = (uint32_t)carved.holes;
    return sweep.given;
}

void jm_sweep(struct jm_arena *arena)
{
    (void)jm_sweep_and_give(arena, JM_HOLE_MIN, 0);
}

/* True where a page in front of which a hole lies is one too: where a hole ends, something starts, or nothing was cut
 * yet. pre: there is no span. */
static bool is_in_hole(const struct jm_block *block, size_t page)
{
    if (page >= block->carved) {
        return false;
    }
    unsigned state = jm_load_relaxed(&block->map[page]);
    return state == 0 || state == JM_HOLE;
}

/* The first hole of a block from `start` on that is long enough, with those that follow it at once; or an empty run at
 * the end of what was cut. */
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

/* Goes on where it found something last, if that was no longer: else a heap full of short holes would be walked over for
 * each of its long ones. */
static struct jm_run find_hole_in(struct jm_block *block, size_t least, size_t most)
{
    size_t start = least >= block->hole_searched_for ? block->hole_searched_to : 0;
    struct jm_run run = find_hole_from(block, start, least, most);
    block->hole_searched_for = (uint32_t)least;
    block->hole_searched_to = (uint32_t)run.start;
    return run;
}

struct jm_run jm_sweep_find_hole(struct jm_arena *arena, size_t least, size_t most)
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

void jm_sweep_fill_hole(struct jm_arena *arena, struct jm_run run)
{
    jm_arena_retire_span(arena);
    jm_state *map = run.block->map;
    for (size_t page = run.start; page < run.end; page += jm_page_granules()) {
        jm_store_relaxed(&map[page], 0);
    }
    if (run.end < run.block->carved && jm_load_relaxed(&map[run.end]) == 0) {
        jm_store_relaxed(&map[run.end], JM_HOLE); /* it goes on there */
    }
    jm_inspect_supply(jm_granule_address(run.block, run.start), (run.end - run.start)
                                                                    << JM_GRANULE_BITS);
    jm_arena_open_span(arena, run.block, run.start, run.end);
}

/* What each state counts: granules << 32 | 1 object where it is a live one's, else 0. */
static void weigh_states(uint64_t *weights)
{
    memset(weights, 0, (UINT8_MAX + 1) * sizeof *weights);
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        uint64_t weight = (uint64_t)jm_class_granules[code] << 32 | 1;
        weights[JM_PLAIN + code] = weights[JM_WITNESS + code] = weight;
    }
}

/* All eight, whatever they are: which of them are live no processor predicts. */
JM_INLINE uint64_t weigh_word(uint64_t states, const uint64_t *weights)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < JM_WORD; i++) {
        sum += weights[(uint8_t)(states >> 8 * i)];
    }
    return sum;
}

static uint64_t weigh_block(const struct jm_block *block, const uint64_t *weights)
{
    uint64_t sum = 0;
    for (size_t granule = block->first; granule < block->granules; granule += JM_WORD) {
        uint64_t states = jm_load_states(block->map, granule);
        sum += states == 0 ? 0 : weigh_word(states, weights);
    }
    return sum;
}

/* Who reads keeps others from giving blocks to the OS: it stops for a moment after so many granules. */
#define LIVE_AT_ONCE (JM_SMALL_BLOCK_MAX >> JM_GRANULE_BITS)

/* Adds what is live in the blocks behind the first `seen`, as many as are looked at at once, which count as seen then.
 * False: there are no more. */
static bool add_live(const struct jm_supply *supply, size_t *seen, const uint64_t *weights,
                     struct jm_live *live)
{
    size_t count = 0;
    size_t granules = 0;
    _Atomic(uint32_t) *readers = jm_pagemap_enter();
    atomic_thread_fence(memory_order_seq_cst); /* what was unlinked before is not met */
    const struct jm_block *block = jm_load_acquire(&supply->small);
    for (; block != NULL && granules < LIVE_AT_ONCE; block = jm_load_acquire(&block->next)) {
        if (++count <= *seen) {
            continue;
        }
        uint64_t sum = weigh_block(block, weights);
        live->bytes += (size_t)(sum >> 32) << JM_GRANULE_BITS;
        live->objects += (uint32_t)sum;
        granules += block->granules;
    }
    jm_pagemap_leave(readers);
    *seen = count;
    return block != NULL;
}

struct jm_live jm_sweep_live(const struct jm_supply *supply)
{
    uint64_t weights[UINT8_MAX + 1];
    struct jm_live live = {0, 0};
    size_t seen = 0;
    weigh_states(weights);
    while (add_live(supply, &seen, weights, &live)) {
    }
    return live;
}

struct jm_carved jm_sweep_carved(const struct jm_supply *supply)
{
    struct jm_carved carved = {0, 0};
    const struct jm_block *block = jm_load_relaxed(&supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        size_t holes = (jm_block_size(block) - block->charge) >> JM_GRANULE_BITS;
        carved.objects += block->carved - block->first - holes;
        carved.holes += holes;
    }
    return carved;
}

size_t jm_sweep_free(const struct jm_arena *arena)
{
    size_t free = arena->left_free;
    const struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        free += block->granules - block->carved;
    }
    return free;
}

/* The object or hole that the last sample, a granule of a block, belongs to. */
struct piece {
    const struct jm_block *block;
    size_t granule;
    size_t end; /* or less, where the state does not tell */
    unsigned state;
};

/* The last eight states in front of a granule in whose word nothing starts; 0: nothing starts behind the sample before. So no
 * state is looked at twice, however long objects are. */
static uint64_t find_start(const struct piece *piece, const struct jm_block *block, size_t *word)
{
    const bool is_next = piece->block == block;
    const size_t least = is_next ? piece->granule & ~(JM_WORD - 1) : 0;
    if (*word <= least || (is_next && *word < piece->end)) {
        return 0;
    }
    *word = jm_find_states_before(block->map, *word, least);
    return jm_load_states(block->map, *word);
}

/* pre: no span is in the block. */
static void find_piece(struct piece *piece, const struct jm_block *block, size_t granule)
{
    size_t word = granule & ~(JM_WORD - 1);
    uint64_t states = jm_load_states(block->map, word);
    states &= UINT64_MAX >> 8 * (JM_WORD - 1 - granule % JM_WORD);
    if (states == 0) {
        states = find_start(piece, block, &word);
    }
    if (states != 0) {
        size_t place = jm_last_state(states);
        piece->state = (uint8_t)(states >> 8 * place);
        piece->end = word + place + jm_state_granules[piece->state];
    }
    piece->block = block;
    piece->granule = granule;
}

/* Samples that wait for their states, which are fetched meanwhile, and what the ones before showed. */
struct guess {
    struct {
        const struct jm_block *block;
        size_t granule;
    } waiting[8];
    size_t count;
    struct piece piece;
    size_t met, free; /* samples */
};

/* A large object counts as often as it is met, not where it begins: of a few, most parts of a map show nothing. */
static void look_at_waiting(struct guess *guess)
{
    for (size_t i = 0; i < guess->count; i++) {
        find_piece(&guess->piece, guess->waiting[i].block, guess->waiting[i].granule);
        guess->met += guess->piece.state != JM_HOLE;
        guess->free += jm_is_free(guess->piece.state);
    }
    guess->count = 0;
}

/* One granule of each step, anywhere in it: at equal distances, all might meet the same one of objects that take turns, as where
 * every second one was freed. */
size_t jm_sweep_guess_free(struct jm_arena *arena, struct jm_carved carved, size_t samples)
{
    const size_t step = (carved.objects + carved.holes) / samples + 1;
    struct guess guess = {.count = 0};
    size_t place = jm_arena_draw(arena, step); /* in its step */
    size_t ahead = place;                      /* so far into the next block */
    const struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        size_t granule = block->first + ahead;
        while (granule < block->carved) {
            JM_PREFETCH(&block->map[granule]);
            guess.waiting[guess.count].block = block;
            guess.waiting[guess.count].granule = granule;
            if (++guess.count == sizeof guess.waiting / sizeof *guess.waiting) {
                look_at_waiting(&guess);
            }
            granule += step - place;
            place = jm_arena_draw(arena, step);
            granule += place;
        }
        ahead = granule - block->carved;
    }
    look_at_waiting(&guess);
    return guess.met == 0 ? 0 : (size_t)((uint64_t)carved.objects * guess.free / guess.met);
}
