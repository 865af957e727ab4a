#include "adapter/tls/context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUPS       "X25519:P-256:P-384"
#define CIPHERS      "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define VERIFY_DEPTH 8 /* certificates between a peer's and its CA */

/* ---- files --------------------------------------------------------------------------------- */

static enum pawl_status refuse_file(struct pawl_error *error, const char *what, const char *file)
{
    int code = errno;

    return pawl_error_set(error,
                          code == ENOENT || code == ENOTDIR ? PAWL_ENOENT
                          : code == EACCES || code == EPERM ? PAWL_EPERM
                                                            : PAWL_EIO,
                          code, "%s %s: %s; check tls.%s and who may read it", what, file,
                          strerror(code), what);
}

/** All of @fd into a memory BIO; NULL with errno set. */
static BIO *slurp(int fd)
{
    BIO *text = BIO_new(BIO_s_mem());
    size_t total = 0;
    char part[4096];

    while (text != NULL) {
        ssize_t size = read(fd, part, sizeof(part));

        if (size < 0 && errno == EINTR) {
            continue;
        }
        total += size > 0 ? (size_t)size : 0;
        if (size == 0) {
            break;
        }
        if (size < 0 || total > PAWL_TLS_FILE_BYTES_MAX ||
            BIO_write(text, part, (int)size) != (int)size) {
            errno = size < 0 ? errno : EFBIG;
            BIO_free(text);
            text = NULL;
        }
    }
    OPENSSL_cleanse(part, sizeof(part)); /* it may have been a key */
    return text;
}

/** Open and read @file whole; @info tells of it. */
static enum pawl_status read_file(const char *what, const char *file, BIO **text, struct stat *info,
                                  struct pawl_error *error)
{
    enum pawl_status status = PAWL_OK;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *text = NULL;
    memset(info, 0, sizeof(*info));
    if (fd < 0) {
        return refuse_file(error, what, file);
    }
    if (fstat(fd, info) != 0 || (!S_ISREG(info->st_mode) && (errno = EINVAL) != 0) ||
        (*text = slurp(fd)) == NULL) {
        status = refuse_file(error, what, file);
    }
    (void)close(fd);
    return status;
}

/* ---- certificates and keys ----------------------------------------------------------------- */

/** "@what @file: @why", with OpenSSL's own word where it has one. */
static enum pawl_status refuse_pem(struct pawl_error *error, const char *what, const char *file,
                                   const char *why)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return pawl_error_set(error, PAWL_EINVAL, 0, "%s %s: %s%s%s%s", what, file, why,
                          reason != NULL ? " (" : "", reason != NULL ? reason : "",
                          reason != NULL ? ")" : "");
}

static int64_t unix_of(const ASN1_TIME *time)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0;
    int seconds = 0;
    int64_t result = 0;

    if (epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time) == 1) {
        result = (int64_t)days * 86400 + seconds;
    }
    ASN1_TIME_free(epoch);
    return result;
}

/** The server's or client's own certificate, first in its file, and the chain behind it. */
static enum pawl_status use_certificate(struct pawl_tls_context *context, const char *file,
                                        struct pawl_tls_report *report, struct pawl_error *error)
{
    struct stat info;
    BIO *text = NULL;
    X509 *first = NULL;
    X509 *next = NULL;
    enum pawl_status status = read_file("certificate", file, &text, &info, error);

    if (status != PAWL_OK) {
        return status;
    }
    first = PEM_read_bio_X509_AUX(text, NULL, NULL, NULL);
    if (first == NULL) {
        status = refuse_pem(error, "certificate", file, "holds no PEM certificate");
    } else if (SSL_CTX_use_certificate(context->ssl, first) != 1) {
        status = refuse_pem(error, "certificate", file, "cannot be used; make a stronger one");
    }
    while (status == PAWL_OK && (next = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(context->ssl, next) != 1) {
            X509_free(next);
            status = refuse_pem(error, "certificate", file, "its chain cannot be used");
        }
    }
    if (status == PAWL_OK && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        status = refuse_pem(error, "certificate", file, "its chain is damaged");
    }
    ERR_clear_error();
    if (status == PAWL_OK) {
        context->not_after_s = unix_of(X509_get0_notAfter(first));
        report->not_after_s = context->not_after_s;
        report->not_before_s = unix_of(X509_get0_notBefore(first));
    }
    X509_free(first);
    BIO_free(text);
    return status;
}

/** Nobody types a passphrase into a daemon; @data learns that one was wanted. */
static int on_passphrase(char *out, int room, int is_writing, void *data)
{
    bool *wanted = data;

    if (room > 0) {
        out[0] = '\0';
    }
    (void)is_writing;
    *wanted = true;
    return -1;
}

