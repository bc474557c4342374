/*
 * jsrtmem.h - allocation inside a runtime: the functions that an engine or host calls for its
 * objects.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

/**
 * @file
 * @brief Objects in a runtime's memory, entering and leaving, refusals, statistics.
 *
 * The rules of jsrt.h hold here too. This header adds the following.
 *
 * Pointers. An object is aligned to 16 bytes at least, and does not move until it is freed or
 * reallocated. Every function recognises a pointer that is foreign, misaligned, interior or already
 * freed (and not handed out again) at once, touches nothing, and returns JsErrorInvalidArgument, 0
 * or NULL. If such a misuse races with another operation on the same object or its block, it may go
 * unrecognised, but damages nothing.
 *
 * Refusals. A function that returns an object returns NULL if it cannot, and jsrtmem_last_refusal
 * then tells why. The reason is OS where other functions return JsErrorOutOfMemory. A refusal loses
 * nothing: live objects stay as they were, the runtime stays usable, and the next request is judged
 * on its own. One exception: if a runtime of more than 64 KiB is refused repeatedly, not every
 * request searches all its objects for room. Searches become rarer after each one that fails, and
 * come sooner if much seems to have been freed meanwhile. JsCollectGarbage searches at once.
 *
 * Memory. Disposing the runtime frees all its objects. New memory is not cleared, except by
 * jsrtmem_calloc. But memory that crosses from one runtime to another is zeroed wherever it had
 * been handed out, so a runtime never sees another's bytes, except bytes that the other writes to
 * objects after it freed them.
 *
 * Threads. A thread that has entered a runtime allocates on the fast path. A thread that has not
 * holds the runtime for the length of each call, and waits for other threads that do the same. It
 * is refused (JSRTMEM_REFUSAL_THREAD) while another thread has the runtime current. jsrtmem_free
 * works on every thread, always, and never waits for the thread that uses the runtime. After fork,
 * the child can use every runtime that no other thread had current or was inside of, create new
 * ones, and dispose all. The host's own pthread_atfork handlers may call the library, and may take
 * locks under which the host calls the library, if they were registered after the library was
 * loaded.
 *
 * Structs grow at their end. The caller sets struct_size to the sizeof it was compiled with; fields
 * beyond it are not written. A struct_size that is 0, or less than the first version of the struct
 * had, is JsErrorInvalidArgument. If it is more than the library knows, the library writes back the
 * size that it filled. Checks come in the order handle, pointer, struct_size. A call for an object
 * of a runtime that another thread keeps is refused for that (THREAD) before its other arguments
 * are checked.
 */

#ifndef JSRTMEM_H
#define JSRTMEM_H

#include "jsrt.h"

#include <stddef.h>
#include <stdint.h>

/**
 * @name Version
 * The version of this header, defined nowhere else. jsrtmem_version returns that of the library.
 * @{
 */
/** @brief Rises with changes that break existing programs. */
#define JSRTMEM_VERSION_MAJOR 0
/** @brief Rises with additions; while the major version is 0, with all changes. */
#define JSRTMEM_VERSION_MINOR 1
/** @brief Rises with corrections. */
#define JSRTMEM_VERSION_PATCH 0
/** @} */

/** @brief Lets a call skip the procedure linkage table, if the compiler supports that. */
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
 * @param type the result type.
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
 * Size 0 returns a unique pointer that can be freed. Sizes above PTRDIFF_MAX are refused (SIZE).
 *
 * Some requests search all blocks of the runtime for free memory. A search takes some 0.1 ms per
 * MiB of small objects.
 *
 * @param runtime the runtime that owns the object and pays for it.
 * @param size size of the object, in bytes.
 * @return the object, aligned to 16 bytes, its content unspecified; NULL if refused.
 *
 * Threads: any on which the runtime may be used.
 */
JSRTMEM_API(void *) jsrtmem_alloc(JsRuntimeHandle runtime, size_t size);

/**
 * @brief Allocates an array in a runtime, all bytes zero.
 *
 * A product of 0 returns a unique pointer that can be freed. A product that overflows is refused
 * (SIZE).
 *
 * @param runtime the runtime that owns the object and pays for it.
 * @param count number of elements.
 * @param size size of one element, in bytes.
 * @return the object, aligned to 16 bytes; NULL if refused.
 *
 * Threads: any on which the runtime may be used.
 */
JSRTMEM_API(void *) jsrtmem_calloc(JsRuntimeHandle runtime, size_t count, size_t size);

