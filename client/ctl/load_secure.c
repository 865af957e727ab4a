#include "load_secure.h"

#include "adapter/tls/tls.h"
#include "memory.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define READ_BYTES 65536

struct load_secure {
    struct pawl_tls_context *context;
    const char *name;
};

struct load_secure_conn {
    struct pawl_tls_connection *tls;
    int fd;
    uint8_t in[READ_BYTES];
};

struct load_secure *load_secure_create(const struct load_secure_options *options, char *error,
                                       size_t error_size)
{
    struct pawl_tls_client_options asked = { options->ca, options->certificate, options->key };
    struct pawl_error why = { .status = PAWL_OK };
    struct load_secure *secure = memory_zeroed(1, sizeof(*secure));

    secure->name = options->name;
    if (pawl_tls_client_context(&asked, &secure->context, NULL, &why) != PAWL_OK) {
        snprintf(error, error_size, "%s", why.text);
        memory_release(secure);
        return NULL;
    }
    return secure;
}

void load_secure_destroy(struct load_secure *secure)
{
    if (secure != NULL) {
        pawl_tls_context_unref(secure->context);
        memory_release(secure);
    }
}

static bool flush(struct load_secure_conn *conn)
{
    for (;;) {
        struct pawl_bytes next = pawl_tls_ops.peek(conn->tls);
        ssize_t sent;

        if (next.size == 0) {
            return true;
        }
        sent = send(conn->fd, next.data, next.size, MSG_NOSIGNAL);
        if (sent > 0) {
            pawl_tls_ops.sent(conn->tls, (size_t)sent);
        } else if (errno != EINTR) {
            return false;
        }
    }
}

static bool wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd wait = { fd, events, 0 };

    return poll(&wait, 1, timeout_ms) == 1;
}

static bool handshake(struct load_secure_conn *conn, int timeout_ms)
{
    while (pawl_tls_ops.state(conn->tls) == PAWL_TLS_HANDSHAKING) {
        ssize_t got;

        if ((!flush(conn) && errno != EAGAIN) || !wait_for(conn->fd, POLLIN, timeout_ms)) {
            return false;
        }
        got = recv(conn->fd, conn->in, sizeof(conn->in), 0);
        if (got <= 0 || pawl_tls_ops.give(conn->tls, conn->in, (size_t)got) != PAWL_OK) {
            return false;
        }
    }
    return flush(conn) && pawl_tls_ops.state(conn->tls) == PAWL_TLS_OPEN;
}

struct load_secure_conn *load_secure_connect(struct load_secure *secure, int fd, int timeout_ms,
                                             char *error, size_t error_size)
{
    struct load_secure_conn *conn = memory_zeroed(1, sizeof(*conn));

    conn->fd = fd;
    conn->tls = pawl_tls_ops.connect(secure->context, secure->name);
    if (conn->tls != NULL && handshake(conn, timeout_ms)) {
        return conn;
    }
    snprintf(error, error_size, "TLS: %s",
             conn->tls != NULL && pawl_tls_ops.state(conn->tls) == PAWL_TLS_FAILED
                 ? pawl_tls_ops.failure(conn->tls)
                 : "no handshake; is a tls: listener there?");
    load_secure_close(conn);
    return NULL;
}

void load_secure_close(struct load_secure_conn *conn)
{
    if (conn != NULL) {
        pawl_tls_ops.close(conn->tls);
        memory_release(conn);
    }
}

ssize_t load_secure_send(struct load_secure_conn *conn, const void *bytes, size_t size)
{
    if (!flush(conn)) {
        return -1;
    }
    if (pawl_tls_ops.write(conn->tls, bytes, size) != PAWL_OK) {
        errno = ECONNRESET;
        return -1;
    }
    if (!flush(conn) && errno != EAGAIN) {
        return -1;
    }
    return (ssize_t)size;
}

bool load_secure_waits(const struct load_secure_conn *conn)
{
    return pawl_tls_ops.pending(conn->tls) > 0;
}

ssize_t load_secure_recv(struct load_secure_conn *conn, void *out, size_t room)
{
    size_t size = pawl_tls_ops.read(conn->tls, out, room);

    while (size == 0 && pawl_tls_ops.state(conn->tls) == PAWL_TLS_OPEN) {
        ssize_t got = recv(conn->fd, conn->in, sizeof(conn->in), 0);

        if (got <= 0) {
            return got;
        }
        if (pawl_tls_ops.give(conn->tls, conn->in, (size_t)got) != PAWL_OK) {
            errno = ENOMEM;
            return -1;
        }
        size = pawl_tls_ops.read(conn->tls, out, room);
    }
    return (ssize_t)size;
}
