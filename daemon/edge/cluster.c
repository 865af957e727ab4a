/*
 * The thread, its loop and its inbox; life from create to destroy.
 */
#include "edge/cluster_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edge/loop.h"

#define TURN_MAX_MS 100  /* the loop wakes at least so often: it is the pulse of deadlines */
#define BYE_MS      1500 /* to take this member out of the view, at most */
#define CLOSE_MS    3000 /* connections to end */

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

/* Any thread. */
static void wake_up(struct pawl_cluster *cluster)
{
    (void)pthread_mutex_lock(&cluster->lock);
    if (!cluster->stopped) {
        (void)uv_async_send(&cluster->wake);
    }
    (void)pthread_mutex_unlock(&cluster->lock);
}

static enum pawl_status submit(void *self, struct pawl_job *job)
{
    struct pawl_cluster *cluster = self;
    enum pawl_status status = PAWL_OK;

    (void)pthread_mutex_lock(&cluster->lock);
    if (cluster->refusing) {
        status = PAWL_ECANCELED;
    } else if (atomic_load(&cluster->jobs_out) >= cluster->options.queue_max) {
        status = PAWL_EFULL;
    } else {
        job->next = NULL;
        *(cluster->jobs_last == NULL ? &cluster->jobs : &cluster->jobs_last->next) = job;
        cluster->jobs_last = job;
        (void)atomic_fetch_add(&cluster->jobs_out, 1);
    }
    (void)pthread_mutex_unlock(&cluster->lock);
    pawl_cluster_count(
        status == PAWL_OK ? &cluster->figures.submitted : &cluster->figures.refused_full, 1);
    if (status == PAWL_OK) {
        wake_up(cluster);
    }
    return status;
}

static void drain_posts(struct pawl_cluster *cluster)
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

static void drain_jobs(struct pawl_cluster *cluster)
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

