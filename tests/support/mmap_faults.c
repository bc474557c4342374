#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "mmap_faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FUNCTIONS 5

/* Written by the main thread while no other thread is in the library, except for the counts. */
static struct {
    atomic_size_t calls[FUNCTIONS]; /* since the counts started */
    atomic_size_t meant;            /* of these, calls of functions that may be refused */
    atomic_size_t refused;
    atomic_size_t mapped;
    atomic_uint functions;
    atomic_size_t nth;
    atomic_bool onward;
    atomic_int error;
    atomic_uint told;
    void (*callback)(void *address);
    /* Where the region's blocks begin, behind its tables; 0: no region yet. */
    atomic_uintptr_t blocks;
} faults;

/* The region ends with its blocks and the space to align them. Its tables have less than half that
 * size. No earlier reservation has a size in that range. */
#define BLOCKS_SIZE (UINTPTR_MAX > 0xffffffffu ? (size_t)1 << 34 : (size_t)1 << 28)
#define BLOCKS_ALIGNMENT ((size_t)4 << 20)

/* The region begins with a guard and room for headers. What is opened of the headers counts, as of
 * any other reservation. */
#define GUARD_SIZE ((size_t)1 << 20)
#define HEADERS_SIZE (BLOCKS_SIZE >> 6)

static atomic_uchar pages[(BLOCKS_SIZE + BLOCKS_ALIGNMENT) >> 12];

/* Notes whether pages of the region's blocks have memory, and counts the changes. */
static void note_pages(const void *address, size_t size, bool have_memory)
{
    uintptr_t blocks = atomic_load(&faults.blocks);
    uintptr_t offset = (uintptr_t)address - blocks;
    if (blocks == 0 || offset >= BLOCKS_SIZE + BLOCKS_ALIGNMENT) {
        return;
    }
    for (size_t page = offset >> 12; page < (offset + size) >> 12; page++) {
        if (atomic_exchange(&pages[page], have_memory) != have_memory) {
            (void)atomic_fetch_add(&faults.mapped, have_memory ? 4096 : (size_t)-4096);
        }
    }
}

/* Other reservations. The first part of each is opened, behind a guard or alignment. */
#define RESERVATIONS_MAX 4096
static struct {
    atomic_flag taken;
    size_t count;
    struct reservation {
        uintptr_t start, end, opened, closed;
    } of[RESERVATIONS_MAX];
} reservations = {.taken = ATOMIC_FLAG_INIT};

static void lock_reservations(void)
{
    while (atomic_flag_test_and_set(&reservations.taken)) {
    }
}

static void unlock_reservations(void)
{
    atomic_flag_clear(&reservations.taken);
}

/* The reservation that an address lies in, or NULL. pre: the lock is held. */
static struct reservation *reservation_of(const void *address)
{
    for (size_t i = 0; i < reservations.count; i++) {
        struct reservation *one = &reservations.of[i];
        if ((uintptr_t)address - one->start < one->end - one->start) {
            return one;
        }
    }
    return NULL;
}

static void add_reservation(const void *address, size_t size)
{
    lock_reservations();
    if (reservations.count == RESERVATIONS_MAX) {
        abort();
    }
    uintptr_t start = (uintptr_t)address;
    reservations.of[reservations.count++] = (struct reservation){start, start + size, 0, 0};
    unlock_reservations();
}

/* Adds the part of the region for headers, in front of its tables. */
static void add_headers(uintptr_t region, size_t tables)
{
    uintptr_t blocks = (region + tables + BLOCKS_ALIGNMENT - 1) & ~(BLOCKS_ALIGNMENT - 1);
    add_reservation((void *)(blocks - tables + GUARD_SIZE), HEADERS_SIZE);
}

/* Counts what is opened for the first time. */
static void open_reservation(const void *address, size_t size)
{
    lock_reservations();
    struct reservation *one = reservation_of(address);
    if (one != NULL) {
        uintptr_t end = (uintptr_t)address + size;
        one->opened = one->closed == 0 ? (uintptr_t)address : one->opened;
        one->closed = one->closed == 0 ? (uintptr_t)address : one->closed;
        if (end > one->closed) {
            (void)atomic_fetch_add(&faults.mapped, end - one->closed);
            one->closed = end;
        }
    }
    unlock_reservations();
}

/* Forgets unmapped memory: its count, and its reservation if it is one. pre: the lock is held. */
static void forget(const void *address, size_t size)
{
    struct reservation *one = reservation_of(address);
    if (one != NULL) {
        size = one->closed - one->opened;
        *one = reservations.of[--reservations.count];
    }
    (void)atomic_fetch_sub(&faults.mapped, size);
}

void mmap_faults_arm(unsigned functions, size_t nth, bool onward, int error)
{
    for (int i = 0; i < FUNCTIONS; i++) {
        atomic_store(&faults.calls[i], 0);
    }
    atomic_store(&faults.meant, 0);
    atomic_store(&faults.refused, 0);
    atomic_store(&faults.nth, nth);
    atomic_store(&faults.onward, onward);
    atomic_store(&faults.error, error);
    atomic_store(&faults.functions, functions);
}

