/*
 * What all workers share: the tables, the store, the rules. Built by main.c, which alone names the
 * adapters; read-only for workers but for what is safe to share.
 */
#ifndef PAWL_EDGE_APP_H
#define PAWL_EDGE_APP_H

#include "core/lease.h"
#include "core/limiter.h"
#include "core/revocations.h"
#include "core/sid.h"
#include "edge/rules.h"
#include "edge/server.h"
#include "ops/audit.h"
#include "port/clock.h"
#include "port/entropy.h"
#include "port/jwt.h"
#include "port/log.h"
#include "port/stats.h"
#include "port/store.h"

#include <stdatomic.h>

/** Upper bounds of the buckets in which the time of a read is counted; the last has none. */
#define PAWL_LATENCY_BOUNDS_US                             \
    {                                                      \
        10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 \
    }
#define PAWL_LATENCY_BUCKETS 11
#define PAWL_LATENCY_SAMPLE  64 /* a clock is read for one read in so many */

/** Figures of one worker's dispatcher; one writer, read by anyone. */
struct pawl_dispatch_metrics {
    _Atomic uint64_t checks;        /* requests, peeks included */
    _Atomic uint64_t checks_denied; /* requests whose verdict was deny */
    _Atomic uint64_t token_checks;
    _Atomic uint64_t token_revoked;
    _Atomic uint64_t token_undecided;
    _Atomic uint64_t token_expired;
    _Atomic uint64_t token_invalid;
    _Atomic uint64_t cold;            /* all other requests */
    _Atomic uint64_t invalid;         /* refused as malformed */
    _Atomic uint64_t forbidden;       /* refused for want of a role */
    _Atomic uint64_t late;            /* dropped: their deadline had passed */
    _Atomic uint64_t unavailable;     /* the store could not take or do the job */
    _Atomic uint64_t pending;         /* jobs at the store now */
    _Atomic uint64_t rotate_rows[16]; /* by row of the decision table; [0] unused */
    _Atomic uint64_t reuse_events;
    _Atomic uint64_t batch_us[PAWL_LATENCY_BUCKETS]; /* one read in PAWL_LATENCY_SAMPLE: from its
                                                        bytes read to its answers written */
    _Atomic uint64_t batch_us_sum;
    /* in a cluster (forward.h) */
    _Atomic uint64_t forwarded; /* sent to the member that counts the key */
    _Atomic uint64_t moved;     /* of those answered STATUS_MOVED: nothing was done, asked again */
    _Atomic uint64_t parked;    /* waited for a slot's records, or for a view */
    _Atomic uint64_t degraded;  /* checks decided with this member's share, without the owner */
    _Atomic uint64_t multi_owner; /* checks about keys of several members, or with a token */
    _Atomic uint64_t contended;  /* denials while another's check of several owners held a charge */
    _Atomic uint64_t holds_kept; /* charges that could not be given back after a refusal */
};

struct pawl_cluster_world;
struct pawl_dispatch;

/** How a worker with parked watches is woken (watch.h). */
struct pawl_watch_wake {
    struct pawl_post post; /* first */
    struct pawl_dispatch *dispatch;
    _Atomic bool posted;
};

struct pawl_app {
    struct pawl_limiter *limiter;
    struct pawl_revocations *revocations;
    const struct pawl_token_keys *keys;
    struct pawl_subkey family_keys[PAWL_NAME_KEYS]; /* `facts` subkeys: new families lie under the
                                                       first, of before some under the others */
    unsigned family_key_count;
    struct pawl_store store;
    const struct pawl_clock *clock;
    const struct pawl_entropy *entropy;
    const struct pawl_log *log;
    struct pawl_rules_slot rules;
    struct pawl_observe *observe;       /* figures of limits, denied keys, revocations */
    struct pawl_leases *leases;         /* reservations that wait for commit or cancel */
    struct pawl_audit *audit;           /* or NULL */
    struct pawl_cluster_world *cluster; /* edge/cluster_world.h; NULL: one node */
    struct pawl_jwt jwt; /* ops NULL: raw tokens are not verified, and so undecided */

    uint8_t node[PAWL_ORIGIN_BYTES]; /* node id and boot nonce */
    struct pawl_instant started;
    uint64_t started_ms; /* fleet clock: facts from then on are events for operators */
    bool test_clock;     /* requests bring their own time */
    /** Test clock only: a request's time becomes the time of the whole process. */
    void (*set_clock)(void *clock, uint64_t now_ms);
    uint32_t in_flight_max;

    /** Figures beyond those of the tables and the store (the server's): called for status. */
    void (*more_stats)(void *ctx, const struct pawl_stats_sink *sink);
    void *more_stats_ctx;

    struct pawl_dispatch_metrics metrics[PAWL_WORKERS_MAX];

    _Atomic uint64_t slow_s; /* the store's, read at each tick: facts past it are over */

    /* ---- private ---- */
    struct {
        _Atomic uint64_t version; /* counts facts and cancels */
        _Atomic unsigned waiting; /* parked, of all workers */
        _Atomic bool draining;
        struct pawl_watch_wake wakes[PAWL_WORKERS_MAX];
    } watch;
    pthread_mutex_t exact_order;                    /* dispatch_check.c */
    unsigned clean_shard;                           /* of the revocations; main loop's thread */
    unsigned sweep_shard;                           /* main loop's thread */
    uint8_t collect_scratch[PAWL_RECORD_BYTES_MAX]; /* the store's saving thread */
    _Atomic uint64_t counters_refused;              /* saved records that did not load */
    _Atomic uint64_t facts_refused;                 /* facts for which the table had no room */
};

/** What pawl_server_create() wants: the dispatcher, with @app as its shared state. Once for @app.
 */
struct pawl_handler pawl_dispatch_handler(struct pawl_app *app);

/** All figures of the daemon, for status and later for metrics. Any thread. */
void pawl_app_stats(struct pawl_app *app, const struct pawl_stats_sink *sink);

/** Facts and cancels as the store hands them over: into the revocation table. */
void pawl_app_on_fact(void *app, const struct pawl_fact *fact);
void pawl_app_on_cancel(void *app, const struct pawl_fact *canceled,
                        const struct pawl_fact *remaining);

/** A counter record as the store hands it over: into the limiter. */
void pawl_app_on_counter(void *app, struct pawl_bytes record, uint64_t elapsed_ms);

/** Serialized records, each behind its size: the form of the counter source (port/store.h). */
struct pawl_record_sink {
    uint8_t *out;
    size_t used;
    size_t capacity;
};

/** A pawl_limiter_sink: @sink is a struct pawl_record_sink. False when it has no room. */
bool pawl_record_append(void *sink, const uint8_t *record, size_t size);

/** The counter source of the store: dirty records out of the limiter. */
size_t pawl_app_collect(void *app, uint64_t *cursor, bool all, uint8_t *out, size_t capacity,
                        struct pawl_now now);

bool pawl_app_unsaved_since(void *app, struct pawl_instant *since);

/** The node froze or thawed: the revocation table hears of it. */
void pawl_app_on_frozen(void *app, bool frozen, const char *reason);

/** Every PAWL_REVOCATIONS_PULSE_MS: pulse, freshness, a bit of sweeping. Main loop's thread. */
void pawl_app_tick(struct pawl_app *app);

#endif
