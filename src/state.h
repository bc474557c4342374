/*
 * Layer 3: the state map of a small block, a byte per granule.
 *
 * The map is the authority on what is an object; nothing that lies in the objects is trusted. The
 * byte of a granule says what starts there:
 *
 *      0                 nothing
 *      c + JM_FREE       a free object of size class c
 *      c + JM_PLAIN      a live object
 *      c + JM_WITNESS    a live object that proves that its block is not empty, see witness.h
 *      c + JM_QUEUED     a queued object: another thread freed it, and its heap has not taken it in
 *                        yet; only for c <= JM_QUEUED_CLASSES, as there are no more values
 *
 *      JM_QUEUED         a queued object of a larger class
 *      JM_UNLISTED       a run of free granules that is in no list, see sweep.h
 *      JM_HOLE           a hole: decommitted pages, not charged, to be asked for again
 *
 * The last three tell no size. Such a piece ends where the next one starts, at the arena's span, or
 * at `carved`.
 */
#ifndef JM_STATE_H
#define JM_STATE_H

#include "sizeclass.h"

/*
 * The values form one scale without gaps. As class codes start at 1, each name with a class is one
 * less than its first value:
 *
 *      free 1..78 | unlisted 79 | hole 80 | witness 81..158 | queued 159, 160..177 | plain 178..255
 *
 * The order makes tests cheap. The fast paths test for states above JM_PLAIN. A block without a
 * witness is not empty if it has a state of JM_QUEUED or above: there the highest bit is set.
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

/* Granules of what starts, by state; 0 if the state tells no class. */
extern JM_HIDDEN const uint16_t jm_state_granules[UINT8_MAX + 1];

/* True for a live object that is no witness, as most are. */
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

/* True for free objects, listed or not. */
static inline bool jm_is_free(unsigned state)
{
    return (uint8_t)(state - JM_FREE - 1) < JM_UNLISTED - JM_FREE;
}

static inline bool jm_is_queued(unsigned state)
{
    return (uint8_t)(state - JM_QUEUED) <= JM_QUEUED_CLASSES;
}

/* The state of a queued object of class `code`. Computed without a branch, as no processor would
 * predict it. */
static inline uint8_t jm_queued_state(unsigned code)
{
    unsigned has_value = code <= JM_QUEUED_CLASSES;
    return (uint8_t)(JM_QUEUED + (code & (0 - has_value)));
}

/* The class of a live object, or of a free one whose state is not JM_UNLISTED. */
static inline unsigned jm_state_class(unsigned state)
{
    return state - (jm_is_plain(state) ? JM_PLAIN : jm_is_witness(state) ? JM_WITNESS : JM_FREE);
}

#define JM_WORD sizeof(uint64_t)                  /* states that are loaded at once */
#define JM_HIGH_BITS UINT64_C(0x8080808080808080) /* of eight states */

/* Puts eight states loaded from a map in order: the first one in the lowest byte. */
static inline uint64_t jm_in_order(uint64_t states)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(states);
#else
    return states;
#endif
}

/* The eight states from `granule` on, in order. */
static inline uint64_t jm_load_states(const jm_state *map, size_t granule)
{
    uint64_t states;
    jm_copy_bytes((uint8_t *)&states, &map[granule], JM_WORD);
    return jm_in_order(states);
}

/* The highest bits of eight states, gathered in the lowest eight bits: the first one in bit 0. */
static inline uint64_t jm_gather_high(uint64_t states)
{
    return ((states & JM_HIGH_BITS) >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

#define JM_BLANK_STATES (8 * JM_WORD) /* states that are tested at once for being 0 */

/* JM_BLANK_STATES from `granule` on, word by word or-ed into one. 0 if all are 0, as inside an
 * object of many granules. */
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

/* The granule of the last word of states in front of `granule` that is not 0; `least` if there is
 * none from `least` on. All three are multiples of JM_WORD. */
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

/* The index, among eight states, of the one that has the lowest set bit. pre: a bit is set. */
static inline size_t jm_first_state(uint64_t states)
{
    return (size_t)__builtin_ctzll(states) / 8;
}

/* The same for the highest set bit. */
static inline size_t jm_last_state(uint64_t states)
{
    return (size_t)(63 - __builtin_clzll(states)) / 8;
}

#endif
