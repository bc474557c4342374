/*
 * jsrtmem.h - allocating inside a runtime: what an engine or host calls for its objects.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

/**
 * @file
 * @brief Objects in a runtime's memory, entering and leaving, refusals, statistics.
 *
 * The rules of jsrt.h hold here too. What this header adds:
 *
 * Pointers. An object pointer is 16-byte aligned at least, and stays where it is until it is freed or
 * reallocated. A pointer that is foreign, misaligned, interior or freed already (and not handed out
 * again) is recognised at once, in every function, and nothing is touched: JsErrorInvalidArgument, 0
 * or NULL. Where such a misuse races with another operation on the same object or its block it
 * damages nothing.
 *
 * Refusals. A function that returns an object returns NULL where it cannot, and jsrtmem_last_refusal
 * then tells why: OS where other functions give JsErrorOutOfMemory. Nothing is lost: live objects stay
 * as they were, the runtime works on, and the next request is judged afresh. But a runtime of more
 * than 64 KiB that is refused again and again looks for room among all its objects only now and then,
 * less often after each search in vain, sooner where much seems to have been freed meanwhile;
 * JsCollectGarbage looks at once.
 *
 * Memory. Disposing the runtime frees all its objects. New memory is not cleared, except by
 * jsrtmem_calloc; but what crosses from one runtime to another is zero wherever it had been handed
 * out, so that a runtime sees no other's bytes, but for what that one writes to objects after it freed
 * them.
 *
 * Threads. A thread that entered a runtime allocates on the fast path. A thread that did not enter
 * holds the runtime for the length of each call, and waits for others that do the same; while
 * another thread has the runtime current it is refused (JSRTMEM_REFUSAL_THREAD). jsrtmem_free works
 * on every thread, always, and never waits for who uses the runtime. After fork the child can use
 * every runtime that no other thread had current or was inside of, create new ones, and dispose all.
 * The host's own handlers (pthread_atfork) may call the library, and take locks under which it is
 * called, where they were registered after the library was loaded.
 *
 * Structs grow at their end. The caller sets struct_size to the sizeof it was compiled with; fields
 * beyond it are not written. 0, or less than the first version of the struct had, is
 * JsErrorInvalidArgument; with more than the library knows, the size that was filled is written
 * back. The order of checks is handle, pointer, struct_size. A call for an object of a runtime that
 * another thread keeps is refused for that (THREAD) before its other arguments are looked at.
 */

#ifndef JSRTMEM_H
#define JSRTMEM_H

#include "jsrt.h"

#include <stddef.h>
#include <stdint.h>

/**
 * @name Version
 * The version of this header; nothing else states it. jsrtmem_version tells that of the library.
 * @{
 */
/** @brief Rises with changes that old programs do not survive. */
#define JSRTMEM_VERSION_MAJOR 0
/** @brief Rises with additions; while major is 0, with all changes. */
#define JSRTMEM_VERSION_MINOR 1
/** @brief Rises with corrections. */
#define JSRTMEM_VERSION_PATCH 0
/** @} */

/** @brief Spares a call the jump through the linker's table, where the compiler can. */
#define JSRTMEM_DIRECT
#if defined(__has_attribute) && !defined(_WIN32)
#if __has_attribute(noplt)
#undef JSRTMEM_DIRECT
#define JSRTMEM_DIRECT __attribute__((noplt))
#endif
#endif

/**
 * @brief Begins the declaration of a function of this header, which has the C calling convention.
 *
 * @param type of the result.
 */
#if defined(_WIN32)
#define JSRTMEM_API(type) JSRT_EXPORT type __cdecl
#else
#define JSRTMEM_API(type) JSRTMEM_DIRECT JSRT_EXPORT type
#endif

