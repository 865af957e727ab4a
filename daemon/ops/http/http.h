/*
 * The HTTP endpoints: metrics, health, the answers that gateways ask for, revocation and
 * introspection as OAuth names them. libmicrohttpd parses and writes; the routes are the table in
 * routes.c, and what a route does is a function of an exchange (exchange.h).
 *
 * There is no thread in it. The server's descriptor, and those of the two client handles through
 * which it asks the dispatcher, are watched by the main loop (port/watch.h). What it asks goes the
 * way of any client: with a deadline, with the roles of the connection, and acknowledged when it is
 * durable. One connection may check and read; another, for callers with the role, may revoke too.
 *
 * Life: create (binds; connections wait in the backlog) -> watches, handed to the loop -> [loop
 * turns] -> destroy, after the loop has ended and let go of the descriptors.
 *
 * Ceilings: http.connections_max connections, a time-out for silent ones, 32 KiB for a request's
 * line and headers, 24 KiB for a form, 8 MiB for all that one request takes (few KiB but for
 * metrics).
 */
#ifndef PAWL_OPS_HTTP_HTTP_H
#define PAWL_OPS_HTTP_HTTP_H

#include "core/status.h"
#include "ops/settings.h"
#include "port/observe.h"
#include "port/stats.h"
#include "port/watch.h"

#define PAWL_HTTP_WATCHES 3

struct pawl_audit; /* ops/audit.h */
struct pawl_http;

/** Who a credential belongs to. */
struct pawl_http_caller {
    unsigned roles;                   /* bits of enum pawl_grant */
    struct pawl_text_list namespaces; /* "*" = all; lent until the next turn of the loop */
};

/** How the daemon is. */
struct pawl_http_health {
    bool draining;
    bool frozen;             /* the store: token verdicts are undecided, limits go on */
    bool cold;               /* no fact is known yet, and others may know some */
    unsigned workers;        /* threads that serve */
    unsigned workers_silent; /* that have not turned for PAWL_HTTP_HEARTBEAT_MAX_MS */
    uint64_t heartbeat_ms;   /* age of the oldest heartbeat */
};

/** A worker turns at least every 100 ms; so long without one, it is stuck. */
#define PAWL_HTTP_HEARTBEAT_MAX_MS 5000

/** What the endpoints need of the rest of the daemon. Main loop's thread. */
struct pawl_http_world {
    /** A connected socket to the dispatcher whose session has @roles; -1 with errno. */
    int (*connect)(void *self, unsigned roles);
    /** All figures. */
    void (*stats)(void *self, const struct pawl_stats_sink *sink);
    void (*health)(void *self, struct pawl_http_health *health);
    /** Is @secret that of credential @id? Takes as long for a wrong one as for a right one. */
    bool (*authenticate)(void *self, struct pawl_bytes id, struct pawl_bytes secret,
                         struct pawl_http_caller *caller);
    /** What operators look at (port/observe.h); NULL: not kept. */
    const struct pawl_observed *observed;
    struct pawl_audit *audit; /* ops/audit.h; NULL: none */
    /** May one more refusal be told to it now? Counted there where not. */
    bool (*may_tell)(void *self);
    void *self;
};

/**
 * Bind and listen.
 *
 * @settings  copied as far as needed.
 * @world     copied; what it points at must outlive the server.
 *
 * Returns PAWL_OK; PAWL_EBUSY (address in use), PAWL_EINVAL, PAWL_EPERM, PAWL_ENOMEM, PAWL_EIO,
 * with @error saying which address, what, what to do.
 */
PAWL_MUST_USE enum pawl_status pawl_http_create(const struct pawl_http_settings *settings,
                                                const struct pawl_http_world *world,
                                                struct pawl_http **http, struct pawl_error *error);

/** What the loop is to watch: fills @watches (PAWL_HTTP_WATCHES), returns how many. */
unsigned pawl_http_watches(struct pawl_http *http, struct pawl_watch *watches);

/** The port it is bound to, where the settings said 0. */
unsigned pawl_http_port(const struct pawl_http *http);

/** http_requests, http_refused and kin. Main loop's thread. */
void pawl_http_stats(const struct pawl_http *http, const struct pawl_stats_sink *sink);

/** Requests under way end without an answer. NULL is allowed. */
void pawl_http_destroy(struct pawl_http *http);

#endif
