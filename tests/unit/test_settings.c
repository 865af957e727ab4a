/* ops/settings: the table, values, all sources together, printing, comparing two. */
#include <dirent.h>
#include <fnmatch.h>

#include "unit/settings_effects.h"
#include "unit/settings_loaded.h"

#define FILE_BYTES 262144 /* of a file of the project, at most */

/* ---- the table ----------------------------------------------------------------------------- */

static const struct setting_effect *find_effect(const char *path)
{
    for (size_t i = 0; i < sizeof(setting_effects) / sizeof(setting_effects[0]); i++) {
        if (strcmp(setting_effects[i].path, path) == 0) {
            return &setting_effects[i];
        }
    }
    return NULL;
}

/** The text of a file of the project, found from this source's own place. */
static char *read_project_file(const char *path)
{
    char full[1024];
    char *text = calloc(1, FILE_BYTES);
    size_t size = 0;
    FILE *file;

    (void)snprintf(full, sizeof(full), "%.*s/../../%s", (int)(strrchr(__FILE__, '/') - __FILE__),
                   __FILE__, path);
    file = fopen(full, "r");
    if (file == NULL) {
        free(text);
        fail_msg("%s cannot be read", full);
        return NULL;
    }
    if (text != NULL) {
        size = fread(text, 1, FILE_BYTES - 1, file);
    }
    (void)fclose(file);
    assert_non_null(text);
    assert_in_range(size, 1, FILE_BYTES - 2); /* else a part was not read */
    return text;
}

/** Whether the project's file @path has @line. */
static bool stands_in(const char *path, const char *line)
{
    char *text = read_project_file(path);
    bool found = strstr(text, line) != NULL;

    free(text);
    return found;
}

