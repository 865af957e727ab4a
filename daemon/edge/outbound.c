#include "edge/outbound.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "edge/buffer.h"
#include "edge/outbound_stream.h"

#define KEEPALIVE_S 10 /* silence before the other side is probed */

struct pawl_timer {
    uv_timer_t uv;
    struct pawl_outbound *outbound;
    struct pawl_timer *next;
    struct pawl_timer *prev;
    void (*run)(void *ctx);
    void *ctx;
};

/* ---- ends ---------------------------------------------------------------------------------- */

static void say_closed(struct pawl_outbound *outbound)
{
    if (!outbound->closing || outbound->streams_alive > 0 || outbound->timers_alive > 0 ||
        outbound->handles_alive > 0) {
        return;
    }
    pawl_edge_free(outbound->received);
    pawl_edge_free(outbound->plain);
    outbound->received = NULL;
    outbound->plain = NULL;
    if (outbound->on_closed != NULL) {
        outbound->on_closed(outbound->ctx); /* the storage may be gone now */
    }
}

static void let_go(struct pawl_stream *stream)
{
    struct pawl_outbound *outbound = stream->outbound;

    stream->holders--;
    if (stream->holders > 0) {
        return;
    }
    if (stream->context != NULL) {
        outbound->tls->close(stream->connection);
        outbound->tls->unref(stream->context);
    }
    pawl_edge_free(stream->out.data);
    pawl_edge_free(stream);
    outbound->streams_alive--;
    say_closed(outbound);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct pawl_outbound_socket *socket = handle->data;
    struct pawl_stream *stream = socket->stream;

    pawl_edge_free(socket->sending);
    pawl_edge_free(socket);
    let_go(stream);
}

static void drop_socket(struct pawl_stream *stream)
{
    if (stream->socket != NULL) {
        uv_close(&stream->socket->uv.handle, on_socket_closed);
        stream->socket = NULL;
    }
}

static void on_ended(uv_handle_t *handle)
{
    struct pawl_stream *stream = handle->data;

    if (stream->prev != NULL) {
        stream->prev->next = stream->next;
    } else {
        stream->outbound->streams = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->prev = stream->prev;
    }
    stream->events.closed(stream->ctx, stream->status, stream->why);
    let_go(stream);
}

void pawl_outbound_end(struct pawl_stream *stream, enum pawl_status status, const char *format, ...)
{
    va_list arguments;

    if (stream->state == PAWL_OUTBOUND_ENDED) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(stream->why, sizeof(stream->why), format, arguments);
    va_end(arguments);
    stream->state = PAWL_OUTBOUND_ENDED;
    stream->status = status;
    pawl_outbound_unwritten(stream);
    if (stream->is_looking_up) {
        (void)uv_cancel((uv_req_t *)&stream->lookup); /* or it runs on, and finds nobody */
    }
    drop_socket(stream);
    uv_close((uv_handle_t *)&stream->timer, on_ended);
}

static void stream_close(struct pawl_stream *stream)
{
    pawl_outbound_farewell(stream);
    pawl_outbound_end(stream, PAWL_ECANCELED, "closed here");
}

/* ---- connecting ---------------------------------------------------------------------------- */

static void next_address(struct pawl_stream *stream);

static uint64_t left_ms(const struct pawl_stream *stream)
{
    uint64_t now = uv_now(stream->outbound->loop);

    return stream->until_ms > now ? stream->until_ms - now : 0;
}

static void on_timeout(uv_timer_t *timer)
{
    struct pawl_stream *stream = timer->data;

    if (stream->state == PAWL_OUTBOUND_LOOKING) {
        pawl_outbound_end(stream, PAWL_ETIMEDOUT, "%s: the name was not found in time",
                          stream->host);
    } else if (stream->state == PAWL_OUTBOUND_SECURING) {
        pawl_outbound_end(stream, PAWL_ETIMEDOUT, "%s: no TLS handshake in time", stream->peer);
    } else if (stream->state == PAWL_OUTBOUND_CONNECTING) {
        if (stream->address_next == stream->address_count) {
            pawl_outbound_end(stream, PAWL_ETIMEDOUT, "%s: no answer in time", stream->peer);
        } else {
            next_address(stream);
        }
    }
}

static void on_connected(uv_connect_t *request, int result)
{
    struct pawl_outbound_socket *socket = request->data;
    struct pawl_stream *stream = socket->stream;

    if (stream->socket != socket) {
        return; /* given up already */
    }
    if (result == 0) {
        (void)uv_timer_start(&stream->timer, on_timeout, left_ms(stream), 0);
        pawl_outbound_connected(stream);
    } else if (stream->address_next == stream->address_count) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: %s", stream->peer, uv_strerror(result));
    } else {
        next_address(stream);
    }
}

