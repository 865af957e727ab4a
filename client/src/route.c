/*
 * The straight way to the owner of a key (PAWL_CLIENT_ROUTE). The daemon at the other end of the
 * connection in use tells the members of its fleet and the subkey under which keys are spread over
 * them; a check whose items have one owner then goes to that member over a connection of its own.
 *
 * It is never more than a short cut: every member answers everything. So a request goes straight
 * only over a connection that stands and whose daemon has said that we may check there; until then,
 * and whenever something is wrong with it, it goes the ordinary way. A straight connection that
 * breaks says nothing about the others, and is not counted by the breaker.
 *
 * Checks never wait for a name server: a member that is known by a name is reached straight once
 * pawl_client_resolve() has looked it up, and the ordinary way until then.
 */
#include "private.h"

#include "core/ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS   5000
#define AVOID_NS         (1000 * NS_PER_MS)
#define SILENT_AVOID_NS  (5000 * NS_PER_MS)
#define DENIED_AVOID_NS  (60000 * NS_PER_MS)

struct route_member {
    struct pawl_address address; /* NONE: not to be reached straight */
    struct sockaddr_storage to;
    socklen_t size; /* 0: a name that was not looked up yet */
    uint32_t backoff_ms;
    uint64_t avoid_ns; /* not before */
    uint16_t conn;     /* index in client->conns; 0: none */
    bool wanted;       /* somebody asked for it: connect */
};

struct route {
    struct pawl_subkey key;
    bool has_key;
    struct pawl_ring ring; /* view 0: nobody is known */
    const char *host;      /* of the address whose daemon told it, under TLS; NULL: none */
    struct route_member members[PAWL_MEMBERS_MAX];
};

_Static_assert(CLIENT_NOBODY == PAWL_RING_NOBODY, "an owner that is nobody");

int pawl_client_route_open(struct pawl_client *client)
{
    client->conn_count = 2;
    if ((client->flags & PAWL_CLIENT_ROUTE) == 0) {
        return PAWL_RC_OK;
    }
    client->route = calloc(1, sizeof(*client->route));
    if (client->route == NULL) {
        return PAWL_RC_NOMEM;
    }
    client->conn_count = CLIENT_CONNS;
    return PAWL_RC_OK;
}

void pawl_client_route_close(struct pawl_client *client)
{
    if (client->route != NULL) {
        explicit_bzero(&client->route->key, sizeof(client->route->key));
    }
    free(client->route);
    client->route = NULL;
}

void pawl_client_route_forked(struct pawl_client *client)
{
    for (unsigned i = 0; client->route != NULL && i < PAWL_MEMBERS_MAX; i++) {
        client->route->members[i].conn = 0;
    }
}

static struct route_member *member_of(const struct pawl_client *client, const struct conn *conn)
{
    return &client->route->members[conn->member];
}

const struct pawl_address *pawl_client_route_address(const struct pawl_client *client,
                                                     const struct conn *conn)
{
    return &member_of(client, conn)->address;
}

static bool is_number(const char *host)
{
    struct in6_addr number; /* room for both */

    return inet_pton(AF_INET, host, &number) == 1 || inet_pton(AF_INET6, host, &number) == 1;
}

/*
 * No certificate is for an address that nobody knew before the member was started, so a member that
 * goes by a number proves the name by which the fleet was reached: it is asked under that, too.
 */
const char *pawl_client_route_name(const struct pawl_client *client, const struct conn *conn)
{
    const char *host = member_of(client, conn)->address.host;

    return client->route->host != NULL && is_number(host) ? client->route->host : host;
}

/* ---- what the daemon tells ----------------------------------------------------------------- */

/* Nothing new goes over it; what is in flight is waited for. */
static void drain(struct pawl_client *client, struct conn *conn)
{
    while (conn->queue.first != NULL) {
        pawl_client_slot_move(conn->queue.first, &client->queue);
    }
    if (conn->in_flight == 0 || conn->state != CONN_UP) {
        pawl_client_conn_close(client, conn);
    } else {
        conn->state = CONN_DRAINING;
    }
}

