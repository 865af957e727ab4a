/* A node's end of the connections: what adapter/redis is in the daemon. */
#include "sim/model_inside.h"

#include <stdlib.h>
#include <string.h>

#define CONNECT_US  1000000
#define BACKOFF_US  200000
#define BACKOFF_MAX 5000000
#define SILENCE_US  2000000 /* no answer to anything sent so long ago: the connection is dead */

/** A command that was emitted and not answered. */
struct pending {
    uint64_t id;
    uint64_t tag;
    uint64_t sent_us;
    uint64_t deadline_us;
    enum pawl_engine_verb verb;
    enum pawl_engine_part part;
    bool is_sent;
    bool is_late; /* was answered UNKNOWN, its answer may come yet */
};

struct model_client {
    struct model_engine *engine;
    struct model_client *next;
    struct pawl_engine_events events;
    unsigned node;
    unsigned server;
    bool dead, paused, up;
    bool timer_came; /* while paused */
    struct model_conn *command, *read;
    unsigned hellos;
    struct pawl_epoch epoch;
    uint32_t replicas;
    uint64_t connect_until_us; /* 0: no attempt is under way */
    uint64_t connect_at_us;    /* the next attempt */
    uint64_t backoff_us;
    uint64_t next_id;
    struct pending *pending;
    uint32_t count, capacity;
    uint64_t timer_us;                       /* of the event in the queue; 0: none */
    struct model_answer *inbox, **inbox_end; /* while paused */
};

static void timer(void *context, uint64_t at_us);
static void connect_now(struct model_client *client);

unsigned model_client_node(const struct model_client *client)
{
    return client->node;
}

struct model_client *model_client_next(const struct model_client *client)
{
    return client->next;
}

unsigned model_client_server(const struct model_client *client)
{
    return client->up ? client->server : MODEL_SERVERS;
}

static uint64_t now_of(const struct model_client *client)
{
    return client->engine->kernel->now_us;
}

/* ---- the timer: deadlines, attempts ---- */

static void arm(struct model_client *client, uint64_t at_us)
{
    if (client->dead || (client->timer_us != 0 && client->timer_us <= at_us)) {
        return;
    }
    client->timer_us = at_us;
    kernel_at(client->engine->kernel, at_us, timer, client, at_us);
}

static void arm_for_all(struct model_client *client)
{
    uint64_t at = UINT64_MAX;

    for (uint32_t i = 0; i < client->count; i++) {
        if (!client->pending[i].is_late && client->pending[i].deadline_us < at) {
            at = client->pending[i].deadline_us;
        }
    }
    if (client->connect_until_us != 0 && client->connect_until_us < at) {
        at = client->connect_until_us;
    }
    if (client->connect_at_us != 0 && client->connect_at_us < at) {
        at = client->connect_at_us;
    }
    if (at != UINT64_MAX) {
        arm(client, at);
    }
}

/* ---- answers to the node ---- */

static void tell(struct model_client *client, const struct pending *one,
                 enum pawl_engine_result result)
{
    struct pawl_engine_reply reply = { 0 };

    reply.verb = one->verb;
    reply.part = one->part;
    reply.tag = one->tag;
    reply.result = result;
    client->events.reply(client->events.self, &reply);
}

static void take_out(struct model_client *client, uint32_t place)
{
    memmove(&client->pending[place], &client->pending[place + 1],
            (--client->count - place) * sizeof(*client->pending));
}

static void close_conns(struct model_client *client, uint32_t arrivals_max)
{
    if (client->command != NULL) {
        model_conn_close(client->command, arrivals_max);
        client->command = NULL;
    }
    if (client->read != NULL) {
        model_conn_close(client->read, arrivals_max);
        client->read = NULL;
    }
}

/* The connections are gone: everything that is out is answered, then down, then another try. */
static void lose(struct model_client *client, const char *why, uint32_t arrivals_max)
{
    bool was_up = client->up;
    uint64_t jitter = kernel_below(client->engine->kernel, client->backoff_us / 5 + 1);

    close_conns(client, arrivals_max);
    client->connect_until_us = 0;
    client->connect_at_us = now_of(client) + client->backoff_us + jitter;
    client->backoff_us =
        2 * client->backoff_us < BACKOFF_MAX ? 2 * client->backoff_us : BACKOFF_MAX;
    client->hellos = 0;
    client->up = false;
    /* What the node emits meanwhile is answered in the next turn. */
    for (uint32_t i = client->count; i > 0 && !client->dead; i--) {
        struct pending one = client->pending[0];

        take_out(client, 0);
        if (!one.is_late) {
            tell(client, &one, one.is_sent ? PAWL_ENGINE_UNKNOWN : PAWL_ENGINE_UNSENT);
        }
    }
    if (was_up && !client->dead) {
        kernel_note(client->engine->kernel, "engine lost", client->node, client->server, 0, 0);
        client->events.down(client->events.self, why);
    }
    arm_for_all(client);
}

