/*
 * record_lua.c - runs a Lua script and records what it allocates.
 *
 *   bench-record-lua SCRIPT TRACE
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "record.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <stdio.h>
#include <stdlib.h>

static void *hook(void *state, void *ptr, size_t old_size, size_t size)
{
    (void)state;
    (void)old_size;
    if (size == 0) {
        record_free(ptr);
        return NULL;
    }
    return record_realloc(ptr, size);
}

int main(int argc, char **argv)
{
    lua_State *lua;

    if (argc != 3) {
        fprintf(stderr, "usage: %s SCRIPT TRACE\n", argv[0]);
        return EXIT_FAILURE;
    }
    lua = lua_newstate(hook, NULL);
    if (lua == NULL) {
        return EXIT_FAILURE;
    }
    luaL_openlibs(lua);
    if (luaL_dofile(lua, argv[1])) {
        fprintf(stderr, "%s\n", lua_tostring(lua, -1));
        return EXIT_FAILURE;
    }
    lua_close(lua);
    record_write(argv[2]);
    return EXIT_SUCCESS;
}
