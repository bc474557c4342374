#include "reserve.h"

#include <limits.h>
#include <string.h>

#include "chain.h"
#include "inspect.h"
#include "line.h"

#define LIMIT_VARIABLE "JSRTMEM_RESERVE_LIMIT"

static_assert((JM_UNIT << (JM_STRETCH_SIZES - 1)) == JM_SMALL_BLOCK_MAX, "a bin per size");

/* Large blocks are looked for in one of so many lists, by their tenant; what a tenant left that has ended is in one more. */
#define LARGE_LISTS 32
#define ORPHANS LARGE_LISTS

/* Of a list, so many that came last. */
#define LARGE_STEPS 128

/* More than this of one is not zeroed for another tenant: where all of it is used, that takes a seventh of the time that new
 * pages take, but ten times as long where little is. An object of 1 MiB, with what it has more. */
#define LARGE_SHARED_MAX ((size_t)9 << 17)

/* So many of one tenant are many. */
#define LARGE_MANY 48

/* For a block of a larger part of the bound no others go. */
#define LARGE_DIVISOR 2

/* One that fits is no larger than by this part of what is asked for. */
#define SURPLUS_DIVISOR 4

/*
 * Process state.
 *
 *      bytes == sum of charge over all lists, what is just given to the OS included
 *
 * Lists and bytes change under `lock`, `going` under `trimming`, which is taken first, and held while the OS takes
 * what goes: others take and keep blocks meanwhile.
 */
static struct {
    struct jm_lock lock, trimming;
    struct jm_block *bins[JM_STRETCH_SIZES]; /* small ones, as their tenants left them */
    struct jm_block
        *large[LARGE_LISTS + 1]; /* for the tenants that had them, or for all, the latest first */
    unsigned next_large;         /* the list that blocks go from next */
    struct jm_block *going;      /* of those, to go to the OS next: in the order of addresses */
    uint32_t looked_in;          /* the epoch in which leftovers were looked at last */
    struct jm_block *leftovers;  /* for the OS, once nobody reads them */
    struct jm_block *refused;    /* by the OS: for it only */
    struct jm_block *round;      /* of those, the ones that are asked for again next */
    uint32_t pause, paused;      /* so many looks at them are left out, and were */
    _Atomic(size_t) bytes, limit;
    _Atomic(bool) has_waiting;
} reserve = {.limit = JM_RESERVE_DEFAULT_LIMIT};

/* What is chosen at once to go where the bound is reached is this part of it. */
#define TRIM_DIVISOR 8

/* For what the OS refused it is asked again so many times in one look; after one in vain, so many looks are left out at
 * most. */
#define TRIES_MAX 64
#define PAUSE_MAX 1023

/* Steps that a released block waits for its readers before it is put aside. */
#define PATIENCE JM_PAUSE_SPINS

