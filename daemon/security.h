/*
 * main's part for who may connect: certificate, key, CA, clients and credentials as one set. Beside
 * main.c, because it names adapters.
 *
 * A reload builds the whole set anew and checks it; only then does it take the place of the old one
 * (ops/reload.h). Whatever is wrong with it, the old one stays.
 *
 * Life: init -> prepare and commit at start -> add to the reload -> deinit after the server.
 */
#ifndef PAWL_DAEMON_SECURITY_H
#define PAWL_DAEMON_SECURITY_H

#include <stdatomic.h>

#include "core/keyhash.h"
#include "edge/identity.h"
#include "edge/server.h"
#include "ops/reload.h"
#include "port/clock.h"
#include "port/entropy.h"
#include "port/log.h"
#include "port/stats.h"

/** Fields are private. */
struct pawl_security {
    const struct pawl_log *log;
    const struct pawl_clock *clock;
    struct pawl_server *server; /* NULL until start */
    struct pawl_guard *next;    /* a reference; prepared */
    int64_t next_expires_s;
    uint8_t key[PAWL_DIGEST_BYTES]; /* of the digests of secrets, for this process */
    _Atomic uint64_t reloads, reload_failures;
    _Atomic int64_t expires_s; /* of the certificate in use; 0 = none */
};

/** PAWL_OK, or PAWL_EIO: no randomness. @log and @clock are kept. */
PAWL_MUST_USE enum pawl_status pawl_security_init(struct pawl_security *security,
                                                  const struct pawl_entropy *entropy,
                                                  const struct pawl_clock *clock,
                                                  const struct pawl_log *log);

/** Read what @settings name, at start, before there is a server; it has to hold. */
PAWL_MUST_USE enum pawl_status pawl_security_build(struct pawl_security *security,
                                                   const struct pawl_settings *settings,
                                                   struct pawl_error *error);

/** The server is there: give it what was built. Before it runs. */
void pawl_security_start(struct pawl_security *security, struct pawl_server *server);

/** As a part of the reload. */
struct pawl_reload_part pawl_security_part(struct pawl_security *security);

/** tls_reloads, tls_reload_failures, tls_certificate_expires_s. Any thread. */
void pawl_security_stats(struct pawl_security *security, const struct pawl_stats_sink *sink);

/** Wipe. Twice is nothing. */
void pawl_security_deinit(struct pawl_security *security);

#endif
