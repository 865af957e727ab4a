/*
 * What the settings need of a configuration language: a tree of scalars, sequences and mappings,
 * each with the place it came from. The yaml adapter makes it, ops reads it; ops never sees a
 * parser's types, and another language would be another adapter.
 *
 * The tree and its texts live in memory that the caller hands out and frees as a whole.
 */
#ifndef PAWL_PORT_CONFIG_TREE_H
#define PAWL_PORT_CONFIG_TREE_H

#include "core/status.h"

#define PAWL_CONFIG_BYTES_MAX 8388608 /* of one file: 65536 overrides have room */
#define PAWL_CONFIG_DEPTH_MAX 16      /* of nested collections */
#define PAWL_CONFIG_NODES_MAX 131072  /* of one file */

enum pawl_node_kind {
    PAWL_NODE_NONE = 0,
    PAWL_NODE_SCALAR,
    PAWL_NODE_SEQUENCE,
    PAWL_NODE_MAPPING,
};

/** Where something was written; for messages. */
struct pawl_place {
    const char *file; /* a file's name, or the command line's option; lives as long as the tree */
    unsigned line;    /* from 1; 0 = the source has no lines */
    unsigned column;  /* from 1 */
};

struct pawl_config_node {
    enum pawl_node_kind kind;
    struct pawl_place place;
    const char *key;             /* in a mapping: its key, else NULL; 0-terminated, no NUL inside */
    struct pawl_place key_place; /* in a mapping: of the key */
    struct pawl_config_node *next;  /* the next child of the same parent, in the file's order */
    struct pawl_config_node *first; /* SEQUENCE, MAPPING: the first child, or NULL */
    unsigned count;                 /* SEQUENCE, MAPPING: children */
    const char *text;               /* SCALAR: its text, 0-terminated, no NUL inside; never NULL */
    bool quoted;                    /* SCALAR: written in quotes: never a null */
};

/** Memory of a tree: never freed piece by piece. */
struct pawl_config_memory {
    /** @size zeroed bytes, aligned for anything; NULL when there is no more. */
    void *(*take)(void *self, size_t size);
    void *self;
};

/** Where complaints go: one call for each, in any order. */
struct pawl_config_sink {
    /** @what says what is wrong and what to do; lent for the call. */
    void (*problem)(void *self, const struct pawl_place *place, const char *what);
    void *self;
};

/** Implemented by adapter/yaml. One thread at a time. */
struct pawl_config_parser {
    /**
     * Read the tree of the file @path into @memory.
     *
     * @root  out: NULL where the file is empty, else the top node.
     * Returns PAWL_OK; PAWL_EINVAL when anything was handed to @sink (all that could be found is,
     * at once); PAWL_ENOMEM; PAWL_EIO or PAWL_ENOENT (also told to @sink).
     */
    enum pawl_status (*parse_file)(void *self, const char *path,
                                   const struct pawl_config_memory *memory,
                                   const struct pawl_config_sink *sink,
                                   struct pawl_config_node **root);
    /**
     * The same from @text. @name stands for the file in places, and must live as long as the
     * tree. @has_lines false: places carry line 0, for an option of the command line.
     */
    enum pawl_status (*parse_text)(void *self, const char *name, struct pawl_bytes text,
                                   bool has_lines, const struct pawl_config_memory *memory,
                                   const struct pawl_config_sink *sink,
                                   struct pawl_config_node **root);
    void *self;
};

#endif
