/*
 * Layer 1: static probes for tracers (bpftrace, SystemTap, perf, GDB). Each is a no-op instruction
 * and a note in the file if <sys/sdt.h> was present at build time (JM_SDT), else nothing.
 *
 *      jsrtmem:create(runtime)             jsrtmem:acquire(runtime, bytes)   a block or part of one
 *      jsrtmem:dispose(runtime)            jsrtmem:release(runtime, bytes)
 *      jsrtmem:refuse(runtime, reason, requested)      reason: a jsrtmem_refusal
 */
#ifndef JM_PROBE_H
#define JM_PROBE_H

#include "base.h"

#if defined(JM_SDT)
#include <sys/sdt.h>
#define JM_PROBE_1(name, first) DTRACE_PROBE1(jsrtmem, name, first)
#define JM_PROBE_2(name, first, second) DTRACE_PROBE2(jsrtmem, name, first, second)
#define JM_PROBE_3(name, first, second, third) DTRACE_PROBE3(jsrtmem, name, first, second, third)
#else
#define JM_PROBE_1(name, first) ((void)(first))
#define JM_PROBE_2(name, first, second) ((void)(first), (void)(second))
#define JM_PROBE_3(name, first, second, third) ((void)(first), (void)(second), (void)(third))
#endif

static inline void jm_probe_create(uintptr_t runtime)
{
    JM_PROBE_1(create, runtime);
}

static inline void jm_probe_dispose(uintptr_t runtime)
{
    JM_PROBE_1(dispose, runtime);
}

static inline void jm_probe_acquire(uintptr_t runtime, size_t bytes)
{
    JM_PROBE_2(acquire, runtime, bytes);
}

static inline void jm_probe_release(uintptr_t runtime, size_t bytes)
{
    JM_PROBE_2(release, runtime, bytes);
}

static inline void jm_probe_refuse(uintptr_t runtime, unsigned reason, size_t requested)
{
    JM_PROBE_3(refuse, runtime, reason, requested);
}

#endif
