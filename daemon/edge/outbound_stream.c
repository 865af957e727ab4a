#include "edge/outbound_stream.h"

#include <string.h>

#include "edge/buffer.h"

#define ENCRYPT_BYTES 65536 /* ahead of the socket */
#define KEPT_BYTES    16384 /* of an empty buffer that is worth keeping */

/* ---- what waits ---------------------------------------------------------------------------- */

static size_t held_bytes(const struct pawl_outbound_bytes *out)
{
    return out->used - out->start;
}

static size_t waiting_bytes(const struct pawl_stream *stream)
{
    size_t sum = held_bytes(&stream->out);

    if (stream->connection != NULL) { /* what is being sent is among what is pending */
        return sum + stream->outbound->tls->pending(stream->connection);
    }
    return sum + stream->socket->sending_bytes;
}

/** Room for @size more; false: no memory, and nothing changed. */
static bool make_room(struct pawl_outbound_bytes *out, size_t size)
{
    size_t held = held_bytes(out);
    size_t capacity = out->capacity > 0 ? out->capacity : 1024;
    uint8_t *grown;

    if (size <= out->capacity - out->used) {
        return true;
    }
    if (out->start > 0) {
        memmove(out->data, out->data + out->start, held);
        out->start = 0;
        out->used = held;
    }
    while (capacity - held < size) {
        capacity *= 2;
    }
    grown = capacity == out->capacity ? out->data : pawl_edge_grow(out->data, capacity, 1);
    if (grown == NULL) {
        return false;
    }
    out->data = grown;
    out->capacity = capacity;
    return true;
}

static void consume(struct pawl_outbound_bytes *out, size_t size)
{
    out->start += size;
    if (out->start < out->used) {
        return;
    }
    out->start = 0;
    out->used = 0;
    if (out->capacity > KEPT_BYTES) {
        pawl_edge_free(out->data);
        memset(out, 0, sizeof(*out));
    }
}

void pawl_outbound_unwritten(struct pawl_stream *stream)
{
    struct pawl_stream **at = &stream->outbound->written;

    if (!stream->is_written) {
        return;
    }
    while (*at != stream) {
        at = &(*at)->next_written;
    }
    *at = stream->next_written;
    stream->is_written = false;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* it is there so that the loop does not wait */
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct pawl_outbound *outbound = prepare->data;

    while (outbound->written != NULL) {
        struct pawl_stream *stream = outbound->written;

        pawl_outbound_unwritten(stream);
        pawl_outbound_flush(stream);
    }
    (void)uv_prepare_stop(&outbound->prepare);
    (void)uv_idle_stop(&outbound->idle);
}

/** Send it at the end of this turn. */
static void mark_written(struct pawl_stream *stream)
{
    struct pawl_outbound *outbound = stream->outbound;

    if (stream->is_written) {
        return;
    }
    stream->is_written = true;
    stream->next_written = outbound->written;
    outbound->written = stream;
    (void)uv_prepare_start(&outbound->prepare, on_prepare);
    (void)uv_idle_start(&outbound->idle, on_idle);
}

enum pawl_status pawl_outbound_write(struct pawl_stream *stream, const void *data, size_t size)
{
    if (stream->state != PAWL_OUTBOUND_OPEN) {
        return PAWL_ECONN;
    }
    /* TLS's framing may pass the ceiling by a little before we look again. */
    if (waiting_bytes(stream) > stream->output_max ||
        size > stream->output_max - waiting_bytes(stream) || !make_room(&stream->out, size)) {
        return PAWL_EFULL;
    }
    memcpy(stream->out.data + stream->out.used, data, size);
    stream->out.used += size;
    mark_written(stream);
    return PAWL_OK;
}

/* ---- out ----------------------------------------------------------------------------------- */

static void on_written(uv_write_t *request, int result)
{
    struct pawl_outbound_socket *socket = request->data;
    struct pawl_stream *stream = socket->stream;
    size_t size = socket->sending_bytes;

    pawl_edge_free(socket->sending);
    socket->sending = NULL;
    socket->sending_bytes = 0;
    socket->is_sending = false;
    if (stream->socket != socket) {
        return;
    }
    if (result != 0) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: %s", stream->peer, uv_strerror(result));
        return;
    }
    if (stream->connection != NULL) {
        stream->outbound->tls->sent(stream->connection, size);
    }
    pawl_outbound_flush(stream);
}

