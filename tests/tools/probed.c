/*
 * A host that prints the arguments of the library's probes, one line each time a probe is passed.
 */
#include "jsrtmem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static JsRuntimeHandle runtime;

static void say(const char *probe, size_t bytes)
{
    (void)printf("%s 0x%" PRIxPTR " %zu\n", probe, (uintptr_t)runtime, bytes);
    (void)fflush(stdout);
}

static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType event, size_t bytes)
{
    (void)state;
    if (event != JsMemoryFailure) {
        say(event == JsMemoryAllocate ? "acquire" : "release", bytes);
    }
    return true;
}

static void refused(const void *object)
{
    jsrtmem_refusal_info info = {.struct_size = sizeof(info)};
    if (object != NULL || jsrtmem_last_refusal(&info) != JsNoError) {
        abort();
    }
    (void)printf("refuse 0x%" PRIxPTR " %d %zu\n", (uintptr_t)info.runtime, (int)info.reason,
                 info.requested);
    (void)fflush(stdout);
}

int main(void)
{
    if (JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError ||
        JsSetRuntimeMemoryAllocationCallback(runtime, NULL, on_event) != JsNoError) {
        return 1;
    }
    (void)printf("create 0x%" PRIxPTR "\n", (uintptr_t)runtime);
    void *object = jsrtmem_alloc(runtime, 1000000);
    (void)jsrtmem_alloc(runtime, 100);
    object = jsrtmem_realloc(runtime, object, 3000000);
    object = jsrtmem_realloc(runtime, object, 2000000);
    if (jsrtmem_free(object) != JsNoError || JsSetRuntimeMemoryLimit(runtime, 1) != JsNoError) {
        return 1;
    }
    refused(jsrtmem_alloc(runtime, 5000000));
    refused(jsrtmem_aligned_alloc(runtime, 3, 70));
    refused(jsrtmem_alloc(NULL, 80));
    JsRuntimeHandle disposed = runtime;
    if (JsDisposeRuntime(runtime) != JsNoError) {
        return 1;
    }
    (void)printf("dispose 0x%" PRIxPTR "\n", (uintptr_t)disposed);
    return 0;
}
