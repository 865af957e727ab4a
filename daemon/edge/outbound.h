/*
 * Outgoing connections and timers on a given libuv loop: port/net.h. The connection to the engine
 * and the links to other members are made here. What a stream does, and in which order, is said by
 * the port; here is what belongs to libuv.
 *
 * - Names are looked up in libuv's pool; numbers are not. All addresses of a name are tried, one
 *   after the other, each for its share of the time that is left.
 * - What is written in one turn goes out together, before the loop waits again.
 * - A stream that is closed here sends first what the socket takes at once, and TLS's close_notify.
 * - The end says: PAWL_ECANCELED closed here; PAWL_ENOENT no such name; PAWL_ETIMEDOUT; PAWL_EPERM
 *   TLS refused (name, CA, no certificate); PAWL_EINVAL no such address; PAWL_ENOMEM; PAWL_ECONN
 *   all else: refused, reset, closed by the other side.
 * - After `closed` has returned the stream's pointer is not valid any more.
 *
 * Life: init -> connect, timer ... -> close -> its callback. One thread: the loop's.
 */
#ifndef PAWL_EDGE_OUTBOUND_H
#define PAWL_EDGE_OUTBOUND_H

#include <uv.h>

#include "port/net.h"

#define PAWL_OUTBOUND_ADDRESSES_MAX 16 /* of one name that are tried */

struct pawl_outbound {
    /* ---- private ---- */
    uv_loop_t *loop;
    const struct pawl_tls_ops *tls;
    uint8_t *received;           /* of the read that is going on */
    uint8_t *plain;              /* the same, decrypted */
    struct pawl_stream *streams; /* whose end is not said */
    struct pawl_timer *timers;   /* not released */
    struct pawl_stream *written; /* with bytes gathered in this turn */
    unsigned streams_alive;      /* memory that libuv may still touch, ended ones too */
    unsigned timers_alive;
    unsigned handles_alive; /* prepare and idle */
    uv_prepare_t prepare;   /* sends what was gathered */
    uv_idle_t idle;         /* on while there is: the loop must not wait meanwhile */
    bool closing;
    void (*on_closed)(void *ctx);
    void *ctx;
};

/**
 * Get ready on @loop; nothing is opened.
 *
 * @tls  NULL: a dial with a context ends with PAWL_EINVAL. Lent.
 *
 * PAWL_OK, or PAWL_ENOMEM: then there is nothing to close.
 */
PAWL_MUST_USE enum pawl_status pawl_outbound_init(struct pawl_outbound *outbound, uv_loop_t *loop,
                                                  const struct pawl_tls_ops *tls);

/**
 * Look up the stream addresses of @host with @port, on @loop; @on_found as uv_getaddrinfo() says.
 * Returns 0 or libuv's error: then @on_found is not called.
 */
PAWL_MUST_USE int pawl_outbound_look_up(uv_loop_t *loop, uv_getaddrinfo_t *request,
                                        uv_getaddrinfo_cb on_found, const char *host,
                                        unsigned port);

/** The port; lent, as long as @outbound. */
struct pawl_net pawl_outbound_net(struct pawl_outbound *outbound);

/**
 * End all streams, each with its `closed` event, stop all timers, and call @on_closed (may be NULL)
 * once the streams are gone and every timer was released by who has it: then the storage is the
 * caller's again. From now on no stream is made (NULL) and no timer runs. Only once.
 *
 * A look-up that runs in the system's resolver cannot be broken off; the callback waits for it.
 */
void pawl_outbound_close(struct pawl_outbound *outbound, void (*on_closed)(void *ctx), void *ctx);

#endif
