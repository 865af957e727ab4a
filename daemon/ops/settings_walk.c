#include "ops/settings_load.h"

#include <stdlib.h>
#include <string.h>

#define PATH_BYTES  192 /* of a dotted name in a message */
#define KNOWN_MAX   64  /* keys of one level */
#define KNOWN_BYTES 48  /* of one key */

/** The keys that may stand at one level; for suggestions. */
struct known {
    char storage[KNOWN_MAX][KNOWN_BYTES];
    const char *keys[KNOWN_MAX];
    size_t count;
};

static bool is_null(const struct pawl_config_node *node)
{
    return node->kind == PAWL_NODE_SCALAR && !node->quoted &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}

static const char *kind_text(const struct pawl_config_node *node)
{
    switch (node->kind) {
    case PAWL_NODE_SEQUENCE:
        return "a list";
    case PAWL_NODE_MAPPING:
        return "a mapping";
    case PAWL_NODE_SCALAR:
    case PAWL_NODE_NONE:
    default:
        return "a text";
    }
}

/* ---- unknown keys -------------------------------------------------------------------------- */

static void add_known(struct known *known, const char *text, size_t size)
{
    size_t i;

    if (known->count == KNOWN_MAX || size >= KNOWN_BYTES) {
        return;
    }
    for (i = 0; i < known->count; i++) {
        if (strlen(known->keys[i]) == size && strncmp(known->keys[i], text, size) == 0) {
            return;
        }
    }
    memcpy(known->storage[known->count], text, size);
    known->storage[known->count][size] = '\0';
    known->keys[known->count] = known->storage[known->count];
    known->count++;
}

/** The keys that follow @prefix ("", "tokens.", "limits.*.") in the table. */
static void find_known(struct known *known, const char *prefix)
{
    size_t skip = strlen(prefix);
    size_t i;

    known->count = 0;
    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (strncmp(row->path, prefix, skip) == 0 && (row->flags & PAWL_SETTING_LATER) == 0) {
            add_known(known, row->path + skip, strcspn(row->path + skip, "."));
        }
    }
}

static void complain_unknown(struct pawl_settings_loader *loader, const char *prefix,
                             const char *shown, const struct pawl_config_node *node)
{
    struct known known;
    const char *nearest;
    char all[320] = "";
    size_t used = 0;
    size_t i;

    find_known(&known, prefix);
    nearest = pawl_setting_nearest(node->key, known.keys, known.count);
    if (nearest != NULL) {
        pawl_settings_complain(loader, false, &node->key_place, 0,
                               "%s: is not a setting; did you mean %s?", shown, nearest);
        return;
    }
    for (i = 0; i < known.count && used < sizeof(all); i++) {
        int wrote =
            snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "", known.keys[i]);

        used += wrote > 0 ? (size_t)wrote : 0;
    }
    pawl_settings_complain(loader, false, &node->key_place, 0,
                           "%s: is not a setting; remove it, known here are %s", shown, all);
}

static void complain_later(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                           const char *shown, const struct pawl_config_node *node)
{
    pawl_settings_complain(loader, false, &node->key_place, 0,
                           "%s: not in this version: %s; remove it", shown, row->help);
}

/* ---- one value ----------------------------------------------------------------------------- */

static void read_row(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                     const struct pawl_config_node *node, void *base, const char *shown)
{
    struct pawl_setting_reader reader = { .pool = loader->settings->pool,
                                          .folder = pawl_settings_folder(loader, node) };
    enum pawl_status status = pawl_setting_read(row, node, base, &reader);

    if (status == PAWL_ENOMEM) {
        loader->no_memory = true;
    } else if (status != PAWL_OK) {
        pawl_settings_complain(loader, false, &reader.at->place, reader.shift, "%s: %s", shown,
                               reader.what);
    }
}

