/*
 * Config: a file and options of the command line, through YAML, into settings.
 *
 * The input is cut at NUL bytes. The first piece is the file; of the others one that begins with
 * '@' is --listen, '%' --data-dir, '^' --http, '&' the environment ("&u": no root; "&/home/x":
 * HOME; see add_environment()), any other --set.
 *
 * What must hold: settings or errors, never both and never neither; what loads prints as a file
 * that loads to the same settings and prints the same again; two settings differ in the same number
 * of fixed places seen from either; messages hold no control characters.
 */
#include "adapter/yaml/yaml.h"
#include "fuzz/require.h"
#include "ops/settings.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_fd = -1;
static char file_path[64];

/** A file in memory with a name, for the parser opens it itself. */
static const char *make_file(const void *text, size_t size)
{
    if (file_fd < 0) {
        file_fd = memfd_create("config", MFD_CLOEXEC);
        require(file_fd >= 0);
        (void)snprintf(file_path, sizeof(file_path), "/proc/self/fd/%d", file_fd);
    }
    require(ftruncate(file_fd, 0) == 0);
    require(pwrite(file_fd, text, size, 0) == (ssize_t)size);
    return file_path;
}

/** One line each and no more. */
static void print_problems(const struct pawl_problems *problems)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    unsigned lines = 0;

    require(out != NULL);
    pawl_problems_print(problems, out);
    require(fclose(out) == 0);
    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n';
    }
    require(lines == problems->count + (problems->dropped > 0 ? 1 : 0));
    free(text);
}

static enum pawl_status load(const struct pawl_settings_sources *sources,
                             struct pawl_settings **settings)
{
    static struct pawl_problems problems;
    enum pawl_status status;

    memset(&problems, 0, sizeof(problems));
    status = pawl_settings_load(sources, &problems, settings);
    require(status == PAWL_OK || status == PAWL_EINVAL);
    require((status == PAWL_OK) == (*settings != NULL));
    require((status == PAWL_OK) == (problems.errors == 0));
    print_problems(&problems);
    for (unsigned i = 0; i < problems.count; i++) {
        for (const char *at = problems.items[i].text; *at != '\0'; at++) {
            require((unsigned char)*at >= 0x20);
        }
    }
    return status;
}

static char *print(const struct pawl_settings *settings, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);

    require(out != NULL);
    pawl_settings_print(settings, out);
    require(fclose(out) == 0);
    return text;
}

static void check_round_trip(const struct pawl_settings_sources *first,
                             const struct pawl_settings *settings)
{
    struct pawl_settings_sources again = { .parser = first->parser, .env = first->env };
    struct pawl_settings *other = NULL;
    size_t size;
    size_t other_size;
    char *text = print(settings, &size);
    char *other_text;

    again.config_file = make_file(text, size);
    require(load(&again, &other) == PAWL_OK);
    require(pawl_settings_diff(settings, other, NULL, NULL) == 0);
    other_text = print(other, &other_size);
    require(size == other_size && memcmp(text, other_text, size) == 0);
    pawl_settings_destroy(other);
    free(text);
    free(other_text);
}

static void count_change(void *ctx, const char *path, bool reloadable)
{
    unsigned *counts = ctx;

    require(path[0] != '\0');
    counts[reloadable ? 0 : 1]++;
}

/** Against what a daemon without a file runs with, in both directions. */
static void check_difference(const struct pawl_settings_sources *sources,
                             const struct pawl_settings *settings)
{
    static const struct pawl_settings_env env = { .root = true, .cwd = "/start" };
    struct pawl_settings_sources none = { .parser = sources->parser, .env = &env };
    struct pawl_settings *defaults = NULL;
    unsigned there[2] = { 0, 0 };
    unsigned back[2] = { 0, 0 };

    require(load(&none, &defaults) == PAWL_OK);
    require(pawl_settings_diff(defaults, settings, count_change, there) == there[1]);
    require(pawl_settings_diff(settings, defaults, count_change, back) == back[1]);
    require(there[0] == back[0] && there[1] == back[1]);
    pawl_settings_destroy(defaults);
}

/** The reference page does not depend on the input: once is enough. */
static void check_reference(void)
{
    static bool done;
    char *text = NULL;
    size_t size;
    FILE *out = done ? NULL : open_memstream(&text, &size);

    if (out != NULL) {
        pawl_settings_print_reference(out);
        require(fclose(out) == 0 && size > 0);
        free(text);
        done = true;
    }
}

static void add_environment(struct pawl_settings_env *env, const char *piece)
{
    switch (piece[0]) {
    case 'u':
        env->root = false;
        break;
    case 'c':
        env->cwd[0] = '\0';
        break;
    case 'r':
        env->runtime_directory = piece + 1;
        break;
    case 's':
        env->state_directory = piece + 1;
        break;
    case 'x':
        env->xdg_runtime_dir = piece + 1;
        break;
    case 't':
        env->xdg_state_home = piece + 1;
        break;
    default:
        env->home = piece;
        break;
    }
}

static void add_piece(struct pawl_settings_sources *sources, struct pawl_settings_env *env,
                      const char **listen, const char **sets, const char *piece)
{
    switch (piece[0]) {
    case '@':
        listen[sources->listen_count++] = piece + 1;
        break;
    case '%':
        sources->data_dir = piece + 1;
        break;
    case '^':
        sources->http = piece + 1;
        break;
    case '&':
        add_environment(env, piece + 1);
        break;
    default:
        sets[sources->set_count++] = piece;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pawl_config_parser parser = pawl_yaml_parser();
    struct pawl_settings_env env = { .root = true, .cwd = "/start" };
    const char *listen[PIECES_MAX];
    const char *sets[PIECES_MAX];
    struct pawl_settings_sources sources = {
        .parser = &parser, .env = &env, .listen = listen, .sets = sets
    };
    struct pawl_settings *settings = NULL;
    char *copy = malloc(size + 1);
    size_t first;
    size_t at;

    require(copy != NULL);
    check_reference();
    memcpy(copy, data, size);
    copy[size] = '\0';
    first = strlen(copy);
    for (at = first + 1; at < size && sources.listen_count + sources.set_count < PIECES_MAX;
         at += strlen(copy + at) + 1) {
        add_piece(&sources, &env, listen, sets, copy + at);
    }
    sources.config_file = make_file(copy, first);
    if (load(&sources, &settings) == PAWL_OK) {
        check_round_trip(&sources, settings);
        check_difference(&sources, settings);
    }
    pawl_settings_destroy(settings);
    free(copy);
    return 0;
}
