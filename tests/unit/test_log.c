/* ops/log, ops/json, ops/utc, ops/status: lines of the log and the list of figures. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ops/log.h"
#include "ops/status.h"
#include "ops/utc.h"

#define READ_BYTES 262144

struct fixture {
    struct pawl_now now;
    struct pawl_clock clock;
    struct pawl_log_writer writer;
    struct pawl_log log;
    int pipe[2];
    char *text;
};

static struct pawl_now read_clock(void *self)
{
    return *(struct pawl_now *)self;
}

static void step_ms(struct fixture *fixture, uint64_t ms)
{
    fixture->now.instant.ns += ms * 1000000;
    fixture->now.stamp.us += ms * 1000;
}

static int setup_with(void **state, bool keep_all)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct pawl_log_options options = { .level = PAWL_LOG_INFO, .keep_all = keep_all };

    if (fixture == NULL || pipe2(fixture->pipe, O_NONBLOCK) != 0) {
        return -1;
    }
    (void)fcntl(fixture->pipe[1], F_SETPIPE_SZ, READ_BYTES);
    fixture->text = calloc(1, READ_BYTES + 1);
    fixture->now.stamp.us = UINT64_C(1767225599123456); /* 2025-12-31T23:59:59.123 */
    fixture->now.instant.ns = UINT64_C(5000000000);
    fixture->clock.read = read_clock;
    fixture->clock.self = &fixture->now;
    options.fd = fixture->pipe[1];
    options.clock = &fixture->clock;
    *state = fixture;
    if (pawl_log_writer_init(&fixture->writer, &options) != PAWL_OK) {
        return -1;
    }
    fixture->log = pawl_log_writer_sink(&fixture->writer);
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_keep_all(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    pawl_log_writer_deinit(&fixture->writer);
    (void)close(fixture->pipe[0]);
    (void)close(fixture->pipe[1]);
    free(fixture->text);
    free(fixture);
    return 0;
}

/** All that was written since the last time. */
static const char *written(struct fixture *fixture)
{
    ssize_t got = read(fixture->pipe[0], fixture->text, READ_BYTES);

    fixture->text[got > 0 ? got : 0] = '\0';
    return fixture->text;
}

static unsigned lines_in(const char *text)
{
    unsigned lines = 0;

    for (; *text != '\0'; text++) {
        lines += *text == '\n' ? 1 : 0;
    }
    return lines;
}

static void a_line_has_time_level_event_and_fields_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct pawl_id id = { .lo = 2, .hi = 1 };

    pawl_log_event(&fixture->log, PAWL_LOG_WARN, "store_frozen", PAWL_F_TEXT("file", "pawl.db"),
                   PAWL_F_U64("rows", UINT64_MAX), PAWL_F_I64("delta", -5),
                   PAWL_F_BOOL("durable", true), PAWL_F_ID("subject", id),
                   PAWL_F_BYTES("actor", pawl_bytes_of("ab", 2)));
    assert_string_equal(written(fixture),
                        "{\"time\":\"2025-12-31T23:59:59.123Z\",\"level\":\"warn\","
                        "\"event\":\"store_frozen\",\"file\":\"pawl.db\","
                        "\"rows\":18446744073709551615,\"delta\":-5,\"durable\":true,"
                        "\"subject\":\"00000000000000010000000000000002\",\"actor\":\"ab\"}\n");
}

static void texts_are_escaped_and_bad_utf8_is_replaced(void **state)
{
    struct fixture *fixture = *state;

    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "e",
                   PAWL_F_TEXT("a", "q\"b\\n\n\x01\x7f\xc3\xa9\xf0\x9f\x98\x80"),
                   PAWL_F_TEXT("b", "\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xe2\x82|\xff"),
                   PAWL_F_TEXT("c", NULL));
    assert_non_null(strstr(written(fixture), "\"a\":\"q\\\"b\\\\n\\u000a\\u0001\\u007f"
                                             "\xc3\xa9\xf0\x9f\x98\x80\""));
#define R "\xef\xbf\xbd"
    assert_non_null(strstr(fixture->text, "\"b\":\"" R R "|" R R R "|" R R R R "|" R R "|" R "\""));
    assert_non_null(strstr(fixture->text, "\"c\":\"\"}"));
}

