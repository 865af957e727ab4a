/* A run from its seed to its end: profile, workload, what is watched, the liveness phase. */
#include "sim/world.h"

#include "core/cluster/seal.h"

#include <stdlib.h>
#include <string.h>

#define S          UINT64_C(1000000)
#define HEAL_US    (60 * S) /* PAWL_MEMBERS_PANIC_MS, and twice what a removal takes */
#define QUIET_US   (8 * S)  /* the last part of it: nothing new is said, all has to be everywhere */
#define EARLY_US   (9 * S)  /* a gate that opens by time opens no earlier */
#define HEIR_US    (9 * S)  /* until a dead member is out of the view, and a save more */
#define UNSAVED_MS (WORLD_INTERVAL_MS + 1500) /* the printed bound of an owner's crash */

/* ---- the profile ---- */

static void draw_profile(struct world *world)
{
    struct kernel *kernel = &world->kernel;
    struct world_profile *profile = &world->profile;

    profile->nodes = (unsigned)kernel_between(kernel, 2, 4);
    profile->servers = (unsigned)kernel_between(kernel, 1, 3);
    if (kernel_chance(kernel, 75)) { /* one thing after the other, quickly */
        profile->length_us = kernel_between(kernel, 40, 200) * S;
        profile->fault_gap_us = kernel_between(kernel, 2, 25) * S;
        profile->step_gap_us = kernel_between(kernel, 50, 400) * 1000;
    } else { /* a day at work */
        profile->length_us = kernel_between(kernel, 1200, 3600) * S;
        profile->fault_gap_us = kernel_between(kernel, 60, 300) * S;
        profile->step_gap_us = kernel_between(kernel, 300, 2000) * 1000;
    }
    profile->journal = kernel_chance(kernel, 40);
    profile->min_replicas = profile->servers > 1 && kernel_chance(kernel, 60);
    profile->kills = kernel_chance(kernel, 70);
    profile->stops = kernel_chance(kernel, 60);
    profile->leaves = kernel_chance(kernel, 60);
    profile->partitions = kernel_chance(kernel, 60);
    profile->failovers = profile->servers > 1 && kernel_chance(kernel, 70);
    profile->losses = kernel_chance(kernel, 25);
    profile->memory = kernel_chance(kernel, 30);
    profile->clock_jumps = kernel_chance(kernel, 30);
    profile->floods = kernel_chance(kernel, 8);
    profile->reloads = kernel_chance(kernel, 30);
    profile->staleness_ms = kernel_chance(kernel, 70) ? 5000 : kernel_between(kernel, 3000, 15000);
}

/* What a control needs so that there is something to object to. */
static void suit_control(struct world *world)
{
    struct world_profile *profile = &world->profile;

    if (world->control == CONTROL_NONE) {
        return;
    }
    profile->nodes = profile->nodes < 3 ? 3 : profile->nodes;
    profile->fault_gap_us = 5 * S;
    profile->length_us = 240 * S;
    profile->step_gap_us = 40000;
    profile->kills = profile->stops = profile->leaves = true;
    profile->reloads = world->control == CONTROL_RELOAD_RENAMES;
    profile->floods = world->control == CONTROL_FORGET_DENIED;
    profile->clock_jumps = world->control == CONTROL_EXPIRE_BY_WALL;
    profile->partitions = true;
    profile->memory = world->control == CONTROL_CREATE_UNKNOWN;
    profile->staleness_ms = world->control == CONTROL_VIEW_IS_ALL ? 15000 : 5000;
    /* What a majority of servers has survives a failover without the gate, mostly. */
    profile->losses = profile->memory || world->control == CONTROL_GATE_AT_ONCE;
    if (profile->servers < 2) {
        profile->servers = 2;
    }
    profile->failovers = true;
    profile->min_replicas = true;
    profile->journal = false;
}

/* ---- what is watched ---- */

static struct sim_node *node_of(struct world *world, const struct pawl_member_id *id)
{
    unsigned place = node_place(id);

    return place < SIM_NODES && node_is(&world->nodes[place], id) ? &world->nodes[place] : NULL;
}

