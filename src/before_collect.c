#include "before_collect.h"

#include "inspect.h"

struct jm_before_collect *jm_before_collect_create(struct jm_runtime *runtime)
{
    struct jm_slot *slot = jm_registry_take(JM_KIND_BEFORE_COLLECT);
    struct jm_before_collect *record = (struct jm_before_collect *)(void *)slot;
    if (record != NULL) {
        record->runtime = runtime;
        record->hook.call.site = JM_SITE_BEFORE_COLLECT;
        jm_hook_reset(&record->hook);
        /* Its handle is of no use, but the registry counts the slot's uses. */
        (void)jm_registry_publish(JM_KIND_BEFORE_COLLECT, &record->slot);
        jm_store_release(&runtime->before_collect, record);
    }
    return record;
}

void jm_before_collect_dispose(struct jm_before_collect *record)
{
    if (record != NULL) {
        jm_registry_retract(&record->slot);
        jm_registry_give(JM_KIND_BEFORE_COLLECT, &record->slot);
    }
}

typedef void(JM_CALLBACK *collect_function)(void *state);

struct collect_call {
    struct jm_hook *hook;
    struct jm_pair pair;
};

static void end_collect_call(struct collect_call *call)
{
    if (call->pair.function != NULL) {
        jm_inspect_begin();
        (void)jm_hook_end(call->hook, &call->pair);
    }
}

static JM_NOINLINE void call_host(const struct jm_pair *pair)
{
    ((collect_function)pair->function)(pair->state);
}

JM_MARKS void jm_before_collect_call(struct jm_before_collect *record)
{
    struct jm_hook *hook = &record->hook;
    __attribute__((cleanup(end_collect_call))) struct collect_call call = {hook, {0}};
    JM_MARK(mark);
    if (jm_hook_begin(hook, &call.pair, mark)) {
        hook->call.asking = false;
        hook->call.operations = jm_runtime_quota(record->runtime)->operations;
        jm_inspect_end();
        call_host(&call.pair);
    }
}
