#include "edge/session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/worker.h"
#include "pawl/v1/frame.h"

#define PIECES_MAX         16               /* buffers handed to one write */
#define WAIT_PIECES_MAX    4                /* to one that may wait: see output_wait() */
#define PIECE_BYTES_MAX    ((size_t)262144) /* and about this much, so that its deadline is fair */
#define FLUSH_MARK         ((size_t)262144) /* output of one batch before it is written early */
#define DIRTY_MAX          16               /* sessions whose replies wait for each other */
#define FAREWELL_CLOSING   "closing"
#define FAREWELL_DRAIN     "drain"
#define FAREWELL_MALFORMED "malformed request"
#define FAREWELL_TOO_BIG   "frame too big"

static uint64_t loop_ms(const struct pawl_session *session)
{
    return uv_now(&session->worker->loop);
}

static const struct pawl_server_options *options_of(const struct pawl_session *session)
{
    return &session->worker->edge->options;
}

/* ---- output ---- */

/** A new buffer with @size bytes of room at the end of the chain; NULL = none to be had. */
static struct pawl_buffer *output_more(struct pawl_session *session, size_t size)
{
    struct pawl_worker *worker = session->worker;
    /* A batch gets a page, which is written whole; a small or late reply gets by with less. */
    size_t least = worker->current == session ? PAWL_BUFFER_PAGE
                   : worker->in_batch         ? PAWL_BUFFER_SMALL
                                              : PAWL_BUFFER_TINY;
    struct pawl_buffer *last = pawl_buffer_take(&worker->pool, size > least ? size : least);

    if (last == NULL) {
        return NULL;
    }
    if (session->output_last == NULL) {
        session->output = last;
    } else {
        session->output_last->next = last;
    }
    session->output_last = last;
    return last;
}

static void log_memory(struct pawl_worker *worker)
{
    uint64_t held = 0;

    pawl_edge_stat_add(&worker->stats.refused_memory, 1);
    if (pawl_log_gate_open(&worker->gate_memory, uv_now(&worker->loop), &held)) {
        pawl_log_event(worker->edge->log, PAWL_LOG_WARN, "edge_buffers_full",
                       PAWL_F_U64("worker", worker->index), PAWL_F_U64("bytes", worker->pool.bytes),
                       PAWL_F_U64("max_bytes", worker->pool.bytes_max), PAWL_F_U64("held", held));
    }
}

uint8_t *pawl_session_reserve(struct pawl_session *session, size_t size)
{
    struct pawl_buffer *last;

    if (session->state >= PAWL_SESSION_LINGERING || session->doomed || session->starved ||
        session->parted) {
        return NULL;
    }
    if (size > options_of(session)->session_output_max_bytes - session->output_bytes) {
        session->doomed = true;
        pawl_worker_mark(session->worker, session);
        return NULL;
    }
    last = session->output_last;
    if (last == NULL || last->capacity - last->used < size) {
        last = output_more(session, size);
    }
    if (PAWL_UNLIKELY(last == NULL)) {
        log_memory(session->worker);
        session->starved = true;
        pawl_worker_mark(session->worker, session);
        return NULL;
    }
    return last->data + last->used;
}

void pawl_session_commit(struct pawl_session *session, size_t size)
{
    session->output_last->used += size;
    session->output_bytes += size;
    pawl_edge_stat_add(&session->worker->stats.replies, 1);
    if (!session->dirty && session->worker->current != session) {
        pawl_worker_mark(session->worker, session);
    }
}

/** @size bytes from the front of the chain are with the peer's kernel. */
static void output_taken(struct pawl_session *session, size_t size)
{
    session->output_bytes -= size;
    pawl_edge_stat_add(&session->worker->stats.bytes_out, size);
    while (session->output != NULL) {
        struct pawl_buffer *first = session->output;
        size_t here = first->used - first->start;

        if (size < here) {
            first->start += size;
            return;
        }
        size -= here;
        session->output = first->next;
        pawl_buffer_give(&session->worker->pool, first);
    }
    session->output_last = NULL;
}

static void output_drop(struct pawl_session *session)
{
    while (session->output != NULL) {
        struct pawl_buffer *first = session->output;

        session->output = first->next;
        pawl_buffer_give(&session->worker->pool, first);
    }
    session->output_last = NULL;
    session->output_bytes = 0;
}