static struct world_announced *note_announced(struct sim_node *node,
                                              const struct model_server *server,
                                              uint64_t emitted_us)
{
    struct world_announced *announced = &node->announced[node->announced_next++ % WORLD_ANNOUNCED];
    const struct model_state *state = &server->state;

    announced->emitted_us = emitted_us;
    announced->server = server->index;
    announced->epoch = server->epoch;
    announced->stream_count =
        state->stream_count < WORLD_STREAMS ? state->stream_count : WORLD_STREAMS;
    for (unsigned i = 0; i < announced->stream_count; i++) {
        announced->tops[i].origin = state->streams[i].origin;
        announced->tops[i].top = state->streams[i].top;
    }
    return announced;
}

/* T5: the gate opens when all that could know something have said so, or after its time. */
static void check_opening(struct world *world, const struct model_server *server,
                          struct sim_node *node, const struct pawl_engine_command *command)
{
    const struct model_state *state = &server->state;
    struct pawl_subkey key = pawl_node_view_key(&world->facts_key, &world->slots_key);
    struct pawl_view view;

    if (!pawl_epoch_equal(command->gate.epoch, server->epoch) ||
        world->kernel.now_us - server->primary_since_us >= EARLY_US || state->view == NULL ||
        pawl_view_decode(&view, &key, pawl_bytes_of(state->view->bytes, state->view->size)) !=
            PAWL_OK) {
        return;
    }
    for (uint16_t i = 0; i < view.count; i++) {
        struct sim_node *member = node_of(world, &view.members[i].id);
        /* who joined within the epoch: nobody has heard of it who is about to open */
        bool is_ready = member == NULL || member->member_us == 0 ||
                        member->member_us > server->primary_since_us;

        for (uint32_t k = 0; k < state->ready_count && !is_ready; k++) {
            is_ready = pawl_epoch_equal(state->ready_epoch, server->epoch) &&
                       pawl_member_id_equal(state->ready[k], view.members[i].id);
        }
        if (!is_ready) {
            kernel_fail(
                &world->kernel,
                "T5: node %u opens the gate %llu ms into an epoch without member %u", node->index,
                (unsigned long long)(world->kernel.now_us - server->primary_since_us) / 1000,
                member->index);
        }
    }
}

static struct login *login_of(struct world *world, struct pawl_id key)
{
    for (unsigned i = 0; i < LOGINS; i++) {
        if (pawl_id_equal(world->logins.all[i].key, key)) {
            return &world->logins.all[i];
        }
    }
    return NULL;
}

/* T4, T5: what a write of a family says, and whether it may be now. */
static void check_family(struct world *world, const struct model_server *server,
                         const struct pawl_engine_command *command)
{
    struct login *login = login_of(world, command->family.key);
    struct pawl_family *family;
    bool is_new;

    if (login == NULL || command->family.value.size < PAWL_SEAL_BYTES) {
        return;
    }
    family = sim_take(sizeof(*family));
    if (pawl_family_decode(family, pawl_bytes_of(command->family.value.data,
                                                 command->family.value.size - PAWL_SEAL_BYTES)) !=
        PAWL_OK) {
        kernel_fail(&world->kernel, "a family's record cannot be read");
    }
    is_new = family->generation > login->generation;
    if (is_new) {
        login->generation = family->generation;
        if (!pawl_epoch_equal(server->state.gate, server->epoch)) {
            kernel_fail(&world->kernel, "T5: generation %llu is committed while the gate is closed",
                        (unsigned long long)family->generation);
        }
        if (command->family.version == 0) {
            kernel_fail(&world->kernel, "T4: a rotation makes a family that was not there");
        }
    }
    free(family);
}

