/*
 * Callbacks that are left by a C++ exception. A plain program without cmocka: it prints every
 * check that fails, and then returns 1.
 */
#include <jsrtmem.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace
{

int failed;

void expect(bool holds, const char *condition, int line)
{
    if (!holds) {
        std::printf("test_exceptions.cpp:%d: does not hold: %s\n", line, condition);
        failed++;
    }
}

#define EXPECT(condition) expect((condition), #condition, __LINE__)

const std::size_t MiB = std::size_t(1) << 20;

struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("from a callback")
    {
    }
};

/* A runtime with a mirror of its usage. Leaves the skip-th event of one type by an exception. */
struct Tenant {
    JsRuntimeHandle runtime = nullptr;
    std::size_t balance = 0;
    std::size_t pending = 0;
    int throw_at = -1; /* a JsMemoryEventType, or -1 */
    int skip = 0;
    bool refuse = false;
    int thrown = 0;

    Tenant()
    {
        EXPECT(JsCreateRuntime(JsRuntimeAttributeNone, nullptr, &runtime) == JsNoError);
        EXPECT(JsSetRuntimeMemoryAllocationCallback(runtime, this, on_event) == JsNoError);
    }

    Tenant(const Tenant &) = delete;
    Tenant &operator=(const Tenant &) = delete;

    ~Tenant()
    {
        throw_at = -1;
        if (runtime != nullptr) {
            EXPECT(JsDisposeRuntime(runtime) == JsNoError);
        }
        settle();
        EXPECT(balance == 0);
    }

    void settle()
    {
        balance += pending;
        pending = 0;
    }

    void account(JsMemoryEventType type, std::size_t size)
    {
        if (type == JsMemoryFailure) {
            pending = 0;
            return;
        }
        settle();
        if (type == JsMemoryFree) {
            balance -= size;
        }
    }

    std::size_t usage() const
    {
        std::size_t bytes = SIZE_MAX;

        EXPECT(JsGetRuntimeMemoryUsage(runtime, &bytes) == JsNoError);
        return bytes;
    }

    static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType type, std::size_t size)
    {
        Tenant *self = static_cast<Tenant *>(state);

        self->account(type, size);
        EXPECT(self->usage() == self->balance);
        if (self->throw_at == static_cast<int>(type) && self->skip-- == 0) {
            self->thrown++;
            throw Thrown();
        }
        if (type == JsMemoryAllocate && !self->refuse) {
            self->pending = size;
        }
        return !self->refuse;
    }
};

/* True if the function throws Thrown. Any other exception ends the program. */
template <typename Function> bool throws(Function function)
{
    try {
        function();
    } catch (const Thrown &) {
        return true;
    }
    return false;
}

jsrtmem_refusal last_reason()
{
    jsrtmem_refusal_info info;

    std::memset(&info, 0, sizeof(info));
    info.struct_size = sizeof(info);
    EXPECT(jsrtmem_last_refusal(&info) == JsNoError);
    return info.reason;
}

void check_works(Tenant &tenant)
{
    tenant.throw_at = -1;
    tenant.refuse = false;
    void *object = jsrtmem_alloc(tenant.runtime, 3 * MiB);
    EXPECT(object != nullptr);
    tenant.settle();
    EXPECT(tenant.usage() == tenant.balance);
    EXPECT(jsrtmem_free(object) == JsNoError);
    EXPECT(JsCollectGarbage(tenant.runtime) == JsNoError);
    EXPECT(tenant.usage() == tenant.balance);
    JsContextRef context = nullptr;
    EXPECT(JsCreateContext(tenant.runtime, &context) == JsNoError);
    EXPECT(JsSetCurrentContext(context) == JsNoError);
    EXPECT(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);
    EXPECT(jsrtmem_enter(tenant.runtime) == JsNoError);
    EXPECT(jsrtmem_leave(tenant.runtime) == JsNoError);
}

void allocate_left()
{
    const std::size_t sizes[] = {10, 5000, MiB};

    for (std::size_t size : sizes) {
        Tenant tenant;

        tenant.throw_at = JsMemoryAllocate;
        EXPECT(throws([&] { (void)jsrtmem_alloc(tenant.runtime, size); }));
        EXPECT(tenant.usage() == 0);
        EXPECT(last_reason() == JSRTMEM_REFUSAL_HOST);
        tenant.throw_at = -1;
        EXPECT(jsrtmem_alloc(tenant.runtime, size) != nullptr);
        check_works(tenant);
    }
}

