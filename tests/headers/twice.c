/* Both headers may be included again, in any order. */
#include "jsrt.h"
#include "jsrtmem.h"

extern JsRuntimeHandle header_runtime;
