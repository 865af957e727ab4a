/* A node: the cluster's pure parts, wired to the modelled engine and to the other nodes. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE_MAX 8192
#define SPINS_MAX 1000

static void tick_event(void *context, uint64_t at_us);

/* ---- clocks ---- */

uint64_t node_now_ms(const struct sim_node *node)
{
    return (node->boot_us + node->world->kernel.now_us) / 1000;
}

struct pawl_instant node_instant(const struct sim_node *node)
{
    struct pawl_instant now = { (node->boot_us + node->world->kernel.now_us) * 1000 };

    return now;
}

uint64_t node_wall_ms(const struct sim_node *node)
{
    return (uint64_t)((int64_t)(node->world->engine.clock_origin_ms +
                                node->world->kernel.now_us / 1000) +
                      node->wall_offset_ms);
}

/* Cannot run faster than BOOTTIME: the engine's clock as it was first read, and BOOTTIME since. */
static uint64_t slow_s(const struct sim_node *node)
{
    if (node->world->control == CONTROL_EXPIRE_BY_WALL) {
        return node_wall_ms(node) / 1000;
    }
    return node->slow_base_s == 0
               ? 0
               : node->slow_base_s + (node_now_ms(node) - node->slow_base_ms) / 1000;
}

/* ---- who is who ---- */

unsigned node_place(const struct pawl_member_id *member)
{
    return member->bytes[0] - 1u;
}

bool node_is(const struct sim_node *node, const struct pawl_member_id *member)
{
    return memcmp(node->origin.bytes, member->bytes, sizeof(member->bytes)) == 0;
}

bool node_is_ready(const struct sim_node *node)
{
    return node->is_open && !node->leaving;
}

struct pawl_route node_route(struct sim_node *node, uint32_t slot)
{
    if (node->world->control == CONTROL_NO_TENURE && node->ring.member_count > 0) {
        atomic_store(&node->ownership.tenure_until_ms, UINT64_MAX);
    }
    return pawl_route(&node->ownership, &node->ring, node->ring_self, slot, node_now_ms(node));
}

uint64_t node_synced_ms(const struct sim_node *node)
{
    uint64_t synced = pawl_log_synced_ms(&node->node.log);

    return synced > node->fake_synced_ms ? synced : node->fake_synced_ms;
}

/* ---- memory ---- */

struct measured {
    size_t size;
    size_t padding;
};

static void *heap_take(void *self, void *old, size_t size)
{
    struct sim_node *node = self;
    struct measured *block = old != NULL ? (struct measured *)old - 1 : NULL;
    size_t had = block != NULL ? block->size : 0;

    if (size == 0 && node->world->control == CONTROL_LEAK && node->is_open) {
        return NULL;
    }
    node->heap_used = node->heap_used - had + size;
    if (node->heap_used > node->world->heap_max) {
        node->world->heap_max = node->heap_used;
    }
    if (node->heap_used > WORLD_HEAP_MAX) {
        kernel_fail(&node->world->kernel, "C5: node %u has taken %zu bytes", node->index,
                    node->heap_used);
    }
    if (size == 0) {
        free(block);
        return NULL;
    }
    block = sim_grow(block, sizeof(*block) + size);
    block->size = size;
    return block + 1;
}

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED) {
        abort();
    }
    return memory;
}

/* ---- the engine ---- */

struct fake {
    struct sim_node *node;
    uint32_t life;
    struct pawl_engine_reply reply;
};

static void fake_arrives(void *context, uint64_t argument)
{
    struct fake *fake = context;

    (void)argument;
    if (fake->node->is_open && fake->node->life == fake->life) {
        pawl_node_on_reply(&fake->node->node, &fake->reply, node_now_ms(fake->node));
        node_settle(fake->node);
    }
    free(fake);
}

static void answer_falsely(struct sim_node *node, const struct pawl_engine_command *command)
{
    struct fake *fake = sim_take(sizeof(*fake));

    fake->node = node;
    fake->life = node->life;
    fake->reply.verb = command->verb;
    fake->reply.part = command->part;
    fake->reply.tag = command->tag;
    fake->reply.result = PAWL_ENGINE_WON;
    kernel_at(&node->world->kernel, node->world->kernel.now_us + 500, fake_arrives, fake, 0);
}

static bool is_said_again(struct sim_node *node, const struct pawl_engine_command *command)
{
    if (memcmp(&command->append.origin, &node->origin, sizeof(node->origin)) != 0 ||
        command->append.position <= node->appended) {
        return true;
    }
    node->appended = command->append.position;
    return false;
}

