/*
 * Windows only: the DLL found by name, loaded late and never unloaded; the ways in which threads
 * end; fibers; reservations that do not count.
 */
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"
#include "support/worker.h"

#include <process.h>
#include <string.h>
#include <windows.h>

/* ---- the DLL -------------------------------------------------------------------------------- */

#define LIBRARY "jsrtmem.dll"
#define COPY "jsrtmem_copy.dll"

typedef JsErrorCode(__stdcall *create_function)(JsRuntimeAttributes, JsThreadServiceCallback,
                                                JsRuntimeHandle *);
typedef JsErrorCode(__stdcall *dispose_function)(JsRuntimeHandle);
typedef JsErrorCode(__cdecl *enter_function)(JsRuntimeHandle);
typedef void *(__cdecl *alloc_function)(JsRuntimeHandle, size_t);

struct library {
    HMODULE module;
    create_function create;
    dispose_function dispose;
    enter_function enter;
    alloc_function alloc;
};

static void *named(HMODULE module, const char *name)
{
    void *function = (void *)(uintptr_t)GetProcAddress(module, name);

    require(function != NULL, "the DLL has no %s", name);
    return function;
}

static struct library functions_of(HMODULE module)
{
    assert_non_null(module);
    return (struct library){
        module,
        (create_function)(uintptr_t)named(module, "JsCreateRuntime"),
        (dispose_function)(uintptr_t)named(module, "JsDisposeRuntime"),
        (enter_function)(uintptr_t)named(module, "jsrtmem_enter"),
        (alloc_function)(uintptr_t)named(module, "jsrtmem_alloc"),
    };
}

static void functions_are_found_by_their_plain_names(void **state)
{
    struct library library = functions_of(GetModuleHandleA(LIBRARY));
    JsRuntimeHandle runtime = NULL;

    (void)state;
    assert_ok(library.create(JsRuntimeAttributeNone, NULL, &runtime));
    assert_non_null(library.alloc(runtime, 100));
    assert_true(usage_of(runtime) > 0); /* it is the library that this program is linked with */
    assert_ok(library.dispose(runtime));
}

struct late {
    gate *loaded;
    struct library library;
    JsRuntimeHandle runtime;
    JsErrorCode code;
};

static void enter_when_loaded(void *argument)
{
    struct late *self = argument;

    gate_wait(self->loaded);
    self->code = self->library.enter(self->runtime);
}

static HMODULE load_copy(void)
{
    char original[MAX_PATH], copy[MAX_PATH + sizeof(COPY)];
    DWORD length = GetModuleFileNameA(GetModuleHandleA(LIBRARY), original, MAX_PATH);

    assert_true(length > sizeof(LIBRARY) && length < MAX_PATH);
    memcpy(copy, original, length);
    memcpy(copy + length - (sizeof(LIBRARY) - 1), COPY, sizeof(COPY));
    assert_true(CopyFileA(original, copy, FALSE));
    return LoadLibraryA(copy);
}

/* Threads older than the DLL can use it, and it stays loaded once it has had a runtime. */
static void a_library_that_is_loaded_late_stays(void **state)
{
    struct late late = {.loaded = gate_new(), .code = JsErrorFatal};
    worker *older = worker_start();

    (void)state;
    worker_post(older, enter_when_loaded, &late);
    late.library = functions_of(load_copy());
    assert_ok(late.library.create(JsRuntimeAttributeNone, NULL, &late.runtime));
    gate_open(late.loaded);
    worker_wait(older);
    assert_ok(late.code);
    assert_code(late.library.dispose(late.runtime), JsErrorRuntimeInUse);
    assert_true(FreeLibrary(late.library.module));
    assert_ptr_equal(GetModuleHandleA(COPY), late.library.module);
    worker_stop(older); /* its end is noticed, and leaves the runtime */
    assert_ok(late.library.dispose(late.runtime));
    gate_delete(late.loaded);
}

/* ---- threads -------------------------------------------------------------------------------- */

static bool enter_and_hold(void *runtime)
{
    return jsrtmem_enter(runtime) == JsNoError && jsrtmem_enter(runtime) == JsNoError &&
           jsrtmem_alloc(runtime, 100) != NULL;
}

static DWORD WINAPI return_from_it(void *runtime)
{
    return enter_and_hold(runtime);
}

static DWORD WINAPI exit_thread(void *runtime)
{
    ExitThread(enter_and_hold(runtime));
}

static unsigned __stdcall end_thread(void *runtime)
{
    _endthreadex(enter_and_hold(runtime));
    return 0;
}

