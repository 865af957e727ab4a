/*
 * The settings on paper: as a config file, as a reference page, and as the difference of two.
 */
#include "ops/settings_table.h"

#include <string.h>

#define HELP_COLUMN 44 /* where the comments of the printed file begin */

/** "name: value   # help", indented; no comment where @help is NULL. */
static void print_line(FILE *out, unsigned indent, const char *name, const char *value,
                       const char *help)
{
    int used =
        fprintf(out, "%*s%s:%s%s", (int)indent, "", name, value[0] != '\0' ? " " : "", value);

    if (help != NULL) {
        int pad = used > 0 && used < HELP_COLUMN ? HELP_COLUMN - used : 2;

        (void)fprintf(out, "%*s# %s", pad, "", help);
    }
    (void)fputc('\n', out);
}

static bool prints(const struct pawl_setting *row, enum pawl_setting_scope scope)
{
    return row->scope == scope && (row->flags & PAWL_SETTING_LATER) == 0;
}

/** All rows of one limit; the help stands once, at the first limit. */
static void print_limit(FILE *out, const struct pawl_limit_settings *limit, bool help)
{
    char value[PAWL_SETTING_TEXT_BYTES];
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (prints(row, PAWL_SCOPE_LIMIT)) {
            pawl_setting_format(row, limit, value);
            print_line(out, 4, pawl_setting_key(row), value, help ? row->help : NULL);
        }
    }
}

/** A listener; what does not go with its kind of address stays out, for it would be refused. */
static void print_listener(FILE *out, const struct pawl_listen_settings *listen, bool help)
{
    bool has_file = listen->address.kind == PAWL_ADDRESS_UNIX && !listen->address.is_abstract;
    char value[PAWL_SETTING_TEXT_BYTES];
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (!prints(row, PAWL_SCOPE_LISTENER) || (row->type == PAWL_SETTING_MODE && !has_file) ||
            (row->type == PAWL_SETTING_BOOL && listen->address.kind != PAWL_ADDRESS_TCP)) {
            continue;
        }
        pawl_setting_format(row, listen, value);
        (void)fputs(row->type == PAWL_SETTING_URI ? "  - " : "    ", out);
        print_line(out, 0, pawl_setting_key(row), value, help ? row->help : NULL);
    }
}

static void print_listeners(FILE *out, const struct pawl_setting *row,
                            const struct pawl_settings *settings)
{
    bool told[PAWL_ADDRESS_TLS + 1] = { false };
    unsigned i;

    print_line(out, 0, row->path, "", row->help);
    for (i = 0; i < settings->listen_count; i++) {
        const struct pawl_listen_settings *listen = &settings->listen[i];

        print_listener(out, listen, !told[listen->address.kind]);
        told[listen->address.kind] = true;
    }
}

static void print_limits(FILE *out, const struct pawl_setting *row,
                         const struct pawl_settings *settings)
{
    char name[2 * PAWL_SETTING_WHAT_BYTES];
    unsigned i;

    (void)fputc('\n', out);
    print_line(out, 0, row->path, settings->limit_count == 0 ? "{}" : "", row->help);
    for (i = 0; i < settings->limit_count; i++) {
        pawl_setting_quote(settings->limits[i].id, name, sizeof(name));
        print_line(out, 2, name, "", NULL);
        print_limit(out, &settings->limits[i], i == 0);
    }
}

/** One row of the file, with the heading of its section where that begins. */
static void print_root_row(FILE *out, const struct pawl_setting *row,
                           const struct pawl_settings *settings, const char **section)
{
    const char *dot = strchr(row->path, '.');
    size_t size = dot != NULL ? (size_t)(dot - row->path) : 0;
    char value[PAWL_SETTING_TEXT_BYTES];

    if (size > 0 && (strlen(*section) < size || strncmp(*section, row->path, size + 1) != 0)) {
        (void)fprintf(out, "\n%.*s:\n", (int)size, row->path);
        *section = row->path;
    }
    pawl_setting_format(row, settings, value);
    print_line(out, size > 0 ? 2 : 0, pawl_setting_key(row), value, row->help);
}

void pawl_settings_print(const struct pawl_settings *settings, FILE *out)
{
    const char *section = "";
    size_t i;

    (void)fprintf(out, "# The settings in force, pawld %s.\n", PAWL_VERSION);
    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (!prints(row, PAWL_SCOPE_ROOT)) {
            continue;
        }
        if (row->type == PAWL_SETTING_LISTENERS) {
            print_listeners(out, row, settings);
        } else if (row->type == PAWL_SETTING_LIMITS) {
            print_limits(out, row, settings);
        } else {
            print_root_row(out, row, settings, &section);
        }
    }
}

/* ---- reference ----------------------------------------------------------------------------- */

static void print_reference_row(FILE *out, const struct pawl_setting *row)
{
    char kind[PAWL_SETTING_WHAT_BYTES];
    const char *initial = row->initial_help;

    pawl_setting_describe(row, kind);
    (void)fprintf(out, "| `%s` | %s | ", row->path, kind);
    if ((row->flags & PAWL_SETTING_REQUIRED) != 0) {
        (void)fputs("(required)", out);
    } else if (initial != NULL) {
        (void)fputs(initial, out);
    } else {
        (void)fprintf(out, "`%s`", row->initial);
    }
    (void)fprintf(out, " | %s | %s |\n",
                  (row->flags & PAWL_SETTING_RELOADABLE) != 0 ? "reload" : "restart", row->help);
}

