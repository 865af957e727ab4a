/* ops/settings: limits, listeners, and settings that concern each other. */
#include "core/limiter.h"
#include "unit/settings_loaded.h"

/* ---- limits -------------------------------------------------------------------------------- */

static void limits_are_read_with_all_their_fields(void **state)
{
    struct loaded *loaded = load("limits:\n"
                                 "  login: {rate: 5/minute, on_error: closed}\n"
                                 "  api:\n"
                                 "    rate: [60/minute, \"1000/day, 1 per 2 s\"]\n"
                                 "    precision: 128\n"
                                 "    namespace: shop\n"
                                 "    when_full: open\n"
                                 "    count_denied: true\n"
                                 "    consistency: exact\n"
                                 "    algorithm: sliding\n"
                                 "  api.premium: {rate: 0/minute}\n");
    const struct pawl_limit_settings *limit;

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->limit_count, 3);
    limit = &loaded->settings->limits[0];
    assert_string_equal(limit->name, "api");
    assert_string_equal(limit->ns, "shop");
    assert_int_equal(limit->rate_count, 3);
    assert_int_equal(limit->rates[0].count, 60);
    assert_int_equal(limit->rates[0].window_ms, 60000);
    assert_int_equal(limit->rates[1].window_ms, 86400000);
    assert_int_equal(limit->rates[2].window_ms, 2000);
    assert_int_equal(limit->precision, 128);
    assert_int_equal(limit->when_full, PAWL_WHEN_FULL_OPEN);
    assert_int_equal(limit->consistency, PAWL_CONSISTENCY_EXACT);
    assert_true(limit->count_denied);
    assert_int_equal(limit->on_error, PAWL_ON_ERROR_NONE);
    assert_string_equal(loaded->settings->limits[1].name, "api.premium");
    assert_int_equal(loaded->settings->limits[1].rates[0].count, 0);
    assert_int_equal(loaded->settings->limits[2].on_error, PAWL_ON_ERROR_CLOSED);
    assert_string_equal(loaded->settings->limits[2].ns, "default");
    assert_int_equal(loaded->settings->limits[2].precision, 64);
    done(loaded);
}

static void a_bad_rate_is_told_with_its_position(void **state)
{
    (void)state;
    assert_refused("limits: {a: {rate: 5/fortnight}}\n", ":1:22: limits.a.rate: ");
    assert_refused("limits: {a: {rate: \"5/fortnight\"}}\n", ":1:23: limits.a.rate: ");
    assert_refused("limits: {a: {rate: [5/s, 6/fortnight]}}\n", ":1:28: limits.a.rate: ");
    assert_refused("limits: {a: {rate: [5/s, {x: 1}]}}\n",
                   ":1:26: limits.a.rate: is a mapping where");
    assert_refused("limits: {a: {rate: []}}\n", "limits.a.rate: is an empty list");
    assert_refused("limits: {a: {rate: [1/s, 2/1s]}}\n", "is there twice");
    assert_refused("limits: {a: {rate: [1/s,1/2s,1/3s,1/4s,1/5s,1/6s,1/7s,1/8s,1/9s]}}\n",
                   "more than 8 rates");
    assert_refused("limits: {a: {rate: 1/s}, b: {rate: 1/s}}\nlimits: {c: {rate: 1/s}}\n",
                   "2:1: limits: is set twice, first at line 1");
    assert_refused("limits: {a: {on_error: open}}\n", "1:13: limits.a: has no rate; add rate");
}

