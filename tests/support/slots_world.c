#include "support/slots_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 65536

static void die(const char *what)
{
    fprintf(stderr, "slots_world: %s\n", what);
    abort();
}

static void *must(void *memory)
{
    if (memory == NULL) {
        die("no memory");
    }
    return memory;
}

uint64_t world_random(struct world *world, uint64_t below)
{
    uint64_t mixed = world->random += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ mixed >> 31) % below;
}

/* ---- what a node calls ---- */

static struct world *the_world; /* one at a time: callbacks name a node only */

static unsigned index_of(const void *self)
{
    return (unsigned)((const struct world_node *)self - the_world->nodes);
}

static void on_emit(void *self, const struct pawl_engine_command *command)
{
    struct world_command *kept = must(calloc(1, sizeof(*kept)));
    uint32_t count = command->verb == PAWL_ENGINE_SLOT_SAVE ? command->slot.count : 0;
    size_t size = 0;

    if (the_world->command_count == WORLD_QUEUE) {
        die("too many commands");
    }
    kept->node = index_of(self);
    kept->command = *command;
    kept->entries = must(calloc(count + 1, sizeof(*kept->entries)));
    for (uint32_t i = 0; i < count; i++) {
        size += command->slot.entries[i].value.size;
    }
    kept->bytes = must(malloc(size + 1));
    size = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct pawl_bytes value = command->slot.entries[i].value;

        kept->entries[i].id = command->slot.entries[i].id;
        kept->entries[i].value = pawl_bytes_of(kept->bytes + size, value.size);
        if (value.size > 0) {
            memcpy(kept->bytes + size, value.data, value.size);
        }
        size += value.size;
    }
    kept->command.slot.entries = kept->entries;
    the_world->commands[the_world->command_count++] = kept;
}

static void *on_take(void *self, void *old, size_t size)
{
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

static void put_message(struct world *world, struct world_message *message)
{
    if (world->message_count == WORLD_QUEUE) {
        die("too many messages");
    }
    world->messages[world->message_count++] = message;
}

static void on_ask(void *self, const struct pawl_slots_request *request)
{
    struct world_message *message = must(calloc(1, sizeof(*message)));

    message->from = index_of(self);
    message->to = WORLD_NODES;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        if (pawl_member_id_equal(the_world->nodes[i].id, request->member)) {
            message->to = i;
        }
    }
    message->view = the_world->nodes[message->from].view;
    message->request = *request;
    message->size = request->records.size;
    message->bytes = must(malloc(message->size + 1));
    if (message->size > 0) {
        memcpy(message->bytes, request->records.data, message->size);
    }
    put_message(the_world, message);
}

static void on_changed(void *self)
{
    ((struct world_node *)self)->changes++;
}

static void on_saved(void *self, uint64_t ticket, enum pawl_engine_result result)
{
    struct world_node *node = self;

    node->saved_ticket = ticket;
    node->saved_result = result;
}

/* ---- life ---- */

void world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    the_world = world;
    world->now_ms = 1000000;
    world->random = seed;
    world->cut = -1;
    memset(world->limits.bytes, 5, sizeof(world->limits.bytes));
    memset(world->slots_key.bytes, 7, sizeof(world->slots_key.bytes));
}

static void message_free(struct world_message *message)
{
    free(message->bytes);
    free(message);
}

static void command_free(struct world_command *command)
{
    free(command->bytes);
    free(command->entries);
    free(command);
}

void world_kill(struct world *world, unsigned i)
{
    struct world_node *node = &world->nodes[i];

    if (!node->alive) {
        return;
    }
    pawl_cluster_slots_deinit(&node->slots);
    pawl_limiter_deinit(&node->limiter);
    free(node->region);
    node->alive = false;
    memset(&node->id, 0xff, sizeof(node->id));
    for (unsigned j = 0; j < world->command_count;) { /* what it had sent may still be done */
        if (world->commands[j]->node == i && world_random(world, 2) == 0) {
            command_free(world->commands[j]);
            world->command_count--;
            memmove(&world->commands[j], &world->commands[j + 1],
                    (world->command_count - j) * sizeof(world->commands[0]));
        } else {
            j++;
        }
    }
}

