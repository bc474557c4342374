/*
 * Layer 1: thread-local variables.
 *
 *      JM_LOCAL struct thing thing_local JM_TLS_MODEL = {..};      in a source file
 *      extern JM_LOCAL struct thing thing_local JM_TLS_MODEL;      in its header
 *      #define thing JM_OWN(thing_local)                           the calling thread's copy
 *
 * They must outlive the handlers that run at a thread's end, and must be cheap to access.
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
 * GCC for Windows emulates _Thread_local by a call and a table. It frees the table when the thread
 * function returns, before the system announces the thread's end. So this does what other compilers
 * do there: the variable is a template in a section that the loader copies for each thread. Section
 * names put it between _tls_start and the section of the run-time library that ends the template.
 * The thread environment block points to a thread's copies. pre: no alignment above that of a pair
 * of pointers.
 */
#define JM_LOCAL __attribute__((section(".tls$JM")))
#define JM_OWN(variable) (*(__typeof__(variable) *)jm_own_copy(&(variable)))

extern unsigned long _tls_index; /* defined by the run-time library, set by the loader */
extern char *_tls_start;         /* the start of the template */

JM_INLINE void *jm_own_copy(const void *variable)
{
    char **copies; /* the thread's copies, one for each module */
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
