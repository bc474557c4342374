#include "context.h"

#include "entry.h"

#define KIND JM_KIND_CONTEXT

static void unlock_runtime(const struct jm_runtime *runtime)
{
    jm_lock_drop(jm_runtime_lock_of(runtime));
}

/* Locks the runtime of a live context. NULL if the handle is stale. */
static struct jm_runtime *lock_runtime(struct jm_ref ref)
{
    if (ref.slot == NULL) {
        return NULL;
    }
    struct jm_runtime *runtime = jm_load_relaxed(&jm_context_at(ref)->runtime);
    if (!jm_registry_holds(ref)) {
        return NULL;
    }
    jm_lock_take(jm_runtime_lock_of(runtime));
    if (!jm_registry_holds(ref)) {
        unlock_runtime(runtime);
        return NULL;
    }
    return runtime;
}

static struct jm_context *at_link(uint32_t link)
{
    return link == 0 ? NULL : (struct jm_context *)(void *)jm_registry_slot(KIND, link - 1);
}

uintptr_t jm_context_create(struct jm_runtime *runtime)
{
    struct jm_context *context = (struct jm_context *)(void *)jm_registry_take(KIND);
    if (context == NULL) {
        return 0;
    }
    context->references = 0;
    context->current = context->raised = false;
    jm_store_relaxed(&context->data, NULL);
    jm_store_relaxed(&context->runtime, runtime);
    jm_lock_take(jm_runtime_lock_of(runtime));
    context->previous = 0;
    context->next = runtime->contexts;
    struct jm_context *next = at_link(context->next);
    if (next != NULL) {
        next->previous = context->slot.index + 1;
    }
    runtime->contexts = context->slot.index + 1;
    uintptr_t handle = jm_registry_publish(KIND, &context->slot);
    unlock_runtime(runtime);
    return handle;
}

/* pre: the lock is held. post: it still is. */
static void destroy(struct jm_runtime *runtime, struct jm_context *context)
{
    struct jm_context *next = at_link(context->next);
    struct jm_context *previous = at_link(context->previous);
    if (next != NULL) {
        next->previous = context->previous;
    }
    if (previous != NULL) {
        previous->next = context->next;
    } else {
        runtime->contexts = context->next;
    }
    jm_registry_retract(&context->slot);
    jm_registry_give(KIND, &context->slot);
}

static void destroy_if_unused(struct jm_runtime *runtime, struct jm_context *context)
{
    if (context->raised && context->references == 0 && !context->current) {
        destroy(runtime, context);
    }
}

void jm_context_dispose_all(struct jm_runtime *runtime)
{
    while (runtime->contexts != 0) {
        destroy(runtime, at_link(runtime->contexts));
    }
}

struct jm_ref jm_context_current(void)
{
    return jm_context_find((const void *)jm_thread.context);
}

/* Makes the thread's current context no longer current. pre: there is one. */
static void leave_current(struct jm_ref ref)
{
    struct jm_context *context = jm_context_at(ref);
    struct jm_runtime *runtime = lock_runtime(ref);
    JM_CHECK(runtime != NULL); /* untested: no context is current when its runtime is disposed */
    context->current = false;
    destroy_if_unused(runtime, context);
    unlock_runtime(runtime);
    jm_runtime_drop_entry(runtime);
}

/* The runtime of a context. False if the context's handle is stale. */
static bool runtime_of(struct jm_ref ref, struct jm_ref *runtime)
{
    runtime->slot = &jm_load_relaxed(&jm_context_at(ref)->runtime)->slot;
    runtime->tag = jm_load_acquire(&runtime->slot->tag) | 1;
    return jm_registry_holds(ref);
}

void jm_context_take_in(struct jm_ref ref)
{
    struct jm_ref runtime;
    if (ref.slot != NULL && runtime_of(ref, &runtime)) {
        jm_runtime_take_in(runtime);
    }
}

/* Enters a context's runtime and marks the context. */
static enum jm_access enter_context(struct jm_ref ref)
{
    struct jm_context *context = jm_context_at(ref);
    struct jm_ref owner;
    if (!runtime_of(ref, &owner)) {
        return JM_ACCESS_STALE;
    }
    struct jm_runtime *runtime = jm_runtime_at(owner);
    enum jm_access access = jm_runtime_take_entry(owner);
    if (access != JM_ACCESS_GRANTED) {
        return access;
    }
    if (lock_runtime(ref) == NULL) {
        jm_runtime_drop_entry(runtime);
        return JM_ACCESS_STALE;
    }
    context->current = true;
    unlock_runtime(runtime);
    return JM_ACCESS_GRANTED;
}

enum jm_access jm_context_set_current(struct jm_ref ref)
{
    struct jm_ref old = jm_context_current();
    if (ref.slot == old.slot) {
        return JM_ACCESS_GRANTED; /* none, or the same one: a current context is live */
    }
    if (ref.slot != NULL) {
        enum jm_access access = enter_context(ref);
        if (access != JM_ACCESS_GRANTED) {
            return access;
        }
    }
    jm_thread.context = ref.slot == NULL ? 0 : jm_registry_handle(KIND, ref.slot);
    if (old.slot != NULL) {
        leave_current(old);
    }
    jm_runtime_refresh_current();
    return JM_ACCESS_GRANTED;
}

enum jm_count jm_context_count(struct jm_ref ref, bool up, unsigned *count)
{
    struct jm_context *context = jm_context_at(ref);
    struct jm_runtime *runtime = lock_runtime(ref);
    if (runtime == NULL) {
        return JM_COUNT_STALE;
    }
    bool counted = up ? context->references < UINT32_MAX - 1 : context->references > 0;
    if (counted) {
        context->references += up ? 1 : UINT32_MAX;
        context->raised = true;
        if (count != NULL) {
            *count = context->references + context->current;
        }
        destroy_if_unused(runtime, context);
    }
    unlock_runtime(runtime);
    return counted ? JM_COUNTED : JM_COUNT_LIMIT;
}

bool jm_context_get_data(struct jm_ref ref, void **data)
{
    void *value = jm_load_relaxed(&jm_context_at(ref)->data);
    if (!jm_registry_holds(ref)) {
        return false;
    }
    *data = value;
    return true;
}

bool jm_context_set_data(struct jm_ref ref, void *data)
{
    struct jm_runtime *runtime = lock_runtime(ref);
    if (runtime == NULL) {
        return false;
    }
    jm_store_release(&jm_context_at(ref)->data, data); /* publishes what it points to */
    unlock_runtime(runtime);
    return true;
}