void allocate_left_by_other_requests()
{
    Tenant tenant;
    unsigned char *object = static_cast<unsigned char *>(jsrtmem_alloc(tenant.runtime, 1000));

    std::memset(object, 7, 1000);
    tenant.settle();
    std::size_t usage = tenant.usage();
    tenant.throw_at = JsMemoryAllocate;
    EXPECT(throws([&] { (void)jsrtmem_realloc(tenant.runtime, object, 8 * MiB); }));
    tenant.skip = 0;
    EXPECT(throws([&] { (void)jsrtmem_calloc(tenant.runtime, 8, MiB); }));
    tenant.skip = 0;
    EXPECT(throws([&] { (void)jsrtmem_aligned_alloc(tenant.runtime, MiB, 8 * MiB); }));
    EXPECT(tenant.usage() == usage);
    EXPECT(jsrtmem_usable_size(object) >= 1000);
    EXPECT(object[0] == 7 && object[999] == 7);
    check_works(tenant);
    EXPECT(jsrtmem_free(object) == JsNoError);
}

void allocate_left_while_entered()
{
    Tenant tenant;

    EXPECT(jsrtmem_enter(tenant.runtime) == JsNoError);
    for (int i = 0; i < 1000; i++) {
        tenant.throw_at = JsMemoryAllocate;
        tenant.skip = 0;
        EXPECT(throws([&] { (void)jsrtmem_alloc(tenant.runtime, MiB); }));
    }
    tenant.throw_at = -1;
    EXPECT(jsrtmem_alloc(tenant.runtime, MiB) != nullptr);
    EXPECT(JsDisposeRuntime(tenant.runtime) == JsErrorRuntimeInUse);
    EXPECT(jsrtmem_leave(tenant.runtime) == JsNoError);
    check_works(tenant);
}

void failure_left()
{
    Tenant tenant;

    tenant.throw_at = JsMemoryFailure;
    tenant.refuse = true;
    EXPECT(throws([&] { (void)jsrtmem_alloc(tenant.runtime, 100); }));
    EXPECT(tenant.usage() == 0);
    tenant.refuse = false;
    tenant.skip = 0;
    EXPECT(JsSetRuntimeMemoryLimit(tenant.runtime, 0) == JsNoError);
    EXPECT(throws([&] { (void)jsrtmem_alloc(tenant.runtime, 100); }));
    EXPECT(JsSetRuntimeMemoryLimit(tenant.runtime, SIZE_MAX) == JsNoError);
    EXPECT(tenant.usage() == 0);
    check_works(tenant);
}

/* Frees objects, or resizes them to 0. */
void free_left_by(bool resizes)
{
    for (int skip = 0; skip < 4; skip++) {
        Tenant tenant;
        void *objects[4];

        for (void *&object : objects) {
            object = jsrtmem_alloc(tenant.runtime, 2 * MiB);
        }
        tenant.throw_at = JsMemoryFree;
        tenant.skip = skip;
        for (void *object : objects) {
            (void)throws([&] {
                if (resizes) {
                    (void)jsrtmem_realloc(tenant.runtime, object, 0);
                } else {
                    (void)jsrtmem_free(object);
                }
            });
            EXPECT(jsrtmem_usable_size(object) == 0);
        }
        (void)throws([&] { (void)JsCollectGarbage(tenant.runtime); });
        EXPECT(tenant.thrown == 1);
        tenant.settle();
        EXPECT(tenant.usage() == tenant.balance);
        check_works(tenant);
        EXPECT(tenant.usage() == 0);
    }
}

void free_left()
{
    free_left_by(false);
    free_left_by(true);
}

void CHAKRA_CALLBACK throw_once(void *state)
{
    int *calls = static_cast<int *>(state);

    if ((*calls)++ == 0) {
        throw Thrown();
    }
}

void before_collect_left()
{
    Tenant tenant;
    int calls = 0;

    EXPECT(jsrtmem_free(jsrtmem_alloc(tenant.runtime, MiB)) == JsNoError);
    EXPECT(JsSetRuntimeBeforeCollectCallback(tenant.runtime, &calls, throw_once) == JsNoError);
    EXPECT(throws([&] { (void)JsCollectGarbage(tenant.runtime); }));
    EXPECT(JsCollectGarbage(tenant.runtime) == JsNoError);
    EXPECT(calls == 2);
    EXPECT(tenant.usage() == 0);
    check_works(tenant);
}