/** As much of @bytes as the socket takes at once; 0: none now; -1: it is over. */
static ptrdiff_t try_send(struct pawl_stream *stream, const uint8_t *bytes, size_t size)
{
    uv_buf_t piece = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)size);
    int taken = uv_try_write(&stream->socket->uv.stream, &piece, 1);

    if (taken >= 0) {
        return taken;
    }
    if (taken == UV_EAGAIN) {
        return 0;
    }
    pawl_outbound_end(stream, PAWL_ECONN, "%s: %s", stream->peer, uv_strerror(taken));
    return -1;
}

/** Send @bytes when the socket takes them; they stay where they are. */
static void send_later(struct pawl_stream *stream, const uint8_t *bytes, size_t size)
{
    struct pawl_outbound_socket *socket = stream->socket;
    uv_buf_t piece = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)size);
    int result = uv_write(&socket->write, &socket->uv.stream, &piece, 1, on_written);

    if (result != 0) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: %s", stream->peer, uv_strerror(result));
        return;
    }
    socket->is_sending = true;
    socket->sending_bytes = size;
}

static void flush_clear(struct pawl_stream *stream)
{
    struct pawl_outbound_socket *socket = stream->socket;
    struct pawl_outbound_bytes *out = &stream->out;
    ptrdiff_t taken;

    if (socket->is_sending || held_bytes(out) == 0) {
        return;
    }
    taken = try_send(stream, out->data + out->start, held_bytes(out));
    if (taken < 0) {
        return;
    }
    consume(out, (size_t)taken);
    if (held_bytes(out) > 0) { /* the buffer goes with the request, a new one gathers */
        socket->sending = out->data;
        send_later(stream, out->data + out->start, held_bytes(out));
        memset(out, 0, sizeof(*out));
    }
}

/** Ciphertext out; false: the socket is full, or it is over. */
static bool send_cipher(struct pawl_stream *stream)
{
    const struct pawl_tls_ops *tls = stream->outbound->tls;

    if (stream->socket->is_sending) {
        return false;
    }
    while (tls->pending(stream->connection) > 0) {
        struct pawl_bytes next = tls->peek(stream->connection);
        ptrdiff_t taken = try_send(stream, next.data, next.size);

        if (taken < 0) {
            return false;
        }
        if (taken == 0) {
            send_later(stream, next.data, next.size);
            return false;
        }
        tls->sent(stream->connection, (size_t)taken);
    }
    return true;
}

static void flush_cipher(struct pawl_stream *stream)
{
    const struct pawl_tls_ops *tls = stream->outbound->tls;
    struct pawl_outbound_bytes *out = &stream->out;

    while (send_cipher(stream) && held_bytes(out) > 0) {
        size_t size = held_bytes(out) < ENCRYPT_BYTES ? held_bytes(out) : ENCRYPT_BYTES;

        if (tls->write(stream->connection, out->data + out->start, size) != PAWL_OK) {
            pawl_outbound_end(stream, PAWL_ECONN, "%s: TLS: %s", stream->peer,
                              tls->failure(stream->connection));
            return;
        }
        consume(out, size);
    }
}

void pawl_outbound_flush(struct pawl_stream *stream)
{
    if (stream->socket == NULL) {
        return; /* ended */
    }
    if (stream->connection != NULL) {
        flush_cipher(stream);
    } else {
        flush_clear(stream);
    }
}

void pawl_outbound_farewell(struct pawl_stream *stream)
{
    if (stream->state != PAWL_OUTBOUND_OPEN) {
        return;
    }
    pawl_outbound_flush(stream);
    if (stream->state == PAWL_OUTBOUND_OPEN && stream->connection != NULL) {
        stream->outbound->tls->finish(stream->connection);
        (void)send_cipher(stream);
    }
}

