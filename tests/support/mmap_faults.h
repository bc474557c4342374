/*
 * Stands between the library, linked in either way, and the libc's mmap family: this program's own
 * mmap, munmap, mremap, mprotect and madvise. Counts the calls, refuses those that a test names,
 * and sums up what is mapped. Mappings that the libc makes for itself are not seen.
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

/* Refuses the `nth` call of these functions from now on, counted from 1, and with `onward` all
 * later ones, with errno `error`. Restarts the counts from 0. */
void mmap_faults_arm(unsigned functions, size_t nth, bool onward, int error);

/* Refuses nothing; restarts the counts from 0. */
void mmap_faults_disarm(void);

/* Calls `callback` once, after the next successful call of one of these functions, on the same
 * thread and with the same address. */
void mmap_faults_after(unsigned functions, void (*callback)(void *address));

/* Calls of one function, or of all, since the counts started; calls that were refused. */
size_t mmap_faults_calls(unsigned function);
size_t mmap_faults_refused(void);

/* Bytes that were mapped through these functions and still are. Of reservations without access,
 * only what was opened counts. Of the library's region, which is reserved once and for all, only
 * what its blocks have: opened, and not given back by madvise since. */
size_t mmap_faults_mapped(void);

#endif
