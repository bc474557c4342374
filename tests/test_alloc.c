/*
 * Objects: sizes, alignment, zeroing, realloc, usable sizes, owners. One thread and good pointers;
 * test_misuse.c has bad pointers, test_threads.c has threads.
 */
#include "support/host.h"
#include "support/random.h"
#include "support/unit.h"

static bool is_aligned(const void *object, size_t alignment)
{
    return ((uintptr_t)object & (alignment - 1)) == 0;
}

/* Checks that an object is aligned, large enough and owned by the runtime. Writes all its bytes or,
 * beyond 1 MiB, the first and the last. */
static void check_object(JsRuntimeHandle runtime, void *object, size_t size, size_t alignment)
{
    JsRuntimeHandle owner = NULL;

    require(object != NULL, "no object of %zu bytes, reason %d", size, (int)last_reason());
    require(is_aligned(object, alignment), "%p is not aligned to %zu", object, alignment);
    size_t usable = jsrtmem_usable_size(object);
    require(usable >= size, "an object of %zu bytes has %zu usable bytes", size, usable);
    require(jsrtmem_runtime_of(object, &owner) == JsNoError && owner == runtime,
            "an object of %zu bytes has another owner", size);
    if (usable <= MIB(1)) {
        pattern_fill(object, usable, size);
        require(pattern_holds(object, usable, size), "an object of %zu bytes does not hold", size);
    } else {
        ((unsigned char *)object)[0] = 1;
        ((unsigned char *)object)[usable - 1] = 2;
    }
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static void every_size_up_to_5000(void **state)
{
    enum { SIZES = 5001 };
    static void *objects[SIZES];
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t size = 0; size < SIZES; size++) {
        objects[size] = jsrtmem_alloc(runtime, size);
        check_object(runtime, objects[size], size, 16);
    }
    assert_int_equal(stats_of(runtime).live_objects, SIZES);
    for (size_t size = 0; size < SIZES; size++) {
        size_t usable = jsrtmem_usable_size(objects[size]);

        require(pattern_holds(objects[size], usable, size), "the object of %zu bytes changed",
                size);
        assert_ok(jsrtmem_free(objects[size]));
    }
    assert_int_equal(stats_of(runtime).live_objects, 0);
    assert_int_equal(stats_of(runtime).live_bytes, 0);
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    dispose(runtime);
}

static void sizes_around_powers_of_two(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    size_t live = 0;

    (void)state;
    for (size_t power = 4096; power <= MIB(64); power *= 2) {
        for (size_t size = power - 2; size <= power + 2; size++) {
            void *kept = new_object(runtime, size);

            check_object(runtime, kept, size, 16);
            live++;
            assert_true(usage_of(runtime) >= size);
            if (power > MIB(1)) {
                assert_ok(jsrtmem_free(kept));
                live--;
            }
        }
    }
    assert_int_equal(stats_of(runtime).live_objects, live);
    dispose(runtime);
}

static void hundreds_of_mebibytes(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    size_t sizes[] = {MIB(100) + 1, MIB(300), MIB(700) - 1};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *object = jsrtmem_alloc(runtime, sizes[i]);

        check_object(runtime, object, sizes[i], 16);
        assert_ok(jsrtmem_free(object));
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
    }
    dispose(runtime);
}