static struct pawl_outbound_socket *take_socket(struct pawl_stream *stream)
{
    struct pawl_outbound_socket *socket = pawl_edge_alloc(1, sizeof(*socket));

    if (socket != NULL) {
        socket->stream = stream;
        socket->connect.data = socket;
        socket->write.data = socket;
    }
    return socket;
}

/** The handle is libuv's: from here on it is closed, not freed. */
static void hold_socket(struct pawl_stream *stream, struct pawl_outbound_socket *socket)
{
    socket->uv.handle.data = socket;
    stream->socket = socket;
    stream->holders++;
}

static int try_address(struct pawl_stream *stream, const struct sockaddr *address)
{
    struct pawl_outbound_socket *socket = take_socket(stream);
    unsigned user_timeout_ms = stream->user_timeout_ms;
    int result;
    uv_os_fd_t fd;

    if (socket == NULL) {
        return UV_ENOMEM;
    }
    result = uv_tcp_init_ex(stream->outbound->loop, &socket->uv.tcp, address->sa_family);
    if (result != 0) {
        pawl_edge_free(socket);
        return result;
    }
    hold_socket(stream, socket);
    (void)uv_tcp_nodelay(&socket->uv.tcp, 1);
    (void)uv_tcp_keepalive(&socket->uv.tcp, 1, KEEPALIVE_S);
    if (user_timeout_ms > 0 && uv_fileno(&socket->uv.handle, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
                         sizeof(user_timeout_ms));
    }
    return uv_tcp_connect(&socket->connect, &socket->uv.tcp, address, on_connected);
}

static void name_peer(struct pawl_stream *stream, const struct sockaddr *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool is_v6 = address->sa_family == AF_INET6;

    if (is_v6) {
        (void)uv_ip6_name((const struct sockaddr_in6 *)(const void *)address, host, sizeof(host));
    } else {
        (void)uv_ip4_name((const struct sockaddr_in *)(const void *)address, host, sizeof(host));
    }
    (void)snprintf(stream->peer, sizeof(stream->peer), is_v6 ? "[%s]:%u" : "%s:%u", host,
                   (unsigned)stream->port);
}

/** The next of the addresses that can be tried at all; the end when there is none. */
static void next_address(struct pawl_stream *stream)
{
    int result = UV_EAI_NONAME;

    stream->state = PAWL_OUTBOUND_CONNECTING;
    drop_socket(stream);
    while (stream->address_next < stream->address_count) {
        const struct sockaddr *address =
            (const struct sockaddr *)&stream->addresses[stream->address_next];
        unsigned tries = stream->address_count - stream->address_next;

        stream->address_next++;
        name_peer(stream, address);
        result = try_address(stream, address);
        if (result == 0) {
            (void)uv_timer_start(&stream->timer, on_timeout, left_ms(stream) / tries, 0);
            return;
        }
        drop_socket(stream);
    }
    pawl_outbound_end(stream, result == UV_ENOMEM ? PAWL_ENOMEM : PAWL_ECONN, "%s: %s",
                      stream->peer, uv_strerror(result));
}

/** Connect to a path or an abstract name; libuv's own way knows only paths, cut in silence. */
static int open_path(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t size = strlen(path);
    int fd;

    if (size >= sizeof(address.sun_path)) {
        return UV_ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, size);
    if (path[0] == '@') {
        address.sun_path[0] = '\0';
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    size += offsetof(struct sockaddr_un, sun_path) + (path[0] == '@' ? 0 : 1);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, (socklen_t)size) != 0) {
        int code = errno;

        (void)close(fd);
        return uv_translate_sys_error(code); /* EAGAIN: nobody accepts, and many wait */
    }
    return fd >= 0 ? fd : uv_translate_sys_error(errno);
}

static void begin_path(struct pawl_stream *stream)
{
    int fd = open_path(stream->host);
    struct pawl_outbound_socket *socket = fd >= 0 ? take_socket(stream) : NULL;

    (void)snprintf(stream->peer, sizeof(stream->peer), "%s", stream->host);
    if (fd < 0) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: %s", stream->peer, uv_strerror(fd));
        return;
    }
    if (socket == NULL || uv_pipe_init(stream->outbound->loop, &socket->uv.pipe, 0) != 0) {
        pawl_edge_free(socket);
        (void)close(fd);
        pawl_outbound_end(stream, PAWL_ENOMEM, "%s: no memory", stream->peer);
        return;
    }
    hold_socket(stream, socket);
    if (uv_pipe_open(&socket->uv.pipe, fd) != 0) {
        (void)close(fd);
        pawl_outbound_end(stream, PAWL_ECONN, "%s: the system refused", stream->peer);
        return;
    }
    (void)uv_timer_start(&stream->timer, on_timeout, left_ms(stream), 0);
    pawl_outbound_connected(stream);
}

