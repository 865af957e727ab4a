#include "private.h"

#include <poll.h>
#include <time.h>

#define SILENT_AVOID_NS (5000 * NS_PER_MS)

/* Let deadlines pass in one list; returns how many did and lowers @next_ns. */
static unsigned expire_list(struct pawl_client *client, struct slot_list *list, uint64_t now_ns,
                            uint64_t *next_ns)
{
    struct slot *slot = list->first;
    unsigned count = 0;

    while (slot != NULL) {
        struct slot *next = slot->next;

        if (slot->deadline_ns <= now_ns) {
            pawl_client_slot_fail(client, slot, PAWL_RC_TIMEOUT);
            client->figures.timeouts++;
            count++;
        } else if (slot->deadline_ns < *next_ns) {
            *next_ns = slot->deadline_ns;
        }
        slot = next;
    }
    return count;
}

/* The daemon was silent too often: leave it, so that the probe meets another one if there is. */
static void leave_silent(struct pawl_client *client, uint64_t now_ns)
{
    struct conn *conn = client_active(client);

    if (conn->state == CONN_NONE) {
        return;
    }
    if (conn->endpoint < client->endpoint_count) {
        client->endpoints[conn->endpoint].avoid_ns = now_ns + SILENT_AVOID_NS;
    }
    pawl_client_conn_fail(client, conn, PAWL_RC_LOST);
    pawl_client_new_round(client);
}

/* A member that lets deadlines pass: its connection is left, the breaker is not asked. */
static void expire_direct(struct pawl_client *client, uint64_t now_ns, uint64_t *next_ns)
{
    for (unsigned i = CLIENT_DIRECT_FIRST; i < client->conn_count; i++) {
        struct conn *conn = &client->conns[i];

        (void)expire_list(client, &conn->queue, now_ns, next_ns);
        if (expire_list(client, &conn->sent, now_ns, next_ns) > 0 && conn->state == CONN_UP) {
            pawl_client_route_silent(client, conn, now_ns);
        }
    }
}

static void expire(struct pawl_client *client, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    unsigned count = 0;

    if (now_ns < client->deadline_ns) {
        return;
    }
    count += expire_list(client, &client->conns[0].sent, now_ns, &next_ns);
    count += expire_list(client, &client->conns[1].sent, now_ns, &next_ns);
    expire_direct(client, now_ns, &next_ns); /* what waits there may go to the queue */
    count += expire_list(client, &client->queue, now_ns, &next_ns);
    client->deadline_ns = next_ns;
    if (count > 0 && pawl_client_breaker_failure(client, now_ns)) {
        leave_silent(client, now_ns); /* one failure for all that passed at once */
    }
}

static void fail_queue(struct pawl_client *client, enum pawl_rc cause)
{
    while (client->queue.first != NULL) {
        pawl_client_slot_fail(client, client->queue.first, cause);
    }
}

/* An open breaker lets one through at a time, if any. */
static void admit(struct pawl_client *client, uint64_t now_ns)
{
    struct slot *slot = client->queue.first;

    if (client->breaker.state == BREAKER_CLOSED) {
        return;
    }
    while (slot != NULL) {
        struct slot *next = slot->next;

        if (!pawl_client_breaker_admit(client, slot, now_ns)) {
            pawl_client_slot_fail(client, slot, PAWL_RC_BREAKER);
        }
        slot = next;
    }
}

static void connect_next(struct pawl_client *client, uint64_t now_ns)
{
    struct conn *conn = client_active(client);

    client->busy_ns = 0;
    while (conn->state == CONN_NONE && client->queue.first != NULL) {
        int endpoint = pawl_client_next_endpoint(client, now_ns, &client->busy_ns);

        if (endpoint >= 0) {
            (void)pawl_client_conn_open(client, (unsigned)endpoint, now_ns);
            continue;
        }
        if (client->busy_ns == 0) {
            bool tried = false;

            for (unsigned i = 0; i < client->endpoint_count; i++) {
                tried = tried || client->endpoints[i].tried;
            }
            if (tried) { /* else all wait out their back-off: nothing new was learned */
                (void)pawl_client_breaker_failure(client, now_ns);
            }
            fail_queue(client, PAWL_RC_CONNECT);
            pawl_client_new_round(client);
        }
        return;
    }
}

