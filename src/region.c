#include "region.h"

#include "inspect.h"
#include "os.h"
#include "thread.h"

#define LARGEST_BITS (JM_UNIT_BITS + JM_STRETCH_ORDERS - 1)

/* In join_halves: the mark of an upper half that was joined to its lower one, and the list of all
 * halves meanwhile. */
#define NO_ORDER JM_STRETCH_ORDERS

/* Halves are joined if this part of the listed stretches was freed since the last time. */
#define JOIN_DIVISOR 8

/* log2 of JM_REGION_APART, the number of units whose heads, and whose maps, fill two pages. Smaller
 * stretches are cut at this distance from each other. */
#define APART_BITS 3
static_assert(JM_REGION_APART == 1 << APART_BITS, "a power of two");
static_assert(JM_HEAD_SIZE << APART_BITS == 8192 &&
                  JM_UNIT >> JM_GRANULE_BITS << APART_BITS == 8192,
              "two pages");

/* A lot is a largest stretch that is cut up for many. Lots at this offset and beyond lie in huge
 * pages if this many bytes of lots are in use: when thousands of tenants take turns, that saves TLB
 * misses. The cost: the unused part of the last lot, at most an eighth of what all hold, and as
 * much again in tables that are not used yet. */
#define HUGE_FROM ((size_t)8 << LARGEST_BITS)
#define HUGE_BITS 21
#define HUGE_PAGE ((size_t)1 << HUGE_BITS)

/* A map of fewer bytes is zeroed faster than it is given back to the OS. */
#define PURGE_MIN ((size_t)64 << 10)

/* HUGE_PAGE bytes may be a huge page: never; until it is split; or again after each split. */
enum { HUGE_NOT, HUGE_ONCE, HUGE_AGAIN };

struct jm_region jm_region = {.base = JM_NO_REGION};

/*
 * Process state, under the lock. Free stretches lie in one list per order. A stretch is split if a
 * smaller one is needed. If no list serves, halves are joined before more of the region is used,
 * because that would stay committed and its tables resident. Joining walks over all lists, so it
 * waits until enough was freed.
 */
static struct {
    struct jm_lock lock;
    char *free[JM_STRETCH_ORDERS + 1]; /* by order; the last is NO_ORDER's */
    size_t listed;                     /* stretches in all lists */
    size_t freed;                      /* stretches freed since the last join */
    char *last_lot[APART_BITS]; /* by order: the lot cut up last; null if none since a join */
    size_t used;                /* bytes from `base` on that were ever taken */
    size_t in_lots;             /* bytes in use of orders that lots are cut up for */
    _Atomic(bool) forked;       /* a child may share huge pages, which prevents a split */
    _Atomic(size_t) metadata;
    _Atomic(bool) is_short; /* the last jm_region_alloc found none */
    _Atomic(uint8_t) huge[(size_t)1 << (JM_REGION_BITS - HUGE_BITS)]; /* shared, by page: HUGE_* */
} stretches;

/*
 * The first token of a listed stretch is the address of the next one, which is a multiple of
 * JM_UNIT; the low bits hold order << 1 | 1. No other token is odd: those of units in use point to
 * an arena or a supply, all others are null.
 */
static void mark(char *address, const char *next, unsigned order)
{
    uintptr_t token = (uintptr_t)next | order << 1 | 1;
    jm_store_relaxed(jm_region_token_of(address), (const void *)token);
}

static unsigned mark_of(const char *address)
{
    return (uintptr_t)jm_load_relaxed(jm_region_token_of(address)) & (JM_UNIT - 1);
}

static char *next_of(const char *address)
{
    uintptr_t token = (uintptr_t)jm_load_relaxed(jm_region_token_of(address));
    return (char *)(token - token % JM_UNIT);
}

static void push(unsigned order, char *address)
{
    mark(address, stretches.free[order], order);
    stretches.free[order] = address;
    stretches.listed++;
}

static char *pop(unsigned order)
{
    char *address = stretches.free[order];
    stretches.free[order] = next_of(address);
    jm_store_relaxed(jm_region_token_of(address), NULL);
    stretches.listed--;
    return address;
}

/* Joins the free halves of an order. First marks each with the order that it gets, then moves it to
 * that list. */
