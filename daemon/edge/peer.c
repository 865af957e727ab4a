#include "edge/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "edge/session.h"

static void name_inet(const struct sockaddr_storage *from, const char *kind,
                      struct pawl_audit_peer *peer)
{
    char host[INET6_ADDRSTRLEN] = "";

    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;

        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        (void)snprintf(peer->address, sizeof(peer->address), "%s:%s:%u", kind, host,
                       (unsigned)ntohs(v4->sin_port));
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;

        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        (void)snprintf(peer->address, sizeof(peer->address), "%s:[%s]:%u", kind, host,
                       (unsigned)ntohs(v6->sin6_port));
    }
}

void pawl_session_peer(struct pawl_session *session, struct pawl_audit_peer *peer)
{
    struct sockaddr_storage from;
    struct ucred cred;
    socklen_t size = sizeof(from);
    uv_os_fd_t fd;

    *peer = (struct pawl_audit_peer){ .uid = -1 };
    if (session == NULL || uv_fileno(&session->transport.uv.handle, &fd) != 0) {
        return;
    }
    (void)snprintf(peer->client, sizeof(peer->client), "%s",
                   pawl_identity_name(&session->identity));
    memset(&from, 0, sizeof(from));
    if (session->is_tcp) {
        if (getpeername(fd, (struct sockaddr *)&from, &size) == 0) {
            name_inet(&from, session->is_tls ? "tls" : "tcp", peer);
        }
        return;
    }
    (void)snprintf(peer->address, sizeof(peer->address), "unix");
    size = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0) {
        peer->uid = (int64_t)cred.uid;
    }
}
