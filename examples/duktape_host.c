/*
 * duktape_host.c - runs JavaScript in Duktape 2 inside a runtime, under its budget.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 *
 * Duktape needs three allocator functions. If the runtime refuses, Duktape collects its garbage,
 * asks again a few times, and then throws an Error "alloc failed", which a script can catch.
 *
 * Two pitfalls. duk_create_heap crashes if it is refused memory half-way: the heap is created
 * first, and the budget applies only afterwards. If Duktape cannot go on, it calls the fatal
 * handler, which must not return: it jumps out. The heap can then no longer be closed; disposing
 * the runtime frees it.
 *
 * Scripts have print(...), scriptArgs (scriptArgs[0] is the script), and panic(text), which calls
 * the fatal handler.
 */

#include "host.h"

#include <duktape.h>

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

typedef struct duktape_job {
    host *h;
    const host_script *script;
    jmp_buf fatal;
    char text[256]; /* error text */
} duktape_job;

/* ---- what Duktape calls ---------------------------------------------------------------------- */

static void *duktape_alloc(void *state, duk_size_t size)
{
    host *h = ((duktape_job *)state)->h;
    void *object = jsrtmem_alloc(h->runtime, size);
    if (object == NULL)
        host_note_refusal(h);
    return object;
}

static void *duktape_realloc(void *state, void *object, duk_size_t size)
{
    host *h = ((duktape_job *)state)->h;
    void *result = jsrtmem_realloc(h->runtime, object, size);
    if (result == NULL && size != 0) /* size 0 frees */
        host_note_refusal(h);
    return result;
}

static void duktape_free(void *state, void *object)
{
    (void)state;
    jsrtmem_free(object);
}

static void duktape_fatal(void *state, const char *message)
{
    duktape_job *job = (duktape_job *)state;
    snprintf(job->text, sizeof job->text, "engine panic: %s", message == NULL ? "?" : message);
    longjmp(job->fatal, 1);
}

/* ---- what scripts call ----------------------------------------------------------------------- */

static duk_ret_t js_print(duk_context *ctx)
{
    duk_idx_t count = duk_get_top(ctx);
    for (duk_idx_t i = 0; i < count; i++) {
        duk_size_t length;
        const char *text = duk_to_lstring(ctx, i, &length);
        if (i > 0)
            fputc(' ', stdout);
        fwrite(text, 1, length, stdout);
    }
    fputc('\n', stdout);
    return 0;
}

static duk_ret_t js_panic(duk_context *ctx)
{
    duk_fatal(ctx, duk_to_string(ctx, 0));
    return 0;
}

static void define_globals(duk_context *ctx, const duktape_job *job)
{
    const host_options *o = &job->h->options;
    duk_push_c_function(ctx, js_print, DUK_VARARGS);
    duk_put_global_string(ctx, "print");
    duk_push_c_function(ctx, js_panic, 1);
    duk_put_global_string(ctx, "panic");
    duk_idx_t args = duk_push_array(ctx);
    duk_push_string(ctx, job->script->path);
    duk_put_prop_index(ctx, args, 0);
    for (int i = 0; i < o->arg_count; i++) {
        duk_push_string(ctx, o->args[i]);
        duk_put_prop_index(ctx, args, (duk_uarridx_t)i + 1);
    }
    duk_put_global_string(ctx, "scriptArgs");
}

/* ---- a script -------------------------------------------------------------------------------- */

/* Everything that may run out of memory. Called protected: an error unwinds to the caller. */
static duk_ret_t run_protected(duk_context *ctx, void *state)
{
    const duktape_job *job = (const duktape_job *)state;
    define_globals(ctx, job);
    duk_push_string(ctx, job->script->path);
    duk_compile_lstring_filename(ctx, 0, job->script->text, job->script->length);
    duk_call(ctx, 0);
    return 1;
}

/*
 * Formats the error on top of the stack. Called under the budget, because it may run code of the
 * script. An error that stands for refused memory is formatted without allocating.
 */
static duk_ret_t describe_protected(duk_context *ctx, void *state)
{
    duktape_job *job = (duktape_job *)state;
    if (!duk_is_error(ctx, -1)) {
        snprintf(job->text, sizeof job->text, "thrown: %s", duk_safe_to_string(ctx, -1));
        return 0;
    }
    duk_get_prop_string(ctx, -1, "name");
    duk_get_prop_string(ctx, -2, "message");
    const char *name = duk_get_string_default(ctx, -2, "Error");
    const char *message = duk_get_string_default(ctx, -1, "");
    snprintf(job->text, sizeof job->text, "%s: %s", name, message);
    duk_get_prop_string(ctx, -3, "lineNumber");
    int line = duk_get_int_default(ctx, -1, 0);
    if (line > 0)
        snprintf(job->text, sizeof job->text, "%s: %s (line %d)", name, message, line);
    return 0;
}

/* True for "alloc failed", and for DoubleError: there was no memory even for the first error. */
static bool stands_for_refused_memory(const char *text)
{
    return strstr(text, "alloc failed") != NULL || strncmp(text, "DoubleError", 11) == 0;
}

static host_status run_in_heap(duk_context *ctx, duktape_job *job)
{
    host *h = job->h;
    host_status status = HOST_OK;
    host_set_budget(h, true);
    if (duk_safe_call(ctx, run_protected, job, 0, 1) != DUK_EXEC_SUCCESS) {
        status = HOST_SCRIPT_FAILED;
        duk_safe_call(ctx, describe_protected, job, 1, 1);
        if (h->refusals != 0 && stands_for_refused_memory(job->text))
            status = HOST_OUT_OF_MEMORY;
    }
    host_report(h, job->script, status, job->text);
    duk_destroy_heap(ctx);
    return status;
}

static host_status run_duktape(host *h, const host_script *script)
{
    duktape_job job = {.h = h, .script = script, .text = "an error that cannot be told"};
    if (setjmp(job.fatal) != 0) {
        h->abandoned = true;
        return host_report(h, script, HOST_SCRIPT_FAILED, job.text);
    }
    duk_context *ctx =
        duk_create_heap(duktape_alloc, duktape_realloc, duktape_free, &job, duktape_fatal);
    if (ctx == NULL)
        return host_report(h, script, HOST_OUT_OF_MEMORY, "no room for an engine");
    return run_in_heap(ctx, &job);
}

int main(int argc, char **argv)
{
    return host_main(argc, argv, run_duktape);
}
