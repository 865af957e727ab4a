/* Rates as text: what is read, what is refused and where, and the way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rate_text.h"

static void reads(const char *text, uint64_t count, uint32_t window_ms)
{
    struct pawl_rate rates[PAWL_RATES_MAX];
    struct pawl_rate_error error;
    size_t n = 0;

    if (pawl_rate_text_parse(pawl_bytes_of(text, strlen(text)), rates, &n, &error) != PAWL_OK) {
        fail_msg("\"%s\" refused at %zu: %s", text, error.position, error.text);
    }
    assert_int_equal(n, 1);
    assert_int_equal(rates[0].count, count);
    assert_int_equal(rates[0].window_ms, window_ms);
}

static void refuses(const char *text, size_t position, const char *hint)
{
    struct pawl_rate rates[PAWL_RATES_MAX];
    struct pawl_rate_error error;
    size_t n = 9;

    if (pawl_rate_text_parse(pawl_bytes_of(text, strlen(text)), rates, &n, &error) == PAWL_OK) {
        fail_msg("\"%s\" was read", text);
    }
    assert_int_equal(n, 0);
    if (error.position != position || strstr(error.text, hint) == NULL) {
        fail_msg("\"%s\": at %zu: %s", text, error.position, error.text);
    }
}

static void every_unit_word_is_read_in_one_and_many(void **state)
{
    static const struct {
        const char *words[5];
        uint32_t ms;
    } units[] = {
        { { "ms", "millisecond", "milliseconds" }, 1 },
        { { "s", "sec", "secs", "second", "seconds" }, 1000 },
        { { "m", "min", "mins", "minute", "minutes" }, 60000 },
        { { "h", "hr", "hrs", "hour", "hours" }, 3600000 },
        { { "d", "day", "days" }, 86400000 },
        { { "w", "week", "weeks" }, 604800000 },
    };
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        for (size_t j = 0; j < 5 && units[i].words[j] != NULL; j++) {
            (void)snprintf(text, sizeof(text), "12/%s", units[i].words[j]);
            reads(text, 12, units[i].ms);
            (void)snprintf(text, sizeof(text), "12/3%s", units[i].words[j]);
            reads(text, 12, 3 * units[i].ms);
            (void)snprintf(text, sizeof(text), "12 per 2 %s", units[i].words[j]);
            reads(text, 12, 2 * units[i].ms);
        }
    }
}

static void the_forms_of_the_design_are_read(void **state)
{
    (void)state;
    reads("100/5m", 100, 300000);
    reads("1/30s", 1, 30000);
    reads("100/60", 100, 60000);
    reads("5 per minute", 5, 60000);
    reads("5per1minute", 5, 60000);
    reads("  5 / 10 S ", 5, 10000);
    reads("5 PER 10 Seconds", 5, 10000);
    reads("0/minute", 0, 60000);
    reads("1099511627775/45d", PAWL_COUNT_MAX, PAWL_WINDOW_MS_MAX);
    reads("1/3888000", 1, PAWL_WINDOW_MS_MAX);
}

static void lists_are_read_in_order(void **state)
{
    static const char text[] = "10/s, 100/5m,1000/day";
    struct pawl_rate rates[PAWL_RATES_MAX];
    size_t n = 0;

    (void)state;
    assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(text, strlen(text)), rates, &n, NULL),
                     PAWL_OK);
    assert_int_equal(n, 3);
    assert_int_equal(rates[0].count, 10);
    assert_int_equal(rates[1].window_ms, 300000);
    assert_int_equal(rates[2].window_ms, 86400000);
    refuses("1/1,1/2,1/3,1/4,1/5,1/6,1/7,1/8,1/9", 32, "more than 8");
    refuses("1/60, 2/minute", 5, "same window");
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
    (void)state;
    refuses("", 0, "begins with its count");
    refuses("minute", 0, "begins with its count");
    refuses("-1/minute", 0, "begins with its count");
    refuses("10/month", 3, "algorithm: calendar");
    refuses("10/year", 3, "algorithm: calendar");
    refuses("10/sunday", 3, "not a period");
    refuses("10/minuite", 3, "did you mean \"minute");
    refuses("10/fortnight", 3, "2w");
    refuses("10/xyz", 3, "write second");
    refuses("10/", 3, "period is missing");
    refuses("10", 2, "\"/\" is missing");
    refuses("10 each minute", 3, "\"each\"");
    refuses("10/0", 3, "of 0");
    refuses("10/0m", 3, "of 0");
    refuses("10/46d", 3, "45 days");
    refuses("10/7w", 3, "45 days");
    refuses("10/3888001", 3, "45 days");
    refuses("10/99999999999999999999s", 3, "above");
    refuses("1099511627776/s", 0, "above");
    refuses("99999999999999999999999/s", 0, "above");
    refuses("1/s 2/m", 4, "\",\"");
    refuses("1/s,", 4, "begins with its count");
    refuses("1/m/2", 3, "\",\"");
    refuses("1/secondsecondsecondsecond", 2, "not a period");
    refuses("1.5/s", 1, "missing");
}

static void a_text_that_is_too_long_is_refused_and_bytes_behind_it_are_not_read(void **state)
{
    char text[PAWL_RATE_TEXT_MAX + 2];
    struct pawl_rate rates[PAWL_RATES_MAX];
    size_t n = 0;

    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, "1/s", 3);
    assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(text, PAWL_RATE_TEXT_MAX), rates, &n, NULL),
                     PAWL_OK);
    assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(text, PAWL_RATE_TEXT_MAX + 1), rates, &n,
                                          NULL),
                     PAWL_EINVAL);
    assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(NULL, 0), rates, &n, NULL), PAWL_EINVAL);
    char *exact = malloc(4); /* the sanitizer sees a byte more */

    assert_non_null(exact);
    memcpy(exact, "10/m", 4);
    assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(exact, 4), rates, &n, NULL), PAWL_OK);
    assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(exact, 3), rates, &n, NULL), PAWL_EINVAL);
    free(exact);
}

