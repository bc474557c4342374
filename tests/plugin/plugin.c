/* A plug-in that links the library: host.c loads it and drops it, again and again. */
#include <jsrtmem.h>

#include <pthread.h>
#include <string.h>

/* The functions that the host looks up. Each returns 0 on success. */
__attribute__((visibility("default"))) int plugin_start(unsigned round);
__attribute__((visibility("default"))) int plugin_touch(void);
__attribute__((visibility("default"))) int plugin_end(void);

static JsRuntimeHandle kept;
static unsigned char *object;

static void *use_runtime(void *unused)
{
    JsRuntimeHandle runtime = NULL;
    int failed = JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError;
    failed |= jsrtmem_enter(runtime) != JsNoError;
    for (size_t size = 1; size < 300000; size *= 3) {
        void *bytes = jsrtmem_calloc(runtime, 1, size);
        failed |= bytes == NULL || jsrtmem_free(bytes) != JsNoError;
        failed |= jsrtmem_alloc(runtime, size) == NULL;
    }
    failed |= jsrtmem_leave(runtime) != JsNoError;
    failed |= JsDisposeRuntime(runtime) != JsNoError;
    /* The thread exits while it has the plug-in's own runtime entered, with a live object there. */
    failed |= jsrtmem_enter(kept) == JsNoError && jsrtmem_alloc(kept, 100) == NULL;
    return failed ? unused : NULL;
}

int plugin_start(unsigned round)
{
    pthread_t threads[2];
    int failed = JsCreateRuntime(JsRuntimeAttributeNone, NULL, &kept) != JsNoError;
    object = jsrtmem_alloc(kept, 1000 + round);
    failed |= object == NULL;
    if (failed) {
        return 1;
    }
    memset(object, 7, 1000 + round);
    for (int i = 0; i < 2; i++) {
        failed |= pthread_create(&threads[i], NULL, use_runtime, &kept) != 0;
    }
    for (int i = 0; i < 2; i++) {
        void *result = NULL;
        failed |= pthread_join(threads[i], &result) != 0 || result != NULL;
    }
    return failed;
}

/* Called on a thread of the host that ends after the plug-in is gone. */
int plugin_touch(void)
{
    JsRuntimeHandle runtime = NULL;
    if (JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError ||
        jsrtmem_alloc(runtime, 10) == NULL) {
        return 1;
    }
    return JsDisposeRuntime(runtime) != JsNoError;
}

int plugin_end(void)
{
    jsrtmem_process_stats stats = {.struct_size = sizeof stats};
    int failed = object[0] != 7 || jsrtmem_free(object) != JsNoError;
    failed |= JsDisposeRuntime(kept) != JsNoError;
    failed |= jsrtmem_get_process_stats(&stats) != JsNoError;
    return failed || stats.runtimes != 0 || stats.usage != 0;
}