/** The front of the chain as pieces; their number, and in @bytes their sum. */
static unsigned output_gather(const struct pawl_session *session, uv_buf_t *pieces,
                              unsigned pieces_max, size_t *bytes)
{
    unsigned count = 0;

    *bytes = 0;
    for (struct pawl_buffer *buffer = session->output; buffer != NULL; buffer = buffer->next) {
        size_t size = buffer->used - buffer->start;

        if (count == pieces_max || *bytes >= PIECE_BYTES_MAX) {
            break;
        }
        if (size > 0) {
            pieces[count] = uv_buf_init((char *)buffer->data + buffer->start, (unsigned)size);
            count++;
            *bytes += size;
        }
    }
    return count;
}

/**
 * Let libuv wait for the peer to take what is left; the deadline runs.
 *
 * No more pieces than a request of libuv has places for: for more it takes memory, and when there
 * is none (1.44.2) still counts the request as active, so that the loop never ends.
 */
static bool output_wait(struct pawl_session *session)
{
    struct pawl_worker *worker = session->worker;
    uv_buf_t pieces[WAIT_PIECES_MAX];
    size_t bytes = 0;
    unsigned count = output_gather(session, pieces, WAIT_PIECES_MAX, &bytes);
    ptrdiff_t taken;

    taken = pawl_transport_write(&session->transport, pieces, count);
    if (taken < 0) {
        return false;
    }
    session->writing_bytes = (size_t)taken;
    pawl_edge_stat_add(&worker->stats.writes_waited, 1);
    pawl_deadline_arm(&worker->write, &session->write, loop_ms(session));
    return true;
}

/** Write what there is. False: the peer is gone. */
static bool flush(struct pawl_session *session)
{
    while (session->output_bytes > 0 && session->writing_bytes == 0) {
        uv_buf_t pieces[PIECES_MAX];
        size_t bytes = 0;
        unsigned count = output_gather(session, pieces, PIECES_MAX, &bytes);
        ptrdiff_t taken = pawl_transport_try_write(&session->transport, pieces, count);

        if (taken < 0) {
            return false;
        }
        pawl_edge_stat_add(&session->worker->stats.writes, 1);
        output_taken(session, (size_t)taken);
        if ((size_t)taken < bytes && !output_wait(session)) {
            return false;
        }
    }
    if (session->output_bytes == 0) {
        output_drop(session); /* room that was reserved and not used */
    }
    return true;
}

static void say_goaway(struct pawl_session *session, uint64_t last_id, const char *reason,
                       uint32_t drain_ms)
{
    uint8_t *room = pawl_session_reserve(session, PAWL_GOAWAY_BYTES_MAX);

    if (room != NULL) {
        pawl_session_commit(session, pawl_goaway_write(room, false, last_id, reason, drain_ms));
        pawl_edge_stat_add(&session->worker->stats.goaways, 1);
    }
}

/* ---- input ---- */

static bool is_blocked(const struct pawl_session *session)
{
    return session->writing_bytes > 0 || session->owed >= options_of(session)->in_flight_max;
}

static void input_drop(struct pawl_session *session)
{
    pawl_buffer_give(&session->worker->pool, session->input);
    session->input = NULL;
}

/** Keep @size bytes at @data, which may lie in the buffer kept so far, for the next read. */
static void input_keep(struct pawl_session *session, const uint8_t *data, size_t size)
{
    struct pawl_buffer *input = session->input;

    if (size == 0) {
        input_drop(session);
        return;
    }
    if (input == NULL || input->capacity < size) {
        input = pawl_buffer_take(&session->worker->pool, size);
        if (input == NULL) {
            log_memory(session->worker);
            session->starved = true;
            return;
        }
    }
    memmove(input->data, data, size);
    input->used = size;
    if (input != session->input) {
        input_drop(session);
        session->input = input;
    }
}

void pawl_session_blame(struct pawl_session *session, _Atomic uint64_t *stat, const char *why)
{
    struct pawl_worker *worker = session->worker;
    uint64_t held = 0;

    pawl_edge_stat_add(stat, 1);
    if (pawl_log_gate_open(&worker->gate_peer, uv_now(&worker->loop), &held)) {
        pawl_log_event(worker->edge->log, PAWL_LOG_WARN, "edge_peer_closed",
                       PAWL_F_TEXT("why", why),
                       PAWL_F_TEXT("by", session->is_tls   ? "tls"
                                         : session->is_tcp ? "tcp"
                                                           : "unix"),
                       PAWL_F_U64("held", held));
    }
}

