/*
 * Layer 4: the library in its process: initialization and fork.
 *
 * A fork waits for all locks of the library and holds them, so the child finds a consistent state,
 * except for runtimes that other threads used, which it can dispose.
 */
#ifndef JM_PROCESS_H
#define JM_PROCESS_H

#include <stdbool.h>

/* Prepares the library. Cheap after the first time. post: false if the OS has no room. */
bool jm_process_init(void);

#endif
