#include "core/cluster/node.h"

#include "core/octets.h"

#include <string.h>

#define DIGEST_MS   1000
#define BIRTH_BYTES 8

_Static_assert(BIRTH_BYTES + PAWL_LOG_DIGEST_BYTES <= PAWL_MEMBER_BLOB_MAX,
               "a member announces its birth and its digest");

/* ---- members ------------------------------------------------------------------------------- */

/* How long a node that hears nothing may still answer what it knew, and a margin. */
static uint64_t fresh_ms(const struct pawl_node *node)
{
    return node->options.staleness_max_ms + PAWL_MEMBER_TTL_MS;
}

static void take_replicas(struct pawl_node *node, uint32_t replicas, uint64_t now_ms)
{
    if (replicas >= node->replicas || now_ms >= node->replicas_ms + PAWL_NODE_REPLICAS_MS) {
        node->replicas = replicas;
        node->replicas_ms = now_ms;
    }
}

static void announced(void *self, const struct pawl_engine_reply *reply, uint64_t sent_ms,
                      uint64_t now_ms)
{
    struct pawl_node *node = self;
    struct pawl_log_tops tops = { .tops = reply->announce.tops,
                                  .count = reply->announce.top_count,
                                  .engine_ms = reply->announce.engine_ms,
                                  .sent_ms = sent_ms };
    uint64_t wall_ms = node->wall_ms == 0 ? 0 : node->wall_ms + (now_ms - node->wall_read_ms);

    take_replicas(node, reply->announce.replicas, now_ms);
    node->engine_ms = reply->announce.engine_ms;
    node->engine_read_ms = now_ms;
    pawl_families_set_replicas(&node->families, node->replicas);
    pawl_cluster_slots_set_clock(&node->slots, node->engine_ms, wall_ms, now_ms);
    pawl_log_on_tops(&node->log, &tops, now_ms);
    /* Who is in a view that this node does not act on yet may know something, too. */
    pawl_gate_on_announce(&node->gate, reply, pawl_members_known(&node->members), now_ms);
    /* A write that met a closed gate holds the families until it is said to be open. */
    pawl_families_set_gate(&node->families, pawl_gate_is_open(&node->gate, &node->epoch), now_ms);
    pawl_acks_on_engine(&node->acks, node->up, node->replicas, now_ms);
    pawl_members_set_ghost(&node->members, fresh_ms(node) + PAWL_MEMBER_TTL_MS);
    if (node->emptied || node->went_back != node->members.metrics.went_back) {
        pawl_acks_lost(&node->acks, now_ms + fresh_ms(node));
    }
    pawl_acks_on_announced(&node->acks, reply->announce.members, reply->announce.member_count,
                           pawl_members_announces(&node->members), now_ms);
}

/* What another member says with each announcement: the store's birth, and the log's digest. */
static void seen(void *self, const struct pawl_member_seen *member)
{
    struct pawl_node *node = self;
    struct pawl_bytes blob = member->info.blob;

    if (!member->known || blob.size < BIRTH_BYTES) {
        return;
    }
    uint64_t birth_ms = pawl_get_le(blob.data, BIRTH_BYTES);

    if (birth_ms != 0 && (node->birth_ms == 0 || birth_ms < node->birth_ms)) {
        node->birth_ms = birth_ms;
    }
    if (blob.size > BIRTH_BYTES) {
        (void)pawl_log_compare(&node->log, &member->id,
                               pawl_bytes_of(blob.data + BIRTH_BYTES, blob.size - BIRTH_BYTES),
                               node->now_ms);
    }
}

static void expelled(void *self)
{
    struct pawl_node *node = self;

    if (node->options.events.expelled != NULL) {
        node->options.events.expelled(node->options.events.self);
    }
}