static void forget_members(struct pawl_client *client)
{
    struct route *route = client->route;

    for (unsigned i = CLIENT_DIRECT_FIRST; i < client->conn_count; i++) {
        if (client->conns[i].state != CONN_NONE && client->conns[i].state != CONN_DRAINING) {
            drain(client, &client->conns[i]);
        }
    }
    memset(&route->ring, 0, sizeof(route->ring));
    memset(route->members, 0, sizeof(route->members));
}

/* A secret is told to nobody to whom the handle would not tell it otherwise. */
static bool may_be_told(const struct pawl_client *client, const struct route_member *member)
{
    return client->credential_size == 0 ||
           pawl_client_may_tell_to(client, &member->address, &member->to);
}

/* Find where @member is, a name with @flags 0 alone. What is not found stays what it was. */
static void look_up(const struct pawl_client *client, struct route_member *member, int flags)
{
    struct addrinfo hints;
    struct addrinfo *found = NULL;
    char port[8];

    (void)snprintf(port, sizeof(port), "%u", (unsigned)member->address.port);
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    if (getaddrinfo(member->address.host, port, &hints, &found) != 0) {
        return;
    }
    if (found->ai_addrlen <= sizeof(member->to)) {
        memcpy(&member->to, found->ai_addr, found->ai_addrlen);
        member->size = may_be_told(client, member) ? found->ai_addrlen : 0;
    }
    freeaddrinfo(found);
}

static void put_member(const struct pawl_client *client, struct route_member *member,
                       const ProtobufCBinaryData *address)
{
    struct endpoint path;

    memset(member, 0, sizeof(*member));
    if (pawl_address_parse(pawl_bytes_of(address->data, address->len), &member->address, NULL) !=
        PAWL_OK) {
        return;
    }
    if (member->address.kind == PAWL_ADDRESS_UNIX) {
        pawl_client_add_unix(&path, &member->address);
        member->to = path.address;
        member->size = path.size;
    } else if (member->address.port == 0 ||
               (member->address.kind == PAWL_ADDRESS_TLS && client->tls_context == NULL)) {
        member->address.kind = PAWL_ADDRESS_NONE;
    } else {
        look_up(client, member, AI_NUMERICHOST);
    }
}

void pawl_client_route_lookup(struct pawl_client *client)
{
    struct route *route = client->route;

    for (uint16_t i = 0; route != NULL && i < route->ring.member_count; i++) {
        struct route_member *member = &route->members[i];

        if (member->address.kind == PAWL_ADDRESS_TCP || member->address.kind == PAWL_ADDRESS_TLS) {
            look_up(client, member, 0);
        }
    }
}

static bool is_serving(const Pawl__V1__Member *member)
{
    static const char serving[] = "serving";

    return member->node.len == sizeof(struct pawl_member_id) &&
           member->state.len == sizeof(serving) - 1 &&
           memcmp(member->state.data, serving, sizeof(serving) - 1) == 0;
}

static bool is_same(const struct pawl_address *a, const struct pawl_address *b)
{
    return a->kind == b->kind && a->port == b->port && a->is_abstract == b->is_abstract &&
           strcmp(a->path, b->path) == 0 && strcmp(a->host, b->host) == 0;
}

/* A connection stays with whom it leads to, whatever place that has in the new ring. */
static void keep_conns(struct pawl_client *client, const struct route_member *before)
{
    struct route *route = client->route;

    for (unsigned i = CLIENT_DIRECT_FIRST; i < client->conn_count; i++) {
        struct conn *conn = &client->conns[i];
        const struct route_member *old = &before[conn->member];
        bool is_kept = false;

        if (conn->state == CONN_NONE || conn->state == CONN_DRAINING || old->conn != i) {
            continue;
        }
        for (uint16_t k = 0; k < route->ring.member_count && !is_kept; k++) {
            struct route_member *member = &route->members[k];

            is_kept = member->size != 0 && is_same(&member->address, &old->address);
            if (is_kept) {
                member->backoff_ms = old->backoff_ms;
                member->avoid_ns = old->avoid_ns;
                member->conn = (uint16_t)i;
                conn->member = k;
            }
        }
        if (!is_kept) {
            drain(client, conn);
        }
    }
}

