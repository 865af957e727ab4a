#include "options.h"

#include "time_text.h"

#include <inttypes.h>
#include <string.h>

#define NEAREST_MAX 40 /* longer words are not compared */
#define COMMON      (((option_set)1 << (OPTION_VERSION_ID + 1)) - 1) /* the first in the list */

static bool fail(char *error, const char *what, const char *which, const char *hint)
{
    snprintf(error, OPTION_TEXT_MAX, "%s%s%s%s", what, which, *hint != '\0' ? "; " : "", hint);
    return false;
}

/* How many letters have to be changed, added or taken away to get from @a to @b. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NEAREST_MAX + 1];
    size_t size = strlen(b);

    if (strlen(a) > NEAREST_MAX || size > NEAREST_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; *a != '\0'; a++, i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= size; j++) {
            size_t least = diagonal + (*a == b[j - 1] ? 0 : 1);

            diagonal = row[j];
            least = row[j] + 1 < least ? row[j] + 1 : least;
            row[j] = row[j - 1] + 1 < least ? row[j - 1] + 1 : least;
        }
    }
    return row[size];
}

static bool option_allowed(const struct command_spec *command, enum option_id id)
{
    option_set bit = (option_set)1 << id;

    return command == NULL || (bit & (COMMON | command->options)) != 0;
}

static enum option_id option_find(const char *name, size_t size)
{
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        const char *have = option_spec((enum option_id)i)->name;

        if (strlen(have) == size && strncmp(have, name, size) == 0) {
            return (enum option_id)i;
        }
    }
    return OPTION_COUNT;
}

static bool fail_option(char *error, const char *argument)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    char hint[64];
    char name[NEAREST_MAX + 1];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        size_t far = distance(name, option_spec((enum option_id)i)->name);

        if (far < least) {
            least = far;
            nearest = option_spec((enum option_id)i)->name;
        }
    }
    if (nearest != NULL && least <= 1 + strlen(nearest) / 3) {
        snprintf(hint, sizeof(hint), "did you mean --%s?", nearest);
    } else {
        snprintf(hint, sizeof(hint), "pawlctl --help lists all of them");
    }
    return fail(error, "no such option: ", argument, hint);
}

static bool fail_command(char *error, const char *const *words, uint32_t count)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    char asked[NEAREST_MAX + 1];
    char hint[64];

    for (uint32_t used = 1; used <= 2 && used <= count; used++) {
        snprintf(asked, sizeof(asked), used == 1 ? "%.30s" : "%.20s %.18s", words[0],
                 used == 1 ? "" : words[1]);
        for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
            const char *name = command_spec((enum command_id)id)->name;
            size_t far = distance(asked, name);

            if (used == 1 && strncmp(name, asked, strlen(asked)) == 0) {
                far = 0; /* "token": the first of the commands that begin so */
            }
            if (far < least) {
                least = far;
                nearest = name;
            }
        }
    }
    if (nearest != NULL && least <= 1 + strlen(nearest) / 3) {
        snprintf(hint, sizeof(hint), "did you mean \"%s\"?", nearest);
    } else {
        snprintf(hint, sizeof(hint), "pawlctl --help lists all of them");
    }
    return fail(error, "no such command: ", words[0], hint);
}

const struct command_spec *command_find(const char *const *words, uint32_t count, uint32_t *used)
{
    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        const struct command_spec *command = command_spec((enum command_id)id);
        const char *second = strchr(command->name, ' ');
        size_t size = second != NULL ? (size_t)(second - command->name) : strlen(command->name);

        if (count < (second != NULL ? 2u : 1u) || strlen(words[0]) != size ||
            strncmp(words[0], command->name, size) != 0) {
            continue;
        }
        if (second == NULL || strcmp(words[1], second + 1) == 0) {
            *used = second != NULL ? 2 : 1;
            return command;
        }
    }
    return NULL;
}

