#include "sweep.h"

#include <string.h>

/* A sweep in progress. */
struct sweep {
    struct jm_arena *arena;
    size_t least;       /* granules of pages: shorter runs are not decommitted, */
    size_t beside;      /* beside a hole those shorter than this */
    size_t enough;      /* bytes: nothing is decommitted once so many are */
    size_t decommitted; /* bytes */
    size_t listed;      /* runs that were listed */
    bool lists;         /* the current block's runs are listed, not marked JM_UNLISTED */
    /* Of the current block, in granules: */
    size_t still_free; /* left free, except the rest and what is beside a new hole */
    size_t known;      /* in free objects, as their states tell; unlisted runs count 0 */
    size_t joined;     /* in the runs that they were joined to */
    size_t free_end;   /* where the last free object ends */
};

/* Listing a run writes a link into memory that is not cached. So a sweep lists the first
 * LISTED_AT_ONCE runs, plus one for each GRANULES_A_LINK granules swept; it decides block by block.
 * jm_sweep_list lists more runs when needed, about LISTED_AT_ONCE at a time. */
#define LISTED_AT_ONCE 1024
#define GRANULES_A_LINK 1024

/* Marks a free run as unlisted. It may be empty. */
static void leave_unlisted(struct jm_block *block, size_t start, size_t end)
{
    if (start != end) {
        uint32_t granules = (uint32_t)(end - start);
        jm_store_relaxed(&block->map[start], JM_UNLISTED);
        block->unlisted = granules > block->unlisted ? granules : block->unlisted;
    }
}

static void leave_run(struct sweep *sweep, struct jm_block *block, size_t start, size_t end)
{
    if (sweep->lists) {
        sweep->listed++;
        jm_arena_free_run(sweep->arena, block, start, end);
    } else {
        leave_unlisted(block, start, end);
    }
}

static bool is_behind_hole(const struct jm_block *block, size_t granule)
{
    bool may_be = granule % jm_page_granules() == 0 && granule > block->first_granule;
    return may_be && jm_block_has_holes(block) &&
           jm_load_relaxed(&block->map[jm_arena_start_before(block, granule)]) == JM_HOLE;
}

static bool is_beside_hole(const struct jm_block *block, size_t start, size_t end)
{
    return jm_load_relaxed(&block->map[end]) == JM_HOLE || is_behind_hole(block, start);
}

/* Turns the whole pages of a free run into a hole; its ends stay free, and unlisted: they will
 * serve with the hole, see hole.h. False if it has too few pages, enough was decommitted already,
 * or the OS refused. Beside a hole a single page suffices: the hole and the run, however long
 * together, would otherwise stay in pieces. */
static bool decommit_run(struct sweep *sweep, struct jm_block *block, size_t start, size_t end)
{
    size_t first = jm_align_up(start, jm_page_granules());
    size_t last = end & ~(jm_page_granules() - 1);
    if (last <= first || sweep->decommitted >= sweep->enough) {
        return false;
    }
    size_t least = is_beside_hole(block, start, end) ? sweep->beside : sweep->least;
    bool goes = last - first >= least;
    if (!goes || !jm_block_decommit_pages(block, first, last)) {
        if (goes && last < first + JM_HOLE_MIN) { /* it will refuse other short ones, too */
            sweep->least = sweep->least < JM_HOLE_MIN ? JM_HOLE_MIN : sweep->least;
            sweep->beside = JM_HOLE_MIN;
        }
        return false;
    }
    jm_store_relaxed(&block->map[first], JM_HOLE);
    sweep->decommitted += (last - first) << JM_GRANULE_BITS;
    leave_unlisted(block, start, first);
    leave_unlisted(block, last, end);
    return true;
}

/* Ends a run of free granules: its pages go, or it stays free or, at `carved`, joins the rest. */
static void end_run(struct sweep *sweep, struct jm_block *block, size_t start, size_t end)
{
    bool is_rest = end == block->carved;
    bool goes = decommit_run(sweep, block, start, is_rest ? block->granules : end);
    sweep->joined += end - start;
    if (goes) {
        block->carved = is_rest ? (uint32_t)block->granules : block->carved;
        block->touched = block->touched < block->carved ? block->carved : block->touched;
    } else if (is_rest) {
        jm_arena_uncarve(sweep->arena, block, (uint32_t)start);
    } else {
        sweep->still_free += end - start;
        leave_run(sweep, block, start, end);
    }
}

