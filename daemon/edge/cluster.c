/*
 * The thread: its inbox, what workers and the engine tell it, and what the node tells it; a turn of
 * its loop.
 */
#include "edge/cluster_inside.h"

#include <stdio.h>

#define TURN_MAX_MS 100  /* the loop wakes at least so often: it is the pulse of deadlines */
#define STALL_MS    1000 /* between two turns: the machine stood still, or a turn was too long */

uint64_t pawl_cluster_now_ms(struct pawl_cluster *cluster)
{
    /* Read anew: the loop's own clock stands still while a turn is handled. */
    return pawl_clock_read(cluster->options.clock).instant.ns / 1000000;
}

/* ---- inbox --------------------------------------------------------------------------------- */

bool pawl_cluster_post(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    post->next = NULL;
    (void)pthread_mutex_lock(&cluster->lock);
    bool taken = !cluster->stopped;

    if (taken) {
        *(cluster->posts_last == NULL ? &cluster->posts : &cluster->posts_last->next) = post;
        cluster->posts_last = post;
        (void)uv_async_send(&cluster->wake);
    }
    (void)pthread_mutex_unlock(&cluster->lock);
    return taken;
}

void pawl_cluster_wake(struct pawl_cluster *cluster)
{
    (void)pthread_mutex_lock(&cluster->lock);
    if (!cluster->stopped) {
        (void)uv_async_send(&cluster->wake);
    }
    (void)pthread_mutex_unlock(&cluster->lock);
}

void pawl_cluster_drain_posts(struct pawl_cluster *cluster)
{
    (void)pthread_mutex_lock(&cluster->lock);
    struct pawl_cluster_post *post = cluster->posts;
    struct pawl_peer_request *request = cluster->requests;

    cluster->posts = NULL;
    cluster->posts_last = NULL;
    cluster->requests = NULL;
    cluster->requests_last = NULL;
    (void)pthread_mutex_unlock(&cluster->lock);
    while (post != NULL) {
        struct pawl_cluster_post *next = post->next;

        post->run(cluster, post);
        post = next;
    }
    while (request != NULL) {
        struct pawl_peer_request *next = (struct pawl_peer_request *)(void *)request->post.next;

        pawl_cluster_request(cluster, request);
        request = next;
    }
}

void pawl_cluster_drain_jobs(struct pawl_cluster *cluster)
{
    (void)pthread_mutex_lock(&cluster->lock);
    struct pawl_job *job = cluster->jobs;

    cluster->jobs = NULL;
    cluster->jobs_last = NULL;
    (void)pthread_mutex_unlock(&cluster->lock);
    while (job != NULL) {
        struct pawl_job *next = job->next;

        pawl_cluster_job(cluster, job);
        job = next;
    }
}

/* Bits that workers set: each slot once, however many requests said so. */
static void drain_slots(struct pawl_cluster *cluster, uint64_t now_ms)
{
    for (uint32_t word = 0; word < PAWL_RING_SLOTS / 64; word++) {
        uint64_t wanted = atomic_exchange(&cluster->wanted[word], 0);
        uint64_t counted = atomic_exchange(&cluster->counted[word], 0);

        for (; wanted != 0; wanted &= wanted - 1) {
            pawl_cluster_slots_wanted_first(&cluster->node.slots,
                                            word * 64 + (uint32_t)__builtin_ctzll(wanted));
        }
        for (; counted != 0; counted &= counted - 1) {
            pawl_cluster_slots_counted(&cluster->node.slots,
                                       word * 64 + (uint32_t)__builtin_ctzll(counted), now_ms);
        }
    }
}

void pawl_cluster_on_wake(uv_async_t *handle)
{
    struct pawl_cluster *cluster = handle->data;
    uint64_t now_ms = pawl_cluster_now_ms(cluster);
    uint64_t refresh = atomic_exchange(&cluster->refresh, 0);

    if (cluster->ended) {
        pawl_cluster_drain_posts(cluster);
        return;
    }
    pawl_cluster_drain_posts(cluster);
    pawl_cluster_drain_jobs(cluster);
    if (atomic_exchange(&cluster->slots_marked, false)) {
        drain_slots(cluster, now_ms);
    }
    if (refresh != 0) {
        pawl_members_hear(&cluster->node.members, refresh, now_ms);
    }
}