void pawl_session_part(struct pawl_session *session, const char *why)
{
    if (session->state != PAWL_SESSION_OPEN) {
        return;
    }
    if (session->handshaking) {
        pawl_session_close(session); /* there is nobody yet to say anything to */
        return;
    }
    session->state = PAWL_SESSION_FINISHING;
    session->farewell = why;
    pawl_transport_read(&session->transport, false);
    pawl_deadline_disarm(&session->idle);
    pawl_deadline_arm(&session->worker->finish, &session->pace, loop_ms(session));
}

/** One frame to the handler, then early output if the batch makes a lot of it. */
static void handle_frame(struct pawl_session *session, struct pawl_bytes message)
{
    struct pawl_worker *worker = session->worker;
    enum pawl_status status = worker->edge->handler.on_frame(worker->ctx, session, message);

    if (status != PAWL_OK) {
        pawl_session_blame(session, &worker->stats.malformed, FAREWELL_MALFORMED);
        pawl_session_part(session, FAREWELL_MALFORMED);
        return;
    }
    if (PAWL_UNLIKELY(session->output_bytes >= FLUSH_MARK) && !session->doomed && !flush(session)) {
        pawl_session_close(session);
    }
}

/** Hand over the whole frames at @data until blocked; the bytes they took. */
static size_t consume(struct pawl_session *session, const uint8_t *data, size_t size)
{
    struct pawl_worker *worker = session->worker;
    size_t done = 0;
    uint64_t frames = 0;

    session->busy = true;
    worker->current = session;
    while (done < size && session->state == PAWL_SESSION_OPEN && !session->doomed &&
           !session->starved && !is_blocked(session)) {
        struct pawl_bytes message = { NULL, 0 };
        enum pawl_status status =
            pawl_frame_next(data + done, size - done, PAWL_REQUEST_BYTES_MAX, &message, NULL);

        if (status == PAWL_EAGAIN) {
            break;
        }
        if (status != PAWL_OK) {
            bool is_big = status == PAWL_ETOOBIG;
            const char *why = is_big ? FAREWELL_TOO_BIG : FAREWELL_MALFORMED;

            pawl_session_blame(session, is_big ? &worker->stats.too_big : &worker->stats.malformed,
                               why);
            pawl_session_part(session, why);
            break;
        }
        if (frames++ == 0 && !worker->in_batch) {
            worker->in_batch = true;
            worker->edge->handler.on_batch(worker->ctx);
        }
        done += PAWL_FRAME_HEADER_BYTES + message.size;
        handle_frame(session, message);
    }
    if (!worker->sharing) {
        pawl_worker_end_batch(worker);
    }
    worker->current = NULL;
    session->busy = false;
    if (frames > 0) {
        pawl_edge_stat_add(&worker->stats.frames, frames);
        pawl_edge_stat_add(&worker->stats.batches, 1);
    }
    return done;
}

/** Handle @data, keep what is left, restart the frame's deadline where a new frame began. */
static void take_input(struct pawl_session *session, const uint8_t *data, size_t size)
{
    size_t done;

    session->worker->batch_ms = session->arrival_ms;
    done = consume(session, data, size);
    if (session->state != PAWL_SESSION_OPEN) {
        input_drop(session);
        return;
    }
    input_keep(session, data + done, size - done);
    if (session->input == NULL || is_blocked(session)) {
        pawl_deadline_disarm(&session->pace);
    } else if (done > 0 || !pawl_deadline_armed(&session->pace)) {
        pawl_deadline_arm(&session->worker->frame, &session->pace, loop_ms(session));
    }
}

/* ---- steps ---- */

