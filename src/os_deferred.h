/*
 * Layer 1: deferred unmaps, of extents that the OS refused when they were discarded. Each later
 * call that maps or reserves retries them first. It fails while half of the table is in use: the
 * other half is for discards since then, as one mapping discards a few extents at most. An extent
 * that finds the table full stays mapped and is lost.
 */
#ifndef JM_OS_DEFERRED_H
#define JM_OS_DEFERRED_H

#include "os.h"
#include "thread.h"

/* Keeps an extent for a later jm_os_deferred_retry. */
void jm_os_deferred_keep(const struct jm_os_extent *extent);

/* Gives back each extent that `unmap` accepts. False: too many are left to map anything. */
bool jm_os_deferred_retry(bool (*unmap)(const struct jm_os_extent *));

void jm_os_deferred_for_locks(jm_lock_step *step);

#endif