static void join_halves(unsigned order)
{
    const size_t size = JM_UNIT << order;
    const char *base = jm_load_relaxed(&jm_region.base);
    for (char *half = stretches.free[order]; half != NULL; half = next_of(half)) {
        bool is_upper = ((size_t)(half - base) & size) != 0;
        if (is_upper && mark_of(half - size) == (order << 1 | 1)) {
            mark(half - size, next_of(half - size), order + 1);
            mark(half, next_of(half), NO_ORDER);
        }
    }
    stretches.free[NO_ORDER] = stretches.free[order];
    stretches.free[order] = NULL;
    while (stretches.free[NO_ORDER] != NULL) {
        unsigned marked = mark_of(stretches.free[NO_ORDER]) >> 1;
        char *address = pop(NO_ORDER);
        if (marked != NO_ORDER) {
            push(marked, address);
        }
    }
}

static size_t offset_of(const char *address)
{
    return (size_t)(address - jm_load_relaxed(&jm_region.base));
}

static void note_huge(const char *lot, uint8_t huge)
{
    for (size_t place = 0; place < (size_t)1 << LARGEST_BITS; place += HUGE_PAGE) {
        jm_store_relaxed(&stretches.huge[(offset_of(lot) + place) >> HUGE_BITS], huge);
    }
}

/* Forgets the last lot of an order, and asks for no more huge pages there: the OS would only form
 * them again over what is given back. */
static void end_lot(unsigned order)
{
    if (stretches.last_lot[order] != NULL) {
        jm_os_avoid_huge_pages(stretches.last_lot[order], (size_t)1 << LARGEST_BITS);
        if (offset_of(stretches.last_lot[order]) >= HUGE_FROM) {
            note_huge(stretches.last_lot[order], HUGE_ONCE);
        }
        stretches.last_lot[order] = NULL;
    }
}

/* Joins neighbouring halves in all lists. False if there are none, or if it is too soon to look. */
static bool join(void)
{
    const size_t listed = stretches.listed;
    if (stretches.freed < listed / JOIN_DIVISOR) {
        return false;
    }
    stretches.freed = 0;
    for (unsigned order = 0; order + 1 < JM_STRETCH_ORDERS; order++) {
        join_halves(order);
    }
    bool has_joined = stretches.listed < listed;
    for (unsigned order = 0; has_joined && order < APART_BITS; order++) {
        end_lot(order); /* its lot may be whole again */
    }
    return has_joined;
}

void jm_region_init(void)
{
    const size_t alignment = (size_t)1 << LARGEST_BITS;
    const size_t tables = JM_REGION_GUARD_SIZE + JM_REGION_HEADERS_OFFSET;
    char *space = jm_os_reserve(tables + ((size_t)1 << JM_REGION_BITS) + alignment);
    if (space != NULL) {
        uintptr_t base = jm_align_up((uintptr_t)space + tables, alignment);
        jm_os_avoid_huge_pages((void *)(base - tables), tables);
        jm_inspect_add_root((void *)base, (size_t)1 << JM_REGION_BITS);
        jm_store_relaxed(&jm_region.base, (char *)base);
    }
}

/* The tables grow to cover at least this many bytes more: as many as a page of the smallest entries
 * describes. It is not more because committed pages may cost memory at once, as in a process that
 * has locked its pages (mlockall). */
static size_t least_growth(void)
{
    static_assert(sizeof(struct jm_block *) == sizeof(jm_token), "the smallest entries");
    return jm_os_page_size() / sizeof(jm_token) << JM_UNIT_BITS;
}

/* Makes the tables cover [0, end) of the region. */
static bool cover_to(size_t end)
{
    size_t old = jm_load_relaxed(&jm_region.granules);
    size_t covered = old << JM_GRANULE_BITS;
    size_t more = end - covered;
    size_t heads = (more >> JM_UNIT_BITS) * JM_HEAD_SIZE;
    size_t blocks = (more >> JM_UNIT_BITS) * sizeof(struct jm_block *);
    size_t tokens = (more >> JM_UNIT_BITS) * sizeof(jm_token);
    size_t granules = more >> JM_GRANULE_BITS;
    char *start = jm_load_relaxed(&jm_region.base) + covered;
    if (!jm_os_commit(jm_region_head_of(start), heads) ||
        !jm_os_commit((void *)jm_region_block_of(start), blocks) ||
        !jm_os_commit((void *)jm_region_token_of(start), tokens) ||
        !jm_os_commit((void *)jm_region_state_of(start), granules)) {
        return false;
    }
    jm_store_release(&jm_region.granules, old + granules);
    return true;
}

/* Makes the tables cover at least [0, end). They grow in steps of least_growth(). Beyond HUGE_FROM,
 * steps of HUGE_FROM are tried first: their heads and their map fill a huge page each. */
