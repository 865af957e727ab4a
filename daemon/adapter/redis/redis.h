/*
 * The engine on Redis or Valkey, 7.0 and later: port/engine.h over port/net.h, with hiredis's
 * reader and formatter. One primary, found in a list of addresses or through Sentinel; RESP2.
 *
 * Life: create -> (events: up, reply, down, up, ...) -> ops->close -> its done -> destroy. The
 * first attempt to connect begins on the loop's next turn; from then on the adapter goes on trying
 * by itself, with a jittered back-off from 200 ms up to 5 s.
 *
 * Two connections to the primary: one for commands, in order, and one for READ, which may block.
 * `up` is said when both have shown the same primary: role master, version, policy of memory, and
 * an epoch, which is a hash of (run_id, master_replid). Each ANNOUNCE looks again; an answer of
 * another epoch is no answer (UNKNOWN), and the connections are made anew.
 *
 * What becomes of a command:
 *   WON, REFUSED  the primary of this epoch said so.
 *   FAILED        it said an error that means "not done" (out of memory, no permission).
 *   UNKNOWN       it was sent, and the answer is late or will not come. It may yet be carried out,
 *                 even after the connection has gone: emit it again.
 *   UNSENT        it never left this process.
 *
 * Everything on one thread, the loop's; stats() on any.
 */
#ifndef PAWL_ADAPTER_REDIS_REDIS_H
#define PAWL_ADAPTER_REDIS_REDIS_H

#include "port/engine.h"
#include "port/entropy.h"
#include "port/log.h"
#include "port/net.h"

#define PAWL_REDIS_ADDRESSES_MAX 16
#define PAWL_REDIS_PREFIX_MAX    64   /* bytes of options.prefix: letters, digits, "_-." */
#define PAWL_REDIS_NAME_MAX      128  /* bytes of a user, a name */
#define PAWL_REDIS_PASSWORD_MAX  1024 /* bytes */
#define PAWL_REDIS_HOST_MAX      256  /* bytes of a host name or a socket's path */

/** A server. Lent for the call of create; the context by reference. */
struct pawl_redis_address {
    const char *host;                 /* name, number, or absolute path of a Unix socket */
    uint16_t port;                    /* 0 with a path */
    struct pawl_tls_context *context; /* NULL: in clear */
};

/** Everything is copied, but net, log and entropy, and the contexts, which have to outlive it. */
struct pawl_redis_options {
    /* Either addresses, tried in order; the first that is a primary is kept ... */
    const struct pawl_redis_address *addresses;
    unsigned address_count;
    /* ... or sentinels, who name it. */
    const char *sentinel_name; /* of the master; NULL or "": no Sentinel */
    const struct pawl_redis_address *sentinels;
    unsigned sentinel_count;
    struct pawl_tls_context *context; /* to the primary that Sentinel names; NULL: in clear */

    const char *user;     /* NULL or "": the default one */
    const char *password; /* NULL or "": none. Wiped at the end, here; the caller wipes its own */
    const char *sentinel_user;
    const char *sentinel_password;
    const char
        *tls_name;      /* what certificates have to be for; NULL or "": the host of the address */
    const char *prefix; /* of all keys; NULL or "": "pawl" */
    const char *client_name; /* for CLIENT SETNAME, no blanks; NULL or "": "pawld" */

    uint32_t command_timeout_ms; /* handshake steps, probes; 0: 1000 */
    bool strict; /* an engine that may forget what it acknowledged is refused, not warned about */

    const struct pawl_net *net;
    const struct pawl_log *log;
    const struct pawl_entropy *entropy; /* for jitter only */
};

struct pawl_redis; /* opaque */

/**
 * Make an engine.
 *
 * @events   copied; called on the loop's thread, never from inside this call.
 * @redis    out; NULL after an error.
 * @error    may be NULL: what is wrong.
 *
 * Returns PAWL_OK, PAWL_EINVAL (neither or both of addresses and Sentinel, a text out of bounds),
 * PAWL_ENOMEM. The loop's thread.
 */
PAWL_MUST_USE enum pawl_status pawl_redis_create(const struct pawl_redis_options *options,
                                                 const struct pawl_engine_events *events,
                                                 struct pawl_redis **redis,
                                                 struct pawl_error *error);

/** The port; valid until destroy. */
struct pawl_engine pawl_redis_engine(struct pawl_redis *redis);

/**
 * Other certificates, after a reload: for connections made from now on. The same list of addresses
 * is kept.
 *
 * @engine, @sentinel  for those addresses that had a context; NULL: as before.
 */
void pawl_redis_set_contexts(struct pawl_redis *redis, struct pawl_tls_context *engine,
                             struct pawl_tls_context *sentinel);

/** Other passwords, in the same way; NULL, or one that is too long: as before. */
void pawl_redis_set_passwords(struct pawl_redis *redis, const char *password,
                              const char *sentinel_password);

/** After ops->close has called its done; secrets are wiped. NULL is nothing. */
void pawl_redis_destroy(struct pawl_redis *redis);

#endif