static void step_finishing(struct pawl_session *session)
{
    pawl_transport_read(&session->transport, false);
    input_drop(session);
    if (session->owed > 0 || session->output_bytes > 0) {
        return;
    }
    if (!session->parted && !session->peer_end) {
        say_goaway(session, session->last_id, session->farewell, 0);
        session->parted = true;
        if (session->doomed || session->starved || !flush(session)) {
            pawl_session_close(session);
            return;
        }
        if (session->output_bytes > 0) {
            return; /* on_written comes back here */
        }
    }
    if (session->peer_end || !session->is_tcp) {
        /* A Unix socket's peer reads what was sent even if it had sent more: no need to wait. */
        pawl_session_close(session);
        return;
    }
    /* Closing TCP with unread bytes makes a reset, which may overtake the goaway: read them away
     * until the peer closes too (RFC 1122 section 4.2.2.13). */
    session->state = PAWL_SESSION_LINGERING;
    pawl_transport_finish(&session->transport);
    pawl_deadline_arm(&session->worker->linger, &session->pace, loop_ms(session));
    pawl_transport_read(&session->transport, true);
}

static void step_open(struct pawl_session *session)
{
    struct pawl_worker *worker = session->worker;

    if (session->paused && !is_blocked(session)) {
        session->paused = false;
        if (session->input != NULL) {
            take_input(session, session->input->data, session->input->used);
            pawl_session_step(session);
            return;
        }
    }
    if (is_blocked(session)) {
        if (!session->paused) {
            session->paused = true;
            pawl_edge_stat_add(&worker->stats.paused, 1);
            pawl_deadline_disarm(&session->pace); /* our pause is not the peer's slowness */
        }
        pawl_transport_read(&session->transport, false);
        return;
    }
    pawl_transport_read(&session->transport, true);
}

void pawl_session_step(struct pawl_session *session)
{
    if (session->busy || session->state == PAWL_SESSION_CLOSED) {
        return;
    }
    if (session->doomed) {
        pawl_session_blame(session, &session->worker->stats.slow_closed,
                           "does not read its replies");
        pawl_session_close(session);
        return;
    }
    if (session->starved || !flush(session)) {
        pawl_session_close(session);
        return;
    }
    if (session->state == PAWL_SESSION_OPEN) {
        step_open(session);
    } else if (session->state == PAWL_SESSION_FINISHING) {
        step_finishing(session);
    }
}

/* ---- events of the transport ---- */

static struct pawl_session *of_transport(struct pawl_transport *transport)
{
    return (struct pawl_session *)(void *)transport;
}

/** Room behind a partial frame that is no longer tiny, in the session's own buffer. */
static bool input_grow(struct pawl_session *session)
{
    struct pawl_buffer *input = session->input;
    size_t size = input->capacity * 4; /* with the data, so that a claimed length costs nothing */

    if (input->used < input->capacity) {
        return true;
    }
    size = size < PAWL_BUFFER_FRAME ? size : PAWL_BUFFER_FRAME;
    input = pawl_buffer_take(&session->worker->pool, size);
    if (input == NULL) {
        log_memory(session->worker);
        session->starved = true;
        pawl_worker_mark(session->worker, session);
        return false;
    }
    memcpy(input->data, session->input->data, session->input->used);
    input->used = session->input->used;
    pawl_buffer_give(&session->worker->pool, session->input);
    session->input = input;
    return true;
}

static void on_room(struct pawl_transport *transport, uint8_t **data, size_t *size)
{
    struct pawl_session *session = of_transport(transport);
    struct pawl_worker *worker = session->worker;
    struct pawl_buffer *input = session->input;

    uint8_t *behind = worker->read_data + worker->gathered_bytes;

    if (session->turn != worker->turn) {
        session->turn = worker->turn;
        session->turn_bytes = 0;
    }
    if (session->turn_bytes >= PAWL_READ_BYTES || session->gathered_bytes > 0) {
        *size = 0; /* libuv would read on up to 32 times: the others come first */
        return;
    }
    if (input == NULL) {
        *data = behind;
        *size = PAWL_READ_BYTES;
    } else if (input->used < PAWL_BUFFER_TINY) {
        /* A tiny beginning goes in front of a full-sized read: one more copy, no lost batch. */
        memcpy(behind, input->data, input->used);
        *data = behind + input->used;
        *size = PAWL_READ_BYTES;
    } else if (input_grow(session)) {
        *data = session->input->data + session->input->used;
        *size = session->input->capacity - session->input->used;
    } else {
        *size = 0;
    }
}

