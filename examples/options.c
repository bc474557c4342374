/*
 * options.c - the command line of the example hosts: see options.h.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "options.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without --limit: enough for the example scripts, too little to hurt a machine. */
#define DEFAULT_LIMIT ((size_t)64 << 20)

static const char usage_text[] =
    "usage: %s [options] script... [-- argument...]\n"
    "\n"
    "Runs each script in an engine of its own, all in one runtime with one budget.\n"
    "Arguments after -- are given to every script.\n"
    "\n"
    "  --limit SIZE     the runtime's limit: bytes, or with K, M or G; or none (default 64M)\n"
    "  --veto-after N   refuse from the N-th block that a script asks for, by the callback\n"
    "  --events         print each event of the runtime\n"
    "  --stats          print what each script holds when it ends\n"
    "  --help           print this\n"
    "\n"
    "exit code: 0  every script ran to its end\n"
    "           1  a script ended with an error of its own\n"
    "           2  bad option or unreadable script; nothing was run\n"
    "           3  a script was refused memory and did not catch the error\n"
    "           4  the memory books did not balance, which is a bug\n"
    "The highest that applies.\n";

/* ---- options --------------------------------------------------------------------------------- */

static bool bad_usage(const host_options *o, const char *problem, const char *what)
{
    fprintf(stderr, "%s: %s: %s\nTry '%s --help'.\n", o->program, problem, what, o->program);
    return false;
}

/* Reads an unsigned decimal number. `*end` points behind it. */
static bool parse_number(const char *text, size_t *number, const char **end)
{
    size_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        size_t digit = (size_t)(*p - '0');
        if (value > (SIZE_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    *end = p;
    return p != text;
}

static unsigned suffix_shift(char suffix)
{
    switch (suffix) {
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return 0;
    }
}

/* Reads "4096", "64K", "32M", "1G" or "none". */
static bool parse_size(const char *text, size_t *size)
{
    const char *end;
    if (strcmp(text, "none") == 0) {
        *size = HOST_NO_LIMIT;
        return true;
    }
    if (!parse_number(text, size, &end))
        return false;
    unsigned shift = suffix_shift(*end);
    if (end[shift != 0] != '\0' || *size > SIZE_MAX >> shift)
        return false;
    *size <<= shift;
    return true;
}

static bool parse_count(const char *text, unsigned long *count)
{
    const char *end;
    size_t number;
    if (!parse_number(text, &number, &end) || *end != '\0' || number == 0 || number > ULONG_MAX)
        return false;
    *count = (unsigned long)number;
    return true;
}

/* Returns the value of option `name` if argv[*i] is it, as "--name value" or "--name=value". */
static const char *option_value(char **argv, int *i, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(argv[*i], name, length) != 0)
        return NULL;
    if (argv[*i][length] == '=')
        return argv[*i] + length + 1;
    if (argv[*i][length] != '\0')
        return NULL;
    if (argv[*i + 1] == NULL)
        return ""; /* no option accepts it */
    return argv[++*i];
}

static bool parse_option(host_options *o, char **argv, int *i)
{
    const char *value;
    if (strcmp(argv[*i], "--events") == 0) {
        o->events = true;
    } else if (strcmp(argv[*i], "--stats") == 0) {
        o->stats = true;
    } else if ((value = option_value(argv, i, "--limit")) != NULL) {
        if (!parse_size(value, &o->limit))
            return bad_usage(o, "--limit wants a size like 32M, or none; not", value);
    } else if ((value = option_value(argv, i, "--veto-after")) != NULL) {
        if (!parse_count(value, &o->veto_after))
            return bad_usage(o, "--veto-after wants a number from 1 on; not", value);
    } else {
        return bad_usage(o, "unknown option", argv[*i]);
    }
    return true;
}

/* Options and scripts in any order, up to "--". Scripts are moved to the front of argv. */
static bool parse_arguments(host_options *o, char **argv)
{
    int i;
    for (i = 1; argv[i] != NULL && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] != '-')
            o->scripts[o->script_count++] = argv[i];
        else if (!parse_option(o, argv, &i))
            return false;
    }
    if (argv[i] != NULL)
        o->args = argv + i + 1;
    while (o->args != NULL && o->args[o->arg_count] != NULL)
        o->arg_count++;
    if (o->script_count == 0)
        return bad_usage(o, "nothing to run", "name a script");
    return true;
}

static const char *base_name(const char *path)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    return path == NULL ? "host" : slash == NULL ? path : slash + 1;
}

static bool wants_help(char **argv)
{
    for (int i = 1; argv[i] != NULL && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

host_options_result host_parse_options(host_options *o, int argc, char **argv)
{
    memset(o, 0, sizeof *o);
    o->program = base_name(argc > 0 ? argv[0] : NULL);
    o->limit = DEFAULT_LIMIT;
    if (argc == 0)
        return HOST_OPTIONS_BAD;
    if (wants_help(argv)) {
        printf(usage_text, o->program);
        return HOST_OPTIONS_HELP;
    }
    o->scripts = argv + 1;
    return parse_arguments(o, argv) ? HOST_OPTIONS_RUN : HOST_OPTIONS_BAD;
}

/* ---- scripts --------------------------------------------------------------------------------- */

/* Reads a file to its end into the host's own memory. */
static char *read_file(FILE *file, size_t *length)
{
    size_t room = 0, used = 0, got = 1;
    char *text = NULL;
    while (got != 0) {
        if (used == room) {
            room = room == 0 ? 65536 : room * 2;
            char *larger = (char *)realloc(text, room);
            if (larger == NULL)
                break;
            text = larger;
        }
        got = fread(text + used, 1, room - used, file);
        used += got;
    }
    *length = used;
    if (got == 0 && ferror(file) == 0)
        return text;
    free(text);
    return NULL;
}

/* Drops a "#!" line, but keeps its newline: line numbers stay right. */
static void drop_shebang(host_script *script)
{
    if (script->length < 2 || memcmp(script->text, "#!", 2) != 0)
        return;
    char *end = (char *)memchr(script->text, '\n', script->length);
    size_t skipped = end == NULL ? script->length : (size_t)(end - script->text);
    script->length -= skipped;
    memmove(script->text, script->text + skipped, script->length);
}

static bool load_script(const host_options *o, const char *path, host_script *script)
{
    FILE *file = fopen(path, "rb");
    script->path = path;
    script->text = file == NULL ? NULL : read_file(file, &script->length);
    if (script->text == NULL)
        fprintf(stderr, "%s: cannot read %s: %s\n", o->program, path, strerror(errno));
    else
        drop_shebang(script);
    if (file != NULL)
        fclose(file);
    return script->text != NULL;
}

void host_free_scripts(host_script *scripts, const host_options *o)
{
    for (int i = 0; i < o->script_count; i++)
        free(scripts[i].text);
    free(scripts);
}

host_script *host_load_scripts(const host_options *o)
{
    size_t count = (size_t)o->script_count;
    host_script *scripts = (host_script *)calloc(count, sizeof *scripts);
    if (scripts == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!load_script(o, o->scripts[i], &scripts[i])) {
            host_free_scripts(scripts, o);
            return NULL;
        }
    }
    return scripts;
}
