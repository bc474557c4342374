/*
 * Layer 3: a heap serves one runtime: small objects from an arena, large ones from blocks of their own.
 *
 * All but what says otherwise runs on the thread that uses the runtime. Where a function takes or gives back
 * blocks, the host may run inside it; the heap is consistent then, and whatever the function knew is looked up
 * again after.
 */
#ifndef JM_HEAP_H
#define JM_HEAP_H

#include "sweep.h"

#define JM_TAKE_IN_SMALL 1
#define JM_TAKE_IN_LARGE 2

/* What a heap has done since any of its small objects was allocated, freed or resized last; where that is
 * anything, the fast paths are off, so that the next one is noticed. */
#define JM_DONE_SWEEP 1
#define JM_DONE_LONG_RUNS 2 /* gave long runs of free pages back, which sweeps, too */
#define JM_DONE_ALL_RUNS 4  /* gave all runs back */

/* What a heap counts in: no page of any system is smaller. */
#define JM_PAGE ((size_t)4096)
#define JM_NO_BOUND UINT32_MAX

struct jm_heap {
    struct jm_arena *arena; /* null without small blocks */
    /* tidy_due => untidy. Untidy alone: the OS refused, or blocks are given back just now, or were when a jump ended that. */
    bool untidy;             /* blocks wait to be given back */
    bool tidy_due;           /* nobody has tried since: the fast paths are off */
    uint8_t done;            /* JM_DONE_* */
    bool doubted;            /* a small block came into doubt since empty ones were looked for */
    _Atomic(uint8_t) queued; /* set by all: JM_TAKE_IN_*: what was queued */
    uint16_t forks;          /* of the process when all was marked last, see remote.c */
    struct jm_supply supply; /* what the pointer map names as the owner */
    struct jm_block *empty_large;   /* a chain: large blocks to be given back */
    struct jm_block *refused_large; /* the last that the OS would not take; see giveback.c */
    _Atomic(uint32_t)
        queued_pages; /* set by all: JM_PAGEs of large blocks that were queued since */
    uint32_t bound;   /* JM_PAGEs: the host may refuse a usage beyond it */
};

/* The runtime that the calling thread entered last, for the fast paths. `handle` may equal what a caller
 * passes by mistake while `arena` is jm_no_arena; that leads to the slow path, which checks. */
struct jm_current_heap {
    uintptr_t handle;
    struct jm_arena *arena;
    struct jm_heap *heap;
};

extern JM_LOCAL struct jm_current_heap jm_current_local JM_TLS_MODEL;
#define jm_current JM_OWN(jm_current_local)

/* Points the fast paths at a heap, or at nothing (NULL). */
JM_INLINE void jm_heap_make_current(struct jm_heap *heap, uintptr_t handle)
{
    if (JM_UNLIKELY(jm_inspect_watched)) { /* the fast paths tell nobody what they do */
        heap = NULL;
        handle = 0;
    }
    bool usable = heap != NULL && heap->arena != NULL && heap->done == 0 && !heap->tidy_due;
    jm_current.heap = heap;
    jm_current.handle = handle;
    jm_current.arena = usable ? heap->arena : &jm_no_arena;
}

/* Notes what was done, and that a small object was allocated, freed or resized. */
void jm_heap_note_done(struct jm_heap *heap, uint8_t done);
void jm_heap_forget_done(struct jm_heap *heap);
static inline void jm_heap_note_change(struct jm_heap *heap)
{
    if (JM_UNLIKELY(heap->done != 0)) {
        jm_heap_forget_done(heap);
    }
}

/* Notes that blocks wait to be given back, or that this was tried. */
void jm_heap_set_tidy_due(struct jm_heap *heap, bool tidy_due);

/* Changes the arena; NULL: there is none. */
void jm_heap_set_arena(struct jm_heap *heap, struct jm_arena *arena);

/* Makes a heap new. pre: it holds no block. */
void jm_heap_reset(struct jm_heap *heap);

/* An object of at least `size` bytes. NULL: see `verdict`. */
void *jm_heap_alloc(struct jm_heap *heap, size_t size, enum jm_verdict *verdict);

/* An object of class `code` or, where the limit leaves no other way, `size` bytes in a block of their own. */
void *jm_heap_alloc_small(struct jm_heap *heap, unsigned code, size_t alignment, size_t size,
                          enum jm_verdict *verdict);

/* A small object without asking for a new block, and without calling the host. NULL: not to be had. */
void *jm_heap_refill(struct jm_heap *heap, unsigned code);

/* True where there can be no new block: nothing is wasted, and all is looked at. */
bool jm_heap_is_short(const struct jm_heap *heap);

/* Where the state of a live small object of this heap is, and the state. NULL: it is none. */
static inline jm_state *jm_heap_find_small(const struct jm_heap *heap, const void *pointer,
                                           unsigned *live)
{
    jm_state *state = heap->arena == NULL ? NULL : jm_arena_find(heap->arena, pointer);
    *live = state == NULL ? 0 : jm_load_relaxed(state);
    return jm_is_live(*live) ? state : NULL;
}

/* The usable bytes of a live object of this heap; 0 for any other pointer. */
size_t jm_heap_usable(const struct jm_heap *heap, const void *pointer);

/* Frees. False: not a live object of this heap. Blocks that become empty wait for jm_heap_tidy, so that
 * no host code runs. */
bool jm_heap_free(struct jm_heap *heap, void *pointer);

/* The bytes that may be asked for with some hope: up to the limit, and up to the bound. Where it says in this layer what the
 * limit has room for, the bound is meant, too. */
