/*
 * Layer 3: changing the size of objects, in place or by a move.
 */
#include "heap.h"

#include <string.h>

#include "large.h"

/*
 * Allocates an object to move `pointer` to. If the move would leave a second empty block, the one
 * that is kept empty is released first: that calls the host, which may jump out of its callback,
 * and an object just allocated would be lost.
 */
static void *alloc_to_move(struct jm_heap *heap, const void *pointer, size_t size,
                           enum jm_verdict *verdict)
{
    if (size <= JM_SMALL_MAX) {
        void *object = jm_heap_alloc(heap, size, verdict); /* perhaps in the empty block */
        if (object == NULL || !jm_heap_leaves_empty(heap, pointer)) {
            return object;
        }
        (void)jm_heap_free(heap, object);
        jm_heap_release_kept(heap);
    } else if (jm_heap_leaves_empty(heap, pointer)) {
        jm_heap_release_kept(heap);
    }
    return jm_heap_alloc(heap, size, verdict);
}

/* Moves an object's content into a new one, `moved`. NULL if the host or another thread has freed
 * the old one meanwhile. */
static void *move_into(struct jm_heap *heap, void *moved, void *pointer, size_t size)
{
    size_t old = jm_heap_usable(heap, pointer);
    JM_CHECK(pointer != NULL); /* known, but not to the static analyzer */
    jm_inspect_open(pointer, old);
    memcpy(moved, pointer, old < size ? old : size);
    if (moved == pointer || !jm_heap_free(heap, pointer)) {
        (void)jm_heap_free(heap, moved);
        return NULL;
    }
    return moved;
}

void *jm_heap_move(struct jm_heap *heap, void *pointer, size_t size, enum jm_verdict *verdict)
{
    void *moved = alloc_to_move(heap, pointer, size, verdict);
    return moved == NULL ? NULL : move_into(heap, moved, pointer, size);
}

void *jm_heap_move_here(struct jm_heap *heap, void *pointer, size_t size)
{
    void *moved = jm_heap_refill(heap, jm_class_of_size(size));
    if (moved == NULL) {
        return NULL;
    }
    (void)jm_inspect_alloc(heap, moved, size);
    if (jm_heap_leaves_empty(heap, pointer)) {
        (void)jm_heap_free(heap, moved);
        return NULL;
    }
    return move_into(heap, moved, pointer, size);
}

/* True if an object of class `old` may move when it shrinks to class `code`. If memory is short,
 * the move must not cut up a free object larger than the one it leaves: see which one
 * jm_arena_choose_span prefers. */
static bool has_place(struct jm_heap *heap, unsigned code, unsigned old)
{
    unsigned twice = jm_class_twice(code);
    jm_arena_list_last(heap->arena);
    return !jm_heap_is_short(heap) || jm_arena_next_listed(heap->arena, code) == code ||
           jm_arena_next_listed(heap->arena, twice + 1) <= old;
}

/* Shrinks a small object to a smaller class. It is split only if it cannot move: if all were split,
 * the heap would soon be full of remnants between shrunken objects. NULL if another thread has
 * freed it meanwhile. */
static void *shrink(struct jm_heap *heap, jm_state *state, unsigned live, void *pointer,
                    size_t size)
{
    const unsigned code = jm_class_of_size(size);
    struct jm_arena *arena = heap->arena;
    const unsigned old = jm_state_class(live);
    if (jm_arena_retract(arena, state, pointer, live - old, old, code)) {
        jm_heap_note_change(heap);
        return pointer;
    }
    void *moved = has_place(heap, code, old) ? jm_heap_move_here(heap, pointer, size) : NULL;
    live = jm_load_relaxed(state);
    if (moved != NULL || !jm_is_live(live)) {
        return moved;
    }
    struct jm_block *block = jm_block_of(pointer);
    size_t granule = jm_granule_of(block, pointer);
    jm_arena_split(arena, block, granule, live, granule, code);
    jm_heap_note_change(heap);
    return pointer;
}

void *jm_heap_resize_here(struct jm_heap *heap, void *pointer, size_t size)
{
    unsigned live;
    unsigned code = jm_class_of_size(size);
    jm_state *state = jm_heap_find_small(heap, pointer, &live);
    unsigned old = state == NULL ? code : jm_state_class(live);
    if (state == NULL || jm_class_serves(old, code)) {
        return state == NULL ? NULL : pointer;
    }
    if (code < old) {
        return shrink(heap, state, live, pointer, size);
    }
    if (jm_arena_extend(heap->arena, state, pointer, live - old, old, code)) {
        jm_heap_note_change(heap);
        return pointer;
    }
    return jm_heap_move_here(heap, pointer, size);
}

static void *resize(struct jm_heap *heap, void *pointer, size_t size, enum jm_verdict *verdict)
{
    unsigned live;
    jm_state *state = jm_heap_find_small(heap, pointer, &live);
    if (!jm_large_is_possible(size, JM_GRANULE)) {
        *verdict = JM_REFUSED_SIZE;
        return NULL;
    }
    if (state != NULL) {
        void *object = size > JM_SMALL_MAX ? NULL : jm_heap_resize_here(heap, pointer, size);
        return object != NULL ? object : jm_heap_move(heap, pointer, size, verdict);
    }
    struct jm_block *block = jm_large_find(heap, pointer);
    return block == NULL ? NULL : jm_large_resize(heap, block, size, verdict);
}

void *jm_heap_resize(struct jm_heap *heap, void *pointer, size_t size, enum jm_verdict *verdict)
{
    size_t old = jm_inspect_watched ? jm_inspect_size(pointer, jm_heap_usable(heap, pointer)) : 0;
    if (jm_inspect_watched && size < old) {
        jm_inspect_supply((char *)pointer + size, old - size); /* now: later another may own it */
    }
    void *object = resize(heap, pointer, size, verdict);
    size_t usable = object == NULL || (jm_inspect_watched && object == pointer)
                        ? jm_heap_usable(heap, pointer)
                        : 0;
    if (object == NULL && usable == 0) {
        *verdict = JM_REFUSED_ARGUMENT; /* never live, or the host freed it meanwhile */
    }
    if (jm_inspect_watched && object == pointer) { /* another may own what lies behind */
        jm_inspect_change(heap, pointer, pointer, old < usable ? old : usable, size);
    }
    return object;
}
