#include "sizeclass.h"

#include "state.h"

/* The smallest steps that fit 1, 2, ... 64 units. */
/* clang-format off */
#define FOR_STEPS(X)                                                                               \
    X(1)  X(2)  X(3)  X(4)  X(5)  X(6)  X(7)  X(8)  X(9)  X(10) X(11) X(12) X(13) X(14) X(15) X(15)\
    X(16) X(16) X(17) X(17) X(18) X(18) X(19) X(19) X(19) X(20) X(20) X(20) X(21) X(21) X(21) X(21)\
    X(22) X(22) X(22) X(22) X(23) X(23) X(23) X(23) X(23) X(24) X(24) X(24) X(24) X(24) X(25) X(25)\
    X(25) X(25) X(25) X(25) X(26) X(26) X(26) X(26) X(26) X(26) X(26) X(27) X(27) X(27) X(27) X(27)
/* clang-format on */

#define ONCE(step) step,

const uint8_t jm_step_by_units[65] = {1, FOR_STEPS(ONCE)};

#define GRANULE(step) /* 16 sizes */ \
    step, step, step, step, step, step, step, step, step, step, step, step, step, step, step, step,

const uint8_t jm_class_by_bytes[JM_STEP_MAX + 1] = {1, FOR_STEPS(GRANULE)};

#define COUNT(granules) granules,

const uint16_t jm_class_granules[JM_CLASSES + 1] = {0, JM_FOR_CLASSES(COUNT)};

static_assert(JM_FREE == 0 && JM_UNLISTED == JM_CLASSES + 1 && JM_HOLE == JM_UNLISTED + 1 &&
                  JM_WITNESS == JM_HOLE && JM_QUEUED == JM_WITNESS + JM_CLASSES + 1 &&
                  JM_PLAIN == JM_QUEUED + JM_QUEUED_CLASSES,
              "states come in this order");
/* clang-format off */
const uint16_t jm_state_granules[UINT8_MAX + 1] = {
    0, JM_FOR_CLASSES(COUNT)        /* free */
    0, 0, JM_FOR_CLASSES(COUNT)     /* unlisted; hole; witnesses */
    0, JM_FOR_QUEUED_CLASSES(COUNT) /* queued, of a larger class; of each smaller one */
    JM_FOR_CLASSES(COUNT)           /* plain */
};
/* clang-format on */
