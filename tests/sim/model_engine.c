/* Servers: their lives, replication, and what befalls them. */
#include "sim/model_inside.h"

#include <stdlib.h>
#include <string.h>

#define LOG_MAX 20000 /* operations kept for a replica that is cut off */

static struct pawl_epoch new_epoch(struct model_engine *engine)
{
    struct pawl_epoch epoch = { { 0 } };
    uint64_t number = ++engine->epochs_made;
    uint64_t mixed = engine->kernel->seed * UINT64_C(0x9e3779b97f4a7c15) + number;

    memcpy(epoch.bytes, &mixed, sizeof(mixed));
    memcpy(epoch.bytes + 8, &number, sizeof(number));
    return epoch;
}

static void log_clear(struct model_server *server)
{
    for (uint32_t i = 0; i < server->log_count; i++) {
        model_command_drop(server->log[i].command);
    }
    server->log_first += server->log_count;
    server->log_count = 0;
}

void model_engine_init(struct model_engine *engine, struct kernel *kernel, unsigned server_count)
{
    memset(engine, 0, sizeof(*engine));
    engine->kernel = kernel;
    engine->server_count = server_count;
    engine->clock_origin_ms = UINT64_C(1790000000000);
    engine->max_lag_us = 2000000;
    for (unsigned i = 0; i < server_count; i++) {
        struct model_server *server = &engine->servers[i];

        server->engine = engine;
        server->index = i;
        server->alive = true;
        server->life = 1;
        server->epoch = new_epoch(engine);
        server->is_primary = i == 0;
        server->attached = i > 0;
        server->link_up = i > 0;
        server->lag_us = 500;
    }
    for (unsigned n = 0; n < SIM_NODES; n++) {
        for (unsigned s = 0; s < MODEL_SERVERS; s++) {
            engine->links[n][s].delay_us = 200;
            engine->links[n][s].jitter_us = 100;
        }
    }
}

void model_engine_deinit(struct model_engine *engine)
{
    for (unsigned i = 0; i < engine->server_count; i++) {
        struct model_server *server = &engine->servers[i];

        model_server_forget_backlog(server);
        log_clear(server);
        free(server->log);
        model_state_clear(&server->state);
    }
    model_clients_free(engine);
}

uint64_t model_server_clock_ms(const struct model_server *server)
{
    const struct model_engine *engine = server->engine;

    return (uint64_t)((int64_t)(engine->clock_origin_ms + engine->kernel->now_us / 1000) +
                      server->clock_offset_ms);
}

/* ---- replication ---- */

uint64_t model_log_end(const struct model_server *server)
{
    return server->log_first + server->log_count;
}

static struct model_server *primary_of(struct model_server *replica)
{
    return &replica->engine->servers[replica->engine->primary];
}

static uint64_t arrival_us(const struct model_server *replica,
                           const struct model_operation *operation)
{
    uint64_t sent =
        operation->at_us > replica->link_from_us ? operation->at_us : replica->link_from_us;

    return sent + replica->lag_us;
}

void model_replica_catch_up(struct model_server *replica)
{
    struct model_server *primary = primary_of(replica);

    if (!replica->attached || !replica->link_up || replica->full) {
        return;
    }
    while (replica->applied < model_log_end(primary)) {
        const struct model_operation *operation =
            &primary->log[replica->applied - primary->log_first];

        if (arrival_us(replica, operation) > replica->engine->kernel->now_us) {
            break;
        }
        (void)model_state_write(&replica->state, &operation->command->command, operation->clock_ms,
                                operation->emitted_us);
        replica->applied++;
    }
}

static void log_trim(struct model_server *primary)
{
    uint64_t until = model_log_end(primary);
    uint32_t gone;

    for (unsigned i = 0; i < primary->engine->server_count; i++) {
        struct model_server *replica = &primary->engine->servers[i];

        if (replica == primary || !replica->attached) {
            continue;
        }
        model_replica_catch_up(replica);
        if (!replica->link_up && primary->log_count > LOG_MAX) {
            replica->full = true;
        }
        if (!replica->full && replica->applied < until) {
            until = replica->applied;
        }
    }
    gone = (uint32_t)(until - primary->log_first);
    for (uint32_t i = 0; i < gone; i++) {
        model_command_drop(primary->log[i].command);
    }
    primary->log_count -= gone;
    primary->log_first = until;
    memmove(primary->log, primary->log + gone, primary->log_count * sizeof(*primary->log));
}

