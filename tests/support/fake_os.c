#include "fake_os.h"

#include <errno.h>
#include <pthread.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "header.h"
#include "os.h"
#include "registry.h"

void *__real_jm_os_map(size_t size, size_t alignment, struct jm_os_region *region);
bool __real_jm_os_unmap(const struct jm_os_region *region);
void __real_jm_os_discard(const struct jm_os_region *region);
void *__real_jm_os_reserve(size_t size);
bool __real_jm_os_extend(void *address, size_t old_size, size_t new_size);
void *__real_jm_os_move(void *address, size_t old_size, size_t new_size);
bool __real_jm_os_shrink(void *address, size_t old_size, size_t new_size);
bool __real_jm_os_commit(void *address, size_t size);
bool __real_jm_os_decommit(void *address, size_t size);
bool __real_jm_os_purge(void *address, size_t size);

void *__wrap_jm_os_map(size_t size, size_t alignment, struct jm_os_region *region);
bool __wrap_jm_os_unmap(const struct jm_os_region *region);
void __wrap_jm_os_discard(const struct jm_os_region *region);
void *__wrap_jm_os_reserve(size_t size);
bool __wrap_jm_os_extend(void *address, size_t old_size, size_t new_size);
void *__wrap_jm_os_move(void *address, size_t old_size, size_t new_size);
bool __wrap_jm_os_shrink(void *address, size_t old_size, size_t new_size);
bool __wrap_jm_os_commit(void *address, size_t size);
bool __wrap_jm_os_decommit(void *address, size_t size);
bool __wrap_jm_os_purge(void *address, size_t size);

const char *const fake_names[FAKE_ALL + 1] = {"map",      "unmap", "discard", "reserve",
                                              "extend",   "move",  "shrink",  "commit",
                                              "decommit", "purge", "return",  "all"};

/* Which pages of the library's region are committed. */
static unsigned char region_pages[((size_t)1 << JM_REGION_BITS) >> 12];

/* Notes whether pages are committed; returns the bytes that changed. Outside of the region, all do; of its
 * tables, none. */
static size_t note_pages(const char *address, size_t size, bool committed)
{
    const char *base = jm_load_relaxed(&jm_region.base);
    size_t changed = 0;
    if (!jm_region_holds(address)) {
        bool is_table =
            jm_region_exists() && (uintptr_t)base - (uintptr_t)address <= JM_REGION_HEADS_OFFSET;
        return is_table ? 0 : size;
    }
    for (size_t page = (size_t)(address - base) >> 12; size > 0; page++, size -= 4096) {
        changed += region_pages[page] == committed ? 0 : 4096;
        region_pages[page] = committed;
    }
    return changed;
}

/* More regions than any test here has at one time. */
#define REGIONS_MAX 16384

/* mapped == sum of `committed`, reserved == sum of `size` where nothing is committed. */
struct region {
    void *address;
    size_t size;
    size_t committed; /* 0: a bare reservation; of the library's region: what it has of it */
    bool orphan;      /* discarded, and refused then: to be discarded again at the next mapping */
};

static struct {
    pthread_mutex_t lock;
    size_t calls[FAKE_ALL + 1];
    size_t refused;
    enum fake_function function;
    size_t nth; /* 0: nothing is refused */
    bool onward;
    int error;
    fake_hook hook;
    void *context;
    struct region regions[REGIONS_MAX];
    size_t region_count;
    const char *fault;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fake_os_refuse(enum fake_function function, size_t nth, bool onward, int error)
{
    (void)pthread_mutex_lock(&fake.lock);
    for (int i = 0; i <= FAKE_ALL; i++) {
        fake.calls[i] = 0;
    }
    fake.refused = 0;
    fake.function = function;
    fake.nth = nth;
    fake.onward = onward;
    fake.error = error;
    (void)pthread_mutex_unlock(&fake.lock);
}

void fake_os_reset(void)
{
    fake_os_refuse(FAKE_ALL, 0, false, 0);
}

size_t fake_os_calls(enum fake_function function)
{
    (void)pthread_mutex_lock(&fake.lock);
    size_t calls = fake.calls[function];
    (void)pthread_mutex_unlock(&fake.lock);
    return calls;
}

size_t fake_os_refused(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    size_t refused = fake.refused;
    (void)pthread_mutex_unlock(&fake.lock);
    return refused;
}

void fake_os_watch(fake_hook hook, void *context)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.hook = hook;
    fake.context = context;
    (void)pthread_mutex_unlock(&fake.lock);
}

