/*
 * Layer 2: blocks, the pieces of memory that a runtime holds from the OS.
 *
 * A small block holds the objects of many size classes. It is one stretch of 2^k units:
 *
 *      | objects ..................................................... | pad |
 *      start                                                    granules
 *
 * Its header and its state map, a byte per granule, lie apart, in the region's tables. If the
 * region has no room, the header still lies apart (see header.h), but the map is in the block, in
 * front of the objects:
 *
 *      | state map | - | objects ..................................... | pad |
 *      start           first_granule                            granules
 *
 * A large block holds one object. Its header lies apart, too:
 *
 *      | object ................................................... | pad |
 *      start
 *
 * The map alone decides what is an object, never anything that lies in the objects: see state.h.
 *
 * Everything here runs on the thread that uses the runtime, unless said otherwise. Readers of the
 * pointer map may read fields marked as shared or Constant, and write those marked as set or queued
 * by all. "Constant" means from registration until no reader is left.
 */
#ifndef JM_BLOCK_H
#define JM_BLOCK_H

#include "os.h"
#include "pagemap.h"
#include "quota.h"

/* The largest small block: so large that few are needed, so small that one object pins little. */
#define JM_SMALL_BLOCK_MAX ((size_t)4 << 20)

/* All small blocks of a heap but the first have at least this size if the limit allows it: then one
 * block suffices for the objects that a steady loop allocates and frees. */
#define JM_SMALL_BLOCK_GROWTH ((size_t)128 << 10)

/* The smallest small block: at least a page. */
static inline size_t jm_small_block_min(void)
{
    return jm_align_up(JM_UNIT, jm_os_page_size());
}

static inline size_t jm_page_granules(void)
{
    return jm_os_page_size() >> JM_GRANULE_BITS;
}

/* Bytes for the arena, which lies in the header of one of a heap's small blocks. */
#define JM_ARENA_SPACE ((size_t)768)

/* Bytes between the last object and whatever lies behind the block. They are never handed out. */
#define JM_PAD ((size_t)64)

/* A block remembers this many places where a witness was found: a cache line of them. */
#define JM_FAR_WITNESSES 16

struct jm_supply;

/* A map is divided into this many segments: one per bit of `queued`. */
#define JM_SEGMENTS 64

struct jm_block {
    /* A cache line for what a remote free needs, and for fields that only the reserve uses. In the
     * region a remote free may come late, when the block has changed hands: see remote.c. */
    _Atomic(uint64_t) queued; /* shared, set by all: segments of the map that hold queued objects */
    _Atomic(struct jm_supply *) owner; /* shared. Constant */
    _Atomic(uint32_t) segment_bits;    /* shared: log2 of a segment's granules. Constant */
    uint32_t waits_since;           /* the epoch since which it waits for its readers, if it does */
    const struct jm_supply *tenant; /* who had it last, or null */
    uint64_t tenancy;               /* the `tenancy` of that tenant; see jm_spares_make_orphan */

    /* A cache line for fields that are read when many blocks are walked over. */
    _Alignas(JM_CACHE_LINE) uint32_t first_granule; /* for objects. Constant */
    uint32_t carved; /* granules below hold objects (live, free, queued), holes or the span */
    size_t granules; /* end of the objects; 0 in a large block. Constant */
    char *start;     /* granule 0, or the large object. Constant but for moves */
    jm_state *map;   /* shared, queued by all: the state of each granule. Constant */
    _Atomic(struct jm_block *) next; /* shared: in the supply's list */
    /* Bytes charged to the quota. The extent may have more: reserved, unused, holes. */
    size_t charge;
    uint32_t touched; /* unwritten from here on, except in the span. Without one: >= carved */
    uint32_t witness; /* the granule where it starts or, if there is none, the last one did */
    bool has_witness;
    uint8_t far_count;  /* witnesses found far away, modulo 256; the last are in far_witnesses */
    bool partly_listed; /* some unlisted runs were listed since the last sweep */
    uint32_t unlisted;  /* no unlisted run has more granules; 0: all are listed */

    uint32_t far_witnesses[JM_FAR_WITNESSES]; /* granules, see witness.c */
    struct jm_block *previous;                /* in the list of `next` */
    struct jm_block *chain_next;              /* in a chain, see chain.h */
    struct jm_os_extent extent;               /* the mapping; in the region, the stretch */
    uint32_t left_free;                       /* its part of `arena->left_free` */
    /* No hole of `hole_searched_for` granules or more begins before `hole_searched_to`. */
    uint32_t hole_searched_for, hole_searched_to;

    /* Large blocks only. */
    _Atomic(unsigned) state; /* shared, queued by all: enum jm_large_state */
    bool resizable;          /* its extent is a mapping that holds nothing else */
    bool is_dirty;           /* its object may not be zero; in a new block it is */
    _Atomic(size_t) bytes;   /* shared: == charge, which other threads must not read */

    /* Small blocks only. */
    _Alignas(JM_CACHE_LINE) unsigned char arena[JM_ARENA_SPACE];
};

