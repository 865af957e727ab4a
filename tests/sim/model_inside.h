/* What the parts of the modelled engine share; nobody else includes this. */
#ifndef PAWL_SIM_MODEL_INSIDE_H
#define PAWL_SIM_MODEL_INSIDE_H

#include "sim/model_engine.h"

/** A command on its way; without one: the handshake. */
struct model_message {
    struct model_conn *conn;
    struct model_command *command;
    uint64_t id; /* of the client's pending entry */
    uint64_t emitted_us;
    struct model_message *next;
};

/** An answer on its way; what it points to lies behind it. */
struct model_answer {
    struct model_conn *conn;
    uint64_t id;
    bool is_hello, is_reset;
    bool is_primary;
    struct pawl_epoch epoch;
    uint32_t replicas;
    struct pawl_engine_reply reply;
    struct model_answer *next;
};

struct model_conn {
    struct model_engine *engine;
    struct model_client *client; /* NULL: closed at the client's end */
    uint8_t node, server;
    bool broken;       /* nothing arrives any more */
    bool is_limited;   /* closed: only so many arrive */
    bool blocked;      /* in a WAIT */
    uint32_t arrivals; /* where limited */
    uint32_t life;     /* of the server */
    uint32_t references;
    uint64_t last_arrival_us, last_answer_us;
    uint64_t seen_offset;
    struct model_message *held, **held_end;           /* by a cut link */
    struct model_message *queued, **queued_end;       /* behind a WAIT */
    struct model_answer *held_answers, **answers_end; /* by a cut link */
    struct model_conn *previous, *next;
};

/** A READ that waits for an entry. */
struct model_read {
    struct model_server *server;
    struct model_message *message; /* NULL: answered */
    struct model_read *next;
};

struct model_conn *model_conn_open(struct model_engine *engine, struct model_client *client,
                                   unsigned node, unsigned server);
/** The client closes; with @arrivals_max below UINT32_MAX only so many messages still arrive. */
void model_conn_close(struct model_conn *conn, uint32_t arrivals_max);
void model_conn_send(struct model_conn *conn, uint64_t id, struct model_command *command);
void model_conn_drop(struct model_conn *conn);
/** A link changed: what was held and may go on does so. */
void model_conn_release(struct model_conn *conn);
void model_conn_reset(struct model_conn *conn);
struct model_server *model_conn_server(const struct model_conn *conn);
void model_message_free(struct model_message *message);
void model_messages_forget(struct model_message **list);
/** On its way back; @answer is given away. */
void model_answer_send(struct model_conn *conn, struct model_answer *answer);
/** @message has arrived at its server, which carries it out; it is given away. */
void model_take(struct model_conn *conn, struct model_message *message);

/** Run what was queued for a stopped server. */
void model_server_resume(struct model_server *server);
/** Answer blocked reads of @server that can be answered now. */
void model_server_wake(struct model_server *server, const struct pawl_origin *origin);
void model_server_forget_backlog(struct model_server *server);

void model_client_on_answer(struct model_client *client, struct model_answer *answer);
void model_clients_free(struct model_engine *engine);
void model_client_break(struct model_client *client, uint32_t arrivals_max);
unsigned model_client_node(const struct model_client *client);
struct model_client *model_client_next(const struct model_client *client);

/* ---- replication ---- */

uint64_t model_log_end(const struct model_server *server);
void model_log_push(struct model_server *server, struct model_command *command, uint64_t clock_ms,
                    uint64_t emitted_us);
void model_replica_catch_up(struct model_server *replica);
/** When @replica will have said that it has operation @offset; UINT64_MAX: not as things are. */
uint64_t model_replica_acknowledges_us(struct model_server *replica, uint64_t offset);
bool model_server_may_write(struct model_server *server);

#endif
