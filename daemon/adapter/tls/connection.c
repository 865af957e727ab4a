#include "adapter/tls/connection.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/tls/context.h"

#define CHUNK_BYTES 2048 /* most replies of one turn fit; a larger record gets its own */

/* SSL_get_error() wants the thread's queue of errors empty before each call. It nearly always is,
 * and clearing it all the same costs as much as a small record. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

/* ---- the BIO between OpenSSL and our bytes ------------------------------------------------- */

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void fail(struct pawl_tls_connection *connection, const char *why)
{
    if (connection->state != PAWL_TLS_FAILED) {
        connection->state = PAWL_TLS_FAILED;
        (void)snprintf(connection->failure, sizeof(connection->failure), "%s", why);
    }
}

static bool has_too_many_updates(const struct pawl_tls_connection *connection)
{
    return connection->key_updates >
           PAWL_TLS_KEY_UPDATES_MAX + connection->read_bytes / ((uint64_t)64 * 1024);
}

static int bio_read(BIO *bio, char *out, size_t room, size_t *size)
{
    struct pawl_tls_connection *connection = BIO_get_data(bio);
    size_t there = connection->in_size - connection->in_start;

    BIO_clear_retry_flags(bio);
    *size = 0;
    if (has_too_many_updates(connection)) {
        return 0; /* each costs us more than it costs the peer */
    }
    if (there == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *size = there < room ? there : room;
    memcpy(out, connection->in + connection->in_start, *size);
    connection->in_start += *size;
    if (connection->in_start == connection->in_size) {
        free(connection->in);
        connection->in = NULL;
        connection->in_start = 0;
        connection->in_size = 0;
    }
    return 1;
}

static struct pawl_tls_chunk *chunk_for(struct pawl_tls_connection *connection, size_t size)
{
    struct pawl_tls_chunk *chunk = connection->out_last;

    if (chunk != NULL && chunk->capacity - chunk->used >= size) {
        return chunk;
    }
    size = size > CHUNK_BYTES ? size : CHUNK_BYTES;
    chunk = malloc(sizeof(*chunk) + size);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->next = NULL;
    chunk->capacity = size;
    chunk->start = 0;
    chunk->used = 0;
    if (connection->out_last == NULL) {
        connection->out = chunk;
    } else {
        connection->out_last->next = chunk;
    }
    connection->out_last = chunk;
    return chunk;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *written)
{
    struct pawl_tls_connection *connection = BIO_get_data(bio);
    struct pawl_tls_chunk *chunk = NULL;

    BIO_clear_retry_flags(bio);
    *written = 0;
    if (!connection->drowned && size <= PAWL_TLS_OUT_MAX - connection->out_bytes) {
        chunk = chunk_for(connection, size);
    }
    if (chunk == NULL) {
        connection->drowned = true; /* half a record must not be followed by another */
        return 0;
    }
    memcpy(chunk->data + chunk->used, data, size);
    chunk->used += size;
    connection->out_bytes += size;
    *written = size;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static void bio_method_make(void)
{
    int type = BIO_get_new_index();

    bio_method = BIO_meth_new((type & 0xff) | BIO_TYPE_SOURCE_SINK, "pawl");
    if (bio_method != NULL) {
        (void)BIO_meth_set_read_ex(bio_method, bio_read);
        (void)BIO_meth_set_write_ex(bio_method, bio_write);
        (void)BIO_meth_set_ctrl(bio_method, bio_control);
        (void)BIO_meth_set_create(bio_method, bio_create);
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

static void on_message(int is_written, int version, int type, const void *data, size_t size,
                       SSL *ssl, void *argument)
{
    struct pawl_tls_connection *connection = argument;

    (void)version;
    (void)ssl;
    if (!is_written && type == SSL3_RT_HANDSHAKE && size > 0 &&
        *(const uint8_t *)data == SSL3_MT_KEY_UPDATE) {
        connection->key_updates++;
    }
}

static void close_connection(struct pawl_tls_connection *connection)
{
    if (connection == NULL) {
        return;
    }
    SSL_free(connection->ssl);
    pawl_tls_context_unref(connection->context);
    free(connection->in);
    while (connection->out != NULL) {
        struct pawl_tls_chunk *chunk = connection->out;

        connection->out = chunk->next;
        free(chunk);
    }
    free(connection);
}

static struct pawl_tls_connection *open_connection(struct pawl_tls_context *context)
{
    struct pawl_tls_connection *connection = NULL;
    BIO *bio = NULL;

    (void)pthread_once(&bio_once, bio_method_make);
    if (bio_method == NULL) {
        return NULL;
    }
    connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        return NULL;
    }
    connection->context = pawl_tls_context_ref(context);
    connection->ssl = SSL_new(context->ssl);
    bio = BIO_new(bio_method);
    if (connection->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        close_connection(connection);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, connection);
    SSL_set_bio(connection->ssl, bio, bio);
    SSL_set_msg_callback(connection->ssl, on_message);
    SSL_set_msg_callback_arg(connection->ssl, connection);
    return connection;
}

static void handshake(struct pawl_tls_connection *connection);

static struct pawl_tls_connection *accept_connection(struct pawl_tls_context *context)
{
    struct pawl_tls_connection *connection = open_connection(context);

    if (connection != NULL) {
        SSL_set_accept_state(connection->ssl);
    }
    return connection;
}

/** Expect the certificate to be for @name (RFC 9525: its SANs, never its subject). */
static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct in6_addr v6;
    struct in_addr v4;
    char number[INET6_ADDRSTRLEN + 1];
    size_t size = strcspn(name, "%"); /* a zone says how to get there, not who is there */

    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (size < sizeof(number)) {
        memcpy(number, name, size);
        number[size] = '\0';
        if (inet_pton(AF_INET, number, &v4) == 1 || inet_pton(AF_INET6, number, &v6) == 1) {
            return X509_VERIFY_PARAM_set1_ip_asc(param, number) == 1;
        }
    }
    return name[0] != '\0' && SSL_set1_host(ssl, name) == 1 &&
           /* SSL_set_tlsext_host_name(), whose cast clang does not like. */
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)name) == 1;
}

