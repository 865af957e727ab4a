#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pawl/v1/hot.h"
#include "unit/wire_build.h"

/* Requests at and over their caps, and bytes that are not protobuf. */

static struct pawl_wire_request request;
static struct build message;

static const uint32_t to_check[] = { PAWL_BODY_CHECK };
static const uint32_t to_item[] = { PAWL_BODY_CHECK, 1 };
static const uint32_t to_rate[] = { PAWL_BODY_CHECK, 1, 4 };
static const uint32_t to_check_token[] = { PAWL_BODY_CHECK, 4 };
static const uint32_t to_token_check[] = { PAWL_BODY_TOKEN_CHECK };
static const uint32_t to_token[] = { PAWL_BODY_TOKEN_CHECK, 1 };

/* Every message of a hot request, and its fields: number and wire type, from pawl.proto. */
static const struct place {
    const uint32_t *path;
    size_t depth;
    const char *types; /* by number from 1: v varint, l length-prefixed, - not known */
} places[] = {
    { NULL, 0, "vvlvlvv--------lllllllllllllllllll" },
    { to_check, 1, "lvvl-----------v" },
    { to_item, 2, "llvlvvl" },
    { to_rate, 3, "vvvvv" },
    { to_check_token, 2, "llllllvvlllll" },
    { to_token_check, 1, "l" },
    { to_token, 2, "llllllvvlllll" },
};
#define PLACES (sizeof(places) / sizeof(places[0]))

static int set_up(void **state)
{
    (void)state;
    message.size = 0;
    memset(&request, 0xa5, sizeof(request)); /* nothing may rely on zeros */
    return 0;
}

static enum pawl_status read_exactly(size_t size)
{
    uint8_t *copy = build_copy(&message, size);
    enum pawl_status status = pawl_wire_read_request(&request, pawl_bytes_of(copy, size));

    free(copy);
    return status;
}

static enum pawl_status read_built(void)
{
    return pawl_wire_read_request(&request, build_view(&message));
}

static void wrap(const struct place *place)
{
    build_wrap(&message, place->path, place->depth);
    if (place->depth == 0) {
        build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    }
}

static void assert_bytes(struct pawl_bytes bytes, const char *text)
{
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

/* ---- caps -------------------------------------------------------------------------------- */

static size_t bytes_cap(const struct place *place, uint32_t number)
{
    bool is_token = place->path == to_token || place->path == to_check_token;

    if (place->depth == 0) {
        return PAWL_NAMESPACE_MAX;
    }
    if (place->path == to_item) {
        return number == 2 ? PAWL_KEY_BYTES_MAX : PAWL_LIMIT_NAME_MAX;
    }
    if (is_token && number <= 6) {
        return PAWL_CLAIM_MAX;
    }
    return number == 11 ? PAWL_TOKEN_MAX : PAWL_FIELD_BYTES_MAX;
}

static bool is_message(const struct place *place, uint32_t number)
{
    return (place->depth == 0 && number != 3) || place->path == to_check ||
           place->path == to_token_check || (place->path == to_item && number == 4);
}

static void every_bytes_field_is_capped_on_both_sides(void **state)
{
    size_t fields = 0;

    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        for (uint32_t number = 1; number <= strlen(places[i].types); number++) {
            if (places[i].types[number - 1] != 'l' || is_message(&places[i], number)) {
                continue;
            }
            for (size_t over = 0; over < 2; over++) {
                message.size = 0;
                build_filler(&message, number, bytes_cap(&places[i], number) + over);
                wrap(&places[i]);
                assert_int_equal(read_built(), over == 0 ? PAWL_OK : PAWL_ETOOBIG);
            }
            fields++;
        }
    }
    assert_int_equal(fields, 1 + 3 + 11 + 11);
}

/* What is over a cap is refused before anybody looks whether it is there at all. */
static void a_cap_comes_before_the_bytes_that_pass_it(void **state)
{
    (void)state;
    build_tag(&message, 3, BUILD_LEN);
    build_varint(&message, PAWL_NAMESPACE_MAX + 1);
    assert_int_equal(read_built(), PAWL_ETOOBIG);
}