/** Whether a file of tests/integration has @line. */
static bool stands_in_integration(const char *line)
{
    char path[1024];
    bool found = false;
    struct dirent *entry;
    DIR *folder;

    (void)snprintf(path, sizeof(path), "%.*s/../integration",
                   (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__);
    folder = opendir(path);
    assert_non_null(folder);
    while (!found && (entry = readdir(folder)) != NULL) {
        if (fnmatch("test_*.py", entry->d_name, 0) == 0) {
            (void)snprintf(path, sizeof(path), "tests/integration/%.200s", entry->d_name);
            found = stands_in(path, line);
        }
    }
    (void)closedir(folder);
    return found;
}

/** Whether the test that @seen_by names ("integration:NAME", "unit_FILE:NAME") is there. */
static bool is_written(const char *seen_by)
{
    const char *colon = strchr(seen_by, ':');
    char path[200];
    char line[160];

    if (strncmp(seen_by, "unit_", 5) == 0) {
        (void)snprintf(path, sizeof(path), "tests/unit/test_%.*s.c", (int)(colon - seen_by - 5),
                       seen_by + 5);
        (void)snprintf(line, sizeof(line), "cmocka_unit_test(%.120s)", colon + 1);
        return stands_in(path, line);
    }
    (void)snprintf(line, sizeof(line), "def %.120s(", colon + 1);
    return stands_in_integration(line);
}

static void every_setting_names_a_test_that_sees_its_effect(void **state)
{
    unsigned missing = 0;

    (void)state;
    const struct pawl_setting *row;

    for (size_t i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if ((row->flags & PAWL_SETTING_LATER) == 0 && find_effect(row->path) == NULL) {
            print_error("%s: no test sees its effect; name one in settings_effects.h\n", row->path);
            missing++;
        }
    }
    for (size_t i = 0; i < sizeof(setting_effects) / sizeof(setting_effects[0]); i++) {
        const struct setting_effect *effect = &setting_effects[i];

        if (pawl_setting_find(effect->path) == NULL) {
            print_error("%s: is not a setting\n", effect->path);
            missing++;
        } else if (!is_written(effect->seen_by)) {
            print_error("%s: there is no test %s\n", effect->path, effect->seen_by);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
}

static void every_row_is_whole_and_there_once(void **state)
{
    (void)state;
    const struct pawl_setting *row;

    for (size_t i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        assert_ptr_equal(pawl_setting_find(row->path), row);
        assert_true(strlen(row->help) > 10 && strlen(row->help) < 100);
        if ((row->flags & PAWL_SETTING_LATER) != 0) {
            continue;
        }
        assert_true(row->type != PAWL_SETTING_NONE);
        assert_true(row->initial != NULL || row->initial_help != NULL ||
                    (row->flags & PAWL_SETTING_REQUIRED) != 0);
        assert_true((row->words != NULL) ==
                    (row->type == PAWL_SETTING_WORD || row->type == PAWL_SETTING_WORDS ||
                     row->type == PAWL_SETTING_ACKS));
    }
}

static void note_path(void *ctx, const char *path, bool reloadable)
{
    char *text = ctx;

    (void)snprintf(text + strlen(text), 400 - strlen(text), "%s%s ", path,
                   reloadable ? "" : " (fixed)");
}

/** Settings in which the setting @path may have another value. */
static const char *base_for(const char *path)
{
    static const char *const bases[][2] = {
        { "limits.*.burst", "limits: {l: {rate: 5/minute, algorithm: gcra}}\n" },
        { "limits.*.zone", "limits: {l: {rate: 5/month, algorithm: calendar}}\n" },
        { "limits.*.anchor_day", "limits: {l: {rate: 5/month, algorithm: calendar}}\n" },
        { "limits.*.algorithm", "limits: {l: {rate: 5/minute}}\n" },
        { "http_insecure", "http: \"127.0.0.1:0\"\n" },
        { "tls.", "tls: {certificate: /c, key: /k, ca: /a}\n"
                  "listen: [\"tls:127.0.0.1:7403\"]\n" },
    };

    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        if (strncmp(path, bases[i][0], strlen(bases[i][0])) == 0) {
            return bases[i][1];
        }
    }
    return "limits: {l: {rate: 5/minute}}\n";
}

static void every_setting_takes_another_value_prints_it_and_counts_as_changed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(setting_effects) / sizeof(setting_effects[0]); i++) {
        const struct setting_effect *effect = &setting_effects[i];
        const struct pawl_setting *row = pawl_setting_find(effect->path);
        const char *base = base_for(effect->path);
        struct loaded *before;
        struct loaded *after;
        char value[PAWL_SETTING_TEXT_BYTES];
        char changes[400] = "";
        char expected[200];
        char *text;
        struct loaded *again;

        if (effect->set == NULL) {
            continue;
        }
        before = load(base);
        assert_good(before);
        after = load_set(base, effect->set);
        assert_good(after);
        pawl_setting_format(row,
                            row->scope == PAWL_SCOPE_ROOT ? (const void *)after->settings
                                                          : (const void *)after->settings->limits,
                            value);
        assert_string_equal(value, effect->printed);
        (void)snprintf(expected, sizeof(expected), "%.*s%s ", (int)strcspn(effect->set, "="),
                       effect->set, (row->flags & PAWL_SETTING_RELOADABLE) != 0 ? "" : " (fixed)");
        assert_int_equal(pawl_settings_diff(before->settings, after->settings, note_path, changes),
                         (row->flags & PAWL_SETTING_RELOADABLE) != 0 ? 0 : 1);
        assert_string_equal(changes, expected);
        text = print(after->settings);
        again = load(text);
        assert_good(again);
        changes[0] = '\0';
        assert_int_equal(pawl_settings_diff(after->settings, again->settings, note_path, changes),
                         0);
        assert_string_equal(changes, "");
        free(text);
        done(again);
        done(after);
        done(before);
    }
}

/* ---- defaults ------------------------------------------------------------------------------ */

