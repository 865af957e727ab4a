/*
 * TLS as a transformation of bytes: what came from a socket goes in, what the application may read
 * comes out, and the other way round. No descriptor and no loop is in it, so that sessions, the
 * client library and later the Redis stream share it. TLS 1.3 only.
 *
 * Life of a connection: open -> (peek, send and say sent | give what came | read | write)* ->
 * finish -> close. After each give, read and write there may be bytes to send: handshake, key
 * updates, alerts; send them until there are none. One thread at a time for a connection.
 *
 * A context is one immutable set of certificate, key, CA and policy. A reload makes a new one and
 * publishes it; connections keep theirs by reference until they end.
 */
#ifndef PAWL_PORT_TLS_H
#define PAWL_PORT_TLS_H

#include "core/status.h"
#include "core/types.h"

#define PAWL_TLS_SANS_MAX     16    /* names of a peer's certificate that are looked at */
#define PAWL_TLS_SAN_MAX      256   /* bytes of one, its kind included */
#define PAWL_TLS_RECORD_BYTES 16645 /* the largest record on the wire (RFC 8446, 5.2) */

struct pawl_tls_context;    /* of the adapter */
struct pawl_tls_connection; /* of the adapter */

enum pawl_tls_state {
    PAWL_TLS_HANDSHAKING = 0,
    PAWL_TLS_OPEN,
    PAWL_TLS_PEER_DONE, /* close_notify came: nothing more will be read */
    PAWL_TLS_FAILED,    /* no more to be had; the alert, if any, is to be sent */
};

/** Who the peer proved to be. */
struct pawl_tls_peer {
    bool has_certificate; /* and it is valid under the context's CA */
    unsigned san_count;
    char sans[PAWL_TLS_SANS_MAX][PAWL_TLS_SAN_MAX]; /* "dns:a", "uri:b", "email:c", "ip:d" */
    char issuer_sha256[65]; /* hex: the CA certificate that the chain ends in */
    int64_t not_after_s;    /* of its certificate */
};

struct pawl_tls_ops {
    /** A connection on the server's side, which takes a reference on @context. NULL: no memory. */
    struct pawl_tls_connection *(*accept)(struct pawl_tls_context *context);
    /**
     * On the client's side; @name is what the certificate must be for, host name or number
     * (RFC 9525). NULL: no memory.
     */
    struct pawl_tls_connection *(*connect)(struct pawl_tls_context *context, const char *name);
    /** Frees everything, also what was not sent. NULL is allowed. */
    void (*close)(struct pawl_tls_connection *connection);

    enum pawl_tls_state (*state)(const struct pawl_tls_connection *connection);
    /** What went wrong, where FAILED; never NULL, no secret in it. */
    const char *(*failure)(const struct pawl_tls_connection *connection);
    /** After the handshake. */
    void (*peer)(const struct pawl_tls_connection *connection, struct pawl_tls_peer *peer);

    /**
     * @size bytes that came from the socket; drives the handshake too. All are taken: read until
     * there is nothing before giving more. PAWL_OK, PAWL_ENOMEM.
     */
    enum pawl_status (*give)(struct pawl_tls_connection *connection, const uint8_t *bytes,
                             size_t size);
    /** Decrypted bytes into @out, as many as there are; returns how many, 0 = none now. */
    size_t (*read)(struct pawl_tls_connection *connection, uint8_t *out, size_t room);
    /** Bytes to encrypt; not before OPEN. PAWL_OK (all taken), PAWL_ENOMEM, PAWL_ECONN. */
    enum pawl_status (*write)(struct pawl_tls_connection *connection, const uint8_t *bytes,
                              size_t size);
    /** How much waits to be sent. */
    size_t (*pending)(const struct pawl_tls_connection *connection);
    /**
     * The oldest bytes to be sent, or none; not always all of them. They stay where they are, and
     * unchanged, until sent() or close(), whatever else is called meanwhile.
     */
    struct pawl_bytes (*peek)(const struct pawl_tls_connection *connection);
    /** The first @size of the bytes to be sent have been taken by the socket. */
    void (*sent)(struct pawl_tls_connection *connection, size_t size);
    /** Say close_notify. */
    void (*finish)(struct pawl_tls_connection *connection);
    /**
     * Whether a record has begun and is not whole: read() gave nothing, and the peer owes the rest.
     */
    bool (*is_partial)(const struct pawl_tls_connection *connection);

    /** Contexts are counted; both are thread-safe. unref: NULL is allowed. */
    struct pawl_tls_context *(*ref)(struct pawl_tls_context *context);
    void (*unref)(struct pawl_tls_context *context);
    /** When the context's own certificate ends, seconds since 1970; 0 = it has none. */
    int64_t (*expires_s)(const struct pawl_tls_context *context);
    /**
     * Whether the peer's certificate would still be trusted under @context, which a reload made
     * later; dates are not looked at. True where the peer has none. Connection's thread.
     */
    bool (*is_trusted)(const struct pawl_tls_connection *connection,
                       struct pawl_tls_context *context);
};

/** Both are process-wide and never NULL members; adapter/tls has the only one. */
struct pawl_tls {
    const struct pawl_tls_ops *ops; /* NULL: no TLS in this process */
};

#endif