void pawl_settings_print_reference(FILE *out)
{
    size_t i;

    (void)fputs("# Settings of pawld\n\n"
                "Sizes take B, KiB, MiB, GiB or TiB; durations ms, s, m, h or d. A relative path "
                "of the file counts from\nthe file's folder, one of the command line from the "
                "working directory. \"reload\": SIGHUP changes it.\n\n"
                "| name | value | default | change by | |\n|---|---|---|---|---|\n",
                out);
    for (i = 0; i < pawl_settings_table_count; i++) {
        if ((pawl_settings_table[i].flags & PAWL_SETTING_LATER) == 0) {
            print_reference_row(out, &pawl_settings_table[i]);
        }
    }
    (void)fputs("\nKnown by name and refused, for they are not in this version:\n\n", out);
    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if ((row->flags & PAWL_SETTING_LATER) != 0) {
            (void)fprintf(out, "- `%s`: %s\n", row->path, row->help);
        }
    }
}

/* ---- difference ---------------------------------------------------------------------------- */

struct diff {
    pawl_settings_on_change on_change;
    void *ctx;
    unsigned fixed; /* differences that a reload must not make */
};

static void note(struct diff *diff, const char *path, unsigned flags)
{
    bool reloadable = (flags & PAWL_SETTING_RELOADABLE) != 0;

    if (!reloadable) {
        diff->fixed++;
    }
    if (diff->on_change != NULL) {
        diff->on_change(diff->ctx, path, reloadable);
    }
}

static bool differs(const struct pawl_setting *row, const void *old_base, const void *new_base)
{
    char old_text[PAWL_SETTING_TEXT_BYTES];
    char new_text[PAWL_SETTING_TEXT_BYTES];

    pawl_setting_format(row, old_base, old_text);
    pawl_setting_format(row, new_base, new_text);
    return strcmp(old_text, new_text) != 0;
}

static bool members_differ(enum pawl_setting_scope scope, const void *old_base,
                           const void *new_base)
{
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        if (prints(&pawl_settings_table[i], scope) &&
            differs(&pawl_settings_table[i], old_base, new_base)) {
            return true;
        }
    }
    return false;
}

static void diff_listeners(struct diff *diff, const struct pawl_settings *old_settings,
                           const struct pawl_settings *new_settings)
{
    bool changed = old_settings->listen_count != new_settings->listen_count;
    unsigned i;

    for (i = 0; !changed && i < old_settings->listen_count; i++) {
        changed =
            members_differ(PAWL_SCOPE_LISTENER, &old_settings->listen[i], &new_settings->listen[i]);
    }
    if (changed) {
        note(diff, "listen", pawl_setting_find("listen")->flags);
    }
}

static void diff_limit(struct diff *diff, const struct pawl_limit_settings *old_limit,
                       const struct pawl_limit_settings *new_limit)
{
    char path[PAWL_SETTING_WHAT_BYTES];
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (prints(row, PAWL_SCOPE_LIMIT) && differs(row, old_limit, new_limit)) {
            (void)snprintf(path, sizeof(path), "limits.%s.%s", new_limit->id,
                           pawl_setting_key(row));
            note(diff, path, row->flags);
        }
    }
}

static void note_limit(struct diff *diff, const struct pawl_limit_settings *limit)
{
    char path[PAWL_SETTING_WHAT_BYTES];

    (void)snprintf(path, sizeof(path), "limits.%s", limit->id);
    note(diff, path, pawl_setting_find("limits")->flags);
}

/** Both are sorted by id: walk them side by side. */
static void diff_limits(struct diff *diff, const struct pawl_settings *old_settings,
                        const struct pawl_settings *new_settings)
{
    const struct pawl_limit_settings *old_limit = old_settings->limits;
    const struct pawl_limit_settings *new_limit = new_settings->limits;
    unsigned old_left = old_settings->limit_count;
    unsigned new_left = new_settings->limit_count;

    while (old_left > 0 && new_left > 0) {
        int order = strcmp(old_limit->id, new_limit->id);

        if (order == 0) {
            diff_limit(diff, old_limit, new_limit);
        } else {
            note_limit(diff, order < 0 ? old_limit : new_limit);
        }
        if (order <= 0) {
            old_limit++;
            old_left--;
        }
        if (order >= 0) {
            new_limit++;
            new_left--;
        }
    }
    for (; old_left > 0; old_left--) {
        note_limit(diff, old_limit++);
    }
    for (; new_left > 0; new_left--) {
        note_limit(diff, new_limit++);
    }
}

unsigned pawl_settings_diff(const struct pawl_settings *old_settings,
                            const struct pawl_settings *new_settings,
                            pawl_settings_on_change on_change, void *ctx)
{
    struct diff diff = { on_change, ctx, 0 };
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (!prints(row, PAWL_SCOPE_ROOT)) {
            continue;
        }
        if (row->type == PAWL_SETTING_LISTENERS) {
            diff_listeners(&diff, old_settings, new_settings);
        } else if (row->type == PAWL_SETTING_LIMITS) {
            diff_limits(&diff, old_settings, new_settings);
        } else if (differs(row, old_settings, new_settings)) {
            note(&diff, row->path, row->flags);
        }
    }
    return diff.fixed;
}
