#include "demand.h"

/* Below the limit, a sweep pays if enough of the carved granules seems to be free, and enough of
 * them was cut into objects since the last sweep. If less is free, what a sweep joins is soon in
 * pieces again: a heap of little objects that is swept more often grows larger. For an object of
 * MEDIUM bytes or more less has to be free: it rarely finds a place without a sweep. */
#define SWEEP_FREE_DIVISOR 3        /* this part has to be free, */
#define SWEEP_FREE_DIVISOR_MEDIUM 8 /* or this, for a request of MEDIUM bytes or more, */
#define SWEEP_CUT_DIVISOR 8         /* and this part cut */
/* After a failed sweep, one that did not serve its request, this part of all carved granules has to
 * be freed, too, or this part of those that lived if that is less. */
#define SWEEP_MORE_DIVISOR 8
#define SWEEP_LIVE_DIVISOR 4
#define MEDIUM ((size_t)4 << 10) /* bytes */
#define SWEEP_SAMPLES 64         /* of a guess, at most */
#define SWEEP_AGAIN_DIVISOR 8    /* guess again when this part of what made it due was cut since */

/* Granules. A heap with no more is swept without a guess, which would take as long as the sweep and
 * is undefined for an empty heap. */
#define SWEEP_ANYWAY ((size_t)32 << 10 >> JM_GRANULE_BITS)

/* Granules. A heap with no more is swept as soon as lists are broken. */
#define SWEEP_BROKEN ((size_t)1 << 20 >> JM_GRANULE_BITS)

/*
 * At the limit, a small heap is swept for each request that there is no room for, and any heap as
 * soon as lists are broken. A host that makes room object by object would have a larger heap walked
 * over for each object. So there each request adds a weight to since_sweep, as if so many granules
 * had been cut. The heap is swept once since_sweep makes a sweep due as below the limit (see
 * SWEEP_CUT_DIVISOR), or much seems to have become free since the last sweep.
 */
#define NEED_AT_ONCE ((size_t)64 << 10 >> JM_GRANULE_BITS) /* granules: a small heap has no more */
/* A request's weight, in granules: */
#define NEED_DIVISOR 2                                /* this part of the request, */
#define NEED_MIN ((size_t)1 << 10 >> JM_GRANULE_BITS) /* but at least so many, */
#define NEED_MOST_DIVISOR 64                          /* and at most this part of the heap; */
#define NEED_FAILED_MAX 8 /* halved for each failed sweep of its magnitude, up to so many times, */
#define NEED_LEAST 2      /* and never less than this: the heap is swept in the end */
/* Much has become free if it is this part of what lived after the last sweep plus, as a guess may
 * err, this part of what was free then, or of what lived if that was less. */
#define NEED_FREE_DIVISOR 16
#define NEED_UNSURE_DIVISOR 4
#define NEED_SAMPLES 256 /* of a guess, at most */
/* Guess again once this part of what was missing was freed, or if it is unknown how much was. */
#define NEED_MISSING_DIVISOR 8

/* A guess starts with SAMPLES_FIRST samples: mostly enough to show that too little is free. It
 * takes four times as many while each still stands for more than SAMPLE granules. */
#define SAMPLES_FIRST 16
#define SAMPLE ((size_t)16 << 10 >> JM_GRANULE_BITS)

static unsigned magnitude_of(size_t bytes)
{
    unsigned magnitude = 0;
    while (magnitude < JM_MAGNITUDES - 1 && bytes > (size_t)4096 << 4 * magnitude) {
        magnitude++;
    }
    return magnitude;
}

/* Adds the weight of a request that the limit has no room for. */
static void count_need(struct jm_arena *arena, size_t bytes)
{
    size_t weight = (bytes >> JM_GRANULE_BITS) / NEED_DIVISOR;
    size_t most = arena->swept_objects / NEED_MOST_DIVISOR;
    weight = weight < NEED_MIN ? NEED_MIN : weight < most ? weight : most;
    weight >>= arena->failed_at_limit[magnitude_of(bytes)];
    arena->since_sweep += (uint32_t)(weight < NEED_LEAST ? NEED_LEAST : weight);
}

/* Guesses how many granules are missing until `least` are free. Takes more samples, up to `most`,
 * while three quarters of `least` seem free. */
static size_t guess_missing(struct jm_arena *arena, struct jm_carved carved, size_t least,
                            size_t most)
{
    size_t samples = SAMPLES_FIRST;
    size_t free = jm_survey_guess_free(arena, carved, samples);
    while (free >= least / 4 * 3 && samples < most && samples < carved.objects / SAMPLE) {
        samples *= 4;
        free = jm_survey_guess_free(arena, carved, samples);
    }
    return free < least ? least - free : 0;
}

/* The same until much has become free since the last sweep: a part of what lived then, plus a
 * margin, as a guess is least sure if half was free. */
static size_t guess_missing_freed(struct jm_arena *arena)
{
    const struct jm_carved carved = {arena->swept_objects, arena->swept_holes};
    size_t left = arena->left_free < arena->swept_objects ? arena->left_free : arena->swept_objects;
    size_t lived = arena->swept_objects - left;
    size_t unsure = (left < lived ? left : lived) / NEED_UNSURE_DIVISOR;
    size_t least = left + lived / NEED_FREE_DIVISOR + unsure;
    return guess_missing(arena, carved, least, NEED_SAMPLES);
}

