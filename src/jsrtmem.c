/*
 * Layer 5: objects, the largest part of jsrtmem.h. Checks arguments, takes the fast path if the
 * runtime is entered, and delegates.
 */
#include "jsrtmem.h"

#include <string.h>

#include "abi.h"
#include "diagnose.h"
#include "inspect.h"
#include "large.h"

/* ---- What tools see of an object ---- */

#if defined(JM_ASAN)
/* Unpoisons the requested bytes of an object and poisons the rest. Returns the object, which may be
 * NULL. */
static void *close_slack(void *object, size_t size)
{
    size_t asked = size == 0 ? 1 : size;
    _Atomic(uint32_t) *readers = jm_pagemap_enter();
    size_t usable = jm_heap_usable_in(jm_pagemap_block(object), object);
    if (usable != 0) {
        jm_inspect_open(object, asked);
        jm_inspect_close((char *)object + asked, usable - asked);
    }
    jm_pagemap_leave(readers);
    return object;
}
#else
JM_INLINE void *close_slack(void *object, size_t size)
{
    (void)size;
    return object;
}
#endif

/* ---- Operations on objects, by handle ---- */

/* The arguments of an allocating call. */
struct request {
    void *pointer;    /* to be resized; null: allocate a new object */
    size_t alignment; /* of a new object */
    size_t size;
    bool zero; /* clear the new object, which is a large one */
};

/* Finds the runtime of a request. False if refused, which is recorded. */
static bool find(JsRuntimeHandle handle, size_t requested, uintptr_t here, struct jm_ref *ref)
{
    JsErrorCode error = jm_abi_find(handle, here, ref);
    if (error != JsNoError) {
        bool is_short = error == JsErrorOutOfMemory;
        jm_runtime_refuse(is_short ? JM_REFUSED_OS : JM_REFUSED_ARGUMENT, NULL, requested);
    }
    return error == JsNoError;
}

/* Finds the runtime and begins an operation on it. False if refused, which is recorded. */
static bool begin(struct jm_operation *operation, JsRuntimeHandle handle, size_t requested,
                  uintptr_t here)
{
    struct jm_ref ref;
    if (!find(handle, requested, here, &ref)) {
        return false;
    }
    enum jm_access access = jm_operation_begin(operation, ref);
    if (access == JM_ACCESS_BUSY) {
        jm_runtime_refuse_busy(ref, (uintptr_t)handle, requested);
    } else if (access == JM_ACCESS_STALE) {
        jm_runtime_refuse(JM_REFUSED_ARGUMENT, NULL, requested);
    }
    return access == JM_ACCESS_GRANTED;
}

static JM_COLD void note_misuse(const char *call, const void *pointer)
{
    if (jm_diagnoses(JM_DIAGNOSE_MISUSE)) {
        _Atomic(uint32_t) *readers = jm_pagemap_enter();
        const char *fault = jm_heap_fault_any(pointer);
        jm_pagemap_leave(readers);
        jm_diagnose_misuse(call, pointer, fault);
    }
}

static void *serve(struct jm_heap *heap, const struct request *request, enum jm_verdict *verdict)
{
    if (request->pointer != NULL) {
        return jm_heap_resize(heap, request->pointer, request->size, verdict);
    }
    if (!jm_is_power_of_two(request->alignment)) {
        *verdict = JM_REFUSED_ARGUMENT;
        return NULL;
    }
    void *object = jm_heap_alloc_aligned(heap, request->alignment, request->size, verdict);
    if (object != NULL && request->zero) { /* now: the block stays while the runtime is ours */
        jm_large_clear(jm_block_of(object), request->size);
        jm_inspect_zero(object, request->size);
    }
    return object;
}

