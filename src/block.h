/*
 * Layer 2: blocks, the pieces of memory that a runtime holds from the OS.
 *
 * A small block holds the objects of many size classes. It is one stretch of 2^k units:
 *
 *      | objects ..................................................... | pad |
 *      start                                                    granules
 *
 * Its header and its state map, a byte per granule, lie apart, in the region's tables. Where the region has
 * no room, the header still lies apart, see header.h; the map is in the block, in front of the objects:
 *
 *      | state map | - | objects ..................................... | pad |
 *      start           first                                    granules
 *
 * A large block, whose header lies apart, too, holds one object:
 *
 *      | object ................................................... | pad |
 *      start
 *
 * The map, not anything that lies in the objects, is the authority on what is an object: see state.h.
 *
 * Everything here runs on the thread that uses the runtime, unless said otherwise. Readers of the
 * pointer map read what is marked as shared, or write it where that is said, and what is constant
 * from registration until no reader is left.
 */
#ifndef JM_BLOCK_H
#define JM_BLOCK_H

#include "os.h"
#include "pagemap.h"
#include "quota.h"

/* A small block's size: large enough to need few, small enough not to be pinned by one object. */
#define JM_SMALL_BLOCK_MAX ((size_t)4 << 20)

/* All blocks of a heap but the first have so much where the limit allows it: what comes and goes in a steady loop stays
 * in one. */
#define JM_SMALL_BLOCK_GROWTH ((size_t)128 << 10)

/* The smallest that there is: at least a page. */
static inline size_t jm_small_block_min(void)
{
    return jm_align_up(JM_UNIT, jm_os_page_size());
}

static inline size_t jm_page_granules(void)
{
    return jm_os_page_size() >> JM_GRANULE_BITS;
}

/* Room for the arena that one of a heap's small blocks holds. */
#define JM_ARENA_SPACE ((size_t)768)

/* What separates the last object from whatever lies behind the block: never handed out. */
#define JM_PAD ((size_t)64)

/* A block knows so many places where a witness was: as many as fill a cache line. */
#define JM_FAR_WITNESSES 16

struct jm_supply;

/* A map has so many segments, for each of which there is a bit. */
#define JM_SEGMENTS 64

struct jm_block {
    /* A cache line for what a thread that frees for others needs, which in the region may come late, see remote.c;
     * and for what is needed in the reserve only. */
    _Atomic(uint64_t) queued; /* shared, set by all: segments of the map that hold queued objects */
    _Atomic(struct jm_supply *) owner; /* shared. Constant */
    _Atomic(uint32_t) segment_bits;    /* shared: log2 of a segment's granules. Constant */
    uint32_t
        retired; /* in the reserve: the epoch from which it waits for its readers, if it does, */
    const struct jm_supply *tenant; /* who had it last, */
    uint64_t tenancy;               /* and when */

    /* And one for what is asked for of each of many blocks. */
    _Alignas(JM_CACHE_LINE) uint32_t first; /* granules from here on may hold objects. Constant */
    uint32_t carved; /* granules below it hold objects, live, free or queued, or holes */
    size_t granules; /* end of the objects; 0 in a large block. Constant */
    char *start;     /* granule 0, or the object. Constant, but for moves */
    jm_state *map;   /* shared, queued by all: the state of each granule. Constant */
    _Atomic(struct jm_block *) next; /* shared: in one of the supply's lists */
    size_t
        charge; /* bytes of the quota; the extent has more where it is reserved, unused or holes */
    uint32_t touched; /* the rest was never written. Without the span: carved <= touched */
    uint32_t witness; /* the granule where it starts or, where there is none, the last one did */
    bool has_witness;
    uint8_t far_count;  /* of witnesses that were found far away, modulo 256; the last of them: */
    bool partly_listed; /* free runs of it were listed since it was swept */
    uint32_t unlisted;  /* none of the others has more granules; 0: all are listed */

    uint32_t far_witnesses[JM_FAR_WITNESSES]; /* granules, see witness.c */
    struct jm_block *previous;                /* in the list of `next` */
    struct jm_block *behind;                  /* in a chain, see chain.h */
    struct jm_os_extent extent;               /* the mapping; in the region, the stretch */
    uint32_t left_free;                       /* its part of what `arena->left_free` says */
    /* No hole of `hole_searched_for` granules or more begins in front of `hole_searched_to`. */
    uint32_t hole_searched_for, hole_searched_to;

    /* Large blocks only. */
    _Atomic(unsigned) state; /* shared, queued by all: enum jm_large_state */
    bool resizable;          /* its extent is a mapping of it alone */
    bool recycled;           /* its object is not zero, as new ones are */
    _Atomic(size_t) bytes;   /* shared: == charge, which others must not read */

