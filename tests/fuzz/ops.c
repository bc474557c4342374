/*
 * Each operation takes a few bytes of the input. What is believed of the library is kept beside it:
 *
 *      objects     no two overlap; each is aligned, as large as asked for, keeps its bytes, and is
 *                  found to be its runtime's; new ones show no other runtime's bytes
 *      runtimes    usage == granted - freed at every event and after every operation; peak and the
 *                  counters of events likewise; nothing is granted above the limit
 *      refusals    one has a reason that can apply, changes no object, and is not remembered
 *      the end     with everything freed and collected the usage is 0, disposed or not; with the
 *                  reserve at 0 only the library's tables stay mapped
 *
 * Operations run one at a time, on the main thread or on a helper that never enters.
 */
#include "ops.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/inside.h"
#include "../support/mmap_faults.h"
#include "../support/poke.h"
#include "jsrtmem.h"

#define RUNTIMES 4
#define OBJECTS 160
#define DEAD 16
#define ENTRIES 3
#define RESERVE_LIMIT ((size_t)4 << 20)

/* Objects above this keep their mark at both ends only. */
#define MARKED ((size_t)4096)

struct tenant {
    JsRuntimeHandle handle; /* NULL: there is none */
    uint16_t tag;           /* in the marks of its objects; never reused */
    size_t limit;
    size_t balance, peak, pending; /* pending: granted, but not known to be charged */
    size_t limit_at_grant;
    size_t events[3];
    bool limited;   /* there was a limit at some moment of the operation */
    bool watched;   /* the callback has been set all the time */
    bool inside;    /* in its callback */
    size_t veto_at; /* which Allocate from now on is refused: 1 the next; 0: none */
    uint8_t action; /* to be done inside the next event; 0: none */
    uint8_t operand;
    JsContextRef context;
};

struct object {
    unsigned char *bytes; /* NULL: there is none */
    size_t size;
    struct tenant *tenant;
    uint64_t id;
    bool busy; /* being resized */
};

static struct {
    const uint8_t *data;
    size_t left;
    struct tenant tenants[RUNTIMES];
    struct object objects[OBJECTS];
    unsigned char *dead[DEAD]; /* freed pointers */
    size_t deaths;
    struct tenant *entered[ENTRIES]; /* by the main thread */
    size_t entries;
    struct tenant *current; /* the one whose context is current */
    bool elsewhere;         /* the operation runs on the helper */
    bool armed;             /* the OS may refuse calls */
    uint64_t ids;
    uint16_t tags;
} model;

struct ops_tally ops_tally;

static _Noreturn void fail(const char *what, int line)
{
    fprintf(stderr, "ops.c:%d: operation %zu: %s\n", line, ops_tally.operations, what);
    abort();
}
#define REQUIRE(condition) ((condition) ? (void)0 : fail("does not hold: " #condition, __LINE__))

/* ---- input ----------------------------------------------------------------------------------- */

static unsigned take8(void)
{
    if (model.left == 0) {
        return 0;
    }
    model.left--;
    return *model.data++;
}

static unsigned take16(void)
{
    unsigned high = take8();
    return high << 8 | take8();
}

static size_t take_size(void)
{
    unsigned kind = take8();
    size_t value = take16();
    switch (kind % 16) {
    case 10:
    case 11:
        return value;
    case 12:
        return value << 4;
    case 13:
        return value << 7;
    case 14:
        return kind < 64 ? SIZE_MAX - value : kind < 128 ? (size_t)PTRDIFF_MAX - value : value * 40;
    case 15:
        return 0;
    default:
        return value % (kind < 128 ? 200 : 2000);
    }
}

static struct tenant *take_tenant(void)
{
    struct tenant *tenant = &model.tenants[take8() % RUNTIMES];
    return tenant->handle == NULL ? NULL : tenant;
}

/* ---- objects --------------------------------------------------------------------------------- */

