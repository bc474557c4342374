/*
 * Layer 0: atomics that name their memory order. They work on _Atomic objects of any scalar type.
 */
#ifndef JM_ATOMIC_H
#define JM_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define jm_load_relaxed(object) atomic_load_explicit((object), memory_order_relaxed)
#define jm_load_acquire(object) atomic_load_explicit((object), memory_order_acquire)
#define jm_load_seq_cst(object) atomic_load_explicit((object), memory_order_seq_cst)
#define jm_store_relaxed(object, value) \
    atomic_store_explicit((object), (value), memory_order_relaxed)
#define jm_store_release(object, value) \
    atomic_store_explicit((object), (value), memory_order_release)

/* Adds without a locked instruction. For fields with one writer at a time. */
#define jm_add_owned(object, value) jm_store_relaxed((object), jm_load_relaxed(object) + (value))

/*
 * For the fast paths: one instruction each on x86-64 (LP64).
 * jm_equals_*, jm_exceeds: compare with memory. Compilers load an atomic to a register first.
 * jm_load_byte, jm_store_byte: access a byte as an integer. Compilers add a redundant extension.
 * jm_subtract: compares a byte with a constant, and computes the difference.
 */
#if defined(__SANITIZE_THREAD__)
#define JM_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define JM_THREAD_SANITIZER 1
#endif
#endif
#if defined(__LP64__) && defined(__x86_64__) && !defined(JM_THREAD_SANITIZER)
static inline size_t jm_load_byte(const _Atomic(uint8_t) *object)
{
    size_t value;
    __asm__("movzbl %1, %k0" : "=r"(value) : "m"(*object));
    return value;
}

static inline void jm_store_byte(_Atomic(uint8_t) *object, unsigned value)
{
    __asm__ volatile("movb %b1, %0" : "=m"(*object) : "q"(value));
}

/* Subtracts a constant from the result of jm_load_byte. True if the difference is above 0; else
 * *value is useless. */
static inline bool jm_subtract(size_t *value, unsigned constant)
{
    size_t rest = *value;
    bool is_above;
    __asm__("subl %2, %k0" : "+r"(rest), "=@cca"(is_above) : "ri"(constant));
    *value = rest;
    return is_above;
}

static inline bool jm_exceeds(const _Atomic(size_t) *object, size_t value)
{
    bool is_above;
    __asm__("cmpq %2, %1" : "=@cca"(is_above) : "m"(*object), "r"(value));
    return is_above;
}

static inline bool jm_equals_byte(const _Atomic(uint8_t) *object, uint8_t value)
{
    bool is_equal;
    __asm__("cmpb %2, %1" : "=@cce"(is_equal) : "m"(*object), "q"(value));
    return is_equal;
}

static inline bool jm_equals_pointer(const _Atomic(const void *) *object, const void *value)
{
    bool is_equal;
    __asm__("cmpq %2, %1" : "=@cce"(is_equal) : "m"(*object), "r"(value));
    return is_equal;
}
#else
static inline size_t jm_load_byte(const _Atomic(uint8_t) *object)
{
    return jm_load_relaxed(object);
}

static inline void jm_store_byte(_Atomic(uint8_t) *object, unsigned value)
{
    jm_store_relaxed(object, (uint8_t)value);
}

static inline bool jm_subtract(size_t *value, unsigned constant)
{
    bool is_above = *value > constant;
    *value -= constant;
    return is_above;
}

static inline bool jm_exceeds(const _Atomic(size_t) *object, size_t value)
{
    return jm_load_relaxed(object) > value;
}

static inline bool jm_equals_byte(const _Atomic(uint8_t) *object, uint8_t value)
{
    return jm_load_relaxed(object) == value;
}

static inline bool jm_equals_pointer(const _Atomic(const void *) *object, const void *value)
{
    return jm_load_relaxed(object) == value;
}
#endif

/* Zeroes shared bytes, in no particular order. */
static inline void jm_zero_bytes(_Atomic(uint8_t) *bytes, size_t count)
{
#if defined(JM_THREAD_SANITIZER)
    for (size_t i = 0; i < count; i++) {
        jm_store_relaxed(&bytes[i], 0);
    }
#else
    memset((void *)bytes, 0, count);
#endif
}

/* Copies shared bytes, in no particular order. */
static inline void jm_copy_bytes(uint8_t *copy, const _Atomic(uint8_t) *bytes, size_t count)
{
#if defined(JM_THREAD_SANITIZER)
    for (size_t i = 0; i < count; i++) {
        copy[i] = jm_load_relaxed(&bytes[i]);
    }
#else
    memcpy(copy, (const void *)bytes, count);
#endif
}

/* A sequentially consistent fence after a locked instruction. On x86 that instruction is such a
 * fence already. */
#if (defined(__x86_64__) || defined(__i386__)) && !defined(JM_THREAD_SANITIZER)
#define jm_fence_after_locked() atomic_signal_fence(memory_order_seq_cst)
#else
#define jm_fence_after_locked() atomic_thread_fence(memory_order_seq_cst)
#endif

/* Strong compare-and-swap: acquire on success of `expected` -> `desired`. */
#define jm_cas_acquire(object, expected, desired)                                                  \
    atomic_compare_exchange_strong_explicit((object), (expected), (desired), memory_order_acquire, \
                                            memory_order_relaxed)

#endif
