/* Masked identities: what they show, and what they never show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/mask.h"

static const struct pawl_subkey key = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };

static struct pawl_bytes text(const char *value)
{
    return pawl_bytes_of(value, strlen(value));
}

/* The mask of @value, which has to begin with @shown, then "***" and 8 digits. */
static void assert_shows(const char *value, const char *shown)
{
    char out[PAWL_MASK_BYTES];
    size_t size = pawl_mask(&key, text(value), out);

    assert_int_equal(size, strlen(out));
    assert_int_equal(size, strlen(shown) + 11);
    assert_memory_equal(out, shown, strlen(shown));
    assert_memory_equal(out + strlen(shown), "***", 3);
    assert_int_equal(strspn(out + strlen(shown) + 3, "0123456789abcdef"), 8);
}

static void a_name_shows_two_characters_and_never_more_than_half(void **state)
{
    (void)state;
    assert_shows("alice@example.org", "al");
    assert_shows("anna", "an");
    assert_shows("bob", "b");
    assert_shows("42", "4");
    assert_shows("x", "");
}

static void bytes_that_do_not_print_are_question_marks(void **state)
{
    (void)state;
    assert_shows("\x1b[31mred", "?[");
    assert_shows("\xd0\xb0\xd0\xbd\xd0\xbd\xd0\xb0", "??");
    assert_shows("a|b|c", "a?");
}

static void an_ipv4_address_shows_its_first_half(void **state)
{
    (void)state;
    assert_shows("10.0.0.7", "10.0.");
    assert_shows("192.168.255.255", "192.168.");
    assert_shows("256.1.1.1", "25"); /* not an address */
    assert_shows("1.2.3", "1.");
    assert_shows("1.2.3.4.5", "1.");
    assert_shows("1..2.3", "1.");
    assert_shows("1.2.3.", "1.");
}

static void an_ipv6_address_shows_its_first_half(void **state)
{
    (void)state;
    assert_shows("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:");
    assert_shows("2001:DB8::1", "2001:db8:0:0:");
    assert_shows("2001:db8:1:2::/64", "2001:db8:1:2:");
    assert_shows("::1", "0:0:0:0:");
    assert_shows("::", "0:0:0:0:");
    assert_shows("1:2:3:4:5:6:7:8:9", "1:"); /* not addresses */
    assert_shows("1:2:3", "1:");
    assert_shows("1::2::3", "1:");
    assert_shows("12345::", "12");
    assert_shows("1:2:3:4:5:6::8", "1:2:3:4:");
    assert_shows("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:");
}

static void an_empty_value_gives_nothing(void **state)
{
    char out[PAWL_MASK_BYTES] = "?";

    (void)state;
    assert_int_equal(pawl_mask(&key, pawl_bytes_of(NULL, 0), out), 0);
    assert_string_equal(out, "");
}

static void the_digits_depend_on_value_and_key(void **state)
{
    const struct pawl_subkey other = { { 9 } };
    char a[PAWL_MASK_BYTES], b[PAWL_MASK_BYTES], c[PAWL_MASK_BYTES], again[PAWL_MASK_BYTES];

    (void)state;
    (void)pawl_mask(&key, text("alice"), a);
    (void)pawl_mask(&key, text("alice"), again);
    (void)pawl_mask(&key, text("alicf"), b);
    (void)pawl_mask(&other, text("alice"), c);
    assert_string_equal(a, again);
    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
}

static void parts_are_masked_each_and_what_does_not_fit_as_one(void **state)
{
    struct pawl_bytes parts[8];
    char out[2 * PAWL_MASK_BYTES];

    (void)state;
    parts[0] = text("alice");
    parts[1] = text("10.0.0.7");
    assert_int_equal(pawl_mask_parts(&key, parts, 2, out, sizeof(out)), 13 + 1 + 16);
    assert_memory_equal(out, "al***", 5);
    assert_memory_equal(out + 13, "|10.0.***", 9);
    for (unsigned i = 0; i < 8; i++) {
        parts[i] = text("2001:db8:1:2:3:4:5:6");
    }
    size_t size = pawl_mask_parts(&key, parts, 8, out, sizeof(out));

    assert_true(size < sizeof(out) && out[size] == '\0');
    assert_memory_equal(out + 24, "|***", 4);
    assert_int_equal(size, 24 + 1 + 11);
    assert_int_equal(pawl_mask_parts(&key, parts, 0, out, sizeof(out)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_shows_two_characters_and_never_more_than_half),
        cmocka_unit_test(bytes_that_do_not_print_are_question_marks),
        cmocka_unit_test(an_ipv4_address_shows_its_first_half),
        cmocka_unit_test(an_ipv6_address_shows_its_first_half),
        cmocka_unit_test(an_empty_value_gives_nothing),
        cmocka_unit_test(the_digits_depend_on_value_and_key),
        cmocka_unit_test(parts_are_masked_each_and_what_does_not_fit_as_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
