/* The cluster's thread, inside: shared by cluster*.c only. Everything on that thread, but for what
 * says otherwise. */
#ifndef PAWL_EDGE_CLUSTER_INSIDE_H
#define PAWL_EDGE_CLUSTER_INSIDE_H

#include <pthread.h>
#include <uv.h>

#include "core/cluster/cold.h"
#include "core/cluster/node.h"
#include "edge/cluster.h"
#include "edge/outbound.h"
#include "edge/peer_link.h"
#include "pawl/v1/caps.h"
#include "pawl/v1/cold.h"

#define PAWL_CLUSTER_JOURNAL_MAX 256 /* facts on their way to the journal at once */
#define PAWL_CLUSTER_LOST_MAX    64  /* requests to members for which there was no memory */
#define PAWL_CLUSTER_DOOMED_MAX  (4 * PAWL_MEMBERS_MAX)
#define PAWL_CLUSTER_SEEDS_MAX   16 /* addresses of the name of all members */
#define PAWL_CLUSTER_FRAME_BYTES (PAWL_REQUEST_BYTES_MAX + 1024)
#define PAWL_CLUSTER_ARENA_BYTES (PAWL_REPLY_BYTES_MAX + 65536)

/** Something for the cluster's thread, from another one. The sender's memory until run. */
struct pawl_cluster_post {
    void (*run)(struct pawl_cluster *cluster, struct pawl_cluster_post *post);
    struct pawl_cluster_post *next;
};

/** A job under way. */
struct pawl_cluster_task {
    struct pawl_cluster *cluster;
    struct pawl_job *job;
    struct pawl_ack_wait wait;      /* APPEND, CANCEL; FAMILY: its facts */
    struct pawl_family_call family; /* FAMILY */
    struct pawl_cluster_keep *keep; /* its fact, on the way to the journal; or NULL */
    bool facts_said;                /* FAMILY: the facts of its decision are in the log */
    bool saving;                    /* COUNTER: its records are on their way */
    enum pawl_engine_result saved;
    struct pawl_cluster_post back; /* of a job that the journal did */
    struct pawl_job below;         /* the same job at the journal: FLUSH, THAW */
    struct pawl_cluster_task *next, *previous;
    bool fact_waits, family_waits;  /* FAMILY: which of the two has not ended */
    enum pawl_status family_status; /* FAMILY: how the record's part ended */
    enum pawl_status wait_status;   /* FAMILY: and that of its facts */
    const char *family_why, *wait_why;
    struct pawl_family_outcome outcome; /* last: not cleared with the rest */
};

/** A fact on its way to the journal. Of those that wait there may be as many as the log has facts,
 * when a node with an empty journal joins: so its job comes with its turn. */
struct pawl_cluster_keep {
    struct pawl_cluster_post post; /* first */
    struct pawl_cluster *cluster;
    struct pawl_job *job;           /* NULL: not its turn yet, or no memory for it */
    struct pawl_cluster_task *task; /* who waits for it; NULL: nobody (any more) */
    struct pawl_cluster_keep *next;
    size_t size;
    uint8_t bytes[];
};

_Static_assert(sizeof(struct pawl_cluster_keep) <= 64, "as small as the log's own entry");

/** A member, and the link to it. */
struct pawl_cluster_peer {
    struct pawl_member_id id;
    char address[PAWL_ADDRESS_TEXT_MAX];
    struct pawl_peer_link *link;
    uint64_t seen_ms; /* when it was first in a view here */
    bool leaving;
};

/** What another member asked, while workers come to rest. */
struct pawl_cluster_pull {
    struct pawl_cluster_post post; /* first */
    struct pawl_cluster *cluster;
    struct pawl_peer_request *request;
    struct pawl_quiesce quiesce;
    struct pawl_cluster_pull *next;
};

/** A fact that the journal found while the thread runs. */
struct pawl_cluster_load {
    struct pawl_cluster_post post; /* first */
    size_t size;
    uint8_t bytes[];
};