static void expire(struct model_client *client)
{
    uint64_t now = now_of(client);
    bool is_late = false;

    for (uint32_t i = 0; i < client->count;) {
        struct pending one = client->pending[i];

        if (one.is_late || one.deadline_us > now) {
            i++;
            continue;
        }
        if (one.is_sent) {
            client->pending[i].is_late = true;
            is_late = true;
            tell(client, &one, PAWL_ENGINE_UNKNOWN);
        } else {
            take_out(client, i);
            tell(client, &one, PAWL_ENGINE_UNSENT);
        }
        i = 0; /* the node may have emitted more */
        if (client->dead) {
            return;
        }
    }
    if (is_late && client->engine->close_on_deadline) {
        lose(client, "late", UINT32_MAX);
        return;
    }
    for (uint32_t i = 0; i < client->count; i++) {
        if (client->pending[i].is_late && now - client->pending[i].sent_us >= SILENCE_US) {
            lose(client, "silent", UINT32_MAX);
            return;
        }
    }
}

static void timer(void *context, uint64_t at_us)
{
    struct model_client *client = context;

    if (client->dead || client->timer_us != at_us) {
        return;
    }
    client->timer_us = 0;
    if (client->paused) {
        client->timer_came = true;
        return;
    }
    expire(client);
    if (client->dead) {
        return;
    }
    if (client->connect_until_us != 0 && now_of(client) >= client->connect_until_us) {
        lose(client, "no connection", UINT32_MAX);
    }
    if (client->connect_at_us != 0 && now_of(client) >= client->connect_at_us) {
        connect_now(client);
    }
    arm_for_all(client);
}

/* ---- connecting ---- */

static bool is_reachable(const struct model_client *client, unsigned server)
{
    const struct model_link *link = &client->engine->links[client->node][server];

    return !link->cut_out && !link->cut_in && client->engine->servers[server].alive;
}

/* Whom the sentinels on this node's side of things name. */
static unsigned named(const struct model_client *client)
{
    struct model_engine *engine = client->engine;

    if (is_reachable(client, engine->primary)) {
        return kernel_chance(engine->kernel, 3)
                   ? (unsigned)kernel_below(engine->kernel, engine->server_count)
                   : engine->primary;
    }
    for (unsigned i = 0; i < engine->server_count; i++) {
        if (engine->servers[i].is_primary && is_reachable(client, i)) {
            return i;
        }
    }
    return engine->primary;
}

static void connect_now(struct model_client *client)
{
    client->connect_at_us = 0;
    client->server = named(client);
    client->connect_until_us = now_of(client) + CONNECT_US;
    client->hellos = 0;
    client->command = model_conn_open(client->engine, client, client->node, client->server);
    client->read = model_conn_open(client->engine, client, client->node, client->server);
    model_conn_send(client->command, 0, NULL);
    model_conn_send(client->read, 0, NULL);
}

static void on_hello(struct model_client *client, const struct model_answer *answer)
{
    struct pawl_engine_state state = { 0 };

    if (!answer->is_primary ||
        (client->hellos > 0 && !pawl_epoch_equal(client->epoch, answer->epoch))) {
        lose(client, "not a primary", UINT32_MAX);
        return;
    }
    client->epoch = answer->epoch;
    client->replicas = answer->replicas;
    if (++client->hellos < 2) {
        return;
    }
    client->connect_until_us = 0;
    client->backoff_us = BACKOFF_US;
    client->up = true;
    state.epoch = client->epoch;
    state.replicas = client->replicas;
    kernel_note(client->engine->kernel, "engine found", client->node, client->server,
                client->epoch.bytes[8], 0);
    client->events.up(client->events.self, &state);
}

