#include "private.h"

#include "adapter/tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define HELLO_BYTES     2048
#define BUSY_RETRY_NS   NS_PER_MS
#define FIRST_IN_BYTES  16384
#define READS_MAX       64 /* in one turn, so that one peer cannot hold the caller */
#define IN_CAPACITY_MAX (PAWL_REPLY_BYTES_MAX + PAWL_FRAME_HEADER_BYTES)

void pawl_client_conn_reset(struct conn *conn)
{
    conn->state = CONN_NONE;
    conn->fd = -1;
    conn->in_flight = 0;
    conn->in_flight_max = UINT32_MAX;
    conn->heard = false;
    conn->blocked = false;
    conn->tls = NULL;
    conn->epoll_events = 0;
    conn->in_size = 0;
    conn->tail_size = 0;
    conn->tail_sent = 0;
    conn->may_check = false;
    memset(conn->node, 0, sizeof(conn->node));
    memset(&conn->queue, 0, sizeof(conn->queue));
    memset(&conn->sent, 0, sizeof(conn->sent));
}

void pawl_client_conn_error(struct pawl_client *client, unsigned endpoint, const char *text)
{
    char address[PAWL_ADDRESS_TEXT_MAX] = "?";

    if (client->connect != NULL) {
        (void)snprintf(address, sizeof(address), "the connect option");
    } else if (endpoint < client->endpoint_count) {
        (void)pawl_address_format(&client->texts[client->endpoints[endpoint].text], address,
                                  sizeof(address));
    }
    (void)snprintf(client->error, sizeof(client->error), "%.90s: %.60s", address, text);
}

static void set_errno(struct pawl_client *client, unsigned endpoint, int code)
{
    char text[64];

    pawl_client_conn_error(client, endpoint, strerror_r(code, text, sizeof(text)));
}

void pawl_client_conn_close(struct pawl_client *client, struct conn *conn)
{
    if (pawl_client_is_direct(client, conn) && conn->state != CONN_NONE) {
        pawl_client_route_closed(client, conn);
    }
    if (conn->fd >= 0) {
        if (conn->epoll_events != 0) { /* a forked child may hold the socket: closing is no DEL */
            (void)epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
        }
        (void)close(conn->fd);
    }
    if (conn->tls != NULL) {
        pawl_tls_ops.close(conn->tls);
    }
    if (conn->tail_size > conn->tail_sent) { /* it may be a credential */
        explicit_bzero(conn->tail + conn->tail_sent, conn->tail_size - conn->tail_sent);
    }
    if (conn->in_capacity > CLIENT_IN_KEEP) {
        free(conn->in);
        conn->in = NULL;
        conn->in_capacity = 0;
    }
    pawl_client_conn_reset(conn);
}

void pawl_client_conn_fail(struct pawl_client *client, struct conn *conn, enum pawl_rc cause)
{
    bool had_sent = conn->sent.first != NULL;
    uint64_t now_ns = client->clock_ns();

    if (pawl_client_is_direct(client, conn)) {
        pawl_client_route_failed(client, conn, cause);
        return;
    }
    if (conn->state == CONN_CONNECTING || conn->state == CONN_SECURING || !conn->heard ||
        cause == PAWL_RC_PROTOCOL) {
        pawl_client_endpoint_failed(client, conn->endpoint, now_ns);
    }
    if (cause == PAWL_RC_PROTOCOL) {
        client->figures.protocol_errors++;
    }
    while (conn->sent.first != NULL) {
        pawl_client_slot_fail(client, conn->sent.first, cause);
        client->figures.lost++;
    }
    if (had_sent || cause == PAWL_RC_PROTOCOL) {
        (void)pawl_client_breaker_failure(client, now_ns);
    }
    if (client->queue.first == NULL) { /* nobody waits for a connection: the round is over */
        pawl_client_new_round(client);
    }
    pawl_client_conn_close(client, conn);
}

