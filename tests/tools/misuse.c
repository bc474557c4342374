/*
 * A host with one mistake, for the tools that find such mistakes: it prints the address and makes
 * the mistake.
 * usage: misuse KIND; `clean` makes no mistake, but uses everything that the library can do.
 */
#include "jsrtmem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

static volatile char sink;
static JsRuntimeHandle runtime;

static void must(bool holds, const char *what)
{
    if (!holds) {
        (void)printf("not so: %s\n", what);
        (void)fflush(stdout);
        abort();
    }
}
#define MUST(condition) must((condition), #condition)

static NOINLINE char *make(size_t size)
{
    char *object = jsrtmem_alloc(runtime, size);
    MUST(object != NULL);
    memset(object, 1, size);
    return object;
}

static NOINLINE void give_away(char *object)
{
    MUST(jsrtmem_free(object) == JsNoError);
}

static void *give_away_on_thread(void *object)
{
    give_away(object);
    return NULL;
}

/* The main thread has entered the runtime, so the other thread's free is queued. */
static void give_away_elsewhere(char *object)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, give_away_on_thread, object) == 0);
    MUST(pthread_join(thread, NULL) == 0);
}

static NOINLINE void mistake(const char *address)
{
    (void)printf("%p\n", (const void *)address);
    (void)fflush(stdout);
    sink = *address;
}

static void freed(void)
{
    char *object = make(40);
    give_away(object);
    mistake(object + 3);
}

static void freed_not_entered(void)
{
    char *object = make(40);
    MUST(jsrtmem_leave(runtime) == JsNoError);
    give_away(object);
    mistake(object + 3);
}

static void freed_elsewhere(void)
{
    char *object = make(40);
    give_away_elsewhere(object);
    mistake(object + 3);
}

static void freed_large_elsewhere(void)
{
    char *object = make(1000000);
    give_away_elsewhere(object);
    mistake(object + 3);
}

static void beyond(void)
{
    mistake(make(40) + 40);
}

static void beyond_large(void)
{
    mistake(make(1000000) + 1000000);
}

/* Accesses memory that was never handed out. */
static void far_beyond(void)
{
    mistake(make(40) + 4000);
}

static void moved(void)
{
    char *object = make(4000);
    (void)make(4000);
    MUST(jsrtmem_realloc(runtime, object, 9000) != object);
    mistake(object + 3);
}

static void shrunk(void)
{
    char *object = make(4000);
    MUST(jsrtmem_realloc(runtime, object, 100) == object);
    mistake(object + 100);
}

/* Accesses memory that is free now: the rest of the shrunk object, or its former place. */
static void shrunk_far(void)
{
    char *object = make(4000);
    (void)make(40);
    MUST(jsrtmem_realloc(runtime, object, 100) != NULL);
    mistake(object + 2000);
}

static void disposed(void)
{
    char *object = make(40);
    MUST(jsrtmem_leave(runtime) == JsNoError);
    MUST(JsDisposeRuntime(runtime) == JsNoError);
    mistake(object + 3);
}

/* Tools ignore accesses by the library, but not those by its callbacks. */
static char *seen_by_callback;

static bool CHAKRA_CALLBACK look(void *state, JsMemoryEventType event, size_t bytes)
{
    (void)state, (void)event, (void)bytes;
    mistake(seen_by_callback);
    return true;
}

static void in_callback(void)
{
    seen_by_callback = make(40);
    give_away(seen_by_callback);
    MUST(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, look) == JsNoError);
    (void)make(1000000);
}

static jmp_buf out;

static bool CHAKRA_CALLBACK jump(void *state, JsMemoryEventType event, size_t bytes)
{
    (void)state, (void)event, (void)bytes;
    longjmp(out, 1);
}

static NOINLINE void jump_out(void)
{
    if (setjmp(out) == 0) {
        MUST(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, jump) == JsNoError);
        (void)make(1000000);
        must(false, "the callback jumps");
    }
    MUST(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, NULL) == JsNoError);
}

static void after_jump(void)
{
    char *object = make(40);
    jump_out();
    give_away(object);
    mistake(object + 3);
}

static void undefined(void)
{
    const char *object = jsrtmem_alloc(runtime, 40);
    MUST(object != NULL);
    if (object[3] == 7) {
        (void)puts("seven");
    }
}

/* Reads the part that a larger size added. */
static void undefined_grown(void)
{
    const char *object = jsrtmem_realloc(runtime, make(1000), 4000);
    MUST(object != NULL);
    if (object[3000] == 7) {
        (void)puts("seven");
    }
}

static NOINLINE void lose(void)
{
    for (int i = 0; i < 10; i++) {
        (void)make(4321);
    }
}

static void *volatile held; /* memcheck looks for leaks only if libc's malloc holds something */

static void lost(void)
{
    held = malloc(1);
    lose();
    (void)memset(make(4321), 0, 4321);
}

/* ---- No mistake ---- */

/* An object that only other objects point to is not lost as long as those are not. */
static char *volatile kept[5];

static void point_at(char *place, size_t size)
{
    void *object = malloc(size);
    memcpy(place, &object, sizeof(object));
}

