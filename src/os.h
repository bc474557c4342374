/*
 * Layer 1: what the library needs of an operating system. os_posix.c and os_windows.c implement it.
 *
 * Sizes and addresses of memory are multiples of the page size unless said otherwise. A function
 * that returns false or NULL has changed nothing, whatever errno the OS gave. Exceptions: after a
 * failed jm_os_decommit, jm_os_decommit_part or jm_os_purge, the contents may be lost.
 */
#ifndef JM_OS_H
#define JM_OS_H

#include "base.h"

/* A range of address space that was obtained as one piece and must be returned as one piece. */
struct jm_os_extent {
    void *address;
    size_t size;
};

/* post: a power of two, constant for the life of the process. */
size_t jm_os_page_size(void);

/*
 * Maps `size` bytes, readable, writable and zero.
 * pre:  `alignment` is a power of two, at least the page size; size + alignment does not wrap.
 * post: the result is aligned; `extent` is for jm_os_unmap. The extent may be larger than
 *       `size`: the rest of it is only reserved address space. NULL: refused.
 */
void *jm_os_map(size_t size, size_t alignment, struct jm_os_extent *extent);

/* Returns a whole extent. post: true: the memory is gone; false: it is untouched. */
bool jm_os_unmap(const struct jm_os_extent *extent);

/* Returns a whole extent: now or, if the OS refuses, in a later call. */
void jm_os_discard(const struct jm_os_extent *extent);

/* Reserves address space, without memory and inaccessible. post: NULL: refused. */
void *jm_os_reserve(size_t size);

/*
 * Makes a part of a jm_os_reserve result readable, writable and zero.
 * Pages that are committed already keep their contents. post: false: nothing changed.
 */
bool jm_os_commit(void *address, size_t size);

/* Gives back the memory of a committed part, or of a part of a mapping. The addresses stay
 * reserved; on some systems they stay accessible and read as zeros. post: false: still committed;
 * the contents may be lost. */
bool jm_os_decommit(void *address, size_t size);

/* Like jm_os_decommit, but fails rather than use up one of the process's mappings for a range too
 * small for it. */
bool jm_os_decommit_part(void *address, size_t size);

/* Asks the OS to use pages of the base size there: with huge pages, sparse accesses would take
 * megabytes. */
void jm_os_avoid_huge_pages(void *address, size_t size);

/* Asks the OS to use huge pages there. For ranges of which most will be used. */
void jm_os_prefer_huge_pages(void *address, size_t size);

/* Splits the huge page that contains `page`, if there is one. Memory given back from an unsplit
 * huge page becomes free only once all of that page is given back, or the system runs short. The
 * contents of `page` may be lost. */
void jm_os_split_huge_page(void *page);

/* Asks the OS to populate a mapping at once, with huge pages where it fills any. A page fault for
 * each page would take longer. No effect on systems that cannot. */
void jm_os_populate(void *address, size_t size);

/* Zeroes committed memory by replacing its pages, if the OS does that in one step: other threads
 * may read it meanwhile. Sizes and addresses need not be multiples of the page size. post: false:
 * still committed. */
bool jm_os_purge(void *address, size_t size);

/* Grows a mapping in place, with zeros. pre: new_size > old_size; the mapping is a whole extent. */
bool jm_os_extend(void *address, size_t old_size, size_t new_size);

/* Grows a mapping, with zeros; it may move to wherever the OS has room. post: NULL: nothing
 * changed. */
void *jm_os_move(void *address, size_t old_size, size_t new_size);

/* Gives back the end of a mapping. pre: new_size < old_size. */
bool jm_os_shrink(void *address, size_t old_size, size_t new_size);

/* Fills a buffer with bytes that an attacker cannot guess. If the OS has no generator, they derive
 * from clocks and addresses and can be guessed. pre: size <= 256. */
void jm_os_random(void *buffer, size_t size);

#define JM_PAUSE_SPINS 32
#define JM_PAUSE_YIELDS 64
#define JM_PAUSE_AWAKE (JM_PAUSE_SPINS + JM_PAUSE_YIELDS) /* attempts without a sleep */

/* Backs off: the higher `attempt`, the longer. The first JM_PAUSE_SPINS attempts spin, the next
 * JM_PAUSE_YIELDS yield, all later ones sleep, up to 1 ms or one system tick. */
void jm_os_pause(unsigned attempt);

/* True if both addresses lie on the calling thread's own stack and can thus be compared. False if
 * the OS cannot tell. The libc may call its malloc for this. */
bool jm_os_on_stack(uintptr_t first, uintptr_t second);

/* Registers handlers that the forking thread runs around each fork. Call it once. post: false: the
 * OS has no room. */
bool jm_os_watch_forks(void (*before)(void), void (*after_in_parent)(void),
                       void (*after_in_child)(void));

/* Prepares for jm_os_watch_thread: a watched thread calls `thread_exit` as it ends. post: false:
 * the OS has no room. */
bool jm_os_init(void (*thread_exit)(void));

/* Requests thread_exit for the calling thread. post: false: the OS has no room. */
bool jm_os_watch_thread(void);

/* Writes one line to standard error, in one piece, without allocating. */
void jm_os_complain(const char *line);

/* The value of an environment variable, valid until the next call. NULL if it is not set, or if
 * whoever set it cannot be trusted. */
const char *jm_os_environment(const char *name);

#endif