/* Most objects are live, so AT_ONCE states are searched for free ones at once. Such a group may
 * reach beyond a block's first or last object: the states there are 0. */
#define AT_ONCE JM_BLANK_STATES
static_assert((JM_METADATA_STEP >> JM_GRANULE_BITS) % AT_ONCE == 0, "so many go together");

/* A bit for each of AT_ONCE states. any: it is not 0; free: it is free, listed or not. */
struct marks {
    uint64_t any, free;
};

typedef uint8_t vector __attribute__((vector_size(16)));
typedef char chars __attribute__((vector_size(16))); /* the builtin's parameter */

/* A bit for each element, which is 0 or 255. By address: without SSE, vectors as arguments change
 * the ABI. */
static uint64_t bits_of(const vector *elements)
{
#if defined(__SSE2__)
    return (unsigned)__builtin_ia32_pmovmskb128((chars)*elements);
#else
    uint64_t words[2];
    memcpy(words, elements, sizeof words);
    return jm_gather_high(jm_in_order(words[0])) | jm_gather_high(jm_in_order(words[1])) << JM_WORD;
#endif
}

static struct marks marks_from(const struct jm_block *block, size_t granule)
{
    struct marks marks = {0, 0};
    for (size_t i = 0; i < AT_ONCE; i += sizeof(vector)) {
        vector states;
        jm_copy_bytes((uint8_t *)&states, &block->map[granule + i], sizeof states);
        vector any = (vector)(states != 0);
        vector free = any & (vector)(states <= JM_UNLISTED);
        marks.any |= bits_of(&any) << i;
        marks.free |= bits_of(&free) << i;
    }
    return marks;
}

/* True if what starts at a granule is known to cover AT_ONCE states or more: it is skipped. */
static bool is_long(const struct jm_block *block, size_t granule)
{
    unsigned state = jm_load_relaxed(&block->map[granule]);
    return jm_state_granules[state] >= AT_ONCE || state == JM_HOLE;
}

#define FETCH_AHEAD 1024 /* states from here to the first that is prefetched */
#define FETCHED_MAX 256  /* states that are prefetched at most */

/* Returns where something long ends. The processor cannot know that before it has the state, so the
 * states that are likely to follow are prefetched. */
static size_t pass_long(const struct jm_arena *arena, const struct jm_block *block, size_t granule)
{
    size_t end = jm_arena_end_at(arena, block, granule);
    for (size_t i = 0; i < end - granule && i < FETCHED_MAX; i += JM_CACHE_LINE) {
        JM_PREFETCH(&block->map[granule + FETCH_AHEAD + i]);
    }
    return end;
}

/*
 * Returns the marks in `any` that come next behind a free one. `is_free`: one precedes them all. An
 * addition carries the bit behind each free mark over the blank states to the next mark. The first
 * state is at the right:
 *
 *      any             0 1 0 0 1 1 0 1
 *      free            0 0 0 0 1 0 0 1
 *      behind          0 0 0 1 0 0 1 0     free << 1
 *      blank           1 0 1 1 0 0 1 0     ~any
 *      sum             1 1 0 0 0 1 0 0     (behind & blank) + blank
 *      next            0 1 0 0 0 1 0 0     (sum | behind) & any
 */
static uint64_t next_marks(struct marks marks, bool is_free)
{
    uint64_t blank = ~marks.any;
    uint64_t behind = marks.free << 1 | is_free;
    return (((behind & blank) + blank) | behind) & marks.any;
}

/* Adds the free object or unlisted run at a granule to the open run. */
static void absorb(struct sweep *sweep, struct jm_block *block, size_t granule)
{
    size_t granules = jm_state_granules[jm_load_relaxed(&block->map[granule])];
    jm_store_relaxed(&block->map[granule], 0);
    sweep->known += granules;
    sweep->free_end = granule + granules;
}

/* Ends the open run at a granule or, if none is open, starts one there. `run` is where the open one
 * starts, or JM_NO_GRANULE. Returns its new value. */
static size_t toggle_run(struct sweep *sweep, struct jm_block *block, size_t granule, size_t run)
{
    if (run == JM_NO_GRANULE) {
        return granule;
    }
    end_run(sweep, block, run, granule);
    return JM_NO_GRANULE;
}

