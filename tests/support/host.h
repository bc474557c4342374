/*
 * A host that logs the events of one runtime and keeps a mirror of its usage from them:
 *
 *      balance = accepted - freed          usage == balance, at each event and between calls
 *
 * A block that was asked for and allowed is `pending` until the next event or the end of the call
 * tells whether it came: a Failure of the same size says that it did not. A block that came is
 * checked against the limit that was in force when the host answered.
 *
 * The events of one runtime come one at a time, so the log has no lock. Faults are recorded where
 * they are seen; the main thread checks them with host_check.
 */
#ifndef JM_TESTS_HOST_H
#define JM_TESTS_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include "jsrt.h"

#define HOST_EVENTS_MAX 512

struct host_event {
    JsMemoryEventType type;
    size_t size;
    size_t usage; /* as read inside the event */
    size_t limit; /* likewise */
    bool answer;
    unsigned thread;
};

struct host;
typedef bool (*host_hook)(struct host *self, const struct host_event *event);

struct host {
    JsRuntimeHandle runtime;
    struct host_event events[HOST_EVENTS_MAX];
    size_t count;      /* of all events; the log keeps the first HOST_EVENTS_MAX */
    size_t of_type[3]; /* how many, by JsMemoryEventType */
    size_t balance, peak, pending;
    size_t limit_at_grant; /* in force when the host allowed what is pending */
    bool refuse;           /* without a hook: refuse each Allocate */
    bool limit_may_race;   /* another thread changes the limit: do not check events against it */
    bool inside;           /* an event is being handled */
    host_hook hook;        /* called after an event was logged; its result is the answer */
    void *context;         /* the hook's own */
    size_t calls_of_hook;  /* the hook's own counter, reset with it */
    size_t faults;
    const char *fault;
};

/* Starts to log the events of a runtime that holds nothing so far. */
void host_attach(struct host *self, JsRuntimeHandle runtime);

/* Creates a runtime with a logging host. */
JsRuntimeHandle host_new_runtime(struct host *self);

void host_set_hook(struct host *self, host_hook hook, void *context);

/* Counts what is pending as granted: the call that asked for it has returned. */
void host_settle(struct host *self);

/* Forgets the events so far; the balance stays. */
void host_clear(struct host *self);

/* To be called after a hook was left by longjmp: the host is no longer inside. An Allocate that was
 * left counts as refused. */
void host_left(struct host *self);

/* Settles what is pending. Fails the test on a fault, or if the usage is not the balance. */
void host_check(struct host *self, const char *file, int line);
#define assert_balanced(host) host_check((host), __FILE__, __LINE__)

/* After a dispose: checks that there was no fault, and that all granted bytes were freed. */
void host_check_disposed(struct host *self, const char *file, int line);
#define assert_all_freed(host) host_check_disposed((host), __FILE__, __LINE__)

/* Compares the log with a text of one letter per event: A allowed, V refused by the host, X
 * Failure, F Free. */
void host_check_trace(struct host *self, const char *expected, const char *file, int line);
#define assert_trace(host, expected) host_check_trace((host), (expected), __FILE__, __LINE__)

size_t host_count_of(const struct host *self, JsMemoryEventType type);
bool CHAKRA_CALLBACK host_callback(void *state, JsMemoryEventType type, size_t size);

#endif
