/* on_jsrtmem.c - the calls to libjsrtmem that are not on timed paths.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"
#include "harness.h"

#include <stdio.h>

/* A host's callback that allows everything: it only measures the cost of having one. */
static bool CHAKRA_CALLBACK allow(void *state, JsMemoryEventType event, size_t size)
{
    (void)state;
    (void)event;
    (void)size;
    return true;
}

static struct {
    size_t allowed, used;
} budget;

/* A callback that keeps a budget. */
static bool CHAKRA_CALLBACK keep_budget(void *state, JsMemoryEventType event, size_t size)
{
    (void)state;
    if (event == JsMemoryFree) {
        budget.used -= size;
    } else if (event == JsMemoryAllocate && size <= budget.allowed - budget.used) {
        budget.used += size;
        return true;
    }
    return false;
}

void tenant_set_budget(struct tenant tenant, size_t bytes)
{
    budget.allowed = bytes;
    budget.used = tenant_usage(tenant);
    JsSetRuntimeMemoryAllocationCallback(tenant.runtime, NULL, keep_budget);
}

void adapter_version(char *text, size_t size)
{
    snprintf(text, size, "libjsrtmem %s", jsrtmem_version());
}

const void *adapter_code(void)
{
    return (const void *)(uintptr_t)&jsrtmem_alloc;
}

bool tenant_create_bare(struct tenant *tenant)
{
    return JsCreateRuntime(JsRuntimeAttributeNone, NULL, &tenant->runtime) == JsNoError;
}

bool tenant_create(struct tenant *tenant)
{
    if (!tenant_create_bare(tenant)) {
        return false;
    }
    JsSetRuntimeMemoryLimit(tenant->runtime, TENANT_LIMIT);
    JsSetRuntimeMemoryAllocationCallback(tenant->runtime, NULL, allow);
    return true;
}

void tenant_destroy(struct tenant tenant)
{
    if (JsDisposeRuntime(tenant.runtime) != JsNoError) {
        fail("JsDisposeRuntime was refused");
    }
}

size_t tenant_footprint(struct tenant tenant)
{
    return tenant_usage(tenant);
}

void tenant_collect(struct tenant tenant)
{
    JsCollectGarbage(tenant.runtime);
}

long long tenant_events(struct tenant tenant)
{
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};

    if (jsrtmem_get_stats(tenant.runtime, &stats) != JsNoError) {
        return -1;
    }
    return (long long)(stats.allocate_events + stats.free_events);
}
