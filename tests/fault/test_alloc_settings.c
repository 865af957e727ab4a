/*
 * Settings while memory runs out: the file, the options and the tree of them, with the n-th
 * allocation failing, for each n, once and for ever.
 */
#include "support/alloc_fault.h"

#include "adapter/yaml/yaml.h"
#include "ops/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLS_MAX 20000 /* far above what loading takes; more is a loop without an end */

static const char good_file[] =
    "# all kinds of nodes\n"
    "listen: [\"unix:/run/pawl/pawld.sock\", {uri: \"tcp:127.0.0.1:7401\", role: check}]\n"
    "data_dir: /var/lib/pawl\n"
    "memory_max: 64MiB\n"
    "limits:\n"
    "  login: {rate: 5/minute, on_error: closed}\n"
    "  api: {rate: [60/minute, 1000/day], precision: 8}\n"
    "  quota: {rate: 9/month, algorithm: calendar, zone: Europe/Berlin,\n"
    "          overrides: {k: 99/month}, bypass: [a, b*]}\n"
    "tokens: {max_lifetime: 30d}\n"
    "rotation: {leeway: 10s, mode: idempotent}\n"
    "http: \"127.0.0.1:7402\"\n"
    "http_hosts: [a, b]\n"
    "jwt: {issuers: [{issuer: i, audience: [a], keys: [{kid: k, alg: RS256, file: f}]}]}\n"
    "tls: {certificate: c, key: k, ca: a, clients: [{san: \"dns:x\", role: [read]}]}\n"
    "credentials: [{id: a, secret_file: s, role: check, namespaces: [n]}]\n";

static const char bad_file[] = "listen: 7\n"
                               "limits:\n"
                               "  login: {rate: 5/fortnight, on_error: perhaps}\n"
                               "  login: {rate: 5/minute}\n"
                               "nothing: {of: [the, kind\n";

static char path[] = "/tmp/pawl_alloc_XXXXXX";
static struct pawl_problems problems;

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

static enum pawl_status load(struct pawl_settings **settings)
{
    static const char *const sets[] = { "limits.more={rate: 1/s}", "server.workers=2" };
    struct pawl_config_parser parser = pawl_yaml_parser();
    struct pawl_settings_env env = { .root = true, .cwd = "/start" };
    struct pawl_settings_sources sources = {
        .parser = &parser, .env = &env, .config_file = path, .sets = sets, .set_count = 2
    };

    memset(&problems, 0, sizeof(problems));
    *settings = NULL;
    return pawl_settings_load(&sources, &problems, settings);
}

/* Each allocation of a load fails in turn. Returns how many there were. */
static unsigned fail_each(enum pawl_status expected, uint64_t length)
{
    for (unsigned nth = 1; nth < CALLS_MAX; nth++) {
        struct pawl_settings *settings;

        alloc_arm(nth, length);
        enum pawl_status status = load(&settings);
        uint64_t failed = alloc_disarm();

        if (failed == 0) {
            assert_int_equal(status, expected);
            pawl_settings_destroy(settings);
            return nth - 1;
        }
        if (status == PAWL_OK) { /* what failed was not needed: then nothing is missing */
            assert_int_equal(expected, PAWL_OK);
            assert_non_null(settings);
            assert_int_equal(settings->limit_count, 4);
        } else {
            assert_null(settings);
            if (status == PAWL_EINVAL) {
                assert_true(problems.errors > 0);
                assert_true(problems.items[0].text[0] != '\0');
            } else {
                assert_true(status == PAWL_ENOMEM || status == PAWL_EIO);
            }
        }
        pawl_settings_destroy(settings);
    }
    fail_msg("a load takes more than %d allocations", CALLS_MAX);
    return 0;
}

static void without_memory_no_settings_are_loaded_and_none_by_halves(void **state)
{
    (void)state;
    write_file(good_file);
    unsigned once = fail_each(PAWL_OK, 1);
    unsigned for_ever = fail_each(PAWL_OK, ALLOC_FOR_EVER);

    assert_true(once > 10 && for_ever > 10);
    print_message("%u allocations\n", once);
}

static void without_memory_wrong_settings_stay_wrong(void **state)
{
    (void)state;
    write_file(bad_file);
    assert_true(fail_each(PAWL_EINVAL, 1) > 10);
    assert_true(fail_each(PAWL_EINVAL, ALLOC_FOR_EVER) > 10);
}

static void without_memory_good_settings_are_not_called_wrong(void **state)
{
    struct pawl_settings *settings;

    (void)state;
    write_file(good_file);
    alloc_arm(1, ALLOC_FOR_EVER);
    enum pawl_status status = load(&settings);

    (void)alloc_disarm();
    assert_int_equal(status, PAWL_ENOMEM);
}

static int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_no_settings_are_loaded_and_none_by_halves),
        cmocka_unit_test(without_memory_wrong_settings_stay_wrong),
        cmocka_unit_test(without_memory_good_settings_are_not_called_wrong),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