static void the_canonical_form_parses_back_to_the_same(void **state)
{
    static const uint32_t windows[] = { 1,       999,      1000,     1500,      60000,
                                        300000,  3600000,  86400000, 604800000, PAWL_WINDOW_MS_MAX,
                                        7200000, 86401000, 61001 };
    char text[PAWL_RATE_TEXT_MAX];
    char cut[6];

    (void)state;
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        struct pawl_rate rates[2] = { { i * 1000, windows[i] }, { PAWL_COUNT_MAX, 77 } };
        struct pawl_rate back[PAWL_RATES_MAX];
        size_t n = 0;
        size_t length = pawl_rate_text_format(rates, 2, text, sizeof(text));

        assert_int_equal(length, strlen(text));
        assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(text, length), back, &n, NULL),
                         PAWL_OK);
        assert_int_equal(n, 2);
        for (size_t j = 0; j < 2; j++) {
            assert_int_equal(back[j].count, rates[j].count);
            assert_int_equal(back[j].window_ms, rates[j].window_ms);
        }
        assert_int_equal(pawl_rate_text_format(rates, 2, cut, sizeof(cut)), length);
        assert_true(strlen(cut) < sizeof(cut));
        assert_int_equal(pawl_rate_text_format(rates, 2, NULL, 0), length);
    }
    struct pawl_rate five = { 100, 300000 };

    (void)pawl_rate_text_format(&five, 1, text, sizeof(text));
    assert_string_equal(text, "100/5m");
}