static void emit(void *self, const struct pawl_engine_command *command)
{
    struct sim_node *node = self;
    struct pawl_engine_command changed = *command;

    if (!node->is_open) {
        return;
    }
    switch (node->world->control) {
    case CONTROL_NO_REASSERT:
        if (command->verb == PAWL_ENGINE_APPEND && is_said_again(node, command)) {
            answer_falsely(node, command);
            return;
        }
        break;
    case CONTROL_UNGATED:
        if (command->verb == PAWL_ENGINE_FAMILY_SET) {
            changed.family.gated = false;
        }
        break;
    case CONTROL_OLD_VIEW_SAVES:
        if (command->verb == PAWL_ENGINE_SLOT_SAVE) {
            changed.slot.view = UINT64_C(1) << 60;
        }
        break;
    default:
        break;
    }
    model_client_emit(node->client, &changed);
}

static void on_up(void *self, const struct pawl_engine_state *state)
{
    struct sim_node *node = self;

    node->engine_hurt_us = node->world->kernel.now_us;
    if (node->world->control == CONTROL_SET_SHRINKS) {
        tokens_lose(node);
    }
    pawl_node_on_up(&node->node, state->epoch, state->replicas, node_now_ms(node));
    if (node->world->control == CONTROL_FRESH_AT_START) {
        node->fake_synced_ms = node_now_ms(node);
    }
    if (node->world->control == CONTROL_UNGATED) {
        pawl_families_set_gate(&node->node.families, true, node_now_ms(node));
    }
    node_settle(node);
}

static void on_down(void *self, const char *why)
{
    struct sim_node *node = self;

    (void)why;
    node->engine_hurt_us = node->world->kernel.now_us;
    pawl_node_on_down(&node->node, node_now_ms(node));
    node_settle(node);
}

/* R3, R6: what makes a node fresh is a write that was carried out, and all tops it returned. */
static void check_synced(struct sim_node *node)
{
    uint64_t synced = node_synced_ms(node);

    if (synced == node->synced_seen_ms) {
        return;
    }
    world_check_synced(node->world, node, synced, node->synced_seen_ms == 0);
    node->synced_seen_ms = synced;
}

static void on_reply(void *self, const struct pawl_engine_reply *reply)
{
    struct sim_node *node = self;

    kernel_note(&node->world->kernel, "reply", node->index,
                (uint64_t)reply->verb << 8 | reply->part, reply->result, reply->tag);
    if (reply->result != PAWL_ENGINE_WON && reply->result != PAWL_ENGINE_REFUSED) {
        node->engine_hurt_us = node->world->kernel.now_us;
    }
    if (reply->verb == PAWL_ENGINE_ANNOUNCE && reply->result == PAWL_ENGINE_WON &&
        node->slow_base_s == 0) {
        node->slow_base_s = reply->announce.engine_ms / 1000;
        node->slow_base_ms = node_now_ms(node);
    }
    if (reply->verb == PAWL_ENGINE_READ && reply->result == PAWL_ENGINE_WON &&
        node->world->control == CONTROL_READ_RENEWS) {
        node->fake_synced_ms = node_now_ms(node);
    }
    pawl_node_set_wall(&node->node, node_wall_ms(node), node_now_ms(node));
    if (node->world->control == CONTROL_VIEW_IS_ALL) {
        node->node.acks.listed_count = 0;
        node->node.acks.listed_by = UINT64_MAX;
    }
    pawl_node_on_reply(&node->node, reply, node_now_ms(node));
    node_settle(node);
}

/* ---- what the node tells ---- */

static bool is_among(const struct sim_node *node, const struct pawl_member_id *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (node_is(node, &ids[i])) {
            return true;
        }
    }
    return false;
}

/* Whoever is dropped and lives is not waited for, with what it wrote of families lately. */
static void count_dropped(struct sim_node *node, const struct pawl_view *view)
{
    struct world *world = node->world;

    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_node *other = &world->nodes[i];
        bool stays = false;

        for (uint16_t k = 0; k < view->count; k++) {
            stays = stays || node_is(other, &view->members[k].id);
        }
        if (other->is_open && !other->leaving && !stays && other->dropped_view < view->number &&
            is_among(other, node->ring.members, node->ring.member_count)) {
            other->dropped_view = view->number;
            world->rings_lost++;
        }
    }
}

