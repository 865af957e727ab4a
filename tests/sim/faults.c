/* What befalls a run: one thing after the other, now and then two at a time. */
#include "sim/world.h"

#include <string.h>

#define MS UINT64_C(1000)
#define S  UINT64_C(1000000)

static void fault(void *context, uint64_t argument);

static uint64_t in_ms(struct world *world, uint64_t low, uint64_t high)
{
    return world->kernel.now_us + kernel_between(&world->kernel, low, high) * MS;
}

static struct sim_node *some_open(struct world *world)
{
    for (unsigned i = 0; i < 12; i++) {
        struct sim_node *node = &world->nodes[kernel_below(&world->kernel, SIM_NODES)];

        if (node->is_open && !node->leaving) {
            return node;
        }
    }
    return NULL;
}

static unsigned open_count(const struct world *world)
{
    unsigned count = 0;

    for (unsigned i = 0; i < SIM_NODES; i++) {
        count += world->nodes[i].is_open;
    }
    return count;
}

static void hurt_begins(struct world *world)
{
    world->engine_troubles++;
    world->engine_hurt_us = world->kernel.now_us;
}

static void hurt_ends(struct world *world)
{
    world->engine_troubles--;
    world->engine_hurt_us = world->kernel.now_us;
}

/* ---- nodes ---- */

static void start_again(void *context, uint64_t place)
{
    struct world *world = context;

    if (!world->faults_over && !world->nodes[place].is_open) {
        node_start(world, (unsigned)place);
    }
}

static void go_on(void *context, uint64_t place)
{
    struct world *world = context;

    if (world->nodes[place].is_open && world->nodes[place].stopped) {
        node_stop(world, (unsigned)place, false);
    }
}

static void kill_node(struct world *world)
{
    struct sim_node *node = some_open(world);

    if (node == NULL || open_count(world) < 2) {
        return;
    }
    node_kill(world, node->index);
    world->losses++;
    tokens_check_holders(world);
    kernel_at(&world->kernel, in_ms(world, 100, 20000), start_again, world, node->index);
}

static void stop_node(struct world *world)
{
    struct sim_node *node = some_open(world);

    if (node == NULL || node->stopped) {
        return;
    }
    node_stop(world, node->index, true);
    kernel_at(&world->kernel, in_ms(world, 50, kernel_chance(&world->kernel, 50) ? 3000 : 15000),
              go_on, world, node->index);
}

static void leave_node(struct world *world)
{
    struct sim_node *node = some_open(world);

    if (node == NULL || node->stopped || open_count(world) < 2) {
        return;
    }
    node_leave(world, node->index);
    world->rings_lost++; /* what it wrote of families lately goes with it */
    kernel_at(&world->kernel, in_ms(world, 8000, 30000), start_again, world, node->index);
}

static void join_node(struct world *world)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (!world->nodes[i].is_open && world->kernel.now_us > world->nodes[i].gone_us + S) {
            node_start(world, i);
            return;
        }
    }
}

/* ---- links ---- */

static void mend_links(void *context, uint64_t argument)
{
    struct world *world = context;
    unsigned place = (unsigned)(argument & 0xff);

    (void)argument;
    for (unsigned s = 0; s < world->engine.server_count; s++) {
        model_engine_set_link(&world->engine, place, s, false, false);
        world->engine.links[place][s].delay_us = 200;
        world->engine.links[place][s].jitter_us = 100;
    }
    kernel_note(&world->kernel, "links mended", place, 0, 0, 0);
}

/* A node loses the engine: one way, the other, or both. */
static void cut_engine(struct world *world)
{
    unsigned place = (unsigned)kernel_below(&world->kernel, SIM_NODES);
    unsigned how = (unsigned)kernel_between(&world->kernel, 1, 3);

    for (unsigned s = 0; s < world->engine.server_count; s++) {
        model_engine_set_link(&world->engine, place, s, (how & 1) != 0, (how & 2) != 0);
    }
    kernel_note(&world->kernel, "engine cut off", place, how, 0, 0);
    kernel_at(&world->kernel, in_ms(world, 200, 12000), mend_links, world, place);
}

static void slow_engine(struct world *world)
{
    uint32_t delay = (uint32_t)kernel_between(&world->kernel, 20000, 1500000);

    for (unsigned n = 0; n < SIM_NODES; n++) {
        for (unsigned s = 0; s < world->engine.server_count; s++) {
            world->engine.links[n][s].delay_us = delay;
            world->engine.links[n][s].jitter_us = delay / 2;
        }
        kernel_at(&world->kernel, in_ms(world, 1000, 12000), mend_links, world, n);
    }
    kernel_note(&world->kernel, "engine slow", SIM_NOBODY, delay, 0, 0);
}