void model_log_push(struct model_server *server, struct model_command *command, uint64_t clock_ms,
                    uint64_t emitted_us)
{
    struct model_operation *operation;

    if (server->index != server->engine->primary || server->engine->server_count == 1) {
        return; /* an old primary: nobody follows it */
    }
    if (server->log_count == server->log_capacity) {
        server->log_capacity = server->log_capacity > 0 ? 2 * server->log_capacity : 256;
        server->log = sim_grow(server->log, server->log_capacity * sizeof(*server->log));
    }
    operation = &server->log[server->log_count++];
    operation->at_us = server->engine->kernel->now_us;
    operation->clock_ms = clock_ms;
    operation->emitted_us = emitted_us;
    operation->command = command;
    command->references++;
    if (server->log_count % 128 == 0) {
        log_trim(server);
    }
}

uint64_t model_replica_acknowledges_us(struct model_server *replica, uint64_t offset)
{
    struct model_server *primary = primary_of(replica);

    model_replica_catch_up(replica);
    if (!replica->attached || replica->full) {
        return UINT64_MAX;
    }
    if (replica->applied >= offset) {
        return replica->link_up ? replica->engine->kernel->now_us : UINT64_MAX;
    }
    if (!replica->link_up) {
        return UINT64_MAX;
    }
    return arrival_us(replica, &primary->log[offset - 1 - primary->log_first]) +
           replica->lag_us / 2;
}

unsigned model_server_replicas(struct model_server *server)
{
    struct model_engine *engine = server->engine;
    unsigned count = 0;

    for (unsigned i = 0; i < engine->server_count; i++) {
        const struct model_server *replica = &engine->servers[i];

        if (i != server->index && replica->attached && replica->alive &&
            (replica->link_up ||
             engine->kernel->now_us - replica->cut_at_us < engine->max_lag_us)) {
            count++;
        }
    }
    return count;
}

bool model_server_may_write(struct model_server *server)
{
    struct model_engine *engine = server->engine;

    if (engine->min_replicas == 0) {
        return true;
    }
    if (server->index != engine->primary) { /* nobody follows it since it was replaced */
        return engine->kernel->now_us - server->cut_at_us < engine->max_lag_us;
    }
    return model_server_replicas(server) >= engine->min_replicas ||
           engine->kernel->now_us - server->primary_since_us < engine->max_lag_us;
}

void model_engine_set_replication(struct model_engine *engine, unsigned server, bool up)
{
    struct model_server *replica = &engine->servers[server];

    if (replica->link_up == up) {
        return;
    }
    model_replica_catch_up(replica);
    replica->link_up = up;
    if (!up) {
        replica->cut_at_us = engine->kernel->now_us;
        return;
    }
    replica->link_from_us = engine->kernel->now_us;
    if (replica->full) {
        model_state_copy(&replica->state, &primary_of(replica)->state);
        replica->applied = model_log_end(primary_of(replica));
        replica->full = false;
    }
}

/* ---- links ---- */

void model_engine_set_link(struct model_engine *engine, unsigned node, unsigned server,
                           bool cut_out, bool cut_in)
{
    struct model_conn *next;

    engine->links[node][server].cut_out = cut_out;
    engine->links[node][server].cut_in = cut_in;
    for (struct model_conn *conn = engine->conns; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->node == node && conn->server == server) {
            conn->references++;
            model_conn_release(conn);
            next = conn->next;
            model_conn_drop(conn);
        }
    }
}

void model_engine_break(struct model_engine *engine, unsigned node)
{
    for (struct model_client *client = engine->clients; client != NULL;
         client = model_client_next(client)) {
        if (model_client_node(client) == node) {
            model_client_break(client, (uint32_t)kernel_below(engine->kernel, 4));
        }
    }
}

/* ---- lives ---- */

/* All connections of @server end; those clients that can be told are told. */
static void cut_off(struct model_server *server, bool reset)
{
    struct model_engine *engine = server->engine;
    struct model_conn *next;

    server->life++;
    server->resets = reset;
    model_server_forget_backlog(server);
    for (struct model_conn *conn = engine->conns; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->server == server->index && !conn->broken) {
            conn->references++;
            conn->broken = true;
            if (reset) {
                model_conn_reset(conn);
            }
            next = conn->next;
            model_conn_drop(conn);
        }
    }
}

