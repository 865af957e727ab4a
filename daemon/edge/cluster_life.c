/*
 * The cluster's life: making it, its thread, leaving, the end.
 */
#include "edge/cluster_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edge/loop.h"

#define BYE_MS 1500 /* to take this member out of the view, at most */

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
    pawl_cluster_find_end(cluster);
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
    pawl_cluster_drain_jobs(cluster);
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
    pawl_cluster_drain_jobs(cluster);
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
    pawl_cluster_drain_posts(
        cluster); /* what came between the last turn and the end: answered as too late */
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
    if (options->secrets_count == 0 || options->secrets_count > PAWL_CLUSTER_KEYS_MAX ||
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
    if (options->seeds != NULL && options->seeds[0] != '\0') { /* as members are reached */
        char text[PAWL_ADDRESS_TEXT_MAX + 8];
        bool secure = strncmp(options->advertise, "tls:", 4) == 0;
        int size = snprintf(text, sizeof(text), "%s:%s", secure ? "tls" : "tcp", options->seeds);

        if (pawl_address_parse(pawl_bytes_of(text, (size_t)size), &cluster->seeds, error) !=
            PAWL_OK) {
            return PAWL_EINVAL;
        }
    }
    memcpy(cluster->facts, options->facts, options->secrets_count * sizeof(cluster->facts[0]));
    memcpy(cluster->limits, options->limits, options->secrets_count * sizeof(cluster->limits[0]));
    cluster->slots = *options->slots;
    for (unsigned i = 0; i < options->ack_count; i++) {
        (void)snprintf(cluster->acks[i].ns, sizeof(cluster->acks[i].ns), "%s", options->acks[i].ns);
        cluster->acks[i].ack = options->acks[i].ack;
    }
    if (cluster->options.queue_max == 0) {
        cluster->options.queue_max = PAWL_CLUSTER_QUEUE_MAX;
    }
    if (options->page_bytes == 0 || options->page_bytes > PAWL_PULL_BYTES_MAX) {
        cluster->options.page_bytes = PAWL_PULL_BYTES_MAX;
    }
    cluster->self = pawl_member_of(options->self);
    atomic_store(&cluster->birth_us, options->birth.us);
    atomic_store(&cluster->staleness_max_ms, options->staleness_max_ms);
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
        .limits = cluster->limits,
        .secrets_count = cluster->options.secrets_count,
        .slots = &cluster->slots,
        .limiter = cluster->options.limiter,
        .ownership = &cluster->world.ownership,
        .birth_ms = cluster->options.birth.us / 1000,
        .staleness_max_ms = cluster->options.staleness_max_ms,
        .facts_max = cluster->options.facts_max,
        .command_ms = cluster->options.command_ms,
        .interval_ms = cluster->options.interval_ms,
        .strict_gate = cluster->options.strict_gate,
        .heap = { heap_take, NULL },
    };
    pawl_cluster_wire(cluster, &options);
    enum pawl_status status = cluster->options.entropy->fill(cluster->options.entropy->self,
                                                             &options.seed, sizeof(options.seed));

    if (status == PAWL_OK) {
        status = pawl_node_init(&cluster->node, &options, pawl_cluster_now_ms(cluster));
    }
    cluster->node_open = cluster->reaching = status == PAWL_OK;
    pawl_node_hold(&cluster->node, cluster->reaching);
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
    if (uv_async_init(&cluster->loop, &cluster->wake, pawl_cluster_on_wake) != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "cluster: no event loop");
    }
    cluster->wake.data = cluster;
    (void)uv_timer_init(&cluster->loop, &cluster->timer);
    (void)uv_timer_init(&cluster->loop, &cluster->late);
    (void)uv_timer_init(&cluster->loop, &cluster->find_timer);
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
    struct pawl_world_calls calls = pawl_cluster_world_calls(cluster);

    (void)pthread_mutex_init(&cluster->lock, NULL);
    (void)pthread_mutex_init(&cluster->stats_lock, NULL);
    enum pawl_status status = copy_options(cluster, options, error);

    if (status == PAWL_OK) {
        status = pawl_world_init(&cluster->world, cluster->self, &cluster->slots,
                                 options->tls != NULL ? options->tls : &no_tls, &calls);
        cluster->world_open = status == PAWL_OK;
        pawl_world_set_peer_name(&cluster->world, options->peer_name);
    }
    status = status == PAWL_OK ? open_loop(cluster, error) : status;
    status = status == PAWL_OK ? open_node(cluster, error) : status;
    if (status != PAWL_OK) {
        pawl_cluster_destroy(cluster);
        return status;
    }
    atomic_store(&cluster->world.cold, true);
    cluster->started_ms = pawl_cluster_now_ms(cluster);
    cluster->engine_since_ms = cluster->started_ms;
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
        cluster->loaded = true;
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

void pawl_cluster_begin(struct pawl_cluster *cluster)
{
    const struct pawl_engine_events events = pawl_cluster_engine_events(cluster);
    struct pawl_error error = { PAWL_OK, 0, "" };
    enum pawl_status status =
        cluster->options.maker.create(cluster->options.maker.ctx, &cluster->net, &events,
                                      &cluster->engine, &error);

    if (status != PAWL_OK) {
        cluster->engine.ops = NULL;
        pawl_cluster_say_down(cluster, error.text);
    }
}

static void *thread_main(void *data)
{
    struct pawl_cluster *cluster = data;

    pawl_cluster_find(cluster);
    (void)uv_prepare_start(&cluster->turn, pawl_cluster_on_turn);
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

void pawl_cluster_set_staleness(struct pawl_cluster *cluster, uint64_t staleness_max_ms)
{
    atomic_store(&cluster->staleness_max_ms, staleness_max_ms);
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
    pawl_wipe(cluster->limits, sizeof(cluster->limits));
    pawl_wipe(&cluster->slots, sizeof(cluster->slots));
    free(cluster);
}