/* C3: who owned a slot earlier changes nothing that its owner has saved. */
static void check_save(struct world *world, const struct model_server *server,
                       const struct sim_node *node, const struct pawl_engine_command *command)
{
    uint32_t slot = command->slot.slot;

    if (!pawl_epoch_equal(world->saved[slot].epoch, server->epoch)) {
        world->saved[slot].epoch = server->epoch;
        world->saved[slot].view = 0;
    }
    if (!node->is_open || !node_is(node, &command->slot.owner)) {
        return;
    }
    if (node->ring.view < world->saved[slot].view) {
        kernel_fail(&world->kernel, "C3: node %u saves slot %u under a view that is over",
                    node->index, slot);
    }
    /* It may know a newer view by now than when it sent this. */
    if (command->slot.view == node->ring.view || world->control == CONTROL_OLD_VIEW_SAVES) {
        world->saved[slot].view = node->ring.view;
    }
}

static void executed(void *self, unsigned index, unsigned place,
                     const struct pawl_engine_command *command, uint64_t emitted_us,
                     const struct model_outcome *outcome)
{
    struct world *world = self;
    struct model_server *server = &world->engine.servers[index];
    struct sim_node *node = &world->nodes[place];

    if (command->verb == PAWL_ENGINE_APPEND) {
        kernel_note(&world->kernel, "append carried out", place, command->append.position,
                    outcome->result, command->append.origin.bytes[0] - 1u);
    }
    if (outcome->result != PAWL_ENGINE_WON) {
        return;
    }
    switch (command->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        if (node->is_open && node_is(node, &command->announce.self)) {
            (void)note_announced(node, server, emitted_us);
        }
        break;
    case PAWL_ENGINE_GATE_OPEN:
        if (node->is_open) {
            check_opening(world, server, node, command);
        }
        break;
    case PAWL_ENGINE_FAMILY_SET:
        check_family(world, server, command);
        break;
    case PAWL_ENGINE_SLOT_SAVE:
        check_save(world, server, node, command);
        break;
    default:
        break;
    }
}

bool world_has_two_sides(struct world *world)
{
    unsigned primaries = 0;

    if (world->profile.min_replicas) {
        return false;
    }
    for (unsigned i = 0; i < world->engine.server_count; i++) {
        primaries += world->engine.servers[i].alive && world->engine.servers[i].is_primary;
    }
    if (primaries > 1) {
        world->two_sides_us = world->kernel.now_us;
    }
    return world->two_sides_us != 0 && world->kernel.now_us < world->two_sides_us + 10 * S;
}

bool world_has_two_fleets(const struct world *world, const struct sim_node *node)
{
    for (unsigned i = 0; i < SIM_NODES && world->emptied_us != 0; i++) {
        const struct sim_node *other = &world->nodes[i];
        bool is_among = false;

        for (uint16_t k = 0; k < other->ring.member_count && other->is_open; k++) {
            is_among = is_among || node_is(node, &other->ring.members[k]);
        }
        if (other->is_open && other->ring.view > node->ring.view && !is_among) {
            return true;
        }
    }
    return false;
}

/* C1, C3: an admission that is not in what an owner loads. */
static bool may_be_lost(void *self, unsigned place, uint64_t at_us, bool acknowledged)
{
    struct world *world = self;
    const struct sim_node *node = &world->nodes[place];
    uint64_t hurt_us = world->engine_troubles > 0 ? world->kernel.now_us : world->engine_hurt_us;

    if (hurt_us + 5 * S >= at_us || node->engine_hurt_us + 5 * S >= at_us) {
        return true; /* the engine was away, or lost something itself */
    }
    if (acknowledged) {
        return false;
    }
    for (unsigned i = 0; i < SIM_NODES; i++) {
        uint64_t gone_us = world->nodes[i].gone_us;
        /* Its own end, or that of an heir who had fetched it and did not decide yet: such a one
         * saves nothing while it waits for a member that is dead. */
        uint64_t bound_us = i == place ? UNSAVED_MS * UINT64_C(1000) : HEIR_US;

        if (gone_us >= at_us && gone_us <= at_us + bound_us) {
            return true;
        }
    }
    return false;
}

static void loaded(void *self, unsigned server, unsigned place, uint32_t slot,
                   const struct model_slot *found)
{
    struct world *world = self;
    const struct counts_excuse excuse = { may_be_lost, world };

    (void)server;
    if (atomic_load(&world->nodes[place].ownership.states[slot]) != PAWL_SLOT_WANTED) {
        return; /* its owner looks for what can be deleted; or who asked has lost it since */
    }
    kernel_note(&world->kernel, "slot loaded", place, slot, found != NULL ? found->count : 0,
                found != NULL ? found->view : 0);
    counts_loaded(&world->counts, slot, found, &excuse);
}