static void on_wake(uv_async_t *handle)
{
    struct pawl_cluster *cluster = handle->data;
    uint64_t now_ms = pawl_cluster_now_ms(cluster);
    uint64_t refresh = atomic_exchange(&cluster->refresh, 0);

    if (cluster->ended) {
        drain_posts(cluster);
        return;
    }
    drain_posts(cluster);
    drain_jobs(cluster);
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
        wake_up(cluster);
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
    wake_up(cluster);
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
    wake_up(cluster);
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

static void follow_clock(struct pawl_cluster *cluster)
{
    uint64_t engine_ms = cluster->node.engine_ms;

    if (engine_ms == 0 || atomic_load(&cluster->slow_base_s) != 0) {
        return;
    }
    atomic_store(&cluster->slow_base_ms, cluster->node.engine_read_ms);
    atomic_store(&cluster->slow_base_s, engine_ms / 1000);
}

static uint64_t slow_s(void *self)
{
    struct pawl_cluster *cluster = self;
    const struct pawl_store *journal = &cluster->options.journal;
    uint64_t stored_s = journal->ops != NULL ? journal->ops->slow_s(journal->self) : 0;
    uint64_t base_s = atomic_load(&cluster->slow_base_s);
    uint64_t base_ms = atomic_load(&cluster->slow_base_ms);
    uint64_t now_ms = pawl_cluster_now_ms(cluster);
    uint64_t own_s = base_s == 0 ? 0 : base_s + (now_ms > base_ms ? now_ms - base_ms : 0) / 1000;

    return stored_s > own_s ? stored_s : own_s;
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

static void on_timer(uv_timer_t *handle)
{
    (void)handle; /* the turn that follows does what is due */
}

/* Before the loop waits: all that this turn brought is in. */
static void on_turn(uv_prepare_t *handle)
{
    struct pawl_cluster *cluster = handle->data;
    uint64_t now_ms = pawl_cluster_now_ms(cluster);

    if (cluster->ended) {
        return;
    }
    pawl_cluster_bury(cluster);
    set_wall(cluster, now_ms);
    pawl_node_tick(&cluster->node, now_ms, slow_s(cluster));
    follow_freshness(cluster);
    follow_clock(cluster);
    look_at_leave(cluster, now_ms);
    atomic_store(&cluster->joined, pawl_cluster_slots_settled(&cluster->node.slots));
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

/* ---- the end ------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void on_outbound_closed(void *ctx)
{
    struct pawl_cluster *cluster = ctx;

    (void)pthread_mutex_lock(&cluster->lock);
    cluster->stopped = true;
    (void)pthread_mutex_unlock(&cluster->lock);
    close_handle((uv_handle_t *)&cluster->wake);
    close_handle((uv_handle_t *)&cluster->timer);
    close_handle((uv_handle_t *)&cluster->late);
    close_handle((uv_handle_t *)&cluster->turn);
}

/* Everything that could still want the network has ended. */
static void close_rest(struct pawl_cluster *cluster)
{
    if (cluster->options.maker.destroy != NULL && cluster->engine.ops != NULL) {
        cluster->options.maker.destroy(cluster->options.maker.ctx);
        cluster->engine.ops = NULL;
    }
    pawl_outbound_close(&cluster->outbound, on_outbound_closed, cluster);
}

static void on_engine_closed(void *ctx)
{
    struct pawl_cluster *cluster = ctx;

    pawl_cluster_peers_end(cluster);
    close_rest(cluster);
}

/* Nothing new is begun; what waits gets its answer. Pulls that wait for workers end when those
 * have run what they were told, which is over by now or comes with pawl_server_destroy(). */
static void end_node(struct pawl_cluster *cluster)
{
    if (cluster->ended) {
        return;
    }
    drain_jobs(cluster);
    pawl_node_end(&cluster->node, pawl_cluster_now_ms(cluster));
    pawl_cluster_jobs_end(cluster);
    cluster->ended = true;
    if (cluster->engine.ops != NULL) {
        cluster->engine.ops->close(cluster->engine.self, on_engine_closed, cluster);
    } else {
        on_engine_closed(cluster);
    }
}

/* In small steps: out of the view and of the announced ones, the journal's answers, then the end.
 */
static void on_late(uv_timer_t *handle)
{
    struct pawl_cluster *cluster = handle->data;
    uint64_t now_ms = pawl_cluster_now_ms(cluster);
    bool gone = !cluster->leaving || cluster->node.done;

    if ((!gone && now_ms < cluster->close_until_ms) || cluster->keeps_out > 0 ||
        cluster->keeps != NULL || cluster->asks_out > 0 || cluster->below_out > 0) {
        (void)uv_timer_start(handle, on_late, 10, 0);
        if (cluster->asks_out > 0 && now_ms >= cluster->close_until_ms) {
            pawl_cluster_peers_end(cluster);
        }
        return;
    }
    end_node(cluster);
}

static void run_close(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    (void)post;
    cluster->closing = true;
    cluster->close_until_ms = pawl_cluster_now_ms(cluster) + BYE_MS;
    drain_jobs(cluster);
    if (cluster->leaving) {
        pawl_node_bye(&cluster->node, pawl_cluster_now_ms(cluster));
    }
    (void)uv_timer_start(&cluster->late, on_late, 0, 0);
}

static void run_leave(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    uint64_t now_ms = pawl_cluster_now_ms(cluster);

    (void)post;
    cluster->leaving = true;
    cluster->leave_until_ms = now_ms + cluster->leave_ms;
    pawl_node_leave(&cluster->node, now_ms);
}

void pawl_cluster_leave(struct pawl_cluster *cluster, uint32_t timeout_ms, void (*left)(void *ctx),
                        void *ctx)
{
    cluster->leave_ms = timeout_ms;
    cluster->left = left;
    cluster->left_ctx = ctx;
    cluster->leave_post.run = run_leave;
    (void)pawl_cluster_post(cluster, &cluster->leave_post);
}

void pawl_cluster_close(struct pawl_cluster *cluster)
{
    if (!cluster->started) {
        return;
    }
    (void)pthread_mutex_lock(&cluster->lock);
    cluster->refusing = true;
    (void)pthread_mutex_unlock(&cluster->lock);
    cluster->close_post.run = run_close;
    (void)pawl_cluster_post(cluster, &cluster->close_post);
    (void)pthread_join(cluster->thread, NULL);
    cluster->started = false;
    drain_posts(cluster); /* what came between the last turn and the end: answered as too late */
}

/* ---- the store ----------------------------------------------------------------------------- */

static bool store_frozen(void *self)
{
    return pawl_cluster_frozen(self);
}

static uint64_t store_floor_ms(void *self)
{
    const struct pawl_cluster *cluster = self;
    const struct pawl_store *journal = &cluster->options.journal;

    return journal->ops != NULL ? journal->ops->floor_ms(journal->self) : 0;
}

static void store_identity(void *self, struct pawl_stamp *birth, struct pawl_origin *origin)
{
    struct pawl_cluster *cluster = self;

    birth->us = atomic_load(&cluster->birth_us);
    *origin = cluster->options.self;
}

/* Counts are not the journal's: its figures about them would stand beside the cluster's. */
static void journal_number(void *self, const char *name, uint64_t value)
{
    const struct pawl_stats_sink *sink = self;

    if (strncmp(name, "counter_", strlen("counter_")) != 0) {
        sink->number(sink->self, name, value);
    }
}

static void journal_flag(void *self, const char *name, bool value)
{
    const struct pawl_stats_sink *sink = self;

    sink->flag(sink->self, name, value);
}

static void journal_text(void *self, const char *name, struct pawl_bytes value)
{
    const struct pawl_stats_sink *sink = self;

    sink->text(sink->self, name, value);
}

static void store_stats(void *self, const struct pawl_stats_sink *sink)
{
    const struct pawl_cluster *cluster = self;
    const struct pawl_store *journal = &cluster->options.journal;
    struct pawl_stats_sink through = { journal_number, journal_flag, journal_text,
                                       (void *)(uintptr_t)sink };

    if (journal->ops != NULL) {
        journal->ops->stats(journal->self, &through);
    } else {
        sink->flag(sink->self, "frozen", false);
    }
    pawl_cluster_stats(self, sink);
}

static void store_close(void *self)
{
    pawl_cluster_close(self);
}

struct pawl_store pawl_cluster_store(struct pawl_cluster *cluster)
{
    static const struct pawl_store_ops ops = {
        .submit = submit,
        .frozen = store_frozen,
        .slow_s = slow_s,
        .floor_ms = store_floor_ms,
        .identity = store_identity,
        .stats = store_stats,
        .close = store_close,
    };
    struct pawl_store store = { &ops, cluster };

    return store;
}

struct pawl_cluster_world *pawl_cluster_world(struct pawl_cluster *cluster)
{
    return &cluster->world;
}

/* ---- making -------------------------------------------------------------------------------- */

static void *heap_take(void *self, void *old, size_t size)
{
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

/* What of the options lies in memory that is only lent. */
static enum pawl_status copy_options(struct pawl_cluster *cluster,
                                     const struct pawl_cluster_options *options,
                                     struct pawl_error *error)
{
    if (options->facts_count == 0 || options->facts_count > PAWL_CLUSTER_KEYS_MAX ||
        options->ack_count > PAWL_CLUSTER_ACKS_MAX ||
        strlen(options->advertise) >= sizeof(cluster->advertise)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "cluster: too many namespaces with levels of their own (at most %u), "
                              "or an address that is too long",
                              PAWL_CLUSTER_ACKS_MAX);
    }
    cluster->options = *options;
    (void)snprintf(cluster->advertise, sizeof(cluster->advertise), "%s", options->advertise);
    (void)snprintf(cluster->version, sizeof(cluster->version), "%s", options->version);
    memcpy(cluster->facts, options->facts, options->facts_count * sizeof(cluster->facts[0]));
    cluster->limits = *options->limits;
    cluster->slots = *options->slots;
    for (unsigned i = 0; i < options->ack_count; i++) {
        (void)snprintf(cluster->acks[i].ns, sizeof(cluster->acks[i].ns), "%s", options->acks[i].ns);
        cluster->acks[i].ack = options->acks[i].ack;
    }
    if (cluster->options.queue_max == 0) {
        cluster->options.queue_max = PAWL_CLUSTER_QUEUE_MAX;
    }
    cluster->self = pawl_member_of(options->self);
    atomic_store(&cluster->birth_us, options->birth.us);
    pawl_cold_arena_init(&cluster->arena, cluster->arena_memory, sizeof(cluster->arena_memory));
    return PAWL_OK;
}

static enum pawl_status open_node(struct pawl_cluster *cluster, struct pawl_error *error)
{
    struct pawl_node_options options = {
        .self = cluster->options.self,
        .address = pawl_bytes_of(cluster->advertise, strlen(cluster->advertise)),
        .version = pawl_bytes_of(cluster->version, strlen(cluster->version)),
        .started_unix_s = pawl_clock_read(cluster->options.clock).wall.unix_s,
        .facts = cluster->facts,
        .facts_count = cluster->options.facts_count,
        .limits = &cluster->limits,
        .slots = &cluster->slots,
        .limiter = cluster->options.limiter,
        .ownership = &cluster->world.ownership,
        .birth_ms = cluster->options.birth.us / 1000,
        .staleness_max_ms = cluster->options.staleness_max_ms,
        .facts_max = cluster->options.facts_max,
        .command_ms = cluster->options.command_ms,
        .interval_ms = cluster->options.interval_ms,
        .strict_gate = cluster->options.strict_gate,
        .out = { emit, cluster },
        .heap = { heap_take, NULL },
        .events = { .on_fact = node_fact,
                    .on_cancel = node_cancel,
                    .on_fork = node_fork,
                    .on_view = node_view,
                    .push = node_push,
                    .expelled = node_expelled,
                    .ask = node_ask,
                    .changed = node_changed,
                    .saved = node_saved,
                    .waited = node_waited,
                    .self = cluster },
    };
    enum pawl_status status = cluster->options.entropy->fill(cluster->options.entropy->self,
                                                             &options.seed, sizeof(options.seed));

    if (status == PAWL_OK) {
        status = pawl_node_init(&cluster->node, &options, pawl_cluster_now_ms(cluster));
    }
    cluster->node_open = status == PAWL_OK;
    return status == PAWL_OK ? PAWL_OK
                             : pawl_error_set(error, status, 0, "cluster: %s while making the node",
                                              pawl_status_text(status));
}

static enum pawl_status open_loop(struct pawl_cluster *cluster, struct pawl_error *error)
{
    if (pawl_loop_open(&cluster->loop, PAWL_MEMBERS_MAX + PAWL_FDS_BESIDE) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, errno, "cluster: no event loop: %s",
                              strerror(errno));
    }
    cluster->loop_open = true;
    cluster->wake.data = cluster;
    cluster->timer.data = cluster;
    cluster->late.data = cluster;
    cluster->turn.data = cluster;
    if (uv_async_init(&cluster->loop, &cluster->wake, on_wake) != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "cluster: no event loop");
    }
    cluster->wake.data = cluster;
    (void)uv_timer_init(&cluster->loop, &cluster->timer);
    (void)uv_timer_init(&cluster->loop, &cluster->late);
    (void)uv_prepare_init(&cluster->loop, &cluster->turn);
    cluster->handles_open = true;
    if (pawl_outbound_init(&cluster->outbound, &cluster->loop, cluster->world.tls.ops) != PAWL_OK) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "cluster: no memory for connections");
    }
    cluster->outbound_open = true;
    cluster->net = pawl_outbound_net(&cluster->outbound);
    return PAWL_OK;
}

