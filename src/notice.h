/*
 * Layer 4: notices, the callbacks that JsCollectGarbage calls first. Few hosts set one: each lies apart from its runtime.
 */
#ifndef JM_NOTICE_H
#define JM_NOTICE_H

#include "runtime.h"

struct jm_notice {
    struct jm_slot slot; /* first: the registry knows nothing more */
    struct jm_hook hook;
    struct jm_runtime *runtime;
};

/* Makes room for a runtime's before-collect callback, which it keeps. pre: its lock is not held. False: no memory. */
bool jm_notice_add(struct jm_ref ref);

/* Takes back one that no runtime has any more; or NULL. */
void jm_notice_give(struct jm_notice *notice);

/* Calls the host, which may leave by an exception or a jump. */
void jm_notice_call(struct jm_notice *notice);

#endif