    /* Small blocks only. */
    _Alignas(JM_CACHE_LINE) unsigned char arena[JM_ARENA_SPACE];
};

static_assert(sizeof(struct jm_block) <= JM_HEAD_SIZE, "a head holds a header");

enum jm_large_state { JM_LARGE_NONE = 0, JM_LARGE_LIVE, JM_LARGE_QUEUED };

/* What a runtime holds from the OS:  quota.usage == sum of charge over the blocks. */
struct jm_supply {
    _Atomic(const void *) small_token; /* shared: of small blocks, their arena; or null */
    struct jm_quota quota;
    uint64_t tenancy; /* with the address, tells runtimes apart that had the same slot */
    _Atomic(struct jm_block *) small, large; /* shared: lists of blocks */
    _Atomic(uint32_t) block_count;           /* shared */
    bool has_large_spares;                   /* large blocks that it had may be in the reserve, */
    bool has_small_spares;                   /* and small ones that go when it is collected */
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

/* True for what a tenant had last, and no earlier one in its slot. */
static inline bool jm_block_was_of(const struct jm_block *block, const struct jm_supply *tenant)
{
    return block->tenant == tenant && block->tenancy == tenant->tenancy;
}

/* The bytes that a small block has, holes included. */
static inline size_t jm_block_size(const struct jm_block *block)
{
    return (block->granules << JM_GRANULE_BITS) + JM_PAD;
}

/* True where pages of a small block were given back. */
static inline bool jm_block_has_holes(const struct jm_block *block)
{
    return block->charge != jm_block_size(block);
}

/* The granule that the first object of a small block outside of the region starts at. It is no matter of
 * pages: where those are large, the smallest block has one. */
#define JM_METADATA_STEP ((size_t)4096)
static inline size_t jm_first_granule(size_t size)
{
    return jm_align_up(size >> JM_GRANULE_BITS, JM_METADATA_STEP) >> JM_GRANULE_BITS;
}

/* Registers all small blocks anew, for an arena that is new or moved. */
void jm_block_set_small_token(struct jm_supply *supply, const void *token);

/*
 * Acquires a small block of `size` bytes, a power of two, and registers it. NULL: `verdict` says who
 * refused; the host knows, but of JM_REFUSED_CALLBACK. It may have run: whatever the caller knew may have changed.
 */
struct jm_block *jm_block_acquire_small(struct jm_supply *supply, size_t size,
                                        enum jm_verdict *verdict);

/* What a large block has that the tenant had before, which would be taken for one of `bytes` as it is, and has up to a quarter
 * more; 0: there is none. */
size_t jm_block_spare(const struct jm_supply *supply, size_t bytes, size_t alignment);

/* Acquires a large block of `bytes`, a multiple of the page size, at a multiple of `alignment`; else as above. */
struct jm_block *jm_block_acquire_large(struct jm_supply *supply, size_t bytes, size_t alignment,
                                        enum jm_verdict *verdict);

/*
 * Gives a block back and tells the host last, when the block is gone. False: the OS did not take it,
 * and it is as it was; `for_good`: it goes to the reserve then. pre: not in the quota's callback.
 */
bool jm_block_release(struct jm_supply *supply, struct jm_block *block, bool for_good);

/* Gives whole pages of a small block back, from granule to granule, and pages of the map that tell about nothing
 * else, without a word to the quota. False: the OS did not take them. pre: their map is zero. */
bool jm_block_give_pages(struct jm_block *block, size_t start, size_t end);

/* Acquires them again. False: see `verdict`, as for a block. */
bool jm_block_take_pages(struct jm_supply *supply, struct jm_block *block, size_t start, size_t end,
                         enum jm_verdict *verdict);

/* The bytes that a large object's owner may use. */
static inline size_t jm_large_usable(const struct jm_block *block)
{
    return jm_load_relaxed(&block->bytes) - JM_PAD;
}

/* True where a large block may have `bytes`, if the OS and the quota allow it. */
bool jm_block_can_grow(const struct jm_block *block, size_t bytes);

/*
 * Grows a large block until it has `bytes`, in place or, with its content, elsewhere.
 * pre: it can grow. False: nothing changed; see `verdict`.
 */
bool jm_block_grow(struct jm_supply *supply, struct jm_block *block, size_t bytes,
                   enum jm_verdict *verdict);

/* Gives back the end of a large block, which keeps `bytes`. False: it has it still, whatever lies there. */
bool jm_block_shrink(struct jm_supply *supply, struct jm_block *block, size_t bytes);

#endif
