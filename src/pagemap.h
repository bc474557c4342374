/*
 * Layer 2: the pointer map. It tells, for any address whatever, which block holds it and who owns that.
 *
 *      address   | root index | leaf index | offset in the unit |
 *                 ROOT_BITS    LEAF_BITS    JM_UNIT_BITS
 *
 * Leaves are mapped when first needed and never unmapped; for what lies in the region (see region.h) they
 * are not needed. A small block registers each of its units, a large one the unit that its object starts
 * in: two objects of this size never start in one unit.
 *
 * A thread may read the block that it found while it uses the owning runtime, or between jm_pagemap_enter and
 * jm_pagemap_leave: a block goes to the OS, or to another runtime, only once no reader is left who could have found it.
 * Readers by jm_pagemap_find are not waited for in the region: what they find may be another's by now, see remote.c.
 */
#ifndef JM_PAGEMAP_H
#define JM_PAGEMAP_H

#include "atomic.h"
#include "base.h"
#include "region.h"
#include "thread.h"

#if UINTPTR_MAX > 0xffffffffu
#define JM_ADDRESS_BITS 48
#define JM_LEAF_BITS 16 /* a leaf is 1 MiB of which few pages are touched, for 1 GiB of addresses */
#else
#define JM_ADDRESS_BITS 32
#define JM_LEAF_BITS 12
#endif
#define JM_ROOT_BITS (JM_ADDRESS_BITS - JM_UNIT_BITS - JM_LEAF_BITS)

struct jm_leaf {
    jm_token tokens[(size_t)1 << JM_LEAF_BITS];
    _Atomic(struct jm_block *) blocks[(size_t)1 << JM_LEAF_BITS];
};

extern JM_HIDDEN _Atomic(struct jm_leaf *) jm_pagemap_root[(size_t)1 << JM_ROOT_BITS];

/* What the map knows of an address outside of the region; NULL: nothing was ever registered near it. */
static inline struct jm_leaf *jm_pagemap_leaf(const void *pointer)
{
    uintptr_t root = (uintptr_t)pointer >> (JM_UNIT_BITS + JM_LEAF_BITS);
    return root >> JM_ROOT_BITS != 0 ? NULL : jm_load_acquire(&jm_pagemap_root[root]);
}

static inline size_t jm_pagemap_index(const void *pointer)
{
    return (uintptr_t)pointer >> JM_UNIT_BITS & (((uintptr_t)1 << JM_LEAF_BITS) - 1);
}

/* The token of an address, or NULL where there is none. */
static inline jm_token *jm_pagemap_token(const void *pointer)
{
    if (jm_region_holds(pointer)) {
        return jm_region_token_of(pointer);
    }
    struct jm_leaf *leaf = jm_pagemap_leaf(pointer);
    return leaf == NULL ? NULL : &leaf->tokens[jm_pagemap_index(pointer)];
}

/* The block that an address is registered for, or NULL. */
static inline struct jm_block *jm_pagemap_block(const void *pointer)
{
    if (jm_region_holds(pointer)) {
        return jm_load_seq_cst(jm_region_block_of(pointer));
    }
    struct jm_leaf *leaf = jm_pagemap_leaf(pointer);
    return leaf == NULL ? NULL : jm_load_seq_cst(&leaf->blocks[jm_pagemap_index(pointer)]);
}

/* Makes sure that [address, address + size), outside of the region, can be registered. post: false: no
 * memory. */
bool jm_pagemap_prepare(const void *address, size_t size);

/* A leaf for an address that is not known yet. NULL: no memory. */
struct jm_leaf *jm_pagemap_new_leaf(void);

/* Puts it in place, or discards it where there is one. */
void jm_pagemap_install(const void *address, struct jm_leaf *leaf);

/* Registers a range for a block, or nothing where both are NULL. pre: the range was prepared. */
void jm_pagemap_set(const void *address, size_t size, struct jm_block *block, const void *token);

/* Changes the token of a registered range. */
void jm_pagemap_set_token(const void *address, size_t size, const void *token);

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
#define JM_READER_STRIPES 8
struct jm_reader_stripe {
    _Alignas(JM_CACHE_LINE) _Atomic(uint32_t) readers[2];
};
extern JM_HIDDEN struct jm_reader_stripe jm_pagemap_stripes[JM_READER_STRIPES];
extern JM_HIDDEN _Atomic(uint32_t) jm_pagemap_epoch;

/* Begins reading blocks of others. They are looked up by a sequentially consistent load, which comes after
 * the count, as the change of the epoch does. Nothing until jm_pagemap_leave may wait for others or call the host;
 * to walk a heap may take a while. */
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

/* Begins a look at one object and at what is atomic in its block and heap, and looks the block up. In the
 * region these stay where they are, and whose they are is asked again by whoever then uses them: `readers`,
 * for jm_pagemap_leave, is NULL. */
JM_INLINE struct jm_block *jm_pagemap_find(const void *pointer, _Atomic(uint32_t) **readers)
{
    if (JM_LIKELY(jm_region_holds(pointer))) {
        *readers = NULL;
        return jm_load_seq_cst(jm_region_block_of(pointer));
    }
    *readers = jm_pagemap_enter();
    return jm_pagemap_block(pointer);
}

/* Ends it; takes what enter returned. */
JM_INLINE void jm_pagemap_leave(_Atomic(uint32_t) *readers)
{
    if (readers != NULL) {
        atomic_fetch_sub_explicit(readers, 1, memory_order_release);
    }
}

/* The epoch that what is unregistered now waits from. */
uint32_t jm_pagemap_since(void);

/* Ends epochs as far as readers allow, at most two. Returns the epoch then. */
uint32_t jm_pagemap_advance(void);

/* True where nobody reads at all, so that of what was unregistered before no reader is left either. pre: the
 * caller took a lock since. */
bool jm_pagemap_is_quiet(void);

/* True where no reader is left of what was unregistered in epoch `since` or before. */
static inline bool jm_pagemap_is_over(uint32_t since, uint32_t epoch)
{
    return epoch - since >= 2;
}

/* Waits until no reader is left of what was unregistered in epoch `since` or before, for so many steps of jm_os_pause at
 * most. False: there are some; none of them waits for anybody, but it may have lost its processor. */
bool jm_pagemap_wait(uint32_t since, unsigned patience);

void jm_pagemap_before_fork(void);
void jm_pagemap_after_fork(void);
void jm_pagemap_forked(void); /* in the child: forgets the readers that did not come along */

#endif