/** Requests to members that could not be sent for want of memory: told at the next turn. */
struct pawl_cluster_lost {
    unsigned count;
    uint64_t tags[PAWL_CLUSTER_LOST_MAX];
};

struct pawl_cluster_figures {
    _Atomic uint64_t submitted, refused_full, journal_kept, journal_failed, journal_waiting;
    _Atomic uint64_t stalls, stall_max_ms;
    _Atomic uint64_t view_pushes, peer_requests, pull_pages, unreachable, seeds_asked;
};

struct pawl_cluster {
    struct pawl_cluster_options options; /* texts and arrays are the copies below */
    char advertise[PAWL_ADDRESS_TEXT_MAX];
    char version[32];
    struct pawl_subkey facts[PAWL_CLUSTER_KEYS_MAX];
    struct pawl_subkey limits[PAWL_CLUSTER_KEYS_MAX];
    struct pawl_subkey slots;
    struct {
        char ns[PAWL_NS_MAX + 1];
        enum pawl_ack ack;
    } acks[PAWL_CLUSTER_ACKS_MAX];
    struct pawl_member_id self;
    struct pawl_cluster_world world;

    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    uv_prepare_t turn;
    uv_timer_t late; /* of the leave, then of the close */
    /* Before it joins: whether others will find it (cluster_find.c). */
    uv_timer_t find_timer;
    uv_getaddrinfo_t find;
    struct pawl_address find_address;
    unsigned find_tries;
    uint64_t elsewhere_ms; /* since when its name has led to another machine; 0: it does not */
    /* While the engine is away (cluster_seeds.c). */
    struct pawl_address seeds; /* of kind NONE: there are none */
    uv_getaddrinfo_t seed_lookup;
    struct pawl_address seed_at[PAWL_CLUSTER_SEEDS_MAX];
    unsigned seed_count, seed_next;
    struct pawl_peer_link *seed_link; /* NULL: nobody is asked */
    uint64_t seed_due_ms;
    /* Before it joins: whether it reaches the others (cluster_reach.c). */
    bool reaching;
    uint64_t reach_until_ms; /* 0: not begun */
    bool loop_open, handles_open, world_open;
    pthread_t thread;
    bool started;

    /* Any thread, under the lock. */
    pthread_mutex_t lock;
    struct pawl_job *jobs, *jobs_last;
    struct pawl_cluster_post *posts, *posts_last;
    struct pawl_peer_request *requests, *requests_last;
    bool refusing; /* closing: no more jobs */
    bool stopped;  /* the loop turns no more */
    _Atomic uint64_t jobs_out;
    _Atomic uint64_t wanted[PAWL_RING_SLOTS / 64];  /* slots that requests wait for */
    _Atomic uint64_t counted[PAWL_RING_SLOTS / 64]; /* slots counted here without an owner */
    _Atomic bool slots_marked;                      /* in one of the two */
    _Atomic uint64_t refresh;                       /* a view's number that somebody acted on */

    struct pawl_outbound outbound;
    struct pawl_net net;
    struct pawl_engine engine; /* ops NULL: none */
    struct pawl_engine_state engine_state;
    bool outbound_open, node_open, engine_up, ended;
    uint64_t engine_since_ms; /* up, or down */
    uint64_t synced_ms;       /* that the revocation table was told last */
    uint64_t started_ms;
    bool loaded; /* facts of the journal, before start */
    struct pawl_node node;
    struct pawl_cluster_peer peers[PAWL_MEMBERS_MAX];
    unsigned peer_count;
    unsigned versions_known;             /* of members of the view that was published last */
    bool frozen_known[PAWL_MEMBERS_MAX]; /* as published, by place in the view */
    bool unpublished;                    /* there was no memory for it */
    struct pawl_peer_link *doomed[PAWL_CLUSTER_DOOMED_MAX]; /* end with this turn */
    unsigned doomed_count;
    struct pawl_cluster_lost lost;
    unsigned asks_out, pulls_out, below_out;
    bool poke; /* states, tenure or territory changed in this turn */

