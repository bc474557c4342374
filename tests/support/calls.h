/*
 * Every public function that takes a runtime or a context, in one form: a handle and an
 * out-parameter. For tables, and for running on another thread.
 */
#ifndef JM_TESTS_CALLS_H
#define JM_TESTS_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "jsrt.h"
#include "jsrtmem.h"

typedef enum call_kind { CALL_RUNTIME, CALL_CONTEXT } call_kind;

/* The kind of a call's out-parameter. */
typedef enum call_out {
    CALL_NO_OUT,
    CALL_OUT,          /* must not be null */
    CALL_OUT_FIRST,    /* must not be null, and is checked before the handle */
    CALL_OUT_OPTIONAL, /* may be null */
    CALL_OUT_STRUCT    /* starts with a struct_size */
} call_out;

typedef JsErrorCode (*call_function)(void *handle, void *out);

struct call {
    const char *name;
    call_kind kind;
    call_out out;
    bool null_is_valid; /* the null handle has a meaning of its own */
    call_function function;
};

extern const struct call all_calls[];
extern const size_t all_calls_count;

/* An out-parameter of any type, filled with a pattern to see whether it was written. */
union call_buffer {
    void *pointer;
    size_t size;
    unsigned int number;
    bool flag;
    jsrtmem_stats stats;
    unsigned char bytes[256];
};
void call_buffer_fill(union call_buffer *buffer);
bool call_buffer_is_untouched(const union call_buffer *buffer);

/* The JsErrorCode that corresponds to this thread's last refusal, for calls that return NULL. */
JsErrorCode code_of_refusal(void);

/* The calls by name. call_alloc and its like store the object in *out if `out` is not null;
 * call_realloc takes the object from *out. */
JsErrorCode call_dispose(void *runtime, void *unused);
JsErrorCode call_collect(void *runtime, void *unused);
JsErrorCode call_get_usage(void *runtime, void *out);
JsErrorCode call_get_limit(void *runtime, void *out);
JsErrorCode call_set_limit(void *runtime, void *limit_or_null);
JsErrorCode call_unset_callback(void *runtime, void *unused);
JsErrorCode call_unset_before_collect(void *runtime, void *unused);
JsErrorCode call_create_context(void *runtime, void *out);
JsErrorCode call_disable(void *runtime, void *unused);
JsErrorCode call_enable(void *runtime, void *unused);
JsErrorCode call_is_disabled(void *runtime, void *out);
JsErrorCode call_alloc(void *runtime, void *out);
JsErrorCode call_calloc(void *runtime, void *out);
JsErrorCode call_aligned_alloc(void *runtime, void *out);
JsErrorCode call_realloc(void *runtime, void *out);
JsErrorCode call_enter(void *runtime, void *unused);
JsErrorCode call_leave(void *runtime, void *unused);
JsErrorCode call_abandon(void *runtime, void *unused);
JsErrorCode call_get_stats(void *runtime, void *out);
JsErrorCode call_reset_peak(void *runtime, void *unused);
JsErrorCode call_set_current(void *context, void *unused);
JsErrorCode call_get_current(void *unused, void *out);
JsErrorCode call_get_runtime(void *context, void *out);
JsErrorCode call_get_data(void *context, void *out);
JsErrorCode call_set_data(void *context, void *data);
JsErrorCode call_add_ref(void *context, void *out);
JsErrorCode call_release(void *context, void *out);
JsErrorCode call_free(void *object, void *unused);
JsErrorCode call_idle(void *unused, void *out);

#endif
