#include "edge/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/session.h"
#include "edge/worker.h"

#define ACCEPT_BURST 64   /* connections taken in one turn: reads of the others come between */
#define GROUPS_MAX   1024 /* supplementary groups of a peer that are looked at */

/** A connection on its way to another worker. */
struct handover {
    struct pawl_post post; /* first */
    struct pawl_arrival arrival;
};

/* ---- who the peer is ---- */

static bool is_in_groups(int fd, gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    socklen_t size = sizeof(groups);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0) {
        return false;
    }
    for (size_t i = 0; i < size / sizeof(groups[0]); i++) {
        if (groups[i] == gid) {
            return true;
        }
    }
    return false;
}

/** On a Unix socket root and our own user may do everything, the socket's group all but be a peer.
 */
static void ask_kernel(const struct pawl_listener *listener, struct pawl_arrival *arrival)
{
    struct ucred peer = { 0, 0, 0 };
    socklen_t size = sizeof(peer);

    arrival->by_uid = true;
    if (getsockopt(arrival->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return;
    }
    arrival->uid = (int64_t)peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid()) {
        arrival->base = listener->roles;
    } else if (listener->has_group &&
               (peer.gid == listener->gid || is_in_groups(arrival->fd, listener->gid))) {
        arrival->base = listener->roles & ~(unsigned)PAWL_ROLE_PEER;
    }
}

static struct pawl_arrival arrival_of(const struct pawl_listener *listener, int fd)
{
    struct pawl_arrival arrival = { .fd = fd,
                                    .is_tcp = listener->is_tcp,
                                    .is_tls = listener->is_tls,
                                    .cap = listener->roles,
                                    .base = listener->anonymous,
                                    .uid = -1 };

    if (!listener->is_tcp) {
        ask_kernel(listener, &arrival);
    }
    return arrival;
}

/* ---- taking and refusing ---- */

