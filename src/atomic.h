/*
 * Layer 0: atomics whose names say their order. They work on _Atomic objects of any scalar type.
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

/* Adds without a locked instruction: for fields with one writer at a time. */
#define jm_add_owned(object, value) jm_store_relaxed((object), jm_load_relaxed(object) + (value))

/*
 * For the fast paths, in one instruction where the processor has it:
 * jm_equals_*, jm_exceeds: a comparison with memory, of which compilers make two, with a register between.
 * jm_load_byte, jm_store_byte: a byte as an integer, which they extend once too often;
 * jm_subtract: a comparison, and how much of a byte is beyond, if any.
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

/* Takes a constant off what jm_load_byte gave. True where more than 0 is left; else what is left is of no use. */
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

/* Makes shared bytes zero, in no order. */
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

/* Copies shared bytes, in no order. */
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

/* A sequentially consistent fence behind a locked instruction, which some processors have in it already. */
#if (defined(__x86_64__) || defined(__i386__)) && !defined(JM_THREAD_SANITIZER)
#define jm_fence_after_swap() atomic_signal_fence(memory_order_seq_cst)
#else
#define jm_fence_after_swap() atomic_thread_fence(memory_order_seq_cst)
#endif

/* Strong compare-and-swap: acquire on success of `expected` -> `desired`. */
#define jm_swap_acquire(object, expected, desired)                                                 \
    atomic_compare_exchange_strong_explicit((object), (expected), (desired), memory_order_acquire, \
                                            memory_order_relaxed)

#endif
