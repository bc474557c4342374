/*
 * children.c - see driver.h.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX 600 /* then a program counts as hung; callgrind is slow */

static void become(const char *const *arguments, const char *library_path, bool errors, int output)
{
    dup2(output, STDOUT_FILENO);
    if (errors) {
        dup2(output, STDERR_FILENO);
    }
    close(output);
    if (library_path[0] != '\0') {
        setenv("LD_LIBRARY_PATH", library_path, 1);
    }
    alarm(SECONDS_MAX);
    execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    perror(arguments[0]);
    _exit(127);
}

bool child_run(const char *const *arguments, const char *library_path, bool errors, line_fn *line,
               void *context)
{
    char text[512];
    int ends[2];
    int status = -1;
    FILE *output;
    pid_t child;

    if (pipe(ends) != 0) {
        return false;
    }
    child = fork();
    if (child == 0) {
        close(ends[0]);
        become(arguments, library_path, errors, ends[1]);
    }
    close(ends[1]);
    output = fdopen(ends[0], "r");
    if (child < 0 || output == NULL) {
        return false;
    }
    while (fgets(text, sizeof(text), output) != NULL) {
        text[strcspn(text, "\n")] = '\0';
        line(context, text);
    }
    fclose(output);
    return waitpid(child, &status, 0) == child && status == 0;
}