static void a_level_below_the_setting_is_silent_until_it_is_changed(void **state)
{
    struct fixture *fixture = *state;

    pawl_log_event(&fixture->log, PAWL_LOG_DEBUG, "d", PAWL_F_U64("n", 1));
    assert_string_equal(written(fixture), "");
    pawl_log_writer_set_level(&fixture->writer, PAWL_LOG_DEBUG);
    pawl_log_event(&fixture->log, PAWL_LOG_DEBUG, "d", PAWL_F_U64("n", 2));
    assert_int_equal(lines_in(written(fixture)), 1);
}

static void an_equal_line_within_a_second_is_counted_and_said_with_the_next(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 4; i++) {
        pawl_log_event(&fixture->log, PAWL_LOG_INFO, "same", PAWL_F_U64("n", 7));
    }
    assert_int_equal(lines_in(written(fixture)), 1);
    step_ms(fixture, 999);
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "same", PAWL_F_U64("n", 7));
    assert_string_equal(written(fixture), "");
    step_ms(fixture, 1);
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "same", PAWL_F_U64("n", 7));
    assert_int_equal(lines_in(written(fixture)), 1);
    assert_non_null(strstr(fixture->text, ",\"repeated\":4}\n"));
}

static void different_lines_of_an_event_are_all_said_up_to_ten(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t i = 0; i < PAWL_LOG_BURST + 5; i++) {
        pawl_log_event(&fixture->log, PAWL_LOG_INFO, "many", PAWL_F_U64("n", i));
    }
    assert_int_equal(lines_in(written(fixture)), PAWL_LOG_BURST);
    pawl_log_event(&fixture->log, PAWL_LOG_ERROR, "many", PAWL_F_U64("n", 1));
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "other", PAWL_F_U64("n", 1));
    assert_int_equal(lines_in(written(fixture)), 2);
}

static void what_was_counted_is_said_by_flush_once_the_second_is_over(void **state)
{
    struct fixture *fixture = *state;

    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "same", PAWL_F_U64("n", 7));
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "same", PAWL_F_U64("n", 7));
    (void)written(fixture);
    pawl_log_writer_flush(&fixture->writer);
    assert_string_equal(written(fixture), "");
    step_ms(fixture, 1000);
    pawl_log_writer_flush(&fixture->writer);
    assert_non_null(strstr(written(fixture), "\"event\":\"same\",\"repeated\":1}\n"));
    pawl_log_writer_flush(&fixture->writer);
    assert_string_equal(written(fixture), "");
}

static void more_events_than_are_watched_lose_no_count(void **state)
{
    struct fixture *fixture = *state;
    char name[32];

    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "first", PAWL_F_U64("n", 7));
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "first", PAWL_F_U64("n", 7));
    (void)written(fixture);
    for (unsigned i = 0; i < PAWL_LOG_REPEATS_MAX; i++) {
        step_ms(fixture, 1);
        (void)snprintf(name, sizeof(name), "event_%u", i);
        fixture->log.event(fixture->log.self, PAWL_LOG_INFO, name, NULL, 0);
    }
    assert_non_null(strstr(written(fixture), "\"event\":\"first\",\"repeated\":1}\n"));
}

static void the_audit_kind_keeps_every_line(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 50; i++) {
        pawl_log_event(&fixture->log, PAWL_LOG_INFO, "same", PAWL_F_U64("n", 7));
    }
    assert_int_equal(lines_in(written(fixture)), 50);
}

static void a_long_line_is_cut_and_says_so(void **state)
{
    struct fixture *fixture = *state;
    char long_text[3 * PAWL_LOG_LINE_BYTES_MAX];
    size_t size;

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "long", PAWL_F_TEXT("t", long_text),
                   PAWL_F_U64("n", 1), PAWL_F_TEXT("u", "y"));
    size = strlen(written(fixture));
    assert_true(size <= PAWL_LOG_LINE_BYTES_MAX && size > PAWL_LOG_LINE_BYTES_MAX - 150);
    assert_non_null(strstr(fixture->text, "xxx\",\"cut\":true}\n"));
    for (size_t before = 0; before < 12; before++) { /* every place that a character may be cut */
        memset(long_text, 'x', sizeof(long_text) - 1);
        for (size_t i = before; i + 4 < sizeof(long_text); i += 4) {
            memcpy(long_text + i, "\xf0\x9f\x98\x80", 4);
        }
        step_ms(fixture, 1000);
        pawl_log_event(&fixture->log, PAWL_LOG_INFO, "long", PAWL_F_TEXT("t", long_text));
        assert_non_null(strstr(written(fixture), "\x98\x80\",\"cut\":true}\n"));
    }
}

