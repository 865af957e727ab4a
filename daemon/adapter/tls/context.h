/*
 * A TLS context, inside the adapter: what connection.c needs of it.
 */
#ifndef PAWL_ADAPTER_TLS_CONTEXT_H
#define PAWL_ADAPTER_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "adapter/tls/tls.h"

struct pawl_tls_context {
    _Atomic unsigned refs;
    SSL_CTX *ssl;
    int64_t not_after_s; /* of its own certificate; 0 = it has none */
};

int64_t pawl_tls_context_expires_s(const struct pawl_tls_context *context);

/**
 * Whether @peer's certificate chains up to a CA of @context, whatever its dates. Any thread with
 * the connection's own.
 */
bool pawl_tls_context_trusts(struct pawl_tls_context *context, const SSL *peer);

#endif
