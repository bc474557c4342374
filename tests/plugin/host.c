/*
 * Does not know the library: loads a plug-in that does, uses it with threads, and drops it, round
 * after round. Threads that were in the plug-in exit after it is dropped. The process must not
 * grow. A plug-in that is linked with the shared library goes; one that has the library in it
 * stays.
 *
 * usage: plugin_host PLUGIN EMPTY_PLUGIN goes|stays [ROUNDS]
 *
 * Exit code 77: a libc that unloads nothing (musl) has kept the empty plug-in too. All else was
 * tried.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int (*touch)(void);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int touched, gone;
static int unloads; /* this libc unloads libraries */
static int goes;    /* the plug-in must go */

/* Calls the plug-in once, then waits until it is gone. */
static void *outlive(void *unused)
{
    int failed = touch();
    (void)pthread_mutex_lock(&lock);
    touched = 1;
    (void)pthread_cond_broadcast(&changed);
    while (!gone) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    (void)pthread_mutex_unlock(&lock);
    return failed ? unused : NULL;
}

static int fail(const char *what, unsigned round)
{
    (void)fprintf(stderr, "plugin_host: round %u: %s\n", round, what);
    return 1;
}

/* POSIX lets a function be read through an object pointer. */
static int find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static int is_loaded(const char *plugin)
{
    void *library = dlopen(plugin, RTLD_NOW | RTLD_NOLOAD);
    return library != NULL && dlclose(library) == 0;
}

static int run_round(const char *plugin, unsigned round)
{
    int (*start)(unsigned) = NULL;
    int (*end)(void) = NULL;
    pthread_t thread;
    void *result = NULL;
    void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return fail(dlerror(), round);
    }
    if (!find(library, "plugin_start", (void *)&start) ||
        !find(library, "plugin_touch", (void *)&touch) ||
        !find(library, "plugin_end", (void *)&end)) {
        return fail("the plug-in lacks a function", round);
    }
    touched = gone = 0;
    if (start(round) != 0) {
        return fail("start", round);
    }
    if (pthread_create(&thread, NULL, outlive, &touched) != 0) {
        return fail("no thread", round);
    }
    (void)pthread_mutex_lock(&lock);
    while (!touched) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    (void)pthread_mutex_unlock(&lock);
    if (end() != 0) {
        return fail("end", round);
    }
    if (dlclose(library) != 0) {
        return fail(dlerror(), round);
    }
    if (unloads && is_loaded(plugin) == goes) {
        return fail(goes ? "the plug-in is still loaded" : "the plug-in is gone", round);
    }
    (void)pthread_mutex_lock(&lock);
    gone = 1;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    (void)pthread_join(thread, &result);
    return result != NULL ? fail("touch", round) : 0;
}

/* Mapped address space, in KiB. */
static long mapped(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        char line[128];
        pages = fgets(line, sizeof line, file) != NULL ? strtol(line, NULL, 10) : 0;
        (void)fclose(file);
    }
    return pages * 4;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        return fail("which plug-ins, and does the first one go?", 0);
    }
    goes = strcmp(argv[3], "goes") == 0;
    unsigned rounds = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 60;
    long early = 0;
    void *empty = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    if (empty == NULL || dlclose(empty) != 0) {
        return fail(dlerror(), 0);
    }
    unloads = !is_loaded(argv[2]);
    for (unsigned round = 1; round <= rounds; round++) {
        if (run_round(argv[1], round) != 0) {
            return 1;
        }
        if (round == 20) {
            early = mapped();
        }
    }
    if (getenv("JSRTMEM_EMULATOR") != NULL) {
        early = 0; /* an emulator's own mappings count too, and grow */
    }
    if (early != 0 && mapped() > early + 1024) {
        return fail("the process has grown", rounds);
    }
    (void)printf("plugin_host: %u rounds, %ld KiB mapped after 20, %ld at the end\n", rounds, early,
                 mapped());
    if (!unloads) {
        (void)printf(
            "not run: this libc unloads nothing, so whether the plug-in goes is not known\n");
        return 77;
    }
    return 0;
}
