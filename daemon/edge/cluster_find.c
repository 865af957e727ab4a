/*
 * Before this node connects to the engine, and so before it joins: whether the others will find it.
 *
 * A member that is announced and cannot be reached takes its share of the keys along: nobody can
 * ask it about them, and nobody can fetch slots past it. A name that a name server publishes with
 * the start of this very process (a pod's) may not be known yet, or still lead to the machine of
 * before. So the name in `cluster.advertise` is looked up until it is found, however long that
 * takes, and until it leads to this machine. The latter cannot be asked of everybody (a forwarded
 * port, an address of a router): who lies elsewhere for ELSEWHERE_MS joins all the same.
 *
 * Numbers and paths are taken as they are.
 */
#include "edge/cluster_inside.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS      250
#define ELSEWHERE_MS 5000
#define SAY_AGAIN    120 /* look-ups that fail between two log lines */

static void look_up(struct pawl_cluster *cluster);

static bool is_over(const struct pawl_cluster *cluster)
{
    return cluster->closing || cluster->ended;
}

static void on_timer(uv_timer_t *timer)
{
    struct pawl_cluster *cluster = timer->data;

    if (!is_over(cluster)) {
        look_up(cluster);
    }
}

/* Not yet: @why is for people. */
static void look_again(struct pawl_cluster *cluster, const char *why)
{
    if (cluster->find_tries++ % SAY_AGAIN == 0) {
        pawl_cluster_say_not_found(cluster, cluster->find_address.host, why);
    }
    (void)uv_timer_start(&cluster->find_timer, on_timer, LOOK_MS, 0);
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr *b)
{
    if (a->ss_family != b->sa_family) {
        return false;
    }
    if (b->sa_family == AF_INET6) {
        return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                      &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr,
                      sizeof(struct in6_addr)) == 0;
    }
    return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr,
                  &((const struct sockaddr_in *)(const void *)b)->sin_addr,
                  sizeof(struct in_addr)) == 0;
}

/* Then the way there begins where it ends. Nothing is sent. */
bool pawl_cluster_is_here(const struct sockaddr *address, socklen_t address_size)
{
    int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage own;
    socklen_t size = sizeof(own);
    bool is;

    memset(&own, 0, sizeof(own));
    is = fd >= 0 && connect(fd, address, address_size) == 0 &&
         getsockname(fd, (struct sockaddr *)&own, &size) == 0 && same_host(&own, address);
    if (fd >= 0) {
        (void)close(fd);
    }
    return is;
}

static void take_found(struct pawl_cluster *cluster, const struct addrinfo *found)
{
    uint64_t now_ms = pawl_cluster_now_ms(cluster);
    bool here = false;

    for (const struct addrinfo *at = found; at != NULL && !here; at = at->ai_next) {
        here = pawl_cluster_is_here(at->ai_addr, at->ai_addrlen);
    }
    if (cluster->elsewhere_ms == 0) {
        cluster->elsewhere_ms = now_ms;
    }
    if (here || now_ms - cluster->elsewhere_ms >= ELSEWHERE_MS) {
        if (!here) {
            pawl_cluster_say_not_found(cluster, cluster->find_address.host,
                                       "it leads to another machine; joining all the same");
        }
        pawl_cluster_begin(cluster);
        return;
    }
    look_again(cluster, "it leads to another machine");
}

static void on_found(uv_getaddrinfo_t *request, int result, struct addrinfo *found)
{
    struct pawl_cluster *cluster = request->data;

    request->data = NULL;
    if (is_over(cluster)) {
        /* nobody waits for it */
    } else if (result != 0) {
        cluster->elsewhere_ms = 0;
        look_again(cluster, uv_strerror(result));
    } else {
        take_found(cluster, found);
    }
    uv_freeaddrinfo(found);
}

static void look_up(struct pawl_cluster *cluster)
{
    cluster->find.data = cluster;
    int result = pawl_outbound_look_up(&cluster->loop, &cluster->find, on_found,
                                       cluster->find_address.host, cluster->find_address.port);

    if (result != 0) {
        cluster->find.data = NULL;
        look_again(cluster, uv_strerror(result));
    }
}

void pawl_cluster_find_end(struct pawl_cluster *cluster)
{
    if (cluster->find.data != NULL) {
        (void)uv_cancel((uv_req_t *)&cluster->find); /* or the loop ends when the resolver does */
    }
    if (!uv_is_closing((uv_handle_t *)&cluster->find_timer)) {
        uv_close((uv_handle_t *)&cluster->find_timer, NULL);
    }
}

void pawl_cluster_find(struct pawl_cluster *cluster)
{
    struct pawl_address *address = &cluster->find_address;
    struct in6_addr number;

    cluster->find_timer.data = cluster;
    if (pawl_address_parse(pawl_bytes_of(cluster->advertise, strlen(cluster->advertise)), address,
                           NULL) != PAWL_OK ||
        address->kind == PAWL_ADDRESS_UNIX || strchr(address->host, ':') != NULL ||
        uv_inet_pton(AF_INET, address->host, &number) == 0) {
        pawl_cluster_begin(cluster);
        return;
    }
    look_up(cluster);
}
