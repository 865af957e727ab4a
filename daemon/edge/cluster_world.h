/*
 * What the workers and the cluster's thread have in common. app->cluster points at it; NULL is one
 * node, and then nothing of this is looked at.
 *
 *   cluster's thread -> workers   ownership (atomics), territory (published), pawl_world_poke()
 *   workers -> cluster's thread   the calls below, each of which only notes something and returns
 *
 * Order, for the cluster's thread: on a new view first the states of the slots (gained ones
 * WANTED), then the territory, then poke. Before records of a slot are read: its state away from
 * HELD, then pawl_quiesce(), and in its callback they stand still.
 *
 * Life: pawl_world_init -> (workers open and enter themselves) -> serving -> the cluster's thread
 * stops calling anything here -> pawl_server_destroy() -> pawl_world_deinit.
 */
#ifndef PAWL_EDGE_CLUSTER_WORLD_H
#define PAWL_EDGE_CLUSTER_WORLD_H

#include "core/address.h"
#include "core/cluster/ownership.h"
#include "edge/handler.h"
#include "edge/holds.h"
#include "edge/server.h"
#include "edge/territory.h"
#include "port/tls.h"

/* ---- requests of other members ------------------------------------------------------------- */

enum pawl_peer_kind {
    PAWL_PEER_PULL = 1,
    PAWL_PEER_PUSH = 2,
    PAWL_PEER_VIEW_PUSH = 3,
};

/**
 * A Pull, Push or ViewPush of another member (pawl.proto has their meaning), on its way to the
 * cluster's thread and back. Made by a worker; the cluster's thread fills in the answer and calls
 * pawl_peer_answer() once, sooner or later: also for one whose asker has gone.
 */
struct pawl_peer_request {
    struct pawl_post post; /* first; the way back. Until then the receiver may use post.next */
    enum pawl_peer_kind kind;
    /* ---- asked: bytes lie in this object ---- */
    struct pawl_bytes view;       /* sealed, core/cluster/view.h */
    struct pawl_member_id member; /* PULL, PUSH: who asks */
    uint32_t bundle;              /* PULL: below 64 */
    uint64_t cursor;              /* PULL */
    bool have;                    /* PULL */
    uint64_t sequence;            /* PUSH */
    struct pawl_bytes records;    /* PUSH */
    /* ---- answer ---- */
    enum pawl_status status; /* PAWL_OK, or why not */
    char error[160];         /* with another status: for people */
    uint64_t next_cursor;    /* PULL */
    uint64_t whole;          /* PULL */
    bool known;              /* PUSH */
    uint8_t *answer;         /* from malloc(), freed after it was sent; or NULL. PULL: records */
    size_t answer_size;      /* PULL: up to PAWL_PULL_BYTES_MAX. VIEW_PUSH: a newer view, sealed */
    /* ---- private ---- */
    struct pawl_worker *worker;
    struct pawl_ticket ticket;
    uint64_t id;
    uint64_t deadline_ms; /* BOOTTIME; 0: none. An answer after it reaches nobody */
    uint8_t bytes[];
};

#define PAWL_PULL_BYTES_MAX (1024 * 1024 - 4096) /* records in one PullReply */

/** The answer is filled in: send it. Takes @request over. Any thread, once. */
void pawl_peer_answer(struct pawl_peer_request *request);

/* ---- what workers tell --------------------------------------------------------------------- */

/** Implemented by the cluster's thread; called by workers, on theirs: no call may block. */
struct pawl_world_calls {
    /** Requests wait for the records of @slot (it is WANTED): fetch its bundle first. */
    void (*wanted_first)(void *self, uint32_t slot);
    /** A member acted on the view @number, which is higher than the territory's: learn it. */
    void (*refresh)(void *self, uint64_t number);
    /** @member could not be reached just now, or answered that it may not decide. */
    void (*unreachable)(void *self, struct pawl_member_id member);
    /** Something was counted here for @slot without its owner: it has to be pushed later. */
    void (*counted)(void *self, uint32_t slot);
    /** Takes @request over; it has to be answered by pawl_peer_answer() in any case. */
    void (*request)(void *self, struct pawl_peer_request *request);
    void *self;
};

