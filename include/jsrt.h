/*
 * jsrt.h - the memory side of the JavaScript Runtime (JSRT) hosting API, as provided by libjsrtmem.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

/**
 * @file
 * @brief Runtimes as accounts for memory: usage, limit, allocation events, contexts.
 *
 * Names, values, signatures and calling convention are those of the Chakra hosting API. A host
 * written for that API compiles unchanged, with or without USE_EDGEMODE_JSRT. The older jsrt9.h,
 * whose JsCreateRuntime takes an additional runtime version, is not supported. Objects are
 * allocated with jsrtmem.h.
 *
 * The rules below hold for the whole API. A function's comment states only what differs or adds to
 * them.
 *
 * Results. Every function returns a JsErrorCode; JsNoError (0) is success. A call that fails
 * changes nothing and writes to no out-parameter, except that JsCreateRuntime sets its own to null.
 *
 * A thread's first call asks the OS to notify the library when the thread exits. If the OS has no
 * room for that, calls on the thread that use or change a runtime or a context return
 * JsErrorOutOfMemory, because they depend on the notification. Calls that only read work, and so
 * does jsrtmem_free.
 *
 * Handles. A runtime or context handle is an opaque value, not an address. For a null, forged,
 * stale or disposed handle every function returns JsErrorInvalidArgument, for ever; such a handle
 * is never followed. The handle is checked first, the out-pointer after it. Only JsCreateRuntime
 * and JsCreateContext check the out-pointer first.
 *
 * Null. An out-pointer must not be null (JsErrorNullArgument), unless its parameter says otherwise.
 * A callback may be null, which unsets it. A callback's state may be any value and is passed back
 * unchanged.
 *
 * Ownership. The host owns what it passes in. The library keeps callbacks and their states only
 * until they are replaced or the runtime is disposed, and context data only to hand it back.
 * Disposing a runtime ends its contexts and gives back all its memory.
 *
 * Sizes are in bytes. Usage is the memory that a runtime holds from the operating system (OS): the
 * sum of its blocks, not of its objects. The limit (size_t)-1 means no limit.
 *
 * Threads. Any thread may use a runtime, but only one at a time. After JsSetCurrentContext or
 * jsrtmem_enter a runtime is current on a thread, until the thread leaves it. A call on a runtime
 * that is current nowhere holds it for the length of the call, and other such calls wait for it. A
 * thread that exits leaves the runtimes that it had current, except one that a destructor of its
 * thread-specific data enters again in the last of the rounds that POSIX guarantees. Waiting
 * threads take turns. Reads of usage and limit take no lock and work on every thread, at any time,
 * even in signal handlers. A signal handler must call no other function here, and must not fork if
 * it may have interrupted the library.
 *
 * Callbacks run on the thread that uses the runtime, with no lock of the library held. Inside a
 * callback every get, limit change and callback change works, and other runtimes can be used as
 * usual, except that no call there waits for another thread. A call that would have to wait returns
 * JsErrorWrongThread, or NULL (JSRTMEM_REFUSAL_THREAD); a change of callback takes effect at once,
 * though the old one may still be running. Inside the allocation callback of a runtime the
 * following calls return JsErrorRuntimeInUse for that runtime and change nothing: JsDisposeRuntime,
 * JsCollectGarbage, JsCreateContext, JsSetCurrentContext (to or from one of its contexts), JsIdle,
 * jsrtmem_enter and jsrtmem_leave. Inside a before-collect callback only JsDisposeRuntime does. A
 * callback may be left by a C++ exception, or by longjmp (see jsrtmem_abandon).
 */

#ifndef JSRT_H
#define JSRT_H

#include <stddef.h>

#if !defined(__cplusplus)
#include <stdbool.h>
#endif

/*
 * Linkage. Callbacks and functions are __stdcall on Windows, which matters on 32-bit x86 only.
 * Hosts that link the DLL may define JSRTMEM_DLL, which saves an indirect jump.
 */