/* A mark consists of words: tag, object number, index, and a checksum of these. */
static uint64_t word_of(uint16_t tag, uint64_t id, size_t index)
{
    uint64_t word = (uint64_t)tag << 48 | (id & 0xffff) << 32 | (index & 0xffff) << 16;
    return word | ((word >> 16) * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static bool is_word(uint64_t word)
{
    return (word & 0xffff) == (word >> 16) * UINT64_C(0x9e3779b97f4a7c15) >> 48;
}

/* The index of the first word of an object's marked end. */
static size_t tail_of(size_t size)
{
    return size <= 2 * MARKED ? size / 8 : (size - MARKED) / 8;
}

static size_t head_of(size_t size)
{
    return size <= 2 * MARKED ? size / 8 : MARKED / 8;
}

static void mark(const struct object *object)
{
    for (size_t i = 0; i < object->size / 8; i++) {
        i = i == head_of(object->size) ? tail_of(object->size) : i;
        uint64_t word = word_of(object->tenant->tag, object->id, i);
        memcpy(object->bytes + 8 * i, &word, 8);
    }
    memset(object->bytes + object->size / 8 * 8, (int)(object->id & 0xff), object->size % 8);
}

/* Checks the marks in the first `size` bytes, at the end too if they contain it. */
static void check_mark(const struct object *object, const unsigned char *bytes, size_t size)
{
    size_t head = head_of(object->size) < size / 8 ? head_of(object->size) : size / 8;
    for (size_t i = 0; i < size / 8; i++) {
        i = i == head ? tail_of(object->size) : i;
        if (i >= size / 8) {
            break;
        }
        uint64_t word;
        memcpy(&word, bytes + 8 * i, 8);
        REQUIRE(word == word_of(object->tenant->tag, object->id, i));
    }
    for (size_t i = object->size / 8 * 8; i < object->size && i < size; i++) {
        REQUIRE(bytes[i] == (object->id & 0xff));
    }
}

static void check_object(const struct object *object)
{
    JsRuntimeHandle owner = NULL;
    REQUIRE(jsrtmem_usable_size(object->bytes) >= object->size);
    REQUIRE(jsrtmem_runtime_of(object->bytes, &owner) == JsNoError);
    REQUIRE(owner == object->tenant->handle);
    check_mark(object, object->bytes, object->size);
}

/* New memory may hold what its own runtime left there, but nothing of another runtime. */
static void check_privacy(const struct object *object, size_t from)
{
    for (size_t i = from; i < object->size / 8; i++) {
        i = i == head_of(object->size) ? tail_of(object->size) : i;
        uint64_t word;
        memcpy(&word, object->bytes + 8 * i, 8);
        REQUIRE(word >> 48 == 0 || !is_word(word) || word >> 48 == object->tenant->tag ||
                word >> 48 > model.tags);
    }
}

static void check_place(const struct object *object)
{
    uintptr_t start = (uintptr_t)object->bytes;
    size_t usable = jsrtmem_usable_size(object->bytes);
    REQUIRE(start % 16 == 0);
    REQUIRE(usable >= object->size);
    for (size_t i = 0; i < OBJECTS; i++) {
        const struct object *other = &model.objects[i];
        uintptr_t other_start = (uintptr_t)other->bytes;
        if (other == object || other->bytes == NULL || other->busy) {
            continue; /* an object that is being resized may have moved already */
        }
        REQUIRE(start != other_start);
        REQUIRE(start + usable <= other_start || other_start + other->size <= start);
    }
}

static struct object *free_slot(void)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        if (model.objects[i].bytes == NULL && !model.objects[i].busy) {
            return &model.objects[i];
        }
    }
    return NULL;
}

/* Returns a live object, of `tenant` unless that is NULL. Searches the table from index `from` on.
 * NULL if there is none. */
static struct object *pick(size_t from, const struct tenant *tenant)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        struct object *object = &model.objects[(from + i) % OBJECTS];
        if (object->bytes != NULL && !object->busy &&
            (tenant == NULL || object->tenant == tenant)) {
            return object;
        }
    }
    return NULL;
}

