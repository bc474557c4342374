#include "spares.h"

#include "chain.h"

/* The number of lists of tenants; an address selects one. The list of orphans follows them. */
#define LISTS 32
#define ORPHANS LISTS

/* A search looks at no more blocks than this, the newest first. */
#define STEPS 128

/* A block fits if its surplus is at most this part of the requested size. */
#define SURPLUS_DIVISOR 4

/* Larger blocks are not zeroed for another tenant. Zeroing takes a seventh of the time of new pages
 * if the object uses all of them, but ten times as long if it uses few. This is an object of 1 MiB
 * with its surplus. */
#define ORPHAN_MAX ((size_t)9 << 17)

/* From this number on, a tenant's spares are many. */
#define MANY 48

static struct {
    struct jm_block *lists[LISTS + 1];
    unsigned next; /* the list whose oldest blocks go next */
} spares;

static struct jm_block **list_of(const struct jm_supply *tenant)
{
    return &spares.lists[tenant == NULL ? ORPHANS : (uintptr_t)tenant / sizeof *tenant % LISTS];
}

struct jm_block **jm_spares_list(const struct jm_block *block)
{
    return list_of(block->tenant);
}

bool jm_spares_may_be_orphan(const struct jm_block *block)
{
    /* The charge differs if a fork came in the middle of a change of size. */
    return block->charge <= ORPHAN_MAX && block->charge == block->extent.size;
}

void jm_spares_make_orphan(struct jm_block *block)
{
    block->tenant = NULL;
    block->tenancy = jm_thread.id;
}

static bool may_have(const struct jm_block *block, const struct jm_supply *tenant)
{
    return tenant == NULL ? jm_spares_may_be_orphan(block) : jm_block_was_of(block, tenant);
}

static bool fits(const struct jm_block *block, size_t size, size_t alignment)
{
    bool is_close = block->charge >= size && block->charge - size <= size / SURPLUS_DIVISOR;
    return is_close && jm_is_aligned(block->start, alignment);
}

/* True for an orphan that the calling thread left: its memory is in a cache nearby. */
static bool is_near(const struct jm_block *block)
{
    return block->tenant == NULL && block->tenancy == jm_thread.id;
}

static bool is_better(const struct jm_block *block, const struct jm_block *best)
{
    return block->charge < best->charge ||
           (block->charge == best->charge && is_near(block) && !is_near(best));
}

/* The place of the smallest block in a list that fits and that `tenant` had or, if `tenant` is
 * NULL, that may be an orphan: of several orphans one that the calling thread left. NULL if there
 * is none within the steps left. */
static struct jm_block **find(struct jm_block **place, size_t size, size_t alignment,
                              const struct jm_supply *tenant, unsigned *steps)
{
    struct jm_block **best = NULL;
    for (; *place != NULL && *steps > 0; --*steps) {
        if (fits(*place, size, alignment) && may_have(*place, tenant) &&
            (best == NULL || is_better(*place, *best))) {
            best = place;
            if ((*best)->charge == size && (tenant != NULL || is_near(*best))) {
                break;
            }
        }
        place = &(*place)->chain_next;
    }
    return best;
}

struct jm_block **jm_spares_find_own(size_t size, size_t alignment, const struct jm_supply *tenant)
{
    unsigned steps = STEPS;
    return find(list_of(tenant), size, alignment, tenant, &steps);
}

struct jm_block **jm_spares_find(size_t size, size_t alignment, const struct jm_supply *tenant,
                                 bool has_room)
{
    unsigned steps = STEPS;
    unsigned lists = has_room ? 1 : LISTS + 1; /* with room, others keep theirs */
    struct jm_block **place = jm_spares_find_own(size, alignment, tenant);
    if (size > ORPHAN_MAX) {
        return place;
    }
    for (unsigned i = 0; i < lists && place == NULL; i++) {
        place = find(&spares.lists[ORPHANS - i], size, alignment, NULL, &steps);
    }
    return place;
}

struct jm_block **jm_spares_find_nearest(size_t size, const struct jm_supply *tenant, size_t enough)
{
    struct jm_block **nearest = NULL;
    struct jm_block **place = list_of(tenant);
    size_t least = SIZE_MAX;
    size_t bytes = 0;
    unsigned count = 0;
    for (unsigned steps = 0; *place != NULL && steps < STEPS; steps++) {
        size_t charge = (*place)->charge;
        size_t apart = charge < size ? size - charge : charge - size;
        if (jm_block_was_of(*place, tenant)) {
            bytes += charge;
            count++;
            nearest = apart < least ? place : nearest;
            least = apart < least ? apart : least;
        }
        place = &(*place)->chain_next;
    }
    return bytes > enough || count >= MANY ? nearest : NULL;
}

void jm_spares_leave(const struct jm_supply *tenant)
{
    for (struct jm_block **place = list_of(tenant); *place != NULL;) {
        if (jm_block_was_of(*place, tenant) && jm_spares_may_be_orphan(*place)) {
            struct jm_block *block = jm_chain_pop(place);
            jm_spares_make_orphan(block);
            jm_chain_push(&spares.lists[ORPHANS], block);
        } else {
            place = &(*place)->chain_next;
        }
    }
}

static size_t move_oldest(struct jm_block **list, struct jm_block **chain, size_t bytes)
{
    struct jm_block *oldest_first = NULL;
    (void)jm_chain_move(list, &oldest_first, SIZE_MAX);
    size_t sum = jm_chain_move(&oldest_first, chain, bytes);
    (void)jm_chain_move(&oldest_first, list, SIZE_MAX);
    return sum;
}

size_t jm_spares_move_orphans(struct jm_block **chain, size_t bytes)
{
    return move_oldest(&spares.lists[ORPHANS], chain, bytes);
}

size_t jm_spares_move_oldest(struct jm_block **chain, size_t bytes)
{
    size_t sum = 0;
    for (unsigned i = 0; i <= LISTS && sum < bytes; i++) {
        sum += move_oldest(&spares.lists[spares.next++ % (LISTS + 1)], chain, bytes - sum);
    }
    return sum;
}

void jm_spares_move_own(struct jm_block **chain, const struct jm_supply *tenant)
{
    jm_chain_move_of(list_of(tenant), chain, tenant, 0);
}
