/*
 * The network half of the edge as one thing: listeners, N worker threads with a loop each, and the
 * main loop with signals and timers in the calling thread.
 *
 * Life:
 *   pawl_server_create   binds every listener, opens the handler's worker contexts (calling
 *                        thread). Nothing is accepted yet: clients that connect wait in the
 *                        backlog until the rest of the daemon has been loaded.
 *   pawl_server_run      starts the workers, turns the main loop; returns when all is drained.
 *   (stop the store here: its last completions may still post to workers)
 *   pawl_server_destroy  runs posts that are left, closes the handler's contexts, frees all.
 *
 * Drain, after the first SIGTERM or SIGINT or pawl_server_stop():
 *
 *   on_stop -> (true: everything goes on until pawl_server_go_on())
 *   on_drain_start -> accept what is in the backlog, stop listening, unlink Unix sockets
 *     -> goaway{last_id = UINT64_MAX} on every session: "send nothing new, what is sent is begun"
 *     -> a session that has been quiet for 100 ms and is owed nothing gets the final
 *        goaway{last_id = last begun}, then FIN
 *     -> after half of drain_timeout_ms nothing new is read; what was begun is answered
 *     -> drain_timeout_ms: what is left is closed
 *   a second signal: on_force, then everything is closed at once.
 */
#ifndef PAWL_EDGE_SERVER_H
#define PAWL_EDGE_SERVER_H

#include "core/status.h"
#include "edge/handler.h"
#include "port/log.h"
#include "port/stats.h"
#include "port/watch.h"

struct pawl_audit; /* ops/audit.h */
struct pawl_guard; /* edge/identity.h */
struct pawl_server;

#define PAWL_LISTENERS_MAX 16 /* addresses in the settings */
#define PAWL_WORKERS_MAX   64
#define PAWL_WATCHES_MAX   8 /* descriptors of others in the main loop */

/** One address to listen on. */
struct pawl_listen_options {
    const char *uri;    /* core/address.h; borrowed for pawl_server_create() */
    unsigned roles;     /* the most that the listener grants; 0 = all, on a Unix socket but peer */
    unsigned anonymous; /* TCP, TLS: what a peer that proves nothing may do; 0 = nothing */
    bool insecure;      /* permits plain TCP beyond loopback */
    unsigned mode;      /* of this Unix socket's file, permission bits; 0 = socket_mode */
    int fd;             /* already listening, from a service manager; taken over. -1 = bind @uri */
};

/** Limits of the network half; pawl_server_options_init() fills in the defaults. */
struct pawl_server_options {
    const struct pawl_listen_options *listen; /* borrowed for pawl_server_create() */
    unsigned listen_count;                    /* 1 to PAWL_LISTENERS_MAX */
    unsigned workers;                /* threads; 0 = cores this process may use, at most 4 */
    unsigned cores_max;              /* for workers = 0: no more cores than that; 0 = all */
    unsigned connections_max;        /* over all workers; 1 to 1,000,000 */
    unsigned listen_backlog;         /* connections that wait to be accepted, per address */
    unsigned socket_mode;            /* of Unix sockets that name none, permission bits */
    unsigned frame_timeout_ms;       /* first byte of a frame to its last */
    unsigned write_timeout_ms;       /* a piece of output (256 KiB or one reply) to be taken */
    unsigned idle_timeout_ms;        /* no byte read; 0 = none. Closed within twice of it */
    unsigned drain_timeout_ms;       /* SIGTERM to closing what is left */
    unsigned in_flight_max;          /* requests of one session that wait for a reply */
    unsigned keepalive_s;            /* TCP: idle seconds before probes; 0 = none */
    unsigned tcp_user_timeout_ms;    /* TCP: unacknowledged data; 0 = the system's own */
    size_t session_output_max_bytes; /* output waiting in one session */
    size_t buffers_max_bytes;        /* all buffers of all sessions */
    struct pawl_audit *audit;        /* outlives the server; NULL = none */
};

/** What the rest of the daemon wants to hear; any may be NULL. All on the main loop's thread. */
struct pawl_server_hooks {
    void (*on_pulse)(void *app);   /* every 100 ms */
    void (*on_second)(void *app);  /* every second */
    void (*on_reload)(void *app);  /* SIGHUP */
    void (*on_started)(void *app); /* every worker's thread runs, and the signals are taken */
    /**
     * First SIGTERM, SIGINT or pawl_server_stop(). True: there is something to be done first while
     * everything is still served (a cluster: hand over what is counted here), and
     * pawl_server_go_on() says when. False, or NULL: drain at once.
     */
    bool (*on_stop)(void *app);
    void (*on_drain_start)(void *app); /* the drain begins */
    void (*on_force)(void *app);       /* second one; may leave the process */
    void *app;
};

