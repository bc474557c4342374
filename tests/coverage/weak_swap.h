/*
 * Included before everything else in a build that measures coverage. A weak compare-and-swap may fail
 * though nothing changed; on x86 it never does. Here every third one does: the value that it expects is
 * inverted first, which is never what is there.
 */
#include <stdatomic.h>
#include <stdbool.h>

bool coverage_weak_swap_fails(void);

#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit(object, expected, desired, success, failure) \
    (*(expected) ^= -(__typeof__(*(expected)))coverage_weak_swap_fails(),                  \
     atomic_compare_exchange_strong_explicit((object), (expected), (desired), success, failure))
