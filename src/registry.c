#include "registry.h"

#include "guard.h"
#include "os.h"

#define CHUNK_SLOTS ((size_t)1 << JM_CHUNK_BITS)
#define TAG_MASK ((uint32_t)(((uint64_t)1 << (JM_GENERATION_BITS + 1)) - 1))
#define HUGE_PAGE ((size_t)2 << 20)
#define GROUP ((size_t)8) /* chunks */

struct jm_table jm_tables[JM_KINDS];
struct jm_secret jm_secret;

/* Process state beside the tables. The head of a free list is changes << 32 | index + 1 of its
 * first slot. */
static struct {
    struct jm_lock lock; /* held while a table grows */
    uint64_t seed, mixer;
    _Atomic(uint64_t) free[JM_KINDS];
    _Atomic(size_t) metadata;
} registry;

/* For each kind, a slot that the thread gave and keeps for itself: it serves the thread's next take
 * without a locked instruction. Null: none. A thread keeps none while the list is empty, so a slot
 * that is given is there for the others first. As long as the table can grow, one slot is left in
 * the list, so all threads keep theirs. None is kept while the thread exits: that may be for good.
 * In a forked child those of other threads are lost. */
static JM_LOCAL struct jm_slot *kept_local[JM_KINDS] JM_TLS_MODEL;
#define kept JM_OWN(kept_local)

/* Returns the inverse of an odd number. The first guess has 3 correct bits; each step doubles
 * them. */
static uintptr_t invert(uintptr_t odd)
{
    uintptr_t inverse = odd;
    while (odd * inverse != 1) {
        inverse *= 2 - odd * inverse;
    }
    return inverse;
}

void jm_registry_init(void)
{
    struct {
        uintptr_t multiplier, nowhere;
        uint64_t seed, mixer;
    } random;
    jm_os_random(&random, sizeof random);
    uintptr_t multiplier = random.multiplier | 1; /* odd numbers have an inverse */
    jm_store_relaxed(&jm_secret.multiplier, multiplier);
    jm_store_relaxed(&jm_secret.inverse, invert(multiplier));
    /* Value 0 decodes to an index that does not exist. */
    uintptr_t nowhere = random.nowhere | (((uintptr_t)1 << JM_INDEX_BITS) - 1);
    jm_store_relaxed(&jm_secret.mask, nowhere * multiplier);
    registry.seed = random.seed;
    registry.mixer = random.mixer | 1;
}

/* Returns the tag with which a slot's generations begin and end: even, and impossible to guess.
 * Handles are linear in index and tag. Tags are not linear in the index, so that no sum of handles
 * is a handle. */
static uint32_t first_tag(uint32_t index)
{
    uint64_t x = (registry.seed + index) * registry.mixer;
    x = (x ^ x >> 32) * registry.mixer;
    return (uint32_t)(x >> 32) & TAG_MASK & ~1u;
}

static struct jm_slot *slot_at(enum jm_kind kind, size_t index)
{
    char *chunk = jm_load_relaxed(&jm_tables[kind].chunks[index >> JM_CHUNK_BITS]);
    return (struct jm_slot *)(void *)(chunk + (index % CHUNK_SLOTS) * jm_slot_sizes[kind]);
}

struct jm_slot *jm_registry_slot(enum jm_kind kind, size_t index)
{
    return index < jm_load_acquire(&jm_tables[kind].count) ? slot_at(kind, index) : NULL;
}

/* Returns the head that follows `head`, with another first slot. */
static uint64_t next_head(uint64_t head, uint32_t first)
{
    return ((head >> 32) + 1) << 32 | first;
}

static bool is_empty(enum jm_kind kind)
{
    return (uint32_t)jm_load_relaxed(&registry.free[kind]) == 0;
}

static void push_free(enum jm_kind kind, struct jm_slot *slot)
{
    uint64_t head = jm_load_relaxed(&registry.free[kind]);
    uint64_t next;
    do {
        jm_store_relaxed(&slot->next, (uint32_t)head);
        next = next_head(head, slot->index + 1);
    } while (!atomic_compare_exchange_weak_explicit(&registry.free[kind], &head, next,
                                                    memory_order_release, memory_order_relaxed));
}

void jm_registry_give(enum jm_kind kind, struct jm_slot *slot)
{
    uint32_t tag = jm_load_relaxed(&slot->tag);
    if (tag == first_tag(slot->index)) {
        return; /* its generations have come full circle: retired */
    }
    if (!is_empty(kind) && kept[kind] == NULL && !jm_thread.exits) {
        kept[kind] = slot;
    } else {
        push_free(kind, slot);
    }
}

void jm_registry_thread_exit(void)
{
    for (int kind = 0; kind < JM_KINDS; kind++) {
        if (kept[kind] != NULL) {
            push_free((enum jm_kind)kind, kept[kind]);
            kept[kind] = NULL;
        }
    }
}

/* Takes a slot off the free list, but not the last one if `leave_one`. */
static struct jm_slot *pop_free(enum jm_kind kind, bool leave_one)
{
    uint64_t head = jm_load_acquire(&registry.free[kind]);
    struct jm_slot *slot;
    uint64_t next;
    do {
        if ((uint32_t)head == 0) {
            return NULL;
        }
        slot = slot_at(kind, (uint32_t)head - 1);
        next = next_head(head, jm_load_relaxed(&slot->next));
        if (leave_one && (uint32_t)next == 0) {
            return NULL;
        }
    } while (!atomic_compare_exchange_weak_explicit(&registry.free[kind], &head, next,
                                                    memory_order_acquire, memory_order_acquire));
    return slot;
}

