/*
 * A system with other page sizes, to be preloaded. FAKE_PAGE_SIZE (bytes, a multiple of the
 * system's own) is reported to programs, and mappings are aligned to it. The library must keep to
 * it: the program aborts at the first size or address that is no multiple, which a real system
 * would refuse or round up.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page; /* written before main */

static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) {
        abort();
    }
    return function;
}

static struct {
    long (*sysconf)(int);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*munmap)(void *, size_t);
    int (*mprotect)(void *, size_t, int);
    int (*madvise)(void *, size_t, int);
    void *(*mremap)(void *, size_t, size_t, int, ...);
} real;

__attribute__((constructor)) static void start(void)
{
    const char *text = getenv("FAKE_PAGE_SIZE");
    *(void **)&real.sysconf = next("sysconf");
    *(void **)&real.mmap = next("mmap");
    *(void **)&real.munmap = next("munmap");
    *(void **)&real.mprotect = next("mprotect");
    *(void **)&real.madvise = next("madvise");
    *(void **)&real.mremap = next("mremap");
    page = text == NULL ? 0 : (size_t)strtoull(text, NULL, 10);
    size_t own = (size_t)real.sysconf(_SC_PAGESIZE);
    if (page < own || (page & (page - 1)) != 0) {
        (void)fputs("FAKE_PAGE_SIZE is no page size that this system can show\n", stderr);
        abort();
    }
}

static void check(const char *call, uintptr_t value)
{
    if (value % page != 0) {
        (void)fprintf(stderr, "%s of what is no multiple of the page size: %#zx\n", call,
                      (size_t)value);
        abort();
    }
}

long sysconf(int name)
{
    return name == _SC_PAGESIZE ? (long)page : real.sysconf(name);
}

/* The system's result may lie between our pages. Then one page more is mapped, and the ends are cut
 * off. */
void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    check("mmap", (uintptr_t)address | size);
    if ((flags & MAP_FIXED) != 0) {
        return real.mmap(address, size, protection, flags, file, offset);
    }
    char *result = real.mmap(address, size, protection, flags, file, offset);
    if (result == MAP_FAILED || (uintptr_t)result % page == 0) {
        return result;
    }
    (void)real.munmap(result, size);
    result = size > SIZE_MAX - page ? MAP_FAILED
                                    : real.mmap(NULL, size + page, protection, flags, file, offset);
    if (result == MAP_FAILED) {
        return result;
    }
    size_t before = page - (uintptr_t)result % page;
    if (real.munmap(result, before) != 0 ||
        (before < page && real.munmap(result + before + size, page - before) != 0)) {
        abort();
    }
    return result + before;
}

int munmap(void *address, size_t size)
{
    check("munmap", (uintptr_t)address | size);
    return real.munmap(address, size);
}

int mprotect(void *address, size_t size, int protection)
{
    check("mprotect", (uintptr_t)address | size);
    return real.mprotect(address, size, protection);
}

int madvise(void *address, size_t size, int advice)
{
    check("madvise", (uintptr_t)address | size);
    return real.madvise(address, size, advice);
}

/* Grows in place, or moves to an address that our mmap chose: the system might choose one between
 * our pages. */
void *mremap(void *address, size_t old_size, size_t new_size, int flags, ...)
{
    check("mremap", (uintptr_t)address | old_size | new_size);
    if (flags == 0) {
        return real.mremap(address, old_size, new_size, 0);
    }
    if (flags != MREMAP_MAYMOVE) {
        (void)fputs("mremap with flags that are not shown here\n", stderr);
        abort();
    }
    void *target =
        mmap(NULL, new_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return target == MAP_FAILED
               ? MAP_FAILED
               : real.mremap(address, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, target);
}
