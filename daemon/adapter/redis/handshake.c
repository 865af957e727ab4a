/*
 * See inside.h: what a new connection has to show before anything else goes over it.
 *
 * Services forbid commands. What cannot be asked is not required: without INFO the role comes from
 * ROLE, and each connection counts as an epoch of its own; without both the first write tells.
 */
#include "inside.h"

#include "core/keyhash.h"

#include <hiredis/hiredis.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define VERSION_MIN 700 /* 7.0: "#!lua", PEXPIREAT GT, INFO with the role in scripts */

static enum pawl_status send_step(struct pawl_redis *redis, struct pawl_redis_link *link,
                                  enum pawl_redis_step step, const char *bytes, size_t size)
{
    struct pawl_redis_pending *pending = pawl_redis_take(redis);
    enum pawl_status status;

    pending->step = step;
    status = pawl_redis_send(link, bytes, size, pending);
    if (status != PAWL_OK) {
        pawl_redis_give_back(redis, pending);
        return status;
    }
    link->steps++;
    return PAWL_OK;
}

enum pawl_status pawl_redis_ask(struct pawl_redis *redis, struct pawl_redis_link *link,
                                enum pawl_redis_step step, const char *const *words)
{
    char *bytes = NULL;
    size_t size = 0;
    enum pawl_status status = pawl_redis_encode_words(words, &bytes, &size);

    if (status != PAWL_OK) {
        return status;
    }
    status = send_step(redis, link, step, bytes, size);
    if (step == PAWL_STEP_AUTH) {
        pawl_wipe(bytes, size);
    }
    redisFreeSdsCommand(bytes);
    return status;
}

enum pawl_status pawl_redis_ask_login(struct pawl_redis *redis, struct pawl_redis_link *link,
                                      const struct pawl_redis_login *login)
{
    const char *words[4] = { "AUTH", login->password, NULL, NULL };

    if (login->password[0] == '\0') {
        return PAWL_OK;
    }
    if (login->user[0] != '\0') {
        words[1] = login->user;
        words[2] = login->password;
    }
    return pawl_redis_ask(redis, link, PAWL_STEP_AUTH, words);
}

enum pawl_status pawl_redis_greet(struct pawl_redis *redis, struct pawl_redis_link *link)
{
    char key[PAWL_REDIS_KEY_MAX];
    const char *const touch[] = { "EXISTS", key, NULL };
    const char *const name[] = { "CLIENT", "SETNAME", redis->client_name, NULL };
    static const char *const id[] = { "CLIENT", "ID", NULL };
    static const char *const no_evict[] = { "CLIENT", "NO-EVICT", "ON", NULL };
    static const char *const server[] = { "INFO", "server", NULL };
    static const char *const replication[] = { "INFO", "replication", NULL };
    static const char *const memory[] = { "INFO", "memory", NULL };
    static const char *const persistence[] = { "INFO", "persistence", NULL };
    static const char *const config[] = { "CONFIG", "GET", "min-replicas-to-write", NULL };
    const struct {
        enum pawl_redis_step step;
        const char *const *words;
        bool main_only;
    } steps[] = {
        { PAWL_STEP_NAME, name, false },
        { PAWL_STEP_ID, id, false },
        { PAWL_STEP_NO_EVICT, no_evict, false },
        { PAWL_STEP_SERVER, server, false },
        { PAWL_STEP_REPLICATION, replication, false },
        { PAWL_STEP_MEMORY, memory, true },
        { PAWL_STEP_MEMORY, persistence, true },
        { PAWL_STEP_MIN_REPLICAS, config, true },
        { PAWL_STEP_TOUCH, touch, true },
    };
    enum pawl_status status = pawl_redis_ask_login(redis, link, &redis->login);

    (void)snprintf(key, sizeof(key), "{%s:m}:view", redis->encoder.prefix);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && status == PAWL_OK; i++) {
        if (!steps[i].main_only || link == redis->main) {
            status = pawl_redis_ask(redis, link, steps[i].step, steps[i].words);
        }
    }
    return status;
}

/* ---- answers ---- */

/* @step stays the one that failed first. */
static void refuse(struct pawl_redis_link *link, enum pawl_redis_step step, const char *format,
                   struct pawl_bytes text)
{
    if (link->refusal[0] == '\0') {
        link->failed_step = step;
        (void)snprintf(link->refusal, sizeof(link->refusal), format,
                       (int)(text.size < 160 ? text.size : 160), (const char *)text.data);
    }
}

static void note_error(struct pawl_redis_link *link, enum pawl_redis_step step,
                       struct pawl_bytes text)
{
    switch (step) {
    case PAWL_STEP_AUTH:
        refuse(link, step, "the password is refused: %.*s", text);
        return;
    case PAWL_STEP_SERVER:
    case PAWL_STEP_REPLICATION:
        link->info_denied = true;
        break;
    case PAWL_STEP_ROLE:
        link->role_unknown = true;
        break;
    case PAWL_STEP_TOUCH:
        refuse(link, step, "%.*s", text);
        return;
    default:
        break; /* may be forbidden */
    }
    if (pawl_redis_begins(text, "NOAUTH")) {
        refuse(link, PAWL_STEP_AUTH, "a password is wanted: %.*s", text);
    } else if (pawl_redis_trouble_of(text) != PAWL_TROUBLE_COMMAND) {
        refuse(link, step, "%.*s", text);
    }
}

/* Keys of one script have several slots there: each announcement would be an error. */
static const char *wrong_kind(const struct pawl_redis_info *info)
{
    if (strcmp(info->mode, "cluster") == 0) {
        return "it runs as Redis Cluster (cluster-enabled yes), which is not supported: give a "
               "server of its own, alone or under Sentinel";
    }
    if (strcmp(info->mode, "sentinel") == 0) {
        return "it is a Sentinel: write it under cluster.sentinel.nodes";
    }
    return NULL;
}

