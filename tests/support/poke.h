/*
 * What a test does and no host may do: read and write memory that was freed or never handed out.
 * AddressSanitizer does not check these functions.
 */
#ifndef JM_TESTS_POKE_H
#define JM_TESTS_POKE_H

#include <stdbool.h>
#include <stddef.h>

#define JM_POKE static __attribute__((noinline, unused, no_sanitize("address")))

/* Copies byte by byte: AddressSanitizer would check memcpy. */
JM_POKE void poke(void *to, const void *from, size_t size)
{
    volatile unsigned char *byte = to;
    for (size_t i = 0; i < size; i++) {
        byte[i] = ((const unsigned char *)from)[i];
    }
}

JM_POKE void poke_fill(void *to, unsigned char value, size_t size)
{
    volatile unsigned char *byte = to;
    for (size_t i = 0; i < size; i++) {
        byte[i] = value;
    }
}

JM_POKE bool peek_is_zero(const void *from, size_t size)
{
    const volatile unsigned char *byte = from;
    size_t i = 0;
    while (i < size && byte[i] == 0) {
        i++;
    }
    return i == size;
}

#endif