static void deliver(struct model_client *client, struct model_answer *answer)
{
    struct model_conn *conn = answer->conn;

    if (client->dead || conn->client != client) {
        return; /* of a connection that was closed meanwhile */
    }
    if (answer->is_reset) {
        lose(client, "reset", UINT32_MAX);
        return;
    }
    if (answer->is_hello) {
        on_hello(client, answer);
        return;
    }
    for (uint32_t i = 0; i < client->count; i++) {
        if (client->pending[i].id == answer->id) {
            bool is_late = client->pending[i].is_late;

            take_out(client, i);
            if (!is_late) {
                client->events.reply(client->events.self, &answer->reply);
            }
            return;
        }
    }
}

static void answer_done(struct model_answer *answer)
{
    struct model_conn *conn = answer->conn;

    free(answer);
    model_conn_drop(conn);
}

void model_client_on_answer(struct model_client *client, struct model_answer *answer)
{
    if (client->paused) {
        answer->next = NULL;
        *client->inbox_end = answer;
        client->inbox_end = &answer->next;
        return;
    }
    deliver(client, answer);
    answer_done(answer);
}

/* ---- the node's side ---- */

struct model_client *model_client_open(struct model_engine *engine, unsigned node,
                                       const struct pawl_engine_events *events)
{
    struct model_client *client = sim_take(sizeof(*client));

    client->engine = engine;
    client->node = node;
    client->events = *events;
    client->backoff_us = BACKOFF_US;
    client->inbox_end = &client->inbox;
    client->next = engine->clients;
    engine->clients = client;
    client->connect_at_us = engine->kernel->now_us + 1;
    arm_for_all(client);
    return client;
}

static void unsent(void *context, uint64_t id)
{
    struct model_client *client = context;

    if (client->paused) {
        kernel_at(client->engine->kernel, now_of(client) + 1000, unsent, client, id);
        return;
    }
    for (uint32_t i = 0; i < client->count && !client->dead; i++) {
        if (client->pending[i].id == id) {
            struct pending one = client->pending[i];

            take_out(client, i);
            tell(client, &one, PAWL_ENGINE_UNSENT);
            return;
        }
    }
}

void model_client_emit(struct model_client *client, const struct pawl_engine_command *command)
{
    struct pending *one;

    if (client->count == client->capacity) {
        client->capacity = client->capacity > 0 ? 2 * client->capacity : 32;
        client->pending = sim_grow(client->pending, client->capacity * sizeof(*client->pending));
    }
    one = &client->pending[client->count++];
    memset(one, 0, sizeof(*one));
    one->id = ++client->next_id;
    one->verb = command->verb;
    one->part = command->part;
    one->tag = command->tag;
    one->sent_us = now_of(client);
    one->deadline_us = one->sent_us + command->deadline_ms * UINT64_C(1000);
    one->is_sent = client->up;
    if (!client->up) {
        kernel_at(client->engine->kernel, one->sent_us, unsent, client, one->id);
        return;
    }
    model_conn_send(command->verb == PAWL_ENGINE_READ ? client->read : client->command, one->id,
                    model_command_copy(command));
    arm(client, client->pending[client->count - 1].deadline_us);
}

void model_client_kill(struct model_client *client)
{
    client->dead = true;
    client->up = false;
    client->count = 0;
    while (client->inbox != NULL) {
        struct model_answer *answer = client->inbox;

        client->inbox = answer->next;
        answer_done(answer);
    }
    client->inbox_end = &client->inbox;
    close_conns(client, (uint32_t)kernel_below(client->engine->kernel, 8));
}

void model_client_break(struct model_client *client, uint32_t arrivals_max)
{
    if (!client->dead && client->command != NULL && !client->paused) {
        lose(client, "broken", arrivals_max);
    }
}

static void read_inbox(struct model_client *client)
{
    while (client->inbox != NULL && !client->paused && !client->dead) {
        struct model_answer *answer = client->inbox;

        client->inbox = answer->next;
        if (client->inbox == NULL) {
            client->inbox_end = &client->inbox;
        }
        deliver(client, answer);
        answer_done(answer);
    }
}

void model_client_pause(struct model_client *client, bool paused)
{
    bool timers_first;

    client->paused = paused;
    if (paused || client->dead) {
        return;
    }
    timers_first = kernel_chance(client->engine->kernel, 50); /* a loop may begin with either */
    if (!timers_first) {
        read_inbox(client);
    }
    if (client->timer_came && !client->dead) {
        client->timer_came = false;
        client->timer_us = now_of(client);
        timer(client, client->timer_us);
    }
    read_inbox(client);
}

void model_clients_free(struct model_engine *engine)
{
    while (engine->clients != NULL) {
        struct model_client *client = engine->clients;

        engine->clients = client->next;
        free(client->pending);
        free(client);
    }
}
