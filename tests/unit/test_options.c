/* ops/options: the command line of pawld. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/options.h"

struct parsed {
    struct pawl_options options;
    char *out;
    char *err;
};

/** Parse a command line; the list ends with NULL. */
static void parse(struct parsed *parsed, char **argv)
{
    size_t out_size;
    size_t err_size;
    FILE *out = open_memstream(&parsed->out, &out_size);
    FILE *err = open_memstream(&parsed->err, &err_size);
    int argc = 0;

    while (argv[argc] != NULL) {
        argc++;
    }
    pawl_options_parse(argc, argv, out, err, &parsed->options);
    (void)fclose(out);
    (void)fclose(err);
}

static char name[] = "pawld";

#define PARSE(parsed, ...)                                  \
    do {                                                    \
        const char *const words_[] = { __VA_ARGS__ };       \
        char *argv_[40] = { name };                         \
        size_t count_ = sizeof(words_) / sizeof(words_[0]); \
        for (size_t i_ = 0; i_ < count_; i_++) {            \
            argv_[i_ + 1] = strdup(words_[i_]);             \
        }                                                   \
        memcpy(kept, argv_, sizeof(kept));                  \
        parse((parsed), argv_);                             \
    } while (0)

static char *kept[40]; /* argv in its first order, for freeing: getopt reorders */

static void done(struct parsed *parsed)
{
    for (size_t i = 1; i < 40 && kept[i] != NULL; i++) {
        free(kept[i]);
    }
    free(parsed->out);
    free(parsed->err);
}

static void nothing_means_run(void **state)
{
    struct parsed parsed;
    char *argv[] = { name, NULL };

    (void)state;
    parse(&parsed, argv);
    assert_int_equal(parsed.options.action, PAWL_ACTION_RUN);
    assert_null(parsed.options.config_file);
    free(parsed.out);
    free(parsed.err);
}

static void every_option_is_taken(void **state)
{
    struct parsed parsed;
    struct pawl_settings_sources sources;

    (void)state;
    PARSE(&parsed, "--listen", "unix:/a", "--listen=tcp:127.0.0.1:1", "--http", "127.0.0.1:2",
          "--data-dir", "/d", "--config", "c.yaml", "--set", "a.b=1", "--set", "c=2", "--frozen",
          "--test-clock");
    assert_int_equal(parsed.options.action, PAWL_ACTION_RUN);
    assert_int_equal(parsed.options.listen_count, 2);
    assert_string_equal(parsed.options.listen[1], "tcp:127.0.0.1:1");
    assert_true(parsed.options.frozen && parsed.options.test_clock);
    sources = pawl_options_sources(&parsed.options, NULL, NULL);
    assert_string_equal(sources.http, "127.0.0.1:2");
    assert_string_equal(sources.data_dir, "/d");
    assert_string_equal(sources.config_file, "c.yaml");
    assert_int_equal(sources.set_count, 2);
    assert_string_equal(sources.sets[1], "c=2");
    assert_int_equal(sources.listen_count, 2);
    done(&parsed);
}

static void check_and_print_are_actions(void **state)
{
    struct parsed parsed;

    (void)state;
    PARSE(&parsed, "--check-config");
    assert_int_equal(parsed.options.action, PAWL_ACTION_CHECK_CONFIG);
    done(&parsed);
    PARSE(&parsed, "--print-config");
    assert_int_equal(parsed.options.action, PAWL_ACTION_PRINT_CONFIG);
    done(&parsed);
    PARSE(&parsed, "--print-config=reference");
    assert_int_equal(parsed.options.action, PAWL_ACTION_PRINT_REFERENCE);
    done(&parsed);
}

static void version_and_help_go_to_out_and_exit_good(void **state)
{
    struct parsed parsed;

    (void)state;
    PARSE(&parsed, "--version");
    assert_int_equal(parsed.options.action, PAWL_ACTION_EXIT);
    assert_int_equal(parsed.options.exit_code, 0);
    assert_string_equal(parsed.out, "pawld " PAWL_VERSION "\n");
    assert_string_equal(parsed.err, "");
    done(&parsed);
    PARSE(&parsed, "--help");
    assert_int_equal(parsed.options.exit_code, 0);
    assert_non_null(strstr(parsed.out, "--test-clock"));
    done(&parsed);
}

static void assert_usage(struct parsed *parsed, const char *what)
{
    assert_int_equal(parsed->options.action, PAWL_ACTION_EXIT);
    assert_int_equal(parsed->options.exit_code, 2);
    assert_string_equal(parsed->out, "");
    if (strstr(parsed->err, what) == NULL) {
        fail_msg("\"%s\" is not in: %s", what, parsed->err);
    }
    assert_non_null(strstr(parsed->err, "usage: pawld"));
    done(parsed);
}

static void what_is_not_an_option_is_named_and_exits_two(void **state)
{
    struct parsed parsed;

    (void)state;
    PARSE(&parsed, "--frozen", "--bogus", "--config", "x");
    assert_usage(&parsed, "not an option: --bogus");
    PARSE(&parsed, "-x");
    assert_usage(&parsed, "not an option: -x");
    PARSE(&parsed, "-xyz", "--frozen");
    assert_usage(&parsed, "not an option: -x");
    PARSE(&parsed, "--frozen", "-xyz");
    assert_usage(&parsed, "not an option: -x");
    PARSE(&parsed, "start");
    assert_usage(&parsed, "not an option: start");
    PARSE(&parsed, "--frozen=yes");
    assert_usage(&parsed, "--frozen");
    PARSE(&parsed, "--print-config=x");
    assert_usage(&parsed, "not x");
}

static void a_missing_value_is_named(void **state)
{
    struct parsed parsed;

    (void)state;
    PARSE(&parsed, "--config");
    assert_usage(&parsed, "a value is missing after --config");
}

static void what_may_stand_once_is_refused_twice(void **state)
{
    struct parsed parsed;

    (void)state;
    PARSE(&parsed, "--config", "a", "--config", "b");
    assert_usage(&parsed, "given twice: --config");
    PARSE(&parsed, "--check-config", "--print-config");
    assert_usage(&parsed, "exclude each other");
}

static void listeners_are_capped(void **state)
{
    struct parsed parsed;

    (void)state;
    PARSE(&parsed, "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a",
          "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a",
          "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a");
    assert_int_equal(parsed.options.listen_count, 16);
    done(&parsed);
    PARSE(&parsed, "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a",
          "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a",
          "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a", "--listen=a");
    assert_usage(&parsed, "given too often: --listen");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_means_run),
        cmocka_unit_test(every_option_is_taken),
        cmocka_unit_test(check_and_print_are_actions),
        cmocka_unit_test(version_and_help_go_to_out_and_exit_good),
        cmocka_unit_test(what_is_not_an_option_is_named_and_exits_two),
        cmocka_unit_test(a_missing_value_is_named),
        cmocka_unit_test(what_may_stand_once_is_refused_twice),
        cmocka_unit_test(listeners_are_capped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
