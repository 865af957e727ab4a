/*
 * One thread, one loop, its sessions and its acceptors. Private to the network half; what the
 * dispatcher may use is in handler.h.
 *
 * Life: init (calling thread) -> start -> [runs] -> join after it reported empty -> deinit, which
 * runs the posts that are left.
 *
 * A turn of the loop: timers -> prepare (step sessions with output, reap, heartbeat) -> wait ->
 * reads, posts, accepts. Output made in a read or a post is written before that callback ends.
 */
#ifndef PAWL_EDGE_WORKER_H
#define PAWL_EDGE_WORKER_H

#include <pthread.h>
#include <uv.h>

#include "edge/acceptor.h"
#include "edge/buffer.h"
#include "edge/deadline.h"
#include "edge/edge_stats.h"
#include "edge/goaway.h"
#include "edge/handler.h"
#include "edge/identity.h"
#include "edge/server.h"
#include "edge/transport.h"
#include "pawl/v1/caps.h"

#define PAWL_GATHER_MAX         16              /* small reads handled one after the other */
#define PAWL_GATHER_BYTES       ((size_t)65536) /* and so many bytes of them */
#define PAWL_READ_BYTES         ((size_t)65536) /* read from one session in one turn, at most */
#define PAWL_WORKER_TICK_MS     100             /* longest; shorter where a timeout needs it */
#define PAWL_DRAIN_QUIET_MS     100             /* a session this long without a byte is idle */
#define PAWL_LINGER_MS          500             /* wait for the peer's FIN after ours (TCP) */
#define PAWL_LISTEN_SOCKETS_MAX (PAWL_LISTENERS_MAX * 4)

/** What all workers share; lives in the server. */
struct pawl_edge {
    struct pawl_server_options options; /* fixed while workers run */
    struct pawl_handler handler;
    const struct pawl_log *log;
    struct pawl_listener listeners[PAWL_LISTEN_SOCKETS_MAX];
    unsigned listener_count;
    struct pawl_worker *workers; /* array */
    unsigned worker_count;
    pthread_mutex_t accepting_lock; /* acceptor.c: no worker takes what another frees to refuse */
    _Atomic unsigned connections;   /* all workers; against connections_max */
    _Atomic unsigned accepting;     /* workers that may still accept or hand over */
    _Atomic unsigned running;       /* workers whose loop has not reported empty */
    _Atomic bool cut;               /* the drain's deadline closed sessions */
    void (*on_empty)(struct pawl_edge *edge); /* a worker reported; its thread */
};

/** A log line at most once a second; what was held back is counted in the next. */
struct pawl_log_gate {
    uint64_t last_ms;
    uint64_t held;
    bool used;
};

struct pawl_slot {
    struct pawl_session *session; /* NULL = free */
    uint32_t generation;          /* of the session in it, or of the next one; never 0 */
    uint32_t next_free;
};

enum pawl_worker_phase {
    PAWL_WORKER_SERVING = 0,
    PAWL_WORKER_DRAINING,
    PAWL_WORKER_HALTING, /* sessions are closed at once */
};

struct pawl_worker {
    struct pawl_edge *edge;
    unsigned index;
    void *ctx; /* the handler's */
    pthread_t thread;
    bool started;

    uv_loop_t loop;
    uv_async_t wake;
    uv_prepare_t turn_end;
    uv_timer_t tick;
    struct pawl_acceptor acceptors[PAWL_LISTEN_SOCKETS_MAX];
    int reserve_fd; /* given up to refuse a peer when descriptors are out; -1 = used */

    _Atomic(struct pawl_post *) posts; /* newest first */
    struct pawl_post drain_post;
    struct pawl_post halt_post;
    enum pawl_worker_phase phase;
    bool accepting;
    bool reported;
    uint64_t drain_ms; /* loop time when draining began */
    uint64_t tick_ms;  /* loop time of the last tick */

    struct pawl_slot *slots;
    uint32_t slot_count;
    uint32_t slot_free;           /* first free slot, UINT32_MAX = none */
    _Atomic unsigned assigned;    /* sessions here or on their way here */
    struct pawl_session *current; /* being consumed: its output is written when that ends */
    struct pawl_session *dirty;
    struct pawl_session *dirty_last;
    unsigned dirty_count;
    struct pawl_session *gathered; /* read, and not handled yet (session_gather.c) */
    struct pawl_session *gathered_last;
    unsigned gathered_count;
    size_t gathered_bytes;
    bool sharing;  /* several reads are one batch: whoever began that ends it */
    bool in_batch; /* on_batch was called, and on_batch_end not yet */
    struct pawl_session *reap;