/* Records why a request was not served. */
static void note_failure(const struct jm_runtime *runtime, const struct request *request,
                         enum jm_verdict verdict)
{
    bool is_bad_pointer = verdict == JM_REFUSED_ARGUMENT && request->pointer != NULL;
    if (is_bad_pointer) {
        note_misuse("jsrtmem_realloc", request->pointer);
    }
    if (jm_verdict_is_reported(verdict)) {
        jm_thread.refusal = jm_thread.reported; /* later than refusals inside the callback */
        jm_runtime_trace_refusal(verdict, jm_runtime_handle(runtime), request->size);
    } else {
        jm_runtime_refuse(verdict, is_bad_pointer ? NULL : runtime, request->size);
    }
}

static JM_NOINLINE void *run(JsRuntimeHandle handle, const struct request *request, uintptr_t here)
{
    JM_OPERATION(operation);
    if (!begin(&operation, handle, request->size, here)) {
        return NULL;
    }
    jm_operation_tidy(&operation); /* now: once there is an object, an event could lose it */
    jm_thread.requested = request->size;
    enum jm_verdict verdict = JM_GRANTED;
    void *object = serve(&operation.runtime->heap, request, &verdict);
    if (object == NULL) {
        note_failure(operation.runtime, request, verdict);
    }
    jm_operation_end(&operation);
    return object;
}

static JM_NOINLINE void *alloc_slow(JsRuntimeHandle runtime, size_t size)
{
    struct request request = {.alignment = JM_GRANULE, .size = size};
    return run(runtime, &request, JM_HERE);
}

/* Serves a request from memory that the heap has, if possible. */
static inline void *refill(struct jm_heap *heap, unsigned code)
{
    void *object = jm_heap_refill(heap, code);
    if (object != NULL && JM_UNLIKELY(heap->untidy)) {
        (void)jm_heap_free(heap, object); /* else events of emptied blocks could lose it */
        object = NULL;
    }
    return object;
}

/* The arena of a heap whose next allocation or free need not be noted (see JM_DONE_*). NULL if
 * there is none. */
static inline struct jm_arena *quiet_arena(const struct jm_heap *heap)
{
    return heap->done == 0 ? heap->arena : NULL;
}

/* Serves a request during a visit. */
static inline void *take_visiting(struct jm_heap *heap, unsigned code)
{
    struct jm_arena *arena = quiet_arena(heap);
    void *object = arena == NULL ? NULL : jm_arena_pop_last(arena, code);
    if (object == NULL && arena != NULL) {
        object = jm_arena_pop_noted(arena, code);
    }
    return object != NULL ? object : refill(heap, code);
}

/* Allocates in a runtime that the thread has not entered. Fast if no thread uses it. */
static JM_NOINLINE void *alloc_visiting(JsRuntimeHandle handle, size_t size)
{
    void *object = NULL;
    struct jm_ref ref = jm_runtime_find(handle);
    if (ref.slot != NULL && size <= JM_SMALL_MAX && jm_runtime_visit(jm_runtime_at(ref))) {
        if (jm_registry_holds(ref)) {
            object = take_visiting(&jm_runtime_at(ref)->heap, jm_class_of_size(size));
        }
        jm_runtime_end_visit(jm_runtime_at(ref));
    }
    return object != NULL ? object : alloc_slow(handle, size);
}

/* Allocates in the current runtime, after its lists failed. */
static JM_NOINLINE void *alloc_refill(size_t code, size_t size)
{
    struct jm_heap *heap = jm_current.heap;
    void *object = heap == NULL ? NULL : refill(heap, (unsigned)code);
    return object != NULL ? object : alloc_slow((JsRuntimeHandle)jm_current.handle, size);
}

/* Prefers a free object of a slightly larger class (jm_class_near) to new memory. */
static JM_NOINLINE JM_ALIGNED void *alloc_near(size_t code, size_t size)
{
    struct jm_arena *arena = jm_current.arena;
    const size_t wider = jm_class_near(code);
    void *object = jm_arena_pop_noted(arena, wider);
    if (object == NULL) {
        object = jm_arena_pop_last(arena, wider);
    }
    return JM_LIKELY(object != NULL) ? object : alloc_refill(code, size);
}

