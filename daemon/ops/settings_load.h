/*
 * What the parts of pawl_settings_load() share. Inside ops/ only.
 *
 *   settings.c        sources -> one tree, later ones laid over earlier ones; problems
 *   settings_walk.c   the tree -> values, by the table
 *   settings_check.c  what concerns more than one value: listeners, secrets, defaults of the host
 */
#ifndef PAWL_OPS_SETTINGS_LOAD_H
#define PAWL_OPS_SETTINGS_LOAD_H

#include "ops/settings_table.h"

/** Where a setting of the file or the command line was written; NULL = its default stands. */
struct pawl_settings_seen {
    const struct pawl_config_node *node;
};

struct pawl_settings_loader {
    const struct pawl_settings_sources *sources;
    struct pawl_problems *problems;
    struct pawl_settings *settings;
    struct pawl_pool *scratch;       /* the trees; gone after loading */
    struct pawl_config_node *root;   /* NULL = nothing but defaults */
    struct pawl_settings_seen *seen; /* by row of the table */
    char config_folder[PAWL_SETTINGS_PATH_MAX];
    bool no_memory;
};

/** Note an error or a warning at @node (NULL = no place); @shift columns into it. */
void pawl_settings_complain(struct pawl_settings_loader *loader, bool warning,
                            const struct pawl_place *place, unsigned shift, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/** The folder that a relative path written in @node counts from; "" = not known. */
const char *pawl_settings_folder(const struct pawl_settings_loader *loader,
                                 const struct pawl_config_node *node);

/** Where the setting @path was written, or NULL where its default stands. */
const struct pawl_config_node *pawl_settings_seen(const struct pawl_settings_loader *loader,
                                                  const char *path);

/** Fill the fields of @scope in @base with the defaults of the table. */
void pawl_settings_defaults(struct pawl_settings_loader *loader, enum pawl_setting_scope scope,
                            void *base);

/** Read the whole tree into loader->settings. */
void pawl_settings_walk(struct pawl_settings_loader *loader);

/** The nodes of one listener's keys; NULL where not written. */
struct pawl_listen_nodes {
    const struct pawl_config_node *item; /* the listener itself */
    const struct pawl_config_node *uri, *role, *mode, *insecure;
};

/** Parse the address of @listen and check that its parts go together; @index is its place. */
void pawl_settings_check_listen(struct pawl_settings_loader *loader,
                                struct pawl_listen_settings *listen,
                                const struct pawl_listen_nodes *nodes, unsigned index);

/** Fill what depends on the host, then check what concerns several settings. */
void pawl_settings_finish(struct pawl_settings_loader *loader);

#endif