static void size_zero_gives_unique_pointers(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    void *objects[200];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        void *made[] = {jsrtmem_alloc(runtime, 0), jsrtmem_calloc(runtime, 0, 10),
                        jsrtmem_calloc(runtime, 10, 0), jsrtmem_aligned_alloc(runtime, 64, 0)};

        objects[i] = made[i % COUNT_OF(made)];
        for (size_t j = 0; j < COUNT_OF(made); j++) {
            assert_non_null(made[j]);
            assert_true(is_aligned(made[j], 16));
            for (size_t k = 0; k < j; k++) {
                assert_ptr_not_equal(made[j], made[k]);
            }
            if (j != i % COUNT_OF(made)) {
                assert_ok(jsrtmem_free(made[j]));
            }
        }
        for (size_t j = 0; j < i; j++) {
            assert_ptr_not_equal(objects[i], objects[j]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        assert_ok(jsrtmem_free(objects[i]));
    }
    assert_int_equal(stats_of(runtime).live_objects, 0);
    dispose(runtime);
}

static void live_bytes_are_usable_sizes(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    size_t sizes[] = {0, 1, 16, 17, 1000, 5000, KIB(33), KIB(300), MIB(3)};
    void *objects[COUNT_OF(sizes)];
    size_t bytes = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        objects[i] = new_object(runtime, sizes[i]);
        bytes += jsrtmem_usable_size(objects[i]);
        assert_int_equal(stats_of(runtime).live_bytes, bytes);
        assert_int_equal(stats_of(runtime).live_objects, i + 1);
        assert_true(usage_of(runtime) >= bytes);
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        bytes -= jsrtmem_usable_size(objects[i]);
        assert_ok(jsrtmem_free(objects[i]));
        assert_int_equal(stats_of(runtime).live_bytes, bytes);
    }
    dispose(runtime);
}

/* ---- alignment ------------------------------------------------------------------------------ */

static void every_alignment_up_to_a_mebibyte(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    size_t sizes[] = {0, 1, 15, 100, 4096, 5000, KIB(100), MIB(1) + 1};

    (void)state;
    for (size_t alignment = 1; alignment <= MIB(1); alignment *= 2) {
        void *objects[COUNT_OF(sizes) * 2];

        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            size_t size = sizes[i / 2];

            objects[i] = jsrtmem_aligned_alloc(runtime, alignment, size);
            check_object(runtime, objects[i], size, alignment < 16 ? 16 : alignment);
        }
        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            size_t usable = jsrtmem_usable_size(objects[i]);

            assert_true(usable > MIB(1) || pattern_holds(objects[i], usable, sizes[i / 2]));
            assert_ok(jsrtmem_free(objects[i]));
        }
    }
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    dispose(runtime);
}

/* At the limit, with everything else in use, the object that was freed just now is the only memory
 * for the next one. */
static void an_aligned_object_serves_again_where_nothing_else_is_free(void **state)
{
    const size_t sizes[] = {128, 192, 1024};

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(sizes); i++) {
        bool entered = i % 2 != 0;
        size_t size = sizes[i / 2];
        JsRuntimeHandle runtime = new_runtime();
        void *object = jsrtmem_aligned_alloc(runtime, 64, size);
        assert_non_null(object);
        assert_ok(JsSetRuntimeMemoryLimit(runtime, usage_of(runtime)));
        for (size_t filler = KIB(8); filler >= 16; filler /= 2) {
            while (jsrtmem_alloc(runtime, filler) != NULL) {
                /* until it is full */
            }
        }
        if (entered) {
            assert_ok(jsrtmem_enter(runtime));
        }
        for (int again = 0; again < 3; again++) {
            assert_ok(jsrtmem_free(object));
            assert_ptr_equal(jsrtmem_aligned_alloc(runtime, 64, size), object);
            assert_code(jsrtmem_free((char *)object + 16), JsErrorInvalidArgument);
        }
        assert_null(jsrtmem_aligned_alloc(runtime, 64, size));
        if (entered) {
            assert_ok(jsrtmem_leave(runtime));
        }
        dispose(runtime);
    }
}

/* The object that was freed last may or may not have the alignment that the next one needs. */
static void aligned_objects_come_and_go_among_others(void **state)
{
    const size_t sizes[] = {0, 1, 32, 200, 1024, 1025, 5000};
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (size_t alignment = 32; alignment <= 4096; alignment *= 2) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            void *objects[16];
            for (size_t j = 0; j < COUNT_OF(objects); j++) {
                objects[j] = j % 2 == 0 ? jsrtmem_alloc(runtime, sizes[i])
                                        : jsrtmem_aligned_alloc(runtime, alignment, sizes[i]);
            }
            for (size_t j = 0; j < COUNT_OF(objects); j++) {
                assert_ok(jsrtmem_free(objects[j]));
                void *object = jsrtmem_aligned_alloc(runtime, alignment, sizes[i]);
                check_object(runtime, object, sizes[i], alignment);
                assert_ok(jsrtmem_free(object));
            }
        }
    }
    assert_ok(jsrtmem_leave(runtime));
    dispose(runtime);
}

