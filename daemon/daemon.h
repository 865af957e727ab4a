/*
 * Everything that a running pawld is made of, and how it is built; for main.c and the files beside
 * it alone. Each step says in its error what is wrong and what to do; what it opened is closed by
 * main.c's tear_down, whichever step failed. One thread.
 */
#ifndef PAWL_DAEMON_H
#define PAWL_DAEMON_H

#include "adapter/sqlite/store.h"
#include "adapter/sys/data_dir.h"
#include "adapter/sys/entropy.h"
#include "adapter/sys/first_process.h"
#include "adapter/sys/memory.h"
#include "adapter/sys/schedule.h"
#include "adapter/sys/test_clock.h"
#include "adapter/sys/zoneinfo.h"
#include "adapter/yaml/yaml.h"
#include "edge/app.h"
#include "edge/http_bridge.h"
#include "edge/server.h"
#include "edge/watch.h"
#include "fleet.h"
#include "ops/audit.h"
#include "ops/log.h"
#include "ops/options.h"
#include "ops/reload.h"
#include "ops/settings.h"
#include "room.h"
#include "security.h"
#include "service.h"
#include "verification.h"

struct daemon {
    struct pawl_options options;
    struct pawl_settings_env env;
    struct pawl_config_parser parser;
    struct pawl_settings *settings;
    struct pawl_problems problems;

    struct pawl_sys_clock sys_clock;
    struct pawl_test_clock test_clock;
    struct pawl_clock machine_clock;
    struct pawl_clock clock;
    struct pawl_entropy entropy;
    struct pawl_log_writer log_writer;
    struct pawl_log log;
    bool log_open;

    struct pawl_data_dir data_dir;
    struct pawl_token_keys token_keys;
    struct pawl_store_keys store_keys[PAWL_SECRETS_MAX];
    unsigned secret_count;
    struct pawl_subkey limits_subkey;
    struct pawl_subkey mask_subkey;
    struct pawl_subkey slots_subkey;

    struct pawl_region limiter_region;
    struct pawl_region facts_region;
    struct pawl_region leases_region;
    struct pawl_leases leases;
    struct pawl_zones zones;
    struct pawl_limiter limiter;
    struct pawl_revocations revocations;
    bool limiter_open, revocations_open, rules_open;
    bool reload_held; /* SIGHUP waits for the loop */
    struct pawl_app app;
    struct pawl_server *server;
    struct pawl_http *http; /* NULL: off */
    struct pawl_http_bridge http_bridge;
    struct pawl_security security;         /* who may connect */
    struct pawl_verification verification; /* of tokens */
    struct pawl_fleet fleet;               /* in a cluster */
    uint64_t birth_ms;

    struct pawl_service service;
    struct pawl_room room;
    struct pawl_reload reload;
    struct pawl_rules *next_rules; /* prepared; between prepare and commit alone */
    unsigned next_log_level;
};

/** Clocks, randomness, the log, the data folder. */
PAWL_MUST_USE enum pawl_status pawl_build_world(struct daemon *daemon, struct pawl_error *error);

/** The secrets and what is derived of them. */
PAWL_MUST_USE enum pawl_status pawl_build_secrets(struct daemon *daemon, struct pawl_error *error);

/** The table of counts; needs the secrets. */
PAWL_MUST_USE enum pawl_status pawl_build_limiter(struct daemon *daemon, struct pawl_error *error);

/** The table of revocations. */
PAWL_MUST_USE enum pawl_status pawl_build_revocations(struct daemon *daemon,
                                                      struct pawl_error *error);

/** What limits need beside the table: leases, time zones. */
PAWL_MUST_USE enum pawl_status pawl_build_limits_side(struct daemon *daemon,
                                                      struct pawl_error *error);

/** Rules of @settings, with one reference, the caller's; NULL and @error when they do not hold. */
struct pawl_rules *pawl_build_rules(struct daemon *daemon, const struct pawl_settings *settings,
                                    struct pawl_error *error);

/** Whether rules can be built of @settings, zones of limits included; nothing remains. */
PAWL_MUST_USE enum pawl_status pawl_build_rules_check(const struct pawl_settings *settings,
                                                      struct pawl_error *error);

/**
 * Open the embedded store, as the node's own or as a journal: @counters NULL, counts are not its.
 * Facts that it holds come through @events.
 */
PAWL_MUST_USE enum pawl_status pawl_build_store(struct daemon *daemon,
                                                const struct pawl_store_events *events,
                                                const struct pawl_counter_source *counters,
                                                struct pawl_store *store, struct pawl_error *error);

/** The store, loaded, and what workers share; needs all of the above. */
PAWL_MUST_USE enum pawl_status pawl_build_app(struct daemon *daemon, struct pawl_error *error);

#endif
