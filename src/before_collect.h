/*
 * Layer 4: the before-collect callback of a runtime, which JsCollectGarbage calls first. Few hosts
 * set one, so its record lies apart from the runtime.
 */
#ifndef JM_BEFORE_COLLECT_H
#define JM_BEFORE_COLLECT_H

#include "runtime.h"

struct jm_before_collect {
    struct jm_slot slot; /* first: the registry knows only this */
    struct jm_hook hook;
    struct jm_runtime *runtime;
};

/* Creates a runtime's record, which the runtime keeps. NULL if there is no memory. pre: the runtime
 * has none, and its lock is held. */
struct jm_before_collect *jm_before_collect_create(struct jm_runtime *runtime);

/* Disposes a record that no runtime has any more. NULL does nothing. */
void jm_before_collect_dispose(struct jm_before_collect *record);

/* Calls the host, which may leave by an exception or a jump. */
void jm_before_collect_call(struct jm_before_collect *record);

#endif
