/*
 * Layer 2: the region, one stretch of address space that the blocks of all runtimes are cut from, and the
 * tables that tell about each address in it, found by arithmetic alone:
 *
 *      | closed | headers | heads | blocks | tokens | state map | closed | memory of the blocks ............ |
 *                           one of each per 16 KiB    a byte per            base
 *                                                     granule of 16 bytes
 *
 * The head of a block is the place for its header: nothing that the allocator trusts lies in or beside the
 * memory of the blocks, which is the tenants'. The headers are those of blocks elsewhere, see header.h.
 *
 *      granule of an address == (address - base) / 16
 *
 * The space is reserved once, and costs no memory until it is used; heads, and maps of what was given back in
 * small pieces, stay resident then. Where the OS does not give it, as under a limit on address space, or where it is
 * full, blocks are mappings of their own with a map inside, found by the pointer map: everything works, each call some
 * 5 to 10 ns slower.
 *
 * Any thread may call.
 */
#ifndef JM_REGION_H
#define JM_REGION_H

#include "atomic.h"
#include "base.h"

struct jm_block;

#define JM_GRANULE_BITS 4
#define JM_GRANULE ((size_t)1 << JM_GRANULE_BITS)

/* The pointer map has an entry per unit of addresses. A small tenant needs no more than one. */
#define JM_UNIT_BITS 14
#define JM_UNIT ((size_t)1 << JM_UNIT_BITS)

#if UINTPTR_MAX > 0xffffffffu
#define JM_REGION_BITS 34 /* 16 GiB of blocks, and 2.3 GiB of tables, most of them never touched */
#else
#define JM_REGION_BITS 28
#endif

/*
 * Whose a unit is: the arena of a small block, the supply of a large one; null or, where a stretch begins that nobody
 * has, a mark of region.c's, which is odd. Whoever wants to know whether it is his own compares the token, and need not
 * follow a pointer into what may be another's. Written by the thread that uses the runtime; where nobody has the unit,
 * under the region's lock.
 */
typedef _Atomic(const void *) jm_token;

/* Blocks and stretches of the region are 2^order units, up to 4 MiB: so many orders. */
#define JM_STRETCH_SIZES 9
static inline unsigned jm_stretch_order(size_t size)
{
    return jm_doublings(JM_UNIT, size);
}

/* What a block's map holds for a granule, see state.h. */
typedef _Atomic(uint8_t) jm_state;

/* Stretches that are taken one after the other lie so many units apart, if they are smaller: threads that use them
 * do not wait for each other. */
#define JM_REGION_APART 8

/* Room for a block's header. */
#define JM_HEAD_SIZE ((size_t)1024)

/* A multiple of every page size. */
#define JM_REGION_MAP_SIZE ((size_t)1 << (JM_REGION_BITS - JM_GRANULE_BITS))
#define JM_REGION_TOKENS_SIZE (sizeof(jm_token) << (JM_REGION_BITS - JM_UNIT_BITS))
#define JM_REGION_HEADS_SIZE (JM_HEAD_SIZE << (JM_REGION_BITS - JM_UNIT_BITS))
#define JM_REGION_BLOCKS_SIZE (sizeof(struct jm_block *) << (JM_REGION_BITS - JM_UNIT_BITS))
#define JM_REGION_HEADERS_SIZE ((size_t)1 << (JM_REGION_BITS - 6)) /* for 64 GiB of large blocks */
#define JM_REGION_GUARD_SIZE ((size_t)2 << 20) /* of what stays closed: a huge page */

/* How far before `base` each table begins. */
#define JM_REGION_MAP_OFFSET (JM_REGION_GUARD_SIZE + JM_REGION_MAP_SIZE)
#define JM_REGION_TOKENS_OFFSET (JM_REGION_MAP_OFFSET + JM_REGION_TOKENS_SIZE)
#define JM_REGION_BLOCKS_OFFSET (JM_REGION_TOKENS_OFFSET + JM_REGION_BLOCKS_SIZE)
#define JM_REGION_HEADS_OFFSET (JM_REGION_BLOCKS_OFFSET + JM_REGION_HEADS_SIZE)
#define JM_REGION_HEADERS_OFFSET (JM_REGION_HEADS_OFFSET + JM_REGION_HEADERS_SIZE)