static void adopt(struct object *object, struct tenant *tenant, void *bytes, size_t size)
{
    *object = (struct object){bytes, size, tenant, ++model.ids, false};
    check_place(object);
    check_privacy(object, 0);
    mark(object);
}

static bool is_live(const unsigned char *pointer)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        if (model.objects[i].bytes == pointer) {
            return true;
        }
    }
    return false;
}

static bool in_use_here(const struct tenant *tenant)
{
    bool found = model.current == tenant && model.entries == 0;
    for (size_t i = 0; i < model.entries; i++) {
        found = found || model.entered[i] == tenant;
    }
    return found || (model.current == tenant && model.current != NULL);
}

/* The helper may not use a runtime that the main thread has current. */
static bool is_elsewhere(const struct tenant *tenant)
{
    return model.elsewhere && in_use_here(tenant);
}

/* ---- the host -------------------------------------------------------------------------------- */

static size_t usage_of(const struct tenant *tenant)
{
    size_t usage = 0;
    REQUIRE(JsGetRuntimeMemoryUsage(tenant->handle, &usage) == JsNoError);
    return usage;
}

static void settle(struct tenant *tenant)
{
    tenant->balance += tenant->pending;
    REQUIRE(tenant->pending == 0 || tenant->balance <= tenant->limit_at_grant);
    tenant->pending = 0;
    tenant->peak = tenant->balance > tenant->peak ? tenant->balance : tenant->peak;
}

static void free_object(struct object *object)
{
    unsigned char *bytes = object->bytes;
    check_object(object);
    object->bytes = NULL; /* cleared first: the callback may look for objects to free */
    REQUIRE(jsrtmem_free(bytes) == JsNoError);
    model.dead[model.deaths++ % DEAD] = bytes;
}

static void check_refusal(struct tenant *tenant, size_t size)
{
    jsrtmem_refusal_info info = {.struct_size = sizeof info};
    REQUIRE(jsrtmem_last_refusal(&info) == JsNoError);
    REQUIRE(info.runtime == tenant->handle && info.requested == size);
    ops_tally.refusals[info.reason]++;
    switch (info.reason) {
    case JSRTMEM_REFUSAL_LIMIT:
        /* No limit means SIZE_MAX, which can be reached if addresses have 32 bits. */
        REQUIRE(tenant->limited || size > SIZE_MAX / 4);
        break;
    case JSRTMEM_REFUSAL_HOST:
        REQUIRE(tenant->watched);
        break;
    case JSRTMEM_REFUSAL_OS:
        REQUIRE(model.armed || size > (size_t)1 << 30);
        break;
    case JSRTMEM_REFUSAL_SIZE:
        REQUIRE(size > (size_t)PTRDIFF_MAX / 2);
        break;
    case JSRTMEM_REFUSAL_THREAD:
        REQUIRE(is_elsewhere(tenant));
        break;
    case JSRTMEM_REFUSAL_CALLBACK:
        REQUIRE(tenant->inside);
        break;
    default:
        fail("a refusal without a reason that applies", __LINE__);
    }
}

static void alloc(struct tenant *tenant, size_t size, unsigned kind)
{
    struct object *slot = free_slot();
    if (slot == NULL) {
        return;
    }
    slot->busy = true; /* the callback may allocate meanwhile */
    size_t alignment = (size_t)16 << kind % 20;
    void *bytes;
    if (kind < 100) {
        bytes = jsrtmem_alloc(tenant->handle, size);
    } else if (kind < 150) {
        bytes = jsrtmem_calloc(tenant->handle, 1, size);
    } else {
        bytes = jsrtmem_aligned_alloc(tenant->handle, alignment, size);
        REQUIRE((uintptr_t)bytes % alignment == 0);
    }
    slot->busy = false;
    if (bytes == NULL) {
        check_refusal(tenant, size);
        return;
    }
    REQUIRE(!is_elsewhere(tenant));
    if (kind >= 100 && kind < 150) {
        const unsigned char *zeros = bytes;
        for (size_t i = 0; i < size; i += i < MARKED || i + MARKED > size ? 1 : MARKED) {
            REQUIRE(zeros[i] == 0);
        }
    }
    adopt(slot, tenant, bytes, size);
}