/** Tell the peer why and close; one that speaks TLS would not understand. */
static void refuse(const struct pawl_listener *listener, int fd, const char *reason)
{
    uint8_t frame[PAWL_GOAWAY_BYTES_MAX];
    uint8_t away[4096];
    size_t size = pawl_goaway_write(frame, true, 0, reason, 0);

    if (!listener->is_tls) {
        (void)send(fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    (void)shutdown(fd, SHUT_WR);
    /* Unread bytes would turn the close into a reset, which may overtake the frame. */
    (void)recv(fd, away, sizeof(away), MSG_DONTWAIT);
    (void)close(fd);
}

static struct pawl_worker *least_loaded(struct pawl_worker *self)
{
    struct pawl_edge *edge = self->edge;
    struct pawl_worker *least = self;
    unsigned count = atomic_load_explicit(&self->assigned, memory_order_relaxed);

    for (unsigned i = 0; i < edge->worker_count; i++) {
        unsigned theirs = atomic_load_explicit(&edge->workers[i].assigned, memory_order_relaxed);

        if (theirs < count) {
            least = &edge->workers[i];
            count = theirs;
        }
    }
    return least;
}

static void run_handover(struct pawl_post *post, struct pawl_worker *worker)
{
    struct handover *handover = (struct handover *)(void *)post;

    pawl_session_open(worker, &handover->arrival);
    pawl_edge_free(handover);
}

static void hand_over(struct pawl_worker *self, const struct pawl_arrival *arrival)
{
    struct pawl_worker *target = least_loaded(self);
    struct handover *handover = NULL;

    if (target != self) {
        handover = pawl_edge_alloc(1, sizeof(*handover));
    }
    if (handover == NULL) {
        (void)atomic_fetch_add(&self->assigned, 1);
        pawl_session_open(self, arrival);
        return;
    }
    handover->post.run = run_handover;
    handover->arrival = *arrival;
    pawl_edge_stat_add(&self->stats.handed_over, 1);
    /* Counted before it is posted: the target does not leave while one is on its way. */
    (void)atomic_fetch_add(&target->assigned, 1);
    pawl_worker_post(target, &handover->post);
}

enum pawl_status pawl_acceptor_adopt(struct pawl_edge *edge, int fd, unsigned roles)
{
    struct pawl_worker *target = least_loaded(&edge->workers[0]);
    struct handover *handover = pawl_edge_alloc(1, sizeof(*handover));

    if (handover == NULL) {
        return PAWL_ENOMEM;
    }
    handover->post.run = run_handover;
    handover->arrival = (struct pawl_arrival){
        .fd = fd, .cap = roles, .base = roles, .by_uid = true, .uid = (int64_t)geteuid()
    };
    (void)atomic_fetch_add(&edge->connections, 1); /* the session's end takes it back */
    (void)atomic_fetch_add(&target->assigned, 1);
    pawl_worker_post(target, &handover->post);
    return PAWL_OK;
}

static void admit(struct pawl_acceptor *acceptor, int fd)
{
    struct pawl_worker *worker = acceptor->worker;
    struct pawl_edge *edge = worker->edge;
    unsigned max = edge->options.connections_max;
    struct pawl_arrival arrival;
    uint64_t held = 0;

    if (atomic_fetch_add(&edge->connections, 1) >= max) {
        (void)atomic_fetch_sub(&edge->connections, 1);
        pawl_edge_stat_add(&worker->stats.refused_cap, 1);
        refuse(acceptor->listener, fd, "connections_max reached");
        if (pawl_log_gate_open(&worker->gate_cap, uv_now(&worker->loop), &held)) {
            pawl_log_event(edge->log, PAWL_LOG_WARN, "edge_connections_max",
                           PAWL_F_U64("connections_max", max), PAWL_F_U64("held", held));
        }
        return;
    }
    pawl_edge_stat_add(&worker->stats.accepted, 1);
    arrival = arrival_of(acceptor->listener, fd);
    hand_over(worker, &arrival);
}

/* ---- out of descriptors ---- */

static void pause_accepting(struct pawl_acceptor *acceptor)
{
    if (acceptor->polling) {
        acceptor->polling = false;
        (void)uv_poll_stop(&acceptor->poll); /* the tick resumes */
    }
}

static void note_fds(struct pawl_worker *worker, bool out)
{
    uint64_t held = 0;

    if (worker->fds_out == out) {
        return;
    }
    worker->fds_out = out;
    if (!pawl_log_gate_open(&worker->gate_fds, uv_now(&worker->loop), &held)) {
        return;
    }
    if (out) {
        pawl_log_event(worker->edge->log, PAWL_LOG_ERROR, "edge_descriptors_out",
                       PAWL_F_U64("worker", worker->index),
                       PAWL_F_TEXT("do", "raise the limit of open files (LimitNOFILE) above "
                                         "connections_max"),
                       PAWL_F_U64("held", held));
    } else {
        pawl_log_event(worker->edge->log, PAWL_LOG_INFO, "edge_descriptors_back",
                       PAWL_F_U64("worker", worker->index), PAWL_F_U64("held", held));
    }
}

static void take_reserve(struct pawl_worker *worker)
{
    if (worker->reserve_fd < 0) {
        worker->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

/* Accept one; -1 with errno. */
static int take_one(struct pawl_acceptor *acceptor)
{
    return accept4(acceptor->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/**
 * Accept one with the reserve descriptor, tell it, close it. False: stop for now. Under the lock:
 * a worker that accepts between the close and the open would have the reserve for good, and when
 * all have lost theirs nobody is told any more.
 */
static bool refuse_one(struct pawl_acceptor *acceptor)
{
    struct pawl_worker *worker = acceptor->worker;
    int fd;

    note_fds(worker, true);
    if (worker->reserve_fd < 0) {
        pause_accepting(acceptor);
        return false;
    }
    (void)close(worker->reserve_fd);
    worker->reserve_fd = -1;
    fd = take_one(acceptor);
    if (fd >= 0) {
        pawl_edge_stat_add(&worker->stats.refused_fds, 1);
        refuse(acceptor->listener, fd, "out of file descriptors");
    }
    take_reserve(worker);
    if (worker->reserve_fd < 0 || fd < 0) {
        pause_accepting(acceptor);
        return false;
    }
    return true;
}

/** Take one connection from the queue. False: none there, or no use in trying now. */
static bool accept_one(struct pawl_acceptor *acceptor)
{
    struct pawl_worker *worker = acceptor->worker;
    pthread_mutex_t *lock = &worker->edge->accepting_lock;

    (void)pthread_mutex_lock(lock);
    int fd = take_one(acceptor);
    int why = fd < 0 ? errno : 0;
    bool more = (why == EMFILE || why == ENFILE) && refuse_one(acceptor);

    (void)pthread_mutex_unlock(lock);
    if (fd >= 0) {
        note_fds(worker, false);
        admit(acceptor, fd);
        return true;
    }
    switch (why) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED: /* the peer has gone while it waited */
    case EPROTO:
    case EPERM: /* a firewall's word */
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
        return true;
    case EMFILE:
    case ENFILE:
        return more;
    default: /* ENOBUFS, ENOMEM and what nobody foresaw: again at the next tick */
        pawl_edge_stat_add(&worker->stats.accept_errors, 1);
        pause_accepting(acceptor);
        return false;
    }
}

static void accept_up_to(struct pawl_acceptor *acceptor, unsigned count)
{
    while (count-- > 0 && acceptor->fd >= 0 && accept_one(acceptor)) {
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct pawl_acceptor *acceptor = poll->data;

    (void)events;
    if (status == 0) {
        accept_up_to(acceptor, ACCEPT_BURST);
        return;
    }
    pawl_edge_stat_add(&acceptor->worker->stats.accept_errors, 1);
    pause_accepting(acceptor);
}

/* ---- life ---- */

enum pawl_status pawl_acceptor_open(struct pawl_acceptor *acceptor, struct pawl_worker *worker,
                                    const struct pawl_listener *listener)
{
    int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        return PAWL_EIO;
    }
    acceptor->worker = worker;
    acceptor->listener = listener;
    if (uv_poll_init(&worker->loop, &acceptor->poll, fd) != 0) {
        (void)close(fd);
        return PAWL_EIO;
    }
    acceptor->fd = fd;
    acceptor->poll.data = acceptor;
    acceptor->polling = true;
    return uv_poll_start(&acceptor->poll, UV_READABLE, on_readable) == 0 ? PAWL_OK : PAWL_EIO;
}

void pawl_acceptor_empty(struct pawl_acceptor *acceptor)
{
    if (acceptor->fd >= 0) {
        accept_up_to(acceptor, acceptor->worker->edge->options.listen_backlog);
    }
}

void pawl_acceptor_resume(struct pawl_acceptor *acceptor)
{
    if (acceptor->fd < 0) {
        return;
    }
    take_reserve(acceptor->worker);
    if (!acceptor->polling) {
        acceptor->polling = true;
        (void)uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
    }
}

void pawl_acceptor_close(struct pawl_acceptor *acceptor)
{
    if (acceptor->fd < 0) {
        return;
    }
    /* uv_poll leaves the descriptor to us and has forgotten it when uv_close returns. */
    uv_close((uv_handle_t *)&acceptor->poll, NULL);
    (void)close(acceptor->fd);
    acceptor->fd = -1;
    acceptor->polling = false;
}
