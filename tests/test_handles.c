/*
 * Null, forged, stale, wrong-kind and disposed handles, at every function that takes one; the
 * order of checks in a call; out-parameters; struct_size.
 *
 * usage: test_handles [--random N]    N: random values that no runtime may have (default 2,000,000)
 */
#include "support/calls.h"
#include "support/random.h"
#include "support/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANDOM_HANDLES 2000
#define HANDLE_BITS (sizeof(void *) * CHAR_BIT)
#define STALE_MAX 64

/* Live things to forge handles from, and handles that are no longer valid. */
struct world {
    JsRuntimeHandle runtime;
    JsContextRef context;
    void *object;
    JsRuntimeHandle disposed[STALE_MAX];
    JsContextRef of_disposed[STALE_MAX]; /* contexts that died with their runtime */
    JsContextRef released[STALE_MAX];    /* contexts of the live runtime that were released */
};

static struct world the_world;

static int make_world(void **state)
{
    struct world *world = &the_world;

    (void)state;
    world->runtime = new_runtime_with(JsRuntimeAttributeAllowScriptInterrupt |
                                      JsRuntimeAttributeEnableIdleProcessing);
    world->context = new_context(world->runtime);
    assert_ok(JsAddRef(world->context, NULL));
    assert_ok(JsSetContextData(world->context, world));
    world->object = new_object(world->runtime, 100);
    pattern_fill(world->object, 100, 1);
    for (size_t i = 0; i < STALE_MAX; i++) {
        world->disposed[i] = new_runtime();
        world->of_disposed[i] = new_context(world->disposed[i]);
        dispose(world->disposed[i]);
        world->released[i] = new_context(world->runtime);
        assert_ok(JsAddRef(world->released[i], NULL));
        assert_ok(JsRelease(world->released[i], NULL));
    }
    return 0;
}

static int drop_world(void **state)
{
    (void)state;
    assert_ok(jsrtmem_free(the_world.object));
    dispose(the_world.runtime);
    return 0;
}

/* Checks that the live runtime, its context and its object are unchanged. */
static void check_world(const struct call *call)
{
    const struct world *world = &the_world;
    JsRuntimeHandle runtime = NULL;
    void *data = NULL;
    bool disabled = true;

    require(JsGetRuntime(world->context, &runtime) == JsNoError && runtime == world->runtime,
            "%s: the live context is no longer the live runtime's", call->name);
    require(JsGetContextData(world->context, &data) == JsNoError && data == world,
            "%s: the context data has changed", call->name);
    require(limit_of(world->runtime) == SIZE_MAX, "%s: the limit has changed", call->name);
    require(JsIsRuntimeExecutionDisabled(world->runtime, &disabled) == JsNoError && !disabled,
            "%s: execution was disabled", call->name);
    require(current_context() == JS_INVALID_REFERENCE, "%s: a context is current", call->name);
    require(stats_of(world->runtime).live_objects == 1, "%s: another object lives", call->name);
    require(pattern_holds(world->object, 100, 1), "%s: the object's bytes changed", call->name);
}

static void expect_refused(const struct call *call, void *handle, const char *what)
{
    union call_buffer buffer;

    call_buffer_fill(&buffer);
    JsErrorCode code = call->function(handle, call->out == CALL_NO_OUT ? NULL : &buffer);
    require(code == JsErrorInvalidArgument, "%s gave 0x%x for %s: %p", call->name, (unsigned)code,
            what, handle);
    require(call_buffer_is_untouched(&buffer), "%s wrote its out-parameter for %s: %p", call->name,
            what, handle);
}

static void *with_bit_flipped(void *handle, size_t bit)
{
    return (void *)((uintptr_t)handle ^ ((uintptr_t)1 << bit));
}

static void refuses_forged(const struct call *call)
{
    struct random random = random_seeded(17);

    for (size_t bit = 0; bit < HANDLE_BITS; bit++) {
        expect_refused(call, with_bit_flipped(the_world.runtime, bit),
                       "a runtime with a bit flipped");
        expect_refused(call, with_bit_flipped(the_world.context, bit),
                       "a context with a bit flipped");
    }
    for (size_t i = 0; i < RANDOM_HANDLES; i++) {
        expect_refused(call, (void *)(uintptr_t)random_next(&random), "a random handle");
        expect_refused(call, (void *)(uintptr_t)(i + 1), "a small number");
    }
    expect_refused(call, (void *)UINTPTR_MAX, "all ones");
    expect_refused(call, (void *)&random, "an address on the stack");
    expect_refused(call, (void *)&the_world, "an address in data");
    expect_refused(call, the_world.object, "the address of an object");
}

