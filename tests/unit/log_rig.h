/*
 * Several logs and one engine that forgets, in one thread: for tests of core/cluster/log.h.
 *
 * The engine keeps streams; a copy of it taken earlier is what a failover without replication
 * leaves. Each node's commands run in order; a READ beside them, when there is something to read
 * or its time is over.
 */
#ifndef PAWL_TESTS_UNIT_LOG_RIG_H
#define PAWL_TESTS_UNIT_LOG_RIG_H

#include "core/cluster/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RIG_NODES    4
#define RIG_ORIGINS  64
#define RIG_ENTRIES  8192
#define RIG_COMMANDS 2048
#define RIG_FACTS    8192
#define RIG_SLOW_S   1700000000u
#define RIG_STEP_MS  10

struct rig_entry {
    uint64_t position;
    uint8_t *bytes;
    size_t size;
};

struct rig_stream {
    struct pawl_origin origin;
    uint64_t top;
    uint32_t count;
    struct rig_entry entries[RIG_ENTRIES];
};

struct rig_engine {
    struct rig_stream *streams[RIG_ORIGINS];
    uint32_t replicas;     /* in step */
    uint32_t fail_appends; /* so many of the next are FAILED */
    uint32_t lose_replies; /* so many of the next are carried out and UNKNOWN */
    uint64_t appends;
};

struct rig_command {
    struct pawl_engine_command command;
    struct pawl_log_cursor *cursors;
    uint8_t *bytes;
    uint64_t sent_ms;
};

struct rig_heard { /* what on_fact said */
    struct pawl_fact_id id;
    bool counts;
    enum pawl_log_source source;
};

struct rig_node {
    struct rig *rig;
    struct pawl_facts_log log;
    struct pawl_origin self;
    bool alive, up;
    struct rig_command queue[RIG_COMMANDS];
    uint32_t head, count;
    struct rig_command read;
    bool reading;
    uint64_t announce_ms;
    struct rig_heard heard[RIG_FACTS];
    uint32_t heard_count;
    uint32_t canceled;
    uint64_t remaining_until_s; /* of the last cancel; 0: nothing remains */
    struct pawl_log_progress progress[4];
    bool cut;  /* the engine does not hear it */
    bool deaf; /* facts are not noted */
};

struct rig {
    uint64_t now_ms;
    uint64_t slow_s;
    struct rig_engine engine;
    struct rig_node nodes[RIG_NODES];
    uint32_t node_count;
    bool no_announcements;
    bool reverse; /* nodes run in the other order */
};

static const struct pawl_subkey rig_key = { { 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 } };

/* ---- memory and bytes ---- */

static unsigned rig_allocations; /* so many go well ... */
static bool rig_memory_ends;     /* ... and then none does, if this is set */

static void *rig_take(void *self, void *old, size_t size)
{
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    if (rig_memory_ends && rig_allocations-- == 0) {
        rig_allocations = 0;
        return NULL;
    }
    return realloc(old, size);
}

static uint8_t *rig_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    assert_non_null(copy);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

/* ---- the engine ---- */

static struct rig_stream *rig_stream(struct rig_engine *engine, const struct pawl_origin *origin,
                                     bool make)
{
    for (unsigned i = 0; i < RIG_ORIGINS; i++) {
        if (engine->streams[i] != NULL &&
            memcmp(&engine->streams[i]->origin, origin, sizeof(*origin)) == 0) {
            return engine->streams[i];
        }
    }
    for (unsigned i = 0; make && i < RIG_ORIGINS; i++) {
        if (engine->streams[i] == NULL) {
            engine->streams[i] = calloc(1, sizeof(struct rig_stream));
            assert_non_null(engine->streams[i]);
            engine->streams[i]->origin = *origin;
            return engine->streams[i];
        }
    }
    assert_false(make);
    return NULL;
}

static void rig_stream_put(struct rig_stream *stream, uint64_t position, struct pawl_bytes bytes)
{
    assert_true(stream->count < RIG_ENTRIES);
    stream->entries[stream->count++] =
        (struct rig_entry){ position, rig_copy(bytes.data, bytes.size), bytes.size };
    stream->top = position > stream->top ? position : stream->top;
}

