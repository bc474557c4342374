// A host of ChakraCore in Node: koffi opens the engine by its name.
import assert from "node:assert";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.KOFFI_DIR}/`);
const koffi = require("koffi");

const [ALLOCATE, FREE] = [0, 1];
const chakra = koffi.load("libChakraCore.so");
const OnEvent = koffi.proto("bool OnEvent(void *state, int event, size_t size)");
const BeforeCollect = koffi.proto("void BeforeCollect(void *state)");
const functions = Object.fromEntries(
    [
        "int JsCreateRuntime(int attributes, void *service, _Out_ void **runtime)",
        "int JsDisposeRuntime(void *runtime)",
        "int JsCollectGarbage(void *runtime)",
        "int JsGetRuntimeMemoryUsage(void *runtime, _Out_ size_t *usage)",
        "int JsSetRuntimeMemoryLimit(void *runtime, size_t limit)",
        "int JsSetRuntimeMemoryAllocationCallback(void *runtime, void *state, OnEvent *callback)",
        "int JsSetRuntimeBeforeCollectCallback(void *runtime, void *state, BeforeCollect *callback)",
        "int JsCreateContext(void *runtime, _Out_ void **context)",
        "int JsSetCurrentContext(void *context)",
        "void *jsrtmem_alloc(void *runtime, size_t size)",
        "const char *jsrtmem_version()",
    ].map((declaration) => [/(\w+)\(/.exec(declaration)[1], chakra.func(declaration)]),
);
const call = (name, ...values) => assert.strictEqual(functions[name](...values), 0, name);

let mirror = 0;
let answer = true;
let collections = 0;
const onEvent = koffi.register((state, event, size) => {
    if (event === ALLOCATE && answer) mirror += Number(size);
    if (event === FREE) mirror -= Number(size);
    return answer;
}, koffi.pointer(OnEvent));
const beforeCollect = koffi.register(() => { collections += 1; }, koffi.pointer(BeforeCollect));

const runtime = [null];
const context = [null];
const usage = [0];
call("JsCreateRuntime", 0, null, runtime);
call("JsSetRuntimeMemoryAllocationCallback", runtime[0], null, onEvent);
call("JsSetRuntimeBeforeCollectCallback", runtime[0], null, beforeCollect);
call("JsCreateContext", runtime[0], context);
call("JsSetCurrentContext", context[0]);
assert(functions.jsrtmem_alloc(runtime[0], 100000), "an object of 100000 bytes");
call("JsGetRuntimeMemoryUsage", runtime[0], usage);
assert(usage[0] >= 100000);
assert.strictEqual(Number(usage[0]), mirror, "the usage is what was granted");
answer = false;
assert(!functions.jsrtmem_alloc(runtime[0], 10000000), "a refusal by the host");
answer = true;
call("JsSetRuntimeMemoryLimit", runtime[0], usage[0]);
assert(!functions.jsrtmem_alloc(runtime[0], 10000000), "a refusal by the limit");
call("JsCollectGarbage", runtime[0]);
assert.strictEqual(collections, 1, "the before-collect callback runs");
call("JsSetCurrentContext", null);
call("JsDisposeRuntime", runtime[0]);
assert.strictEqual(mirror, 0, "all is given back");
assert.throws(() => chakra.func("int JsRunScript(void *)"), "there is no engine");
console.log(`client.mjs: libjsrtmem ${functions.jsrtmem_version()}: ok`);
