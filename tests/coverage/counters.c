/*
 * Linked into every program and library of a build that measures coverage; not instrumented itself.
 *
 * gcov writes its counters when a process ends by exit. Here they are written too where one ends by
 * _exit, as the children of tests do, or by abort. The shared library has counters of its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);

/* The program's one, which it exports, has the libraries' counters in its list. */
typedef void (*writer)(void);
void coverage_register(writer dump);

#define MAX_WRITERS 8
static writer writers[MAX_WRITERS];
static size_t count;

void coverage_register(writer dump)
{
    if (count < MAX_WRITERS) {
        writers[count++] = dump;
    }
}

static void write_all(void)
{
    for (size_t i = 0; i < count; i++) {
        writers[i]();
    }
}

static void dump(void)
{
    __gcov_dump();
    __gcov_reset(); /* what is counted from here on is added, not lost */
}

static void on_abort(int number)
{
    write_all();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

__attribute__((constructor)) static void begin(void)
{
    void (*enlist)(writer) = (void (*)(writer))dlsym(RTLD_DEFAULT, "coverage_register");
    if (enlist != NULL) {
        enlist(dump);
    }
    (void)signal(SIGABRT, on_abort);
}

/* Stands before libc's in programs. */
void _exit(int status)
{
    write_all();
    for (;;) {
        (void)syscall(SYS_exit_group, status);
    }
}