void mmap_faults_disarm(void)
{
    mmap_faults_arm(0, 0, false, 0);
}

size_t mmap_faults_calls(unsigned function)
{
    size_t calls = 0;
    for (int i = 0; i < FUNCTIONS; i++) {
        calls += (function >> i & 1) != 0 ? atomic_load(&faults.calls[i]) : 0;
    }
    return calls;
}

size_t mmap_faults_refused(void)
{
    return atomic_load(&faults.refused);
}

size_t mmap_faults_mapped(void)
{
    return atomic_load(&faults.mapped);
}

void mmap_faults_after(unsigned functions, void (*callback)(void *address))
{
    faults.callback = callback;
    atomic_store(&faults.told, functions);
}

/* Calls the callback after a call that has succeeded, once. */
static void tell(unsigned function, void *address)
{
    if ((atomic_load(&faults.told) & function) != 0) {
        atomic_store(&faults.told, 0);
        faults.callback(address);
    }
}

/* Counts a call. If it is to be refused, returns false and sets errno. */
static bool admit(unsigned function)
{
    (void)atomic_fetch_add(&faults.calls[__builtin_ctz(function)], 1);
    if ((atomic_load(&faults.functions) & function) == 0) {
        return true;
    }
    size_t count = atomic_fetch_add(&faults.meant, 1) + 1;
    size_t nth = atomic_load(&faults.nth);
    if (count != nth && !(atomic_load(&faults.onward) && count > nth)) {
        return true;
    }
    (void)atomic_fetch_add(&faults.refused, 1);
    errno = atomic_load(&faults.error);
    return false;
}

/* The next function of a name: the libc's, or a sanitizer's in front of it. */
static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) {
        abort();
    }
    return function;
}
#define NEXT(name)                                     \
    static __typeof__(&(name)) real;                   \
    if (__atomic_load_n(&real, __ATOMIC_RELAXED) == 0) \
    __atomic_store_n(&real, (__typeof__(&(name)))next(#name), __ATOMIC_RELAXED)

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    NEXT(mmap);
    if (!admit(MMAP_MAP)) {
        return MAP_FAILED;
    }
    void *result = real(address, size, protection, flags, file, offset);
    if (result != MAP_FAILED && (flags & MAP_FIXED) != 0) { /* gives back what advice would not */
        note_pages(address, size, false);
        return result;
    }
    bool is_first = atomic_load(&faults.blocks) == 0;
    bool is_region = size > BLOCKS_SIZE && size - BLOCKS_SIZE < BLOCKS_SIZE / 2;
    if (result != MAP_FAILED && protection == PROT_NONE && is_region && is_first) {
        atomic_store(&faults.blocks, (uintptr_t)result + size - BLOCKS_SIZE - BLOCKS_ALIGNMENT);
        add_headers((uintptr_t)result, size - BLOCKS_SIZE - BLOCKS_ALIGNMENT);
    } else if (result != MAP_FAILED && protection == PROT_NONE) {
        add_reservation(result, size);
    } else if (result != MAP_FAILED) {
        (void)atomic_fetch_add(&faults.mapped, size);
    }
    return result;
}

int munmap(void *address, size_t size)
{
    NEXT(munmap);
    if (!admit(MMAP_UNMAP)) {
        return -1;
    }
    lock_reservations(); /* others may get these addresses at once */
    int result = real(address, size);
    if (result == 0) {
        forget(address, size);
    }
    unlock_reservations();
    if (result == 0) {
        tell(MMAP_UNMAP, address);
    }
    return result;
}

/* The caller has mapped a fixed target before, so it is counted already. */
void *mremap(void *address, size_t old_size, size_t new_size, int flags, ...)
{
    NEXT(mremap);
    if (!admit(MMAP_REMAP)) {
        return MAP_FAILED;
    }
    bool fixed = (flags & MREMAP_FIXED) != 0;
    void *target = NULL;
    if (fixed) {
        va_list arguments;
        va_start(arguments, flags);
        target = va_arg(arguments, void *);
        va_end(arguments);
    }
    void *result = fixed ? real(address, old_size, new_size, flags, target)
                         : real(address, old_size, new_size, flags);
    if (result != MAP_FAILED) {
        (void)atomic_fetch_add(&faults.mapped, (fixed ? 0 : new_size) - old_size);
        tell(MMAP_REMAP, address);
    }
    return result;
}

int mprotect(void *address, size_t size, int protection)
{
    NEXT(mprotect);
    int result = admit(MMAP_PROTECT) ? real(address, size, protection) : -1;
    if (result == 0) {
        note_pages(address, size, true);
        open_reservation(address, size);
    }
    return result;
}

int madvise(void *address, size_t size, int advice)
{
    NEXT(madvise);
    int result = admit(MMAP_ADVISE) ? real(address, size, advice) : -1;
    if (result == 0) {
        note_pages(address, size, false);
    }
    return result;
}
