/* ops/settings: algorithms of limits, overrides, bypass lists. */
#include "core/limiter.h"
#include "unit/settings_loaded.h"

/* ---- algorithms ---------------------------------------------------------------------------- */

static void each_algorithm_has_its_own_settings(void **state)
{
    struct loaded *loaded = load("limits:\n"
                                 "  a: {rate: 10/s, algorithm: gcra, burst: 40, shadow: true}\n"
                                 "  b: {algorithm: calendar, anchor_day: 15, zone: Europe/Berlin,\n"
                                 "      rate: [1000/month, 50/day]}\n"
                                 "  c: {rate: 10/30s, algorithm: concurrency}\n"
                                 "  d: {rate: 10/30s}\n");
    const struct pawl_limit_settings *limit;

    (void)state;
    assert_good(loaded);
    limit = loaded->settings->limits;
    assert_int_equal(limit[0].algorithm, PAWL_ALGORITHM_GCRA);
    assert_int_equal(limit[0].burst, 40);
    assert_true(limit[0].shadow);
    assert_int_equal(limit[1].algorithm, PAWL_ALGORITHM_CALENDAR);
    assert_string_equal(limit[1].zone, "Europe/Berlin");
    assert_int_equal(limit[1].anchor_day, 15);
    assert_int_equal(limit[1].rate_count, 2);
    assert_int_equal(limit[1].rates[0].count, 1000);
    assert_int_equal(limit[1].rates[0].window_ms, 0);
    assert_int_equal(limit[1].rates[0].period, PAWL_PERIOD_MONTH);
    assert_int_equal(limit[1].rates[1].period, PAWL_PERIOD_DAY);
    assert_int_equal(limit[2].algorithm, PAWL_ALGORITHM_CONCURRENCY);
    assert_int_equal(limit[2].rates[0].count, 10);
    assert_int_equal(limit[2].rates[0].window_ms, 30000);
    assert_int_equal(limit[3].algorithm, PAWL_ALGORITHM_SLIDING);
    assert_string_equal(limit[3].zone, "UTC");
    assert_int_equal(limit[3].anchor_day, 1);
    assert_int_equal(limit[3].burst, 0);
    assert_false(limit[3].shadow);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
}

static void a_setting_of_another_algorithm_is_refused(void **state)
{
    (void)state;
    assert_refused("limits: {l: {rate: 1/s, burst: 4}}\n",
                   ":1:25: limits.l.burst: does nothing with this limit's algorithm");
    assert_refused("limits: {l: {rate: 1/s, zone: UTC}}\n", ":1:25: limits.l.zone: does nothing");
    assert_refused("limits: {l: {rate: 1/s, anchor_day: 2, algorithm: gcra}}\n",
                   ":1:25: limits.l.anchor_day: does nothing");
    assert_refused("limits: {l: {rate: 1/s, algorithm: gcra, precision: 8}}\n",
                   ":1:42: limits.l.precision: does nothing");
    assert_refused("limits: {l: {rate: [1/s, 9/h], algorithm: gcra, burst: 8}}\n",
                   ":1:56: limits.l.burst: is for a limit of one rate");
    assert_refused("limits: {l: {rate: 1/day, algorithm: calendar, anchor_day: 2}}\n",
                   ":1:60: limits.l.anchor_day: does nothing to hours and days");
    assert_refused("limits: {l: {rate: 1/week, algorithm: calendar, anchor_day: 8}}\n",
                   ":1:61: limits.l.anchor_day: a week has 7 days");
    assert_refused("limits: {l: {rate: 1/month, algorithm: calendar, anchor_day: 32}}\n",
                   ":1:62: limits.l.anchor_day: 32 is too much; give 1 to 31");
    assert_refused("limits: {l: {rate: 1/month, algorithm: calendar, zone: \"\"}}\n",
                   ":1:56: limits.l.zone: has 0 bytes");
    assert_refused("limits: {l: {rate: 1/s, shadow: maybe}}\n", ":1:33: limits.l.shadow: ");
}

