/*
 * Config: a file and options of the command line, through YAML, into settings.
 *
 * The input is cut at NUL bytes. The first piece is the file; of the others one that begins with
 * '@' is --listen, '%' --data-dir, '^' --http, any other --set.
 *
 * What must hold: settings or errors, never both and never neither; what loads prints as a file
 * that loads to the same settings and prints the same again; messages hold no control characters.
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

static void add_piece(struct pawl_settings_sources *sources, const char **listen, const char **sets,
                      const char *piece)
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
    memcpy(copy, data, size);
    copy[size] = '\0';
    first = strlen(copy);
    for (at = first + 1; at < size && sources.listen_count + sources.set_count < PIECES_MAX;
         at += strlen(copy + at) + 1) {
        add_piece(&sources, listen, sets, copy + at);
    }
    sources.config_file = make_file(copy, first);
    if (load(&sources, &settings) == PAWL_OK) {
        check_round_trip(&sources, settings);
    }
    pawl_settings_destroy(settings);
    free(copy);
    return 0;
}