static void names_of_limits_are_checked(void **state)
{
    char text[256];

    (void)state;
    assert_refused("limits: {\"a b\": {rate: 1/s}}\n", "limits.a b: a name with spaces");
    assert_refused("limits: {\"a=b\": {rate: 1/s}}\n", "limits.a=b: a name with spaces");
    assert_refused("limits: {\"\": {rate: 1/s}}\n", "a limit's name has 1 to 64 bytes; this has 0");
    (void)snprintf(text, sizeof(text), "limits: {%.*s: {rate: 1/s}}\n", 65,
                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_refused(text, "this has 65");
}

static void more_limits_than_the_maximum_are_refused(void **state)
{
    const size_t size = (size_t)64 * (PAWL_SETTINGS_LIMITS_MAX + 1);
    char *text = calloc(1, size);
    size_t used = (size_t)snprintf(text, size, "limits:\n");
    struct loaded *loaded;

    (void)state;
    for (unsigned i = 0; i < PAWL_SETTINGS_LIMITS_MAX; i++) {
        used += (size_t)snprintf(text + used, size - used, "  l%u: {rate: 1/s}\n", i);
    }
    loaded = load(text);
    assert_good(loaded);
    assert_int_equal(loaded->settings->limit_count, PAWL_SETTINGS_LIMITS_MAX);
    done(loaded);
    (void)snprintf(text + used, size - used, "  more: {rate: 1/s}\n");
    assert_refused(text, "limits: has 1025; give at most 1024");
    free(text);
}

/* ---- listeners ----------------------------------------------------------------------------- */

static void listeners_are_read_in_both_forms(void **state)
{
    struct loaded *loaded = load("listen:\n"
                                 "  - unix:run/p.sock\n"
                                 "  - {uri: \"tcp:localhost:0\", role: check}\n"
                                 "  - {uri: \"tcp:[::1]:7401\", role: [read, check]}\n"
                                 "  - {uri: \"unix:/x\", mode: 0600, role: [revoke, admin]}\n"
                                 "  - {uri: \"tcp:0.0.0.0:7401\", insecure: true}\n"
                                 "  - unix:@name\n");
    const struct pawl_listen_settings *listen;

    (void)state;
    assert_good(loaded);
    listen = loaded->settings->listen;
    assert_int_equal(loaded->settings->listen_count, 6);
    assert_string_equal(listen[0].uri, "unix:/etc/pawl/run/p.sock");
    assert_string_equal(listen[0].address.path, "/etc/pawl/run/p.sock");
    assert_string_equal(listen[1].address.host, "127.0.0.1");
    assert_int_equal(listen[0].mode, 0660);
    assert_int_equal(listen[1].mode, 0);
    assert_int_equal(listen[5].mode, 0);
    assert_int_equal(listen[1].role, PAWL_GRANT_CHECK);
    assert_string_equal(listen[2].uri, "tcp:[::1]:7401");
    assert_string_equal(listen[2].address.host, "::1");
    assert_int_equal(listen[3].mode, 0600);
    assert_int_equal(listen[3].role, PAWL_GRANT_REVOKE | PAWL_GRANT_ADMIN);
    assert_true(listen[4].insecure);
    assert_true(listen[5].address.is_abstract);
    done(loaded);
}

static void wrong_listeners_are_refused(void **state)
{
    (void)state;
    assert_refused("listen: []\n", "1:9: listen: has 0 addresses; give 1 to 16");
    assert_refused("listen:\n", "listen: has no value; write a list");
    assert_refused("listen: {uri: \"unix:/x\"}\n", "listen: is a mapping; write a list");
    assert_refused("listen: [[a]]\n", "listen[0]: is a list; write an address");
    assert_refused("listen: [\"\"]\n", "listen[0]: address \"\"");
    assert_refused("listen: [{uri: [a]}, [b], \"unix:/x\"]\n", "listen[0].uri: is a list");
    assert_refused("listen: [{role: check}]\n", "listen[0]: has no uri");
    assert_refused("listen: [\"udp:1\"]\n", "1:10: listen[0]: ");
    assert_refused("listen: [\"tls:127.0.0.1:1\"]\n",
                   "1:10: listen[0]: \"tls:127.0.0.1:1\" needs tls.certificate and tls.key");
    assert_refused("listen: [\"tcp:example.org:1\"]\n",
                   "\"example.org\" is a name; write the number");
    assert_refused(
        "listen: [\"tcp:0.0.0.0:1\"]\n",
        "is open beyond this machine without TLS; listen on 127.0.0.1, or permit it with "
        "listen: [{uri: \"tcp:0.0.0.0:1\", insecure: true}]");
    assert_refused("listen: [{uri: \"tcp:[::]:1\", insecure: false}]\n", "is open beyond");
    assert_refused("listen: [{uri: \"tcp:127.0.0.1:1\", role: revoke}]\n",
                   "1:41: listen[0].role: tcp: grants check and read only");
    assert_refused("listen: [{uri: \"tcp:127.0.0.1:1\", role: []}]\n", "is an empty list");
    assert_refused("listen: [{uri: \"tcp:127.0.0.1:1\", mode: 0600}]\n",
                   "listen[0].mode: is for unix: addresses");
    assert_refused("listen: [{uri: \"unix:/x\", mode: 0999}]\n", "\"0999\" is not a mode");
    assert_refused("listen: [{uri: \"unix:/x\", mode: 60}]\n", "\"60\" is not a mode");
    assert_refused("listen: [\"unix:/x\", \"unix:/x\"]\n",
                   "listen[1]: \"unix:/x\" is there already as listen[0]");
}

static void what_does_nothing_is_a_warning(void **state)
{
    struct loaded *loaded = load("listen: [{uri: \"tcp:127.1.2.3:1\", insecure: true}]\n"
                                 "rotation: {leeway: 61s}\n");

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->problems.count, 2);
    assert_int_equal(loaded->problems.errors, 0);
    assert_told(loaded, ":1:45: warning: listen[0].insecure: does nothing");
    assert_told(loaded, ":2:20: warning: rotation.leeway: above 60s");
    done(loaded);
}

/* ---- several settings together ------------------------------------------------------------- */