void world_deinit(struct world *world)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        world_kill(world, i);
    }
    for (unsigned i = 0; i < world->message_count; i++) {
        message_free(world->messages[i]);
    }
    for (unsigned i = 0; i < world->command_count; i++) {
        command_free(world->commands[i]);
    }
    for (unsigned i = 0; i < WORLD_FIELDS; i++) {
        free(world->fields[i].bytes);
    }
}

void world_start(struct world *world, unsigned i)
{
    static unsigned lives;
    struct world_node *node = &world->nodes[i];
    struct pawl_limiter_config config = { .memory_max = WORLD_MEMORY,
                                          .slots = &world->slots_key,
                                          .subkey = world->limits,
                                          .persist = true };
    struct pawl_cluster_slots_options options = { .limiter = &node->limiter,
                                                  .ownership = &node->ownership,
                                                  .limits = { { world->limits }, 1 },
                                                  .interval_ms = 100 };
    struct pawl_epoch epoch = { { 1 } };

    memset(node, 0, sizeof(*node));
    node->ownership.tenure_until_ms = UINT64_MAX;
    node->alive = true;
    atomic_store(&node->ownership.tenure_until_ms, UINT64_MAX);
    node->id.bytes[0] = (uint8_t)i;
    node->id.bytes[15] = (uint8_t)++lives;
    node->id.bytes[14] = (uint8_t)(lives >> 8);
    config.salt[0] = world_random(world, UINT64_MAX);
    config.salt[1] = world_random(world, UINT64_MAX);
    config.life = (uint16_t)lives;
    node->region = must(aligned_alloc(4096, WORLD_MEMORY));
    memset(node->region, 0, WORLD_MEMORY);
    config.region = node->region;
    if (pawl_limiter_init(&node->limiter, &config, NULL) != PAWL_OK) {
        die("limiter");
    }
    options.self = node->id;
    options.out = (struct pawl_engine_out){ on_emit, node };
    options.heap = (struct pawl_heap){ on_take, NULL };
    options.calls = (struct pawl_slots_calls){ on_ask, on_changed, on_saved, node };
    if (pawl_cluster_slots_init(&node->slots, &options, world->now_ms) != PAWL_OK) {
        die("slots");
    }
    pawl_cluster_slots_set_clock(&node->slots, WORLD_WALL_MS + world->now_ms,
                                 WORLD_WALL_MS + world->now_ms, world->now_ms);
    pawl_cluster_slots_on_up(&node->slots, epoch, world->now_ms);
}

/* ---- views ---- */

unsigned world_propose(struct world *world, unsigned members, unsigned serving)
{
    struct world_view *view = &world->views[world->view_count];
    struct pawl_member_id ring[WORLD_NODES];
    size_t count = 0;

    if (world->view_count == sizeof(world->views) / sizeof(world->views[0])) {
        die("too many views");
    }
    view->member_count = 0;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        if ((members >> i & 1) != 0) {
            view->members[view->member_count++] = world->nodes[i].id;
            if ((serving >> i & 1) != 0) {
                ring[count++] = world->nodes[i].id;
            }
        }
    }
    if (pawl_ring_build(&view->ring, &world->slots_key, world->view_count + 1, ring, count) !=
        PAWL_OK) {
        die("ring");
    }
    return world->view_count++;
}

void world_tell(struct world *world, unsigned i, unsigned index)
{
    const struct world_view *kept = &world->views[index];
    struct pawl_slots_view view = { &kept->ring, kept->members, kept->member_count };

    if (world->nodes[i].alive && kept->ring.view > world->nodes[i].view) {
        world->nodes[i].view = kept->ring.view;
        pawl_cluster_slots_on_view(&world->nodes[i].slots, &view, world->now_ms);
    }
}

void world_view_all(struct world *world, unsigned members, unsigned serving)
{
    unsigned index = world_propose(world, members, serving);

    for (unsigned i = 0; i < WORLD_NODES; i++) {
        world_tell(world, i, index);
    }
}

/* ---- links ---- */

/* May the message at @at come next? In order for each pair and direction. */
static bool is_next(const struct world *world, unsigned at)
{
    const struct world_message *message = world->messages[at];

    for (unsigned i = 0; i < at; i++) {
        const struct world_message *before = world->messages[i];

        if (before->from == message->from && before->to == message->to) {
            return false;
        }
    }
    return true;
}

