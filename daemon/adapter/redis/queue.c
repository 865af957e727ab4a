/*
 * See inside.h: commands on their way, and their answers. Each is told once.
 *
 * A WAIT blocks the connection for everything behind it, announcements too. So one at a time is
 * under way, for all that were emitted before it went; and it never asks for more replicas than
 * are there, which could only end by its timeout.
 */
#include "inside.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#define READS_GOOD 256 /* READs that fitted, before larger ones are tried again */

/* ---- memory ---- */

static void grow_pool(struct pawl_redis *redis)
{
    struct pawl_redis_pending *block = NULL;

    if (redis->block_count < PAWL_REDIS_BLOCKS_MAX) {
        block = calloc(PAWL_REDIS_BLOCK, sizeof(*block));
    }
    if (block == NULL) {
        /* A command without an answer would leave its emitter waiting for ever. */
        pawl_log_event(&redis->log, PAWL_LOG_ERROR, "engine_no_memory",
                       PAWL_F_U64("commands", (uint64_t)redis->block_count * PAWL_REDIS_BLOCK));
        abort();
    }
    redis->blocks[redis->block_count++] = block;
    for (unsigned i = 0; i < PAWL_REDIS_BLOCK; i++) {
        pawl_redis_push(&redis->pool, &block[i]);
    }
}

struct pawl_redis_pending *pawl_redis_take(struct pawl_redis *redis)
{
    struct pawl_redis_pending *pending;

    if (redis->pool.head == NULL) {
        grow_pool(redis);
    }
    pending = pawl_redis_pop(&redis->pool);
    memset(pending, 0, sizeof(*pending));
    return pending;
}

void pawl_redis_give_back(struct pawl_redis *redis, struct pawl_redis_pending *pending)
{
    pawl_redis_push(&redis->pool, pending);
}

/* ---- answers ---- */

static void count_answer(struct pawl_redis *redis, enum pawl_engine_result result)
{
    if (result == PAWL_ENGINE_UNKNOWN) {
        pawl_redis_count(redis, engine_unknown);
    } else if (result == PAWL_ENGINE_UNSENT) {
        pawl_redis_count(redis, engine_unsent);
    } else if (result == PAWL_ENGINE_FAILED) {
        pawl_redis_count(redis, engine_failed);
    }
}

static void tell(struct pawl_redis *redis, const struct pawl_redis_pending *pending,
                 struct pawl_engine_reply *reply)
{
    reply->verb = pending->verb;
    reply->part = pending->part;
    reply->tag = pending->tag;
    count_answer(redis, reply->result);
    redis->events.reply(redis->events.self, reply);
}

/* Without the engine's word. */
static void tell_result(struct pawl_redis *redis, const struct pawl_redis_pending *pending,
                        enum pawl_engine_result result, const char *error)
{
    struct pawl_engine_reply reply;

    memset(&reply, 0, sizeof(reply));
    reply.result = result;
    if (error != NULL) {
        reply.error = pawl_bytes_of(error, strlen(error));
    }
    tell(redis, pending, &reply);
}

/* On the next turn, for we are inside the emitter's call. */
static void answer_later(struct pawl_redis *redis, struct pawl_redis_pending *pending,
                         enum pawl_engine_result result, const char *error)
{
    pending->result = result;
    pending->error = error;
    pawl_redis_push(&redis->ready, pending);
    pawl_redis_hurry(redis);
}

void pawl_redis_tell_ready(struct pawl_redis *redis)
{
    struct pawl_redis_list list = redis->ready; /* what is emitted meanwhile waits a turn */
    struct pawl_redis_pending *pending;

    memset(&redis->ready, 0, sizeof(redis->ready));
    while ((pending = pawl_redis_pop(&list)) != NULL) {
        tell_result(redis, pending, pending->result, pending->error);
        pawl_redis_give_back(redis, pending);
    }
}

/* ---- sending ---- */

static enum pawl_status send_command(struct pawl_redis *redis,
                                     const struct pawl_engine_command *command,
                                     struct pawl_redis_pending *pending)
{
    struct pawl_redis_link *link = command->verb == PAWL_ENGINE_READ ? redis->tail : redis->main;
    struct pawl_redis_context context = { redis->state.epoch, redis->info.replid, 0,
                                          redis->replicas };
    enum pawl_status status;
    char *bytes = NULL;
    size_t size = 0;

    if (command->verb == PAWL_ENGINE_READ) {
        context.entries_max = pawl_redis_read_share(command->read.count, command->read.entries_max,
                                                    redis->read_shrink);
        pending->patience_ms = command->read.block_ms;
    } else if (command->verb == PAWL_ENGINE_WAIT) {
        pending->patience_ms = command->wait.timeout_ms;
    }
    status = pawl_redis_encode(&redis->encoder, command, &context, &bytes, &size);
    if (status != PAWL_OK) {
        return status;
    }
    status = pawl_redis_send(link, bytes, size, pending);
    redisFreeSdsCommand(bytes);
    if (status == PAWL_OK) {
        pawl_redis_count(redis, engine_commands);
        atomic_fetch_add_explicit(&redis->figures.in_flight, 1, memory_order_relaxed);
        pawl_redis_hurry(redis);
    }
    return status;
}