/* Maps memory for some chunks. NULL if the OS refused. */
static char *map_chunks(size_t size)
{
    const size_t alignment = size % HUGE_PAGE == 0 ? HUGE_PAGE : jm_os_page_size();
    const size_t space = size + alignment - jm_os_page_size();
    char *start = jm_guard_reserve(space);
    if (start == NULL) {
        return NULL;
    }
    char *chunks = (char *)jm_align_up((uintptr_t)start, alignment);
    if (!jm_os_commit(chunks, size)) {
        jm_guard_discard(start, space);
        return NULL;
    }
    return chunks;
}

/* Adds `count` chunks from index `chunk` on; `added` receives their memory. False if the OS
 * refused. */
static bool add_chunks(enum jm_kind kind, size_t chunk, size_t count, struct jm_os_extent *added)
{
    const size_t stride = CHUNK_SLOTS * jm_slot_sizes[kind];
    const size_t size = jm_align_up(count * stride, jm_os_page_size());
    char *memory = map_chunks(size);
    if (memory == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        jm_store_relaxed(&jm_tables[kind].chunks[chunk + i], memory + i * stride);
    }
    jm_add_owned(&registry.metadata, size);
    *added = (struct jm_os_extent){memory, size};
    return true;
}

/* Ensures that a chunk exists. Once there are many slots, adds GROUP chunks at once if possible:
 * those of runtimes fill a huge page. False if the OS refused. */
static bool ensure_chunk(enum jm_kind kind, size_t chunk, struct jm_os_extent *added)
{
    if (jm_load_relaxed(&jm_tables[kind].chunks[chunk]) != NULL) {
        return true;
    }
    bool are_many =
        chunk > GROUP && chunk + GROUP <= JM_MAX_CHUNKS; /* untested: 16 million slots */
    return (are_many && add_chunks(kind, chunk, GROUP, added)) || add_chunks(kind, chunk, 1, added);
}

/* pre: the lock is held. */
static struct jm_slot *append(enum jm_kind kind, struct jm_os_extent *added)
{
    struct jm_table *table = &jm_tables[kind];
    size_t index = jm_load_relaxed(&table->count);
    size_t chunk = index >> JM_CHUNK_BITS;
    if (chunk == JM_MAX_CHUNKS || !ensure_chunk(kind, chunk, added)) {
        return NULL;
    }
    struct jm_slot *slot = slot_at(kind, index);
    slot->index = (uint32_t)index;
    jm_store_relaxed(&slot->tag, first_tag(slot->index));
    jm_store_release(&table->count, index + 1);
    return slot;
}

/* Adds a slot to a table, and one for the free list if that is empty. NULL: there is no memory, or
 * no index left. */
static struct jm_slot *add_slot(enum jm_kind kind)
{
    struct jm_os_extent added = {NULL, 0};
    jm_lock_take(&registry.lock);
    struct jm_slot *slot = append(kind, &added);
    struct jm_slot *left = slot != NULL && is_empty(kind) ? append(kind, &added) : NULL;
    if (left != NULL) {
        push_free(kind, left);
    }
    jm_lock_drop(&registry.lock);
    /* A host of a few runtimes does not need all of the first chunk. */
    if (added.size != 0 && slot->index != 0) {
        jm_os_populate(added.address, added.size);
    }
    return slot;
}

struct jm_slot *jm_registry_take(enum jm_kind kind)
{
    struct jm_slot *slot = kept[kind];
    if (slot != NULL) {
        kept[kind] = NULL;
        return slot; /* no fence: this thread retracted it, see jm_registry_retract */
    }
    slot = pop_free(kind, true);
    if (slot == NULL) {
        slot = add_slot(kind);
    }
    if (slot == NULL) {
        slot = pop_free(kind, false);
    }
    /* Whoever reads what is written to the slot from now on also sees the retracted tag. */
    atomic_thread_fence(memory_order_release);
    return slot;
}

static uintptr_t encode(enum jm_kind kind, uint32_t index, uint32_t tag)
{
    uintptr_t plain =
        (uintptr_t)(tag >> 1) << (JM_INDEX_BITS + 1) | (uintptr_t)kind << JM_INDEX_BITS | index;
    return (plain * jm_load_relaxed(&jm_secret.multiplier)) ^ jm_load_relaxed(&jm_secret.mask);
}

uintptr_t jm_registry_publish(enum jm_kind kind, struct jm_slot *slot)
{
    uint32_t tag = jm_load_relaxed(&slot->tag) | 1;
    jm_store_release(&slot->tag, tag);
    return encode(kind, slot->index, tag);
}

void jm_registry_retract(struct jm_slot *slot)
{
    jm_store_relaxed(&slot->tag, (jm_load_relaxed(&slot->tag) + 1) & TAG_MASK);
    /* Orders the retraction before anything that this thread writes to the slot from now on. For
     * the slot's next user, see jm_registry_take. */
    atomic_thread_fence(memory_order_release);
}

uintptr_t jm_registry_handle(enum jm_kind kind, const struct jm_slot *slot)
{
    uint32_t tag = jm_load_acquire(&slot->tag);
    return tag % 2 == 0 ? 0 : encode(kind, slot->index, tag);
}

size_t jm_registry_metadata(void)
{
    return jm_load_relaxed(&registry.metadata);
}

void jm_registry_for_locks(jm_lock_step *step)
{
    step(&registry.lock);
}