/* Allocates when the list of the class serves nothing, most often because it is empty. */
static JM_NOINLINE JM_ALIGNED void *alloc_new(size_t code, size_t size, struct jm_arena *arena)
{
    if (JM_LIKELY(jm_arena_has_room(arena, code) && jm_arena_lists_neither(arena, code))) {
        return jm_arena_cut(arena, code);
    }
    void *object = jm_arena_pop_last(arena, code);
    return object != NULL ? object : alloc_near(code, size);
}

/* Allocates a size beyond the table, or in a runtime that is not current. */
static JM_NOINLINE void *alloc_medium(JsRuntimeHandle runtime, size_t size)
{
    if (size > JM_SMALL_MAX || jm_current.handle != (uintptr_t)runtime) {
        return alloc_visiting(runtime, size);
    }
    unsigned code = jm_class_of_size(size);
    struct jm_arena *arena = jm_current.arena;
    void *object = jm_arena_pop_noted(arena, code);
    return object != NULL ? object : alloc_new(code, size, arena);
}

JM_HOT JSRTMEM_API(void *) jsrtmem_alloc(JsRuntimeHandle runtime, size_t size)
{
    if (JM_UNLIKELY(size > JM_STEP_MAX || jm_current.handle != (uintptr_t)runtime)) {
        return close_slack(alloc_medium(runtime, size), size);
    }
    size_t code = jm_class_by_bytes[size];
    struct jm_arena *arena = jm_current.arena;
    void *object = jm_arena_pop(arena, code);
    return close_slack(JM_LIKELY(object != NULL) ? object : alloc_new(code, size, arena), size);
}

static JM_NOINLINE void *calloc_large(JsRuntimeHandle runtime, size_t size)
{
    struct request request = {.alignment = JM_GRANULE, .size = size, .zero = true};
    return close_slack(run(runtime, &request, JM_HERE), size);
}

/* Zeroes an object of more than a few cache lines. It may be NULL. */
static JM_NOINLINE void *zeroed(void *object, size_t size)
{
    if (object != NULL) {
        jm_zero(object, size);
    }
    return object;
}

JSRTMEM_API(void *) jsrtmem_calloc(JsRuntimeHandle runtime, size_t count, size_t size)
{
    size_t bytes = count * size;
    if (size != 0 && bytes / size != count) {
        bytes = SIZE_MAX; /* refused like any size that fits no block */
    }
    if (bytes > JM_SMALL_MAX) {
        return calloc_large(runtime, bytes);
    }
    void *object = jsrtmem_alloc(runtime, bytes);
    if (object == NULL || bytes > JM_ZERO_PIECE) {
        return zeroed(object, bytes);
    }
    return memset(object, 0, bytes);
}

/* Pops the object that is listed first or was freed last, if it is aligned as requested. That is
 * likely where objects of one alignment come and go. */
static void *pop_aligned(JsRuntimeHandle runtime, size_t alignment, size_t size)
{
    if (size > JM_SMALL_MAX || jm_current.handle != (uintptr_t)runtime) {
        return NULL;
    }
    unsigned code = jm_class_of_size(size);
    struct jm_arena *arena = jm_current.arena;
    void *object = NULL;
    if (jm_is_aligned(arena->free[code].next, alignment)) {
        object = jm_arena_pop(arena, code);
    }
    if (object == NULL && jm_is_aligned(arena->last.object, alignment)) {
        object = jm_arena_pop_last(arena, code);
    }
    return object;
}

JSRTMEM_API(void *) jsrtmem_aligned_alloc(JsRuntimeHandle runtime, size_t alignment, size_t size)
{
    bool is_possible = jm_is_power_of_two(alignment);
    if (is_possible && alignment <= JM_GRANULE) {
        return jsrtmem_alloc(runtime, size);
    }
    void *object = is_possible ? pop_aligned(runtime, alignment, size) : NULL;
    struct request request = {.alignment = alignment, .size = size};
    return close_slack(object != NULL ? object : run(runtime, &request, JM_HERE), size);
}