size_t jm_heap_room(const struct jm_heap *heap);
static inline bool jm_heap_has_room(const struct jm_heap *heap, size_t bytes)
{
    return bytes <= jm_heap_room(heap);
}

/* True where `bytes` are a small part of that: where little is left, no more is held than is needed. */
static inline bool jm_heap_has_much_room(const struct jm_heap *heap, size_t bytes)
{
    return bytes <= jm_heap_room(heap) / 8;
}

/* Notes how it ended that so many bytes were asked for. */
void jm_heap_note_answer(struct jm_heap *heap, size_t bytes, enum jm_verdict verdict);

/* Counts a request that there is no room for. True where it is time to look for what is free in all blocks; not
 * again while nothing changes. */
bool jm_heap_note_need(struct jm_heap *heap, size_t bytes);

/* What is live now, see jm_survey_live. Any thread. */
struct jm_live jm_heap_live_any(const struct jm_heap *heap);

/* Keeps the lists of blocks and the usage, which may count blocks that were on their way, and forgets all else: the
 * heap's user is gone, wherever it was. Only dispose may follow. */
void jm_heap_forget(struct jm_heap *heap);

/* The heap that a block belongs to. */
static inline struct jm_heap *jm_heap_of_block(const struct jm_block *block)
{
    return JM_CONTAINER(jm_load_relaxed(&block->owner), struct jm_heap, supply);
}

/* ---- Aligned objects: aligned.c ---- */

/* The same as jm_heap_alloc; `alignment` is a power of two. */
void *jm_heap_alloc_aligned(struct jm_heap *heap, size_t alignment, size_t size,
                            enum jm_verdict *verdict);

/* ---- Resizing: resize.c ---- */

/* Changes the size of a live object. NULL: it is as it was; or, with JM_REFUSED_ARGUMENT, it never was live, or was
 * freed meanwhile. A smaller size is refused for no other reason. */
void *jm_heap_resize(struct jm_heap *heap, void *pointer, size_t size, enum jm_verdict *verdict);

/* The same without asking for a new block, and without calling the host. NULL: not to be had. pre: `size` is at most
 * JM_SMALL_MAX. */
void *jm_heap_resize_here(struct jm_heap *heap, void *pointer, size_t size);

/* Moves an object's content into a new one of `size` bytes. NULL: it stays, unless it was freed meanwhile. */
void *jm_heap_move(struct jm_heap *heap, void *pointer, size_t size, enum jm_verdict *verdict);

/* The same, into a small one, without asking for a new block, and without calling the host. NULL: not to be had; or another
 * thread has freed the object. pre: `size` is at most JM_SMALL_MAX. */
void *jm_heap_move_here(struct jm_heap *heap, void *pointer, size_t size);

/* ---- Giving back: giveback.c ---- */

/* Notes that a large block became empty. */
void jm_heap_note_empty(struct jm_heap *heap, struct jm_block *block);

/* Notes that a small block may be empty: it is new, or has lost its witness. False: another one may be, too: one is given
 * back soon. */
bool jm_heap_doubt(struct jm_heap *heap, struct jm_block *block);

/* Notes that a small block has no witness any more. */
void jm_heap_lose_witness(struct jm_heap *heap, struct jm_block *block);

/* True where a live object is the only one in its block, another small block is empty already, and blocks may
 * be given back now. Makes another object the witness where there is one. */
bool jm_heap_leaves_empty(struct jm_heap *heap, const void *pointer);

/* Gives that other block back. pre: as above. */
void jm_heap_release_kept(struct jm_heap *heap);

/* Takes in what other threads freed, and gives back the blocks that wait for it, unless in the quota's callback. */
void jm_heap_tidy(struct jm_heap *heap);

/* Where the limit has no room for `bytes` more: takes in queued frees and gives back all empty blocks; all long runs of
 * free pages, too, if `search_all`, or swept and unchanged since; then as many short runs as are still missing. */
void jm_heap_make_room(struct jm_heap *heap, size_t bytes, bool search_all);

/* Takes in queued frees and gives back every empty block, every free page or, where the heap is small, long runs of them,
 * and of what the reserve keeps for this heap the large blocks and those it grew by. pre: not in the quota's callback. */
void jm_heap_collect(struct jm_heap *heap);

/* Gives every block back, whatever it holds, and tells of what else is charged. Where a callback was left by a jump,
 * call again. */
void jm_heap_release_all(struct jm_heap *heap);

/* ---- What other threads free and ask: remote.c ---- */

/* Takes in what other threads freed and marked in `queued`. _much marks the large ones first, if they are worth
 * a look at all blocks by now; _all marks them whatever they are. True if there was anything. */
bool jm_heap_drain(struct jm_heap *heap);
bool jm_heap_drain_much(struct jm_heap *heap);
bool jm_heap_drain_all(struct jm_heap *heap);

/* Marks everything, for a drain that is to look at all objects, if the process was forked since it was done last. */
void jm_heap_mark_after_fork(struct jm_heap *heap);

/* Any thread, between jm_pagemap_enter and jm_pagemap_leave. */
size_t jm_heap_usable_any(const void *pointer);
struct jm_heap *jm_heap_of_any(const void *pointer); /* of a live object; NULL: it is none */
const char *
jm_heap_fault_any(const void *pointer); /* what it is, in words for whoever misused it */

/* Likewise, of an object whose block, or NULL, was looked up by jm_pagemap_find. */
struct jm_heap *jm_heap_of_in(const struct jm_block *block, const void *pointer);

/* And where there is a block. */
size_t jm_heap_usable_in(const struct jm_block *block, const void *pointer);
bool jm_heap_queue_free(struct jm_block *block, void *pointer); /* false: it is not live */

#endif
