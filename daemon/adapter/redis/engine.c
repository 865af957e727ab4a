/*
 * See inside.h: the state machine.
 *
 *   RESTING --> SEEKING --> GREETING --> UP      with Sentinel
 *   RESTING --------------> GREETING --> UP      with addresses
 *   any of these --> RESTING   something failed: pawl_redis_fail(), pawl_redis_next()
 *   any --> CLOSING --> CLOSED
 *
 * Nothing is believed that lasts: a lost connection, a late or senseless answer, another epoch or
 * role all end in the same place, where everything outstanding is told and all begins again.
 */
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AGAIN_MS    30000
#define STALL_MIN_MS    2000 /* silence of a server that owes an answer */
#define USER_TIMEOUT_MS 5000

#define BIT(phase) (1U << (phase))

static const unsigned moves[] = {
    [PAWL_REDIS_RESTING] = BIT(PAWL_REDIS_RESTING) | BIT(PAWL_REDIS_SEEKING) |
                           BIT(PAWL_REDIS_GREETING) | BIT(PAWL_REDIS_CLOSING),
    [PAWL_REDIS_SEEKING] =
        BIT(PAWL_REDIS_RESTING) | BIT(PAWL_REDIS_GREETING) | BIT(PAWL_REDIS_CLOSING),
    [PAWL_REDIS_GREETING] = BIT(PAWL_REDIS_RESTING) | BIT(PAWL_REDIS_UP) | BIT(PAWL_REDIS_CLOSING),
    [PAWL_REDIS_UP] = BIT(PAWL_REDIS_RESTING) | BIT(PAWL_REDIS_CLOSING),
    [PAWL_REDIS_CLOSING] = BIT(PAWL_REDIS_CLOSED),
    [PAWL_REDIS_CLOSED] = 0,
};

void pawl_redis_enter(struct pawl_redis *redis, enum pawl_redis_phase phase)
{
    if ((moves[redis->phase] & BIT(phase)) == 0) {
        abort();
    }
    redis->phase = phase;
    redis->since_ms = pawl_redis_now_ms(redis);
}

/* ---- timers ---- */

static void tick_in(struct pawl_redis *redis, uint32_t ms)
{
    redis->tick_ms = pawl_redis_now_ms(redis) + ms;
    redis->net.ops->start(redis->tick, ms);
}

void pawl_redis_hurry(struct pawl_redis *redis)
{
    if (redis->tick_ms > pawl_redis_now_ms(redis) + PAWL_REDIS_TICK_MS) {
        tick_in(redis, PAWL_REDIS_TICK_MS);
    }
}

/* Between 3/4 and 5/4 of it, so that a fleet does not come back in step. */
static uint32_t jittered(struct pawl_redis *redis, uint32_t ms)
{
    uint32_t random = 0;

    if (redis->entropy.fill(redis->entropy.self, &random, sizeof(random)) != PAWL_OK) {
        random = 0;
    }
    return ms - ms / 4 + (ms > 1 ? random % (ms / 2 + 1) : 0);
}

static void rest(struct pawl_redis *redis, uint32_t ms)
{
    pawl_redis_enter(redis, PAWL_REDIS_RESTING);
    redis->net.ops->start(redis->retry, jittered(redis, ms));
}

/* ---- places ---- */

void pawl_redis_place_text(const struct pawl_redis_place *place, char *out, size_t size)
{
    bool v6 = strchr(place->host, ':') != NULL && place->host[0] != '/';

    if (place->host[0] == '/') {
        (void)snprintf(out, size, "%s", place->host);
    } else {
        (void)snprintf(out, size, v6 ? "[%s]:%u" : "%s:%u", place->host, (unsigned)place->port);
    }
}

void pawl_redis_prefer(struct pawl_redis_places *places)
{
    struct pawl_redis_place good = places->places[places->at];

    memmove(&places->places[1], &places->places[0], places->at * sizeof(good));
    places->places[0] = good;
    places->at = 0;
}