enum pawl_status pawl_cluster_create(const struct pawl_cluster_options *options,
                                     struct pawl_cluster **out, struct pawl_error *error)
{
    static const struct pawl_tls no_tls;
    struct pawl_cluster *cluster = calloc(1, sizeof(*cluster));

    *out = NULL;
    if (cluster == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "cluster: out of memory");
    }
    struct pawl_world_calls calls = { .wanted_first = wanted_first,
                                      .refresh = refresh,
                                      .unreachable = unreachable,
                                      .counted = counted,
                                      .request = peer_asks,
                                      .self = cluster };

    (void)pthread_mutex_init(&cluster->lock, NULL);
    (void)pthread_mutex_init(&cluster->stats_lock, NULL);
    enum pawl_status status = copy_options(cluster, options, error);

    if (status == PAWL_OK) {
        status = pawl_world_init(&cluster->world, cluster->self, &cluster->slots,
                                 options->tls != NULL ? options->tls : &no_tls, &calls);
        cluster->world_open = status == PAWL_OK;
    }
    status = status == PAWL_OK ? open_loop(cluster, error) : status;
    status = status == PAWL_OK ? open_node(cluster, error) : status;
    if (status != PAWL_OK) {
        pawl_cluster_destroy(cluster);
        return status;
    }
    cluster->started_ms = pawl_cluster_now_ms(cluster);
    *out = cluster;
    return PAWL_OK;
}