static bool cover(size_t end)
{
    size_t covered = jm_load_relaxed(&jm_region.granules) << JM_GRANULE_BITS;
    size_t least = least_growth();
    return end <= covered ||
           (covered >= HUGE_FROM && least < HUGE_FROM && cover_to(jm_align_up(end, HUGE_FROM))) ||
           cover_to(jm_align_up(end, least));
}

/* Cuts a stretch from the unused part of the region. What is skipped for alignment is listed. */
static char *cut(unsigned order)
{
    const size_t size = JM_UNIT << order;
    char *base = jm_load_relaxed(&jm_region.base);
    size_t start = jm_align_up(stretches.used, size);
    if (!jm_region_exists() || start > ((size_t)1 << JM_REGION_BITS) - size ||
        !cover(start + size)) {
        return NULL;
    }
    while (stretches.used < start) {
        unsigned filler = (unsigned)__builtin_ctzll(stretches.used >> JM_UNIT_BITS);
        push(filler, base + stretches.used);
        stretches.used += JM_UNIT << filler;
    }
    stretches.used += size;
    return base + start;
}

/* At least this many stretches are handed out between two neighbours, if there are enough. */
#define ROW_LEAST ((size_t)32)

/* Asks for huge pages for a lot, and for the heads and the map of the HUGE_FROM bytes around it. */
static void prefer_huge_pages(char *lot)
{
    const size_t offset = offset_of(lot);
    const char *first = lot - offset % HUGE_FROM;
    note_huge(lot, HUGE_AGAIN);
    jm_os_prefer_huge_pages(lot, (size_t)1 << LARGEST_BITS);
    jm_os_prefer_huge_pages(jm_region_head_of(first), JM_HEAD_SIZE * (HUGE_FROM >> JM_UNIT_BITS));
    jm_os_prefer_huge_pages((void *)jm_region_state_of(first), HUGE_FROM >> JM_GRANULE_BITS);
}

/* Begins to use a lot for an order. The first lot of an order is committed stretch by stretch. Each
 * later one is committed at once, if the OS allows that: else each stretch in use would cost a
 * mapping, and Linux gives a process some 65,000. Its unused part costs memory only if all
 * committed memory does, as in a process that has locked its pages. */
static void open_lot(char *lot, unsigned order)
{
    const size_t size = (size_t)1 << LARGEST_BITS;
    const bool is_first = stretches.last_lot[order] == NULL;
    end_lot(order);
    stretches.last_lot[order] = lot;
    if (offset_of(lot) >= HUGE_FROM && stretches.in_lots >= HUGE_FROM) {
        prefer_huge_pages(lot);
    } else if (!is_first) {
        jm_os_avoid_huge_pages(lot, size);
    }
    if (!is_first) {
        (void)jm_os_commit(lot, size);
    }
}

/*
 * Cuts a lot, here any larger stretch, into stretches of an order below APART_BITS; if it is small,
 * others of its list, too. Lists all stretches but the first, such that neighbours are far apart in
 * the list. Threads that used neighbours would contend, because processors prefetch the cache lines
 * of heads and maps, even into the next page.
 *
 *      row       number of places in a lot that are JM_REGION_APART units from each other
 *      columns   number of stretches from one such place to the next
 */
static void spread(char *lot, unsigned lot_order, unsigned order)
{
    const size_t row = lot_order > APART_BITS ? (size_t)1 << (lot_order - APART_BITS) : 1;
    const size_t columns = ((size_t)1 << (lot_order - order)) / row;
    char *lots[ROW_LEAST] = {lot};
    size_t count = 1;
    while (count * row < ROW_LEAST && stretches.free[lot_order] != NULL) {
        lots[count++] = pop(lot_order);
    }
    if (lot_order == JM_STRETCH_ORDERS - 1) { /* it is the only one */
        open_lot(lot, order);
    }
    for (size_t i = columns * row * count; i-- > 1;) {
        size_t column = i / (row * count);
        size_t in_row = i % (row * count);
        size_t place = in_row % row * columns + column;
        push(order, lots[in_row / row] + (place << order << JM_UNIT_BITS));
    }
}

/* The order of the list to take a stretch from: `order` itself, if that list has one; else the
 * smallest larger one or, for stretches that are spread, the largest one. JM_STRETCH_ORDERS if none
 * has a stretch. */