static void rates_are_read_by_the_algorithm_wherever_it_stands(void **state)
{
    struct loaded *loaded = load("limits: {l: {rate: 7/year, algorithm: calendar}}\n");

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->limits[0].rates[0].period, PAWL_PERIOD_YEAR);
    done(loaded);
    assert_refused("limits: {l: {rate: 1000/month}}\n", "algorithm: calendar");
    assert_refused("limits: {l: {rate: 1000/month}}\n", ":1:25: limits.l.rate: ");
    assert_refused("limits: {l: {rate: 1000/5m, algorithm: calendar}}\n", ":1:25: limits.l.rate: ");
    assert_refused("limits: {l: {rate: 1000/2month, algorithm: calendar}}\n", ":1:25: limits.l.");
    assert_refused("limits: {l: {rate: [1/month, 2/month], algorithm: calendar}}\n",
                   ":1:30: limits.l.rate: the window of \"2/month\" is there twice");
}

static void another_algorithm_is_a_reloadable_change(void **state)
{
    struct loaded *before = load("limits: {l: {rate: 5/s}}\n");
    struct loaded *after = load("limits: {l: {rate: 5/s, algorithm: gcra, burst: 7}}\n");
    unsigned changes = 0;

    (void)state;
    assert_int_equal(pawl_settings_diff(before->settings, after->settings, count_change, &changes),
                     0);
    assert_int_equal(changes, 2);
    done(before);
    done(after);
}

/* ---- overrides ----------------------------------------------------------------------------- */

static void overrides_are_rates_of_the_limit_s_windows(void **state)
{
    struct loaded *loaded =
        load("limits:\n"
             "  api:\n"
             "    overrides:\n"
             "      zed: [9000/day, 600/minute]\n"
             "      \"a|b\": {rate: [0/minute, 0/day]}\n"
             "      'x\\|y\\\\': \"1/minute, 2/day\"\n"
             "    rate: [60/minute, 1000/day]\n"
             "  quota: {rate: 5/month, algorithm: calendar, overrides: {k: 9/month}}\n");
    const struct pawl_limit_settings *limit;

    (void)state;
    assert_good(loaded);
    limit = &loaded->settings->limits[0];
    assert_int_equal(limit->override_count, 3);
    assert_string_equal(limit->overrides[0].key, "a|b");
    assert_int_equal(limit->overrides[0].rates[1].count, 0);
    assert_string_equal(limit->overrides[1].key, "x\\|y\\\\");
    assert_string_equal(limit->overrides[2].key, "zed");
    assert_int_equal(limit->overrides[2].rate_count, 2);
    assert_int_equal(limit->overrides[2].rates[0].count, 600); /* in the limit's order */
    assert_int_equal(limit->overrides[2].rates[0].window_ms, 60000);
    assert_int_equal(limit->overrides[2].rates[1].count, 9000);
    assert_int_equal(loaded->settings->limits[1].overrides[0].rates[0].period, PAWL_PERIOD_MONTH);
    assert_int_equal(loaded->settings->limits[1].overrides[0].rates[0].count, 9);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
}

static void overrides_that_do_not_fit_are_refused_at_their_place(void **state)
{
    (void)state;
    assert_refused("limits: {l: {rate: 5/s, overrides: {k: 5/m}}}\n",
                   ":1:40: limits.l.overrides: \"k\" has to give a count for each window");
    assert_refused("limits: {l: {rate: 5/s, overrides: {a: 1/s, k: [5/s, 9/m]}}}\n",
                   ":1:48: limits.l.overrides: \"k\" has to give a count for each window");
    assert_refused("limits: {l: {rate: [5/s, 9/m], overrides: {k: {rate: 5/s}}}}\n",
                   ":1:54: limits.l.overrides: \"k\" has to give");
    assert_refused("limits: {l: {rate: 5/s, overrides: {k: 5/fortnight}}}\n",
                   ":1:42: limits.l.overrides: ");
    assert_refused("limits: {l: {rate: 5/s, overrides: {k: {raet: 5/s}}}}\n",
                   ":1:40: limits.l.overrides: \"k\" is not {rate: RATE}");
    assert_refused("limits: {l: {rate: 5/s, overrides: {'a\\b': 5/s}}}\n",
                   ":1:44: limits.l.overrides: a \\ stands before | or \\ only");
    assert_refused("limits: {l: {rate: 5/s, overrides: {'a\\': 5/s}}}\n", "a \\ stands before");
    assert_refused("limits: {l: {rate: 5/s, overrides: {\"\": 5/s}}}\n", "has an empty key");
    assert_refused("limits: {l: {rate: 5/s, overrides: [a]}}\n",
                   ":1:36: limits.l.overrides: is a list; write a mapping");
    assert_refused("limits: {l: {rate: 5/s, overrides: 5}}\n",
                   ":1:36: limits.l.overrides: is a text; write a mapping");
    assert_refused("limits: {l: {rate: 5/s, overrides: {\"a|||||||||||||||||\": 5/s}}}\n",
                   "a key has at most 16 parts");
}

