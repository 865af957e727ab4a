/*
 * The one list of settings, and reading and writing the value of one row. Inside ops/ and its
 * tests only; everyone else sees settings.h.
 */
#ifndef PAWL_OPS_SETTINGS_TABLE_H
#define PAWL_OPS_SETTINGS_TABLE_H

#include "ops/pool.h"
#include "ops/settings.h"

enum pawl_setting_type {
    PAWL_SETTING_NONE = 0,
    PAWL_SETTING_BOOL,      /* bool */
    PAWL_SETTING_UINT,      /* uint64_t */
    PAWL_SETTING_UINT32,    /* uint32_t */
    PAWL_SETTING_SIZE,      /* uint64_t bytes */
    PAWL_SETTING_DURATION,  /* uint64_t ms */
    PAWL_SETTING_TIME,      /* uint64_t seconds since 1970; 0 = off */
    PAWL_SETTING_WORD,      /* unsigned: one of `words` */
    PAWL_SETTING_WORDS,     /* unsigned: bits of `words`, one or a list */
    PAWL_SETTING_MODE,      /* uint32_t: permission bits, octal */
    PAWL_SETTING_NAME,      /* const char *: 1 to max bytes */
    PAWL_SETTING_URI,       /* const char *: checked with its listener */
    PAWL_SETTING_PATH,      /* const char *: made absolute; "" only where the default is "" */
    PAWL_SETTING_PATHS,     /* const char *[PAWL_SETTINGS_SECRETS_MAX], "" behind the last */
    PAWL_SETTING_RATES,     /* struct pawl_limit_settings: rates and rate_count */
    PAWL_SETTING_TEXTS,     /* struct pawl_text_list: one or a list */
    PAWL_SETTING_OVERRIDES, /* struct pawl_limit_settings: overrides and override_count */
    PAWL_SETTING_LISTENERS, /* a list: scope LISTENER */
    PAWL_SETTING_LIMITS,    /* a map: scope LIMIT */
    PAWL_SETTING_ACKS,      /* a map: struct pawl_cluster_settings: acks and ack_count */
    PAWL_SETTING_LIST,      /* a list of mappings: a pointer to structs of the scope `items` */
};

/** The struct that `offset` counts from. */
enum pawl_setting_scope {
    PAWL_SCOPE_ROOT = 0,   /* struct pawl_settings */
    PAWL_SCOPE_LISTENER,   /* struct pawl_listen_settings; path "listen.*.x" */
    PAWL_SCOPE_LIMIT,      /* struct pawl_limit_settings; path "limits.*.x" */
    PAWL_SCOPE_ISSUER,     /* struct pawl_jwt_issuer_settings; path "jwt.issuers.*.x" */
    PAWL_SCOPE_JWT_KEY,    /* struct pawl_jwt_key_settings; path "jwt.issuers.*.keys.*.x" */
    PAWL_SCOPE_TLS_CLIENT, /* struct pawl_client_settings; path "tls.clients.*.x" */
    PAWL_SCOPE_CREDENTIAL, /* struct pawl_credential_settings; path "credentials.*.x" */
};

enum pawl_setting_flag {
    PAWL_SETTING_RELOADABLE = 1u << 0, /* SIGHUP may change it */
    PAWL_SETTING_REQUIRED = 1u << 1,   /* has no default */
    PAWL_SETTING_LATER = 1u << 2,      /* known by name, refused: not in this version */
    PAWL_SETTING_EMPTY_OK = 1u << 3,   /* WORDS: [] and none are values; PATH: "" */
    PAWL_SETTING_KEYS = 1u << 4,       /* TEXTS: keys of limits, checked as such */
};

/** A word of a closed list; the last has text NULL. */
struct pawl_setting_word {
    const char *text;
    unsigned value;
};