static void on_bytes(struct pawl_transport *transport, size_t size)
{
    struct pawl_session *session = of_transport(transport);
    struct pawl_worker *worker = session->worker;
    struct pawl_buffer *input = session->input;

    session->turn_bytes += size;
    pawl_edge_stat_add(&worker->stats.bytes_in, size);
    if (session->state != PAWL_SESSION_OPEN) {
        return; /* lingering: read away */
    }
    session->arrival_ms = pawl_worker_clock_ms(worker);
    session->read_ms = loop_ms(session);
    const uint8_t *data = worker->read_data + worker->gathered_bytes; /* as on_room() found it */

    if (input != NULL && input->used >= PAWL_BUFFER_TINY) {
        input->used += size;
        pawl_session_take(session, input->data, input->used);
    } else if (pawl_session_gather(session, data, size)) {
        return;
    } else {
        pawl_session_take(session, data, (input != NULL ? input->used : 0) + size);
    }
    pawl_session_taken(session);
}

void pawl_session_take(struct pawl_session *session, const uint8_t *data, size_t size)
{
    take_input(session, data, size);
}

void pawl_session_taken(struct pawl_session *session)
{
    struct pawl_worker *worker = session->worker;

    if (is_blocked(session)) {
        /* Whole frames may be left: it has to be paused now, or on_written would not go on. */
        pawl_session_step(session);
        return;
    }
    pawl_worker_mark(worker, session); /* replies wait for those of the turn's other reads */
    if (worker->dirty_count >= DIRTY_MAX) {
        pawl_worker_step_dirty(worker);
    }
}

static void on_ended(struct pawl_transport *transport, bool clean)
{
    struct pawl_session *session = of_transport(transport);

    if (session->state == PAWL_SESSION_CLOSED) {
        return;
    }
    if (session->gathered_bytes > 0) {
        pawl_worker_settle(session->worker);
        if (session->state == PAWL_SESSION_CLOSED) {
            return;
        }
    }
    if (session->handshaking && pawl_session_failed(session)) {
        session->state = PAWL_SESSION_LINGERING;
        pawl_deadline_arm(&session->worker->linger, &session->pace, loop_ms(session));
        return;
    }
    if (!clean || session->state == PAWL_SESSION_LINGERING) {
        pawl_session_close(session);
        return;
    }
    session->peer_end = true; /* it may still wait for what it asked */
    pawl_session_part(session, FAREWELL_CLOSING);
    pawl_session_step(session);
}

static void on_written(struct pawl_transport *transport, enum pawl_status status)
{
    struct pawl_session *session = of_transport(transport);
    size_t bytes = session->writing_bytes;

    session->writing_bytes = 0;
    pawl_deadline_disarm(&session->write);
    if (session->state == PAWL_SESSION_CLOSED) {
        return;
    }
    if (status != PAWL_OK) {
        pawl_session_close(session);
        return;
    }
    pawl_edge_stat_add(&session->worker->stats.writes, 1);
    output_taken(session, bytes);
    pawl_session_step(session);
}

static void on_closed(struct pawl_transport *transport)
{
    struct pawl_session *session = of_transport(transport);

    output_drop(session);
    input_drop(session);
    pawl_worker_bury(session->worker, session);
}

static void on_opened(struct pawl_transport *transport)
{
    struct pawl_session *session = of_transport(transport);

    pawl_session_opened(session);
    if (session->worker->phase == PAWL_WORKER_DRAINING) {
        pawl_session_drain(session);
    }
    pawl_session_step(session);
}

/** Half a record holds memory as half a frame does, and gets no more time. */
static void on_begun(struct pawl_transport *transport)
{
    struct pawl_session *session = of_transport(transport);

    if (session->gathered_bytes > 0) {
        pawl_worker_settle(session->worker); /* it ends the deadline of what came before */
    }
    if (session->state == PAWL_SESSION_OPEN && !is_blocked(session) &&
        !pawl_deadline_armed(&session->pace)) {
        pawl_deadline_arm(&session->worker->frame, &session->pace, loop_ms(session));
    }
}

static const struct pawl_transport_events events = {
    .room = on_room,
    .bytes = on_bytes,
    .ended = on_ended,
    .written = on_written,
    .closed = on_closed,
    .opened = on_opened,
    .begun = on_begun,
};

/* ---- life ---- */

