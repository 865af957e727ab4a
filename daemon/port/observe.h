/*
 * What operators look at beyond plain figures (stats.h): figures of each limit, the keys that are
 * denied most, the last revocations. The edge keeps them (edge/observe.h); metrics, console and
 * `top` read them through this table, from any thread, at any time.
 *
 * Keys and values are masked before they are kept: the first two characters, "***", and 8 digits
 * of a keyed hash; of an IP address its first half in place of the characters.
 */
#ifndef PAWL_PORT_OBSERVE_H
#define PAWL_PORT_OBSERVE_H

#include "core/fact.h"
#include "core/limiter.h"

#define PAWL_OBSERVED_KEYS_MAX   256 /* that a reader gets at most */
#define PAWL_OBSERVED_EVENTS_MAX 256 /* kept; older ones are forgotten */
#define PAWL_OBSERVED_TEXT_BYTES 128 /* of a masked key or value, its NUL included */

/**
 * Figures of one limit since pawld started, reloads included: by what the limit itself said, once
 * for each item of a check, whatever other limits of the same check said. Peeks do not count.
 */
struct pawl_observed_limit {
    const char *limit; /* lent for the call; "" = all inline rates together */
    const char *ns;    /* "" with inline rates: of all namespaces */
    uint64_t allowed;
    uint64_t denied;        /* refused by this limit */
    uint64_t shadow_denied; /* would have been refused, were it not for shadow */
    uint64_t bypassed;      /* not counted: the key is on the bypass list */
    uint64_t overflowed;    /* of all the above: counted in a cell shared with other keys */
};

/** A key that was denied within the last hour. */
struct pawl_observed_key {
    char limit[PAWL_LIMIT_NAME_MAX + 1]; /* "" = inline rates */
    char ns[PAWL_LIMIT_NAME_MAX + 1];
    char key[PAWL_OBSERVED_TEXT_BYTES]; /* masked; parts with '|' between them */
    uint64_t denied;                    /* an estimate, never too low */
    uint64_t last_ms;                   /* since 1970 */
};

/** A revocation, cutoff or end of a family that this node took. */
struct pawl_observed_event {
    enum pawl_scope scope;
    enum pawl_reason reason;
    char ns[PAWL_LIMIT_NAME_MAX + 1];
    char value[PAWL_OBSERVED_TEXT_BYTES]; /* masked; "" for a namespace */
    uint64_t at_ms;                       /* since 1970 */
};

typedef void (*pawl_on_observed_limit)(void *ctx, const struct pawl_observed_limit *limit);

struct pawl_observed {
    /** Each limit that was ever configured since the start, inline rates first. */
    void (*limits)(void *self, pawl_on_observed_limit on_limit, void *ctx);
    /** Up to @max (PAWL_OBSERVED_KEYS_MAX at most), the most denied first. Returns how many. */
    size_t (*keys)(void *self, struct pawl_observed_key *out, size_t max);
    /** Up to @max, the newest first. Returns how many. */
    size_t (*events)(void *self, struct pawl_observed_event *out, size_t max);
    void *self;
};

#endif
