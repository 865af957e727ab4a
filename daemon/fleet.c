#include "fleet.h"

#include <stdlib.h>
#include <string.h>

#include "adapter/tls/tls.h"
#include "daemon.h"

#define LOADED_FIRST ((size_t)1 << 20)

bool pawl_fleet_is_on(const struct daemon *daemon)
{
    return daemon->settings->cluster.on;
}

void pawl_fleet_hurry_names(void)
{
    (void)setenv("RES_OPTIONS", "timeout:1 attempts:2", 0);
}

/* ---- where the engine is ------------------------------------------------------------------- */

static const char *keep_text(struct pawl_fleet_engine *engine, const char *text)
{
    char *copy = strdup(text);

    if (copy != NULL) {
        engine->texts[engine->text_count++] = copy;
    }
    return copy;
}

/* False: no memory. */
static bool keep_addresses(struct pawl_fleet_engine *engine, struct pawl_redis_settings *to,
                           const struct pawl_redis_settings *from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        to[i] = (struct pawl_redis_settings){ .host = keep_text(engine, from[i].host),
                                              .port = from[i].port,
                                              .secure = from[i].secure };
        if (to[i].host == NULL) {
            return false;
        }
    }
    return true;
}

static enum pawl_status keep_engine(struct pawl_fleet_engine *engine,
                                    const struct pawl_cluster_settings *from,
                                    struct pawl_error *error)
{
    engine->redis_count = from->redis_count;
    engine->sentinel_count = from->sentinel_count;
    engine->sentinel_name = keep_text(engine, from->sentinel_name);
    engine->user = keep_text(engine, from->user);
    engine->sentinel_user = keep_text(engine, from->sentinel_user);
    engine->tls_name = keep_text(engine, from->tls_name);
    engine->prefix = keep_text(engine, from->prefix);
    engine->command_timeout_ms = (uint32_t)from->command_timeout_ms;
    engine->strict = from->strict;
    return engine->text_count == 5 &&
                   keep_addresses(engine, engine->redis, from->redis, from->redis_count) &&
                   keep_addresses(engine, engine->sentinels, from->sentinels, from->sentinel_count)
               ? PAWL_OK
               : pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for the engine's addresses");
}

static void forget_engine(struct pawl_fleet_engine *engine)
{
    while (engine->text_count > 0) {
        free(engine->texts[--engine->text_count]);
    }
}

/* ---- the engine, on the cluster's thread ---------------------------------------------------- */

static void copy_addresses(struct pawl_redis_address *out, const struct pawl_redis_settings *from,
                           unsigned count, struct pawl_tls_context *context)
{
    for (unsigned i = 0; i < count; i++) {
        out[i] = (struct pawl_redis_address){ .host = from[i].host,
                                              .port = from[i].port,
                                              .context = from[i].secure ? context : NULL };
    }
}

static enum pawl_status engine_create(void *ctx, const struct pawl_net *net,
                                      const struct pawl_engine_events *events,
                                      struct pawl_engine *engine, struct pawl_error *error)
{
    struct pawl_fleet *fleet = ctx;
    const struct pawl_fleet_engine *from = &fleet->engine;
    const struct pawl_outward_set *set = &fleet->shown;
    struct pawl_redis_address addresses[PAWL_SETTINGS_REDIS_MAX];
    struct pawl_redis_address sentinels[PAWL_SETTINGS_REDIS_MAX];

    pawl_outward_put(&fleet->shown); /* of an attempt before */
    pawl_outward_get(&fleet->outward, &fleet->shown);
    struct pawl_redis_options options = {
        .addresses = addresses,
        .address_count = from->redis_count,
        .sentinel_name = from->sentinel_name,
        .sentinels = sentinels,
        .sentinel_count = from->sentinel_count,
        .context = set->engine,
        .user = from->user,
        .password = set->password,
        .sentinel_user = from->sentinel_user,
        .sentinel_password = set->sentinel_password,
        .tls_name = from->tls_name,
        .prefix = from->prefix,
        .command_timeout_ms = from->command_timeout_ms,
        .strict = from->strict,
        .net = net,
        .log = &fleet->daemon->log,
        .entropy = &fleet->daemon->entropy,
    };

