#include "edge/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ROLES_UNIX (PAWL_ROLE_CHECK | PAWL_ROLE_READ | PAWL_ROLE_REVOKE | PAWL_ROLE_ADMIN)
#define ROLES_ALL  (ROLES_UNIX | PAWL_ROLE_PEER)

#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES     3
#define LOCK_TRIES           50
#define LOCK_PAUSE_NS        20000000L

static enum pawl_status status_of_errno(int code)
{
    switch (code) {
    case EADDRINUSE:
        return PAWL_EBUSY;
    case EACCES:
    case EPERM:
        return PAWL_EPERM;
    case ENOENT:
    case ENOTDIR:
    case EADDRNOTAVAIL:
        return PAWL_ENOENT;
    case ENOMEM:
        return PAWL_ENOMEM;
    default:
        return PAWL_EIO;
    }
}

/** "@uri: @what: <the system's words>", and nothing left open. */
static enum pawl_status refuse_os(struct pawl_listener *listener, struct pawl_error *error,
                                  const char *what, const char *hint)
{
    int code = errno;
    char text[PAWL_ADDRESS_TEXT_MAX];

    (void)pawl_address_format(&listener->address, text, sizeof(text));
    if (listener->fd >= 0) {
        (void)close(listener->fd);
        listener->fd = -1;
    }
    return pawl_error_set(error, status_of_errno(code), code, "listen %s: %s: %s%s", text, what,
                          strerror(code), hint);
}

/* ---- Unix sockets ---- */

static socklen_t unix_name(const struct pawl_address *address, struct sockaddr_un *name)
{
    size_t size = strlen(address->path);
    size_t offset = address->is_abstract ? 1 : 0;

    memset(name, 0, sizeof(*name));
    name->sun_family = AF_UNIX;
    memcpy(name->sun_path + offset, address->path, size);
    /* An abstract name ends where the length says, a path with its NUL. */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
}

/** The folder of @path, at @out of PAWL_ADDRESS_PATH_MAX + 1 bytes. */
static void folder_of(const char *path, char *out)
{
    size_t size = strlen(path);

    while (size > 0 && path[size - 1] != '/') {
        size--;
    }
    if (size == 0) {
        memcpy(out, ".", 2);
        return;
    }
    size -= size > 1 ? 1 : 0;
    memcpy(out, path, size);
    out[size] = '\0';
}

/**
 * Lock the folder of the socket while it is looked at, replaced and bound, so that two daemons that
 * start at once do not both find it stale. Advisory and for a moment; a folder that somebody else
 * keeps locked for a second is used without. The descriptor, or -1 and errno.
 */
static int lock_folder(const char *path)
{
    char folder[PAWL_ADDRESS_PATH_MAX + 1];
    struct timespec pause = { 0, LOCK_PAUSE_NS };
    int fd;

    folder_of(path, folder);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        (void)nanosleep(&pause, NULL);
    }
    return fd;
}

/** Whether somebody answers on the socket: 1 yes, 0 no, -1 and errno. */
static int probe(const struct pawl_address *address)
{
    struct sockaddr_un name;
    socklen_t size = unix_name(address, &name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result;
    int code;

    if (fd < 0) {
        return -1;
    }
    result = connect(fd, (const struct sockaddr *)&name, size);
    code = errno;
    (void)close(fd);
    if (result == 0 || code == EAGAIN) { /* EAGAIN: alive, its queue is full */
        return 1;
    }
    errno = code;
    return code == ECONNREFUSED || code == ENOENT ? 0 : -1;
}

/** Make way at the path: remove a stale socket, refuse a live one and anything else. */
static enum pawl_status clear_path(struct pawl_listener *listener, struct pawl_error *error)
{
    const char *path = listener->address.path;
    struct stat info;
    int alive;

    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? PAWL_OK : refuse_os(listener, error, "the path", "");
    }
    if (!S_ISSOCK(info.st_mode)) {
        return pawl_error_set(error, PAWL_EPERM, 0,
                              "listen unix:%s: there is a file that is no socket; it was left "
                              "alone. Remove it or choose another path",
                              path);
    }
    alive = probe(&listener->address);
    if (alive > 0) {
        return pawl_error_set(error, PAWL_EBUSY, 0,
                              "listen unix:%s: a server answers there; stop it or choose another "
                              "path",
                              path);
    }
    if (alive < 0) {
        return refuse_os(listener, error, "the socket that is there", "");
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return refuse_os(listener, error, "remove the stale socket", "");
    }
    return PAWL_OK;
}

