/* Objects filled with a pattern; large ones at their start and end only, for speed. */
#ifndef JM_TESTS_MARKED_H
#define JM_TESTS_MARKED_H

#include "jsrtmem.h"
#include "random.h"

#define MARKED_BYTES ((size_t)4096)

struct object {
    unsigned char *bytes;
    size_t size;
    uint64_t id; /* pattern of the start; the end has id + 1 */
};

static inline size_t marked_at_start(const struct object *object)
{
    return object->size < MARKED_BYTES ? object->size : MARKED_BYTES;
}

static inline size_t marked_at_end(const struct object *object)
{
    return object->size < 2 * MARKED_BYTES ? 0 : MARKED_BYTES;
}

static inline void mark(const struct object *object)
{
    size_t end = marked_at_end(object);

    pattern_fill(object->bytes, marked_at_start(object), object->id);
    pattern_fill(object->bytes + object->size - end, end, object->id + 1);
}

static inline bool is_intact(const struct object *object)
{
    size_t end = marked_at_end(object);

    return jsrtmem_usable_size(object->bytes) >= object->size &&
           pattern_holds(object->bytes, marked_at_start(object), object->id) &&
           pattern_holds(object->bytes + object->size - end, end, object->id + 1);
}

/* True if the bytes at the start survived a reallocation to `size` bytes. */
static inline bool start_is_kept(const struct object *before, const void *bytes, size_t size)
{
    size_t marked = marked_at_start(before);

    return pattern_holds(bytes, marked < size ? marked : size, before->id);
}

#endif