/* ---- what workers tell; on their threads ----------------------------------------------------- */

static void mark_slot(struct pawl_cluster *cluster, _Atomic uint64_t *words, uint32_t slot)
{
    uint64_t bit = UINT64_C(1) << slot % 64;

    if ((atomic_fetch_or(&words[slot / 64], bit) & bit) == 0) {
        atomic_store(&cluster->slots_marked, true);
        pawl_cluster_wake(cluster);
    }
}

static void wanted_first(void *self, uint32_t slot)
{
    struct pawl_cluster *cluster = self;

    mark_slot(cluster, cluster->wanted, slot);
}

static void counted(void *self, uint32_t slot)
{
    struct pawl_cluster *cluster = self;

    mark_slot(cluster, cluster->counted, slot);
}

static void refresh(void *self, uint64_t number)
{
    struct pawl_cluster *cluster = self;
    uint64_t old = atomic_load(&cluster->refresh);

    while (old < number && !atomic_compare_exchange_weak(&cluster->refresh, &old, number)) {
    }
    pawl_cluster_wake(cluster);
}

static void unreachable(void *self, struct pawl_member_id member)
{
    struct pawl_cluster *cluster = self;

    (void)member; /* whether it is dead is judged by its announcements alone */
    pawl_cluster_count(&cluster->figures.unreachable, 1);
}

static void peer_asks(void *self, struct pawl_peer_request *request)
{
    struct pawl_cluster *cluster = self;

    request->post.next = NULL;
    (void)pthread_mutex_lock(&cluster->lock);
    bool refused = cluster->stopped;

    if (!refused) {
        *(cluster->requests_last == NULL
              ? &cluster->requests
              : (struct pawl_peer_request **)(void *)&cluster->requests_last->post.next) = request;
        cluster->requests_last = request;
    }
    (void)pthread_mutex_unlock(&cluster->lock);
    if (refused) {
        request->status = PAWL_EUNAVAIL;
        (void)snprintf(request->error, sizeof(request->error), "this node is stopping");
        pawl_peer_answer(request);
        return;
    }
    pawl_cluster_wake(cluster);
}

/* ---- the engine ---------------------------------------------------------------------------- */

static void set_wall(struct pawl_cluster *cluster, uint64_t now_ms)
{
    struct pawl_now now = pawl_clock_read(cluster->options.clock);

    pawl_node_set_wall(&cluster->node, now.wall.unix_s > 0 ? (uint64_t)now.wall.unix_s * 1000 : 0,
                       now_ms);
}

static void engine_up(void *self, const struct pawl_engine_state *state)
{
    struct pawl_cluster *cluster = self;

    pawl_cluster_say_up(cluster, state);
    set_wall(cluster, pawl_cluster_now_ms(cluster));
    pawl_node_on_up(&cluster->node, state->epoch, state->replicas, pawl_cluster_now_ms(cluster));
}

static void engine_down(void *self, const char *why)
{
    struct pawl_cluster *cluster = self;

    pawl_cluster_say_down(cluster, why);
    pawl_node_on_down(&cluster->node, pawl_cluster_now_ms(cluster));
}

static void engine_reply(void *self, const struct pawl_engine_reply *reply)
{
    struct pawl_cluster *cluster = self;

    pawl_node_on_reply(&cluster->node, reply, pawl_cluster_now_ms(cluster));
}

static void emit(void *self, const struct pawl_engine_command *command)
{
    struct pawl_cluster *cluster = self;

    cluster->engine.ops->emit(cluster->engine.self, command);
}

/* ---- what the node tells ------------------------------------------------------------------- */

static void node_fact(void *self, const struct pawl_log_news *news)
{
    struct pawl_cluster *cluster = self;
    const struct pawl_store_events *events = &cluster->options.events;

    if (news->counts && events->on_fact != NULL) {
        events->on_fact(events->self, news->fact);
    }
    if (news->source != PAWL_LOG_SOURCE_JOURNAL) {
        pawl_cluster_keep(cluster, news->bytes,
                          news->source == PAWL_LOG_SOURCE_OWN ? cluster->adding : NULL);
    }
}

