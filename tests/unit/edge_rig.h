/*
 * A server of the network half in this process, with a small handler in place of the dispatcher,
 * and plain sockets as its clients. Waits are on conditions, with a deadline that only a hang
 * meets.
 *
 * The handler acts on the first byte of a message:
 *   'e'  the message comes back          'u'  a byte: how many frames this session has sent
 *   'r'  a byte: the session's roles     'm'  u32 count, u32 size: that many replies of that size
 *   'o'  the message comes back when the test calls rig_release()
 *   'b'  refused as malformed            'f'  the message comes back, then the session is finished
 *   't'  the message comes back, and the rig keeps the ticket
 *   'p'  put off: the message comes back at the end of the batch (8 of them at most)
 */
#ifndef PAWL_TEST_EDGE_RIG_H
#define PAWL_TEST_EDGE_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "edge/handler.h"
#include "edge/server.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/pawl.pb-c.h"

#define RIG_PATIENCE_MS 30000 /* met only by a hang */
#define RIG_WORKERS_MAX 8
#define RIG_OWED_MAX    4096

struct rig_user {
    uint64_t frames;
};

/** A reply that the test holds back. */
struct rig_owed {
    struct pawl_post post; /* first */
    struct pawl_worker *worker;
    struct pawl_ticket ticket;
    uint8_t message[64];
    size_t size;
};

struct rig {
    struct pawl_server_options options;
    struct pawl_listen_options listen[2];
    struct pawl_log log;
    struct pawl_server *server;
    pthread_t thread;
    bool running;
    enum pawl_status outcome;
    char folder[64];
    char path[96];
    char uri[104];

    struct pawl_worker *workers[RIG_WORKERS_MAX];
    pthread_mutex_t lock;
    struct rig_owed *owed[RIG_OWED_MAX];
    unsigned owed_count;
    struct pawl_ticket last_ticket;
    struct pawl_worker *last_worker;
    _Atomic unsigned batches;
    _Atomic unsigned batch_ends;
    _Atomic unsigned contexts;
    _Atomic unsigned lost; /* owed replies whose session had gone */
    _Atomic unsigned pulses;
    _Atomic unsigned seconds;
    _Atomic unsigned reloads;
    _Atomic unsigned drains;
    _Atomic unsigned logged;
};

struct rig_ctx {
    struct rig *rig;
    struct pawl_worker *worker;
    uint64_t batch_ms;
    struct pawl_bytes put_off[8];       /* answered at the end of the batch ... */
    struct pawl_session *put_off_by[8]; /* ... to these */
    unsigned put_off_count;
};

/* ---- the handler ---- */

static inline void rig_reply(struct pawl_session *session, const void *data, size_t size)
{
    uint8_t *room = pawl_session_reserve(session, PAWL_FRAME_HEADER_BYTES + size);

    if (room != NULL) {
        pawl_frame_header(room, size);
        memcpy(room + PAWL_FRAME_HEADER_BYTES, data, size);
        pawl_session_commit(session, PAWL_FRAME_HEADER_BYTES + size);
    }
}

static inline void *rig_worker_open(void *app, struct pawl_worker *worker, unsigned index)
{
    struct rig *rig = app;
    struct rig_ctx *ctx = calloc(1, sizeof(*ctx));

    rig->workers[index] = worker;
    if (ctx == NULL) { /* in the tests where memory runs out */
        return NULL;
    }
    ctx->rig = rig;
    ctx->worker = worker;
    (void)atomic_fetch_add(&rig->contexts, 1);
    return ctx;
}

static inline void rig_worker_close(void *data)
{
    struct rig_ctx *ctx = data;

    (void)atomic_fetch_sub(&ctx->rig->contexts, 1);
    free(ctx);
}

static inline void rig_on_batch(void *data)
{
    struct rig_ctx *ctx = data;

    (void)atomic_fetch_add(&ctx->rig->batches, 1);
    ctx->batch_ms = pawl_worker_batch_ms(ctx->worker);
}

static inline void rig_on_batch_end(void *data)
{
    struct rig_ctx *ctx = data;

    (void)atomic_fetch_add(&ctx->rig->batch_ends, 1);
    for (unsigned i = 0; i < ctx->put_off_count; i++) {
        rig_reply(ctx->put_off_by[i], ctx->put_off[i].data, ctx->put_off[i].size);
    }
    ctx->put_off_count = 0;
}

static inline void rig_owed_run(struct pawl_post *post, struct pawl_worker *worker)
{
    struct rig_owed *owed = (struct rig_owed *)(void *)post;
    struct pawl_session *session = pawl_session_find(worker, owed->ticket);

    if (session != NULL) {
        rig_reply(session, owed->message, owed->size);
        pawl_session_owe(session, -1);
    }
    free(owed);
}

