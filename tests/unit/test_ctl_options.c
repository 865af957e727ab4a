/* The command line of pawlctl: words, options, times, and what it says when they are wrong. */
#include "ctl/histogram.h"
#include "ctl/options.h"
#include "ctl/time_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1790000000000)

static char error[OPTION_TEXT_MAX];

/* Read "a b c" as arguments; at most 16 of them. */
static bool parse(struct options *options, const char *line)
{
    static char text[512];
    char *arguments[80];
    int count = 0;

    error[0] = '\0';
    snprintf(text, sizeof(text), "%s", line);
    for (char *at = text; *at != '\0'; at++) {
        if (at == text || at[-1] == '\0') {
            arguments[count++] = at;
        }
        if (*at == ' ') {
            *at = '\0';
        }
    }
    return options_parse(options, count, arguments, error);
}

static void options_stand_before_and_behind_the_command(void **state)
{
    struct options options;

    (void)state;
    assert_true(parse(&options, "--addr unix:/s --json check --rate=5/minute alice bob"));
    assert_int_equal(options.command->id, COMMAND_CHECK);
    assert_string_equal(option_text(&options, OPTION_ADDR_ID), "unix:/s");
    assert_string_equal(option_text(&options, OPTION_RATE_ID), "5/minute");
    assert_true(option_given(&options, OPTION_JSON_ID));
    assert_int_equal(options.word_count, 2);
    assert_string_equal(options.words[1], "bob");
}

static void a_command_may_be_two_words(void **state)
{
    struct options options;

    (void)state;
    assert_true(parse(&options, "token check --jti j"));
    assert_int_equal(options.command->id, COMMAND_TOKEN_CHECK);
    assert_int_equal(options.word_count, 0);
    assert_false(parse(&options, "token"));
    assert_non_null(strstr(error, "token check"));
}

static void a_value_may_begin_with_a_dash_and_words_behind_two_dashes_too(void **state)
{
    struct options options;

    (void)state;
    assert_true(parse(&options, "revoke subject --sub s --before -5m"));
    assert_string_equal(option_text(&options, OPTION_BEFORE_ID), "-5m");
    assert_true(parse(&options, "check --rate 1/s -- --json -x"));
    assert_false(option_given(&options, OPTION_JSON_ID));
    assert_string_equal(options.words[0], "--json");
    assert_false(parse(&options, "check --rate 1/s -x"));
}

static void unknown_words_are_answered_with_the_nearest_one(void **state)
{
    struct options options;

    (void)state;
    assert_false(parse(&options, "chekc a"));
    assert_non_null(strstr(error, "did you mean \"check\"?"));
    assert_false(parse(&options, "check --rat 5/minute a"));
    assert_non_null(strstr(error, "did you mean --rate?"));
    assert_false(parse(&options, "xyzzyxyzzy"));
    assert_null(strstr(error, "did you mean"));
    assert_false(parse(&options, "check --xyzzyxyzzy"));
    assert_null(strstr(error, "did you mean"));
}

static void what_a_command_does_not_take_or_lacks_is_refused(void **state)
{
    struct options options;

    (void)state;
    assert_false(parse(&options, "ping --rate 5/minute"));
    assert_non_null(strstr(error, "ping: --rate"));
    assert_false(parse(&options, "rotate --exp +1h"));
    assert_non_null(strstr(error, "--from"));
    assert_false(parse(&options, "check --rate 5/minute"));
    assert_false(parse(&options, "refund --rate 5/minute a b"));
    assert_false(parse(&options, "check --rate"));
    assert_false(parse(&options, "check --rate 1/s --rate 2/s a"));
    assert_false(parse(&options, "check --json=yes a"));
    assert_true(parse(&options, "rotate --help"));
}

static void numbers_are_whole_and_bounded(void **state)
{
    struct options options;

    (void)state;
    assert_true(parse(&options, "check --cost 2147483648 --limit l a"));
    assert_int_equal(option_number(&options, OPTION_COST_ID, 1), INT64_C(2147483648));
    assert_false(parse(&options, "check --cost -1 --limit l a"));
    assert_false(parse(&options, "check --cost 1x --limit l a"));
    assert_false(parse(&options, "check --cost= --limit l a"));
    assert_false(parse(&options, "check --cost 99999999999999999999 --limit l a"));
    assert_true(parse(&options, "check --limit l a"));
    assert_int_equal(option_number(&options, OPTION_COST_ID, 1), 1);
}