static unsigned listed_for(unsigned order)
{
    if (stretches.free[order] != NULL) {
        return order;
    }
    unsigned found = JM_STRETCH_ORDERS;
    for (unsigned larger = order + 1; larger < JM_STRETCH_ORDERS; larger++) {
        bool is_better = found == JM_STRETCH_ORDERS || order < APART_BITS;
        found = stretches.free[larger] != NULL && is_better ? larger : found;
    }
    return found;
}

/* Takes a stretch of `order` or a larger one; `found` is its order. NULL if there is none. */
static char *take_any(unsigned order, unsigned *found)
{
    *found = listed_for(order);
    if (*found == JM_STRETCH_ORDERS && join()) {
        *found = listed_for(order);
    }
    if (*found != JM_STRETCH_ORDERS) {
        return pop(*found);
    }
    *found = order < APART_BITS ? JM_STRETCH_ORDERS - 1 : order;
    char *address = cut(*found);
    if (address == NULL && *found != order) { /* there is no room for a lot */
        *found = order;
        address = cut(order);
    }
    return address;
}

/* Takes a stretch of `order`. NULL if there is none. pre: the lock is held. */
static char *take(unsigned order)
{
    unsigned larger;
    char *address = take_any(order, &larger);
    if (address != NULL && order < APART_BITS && larger > order) {
        spread(address, larger, order); /* `address` is the first of them */
        return address;
    }
    while (address != NULL && larger > order) {
        larger--;
        push(larger, address + (JM_UNIT << larger));
    }
    return address;
}

/* Bytes of a stretch's entries in the tables. */
static size_t metadata_of(size_t size)
{
    size_t unit = sizeof(struct jm_block *) + sizeof(jm_token);
    return JM_HEAD_SIZE + (size >> JM_UNIT_BITS) * unit + (size >> JM_GRANULE_BITS);
}

void jm_region_free(void *address, size_t size)
{
    jm_lock_take(&stretches.lock);
    push(jm_stretch_order(size), address);
    stretches.freed++;
    stretches.in_lots -= jm_stretch_order(size) < APART_BITS ? size : 0;
    jm_add_owned(&stretches.metadata, 0 - metadata_of(size));
    jm_lock_drop(&stretches.lock);
}

void *jm_region_alloc(size_t size, bool *has_room)
{
    jm_lock_take(&stretches.lock);
    char *address = take(jm_stretch_order(size));
    stretches.in_lots += address != NULL && jm_stretch_order(size) < APART_BITS ? size : 0;
    jm_add_owned(&stretches.metadata, address == NULL ? 0 : metadata_of(size));
    jm_store_relaxed(&stretches.is_short, address == NULL);
    jm_lock_drop(&stretches.lock);
    *has_room = address != NULL;
    if (address != NULL && !jm_os_commit(address, size)) {
        jm_region_free(address, size);
        return NULL;
    }
    return address;
}

bool jm_region_has_room(void)
{
    return jm_region_exists() && !jm_load_relaxed(&stretches.is_short);
}

/* Splits the huge page around `page` if it extends beyond `end`, an end of the range that is given
 * back. A forked child that shares the huge page keeps it whole: then the next call tries again. */
static void split_at(const char *end, char *page)
{
    _Atomic(uint8_t) *place = &stretches.huge[offset_of(page) >> HUGE_BITS];
    uint8_t huge = jm_load_relaxed(place);
    if (offset_of(end) % HUGE_PAGE == 0 || huge == HUGE_NOT) {
        return;
    }
    jm_os_split_huge_page(page);
    if (huge == HUGE_ONCE && !jm_load_relaxed(&stretches.forked)) {
        jm_store_relaxed(place, HUGE_NOT);
    }
}

void jm_region_split_huge_pages(char *start, char *end)
{
    if (jm_region_holds(start)) {
        split_at(start, start);
        split_at(end, end - jm_os_page_size());
    }
}

bool jm_region_decommit(void *address, size_t size)
{
    jm_region_split_huge_pages(address, (char *)address + size);
    if (!jm_os_decommit(address, size)) {
        return false;
    }
    size_t granules = size >> JM_GRANULE_BITS;
    jm_state *map = jm_region_state_of(address);
    if (granules < PURGE_MIN || !jm_os_purge((void *)map, granules)) {
        jm_zero_bytes(map, granules);
    }
    return true;
}

size_t jm_region_metadata(void)
{
    return jm_load_relaxed(&stretches.metadata);
}

void jm_region_for_locks(jm_lock_step *step)
{
    step(&stretches.lock);
    jm_store_relaxed(&stretches.forked, true); /* before there is a child to share pages */
}