static void node_on_view(void *self, const struct pawl_view *view)
{
    struct sim_node *node = self;

    count_dropped(node, view);
    node->ring = node->node.ring; /* the same, made a moment ago */
    node->ring_self = PAWL_RING_NOBODY;
    for (uint16_t i = 0; i < node->ring.member_count; i++) {
        if (node_is(node, &node->ring.members[i])) {
            node->ring_self = i;
        }
    }
    struct pawl_member_id id = pawl_member_of(node->origin);

    if (pawl_view_find(view, &id) == PAWL_RING_NOBODY) {
        node->member_us = 0;
    } else if (node->member_us == 0) {
        node->member_us = node->world->kernel.now_us;
    }
    node->is_changed = true;
    kernel_note(&node->world->kernel, "view", node->index, view->number, view->count,
                node->ring.member_count);
}

static void node_push(void *self, struct pawl_bytes sealed)
{
    struct sim_node *node = self;

    (void)sealed;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (i != node->index && node->world->nodes[i].is_open) {
            node_tell_view(node, i);
        }
    }
}

static void node_expelled(void *self)
{
    struct sim_node *node = self;

    kernel_note(&node->world->kernel, "expelled", node->index, 0, 0, 0);
}

static void node_fork(void *self, const struct pawl_family *family)
{
    struct sim_node *node = self;

    kernel_note(&node->world->kernel, "fork", node->index, family->generation, 0, 0);
}

static void node_changed(void *self)
{
    struct sim_node *node = self;

    node->is_changed = true;
}

static void node_saved(void *self, uint64_t ticket, enum pawl_engine_result result)
{
    struct sim_node *node = self;

    if (result == PAWL_ENGINE_WON && node->node.replicas > 0) {
        pawl_node_wait(&node->node, ticket, node_now_ms(node));
    } else {
        checks_on_saved(node, ticket, result == PAWL_ENGINE_WON);
    }
}

static void node_waited(void *self, uint64_t ticket, bool enough)
{
    checks_on_saved(self, ticket, enough);
}

bool node_save(struct sim_node *node, struct pawl_id id, uint64_t ticket)
{
    bool taken = pawl_cluster_slots_save_now(&node->node.slots, &id, 1, ticket,
                                             node_now_ms(node)) == PAWL_OK;

    node_settle(node);
    return taken;
}

void node_counted(struct sim_node *node, uint32_t slot)
{
    pawl_cluster_slots_counted(&node->node.slots, slot, node_now_ms(node));
    node_settle(node);
}

void node_wanted(struct sim_node *node, uint32_t slot)
{
    pawl_cluster_slots_wanted_first(&node->node.slots, slot);
    node_settle(node);
}

void node_refresh(struct sim_node *node, uint64_t view)
{
    pawl_members_hear(&node->node.members, view, node_now_ms(node));
    node_settle(node);
}

/* ---- time ---- */

static void look_at_leave(struct sim_node *node)
{
    if (!node->leaving || node->is_gone) {
        return;
    }
    if (!node->said_bye && (pawl_node_left(&node->node, node_now_ms(node)) ||
                            node->world->kernel.now_us > node->leave_until_us)) {
        node->said_bye = true;
        kernel_note(&node->world->kernel, "bye", node->index, 0, 0, 0);
        pawl_node_bye(&node->node, node_now_ms(node));
    }
    node->is_gone = node->said_bye && node->node.done;
}

void node_settle(struct sim_node *node)
{
    struct world *world = node->world;
    uint64_t next_us = UINT64_MAX;

    if (node->is_settling || !node->is_open) {
        return;
    }
    node->is_settling = true;
    for (unsigned spins = 0; !world->kernel.failed; spins++) {
        uint64_t asks_us;
        uint64_t checks_us;

        if (spins > SPINS_MAX) {
            kernel_fail(&world->kernel, "node %u spins: next tick at %llu, it is %llu", node->index,
                        (unsigned long long)node->node.next_ms,
                        (unsigned long long)node_now_ms(node));
        }
        look_at_leave(node);
        pawl_node_set_wall(&node->node, node_wall_ms(node), node_now_ms(node));
        pawl_node_tick(&node->node, node_now_ms(node), slow_s(node));
        if (node->is_changed) {
            node->is_changed = false;
            checks_on_change(node);
        }
        asks_us = node_expire_asks(node);
        checks_us = checks_expire(node);
        next_us = asks_us < checks_us ? asks_us : checks_us;
        if (node->node.next_ms > node_now_ms(node) && !node->is_changed) {
            break;
        }
    }
    check_synced(node);
    if (node->node.next_ms != UINT64_MAX && node->node.next_ms * 1000 - node->boot_us < next_us) {
        next_us = node->node.next_ms * 1000 - node->boot_us;
    }
    node->is_settling = false;
    if (node->is_gone) {
        node_end(node);
        return;
    }
    if (next_us != UINT64_MAX && (node->tick_us == 0 || next_us < node->tick_us)) {
        node->tick_us = next_us > world->kernel.now_us ? next_us : world->kernel.now_us + 1;
        kernel_at(&world->kernel, node->tick_us, tick_event, node, node->tick_us);
    }
}

