/*
 * A host that opens the engine by its name at run time, and looks its functions up.
 */
#include <ChakraCore.h>

#include <dlfcn.h>
#include <stdio.h>

typedef JsErrorCode(CHAKRA_CALLBACK *create_function)(JsRuntimeAttributes, JsThreadServiceCallback,
                                                      JsRuntimeHandle *);
typedef JsErrorCode(CHAKRA_CALLBACK *usage_function)(JsRuntimeHandle, size_t *);
typedef JsErrorCode(CHAKRA_CALLBACK *dispose_function)(JsRuntimeHandle);
typedef const char *(*version_function)(void);

/* Data and function pointers have the same form on systems that have dlsym. */
static void look_up(void *library, const char *name, void *function)
{
    *(void **)function = dlsym(library, name);
}

int main(void)
{
    create_function create;
    usage_function get_usage;
    dispose_function dispose;
    version_function get_version;
    JsRuntimeHandle runtime;
    size_t usage;
    void *library = dlopen("libChakraCore.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        (void)printf("dlopen.c: %s\n", dlerror());
        return 1;
    }
    look_up(library, "JsCreateRuntime", &create);
    look_up(library, "JsGetRuntimeMemoryUsage", &get_usage);
    look_up(library, "JsDisposeRuntime", &dispose);
    look_up(library, "jsrtmem_version", &get_version);
    if (create == NULL || get_usage == NULL || dispose == NULL || get_version == NULL) {
        (void)printf("dlopen.c: a function is missing\n");
        return 1;
    }
    if (dlsym(library, "JsRunScript") != NULL) {
        (void)printf("dlopen.c: JsRunScript is there, but there is no engine\n");
        return 1;
    }
    if (create(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError ||
        get_usage(runtime, &usage) != JsNoError || dispose(runtime) != JsNoError) {
        (void)printf("dlopen.c: a call failed\n");
        return 1;
    }
    (void)printf("dlopen.c: libjsrtmem %s: ok\n", get_version());
    return 0;
}