static inline void rig_owe(struct rig_ctx *ctx, struct pawl_session *session,
                           struct pawl_bytes message)
{
    struct rig *rig = ctx->rig;
    struct rig_owed *owed = calloc(1, sizeof(*owed));

    owed->post.run = rig_owed_run;
    owed->worker = ctx->worker;
    owed->ticket = pawl_session_ticket(session);
    owed->size = message.size < sizeof(owed->message) ? message.size : sizeof(owed->message);
    memcpy(owed->message, message.data, owed->size);
    pawl_session_owe(session, 1);
    (void)pthread_mutex_lock(&rig->lock);
    if (rig->owed_count == RIG_OWED_MAX) {
        abort();
    }
    rig->owed[rig->owed_count++] = owed;
    (void)pthread_mutex_unlock(&rig->lock);
}

static inline void rig_many(struct pawl_session *session, struct pawl_bytes message)
{
    static const uint8_t filler[PAWL_REPLY_BYTES_MAX];
    uint32_t count = 0;
    uint32_t size = 0;

    memcpy(&count, message.data + 1, sizeof(count));
    memcpy(&size, message.data + 5, sizeof(size));
    for (uint32_t i = 0; i < count; i++) {
        rig_reply(session, filler, size);
    }
}

static inline enum pawl_status rig_on_frame(void *data, struct pawl_session *session,
                                            struct pawl_bytes message)
{
    struct rig_ctx *ctx = data;
    struct rig_user *user = pawl_session_user(session);
    uint8_t byte;

    pawl_session_accepted(session, ++user->frames);
    switch (message.data[0]) {
    case 'o':
        rig_owe(ctx, session, message);
        return PAWL_OK;
    case 'r':
        byte = (uint8_t)pawl_session_roles(session);
        rig_reply(session, &byte, 1);
        return PAWL_OK;
    case 'u':
        byte = (uint8_t)user->frames;
        rig_reply(session, &byte, 1);
        return PAWL_OK;
    case 't':
        (void)pthread_mutex_lock(&ctx->rig->lock);
        ctx->rig->last_ticket = pawl_session_ticket(session);
        ctx->rig->last_worker = ctx->worker;
        (void)pthread_mutex_unlock(&ctx->rig->lock);
        rig_reply(session, message.data, message.size);
        return PAWL_OK;
    case 'm':
        rig_many(session, message);
        return PAWL_OK;
    case 'f':
        rig_reply(session, message.data, message.size);
        pawl_session_finish(session);
        return PAWL_OK;
    case 'p':
        ctx->put_off_by[ctx->put_off_count] = session;
        ctx->put_off[ctx->put_off_count++] = message;
        return PAWL_OK;
    case 'b':
        return PAWL_EINVAL;
    default:
        rig_reply(session, message.data, message.size);
        return PAWL_OK;
    }
}

/* ---- hooks and log ---- */

static inline void rig_on_pulse(void *app)
{
    (void)atomic_fetch_add(&((struct rig *)app)->pulses, 1);
}

static inline void rig_on_second(void *app)
{
    (void)atomic_fetch_add(&((struct rig *)app)->seconds, 1);
}

static inline void rig_on_reload(void *app)
{
    (void)atomic_fetch_add(&((struct rig *)app)->reloads, 1);
}

static inline void rig_on_drain(void *app)
{
    (void)atomic_fetch_add(&((struct rig *)app)->drains, 1);
}

static inline void rig_log(void *self, enum pawl_log_level level, const char *event,
                           const struct pawl_field *fields, unsigned count)
{
    (void)level;
    (void)event;
    (void)fields;
    (void)count;
    (void)atomic_fetch_add(&((struct rig *)self)->logged, 1);
}

/* ---- life ---- */

/** A rig with a Unix socket in a folder of its own and TCP on a free port; not started. */
static inline struct rig *rig_make(void)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    (void)pthread_mutex_init(&rig->lock, NULL);
    (void)snprintf(rig->folder, sizeof(rig->folder), "/tmp/pawl_edge_XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    (void)snprintf(rig->path, sizeof(rig->path), "%s/s", rig->folder);
    (void)snprintf(rig->uri, sizeof(rig->uri), "unix:%s", rig->path);
    pawl_server_options_init(&rig->options);
    rig->listen[0] = (struct pawl_listen_options){ .uri = rig->uri, .fd = -1 };
    rig->listen[1] = (struct pawl_listen_options){ .uri = "tcp:127.0.0.1:0",
                                                   .anonymous = PAWL_ROLE_CHECK | PAWL_ROLE_READ,
                                                   .fd = -1 };
    rig->options.listen = rig->listen;
    rig->options.listen_count = 2;
    rig->options.workers = 2;
    return rig;
}

