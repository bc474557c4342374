#include "host.h"

#include <string.h>

#include "unit.h"
#include "worker.h"

static void fault(struct host *self, const char *text)
{
    if (self->faults == 0) {
        self->fault = text;
    }
    self->faults++;
}

void host_settle(struct host *self)
{
    self->balance += self->pending;
    if (self->pending != 0 && !self->limit_may_race && self->balance > self->limit_at_grant) {
        fault(self, "a block was granted above the limit in force");
    }
    self->pending = 0;
    if (self->balance > self->peak) {
        self->peak = self->balance;
    }
}

/* Updates the mirror to what it must be inside this event. */
static void account(struct host *self, JsMemoryEventType type, size_t size)
{
    if (type == JsMemoryFailure && self->pending != 0) {
        size_t usage = self->balance;

        (void)JsGetRuntimeMemoryUsage(self->runtime, &usage);
        if (self->pending == size || usage != self->balance + self->pending) {
            if (self->pending != size) {
                fault(self, "a Failure has another size than its Allocate");
            }
            self->pending = 0;
            return;
        } /* else the grant was an earlier call's, and this Failure is of another request */
    }
    host_settle(self);
    if (type == JsMemoryFree) {
        if (size > self->balance) {
            fault(self, "a Free of more than the runtime holds");
            return;
        }
        self->balance -= size;
    }
}

static void check_event(struct host *self, const struct host_event *event)
{
    if (event->size == 0 || event->size % page_size() != 0) {
        fault(self, "an event's size is not a multiple of the page size");
    }
    if (event->usage != self->balance) {
        fault(self, "the usage inside an event is not accepted - freed");
    }
    if (event->type == JsMemoryAllocate && !self->limit_may_race &&
        (event->usage > event->limit || event->size > event->limit - event->usage)) {
        fault(self, "the host was asked for a block that is over the limit");
    }
}

bool CHAKRA_CALLBACK host_callback(void *state, JsMemoryEventType type, size_t size)
{
    struct host *self = state;
    struct host_event event = {.type = type, .size = size, .thread = thread_number()};

    if (self->inside) {
        fault(self, "an event inside an event");
    }
    self->inside = true;
    account(self, type, size);
    if (JsGetRuntimeMemoryUsage(self->runtime, &event.usage) != JsNoError ||
        JsGetRuntimeMemoryLimit(self->runtime, &event.limit) != JsNoError) {
        fault(self, "usage or limit cannot be read inside an event");
    }
    check_event(self, &event);

    size_t index = self->count++;
    self->of_type[type]++;
    event.answer = !self->refuse;
    if (index < HOST_EVENTS_MAX) {
        self->events[index] = event;
    }
    if (self->hook != NULL) {
        event.answer = self->hook(self, &event);
        if (index < HOST_EVENTS_MAX) {
            self->events[index].answer = event.answer;
        }
    }
    if (type == JsMemoryAllocate && event.answer) {
        self->pending = size;
        (void)JsGetRuntimeMemoryLimit(self->runtime, &self->limit_at_grant);
    }
    self->inside = false;
    return event.answer;
}

void host_attach(struct host *self, JsRuntimeHandle runtime)
{
    memset(self, 0, sizeof(*self));
    self->runtime = runtime;
    self->balance = usage_of(runtime);
    self->peak = self->balance;
    assert_ok(JsSetRuntimeMemoryAllocationCallback(runtime, self, host_callback));
}

JsRuntimeHandle host_new_runtime(struct host *self)
{
    JsRuntimeHandle runtime = new_runtime();

    host_attach(self, runtime);
    return runtime;
}

void host_set_hook(struct host *self, host_hook hook, void *context)
{
    self->hook = hook;
    self->context = context;
    self->calls_of_hook = 0;
}

void host_clear(struct host *self)
{
    host_settle(self);
    self->count = 0;
}

void host_left(struct host *self)
{
    self->inside = false;
}

static void check_faults(struct host *self, const char *file, int line)
{
    if (self->faults != 0) {
        unit_fail(file, line, "%zu faults in events; the first: %s", self->faults, self->fault);
    }
}

void host_check(struct host *self, const char *file, int line)
{
    size_t usage = usage_of(self->runtime);

    host_settle(self);
    check_faults(self, file, line);
    if (usage != self->balance) {
        unit_fail(file, line, "usage is %zu, accepted - freed is %zu", usage, self->balance);
    }
}

void host_check_disposed(struct host *self, const char *file, int line)
{
    host_settle(self);
    check_faults(self, file, line);
    if (self->balance != 0) {
        unit_fail(file, line, "%zu bytes were granted and never freed", self->balance);
    }
}

static char letter_of(const struct host_event *event)
{
    switch (event->type) {
    case JsMemoryAllocate:
        return event->answer ? 'A' : 'V';
    case JsMemoryFree:
        return 'F';
    case JsMemoryFailure:
        return 'X';
    default:
        return '?';
    }
}

void host_check_trace(struct host *self, const char *expected, const char *file, int line)
{
    char trace[HOST_EVENTS_MAX + 1];
    size_t length = self->count < HOST_EVENTS_MAX ? self->count : HOST_EVENTS_MAX;

    for (size_t i = 0; i < length; i++) {
        trace[i] = letter_of(&self->events[i]);
    }
    trace[length] = '\0';
    if (strcmp(trace, expected) != 0) {
        unit_fail(file, line, "the events are \"%s\", not \"%s\"", trace, expected);
    }
}

size_t host_count_of(const struct host *self, JsMemoryEventType type)
{
    size_t length = self->count < HOST_EVENTS_MAX ? self->count : HOST_EVENTS_MAX;
    size_t found = 0;

    for (size_t i = 0; i < length; i++) {
        found += self->events[i].type == type ? 1 : 0;
    }
    return found;
}