static NOINLINE void hold(void)
{
    kept[0] = make(40);
    kept[1] = make(500000);
    kept[2] = make(500000);
    kept[3] = make(5000000);
    point_at(kept[0] + 8, 101);
    point_at(kept[1] + 80000, 102);
    point_at(kept[2] + 480000, 103);
    kept[2] = jsrtmem_realloc(runtime, kept[2], 5000000);
    point_at(kept[2] + 4800000, 104);
    kept[3] = jsrtmem_realloc(runtime, kept[3], 600000);
    point_at(kept[3] + 560000, 105);
}

static void held_by_objects(void)
{
    hold();
    jump_out(); /* overwrites pointers left on the stack */
}

static bool CHAKRA_CALLBACK allocate_inside(void *state, JsMemoryEventType event, size_t bytes)
{
    (void)state, (void)event, (void)bytes;
    char *object = jsrtmem_alloc(runtime, 100);
    if (object != NULL) {
        memset(object, 2, 100);
        give_away(object);
    }
    return true;
}

static bool all_are(const char *bytes, char value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

static void resize_all_ways(void)
{
    static const size_t sizes[] = {1,     15,     16,      40,     100, 5000, 40,
                                   70000, 300000, 5000000, 700000, 3,   0};
    char *object = make(24);
    size_t old = 24;
    for (size_t i = 0; sizes[i] != 0; i++) {
        object = jsrtmem_realloc(runtime, object, sizes[i]);
        MUST(object != NULL && all_are(object, 1, old < sizes[i] ? old : sizes[i]));
        memset(object, 1, sizes[i]);
        old = sizes[i];
        if (i % 2 == 0) { /* once usable_size is called, all of it may be used, and is kept */
            old = jsrtmem_usable_size(object);
            memset(object, 1, old);
        }
    }
    MUST(jsrtmem_realloc(runtime, object, 0) == NULL);
}

static void use_objects(void)
{
    enum { COUNT = 300 };
    char *objects[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        objects[i] = make(1 + i * 37);
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        give_away(objects[i]);
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        size_t size = i % 50 == 0 ? 300000 : 1 + i * 11;
        objects[i] = i % 4 == 0 ? jsrtmem_calloc(runtime, 1, size)
                                : jsrtmem_aligned_alloc(runtime, 256, size);
        MUST(objects[i] != NULL && (i % 4 != 0 || all_are(objects[i], 0, size)));
        memset(objects[i], 3, size);
    }
    give_away_elsewhere(objects[0]);
    give_away_elsewhere(objects[50]);
    for (size_t i = 1; i < COUNT; i++) {
        if (i != 50) {
            give_away(objects[i]);
        }
    }
    MUST(JsCollectGarbage(runtime) == JsNoError);
}

/* Objects that share blocks. Some of them move when they grow or shrink. */
static void move_small(void)
{
    enum { OBJECTS = 8 };
    char *objects[OBJECTS];
    int moved = 0;
    for (int i = 0; i < OBJECTS; i++) {
        objects[i] = make(100);
    }
    for (int i = 0; i < 2 * OBJECTS; i++) {
        char **object = &objects[i % OBJECTS];
        size_t size = i < OBJECTS ? 300 : 60;
        char *resized = jsrtmem_realloc(runtime, *object, size);
        MUST(resized != NULL && all_are(resized, 1, size < 100 ? size : 100));
        moved += resized != *object;
        memset(resized, 1, size);
        *object = resized;
    }
    MUST(moved > 1);
    for (int i = 0; i < OBJECTS; i++) {
        MUST(jsrtmem_free(objects[i]) == JsNoError);
    }
}

static void clean(void)
{
    MUST(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, allocate_inside) == JsNoError);
    for (int round = 0; round < 4; round++) {
        use_objects();
        resize_all_ways();
        move_small();
        if (round == 1) {
            MUST(jsrtmem_leave(runtime) == JsNoError);
        } else if (round == 2) { /* another runtime, on the blocks of the first one */
            (void)make(500000);
            (void)make(50);
            MUST(JsDisposeRuntime(runtime) == JsNoError);
            MUST(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
        }
    }
    MUST(JsDisposeRuntime(runtime) == JsNoError);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } kinds[] = {
        {"clean", clean},
        {"held", held_by_objects},
        {"freed", freed},
        {"freed-not-entered", freed_not_entered},
        {"freed-elsewhere", freed_elsewhere},
        {"freed-large-elsewhere", freed_large_elsewhere},
        {"beyond", beyond},
        {"beyond-large", beyond_large},
        {"far-beyond", far_beyond},
        {"moved", moved},
        {"shrunk", shrunk},
        {"shrunk-far", shrunk_far},
        {"disposed", disposed},
        {"in-callback", in_callback},
        {"after-jump", after_jump},
        {"undefined", undefined},
        {"undefined-grown", undefined_grown},
        {"lost", lost},
    };
    for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            MUST(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
            MUST(jsrtmem_enter(runtime) == JsNoError);
            kinds[i].function();
            return 0;
        }
    }
    (void)fprintf(stderr, "usage: misuse KIND\n");
    return 2;
}
