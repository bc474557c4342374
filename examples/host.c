/*
 * host.c - the host's side of the examples: see host.h.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "host.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- messages: on stderr, in order with the scripts' output on stdout
 * ------------------------- */

static void say(const host *h, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "%s: ", h->options.program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static size_t kib(size_t bytes)
{
    return bytes / 1024;
}

static const char *refusal_name(jsrtmem_refusal reason)
{
    switch (reason) {
    case JSRTMEM_REFUSAL_LIMIT:
        return "the limit";
    case JSRTMEM_REFUSAL_HOST:
        return "the host (its callback said no)";
    case JSRTMEM_REFUSAL_OS:
        return "the OS";
    case JSRTMEM_REFUSAL_SIZE:
        return "its size (too large for any block)";
    default:
        return "a misuse of the library";
    }
}

/* ---- the runtime's events -------------------------------------------------------------------- */

static size_t usage_of(JsRuntimeHandle runtime)
{
    size_t usage = 0;
    JsGetRuntimeMemoryUsage(runtime, &usage);
    return usage;
}

static bool vetoed(host *h)
{
    if (!h->budget_on || h->options.veto_after == 0)
        return false;
    h->asked++;
    return h->asked >= h->options.veto_after;
}

static void log_event(const host *h, const char *what, size_t bytes, size_t usage)
{
    if (h->options.events)
        say(h, "event %5lu  %-18s %8zu KiB   usage %8zu KiB", h->event_count, what, kib(bytes),
            kib(usage));
}

/*
 * Keeps the books and compares them with the runtime's own counter at every event. A granted block
 * is counted at once. If the grant came to nothing (the OS refused), a Failure follows; the usage
 * is then below the mirror by the size of the block.
 */
static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType type, size_t bytes)
{
    host *h = (host *)state;
    size_t usage = usage_of(h->runtime);
    size_t granted = 0;
    h->event_count++;
    switch (type) {
    case JsMemoryAllocate:
        granted = vetoed(h) ? 0 : bytes;
        log_event(h, granted != 0 ? "allocate: granted" : "allocate: vetoed", bytes, usage);
        break;
    case JsMemoryFree:
        h->mirror -= bytes;
        log_event(h, "free", bytes, usage);
        break;
    case JsMemoryFailure:
        if (usage != h->mirror)
            h->mirror -= bytes;
        log_event(h, "failure", bytes, usage);
        break;
    }
    if (usage != h->mirror)
        h->broken = true;
    h->mirror += granted;
    return granted != 0;
}

/* ---- what an engine calls -------------------------------------------------------------------- */

void host_set_budget(host *h, bool on)
{
    h->budget_on = on;
    JsSetRuntimeMemoryLimit(h->runtime, on ? h->options.limit : HOST_NO_LIMIT);
}

void host_note_refusal(host *h)
{
    h->refusals++;
    h->last_refusal.struct_size = sizeof h->last_refusal;
    jsrtmem_last_refusal(&h->last_refusal);
}

static void report_refusal(const host *h, const host_script *script)
{
    const jsrtmem_refusal_info *last = &h->last_refusal;
    char limit[32] = "no limit";
    if (last->limit != HOST_NO_LIMIT)
        snprintf(limit, sizeof limit, "limit %zu KiB", kib(last->limit));
    say(h, "%s: refused by %s: %zu bytes asked for, usage %zu KiB, %s", script->path,
        refusal_name(last->reason), last->requested, kib(last->usage), limit);
}

static jsrtmem_stats stats_of(JsRuntimeHandle runtime)
{
    jsrtmem_stats stats = {.struct_size = sizeof stats};
    jsrtmem_get_stats(runtime, &stats);
    return stats;
}

static void report_stats(const host *h, const host_script *script)
{
    jsrtmem_leave(h->runtime); /* live bytes are exact while nobody uses the runtime */
    jsrtmem_stats now = stats_of(h->runtime);
    jsrtmem_enter(h->runtime);
    say(h, "%s: usage %zu KiB, peak %zu KiB, in %zu blocks", script->path, kib(now.usage),
        kib(now.peak_usage), now.blocks);
    say(h, "%s: live %zu bytes in %zu objects", script->path, now.live_bytes, now.live_objects);
    say(h, "%s: events %llu allocate, %llu free, %llu failure; refusals %lu", script->path,
        (unsigned long long)(now.allocate_events - h->at_start.allocate_events),
        (unsigned long long)(now.free_events - h->at_start.free_events),
        (unsigned long long)(now.failure_events - h->at_start.failure_events), h->refusals);
}

