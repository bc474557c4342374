/*
 * Layer 3: the heap of one runtime. Small objects come from its arena; each large one has a block
 * of its own.
 *
 * Every function runs on the thread that uses the runtime, unless it says otherwise. A function
 * that takes blocks or gives them back may call the host. The heap is consistent then, and the
 * function looks up again afterwards whatever it knew before.
 */
#ifndef JM_HEAP_H
#define JM_HEAP_H

#include "sweep.h"

/* What others have queued in a heap. */
#define JM_TAKE_IN_SMALL 1 /* small objects: look for them before new memory is used */
#define JM_TAKE_IN_LARGE 2 /* large objects: they wait until there is much */
#define JM_TAKE_IN_MUCH 4  /* much may be given back: look for all at the next use */

/* What a heap has done since a small object was last allocated, freed or resized. While any of
 * these is set, the fast paths are off, so that the next such change is noticed. */
#define JM_DONE_SWEEP 1
#define JM_DONE_LONG_RUNS 2 /* decommitted long runs of free pages, which includes a sweep */
#define JM_DONE_ALL_RUNS 4  /* decommitted all runs of free pages */

/* The unit of the counts below: no system has smaller pages. */
#define JM_PAGE ((size_t)4096)
#define JM_NO_BOUND UINT32_MAX

struct jm_heap {
    struct jm_arena *arena; /* null without small blocks */
    /* tidy_due => untidy. Untidy alone: the OS refused a block, or a release is in progress or was
     * left by a jump of the host. */
    bool untidy;   /* blocks wait to be given back */
    bool tidy_due; /* nobody has tried since: the fast paths are off */
    uint8_t done;  /* JM_DONE_* */
    bool doubted;  /* a small block came into doubt since the last search for empty ones */
    _Atomic(uint8_t) queued;        /* set by all: JM_TAKE_IN_* */
    bool bound_was_refused;         /* the host refused more than `bound`; else it is a guess */
    uint16_t forks;                 /* jm_thread_forks() when all was last marked, see remote.c */
    struct jm_supply supply;        /* what the blocks' headers name as their owner */
    struct jm_block *empty_large;   /* chain of large blocks to be given back */
    struct jm_block *refused_large; /* the last large block that the OS refused; see giveback.c */
    _Atomic(uint32_t) queued_pages; /* set by all: JM_PAGEs that taking in may give back */
    uint32_t bound; /* JM_PAGEs: the usage beyond which the host is expected to refuse */
};

/* The runtime that the calling thread entered last, for the fast paths. While `arena` is
 * jm_no_arena, `handle` may equal an invalid handle that a caller passes; the fast paths fail then,
 * and the slow path checks it. */
struct jm_current_heap {
    uintptr_t handle;
    struct jm_arena *arena;
    struct jm_heap *heap;
};

extern JM_LOCAL struct jm_current_heap jm_current_local JM_TLS_MODEL;
#define jm_current JM_OWN(jm_current_local)

/* Points the fast paths at a heap; NULL: at none. */
JM_INLINE void jm_heap_make_current(struct jm_heap *heap, uintptr_t handle)
{
    if (JM_UNLIKELY(jm_inspect_watched)) { /* the fast paths tell tools nothing */
        heap = NULL;
        handle = 0;
    }
    bool usable = heap != NULL && heap->arena != NULL && heap->done == 0 && !heap->tidy_due;
    jm_current.heap = heap;
    jm_current.handle = handle;
    jm_current.arena = usable ? heap->arena : &jm_no_arena;
}

/* Adds to `done`, or clears it. Outside of the fast paths, whoever allocates, frees or resizes a
 * small object must call jm_heap_note_change. */
void jm_heap_note_done(struct jm_heap *heap, uint8_t done);
void jm_heap_forget_done(struct jm_heap *heap);
static inline void jm_heap_note_change(struct jm_heap *heap)
{
    if (JM_UNLIKELY(heap->done != 0)) {
        jm_heap_forget_done(heap);
    }
}

/* Notes that blocks wait to be given back; false: that this was tried. */
void jm_heap_set_tidy_due(struct jm_heap *heap, bool tidy_due);

/* Sets the arena; NULL: there is none. */
void jm_heap_set_arena(struct jm_heap *heap, struct jm_arena *arena);

