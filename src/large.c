#include "large.h"

#include "reserve.h"

/* The least bytes of a large object: no two of them start in the same unit of the pointer map. */
#define LARGE_MIN JM_UNIT

/* If the limit leaves room, sizes are rounded up to one of this many steps per power of two: the
 * block that an object leaves then serves the next object of nearly the same size. */
#define STEPS ((size_t)8)

size_t jm_large_bytes(size_t size)
{
    return jm_align_up((size < LARGE_MIN ? LARGE_MIN : size) + JM_PAD, jm_os_page_size());
}

/* jm_large_bytes for the largest object in the step of `size`, within PTRDIFF_MAX. */
static size_t bytes_of_step(size_t size)
{
    const size_t page = jm_os_page_size();
    size_t step = page;
    while (size / step >= 2 * STEPS) {
        step *= 2;
    }
    size_t largest = step == page ? size : jm_align_up(size, step);
    return jm_large_bytes(jm_large_is_possible(largest, JM_GRANULE) ? largest : size);
}

/* The bytes that a block of `has` bytes should have for an object: those of the object's step if
 * the limit has room for the difference, else the least. */
static size_t bytes_to_have(const struct jm_heap *heap, size_t size, size_t has)
{
    size_t bytes = bytes_of_step(size);
    return jm_heap_has_room(heap, bytes - has) ? bytes : jm_large_bytes(size);
}

bool jm_large_is_possible(size_t size, size_t alignment)
{
    size_t room = PTRDIFF_MAX - 2 * jm_os_page_size();
    return size <= room && alignment <= room - size;
}

/* The object of a block. Tells memory checkers that its bytes from `from` on are new. */
static void *expose(const struct jm_block *block, size_t from)
{
    char *object = block->start;
    size_t usable = jm_large_usable(block);
    jm_inspect_supply(object + from, usable + JM_PAD - from);
    jm_inspect_open(object, usable);
    return object;
}

static void make_room(struct jm_heap *heap, size_t bytes)
{
    if (!jm_heap_has_room(heap, bytes)) {
        if (heap->arena != NULL) {
            jm_arena_list_last(heap->arena);
        }
        jm_heap_make_room(heap, bytes, jm_heap_note_need(heap, bytes));
    }
}

/* Allocates an object that gets all of a new block of `least` bytes or, if there is much room, all
 * of a spare of this tenant. */
static void *acquire(struct jm_heap *heap, size_t least, size_t alignment, enum jm_verdict *verdict)
{
    size_t spare = jm_block_spare(&heap->supply, least, alignment);
    size_t bytes = spare != 0 && jm_heap_has_much_room(heap, spare) ? spare : least;
    struct jm_block *block = jm_block_acquire_large(&heap->supply, bytes, alignment, verdict);
    jm_heap_note_answer(heap, bytes, *verdict);
    return block == NULL ? NULL : expose(block, 0);
}

void *jm_large_alloc(struct jm_heap *heap, size_t size, size_t alignment, enum jm_verdict *verdict)
{
    if (!jm_large_is_possible(size, alignment)) {
        *verdict = JM_REFUSED_SIZE;
        return NULL;
    }
    size_t bytes = bytes_to_have(heap, size, 0);
    make_room(heap, bytes);
    return acquire(heap, bytes, alignment, verdict);
}

void *jm_large_alloc_least(struct jm_heap *heap, size_t size, size_t alignment,
                           enum jm_verdict *verdict)
{
    size_t bytes = jm_large_bytes(size);
    jm_heap_make_room(heap, bytes, false);
    return acquire(heap, bytes, alignment, verdict);
}

struct jm_block *jm_large_find(const struct jm_heap *heap, const void *pointer)
{
    jm_token *token = jm_pagemap_token(pointer);
    if (token == NULL || jm_load_relaxed(token) != &heap->supply) {
        return NULL;
    }
    struct jm_block *block = jm_pagemap_block(pointer);
    bool is_object = block->start == pointer && jm_load_relaxed(&block->state) == JM_LARGE_LIVE;
    return is_object ? block : NULL;
}

void jm_large_clear(const struct jm_block *block, size_t bytes)
{
    void *object = block->start;
    if (!block->is_dirty) {
        return;
    }
    if (bytes <= JM_RESERVE_ZEROED_MAX || !jm_os_purge(object, jm_load_relaxed(&block->bytes))) {
        jm_inspect_overwrite(object, bytes); /* a thread may guess the pointer and free it */
    }
}

/* True while the object is live. False: the host freed it when it ran, or another thread did. */
static bool is_live(const struct jm_heap *heap, const struct jm_block *block, const void *pointer)
{
    return jm_large_find(heap, pointer) == block;
}

/* An object that shrinks to at most this part of its block, and of the largest small object,
 * becomes small if possible. Otherwise a tenant could use up a mapping of the process for each
 * small object. */
#define MOVES_DIVISOR 4