/* ---- Freeing ---- */

static struct jm_heap *owner_of(const void *pointer)
{
    _Atomic(uint32_t) *readers;
    const struct jm_block *block = jm_pagemap_find(pointer, &readers);
    struct jm_heap *heap = jm_heap_of_in(block, pointer);
    jm_pagemap_leave(readers);
    return heap;
}

/* Queues a free for whichever thread uses the runtime next. */
static bool queue_free(void *pointer)
{
    _Atomic(uint32_t) *readers;
    struct jm_block *block = jm_pagemap_find(pointer, &readers);
    bool queued = block != NULL && jm_heap_queue_free(block, pointer);
    jm_pagemap_leave(readers);
    return queued;
}

/* Frees an object of a heap that another thread may be using. */
static bool free_in(struct jm_heap *heap, void *pointer)
{
    JM_OPERATION(operation);
    if (jm_operation_try(&operation, jm_runtime_of_heap(heap)) != JM_ACCESS_GRANTED) {
        return queue_free(pointer);
    }
    bool freed =
        jm_heap_free(heap, pointer) ||
        (operation.runtime->disposing && queue_free(pointer)); /* untested: freed just now */
    jm_operation_tidy(&operation);
    jm_operation_end(&operation);
    return freed;
}

/* Gives back blocks that became empty in a heap whose runtime the thread uses. */
static JM_COLD void tidy(struct jm_heap *heap)
{
    (void)jm_runtime_settle(JM_HERE);
    jm_runtime_tidy(jm_runtime_of_heap(heap));
}

/* Refuses to free a pointer that is no live object. */
static JM_COLD JsErrorCode refuse_free(const void *pointer)
{
    note_misuse("jsrtmem_free", pointer);
    return JsErrorInvalidArgument;
}

/* Frees a witness of the current heap. Refuses if there is no live object. */
static JM_NOINLINE JsErrorCode free_witness(struct jm_arena *arena, jm_state *state, void *pointer)
{
    unsigned value = jm_load_relaxed(state);
    if (!jm_is_witness(value)) {
        return refuse_free(pointer);
    }
    struct jm_heap *heap = jm_current.heap;
    jm_arena_push(arena, state, pointer, value - JM_WITNESS);
    jm_heap_lose_witness(heap, jm_block_of(pointer));
    if (JM_UNLIKELY(heap->untidy)) {
        tidy(heap);
    }
    return JsNoError;
}

/* Frees the object that starts at a granule of the current heap. */
JM_INLINE JsErrorCode free_small(struct jm_arena *arena, jm_state *state, void *pointer)
{
    size_t code = jm_load_byte(state);
    if (JM_UNLIKELY(!jm_subtract(&code, JM_PLAIN))) {
        return free_witness(arena, state, pointer);
    }
    jm_arena_push(arena, state, pointer, code);
    return JsNoError;
}

/* Frees a pointer that the other paths did not: of a runtime that cannot be visited now, or to no
 * object. */
static JM_NOINLINE JsErrorCode free_rest(void *pointer)
{
    bool ready = jm_runtime_settle(JM_HERE);
    struct jm_heap *heap = ready ? owner_of(pointer) : NULL;
    bool freed = ready ? heap != NULL && free_in(heap, pointer) : queue_free(pointer);
    return freed ? JsNoError : refuse_free(pointer);
}

/* Frees a small object that is no witness, as the fast path does. False if the pointer is to
 * another object or to none, or the free has to be noted (see quiet_arena). */
static inline bool free_plain(struct jm_heap *heap, void *pointer)
{
    struct jm_arena *arena = quiet_arena(heap);
    jm_state *state;
    if (arena == NULL || !jm_arena_peek(arena, pointer, &state)) {
        return false;
    }
    size_t code = jm_load_byte(state);
    if (!jm_subtract(&code, JM_PLAIN)) {
        return false;
    }
    jm_arena_push(arena, state, pointer, code);
    return true;
}

