// A host of ChakraCore in C++: handles in objects, errors as exceptions.
#include <ChakraCore.h>

#include <jsrtmem.h>

#include <iostream>
#include <stdexcept>
#include <vector>

namespace
{

void check(JsErrorCode code)
{
    if (code != JsNoError) {
        throw std::runtime_error("a call failed");
    }
}

class runtime
{
  public:
    runtime() : handle_(JS_INVALID_RUNTIME_HANDLE), held_(0)
    {
        check(JsCreateRuntime(JsRuntimeAttributeNone, 0, &handle_));
        check(JsSetRuntimeMemoryAllocationCallback(handle_, this, on_event));
    }

    ~runtime()
    {
        if (handle_ != JS_INVALID_RUNTIME_HANDLE) {
            JsDisposeRuntime(handle_);
        }
    }

    JsRuntimeHandle handle() const
    {
        return handle_;
    }

    std::size_t usage() const
    {
        std::size_t bytes = 0;
        check(JsGetRuntimeMemoryUsage(handle_, &bytes));
        return bytes;
    }

    std::size_t held() const
    {
        return held_;
    }

    void dispose()
    {
        check(JsDisposeRuntime(handle_));
        handle_ = JS_INVALID_RUNTIME_HANDLE;
    }

  private:
    runtime(const runtime &);
    runtime &operator=(const runtime &);

    static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType event, size_t size)
    {
        runtime *self = static_cast<runtime *>(state);
        if (event == JsMemoryAllocate) {
            self->held_ += size;
        } else if (event == JsMemoryFree) {
            self->held_ -= size;
        }
        return true;
    }

    JsRuntimeHandle handle_;
    std::size_t held_;
};

void expect(bool holds, const char *what)
{
    if (!holds) {
        throw std::runtime_error(what);
    }
}

void run()
{
    runtime tenant;
    std::vector<void *> objects;
    JsContextRef context = JS_INVALID_REFERENCE;
    check(JsCreateContext(tenant.handle(), &context));
    check(JsSetCurrentContext(context));
    for (int i = 0; i < 1000; i++) {
        objects.push_back(jsrtmem_alloc(tenant.handle(), 1000));
    }
    expect(tenant.usage() >= 1000000 && tenant.usage() == tenant.held(),
           "usage is what was granted");
    for (std::vector<void *>::iterator object = objects.begin(); object != objects.end();
         ++object) {
        check(jsrtmem_free(*object));
    }
    check(JsCollectGarbage(tenant.handle()));
    check(JsSetCurrentContext(JS_INVALID_REFERENCE));
    tenant.dispose();
    expect(tenant.held() == 0, "all is given back");
}

} // namespace

int main()
{
    try {
        run();
    } catch (const std::exception &error) {
        std::cout << "client.cpp: " << error.what() << "\n";
        return 1;
    }
    std::cout << "client.cpp: libjsrtmem " << jsrtmem_version() << ": ok\n";
    return 0;
}
