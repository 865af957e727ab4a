#include "daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum pawl_status pawl_build_world(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_log_options log_options = { .fd = STDERR_FILENO,
                                            .level = daemon->settings->log_level,
                                            .clock = &daemon->machine_clock };

    pawl_sys_clock_init(&daemon->sys_clock, &daemon->machine_clock, NULL);
    daemon->clock = daemon->machine_clock;
    if (daemon->options.test_clock) {
        pawl_test_clock_init(&daemon->test_clock, &daemon->clock, &daemon->machine_clock);
        daemon->app.set_clock = pawl_test_clock_set;
    }
    pawl_sys_entropy_init(&daemon->entropy);
    if (pawl_log_writer_init(&daemon->log_writer, &log_options) != PAWL_OK) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for the log");
    }
    daemon->log = pawl_log_writer_sink(&daemon->log_writer);
    daemon->log_open = true;
    if (daemon->settings->data_dir[0] == '\0') { /* a cluster that keeps no journal */
        return PAWL_OK;
    }
    if (daemon->settings->data_dir_is_default) {
        enum pawl_status status = pawl_dir_make(daemon->settings->data_dir, 0700, error);

        if (status != PAWL_OK) {
            return status;
        }
    }
    return pawl_data_dir_open(&daemon->data_dir, daemon->settings->data_dir, error);
}

/* The first secret taken so names things; families are looked for under all. One twice is one. */
static void take_names(struct daemon *daemon, const uint8_t *secret)
{
    struct pawl_app *app = &daemon->app;
    unsigned index = app->family_key_count;
    struct pawl_subkey facts;

    pawl_subkey_derive(&facts, secret, PAWL_SUBKEY_FACTS);
    if (index == 0) {
        pawl_subkey_derive(&daemon->limits_subkey, secret, PAWL_SUBKEY_LIMITS);
        pawl_subkey_derive(&daemon->slots_subkey, secret, PAWL_SUBKEY_SLOTS);
    }
    if (index == 0 || !pawl_equal_secret(&facts, &app->family_keys[0], sizeof(facts))) {
        app->family_keys[index] = facts;
        pawl_subkey_derive(&daemon->token_keys.adopt[index], secret, PAWL_SUBKEY_SID);
        app->family_key_count = daemon->token_keys.adopt_count = index + 1;
    }
    pawl_wipe(&facts, sizeof(facts));
}

static void take_seals(struct daemon *daemon, const uint8_t *secret)
{
    unsigned index = daemon->secret_count;

    pawl_store_keys_derive(&daemon->store_keys[index], secret);
    pawl_subkey_derive(&daemon->token_keys.sid[index], secret, PAWL_SUBKEY_SID);
    if (index == 0) { /* what no other node and no later start has to know again */
        pawl_subkey_derive(&daemon->token_keys.facts, secret, PAWL_SUBKEY_FACTS);
        pawl_subkey_derive(&daemon->mask_subkey, secret, PAWL_SUBKEY_MASK);
    }
    daemon->secret_count = daemon->token_keys.sid_count = index + 1;
}

/* @file NULL: the one in data_dir. */
static enum pawl_status take_secret(struct daemon *daemon, const char *file, bool seals,
                                    struct pawl_error *error)
{
    uint8_t secret[PAWL_SECRET_BYTES];
    enum pawl_status status = file == NULL ? pawl_secret_open(daemon->data_dir.fd, "secret",
                                                              &daemon->entropy, secret, error)
                                           : pawl_secret_read(AT_FDCWD, file, secret, error);

    if (status == PAWL_OK) {
        take_names(daemon, secret);
        if (seals) {
            take_seals(daemon, secret);
        }
    }
    pawl_wipe(secret, sizeof(secret));
    return status;
}

enum pawl_status pawl_build_secrets(struct daemon *daemon, struct pawl_error *error)
{
    const struct pawl_settings *settings = daemon->settings;

    enum pawl_status status = PAWL_OK;