static size_t sum(bool committed)
{
    size_t total = 0;
    (void)pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.region_count; i++) {
        const struct region *region = &fake.regions[i];
        if (committed) {
            total += region->committed;
        } else if (region->committed == 0 && region->size <= (size_t)1 << JM_REGION_BITS) {
            total += region->size;
        }
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return total;
}

size_t fake_os_mapped(void)
{
    return sum(true);
}

size_t fake_os_held(void)
{
    return fake_os_mapped() - jm_registry_metadata() - jm_pagemap_metadata() - jm_header_metadata();
}

size_t fake_os_reserved(void)
{
    return sum(false);
}

const char *fake_os_fault(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    const char *fault = fake.fault;
    (void)pthread_mutex_unlock(&fake.lock);
    return fault;
}

/* Counts a call. False: it is to be refused. */
static bool admit(enum fake_function function)
{
    (void)pthread_mutex_lock(&fake.lock);
    bool returns = function == FAKE_UNMAP || function == FAKE_DECOMMIT;
    fake.calls[function]++;
    fake.calls[FAKE_RETURN] += returns;
    size_t nth = ++fake.calls[FAKE_ALL];
    fake_hook hook = fake.hook;
    void *context = fake.context;
    bool meant = fake.nth != 0 && (fake.function == FAKE_ALL || fake.function == function ||
                                   (fake.function == FAKE_RETURN && returns));
    size_t count = fake.calls[fake.function];
    bool refused = meant && (fake.onward ? count >= fake.nth : count == fake.nth);
    int error = fake.error;
    fake.refused += refused;
    (void)pthread_mutex_unlock(&fake.lock);
    if (hook != NULL) {
        hook(context, function, nth);
    }
    if (refused && error != 0) {
        errno = error;
    }
    return !refused;
}

/* ---- The account. The functions below hold the lock. ---- */

static void blame(const char *text)
{
    if (fake.fault == NULL) {
        fake.fault = text;
    }
}

static struct region *find(const void *address)
{
    for (size_t i = fake.region_count; i-- > 0;) {
        if (fake.regions[i].address == address) {
            return &fake.regions[i];
        }
    }
    return NULL;
}

/* The region that a range lies in. */
static struct region *around(const void *address, size_t size)
{
    for (size_t i = fake.region_count; i-- > 0;) {
        uintptr_t offset = (uintptr_t)address - (uintptr_t)fake.regions[i].address;
        if (offset < fake.regions[i].size && size <= fake.regions[i].size - offset) {
            return &fake.regions[i];
        }
    }
    return NULL;
}

static void add(void *address, size_t size, size_t committed)
{
    if (fake.region_count == REGIONS_MAX) {
        blame("more regions than the test counts on");
        return;
    }
    fake.regions[fake.region_count++] = (struct region){address, size, committed, false};
}

static void drop(struct region *region)
{
    *region = fake.regions[--fake.region_count];
}

/* Checks that a call is about one whole mapping. The result is null where it is not. */
static struct region *whole(const void *address, size_t size, const char *text)
{
    struct region *region = find(address);
    if (region == NULL || region->size != size) {
        blame(text);
        return NULL;
    }
    return region;
}

static void check_pages(const void *address, size_t size)
{
    if (size == 0 || ((uintptr_t)address | size) % jm_os_page_size() != 0) {
        blame("an address or a size is not a multiple of the page size");
    }
}

/* ---- The functions ---- */

/* What jm_os_map and jm_os_reserve do for what could not be discarded. */
static void retry_orphans(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    for (size_t i = fake.region_count; i-- > 0;) {
        struct region region = fake.regions[i];
        if (region.orphan) {
            drop(&fake.regions[i]);
            __real_jm_os_discard(&(struct jm_os_region){region.address, region.size});
        }
    }
    (void)pthread_mutex_unlock(&fake.lock);
}

void *__wrap_jm_os_map(size_t size, size_t alignment, struct jm_os_region *region)
{
    if (!admit(FAKE_MAP)) {
        return NULL;
    }
    retry_orphans();
    void *address = __real_jm_os_map(size, alignment, region);
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, size);
    if (!jm_is_power_of_two(alignment) || alignment < jm_os_page_size()) {
        blame("a mapping with a bad alignment");
    }
    if (address != NULL) {
        add(region->address, region->size, size);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return address;
}