static enum pawl_status use_key(struct pawl_tls_context *context, const char *file,
                                const char *certificate, struct pawl_tls_report *report,
                                struct pawl_error *error)
{
    bool is_encrypted = false;
    struct stat info;
    BIO *text = NULL;
    EVP_PKEY *key = NULL;
    enum pawl_status status = read_file("key", file, &text, &info, error);

    if (status != PAWL_OK) {
        return status;
    }
    report->key_is_open = (info.st_mode & S_IROTH) != 0;
    if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        BIO_free(text);
        return pawl_error_set(
            error, PAWL_EPERM, 0,
            "key %s: others may write it (mode %04o); chmod 600 it, and make a new "
            "key if you do not know who has",
            file, (unsigned)info.st_mode & 07777);
    }
    key = PEM_read_bio_PrivateKey(text, NULL, on_passphrase, &is_encrypted);
    if (key == NULL) {
        status =
            refuse_pem(error, "key", file,
                       is_encrypted ? "is encrypted, and nobody is there to type a passphrase; "
                                      "write it without one (openssl pkey -in ... -out ...)"
                                    : "holds no PEM private key");
    } else if (X509_check_private_key(SSL_CTX_get0_certificate(context->ssl), key) != 1) {
        ERR_clear_error();
        status = pawl_error_set(error, PAWL_EINVAL, 0,
                                "key %s is not the key of certificate %s; put the two that belong "
                                "together into place",
                                file, certificate);
    } else if (SSL_CTX_use_PrivateKey(context->ssl, key) != 1) {
        status = refuse_pem(error, "key", file, "cannot be used; make a stronger one");
    }
    EVP_PKEY_free(key);
    BIO_free(text); /* its memory is cleansed with it */
    return status;
}

/** Trust every certificate in @file; with @names a server also tells clients whom it trusts. */
static enum pawl_status use_ca(SSL_CTX *ssl, const char *file, bool names, struct pawl_error *error)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    unsigned count = 0;
    struct stat info;
    BIO *text = NULL;
    X509 *ca = NULL;
    enum pawl_status status = read_file("ca", file, &text, &info, error);

    while (status == PAWL_OK && (ca = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL) {
        if (X509_STORE_add_cert(store, ca) != 1 || (names && SSL_CTX_add_client_CA(ssl, ca) != 1)) {
            status = refuse_pem(error, "ca", file, "a certificate in it cannot be used");
        }
        /* What OpenSSL works out of it and keeps is there before threads share it. */
        (void)X509_check_purpose(ca, -1, 0);
        X509_free(ca);
        count++;
    }
    if (status == PAWL_OK &&
        (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)) {
        status = refuse_pem(error, "ca", file,
                            count == 0 ? "holds no PEM certificate"
                                       : "is damaged behind its first certificates");
    }
    ERR_clear_error();
    BIO_free(text);
    return status;
}

/* ---- contexts ------------------------------------------------------------------------------ */

static bool set_policy(SSL_CTX *ssl)
{
    X509_VERIFY_PARAM *verify = SSL_CTX_get0_param(ssl);
    char groups[] = GROUPS; /* the macro below casts a const away, which clang does not like */

    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                       SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Every connection shows its certificate and is judged anew: nothing is resumed. */
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_security_level(ssl, 2);
    SSL_CTX_set_verify_depth(ssl, VERIFY_DEPTH);
    /* What the file names is what is trusted, an intermediate CA too. */
    (void)X509_VERIFY_PARAM_set_flags(verify, X509_V_FLAG_PARTIAL_CHAIN);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ssl, 0) == 1 && SSL_CTX_set_max_early_data(ssl, 0) == 1 &&
           SSL_CTX_set1_groups_list(ssl, groups) == 1 &&
           SSL_CTX_set_ciphersuites(ssl, CIPHERS) == 1;
}

static struct pawl_tls_context *context_make(const SSL_METHOD *method, struct pawl_error *error)
{
    struct pawl_tls_context *context = calloc(1, sizeof(*context));

    if (context != NULL) {
        atomic_init(&context->refs, 1);
        context->ssl = SSL_CTX_new(method);
    }
    if (context == NULL || context->ssl == NULL || !set_policy(context->ssl)) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        ERR_clear_error();
        (void)pawl_error_set(error, PAWL_ENOMEM, 0, "no TLS context: %s",
                             reason != NULL ? reason : "out of memory");
        pawl_tls_context_unref(context);
        return NULL;
    }
    return context;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static enum pawl_status ask_clients(SSL_CTX *ssl, const struct pawl_tls_server_options *options,
                                    struct pawl_error *error)
{
    int mode = SSL_VERIFY_PEER;