void dispose_left()
{
    for (int skip = 0; skip < 5; skip++) {
        Tenant tenant;

        for (int i = 0; i < 4; i++) {
            EXPECT(jsrtmem_alloc(tenant.runtime, MiB) != nullptr);
        }
        tenant.throw_at = JsMemoryFree;
        tenant.skip = skip;
        void *object = jsrtmem_alloc(tenant.runtime, 100);
        if (throws([&] { EXPECT(JsDisposeRuntime(tenant.runtime) == JsNoError); })) {
            /* A half-disposed runtime serves nobody. */
            EXPECT(jsrtmem_alloc(tenant.runtime, 100) == nullptr);
            EXPECT(last_reason() == JSRTMEM_REFUSAL_THREAD);
            (void)jsrtmem_free(object);
            EXPECT(JsCollectGarbage(tenant.runtime) == JsErrorWrongThread);
            EXPECT(JsDisposeRuntime(tenant.runtime) == JsNoError);
        }
        EXPECT(JsDisposeRuntime(tenant.runtime) == JsErrorInvalidArgument);
        tenant.runtime = nullptr; /* the destructor checks the balance */
    }
}

/* A call that was left ends at once, also for frames deeper than its own, and for other threads. */
void left_is_over()
{
    Tenant tenant;

    tenant.throw_at = JsMemoryAllocate;
    EXPECT(throws([&] { (void)jsrtmem_alloc(tenant.runtime, MiB); }));
    volatile unsigned char deep[65536];
    deep[0] = deep[65535] = 1;
    tenant.throw_at = -1;
    void *object = jsrtmem_alloc(tenant.runtime, MiB);
    EXPECT(object != nullptr);
    tenant.settle();
    tenant.throw_at = JsMemoryAllocate;
    tenant.skip = 0;
    EXPECT(throws([&] { (void)jsrtmem_alloc(tenant.runtime, MiB); }));
    std::thread other([&] { /* waits while the callback is in use */
                            EXPECT(JsSetRuntimeMemoryAllocationCallback(
                                       tenant.runtime, &tenant, Tenant::on_event) == JsNoError);
    });
    other.join();
    check_works(tenant);
}

/* A request that was granted earlier is not reported as a refusal when another call is left. */
void left_without_a_refusal()
{
    Tenant tenant;
    int calls = 0;

    std::thread other([&] {
        EXPECT(jsrtmem_alloc(tenant.runtime, 100) != nullptr);
        tenant.settle();
        EXPECT(JsSetRuntimeBeforeCollectCallback(tenant.runtime, &calls, throw_once) == JsNoError);
        EXPECT(throws([&] { (void)JsCollectGarbage(tenant.runtime); }));
        EXPECT(last_reason() == JSRTMEM_REFUSAL_NONE);
        EXPECT(JsSetRuntimeMemoryAllocationCallback(tenant.runtime, nullptr, nullptr) == JsNoError);
        EXPECT(jsrtmem_alloc(tenant.runtime, MiB) != nullptr);
        calls = 0;
        EXPECT(throws([&] { (void)JsCollectGarbage(tenant.runtime); }));
        EXPECT(last_reason() == JSRTMEM_REFUSAL_NONE);
    });
    other.join();
    tenant.balance = 0;
}

/* A callback in which a request of another runtime is left. Then it is left itself. */
struct Nested {
    Tenant inner;
    bool leaves = false;
};

bool CHAKRA_CALLBACK request_inside(void *state, JsMemoryEventType type, std::size_t)
{
    Nested *nested = static_cast<Nested *>(state);

    if (type == JsMemoryAllocate) {
        nested->inner.skip = 0;
        EXPECT(throws([&] { (void)jsrtmem_alloc(nested->inner.runtime, 3 * MiB); }));
        if (nested->leaves) {
            throw Thrown();
        }
        EXPECT(jsrtmem_alloc(nested->inner.runtime, SIZE_MAX) == nullptr);
    }
    return true;
}

void a_refusal_tells_its_own_request()
{
    Nested nested;
    JsRuntimeHandle runtime = nullptr;
    jsrtmem_refusal_info info;

    std::memset(&info, 0, sizeof(info));
    info.struct_size = sizeof(info);
    nested.inner.throw_at = JsMemoryAllocate;
    EXPECT(JsCreateRuntime(JsRuntimeAttributeNone, nullptr, &runtime) == JsNoError);
    EXPECT(JsSetRuntimeMemoryAllocationCallback(runtime, &nested, request_inside) == JsNoError);
    for (int round = 0; round < 2; round++) {
        nested.leaves = round != 0;
        EXPECT(throws([&] { (void)jsrtmem_alloc(runtime, MiB); }) == nested.leaves);
    }
    EXPECT(jsrtmem_last_refusal(&info) == JsNoError);
    EXPECT(info.reason == JSRTMEM_REFUSAL_HOST && info.runtime == runtime);
    EXPECT(info.requested == MiB);
    EXPECT(JsSetRuntimeMemoryAllocationCallback(runtime, nullptr, nullptr) == JsNoError);
    EXPECT(JsDisposeRuntime(runtime) == JsNoError);
}