static bool tail_put(struct conn *conn, const uint8_t *data, size_t size)
{
    uint8_t *tail = conn->tail;

    if (tail == NULL) { /* once: a rest of a frame is never longer than this */
        tail = malloc(PAWL_REQUEST_BYTES_MAX + PAWL_FRAME_HEADER_BYTES);
        if (tail == NULL) {
            return false;
        }
        conn->tail = tail;
    }
    memcpy(tail, data, size);
    conn->tail_size = size;
    conn->tail_sent = 0;
    return true;
}

void pawl_client_conn_ready(struct pawl_client *client, struct conn *conn)
{
    uint8_t hello[HELLO_BYTES];
    size_t size;

    conn->state = CONN_UP;
    client->figures.connects++;
    conn->hello_id = CLIENT_HELLO_ID;
    size = pawl_client_write_hello(client, conn->hello_id, client->route != NULL,
                                   pawl_client_may_tell(client, conn), hello, sizeof(hello));
    if (size == 0 || !tail_put(conn, hello, size)) {
        set_errno(client, conn->endpoint, ENOMEM);
        pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
    }
    explicit_bzero(hello, sizeof(hello));
}

/* Where @conn leads; NULL where somebody else has connected it. */
static const struct pawl_address *address_of(const struct pawl_client *client,
                                             const struct conn *conn)
{
    if (pawl_client_is_direct(client, conn)) {
        return pawl_client_route_address(client, conn);
    }
    return client->connect == NULL && conn->endpoint < client->endpoint_count
               ? &client->texts[client->endpoints[conn->endpoint].text]
               : NULL;
}

void pawl_client_conn_up(struct pawl_client *client, struct conn *conn)
{
    const struct pawl_address *address = address_of(client, conn);
    int one = 1;

    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* no-op on unix */
    if (address != NULL && address->kind == PAWL_ADDRESS_TLS) {
        (void)pawl_client_secure_begin(client, conn,
                                       pawl_client_is_direct(client, conn)
                                           ? pawl_client_route_name(client, conn)
                                           : address->host);
        return;
    }
    pawl_client_conn_ready(client, conn);
}

const char *pawl_client_conn_host(const struct pawl_client *client, const struct conn *conn)
{
    const struct pawl_address *address = address_of(client, conn);

    return address != NULL && address->kind == PAWL_ADDRESS_TLS ? address->host : NULL;
}

static uint64_t give_up_ns(struct pawl_client *client, uint64_t now_ns)
{
    uint64_t wait_ns = 0;
    uint64_t end_ns = now_ns + (uint64_t)client->durable_deadline_ms * NS_PER_MS;

    /* while there is another address to try, this one gets half of the most urgent call's time */
    if (pawl_client_next_endpoint(client, now_ns, &wait_ns) >= 0 && client->deadline_ns > now_ns) {
        uint64_t half_ns = now_ns + (client->deadline_ns - now_ns) / 2;

        return half_ns < end_ns ? half_ns : end_ns;
    }
    return end_ns;
}

/* The connect option: a socket that somebody else has connected. */
static bool open_given(struct pawl_client *client, struct conn *conn, uint64_t now_ns)
{
    int flags;

    conn->fd = client->connect(client->connect_ctx);
    flags = conn->fd >= 0 ? fcntl(conn->fd, F_GETFL) : -1;
    if (flags < 0 || fcntl(conn->fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        set_errno(client, conn->endpoint, errno);
        pawl_client_endpoint_failed(client, conn->endpoint, now_ns);
        pawl_client_conn_close(client, conn);
        return false;
    }
    pawl_client_conn_up(client, conn);
    return conn->state == CONN_UP;
}

bool pawl_client_conn_open(struct pawl_client *client, unsigned endpoint, uint64_t now_ns)
{
    struct conn *conn = client_active(client);
    struct endpoint *to = &client->endpoints[endpoint];
    int failed;

    conn->endpoint = endpoint;
    to->tried = true;
    if (client->connect != NULL) {
        return open_given(client, conn, now_ns);
    }
    conn->fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        set_errno(client, endpoint, errno);
        pawl_client_endpoint_failed(client, endpoint, now_ns);
        return false;
    }
    conn->state = CONN_CONNECTING;
    conn->give_up_ns = give_up_ns(client, now_ns);
    failed = connect(conn->fd, (const struct sockaddr *)&to->address, to->size);
    if (failed == 0) {
        pawl_client_conn_up(client, conn);
        return conn->state != CONN_NONE;
    }
    if (errno == EINPROGRESS || errno == EINTR) {
        return true;
    }
    set_errno(client, endpoint, errno);
    if (errno == EAGAIN) { /* a Unix socket's backlog is full: the daemon lives */
        to->tried = false;
        to->busy_ns = now_ns + BUSY_RETRY_NS;
        pawl_client_conn_close(client, conn);
        return false;
    }
    pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
    return false;
}

