/*
 * Layer 2: the pointer map. For any address at all, it tells which block holds it and who owns the
 * block.
 *
 *      address   | root index | leaf index | offset in the unit |
 *                 ROOT_BITS    LEAF_BITS    JM_UNIT_BITS
 *
 * Leaves are mapped when first needed and never unmapped. The region (see region.h) needs none. A
 * small block registers each of its units. A large one registers the unit that its object starts
 * in: two objects of this size never start in one unit.
 *
 * A thread may read a block that it found while it uses the owning runtime, or between
 * jm_pagemap_enter and jm_pagemap_leave: a block goes to the OS, or to another runtime, only once
 * no reader is left that could have found it. Exception: nobody waits for readers by
 * jm_pagemap_find in the region. The block that they find may belong to another runtime by now, see
 * remote.c.
 */
#ifndef JM_PAGEMAP_H
#define JM_PAGEMAP_H

#include "atomic.h"
#include "base.h"
#include "region.h"
#include "thread.h"

#if UINTPTR_MAX > 0xffffffffu
#define JM_ADDRESS_BITS 48
#define JM_LEAF_BITS 16 /* a leaf is 1 MiB, mostly untouched, and covers 1 GiB of addresses */
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

/* The leaf for an address outside of the region. NULL if nothing was ever registered near it. */
static inline struct jm_leaf *jm_pagemap_leaf(const void *pointer)
{
    uintptr_t root = (uintptr_t)pointer >> (JM_UNIT_BITS + JM_LEAF_BITS);
    return root >> JM_ROOT_BITS != 0 ? NULL : jm_load_acquire(&jm_pagemap_root[root]);
}

static inline size_t jm_pagemap_index(const void *pointer)
{
    return (uintptr_t)pointer >> JM_UNIT_BITS & (((uintptr_t)1 << JM_LEAF_BITS) - 1);
}

/* The place of an address's token. NULL if there is none. */
static inline jm_token *jm_pagemap_token(const void *pointer)
{
    if (jm_region_holds(pointer)) {
        return jm_region_token_of(pointer);
    }
    struct jm_leaf *leaf = jm_pagemap_leaf(pointer);
    return leaf == NULL ? NULL : &leaf->tokens[jm_pagemap_index(pointer)];
}

/* The block that an address is registered for. NULL if there is none. */
static inline struct jm_block *jm_pagemap_block(const void *pointer)
{
    if (jm_region_holds(pointer)) {
        return jm_load_seq_cst(jm_region_block_of(pointer));
    }
    struct jm_leaf *leaf = jm_pagemap_leaf(pointer);
    return leaf == NULL ? NULL : jm_load_seq_cst(&leaf->blocks[jm_pagemap_index(pointer)]);
}

/* Makes sure that [address, address + size), outside of the region, can be registered. post: false:
 * no memory, or the range lies beyond the addresses that the map covers. */
bool jm_pagemap_prepare(const void *address, size_t size);

/* Returns a leaf for an address that is not known yet. NULL: no memory. */
struct jm_leaf *jm_pagemap_new_leaf(void);

/* Installs such a leaf for an address, or discards it if the address has one. */
void jm_pagemap_install(const void *address, struct jm_leaf *leaf);

/* Registers a range for a block, or unregisters it if both are NULL. pre: it was prepared. */
void jm_pagemap_set(const void *address, size_t size, struct jm_block *block, const void *token);

/* Changes the token of a registered range. */
void jm_pagemap_set_token(const void *address, size_t size, const void *token);

/* Bytes mapped for leaves. */
size_t jm_pagemap_metadata(void);

/*
 * A reader counts itself, for the epoch in which it begins, in one of a few stripes, which have a
 * cache line each. An epoch may end when the readers of the previous one have left:
 *
 *      epoch k -> k + 1    all stripes' readers[(k + 1) % 2] == 0, seen in epoch k
 *
 * So a block that is unregistered in epoch k has no reader left in epoch k + 2. New readers do not
 * hold up the epoch of old ones. Readers write the counters; threads that give blocks back write
 * the epoch.
 */
#define JM_READER_STRIPES 8
struct jm_reader_stripe {
    _Alignas(JM_CACHE_LINE) _Atomic(uint32_t) readers[2];
};
extern JM_HIDDEN struct jm_reader_stripe jm_pagemap_stripes[JM_READER_STRIPES];
extern JM_HIDDEN _Atomic(uint32_t) jm_pagemap_epoch;

/* Begins to read blocks of other runtimes. They must be looked up by a sequentially consistent
 * load: like the change of the epoch, it comes after the count. Until jm_pagemap_leave, the thread
 * must never wait for others or call the host. It may take a while, for instance to walk a heap. */
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
        atomic_fetch_sub(readers, 1); /* the epoch has ended: nobody waits for this count */
    }
}

/* Looks up a block, and begins to read one object and the atomic fields of its block and heap.
 * `*readers` is for jm_pagemap_leave. It is NULL for the region, where blocks and heaps stay in
 * place and whoever then uses them checks again who owns them. */
JM_INLINE struct jm_block *jm_pagemap_find(const void *pointer, _Atomic(uint32_t) **readers)
{
    if (JM_LIKELY(jm_region_holds(pointer))) {
        *readers = NULL;
        return jm_load_seq_cst(jm_region_block_of(pointer));
    }
    *readers = jm_pagemap_enter();
    return jm_pagemap_block(pointer);
}

/* Ends reading. `readers` is what jm_pagemap_enter or jm_pagemap_find gave. */
JM_INLINE void jm_pagemap_leave(_Atomic(uint32_t) *readers)
{
    if (readers != NULL) {
        atomic_fetch_sub_explicit(readers, 1, memory_order_release);
    }
}

/* The epoch from which blocks that are unregistered by now wait for their readers. */
uint32_t jm_pagemap_since(void);

/* Ends epochs as far as readers allow, at most two. Returns the current epoch. */
uint32_t jm_pagemap_advance(void);

/* True if nobody reads at all: then blocks that were unregistered before have no reader left. pre:
 * the caller has taken a lock since it unregistered them. */
bool jm_pagemap_is_quiet(void);

/* True if blocks that were unregistered in epoch `since` or before have no reader left. */
static inline bool jm_pagemap_is_over(uint32_t since, uint32_t epoch)
{
    return epoch - since >= 2;
}

/* Waits until jm_pagemap_is_over, for at most `patience` steps of jm_os_pause. False: some readers
 * are left. None of them waits for anybody, but one may have lost its processor. */
bool jm_pagemap_wait(uint32_t since, unsigned patience);

void jm_pagemap_for_locks(jm_lock_step *step);
void jm_pagemap_forked(void); /* in the child: forgets readers: their threads are gone */

#endif
