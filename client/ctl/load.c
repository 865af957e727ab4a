#include "load.h"

#include "load_secure.h"
#include "load_socket.h"
#include "memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 256

struct connection {
    int fd; /* -1 = closed */
    struct load_secure_conn *secure;
    uint32_t base;      /* slot of place 0 */
    uint32_t in_flight; /* requests sent or queued, not answered */
    uint32_t oldest;    /* place that waits longest, where answers come in order */
    bool wants_write;   /* EPOLLOUT is armed */
    size_t out_start;   /* queued bytes are out[out_start .. out_end) */
    size_t out_end;
    size_t in_size; /* an unfinished answer at the start of in[] */
    uint8_t *in;    /* LOAD_INPUT_BYTES */
    uint8_t *out;   /* (in_flight + 1) x LOAD_FRAME_MAX: a hello goes first */
};

struct slot {
    uint64_t sent_ns;
    uint32_t bytes;
};

struct run {
    const struct load_options *options;
    const struct load_protocol *protocol;
    struct load_result *result;
    struct connection *connections;
    struct slot *slots;
    char *error;
    size_t error_size;
    int epoll;
    uint32_t open;      /* connections */
    uint64_t in_flight; /* over all of them */
    uint64_t issued;    /* measured requests, where they are counted */
    uint64_t start_ns;  /* of the measured time */
    uint64_t stop_ns;   /* UINT64_MAX: by number of requests */
    uint64_t last_ns;   /* of the last measured answer */
    bool failed;
};

uint64_t load_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void run_fail(struct run *run, const char *what)
{
    if (!run->failed) {
        snprintf(run->error, run->error_size, "%s: %s", run->options->address, what);
    }
    run->failed = true;
}

static void connection_drop(struct run *run, struct connection *connection, const char *what)
{
    run_fail(run, what);
    load_secure_close(connection->secure);
    connection->secure = NULL;
    close(connection->fd);
    connection->fd = -1;
    run->open--;
    run->in_flight -= connection->in_flight;
    run->result->unanswered += connection->in_flight;
    connection->in_flight = 0;
}

static void connection_watch(struct run *run, struct connection *connection, bool writing)
{
    struct epoll_event event = { .events = EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0),
                                 .data = { .ptr = connection } };

    if (connection->wants_write != writing) {
        connection->wants_write = writing;
        (void)epoll_ctl(run->epoll, EPOLL_CTL_MOD, connection->fd, &event);
    }
}

static ssize_t connection_send(struct connection *connection)
{
    const uint8_t *from = connection->out + connection->out_start;
    size_t size = connection->out_end - connection->out_start;

    return connection->secure != NULL ? load_secure_send(connection->secure, from, size)
                                      : send(connection->fd, from, size, MSG_NOSIGNAL);
}

static void connection_flush(struct run *run, struct connection *connection)
{
    while (connection->out_start < connection->out_end) {
        ssize_t sent = connection_send(connection);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno == EAGAIN) {
            connection_watch(run, connection, true);
            return;
        }
        if (sent < 0) {
            connection_drop(run, connection, strerror(errno));
            return;
        }
        connection->out_start += (size_t)sent;
    }
    connection->out_start = 0;
    connection->out_end = 0;
    connection_watch(run, connection,
                     connection->secure != NULL && load_secure_waits(connection->secure));
}

static bool run_issues(const struct run *run, uint64_t now)
{
    if (run->failed || now >= run->stop_ns) {
        return false;
    }
    return run->options->requests == 0 || run->issued < run->options->requests;
}

/* Queue the next request of a free place. The caller flushes. */
static void connection_queue(struct run *run, struct connection *connection, uint32_t place,
                             uint64_t now)
{
    uint32_t index = connection->base + place;
    struct slot *slot = &run->slots[index];
    size_t room = ((size_t)run->options->in_flight + 1) * LOAD_FRAME_MAX;
    size_t size;

    if (room - connection->out_end < LOAD_FRAME_MAX) { /* rare: the server reads slowly */
        memmove(connection->out, connection->out + connection->out_start,
                connection->out_end - connection->out_start);
        connection->out_end -= connection->out_start;
        connection->out_start = 0;
    }
    if (room - connection->out_end < LOAD_FRAME_MAX) { /* it answered what was not sent yet */
        connection_drop(run, connection, "answered more than it was asked");
        return;
    }
    size = run->protocol->write(run->protocol->state, index, place,
                                connection->out + connection->out_end);
    connection->out_end += size;
    connection->in_flight++;
    run->in_flight++;
    run->issued++;
    slot->sent_ns = now;
    slot->bytes = (uint32_t)size;
}