static void secrets_are_one_or_two_files(void **state)
{
    struct loaded *loaded = load("secret_file: s\n");

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->secret_count, 1);
    assert_string_equal(loaded->settings->secret_files[0], "/etc/pawl/s");
    done(loaded);
    loaded = load("secret_files: [/new, /old]\n");
    assert_good(loaded);
    assert_int_equal(loaded->settings->secret_count, 2);
    assert_string_equal(loaded->settings->secret_files[0], "/new");
    assert_string_equal(loaded->settings->secret_files[1], "/old");
    done(loaded);
    assert_refused("secret_file: a\nsecret_files: [b]\n", "2:15: secret_files: secret_file is set");
    assert_refused("secret_files: [/a, /a]\n", "names the same file twice");
    assert_refused("secret_files: [/a, /b, /c]\n",
                   "1:24: secret_files: is one path more than the 2");
}

static void settings_that_contradict_each_other_are_refused(void **state)
{
    struct loaded *loaded;

    (void)state;
    assert_refused("tokens: {when_stale: accept_until}\n", "1:22: tokens.when_stale: accept_until "
                                                           "needs tokens.stale_accept_max");
    assert_refused("tokens: {stale_accept_max: 5m}\n", "tokens.stale_accept_max: does nothing");
    loaded = load("tokens: {when_stale: accept_until, stale_accept_max: 5m}\n");
    assert_good(loaded);
    assert_int_equal(loaded->settings->tokens.when_stale, PAWL_STALE_OPEN_UNTIL);
    assert_int_equal(loaded->settings->tokens.stale_accept_max_ms, 300000);
    done(loaded);
    assert_refused("server: {output_max: 16MiB, buffers_max: 8MiB}\n",
                   "server.output_max: is more");
    assert_refused("store: {queue_max: 16, batch_max: 17}\n", "store.batch_max: is more");
}

static void a_limit_s_name_is_its_key_unless_written(void **state)
{
    struct loaded *loaded = load("limits:\n"
                                 "  a-login: {name: login, namespace: a, rate: 5/minute}\n"
                                 "  login: {rate: 5/minute}\n"
                                 "  zone: {name: login, namespace: z, rate: 5/minute}\n");

    (void)state;
    assert_good(loaded);
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(loaded->settings->limits[i].name, "login");
    }
    assert_string_equal(loaded->settings->limits[0].id, "a-login");
    assert_string_equal(loaded->settings->limits[1].ns, "default");
    done(loaded);
    assert_refused("limits:\n  a: {name: login, rate: 5/minute}\n  login: {rate: 5/minute}\n",
                   ":3:3: limits.login: limits.a has the same name and namespace");
    assert_refused("limits: {a: {name: \"x y\", rate: 5/minute}}\n", "cannot be asked for");
    assert_refused("limits: {a: {name: \"\", rate: 5/minute}}\n", "give 1 to 64");
}

static void only_default_folders_are_made(void **state)
{
    struct loaded *loaded = load(NULL);

    (void)state;
    assert_good(loaded);
    assert_true(loaded->settings->data_dir_is_default);
    assert_string_equal(loaded->settings->runtime_dir, "/run/pawl");
    done(loaded);
    loaded = load("data_dir: /var/lib/pawl\nlisten: [\"unix:/run/pawl/pawld.sock\"]\n");
    assert_good(loaded);
    assert_true(loaded->settings->data_dir_is_default);
    assert_string_equal(loaded->settings->runtime_dir, "/run/pawl");
    done(loaded);
    loaded = load("data_dir: /srv/pawl\nlisten: [\"unix:/run/pawl/other.sock\"]\n");
    assert_good(loaded);
    assert_false(loaded->settings->data_dir_is_default);
    assert_null(loaded->settings->runtime_dir);
    done(loaded);
}

static void a_service_folder_that_is_no_path_is_not_taken(void **state)
{
    struct pawl_settings_env env = env_of_root();
    struct pawl_settings_sources sources = { .env = &env };

    (void)state;
    env.state_directory = "pawl:/x";
    env.runtime_directory = ":";
    struct loaded *loaded = load_sources(sources, NULL);

    assert_good(loaded);
    assert_string_equal(loaded->settings->data_dir, "/var/lib/pawl");
    assert_string_equal(loaded->settings->listen[0].uri, "unix:/run/pawl/pawld.sock");
    done(loaded);
}

static void a_mode_that_lets_nobody_in_is_refused(void **state)
{
    (void)state;
    assert_refused("listen: [{uri: \"unix:/x\", mode: 0000}]\n", "\"0000\" is not a mode");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_read_with_all_their_fields),
        cmocka_unit_test(a_bad_rate_is_told_with_its_position),
        cmocka_unit_test(names_of_limits_are_checked),
        cmocka_unit_test(more_limits_than_the_maximum_are_refused),
        cmocka_unit_test(listeners_are_read_in_both_forms),
        cmocka_unit_test(wrong_listeners_are_refused),
        cmocka_unit_test(what_does_nothing_is_a_warning),
        cmocka_unit_test(secrets_are_one_or_two_files),
        cmocka_unit_test(settings_that_contradict_each_other_are_refused),
        cmocka_unit_test(a_limit_s_name_is_its_key_unless_written),
        cmocka_unit_test(only_default_folders_are_made),
        cmocka_unit_test(a_service_folder_that_is_no_path_is_not_taken),
        cmocka_unit_test(a_mode_that_lets_nobody_in_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
