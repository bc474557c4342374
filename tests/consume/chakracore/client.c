/*
 * A host of ChakraCore that keeps to its memory API, as such hosts are: a thread service that it
 * has no use for, a mirror of the usage, a context to run in. What would be its scripts' objects
 * comes from jsrtmem.h.
 */
#include <ChakraCore.h>

#include <jsrtmem.h>

#include <stdio.h>

#define EXPECT(condition) expect((condition) ? 1 : 0, #condition, __LINE__)

static int failed;

static void expect(int holds, const char *condition, int line)
{
    if (!holds) {
        (void)printf("client.c:%d: does not hold: %s\n", line, condition);
        failed++;
    }
}

static bool CHAKRA_CALLBACK no_service(JsBackgroundWorkItemCallback callback, void *state)
{
    (void)callback;
    (void)state;
    return false;
}

static bool CHAKRA_CALLBACK on_event(_In_opt_ void *state, _In_ JsMemoryEventType event,
                                     _In_ size_t size)
{
    size_t *mirror = (size_t *)state;
    if (event == JsMemoryAllocate) {
        *mirror += size;
    } else {
        *mirror -= size; /* a Failure too: its size was added when the runtime asked */
    }
    return true;
}

static void CHAKRA_CALLBACK before_collect(void *state)
{
    ++*(int *)state;
}

int main(void)
{
    JsRuntimeHandle runtime = JS_INVALID_RUNTIME_HANDLE;
    JsContextRef context = JS_INVALID_REFERENCE;
    JsContextRef current = JS_INVALID_REFERENCE;
    size_t mirror = 0;
    size_t usage = 1;
    size_t limit = 0;
    int collections = 0;

    EXPECT(JsCreateRuntime(JsRuntimeAttributeAllowScriptInterrupt, no_service, &runtime) ==
           JsNoError);
    EXPECT(JsGetRuntimeMemoryLimit(runtime, &limit) == JsNoError && limit == (size_t)-1);
    EXPECT(JsSetRuntimeMemoryAllocationCallback(runtime, &mirror, on_event) == JsNoError);
    EXPECT(JsSetRuntimeBeforeCollectCallback(runtime, &collections, before_collect) == JsNoError);
    EXPECT(JsCreateContext(runtime, &context) == JsNoError);
    EXPECT(JsSetCurrentContext(context) == JsNoError);
    EXPECT(JsGetCurrentContext(&current) == JsNoError && current == context);

    EXPECT(jsrtmem_alloc(runtime, 100000) != NULL);
    EXPECT(JsGetRuntimeMemoryUsage(runtime, &usage) == JsNoError);
    EXPECT(usage >= 100000 && usage == mirror);
    EXPECT(JsSetRuntimeMemoryLimit(runtime, 0) == JsNoError);
    EXPECT(JsSetRuntimeMemoryLimit(runtime, (size_t)-1) == JsNoError);
    EXPECT(JsCollectGarbage(runtime) == JsNoError && collections == 1);

    EXPECT(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);
    EXPECT(JsDisposeRuntime(runtime) == JsNoError);
    EXPECT(mirror == 0);
    (void)printf("client.c: libjsrtmem %s: %s\n", jsrtmem_version(), failed == 0 ? "ok" : "FAILED");
    return failed == 0 ? 0 : 1;
}
