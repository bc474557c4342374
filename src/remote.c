/*
 * Layer 3: frees from threads that do not use the heap.
 *
 * A thread that frees marks the object in the state map, then the part of the map that it lies in, then
 * the heap. The heap's user clears the same marks in the opposite order, each before it reads the next:
 *
 *      freeing thread   map[granule]: live -> queued   block's queued |= segment   heap's |= list
 *      heap's user      heap's queued -> 0             block's queued -> 0         map -> free
 *
 * A large object is marked in its block, then its bytes are counted in the heap, which is marked once they are much.
 *
 * In a forked child, a thread that did not come along may have left out marks: the first collect makes all of them.
 *
 * All steps are sequentially consistent, so a mark that is found set already will still be followed.
 * Nothing is written into the object. A queued object holds its block as a live one does.
 *
 * Once the first step is made, somebody else's marks may have the object taken in, and its block may be
 * released and become another runtime's, before the thread goes on. Outside of the region readers are
 * waited for before that. In it headers, maps and runtimes stay where they are, so nobody waits: the marks
 * are made for nothing then, in whatever block and heap are there, and cost those a look. All that the
 * thread reads and writes there is atomic.
 */
#include "heap.h"

/* Where the state of a small block's granule is; NULL: none starts there, or the block is a large one. What
 * lies in the region is in a small one: its header need not be read. */
JM_INLINE jm_state *find_state(const struct jm_block *block, const void *pointer)
{
    char *base = jm_load_relaxed(&jm_region.base);
    size_t granule = jm_region_granule(base, pointer);
    if (jm_region_covers(granule)) {
        return jm_region_state(base, granule);
    }
    if (jm_region_holds(pointer)) {
        return NULL;
    }
    granule = jm_granule_of(block, pointer);
    return granule < block->granules ? &block->map[granule] : NULL;
}

/* True where a pointer that is no granule's is a large block's object. */
static bool is_large_object(const struct jm_block *block, const void *pointer)
{
    return !jm_region_holds(pointer) && jm_block_is_large(block) && block->start == pointer;
}

size_t jm_heap_usable_in(const struct jm_block *block, const void *pointer)
{
    const jm_state *place = find_state(block, pointer);
    if (place != NULL) {
        unsigned state = jm_load_relaxed(place);
        return jm_is_live(state) ? jm_class_bytes(jm_state_class(state)) : 0;
    }
    bool is_live =
        is_large_object(block, pointer) && jm_load_relaxed(&block->state) == JM_LARGE_LIVE;
    return is_live ? jm_large_usable(block) : 0;
}

size_t jm_heap_usable_any(const void *pointer)
{
    const struct jm_block *block = jm_pagemap_block(pointer);
    return block == NULL ? 0 : jm_heap_usable_in(block, pointer);
}

struct jm_heap *jm_heap_of_in(const struct jm_block *block, const void *pointer)
{
    bool is_object = block != NULL && jm_heap_usable_in(block, pointer) != 0;
    return is_object ? jm_heap_of_block(block) : NULL;
}

struct jm_heap *jm_heap_of_any(const void *pointer)
{
    return jm_heap_of_in(jm_pagemap_block(pointer), pointer);
}

const char *jm_heap_fault_any(const void *pointer)
{
    const struct jm_block *block = jm_pagemap_block(pointer);
    if (block == NULL) {
        return "which is in no runtime's memory";
    }
    if (jm_heap_usable_in(block, pointer) != 0) {
        return "which is an object of another runtime";
    }
    const jm_state *place = find_state(block, pointer);
    bool was_object = place != NULL ? jm_load_relaxed(place) != 0 : is_large_object(block, pointer);
    return was_object ? "which is freed already" : "where no object starts";
}

static void tell_heap(struct jm_heap *heap, uint8_t kind)
{
    if ((jm_load_seq_cst(&heap->queued) & kind) == 0) {
        atomic_fetch_or(&heap->queued, kind);
    }
}

/* To find the large blocks that are queued, all are looked at. They wait until they have a page for each block that the heap
 * has, or somebody asks for all: what is given back and taken again page by page costs more than that look. */
static bool is_much(const struct jm_heap *heap, uint32_t queued_pages)
{
    return queued_pages >= jm_load_relaxed(&heap->supply.block_count);
}

