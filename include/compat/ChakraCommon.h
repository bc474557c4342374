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
 * From the engine's header this one also provides stdint.h and the parameter annotations, which
 * mean nothing to compilers other than Microsoft's. It does not provide the engine's type names,
 * such as BYTE, nor the functions that run scripts: a host that calls one does not compile, and
 * does not link.
 */

#ifndef JSRTMEM_COMPAT_CHAKRACOMMON_H
#define JSRTMEM_COMPAT_CHAKRACOMMON_H

#include <jsrt.h>

#include <stdint.h>

/* Hosts annotate their own functions with these words, which the engine's header leaves defined. */
/** @cond */
#if !defined(_MSC_VER)
#if !defined(_In_)
#define _In_
#endif
#if !defined(_In_opt_)
#define _In_opt_
#endif
#if !defined(_In_z_)
#define _In_z_
#endif
#if !defined(_Inout_)
#define _Inout_
#endif
#if !defined(_Out_)
#define _Out_
#endif
#if !defined(_Out_opt_)
#define _Out_opt_
#endif
#if !defined(_Ret_maybenull_)
#define _Ret_maybenull_
#endif
#if !defined(_Pre_maybenull_)
#define _Pre_maybenull_
#endif
#if !defined(_Outptr_result_maybenull_)
#define _Outptr_result_maybenull_
#endif
#if !defined(_Outptr_result_z_)
#define _Outptr_result_z_
#endif
#if !defined(_In_reads_)
#define _In_reads_(size)
#endif
#if !defined(_Out_writes_)
#define _Out_writes_(size)
#endif
#if !defined(_Out_writes_to_opt_)
#define _Out_writes_to_opt_(size, count)
#endif
#if !defined(_Outptr_result_buffer_)
#define _Outptr_result_buffer_(size)
#endif
#if !defined(_Outptr_result_bytebuffer_)
#define _Outptr_result_bytebuffer_(size)
#endif
#if !defined(_Pre_writable_byte_size_)
#define _Pre_writable_byte_size_(size)
#endif
#if !defined(_Return_type_success_)
#define _Return_type_success_(condition)
#endif
#endif
/** @endcond */

#endif /* JSRTMEM_COMPAT_CHAKRACOMMON_H */
