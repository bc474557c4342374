/*
 * Stands between the library, linked in either way, and the libc's mmap family: this program's own
 * mmap, munmap, mremap, mprotect and madvise. Counts the calls, refuses those that a test names, and
 * sums up what is mapped. What the libc maps for itself does not come by.
 *
 * Any thread may call meanwhile; the functions here are for the main thread.
 */
#ifndef JM_TESTS_MMAP_FAULTS_H
#define JM_TESTS_MMAP_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

enum mmap_function {
    MMAP_MAP = 1,
    MMAP_UNMAP = 2,
    MMAP_REMAP = 4,
    MMAP_PROTECT = 8,
    MMAP_ADVISE = 16,
    MMAP_ALL = 31
};

/* Refuses the `nth` call of these functions from now on, counted from 1, and, with `onward`, all that
 * follow, with errno `error`. The counts start from 0. */
void mmap_faults_arm(unsigned functions, size_t nth, bool onward, int error);

/* Refuses nothing; the counts start from 0. */
void mmap_faults_disarm(void);

/* Has `callback` told, once, by the thread and with the address that one of these functions was called for, when the
 * call has succeeded. */
void mmap_faults_after(unsigned functions, void (*callback)(void *address));

/* Calls of one function, or of all, since the counts started; how many calls were refused. */
size_t mmap_faults_calls(unsigned function);
size_t mmap_faults_refused(void);

/* Bytes that came by and are mapped now; of what is reserved without access, what was opened. Of the library's
 * region, which is reserved once and for all, the parts that its blocks have: opened, and not given back by advice
 * since. */
size_t mmap_faults_mapped(void);

#endif