static void larger_alignments_are_kept_or_refused_clearly(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t alignments[] = {MIB(2),
                           MIB(64),
                           GIB(2),
                           (size_t)1 << (sizeof(size_t) * 8 - 24),
                           (size_t)1 << (sizeof(size_t) * 8 - 2),
                           (size_t)1 << (sizeof(size_t) * 8 - 1)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(alignments); i++) {
        size_t live = stats_of(runtime).live_objects;
        void *object = jsrtmem_aligned_alloc(runtime, alignments[i], 100);

        if (object != NULL) {
            check_object(runtime, object, 100, alignments[i]);
            assert_ok(jsrtmem_free(object));
        } else {
            jsrtmem_refusal reason = last_reason();

            require(reason == JSRTMEM_REFUSAL_SIZE || reason == JSRTMEM_REFUSAL_OS ||
                        reason == JSRTMEM_REFUSAL_ARGUMENT,
                    "alignment 2^%zu was refused with reason %d", i, (int)reason);
        }
        assert_int_equal(stats_of(runtime).live_objects, live);
        assert_balanced(&host);
    }
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    dispose(runtime);
    assert_all_freed(&host);
}

static void bad_alignments_are_refused(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t alignments[] = {0, 3, 5, 6, 7, 12, 17, 24, 48, 100, 4095, 4097, MIB(1) + 16, SIZE_MAX};
    size_t sizes[] = {0, 10, MIB(1), SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(alignments) * COUNT_OF(sizes); i++) {
        size_t alignment = alignments[i / COUNT_OF(sizes)];

        assert_null(jsrtmem_aligned_alloc(runtime, alignment, sizes[i % COUNT_OF(sizes)]));
        require(last_reason() == JSRTMEM_REFUSAL_ARGUMENT, "alignment %zu was refused with %d",
                alignment, (int)last_reason());
    }
    assert_trace(&host, "");
    dispose(runtime);
}

/* ---- zeroing -------------------------------------------------------------------------------- */

static void calloc_zeroes(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t size = 1; size < MIB(8); size = size * 2 + 3) {
        for (int round = 0; round < 3; round++) {
            void *object = jsrtmem_calloc(runtime, 1, size);
            void *many = jsrtmem_calloc(runtime, size, 3);

            require(object != NULL && many != NULL, "no array of %zu bytes", size);
            require(bytes_are(object, size, 0), "an array of %zu bytes is not zero", size);
            require(bytes_are(many, size * 3, 0), "an array of 3 * %zu bytes is not zero", size);
            memset(object, 0xee, jsrtmem_usable_size(object));
            memset(many, 0xee, jsrtmem_usable_size(many));
            assert_ok(jsrtmem_free(object));
            assert_ok(jsrtmem_free(many));
        }
    }
    dispose(runtime);
}

static void calloc_zeroes_after_dirty_frees(void **state)
{
    enum { OBJECTS = 3000 };
    static void *objects[OBJECTS];
    struct random random = random_seeded(5);
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < OBJECTS; i++) {
            objects[i] = new_object(runtime, random_size(&random, 12));
            memset(objects[i], 0xd1, jsrtmem_usable_size(objects[i]));
        }
        for (size_t i = 0; i < OBJECTS; i++) {
            if (i % 7 != 0) {
                assert_ok(jsrtmem_free(objects[i]));
            }
        }
        for (size_t i = 0; i < OBJECTS; i++) {
            if (i % 7 != 0) {
                size_t size = random_size(&random, 12);

                objects[i] = jsrtmem_calloc(runtime, 1, size);
                assert_non_null(objects[i]);
                require(bytes_are(objects[i], size, 0), "an array of %zu bytes is not zero", size);
                memset(objects[i], 0xd2, size);
            }
        }
        for (size_t i = 0; i < OBJECTS; i++) {
            assert_ok(jsrtmem_free(objects[i]));
        }
    }
    dispose(runtime);
}