/* Resets a heap for a new runtime. pre: it holds no block. */
void jm_heap_reset(struct jm_heap *heap);

/* Allocates at least `size` bytes. NULL if refused: see `verdict`. */
void *jm_heap_alloc(struct jm_heap *heap, size_t size, enum jm_verdict *verdict);

/* Allocates an object of class `code` or, if the limit leaves no other way, `size` bytes in a block
 * of their own. */
void *jm_heap_alloc_small(struct jm_heap *heap, unsigned code, size_t alignment, size_t size,
                          enum jm_verdict *verdict);

/* Allocates a small object without a new block and without calling the host. NULL if that is not
 * possible. */
void *jm_heap_refill(struct jm_heap *heap, unsigned code);

/* True if no new block can be had. Then nothing is wasted, and every free object is considered. */
bool jm_heap_is_short(const struct jm_heap *heap);

/* Returns the place of the state of a live small object of this heap, and the state in `live`. NULL
 * for any other pointer. */
static inline jm_state *jm_heap_find_small(const struct jm_heap *heap, const void *pointer,
                                           unsigned *live)
{
    jm_state *state = heap->arena == NULL ? NULL : jm_arena_find(heap->arena, pointer);
    *live = state == NULL ? 0 : jm_load_relaxed(state);
    return jm_is_live(*live) ? state : NULL;
}

/* The usable bytes of a live object of this heap; 0 for any other pointer. */
size_t jm_heap_usable(const struct jm_heap *heap, const void *pointer);

/* Frees an object. False if it is no live object of this heap. Blocks that become empty wait for
 * jm_heap_tidy, so no host code runs. */
bool jm_heap_free(struct jm_heap *heap, void *pointer);

/* The bytes that may be granted: up to the limit, and up to the bound. In the comments of this
 * layer, what the limit has room for is within the bound too. */
size_t jm_heap_room(const struct jm_heap *heap);
static inline bool jm_heap_has_room(const struct jm_heap *heap, size_t bytes)
{
    return bytes <= jm_heap_room(heap);
}

/* True if `bytes` are a small part of the room. Only then may the heap hold more than it needs. */
static inline bool jm_heap_has_much_room(const struct jm_heap *heap, size_t bytes)
{
    return bytes <= jm_heap_room(heap) / 8;
}

/* Notes the answer to a request for `bytes` more, which may move the bound. */
void jm_heap_note_answer(struct jm_heap *heap, size_t bytes, enum jm_verdict verdict);

/* Counts a request that there is no room for. True if it is time to search all blocks for free
 * memory. Not true again until the heap has changed. */
bool jm_heap_note_need(struct jm_heap *heap, size_t bytes);

/* What is live now, see jm_survey_live. Any thread may call. */
struct jm_live jm_heap_live_any(const struct jm_heap *heap);

/* Forgets everything but the lists of blocks and the usage, which may include blocks that were
 * being acquired or released. For a child of a fork: the thread that used the heap is gone, and may
 * have stopped anywhere. Only dispose may follow. */
void jm_heap_salvage(struct jm_heap *heap);

/* The heap that a block belongs to. */
static inline struct jm_heap *jm_heap_of_block(const struct jm_block *block)
{
    return JM_CONTAINER(jm_load_relaxed(&block->owner), struct jm_heap, supply);
}

/* ---- Aligned objects: aligned.c ---- */

/* The same as jm_heap_alloc, at a multiple of `alignment`, a power of two. */
void *jm_heap_alloc_aligned(struct jm_heap *heap, size_t alignment, size_t size,
                            enum jm_verdict *verdict);

/* ---- Resizing: resize.c ---- */

/* Changes the size of a live object. NULL: the object is unchanged or, with JM_REFUSED_ARGUMENT,
 * was never live or was freed meanwhile. A smaller size is refused for no other reason than
 * JM_REFUSED_ARGUMENT. */
void *jm_heap_resize(struct jm_heap *heap, void *pointer, size_t size, enum jm_verdict *verdict);

/* The same for a small object, without a new block and without calling the host. NULL if that is
 * not possible. pre: `size` <= JM_SMALL_MAX. */
void *jm_heap_resize_here(struct jm_heap *heap, void *pointer, size_t size);

/* Moves an object's content into a new one of `size` bytes. NULL: the object stays, unless it was
 * freed meanwhile. */