void pawl_redis_complain(struct pawl_redis *redis, const struct pawl_redis_place *place,
                         const char *why)
{
    char line[PAWL_REDIS_WHY_MAX];
    char address[PAWL_REDIS_HOST_MAX + 16] = "";
    uint64_t now_ms = pawl_redis_now_ms(redis);

    pawl_redis_place_text(place, address, sizeof(address));
    (void)snprintf(line, sizeof(line), "%.80s: %.160s", address, why);
    if (strcmp(line, redis->last_why) == 0 && now_ms - redis->last_why_ms < LOG_AGAIN_MS) {
        return;
    }
    memcpy(redis->last_why, line, sizeof(line));
    redis->last_why_ms = now_ms;
    pawl_log_event(&redis->log, PAWL_LOG_WARN, "engine_refused", PAWL_F_TEXT("address", address),
                   PAWL_F_TEXT("why", why));
}

void pawl_redis_next(struct pawl_redis *redis, struct pawl_redis_places *places)
{
    uint32_t max =
        redis->somebody_answered ? PAWL_REDIS_BACKOFF_ROLE_MS : PAWL_REDIS_BACKOFF_MAX_MS;

    if (++places->at < places->count) {
        rest(redis, 1);
        return;
    }
    places->at = 0;
    redis->backoff_ms = redis->backoff_ms < PAWL_REDIS_BACKOFF_MIN_MS
                            ? PAWL_REDIS_BACKOFF_MIN_MS
                            : redis->backoff_ms + redis->backoff_ms / 2;
    redis->backoff_ms = redis->backoff_ms > max ? max : redis->backoff_ms;
    redis->somebody_answered = false;
    rest(redis, redis->backoff_ms);
}

/* ---- connecting ---- */

void pawl_redis_begin(void *ctx)
{
    struct pawl_redis *redis = ctx;

    if (redis->phase != PAWL_REDIS_RESTING) {
        return;
    }
    if (redis->sentinels.count > 0) {
        pawl_redis_seek(redis);
    } else {
        pawl_redis_connect(redis, &redis->servers.places[redis->servers.at]);
    }
}

void pawl_redis_connect(struct pawl_redis *redis, const struct pawl_redis_place *place)
{
    const struct pawl_dial dial = {
        .host = place->host,
        .port = place->port,
        .context = place->context,
        .name = redis->tls_name[0] != '\0' ? redis->tls_name : NULL,
        .timeout_ms = redis->timeout_ms,
        .user_timeout_ms = USER_TIMEOUT_MS,
        .output_max = PAWL_REDIS_OUTPUT_MAX,
    };

    pawl_redis_enter(redis, PAWL_REDIS_GREETING);
    redis->current = *place;
    redis->main = pawl_redis_dial(&redis->net, &dial, &pawl_redis_primary_events, redis);
    redis->links += redis->main != NULL ? 1 : 0;
    redis->tail = pawl_redis_dial(&redis->net, &dial, &pawl_redis_primary_events, redis);
    redis->links += redis->tail != NULL ? 1 : 0;
    if (redis->main == NULL || redis->tail == NULL) {
        pawl_redis_fail(redis, "no memory");
    }
    pawl_redis_hurry(redis);
}

static void on_opened(void *owner, struct pawl_redis_link *link)
{
    if (pawl_redis_greet(owner, link) != PAWL_OK) {
        pawl_redis_fail(owner, "the handshake cannot be sent");
    }
}

/* Clients that may still have commands of ours unread: none of them is carried out after this. */
static bool kill_old(struct pawl_redis *redis)
{
    bool asked = false;

    if (strcmp(redis->old_run_id, redis->main->info.run_id) != 0) {
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        char id[24];
        const char *const words[] = { "CLIENT", "KILL", "ID", id, NULL };

        (void)snprintf(id, sizeof(id), "%lld", (long long)redis->old_clients[i]);
        if (redis->old_clients[i] > 0 &&
            pawl_redis_ask(redis, redis->main, PAWL_STEP_KILL, words) == PAWL_OK) {
            asked = true;
        }
        redis->old_clients[i] = 0;
    }
    return asked;
}

