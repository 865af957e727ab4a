/*
 * The cluster's thread: its own loop with the engine's connections, the links to other members, and
 * the pure parts of core/cluster/ as one node. For the dispatcher it is the store (port/store.h);
 * workers see it through the world (cluster_world.h).
 *
 *   create -> start -> [runs] -> leave (still serving) -> close -> destroy
 *
 * - create makes everything but the thread; facts of the journal may be loaded from then on.
 * - start begins to connect. Until the log was synced once the revocation table stays LOADING, so
 *   no token is called valid on what is not known yet; limits wait for a view.
 * - leave hands all slots to the others; its callback says when nothing is left here, or when the
 *   time given is over.
 * - close ends jobs that are under way, takes this member out of the view and of the announced
 *   ones (where leave was asked for), closes the connections and joins the thread.
 * - destroy after pawl_server_destroy(): messages to workers that were under way come back before.
 *
 * With a journal every fact, of whatever origin, is kept there too; at the next start what the
 * engine lacks of it is appended again. Without one, facts live in the engine and in the members'
 * memory. Families and counters live in the engine (and, counters, in their owners' memory).
 *
 * The birth of the store, against which tokens are judged too old to be known (older_than_store):
 * the smallest of what the members' lives brought along, see pawl_cluster_birth().
 */
#ifndef PAWL_EDGE_CLUSTER_H
#define PAWL_EDGE_CLUSTER_H

#include "core/limiter.h"
#include "core/revocations.h"
#include "edge/cluster_world.h"
#include "ops/audit.h"
#include "port/engine.h"
#include "port/entropy.h"
#include "port/net.h"
#include "port/store.h"

#define PAWL_CLUSTER_ACKS_MAX    256   /* namespaces with a level of their own */
#define PAWL_CLUSTER_QUEUE_MAX   65536 /* jobs that are not done, where the options say nothing */
#define PAWL_CLUSTER_FACT_MS     1000 /* how long a job waits for its level, where it says nothing */
#define PAWL_CLUSTER_DEADLINE_MS 30000 /* and at most */
#define PAWL_CLUSTER_KEYS_MAX    4     /* secrets under which facts may be sealed */

/** How main.c names the adapter. Called on the cluster's thread. */
struct pawl_cluster_maker {
    /** Make an engine over @net (lent as long as the engine lives). */
    enum pawl_status (*create)(void *ctx, const struct pawl_net *net,
                               const struct pawl_engine_events *events, struct pawl_engine *engine,
                               struct pawl_error *error);
    /** After its close has called back. */
    void (*destroy)(void *ctx);
    /** Its own figures, any thread, between create and destroy; may be NULL. */
    void (*stats)(void *ctx, const struct pawl_stats_sink *sink);
    void *ctx;
};

struct pawl_cluster_ack {
    const char *ns;
    enum pawl_ack ack;
};

/** Texts and arrays are copied where it does not say "kept". */
struct pawl_cluster_options {
    struct pawl_cluster_maker maker;
    const struct pawl_tls *tls; /* for links to members; ops NULL: in clear only */
    struct pawl_origin self;
    const char *advertise; /* canonical address (core/address.h) */
    const char *seeds; /* "host:port" of all members, asked for the view while the engine is away;
                          "" or NULL: none */
    const char *peer_name; /* what members' certificates are for; "" or NULL: their hosts */
    const char *version;   /* of this program */
    /* Of as many secrets: the first seals what lies in the engine, all of them open it. */
    const struct pawl_subkey *facts, *limits;
    unsigned secrets_count;          /* 1 to PAWL_CLUSTER_KEYS_MAX */
    const struct pawl_subkey *slots; /* of the secret that names keys: the same at all members */
    struct pawl_limiter *limiter;    /* kept */
    struct pawl_revocations *revocations; /* kept: freshness and mode */
    struct pawl_store journal;            /* kept; ops NULL: none */
    struct pawl_stamp birth;              /* of this node's journal, or now */
    struct pawl_store_events events;
    enum pawl_ack ack; /* default level; DEFAULT: quorum where there are replicas, else durable */
    const struct pawl_cluster_ack *acks; /* of namespaces */
    unsigned ack_count;
    uint64_t staleness_max_ms; /* tokens.staleness_max: nobody answers "fresh" later */
    uint64_t max_lifetime_s;   /* tokens.max_lifetime: families are kept so much longer */
    uint64_t facts_max;        /* of the log; 0: its own default */
    uint32_t command_ms;       /* deadline of a command at the engine */
    uint32_t interval_ms;      /* between saves of counters */
    bool strict_gate;          /* time opens no gate: only that all members are ready */
    unsigned queue_max;        /* 0: PAWL_CLUSTER_QUEUE_MAX */
    size_t page_bytes; /* records in one answer to a Pull; 0 and above PAWL_PULL_BYTES_MAX: that */
    const struct pawl_clock *clock; /* kept, as are those below */
    const struct pawl_entropy *entropy;
    const struct pawl_log *log;
    struct pawl_audit *audit; /* may be NULL */
};

struct pawl_cluster; /* opaque */

/**
 * Make one, with its world, of which nothing is known yet.
 *
 * PAWL_OK, PAWL_ENOMEM, PAWL_EIO, PAWL_EINVAL with @error; @cluster is NULL then.
 */
PAWL_MUST_USE enum pawl_status pawl_cluster_create(const struct pawl_cluster_options *options,
                                                   struct pawl_cluster **cluster,
                                                   struct pawl_error *error);

/** What workers look at; lent as long as the cluster. */
struct pawl_cluster_world *pawl_cluster_world(struct pawl_cluster *cluster);

/** A fact of the journal; before start, or from any thread afterwards. */
void pawl_cluster_load(struct pawl_cluster *cluster, const struct pawl_fact *fact);

/** Begin. PAWL_OK, or PAWL_EIO with @error: no thread. */
PAWL_MUST_USE enum pawl_status pawl_cluster_start(struct pawl_cluster *cluster,
                                                  struct pawl_error *error);

/**
 * Wait until this node is in the view; false: not within @timeout_ms. Not for its slots: two that
 * join at once fetch them from each other, and for that their workers have to run. Any thread but
 * the cluster's.
 */
bool pawl_cluster_wait_joined(struct pawl_cluster *cluster, uint32_t timeout_ms);

/** The store, for jobs. Its close is pawl_cluster_close(). */
struct pawl_store pawl_cluster_store(struct pawl_cluster *cluster);

/**
 * Begin to leave; @left is called once, on the cluster's thread, when nothing is left to be handed
 * over or @timeout_ms have passed. Any thread, once.
 */
void pawl_cluster_leave(struct pawl_cluster *cluster, uint32_t timeout_ms, void (*left)(void *ctx),
                        void *ctx);

/** End it all but the memory. Blocks, some seconds at most. Twice is nothing. */
void pawl_cluster_close(struct pawl_cluster *cluster);

/** NULL is nothing. */
void pawl_cluster_destroy(struct pawl_cluster *cluster);

/** tokens.staleness_max after a reload: for how long a silent member may answer as fresh. Any
 * thread. */
void pawl_cluster_set_staleness(struct pawl_cluster *cluster, uint64_t staleness_max_ms);

/** Run @run on the cluster's thread soon; nothing where it runs no more. Any thread. */
void pawl_cluster_call(struct pawl_cluster *cluster, void (*run)(void *ctx), void *ctx);

/** Figures; cluster_stats.c has their list. Any thread. */
void pawl_cluster_stats(struct pawl_cluster *cluster, const struct pawl_stats_sink *sink);

#endif