static void at_most_64_words_are_taken(void **state)
{
    struct options options;
    char line[512] = "check --limit l";

    (void)state;
    for (int i = 0; i < 63; i++) {
        strncat(line, " k", sizeof(line) - strlen(line) - 1);
    }
    assert_true(parse(&options, line));
    assert_int_equal(options.word_count, 63);
    strncat(line, " k k", sizeof(line) - strlen(line) - 1);
    assert_false(parse(&options, line));
}

static void charges_are_hexadecimal_words(void **state)
{
    uint64_t words[2];

    (void)state;
    assert_int_equal(options_hex_list("00ff", words, 2), 1);
    assert_int_equal(words[0], 255);
    assert_int_equal(options_hex_list("1,FFFFFFFFFFFFFFFF", words, 2), 2);
    assert_true(words[1] == UINT64_MAX);
    assert_int_equal(options_hex_list("", words, 2), 0);
    assert_int_equal(options_hex_list("1,", words, 2), 0);
    assert_int_equal(options_hex_list("1,2,3", words, 2), 0);
    assert_int_equal(options_hex_list("12345678901234567", words, 2), 0);
    assert_int_equal(options_hex_list("xyz", words, 2), 0);
}

static int64_t time_of(const char *text)
{
    const char *hint = NULL;
    int64_t ms = -1;

    return time_text_parse(text, NOW_MS, &ms, &hint) ? ms : -1;
}

static void times_are_seconds_or_rfc_3339_or_relative(void **state)
{
    (void)state;
    assert_int_equal(time_of("0"), 0);
    assert_int_equal(time_of("1790000000"), NOW_MS);
    assert_int_equal(time_of("1790000000.25"), NOW_MS + 250);
    assert_int_equal(time_of("now"), NOW_MS);
    assert_int_equal(time_of("+1h"), NOW_MS + 3600000);
    assert_int_equal(time_of("-5m"), NOW_MS - 300000);
    assert_int_equal(time_of("+90"), NOW_MS + 90000);
    assert_int_equal(time_of("1970-01-01"), 0);
    assert_int_equal(time_of("2000-02-29T12:00:00Z"), INT64_C(951825600000));
    assert_int_equal(time_of("2000-02-29 14:00:00+02:00"), INT64_C(951825600000));
    assert_int_equal(time_of("2000-02-29t12:00:00.125z"), INT64_C(951825600125));
    assert_int_equal(time_of("2026-12-31T23:59"), INT64_C(1798761540000));
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "tomorrow",
        "2001-02-29",
        "2026-13-01",
        "2026-1-1",
        "1969-12-31",
        "2026-01-01T24:00:00Z",
        "2026-01-01T10:00:5",
        "+",
        "-1000000000m",
        "2026-01-01T10:00:00+2",
        "1790000000000",
        "2026-01-01T",
        "-99999w",
        "12:00",
        "1e9",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (time_of(wrong[i]) != -1) {
            fail_msg("\"%s\" was taken as %lld", wrong[i], (long long)time_of(wrong[i]));
        }
    }
}

static void times_are_resolved_against_the_clock_that_is_given(void **state)
{
    struct options options;

    (void)state;
    assert_true(parse(&options, "family open --sub s --jti j --exp +1h"));
    assert_true(options_resolve(&options, NOW_MS, error));
    assert_int_equal(option_seconds(&options, OPTION_EXP_ID), 1790003600);
    assert_true(parse(&options, "family open --sub s --jti j --exp soon"));
    assert_false(options_resolve(&options, NOW_MS, error));
    assert_non_null(strstr(error, "--exp: soon"));
}

