/*
 * For tests of the public API that are also built with the library's internals (JM_INSIDE): these
 * walk a runtime's heap after each step.
 */
#ifndef JM_TESTS_INSIDE_H
#define JM_TESTS_INSIDE_H

#include "jsrtmem.h"

#ifdef JM_INSIDE
#include "../../src/runtime.h"
#include "heap_check.h"
#endif

/* What is wrong with a runtime's heap. NULL: nothing, or not built with JM_INSIDE. No thread may
 * use the runtime meanwhile. `stray`: something may have been written into freed memory. */
static inline const char *inside_fault(JsRuntimeHandle runtime, bool stray)
{
#ifdef JM_INSIDE
    const struct jm_heap *heap = &jm_runtime_at(jm_runtime_find(runtime))->heap;
    return heap_check(heap, stray ? HEAP_MAPS : HEAP_LISTS, NULL);
#else
    (void)runtime, (void)stray;
    return NULL;
#endif
}

#endif