struct pawl_setting {
    const char *path; /* dotted name; "*" stands for a name or a place in a list */
    enum pawl_setting_type type;
    enum pawl_setting_scope scope;
    unsigned flags;
    size_t offset;
    uint64_t min, max;   /* in the unit of the field; NAME: bytes; max of lists: items */
    uint64_t step;       /* DURATION: a multiple of it, ms; 0 = 1 */
    uint64_t item_max;   /* TEXTS: bytes of an item, of which there are `min` at least */
    unsigned algorithms; /* LIMIT: bits (1 << enum pawl_algorithm) it goes with; 0 = all */
    enum pawl_setting_scope items;  /* LIST: of an item */
    size_t item_size, count_offset; /* LIST: of an item's struct; of the unsigned that counts */
    const char *initial;      /* the default as it would be written; NULL = computed, or none */
    const char *initial_help; /* where computed: in words */
    const char *value_help;   /* what may be written, where type and bounds do not say it */
    const struct pawl_setting_word *words;
    const char *help; /* one line; LATER: what it will be */
};

/** The rows in the order of the printed file, from 0; NULL behind the last. */
const struct pawl_setting *pawl_setting_at(size_t index);

/** The last part of the row's path: "rate" of "limits.*.rate". */
const char *pawl_setting_key(const struct pawl_setting *row);

/** The row of a dotted path with its "*", or NULL. */
const struct pawl_setting *pawl_setting_find(const char *path);

/** The row with @key in @scope, which is not ROOT; NULL when there is none. */
const struct pawl_setting *pawl_setting_find_in(enum pawl_setting_scope scope, const char *key);

#define PAWL_SETTING_WHAT_BYTES 400
#define PAWL_SETTING_TEXT_BYTES 8192

/** What reading a value needs and says. */
struct pawl_setting_reader {
    struct pawl_pool *pool;             /* for texts */
    const char *folder;                 /* absolute, for relative paths; "" = not known */
    enum pawl_status status;            /* out: PAWL_OK, PAWL_EINVAL, PAWL_ENOMEM */
    const struct pawl_config_node *at;  /* out: the node that is wrong, maybe inside a list */
    unsigned shift;                     /* out: columns from its start to the fault */
    char what[PAWL_SETTING_WHAT_BYTES]; /* out: what is wrong; what to do */
};

/**
 * Read @node as a value of @row into its field of @base. On failure the field keeps its value,
 * and reader->what says why. Not for LISTENERS, LIMITS, LIST and OVERRIDES. RATES are read by the
 * limit's algorithm: that row first.
 */
PAWL_MUST_USE enum pawl_status pawl_setting_read(const struct pawl_setting *row,
                                                 const struct pawl_config_node *node, void *base,
                                                 struct pawl_setting_reader *reader);

/**
 * The value of @row in @base as the file would say it; @out has PAWL_SETTING_TEXT_BYTES. Not for
 * what may be longer: TEXTS, OVERRIDES, LISTENERS, LIMITS and LIST.
 */
void pawl_setting_format(const struct pawl_setting *row, const void *base, char *out);

/** @count rates as text, in quotes; @out has PAWL_SETTING_TEXT_BYTES. */
void pawl_setting_format_rates(const struct pawl_rate *rates, unsigned count, char *out);

/** Whether @row goes with what is in @base: a limit of another algorithm does not have it. */
bool pawl_setting_applies(const struct pawl_setting *row, const void *base);

/** The items and the count of a LIST in @base. */
const void *pawl_setting_items(const struct pawl_setting *row, const void *base, unsigned *count);

/** A unit and its factor; largest first, the last has name NULL. */
struct pawl_setting_unit {
    const char *name;
    uint64_t factor;
};
extern const struct pawl_setting_unit pawl_setting_sizes[];
extern const struct pawl_setting_unit pawl_setting_durations[];

/** "a, b, c": the words of a row. */
void pawl_setting_join(const struct pawl_setting_word *words, char *out, size_t capacity);

/** Bounds and kind in words: "8MiB to 32GiB", "one of a, b"; @out has PAWL_SETTING_WHAT_BYTES. */
void pawl_setting_describe(const struct pawl_setting *row, char *out);

/** Whether @text is UTF-8 without control characters: what may be a name or a path. */
bool pawl_setting_is_clean(const char *text);

/** @text, which is clean, in double quotes, escaped, as YAML and JSON read it; cut at @capacity. */
void pawl_setting_quote(const char *text, char *out, size_t capacity);

/** The word of @known[0..count) that is nearest to @text, or NULL when none is near. */
const char *pawl_setting_nearest(const char *text, const char *const *known, size_t count);

#endif