    struct pawl_cluster_task *tasks, *tasks_free;
    struct pawl_cluster_task *adding;             /* its fact is being added to the log */
    struct pawl_cluster_keep *keeps, *keeps_last; /* wait for the journal */
    unsigned keeps_out;
    struct pawl_family forked; /* scratch of pawl_cluster_fork() */

    struct pawl_cluster_post leave_post, close_post;
    uint32_t leave_ms;
    void (*left)(void *ctx);
    void *left_ctx;
    uint64_t leave_until_ms, close_until_ms;
    bool leaving, closing;

    /* What others look at. */
    _Atomic uint64_t slow_base_s, slow_base_ms; /* the engine's clock, and when it was read */
    _Atomic uint64_t birth_us;
    _Atomic bool joined;
    _Atomic uint64_t staleness_max_ms;
    struct pawl_cluster_figures figures;
    pthread_mutex_t stats_lock;
    struct pawl_node_figures shown, figures_next; /* a copy, renewed now and then */
    uint64_t pending_since_ms, shown_pending_ms;  /* the log has a backlog ... */
    uint64_t pending_upto;                        /* ... some of it before this position */
    char shown_why[160];                          /* the engine is away */
    uint64_t shown_ms;
    uint64_t turn_ms;                  /* of the last turn */
    bool panic, gate_open, unreadable; /* as the log was told last */
    uint64_t view, lost_tail;          /* the same */
    uint64_t emptied, begun_empty;     /* the same */

    uint8_t frame[PAWL_CLUSTER_FRAME_BYTES];
    struct pawl_cold_arena arena;
    uint8_t arena_memory[PAWL_CLUSTER_ARENA_BYTES];
};

static inline void pawl_cluster_count(_Atomic uint64_t *figure, uint64_t more)
{
    (void)atomic_fetch_add_explicit(figure, more, memory_order_relaxed);
}

/* ---- cluster.c ---- */

uint64_t pawl_cluster_now_ms(struct pawl_cluster *cluster);
/** Any thread: run @post on the cluster's thread. False: it runs no more, nothing was done. */
bool pawl_cluster_post(struct pawl_cluster *cluster, struct pawl_cluster_post *post);

/** Any thread: have the loop turn, if it still does. */
void pawl_cluster_wake(struct pawl_cluster *cluster);
void pawl_cluster_drain_posts(struct pawl_cluster *cluster);
void pawl_cluster_drain_jobs(struct pawl_cluster *cluster);
void pawl_cluster_on_wake(uv_async_t *handle);
void pawl_cluster_on_turn(uv_prepare_t *handle);
/** What workers, the engine and the node call. */
struct pawl_world_calls pawl_cluster_world_calls(struct pawl_cluster *cluster);
struct pawl_engine_events pawl_cluster_engine_events(struct pawl_cluster *cluster);
void pawl_cluster_wire(struct pawl_cluster *cluster, struct pawl_node_options *options);

/* ---- cluster_life.c ---- */

/** Connect to the engine, and with that begin to join. Once. */
void pawl_cluster_begin(struct pawl_cluster *cluster);

/* ---- cluster_find.c ---- */

/** pawl_cluster_begin(), as soon as others will find this node. Once, before the loop turns. */
void pawl_cluster_find(struct pawl_cluster *cluster);
void pawl_cluster_find_end(struct pawl_cluster *cluster);
/** Whether @address is one of this machine's. Any thread. */
bool pawl_cluster_is_here(const struct sockaddr *address, socklen_t size);

/* ---- cluster_reach.c ---- */

/** With each turn: let this node join, if it reaches the others or has tried for long enough. */
void pawl_cluster_reach_turn(struct pawl_cluster *cluster, uint64_t now_ms);

/* ---- cluster_seeds.c ---- */

/** With each turn: ask somebody for the view, if it is time to. */
void pawl_cluster_seeds_turn(struct pawl_cluster *cluster, uint64_t now_ms);
void pawl_cluster_seeds_end(struct pawl_cluster *cluster);

/* ---- cluster_store.c ---- */

