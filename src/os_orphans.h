/*
 * Layer 1: extents that the OS would not take back when they were discarded. It is asked again before
 * anything is mapped, and nothing is while half of the places are taken, so that no extent is lost: a mapping
 * discards a few extents at most.
 */
#ifndef JM_OS_ORPHANS_H
#define JM_OS_ORPHANS_H

#include "os.h"

/* Keeps an extent to be given back later. */
void jm_orphans_keep(const struct jm_os_extent *extent);

/* Gives back what `unmap` takes now. False: too many are left to map more. */
bool jm_orphans_retry(bool (*unmap)(const struct jm_os_extent *));

void jm_orphans_before_fork(void);
void jm_orphans_after_fork(void);

#endif