static void calloc_checks_the_product(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t half = (size_t)1 << (sizeof(size_t) * 4);
    size_t pairs[][2] = {{SIZE_MAX, 2},   {2, SIZE_MAX},    {SIZE_MAX, SIZE_MAX},
                         {half, half},    {half * 2, half}, {SIZE_MAX / 3 + 1, 3},
                         {half + 1, half}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        assert_null(jsrtmem_calloc(runtime, pairs[i][0], pairs[i][1]));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE);
        assert_ptr_equal(last_refusal().runtime, runtime);
    }
    assert_trace(&host, "");
    dispose(runtime);
}

#define SECRET 0xa5
#define SECRETS 300

/* Fills a runtime with secrets in objects of 16 bytes to 2 MiB. */
static JsRuntimeHandle runtime_with_secrets(void **objects, size_t count)
{
    JsRuntimeHandle runtime = new_runtime();

    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)16 << (i % 18);

        objects[i] = new_object(runtime, size);
        memset(objects[i], SECRET, jsrtmem_usable_size(objects[i]));
    }
    return runtime;
}

static bool shows_a_secret(const void *object, size_t size)
{
    const uint64_t *words = object;
    uint64_t secret;

    memset(&secret, SECRET, sizeof(secret));
    for (size_t i = 0; i < size / sizeof(secret); i++) {
        if (words[i] == secret) {
            return true;
        }
    }
    return false;
}

static void look_for_secrets(void)
{
    JsRuntimeHandle runtime = new_runtime();

    for (size_t i = 0; i < SECRETS; i++) {
        size_t size = (size_t)16 << (i % 18);
        void *object = i % 2 == 0 ? new_object(runtime, size) : jsrtmem_calloc(runtime, 1, size);

        assert_non_null(object);
        require(!shows_a_secret(object, jsrtmem_usable_size(object)),
                "an object of %zu bytes shows another runtime's bytes", size);
        assert_true(i % 2 == 0 || bytes_are(object, size, 0));
    }
    dispose(runtime);
}

static void memory_of_a_disposed_runtime_comes_back_zero(void **state)
{
    static void *objects[SECRETS];

    (void)state;
    for (int round = 0; round < 4; round++) {
        dispose(runtime_with_secrets(objects, COUNT_OF(objects)));
        look_for_secrets();
    }
}

static void memory_given_back_by_another_runtime_comes_back_zero(void **state)
{
    static void *objects[SECRETS];

    (void)state;
    for (int round = 0; round < 4; round++) {
        JsRuntimeHandle runtime = runtime_with_secrets(objects, COUNT_OF(objects));

        for (size_t i = 0; i < COUNT_OF(objects); i++) {
            assert_ok(jsrtmem_free(objects[i]));
        }
        look_for_secrets();
        assert_ok(JsCollectGarbage(runtime));
        look_for_secrets();
        dispose(runtime);
    }
}

/* ---- realloc -------------------------------------------------------------------------------- */

static void realloc_of_null_allocates(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t size = 1; size < MIB(4); size *= 5) {
        check_object(runtime, jsrtmem_realloc(runtime, NULL, size), size, 16);
    }
    dispose(runtime);
}

static void realloc_to_zero_frees(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    size_t sizes[] = {0, 10, 5000, MIB(2)};

    (void)state;
    assert_null(jsrtmem_calloc(runtime, SIZE_MAX, 2));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *object = new_object(runtime, sizes[i]);

        assert_null(jsrtmem_realloc(runtime, object, 0));
        assert_int_equal(last_reason(), JSRTMEM_REFUSAL_SIZE); /* the calloc's refusal is kept */
        assert_code(jsrtmem_free(object), JsErrorInvalidArgument);
        assert_int_equal(stats_of(runtime).live_objects, 0);
    }
    dispose(runtime);
}