static void mend_peers(void *context, uint64_t argument)
{
    struct world *world = context;
    unsigned a = (unsigned)(argument >> 8 & 0xff);
    unsigned b = (unsigned)(argument & 0xff);

    peers_cut(&world->peers, a, b, false);
    peers_cut(&world->peers, b, a, false);
    kernel_note(&world->kernel, "peers mended", a, b, 0, 0);
}

static void cut_peers(struct world *world)
{
    unsigned a = (unsigned)kernel_below(&world->kernel, SIM_NODES);
    unsigned b = (unsigned)kernel_below(&world->kernel, SIM_NODES);
    bool both = kernel_chance(&world->kernel, 60);

    if (a == b) {
        return;
    }
    peers_cut(&world->peers, a, b, true);
    if (both) {
        peers_cut(&world->peers, b, a, true);
    }
    kernel_note(&world->kernel, "peers cut", a, b, both, 0);
    kernel_at(&world->kernel, in_ms(world, 100, 15000), mend_peers, world, (uint64_t)a << 8 | b);
}

/* ---- the engine ---- */

static unsigned some_replica(struct world *world)
{
    for (unsigned i = 0; i < 8; i++) {
        unsigned s = (unsigned)kernel_below(&world->kernel, world->engine.server_count);

        if (s != world->engine.primary && world->engine.servers[s].attached &&
            world->engine.servers[s].alive && !world->engine.servers[s].full) {
            return s;
        }
    }
    return MODEL_SERVERS;
}

static void cut_replication(struct world *world, bool up)
{
    for (unsigned i = 0; i < world->engine.server_count; i++) {
        if (i != world->engine.primary && world->engine.servers[i].attached &&
            world->engine.servers[i].alive) {
            model_engine_set_replication(&world->engine, i, up);
        }
    }
    kernel_note(&world->kernel, "replication", SIM_NOBODY, up, 0, 0);
}

static void old_comes_back(void *context, uint64_t server)
{
    struct world *world = context;
    struct model_server *old = &world->engine.servers[server];

    if (world->ended) {
        return;
    }
    if (!old->alive) {
        model_engine_restart(&world->engine, (unsigned)server, false);
    } else if (server != world->engine.primary) {
        if (old->stopped) {
            model_engine_stop(&world->engine, (unsigned)server, false);
        }
        model_engine_demote(&world->engine, (unsigned)server);
    }
    hurt_ends(world);
}

static void old_goes_on(void *context, uint64_t server)
{
    struct world *world = context;

    if (world->engine.servers[server].stopped) {
        model_engine_stop(&world->engine, (unsigned)server, false);
    }
}

/* A replica that lacks what the links did not carry any more takes over. */
static void promote(void *context, uint64_t server)
{
    struct world *world = context;
    unsigned old = world->engine.primary;

    if (!world->profile.min_replicas) {
        world->was_split = true; /* the old one, without replicas, is a majority of itself */
    }
    if (world->faults_over || server == old || !world->engine.servers[server].alive ||
        !world->engine.servers[server].attached) {
        return;
    }
    model_engine_promote(&world->engine, (unsigned)server);
    world->losses++;
    tokens_check_holders(world);
}

static void fail_over(struct world *world)
{
    unsigned server = some_replica(world);
    unsigned old = world->engine.primary;
    bool stops = kernel_chance(&world->kernel, 40);

    if (server == MODEL_SERVERS || world->engine_troubles > 0) {
        return;
    }
    hurt_begins(world);
    if (kernel_chance(&world->kernel, 70)) {
        cut_replication(world, false);
    }
    if (stops) {
        uint64_t promoted = in_ms(world, 1000, 6000);
        uint64_t resumed = promoted + kernel_between(&world->kernel, 10, 6000) * MS;

        model_engine_stop(&world->engine, old, true);
        kernel_at(&world->kernel, promoted, promote, world, server);
        kernel_at(&world->kernel, resumed, old_goes_on, world, old);
        kernel_at(&world->kernel, resumed + kernel_between(&world->kernel, 10, 3000) * MS,
                  old_comes_back, world, old);
    } else {
        uint64_t promoted = in_ms(world, 500, 6000);

        model_engine_kill(&world->engine, old, kernel_chance(&world->kernel, 70));
        kernel_at(&world->kernel, promoted, promote, world, server);
        kernel_at(&world->kernel, promoted + kernel_between(&world->kernel, 500, 12000) * MS,
                  old_comes_back, world, old);
    }
}

static void heal_split(void *context, uint64_t old)
{
    struct world *world = context;

    if (world->ended) {
        return;
    }
    for (unsigned n = 0; n < SIM_NODES; n++) {
        mend_links(world, n);
        for (unsigned m = 0; m < SIM_NODES; m++) {
            if (n != m) {
                peers_cut(&world->peers, n, m, false);
            }
        }
    }
    old_comes_back(world, old);
}

