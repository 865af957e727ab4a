/*
 * While the engine is away: who the members are, asked of the members.
 *
 * A node that starts then, or that alone has lost the engine, has no view, or an old one. With a
 * name that has an address for each member (`cluster.seeds`, a headless service) it asks one after
 * the other for the view that it acts on, and takes what is newer. So it passes on what others
 * count, and knows by how many a limit is shared. It decides nothing by that: tenure comes from the
 * engine alone.
 */
#include "edge/cluster_inside.h"

#include <netinet/in.h>

#define AWAY_MS 2000 /* of the engine, before anybody is asked */
#define ASK_MS  1000 /* for an answer, and between two questions */

static struct pawl_tls_context *context_of(void *ctx)
{
    struct pawl_cluster *cluster = ctx;

    return pawl_world_context(&cluster->world);
}

/* ---- who is there -------------------------------------------------------------------------- */

static void add_address(struct pawl_cluster *cluster, const struct addrinfo *found)
{
    struct pawl_address *to = &cluster->seed_at[cluster->seed_count];
    int result = -1;

    if (cluster->seed_count == PAWL_CLUSTER_SEEDS_MAX ||
        pawl_cluster_is_here(found->ai_addr, found->ai_addrlen)) {
        return; /* whom this node would ask is itself */
    }
    *to = cluster->seeds;
    if (found->ai_family == AF_INET) {
        result = uv_ip4_name((const struct sockaddr_in *)(const void *)found->ai_addr, to->host,
                             sizeof(to->host));
    } else if (found->ai_family == AF_INET6) {
        result = uv_ip6_name((const struct sockaddr_in6 *)(const void *)found->ai_addr, to->host,
                             sizeof(to->host));
    }
    cluster->seed_count += result == 0 ? 1 : 0;
}

static void on_looked_up(uv_getaddrinfo_t *request, int result, struct addrinfo *found)
{
    struct pawl_cluster *cluster = request->data;

    request->data = NULL;
    cluster->seed_count = 0;
    cluster->seed_next = 0;
    for (const struct addrinfo *at = found; result == 0 && at != NULL; at = at->ai_next) {
        add_address(cluster, at);
    }
    uv_freeaddrinfo(found);
}

static void look_up(struct pawl_cluster *cluster)
{
    cluster->seed_lookup.data = cluster;
    if (pawl_outbound_look_up(&cluster->loop, &cluster->seed_lookup, on_looked_up,
                              cluster->seeds.host, cluster->seeds.port) != 0) {
        cluster->seed_lookup.data = NULL;
    }
}

/* ---- what it says -------------------------------------------------------------------------- */

static void on_answer(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes bytes,
                      const char *why)
{
    struct pawl_cluster *cluster = ctx;
    Pawl__V1__Reply *reply = NULL;

    (void)why;
    pawl_cluster_doom(cluster, cluster->seed_link); /* the next question goes to another */
    cluster->seed_link = NULL;
    if (cluster->ended || outcome != PAWL_PEER_REPLY) {
        return;
    }
    pawl_cold_arena_reset(&cluster->arena);
    if (pawl_cold_read_reply(&cluster->arena, bytes, &reply) == PAWL_OK &&
        reply->status == PAWL__V1__STATUS__STATUS_OK &&
        reply->body_case == PAWL__V1__REPLY__BODY_VIEW_PUSH) {
        const ProtobufCBinaryData *view = &reply->view_push->view;
        uint64_t number = 0;

        if (view->len > 0 && pawl_node_learn(&cluster->node, pawl_bytes_of(view->data, view->len),
                                             pawl_cluster_now_ms(cluster), &number) != PAWL_OK) {
            pawl_log_event(cluster->options.log, PAWL_LOG_WARN, "seed_not_believed",
                           PAWL_F_TEXT("why", "its view does not carry this fleet's seal"));
        }
        cluster->poke = true;
    }
}

/* ---- asking -------------------------------------------------------------------------------- */

static void ask(struct pawl_cluster *cluster, const struct pawl_address *address)
{
    const char *name = pawl_world_peer_name(&cluster->world);
    char text[PAWL_ADDRESS_TEXT_MAX];
    struct pawl_peer_link_options options = {
        .net = cluster->net,
        .anybody = true,
        .address = text,
        .name = name != NULL ? name : cluster->seeds.host,
        .context = context_of,
        .tls = cluster->world.tls.ops,
        .ctx = cluster,
        .seed = pawl_cluster_now_ms(cluster),
    };
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__ViewPush push = PAWL__V1__VIEW_PUSH__INIT;
    struct pawl_bytes own = pawl_members_sealed(&cluster->node.members);

    (void)pawl_address_format(address, text, sizeof(text));
    struct pawl_peer_link *link = pawl_peer_link_create(&options);

    if (link == NULL) {
        return;
    }
    push.view.data = (uint8_t *)(uintptr_t)own.data;
    push.view.len = own.size;
    request.body_case = PAWL__V1__REQUEST__BODY_VIEW_PUSH;
    request.view_push = &push;
    request.id = pawl_peer_link_next(link);
    size_t size = pawl_cold_write_request(cluster->frame, sizeof(cluster->frame), &request);

    cluster->seed_link = link;
    if (size == 0 || pawl_peer_link_ask(link, request.id, pawl_bytes_of(cluster->frame, size),
                                        ASK_MS, on_answer, cluster) != PAWL_OK) {
        cluster->seed_link = NULL;
        pawl_cluster_doom(cluster, link);
        return;
    }
    pawl_cluster_count(&cluster->figures.seeds_asked, 1);
}

void pawl_cluster_seeds_turn(struct pawl_cluster *cluster, uint64_t now_ms)
{
    if (cluster->seeds.kind == PAWL_ADDRESS_NONE || cluster->engine_up || cluster->closing ||
        cluster->seed_link != NULL || cluster->seed_lookup.data != NULL ||
        now_ms < cluster->engine_since_ms + AWAY_MS || now_ms < cluster->seed_due_ms) {
        return;
    }
    if (cluster->seed_next < cluster->seed_count) {
        ask(cluster, &cluster->seed_at[cluster->seed_next++]);
        cluster->seed_due_ms = now_ms + ASK_MS;
    } else {
        look_up(cluster);
        cluster->seed_due_ms = now_ms + (cluster->seed_count == 0 ? ASK_MS : 0);
    }
}

void pawl_cluster_seeds_end(struct pawl_cluster *cluster)
{
    if (cluster->seed_lookup.data != NULL) {
        (void)uv_cancel((uv_req_t *)&cluster->seed_lookup);
    }
    pawl_cluster_doom(cluster, cluster->seed_link);
    cluster->seed_link = NULL;
}
