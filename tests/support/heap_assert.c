#include "heap_check.h"
#include "unit.h"

struct heap_walk heap_check_at(const struct jm_heap *heap, unsigned parts, const char *file,
                               int line)
{
    struct heap_walk walk;
    const char *fault = heap_check(heap, parts, &walk);
    if (fault != NULL) {
        unit_fail(file, line, "the heap: %s", fault);
    }
    return walk;
}