static void adopted(void *self, const struct pawl_view *view, uint64_t now_ms)
{
    struct pawl_node *node = self;
    struct pawl_member_id members[PAWL_MEMBERS_MAX];
    struct pawl_slots_view slots = { &node->ring, members, view->count };

    for (uint16_t i = 0; i < view->count; i++) {
        members[i] = view->members[i].id;
    }
    if (pawl_view_ring(view, &node->slots_key, &node->ring) != PAWL_OK) {
        return; /* cannot be: a view that was read has no member twice */
    }
    pawl_log_on_members(&node->log, members, view->count, now_ms);
    pawl_acks_on_members(&node->acks, members, view->count, now_ms);
    pawl_cluster_slots_on_view(&node->slots, &slots, now_ms);
    node->options.events.on_view(node->options.events.self, view);
}

static void tenure(void *self, uint64_t until_ms)
{
    struct pawl_node *node = self;
    struct pawl_ownership *ownership = node->options.ownership;
    uint64_t before_ms = atomic_load_explicit(&ownership->tenure_until_ms, memory_order_relaxed);

    atomic_store_explicit(&ownership->tenure_until_ms, until_ms, memory_order_release);
    if (before_ms <= node->now_ms && until_ms > node->now_ms) {
        node->options.events.changed(node->options.events.self);
    }
}

static void push(void *self, struct pawl_bytes sealed)
{
    struct pawl_node *node = self;

    if (node->options.events.push != NULL) {
        node->options.events.push(node->options.events.self, sealed);
    }
}

static void done(void *self)
{
    struct pawl_node *node = self;

    node->done = true;
}

/* ---- log, gate, slots, families -------------------------------------------------------------- */

static void node_fact(void *self, const struct pawl_log_news *news)
{
    struct pawl_node *node = self;

    node->options.events.on_fact(node->options.events.self, news);
}

static void node_cancel(void *self, const struct pawl_fact *canceled,
                        const struct pawl_fact *remaining)
{
    struct pawl_node *node = self;

    node->options.events.on_cancel(node->options.events.self, canceled, remaining);
}

static void progress(void *self, const struct pawl_log_progress *step)
{
    struct pawl_node *node = self;

    (void)step;
    pawl_acks_on_progress(&node->acks, node->now_ms);
}

static void gate_changed(void *self, const struct pawl_epoch *epoch, bool open)
{
    struct pawl_node *node = self;

    (void)epoch;
    node->emptied = node->emptied || !open;
    pawl_families_set_gate(&node->families, open, node->now_ms);
}

static void announce_soon(void *self)
{
    struct pawl_node *node = self;

    pawl_members_poke(&node->members);
}

static uint64_t announces(void *self)
{
    const struct pawl_node *node = self;

    return pawl_members_announces(&node->members);
}

static bool is_silent(void *self, const struct pawl_member_id *member)
{
    const struct pawl_node *node = self;
    uint64_t silent_ms = pawl_members_silent_ms(&node->members, member);

    return silent_ms != UINT64_MAX && silent_ms >= fresh_ms(node);
}

/* ---- life ---------------------------------------------------------------------------------- */

struct pawl_subkey pawl_node_view_key(const struct pawl_subkey *facts,
                                      const struct pawl_subkey *slots)
{
    struct pawl_id both = pawl_keyhash128(facts, slots->bytes, sizeof(slots->bytes));
    struct pawl_subkey key = { { 0 } };

    pawl_put_le(key.bytes, both.lo, 8);
    pawl_put_le(key.bytes + 8, both.hi, 8);
    return key;
}

static enum pawl_status init_members(struct pawl_node *node)
{
    const struct pawl_node_options *from = &node->options;
    struct pawl_members_options options = {
        .out = from->out,
        .events = { .announced = announced,
                    .seen = seen,
                    .expelled = expelled,
                    .adopted = adopted,
                    .tenure = tenure,
                    .push = push,
                    .done = done,
                    .self = node },
        .self = pawl_member_of(from->self),
        .address = from->address,
        .version = from->version,
        .started_unix_s = from->started_unix_s,
        .seed = from->seed,
        .deadline_ms = from->command_ms,
    };