static void refuses_stale(const struct call *call)
{
    for (size_t i = 0; i < STALE_MAX; i++) {
        expect_refused(call, the_world.disposed[i], "a disposed runtime");
        expect_refused(call, the_world.of_disposed[i], "a context of a disposed runtime");
        expect_refused(call, the_world.released[i], "a released context");
    }
}

static void refuses_bad_handles(void **state)
{
    const struct call *call = *state;

    if (!call->null_is_valid) {
        expect_refused(call, NULL, "null");
    }
    refuses_forged(call);
    refuses_stale(call);
    if (call->kind == CALL_RUNTIME) {
        expect_refused(call, the_world.context, "a context in a runtime's place");
    } else {
        expect_refused(call, the_world.runtime, "a runtime in a context's place");
    }
    check_world(call);
}

static void checks_handle_and_out_in_order(void **state)
{
    const struct call *call = *state;
    void *live = call->kind == CALL_RUNTIME ? the_world.runtime : the_world.context;
    JsErrorCode of_bad = call->function(the_world.disposed[0], NULL);
    JsErrorCode wanted = call->out == CALL_OUT_FIRST ? JsErrorNullArgument : JsErrorInvalidArgument;

    require(of_bad == wanted, "%s(disposed, null) gave 0x%x", call->name, (unsigned)of_bad);
    if (call->out == CALL_OUT || call->out == CALL_OUT_FIRST || call->out == CALL_OUT_STRUCT) {
        JsErrorCode of_live = call->function(live, NULL);

        require(of_live == JsErrorNullArgument, "%s(live, null) gave 0x%x", call->name,
                (unsigned)of_live);
    }
    check_world(call);
}

static void add_ref_and_release_take_a_null_count(void **state)
{
    (void)state;
    assert_ok(JsAddRef(the_world.context, NULL));
    assert_ok(JsRelease(the_world.context, NULL));
}

static void realloc_with_a_bad_handle_leaves_the_object(void **state)
{
    void *bad[] = {NULL, the_world.disposed[0], the_world.context, (void *)(uintptr_t)12345};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_null(jsrtmem_realloc(bad[i], the_world.object, 200));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
        assert_null(jsrtmem_realloc(bad[i], the_world.object, 0));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
        assert_true(jsrtmem_usable_size(the_world.object) >= 100);
        assert_true(pattern_holds(the_world.object, 100, 1));
    }
}

