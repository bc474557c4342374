/*
 * Layer 1: what the library needs of an operating system. os_posix.c and os_windows.c implement it.
 *
 * Sizes and addresses of memory are multiples of the page size unless said otherwise. A function
 * that returns false or NULL has changed nothing, whatever errno the OS gave; but for the two jm_os_decommit*, and
 * jm_os_purge where that is one.
 */
#ifndef JM_OS_H
#define JM_OS_H

#include "base.h"

/* A stretch of address space that was obtained, and will be returned, as one piece. */
struct jm_os_extent {
    void *address;
    size_t size;
};

/* post: a power of two, constant for the life of the process. */
size_t jm_os_page_size(void);

/*
 * Maps `size` bytes, readable, writable and zero.
 * pre:  `alignment` is a power of two, at least the page size.
 * post: the result is aligned; `extent` is what jm_os_unmap takes. It may be larger than
 *       `size`: what it holds beside the result is reserved address space only. NULL: refused.
 */
void *jm_os_map(size_t size, size_t alignment, struct jm_os_extent *extent);

/* Returns a whole extent. post: true: the memory is gone; false: it is untouched. */
bool jm_os_unmap(const struct jm_os_extent *extent);

/* Returns a whole extent that nobody needs any more: now or, where the OS refuses, in a later call. */
void jm_os_discard(const struct jm_os_extent *extent);

/* Reserves address space, which holds no memory and cannot be read. post: NULL: refused. */
void *jm_os_reserve(size_t size);

/*
 * Makes a part of what jm_os_reserve gave readable, writable and zero.
 * What was committed before stays as it is. post: false: all of it is as it was.
 */
bool jm_os_commit(void *address, size_t size);

/* Gives the memory of a committed part, or of a part of a mapping, back; the addresses stay reserved, and on some
 * systems accessible, as zeros. post: false: it is committed still; what it held may be lost. */
bool jm_os_decommit(void *address, size_t size);

/* The same, unless it would cost a mapping of the process for less than is worth one. */
bool jm_os_decommit_part(void *address, size_t size);

/* Asks the OS to use pages of the usual size for what is committed there: what is touched here and there
 * would else take megabytes. */
void jm_os_avoid_huge_pages(void *address, size_t size);

/* Asks the OS to use huge pages there, where most of each will be used. */
void jm_os_prefer_huge_pages(void *address, size_t size);

/* Splits the huge page that a page is a part of, if it is: of one that is whole, memory is not free before all of it is given
 * back, or the system is short. What the page holds may be lost. */
void jm_os_split_huge_page(void *page);

/* Asks the OS for the memory of a mapping at once, where it can, in huge pages where it fills any: to get it page by
 * page, as it is touched, takes longer. */
void jm_os_populate(void *address, size_t size);

/* Makes committed memory zero by giving it back and getting it anew, if the OS does that in one step, so that
 * others may look meanwhile. Sizes and addresses of any kind. post: false: it is committed still. */
bool jm_os_purge(void *address, size_t size);

/* Grows a mapping in place, with zeros. pre: new_size > old_size, not part of a larger extent. */
bool jm_os_extend(void *address, size_t old_size, size_t new_size);

/* Grows a mapping, with zeros, and moves it to wherever the OS has room. post: NULL: nothing changed. */
void *jm_os_move(void *address, size_t old_size, size_t new_size);

/* Gives back the end of a mapping. pre: new_size < old_size. */
bool jm_os_shrink(void *address, size_t old_size, size_t new_size);

/* Fills a buffer with bytes that an attacker cannot guess; where the OS has no generator, with what clocks and addresses
 * give, which can be guessed. pre: size <= 256. */
void jm_os_random(void *buffer, size_t size);

/* Waits a little; longer, the higher `attempt` is: so often it spins, then it yields, then it sleeps, up to 1 ms or a tick
 * of the system. */
#define JM_PAUSE_SPINS 32
#define JM_PAUSE_YIELDS 64
#define JM_PAUSE_AWAKE (JM_PAUSE_SPINS + JM_PAUSE_YIELDS) /* attempts without a sleep */
void jm_os_pause(unsigned attempt);

/* True where both addresses lie on the calling thread's own stack, so that they can be compared. The libc may use its
 * malloc to find out. */
bool jm_os_on_stack(uintptr_t first, uintptr_t second);

/* Has these called around each fork, by the thread that forks. Once. post: false: the OS has no room. */
bool jm_os_watch_forks(void (*before)(void), void (*after_in_parent)(void),
                       void (*after_in_child)(void));

/* Prepares for what follows. `thread_exit` is called on a thread that asked for it, as it ends. post: false: the OS
 * has no room. */
bool jm_os_init(void (*thread_exit)(void));

/* Asks for thread_exit on this thread. post: false: the OS has no room. */
bool jm_os_watch_thread(void);

/* Writes one line to standard error, in one piece, without allocating. */
void jm_os_complain(const char *line);

/* The value of an environment variable, or NULL: it is not set, or whoever set it is not to be trusted. */
const char *jm_os_environment(const char *name);

#endif
