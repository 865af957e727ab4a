/*
 * TLS under a connection, and who the handle says it is.
 *
 * A request counts as sent once it is encrypted, for its bytes cannot be taken back out of the
 * stream of records; so no more is encrypted than the socket has room for, a buffer of it aside.
 */
#include "private.h"

#include "adapter/tls/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENCRYPT_BYTES  65536 /* of requests, ahead of the socket */
#define RECEIVE_BYTES  16645 /* a record */
#define CREDENTIAL_MIN 16

/* ---- options ------------------------------------------------------------------------------- */

static int refuse(char *error, size_t size, const char *what, const char *which)
{
    if (error != NULL && size > 0) {
        (void)snprintf(error, size, "%s%.100s", what, which);
    }
    return PAWL_RC_INVALID;
}

static const char *or_environment(const char *given, const char *name)
{
    const char *text = given != NULL ? given : secure_getenv(name);

    return text != NULL && *text != '\0' ? text : NULL;
}

static bool wants_tls(const struct pawl_client *client)
{
    for (unsigned i = 0; i < client->text_count; i++) {
        if (client->texts[i].kind == PAWL_ADDRESS_TLS) {
            return true;
        }
    }
    return false;
}

static int open_context(struct pawl_client *client, const struct pawl_client_options *options,
                        char *error, size_t error_size)
{
    struct pawl_tls_client_options asked = {
        .ca = or_environment(options->tls_ca, "PAWL_TLS_CA"),
        .certificate = or_environment(options->tls_certificate, "PAWL_TLS_CERTIFICATE"),
        .key = or_environment(options->tls_key, "PAWL_TLS_KEY"),
    };
    struct pawl_error why = { .status = PAWL_OK };
    enum pawl_status status;

    if (!wants_tls(client) && ((client->flags & PAWL_CLIENT_ROUTE) == 0 ||
                               (asked.ca == NULL && asked.certificate == NULL))) {
        return PAWL_RC_OK; /* members of a fleet may be tls: where the first daemon is not */
    }
    if ((asked.certificate == NULL) != (asked.key == NULL)) {
        return refuse(error, error_size, "tls_certificate and tls_key go together", "");
    }
    if (options->tls_name != NULL && strlen(options->tls_name) >= sizeof(client->tls_name)) {
        return refuse(error, error_size, "tls_name: a host name has at most 253 bytes", "");
    }
    (void)snprintf(client->tls_name, sizeof(client->tls_name), "%s",
                   options->tls_name != NULL ? options->tls_name : "");
    status = pawl_tls_client_context(&asked, &client->tls_context, NULL, &why);
    if (status == PAWL_ENOMEM) {
        return PAWL_RC_NOMEM;
    }
    return status == PAWL_OK ? PAWL_RC_OK : refuse(error, error_size, why.text, "");
}

/* The first line of the file, without its end. */
static int read_credential(struct pawl_client *client, const char *path, char *error,
                           size_t error_size)
{
    uint8_t bytes[CLIENT_CREDENTIAL_MAX + 2];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : -1;

    if (fd >= 0) {
        (void)close(fd);
    }
    if (size < 0) {
        return refuse(error, error_size, "credential_file: cannot be read: ", path);
    }
    const uint8_t *end = memchr(bytes, '\n', (size_t)size);

    client->credential_size = end != NULL ? (size_t)(end - bytes) : (size_t)size;
    if (client->credential_size > 0 && bytes[client->credential_size - 1] == '\r') {
        client->credential_size--;
    }
    if (client->credential_size > CLIENT_CREDENTIAL_MAX) {
        client->credential_size = 0;
        explicit_bzero(bytes, sizeof(bytes));
        return refuse(error, error_size, "credential_file: a secret has at most 512 bytes: ", path);
    }
    memcpy(client->credential, bytes, client->credential_size);
    explicit_bzero(bytes, sizeof(bytes));
    return PAWL_RC_OK;
}

static int open_credential(struct pawl_client *client, const struct pawl_client_options *options,
                           char *error, size_t error_size)
{
    const char *id = or_environment(options->credential_id, "PAWL_CREDENTIAL_ID");
    const char *path = or_environment(options->credential_file, "PAWL_CREDENTIAL_FILE");
    int rc = PAWL_RC_OK;

    if (id == NULL) {
        return options->credential.size > 0 || options->credential_file != NULL
                   ? refuse(error, error_size, "a credential needs credential_id", "")
                   : PAWL_RC_OK;
    }
    if (strlen(id) >= sizeof(client->credential_id)) {
        return refuse(error, error_size, "credential_id: at most 128 bytes", "");
    }
    (void)snprintf(client->credential_id, sizeof(client->credential_id), "%s", id);
    if (options->credential.size > CLIENT_CREDENTIAL_MAX) {
        return refuse(error, error_size, "credential: a secret has at most 512 bytes", "");
    }
    if (options->credential.size > 0) {
        client->credential_size = options->credential.size;
        memcpy(client->credential, options->credential.data, options->credential.size);
    } else if (path != NULL) {
        rc = read_credential(client, path, error, error_size);
    }
    if (rc == PAWL_RC_OK && client->credential_size < CREDENTIAL_MIN) {
        return refuse(error, error_size, "credential: a secret has at least 16 bytes", "");
    }
    return rc;
}

int pawl_client_secure_open(struct pawl_client *client, const struct pawl_client_options *options,
                            char *error, size_t error_size)
{
    int rc = open_context(client, options, error, error_size);

    return rc == PAWL_RC_OK ? open_credential(client, options, error, error_size) : rc;
}

