#include "sizeclass.h"

const uint8_t jm_class_steps[65] = {
    1,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 15, 16, 16, 17, 17, 18,
    18, 19, 19, 19, 20, 20, 20, 21, 21, 21, 21, 22, 22, 22, 22, 23, 23, 23, 23, 23, 24, 24,
    24, 24, 24, 25, 25, 25, 25, 25, 25, 26, 26, 26, 26, 26, 26, 26, 27, 27, 27, 27, 27,
};

#define COUNT(granules) granules,

const uint16_t jm_class_granules[JM_CLASSES + 1] = {0, JM_FOR_CLASSES(COUNT)};

#define LIVE(granules) ((uint64_t)1 << 32) + (granules),

const uint64_t jm_class_counts[JM_CLASSES + 1] = {0, JM_FOR_CLASSES(LIVE)};
