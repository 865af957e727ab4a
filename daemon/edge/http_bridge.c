#include "edge/http_bridge.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "edge/cluster_world.h"
#include "edge/handler.h"
#include "edge/identity.h"
#include "edge/observe.h"

/* One end for the client handle, the other a session like any. */
static int connect_dispatcher(void *self, unsigned roles)
{
    struct pawl_http_bridge *bridge = self;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
        return -1;
    }
    if (pawl_server_adopt(bridge->server, ends[1], roles) != PAWL_OK) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        errno = ECONNREFUSED;
        return -1;
    }
    return ends[0];
}

static void all_stats(void *self, const struct pawl_stats_sink *sink)
{
    struct pawl_http_bridge *bridge = self;

    pawl_app_stats(bridge->app, sink);
}

static void look_at_health(void *self, struct pawl_http_health *health)
{
    struct pawl_http_bridge *bridge = self;
    const struct pawl_store *store = &bridge->app->store;
    struct timespec now = { 0, 0 };
    uint64_t now_ms;

    (void)clock_gettime(CLOCK_BOOTTIME, &now); /* as the workers do: no test clock in it */
    now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    health->draining = bridge->draining;
    health->frozen = store->ops->frozen(store->self);
    health->cold = bridge->app->cluster != NULL && atomic_load(&bridge->app->cluster->cold);
    health->workers = pawl_server_workers(bridge->server);
    for (unsigned i = 0; i < health->workers; i++) {
        uint64_t beat_ms = pawl_server_heartbeat_ms(bridge->server, i);
        uint64_t age_ms = now_ms > beat_ms ? now_ms - beat_ms : 0;

        health->heartbeat_ms = age_ms > health->heartbeat_ms ? age_ms : health->heartbeat_ms;
        health->workers_silent += age_ms > PAWL_HTTP_HEARTBEAT_MAX_MS ? 1 : 0;
    }
}

static bool authenticate(void *self, struct pawl_bytes id, struct pawl_bytes secret,
                         struct pawl_http_caller *caller)
{
    static const char *const everywhere[] = { "*" };
    struct pawl_http_bridge *bridge = self;
    struct pawl_guard *guard = pawl_server_guard(bridge->server);
    struct pawl_identity identity;
    const struct pawl_guard_entry *entry;
    bool known;

    if (guard == NULL) {
        return false;
    }
    pawl_identity_init(&identity, ~0U, 0, false);
    known =
        pawl_identity_credit(&identity, guard, id, secret) == PAWL_OK && identity.grant_count == 1;
    if (known) {
        entry = &guard->grants[identity.grants[0]];
        caller->roles = entry->roles;
        caller->namespaces = (struct pawl_text_list){
            .items = entry->everywhere ? everywhere : (const char *const *)entry->namespaces,
            .count = entry->everywhere ? 1 : entry->namespace_count,
        };
    }
    pawl_identity_deinit(&identity);
    return known;
}

/* Whoever guesses secrets or asks in vain fills no disk: with the denials, so many a second. */
static bool may_tell(void *self)
{
    const struct pawl_http_bridge *bridge = self;

    return pawl_audit_may_deny(bridge->app->audit, pawl_clock_read(bridge->app->clock).instant);
}

void pawl_http_bridge_init(struct pawl_http_bridge *bridge, struct pawl_app *app,
                           struct pawl_server *server, struct pawl_http_world *world)
{
    bridge->app = app;
    bridge->server = server;
    if (app->observe != NULL) {
        bridge->observed = pawl_observe_reader(app->observe);
    }
    *world = (struct pawl_http_world){
        .connect = connect_dispatcher,
        .stats = all_stats,
        .health = look_at_health,
        .authenticate = authenticate,
        .observed = app->observe != NULL ? &bridge->observed : NULL,
        .audit = app->audit,
        .may_tell = may_tell,
        .self = bridge,
    };
}

void pawl_http_bridge_drain(struct pawl_http_bridge *bridge)
{
    bridge->draining = true;
}