bool __wrap_jm_os_unmap(const struct jm_os_region *region)
{
    if (!admit(FAKE_UNMAP)) {
        return false;
    }
    /* Under the lock: else another thread may be given the address first. */
    (void)pthread_mutex_lock(&fake.lock);
    struct region *known = whole(region->address, region->size, "unmapped what is no region");
    bool done = known != NULL && __real_jm_os_unmap(region);
    if (done) {
        drop(known);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return done;
}

/* A refusal is the OS's: the region waits for the next mapping then. */
void __wrap_jm_os_discard(const struct jm_os_region *region)
{
    bool admitted = admit(FAKE_DISCARD);
    (void)pthread_mutex_lock(&fake.lock);
    struct region *known = whole(region->address, region->size, "discarded what is no region");
    if (known != NULL && known->orphan) {
        blame("discarded twice");
    } else if (known != NULL && admitted) {
        drop(known);
        __real_jm_os_discard(region);
    } else if (known != NULL) {
        known->orphan = true;
    }
    (void)pthread_mutex_unlock(&fake.lock);
}

void *__wrap_jm_os_reserve(size_t size)
{
    if (!admit(FAKE_RESERVE)) {
        return NULL;
    }
    retry_orphans();
    void *address = __real_jm_os_reserve(size);
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, size);
    if (address != NULL) {
        add(address, size, 0);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return address;
}

bool __wrap_jm_os_extend(void *address, size_t old_size, size_t new_size)
{
    if (!admit(FAKE_EXTEND)) {
        return false;
    }
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, old_size);
    check_pages(address, new_size);
    struct region *known = whole(address, old_size, "extended what is no region");
    if (new_size <= old_size) {
        blame("extended to what is no more");
    }
    bool done = known != NULL && __real_jm_os_extend(address, old_size, new_size);
    if (done) {
        known->size = known->committed = new_size;
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return done;
}

/* Moves, even where there is room behind. */
static void *move_away(void *address, size_t old_size, size_t new_size)
{
#if defined(__linux__)
    char *behind = (char *)address + old_size;
    char *neighbour =
        mmap(behind, jm_os_page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *moved = __real_jm_os_move(address, old_size, new_size);
    if (neighbour != MAP_FAILED) {
        (void)munmap(neighbour, jm_os_page_size());
    }
    return moved;
#else
    return __real_jm_os_move(address, old_size, new_size);
#endif
}

void *__wrap_jm_os_move(void *address, size_t old_size, size_t new_size)
{
    if (!admit(FAKE_MOVE)) {
        return NULL;
    }
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, old_size);
    check_pages(address, new_size);
    struct region *known = whole(address, old_size, "moved what is no region");
    if (new_size <= old_size) {
        blame("moved to what is no more");
    }
    void *moved = known == NULL ? NULL : move_away(address, old_size, new_size);
    if (moved != NULL) {
        drop(known);
        add(moved, new_size, new_size);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return moved;
}

bool __wrap_jm_os_shrink(void *address, size_t old_size, size_t new_size)
{
    if (!admit(FAKE_SHRINK)) {
        return false;
    }
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, old_size);
    check_pages(address, new_size);
    struct region *known = whole(address, old_size, "shrunk what is no region");
    if (new_size >= old_size) {
        blame("shrunk to what is no less");
    }
    bool done = known != NULL && __real_jm_os_shrink(address, old_size, new_size);
    if (done) {
        known->size = known->committed = new_size;
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return done;
}

bool __wrap_jm_os_commit(void *address, size_t size)
{
    if (!admit(FAKE_COMMIT)) {
        return false;
    }
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, size);
    struct region *known = around(address, size);
    if (known == NULL || size > known->size - known->committed) {
        blame("committed what was not reserved");
    }
    bool done = known != NULL && __real_jm_os_commit(address, size);
    if (done) {
        known->committed += note_pages(address, size, true);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return done;
}

bool __wrap_jm_os_decommit(void *address, size_t size)
{
    if (!admit(FAKE_DECOMMIT)) {
        return false;
    }
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, size);
    struct region *known = around(address, size);
    if (known == NULL) {
        blame("decommitted what was not committed");
    }
    bool done = known != NULL && __real_jm_os_decommit(address, size);
    if (done) {
        known->committed -= note_pages(address, size, false);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return done;
}

bool __wrap_jm_os_purge(void *address, size_t size)
{
    return admit(FAKE_PURGE) && __real_jm_os_purge(address, size);
}
