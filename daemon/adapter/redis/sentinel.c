/*
 * See inside.h: who is primary, by Sentinel. What a sentinel says may be old; the role is looked
 * at where it leads. One that led to a primary is asked first the next time.
 *
 * While we are up, it is asked again every other second. A primary that was cut off from its
 * sentinels knows of no successor; who can still reach a sentinel does. The channel
 * "+switch-master" is not used: what it says while nobody listens is lost.
 */
#include "inside.h"

#include <stdio.h>
#include <string.h>

#define WATCH_MS      2000 /* between two looks */
#define WATCH_WAIT_MS 1000 /* for one answer */
#define WATCH_SURE    2    /* looks that name another one, before it is believed */

static struct pawl_redis_place *current(struct pawl_redis *redis)
{
    return &redis->sentinels.places[redis->sentinels.at];
}

void pawl_redis_drop_seeker(struct pawl_redis *redis)
{
    struct pawl_redis_link *seeker = redis->seeker;
    struct pawl_redis_pending *pending;

    redis->seeker = NULL;
    while (seeker != NULL && (pending = pawl_redis_pop(&seeker->sent)) != NULL) {
        pawl_redis_give_back(redis, pending);
    }
    pawl_redis_drop(seeker);
}

/* While up: another sentinel the next time. The primary is not less of one for it. */
static void give_up(struct pawl_redis *redis, const char *why)
{
    pawl_redis_drop_seeker(redis);
    pawl_redis_count(redis, sentinel_failed);
    if (redis->phase == PAWL_REDIS_UP) {
        redis->watch_at++;
        return;
    }
    pawl_redis_complain(redis, current(redis), why);
    pawl_redis_next(redis, &redis->sentinels);
}

/* [host, port], or NIL: it watches no such master. */
static bool take_answer(struct pawl_redis_place *named, const struct pawl_resp *value)
{
    const struct pawl_resp *host = pawl_resp_first(value);
    struct pawl_bytes text;
    uint64_t port;

    if (!pawl_resp_text(host, &text) || text.size == 0 || text.size >= PAWL_REDIS_HOST_MAX ||
        memchr(text.data, '\0', text.size) != NULL || !pawl_resp_number(host->next, &port) ||
        port == 0 || port > UINT16_MAX) {
        return false;
    }
    memcpy(named->host, text.data, text.size);
    named->host[text.size] = '\0';
    named->port = (uint16_t)port;
    return true;
}

static void on_watched(struct pawl_redis *redis, const struct pawl_resp *value)
{
    struct pawl_redis_place named;

    if (!take_answer(&named, value)) {
        give_up(redis, "it does not know the master of that name");
        return;
    }
    if (named.port == redis->named.port && strcmp(named.host, redis->named.host) == 0) {
        redis->watch_other = 0;
    } else if (++redis->watch_other >= WATCH_SURE) {
        pawl_redis_drop_seeker(redis);
        pawl_redis_fail(redis, "Sentinel names another primary");
    }
}

static void on_reply(void *owner, struct pawl_redis_link *link, struct pawl_redis_pending *pending,
                     const struct pawl_resp *value)
{
    struct pawl_redis *redis = owner;
    enum pawl_redis_step step = pending->step;

    pawl_redis_give_back(redis, pending);
    if (value->type == PAWL_RESP_ERROR) {
        char why[PAWL_REDIS_WHY_MAX];
        size_t size = value->text.size < 160 ? value->text.size : 160;

        (void)snprintf(why, sizeof(why), "%.*s", (int)size, (const char *)value->text.data);
        give_up(redis, why);
        return;
    }
    if (step != PAWL_STEP_SENTINEL) {
        return; /* the password was good */
    }
    if (redis->phase == PAWL_REDIS_UP) {
        on_watched(redis, value);
        return;
    }
    redis->somebody_answered = true;
    if (!take_answer(&redis->named, value)) {
        give_up(redis, "it does not know the master of that name");
        return;
    }
    redis->seeker = NULL;
    pawl_redis_drop(link);
    pawl_redis_connect(redis, &redis->named);
}

static enum pawl_status ask(struct pawl_redis *redis, struct pawl_redis_link *link)
{
    const char *const words[] = { "SENTINEL", "get-master-addr-by-name", redis->master, NULL };

    pawl_redis_count(redis, sentinel_asked);
    return pawl_redis_ask(redis, link, PAWL_STEP_SENTINEL, words);
}

static void on_opened(void *owner, struct pawl_redis_link *link)
{
    struct pawl_redis *redis = owner;

    if (pawl_redis_ask_login(redis, link, &redis->sentinel_login) != PAWL_OK ||
        ask(redis, link) != PAWL_OK) {
        give_up(redis, "it cannot be asked");
    }
}

static void on_lost(void *owner, struct pawl_redis_link *link, enum pawl_status status,
                    const char *why)
{
    (void)link;
    (void)status;
    give_up(owner, why);
}

static void on_gone(void *owner)
{
    struct pawl_redis *redis = owner;

    redis->links--;
    pawl_redis_hurry(redis);
}

static const struct pawl_redis_link_events seeker_events = { on_opened, on_reply, on_lost,
                                                             on_gone };

static bool dial(struct pawl_redis *redis, const struct pawl_redis_place *place)
{
    const struct pawl_dial target = {
        .host = place->host,
        .port = place->port,
        .context = place->context,
        .name = redis->tls_name[0] != '\0' ? redis->tls_name : NULL,
        .timeout_ms = redis->timeout_ms,
        .user_timeout_ms = 5000,
        .output_max = 65536,
    };

    redis->seeker = pawl_redis_dial(&redis->net, &target, &seeker_events, redis);
    redis->links += redis->seeker != NULL ? 1 : 0;
    return redis->seeker != NULL;
}

void pawl_redis_seek(struct pawl_redis *redis)
{
    pawl_redis_enter(redis, PAWL_REDIS_SEEKING);
    pawl_redis_drop_seeker(redis);
    if (!dial(redis, current(redis))) {
        give_up(redis, "no memory");
        return;
    }
    pawl_redis_hurry(redis);
}

void pawl_redis_seek_expire(struct pawl_redis *redis, uint64_t now_ms)
{
    if (now_ms > redis->since_ms + 2 * (uint64_t)redis->timeout_ms) {
        give_up(redis, "no answer");
    }
}

void pawl_redis_watch(struct pawl_redis *redis, uint64_t now_ms)
{
    struct pawl_redis_link *seeker = redis->seeker;

    if (redis->sentinels.count == 0 || now_ms < redis->watched_ms + WATCH_WAIT_MS) {
        return;
    }
    if (seeker != NULL && (!seeker->open || seeker->sent.head != NULL)) {
        give_up(redis, "no answer");
        redis->watched_ms = now_ms;
        return;
    }
    if (now_ms < redis->watched_ms + WATCH_MS) {
        return;
    }
    redis->watched_ms = now_ms;
    if (seeker == NULL) {
        (void)dial(redis, &redis->sentinels.places[redis->watch_at % redis->sentinels.count]);
    } else if (ask(redis, seeker) != PAWL_OK) {
        give_up(redis, "it cannot be asked");
    }
}
