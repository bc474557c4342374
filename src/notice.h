/*
 * Layer 4: notices, the callbacks that JsCollectGarbage calls first. Few hosts set one, so a notice
 * lies apart from its runtime.
 */
#ifndef JM_NOTICE_H
#define JM_NOTICE_H

#include "runtime.h"

struct jm_notice {
    struct jm_slot slot; /* first: the registry knows only this */
    struct jm_hook hook;
    struct jm_runtime *runtime;
};

/* Gives a runtime its notice, which it keeps. NULL if there is no memory. pre: it has none, and its
 * lock is held. */
struct jm_notice *jm_notice_add(struct jm_runtime *runtime);

/* Takes back a notice that no runtime has any more. NULL does nothing. */
void jm_notice_give(struct jm_notice *notice);

/* Calls the host, which may leave by an exception or a jump. */
void jm_notice_call(struct jm_notice *notice);

#endif
