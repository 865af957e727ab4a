/*
 * A request that waits for the store: its job, copies of the bytes the job needs, and where the
 * answer goes. The session may be gone by then; the job is finished all the same.
 *
 * Life: pawl_pending_take -> fill -> pawl_pending_submit -> (store's thread) done -> posted to the
 * worker -> `reply` on the worker's thread -> back to the pool. When submit fails, the caller
 * replies and gives it back itself.
 */
#ifndef PAWL_EDGE_PENDING_H
#define PAWL_EDGE_PENDING_H

#include "edge/dispatch.h"
#include "ops/audit.h"

/* Copies of what a job lends: all claims of a rotation; or the records of an exact check, and
 * behind them its answer. */
#define PAWL_PENDING_BYTES 16384

#define PAWL_WATCH_FACTS_MAX 128 /* in one answer */

struct pawl_pending {
    struct pawl_post post; /* first: the worker hands it back */
    struct pawl_job job;
    struct pawl_dispatch *dispatch;
    struct pawl_reply_to to;
    struct pawl_audit_peer peer; /* of a durable request: for the audit log */
    uint64_t deadline_ms;        /* BOOTTIME; 0 = none */
    /** Write the answer; @session is NULL when it has gone. On the worker's thread. */
    void (*reply)(struct pawl_pending *pending, struct pawl_session *session);
    struct pawl_pending *next; /* in the pool */
    unsigned body;             /* of a revocation's answer: revoke or family_end */
    bool again;                /* set by `reply`: nothing was answered, submit once more */
    bool kept;                 /* set by `reply`: somebody keeps it, and answers later */
    size_t used;
    uint8_t bytes[PAWL_PENDING_BYTES];
    union {
        struct {
            struct pawl_rotation_request request;
            struct pawl_rotation_policy policy;
            struct pawl_rotation_outcome outcome;
            unsigned candidate; /* which of the possible family ids is looked up */
            bool missed;        /* no record under it, and there is another */
        } rotate;
        struct {
            struct pawl_family record;
            uint64_t max_lifetime_s;
            bool known; /* the id is taken */
            bool late;
        } family;
        struct {
            size_t size; /* of the reply that waits, in bytes */
        } check;
        struct {
            struct pawl_fact_id last; /* handed out, or asked from */
            unsigned count;           /* facts in `bytes`, each behind its length */
            unsigned count_max;
            bool snapshot;
            uint64_t seen;     /* app->watch.version before the store was asked */
            uint64_t until_ms; /* BOOTTIME: how long to wait; 0 = not at all */
        } watch;
    } as;
};

/** One from the pool; NULL when PAWL_PENDING_MAX are out or memory is. */
struct pawl_pending *pawl_pending_take(struct pawl_dispatch *dispatch, struct pawl_session *session,
                                       uint64_t request_id);

/** Back to the pool, unused. */
void pawl_pending_give(struct pawl_pending *pending);

/** A copy of @bytes that lives as long as @pending; the caps of the wire make it fit. */
struct pawl_bytes pawl_pending_copy(struct pawl_pending *pending, struct pawl_bytes bytes);

/**
 * Submit. @session owes a reply from now on. When the store does not take it, replies with the
 * reason and gives @pending back; then returns false.
 */
bool pawl_pending_submit(struct pawl_pending *pending, struct pawl_session *session);

/** Free the pool; no job may be out. */
void pawl_pending_free_all(struct pawl_dispatch *dispatch);

#endif
