/*
 * Size classes: every count of granules gets the smallest class that fits, the waste is bounded,
 * and a state byte has exactly one meaning.
 */
#include "support/unit.h"

#include "state.h"

static void every_count_gets_the_smallest_class_that_fits(void **state)
{
    (void)state;
    for (size_t granules = 1; granules <= JM_SMALL_GRANULES; granules++) {
        unsigned code = jm_class_of(granules);
        require(code >= 1 && code <= JM_CLASSES, "%zu granules: code %u", granules, code);
        require(jm_class_granules[code] >= granules, "%zu granules do not fit class %u of %u",
                granules, code, jm_class_granules[code]);
        require(jm_class_granules[code - 1] < granules, "%zu granules fit a class below %u",
                granules, code);
    }
    assert_int_equal(jm_class_of(0), 1);
}

static void classes_grow_and_end_at_the_largest_object(void **state)
{
    (void)state;
    assert_int_equal(jm_class_granules[0], 0);
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        require(jm_class_granules[code] > jm_class_granules[code - 1], "class %u", code);
    }
    assert_int_equal(jm_class_granules[JM_CLASSES], JM_SMALL_GRANULES);
    assert_int_equal(JM_SMALL_MAX, KIB(256));
}

static void waste_is_an_eighth_at_most(void **state)
{
    (void)state;
    for (unsigned code = 1; code <= 8; code++) {
        assert_int_equal(jm_class_granules[code], code);
    }
    for (size_t size = 129; size <= JM_SMALL_MAX; size++) {
        unsigned code = jm_class_of((size + JM_GRANULE - 1) >> JM_GRANULE_BITS);
        size_t usable = (size_t)jm_class_granules[code] << JM_GRANULE_BITS;
        require((usable - size) * 8 <= usable, "%zu bytes waste %zu of %zu", size, usable - size,
                usable);
    }
}

static void the_near_class_is_a_seventh_larger_at_most(void **state)
{
    (void)state;
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        size_t near = jm_class_near(code);
        require(near == (code < JM_NEAR_MIN ? code : code + 1), "near class %u", code);
        size_t more = near > JM_CLASSES ? 0 : jm_class_bytes(near) - jm_class_bytes(code);
        require(more * 7 <= jm_class_bytes(code), "class %u, near class %u", code, (unsigned)near);
    }
    assert_int_equal(jm_class_near(JM_NEAR_MIN - 1), JM_NEAR_MIN - 1);
}

static void what_serves_is_a_quarter_larger_at_most(void **state)
{
    (void)state;
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        for (unsigned other = 1; other <= JM_CLASSES; other++) {
            bool serves = other >= code && 4 * jm_class_bytes(other) <= 5 * jm_class_bytes(code);
            require(jm_class_serves(other, code) == serves, "class %u for %u", other, code);
        }
        size_t near = jm_class_near(code);
        require(near > JM_CLASSES || jm_class_serves((unsigned)near, code), "class %u", code);
    }
}

static void the_largest_class_within_a_stretch(void **state)
{
    (void)state;
    for (size_t granules = 1; granules <= JM_SMALL_GRANULES; granules++) {
        unsigned code = jm_class_within(granules);
        require(code >= 1 && code <= JM_CLASSES, "%zu granules: code %u", granules, code);
        require(jm_class_granules[code] <= granules, "class %u is not within %zu", code, granules);
        require(code == JM_CLASSES || jm_class_granules[code + 1] > granules,
                "a class above %u is within %zu", code, granules);
    }
    assert_int_equal(jm_class_within(JM_SMALL_GRANULES + 1), JM_CLASSES);
    assert_int_equal(jm_class_within(SIZE_MAX), JM_CLASSES);
}

static void a_state_byte_says_one_thing(void **state)
{
    bool used[256] = {true}; /* 0: no object starts here */

    (void)state;
    assert_false(jm_is_live(0));
    assert_false(jm_is_free(0));
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        const unsigned states[3] = {code + JM_PLAIN, code + JM_FREE, code + JM_WITNESS};
        for (unsigned kind = 0; kind < 3; kind++) {
            unsigned value = states[kind];
            require(value < 256 && !used[value], "class %u: %u means something else too", code,
                    value);
            used[value] = true;
            require(jm_is_plain(value) == (kind == 0), "plain(%u)", value);
            require(jm_is_free(value) == (kind == 1), "free(%u)", value);
            require(jm_is_witness(value) == (kind == 2), "witness(%u)", value);
            require(jm_is_live(value) == (kind != 1), "live(%u)", value);
            require(jm_state_class(value) == code, "the class of %u is not %u", value, code);
        }
    }
    for (unsigned value = 0; value < 256; value++) {
        bool is_queued = value >= JM_QUEUED && value <= JM_QUEUED + JM_QUEUED_CLASSES;
        require(jm_is_queued(value) == is_queued, "queued(%u)", value);
        bool is_other = value == JM_HOLE || value == JM_UNLISTED;
        require(used[value] + is_queued + is_other == 1, "%u means nothing, or two things", value);
    }
    assert_true(jm_is_free(JM_UNLISTED));
    assert_false(jm_is_free(JM_HOLE));
}

static void a_queued_object_keeps_its_class_where_there_is_a_value_for_it(void **state)
{
    (void)state;
    for (unsigned code = 1; code <= JM_CLASSES; code++) {
        const unsigned value = jm_queued_state(code);
        require(jm_is_queued(value), "class %u: %u is not queued", code, value);
        require(value == JM_QUEUED + (code <= JM_QUEUED_CLASSES ? code : 0), "class %u: %u", code,
                value);
    }
}

/* Each state gives the granules of its class, or 0 if it has none. */
static void states_tell_their_granules(void **state)
{
    (void)state;
    for (unsigned value = 0; value <= UINT8_MAX; value++) {
        size_t granules = 0;

        if (jm_is_live(value) || (jm_is_free(value) && value != JM_UNLISTED)) {
            granules = jm_class_granules[jm_state_class(value)];
        } else if (jm_is_queued(value) && value != JM_QUEUED) {
            granules = jm_class_granules[value - JM_QUEUED];
        }
        assert_int_equal(jm_state_granules[value], granules);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_count_gets_the_smallest_class_that_fits),
        cmocka_unit_test(classes_grow_and_end_at_the_largest_object),
        cmocka_unit_test(waste_is_an_eighth_at_most),
        cmocka_unit_test(the_near_class_is_a_seventh_larger_at_most),
        cmocka_unit_test(what_serves_is_a_quarter_larger_at_most),
        cmocka_unit_test(the_largest_class_within_a_stretch),
        cmocka_unit_test(a_state_byte_says_one_thing),
        cmocka_unit_test(a_queued_object_keeps_its_class_where_there_is_a_value_for_it),
        cmocka_unit_test(states_tell_their_granules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