static void rig_stream_cut(struct rig_stream *stream, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        free(stream->entries[i].bytes);
    }
    memmove(&stream->entries[from], &stream->entries[to],
            (stream->count - to) * sizeof(stream->entries[0]));
    stream->count -= to - from;
}

static void rig_stream_free(struct rig_stream **stream)
{
    if (*stream != NULL) {
        rig_stream_cut(*stream, 0, (*stream)->count);
        free(*stream);
        *stream = NULL;
    }
}

/* The last @count entries of @node's stream are lost, as by a failover. */
static inline void rig_lose_tail(struct rig *rig, const struct pawl_origin *origin, uint32_t count)
{
    struct rig_stream *stream = rig_stream(&rig->engine, origin, false);

    assert_non_null(stream);
    assert_true(stream->count > count);
    rig_stream_cut(stream, stream->count - count, stream->count);
    stream->top = stream->entries[stream->count - 1].position;
}

static inline void rig_flush_all(struct rig *rig)
{
    for (unsigned i = 0; i < RIG_ORIGINS; i++) {
        rig_stream_free(&rig->engine.streams[i]);
    }
}

static enum pawl_engine_result rig_append(struct rig_engine *engine,
                                          const struct pawl_engine_command *command)
{
    struct rig_stream *stream = rig_stream(engine, &command->append.origin, true);

    engine->appends++;
    if (engine->fail_appends > 0) {
        engine->fail_appends--;
        return PAWL_ENGINE_FAILED;
    }
    if (command->append.position > stream->top) {
        if (command->append.after != stream->top) {
            return PAWL_ENGINE_REFUSED;
        }
        rig_stream_put(stream, command->append.position, command->append.bytes);
    }
    if (engine->lose_replies > 0) {
        engine->lose_replies--;
        return PAWL_ENGINE_UNKNOWN;
    }
    return PAWL_ENGINE_WON;
}

static void rig_trim(struct rig_engine *engine, const struct pawl_engine_command *command)
{
    struct rig_stream *stream = rig_stream(engine, &command->trim.origin, false);
    uint32_t keep = 0;

    while (stream != NULL && keep < stream->count &&
           stream->entries[keep].position < command->trim.position) {
        keep++;
    }
    if (keep > 0) {
        rig_stream_cut(stream, 0, keep);
    }
}

static void rig_drop(struct rig_engine *engine, const struct pawl_engine_command *command)
{
    for (unsigned i = 0; i < RIG_ORIGINS; i++) {
        struct rig_stream *stream = engine->streams[i];

        if (stream != NULL && stream->count == 0 &&
            memcmp(&stream->origin, &command->drop.origin, sizeof(stream->origin)) == 0) {
            rig_stream_free(&engine->streams[i]);
        }
    }
}

/* Returns the number of entries that wait behind the cursors, filled into @entries. */
static uint32_t rig_find(struct rig_engine *engine, const struct pawl_engine_command *command,
                         struct pawl_log_entry *entries, uint32_t max)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < command->read.count; i++) {
        const struct pawl_log_cursor *cursor = &command->read.cursors[i];
        struct rig_stream *stream = rig_stream(engine, &cursor->origin, false);
        uint32_t of_stream = 0;

        for (uint32_t j = 0; stream != NULL && j < stream->count; j++) {
            const struct rig_entry *entry = &stream->entries[j];

            if (entry->position > cursor->position && of_stream < command->read.entries_max &&
                count < max) {
                entries[count++] = (struct pawl_log_entry){ stream->origin,
                                                            entry->position,
                                                            { entry->bytes, entry->size } };
                of_stream++;
            }
        }
    }
    return count;
}

/* ---- nodes ---- */

static void rig_emit(void *self, const struct pawl_engine_command *command)
{
    struct rig_node *node = self;
    struct rig_command copy = { .command = *command, .sent_ms = node->rig->now_ms };

    assert_int_equal(command->part, PAWL_PART_LOG);
    if (command->verb == PAWL_ENGINE_READ) {
        size_t size = command->read.count * sizeof(*command->read.cursors);

        assert_false(node->reading);
        copy.cursors =
            (struct pawl_log_cursor *)rig_copy((const void *)command->read.cursors, size);
        copy.command.read.cursors = copy.cursors;
        node->read = copy;
        node->reading = true;
        return;
    }
    if (command->verb == PAWL_ENGINE_APPEND) {
        copy.bytes = rig_copy(command->append.bytes.data, command->append.bytes.size);
        copy.command.append.bytes.data = copy.bytes;
    }
    assert_true(node->count < RIG_COMMANDS);
    node->queue[(node->head + node->count++) % RIG_COMMANDS] = copy;
}

