/*
 * port/net.h over poll(), for tests of what speaks over the network: real sockets, no libuv, no
 * threads. net_turn() is one turn of its loop.
 */
#ifndef PAWL_UNIT_REDIS_NET_H
#define PAWL_UNIT_REDIS_NET_H

#include "port/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NET_STREAMS 32
#define NET_TIMERS  8
#define NET_EXTRA   32

struct pawl_stream {
    struct net *net;
    struct pawl_stream_events events;
    void *ctx;
    int fd; /* -1: free, or refused at once */
    bool used, open, ending;
    enum pawl_status status;
    const char *why;
    uint64_t until_ms;
    size_t output_max;
    uint8_t *out;
    size_t out_size;
    char peer[64];
};

struct pawl_timer {
    bool used, running;
    uint64_t at_ms;
    void (*run)(void *ctx);
    void *ctx;
};

/** Somebody else's descriptor in the same loop: the fake server's. */
struct net_extra {
    int fd;
    void (*ready)(void *ctx, int fd);
    void *ctx;
};

struct net {
    struct pawl_net port;
    struct pawl_stream streams[NET_STREAMS];
    struct pawl_timer timers[NET_TIMERS];
    struct net_extra extras[NET_EXTRA];
    bool deaf; /* what comes is not read: the other side seems silent */
    unsigned connects;
};

static uint64_t net_ahead_ms; /* of what the adapter reads, to let a minute pass */

static inline uint64_t net_clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline int net_socket(const struct pawl_dial *dial)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(dial->port) };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    bool path = dial->host[0] == '/';
    int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    int rc;

    if (path) {
        (void)snprintf(un.sun_path, sizeof(un.sun_path), "%.100s", dial->host);
        rc = connect(fd, (const struct sockaddr *)&un, sizeof(un));
    } else {
        (void)inet_pton(AF_INET, strcmp(dial->host, "localhost") == 0 ? "127.0.0.1" : dial->host,
                        &in.sin_addr);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        rc = connect(fd, (const struct sockaddr *)&in, sizeof(in));
    }
    if (rc != 0 && errno != EINPROGRESS) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static inline struct pawl_stream *net_connect(void *self, const struct pawl_dial *dial,
                                              const struct pawl_stream_events *events, void *ctx)
{
    struct net *net = self;

    for (unsigned i = 0; i < NET_STREAMS; i++) {
        struct pawl_stream *stream = &net->streams[i];

        if (!stream->used) {
            memset(stream, 0, sizeof(*stream));
            stream->used = true;
            stream->net = net;
            stream->events = *events;
            stream->ctx = ctx;
            stream->fd = net_socket(dial);
            stream->ending = stream->fd < 0;
            stream->status = PAWL_ECONN;
            stream->why = "connection refused";
            stream->until_ms = net_clock_ms() + dial->timeout_ms;
            stream->output_max = dial->output_max;
            net->connects++;
            return stream;
        }
    }
    return NULL;
}

static inline enum pawl_status net_write(struct pawl_stream *stream, const void *data, size_t size)
{
    if (!stream->open || stream->ending) {
        return PAWL_ECONN;
    }
    if (stream->out_size + size > stream->output_max) {
        return PAWL_EFULL;
    }
    stream->out = realloc(stream->out, stream->out_size + size);
    memcpy(stream->out + stream->out_size, data, size);
    stream->out_size += size;
    return PAWL_OK;
}

static inline void net_close(struct pawl_stream *stream)
{
    stream->ending = true;
    stream->status = PAWL_ECANCELED;
    stream->why = "closed here";
}

static inline const char *net_peer(const struct pawl_stream *stream)
{
    return stream->peer;
}

static inline struct pawl_timer *net_timer(void *self, void (*run)(void *ctx), void *ctx)
{
    struct net *net = self;

    for (unsigned i = 0; i < NET_TIMERS; i++) {
        if (!net->timers[i].used) {
            net->timers[i] = (struct pawl_timer){ true, false, 0, run, ctx };
            return &net->timers[i];
        }
    }
    return NULL;
}

static inline void net_start(struct pawl_timer *timer, uint32_t ms)
{
    timer->running = true;
    timer->at_ms = net_clock_ms() + ms;
}

static inline void net_stop(struct pawl_timer *timer)
{
    timer->running = false;
}

static inline void net_release(struct pawl_timer *timer)
{
    if (timer != NULL) {
        timer->used = false;
        timer->running = false;
    }
}

static inline uint64_t net_now_ms(void *self)
{
    (void)self;
    return net_clock_ms() + net_ahead_ms;
}

static inline void net_init(struct net *net)
{
    static const struct pawl_net_ops ops = { net_connect, net_write,   net_close,
                                             net_peer,    net_timer,   net_start,
                                             net_stop,    net_release, net_now_ms };

    memset(net, 0, sizeof(*net));
    net->port.ops = &ops;
    net->port.self = net;
    for (unsigned i = 0; i < NET_EXTRA; i++) {
        net->extras[i].fd = -1;
    }
}

