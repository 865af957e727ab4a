/*
 * main's part for what this node shows when it is the one who connects, in a cluster: certificates
 * and passwords at the engine, and its certificate to the other members. Beside main.c, because it
 * names adapters.
 *
 * A reload builds the whole set anew and checks it; only then does it take the place of the old
 * one, and who connects is told. Connections that are there stay as they are.
 *
 * Life: init -> build and start -> add to the reload -> deinit, on the reload's thread; who
 * connects gets a copy of the set on its own thread.
 */
#ifndef PAWL_DAEMON_OUTWARD_H
#define PAWL_DAEMON_OUTWARD_H

#include <pthread.h>

#include "adapter/sys/credential.h"
#include "ops/reload.h"
#include "port/clock.h"
#include "port/log.h"
#include "port/tls.h"

struct pawl_outward_set {
    struct pawl_tls_context *engine; /* to engine and Sentinels; NULL: no address is rediss:// */
    struct pawl_tls_context *peers;  /* to the other members; NULL: they are reached in clear */
    char password[PAWL_CREDENTIAL_FILE_BYTES_MAX + 1]; /* "" = none */
    char sentinel_password[PAWL_CREDENTIAL_FILE_BYTES_MAX + 1];
};

/** Fields are private. */
struct pawl_outward {
    const struct pawl_clock *clock;
    const struct pawl_log *log;
    pthread_mutex_t lock; /* of set */
    struct pawl_outward_set set;
    struct pawl_outward_set next; /* prepared */
    void (*changed)(void *ctx, const struct pawl_outward_set *set);
    void *ctx;
};

/** @log and @clock are kept. */
void pawl_outward_init(struct pawl_outward *outward, const struct pawl_clock *clock,
                       const struct pawl_log *log);

/**
 * Read what @settings name; without a cluster that is nothing. At start it has to hold.
 *
 * @error  which setting, which file, what is wrong, what to do.
 */
PAWL_MUST_USE enum pawl_status pawl_outward_build(struct pawl_outward *outward,
                                                  const struct pawl_settings *settings,
                                                  struct pawl_error *error);

/**
 * What was built is in use from now on; lent until a reload. @changed (may be NULL) hears of each
 * later set on the reload's thread, before the old one goes.
 */
const struct pawl_outward_set *pawl_outward_start(
    struct pawl_outward *outward, void (*changed)(void *ctx, const struct pawl_outward_set *set),
    void *ctx);

/** The set of the moment: references and copies of the caller's, for pawl_outward_put(). Any
 * thread. */
void pawl_outward_get(struct pawl_outward *outward, struct pawl_outward_set *copy);

/** Let go and wipe; of an empty one nothing. */
void pawl_outward_put(struct pawl_outward_set *copy);

/** As a part of the reload. */
struct pawl_reload_part pawl_outward_part(struct pawl_outward *outward);

/** Wipe, and let go of the contexts. Twice is nothing. */
void pawl_outward_deinit(struct pawl_outward *outward);

#endif
