#include "pagemap.h"

#include "guard.h"
#include "os.h"

_Atomic(struct jm_leaf *) jm_pagemap_root[(size_t)1 << JM_ROOT_BITS];
struct jm_reader_stripe jm_pagemap_stripes[JM_READER_STRIPES];
_Atomic(uint32_t) jm_pagemap_epoch;

/* Process state: the growth of the map. */
static struct {
    struct jm_lock lock;
    _Atomic(size_t) metadata;
} pagemap;

static size_t leaf_size(void)
{
    return jm_align_up(sizeof(struct jm_leaf), jm_os_page_size());
}

struct jm_leaf *jm_pagemap_new_leaf(void)
{
    return jm_guard_map(leaf_size());
}

static void install(_Atomic(struct jm_leaf *) *root, struct jm_leaf *leaf)
{
    jm_lock_take(&pagemap.lock);
    bool is_first = jm_load_relaxed(root) == NULL;
    if (is_first) {
        jm_add_owned(&pagemap.metadata, leaf_size());
        jm_store_release(root, leaf);
    }
    jm_lock_drop(&pagemap.lock);
    if (!is_first) {
        jm_guard_discard(leaf, leaf_size());
    }
}

void jm_pagemap_install(const void *address, struct jm_leaf *leaf)
{
    uintptr_t root = (uintptr_t)address >> (JM_UNIT_BITS + JM_LEAF_BITS);
    JM_CHECK(root >> JM_ROOT_BITS == 0); /* untested: nobody asks the OS for such a place */
    install(&jm_pagemap_root[root], leaf);
}

static bool add_leaf(_Atomic(struct jm_leaf *) *root)
{
    struct jm_leaf *leaf = jm_pagemap_new_leaf();
    if (leaf != NULL) {
        install(root, leaf);
    }
    return leaf != NULL;
}

bool jm_pagemap_prepare(const void *address, size_t size)
{
    const unsigned leaf_shift = JM_UNIT_BITS + JM_LEAF_BITS;
    uintptr_t first = (uintptr_t)address >> leaf_shift;
    uintptr_t last = ((uintptr_t)address + (size - 1)) >> leaf_shift;
    if (last >> JM_ROOT_BITS != 0) {
        return false; /* an address beyond those that the map covers */
    }
    for (uintptr_t root = first; root <= last; root++) {
        if (jm_load_acquire(&jm_pagemap_root[root]) == NULL && !add_leaf(&jm_pagemap_root[root])) {
            return false;
        }
    }
    return true;
}

/* The place of the block that an address is registered for. pre: the address was prepared. */
static _Atomic(struct jm_block *) *block_place(const void *address)
{
    return jm_region_holds(address) ? jm_region_block_of(address)
                                    : &jm_pagemap_leaf(address)->blocks[jm_pagemap_index(address)];
}

static void set_unit(const void *address, struct jm_block *block, const void *token)
{
    jm_store_relaxed(jm_pagemap_token(address), token);
    jm_store_release(block_place(address), block);
}

void jm_pagemap_set(const void *address, size_t size, struct jm_block *block, const void *token)
{
    for (size_t offset = 0; offset < size; offset += JM_UNIT) {
        set_unit((const char *)address + offset, block, token);
    }
}

void jm_pagemap_set_token(const void *address, size_t size, const void *token)
{
    for (size_t offset = 0; offset < size; offset += JM_UNIT) {
        jm_store_relaxed(jm_pagemap_token((const char *)address + offset), token);
    }
}

size_t jm_pagemap_metadata(void)
{
    return jm_load_relaxed(&pagemap.metadata);
}

static bool has_readers(uint32_t epoch)
{
    for (int stripe = 0; stripe < JM_READER_STRIPES; stripe++) {
        if (jm_load_seq_cst(&jm_pagemap_stripes[stripe].readers[epoch % 2]) != 0) {
            return true;
        }
    }
    return false;
}

bool jm_pagemap_is_quiet(void)
{
    uint32_t readers = 0;
    jm_fence_after_locked(); /* a reader that begins after this finds nothing */
    for (int stripe = 0; stripe < JM_READER_STRIPES; stripe++) {
        readers |= jm_load_seq_cst(&jm_pagemap_stripes[stripe].readers[0]);
        readers |= jm_load_seq_cst(&jm_pagemap_stripes[stripe].readers[1]);
    }
    return readers == 0;
}

uint32_t jm_pagemap_since(void)
{
    atomic_thread_fence(memory_order_seq_cst); /* a reader that begins after this finds nothing */
    return jm_load_seq_cst(&jm_pagemap_epoch);
}

uint32_t jm_pagemap_advance(void)
{
    for (int step = 0; step < 2; step++) {
        uint32_t epoch = jm_load_seq_cst(&jm_pagemap_epoch);
        if (has_readers(epoch + 1)) {
            break;
        }
        (void)atomic_compare_exchange_strong(&jm_pagemap_epoch, &epoch, epoch + 1);
    }
    return jm_load_seq_cst(&jm_pagemap_epoch);
}

bool jm_pagemap_wait(uint32_t since, unsigned patience)
{
    for (unsigned attempt = 0; !jm_pagemap_is_over(since, jm_pagemap_advance()); attempt++) {
        if (attempt == patience) {
            return false;
        }
        jm_os_pause(attempt);
    }
    return true;
}

void jm_pagemap_for_locks(jm_lock_step *step)
{
    step(&pagemap.lock);
}

void jm_pagemap_forked(void)
{
    for (int stripe = 0; stripe < JM_READER_STRIPES; stripe++) {
        jm_store_relaxed(&jm_pagemap_stripes[stripe].readers[0], 0);
        jm_store_relaxed(&jm_pagemap_stripes[stripe].readers[1], 0);
    }
}