static void assert_count_cap(const struct place *place, uint32_t number, size_t cap)
{
    for (size_t over = 0; over < 2; over++) {
        message.size = 0;
        for (size_t i = 0; i < cap + over; i++) {
            build_zero(&message, number, BUILD_LEN);
        }
        wrap(place);
        assert_int_equal(read_built(), over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

static void items_key_parts_and_rates_are_counted_on_both_sides(void **state)
{
    (void)state;
    assert_count_cap(&places[1], 1, PAWL_ITEMS_MAX);
    assert_count_cap(&places[2], 2, PAWL_KEY_PARTS_MAX);
    assert_count_cap(&places[2], 4, PAWL_RATES_MAX);
}

static void the_rates_of_all_items_are_counted_together(void **state)
{
    struct build item = { 0 };

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        message.size = 0;
        item.size = 0;
        for (size_t i = 0; i < PAWL_RATES_MAX; i++) {
            build_zero(&item, 4, BUILD_LEN);
        }
        for (size_t i = 0; i < PAWL_RESULTS_MAX / PAWL_RATES_MAX; i++) {
            build_message(&message, 1, &item);
        }
        item.size = 0;
        for (size_t i = 0; i < over; i++) {
            build_zero(&item, 4, BUILD_LEN);
        }
        build_message(&message, 1, &item);
        wrap(&places[1]);
        assert_int_equal(read_built(), over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

static void a_tier_counts_towards_the_name_of_its_limit(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        message.size = 0;
        build_filler(&message, 7, 20 + over); /* in any order, and a dot between them */
        build_filler(&message, 1, PAWL_LIMIT_NAME_MAX - 21);
        wrap(&places[2]);
        assert_int_equal(read_built(), over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

static void a_request_may_be_as_large_as_its_cap_and_no_larger(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        message.size = 0;
        build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);                /* 3 bytes */
        build_filler(&message, 1000, PAWL_REQUEST_BYTES_MAX - 8 + over); /* and 5 */
        assert_int_equal(message.size, PAWL_REQUEST_BYTES_MAX + over);
        assert_int_equal(read_built(), over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

/* ---- bytes that are not protobuf --------------------------------------------------------- */

static void every_field_of_a_wrong_wire_type_is_refused(void **state)
{
    static const enum build_type types[] = { BUILD_VARINT, BUILD_I64, BUILD_LEN, BUILD_I32 };

    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        for (uint32_t number = 1; number <= strlen(places[i].types); number++) {
            char kind = places[i].types[number - 1];

            for (size_t j = 0; j < 4; j++) {
                bool good = kind == '-' || (kind == 'v' && types[j] == BUILD_VARINT) ||
                            (kind == 'l' && types[j] == BUILD_LEN);

                message.size = 0;
                build_zero(&message, number, types[j]);
                wrap(&places[i]);
                assert_int_equal(read_built(), good ? PAWL_OK : PAWL_EINVAL);
            }
        }
    }
}

static void groups_and_types_that_do_not_exist_are_refused_everywhere(void **state)
{
    static const uint32_t numbers[] = { 1, 200, 100000 };

    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        for (size_t j = 0; j < 3; j++) {
            for (unsigned type = 0; type < 8; type++) {
                if (type <= 2 || type == 5) {
                    continue;
                }
                message.size = 0;
                build_varint(&message, (uint64_t)numbers[j] << 3 | type);
                wrap(&places[i]);
                assert_int_equal(read_built(), PAWL_EINVAL);
            }
        }
    }
}

static void unknown_fields_of_every_type_are_skipped_everywhere(void **state)
{
    static const enum build_type types[] = { BUILD_VARINT, BUILD_I64, BUILD_LEN, BUILD_I32 };
    static const uint32_t numbers[] = { 14, 15, 200, 1000, 100000, (1U << 29) - 1 };

    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        message.size = 0;
        for (size_t j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++) {
            for (size_t k = 0; k < 4; k++) {
                build_zero(&message, numbers[j], types[k]);
            }
        }
        build_filler(&message, 1000, 300);
        wrap(&places[i]);
        assert_int_equal(read_built(), PAWL_OK);
        assert_int_equal(request.id, 0);
    }
}

static void an_unknown_field_cut_short_is_refused(void **state)
{
    static const struct {
        enum build_type type;
        size_t size;
    } cuts[] = { { BUILD_VARINT, 0 }, { BUILD_I64, 7 }, { BUILD_LEN, 0 }, { BUILD_I32, 3 } };
    static const uint8_t zeros[8];

    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        for (size_t j = 0; j < 4; j++) {
            message.size = 0;
            build_tag(&message, 1000, cuts[j].type);
            build_raw(&message, zeros, cuts[j].size);
            build_wrap(&message, places[i].path, places[i].depth);
            assert_int_equal(read_exactly(message.size), PAWL_EINVAL);
        }
    }
}

static void a_sub_message_may_not_reach_past_what_holds_it(void **state)
{
    (void)state;
    build_tag(&message, 1, BUILD_LEN); /* an item of 5 bytes in a check of 4 */
    build_varint(&message, 5);
    build_text(&message, 2, "");
    build_wrap(&message, to_check, 1);
    build_zero(&message, 1000, BUILD_I64); /* bytes that it would reach into */
    assert_int_equal(read_built(), PAWL_EINVAL);
}

/* ---- varints ----------------------------------------------------------------------------- */

static void varints_longer_than_need_be_read_the_same(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= 10; size++) {
        set_up(state);
        build_tag(&message, 1, BUILD_VARINT);
        build_varint_padded(&message, 77, size);
        build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
        assert_int_equal(read_exactly(message.size), PAWL_OK);
        assert_int_equal(request.id, 77);
    }
    for (unsigned size = 1; size <= 5; size++) {
        set_up(state);
        build_varint_padded(&message, 1 << 3 | BUILD_VARINT, size); /* the tag */
        build_varint(&message, 78);
        build_varint_padded(&message, 3 << 3 | BUILD_LEN, size);
        build_varint_padded(&message, 2, size); /* a length */
        build_raw(&message, "ab", 2);
        build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
        assert_int_equal(read_built(), PAWL_OK);
        assert_int_equal(request.id, 78);
        assert_bytes(request.namespace_, "ab");
    }
}

static void every_power_of_two_reads_back(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (unsigned minus = 0; minus < 2; minus++) {
            uint64_t value = (UINT64_C(1) << bit) - minus;

            message.size = 0;
            build_u64(&message, 1, value);
            build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
            assert_int_equal(read_built(), PAWL_OK);
            assert_true(request.id == value);
        }
    }
}

static void a_varint_over_64_bits_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        message.size = 0;
        build_tag(&message, i == 2 ? 1000 : 1, BUILD_VARINT);
        build_varint_padded(&message, 0, 9);
        message.data[message.size - 1] |= 0x80;
        build_byte(&message, i == 0 ? 0x02 : 0x81); /* bit 64, or an eleventh byte */
        if (i > 0) {
            build_byte(&message, 0);
        }
        build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
        assert_int_equal(read_built(), PAWL_EINVAL);
    }
}