static void a_full_pipe_drops_lines_and_the_next_says_how_many(void **state)
{
    struct fixture *fixture = *state;
    char filler[4096];
    uint64_t n = 0;

    memset(filler, '.', sizeof(filler));
    while (write(fixture->pipe[1], filler, sizeof(filler)) > 0) {
    }
    for (; n < 3; n++) {
        pawl_log_event(&fixture->log, PAWL_LOG_INFO, "lost", PAWL_F_U64("n", n));
    }
    while (strlen(written(fixture)) > 0) {
    }
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "lost", PAWL_F_U64("n", n));
    assert_non_null(strstr(written(fixture), "\"n\":3,\"dropped\":3}\n"));
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "lost", PAWL_F_U64("n", n + 1));
    assert_null(strstr(written(fixture), "dropped"));
}

static void a_blocking_full_pipe_does_not_stop_the_caller(void **state)
{
    struct fixture *fixture = *state;
    char filler[4096];

    memset(filler, '.', sizeof(filler));
    while (write(fixture->pipe[1], filler, sizeof(filler)) > 0) {
    }
    assert_int_equal(fcntl(fixture->pipe[1], F_SETFL, 0), 0);
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "lost", PAWL_F_U64("n", 1)); /* must return */
    while (strlen(written(fixture)) > 0) {
    }
    pawl_log_event(&fixture->log, PAWL_LOG_INFO, "found", PAWL_F_U64("n", 1));
    assert_non_null(strstr(written(fixture), "\"dropped\":1}"));
}

static void *log_much(void *argument)
{
    struct fixture *fixture = argument;

    for (uint64_t i = 0; i < 200; i++) {
        pawl_log_event(&fixture->log, PAWL_LOG_INFO, "thread", PAWL_F_U64("n", i));
        pawl_log_event(&fixture->log, PAWL_LOG_WARN, "thread", PAWL_F_TEXT("t", "same"));
    }
    return NULL;
}

static void threads_write_whole_lines_and_every_one_is_counted(void **state)
{
    struct fixture *fixture = *state;
    struct pawl_stat_list *list = calloc(1, sizeof(*list));
    struct pawl_stats_sink sink = pawl_stat_list_sink(list);
    pthread_t threads[4];
    uint64_t sum = 0;

    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, fixture), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)written(fixture);
    for (const char *line = fixture->text; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert_int_equal(strncmp(line, "{\"time\":\"2025", 13), 0);
    }
    pawl_stat_list_init(list, "log_");
    pawl_log_writer_stats(&fixture->writer, &sink);
    for (unsigned i = 0; i < list->count; i++) {
        sum += list->items[i].value;
    }
    assert_int_equal(list->count, 3);
    assert_int_equal(sum, 4 * 200 * 2); /* printed, counted or dropped: none vanished */
    free(list);
}