void pawl_settings_defaults(struct pawl_settings_loader *loader, enum pawl_setting_scope scope,
                            void *base)
{
    struct pawl_config_node node = { .kind = PAWL_NODE_SCALAR,
                                     .place = { "default", 0, 0 },
                                     .quoted = true };
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        const struct pawl_setting *row = &pawl_settings_table[i];

        if (row->scope == scope && row->initial != NULL) {
            node.text = row->initial;
            read_row(loader, row, &node, base, row->path);
        }
    }
}

/* ---- listeners ----------------------------------------------------------------------------- */

static void note_listen_node(struct pawl_listen_nodes *nodes, const struct pawl_config_node *node)
{
    if (strcmp(node->key, "uri") == 0) {
        nodes->uri = node;
    } else if (strcmp(node->key, "role") == 0) {
        nodes->role = node;
    } else if (strcmp(node->key, "mode") == 0) {
        nodes->mode = node;
    } else if (strcmp(node->key, "insecure") == 0) {
        nodes->insecure = node;
    }
}

static void read_listen_item(struct pawl_settings_loader *loader,
                             const struct pawl_config_node *item, unsigned index)
{
    struct pawl_listen_settings *listen = &loader->settings->listen[index];
    struct pawl_listen_nodes nodes = { .item = item };
    const struct pawl_config_node *node;
    char shown[PATH_BYTES];

    pawl_settings_defaults(loader, PAWL_SCOPE_LISTENER, listen);
    if (item->kind == PAWL_NODE_SCALAR) {
        (void)snprintf(shown, sizeof(shown), "listen[%u]", index);
        nodes.uri = item;
        read_row(loader, pawl_setting_find("listen.*.uri"), item, listen, shown);
    } else if (item->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "listen[%u]: is a list; write an address, or {uri: ADDRESS, ...}",
                               index);
        return;
    }
    for (node = item->kind == PAWL_NODE_MAPPING ? item->first : NULL; node != NULL;
         node = node->next) {
        const struct pawl_setting *row = pawl_setting_find_in(PAWL_SCOPE_LISTENER, node->key);

        (void)snprintf(shown, sizeof(shown), "listen[%u].%.80s", index, node->key);
        if (row == NULL) {
            complain_unknown(loader, "listen.*.", shown, node);
        } else if ((row->flags & PAWL_SETTING_LATER) != 0) {
            complain_later(loader, row, shown, node);
        } else {
            note_listen_node(&nodes, node);
            read_row(loader, row, node, listen, shown);
        }
    }
    pawl_settings_check_listen(loader, listen, &nodes, index);
}

static void read_listeners(struct pawl_settings_loader *loader, const struct pawl_config_node *node)
{
    bool is_list = node->kind == PAWL_NODE_SEQUENCE;
    const struct pawl_config_node *item = is_list ? node->first : node;
    unsigned count = is_list ? node->count : 1;
    unsigned i;

    if (node->kind == PAWL_NODE_MAPPING || is_null(node)) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "listen: %s; write a list like [\"tcp:127.0.0.1:7401\"]",
                               is_null(node) ? "has no value" : "is a mapping");
        return;
    }
    if (count == 0 || count > PAWL_SETTINGS_LISTEN_MAX) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "listen: has %u addresses; give 1 to %d", count,
                               PAWL_SETTINGS_LISTEN_MAX);
        return;
    }
    loader->settings->listen =
        pawl_pool_take(loader->settings->pool, count * sizeof(*loader->settings->listen));
    if (loader->settings->listen == NULL) {
        loader->no_memory = true;
        return;
    }
    for (i = 0; i < count && !loader->no_memory; i++) {
        loader->settings->listen_count = i + 1;
        read_listen_item(loader, item, i);
        item = item->next;
    }
}

/* ---- limits -------------------------------------------------------------------------------- */