void pawl_client_conn_check(struct pawl_client *client, struct conn *conn)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);
    int code = 0;

    if (conn->state == CONN_SECURING) {
        pawl_client_secure_step(client, conn);
        return;
    }
    if (getpeername(conn->fd, (struct sockaddr *)&peer, &size) == 0) {
        pawl_client_conn_up(client, conn);
        return;
    }
    size = sizeof(code);
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0 && code != 0) {
        set_errno(client, conn->endpoint, code);
        pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
    }
}

/* ---- sending ----------------------------------------------------------------------------- */

static struct slot_list *queue_of(struct pawl_client *client, struct conn *conn)
{
    return pawl_client_is_direct(client, conn) ? &conn->queue : &client->queue;
}

static unsigned gather(struct pawl_client *client, struct conn *conn, struct iovec *iov)
{
    unsigned count = 0;
    unsigned room =
        conn->in_flight_max > conn->in_flight ? conn->in_flight_max - conn->in_flight : 0;

    if (conn->tail_size > conn->tail_sent) {
        iov[count].iov_base = conn->tail + conn->tail_sent;
        iov[count++].iov_len = conn->tail_size - conn->tail_sent;
    }
    for (struct slot *slot = queue_of(client, conn)->first;
         slot != NULL && count < CLIENT_IOV_MAX && room > 0; slot = slot->next, room--) {
        iov[count].iov_base = slot->frame;
        iov[count++].iov_len = slot->frame_size;
    }
    return count;
}

/* @size bytes of what was gathered have left. Returns false without memory. */
static bool consume(struct pawl_client *client, struct conn *conn, size_t size)
{
    size_t of_tail = conn->tail_size - conn->tail_sent;

    of_tail = of_tail < size ? of_tail : size;
    if (of_tail > 0) { /* it may be a credential, or half of a raw token */
        explicit_bzero(conn->tail + conn->tail_sent, of_tail);
    }
    conn->tail_sent += of_tail;
    size -= of_tail;
    while (size > 0) {
        struct slot *slot = queue_of(client, conn)->first;
        size_t left = slot->frame_size <= size ? 0 : slot->frame_size - size;

        slot->state = SLOT_SENT;
        pawl_client_slot_move(slot, &conn->sent);
        conn->in_flight++;
        if (left > 0) {
            return tail_put(conn, slot->frame + size, left);
        }
        size -= slot->frame_size;
    }
    return true;
}

void pawl_client_conn_send(struct pawl_client *client, struct conn *conn)
{
    struct iovec iov[CLIENT_IOV_MAX + 1];
    struct msghdr message;

    conn->blocked = false;
    for (;;) {
        size_t want = 0;
        unsigned count = gather(client, conn, iov);

        if (count == 0) {
            if (conn->tls != NULL && pawl_client_secure_flush(conn) < 0) {
                set_errno(client, conn->endpoint, errno);
                pawl_client_conn_fail(client, conn, PAWL_RC_LOST);
            }
            return;
        }
        for (unsigned i = 0; i < count; i++) {
            want += iov[i].iov_len;
        }
        memset(&message, 0, sizeof(message));
        message.msg_iov = iov;
        message.msg_iovlen = count;
        ssize_t sent = conn->tls != NULL ? pawl_client_secure_send(conn, iov, count)
                                         : sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            conn->blocked = true;
            return;
        }
        if (sent < 0 || !consume(client, conn, (size_t)sent)) {
            set_errno(client, conn->endpoint, sent < 0 ? errno : ENOMEM);
            pawl_client_conn_fail(client, conn, PAWL_RC_LOST);
            return;
        }
        if (conn->tls == NULL ? (size_t)sent < want : conn->blocked) {
            conn->blocked = true;
            return;
        }
    }
}

