#include "ops/http/socket.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ops/http/parse.h"

#define BACKLOG 128

static int listen_on(const struct addrinfo *to)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    int code;

    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, to->ai_addr, to->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    code = errno;
    (void)close(fd);
    errno = code;
    return -1;
}

int pawl_http_socket_open(const struct pawl_http_settings *settings)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
    struct addrinfo *found = NULL;
    char port[8];
    int fd;

    (void)snprintf(port, sizeof(port), "%u", (unsigned)settings->address.port);
    if (getaddrinfo(settings->address.host, port, &hints, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    fd = listen_on(found);
    freeaddrinfo(found);
    return fd;
}

unsigned pawl_http_socket_port(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);
    char port[8];
    uint64_t number = 0;

    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0 ||
        getnameinfo((struct sockaddr *)&name, size, NULL, 0, port, sizeof(port), NI_NUMERICSERV) !=
            0) {
        return 0;
    }
    (void)pawl_http_number(pawl_bytes_of(port, strlen(port)), UINT16_MAX, &number);
    return (unsigned)number;
}