/**
 * @brief Allocates an object with a given alignment.
 *
 * @param runtime the runtime that owns the object and pays for it.
 * @param alignment a power of two, in bytes; less than 16 counts as 16. Anything else is refused
 *        (ARGUMENT).
 * @param size size of the object, in bytes; need not be a multiple of the alignment.
 * @return the object, its content unspecified; NULL if refused.
 *
 * Threads: any on which the runtime may be used.
 */
JSRTMEM_API(void *)
jsrtmem_aligned_alloc(JsRuntimeHandle runtime, size_t alignment, size_t size);

/**
 * @brief Changes the size of an object, in place where that pays.
 *
 * The content is kept up to the smaller size. The result is aligned to 16 bytes. If ptr is null,
 * the call allocates, whatever the size. Otherwise, if size is 0, it frees an object of this
 * runtime, as jsrtmem_free does, and returns NULL, which is no refusal. If the call fails, the
 * object is unchanged. A bad pointer, and an object of another runtime, are refused untouched
 * (ARGUMENT). (If a callback leaves the Free event of an object that shrinks, by a jump or an
 * exception, the object has shrunk in its place.)
 *
 * Shrinking never fails if the caller may use the runtime. The object may move even so, because the
 * remainder of its place would fit little else. A large object may keep its whole block: inside the
 * runtime's allocation callback, if the OS does not take the remainder, or if the remainder is at
 * most a fifth of the block and a small part of what the limit leaves.
 *
 * A block that a moved object leaves empty is not given back by this call, because a callback that
 * leaves the event by a jump or an exception would lose the call's result. The next call for an
 * object of the runtime, or a collect, gives it back. If a callback frees the object during the
 * call, the call is refused (ARGUMENT). From then until the call returns, a callback must not
 * allocate in the runtime, as the new object might be taken for the freed one.
 *
 * @param runtime the runtime that owns the object.
 * @param ptr the object, or null.
 * @param size the new size, in bytes.
 * @return the object, which may have moved; NULL if refused, or freed by size 0.
 *
 * Threads: any on which the runtime may be used; to free by size 0, any.
 */
JSRTMEM_API(void *) jsrtmem_realloc(JsRuntimeHandle runtime, void *ptr, size_t size);

/**
 * @brief Frees an object.
 *
 * If the calling thread has not entered the runtime and no thread uses it, the object is freed at
 * once, which may deliver a JsMemoryFree event on the calling thread. If another thread uses the
 * runtime, the object is queued, without an event. A queued object holds its block until it is
 * taken in: when the runtime has nothing else at hand for a request, is collected or is disposed;
 * and, if blocks may go with it, at the next use. That is to enter or to leave the runtime, to
 * allocate, resize or free without entering, and any call that may take or give back a block. (With
 * many blocks, what may go has to add up to 1 KiB for each.)
 *
 * @param ptr the object, of any runtime. Null does nothing. For a pointer from untrusted code, ask
 *        jsrtmem_runtime_of first, or free by jsrtmem_realloc to size 0.
 * @return JsErrorInvalidArgument if ptr is not a live object; nothing was touched.
 *
 * Threads: any, always; never waits for the thread that uses the runtime.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_free(void *ptr);

/**
 * @brief Tells how many bytes of an object may be used.
 *
 * Under memcheck, and in a library built with AddressSanitizer, use beyond the requested size is an
 * error until this function has been called for the object.
 *
 * @param ptr the object.
 * @return at least the requested size, in bytes; 0 for null and for a bad pointer.
 *
 * Threads: any that may touch the object, while no thread resizes it; takes no lock.
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
 * Enters nest, also over another runtime or over a current context. Each enter needs its own leave.
 * If other threads have freed objects meanwhile, to enter and to leave may deliver JsMemoryFree
 * events. If a callback leaves one by an exception or a jump, the runtime stays entered, or not, as
 * it was.
 *
 * @param runtime the runtime.
 * @return JsErrorInvalidArgument; JsErrorWrongThread while the runtime is current on another
 *         thread; JsErrorRuntimeInUse inside its allocation callback; JsErrorOutOfMemory if the OS
 *         has no room for the thread's record of nested enters, or after 2^32 - 1 of them.
 *
 * Threads: any; waits for calls of threads that hold the runtime without having entered it.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_enter(JsRuntimeHandle runtime);

/**
 * @brief Undoes the innermost jsrtmem_enter of this thread.
 *
 * @param runtime the runtime of the innermost enter.
 * @return JsErrorInvalidArgument for any other runtime, if nothing was entered, and if a callback
 *         has entered another runtime meanwhile and stayed; JsErrorRuntimeInUse inside its
 *         allocation callback.
 *
 * Threads: the one that entered.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_leave(JsRuntimeHandle runtime);

/**
 * @brief Tells which runtime is current on this thread, for hooks that are not passed one.
 *
 * Many libraries accept allocation functions, but do not pass them any state that identifies the
 * tenant. In such a hook, `jsrtmem_alloc(jsrtmem_current(), size)` allocates for the tenant that
 * the thread has entered, and is refused (ARGUMENT) if it has entered none.
 *
 * @return the runtime that the thread entered last, or whose context is current; null if there is
 *         none.
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
    JSRTMEM_REFUSAL_THREAD,   /**< Another thread has the runtime current; or another thread is in a
                                 call of it while this thread is inside a callback, where nothing
                                 waits; or a callback left a dispose of it unfinished. */
    JSRTMEM_REFUSAL_CALLBACK, /**< A new block was needed inside the runtime's own callback. */
    JSRTMEM_REFUSAL_ARGUMENT /**< Bad handle, bad alignment, or not a live object of the runtime. */
} jsrtmem_refusal;