/* The second block to become empty goes when its last object is freed on the fast path. */
void free_left_while_entered()
{
    Tenant tenant;
    void *objects[64];

    EXPECT(jsrtmem_enter(tenant.runtime) == JsNoError);
    for (void *&object : objects) {
        object = jsrtmem_alloc(tenant.runtime, 16000);
    }
    tenant.settle();
    tenant.throw_at = JsMemoryFree;
    for (void *object : objects) {
        (void)throws([&] { EXPECT(jsrtmem_free(object) == JsNoError); });
    }
    EXPECT(tenant.thrown == 1);
    tenant.settle();
    EXPECT(tenant.usage() == tenant.balance);
    EXPECT(jsrtmem_leave(tenant.runtime) == JsNoError);
    check_works(tenant);
}

void idle_left()
{
    Tenant tenant;
    JsRuntimeHandle runtime = nullptr;
    JsContextRef context = nullptr;
    unsigned tick = 0;

    EXPECT(JsCreateRuntime(JsRuntimeAttributeEnableIdleProcessing, nullptr, &runtime) == JsNoError);
    EXPECT(JsDisposeRuntime(tenant.runtime) == JsNoError);
    tenant.runtime = runtime;
    EXPECT(JsSetRuntimeMemoryAllocationCallback(runtime, &tenant, Tenant::on_event) == JsNoError);
    EXPECT(JsCreateContext(runtime, &context) == JsNoError);
    EXPECT(JsSetCurrentContext(context) == JsNoError);
    EXPECT(jsrtmem_free(jsrtmem_alloc(runtime, 100)) == JsNoError);
    tenant.settle();
    tenant.throw_at = JsMemoryFree;
    EXPECT(throws([&] { (void)JsIdle(&tick); }));
    EXPECT(JsIdle(&tick) == JsNoError);
    EXPECT(tick == 0xffffffffu);
    EXPECT(tenant.usage() == 0);
    EXPECT(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);
    check_works(tenant);
}

void left_on_another_thread()
{
    Tenant tenant;
    bool thrown = false;

    tenant.throw_at = JsMemoryAllocate;
    std::thread other([&] { thrown = throws([&] { (void)jsrtmem_alloc(tenant.runtime, MiB); }); });
    other.join();
    EXPECT(thrown);
    EXPECT(tenant.usage() == 0);
    check_works(tenant);
}

bool CHAKRA_CALLBACK allocate_in_the_other(void *state, JsMemoryEventType type, std::size_t size)
{
    (void)size;
    if (type == JsMemoryAllocate) {
        (void)jsrtmem_alloc(static_cast<Tenant *>(state)->runtime, MiB);
    }
    return true;
}

void two_callbacks_left_at_once()
{
    Tenant inner;
    JsRuntimeHandle outer = nullptr;

    EXPECT(JsCreateRuntime(JsRuntimeAttributeNone, nullptr, &outer) == JsNoError);
    EXPECT(JsSetRuntimeMemoryAllocationCallback(outer, &inner, allocate_in_the_other) == JsNoError);
    inner.throw_at = JsMemoryAllocate;
    EXPECT(throws([&] { (void)jsrtmem_alloc(outer, MiB); }));
    std::size_t usage = 1;
    EXPECT(JsGetRuntimeMemoryUsage(outer, &usage) == JsNoError && usage == 0);
    EXPECT(inner.usage() == 0);
    check_works(inner);
    EXPECT(jsrtmem_alloc(outer, MiB) != nullptr);
    EXPECT(JsDisposeRuntime(outer) == JsNoError);
}

} // namespace

int main()
{
    allocate_left();
    allocate_left_by_other_requests();
    allocate_left_while_entered();
    failure_left();
    free_left();
    before_collect_left();
    dispose_left();
    left_is_over();
    left_without_a_refusal();
    a_refusal_tells_its_own_request();
    free_left_while_entered();
    idle_left();
    left_on_another_thread();
    two_callbacks_left_at_once();
    std::printf("exceptions: %d conditions do not hold\n", failed);
    return failed == 0 ? 0 : 1;
}
