/* A small seeded generator (xorshift64*), and patterns that tell one object's bytes from
 * another's. */
#ifndef JM_TESTS_RANDOM_H
#define JM_TESTS_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct random {
    uint64_t state;
};

static inline struct random random_seeded(uint64_t seed)
{
    struct random self = {(seed + 1) * UINT64_C(0x9e3779b97f4a7c15)};

    if (self.state == 0) {
        self.state = UINT64_C(0x9e3779b97f4a7c15);
    }
    return self;
}

static inline uint64_t random_next(struct random *self)
{
    self->state ^= self->state >> 12;
    self->state ^= self->state << 25;
    self->state ^= self->state >> 27;
    return self->state * UINT64_C(0x2545f4914f6cdd1d);
}

/* 0 <= result < bound; bound > 0 */
static inline size_t random_below(struct random *self, size_t bound)
{
    return (size_t)((random_next(self) >> 11) % bound);
}

static inline bool random_chance(struct random *self, unsigned percent)
{
    return random_below(self, 100) < percent;
}

/* Log-uniform between 1 and about 2^bits. */
static inline size_t random_size(struct random *self, unsigned bits)
{
    size_t shift = random_below(self, bits);

    return ((size_t)1 << shift) + random_below(self, (size_t)1 << shift);
}

static inline unsigned char pattern_byte(uint64_t id, size_t index)
{
    return (unsigned char)((id * 151u + index * 7u + (index >> 8) * 13u) & 0xff);
}

static inline void pattern_fill(void *object, size_t size, uint64_t id)
{
    unsigned char *bytes = object;

    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern_byte(id, i);
    }
}

static inline bool pattern_holds(const void *object, size_t size, uint64_t id)
{
    const unsigned char *bytes = object;

    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != pattern_byte(id, i)) {
            return false;
        }
    }
    return true;
}

static inline bool bytes_are(const void *object, size_t size, unsigned char value)
{
    const unsigned char *bytes = object;

    return size == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

#endif
