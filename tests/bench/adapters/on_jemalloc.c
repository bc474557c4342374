/* on_jemalloc.c - arenas with counting extent hooks.
 *
 * The hooks forward to jemalloc's own: they count what jemalloc does by itself.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"
#include "harness.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static extent_hooks_t *own_hooks; /* those of arena 0 */

static void *hook_alloc(extent_hooks_t *hooks, void *address, size_t size, size_t alignment,
                        bool *zero, bool *commit, unsigned arena)
{
    struct account *account = (struct account *)(void *)hooks;
    const size_t used = atomic_fetch_add(&account->used, size);
    void *extent = NULL;

    if (used <= account->limit && size <= account->limit - used) {
        extent = own_hooks->alloc(own_hooks, address, size, alignment, zero, commit, arena);
    }
    if (extent == NULL) {
        atomic_fetch_sub(&account->used, size);
    } else {
        atomic_fetch_add(&account->events, 1);
    }
    return extent;
}

static bool hook_dalloc(extent_hooks_t *hooks, void *address, size_t size, bool committed,
                        unsigned arena)
{
    struct account *account = (struct account *)(void *)hooks;

    if (own_hooks->dalloc(own_hooks, address, size, committed, arena)) {
        return true; /* kept by the arena, so it still counts */
    }
    atomic_fetch_sub(&account->used, size);
    atomic_fetch_add(&account->events, 1);
    return false;
}

static void hook_destroy(extent_hooks_t *hooks, void *address, size_t size, bool committed,
                         unsigned arena)
{
    struct account *account = (struct account *)(void *)hooks;

    own_hooks->destroy(own_hooks, address, size, committed, arena);
    atomic_fetch_sub(&account->used, size);
    atomic_fetch_add(&account->events, 1);
}

static void learn_own_hooks(void)
{
    size_t size = sizeof(own_hooks);

    if (mallctl("arena.0.extent_hooks", &own_hooks, &size, NULL, 0) != 0) {
        fail("jemalloc does not tell its extent hooks");
    }
}

static void control_arena(const struct tenant *tenant, const char *verb)
{
    char name[64];

    snprintf(name, sizeof(name), "arena.%u.%s", tenant->account->arena, verb);
    if (mallctl(name, NULL, NULL, NULL, 0) != 0) {
        fail("jemalloc refused a call on an arena");
    }
}

void adapter_version(char *text, size_t size)
{
    const char *version = "";
    size_t length = sizeof(version);

    mallctl("version", &version, &length, NULL, 0);
    snprintf(text, size, "jemalloc %.*s", (int)strcspn(version, "-"), version);
}

const void *adapter_code(void)
{
    return (const void *)(uintptr_t)&mallocx;
}

bool tenant_create(struct tenant *tenant)
{
    struct account *account = malloc(sizeof(*account));
    extent_hooks_t *hooks;
    size_t size = sizeof(unsigned);

    if (account == NULL) {
        return false;
    }
    if (own_hooks == NULL) {
        learn_own_hooks();
    }
    account->hooks = *own_hooks;
    account->hooks.alloc = hook_alloc;
    account->hooks.dalloc = hook_dalloc;
    account->hooks.destroy = hook_destroy;
    atomic_init(&account->used, 0);
    atomic_init(&account->events, 0);
    account->limit = TENANT_LIMIT;
    hooks = &account->hooks;
    if (mallctl("arenas.create", &account->arena, &size, &hooks, sizeof(hooks)) != 0) {
        free(account);
        return false;
    }
    tenant->account = account;
    if (mallctl("tcache.create", &account->cache, &size, NULL, 0) != 0) {
        control_arena(tenant, "destroy");
        free(account);
        return false;
    }
    tenant->flags = MALLOCX_ARENA(account->arena) | MALLOCX_TCACHE(account->cache);
    return true;
}

bool tenant_create_bare(struct tenant *tenant)
{
    return tenant_create(tenant);
}

void tenant_destroy(struct tenant tenant)
{
    mallctl("tcache.destroy", NULL, NULL, &tenant.account->cache, sizeof(unsigned));
    control_arena(&tenant, "destroy");
    free(tenant.account);
}

size_t tenant_footprint(struct tenant tenant)
{
    return tenant_usage(tenant);
}

void tenant_collect(struct tenant tenant)
{
    mallctl("tcache.flush", NULL, NULL, &tenant.account->cache, sizeof(unsigned));
    control_arena(&tenant, "purge");
}

long long tenant_events(struct tenant tenant)
{
    return atomic_load(&tenant.account->events);
}