static void thread_ends_leave_the_runtime(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        JsRuntimeHandle runtime = new_runtime();
        LPTHREAD_START_ROUTINE start = way == 0 ? return_from_it : exit_thread;
        HANDLE thread = way < 2 ? CreateThread(NULL, 0, start, runtime, 0, NULL)
                                : (HANDLE)_beginthreadex(NULL, 0, end_thread, runtime, 0, NULL);
        DWORD done = 0;

        assert_non_null(thread);
        assert_int_equal(WaitForSingleObject(thread, INFINITE), WAIT_OBJECT_0);
        assert_true(GetExitCodeThread(thread, &done) && done == 1);
        assert_true(CloseHandle(thread));
        assert_ok(jsrtmem_enter(runtime));
        assert_non_null(jsrtmem_alloc(runtime, 100));
        assert_ok(jsrtmem_leave(runtime));
        dispose(runtime);
    }
}

/* ---- fibers --------------------------------------------------------------------------------- */

struct on_fiber {
    void *back;
    JsRuntimeHandle runtime;
    JsErrorCode code;
};

static void WINAPI enter_on_fiber(void *argument)
{
    struct on_fiber *self = argument;

    self->code = jsrtmem_enter(self->runtime);
    SwitchToFiber(self->back);
}

static JsErrorCode try_to_enter(void *runtime, void *unused)
{
    (void)unused;
    return jsrtmem_enter(runtime);
}

/* Threads enter runtimes, fibers do not. The end of a fiber is not the end of its thread. */
static void a_fiber_that_ends_leaves_nothing(void **state)
{
    struct on_fiber self = {ConvertThreadToFiber(NULL), new_runtime(), JsErrorFatal};
    worker *other = worker_start();

    (void)state;
    assert_non_null(self.back);
    void *fiber = CreateFiber(0, enter_on_fiber, &self);
    assert_non_null(fiber);
    SwitchToFiber(fiber);
    assert_ok(self.code);
    DeleteFiber(fiber);
    assert_code(worker_do(other, try_to_enter, self.runtime, NULL), JsErrorWrongThread);
    assert_ok(jsrtmem_leave(self.runtime));
    assert_ok(worker_do(other, try_to_enter, self.runtime, NULL));
    worker_stop(other);
    dispose(self.runtime);
    assert_true(ConvertFiberToThread());
}

/* ---- memory --------------------------------------------------------------------------------- */

static DWORD state_of(const void *address)
{
    MEMORY_BASIC_INFORMATION info;

    assert_int_equal(VirtualQuery(address, &info, sizeof(info)), sizeof(info));
    return info.State;
}

/* The first page behind an object and its pad. The page in which the pad ends is committed, this
 * one is not. */
static const unsigned char *behind(const unsigned char *object)
{
    uintptr_t end = (uintptr_t)object + jsrtmem_usable_size(object);

    return (const unsigned char *)((end | (page_size() - 1)) + 1);
}

static void what_is_only_reserved_does_not_count(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    unsigned char *object = new_object(runtime, MIB(1));

    (void)state;
    assert_true(usage_of(runtime) < MIB(1) + KIB(64));
    pattern_fill(object, MIB(1), 5);
    if (sizeof(void *) == 8) {
        size_t usage = usage_of(runtime);

        assert_int_equal(state_of(behind(object)), MEM_RESERVE);
        assert_ptr_equal(jsrtmem_realloc(runtime, object, MIB(1) + KIB(512)), object);
        assert_int_equal(usage_of(runtime), usage + KIB(512));
        assert_int_equal(state_of(behind(object) - 1), MEM_COMMIT);
        assert_ptr_equal(jsrtmem_realloc(runtime, object, MIB(1)), object);
        assert_int_equal(usage_of(runtime), usage);
        assert_int_equal(state_of(behind(object)), MEM_RESERVE);
        assert_trace(&host, "AAF");
    }
    assert_true(pattern_holds(object, MIB(1), 5));
    assert_ok(jsrtmem_free(object));
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(state_of(object), MEM_FREE);
    dispose(runtime);
    assert_all_freed(&host);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_found_by_their_plain_names),
        cmocka_unit_test(a_library_that_is_loaded_late_stays),
        cmocka_unit_test(thread_ends_leave_the_runtime),
        cmocka_unit_test(a_fiber_that_ends_leaves_nothing),
        cmocka_unit_test(what_is_only_reserved_does_not_count),
    };

    return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}