    if (options->client_auth == PAWL_TLS_CLIENT_AUTH_NONE) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
        return PAWL_OK;
    }
    if (!is_given(options->ca)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "client certificates are asked for, and nobody is trusted to sign "
                              "them; set tls.ca");
    }
    if (options->client_auth == PAWL_TLS_CLIENT_AUTH_REQUIRED) {
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    SSL_CTX_set_verify(ssl, mode, NULL);
    return use_ca(ssl, options->ca, true, error);
}

enum pawl_status pawl_tls_server_context(const struct pawl_tls_server_options *options,
                                         struct pawl_tls_context **context,
                                         struct pawl_tls_report *report, struct pawl_error *error)
{
    struct pawl_tls_report unused;
    struct pawl_tls_context *made = NULL;
    enum pawl_status status;

    *context = NULL;
    if (report == NULL) {
        report = &unused;
    }
    memset(report, 0, sizeof(*report));
    ERR_clear_error();
    made = context_make(TLS_server_method(), error);
    if (made == NULL) {
        return PAWL_ENOMEM;
    }
    status = use_certificate(made, options->certificate, report, error);
    status = status != PAWL_OK ? status
                               : use_key(made, options->key, options->certificate, report, error);
    status = status != PAWL_OK ? status : ask_clients(made->ssl, options, error);
    if (status != PAWL_OK) {
        pawl_tls_context_unref(made);
        return status;
    }
    *context = made;
    return PAWL_OK;
}

static enum pawl_status trust_system(SSL_CTX *ssl, struct pawl_error *error)
{
    if (SSL_CTX_set_default_verify_paths(ssl) != 1) {
        ERR_clear_error();
        return pawl_error_set(error, PAWL_ENOENT, 0,
                              "the system has no list of trusted CAs; install ca-certificates or "
                              "name a CA file");
    }
    return PAWL_OK;
}

enum pawl_status pawl_tls_client_context(const struct pawl_tls_client_options *options,
                                         struct pawl_tls_context **context,
                                         struct pawl_tls_report *report, struct pawl_error *error)
{
    struct pawl_tls_report unused;
    struct pawl_tls_context *made = NULL;
    enum pawl_status status;

    *context = NULL;
    if (report == NULL) {
        report = &unused;
    }
    memset(report, 0, sizeof(*report));
    if (is_given(options->certificate) != is_given(options->key)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "a client certificate and its key are given together, or neither");
    }
    ERR_clear_error();
    made = context_make(TLS_client_method(), error);
    if (made == NULL) {
        return PAWL_ENOMEM;
    }
    SSL_CTX_set_verify(made->ssl, SSL_VERIFY_PEER, NULL);
    status = is_given(options->ca) ? use_ca(made->ssl, options->ca, false, error)
                                   : trust_system(made->ssl, error);
    if (status == PAWL_OK && is_given(options->certificate)) {
        status = use_certificate(made, options->certificate, report, error);
        status = status != PAWL_OK
                     ? status
                     : use_key(made, options->key, options->certificate, report, error);
    }
    if (status != PAWL_OK) {
        pawl_tls_context_unref(made);
        return status;
    }
    *context = made;
    return PAWL_OK;
}

struct pawl_tls_context *pawl_tls_context_ref(struct pawl_tls_context *context)
{
    (void)atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void pawl_tls_context_unref(struct pawl_tls_context *context)
{
    if (context != NULL &&
        atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) == 1) {
        SSL_CTX_free(context->ssl);
        free(context);
    }
}

int64_t pawl_tls_context_expires_s(const struct pawl_tls_context *context)
{
    return context->not_after_s;
}

bool pawl_tls_context_trusts(struct pawl_tls_context *context, const SSL *peer)
{
    X509 *certificate = SSL_get0_peer_certificate(peer);
    X509_STORE_CTX *chain = NULL;
    bool good = certificate == NULL;

    if (certificate != NULL) {
        chain = X509_STORE_CTX_new();
    }
    if (chain != NULL &&
        X509_STORE_CTX_init(chain, SSL_CTX_get_cert_store(context->ssl), certificate,
                            SSL_get_peer_cert_chain(peer)) == 1 &&
        X509_STORE_CTX_set_default(chain, "ssl_client") == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(chain);

        X509_VERIFY_PARAM_set_depth(param, VERIFY_DEPTH);
        X509_VERIFY_PARAM_set_auth_level(param, 2);
        (void)X509_VERIFY_PARAM_set_flags(param,
                                          X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
        good = X509_verify_cert(chain) == 1;
    }
    X509_STORE_CTX_free(chain);
    ERR_clear_error();
    return good;
}