/* ---- the world ----------------------------------------------------------------------------- */

struct pawl_world_worker {
    struct pawl_post post; /* first */
    struct pawl_worker *worker;
    void (*poked)(struct pawl_worker *worker, void *ctx);
    void *ctx;
    _Atomic unsigned waiting; /* requests of it that wait for a change */
    _Atomic bool posted;
};

struct pawl_cluster_world {
    struct pawl_member_id self;
    struct pawl_subkey slots_key; /* PAWL_SUBKEY_SLOTS */
    struct pawl_ownership ownership;
    struct pawl_territory_slot territory;
    struct pawl_world_calls calls;
    _Atomic bool cold; /* set by the cluster's thread: no fact yet, and worth waiting for some
                          (core/cluster/cold.h) */
    /* ---- private ---- */
    struct pawl_holds holds;
    pthread_mutex_t dial_lock;
    struct pawl_tls tls;
    struct pawl_tls_context *dial_context; /* a reference; NULL: in clear */
    char peer_name[PAWL_ADDRESS_HOST_MAX + 1];
    unsigned worker_count;
    struct pawl_world_worker workers[PAWL_WORKERS_MAX];
};

/**
 * Nobody owns anything, no tenure, no view (an empty territory), no context to dial with.
 *
 * @slots_key  copied. @tls  for the references of contexts; may be empty.
 * @calls      all set; copied.
 *
 * PAWL_OK or PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_world_init(struct pawl_cluster_world *world,
                                               struct pawl_member_id self,
                                               const struct pawl_subkey *slots_key,
                                               const struct pawl_tls *tls,
                                               const struct pawl_world_calls *calls);
void pawl_world_deinit(struct pawl_cluster_world *world);

/** Dial other members with @context from now on (a reference is taken). NULL: in clear. Any thread.
 */
void pawl_world_set_context(struct pawl_cluster_world *world, struct pawl_tls_context *context);

/**
 * What members' certificates have to be for in place of the hosts of their addresses: for members
 * whose addresses are not known when certificates are made. Before any worker opens. @name NULL or
 * "": the hosts. At most PAWL_ADDRESS_HOST_MAX bytes, checked by the settings.
 */
void pawl_world_set_peer_name(struct pawl_cluster_world *world, const char *name);

/** It, or NULL: the host of each address. Lent until the world ends. Any thread. */
const char *pawl_world_peer_name(const struct pawl_cluster_world *world);

/** The context of the moment with a reference for the caller (world->tls to give it back). */
struct pawl_tls_context *pawl_world_context(struct pawl_cluster_world *world);

/**
 * States of slots, the tenure or the territory have changed: what waits in the workers for such a
 * change is looked at again. Cheap where nothing waits. Any thread.
 */
void pawl_world_poke(struct pawl_cluster_world *world);

/**
 * Worker @index begins: called by the dispatcher, before any worker runs. @poked is called on its
 * thread, outside of batches, after a poke while something waits.
 */
void pawl_world_enter(struct pawl_cluster_world *world, unsigned index, struct pawl_worker *worker,
                      void (*poked)(struct pawl_worker *worker, void *ctx), void *ctx);

/** Worker @index has @change requests more that wait for a change. Its own thread. */
void pawl_world_waiting(struct pawl_cluster_world *world, unsigned index, int change);

/** Private. */
struct pawl_quiesce_post {
    struct pawl_post post; /* first */
    struct pawl_quiesce *of;
};

/** One wait for all workers; the caller's storage until @done was called. */
struct pawl_quiesce {
    /* ---- private ---- */
    struct pawl_quiesce_post posts[PAWL_WORKERS_MAX];
    _Atomic unsigned left;
    void (*done)(void *ctx);
    void *ctx;
};

/**
 * Call @done once every worker has begun anew: whatever a worker decided by states of slots from
 * before this call is decided by then, for a message to a worker runs between two batches. @done
 * comes on the thread of the last worker, or from inside where there is none. Any thread; several
 * may be under way.
 */
void pawl_quiesce(struct pawl_cluster_world *world, struct pawl_quiesce *quiesce,
                  void (*done)(void *ctx), void *ctx);

#endif