static void count_answer(struct run *run, const struct slot *slot, size_t bytes,
                         enum load_outcome outcome, uint64_t now)
{
    struct load_result *result = run->result;

    if (outcome == LOAD_SETUP) {
        run->issued--; /* the preparation is not one of the requests asked for */
        return;
    }
    if (now < run->start_ns || now > run->stop_ns) {
        return;
    }
    result->answered++;
    result->outcomes[outcome]++;
    result->request_bytes += slot->bytes;
    result->reply_bytes += bytes;
    histogram_add(&result->latency, now - slot->sent_ns);
    run->last_ns = now;
}

/* Take every whole answer in @data; returns the bytes of the unfinished one behind them. */
static size_t take_answers(struct run *run, struct connection *connection, const uint8_t *data,
                           size_t size, uint64_t now)
{
    size_t used = 0;

    while (used < size) {
        struct load_answer answer = { connection->oldest, LOAD_NOTICE };
        size_t took = run->protocol->read(run->protocol->state, connection->base, data + used,
                                          size - used, &answer);

        if (took == LOAD_MORE) {
            break;
        }
        if (took == LOAD_BROKEN ||
            (answer.outcome != LOAD_NOTICE &&
             (answer.slot >= run->options->in_flight || connection->in_flight == 0))) {
            connection_drop(run, connection, "answered with something that is not an answer");
            return 0;
        }
        used += took;
        if (answer.outcome == LOAD_NOTICE) {
            continue;
        }
        connection->oldest =
            connection->oldest + 1 < run->options->in_flight ? connection->oldest + 1 : 0;
        connection->in_flight--;
        run->in_flight--;
        count_answer(run, &run->slots[connection->base + answer.slot], took, answer.outcome, now);
        if (run_issues(run, now)) {
            connection_queue(run, connection, answer.slot, now);
            if (connection->fd < 0) {
                return 0;
            }
        }
    }
    return size - used;
}

/* Returns whether there may be more to read at once. */
static bool connection_read_once(struct run *run, struct connection *connection)
{
    uint8_t *to = connection->in + connection->in_size;
    size_t room = LOAD_INPUT_BYTES - connection->in_size;
    ssize_t got = connection->secure != NULL ? load_secure_recv(connection->secure, to, room)
                                             : recv(connection->fd, to, room, 0);
    size_t size;
    size_t rest;

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (got <= 0) {
        connection_drop(run, connection, got == 0 ? "closed the connection" : strerror(errno));
        return false;
    }
    size = connection->in_size + (size_t)got;
    rest = take_answers(run, connection, connection->in, size, now_ns());
    if (connection->fd < 0) {
        return false;
    }
    if (rest == LOAD_INPUT_BYTES) {
        connection_drop(run, connection, "sent an answer longer than 64 KiB");
        return false;
    }
    if (rest > 0) {
        memmove(connection->in, connection->in + size - rest, rest);
    }
    connection->in_size = rest;
    if (connection->out_end > 0) {
        connection_flush(run, connection);
    }
    return connection->secure != NULL; /* decrypted bytes make no socket readable */
}

static void connection_read(struct run *run, struct connection *connection)
{
    while (connection_read_once(run, connection)) {
    }
}

static bool connection_open(struct run *run, struct connection *connection, uint32_t index)
{
    struct epoll_event event = { .events = EPOLLIN, .data = { .ptr = connection } };
    char text[160];

    connection->base = index * run->options->in_flight;
    connection->in = memory_zeroed(1, LOAD_INPUT_BYTES);
    connection->out = memory_zeroed(run->options->in_flight + 1, LOAD_FRAME_MAX);
    connection->fd = load_connect(run->options->address, run->error, run->error_size);
    if (connection->fd < 0) {
        run->failed = true;
        return false;
    }
    run->open++;
    if (run->options->secure != NULL) {
        connection->secure = load_secure_connect(run->options->secure, connection->fd,
                                                 (int)run->options->stall_ms, text, sizeof(text));
        if (connection->secure == NULL) {
            connection_drop(run, connection, text);
            return false;
        }
    }
    if (run->options->hello_size > 0 && run->options->hello_size <= LOAD_FRAME_MAX) {
        memcpy(connection->out, run->options->hello, run->options->hello_size);
        connection->out_end = run->options->hello_size;
    }
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        connection_drop(run, connection, strerror(errno));
        return false;
    }
    return true;
}

