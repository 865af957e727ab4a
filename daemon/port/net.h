/*
 * Outgoing connections and timers on a loop that somebody else turns: what an adapter that speaks
 * over the network needs. Implemented by edge/outbound.c on libuv. One thread: the loop's. No event
 * from inside a call.
 */
#ifndef PAWL_PORT_NET_H
#define PAWL_PORT_NET_H

#include "core/status.h"
#include "core/types.h"
#include "port/tls.h"

struct pawl_stream; /* of the implementation */
struct pawl_timer;

/** Where to, and how. Texts are copied. */
struct pawl_dial {
    const char *host;                 /* name, number, or absolute path of a Unix socket */
    uint16_t port;                    /* 0 with a path */
    struct pawl_tls_context *context; /* NULL: in clear. A reference is taken */
    const char *name;                 /* TLS: what the certificate has to be for; NULL: host */
    uint32_t timeout_ms;              /* look-up, connection and handshake together */
    uint32_t user_timeout_ms;         /* sent and not acknowledged (TCP_USER_TIMEOUT); 0: none */
    size_t output_max;                /* bytes that may wait to be sent */
};

struct pawl_stream_events {
    /** Connected, and with TLS the other side has proved its name. */
    void (*opened)(void *ctx);
    /** Bytes, lent for the call. */
    void (*bytes)(void *ctx, const uint8_t *data, size_t size);
    /** The end, once, also of one that never opened; @why for people, never NULL. */
    void (*closed)(void *ctx, enum pawl_status status, const char *why);
};

struct pawl_net_ops {
    /** NULL: no memory. Every stream that is returned ends with events->closed. */
    struct pawl_stream *(*connect)(void *self, const struct pawl_dial *dial,
                                   const struct pawl_stream_events *events, void *ctx);
    /**
     * Send a copy of the bytes, together with others of this turn. PAWL_OK; PAWL_EFULL (output_max
     * would be passed: nothing was taken), PAWL_ECONN (not open).
     */
    enum pawl_status (*write)(struct pawl_stream *stream, const void *data, size_t size);
    /** End it; events->closed follows unless it was said already. */
    void (*close)(struct pawl_stream *stream);
    /** The other end's address as a number, for people and for comparing. */
    const char *(*peer)(const struct pawl_stream *stream);

    /** A timer, not running. NULL: no memory. */
    struct pawl_timer *(*timer)(void *self, void (*run)(void *ctx), void *ctx);
    /** Run once in @ms; anew if it ran already. */
    void (*start)(struct pawl_timer *timer, uint32_t ms);
    void (*stop)(struct pawl_timer *timer);
    /** It does not run any more. NULL is nothing. */
    void (*release)(struct pawl_timer *timer);
    /** BOOTTIME ms, read at each call: the process may have stood still since the turn began. */
    uint64_t (*now_ms)(void *self);
};

struct pawl_net {
    const struct pawl_net_ops *ops;
    void *self;
};

#endif