    if (settings->names_secret_file[0] != '\0') {
        status = take_secret(daemon, settings->names_secret_file, false, error);
    }
    if (status == PAWL_OK && settings->secret_count == 0) {
        status = take_secret(daemon, NULL, true, error);
    }
    for (unsigned i = 0; status == PAWL_OK && i < settings->secret_count && i < PAWL_SID_KEYS;
         i++) {
        status = take_secret(daemon, settings->secret_files[i], true, error);
    }
    return status;
}

static bool release_facts(void *user, uint64_t offset, uint64_t size)
{
    return pawl_region_punch(user, offset, size);
}

enum pawl_status pawl_build_limiter(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_limiter_config config = {
        .memory_max = daemon->settings->memory_max_bytes,
        .subkey = daemon->limits_subkey,
        .slots = pawl_fleet_is_on(daemon) ? &daemon->slots_subkey : NULL,
        .persist = true,
        .release = pawl_region_release,
    };
    enum pawl_status status = pawl_region_map(&daemon->limiter_region, config.memory_max, error);

    if (status != PAWL_OK) {
        return status;
    }
    config.region = daemon->limiter_region.data;
    if (daemon->entropy.fill(daemon->entropy.self, config.salt, sizeof(config.salt)) != PAWL_OK ||
        daemon->entropy.fill(daemon->entropy.self, &config.life, sizeof(config.life)) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, 0, "the system gave no randomness");
    }
    status = pawl_limiter_init(&daemon->limiter, &config, error);
    daemon->limiter_open = status == PAWL_OK;
    return status;
}

enum pawl_status pawl_build_revocations(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_revocations_options options = {
        .max = daemon->settings->revocations_max,
        .release = release_facts,
        .user = &daemon->facts_region,
    };
    uint64_t size = pawl_revocations_size(options.max);
    enum pawl_status status =
        pawl_region_map_shared(&daemon->facts_region, "pawl-revocations", size, error);

    if (status != PAWL_OK) {
        return status;
    }
    if (daemon->entropy.fill(daemon->entropy.self, &options.generation,
                             sizeof(options.generation)) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, 0, "the system gave no randomness");
    }
    status = pawl_revocations_init(&daemon->revocations, daemon->facts_region.data, size, &options);
    if (status != PAWL_OK) {
        return pawl_error_set(error, status, 0, "revocations_max is out of range");
    }
    daemon->revocations_open = true;
    return PAWL_OK;
}

enum pawl_status pawl_build_store(struct daemon *daemon, const struct pawl_store_events *events,
                                  const struct pawl_counter_source *counters,
                                  struct pawl_store *store, struct pawl_error *error)
{
    struct pawl_sqlite_options options = {
        .path = daemon->data_dir.path,
        .dir_fd = daemon->data_dir.fd,
        .keys = daemon->store_keys,
        .keys_count = daemon->secret_count,
        .clock = &daemon->clock,
        .entropy = &daemon->entropy,
        .log = &daemon->log,
        .events = *events,
        .batch_max = (unsigned)daemon->settings->store.batch_max,
        .queue_max = (unsigned)daemon->settings->store.queue_max,
        .interval_ms = (unsigned)daemon->settings->store.counters_interval_ms,
        .counters_write_max = daemon->settings->store.counters_write_max_bytes,
        .max_lifetime_s = daemon->settings->tokens.max_lifetime_ms / 1000,
        .frozen = daemon->options.frozen,
        .test_clock = daemon->options.test_clock,
    };
    enum pawl_status status = pawl_sys_boot_id(options.boot_id);

    if (status != PAWL_OK) {
        return pawl_error_set(error, status, 0, "the machine has no boot id");
    }
    options.no_counters = counters == NULL;
    if (counters != NULL) {
        options.counters = *counters;
    }
    return pawl_sqlite_store_open(&options, store, error);
}

static enum pawl_status open_store(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_app *app = &daemon->app;
    const struct pawl_store_events events = { .on_fact = pawl_app_on_fact,
                                              .on_cancel = pawl_app_on_cancel,
                                              .on_counter = pawl_app_on_counter,
                                              .on_frozen = pawl_app_on_frozen,
                                              .self = app };
    const struct pawl_counter_source counters = { pawl_app_collect, pawl_app_unsaved_since, app };

    pawl_revocations_set_mode(&daemon->revocations, PAWL_REVOCATIONS_LOADING);
    return pawl_fleet_is_on(daemon)
               ? pawl_fleet_open(daemon, error)
               : pawl_build_store(daemon, &events, &counters, &app->store, error);
}

