#include "edge/transport.h"

#include <string.h>
#include <sys/socket.h>

#include "edge/transport_tls.h"

static struct pawl_transport *of_handle(uv_handle_t *handle)
{
    return handle->data;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct pawl_transport *transport = of_handle(handle);
    uint8_t *data = NULL;
    size_t size = 0;

    (void)suggested;
    transport->events->room(transport, &data, &size);
    buf->base = (char *)data;
    buf->len = size;
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct pawl_transport *transport = stream->data;

    (void)buf;
    if (size > 0) {
        transport->events->bytes(transport, (size_t)size);
        return;
    }
    /* 0 is EAGAIN. UV_ENOBUFS is our own "no room now": libuv leaves the stream reading and the
     * poll reports it again next turn, which is how a session yields the loop. */
    if (size == 0 || size == UV_ENOBUFS) {
        return;
    }
    pawl_transport_read(transport, false);
    transport->events->ended(transport, size == UV_EOF);
}

static void on_written(uv_write_t *request, int result)
{
    struct pawl_transport *transport = request->data;

    transport->events->written(transport, result == 0 ? PAWL_OK : PAWL_ECONN);
}

static void on_closed(uv_handle_t *handle)
{
    struct pawl_transport *transport = of_handle(handle);

    pawl_transport_tls_free(transport);
    transport->events->closed(transport);
}

enum pawl_status pawl_transport_open(struct pawl_transport *transport, uv_loop_t *loop, int fd,
                                     bool is_tcp, const struct pawl_transport_events *events)
{
    int result;

    memset(transport, 0, sizeof(*transport));
    transport->events = events;
    if (is_tcp) {
        result = uv_tcp_init(loop, &transport->uv.tcp);
        result = result == 0 ? uv_tcp_open(&transport->uv.tcp, fd) : result;
    } else {
        result = uv_pipe_init(loop, &transport->uv.pipe, 0);
        result = result == 0 ? uv_pipe_open(&transport->uv.pipe, fd) : result;
    }
    transport->uv.handle.data = transport;
    transport->request.data = transport;
    return result == 0 ? PAWL_OK : PAWL_EIO;
}

void pawl_transport_read(struct pawl_transport *transport, bool on)
{
    if (transport->reading == on) {
        return;
    }
    transport->reading = on;
    if (transport->tls != NULL) {
        pawl_transport_tls_read(transport, on);
    } else if (on) {
        (void)uv_read_start(&transport->uv.stream, on_alloc, on_read);
    } else {
        (void)uv_read_stop(&transport->uv.stream);
    }
}

ptrdiff_t pawl_transport_try_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                                   unsigned count)
{
    int taken;

    if (transport->tls != NULL) {
        return pawl_transport_tls_try_write(transport, pieces, count);
    }
    taken = uv_try_write(&transport->uv.stream, pieces, count);
    if (taken == UV_EAGAIN || taken == UV_ENOBUFS) {
        return 0;
    }
    return taken >= 0 ? taken : -1;
}

ptrdiff_t pawl_transport_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                               unsigned count)
{
    ptrdiff_t size = 0;

    if (transport->tls != NULL) {
        return pawl_transport_tls_write(transport, pieces, count);
    }
    if (uv_write(&transport->request, &transport->uv.stream, pieces, count, on_written) != 0) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        size += (ptrdiff_t)pieces[i].len;
    }
    return size;
}

void pawl_transport_finish(struct pawl_transport *transport)
{
    uv_os_fd_t fd;

    if (transport->tls != NULL) {
        pawl_transport_tls_finish(transport);
    }
    /* The socket call at once, not uv_shutdown: nothing is queued here, and a shutdown request
     * would be one more thing that has to end before the handle may. */
    if (uv_fileno(&transport->uv.handle, &fd) == 0) {
        (void)shutdown(fd, SHUT_WR);
    }
}

void pawl_transport_close(struct pawl_transport *transport)
{
    transport->reading = false;
    transport->ended = true;
    pawl_deadline_disarm(&transport->ready);
    uv_close(&transport->uv.handle, on_closed);
}
