/*
 * adapter.h - what the harness needs from an allocator.
 *
 * The harness is compiled once per allocator, each time against another header of adapters/, and
 * linked into a program of its own. Not one program with all of them: most of these libraries
 * replace malloc when they are linked, which would change the results of the others. Not dlopen:
 * the allocator would be called through pointers, and its thread-local storage reached in another
 * way than in a program that links it. The calls on the timed paths are inline here, so they cost
 * what the allocator costs and nothing else. The rest is in the .c file of the same name.
 *
 * A "tenant" is the unit that a host wants to budget: a runtime, a heap, an arena, a pool, or just
 * a counter. An adapter defines:
 *
 *   TENANT_HEAPS  1 if tenant_destroy gives back all objects, 0 if each must be freed first
 *   TENANT_USAGE  1 if tenant_usage can be read while the tenant is in use
 *   TENANT_MAX    the most tenants that can live at once
 *   struct tenant, passed by value
 *
 *   tenant_enter, tenant_leave   what a thread does before and after using a tenant
 *   tenant_alloc, tenant_realloc, tenant_free
 *   tenant_free_remote           tenant_free on a thread that does not use the tenant
 *   tenant_usage                 bytes counted so far, from any thread
 *
 * and, if the allocator can do it:
 *
 *   TENANT_LIMITS, tenant_set_limit         a tenant's limit can be set
 *   TENANT_BUDGETS, tenant_set_budget       the host can be asked instead
 *   TENANT_ALIGNED, tenant_alloc_aligned    objects can be aligned
 *   TENANT_CALLOC, tenant_calloc            objects can be zeroed
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#ifndef BENCH_ADAPTER_H
#define BENCH_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>

/* Result of tenant_footprint if the allocator cannot tell: the harness then uses the resident
 * set. */
#define FOOTPRINT_UNKNOWN ((size_t)-1)

/* The limit of every tenant, if the allocator has limits: never reached, always checked. */
#define TENANT_LIMIT ((size_t)8 << 30)

#include BENCH_ADAPTER

/** @brief Writes the name and version of the running allocator. */
void adapter_version(char *text, size_t size);

/** @brief Returns an address in the allocator's code; it identifies the allocator's file. */
const void *adapter_code(void);

/** @brief Creates a tenant as a host does, with its limit and hooks set. */
bool tenant_create(struct tenant *tenant);

/** @brief Creates a tenant and sets nothing. */
bool tenant_create_bare(struct tenant *tenant);

/** @brief Destroys a tenant that no thread uses. */
void tenant_destroy(struct tenant tenant);

/** @brief Returns the bytes that the tenant holds from the OS; may be slow. */
size_t tenant_footprint(struct tenant tenant);

/** @brief Gives back what can be given back. */
void tenant_collect(struct tenant tenant);

/** @brief Counts how often the tenant took from, or gave back to, the OS; -1 if unknown. */
long long tenant_events(struct tenant tenant);

#endif /* BENCH_ADAPTER_H */