    options.keys.count = from->secrets_count;
    for (unsigned i = 0; i < from->secrets_count; i++) {
        options.keys.keys[i] = pawl_node_view_key(&from->facts[i], from->slots);
    }
    return pawl_members_init(&node->members, &options);
}

static enum pawl_status init_log(struct pawl_node *node, uint64_t now_ms)
{
    const struct pawl_node_options *from = &node->options;
    struct pawl_facts_log_options options = {
        .self = from->self,
        .keys = from->facts,
        .keys_count = from->secrets_count,
        .same = from->slots,
        .out = from->out,
        .heap = from->heap,
        .events = { node_fact, node_cancel, progress, node },
        .facts_max = from->facts_max,
        .deadline_ms = from->command_ms,
    };

    return pawl_log_init(&node->log, &options, now_ms);
}

static enum pawl_status init_slots(struct pawl_node *node, uint64_t now_ms)
{
    const struct pawl_node_options *from = &node->options;
    struct pawl_cluster_slots_options options = {
        .limiter = from->limiter,
        .ownership = from->ownership,
        .self = pawl_member_of(from->self),
        .interval_ms = from->interval_ms,
        .out = from->out,
        .heap = from->heap,
        .calls = { from->events.ask, from->events.changed, from->events.saved, from->events.self },
    };

    options.limits.count = from->secrets_count;
    memcpy(options.limits.keys, from->limits, from->secrets_count * sizeof(from->limits[0]));
    return pawl_cluster_slots_init(&node->slots, &options, now_ms);
}

static enum pawl_status init_families(struct pawl_node *node)
{
    const struct pawl_node_options *from = &node->options;
    struct pawl_families_options options = {
        .keys = from->facts,
        .keys_count = from->secrets_count,
        .heap = &node->options.heap,
        .out = &node->options.out,
        .command_ms = from->command_ms,
        .on_fork = from->events.on_fork,
        .self = from->events.self,
    };

    return pawl_families_init(&node->families, &options);
}

enum pawl_status pawl_node_init(struct pawl_node *node, const struct pawl_node_options *options,
                                uint64_t now_ms)
{
    struct pawl_gate_options gate = { .out = options->out,
                                      .self = pawl_member_of(options->self),
                                      .strict = options->strict_gate,
                                      .changed = gate_changed,
                                      .look = announce_soon,
                                      .ctx = node };
    struct pawl_acks_options acks = { .log = &node->log,
                                      .self = pawl_member_of(options->self),
                                      .silent = is_silent,
                                      .announces = announces,
                                      .announce = announce_soon,
                                      .ctx = node };

    memset(node, 0, sizeof(*node));
    node->options = *options;
    node->options.command_ms = options->command_ms == 0 ? 1000 : options->command_ms;
    node->slots_key = *options->slots;
    node->birth_ms = options->birth_ms;
    node->now_ms = now_ms;
    pawl_gate_init(&node->gate, &gate);
    pawl_acks_init(&node->acks, &acks);
    if (options->secrets_count == 0 || options->secrets_count > PAWL_SEAL_KEYS_MAX) {
        return PAWL_EINVAL;
    }
    enum pawl_status status = init_members(node);

    if (status != PAWL_OK) {
        return status;
    }
    status = init_log(node, now_ms);
    if (status != PAWL_OK) {
        return status;
    }
    status = init_slots(node, now_ms);
    if (status == PAWL_OK) {
        status = init_families(node);
        if (status == PAWL_OK) {
            return PAWL_OK;
        }
        pawl_cluster_slots_deinit(&node->slots);
    }
    pawl_log_deinit(&node->log);
    return status;
}

void pawl_node_end(struct pawl_node *node, uint64_t now_ms)
{
    if (node->ended) {
        return;
    }
    node->now_ms = now_ms;
    node->ended = true;
    pawl_acks_end(&node->acks, now_ms);
    pawl_families_deinit(&node->families);
    while (node->wait_count > 0) {
        node->wait_count--;
        node->options.events.waited(node->options.events.self, node->waits[node->wait_count].ticket,
                                    false);
    }
}

