/*
 * A TLS connection between two heaps of bytes, inside the adapter. What it does is said by
 * port/tls.h; the functions are found through pawl_tls_ops alone.
 *
 * OpenSSL reads what was given and writes into a chain of chunks that never move, so that a socket
 * may be sending one while OpenSSL adds to the next. What goes in is decrypted before more is
 * given, what goes out has a ceiling: neither can be made to grow by a peer.
 */
#ifndef PAWL_ADAPTER_TLS_CONNECTION_H
#define PAWL_ADAPTER_TLS_CONNECTION_H

#include <openssl/ssl.h>

#include "port/tls.h"

#define PAWL_TLS_IN_MAX          ((size_t)1 << 20) /* given and not read yet */
#define PAWL_TLS_OUT_MAX         ((size_t)2 << 20) /* to be sent */
#define PAWL_TLS_KEY_UPDATES_MAX 16 /* of a peer, and one more for each 64 KiB that it sends */

struct pawl_tls_chunk {
    struct pawl_tls_chunk *next;
    size_t capacity;
    size_t start; /* sent */
    size_t used;
    uint8_t data[];
};

struct pawl_tls_connection {
    SSL *ssl;
    struct pawl_tls_context *context; /* a reference */
    enum pawl_tls_state state;
    bool finished; /* close_notify is said */
    bool drowned;  /* a ceiling was reached: nothing more is written */
    unsigned key_updates;
    uint64_t read_bytes;
    uint8_t *in;
    size_t in_start;
    size_t in_size; /* end of what was given */
    struct pawl_tls_chunk *out;
    struct pawl_tls_chunk *out_last;
    size_t out_bytes;
    char failure[120];
};

#endif