static uint64_t *verified_of(struct sim_node *node, const struct pawl_origin *origin)
{
    for (unsigned i = 0; i < node->verified_count; i++) {
        if (memcmp(&node->verified[i].origin, origin, sizeof(*origin)) == 0) {
            return &node->verified[i].position;
        }
    }
    if (node->verified_count == WORLD_STREAMS) {
        return NULL;
    }
    node->verified[node->verified_count].origin = *origin;
    node->verified[node->verified_count].position = 0;
    return &node->verified[node->verified_count++].position;
}

static void check_stream(struct world *world, struct sim_node *node,
                         const struct pawl_origin_top *top, const struct model_server *server,
                         bool is_first)
{
    const struct model_stream *stream = model_state_stream(&server->state, &top->origin);
    uint64_t *verified = verified_of(node, &top->origin);

    if (stream == NULL || verified == NULL) {
        return;
    }
    for (uint32_t i = stream->count; i-- > 0 && stream->entries[i].position > *verified;) {
        const struct blob *bytes = stream->entries[i].bytes;

        if (stream->entries[i].position <= top->top &&
            !tokens_node_knows(node, pawl_bytes_of(bytes->bytes, bytes->size))) {
            kernel_fail(&world->kernel,
                        "%s: node %u calls itself fresh without entry %llu of node %u's stream, "
                        "which was there before its announcement",
                        is_first ? "R6" : "R3", node->index,
                        (unsigned long long)stream->entries[i].position,
                        stream->origin.bytes[0] - 1u);
            return;
        }
    }
    *verified = top->top;
}

void world_check_synced(struct world *world, struct sim_node *node, uint64_t synced_ms,
                        bool is_first)
{
    const struct world_announced *announced = NULL;
    const struct model_server *server;

    for (unsigned i = 0; i < WORLD_ANNOUNCED; i++) {
        if (node->announced[i].emitted_us != 0 &&
            (node->boot_us + node->announced[i].emitted_us) / 1000 == synced_ms &&
            (announced == NULL || node->announced[i].emitted_us < announced->emitted_us)) {
            /* Of two that were sent in one millisecond the first one may be meant. */
            announced = &node->announced[i];
        }
    }
    if (announced == NULL) {
        kernel_fail(&world->kernel, "%s: node %u renews its freshness by no write of its own",
                    is_first ? "R6" : "R3", node->index);
        return;
    }
    server = &world->engine.servers[announced->server];
    if (!pawl_epoch_equal(server->epoch, announced->epoch)) {
        return; /* what it held then is not there to be looked at any more */
    }
    if (!pawl_epoch_equal(server->epoch, node->verified_epoch)) {
        node->verified_epoch = server->epoch;
        node->verified_count = 0;
    }
    for (unsigned i = 0; i < announced->stream_count && !world->kernel.failed; i++) {
        check_stream(world, node, &announced->tops[i], server, is_first);
    }
}

/* ---- the workload ---- */

static struct sim_node *some_node(struct world *world)
{
    for (unsigned i = 0; i < 8; i++) {
        struct sim_node *node = &world->nodes[kernel_below(&world->kernel, SIM_NODES)];

        if (node->is_open && !node->stopped) {
            return node;
        }
    }
    return NULL;
}

static void step(void *context, uint64_t argument)
{
    struct world *world = context;
    struct sim_node *node = some_node(world);
    uint64_t what = kernel_below(&world->kernel, 1000);

    (void)argument;
    if (world->ended) {
        return;
    }
    kernel_at(&world->kernel,
              world->kernel.now_us +
                  kernel_between(&world->kernel, 1, 2 * world->profile.step_gap_us),
              step, world, 0);
    world->steps++;
    (void)world_has_two_sides(world);
    if (node == NULL) {
        return;
    }
    if (what < 500) {
        /* A few keys are hot: they are the ones at their limits. */
        checks_begin(world, node,
                     (unsigned)kernel_below(&world->kernel,
                                            kernel_chance(&world->kernel, 60) ? 6 : COUNT_KEYS));
    } else if (what < 740) {
        tokens_read(world, node);
    } else if (world->is_quiet) {
        return;
    } else if (what < 960) {
        rotations_step(world, node);
    } else if (what < 985) {
        tokens_revoke(world, node);
    } else if (what < 993) {
        tokens_cutoff(world, node);
    } else {
        tokens_cancel(world, node);
    }
}