static void durations_are_read(void **state)
{
    uint64_t ms = 0;

    (void)state;
    assert_true(duration_text_parse("5s", &ms) && ms == 5000);
    assert_true(duration_text_parse("500ms", &ms) && ms == 500);
    assert_true(duration_text_parse("1h30m", &ms) && ms == 5400000);
    assert_true(duration_text_parse("1.5s", &ms) && ms == 1500);
    assert_true(duration_text_parse("7", &ms) && ms == 7000);
    assert_true(duration_text_parse("1000000d", &ms));
    assert_false(duration_text_parse("1000001d", &ms));
    assert_false(duration_text_parse("", &ms));
    assert_false(duration_text_parse("s", &ms));
    assert_false(duration_text_parse("5 s", &ms));
    assert_false(duration_text_parse("1h30", &ms));
    assert_false(duration_text_parse("99999999999999999999s", &ms));
}

static void assert_duration(uint64_t ms, const char *wanted)
{
    char text[DURATION_TEXT_BYTES];

    duration_text_format(ms, text);
    assert_string_equal(text, wanted);
}

static void durations_are_written_for_people(void **state)
{
    (void)state;
    assert_duration(0, "0s");
    assert_duration(90, "90ms");
    assert_duration(1000, "1s");
    assert_duration(1550, "1.5s");
    assert_duration(60000, "1m");
    assert_duration(90000, "1m30s");
    assert_duration(3600000, "1h");
    assert_duration(93600000, "1d2h");
    assert_duration(UINT64_MAX, "213503982334d14h");
}

static void times_are_written_as_rfc_3339(void **state)
{
    char text[TIME_TEXT_BYTES];

    (void)state;
    time_text_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    time_text_format(951825600, text);
    assert_string_equal(text, "2000-02-29T12:00:00Z");
    time_text_format(UINT64_C(4102444799), text);
    assert_string_equal(text, "2099-12-31T23:59:59Z");
    time_text_format(UINT64_C(253402300799), text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    time_text_format(UINT64_MAX, text);
    assert_string_equal(text, "far away");
}

static void every_day_written_reads_back_as_the_same(void **state)
{
    char text[TIME_TEXT_BYTES];

    (void)state;
    for (uint64_t day = 0; day < UINT64_C(73200); day += 13) {
        time_text_format(day * 86400 + 86399, text);
        assert_int_equal(time_of(text), (int64_t)(day * 86400 + 86399) * 1000);
    }
}

static void a_percentile_is_off_by_less_than_half_a_percent(void **state)
{
    static struct histogram histogram;

    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    assert_int_equal(histogram_percentile(&histogram, 0.5), 0);
    for (uint64_t value = 1; value <= 100000; value++) {
        histogram_add(&histogram, value * 100);
    }
    for (int percent = 1; percent < 100; percent++) {
        double got = (double)histogram_percentile(&histogram, percent / 100.0);
        double wanted = percent * 100000.0;

        assert_true(got > wanted * 0.995 && got < wanted * 1.005);
    }
    assert_int_equal(histogram_percentile(&histogram, 1.0), 10000000);
    histogram_add(&histogram, UINT64_MAX);
    assert_true(histogram.max == UINT64_MAX);
}

static void small_latencies_are_exact(void **state)
{
    static struct histogram histogram;

    (void)state;
    for (uint64_t value = 0; value < 512; value++) {
        memset(&histogram, 0, sizeof(histogram));
        histogram_add(&histogram, value);
        histogram_add(&histogram, 600);
        assert_int_equal(histogram_percentile(&histogram, 0.0), value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_before_and_behind_the_command),
        cmocka_unit_test(a_command_may_be_two_words),
        cmocka_unit_test(a_value_may_begin_with_a_dash_and_words_behind_two_dashes_too),
        cmocka_unit_test(unknown_words_are_answered_with_the_nearest_one),
        cmocka_unit_test(what_a_command_does_not_take_or_lacks_is_refused),
        cmocka_unit_test(numbers_are_whole_and_bounded),
        cmocka_unit_test(at_most_64_words_are_taken),
        cmocka_unit_test(charges_are_hexadecimal_words),
        cmocka_unit_test(times_are_seconds_or_rfc_3339_or_relative),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(times_are_resolved_against_the_clock_that_is_given),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(durations_are_written_for_people),
        cmocka_unit_test(times_are_written_as_rfc_3339),
        cmocka_unit_test(every_day_written_reads_back_as_the_same),
        cmocka_unit_test(a_percentile_is_off_by_less_than_half_a_percent),
        cmocka_unit_test(small_latencies_are_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
