/*
 * Layer 3: an arena hands out the objects of one heap's small blocks. The fast paths are here.
 *
 * A block's objects lie side by side from its first granule to `carved`, live, free or queued, and among them holes,
 * pages that were given back (see state.h). One stretch of them, or what lies behind them, may be the arena's
 * span, from which objects are cut:
 *
 *      | live | free | live | span.next ...... span.end | live | free | carved ..... granules |
 *
 *      sum over blocks of carved - first granule == live + free + queued + holes + (span.end - span.next)
 *
 * Nothing is counted: what is live and which blocks are empty, the state map tells whoever asks.
 *
 * There is one list of free objects per class, linked through the objects themselves. Where it is empty, an object of
 * the near class serves (see sizeclass.h), then the span, then any object that is little larger, and then a part of one
 * that is much larger. A link is a hint: whoever follows one asks the state map first whether it leads to a free
 * object of this class. Where it does not, the list ends there, and what it may have led to is found again by a sweep
 * (see sweep.h). So a tenant that writes into freed memory costs itself a sweep and nothing else, a block can be
 * given back without looking for the links that lead to it, and a sweep of a large heap touches little but the maps: most
 * of what it joins is in no list until it is needed.
 *
 * What was freed last is in no list yet; the next free lists it:
 *
 *      free(a)  ->  last: a      free[..]: b ...
 *      free(c)  ->  last: c      free[class of a]: a, b ...
 *
 * Which list it belongs to, only the map tells, and while a processor waits for that, it does not know where it will
 * write, so that what it reads after that waits too. One free later the list is known. Whoever looks for
 * free objects elsewhere looks at the last one too, or has it listed first.
 *
 * An arena lies in the block that was its heap's first, or another after that one was given back.
 * Only the thread that uses the heap touches it; the maps it shares with freeing threads.
 */
#ifndef JM_ARENA_H
#define JM_ARENA_H

#include "block.h"
#include "inspect.h"
#include "state.h"

struct jm_link {
    struct jm_link *next;
};

/* Objects are cut off its beginning. The state of the granule at an address in it is found without a look-up,
 * at states + (address >> JM_GRANULE_BITS). */
struct jm_span {
    char *next, *end;
    struct jm_block *block;
    uintptr_t states;
};

/* The object that was freed last, and the list that it belongs to. None: both are the list of no class; in jm_no_arena,
 * where nobody frees, null. */
struct jm_last {
    struct jm_link *object, *list;
};

#define JM_MAGNITUDES 4 /* of requests: up to 4 KiB, 64 KiB, 1 MiB, and beyond */

struct jm_arena {
    struct jm_span span;
    struct jm_last last;
    struct jm_link free[JM_CLASSES + 2]; /* by code; `next` is the first object. The last: null */
    struct jm_supply *supply;
    struct jm_block *doubtful; /* a chain: blocks without a witness; see giveback.c */
    uintptr_t listed_sum;      /* of all lists' first objects, see demand.c; */
    uint32_t listed;           /* granules that jm_arena_list_last has listed since; */
    uint32_t missing; /* and those to be freed before it is guessed anew how much is free */
    /* Since the last sweep: granules of spans chosen, holes filled and blocks opened, and the weight of what was refused. */
    uint32_t since_sweep;
    uint32_t due_at; /* before it is that, no sweep is due that spares a block; */
    uint32_t swept;  /* what the last one left, but for blocks that went: granules of objects, */
    uint32_t swept_holes;      /* and of holes, before more were made; */
    uint32_t left_free;        /* and those of objects that were free */
    uint32_t longest_rest;     /* no block has more granules behind its objects, */
    uint32_t second_rest;      /* and but for one of them none has more than that, */
    uint32_t longest_hole;     /* nor any more than these in holes side by side, */
    uint32_t longest_unlisted; /* nor any in a free run that is in no list */
    uint32_t random;           /* see jm_arena_draw */
    bool has_short_runs;       /* of free pages, which the last sweep may have kept */
    bool broken; /* free objects may be missing from the lists: to be swept before it grows much */
    /* Sweeps in vain, by size: how many, for what the limit has no room for; was the last one, for what it has. */
    uint8_t vain_at_limit[JM_MAGNITUDES];
    uint8_t vain_growing; /* a bit for each size */
};
static_assert(sizeof(struct jm_arena) <= JM_ARENA_SPACE, "a block has room for an arena");

