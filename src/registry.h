/*
 * Layer 4: handles. A handle names a slot of a table without being its address:
 *
 *      plain   | generation | kind | index |      most significant bits first
 *      handle == (plain * odd secret) ^ secret   (mod 2^width)
 *
 * The mapping is one to one, so of all values exactly the live handles are valid. Generations start
 * at random. A flipped or guessed bit either reaches the index, and must then hit the generation of
 * another live slot, or leaves the wrong generation for the same slot.
 *
 * Slots are type-stable: they lie in chunks that are never unmapped. So a reader may read a slot
 * first and check afterwards that it was still the right one:
 *
 *      tag odd: live, tag == 2 * generation + 1        tag even: dead
 *
 * A slot that has used up its generations is retired, so a stale handle is never accepted again.
 */
#ifndef JM_REGISTRY_H
#define JM_REGISTRY_H

#include "atomic.h"
#include "base.h"
#include "thread.h"

#if UINTPTR_MAX > 0xffffffffu
#define JM_INDEX_BITS 32
#define JM_GENERATION_BITS 31
#else
#define JM_INDEX_BITS 20
#define JM_GENERATION_BITS 11
#endif
static_assert(JM_INDEX_BITS + 1 + JM_GENERATION_BITS == sizeof(uintptr_t) * 8, "all bits count");

#define JM_CHUNK_BITS 10
/* Slots per kind: 16 million. If an index has no more than 24 bits, all indexes except those of the
 * last chunk. */
#define JM_MAX_CHUNKS (JM_INDEX_BITS > 24 ? 1 << 14 : (1 << (JM_INDEX_BITS - JM_CHUNK_BITS)) - 1)

enum jm_kind {
    JM_KIND_RUNTIME = 0,
    JM_KIND_CONTEXT = 1,
    JM_HANDLE_KINDS = 2,                      /* kinds from here on have no handles */
    JM_KIND_BEFORE_COLLECT = JM_HANDLE_KINDS, /* see before_collect.h */
    JM_KINDS = 3
};

/* The head of every slot. */
struct jm_slot {
    _Atomic(uint32_t) tag;  /* see above; written by the thread that creates or disposes */
    _Atomic(uint32_t) next; /* free slots: index + 1 of the next one */
    uint32_t index;
};

/* A slot that was found, and the value its tag must still have. */
struct jm_ref {
    struct jm_slot *slot; /* null: the handle is not valid */
    uint32_t tag;
};

/* Initialises the secret. pre: called once, before any other function. */
void jm_registry_init(void);

/* Takes a dead slot that nobody else has. A slot that was never used is zero but for its tag and
 * index. NULL if there is no memory or no handle left, though another thread may keep a slot. */
struct jm_slot *jm_registry_take(enum jm_kind kind);

/* Makes a taken slot live and returns its handle. */
uintptr_t jm_registry_publish(enum jm_kind kind, struct jm_slot *slot);

/* Makes a live slot dead. From then on its handle is stale. */
void jm_registry_retract(struct jm_slot *slot);

/* Lets a dead slot be used again: by the calling thread, which keeps one of each kind, or by any.
 * pre: the calling thread retracted it and has an id; nobody else writes to it. */
void jm_registry_give(enum jm_kind kind, struct jm_slot *slot);

/* Gives other threads the dead slots that the calling thread keeps for its own next takes. */
void jm_registry_thread_exit(void);

/* The handle of a live slot; 0 if it is dead. */
uintptr_t jm_registry_handle(enum jm_kind kind, const struct jm_slot *slot);

/* Returns the slot at an index, live or not. NULL beyond the last one. */
struct jm_slot *jm_registry_slot(enum jm_kind kind, size_t index);

/* Bytes mapped for all slots. */
size_t jm_registry_metadata(void);

void jm_registry_for_locks(jm_lock_step *step);

struct jm_table {
    _Atomic(char *) chunks[JM_MAX_CHUNKS];
    _Atomic(size_t) count; /* slots that exist */
};

/* Atomic, because a thread that has no handle yet may look one up while the secret is being set. No
 * value is a valid handle at that time. */
struct jm_secret {
    _Atomic(uintptr_t) multiplier, inverse, mask;
};

extern JM_HIDDEN struct jm_table jm_tables[JM_KINDS];
extern JM_HIDDEN struct jm_secret jm_secret;
extern JM_HIDDEN const size_t jm_slot_sizes[JM_KINDS]; /* in runtime.c, which knows the records */

/* Finds the slot of a handle. */
JM_INLINE struct jm_ref jm_registry_find(enum jm_kind kind, uintptr_t handle)
{
    const uintptr_t index_mask = ((uintptr_t)1 << JM_INDEX_BITS) - 1;
    uintptr_t plain =
        (handle ^ jm_load_relaxed(&jm_secret.mask)) * jm_load_relaxed(&jm_secret.inverse);
    size_t index = plain & index_mask;
    uint32_t tag = (uint32_t)(plain >> (JM_INDEX_BITS + 1)) << 1 | 1;
    if (index >= jm_load_acquire(&jm_tables[kind].count) ||
        (plain >> JM_INDEX_BITS & 1) != (uintptr_t)kind) {
        return (struct jm_ref){.slot = NULL};
    }
    char *chunk = jm_load_relaxed(&jm_tables[kind].chunks[index >> JM_CHUNK_BITS]);
    size_t offset = (index & ((1u << JM_CHUNK_BITS) - 1)) * jm_slot_sizes[kind];
    struct jm_slot *slot = (struct jm_slot *)(void *)(chunk + offset);
    if (jm_load_acquire(&slot->tag) != tag) {
        return (struct jm_ref){.slot = NULL};
    }
    return (struct jm_ref){slot, tag};
}

/* Returns a slot's ref by its current handle; a null slot if it has none. */
static inline struct jm_ref jm_registry_look(struct jm_slot *slot)
{
    uint32_t tag = jm_load_acquire(&slot->tag);
    return (struct jm_ref){tag % 2 == 1 ? slot : NULL, tag};
}

/* True if everything read from the slot so far belongs to the handle by which it was found. */
JM_INLINE bool jm_registry_holds(struct jm_ref ref)
{
    atomic_thread_fence(memory_order_acquire);
    return jm_load_relaxed(&ref.slot->tag) == ref.tag;
}

#endif