/* ---- receiving --------------------------------------------------------------------------- */

/* A message of id 0: sent by the daemon on its own. */
static bool on_notice(struct pawl_client *client, struct conn *conn, struct pawl_bytes message)
{
    struct pawl_cold_arena *arena = pawl_client_arena(client);
    Pawl__V1__Reply *reply = NULL;

    if (arena == NULL || pawl_cold_read_reply(arena, message, &reply) != PAWL_OK) {
        return false;
    }
    if (reply->goaway != NULL) {
        pawl_client_on_goaway(client, conn, reply->goaway);
    }
    if (reply->view != NULL && reply->body_case == PAWL__V1__REPLY__BODY_VIEW) {
        pawl_client_route_view(client, conn, reply->view);
    }
    return true; /* what is not known yet is dropped */
}

/* It answers: whatever was held against it is forgotten, and the round is over. */
static void heard(struct pawl_client *client, struct conn *conn)
{
    if (conn->heard) {
        return;
    }
    conn->heard = true;
    if (pawl_client_is_direct(client, conn)) {
        return;
    }
    if (conn->endpoint < client->endpoint_count) {
        client->endpoints[conn->endpoint].backoff_ms = 0;
        client->endpoints[conn->endpoint].turned_away = 0;
    }
    pawl_client_new_round(client);
}

static bool on_hello(struct pawl_client *client, struct conn *conn, struct pawl_bytes message)
{
    struct pawl_cold_arena *arena = pawl_client_arena(client);
    Pawl__V1__Reply *reply = NULL;

    if (arena == NULL || pawl_cold_read_reply(arena, message, &reply) != PAWL_OK ||
        reply->status == PAWL__V1__STATUS__STATUS_UNSUPPORTED) {
        return false;
    }
    /* With an answer to hello the credential was good, though not for the namespace of hello. */
    if (reply->status == PAWL__V1__STATUS__STATUS_DENIED && reply->hello == NULL &&
        client->credential_size > 0) {
        pawl_client_conn_error(client, conn->endpoint, "the daemon refused the credential");
        pawl_client_conn_fail(client, conn, PAWL_RC_NOT_PERMITTED);
        return true;
    }
    heard(client, conn);
    if (reply->hello != NULL && reply->hello->in_flight_max > 0) {
        conn->in_flight_max = reply->hello->in_flight_max;
    }
    if (reply->hello != NULL) {
        pawl_client_route_hello(client, conn, reply->hello);
    }
    return true;
}

/* Returns false when the peer does not speak pawl; *@called: 1 if a callback was called. */
static bool on_message(struct pawl_client *client, struct conn *conn, struct pawl_bytes message,
                       int *called)
{
    struct slot *slot;
    int rc;

    if (pawl_wire_read_reply(&client->reply, message) != PAWL_OK) {
        return false;
    }
    if (client->reply.id == 0) {
        return on_notice(client, conn, message);
    }
    if (client->reply.id == conn->hello_id) {
        return on_hello(client, conn, message);
    }
    slot = pawl_client_slot_find(client, client->reply.id);
    if (slot == NULL || slot->state != SLOT_SENT || slot->list != &conn->sent) {
        return true; /* came after its deadline, or was canceled */
    }
    rc = slot->type->decode != NULL ? pawl_client_read_cold(client, slot, message)
                                    : pawl_client_read_hot(client, slot);
    if (rc == PAWL_RC_PROTOCOL) {
        return false;
    }
    heard(client, conn);
    conn->in_flight--;
    client->figures.answers++;
    if (!pawl_client_is_direct(client, conn)) {
        pawl_client_breaker_success(client);
    }
    pawl_client_answer(client, slot, rc);
    *called = 1;
    return true;
}