static void the_defaults_are_those_of_the_design(void **state)
{
    struct loaded *loaded = load(NULL);
    const struct pawl_settings *settings = loaded->settings;

    (void)state;
    assert_good(loaded);
    assert_int_equal(settings->listen_count, 2);
    assert_string_equal(settings->listen[0].uri, "unix:/run/pawl/pawld.sock");
    assert_int_equal(settings->listen[0].address.kind, PAWL_ADDRESS_UNIX);
    assert_int_equal(settings->listen[0].mode, 0660);
    assert_int_equal(settings->listen[0].role, 15);
    assert_string_equal(settings->listen[1].uri, "tcp:127.0.0.1:7401");
    assert_int_equal(settings->listen[1].address.port, 7401);
    assert_int_equal(settings->listen[1].role, PAWL_GRANT_CHECK | PAWL_GRANT_READ);
    assert_string_equal(settings->data_dir, "/var/lib/pawl");
    assert_int_equal(settings->secret_count, 0);
    assert_int_equal(settings->memory_max_bytes, 256 << 20);
    assert_int_equal(settings->revocations_max, 16 << 20);
    assert_int_equal(settings->limit_count, 0);
    assert_int_equal(settings->tokens.max_lifetime_ms, UINT64_C(30) * 86400 * 1000);
    assert_int_equal(settings->tokens.skew_ms, 5000);
    assert_int_equal(settings->tokens.staleness_max_ms, 5000);
    assert_int_equal(settings->tokens.when_stale, PAWL_STALE_UNDECIDED);
    assert_int_equal(settings->tokens.older_than_store, PAWL_OLDER_ACCEPT);
    assert_int_equal(settings->rotation.leeway_ms, 10000);
    assert_int_equal(settings->rotation.mode, PAWL_ROTATION_IDEMPOTENT);
    assert_int_equal(settings->rotation.on_reuse, PAWL_ON_REUSE_REVOKE_FAMILY);
    assert_int_equal(settings->rotation.family_max_ms, 0);
    assert_int_equal(settings->rotation.adopt_before_s, 0);
    assert_int_equal(settings->store.counters_interval_ms, 1000);
    assert_int_equal(settings->store.counters_write_max_bytes, 32 << 20);
    assert_int_equal(settings->log_level, PAWL_LOG_INFO);
    assert_string_equal(settings->http.text, "127.0.0.1:7402");
    assert_int_equal(settings->jwt.issuer_count, 0);
    assert_string_equal(settings->tls.certificate, "");
    assert_int_equal(settings->credential_count, 0);
    assert_string_equal(settings->audit.file, "");
    assert_int_equal(settings->audit.denied_per_s, 10);
    assert_int_equal(settings->leases_max, 65536);
    assert_true(settings->watch);
    assert_true(settings->sandbox);
    assert_int_equal(loaded->problems.count, 0);
    done(loaded);
}

static void assert_places(struct pawl_settings_env env, const char *listen, const char *data_dir)
{
    struct pawl_settings_sources sources = { .env = &env };
    struct loaded *loaded = load_sources(sources, NULL);

    assert_good(loaded);
    assert_string_equal(loaded->settings->listen[0].uri, listen);
    assert_string_equal(loaded->settings->data_dir, data_dir);
    done(loaded);
}

static void default_places_follow_the_environment(void **state)
{
    (void)state;
    assert_places((struct pawl_settings_env){ .xdg_runtime_dir = "/run/user/7", .home = "/home/u" },
                  "unix:/run/user/7/pawl/pawld.sock", "/home/u/.local/state/pawl");
    assert_places((struct pawl_settings_env){ .xdg_runtime_dir = "/r",
                                              .xdg_state_home = "/home/u/state",
                                              .home = "/home/u" },
                  "unix:/r/pawl/pawld.sock", "/home/u/state/pawl");
    assert_places((struct pawl_settings_env){ .root = true,
                                              .runtime_directory = "/run/a:/run/b",
                                              .state_directory = "/var/lib/a:/var/lib/b" },
                  "unix:/run/a/pawld.sock", "/var/lib/a");
    assert_places((struct pawl_settings_env){ .home = "/home/u" },
                  "unix:/home/u/.local/state/pawl/pawld.sock", "/home/u/.local/state/pawl");
}

