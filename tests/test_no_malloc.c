/*
 * The library takes memory by mapping only: no call, on any thread, ends in malloc. So the library
 * can implement malloc (see examples/preload). One exception: glibc uses its malloc to tell where
 * a thread's stack is; the library asks for that if a callback may have been left by a jump.
 *
 * The malloc family of this program counts the calls that come while the thread is in the library.
 */
#include "support/unit.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#if UNIT_SANITIZED || !defined(__GLIBC__)

int main(void)
{
    (void)puts("skipped: this libc's malloc cannot be stood in for");
    return 0;
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *object, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *object);

static _Thread_local volatile bool inside; /* volatile: malloc is known not to read it */
static atomic_size_t calls;
static _Thread_local const char *place; /* the call that the thread is in */
static _Atomic(const char *) culprit;

static void note(void)
{
    if (inside) {
        (void)atomic_fetch_add(&calls, 1);
        atomic_store(&culprit, place);
    }
}

void *malloc(size_t size)
{
    note();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    note();
    return __libc_calloc(count, size);
}

void *realloc(void *object, size_t size)
{
    note();
    return __libc_realloc(object, size);
}

void *memalign(size_t alignment, size_t size)
{
    note();
    return __libc_memalign(alignment, size);
}

void free(void *object)
{
    note();
    __libc_free(object);
}

/* Evaluates a call, and counts the calls of the malloc family meanwhile. */
#define IN(call) (inside = true, place = #call, (void)(call), inside = false)

static bool CHAKRA_CALLBACK allow(void *state, JsMemoryEventType event, size_t size)
{
    (void)state, (void)event, (void)size;
    return true;
}

static void CHAKRA_CALLBACK before_collect(void *state)
{
    (void)state;
}

static JsRuntimeHandle shared;

static void use_objects(JsRuntimeHandle runtime)
{
    void *objects[400];

    for (size_t i = 0; i < 400; i++) {
        size_t size = i % 50 == 0 ? i * 10000 : 1 + i * 11;
        IN(objects[i] = jsrtmem_alloc(runtime, size));
        IN(objects[i] = jsrtmem_realloc(runtime, objects[i], 2 * size + 1));
    }
    IN(jsrtmem_free(jsrtmem_calloc(runtime, 100, 100)));
    IN(jsrtmem_free(jsrtmem_aligned_alloc(runtime, (size_t)1 << 20, 100)));
    IN(jsrtmem_alloc(runtime, SIZE_MAX));
    for (size_t i = 0; i < 400; i++) {
        IN(jsrtmem_usable_size(objects[i]));
        IN(jsrtmem_free(objects[i]));
        IN(jsrtmem_free(objects[i]));
    }
}

/* Diagnostics for standard error are put together without malloc too. */
static void tell_all(JsRuntimeHandle disposed)
{
    JsRuntimeHandle runtime = NULL;
    static char foreign;

    IN(jsrtmem_set_diagnostics(7));
    IN(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime));
    IN(jsrtmem_free(&foreign));
    IN(jsrtmem_alloc(disposed, 100));
    IN(jsrtmem_realloc(runtime, &foreign, 100));
    IN(JsDisposeRuntime(runtime));
    IN(jsrtmem_set_diagnostics(0));
}

static void *use_runtimes(void *unused)
{
    JsRuntimeHandle runtime = NULL;
    JsContextRef context = NULL;
    jsrtmem_stats stats = {.struct_size = sizeof(stats)};
    unsigned int tick;

    IN(JsCreateRuntime(JsRuntimeAttributeEnableIdleProcessing, NULL, &runtime));
    IN(JsSetRuntimeMemoryAllocationCallback(runtime, NULL, allow));
    IN(JsSetRuntimeBeforeCollectCallback(runtime, NULL, before_collect));
    use_objects(runtime);
    IN(jsrtmem_enter(runtime));
    use_objects(runtime);
    for (int i = 0; i < 20; i++) { /* more frames than a thread's record holds */
        IN(jsrtmem_enter(i % 2 == 0 ? shared : runtime));
    }
    for (int i = 20; i-- > 0;) {
        IN(jsrtmem_leave(i % 2 == 0 ? shared : runtime));
    }
    IN(JsSetRuntimeMemoryLimit(runtime, 0));
    use_objects(runtime);
    IN(jsrtmem_get_stats(runtime, &stats));
    IN(JsCollectGarbage(runtime));
    IN(jsrtmem_leave(runtime));
    IN(JsCreateContext(runtime, &context));
    IN(JsSetCurrentContext(context));
    IN(JsIdle(&tick));
    IN(JsSetCurrentContext(JS_INVALID_REFERENCE));
    IN(jsrtmem_abandon(runtime));
    IN(JsDisposeRuntime(runtime));
    tell_all(runtime);
    IN(jsrtmem_set_reserve_limit(0));
    IN(jsrtmem_set_reserve_limit(MIB(32)));
    return unused;
}

static void no_call_ends_in_malloc(void **state)
{
    (void)state;
    IN(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &shared));
    (void)use_runtimes(NULL);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, use_runtimes, NULL), 0);
        (void)pthread_join(thread, NULL);
    }
    dispose(shared);
    require(atomic_load(&calls) == 0, "%zu calls of the malloc family; the last in %s",
            atomic_load(&calls), atomic_load(&culprit));
}

static void the_count_sees_a_call(void **state)
{
    void *volatile object; /* volatile: else the compiler removes both calls */

    (void)state;
    IN(object = malloc(1));
    IN(free(object));
    assert_int_equal(atomic_exchange(&calls, 0), 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_call_ends_in_malloc),
        cmocka_unit_test(the_count_sees_a_call),
    };

    return cmocka_run_group_tests_name("no malloc", tests, NULL, NULL);
}

#endif
