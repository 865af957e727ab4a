/* The table of metrics: names, help, and the page that is written from it. */
#include "ops/http/metrics_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);

    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

static void names_say_what_and_in_which_unit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < pawl_metrics_count; i++) {
        const struct pawl_metric *metric = &pawl_metrics[i];

        if (metric->name == NULL) {
            continue;
        }
        assert_int_equal(strncmp(metric->name, "pawl_", 5), 0);
        assert_int_equal(ends_with(metric->name, "_total"), metric->type == PAWL_METRIC_COUNTER);
        assert_false(ends_with(metric->name, "_ms") || ends_with(metric->name, "_us"));
        assert_true(strstr(metric->name, "_ms_") == NULL && strstr(metric->name, "_us_") == NULL);
        if (metric->divisor > 1) {
            assert_non_null(strstr(metric->name, "seconds"));
            assert_true(metric->divisor == 1000 || metric->divisor == 1000000);
        }
    }
}

static void each_name_stands_in_one_place_and_has_help(void **state)
{
    (void)state;
    for (unsigned i = 0; i < pawl_metrics_count; i++) {
        bool first = i == 0 || pawl_metrics[i - 1].name == NULL || pawl_metrics[i].name == NULL ||
                     strcmp(pawl_metrics[i].name, pawl_metrics[i - 1].name) != 0;

        if (pawl_metrics[i].name == NULL) {
            continue;
        }
        assert_int_equal(first, pawl_metrics[i].help != NULL);
        for (unsigned j = 0; j < i; j++) {
            if (pawl_metrics[j].name == NULL) {
                continue;
            }
            if (first) {
                assert_string_not_equal(pawl_metrics[i].name, pawl_metrics[j].name);
            }
            assert_string_not_equal(pawl_metrics[i].figure, pawl_metrics[j].figure);
        }
    }
}

static void labels_are_words_of_the_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < pawl_metrics_count; i++) {
        const char *labels = pawl_metrics[i].labels;

        if (labels != NULL) { /* name="word" */
            size_t name = strspn(labels, "abcdefghijklmnopqrstuvwxyz_");

            assert_true(name > 0 && strncmp(labels + name, "=\"", 2) == 0);
            assert_true(ends_with(labels, "\""));
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_say_what_and_in_which_unit),
        cmocka_unit_test(each_name_stands_in_one_place_and_has_help),
        cmocka_unit_test(labels_are_words_of_the_table),
    };

    if (argc == 2 && strcmp(argv[1], "--print") == 0) { /* deploy/METRICS.md */
        pawl_metrics_print_reference(stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
