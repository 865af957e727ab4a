/*
 * The rules of the moment: named limits and the policies for tokens and rotation, as one
 * immutable object. A reload builds a new one and publishes it; each worker picks it up at its
 * next batch, and the last one to let go of the old frees it. So no request ever sees half a
 * reload, and none waits for one.
 */
#ifndef PAWL_EDGE_RULES_H
#define PAWL_EDGE_RULES_H

#include "core/family.h"
#include "core/limiter.h"
#include "core/policy.h"
#include "core/rotation.h"
#include "core/zone.h"
#include "edge/observe.h"
#include "edge/rule_keys.h"
#include "ops/settings.h"
#include "port/zones.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define PAWL_EXACT_BYTES_MAX 8192U /* of the records that one exact check saves */

/** A named limit as the dispatcher needs it. Of a check only a pointer to `limit` remains. */
struct pawl_rule {
    struct pawl_rule_keys *keys; /* overrides and bypass; NULL where there are none */
    const char *zone;            /* name of its time zone, of a calendar quota; else "" */
    uint32_t place;              /* of its figures (observe.h) */
    bool exact;                  /* consistency: exact: saved durably before the answer */
    uint8_t ns_size;             /* of limit.ns */
    struct pawl_limit limit;
};

/** A time zone that limits count in. */
struct pawl_rules_zone {
    char name[PAWL_ZONE_NAME_MAX + 1];
    struct pawl_zone zone;
};

struct pawl_rules {
    struct pawl_token_policy tokens;
    struct pawl_rotation_policy rotation;
    struct pawl_name issuer; /* the only configured one, for requests that name none; or empty */
    /* ---- private ---- */
    _Atomic unsigned references;
    struct pawl_subkey placement;
    unsigned rule_count;
    uint32_t bucket_mask;
    uint32_t *buckets; /* index + 1 into rules; 0 = free */
    struct pawl_rule *rules;
    unsigned zone_count;
    struct pawl_rules_zone **zones; /* each name once */
};

/** What rules are built with, beside the settings. */
struct pawl_rules_world {
    const struct pawl_limiter *limiter;
    struct pawl_observe *observe;   /* where figures of limits have their places */
    const struct pawl_zones *zones; /* where time zones are read from */
    uint64_t store_birth_ms;        /* of the store, for tokens older than it */
};

/**
 * Build the rules that @settings describe, with one reference, the caller's. Reads the files of
 * the time zones that limits name.
 *
 * @error  what is wrong (a limit's name in it).
 * Returns NULL when out of memory or when a limit is not valid.
 */
struct pawl_rules *pawl_rules_create(const struct pawl_settings *settings,
                                     const struct pawl_rules_world *world,
                                     struct pawl_error *error);

/** One reference more or less; the last one frees. NULL is allowed for release. Any thread. */
struct pawl_rules *pawl_rules_acquire(struct pawl_rules *rules);
void pawl_rules_release(struct pawl_rules *rules);

/**
 * The limit @name of @ns; with a @tier, "name.tier" where there is one. NULL when there is none.
 * Lent as long as the rules are held.
 */
const struct pawl_rule *pawl_rules_find(const struct pawl_rules *rules, struct pawl_bytes ns,
                                        struct pawl_bytes name, struct pawl_bytes tier);

/** The rule that @limit, which pawl_rules_find() found, is in; NULL for inline rates. */
static inline const struct pawl_rule *pawl_rule_of(const struct pawl_limit *limit)
{
    return limit->inline_rates
               ? NULL
               : (const struct pawl_rule *)(const void *)((const char *)limit -
                                                          offsetof(struct pawl_rule, limit));
}

/** Is this the limit @name of @ns? */
static inline bool pawl_rule_is(const struct pawl_rule *rule, struct pawl_bytes ns,
                                struct pawl_bytes name)
{
    return rule->limit.name_size == name.size && rule->ns_size == ns.size &&
           memcmp(rule->limit.name, name.data, name.size) == 0 &&
           memcmp(rule->limit.ns, ns.data, ns.size) == 0;
}

/** By position, for listing: NULL behind the last. Sorted by namespace, then name. */
const struct pawl_rule *pawl_rules_at(const struct pawl_rules *rules, unsigned index);

/* ---- publishing ---------------------------------------------------------------------------- */

/** Where the current rules hang. */
struct pawl_rules_slot {
    pthread_mutex_t mutex;
    _Atomic unsigned version; /* changes with each publication: cheap to compare */
    struct pawl_rules *current;
};

/** Start with @rules; the slot takes over the caller's reference. */
void pawl_rules_slot_init(struct pawl_rules_slot *slot, struct pawl_rules *rules);
void pawl_rules_slot_deinit(struct pawl_rules_slot *slot);

/** Make @rules the current ones (takes over the reference) and release the old. */
void pawl_rules_publish(struct pawl_rules_slot *slot, struct pawl_rules *rules);

/** The current rules with a reference for the caller, and their version. */
struct pawl_rules *pawl_rules_current(struct pawl_rules_slot *slot, unsigned *version);

#endif
