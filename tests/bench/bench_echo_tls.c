/*
 * The baseline of the bench over TLS 1.3: an echo server of libuv and OpenSSL's memory BIOs, with
 * none of pawld's own code in it.
 *
 * Every Q bytes that arrive are answered with R bytes, as bench_echo does.
 *
 * usage: bench_echo_tls HOST:PORT CERTIFICATE KEY Q R
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define READ_BYTES  65536
#define REPLY_RATIO 8 /* a reply is at most so many times its request */

struct session {
    uv_tcp_t peer;
    SSL *ssl;
    BIO *in;
    BIO *out;
    size_t rest; /* bytes of an unfinished request */
};

struct late_write {
    uv_write_t request;
    char bytes[];
};

static char cipher[READ_BYTES];
static char plain[READ_BYTES * REPLY_RATIO];
static size_t request_bytes;
static size_t reply_bytes;
static SSL_CTX *context;

static void need(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench_echo_tls: %s\n", what);
        ERR_print_errors_fp(stderr);
        exit(1);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;

    SSL_free(session->ssl); /* and both BIOs */
    free(session);
}

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void flush(struct session *session)
{
    char *bytes = NULL;
    long size = BIO_get_mem_data(session->out, &bytes);
    uv_buf_t buffer;
    int sent;

    if (size <= 0) {
        return;
    }
    buffer = uv_buf_init(bytes, (unsigned)size);
    sent = uv_try_write((uv_stream_t *)&session->peer, &buffer, 1);
    sent = sent < 0 ? 0 : sent;
    if (sent < size) {
        struct late_write *late = malloc(sizeof(*late) + (size_t)(size - sent));

        need(late != NULL, "out of memory");
        memcpy(late->bytes, bytes + sent, (size_t)(size - sent));
        buffer = uv_buf_init(late->bytes, (unsigned)(size - sent));
        need(uv_write(&late->request, (uv_stream_t *)&session->peer, &buffer, 1, on_written) == 0,
             "write");
    }
    (void)BIO_reset(session->out);
}

static void answer(struct session *session, size_t got)
{
    size_t frames = (session->rest + got) / request_bytes;

    session->rest = (session->rest + got) % request_bytes;
    if (frames > 0) {
        (void)SSL_write(session->ssl, plain, (int)(frames * reply_bytes));
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(cipher, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct session *session = stream->data;
    size_t total = 0;
    int size;

    if (got < 0) {
        uv_close((uv_handle_t *)&session->peer, on_closed);
        return;
    }
    (void)BIO_write(session->in, buffer->base, (int)got);
    while ((size = SSL_read(session->ssl, plain, READ_BYTES)) > 0) {
        total += (size_t)size;
    }
    if (total > 0) {
        answer(session, total);
    }
    flush(session);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct session *session = calloc(1, sizeof(*session));

    need(status == 0 && session != NULL, "accept");
    need(uv_tcp_init(listener->loop, &session->peer) == 0, "socket");
    session->peer.data = session;
    session->ssl = SSL_new(context);
    session->in = BIO_new(BIO_s_mem());
    session->out = BIO_new(BIO_s_mem());
    need(session->ssl != NULL && session->in != NULL && session->out != NULL, "session");
    (void)BIO_set_mem_eof_return(session->in, -1);
    (void)BIO_set_mem_eof_return(session->out, -1);
    SSL_set_bio(session->ssl, session->in, session->out);
    SSL_set_accept_state(session->ssl);
    need(uv_accept(listener, (uv_stream_t *)&session->peer) == 0, "accept");
    (void)uv_tcp_nodelay(&session->peer, 1);
    need(uv_read_start((uv_stream_t *)&session->peer, on_alloc, on_read) == 0, "read");
}

static void context_make(const char *certificate, const char *key)
{
    context = SSL_CTX_new(TLS_server_method());
    need(context != NULL, "context");
    need(SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1, "TLS 1.3");
    (void)SSL_CTX_set_num_tickets(context, 0);
    need(SSL_CTX_use_certificate_chain_file(context, certificate) == 1, certificate);
    need(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1, key);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    uv_tcp_t listener;
    char *colon;

    if (argc != 6 || (colon = strrchr(argv[1], ':')) == NULL) {
        fputs("usage: bench_echo_tls HOST:PORT CERTIFICATE KEY Q R\n", stderr);
        return 2;
    }
    *colon = '\0';
    request_bytes = strtoul(argv[4], NULL, 10);
    reply_bytes = strtoul(argv[5], NULL, 10);
    need(request_bytes > 0 && reply_bytes <= request_bytes * REPLY_RATIO, "sizes of the frames");
    (void)signal(SIGPIPE, SIG_IGN);
    context_make(argv[2], argv[3]);
    need(uv_ip4_addr(argv[1], (int)strtoul(colon + 1, NULL, 10), &address) == 0, argv[1]);
    need(uv_tcp_init(uv_default_loop(), &listener) == 0, "socket");
    need(uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0) == 0, "bind");
    need(uv_listen((uv_stream_t *)&listener, 1024, on_connection) == 0, "listen");
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