/* One WAIT for all that are held. Their writes have been sent before it. */
static void send_wait(struct pawl_redis *redis)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_WAIT };
    struct pawl_redis_pending *joint;
    struct pawl_redis_pending *held;

    if (redis->wait_held.head == NULL || redis->waiting) {
        return;
    }
    for (held = redis->wait_held.head; held != NULL; held = held->next) {
        if (held->replicas > command.wait.replicas) {
            command.wait.replicas = held->replicas;
        }
        if (held->timeout_ms > command.wait.timeout_ms) {
            command.wait.timeout_ms = held->timeout_ms;
        }
    }
    joint = pawl_redis_take(redis);
    joint->step = PAWL_STEP_WAIT;
    joint->verb = PAWL_ENGINE_WAIT;
    if (send_command(redis, &command, joint) != PAWL_OK) {
        pawl_redis_give_back(redis, joint);
        while ((held = pawl_redis_pop(&redis->wait_held)) != NULL) {
            answer_later(redis, held, PAWL_ENGINE_UNSENT, NULL);
        }
        return;
    }
    redis->waiting = true;
    redis->wait_sent = redis->wait_held;
    memset(&redis->wait_held, 0, sizeof(redis->wait_held));
}

void pawl_redis_emit(void *self, const struct pawl_engine_command *command)
{
    struct pawl_redis *redis = self;
    struct pawl_redis_pending *pending = pawl_redis_take(redis);
    enum pawl_status status = PAWL_ECONN;

    pending->verb = command->verb;
    pending->part = command->part;
    pending->tag = command->tag;
    pending->deadline_ms = pawl_redis_now_ms(redis) + command->deadline_ms;
    if (redis->phase == PAWL_REDIS_UP && command->verb == PAWL_ENGINE_WAIT) {
        pending->replicas = command->wait.replicas;
        pending->timeout_ms = command->wait.timeout_ms;
        pawl_redis_push(&redis->wait_held, pending);
        send_wait(redis);
        pawl_redis_hurry(redis);
        return;
    }
    if (redis->phase == PAWL_REDIS_UP) {
        status = send_command(redis, command, pending);
    }
    if (status == PAWL_EINVAL) {
        answer_later(redis, pending, PAWL_ENGINE_FAILED, "past the caps of the engine's contract");
    } else if (status != PAWL_OK) {
        answer_later(redis, pending, PAWL_ENGINE_UNSENT, NULL);
    }
}

/* ---- replies ---- */

static void on_error(struct pawl_redis *redis, struct pawl_redis_pending *pending,
                     struct pawl_bytes text)
{
    enum pawl_redis_trouble trouble = pawl_redis_trouble_of(text);
    struct pawl_engine_reply reply;
    char why[PAWL_REDIS_WHY_MAX];

    memset(&reply, 0, sizeof(reply));
    reply.result = trouble == PAWL_TROUBLE_COMMAND   ? PAWL_ENGINE_FAILED
                   : trouble == PAWL_TROUBLE_PRIMARY ? PAWL_ENGINE_UNSENT
                                                     : PAWL_ENGINE_UNKNOWN;
    reply.error = reply.result == PAWL_ENGINE_FAILED ? text : pawl_bytes_of(NULL, 0);
    (void)snprintf(why, sizeof(why), "%.*s", (int)(text.size < 200 ? text.size : 200),
                   (const char *)text.data);
    if (!pending->answered) {
        tell(redis, pending, &reply);
    }
    pawl_redis_give_back(redis, pending);
    if (trouble != PAWL_TROUBLE_COMMAND) {
        pawl_redis_count(redis, engine_role_errors);
        pawl_redis_fail(redis, why);
    }
}

/* The joint WAIT's number is the answer to all it stood for. */
static void on_wait(struct pawl_redis *redis, struct pawl_redis_pending *joint,
                    struct pawl_engine_reply *reply)
{
    struct pawl_redis_list list = redis->wait_sent;
    struct pawl_redis_pending *waiting;

    pawl_redis_give_back(redis, joint);
    redis->waiting = false;
    memset(&redis->wait_sent, 0, sizeof(redis->wait_sent));
    while ((waiting = pawl_redis_pop(&list)) != NULL) {
        tell(redis, waiting, reply);
        pawl_redis_give_back(redis, waiting);
    }
    if (redis->phase == PAWL_REDIS_UP) {
        send_wait(redis);
    }
}

/* What else an answer means: role, epoch and replicas. False: it is void. */
static bool look_at(struct pawl_redis *redis, const struct pawl_redis_pending *pending,
                    const struct pawl_redis_decoded *decoded)
{
    for (uint32_t i = 0; i < decoded->foreign; i++) {
        pawl_redis_count(redis, engine_foreign);
    }
    switch (pending->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        redis->announced_ms = pawl_redis_now_ms(redis);
        redis->replicas = decoded->reply.announce.replicas;
        return !decoded->info.has_role || pawl_redis_is_same(redis, &decoded->info);
    case PAWL_ENGINE_READ:
        if (redis->read_shrink > 0 && ++redis->read_good >= READS_GOOD) {
            redis->read_shrink--;
            redis->read_good = 0;
        }
        return true;
    default:
        return true;
    }
}