void pawl_node_deinit(struct pawl_node *node)
{
    pawl_node_end(node, node->now_ms);
    pawl_cluster_slots_deinit(&node->slots);
    pawl_log_deinit(&node->log);
    pawl_wipe(&node->slots_key, sizeof(node->slots_key));
    pawl_wipe(&node->members.options.keys, sizeof(node->members.options.keys));
}

/* ---- waiting for replicas ------------------------------------------------------------------ */

static void wait_more(struct pawl_node *node)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_WAIT };

    if (node->wait_tag != 0 || node->wait_count == 0 || !node->up) {
        return;
    }
    node->wait_tag = ++node->tags;
    for (uint32_t i = 0; i < node->wait_count; i++) {
        node->waits[i].tag = node->wait_tag;
    }
    command.tag = node->wait_tag;
    command.deadline_ms = node->options.command_ms;
    command.wait.replicas = pawl_families_quorum(node->replicas);
    command.wait.timeout_ms = node->options.command_ms / 4 + 1;
    pawl_engine_emit(&node->options.out, &command);
}

static void end_waits(struct pawl_node *node, uint64_t tag, bool enough)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < node->wait_count; i++) {
        if (tag == 0 || node->waits[i].tag == tag) {
            node->exact_short += enough ? 0 : 1;
            node->options.events.waited(node->options.events.self, node->waits[i].ticket, enough);
        } else {
            node->waits[left++] = node->waits[i];
        }
    }
    node->wait_count = left;
}

static void on_waited(struct pawl_node *node, const struct pawl_engine_reply *reply)
{
    if (reply->tag != node->wait_tag) {
        return;
    }
    node->wait_tag = 0;
    end_waits(node, reply->tag,
              reply->result == PAWL_ENGINE_WON &&
                  reply->wait.replicas >= pawl_families_quorum(node->replicas));
    wait_more(node);
}

void pawl_node_wait(struct pawl_node *node, uint64_t ticket, uint64_t now_ms)
{
    node->now_ms = now_ms;
    if (!node->up || node->wait_count == PAWL_NODE_WAITS_MAX) {
        node->exact_short++;
        node->options.events.waited(node->options.events.self, ticket, false);
        return;
    }
    node->waits[node->wait_count].ticket = ticket;
    node->waits[node->wait_count++].tag = 0;
    wait_more(node);
}

/* ---- steps --------------------------------------------------------------------------------- */

/* The engine lost its data without a new epoch (FLUSHALL): all is said again, as in a new one. The
 * log finds that by its streams' ends. */
static void say_all_again(struct pawl_node *node)
{
    node->went_back = node->members.metrics.went_back;
    if (!node->emptied) {
        pawl_gate_emptied(&node->gate, node->now_ms);
    }
    node->emptied = false;
    node->merged_told = false;
    node->engine_emptied++;
    pawl_cluster_slots_emptied(&node->slots, node->now_ms);
    pawl_families_emptied(&node->families, node->now_ms);
}

