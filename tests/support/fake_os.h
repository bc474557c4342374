/*
 * Stands between the library and os.h, by the linker's --wrap: counts the calls, refuses those
 * that a test names, and keeps account of what is mapped, so that no leak goes unseen.
 *
 * Any thread may call the library meanwhile; the functions here are for the main thread.
 */
#ifndef JM_TESTS_FAKE_OS_H
#define JM_TESTS_FAKE_OS_H

#include <stdbool.h>
#include <stddef.h>

enum fake_function {
    FAKE_MAP,
    FAKE_UNMAP,
    FAKE_DISCARD,
    FAKE_RESERVE,
    FAKE_EXTEND,
    FAKE_MOVE,
    FAKE_SHRINK,
    FAKE_COMMIT,
    FAKE_DECOMMIT,
    FAKE_PURGE,
    FAKE_RETURN, /* FAKE_UNMAP or FAKE_DECOMMIT */
    FAKE_ALL     /* any of them; the number of functions */
};
extern const char *const fake_names[FAKE_ALL + 1];

/* Restarts the counts from 0, and refuses nothing. */
void fake_os_reset(void);

/* Refuses the `nth` call from now on, counted from 1, and with `onward` all later ones. Restarts
 * the counts from 0. errno is set to `error`; 0 leaves it alone. */
void fake_os_refuse(enum fake_function function, size_t nth, bool onward, int error);

/* With true, mappings aligned to more than a page lie in a larger reservation, as if the OS
 * found no aligned place. */
void fake_os_reserve_more(bool reserves_more);

/* Calls since the counts started, and how many of them were refused. */
size_t fake_os_calls(enum fake_function function);
size_t fake_os_refused(void);

/* Called at each call, before it is refused or made. NULL: none. */
typedef void (*fake_hook)(void *context, enum fake_function function, size_t nth_of_all);
void fake_os_watch(fake_hook hook, void *context);

/* Bytes that the library has mapped or committed now; the part of them that is no table of the
 * process; and bytes of bare reservations, except the region's. A mapping that could not be
 * discarded counts until the next mapping, which discards it. */
size_t fake_os_mapped(void);
size_t fake_os_held(void);
size_t fake_os_reserved(void);

/* The first thing that the library did against the rules of os.h. NULL: nothing. */
const char *fake_os_fault(void);

#endif