static void times_are_read_and_written_alike(void **state)
{
    static const uint64_t times[] = { 0,          1,          951782399,
                                      951782400,  1709164800, 1735689599,
                                      1767225599, 4102444800, UINT64_C(253402300799) };
    char text[PAWL_UTC_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        pawl_utc_format(times[i], text);
        assert_int_equal(pawl_utc_parse(text), (int64_t)times[i]);
    }
    for (uint64_t day = 0; day < 60000; day++) {
        pawl_utc_format(day * 86400 + 86399, text);
        assert_int_equal(pawl_utc_parse(text), (int64_t)(day * 86400 + 86399));
    }
    pawl_utc_format(1709164800, text);
    assert_string_equal(text, "2024-02-29T00:00:00Z");
    pawl_utc_format(UINT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    assert_int_equal(pawl_utc_parse("2023-02-29T00:00:00Z"), -1);
    assert_int_equal(pawl_utc_parse("2024-13-01T00:00:00Z"), -1);
    assert_int_equal(pawl_utc_parse("2024-00-01T00:00:00Z"), -1);
    assert_int_equal(pawl_utc_parse("2024-01-01T24:00:00Z"), -1);
    assert_int_equal(pawl_utc_parse("2024-01-01 00:00:00Z"), -1);
    assert_int_equal(pawl_utc_parse("2024-01-01T00:00:00"), -1);
    assert_int_equal(pawl_utc_parse(""), -1);
}

static void figures_become_a_list_with_sums_and_a_prefix(void **state)
{
    struct pawl_stat_list *list = calloc(1, sizeof(*list));
    struct pawl_stats_sink sink = pawl_stat_list_sink(list);

    (void)state;
    pawl_stat_list_init(list, "");
    sink.number(sink.self, "keys", 3);
    sink.number(sink.self, "keys", 4);
    sink.number(sink.self, "huge", UINT64_MAX);
    sink.number(sink.self, "huge", 1);
    sink.flag(sink.self, "frozen", false);
    sink.flag(sink.self, "frozen", true);
    sink.text(sink.self, "version", pawl_bytes_of("0.1", 3));
    sink.text(sink.self, "version", pawl_bytes_of("0.2", 3));
    sink.number(sink.self, "version", 9);
    assert_int_equal(list->count, 4);
    assert_int_equal(list->items[0].value, 7);
    assert_true(list->items[1].value == UINT64_MAX);
    assert_int_equal(list->items[2].value, 1);
    assert_int_equal(list->items[3].kind, PAWL_STAT_TEXT);
    assert_int_equal(pawl_stat_text(list, &list->items[3]).size, 3);
    assert_memory_equal(pawl_stat_text(list, &list->items[3]).data, "0.1", 3);
    pawl_stat_list_init(list, "ke");
    sink.number(sink.self, "keys", 1);
    sink.number(sink.self, "other", 1);
    assert_int_equal(list->count, 1);
    free(list);
}

static void figures_beyond_the_caps_are_counted(void **state)
{
    struct pawl_stat_list *list = calloc(1, sizeof(*list));
    struct pawl_stats_sink sink = pawl_stat_list_sink(list);
    char name[32];
    char text[PAWL_STAT_TEXT_BYTES_MAX * 2];

    (void)state;
    memset(text, 'x', sizeof(text));
    pawl_stat_list_init(list, NULL);
    for (unsigned i = 0; i < PAWL_STATS_MAX + 7; i++) {
        (void)snprintf(name, sizeof(name), "n_%u", i);
        sink.number(sink.self, name, i);
    }
    assert_int_equal(list->count, PAWL_STATS_MAX);
    assert_int_equal(list->dropped, 7);
    pawl_stat_list_init(list, NULL);
    for (unsigned i = 0; i < 70; i++) {
        (void)snprintf(name, sizeof(name), "t_%u", i);
        sink.text(sink.self, name, pawl_bytes_of(text, sizeof(text)));
    }
    assert_int_equal(list->items[0].text_size, PAWL_STAT_TEXT_BYTES_MAX);
    assert_int_equal(list->dropped, 70 - sizeof(list->texts) / PAWL_STAT_TEXT_BYTES_MAX);
    free(list);
}

#define WITH_LOG(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(a_line_has_time_level_event_and_fields_in_order),
        WITH_LOG(texts_are_escaped_and_bad_utf8_is_replaced),
        WITH_LOG(a_level_below_the_setting_is_silent_until_it_is_changed),
        WITH_LOG(an_equal_line_within_a_second_is_counted_and_said_with_the_next),
        WITH_LOG(different_lines_of_an_event_are_all_said_up_to_ten),
        WITH_LOG(what_was_counted_is_said_by_flush_once_the_second_is_over),
        WITH_LOG(more_events_than_are_watched_lose_no_count),
        cmocka_unit_test_setup_teardown(the_audit_kind_keeps_every_line, setup_keep_all, teardown),
        WITH_LOG(a_long_line_is_cut_and_says_so),
        WITH_LOG(a_full_pipe_drops_lines_and_the_next_says_how_many),
        WITH_LOG(a_blocking_full_pipe_does_not_stop_the_caller),
        WITH_LOG(threads_write_whole_lines_and_every_one_is_counted),
        cmocka_unit_test(times_are_read_and_written_alike),
        cmocka_unit_test(figures_become_a_list_with_sums_and_a_prefix),
        cmocka_unit_test(figures_beyond_the_caps_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