static int pick_of(const struct world *world, unsigned pick)
{
    unsigned count = 0;

    for (unsigned i = 0; i < world->message_count; i++) {
        count += is_next(world, i) ? 1 : 0;
    }
    for (unsigned i = 0; count > 0 && i < world->message_count; i++) {
        if (is_next(world, i) && pick-- % count == 0) {
            return (int)i;
        }
    }
    return -1;
}

static struct world_message *take_message(struct world *world, unsigned at)
{
    struct world_message *message = world->messages[at];

    world->message_count--;
    memmove(&world->messages[at], &world->messages[at + 1],
            (world->message_count - at) * sizeof(world->messages[0]));
    return message;
}

static void serve_pull(struct world *world, struct world_node *node, struct world_message *asked,
                       struct world_message *answer)
{
    const struct pawl_slots_request *request = &asked->request;
    const struct pawl_member_id *asker = &world->nodes[asked->from].id;
    enum pawl_slots_asked verdict =
        asked->quiesced
            ? PAWL_SLOTS_ANSWER
            : pawl_cluster_slots_asked(&node->slots, asker, asked->view, request->bundle,
                                       request->cursor, request->have, world->now_ms);

    if (verdict == PAWL_SLOTS_BUSY || verdict == PAWL_SLOTS_MOVED) {
        answer->reply.status = PAWL_EAGAIN;
        return;
    }
    if (request->have) {
        return;
    }
    answer->bytes = must(malloc(PAGE));
    answer->reply.status =
        pawl_cluster_slots_page(&node->slots, asker, request->bundle, request->cursor,
                                answer->bytes, PAGE, &answer->size, &answer->reply.cursor,
                                &answer->reply.whole, world->now_ms);
}

static void serve(struct world *world, struct world_message *asked)
{
    struct world_message *answer = must(calloc(1, sizeof(*answer)));
    struct world_node *node = &world->nodes[asked->to];
    bool known;

    answer->answer = true;
    answer->from = asked->to;
    answer->to = asked->from;
    answer->reply.tag = asked->request.tag;
    answer->reply.status = PAWL_OK;
    if (asked->to == WORLD_NODES || !node->alive || world->cut == (int)asked->to ||
        world->cut == (int)asked->from) {
        answer->reply.status = PAWL_EUNAVAIL;
    } else {
        if (asked->view > node->view) {
            world_tell(world, asked->to, (unsigned)asked->view - 1);
        }
        if (asked->request.push) {
            answer->reply.status = pawl_cluster_slots_pushed(
                &node->slots, &world->nodes[asked->from].id, asked->request.sequence,
                pawl_bytes_of(asked->bytes, asked->size), &known, world->now_ms);
        } else {
            serve_pull(world, node, asked, answer);
        }
        if (answer->reply.status != PAWL_OK) { /* who is behind learns it */
            world_tell(world, asked->from, (unsigned)node->view - 1);
        }
    }
    put_message(world, answer);
}

bool world_deliver(struct world *world, unsigned pick)
{
    int at = pick_of(world, pick);
    struct world_message *message;

    if (at < 0) {
        return false;
    }
    message = take_message(world, (unsigned)at);
    if (!message->answer) {
        if (world->nodes[message->from].alive) {
            serve(world, message);
        }
    } else if (world->nodes[message->to].alive) {
        message->reply.records = pawl_bytes_of(message->bytes, message->size);
        pawl_cluster_slots_on_answer(&world->nodes[message->to].slots, &message->reply,
                                     world->now_ms);
    }
    message_free(message);
    return true;
}

bool world_time_out(struct world *world, unsigned pick)
{
    int at = pick_of(world, pick);

    if (at < 0 || world->messages[at]->answer) {
        return false;
    }
    const struct world_message *asked = world->messages[at];
    struct pawl_slots_answer answer = { .tag = asked->request.tag, .status = PAWL_EUNAVAIL };

    if (world->nodes[asked->from].alive) {
        pawl_cluster_slots_on_answer(&world->nodes[asked->from].slots, &answer, world->now_ms);
    }
    if (world_random(world, 2) == 0) {
        message_free(take_message(world, (unsigned)at));
    } /* else it is served yet, and its answer will find nobody */
    return true;
}

/* ---- the engine ---- */

