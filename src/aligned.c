/*
 * Layer 3: objects at a multiple of more than a granule. A free object may lie as it has to; the span has room behind the
 * next multiple; or a larger object holds one wherever it lies, and what is left of it becomes free.
 */
#include "heap.h"
#include "large.h"

/* So many free objects of a class are looked at for one that is aligned. */
#define ALIGNED_STEPS 16

/* A free object of class `code` that lies as it has to, of those that are listed first. NULL: none of them does. */
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
            (void)jm_arena_take(before, link, state, code); /* it is free, as was just seen */
            return link;
        }
        before = link;
    }
    return NULL;
}

/* Makes a live object, which is no witness, one of class `code` where it is too large to serve as that. */
static void trim(struct jm_heap *heap, const void *object, unsigned code)
{
    struct jm_block *block = jm_block_of(object);
    size_t granule = jm_granule_of(block, object);
    unsigned old = jm_arena_class_at(heap->arena, block, granule);
    if (!jm_class_serves(old, code)) {
        jm_arena_split(heap->arena, block, granule, JM_PLAIN + old, granule, code);
    }
}

/* The same of class `code`, or a larger one that serves; or any one where memory is short. */
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

/* An object of class `code` cut off the span behind the next multiple of the alignment; what lies in front of it becomes
 * free. NULL: it has no room. */
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

/* An object of class `code` cut out of a new one that holds it, if that shares its block: else it is aligned. */
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
    /* What holds an aligned one wherever it lies. */
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
    return jm_inspect_take(heap, alloc_aligned(heap, alignment, size, verdict), size);
}
