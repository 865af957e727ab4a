/*
 * The half of a transport that encrypts; called by transport.c alone.
 *
 *   socket -> hub's buffer -> connection -> the owner's room        (give, read)
 *   owner's pieces -> connection's chunks -> socket                 (write, peek, sent)
 *
 * What is decrypted and finds no room (the owner pauses in the middle) stays in the connection, and
 * is handed over from the hub's idle handle: the socket may never become readable again.
 */
#ifndef PAWL_EDGE_TRANSPORT_TLS_H
#define PAWL_EDGE_TRANSPORT_TLS_H

#include "edge/transport.h"

/** As the calls of transport.h. */
void pawl_transport_tls_read(struct pawl_transport *transport, bool on);
ptrdiff_t pawl_transport_tls_try_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                                       unsigned count);
ptrdiff_t pawl_transport_tls_write(struct pawl_transport *transport, const uv_buf_t *pieces,
                                   unsigned count);

/** Say close_notify and send what the socket takes now. */
void pawl_transport_tls_finish(struct pawl_transport *transport);

/** The handle has died. Nothing for one in clear. */
void pawl_transport_tls_free(struct pawl_transport *transport);

#endif