/* A name that was looked up once need not be again for each view. */
static void keep_number(struct route_member *member, const struct route_member *before)
{
    for (unsigned i = 0; i < PAWL_MEMBERS_MAX && member->size == 0; i++) {
        if (before[i].size != 0 && is_same(&member->address, &before[i].address)) {
            member->to = before[i].to;
            member->size = before[i].size;
        }
    }
}

static void take_view(struct pawl_client *client, uint64_t number, const struct pawl_member_id *ids,
                      const ProtobufCBinaryData *const *addresses, size_t count)
{
    struct route *route = client->route;
    struct route_member *before = malloc(sizeof(route->members));

    if (before == NULL || number == 0 || count < 2 || /* nobody else to go to */
        pawl_ring_build(&route->ring, &route->key, number, ids, count) != PAWL_OK) {
        forget_members(client);
        free(before);
        return;
    }
    memcpy(before, route->members, sizeof(route->members));
    memset(route->members, 0, sizeof(route->members));
    for (size_t i = 0; i < count; i++) { /* the ring has them in an order of its own */
        uint16_t at = pawl_ring_find(&route->ring, &ids[i]);

        if (at != PAWL_RING_NOBODY) {
            put_member(client, &route->members[at], addresses[i]);
            keep_number(&route->members[at], before);
        }
    }
    keep_conns(client, before);
    free(before);
}

void pawl_client_route_view(struct pawl_client *client, const struct conn *conn,
                            const Pawl__V1__ViewReply *view)
{
    struct route *route = client->route;
    struct pawl_member_id ids[PAWL_MEMBERS_MAX];
    const ProtobufCBinaryData *addresses[PAWL_MEMBERS_MAX];
    size_t count = 0;

    if (route == NULL || !route->has_key || (view->view != 0 && view->view == route->ring.view)) {
        return;
    }
    /* The daemon in use may be of a fleet that began anew; others only know of later views. */
    if (conn != client_active(client) && view->view < route->ring.view) {
        return;
    }
    for (size_t i = 0; i < view->n_members && count < PAWL_MEMBERS_MAX; i++) {
        if (is_serving(view->members[i])) {
            memcpy(ids[count].bytes, view->members[i]->node.data, sizeof(ids[count].bytes));
            addresses[count++] = &view->members[i]->address;
        }
    }
    take_view(client, view->view, ids, addresses, count);
}

void pawl_client_route_hello(struct pawl_client *client, struct conn *conn,
                             const Pawl__V1__HelloReply *hello)
{
    struct route *route = client->route;

    if (route == NULL) {
        return;
    }
    if (hello->node.len == sizeof(conn->node)) {
        memcpy(conn->node, hello->node.data, sizeof(conn->node));
    }
    for (size_t i = 0; i < hello->n_roles; i++) {
        conn->may_check = conn->may_check || hello->roles[i] == PAWL__V1__ROLE__ROLE_CHECK;
    }
    if (pawl_client_is_direct(client, conn)) {
        const struct pawl_member_id *meant = &route->ring.members[conn->member];
        bool is_other = memcmp(conn->node, meant->bytes, sizeof(conn->node)) != 0;

        if (!conn->may_check || is_other) {
            /* It takes us for somebody else than the first daemon does; or it lies where another
             * did, and the view of that is on its way. */
            member_of(client, conn)->avoid_ns =
                client->clock_ns() + (is_other ? AVOID_NS : DENIED_AVOID_NS);
            drain(client, conn);
        }
        return;
    }
    if (conn != client_active(client)) {
        return;
    }
    route->host = pawl_client_conn_host(client, conn);
    route->has_key = (hello->features & PAWL_FEATURE_ROUTING) != 0 &&
                     hello->slots_subkey.len == sizeof(route->key.bytes);
    if (!route->has_key ||
        memcmp(route->key.bytes, hello->slots_subkey.data, sizeof(route->key.bytes)) != 0) {
        forget_members(client); /* it is alone, or of another fleet; else its view comes behind */
    }
    if (route->has_key) {
        memcpy(route->key.bytes, hello->slots_subkey.data, sizeof(route->key.bytes));
    }
}