static void note_load(struct pawl_cluster *cluster, enum pawl_status status)
{
    if (status != PAWL_OK) {
        pawl_log_event(cluster->options.log, PAWL_LOG_ERROR, "journal_fact_refused",
                       PAWL_F_TEXT("why", pawl_status_text(status)));
    }
}

static void run_load(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    struct pawl_cluster_load *load = (struct pawl_cluster_load *)(void *)post;

    if (!cluster->ended) {
        note_load(cluster, pawl_log_load(&cluster->node.log, pawl_bytes_of(load->bytes, load->size),
                                         pawl_cluster_now_ms(cluster)));
    }
    free(load);
}

void pawl_cluster_load(struct pawl_cluster *cluster, const struct pawl_fact *fact)
{
    uint8_t bytes[PAWL_FACT_BYTES_MAX];
    size_t size;
    enum pawl_status status = pawl_fact_encode(fact, bytes, sizeof(bytes), &size);

    if (status == PAWL_OK && !cluster->started) {
        status = pawl_log_load(&cluster->node.log, pawl_bytes_of(bytes, size),
                               pawl_cluster_now_ms(cluster));
    } else if (status == PAWL_OK) {
        struct pawl_cluster_load *load = malloc(sizeof(*load) + size);

        status = load == NULL ? PAWL_ENOMEM : PAWL_OK;
        if (load != NULL) {
            load->post.run = run_load;
            load->size = size;
            memcpy(load->bytes, bytes, size);
            if (!pawl_cluster_post(cluster, &load->post)) {
                free(load);
            }
        }
    }
    note_load(cluster, status);
}

