/*
 * Layer 3: remote frees, by threads that do not use the heap.
 *
 * A thread that frees marks first the object in the state map, then the segment of the map that it
 * lies in, then the heap. The heap's user clears these marks in the opposite order, each before it
 * reads the next:
 *
 *      freeing thread   map[granule]: live -> queued   block's queued |= segment   heap's |= kind
 *      heap's user      heap's queued -> 0             block's queued -> 0         map -> free
 *
 * A large object is marked in its block, then in the heap. The pages that its block holds are then
 * counted in the heap, as are those of a small block whose witness was queued: its last objects may
 * be. Once that is much, the heap is marked again, and its next use looks for all. (It may miss an
 * object whose block a freeing thread has yet to mark; that one is found when memory is needed.)
 *
 * In a forked child, marks may be missing: a thread that the fork left behind may have stopped
 * halfway. The first collect sets those of all segments and of the heap.
 *
 * All steps are sequentially consistent, so a mark that is already set will still be followed.
 * Nothing is written into the object. Until it is taken in, a queued object keeps its block as a
 * live one does.
 *
 * After the first step, another thread's marks may have the object taken in, and its block may be
 * released and become another runtime's, before the freeing thread goes on. Outside of the region,
 * a release waits for readers. Inside, headers, maps and runtimes stay where they are, so nobody
 * waits: the late marks go to whatever block and heap are there by then, which costs those a look
 * for nothing. All that the freeing thread reads and writes there is atomic.
 */
#include "heap.h"

/* Returns the place of the state of the granule that starts at `pointer`. NULL if none does, or the
 * block is large. In the region all blocks are small, so the header is not read. */
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

/* True if `pointer`, at which no granule starts, is the object of a large block. */
static bool is_large_object(const struct jm_block *block, const void *pointer)
{
    return !jm_region_holds(pointer) && jm_block_is_large(block) && block->start == pointer;
}

size_t jm_heap_usable_in(const struct jm_block *block, const void *pointer)
{
    if (block == NULL) {
        return 0;
    }
    const jm_state *place = find_state(block, pointer);
    if (place != NULL) {
        unsigned state = jm_load_relaxed(place);
        return jm_is_live(state) ? jm_class_bytes(jm_state_class(state)) : 0;
    }
    bool is_live =
        is_large_object(block, pointer) && jm_load_relaxed(&block->state) == JM_LARGE_LIVE;
    return is_live ? jm_large_usable(block) : 0;
}

struct jm_heap *jm_heap_of_in(const struct jm_block *block, const void *pointer)
{
    return jm_heap_usable_in(block, pointer) != 0 ? jm_heap_of_block(block) : NULL;
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

static void mark_heap(struct jm_heap *heap, uint8_t kind)
{
    if ((jm_load_seq_cst(&heap->queued) & kind) == 0) {
        atomic_fetch_or(&heap->queued, kind);
    }
}

/* To find what is queued, a drain must look at all blocks. That is due once a page may go for each
 * so many blocks: to give a page back and to take one again costs more than to look at them. */
#define LOOKS_PER_PAGE 4

static bool is_much(const struct jm_heap *heap, uint32_t pages)
{
    return pages >= jm_load_relaxed(&heap->supply.block_count) / LOOKS_PER_PAGE;
}

static void note_pages(struct jm_heap *heap, size_t bytes)
{
    uint32_t pages = (uint32_t)(bytes / JM_PAGE);
    if (is_much(heap, atomic_fetch_add(&heap->queued_pages, pages) + pages)) {
        mark_heap(heap, JM_TAKE_IN_MUCH);
    }
}

/* Segments rather than granules: in the region, the block may have changed hands. */
void jm_heap_note_pinned(struct jm_heap *heap, const struct jm_block *block)
{
    unsigned bits = jm_load_relaxed(&block->segment_bits) + JM_GRANULE_BITS;
    note_pages(heap, (size_t)JM_SEGMENTS << bits);
}

static bool queue_large(struct jm_block *block, const void *pointer)
{
    unsigned live = JM_LARGE_LIVE;
    if (!is_large_object(block, pointer) || jm_load_relaxed(&block->state) != live) {
        return false;
    }
    jm_inspect_close(pointer, jm_large_usable(block)); /* before it can be allocated again */
    if (!atomic_compare_exchange_strong(&block->state, &live,
                                        JM_LARGE_QUEUED)) { /* untested: two threads free it */
        return false;                                       /* untested: at the same time */
    }
    struct jm_heap *heap = jm_heap_of_block(block);
    mark_heap(heap, JM_TAKE_IN_LARGE);
    note_pages(heap, jm_load_relaxed(&block->bytes));
    return true;
}

static bool queue_small(struct jm_block *block, jm_state *place, const void *pointer)
{
    JM_PREFETCH(place); /* for writing: else the line is fetched twice, to read and to write */
    uint8_t state = jm_load_relaxed(place);
    unsigned code;
    do { /* again if the heap's user has made it a witness meanwhile */
        if (!jm_is_live(state)) {
            return false;
        }
        code = jm_state_class(state);
        jm_inspect_close(pointer, jm_class_bytes(code)); /* before it can be allocated again */
    } while (!atomic_compare_exchange_weak(place, &state, jm_queued_state(code)));
    /* From here on the object keeps its block. Look it up again: if two threads freed the object,
     * the block found before may have been released, and another one may lie here. There is none if
     * the object was taken in already. */
    block = jm_pagemap_block(pointer);
    if (JM_UNLIKELY(block == NULL)) {
        return true;
    }
    /* A block is aligned to its size. */
    size_t granule = (uintptr_t)pointer >> JM_GRANULE_BITS;
    unsigned segment = granule >> jm_load_relaxed(&block->segment_bits) & (JM_SEGMENTS - 1);
    uint64_t mark = (uint64_t)1 << segment;
    if ((jm_load_seq_cst(&block->queued) & mark) == 0) {
        atomic_fetch_or(&block->queued, mark);
    }
    struct jm_heap *heap = jm_heap_of_block(block);
    mark_heap(heap, JM_TAKE_IN_SMALL);
    if (JM_UNLIKELY(jm_is_witness(state))) {
        jm_heap_note_pinned(heap, block);
    }
    return true;
}

bool jm_heap_queue_free(struct jm_block *block, void *pointer)
{
    if (JM_UNLIKELY(jm_inspect_watched) && jm_heap_usable_in(block, pointer) != 0) {
        jm_inspect_free(jm_heap_of_block(block), pointer); /* before it can be allocated again */
    }
    jm_state *place = find_state(block, pointer);
    return place != NULL ? queue_small(block, place, pointer) : queue_large(block, pointer);
}

/* Takes in a queued object. */
static void take_in(struct jm_heap *heap, struct jm_block *block, size_t granule, unsigned code)
{
    jm_arena_push(heap->arena, &block->map[granule], jm_granule_address(block, granule), code);
    jm_heap_note_change(heap);
    if (block->witness == granule) {
        block->has_witness = false;
    }
}

/* 0x80 in each of eight bytes whose state is from JM_QUEUED to JM_PLAIN, else 0. Both bounds have
 * the highest bit set, so the lower seven bits are compared by additions, which never carry into
 * the next byte. */
static uint64_t queued_states(uint64_t states)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t rest = states & ones * 127;
    uint64_t least = rest + ones * (256 - JM_QUEUED);
    uint64_t beyond = rest + ones * (255 - JM_PLAIN);
    return states & least & ~beyond & JM_HIGH_BITS;
}

