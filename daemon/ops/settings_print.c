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

/* ---- the file ------------------------------------------------------------------------------ */

static void print_members(FILE *out, enum pawl_setting_scope scope, const void *base,
                          unsigned indent, bool help);

static void print_texts(FILE *out, const struct pawl_setting *row, const void *base,
                        unsigned indent, const char *help)
{
    char quoted[PAWL_SETTING_TEXT_BYTES];
    struct pawl_text_list list;
    unsigned i;

    memcpy(&list, (const char *)base + row->offset, sizeof(list));
    print_line(out, indent, pawl_setting_key(row), list.count == 0 ? "[]" : "", help);
    for (i = 0; i < list.count; i++) {
        pawl_setting_quote(list.items[i], quoted, sizeof(quoted));
        (void)fprintf(out, "%*s- %s\n", (int)indent + 2, "", quoted);
    }
}

static void print_overrides(FILE *out, const struct pawl_setting *row,
                            const struct pawl_limit_settings *limit, unsigned indent,
                            const char *help)
{
    char key[PAWL_SETTING_TEXT_BYTES];
    char rates[PAWL_SETTING_TEXT_BYTES];
    unsigned i;

    print_line(out, indent, pawl_setting_key(row), limit->override_count == 0 ? "{}" : "", help);
    for (i = 0; i < limit->override_count; i++) {
        pawl_setting_quote(limit->overrides[i].key, key, sizeof(key));
        pawl_setting_format_rates(limit->overrides[i].rates, limit->overrides[i].rate_count, rates);
        print_line(out, indent + 2, key, rates, NULL);
    }
}

/** The items of a LIST; the help stands once, at the first. As deep as the table goes. */
static void print_list(FILE *out, const struct pawl_setting *row, const void *base, unsigned indent,
                       const char *help)
{
    unsigned count;
    const char *items = pawl_setting_items(row, base, &count);
    unsigned i;

    print_line(out, indent, pawl_setting_key(row), count == 0 ? "[]" : "", help);
    for (i = 0; i < count; i++) {
        (void)fprintf(out, "%*s-\n", (int)indent + 2, "");
        print_members(out, row->items, items + i * row->item_size, indent + 4,
                      help != NULL && i == 0);
    }
}

static void print_acks(FILE *out, const struct pawl_setting *row,
                       const struct pawl_cluster_settings *cluster, unsigned indent,
                       const char *help)
{
    char name[PAWL_SETTING_TEXT_BYTES];

    print_line(out, indent, pawl_setting_key(row), cluster->ack_count == 0 ? "{}" : "", help);
    for (unsigned i = 0; i < cluster->ack_count; i++) {
        const struct pawl_setting_word *word = row->words;

        while (word->text != NULL && word->value != cluster->acks[i].ack) {
            word++;
        }
        pawl_setting_quote(cluster->acks[i].ns, name, sizeof(name));
        print_line(out, indent + 2, name, word->text != NULL ? word->text : "", NULL);
    }
}

static void print_row(FILE *out, const struct pawl_setting *row, const void *base, unsigned indent,
                      bool with_help)
{
    const char *help = with_help ? row->help : NULL;
    char value[PAWL_SETTING_TEXT_BYTES];

    if (row->type == PAWL_SETTING_TEXTS) {
        print_texts(out, row, base, indent, help);
    } else if (row->type == PAWL_SETTING_OVERRIDES) {
        print_overrides(out, row, base, indent, help);
    } else if (row->type == PAWL_SETTING_ACKS) {
        print_acks(out, row, &((const struct pawl_settings *)base)->cluster, indent, help);
    } else if (row->type == PAWL_SETTING_LIST) {
        print_list(out, row, base, indent, help);
    } else {
        pawl_setting_format(row, base, value);
        print_line(out, indent, pawl_setting_key(row), value, help);
    }
}

/** All rows of @scope that go with what is in @base. */
static void print_members(FILE *out, enum pawl_setting_scope scope, const void *base,
                          unsigned indent, bool help)
{
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (prints(row, scope) && pawl_setting_applies(row, base)) {
            print_row(out, row, base, indent, help);
        }
    }
}

/** Whether @row goes with the kind of the listener's address; else it would be refused. */
static bool goes_with(const struct pawl_setting *row, const struct pawl_listen_settings *listen)
{
    switch (row->type) {
    case PAWL_SETTING_MODE:
        return listen->address.kind == PAWL_ADDRESS_UNIX && !listen->address.is_abstract;
    case PAWL_SETTING_BOOL: /* insecure */
        return listen->address.kind == PAWL_ADDRESS_TCP;
    case PAWL_SETTING_WORDS:
        return (row->flags & PAWL_SETTING_EMPTY_OK) == 0 || /* all but anonymous */
               listen->address.kind != PAWL_ADDRESS_UNIX;
    default:
        return true;
    }
}

static void print_listener(FILE *out, const struct pawl_listen_settings *listen, bool help)
{
    const struct pawl_setting *row;
    char value[PAWL_SETTING_TEXT_BYTES];
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (prints(row, PAWL_SCOPE_LISTENER) && goes_with(row, listen)) {
            pawl_setting_format(row, listen, value);
            (void)fputs(row->type == PAWL_SETTING_URI ? "  - " : "    ", out);
            print_line(out, 0, pawl_setting_key(row), value, help ? row->help : NULL);
        }
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
        print_members(out, PAWL_SCOPE_LIMIT, &settings->limits[i], 4, i == 0);
    }
}

