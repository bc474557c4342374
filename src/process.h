/*
 * Layer 4: the library in its process: how it begins, and what a fork does to it.
 *
 * A fork waits until no thread is inside of a lock of the library's, and takes them all; so what the child finds is whole,
 * but for the runtimes that other threads used, which it can dispose.
 */
#ifndef JM_PROCESS_H
#define JM_PROCESS_H

#include <stdbool.h>

/* Prepares the library. Cheap after the first time. post: false: the OS has no room. */
bool jm_process_init(void);

#endif