/* Joins the free objects among AT_ONCE states. Takes and returns `run` as toggle_run does. */
static size_t join(struct sweep *sweep, struct jm_block *block, size_t base, struct marks marks,
                   size_t run)
{
    uint64_t next = next_marks(marks, run != JM_NO_GRANULE);
    for (uint64_t todo = marks.free; todo != 0; todo &= todo - 1) {
        absorb(sweep, block, base + (size_t)__builtin_ctzll(todo));
    }
    /* A run starts at a free mark that follows no free mark. It ends at a mark that is not free and
     * follows a free mark. */
    for (uint64_t edges = marks.free ^ next; edges != 0; edges &= edges - 1) {
        run = toggle_run(sweep, block, base + (size_t)__builtin_ctzll(edges), run);
    }
    return run;
}

/* Sweeps something long (see is_long). Returns where it ends. */
static size_t sweep_long(struct sweep *sweep, struct jm_block *block, size_t granule, size_t *run)
{
    size_t end = pass_long(sweep->arena, block, granule);
    bool is_free = jm_is_free(jm_load_relaxed(&block->map[granule]));
    if (is_free) {
        absorb(sweep, block, granule);
    }
    if (is_free == (*run == JM_NO_GRANULE)) {
        *run = toggle_run(sweep, block, granule, *run);
    }
    return end;
}

/* The granule where the object or hole that covers `granule` ends. pre: its state is 0. */
static size_t end_around(const struct jm_arena *arena, const struct jm_block *block, size_t granule)
{
    return jm_arena_end_at(arena, block, jm_arena_start_before(block, granule));
}

/* Sweeps AT_ONCE states from `base` on. Returns where to go on: if all are 0, behind the object or
 * hole that covers them. */
static size_t sweep_many(struct sweep *sweep, struct jm_block *block, size_t base, size_t *run)
{
    struct marks marks = marks_from(block, base);
    bool is_open = *run != JM_NO_GRANULE;
    size_t next = base + AT_ONCE;
    if (marks.any == 0) {
        size_t end = is_open ? sweep->free_end : end_around(sweep->arena, block, base);
        return end > next ? end : next;
    }
    if (is_open || marks.free != 0) {
        *run = join(sweep, block, base, marks, *run);
    }
    return next;
}

static void sweep_block(struct sweep *sweep, struct jm_block *block)
{
    size_t end = block->carved;
    size_t run = JM_NO_GRANULE;
    bool all_listed = block->unlisted == 0;
    block->hole_searched_to = 0; /* more may be free beside the holes now */
    block->unlisted = 0;
    block->partly_listed = false;
    sweep->still_free = sweep->known = sweep->joined = 0;
    for (size_t granule = block->first_granule; granule < end;) {
        granule = is_long(block, granule)
                      ? sweep_long(sweep, block, granule, &run)
                      : sweep_many(sweep, block, granule & ~(AT_ONCE - 1), &run);
    }
    if (run != JM_NO_GRANULE || end < block->granules) {
        end_run(sweep, block, run == JM_NO_GRANULE ? end : run, end);
    }
    JM_CHECK(!all_listed || sweep->known == sweep->joined); /* else a live object would be free */
    block->left_free = (uint32_t)sweep->still_free;
}

static void note_unlisted(struct jm_arena *arena, const struct jm_block *block)
{
    if (block->unlisted > arena->longest_unlisted) {
        arena->longest_unlisted = block->unlisted;
    }
}

/* True if a block can be skipped: all of its free runs are still unlisted, and neither any of them
 * nor its rest is long enough to be decommitted. pre: nothing has changed since the last sweep. */
static bool may_pass(const struct sweep *sweep, const struct jm_block *block)
{
    size_t rest = block->granules - block->carved;
    size_t longest = rest > block->unlisted ? rest : block->unlisted;
    bool is_unlisted = block->unlisted != 0 && !block->partly_listed;
    return is_unlisted && longest < sweep->least && !jm_block_has_holes(block);
}

