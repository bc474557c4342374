/*
 * ChakraCore.h - the name under which hosts of ChakraCore include what jsrt.h has.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

/**
 * @file
 * @brief Forwards to ChakraCommon.h, and so to jsrt.h.
 */

#ifndef JSRTMEM_COMPAT_CHAKRACORE_H
#define JSRTMEM_COMPAT_CHAKRACORE_H

#include "ChakraCommon.h"

#endif /* JSRTMEM_COMPAT_CHAKRACORE_H */
