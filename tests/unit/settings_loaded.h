/*
 * Loading settings from a text, for the tests of settings: the text stands for the file
 * /etc/pawl/p.yaml, the working directory is /start/dir, and root starts the daemon.
 */
#ifndef TESTS_UNIT_SETTINGS_LOADED_H
#define TESTS_UNIT_SETTINGS_LOADED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/yaml/yaml.h"
#include "ops/settings_table.h"

/** A config "file" from memory, under the name that the test gives. */
static const char *file_text;

static inline enum pawl_status parse_file(void *self, const char *path,
                                          const struct pawl_config_memory *memory,
                                          const struct pawl_config_sink *sink,
                                          struct pawl_config_node **root)
{
    struct pawl_config_parser yaml = pawl_yaml_parser();

    return yaml.parse_text(self, path, pawl_bytes_of(file_text, strlen(file_text)), true, memory,
                           sink, root);
}

struct loaded {
    struct pawl_settings *settings;
    struct pawl_problems problems;
    enum pawl_status status;
    char text[PAWL_PROBLEMS_MAX * PAWL_PROBLEM_TEXT_BYTES];
};

static inline struct pawl_settings_env env_of_root(void)
{
    struct pawl_settings_env env = { .root = true, .cwd = "/start/dir" };

    return env;
}

/** Load @sources, with parser and environment of the test where they have none. */
static inline struct loaded *load_sources(struct pawl_settings_sources sources, const char *text)
{
    struct pawl_config_parser parser = pawl_yaml_parser();
    struct pawl_settings_env env = env_of_root();
    struct loaded *loaded = calloc(1, sizeof(*loaded));
    size_t used = 0;

    assert_non_null(loaded);
    parser.parse_file = parse_file;
    file_text = text;
    sources.parser = &parser;
    sources.env = sources.env != NULL ? sources.env : &env;
    sources.config_file = text != NULL ? "/etc/pawl/p.yaml" : NULL;
    loaded->status = pawl_settings_load(&sources, &loaded->problems, &loaded->settings);
    for (unsigned i = 0; i < loaded->problems.count; i++) {
        used += (size_t)snprintf(loaded->text + used, sizeof(loaded->text) - used, "%s\n",
                                 loaded->problems.items[i].text);
    }
    assert_true((loaded->status == PAWL_OK) == (loaded->settings != NULL));
    assert_true((loaded->status == PAWL_EINVAL) == (loaded->problems.errors > 0));
    return loaded;
}

static inline struct loaded *load(const char *text)
{
    struct pawl_settings_sources sources = { 0 };

    return load_sources(sources, text);
}

static inline struct loaded *load_set(const char *text, const char *set)
{
    struct pawl_settings_sources sources = { .sets = &set, .set_count = 1 };

    return load_sources(sources, text);
}

static inline void done(struct loaded *loaded)
{
    pawl_settings_destroy(loaded->settings);
    free(loaded);
}

static inline void assert_good(const struct loaded *loaded)
{
    if (loaded->status != PAWL_OK) {
        fail_msg("%s", loaded->text);
    }
}

static inline void assert_told(const struct loaded *loaded, const char *expected)
{
    if (strstr(loaded->text, expected) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", expected, loaded->text);
    }
}

static inline void assert_refused(const char *text, const char *expected)
{
    struct loaded *loaded = load(text);

    assert_int_equal(loaded->status, PAWL_EINVAL);
    assert_told(loaded, expected);
    done(loaded);
}

static inline char *print(const struct pawl_settings *settings)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    pawl_settings_print(settings, out);
    (void)fclose(out);
    return text;
}

static inline void count_change(void *ctx, const char *path, bool reloadable)
{
    (void)path;
    (void)reloadable;
    (*(unsigned *)ctx)++;
}

/** The settings as printed, loaded again, differ in nothing. */
static inline void assert_prints_to_the_same(const struct pawl_settings *settings)
{
    char *text = print(settings);
    struct loaded *again = load(text);
    char *again_text;
    unsigned changes = 0;

    assert_good(again);
    assert_int_equal(pawl_settings_diff(settings, again->settings, count_change, &changes), 0);
    assert_int_equal(changes, 0);
    again_text = print(again->settings);
    assert_string_equal(text, again_text);
    free(again_text);
    free(text);
    done(again);
}

#endif
