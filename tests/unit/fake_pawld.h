/*
 * A pawld that misbehaves on demand, for the tests of the client: one thread, a Unix socket with an
 * abstract name, a mode that may change at any time. It counts what reaches it.
 */
#ifndef PAWL_TEST_FAKE_PAWLD_H
#define PAWL_TEST_FAKE_PAWLD_H

#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FAKE_CONNS 16

enum fake_mode {
    FAKE_ANSWER = 0,
    FAKE_BYTE_BY_BYTE, /* answers, each byte by itself */
    FAKE_SILENT,       /* reads and never answers a request */
    FAKE_CLOSE,        /* closes when a request has come */
    FAKE_HALF,         /* closes in the middle of an answer */
    FAKE_GARBAGE,      /* answers with what is no frame */
    FAKE_WRONG_BODY,   /* answers a check with a ping's answer */
    FAKE_GOAWAY,       /* first request of a connection: not begun; then like FAKE_ANSWER */
    FAKE_GOAWAY_DRAIN, /* accepts the first, says goaway, then answers it */
    FAKE_REFUSE,       /* STATUS_UNAVAILABLE */
    FAKE_PERHAPS,      /* the same, and it may have been done */
    FAKE_NOT_FOUND,    /* STATUS_NOT_FOUND */
    FAKE_DENY,         /* verdict DENY */
    FAKE_HANG_UP,      /* answers, then closes */
    FAKE_TURN_AWAY,    /* a goaway is all that comes, with nothing begun */
    FAKE_TURN_ONCE,    /* the first time */
};

struct fake {
    char address[64];
    int listen_fd;
    int stop[2];
    pthread_t thread;
    atomic_int mode;
    atomic_int requests; /* without hellos */
    atomic_int hellos;
    atomic_int hung_up;        /* connections ended by FAKE_HANG_UP */
    atomic_int closed;         /* connections that the other side ended */
    _Atomic uint64_t on_error; /* told with each named limit's result */
    /* Of a fleet; set before a connection is made. */
    _Atomic uint64_t view; /* its number; 0: alone, and knows of no routing */
    struct fake *fleet[4]; /* its members, in any order */
    atomic_uint fleet_count;
    uint8_t node[16];
    atomic_bool denies;        /* nobody may check here */
    _Atomic uint64_t features; /* of the hello that came last */
    struct fake_conn {
        int fd;
        uint64_t accepted; /* the highest id of those that were begun, as pawld says it */
        size_t size;
        uint8_t in[1 << 18];
    } conns[FAKE_CONNS];
};

static inline void fake_send(struct fake *fake, int fd, const uint8_t *data, size_t size)
{
    size_t step = atomic_load(&fake->mode) == FAKE_BYTE_BY_BYTE ? 1 : size;

    for (size_t at = 0; at < size; at += step) {
        (void)send(fd, data + at, step, MSG_NOSIGNAL);
    }
}

static inline void fake_send_cold(struct fake *fake, int fd, Pawl__V1__Reply *reply)
{
    uint8_t out[4096];

    fake_send(fake, fd, out, pawl_cold_write_reply(out, sizeof(out), reply));
}

static inline void fake_goaway(struct fake *fake, int fd, uint64_t last_id)
{
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    Pawl__V1__GoAway goaway = PAWL__V1__GO_AWAY__INIT;

    goaway.last_id = last_id;
    goaway.reason = (ProtobufCBinaryData){ 7, (uint8_t *)(uintptr_t) "as told" };
    reply.goaway = &goaway;
    fake_send_cold(fake, fd, &reply);
}