/* What one part has to hear of another. */
static void settle(struct pawl_node *node)
{
    if (node->emptied || node->went_back != node->members.metrics.went_back) {
        say_all_again(node);
    }
    pawl_members_raise(&node->members, node->slots.fence);
    if (!node->ready && !node->held && pawl_log_synced_ms(&node->log) != 0) {
        node->ready = true;
        pawl_members_ready(&node->members, node->now_ms);
    }
    if (node->families.is_merged && !node->merged_told) {
        node->merged_told = true;
        pawl_gate_merged(&node->gate, &node->epoch, node->now_ms);
    }
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void find_next(struct pawl_node *node)
{
    uint64_t next_ms = smaller(node->members.next_ms, node->log.next_ms);

    next_ms = smaller(next_ms, node->gate.next_ms);
    next_ms = smaller(next_ms, node->slots.next_ms);
    next_ms = smaller(next_ms, node->families.next_ms);
    node->next_ms = smaller(next_ms, node->acks.next_ms);
}

void pawl_node_on_up(struct pawl_node *node, struct pawl_epoch epoch, uint32_t replicas,
                     uint64_t now_ms)
{
    if (node->ended) {
        return;
    }
    node->now_ms = now_ms;
    node->up = true;
    if (!pawl_epoch_equal(node->epoch, epoch)) {
        node->epoch_changes++;
        node->epoch = epoch;
        node->replicas = 0; /* those were another primary's */
        pawl_acks_lost(&node->acks, now_ms + fresh_ms(node));
    }
    take_replicas(node, replicas, now_ms);
    node->merged_told = false; /* each epoch wants its own word, also where nothing was to merge */
    /* Members first: the view that is known is set again before anything else is said. */
    pawl_members_on_up(&node->members, &epoch, now_ms);
    pawl_gate_on_up(&node->gate, &epoch, now_ms);
    node->emptied = false; /* a new epoch is one: the parts hear of it below */
    pawl_log_on_up(&node->log, &epoch, now_ms);
    pawl_cluster_slots_on_up(&node->slots, epoch, now_ms);
    pawl_families_on_up(&node->families, epoch, node->replicas, now_ms);
    pawl_families_set_gate(&node->families, pawl_gate_is_open(&node->gate, &epoch), now_ms);
    pawl_acks_on_engine(&node->acks, true, node->replicas, now_ms);
    wait_more(node);
    settle(node);
    find_next(node);
}

void pawl_node_on_down(struct pawl_node *node, uint64_t now_ms)
{
    if (node->ended) {
        return;
    }
    node->now_ms = now_ms;
    node->up = false;
    node->wait_tag = 0;
    pawl_members_on_down(&node->members, now_ms);
    pawl_gate_on_down(&node->gate, now_ms);
    pawl_log_on_down(&node->log, now_ms);
    pawl_cluster_slots_on_down(&node->slots, now_ms);
    pawl_families_on_down(&node->families, now_ms);
    pawl_acks_on_engine(&node->acks, false, node->replicas, now_ms);
    end_waits(node, 0, false);
    find_next(node);
}

void pawl_node_on_reply(struct pawl_node *node, const struct pawl_engine_reply *reply,
                        uint64_t now_ms)
{
    if (node->ended) {
        return;
    }
    node->now_ms = now_ms;
    switch (reply->part) {
    case PAWL_PART_MEMBERS:
        pawl_members_on_reply(&node->members, reply, now_ms);
        break;
    case PAWL_PART_LOG:
        pawl_log_on_reply(&node->log, reply, now_ms);
        break;
    case PAWL_PART_GATE:
        pawl_gate_on_reply(&node->gate, reply, now_ms);
        break;
    case PAWL_PART_SLOTS:
        pawl_cluster_slots_on_reply(&node->slots, reply, now_ms);
        break;
    case PAWL_PART_FAMILY:
        pawl_families_on_reply(&node->families, reply, now_ms);
        break;
    default:
        on_waited(node, reply);
        break;
    }
    settle(node);
    find_next(node);
}

void pawl_node_set_wall(struct pawl_node *node, uint64_t wall_ms, uint64_t now_ms)
{
    node->wall_ms = wall_ms;
    node->wall_read_ms = now_ms;
}

static void say_about_self(struct pawl_node *node)
{
    uint8_t blob[PAWL_MEMBER_BLOB_MAX];
    size_t size = pawl_log_digest(&node->log, blob + BIRTH_BYTES, node->now_ms);

    pawl_put_le(blob, node->birth_ms, BIRTH_BYTES);
    pawl_members_set_blob(&node->members, pawl_bytes_of(blob, BIRTH_BYTES + size));
}

void pawl_node_tick(struct pawl_node *node, uint64_t now_ms, uint64_t slow_s)
{
    if (node->ended) {
        return;
    }
    node->now_ms = now_ms;
    if (now_ms >= node->digest_ms) {
        node->digest_ms = now_ms + DIGEST_MS;
        say_about_self(node);
    }
    if (now_ms >= node->members.next_ms) {
        pawl_members_tick(&node->members, now_ms);
    }
    if (now_ms >= node->log.next_ms) {
        pawl_log_tick(&node->log, now_ms, slow_s);
    }
    if (now_ms >= node->gate.next_ms) {
        pawl_gate_tick(&node->gate, now_ms);
    }
    if (now_ms >= node->slots.next_ms) {
        pawl_cluster_slots_tick(&node->slots, now_ms);
    }
    pawl_families_tick(&node->families, now_ms);
    pawl_acks_tick(&node->acks, now_ms);
    settle(node);
    find_next(node);
}

enum pawl_status pawl_node_learn(struct pawl_node *node, struct pawl_bytes sealed, uint64_t now_ms,
                                 uint64_t *number)
{
    node->now_ms = now_ms;
    *number = pawl_view_peek(sealed);
    if (sealed.size == 0) { /* of one that acts on none yet */
        return PAWL_OK;
    }
    enum pawl_status status = pawl_members_learn(&node->members, sealed, now_ms);

    find_next(node);
    return status;
}

/* ---- leaving ------------------------------------------------------------------------------- */

void pawl_node_hold(struct pawl_node *node, bool held)
{
    node->held = held;
}

void pawl_node_leave(struct pawl_node *node, uint64_t now_ms)
{
    node->now_ms = now_ms;
    node->leaving = true;
    pawl_members_leave(&node->members, now_ms);
    find_next(node);
}

bool pawl_node_left(struct pawl_node *node, uint64_t now_ms)
{
    const struct pawl_view *view = pawl_members_view(&node->members);
    struct pawl_member_id self = pawl_member_of(node->options.self);
    uint16_t index = pawl_view_find(view, &self);
    bool serves = index != PAWL_RING_NOBODY && view->members[index].state == PAWL_VIEW_SERVING;

    return node->leaving && !serves && pawl_cluster_slots_empty(&node->slots, now_ms);
}

void pawl_node_bye(struct pawl_node *node, uint64_t now_ms)
{
    node->now_ms = now_ms;
    pawl_members_gone(&node->members, now_ms);
    find_next(node);
}

/* ---- figures ------------------------------------------------------------------------------- */

void pawl_node_figures_get(struct pawl_node *node, uint64_t now_ms,
                           struct pawl_node_figures *figures)
{
    const struct pawl_view *view = pawl_members_view(&node->members);
    uint64_t synced_ms = pawl_log_synced_ms(&node->log);
    uint64_t until_ms = pawl_members_tenure_until_ms(&node->members);
    uint64_t wall_ms = node->wall_ms == 0 ? 0 : node->wall_ms + (now_ms - node->wall_read_ms);

    memset(figures, 0, sizeof(*figures));
    pawl_members_metrics_get(&node->members, &figures->members);
    pawl_gate_metrics_get(&node->gate, now_ms, &figures->gate);
    pawl_cluster_slots_figures(&node->slots, now_ms, &figures->slots);
    figures->log = node->log.stats;
    figures->families = node->families.stats;
    figures->acks = node->acks.stats;
    figures->epoch_changes = node->epoch_changes;
    figures->engine_emptied = node->engine_emptied;
    figures->view_unreadable_ms = node->members.metrics.unreadable_since_ms == 0
                                      ? 0
                                      : now_ms - node->members.metrics.unreadable_since_ms;
    figures->staleness_ms = synced_ms == 0 ? UINT64_MAX : now_ms - synced_ms;
    figures->tenure_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    figures->exact_short = node->exact_short;
    figures->clock_offset_ms =
        pawl_members_clock_offset_ms(&node->members, (int64_t)wall_ms, now_ms);
    for (uint16_t i = 0; i < view->count; i++) {
        uint64_t silent_ms = pawl_members_silent_ms(&node->members, &view->members[i].id);

        if (silent_ms != UINT64_MAX && silent_ms > figures->silent_max_ms) {
            figures->silent_max_ms = silent_ms;
        }
    }
}
