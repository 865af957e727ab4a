#include "edge/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "edge/identity.h"
#include "edge/loop.h"
#include "edge/poller.h"
#include "edge/worker.h"

#define WORKERS_DEFAULT_MAX 4
#define PULSE_MS            100
#define SECOND_MS           1000

struct pawl_server {
    struct pawl_edge edge; /* first: workers report with its address */
    struct pawl_server_hooks hooks;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t pulse;
    uv_timer_t second;
    uv_signal_t signals[3];
    struct pawl_guard *guard; /* a reference; NULL = none yet */
    struct pawl_poller pollers[PAWL_WATCHES_MAX];
    unsigned poller_count;
    unsigned worker_count; /* set up; less than edge.worker_count only while creating */
    unsigned port[PAWL_LISTENERS_MAX];
    _Atomic unsigned stops; /* asked for so far */
    unsigned stops_seen;
    _Atomic bool going_on; /* what on_stop put off is done */
    bool put_off;
    bool drains; /* the drain has begun */
    bool loop_ready;
    bool running;
    enum pawl_status outcome;
};

void pawl_server_options_init(struct pawl_server_options *options)
{
    *options = (struct pawl_server_options){
        .connections_max = 10000,
        .listen_backlog = 1024,
        .socket_mode = 0660,
        .frame_timeout_ms = 5000,
        .write_timeout_ms = 5000,
        .drain_timeout_ms = 10000,
        .in_flight_max = 1024,
        .keepalive_s = 60,
        .tcp_user_timeout_ms = 30000,
        .session_output_max_bytes = (size_t)4 << 20,
        .buffers_max_bytes = (size_t)256 << 20,
    };
}

/* ---- create ---- */

static bool has_wrong_mode(const struct pawl_server_options *options)
{
    for (unsigned i = 0; i < options->listen_count; i++) {
        if ((options->listen[i].mode & ~0777U) != 0) {
            return true;
        }
    }
    return false;
}

static enum pawl_status check_options(const struct pawl_server_options *options,
                                      struct pawl_error *error)
{
    const char *wrong = NULL;

    if (options->listen_count == 0 || options->listen_count > PAWL_LISTENERS_MAX) {
        wrong = "1 to 16 addresses to listen on";
    } else if (options->workers > PAWL_WORKERS_MAX) {
        wrong = "workers: 0 to 64";
    } else if (options->connections_max == 0 || options->connections_max > 1000000) {
        wrong = "connections_max: 1 to 1000000";
    } else if (options->listen_backlog == 0 || options->listen_backlog > 65535) {
        wrong = "listen_backlog: 1 to 65535";
    } else if ((options->socket_mode & ~0777U) != 0) {
        wrong = "socket_mode: permission bits, 0000 to 0777";
    } else if (has_wrong_mode(options)) {
        wrong = "mode of a listener: permission bits, 0000 to 0777";
    } else if (options->frame_timeout_ms == 0 || options->write_timeout_ms == 0 ||
               options->drain_timeout_ms == 0) {
        wrong = "frame_timeout, write_timeout and drain_timeout: at least 1 ms";
    } else if (options->in_flight_max == 0) {
        wrong = "in_flight_max: at least 1";
    } else if (options->session_output_max_bytes < 4096) {
        wrong = "session_output_max: at least 4 KiB";
    } else if (options->buffers_max_bytes / PAWL_WORKERS_MAX < PAWL_BUFFER_FRAME) {
        wrong = "buffers_max: at least 8 MiB";
    }
    return wrong == NULL ? PAWL_OK
                         : pawl_error_set(error, PAWL_EINVAL, 0, "server options: %s", wrong);
}

/** The soft limit of open files as far up as the connections need and the hard one permits. */
static void raise_fd_limit(const struct pawl_edge *edge)
{
    rlim_t wanted = (rlim_t)edge->options.connections_max + PAWL_FDS_BESIDE;
    struct rlimit limit = { 0, 0 };

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted) {
        pawl_log_event(edge->log, PAWL_LOG_WARN, "edge_descriptor_limit_low",
                       PAWL_F_U64("limit", limit.rlim_cur), PAWL_F_U64("wanted", wanted),
                       PAWL_F_TEXT("do", "raise the limit of open files (LimitNOFILE) or lower "
                                         "connections_max"));
    }
}

static void log_listener(const struct pawl_edge *edge, const struct pawl_listener *listener)
{
    struct pawl_address address = listener->address;
    char text[PAWL_ADDRESS_TEXT_MAX];

    if (listener->is_tcp) {
        address.port = (uint16_t)listener->port;
    }
    (void)pawl_address_format(&address, text, sizeof(text));
    pawl_log_event(edge->log, PAWL_LOG_INFO, "edge_listening", PAWL_F_TEXT("address", text));
}