/* What operators look at, and the table of reservations. */
enum pawl_status pawl_build_limits_side(struct daemon *daemon, struct pawl_error *error)
{
    size_t leases_max = (size_t)daemon->settings->leases_max;
    struct pawl_id salt;
    enum pawl_status status =
        pawl_region_map(&daemon->leases_region, pawl_leases_size(leases_max), error);

    if (status != PAWL_OK) {
        return status;
    }
    if (daemon->entropy.fill(daemon->entropy.self, &salt, sizeof(salt)) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, 0, "the system gave no randomness");
    }
    if (pawl_leases_init(&daemon->leases, daemon->leases_region.data, leases_max, salt) !=
        PAWL_OK) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "leases_max is out of range");
    }
    daemon->app.leases = &daemon->leases;
    daemon->app.observe = pawl_observe_create(&daemon->mask_subkey, &daemon->clock);
    pawl_zoneinfo_init(&daemon->zones, NULL);
    return daemon->app.observe != NULL
               ? PAWL_OK
               : pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for figures of limits");
}

struct pawl_rules *pawl_build_rules(struct daemon *daemon, const struct pawl_settings *settings,
                                    struct pawl_error *error)
{
    const struct pawl_rules_world world = {
        .limiter = &daemon->limiter,
        .observe = daemon->app.observe,
        .zones = &daemon->zones,
        .store_birth_ms = daemon->birth_ms,
    };

    return pawl_rules_create(settings, &world, error);
}

enum pawl_status pawl_build_rules_check(const struct pawl_settings *settings,
                                        struct pawl_error *error)
{
    static const struct pawl_limiter no_limiter; /* of its subkey alone something is asked */
    static const struct pawl_subkey no_key;
    struct pawl_zones zones;
    struct pawl_observe *observe = pawl_observe_create(&no_key, NULL);
    const struct pawl_rules_world world = { &no_limiter, observe, &zones, 0 };

    if (observe == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "out of memory");
    }
    pawl_zoneinfo_init(&zones, NULL);
    struct pawl_rules *rules = pawl_rules_create(settings, &world, error);
    enum pawl_status status = rules != NULL ? PAWL_OK : error->status;

    pawl_rules_release(rules);
    pawl_observe_destroy(observe);
    return status;
}

enum pawl_status pawl_build_app(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_app *app = &daemon->app;
    struct pawl_stamp birth;
    struct pawl_origin origin;

    app->limiter = &daemon->limiter;
    app->revocations = &daemon->revocations;
    app->keys = &daemon->token_keys;
    app->clock = &daemon->clock;
    app->entropy = &daemon->entropy;
    app->log = &daemon->log;
    app->test_clock = daemon->options.test_clock;
    app->in_flight_max = (uint32_t)daemon->settings->server.in_flight_max;
    app->started_ms = pawl_clock_read(app->clock).stamp.us / 1000; /* before the load */
    enum pawl_status status = open_store(daemon, error);

    if (status != PAWL_OK) {
        return status;
    }
    app->started = pawl_clock_read(app->clock).instant;
    app->store.ops->identity(app->store.self, &birth, &origin);
    memcpy(app->node, origin.bytes, sizeof(app->node));
    daemon->birth_ms = birth.us / 1000;
    struct pawl_rules *rules = pawl_build_rules(daemon, daemon->settings, error);

    if (rules == NULL) {
        return error->status;
    }
    pawl_rules_slot_init(&app->rules, rules);
    daemon->rules_open = true;
    /* Who was born before this start, right after the latest cutoff that was loaded. */
    pawl_revocations_born(&daemon->revocations,
                          pawl_revocations_newborn_ms(&daemon->revocations.view));
    if (app->cluster == NULL && /* there the log says when all is known */
        pawl_revocations_get_mode(&daemon->revocations.view) == PAWL_REVOCATIONS_LOADING) {
        pawl_revocations_set_mode(&daemon->revocations, PAWL_REVOCATIONS_SERVING);
    }
    pawl_app_tick(app);
    return PAWL_OK;
}
