/*
 * Layer 0: attributes, assertions and arithmetic that every file shares.
 */
#ifndef JM_BASE_H
#define JM_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__GNUC__)
#error "GCC or Clang, please: others lack cleanup attributes, vectors and what asm is used for here"
#endif

#define JM_LIKELY(x) __builtin_expect(!!(x), 1)
#define JM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define JM_NOINLINE __attribute__((noinline))
#define JM_INLINE static inline __attribute__((always_inline))
#define JM_COLD __attribute__((noinline, cold))
#define JM_HOT __attribute__((aligned(64))) /* where it begins decides over 4 % of a pair */

/* What processors fetch, and take from each other, at once. */
#define JM_CACHE_LINE 64

/* A local variable that is not to be made zero, where a build does that with all. */
#define JM_LEFT_ALONE
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#undef JM_LEFT_ALONE
#define JM_LEFT_ALONE __attribute__((uninitialized))
#endif
#endif

/* Data that only the library's own files name: reached without a detour through the linker's tables. */
#if !defined(_WIN32)
#define JM_HIDDEN __attribute__((visibility("hidden")))
#else
#define JM_HIDDEN
#endif

/* The convention of a host's callbacks; it differs from the default on 32-bit Windows only. */
#if defined(_WIN32)
#define JM_CALLBACK __stdcall
#else
#define JM_CALLBACK
#endif

/* Prints one line, what failed and where, and aborts. In line.c. */
_Noreturn void jm_check_failed(const char *what, const char *file, int number);

/* JM_CHECK: what a caller or a broken OS could cause; always on. JM_ASSERT: what we believe. */
#define JM_CHECK(condition) \
    (JM_LIKELY(condition) ? (void)0 : jm_check_failed(#condition, __FILE__, __LINE__))
#ifdef JM_DEBUG
#define JM_ASSERT(condition) JM_CHECK(condition)
#else
#define JM_ASSERT(condition) ((void)0)
#endif

/* Keeps a value in a register, and hides from the compiler how it came there. */
#define JM_PIN(value) __asm__("" : "+r"(value))

/* Has a cache line fetched that will be written, wherever it may be: it is taken from the thread that wrote it last, at
 * once and not in two steps. GCC emits this instruction only where it is told of a processor that has it; all of 64 bits
 * have it or pass over it. */
#if defined(__x86_64__)
#define JM_PREFETCH(address) \
    __asm__ volatile("prefetchw %0" : : "m"(*(const volatile char *)(address)))
#else
#define JM_PREFETCH(address) __builtin_prefetch((address), 1)
#endif

/* Rounds up to a multiple of a power of two; the caller has made sure that the sum does not wrap. */
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

/* How often a size is to be doubled until it is at least `least`. */
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
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