/* ---- in ------------------------------------------------------------------------------------ */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pawl_outbound_socket *socket = handle->data;

    (void)suggested;
    buf->base = (char *)socket->stream->outbound->received;
    buf->len = PAWL_OUTBOUND_READ_BYTES;
}

/** What @stream's TLS makes of what was given; afterwards it may have ended. */
static void deliver(struct pawl_stream *stream)
{
    struct pawl_outbound *outbound = stream->outbound;
    const struct pawl_tls_ops *tls = outbound->tls;

    while (stream->state == PAWL_OUTBOUND_OPEN) {
        size_t size = tls->read(stream->connection, outbound->plain, PAWL_OUTBOUND_PLAIN_BYTES);

        if (size == 0) {
            break;
        }
        stream->events.bytes(stream->ctx, outbound->plain, size);
    }
}

static void is_open(struct pawl_stream *stream)
{
    stream->state = PAWL_OUTBOUND_OPEN;
    (void)uv_timer_stop(&stream->timer);
    stream->events.opened(stream->ctx);
}

/** After the handshake began, or bytes came. */
static void step_tls(struct pawl_stream *stream)
{
    const struct pawl_tls_ops *tls = stream->outbound->tls;
    enum pawl_tls_state state = tls->state(stream->connection);

    (void)send_cipher(stream); /* the alert too, which says to the other side what is wrong */
    if (stream->state == PAWL_OUTBOUND_SECURING && state == PAWL_TLS_FAILED) {
        pawl_outbound_end(stream, PAWL_EPERM, "%s: TLS: %s", stream->peer,
                          tls->failure(stream->connection));
    } else if (stream->state == PAWL_OUTBOUND_SECURING && state != PAWL_TLS_HANDSHAKING) {
        is_open(stream);
    }
    deliver(stream);
    if (stream->state != PAWL_OUTBOUND_OPEN) {
        return;
    }
    state = tls->state(stream->connection);
    if (state == PAWL_TLS_PEER_DONE) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: closed by the other side", stream->peer);
    } else if (state == PAWL_TLS_FAILED) {
        (void)send_cipher(stream);
        pawl_outbound_end(stream, PAWL_ECONN, "%s: TLS: %s", stream->peer,
                          tls->failure(stream->connection));
    } else {
        pawl_outbound_flush(stream); /* a key update's answer */
    }
}

static void on_read(uv_stream_t *uv, ssize_t size, const uv_buf_t *buf)
{
    struct pawl_outbound_socket *socket = uv->data;
    struct pawl_stream *stream = socket->stream;

    if (size == 0 || stream->socket != socket) {
        return; /* EAGAIN */
    }
    if (size == UV_EOF) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: closed by the other side%s", stream->peer,
                          stream->state == PAWL_OUTBOUND_SECURING ? ", in the TLS handshake" : "");
    } else if (size < 0) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: %s", stream->peer, uv_strerror((int)size));
    } else if (stream->connection == NULL) {
        stream->events.bytes(stream->ctx, (const uint8_t *)buf->base, (size_t)size);
    } else if (stream->outbound->tls->give(stream->connection, (const uint8_t *)buf->base,
                                           (size_t)size) != PAWL_OK) {
        pawl_outbound_end(stream, PAWL_ENOMEM, "%s: no memory for TLS", stream->peer);
    } else {
        step_tls(stream);
    }
}

void pawl_outbound_connected(struct pawl_stream *stream)
{
    struct pawl_outbound *outbound = stream->outbound;

    stream->state = PAWL_OUTBOUND_SECURING; /* in clear for this moment only */
    if (stream->context != NULL) {
        stream->connection = outbound->tls->connect(stream->context, stream->name);
        if (stream->connection == NULL) {
            pawl_outbound_end(stream, PAWL_ENOMEM, "%s: no memory for TLS", stream->peer);
            return;
        }
    }
    if (uv_read_start(&stream->socket->uv.stream, on_alloc, on_read) != 0) {
        pawl_outbound_end(stream, PAWL_ECONN, "%s: the system refused", stream->peer);
    } else if (stream->connection != NULL) {
        step_tls(stream);
    } else {
        is_open(stream);
    }
}