static bool ask_role(struct pawl_redis *redis, struct pawl_redis_link *link)
{
    static const char *const role[] = { "ROLE", NULL };

    return link->info_denied && !link->info.has_role && !link->role_unknown &&
           pawl_redis_ask(redis, link, PAWL_STEP_ROLE, role) == PAWL_OK;
}

/* What makes it no less of an engine, and should be set otherwise. What does is told with `up`. */
static void advise(const struct pawl_redis *redis)
{
    if (redis->state.warning[0] != '\0' && !redis->state.unsafe) {
        pawl_log_event(&redis->log, PAWL_LOG_WARN, "engine_advice",
                       PAWL_F_TEXT("address", redis->state.address),
                       PAWL_F_TEXT("advice", redis->state.warning));
    }
}

static void go_up(struct pawl_redis *redis)
{
    struct pawl_epoch before = redis->last_epoch;

    pawl_redis_enter(redis, PAWL_REDIS_UP);
    pawl_redis_count(redis, engine_connects);
    if (redis->sentinels.count > 0) {
        pawl_redis_prefer(&redis->sentinels);
    } else {
        pawl_redis_prefer(&redis->servers);
    }
    if (!pawl_epoch_equal(before, redis->state.epoch)) {
        pawl_redis_count(redis, engine_epoch_changes);
        redis->last_epoch = redis->state.epoch;
        advise(redis);
    }
    redis->announced_ms = pawl_redis_now_ms(redis);
    redis->probing = false;
    redis->watched_ms = redis->announced_ms;
    redis->policy_ms = redis->announced_ms;
    redis->watch_at = 0;
    redis->watch_other = 0;
    redis->last_why[0] = '\0';
    redis->replicas = redis->state.replicas;
    redis->old_clients[0] = redis->main->client_id;
    redis->old_clients[1] = redis->tail->client_id;
    memcpy(redis->old_run_id, redis->info.run_id, sizeof(redis->old_run_id));
    redis->events.up(redis->events.self, &redis->state);
}

void pawl_redis_greeted(struct pawl_redis *redis, struct pawl_redis_link *link)
{
    if (link->refusal[0] != '\0') {
        redis->somebody_answered = true;
        pawl_redis_fail(redis, link->refusal);
        return;
    }
    if (link->steps > 0) {
        return;
    }
    if (!link->greeted) {
        if (ask_role(redis, link)) {
            return;
        }
        link->greeted = true;
        if (link == redis->main && kill_old(redis)) {
            return;
        }
    }
    if (!redis->main->greeted || redis->main->steps > 0 || !redis->tail->greeted) {
        return;
    }
    redis->somebody_answered = true;
    if (!pawl_redis_judge(redis)) {
        pawl_redis_fail(redis, redis->state.warning);
        return;
    }
    go_up(redis);
}

/* ---- the end of it ---- */

void pawl_redis_fail(struct pawl_redis *redis, const char *why)
{
    struct pawl_redis_link *main = redis->main;
    struct pawl_redis_link *tail = redis->tail;
    bool was_up = redis->phase == PAWL_REDIS_UP;
    uint64_t up_ms = pawl_redis_now_ms(redis) - redis->since_ms;
    char copy[PAWL_REDIS_WHY_MAX];

    (void)snprintf(copy, sizeof(copy), "%s", why);
    if (redis->phase >= PAWL_REDIS_CLOSING) {
        return;
    }
    redis->main = NULL;
    redis->tail = NULL;
    pawl_redis_drop_seeker(redis);
    if (was_up) {
        redis->backoff_ms = up_ms > PAWL_REDIS_BACKOFF_MAX_MS ? 0 : redis->backoff_ms;
        /* At once, the first time: it may only have been this connection. */
        rest(redis, redis->backoff_ms > 0 ? redis->backoff_ms : 10);
        redis->backoff_ms = redis->backoff_ms < PAWL_REDIS_BACKOFF_ROLE_MS
                                ? redis->backoff_ms + PAWL_REDIS_BACKOFF_MIN_MS
                                : redis->backoff_ms;
    } else {
        pawl_redis_count(redis, engine_connect_failed);
        pawl_redis_complain(redis, &redis->current, copy);
        pawl_redis_next(redis, redis->sentinels.count > 0 ? &redis->sentinels : &redis->servers);
    }
    pawl_redis_abandon(redis, main, tail);
    pawl_redis_drop(main);
    pawl_redis_drop(tail);
    if (was_up) {
        redis->events.down(redis->events.self, copy);
    }
}