/* Frees an object of a runtime that no thread uses. False if the pointer is not to a live object,
 * or the runtime cannot be visited now. */
static inline bool free_visiting(struct jm_heap *heap, void *pointer)
{
    if (!jm_runtime_visit(jm_runtime_of_heap(heap))) {
        return false;
    }
    /* The heap may have become another runtime's; both check the pointer. */
    bool freed = free_plain(heap, pointer) || jm_heap_free(heap, pointer);
    if (JM_UNLIKELY(heap->untidy)) {
        tidy(heap); /* which also ends the visit */
    } else {
        jm_runtime_end_visit(jm_runtime_of_heap(heap));
    }
    return freed;
}

/* Frees a pointer that is not the current heap's, or lies outside the region. */
static JM_NOINLINE JsErrorCode free_slow(void *pointer)
{
    if (pointer == NULL) {
        return JsNoError;
    }
    jm_state *state = jm_region_holds(pointer) ? NULL : jm_arena_find(jm_current.arena, pointer);
    if (state != NULL) {
        return free_small(jm_current.arena, state, pointer);
    }
    _Atomic(uint32_t) *readers;
    struct jm_block *block = jm_pagemap_find(pointer, &readers);
    struct jm_heap *heap = block == NULL ? NULL : jm_heap_of_block(block);
    bool queued = heap != NULL && jm_runtime_is_used_elsewhere(jm_runtime_of_heap(heap)) &&
                  jm_heap_queue_free(block, pointer);
    jm_pagemap_leave(readers);
    bool freed = queued || (heap != NULL && free_visiting(heap, pointer));
    return freed ? JsNoError : free_rest(pointer);
}

JM_HOT JSRTMEM_API(JsErrorCode) jsrtmem_free(void *ptr)
{
    struct jm_arena *arena = jm_current.arena;
    jm_state *state;
    return jm_arena_peek(arena, ptr, &state) ? free_small(arena, state, ptr) : free_slow(ptr);
}

/* ---- Resizing and asking ---- */

/* Frees for realloc to size 0, only if the object belongs to the given runtime. */
static JM_NOINLINE void free_of(JsRuntimeHandle handle, void *pointer, uintptr_t here)
{
    struct jm_ref ref;
    if (!find(handle, 0, here, &ref)) {
        return;
    }
    struct jm_heap *heap = owner_of(pointer);
    if (heap != &jm_runtime_at(ref)->heap || !free_in(heap, pointer)) {
        note_misuse("jsrtmem_realloc", pointer);
        jm_runtime_refuse(JM_REFUSED_ARGUMENT, NULL, 0);
    }
}

static JM_NOINLINE void *realloc_slow(JsRuntimeHandle runtime, void *pointer, size_t size)
{
    if (size == 0) {
        free_of(runtime, pointer, JM_HERE);
        return NULL;
    }
    struct request request = {.pointer = pointer, .alignment = JM_GRANULE, .size = size};
    return run(runtime, &request, JM_HERE);
}

/* Resizes an object within the blocks at hand, if possible. */
static JM_NOINLINE void *realloc_here(JsRuntimeHandle runtime, void *pointer, size_t size)
{
    struct jm_heap *heap = jm_current.heap;
    /* Blocks that a drain empties must be given back, which may run host code: not here. */
    bool is_ready = heap != NULL && !heap->untidy && !jm_heap_needs_drain(heap);
    void *object = is_ready ? jm_heap_resize_here(heap, pointer, size) : NULL;
    return object != NULL ? object : realloc_slow(runtime, pointer, size);
}

/* Resizes a plain object of the current heap, of class `old`, that did not grow in place: leaves it
 * as it is or shrinks it there, if possible; else moves it to memory at hand. */
