#include "fake_os.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "header.h"
#include "os.h"
#include "registry.h"

void *__real_jm_os_map(size_t size, size_t alignment, struct jm_os_extent *extent);
bool __real_jm_os_unmap(const struct jm_os_extent *extent);
void __real_jm_os_discard(const struct jm_os_extent *extent);
void *__real_jm_os_reserve(size_t size);
bool __real_jm_os_extend(void *address, size_t old_size, size_t new_size);
void *__real_jm_os_move(void *address, size_t old_size, size_t new_size);
bool __real_jm_os_shrink(void *address, size_t old_size, size_t new_size);
bool __real_jm_os_commit(void *address, size_t size);
bool __real_jm_os_decommit(void *address, size_t size);
bool __real_jm_os_decommit_part(void *address, size_t size);
bool __real_jm_os_purge(void *address, size_t size);

void *__wrap_jm_os_map(size_t size, size_t alignment, struct jm_os_extent *extent);
bool __wrap_jm_os_unmap(const struct jm_os_extent *extent);
void __wrap_jm_os_discard(const struct jm_os_extent *extent);
void *__wrap_jm_os_reserve(size_t size);
bool __wrap_jm_os_extend(void *address, size_t old_size, size_t new_size);
void *__wrap_jm_os_move(void *address, size_t old_size, size_t new_size);
bool __wrap_jm_os_shrink(void *address, size_t old_size, size_t new_size);
bool __wrap_jm_os_commit(void *address, size_t size);
bool __wrap_jm_os_decommit(void *address, size_t size);
bool __wrap_jm_os_decommit_part(void *address, size_t size);
bool __wrap_jm_os_purge(void *address, size_t size);

const char *const fake_names[FAKE_ALL + 1] = {"map",      "unmap", "discard", "reserve",
                                              "extend",   "move",  "shrink",  "commit",
                                              "decommit", "purge", "return",  "all"};

/* Which pages of the library's region are committed. */
static unsigned char region_pages[((size_t)1 << JM_REGION_BITS) >> 12];

/* Notes whether pages are committed. Returns the bytes that changed: all of them outside the
 * region, none in its tables. */
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

/* More extents than any test has at a time. */
#define EXTENTS_MAX 16384

/* mapped == sum of `committed`; reserved == sum of `size` if nothing is committed. */
struct extent {
    void *address;
    size_t size;
    size_t committed; /* 0: a bare reservation. For the library's region: bytes committed */
    bool deferred;    /* its discard was refused: discarded again at the next mapping */
};

