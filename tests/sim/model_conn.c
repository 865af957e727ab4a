/* Connections to a server, in both directions, and what a server does with a command. */
#include "sim/model_inside.h"

#include <stdlib.h>
#include <string.h>

static void arrive(void *context, uint64_t argument);
static void answer_arrives(void *context, uint64_t argument);

struct model_server *model_conn_server(const struct model_conn *conn)
{
    return &conn->engine->servers[conn->server];
}

static struct model_link *link_of(const struct model_conn *conn)
{
    return &conn->engine->links[conn->node][conn->server];
}

/* ---- life ---- */

struct model_conn *model_conn_open(struct model_engine *engine, struct model_client *client,
                                   unsigned node, unsigned server)
{
    struct model_conn *conn = sim_take(sizeof(*conn));

    conn->engine = engine;
    conn->client = client;
    conn->node = (uint8_t)node;
    conn->server = (uint8_t)server;
    conn->life = engine->servers[server].life;
    conn->references = 1;
    conn->held_end = &conn->held;
    conn->queued_end = &conn->queued;
    conn->answers_end = &conn->held_answers;
    conn->next = engine->conns;
    if (conn->next != NULL) {
        conn->next->previous = conn;
    }
    engine->conns = conn;
    return conn;
}

void model_message_free(struct model_message *message)
{
    struct model_conn *conn = message->conn;

    model_command_drop(message->command);
    free(message);
    model_conn_drop(conn);
}

static void answer_free(struct model_answer *answer)
{
    struct model_conn *conn = answer->conn;

    free(answer);
    model_conn_drop(conn);
}

void model_conn_drop(struct model_conn *conn)
{
    if (--conn->references > 0) {
        return;
    }
    if (conn->previous != NULL) {
        conn->previous->next = conn->next;
    } else {
        conn->engine->conns = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->previous = conn->previous;
    }
    free(conn);
}

void model_messages_forget(struct model_message **list)
{
    struct model_message *message = *list;

    *list = NULL;
    while (message != NULL) {
        struct model_message *next = message->next;

        model_message_free(message);
        message = next;
    }
}

static void forget_answers(struct model_conn *conn)
{
    struct model_answer *answer = conn->held_answers;

    conn->held_answers = NULL;
    conn->answers_end = &conn->held_answers;
    while (answer != NULL) {
        struct model_answer *next = answer->next;

        answer_free(answer);
        answer = next;
    }
}

void model_conn_close(struct model_conn *conn, uint32_t arrivals_max)
{
    conn->client = NULL;
    conn->is_limited = arrivals_max < UINT32_MAX;
    conn->arrivals = arrivals_max;
    forget_answers(conn);
    model_conn_drop(conn);
}

/* ---- on the way there ---- */

void model_conn_send(struct model_conn *conn, uint64_t id, struct model_command *command)
{
    struct kernel *kernel = conn->engine->kernel;
    struct model_link *link = link_of(conn);
    struct model_message *message = sim_take(sizeof(*message));
    uint64_t at = kernel->now_us + link->delay_us + kernel_below(kernel, link->jitter_us + 1);

    if (at < conn->last_arrival_us) {
        at = conn->last_arrival_us;
    }
    conn->last_arrival_us = at;
    message->conn = conn;
    message->id = id;
    message->command = command;
    message->emitted_us = kernel->now_us;
    conn->references++;
    kernel_at(kernel, at, arrive, message, 0);
}

static void hold(struct model_conn *conn, struct model_message *message)
{
    message->next = NULL;
    *conn->held_end = message;
    conn->held_end = &message->next;
}

static void to_backlog(struct model_server *server, struct model_message *message)
{
    if (server->backlog_count == server->backlog_capacity) {
        server->backlog_capacity = server->backlog_capacity > 0 ? 2 * server->backlog_capacity : 64;
        server->backlog =
            sim_grow(server->backlog, server->backlog_capacity * sizeof(*server->backlog));
    }
    server->backlog[server->backlog_count++] = message;
}

static void arrive_now(struct model_message *message)
{
    struct model_conn *conn = message->conn;
    struct model_server *server = model_conn_server(conn);

    if (conn->broken || !server->alive || conn->life != server->life) {
        if (conn->client != NULL && (server->alive || server->resets)) {
            model_conn_reset(conn);
        }
        model_message_free(message);
        return;
    }
    if (conn->is_limited && conn->arrivals-- == 0) {
        conn->broken = true;
        model_message_free(message);
        return;
    }
    if (server->stopped) {
        to_backlog(server, message);
        return;
    }
    model_take(conn, message);
}

static void arrive(void *context, uint64_t argument)
{
    struct model_message *message = context;
    struct model_conn *conn = message->conn;

    (void)argument;
    if (conn->held != NULL || link_of(conn)->cut_out) {
        hold(conn, message);
        return;
    }
    arrive_now(message);
}

void model_conn_release(struct model_conn *conn)
{
    struct model_message *message = NULL;
    struct model_answer *answer = NULL;

    if (!link_of(conn)->cut_out) {
        message = conn->held;
        conn->held = NULL;
        conn->held_end = &conn->held;
    }
    while (message != NULL) {
        struct model_message *next = message->next;

        arrive_now(message);
        message = next;
    }
    if (!link_of(conn)->cut_in) {
        answer = conn->held_answers;
        conn->held_answers = NULL;
        conn->answers_end = &conn->held_answers;
    }
    while (answer != NULL) {
        struct model_answer *next = answer->next;

        answer_arrives(answer, 0);
        answer = next;
    }
}

/* ---- on the way back ---- */

void model_answer_send(struct model_conn *conn, struct model_answer *answer)
{
    struct kernel *kernel = conn->engine->kernel;
    struct model_link *link = link_of(conn);
    uint64_t at = kernel->now_us + link->delay_us + kernel_below(kernel, link->jitter_us + 1);

    if (conn->client == NULL || (conn->broken && !answer->is_reset)) {
        free(answer);
        return;
    }
    if (at < conn->last_answer_us) {
        at = conn->last_answer_us;
    }
    conn->last_answer_us = at;
    answer->conn = conn;
    conn->references++;
    kernel_at(kernel, at, answer_arrives, answer, 0);
}

static void answer_arrives(void *context, uint64_t argument)
{
    struct model_answer *answer = context;
    struct model_conn *conn = answer->conn;

    (void)argument;
    if (conn->client == NULL) {
        answer_free(answer);
        return;
    }
    if (conn->held_answers != NULL || link_of(conn)->cut_in) {
        answer->next = NULL;
        *conn->answers_end = answer;
        conn->answers_end = &answer->next;
        return;
    }
    model_client_on_answer(conn->client, answer); /* takes it */
}

void model_conn_reset(struct model_conn *conn)
{
    struct model_answer *answer;

    conn->broken = true;
    model_messages_forget(&conn->queued);
    conn->queued_end = &conn->queued;
    if (conn->client != NULL) {
        answer = sim_take(sizeof(*answer));
        answer->is_reset = true;
        model_answer_send(conn, answer);
    }
}
