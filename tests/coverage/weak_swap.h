/*
 * Included before everything else where branches are measured, and by mutate.py. A weak
 * compare-and-swap may fail spuriously, but on x86 it never does. Here every third one does: the
 * expected value is inverted first, so it never matches.
 */
#include <stdatomic.h>
#include <stdbool.h>

/* All ones, or 0. */
__attribute__((unused, noinline, no_profile_instrument_function)) static unsigned
weak_swap_spoils(void)
{
    static atomic_uint swaps;
    return atomic_fetch_add_explicit(&swaps, 1, memory_order_relaxed) % 3 == 1 ? ~0u : 0;
}

#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit(object, expected, desired, success, failure) \
    (*(expected) ^= (__typeof__(*(expected)))(int)weak_swap_spoils(),                      \
     atomic_compare_exchange_strong_explicit((object), (expected), (desired), success, failure))
