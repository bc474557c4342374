/* on_nothing.c - see on_nothing.h.
 * SPDX-License-Identifier: MIT */

#include "adapter.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

/* Two, so that two threads do not write to the same place; each as large as the largest object of
 * any workload, whose last word is written, and a page more. */
static _Alignas(4096) char places[2][(size_t)516 << 10];
static atomic_uint next_place;

__attribute__((noinline)) void *nothing_alloc(char *place, size_t size)
{
    (void)size;
    __asm__ volatile("" ::: "memory");
    return place;
}

__attribute__((noinline)) void nothing_free(void *ptr)
{
    __asm__ volatile("" ::"r"(ptr) : "memory");
}

void adapter_version(char *text, size_t size)
{
    snprintf(text, size, "no allocator");
}

const void *adapter_code(void)
{
    return (const void *)(uintptr_t)&nothing_alloc;
}

bool tenant_create_bare(struct tenant *tenant)
{
    tenant->place = places[atomic_fetch_add(&next_place, 1) % 2];
    return true;
}

bool tenant_create(struct tenant *tenant)
{
    return tenant_create_bare(tenant);
}

void tenant_destroy(struct tenant tenant)
{
    (void)tenant;
}

size_t tenant_footprint(struct tenant tenant)
{
    (void)tenant;
    return 0;
}

void tenant_collect(struct tenant tenant)
{
    (void)tenant;
}

long long tenant_events(struct tenant tenant)
{
    (void)tenant;
    return -1;
}