/* ---- the end ---- */

static void check_node_alive(struct world *world, struct sim_node *node, uint64_t view)
{
    uint64_t now_ms = node_now_ms(node);
    struct pawl_node_figures figures;

    pawl_node_figures_get(&node->node, now_ms, &figures);
    if (figures.staleness_ms > world->profile.staleness_ms) {
        kernel_fail(&world->kernel, "L1: node %u is not fresh in the end (%llu ms)", node->index,
                    (unsigned long long)figures.staleness_ms);
    } else if (!pawl_gate_is_open(&node->node.gate, &node->node.epoch)) {
        kernel_fail(&world->kernel, "L1: the gate is closed at node %u in the end", node->index);
    } else if (figures.log.backlog != 0 || figures.log.holes != 0) {
        kernel_fail(&world->kernel, "L1: node %u has a backlog of %llu and %llu holes in the end",
                    node->index, (unsigned long long)figures.log.backlog,
                    (unsigned long long)figures.log.holes);
    } else if (figures.tenure_ms == 0) {
        kernel_fail(&world->kernel, "L1: node %u may not decide in the end", node->index);
    } else if (!pawl_cluster_slots_settled(&node->node.slots)) {
        kernel_fail(&world->kernel, "L1: node %u waits for slots in the end (%llu wanted)",
                    node->index, (unsigned long long)figures.slots.wanted);
    } else if (pawl_members_view(&node->node.members)->number != view) {
        kernel_fail(&world->kernel, "L1: nodes act on different views in the end");
    }
}

static bool has_backlog(const struct world *world)
{
    for (unsigned n = 0; n < SIM_NODES; n++) {
        if (world->nodes[n].is_open && world->nodes[n].node.log.stats.backlog != 0) {
            return true;
        }
    }
    return false;
}

static void check_slots_held(struct world *world)
{
    for (uint32_t slot = 0; slot < PAWL_RING_SLOTS && !world->kernel.failed; slot++) {
        unsigned holders = 0;

        for (unsigned n = 0; n < SIM_NODES; n++) {
            holders += world->nodes[n].is_open &&
                       atomic_load(&world->nodes[n].ownership.states[slot]) == PAWL_SLOT_HELD;
        }
        if (holders != 1) {
            kernel_fail(&world->kernel, "L1: slot %u is held by %u nodes in the end", slot,
                        holders);
        }
    }
}

static void check_end(struct world *world)
{
    uint64_t view = 0;

    for (unsigned n = 0; n < SIM_NODES && !world->kernel.failed; n++) {
        if (world->nodes[n].is_open) {
            if (view == 0) {
                view = pawl_members_view(&world->nodes[n].node.members)->number;
            }
            check_node_alive(world, &world->nodes[n], view);
        }
    }
    if (!world->kernel.failed) {
        check_slots_held(world);
        tokens_check_end(world);
    }
}

/* Let all that is on its way arrive where nobody listens any more, so that nothing is kept. */
static void drain(struct world *world)
{
    world->ended = world->faults_over = true;
    for (unsigned n = 0; n < SIM_NODES; n++) {
        if (world->nodes[n].is_open) {
            node_end(&world->nodes[n]);
        }
    }
    for (unsigned s = 0; s < world->engine.server_count; s++) {
        world->engine.servers[s].alive = true;
        world->engine.servers[s].stopped = false;
        model_engine_kill(&world->engine, s, false);
    }
    for (unsigned n = 0; n < SIM_NODES; n++) {
        for (unsigned s = 0; s < world->engine.server_count; s++) {
            model_engine_set_link(&world->engine, n, s, false, false);
        }
    }
    world->kernel.failed = false;
    kernel_run(&world->kernel, UINT64_MAX - 1);
}