static int handle_frames(struct pawl_client *client, struct conn *conn)
{
    pid_t pid = client->pid;
    size_t at = 0;
    int count = 0;

    for (;;) {
        struct pawl_bytes message;
        int called = 0;
        enum pawl_status found = pawl_frame_next(conn->in + at, conn->in_size - at,
                                                 PAWL_REPLY_BYTES_MAX, &message, NULL);

        if (found == PAWL_EAGAIN) {
            break;
        }
        if (found != PAWL_OK || !on_message(client, conn, message, &called)) {
            pawl_client_conn_error(client, conn->endpoint,
                                   "what came is not pawl's protocol of version 1");
            pawl_client_conn_fail(client, conn, PAWL_RC_PROTOCOL);
            return count;
        }
        count += called;
        if (called != 0 && (pawl_client_fork_check(client) || client->pid != pid)) {
            return count;
        }
        at += PAWL_FRAME_HEADER_BYTES + message.size;
        if (conn->in_size < at) {
            return count; /* closed over this one: what was behind it is nobody's */
        }
    }
    memmove(conn->in, conn->in + at, conn->in_size - at);
    conn->in_size -= at;
    return count;
}

static bool in_room(struct conn *conn)
{
    size_t capacity = conn->in_capacity == 0 ? FIRST_IN_BYTES : conn->in_capacity * 4;
    uint8_t *in;

    if (conn->in_size < conn->in_capacity) {
        return true;
    }
    capacity = capacity < IN_CAPACITY_MAX ? capacity : IN_CAPACITY_MAX;
    in = realloc(conn->in, capacity);
    if (in == NULL) {
        return false;
    }
    conn->in = in;
    conn->in_capacity = capacity;
    return true;
}

int pawl_client_conn_receive(struct pawl_client *client, struct conn *conn)
{
    pid_t pid = client->pid;
    int count = 0;

    for (unsigned i = 0; i < READS_MAX; i++) {
        size_t room;
        ssize_t got;

        if (!in_room(conn)) {
            set_errno(client, conn->endpoint, ENOMEM);
            pawl_client_conn_fail(client, conn, PAWL_RC_LOST);
            return count;
        }
        room = conn->in_capacity - conn->in_size;
        got = conn->tls != NULL ? pawl_client_secure_receive(conn, conn->in + conn->in_size, room)
                                : recv(conn->fd, conn->in + conn->in_size, room, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            return count;
        }
        if (got <= 0) {
            bool broken = conn->tls != NULL && pawl_tls_ops.state(conn->tls) == PAWL_TLS_FAILED;

            pawl_client_conn_error(client, conn->endpoint,
                                   broken ? pawl_tls_ops.failure(conn->tls)
                                          : "the daemon closed the connection");
            if (broken && pawl_client_secure_is_refused(conn)) {
                pawl_client_take_back(client, conn, 0);
            }
            pawl_client_conn_fail(client, conn, PAWL_RC_LOST);
            return count;
        }
        conn->in_size += (size_t)got;
        count += handle_frames(client, conn);
        if (client->pid != pid || conn->fd < 0) {
            return count;
        }
        if (conn->state == CONN_DRAINING && conn->in_flight == 0) {
            pawl_client_conn_close(client, conn);
            return count;
        }
        if (conn->tls == NULL && (size_t)got < room) {
            return count;
        }
    }
    return count;
}

void pawl_client_conn_watch(struct pawl_client *client, struct conn *conn)
{
    struct epoll_event event;
    uint32_t events = EPOLLIN;

    if (client->epoll_fd < 0 || conn->fd < 0) {
        return;
    }
    if (conn->state == CONN_CONNECTING || conn->blocked) {
        events |= EPOLLOUT;
    }
    if (events == conn->epoll_events) {
        return;
    }
    memset(&event, 0, sizeof(event));
    event.events = events;
    if (epoll_ctl(client->epoll_fd, conn->epoll_events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
                  conn->fd, &event) == 0) {
        conn->epoll_events = events;
    }
}