static enum pawl_status open_listeners(struct pawl_server *server, struct pawl_error *error)
{
    struct pawl_edge *edge = &server->edge;

    for (unsigned i = 0; i < edge->options.listen_count; i++) {
        struct pawl_listener *listeners = &edge->listeners[edge->listener_count];
        unsigned count = 0;
        enum pawl_status status =
            pawl_listener_open(listeners, PAWL_LISTEN_SOCKETS_MAX - edge->listener_count, &count,
                               &edge->options, &edge->options.listen[i], error);

        if (status != PAWL_OK) {
            return status;
        }
        server->port[i] = listeners[0].port;
        edge->listener_count += count;
        for (unsigned j = 0; j < count; j++) {
            log_listener(edge, &listeners[j]);
        }
    }
    return PAWL_OK;
}

static void close_listeners(struct pawl_server *server)
{
    for (unsigned i = 0; i < server->edge.listener_count; i++) {
        pawl_listener_close(&server->edge.listeners[i]);
    }
}

static void drain(struct pawl_server *server)
{
    server->drains = true;
    if (server->hooks.on_drain_start != NULL) {
        server->hooks.on_drain_start(server->hooks.app);
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        pawl_worker_drain(&server->edge.workers[i]);
    }
    /* The workers hold duplicates until each has emptied the queue. A Unix socket's name goes
     * first: who comes now finds the successor or a clear "no such file". */
    close_listeners(server);
}

static void force(struct pawl_server *server)
{
    server->outcome = PAWL_ECANCELED;
    if (server->hooks.on_force != NULL) {
        server->hooks.on_force(server->hooks.app);
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        pawl_worker_halt(&server->edge.workers[i]);
    }
}

static void stop(struct pawl_server *server)
{
    atomic_store(&server->going_on, false);
    server->put_off = server->hooks.on_stop != NULL && server->hooks.on_stop(server->hooks.app);
    if (!server->put_off) {
        drain(server);
    }
}

static void on_wake(uv_async_t *handle)
{
    struct pawl_server *server = handle->data;
    unsigned stops = atomic_load(&server->stops);

    while (server->running && server->stops_seen < 2 && server->stops_seen < stops) {
        server->stops_seen++;
        if (server->stops_seen == 1) {
            stop(server);
        } else {
            force(server);
        }
    }
    if (server->running && server->put_off && !server->drains && atomic_load(&server->going_on)) {
        drain(server);
    }
    if (server->running && atomic_load(&server->edge.running) == 0) {
        uv_stop(&server->loop);
    }
}

/** Any worker's thread. */
static void on_empty(struct pawl_edge *edge)
{
    struct pawl_server *server = (struct pawl_server *)(void *)edge;

    (void)uv_async_send(&server->wake);
}

static unsigned default_workers(unsigned cores_max)
{
    unsigned cores = uv_available_parallelism();

    cores = cores_max > 0 && cores_max < cores ? cores_max : cores;
    return cores < WORKERS_DEFAULT_MAX ? cores : WORKERS_DEFAULT_MAX;
}

static enum pawl_status create_workers(struct pawl_server *server, struct pawl_error *error)
{
    struct pawl_edge *edge = &server->edge;

    edge->worker_count = edge->options.workers > 0 ? edge->options.workers
                                                   : default_workers(edge->options.cores_max);
    edge->workers = pawl_edge_alloc(edge->worker_count, sizeof(*edge->workers));
    if (edge->workers == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for %u workers",
                              edge->worker_count);
    }
    for (unsigned i = 0; i < edge->worker_count; i++) {
        enum pawl_status status = pawl_worker_init(&edge->workers[i], edge, i, error);

        if (status != PAWL_OK) {
            return status;
        }
        server->worker_count++;
    }
    return PAWL_OK;
}

enum pawl_status pawl_server_create(const struct pawl_server_options *options,
                                    const struct pawl_handler *handler,
                                    const struct pawl_server_hooks *hooks,
                                    const struct pawl_log *log, struct pawl_server **server,
                                    struct pawl_error *error)
{
    struct pawl_server *made = NULL;
    enum pawl_status status = check_options(options, error);