static inline size_t fake_hot_reply(struct fake *fake, const struct pawl_wire_request *request,
                                    uint8_t *out)
{
    struct pawl_wire_result results[PAWL_RESULTS_MAX];
    struct pawl_wire_reply reply;
    int mode = atomic_load(&fake->mode);

    memset(&reply, 0, sizeof(reply));
    memset(results, 0, sizeof(results));
    reply.id = request->id;
    reply.status = mode == FAKE_REFUSE || mode == FAKE_PERHAPS
                       ? PAWL__V1__STATUS__STATUS_UNAVAILABLE
                   : mode == FAKE_NOT_FOUND ? PAWL__V1__STATUS__STATUS_NOT_FOUND
                                            : PAWL__V1__STATUS__STATUS_OK;
    reply.effect_unknown = mode == FAKE_PERHAPS;
    reply.results = results;
    if (reply.status != PAWL__V1__STATUS__STATUS_OK) {
        reply.error = pawl_bytes_of("as told", 7);
        return pawl_wire_write_reply(out, &reply);
    }
    reply.body = request->body;
    reply.verdict = mode == FAKE_DENY ? PAWL_DENY : PAWL_ALLOW;
    reply.has_token = request->has_token;
    reply.token.status = PAWL__V1__TOKEN_STATUS__TOKEN_VALID;
    if (request->has_token && request->token.raw.size > 0) { /* "verified": tells what was sent */
        static uint8_t packed[1024];
        Pawl__V1__Token claims = PAWL__V1__TOKEN__INIT;

        claims.jti = (ProtobufCBinaryData){ 4, (uint8_t *)(uintptr_t) "jti1" };
        claims.subject =
            (ProtobufCBinaryData){ request->token.raw.size > 64 ? 64 : request->token.raw.size,
                                   (uint8_t *)(uintptr_t)request->token.raw.data };
        claims.exp = 1900000000;
        reply.token.claims = pawl_bytes_of(packed, pawl__v1__token__pack(&claims, packed));
    }
    reply.result_count = request->body == PAWL_BODY_CHECK ? request->item_count : 0;
    for (uint32_t i = 0; i < reply.result_count; i++) {
        results[i].item = i;
        results[i].limit_count = 2;
        results[i].window_ms = 60000;
        results[i].allowed = mode != FAKE_DENY;
        results[i].charge = 77;
        results[i].on_error = (uint8_t)atomic_load(&fake->on_error);
    }
    return pawl_wire_write_reply(out, &reply);
}

#define FAKE_SUBKEY "sixteen letters!"

static inline void fake_send_view(struct fake *fake, int fd, uint64_t id)
{
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    Pawl__V1__ViewReply view = PAWL__V1__VIEW_REPLY__INIT;
    Pawl__V1__Member members[4];
    Pawl__V1__Member *pointers[4];

    for (unsigned i = 0; i < atomic_load(&fake->fleet_count); i++) {
        struct fake *member = fake->fleet[i];

        pawl__v1__member__init(&members[i]);
        members[i].node = (ProtobufCBinaryData){ sizeof(member->node), member->node };
        members[i].address =
            (ProtobufCBinaryData){ strlen(member->address), (uint8_t *)member->address };
        members[i].state = (ProtobufCBinaryData){ 7, (uint8_t *)(uintptr_t) "serving" };
        members[i].version = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t) "9.9" };
        members[i].uptime_s = 60 + i;
        members[i].view = atomic_load(&fake->view);
        pointers[i] = &members[i];
    }
    view.view = atomic_load(&fake->view);
    view.n_members = atomic_load(&fake->fleet_count);
    view.members = pointers;
    reply.id = id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_VIEW;
    reply.view = &view;
    fake_send_cold(fake, fd, &reply);
}

static inline void fake_cold_reply(struct fake *fake, int fd, struct pawl_bytes message)
{
    Pawl__V1__Request *request = pawl__v1__request__unpack(NULL, message.size, message.data);
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    Pawl__V1__HelloReply hello = PAWL__V1__HELLO_REPLY__INIT;
    Pawl__V1__PingReply ping = PAWL__V1__PING_REPLY__INIT;
    Pawl__V1__RevokeReply revoke = PAWL__V1__REVOKE_REPLY__INIT;
    Pawl__V1__RotateReply rotate = PAWL__V1__ROTATE_REPLY__INIT;
    Pawl__V1__RefundReply refund = PAWL__V1__REFUND_REPLY__INIT;
    Pawl__V1__Role role = PAWL__V1__ROLE__ROLE_CHECK;
    uint64_t one = 1;

    if (request->body_case == PAWL__V1__REQUEST__BODY_VIEW_GET) {
        fake_send_view(fake, fd, request->id);
        pawl__v1__request__free_unpacked(request, NULL);
        return;
    }
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = (Pawl__V1__Reply__BodyCase)request->body_case;
    if (request->hello != NULL) {
        hello.version = 1;
        hello.in_flight_max = 1000;
        hello.n_roles = atomic_load(&fake->denies) ? 0 : 1;
        hello.roles = &role;
        hello.node = (ProtobufCBinaryData){ sizeof(fake->node), fake->node };
        atomic_store(&fake->features, request->hello->features);
        if (request->hello->features != 0 && atomic_load(&fake->view) != 0) {
            hello.features = PAWL_FEATURE_ROUTING;
            hello.slots_subkey = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)FAKE_SUBKEY };
        }
        reply.hello = &hello;
    }
    if (request->body_case == PAWL__V1__REQUEST__BODY_ROTATE) {
        rotate.result = PAWL__V1__ROTATE_RESULT__ROTATE_ROTATED;
        rotate.successor = request->rotate->next_jti;
        rotate.generation = request->rotate->generation + 1;
        reply.rotate = &rotate;
    } else if (request->body_case == PAWL__V1__REQUEST__BODY_REVOKE) {
        revoke.acknowledged = PAWL__V1__ACK__ACK_DURABLE;
        revoke.until = request->revoke->raw.len > 0 /* tells what was sent */
                           ? 1000 * request->revoke->scope + request->revoke->raw.len
                           : request->revoke->value.len;
        reply.revoke = &revoke;
    } else if (request->body_case == PAWL__V1__REQUEST__BODY_REFUND) {
        refund.n_refunded = 1;
        refund.refunded = &one;
        reply.refund = &refund;
    } else {
        reply.body_case = PAWL__V1__REPLY__BODY_PING;
        reply.ping = &ping;
    }
    fake_send_cold(fake, fd, &reply);
    if (hello.features != 0) {
        fake_send_view(fake, fd, 0);
    }
    pawl__v1__request__free_unpacked(request, NULL);
}