/* Some nodes and the old primary on one side, the others and the new one on the other. */
static void split(struct world *world)
{
    unsigned server = some_replica(world);
    unsigned old = world->engine.primary;
    uint64_t minority = kernel_random(&world->kernel);
    uint64_t promoted = in_ms(world, 500, 5000);

    if (server == MODEL_SERVERS || world->engine_troubles > 0) {
        return;
    }
    hurt_begins(world);
    kernel_note(&world->kernel, "split", SIM_NOBODY, old, server, minority & 63);
    cut_replication(world, false);
    for (unsigned n = 0; n < SIM_NODES; n++) {
        bool is_minor = (minority >> n & 1) != 0;

        for (unsigned s = 0; s < world->engine.server_count; s++) {
            if (is_minor != (s == old)) {
                model_engine_set_link(&world->engine, n, s, true, true);
            }
        }
        for (unsigned m = 0; m < SIM_NODES; m++) {
            if (n != m && is_minor != ((minority >> m & 1) != 0)) {
                peers_cut(&world->peers, n, m, true);
            }
        }
    }
    kernel_at(&world->kernel, promoted, promote, world, server);
    kernel_at(&world->kernel, promoted + kernel_between(&world->kernel, 1000, 20000) * MS,
              heal_split, world, old);
}

static void restart_engine(struct world *world)
{
    unsigned primary = world->engine.primary;
    bool empty = kernel_chance(&world->kernel, 50);

    if (world->engine_troubles > 0) {
        return;
    }
    hurt_begins(world);
    model_engine_kill(&world->engine, primary, kernel_chance(&world->kernel, 80));
    model_engine_restart(&world->engine, primary, empty);
    world->losses += empty;
    world->emptied_us = world->kernel.now_us;
    tokens_check_holders(world);
    hurt_ends(world);
}

static void flush_engine(struct world *world)
{
    hurt_begins(world);
    model_engine_flush(&world->engine, world->engine.primary);
    world->losses++;
    world->emptied_us = world->kernel.now_us;
    memset(world->saved, 0, sizeof(world->saved)); /* the fences, too */
    tokens_check_holders(world);
    hurt_ends(world);
}

static void evict(struct world *world)
{
    hurt_begins(world);
    model_engine_evict(&world->engine, (unsigned)kernel_between(&world->kernel, 1, 40));
    world->evictions++;
    memset(world->saved, 0, sizeof(world->saved));
    hurt_ends(world);
}

static void memory_back(void *context, uint64_t server)
{
    struct world *world = context;

    world->engine.servers[server].out_of_memory = false;
    kernel_note(&world->kernel, "memory is back", SIM_NOBODY, server, 0, 0);
    hurt_ends(world);
}

static void out_of_memory(struct world *world)
{
    unsigned primary = world->engine.primary;

    if (world->engine.servers[primary].out_of_memory) {
        return;
    }
    hurt_begins(world);
    world->engine.servers[primary].out_of_memory = true;
    kernel_note(&world->kernel, "out of memory", SIM_NOBODY, primary, 0, 0);
    kernel_at(&world->kernel, in_ms(world, 500, 9000), memory_back, world, primary);
}

static void stopped_server_goes_on(void *context, uint64_t server)
{
    old_goes_on(context, server);
    hurt_ends(context);
}

static void stop_engine(struct world *world)
{
    unsigned primary = world->engine.primary;

    if (world->engine_troubles > 0) {
        return;
    }
    hurt_begins(world);
    model_engine_stop(&world->engine, primary, true);
    kernel_at(&world->kernel, in_ms(world, 50, 9000), stopped_server_goes_on, world, primary);
}

static void replication_back(void *context, uint64_t argument)
{
    struct world *world = context;

    (void)argument;
    cut_replication(world, true);
    hurt_ends(world);
}

static void slow_replication(struct world *world)
{
    if (world->engine_troubles > 0 || world->engine.server_count < 2) {
        return;
    }
    hurt_begins(world);
    cut_replication(world, false);
    kernel_at(&world->kernel, in_ms(world, 100, 8000), replication_back, world, 0);
}

/* ---- clocks ---- */

static int64_t some_step(struct world *world)
{
    int64_t size = (int64_t)kernel_between(&world->kernel, 10,
                                           kernel_chance(&world->kernel, 50) ? 2000 : 3600000);

    return kernel_chance(&world->kernel, 50) ? size : -size;
}