static struct pawl_tls_connection *connect_connection(struct pawl_tls_context *context,
                                                      const char *name)
{
    struct pawl_tls_connection *connection = open_connection(context);

    if (connection == NULL) {
        return NULL;
    }
    SSL_set_connect_state(connection->ssl);
    if (!expect_name(connection->ssl, name)) {
        ERR_clear_error();
        fail(connection, "the name to check the server's certificate for is none");
        return connection;
    }
    handshake(connection); /* the first flight */
    return connection;
}

/* ---- what went wrong ----------------------------------------------------------------------- */

static void fail_by_openssl(struct pawl_tls_connection *connection)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    long verify = SSL_get_verify_result(connection->ssl);
    char text[sizeof(connection->failure)];

    if (connection->drowned) {
        fail(connection, "more to be sent than the ceiling permits, or out of memory");
    } else if (has_too_many_updates(connection)) {
        fail(connection, "too many key updates");
    } else if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
        (void)snprintf(text, sizeof(text), "certificate: %s",
                       X509_verify_cert_error_string(verify));
        fail(connection, text);
    } else {
        fail(connection, reason != NULL ? reason : "not TLS, or broken off");
    }
    ERR_clear_error();
}

/** After a call of OpenSSL that did not give what was asked. */
static void note_result(struct pawl_tls_connection *connection, int result)
{
    switch (SSL_get_error(connection->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: /* our BIO never says so */
        return;
    case SSL_ERROR_ZERO_RETURN:
        connection->state = PAWL_TLS_PEER_DONE;
        return;
    default:
        fail_by_openssl(connection);
    }
}

static void handshake(struct pawl_tls_connection *connection)
{
    int result;

    forget_errors();
    result = SSL_do_handshake(connection->ssl);
    if (result == 1) {
        connection->state = PAWL_TLS_OPEN;
        return;
    }
    note_result(connection, result);
    if (connection->state == PAWL_TLS_PEER_DONE) {
        fail(connection, "closed by the peer during the handshake");
    }
}

/* ---- bytes --------------------------------------------------------------------------------- */

static enum pawl_status give(struct pawl_tls_connection *connection, const uint8_t *bytes,
                             size_t size)
{
    size_t there = connection->in_size - connection->in_start;
    uint8_t *in;

    if (connection->state == PAWL_TLS_FAILED || connection->state == PAWL_TLS_PEER_DONE) {
        return PAWL_OK; /* nobody will read it */
    }
    if (size > 0) {
        if (size > PAWL_TLS_IN_MAX - there || (in = malloc(there + size)) == NULL) {
            fail(connection, "out of memory for what came");
            return PAWL_ENOMEM;
        }
        if (there > 0) {
            memcpy(in, connection->in + connection->in_start, there);
        }
        memcpy(in + there, bytes, size);
        free(connection->in);
        connection->in = in;
        connection->in_start = 0;
        connection->in_size = there + size;
    }
    if (connection->state == PAWL_TLS_HANDSHAKING) {
        handshake(connection);
    }
    return PAWL_OK;
}

static size_t read_bytes(struct pawl_tls_connection *connection, uint8_t *out, size_t room)
{
    size_t total = 0;

    if (connection->state != PAWL_TLS_OPEN) {
        return 0;
    }
    forget_errors();
    while (total < room) {
        size_t size = 0;
        int result = SSL_read_ex(connection->ssl, out + total, room - total, &size);

        if (result != 1) {
            note_result(connection, result);
            break;
        }
        total += size;
        connection->read_bytes += size;
        /* To ask again where nothing is left costs as much as a small record. */
        if (connection->in == NULL && SSL_has_pending(connection->ssl) == 0) {
            break;
        }
    }
    return total;
}

static enum pawl_status write_bytes(struct pawl_tls_connection *connection, const uint8_t *bytes,
                                    size_t size)
{
    size_t written = 0;
    int result;

    if (connection->finished ||
        (connection->state != PAWL_TLS_OPEN && connection->state != PAWL_TLS_PEER_DONE)) {
        return PAWL_ECONN;
    }
    if (size == 0) {
        return PAWL_OK;
    }
    forget_errors();
    result = SSL_write_ex(connection->ssl, bytes, size, &written);
    if (result == 1 && written == size) {
        return PAWL_OK;
    }
    fail_by_openssl(connection);
    return connection->drowned ? PAWL_ENOMEM : PAWL_ECONN;
}

static size_t pending(const struct pawl_tls_connection *connection)
{
    return connection->out_bytes;
}

static struct pawl_bytes peek(const struct pawl_tls_connection *connection)
{
    const struct pawl_tls_chunk *first = connection->out;
    struct pawl_bytes none = { NULL, 0 };

    return first == NULL
               ? none
               : (struct pawl_bytes){ first->data + first->start, first->used - first->start };
}

static void sent(struct pawl_tls_connection *connection, size_t size)
{
    while (connection->out != NULL) {
        struct pawl_tls_chunk *first = connection->out;
        size_t here = first->used - first->start;

        if (size < here) {
            first->start += size;
            connection->out_bytes -= size;
            return;
        }
        size -= here;
        connection->out_bytes -= here;
        connection->out = first->next;
        free(first);
    }
    connection->out_last = NULL;
}

static void finish(struct pawl_tls_connection *connection)
{
    if (!connection->finished && !connection->drowned &&
        (connection->state == PAWL_TLS_OPEN || connection->state == PAWL_TLS_PEER_DONE)) {
        connection->finished = true;
        forget_errors();
        (void)SSL_shutdown(connection->ssl);
        ERR_clear_error();
    }
}

static bool is_partial(const struct pawl_tls_connection *connection)
{
    /* Between a header and its body nothing counts as pending. */
    return SSL_has_pending(connection->ssl) == 1 || connection->in_size > connection->in_start ||
           strcmp(SSL_rstate_string(connection->ssl), "RB") == 0;
}

/* ---- who the peer is ----------------------------------------------------------------------- */

/** A name as "kind:text", or nothing where it holds what no name holds. */
static void add_san(struct pawl_tls_peer *peer, const char *kind, const unsigned char *text,
                    size_t size, bool fold)
{
    char *out = peer->sans[peer->san_count];
    size_t used = strlen(kind);

    if (size == 0 || used + size >= PAWL_TLS_SAN_MAX) {
        return; /* half a name would be another name */
    }
    memcpy(out, kind, used);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = text[i];

        if (byte <= ' ' || byte >= 0x7f) {
            out[0] = '\0';
            return; /* "a.example\0.evil" is not a.example */
        }
        out[used++] = (char)(fold && byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
    }
    out[used] = '\0';
    peer->san_count++;
}

static void add_general_name(struct pawl_tls_peer *peer, const GENERAL_NAME *name)
{
    int type = 0;
    const ASN1_STRING *text = GENERAL_NAME_get0_value(name, &type);
    char number[INET6_ADDRSTRLEN];
    const unsigned char *data;
    int size;

    if (type != GEN_DNS && type != GEN_URI && type != GEN_EMAIL && type != GEN_IPADD) {
        return;
    }
    data = ASN1_STRING_get0_data(text);
    size = ASN1_STRING_length(text);
    if (type == GEN_DNS) {
        add_san(peer, "dns:", data, (size_t)size, true);
    } else if (type == GEN_URI) {
        add_san(peer, "uri:", data, (size_t)size, false);
    } else if (type == GEN_EMAIL) {
        add_san(peer, "email:", data, (size_t)size, false);
    } else if ((size == 4 || size == 16) &&
               inet_ntop(size == 4 ? AF_INET : AF_INET6, data, number, sizeof(number)) != NULL) {
        add_san(peer, "ip:", (const unsigned char *)number, strlen(number), false);
    }
}

static void take_issuer(const SSL *ssl, struct pawl_tls_peer *peer)
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int count = chain != NULL ? sk_X509_num(chain) : 0;

    if (count == 0 ||
        X509_digest(sk_X509_value(chain, count - 1), EVP_sha256(), digest, &size) != 1) {
        return;
    }
    for (unsigned i = 0; i < size && i < 32; i++) {
        (void)snprintf(peer->issuer_sha256 + (size_t)i * 2, 3, "%02x", digest[i]);
    }
}