struct world_field *world_field(struct world *world, struct pawl_id id)
{
    for (unsigned i = 0; i < WORLD_FIELDS; i++) {
        if (world->fields[i].used && pawl_id_equal(world->fields[i].id, id)) {
            return &world->fields[i];
        }
    }
    return NULL;
}

static void field_set(struct world *world, uint32_t slot, const struct pawl_slot_entry *entry)
{
    struct world_field *field = world_field(world, entry->id);

    for (unsigned i = 0; field == NULL && i < WORLD_FIELDS; i++) {
        field = !world->fields[i].used ? &world->fields[i] : NULL;
    }
    if (field == NULL) {
        die("too many fields");
    }
    free(field->bytes);
    *field =
        (struct world_field){ entry->value.size > 0, entry->id, slot, entry->value.size, NULL };
    if (entry->value.size > 0) {
        field->bytes = must(malloc(entry->value.size));
        memcpy(field->bytes, entry->value.data, entry->value.size);
    }
}

static void save(struct world *world, const struct pawl_engine_command *command,
                 struct pawl_engine_reply *reply)
{
    if (command->slot.view < world->fences[command->slot.slot]) {
        reply->result = PAWL_ENGINE_REFUSED;
        reply->slot.view = world->fences[command->slot.slot];
        world->refused++;
        return;
    }
    world->fences[command->slot.slot] = command->slot.view;
    world->saves++;
    for (uint32_t i = 0; i < command->slot.count; i++) {
        field_set(world, command->slot.slot, &command->slot.entries[i]);
    }
}

static uint32_t load(struct world *world, uint32_t slot, struct pawl_slot_entry *entries)
{
    uint32_t count = 0;

    world->loads++;
    for (unsigned i = 0; i < WORLD_FIELDS; i++) {
        if (world->fields[i].used && world->fields[i].slot == slot) {
            entries[count].id = world->fields[i].id;
            entries[count++].value = pawl_bytes_of(world->fields[i].bytes, world->fields[i].size);
        }
    }
    return count;
}

bool world_engine(struct world *world)
{
    static struct pawl_slot_entry entries[WORLD_FIELDS];
    struct world_command *first = world->command_count > 0 ? world->commands[0] : NULL;

    if (first == NULL) {
        return false;
    }
    struct pawl_engine_reply reply = { .verb = first->command.verb,
                                       .part = first->command.part,
                                       .tag = first->command.tag,
                                       .result = PAWL_ENGINE_WON };

    world->command_count--;
    memmove(&world->commands[0], &world->commands[1],
            world->command_count * sizeof(world->commands[0]));
    if (world->engine_full) {
        reply.result = PAWL_ENGINE_FAILED;
    } else if (first->command.verb == PAWL_ENGINE_SLOT_LOAD) {
        reply.slot.count = load(world, first->command.slot.slot, entries);
        reply.slot.entries = entries;
    } else if (!world->engine_fails || world_random(world, 2) == 0) {
        save(world, &first->command, &reply);
    }
    if (world->engine_fails) {
        reply.result = PAWL_ENGINE_UNKNOWN;
    }
    if (world->nodes[first->node].alive) {
        pawl_cluster_slots_on_reply(&world->nodes[first->node].slots, &reply, world->now_ms);
    }
    command_free(first);
    return true;
}

/* ---- time ---- */

static void drain(struct world *world)
{
    bool more = true;

    while (more) {
        more = false;
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            struct world_node *node = &world->nodes[i];

            if (node->alive && node->slots.next_ms <= world->now_ms) {
                pawl_cluster_slots_tick(&node->slots, world->now_ms);
                more = more || node->slots.next_ms <= world->now_ms;
            }
        }
        while (world_deliver(world, 0) || world_engine(world)) {
            more = true;
        }
    }
}

void world_run(struct world *world, uint64_t ms, uint64_t step_ms)
{
    for (uint64_t until_ms = world->now_ms + ms; world->now_ms < until_ms;) {
        drain(world);
        world->now_ms += step_ms;
    }
    drain(world);
}

int world_holder(struct world *world, uint32_t slot)
{
    int holder = -1;

    for (unsigned i = 0; i < WORLD_NODES; i++) {
        if (world->nodes[i].alive && world->nodes[i].ownership.states[slot] == PAWL_SLOT_HELD) {
            if (holder >= 0) {
                die("two members decide about one slot");
            }
            holder = (int)i;
        }
    }
    return holder;
}