/* ---- a run ---- */

static void begin(struct world *world)
{
    static const uint8_t secret[PAWL_SECRET_BYTES] = "a secret of the simulation alone";

    pawl_subkey_derive(&world->facts_key, secret, PAWL_SUBKEY_FACTS);
    pawl_subkey_derive(&world->limits_key, secret, PAWL_SUBKEY_LIMITS);
    pawl_subkey_derive(&world->slots_key, secret, PAWL_SUBKEY_SLOTS);
    world->token_keys.facts = world->facts_key;
    pawl_subkey_derive(&world->token_keys.sid[0], secret, PAWL_SUBKEY_SID);
    world->token_keys.adopt[0] = world->token_keys.sid[0];
    world->token_keys.sid_count = world->token_keys.adopt_count = 1;
    draw_profile(world);
    suit_control(world);
    kernel_note(&world->kernel, "nodes, servers, min-replicas", SIM_NOBODY, world->profile.nodes,
                world->profile.servers, world->profile.min_replicas);
    model_engine_init(&world->engine, &world->kernel, world->profile.servers);
    world->engine.min_replicas = world->profile.min_replicas ? (world->profile.servers) / 2 : 0;
    world->engine.close_on_deadline = kernel_chance(&world->kernel, 50);
    world->engine.gate_opens_at_once = world->control == CONTROL_GATE_AT_ONCE;
    world->engine.watch.executed = executed;
    world->engine.watch.loaded = loaded;
    world->engine.watch.self = world;
    peers_init(&world->peers, &world->kernel);
    world->peers.deliver = node_deliver;
    world->peers.world = world;
    counts_init(&world->counts, &world->kernel);
    world->counts.clocks_jump = world->profile.clock_jumps;
    facts_init(&world->facts, &world->kernel);
    logins_init(&world->logins, &world->kernel);
    for (unsigned n = 0; n < SIM_NODES; n++) {
        world->nodes[n].world = world;
        world->nodes[n].index = (uint8_t)n;
        world->nodes[n].inbox_end = &world->nodes[n].inbox;
    }
    for (unsigned n = 0; n < world->profile.nodes; n++) {
        node_start(world, n);
    }
    checks_identify(world, &world->nodes[0]);
    kernel_at(&world->kernel, 15 * S, step, world, 0);
}

bool world_run(struct world *world, uint64_t seed, enum world_control control, bool print_notes)
{
    memset(world, 0, sizeof(*world));
    kernel_init(&world->kernel, seed);
    world->kernel.print_notes = print_notes;
    world->control = control;
    begin(world);
    kernel_run(&world->kernel, 16 * S);
    faults_begin(world);
    kernel_run(&world->kernel, 16 * S + world->profile.length_us);
    if (!world->kernel.failed) {
        faults_heal(world);
        kernel_run(&world->kernel, world->kernel.now_us + HEAL_US - QUIET_US);
        world->is_quiet = true;
        kernel_run(&world->kernel, world->kernel.now_us + QUIET_US);
    }
    /* A stream may be trimmed just now: what lives on is said again, and that has an end. */
    for (unsigned i = 0; i < 20 && !world->kernel.failed && has_backlog(world); i++) {
        kernel_run(&world->kernel, world->kernel.now_us + S / 4);
    }
    if (!world->kernel.failed) {
        check_end(world);
    }
    world->simulated_us = world->kernel.now_us;
    world->has_failed = world->kernel.failed;
    world->run_hash = world->kernel.hash;
    return !world->has_failed;
}

void world_free(struct world *world)
{
    drain(world);
    peers_deinit(&world->peers);
    model_engine_deinit(&world->engine);
    counts_deinit(&world->counts);
    for (unsigned n = 0; n < SIM_NODES; n++) {
        for (uint32_t i = 0; i < world->nodes[n].journal_count; i++) {
            blob_drop(world->nodes[n].journal[i]);
        }
        free(world->nodes[n].journal);
    }
    kernel_deinit(&world->kernel);
}