void pawl_redis_note(struct pawl_redis_link *link, enum pawl_redis_step step,
                     const struct pawl_resp *value)
{
    struct pawl_bytes text = { NULL, 0 };
    const char *why;
    uint64_t number;

    if (value->type == PAWL_RESP_ERROR) {
        note_error(link, step, value->text);
        return;
    }
    switch (step) {
    case PAWL_STEP_ID:
        if (pawl_resp_integer(value, &number)) {
            link->client_id = (int64_t)number;
        }
        break;
    case PAWL_STEP_SERVER:
    case PAWL_STEP_REPLICATION:
    case PAWL_STEP_MEMORY:
    case PAWL_STEP_PROBE:
        if (pawl_resp_text(value, &text)) {
            pawl_redis_info_parse(&link->info, text);
        }
        why = wrong_kind(&link->info); /* before a key is asked for: that error says less */
        if (why != NULL) {
            refuse(link, step, "%.*s", pawl_bytes_of(why, strlen(why)));
        }
        break;
    case PAWL_STEP_ROLE:
        if (pawl_resp_text(pawl_resp_first(value), &text)) {
            link->info.has_role = true;
            link->info.is_master = pawl_redis_begins(text, "master");
        }
        break;
    case PAWL_STEP_MIN_REPLICAS:
        if (pawl_resp_count(value) == 2 &&
            pawl_resp_number(pawl_resp_first(value)->next, &number) && number < UINT_MAX) {
            link->min_replicas = (unsigned)number;
        }
        break;
    default:
        break;
    }
}

/* ---- the verdict ---- */

static bool refuse_state(struct pawl_redis *redis, const char *why)
{
    (void)snprintf(redis->state.warning, sizeof(redis->state.warning), "%s", why);
    return false;
}

static void warn(struct pawl_redis *redis, bool unsafe, const char *text)
{
    size_t used = strlen(redis->state.warning);

    redis->state.unsafe = redis->state.unsafe || unsafe;
    (void)snprintf(redis->state.warning + used, sizeof(redis->state.warning) - used, "%s%s",
                   used > 0 ? "; " : "", text);
}

/* Without run_id and replid each pair of connections is a life of its own: all is said again. */
static bool take_epoch(struct pawl_redis *redis)
{
    if (pawl_redis_info_has_epoch(&redis->info)) {
        redis->state.epoch = pawl_redis_info_epoch(&redis->info);
        return true;
    }
    warn(redis, true,
         "INFO does not say which primary this is: nodes cannot agree on its life, and several of "
         "them exchange hardly any refresh token; permit INFO");
    return redis->entropy.fill(redis->entropy.self, redis->state.epoch.bytes,
                               sizeof(redis->state.epoch.bytes)) == PAWL_OK;
}

static void judge_memory(struct pawl_redis *redis)
{
    const struct pawl_redis_info *info = &redis->info;

    if (strncmp(info->policy, "allkeys-", 8) == 0) {
        warn(redis, true,
             "maxmemory-policy is allkeys-*: revocations may be evicted; "
             "set volatile-ttl");
    } else if (strcmp(info->policy, "noeviction") == 0 && info->maxmemory > 0) {
        warn(redis, false,
             "maxmemory-policy is noeviction: counters may fill the memory, and "
             "new ones are refused then; set volatile-ttl");
    } else if (strncmp(info->policy, "volatile-", 9) == 0 &&
               strcmp(info->policy, "volatile-ttl") != 0 && info->maxmemory > 0) {
        warn(redis, false,
             "maxmemory-policy evicts refresh families before counters that end sooner; "
             "set volatile-ttl");
    } else if (info->policy[0] == '\0') {
        warn(redis, false, "maxmemory-policy cannot be read");
    }
}

/* Without a file its restart is an engine that was emptied; nodes say again what they know. */
static void judge_file(struct pawl_redis *redis)
{
    if (redis->info.has_aof && !redis->info.aof) {
        warn(redis, false,
             "appendonly is no: its restart forgets refresh families; set appendonly yes");
    }
}

static void judge_replicas(struct pawl_redis *redis)
{
    if (redis->info.replicas > 0 && redis->main->min_replicas == 0) {
        warn(redis, false,
             "min-replicas-to-write is 0: a primary that is cut off goes on taking "
             "writes; set 1, and min-replicas-max-lag 2");
    }
}

bool pawl_redis_judge(struct pawl_redis *redis)
{
    const struct pawl_redis_link *main = redis->main;

    memset(&redis->state, 0, sizeof(redis->state));
    redis->info = main->info;
    if (main->info.has_role && !main->info.is_master) {
        return refuse_state(redis, "it is a replica");
    }
    if (strcmp(main->info.run_id, redis->tail->info.run_id) != 0 ||
        strcmp(main->info.replid, redis->tail->info.replid) != 0) {
        return refuse_state(redis, "two connections lead to different servers");
    }
    if (main->info.version != 0 && main->info.version < VERSION_MIN) {
        return refuse_state(redis, "it is older than Redis 7.0: upgrade it");
    }
    if (!take_epoch(redis)) {
        return refuse_state(redis, "no randomness");
    }
    judge_memory(redis);
    if (redis->strict && redis->state.unsafe) {
        return false;
    }
    judge_replicas(redis);
    judge_file(redis);
    redis->state.replicas = redis->info.replicas;
    (void)snprintf(redis->state.version, sizeof(redis->state.version), "%s", redis->info.flavour);
    pawl_redis_place_text(&redis->current, redis->state.address, sizeof(redis->state.address));
    return true;
}
