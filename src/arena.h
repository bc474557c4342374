/*
 * Layer 3: an arena hands out the objects of one heap's small blocks. The fast paths are here.
 *
 * The carved part of a block, from its first granule to `carved`, is filled without gaps by objects
 * (live, free or queued) and by holes (decommitted pages, see state.h). The arena has at most one
 * span, from which new objects are cut. The span is either a gap among a block's objects, or the
 * rest of a block, which counts as carved then:
 *
 *      | live | free | live | span.next ... span.end | live | free | carved ... rest ... granules |
 *
 *      in granules, over all blocks:
 *      sum of carved - first_granule == live + free + queued + holes + (span.end - span.next)
 *
 * No counters are kept: which objects are live and which blocks are empty is read from the state
 * map when needed.
 *
 * Each class has one free list, linked through the objects themselves. If it is empty, a request is
 * served by an object of the near class (see sizeclass.h), else from the span, else by any object
 * that is only a little larger, else by a part of a much larger one. A link is only a hint: before
 * it is followed, the state map must say that it leads to a free object of this class. If it does
 * not, the list ends there, and a sweep finds the lost objects again (see sweep.h). Three things
 * follow. A tenant that writes into freed memory costs itself a sweep and nothing else. A block can
 * be given back without a search for the links into it. A sweep of a large heap touches little but
 * the maps, as most of the free runs it makes stay unlisted until they are needed.
 *
 * The object freed last is in no list yet; the next free lists it:
 *
 *      free(a)  ->  last: a      free[..]: b ...
 *      free(c)  ->  last: c      free[class of a]: a, b ...
 *
 * The class of an object is known only from the map. If the free itself listed the object, the
 * processor would not know where to write until that load is done, and loads that follow the write
 * would wait too. One free later the list is known. Code that looks for free objects must check the
 * last one too, or list it first.
 *
 * An arena lies in the header of its heap's first block. When that block is given back, it moves to
 * another one. Only the thread that uses the heap touches the arena; it shares the maps with
 * threads that free.
 */
#ifndef JM_ARENA_H
#define JM_ARENA_H

#include "block.h"
#include "inspect.h"
#include "state.h"

struct jm_link {
    struct jm_link *next;
};

/* Objects are cut off its beginning. The state of the granule at an address in the span lies at
 * states + (address >> JM_GRANULE_BITS): no look-up is needed. */
struct jm_span {
    char *next, *end;
    struct jm_block *block;
    uintptr_t states;
};

/* The object freed last, and the list that it belongs to. If there is none, both point at free[0],
 * the list of no class; in jm_no_arena, where nobody frees, both are null. */
struct jm_last {
    struct jm_link *object, *list;
};

#define JM_MAGNITUDES 4 /* of request sizes: up to 4 KiB, 64 KiB, 1 MiB, and beyond */

struct jm_arena {
    struct jm_span span;
    struct jm_last last;
    struct jm_link free[JM_CLASSES + 2]; /* by code; `next`: the first object. Last list: empty */
    struct jm_supply *supply;
    struct jm_block *doubtful; /* chain of blocks without a witness; see doubt.h */
    /* For the guess of what is free, see demand.c. The fast paths do not keep them. */
    uint32_t listed_sum; /* of the places of the lists' first objects, see jm_place_of */
    uint32_t asked_sum;  /* the same plus since_sweep, when demand.c asked last */
    uint32_t freed;      /* granules that were freed since then */
    uint32_t missing;    /* granules to be freed before the next guess */
    /* Since the last sweep: granules of spans chosen, holes filled and blocks opened, and the
     * weight of requests that the limit had no room for. */
    uint32_t since_sweep;
    uint32_t due_at; /* below this since_sweep, no sweep is due before a new block unless broken */
    /* After the last sweep, in granules: */
    uint32_t swept_objects; /* of objects, less those of blocks released or cleared since */
    uint32_t swept_holes;   /* of holes */
    uint32_t left_free;     /* of free objects */
    /* Upper bounds, in granules: */
    uint32_t longest_rest;     /* of the rest of any block */
    uint32_t second_rest;      /* of the rest of any block but one */
    uint32_t longest_hole;     /* of adjacent holes and what is free beside them */
    uint32_t longest_unlisted; /* of an unlisted run */
    uint32_t random;           /* see jm_arena_draw */
    bool has_short_runs;       /* the last sweep may have kept short runs of free pages */
    bool broken; /* free objects may be missing from the lists: sweep before the heap grows much */
    /* Failed sweeps, by magnitude of the requests that they were to serve. For requests without
     * room: how many since one helped or there was room. For requests with room: a bit for each
     * magnitude, set if the last sweep failed. */
    uint8_t failed_at_limit[JM_MAGNITUDES];
    uint8_t failed_growing;
};
static_assert(sizeof(struct jm_arena) <= JM_ARENA_SPACE, "a block has room for an arena");

