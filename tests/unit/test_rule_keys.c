/* Overrides and bypass lists: which keys they mean, and which they never mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/rule_keys.h"

static const struct pawl_subkey key = { { 7 } };

static struct pawl_rule_keys *keys;
static struct pawl_error error;

static int forget(void **state)
{
    (void)state;
    pawl_rule_keys_destroy(keys);
    keys = NULL;
    return 0;
}

static enum pawl_status make(struct pawl_override_settings *overrides, unsigned override_count,
                             const char *const *bypass, unsigned bypass_count)
{
    struct pawl_limit_settings from = {
        .name = "api",
        .rates = { { .count = 100, .window_ms = 60000 }, { .count = 1000, .window_ms = 3600000 } },
        .rate_count = 2,
        .overrides = overrides,
        .override_count = override_count,
        .bypass = { bypass, bypass_count },
    };

    (void)forget(NULL);
    return pawl_rule_keys_create(&from, &key, &keys, &error);
}

static struct pawl_override_settings override_of(const char *name, uint64_t count)
{
    return (struct pawl_override_settings){
        .key = name,
        .rates = { { .count = count, .window_ms = 60000 },
                   { .count = count * 10, .window_ms = 3600000 } },
        .rate_count = 2,
    };
}

static struct pawl_key_text text_of(const char *first, const char *second)
{
    struct pawl_bytes parts[2] = { pawl_bytes_of(first, strlen(first)) };
    struct pawl_key_text text;

    if (second != NULL) {
        parts[1] = pawl_bytes_of(second, strlen(second));
    }
    assert_true(pawl_key_text_make(&text, parts, second != NULL ? 2 : 1));
    return text;
}

static uint64_t count_for(const char *first, const char *second)
{
    struct pawl_key_text text = text_of(first, second);
    const struct pawl_rate *rates = pawl_rule_keys_rates(keys, &text);

    return rates != NULL ? rates[0].count : 0;
}

static bool passes(const char *first, const char *second)
{
    struct pawl_key_text text = text_of(first, second);

    return pawl_rule_keys_bypass(keys, &text);
}

static void a_limit_without_any_has_nothing(void **state)
{
    (void)state;
    assert_int_equal(make(NULL, 0, NULL, 0), PAWL_OK);
    assert_null(keys);
    assert_int_equal(pawl_rule_keys_overrides(keys), 0);
    assert_int_equal(pawl_rule_keys_bypasses(keys), 0);
}

static void an_override_means_its_key_and_no_other(void **state)
{
    struct pawl_override_settings overrides[] = { override_of("anna", 7), override_of("a|b", 8),
                                                  override_of("a\\|b", 9), override_of("c\\d", 3),
                                                  override_of("", 4) };

    (void)state;
    assert_int_equal(make(overrides, 5, NULL, 0), PAWL_OK);
    assert_int_equal(pawl_rule_keys_overrides(keys), 5);
    assert_int_equal(count_for("anna", NULL), 7);
    assert_int_equal(count_for("a", "b"), 8);
    assert_int_equal(count_for("a|b", NULL), 9);
    assert_int_equal(count_for("c\\d", NULL), 3);
    assert_int_equal(count_for("", NULL), 4);
    assert_int_equal(count_for("ann", NULL), 0);
    assert_int_equal(count_for("anna", ""), 0);
    assert_int_equal(count_for("a", NULL), 0);
    assert_int_equal(count_for("", "anna"), 0);
    assert_false(passes("anna", NULL));
    struct pawl_key_text text = text_of("anna", NULL);

    assert_int_equal(pawl_rule_keys_rates(keys, &text)[1].count, 70);
}

static void sixty_five_thousand_overrides_are_each_found(void **state)
{
    static struct pawl_override_settings overrides[PAWL_SETTINGS_OVERRIDES_MAX];
    static char names[PAWL_SETTINGS_OVERRIDES_MAX][12];

    (void)state;
    for (unsigned i = 0; i < PAWL_SETTINGS_OVERRIDES_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "key-%u", i);
        overrides[i] = override_of(names[i], i + 1);
    }
    assert_int_equal(make(overrides, PAWL_SETTINGS_OVERRIDES_MAX, NULL, 0), PAWL_OK);
    for (unsigned i = 0; i < PAWL_SETTINGS_OVERRIDES_MAX; i++) {
        assert_int_equal(count_for(names[i], NULL), i + 1);
    }
    assert_int_equal(count_for("key-65536", NULL), 0);
}

static void wrong_overrides_are_refused_by_name(void **state)
{
    struct pawl_override_settings overrides[] = { override_of("anna", 7), override_of("a|b", 8) };

    (void)state;
    overrides[1].rate_count = 1;
    assert_int_equal(make(overrides, 2, NULL, 0), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "'a|b' needs as many rates"));
    overrides[1] = override_of("b", 1);
    overrides[1].rates[1].window_ms = 5;
    assert_int_equal(make(overrides, 2, NULL, 0), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "windows"));
    overrides[0] = override_of("a\\\\b", 1);
    overrides[1] = override_of("a\\b", 1); /* the same key in another spelling */
    assert_int_equal(make(overrides, 2, NULL, 0), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "twice"));
    overrides[1] = override_of("1|2|3|4|5|6|7|8|9", 1);
    assert_int_equal(make(overrides, 2, NULL, 0), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "8 parts"));
}

