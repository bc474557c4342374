/* Objects whose bytes are marked; of large ones only the start and the end, for speed. */
#ifndef JM_TESTS_MARKED_H
#define JM_TESTS_MARKED_H

#include "jsrtmem.h"
#include "random.h"

#define MARKED_BYTES ((size_t)4096)

struct object {
    unsigned char *bytes;
    size_t size;
    uint64_t id; /* and id + 1 for the end */
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

/* Of an object that was reallocated to `size` bytes: the bytes at the start that must be as before. */
static inline bool start_is_kept(const struct object *before, const void *bytes, size_t size)
{
    size_t marked = marked_at_start(before);

    return pattern_holds(bytes, marked < size ? marked : size, before->id);
}

#endif