static void calendar_quotas_are_read_and_written_as_one_word(void **state)
{
    static const char *const words[] = { "hour", "day", "week", "month", "year" };
    static const struct {
        const char *text;
        size_t position;
        const char *hint;
    } bad[] = {
        { "10/minute", 3, "hour, day, week, month or year" },
        { "10/2months", 3, "no number" },
        { "10/30", 3, "no number" },
        { "10/", 3, "period is missing" },
        { "10/month, 5/months", 9, "same period" },
        { "10/mon", 3, "not a period of the calendar" },
        { "1099511627776/month", 0, "above" },
        { "/month", 0, "begins with its count" },
        { "1/month 2/year", 8, "\",\"" },
    };
    char text[64];

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct pawl_rate rates[PAWL_RATES_MAX];
        size_t n = 0;

        (void)snprintf(text, sizeof(text), " 7 per %sS , 9/ %s", words[i], words[(i + 1) % 5]);
        memset(rates, 0xff, sizeof(rates));
        assert_int_equal(pawl_rate_text_parse_calendar(pawl_bytes_of(text, strlen(text)), rates, &n,
                                                       NULL),
                         PAWL_OK);
        assert_int_equal(n, 2);
        assert_int_equal(rates[0].count, 7);
        assert_int_equal(rates[0].period, i + 1);
        assert_int_equal(rates[0].window_ms, 0);
        assert_int_equal(rates[1].period, (i + 1) % 5 + 1);
        (void)pawl_rate_text_format(rates, 1, text, sizeof(text));
        assert_string_equal(text + 2, words[i]);
        assert_string_equal(pawl_period_name((enum pawl_period)(i + 1)), words[i]);
    }
    assert_string_equal(pawl_period_name(PAWL_PERIOD_NONE), "");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pawl_rate rates[PAWL_RATES_MAX];
        struct pawl_rate_error error;
        size_t n = 9;

        assert_int_equal(pawl_rate_text_parse_calendar(
                             pawl_bytes_of(bad[i].text, strlen(bad[i].text)), rates, &n, &error),
                         PAWL_EINVAL);
        assert_int_equal(n, 0);
        if (error.position != bad[i].position || strstr(error.text, bad[i].hint) == NULL) {
            fail_msg("\"%s\": at %zu: %s", bad[i].text, error.position, error.text);
        }
    }
}

static void random_bytes_never_crash_and_accepted_ones_are_within_bounds(void **state)
{
    static const char alphabet[] = "0123456789/,. perminutsdhwk\t\x80\xff";
    uint64_t random = 42;

    (void)state;
    for (unsigned i = 0; i < 50000; i++) {
        char text[24];
        struct pawl_rate rates[PAWL_RATES_MAX];
        size_t n = 0;

        for (size_t j = 0; j < sizeof(text); j++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            text[j] = alphabet[(random >> 33) % (sizeof(alphabet) - 1)];
        }
        if (pawl_rate_text_parse(pawl_bytes_of(text, i % sizeof(text)), rates, &n, NULL) ==
            PAWL_OK) {
            assert_true(n >= 1 && n <= PAWL_RATES_MAX);
            for (size_t j = 0; j < n; j++) {
                assert_true(rates[j].count <= PAWL_COUNT_MAX && rates[j].window_ms >= 1 &&
                            rates[j].window_ms <= PAWL_WINDOW_MS_MAX);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_word_is_read_in_one_and_many),
        cmocka_unit_test(the_forms_of_the_design_are_read),
        cmocka_unit_test(lists_are_read_in_order),
        cmocka_unit_test(what_is_wrong_is_said_with_its_place),
        cmocka_unit_test(a_text_that_is_too_long_is_refused_and_bytes_behind_it_are_not_read),
        cmocka_unit_test(the_canonical_form_parses_back_to_the_same),
        cmocka_unit_test(calendar_quotas_are_read_and_written_as_one_word),
        cmocka_unit_test(random_bytes_never_crash_and_accepted_ones_are_within_bounds),
    };

    return cmocka_run_group_tests_name("rate_text", tests, NULL, NULL);
}