/** One row of the file, with the headings of the sections that begin with it. */
static void print_root_row(FILE *out, const struct pawl_setting *row,
                           const struct pawl_settings *settings, const char **section)
{
    const char *start = row->path;
    unsigned indent = 0;
    const char *dot;

    for (; (dot = strchr(start, '.')) != NULL; start = dot + 1, indent += 2) {
        size_t size = (size_t)(dot - row->path) + 1;

        if (strncmp(*section, row->path, size) != 0) {
            (void)fprintf(out, "%s%*s%.*s:\n", indent == 0 ? "\n" : "", (int)indent, "",
                          (int)(dot - start), start);
        }
    }
    *section = indent > 0 ? row->path : *section;
    print_row(out, row, settings, indent, true);
}

/** Without a cluster nothing of it is printed: the section alone would make one. */
static bool is_printed(const struct pawl_setting *row, const struct pawl_settings *settings)
{
    return prints(row, PAWL_SCOPE_ROOT) &&
           (settings->cluster.on || strncmp(row->path, "cluster.", 8) != 0);
}

void pawl_settings_print(const struct pawl_settings *settings, FILE *out)
{
    const char *section = "";
    const struct pawl_setting *row;
    size_t i;

    (void)fprintf(out, "# The settings in force, pawld %s.\n", PAWL_VERSION);
    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (!is_printed(row, settings)) {
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
    const struct pawl_setting *row;
    size_t i;

    (void)fputs("# Settings of pawld\n\n"
                "Sizes take B, KiB, MiB, GiB or TiB; durations ms, s, m, h or d. A relative path "
                "of the file counts from\nthe file's folder, one of the command line from the "
                "working directory. \"reload\": SIGHUP changes it.\n\n"
                "| name | value | default | change by | |\n|---|---|---|---|---|\n",
                out);
    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if ((row->flags & PAWL_SETTING_LATER) == 0) {
            print_reference_row(out, row);
        }
    }
    (void)fputs("\nA `cluster` section with anything in it makes this node one of many; see "
                "deploy/README.md.\n",
                out);
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

static bool members_differ(enum pawl_setting_scope scope, const void *old_base,
                           const void *new_base);

static bool texts_differ(const struct pawl_setting *row, const void *old_base, const void *new_base)
{
    struct pawl_text_list old_list;
    struct pawl_text_list new_list;
    bool differ;
    unsigned i;

    memcpy(&old_list, (const char *)old_base + row->offset, sizeof(old_list));
    memcpy(&new_list, (const char *)new_base + row->offset, sizeof(new_list));
    differ = old_list.count != new_list.count;
    for (i = 0; !differ && i < old_list.count; i++) {
        differ = strcmp(old_list.items[i], new_list.items[i]) != 0;
    }
    return differ;
}

static bool rates_differ(const struct pawl_rate *a, const struct pawl_rate *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (a[i].count != b[i].count || a[i].window_ms != b[i].window_ms ||
            a[i].period != b[i].period) {
            return true;
        }
    }
    return false;
}

static bool overrides_differ(const struct pawl_limit_settings *a,
                             const struct pawl_limit_settings *b)
{
    bool differ = a->override_count != b->override_count;

    for (unsigned i = 0; !differ && i < a->override_count; i++) {
        const struct pawl_override_settings *left = &a->overrides[i];
        const struct pawl_override_settings *right = &b->overrides[i];

        differ = strcmp(left->key, right->key) != 0 || left->rate_count != right->rate_count ||
                 rates_differ(left->rates, right->rates, left->rate_count);
    }
    return differ;
}

static bool acks_differ(const struct pawl_cluster_settings *a,
                        const struct pawl_cluster_settings *b)
{
    bool differ = a->ack_count != b->ack_count;

    for (unsigned i = 0; !differ && i < a->ack_count; i++) {
        differ = a->acks[i].ack != b->acks[i].ack || strcmp(a->acks[i].ns, b->acks[i].ns) != 0;
    }
    return differ;
}

/** As deep as the table goes. */
static bool lists_differ(const struct pawl_setting *row, const void *old_base, const void *new_base)
{
    unsigned old_count;
    unsigned new_count;
    const char *old_items = pawl_setting_items(row, old_base, &old_count);
    const char *new_items = pawl_setting_items(row, new_base, &new_count);
    bool differ = old_count != new_count;

    for (unsigned i = 0; !differ && i < old_count; i++) {
        differ = members_differ(row->items, old_items + i * row->item_size,
                                new_items + i * row->item_size);
    }
    return differ;
}

static bool differs(const struct pawl_setting *row, const void *old_base, const void *new_base)
{
    char old_text[PAWL_SETTING_TEXT_BYTES];
    char new_text[PAWL_SETTING_TEXT_BYTES];

    if (row->type == PAWL_SETTING_TEXTS) {
        return texts_differ(row, old_base, new_base);
    }
    if (row->type == PAWL_SETTING_OVERRIDES) {
        return overrides_differ(old_base, new_base);
    }
    if (row->type == PAWL_SETTING_ACKS) {
        return acks_differ(&((const struct pawl_settings *)old_base)->cluster,
                           &((const struct pawl_settings *)new_base)->cluster);
    }
    if (row->type == PAWL_SETTING_LIST) {
        return lists_differ(row, old_base, new_base);
    }
    pawl_setting_format(row, old_base, old_text);
    pawl_setting_format(row, new_base, new_text);
    return strcmp(old_text, new_text) != 0;
}

static bool members_differ(enum pawl_setting_scope scope, const void *old_base,
                           const void *new_base)
{
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (prints(row, scope) && differs(row, old_base, new_base)) {
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
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
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
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
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
