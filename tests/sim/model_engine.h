/*
 * A model of the engine: up to three servers, one of them the primary, replication that lags, links
 * to each node that are slow, cut one way or both ways, and the client that each node has in place
 * of adapter/redis. Meanings are those of core/cluster/engine.h.
 *
 * What it can do to its clients: lose connections with commands on their way (some of them are
 * carried out, unanswered), stop and go on (what was queued is carried out then, also of clients
 * that have gone), promote a replica that lacks a tail, keep an old primary that goes on accepting
 * on its side of a partition, restart empty or with what it had, flush, evict, run out of memory,
 * step its clock.
 */
#ifndef PAWL_SIM_MODEL_ENGINE_H
#define PAWL_SIM_MODEL_ENGINE_H

#include "port/engine.h"
#include "sim/kernel.h"
#include "sim/model_state.h"

#define MODEL_SERVERS 3
#define SIM_NODES     6 /* places; a restarted node is another life in the same place */

/** How bytes travel between a node and a server, or between two nodes. */
struct model_link {
    bool cut_out; /* node to server */
    bool cut_in;
    uint32_t delay_us;
    uint32_t jitter_us;
};

struct model_operation {
    uint64_t at_us;
    uint64_t clock_ms;
    uint64_t emitted_us;
    struct model_command *command;
};

struct model_conn;
struct model_engine;

struct model_server {
    struct model_engine *engine;
    unsigned index;
    bool alive, stopped, is_primary, out_of_memory;
    uint32_t life; /* connections of an earlier life are reset */
    bool resets;   /* a dead one's host answers with a reset */
    struct pawl_epoch epoch;
    uint64_t primary_since_us;
    int64_t clock_offset_ms;
    struct model_state state;
    /* as a primary: what replicas still have to run; offsets count operations of this reign */
    struct model_operation *log;
    uint64_t log_first; /* offset of log[0] */
    uint32_t log_count, log_capacity;
    /* as a replica of servers[engine->primary] */
    bool attached, link_up;
    bool full;             /* too far behind: gets a whole copy when the link is back */
    uint64_t applied;      /* offset up to which its state has run */
    uint64_t link_from_us; /* nothing arrives that was sent before it */
    uint32_t lag_us;
    uint64_t cut_at_us;
    /* commands for a stopped server, in order of arrival */
    struct model_message **backlog;
    uint32_t backlog_count, backlog_capacity;
    struct model_read *reads; /* blocked ones */
};

/** What checkers want to see of a server's doings. Called when it happens. */
struct model_watch {
    void (*executed)(void *self, unsigned server, unsigned node,
                     const struct pawl_engine_command *command, uint64_t emitted_us,
                     const struct model_outcome *outcome);
    /** A slot is loaded; NULL: nothing is there. */
    void (*loaded)(void *self, unsigned server, unsigned node, uint32_t slot,
                   const struct model_slot *found);
    void *self;
};

struct model_engine {
    struct kernel *kernel;
    struct model_server servers[MODEL_SERVERS];
    unsigned server_count;
    unsigned primary;        /* the one that the sentinels name */
    unsigned min_replicas;   /* min-replicas-to-write; 0: none needed */
    uint64_t max_lag_us;     /* min-replicas-max-lag */
    bool gate_opens_at_once; /* a control: each new primary's gate stands open */
    bool close_on_deadline;  /* a client closes its connection on the first late answer */
    uint64_t epochs_made;
    uint64_t clock_origin_ms; /* unix time of the run's beginning */
    struct model_link links[SIM_NODES][MODEL_SERVERS];
    struct model_conn *conns;
    struct model_client *clients; /* all that ever were: freed at the end */
    struct model_watch watch;
    uint64_t commands; /* run, of all servers */
};

struct model_client;

void model_engine_init(struct model_engine *engine, struct kernel *kernel, unsigned server_count);
void model_engine_deinit(struct model_engine *engine);

/* ---- a node's client ---- */

/** As pawl_redis_create(): connects by itself from the next turn on. */
struct model_client *model_client_open(struct model_engine *engine, unsigned node,
                                       const struct pawl_engine_events *events);
void model_client_emit(struct model_client *client, const struct pawl_engine_command *command);
/** The process is gone: no event any more; what is on its way may yet be carried out. */
void model_client_kill(struct model_client *client);
/** SIGSTOP and SIGCONT of the client's process: events wait, time does not. */
void model_client_pause(struct model_client *client, bool paused);
/** Where it is connected; MODEL_SERVERS: nowhere. */
unsigned model_client_server(const struct model_client *client);

/* ---- what happens to it ---- */

void model_engine_set_link(struct model_engine *engine, unsigned node, unsigned server,
                           bool cut_out, bool cut_in);
/** Cut or mend what replica @server gets from the primary. */
void model_engine_set_replication(struct model_engine *engine, unsigned server, bool up);
void model_engine_stop(struct model_engine *engine, unsigned server, bool stopped);
/** SIGKILL: @reset says whether its host tells the clients so. */
void model_engine_kill(struct model_engine *engine, unsigned server, bool reset);
/** Starts again: with nothing, or with what it had. The same server is still the primary. */
void model_engine_restart(struct model_engine *engine, unsigned server, bool empty);
/**
 * Sentinels name replica @server: it becomes a primary of its own epoch with what it has. The old
 * one, if it lives, goes on as long as nobody tells it: model_engine_demote().
 */
void model_engine_promote(struct model_engine *engine, unsigned server);
/** @server hears that it is no primary: its clients are cut off, its state is copied anew. */
void model_engine_demote(struct model_engine *engine, unsigned server);
void model_engine_flush(struct model_engine *engine, unsigned server);
/** Forget @count things that have an expiry, on a primary and its replicas alike. */
void model_engine_evict(struct model_engine *engine, unsigned count);
/** Cut all connections of @node, with some of what is on its way carried out. */
void model_engine_break(struct model_engine *engine, unsigned node);

uint64_t model_server_clock_ms(const struct model_server *server);
/** Attached replicas whose link is up. */
unsigned model_server_replicas(struct model_server *server);

#endif