/** The defaults; listen is left NULL. */
void pawl_server_options_init(struct pawl_server_options *options);

/**
 * Bind, allocate, open the handler's contexts.
 *
 * @options, @handler, @hooks  copied; what handler->app and hooks->app point at must outlive the
 *                             server. @hooks may be NULL.
 * @log     must outlive the server.
 * @server  out; NULL after an error.
 * @error   may be NULL: which address, what, what to do.
 *
 * Sets SIGPIPE to be ignored and raises the soft descriptor limit towards what connections_max
 * needs. Returns PAWL_OK; PAWL_EINVAL (options, address), PAWL_EPERM (not permitted: insecure
 * address, file modes), PAWL_EBUSY (address in use by a live server), PAWL_ENOENT (folder or
 * host missing), PAWL_ENOMEM, PAWL_EIO, PAWL_EUNAVAIL (worker_open refused).
 */
PAWL_MUST_USE enum pawl_status pawl_server_create(const struct pawl_server_options *options,
                                                  const struct pawl_handler *handler,
                                                  const struct pawl_server_hooks *hooks,
                                                  const struct pawl_log *log,
                                                  struct pawl_server **server,
                                                  struct pawl_error *error);

/**
 * Serve until drained; at most once for each server. Takes SIGTERM, SIGINT and SIGHUP for its time;
 * afterwards SIGTERM and SIGINT end the process at once (their default) and SIGHUP is ignored.
 *
 * Returns PAWL_OK after an orderly drain, PAWL_ETIMEDOUT if the drain's deadline closed sessions,
 * PAWL_ECANCELED after a second signal, PAWL_EIO with @error if threads could not be started.
 */
PAWL_MUST_USE enum pawl_status pawl_server_run(struct pawl_server *server,
                                               struct pawl_error *error);

/**
 * Who may do what from now on: @guard (identity.h) holds for new connections, and those that are
 * there are judged by it anew. Who has lost what it had proved gets a goaway; a certificate of our
 * own that changes closes nobody. TLS listeners refuse everybody until there is one.
 *
 * A reference to @guard is taken. Main loop's thread, or the creating one before run. Cannot fail.
 */
void pawl_server_set_guard(struct pawl_server *server, struct pawl_guard *guard);

/** The guard set last, lent until the next one; NULL = none. Main loop's thread. */
struct pawl_guard *pawl_server_guard(const struct pawl_server *server);

/** As a SIGTERM: drain, and at the second call exit at once. Any thread, also before run. */
void pawl_server_stop(struct pawl_server *server);

/** What on_stop put off begins. Any thread; early and more than once is nothing. */
void pawl_server_go_on(struct pawl_server *server);

/**
 * Look after a descriptor of somebody else in the main loop. Between create and run, on the thread
 * of both. @watch is copied; its descriptor and ctx must live until pawl_server_destroy().
 *
 * Returns PAWL_OK, PAWL_EFULL (PAWL_WATCHES_MAX), PAWL_EIO.
 */
PAWL_MUST_USE enum pawl_status pawl_server_watch(struct pawl_server *server,
                                                 const struct pawl_watch *watch);

/**
 * Serve a connected Unix stream socket that nobody accepted, one end of a socketpair, as a session
 * with @roles (bits of pawl_role). For parts of the daemon that ask as clients do: counted among
 * the connections, but never refused for connections_max. Main loop's thread, while the server
 * runs.
 *
 * @fd  non-blocking; taken over with PAWL_OK alone.
 *
 * Returns PAWL_OK; PAWL_EUNAVAIL when not running, or draining; PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_server_adopt(struct pawl_server *server, int fd,
                                                 unsigned roles);

/**
 * Run the posts that are left (their sessions are gone), close contexts, free. Not while
 * pawl_server_run() runs, and nobody may post any more. NULL is nothing.
 */
void pawl_server_destroy(struct pawl_server *server);

/** Number of workers, and worker @index; for those who post without a session. */
unsigned pawl_server_workers(const struct pawl_server *server);
struct pawl_worker *pawl_server_worker(struct pawl_server *server, unsigned index);

/** The port TCP listener number @index was bound to (port 0 asked); 0 if it is not TCP. */
unsigned pawl_server_port(const struct pawl_server *server, unsigned index);

/**
 * CLOCK_BOOTTIME ms when worker @index last began to wait for events. An idle worker turns at
 * least every 100 ms, so an old value means a stuck one. Any thread.
 */
uint64_t pawl_server_heartbeat_ms(const struct pawl_server *server, unsigned index);

/** Hand the sums over all workers to @sink. Any thread. */
void pawl_server_stats(const struct pawl_server *server, const struct pawl_stats_sink *sink);

#endif