static void resize(struct object *object, size_t size)
{
    struct object before = *object;
    struct tenant *tenant = object->tenant;
    check_object(object);
    object->busy = true;
    unsigned char *bytes = jsrtmem_realloc(tenant->handle, object->bytes, size);
    object->busy = false;
    if (size == 0) {
        object->bytes = NULL;
        REQUIRE(bytes == NULL);
        REQUIRE(is_live(before.bytes) || jsrtmem_usable_size(before.bytes) == 0);
        return;
    }
    if (bytes == NULL) {
        REQUIRE(size > before.size || is_elsewhere(tenant)); /* shrinking never fails */
        check_refusal(tenant, size);
        check_object(object);
        return;
    }
    REQUIRE(!is_elsewhere(tenant));
    check_mark(&before, bytes, size < before.size ? size : before.size);
    *object = (struct object){bytes, size, tenant, ++model.ids, false};
    check_place(object);
    check_privacy(object, (before.size + 7) / 8);
    mark(object);
    if (bytes != before.bytes) {
        REQUIRE(is_live(before.bytes) || jsrtmem_free(before.bytes) == JsErrorInvalidArgument);
    }
}

static void set_limit(struct tenant *tenant, unsigned kind)
{
    size_t usage = tenant->handle == NULL ? 0 : usage_of(tenant);
    tenant->limit = kind < 64    ? SIZE_MAX
                    : kind < 70  ? 0
                    : kind < 128 ? usage
                    : kind < 150 ? usage / 2
                                 : usage + ((size_t)kind << 12);
    tenant->limited = tenant->limited || tenant->limit != SIZE_MAX;
    REQUIRE(JsSetRuntimeMemoryLimit(tenant->handle, tenant->limit) == JsNoError);
}

/* What a host may do inside its callback. */
static void act(struct tenant *tenant)
{
    unsigned action = tenant->action;
    struct object *object = pick(tenant->operand, tenant);
    struct tenant *other = &model.tenants[tenant->operand % RUNTIMES];
    tenant->action = 0;
    switch (action % 8) {
    case 1:
        alloc(tenant, (size_t)tenant->operand * 60, tenant->operand);
        break;
    case 2:
        if (object != NULL) {
            free_object(object);
        }
        break;
    case 3:
        set_limit(tenant, tenant->operand);
        break;
    case 4:
        if (other->handle != NULL && !other->inside && other != tenant && !is_elsewhere(other)) {
            alloc(other, (size_t)tenant->operand << 8, tenant->operand);
        }
        break;
    case 5:
        REQUIRE(JsDisposeRuntime(tenant->handle) == JsErrorRuntimeInUse);
        REQUIRE(jsrtmem_enter(tenant->handle) == JsErrorRuntimeInUse);
        REQUIRE(JsCollectGarbage(tenant->handle) == JsErrorRuntimeInUse);
        break;
    case 6:
        if (object != NULL && object->size != 0) {
            resize(object, (object->size + tenant->operand) / 2 + 1);
        }
        break;
    default:
        break;
    }
}

static bool CHAKRA_CALLBACK on_event(void *state, JsMemoryEventType event, size_t size)
{
    struct tenant *tenant = state;
    REQUIRE(!tenant->inside && size != 0 && size % 4096 == 0);
    tenant->inside = true;
    ops_tally.events++;
    tenant->events[event]++;
    if (event == JsMemoryFailure) {
        REQUIRE(tenant->pending == 0 || tenant->pending == size ||
                usage_of(tenant) == tenant->balance + tenant->pending);
        if (tenant->pending == size && usage_of(tenant) == tenant->balance) {
            tenant->pending = 0;
        }
    }
    settle(tenant);
    if (event == JsMemoryFree) {
        REQUIRE(size <= tenant->balance);
        tenant->balance -= size;
    }
    REQUIRE(usage_of(tenant) == tenant->balance);
    bool answer = true;
    if (event == JsMemoryAllocate) {
        REQUIRE(size <= tenant->limit && tenant->balance <= tenant->limit - size);
        answer = tenant->veto_at == 0 || --tenant->veto_at != 0;
    }
    if (tenant->action != 0) {
        act(tenant);
    }
    if (event == JsMemoryAllocate && answer) {
        tenant->pending = size;
        tenant->limit_at_grant = tenant->limit;
    }
    tenant->inside = false;
    return answer;
}