size_t options_hex_list(const char *text, uint64_t *words, size_t words_max)
{
    static const char letters[] = "0123456789abcdef";
    size_t count = 0;

    for (;;) {
        size_t size = strcspn(text, ",");
        uint64_t word = 0;

        if (size == 0 || size > 16 || count == words_max) {
            return 0;
        }
        for (size_t i = 0; i < size; i++) {
            char lower = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
            const char *found = strchr(letters, lower);

            if (found == NULL) {
                return 0;
            }
            word = word << 4 | (uint64_t)(found - letters);
        }
        words[count++] = word;
        if (text[size] == '\0') {
            return count;
        }
        text += size + 1;
    }
}

static bool number_read(const char *text, uint64_t *number)
{
    uint64_t value = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > (INT64_MAX - 9) / 10) {
            return false;
        }
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *number = value;
    return true;
}

static bool value_read(struct option_value *value, const struct option_spec *spec, char *error)
{
    uint64_t words[ARGUMENTS_MAX];
    char what[64];

    snprintf(what, sizeof(what), "--%s: ", spec->name);
    switch (spec->kind) {
    case OPTION_NUMBER:
        return number_read(value->text, &value->number) ||
               fail(error, what, value->text, "write a whole number");
    case OPTION_DURATION:
        return duration_text_parse(value->text, &value->number) ||
               fail(error, what, value->text, "write 5s, 500ms, 1h or the like");
    case OPTION_HEX:
        return options_hex_list(value->text, words, ARGUMENTS_MAX) > 0 ||
               fail(error, what, value->text, "write what check printed, up to 16 hex digits");
    case OPTION_FLAG:
    case OPTION_TEXT:
    case OPTION_LIST:
    case OPTION_TIME: /* needs the clock: options_resolve() */
        break;
    }
    return true;
}

/* One argument that begins with "--", and the one behind it where it takes a value. */
static bool option_read(struct options *options, int count, char **arguments, int *at, char *error)
{
    const char *argument = arguments[*at];
    size_t size = strcspn(argument + 2, "=");
    enum option_id id = option_find(argument + 2, size);
    const struct option_spec *spec;
    struct option_value *value;

    if (id == OPTION_COUNT) {
        return fail_option(error, argument);
    }
    spec = option_spec(id);
    value = &options->values[id];
    if (value->given && spec->kind != OPTION_LIST) {
        return fail(error, "given twice: ", argument, "");
    }
    value->given = true;
    if (spec->kind == OPTION_FLAG) {
        return argument[2 + size] == '\0' || fail(error, "takes no value: ", argument, "");
    }
    if (argument[2 + size] == '=') {
        value->text = argument + 2 + size + 1;
    } else if (*at + 1 < count) {
        value->text = arguments[++*at];
    } else {
        char hint[64];

        snprintf(hint, sizeof(hint), "write --%s %s", spec->name, spec->argument);
        return fail(error, "without a value: ", argument, hint);
    }
    if (spec->kind == OPTION_LIST) {
        if (options->list_count == ARGUMENTS_MAX) {
            return fail(error, "too many: ", argument, "64 are the most");
        }
        options->list[options->list_count++] = value->text;
    }
    return value_read(value, spec, error);
}

static bool command_check(const struct options *options, char *error)
{
    const struct command_spec *command = options->command;
    char what[64];

    snprintf(what, sizeof(what), "%s: ", command->name);
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = option_spec((enum option_id)i);
        char name[40];

        snprintf(name, sizeof(name), "--%s", spec->name);
        if (options->values[i].given && !option_allowed(command, (enum option_id)i)) {
            return fail(error, what, name, "this command does not take it");
        }
        if ((command->required & ((option_set)1 << i)) != 0 && !options->values[i].given) {
            return fail(error, what, name, "this is needed");
        }
    }
    if (options->word_count < command->words_min) {
        char hint[64];

        snprintf(hint, sizeof(hint), "write pawlctl %s %s", command->name, command->arguments);
        return fail(error, what, "of what?", hint);
    }
    if (options->word_count > command->words_max) {
        return fail(error, what, options->words[command->words_max], "this is one too many");
    }
    return true;
}

