/*
 * GET /healthz: does the process turn? A supervisor may restart it when not.
 * GET /readyz: should it get requests? A balancer may leave it out when not.
 *
 * A frozen store does not make a node unready: limits are decided as ever, token verdicts are
 * undecided, which is what every other node with that store would say. The reasons name it.
 *
 * A member of a fleet that has just started without a fact is not ready while others may have some
 * (core/cluster/cold.h): a rollout is not to go on while the engine is away. Its health is its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/http/exchange.h"
#include "ops/json.h"

#define BODY_BYTES 512

static void number(struct pawl_json *json, const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    pawl_json_plain(json, name, text);
}

static void answer(struct pawl_http_exchange *exchange, bool good, const char *reasons,
                   const struct pawl_http_health *health)
{
    struct pawl_json json = { .data = pawl_http_take(exchange, BODY_BYTES),
                              .capacity = BODY_BYTES };

    if (json.data == NULL) {
        pawl_http_reply(exchange, 503, NULL, pawl_bytes_of("", 0));
        return;
    }
    pawl_json_raw(&json, "{\"status\":");
    pawl_json_raw(&json, good ? "\"ok\"" : "\"unavailable\"");
    pawl_json_plain(&json, "reasons", reasons);
    pawl_json_plain(&json, "draining", health->draining ? "true" : "false");
    pawl_json_plain(&json, "frozen", health->frozen ? "true" : "false");
    number(&json, "workers", health->workers);
    number(&json, "workers_silent", health->workers_silent);
    number(&json, "heartbeat_age_ms", health->heartbeat_ms);
    pawl_json_raw(&json, "}\n");
    pawl_http_reply(exchange, good ? 200 : 503, "application/json",
                    pawl_bytes_of(json.data, json.used));
}

void pawl_http_healthz(struct pawl_http_exchange *exchange)
{
    const struct pawl_http_world *world = pawl_http_world_of(exchange);
    struct pawl_http_health health = { .draining = false };

    world->health(world->self, &health);
    answer(exchange, health.workers_silent == 0,
           health.workers_silent == 0 ? "[]" : "[\"workers_silent\"]", &health);
}

void pawl_http_readyz(struct pawl_http_exchange *exchange)
{
    const struct pawl_http_world *world = pawl_http_world_of(exchange);
    struct pawl_http_health health = { .draining = false };
    char reasons[64];

    world->health(world->self, &health);
    const struct {
        bool holds;
        const char *name;
    } known[] = { { health.draining, "\"draining\"" },
                  { health.workers_silent > 0, "\"workers_silent\"" },
                  { health.cold, "\"facts_unknown\"" } };
    bool good = true;
    size_t used = 0;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].holds) {
            used += (size_t)snprintf(reasons + used, sizeof(reasons) - used, "%s%s",
                                     good ? "[" : ",", known[i].name);
            good = false;
        }
    }
    (void)snprintf(reasons + used, sizeof(reasons) - used, good ? "[]" : "]");
    answer(exchange, good, reasons, &health);
}