static void without_any_place_for_state_that_is_said(void **state)
{
    struct pawl_settings_env env = { .xdg_runtime_dir = "/r" };
    struct pawl_settings_sources sources = { .env = &env };
    struct loaded *loaded = load_sources(sources, NULL);

    (void)state;
    assert_int_equal(loaded->status, PAWL_EINVAL);
    assert_told(loaded, "data_dir: is not set, and neither");
    done(loaded);
}

/* ---- values -------------------------------------------------------------------------------- */

static void sizes_and_durations_take_their_units(void **state)
{
    struct loaded *loaded = load("memory_max: 33554432\n"
                                 "server: {output_max: 2048KiB, buffers_max: \"1 GiB\"}\n"
                                 "tokens: {skew: 0, staleness_max: 1m, max_lifetime: 48h}\n");

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->memory_max_bytes, 32 << 20);
    assert_int_equal(loaded->settings->server.output_max_bytes, 2 << 20);
    assert_int_equal(loaded->settings->server.buffers_max_bytes, 1 << 30);
    assert_int_equal(loaded->settings->tokens.skew_ms, 0);
    assert_int_equal(loaded->settings->tokens.staleness_max_ms, 60000);
    assert_int_equal(loaded->settings->tokens.max_lifetime_ms, UINT64_C(2) * 86400000);
    done(loaded);
}

static void wrong_values_say_what_to_write(void **state)
{
    (void)state;
    assert_refused("memory_max: 256MB\n", "/etc/pawl/p.yaml:1:13: memory_max: 256MB has an unknown "
                                          "unit; give one of B, KiB, MiB, GiB or TiB");
    assert_refused("memory_max: 1\n", ":1:13: memory_max: 1 is too little; give 8MiB to 32GiB");
    assert_refused("memory_max: 33GiB\n", "33GiB is too much; give 8MiB to 32GiB");
    assert_refused("memory_max: 99999999999999TiB\n", "is too much");
    assert_refused("memory_max: 999999999999999999999\n", "is not a number with a unit");
    assert_refused("memory_max: -1\n", "is not a number with a unit; write it like 256MiB");
    assert_refused("tokens: {skew: 5}\n", ":1:16: tokens.skew: 5 has no unit; give one of ms, s");
    assert_refused("tokens: {skew: 1500ms}\n", "is not a whole number of seconds");
    assert_refused("tokens: {skew: 61s}\n", "61s is too much; give 0s to 1m");
    assert_refused("tokens: {skew: 5 years}\n", "5 years has an unknown unit");
    assert_refused("revocations_max: many\n", "\"many\" is not a whole number; give 1024 to");
    assert_refused("revocations_max: 1.5\n", "is not a whole number");
    assert_refused("revocations_max: 0x10\n", "is not a whole number");
    assert_refused("revocations_max:\n", "1:17: revocations_max: has no value");
    assert_refused("revocations_max: [1]\n", "is a list; give 1024 to");
    assert_refused("revocations_max: {a: 1}\n", "is a mapping; give 1024 to");
    assert_refused("limits: {l: {rate: 1/s, count_denied: yes}}\n",
                   "\"yes\" is neither true nor false");
    assert_refused("rotation: {adopt_before: tomorrow}\n", "\"tomorrow\" is not a time; write off");
    assert_refused("data_dir: \"a\\nb\"\n", "holds control characters");
    assert_refused("data_dir: \"\"\n", "data_dir: is empty; give a path");
    assert_refused("limits: {l: {rate: 1/s, namespace: \"\"}}\n", "has 0 bytes; give 1 to 64");
}