static struct {
    pthread_mutex_t lock;
    size_t calls[FAKE_ALL + 1];
    size_t refused;
    enum fake_function function;
    size_t nth; /* 0: nothing is refused */
    bool onward;
    bool reserves_more;
    int error;
    fake_hook hook;
    void *context;
    struct extent extents[EXTENTS_MAX];
    size_t extent_count;
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

void fake_os_reserve_more(bool reserves_more)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.reserves_more = reserves_more;
    (void)pthread_mutex_unlock(&fake.lock);
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
    for (size_t i = 0; i < fake.extent_count; i++) {
        const struct extent *extent = &fake.extents[i];
        if (committed) {
            total += extent->committed;
        } else if (extent->committed == 0 && extent->size <= (size_t)1 << JM_REGION_BITS) {
            total += extent->size;
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

/* Counts a call. False if it is to be refused. */
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

static struct extent *find(const void *address)
{
    for (size_t i = fake.extent_count; i-- > 0;) {
        if (fake.extents[i].address == address) {
            return &fake.extents[i];
        }
    }
    return NULL;
}

/* The extent that contains a range. */
static struct extent *around(const void *address, size_t size)
{
    for (size_t i = fake.extent_count; i-- > 0;) {
        uintptr_t offset = (uintptr_t)address - (uintptr_t)fake.extents[i].address;
        if (offset < fake.extents[i].size && size <= fake.extents[i].size - offset) {
            return &fake.extents[i];
        }
    }
    return NULL;
}

static void add(void *address, size_t size, size_t committed)
{
    if (fake.extent_count == EXTENTS_MAX) {
        blame("more extents than the test counts on");
        return;
    }
    fake.extents[fake.extent_count++] = (struct extent){address, size, committed, false};
}

static void drop(struct extent *extent)
{
    *extent = fake.extents[--fake.extent_count];
}

/* Checks that a call is about one whole mapping. NULL if it is not. */
static struct extent *whole(const void *address, size_t size, const char *text)
{
    struct extent *extent = find(address);
    if (extent == NULL || extent->size != size) {
        blame(text);
        return NULL;
    }
    return extent;
}

static void check_pages(const void *address, size_t size)
{
    if (size == 0 || ((uintptr_t)address | size) % jm_os_page_size() != 0) {
        blame("an address or a size is not a multiple of the page size");
    }
}

/* ---- The functions ---- */

/* Does what jm_os_map and jm_os_reserve do for extents that could not be discarded. */
static void retry_deferred(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    for (size_t i = fake.extent_count; i-- > 0;) {
        struct extent extent = fake.extents[i];
        if (extent.deferred) {
            drop(&fake.extents[i]);
            __real_jm_os_discard(&(struct jm_os_extent){extent.address, extent.size});
        }
    }
    (void)pthread_mutex_unlock(&fake.lock);
}

static void *map_within_more(size_t size, size_t alignment, struct jm_os_extent *extent)
{
    extent->size = size + alignment;
    extent->address = __real_jm_os_reserve(extent->size);
    void *address = (void *)jm_align_up((uintptr_t)extent->address, alignment);
    if (extent->address == NULL || !__real_jm_os_commit(address, size)) {
        abort();
    }
    return address;
}

void *__wrap_jm_os_map(size_t size, size_t alignment, struct jm_os_extent *extent)
{
    if (!admit(FAKE_MAP)) {
        return NULL;
    }
    retry_deferred();
    void *address = fake.reserves_more && alignment > jm_os_page_size()
                        ? map_within_more(size, alignment, extent)
                        : __real_jm_os_map(size, alignment, extent);
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, size);
    if (!jm_is_power_of_two(alignment) || alignment < jm_os_page_size()) {
        blame("a mapping with a bad alignment");
    }
    if (address != NULL) {
        add(extent->address, extent->size, size);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return address;
}

bool __wrap_jm_os_unmap(const struct jm_os_extent *extent)
{
    if (!admit(FAKE_UNMAP)) {
        return false;
    }
    /* Under the lock: else another thread may get the address first. */
    (void)pthread_mutex_lock(&fake.lock);
    struct extent *known = whole(extent->address, extent->size, "unmapped what is no extent");
    bool done = known != NULL && __real_jm_os_unmap(extent);
    if (done) {
        drop(known);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return done;
}

/* After a refusal by the OS, the extent waits for the next mapping. */
void __wrap_jm_os_discard(const struct jm_os_extent *extent)
{
    bool admitted = admit(FAKE_DISCARD);
    (void)pthread_mutex_lock(&fake.lock);
    struct extent *known = whole(extent->address, extent->size, "discarded what is no extent");
    if (known != NULL && known->deferred) {
        blame("discarded twice");
    } else if (known != NULL && admitted) {
        drop(known);
        __real_jm_os_discard(extent);
    } else if (known != NULL) {
        known->deferred = true;
    }
    (void)pthread_mutex_unlock(&fake.lock);
}

void *__wrap_jm_os_reserve(size_t size)
{
    if (!admit(FAKE_RESERVE)) {
        return NULL;
    }
    retry_deferred();
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
    struct extent *known = whole(address, old_size, "extended what is no extent");
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

/* Moves, even if there is room behind. */
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
    struct extent *known = whole(address, old_size, "moved what is no extent");
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
    struct extent *known = whole(address, old_size, "shrunk what is no extent");
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
    struct extent *known = around(address, size);
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

static bool decommit(void *address, size_t size, bool (*real)(void *, size_t))
{
    if (!admit(FAKE_DECOMMIT)) {
        return false;
    }
    (void)pthread_mutex_lock(&fake.lock);
    check_pages(address, size);
    struct extent *known = around(address, size);
    if (known == NULL) {
        blame("decommitted what was not committed");
    }
    bool done = known != NULL && real(address, size);
    if (done) {
        known->committed -= note_pages(address, size, false);
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return done;
}

bool __wrap_jm_os_decommit(void *address, size_t size)
{
    return decommit(address, size, __real_jm_os_decommit);
}

bool __wrap_jm_os_decommit_part(void *address, size_t size)
{
    return decommit(address, size, __real_jm_os_decommit_part);
}

bool __wrap_jm_os_purge(void *address, size_t size)
{
    return admit(FAKE_PURGE) && __real_jm_os_purge(address, size);
}
