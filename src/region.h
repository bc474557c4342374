/*
 * Layer 2: the region, one reserved range of address space that the blocks of all runtimes are cut
 * from, and the tables that describe each address in it. Table entries are found by arithmetic
 * alone:
 *
 *      | closed | headers | heads | blocks | tokens | state map | closed | memory of blocks .... |
 *                           one of each per unit      a byte per            base
 *                           of 16 KiB                 granule of 16 bytes
 *
 * A head is the place for the header of the block that starts at the unit: nothing that the
 * allocator trusts lies in or beside the memory of the blocks, which tenants write to. `headers`
 * serves blocks outside of the region, see header.h.
 *
 *      granule of an address == (address - base) / 16
 *
 * The space is reserved once and costs no memory until it is used. Heads that were used stay
 * resident, and so do the maps of what was given back in small pieces. If the OS refuses the space
 * (a limit on address space), or if it is full, small blocks are mappings of their own with the map
 * inside, found by the pointer map: everything works, but each call is 5 to 10 ns slower.
 *
 * Any thread may call.
 */
#ifndef JM_REGION_H
#define JM_REGION_H

#include "atomic.h"
#include "base.h"
#include "thread.h"

struct jm_block;

#define JM_GRANULE_BITS 4
#define JM_GRANULE ((size_t)1 << JM_GRANULE_BITS)

/* The pointer map has one entry per unit. A small tenant needs a single unit. */
#define JM_UNIT_BITS 14
#define JM_UNIT ((size_t)1 << JM_UNIT_BITS)

#if UINTPTR_MAX > 0xffffffffu
#define JM_REGION_BITS 34 /* 16 GiB of blocks and 2.3 GiB of tables, mostly never touched */
#else
#define JM_REGION_BITS 28
#endif

/*
 * Names the owner of a unit: the arena of a small block, or the supply of a large one. A unit
 * without owner has null or, if a free stretch begins there, an odd mark of region.c. To find out
 * whether a unit is its own, a runtime only compares the token; it need not follow a pointer into
 * memory that may belong to another. Written by the thread that uses the runtime; if the unit has
 * no owner, under the region's lock.
 */
typedef _Atomic(const void *) jm_token;

/* Number of orders: blocks and stretches of the region are 2^order units, up to 4 MiB. */
#define JM_STRETCH_ORDERS 9
static inline unsigned jm_stretch_order(size_t size)
{
    return jm_doublings(JM_UNIT, size);
}

/* The entry of a state map for one granule, see state.h. */
typedef _Atomic(uint8_t) jm_state;

/* Stretches of fewer units than this that are taken one after the other lie at least this many
 * units apart if possible, so that threads that use them do not contend for cache lines. */
#define JM_REGION_APART 8

/* Bytes for a block's header. */
#define JM_HEAD_SIZE ((size_t)1024)

/* Each a multiple of every page size. */
#define JM_REGION_MAP_SIZE ((size_t)1 << (JM_REGION_BITS - JM_GRANULE_BITS))
#define JM_REGION_TOKENS_SIZE (sizeof(jm_token) << (JM_REGION_BITS - JM_UNIT_BITS))
#define JM_REGION_HEADS_SIZE (JM_HEAD_SIZE << (JM_REGION_BITS - JM_UNIT_BITS))
#define JM_REGION_BLOCKS_SIZE (sizeof(struct jm_block *) << (JM_REGION_BITS - JM_UNIT_BITS))
#define JM_REGION_HEADERS_SIZE ((size_t)1 << (JM_REGION_BITS - 6)) /* for 64 GiB of large blocks */
#define JM_REGION_GUARD_SIZE ((size_t)2 << 20) /* of each closed part: a huge page */

/* The distance from the start of each table to `base`. */
#define JM_REGION_MAP_OFFSET (JM_REGION_GUARD_SIZE + JM_REGION_MAP_SIZE)
#define JM_REGION_TOKENS_OFFSET (JM_REGION_MAP_OFFSET + JM_REGION_TOKENS_SIZE)
#define JM_REGION_BLOCKS_OFFSET (JM_REGION_TOKENS_OFFSET + JM_REGION_BLOCKS_SIZE)
#define JM_REGION_HEADS_OFFSET (JM_REGION_BLOCKS_OFFSET + JM_REGION_HEADS_SIZE)
#define JM_REGION_HEADERS_OFFSET (JM_REGION_HEADS_OFFSET + JM_REGION_HEADERS_SIZE)

/* `base` while there is no region. A thread may read `base` just before the region exists and
 * `granules` just after: then no pointer may appear to lie shortly behind this base. On 64 bits
 * none does; on 32 bits none that is aligned to a granule. */
#if UINTPTR_MAX > 0xffffffffu
#define JM_NO_REGION ((char *)((uintptr_t)1 << 63))
#else
#define JM_NO_REGION ((char *)1)
#endif

/* Process state. `base` is written once, before the first block. `granules` grows, under a lock. */
struct jm_region {
    _Atomic(char *) base;
    _Atomic(size_t) granules; /* covered by the tables so far; 0 if there is no region */
};
extern JM_HIDDEN struct jm_region jm_region;