static void bounds_hold_on_both_sides(void **state)
{
    char text[128];

    (void)state;
    const struct pawl_setting *row;

    for (size_t i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        const char *dot = strchr(row->path, '.');
        uint64_t step = row->step > 1 ? row->step : 1;
        const uint64_t values[] = { row->min - step, row->min, row->max, row->max + step };

        if (row->scope != PAWL_SCOPE_ROOT ||
            (row->type != PAWL_SETTING_UINT && row->type != PAWL_SETTING_SIZE &&
             row->type != PAWL_SETTING_DURATION)) {
            continue;
        }
        for (size_t k = row->min == 0 ? 1 : 0; k < 4; k++) {
            struct loaded *loaded;
            char expected[128];

            (void)snprintf(text, sizeof(text), "%.*s%s%s: %llu%s\n",
                           dot != NULL ? (int)(dot - row->path) : 0, row->path,
                           dot != NULL ? ": {" : "", dot != NULL ? dot + 1 : row->path,
                           (unsigned long long)values[k],
                           row->type == PAWL_SETTING_DURATION ? "ms" : "");
            if (dot != NULL) {
                (void)snprintf(text + strlen(text) - 1, 3, "}\n");
            }
            loaded = load(text);
            (void)snprintf(expected, sizeof(expected), "%s: %llu%s is too %s", row->path,
                           (unsigned long long)values[k],
                           row->type == PAWL_SETTING_DURATION ? "ms" : "",
                           k == 0 ? "little" : "much");
            if (k == 0 || k == 3) {
                assert_told(loaded, expected);
            } else {
                assert_null(strstr(loaded->text, "is too"));
            }
            done(loaded);
        }
    }
}

static void a_word_that_is_not_known_gets_a_hint(void **state)
{
    (void)state;
    assert_refused("rotation: {mode: sotf}\n",
                   "\"sotf\" is not known; did you mean soft? (idempotent, soft)");
    assert_refused("log: {level: verbose}\n",
                   "\"verbose\" is not known; give one of debug, info, warn, error");
    assert_refused("limits: {l: {rate: 1/s, algorithm: bucket}}\n",
                   "1:36: limits.l.algorithm: \"bucket\" is not known; give one of sliding");
}

static void an_unknown_key_gets_the_nearest_one(void **state)
{
    (void)state;
    assert_refused("memory_mx: 1GiB\n",
                   "1:1: memory_mx: is not a setting; did you mean memory_max?");
    assert_refused("tokens:\n  staleness: 5s\n  leway: 1s\n", "2:3: tokens.staleness: is not");
    assert_refused("rotation: {leewya: 1s}\n", "rotation.leewya: is not a setting; did you mean "
                                               "leeway?");
    assert_refused("limits: {api: {raet: 1/s}}\n",
                   "1:16: limits.api.raet: is not a setting; did you mean rate?");
    assert_refused("listen: [{url: \"tcp:127.0.0.1:1\"}]\n",
                   "1:11: listen[0].url: is not a setting; did you mean uri?");
    assert_refused("zzzzzzzzz: 1\n",
                   "zzzzzzzzz: is not a setting; remove it, known here are listen");
    assert_refused("tokens.skew: 5s\n", "1:1: tokens.skew: dotted names are for --set");
}

static void sections_may_be_empty_and_must_be_mappings(void **state)
{
    struct loaded *loaded = load("limits:\ntokens:\nrotation: ~\n");

    (void)state;
    assert_good(loaded);
    done(loaded);
    assert_refused("tokens: 5\n", "1:9: tokens: is a text; write a mapping of its settings");
    assert_refused("limits: [a]\n", "limits: is a list; write a mapping like");
    assert_refused("limits: {api: 60/minute}\n", "limits.api: is a text; write {rate: 100/minute}");
    assert_refused("- a\n- b\n", "1:1: the file is not a mapping");
    assert_refused("hello\n", "the file is not a mapping");
}

static void a_reload_refuses_a_file_with_nothing_in_it(void **state)
{
    static const char *const nothing[] = { "", "\n\n", "# soon\n", "---\n" };
    struct pawl_settings_sources again = { .reload = true };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct loaded *first = load(nothing[i]);
        struct loaded *loaded = load_sources(again, nothing[i]);

        assert_good(first);
        assert_int_equal(loaded->status, PAWL_EINVAL);
        assert_non_null(strstr(loaded->text, "p.yaml:1:1: the file has nothing in it"));
        done(first);
        done(loaded);
    }
    struct loaded *loaded = load_sources(again, "{}\n");

    assert_good(loaded);
    done(loaded);
}

