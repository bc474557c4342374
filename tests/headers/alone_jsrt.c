/* jsrt.h needs nothing before it. */
#include "jsrt.h"

extern JsRuntimeHandle header_runtime;
extern bool header_flag;
extern size_t header_size;
