/*
 * The shortest tour of the API, in the common subset of C and C++, without a test library: for
 * machines that have none, and as the host that tests/consume/consume.sh builds.
 */
#include <jsrtmem.h>

#include <stdio.h>
#include <string.h>

/* Prints and counts a condition that does not hold. */
#define EXPECT(condition) expect((condition) ? 1 : 0, #condition, __LINE__)

static int failed;

static void expect(int holds, const char *condition, int line)
{
    if (!holds) {
        (void)printf("smoke.c:%d: does not hold: %s\n", line, condition);
        failed++;
    }
}

struct mirror {
    size_t held;
    int failures;
    bool answer;
};

static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType event, size_t size)
{
    struct mirror *mirror = (struct mirror *)state;
    if (event == JsMemoryAllocate && mirror->answer) {
        mirror->held += size;
    } else if (event == JsMemoryFree) {
        mirror->held -= size;
    } else if (event == JsMemoryFailure) {
        mirror->failures++;
    }
    return mirror->answer;
}

static jsrtmem_refusal last_reason(void)
{
    jsrtmem_refusal_info info;
    info.struct_size = sizeof info;
    EXPECT(jsrtmem_last_refusal(&info) == JsNoError);
    return info.reason;
}

static void check_objects(JsRuntimeHandle runtime)
{
    char *text = (char *)jsrtmem_alloc(runtime, 6);
    EXPECT(text != NULL);
    if (text == NULL) {
        return;
    }
    memcpy(text, "hello", 6);
    text = (char *)jsrtmem_realloc(runtime, text, 100000);
    EXPECT(text != NULL && strcmp(text, "hello") == 0);
    EXPECT(jsrtmem_usable_size(text) >= 100000);
    JsRuntimeHandle owner = JS_INVALID_RUNTIME_HANDLE;
    EXPECT(jsrtmem_runtime_of(text, &owner) == JsNoError && owner == runtime);
    EXPECT(jsrtmem_free(text) == JsNoError);
    EXPECT(jsrtmem_free(text) == JsErrorInvalidArgument);
}

static void check_refusals(JsRuntimeHandle runtime, struct mirror *mirror)
{
    size_t usage = 0;
    EXPECT(JsGetRuntimeMemoryUsage(runtime, &usage) == JsNoError);
    EXPECT(usage == mirror->held);
    EXPECT(JsSetRuntimeMemoryLimit(runtime, usage) == JsNoError);
    EXPECT(jsrtmem_alloc(runtime, 10000000) == NULL);
    EXPECT(last_reason() == JSRTMEM_REFUSAL_LIMIT);
    EXPECT(mirror->failures == 1);
    EXPECT(JsSetRuntimeMemoryLimit(runtime, (size_t)-1) == JsNoError);
    mirror->answer = false;
    EXPECT(jsrtmem_alloc(runtime, 10000000) == NULL);
    EXPECT(last_reason() == JSRTMEM_REFUSAL_HOST);
    EXPECT(mirror->failures == 2);
    mirror->answer = true;
    EXPECT(jsrtmem_alloc(runtime, 10000000) != NULL);
}

int main(void)
{
    struct mirror mirror = {0, 0, true};
    JsRuntimeHandle runtime = JS_INVALID_RUNTIME_HANDLE;
    EXPECT(JsCreateRuntime(JsRuntimeAttributeNone, NULL, &runtime) == JsNoError);
    EXPECT(JsSetRuntimeMemoryAllocationCallback(runtime, &mirror, on_event) == JsNoError);
    check_objects(runtime);
    check_refusals(runtime, &mirror);

    JsContextRef context = JS_INVALID_REFERENCE;
    EXPECT(JsCreateContext(runtime, &context) == JsNoError);
    EXPECT(JsSetCurrentContext(context) == JsNoError);
    check_objects(runtime);
    EXPECT(JsDisposeRuntime(runtime) == JsErrorRuntimeInUse);
    EXPECT(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);

    EXPECT(JsDisposeRuntime(runtime) == JsNoError);
    EXPECT(mirror.held == 0);
    size_t usage = 1;
    EXPECT(JsGetRuntimeMemoryUsage(runtime, &usage) == JsErrorInvalidArgument);
    EXPECT(usage == 1);
    (void)printf("smoke: libjsrtmem %s: %s\n", jsrtmem_version(), failed == 0 ? "ok" : "FAILED");
    return failed == 0 ? 0 : 1;
}