static_assert(sizeof(struct jm_block) <= JM_HEAD_SIZE, "a head holds a header");

enum jm_large_state { JM_LARGE_NONE = 0, JM_LARGE_LIVE, JM_LARGE_QUEUED };

/* The blocks of a runtime:  quota.usage == sum of charge over the blocks. */
struct jm_supply {
    _Atomic(const void *) small_token; /* shared: of small blocks: their arena, or null */
    struct jm_quota quota;
    uint64_t tenancy; /* with the address, identifies a runtime: slots are used again */
    _Atomic(struct jm_block *) small, large; /* shared: lists of blocks */
    _Atomic(uint32_t) block_count;           /* shared */
    bool has_large_spares;                   /* the reserve may keep large blocks that it had */
    bool has_small_spares;                   /* and small ones that a collect drops */
};

/* The block of an object of the calling thread's runtime. */
static inline struct jm_block *jm_block_of(const void *object)
{
    return jm_pagemap_block(object);
}

static inline bool jm_block_is_large(const struct jm_block *block)
{
    return block->granules == 0;
}

/* True if the tenant itself had the block last, not an earlier tenant in the same slot. */
static inline bool jm_block_was_of(const struct jm_block *block, const struct jm_supply *tenant)
{
    return block->tenant == tenant && block->tenancy == tenant->tenancy;
}

/* The bytes of a small block, holes included. */
static inline size_t jm_block_size(const struct jm_block *block)
{
    return (block->granules << JM_GRANULE_BITS) + JM_PAD;
}

/* True if the state map of a small block lies in the block, in front of the objects. */
static inline bool jm_block_has_map_inside(const struct jm_block *block)
{
    return block->first_granule != 0;
}

/* True if pages of a small block are decommitted. */
static inline bool jm_block_has_holes(const struct jm_block *block)
{
    return block->charge != jm_block_size(block);
}

/* A map inside a block is rounded to this step, not to pages: the smallest block may be one large
 * page. */
#define JM_METADATA_STEP ((size_t)4096)

/* The granule where the first object of a small block outside of the region starts, behind the
 * map. */
static inline size_t jm_first_granule(size_t size)
{
    return jm_align_up(size >> JM_GRANULE_BITS, JM_METADATA_STEP) >> JM_GRANULE_BITS;
}

/* Changes the token of all small blocks, for an arena that is new, moved or gone (NULL). */
void jm_block_set_small_token(struct jm_supply *supply, const void *token);

/*
 * Acquires a small block of `size` bytes, a power of two, and registers it. NULL: `verdict` says
 * who refused, and the host has been told, except of JM_REFUSED_CALLBACK. In any case the host may
 * have run, so whatever the caller knew may have changed.
 */
struct jm_block *jm_block_acquire_small(struct jm_supply *supply, size_t size,
                                        enum jm_verdict *verdict);

/* The size of the large block in the reserve that would be taken, as it is, for a request of
 * `bytes`: one that this tenant had before, up to three times as large. 0 if there is none. */
size_t jm_block_spare(const struct jm_supply *supply, size_t bytes, size_t alignment);

/* Acquires a large block of `bytes`, a multiple of the page size, aligned to `alignment`. NULL: as
 * for a small one. */
struct jm_block *jm_block_acquire_large(struct jm_supply *supply, size_t bytes, size_t alignment,
                                        enum jm_verdict *verdict);

/*
 * Gives a block to the reserve or the OS, and tells the host last, when the block is gone. False:
 * the OS did not take it, and it is as it was. With `for_good` the reserve takes what the OS
 * refuses. pre: not in the quota's callback.
 */
bool jm_block_release(struct jm_supply *supply, struct jm_block *block, bool for_good);

/* Decommits the pages of a small block from granule `start` to `end`, and the pages of the map that
 * describe nothing else. The quota stays charged for them. False: the OS did not take them. pre:
 * whole pages, whose map is zero. */
bool jm_block_decommit_pages(struct jm_block *block, size_t start, size_t end);

/* Asks for such pages again and commits them. False: see `verdict`, as for a block. */
bool jm_block_commit_pages(struct jm_supply *supply, struct jm_block *block, size_t start,
                           size_t end, enum jm_verdict *verdict);

/* The bytes that the owner of a large object may use. */
static inline size_t jm_large_usable(const struct jm_block *block)
{
    return jm_load_relaxed(&block->bytes) - JM_PAD;
}

/* True if a large block can grow to `bytes`, provided that the OS and the quota allow it. */
bool jm_block_can_grow(const struct jm_block *block, size_t bytes);

/*
 * Grows a large block to `bytes`, in place or, with its content, by a move.
 * pre: jm_block_can_grow. False: nothing changed; see `verdict`.
 */
bool jm_block_grow(struct jm_supply *supply, struct jm_block *block, size_t bytes,
                   enum jm_verdict *verdict);

/* Gives back the end of a large block, which keeps `bytes`. False: it still has the end, whose
 * content may be lost. */
bool jm_block_shrink(struct jm_supply *supply, struct jm_block *block, size_t bytes);

#endif
