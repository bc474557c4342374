/*
 * Layer 3: sweeping. Walks the state maps of a heap's small blocks, joins neighbouring free objects, and
 * makes all free lists anew; where there are many, most of it later, as it is needed. The map alone decides: it also mends
 * lists that a stray write broke.
 */
#ifndef JM_SWEEP_H
#define JM_SWEEP_H

#include "survey.h"

/* post: no free object could be larger by taking from the next one; the span is retired. Queued objects
 * stay as they are. Of many free objects only those of some blocks are listed. */
void jm_sweep(struct jm_arena *arena);

/* The same, and gives back runs of free pages, of at least `least` granules, or of any length beside a hole, until they
 * have `enough` bytes: they become holes. Returns their bytes, which the quota is still charged for. `again`: nothing has
 * changed since the last sweep. */
size_t jm_sweep_and_give(struct jm_arena *arena, size_t least, size_t enough, bool again);

/* Lists more of what is free, from where there is room for an object of class `code`, and retires the span; but only where
 * nothing listed has room for one, or nothing as short as all that is in no list: else each request would list some, or cut up
 * what something large needs. False: it did not, or found no room. pre: what was freed last is listed. */
bool jm_sweep_list(struct jm_arena *arena, unsigned code);

/* Shorter runs of free pages are kept, in granules: they serve again soon, and a host is not asked for each page. But
 * they go beside a hole, where something large has no room otherwise, and where a heap that is not small is collected. */
#define JM_HOLE_MIN ((size_t)64 << 10 >> JM_GRANULE_BITS)

#endif
