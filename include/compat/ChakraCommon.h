/*
 * ChakraCommon.h - the name under which hosts of ChakraCore include what jsrt.h has.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

/**
 * @file
 * @brief Forwards to jsrt.h, for hosts that were written for ChakraCore and keep to its memory API.
 *
 * The functions that run scripts are not there: a host that calls one does not compile, and does
 * not link.
 */

#ifndef JSRTMEM_COMPAT_CHAKRACOMMON_H
#define JSRTMEM_COMPAT_CHAKRACOMMON_H

#include <jsrt.h>

#endif /* JSRTMEM_COMPAT_CHAKRACOMMON_H */