    copy_addresses(addresses, from->redis, from->redis_count, set->engine);
    copy_addresses(sentinels, from->sentinels, from->sentinel_count, set->engine);
    struct pawl_redis *redis = NULL;
    enum pawl_status status = pawl_redis_create(&options, events, &redis, error);

    if (status == PAWL_OK) {
        *engine = pawl_redis_engine(redis);
        atomic_store(&fleet->redis, redis);
    }
    return status;
}

/* Nobody asks for figures any more when the engine ends: the server has. */
static void engine_stats(void *ctx, const struct pawl_stats_sink *sink)
{
    struct pawl_fleet *fleet = ctx;
    struct pawl_redis *redis = atomic_load(&fleet->redis);

    if (redis != NULL) {
        struct pawl_engine engine = pawl_redis_engine(redis);

        engine.ops->stats(engine.self, sink);
    }
}

static void engine_destroy(void *ctx)
{
    struct pawl_fleet *fleet = ctx;

    pawl_redis_destroy(atomic_exchange(&fleet->redis, NULL));
    pawl_outward_put(&fleet->shown);
}

/* ---- the journal --------------------------------------------------------------------------- */

/* While it is opened its facts are put aside: the log that takes them has the journal's identity.
 */
static void put_aside(void *self, const struct pawl_fact *fact)
{
    struct pawl_fleet *fleet = self;
    uint8_t bytes[PAWL_FACT_BYTES_MAX];
    size_t size = 0;

    if (fleet->loaded_capacity - fleet->loaded_size < sizeof(bytes) + 2) {
        size_t capacity = fleet->loaded_capacity == 0 ? LOADED_FIRST : 2 * fleet->loaded_capacity;
        uint8_t *larger = realloc(fleet->loaded, capacity);

        if (larger == NULL) {
            fleet->load_short = true;
            return;
        }
        fleet->loaded = larger;
        fleet->loaded_capacity = capacity;
    }
    if (pawl_fact_encode(fact, bytes, sizeof(bytes), &size) == PAWL_OK) {
        fleet->loaded[fleet->loaded_size] = (uint8_t)size;
        fleet->loaded[fleet->loaded_size + 1] = (uint8_t)(size >> 8);
        memcpy(fleet->loaded + fleet->loaded_size + 2, bytes, size);
        fleet->loaded_size += size + 2;
    }
}

static void journal_fact(void *self, const struct pawl_fact *fact)
{
    const struct pawl_fleet *fleet = self;

    if (fleet->cluster != NULL) { /* a thaw's; those of the opening come row by row */
        pawl_cluster_load(fleet->cluster, fact);
    }
}

static void journal_frozen(void *self, bool frozen, const char *reason)
{
    const struct pawl_fleet *fleet = self;

    pawl_app_on_frozen(&fleet->daemon->app, frozen, reason);
}

static void hand_over_loaded(struct pawl_fleet *fleet)
{
    size_t at = 0;

    while (at < fleet->loaded_size) {
        size_t size = fleet->loaded[at] | (size_t)fleet->loaded[at + 1] << 8;
        struct pawl_fact fact;

        if (pawl_fact_decode(&fact, pawl_bytes_of(fleet->loaded + at + 2, size)) == PAWL_OK) {
            pawl_cluster_load(fleet->cluster, &fact);
        }
        at += size + 2;
    }
    free(fleet->loaded);
    fleet->loaded = NULL;
    fleet->loaded_size = 0;
    fleet->loaded_capacity = 0;
}

static enum pawl_status open_journal(struct pawl_fleet *fleet, struct pawl_error *error)
{
    const struct pawl_store_events events = {
        .on_row = put_aside, .on_fact = journal_fact, .on_frozen = journal_frozen, .self = fleet
    };

    if (fleet->daemon->settings->data_dir[0] == '\0') {
        return PAWL_OK;
    }
    enum pawl_status status =
        pawl_build_store(fleet->daemon, &events, NULL, &fleet->journal, error);

    if (status == PAWL_OK && fleet->load_short) {
        status = pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for the facts of the journal");
    }
    return status;
}

/* ---- life ---------------------------------------------------------------------------------- */

static enum pawl_status who(struct pawl_fleet *fleet, struct pawl_stamp *birth,
                            struct pawl_origin *origin, struct pawl_error *error)
{
    struct daemon *daemon = fleet->daemon;