/**
 * @def CHAKRA_CALLBACK
 * @brief Calling convention of a host's callbacks; stands before the name of the function.
 *
 * @def JSRT_CALL
 * @brief Calling convention of the functions of this header, for function pointers to them.
 *
 * @def JSRT_EXPORT
 * @brief Linkage of every function of the library; hosts do not need it.
 */
#if defined(_WIN32)
#define CHAKRA_CALLBACK __stdcall
#define JSRT_CALL __stdcall
#if defined(JSRTMEM_DLL)
#define JSRT_EXPORT __declspec(dllimport)
#else
#define JSRT_EXPORT
#endif
#else
#define CHAKRA_CALLBACK
#define JSRT_CALL
#if defined(__GNUC__)
#define JSRT_EXPORT __attribute__((visibility("default")))
#else
#define JSRT_EXPORT
#endif
#endif

/* Edge-mode hosts declare their callbacks with CALLBACK, which Windows headers define as
 * __stdcall. */
#if defined(USE_EDGEMODE_JSRT) && !defined(CALLBACK)
#if defined(_WIN32)
#define CALLBACK __stdcall
#else
#define CALLBACK
#endif
#endif

/** @brief Begins the declaration of a function of this header: linkage, result and convention. */
#define CHAKRA_API JSRT_EXPORT JsErrorCode JSRT_CALL