/* Digits, and at most one of K, M and G behind them. False: something else, or too much. */
static bool parse_size(const char *text, size_t *size)
{
    static const char units[] = "KMG";
    size_t value = 0;
    if (*text < '0' || *text > '9') {
        return false;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        size_t digit = (size_t)(*text - '0');
        if (value > (SIZE_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    const char *unit = *text == '\0' ? NULL : strchr(units, *text);
    if (unit != NULL) {
        unsigned shift = 10 * (unsigned)(unit - units + 1);
        if (value > SIZE_MAX >> shift) {
            return false;
        }
        value <<= shift;
        text++;
    }
    *size = value;
    return *text == '\0';
}

void jm_reserve_init(void)
{
    const char *text = jm_os_environment(LIMIT_VARIABLE);
    size_t limit;
    if (text == NULL || *text == '\0') {
        return;
    }
    if (!parse_size(text, &limit)) {
        static_assert(JM_RESERVE_DEFAULT_LIMIT == 33554432, "the message says so");
        jm_line_bad_value(LIMIT_VARIABLE, text,
                          "a possible number of bytes, with or without K, M or G",
                          "the bound is 32M");
        return;
    }
    jm_store_relaxed(&reserve.limit, limit);
}

static struct jm_block **large_of(const struct jm_supply *tenant)
{
    return tenant == NULL ? &reserve.large[ORPHANS]
                          : &reserve.large[(uintptr_t)tenant / sizeof *tenant % LARGE_LISTS];
}

/* The list that a block lies in while it can be used again. */
static struct jm_block **home_of(const struct jm_block *block)
{
    return jm_block_is_large(block) ? large_of(block->tenant)
                                    : &reserve.bins[jm_stretch_order(block->charge)];
}

/* The same, or NULL where a block is for the OS. */
static struct jm_block **list_for(const struct jm_block *block)
{
    bool keeps =
        jm_block_is_large(block) ? block->resizable : block->charge == jm_block_size(block);
    return keeps ? home_of(block) : NULL;
}

/* With the count of bytes. pre: the lock is held. */
static void push(struct jm_block **list, struct jm_block *block)
{
    jm_chain_push(list, block);
    jm_add_owned(&reserve.bytes, block->charge);
}

static struct jm_block *pop(struct jm_block **list)
{
    struct jm_block *block = jm_chain_pop(list);
    jm_add_owned(&reserve.bytes, 0 - block->charge);
    return block;
}

/* Moves a chain's blocks to another, until they have so many bytes. Returns what they have. */
static size_t move_some(struct jm_block **from, struct jm_block **to, size_t bytes)
{
    size_t sum = 0;
    while (*from != NULL && sum < bytes) {
        sum += (*from)->charge;
        jm_chain_push(to, jm_chain_pop(from));
    }
    return sum;
}

/* The same for a list of large blocks, of which the oldest go. */
static size_t move_oldest(struct jm_block **from, struct jm_block **to, size_t bytes)
{
    struct jm_block *oldest_first = NULL;
    (void)move_some(from, &oldest_first, SIZE_MAX);
    size_t sum = move_some(&oldest_first, to, bytes);
    (void)move_some(&oldest_first, from, SIZE_MAX);
    return sum;
}

/* Chooses what goes, of so many bytes or a little more: large blocks first. pre: nothing is chosen. */
static void choose_going(size_t bytes)
{
    struct jm_block *chosen = NULL;
    size_t sum = 0;
    jm_lock_take(&reserve.lock);
    for (unsigned i = 0; i <= LARGE_LISTS && sum < bytes; i++) {
        struct jm_block **list = &reserve.large[reserve.next_large++ % (LARGE_LISTS + 1)];
        sum += move_oldest(list, &chosen, bytes - sum);
    }
    for (unsigned bin = JM_STRETCH_SIZES; bin-- > 0 && sum < bytes;) {
        sum += move_some(&reserve.bins[bin], &chosen, bytes - sum);
    }
    jm_lock_drop(&reserve.lock);
    reserve.going = jm_chain_sort(chosen);
}

/* Gives a list's first blocks to the OS, neighbours together. They count until then. False: it refused the first. */
static bool give_first(struct jm_block **list)
{
    size_t bytes = jm_chain_return(list);
    jm_lock_take(&reserve.lock);
    jm_add_owned(&reserve.bytes, 0 - bytes);
    jm_lock_drop(&reserve.lock);
    return bytes != 0;
}

/* Puts blocks back into the lists that they came from: they are of use as they are. */
static void put_back(struct jm_block **blocks)
{
    jm_lock_take(&reserve.lock);
    while (*blocks != NULL) {
        struct jm_block *block = jm_chain_pop(blocks);
        jm_chain_push(home_of(block), block);
    }
    jm_lock_drop(&reserve.lock);
}

/* Has some chosen to go. False: there are none. */
static bool ensure_going(size_t bytes)
{
    if (reserve.going == NULL) {
        choose_going(bytes);
    }
    return reserve.going != NULL;
}

/* Gives blocks to the OS until `limit` bytes are left, but for those that it refuses. */
static void trim_lists(size_t limit)
{
    struct jm_block *refused = NULL;
    size_t bytes;
    jm_lock_take(&reserve.trimming);
    while ((bytes = jm_load_relaxed(&reserve.bytes)) > limit && ensure_going(bytes - limit)) {
        while (reserve.going != NULL && jm_load_relaxed(&reserve.bytes) > limit) {
            if (!give_first(&reserve.going)) {
                jm_chain_push(&refused, jm_chain_pop(&reserve.going));
            }
        }
        if (refused != NULL) {
            break;
        }
    }
    put_back(&refused);
    jm_lock_drop(&reserve.trimming);
}

/* Unmaps the leftovers that nobody reads any more. pre: the lock is held. */
static void trim_leftovers(void)
{
    uint32_t epoch = reserve.leftovers == NULL ? reserve.looked_in : jm_pagemap_advance();
    if (epoch == reserve.looked_in) {
        return; /* nothing has changed */
    }
    reserve.looked_in = epoch;
    struct jm_block *waiting = NULL;
    while (reserve.leftovers != NULL) {
        struct jm_block *block = pop(&reserve.leftovers);
        if (!jm_pagemap_is_over(block->retired, epoch)) {
            push(&waiting, block);
        } else if (!jm_chain_return_one(block)) {
            push(&reserve.refused, block);
        }
    }
    reserve.leftovers = waiting;
}

static bool has_refused(void)
{
    return reserve.refused != NULL || reserve.round != NULL;
}

/*
 * Asks the OS so many times again for what it refused, as it does where a process has as many mappings as it may. Round
 * for round all come in the order of addresses, so that each is the end of a mapping where that can be. pre: the lock is
 * held.
 */
static void retry_refused(unsigned most)
{
    bool any = false;
    if (reserve.round == NULL) {
        reserve.round = jm_chain_sort(reserve.refused);
        reserve.refused = NULL;
    }
    for (; most > 0 && reserve.round != NULL; most--) {
        struct jm_block *block = pop(&reserve.round);
        if (jm_chain_return_one(block)) {
            any = true;
        } else {
            push(&reserve.refused, block);
        }
    }
    reserve.paused = 0;
    if (any || !has_refused()) {
        reserve.pause = 0;
    } else if (reserve.pause < PAUSE_MAX) {
        reserve.pause = 2 * reserve.pause + 1;
    }
}

static void note_waiting(void)
{
    jm_store_relaxed(&reserve.has_waiting, reserve.leftovers != NULL || has_refused());
}

/* Unmaps of what waits as much as can be, where it is time. pre: the lock is held. */
static void look_at_waiting(void)
{
    if (has_refused() && reserve.paused++ >= reserve.pause) {
        retry_refused(TRIES_MAX);
    }
    trim_leftovers();
    note_waiting();
}

/* True for what a tenant itself had last. */
static bool is_of(const struct jm_block *block, const struct jm_supply *tenant)
{
    return block->tenant == tenant && block->tenancy == tenant->tenancy;
}

/* Clears a block for its next tenant: the map for anybody, and what was handed out, unless the tenant is the
 * one who had it. What else the header says holds for any, or is written before it is read. */
static void clear(struct jm_block *block, const struct jm_supply *tenant)
{
    jm_inspect_open(block->extent.address, block->extent.size);
    bool is_same = is_of(block, tenant);
    if (block->touched > block->first && !is_same) {
        char *first = block->start + ((size_t)block->first << JM_GRANULE_BITS);
        size_t bytes = (size_t)(block->touched - block->first) << JM_GRANULE_BITS;
        size_t pages =
            jm_align_up(bytes, jm_os_page_size()); /* the rest is untouched, or the pad */
        if (bytes <= JM_RESERVE_ZEROED_MAX || !jm_os_purge(first, pages)) {
            memset(first, 0, bytes);
        }
    }
    if (block->first != 0) {
        /* The map lies in the block, where a tenant may have written to any of it. */
        jm_zero_bytes(block->map, (size_t)block->first << JM_GRANULE_BITS);
    } else if (block->carved > 0) {
        jm_zero_bytes(block->map, block->touched);
    }
    jm_store_relaxed(&block->queued, 0);
    block->touched = is_same ? block->touched : 0;
}

/* The same for a large one, of which `size` bytes are to be used. */
static void clear_large(struct jm_block *block, size_t size, const struct jm_supply *tenant)
{
    jm_inspect_open(block->extent.address, block->extent.size);
    block->recycled = is_of(block, tenant);
    if (!block->recycled) {
        memset(block->start, 0, size);
    }
}

struct jm_block *jm_reserve_take(size_t size, const struct jm_supply *tenant)
{
    struct jm_block **bin = &reserve.bins[jm_stretch_order(size)];
    struct jm_block *block = NULL;
    jm_lock_take(&reserve.lock);
    if (*bin != NULL) {
        block = pop(bin);
    }
    jm_lock_drop(&reserve.lock);
    if (block != NULL) {
        clear(block, tenant);
    }
    return block;
}

static bool fits(size_t size)
{
    size_t bytes = jm_load_relaxed(&reserve.bytes);
    size_t limit = jm_load_relaxed(&reserve.limit);
    return bytes <= limit && size <= limit - bytes;
}

static void keep(struct jm_block *block, struct jm_block **list)
{
    jm_lock_take(&reserve.lock);
    push(list, block);
    note_waiting();
    size_t limit = jm_load_relaxed(&reserve.limit);
    bool is_over = jm_load_relaxed(&reserve.bytes) > limit;
    if (is_over) {
        look_at_waiting();
    }
    jm_lock_drop(&reserve.lock);
    if (is_over) {
        trim_lists(limit);
    }
}

/* Not what a fork came upon in the middle of a change. */
static bool is_for_all(const struct jm_block *block)
{
    return block->charge <= LARGE_SHARED_MAX && block->charge == block->extent.size;
}

/* True where a block that was kept may serve: little is too much, and the tenant had it; or, where there is none, anybody
 * may have it. */
static bool serves(const struct jm_block *block, size_t size, size_t alignment,
                   const struct jm_supply *tenant)
{
    bool is_close = block->charge >= size && block->charge - size <= size / SURPLUS_DIVISOR;
    return is_close && jm_is_aligned(block->start, alignment) &&
           (tenant == NULL ? is_for_all(block) : is_of(block, tenant));
}

/* The best block among the first ones of a list, as far as the steps last. NULL: none serves. pre: the lock is held. */
static struct jm_block **find_in(struct jm_block **place, size_t size, size_t alignment,
                                 const struct jm_supply *tenant, unsigned *steps)
{
    struct jm_block **best = NULL;
    for (; *place != NULL && *steps > 0; --*steps) {
        if (serves(*place, size, alignment, tenant) &&
            (best == NULL || (*place)->charge < (*best)->charge)) {
            best = place;
            if ((*best)->charge == size) {
                break;
            }
        }
        place = &(*place)->behind;
    }
    return best;
}

/*
 * The place in its list of the block that serves best. Those of others are left to them while there is room for one more.
 * NULL: none serves. pre: the lock is held.
 */
static struct jm_block **find_large(size_t size, size_t alignment, const struct jm_supply *tenant)
{
    unsigned steps = LARGE_STEPS;
    unsigned steps_of_others = LARGE_STEPS;
    struct jm_block **place = find_in(large_of(tenant), size, alignment, tenant, &steps);
    if (place != NULL || size > LARGE_SHARED_MAX) {
        return place;
    }
    unsigned lists = fits(size) ? 1 : LARGE_LISTS + 1;
    for (unsigned i = 0; i < lists && place == NULL; i++) {
        place = find_in(&reserve.large[ORPHANS - i], size, alignment, NULL, &steps_of_others);
    }
    return place;
}

/*
 * The place in its list of the block that is nearest in size, among the first ones, once a tenant's are half of the bound, or
 * many: too many fit nothing then, and instead of one more this is made to fit. Until then they are left as they are: more of
 * what comes finds one that fits. NULL: there is none. pre: the lock is held.
 */
static struct jm_block **find_nearest(size_t size, const struct jm_supply *tenant)
{
    struct jm_block **nearest = NULL;
    size_t least = SIZE_MAX;
    size_t sum = 0;
    unsigned own = 0;
    struct jm_block **place = large_of(tenant);
    for (unsigned steps = 0; *place != NULL && steps < LARGE_STEPS; steps++) {
        size_t charge = (*place)->charge;
        size_t apart = charge < size ? size - charge : charge - size;
        bool is_own = is_of(*place, tenant);
        sum += is_own ? charge : 0;
        own += is_own;
        if (is_own && apart < least) {
            least = apart;
            nearest = place;
        }
        place = &(*place)->behind;
    }
    return sum > jm_load_relaxed(&reserve.limit) / 2 || own >= LARGE_MANY ? nearest : NULL;
}

size_t jm_reserve_large_bytes(size_t size, size_t alignment, const struct jm_supply *tenant)
{
    unsigned steps = LARGE_STEPS;
    jm_lock_take(&reserve.lock);
    struct jm_block **place = find_in(large_of(tenant), size, alignment, tenant, &steps);
    size_t bytes = place == NULL ? 0 : (*place)->charge;
    jm_lock_drop(&reserve.lock);
    return bytes;
}

struct jm_block *jm_reserve_take_large(size_t size, size_t alignment,
                                       const struct jm_supply *tenant)
{
    jm_lock_take(&reserve.lock);
    struct jm_block **place = find_large(size, alignment, tenant);
    if (place == NULL && alignment <= jm_os_page_size()) {
        place = find_nearest(size, tenant);
    }
    struct jm_block *block = place == NULL ? NULL : pop(place);
    jm_lock_drop(&reserve.lock);
    if (block != NULL) {
        clear_large(block, size, tenant);
    }
    return block;
}

/* Leaves a block for the OS, which refused it. It counts already. */
static void put_aside(struct jm_block *block)
{
    jm_lock_take(&reserve.lock);
    jm_chain_push(&reserve.refused, block);
    note_waiting();
    jm_lock_drop(&reserve.lock);
}

/* Moves a tenant's large blocks, and its small ones of `least` bytes and more, from one list to another. pre: the lock is
 * held. */
static void move_of(struct jm_block **from, struct jm_block **to, const struct jm_supply *tenant,
                    size_t least)
{
    while (*from != NULL) {
        bool is_meant = jm_block_is_large(*from) || (*from)->charge >= least;
        if (is_meant && is_of(*from, tenant)) {
            jm_chain_push(to, jm_chain_pop(from));
        } else {
            from = &(*from)->behind;
        }
    }
}

void jm_reserve_leave_large(const struct jm_supply *tenant)
{
    jm_lock_take(&reserve.lock);
    for (struct jm_block **place = large_of(tenant); *place != NULL;) {
        if (is_of(*place, tenant) && is_for_all(*place)) {
            struct jm_block *block = jm_chain_pop(place);
            block->tenant = NULL;
            jm_chain_push(&reserve.large[ORPHANS], block);
        } else {
            place = &(*place)->behind;
        }
    }
    jm_lock_drop(&reserve.lock);
    jm_reserve_drop_large(tenant);
}

static void drop(const struct jm_supply *tenant, size_t least)
{
    struct jm_block *dropped = NULL;
    jm_lock_take(&reserve.trimming);
    jm_lock_take(&reserve.lock);
    for (unsigned bin = 0; bin < JM_STRETCH_SIZES; bin++) {
        if (JM_UNIT << bin >= least) {
            move_of(&reserve.bins[bin], &dropped, tenant, least);
        }
    }
    move_of(large_of(tenant), &dropped, tenant, least);
    move_of(&reserve.going, &dropped, tenant, least);
    jm_lock_drop(&reserve.lock);
    dropped = jm_chain_sort(dropped);
    while (dropped != NULL) {
        if (!give_first(&dropped)) {
            put_aside(jm_chain_pop(&dropped));
        }
    }
    jm_lock_drop(&reserve.trimming);
}

void jm_reserve_drop_large(const struct jm_supply *tenant)
{
    drop(tenant, SIZE_MAX);
}

void jm_reserve_drop_grown(const struct jm_supply *tenant)
{
    drop(tenant, JM_SMALL_BLOCK_GROWTH);
}

void jm_reserve_drop_waiting(void)
{
    if (jm_load_relaxed(&reserve.has_waiting)) {
        jm_lock_take(&reserve.lock);
        look_at_waiting();
        jm_lock_drop(&reserve.lock);
    }
}

/*
 * Where the bound does not allow a block, others go, unless it is so large a part of it that most would. What is chosen at
 * once is a part of the bound, or as much as is missing: of many, some are neighbours, and to give those in one call takes
 * a fraction of the time that one by one does. Those that are chosen go one call after the other, as room is needed.
 */
static void make_room(size_t size)
{
    size_t limit = jm_load_relaxed(&reserve.limit);
    size_t part = limit / TRIM_DIVISOR;
    if (fits(size) || size > limit / LARGE_DIVISOR) {
        return;
    }
    jm_lock_take(&reserve.trimming);
    bool taken = true;
    size_t bytes;
    while (taken && (bytes = jm_load_relaxed(&reserve.bytes)) + size > limit) {
        size_t missing = bytes + size - limit;
        taken = ensure_going(missing > part ? missing : part) && give_first(&reserve.going);
    }
    if (!taken) {
        put_back(&reserve.going);
    }
    jm_lock_drop(&reserve.trimming);
}

/* Keeps a block in a list, unless somebody may read it or the bound does not allow it. */
static bool keep_at_once(struct jm_block *block, struct jm_block **list)
{
    make_room(block->charge);
    jm_lock_take(&reserve.lock);
    bool kept = jm_pagemap_is_quiet() && fits(block->charge);
    if (kept) {
        push(list, block);
    }
    jm_lock_drop(&reserve.lock);
    return kept;
}

/* True once nobody reads a block any more that was unregistered; false if others take longer than a few steps. */
static bool wait_for_readers(struct jm_block *block)
{
    block->retired = jm_pagemap_since();
    return jm_pagemap_wait(block->retired, PATIENCE);
}

static bool too_much_waits(void)
{
    size_t limit = jm_load_relaxed(&reserve.limit);
    size_t bytes = jm_load_relaxed(&reserve.bytes);
    return bytes > limit && bytes - limit > JM_RESERVE_WAITING_MAX;
}

/* Puts a block aside that somebody may read. Where too many wait already, first waits until older ones have gone, or
 * until it could go itself. */
static void put_off(struct jm_block *block)
{
    for (unsigned attempt = 0; too_much_waits(); attempt++) {
        if (jm_pagemap_is_over(block->retired, jm_pagemap_advance())) { /* untested: by chance */
            break; /* untested: its readers have left just now */
        }
        jm_os_pause(attempt);
        jm_reserve_drop_waiting();
    }
    keep(block, &reserve.leftovers);
}

bool jm_reserve_give(struct jm_block *block, bool for_good)
{
    jm_reserve_drop_waiting();
    /* A large block that its tenant does not want back is of use to nobody, but see jm_reserve_leave. */
    struct jm_block **list = for_good && jm_block_is_large(block) ? NULL : list_for(block);
    if (list != NULL && keep_at_once(block, list)) {
        return true;
    }
    if (!wait_for_readers(block)) {
        put_off(block);
        return true;
    }
    if (list == NULL || !fits(block->charge)) {
        if (jm_chain_return_one(block)) {
            return true;
        }
        if (!for_good) {
            return false;
        }
    }
    keep(block, list != NULL ? list : &reserve.refused);
    return true;
}

/* Where the bound does not allow a block, those go that tenants left before. False: that is not enough. */
static bool make_room_for_orphan(size_t size)
{
    size_t limit = jm_load_relaxed(&reserve.limit);
    if (fits(size) || size > limit) {
        return size <= limit;
    }
    struct jm_block *chosen = NULL;
    size_t part = limit / TRIM_DIVISOR;
    jm_lock_take(&reserve.trimming);
    jm_lock_take(&reserve.lock);
    (void)move_oldest(&reserve.large[ORPHANS], &chosen, size > part ? size : part);
    jm_lock_drop(&reserve.lock);
    chosen = jm_chain_sort(chosen);
    while (chosen != NULL && give_first(&chosen)) {
    }
    put_back(&chosen);
    jm_lock_drop(&reserve.trimming);
    return fits(size);
}

void jm_reserve_leave(struct jm_block *block)
{
    jm_reserve_drop_waiting();
    block->tenant = jm_block_is_large(block) ? NULL : block->tenant;
    struct jm_block **list = list_for(block);
    bool is_orphan = block->tenant == NULL && list != NULL && is_for_all(block);
    if (!is_orphan || !make_room_for_orphan(block->charge) || !keep_at_once(block, list)) {
        (void)jm_reserve_give(block, true);
    }
}

/* At once, whatever was refused before. */
static void trim(size_t limit)
{
    jm_lock_take(&reserve.lock);
    trim_leftovers();
    (void)move_some(&reserve.round, &reserve.refused, SIZE_MAX);
    retry_refused(UINT_MAX);
    note_waiting();
    jm_lock_drop(&reserve.lock);
    trim_lists(limit);
}

void jm_reserve_drain(void)
{
    trim(0);
}

void jm_reserve_set_limit(size_t bytes)
{
    jm_lock_take(&reserve.lock);
    jm_store_relaxed(&reserve.limit, bytes);
    jm_lock_drop(&reserve.lock);
    trim(bytes);
}

size_t jm_reserve_limit(void)
{
    return jm_load_relaxed(&reserve.limit);
}

size_t jm_reserve_bytes(void)
{
    return jm_load_relaxed(&reserve.bytes);
}

void jm_reserve_before_fork(void)
{
    jm_lock_take(&reserve.trimming);
    jm_lock_take(&reserve.lock);
}

void jm_reserve_after_fork(void)
{
    jm_lock_drop(&reserve.lock);
    jm_lock_drop(&reserve.trimming);
}
