/*
 * Is linked with the static library and exports it. A plug-in gets a runtime of this host, and uses
 * calls that the host itself does not name.
 *
 * usage: exporting_host PLUGIN
 */
#include <jsrtmem.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what)
{
    (void)fprintf(stderr, "exporting_host: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    JsRuntimeHandle runtime = NULL;
    int (*visit)(JsRuntimeHandle) = NULL;
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL) {
        return fail(argc == 2 ? dlerror() : "which plug-in?");
    }
    void *symbol = dlsym(library, "plugin_visit");
    memcpy((void *)&visit, &symbol, sizeof symbol); /* POSIX lets it be read that way */
    if (symbol == NULL) {
        return fail("the plug-in lacks a function");
    }
    if (JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) != JsNoError ||
        jsrtmem_alloc(runtime, 1) == NULL) {
        return fail("no runtime");
    }
    return visit(runtime) != 0 ? fail("the plug-in's library is not the host's") : 0;
}