static bool queue_large(struct jm_block *block, const void *pointer)
{
    unsigned live = JM_LARGE_LIVE;
    if (!is_large_object(block, pointer) || jm_load_relaxed(&block->state) != live) {
        return false;
    }
    jm_inspect_close(pointer, jm_large_usable(block)); /* before anybody can have it again */
    if (!atomic_compare_exchange_strong(&block->state, &live, JM_LARGE_QUEUED)) {
        return false;
    }
    struct jm_heap *heap = jm_heap_of_block(block);
    uint32_t pages = (uint32_t)(jm_load_relaxed(&block->bytes) / JM_PAGE);
    if (is_much(heap, atomic_fetch_add(&heap->queued_pages, pages) + pages)) {
        tell_heap(heap, JM_TAKE_IN_LARGE);
    }
    return true;
}

static bool queue_small(struct jm_block *block, jm_state *place, const void *pointer)
{
    JM_PREFETCH(place); /* else it is fetched to be read, and then again to be written */
    uint8_t state = jm_load_relaxed(place);
    unsigned code;
    do { /* the heap's user may make it its block's witness meanwhile */
        if (!jm_is_live(state)) {
            return false;
        }
        code = jm_state_class(state);
        jm_inspect_close(pointer, jm_class_bytes(code)); /* before anybody can have it again */
    } while (!atomic_compare_exchange_weak(place, &state, jm_queued_state(code)));
    /* From here on the object keeps its block. Where two threads freed it, that may be another one than was
     * looked up before; and none, where the object has been taken in already. */
    block = jm_pagemap_block(pointer);
    if (JM_UNLIKELY(block == NULL)) {
        return true;
    }
    /* A block is aligned to its size. */
    size_t granule = (uintptr_t)pointer >> JM_GRANULE_BITS;
    unsigned segment = granule >> jm_load_relaxed(&block->segment_bits) & 63;
    uint64_t mark = (uint64_t)1 << segment;
    if ((jm_load_seq_cst(&block->queued) & mark) == 0) {
        atomic_fetch_or(&block->queued, mark);
    }
    tell_heap(jm_heap_of_block(block), JM_TAKE_IN_SMALL);
    return true;
}

bool jm_heap_queue_free(struct jm_block *block, void *pointer)
{
    if (JM_UNLIKELY(jm_inspect_watched) && jm_heap_usable_in(block, pointer) != 0) {
        jm_inspect_give(jm_heap_of_block(block), pointer); /* before anybody can have it again */
    }
    jm_state *place = find_state(block, pointer);
    return place != NULL ? queue_small(block, place, pointer) : queue_large(block, pointer);
}

/* Takes in an object that is queued. */
static void take_in(struct jm_heap *heap, struct jm_block *block, size_t granule, unsigned code)
{
    jm_arena_push(heap->arena, &block->map[granule], jm_granule_address(block, granule), code);
    jm_heap_note_change(heap);
    if (block->witness == granule) {
        block->has_witness = false;
    }
}

/* 0x80 in each of eight states that is from JM_QUEUED to JM_PLAIN, else 0. Both of these have the highest bit, so that the
 * lower seven are compared by adding, which carries nothing into the next byte. */
static uint64_t queued_states(uint64_t states)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t rest = states & ones * 127;
    uint64_t least = rest + ones * (256 - JM_QUEUED);
    uint64_t beyond = rest + ones * (255 - JM_PLAIN);
    return states & least & ~beyond & JM_HIGH_BITS;
}

/* The class of a queued object, with all that was done before the free. */
static unsigned queued_class(const struct jm_arena *arena, const struct jm_block *block,
                             size_t granule)
{
    unsigned state = jm_load_acquire(&block->map[granule]);
    return state != JM_QUEUED ? state - JM_QUEUED : jm_arena_class_at(arena, block, granule);
}

/* Which of up to 64 granules are where queued objects start, the first one's bit lowest. Without branches: no processor
 * predicts which of a few they are. */
static uint64_t queued_among(const jm_state *map, size_t granule, size_t count)
{
    uint64_t found = 0;
    for (size_t i = 0; i < count; i += JM_WORD) {
        found |= jm_gather_high(queued_states(jm_load_states(map, granule + i))) << i;
    }
    return found;
}