/** Bind and listen; the file has its mode before anybody can connect. */
static enum pawl_status bind_unix(struct pawl_listener *listener,
                                  const struct pawl_server_options *options, unsigned mode,
                                  struct pawl_error *error)
{
    const struct pawl_address *address = &listener->address;
    struct sockaddr_un name;
    socklen_t size = unix_name(address, &name);
    struct stat info;

    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        return refuse_os(listener, error, "socket", "");
    }
    /* Linux gives the file the mode of the unbound socket less the umask: never wider than asked,
     * from the first moment. The chmod below only gives back what the umask took. */
    if (!address->is_abstract && fchmod(listener->fd, mode) != 0) {
        return refuse_os(listener, error, "mode of the socket", "");
    }
    if (bind(listener->fd, (const struct sockaddr *)&name, size) != 0) {
        return refuse_os(listener, error, "bind",
                         errno == EADDRINUSE ? "; another server has this name" : "");
    }
    if (!address->is_abstract) {
        if (chmod(address->path, mode) != 0 || lstat(address->path, &info) != 0) {
            return refuse_os(listener, error, "mode of the socket", "");
        }
        listener->owns_path = true;
        listener->device = info.st_dev;
        listener->inode = info.st_ino;
        listener->has_group = true;
        listener->gid = info.st_gid;
    }
    if (listen(listener->fd, (int)options->listen_backlog) != 0) {
        enum pawl_status status = refuse_os(listener, error, "listen", "");

        pawl_listener_close(listener);
        return status;
    }
    return PAWL_OK;
}

static enum pawl_status open_unix(struct pawl_listener *listener,
                                  const struct pawl_server_options *options,
                                  const struct pawl_listen_options *listen_options,
                                  struct pawl_error *error)
{
    unsigned mode = listen_options->mode != 0 ? listen_options->mode : options->socket_mode;
    enum pawl_status status;
    int lock;

    if (listener->address.is_abstract) {
        return bind_unix(listener, options, mode, error);
    }
    lock = lock_folder(listener->address.path);
    if (lock < 0) {
        return refuse_os(listener, error, "its folder",
                         errno == ENOENT ? "; make the folder or choose another path" : "");
    }
    status = clear_path(listener, error);
    if (status == PAWL_OK) {
        status = bind_unix(listener, options, mode, error);
    }
    (void)close(lock);
    return status;
}

/* ---- TCP ---- */

static bool is_loopback(const struct sockaddr *name)
{
    if (name->sa_family == AF_INET) {
        struct sockaddr_in v4;

        memcpy(&v4, name, sizeof(v4));
        return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    }
    if (name->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;

        memcpy(&v6, name, sizeof(v6));
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            return v6.sin6_addr.s6_addr[12] == 127;
        }
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    }
    return false;
}

static void set_option(int fd, int level, int option, int value)
{
    /* A kernel without one of these serves all the same. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

/** Accepted sockets inherit these on Linux, so they cost no call for each connection. */
static void set_tcp_options(int fd, const struct pawl_server_options *options)
{
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* a restart need not wait for TIME_WAIT */
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* replies are written once, whole */
    if (options->keepalive_s > 0) {
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)options->keepalive_s);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    }
    if (options->tcp_user_timeout_ms > 0) {
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)options->tcp_user_timeout_ms);
    }
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);

    memset(&name, 0, sizeof(name));
    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0) {
        return 0;
    }
    if (name.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;

        memcpy(&v6, &name, sizeof(v6));
        return ntohs(v6.sin6_port);
    }
    if (name.ss_family == AF_INET) {
        struct sockaddr_in v4;

        memcpy(&v4, &name, sizeof(v4));
        return ntohs(v4.sin_port);
    }
    return 0;
}

static enum pawl_status bind_tcp(struct pawl_listener *listener, const struct addrinfo *info,
                                 const struct pawl_server_options *options, bool insecure,
                                 struct pawl_error *error)
{
    if (!insecure && !listener->is_tls && !is_loopback(info->ai_addr)) {
        return pawl_error_set(error, PAWL_EPERM, 0,
                              "listen tcp:%s:%u: beyond loopback anybody on the way could read "
                              "and change what is sent, and there is no TLS on it; listen on "
                              "tls: or 127.0.0.1, or write \"insecure: true\" beside the address",
                              listener->address.host, (unsigned)listener->address.port);
    }
    listener->fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        return refuse_os(listener, error, "socket", "");
    }
    set_tcp_options(listener->fd, options);
    if (info->ai_family == AF_INET6) {
        set_option(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); /* [::] means v6, 0.0.0.0 v4 */
    }
    if (bind(listener->fd, info->ai_addr, info->ai_addrlen) != 0) {
        return refuse_os(listener, error, "bind",
                         errno == EADDRINUSE ? "; stop the other server or choose another port"
                                             : "");
    }
    if (listen(listener->fd, (int)options->listen_backlog) != 0) {
        return refuse_os(listener, error, "listen", "");
    }
    listener->port = port_of(listener->fd);
    return PAWL_OK;
}

