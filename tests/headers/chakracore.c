/* The engine's header names, beside our own. */
#include "compat/ChakraCore.h"
#include "compat/ChakraCommon.h"
#include "jsrt.h"

extern JsContextRef header_context;
