#include "edge/transport_tls.h"

#include <sys/socket.h>

#define CHUNK_BYTES ((size_t)65536) /* encrypted ahead of the socket, at most */

static struct pawl_transport *of_ready(struct pawl_deadline *node)
{
    return (struct pawl_transport *)(void *)((char *)node - offsetof(struct pawl_transport, ready));
}

static void say_ended(struct pawl_transport *transport, bool clean)
{
    if (!transport->ended) {
        transport->ended = true;
        pawl_transport_read(transport, false);
        transport->events->ended(transport, clean);
    }
}

/* ---- ciphertext out ------------------------------------------------------------------------ */

static void on_sent(uv_write_t *request, int result);

/** Let libuv wait with the oldest chunk; the others follow it. */
static bool start_sending(struct pawl_transport *transport)
{
    struct pawl_bytes first = transport->tls->peek(transport->connection);
    uv_buf_t piece = uv_buf_init((char *)(uintptr_t)first.data, (unsigned)first.size);

    if (uv_write(&transport->request, &transport->uv.stream, &piece, 1, on_sent) != 0) {
        return false;
    }
    transport->sending = true;
    transport->sending_bytes = first.size;
    return true;
}

/** Send what the socket takes now; with @wait libuv waits with the rest. False: it is gone. */
static bool send_cipher(struct pawl_transport *transport, bool wait)
{
    while (!transport->sending && transport->tls->pending(transport->connection) > 0) {
        struct pawl_bytes first = transport->tls->peek(transport->connection);
        uv_buf_t piece = uv_buf_init((char *)(uintptr_t)first.data, (unsigned)first.size);
        int taken = uv_try_write(&transport->uv.stream, &piece, 1);

        if (taken == UV_EAGAIN || taken == UV_ENOBUFS) {
            return !wait || start_sending(transport);
        }
        if (taken < 0) {
            return false;
        }
        transport->tls->sent(transport->connection, (size_t)taken);
    }
    return true;
}

static void on_sent(uv_write_t *request, int result)
{
    struct pawl_transport *transport = request->data;
    bool good = result == 0;

    transport->sending = false;
    if (good) {
        transport->tls->sent(transport->connection, transport->sending_bytes);
        good = uv_is_closing(&transport->uv.handle) || send_cipher(transport, true);
    }
    if (good && (transport->sending || !transport->waiting)) {
        return;
    }
    if (transport->waiting) {
        transport->waiting = false;
        transport->ahead -= transport->waiting_bytes;
        transport->events->written(transport, good ? PAWL_OK : PAWL_ECONN);
    } else if (!uv_is_closing(&transport->uv.handle)) {
        say_ended(transport, false);
    }
}

/** Encrypt up to CHUNK_BYTES of @pieces from @from on; how many, or -1. */
static ptrdiff_t encrypt(struct pawl_transport *transport, const uv_buf_t *pieces, unsigned count,
                         size_t from)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < CHUNK_BYTES; i++) {
        size_t size = pieces[i].len;

        if (from >= size) {
            from -= size;
            continue;
        }
        size -= from;
        size = size < CHUNK_BYTES - done ? size : CHUNK_BYTES - done;
        if (transport->tls->write(transport->connection, (const uint8_t *)pieces[i].base + from,
                                  size) != PAWL_OK) {
            return -1;
        }
        done += size;
        from = 0;
    }
    return (ptrdiff_t)done;
}

static size_t sum_of(const uv_buf_t *pieces, unsigned count)
{
    size_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        sum += pieces[i].len;
    }
    return sum;
}

ptrdiff_t pawl_transport_tls_try_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                                       unsigned count)
{
    size_t total = sum_of(pieces, count);
    size_t taken = 0;

    if (!transport->opened || !send_cipher(transport, false)) {
        return transport->opened ? -1 : 0;
    }
    while (transport->tls->pending(transport->connection) == 0) {
        size_t gone = transport->ahead < total - taken ? transport->ahead : total - taken;
        ptrdiff_t more;

        transport->ahead -= gone;
        taken += gone;
        if (taken == total) {
            break;
        }
        more = encrypt(transport, pieces, count, taken);
        if (more < 0) {
            return -1;
        }
        transport->ahead = (size_t)more;
        if (!send_cipher(transport, false)) {
            return -1;
        }
    }
    return (ptrdiff_t)taken;
}

