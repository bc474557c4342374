/*
 * A heap without a runtime, for tests of the layers below. Its host logs each event as a letter (A
 * allowed, V refused, F free, X failure), and can run code inside an event. Main thread only.
 */
#ifndef JM_TESTS_RIG_H
#define JM_TESTS_RIG_H

#include "unit.h"

#include <string.h>

#include "../../src/heap.h"
#include "../../src/process.h"
#include "../../src/reserve.h"
#include "../../src/runtime.h"

#define RIG_EVENTS 255

struct rig {
    struct jm_heap heap;
    char text[RIG_EVENTS + 1];
    size_t count;
    size_t bytes, usage;                              /* at the last event */
    bool refuse;                                      /* refuse each Allocate */
    void (*inside)(struct rig *self, unsigned event); /* called in each event; may be null */
};

static inline bool JM_CALLBACK rig_on_event(void *state, unsigned event, size_t bytes)
{
    struct rig *self = state;
    const char letters[JM_EVENTS] = {self->refuse ? 'V' : 'A', 'F', 'X'};

    if (self->count < RIG_EVENTS) {
        self->text[self->count++] = letters[event];
        self->text[self->count] = '\0';
    }
    self->bytes = bytes;
    self->usage = jm_load_relaxed(&self->heap.supply.quota.usage);
    if (self->inside != NULL) {
        self->inside(self, event);
    }
    return !self->refuse;
}

/* Initialises a heap. The reserve keeps nothing: whatever is given back reaches the OS. */
static inline void rig_make(struct rig *self)
{
    assert_true(jm_process_init() && jm_thread_ready());
    memset(self, 0, sizeof(*self));
    jm_reserve_set_limit(0);
    jm_heap_reset(&self->heap);
    jm_hook_set(&self->heap.supply.quota.hook, (jm_hook_function)rig_on_event, self);
}

static inline size_t rig_usage(const struct rig *self)
{
    return jm_load_relaxed(&self->heap.supply.quota.usage);
}

static inline void rig_set_limit(struct rig *self, size_t limit)
{
    jm_store_relaxed(&self->heap.supply.quota.limit, limit);
}

/* Gives all blocks back. */
static inline void rig_drop(struct rig *self)
{
    self->inside = NULL;
    jm_heap_release_all(&self->heap);
    assert_int_equal(rig_usage(self), 0);
    assert_int_equal(jm_load_relaxed(&self->heap.supply.block_count), 0);
}

/* Compares the events since the last check with a text. */
static inline void rig_check_log(struct rig *self, const char *expected, const char *file, int line)
{
    if (strcmp(self->text, expected) != 0) {
        unit_fail(file, line, "the events are \"%s\", not \"%s\"", self->text, expected);
    }
    self->count = 0;
    self->text[0] = '\0';
}
#define assert_log(rig, expected) rig_check_log((rig), (expected), __FILE__, __LINE__)

/* Forgets the events so far. */
static inline void rig_forget(struct rig *self)
{
    self->count = 0;
    self->text[0] = '\0';
}

/* Allocates an object; a refusal fails the test. */
static inline void *rig_alloc(struct rig *self, size_t size)
{
    enum jm_verdict verdict = JM_GRANTED;
    void *object = jm_heap_alloc(&self->heap, size, &verdict);

    require(object != NULL, "no object of %zu bytes: %d", size, (int)verdict);
    return object;
}

/* The file's own `rig`, and the set-up `make` and tear-down `drop` that give each test a new
 * heap in it. */
#define RIG_OF_EACH_TEST          \
    static struct rig rig;        \
                                  \
    static int make(void **state) \
    {                             \
        (void)state;              \
        rig_make(&rig);           \
        return 0;                 \
    }                             \
                                  \
    static int drop(void **state) \
    {                             \
        (void)state;              \
        rig_drop(&rig);           \
        return 0;                 \
    }

/* The heap of a runtime. */
static inline struct jm_heap *heap_of(JsRuntimeHandle runtime)
{
    return &jm_runtime_at(jm_runtime_find(runtime))->heap;
}

#endif
