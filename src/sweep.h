/*
 * Layer 3: sweeping. A sweep walks the state maps of a heap's small blocks, joins neighbouring free
 * objects and rebuilds the free lists. If there are many free runs, most of them are listed later,
 * as they are needed. The map alone decides what is free, so a sweep also mends lists that a stray
 * write broke.
 */
#ifndef JM_SWEEP_H
#define JM_SWEEP_H

#include "survey.h"

/* Sweeps a heap. Queued objects stay as they are. If there are many free runs, only those of some
 * blocks are listed. post: no free object could be larger by taking granules from a free one behind
 * it; the span is retired. */
void jm_sweep(struct jm_arena *arena);

/* Sweeps as jm_sweep does and turns runs of free pages into holes until they amount to `enough`
 * bytes: runs of at least `least` granules and, beside a hole, of at least a page. Returns the
 * bytes decommitted, which the quota is still charged for. `again`: nothing has changed since the
 * last sweep. */
size_t jm_sweep_and_decommit(struct jm_arena *arena, size_t least, size_t enough, bool again);

/* Lists more free runs, from blocks that may have room for an object of class `code`, and retires
 * the span. Does nothing if no unlisted run is long enough, or if a listed object that is long
 * enough is no longer than the longest unlisted run: otherwise each request would list some. A
 * longer listed object is spared for something large. False if it did nothing, or no run that it
 * listed is long enough. pre: the object that was freed last is listed. */
bool jm_sweep_list(struct jm_arena *arena, unsigned code);

/* Granules. Shorter runs of free pages are kept: they soon serve again, and the host is not asked
 * for each page. They are decommitted beside a hole, if something large has no room otherwise, and
 * by a collect of a heap that is large or loose (see jm_demand_is_loose). */
#define JM_HOLE_MIN ((size_t)64 << 10 >> JM_GRANULE_BITS)

#endif