static void node_cancel(void *self, const struct pawl_fact *canceled,
                        const struct pawl_fact *remaining)
{
    struct pawl_cluster *cluster = self;
    const struct pawl_store_events *events = &cluster->options.events;

    if (events->on_cancel != NULL) {
        events->on_cancel(events->self, canceled, remaining);
    }
}

static void node_fork(void *self, const struct pawl_family *family)
{
    pawl_cluster_fork(self, family);
}

static void node_view(void *self, const struct pawl_view *view)
{
    pawl_cluster_say_view(self, view);
    pawl_cluster_view(self, view);
}

static void node_push(void *self, struct pawl_bytes sealed)
{
    (void)sealed; /* it is the node's own by now */
    pawl_cluster_push_view(self);
}

static void node_expelled(void *self)
{
    pawl_cluster_say_expelled(self);
}

static void node_ask(void *self, const struct pawl_slots_request *request)
{
    pawl_cluster_ask(self, request);
}

static void node_changed(void *self)
{
    struct pawl_cluster *cluster = self;

    cluster->poke = true;
}

static void node_saved(void *self, uint64_t ticket, enum pawl_engine_result result)
{
    pawl_cluster_saved(self, ticket, result);
}

static void node_waited(void *self, uint64_t ticket, bool enough)
{
    pawl_cluster_waited(self, ticket, enough);
}

/* ---- a turn -------------------------------------------------------------------------------- */

static void follow_freshness(struct pawl_cluster *cluster)
{
    uint64_t synced_ms = pawl_log_synced_ms(&cluster->node.log);
    struct pawl_revocations *table = cluster->options.revocations;

    if (synced_ms == 0 || synced_ms == cluster->synced_ms) {
        return;
    }
    cluster->synced_ms = synced_ms;
    pawl_revocations_synced(table, synced_ms);
    if (pawl_revocations_get_mode(&table->view) == PAWL_REVOCATIONS_LOADING) {
        pawl_revocations_set_mode(table, PAWL_REVOCATIONS_SERVING);
        pawl_log_event(cluster->options.log, PAWL_LOG_INFO, "cluster_synced",
                       PAWL_F_U64("facts", cluster->node.log.stats.facts),
                       PAWL_F_U64("origins", cluster->node.log.stats.origins));
    }
}

/* Once it is over, it is over: a member that was ready does not become new again. */
static void follow_cold(struct pawl_cluster *cluster, uint64_t now_ms)
{
    const struct pawl_view *view = pawl_members_view(&cluster->node.members);
    unsigned own = pawl_members_is_in(&cluster->node.members) ? 1 : 0;
    const struct pawl_cold cold = { .synced = cluster->synced_ms != 0,
                                    .loaded = cluster->loaded,
                                    .others = view->count > own };

    if (!atomic_load(&cluster->world.cold) ||
        pawl_cold_waits(&cold, now_ms - cluster->started_ms)) {
        return;
    }
    atomic_store(&cluster->world.cold, false);
    if (!cold.synced && !cold.loaded) {
        pawl_log_event(cluster->options.log, PAWL_LOG_WARN, "ready_without_facts",
                       PAWL_F_TEXT("why", "neither the engine nor a journal had any in time; "
                                          "tokens are undecided until the engine is there"));
    }
}

static void follow_clock(struct pawl_cluster *cluster)
{
    uint64_t engine_ms = cluster->node.engine_ms;

    if (engine_ms == 0 || atomic_load(&cluster->slow_base_s) != 0) {
        return;
    }
    atomic_store(&cluster->slow_base_ms, cluster->node.engine_read_ms);
    atomic_store(&cluster->slow_base_s, engine_ms / 1000);
}