static inline void fake_close(struct fake *fake, struct fake_conn *conn)
{
    (void)fake;
    (void)close(conn->fd);
    conn->fd = -1;
    conn->size = 0;
}

static inline void fake_answer(struct fake *fake, struct fake_conn *conn,
                               const struct pawl_wire_request *request, struct pawl_bytes message)
{
    uint8_t out[8192];

    if (request->body == PAWL_BODY_COLD) {
        fake_cold_reply(fake, conn->fd, message);
    } else {
        fake_send(fake, conn->fd, out, fake_hot_reply(fake, request, out));
    }
}

/* Returns false when the connection was closed. */
static inline bool fake_request(struct fake *fake, struct fake_conn *conn,
                                struct pawl_bytes message)
{
    static _Thread_local struct pawl_wire_request request; /* of each fake's thread */
    static const uint8_t garbage[] = { 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff };
    uint8_t out[8192];

    if (pawl_wire_read_request(&request, message) != PAWL_OK) {
        fake_close(fake, conn);
        return false;
    }
    if (request.has_hello) {
        int mode = atomic_load(&fake->mode);

        conn->accepted = request.id;
        atomic_fetch_add(&fake->hellos, 1);
        if (mode == FAKE_TURN_AWAY || mode == FAKE_TURN_ONCE) {
            atomic_store(&fake->mode, mode == FAKE_TURN_ONCE ? FAKE_ANSWER : mode);
            fake_goaway(fake, conn->fd, 0);
            fake_close(fake, conn);
            return false;
        }
        if (atomic_load(&fake->mode) != FAKE_SILENT) {
            fake_cold_reply(fake, conn->fd, message);
        }
        return true;
    }
    atomic_fetch_add(&fake->requests, 1);
    if (atomic_load(&fake->mode) != FAKE_GOAWAY && request.id > conn->accepted) {
        conn->accepted = request.id;
    }
    switch (atomic_load(&fake->mode)) {
    case FAKE_SILENT:
        return true;
    case FAKE_CLOSE:
        fake_close(fake, conn);
        return false;
    case FAKE_HANG_UP:
        fake_answer(fake, conn, &request, message);
        fake_close(fake, conn);
        atomic_fetch_add(&fake->hung_up, 1);
        return false;
    case FAKE_HALF:
        fake_send(fake, conn->fd, out, fake_hot_reply(fake, &request, out) / 2);
        fake_close(fake, conn);
        return false;
    case FAKE_GARBAGE:
        fake_send(fake, conn->fd, garbage, sizeof(garbage));
        return true;
    case FAKE_WRONG_BODY:
        request.body = PAWL_BODY_TOKEN_CHECK;
        request.has_token = true;
        memset(&request.token, 0, sizeof(request.token)); /* not that of a request before */
        fake_answer(fake, conn, &request, message);
        return true;
    case FAKE_GOAWAY:
        atomic_store(&fake->mode, FAKE_ANSWER);
        fake_goaway(fake, conn->fd, conn->accepted);
        return true;
    case FAKE_GOAWAY_DRAIN:
        atomic_store(&fake->mode, FAKE_ANSWER);
        fake_goaway(fake, conn->fd, request.id);
        fake_answer(fake, conn, &request, message);
        return true;
    default:
        fake_answer(fake, conn, &request, message);
        return true;
    }
}