    if (fleet->journal.ops != NULL) {
        fleet->journal.ops->identity(fleet->journal.self, birth, origin);
        return PAWL_OK;
    }
    *birth = pawl_clock_read(&daemon->clock).stamp;
    return daemon->entropy.fill(daemon->entropy.self, origin->bytes, sizeof(origin->bytes)) ==
                   PAWL_OK
               ? PAWL_OK
               : pawl_error_set(error, PAWL_EIO, 0, "the system gave no randomness");
}

static enum pawl_status make_cluster(struct pawl_fleet *fleet, struct pawl_error *error)
{
    struct daemon *daemon = fleet->daemon;
    const struct pawl_settings *settings = daemon->settings;
    struct pawl_cluster_ack acks[PAWL_CLUSTER_ACKS_MAX];
    unsigned ack_count = settings->cluster.ack_count;
    struct pawl_subkey facts[PAWL_SECRETS_MAX], limits[PAWL_SECRETS_MAX];
    struct pawl_cluster_options options = {
        .maker = { engine_create, engine_destroy, engine_stats, fleet },
        .tls = &fleet->tls,
        .advertise = settings->cluster.advertise,
        .seeds = settings->cluster.seeds,
        .peer_name = settings->cluster.peer_name,
        .version = PAWL_VERSION,
        .facts = facts,
        .limits = limits,
        .secrets_count = daemon->secret_count,
        .slots = &daemon->slots_subkey,
        .limiter = &daemon->limiter,
        .revocations = &daemon->revocations,
        .journal = fleet->journal,
        .events = { .on_fact = pawl_app_on_fact,
                    .on_cancel = pawl_app_on_cancel,
                    .self = &daemon->app },
        .ack = (enum pawl_ack)settings->cluster.ack,
        .acks = acks,
        .ack_count = ack_count,
        .staleness_max_ms = settings->tokens.staleness_max_ms,
        .max_lifetime_s = settings->tokens.max_lifetime_ms / 1000,
        .facts_max = settings->revocations_max,
        .command_ms = (uint32_t)settings->cluster.command_timeout_ms,
        .interval_ms = (uint32_t)settings->store.counters_interval_ms,
        .strict_gate = settings->cluster.strict,
        .queue_max = (unsigned)settings->store.queue_max,
        /* A member asks for several pages at once, over one connection. */
        .page_bytes = settings->server.output_max_bytes / 4 - 4096,
        .clock = &daemon->clock,
        .entropy = &daemon->entropy,
        .log = &daemon->log,
        .audit = daemon->app.audit,
    };

    if (ack_count > PAWL_CLUSTER_ACKS_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "cluster.acks: at most %d namespaces",
                              PAWL_CLUSTER_ACKS_MAX);
    }
    for (unsigned i = 0; i < ack_count; i++) {
        acks[i].ns = settings->cluster.acks[i].ns;
        acks[i].ack = (enum pawl_ack)settings->cluster.acks[i].ack;
    }
    for (unsigned i = 0; i < daemon->secret_count; i++) {
        facts[i] = daemon->store_keys[i].facts;
        limits[i] = daemon->store_keys[i].limits;
    }
    enum pawl_status status = who(fleet, &options.birth, &options.self, error);

    status = status == PAWL_OK ? pawl_cluster_create(&options, &fleet->cluster, error) : status;
    pawl_wipe(facts, sizeof(facts));
    pawl_wipe(limits, sizeof(limits));
    return status;
}

enum pawl_status pawl_fleet_open(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_fleet *fleet = &daemon->fleet;

    fleet->daemon = daemon;
    if (daemon->options.test_clock) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "--test-clock and a cluster section do not go together: leases "
                              "between members need a clock that runs");
    }
    pawl_outward_init(&fleet->outward, &daemon->clock, &daemon->log);
    fleet->outward_open = true;
    fleet->tls.ops = &pawl_tls_ops;
    enum pawl_status status = pawl_outward_build(&fleet->outward, daemon->settings, error);

    status =
        status == PAWL_OK ? keep_engine(&fleet->engine, &daemon->settings->cluster, error) : status;
    status = status == PAWL_OK ? open_journal(fleet, error) : status;
    status = status == PAWL_OK ? make_cluster(fleet, error) : status;
    if (status != PAWL_OK) {
        return status;
    }
    hand_over_loaded(fleet);
    daemon->app.store = pawl_cluster_store(fleet->cluster);
    daemon->app.cluster = pawl_cluster_world(fleet->cluster);
    return PAWL_OK;
}

