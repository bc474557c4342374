/*
 * Layer 1: what tools that watch a process are told about the memory of objects.
 *
 * AddressSanitizer, in a library that is built with it: what no object has is closed, that is poisoned.
 * The heap opens and closes objects by their class; jsrtmem.c closes what of them was not asked for.
 *
 * Valgrind's memcheck, in any library that was built where its header lies (JM_VALGRIND): a runtime is a
 * pool, its objects are the pool's chunks. A request costs a few instructions even where nobody listens,
 * so there is none on the fast paths: a process that runs under memcheck does not take them. What the
 * allocator itself does to freed memory, between jm_inspect_begin and jm_inspect_end, is not reported.
 */
#ifndef JM_INSPECT_H
#define JM_INSPECT_H

#include <string.h>

#include "atomic.h"
#include "base.h"

#if defined(__SANITIZE_ADDRESS__)
#define JM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JM_ASAN 1
#endif
#endif

/* ---- AddressSanitizer ---- */

#if defined(JM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>

/* Marks a function that reads or writes closed memory, for the allocator's own purposes. */
#define JM_UNCHECKED static __attribute__((noinline, unused, no_sanitize_address))

/* Byte by byte: the tool checks memset. */
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

/* Objects may hold the only pointers to what libc's malloc gave: the search for leaks has to look there.
 * What is told here has to be taken back as it was told. */
void jm_inspect_add_root(const void *address, size_t size);
void jm_inspect_remove_root(const void *address, size_t size);

void jm_inspect_before_fork(void);
void jm_inspect_after_fork(void);

#else

#define JM_UNCHECKED JM_INLINE

/* Makes an object zero that somebody may free meanwhile, which a tool would report. */
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

JM_INLINE void jm_inspect_before_fork(void)
{
}

JM_INLINE void jm_inspect_after_fork(void)
{
}

#endif

/* ---- Memcheck ---- */

#if defined(JM_VALGRIND)

/* Process state: whether memcheck runs the process. Written before the first runtime exists. */
extern JM_HIDDEN _Atomic(bool) jm_inspect_memcheck;
#define jm_inspect_watched jm_load_relaxed(&jm_inspect_memcheck)

/* The requests themselves, out of the way of those who are not watched. */
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

/* Finds out who watches. */
void jm_inspect_init(void);

/* Around what the allocator does, on one thread. They nest; host code runs outside of them. */
static inline void jm_inspect_begin(void)
{
    JM_TELL(jm_inspect_tell_begin());
}

static inline void jm_inspect_end(void)
{
    JM_TELL(jm_inspect_tell_end());
}

/* A runtime begins, and ends with all its objects. */
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

/* New memory for objects, in which there are none yet. For both tools. */
static inline void jm_inspect_supply(const void *address, size_t size)
{
    jm_inspect_close(address, size);
    JM_TELL(jm_inspect_tell_supply(address, size));
}

/* An object of `size` bytes, or NULL, is about to be handed out. Returns it. */
static inline void *jm_inspect_take(const void *pool, void *object, size_t size)
{
    (void)pool, (void)size;
    JM_TELL(jm_inspect_tell_take(pool, object, size));
    return object;
}

/* An object is freed. */
static inline void jm_inspect_give(const void *pool, const void *object)
{
    (void)pool, (void)object;
    JM_TELL(jm_inspect_tell_give(pool, object));
}

/* The first bytes of an object, or of NULL, are zeros: as the OS gave them, or overwritten. */
static inline void jm_inspect_zero(const void *object, size_t size)
{
    (void)object, (void)size;
    JM_TELL(jm_inspect_tell_zero(object, size));
}

/* What was asked for of a live object that has `usable` bytes. 0 where nobody watches. */
size_t jm_inspect_size(const void *object, size_t usable);

/* An object of `old` bytes has `size` now, and has moved from one place to another, or not. */
static inline void jm_inspect_change(const void *pool, const void *from, const void *to, size_t old,
                                     size_t size)
{
    (void)pool, (void)from, (void)to, (void)old, (void)size;
    JM_TELL(jm_inspect_tell_change(pool, from, to, old, size));
}

#endif
