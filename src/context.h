/*
 * Layer 4: contexts, records beside the registry that belong to a runtime.
 *
 * A context lives until its runtime is disposed, or until its count, once raised, is back at 0
 * while it is not current. Once it has a handle, all fields are written under the runtime's lock.
 */
#ifndef JM_CONTEXT_H
#define JM_CONTEXT_H

#include "runtime.h"

struct jm_context {
    struct jm_slot slot; /* first: the registry knows only this */
    uint32_t references; /* without the one for being current */
    _Atomic(struct jm_runtime *) runtime;
    _Atomic(void *) data;
    uint32_t next, previous; /* list of the runtime's contexts: index + 1 */
    bool current;            /* on the thread that uses the runtime */
    bool raised;             /* `references` has been above 0 */
};

JM_INLINE struct jm_ref jm_context_find(const void *handle)
{
    return jm_registry_find(JM_KIND_CONTEXT, (uintptr_t)handle);
}

static inline struct jm_context *jm_context_at(struct jm_ref ref)
{
    return (struct jm_context *)(void *)ref.slot;
}

/* Creates a context of a runtime that the calling thread uses. 0 if there is no memory or no handle
 * left. */
uintptr_t jm_context_create(struct jm_runtime *runtime);

/* Makes all contexts of a runtime stale. pre: none is current; the calling thread uses the runtime
 * and holds its lock. */
void jm_context_dispose_all(struct jm_runtime *runtime);

/* Takes in what others have freed of a context's runtime, see jm_runtime_take_in. Host code may
 * run. Does nothing for a null slot or a stale handle. */
void jm_context_take_in(struct jm_ref ref);

/* Makes a context, or none (a null slot), current on this thread, replacing the previous one. */
enum jm_access jm_context_set_current(struct jm_ref ref);

/* Returns the context that is current on this thread; a null slot if there is none. */
struct jm_ref jm_context_current(void);

/* Counts up or down by one. `count` receives the new count, being current included; may be null. */
enum jm_count { JM_COUNTED, JM_COUNT_STALE, JM_COUNT_LIMIT };
enum jm_count jm_context_count(struct jm_ref ref, bool up, unsigned *count);

/* Reads or writes the data. False if the handle is stale. */
bool jm_context_get_data(struct jm_ref ref, void **data);
bool jm_context_set_data(struct jm_ref ref, void *data);

#endif
