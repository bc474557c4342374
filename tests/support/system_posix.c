#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "child.h"
#include "system.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds after which a child counts as hung: far more than any of them takes. */
#define CHILD_PATIENCE 50

static int wait_for(pid_t child)
{
    int status = 0;

    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        return -1;
    }
    return WEXITSTATUS(status);
}

int child_run(int (*function)(void *), void *argument)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(CHILD_PATIENCE);
        int result = function(argument);
        (void)fflush(NULL);
        _exit(result);
    }
    return wait_for(child);
}

/* A program for another machine does not start by itself. JSRTMEM_EMULATOR then gives the command
 * that runs it, as words with blanks between. */
static void run_again(const char *argument)
{
    char words[256] = "";
    char program[512] = "";
    char *command[12] = {NULL};
    size_t count = 0;
    const char *emulator = getenv("JSRTMEM_EMULATOR");

    if (emulator != NULL) {
        (void)snprintf(words, sizeof(words), "%s", emulator);
    }
    for (char *word = strtok(words, " "); word != NULL && count < 8; word = strtok(NULL, " ")) {
        command[count++] = word;
    }
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length > 0) {
        command[count++] = program;
        command[count] = (char *)(uintptr_t)argument;
        (void)execvp(command[0], command);
    }
}

int child_run_again(const char *argument, const char *variable, const char *value)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (value != NULL) {
            (void)setenv(variable, value, 1);
        } else {
            (void)unsetenv(variable);
        }
        (void)alarm(CHILD_PATIENCE);
        run_again(argument);
        _exit(127);
    }
    return wait_for(child);
}

/* Counts kernel pages, whatever page size the library is told. */
size_t mapped_now(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    char line[128] = "";

    if (file == NULL) {
        return 0;
    }
    char *read = fgets(line, sizeof(line), file);
    (void)fclose(file);
    return read == NULL ? 0 : (size_t)strtoull(line, NULL, 10) * (size_t)getauxval(AT_PAGESZ);
}

static int map_more_than_the_limit(void *unused)
{
    (void)unused;
    return child_limit_address_space(MIB(1)) == 0 && no_access_new(MIB(64)) == NULL ? 0 : 1;
}

bool child_has_address_limit(void)
{
    return !UNIT_SANITIZED && child_run(map_more_than_the_limit, NULL) == 0;
}

int child_limit_address_space(size_t more)
{
    size_t mapped = mapped_now();
    struct rlimit limit;

    if (mapped == 0 || getrlimit(RLIMIT_AS, &limit) != 0) {
        return -1;
    }
    limit.rlim_cur = mapped + more;
    return setrlimit(RLIMIT_AS, &limit);
}

int child_unlimit_address_space(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) != 0) {
        return -1;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_AS, &limit);
}

size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

char *no_access_new(size_t size)
{
    void *pages = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

bool no_access_delete(char *pages, size_t size)
{
    return munmap(pages, size) == 0;
}

bool scratch_file(char *name, size_t size)
{
    const char *folder = getenv("TMPDIR");
    int length = snprintf(name, size, "%s/jsrtmem-test.XXXXXX", folder != NULL ? folder : "/tmp");
    int file = length > 0 && (size_t)length < size ? mkstemp(name) : -1;
    return file >= 0 && close(file) == 0;
}
