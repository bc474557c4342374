/*
 * lua_host.c - runs Lua 5.4 scripts inside a runtime, under its budget.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 *
 * Lua needs only one allocator function. If the runtime refuses, Lua collects its garbage, asks
 * once more, and then raises "not enough memory", which a script can catch with pcall.
 */

#include "host.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* Lua's allocator. Size 0 frees. The library does not need the old size. */
static void *lua_memory(void *state, void *object, size_t old_size, size_t size)
{
    host *h = (host *)state;
    (void)old_size;
    if (size == 0) {
        jsrtmem_free(object);
        return NULL;
    }
    void *result = jsrtmem_realloc(h->runtime, object, size);
    if (result == NULL)
        host_note_refusal(h);
    return result;
}

typedef struct lua_job {
    const host_options *options;
    const host_script *script;
} lua_job;

/* Defines the script's global `arg`: arg[0] is the script, arg[1] the first argument. */
static void define_arg(lua_State *L, const lua_job *job)
{
    lua_createtable(L, job->options->arg_count, 1);
    lua_pushstring(L, job->script->path);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < job->options->arg_count; i++) {
        lua_pushstring(L, job->options->args[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
}

/* Pushes the script's arguments, which it gets as `...` too. Returns how many there are. */
static int push_arguments(lua_State *L, const lua_job *job)
{
    int count = job->options->arg_count;
    luaL_checkstack(L, count, "too many arguments");
    for (int i = 0; i < count; i++)
        lua_pushstring(L, job->options->args[i]);
    return count;
}

/* Everything that may run out of memory. Called protected: an error unwinds to the caller. */
static int run_protected(lua_State *L)
{
    const lua_job *job = (const lua_job *)lua_touserdata(L, 1);
    const host_script *script = job->script;
    luaL_openlibs(L);
    define_arg(L, job);
    lua_pushfstring(L, "@%s", script->path);
    if (luaL_loadbufferx(L, script->text, script->length, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, push_arguments(L, job), 0);
    return 0;
}

static host_status status_of(int result)
{
    switch (result) {
    case LUA_OK:
        return HOST_OK;
    case LUA_ERRMEM:
        return HOST_OUT_OF_MEMORY;
    default:
        return HOST_SCRIPT_FAILED;
    }
}

/* Never converts: lua_tostring of a number allocates, and may be refused. */
static const char *error_text(lua_State *L)
{
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(an error that is no string)";
}

static host_status run_lua(host *h, const host_script *script)
{
    lua_job job = {&h->options, script};
    host_set_budget(h, true);
    lua_State *L = lua_newstate(lua_memory, h);
    if (L == NULL)
        return host_report(h, script, HOST_OUT_OF_MEMORY, "no room for an engine");
    lua_pushcfunction(L, run_protected);
    lua_pushlightuserdata(L, &job);
    int result = lua_pcall(L, 1, 0, 0);
    const char *message = result == LUA_OK ? "" : error_text(L);
    host_status status = host_report(h, script, status_of(result), message);
    lua_close(L);
    return status;
}

int main(int argc, char **argv)
{
    return host_main(argc, argv, run_lua);
}
