/*
 * Bytes in, bytes out: a connected socket on a loop. The session above knows nothing of libuv
 * streams, so that a transport that encrypts takes this one's place without touching it.
 *
 * Life: open -> read on and off, write -> close -> events->closed, once, from the loop; only then
 * may the owner free it. One thread: the loop's. No event comes from inside a call of this header.
 */
#ifndef PAWL_EDGE_TRANSPORT_H
#define PAWL_EDGE_TRANSPORT_H

#include <uv.h>

#include "core/status.h"

struct pawl_transport;

/** Implemented by the owner; found again with the transport's address. */
struct pawl_transport_events {
    /** Where the next bytes may go; @size 0 = none now: the rest waits for the loop's next turn. */
    void (*room)(struct pawl_transport *transport, uint8_t **data, size_t *size);
    /** @size bytes lie in the room given last. */
    void (*bytes)(struct pawl_transport *transport, size_t size);
    /** The peer is done sending (@clean) or gone. Reading has stopped. */
    void (*ended)(struct pawl_transport *transport, bool clean);
    /** The write that was started is wholly taken (PAWL_OK), or never will be. */
    void (*written)(struct pawl_transport *transport, enum pawl_status status);
    void (*closed)(struct pawl_transport *transport);
};

struct pawl_transport {
    /* ---- private ---- */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_write_t request;
    const struct pawl_transport_events *events;
    bool reading;
};

/**
 * Take over @fd, a connected non-blocking socket; @is_tcp says of which kind.
 *
 * Returns PAWL_OK, or PAWL_EIO: then @fd is still the caller's, but the loop knows the handle and
 * pawl_transport_close() is due all the same.
 */
PAWL_MUST_USE enum pawl_status pawl_transport_open(struct pawl_transport *transport,
                                                   uv_loop_t *loop, int fd, bool is_tcp,
                                                   const struct pawl_transport_events *events);

/** Read or stop reading; a call that changes nothing costs nothing. */
void pawl_transport_read(struct pawl_transport *transport, bool on);

/**
 * Write what fits now. Not while a started write is under way.
 *
 * Returns the bytes taken, 0 included, or -1 when the peer is gone.
 */
ptrdiff_t pawl_transport_try_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                                   unsigned count);

/**
 * Write all, however long it takes; the bytes stay where they are until events->written. One at a
 * time. Returns PAWL_OK (written follows) or PAWL_ECONN (it does not).
 */
PAWL_MUST_USE enum pawl_status pawl_transport_write(struct pawl_transport *transport,
                                                    const uv_buf_t *pieces, unsigned count);

/** Say that nothing more will be sent. Not while a write is under way. */
void pawl_transport_finish(struct pawl_transport *transport);

/** Close; a write under way ends first with an error. At most once. */
void pawl_transport_close(struct pawl_transport *transport);

#endif
