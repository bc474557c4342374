/* jsrtmem.h needs nothing before it. */
#include "jsrtmem.h"

#if !defined(JSRTMEM_VERSION_MAJOR) || !defined(JSRTMEM_VERSION_MINOR) || \
    !defined(JSRTMEM_VERSION_PATCH)
#error "the version is missing"
#endif

extern JsRuntimeHandle header_runtime;
extern uint64_t header_count;
