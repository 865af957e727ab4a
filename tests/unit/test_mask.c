#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/mask.h"

static const struct pawl_subkey key = { { 1, 2, 3 } };
static const struct pawl_subkey other_key = { { 9 } };

static const char *mask_of(const void *value, size_t size)
{
    static char out[PAWL_MASKED_BYTES];

    memset(out, '!', sizeof(out));
    size_t written = pawl_mask(&key, pawl_bytes_of(value, size), out);

    assert_int_equal(written, strlen(out));
    return out;
}

/* The part in front of the digits, and that there are eight of them. */
static void assert_shows(const char *value, const char *shown)
{
    const char *masked = mask_of(value, strlen(value));

    assert_int_equal(strlen(masked), strlen(shown) + 3 + 8);
    assert_memory_equal(masked, shown, strlen(shown));
    assert_memory_equal(masked + strlen(shown), "***", 3);
    assert_int_equal(strspn(masked + strlen(shown) + 3, "0123456789abcdef"), 8);
}

static void the_first_two_characters_are_shown_and_the_rest_is_not(void **state)
{
    (void)state;
    assert_shows("alice@example.org", "al");
    assert_shows("user", "us");
    assert_shows("\xc3\xa9\xc3\xa8xyz", "\xc3\xa9\xc3\xa8");
}

static void what_is_too_short_to_hide_anything_shows_nothing(void **state)
{
    (void)state;
    assert_shows("a", "");
    assert_shows("ab", "");
    assert_shows("abc", "");
    assert_shows("\xc3\xa9\xc3\xa9\xc3\xa9", "");
}

static void nothing_stays_nothing(void **state)
{
    (void)state;
    assert_string_equal(mask_of("", 0), "");
    assert_string_equal(mask_of(NULL, 0), "");
}

static void of_an_ip_address_the_first_half_is_shown(void **state)
{
    (void)state;
    assert_shows("192.0.2.77", "192.0");
    assert_shows("1.2.3.4", "1.2");
    assert_shows("2001:db8:1:2:3:4:5:6", "2001:db8:1:2");
    assert_shows("2001:DB8::77", "2001:db8:0:0");
    assert_shows("::1", "0:0:0:0");
    assert_shows("::", "0:0:0:0");
    assert_shows("fe80::", "fe80:0:0:0");
    assert_shows("::ffff:192.0.2.77", "0:0:0:0");
    assert_shows("1:2:3:4:5:6:7::", "1:2:3:4");
}

static void what_only_looks_like_an_address_is_a_word(void **state)
{
    static const char *const words[] = { "1.2.3",    "1.2.3.4.5",         "1.2.3.256",
                                         "1.2.3.",   "12:34:56",          "1:::2",
                                         "1::2::3",  "12345::1",          "1:2:3:4:5:6:7:8:9",
                                         "10.0.0.x", "1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7:8:" };

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char start[3] = { words[i][0], words[i][1], 0 };

        assert_shows(words[i], start);
    }
}

static void what_cannot_be_printed_shows_as_a_question_mark(void **state)
{
    (void)state;
    assert_memory_equal(mask_of("\x00\xff zz", 5), "??***", 5);
    assert_memory_equal(mask_of("\n\x7f zz", 5), "??***", 5);
    assert_memory_equal(mask_of("\xed\xa0\x80zzzz", 7), "?z***", 5);
    assert_memory_equal(mask_of("\xc2\x85zzzz", 6), "?z***", 5);
}

static void the_same_value_has_the_same_digits_and_another_secret_gives_others(void **state)
{
    char one[PAWL_MASKED_BYTES];
    char two[PAWL_MASKED_BYTES];

    (void)state;
    (void)pawl_mask(&key, pawl_bytes_of("alice", 5), one);
    (void)pawl_mask(&key, pawl_bytes_of("alice", 5), two);
    assert_string_equal(one, two);
    (void)pawl_mask(&key, pawl_bytes_of("alicf", 5), two);
    assert_string_not_equal(one, two);
    (void)pawl_mask(&other_key, pawl_bytes_of("alice", 5), two);
    assert_string_not_equal(one, two);
}

static void no_input_writes_past_the_room(void **state)
{
    uint8_t value[64];
    uint32_t random = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        static const char alphabet[] = "0123456789abcdef::::....\xf0\x9f\x98\x80\xc3";
        size_t size = 1 + round % sizeof(value);

        for (size_t i = 0; i < size; i++) {
            random = random * 1664525 + 1013904223;
            value[i] = (uint8_t)alphabet[(random >> 16) % (sizeof(alphabet) - 1)];
        }
        char out[PAWL_MASKED_BYTES + 4];

        memset(out, 0x55, sizeof(out));
        assert_true(pawl_mask(&key, pawl_bytes_of(value, size), out) < PAWL_MASKED_BYTES);
        assert_int_equal(out[PAWL_MASKED_BYTES], 0x55);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_two_characters_are_shown_and_the_rest_is_not),
        cmocka_unit_test(what_is_too_short_to_hide_anything_shows_nothing),
        cmocka_unit_test(nothing_stays_nothing),
        cmocka_unit_test(of_an_ip_address_the_first_half_is_shown),
        cmocka_unit_test(what_only_looks_like_an_address_is_a_word),
        cmocka_unit_test(what_cannot_be_printed_shows_as_a_question_mark),
        cmocka_unit_test(the_same_value_has_the_same_digits_and_another_secret_gives_others),
        cmocka_unit_test(no_input_writes_past_the_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