static void realloc_keeps_the_bytes_for_every_pair_of_sizes(void **state)
{
    size_t sizes[] = {0, 1, 16, 17, 100, 1000, 1024, 4000, 4097, 20000, KIB(64), KIB(300), MIB(2)};
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes) * COUNT_OF(sizes); i++) {
        size_t from = sizes[i / COUNT_OF(sizes)];
        size_t to = sizes[i % COUNT_OF(sizes)];
        void *object = new_object(runtime, from);

        pattern_fill(object, from, i);
        object = jsrtmem_realloc(runtime, object, to);
        if (to == 0) {
            assert_null(object);
            continue;
        }
        require(object != NULL, "no realloc from %zu to %zu", from, to);
        require(pattern_holds(object, from < to ? from : to, i),
                "the bytes changed from %zu to %zu", from, to);
        check_object(runtime, object, to, 16);
        assert_ok(jsrtmem_free(object));
    }
    assert_int_equal(stats_of(runtime).live_objects, 0);
    dispose(runtime);
}

static void realloc_of_aligned_objects(void **state)
{
    JsRuntimeHandle runtime = new_runtime();

    (void)state;
    for (size_t alignment = 16; alignment <= MIB(1); alignment *= 4) {
        for (size_t size = 10; size < MIB(3); size *= 7) {
            void *object = jsrtmem_aligned_alloc(runtime, alignment, size);

            assert_non_null(object);
            pattern_fill(object, size, alignment);
            object = jsrtmem_realloc(runtime, object, size * 3);
            assert_non_null(object);
            assert_true(pattern_holds(object, size, alignment));
            object = jsrtmem_realloc(runtime, object, size / 2);
            assert_non_null(object);
            assert_true(pattern_holds(object, size / 2, alignment));
            assert_ok(jsrtmem_free(object));
        }
    }
    assert_ok(JsCollectGarbage(runtime));
    assert_int_equal(usage_of(runtime), 0);
    dispose(runtime);
}

static void realloc_step_by_step(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    unsigned char *text = NULL;
    size_t length = 0;

    (void)state;
    while (length < KIB(200)) {
        text = jsrtmem_realloc(runtime, text, length + 16);
        assert_non_null(text);
        for (size_t i = 0; i < 16; i++) {
            text[length + i] = pattern_byte(3, length + i);
        }
        length += 16;
    }
    assert_true(pattern_holds(text, length, 3));
    while (length > 16) {
        length -= 16;
        text = jsrtmem_realloc(runtime, text, length);
        assert_non_null(text);
    }
    assert_true(pattern_holds(text, length, 3));
    assert_int_equal(stats_of(runtime).live_objects, 1);
    dispose(runtime);
}

/* In an otherwise empty heap a vector that doubles finds room where the last one was: nothing is
 * copied. */
static void vectors_that_double_follow_each_other_in_place(void **state)
{
    JsRuntimeHandle runtime = new_runtime();
    size_t moves = 0;

    (void)state;
    assert_ok(jsrtmem_enter(runtime));
    for (int cycle = 0; cycle < 20; cycle++) {
        void *vector = NULL;
        for (size_t size = 16; size <= KIB(128); size *= 2) {
            void *grown = jsrtmem_realloc(runtime, vector, size);
            assert_non_null(grown);
            moves += cycle > 1 && vector != NULL && grown != vector;
            vector = grown;
        }
        assert_ok(jsrtmem_free(vector));
    }
    assert_int_equal(moves, 0);
    assert_ok(jsrtmem_leave(runtime));
    dispose(runtime);
}

static void shrinking_never_fails(void **state)
{
    struct host host;
    JsRuntimeHandle runtime = host_new_runtime(&host);
    size_t sizes[] = {17, 300, 1024, 5000, 20000, KIB(64), KIB(300), MIB(2), MIB(40)};
    void *objects[COUNT_OF(sizes)];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        objects[i] = new_object(runtime, sizes[i]);
        pattern_fill(objects[i], sizes[i] / 2, i);
    }
    host.refuse = true;
    assert_ok(JsSetRuntimeMemoryLimit(runtime, 0));
    for (size_t to = MIB(20); to > 0; to = to * 2 / 3) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            if (to < sizes[i]) {
                size_t kept = to < sizes[i] / 2 ? to : sizes[i] / 2;

                objects[i] = jsrtmem_realloc(runtime, objects[i], to);
                require(objects[i] != NULL, "no shrink of %zu to %zu", sizes[i], to);
                require(kept > KIB(64) || pattern_holds(objects[i], kept, i),
                        "the bytes changed from %zu to %zu", sizes[i], to);
            }
        }
    }
    assert_int_equal(host_count_of(&host, JsMemoryFailure), 0);
    assert_balanced(&host);
    dispose(runtime);
    assert_all_freed(&host);
}