    *server = NULL;
    if (status != PAWL_OK) {
        return status;
    }
    made = pawl_edge_alloc(1, sizeof(*made));
    if (made == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for the server");
    }
    made->edge.options = *options;
    made->edge.handler = *handler;
    made->edge.log = log;
    made->edge.on_empty = on_empty;
    if (hooks != NULL) {
        made->hooks = *hooks;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that has gone is a result of write() */
    raise_fd_limit(&made->edge);
    if (pawl_loop_open(&made->loop, options->connections_max + PAWL_FDS_BESIDE) != PAWL_OK) {
        pawl_edge_free(made);
        return pawl_error_set(error, PAWL_EIO, errno, "no event loop: %s", strerror(errno));
    }
    made->loop_ready = true;
    (void)pthread_mutex_init(&made->edge.accepting_lock, NULL);
    if (uv_async_init(&made->loop, &made->wake, on_wake) != 0) {
        status = pawl_error_set(error, PAWL_EIO, errno, "no event loop: %s", strerror(errno));
    } else {
        made->wake.data = made;
        status = open_listeners(made, error);
    }
    if (status == PAWL_OK) {
        status = create_workers(made, error);
    }
    if (status != PAWL_OK) {
        pawl_server_destroy(made);
        return status;
    }
    made->edge.options.listen = NULL; /* was lent for this call */
    *server = made;
    return PAWL_OK;
}

/* ---- run ---- */

static void on_pulse(uv_timer_t *handle)
{
    struct pawl_server *server = handle->data;

    server->hooks.on_pulse(server->hooks.app);
}

static void on_second(uv_timer_t *handle)
{
    struct pawl_server *server = handle->data;

    server->hooks.on_second(server->hooks.app);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct pawl_server *server = handle->data;

    if (number != SIGHUP) {
        pawl_server_stop(server);
    } else if (server->hooks.on_reload != NULL) {
        server->hooks.on_reload(server->hooks.app);
    }
}

static bool start_handles(struct pawl_server *server)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    bool good = true;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        good = uv_signal_init(&server->loop, &server->signals[i]) == 0 && good;
        server->signals[i].data = server;
        good = uv_signal_start(&server->signals[i], on_signal, numbers[i]) == 0 && good;
    }
    (void)uv_timer_init(&server->loop, &server->pulse);
    (void)uv_timer_init(&server->loop, &server->second);
    server->pulse.data = server;
    server->second.data = server;
    if (server->hooks.on_pulse != NULL) {
        (void)uv_timer_start(&server->pulse, on_pulse, PULSE_MS, PULSE_MS);
    }
    if (server->hooks.on_second != NULL) {
        (void)uv_timer_start(&server->second, on_second, SECOND_MS, SECOND_MS);
    }
    return good;
}

/**
 * The loop no longer turns: a SIGTERM from here on ends the process at once, as a second one
 * should; a SIGHUP means nothing any more, and its default would end the process too.
 */
static void leave_signals(struct pawl_server *server)
{
    for (size_t i = 0; i < sizeof(server->signals) / sizeof(server->signals[0]); i++) {
        (void)uv_signal_stop(&server->signals[i]);
    }
    (void)signal(SIGHUP, SIG_IGN);
}

static void close_handle(uv_handle_t *handle)
{
    if (handle->data != NULL && !uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static enum pawl_status start_workers(struct pawl_server *server, struct pawl_error *error)
{
    struct pawl_edge *edge = &server->edge;

    atomic_store(&edge->running, server->worker_count);
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (pawl_worker_start(&edge->workers[i]) == PAWL_OK) {
            continue;
        }
        for (unsigned j = 0; j < server->worker_count; j++) {
            /* Those without a thread accept nothing and hold up nobody. */
            if (j < i) {
                pawl_worker_halt(&edge->workers[j]);
            }
        }
        (void)atomic_fetch_sub(&edge->accepting, server->worker_count - i);
        for (unsigned j = 0; j < i; j++) {
            pawl_worker_join(&edge->workers[j]);
        }
        (void)atomic_fetch_add(&edge->accepting, server->worker_count - i);
        return pawl_error_set(error, PAWL_EIO, errno, "worker %u: no thread", i);
    }
    return PAWL_OK;
}

enum pawl_status pawl_server_run(struct pawl_server *server, struct pawl_error *error)
{
    enum pawl_status status;

    if (!start_handles(server)) {
        return pawl_error_set(error, PAWL_EIO, 0, "cannot take the signals");
    }
    status = start_workers(server, error);
    if (status != PAWL_OK) {
        return status;
    }
    server->running = true;
    if (server->hooks.on_started != NULL) {
        server->hooks.on_started(server->hooks.app);
    }
    (void)uv_async_send(&server->wake); /* a stop may have come before */
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < server->worker_count; i++) {
        pawl_worker_join(&server->edge.workers[i]);
    }
    server->running = false;
    leave_signals(server);
    if (server->outcome == PAWL_OK && atomic_load(&server->edge.cut)) {
        server->outcome = PAWL_ETIMEDOUT;
    }
    return server->outcome;
}