/* ---- which way ----------------------------------------------------------------------------- */

uint16_t pawl_client_route_owner(const struct pawl_client *client,
                                 const struct pawl_wire_request *request)
{
    const struct route *route = client->route;
    struct pawl_bytes ns = request->namespace_;
    uint16_t owner = CLIENT_NOBODY;

    if (route == NULL || route->ring.view == 0) {
        return CLIENT_NOBODY;
    }
    if (ns.size == 0) {
        ns = client->ns[0] != '\0' ? pawl_bytes_of(client->ns, strlen(client->ns))
                                   : pawl_bytes_of("default", 7);
    }
    for (uint32_t i = 0; i < request->item_count; i++) {
        const struct pawl_wire_item *item = &request->items[i];
        uint16_t own =
            route->ring.owner[pawl_ring_slot(&route->key, ns, item->key, item->key_count)];

        if (i > 0 && own != owner) {
            return CLIENT_NOBODY;
        }
        owner = own;
    }
    return owner;
}

static bool is_here(const struct pawl_client *client, uint16_t owner)
{
    const struct conn *conn = &client->conns[client->active];

    return conn->state == CONN_UP &&
           memcmp(conn->node, client->route->ring.members[owner].bytes, sizeof(conn->node)) == 0;
}

struct slot_list *pawl_client_route_queue(struct pawl_client *client, struct slot *slot)
{
    struct route_member *member;
    struct conn *conn;

    if (slot->owner == CLIENT_NOBODY || is_here(client, slot->owner)) {
        return &client->queue;
    }
    member = &client->route->members[slot->owner];
    if (member->size == 0) {
        return &client->queue;
    }
    conn = member->conn != 0 ? &client->conns[member->conn] : NULL;
    if (conn == NULL || conn->state != CONN_UP || !conn->may_check || conn->blocked ||
        conn->in_flight >= conn->in_flight_max) {
        member->wanted = conn == NULL;
        return &client->queue;
    }
    slot->admitted = true;
    client->figures.direct++;
    return &conn->queue;
}

/* ---- connections --------------------------------------------------------------------------- */

static struct conn *free_conn(struct pawl_client *client)
{
    for (unsigned i = CLIENT_DIRECT_FIRST; i < client->conn_count; i++) {
        if (client->conns[i].state == CONN_NONE) {
            return &client->conns[i];
        }
    }
    return NULL;
}

static void connect_member(struct pawl_client *client, uint16_t index, uint64_t now_ns)
{
    struct route_member *member = &client->route->members[index];
    struct conn *conn = free_conn(client);

    if (conn == NULL) {
        return; /* a fleet of more members than that goes the ordinary way for the rest */
    }
    conn->fd = socket(member->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        member->avoid_ns = now_ns + AVOID_NS;
        return;
    }
    member->conn = (uint16_t)(conn - client->conns);
    conn->member = index;
    conn->endpoint = CLIENT_ENDPOINTS_MAX; /* none of the list */
    conn->state = CONN_CONNECTING;
    conn->give_up_ns = now_ns + (uint64_t)client->durable_deadline_ms * NS_PER_MS;
    if (connect(conn->fd, (const struct sockaddr *)&member->to, member->size) == 0) {
        pawl_client_conn_up(client, conn);
    } else if (errno != EINPROGRESS && errno != EINTR) {
        pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
    }
}