/* A block without granules and an arena without blocks, in place of null: every look-up in them
 * fails. */
extern JM_HIDDEN struct jm_block jm_no_block;
extern JM_HIDDEN struct jm_arena jm_no_arena;

/* The block whose header holds an arena. */
static inline struct jm_block *jm_arena_home(const struct jm_arena *arena)
{
    return JM_CONTAINER((uintptr_t)arena, struct jm_block, arena);
}

#define JM_NO_GRANULE SIZE_MAX

/* The granule that starts at `pointer`; if none does, a number beyond every block. */
JM_INLINE size_t jm_granule_of(const struct jm_block *block, const void *pointer)
{
    return jm_region_granule(block->start, pointer);
}

static inline void *jm_granule_address(const struct jm_block *block, size_t granule)
{
    return block->start + (granule << JM_GRANULE_BITS);
}

/* Finds the state of the granule that starts at `pointer`. False if `pointer` is outside of the
 * region, or no granule of this arena's blocks starts there. */
JM_INLINE bool jm_arena_peek(const struct jm_arena *arena, const void *pointer, jm_state **state)
{
    char *base = jm_load_relaxed(&jm_region.base);
    size_t granule = jm_region_granule(base, pointer);
    if (!jm_region_covers(granule)) {
        return false;
    }
    *state = jm_region_state(base, granule);
    return JM_LIKELY(jm_equals_pointer(jm_region_token(base, granule), arena));
}

/* Links lie in freed memory, where tools report any other access. */
JM_UNCHECKED struct jm_link *jm_link_next(const struct jm_link *link)
{
    return link->next;
}

JM_UNCHECKED void jm_link_set(struct jm_link *link, struct jm_link *next)
{
    link->next = next;
}

/* Takes an object, which follows `before`, off its list. False if it is no free object of this
 * class. */
JM_INLINE bool jm_arena_take(struct jm_link *before, struct jm_link *link, jm_state *state,
                             size_t code)
{
    if (JM_UNLIKELY(!jm_equals_byte(state, (uint8_t)(code + JM_FREE)))) {
        return false;
    }
    size_t live = code + JM_PLAIN;
    JM_PIN(live);
    jm_link_set(before, jm_link_next(link));
    jm_store_byte(state, (unsigned)live);
    jm_inspect_open(link, jm_class_bytes(code));
    return true;
}

/* Takes the first object of a list. NULL if there is none, it lies outside of the region, or it is
 * no free object of this class. NULL, too, if it is the object freed last: that is in no list yet,
 * so the tenant forged the link, or the link dates from before the block was released and acquired
 * again. */
JM_INLINE void *jm_arena_pop(struct jm_arena *arena, size_t code)
{
    struct jm_link *list = &arena->free[code];
    JM_PIN(list);
    struct jm_link *link = list->next;
    JM_PIN(link); /* in the register that returns it */
    jm_state *state;
    bool taken = JM_LIKELY(link != arena->last.object) && jm_arena_peek(arena, link, &state) &&
                 jm_arena_take(list, link, state, code);
    return taken ? link : NULL;
}

/* An address in granules, modulo 2^32. */
static inline uint32_t jm_place_of(const void *address)
{
    return (uint32_t)((uintptr_t)address >> JM_GRANULE_BITS);
}

/* Pops as jm_arena_pop does, for callers that can afford to keep listed_sum. */
JM_INLINE void *jm_arena_pop_noted(struct jm_arena *arena, size_t code)
{
    void *object = jm_arena_pop(arena, code);
    if (JM_LIKELY(object != NULL)) { /* else nothing changes: all threads share jm_no_arena */
        arena->listed_sum += jm_place_of(arena->free[code].next) - jm_place_of(object);
    }
    return object;
}

/* True if the free lists of class `code` and of the class near it are both empty. */
JM_INLINE bool jm_arena_lists_neither(const struct jm_arena *arena, size_t code)
{
    uintptr_t own = (uintptr_t)arena->free[code].next;
    return (own | (uintptr_t)arena->free[jm_class_near(code)].next) == 0;
}

/* Pushes an object onto a list. Some processors forward these stores to the next pop without delay,
 * but only if neither uses an indexed address: hence the pins, here and in jm_arena_pop. */
