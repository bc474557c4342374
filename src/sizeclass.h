/*
 * Layer 3: size classes, in granules of 16 bytes.
 *
 * Up to 8 granules every count is a class. From there on 19 steps multiply by eight, and each step
 * wastes at most an eighth of the object:  (size - previous size) / size <= 1/8.
 * The steps from 8 to 64 repeat in units of 1, 8, 64 and 512 granules.
 */
#ifndef JM_SIZECLASS_H
#define JM_SIZECLASS_H

#include "block.h"

/* Codes run from 1 to JM_CLASSES; 0 is no class. */
#define JM_CLASSES 78

/* The largest object that shares a block: 256 KiB. */
#define JM_SMALL_GRANULES ((size_t)16384)
#define JM_SMALL_MAX (JM_SMALL_GRANULES << JM_GRANULE_BITS)

/* The largest object whose class is its step: 1 KiB. */
#define JM_STEP_MAX ((size_t)64 << JM_GRANULE_BITS)

static_assert(JM_CLASSES < JM_FREE, "a state byte holds a class in one of three states");

extern const uint8_t jm_class_steps[65];                 /* by count of units: the step that fits */
extern const uint16_t jm_class_granules[JM_CLASSES + 1]; /* by code */

/* The smallest class of at least `granules`, at most JM_SMALL_GRANULES; 0 counts as 1. */
JM_INLINE unsigned jm_class_of(size_t granules)
{
    if (JM_LIKELY(granules <= 64)) {
        return jm_class_steps[granules];
    }
    if (granules <= 512) {
        return jm_class_steps[(granules + 7) >> 3] + 19u;
    }
    if (granules <= 4096) {
        return jm_class_steps[(granules + 63) >> 6] + 38u;
    }
    return jm_class_steps[(granules + 511) >> 9] + 57u;
}

/* The smallest class of at least `size` bytes, at most JM_SMALL_MAX. */
JM_INLINE unsigned jm_class_of_size(size_t size)
{
    return jm_class_of((size + JM_GRANULE - 1) >> JM_GRANULE_BITS);
}

/* The largest class of at most `granules`, which is 1 or more. */
static inline unsigned jm_class_within(size_t granules)
{
    if (granules >= JM_SMALL_GRANULES) {
        return JM_CLASSES;
    }
    unsigned code = jm_class_of(granules);
    return jm_class_granules[code] > granules ? code - 1 : code;
}

/* What an object counts in its block. */
JM_INLINE uint64_t jm_class_live(unsigned code)
{
    return ((uint64_t)1 << 32) + jm_class_granules[code];
}

static inline bool jm_is_live(unsigned state)
{
    return state - 1u < JM_CLASSES;
}

static inline bool jm_is_free(unsigned state)
{
    return state - (JM_FREE + 1u) < JM_CLASSES;
}

static inline bool jm_is_queued(unsigned state)
{
    return state > JM_QUEUED;
}

/* The class of any state byte but 0. */
static inline unsigned jm_state_class(unsigned state)
{
    return state <= JM_FREE ? state : state <= JM_QUEUED ? state - JM_FREE : state - JM_QUEUED;
}

#endif