static void tick_event(void *context, uint64_t at_us)
{
    struct sim_node *node = context;

    if (!node->is_open || node->tick_us != at_us) {
        return;
    }
    if (node->stopped) {
        node->tick_us = 0;
        return; /* at the latest when it goes on */
    }
    node->tick_us = 0;
    node_settle(node);
}

/* ---- lives ---- */

static void make_limiter(struct sim_node *node)
{
    struct world *world = node->world;
    struct pawl_limiter_config config = { .memory_max = WORLD_LIMITER_BYTES,
                                          .subkey = world->limits_key,
                                          .slots = &world->slots_key,
                                          .salt = { node->life, node->index },
                                          .life = (uint16_t)(node->life * SIM_NODES + node->index),
                                          .persist = true };
    struct pawl_revocations_options options = { .max = TABLE_MAX, .generation = node->life };
    size_t table_size = pawl_revocations_size(TABLE_MAX);

    node->limiter_region = map(WORLD_LIMITER_BYTES);
    config.region = node->limiter_region;
    node->table_region = map(table_size);
    if (pawl_limiter_init(&node->limiter, &config, NULL) != PAWL_OK ||
        pawl_revocations_init(&node->table, node->table_region, table_size, &options) != PAWL_OK) {
        kernel_fail(&world->kernel, "a node's tables are refused");
    }
}

static bool always_silent(void *self, const struct pawl_member_id *member)
{
    (void)self;
    (void)member;
    return true;
}

static void make_node(struct sim_node *node)
{
    struct world *world = node->world;
    char address[16];
    int size = snprintf(address, sizeof(address), "tcp:n%u:1", node->index);
    struct pawl_node_options options = {
        .self = node->origin,
        .address = pawl_bytes_of(address, (size_t)size),
        .version = pawl_bytes_of("sim", 3),
        .facts = &world->facts_key,
        .limits = &world->limits_key,
        .secrets_count = 1,
        .slots = &world->slots_key,
        .limiter = &node->limiter,
        .ownership = &node->ownership,
        .birth_ms = world->engine.clock_origin_ms,
        .staleness_max_ms = world->profile.staleness_ms,
        .command_ms = 1000,
        .interval_ms = WORLD_INTERVAL_MS,
        .seed = kernel_random(&world->kernel),
        .out = { emit, node },
        .heap = { heap_take, node },
        .events = { .on_fact = tokens_on_fact,
                    .on_cancel = tokens_on_cancel,
                    .on_fork = node_fork,
                    .on_view = node_on_view,
                    .push = node_push,
                    .expelled = node_expelled,
                    .ask = node_ask,
                    .changed = node_changed,
                    .saved = node_saved,
                    .waited = node_waited,
                    .self = node },
    };

    if (pawl_node_init(&node->node, &options, node_now_ms(node)) != PAWL_OK) {
        kernel_fail(&world->kernel, "a node cannot be made");
    }
    if (world->control == CONTROL_SILENCE_IS_KNOWLEDGE) {
        node->node.acks.options.silent = always_silent;
    }
}

static void forget_last_life(struct sim_node *node)
{
    memset(&node->ownership, 0, sizeof(node->ownership));
    memset(&node->ring, 0, sizeof(node->ring));
    memset(node->asks, 0, sizeof(node->asks));
    node->asks_high = 0;
    node->asks_next_us = UINT64_MAX;
    memset(node->checks, 0, sizeof(node->checks));
    node->checks_high = 0;
    memset(node->last_cutoff_ms, 0, sizeof(node->last_cutoff_ms));
    memset(node->cutoff_seen_ms, 0, sizeof(node->cutoff_seen_ms));
    memset(node->shown, 0, sizeof(node->shown));
    memset(node->announced, 0, sizeof(node->announced));
    node->ring_self = PAWL_RING_NOBODY;
    node->stopped = node->leaving = node->said_bye = node->is_gone = false;
    node->is_changed = false;
    node->tick_us = 0;
    node->synced_seen_ms = node->fake_synced_ms = 0;
    node->slow_base_s = node->slow_base_ms = 0;
    node->appended = 0;
    node->verified_count = 0;
    node->inbox_end = &node->inbox;
}