ptrdiff_t pawl_transport_tls_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                                   unsigned count)
{
    size_t total = sum_of(pieces, count);

    if (!transport->opened) {
        return -1;
    }
    if (transport->ahead == 0) { /* what waits is TLS's own: something of ours goes behind it */
        ptrdiff_t more = encrypt(transport, pieces, count, 0);

        if (more < 0) {
            return -1;
        }
        transport->ahead = (size_t)more;
    }
    if (!transport->sending && !start_sending(transport)) {
        return -1;
    }
    transport->waiting = true;
    transport->waiting_bytes = transport->ahead < total ? transport->ahead : total;
    return (ptrdiff_t)transport->waiting_bytes;
}

void pawl_transport_tls_finish(struct pawl_transport *transport)
{
    transport->tls->finish(transport->connection);
    (void)send_cipher(transport, false); /* who does not even read that may miss it */
}

/* ---- ciphertext in ------------------------------------------------------------------------- */

/** Hand over what is decrypted, until there is nothing, no room, or nobody wants it. */
static void deliver(struct pawl_transport *transport)
{
    const struct pawl_tls_ops *tls = transport->tls;

    transport->leftover = false;
    while (transport->reading && !transport->ended) {
        uint8_t *room = NULL;
        size_t size = 0;
        size_t got;

        transport->events->room(transport, &room, &size);
        if (size == 0) {
            transport->leftover = true;
            pawl_transport_tls_read(transport, true); /* to the hub's list */
            return;
        }
        got = tls->read(transport->connection, room, size);
        if (got > 0) {
            transport->events->bytes(transport, got);
        }
        if (got < size) { /* all there was: asking again costs as much as a small record */
            break;
        }
    }
    if (!transport->reading) {
        transport->leftover = true; /* perhaps: whoever reads again looks */
    }
}