bool pawl_redis_is_same(const struct pawl_redis *redis, const struct pawl_redis_info *info)
{
    return info->is_master && (!pawl_redis_info_has_epoch(info) ||
                               pawl_epoch_equal(pawl_redis_info_epoch(info), redis->state.epoch));
}

static void on_reply(void *owner, struct pawl_redis_link *link, struct pawl_redis_pending *pending,
                     const struct pawl_resp *value)
{
    struct pawl_redis *redis = owner;
    enum pawl_redis_step step = pending->step;

    if (step == PAWL_STEP_COMMAND || step == PAWL_STEP_WAIT) {
        pawl_redis_on_answer(redis, pending, value, link->reader);
        return;
    }
    pawl_redis_give_back(redis, pending);
    link->steps--;
    pawl_redis_note(link, step, value);
    if (redis->phase == PAWL_REDIS_GREETING) {
        pawl_redis_greeted(redis, link);
    } else if (step == PAWL_STEP_PROBE && redis->phase == PAWL_REDIS_UP) {
        redis->probing = false;
        redis->announced_ms = pawl_redis_now_ms(redis);
        if (link->refusal[0] != '\0' ||
            (link->info.has_role && !pawl_redis_is_same(redis, &link->info))) {
            pawl_redis_fail(redis, "the primary is another one, or none any more");
            return;
        }
        redis->replicas = link->info.has_role ? link->info.replicas : redis->replicas;
    } else if (step == PAWL_STEP_MEMORY && redis->phase == PAWL_REDIS_UP &&
               strcmp(link->info.policy, redis->info.policy) != 0) {
        pawl_redis_fail(redis, "maxmemory-policy was changed: it is judged anew");
    }
}

/* A reply past the caps would be so again: what can be asked for in smaller parts is. */
static void on_lost(void *owner, struct pawl_redis_link *link, enum pawl_status status,
                    const char *why)
{
    struct pawl_redis *redis = owner;

    if (status == PAWL_ETOOBIG || status == PAWL_ENOMEM) {
        pawl_redis_count(redis, engine_replies_too_big);
        if (link->broken_by == PAWL_ENGINE_READ) {
            redis->read_shrink += redis->read_shrink < 16 ? 2 : 0;
            redis->read_good = 0;
        } else if (link->broken_by == PAWL_ENGINE_SLOT_LOAD) {
            link->sent.head->error = "the slot's records are larger than any reply that is taken";
        }
    }
    pawl_redis_fail(redis, why);
}

static void on_gone(void *owner)
{
    struct pawl_redis *redis = owner;

    redis->links--;
    pawl_redis_hurry(redis);
}

const struct pawl_redis_link_events pawl_redis_primary_events = { on_opened, on_reply, on_lost,
                                                                  on_gone };

/* ---- the tick ---- */

/* Whether it owes an answer for longer than the command's own nature explains. */
static bool is_stalled(const struct pawl_redis *redis, const struct pawl_redis_link *link,
                       uint64_t now_ms)
{
    uint64_t stall_ms = 2 * (uint64_t)redis->timeout_ms;
    uint64_t since_ms;

    if (link == NULL || link->sent.head == NULL) {
        return false;
    }
    since_ms =
        link->sent.head->sent_ms > link->heard_ms ? link->sent.head->sent_ms : link->heard_ms;
    stall_ms = (stall_ms < STALL_MIN_MS ? STALL_MIN_MS : stall_ms) + link->sent.head->patience_ms;
    return now_ms > since_ms + stall_ms;
}