static void *thread_main(void *data)
{
    struct pawl_cluster *cluster = data;
    const struct pawl_engine_events events = { engine_up, engine_down, engine_reply, cluster };
    struct pawl_error error = { PAWL_OK, 0, "" };
    enum pawl_status status =
        cluster->options.maker.create(cluster->options.maker.ctx, &cluster->net, &events,
                                      &cluster->engine, &error);

    if (status != PAWL_OK) {
        cluster->engine.ops = NULL;
        pawl_cluster_say_down(cluster, error.text);
    }
    (void)uv_prepare_start(&cluster->turn, on_turn);
    (void)uv_run(&cluster->loop, UV_RUN_DEFAULT);
    return NULL;
}

enum pawl_status pawl_cluster_start(struct pawl_cluster *cluster, struct pawl_error *error)
{
    cluster->started = true;
    if (pthread_create(&cluster->thread, NULL, thread_main, cluster) != 0) {
        cluster->started = false;
        return pawl_error_set(error, PAWL_EIO, errno, "cluster: no thread");
    }
    return PAWL_OK;
}

struct call {
    struct pawl_cluster_post post; /* first */
    void (*run)(void *ctx);
    void *ctx;
};

static void run_call(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    struct call *call = (struct call *)(void *)post;

    if (!cluster->ended) {
        call->run(call->ctx);
    }
    free(call);
}

void pawl_cluster_call(struct pawl_cluster *cluster, void (*run)(void *ctx), void *ctx)
{
    struct call *call = malloc(sizeof(*call));

    if (call == NULL) {
        return;
    }
    call->run = run;
    call->ctx = ctx;
    call->post.run = run_call;
    if (!pawl_cluster_post(cluster, &call->post)) {
        free(call);
    }
}

bool pawl_cluster_wait_joined(struct pawl_cluster *cluster, uint32_t timeout_ms)
{
    const struct timespec step = { .tv_nsec = 2000000 };
    uint64_t until_ms = pawl_cluster_now_ms(cluster) + timeout_ms;

    while (!atomic_load(&cluster->joined)) {
        if (pawl_cluster_now_ms(cluster) >= until_ms) {
            return false;
        }
        (void)nanosleep(&step, NULL);
    }
    return true;
}

/* One that never ran has its loop closed here. */
static void close_loop(struct pawl_cluster *cluster)
{
    if (cluster->handles_open && !uv_is_closing((uv_handle_t *)&cluster->wake)) {
        if (cluster->outbound_open) {
            pawl_outbound_close(&cluster->outbound, on_outbound_closed, cluster);
        } else {
            on_outbound_closed(cluster);
        }
    }
    if (cluster->loop_open) {
        (void)uv_run(&cluster->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&cluster->loop);
    }
}

void pawl_cluster_destroy(struct pawl_cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    pawl_cluster_close(cluster);
    close_loop(cluster);
    if (cluster->node_open) {
        pawl_node_deinit(&cluster->node);
    }
    pawl_cluster_jobs_free(cluster);
    if (cluster->world_open) {
        pawl_world_deinit(&cluster->world);
    }
    (void)pthread_mutex_destroy(&cluster->lock);
    (void)pthread_mutex_destroy(&cluster->stats_lock);
    pawl_wipe(cluster->facts, sizeof(cluster->facts));
    pawl_wipe(&cluster->limits, sizeof(cluster->limits));
    pawl_wipe(&cluster->slots, sizeof(cluster->slots));
    free(cluster);
}
