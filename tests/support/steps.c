#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "steps.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "jsrtmem.h"

#define TRAP_FLAG 0x100
#define BREAKPOINT 0xcc
#define MAX_TRACE 65536

/* Written by the stopped thread, in its signal handler too. The worker writes the last three. */
static struct {
    uintptr_t start, end; /* of the library's instructions */

    bool tracing;
    bool *seen;         /* one per instruction */
    uintptr_t *visited; /* instructions, in the order of visits */
    size_t count;

    unsigned char *point; /* the breakpoint; NULL: none */
    unsigned char replaced;
    worker *other;
    worker_job job;
    void *job_argument;

    _Atomic(bool) done, waits;
    _Atomic(pthread_t) thread; /* the worker's, while it is at the job */
} steps;

/* Stands before the libc's: the library yields when it waits. */
int sched_yield(void)
{
    static int (*_Atomic real)(void);

    if (pthread_equal(atomic_load(&steps.thread), pthread_self())) {
        atomic_store(&steps.waits, true);
    }
    if (atomic_load(&real) == NULL) {
        atomic_store(&real, (int (*)(void))dlsym(RTLD_NEXT, "sched_yield"));
    }
    return atomic_load(&real)();
}

static void do_job(void *unused)
{
    (void)unused;
    atomic_store(&steps.thread, pthread_self());
    steps.job(steps.job_argument);
    atomic_store(&steps.thread, (pthread_t)0);
    atomic_store(&steps.done, true);
}

static void let_other(void)
{
    worker_post(steps.other, do_job, NULL);
    while (!atomic_load(&steps.done) && !atomic_load(&steps.waits)) {
        (void)nanosleep(&(struct timespec){0, 5000}, NULL);
    }
}

static void note(uintptr_t here)
{
    if (here >= steps.start && here < steps.end && !steps.seen[here - steps.start] &&
        steps.count < MAX_TRACE) {
        steps.seen[here - steps.start] = true;
        steps.visited[steps.count++] = here;
    }
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)number, (void)info;
    if (steps.point != NULL && (uintptr_t)registers[REG_RIP] == (uintptr_t)(steps.point + 1)) {
        *steps.point = steps.replaced;
        steps.point = NULL;
        registers[REG_RIP]--;
        let_other();
        return;
    }
    note((uintptr_t)registers[REG_RIP]);
    if (steps.tracing) {
        registers[REG_EFL] |= TRAP_FLAG;
    } else {
        registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    }
}

static int find_library(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (strstr(info->dlpi_name, "libjsrtmem") == NULL) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X) != 0) {
            steps.start = info->dlpi_addr + header->p_vaddr;
            steps.end = steps.start + header->p_memsz;
        }
    }
    return 1;
}

static void try_call(void *unused)
{
    (void)unused;
    (void)jsrtmem_free(NULL);
}

bool steps_begin(void)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t point;

    if (dl_iterate_phdr(find_library, NULL) != 1 || sigaction(SIGTRAP, &action, NULL) != 0) {
        return false;
    }
    steps.seen = calloc(steps.end - steps.start, sizeof(bool));
    steps.visited = calloc(MAX_TRACE, sizeof(uintptr_t));
    uintptr_t start = steps.start & ~(page - 1);
    return steps.seen != NULL && steps.visited != NULL &&
           mprotect((void *)start, steps.end - start, PROT_READ | PROT_WRITE | PROT_EXEC) == 0 &&
           steps_trace(try_call, NULL, &point, 1) == 1;
}

size_t steps_trace(worker_job call, void *argument, uintptr_t *points, size_t room)
{
    memset(steps.seen, 0, steps.end - steps.start);
    steps.count = 0;
    steps.tracing = true;
    (void)raise(SIGTRAP);
    call(argument);
    steps.tracing = false;
    (void)raise(SIGTRAP); /* the trap flag is still on */
    size_t step = (steps.count + room - 1) / room;
    size_t kept = 0;
    for (size_t i = 0; i < steps.count; i += step) {
        points[kept++] = steps.visited[i];
    }
    return kept;
}

void steps_run(worker_job call, void *argument, uintptr_t point, worker *other, worker_job job,
               void *job_argument)
{
    steps.other = other;
    steps.job = job;
    steps.job_argument = job_argument;
    atomic_store(&steps.done, false);
    atomic_store(&steps.waits, false);
    steps.point = (unsigned char *)point;
    steps.replaced = *steps.point;
    *steps.point = BREAKPOINT;
    call(argument);
    if (steps.point != NULL) { /* the call did not reach it */
        *steps.point = steps.replaced;
        steps.point = NULL;
    }
    worker_wait(other);
}