void pawl_server_set_guard(struct pawl_server *server, struct pawl_guard *guard)
{
    pawl_guard_unref(server->guard);
    server->guard = pawl_guard_ref(guard);
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (server->running) {
            pawl_worker_order_guard(&server->edge.workers[i], guard);
        } else {
            pawl_worker_set_guard(&server->edge.workers[i], guard);
        }
    }
}

struct pawl_guard *pawl_server_guard(const struct pawl_server *server)
{
    return server->guard;
}

void pawl_server_stop(struct pawl_server *server)
{
    (void)atomic_fetch_add(&server->stops, 1);
    (void)uv_async_send(&server->wake);
}

void pawl_server_go_on(struct pawl_server *server)
{
    atomic_store(&server->going_on, true);
    (void)uv_async_send(&server->wake);
}

enum pawl_status pawl_server_watch(struct pawl_server *server, const struct pawl_watch *watch)
{
    if (server->poller_count == PAWL_WATCHES_MAX) {
        return PAWL_EFULL;
    }
    return pawl_poller_start(&server->pollers[server->poller_count++], &server->loop, watch);
}

enum pawl_status pawl_server_adopt(struct pawl_server *server, int fd, unsigned roles)
{
    /* Once the workers were told to drain they may leave as soon as they are empty. */
    if (!server->running || server->drains || server->stops_seen > 1) {
        return PAWL_EUNAVAIL;
    }
    return pawl_acceptor_adopt(&server->edge, fd, roles);
}

/* A message to one worker may end in one to another, which has to be there still. */
static void finish_workers(struct pawl_server *server)
{
    bool any = true;

    while (any) {
        any = false;
        for (unsigned i = 0; i < server->worker_count; i++) {
            any = pawl_worker_finish(&server->edge.workers[i]) || any;
        }
    }
}

void pawl_server_destroy(struct pawl_server *server)
{
    if (server == NULL) {
        return;
    }
    finish_workers(server);
    for (unsigned i = 0; i < server->worker_count; i++) {
        pawl_worker_deinit(&server->edge.workers[i]);
    }
    pawl_edge_free(server->edge.workers);
    close_listeners(server);
    if (server->loop_ready) {
        for (size_t i = 0; i < sizeof(server->signals) / sizeof(server->signals[0]); i++) {
            close_handle((uv_handle_t *)&server->signals[i]);
        }
        for (unsigned i = 0; i < server->poller_count; i++) {
            pawl_poller_close(&server->pollers[i]);
        }
        close_handle((uv_handle_t *)&server->pulse);
        close_handle((uv_handle_t *)&server->second);
        close_handle((uv_handle_t *)&server->wake);
        (void)uv_run(&server->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&server->loop);
    }
    (void)pthread_mutex_destroy(&server->edge.accepting_lock);
    pawl_guard_unref(server->guard);
    pawl_edge_free(server);
}

/* ---- looking in ---- */

unsigned pawl_server_workers(const struct pawl_server *server)
{
    return server->worker_count;
}

struct pawl_worker *pawl_server_worker(struct pawl_server *server, unsigned index)
{
    return &server->edge.workers[index];
}

unsigned pawl_server_port(const struct pawl_server *server, unsigned index)
{
    return index < PAWL_LISTENERS_MAX ? server->port[index] : 0;
}

uint64_t pawl_server_heartbeat_ms(const struct pawl_server *server, unsigned index)
{
    return atomic_load_explicit(&server->edge.workers[index].heartbeat_ms, memory_order_relaxed);
}

void pawl_server_stats(const struct pawl_server *server, const struct pawl_stats_sink *sink)
{
#define X(field, name)                                                       \
    {                                                                        \
        uint64_t sum = 0;                                                    \
        for (unsigned i = 0; i < server->worker_count; i++) {                \
            sum += pawl_edge_stat_get(&server->edge.workers[i].stats.field); \
        }                                                                    \
        sink->number(sink->self, name, sum);                                 \
    }
    PAWL_EDGE_STATS_MAP(X)
#undef X
    sink->number(sink->self, "edge_workers", server->worker_count);
    sink->number(sink->self, "edge_connections_max", server->edge.options.connections_max);
    sink->number(sink->self, "edge_buffers_max_bytes", server->edge.options.buffers_max_bytes);
    sink->number(sink->self, "edge_output_max_bytes",
                 server->edge.options.session_output_max_bytes);
}
