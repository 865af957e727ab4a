/* ops/audit: what is written, what is masked, what happens when the disk refuses. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ops/audit.h"
#include "ops/log.h"

#define READ_BYTES (4 * 1024 * 1024)

struct fixture {
    struct pawl_now now;
    struct pawl_clock clock;
    struct pawl_log_writer writer;
    struct pawl_audit *audit;
    struct pawl_subkey mask;
    int log[2];
    char dir[64];
    char file[96];
    char *text;
};

static struct pawl_now read_clock(void *self)
{
    return *(struct pawl_now *)self;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct pawl_log_options log = { .level = PAWL_LOG_INFO };
    struct pawl_audit_options options = { 0 };

    if (f == NULL || pipe2(f->log, O_NONBLOCK) != 0) {
        return -1;
    }
    f->text = calloc(1, READ_BYTES + 1);
    f->now.stamp.us = UINT64_C(1767225599123456);
    f->now.instant.ns = UINT64_C(5000000000);
    f->clock.read = read_clock;
    f->clock.self = &f->now;
    f->mask = (struct pawl_subkey){ { 7 } };
    log.fd = f->log[1];
    log.clock = &f->clock;
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/pawl_audit_XXXXXX");
    if (mkdtemp(f->dir) == NULL || pawl_log_writer_init(&f->writer, &log) != PAWL_OK) {
        return -1;
    }
    (void)snprintf(f->file, sizeof(f->file), "%s/audit", f->dir);
    options.writer = &f->writer;
    options.clock = &f->clock;
    options.mask = &f->mask;
    *state = f;
    return pawl_audit_create(&f->audit, &options) == PAWL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pawl_audit_destroy(f->audit);
    pawl_log_writer_deinit(&f->writer);
    (void)close(f->log[0]);
    (void)close(f->log[1]);
    (void)unlink(f->file);
    (void)rmdir(f->dir);
    free(f->text);
    free(f);
    return 0;
}

static void use_file(struct fixture *f, const char *file, uint64_t denied_per_s)
{
    struct pawl_audit_settings settings = { .file = file, .denied_per_s = denied_per_s };
    struct pawl_error error = { PAWL_OK, 0, "" };

    assert_int_equal(pawl_audit_prepare(f->audit, &settings, &error), PAWL_OK);
    pawl_audit_commit(f->audit);
    assert_int_equal(pawl_audit_in_log(f->audit), file[0] == '\0');
}

/* The end writes out what waits: what is on disk then is all there is. */
static const char *end_and_read(struct fixture *f, const char *file)
{
    FILE *in = NULL;
    size_t size = 0;

    pawl_audit_destroy(f->audit);
    f->audit = NULL;
    in = fopen(file, "rb");
    assert_non_null(in);
    size = fread(f->text, 1, READ_BYTES, in);
    f->text[size] = '\0';
    (void)fclose(in);
    return f->text;
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;

    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        count++;
    }
    return count;
}

struct seen {
    const char *name;
    uint64_t value;
};

static void take_number(void *self, const char *name, uint64_t value)
{
    struct seen *seen = self;

    if (strcmp(seen->name, name) == 0) {
        seen->value = value;
    }
}

static uint64_t figure(struct fixture *f, const char *name)
{
    struct seen seen = { name, UINT64_MAX };
    struct pawl_stats_sink sink = { .number = take_number, .self = &seen };

    pawl_audit_stats(f->audit, &sink);
    assert_true(seen.value != UINT64_MAX);
    return seen.value;
}

static void a_line_says_what_happened_who_asked_and_masks_who_it_was_about(void **state)
{
    struct fixture *f = *state;
    struct pawl_audit_peer peer = { "unix", "billing", 1000 };

    use_file(f, f->file, 1);
    pawl_audit_event(f->audit, PAWL_AUDIT_REVOKED, &peer, PAWL_F_TEXT("ns", "default"),
                     PAWL_F_TEXT("scope", "subject"),
                     PAWL_F_MASKED("value", pawl_bytes_of("alice@example.org", 17)),
                     PAWL_F_TEXT("reason", ""), PAWL_F_MASKED("actor", pawl_bytes_of(NULL, 0)),
                     PAWL_F_U64("until", 7));
    const char *text = end_and_read(f, f->file);

    const char expected[] = "{\"time\":\"2025-12-31T23:59:59.123Z\",\"level\":\"audit\","
                            "\"event\":\"revoked\",\"peer\":\"unix\",\"uid\":1000,"
                            "\"peer_name\":\"billing\",\"ns\":\"default\","
                            "\"scope\":\"subject\",\"value\":\"al***";

    assert_memory_equal(text, expected, sizeof(expected) - 1);
    assert_null(strstr(text, "alice"));
    assert_non_null(strstr(text, "\",\"until\":7}\n"));
}