void pawl_client_route_closed(struct pawl_client *client, struct conn *conn)
{
    struct route_member *member = member_of(client, conn);

    while (conn->queue.first != NULL) { /* nothing of it has left: any other member may answer */
        pawl_client_slot_move(conn->queue.first, &client->queue);
        client->figures.moved++;
    }
    if (member->conn == (uint16_t)(conn - client->conns)) { /* else the view has changed since */
        member->conn = 0;
    }
}

void pawl_client_route_failed(struct pawl_client *client, struct conn *conn, enum pawl_rc cause)
{
    struct route_member *member = member_of(client, conn);

    if (cause == PAWL_RC_PROTOCOL) {
        client->figures.protocol_errors++;
    }
    while (conn->sent.first != NULL) {
        pawl_client_slot_fail(client, conn->sent.first, cause);
        client->figures.lost++;
    }
    if (member->conn == (uint16_t)(conn - client->conns)) {
        member->backoff_ms =
            conn->heard || member->backoff_ms == 0 ? BACKOFF_FIRST_MS : member->backoff_ms * 2;
        if (member->backoff_ms > BACKOFF_MAX_MS) {
            member->backoff_ms = BACKOFF_MAX_MS;
        }
        member->avoid_ns = client->clock_ns() + pawl_client_jitter(client, member->backoff_ms);
    }
    pawl_client_conn_close(client, conn);
}

void pawl_client_route_goaway(struct pawl_client *client, struct conn *conn)
{
    member_of(client, conn)->avoid_ns = client->clock_ns() + AVOID_NS;
    drain(client, conn);
}

void pawl_client_route_silent(struct pawl_client *client, struct conn *conn, uint64_t now_ns)
{
    member_of(client, conn)->avoid_ns = now_ns + SILENT_AVOID_NS;
    drain(client, conn);
}

static void pump_conn(struct pawl_client *client, struct conn *conn, uint64_t now_ns)
{
    if (conn->state == CONN_CONNECTING || conn->state == CONN_SECURING) {
        pawl_client_conn_check(client, conn);
        if ((conn->state == CONN_CONNECTING || conn->state == CONN_SECURING) &&
            now_ns >= conn->give_up_ns) {
            pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
        }
    }
    if (conn->state == CONN_UP && conn->in_flight == 0 && conn->queue.first != NULL) {
        (void)pawl_client_conn_receive(client, conn); /* an end that came while it was idle */
    }
    if (conn->state == CONN_UP) {
        pawl_client_conn_send(client, conn);
    } else if (conn->state == CONN_DRAINING && conn->in_flight == 0) {
        pawl_client_conn_close(client, conn);
    }
}

void pawl_client_route_pump(struct pawl_client *client, uint64_t now_ns)
{
    struct route *route = client->route;

    if (route == NULL) {
        return;
    }
    for (uint16_t i = 0; i < route->ring.member_count; i++) {
        struct route_member *member = &route->members[i];

        if (member->wanted && member->conn == 0 && member->avoid_ns <= now_ns) {
            connect_member(client, i, now_ns);
        }
        member->wanted = false;
    }
    for (unsigned i = CLIENT_DIRECT_FIRST; i < client->conn_count; i++) {
        pump_conn(client, &client->conns[i], now_ns);
    }
}

uint64_t pawl_client_route_next_ns(const struct pawl_client *client)
{
    uint64_t next_ns = UINT64_MAX;

    for (unsigned i = CLIENT_DIRECT_FIRST; i < client->conn_count; i++) {
        const struct conn *conn = &client->conns[i];

        if ((conn->state == CONN_CONNECTING || conn->state == CONN_SECURING) &&
            conn->give_up_ns < next_ns) {
            next_ns = conn->give_up_ns;
        }
        if (conn->queue.first != NULL && !conn->blocked && conn->in_flight < conn->in_flight_max) {
            next_ns = 0;
        }
    }
    return next_ns;
}