static inline void net_watch(struct net *net, int fd, void (*ready)(void *ctx, int fd), void *ctx)
{
    for (unsigned i = 0; i < NET_EXTRA; i++) {
        if (net->extras[i].fd < 0) {
            net->extras[i] = (struct net_extra){ fd, ready, ctx };
            return;
        }
    }
    abort();
}

static inline void net_unwatch(struct net *net, int fd)
{
    for (unsigned i = 0; i < NET_EXTRA; i++) {
        if (net->extras[i].fd == fd) {
            net->extras[i].fd = -1;
        }
    }
}

static inline void net_end(struct pawl_stream *stream)
{
    struct pawl_stream copy = *stream;

    if (stream->fd >= 0) {
        (void)close(stream->fd);
    }
    free(stream->out);
    memset(stream, 0, sizeof(*stream)); /* a use after `closed` shows */
    stream->fd = -1;
    copy.events.closed(copy.ctx, copy.status, copy.why);
}

static inline void net_fail(struct pawl_stream *stream, enum pawl_status status, const char *why)
{
    stream->ending = true;
    stream->status = status;
    stream->why = why;
}

static inline void net_flush(struct pawl_stream *stream)
{
    ssize_t sent = send(stream->fd, stream->out, stream->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent > 0) {
        stream->out_size -= (size_t)sent;
        memmove(stream->out, stream->out + sent, stream->out_size);
    }
}

static inline void net_stream_ready(struct pawl_stream *stream, short events)
{
    static uint8_t buffer[65536];
    int error = 0;
    socklen_t length = sizeof(error);
    ssize_t size;

    if (!stream->open && (events & (POLLOUT | POLLERR | POLLHUP)) != 0) {
        (void)getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) {
            net_fail(stream, PAWL_ECONN, "connection refused");
            return;
        }
        stream->open = true;
        stream->events.opened(stream->ctx);
    }
    if (stream->open && (events & (POLLIN | POLLHUP | POLLERR)) != 0 && !stream->net->deaf) {
        size = recv(stream->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (size > 0) {
            stream->events.bytes(stream->ctx, buffer, (size_t)size);
        } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
            net_fail(stream, PAWL_ECONN, "closed by the other side");
        }
    }
    if (stream->open && stream->out_size > 0 && !stream->ending) {
        net_flush(stream);
    }
}

static inline void net_run_timers(struct net *net)
{
    uint64_t now_ms = net_clock_ms();

    for (unsigned i = 0; i < NET_TIMERS; i++) {
        struct pawl_timer *timer = &net->timers[i];

        if (timer->used && timer->running && timer->at_ms <= now_ms) {
            timer->running = false;
            timer->run(timer->ctx);
        }
    }
}

/** One turn, which waits for up to @wait_ms. */
static inline void net_turn(struct net *net, int wait_ms)
{
    struct pollfd fds[NET_STREAMS + NET_EXTRA];
    struct pawl_stream *streams[NET_STREAMS];
    struct net_extra extras[NET_EXTRA];
    unsigned count = 0;
    unsigned extra = 0;

    for (unsigned i = 0; i < NET_STREAMS; i++) {
        struct pawl_stream *stream = &net->streams[i];

        if (stream->used && !stream->ending && !stream->open && stream->until_ms < net_clock_ms()) {
            net_fail(stream, PAWL_ETIMEDOUT, "out of time");
        }
        if (stream->used && stream->ending) {
            net_end(stream);
        }
        if (stream->used && !stream->ending) {
            short events = (short)((net->deaf ? 0 : POLLIN) |
                                   (!stream->open || stream->out_size > 0 ? POLLOUT : 0));

            streams[count] = stream;
            fds[count++] = (struct pollfd){ stream->fd, events, 0 };
        }
    }
    for (unsigned i = 0; i < NET_EXTRA; i++) {
        if (net->extras[i].fd >= 0) {
            extras[extra] = net->extras[i];
            fds[count + extra++] = (struct pollfd){ net->extras[i].fd, POLLIN, 0 };
        }
    }
    for (unsigned i = 0; i < NET_TIMERS; i++) {
        if (net->timers[i].used && net->timers[i].running) {
            uint64_t now_ms = net_clock_ms();
            uint64_t at_ms = net->timers[i].at_ms;
            int left = at_ms <= now_ms ? 0 : (int)(at_ms - now_ms < 1000 ? at_ms - now_ms : 1000);

            wait_ms = left < wait_ms ? left : wait_ms;
        }
    }
    (void)poll(fds, count + extra, wait_ms);
    for (unsigned i = 0; i < count; i++) {
        if (fds[i].revents != 0 && streams[i]->used && !streams[i]->ending) {
            net_stream_ready(streams[i], fds[i].revents);
        }
    }
    for (unsigned i = 0; i < extra; i++) {
        if (fds[count + i].revents != 0) {
            extras[i].ready(extras[i].ctx, extras[i].fd);
        }
    }
    net_run_timers(net);
}

#endif