/* What `base` is until there is a region: whoever reads it just before the region is there, and `granules` after, must
 * not find that a pointer lies shortly behind it. On 64 bits none does; on 32 bits none that is aligned to a granule. */
#if UINTPTR_MAX > 0xffffffffu
#define JM_NO_REGION ((char *)((uintptr_t)1 << 63))
#else
#define JM_NO_REGION ((char *)1)
#endif

/* Process state. `base` is written once, before the first block; `granules` grows, under a lock. */
struct jm_region {
    _Atomic(char *) base;
    _Atomic(size_t) granules; /* that the tables cover so far; 0: there is no region */
};
extern JM_HIDDEN struct jm_region jm_region;

static inline bool jm_region_exists(void)
{
    return jm_load_relaxed(&jm_region.base) != JM_NO_REGION;
}

/* The granule, counted from `base`, that starts at `pointer`, or one beyond the region where none does: rotated right,
 * the offset of what is misaligned or lies below `base` is larger than that of any granule, so that one comparison
 * refuses all. */
JM_INLINE size_t jm_region_granule(const char *base, const void *pointer)
{
    uintptr_t offset = (uintptr_t)pointer - (uintptr_t)base;
    return offset >> JM_GRANULE_BITS | offset << (sizeof offset * 8 - JM_GRANULE_BITS);
}

JM_INLINE bool jm_region_covers(size_t granule)
{
    return JM_LIKELY(jm_exceeds(&jm_region.granules, granule));
}

/* The tables' entries for a granule that the region covers. */
JM_INLINE jm_token *jm_region_token(char *base, size_t granule)
{
    char *tokens = base - JM_REGION_TOKENS_OFFSET;
    return (jm_token *)(void *)tokens + (granule >> (JM_UNIT_BITS - JM_GRANULE_BITS));
}

JM_INLINE jm_state *jm_region_state(char *base, size_t granule)
{
    return (jm_state *)(void *)(base - JM_REGION_MAP_OFFSET) + granule;
}

/* True where an address lies in the region, aligned or not. */
static inline bool jm_region_holds(const void *pointer)
{
    size_t granules = jm_load_acquire(&jm_region.granules); /* first: it comes after `base` */
    uintptr_t offset = (uintptr_t)pointer - (uintptr_t)jm_load_relaxed(&jm_region.base);
    return offset >> JM_GRANULE_BITS < granules;
}

/* The entries for any address that the region holds. */
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

/* pre: a granule starts there. */
static inline jm_state *jm_region_state_of(const void *pointer)
{
    char *base = jm_load_relaxed(&jm_region.base);
    return jm_region_state(base, jm_region_granule(base, pointer));
}

/* The room for headers of blocks elsewhere, which is closed, as is what lies in front of it. NULL: there is no
 * region. */
static inline char *jm_region_headers(void)
{
    return jm_region_exists() ? jm_load_relaxed(&jm_region.base) - JM_REGION_HEADERS_OFFSET : NULL;
}

/* Reserves the space. Nothing is lost where that fails. */
void jm_region_init(void);

/* A stretch of `size` bytes, a power of two from JM_UNIT to 4 MiB, aligned to its size, zero, its map too; its
 * head is as its last user left it. NULL: the OS refused or, where `has_room` is false, there is none, or no memory for
 * the tables that tell about it. */
void *jm_region_take(size_t size, bool *has_room);

/* False: there is none, as far as is known. */
bool jm_region_has_room(void);

/* Before a part of a stretch, or of what lies elsewhere, is given to the OS: has its memory be free as soon as it is. What it
 * held may be lost. */
void jm_region_split(char *start, char *end);

/* Gives the memory of a stretch, or of neighbours, to the OS; their maps are zero again. False: it refused; what they
 * held may be lost, and their maps are as they were. */
bool jm_region_clear(void *address, size_t size);

/* Gives a stretch back. pre: its memory and its map are zero. */
void jm_region_give(void *address, size_t size);

/* Bytes of the tables that tell about stretches in use. */
size_t jm_region_metadata(void);

void jm_region_before_fork(void);
void jm_region_after_fork(void);

#endif
