/*
 * What operators look at (port/observe.h has the reading side): figures of each limit, the keys
 * that are denied most, the last revocations.
 *
 * Figures have one writer for each worker and no lock: a limit has a place (by namespace and name)
 * that stays the same over reloads, and each worker an array of such places. Denied keys go into a
 * sketch of bounded size for each worker, fed by denials only, under a lock that only a reader ever
 * contends for: in a bucket that is full the key with the fewest denials gives way to the new one,
 * which takes over its count (space-saving; Metwally, Agrawal, El Abbadi, 2005). Raw keys are never
 * kept.
 *
 * Life: pawl_observe_create -> places for each rules object (rules.c) -> workers write, anyone
 * reads -> pawl_observe_destroy when all of them are gone.
 */
#ifndef PAWL_EDGE_OBSERVE_H
#define PAWL_EDGE_OBSERVE_H

#include "core/keyhash.h"
#include "port/clock.h"
#include "port/observe.h"

#include <stdatomic.h>

/* Names of limits since the start, over all reloads; later ones share the last place. */
#define PAWL_OBSERVE_PLACES_MAX 4096
#define PAWL_OBSERVE_INLINE     0 /* the place of all inline rates */

struct pawl_observe;

/** What is counted for a limit. */
enum pawl_figure {
    PAWL_FIGURE_ALLOWED = 0,
    PAWL_FIGURE_DENIED,
    PAWL_FIGURE_SHADOW_DENIED,
    PAWL_FIGURE_BYPASSED,
    PAWL_FIGURE_OVERFLOWED,
    PAWL_FIGURES,
};

/** One limit at one worker: written by that worker alone. */
struct pawl_figures {
    _Atomic uint64_t values[PAWL_FIGURES];
};

/** A denial, as the sketch wants it. */
struct pawl_denial {
    struct pawl_id id; /* of the key under the limit */
    unsigned place;
    struct pawl_bytes ns;
    const struct pawl_bytes *parts;
    size_t parts_count;
    uint64_t now_ms; /* since 1970 */
    bool known;      /* the caller's: it is in the sketch already */
    bool audit;      /* the caller's: the audit log takes it too */
};

/**
 * @mask   the `mask` subkey: for the digits that stand for a key. Copied.
 * @clock  lent until destroy.
 * Returns NULL when out of memory.
 */
struct pawl_observe *pawl_observe_create(const struct pawl_subkey *mask,
                                         const struct pawl_clock *clock);

/** NULL is allowed. */
void pawl_observe_destroy(struct pawl_observe *observe);

/**
 * The place of limit @name of @ns, the same whenever asked. Any thread, takes a lock: for building
 * rules, not for checks.
 */
unsigned pawl_observe_place(struct pawl_observe *observe, const char *ns, const char *name);

/**
 * The figures of worker @index (below PAWL_WORKERS_MAX), PAWL_OBSERVE_PLACES_MAX of them, made at
 * the first call. NULL when out of memory. Lent until destroy.
 */
struct pawl_figures *pawl_observe_worker(struct pawl_observe *observe, unsigned index);

/** One more; by the worker whose figures they are. */
static inline void pawl_figure_count(struct pawl_figures *figures, enum pawl_figure figure)
{
    _Atomic uint64_t *value = &figures->values[figure];

    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/**
 * Is the key of a denial by worker @index in its sketch? Then it is counted, and true is returned.
 * Else pawl_observe_denied() wants to know more; the two are apart because a key's bytes are not
 * at hand without work (dispatch_check.c).
 */
bool pawl_observe_denied_again(struct pawl_observe *observe, unsigned index, struct pawl_id id,
                               uint64_t now_ms);
void pawl_observe_denied(struct pawl_observe *observe, unsigned index,
                         const struct pawl_denial *denial);

/** A revocation, cutoff or end of a family acts from now on. @value is masked here. Any thread. */
void pawl_observe_revoked(struct pawl_observe *observe, const struct pawl_fact *fact,
                          uint64_t now_ms);

/**
 * As the readers of port/observe.h, of one namespace (@ns.data NULL: of all). @out has room for as
 * many as @max and the maximum there allow. Any thread.
 */
size_t pawl_observe_keys_of(struct pawl_observe *observe, struct pawl_bytes ns,
                            struct pawl_observed_key *out, size_t max);
size_t pawl_observe_events_of(struct pawl_observe *observe, struct pawl_bytes ns,
                              struct pawl_observed_event *out, size_t max);

/** The reading side. @observe outlives it. */
struct pawl_observed pawl_observe_reader(struct pawl_observe *observe);

#endif