/* The answer says nothing about the command; and what else comes on these connections, neither. */
static void void_answer(struct pawl_redis *redis, struct pawl_redis_pending *pending,
                        const char *why)
{
    if (pending->answered || pending->step == PAWL_STEP_WAIT) {
        pawl_redis_give_back(redis, pending);
    } else {
        pending->result = PAWL_ENGINE_UNKNOWN;
        pawl_redis_push(&redis->ready, pending);
    }
    pawl_redis_fail(redis, why);
}

void pawl_redis_on_answer(struct pawl_redis *redis, struct pawl_redis_pending *pending,
                          const struct pawl_resp *value, struct pawl_resp_reader *reader)
{
    struct pawl_redis_decoded decoded;

    atomic_fetch_sub_explicit(&redis->figures.in_flight, 1, memory_order_relaxed);
    if (value->type == PAWL_RESP_ERROR && pending->step == PAWL_STEP_WAIT &&
        pawl_redis_trouble_of(value->text) == PAWL_TROUBLE_COMMAND) {
        memset(&decoded, 0, sizeof(decoded));
        decoded.reply.result = PAWL_ENGINE_FAILED;
        decoded.reply.error = value->text;
        on_wait(redis, pending, &decoded.reply);
        return;
    }
    if (value->type == PAWL_RESP_ERROR) {
        pending->answered = pending->answered || pending->step == PAWL_STEP_WAIT;
        on_error(redis, pending, value->text);
        return;
    }
    if (pawl_redis_decode(reader, pending->verb, value, &decoded) != PAWL_OK) {
        void_answer(redis, pending, "an answer that is none to what was asked");
        return;
    }
    if (pending->step == PAWL_STEP_WAIT) {
        on_wait(redis, pending, &decoded.reply);
        return;
    }
    if (!look_at(redis, pending, &decoded)) {
        void_answer(redis, pending, "the primary is another one, or none any more");
        return;
    }
    if (pending->answered) {
        pawl_redis_count(redis, engine_late);
    } else {
        tell(redis, pending, &decoded.reply);
    }
    pawl_redis_give_back(redis, pending);
}

/* ---- the end of patience ---- */

static void expire_sent(struct pawl_redis *redis, struct pawl_redis_link *link, uint64_t now_ms)
{
    if (link == NULL) {
        return;
    }
    for (struct pawl_redis_pending *at = link->sent.head; at != NULL; at = at->next) {
        if (at->step == PAWL_STEP_COMMAND && !at->answered && at->deadline_ms <= now_ms) {
            at->answered = true; /* its reply will be for nobody */
            tell_result(redis, at, PAWL_ENGINE_UNKNOWN, NULL);
        }
    }
}

static void expire_list(struct pawl_redis *redis, struct pawl_redis_list *list, uint64_t now_ms,
                        enum pawl_engine_result result)
{
    struct pawl_redis_list late = { NULL, NULL, 0 };
    struct pawl_redis_list kept = { NULL, NULL, 0 };
    struct pawl_redis_pending *at;

    while ((at = pawl_redis_pop(list)) != NULL) {
        pawl_redis_push(at->deadline_ms <= now_ms ? &late : &kept, at);
    }
    *list = kept;
    while ((at = pawl_redis_pop(&late)) != NULL) {
        tell_result(redis, at, result, NULL);
        pawl_redis_give_back(redis, at);
    }
}

void pawl_redis_expire(struct pawl_redis *redis, uint64_t now_ms)
{
    expire_list(redis, &redis->wait_held, now_ms, PAWL_ENGINE_UNSENT);
    expire_list(redis, &redis->wait_sent, now_ms, PAWL_ENGINE_UNKNOWN);
    expire_sent(redis, redis->main, now_ms);
    expire_sent(redis, redis->tail, now_ms);
}

static void abandon_sent(struct pawl_redis *redis, struct pawl_redis_link *link)
{
    struct pawl_redis_pending *at;

    while (link != NULL && (at = pawl_redis_pop(&link->sent)) != NULL) {
        if (at->step == PAWL_STEP_COMMAND && !at->answered) {
            tell_result(redis, at, at->error != NULL ? PAWL_ENGINE_FAILED : PAWL_ENGINE_UNKNOWN,
                        at->error);
        }
        pawl_redis_give_back(redis, at);
    }
}

void pawl_redis_abandon(struct pawl_redis *redis, struct pawl_redis_link *main,
                        struct pawl_redis_link *tail)
{
    redis->waiting = false;
    abandon_sent(redis, main);
    abandon_sent(redis, tail);
    expire_list(redis, &redis->wait_sent, UINT64_MAX, PAWL_ENGINE_UNKNOWN);
    expire_list(redis, &redis->wait_held, UINT64_MAX, PAWL_ENGINE_UNSENT);
    pawl_redis_tell_ready(redis);
    atomic_store_explicit(&redis->figures.in_flight, 0, memory_order_relaxed);
}