/** @brief The last refusal of a thread. */
typedef struct jsrtmem_refusal_info {
    size_t struct_size;      /**< In: sizeof(jsrtmem_refusal_info). */
    jsrtmem_refusal reason;  /**< Why. */
    JsRuntimeHandle runtime; /**< The runtime; null for a bad handle or pointer, or an object of
                                  another runtime. */
    size_t requested;        /**< Bytes requested; (size_t)-1 if count * size overflows. */
    size_t usage;            /**< The runtime's usage at that moment, in bytes. */
    size_t limit;            /**< The runtime's limit at that moment, in bytes. */
} jsrtmem_refusal_info;

/**
 * @brief Tells why the last refusal on this thread happened.
 *
 * Like errno, the record is kept until this thread's next refusal, and success does not clear it.
 * Inside a callback, during JsMemoryFailure, it describes the failure being reported, even if the
 * request is then served in another way.
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
 * shallower frame of the same stack. The latter does not hold for calls that an entered runtime
 * serves from what it has at hand, or that only read (figures, sizes, owners, contexts, the
 * execution flag). A stack that a host has made inside the thread's own counts as the same stack.
 *
 * Until the jump is recognised, calls on this thread count as made inside the callback, and lose
 * nothing. Other threads that want the runtime, or change the callback, wait: before waiting for
 * such a thread, call this function. If the callback was being asked, the answer counts as a
 * refusal (HOST); if it was being told of something, that counts as told.
 *
 * A call ends the innermost callback of the runtime. If its before-collect callback, around that
 * one, was left too, call once more. Callbacks that wait in coroutines of one thread may return in
 * any order; one whose coroutine ends without its return needs this function.
 *
 * @param runtime the runtime whose callback was left.
 * @return JsErrorInvalidArgument; JsNoError also if there is nothing to abandon.
 *
 * Threads: the one that left the callback. Must not be called from inside the callback. If an
 * allocation callback was left by a jump into the runtime's before-collect callback, and other
 * calls came since, it must not be called from inside the before-collect callback either.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_abandon(JsRuntimeHandle runtime);

/* ---- statistics ----------------------------------------------------------------------------- */

/** @brief The memory that a runtime holds, and counts of its events. */
typedef struct jsrtmem_stats {
    size_t struct_size;  /**< In: sizeof(jsrtmem_stats). */
    size_t usage;        /**< Bytes held from the OS. */
    size_t peak_usage;   /**< The highest usage since creation or jsrtmem_reset_peak, in bytes. */
    size_t limit;        /**< The limit, in bytes. */
    size_t live_bytes;   /**< Bytes of the objects not yet freed, by usable size. The call counts
                              them, in some 15 us per MiB of addresses that the blocks cover (longer
                              if these are thousands of the smallest blocks). While another thread
                              uses the runtime, the count is a few steps old, and blocks that come
                              or go may count twice or not at all. */
    size_t live_objects; /**< Number of those objects, likewise. */
    size_t blocks;       /**< Number of blocks held. */
    uint64_t allocate_events; /**< JsMemoryAllocate events, counted with or without a callback. */
    uint64_t free_events;     /**< JsMemoryFree events, likewise. */
    uint64_t failure_events;  /**< JsMemoryFailure events, likewise. */
    uint64_t misuses;         /**< Bad frees that were recognised late. Always 0: this version
                                   recognises them at once or, in a race, not at all. */
} jsrtmem_stats;