/* A block without granules, and an arena without blocks: they refuse every question. */
extern JM_HIDDEN struct jm_block jm_no_block;
extern JM_HIDDEN struct jm_arena jm_no_arena;

/* The block that an arena lies in. */
static inline struct jm_block *jm_arena_home(const struct jm_arena *arena)
{
    return JM_CONTAINER((uintptr_t)arena, struct jm_block, arena);
}

#define JM_NO_GRANULE SIZE_MAX

/* The granule that starts at `pointer`, or one beyond every block where none does. */
JM_INLINE size_t jm_granule_of(const struct jm_block *block, const void *pointer)
{
    return jm_region_granule(block->start, pointer);
}

static inline void *jm_granule_address(const struct jm_block *block, size_t granule)
{
    return block->start + (granule << JM_GRANULE_BITS);
}

/* Finds the state of the granule that starts at a pointer into the region. False: it does not lie there, or
 * no granule of the arena's starts at it. */
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

/* Links lie in memory that is free: tools would report whoever else reads or writes there. */
JM_UNCHECKED struct jm_link *jm_link_next(const struct jm_link *link)
{
    return link->next;
}

JM_UNCHECKED void jm_link_set(struct jm_link *link, struct jm_link *next)
{
    link->next = next;
}

/* Takes an object off its list, where it follows `before`. False: it is no free object of this class. */
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

/* Takes the first object of a list. NULL: there is none, or it does not lie in the region; or it is what was freed last,
 * which is in no list yet: the tenant made that link, or it is left of a block that came back. */
JM_INLINE void *jm_arena_pop(struct jm_arena *arena, size_t code)
{
    struct jm_link *list = &arena->free[code];
    JM_PIN(list);
    struct jm_link *link = list->next;
    JM_PIN(link); /* where it is returned */
    jm_state *state;
    bool taken = JM_LIKELY(link != arena->last.object) && jm_arena_peek(arena, link, &state) &&
                 jm_arena_take(list, link, state, code);
    return taken ? link : NULL;
}

/* True where neither class `code` nor the one near it has a list. */
JM_INLINE bool jm_arena_lists_neither(const struct jm_arena *arena, size_t code)
{
    uintptr_t own = (uintptr_t)arena->free[code].next;
    return (own | (uintptr_t)arena->free[jm_class_near(code)].next) == 0;
}

/* Some processors forward what was stored here to the next pop at once, but only where neither adds an index
 * to an address: hence the pins. */
JM_INLINE void jm_arena_list(struct jm_link *list, struct jm_link *link)
{
    JM_PIN(list);
    jm_link_set(link, list->next);
    list->next = link;
}

/* Frees an object of class `code`. Who frees a witness looks for another one. */
JM_INLINE void jm_arena_push(struct jm_arena *arena, jm_state *state, void *object, size_t code)
{
    jm_store_byte(state, (unsigned)(code + JM_FREE));
    jm_inspect_close(object, jm_class_bytes(code));
    /* As jm_arena_list does, but for the pin, which costs W2 3 % here. */
    struct jm_link *list = arena->last.list, *link = arena->last.object;
    arena->last.object = object;
    arena->last.list = &arena->free[code];
    jm_link_set(link, list->next);
    list->next = link;
}

/* Forgets what was freed last. */
static inline void jm_arena_forget_last(struct jm_arena *arena)
{
    arena->last = (struct jm_last){&arena->free[0], &arena->free[0]};
}

/* Lists it. pre: nobody was given it since, as the fast path sees to. */
static inline void jm_arena_list_last(struct jm_arena *arena)
{
    struct jm_link *list = arena->last.list, *object = arena->last.object;
    arena->listed_sum += (uintptr_t)object - (uintptr_t)list->next;
    arena->listed += jm_class_granules[list - arena->free];
    jm_arena_list(list, object);
    jm_arena_forget_last(arena);
}

/* Takes what was freed last, if it is of class `code`. NULL: it is not, or does not lie in the region. */
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

/* True where the span has room for an object of class `code`. */
JM_INLINE bool jm_arena_has_room(const struct jm_arena *arena, size_t code)
{
    return (uintptr_t)arena->span.next + jm_class_bytes(code) <= (uintptr_t)arena->span.end;
}

/* Who gets an object writes to it: what will be cut off a span a few objects later is fetched meanwhile. */
#define JM_FETCH_AHEAD 512

