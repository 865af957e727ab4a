/*
 * TLS 1.3 by OpenSSL, as port/tls.h wants it: no descriptor, no loop. Used by the daemon's edge and
 * by libpawl; the daemon's main and the client make contexts here, everything else goes through
 * `pawl_tls_ops`.
 *
 * Contexts are immutable and counted. One made by a *_context() call holds one reference, the
 * caller's; each connection takes its own.
 */
#ifndef PAWL_ADAPTER_TLS_TLS_H
#define PAWL_ADAPTER_TLS_TLS_H

#include "port/tls.h"

#define PAWL_TLS_FILE_BYTES_MAX ((size_t)1 << 20) /* of one PEM file */

/** The only implementation of the port; all members are set. */
extern const struct pawl_tls_ops pawl_tls_ops;

/** Whether clients are asked for a certificate. */
enum pawl_tls_client_auth {
    PAWL_TLS_CLIENT_AUTH_NONE = 0,
    PAWL_TLS_CLIENT_AUTH_OPTIONAL, /* one that is shown has to be good */
    PAWL_TLS_CLIENT_AUTH_REQUIRED,
};

/** What a server shows and wants; texts are lent for the call. */
struct pawl_tls_server_options {
    const char *certificate; /* PEM file: the server's first, then its chain */
    const char *key;         /* PEM file, not encrypted */
    const char *ca;          /* PEM file: who signs client certificates; NULL or "" = nobody */
    enum pawl_tls_client_auth client_auth; /* other than NONE wants @ca */
};

/** What a client trusts and shows; texts are lent for the call. */
struct pawl_tls_client_options {
    const char *ca;          /* PEM file; NULL or "" = what the system trusts */
    const char *certificate; /* PEM file, chain included; NULL or "" = none */
    const char *key;         /* PEM file; with @certificate only */
};

/** What an operator should hear of a context that holds all the same. */
struct pawl_tls_report {
    int64_t not_before_s; /* of its own certificate; 0 = it has none */
    int64_t not_after_s;
    bool key_is_open; /* others than owner and group may read the key file */
};

/**
 * Make a server's context: TLS 1.3 only, no resumption of any kind, so that every connection shows
 * its certificate anew.
 *
 * @context  out; NULL after an error. The caller's reference.
 * @report   out, may be NULL.
 * @error    may be NULL: which file, what is wrong with it, what to do.
 *
 * Returns PAWL_OK; PAWL_ENOENT, PAWL_EPERM (not readable, or a key that others may write);
 * PAWL_EINVAL (not PEM, encrypted, key of another certificate, too weak); PAWL_ETOOBIG;
 * PAWL_ENOMEM. Blocks on the files. Any thread.
 */
PAWL_MUST_USE enum pawl_status pawl_tls_server_context(
    const struct pawl_tls_server_options *options, struct pawl_tls_context **context,
    struct pawl_tls_report *report, struct pawl_error *error);

/** Make a client's context; as pawl_tls_server_context(). */
PAWL_MUST_USE enum pawl_status pawl_tls_client_context(
    const struct pawl_tls_client_options *options, struct pawl_tls_context **context,
    struct pawl_tls_report *report, struct pawl_error *error);

/** One reference more; @context again. Any thread. */
struct pawl_tls_context *pawl_tls_context_ref(struct pawl_tls_context *context);

/** One reference less; the last one frees. NULL is allowed. Any thread. */
void pawl_tls_context_unref(struct pawl_tls_context *context);

#endif