static void check_limit_name(struct pawl_settings_loader *loader,
                             const struct pawl_config_node *node)
{
    uint64_t longest = pawl_setting_find("limits.*.namespace")->max; /* the core has one maximum */

    if (node->key[0] == '\0' || strlen(node->key) > longest) {
        pawl_settings_complain(loader, false, &node->key_place, 0,
                               "limits.%.80s: a limit's name has 1 to %u bytes; this has %zu",
                               node->key, (unsigned)longest, strlen(node->key));
    }
    if (strpbrk(node->key, " =") != NULL || !pawl_setting_is_clean(node->key)) {
        pawl_settings_complain(
            loader, false, &node->key_place, 0,
            "limits.%.80s: a name with spaces, \"=\", control characters or what "
            "is not UTF-8 cannot be asked for; choose another",
            node->key);
    }
}

/**
 * Tell of a limit before @limits[index] that requests could not tell from it. A key that stands
 * twice under limits was told by the parser.
 */
static void check_limit_alone(struct pawl_settings_loader *loader,
                              const struct pawl_config_node *item, unsigned index)
{
    const struct pawl_limit_settings *limits = loader->settings->limits;
    const struct pawl_limit_settings *own = &limits[index];

    for (unsigned i = 0; i < index; i++) {
        if (strcmp(limits[i].name, own->name) == 0 && strcmp(limits[i].ns, own->ns) == 0 &&
            strcmp(limits[i].id, own->id) != 0) {
            pawl_settings_complain(loader, false, &item->key_place, 0,
                                   "limits.%.80s: limits.%.80s has the same name and namespace; "
                                   "give one of them another name",
                                   own->id, limits[i].id);
            return;
        }
    }
}

static void read_limit(struct pawl_settings_loader *loader, const struct pawl_config_node *item,
                       struct pawl_limit_settings *limit)
{
    const struct pawl_config_node *node;
    char shown[PATH_BYTES];
    bool has_rate = false;

    check_limit_name(loader, item);
    pawl_settings_defaults(loader, PAWL_SCOPE_LIMIT, limit);
    limit->id = pawl_pool_text(loader->settings->pool, item->key, strlen(item->key));
    limit->name = limit->id;
    loader->no_memory = loader->no_memory || limit->id == NULL;
    if (item->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "limits.%.80s: is %s; write {rate: 100/minute}", item->key,
                               kind_text(item));
        return;
    }
    for (node = item->first; node != NULL; node = node->next) {
        const struct pawl_setting *row = pawl_setting_find_in(PAWL_SCOPE_LIMIT, node->key);

        (void)snprintf(shown, sizeof(shown), "limits.%.80s.%.80s", item->key, node->key);
        if (row == NULL) {
            complain_unknown(loader, "limits.*.", shown, node);
        } else if ((row->flags & PAWL_SETTING_LATER) != 0) {
            complain_later(loader, row, shown, node);
        } else {
            has_rate = has_rate || row->type == PAWL_SETTING_RATES;
            read_row(loader, row, node, limit, shown);
        }
    }
    if (limit->name != limit->id && limit->name != NULL && strpbrk(limit->name, " =") != NULL) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "limits.%.80s.name: a name with spaces or \"=\" cannot be asked "
                               "for; choose another",
                               item->key);
    }
    if (!has_rate) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "limits.%.80s: has no rate; add rate: 100/minute", item->key);
    }
}

static int by_id(const void *a, const void *b)
{
    const struct pawl_limit_settings *left = a;
    const struct pawl_limit_settings *right = b;

    return strcmp(left->id, right->id);
}