static void bad_handles_are_refused_for_every_size(void **state)
{
    size_t sizes[] = {0, 1, 100, KIB(64), MIB(8), PTRDIFF_MAX, SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_null(jsrtmem_alloc(the_world.disposed[1], sizes[i]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
        assert_null(last_refusal().runtime);
        assert_null(jsrtmem_calloc(NULL, 1, sizes[i]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
        assert_null(last_refusal().runtime);
    }
}

static void stale_handles_stay_refused_while_their_slots_are_used_again(void **state)
{
    enum { ROUNDS = 3000 };
    JsRuntimeHandle *seen = calloc(ROUNDS, sizeof(*seen));
    size_t usage = 77;

    (void)state;
    assert_non_null(seen);
    for (size_t i = 0; i < ROUNDS; i++) {
        seen[i] = new_runtime();
        dispose(seen[i]);
    }
    JsRuntimeHandle live = new_runtime();
    for (size_t i = 0; i < ROUNDS; i++) {
        require(seen[i] != live, "the handle of round %zu was given out again", i);
        assert_code(JsGetRuntimeMemoryUsage(seen[i], &usage), JsErrorInvalidArgument);
        assert_code(JsDisposeRuntime(seen[i]), JsErrorInvalidArgument);
    }
    assert_int_equal(usage, 77);
    dispose(live);
    free(seen);
}

static void stale_contexts_stay_refused_while_their_slots_are_used_again(void **state)
{
    enum { ROUNDS = 1000 };
    JsContextRef *seen = calloc(ROUNDS, sizeof(*seen));

    (void)state;
    assert_non_null(seen);
    for (size_t i = 0; i < ROUNDS; i++) {
        seen[i] = new_context(the_world.runtime);
        assert_ok(JsAddRef(seen[i], NULL));
        assert_ok(JsRelease(seen[i], NULL));
    }
    JsContextRef live = new_context(the_world.runtime);
    for (size_t i = 0; i < ROUNDS; i++) {
        assert_ptr_not_equal(seen[i], live);
        assert_code(JsAddRef(seen[i], NULL), JsErrorInvalidArgument);
        assert_code(JsSetCurrentContext(seen[i]), JsErrorInvalidArgument);
    }
    free(seen);
}

static size_t random_values = 2000000;

/* Many runtimes are live. On 32 bits, some of the random values are handles by chance. */
static void forged_values_are_no_handles(void **state)
{
    enum { RUNTIMES = 1000 };
    static JsRuntimeHandle runtimes[RUNTIMES];
    struct random random = random_seeded(29);
    size_t usage = 77;
    size_t accepted = 0;
    size_t flipped = 0;

    (void)state;
    for (size_t i = 0; i < RUNTIMES; i++) {
        runtimes[i] = new_runtime();
    }
    for (size_t i = 0; i < random_values; i++) {
        accepted += JsGetRuntimeMemoryUsage((void *)(uintptr_t)random_next(&random), &usage) !=
                    JsErrorInvalidArgument;
    }
    for (size_t i = 0; i < RUNTIMES; i++) {
        for (size_t bit = 0; bit < HANDLE_BITS; bit++) {
            flipped += JsGetRuntimeMemoryUsage(with_bit_flipped(runtimes[i], bit), &usage) !=
                       JsErrorInvalidArgument;
        }
    }
    print_message("             %zu random values, %zu accepted; %zu with a bit flipped, %zu\n",
                  random_values, accepted, RUNTIMES * HANDLE_BITS, flipped);
    if (HANDLE_BITS == 64) {
        assert_int_equal(accepted + flipped, 0);
        assert_int_equal(usage, 77);
    } else { /* four times the expected number, and a few */
        assert_true(accepted <= 10 + random_values / (UINT32_MAX / (4 * RUNTIMES)));
        assert_true(flipped <= 10);
    }
    for (size_t i = 0; i < RUNTIMES; i++) {
        dispose(runtimes[i]);
    }
}

static void handles_are_not_addresses(void **state)
{
    enum { RUNTIMES = 64 };
    JsRuntimeHandle runtimes[RUNTIMES];
    uintptr_t changing = 0;

    (void)state;
    for (size_t i = 0; i < RUNTIMES; i++) {
        runtimes[i] = new_runtime();
        changing |= (uintptr_t)runtimes[i] ^ (uintptr_t)runtimes[0];
    }
    /* Indices or addresses of neighbours would differ in a few low bits. */
    size_t bits = 0;
    for (size_t bit = 0; bit < HANDLE_BITS; bit++) {
        bits += (changing >> bit) & 1u;
    }
    require(bits > HANDLE_BITS / 2, "64 handles differ in %zu bits only", bits);
    for (size_t i = 0; i < RUNTIMES; i++) {
        dispose(runtimes[i]);
    }
}

/* ---- struct_size ---------------------------------------------------------------------------- */

/* A function that fills a struct which starts with struct_size. */
struct filler {
    const char *name;
    size_t size;
    JsErrorCode (*fill)(void *out);
};

static JsErrorCode fill_stats(void *out)
{
    return jsrtmem_get_stats(the_world.runtime, out);
}

static JsErrorCode fill_process_stats(void *out)
{
    return jsrtmem_get_process_stats(out);
}

static JsErrorCode fill_refusal(void *out)
{
    return jsrtmem_last_refusal(out);
}

static struct filler fillers[] = {
    {"jsrtmem_get_stats", sizeof(jsrtmem_stats), fill_stats},
    {"jsrtmem_get_process_stats", sizeof(jsrtmem_process_stats), fill_process_stats},
    {"jsrtmem_last_refusal", sizeof(jsrtmem_refusal_info), fill_refusal},
};

static void set_size(union call_buffer *buffer, size_t size)
{
    call_buffer_fill(buffer);
    memcpy(buffer->bytes, &size, sizeof(size));
}

static size_t get_size(const union call_buffer *buffer)
{
    size_t size;

    memcpy(&size, buffer->bytes, sizeof(size));
    return size;
}

static bool is_filled_after(const union call_buffer *buffer, size_t offset)
{
    union call_buffer fresh;

    call_buffer_fill(&fresh);
    return memcmp(buffer->bytes + offset, fresh.bytes + offset, sizeof(fresh.bytes) - offset) != 0;
}

static void struct_size_too_small_is_refused(void **state)
{
    const struct filler *filler = *state;
    union call_buffer buffer;

    for (size_t size = 0; size < filler->size; size++) {
        set_size(&buffer, size);
        JsErrorCode code = filler->fill(&buffer);
        require(code == JsErrorInvalidArgument, "%s gave 0x%x for size %zu", filler->name,
                (unsigned)code, size);
        require(get_size(&buffer) == size && !is_filled_after(&buffer, sizeof(size_t)),
                "%s wrote into a struct of size %zu", filler->name, size);
    }
}

static void struct_size_as_known_fills_no_byte_more(void **state)
{
    const struct filler *filler = *state;
    union call_buffer buffer;

    set_size(&buffer, filler->size);
    assert_ok(filler->fill(&buffer));
    assert_int_equal(get_size(&buffer), filler->size);
    assert_true(is_filled_after(&buffer, sizeof(size_t)));
    assert_false(is_filled_after(&buffer, filler->size));
}

static void struct_size_larger_gets_the_filled_size_back(void **state)
{
    const struct filler *filler = *state;
    size_t sizes[] = {filler->size + 1, filler->size + 8, sizeof(union call_buffer), SIZE_MAX};
    union call_buffer buffer;

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        set_size(&buffer, sizes[i]);
        assert_ok(filler->fill(&buffer));
        assert_int_equal(get_size(&buffer), filler->size);
        assert_false(is_filled_after(&buffer, filler->size));
    }
}

static void struct_null_is_refused(void **state)
{
    const struct filler *filler = *state;

    assert_code(filler->fill(NULL), JsErrorNullArgument);
}

static void stats_check_the_handle_before_the_size(void **state)
{
    union call_buffer buffer;

    (void)state;
    set_size(&buffer, 0);
    assert_code(jsrtmem_get_stats(the_world.disposed[0], &buffer.stats), JsErrorInvalidArgument);
    assert_int_equal(get_size(&buffer), 0);
}

/* ---- the list of tests ---------------------------------------------------------------------- */

#define ROWS_MAX 128
#define NAME_MAX_LENGTH 96

static struct CMUnitTest rows[ROWS_MAX];
static char names[ROWS_MAX][NAME_MAX_LENGTH];
static size_t row_count;

static void add_row(const char *subject, const char *does, CMUnitTestFunction function, void *state)
{
    if (row_count == ROWS_MAX) {
        (void)fprintf(stderr, "too many rows\n");
        abort();
    }
    (void)snprintf(names[row_count], NAME_MAX_LENGTH, "%s %s", subject, does);
    rows[row_count] = (struct CMUnitTest){names[row_count], function, NULL, NULL, state};
    row_count++;
}

static void add_rows_of_calls(void)
{
    for (size_t i = 0; i < all_calls_count; i++) {
        void *call = (void *)(uintptr_t)&all_calls[i];

        add_row(all_calls[i].name, "refuses every bad handle", refuses_bad_handles, call);
        if (all_calls[i].out != CALL_NO_OUT) {
            add_row(all_calls[i].name, "checks handle and out-pointer in order",
                    checks_handle_and_out_in_order, call);
        }
    }
}

static void add_rows_of_fillers(void)
{
    for (size_t i = 0; i < COUNT_OF(fillers); i++) {
        struct filler *filler = &fillers[i];

        add_row(filler->name, "refuses null", struct_null_is_refused, filler);
        add_row(filler->name, "refuses a struct that is too small",
                struct_size_too_small_is_refused, filler);
        add_row(filler->name, "fills the struct and no byte more",
                struct_size_as_known_fills_no_byte_more, filler);
        add_row(filler->name, "writes back the size it filled",
                struct_size_larger_gets_the_filled_size_back, filler);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest single[] = {
        cmocka_unit_test(add_ref_and_release_take_a_null_count),
        cmocka_unit_test(realloc_with_a_bad_handle_leaves_the_object),
        cmocka_unit_test(bad_handles_are_refused_for_every_size),
        cmocka_unit_test(stale_handles_stay_refused_while_their_slots_are_used_again),
        cmocka_unit_test(forged_values_are_no_handles),
        cmocka_unit_test(stale_contexts_stay_refused_while_their_slots_are_used_again),
        cmocka_unit_test(handles_are_not_addresses),
        cmocka_unit_test(stats_check_the_handle_before_the_size),
    };

    if (argc == 3 && strcmp(argv[1], "--random") == 0) {
        random_values = (size_t)strtoull(argv[2], NULL, 10);
    }

    add_rows_of_calls();
    add_rows_of_fillers();
    for (size_t i = 0; i < COUNT_OF(single); i++) {
        rows[row_count++] = single[i];
    }
    return _cmocka_run_group_tests("handles", rows, row_count, make_world, drop_world);
}