void node_start(struct world *world, unsigned place)
{
    struct sim_node *node = &world->nodes[place];
    const struct pawl_engine_events events = { on_up, on_down, on_reply, node };
    uint64_t nonce = kernel_random(&world->kernel);

    node->world = world;
    node->index = (uint8_t)place;
    node->life++;
    if (node->boot_us == 0) {
        node->boot_us = kernel_between(&world->kernel, 1000000, UINT64_C(1000000000000));
        node->machine = kernel_random(&world->kernel);
    }
    forget_last_life(node);
    memcpy(node->origin.bytes, &node->machine, 8);
    node->origin.bytes[0] = (uint8_t)(place + 1);
    memcpy(node->origin.bytes + 8, &nonce, 8);
    node->born_us = world->kernel.now_us;
    node->member_us = 0;
    node->engine_hurt_us = world->kernel.now_us;
    node->is_open = node->alive = true;
    kernel_note(&world->kernel, "node starts", place, node->life, 0, 0);
    make_limiter(node);
    checks_open(node);
    make_node(node);
    if (world->profile.journal) {
        journal_load(node);
    }
    node->client = model_client_open(&world->engine, place, &events);
    node_settle(node);
}

void node_end(struct sim_node *node)
{
    node->gone_us = node->stopped ? node->gone_us : node->world->kernel.now_us;
    if (node->world->engine_troubles > 0 || model_client_server(node->client) == MODEL_SERVERS) {
        node->engine_hurt_us = node->world->kernel.now_us;
    }
    kernel_note(&node->world->kernel, "node ends", node->index, node->life, node->said_bye, 0);
    if (node->is_gone) {
        pawl_acks_end(&node->node.acks, node_now_ms(node)); /* it goes, and answers before */
        tokens_leave(node);
    }
    node->is_open = node->alive = false;
    model_client_kill(node->client);
    pawl_node_deinit(&node->node);
    tokens_forget(node);
    rotations_forget(node);
    while (node->inbox != NULL) {
        struct peer_message *next = node->inbox->next;

        peer_message_free(node->inbox);
        node->inbox = next;
    }
    pawl_limiter_deinit(&node->limiter);
    (void)munmap(node->limiter_region, WORLD_LIMITER_BYTES);
    pawl_revocations_deinit(&node->table);
    (void)munmap(node->table_region, pawl_revocations_size(TABLE_MAX));
    if (node->heap_used != 0 && node->world->control != CONTROL_LEAK) {
        kernel_fail(&node->world->kernel, "C5: node %u ends with %zu bytes of its heap taken",
                    node->index, node->heap_used);
    }
    node->heap_used = 0;
}

void node_kill(struct world *world, unsigned place)
{
    node_end(&world->nodes[place]);
}

void node_leave(struct world *world, unsigned place)
{
    struct sim_node *node = &world->nodes[place];

    node->leaving = true;
    node->leave_until_us = world->kernel.now_us + 20000000;
    kernel_note(&world->kernel, "node leaves", place, node->life, 0, 0);
    pawl_node_leave(&node->node, node_now_ms(node));
    node_settle(node);
}

void node_stop(struct world *world, unsigned place, bool stopped)
{
    struct sim_node *node = &world->nodes[place];

    kernel_note(&world->kernel, stopped ? "node stops" : "node goes on", place, node->life, 0, 0);
    node->stopped = stopped;
    if (stopped) {
        node->gone_us = world->kernel.now_us;
        if (world->engine_troubles > 0 || model_client_server(node->client) == MODEL_SERVERS) {
            node->engine_hurt_us = world->kernel.now_us;
        }
        model_client_pause(node->client, true);
        return;
    }
    node->engine_hurt_us = world->kernel.now_us;
    if (kernel_chance(&world->kernel, 50)) { /* timers may run before sockets are read */
        node->tick_us = 0;
        node_settle(node);
    }
    if (node->is_open) {
        model_client_pause(node->client, false);
    }
    while (node->inbox != NULL && node->is_open) {
        struct peer_message *message = node->inbox;

        node->inbox = message->next;
        if (node->inbox == NULL) {
            node->inbox_end = &node->inbox;
        }
        node_handle(node, message);
    }
    node->tick_us = 0;
    node_settle(node);
}