bool options_parse(struct options *options, int count, char **arguments, char *error)
{
    bool words_only = false;
    uint32_t used = 0;

    memset(options, 0, sizeof(*options));
    for (int at = 0; at < count; at++) {
        const char *argument = arguments[at];

        if (!words_only && strcmp(argument, "--") == 0) {
            words_only = true;
        } else if (!words_only && strncmp(argument, "--", 2) == 0) {
            if (!option_read(options, count, arguments, &at, error)) {
                return false;
            }
        } else if (!words_only && strcmp(argument, "-h") == 0) {
            options->values[OPTION_HELP_ID].given = true;
        } else if (!words_only && argument[0] == '-' && argument[1] != '\0') {
            return fail(error, "no such option: ", argument, "write -- before words that begin so");
        } else if (options->word_count == ARGUMENTS_MAX) {
            return fail(error, "too many words: ", argument, "64 are the most");
        } else {
            options->words[options->word_count++] = argument;
        }
    }
    if (options->word_count == 0) {
        return true;
    }
    options->command = command_find(options->words, options->word_count, &used);
    if (options->command == NULL) {
        return fail_command(error, options->words, options->word_count);
    }
    options->word_count -= used;
    memmove(options->words, options->words + used, options->word_count * sizeof(options->words[0]));
    return option_given(options, OPTION_HELP_ID) || command_check(options, error);
}

bool options_resolve(struct options *options, int64_t now_ms, char *error)
{
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = option_spec((enum option_id)i);
        struct option_value *value = &options->values[i];
        const char *hint = "";
        char what[64];
        int64_t ms = 0;

        if (!value->given || spec->kind != OPTION_TIME) {
            continue;
        }
        snprintf(what, sizeof(what), "--%s: ", spec->name);
        if (!time_text_parse(value->text, now_ms, &ms, &hint)) {
            return fail(error, what, value->text, hint);
        }
        value->number = (uint64_t)ms;
    }
    return true;
}

static void help_option(FILE *out, const struct option_spec *spec, bool required)
{
    char name[48];

    snprintf(name, sizeof(name), "--%s%s%s", spec->name, *spec->argument != '\0' ? " " : "",
             spec->argument);
    fprintf(out, "  %-18s %s%s\n", name, spec->help, required ? " (needed)" : "");
}

static void help_common(FILE *out)
{
    fputs("\nwith every command:\n", out);
    for (uint32_t i = 0; i <= OPTION_VERSION_ID; i++) {
        help_option(out, option_spec((enum option_id)i), false);
    }
}

static void help_command(FILE *out, const struct command_spec *command)
{
    fprintf(out, "usage: pawlctl %s%s%s%s\n%s\n", command->name,
            command->options != 0 ? " [options]" : "", *command->arguments != '\0' ? " " : "",
            command->arguments, command->summary);
    if (*command->details != '\0') {
        fprintf(out, "\n%s\n", command->details);
    }
    if (command->options != 0) {
        fputs("\noptions:\n", out);
    }
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        if ((command->options & ((option_set)1 << i)) != 0) {
            help_option(out, option_spec((enum option_id)i),
                        (command->required & ((option_set)1 << i)) != 0);
        }
    }
    help_common(out);
}

void options_help(FILE *out, const struct command_spec *command)
{
    if (command != NULL) {
        help_command(out, command);
        return;
    }
    fputs("usage: pawlctl [--addr URI] [--json] COMMAND ...\n"
          "Ask and rule a pawld. The environment's PAWL_ADDR stands in for --addr.\n\n",
          out);
    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        const struct command_spec *one = command_spec((enum command_id)id);

        fprintf(out, "  %-13s %-22s %s\n", one->name, one->arguments, one->summary);
    }
    help_common(out);
    fputs("\nTimes T: seconds since 1970, 2026-09-21T12:00:00Z, now, +1h, -5m.\n"
          "Exit codes: 0 yes, 1 no, 2 wrong usage, 3 undecided, unreachable, or less than asked.\n"
          "pawlctl help COMMAND says more.\n",
          out);
}