static bool is_too_small(const struct jm_block *block, size_t size)
{
    return size <= JM_SMALL_MAX / MOVES_DIVISOR && size <= jm_large_usable(block) / MOVES_DIVISOR;
}

/* Restores the thread's refusal from before a request of which one step was refused but which was
 * served after all. Keeps a refusal that the host met after that step. */
static void forget_refusal(const struct jm_quota *quota)
{
    if (jm_thread.refusal.handle == quota->handle &&
        jm_verdict_is_reported(jm_thread.refusal.reason)) {
        jm_thread.refusal = jm_thread.before_reported;
    }
}

/* Moves the object among the small ones. NULL: it stays, unless the host freed it. */
static void *become_small(struct jm_heap *heap, const struct jm_block *block, size_t size,
                          enum jm_verdict *verdict)
{
    const struct jm_quota *quota = &heap->supply.quota;
    bool can_be = !jm_quota_in_callback(quota) && jm_heap_has_room(heap, JM_SMALL_BLOCK_GROWTH);
    void *object = can_be ? jm_heap_move(heap, block->start, size, verdict) : NULL;
    if (can_be && object == NULL && jm_verdict_is_reported(*verdict)) {
        forget_refusal(quota);
    }
    return object;
}

/* If an object becomes small and a place for it is free, a block of at most this size is given back
 * whole by the next operation. It serves again when the object grows. */
#define GIVEN_WHOLE_MAX ((size_t)4 << 20)

/* Moves the object into a free place among the small ones, if its block is to be given back whole.
 * NULL: it stays, unless another thread freed it. */
static void *move_to_free_place(struct jm_heap *heap, const struct jm_block *block, size_t size)
{
    bool goes = block->charge <= GIVEN_WHOLE_MAX && !jm_quota_in_callback(&heap->supply.quota);
    return goes ? jm_heap_move_here(heap, block->start, size) : NULL;
}

/* A block keeps an unused end of this part of it or less: the end may be a spare's surplus, and the
 * object may grow again. */
#define KEPT_DIVISOR 5

static void give_end(struct jm_heap *heap, struct jm_block *block, size_t size)
{
    size_t bytes = bytes_of_step(size);
    size_t end = bytes < block->charge ? block->charge - bytes : 0;
    bool is_kept = end <= block->charge / KEPT_DIVISOR && jm_heap_has_much_room(heap, end);
    if (end != 0 && !is_kept && !jm_quota_in_callback(&heap->supply.quota)) {
        (void)jm_block_shrink(&heap->supply, block, bytes);
    }
}

/* Never refused: the object can stay in its block, which gives back its end first. NULL if it was
 * freed meanwhile. */
static void *shrink(struct jm_heap *heap, struct jm_block *block, size_t size,
                    enum jm_verdict *verdict)
{
    const void *pointer = block->start;
    bool moves = is_too_small(block, size);
    void *moved = moves ? move_to_free_place(heap, block, size) : NULL;
    if (moved != NULL || !is_live(heap, block, pointer)) {
        return moved;
    }
    give_end(heap, block, size);
    if (!is_live(heap, block, pointer)) {
        return NULL;
    }
    void *object = expose(block, jm_large_usable(block));
    moved = moves ? become_small(heap, block, size, verdict) : NULL;
    return moved != NULL || !is_live(heap, block, pointer) ? moved : object;
}

static void *grow(struct jm_heap *heap, struct jm_block *block, size_t size,
                  enum jm_verdict *verdict)
{
    void *pointer = block->start;
    size_t has = jm_load_relaxed(&block->bytes);
    size_t bytes = bytes_to_have(heap, size, has);
    if (!jm_block_can_grow(block, bytes)) {
        bytes = jm_large_bytes(size);
    }
    if (!jm_block_can_grow(block, bytes)) {
        return jm_heap_move(heap, pointer, size, verdict);
    }
    make_room(heap, bytes - has);
    if (!is_live(heap, block, pointer)) {
        return NULL;
    }
    size_t usable = jm_large_usable(block);
    size_t old = jm_inspect_size(pointer, usable);
    bool grown = jm_block_grow(&heap->supply, block, bytes, verdict);
    jm_heap_note_answer(heap, bytes - has, *verdict);
    if (!grown) {
        void *moved = *verdict == JM_REFUSED_OS ? jm_heap_move(heap, pointer, size, verdict) : NULL;
        if (moved != NULL) {
            forget_refusal(&heap->supply.quota);
        }
        return moved;
    }
    void *object = expose(block, usable);
    if (object != pointer) {
        jm_inspect_change(heap, pointer, object, old, size);
    }
    return object;
}

void *jm_large_resize(struct jm_heap *heap, struct jm_block *block, size_t size,
                      enum jm_verdict *verdict)
{
    return size <= jm_large_usable(block) ? shrink(heap, block, size, verdict)
                                          : grow(heap, block, size, verdict);
}