/* Another set of certificates and passwords; on the cluster's thread, whose references it has. */
static void take_shown(void *ctx)
{
    struct pawl_fleet *fleet = ctx;
    struct pawl_outward_set old = fleet->shown;

    if (fleet->redis == NULL) {
        return;
    }
    pawl_outward_get(&fleet->outward, &fleet->shown);
    pawl_redis_set_contexts(fleet->redis, fleet->shown.engine, fleet->shown.engine);
    pawl_redis_set_passwords(fleet->redis, fleet->shown.password, fleet->shown.sentinel_password);
    pawl_outward_put(&old);
}

static void outward_changed(void *ctx, const struct pawl_outward_set *set)
{
    struct pawl_fleet *fleet = ctx;

    pawl_world_set_context(pawl_cluster_world(fleet->cluster), set->peers);
    pawl_cluster_call(fleet->cluster, take_shown, fleet);
}

enum pawl_status pawl_fleet_start(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_fleet *fleet = &daemon->fleet;
    const struct pawl_outward_set *set =
        pawl_outward_start(&fleet->outward, outward_changed, fleet);

    pawl_world_set_context(pawl_cluster_world(fleet->cluster), set->peers);
    enum pawl_status status = pawl_cluster_start(fleet->cluster, error);

    fleet->started = status == PAWL_OK;
    if (fleet->started && !pawl_cluster_wait_joined(fleet->cluster, PAWL_FLEET_JOIN_MS)) {
        pawl_log_event(&daemon->log, PAWL_LOG_WARN, "not_joined",
                       PAWL_F_TEXT("why", "the engine or the members do not answer; checks follow "
                                          "on_error until they do"));
    }
    return status;
}

struct pawl_reload_part pawl_fleet_part(struct daemon *daemon)
{
    return pawl_outward_part(&daemon->fleet.outward);
}

/* The store is as old as the oldest that a member brought along: rules judge tokens by that. */
void pawl_fleet_tick(struct daemon *daemon)
{
    struct pawl_fleet *fleet = &daemon->fleet;
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_origin origin;
    struct pawl_stamp birth;

    if (!fleet->started) {
        return;
    }
    pawl_cluster_set_staleness(fleet->cluster, daemon->settings->tokens.staleness_max_ms);
    daemon->app.store.ops->identity(daemon->app.store.self, &birth, &origin);
    if (birth.us / 1000 >= daemon->birth_ms) {
        return;
    }
    daemon->birth_ms = birth.us / 1000;
    struct pawl_rules *rules = pawl_build_rules(daemon, daemon->settings, &error);

    if (rules != NULL) {
        pawl_rules_publish(&daemon->app.rules, rules);
    }
}

/* The cluster's thread. */
static void on_left(void *ctx)
{
    struct daemon *daemon = ctx;

    pawl_server_go_on(daemon->server);
}

bool pawl_fleet_leave(struct daemon *daemon)
{
    struct pawl_fleet *fleet = &daemon->fleet;

    if (!fleet->started || fleet->leaving) {
        return false;
    }
    fleet->leaving = true;
    pawl_cluster_leave(fleet->cluster, (uint32_t)(daemon->settings->server.drain_timeout_ms / 2),
                       on_left, daemon);
    return true;
}

void pawl_fleet_close(struct daemon *daemon)
{
    struct pawl_fleet *fleet = &daemon->fleet;

    if (fleet->cluster != NULL) {
        pawl_cluster_close(fleet->cluster);
    }
    if (fleet->journal.ops != NULL) {
        fleet->journal.ops->close(fleet->journal.self);
        fleet->journal.ops = NULL;
    }
    fleet->started = false;
}

void pawl_fleet_destroy(struct daemon *daemon)
{
    struct pawl_fleet *fleet = &daemon->fleet;

    pawl_cluster_destroy(fleet->cluster);
    fleet->cluster = NULL;
    forget_engine(&fleet->engine);
    free(fleet->loaded);
    fleet->loaded = NULL;
    if (fleet->outward_open) {
        pawl_outward_deinit(&fleet->outward);
        fleet->outward_open = false;
    }
}
