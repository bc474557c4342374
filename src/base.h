/*
 * Layer 0: attributes, assertions and arithmetic that every file shares.
 */
#ifndef JM_BASE_H
#define JM_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__)
#error "GCC or Clang, please: others lack cleanup attributes, vectors and what asm is used for here"
#endif

#define JM_LIKELY(x) __builtin_expect(!!(x), 1)
#define JM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define JM_NOINLINE __attribute__((noinline))
#define JM_INLINE static inline __attribute__((always_inline))
#define JM_COLD __attribute__((noinline, cold))
/* For functions of the fast path and those that it often ends in: their alignment is worth over 4 %
 * of an alloc/free pair, and up to 11 % of W2c. */
#define JM_ALIGNED __attribute__((aligned(64)))
/* A function of the fast path. Without "inline", a host built with link-time optimisation gets only
 * one of the two inlined. */
#define JM_HOT inline JM_ALIGNED

/* Defined if AddressSanitizer is on. */
#if defined(__SANITIZE_ADDRESS__)
#define JM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JM_ASAN 1
#endif
#endif

/* Bytes that processors fetch, and take from each other, in one step. */
#define JM_CACHE_LINE 64

/* Exempts a local variable from -ftrivial-auto-var-init, in builds that use it. */
#define JM_UNINITIALIZED
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#undef JM_UNINITIALIZED
#define JM_UNINITIALIZED __attribute__((uninitialized))
#endif
#endif

/* Data that only the library itself uses: accessed directly, without the global offset table. */
#if !defined(_WIN32)
#define JM_HIDDEN __attribute__((visibility("hidden")))
#else
#define JM_HIDDEN
#endif

/* The calling convention of host callbacks. It differs from the default on 32-bit Windows only. */
#if defined(_WIN32)
#define JM_CALLBACK __stdcall
#else
#define JM_CALLBACK
#endif

/* Prints one line that says what failed and where, and aborts. Defined in line.c. */
_Noreturn void jm_check_failed(const char *what, const char *file, int number);

/* JM_CHECK: conditions that a caller or a broken OS could violate; always on. JM_ASSERT: internal
 * invariants; on in debug builds. */
#define JM_CHECK(condition) \
    (JM_LIKELY(condition) ? (void)0 : jm_check_failed(#condition, __FILE__, __LINE__))
#ifdef JM_DEBUG
#define JM_ASSERT(condition) JM_CHECK(condition)
#else
#define JM_ASSERT(condition) ((void)0)
#endif

/* Keeps a value in a register, and hides from the compiler how it was computed. */
#define JM_PIN(value) __asm__("" : "+r"(value))

/* Prefetches a cache line for writing. If another core wrote the line last, one step takes it from
 * there, instead of a shared fetch and a later upgrade. __builtin_prefetch emits prefetchw only if
 * GCC targets a processor that has it; every x86-64 processor has it or ignores it. */
#if defined(__x86_64__)
#define JM_PREFETCH(address) \
    __asm__ volatile("prefetchw %0" : : "m"(*(const volatile char *)(address)))
#else
#define JM_PREFETCH(address) __builtin_prefetch((address), 1)
#endif

#define JM_ZERO_PIECE ((size_t)2 << 10)
#define JM_ZERO_PIECES_MAX ((size_t)16 << 10) /* more memory is zeroed in one piece */

/* Zeroes memory, in pieces: above 2 KiB glibc's memset switches to an instruction that takes up to
 * 1.7 times as long on an EPYC. If the memory is in no near cache, it takes 7 % less at most. */
static inline void jm_zero(void *memory, size_t size)
{
    char *start = memory;
    while (size > JM_ZERO_PIECE && size <= JM_ZERO_PIECES_MAX) {
        size_t piece = JM_ZERO_PIECE;
        JM_PIN(piece); /* else the compiler inlines that instruction */
        memset(start, 0, piece);
        start += piece;
        size -= piece;
    }
    memset(start, 0, size);
}

/* Rounds up to a multiple of a power of two. pre: value + alignment - 1 does not wrap. */
static inline size_t jm_align_up(size_t value, size_t alignment)
{
    return (value + (alignment - 1)) & ~(alignment - 1);
}

static inline bool jm_is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static inline bool jm_is_aligned(const void *pointer, size_t alignment)
{
    return ((uintptr_t)pointer & (alignment - 1)) == 0;
}

/* How many doublings bring a size to at least `least`. pre: size > 0. */
static inline unsigned jm_doublings(size_t size, size_t least)
{
    unsigned count = 0;
    while (size << count < least) {
        count++;
    }
    return count;
}

/* The struct that holds `member` at `pointer`. */
#define JM_CONTAINER(pointer, type, member) \
    ((type *)(void *)(((char *)(pointer)) - offsetof(type, member)))

#endif