/* Such an object is preferred to new memory, whether or not the runtime is entered. */
static void a_free_object_that_is_little_larger_is_used_again(void **state)
{
    (void)state;
    for (int entered = 0; entered <= 1; entered++) {
        JsRuntimeHandle runtime = new_runtime();
        if (entered != 0) {
            assert_ok(jsrtmem_enter(runtime));
        }
        void *free = new_object(runtime, 144);
        void *other = new_object(runtime, 144);
        assert_ok(jsrtmem_free(free));
        assert_ok(jsrtmem_free(new_object(runtime, 16))); /* lists it: the one freed last waits */
        void *object = new_object(runtime, 128);
        assert_ptr_equal(object, free);
        assert_int_equal(jsrtmem_usable_size(object), 144);
        assert_ptr_equal(jsrtmem_realloc(runtime, object, 128), object);
        assert_int_equal(jsrtmem_usable_size(object), 144);
        assert_ok(jsrtmem_free(object));
        assert_code(jsrtmem_free(object), JsErrorInvalidArgument);
        object = new_object(runtime, 112); /* is served from at most 128 bytes */
        assert_ptr_not_equal(object, free);
        assert_int_equal(jsrtmem_usable_size(object), 112);
        object = new_object(runtime, 128);
        assert_ok(jsrtmem_free(other));
        assert_ok(jsrtmem_free(object)); /* preferred: its size is exact, and it was freed last */
        assert_ptr_equal(new_object(runtime, 128), object);
        if (entered != 0) {
            assert_ok(jsrtmem_leave(runtime));
        }
        dispose(runtime);
    }
}

static void objects_of_another_runtime_are_refused(void **state)
{
    JsRuntimeHandle mine = new_runtime();
    JsRuntimeHandle theirs = new_runtime();
    size_t sizes[] = {10, 1000, KIB(100), MIB(2)};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *object = new_object(theirs, sizes[i]);
        size_t targets[] = {0, 1, sizes[i], sizes[i] * 2};

        pattern_fill(object, sizes[i], i);
        for (size_t j = 0; j < COUNT_OF(targets); j++) {
            assert_null(jsrtmem_realloc(mine, object, targets[j]));
            assert_int_equal(last_reason(), JSRTMEM_REFUSAL_ARGUMENT);
        }
        assert_true(pattern_holds(object, sizes[i], i));
        assert_int_equal(stats_of(theirs).live_objects, i + 1);
    }
    assert_int_equal(stats_of(mine).live_objects, 0);
    dispose(mine);
    dispose(theirs);
}

/* ---- the null pointer ----------------------------------------------------------------------- */

static void null_pointers(void **state)
{
    JsRuntimeHandle owner = &owner;

    (void)state;
    assert_ok(jsrtmem_free(NULL));
    assert_int_equal(jsrtmem_usable_size(NULL), 0);
    assert_code(jsrtmem_runtime_of(NULL, &owner), JsErrorInvalidArgument);
    assert_ptr_equal(owner, &owner);
    assert_code(jsrtmem_runtime_of(NULL, NULL), JsErrorInvalidArgument);
    JsRuntimeHandle runtime = new_runtime();
    assert_code(jsrtmem_runtime_of(new_object(runtime, 10), NULL), JsErrorNullArgument);
    dispose(runtime);
}

/* ---- many operations ------------------------------------------------------------------------ */

#define CHURN_SLOTS 2000
#define CHURN_OPERATIONS 100000

struct slot {
    unsigned char *object;
    size_t size;
    uint64_t id;
};

