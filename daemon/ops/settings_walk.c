#include "ops/settings_load.h"

#include <stdlib.h>
#include <string.h>

#define KNOWN_MAX   64 /* keys of one level */
#define KNOWN_BYTES 48 /* of one key */

/** The keys that may stand at one level; for suggestions. */
struct known {
    char storage[KNOWN_MAX][KNOWN_BYTES];
    const char *keys[KNOWN_MAX];
    size_t count;
};

bool pawl_settings_is_null(const struct pawl_config_node *node)
{
    return node->kind == PAWL_NODE_SCALAR && !node->quoted &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}

const char *pawl_settings_kind_text(const struct pawl_config_node *node)
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
    const struct pawl_setting *row;
    size_t i;

    known->count = 0;
    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (strncmp(row->path, prefix, skip) == 0 && (row->flags & PAWL_SETTING_LATER) == 0) {
            add_known(known, row->path + skip, strcspn(row->path + skip, "."));
        }
    }
}

void pawl_settings_complain_unknown(struct pawl_settings_loader *loader, const char *prefix,
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

void pawl_settings_complain_later(struct pawl_settings_loader *loader,
                                  const struct pawl_setting *row, const char *shown,
                                  const struct pawl_config_node *node)
{
    pawl_settings_complain(loader, false, &node->key_place, 0,
                           "%s: not in this version: %s; remove it", shown, row->help);
}

/* ---- one value ----------------------------------------------------------------------------- */

void pawl_settings_read_row(struct pawl_settings_loader *loader, const struct pawl_setting *row,
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
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (row->scope == scope && row->initial != NULL) {
            node.text = row->initial;
            pawl_settings_read_row(loader, row, &node, base, row->path);
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
    } else if (strcmp(node->key, "anonymous") == 0) {
        nodes->anonymous = node;
    }
}

static void read_listen_item(struct pawl_settings_loader *loader,
                             const struct pawl_config_node *item, unsigned index)
{
    struct pawl_listen_settings *listen = &loader->settings->listen[index];
    struct pawl_listen_nodes nodes = { .item = item };
    const struct pawl_config_node *node;
    char shown[PAWL_SETTINGS_SHOWN_BYTES];

    pawl_settings_defaults(loader, PAWL_SCOPE_LISTENER, listen);
    if (item->kind == PAWL_NODE_SCALAR) {
        (void)snprintf(shown, sizeof(shown), "listen[%u]", index);
        nodes.uri = item;
        pawl_settings_read_row(loader, pawl_setting_find("listen.*.uri"), item, listen, shown);
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
            pawl_settings_complain_unknown(loader, "listen.*.", shown, node);
        } else if ((row->flags & PAWL_SETTING_LATER) != 0) {
            pawl_settings_complain_later(loader, row, shown, node);
        } else {
            note_listen_node(&nodes, node);
            pawl_settings_read_row(loader, row, node, listen, shown);
        }
    }
    loader->listen_nodes[index] = nodes;
    pawl_settings_check_listen(loader, listen, &nodes, index);
}

static void read_listeners(struct pawl_settings_loader *loader, const struct pawl_config_node *node)
{
    bool is_list = node->kind == PAWL_NODE_SEQUENCE;
    const struct pawl_config_node *item = is_list ? node->first : node;
    unsigned count = is_list ? node->count : 1;
    unsigned i;

    if (node->kind == PAWL_NODE_MAPPING || pawl_settings_is_null(node)) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "listen: %s; write a list like [\"tcp:127.0.0.1:7401\"]",
                               pawl_settings_is_null(node) ? "has no value" : "is a mapping");
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

/* ---- the tree ------------------------------------------------------------------------------ */

/** Some row's path begins with @prefix, which ends with a dot. */
static bool is_section(const char *prefix)
{
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (row->scope == PAWL_SCOPE_ROOT && strncmp(row->path, prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

static void read_known(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                       const struct pawl_config_node *node)
{
    pawl_settings_note_seen(loader, row, node);
    if ((row->flags & PAWL_SETTING_LATER) != 0) {
        pawl_settings_complain_later(loader, row, row->path, node);
    } else if (row->type == PAWL_SETTING_LISTENERS) {
        read_listeners(loader, node);
    } else if (row->type == PAWL_SETTING_LIMITS) {
        pawl_settings_read_limits(loader, node);
    } else if (row->type == PAWL_SETTING_ACKS) {
        pawl_settings_read_acks(loader, row, node);
    } else if (row->type == PAWL_SETTING_LIST) {
        pawl_settings_read_list(loader, row, node, loader->settings, row->path);
    } else {
        pawl_settings_read_row(loader, row, node, loader->settings, row->path);
    }
}

/** The value of "cluster.redis" may be {sentinel: {...}}: then it is meant as "cluster.sentinel".
 */
static const struct pawl_config_node *sentinel_of(const char *path,
                                                  const struct pawl_config_node *node)
{
    bool is_meant = strcmp(path, "cluster.redis") == 0 && node->kind == PAWL_NODE_MAPPING &&
                    node->count == 1 && strcmp(node->first->key, "sentinel") == 0;

    return is_meant ? node->first : NULL;
}

/** "tokens:" and kin, and what lies in them: as deep as the table goes. */
static void read_section(struct pawl_settings_loader *loader, const char *name,
                         const struct pawl_config_node *section)
{
    const struct pawl_config_node *node;
    char path[PAWL_SETTINGS_SHOWN_BYTES];
    char prefix[PAWL_SETTINGS_SHOWN_BYTES];

    if (pawl_settings_is_null(section)) {
        return;
    }
    if (section->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &section->place, 0,
                               "%s: is %s; write a mapping of its settings", name,
                               pawl_settings_kind_text(section));
        return;
    }
    (void)snprintf(prefix, sizeof(prefix), "%s.", name);
    for (node = section->first; node != NULL; node = node->next) {
        const struct pawl_config_node *sentinel;
        const struct pawl_setting *row;
        char deeper[PAWL_SETTINGS_SHOWN_BYTES];

        (void)snprintf(path, sizeof(path), "%.90s.%.80s", name, node->key);
        (void)snprintf(deeper, sizeof(deeper), "%.180s.", path);
        row = pawl_setting_find(path);
        sentinel = sentinel_of(path, node);
        if (sentinel != NULL) {
            read_section(loader, "cluster.sentinel", sentinel);
        } else if (row != NULL && row->scope == PAWL_SCOPE_ROOT) {
            read_known(loader, row, node);
        } else if (is_section(deeper)) {
            read_section(loader, path, node);
        } else {
            pawl_settings_complain_unknown(loader, prefix, path, node);
        }
    }
}

/** A cluster section makes a node one of many; a heading with nothing under it does not. */
static void note_cluster(struct pawl_settings_loader *loader)
{
    const struct pawl_config_node *node = pawl_settings_child(loader->root, "cluster");

    if (node != NULL && !pawl_settings_is_null(node)) {
        loader->cluster_node = node;
        loader->settings->cluster.on = true;
    }
}

void pawl_settings_walk(struct pawl_settings_loader *loader)
{
    const struct pawl_config_node *node;
    char prefix[PAWL_SETTINGS_SHOWN_BYTES];

    pawl_settings_defaults(loader, PAWL_SCOPE_ROOT, loader->settings);
    note_cluster(loader);
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
            pawl_settings_complain_unknown(loader, "", prefix, node);
        }
    }
}