static inline bool jm_region_exists(void)
{
    return jm_load_relaxed(&jm_region.base) != JM_NO_REGION;
}

/* The index, counted from `base`, of the granule that starts at `pointer`. If none does, an index
 * beyond the region: the offset of a pointer below `base` wraps around, and the rotation moves the
 * low bits of a misaligned one to the top. So a single comparison rejects both. */
JM_INLINE size_t jm_region_granule(const char *base, const void *pointer)
{
    uintptr_t offset = (uintptr_t)pointer - (uintptr_t)base;
    return offset >> JM_GRANULE_BITS | offset << (sizeof offset * 8 - JM_GRANULE_BITS);
}

JM_INLINE bool jm_region_covers(size_t granule)
{
    return JM_LIKELY(jm_exceeds(&jm_region.granules, granule));
}

/* The table entries for a granule. pre: the tables cover it. */
JM_INLINE jm_token *jm_region_token(char *base, size_t granule)
{
    char *tokens = base - JM_REGION_TOKENS_OFFSET;
    return (jm_token *)(void *)tokens + (granule >> (JM_UNIT_BITS - JM_GRANULE_BITS));
}

JM_INLINE jm_state *jm_region_state(char *base, size_t granule)
{
    return (jm_state *)(void *)(base - JM_REGION_MAP_OFFSET) + granule;
}

/* True if an address, aligned or not, lies in the part of the region that the tables cover. */
static inline bool jm_region_holds(const void *pointer)
{
    size_t granules = jm_load_acquire(&jm_region.granules); /* first: set after `base` */
    uintptr_t offset = (uintptr_t)pointer - (uintptr_t)jm_load_relaxed(&jm_region.base);
    return offset >> JM_GRANULE_BITS < granules;
}

/* The table entries for an address in the region, aligned or not. */
static inline jm_token *jm_region_token_of(const void *pointer)
{
    char *base = jm_load_relaxed(&jm_region.base);
    return jm_region_token(base, ((uintptr_t)pointer - (uintptr_t)base) >> JM_GRANULE_BITS);
}

static inline _Atomic(struct jm_block *) *jm_region_block_of(const void *pointer)
{
    char *base = jm_load_relaxed(&jm_region.base);
    char *blocks = base - JM_REGION_BLOCKS_OFFSET;
    return (_Atomic(struct jm_block *) *)(void *)blocks +
           (((uintptr_t)pointer - (uintptr_t)base) >> JM_UNIT_BITS);
}

static inline struct jm_block *jm_region_head_of(const void *pointer)
{
    char *base = jm_load_relaxed(&jm_region.base);
    char *heads = base - JM_REGION_HEADS_OFFSET;
    size_t unit = ((uintptr_t)pointer - (uintptr_t)base) >> JM_UNIT_BITS;
    return (struct jm_block *)(void *)(heads + unit * JM_HEAD_SIZE);
}

/* The state of the granule at `pointer`. pre: a granule starts there. */
static inline jm_state *jm_region_state_of(const void *pointer)
{
    char *base = jm_load_relaxed(&jm_region.base);
    return jm_region_state(base, jm_region_granule(base, pointer));
}

/* The space for headers of blocks outside of the region. It is closed, and so is what lies in front
 * of it. NULL if there is no region. */
static inline char *jm_region_headers(void)
{
    return jm_region_exists() ? jm_load_relaxed(&jm_region.base) - JM_REGION_HEADERS_OFFSET : NULL;
}

/* Reserves the address space. If the OS refuses, there is no region, and everything works
 * without. */
void jm_region_init(void);

/* Allocates and commits a stretch of `size` bytes, a power of two from JM_UNIT to 4 MiB. It is
 * aligned to its size. It and its map are zero; its head is as the last user left it. NULL with
 * `has_room` true: the OS refused the memory. NULL with `has_room` false: there is no region, no
 * stretch is left, or there is no memory for its tables. */
void *jm_region_alloc(size_t size, bool *has_room);

/* False if there is no region, or if the last jm_region_alloc found no stretch. */
bool jm_region_has_room(void);

/* Splits the huge pages that extend beyond [start, end). Call it before that part of a stretch is
 * given to the OS: memory of an unsplit huge page is not free until all of the page is given back.
 * The content of [start, end) may be lost. Does nothing outside of the region. */
void jm_region_split_huge_pages(char *start, char *end);

/* Gives the memory of a stretch, or of neighbouring ones, to the OS and zeroes their maps. The
 * stretches stay allocated. False if the OS refused: the content may be lost, and the maps are
 * unchanged. */
bool jm_region_decommit(void *address, size_t size);

/* Frees the addresses of a stretch. pre: its memory and its map are zero, as jm_region_decommit
 * leaves them. */
void jm_region_free(void *address, size_t size);

/* Bytes of table entries for stretches in use. */
size_t jm_region_metadata(void);

void jm_region_for_locks(jm_lock_step *step);

#endif
