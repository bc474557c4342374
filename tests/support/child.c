#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "child.h"

#include <stdlib.h>
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
        (void)execl("/proc/self/exe", "/proc/self/exe", argument, (char *)NULL);
        _exit(127);
    }
    return wait_for(child);
}

static size_t mapped_now(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    char line[128] = "";

    if (file == NULL) {
        return 0;
    }
    char *read = fgets(line, sizeof(line), file);
    (void)fclose(file);
    return read == NULL ? 0 : (size_t)strtoull(line, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
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