static inline enum pawl_status rig_create(struct rig *rig, struct pawl_error *error)
{
    struct pawl_handler handler = { .worker_open = rig_worker_open,
                                    .worker_close = rig_worker_close,
                                    .on_batch = rig_on_batch,
                                    .on_frame = rig_on_frame,
                                    .on_batch_end = rig_on_batch_end,
                                    .app = rig };
    struct pawl_server_hooks hooks = { .on_pulse = rig_on_pulse,
                                       .on_second = rig_on_second,
                                       .on_reload = rig_on_reload,
                                       .on_drain_start = rig_on_drain,
                                       .app = rig };

    rig->log = (struct pawl_log){ rig_log, rig };
    return pawl_server_create(&rig->options, &handler, &hooks, &rig->log, &rig->server, error);
}

static inline void *rig_thread(void *data)
{
    struct rig *rig = data;

    rig->outcome = pawl_server_run(rig->server, NULL);
    return NULL;
}

static inline void rig_start(struct rig *rig)
{
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (rig_create(rig, &error) != PAWL_OK) {
        fail_msg("server: %s", error.text);
    }
    assert_int_equal(pthread_create(&rig->thread, NULL, rig_thread, rig), 0);
    rig->running = true;
}

/** Wait for the run to end, which somebody has asked for. */
static inline enum pawl_status rig_join(struct rig *rig)
{
    assert_int_equal(pthread_join(rig->thread, NULL), 0);
    rig->running = false;
    return rig->outcome;
}

static inline void rig_free(struct rig *rig)
{
    if (rig->running) {
        pawl_server_stop(rig->server);
        pawl_server_stop(rig->server);
        (void)rig_join(rig);
    }
    for (unsigned i = 0; i < rig->owed_count; i++) {
        free(rig->owed[i]);
    }
    pawl_server_destroy(rig->server);
    assert_int_equal(atomic_load(&rig->contexts), 0);
    (void)unlink(rig->path);
    (void)rmdir(rig->folder);
    (void)pthread_mutex_destroy(&rig->lock);
    free(rig);
}

/* ---- figures ---- */

struct rig_wanted {
    const char *name;
    uint64_t value;
    bool found;
};

static inline void rig_take_number(void *self, const char *name, uint64_t value)
{
    struct rig_wanted *wanted = self;

    if (strcmp(name, wanted->name) == 0) {
        wanted->value = value;
        wanted->found = true;
    }
}

static inline uint64_t rig_stat(const struct rig *rig, const char *name)
{
    struct rig_wanted wanted = { name, 0, false };
    struct pawl_stats_sink sink = { rig_take_number, NULL, NULL, &wanted };

    pawl_server_stats(rig->server, &sink);
    assert_true(wanted.found);
    return wanted.value;
}

static inline void rig_breathe(void)
{
    (void)poll(NULL, 0, 2);
}

/** Until the figure is at least @value. */
static inline void rig_await(const struct rig *rig, const char *name, uint64_t value)
{
    for (int i = 0; rig_stat(rig, name) < value; i++) {
        if (i > RIG_PATIENCE_MS / 2) {
            fail_msg("%s stays at %llu, wanted %llu", name, (unsigned long long)rig_stat(rig, name),
                     (unsigned long long)value);
        }
        rig_breathe();
    }
}

/** Until the figure is exactly @value. */
static inline void rig_await_exact(const struct rig *rig, const char *name, uint64_t value)
{
    for (int i = 0; rig_stat(rig, name) != value; i++) {
        if (i > RIG_PATIENCE_MS / 2) {
            fail_msg("%s stays at %llu, wanted %llu", name, (unsigned long long)rig_stat(rig, name),
                     (unsigned long long)value);
        }
        rig_breathe();
    }
}

static inline unsigned rig_owed_count(struct rig *rig)
{
    unsigned count;

    (void)pthread_mutex_lock(&rig->lock);
    count = rig->owed_count;
    (void)pthread_mutex_unlock(&rig->lock);
    return count;
}

static inline void rig_await_owed(struct rig *rig, unsigned count)
{
    for (int i = 0; rig_owed_count(rig) < count; i++) {
        assert_true(i < RIG_PATIENCE_MS / 2);
        rig_breathe();
    }
}