JM_INLINE void jm_arena_list(struct jm_link *list, struct jm_link *link)
{
    JM_PIN(list);
    jm_link_set(link, list->next);
    list->next = link;
}

/* Frees an object of class `code`. If it was a witness, the caller must look for another one. */
JM_INLINE void jm_arena_push(struct jm_arena *arena, jm_state *state, void *object, size_t code)
{
    jm_store_byte(state, (unsigned)(code + JM_FREE));
    jm_inspect_close(object, jm_class_bytes(code));
    /* The same as jm_arena_list, without the pin, which costs W2 3 % here. The list is stored last:
     * else GCC 14 stores it and the object as a vector, which costs a host linked in 5 %. */
    struct jm_link *list = arena->last.list, *link = arena->last.object;
    arena->last.object = object;
    jm_link_set(link, list->next);
    list->next = link;
    arena->last.list = &arena->free[code];
}

/* Forgets the object freed last. */
static inline void jm_arena_forget_last(struct jm_arena *arena)
{
    arena->last = (struct jm_last){&arena->free[0], &arena->free[0]};
}

/* Lists the object freed last. pre: it was not handed out again. The fast path ensures that:
 * jm_arena_pop never takes it, and jm_arena_pop_last forgets it. */
static inline void jm_arena_list_last(struct jm_arena *arena)
{
    struct jm_link *list = arena->last.list, *object = arena->last.object;
    arena->listed_sum += jm_place_of(object) - jm_place_of(list->next);
    arena->freed += jm_class_granules[list - arena->free];
    jm_arena_list(list, object);
    jm_arena_forget_last(arena);
}

/* Takes the object freed last. NULL if it is not of class `code`, or lies outside of the region. */
static inline void *jm_arena_pop_last(struct jm_arena *arena, size_t code)
{
    void *object = arena->last.object;
    jm_state *state;
    if (arena->last.list != &arena->free[code] || !jm_arena_peek(arena, object, &state)) {
        return NULL;
    }
    jm_arena_forget_last(arena);
    jm_store_byte(state, (unsigned)(code + JM_PLAIN));
    jm_inspect_open(object, jm_class_bytes(code));
    return object;
}

/* True if the span has room for an object of class `code`. */
JM_INLINE bool jm_arena_has_room(const struct jm_arena *arena, size_t code)
{
    return (uintptr_t)arena->span.next + jm_class_bytes(code) <= (uintptr_t)arena->span.end;
}

/* Bytes to prefetch ahead of a cut, for writing: the tenant will write to the objects cut next. */
#define JM_FETCH_AHEAD 512

/* Cuts an object off the span. pre: the span has room. */
JM_INLINE void *jm_arena_cut(struct jm_arena *arena, size_t code)
{
    size_t bytes = jm_class_bytes(code);
    char *object = arena->span.next;
    jm_state *state = (jm_state *)(arena->span.states + ((uintptr_t)object >> JM_GRANULE_BITS));
    arena->span.next = object + bytes;
    JM_PREFETCH(object + JM_FETCH_AHEAD);
    jm_inspect_open(object, bytes);
    jm_store_byte(state, (unsigned)(code + JM_PLAIN));
    return object;
}

/*
 * The next three change a live object's class from `old` to `code`. `kind`, JM_PLAIN or JM_WITNESS,
 * and `live`, which is `kind` + `old`, are from when the state was last read. If another thread
 * frees the object meanwhile, that free is lost: the object is live again, and the map stays
 * consistent.
 */

/* Grows the object into the span behind it. False if the span is elsewhere or too short. */
JM_INLINE bool jm_arena_extend(struct jm_arena *arena, jm_state *state, void *object, unsigned kind,
                               unsigned old, unsigned code)
{
    size_t bytes = jm_class_bytes(code);
    char *next = (char *)object + jm_class_bytes(old);
    if (arena->span.next != next || (size_t)(arena->span.end - (char *)object) < bytes) {
        return false;
    }
    arena->span.next = (char *)object + bytes;
    jm_store_byte(state, code + kind);
    jm_inspect_open(object, jm_class_bytes(code));
    return true;
}

/* Shrinks the object in front of the span, which gets the remainder. False if the span is
 * elsewhere. */
bool jm_arena_retract(struct jm_arena *arena, jm_state *state, void *object, unsigned kind,
                      unsigned old, unsigned code);

/* Shrinks the object at granule `start`, whose state was `live`, to class `code` at `granule`,
 * which lies inside it. What it had before and behind becomes free. */