void model_engine_stop(struct model_engine *engine, unsigned server, bool stopped)
{
    struct model_server *target = &engine->servers[server];

    kernel_note(engine->kernel, stopped ? "server stops" : "server goes on", SIM_NOBODY, server, 0,
                0);
    target->stopped = stopped;
    if (!stopped && target->alive) {
        model_server_resume(target);
    }
}

void model_engine_kill(struct model_engine *engine, unsigned server, bool reset)
{
    struct model_server *target = &engine->servers[server];

    kernel_note(engine->kernel, "server killed", SIM_NOBODY, server, reset, 0);
    if (target->attached) {
        model_engine_set_replication(engine, server, false);
    }
    target->alive = false;
    target->stopped = false;
    cut_off(target, reset);
}

/* Whoever follows the primary gets a whole copy of it. */
static void follow_anew(struct model_engine *engine)
{
    struct model_server *primary = &engine->servers[engine->primary];

    log_clear(primary);
    for (unsigned i = 0; i < engine->server_count; i++) {
        struct model_server *replica = &engine->servers[i];

        if (i != engine->primary && replica->attached) {
            replica->applied = model_log_end(primary);
            replica->link_from_us = engine->kernel->now_us;
            replica->full = !replica->link_up;
            if (replica->link_up) {
                model_state_copy(&replica->state, &primary->state);
            }
        }
    }
}

void model_engine_restart(struct model_engine *engine, unsigned server, bool empty)
{
    struct model_server *target = &engine->servers[server];

    kernel_note(engine->kernel, "server starts", SIM_NOBODY, server, empty, 0);
    target->alive = true;
    target->stopped = false;
    target->epoch = new_epoch(engine);
    if (empty) {
        model_state_clear(&target->state);
    }
    if (target->attached) {
        target->full = true;
        model_engine_set_replication(engine, server, true);
    } else if (server == engine->primary) {
        target->primary_since_us = engine->kernel->now_us;
        if (engine->gate_opens_at_once) {
            target->state.gate = target->epoch;
        }
        follow_anew(engine); /* replicas of an empty primary copy the emptiness */
    } else {
        model_engine_demote(engine, server);
    }
}

void model_engine_promote(struct model_engine *engine, unsigned server)
{
    struct model_server *old = &engine->servers[engine->primary];
    struct model_server *target = &engine->servers[server];

    for (unsigned i = 0; i < engine->server_count; i++) {
        model_replica_catch_up(&engine->servers[i]);
    }
    kernel_note(engine->kernel, "server promoted", SIM_NOBODY, server,
                model_log_end(old) - target->applied, 0);
    old->cut_at_us = engine->kernel->now_us;
    for (unsigned i = 0; i < engine->server_count; i++) {
        if (engine->servers[i].attached && !engine->servers[i].link_up &&
            engine->servers[i].cut_at_us < old->cut_at_us) {
            old->cut_at_us = engine->servers[i].cut_at_us; /* since then its writes reach nobody */
        }
    }
    target->attached = false;
    target->full = false;
    target->is_primary = true;
    target->epoch = new_epoch(engine);
    target->primary_since_us = engine->kernel->now_us;
    if (engine->gate_opens_at_once) {
        target->state.gate = target->epoch;
    }
    log_clear(old);
    engine->primary = server;
    follow_anew(engine);
}

void model_engine_demote(struct model_engine *engine, unsigned server)
{
    struct model_server *target = &engine->servers[server];

    kernel_note(engine->kernel, "server demoted", SIM_NOBODY, server, 0, 0);
    target->is_primary = false;
    if (target->alive) {
        cut_off(target, true);
    }
    target->attached = true;
    target->full = true;
    target->link_up = false;
    model_engine_set_replication(engine, server, true);
}

void model_engine_flush(struct model_engine *engine, unsigned server)
{
    kernel_note(engine->kernel, "server flushed", SIM_NOBODY, server, 0, 0);
    model_state_clear(&engine->servers[server].state);
    if (server == engine->primary) {
        follow_anew(engine);
    }
}

void model_engine_evict(struct model_engine *engine, unsigned count)
{
    struct model_server *primary = &engine->servers[engine->primary];

    for (unsigned i = 0; i < count; i++) {
        if (!model_state_evict(&primary->state, kernel_random(engine->kernel))) {
            break;
        }
    }
    kernel_note(engine->kernel, "server evicts", SIM_NOBODY, engine->primary, count, 0);
    follow_anew(engine);
}
