/*
 * A stream of edge/outbound.c, inside the two files that make it: outbound.c finds and connects,
 * outbound_stream.c carries bytes, in clear or through TLS.
 *
 *   LOOKING -> CONNECTING (address by address) -> [SECURING] -> OPEN
 *      any of them -> ENDED; `closed` is said in the timer's close callback, never inside a call
 */
#ifndef PAWL_EDGE_OUTBOUND_STREAM_H
#define PAWL_EDGE_OUTBOUND_STREAM_H

#include <netinet/in.h>
#include <sys/un.h>

#include "core/address.h"
#include "edge/outbound.h"

#define PAWL_OUTBOUND_READ_BYTES  65536
#define PAWL_OUTBOUND_PLAIN_BYTES 16384 /* what a TLS record holds */

enum pawl_outbound_state {
    PAWL_OUTBOUND_LOOKING = 0,
    PAWL_OUTBOUND_CONNECTING,
    PAWL_OUTBOUND_SECURING,
    PAWL_OUTBOUND_OPEN,
    PAWL_OUTBOUND_ENDED,
};

/** One attempt at one address. Its own memory, for libuv closes it in its own time. */
struct pawl_outbound_socket {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_connect_t connect;
    uv_write_t write;
    struct pawl_stream *stream; /* held; it has gone on without this one where ->socket differs */
    bool is_sending;
    uint8_t *sending; /* in clear: ours, until the socket took it all */
    size_t sending_bytes;
};

/** Bytes that wait; those before start are gone. */
struct pawl_outbound_bytes {
    uint8_t *data;
    size_t start;
    size_t used;
    size_t capacity;
};

struct pawl_stream {
    struct pawl_outbound *outbound;
    struct pawl_stream *next; /* of outbound->streams */
    struct pawl_stream *prev;
    struct pawl_stream *next_written; /* of outbound->written */
    bool is_written;
    unsigned holders; /* sockets, timer, look-up: the last one frees */
    enum pawl_outbound_state state;
    struct pawl_stream_events events;
    void *ctx;
    uv_timer_t timer;  /* begins, judges, and says the end */
    uint64_t until_ms; /* of the loop's clock */
    uv_getaddrinfo_t lookup;
    bool is_looking_up;
    bool is_path;
    uint16_t port;
    uint32_t user_timeout_ms;
    size_t output_max;
    struct sockaddr_storage addresses[PAWL_OUTBOUND_ADDRESSES_MAX];
    unsigned address_count;
    unsigned address_next;
    struct pawl_outbound_socket *socket;
    struct pawl_tls_context *context;
    struct pawl_tls_connection *connection; /* SECURING, OPEN; NULL: in clear */
    struct pawl_outbound_bytes out;
    enum pawl_status status; /* of the end */
    char why[256];
    char host[PAWL_ADDRESS_HOST_MAX + 1];
    char name[PAWL_ADDRESS_HOST_MAX + 1];
    char peer[PAWL_ADDRESS_TEXT_MAX];
};

/** End it, now or never; the first reason stays. */
void pawl_outbound_end(struct pawl_stream *stream, enum pawl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** The socket is connected: handshake, or open at once. */
void pawl_outbound_connected(struct pawl_stream *stream);

/** Port's write. */
enum pawl_status pawl_outbound_write(struct pawl_stream *stream, const void *data, size_t size);

/** Send what waits, as much as the socket takes. May end the stream. */
void pawl_outbound_flush(struct pawl_stream *stream);

/** Before it is closed here: what waits, and close_notify, if the socket takes them at once. */
void pawl_outbound_farewell(struct pawl_stream *stream);

/** Take it out of outbound->written. */
void pawl_outbound_unwritten(struct pawl_stream *stream);

#endif
