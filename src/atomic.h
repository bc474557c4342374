/*
 * Layer 0: atomics whose names say their order. They work on _Atomic objects of any scalar type.
 */
#ifndef JM_ATOMIC_H
#define JM_ATOMIC_H

#include <stdatomic.h>

#define jm_load_relaxed(object) atomic_load_explicit((object), memory_order_relaxed)
#define jm_load_acquire(object) atomic_load_explicit((object), memory_order_acquire)
#define jm_load_seq_cst(object) atomic_load_explicit((object), memory_order_seq_cst)
#define jm_store_relaxed(object, value) \
    atomic_store_explicit((object), (value), memory_order_relaxed)
#define jm_store_release(object, value) \
    atomic_store_explicit((object), (value), memory_order_release)
#define jm_store_seq_cst(object, value) \
    atomic_store_explicit((object), (value), memory_order_seq_cst)

/* Adds without a locked instruction: for fields with one writer at a time. */
#define jm_add_owned(object, value) jm_store_relaxed((object), jm_load_relaxed(object) + (value))

/* Strong compare-and-swap: acquire on success of `expected` -> `desired`. */
#define jm_swap_acquire(object, expected, desired)                                                 \
    atomic_compare_exchange_strong_explicit((object), (expected), (desired), memory_order_acquire, \
                                            memory_order_relaxed)

#endif