/** Give @count of the replies that are owed, oldest first. */
static inline void rig_release(struct rig *rig, unsigned count)
{
    (void)pthread_mutex_lock(&rig->lock);
    for (unsigned i = 0; i < count; i++) {
        pawl_worker_post(rig->owed[i]->worker, &rig->owed[i]->post);
    }
    memmove(rig->owed, rig->owed + count, (rig->owed_count - count) * sizeof(rig->owed[0]));
    rig->owed_count -= count;
    (void)pthread_mutex_unlock(&rig->lock);
}

/* ---- clients ---- */

static inline int rig_try_connect(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    memcpy(name.sun_path, path, strlen(path));
    if (connect(fd, (const struct sockaddr *)&name, sizeof(name)) != 0) {
        int code = errno;

        (void)close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

static inline int rig_connect(const struct rig *rig)
{
    int fd = rig_try_connect(rig->path);

    assert_true(fd >= 0);
    return fd;
}

static inline int rig_connect_tcp(const struct rig *rig)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    name.sin_port = htons((uint16_t)pawl_server_port(rig->server, 1));
    assert_int_equal(connect(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static inline void rig_send(int fd, const void *data, size_t size)
{
    const uint8_t *next = data;

    while (size > 0) {
        ssize_t sent = send(fd, next, size, MSG_NOSIGNAL);

        assert_true(sent > 0);
        next += sent;
        size -= (size_t)sent;
    }
}

/** A frame at @out; its size. */
static inline size_t rig_frame(uint8_t *out, const void *message, size_t size)
{
    pawl_frame_header(out, size);
    memcpy(out + PAWL_FRAME_HEADER_BYTES, message, size);
    return PAWL_FRAME_HEADER_BYTES + size;
}

/** The frame of one byte 'e'; a peer that has closed already is met when reading. */
static inline void rig_send_if_open(int fd)
{
    uint8_t frame[8];

    (void)send(fd, frame, rig_frame(frame, "e", 1), MSG_NOSIGNAL);
}

static inline void rig_send_frame(int fd, const char *message)
{
    uint8_t frame[256];

    rig_send(fd, frame, rig_frame(frame, message, strlen(message)));
}

/** Some bytes; 0 at the end or a reset. Fails after the deadline. */
static inline size_t rig_read_some(int fd, void *out, size_t size)
{
    struct pollfd wait = { fd, POLLIN, 0 };
    ssize_t taken;

    assert_int_equal(poll(&wait, 1, RIG_PATIENCE_MS), 1);
    taken = recv(fd, out, size, 0);
    return taken > 0 ? (size_t)taken : 0;
}

static inline bool rig_read_all(int fd, void *out, size_t size)
{
    uint8_t *next = out;

    while (size > 0) {
        size_t taken = rig_read_some(fd, next, size);

        if (taken == 0) {
            return false;
        }
        next += taken;
        size -= taken;
    }
    return true;
}

/** One frame's message at @out of @capacity; its size, 0 when the connection has ended. */
static inline size_t rig_read_frame(int fd, void *out, size_t capacity)
{
    uint8_t header[4];
    size_t size;

    if (!rig_read_all(fd, header, sizeof(header))) {
        return 0;
    }
    size = (size_t)header[0] << 24 | (size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3];
    assert_true(size > 0 && size <= capacity);
    assert_true(rig_read_all(fd, out, size));
    return size;
}

static inline void rig_expect_frame(int fd, const char *message)
{
    uint8_t data[512];

    assert_int_equal(rig_read_frame(fd, data, sizeof(data)), strlen(message));
    assert_memory_equal(data, message, strlen(message));
}

/** A goaway; @last_id and the reason (64 bytes) out, both may be NULL. Its status. */
static inline int rig_expect_goaway(int fd, uint64_t *last_id, char *reason)
{
    uint8_t data[512];
    size_t size = rig_read_frame(fd, data, sizeof(data));
    Pawl__V1__Reply *reply = pawl__v1__reply__unpack(NULL, size, data);
    int status;

    assert_non_null(reply);
    assert_int_equal(reply->id, 0);
    assert_non_null(reply->goaway);
    status = (int)reply->status;
    if (last_id != NULL) {
        *last_id = reply->goaway->last_id;
    }
    if (reason != NULL) {
        memcpy(reason, reply->goaway->reason.data, reply->goaway->reason.len);
        reason[reply->goaway->reason.len] = '\0';
    }
    pawl__v1__reply__free_unpacked(reply, NULL);
    return status;
}

static inline void rig_expect_end(int fd)
{
    uint8_t byte;

    assert_int_equal(rig_read_some(fd, &byte, 1), 0);
}

#endif