/* Frees the queued objects of one segment of a block's map. */
static void drain_segment(struct jm_heap *heap, struct jm_block *block, unsigned segment)
{
    const size_t count = (size_t)1 << jm_load_relaxed(&block->segment_bits);
    const size_t step = count < JM_BLANK_STATES ? count : JM_BLANK_STATES;
    for (size_t granule = segment * count; granule < (segment + 1) * count; granule += step) {
        if (step == JM_BLANK_STATES && jm_are_blank(block->map, granule)) {
            continue;
        }
        uint64_t queued = queued_among(block->map, granule, step);
        for (; queued != 0; queued &= queued - 1) {
            size_t place = granule + (size_t)__builtin_ctzll(queued);
            take_in(heap, block, place, queued_class(heap->arena, block, place));
        }
    }
}

/* Has some segments of a block's map fetched from those who wrote there, all at once. */
static void fetch_segments(const struct jm_block *block, uint64_t segments)
{
    const unsigned bits = jm_load_relaxed(&block->segment_bits);
    for (; segments != 0; segments &= segments - 1) {
        const jm_state *start = &block->map[(size_t)__builtin_ctzll(segments) << bits];
        for (size_t granule = 0; granule < (size_t)1 << bits; granule += JM_CACHE_LINE) {
            JM_PREFETCH(&start[granule]);
        }
    }
}

static void drain_small(struct jm_heap *heap, struct jm_block *block)
{
    if (jm_load_seq_cst(&block->queued) == 0) {
        return;
    }
    bool had_witness = block->has_witness;
    uint64_t segments = atomic_exchange(&block->queued, 0);
    atomic_thread_fence(memory_order_seq_cst); /* before the map is read */
    fetch_segments(block, segments);
    for (; segments != 0; segments &= segments - 1) {
        drain_segment(heap, block, (unsigned)__builtin_ctzll(segments));
    }
    if (had_witness && !block->has_witness) {
        jm_heap_lose_witness(heap, block); /* once for all that came */
    }
}

static void drain_large(struct jm_heap *heap, struct jm_block *block)
{
    if (jm_load_seq_cst(&block->state) == JM_LARGE_QUEUED) {
        jm_store_relaxed(&block->state, JM_LARGE_NONE);
        jm_heap_note_empty(heap, block);
    }
}

static void drain_all_large(struct jm_heap *heap)
{
    (void)atomic_exchange(&heap->queued_pages, 0); /* before any state is read */
    struct jm_block *block = jm_load_relaxed(&heap->supply.large);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        drain_large(heap, block);
    }
}

bool jm_heap_drain(struct jm_heap *heap)
{
    if (JM_LIKELY(jm_load_relaxed(&heap->queued) == 0)) {
        return false;
    }
    unsigned lists = atomic_exchange(&heap->queued, 0);
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    for (; (lists & JM_TAKE_IN_SMALL) != 0 && block != NULL;
         block = jm_load_relaxed(&block->next)) {
        drain_small(heap, block);
    }
    if ((lists & JM_TAKE_IN_LARGE) != 0) {
        drain_all_large(heap);
    }
    return true;
}

void jm_heap_mark_after_fork(struct jm_heap *heap)
{
    if (heap->forks == jm_thread_forks()) {
        return;
    }
    heap->forks = jm_thread_forks();
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        atomic_fetch_or(&block->queued, UINT64_MAX);
    }
    atomic_fetch_or(&heap->queued, JM_TAKE_IN_SMALL | JM_TAKE_IN_LARGE);
}

bool jm_heap_drain_much(struct jm_heap *heap)
{
    uint32_t pages = jm_load_relaxed(&heap->queued_pages);
    if (pages != 0 && is_much(heap, pages)) { /* by now: the heap may be smaller than it was */
        tell_heap(heap, JM_TAKE_IN_LARGE);
    }
    return jm_heap_drain(heap);
}

bool jm_heap_drain_all(struct jm_heap *heap)
{
    if (jm_load_seq_cst(&heap->queued_pages) != 0) {
        tell_heap(heap, JM_TAKE_IN_LARGE);
    }
    return jm_heap_drain(heap);
}
