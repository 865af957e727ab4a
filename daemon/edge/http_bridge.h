/*
 * What the HTTP endpoints need of the edge (struct pawl_http_world of ops/http/http.h): sockets to
 * the dispatcher, the state of the loops, and who a credential belongs to.
 *
 * Main loop's thread, all of it.
 */
#ifndef PAWL_EDGE_HTTP_BRIDGE_H
#define PAWL_EDGE_HTTP_BRIDGE_H

#include "edge/app.h"
#include "ops/http/http.h"

/** The caller's storage, zeroed; lives as long as the HTTP server. */
struct pawl_http_bridge {
    /* ---- private ---- */
    struct pawl_app *app;
    struct pawl_server *server;
    struct pawl_observed observed;
    bool draining;
};

/** Fill @world. @app and @server are kept. */
void pawl_http_bridge_init(struct pawl_http_bridge *bridge, struct pawl_app *app,
                           struct pawl_server *server, struct pawl_http_world *world);

/** /readyz says no from now on. */
void pawl_http_bridge_drain(struct pawl_http_bridge *bridge);

#endif