static JM_NOINLINE void *realloc_plain(void *pointer, size_t size, jm_state *state, unsigned old,
                                       unsigned code)
{
    struct jm_arena *arena = jm_current.arena;
    if (jm_class_serves(old, code) ||
        (code < old && jm_arena_retract(arena, state, pointer, JM_PLAIN, old, code))) {
        return pointer;
    }
    void *moved = jm_arena_pop(arena, code);
    if (moved == NULL && jm_arena_has_room(arena, code) && jm_arena_lists_neither(arena, code)) {
        moved = jm_arena_cut(arena, code);
    }
    if (moved == NULL) {
        return realloc_here((JsRuntimeHandle)jm_current.handle, pointer, size);
    }
    jm_inspect_open(pointer, jm_class_bytes(old));
    memcpy(moved, pointer, jm_class_bytes(old < code ? old : code));
    jm_arena_push(arena, state, pointer, old);
    return moved;
}

JM_HOT JSRTMEM_API(void *) jsrtmem_realloc(JsRuntimeHandle runtime, void *ptr, size_t size)
{
    if (ptr == NULL) {
        return jsrtmem_alloc(runtime, size);
    }
    bool is_small = size - 1 < JM_SMALL_MAX; /* and not 0 */
    if (JM_UNLIKELY(jm_current.handle != (uintptr_t)runtime || !is_small)) {
        return close_slack(realloc_slow(runtime, ptr, size), size);
    }
    struct jm_arena *arena = jm_current.arena;
    unsigned code = jm_class_of_size(size);
    jm_state *state;
    if (jm_arena_peek(arena, ptr, &state)) {
        unsigned old = jm_load_relaxed(state);
        if (old == code + JM_PLAIN) {
            return close_slack(ptr, size); /* unchanged */
        }
        bool grows = jm_is_plain(old) && old < code + JM_PLAIN;
        if (grows && jm_arena_extend(arena, state, ptr, JM_PLAIN, old - JM_PLAIN, code)) {
            return close_slack(ptr, size);
        }
        if (jm_is_plain(old)) {
            return close_slack(realloc_plain(ptr, size, state, old - JM_PLAIN, code), size);
        }
    }
    return close_slack(realloc_here(runtime, ptr, size), size);
}

JSRTMEM_API(size_t) jsrtmem_usable_size(const void *ptr)
{
    if (jm_current.heap != NULL) {
        size_t size = jm_heap_usable(jm_current.heap, ptr);
        if (size != 0) {
            jm_inspect_open(ptr, size);
            return size;
        }
    }
    _Atomic(uint32_t) *readers;
    const struct jm_block *block = jm_pagemap_find(ptr, &readers);
    size_t size = jm_heap_usable_in(block, ptr);
    if (jm_inspect_watched && size != 0) { /* the caller may use all of it from now on */
        jm_inspect_change(jm_heap_of_block(block), ptr, ptr, jm_inspect_size(ptr, size), size);
    }
    jm_pagemap_leave(readers);
    jm_inspect_open(ptr, size);
    return size;
}

JSRTMEM_API(JsErrorCode) jsrtmem_runtime_of(const void *ptr, JsRuntimeHandle *runtime)
{
    _Atomic(uint32_t) *readers = jm_pagemap_enter();
    struct jm_heap *heap = jm_heap_of_in(jm_pagemap_block(ptr), ptr);
    uintptr_t handle = heap == NULL ? 0 : jm_runtime_handle(jm_runtime_of_heap(heap));
    /* Not another runtime in the same slot: */
    bool is_owner = handle != 0 && jm_heap_of_in(jm_pagemap_block(ptr), ptr) == heap;
    jm_pagemap_leave(readers);
    if (!is_owner) {
        return JsErrorInvalidArgument;
    }
    if (runtime == NULL) {
        return JsErrorNullArgument;
    }
    *runtime = (JsRuntimeHandle)handle;
    return JsNoError;
}