/* Checks a tenant between operations, when all that was granted has been charged. */
static void check_tenant(struct tenant *tenant)
{
    jsrtmem_stats stats = {.struct_size = sizeof stats};
    settle(tenant);
    tenant->limited = tenant->limit != SIZE_MAX;
    REQUIRE(jsrtmem_get_stats(tenant->handle, &stats) == JsNoError);
    REQUIRE(stats.limit == tenant->limit && stats.usage <= stats.peak_usage);
    REQUIRE(stats.usage == usage_of(tenant));
    if (tenant->watched) {
        REQUIRE(stats.usage == tenant->balance && stats.peak_usage == tenant->peak);
        REQUIRE(stats.allocate_events == tenant->events[JsMemoryAllocate]);
        REQUIRE(stats.free_events == tenant->events[JsMemoryFree]);
        REQUIRE(stats.failure_events == tenant->events[JsMemoryFailure]);
    }
    const char *fault = inside_fault(tenant->handle, true);
    if (fault != NULL) {
        fail(fault, __LINE__);
    }
}

static void check_tenants(void)
{
    jsrtmem_process_stats process = {.struct_size = sizeof process};
    size_t count = 0;
    size_t usage = 0;
    for (size_t i = 0; i < RUNTIMES; i++) {
        if (model.tenants[i].handle != NULL) {
            check_tenant(&model.tenants[i]);
            usage += usage_of(&model.tenants[i]);
            count++;
        }
    }
    REQUIRE(jsrtmem_get_process_stats(&process) == JsNoError);
    REQUIRE(process.runtimes == count && process.usage == usage);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void create(unsigned index)
{
    struct tenant *tenant = &model.tenants[index % RUNTIMES];
    if (tenant->handle != NULL) {
        return;
    }
    *tenant = (struct tenant){.tag = ++model.tags, .limit = SIZE_MAX, .watched = true};
    JsErrorCode code =
        JsCreateRuntime(JsRuntimeAttributeEnableIdleProcessing, NULL, &tenant->handle);
    if (code != JsNoError) {
        REQUIRE(code == JsErrorOutOfMemory && model.armed && tenant->handle == NULL);
        return;
    }
    REQUIRE(JsSetRuntimeMemoryAllocationCallback(tenant->handle, tenant, on_event) == JsNoError);
}

static void dispose(struct tenant *tenant)
{
    JsRuntimeHandle handle = tenant->handle;
    size_t usage;
    tenant->action = tenant->action % 8 == 5 ? 5 : 0; /* no action that outlives the runtime */
    JsErrorCode code = JsDisposeRuntime(handle);
    if (in_use_here(tenant)) {
        REQUIRE(code == JsErrorRuntimeInUse);
        return;
    }
    REQUIRE(code == JsNoError);
    settle(tenant);
    REQUIRE(!tenant->watched || tenant->balance == 0);
    REQUIRE(JsGetRuntimeMemoryUsage(handle, &usage) == JsErrorInvalidArgument);
    REQUIRE(jsrtmem_alloc(handle, 1) == NULL);
    for (size_t i = 0; i < OBJECTS; i++) {
        if (model.objects[i].tenant == tenant && model.objects[i].bytes != NULL) {
            model.dead[model.deaths++ % DEAD] = model.objects[i].bytes;
            model.objects[i].bytes = NULL;
        }
    }
    tenant->handle = NULL;
}

static void misuse(unsigned kind)
{
    struct object *object = pick(kind, NULL);
    unsigned char *dead = model.dead[kind % DEAD];
    unsigned char here[32];
    REQUIRE(jsrtmem_free(here + kind % 32) == JsErrorInvalidArgument);
    REQUIRE(jsrtmem_usable_size(here) == 0);
    if (dead != NULL && !is_live(dead)) {
        REQUIRE(jsrtmem_usable_size(dead) == 0);
        REQUIRE(jsrtmem_free(dead) == JsErrorInvalidArgument);
    }
    if (object == NULL) {
        return;
    }
    size_t offset = object->size < 2 ? 1 : 1 + kind * 37 % (object->size - 1);
    REQUIRE(jsrtmem_free(object->bytes + offset) == JsErrorInvalidArgument);
    REQUIRE(jsrtmem_free(object->bytes - 1) == JsErrorInvalidArgument);
    for (size_t i = 0; i < RUNTIMES; i++) {
        struct tenant *other = &model.tenants[i];
        if (other->handle != NULL && other != object->tenant) {
            jsrtmem_refusal_info info = {.struct_size = sizeof info};
            REQUIRE(jsrtmem_realloc(other->handle, object->bytes, 10) == NULL);
            REQUIRE(jsrtmem_last_refusal(&info) == JsNoError);
            REQUIRE(info.reason == JSRTMEM_REFUSAL_ARGUMENT ||
                    (info.reason == JSRTMEM_REFUSAL_THREAD && is_elsewhere(other)));
            break;
        }
    }
    check_object(object);
}

/* Frees an object and overwrites it, if a live neighbour keeps the page mapped and nobody else was
 * given the memory meanwhile. */
static void free_and_scribble(struct object *object)
{
    uintptr_t start = (uintptr_t)object->bytes;
    size_t size = object->size;
    bool is_mapped = false;
    free_object(object);
    for (size_t i = 0; i < OBJECTS; i++) {
        const struct object *other = &model.objects[i];
        uintptr_t other_start = (uintptr_t)other->bytes;
        if (other_start != 0 && other_start < start + size && start < other_start + other->size) {
            return;
        }
        is_mapped = is_mapped || (other_start >> 12 == start >> 12);
    }
    if (is_mapped && size != 0 && (start + size - 1) >> 12 == start >> 12) {
        poke_fill((void *)start, (unsigned char)(size | 1), size);
    }
}

static void enter_or_leave(struct tenant *tenant, unsigned kind)
{
    if (model.elsewhere) {
        return;
    }
    if (kind % 4 == 3) { /* sets the current context */
        JsContextRef context = tenant == NULL ? NULL : tenant->context;
        JsErrorCode code = JsSetCurrentContext(context);
        REQUIRE(code == (model.entries != 0 ? JsErrorRuntimeInUse : JsNoError));
        model.current = code == JsNoError && context != NULL ? tenant
                        : code == JsNoError                  ? NULL
                                                             : model.current;
    } else if (kind % 2 == 0) {
        if (tenant != NULL && model.entries < ENTRIES) {
            REQUIRE(jsrtmem_enter(tenant->handle) == JsNoError);
            model.entered[model.entries++] = tenant;
        }
    } else if (model.entries > 0) {
        REQUIRE(jsrtmem_leave(model.entered[--model.entries]->handle) == JsNoError);
    }
}

static void collect(struct tenant *tenant, unsigned kind)
{
    unsigned tick;
    if (kind % 2 == 0) {
        JsErrorCode code = JsCollectGarbage(tenant->handle);
        REQUIRE(code == (is_elsewhere(tenant) ? JsErrorWrongThread : JsNoError));
    } else if (!model.elsewhere) {
        JsErrorCode code = JsIdle(&tick);
        REQUIRE(code == (model.current == NULL ? JsErrorNoCurrentContext : JsNoError));
    }
}

static void make_context(struct tenant *tenant)
{
    if (tenant->context != NULL || is_elsewhere(tenant)) {
        return;
    }
    JsErrorCode code = JsCreateContext(tenant->handle, &tenant->context);
    REQUIRE(code == JsNoError || (code == JsErrorOutOfMemory && model.armed));
    REQUIRE(code != JsNoError || JsAddRef(tenant->context, NULL) == JsNoError);
}

static void change_callback(struct tenant *tenant, unsigned kind)
{
    if (kind % 4 == 0) {
        REQUIRE(JsSetRuntimeMemoryAllocationCallback(tenant->handle, NULL, NULL) == JsNoError);
        tenant->watched = false;
    } else {
        tenant->veto_at = kind / 4 % 8;
        tenant->action = (uint8_t)take8();
        tenant->operand = (uint8_t)take8();
    }
}

static void arm(unsigned kind)
{
    static const int errors[] = {ENOMEM, EPERM, EAGAIN};
    unsigned functions = take8() & MMAP_ALL;
    model.armed = kind % 4 != 0 && functions != 0;
    if (model.armed) {
        mmap_faults_arm(functions, 1 + kind / 16, kind % 2 != 0, errors[kind / 4 % 3]);
    } else {
        ops_tally.faults += mmap_faults_refused();
        mmap_faults_disarm();
    }
}

static void run_operation(void)
{
    unsigned operation = take8();
    struct tenant *tenant = take_tenant();
    unsigned kind = take8();
    struct object *object = pick(kind, NULL);
    model.elsewhere = operation >= 192;
    switch (operation % 24) {
    case 0:
        create(kind);
        break;
    case 1:
        if (tenant != NULL && kind < 128) {
            dispose(tenant);
        }
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        if (tenant != NULL) {
            alloc(tenant, take_size(), kind);
        }
        break;
    case 7: /* many of one size */
        for (size_t i = 0, size = take_size() % 5000; tenant != NULL && i < kind % 32; i++) {
            alloc(tenant, size, 0);
        }
        break;
    case 8:
    case 9:
    case 10:
        if (object != NULL) {
            free_object(object);
        }
        break;
    case 11: /* many in a row */
        for (size_t i = 0; i < 24 && (object = pick(kind + i, tenant)) != NULL; i++) {
            free_object(object);
        }
        break;
    case 12:
    case 13:
    case 14:
        if (object != NULL) {
            resize(object, take_size());
        }
        break;
    case 15:
        misuse(kind);
        break;
    case 16:
        if (object != NULL) {
            free_and_scribble(object);
        }
        break;
    case 17:
        enter_or_leave(tenant, kind);
        break;
    case 18:
        if (tenant != NULL) {
            collect(tenant, kind);
        }
        break;
    case 19:
        if (tenant != NULL) {
            set_limit(tenant, kind);
        }
        break;
    case 20:
        if (tenant != NULL) {
            change_callback(tenant, kind);
        }
        break;
    case 21:
        arm(kind);
        break;
    case 22:
        REQUIRE(jsrtmem_set_reserve_limit((size_t)(kind % 8) << 18) == JsNoError);
        break;
    default:
        if (tenant != NULL) {
            make_context(tenant);
        }
    }
}

/* ---- the helper ------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, busy;
} helper = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *help(void *unused)
{
    (void)pthread_mutex_lock(&helper.lock);
    for (;;) {
        while (!helper.busy) {
            (void)pthread_cond_wait(&helper.changed, &helper.lock);
        }
        run_operation();
        helper.busy = false;
        (void)pthread_cond_broadcast(&helper.changed);
    }
    return unused;
}

static void run_on_helper(void)
{
    pthread_t thread;
    ops_tally.crossings++;
    (void)pthread_mutex_lock(&helper.lock);
    if (!helper.started) {
        helper.started = pthread_create(&thread, NULL, help, NULL) == 0;
        REQUIRE(helper.started);
        (void)pthread_detach(thread);
    }
    helper.busy = true;
    (void)pthread_cond_broadcast(&helper.changed);
    while (helper.busy) {
        (void)pthread_cond_wait(&helper.changed, &helper.lock);
    }
    (void)pthread_mutex_unlock(&helper.lock);
}

/* ---- from first to last ---------------------------------------------------------------------- */

/* Takes in queued frees, and checks that what is live is what the model has. */
static void check_live(struct tenant *tenant)
{
    jsrtmem_stats stats = {.struct_size = sizeof stats};
    size_t objects = 0;
    size_t bytes = 0;
    REQUIRE(JsCollectGarbage(tenant->handle) == JsNoError);
    REQUIRE(jsrtmem_get_stats(tenant->handle, &stats) == JsNoError);
    for (size_t i = 0; i < OBJECTS; i++) {
        if (model.objects[i].bytes != NULL && model.objects[i].tenant == tenant) {
            bytes += jsrtmem_usable_size(model.objects[i].bytes);
            objects++;
        }
    }
    REQUIRE(stats.live_objects == objects && stats.live_bytes == bytes);
}

static void end_tenant(struct tenant *tenant)
{
    struct object *object;
    tenant->limit = SIZE_MAX;
    tenant->veto_at = 0;
    tenant->action = 0;
    REQUIRE(JsSetRuntimeMemoryLimit(tenant->handle, SIZE_MAX) == JsNoError);
    void *small = jsrtmem_alloc(tenant->handle, 100); /* earlier refusals must not matter */
    void *large = jsrtmem_alloc(tenant->handle, 300000);
    REQUIRE(small != NULL && large != NULL);
    REQUIRE(jsrtmem_free(small) == JsNoError && jsrtmem_free(large) == JsNoError);
    if (tenant->tag % 2 == 0) {
        while ((object = pick(0, tenant)) != NULL) {
            free_object(object);
        }
        REQUIRE(JsCollectGarbage(tenant->handle) == JsNoError);
        REQUIRE(usage_of(tenant) == 0);
    }
    check_live(tenant);
    check_tenant(tenant);
    dispose(tenant);
}

/* What others mapped: sanitizers map memory before main. */
static size_t mapped_by_others;

static void end(void)
{
    jsrtmem_process_stats process = {.struct_size = sizeof process};
    model.elsewhere = false;
    ops_tally.faults += mmap_faults_refused();
    mmap_faults_disarm();
    model.armed = false;
    while (model.entries > 0) {
        REQUIRE(jsrtmem_leave(model.entered[--model.entries]->handle) == JsNoError);
    }
    REQUIRE(JsSetCurrentContext(JS_INVALID_REFERENCE) == JsNoError);
    model.current = NULL;
    for (size_t i = 0; i < OBJECTS; i++) {
        if (model.objects[i].bytes != NULL) {
            check_object(&model.objects[i]);
        }
    }
    /* From here on a large object is a new mapping, which gives back what the OS had refused to
     * take. */
    REQUIRE(jsrtmem_set_reserve_limit(0) == JsNoError);
    create(0);
    for (size_t i = 0; i < RUNTIMES; i++) {
        if (model.tenants[i].handle != NULL) {
            end_tenant(&model.tenants[i]);
        }
    }
    REQUIRE(jsrtmem_get_process_stats(&process) == JsNoError);
    REQUIRE(process.runtimes == 0 && process.usage == 0 && process.reserve == 0);
    REQUIRE(mmap_faults_mapped() == process.metadata + mapped_by_others);
}

void ops_run(const uint8_t *data, size_t size)
{
    memset(&model, 0, sizeof model);
    model.data = data;
    model.left = size;
    mapped_by_others = ops_tally.inputs++ == 0 ? mmap_faults_mapped() : mapped_by_others;
    REQUIRE(jsrtmem_set_reserve_limit(RESERVE_LIMIT) == JsNoError);
    create(0);
    create(1);
    while (model.left > 0) {
        ops_tally.operations++;
        if (*model.data >= 192) {
            run_on_helper();
        } else {
            run_operation();
        }
        model.elsewhere = false;
        check_tenants();
    }
    end();
}
