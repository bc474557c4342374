/*
 * The beginning of every cmocka test of the public API: the headers in the order that cmocka
 * needs, and checks of result codes. Main thread only, like all of cmocka.
 */
#ifndef JM_TESTS_UNIT_H
#define JM_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jsrt.h"
#include "jsrtmem.h"

/* True if a sanitizer needs terabytes of address space: RLIMIT_AS cannot be used. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNIT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define UNIT_SANITIZED 1
#endif
#endif
#if !defined(UNIT_SANITIZED)
#define UNIT_SANITIZED 0
#endif

/* A test with a readable name, for tables of rows. */
/* Versions of the formatter disagree here. */
/* clang-format off */
#define UNIT_ROW(row, function) {.name = (row), .test_func = (function)}
/* clang-format on */

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define GIB(n) ((size_t)(n) << 30)
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Fails the test unless the codes are equal; prints the call and its code. */
void unit_check_code(JsErrorCode actual, JsErrorCode expected, const char *call, const char *file,
                     int line);
#define assert_code(call, expected) unit_check_code((call), (expected), #call, __FILE__, __LINE__)
#define assert_ok(call) assert_code(call, JsNoError)

/* Fails the test with a printf-style text, which should name the row or value at fault. */
void unit_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
#define require(condition, ...)                         \
    do {                                                \
        if (!(condition)) {                             \
            unit_fail(__FILE__, __LINE__, __VA_ARGS__); \
        }                                               \
    } while (0)

/* Getters; a call that fails fails the test. */
size_t usage_of(JsRuntimeHandle runtime);
size_t limit_of(JsRuntimeHandle runtime);
jsrtmem_stats stats_of(JsRuntimeHandle runtime);
jsrtmem_process_stats process_stats(void);

/* The last refusal of the calling thread, and its reason alone. Any thread. */
jsrtmem_refusal_info last_refusal(void);
jsrtmem_refusal last_reason(void);

/* Create and dispose runtimes and contexts; a call that fails fails the test. */
JsRuntimeHandle new_runtime(void);
JsRuntimeHandle new_runtime_with(unsigned attributes);
void dispose(JsRuntimeHandle runtime);
JsContextRef new_context(JsRuntimeHandle runtime);
JsContextRef new_current_context(JsRuntimeHandle runtime);
JsContextRef current_context(void);

/* Allocates an object; a refusal fails the test. */
void *new_object(JsRuntimeHandle runtime, size_t size);

size_t page_size(void); /* of the system, see system.h */

#endif