/**
 * @brief Reads the statistics of a runtime.
 *
 * Live objects are counted part by part. During a part, large blocks that other threads give back
 * are put aside, up to 32 MiB; beyond that, those threads wait. A thread whose large object must
 * move to grow also waits: some milliseconds, or until the end of the part if the limit has no room
 * for a copy. For frequent polling, use JsGetRuntimeMemoryUsage.
 *
 * @param runtime the runtime.
 * @param stats receives the statistics; struct_size must be set.
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
 * Threads: any, at any time, in callbacks too; never waits for the thread that uses the runtime.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_reset_peak(JsRuntimeHandle runtime);

/** @brief The memory that the whole process holds. */
typedef struct jsrtmem_process_stats {
    size_t struct_size;   /**< In: sizeof(jsrtmem_process_stats). */
    size_t runtimes;      /**< Number of live runtimes. */
    size_t usage;         /**< Sum of the usage of live runtimes, in bytes. */
    size_t reserve;       /**< Bytes kept in the process reserve. */
    size_t reserve_limit; /**< Bound of the process reserve, in bytes. The environment is read by
                               the time the first runtime is created. */
    size_t metadata;      /**< Bytes of process-wide tables: the registry, the pointer map, and
                               headers and state maps of blocks that runtimes or the reserve hold.
                               Headers and maps of released blocks may stay resident: at most 13 %
                               of the most that was ever held, and 4 MiB on Linux. */
} jsrtmem_process_stats;

/**
 * @brief Reads the statistics of the process.
 *
 * @param stats receives the statistics; struct_size must be set.
 * @return JsErrorNullArgument; JsErrorInvalidArgument for a bad struct_size.
 *
 * Threads: any, at any time, in callbacks too; takes no lock. Visits every runtime's record, in use
 * or free, at some 30 ns each; new runtimes use free records again.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_get_process_stats(jsrtmem_process_stats *stats);

/**
 * @brief Sets the bound of the process reserve, and trims the reserve to it at once, as far as the
 *        OS takes memory back.
 *
 * The reserve keeps released blocks for the next runtime that needs some. To runtimes, these blocks
 * count as given back. Up to 1 MiB of blocks that a thread brings, and has taken before, waits for
 * that thread until the reserve is full. A block of a large object waits for the runtime that had
 * it. Once that runtime is disposed, or the reserve is full, such a block of up to 1 MiB serves any
 * runtime, zeroed. A collect gives the runtime's own blocks in the reserve to the OS, except blocks
 * of less than 128 KiB, of which there are few. A full reserve makes room by giving other blocks to
 * the OS, neighbours together.
 *
 * The default bound is 32 MiB. The environment variable JSRTMEM_RESERVE_LIMIT (bytes, or with a
 * suffix K, M or G), read before the first runtime, replaces it.
 *
 * @param bytes the bound, in bytes; 0 for no reserve.
 * @return JsErrorOutOfMemory if the OS has no room for the library itself.
 *
 * Threads: any, at any time, in callbacks too.
 */
JSRTMEM_API(JsErrorCode) jsrtmem_set_reserve_limit(size_t bytes);

/** @brief What the library writes to standard error, one line per event. */
typedef enum jsrtmem_diagnostics {
    JSRTMEM_DIAGNOSTICS_NONE = 0,     /**< Nothing. */
    JSRTMEM_DIAGNOSTICS_MISUSE = 1,   /**< Pointers that jsrtmem_free and jsrtmem_realloc refuse. */
    JSRTMEM_DIAGNOSTICS_REFUSALS = 2, /**< Refusals, as jsrtmem_last_refusal reports them. */
    JSRTMEM_DIAGNOSTICS_STATS = 4     /**< The figures of each runtime when it is disposed; when the
                                           process ends, those of the process and of the remaining
                                           runtimes. */
} jsrtmem_diagnostics;

/**
 * @brief Switches diagnostics on and off.
 *
 * All are off by default. The environment variable JSRTMEM_DIAGNOSTICS (misuse, refusals, stats,
 * separated by commas), read before the first runtime, switches them on; this call replaces that
 * setting. Lines begin with "libjsrtmem: " and are meant for people: their text may change.
 *
 * @param flags a combination of jsrtmem_diagnostics.
 * @return JsErrorInvalidArgument for an unknown flag: nothing was changed; JsErrorOutOfMemory if
 *         the OS has no room for the library itself.
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
