#include "survey.h"

#include <string.h>

/* Sets the weight of each state: granules << 32 | 1 object if it is that of a live one, else 0. */
static void weigh_states(uint64_t *weights)
{
    memset(weights, 0, (UINT8_MAX + 1) * sizeof *weights);
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        uint64_t weight = (uint64_t)jm_class_granules[code] << 32 | 1;
        weights[JM_PLAIN + code] = weights[JM_WITNESS + code] = weight;
    }
}

/* Adds the weights of eight states. Has no branch on which are live: it would be mispredicted. */
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
    for (size_t granule = block->first_granule; granule < block->granules; granule += JM_WORD) {
        uint64_t states = jm_load_states(block->map, granule);
        sum += states == 0 ? 0 : weigh_word(states, weights);
    }
    return sum;
}

/* Granules. A reader keeps others from giving blocks back to the OS, so it leaves the pointer map
 * for a moment after so many. */
#define LIVE_AT_ONCE (JM_SMALL_BLOCK_MAX >> JM_GRANULE_BITS)

/* Adds what is live in the blocks behind the first `seen`, until they have LIVE_AT_ONCE granules,
 * and counts them as seen. False if there are no more. */
static bool add_live(const struct jm_supply *supply, size_t *seen, const uint64_t *weights,
                     struct jm_live *live)
{
    size_t count = 0;
    size_t granules = 0;
    _Atomic(uint32_t) *readers = jm_pagemap_enter();
    atomic_thread_fence(memory_order_seq_cst); /* no block unlinked before is met */
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

struct jm_live jm_survey_live(const struct jm_supply *supply)
{
    uint64_t weights[UINT8_MAX + 1];
    struct jm_live live = {0, 0};
    size_t seen = 0;
    weigh_states(weights);
    while (add_live(supply, &seen, weights, &live)) {
    }
    return live;
}

struct jm_carved jm_survey_carved(const struct jm_supply *supply)
{
    struct jm_carved carved = {0, 0};
    const struct jm_block *block = jm_load_relaxed(&supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        size_t holes = (jm_block_size(block) - block->charge) >> JM_GRANULE_BITS;
        carved.objects += block->carved - block->first_granule - holes;
        carved.holes += holes;
    }
    return carved;
}

size_t jm_survey_rests(const struct jm_supply *supply)
{
    size_t rests = 0;
    const struct jm_block *block = jm_load_relaxed(&supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        rests += block->granules - block->carved;
    }
    return rests;
}

/* The object or hole that the last sample belongs to. */
struct piece {
    const struct jm_block *block;
    size_t sample; /* granule */
    size_t end;    /* or the start, if the state does not tell the length */
    unsigned state;
};

#define HOPS 8

/* Steps from piece to piece, up to HOPS times, to the one that a granule belongs to. If pieces are
 * long, that is faster than searching back for its start. */
static void hop(struct piece *piece, const struct jm_block *block, size_t granule)
{
    for (int i = 0; i < HOPS && piece->end <= granule; i++) {
        piece->state = jm_load_relaxed(&block->map[piece->end]);
        piece->end += jm_state_granules[piece->state];
    }
}

/* True if HOPS pieces as long as the last one would reach a granule. */
static bool may_hop(const struct piece *piece, const struct jm_block *block, size_t granule)
{
    return piece->block == block && piece->end > piece->sample &&
           granule - piece->sample < HOPS * (piece->end - piece->sample);
}

/* Returns the last states in front of `*word` that are not all 0, and sets `*word` to their first
 * granule. 0 if the last piece reaches so far. Does not search beyond the last sample, so no state
 * is read twice, however long objects are. */
static uint64_t find_start(const struct piece *piece, const struct jm_block *block, size_t *word)
{
    const bool is_next = piece->block == block;
    const size_t least = is_next ? piece->sample & ~(JM_WORD - 1) : 0;
    if (*word <= least || (is_next && *word < piece->end)) {
        return 0;
    }
    *word = jm_find_states_before(block->map, *word, least);
    return jm_load_states(block->map, *word);
}

/* Finds the piece that a granule of a block belongs to. pre: the span lies elsewhere. */
static void find_piece(struct piece *piece, const struct jm_block *block, size_t granule)
{
    size_t word = granule & ~(JM_WORD - 1);
    uint64_t states = jm_load_states(block->map, word);
    states &= UINT64_MAX >> 8 * (JM_WORD - 1 - granule % JM_WORD);
    if (states == 0) {
        if (may_hop(piece, block, granule)) {
            hop(piece, block, granule);
        }
        states = find_start(piece, block, &word);
    }
    if (states != 0) {
        size_t place = jm_last_state(states);
        piece->state = (uint8_t)(states >> 8 * place);
        piece->end = word + place + jm_state_granules[piece->state];
    }
    piece->block = block;
    piece->sample = granule;
}

/* Samples whose states are being prefetched, and what the samples before showed. */
struct guess {
    struct {
        const struct jm_block *block;
        size_t granule;
    } waiting[8];
    size_t count;
    struct piece piece;
    size_t met, free; /* samples in objects, and those in free ones */
};

/* An object counts once for each sample in it, wherever it starts: if objects are few and large,
 * most samples meet no start. */
static void look_at_waiting(struct guess *guess)
{
    for (size_t i = 0; i < guess->count; i++) {
        find_piece(&guess->piece, guess->waiting[i].block, guess->waiting[i].granule);
        guess->met += guess->piece.state != JM_HOLE;
        guess->free += jm_is_free(guess->piece.state);
    }
    guess->count = 0;
}

/* Samples a granule at random in each step. At equal distances, all might meet the same kind where
 * two kinds alternate, for instance if every second object was freed. */
size_t jm_survey_guess_free(struct jm_arena *arena, struct jm_carved carved, size_t samples)
{
    const size_t step = (carved.objects + carved.holes) / samples + 1;
    struct guess guess = {.count = 0};
    size_t place = jm_arena_draw(arena, step); /* of the sample in its step */
    size_t ahead = place;                      /* of the sample in the next block */
    const struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        size_t granule = block->first_granule + ahead;
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