static void look_at_leave(struct pawl_cluster *cluster, uint64_t now_ms)
{
    if (!cluster->leaving || cluster->left == NULL) {
        return;
    }
    bool empty = pawl_node_left(&cluster->node, now_ms);

    if (!empty && now_ms < cluster->leave_until_ms) {
        return;
    }
    void (*left)(void *ctx) = cluster->left;

    cluster->left = NULL;
    pawl_log_event(cluster->options.log, empty ? PAWL_LOG_INFO : PAWL_LOG_WARN, "cluster_left",
                   PAWL_F_BOOL("all_handed_over", empty));
    left(cluster->left_ctx);
}

static void note_turn(struct pawl_cluster *cluster, uint64_t now_ms)
{
    uint64_t gap_ms = cluster->turn_ms == 0 ? 0 : now_ms - cluster->turn_ms;
    struct pawl_cluster_figures *figures = &cluster->figures;

    cluster->turn_ms = now_ms;
    if (gap_ms < STALL_MS) {
        return;
    }
    pawl_cluster_count(&figures->stalls, 1);
    if (gap_ms > atomic_load_explicit(&figures->stall_max_ms, memory_order_relaxed)) {
        atomic_store_explicit(&figures->stall_max_ms, gap_ms, memory_order_relaxed);
    }
    pawl_log_event(cluster->options.log, PAWL_LOG_WARN, "stood_still", PAWL_F_U64("ms", gap_ms),
                   PAWL_F_TEXT("do", "past 3.5 s others may have taken this node's keys: look at "
                                     "its machine (a paused guest, swap, no processor time)"));
}

static void on_timer(uv_timer_t *handle)
{
    (void)handle; /* the turn that follows does what is due */
}

/* Before the loop waits: all that this turn brought is in. */
void pawl_cluster_on_turn(uv_prepare_t *handle)
{
    struct pawl_cluster *cluster = handle->data;
    uint64_t now_ms = pawl_cluster_now_ms(cluster);

    if (cluster->ended) {
        return;
    }
    note_turn(cluster, now_ms);
    pawl_cluster_bury(cluster);
    set_wall(cluster, now_ms);
    cluster->node.options.staleness_max_ms = atomic_load(&cluster->staleness_max_ms);
    pawl_cluster_reach_turn(cluster, now_ms);
    pawl_node_tick(&cluster->node, now_ms, pawl_cluster_slow_s(cluster));
    follow_freshness(cluster);
    follow_cold(cluster, now_ms);
    follow_clock(cluster);
    look_at_leave(cluster, now_ms);
    pawl_cluster_seeds_turn(cluster, now_ms);
    atomic_store(&cluster->joined, pawl_members_is_in(&cluster->node.members));
    pawl_cluster_show(cluster, now_ms);
    if (cluster->poke) {
        cluster->poke = false;
        pawl_world_poke(&cluster->world);
    }
    uint64_t next_ms = cluster->node.next_ms;
    uint64_t wait_ms = next_ms <= now_ms ? 0 : next_ms - now_ms;

    (void)uv_timer_start(&cluster->timer, on_timer, wait_ms < TURN_MAX_MS ? wait_ms : TURN_MAX_MS,
                         0);
}

/* ---- wiring --------------------------------------------------------------------------------- */

struct pawl_world_calls pawl_cluster_world_calls(struct pawl_cluster *cluster)
{
    return (struct pawl_world_calls){ .wanted_first = wanted_first,
                                      .refresh = refresh,
                                      .unreachable = unreachable,
                                      .counted = counted,
                                      .request = peer_asks,
                                      .self = cluster };
}

struct pawl_engine_events pawl_cluster_engine_events(struct pawl_cluster *cluster)
{
    return (struct pawl_engine_events){ engine_up, engine_down, engine_reply, cluster };
}

void pawl_cluster_wire(struct pawl_cluster *cluster, struct pawl_node_options *options)
{
    options->out = (struct pawl_engine_out){ emit, cluster };
    options->events = (struct pawl_node_events){ .on_fact = node_fact,
                                                 .on_cancel = node_cancel,
                                                 .on_fork = node_fork,
                                                 .on_view = node_view,
                                                 .push = node_push,
                                                 .expelled = node_expelled,
                                                 .ask = node_ask,
                                                 .changed = node_changed,
                                                 .saved = node_saved,
                                                 .waited = node_waited,
                                                 .self = cluster };
}
