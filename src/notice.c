#include "notice.h"

#include "inspect.h"

struct jm_notice *jm_notice_add(struct jm_runtime *runtime)
{
    struct jm_notice *notice = (struct jm_notice *)(void *)jm_registry_take(JM_KIND_NOTICE);
    if (notice != NULL) {
        notice->runtime = runtime;
        notice->hook.call.site = JM_SITE_BEFORE_COLLECT;
        jm_hook_reset(&notice->hook);
        (void)jm_registry_publish(JM_KIND_NOTICE, &notice->slot); /* the registry counts its uses */
        jm_store_release(&runtime->notice, notice);
    }
    return notice;
}

void jm_notice_give(struct jm_notice *notice)
{
    if (notice != NULL) {
        jm_registry_retract(&notice->slot);
        jm_registry_give(JM_KIND_NOTICE, &notice->slot);
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

JM_MARKS void jm_notice_call(struct jm_notice *notice)
{
    struct jm_hook *hook = &notice->hook;
    __attribute__((cleanup(end_collect_call))) struct collect_call call = {hook, {0}};
    JM_MARK(mark);
    if (jm_hook_begin(hook, &call.pair, mark)) {
        hook->call.asking = false;
        hook->call.operations = jm_runtime_quota(notice->runtime)->operations;
        jm_inspect_end();
        call_host(&call.pair);
    }
}