static bool is_opening(const struct conn *conn)
{
    return conn->state == CONN_CONNECTING || conn->state == CONN_SECURING;
}

static void pump_active(struct pawl_client *client, uint64_t now_ns)
{
    struct conn *conn = client_active(client);

    if (is_opening(conn)) {
        pawl_client_conn_check(client, conn);
        if (is_opening(conn) && now_ns >= conn->give_up_ns) {
            pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
        }
    }
    if (conn->state == CONN_UP && conn->in_flight == 0 && client->queue.first != NULL) {
        /*
         * It was idle: a goaway or the end of the stream may have come. Seen now, the request goes
         * elsewhere; seen after a byte was sent, it would be lost. Nothing is in flight here, so
         * nobody is called back.
         */
        (void)pawl_client_conn_receive(client, conn);
    }
    connect_next(client, now_ns);
    conn = client_active(client);
    if (conn->state == CONN_UP) {
        pawl_client_conn_send(client, conn);
    }
}

void pawl_client_pump(struct pawl_client *client)
{
    uint64_t now_ns = client->clock_ns();

    expire(client, now_ns);
    pawl_client_route_pump(client, now_ns);
    admit(client, now_ns);
    for (unsigned i = 0; i <= client->endpoint_count; i++) {
        pump_active(client, now_ns);
        if (client->queue.first == NULL || client_active(client)->state != CONN_NONE ||
            client->busy_ns != 0) {
            break; /* else the connection broke under the send: what has not left goes elsewhere */
        }
    }
    for (unsigned i = 0; i < client->conn_count; i++) {
        pawl_client_conn_watch(client, &client->conns[i]);
    }
}

uint64_t pawl_client_next_ns(struct pawl_client *client)
{
    const struct conn *conn = client_active(client);
    uint64_t next_ns = client->pending > 0 ? client->deadline_ns : UINT64_MAX;

    if (client->ready.first != NULL) {
        return 0;
    }
    if (client->route != NULL) {
        uint64_t direct_ns = pawl_client_route_next_ns(client);

        next_ns = direct_ns < next_ns ? direct_ns : next_ns;
    }
    if (is_opening(conn) && conn->give_up_ns < next_ns) {
        next_ns = conn->give_up_ns;
    }
    if (client->queue.first != NULL) {
        if (conn->state == CONN_NONE) {
            next_ns = client->busy_ns < next_ns ? client->busy_ns : next_ns; /* 0: now */
        } else if (conn->state == CONN_UP && !conn->blocked &&
                   conn->in_flight < conn->in_flight_max) {
            next_ns = 0;
        }
    }
    return next_ns;
}

void pawl_client_wait(struct pawl_client *client)
{
    struct pollfd fds[CLIENT_CONNS];
    struct timespec span;
    nfds_t count = 0;
    uint64_t next_ns = pawl_client_next_ns(client);
    uint64_t now_ns = client->clock_ns();
    uint64_t left_ns = next_ns > now_ns ? next_ns - now_ns : 0;

    for (unsigned i = 0; i < client->conn_count; i++) {
        const struct conn *conn = &client->conns[i];

        if (conn->state != CONN_NONE) {
            bool out = conn->state == CONN_CONNECTING || conn->blocked;

            fds[count].fd = conn->fd;
            fds[count].events = (short)(POLLIN | (out ? POLLOUT : 0));
            fds[count++].revents = 0;
        }
    }
    span.tv_sec = (time_t)(left_ns / UINT64_C(1000000000));
    span.tv_nsec = (long)(left_ns % UINT64_C(1000000000));
    (void)ppoll(fds, count, next_ns == UINT64_MAX ? NULL : &span, NULL);
}

int pawl_client_turn(struct pawl_client *client)
{
    pid_t pid = client->pid;
    int count = 0;

    for (unsigned i = 0; i < client->conn_count; i++) {
        struct conn *conn = &client->conns[i];

        if (conn->state == CONN_UP || conn->state == CONN_DRAINING) {
            count += pawl_client_conn_receive(client, conn);
        }
        if (client->pid != pid) {
            return count;
        }
    }
    pawl_client_pump(client);
    count += pawl_client_deliver(client);
    if (client->pid == pid && client->queue.first != NULL) {
        pawl_client_pump(client); /* what the callbacks submitted */
    }
    return count;
}