/* Cuts an object off the span. pre: it has room. */
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
 * A live object changes its class from `old` to `code`; `kind` is JM_PLAIN, or JM_WITNESS, as it was when it was
 * seen live: where another thread frees it meanwhile, it is live again, and the map as it should be.
 */

/* Grows it into the span behind it. False: it is not there, or is too short. */
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

/* Shrinks it in front of the span, which gets the rest. False: it lies elsewhere. */
bool jm_arena_retract(struct jm_arena *arena, jm_state *state, void *object, unsigned kind,
                      unsigned old, unsigned code);

/* Splits it in place, where it starts at `start` and its state was `live`, so that what is left starts at `granule`; the
 * rest becomes free. */
void jm_arena_split(struct jm_arena *arena, struct jm_block *block, size_t start, unsigned live,
                    size_t granule, unsigned code);

/* The same as jm_arena_peek for any pointer into a small block of this arena's heap, in the region or not.
 * NULL: it is none. */
jm_state *jm_arena_find(struct jm_arena *arena, const void *pointer);

/* Makes an arena in `block`, which is its first. */
struct jm_arena *jm_arena_create(struct jm_supply *supply, struct jm_block *block);

/* Moves an arena into another block of its heap. */
struct jm_arena *jm_arena_move(struct jm_arena *arena, struct jm_block *block);

/* Pops where jm_arena_pop could not because of the place. A link that leads nowhere ends its list. pre: what was freed
 * last is listed; so too for jm_arena_pop_larger, jm_arena_lists_nothing and jm_arena_choose_span. */
void *jm_arena_pop_found(struct jm_arena *arena, unsigned code);

/* Pops an object of a greater class that serves (see sizeclass.h): to split it takes longer. NULL: none is listed. */
void *jm_arena_pop_larger(struct jm_arena *arena, unsigned code);

/* The first class from `code` on whose list is not empty; beyond the last one if all are. */
unsigned jm_arena_next_listed(const struct jm_arena *arena, unsigned code);

/* True where no list has an object. */
bool jm_arena_lists_nothing(const struct jm_arena *arena);

/* Forgets all free objects; the map still knows them. */
void jm_arena_clear_lists(struct jm_arena *arena);

/* Chooses a span that an object of class `code` fits into, out of a larger free object or the rest of a
 * block; none where there is none. An object is to be cut off it at once. */
void jm_arena_choose_span(struct jm_arena *arena, unsigned code);

/* Notes that a block has so many granules behind its objects. */
static inline void jm_arena_note_rest(struct jm_arena *arena, uint32_t rest)
{
    if (rest > arena->longest_rest) {
        arena->second_rest = arena->longest_rest;
        arena->longest_rest = rest;
    } else if (rest > arena->second_rest) {
        arena->second_rest = rest;
    }
}

/* Makes the granules of a block from one on its rest. pre: no object and no hole lies there. */
static inline void jm_arena_uncarve(struct jm_arena *arena, struct jm_block *block,
                                    uint32_t granule)
{
    block->carved = granule;
    jm_arena_note_rest(arena, (uint32_t)block->granules - granule);
}

/* Puts the span's rest back: behind a block's objects, or among its free ones. */
void jm_arena_retire_span(struct jm_arena *arena);

/* Makes a stretch of granules free objects, as large as they can be, and lists them. */
void jm_arena_free_run(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end);

/* Makes granules that hold nothing the span. pre: the last one was retired. */
void jm_arena_open_span(struct jm_arena *arena, struct jm_block *block, size_t start, size_t end);

/* A number below `end`; they are evenly spread, no more. */
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

/* Makes a new block the span. */
void jm_arena_open_block(struct jm_arena *arena, struct jm_block *block);

/* The granule where the object or the hole ends that starts at a granule of the arena's. */
size_t jm_arena_find_end(const struct jm_arena *arena, const struct jm_block *block,
                         size_t granule); /* where its state does not tell */
JM_INLINE size_t jm_arena_end_at(const struct jm_arena *arena, const struct jm_block *block,
                                 size_t granule)
{
    size_t granules = jm_state_granules[jm_load_relaxed(&block->map[granule])];
    return JM_LIKELY(granules != 0) ? granule + granules : jm_arena_find_end(arena, block, granule);
}

/* The class of such an object, whatever its state. */
unsigned jm_arena_class_at(const struct jm_arena *arena, const struct jm_block *block,
                           size_t granule);

/* The granule of a block behind all objects. */
size_t jm_arena_end(const struct jm_arena *arena, const struct jm_block *block);

#endif