/* Returns the granules that were freed since the last call. SIZE_MAX if that is not known, because
 * the fast paths have changed a list; or if nothing has changed at all, because only another guess
 * mends an unlucky one then. `before`: since_sweep without the weight of this request, which shows
 * whether the heap has grown. */
static size_t known_freed(struct jm_arena *arena, uint32_t before)
{
    uint32_t sum = 0;
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        sum += jm_place_of(arena->free[code].next);
    }
    bool is_retry = sum + before == arena->asked_sum && arena->freed == 0;
    size_t freed = sum == arena->listed_sum && !is_retry ? arena->freed : SIZE_MAX;
    arena->listed_sum = sum;
    arena->asked_sum = sum + arena->since_sweep;
    arena->freed = 0;
    return freed;
}

/* True if that much seems to have become free. If a host frees one object per request, the amount
 * is known: few requests need a guess. */
static bool seems_freed(struct jm_arena *arena, uint32_t before)
{
    size_t freed = known_freed(arena, before);
    if (freed < arena->missing) {
        arena->missing -= (uint32_t)freed;
        return false;
    }
    size_t missing = guess_missing_freed(arena);
    arena->missing = (uint32_t)(missing / NEED_MISSING_DIVISOR);
    return missing == 0;
}

void jm_demand_note_room(struct jm_arena *arena, size_t bytes)
{
    for (size_t i = 0; i <= magnitude_of(bytes); i++) {
        arena->failed_at_limit[i] = 0;
    }
}

bool jm_demand_is_loose(const struct jm_arena *arena)
{
    return arena->left_free > arena->swept_objects / JM_LOOSE_DIVISOR;
}

/* True if a request is too long for the smallest block, and the short runs of free pages that the
 * last sweep kept may make room for it. */
static bool may_give(const struct jm_arena *arena, size_t bytes)
{
    return bytes + JM_PAD > jm_small_block_min() && arena->has_short_runs &&
           jm_demand_is_loose(arena);
}

bool jm_demand_note_need(struct jm_arena *arena, size_t bytes)
{
    jm_arena_retire_span(arena);
    const uint32_t before = arena->since_sweep;
    count_need(arena, bytes);
    uint8_t *failed = &arena->failed_at_limit[magnitude_of(bytes)];
    /* swept_objects stands for the size now: if that grew much since, since_sweep makes it due. */
    bool pressed = arena->broken || arena->swept_objects <= NEED_AT_ONCE ||
                   (*failed == 0 && may_give(arena, bytes)) ||
                   arena->since_sweep >= arena->swept_objects / SWEEP_CUT_DIVISOR ||
                   seems_freed(arena, before);
    if (pressed && *failed < NEED_FAILED_MAX) {
        (*failed)++; /* counts as failed until it has helped */
    }
    return pressed;
}

/* True if the last sweep below the limit for a request of this magnitude failed. */
static bool has_failed_growing(const struct jm_arena *arena, size_t bytes)
{
    return (arena->failed_growing >> magnitude_of(bytes) & 1) != 0;
}

/* Returns how many of `carved` granules have to be free for a sweep. What a failed one left free is
 * still in pieces (if the heap shrank since, a proportional part): more has to be freed. pre:
 * `carved` is not 0. */
static size_t much_for(const struct jm_arena *arena, size_t carved, size_t bytes)
{
    size_t much = carved / (bytes < MEDIUM ? SWEEP_FREE_DIVISOR : SWEEP_FREE_DIVISOR_MEDIUM);
    if (!has_failed_growing(arena, bytes)) {
        return much;
    }
    size_t before = arena->swept_objects > carved ? arena->swept_objects : carved;
    size_t left = (size_t)((uint64_t)arena->left_free * carved / before);
    size_t of_live = (carved - left) / SWEEP_LIVE_DIVISOR;
    size_t of_all = carved / SWEEP_MORE_DIVISOR;
    size_t again = left + (of_live < of_all ? of_live : of_all);
    return again > much ? again : much;
}

bool jm_demand_makes_due(struct jm_arena *arena, unsigned code)
{
    bool may_be_small = arena->due_at <= SWEEP_BROKEN / SWEEP_CUT_DIVISOR;
    if (arena->since_sweep < arena->due_at && !(arena->broken && may_be_small)) {
        return false;
    }
    struct jm_carved carved = jm_survey_carved(arena->supply);
    if (arena->broken && carved.objects <= SWEEP_BROKEN) {
        return true;
    }
    size_t cut = carved.objects / SWEEP_CUT_DIVISOR;
    arena->due_at = (uint32_t)cut;
    if (arena->since_sweep < cut) {
        return false;
    }
    size_t bytes = jm_class_bytes(code);
    bool is_broken = arena->broken && !has_failed_growing(arena, bytes);
    if (is_broken || carved.objects <= SWEEP_ANYWAY ||
        guess_missing(arena, carved, much_for(arena, carved.objects, bytes), SWEEP_SAMPLES) == 0) {
        return true;
    }
    arena->since_sweep -= (uint32_t)(cut / SWEEP_AGAIN_DIVISOR);
    return false;
}

void jm_demand_note_sweep(struct jm_arena *arena, size_t bytes, bool served, bool grows)
{
    unsigned magnitude = magnitude_of(bytes);
    unsigned bit = 1U << magnitude;
    if (served) {
        arena->failed_growing &= (uint8_t)(UINT8_MAX - bit);
    } else if (grows) {
        arena->failed_growing |= (uint8_t)bit;
    }
    arena->failed_at_limit[magnitude] = served ? 0 : arena->failed_at_limit[magnitude];
}