static void the_file_is_made_for_its_owner_alone(void **state)
{
    struct fixture *f = *state;
    struct stat info;

    use_file(f, f->file, 1);
    assert_int_equal(stat(f->file, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

static void a_file_is_appended_to_and_a_line_torn_by_a_crash_is_ended(void **state)
{
    struct fixture *f = *state;
    FILE *out = fopen(f->file, "wb");

    assert_non_null(out);
    assert_true(fputs("torn by a cra", out) >= 0);
    (void)fclose(out);
    use_file(f, f->file, 1);
    pawl_audit_event(f->audit, PAWL_AUDIT_STARTED, NULL, PAWL_F_TEXT("version", "1"));
    assert_memory_equal(end_and_read(f, f->file), "torn by a cra\n{\"time\"",
                        strlen("torn by a cra\n{\"time\""));
}

static void a_file_that_cannot_be_opened_is_refused_and_the_old_one_goes_on(void **state)
{
    struct fixture *f = *state;
    struct pawl_audit_settings bad = { .file = "/nowhere/at/all/audit", .denied_per_s = 1 };
    struct pawl_error error = { PAWL_OK, 0, "" };

    use_file(f, f->file, 1);
    assert_int_not_equal(pawl_audit_prepare(f->audit, &bad, &error), PAWL_OK);
    assert_non_null(strstr(error.text, "/nowhere/at/all/audit"));
    pawl_audit_abort(f->audit);
    pawl_audit_event(f->audit, PAWL_AUDIT_STOPPED, NULL, PAWL_F_TEXT("why", "x"));
    assert_int_equal(count_of(end_and_read(f, f->file), "\"stopped\""), 1);
}

static void a_new_file_takes_over_at_commit(void **state)
{
    struct fixture *f = *state;
    char moved[128];

    (void)snprintf(moved, sizeof(moved), "%s.1", f->file);
    use_file(f, f->file, 1);
    pawl_audit_event(f->audit, PAWL_AUDIT_RELOADED, NULL, PAWL_F_U64("n", 1));
    while (figure(f, "audit_lines") < 1) {
        (void)sched_yield();
    }
    assert_int_equal(rename(f->file, moved), 0);
    use_file(f, f->file, 1);
    pawl_audit_event(f->audit, PAWL_AUDIT_RELOADED, NULL, PAWL_F_U64("n", 2));
    const char *text = end_and_read(f, f->file);

    assert_int_equal(count_of(text, "\"n\":2"), 1);
    assert_int_equal(count_of(text, "\"n\":1"), 0);
    assert_int_equal(unlink(moved), 0);
}

static void without_a_file_the_lines_are_among_those_of_the_log(void **state)
{
    struct fixture *f = *state;

    use_file(f, "", 1);
    pawl_audit_event(f->audit, PAWL_AUDIT_THAW, NULL, PAWL_F_U64("n", 1));
    pawl_audit_destroy(f->audit);
    f->audit = NULL;
    ssize_t got = read(f->log[0], f->text, READ_BYTES);

    assert_true(got > 0);
    f->text[got] = '\0';
    assert_int_equal(count_of(f->text, "\"level\":\"audit\",\"event\":\"thaw\",\"n\":1}\n"), 1);
}

static void a_full_disk_stops_nobody_and_what_is_lost_is_counted_and_said(void **state)
{
    struct fixture *f = *state;
    unsigned sent = 0;

    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    use_file(f, "/dev/full", 1);
    while (figure(f, "audit_dropped") < 10) {
        pawl_audit_event(f->audit, PAWL_AUDIT_RESET, NULL, PAWL_F_U64("n", sent));
        sent++;
    }
    while (figure(f, "audit_write_errors") < 1) {
        (void)sched_yield();
    }
    use_file(f, f->file, 1);
    const char *text = end_and_read(f, f->file);

    assert_int_equal(count_of(text, "\"reset\""), sent - 10);
    assert_int_equal(count_of(text, "\"event\":\"audit_dropped\",\"count\":10}"), 1);
    ssize_t got = read(f->log[0], f->text, READ_BYTES);

    assert_true(got > 0);
    f->text[got] = '\0';
    assert_int_equal(count_of(f->text, "\"audit_write_failed\""), 1);
    assert_int_equal(count_of(f->text, "\"audit_write_resumed\""), 1);
}

static void denials_are_sampled_by_the_second_and_the_rest_is_counted(void **state)
{
    struct fixture *f = *state;
    unsigned said = 0;

    use_file(f, f->file, 3);
    for (unsigned i = 0; i < 10; i++) {
        said += pawl_audit_may_deny(f->audit, f->now.instant) ? 1 : 0;
    }
    assert_int_equal(said, 3);
    pawl_audit_tick(f->audit);
    f->now.instant.ns += 1000000000;
    assert_true(pawl_audit_may_deny(f->audit, f->now.instant));
    pawl_audit_tick(f->audit);
    assert_int_equal(figure(f, "audit_denied_not_written"), 7);
    const char *text = end_and_read(f, f->file);

    assert_int_equal(count_of(text, "\"event\":\"denied_more\",\"count\":7}"), 1);
    assert_int_equal(count_of(text, "denied_more"), 1);
}

static void with_none_a_second_all_denials_are_counted(void **state)
{
    struct fixture *f = *state;

    use_file(f, f->file, 0);
    assert_false(pawl_audit_may_deny(f->audit, f->now.instant));
    pawl_audit_tick(f->audit);
    assert_int_equal(count_of(end_and_read(f, f->file), "\"count\":1}"), 1);
}

#define WRITERS     4
#define EACH_WRITES 200

static void *write_many(void *data)
{
    for (unsigned i = 0; i < EACH_WRITES; i++) {
        pawl_audit_event(data, PAWL_AUDIT_UNREVOKED, NULL, PAWL_F_U64("n", i));
    }
    return NULL;
}

static void lines_of_many_threads_are_whole(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[WRITERS];
    unsigned lines = 0;

    use_file(f, f->file, 1);
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, f->audit), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    char *rest = NULL;
    const char *text = end_and_read(f, f->file);

    for (char *line = strtok_r((char *)(uintptr_t)text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_int_equal(line[0], '{');
        assert_int_equal(line[strlen(line) - 1], '}');
        lines++;
    }
    assert_int_equal(lines, WRITERS * EACH_WRITES);
}

static void a_text_that_is_too_long_is_cut_and_the_line_says_so(void **state)
{
    struct fixture *f = *state;
    char longer[PAWL_AUDIT_LINE_BYTES * 2];

    memset(longer, 'x', sizeof(longer));
    use_file(f, f->file, 1);
    pawl_audit_event(f->audit, PAWL_AUDIT_RESET, NULL,
                     PAWL_F_BYTES("limit", pawl_bytes_of(longer, sizeof(longer))));
    const char *text = end_and_read(f, f->file);

    assert_true(strlen(text) <= PAWL_AUDIT_LINE_BYTES);
    assert_non_null(strstr(text, "\",\"cut\":true}\n"));
}

static void nobody_to_tell_is_no_error(void **state)
{
    (void)state;
    pawl_audit_event(NULL, PAWL_AUDIT_RESET, NULL, PAWL_F_U64("n", 1));
    assert_false(pawl_audit_may_deny(NULL, (struct pawl_instant){ 1 }));
    pawl_audit_destroy(NULL);
}

static void every_event_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PAWL_AUDIT_EVENTS; i++) {
        assert_true(strlen(pawl_audit_event_text((enum pawl_audit_event)i)) > 0);
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(pawl_audit_event_text((enum pawl_audit_event)i),
                                    pawl_audit_event_text((enum pawl_audit_event)j));
        }
    }
    assert_string_equal(pawl_audit_event_text(PAWL_AUDIT_EVENTS), "unknown");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_line_says_what_happened_who_asked_and_masks_who_it_was_about),
        TEST(the_file_is_made_for_its_owner_alone),
        TEST(a_file_is_appended_to_and_a_line_torn_by_a_crash_is_ended),
        TEST(a_file_that_cannot_be_opened_is_refused_and_the_old_one_goes_on),
        TEST(a_new_file_takes_over_at_commit),
        TEST(without_a_file_the_lines_are_among_those_of_the_log),
        TEST(a_full_disk_stops_nobody_and_what_is_lost_is_counted_and_said),
        TEST(denials_are_sampled_by_the_second_and_the_rest_is_counted),
        TEST(with_none_a_second_all_denials_are_counted),
        TEST(lines_of_many_threads_are_whole),
        TEST(a_text_that_is_too_long_is_cut_and_the_line_says_so),
        cmocka_unit_test(nobody_to_tell_is_no_error),
        cmocka_unit_test(every_event_has_a_word_of_its_own),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
