/*
 * main's part for the keys that verify tokens. Beside main.c, because it names an adapter.
 *
 * The keys are loaded whole at start, or pawld does not start; a reload builds the new set beside
 * the one in use (ops/reload.h); and every jwt.refresh the files are looked at, for JWKS files that
 * somebody else writes where no watch tells. Whatever is wrong with a new set, the old one goes on.
 *
 * Life: init -> add to the reload, tick once a second, port for the workers -> deinit after them.
 * All on the main loop's thread, but for the figures.
 */
#ifndef PAWL_DAEMON_VERIFICATION_H
#define PAWL_DAEMON_VERIFICATION_H

#include <stdatomic.h>

#include "adapter/jwt/jwt.h"
#include "ops/audit.h"
#include "ops/reload.h"
#include "port/clock.h"
#include "port/jwt.h"
#include "port/log.h"
#include "port/stats.h"

/** Fields are private. */
struct pawl_verification {
    struct pawl_jwt_keyring *keyring;
    const struct pawl_log *log;
    struct pawl_audit *audit;
    struct pawl_jwt_report next; /* of what is prepared */
    uint64_t next_refresh_ms, refresh_ms;
    uint64_t looked_ms;                   /* monotonic: when the files were looked at last */
    char refused[PAWL_JWT_WARNING_BYTES]; /* what the last look was refused for, said once */
    _Atomic uint64_t reload_failures;     /* of reloads and of looks: the old keys go on */
};

/** Load the keys that @settings name. @log and @audit (may be NULL) are kept. */
PAWL_MUST_USE enum pawl_status pawl_verification_init(struct pawl_verification *verification,
                                                      const struct pawl_settings *settings,
                                                      const struct pawl_log *log,
                                                      struct pawl_audit *audit,
                                                      struct pawl_error *error);

/** For those who verify. */
struct pawl_jwt pawl_verification_port(const struct pawl_verification *verification);

/** As a part of the reload. */
struct pawl_reload_part pawl_verification_part(struct pawl_verification *verification);

/** Once a second: look at the files when jwt.refresh has passed. */
void pawl_verification_tick(struct pawl_verification *verification, struct pawl_instant now);

/** The keyring's figures, and jwt_reload_failed. Any thread. */
void pawl_verification_stats(struct pawl_verification *verification,
                             const struct pawl_stats_sink *sink);

/** Wipe the keys. No verifier may be open. Twice is nothing. */
void pawl_verification_deinit(struct pawl_verification *verification);

#endif