/** Seconds since 1970 on a clock that does not run fast; any thread. */
uint64_t pawl_cluster_slow_s(struct pawl_cluster *cluster);

/* ---- cluster_jobs.c ---- */

void pawl_cluster_job(struct pawl_cluster *cluster, struct pawl_job *job);
void pawl_cluster_jobs_end(struct pawl_cluster *cluster);
void pawl_cluster_done(struct pawl_cluster *cluster, struct pawl_job *job, enum pawl_status status,
                       const char *why);
/** Give @task back and end its job. */
void pawl_cluster_task_end(struct pawl_cluster_task *task, enum pawl_status status,
                           const char *why);
void pawl_cluster_saved(struct pawl_cluster *cluster, uint64_t ticket,
                        enum pawl_engine_result result);
void pawl_cluster_waited(struct pawl_cluster *cluster, uint64_t ticket, bool enough);
void pawl_cluster_jobs_free(struct pawl_cluster *cluster);
/** The level that a job asks for in @ns. */
enum pawl_ack pawl_cluster_ack_of(const struct pawl_cluster *cluster, enum pawl_ack asked,
                                  struct pawl_bytes ns);
/** BOOTTIME ms until which @job waits for its level. */
uint64_t pawl_cluster_deadline_ms(struct pawl_cluster *cluster, const struct pawl_job *job);

/* ---- cluster_families.c ---- */

void pawl_cluster_family(struct pawl_cluster *cluster, struct pawl_cluster_task *task);
void pawl_cluster_fork(struct pawl_cluster *cluster, const struct pawl_family *family);
/** Add a fact of this node: PAWL_OK with its id and position. */
enum pawl_status pawl_cluster_add(struct pawl_cluster *cluster, struct pawl_fact *fact,
                                  enum pawl_ack ack, struct pawl_cluster_task *task,
                                  uint32_t *canceled);

/* ---- cluster_journal.c ---- */

/** Keep @bytes, a serialized fact; @task (may be NULL) hears of it. */
void pawl_cluster_keep(struct pawl_cluster *cluster, struct pawl_bytes bytes,
                       struct pawl_cluster_task *task);
void pawl_cluster_journal_more(struct pawl_cluster *cluster);
bool pawl_cluster_frozen(const struct pawl_cluster *cluster);

/* ---- cluster_handover.c ---- */

void pawl_cluster_request(struct pawl_cluster *cluster, struct pawl_peer_request *request);
void pawl_cluster_ask(struct pawl_cluster *cluster, const struct pawl_slots_request *request);
void pawl_cluster_view(struct pawl_cluster *cluster, const struct pawl_view *view);
/** What could not be told with the view. */
void pawl_cluster_publish_rest(struct pawl_cluster *cluster);
void pawl_cluster_push_view(struct pawl_cluster *cluster);
/** Between two steps of the node: links to members that went, and what could not be asked. */
void pawl_cluster_bury(struct pawl_cluster *cluster);
/** Whether there is a connection to @peer; begins one where there is none. */
bool pawl_cluster_dial(struct pawl_cluster *cluster, struct pawl_cluster_peer *peer);
/** @link ends with this turn. */
void pawl_cluster_doom(struct pawl_cluster *cluster, struct pawl_peer_link *link);
void pawl_cluster_peers_end(struct pawl_cluster *cluster);

/* ---- cluster_stats.c ---- */

void pawl_cluster_show(struct pawl_cluster *cluster, uint64_t now_ms);
void pawl_cluster_say_up(struct pawl_cluster *cluster, const struct pawl_engine_state *state);
void pawl_cluster_say_down(struct pawl_cluster *cluster, const char *why);
/** It joins without a connection to so many that serve. */
void pawl_cluster_say_out_of_reach(struct pawl_cluster *cluster, unsigned members);
void pawl_cluster_say_not_found(struct pawl_cluster *cluster, const char *name, const char *why);
void pawl_cluster_say_view(struct pawl_cluster *cluster, const struct pawl_view *view);
void pawl_cluster_say_expelled(struct pawl_cluster *cluster);

#endif