static void all_overrides_that_do_not_fit_are_told_at_once(void **state)
{
    struct loaded *loaded = load("limits:\n  l:\n    rate: 5/s\n    overrides:\n"
                                 "      a: 5/m\n      b: 6/s\n      c: 7/fortnight\n");

    (void)state;
    assert_int_equal(loaded->problems.errors, 2);
    assert_told(loaded, ":5:10: limits.l.overrides: \"a\" has to give");
    assert_told(loaded, ":7:12: limits.l.overrides: ");
    done(loaded);
    loaded = load("limits: {l: {rate: 5/s, overrides: }}\n");
    assert_good(loaded);
    assert_int_equal(loaded->settings->limits[0].override_count, 0);
    done(loaded);
}

/* ---- bypass -------------------------------------------------------------------------------- */

static void bypass_lists_keys_and_prefixes(void **state)
{
    struct loaded *loaded = load("limits:\n"
                                 "  a: {rate: 5/s, bypass: [\"10.0.*\", 'x\\*', \"u|v*\"]}\n"
                                 "  b: {rate: 5/s, bypass: health}\n"
                                 "  c: {rate: 5/s, bypass: []}\n");
    const struct pawl_limit_settings *limit;

    (void)state;
    assert_good(loaded);
    limit = loaded->settings->limits;
    assert_int_equal(limit[0].bypass.count, 3);
    assert_string_equal(limit[0].bypass.items[0], "10.0.*");
    assert_string_equal(limit[0].bypass.items[1], "x\\*");
    assert_string_equal(limit[0].bypass.items[2], "u|v*");
    assert_int_equal(limit[1].bypass.count, 1);
    assert_string_equal(limit[1].bypass.items[0], "health");
    assert_int_equal(limit[2].bypass.count, 0);
    assert_null(limit[2].bypass.items);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    assert_refused("limits: {l: {rate: 5/s, bypass: [a, \"\"]}}\n",
                   ":1:37: limits.l.bypass: has 0 bytes; give 1 to");
    assert_refused("limits: {l: {rate: 5/s, bypass: [a, 'b\\c']}}\n",
                   ":1:37: limits.l.bypass: a \\ stands before |, \\ or * only");
    assert_refused("limits: {l: {rate: 5/s, bypass: {a: b}}}\n",
                   ":1:33: limits.l.bypass: is a map");
    assert_refused("limits: {l: {rate: 5/s, bypass: [[a]]}}\n",
                   ":1:34: limits.l.bypass: is a list");
}

static void a_changed_override_or_bypass_is_one_reloadable_change(void **state)
{
    struct loaded *before = load("limits: {l: {rate: 5/s, overrides: {k: 6/s}, bypass: [a, b]}}\n");
    struct loaded *after = load("limits: {l: {rate: 5/s, overrides: {k: 7/s}, bypass: [a, c]}}\n");
    unsigned changes = 0;

    (void)state;
    assert_int_equal(pawl_settings_diff(before->settings, after->settings, count_change, &changes),
                     0);
    assert_int_equal(changes, 2);
    done(before);
    done(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_algorithm_has_its_own_settings),
        cmocka_unit_test(a_setting_of_another_algorithm_is_refused),
        cmocka_unit_test(rates_are_read_by_the_algorithm_wherever_it_stands),
        cmocka_unit_test(another_algorithm_is_a_reloadable_change),
        cmocka_unit_test(overrides_are_rates_of_the_limit_s_windows),
        cmocka_unit_test(overrides_that_do_not_fit_are_refused_at_their_place),
        cmocka_unit_test(all_overrides_that_do_not_fit_are_told_at_once),
        cmocka_unit_test(bypass_lists_keys_and_prefixes),
        cmocka_unit_test(a_changed_override_or_bypass_is_one_reloadable_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