static void close_all(struct pawl_listener *listeners, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        pawl_listener_close(&listeners[i]);
    }
}

/** Every number of the host; one that this machine lacks is passed over if another is there. */
static enum pawl_status open_tcp(struct pawl_listener *listeners, unsigned capacity,
                                 unsigned *count, const struct pawl_server_options *options,
                                 bool insecure, struct pawl_error *error)
{
    const struct pawl_listener first = listeners[0];
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    enum pawl_status status = PAWL_OK;
    char port[8];
    int result;

    (void)snprintf(port, sizeof(port), "%u", (unsigned)first.address.port);
    result = getaddrinfo(first.address.host, port, &hints, &found);
    if (result != 0) {
        return pawl_error_set(error, PAWL_ENOENT, 0, "listen %s: host %s, port %s: %s",
                              first.is_tls ? "tls" : "tcp", first.address.host, port,
                              gai_strerror(result));
    }
    for (struct addrinfo *info = found; info != NULL && *count < capacity; info = info->ai_next) {
        struct pawl_listener *listener = &listeners[*count];

        *listener = first;
        status = bind_tcp(listener, info, options, insecure, error);
        if (status == PAWL_OK) {
            (*count)++;
        } else if (status != PAWL_ENOENT && status != PAWL_EIO) {
            break; /* in use, not permitted: these are never passed over */
        }
        if (first.address.port == 0 && *count > 0) {
            break; /* any free port: a second socket would get another one */
        }
    }
    freeaddrinfo(found);
    if (*count > 0 && (status == PAWL_ENOENT || status == PAWL_EIO)) {
        status = PAWL_OK;
    }
    if (status != PAWL_OK) {
        close_all(listeners, *count);
        *count = 0;
    }
    return status;
}

/* ---- both ---- */

/** A socket that a service manager opened: its file and its mode are the manager's. */
static enum pawl_status adopt(struct pawl_listener *listener,
                              const struct pawl_server_options *options, int fd,
                              struct pawl_error *error)
{
    int is_listening = 0;
    socklen_t size = sizeof(is_listening);
    struct stat info;

    listener->fd = fd;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 || !is_listening) {
        errno = EINVAL;
        return refuse_os(listener, error, "the socket passed in does not listen", "");
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        return refuse_os(listener, error, "the socket passed in", "");
    }
    listener->port = port_of(fd);
    if (listener->is_tcp) {
        set_tcp_options(fd, options);
    }
    if (!listener->is_tcp && !listener->address.is_abstract &&
        lstat(listener->address.path, &info) == 0) {
        listener->has_group = true;
        listener->gid = info.st_gid;
    }
    return PAWL_OK;
}

enum pawl_status pawl_listener_open(struct pawl_listener *listeners, unsigned capacity,
                                    unsigned *count, const struct pawl_server_options *options,
                                    const struct pawl_listen_options *listen_options,
                                    struct pawl_error *error)
{
    struct pawl_listener *first = &listeners[0];
    enum pawl_status status;

    *count = 0;
    if (capacity == 0) {
        return pawl_error_set(error, PAWL_EFULL, 0, "listen %s: too many addresses",
                              listen_options->uri);
    }
    memset(first, 0, sizeof(*first));
    first->fd = -1;
    status = pawl_address_parse(pawl_bytes_of(listen_options->uri, strlen(listen_options->uri)),
                                &first->address, error);
    if (status != PAWL_OK) {
        return status;
    }
    first->is_tls = first->address.kind == PAWL_ADDRESS_TLS;
    first->is_tcp = first->is_tls || first->address.kind == PAWL_ADDRESS_TCP;
    first->roles = first->is_tcp ? ROLES_ALL : ROLES_UNIX;
    if (listen_options->roles != 0) { /* peer on a Unix socket is to be written out */
        first->roles = listen_options->roles & ROLES_ALL;
    }
    first->anonymous = first->is_tcp ? listen_options->anonymous & first->roles : 0;
    if (listen_options->fd < 0 && first->is_tcp) {
        return open_tcp(listeners, capacity, count, options, listen_options->insecure, error);
    }
    status = listen_options->fd >= 0 ? adopt(first, options, listen_options->fd, error)
                                     : open_unix(first, options, listen_options, error);
    *count = status == PAWL_OK ? 1 : 0;
    return status;
}

void pawl_listener_close(struct pawl_listener *listener)
{
    struct stat info;

    /* Only our own file: by now a successor may have put its socket there. */
    if (listener->owns_path) {
        listener->owns_path = false;
        if (lstat(listener->address.path, &info) == 0 && info.st_dev == listener->device &&
            info.st_ino == listener->inode) {
            (void)unlink(listener->address.path);
        }
    }
    if (listener->fd >= 0) {
        (void)close(listener->fd);
        listener->fd = -1;
    }
}
