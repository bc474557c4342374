#include "demand.h"

/* A sweep is worth its walk when this part of the small blocks is free, and this part of them was cut
 * into objects since the last one. Where less is free, what it joins is soon in pieces again: a heap of little objects
 * that is swept more often grows larger. An object of MEDIUM bytes and more finds no place by itself so soon. */
#define SWEEP_FREE_DIVISOR 3
#define SWEEP_FREE_DIVISOR_MEDIUM 8
#define SWEEP_CUT_DIVISOR 8
#define SWEEP_MORE_DIVISOR 8 /* of the blocks, or */
#define SWEEP_LIVE_DIVISOR 4 /* of what lived in them, has to be freed after a sweep in vain */
#define MEDIUM ((size_t)4 << 10)
#define SWEEP_SAMPLES 64      /* that what is free is guessed from; */
#define SWEEP_AGAIN_DIVISOR 8 /* again when this part of what made it due was cut since */

/* To ask how much is free takes as long as a sweep where there is no more than this. */
#define SWEEP_ANYWAY ((size_t)32 << 10 >> JM_GRANULE_BITS)

/* A heap that has no more is swept as soon as lists are broken. */
#define SWEEP_BROKEN ((size_t)1 << 20 >> JM_GRANULE_BITS)

/*
 * Where the limit leaves nothing else, a small heap is swept for each request that it refuses, and any one as soon as lists
 * are broken. A host that makes room object by object would have all of a larger one walked over for each: there a refused
 * request counts as if so much had been cut, and the heap is swept when that is as much as without a limit, or when much
 * seems to have become free since the last sweep.
 */
#define NEED_AT_ONCE ((size_t)64 << 10 >> JM_GRANULE_BITS) /* a small heap has no more */
#define NEED_DIVISOR 2                                     /* this part of what is asked for, */
#define NEED_MIN ((size_t)1 << 10 >> JM_GRANULE_BITS)      /* but so much at least, */
#define NEED_MOST_DIVISOR 64                               /* and this part of the heap at most; */
#define NEED_VAIN_MAX 8        /* half as much after each sweep in vain, */
#define NEED_LEAST 2           /* but something always */
#define NEED_FREE_DIVISOR 16   /* what is much: this part of what lived, */
#define NEED_UNSURE_DIVISOR 4  /* and this part of what was free, or lived if that was less; */
#define NEED_SAMPLES 256       /* that it is guessed from; */
#define NEED_MISSING_DIVISOR 8 /* again once this part of what was missing is free, or who knows */

/* A heap is loose where more than this part of it was free after the last sweep. */
#define LOOSE_DIVISOR 4

/* So many samples are enough most times to doubt it; more are taken while each stands for so much. */
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

/* Counts a request of a heap that is not swept at once. */
static void count_need(struct jm_arena *arena, size_t bytes)
{
    size_t weight = (bytes >> JM_GRANULE_BITS) / NEED_DIVISOR;
    size_t most = arena->swept / NEED_MOST_DIVISOR;
    weight = weight < NEED_MIN ? NEED_MIN : weight < most ? weight : most;
    weight >>= arena->vain_at_limit[magnitude_of(bytes)];
    arena->since_sweep += (uint32_t)(weight < NEED_LEAST ? NEED_LEAST : weight);
}

/* The granules that seem to be missing until `least` are free: by as many samples as it takes to doubt that, or `most`. */
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

/* The same until much is free that was not after the last sweep: of what lived then a part, and more where a guess is less
 * sure, as where half was free. */
static size_t guess_missing_freed(struct jm_arena *arena)
{
    const struct jm_carved carved = {arena->swept, arena->swept_holes};
    size_t left = arena->left_free < arena->swept ? arena->left_free : arena->swept;
    size_t lived = arena->swept - left;
    size_t unsure = (left < lived ? left : lived) / NEED_UNSURE_DIVISOR;
    size_t least = left + lived / NEED_FREE_DIVISOR + unsure;
    return guess_missing(arena, carved, least, NEED_SAMPLES);
}

/* The granules that were freed since the last request in vain, where no list has changed but by jm_arena_list_last; else 0. */
static size_t known_freed(struct jm_arena *arena)
{
    uintptr_t sum = 0;
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        sum += (uintptr_t)arena->free[code].next;
    }
    size_t freed = sum == arena->listed_sum ? arena->listed : 0;
    arena->listed_sum = sum;
    arena->listed = 0;
    return freed;
}

/* Whether so much seems to be free. Where a host makes room object by object that is known, and not guessed for each. */
static bool seems_freed(struct jm_arena *arena)
{
    size_t freed = known_freed(arena);
    if (freed != 0 && freed < arena->missing) {
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
        arena->vain_at_limit[i] = 0;
    }
}

bool jm_demand_is_loose(const struct jm_arena *arena)
{
    return arena->left_free > arena->swept / LOOSE_DIVISOR;
}

/* True where what the last sweep left may have room for what needs pages side by side, in a block or alone. */
static bool may_give(const struct jm_arena *arena, size_t bytes)
{
    return bytes + JM_PAD > jm_small_block_min() && arena->has_short_runs &&
           jm_demand_is_loose(arena);
}

bool jm_demand_note_need(struct jm_arena *arena, size_t bytes)
{
    jm_arena_retire_span(arena);
    count_need(arena, bytes);
    uint8_t *vain = &arena->vain_at_limit[magnitude_of(bytes)];
    /* What it has now is what it had, or it is due. */
    bool pressed = arena->broken || arena->swept <= NEED_AT_ONCE ||
                   (*vain == 0 && may_give(arena, bytes)) ||
                   arena->since_sweep >= arena->swept / SWEEP_CUT_DIVISOR || seems_freed(arena);
    if (pressed && *vain < NEED_VAIN_MAX) {
        (*vain)++; /* until it has helped */
    }
    return pressed;
}

/* True where the last sweep for such a request, for which the limit had room, was in vain. */
static bool is_vain_to_grow(const struct jm_arena *arena, size_t bytes)
{
    return (arena->vain_growing >> magnitude_of(bytes) & 1) != 0;
}

/* So much has to be free for a sweep of `carved` granules, which are some. After one in vain, what it left free, or its
 * part of what there is now, lies in pieces still: so much more. */
static size_t much_for(const struct jm_arena *arena, size_t carved, size_t bytes)
{
    size_t much = carved / (bytes < MEDIUM ? SWEEP_FREE_DIVISOR : SWEEP_FREE_DIVISOR_MEDIUM);
    if (!is_vain_to_grow(arena, bytes)) {
        return much;
    }
    size_t swept = arena->swept > carved ? arena->swept : carved;
    size_t left = (size_t)((uint64_t)arena->left_free * carved / swept);
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
    bool is_broken = arena->broken && !is_vain_to_grow(arena, bytes);
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
    if (served) {
        arena->vain_growing &= (uint8_t) ~(1U << magnitude);
    } else if (grows) {
        arena->vain_growing |= (uint8_t)(1U << magnitude);
    }
    arena->vain_at_limit[magnitude] = served ? 0 : arena->vain_at_limit[magnitude];
}