static void everything_wrong_is_said_at_once_in_the_files_order(void **state)
{
    struct loaded *loaded = load("memory_max: 1\n"
                                 "limitz: {}\n"
                                 "memory_max: 2\n"
                                 "limits:\n"
                                 "  a: {rate: 5/fortnight}\n"
                                 "  b: {precision: 1}\n"
                                 "http: x\n"
                                 "rotation: {leeway: 301s, x: &y 1}\n");
    unsigned last = 0;

    (void)state;
    assert_int_equal(loaded->status, PAWL_EINVAL);
    assert_int_equal(loaded->problems.count, 11);
    assert_int_equal(loaded->problems.errors, 11);
    for (unsigned i = 0; i < loaded->problems.count; i++) {
        assert_true(loaded->problems.items[i].line >= last);
        last = loaded->problems.items[i].line;
    }
    assert_told(loaded, ":3:1: memory_max: is set twice, first at line 1, column 1; remove one");
    done(loaded);
}

static void problems_beyond_the_cap_are_counted(void **state)
{
    char text[8192] = "";
    struct loaded *loaded;

    (void)state;
    for (unsigned i = 0; i < PAWL_PROBLEMS_MAX + 20; i++) {
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "unknown_%u: 1\n", i);
    }
    loaded = load(text);
    assert_int_equal(loaded->problems.count, PAWL_PROBLEMS_MAX);
    assert_int_equal(loaded->problems.dropped, 20);
    assert_int_equal(loaded->problems.errors, PAWL_PROBLEMS_MAX + 20);
    done(loaded);
}

/* ---- the command line ---------------------------------------------------------------------- */

static void options_are_laid_over_the_file(void **state)
{
    const char *const listen[] = { "unix:s.sock" };
    const char *const sets[] = { "limits.a.rate=[7/s, 8/m]", "limits.api.premium.rate=9/s",
                                 "limits.new={rate: 1/d, on_error: open}", "tokens.skew=1s",
                                 "tokens.skew=2s" };
    struct pawl_settings_sources sources = {
        .listen = listen, .listen_count = 1, .data_dir = "state", .sets = sets, .set_count = 5
    };
    struct loaded *loaded = load_sources(sources, "listen: [\"unix:/a\", \"unix:/b\"]\n"
                                                  "data_dir: /file\n"
                                                  "limits: {a: {rate: 1/s, on_error: closed}}\n"
                                                  "tokens: {skew: 9s, max_lifetime: 1d}\n");
    const struct pawl_settings *settings = loaded->settings;

    (void)state;
    assert_good(loaded);
    assert_int_equal(settings->listen_count, 1);
    assert_string_equal(settings->listen[0].uri, "unix:/start/dir/s.sock");
    assert_string_equal(settings->data_dir, "/start/dir/state");
    assert_int_equal(settings->limit_count, 3);
    assert_int_equal(settings->limits[0].rate_count, 2);
    assert_int_equal(settings->limits[0].on_error, PAWL_ON_ERROR_CLOSED);
    assert_string_equal(settings->limits[1].name, "api.premium");
    assert_string_equal(settings->limits[2].name, "new");
    assert_int_equal(settings->tokens.skew_ms, 2000);
    assert_int_equal(settings->tokens.max_lifetime_ms, 86400000);
    done(loaded);
}

