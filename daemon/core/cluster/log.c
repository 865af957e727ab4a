#include "core/cluster/log.h"

#include "core/cluster/log_inside.h"

#include <string.h>

#define FACTS_MAX_DEFAULT   (UINT64_C(32) << 20)
#define BYTES_MAX_DEFAULT   (UINT64_C(4) << 30)
#define DEADLINE_MS_DEFAULT 1000
#define WAIT_MS_DEFAULT     250
#define TICK_MS             200
#define ADOPT_TICK_MS       10

/* ---- memory --------------------------------------------------------------------------------- */

void *pawl_log_take(struct pawl_log_inside *in, void *old, size_t old_size, size_t size)
{
    void *memory = in->options.heap.take(in->options.heap.self, old, size);

    if (memory != NULL) {
        in->log->stats.memory_bytes += size - old_size;
    }
    return memory;
}

void pawl_log_give(struct pawl_log_inside *in, void *old, size_t size)
{
    if (old != NULL) {
        in->log->stats.memory_bytes -= size;
        (void)in->options.heap.take(in->options.heap.self, old, 0);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static bool options_hold(const struct pawl_facts_log_options *options)
{
    return options->keys_count >= 1 && options->keys_count <= PAWL_SEAL_KEYS_MAX &&
           options->out.emit != NULL && options->heap.take != NULL &&
           options->events.on_fact != NULL && options->facts_max <= PAWL_LOG_FACTS_CAP;
}

static void take_options(struct pawl_log_inside *in, const struct pawl_facts_log_options *options)
{
    struct pawl_facts_log_options *own = &in->options;

    *own = *options;
    memcpy(in->keys, options->keys, options->keys_count * sizeof(options->keys[0]));
    in->same = options->same != NULL ? *options->same : options->keys[0];
    own->keys = in->keys;
    own->facts_max = own->facts_max != 0 ? own->facts_max : FACTS_MAX_DEFAULT;
    own->bytes_max = own->bytes_max != 0 ? own->bytes_max : BYTES_MAX_DEFAULT;
    own->deadline_ms = own->deadline_ms != 0 ? own->deadline_ms : DEADLINE_MS_DEFAULT;
    own->wait_ms = own->wait_ms != 0 ? own->wait_ms : WAIT_MS_DEFAULT;
}

enum pawl_status pawl_log_init(struct pawl_facts_log *log,
                               const struct pawl_facts_log_options *options, uint64_t now_ms)
{
    struct pawl_log_inside *in;

    *log = (struct pawl_facts_log){ .next_ms = now_ms };
    if (!options_hold(options)) {
        return PAWL_EINVAL;
    }
    in = options->heap.take(options->heap.self, NULL, sizeof(*in));
    if (in == NULL) {
        return PAWL_ENOMEM;
    }
    memset(in, 0, sizeof(*in));
    in->log = log;
    in->facts.used = PAWL_LOG_FIRST;
    take_options(in, options);
    in->own = pawl_log_origin_get(in, &options->self, now_ms);
    if (in->own == NULL) {
        pawl_wipe(in->keys, sizeof(in->keys));
        pawl_wipe(&in->same, sizeof(in->same));
        (void)options->heap.take(options->heap.self, in, 0);
        return PAWL_ENOMEM;
    }
    log->stats.memory_bytes += sizeof(*in);
    log->inside = in;
    return PAWL_OK;
}

void pawl_log_deinit(struct pawl_facts_log *log)
{
    struct pawl_log_inside *in = log->inside;

    if (in == NULL) {
        return;
    }
    for (uint32_t i = 0; i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL) {
            pawl_log_give(in, origin->slots, origin->capacity * sizeof(*origin->slots));
            pawl_log_give(in, origin, sizeof(*origin));
        }
    }
    pawl_log_facts_deinit(in);
    pawl_wipe(in->keys, sizeof(in->keys));
    pawl_wipe(&in->same, sizeof(in->same));
    pawl_log_give(in, in, sizeof(*in));
    log->inside = NULL;
}

/* ---- facts of this node --------------------------------------------------------------------- */

struct pawl_fact_id pawl_log_next_id(const struct pawl_facts_log *log)
{
    const struct pawl_log_origin *own = log->inside->own;

    return (struct pawl_fact_id){ .origin = own->id, .sequence = own->hi + 1 };
}

enum pawl_status pawl_log_add(struct pawl_facts_log *log, struct pawl_bytes bytes, bool confirm,
                              uint64_t now_ms, uint64_t *position, uint32_t *canceled)
{
    struct pawl_log_inside *in = log->inside;
    struct pawl_fact_id next = pawl_log_next_id(log);
    struct pawl_fact fact;
    uint32_t handle;

    if (pawl_fact_decode(&fact, bytes) != PAWL_OK || pawl_fact_id_compare(&fact.id, &next) != 0) {
        return PAWL_EINVAL;
    }
    if (!pawl_log_facts_room(in, bytes.size, 1)) {
        log->stats.refused_full++;
        return PAWL_EFULL;
    }
    /* The slot first, so that a fact that was told of always has one. */
    enum pawl_status status = pawl_log_slots_extend(in, in->own, next.sequence, PAWL_LOG_VOID);

    if (status != PAWL_OK) {
        return status;
    }
    status =
        pawl_log_facts_insert(in, &fact, bytes, PAWL_LOG_SOURCE_OWN, now_ms, &handle, canceled);
    if (status != PAWL_OK) {
        in->own->hi--;
        return status;
    }
    *position = next.sequence;
    pawl_log_slot_set(in, in->own, *position, handle | (confirm ? PAWL_LOG_CONFIRM : 0));
    pawl_log_pump(in, now_ms);
    return PAWL_OK;
}

enum pawl_status pawl_log_load(struct pawl_facts_log *log, struct pawl_bytes bytes, uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;
    struct pawl_fact fact;
    uint32_t handle;

    if (pawl_fact_decode(&fact, bytes) != PAWL_OK) {
        return PAWL_ECORRUPT;
    }
    if (pawl_log_facts_find(in, &fact.id) != 0 || fact.until_s < in->slow_s) {
        return PAWL_OK;
    }
    if (!pawl_log_facts_room(in, bytes.size, 2)) {
        return PAWL_EFULL;
    }
    return pawl_log_facts_insert(in, &fact, bytes, PAWL_LOG_SOURCE_JOURNAL, now_ms, &handle, NULL);
}

void pawl_log_want(struct pawl_facts_log *log, uint64_t position, uint32_t replicas)
{
    struct pawl_log_inside *in = log->inside;

    if (position == 0) {
        in->want_position = 0;
        return;
    }
    if (replicas < 1 || replicas > PAWL_LOG_REPLICAS_MAX) {
        return;
    }
    in->want_replicas =
        in->want_position != 0 && in->want_replicas > replicas ? in->want_replicas : replicas;
    in->want_position = position > in->want_position ? position : in->want_position;
    in->want_new = true;
    log->next_ms = 0;
}

/* ---- the engine ----------------------------------------------------------------------------- */

static void reset(struct pawl_log_inside *in)
{
    in->topped = false;
    in->generation++;
    in->read_out = false;
    in->read_after_ms = 0;
    in->goal_sent_ms = 0;
    in->next_sent_ms = 0;
    pawl_log_append_reset(in);
}

void pawl_log_on_up(struct pawl_facts_log *log, const struct pawl_epoch *epoch, uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;

    (void)epoch; /* the same one may have lost what was on its way, too */
    reset(in);
    in->up = true;
    in->up_ms = now_ms;
}

void pawl_log_on_down(struct pawl_facts_log *log, uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;

    (void)now_ms;
    reset(in);
    in->up = false;
}

void pawl_log_on_members(struct pawl_facts_log *log, const struct pawl_member_id *members,
                         uint32_t count, uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;
    uint32_t rank = 0;
    bool own = false;

    for (uint32_t i = 0; i < in->origins_end; i++) {
        if (in->origins[i] != NULL && in->origins[i]->member) {
            in->origins[i]->member = false;
            in->origins[i]->quiet_ms = now_ms;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct pawl_origin id;

        memcpy(id.bytes, members[i].bytes, sizeof(id.bytes));
        struct pawl_log_origin *origin = pawl_log_origin_get(in, &id, now_ms);

        own = own || memcmp(id.bytes, in->own->id.bytes, sizeof(id.bytes)) == 0;
        rank += memcmp(id.bytes, in->own->id.bytes, sizeof(id.bytes)) < 0;
        if (origin != NULL) {
            origin->member = true;
        }
    }
    in->rank = rank;
    in->member_count = count;
    in->lowest = own && rank == 0;
    in->confirming = true;
}

void pawl_log_on_reply(struct pawl_facts_log *log, const struct pawl_engine_reply *reply,
                       uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;
    bool late = (uint32_t)(reply->tag >> 32) != in->generation || !in->up;

    switch ((enum pawl_log_tag)(reply->tag >> 24 & 0xff)) {
    case PAWL_LOG_TAG_READ:
        pawl_log_on_read(in, reply, late, now_ms);
        break;
    case PAWL_LOG_TAG_APPEND:
        if (!late) {
            pawl_log_on_append(in, reply, now_ms);
        }
        break;
    case PAWL_LOG_TAG_WAIT:
        if (!late) {
            pawl_log_on_wait(in, reply, now_ms);
        }
        break;
    case PAWL_LOG_TAG_OTHER:
        in->log->stats.failed += reply->result == PAWL_ENGINE_FAILED;
        break;
    }
}

void pawl_log_tick(struct pawl_facts_log *log, uint64_t now_ms, uint64_t slow_s)
{
    struct pawl_log_inside *in = log->inside;
    uint64_t next_ms = now_ms + TICK_MS;

    in->slow_s = slow_s > in->slow_s ? slow_s : in->slow_s;
    pawl_log_tend(in, now_ms);
    pawl_log_confirm(in);
    pawl_log_pump(in, now_ms);
    pawl_log_read(in, now_ms);
    if (in->adopting) {
        next_ms = now_ms + ADOPT_TICK_MS;
    }
    if (in->want_position != 0 && in->wait_after_ms > now_ms && in->wait_after_ms < next_ms) {
        next_ms = in->wait_after_ms;
    }
    log->next_ms = next_ms;
    log->stats.said = in->own->hi;
    log->stats.backlog = in->own->hi - in->own->won;
}

/* ---- queries -------------------------------------------------------------------------------- */

uint64_t pawl_log_synced_ms(const struct pawl_facts_log *log)
{
    return log->inside->synced_ms;
}

uint64_t pawl_log_position(const struct pawl_facts_log *log)
{
    return log->inside->own->hi;
}

uint64_t pawl_log_appended(const struct pawl_facts_log *log)
{
    const struct pawl_log_inside *in = log->inside;

    return in->up && in->topped ? in->own->won : 0;
}

uint64_t pawl_log_replicated(const struct pawl_facts_log *log, uint32_t replicas)
{
    return replicas >= 1 && replicas <= PAWL_LOG_REPLICAS_MAX ? log->inside->replicated[replicas]
                                                              : 0;
}

uint64_t pawl_log_confirmed(const struct pawl_facts_log *log, const struct pawl_member_id *member)
{
    struct pawl_origin id;

    memcpy(id.bytes, member->bytes, sizeof(id.bytes));
    const struct pawl_log_origin *origin = pawl_log_origin_find(log->inside, &id);

    return origin != NULL ? origin->confirmed : 0;
}

bool pawl_log_has(const struct pawl_facts_log *log, const struct pawl_fact_id *id, bool *canceled)
{
    uint32_t handle = pawl_log_facts_find(log->inside, id);

    if (canceled != NULL) {
        *canceled = handle != 0 &&
                    (pawl_log_fact_at(&log->inside->facts, handle)->flags & PAWL_LOG_CANCELED) != 0;
    }
    return handle != 0;
}

enum pawl_status pawl_log_follow(const struct pawl_facts_log *log, const struct pawl_fact_id *after,
                                 pawl_log_visit visit, void *self, bool *more)
{
    const struct pawl_log_inside *in = log->inside;
    uint32_t at = in->facts.oldest;

    *more = false;
    if (after != NULL && after->sequence != 0) {
        at = pawl_log_facts_find(in, after);
        if (at == 0) {
            return PAWL_ENOENT;
        }
        at = pawl_log_fact_at(&in->facts, at)->next;
    }
    while (at != 0) {
        const struct pawl_log_fact *held = pawl_log_fact_at(&in->facts, at);
        struct pawl_fact fact;

        if (pawl_fact_decode(&fact, pawl_log_fact_bytes(held)) == PAWL_OK && !visit(self, &fact)) {
            *more = true;
            break;
        }
        at = held->next;
    }
    return PAWL_OK;
}

struct pawl_fact_id pawl_log_latest(const struct pawl_facts_log *log)
{
    const struct pawl_log_inside *in = log->inside;

    return in->facts.newest != 0 ? pawl_log_fact_id(pawl_log_fact_at(&in->facts, in->facts.newest))
                                 : (struct pawl_fact_id){ .sequence = 0 };
}