static void rig_on_fact(void *self, const struct pawl_log_news *news)
{
    struct rig_node *node = self;

    for (uint32_t i = 0; i < node->heard_count; i++) {
        assert_int_not_equal(pawl_fact_id_compare(&node->heard[i].id, &news->fact->id), 0);
    }
    if (node->deaf) {
        return;
    }
    assert_true(node->heard_count < RIG_FACTS);
    node->heard[node->heard_count++] =
        (struct rig_heard){ news->fact->id, news->counts, news->source };
}

static void rig_on_cancel(void *self, const struct pawl_fact *canceled,
                          const struct pawl_fact *remaining)
{
    struct rig_node *node = self;

    (void)canceled;
    node->canceled++;
    node->remaining_until_s = remaining != NULL ? remaining->until_s : 0;
}

static void rig_on_progress(void *self, const struct pawl_log_progress *progress)
{
    struct rig_node *node = self;

    node->progress[progress->kind] = *progress;
}

static struct pawl_origin rig_origin(unsigned number, unsigned life)
{
    struct pawl_origin origin = { { 0 } };

    origin.bytes[0] = (uint8_t)(number + 1);
    origin.bytes[15] = (uint8_t)life;
    return origin;
}

static void rig_start_with(struct rig *rig, unsigned number, unsigned life,
                           const struct pawl_facts_log_options *more)
{
    struct rig_node *node = &rig->nodes[number];
    struct pawl_facts_log_options options = *more;

    memset(node, 0, sizeof(*node));
    node->rig = rig;
    node->self = rig_origin(number, life);
    options.self = node->self;
    options.keys = &rig_key;
    options.keys_count = 1;
    options.out = (struct pawl_engine_out){ rig_emit, node };
    options.heap = (struct pawl_heap){ rig_take, NULL };
    options.events = (struct pawl_log_events){ rig_on_fact, rig_on_cancel, rig_on_progress, node };
    assert_int_equal(pawl_log_init(&node->log, &options, rig->now_ms), PAWL_OK);
    node->alive = true;
}

static void rig_members(struct rig *rig)
{
    struct pawl_member_id ids[RIG_NODES];
    uint32_t count = 0;

    for (unsigned i = 0; i < RIG_NODES; i++) {
        if (rig->nodes[i].alive) {
            ids[count++] = pawl_member_of(rig->nodes[i].self);
        }
    }
    for (unsigned i = 0; i < RIG_NODES; i++) {
        if (rig->nodes[i].alive) {
            pawl_log_on_members(&rig->nodes[i].log, ids, count, rig->now_ms);
        }
    }
}

static void rig_start(struct rig *rig, unsigned number, unsigned life)
{
    struct pawl_facts_log_options none = { .keys_count = 0 };

    rig_start_with(rig, number, life, &none);
    rig_members(rig);
}

static void rig_command_free(struct rig_command *command)
{
    free(command->bytes);
    free(command->cursors);
}

/* What was on its way is answered with @result first, if at all. */
static void rig_drop_commands(struct rig_node *node)
{
    for (; node->count > 0; node->count--) {
        rig_command_free(&node->queue[node->head]);
        node->head = (node->head + 1) % RIG_COMMANDS;
    }
    if (node->reading) {
        rig_command_free(&node->read);
        node->reading = false;
    }
}

static void rig_up(struct rig_node *node, uint8_t epoch)
{
    struct pawl_epoch id = { { epoch } };

    rig_drop_commands(node);
    node->up = true;
    node->announce_ms = node->rig->now_ms;
    pawl_log_on_up(&node->log, &id, node->rig->now_ms);
}

static inline void rig_up_all(struct rig *rig, uint8_t epoch)
{
    for (unsigned i = 0; i < RIG_NODES; i++) {
        if (rig->nodes[i].alive) {
            rig_up(&rig->nodes[i], epoch);
        }
    }
}