static void an_error_on_the_command_line_names_its_option(void **state)
{
    static const char *const cases[][2] = {
        { "tokens.skew=5", "--set tokens.skew=5: tokens.skew: 5 has no unit" },
        { "tokens.skwe=5s", "--set tokens.skwe=5s: tokens.skwe: is not a setting; did you mean" },
        { "nonsense", "--set nonsense: is not of the form name=value" },
        { "=5", "--set =5: is not of the form name=value" },
        { "memory_max=", "--set memory_max=: memory_max: has no value" },
        { "memory_max=[", "--set memory_max=[: is not YAML" },
        { "a.b.c.d.e=1", "--set a.b.c.d.e=1: no setting has that many dots" },
        { "tokens=5", "--set tokens=5: tokens: is a text; write a mapping" },
        { "limits.x.rate=5/fortnight", "--set limits.x.rate=5/fortnight: limits.x.rate: " },
        { "limits.x=1", "--set limits.x=1: limits.x: is a text" },
        { "http=1", "--set http=1: http: \"1\" is not the number of an address and a port" },
        { "cluster={}", "--set cluster={}: cluster: has no engine; add redis" },
        { "limits.x.rate.y=1", "limits.x.rate.y: is a text" },
        { "listen=tcp:0.0.0.0:1", "--set 'listen=[{uri: \"tcp:0.0.0.0:1\", insecure: true}]'" },
    };
    const char *const listen[] = { "tcp:1.2.3.4:5" };
    struct pawl_settings_sources sources = { .listen = listen, .listen_count = 1, .http = "x" };
    struct loaded *loaded;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        loaded = load_set(NULL, cases[i][0]);
        assert_int_equal(loaded->status, PAWL_EINVAL);
        assert_told(loaded, cases[i][1]);
        done(loaded);
    }
    loaded = load_sources(sources, NULL);
    assert_told(loaded, "--listen tcp:1.2.3.4:5: listen[0]: \"tcp:1.2.3.4:5\" is open beyond");
    assert_told(loaded, "--http x: http: \"x\" is not the number of an address and a port");
    done(loaded);
}

static void control_characters_never_reach_a_message(void **state)
{
    struct loaded *loaded = load("\"a\\x1b[31mb\": 1\n");

    (void)state;
    assert_int_equal(loaded->status, PAWL_EINVAL);
    assert_null(strchr(loaded->problems.items[0].text, 0x1b));
    done(loaded);
}

static void texts_that_are_not_utf8_are_refused_from_everywhere(void **state)
{
    const char *const listen[] = { "unix:/a\x9c" };
    struct pawl_settings_sources sources = { .listen = listen,
                                             .listen_count = 1,
                                             .data_dir = "/b\xff" };
    struct pawl_settings_env env = { .root = true, .cwd = "/c\xff", .state_directory = "/d\xff" };
    struct loaded *loaded = load_sources(sources, NULL);

    (void)state;
    assert_told(loaded, "listen[0]: is not UTF-8");
    assert_told(loaded, "data_dir: holds control characters or is not UTF-8");
    done(loaded);
    sources = (struct pawl_settings_sources){ .env = &env };
    loaded = load_sources(sources, NULL);
    assert_told(loaded, "a folder in the environment has more than 1023 bytes or is not clean");
    done(loaded);
    sources.data_dir = "relative";
    loaded = load_sources(sources, NULL);
    assert_told(loaded, "data_dir: holds control characters or is not UTF-8");
    done(loaded);
    loaded = load_set(NULL, "limits.a\xff.rate=1/s");
    assert_told(loaded, "or what is not UTF-8 cannot be asked for");
    done(loaded);
}

/* ---- printing, comparing ------------------------------------------------------------------- */

static void what_is_printed_loads_to_the_same_and_prints_the_same(void **state)
{
    struct loaded *first =
        load("listen: [\"unix:@a\", \"unix:/b\", {uri: \"tcp:0.0.0.0:7\", insecure: true}]\n"
             "data_dir: 'a \"quoted\\ path\xc3\xa9'\n"
             "secret_file: \"\"\n"
             "secret_files: [\"x\\u0085\\u2028\\ufeff\", \"y\\u00a0\"]\n"
             "limits: {\"we:ird\": {rate: [1/s, 5/90s]}, on: {rate: 1/d}, \"1\": {rate: 2/h}}\n"
             "rotation: {adopt_before: \"2031-01-02T03:04:05Z\"}\n");
    char *text;
    char *again_text;
    struct loaded *again;
    char changes[400] = "";

    (void)state;
    assert_good(first);
    text = print(first->settings);
    again = load(text);
    assert_good(again);
    assert_int_equal(pawl_settings_diff(first->settings, again->settings, note_path, changes), 0);
    assert_string_equal(changes, "");
    again_text = print(again->settings);
    assert_string_equal(text, again_text);
    assert_non_null(strstr(text, "# "));
    free(text);
    free(again_text);
    done(first);
    done(again);
}