static void a_bypass_entry_means_a_whole_key_or_a_first_part(void **state)
{
    const char *const list[] = { "monitor", "10.0.0.1", "a|b", "x\\|y", "star\\*" };

    (void)state;
    assert_int_equal(make(NULL, 0, list, 5), PAWL_OK);
    assert_int_equal(pawl_rule_keys_bypasses(keys), 5);
    assert_true(passes("monitor", NULL));
    assert_true(passes("monitor", "any"));
    assert_false(passes("monitors", NULL));
    assert_false(passes("any", "monitor"));
    assert_true(passes("a", "b"));
    assert_false(passes("a", "c"));
    assert_false(passes("a|b", NULL)); /* who names himself so is another */
    assert_true(passes("x|y", NULL));
    assert_false(passes("x", "y"));
    assert_true(passes("star*", NULL));
    assert_false(passes("stars", NULL));
    assert_false(passes("", NULL));
    assert_int_equal(count_for("monitor", NULL), 0);
}

static void a_prefix_means_every_key_that_begins_so(void **state)
{
    const char *const list[] = { "10.0.*", "10.*", "team|a*", "x*", "10.0.0.*" };

    (void)state;
    assert_int_equal(make(NULL, 0, list, 5), PAWL_OK);
    assert_int_equal(pawl_rule_keys_bypasses(keys), 5);
    assert_true(passes("10.0.0.1", NULL));
    assert_true(passes("10.9", "more"));
    assert_true(passes("10.", NULL));
    assert_false(passes("10", NULL));
    assert_false(passes("110.0", NULL));
    assert_true(passes("team", "anna"));
    assert_false(passes("team", "bert"));
    assert_false(passes("team|anna", NULL));
    assert_true(passes("x", NULL));
    assert_true(passes("xyz", NULL));
    assert_false(passes("w", NULL));
    assert_false(passes("y", NULL));
}

static void a_lone_star_means_every_key(void **state)
{
    const char *const list[] = { "*" };

    (void)state;
    assert_int_equal(make(NULL, 0, list, 1), PAWL_OK);
    assert_true(passes("", NULL));
    assert_true(passes("a", "b"));
}

static void a_key_as_long_as_allowed_has_a_text_and_a_longer_one_has_none(void **state)
{
    static uint8_t bytes[1200];
    struct pawl_bytes part = { bytes, 1024 };
    struct pawl_key_text text;

    (void)state;
    memset(bytes, '|', sizeof(bytes));
    assert_true(pawl_key_text_make(&text, &part, 1));
    assert_int_equal(text.size, 2048);
    part.size = 1200;
    assert_false(pawl_key_text_make(&text, &part, 1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, forget)
    const struct CMUnitTest tests[] = {
        TEST(a_limit_without_any_has_nothing),
        TEST(an_override_means_its_key_and_no_other),
        TEST(sixty_five_thousand_overrides_are_each_found),
        TEST(wrong_overrides_are_refused_by_name),
        TEST(a_bypass_entry_means_a_whole_key_or_a_first_part),
        TEST(a_prefix_means_every_key_that_begins_so),
        TEST(a_lone_star_means_every_key),
        TEST(a_key_as_long_as_allowed_has_a_text_and_a_longer_one_has_none),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
