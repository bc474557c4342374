/*
 * Interprets any bytes as operations of the public API, runs them, and compares the library with a
 * model: see ops.c. A fault is printed and aborts.
 */
#ifndef JM_TESTS_FUZZ_OPS_H
#define JM_TESTS_FUZZ_OPS_H

#include <stddef.h>
#include <stdint.h>

void ops_run(const uint8_t *data, size_t size);

/* What has been run so far: operations, and refusals by jsrtmem_refusal. */
struct ops_tally {
    size_t inputs, operations, events, refusals[8], faults, crossings;
};
extern struct ops_tally ops_tally;

#endif