/* Fill every place of every connection. */
static void run_begin(struct run *run)
{
    uint64_t now = now_ns();

    run->start_ns = now + (uint64_t)run->options->warmup_ms * 1000000;
    run->stop_ns = UINT64_MAX;
    if (run->options->requests == 0) {
        run->stop_ns = run->start_ns + (uint64_t)run->options->duration_ms * 1000000;
    } else {
        run->start_ns = now;
    }
    for (uint32_t i = 0; i < run->options->connections; i++) {
        struct connection *connection = &run->connections[i];

        for (uint32_t place = 0; place < run->options->in_flight && run_issues(run, now); place++) {
            connection_queue(run, connection, place, now_ns());
        }
        connection_flush(run, connection);
    }
}

static void run_turn(struct run *run, int events_count, const struct epoll_event *events)
{
    for (int i = 0; i < events_count; i++) {
        struct connection *connection = events[i].data.ptr;

        if (connection->fd >= 0 && (events[i].events & EPOLLOUT) != 0) {
            connection_flush(run, connection);
        }
        if (connection->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            connection_read(run, connection);
        }
    }
}

static void run_loop(struct run *run)
{
    struct epoll_event events[EVENTS_PER_WAIT];

    while (run->in_flight > 0) {
        int got = epoll_wait(run->epoll, events, EVENTS_PER_WAIT, (int)run->options->stall_ms);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            run_fail(run, got == 0 ? "answers no more; is the daemon stopped?" : strerror(errno));
            run->result->unanswered += run->in_flight;
            break;
        }
        run_turn(run, got, events);
    }
}

static bool options_check(const struct load_options *options, char *error, size_t error_size)
{
    if (options->connections == 0 || options->connections > LOAD_CONNECTIONS_MAX ||
        options->in_flight == 0 || options->in_flight > LOAD_IN_FLIGHT_MAX) {
        snprintf(error, error_size, "connections and requests in flight go from 1 to %d",
                 LOAD_IN_FLIGHT_MAX);
        return false;
    }
    if (options->requests == 0 && options->duration_ms == 0) {
        snprintf(error, error_size, "neither a number of requests nor a time to measure");
        return false;
    }
    return true;
}

static void run_close(struct run *run)
{
    for (uint32_t i = 0; i < run->options->connections; i++) {
        struct connection *connection = &run->connections[i];

        if (connection->out != NULL && connection->fd >= 0) {
            load_secure_close(connection->secure);
            close(connection->fd);
        }
        memory_release(connection->in);
        memory_release(connection->out);
    }
    memory_release(run->connections);
    memory_release(run->slots);
    if (run->epoll >= 0) {
        close(run->epoll);
    }
}

static uint64_t elapsed_ns(const struct run *run)
{
    uint64_t end = run->options->requests == 0 && !run->failed ? run->stop_ns : run->last_ns;

    return end > run->start_ns ? end - run->start_ns : 0;
}

bool load_run(const struct load_options *options, const struct load_protocol *protocol,
              struct load_result *result, char *error, size_t error_size)
{
    struct run run = { .options = options,
                       .protocol = protocol,
                       .result = result,
                       .error = error,
                       .error_size = error_size };

    memset(result, 0, sizeof(*result));
    if (!options_check(options, error, error_size)) {
        return false;
    }
    run.connections = memory_zeroed(options->connections, sizeof(*run.connections));
    run.slots =
        memory_zeroed((size_t)options->connections * options->in_flight, sizeof(*run.slots));
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.epoll < 0) {
        run_fail(&run, strerror(errno));
    }
    for (uint32_t i = 0; i < options->connections && !run.failed; i++) {
        (void)connection_open(&run, &run.connections[i], i);
    }
    if (!run.failed) {
        run_begin(&run);
        run_loop(&run);
        result->elapsed_ns = elapsed_ns(&run);
    }
    run_close(&run);
    return !run.failed;
}
