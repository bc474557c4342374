#include "witness.h"

/* The states of a block are a whole number of words. */
static_assert((JM_METADATA_STEP >> JM_GRANULE_BITS) % JM_WORD == 0, "objects begin at a word");

/* Among small objects a witness is found near any place of the map, in this many words. Among large
 * ones it is found by stepping from object to object. A large block gets more steps, because
 * scanning all of its map takes longer. */
#define WORDS_NEAR 8
#define STEPS_NEAR 16
#define STEPS_DIVISOR 1024 /* of the block's granules */

/* True for the state of an object that proves its block not empty, except a live witness. */
static bool holds(unsigned state)
{
    return state >= JM_QUEUED;
}

/* Makes an object its block's witness. */
static void take(struct jm_block *block, size_t granule)
{
    uint8_t state = jm_load_relaxed(&block->map[granule]);
    if (jm_is_plain(state)) {
        uint8_t marked = (uint8_t)(state - JM_PLAIN + JM_WITNESS);
        /* If another thread queues it just now, the swap fails: a queued object holds the block. */
        (void)jm_cas_acquire(&block->map[granule], &state, marked);
    }
    block->witness = (uint32_t)granule;
    block->has_witness = true;
}

/* The highest bit of each state of a word. */
static uint64_t high_states(const struct jm_block *block, size_t word)
{
    return jm_load_states(block->map, word * JM_WORD) & JM_HIGH_BITS;
}

/* Skips words in which no state has its highest bit set, many at a time. */
static size_t skip(const struct jm_block *block, size_t word, size_t end)
{
    const size_t many = JM_BLANK_STATES / JM_WORD;
    while (word + many <= end && (jm_load_merged(block->map, word * JM_WORD) & JM_HIGH_BITS) == 0) {
        word += many;
    }
    return word;
}

/* Takes the first object that holds the block in words [word, end). False if there is none. */
static bool take_from(struct jm_block *block, size_t word, size_t end)
{
    for (word = skip(block, word, end); word < end; word++) {
        for (uint64_t high = high_states(block, word); high != 0; high &= high - 1) {
            size_t granule = word * JM_WORD + jm_first_state(high);
            unsigned state = jm_load_relaxed(&block->map[granule]);
            if (holds(state)) { /* untested: it does not, by chance */
                take(block, granule);
                return true;
            }
        }
    }
    return false;
}

/* The granule where the object, hole or span that starts at `granule` ends. */
static size_t next_place(const struct jm_arena *arena, const struct jm_block *block, size_t granule)
{
    unsigned state = jm_load_relaxed(&block->map[granule]);
    if (state == 0) { /* the span */
        return jm_granule_of(block, arena->span.end);
    }
    return jm_arena_end_at(arena, block, granule);
}

enum finding { FOUND, NONE, UNCLEAR };

/* Steps from object to object in [start, end) and takes the first that holds the block. UNCLEAR if
 * the steps run out. */
static enum finding take_between(const struct jm_arena *arena, struct jm_block *block, size_t start,
                                 size_t end, unsigned *steps)
{
    for (; start < end; start = next_place(arena, block, start)) {
        if (*steps == 0) {
            return UNCLEAR;
        }
        if (holds(jm_load_relaxed(&block->map[start]))) {
            take(block, start);
            return FOUND;
        }
        --*steps;
    }
    return NONE;
}

/* Looks at a few objects, beginning at the last witness if something still starts there. */
static enum finding look_at_few(const struct jm_arena *arena, struct jm_block *block)
{
    size_t last = block->witness;
    bool in_block = last >= block->first_granule && last < block->carved;
    size_t middle =
        in_block && jm_load_relaxed(&block->map[last]) != 0 ? last : block->first_granule;
    unsigned steps = STEPS_NEAR + (unsigned)(block->granules / STEPS_DIVISOR);
    enum finding finding = take_between(arena, block, middle, block->carved, &steps);
    return finding != NONE ? finding
                           : take_between(arena, block, block->first_granule, middle, &steps);
}

/* Takes an object at a place where scanning the whole map found one before. If a few objects, far
 * apart, come and go in turn, each change would need that scan again. */
static bool take_known(struct jm_block *block)
{
    for (unsigned i = 0; i < block->far_count && i < JM_FAR_WITNESSES; i++) {
        size_t granule = block->far_witnesses[i];
        if (holds(jm_load_relaxed(&block->map[granule]))) {
            take(block, granule);
            return true;
        }
    }
    return false;
}

/* Takes an object from anywhere but words [from, to), and remembers its place. */
static bool take_far(struct jm_block *block, size_t from, size_t to, size_t end)
{
    bool taken =
        take_from(block, to, end) || take_from(block, block->first_granule / JM_WORD, from);
    if (taken) {
        block->far_witnesses[block->far_count++ % JM_FAR_WITNESSES] = block->witness;
    }
    return taken;
}

/* The search begins at a random place: objects are often freed in the order of their addresses, so
 * a neighbour of the last witness would be freed next. */
bool jm_witness_find(struct jm_arena *arena, struct jm_block *block)
{
    size_t first = block->first_granule / JM_WORD;
    size_t end = (jm_arena_end(arena, block) + JM_WORD - 1) / JM_WORD;
    size_t anywhere = first + jm_arena_draw(arena, end - first);
    size_t near = end - anywhere < WORDS_NEAR ? end : anywhere + WORDS_NEAR;
    if (take_from(block, anywhere, near) || take_known(block)) {
        return true;
    }
    enum finding finding = look_at_few(arena, block);
    return finding == UNCLEAR ? take_far(block, anywhere, near, end) : finding == FOUND;
}

bool jm_witness_pass_on(struct jm_arena *arena, struct jm_block *block)
{
    jm_state *state = &block->map[block->witness];
    if (!jm_witness_find(arena, block)) {
        return false;
    }
    uint8_t marked = jm_load_relaxed(state);
    if (jm_is_witness(marked)) { /* else it is queued, as it may be at any time */
        (void)jm_cas_acquire(state, &marked, (uint8_t)(marked - JM_WITNESS + JM_PLAIN));
    }
    return true;
}
