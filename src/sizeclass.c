#include "sizeclass.h"

/* The step that fits 1, 2, ... 64 units. */
/* clang-format off */
#define FOR_STEPS(X)                                                                               \
    X(1)  X(2)  X(3)  X(4)  X(5)  X(6)  X(7)  X(8)  X(9)  X(10) X(11) X(12) X(13) X(14) X(15) X(15) \
    X(16) X(16) X(17) X(17) X(18) X(18) X(19) X(19) X(19) X(20) X(20) X(20) X(21) X(21) X(21) X(21) \
    X(22) X(22) X(22) X(22) X(23) X(23) X(23) X(23) X(23) X(24) X(24) X(24) X(24) X(24) X(25) X(25) \
    X(25) X(25) X(25) X(25) X(26) X(26) X(26) X(26) X(26) X(26) X(26) X(27) X(27) X(27) X(27) X(27)
/* clang-format on */

#define ONCE(step) step,

const uint8_t jm_class_steps[65] = {1, FOR_STEPS(ONCE)};

#define GRANULE(step) /* of sizes */ \
    step, step, step, step, step, step, step, step, step, step, step, step, step, step, step, step,

const uint8_t jm_class_sizes[JM_STEP_MAX + 1] = {1, FOR_STEPS(GRANULE)};

#define COUNT(granules) granules,

const uint16_t jm_class_granules[JM_CLASSES + 1] = {0, JM_FOR_CLASSES(COUNT)};
