/*
 * Layer 1: variables that each thread has for itself.
 *
 *      JM_LOCAL struct thing thing_local JM_TLS_MODEL = {..};      in a source file
 *      extern JM_LOCAL struct thing thing_local JM_TLS_MODEL;      in its header
 *      #define thing JM_OWN(thing_local)                           the calling thread's, to be used
 *
 * They have to outlive what runs at a thread's end, and cost next to nothing to reach.
 */
#ifndef JM_OS_LOCAL_H
#define JM_OS_LOCAL_H

#include "base.h"

#if defined(__GLIBC__) && defined(__GNUC__)
#define JM_TLS_MODEL __attribute__((tls_model("initial-exec")))
#else
#define JM_TLS_MODEL
#endif

#if defined(__MINGW32__) && !defined(__clang__)

/*
 * GCC for Windows emulates _Thread_local by a call and a table that is freed when a thread's function
 * returns, before the system announces the thread's end. So we do what other compilers do there: the
 * variable is a template in the section that the loader copies for each thread (between _tls_start and
 * the section of the run-time library that ends it, in the order of their names), and a thread's copy
 * lies where the thread's environment block says. pre: no alignment above that of a pointer pair.
 */
#define JM_LOCAL __attribute__((section(".tls$JM")))
#define JM_OWN(variable) (*(__typeof__(variable) *)jm_own_copy(&(variable)))

extern unsigned long _tls_index; /* the run-time library's, filled in by the loader */
extern char *_tls_start;         /* the template's first bytes */

JM_INLINE void *jm_own_copy(const void *variable)
{
    char **copies; /* the thread's, one for each module */
#if defined(__x86_64__)
    __asm__("movq %%gs:0x58, %0" : "=r"(copies));
#elif defined(__i386__)
    __asm__("movl %%fs:0x2c, %0" : "=r"(copies));
#else
#error "where this processor keeps a thread's copies is not known here"
#endif
    return copies[_tls_index] + ((uintptr_t)variable - (uintptr_t)&_tls_start);
}

#else

#define JM_LOCAL _Thread_local
#define JM_OWN(variable) (variable)

#endif

#endif
