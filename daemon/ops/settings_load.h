/*
 * What the parts of pawl_settings_load() share. Inside ops/ only.
 *
 *   settings.c        sources -> one tree, later ones laid over earlier ones; problems
 *   settings_walk.c   the tree -> values, by the table
 *   settings_limits.c, settings_lists.c   the same for limits, and for lists of mappings
 *   settings_check.c  what concerns more than one value: listeners, secrets, defaults of the host
 *   settings_access.c the same for who may connect: roles, TLS, HTTP
 *   settings_cluster.c the same for the fleet
 */
#ifndef PAWL_OPS_SETTINGS_LOAD_H
#define PAWL_OPS_SETTINGS_LOAD_H

#include "ops/settings_table.h"

#define PAWL_SETTINGS_SHOWN_BYTES 192 /* of a dotted name in a message */
#define PAWL_SETTINGS_SEEN_MAX    256 /* rows of the table, at most */

/** The nodes of one listener's keys; NULL where not written. */
struct pawl_listen_nodes {
    const struct pawl_config_node *item; /* the listener itself */
    const struct pawl_config_node *uri, *role, *mode, *insecure, *anonymous;
};

struct pawl_settings_loader {
    const struct pawl_settings_sources *sources;
    struct pawl_problems *problems;
    struct pawl_settings *settings;
    struct pawl_pool *scratch;                   /* the trees; gone after loading */
    struct pawl_config_node *root;               /* NULL = nothing but defaults */
    const struct pawl_config_node *cluster_node; /* NULL = no cluster */
    /* By row of the table: where it was written; NULL = its default stands. */
    const struct pawl_config_node *seen[PAWL_SETTINGS_SEEN_MAX];
    struct pawl_listen_nodes listen_nodes[PAWL_SETTINGS_LISTEN_MAX];
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

/** Note that @row was written at @node. */
void pawl_settings_note_seen(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                             const struct pawl_config_node *node);

/** Whether @node is a heading with nothing behind it. */
bool pawl_settings_is_null(const struct pawl_config_node *node);

/** "a list", "a mapping", "a text". */
const char *pawl_settings_kind_text(const struct pawl_config_node *node);

/** The child of the mapping @node under @key, or NULL. */
const struct pawl_config_node *pawl_settings_child(const struct pawl_config_node *node,
                                                   const char *key);

/** @shown is no setting among those that begin with @prefix ("limits.*."). */
void pawl_settings_complain_unknown(struct pawl_settings_loader *loader, const char *prefix,
                                    const char *shown, const struct pawl_config_node *node);

/** @shown is a setting of a later version. */
void pawl_settings_complain_later(struct pawl_settings_loader *loader,
                                  const struct pawl_setting *row, const char *shown,
                                  const struct pawl_config_node *node);

/** Read @node as @row into @base; what is wrong is told. */
void pawl_settings_read_row(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                            const struct pawl_config_node *node, void *base, const char *shown);

/** The mapping of limits. */
void pawl_settings_read_limits(struct pawl_settings_loader *loader,
                               const struct pawl_config_node *node);

/** A LIST @row of @base: its items, their lists, and what has to hold among them. */
void pawl_settings_read_list(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                             const struct pawl_config_node *node, void *base, const char *shown);

/** Fill the fields of @scope in @base with the defaults of the table. */
void pawl_settings_defaults(struct pawl_settings_loader *loader, enum pawl_setting_scope scope,
                            void *base);

/** Read the whole tree into loader->settings. */
void pawl_settings_walk(struct pawl_settings_loader *loader);

/**
 * Parse the address of @listen and check that its parts go together; @index is its place. Its
 * roles are settled by pawl_settings_finish_access(), when all is read.
 */
void pawl_settings_check_listen(struct pawl_settings_loader *loader,
                                struct pawl_listen_settings *listen,
                                const struct pawl_listen_nodes *nodes, unsigned index);

/** Make a number of the host and say whether it is this machine only; false: it is no number. */
bool pawl_settings_check_host(struct pawl_address *address, bool *loopback);

/** Roles of listeners, TLS and HTTP, once all is read. */
void pawl_settings_finish_access(struct pawl_settings_loader *loader);

/** cluster.acks */
void pawl_settings_read_acks(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                             const struct pawl_config_node *node);

/** The fleet, once listeners, roles and secrets are settled. */
void pawl_settings_finish_cluster(struct pawl_settings_loader *loader);

/** Fill what depends on the host, then check what concerns several settings. */
void pawl_settings_finish(struct pawl_settings_loader *loader);

#endif