void *jm_heap_move(struct jm_heap *heap, void *pointer, size_t size, enum jm_verdict *verdict);

/* The same into a small object, without a new block and without calling the host. NULL if that is
 * not possible, or another thread has freed the object. pre: `size` <= JM_SMALL_MAX. */
void *jm_heap_move_here(struct jm_heap *heap, void *pointer, size_t size);

/* ---- Blocks in doubt: doubt.c ---- */

/* Puts a small block in doubt: it may be empty, as it is new or has lost its witness. False if
 * another one is in doubt too; then the next tidy gives one back if two are still empty. */
bool jm_heap_doubt(struct jm_heap *heap, struct jm_block *block);

/* Notes that the witness of a small block was freed. Finds another one, or puts the block in
 * doubt. */
void jm_heap_lose_witness(struct jm_heap *heap, struct jm_block *block);

/* True if to free this live object would empty its small block, another small block is empty
 * already, and blocks may be given back now. Makes another object of the block its witness, if
 * there is one. */
bool jm_heap_leaves_empty(struct jm_heap *heap, const void *pointer);

/* ---- Giving back: giveback.c ---- */

/* Notes that a large block became empty. */
void jm_heap_note_empty(struct jm_heap *heap, struct jm_block *block);

/* Gives back the other block that is empty. pre: jm_heap_leaves_empty has just returned true. */
void jm_heap_release_kept(struct jm_heap *heap);

/* Takes in queued frees and gives back the blocks that wait for it. Does nothing inside the quota's
 * callback. */
void jm_heap_tidy(struct jm_heap *heap);

/* If the limit has no room for `bytes` more, takes in queued frees and gives back all empty blocks,
 * unless inside the quota's callback. If `search_all`, or if the heap was swept and is unchanged
 * since, it also gives back all long runs of free pages, and then as many short runs as are still
 * needed. */
void jm_heap_make_room(struct jm_heap *heap, size_t bytes, bool search_all);

/* Takes in queued frees, and gives back every empty block and every free page (if the heap is small
 * and not loose, see jm_demand_is_loose, only long runs of pages). Drops from the reserve the
 * heap's large blocks and the small ones that it grew by. pre: not in the quota's callback. */
void jm_heap_collect(struct jm_heap *heap);

/* Gives every block back, whatever it holds, and refunds whatever else is charged. If a callback
 * was left by a jump, call again. */
void jm_heap_release_all(struct jm_heap *heap);

/* ---- What other threads free and ask: remote.c ---- */

/* True if so much is queued that the next use is to take it in. */
JM_INLINE bool jm_heap_owes_drain(const struct jm_heap *heap)
{
    return JM_UNLIKELY((jm_load_relaxed(&heap->queued) & JM_TAKE_IN_MUCH) != 0);
}

/* True if a drain would look for something. */
static inline bool jm_heap_needs_drain(const struct jm_heap *heap)
{
    return (jm_load_relaxed(&heap->queued) & (JM_TAKE_IN_SMALL | JM_TAKE_IN_MUCH)) != 0;
}

/* Takes in the queued frees, large ones only if there is much: _much checks that again first, _all
 * takes them in in any case. True if it looked for any. */
bool jm_heap_drain(struct jm_heap *heap);
bool jm_heap_drain_much(struct jm_heap *heap);
bool jm_heap_drain_all(struct jm_heap *heap);

/* Notes that a block may hold nothing but queued objects. */
void jm_heap_note_pinned(struct jm_heap *heap, const struct jm_block *block);

/* If the process was forked since the last call, marks everything, so that the next drain looks at
 * all objects. */
void jm_heap_mark_after_fork(struct jm_heap *heap);

/* Any thread may call these, between jm_pagemap_enter or _find, and jm_pagemap_leave. `block` is
 * what the pointer map has for the pointer, or NULL. */
size_t jm_heap_usable_in(const struct jm_block *block, const void *pointer);
struct jm_heap *jm_heap_of_in(const struct jm_block *block, const void *pointer); /* NULL: none */

/* Says what `pointer` is, for a diagnosis of misuse. Any thread, as above. */
const char *jm_heap_fault_any(const void *pointer);

/* Leaves an object to the heap's user. False: it is not live. pre: the block is not NULL. */
bool jm_heap_queue_free(struct jm_block *block, void *pointer);

#endif