void pawl_client_secure_close(struct pawl_client *client)
{
    pawl_tls_context_unref(client->tls_context);
    client->tls_context = NULL;
    explicit_bzero(client->credential, sizeof(client->credential));
    client->credential_size = 0;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    return address->ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

bool pawl_client_may_tell_to(const struct pawl_client *client, const struct pawl_address *address,
                             const struct sockaddr_storage *to)
{
    return address->kind != PAWL_ADDRESS_TCP || is_loopback(to) ||
           (client->flags & PAWL_CLIENT_INSECURE) != 0;
}

bool pawl_client_may_tell(const struct pawl_client *client, const struct conn *conn)
{
    const struct endpoint *to = &client->endpoints[conn->endpoint % CLIENT_ENDPOINTS_MAX];

    if (client->connect != NULL || pawl_client_is_direct(client, conn) || /* it was looked at */
        conn->endpoint >= client->endpoint_count) {
        return true;
    }
    return pawl_client_may_tell_to(client, &client->texts[to->text], &to->address);
}

/* ---- the handshake ------------------------------------------------------------------------- */

static void fail(struct pawl_client *client, struct conn *conn, const char *text)
{
    pawl_client_conn_error(client, conn->endpoint, text);
    pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
}

bool pawl_client_secure_begin(struct pawl_client *client, struct conn *conn, const char *host)
{
    const char *name = client->tls_name[0] != '\0' ? client->tls_name : host;

    conn->tls = pawl_tls_ops.connect(client->tls_context, name);
    if (conn->tls == NULL) {
        fail(client, conn, "no memory for TLS");
        return false;
    }
    conn->state = CONN_SECURING;
    pawl_client_secure_step(client, conn);
    return conn->state != CONN_NONE;
}

void pawl_client_secure_step(struct pawl_client *client, struct conn *conn)
{
    uint8_t bytes[RECEIVE_BYTES];
    ssize_t got;

    while ((got = recv(conn->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        if (pawl_tls_ops.give(conn->tls, bytes, (size_t)got) != PAWL_OK ||
            pawl_tls_ops.state(conn->tls) != PAWL_TLS_HANDSHAKING) {
            break;
        }
    }
    if (pawl_tls_ops.state(conn->tls) == PAWL_TLS_FAILED) {
        (void)pawl_client_secure_flush(conn); /* the alert says to the daemon why */
        fail(client, conn, pawl_tls_ops.failure(conn->tls));
        return;
    }
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) ||
        pawl_client_secure_flush(conn) < 0) {
        fail(client, conn, "closed during the TLS handshake; is a tls: listener there?");
        return;
    }
    if (pawl_tls_ops.state(conn->tls) == PAWL_TLS_OPEN) {
        pawl_client_conn_ready(client, conn);
    }
}

bool pawl_client_secure_is_refused(const struct conn *conn)
{
    const char *why = pawl_tls_ops.failure(conn->tls);

    return !conn->heard && strstr(why, " alert ") != NULL &&
           (strstr(why, "certificate") != NULL || strstr(why, "unknown ca") != NULL);
}

/* ---- bytes --------------------------------------------------------------------------------- */

int pawl_client_secure_flush(struct conn *conn)
{
    conn->blocked = false;
    for (;;) {
        struct pawl_bytes next = pawl_tls_ops.peek(conn->tls);
        ssize_t sent;

        if (next.size == 0) {
            return 1;
        }
        sent = send(conn->fd, next.data, next.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            pawl_tls_ops.sent(conn->tls, (size_t)sent);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            conn->blocked = true;
            return 0;
        } else if (errno != EINTR) {
            return -1;
        }
    }
}

ssize_t pawl_client_secure_send(struct conn *conn, const struct iovec *iov, unsigned count)
{
    size_t taken = 0;
    int flushed = pawl_client_secure_flush(conn);

    if (flushed <= 0) {
        errno = flushed == 0 ? EAGAIN : errno;
        return -1;
    }
    for (unsigned i = 0; i < count && taken < ENCRYPT_BYTES; i++) {
        if (pawl_tls_ops.write(conn->tls, iov[i].iov_base, iov[i].iov_len) != PAWL_OK) {
            errno = ECONNRESET;
            return -1;
        }
        taken += iov[i].iov_len;
    }
    if (pawl_client_secure_flush(conn) < 0) {
        return -1;
    }
    return (ssize_t)taken;
}

ssize_t pawl_client_secure_receive(struct conn *conn, uint8_t *out, size_t room)
{
    uint8_t bytes[RECEIVE_BYTES];
    size_t size = pawl_tls_ops.read(conn->tls, out, room);

    while (size == 0 && pawl_tls_ops.state(conn->tls) == PAWL_TLS_OPEN) {
        ssize_t got = recv(conn->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (got <= 0) {
            return got;
        }
        if (pawl_tls_ops.give(conn->tls, bytes, (size_t)got) != PAWL_OK) {
            errno = ENOMEM;
            return -1;
        }
        size = pawl_tls_ops.read(conn->tls, out, room);
    }
    if (pawl_tls_ops.pending(conn->tls) > 0 && pawl_client_secure_flush(conn) < 0) {
        return -1; /* an answer to a key update, or an alert */
    }
    return (ssize_t)size; /* 0: the daemon said that it closes, or the stream is broken */
}