#if defined(__cplusplus)
extern "C" {
#endif

/**
 * @brief Result of a call.
 *
 * All codes of the hosting API are listed, for hosts that switch over them. This library returns
 * only those that the functions below name.
 */
typedef enum _JsErrorCode {
    JsNoError = 0, /**< Success. */

    JsErrorCategoryUsage = 0x10000,              /**< Category: wrong use of the API. */
    JsErrorInvalidArgument = 0x10001,            /**< Bad handle, pointer, bit or size. */
    JsErrorNullArgument = 0x10002,               /**< Null where null is not allowed. */
    JsErrorNoCurrentContext = 0x10003,           /**< No context is current on this thread. */
    JsErrorInExceptionState = 0x10004,           /**< Not used here. */
    JsErrorNotImplemented = 0x10005,             /**< Not used here. */
    JsErrorWrongThread = 0x10006,                /**< In use by another thread. */
    JsErrorRuntimeInUse = 0x10007,               /**< Current, entered, or inside its callback. */
    JsErrorBadSerializedScript = 0x10008,        /**< Not used here. */
    JsErrorInDisabledState = 0x10009,            /**< The runtime's execution is disabled. */
    JsErrorCannotDisableExecution = 0x1000a,     /**< Created without AllowScriptInterrupt. */
    JsErrorHeapEnumInProgress = 0x1000b,         /**< Not used here. */
    JsErrorArgumentNotObject = 0x1000c,          /**< Not used here. */
    JsErrorInProfileCallback = 0x1000d,          /**< Not used here. */
    JsErrorInThreadServiceCallback = 0x1000e,    /**< Not used here. */
    JsErrorCannotSerializeDebugScript = 0x1000f, /**< Not used here. */
    JsErrorAlreadyDebuggingContext = 0x10010,    /**< Not used here. */
    JsErrorAlreadyProfilingContext = 0x10011,    /**< Not used here. */
    JsErrorIdleNotEnabled = 0x10012,             /**< Created without EnableIdleProcessing. */
    JsCannotSetProjectionEnqueueCallback = 0x10013, /**< Not used here. */
    JsErrorCannotStartProjection = 0x10014,         /**< Not used here. */
    JsErrorInObjectBeforeCollectCallback = 0x10015, /**< Not used here. */
    JsErrorObjectNotInspectable = 0x10016,          /**< Not used here. */
    JsErrorPropertyNotSymbol = 0x10017,             /**< Not used here. */
    JsErrorPropertyNotString = 0x10018,             /**< Not used here. */
    JsErrorInvalidContext = 0x10019,                /**< Not used here. */
    JsInvalidModuleHostInfoKind = 0x1001a,          /**< Not used here. */
    JsErrorModuleParsed = 0x1001b,                  /**< Not used here. */
    JsNoWeakRefRequired = 0x1001c,                  /**< Not used here. */
    JsErrorPromisePending = 0x1001d,                /**< Not used here. */
    JsErrorModuleNotEvaluated = 0x1001e,            /**< Not used here. */

    JsErrorCategoryEngine = 0x20000, /**< Category: errors inside the engine. */
    JsErrorOutOfMemory = 0x20001,    /**< No memory, or no handle, is left. */
    JsErrorBadFPUState = 0x20002,    /**< Not used here. */

    JsErrorCategoryScript = 0x30000,     /**< Category: errors in a script. */
    JsErrorScriptException = 0x30001,    /**< Not used here. */
    JsErrorScriptCompile = 0x30002,      /**< Not used here. */
    JsErrorScriptTerminated = 0x30003,   /**< Not used here. */
    JsErrorScriptEvalDisabled = 0x30004, /**< Not used here. */

    JsErrorCategoryFatal = 0x40000, /**< Category: the engine has failed. */
    JsErrorFatal = 0x40001,         /**< Not used here. */
    JsErrorWrongRuntime = 0x40002,  /**< Not used here. */

    JsErrorCategoryDiagError = 0x50000,         /**< Category: debugging. */
    JsErrorDiagAlreadyInDebugMode = 0x50001,    /**< Not used here. */
    JsErrorDiagNotInDebugMode = 0x50002,        /**< Not used here. */
    JsErrorDiagNotAtBreak = 0x50003,            /**< Not used here. */
    JsErrorDiagInvalidHandle = 0x50004,         /**< Not used here. */
    JsErrorDiagObjectNotFound = 0x50005,        /**< Not used here. */
    JsErrorDiagUnableToPerformAction = 0x50006, /**< Not used here. */
    JsSerializerNotSupported = 0x50007,         /**< Not used here. */
    JsTransferableNotSupported = 0x50008,       /**< Not used here. */
    JsTransferableAlreadyDetached = 0x50009     /**< Not used here. */
} JsErrorCode;

/** @brief Handle of a runtime: opaque, valid until JsDisposeRuntime, never valid again after. */
typedef void *JsRuntimeHandle;

/** @brief Reference to something that a runtime owns; in this library, a context. */
typedef void *JsRef;

/** @brief Reference to a context of a runtime. */
typedef JsRef JsContextRef;

/** @brief Reference to a script value. For hosts that name the type; the library creates none. */
typedef JsRef JsValueRef;

/**
 * @var JS_INVALID_RUNTIME_HANDLE
 * @brief The null handle, which names no runtime: a macro in C, a constant in C++.
 *
 * @var JS_INVALID_REFERENCE
 * @brief The null reference, which names no context: a macro in C, a constant in C++.
 */
#if defined(__cplusplus)
const JsRuntimeHandle JS_INVALID_RUNTIME_HANDLE = JsRuntimeHandle();
const JsRef JS_INVALID_REFERENCE = JsRef();
#else
#define JS_INVALID_RUNTIME_HANDLE ((JsRuntimeHandle)0)
#define JS_INVALID_REFERENCE ((JsRef)0)
#endif

/**
 * @brief Attributes of a runtime, a set of bits.
 *
 * AllowScriptInterrupt and EnableIdleProcessing control JsDisableRuntimeExecution and JsIdle. The
 * other attributes are instructions to a script engine: they are accepted and have no effect here.
 */
typedef enum _JsRuntimeAttributes {
    JsRuntimeAttributeNone = 0x00000000,                        /**< No attribute. */
    JsRuntimeAttributeDisableBackgroundWork = 0x00000001,       /**< No effect here. */
    JsRuntimeAttributeAllowScriptInterrupt = 0x00000002,        /**< Execution can be disabled. */
    JsRuntimeAttributeEnableIdleProcessing = 0x00000004,        /**< JsIdle works. */
    JsRuntimeAttributeDisableNativeCodeGeneration = 0x00000008, /**< No effect here. */
    JsRuntimeAttributeDisableEval = 0x00000010,                 /**< No effect here. */
    JsRuntimeAttributeEnableExperimentalFeatures = 0x00000020,  /**< No effect here. */
    JsRuntimeAttributeDispatchSetExceptionsToDebugger = 0x00000040, /**< No effect here. */
    JsRuntimeAttributeDisableFatalOnOOM = 0x00000080,               /**< No effect here. */
    JsRuntimeAttributeDisableExecutablePageAllocation = 0x00000100  /**< No effect here. */
} JsRuntimeAttributes;

/**
 * @brief The kinds of allocation events. Each is about one block, to be taken from or given back to
 *        the OS.
 *
 * A block that grows or shrinks in place reports the difference. Inside JsMemoryAllocate the usage
 * does not yet include the block; inside JsMemoryFree it no longer does. JsMemoryFailure has the
 * size of the request that failed and leaves the usage unchanged. It comes alone if the limit
 * refused. It comes after a JsMemoryAllocate if the host refused, the OS refused, the limit was
 * lowered or used up meanwhile, or the callback freed the object that was to grow.
 */
typedef enum _JsMemoryEventType {
    JsMemoryAllocate = 0, /**< The runtime asks whether it may take a block. */
    JsMemoryFree = 1,     /**< The runtime has given a block back. */
    JsMemoryFailure = 2   /**< The runtime did not get a block. */
} JsMemoryEventType;

/**
 * @brief Answers for every block that a runtime wants to take, has given back, or did not get.
 *
 * No event comes from inside an event of the same runtime: an allocation made there is served from
 * blocks that the runtime already holds, or refused. The library uses some 3 KiB of stack between
 * the host's call and the callback.
 *
 * @param callbackState the state given to JsSetRuntimeMemoryAllocationCallback; may be null.
 * @param allocationEvent the kind of event.
 * @param allocationSize size of the block, or of the difference, in bytes; a multiple of the page
 *        size.
 * @return for JsMemoryAllocate, true to allow and false to refuse; ignored for the other events.
 *         After a refusal the next request asks again. As at a limit, it first tries what the
 *         runtime already holds, and asks for less: in the end for no more than it needs. The first
 *         refusals may come while 128 KiB, or an eighth of what the runtime holds, are still
 *         allowed, because the library learns from them how much the host allows. A limit does not
 *         have to be learned.
 *
 * Threads: called on the thread that uses the runtime, or that frees or disposes.
 */
typedef bool(CHAKRA_CALLBACK *JsMemoryAllocationCallback)(void *callbackState,
                                                          JsMemoryEventType allocationEvent,
                                                          size_t allocationSize);

/**
 * @brief Prepares for JsCollectGarbage, which calls it before giving memory back.
 *
 * @param callbackState the state given to JsSetRuntimeBeforeCollectCallback; may be null.
 *
 * Threads: called on the thread that called JsCollectGarbage.
 */
typedef void(CHAKRA_CALLBACK *JsBeforeCollectCallback)(void *callbackState);

/**
 * @brief Does a piece of background work, as passed to a thread service.
 *
 * This library has no background work and creates none.
 *
 * @param callbackState the state that came with the work; may be null.
 *
 * Threads: any that the host chooses.
 */
typedef void(CHAKRA_CALLBACK *JsBackgroundWorkItemCallback)(void *callbackState);

/**
 * @brief Takes background work for the host to do.
 *
 * This library has no background work and never calls it.
 *
 * @param callback the work.
 * @param callbackState the state to pass to the work.
 * @return true if the host takes the work, false to leave it to the runtime.
 *
 * Threads: none; it is never called.
 */
typedef bool(CHAKRA_CALLBACK *JsThreadServiceCallback)(JsBackgroundWorkItemCallback callback,
                                                       void *callbackState);

/* ---- runtimes ------------------------------------------------------------------------------- */

/**
 * @brief Creates a runtime.
 *
 * It has no limit, no callback, no context, and is current on no thread. Its usage is 0.
 *
 * @param attributes a set of JsRuntimeAttributes bits.
 * @param threadService accepted for compatibility and never called; may be null.
 * @param runtime receives the handle; set to null before the attributes are checked.
 * @return JsErrorNullArgument if runtime is null; JsErrorInvalidArgument for an unknown attribute
 *         bit (*runtime is then null); JsErrorOutOfMemory if no handle or no memory for its record
 *         is left.
 *
 * Threads: any.
 */
CHAKRA_API JsCreateRuntime(JsRuntimeAttributes attributes, JsThreadServiceCallback threadService,
                           JsRuntimeHandle *runtime);

/**
 * @brief Disposes a runtime: ends its contexts, gives back every block, frees its handle.
 *
 * A JsMemoryFree event reports each block. Inside these events gets and sets still work with the
 * handle. Once the call has returned JsNoError, every granted byte has been reported as freed and
 * no event ever comes again. The call never waits longer than a few yields for a user of the
 * runtime. If a callback leaves a dispose by longjmp or by an exception, the next dispose finishes
 * it; until then, other calls that use the runtime return JsErrorWrongThread.
 *
 * @param runtime the runtime.
 * @return JsErrorInvalidArgument; JsErrorRuntimeInUse while the runtime is current on any thread,
 *         this one included, while any thread is in one of its callbacks, or while another thread
 *         is inside a call that holds it.
 *
 * Threads: any; need not be the thread that created the runtime.
 */
CHAKRA_API JsDisposeRuntime(JsRuntimeHandle runtime);

/**
 * @brief Gives memory back, after a call of the before-collect callback.
 *
 * Takes in the frees that other threads queued. Gives back every empty block and, in blocks that
 * are in use, every page in which nothing lives, except a block's last page. Such pages are asked
 * for again when needed. If small objects take no more than 4 MiB, and no more than a quarter of
 * that is free, runs of less than 64 KiB of such pages stay. Of the runtime's blocks, the process
 * reserve keeps those of less than 128 KiB; the OS gets the rest.
 *
 * Live objects do not move. Inside the runtime's before-collect callback the call does nothing and
 * succeeds. Needs no context.
 *
 * @param runtime the runtime.
 * @return JsErrorInvalidArgument; JsErrorWrongThread while the runtime is current on another
 *         thread; JsErrorRuntimeInUse inside its allocation callback.
 *
 * Threads: any on which the runtime may be used; waits for calls that hold the runtime.
 */
CHAKRA_API JsCollectGarbage(JsRuntimeHandle runtime);

/* ---- usage, limit, callbacks ---------------------------------------------------------------- */

/**
 * @brief Reads how much memory a runtime holds from the OS.
 *
 * @param runtime the runtime.
 * @param memoryUsage receives the usage, in bytes.
 * @return JsErrorInvalidArgument; JsErrorNullArgument.
 *
 * Threads: any, at any time, in callbacks too; takes no lock.
 */
CHAKRA_API JsGetRuntimeMemoryUsage(JsRuntimeHandle runtime, size_t *memoryUsage);

/**
 * @brief Reads the limit of a runtime.
 *
 * @param runtime the runtime.
 * @param memoryLimit receives the limit, in bytes, as it was set; (size_t)-1 means no limit.
 * @return JsErrorInvalidArgument; JsErrorNullArgument.
 *
 * Threads: any, at any time, in callbacks too; takes no lock.
 */
CHAKRA_API JsGetRuntimeMemoryLimit(JsRuntimeHandle runtime, size_t *memoryLimit);

/**
 * @brief Sets the limit of a runtime.
 *
 * A block is refused if usage + block > limit; equal is allowed. A limit below the usage is
 * accepted: the runtime keeps what it holds, and new blocks are refused until the usage has fallen.
 * A block takes at least 16 KiB, or one page if that is more; with a lower limit nothing can be
 * held. Once this call has returned, no block is taken that the new limit does not allow.
 *
 * @param runtime the runtime.
 * @param memoryLimit the limit, in bytes; any value, 0 included; (size_t)-1 means no limit.
 * @return JsErrorInvalidArgument.
 *
 * Threads: any, at any time, in callbacks too. Waits while the thread that uses the runtime takes a
 * block that an older limit allowed. No host code runs meanwhile, and the wait is no longer than
 * the OS takes to move a block, unless the host has stopped that thread.
 */
CHAKRA_API JsSetRuntimeMemoryLimit(JsRuntimeHandle runtime, size_t memoryLimit);

/**
 * @brief Sets or unsets the allocation callback of a runtime, together with its state.
 *
 * The pair changes as one, from the next event on. If the call was made from outside any callback,
 * then when it returns, the old callback is running on no other thread and will not run again, so
 * its state may be freed. To guarantee that, the call may wait; the caller must hold nothing that
 * the old callback may wait for. Inside a callback the call does not wait.
 *
 * @param runtime the runtime.
 * @param callbackState passed to the callback; may be null. Forgotten if the callback is null.
 * @param allocationCallback the callback, or null for none.
 * @return JsErrorInvalidArgument.
 *
 * Threads: any, at any time, in callbacks too.
 */
CHAKRA_API JsSetRuntimeMemoryAllocationCallback(JsRuntimeHandle runtime, void *callbackState,
                                                JsMemoryAllocationCallback allocationCallback);

/**
 * @brief Sets or unsets the callback that JsCollectGarbage calls first, together with its state.
 *
 * As with the allocation callback, the pair changes as one, and the call may wait.
 *
 * @param runtime the runtime.
 * @param callbackState passed to the callback; may be null. Forgotten if the callback is null.
 * @param beforeCollectCallback the callback, or null for none.
 * @return JsErrorInvalidArgument; JsErrorOutOfMemory if no memory is left for the record of a
 *         runtime's first callback.
 *
 * Threads: any, at any time, in callbacks too.
 */
CHAKRA_API JsSetRuntimeBeforeCollectCallback(JsRuntimeHandle runtime, void *callbackState,
                                             JsBeforeCollectCallback beforeCollectCallback);

/* ---- contexts ------------------------------------------------------------------------------- */

/**
 * @brief Creates a context in a runtime.
 *
 * Its count is 0, its data null. It lives until the runtime is disposed, or until its count, once
 * raised by JsAddRef, is back at 0; being current counts as one reference. A context is a small
 * record beside the handle. It does not count towards the runtime's usage, and can be created at
 * limit 0.
 *
 * @param runtime the runtime.
 * @param newContext receives the context.
 * @return JsErrorNullArgument if newContext is null, whatever the handle; JsErrorInvalidArgument;
 *         JsErrorWrongThread while the runtime is current on another thread; JsErrorInDisabledState
 *         while its execution is disabled; JsErrorRuntimeInUse inside its allocation callback;
 *         JsErrorOutOfMemory if no handle or no memory for its record is left.
 *
 * Threads: any on which the runtime may be used.
 */
CHAKRA_API JsCreateContext(JsRuntimeHandle runtime, JsContextRef *newContext);

/**
 * @brief Makes a context, and so its runtime, current on this thread, replacing the previous one.
 *
 * The thread then has exclusive use of the runtime, on the fast path, until it makes something else
 * current. If other threads have freed objects of either runtime meanwhile, JsMemoryFree events may
 * come first.
 *
 * @param context the context; JS_INVALID_REFERENCE leaves the current one, and does nothing if
 *        there is none.
 * @return JsErrorInvalidArgument; JsErrorWrongThread while the runtime is current on another
 *         thread; JsErrorRuntimeInUse while a jsrtmem_enter is open on this thread, and inside an
 *         allocation callback of the runtime to enter or to leave; JsErrorOutOfMemory if the OS has
 *         no room for the thread's record.
 *
 * Threads: any; concerns the calling thread.
 */
CHAKRA_API JsSetCurrentContext(JsContextRef context);

/**
 * @brief Reads the current context of this thread.
 *
 * @param currentContext receives the context, null if there is none.
 * @return JsErrorNullArgument.
 *
 * Threads: any; concerns the calling thread.
 */
CHAKRA_API JsGetCurrentContext(JsContextRef *currentContext);

/**
 * @brief Finds the runtime of a context.
 *
 * @param context the context.
 * @param runtime receives the runtime.
 * @return JsErrorInvalidArgument; JsErrorNullArgument.
 *
 * Threads: any, at any time; takes no lock.
 */
CHAKRA_API JsGetRuntime(JsContextRef context, JsRuntimeHandle *runtime);

/**
 * @brief Reads the host's data of a context.
 *
 * @param context the context.
 * @param data receives the value that JsSetContextData stored last, null before that.
 * @return JsErrorInvalidArgument; JsErrorNullArgument.
 *
 * Threads: any, even while the context is current elsewhere.
 */
CHAKRA_API JsGetContextData(JsContextRef context, void **data);

/**
 * @brief Stores the host's data with a context.
 *
 * @param context the context.
 * @param data any value, null included; never followed and never freed.
 * @return JsErrorInvalidArgument.
 *
 * Threads: any, even while the context is current elsewhere.
 */
CHAKRA_API JsSetContextData(JsContextRef context, void *data);

/**
 * @brief Adds one to the count of a context.
 *
 * @param ref the context.
 * @param count receives the new count; may be null.
 * @return JsErrorInvalidArgument; JsErrorOutOfMemory if the count has no room for one more.
 *
 * Threads: any, even while the context is current elsewhere.
 */
CHAKRA_API JsAddRef(JsRef ref, unsigned int *count);

/**
 * @brief Takes one from the count of a context; at 0 the context ends, unless it is current.
 *
 * The reference that stands for being current is never taken.
 *
 * @param ref the context.
 * @param count receives the new count; may be null.
 * @return JsErrorInvalidArgument, also if there is nothing to take.
 *
 * Threads: any, even while the context is current elsewhere.
 */
CHAKRA_API JsRelease(JsRef ref, unsigned int *count);

/**
 * @brief Does the idle work of the current context's runtime: the work of JsCollectGarbage, without
 *        the before-collect callback.
 *
 * @param nextIdleTick receives 0xffffffff if nothing is left to do, 0 if there is more to do at
 *        once.
 * @return JsErrorNullArgument; JsErrorNoCurrentContext; JsErrorRuntimeInUse inside the runtime's
 *         allocation callback; JsErrorIdleNotEnabled if it was created without
 *         JsRuntimeAttributeEnableIdleProcessing.
 *
 * Threads: the one on which the context is current.
 */
CHAKRA_API JsIdle(unsigned int *nextIdleTick);

/* ---- execution state ------------------------------------------------------------------------ */

/**
 * @brief Disables script execution in a runtime.
 *
 * This sets a flag that engines poll (JsIsRuntimeExecutionDisabled). The flag stops
 * JsCreateContext, but not the allocator.
 *
 * @param runtime the runtime.
 * @return JsErrorInvalidArgument; JsErrorCannotDisableExecution if the runtime was created without
 *         JsRuntimeAttributeAllowScriptInterrupt.
 *
 * Threads: any, at any time; never waits for the thread that uses the runtime.
 */
CHAKRA_API JsDisableRuntimeExecution(JsRuntimeHandle runtime);

/**
 * @brief Enables script execution in a runtime again.
 *
 * Succeeds and does nothing for a runtime created without JsRuntimeAttributeAllowScriptInterrupt.
 *
 * @param runtime the runtime.
 * @return JsErrorInvalidArgument; JsErrorWrongThread while a runtime with that attribute is current
 *         on another thread.
 *
 * Threads: any on which the runtime may be used.
 */
CHAKRA_API JsEnableRuntimeExecution(JsRuntimeHandle runtime);

/**
 * @brief Reads whether script execution is disabled in a runtime.
 *
 * @param runtime the runtime.
 * @param isDisabled receives true if it is disabled, else false.
 * @return JsErrorInvalidArgument; JsErrorNullArgument.
 *
 * Threads: any, at any time; takes no lock.
 */
CHAKRA_API JsIsRuntimeExecutionDisabled(JsRuntimeHandle runtime, bool *isDisabled);

#if defined(__cplusplus)
} /* extern "C" */
#endif

#endif /* JSRT_H */