static void limits_that_come_and_go_are_reloadable_changes(void **state)
{
    struct loaded *before = load("limits: {a: {rate: 1/s}, b: {rate: 1/s}, d: {rate: 1/s}}\n");
    struct loaded *after = load("limits: {b: {rate: 2/s}, c: {rate: 1/s}, d: {rate: 1/s}}\n"
                                "listen: [\"unix:/x\"]\n");
    char changes[400] = "";

    (void)state;
    assert_int_equal(pawl_settings_diff(before->settings, after->settings, note_path, changes), 1);
    assert_string_equal(changes, "listen (fixed) limits.a limits.b.rate limits.c ");
    assert_int_equal(pawl_settings_diff(before->settings, after->settings, NULL, NULL), 1);
    done(before);
    done(after);
}

static void the_reference_lists_every_setting(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    const struct pawl_setting *row;
    char name[80];

    (void)state;
    pawl_settings_print_reference(out);
    (void)fclose(out);
    for (size_t i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        (void)snprintf(name, sizeof(name), "`%s`", row->path);
        assert_non_null(strstr(text, name));
    }
    assert_non_null(strstr(text, "| `memory_max` | 8MiB to 32GiB | `256MiB` | restart |"));
    free(text);
}

static void the_sample_config_is_good(void **state)
{
    static const char *const sections[] = { "\nlisten:",      "\nhttp:",  "\nlimits:", "\ntokens:",
                                            "\nrotation:",    "\njwt:",   "\ntls:",    "\nserver:",
                                            "\ncredentials:", "\nstore:", "\nlog:",    "\naudit:",
                                            "\ncluster:" };
    char *text = read_project_file("deploy/pawld.yaml");
    struct loaded *loaded = load(text);

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->problems.count, 0);
    assert_int_equal(loaded->settings->limit_count, 8);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        assert_non_null(strstr(text, sections[i]));
    }
    free(text);
    done(loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_names_a_test_that_sees_its_effect),
        cmocka_unit_test(every_row_is_whole_and_there_once),
        cmocka_unit_test(every_setting_takes_another_value_prints_it_and_counts_as_changed),
        cmocka_unit_test(the_defaults_are_those_of_the_design),
        cmocka_unit_test(default_places_follow_the_environment),
        cmocka_unit_test(without_any_place_for_state_that_is_said),
        cmocka_unit_test(sizes_and_durations_take_their_units),
        cmocka_unit_test(wrong_values_say_what_to_write),
        cmocka_unit_test(bounds_hold_on_both_sides),
        cmocka_unit_test(a_word_that_is_not_known_gets_a_hint),
        cmocka_unit_test(an_unknown_key_gets_the_nearest_one),
        cmocka_unit_test(sections_may_be_empty_and_must_be_mappings),
        cmocka_unit_test(a_reload_refuses_a_file_with_nothing_in_it),
        cmocka_unit_test(everything_wrong_is_said_at_once_in_the_files_order),
        cmocka_unit_test(problems_beyond_the_cap_are_counted),
        cmocka_unit_test(options_are_laid_over_the_file),
        cmocka_unit_test(an_error_on_the_command_line_names_its_option),
        cmocka_unit_test(control_characters_never_reach_a_message),
        cmocka_unit_test(texts_that_are_not_utf8_are_refused_from_everywhere),
        cmocka_unit_test(what_is_printed_loads_to_the_same_and_prints_the_same),
        cmocka_unit_test(limits_that_come_and_go_are_reloadable_changes),
        cmocka_unit_test(the_reference_lists_every_setting),
        cmocka_unit_test(the_sample_config_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
