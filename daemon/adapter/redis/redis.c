/* See redis.h: options in, the port out. */
#include "inside.h"

#include "core/keyhash.h"

#include <stdlib.h>
#include <string.h>

/* ---- figures ---- */

static void stats(void *self, const struct pawl_stats_sink *sink)
{
    struct pawl_redis *redis = self;

#define LOAD(name) atomic_load_explicit(&redis->figures.name, memory_order_relaxed)
#define X(name)    sink->number(sink->self, #name, LOAD(name));
    PAWL_REDIS_FIGURES(X)
#undef X
    sink->number(sink->self, "engine_in_flight", LOAD(in_flight));
#undef LOAD
}

static const struct pawl_engine_ops ops = { pawl_redis_emit, stats, pawl_redis_close };

struct pawl_engine pawl_redis_engine(struct pawl_redis *redis)
{
    return redis->engine;
}

/* ---- options ---- */

/* @text, or @other where it is NULL or empty; false: it has no room. */
static bool take_text(char *out, size_t room, const char *text, const char *other)
{
    const char *from = text != NULL && text[0] != '\0' ? text : other;
    size_t size = strlen(from);

    if (size >= room) {
        return false;
    }
    memcpy(out, from, size + 1);
    return true;
}

static bool is_plain(const char *text, const char *more)
{
    for (; *text != '\0'; text++) {
        if (!(*text >= 'a' && *text <= 'z') && !(*text >= 'A' && *text <= 'Z') &&
            !(*text >= '0' && *text <= '9') && strchr(more, *text) == NULL) {
            return false;
        }
    }
    return true;
}

static bool take_places(struct pawl_redis_places *places, const struct pawl_redis_address *list,
                        unsigned count)
{
    if (count > PAWL_REDIS_ADDRESSES_MAX) {
        return false;
    }
    places->count = count;
    for (unsigned i = 0; i < count; i++) {
        if (list[i].host == NULL || list[i].host[0] == '\0' ||
            !take_text(places->places[i].host, sizeof(places->places[i].host), list[i].host, "")) {
            return false;
        }
        places->places[i].port = list[i].port;
        places->places[i].context = list[i].context;
    }
    return true;
}

static enum pawl_status take_where(struct pawl_redis *redis,
                                   const struct pawl_redis_options *options,
                                   struct pawl_error *error)
{
    bool named = options->sentinel_name != NULL && options->sentinel_name[0] != '\0';

    if (named ? options->address_count > 0 || options->sentinel_count == 0
              : options->address_count == 0 || options->sentinel_count > 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "either addresses of the engine, or a name and sentinels");
    }
    if (!take_places(&redis->servers, options->addresses, options->address_count) ||
        !take_places(&redis->sentinels, options->sentinels, options->sentinel_count) ||
        !take_text(redis->master, sizeof(redis->master), options->sentinel_name, "")) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "addresses: up to %d, each up to %d bytes",
                              PAWL_REDIS_ADDRESSES_MAX, PAWL_REDIS_HOST_MAX - 1);
    }
    redis->named.context = options->context;
    return PAWL_OK;
}

static enum pawl_status take_who(struct pawl_redis *redis, const struct pawl_redis_options *options,
                                 struct pawl_error *error)
{
    if (!take_text(redis->login.user, sizeof(redis->login.user), options->user, "") ||
        !take_text(redis->login.password, sizeof(redis->login.password), options->password, "") ||
        !take_text(redis->sentinel_login.user, sizeof(redis->sentinel_login.user),
                   options->sentinel_user, "") ||
        !take_text(redis->sentinel_login.password, sizeof(redis->sentinel_login.password),
                   options->sentinel_password, "") ||
        !take_text(redis->tls_name, sizeof(redis->tls_name), options->tls_name, "")) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a user or a password is too long");
    }
    if (!take_text(redis->client_name, sizeof(redis->client_name), options->client_name, "pawld") ||
        !is_plain(redis->client_name, "_-.:@/")) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "the client's name: no blanks, up to %d bytes",
                              PAWL_REDIS_NAME_MAX - 1);
    }
    if (!take_text(redis->encoder.prefix, sizeof(redis->encoder.prefix), options->prefix, "pawl") ||
        !is_plain(redis->encoder.prefix, "_-.")) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "the prefix: letters, digits, \"_-.\", up to %d bytes",
                              PAWL_REDIS_PREFIX_MAX);
    }
    return PAWL_OK;
}

static enum pawl_status start(struct pawl_redis *redis)
{
    redis->tick = redis->net.ops->timer(redis->net.self, pawl_redis_on_tick, redis);
    redis->retry = redis->net.ops->timer(redis->net.self, pawl_redis_begin, redis);
    if (redis->tick == NULL || redis->retry == NULL) {
        return PAWL_ENOMEM;
    }
    redis->tick_ms = UINT64_MAX;
    redis->since_ms = pawl_redis_now_ms(redis);
    redis->net.ops->start(redis->retry, 0);
    return PAWL_OK;
}

enum pawl_status pawl_redis_create(const struct pawl_redis_options *options,
                                   const struct pawl_engine_events *events, struct pawl_redis **out,
                                   struct pawl_error *error)
{
    struct pawl_redis *redis = calloc(1, sizeof(*redis));
    enum pawl_status status;

    *out = NULL;
    if (redis == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for the engine");
    }
    redis->net = *options->net;
    redis->log = *options->log;
    redis->entropy = *options->entropy;
    redis->events = *events;
    redis->engine.ops = &ops;
    redis->engine.self = redis;
    redis->timeout_ms = options->command_timeout_ms > 0 ? options->command_timeout_ms : 1000;
    redis->strict = options->strict;
    status = take_where(redis, options, error);
    if (status == PAWL_OK) {
        status = take_who(redis, options, error);
    }
    if (status == PAWL_OK) {
        status = start(redis);
    }
    if (status != PAWL_OK) {
        pawl_redis_destroy(redis);
        return status;
    }
    *out = redis;
    return PAWL_OK;
}

static void renew(struct pawl_tls_context **context, struct pawl_tls_context *newer)
{
    if (*context != NULL && newer != NULL) {
        *context = newer;
    }
}

void pawl_redis_set_contexts(struct pawl_redis *redis, struct pawl_tls_context *engine,
                             struct pawl_tls_context *sentinel)
{
    for (unsigned i = 0; i < redis->servers.count; i++) {
        renew(&redis->servers.places[i].context, engine);
    }
    for (unsigned i = 0; i < redis->sentinels.count; i++) {
        renew(&redis->sentinels.places[i].context, sentinel);
    }
    renew(&redis->named.context, engine);
}

static void change_text(char *out, size_t capacity, const char *text)
{
    if (text == NULL || strlen(text) >= capacity) {
        return;
    }
    pawl_wipe(out, capacity);
    memcpy(out, text, strlen(text) + 1);
}

void pawl_redis_set_passwords(struct pawl_redis *redis, const char *password,
                              const char *sentinel_password)
{
    change_text(redis->login.password, sizeof(redis->login.password), password);
    change_text(redis->sentinel_login.password, sizeof(redis->sentinel_login.password),
                sentinel_password);
}

void pawl_redis_destroy(struct pawl_redis *redis)
{
    if (redis == NULL) {
        return;
    }
    redis->net.ops->release(redis->tick);
    redis->net.ops->release(redis->retry);
    for (unsigned i = 0; i < redis->block_count; i++) {
        free(redis->blocks[i]);
    }
    pawl_wipe(redis, sizeof(*redis));
    free(redis);
}
