/*
 * Layer 3: objects aligned to more than a granule. Three sources are tried: a free object that
 * happens to be aligned; the span, from the next multiple on; a larger object, which holds an
 * aligned one wherever it lies. What is left over becomes free.
 */
#include "heap.h"
#include "large.h"

/* Free objects of a class that are searched for an aligned one. */
#define ALIGNED_STEPS 16

/* Takes an aligned object from the first few in the list of class `code`. NULL if none of them is
 * aligned. */
static void *pop_aligned(struct jm_heap *heap, unsigned code, size_t alignment)
{
    struct jm_arena *arena = heap->arena;
    struct jm_link *before = &arena->free[code];
    for (int steps = 0; steps < ALIGNED_STEPS; steps++) {
        struct jm_link *link = jm_link_next(before);
        jm_state *state = link == NULL ? NULL : jm_arena_find(arena, link);
        if (state == NULL || jm_load_relaxed(state) != code + JM_FREE) {
            break;
        }
        if (jm_is_aligned(link, alignment)) {
            jm_heap_note_change(heap);
            (void)jm_arena_take(before, link, state, code); /* the state was just checked */
            return link;
        }
        before = link;
    }
    return NULL;
}

/* Shrinks a plain live object to class `code`, if it is too large to serve as it is. */
static void trim(struct jm_heap *heap, const void *object, unsigned code)
{
    struct jm_block *block = jm_block_of(object);
    size_t granule = jm_granule_of(block, object);
    unsigned old = jm_arena_class_at(heap->arena, block, granule);
    if (!jm_class_serves(old, code)) {
        jm_arena_split(heap->arena, block, granule, JM_PLAIN + old, granule, code);
    }
}

/* Takes an aligned free object of class `code`, or of a larger one that serves; of any larger one
 * if memory is short. */
static void *find_aligned(struct jm_heap *heap, unsigned code, size_t alignment)
{
    if (heap->arena == NULL) {
        return NULL;
    }
    jm_arena_list_last(heap->arena);
    const bool is_short = jm_heap_is_short(heap);
    void *object = NULL;
    unsigned larger = code;
    for (; object == NULL && larger <= JM_CLASSES && (is_short || jm_class_serves(larger, code));
         larger++) {
        object = pop_aligned(heap, larger, alignment);
    }
    if (object != NULL) {
        trim(heap, object, code);
    }
    return object;
}

/* Cuts an object of class `code` off the span at the next multiple of the alignment. What lies
 * before it becomes free. NULL if the span has no room. */
static void *cut_aligned(struct jm_heap *heap, unsigned code, size_t alignment)
{
    struct jm_arena *arena = heap->arena;
    if (arena == NULL) {
        return NULL;
    }
    const struct jm_span span = arena->span;
    uintptr_t aligned = jm_align_up((uintptr_t)span.next, alignment);
    bool is_inside = aligned >= (uintptr_t)span.next && /* untested: the end of all addresses */
                     aligned <= (uintptr_t)span.end;
    if (!is_inside || (uintptr_t)span.end - aligned < jm_class_bytes(code)) {
        return NULL;
    }
    jm_heap_note_change(heap);
    arena->span.next = (char *)aligned;
    jm_arena_free_run(arena, span.block, jm_granule_of(span.block, span.next),
                      jm_granule_of(span.block, arena->span.next));
    return jm_arena_cut(arena, code);
}

/* Cuts an aligned object of class `code` out of `object`, a new one that is wide enough. If that
 * has a block of its own, it is aligned already. */
static void *carve_aligned(struct jm_heap *heap, void *object, size_t alignment, unsigned code)
{
    struct jm_block *block = jm_block_of(object);
    if (jm_block_is_large(block)) {
        return object;
    }
    size_t granule = jm_granule_of(block, object);
    void *aligned = (void *)jm_align_up((uintptr_t)object, alignment);
    unsigned live = JM_PLAIN + jm_arena_class_at(heap->arena, block, granule);
    jm_arena_split(heap->arena, block, granule, live, jm_granule_of(block, aligned), code);
    return aligned;
}

static void *alloc_aligned(struct jm_heap *heap, size_t alignment, size_t size,
                           enum jm_verdict *verdict)
{
    if (size > JM_SMALL_MAX || alignment > JM_SMALL_MAX - size) {
        return jm_large_alloc(heap, size, alignment, verdict);
    }
    size_t granules = (size + JM_GRANULE - 1) >> JM_GRANULE_BITS;
    unsigned code = jm_class_of(granules);
    /* A piece of this many granules holds an aligned object wherever it lies. */
    size_t wide = jm_class_granules[code] + (alignment >> JM_GRANULE_BITS) - 1;
    if (wide > JM_SMALL_GRANULES) {
        return jm_large_alloc(heap, size, alignment, verdict);
    }
    void *object = find_aligned(heap, code, alignment);
    if (object == NULL) {
        object = cut_aligned(heap, code, alignment);
    }
    if (object == NULL && heap->arena != NULL && jm_sweep_list(heap->arena, code)) {
        object = find_aligned(heap, code, alignment);
    }
    if (object != NULL) {
        return object;
    }
    object = jm_heap_alloc_small(heap, jm_class_of(wide), alignment, size, verdict);
    return object == NULL ? NULL : carve_aligned(heap, object, alignment, code);
}

void *jm_heap_alloc_aligned(struct jm_heap *heap, size_t alignment, size_t size,
                            enum jm_verdict *verdict)
{
    if (alignment <= JM_GRANULE) {
        return jm_heap_alloc(heap, size, verdict);
    }
    return jm_inspect_alloc(heap, alloc_aligned(heap, alignment, size, verdict), size);
}
