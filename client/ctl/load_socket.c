#include "load_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(int fd, const char *address, const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s", address, what);
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static int connect_unix(const char *address, const char *path, char *error, size_t error_size)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t size = strlen(path);
    int fd;

    if (size == 0 || size >= sizeof(to.sun_path)) {
        return fail(-1, address, "not a path a Unix socket can have (1 to 107 bytes)", error,
                    error_size);
    }
    memcpy(to.sun_path, path, size);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        return fail(fd, address, strerror(errno), error, error_size);
    }
    return fd;
}

/* Split "host:port" or "[v6]:port" into @host and the port behind it; NULL when it is neither. */
static const char *split_host(const char *text, char *host, size_t host_size)
{
    const char *colon = strrchr(text, ':');
    size_t size;

    if (colon == NULL || colon[1] == '\0') {
        return NULL;
    }
    size = (size_t)(colon - text);
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size == 0 || size >= host_size) {
        return NULL;
    }
    memcpy(host, text, size);
    host[size] = '\0';
    return colon + 1;
}

static int connect_tcp(const char *address, const char *text, char *error, size_t error_size)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char host[256];
    const char *port = split_host(text, host, sizeof(host));
    int one = 1;
    int fd;
    int code;

    if (port == NULL) {
        return fail(-1, address, "no host and port; write tcp:127.0.0.1:7401", error, error_size);
    }
    code = getaddrinfo(host, port, &hints, &found);
    if (code != 0) {
        return fail(-1, address, gai_strerror(code), error, error_size);
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    code = fd < 0 ? -1 : connect(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (code != 0) {
        return fail(fd, address, strerror(errno), error, error_size);
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

int load_connect(const char *address, char *error, size_t error_size)
{
    int fd;

    if (strncmp(address, "unix:", 5) == 0) {
        fd = connect_unix(address, address + 5, error, error_size);
    } else if (strncmp(address, "tcp:", 4) == 0 || strncmp(address, "tls:", 4) == 0) {
        fd = connect_tcp(address, address + 4, error, error_size);
    } else {
        return fail(-1, address,
                    "not an address for load; write unix:/path, tcp:host:port or tls:host:port",
                    error, error_size);
    }
    if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        return fail(fd, address, strerror(errno), error, error_size);
    }
    return fd;
}
