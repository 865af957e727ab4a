#include "adapter/sys/activation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

static bool read_number(const char *text, unsigned long max, unsigned long *value)
{
    *value = 0;
    if (text == NULL || *text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        *value = *value * 10 + (unsigned long)(*text - '0');
        if (*value > max) {
            return false;
        }
    }
    return true;
}

/* The @index-th of the names that colons part, cut to what fits. */
static void name_of(const char *names, unsigned index, char out[PAWL_ACTIVATION_NAME_MAX])
{
    size_t size;

    out[0] = '\0';
    for (; names != NULL && index > 0; index--) {
        names = strchr(names, ':');
        names = names != NULL ? names + 1 : NULL;
    }
    if (names == NULL) {
        return;
    }
    size = strcspn(names, ":");
    size = size < PAWL_ACTIVATION_NAME_MAX ? size : PAWL_ACTIVATION_NAME_MAX - 1;
    memcpy(out, names, size);
    out[size] = '\0';
}

static bool read_unix(const struct sockaddr_un *name, socklen_t size, struct pawl_address *address)
{
    size_t bytes = size > offsetof(struct sockaddr_un, sun_path)
                       ? size - offsetof(struct sockaddr_un, sun_path)
                       : 0;
    const char *path = name->sun_path;

    if (bytes == 0) {
        return false; /* bound to nothing */
    }
    address->is_abstract = path[0] == '\0';
    if (address->is_abstract) {
        path++;
        bytes--;
    }
    bytes = strnlen(path, bytes);
    if (bytes == 0 || bytes > PAWL_ADDRESS_PATH_MAX) {
        return false;
    }
    address->kind = PAWL_ADDRESS_UNIX;
    memcpy(address->path, path, bytes);
    address->path[bytes] = '\0';
    return true;
}

/** Where @fd listens; false: of a family that pawld does not speak. */
static bool read_address(int fd, struct pawl_address *address)
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } name;
    socklen_t size = sizeof(name);

    memset(&name, 0, sizeof(name));
    memset(address, 0, sizeof(*address));
    if (getsockname(fd, &name.any, &size) != 0) {
        return false;
    }
    switch (name.any.sa_family) {
    case AF_UNIX:
        return read_unix(&name.local, size, address);
    case AF_INET:
        address->kind = PAWL_ADDRESS_TCP;
        address->port = ntohs(name.v4.sin_port);
        return inet_ntop(AF_INET, &name.v4.sin_addr, address->host, sizeof(address->host)) != NULL;
    case AF_INET6:
        address->kind = PAWL_ADDRESS_TCP;
        address->port = ntohs(name.v6.sin6_port);
        return inet_ntop(AF_INET6, &name.v6.sin6_addr, address->host, sizeof(address->host)) !=
               NULL;
    default:
        return false;
    }
}

static int option_of(int fd, int option)
{
    int value = 0;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

static enum pawl_status take_one(struct pawl_activation_socket *entry, int fd,
                                 struct pawl_error *error)
{
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return pawl_error_set(error, PAWL_EINVAL, errno,
                              "descriptor %d (%s), passed by the service manager, is not open", fd,
                              entry->name);
    }
    entry->fd = fd;
    if (option_of(fd, SO_TYPE) != SOCK_STREAM || option_of(fd, SO_ACCEPTCONN) != 1 ||
        !read_address(fd, &entry->address)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "descriptor %d (%s), passed by the service manager, is no listening "
                              "stream socket; in the socket unit use ListenStream= with Accept=no",
                              fd, entry->name);
    }
    return PAWL_OK;
}

void pawl_activation_close(struct pawl_activation *activation)
{
    for (unsigned i = 0; i < activation->count; i++) {
        if (activation->sockets[i].fd >= 0) {
            (void)close(activation->sockets[i].fd);
            activation->sockets[i].fd = -1;
        }
    }
}

static void forget_environment(void)
{
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}

enum pawl_status pawl_activation_take(struct pawl_activation *activation, struct pawl_error *error)
{
    const char *names = getenv("LISTEN_FDNAMES");
    enum pawl_status status = PAWL_OK;
    unsigned long pid;
    unsigned long count;

    memset(activation, 0, sizeof(*activation));
    if (!read_number(getenv("LISTEN_PID"), INT32_MAX, &pid) || pid != (unsigned long)getpid()) {
        forget_environment();
        return PAWL_OK;
    }
    if (!read_number(getenv("LISTEN_FDS"), PAWL_ACTIVATION_MAX, &count)) {
        forget_environment();
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "LISTEN_FDS is not a number from 0 to %d: so many sockets may be "
                              "passed",
                              PAWL_ACTIVATION_MAX);
    }
    for (unsigned i = 0; i < count && status == PAWL_OK; i++) {
        struct pawl_activation_socket *entry = &activation->sockets[i];

        name_of(names, i, entry->name);
        entry->fd = -1;
        activation->count = i + 1;
        status = take_one(entry, FIRST_FD + (int)i, error);
    }
    if (status != PAWL_OK) {
        pawl_activation_close(activation);
    }
    forget_environment();
    return status;
}

/* The same file under another name (/var/run and /run) is the same socket. */
static bool same_file(const char *one, const char *other)
{
    struct stat left;
    struct stat right;

    return stat(one, &left) == 0 && stat(other, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

static bool same_host(const char *one, const char *other)
{
    struct in6_addr left;
    struct in6_addr right;
    int family = strchr(one, ':') != NULL ? AF_INET6 : AF_INET;

    memset(&left, 0, sizeof(left));
    memset(&right, 0, sizeof(right));
    return inet_pton(family, one, &left) == 1 && inet_pton(family, other, &right) == 1 &&
           memcmp(&left, &right, sizeof(left)) == 0;
}

static bool is_at(const struct pawl_address *passed, const struct pawl_address *wanted)
{
    bool local = wanted->kind == PAWL_ADDRESS_UNIX;

    if (local != (passed->kind == PAWL_ADDRESS_UNIX) ||
        (local && passed->is_abstract != wanted->is_abstract)) {
        return false;
    }
    if (local) {
        return strcmp(passed->path, wanted->path) == 0 ||
               (!passed->is_abstract && same_file(passed->path, wanted->path));
    }
    return passed->port == wanted->port && same_host(passed->host, wanted->host);
}

int pawl_activation_match(struct pawl_activation *activation, const struct pawl_address *address)
{
    for (unsigned i = 0; i < activation->count; i++) {
        struct pawl_activation_socket *entry = &activation->sockets[i];

        if (entry->fd >= 0 && is_at(&entry->address, address)) {
            int fd = entry->fd;

            entry->fd = -1;
            return fd;
        }
    }
    return -1;
}

enum pawl_status pawl_activation_end(struct pawl_activation *activation, struct pawl_error *error)
{
    enum pawl_status status = PAWL_OK;

    for (unsigned i = 0; i < activation->count && status == PAWL_OK; i++) {
        const struct pawl_activation_socket *entry = &activation->sockets[i];
        char text[PAWL_ADDRESS_TEXT_MAX];

        if (entry->fd >= 0) {
            (void)pawl_address_format(&entry->address, text, sizeof(text));
            status = pawl_error_set(error, PAWL_EINVAL, 0,
                                    "the service manager passed a socket at %s (%s), and nothing "
                                    "in the settings listens there; name it under listen, or take "
                                    "it out of the socket unit",
                                    text, entry->name);
        }
    }
    pawl_activation_close(activation);
    return status;
}
