/*
 * Layer 3: the state map of a small block, a byte per granule.
 *
 * The map, not anything that lies in the objects, is the authority on what is an object:
 *
 *      0                         no object starts at this granule
 *      c + JM_FREE               a free object of size class c starts here
 *      JM_UNLISTED               what is free and in no list starts here, see sweep.h; it ends where the next one starts,
 *                                or the arena's span, or at `carved`
 *      c + JM_PLAIN              a live one
 *      c + JM_WITNESS            a live one that shows that its block is not empty, see witness.h
 *      c + JM_QUEUED             one that another thread freed, and its heap has not taken in yet, where c is at
 *                                most JM_QUEUED_CLASSES: there are no more values. For a larger one:
 *      JM_QUEUED                 it ends likewise
 *      JM_HOLE                   a hole starts here, pages that were given back, which ends likewise: not charged,
 *                                to be asked for again
 */
#ifndef JM_STATE_H
#define JM_STATE_H

#include "sizeclass.h"

/*
 * One scale without gaps. Each name is the value just below that of its first class, so that a state is name + class, and no
 * class is 0:
 *
 *      free 1..78 | unlisted 79 | hole 80 | witness 81..158 | queued 159, 160..177 | plain 178..255
 *
 * The fast paths ask for what is greater than JM_PLAIN; what holds a block without a witness is JM_QUEUED or greater,
 * and has the highest bit.
 */
#define JM_FREE 0
#define JM_UNLISTED 79
#define JM_HOLE 80
#define JM_WITNESS 80
#define JM_QUEUED 159
#define JM_PLAIN 177
#define JM_QUEUED_CLASSES (JM_PLAIN - JM_QUEUED)

static_assert(JM_FREE + JM_CLASSES < JM_UNLISTED && JM_UNLISTED < JM_HOLE &&
                  JM_HOLE <= JM_WITNESS && JM_HOLE < 128 && JM_WITNESS + JM_CLASSES < JM_QUEUED &&
                  128 <= JM_QUEUED && JM_QUEUED < JM_PLAIN && JM_PLAIN + JM_CLASSES <= UINT8_MAX,
              "a state byte holds what it should");

/* By state; 0: it tells no class. */
extern JM_HIDDEN const uint16_t jm_state_granules[UINT8_MAX + 1];

/* A live object that is no witness: most are. */
static inline bool jm_is_plain(unsigned state)
{
    return state > JM_PLAIN;
}

static inline bool jm_is_witness(unsigned state)
{
    return (uint8_t)(state - JM_WITNESS - 1) < JM_CLASSES;
}

static inline bool jm_is_live(unsigned state)
{
    return jm_is_plain(state) || jm_is_witness(state);
}

/* In a list or not. */
static inline bool jm_is_free(unsigned state)
{
    return (uint8_t)(state - JM_FREE - 1) < JM_UNLISTED - JM_FREE;
}

static inline bool jm_is_queued(unsigned state)
{
    return (uint8_t)(state - JM_QUEUED) <= JM_QUEUED_CLASSES;
}

/* What the state of an object of class `code` is while it is queued. Without a branch, which no processor predicts. */
static inline uint8_t jm_queued_state(unsigned code)
{
    unsigned has_value = code <= JM_QUEUED_CLASSES;
    return (uint8_t)(JM_QUEUED + (code & (0 - has_value)));
}

/* The class of a live object, or a free one that is not unlisted. */
static inline unsigned jm_state_class(unsigned state)
{
    return state - (jm_is_plain(state) ? JM_PLAIN : jm_is_witness(state) ? JM_WITNESS : JM_FREE);
}

/* Eight states, as they lie in a map, with the first one's lowest. */
#define JM_WORD sizeof(uint64_t)
#define JM_HIGH_BITS UINT64_C(0x8080808080808080) /* of each */
static inline uint64_t jm_in_order(uint64_t states)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(states);
#else
    return states;
#endif
}

/* Those from a granule of a map on. */
static inline uint64_t jm_load_states(const jm_state *map, size_t granule)
{
    uint64_t states;
    jm_copy_bytes((uint8_t *)&states, &map[granule], JM_WORD);
    return jm_in_order(states);
}

/* The highest bits of eight states side by side, the first one's lowest. */
static inline uint64_t jm_gather_high(uint64_t states)
{
    return ((states & JM_HIGH_BITS) >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

/* Eight words of states from a granule on, or-ed into one: 0 where all are, as inside a large object. */
#define JM_BLANK_STATES (8 * JM_WORD)
static inline uint64_t jm_load_merged(const jm_state *map, size_t granule)
{
    uint64_t any = 0;
    for (size_t i = 0; i < JM_BLANK_STATES; i += JM_WORD) {
        any |= jm_load_states(map, granule + i);
    }
    return any;
}

static inline bool jm_are_blank(const jm_state *map, size_t granule)
{
    return jm_load_merged(map, granule) == 0;
}

/* Where the last word of states in front of `granule` is that is not 0, or `least`. All are multiples of JM_WORD. */
static inline size_t jm_find_states_before(const jm_state *map, size_t granule, size_t least)
{
    while (granule > least && jm_load_states(map, granule -= JM_WORD) == 0) {
        while (granule % JM_BLANK_STATES == 0 && granule - least >= JM_BLANK_STATES &&
               jm_are_blank(map, granule - JM_BLANK_STATES)) {
            granule -= JM_BLANK_STATES;
        }
    }
    return granule;
}

/* Which of eight states the lowest bit set belongs to. pre: there is one. */
static inline size_t jm_first_state(uint64_t states)
{
    return (size_t)__builtin_ctzll(states) / 8;
}

/* And the highest. */
static inline size_t jm_last_state(uint64_t states)
{
    return (size_t)(63 - __builtin_clzll(states)) / 8;
}

#endif