size_t jm_sweep_and_decommit(struct jm_arena *arena, size_t least, size_t enough, bool again)
{
    struct sweep sweep = {.arena = arena, .least = least, .enough = enough};
    sweep.beside = jm_page_granules();
    jm_arena_retire_span(arena);
    jm_arena_clear_lists(arena);
    arena->longest_rest = arena->second_rest = 0;
    arena->longest_unlisted = 0;
    arena->longest_hole = UINT32_MAX; /* unknown */
    size_t passed = 0, left_free = 0;
    struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        if (again && may_pass(&sweep, block)) {
            jm_arena_note_rest(arena, (uint32_t)block->granules - block->carved);
        } else {
            sweep.lists = sweep.listed <= LISTED_AT_ONCE + passed / GRANULES_A_LINK;
            sweep_block(&sweep, block);
            passed += block->granules;
        }
        note_unlisted(arena, block);
        left_free += block->left_free;
    }
    arena->has_short_runs = least > jm_page_granules() || sweep.decommitted >= enough;
    arena->broken = false;
    arena->since_sweep = 0;
    arena->due_at = 0;
    arena->missing = 0; /* unknown: the lists are new */
    arena->left_free = (uint32_t)left_free;
    struct jm_carved carved = jm_survey_carved(arena->supply);
    arena->swept_objects = (uint32_t)carved.objects;
    arena->swept_holes = (uint32_t)carved.holes;
    return sweep.decommitted;
}

void jm_sweep(struct jm_arena *arena)
{
    (void)jm_sweep_and_decommit(arena, JM_HOLE_MIN, 0, false);
}

/* A jm_sweep_list in progress. */
struct listing {
    struct jm_arena *arena;
    size_t least;  /* granules that one run must have at least */
    size_t listed; /* runs that were listed */
    bool serves;   /* one of them has as many granules */
};

/* Lists the unlisted runs among AT_ONCE states. `free`: the marks of all free ones. */
static void list_many(struct listing *listing, struct jm_block *block, size_t base, uint64_t free)
{
    for (; free != 0; free &= free - 1) {
        size_t start = base + (size_t)__builtin_ctzll(free);
        if (jm_load_relaxed(&block->map[start]) == JM_UNLISTED) {
            size_t end = jm_arena_find_end(listing->arena, block, start);
            jm_arena_free_run(listing->arena, block, start, end);
            listing->listed++;
            listing->serves |= end - start >= listing->least;
        }
    }
}

static bool is_enough(const struct listing *listing)
{
    return listing->serves && listing->listed >= LISTED_AT_ONCE;
}

/* Lists the unlisted runs of a block until they are enough. pre: the span lies elsewhere. */
static void list_block(struct listing *listing, struct jm_block *block)
{
    size_t granule = block->first_granule;
    block->partly_listed = true;
    while (granule < block->carved && !is_enough(listing)) {
        if (is_long(block, granule)) {
            granule = pass_long(listing->arena, block, granule);
            continue;
        }
        size_t base = granule & ~(AT_ONCE - 1);
        size_t next = base + AT_ONCE;
        struct marks marks = marks_from(block, base);
        list_many(listing, block, base, marks.free);
        size_t end = marks.any == 0 ? end_around(listing->arena, block, base) : 0;
        granule = end > next ? end : next;
    }
    if (granule >= block->carved) {
        block->unlisted = 0;
    }
}

/* True if the shortest listed object with room, of class `next`, is no longer than the longest
 * unlisted run: it is cut up instead. */
static bool serves_better(const struct jm_arena *arena, unsigned next)
{
    return next <= JM_CLASSES && jm_class_granules[next] <= arena->longest_unlisted;
}

bool jm_sweep_list(struct jm_arena *arena, unsigned code)
{
    struct listing listing = {.arena = arena, .least = jm_class_granules[code]};
    const uint32_t longest = arena->longest_unlisted;
    if (listing.least > longest || serves_better(arena, jm_arena_next_listed(arena, code))) {
        return false;
    }
    jm_arena_retire_span(arena);
    arena->longest_unlisted = 0;
    struct jm_block *block = jm_load_relaxed(&arena->supply->small);
    for (; block != NULL && !is_enough(&listing); block = jm_load_relaxed(&block->next)) {
        if (block->unlisted >= listing.least) {
            list_block(&listing, block);
        }
        note_unlisted(arena, block);
    }
    if (block != NULL) { /* the blocks behind may still have such runs */
        arena->longest_unlisted = longest;
    }
    return listing.serves;
}