/** After bytes came, or are looked at again: opened, handed over, answered, ended. */
static void pump(struct pawl_transport *transport)
{
    const struct pawl_tls_ops *tls = transport->tls;
    struct pawl_tls_connection *connection = transport->connection;
    bool is_gone;

    if (!transport->opened && tls->state(connection) == PAWL_TLS_OPEN) {
        transport->opened = true;
        if (!send_cipher(transport, true)) {
            say_ended(transport, false);
            return;
        }
        transport->events->opened(transport);
    }
    if (transport->opened) {
        deliver(transport);
    }
    if (transport->ended) {
        return;
    }
    is_gone = !send_cipher(transport, true);
    if (transport->leftover && !is_gone) {
        return; /* its end comes after what was before it */
    }
    if (tls->state(connection) == PAWL_TLS_PEER_DONE && !is_gone) {
        say_ended(transport, true);
    } else if (is_gone || transport->eof || tls->state(connection) == PAWL_TLS_FAILED) {
        say_ended(transport, false); /* an end that nobody signed may be anybody's */
    } else if (transport->opened && tls->is_partial(connection)) {
        transport->events->begun(transport);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pawl_transport *transport = handle->data;
    struct pawl_transport_hub *hub = transport->hub;

    (void)suggested;
    buf->base = (char *)hub->cipher;
    buf->len = sizeof(hub->cipher);
    if (transport->discarding) {
        return;
    }
    if (hub->budget_turn != *hub->turn) {
        hub->budget_turn = *hub->turn;
        hub->handshakes = 0;
    }
    if (transport->turn == *hub->turn || transport->leftover ||
        (!transport->opened && hub->handshakes >= PAWL_TRANSPORT_HANDSHAKES)) {
        buf->len = 0; /* again in the loop's next turn */
    }
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct pawl_transport *transport = stream->data;

    if (size == 0 || size == UV_ENOBUFS) {
        return;
    }
    if (transport->discarding) {
        if (size < 0) {
            say_ended(transport, false);
        }
        return;
    }
    if (size < 0) {
        (void)uv_read_stop(stream);
        transport->eof = true;
        if (!transport->leftover) {
            pump(transport);
        }
        return;
    }
    transport->turn = *transport->hub->turn;
    transport->hub->handshakes += transport->opened ? 0 : 1;
    if (transport->tls->give(transport->connection, (const uint8_t *)buf->base, (size_t)size) !=
        PAWL_OK) {
        say_ended(transport, false);
        return;
    }
    pump(transport);
}

static void on_idle(uv_idle_t *idle);

void pawl_transport_tls_read(struct pawl_transport *transport, bool on)
{
    if (!on) {
        (void)uv_read_stop(&transport->uv.stream);
        pawl_deadline_disarm(&transport->ready);
        return;
    }
    if (transport->leftover || transport->eof) {
        pawl_deadline_arm(&transport->hub->ready, &transport->ready, 0);
        (void)uv_idle_start(&transport->hub->idle, on_idle);
    }
    if (!transport->eof) {
        (void)uv_read_start(&transport->uv.stream, on_alloc, on_read);
    }
}

/* ---- the hub ------------------------------------------------------------------------------- */

static void on_idle(uv_idle_t *idle)
{
    struct pawl_transport_hub *hub = idle->data;
    struct pawl_deadlines now;

    /* Those that come back onto the list meanwhile are for the next turn. */
    pawl_deadlines_init(&now);
    if (hub->ready.head.next != &hub->ready.head) {
        now.head = hub->ready.head;
        now.head.next->prev = &now.head;
        now.head.prev->next = &now.head;
        pawl_deadlines_init(&hub->ready);
    }
    while (now.head.next != &now.head) {
        struct pawl_transport *transport = of_ready(now.head.next);

        pawl_deadline_disarm(&transport->ready);
        if (transport->reading && !transport->ended) {
            transport->leftover = false;
            pump(transport);
        }
    }
    if (hub->ready.head.next == &hub->ready.head) {
        (void)uv_idle_stop(idle);
    }
}

void pawl_transport_hub_init(struct pawl_transport_hub *hub, uv_loop_t *loop, const uint64_t *turn)
{
    (void)uv_idle_init(loop, &hub->idle);
    hub->idle.data = hub;
    pawl_deadlines_init(&hub->ready);
    hub->turn = turn;
}

void pawl_transport_hub_close(struct pawl_transport_hub *hub)
{
    if (hub->idle.data != NULL && !uv_is_closing((uv_handle_t *)&hub->idle)) {
        uv_close((uv_handle_t *)&hub->idle, NULL);
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

enum pawl_status pawl_transport_secure(struct pawl_transport *transport,
                                       struct pawl_transport_hub *hub,
                                       const struct pawl_tls_ops *tls,
                                       struct pawl_tls_context *context)
{
    transport->connection = tls->accept(context);
    if (transport->connection == NULL) {
        return PAWL_ENOMEM;
    }
    transport->tls = tls;
    transport->hub = hub;
    return PAWL_OK;
}

void pawl_transport_tls_free(struct pawl_transport *transport)
{
    if (transport->tls != NULL) {
        transport->tls->close(transport->connection);
        transport->connection = NULL;
    }
}

void pawl_transport_discard(struct pawl_transport *transport)
{
    uv_os_fd_t fd;

    if (uv_fileno(&transport->uv.handle, &fd) == 0) {
        (void)shutdown(fd, SHUT_WR);
    }
    transport->ended = false;
    transport->leftover = false;
    transport->discarding = true;
    pawl_transport_read(transport, !transport->eof);
}

const char *pawl_transport_failure(const struct pawl_transport *transport)
{
    return transport->tls != NULL && transport->tls->state(transport->connection) == PAWL_TLS_FAILED
               ? transport->tls->failure(transport->connection)
               : NULL;
}

bool pawl_transport_peer(const struct pawl_transport *transport, struct pawl_tls_peer *peer)
{
    if (transport->tls == NULL || transport->connection == NULL || !transport->opened) {
        return false;
    }
    transport->tls->peer(transport->connection, peer);
    return peer->has_certificate;
}

bool pawl_transport_is_trusted(const struct pawl_transport *transport,
                               struct pawl_tls_context *context)
{
    return transport->tls == NULL || !transport->opened ||
           (context != NULL && transport->tls->is_trusted(transport->connection, context));
}