/* Nobody announces: look at role and epoch ourselves. */
static void probe(struct pawl_redis *redis, uint64_t now_ms)
{
    static const char *const replication[] = { "INFO", "replication", NULL };

    if (redis->probing || now_ms < redis->announced_ms + PAWL_REDIS_PROBE_MS) {
        return;
    }
    redis->probing = pawl_redis_ask(redis, redis->main, PAWL_STEP_PROBE, replication) == PAWL_OK;
}

/* Somebody may set it otherwise under a connection that stands for months. */
static void look_at_policy(struct pawl_redis *redis, uint64_t now_ms)
{
    static const char *const memory[] = { "INFO", "memory", NULL };

    if (redis->main != NULL && now_ms >= redis->policy_ms + PAWL_REDIS_POLICY_MS) {
        redis->policy_ms = now_ms;
        (void)!pawl_redis_ask(redis, redis->main, PAWL_STEP_MEMORY, memory);
    }
}

static void close_all(struct pawl_redis *redis)
{
    struct pawl_redis_link *main = redis->main;
    struct pawl_redis_link *tail = redis->tail;

    redis->main = NULL;
    redis->tail = NULL;
    pawl_redis_drop_seeker(redis);
    pawl_redis_abandon(redis, main, tail);
    pawl_redis_drop(main);
    pawl_redis_drop(tail);
}

static void tick_closing(struct pawl_redis *redis)
{
    close_all(redis);
    if (redis->links == 0 && redis->ready.head == NULL) {
        redis->net.ops->stop(redis->tick);
        redis->net.ops->stop(redis->retry);
        pawl_redis_enter(redis, PAWL_REDIS_CLOSED);
        redis->closed(redis->closed_ctx); /* may destroy us */
        return;
    }
    tick_in(redis, PAWL_REDIS_TICK_MS);
}

void pawl_redis_on_tick(void *ctx)
{
    struct pawl_redis *redis = ctx;
    uint64_t now_ms = pawl_redis_now_ms(redis);
    bool busy;

    if (redis->phase == PAWL_REDIS_CLOSING) {
        tick_closing(redis);
        return;
    }
    tick_in(redis, PAWL_REDIS_IDLE_MS);
    pawl_redis_tell_ready(redis);
    pawl_redis_expire(redis, now_ms);
    if (redis->phase == PAWL_REDIS_UP) {
        if (is_stalled(redis, redis->main, now_ms) || is_stalled(redis, redis->tail, now_ms)) {
            pawl_redis_fail(redis, "no answer, though the connection is open");
        } else {
            probe(redis, now_ms);
            look_at_policy(redis, now_ms);
            pawl_redis_watch(redis, now_ms);
        }
    } else if (redis->phase == PAWL_REDIS_GREETING &&
               now_ms > redis->since_ms + 2 * (uint64_t)redis->timeout_ms) {
        pawl_redis_fail(redis, "no answer to the handshake");
    } else if (redis->phase == PAWL_REDIS_SEEKING) {
        pawl_redis_seek_expire(redis, now_ms);
    }
    busy = redis->ready.head != NULL || redis->wait_held.head != NULL ||
           redis->phase == PAWL_REDIS_GREETING || redis->phase == PAWL_REDIS_SEEKING ||
           (redis->main != NULL && redis->main->sent.head != NULL) ||
           (redis->tail != NULL && redis->tail->sent.head != NULL);
    if (busy) {
        pawl_redis_hurry(redis);
    }
}

void pawl_redis_close(void *self, void (*done)(void *ctx), void *ctx)
{
    struct pawl_redis *redis = self;

    redis->closed = done;
    redis->closed_ctx = ctx;
    redis->net.ops->stop(redis->retry);
    pawl_redis_enter(redis, PAWL_REDIS_CLOSING);
    tick_in(redis, 0);
}