static int64_t end_of(const X509 *certificate)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0;
    int seconds = 0;

    if (epoch != NULL) {
        (void)ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(certificate));
    }
    ASN1_TIME_free(epoch);
    return (int64_t)days * 86400 + seconds;
}

static void get_peer(const struct pawl_tls_connection *connection, struct pawl_tls_peer *peer)
{
    X509 *certificate = SSL_get0_peer_certificate(connection->ssl);
    GENERAL_NAMES *names;

    memset(peer, 0, sizeof(*peer));
    if (certificate == NULL || SSL_get_verify_result(connection->ssl) != X509_V_OK ||
        (connection->state != PAWL_TLS_OPEN && connection->state != PAWL_TLS_PEER_DONE)) {
        return;
    }
    peer->has_certificate = true;
    peer->not_after_s = end_of(certificate);
    take_issuer(connection->ssl, peer);
    names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && peer->san_count < PAWL_TLS_SANS_MAX; i++) {
        add_general_name(peer, sk_GENERAL_NAME_value(names, i));
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
}

static enum pawl_tls_state get_state(const struct pawl_tls_connection *connection)
{
    return connection->state;
}

static const char *get_failure(const struct pawl_tls_connection *connection)
{
    return connection->failure;
}

static bool is_trusted(const struct pawl_tls_connection *connection,
                       struct pawl_tls_context *context)
{
    return pawl_tls_context_trusts(context, connection->ssl);
}

const struct pawl_tls_ops pawl_tls_ops = {
    .accept = accept_connection,
    .connect = connect_connection,
    .close = close_connection,
    .state = get_state,
    .failure = get_failure,
    .peer = get_peer,
    .give = give,
    .read = read_bytes,
    .write = write_bytes,
    .pending = pending,
    .peek = peek,
    .sent = sent,
    .finish = finish,
    .is_partial = is_partial,
    .ref = pawl_tls_context_ref,
    .unref = pawl_tls_context_unref,
    .expires_s = pawl_tls_context_expires_s,
    .is_trusted = is_trusted,
};
