/*
 * Layer 1: tells memory checkers about the memory of objects.
 *
 * AddressSanitizer, in a library built with it: memory outside of objects is closed, that is,
 * poisoned. The heap opens and closes objects by size class; jsrtmem.c closes the bytes beyond the
 * requested size.
 *
 * Valgrind's memcheck, in any library built with its header installed (JM_VALGRIND): a runtime is a
 * pool, its objects are the pool's chunks. A client request costs a few instructions even without
 * Valgrind, so the fast paths make none: a process under memcheck does not take them. The
 * allocator's own accesses to freed memory, between jm_inspect_begin and jm_inspect_end, are not
 * reported.
 */
#ifndef JM_INSPECT_H
#define JM_INSPECT_H

#include <string.h>

#include "atomic.h"
#include "base.h"
#include "thread.h"

/* ---- AddressSanitizer ---- */

#if defined(JM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>

/* Marks a function of the allocator that reads or writes closed memory. */
#define JM_UNCHECKED static __attribute__((noinline, unused, no_sanitize_address))

/* Byte by byte: AddressSanitizer checks memset. */
JM_UNCHECKED void jm_inspect_overwrite(void *object, size_t size)
{
    for (volatile unsigned char *byte = object; size > 0; size--) {
        *byte++ = 0;
    }
}

static inline void jm_inspect_open(const void *address, size_t size)
{
    __asan_unpoison_memory_region(address, size);
}

static inline void jm_inspect_close(const void *address, size_t size)
{
    __asan_poison_memory_region(address, size);
}

/* Objects may hold the only pointers to memory from libc's malloc, so the leak checker must scan
 * them. Each added range must be removed with the same address and size. */
void jm_inspect_add_root(const void *address, size_t size);
void jm_inspect_remove_root(const void *address, size_t size);

void jm_inspect_for_locks(jm_lock_step *step);

#else

#define JM_UNCHECKED JM_INLINE

/* Zeroes an object that another thread may free meanwhile, which AddressSanitizer would report. */
JM_INLINE void jm_inspect_overwrite(void *object, size_t size)
{
    memset(object, 0, size);
}

JM_INLINE void jm_inspect_open(const void *address, size_t size)
{
    (void)address, (void)size;
}

JM_INLINE void jm_inspect_close(const void *address, size_t size)
{
    (void)address, (void)size;
}

JM_INLINE void jm_inspect_add_root(const void *address, size_t size)
{
    (void)address, (void)size;
}

JM_INLINE void jm_inspect_remove_root(const void *address, size_t size)
{
    (void)address, (void)size;
}

JM_INLINE void jm_inspect_for_locks(jm_lock_step *step)
{
    (void)step;
}

#endif

/* ---- Memcheck ---- */

#if defined(JM_VALGRIND)

/* Process state: true if memcheck runs the process. Written before the first runtime exists. */
extern JM_HIDDEN _Atomic(bool) jm_inspect_memcheck;
#define jm_inspect_watched jm_load_relaxed(&jm_inspect_memcheck)

/* Make the client requests. Out of line, to keep them off the paths of unwatched processes. */
JM_COLD void jm_inspect_tell_begin(void);
JM_COLD void jm_inspect_tell_end(void);
JM_COLD void jm_inspect_tell_create(const void *pool);
JM_COLD void jm_inspect_tell_destroy(const void *pool);
JM_COLD void jm_inspect_tell_supply(const void *address, size_t size);
JM_COLD void jm_inspect_tell_take(const void *pool, const void *object, size_t size);
JM_COLD void jm_inspect_tell_give(const void *pool, const void *object);
JM_COLD void jm_inspect_tell_zero(const void *object, size_t size);
JM_COLD void jm_inspect_tell_change(const void *pool, const void *from, const void *to, size_t old,
                                    size_t size);

#define JM_TELL(call) (JM_UNLIKELY(jm_inspect_watched) ? (call) : (void)0)
#else
#define jm_inspect_watched false
#define JM_TELL(call) ((void)0)
#endif

/* Finds out if memcheck runs the process. */
void jm_inspect_init(void);

/* Enclose the allocator's own work, per thread. They nest. Host code runs outside of them. */
static inline void jm_inspect_begin(void)
{
    JM_TELL(jm_inspect_tell_begin());
}

static inline void jm_inspect_end(void)
{
    JM_TELL(jm_inspect_tell_end());
}

/* Announce a new runtime, and its end with all its objects. */
static inline void jm_inspect_create(const void *pool)
{
    (void)pool;
    JM_TELL(jm_inspect_tell_create(pool));
}

static inline void jm_inspect_destroy(const void *pool)
{
    (void)pool;
    JM_TELL(jm_inspect_tell_destroy(pool));
}

/* Announces memory for objects that holds none yet. For both tools. */
static inline void jm_inspect_supply(const void *address, size_t size)
{
    jm_inspect_close(address, size);
    JM_TELL(jm_inspect_tell_supply(address, size));
}

/* Announces an object of `size` bytes, or NULL, that is about to be handed out. Returns it. */
static inline void *jm_inspect_alloc(const void *pool, void *object, size_t size)
{
    (void)pool, (void)size;
    JM_TELL(jm_inspect_tell_take(pool, object, size));
    return object;
}

/* Announces that an object is freed. */
static inline void jm_inspect_free(const void *pool, const void *object)
{
    (void)pool, (void)object;
    JM_TELL(jm_inspect_tell_give(pool, object));
}

/* Announces that the first `size` bytes of an object are zeros, from the OS or written. NULL: no
 * effect. */
static inline void jm_inspect_zero(const void *object, size_t size)
{
    (void)object, (void)size;
    JM_TELL(jm_inspect_tell_zero(object, size));
}

/* The requested size of a live object that has `usable` bytes. 0 if memcheck does not run the
 * process. */
size_t jm_inspect_size(const void *object, size_t usable);

/* Announces that an object of `old` bytes now has `size`, at `to`. It moved there, unless `from` is
 * the same address. */
static inline void jm_inspect_change(const void *pool, const void *from, const void *to, size_t old,
                                     size_t size)
{
    (void)pool, (void)from, (void)to, (void)old, (void)size;
    JM_TELL(jm_inspect_tell_change(pool, from, to, old, size));
}

#endif
