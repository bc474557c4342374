"""A host of ChakraCore in Python: ctypes opens the engine by its name."""
import ctypes
import sys
from ctypes import byref, c_bool, c_char_p, c_int, c_size_t, c_void_p

chakra = ctypes.CDLL("libChakraCore.so")
ALLOCATE, FREE = 0, 1
EVENT = ctypes.CFUNCTYPE(c_bool, c_void_p, c_int, c_size_t)
BEFORE_COLLECT = ctypes.CFUNCTYPE(None, c_void_p)

for name, arguments in {
    "JsCreateRuntime": [c_int, c_void_p, c_void_p],
    "JsDisposeRuntime": [c_void_p],
    "JsCollectGarbage": [c_void_p],
    "JsGetRuntimeMemoryUsage": [c_void_p, c_void_p],
    "JsGetRuntimeMemoryLimit": [c_void_p, c_void_p],
    "JsSetRuntimeMemoryLimit": [c_void_p, c_size_t],
    "JsSetRuntimeMemoryAllocationCallback": [c_void_p, c_void_p, EVENT],
    "JsSetRuntimeBeforeCollectCallback": [c_void_p, c_void_p, BEFORE_COLLECT],
    "JsCreateContext": [c_void_p, c_void_p],
    "JsSetCurrentContext": [c_void_p],
}.items():
    getattr(chakra, name).argtypes = arguments
    getattr(chakra, name).restype = c_int
chakra.jsrtmem_alloc.argtypes = [c_void_p, c_size_t]
chakra.jsrtmem_alloc.restype = c_void_p
chakra.jsrtmem_version.restype = c_char_p


def call(name, *arguments):
    code = getattr(chakra, name)(*arguments)
    if code != 0:
        sys.exit("client.py: %s: %#x" % (name, code))


def expect(holds, what):
    if not holds:
        sys.exit("client.py: does not hold: " + what)


mirror = 0
answer = True
collections = 0


@EVENT
def on_event(state, event, size):
    global mirror
    if event == ALLOCATE and answer:
        mirror += size
    elif event == FREE:
        mirror -= size
    return answer


@BEFORE_COLLECT
def before_collect(state):
    global collections
    collections += 1


runtime, context, size = c_void_p(), c_void_p(), c_size_t()
call("JsCreateRuntime", 0, None, byref(runtime))
call("JsGetRuntimeMemoryLimit", runtime, byref(size))
expect(size.value == ctypes.c_size_t(-1).value, "there is no limit at first")
call("JsSetRuntimeMemoryAllocationCallback", runtime, None, on_event)
call("JsSetRuntimeBeforeCollectCallback", runtime, None, before_collect)
call("JsCreateContext", runtime, byref(context))
call("JsSetCurrentContext", context)
expect(chakra.jsrtmem_alloc(runtime, 100000), "an object of 100000 bytes")
call("JsGetRuntimeMemoryUsage", runtime, byref(size))
expect(size.value >= 100000 and size.value == mirror, "the usage is what was granted")
answer = False
expect(not chakra.jsrtmem_alloc(runtime, 10000000), "a refusal by the host")
answer = True
call("JsSetRuntimeMemoryLimit", runtime, size.value)
expect(not chakra.jsrtmem_alloc(runtime, 10000000), "a refusal by the limit")
call("JsCollectGarbage", runtime)
expect(collections == 1, "the before-collect callback runs")
call("JsSetCurrentContext", None)
call("JsDisposeRuntime", runtime)
expect(mirror == 0, "all is given back")
expect(not hasattr(chakra, "JsRunScript"), "there is no engine")
print("client.py: libjsrtmem %s: ok" % chakra.jsrtmem_version().decode())