static inline void fake_read(struct fake *fake, struct fake_conn *conn)
{
    ssize_t got = recv(conn->fd, conn->in + conn->size, sizeof(conn->in) - conn->size, 0);
    struct pawl_bytes message;
    size_t at = 0;

    if (got <= 0) {
        atomic_fetch_add(&fake->closed, 1);
        fake_close(fake, conn);
        return;
    }
    conn->size += (size_t)got;
    while (pawl_frame_next(conn->in + at, conn->size - at, PAWL_REQUEST_BYTES_MAX, &message,
                           NULL) == PAWL_OK) {
        if (!fake_request(fake, conn, message)) {
            return;
        }
        at += PAWL_FRAME_HEADER_BYTES + message.size;
    }
    memmove(conn->in, conn->in + at, conn->size - at);
    conn->size -= at;
}

static inline void fake_accept(struct fake *fake)
{
    int fd = accept(fake->listen_fd, NULL, NULL);

    for (unsigned i = 0; i < FAKE_CONNS && fd >= 0; i++) {
        if (fake->conns[i].fd < 0) {
            fake->conns[i].fd = fd;
            return;
        }
    }
}

static inline void *fake_run(void *arg)
{
    struct fake *fake = arg;

    for (;;) {
        struct pollfd fds[FAKE_CONNS + 2];

        fds[0].fd = fake->stop[0];
        fds[1].fd = fake->listen_fd;
        for (unsigned i = 0; i < FAKE_CONNS; i++) {
            fds[i + 2].fd = fake->conns[i].fd;
        }
        for (unsigned i = 0; i < FAKE_CONNS + 2; i++) {
            fds[i].events = POLLIN;
            fds[i].revents = 0;
        }
        (void)poll(fds, FAKE_CONNS + 2, -1);
        if (fds[0].revents != 0) {
            return NULL;
        }
        for (unsigned i = 0; i < FAKE_CONNS; i++) {
            if (fds[i + 2].revents != 0) {
                fake_read(fake, &fake->conns[i]);
            }
        }
        if (fds[1].revents != 0) {
            fake_accept(fake);
        }
    }
}

static inline void fake_bind_unix(struct fake *fake)
{
    static atomic_int serial;
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int number = atomic_fetch_add(&serial, 1);
    int length = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "pawl-fake-%d-%d",
                          (int)getpid(), number);

    (void)snprintf(fake->address, sizeof(fake->address), "unix:@%.50s", un.sun_path + 1);
    fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fake->listen_fd, (struct sockaddr *)&un,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) != 0) {
        abort();
    }
}

static inline void fake_bind_tcp(struct fake *fake)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof(in);

    fake->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fake->listen_fd, (struct sockaddr *)&in, size) != 0 ||
        getsockname(fake->listen_fd, (struct sockaddr *)&in, &size) != 0) {
        abort();
    }
    (void)snprintf(fake->address, sizeof(fake->address), "tcp:127.0.0.1:%u",
                   (unsigned)ntohs(in.sin_port));
}

/* TCP for the one that hangs up: a Unix socket refuses the next byte, TCP takes it and loses it. */
static inline struct fake *fake_start(enum fake_mode mode)
{
    struct fake *fake = calloc(1, sizeof(*fake));

    if (fake == NULL) {
        abort();
    }
    atomic_store(&fake->mode, (int)mode);
    for (unsigned i = 0; i < FAKE_CONNS; i++) {
        fake->conns[i].fd = -1;
    }
    if (mode == FAKE_HANG_UP) {
        fake_bind_tcp(fake);
    } else {
        fake_bind_unix(fake);
    }
    if (listen(fake->listen_fd, 16) != 0 || pipe(fake->stop) != 0 ||
        pthread_create(&fake->thread, NULL, fake_run, fake) != 0) {
        abort();
    }
    return fake;
}

static inline void fake_stop(struct fake *fake)
{
    (void)close(fake->stop[1]);
    (void)pthread_join(fake->thread, NULL);
    for (unsigned i = 0; i < FAKE_CONNS; i++) {
        if (fake->conns[i].fd >= 0) {
            (void)close(fake->conns[i].fd);
        }
    }
    (void)close(fake->listen_fd);
    (void)close(fake->stop[0]);
    free(fake);
}

#endif