static void churn_once(JsRuntimeHandle runtime, struct random *random, struct slot *slot,
                       uint64_t id)
{
    size_t size = random_size(random, random_chance(random, 2) ? 19 : 11);

    if (slot->object != NULL) {
        require(pattern_holds(slot->object, slot->size, slot->id), "object %llu was overwritten",
                (unsigned long long)slot->id);
        if (random_chance(random, 60)) {
            assert_ok(jsrtmem_free(slot->object));
            slot->object = NULL;
            return;
        }
        size_t kept = slot->size < size ? slot->size : size;
        slot->object = jsrtmem_realloc(runtime, slot->object, size);
        assert_non_null(slot->object);
        assert_true(pattern_holds(slot->object, kept, slot->id));
    } else if (random_chance(random, 10)) {
        slot->object = jsrtmem_aligned_alloc(runtime, (size_t)16 << random_below(random, 9), size);
    } else {
        slot->object = jsrtmem_alloc(runtime, size);
    }
    assert_non_null(slot->object);
    slot->size = jsrtmem_usable_size(slot->object);
    slot->id = id;
    pattern_fill(slot->object, slot->size, id);
}

static void objects_never_overlap(void **state)
{
    static struct slot slots[CHURN_SLOTS];

    (void)state;
    for (int entered = 0; entered < 2; entered++) {
        struct random random = random_seeded(99 + (uint64_t)entered);
        struct host host;
        JsRuntimeHandle runtime = host_new_runtime(&host);

        memset(slots, 0, sizeof(slots));
        if (entered) {
            assert_ok(jsrtmem_enter(runtime));
        }
        for (uint64_t i = 0; i < CHURN_OPERATIONS; i++) {
            churn_once(runtime, &random, &slots[random_below(&random, CHURN_SLOTS)], i);
        }
        for (size_t i = 0; i < CHURN_SLOTS; i++) {
            assert_true(slots[i].object == NULL ||
                        pattern_holds(slots[i].object, slots[i].size, slots[i].id));
            assert_ok(jsrtmem_free(slots[i].object));
        }
        assert_ok(JsCollectGarbage(runtime));
        assert_int_equal(usage_of(runtime), 0);
        if (entered) {
            assert_ok(jsrtmem_leave(runtime));
        }
        assert_balanced(&host);
        dispose(runtime);
    }
}

/* ---- the list of tests ---------------------------------------------------------------------- */

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_up_to_5000),
        cmocka_unit_test(sizes_around_powers_of_two),
        cmocka_unit_test(hundreds_of_mebibytes),
        cmocka_unit_test(size_zero_gives_unique_pointers),
        cmocka_unit_test(live_bytes_are_usable_sizes),
        cmocka_unit_test(every_alignment_up_to_a_mebibyte),
        cmocka_unit_test(an_aligned_object_serves_again_where_nothing_else_is_free),
        cmocka_unit_test(aligned_objects_come_and_go_among_others),
        cmocka_unit_test(larger_alignments_are_kept_or_refused_clearly),
        cmocka_unit_test(bad_alignments_are_refused),
        cmocka_unit_test(calloc_zeroes),
        cmocka_unit_test(calloc_zeroes_after_dirty_frees),
        cmocka_unit_test(calloc_checks_the_product),
        cmocka_unit_test(memory_of_a_disposed_runtime_comes_back_zero),
        cmocka_unit_test(memory_given_back_by_another_runtime_comes_back_zero),
        cmocka_unit_test(realloc_of_null_allocates),
        cmocka_unit_test(realloc_to_zero_frees),
        cmocka_unit_test(realloc_keeps_the_bytes_for_every_pair_of_sizes),
        cmocka_unit_test(realloc_of_aligned_objects),
        cmocka_unit_test(realloc_step_by_step),
        cmocka_unit_test(vectors_that_double_follow_each_other_in_place),
        cmocka_unit_test(shrinking_never_fails),
        cmocka_unit_test(a_free_object_that_is_little_larger_is_used_again),
        cmocka_unit_test(objects_of_another_runtime_are_refused),
        cmocka_unit_test(null_pointers),
        cmocka_unit_test(objects_never_overlap),
    };

    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