static inline void rig_down(struct rig_node *node)
{
    rig_drop_commands(node);
    node->up = false;
    pawl_log_on_down(&node->log, node->rig->now_ms);
}

static void rig_kill(struct rig *rig, unsigned number)
{
    struct rig_node *node = &rig->nodes[number];

    if (node->alive) {
        rig_drop_commands(node);
        pawl_log_deinit(&node->log);
        assert_int_equal(node->log.stats.memory_bytes, 0);
        node->alive = false;
        rig_members(rig);
    }
}

/* ---- a step ---- */

static void rig_answer(struct rig_node *node, struct rig_command *command)
{
    struct rig_engine *engine = &node->rig->engine;
    struct pawl_engine_reply reply = { .verb = command->command.verb,
                                       .part = PAWL_PART_LOG,
                                       .tag = command->command.tag,
                                       .result = PAWL_ENGINE_WON };

    switch (command->command.verb) {
    case PAWL_ENGINE_APPEND:
        reply.result = rig_append(engine, &command->command);
        break;
    case PAWL_ENGINE_TRIM:
        rig_trim(engine, &command->command);
        break;
    case PAWL_ENGINE_DROP_ORIGIN:
        rig_drop(engine, &command->command);
        break;
    case PAWL_ENGINE_WAIT:
        reply.wait.replicas = engine->replicas;
        break;
    default:
        fail_msg("a verb that no log sends");
    }
    rig_command_free(command);
    pawl_log_on_reply(&node->log, &reply, node->rig->now_ms);
}

static void rig_answer_read(struct rig_node *node)
{
    static struct pawl_log_entry entries[RIG_ORIGINS * PAWL_LOG_READ_MAX];
    struct rig_command command = node->read;
    struct pawl_engine_reply reply = { .verb = PAWL_ENGINE_READ,
                                       .part = PAWL_PART_LOG,
                                       .tag = command.command.tag,
                                       .result = PAWL_ENGINE_WON };
    uint32_t count =
        rig_find(&node->rig->engine, &command.command, entries, RIG_ORIGINS * PAWL_LOG_READ_MAX);

    if (count == 0 && node->rig->now_ms < command.sent_ms + command.command.read.block_ms) {
        return;
    }
    reply.read.entries = entries;
    reply.read.count = count;
    node->reading = false;
    pawl_log_on_reply(&node->log, &reply, node->rig->now_ms);
    rig_command_free(&command);
}

static void rig_announce(struct rig_node *node)
{
    struct rig_engine *engine = &node->rig->engine;
    struct pawl_origin_top tops[RIG_ORIGINS];
    struct pawl_log_tops all = { tops, 0, RIG_SLOW_S * UINT64_C(1000) + node->rig->now_ms,
                                 node->rig->now_ms };

    for (unsigned i = 0; i < RIG_ORIGINS; i++) {
        const struct rig_stream *stream = engine->streams[i];

        if (stream != NULL) {
            tops[all.count++] = (struct pawl_origin_top){
                stream->origin, stream->count > 0 ? stream->entries[0].position : 0, stream->top
            };
        }
    }
    pawl_log_on_tops(&node->log, &all, node->rig->now_ms);
}

static void rig_step_node(struct rig_node *node)
{
    struct rig *rig = node->rig;
    uint32_t count = node->count;

    if (!node->alive) {
        return;
    }
    for (uint32_t i = 0; node->up && !node->cut && i < count; i++) {
        struct rig_command command = node->queue[node->head];

        node->head = (node->head + 1) % RIG_COMMANDS;
        node->count--;
        rig_answer(node, &command);
    }
    if (node->up && !node->cut && node->reading) {
        rig_answer_read(node);
    }
    if (node->up && !node->cut && !rig->no_announcements && rig->now_ms >= node->announce_ms &&
        node->count == 0) {
        node->announce_ms = rig->now_ms + 1000;
        rig_announce(node);
    }
    if (rig->now_ms >= node->log.next_ms) {
        pawl_log_tick(&node->log, rig->now_ms, rig->slow_s);
    }
}

static void rig_run(struct rig *rig, uint64_t ms)
{
    for (uint64_t end_ms = rig->now_ms + ms; rig->now_ms < end_ms;) {
        rig->now_ms += RIG_STEP_MS;
        for (unsigned i = 0; i < RIG_NODES; i++) {
            rig_step_node(&rig->nodes[rig->reverse ? RIG_NODES - 1 - i : i]);
        }
    }
}

