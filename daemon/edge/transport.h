/*
 * Bytes in, bytes out: a connected socket on a loop, in clear or (after pawl_transport_secure())
 * through TLS. The session above knows nothing of libuv streams and nothing of records.
 *
 * Life: open -> (secure) -> read on and off, write -> close -> events->closed, once, from the loop;
 * only then may the owner free it. One thread: the loop's. No event comes from inside a call of
 * this header.
 *
 * With TLS the handshake goes first, driven by reading: nothing is to be written before
 * events->opened. Bytes taken for writing are encrypted at once and stay the owner's until the
 * socket has their ciphertext, so the owner's ceilings bound both.
 */
#ifndef PAWL_EDGE_TRANSPORT_H
#define PAWL_EDGE_TRANSPORT_H

#include <uv.h>

#include "core/status.h"
#include "edge/deadline.h"
#include "port/tls.h"

#define PAWL_TRANSPORT_READ_BYTES ((size_t)65536) /* ciphertext of one connection in one turn */
#define PAWL_TRANSPORT_HANDSHAKES 2               /* steps of handshakes in one turn */

struct pawl_transport;

/**
 * What the TLS connections of one loop share: the buffer that ciphertext is read into, a budget for
 * the arithmetic of handshakes, so that a flood of them waits for everybody else, and those that
 * have something left to hand over though their socket is silent.
 *
 * Life: init on a loop -> close, then turns of the loop until nothing is left.
 */
struct pawl_transport_hub {
    /* ---- private ---- */
    uv_idle_t idle;
    struct pawl_deadlines ready;
    const uint64_t *turn; /* grows with every turn of the loop; the owner's */
    uint64_t budget_turn;
    unsigned handshakes; /* steps in that turn */
    uint8_t cipher[PAWL_TRANSPORT_READ_BYTES];
};

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
    /** TLS: the handshake is done; the first bytes may follow at once. */
    void (*opened)(struct pawl_transport *transport);
    /** TLS: part of a record is there, and nothing to hand over; the peer owes the rest. */
    void (*begun)(struct pawl_transport *transport);
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

    const struct pawl_tls_ops *tls; /* NULL: in clear */
    struct pawl_tls_connection *connection;
    struct pawl_transport_hub *hub;
    struct pawl_deadline ready; /* on the hub's list */
    uint64_t turn;              /* that was read in */
    size_t ahead;               /* of the owner's bytes: encrypted, not yet said to be taken */
    size_t waiting_bytes;       /* of them the owner waits for; with @waiting */
    size_t sending_bytes;       /* lent to libuv */
    bool opened;
    bool sending;  /* a write of ciphertext is under way */
    bool waiting;  /* events->written is owed */
    bool leftover; /* decrypted bytes may be left in the connection */
    bool eof;      /* of the socket */
    bool ended;    /* events->ended is said */
    bool discarding;
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

/** Begin on @loop; @turn is looked at as long as the hub lives. Cannot fail. */
void pawl_transport_hub_init(struct pawl_transport_hub *hub, uv_loop_t *loop, const uint64_t *turn);

/** Stop; twice is nothing. */
void pawl_transport_hub_close(struct pawl_transport_hub *hub);

/**
 * From here on TLS, as its server; right after open. @hub outlives the transport; @context is
 * counted. PAWL_OK, PAWL_ENOMEM (only close is left then).
 */
PAWL_MUST_USE enum pawl_status pawl_transport_secure(struct pawl_transport *transport,
                                                     struct pawl_transport_hub *hub,
                                                     const struct pawl_tls_ops *tls,
                                                     struct pawl_tls_context *context);

/** TLS: what went wrong, or NULL if nothing did. Lent until the transport dies. */
const char *pawl_transport_failure(const struct pawl_transport *transport);

/** TLS, after events->opened: who the peer proved to be. False: it has shown no certificate. */
bool pawl_transport_peer(const struct pawl_transport *transport, struct pawl_tls_peer *peer);

/** Whether what the peer has shown is trusted under @context (NULL: nothing is); else true. */
bool pawl_transport_is_trusted(const struct pawl_transport *transport,
                               struct pawl_tls_context *context);

/**
 * TLS, from events->ended alone, after a failure that the peer is being told of: say that nothing
 * more will be sent, and read away what still comes, so that no reset overtakes the alert.
 * events->ended follows again at the end of it.
 */
void pawl_transport_discard(struct pawl_transport *transport);

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
 * After a try that did not take all: write, however long it takes; the bytes stay where they are
 * until events->written. One at a time.
 *
 * Returns how many of the bytes, from the front, events->written will be about (all in clear), or
 * -1 when the peer is gone (it does not follow).
 */
ptrdiff_t pawl_transport_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                               unsigned count);

/** Say that nothing more will be sent. Not while a write is under way. */
void pawl_transport_finish(struct pawl_transport *transport);

/** Close; a write under way ends first with an error. At most once. */
void pawl_transport_close(struct pawl_transport *transport);

#endif