static void step_clock(struct world *world)
{
    if (kernel_chance(&world->kernel, 50)) {
        struct sim_node *node = some_open(world);

        if (node != NULL) {
            node->wall_offset_ms = 3 * some_step(world);
            kernel_note(&world->kernel, "wall clock", node->index, (uint64_t)node->wall_offset_ms,
                        0, 0);
        }
        return;
    }
    for (unsigned s = 0; s < world->engine.server_count; s++) {
        if (kernel_chance(&world->kernel, 60)) {
            world->engine.servers[s].clock_offset_ms = some_step(world);
            kernel_note(&world->kernel, "server clock", SIM_NOBODY, s,
                        (uint64_t)world->engine.servers[s].clock_offset_ms, 0);
        }
    }
    hurt_begins(world); /* what expires by that clock may be gone */
    hurt_ends(world);
}

/* ---- one after the other ---- */

static void break_conns(struct world *world)
{
    model_engine_break(&world->engine, (unsigned)kernel_below(&world->kernel, SIM_NODES));
}

static void flood(struct world *world)
{
    struct sim_node *node = some_open(world);

    if (node != NULL && !node->stopped) {
        checks_flood(world, node, (unsigned)kernel_between(&world->kernel, 100, 3000));
    }
}

static void reload(struct world *world)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (world->nodes[i].is_open && !world->nodes[i].stopped) {
            checks_reload(world, &world->nodes[i]);
        }
    }
}

static bool always(const struct world_profile *profile)
{
    (void)profile;
    return true;
}

#define WHEN(field)                                               \
    static bool when_##field(const struct world_profile *profile) \
    {                                                             \
        return profile->field;                                    \
    }
WHEN(kills)
WHEN(stops)
WHEN(leaves)
WHEN(partitions)
WHEN(failovers)
WHEN(losses)
WHEN(memory)
WHEN(clock_jumps)
WHEN(floods)
WHEN(reloads)

static const struct {
    void (*happens)(struct world *world);
    bool (*may)(const struct world_profile *profile);
    unsigned weight;
} faults[] = {
    { kill_node, when_kills, 10 },       { stop_node, when_stops, 10 },
    { leave_node, when_leaves, 8 },      { join_node, when_leaves, 8 },
    { cut_engine, when_partitions, 8 },  { cut_peers, when_partitions, 8 },
    { slow_engine, always, 4 },          { break_conns, always, 6 },
    { fail_over, when_failovers, 14 },   { split, when_partitions, 6 },
    { restart_engine, when_losses, 4 },  { flush_engine, when_losses, 3 },
    { evict, when_memory, 4 },           { out_of_memory, when_memory, 5 },
    { stop_engine, when_stops, 6 },      { slow_replication, always, 4 },
    { step_clock, when_clock_jumps, 8 }, { flood, when_floods, 5 },
    { reload, when_reloads, 5 },
};

static void one_fault(struct world *world)
{
    unsigned total = 0;
    unsigned pick;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        total += faults[i].may(&world->profile) ? faults[i].weight : 0;
    }
    pick = (unsigned)kernel_below(&world->kernel, total);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        unsigned weight = faults[i].may(&world->profile) ? faults[i].weight : 0;

        if (pick < weight) {
            world->faults_done++;
            faults[i].happens(world);
            return;
        }
        pick -= weight;
    }
}

static void fault(void *context, uint64_t argument)
{
    struct world *world = context;

    (void)argument;
    if (world->faults_over) {
        return;
    }
    one_fault(world);
    if (kernel_chance(&world->kernel, 20)) {
        one_fault(world);
    }
    faults_begin(world);
}

void faults_begin(struct world *world)
{
    uint64_t gap = kernel_between(&world->kernel, world->profile.fault_gap_us / 4,
                                  world->profile.fault_gap_us * 2);

    kernel_at(&world->kernel, world->kernel.now_us + gap, fault, world, 0);
}

void faults_heal(struct world *world)
{
    unsigned open = 0;

    world->faults_over = true;
    kernel_note(&world->kernel, "all heals", SIM_NOBODY, 0, 0, 0);
    for (unsigned s = 0; s < world->engine.server_count; s++) {
        struct model_server *server = &world->engine.servers[s];

        server->out_of_memory = false;
        if (server->stopped) {
            model_engine_stop(&world->engine, s, false);
        }
        if (!server->alive) {
            model_engine_restart(&world->engine, s, false);
        }
        if (s != world->engine.primary && (server->is_primary || !server->attached)) {
            model_engine_demote(&world->engine, s);
        }
        model_engine_set_replication(&world->engine, s, true);
    }
    for (unsigned n = 0; n < SIM_NODES; n++) {
        mend_links(world, n);
        for (unsigned m = 0; m < SIM_NODES; m++) {
            if (n != m) {
                peers_cut(&world->peers, n, m, false);
            }
        }
        if (world->nodes[n].stopped) {
            node_stop(world, n, false);
        }
        open += world->nodes[n].is_open && !world->nodes[n].leaving;
    }
    for (unsigned n = 0; n < SIM_NODES && open < world->profile.nodes; n++) {
        if (!world->nodes[n].is_open) {
            node_start(world, n);
            open++;
        }
    }
}