void jm_arena_split(struct jm_arena *arena, struct jm_block *block, size_t start, unsigned live,
                    size_t granule, unsigned code);

/* Returns the state of the granule that starts at `pointer`, in the region or not. NULL if no
 * granule of this arena's blocks starts there. */
jm_state *jm_arena_find(struct jm_arena *arena, const void *pointer);

/* Creates an arena in the header of `block`, the heap's first. */
struct jm_arena *jm_arena_create(struct jm_supply *supply, struct jm_block *block);

/* Moves an arena into the header of another block of its heap. */
struct jm_arena *jm_arena_move(struct jm_arena *arena, struct jm_block *block);

/* Pops as jm_arena_pop does, but outside of the region too. A bad link ends its list. pre: the
 * object freed last is listed; so too for jm_arena_pop_larger, jm_arena_lists_nothing and
 * jm_arena_choose_span. */
void *jm_arena_pop_found(struct jm_arena *arena, unsigned code);

/* Pops an object of a greater class that serves as it is (see sizeclass.h), without a split. NULL
 * if none is listed. */
void *jm_arena_pop_larger(struct jm_arena *arena, unsigned code);

/* The first class from `code` on whose list is not empty; JM_CLASSES + 1 if all are empty. */
unsigned jm_arena_next_listed(const struct jm_arena *arena, unsigned code);

/* True if all lists are empty. */
bool jm_arena_lists_nothing(const struct jm_arena *arena);

/* Empties all lists. The objects stay free in the map. */
void jm_arena_clear_lists(struct jm_arena *arena);

/* Makes a larger free object, or the rest of a block, the span, if an object of class `code` fits
 * into one; else there is no span. An object must be cut off at once: until then the state at
 * span.next may be that of a live object. */
void jm_arena_choose_span(struct jm_arena *arena, unsigned code);

/* Notes that some block has a rest of `rest` granules. */
static inline void jm_arena_note_rest(struct jm_arena *arena, uint32_t rest)
{
    if (rest > arena->longest_rest) {
        arena->second_rest = arena->longest_rest;
        arena->longest_rest = rest;
    } else if (rest > arena->second_rest) {
        arena->second_rest = rest;
    }
}

/* Makes everything from `granule` on the rest of a block. pre: no object and no hole lies there. */
static inline void jm_arena_uncarve(struct jm_arena *arena, struct jm_block *block,
                                    uint32_t granule)
{
    block->carved = granule;
    jm_arena_note_rest(arena, (uint32_t)block->granules - granule);
}

/* Ends the span. What is left of it becomes the block's rest again, if it ends where the block
 * does, else free objects. */
void jm_arena_retire_span(struct jm_arena *arena);

/* Turns the granules [start, end) into free objects, each as large as possible, and lists them. */
void jm_arena_free_run(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end);

/* Makes the granules [start, end), which hold nothing, the span. pre: the last span was retired. */
void jm_arena_open_span(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end);

/* A pseudo-random number below `end`: evenly spread, but predictable. */
static inline size_t jm_arena_draw(struct jm_arena *arena, size_t end)
{
    arena->random = arena->random * 1664525u + 1013904223u;
    return (size_t)((uint64_t)arena->random * end >> 32);
}

/* The granules of the span. */
static inline uint32_t jm_arena_span_granules(const struct jm_arena *arena)
{
    return (uint32_t)((size_t)(arena->span.end - arena->span.next) >> JM_GRANULE_BITS);
}

/* Makes all of a new block the span. */
void jm_arena_open_block(struct jm_arena *arena, struct jm_block *block);

/* The granule where the object, unlisted run or hole that starts at `granule` ends. */
size_t jm_arena_find_end(const struct jm_arena *arena, const struct jm_block *block,
                         size_t granule);

/* The same, faster if the state tells the length. */
JM_INLINE size_t jm_arena_end_at(const struct jm_arena *arena, const struct jm_block *block,
                                 size_t granule)
{
    size_t granules = jm_state_granules[jm_load_relaxed(&block->map[granule])];
    return JM_LIKELY(granules != 0) ? granule + granules : jm_arena_find_end(arena, block, granule);
}

/* The granule where the last object or hole in front of `granule` starts. pre: there is one. */
size_t jm_arena_start_before(const struct jm_block *block, size_t granule);

/* The class of the object that starts at `granule`: live, queued, or free and not unlisted. */
unsigned jm_arena_class_at(const struct jm_arena *arena, const struct jm_block *block,
                           size_t granule);

/* The granule behind the last object or hole of a block. */
size_t jm_arena_end(const struct jm_arena *arena, const struct jm_block *block);

#endif
