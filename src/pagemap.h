/*
 * Layer 2: the pointer map. It tells, for any address whatever, which block holds it and who owns that.
 *
 *      address   | root index | leaf index | offset in the unit |
 *                 ROOT_BITS    LEAF_BITS    JM_UNIT_BITS
 *
 * Leaves are mapped when first needed and never unmapped. A small block registers each of its units,
 * a large one the unit that its object starts in: two objects of this size never start in one unit.
 *
 * A thread may read what it found through a unit where it is the owner's user, or between
 * jm_pagemap_enter and jm_pagemap_leave: a block is given back to the OS, or to another runtime, only
 * when nobody who could have found it is still reading.
 */
#ifndef JM_PAGEMAP_H
#define JM_PAGEMAP_H

#include "atomic.h"
#include "base.h"
#include "thread.h"

struct jm_block;
struct jm_supply;

/* Small blocks are whole units. 64 KiB is the largest page size in use, and a small tenant's need. */
#define JM_UNIT_BITS 16
#define JM_UNIT ((size_t)1 << JM_UNIT_BITS)

#if UINTPTR_MAX > 0xffffffffu
#define JM_ADDRESS_BITS 48
#define JM_LEAF_BITS \
    14 /* a leaf is 256 KiB of which few pages are touched, for 1 GiB of addresses */
#else
#define JM_ADDRESS_BITS 32
#define JM_LEAF_BITS 10
#endif
#define JM_ROOT_BITS (JM_ADDRESS_BITS - JM_UNIT_BITS - JM_LEAF_BITS)

/* Written by the thread that uses the owner, read by all. `owner` is null where nothing is registered. */
struct jm_unit {
    _Atomic(struct jm_block *) block;
    _Atomic(struct jm_supply *) owner;
};

struct jm_leaf {
    struct jm_unit units[(size_t)1 << JM_LEAF_BITS];
};

extern _Atomic(struct jm_leaf *) jm_pagemap_root[(size_t)1 << JM_ROOT_BITS];

/* The unit of an address, or NULL where nothing was ever registered near it. */
JM_INLINE struct jm_unit *jm_pagemap_unit(const void *pointer)
{
    uintptr_t unit = (uintptr_t)pointer >> JM_UNIT_BITS;
    uintptr_t root = unit >> JM_LEAF_BITS;
    if (root >> JM_ROOT_BITS != 0) {
        return NULL;
    }
    struct jm_leaf *leaf = jm_load_acquire(&jm_pagemap_root[root]);
    return leaf == NULL ? NULL : &leaf->units[unit & (((uintptr_t)1 << JM_LEAF_BITS) - 1)];
}

/* Makes sure that [address, address + size) can be registered. post: false: no memory. */
bool jm_pagemap_prepare(const void *address, size_t size);

/* Registers a range for a block, or nothing where both are NULL. pre: the range was prepared. */
void jm_pagemap_set(const void *address, size_t size, struct jm_block *block,
                    struct jm_supply *owner);

/* Bytes mapped for leaves. */
size_t jm_pagemap_metadata(void);

/*
 * Readers count themselves, for the epoch in which they begin, in one of a few stripes with a cache line
 * each. An epoch may end when the readers of the one before it have left:
 *
 *      epoch k -> k + 1    all stripes' readers[(k + 1) % 2] == 0, seen in epoch k
 *
 * So what is unregistered in epoch k has no reader left in epoch k + 2. New readers do not hold up the
 * old ones' epoch. Counters: written by readers. Epoch: by whoever gives blocks back.
 */
#define JM_READER_STRIPES 16
struct jm_reader_stripe {
    _Alignas(64) _Atomic(uint32_t) readers[2];
};
extern struct jm_reader_stripe jm_pagemap_stripes[JM_READER_STRIPES];
extern _Atomic(uint32_t) jm_pagemap_epoch;

/* Begins reading blocks of others. They are looked up by a sequentially consistent load, which comes after
 * the count, as the change of the epoch does. Nothing until jm_pagemap_leave may block or call the host. */
JM_INLINE _Atomic(uint32_t) *jm_pagemap_enter(void)
{
    struct jm_reader_stripe *stripe = &jm_pagemap_stripes[jm_thread.id % JM_READER_STRIPES];
    for (;;) {
        uint32_t epoch = jm_load_seq_cst(&jm_pagemap_epoch);
        _Atomic(uint32_t) *readers = &stripe->readers[epoch % 2];
        atomic_fetch_add(readers, 1);
        if (JM_LIKELY(jm_load_seq_cst(&jm_pagemap_epoch) == epoch)) {
            return readers;
        }
        atomic_fetch_sub(readers, 1); /* the epoch ended: nobody waits for this count */
    }
}

/* Ends it; takes what enter returned. */
JM_INLINE void jm_pagemap_leave(_Atomic(uint32_t) *readers)
{
    atomic_fetch_sub_explicit(readers, 1, memory_order_release);
}

/* Ends epochs as far as readers allow, at most two. Returns the epoch then. */
uint32_t jm_pagemap_advance(void);

/* True where no reader is left of what was unregistered in epoch `since` or before. */
static inline bool jm_pagemap_is_over(uint32_t since, uint32_t epoch)
{
    return epoch - since >= 2;
}

/* Waits until no reader is left of what was unregistered before the call. Readers take a few steps, none
 * of which waits. */
void jm_pagemap_wait(void);

void jm_pagemap_before_fork(void);
void jm_pagemap_after_fork_parent(void);
void jm_pagemap_after_fork_child(void); /* forgets the readers that did not come along */

#endif