host_status host_report(host *h, const host_script *script, host_status status, const char *message)
{
    if (status == HOST_OUT_OF_MEMORY)
        say(h, "%s: out of memory: %s", script->path, message);
    else if (status != HOST_OK)
        say(h, "%s: error: %s", script->path, message);
    else if (h->refusals != 0)
        say(h, "%s: finished, after %lu refusals; the last:", script->path, h->refusals);
    if (h->refusals != 0)
        report_refusal(h, script);
    if (h->options.stats)
        report_stats(h, script);
    return status;
}

/* ---- the runtime's life ---------------------------------------------------------------------- */

static bool promise(host *h, bool kept, const char *what)
{
    if (!kept) {
        h->broken = true;
        say(h, "BROKEN PROMISE: %s", what);
    }
    return kept;
}

static bool open_runtime(host *h)
{
    if (JsCreateRuntime(JsRuntimeAttributeNone, NULL, &h->runtime) != JsNoError) {
        say(h, "cannot create a runtime");
        return false;
    }
    h->mirror = usage_of(h->runtime);
    JsSetRuntimeMemoryAllocationCallback(h->runtime, h, on_event);
    return true;
}

/* Disposes the runtime with everything left in it, and checks that every byte came back. */
static void close_runtime(host *h)
{
    jsrtmem_process_stats process = {.struct_size = sizeof process};
    size_t gone;
    promise(h, JsDisposeRuntime(h->runtime) == JsNoError, "dispose succeeds");
    promise(h, h->mirror == 0, "after dispose the events add up to 0");
    jsrtmem_get_process_stats(&process);
    promise(h, process.runtimes == 0 && process.usage == 0, "after dispose the usage is 0");
    promise(h, JsGetRuntimeMemoryUsage(h->runtime, &gone) == JsErrorInvalidArgument,
            "a disposed runtime is gone");
    if (h->options.stats && !h->broken)
        say(h, "disposed: usage 0, %lu events add up to 0", h->event_count);
    h->runtime = JS_INVALID_RUNTIME_HANDLE;
}

/* An abandoned engine cannot free its memory any more; disposing the runtime does. */
static void drop_runtime(host *h)
{
    say(h, "the engine was abandoned: disposing its runtime, with %zu KiB",
        kib(usage_of(h->runtime)));
    close_runtime(h);
    h->abandoned = false;
}

static void begin_script(host *h)
{
    h->asked = 0;
    h->refusals = 0;
    jsrtmem_reset_peak(h->runtime);
    h->at_start = stats_of(h->runtime);
}

/* The engine is closed: nothing of it may be left. Empty blocks go back to the OS. */
static void end_script(host *h)
{
    JsCollectGarbage(h->runtime);
    jsrtmem_stats stats = stats_of(h->runtime);
    promise(h, !h->broken, "at every event the usage is what the events add up to");
    promise(h, stats.usage == h->mirror, "the usage is what the events add up to");
    promise(h, stats.live_objects == 0 && stats.live_bytes == 0, "a closed engine leaves nothing");
    promise(h, stats.misuses == 0, "the engine freed only what was its own");
}

static host_status run_script(host *h, host_engine engine, const host_script *script)
{
    if (h->runtime == JS_INVALID_RUNTIME_HANDLE && !open_runtime(h))
        return HOST_OUT_OF_MEMORY;
    begin_script(h);
    if (!promise(h, jsrtmem_enter(h->runtime) == JsNoError, "a runtime of ours can be entered"))
        return HOST_BROKEN_PROMISE;
    host_status status = engine(h, script);
    jsrtmem_leave(h->runtime);
    host_set_budget(h, false);
    if (h->abandoned)
        drop_runtime(h);
    else
        end_script(h);
    return h->broken ? HOST_BROKEN_PROMISE : status;
}

/* ---- the program ----------------------------------------------------------------------------- */

static host_status run_scripts(host *h, host_engine engine, const host_script *scripts)
{
    host_status worst = HOST_OK;
    for (int i = 0; i < h->options.script_count && worst != HOST_BROKEN_PROMISE; i++) {
        host_status status = run_script(h, engine, &scripts[i]);
        if (status > worst)
            worst = status;
    }
    if (h->runtime != JS_INVALID_RUNTIME_HANDLE)
        close_runtime(h);
    return h->broken ? HOST_BROKEN_PROMISE : worst;
}

int host_main(int argc, char **argv, host_engine engine)
{
    static host h;
    host_script *scripts = NULL;
    switch (host_parse_options(&h.options, argc, argv)) {
    case HOST_OPTIONS_RUN:
        scripts = host_load_scripts(&h.options);
        break;
    case HOST_OPTIONS_HELP:
        return HOST_OK;
    case HOST_OPTIONS_BAD:
        break;
    }
    if (scripts == NULL)
        return HOST_BAD_USAGE;
    host_status status = run_scripts(&h, engine, scripts);
    host_free_scripts(scripts, &h.options);
    return (int)status;
}