/* The class of a queued object. Acquires what the freeing thread did before the free. */
static unsigned queued_class(const struct jm_arena *arena, const struct jm_block *block,
                             size_t granule)
{
    unsigned state = jm_load_acquire(&block->map[granule]);
    return state != JM_QUEUED ? state - JM_QUEUED : jm_arena_class_at(arena, block, granule);
}

/* A bit for each of up to 64 granules: set if a queued object starts there; the first granule is
 * bit 0. Without branches, as no processor would predict them. */
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

/* Prefetches some segments of a block's map, all at once, from the processors that wrote to
 * them. */
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
        jm_heap_lose_witness(heap, block); /* once for all objects */
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
    struct jm_block *block = jm_load_relaxed(&heap->supply.large);
    for (; block != NULL; block = jm_load_relaxed(&block->next)) {
        drain_large(heap, block);
    }
}

bool jm_heap_drain(struct jm_heap *heap)
{
    if (JM_LIKELY(!jm_heap_needs_drain(heap))) {
        return false;
    }
    bool takes_all = jm_heap_owes_drain(heap);
    unsigned kinds = atomic_fetch_and(&heap->queued, takes_all ? 0 : ~JM_TAKE_IN_SMALL);
    if (takes_all) {
        (void)atomic_exchange(&heap->queued_pages, 0); /* before any block is looked at */
        kinds |= jm_load_seq_cst(&heap->queued); /* whose pages may have been counted just now */
    }
    struct jm_block *block = jm_load_relaxed(&heap->supply.small);
    for (; (kinds & JM_TAKE_IN_SMALL) != 0 && block != NULL;
         block = jm_load_relaxed(&block->next)) {
        drain_small(heap, block);
    }
    if (takes_all && (kinds & JM_TAKE_IN_LARGE) != 0) {
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
    atomic_fetch_or(&heap->queued, JM_TAKE_IN_SMALL | JM_TAKE_IN_LARGE | JM_TAKE_IN_MUCH);
}

bool jm_heap_drain_much(struct jm_heap *heap)
{
    uint32_t pages = jm_load_relaxed(&heap->queued_pages);
    if (pages != 0 && is_much(heap, pages)) { /* the heap may have shrunk since */
        mark_heap(heap, JM_TAKE_IN_MUCH);
    }
    return jm_heap_drain(heap);
}

bool jm_heap_drain_all(struct jm_heap *heap)
{
    if (jm_load_seq_cst(&heap->queued_pages) != 0) {
        mark_heap(heap, JM_TAKE_IN_MUCH);
    }
    return jm_heap_drain(heap);
}