/* ---- facts ---- */

static struct pawl_fact rig_fact(struct pawl_fact_id id, const char *jti, uint64_t until_s)
{
    return (struct pawl_fact){
        .id = id,
        .kind = PAWL_FACT_REVOCATION,
        .scope = PAWL_SCOPE_TOKEN,
        .reason = PAWL_REASON_LOGOUT,
        .ns = pawl_bytes_of("default", 7),
        .issuer = pawl_bytes_of("https://idp", 11),
        .value = pawl_bytes_of(jti, strlen(jti)),
        .at_ms = RIG_SLOW_S * UINT64_C(1000),
        .until_s = until_s,
    };
}

static struct pawl_bytes rig_bytes(const struct pawl_fact *fact)
{
    static uint8_t buffer[PAWL_FACT_BYTES_MAX];
    size_t size = 0;

    assert_int_equal(pawl_fact_encode(fact, buffer, sizeof(buffer), &size), PAWL_OK);
    return pawl_bytes_of(buffer, size);
}

static inline struct pawl_fact_id rig_add_until(struct rig *rig, unsigned number, const char *jti,
                                                uint64_t until_s, bool confirm)
{
    struct pawl_facts_log *log = &rig->nodes[number].log;
    struct pawl_fact fact = rig_fact(pawl_log_next_id(log), jti, until_s);
    uint64_t position = 0;

    assert_int_equal(pawl_log_add(log, rig_bytes(&fact), confirm, rig->now_ms, &position, NULL),
                     PAWL_OK);
    assert_int_equal(position, fact.id.sequence);
    return fact.id;
}

static inline struct pawl_fact_id rig_add(struct rig *rig, unsigned number, const char *jti)
{
    return rig_add_until(rig, number, jti, RIG_SLOW_S + 86400, false);
}

static inline struct pawl_fact_id rig_cancel(struct rig *rig, unsigned number,
                                             const struct pawl_fact_id *id, uint32_t *canceled)
{
    struct pawl_facts_log *log = &rig->nodes[number].log;
    uint8_t ids[PAWL_FACT_ID_BYTES];
    struct pawl_fact fact = { .id = pawl_log_next_id(log),
                              .kind = PAWL_FACT_CANCEL,
                              .ns = pawl_bytes_of("default", 7),
                              .at_ms = RIG_SLOW_S * UINT64_C(1000),
                              .until_s = RIG_SLOW_S + 90000,
                              .cancels = pawl_bytes_of(ids, sizeof(ids)) };
    uint64_t position;

    pawl_fact_id_write(ids, id);
    assert_int_equal(pawl_log_add(log, rig_bytes(&fact), false, rig->now_ms, &position, canceled),
                     PAWL_OK);
    return fact.id;
}

static inline bool rig_has(struct rig *rig, unsigned number, const struct pawl_fact_id *id)
{
    return pawl_log_has(&rig->nodes[number].log, id, NULL);
}

/* Whether the engine holds @id in some stream, as a new node would find it. */
static inline bool rig_engine_has(struct rig *rig, const struct pawl_fact_id *id)
{
    uint8_t wanted[PAWL_FACT_ID_BYTES];

    pawl_fact_id_write(wanted, id);
    for (unsigned i = 0; i < RIG_ORIGINS; i++) {
        const struct rig_stream *stream = rig->engine.streams[i];

        for (uint32_t j = 0; stream != NULL && j < stream->count; j++) {
            if (stream->entries[j].size > 40 &&
                memcmp(stream->entries[j].bytes + 3, wanted, sizeof(wanted)) == 0) {
                return true;
            }
        }
    }
    return false;
}

static struct rig *rig_new(unsigned count)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->now_ms = 1000000;
    rig->slow_s = RIG_SLOW_S;
    for (unsigned i = 0; i < count; i++) {
        rig_start(rig, i, 1);
    }
    rig_up_all(rig, 1);
    rig_run(rig, 50);
    return rig;
}

static void rig_free(struct rig *rig)
{
    for (unsigned i = 0; i < RIG_NODES; i++) {
        rig_kill(rig, i);
    }
    rig_flush_all(rig);
    free(rig);
}

#endif