static void a_tag_over_32_bits_or_of_number_zero_is_refused(void **state)
{
    static const struct {
        uint64_t tag;
        unsigned size;
    } bad[] = {
        { 0, 1 },
        { 2, 1 },
        { 0, 2 },
        { 5, 5 },
        { (UINT64_C(1) << 32) | 8, 5 },
        { 8, 6 },
        { (UINT64_C(1) << 35) | 8, 6 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        message.size = 0;
        build_varint_padded(&message, bad[i].tag, bad[i].size);
        for (size_t j = 0; j < 8; j++) {
            build_byte(&message, 0x08);
        }
        build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
        assert_int_equal(read_built(), PAWL_EINVAL);
    }
}

static void a_length_that_would_wrap_or_is_over_32_bits_is_refused(void **state)
{
    static const uint64_t lengths[] = {
        6,          UINT32_MAX,        UINT32_MAX - 8, UINT64_C(1) << 32, (UINT64_C(1) << 32) | 2,
        UINT64_MAX, UINT64_C(1) << 63,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (uint32_t number = 5; number < 2000; number += 1995) {
            message.size = 0;
            build_tag(&message, number == 5 ? PAWL_BODY_CHECK : 1000, BUILD_LEN);
            build_varint(&message, lengths[i]);
            build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
            build_zero(&message, 7, BUILD_VARINT);
            assert_int_equal(read_exactly(message.size), PAWL_EINVAL);
        }
    }
    message.size = 0;
    build_tag(&message, 3, BUILD_LEN);
    build_varint_padded(&message, 0, 6);
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_EINVAL);
}

static void bools_are_true_for_any_value_but_zero(void **state)
{
    static const uint64_t values[] = { 1, 2, 128, UINT64_C(1) << 32, UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        message.size = 0;
        build_u64(&message, 6, values[i]);
        build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
        assert_int_equal(read_built(), PAWL_OK);
        assert_true(request.forwarded);
    }
    build_u64(&message, 6, 0);
    assert_int_equal(read_built(), PAWL_OK);
    assert_false(request.forwarded);
}

static void a_32_bit_field_takes_the_low_bits_of_a_wider_value(void **state)
{
    (void)state;
    build_u64(&message, 2, (UINT64_C(5) << 32) | 7);
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.deadline_ms, 7);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_bytes_field_is_capped_on_both_sides),
        TEST(a_cap_comes_before_the_bytes_that_pass_it),
        TEST(items_key_parts_and_rates_are_counted_on_both_sides),
        TEST(the_rates_of_all_items_are_counted_together),
        TEST(a_tier_counts_towards_the_name_of_its_limit),
        TEST(a_request_may_be_as_large_as_its_cap_and_no_larger),
        TEST(every_field_of_a_wrong_wire_type_is_refused),
        TEST(groups_and_types_that_do_not_exist_are_refused_everywhere),
        TEST(unknown_fields_of_every_type_are_skipped_everywhere),
        TEST(an_unknown_field_cut_short_is_refused),
        TEST(a_sub_message_may_not_reach_past_what_holds_it),
        TEST(varints_longer_than_need_be_read_the_same),
        TEST(every_power_of_two_reads_back),
        TEST(a_varint_over_64_bits_is_refused),
        TEST(a_tag_over_32_bits_or_of_number_zero_is_refused),
        TEST(a_length_that_would_wrap_or_is_over_32_bits_is_refused),
        TEST(bools_are_true_for_any_value_but_zero),
        TEST(a_32_bit_field_takes_the_low_bits_of_a_wider_value),
    };

    return cmocka_run_group_tests_name("hot requests refused", tests, NULL, NULL);
}