/** Fill in a zeroed @session; false: it cannot go on. */
static bool begin(struct pawl_session *session, const struct pawl_arrival *arrival)
{
    struct pawl_worker *worker = session->worker;

    session->state = PAWL_SESSION_OPEN;
    session->is_tcp = arrival->is_tcp;
    session->uid = arrival->uid;
    session->guard_serial = worker->guard_serial;
    session->farewell = FAREWELL_CLOSING;
    session->read_ms = loop_ms(session);
    session->arrival_ms = pawl_worker_clock_ms(worker);
    pawl_identity_init(&session->identity, arrival->cap, arrival->base, arrival->by_uid);
    if (pawl_transport_open(&session->transport, &worker->loop, arrival->fd, arrival->is_tcp,
                            &events) != PAWL_OK) {
        (void)close(arrival->fd);
        return false;
    }
    if (options_of(session)->idle_timeout_ms > 0) {
        pawl_deadline_arm(&worker->idle, &session->idle, session->read_ms);
    }
    if (worker->phase == PAWL_WORKER_HALTING) {
        return false;
    }
    return !arrival->is_tls || pawl_session_secure(session);
}

void pawl_session_open(struct pawl_worker *worker, const struct pawl_arrival *arrival)
{
    struct pawl_session *session = pawl_edge_alloc(1, sizeof(*session));

    if (session == NULL || pawl_worker_enter(worker, session) != PAWL_OK) {
        log_memory(worker);
        pawl_edge_free(session);
        (void)close(arrival->fd);
        pawl_worker_uncount(worker);
        return;
    }
    session->worker = worker;
    if (!begin(session, arrival)) {
        pawl_session_close(session);
        return;
    }
    if (worker->phase == PAWL_WORKER_DRAINING) {
        pawl_session_drain(session);
    }
    pawl_session_step(session);
}

void pawl_session_close(struct pawl_session *session)
{
    if (session->state == PAWL_SESSION_CLOSED) {
        return;
    }
    session->state = PAWL_SESSION_CLOSED;
    if (session->handshaking) {
        pawl_session_shaken(session);
    } else if (session->is_secured) {
        pawl_edge_stat_add(&session->worker->stats.tls_connections, UINT64_MAX);
    }
    pawl_identity_deinit(&session->identity);
    pawl_deadline_disarm(&session->pace);
    pawl_deadline_disarm(&session->write);
    pawl_deadline_disarm(&session->idle);
    pawl_worker_leave(session->worker, session);
    pawl_edge_stat_add(&session->worker->stats.closed, 1);
    pawl_transport_close(&session->transport);
}

void pawl_session_drain(struct pawl_session *session)
{
    if (session->state == PAWL_SESSION_OPEN && !session->handshaking) {
        say_goaway(session, UINT64_MAX, FAREWELL_DRAIN, options_of(session)->drain_timeout_ms);
    }
}

void pawl_session_drain_check(struct pawl_session *session, uint64_t quiet_ms)
{
    if (session->state != PAWL_SESSION_OPEN) {
        return;
    }
    if (quiet_ms > 0 &&
        (session->handshaking || session->owed > 0 || session->output_bytes > 0 ||
         session->input != NULL || loop_ms(session) - session->read_ms < quiet_ms)) {
        return;
    }
    pawl_session_part(session, FAREWELL_DRAIN);
    input_drop(session);
    pawl_session_step(session);
}

/* ---- for the dispatcher (handler.h) ---- */

unsigned pawl_session_roles(const struct pawl_session *session)
{
    return session->identity.roles;
}

void pawl_session_finish(struct pawl_session *session)
{
    pawl_session_part(session, FAREWELL_CLOSING);
    pawl_worker_mark(session->worker, session);
}

void pawl_session_owe(struct pawl_session *session, int change)
{
    if (change < 0 && session->owed < (unsigned)-change) {
        abort(); /* the dispatcher has given a reply twice */
    }
    session->owed += (unsigned)change;
    if (change < 0 && (session->paused || session->state != PAWL_SESSION_OPEN)) {
        pawl_worker_mark(session->worker, session);
    }
}

void pawl_session_accepted(struct pawl_session *session, uint64_t id)
{
    if (id > session->last_id) {
        session->last_id = id;
    }
}

bool pawl_session_is_ending(const struct pawl_session *session)
{
    return session->state != PAWL_SESSION_OPEN || session->peer_end;
}

struct pawl_ticket pawl_session_ticket(const struct pawl_session *session)
{
    return session->ticket;
}

void *pawl_session_user(struct pawl_session *session)
{
    return session->user;
}