#if defined(__cplusplus)
extern "C" {
#endif

/* ---- objects -------------------------------------------------------------------------------- */

/**
 * @brief Allocates an object in a runtime.
 *
 * Size 0 gives a unique pointer that can be freed. Sizes above PTRDIFF_MAX are refused (SIZE).
 *
 * Now and then a request looks for what is free in all of the runtime's blocks: some 0.1 ms for each
 * MiB of small objects.
 *
 * @param runtime the runtime that owns the object and pays for it.
 * @param size size of the object, in bytes.
 * @return the object, aligned to 16 bytes, its content unspecified; NULL where refused.
 *
 * Threads: any on which the runtime may be used.
 */
JSRTMEM_API(void *) jsrtmem_alloc(JsRuntimeHandle runtime, size_t size);

/**
 * @brief Allocates an array in a runtime, all bytes zero.
 *
 * A product of 0 gives a unique pointer that can be freed; one that overflows is refused (SIZE).
 *
 * @param runtime the runtime that owns the object and pays for it.
 * @param count number of elements.
 * @param size size of one element, in bytes.
 * @return the object, aligned to 16 bytes; NULL where refused.
 *
 * Threads: any on which the runtime may be used.
 */
JSRTMEM_API(void *) jsrtmem_calloc(JsRuntimeHandle runtime, size_t count, size_t size);

/**
 * @brief Allocates an object with an alignment of its own.
 *
 * @param runtime the runtime that owns the object and pays for it.
 * @param alignment a power of two, in bytes; less than 16 counts as 16. Anything else is refused
 *        (ARGUMENT).
 * @param size size of the object, in bytes; need not be a multiple of the alignment.
 * @return the object, its content unspecified; NULL where refused.
 *
 * Threads: any on which the runtime may be used.
 */
JSRTMEM_API(void *)
jsrtmem_aligned_alloc(JsRuntimeHandle runtime, size_t alignment, size_t size);

/**
 * @brief Changes the size of an object, in place where that pays.
 *
 * The content is kept up to the smaller size; the result is aligned to 16 bytes. Null ptr allocates.
 * Size 0 frees an object of this runtime, as jsrtmem_free does, and returns NULL, which is no refusal.
 * Where a call fails, the object is as it was. A bad pointer, and an object of another runtime, are
 * refused untouched (ARGUMENT).
 *
 * Shrinking never fails where the caller may use the runtime. The object may move: the rest of its
 * place would fit little else. A large one may keep all it has: inside the runtime's allocation
 * callback, where the OS does not take the rest, or where the rest is no more than a fifth of its
 * block and a small part of what the limit leaves.
 *
 * A block that a moved object has left is given back by the next call for an object of the runtime, or
 * by a collect: the event could lose the result of this call. A callback that frees the object
 * meanwhile has the call refused (ARGUMENT); until that has returned no callback may allocate in the
 * runtime, as what it gets may be taken for that object.
 *
 * @param runtime the runtime that owns the object.
 * @param ptr the object, or null.
 * @param size the new size, in bytes.
 * @return the object, which may have moved; NULL where refused, or freed by size 0.
 *
 * Threads: any on which the runtime may be used; to free by size 0, any.
 */
JSRTMEM_API(void *) jsrtmem_realloc(JsRuntimeHandle runtime, void *ptr, size_t size);

/**
 * @brief Frees an object.
 *
 * On a thread that has not entered the runtime the object is freed at once if nobody uses the
 * runtime, which may deliver a JsMemoryFree event on this thread. Otherwise it is queued, without an
 * event, and its block is held until the runtime has nothing else at hand for a request, is collected
 * or is disposed. Queued objects with blocks of their own go at the next call that may take or give
 * back a block, once they add up to 4 KiB for each block of the runtime.
 *
 * @param ptr the object, of any runtime. For a pointer from code that is not trusted, ask
 *        jsrtmem_runtime_of first, or free by jsrtmem_realloc to size 0. Null does nothing.
 * @return JsErrorInvalidArgument if ptr is not a live object; nothing was touched.
 *
 * Threads: any, always; never waits for who uses the runtime.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_free(void *ptr);

/**
 * @brief Tells how many bytes of an object may be used.
 *
 * Under memcheck, and in a library built with AddressSanitizer, a use beyond the size that was asked
 * for is an error until this was called for the object.
 *
 * @param ptr the object.
 * @return at least the size that was asked for, in bytes; 0 for null and for a bad pointer.
 *
 * Threads: any that may touch the object, which none resizes meanwhile; takes no lock.
 */
JSRTMEM_API(size_t) jsrtmem_usable_size(const void *ptr);

/**
 * @brief Finds the runtime that owns an object.
 *
 * @param ptr the object.
 * @param runtime receives the runtime.
 * @return JsErrorInvalidArgument if ptr is null or not a live object; JsErrorNullArgument.
 *
 * Threads: any that may touch the object; takes no lock.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_runtime_of(const void *ptr, JsRuntimeHandle *runtime);

/* ---- entering ------------------------------------------------------------------------------- */

/**
 * @brief Enters a runtime: makes it current on this thread, without a context.
 *
 * Nests, also over another runtime or over a current context; each enter needs its leave.
 *
 * @param runtime the runtime.
 * @return JsErrorInvalidArgument; JsErrorWrongThread while the runtime is current on another thread;
 *         JsErrorRuntimeInUse inside its allocation callback; JsErrorOutOfMemory if the OS has no room
 *         for the thread's record of nested enters, or after 2^32 - 1 of them.
 *
 * Threads: any; waits for calls of threads that hold the runtime without having entered it.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_enter(JsRuntimeHandle runtime);

/**
 * @brief Undoes the innermost jsrtmem_enter of this thread.
 *
 * @param runtime the runtime that was entered innermost.
 * @return JsErrorInvalidArgument for any other runtime, and where nothing was entered;
 *         JsErrorRuntimeInUse inside its allocation callback.
 *
 * Threads: the one that entered.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_leave(JsRuntimeHandle runtime);

/**
 * @brief Tells which runtime is current on this thread, for hooks that are given none.
 *
 * Many libraries take functions for their memory, but hand nothing on that says for whom they work. In
 * such a hook `jsrtmem_alloc(jsrtmem_current(), size)` allocates for the tenant that the thread has
 * entered, and is refused (ARGUMENT) where it has entered none.
 *
 * @return the runtime that the thread entered last, or whose context is current; null if there is none.
 *
 * Threads: any; takes no lock.
 */
JSRTMEM_API(JsRuntimeHandle) jsrtmem_current(void);

/* ---- refusals ------------------------------------------------------------------------------- */

/** @brief Why an object was refused. */
typedef enum jsrtmem_refusal {
    JSRTMEM_REFUSAL_NONE = 0, /**< Nothing was refused so far. */
    JSRTMEM_REFUSAL_LIMIT,    /**< The runtime's limit. */
    JSRTMEM_REFUSAL_HOST,     /**< The allocation callback said no. */
    JSRTMEM_REFUSAL_OS,       /**< The OS refused. */
    JSRTMEM_REFUSAL_SIZE,     /**< Too large for any block, or count * size overflows. */
    JSRTMEM_REFUSAL_THREAD, /**< Another thread has the runtime current; or is in a call of it while
                                   this one is inside a callback, where nothing waits; or a dispose
                                   of it was left by a jump. */
    JSRTMEM_REFUSAL_CALLBACK, /**< A new block was needed inside the runtime's own callback. */
    JSRTMEM_REFUSAL_ARGUMENT /**< Bad handle, bad alignment, or not a live object of the runtime. */
} jsrtmem_refusal;

/** @brief The last refusal of a thread. */
typedef struct jsrtmem_refusal_info {
    size_t struct_size;      /**< In: sizeof(jsrtmem_refusal_info). */
    jsrtmem_refusal reason;  /**< Why. */
    JsRuntimeHandle runtime; /**< Of which runtime; null for a bad handle or pointer, or an
                                  object of another runtime. */
    size_t requested; /**< Bytes that were asked for; (size_t)-1 where their count overflows. */
    size_t usage;     /**< The runtime's usage at that moment, in bytes. */
    size_t limit;     /**< The runtime's limit at that moment, in bytes. */
} jsrtmem_refusal_info;

/**
 * @brief Tells why the last refusal on this thread happened.
 *
 * Like errno: kept until this thread's next refusal, and not cleared by success. Inside a callback's
 * JsMemoryFailure it tells of what that reports, also where the request is then served in another way.
 *
 * @param info receives the refusal; reason is JSRTMEM_REFUSAL_NONE if there was none.
 * @return JsErrorNullArgument; JsErrorInvalidArgument for a bad struct_size.
 *
 * Threads: any; concerns the calling thread.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_last_refusal(jsrtmem_refusal_info *info);

/**
 * @brief Tells the library that a callback of a runtime was left by longjmp on this thread.
 *
 * The library also recognises this by itself: when the thread exits, and at a later call from a
 * shallower frame of the same stack, unless an entered runtime serves that from what it has at hand or
 * the call only reads (figures, sizes, owners, contexts, the execution flag). A stack that a host has
 * made inside the thread's own counts as the same. Until then, calls on this thread count as made
 * inside the callback, and lose nothing; other threads that want the runtime, or change the callback,
 * wait: who is about to wait for one of them calls this first. What the callback was asked counts as
 * refused (HOST), what it was told as told.
 *
 * @param runtime the runtime whose callback was left.
 * @return JsErrorInvalidArgument; JsNoError also where there is nothing to abandon.
 *
 * Threads: the one that left the callback. Must not be called from inside the callback, nor, where an
 * allocation callback was left in the runtime's before-collect callback and other calls came since,
 * from inside that.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_abandon(JsRuntimeHandle runtime);

/* ---- statistics ----------------------------------------------------------------------------- */

/** @brief What a runtime holds and has done. */
typedef struct jsrtmem_stats {
    size_t struct_size;  /**< In: sizeof(jsrtmem_stats). */
    size_t usage;        /**< Bytes held from the OS. */
    size_t peak_usage;   /**< The highest usage since creation or jsrtmem_reset_peak, in bytes. */
    size_t limit;        /**< The limit, in bytes. */
    size_t live_bytes;   /**< Bytes of the objects that nobody has freed, by usable size. Counted
                                   in the call, some 15 us for each MiB of addresses
                                   that the blocks cover. While another thread uses the
                                   runtime, a few steps old, and blocks that come or go
                                   may count twice or not at all. */
    size_t live_objects; /**< Number of those objects, likewise. */
    size_t blocks;       /**< Number of blocks held. */
    uint64_t allocate_events; /**< JsMemoryAllocate events, counted with or without a callback. */
    uint64_t free_events;     /**< JsMemoryFree events, likewise. */
    uint64_t failure_events;  /**< JsMemoryFailure events, likewise. */
    uint64_t misuses;         /**< Bad frees that were recognised late. This version
                                   recognises them at once or, in a race, not at all: 0. */
} jsrtmem_stats;

/**
 * @brief Reads the statistics of a runtime.
 *
 * Live objects are counted part by part. Meanwhile large blocks that other threads give back are put
 * aside, up to 32 MiB; beyond that those threads wait. So do threads whose large object has to move to
 * grow: some milliseconds, or to the end of the part where the limit has no room for a copy. To ask
 * often, use JsGetRuntimeMemoryUsage.
 *
 * @param runtime the runtime.
 * @param stats receives them; struct_size must be set.
 * @return JsErrorInvalidArgument, also for a bad struct_size; JsErrorNullArgument.
 *
 * Threads: any, at any time, in callbacks too; takes no lock.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_get_stats(JsRuntimeHandle runtime, jsrtmem_stats *stats);

/**
 * @brief Sets the peak of a runtime to its usage.
 *
 * @param runtime the runtime.
 * @return JsErrorInvalidArgument.
 *
 * Threads: any, at any time, in callbacks too; never waits for who uses the runtime.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_reset_peak(JsRuntimeHandle runtime);

/** @brief What the whole process holds. */
typedef struct jsrtmem_process_stats {
    size_t struct_size;   /**< In: sizeof(jsrtmem_process_stats). */
    size_t runtimes;      /**< Number of live runtimes. */
    size_t usage;         /**< Sum of the usage of live runtimes, in bytes. */
    size_t reserve;       /**< Bytes kept in the process reserve. */
    size_t reserve_limit; /**< Bound of the process reserve, in bytes. The environment is read by
                               the time that the first runtime is created. */
    size_t metadata;      /**< Bytes of process-wide tables: the registry, the pointer map, headers
                                and state maps of blocks that runtimes or the reserve hold. Those of
                                blocks that are gone may stay resident: at most 13 % of the most
                                that was ever held, and 4 MiB on Linux. */
} jsrtmem_process_stats;

/**
 * @brief Reads the statistics of the process.
 *
 * @param stats receives them; struct_size must be set.
 * @return JsErrorNullArgument; JsErrorInvalidArgument for a bad struct_size.
 *
 * Threads: any, at any time, in callbacks too; takes no lock. Visits each runtime, and the place of
 * each that was disposed: some 30 ns for each.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_get_process_stats(jsrtmem_process_stats *stats);

/**
 * @brief Sets the bound of the process reserve, and trims the reserve to it at once, as far as the OS
 *        takes memory back.
 *
 * The reserve keeps released blocks for the next runtime that needs some. Those of large objects wait
 * for the runtime that had them; once it is disposed, or the reserve is full, those of up to 1 MiB
 * serve any runtime, zeroed. To runtimes all count as given back. A collect gives what the runtime had
 * to the OS, but for blocks of less than 128 KiB, of which there are few. A full reserve makes room by
 * giving others to the OS, neighbours together. The default is 32 MiB; the environment variable
 * JSRTMEM_RESERVE_LIMIT (bytes, or with a suffix K, M or G), read before the first runtime, replaces
 * it.
 *
 * @param bytes the bound, in bytes; 0 for no reserve.
 * @return JsErrorOutOfMemory if the OS has no room for the library itself.
 *
 * Threads: any, at any time, in callbacks too.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_set_reserve_limit(size_t bytes);

/** @brief What the library says on standard error, a line for each event. */
typedef enum jsrtmem_diagnostics {
    JSRTMEM_DIAGNOSTICS_NONE = 0,     /**< Nothing. */
    JSRTMEM_DIAGNOSTICS_MISUSE = 1,   /**< Pointers that jsrtmem_free and jsrtmem_realloc refuse. */
    JSRTMEM_DIAGNOSTICS_REFUSALS = 2, /**< Refusals, as jsrtmem_last_refusal tells them. */
    JSRTMEM_DIAGNOSTICS_STATS = 4     /**< The figures of each runtime when it is disposed; those of
                                           the process and of runtimes left when it ends. */
} jsrtmem_diagnostics;

/**
 * @brief Switches diagnostics on and off.
 *
 * All are off, unless the environment variable JSRTMEM_DIAGNOSTICS (misuse, refusals, stats, with
 * commas between), read before the first runtime, says otherwise; this call replaces what it said.
 * Lines begin with "libjsrtmem: " and are meant for people: their text may change.
 *
 * @param flags a combination of jsrtmem_diagnostics.
 * @return JsErrorInvalidArgument for an unknown flag: nothing was changed; JsErrorOutOfMemory if the
 *         OS has no room for the library itself.
 *
 * Threads: any, at any time, in callbacks too.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_set_diagnostics(unsigned int flags);

/**
 * @brief Tells the version of the library that is running.
 *
 * @return "major.minor.patch"; static, never null.
 *
 * Threads: any.
 */
JSRTMEM_API(const char *) jsrtmem_version(void);

#if defined(__cplusplus)
} /* extern "C" */
#endif

#endif /* JSRTMEM_H */
