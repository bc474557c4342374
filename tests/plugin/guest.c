/* A plug-in that uses the host's runtimes: exporting_host.c loads it. */
#include <jsrtmem.h>

__attribute__((visibility("default"))) int plugin_visit(JsRuntimeHandle runtime);

/* Uses each file of the interface. Returns 0 if all are those of the host. */
int plugin_visit(JsRuntimeHandle runtime)
{
    jsrtmem_stats stats = {.struct_size = sizeof stats};
    JsRuntimeHandle owner = NULL;
    size_t usage = 0;
    int failed = JsGetRuntimeMemoryUsage(runtime, &usage) != JsNoError || usage == 0;
    failed |= jsrtmem_enter(runtime) != JsNoError || jsrtmem_current() != runtime;
    void *object = jsrtmem_alloc(runtime, 100);
    failed |= object == NULL || jsrtmem_runtime_of(object, &owner) != JsNoError ||
              owner != runtime;
    failed |= jsrtmem_get_stats(runtime, &stats) != JsNoError || stats.usage != usage;
    failed |= jsrtmem_free(object) != JsNoError || jsrtmem_leave(runtime) != JsNoError;
    return failed;
}
