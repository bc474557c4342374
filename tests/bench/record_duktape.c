/*
 * record_duktape.c - runs a JavaScript file in Duktape and records what it allocates.
 *
 *   bench-record-duktape SCRIPT TRACE
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "record.h"

#include <duktape.h>

#include <stdio.h>
#include <stdlib.h>

static void *hook_alloc(void *state, duk_size_t size)
{
    (void)state;
    return size != 0 ? record_alloc(size) : NULL;
}

static void *hook_realloc(void *state, void *ptr, duk_size_t size)
{
    (void)state;
    return record_realloc(ptr, size);
}

static void hook_free(void *state, void *ptr)
{
    (void)state;
    record_free(ptr);
}

int main(int argc, char **argv)
{
    duk_context *context;
    char *script;
    size_t length;

    if (argc != 3) {
        fprintf(stderr, "usage: %s SCRIPT TRACE\n", argv[0]);
        return EXIT_FAILURE;
    }
    script = record_script(argv[1], &length);
    context = duk_create_heap(hook_alloc, hook_realloc, hook_free, NULL, NULL);
    if (context == NULL) {
        return EXIT_FAILURE;
    }
    if (duk_peval_lstring(context, script, length) != 0) {
        fprintf(stderr, "%s\n", duk_safe_to_string(context, -1));
        return EXIT_FAILURE;
    }
    duk_destroy_heap(context);
    free(script);
    record_write(argv[2]);
    return EXIT_SUCCESS;
}
