/*
 * Layer 3: size classes, in granules of 16 bytes.
 *
 * Up to 8 granules, each count is a class. Above, every 19 classes multiply the size by eight: the
 * steps from 8 to 64 repeat in units of 1, 8, 64 and 512 granules. There, an object wastes at most
 * an eighth:
 *
 *      (size - previous size) / size <= 1/8
 *
 * A free object of a greater class may serve too, see jm_class_serves.
 */
#ifndef JM_SIZECLASS_H
#define JM_SIZECLASS_H

#include "region.h"

/* Codes run from 1 to JM_CLASSES; 0 is no class. */
#define JM_CLASSES 78

/* The largest object in a small block: 256 KiB. A larger one has a block of its own. */
#define JM_SMALL_GRANULES ((size_t)16384)
#define JM_SMALL_MAX (JM_SMALL_GRANULES << JM_GRANULE_BITS)

/* The largest size whose class is its step: 1 KiB. One table look-up finds its class. */
#define JM_STEP_MAX ((size_t)64 << JM_GRANULE_BITS)

/* The granules of each class, in the order of the codes. For the classes of the first list, the
 * state of a queued object tells the class. */
/* clang-format off */
#define JM_FOR_QUEUED_CLASSES(X)                                                                   \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)                                                        \
    X(9) X(10) X(11) X(12) X(13) X(14) X(16) X(18) X(20) X(22)
#define JM_FOR_CLASSES(X)                                                                          \
    JM_FOR_QUEUED_CLASSES(X)                                                                       \
    X(25) X(28) X(32) X(36) X(41) X(46) X(52) X(59) X(64)                                          \
    X(72) X(80) X(88) X(96) X(104) X(112) X(128) X(144) X(160) X(176) X(200) X(224) X(256)         \
    X(288) X(328) X(368) X(416) X(472) X(512)                                                      \
    X(576) X(640) X(704) X(768) X(832) X(896) X(1024) X(1152) X(1280) X(1408) X(1600) X(1792)      \
    X(2048) X(2304) X(2624) X(2944) X(3328) X(3776) X(4096)                                        \
    X(4608) X(5120) X(5632) X(6144) X(6656) X(7168) X(8192) X(9216) X(10240) X(11264) X(12800)     \
    X(14336) X(16384)
/* clang-format on */

extern JM_HIDDEN const uint8_t jm_class_by_bytes[JM_STEP_MAX + 1]; /* the smallest that fits */
extern JM_HIDDEN const uint8_t jm_step_by_units[65];               /* the smallest that fits */
extern JM_HIDDEN const uint16_t jm_class_granules[JM_CLASSES + 1]; /* by code */

/* True if an object of class `larger` is at most a quarter larger than one of class `code`. Then it
 * may serve a request for `code` as it is, and keeps its class when it is shrunk to `code`. */
static inline bool jm_class_serves(unsigned larger, unsigned code)
{
    return larger >= code && jm_class_granules[larger] * 4u <= jm_class_granules[code] * 5u;
}

#define JM_NEAR_MIN 7 /* from this class on, the next one is at most a seventh larger */

/* The one other class that fast paths try for `code`: the next one, if it is at most a seventh
 * larger, else `code` itself. For the last class it is JM_CLASSES + 1, which no object has. */
JM_INLINE size_t jm_class_near(size_t code)
{
    return code + 1 - (code < JM_NEAR_MIN);
}

/* The smallest class of at least `granules`; 0 counts as 1. pre: at most JM_SMALL_GRANULES. */
JM_INLINE unsigned jm_class_of(size_t granules)
{
    if (JM_LIKELY(granules <= 64)) {
        return jm_step_by_units[granules];
    }
    if (granules <= 512) {
        return jm_step_by_units[(granules + 7) >> 3] + 19u;
    }
    if (granules <= 4096) {
        return jm_step_by_units[(granules + 63) >> 6] + 38u;
    }
    return jm_step_by_units[(granules + 511) >> 9] + 57u;
}

/* The smallest class of at least `size` bytes. pre: `size` <= JM_SMALL_MAX. */
JM_INLINE unsigned jm_class_of_size(size_t size)
{
    return jm_class_of((size + JM_GRANULE - 1) >> JM_GRANULE_BITS);
}

/* The largest class of at most `granules`. pre: `granules` >= 1. */
static inline unsigned jm_class_within(size_t granules)
{
    if (granules >= JM_SMALL_GRANULES) {
        return JM_CLASSES;
    }
    unsigned code = jm_class_of(granules);
    return jm_class_granules[code] > granules ? code - 1 : code;
}

/* The largest class of at most two objects of class `code`. */
static inline unsigned jm_class_twice(unsigned code)
{
    return jm_class_within(2 * (size_t)jm_class_granules[code]);
}

JM_INLINE size_t jm_class_bytes(size_t code)
{
    return (size_t)jm_class_granules[code] << JM_GRANULE_BITS;
}

#endif