static void add_address(struct pawl_stream *stream, const struct sockaddr *address)
{
    struct sockaddr_storage *to = &stream->addresses[stream->address_count];
    bool is_v6 = address->sa_family == AF_INET6;

    if (stream->address_count == PAWL_OUTBOUND_ADDRESSES_MAX ||
        (!is_v6 && address->sa_family != AF_INET)) {
        return;
    }
    memcpy(to, address, is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    stream->address_count++;
}

static void on_looked_up(uv_getaddrinfo_t *request, int result, struct addrinfo *found)
{
    struct pawl_stream *stream = request->data;

    stream->is_looking_up = false;
    if (stream->state == PAWL_OUTBOUND_LOOKING) {
        for (const struct addrinfo *at = found; result == 0 && at != NULL; at = at->ai_next) {
            add_address(stream, at->ai_addr);
        }
        if (stream->address_count == 0) {
            pawl_outbound_end(stream, result == UV_ENOMEM ? PAWL_ENOMEM : PAWL_ENOENT, "%s: %s",
                              stream->host, uv_strerror(result != 0 ? result : UV_EAI_NONAME));
        } else {
            next_address(stream);
        }
    }
    uv_freeaddrinfo(found);
    let_go(stream);
}

int pawl_outbound_look_up(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb on_found,
                          const char *host, unsigned port)
{
    struct addrinfo hints;
    char text[8];

    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    (void)snprintf(text, sizeof(text), "%u", port);
    return uv_getaddrinfo(loop, request, on_found, host, text, &hints);
}

static void look_up(struct pawl_stream *stream)
{
    stream->lookup.data = stream;
    int result = pawl_outbound_look_up(stream->outbound->loop, &stream->lookup, on_looked_up,
                                       stream->host, stream->port);

    if (result != 0) {
        pawl_outbound_end(stream, PAWL_ENOENT, "%s: %s", stream->host, uv_strerror(result));
        return;
    }
    stream->is_looking_up = true;
    stream->holders++;
    (void)uv_timer_start(&stream->timer, on_timeout, left_ms(stream), 0);
}

static void on_begin(uv_timer_t *timer)
{
    struct pawl_stream *stream = timer->data;
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;

    if (stream->context != NULL && stream->outbound->tls == NULL) {
        pawl_outbound_end(stream, PAWL_EINVAL, "%s: there is no TLS here", stream->host);
    } else if (stream->is_path) {
        begin_path(stream);
    } else if (uv_ip4_addr(stream->host, stream->port, &v4) == 0) {
        add_address(stream, (const struct sockaddr *)&v4);
        next_address(stream);
    } else if (strchr(stream->host, ':') != NULL &&
               uv_ip6_addr(stream->host, stream->port, &v6) == 0) {
        add_address(stream, (const struct sockaddr *)&v6);
        next_address(stream);
    } else {
        look_up(stream);
    }
}

static struct pawl_stream *stream_connect(void *self, const struct pawl_dial *dial,
                                          const struct pawl_stream_events *events, void *ctx)
{
    struct pawl_outbound *outbound = self;
    const char *name = dial->name != NULL ? dial->name : dial->host;
    struct pawl_stream *stream = outbound->closing ? NULL : pawl_edge_alloc(1, sizeof(*stream));

    if (stream == NULL) {
        return NULL;
    }
    stream->outbound = outbound;
    stream->events = *events;
    stream->ctx = ctx;
    stream->port = dial->port;
    stream->user_timeout_ms = dial->user_timeout_ms;
    stream->output_max = dial->output_max;
    stream->is_path = dial->host[0] == '/' || dial->host[0] == '@';
    (void)uv_timer_init(outbound->loop, &stream->timer);
    stream->timer.data = stream;
    stream->holders = 1;
    stream->until_ms = uv_now(outbound->loop) + dial->timeout_ms;
    stream->next = outbound->streams;
    if (stream->next != NULL) {
        stream->next->prev = stream;
    }
    outbound->streams = stream;
    outbound->streams_alive++;
    if (strlen(dial->host) >= sizeof(stream->host) || strlen(name) >= sizeof(stream->name)) {
        pawl_outbound_end(stream, PAWL_EINVAL, "a name of more than %d bytes",
                          PAWL_ADDRESS_HOST_MAX);
        return stream;
    }
    memcpy(stream->host, dial->host, strlen(dial->host) + 1);
    memcpy(stream->name, name, strlen(name) + 1);
    if (dial->context != NULL && outbound->tls != NULL) {
        stream->context = outbound->tls->ref(dial->context);
    } else if (dial->context != NULL) {
        pawl_outbound_end(stream, PAWL_EINVAL, "%s: there is no TLS here", stream->host);
        return stream;
    }
    (void)uv_timer_start(&stream->timer, on_begin, 0, 0);
    return stream;
}

static const char *stream_peer(const struct pawl_stream *stream)
{
    return stream->peer;
}

/* ---- timers -------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *uv)
{
    struct pawl_timer *timer = uv->data;

    timer->run(timer->ctx);
}

static struct pawl_timer *timer_take(void *self, void (*run)(void *ctx), void *ctx)
{
    struct pawl_outbound *outbound = self;
    struct pawl_timer *timer = pawl_edge_alloc(1, sizeof(*timer));

    if (timer == NULL) {
        return NULL;
    }
    (void)uv_timer_init(outbound->loop, &timer->uv);
    timer->uv.data = timer;
    timer->outbound = outbound;
    timer->run = run;
    timer->ctx = ctx;
    timer->next = outbound->timers;
    if (timer->next != NULL) {
        timer->next->prev = timer;
    }
    outbound->timers = timer;
    outbound->timers_alive++;
    return timer;
}

static void timer_start(struct pawl_timer *timer, uint32_t ms)
{
    if (!timer->outbound->closing) {
        (void)uv_timer_start(&timer->uv, on_timer, ms, 0);
    }
}

static void timer_stop(struct pawl_timer *timer)
{
    (void)uv_timer_stop(&timer->uv);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pawl_timer *timer = handle->data;
    struct pawl_outbound *outbound = timer->outbound;

    pawl_edge_free(timer);
    outbound->timers_alive--;
    say_closed(outbound);
}

static void timer_release(struct pawl_timer *timer)
{
    if (timer == NULL) {
        return;
    }
    if (timer->prev != NULL) {
        timer->prev->next = timer->next;
    } else {
        timer->outbound->timers = timer->next;
    }
    if (timer->next != NULL) {
        timer->next->prev = timer->prev;
    }
    uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}

/* Read at each call: a process may have stood still since the turn began. */
static uint64_t boottime_ms(void *self)
{
    struct timespec now = { 0, 0 };

    (void)self;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- life ---------------------------------------------------------------------------------- */

enum pawl_status pawl_outbound_init(struct pawl_outbound *outbound, uv_loop_t *loop,
                                    const struct pawl_tls_ops *tls)
{
    memset(outbound, 0, sizeof(*outbound));
    outbound->received = pawl_edge_alloc(1, PAWL_OUTBOUND_READ_BYTES);
    outbound->plain = pawl_edge_alloc(1, PAWL_OUTBOUND_PLAIN_BYTES);
    if (outbound->received == NULL || outbound->plain == NULL) {
        pawl_edge_free(outbound->received);
        pawl_edge_free(outbound->plain);
        return PAWL_ENOMEM;
    }
    outbound->loop = loop;
    outbound->tls = tls;
    (void)uv_prepare_init(loop, &outbound->prepare);
    (void)uv_idle_init(loop, &outbound->idle);
    outbound->prepare.data = outbound;
    outbound->idle.data = outbound;
    outbound->handles_alive = 2;
    return PAWL_OK;
}

struct pawl_net pawl_outbound_net(struct pawl_outbound *outbound)
{
    static const struct pawl_net_ops ops = {
        .connect = stream_connect,
        .write = pawl_outbound_write,
        .close = stream_close,
        .peer = stream_peer,
        .timer = timer_take,
        .start = timer_start,
        .stop = timer_stop,
        .release = timer_release,
        .now_ms = boottime_ms,
    };

    return (struct pawl_net){ &ops, outbound };
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pawl_outbound *outbound = handle->data;

    outbound->handles_alive--;
    say_closed(outbound);
}

void pawl_outbound_close(struct pawl_outbound *outbound, void (*on_closed)(void *ctx), void *ctx)
{
    outbound->closing = true;
    outbound->on_closed = on_closed;
    outbound->ctx = ctx;
    for (struct pawl_stream *stream = outbound->streams; stream != NULL; stream = stream->next) {
        stream_close(stream);
    }
    for (struct pawl_timer *timer = outbound->timers; timer != NULL; timer = timer->next) {
        timer_stop(timer);
    }
    uv_close((uv_handle_t *)&outbound->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&outbound->idle, on_handle_closed);
}