    uint64_t turn;       /* grows with every wait */
    uint64_t clock_turn; /* turn that clock_ms was read in */
    uint64_t clock_ms;
    uint64_t batch_ms;

    struct pawl_deadlines frame;
    struct pawl_deadlines write;
    struct pawl_deadlines idle;
    struct pawl_deadlines finish;
    struct pawl_deadlines linger;
    struct pawl_deadlines handshake; /* oldest first: it gives way when there are too many */

    struct pawl_guard *guard; /* a reference; NULL = nobody can prove anything */
    uint64_t guard_serial;    /* grows with every guard */
    uint32_t review_next;     /* slot to be judged by it next */
    bool reviewing;
    struct pawl_post review_post;
    struct pawl_post guard_post;
    _Atomic(struct pawl_guard *) next_guard; /* a reference; not NULL: guard_post is under way */
    struct pawl_transport_hub hub;

    struct pawl_buffer_pool pool;
    struct pawl_edge_stats stats;
    _Atomic uint64_t heartbeat_ms;

    struct pawl_log_gate gate_cap;
    struct pawl_log_gate gate_fds;
    struct pawl_log_gate gate_peer;
    struct pawl_log_gate gate_memory;
    struct pawl_log_gate gate_proof;
    bool fds_out;

    /* Read buffer: reads that are gathered; behind them a tiny beginning kept from the last read,
     * then what is read now. */
    uint8_t read_data[PAWL_GATHER_BYTES + PAWL_BUFFER_TINY + PAWL_READ_BYTES];
};

/** Set up loop, acceptors and the handler's context. After an error nothing stays. */
PAWL_MUST_USE enum pawl_status pawl_worker_init(struct pawl_worker *worker, struct pawl_edge *edge,
                                                unsigned index, struct pawl_error *error);

/** Start the thread: PAWL_OK or PAWL_EIO. */
PAWL_MUST_USE enum pawl_status pawl_worker_start(struct pawl_worker *worker);

/** Wait for the thread; nothing if it was not started. */
void pawl_worker_join(struct pawl_worker *worker);

/** Begin to drain; at most once. Any thread. */
void pawl_worker_drain(struct pawl_worker *worker);

/** Have @guard (a reference is taken) judge from now on. Before start, on the calling thread. */
void pawl_worker_set_guard(struct pawl_worker *worker, struct pawl_guard *guard);

/** The same while the worker runs, and judge its sessions anew. Main loop's thread. */
void pawl_worker_order_guard(struct pawl_worker *worker, struct pawl_guard *guard);

/** Close every session and report empty; at most once. Any thread. */
void pawl_worker_halt(struct pawl_worker *worker);

/** After join, and before any worker's deinit: the posts that are left, which may be answered by
 * posts to other workers. Whether there were some. */
bool pawl_worker_finish(struct pawl_worker *worker);

/** After join: the posts that are left, the handler's context, the loop. */
void pawl_worker_deinit(struct pawl_worker *worker);

/* ---- for session.c and acceptor.c, on the worker's thread ---- */

/** Put @session into the table and give it its ticket: PAWL_OK or PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_worker_enter(struct pawl_worker *worker,
                                                 struct pawl_session *session);

/** Take @session out of the table; its ticket names nobody from here on. */
void pawl_worker_leave(struct pawl_worker *worker, struct pawl_session *session);

/** Have @session stepped before the loop waits again. */
void pawl_worker_mark(struct pawl_worker *worker, struct pawl_session *session);

/** The handler's batch, if one has begun, is over. */
void pawl_worker_end_batch(struct pawl_worker *worker);

/** Handle what is gathered; not from inside a handler's call. */
void pawl_worker_settle(struct pawl_worker *worker);

/** Step those marked; not from inside a handler's call. */
void pawl_worker_step_dirty(struct pawl_worker *worker);

/** Free @session at the end of this turn. */
void pawl_worker_bury(struct pawl_worker *worker, struct pawl_session *session);

/** CLOCK_BOOTTIME ms, read once in each turn. */
uint64_t pawl_worker_clock_ms(struct pawl_worker *worker);

/** Whether a line may go out now; @held out: how many were held back since the last. */
PAWL_MUST_USE bool pawl_log_gate_open(struct pawl_log_gate *gate, uint64_t now_ms, uint64_t *held);

/** A connection counted in connections and assigned has ended, or never began. Any thread. */
void pawl_worker_uncount(struct pawl_worker *worker);

#endif