static void read_limits(struct pawl_settings_loader *loader, const struct pawl_config_node *node)
{
    struct pawl_settings *settings = loader->settings;
    const struct pawl_config_node *item;

    if (is_null(node)) {
        return; /* a heading with nothing under it */
    }
    if (node->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "limits: is %s; write a mapping like {api: {rate: 100/minute}}",
                               kind_text(node));
        return;
    }
    if (node->count > PAWL_SETTINGS_LIMITS_MAX) {
        pawl_settings_complain(loader, false, &node->place, 0, "limits: has %u; give at most %d",
                               node->count, PAWL_SETTINGS_LIMITS_MAX);
        return;
    }
    settings->limits =
        pawl_pool_take(settings->pool, (node->count + 1) * sizeof(*settings->limits));
    if (settings->limits == NULL) {
        loader->no_memory = true;
        return;
    }
    settings->limit_count = 0; /* a key that stands twice is told, and read twice */
    for (item = node->first; item != NULL && !loader->no_memory; item = item->next) {
        read_limit(loader, item, &settings->limits[settings->limit_count]);
        if (!loader->no_memory) {
            check_limit_alone(loader, item, settings->limit_count);
        }
        settings->limit_count++;
    }
    if (!loader->no_memory) {
        qsort(settings->limits, settings->limit_count, sizeof(*settings->limits), by_id);
    }
}

/* ---- the tree ------------------------------------------------------------------------------ */

/** Some row's path begins with @prefix, which ends with a dot. */
static bool is_section(const char *prefix)
{
    size_t i;

    for (i = 0; i < pawl_settings_table_count; i++) {
        if (pawl_settings_table[i].scope == PAWL_SCOPE_ROOT &&
            strncmp(pawl_settings_table[i].path, prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

static void read_known(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                       const struct pawl_config_node *node)
{
    loader->seen[row - pawl_settings_table].node = node;
    if ((row->flags & PAWL_SETTING_LATER) != 0) {
        complain_later(loader, row, row->path, node);
    } else if (row->type == PAWL_SETTING_LISTENERS) {
        read_listeners(loader, node);
    } else if (row->type == PAWL_SETTING_LIMITS) {
        read_limits(loader, node);
    } else {
        read_row(loader, row, node, loader->settings, row->path);
    }
}

/** "tokens:" and kin; one level, for no setting lies deeper. */
static void read_section(struct pawl_settings_loader *loader, const char *name,
                         const struct pawl_config_node *section)
{
    const struct pawl_config_node *node;
    char path[PATH_BYTES];
    char prefix[PATH_BYTES];

    if (is_null(section)) {
        return;
    }
    if (section->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &section->place, 0,
                               "%s: is %s; write a mapping of its settings", name,
                               kind_text(section));
        return;
    }
    (void)snprintf(prefix, sizeof(prefix), "%s.", name);
    for (node = section->first; node != NULL; node = node->next) {
        const struct pawl_setting *row;

        (void)snprintf(path, sizeof(path), "%s.%.80s", name, node->key);
        row = pawl_setting_find(path);
        if (row != NULL && row->scope == PAWL_SCOPE_ROOT) {
            read_known(loader, row, node);
        } else {
            complain_unknown(loader, prefix, path, node);
        }
    }
}

void pawl_settings_walk(struct pawl_settings_loader *loader)
{
    const struct pawl_config_node *node;
    char prefix[PATH_BYTES];

    pawl_settings_defaults(loader, PAWL_SCOPE_ROOT, loader->settings);
    for (node = loader->root->first; node != NULL && !loader->no_memory; node = node->next) {
        const struct pawl_setting *row = pawl_setting_find(node->key);

        (void)snprintf(prefix, sizeof(prefix), "%.80s.", node->key);
        if (strchr(node->key, '.') != NULL) {
            pawl_settings_complain(loader, false, &node->key_place, 0,
                                   "%.80s: dotted names are for --set; indent the last part below "
                                   "the first here",
                                   node->key);
        } else if (row != NULL && row->scope == PAWL_SCOPE_ROOT) {
            read_known(loader, row, node);
        } else if (is_section(prefix)) {
            read_section(loader, node->key, node);
        } else {
            (void)snprintf(prefix, sizeof(prefix), "%.80s", node->key);
            complain_unknown(loader, "", prefix, node);
        }
    }
}
