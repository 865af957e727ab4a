/*
 * Between members: what they ask of this node (Pull, Push, ViewPush, come through the workers), and
 * what this node asks of them, over a link to each.
 *
 * Serving a Pull: adopt the asker's view, take the slots out of the workers' hands, wait until
 * every worker has begun a new batch, and only then read the records.
 */
#include "edge/cluster_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/octets.h"

#define ASK_MS       5000 /* a Pull, a Push: pages are large, and workers come to rest meanwhile */
#define VIEW_PUSH_MS 1000

/* ---- asked by others ----------------------------------------------------------------------- */

static void refuse(struct pawl_peer_request *request, enum pawl_status status, const char *why)
{
    request->status = status;
    (void)snprintf(request->error, sizeof(request->error), "%s", why);
    pawl_peer_answer(request);
}

static void answer_page(struct pawl_cluster *cluster, struct pawl_peer_request *request)
{
    uint8_t *page = malloc(cluster->options.page_bytes);
    size_t size = 0;

    if (page == NULL) {
        refuse(request, PAWL_ENOMEM, "no memory for a page of records");
        return;
    }
    enum pawl_status status =
        pawl_cluster_slots_page(&cluster->node.slots, &request->member, request->bundle,
                                request->cursor, page, cluster->options.page_bytes, &size,
                                &request->next_cursor, &request->whole,
                                pawl_cluster_now_ms(cluster));

    if (status != PAWL_OK) {
        free(page);
        refuse(request, PAWL_EUNAVAIL, "this hand-over is over; begin again");
        return;
    }
    uint8_t *fitting = size > 0 ? realloc(page, size) : NULL;

    if (size == 0) {
        free(page);
    }
    request->answer = size == 0 ? NULL : fitting != NULL ? fitting : page;
    request->answer_size = size;
    request->status = PAWL_OK;
    pawl_cluster_count(&cluster->figures.pull_pages, 1);
    pawl_peer_answer(request);
}

static void on_quiet(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    struct pawl_cluster_pull *pull = (struct pawl_cluster_pull *)(void *)post;
    struct pawl_peer_request *request = pull->request;

    cluster->pulls_out--;
    free(pull);
    if (cluster->ended) {
        refuse(request, PAWL_EUNAVAIL, "this node is stopping");
        return;
    }
    answer_page(cluster, request);
}

/* The last worker's thread; after the end, that of pawl_server_destroy(). */
static void on_all_quiet(void *ctx)
{
    struct pawl_cluster_pull *pull = ctx;

    pull->post.run = on_quiet;
    if (!pawl_cluster_post(pull->cluster, &pull->post)) {
        refuse(pull->request, PAWL_EUNAVAIL, "this node is stopping");
        free(pull);
    }
}

static void come_to_rest(struct pawl_cluster *cluster, struct pawl_peer_request *request)
{
    struct pawl_cluster_pull *pull = malloc(sizeof(*pull));

    if (pull == NULL) {
        refuse(request, PAWL_ENOMEM, "no memory to wait for the workers");
        return;
    }
    pull->cluster = cluster;
    pull->request = request;
    cluster->pulls_out++;
    pawl_quiesce(&cluster->world, &pull->quiesce, on_all_quiet, pull);
}

static void push_view_to(struct pawl_cluster *cluster, struct pawl_cluster_peer *peer);
static struct pawl_cluster_peer *find_peer(struct pawl_cluster *cluster,
                                           const struct pawl_member_id *id);

/* Who acts on an older view learns ours. */
static void teach(struct pawl_cluster *cluster, const struct pawl_member_id *member)
{
    struct pawl_cluster_peer *peer = find_peer(cluster, member);

    if (peer != NULL) {
        push_view_to(cluster, peer);
    }
}

static void serve_pull(struct pawl_cluster *cluster, struct pawl_peer_request *request,
                       uint64_t view)
{
    switch (pawl_cluster_slots_asked(&cluster->node.slots, &request->member, view, request->bundle,
                                     request->cursor, request->have,
                                     pawl_cluster_now_ms(cluster))) {
    case PAWL_SLOTS_ANSWER:
        if (request->have) {
            request->status = PAWL_OK;
            pawl_peer_answer(request);
        } else {
            answer_page(cluster, request);
        }
        break;
    case PAWL_SLOTS_QUIESCE:
        come_to_rest(cluster, request);
        break;
    case PAWL_SLOTS_MOVED:
        teach(cluster, &request->member);
        refuse(request, PAWL_EUNAVAIL, "of an older view; the newer one is on its way");
        break;
    default:
        refuse(request, PAWL_EUNAVAIL, "busy with other hand-overs; come again");
        break;
    }
    cluster->poke = true;
}

static void serve_push(struct pawl_cluster *cluster, struct pawl_peer_request *request)
{
    enum pawl_status status =
        pawl_cluster_slots_pushed(&cluster->node.slots, &request->member, request->sequence,
                                  request->records, &request->known, pawl_cluster_now_ms(cluster));

    if (status == PAWL_EAGAIN) {
        teach(cluster, &request->member);
        refuse(request, PAWL_EUNAVAIL, "some of it is another member's by now");
    } else if (status != PAWL_OK) {
        refuse(request, PAWL_EINVAL, "malformed records");
    } else {
        request->status = PAWL_OK;
        pawl_peer_answer(request);
    }
}

/* Who told an older view than ours, or none, gets ours. */
static void serve_view(struct pawl_cluster *cluster, struct pawl_peer_request *request,
                       uint64_t number)
{
    struct pawl_bytes own = pawl_members_sealed(&cluster->node.members);

    if (pawl_members_view(&cluster->node.members)->number > number && own.size > 0) {
        request->answer = malloc(own.size);
        if (request->answer != NULL) {
            memcpy(request->answer, own.data, own.size);
            request->answer_size = own.size;
        }
    }
    request->status = PAWL_OK;
    pawl_peer_answer(request);
}

void pawl_cluster_request(struct pawl_cluster *cluster, struct pawl_peer_request *request)
{
    uint64_t view = 0;

    pawl_cluster_count(&cluster->figures.peer_requests, 1);
    if (cluster->ended) {
        refuse(request, PAWL_EUNAVAIL, "this node is stopping");
    } else if (pawl_node_learn(&cluster->node, request->view, pawl_cluster_now_ms(cluster),
                               &view) != PAWL_OK) {
        refuse(request, PAWL_EINVAL, "the view does not carry this fleet's seal");
    } else if (request->kind == PAWL_PEER_PULL) {
        serve_pull(cluster, request, view);
    } else if (request->kind == PAWL_PEER_PUSH) {
        serve_push(cluster, request);
    } else {
        serve_view(cluster, request, view);
    }
}

/* ---- links --------------------------------------------------------------------------------- */

static struct pawl_cluster_peer *find_peer(struct pawl_cluster *cluster,
                                           const struct pawl_member_id *id)
{
    for (unsigned i = 0; i < cluster->peer_count; i++) {
        if (pawl_member_id_equal(cluster->peers[i].id, *id)) {
            return &cluster->peers[i];
        }
    }
    return NULL;
}

static struct pawl_tls_context *context_of(void *ctx)
{
    struct pawl_cluster *cluster = ctx;

    return pawl_world_context(&cluster->world);
}

static struct pawl_peer_link *link_of(struct pawl_cluster *cluster, struct pawl_cluster_peer *peer)
{
    if (peer->link == NULL) {
        struct pawl_peer_link_options options = {
            .net = cluster->net,
            .member = peer->id,
            .address = peer->address,
            .name = pawl_world_peer_name(&cluster->world),
            .context = context_of,
            .tls = cluster->world.tls.ops,
            .ctx = cluster,
            .seed = pawl_get_le(peer->id.bytes, 8) ^ pawl_cluster_now_ms(cluster),
        };

        peer->link = pawl_peer_link_create(&options);
    }
    return peer->link;
}

/* Pack and send; false: it does not go out. */
static bool send_to(struct pawl_cluster *cluster, struct pawl_cluster_peer *peer,
                    Pawl__V1__Request *request, uint32_t timeout_ms, pawl_peer_done done, void *ctx)
{
    struct pawl_peer_link *link = link_of(cluster, peer);
    size_t size;

    request->id = link != NULL ? pawl_peer_link_next(link) : 0;
    if (request->id == 0) {
        return false;
    }
    size = pawl_cold_write_request(cluster->frame, sizeof(cluster->frame), request);
    return size > 0 && pawl_peer_link_ask(link, request->id, pawl_bytes_of(cluster->frame, size),
                                          timeout_ms, done, ctx) == PAWL_OK;
}

static ProtobufCBinaryData wire(const void *data, size_t size)
{
    ProtobufCBinaryData out = { size, (uint8_t *)(uintptr_t)data };

    return out;
}

/* ---- asking -------------------------------------------------------------------------------- */

/* Something asked, until slots have the answer. */
struct asked {
    struct pawl_cluster_post post; /* first: for an answer that is made here */
    struct pawl_cluster *cluster;
    uint64_t tag;
};

static void answer(struct pawl_cluster *cluster, struct pawl_slots_answer *answered)
{
    if (cluster->ended) {
        return;
    }
    pawl_cluster_slots_on_answer(&cluster->node.slots, answered, pawl_cluster_now_ms(cluster));
    cluster->poke = true;
}

static void on_failed(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    struct asked *asked = (struct asked *)(void *)post;
    struct pawl_slots_answer failed = { .tag = asked->tag, .status = PAWL_EUNAVAIL };

    free(asked);
    cluster->asks_out--;
    answer(cluster, &failed);
}

static void say_not_answered(struct pawl_cluster *cluster, const Pawl__V1__Reply *reply,
                             enum pawl_status read, const char *why)
{
    pawl_log_event(
        cluster->options.log, PAWL_LOG_DEBUG, "handover_not_answered",
        PAWL_F_BYTES("error", reply == NULL ? pawl_bytes_of(NULL, 0)
                                            : pawl_bytes_of(reply->error.data, reply->error.len)),
        PAWL_F_TEXT("reply", pawl_status_text(read)), PAWL_F_TEXT("why", why == NULL ? "" : why));
}

static void on_answer(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes bytes,
                      const char *why)
{
    struct asked *asked = ctx;
    struct pawl_cluster *cluster = asked->cluster;
    struct pawl_slots_answer answered = { .tag = asked->tag, .status = PAWL_EUNAVAIL };
    Pawl__V1__Reply *reply = NULL;
    enum pawl_status read = PAWL_OK;

    free(asked);
    cluster->asks_out--;
    pawl_cold_arena_reset(&cluster->arena);
    if (outcome == PAWL_PEER_REPLY) {
        read = pawl_cold_read_reply(&cluster->arena, bytes, &reply);
    }
    if (reply != NULL && reply->status == PAWL__V1__STATUS__STATUS_OK) {
        answered.status = PAWL_OK;
        if (reply->body_case == PAWL__V1__REPLY__BODY_PULL) {
            answered.records = pawl_bytes_of(reply->pull->records.data, reply->pull->records.len);
            answered.cursor = reply->pull->cursor;
            answered.whole = reply->pull->whole;
        } else if (reply->body_case != PAWL__V1__REPLY__BODY_PUSH) {
            answered.status = PAWL_EUNAVAIL;
        }
    } else {
        say_not_answered(cluster, reply, read, why);
    }
    answer(cluster, &answered);
}

static bool ask(struct pawl_cluster *cluster, const struct pawl_slots_request *from,
                struct asked *asked)
{
    struct pawl_cluster_peer *peer = find_peer(cluster, &from->member);
    struct pawl_bytes view = pawl_members_sealed(&cluster->node.members);
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Pull pull = PAWL__V1__PULL__INIT;
    Pawl__V1__Push push = PAWL__V1__PUSH__INIT;

    if (peer == NULL) {
        return false;
    }
    if (from->push) {
        /* A full Push has no room for a large view: who needs that asks the engine. */
        push.view =
            wire(view.data, view.size + from->records.size < PAWL_PUSH_WIRE_MAX ? view.size : 0);
        push.member = wire(cluster->self.bytes, sizeof(cluster->self.bytes));
        push.sequence = from->sequence;
        push.records = wire(from->records.data, from->records.size);
        request.body_case = PAWL__V1__REQUEST__BODY_PUSH;
        request.push = &push;
    } else {
        pull.view = wire(view.data, view.size);
        pull.member = wire(cluster->self.bytes, sizeof(cluster->self.bytes));
        pull.bundle = from->bundle;
        pull.cursor = from->cursor;
        pull.have = from->have;
        request.body_case = PAWL__V1__REQUEST__BODY_PULL;
        request.pull = &pull;
    }
    request.view = pawl_members_view(&cluster->node.members)->number;
    return send_to(cluster, peer, &request, ASK_MS, on_answer, asked);
}

void pawl_cluster_ask(struct pawl_cluster *cluster, const struct pawl_slots_request *request)
{
    struct asked *asked = malloc(sizeof(*asked));

    if (asked == NULL) {
        struct pawl_cluster_lost *lost = &cluster->lost;

        /* Without memory for an answer it is told at the next turn that there is none. */
        if (lost->count < PAWL_CLUSTER_LOST_MAX) {
            lost->tags[lost->count++] = request->tag;
        }
        return;
    }
    asked->cluster = cluster;
    asked->tag = request->tag;
    cluster->asks_out++;
    if (!ask(cluster, request, asked)) {
        asked->post.run = on_failed;
        (void)pawl_cluster_post(cluster, &asked->post);
    }
}

/* ---- views --------------------------------------------------------------------------------- */

static void on_view_pushed(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes bytes,
                           const char *why)
{
    (void)ctx; /* who missed it hears of it by the engine, a second later */
    (void)outcome;
    (void)bytes;
    (void)why;
}

static void push_view_to(struct pawl_cluster *cluster, struct pawl_cluster_peer *peer)
{
    struct pawl_bytes view = pawl_members_sealed(&cluster->node.members);
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__ViewPush push = PAWL__V1__VIEW_PUSH__INIT;

    push.view = wire(view.data, view.size);
    request.body_case = PAWL__V1__REQUEST__BODY_VIEW_PUSH;
    request.view_push = &push;
    request.view = pawl_members_view(&cluster->node.members)->number;
    if (send_to(cluster, peer, &request, VIEW_PUSH_MS, on_view_pushed, NULL)) {
        pawl_cluster_count(&cluster->figures.view_pushes, 1);
    }
}

bool pawl_cluster_dial(struct pawl_cluster *cluster, struct pawl_cluster_peer *peer)
{
    struct pawl_peer_link *link = link_of(cluster, peer);

    if (link != NULL && pawl_peer_link_state(link) == PAWL_PEER_LINK_OPEN) {
        return true;
    }
    if (link == NULL || pawl_peer_link_outstanding(link) == 0) {
        push_view_to(cluster, peer); /* something that may be asked at any time */
    }
    return false;
}

void pawl_cluster_doom(struct pawl_cluster *cluster, struct pawl_peer_link *link)
{
    if (link != NULL && cluster->doomed_count < PAWL_CLUSTER_DOOMED_MAX) {
        cluster->doomed[cluster->doomed_count++] = link;
    }
}

/* Links follow the view; those of members that went end at the end of this turn, for what they
 * owe is answered by that. */
static void follow_members(struct pawl_cluster *cluster, const struct pawl_view *view)
{
    static struct pawl_cluster_peer old[PAWL_MEMBERS_MAX]; /* one thread */
    unsigned old_count = cluster->peer_count;

    memcpy(old, cluster->peers, old_count * sizeof(old[0]));
    cluster->peer_count = 0;
    for (unsigned i = 0; i < view->count; i++) {
        const struct pawl_view_member *member = &view->members[i];
        struct pawl_cluster_peer *peer = &cluster->peers[cluster->peer_count];

        if (pawl_member_id_equal(member->id, cluster->self)) {
            continue;
        }
        memset(peer, 0, sizeof(*peer));
        peer->id = member->id;
        peer->seen_ms = pawl_cluster_now_ms(cluster);
        (void)snprintf(peer->address, sizeof(peer->address), "%s", member->address);
        for (unsigned j = 0; j < old_count; j++) {
            if (pawl_member_id_equal(old[j].id, member->id) &&
                strcmp(old[j].address, peer->address) == 0) {
                *peer = old[j];
                old[j].link = NULL;
            }
        }
        cluster->peer_count++;
    }
    for (unsigned j = 0; j < old_count; j++) {
        pawl_cluster_doom(cluster, old[j].link);
    }
}

static void version_of(struct pawl_cluster *cluster, const struct pawl_member_id *id, char *out,
                       size_t size)
{
    uint32_t count;
    const struct pawl_member_seen *seen = pawl_members_seen(&cluster->node.members, &count);

    out[0] = '\0';
    if (pawl_member_id_equal(*id, cluster->self)) {
        (void)snprintf(out, size, "%s", cluster->version);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (pawl_member_id_equal(seen[i].id, *id) && seen[i].known) {
            (void)snprintf(out, size, "%.*s", (int)seen[i].info.version.size,
                           (const char *)seen[i].info.version.data);
        }
    }
}

static bool is_frozen(struct pawl_cluster *cluster, const struct pawl_member_id *id)
{
    uint32_t count;
    const struct pawl_member_seen *seen = pawl_members_seen(&cluster->node.members, &count);

    for (uint32_t i = 0; i < count; i++) {
        if (pawl_member_id_equal(seen[i].id, *id)) {
            return seen[i].known && seen[i].info.frozen;
        }
    }
    return false;
}

static void publish(struct pawl_cluster *cluster, const struct pawl_view *view)
{
    static struct pawl_territory_member members[PAWL_MEMBERS_MAX]; /* one thread */

    cluster->versions_known = 0;
    memset(cluster->frozen_known, 0, sizeof(cluster->frozen_known));
    for (unsigned i = 0; i < view->count; i++) {
        const struct pawl_view_member *from = &view->members[i];
        struct pawl_territory_member *member = &members[i];
        struct pawl_cluster_peer *peer = find_peer(cluster, &from->id);

        memset(member, 0, sizeof(*member));
        member->id = from->id;
        member->state =
            from->state == PAWL_VIEW_LEAVING ? PAWL_TERRITORY_LEAVING : PAWL_TERRITORY_SERVING;
        member->started_ms = peer != NULL ? peer->seen_ms : cluster->started_ms;
        (void)snprintf(member->address, sizeof(member->address), "%s", from->address);
        version_of(cluster, &from->id, member->version, sizeof(member->version));
        cluster->versions_known += member->version[0] != '\0' ? 1 : 0;
        member->frozen = is_frozen(cluster, &from->id);
        cluster->frozen_known[i] = member->frozen;
    }
    struct pawl_territory *territory =
        pawl_territory_create(&cluster->slots, view->number, cluster->self, members, view->count);

    cluster->unpublished = territory == NULL;
    if (territory == NULL) {
        pawl_log_event(cluster->options.log, PAWL_LOG_ERROR, "cluster_no_memory",
                       PAWL_F_TEXT("what", "the ring of a view"));
        return;
    }
    pawl_territory_publish(&cluster->world.territory, territory);
    cluster->poke = true;
}

void pawl_cluster_view(struct pawl_cluster *cluster, const struct pawl_view *view)
{
    follow_members(cluster, view);
    publish(cluster, view);
}

/* A view may come before the announcement of who is new in it, which tells its version; and what is
 * frozen or thawed changes without one. */
void pawl_cluster_publish_rest(struct pawl_cluster *cluster)
{
    const struct pawl_view *view = pawl_members_view(&cluster->node.members);
    char version[sizeof(cluster->version)];
    bool is_news = cluster->unpublished;
    unsigned known = 0;

    for (unsigned i = 0; i < view->count; i++) {
        version_of(cluster, &view->members[i].id, version, sizeof(version));
        known += version[0] != '\0' ? 1 : 0;
        is_news = is_news || is_frozen(cluster, &view->members[i].id) != cluster->frozen_known[i];
    }
    if (is_news || known > cluster->versions_known) {
        publish(cluster, view);
    }
}

void pawl_cluster_push_view(struct pawl_cluster *cluster)
{
    for (unsigned i = 0; i < cluster->peer_count; i++) {
        push_view_to(cluster, &cluster->peers[i]);
    }
}

void pawl_cluster_bury(struct pawl_cluster *cluster)
{
    while (cluster->doomed_count > 0) {
        pawl_peer_link_destroy(cluster->doomed[--cluster->doomed_count]);
    }
    while (cluster->lost.count > 0) {
        struct pawl_slots_answer failed = { .status = PAWL_ENOMEM };

        failed.tag = cluster->lost.tags[--cluster->lost.count];
        answer(cluster, &failed);
    }
}

void pawl_cluster_peers_end(struct pawl_cluster *cluster)
{
    for (unsigned i = 0; i < cluster->peer_count; i++) {
        struct pawl_peer_link *link = cluster->peers[i].link;

        cluster->peers[i].link = NULL;
        pawl_peer_link_destroy(link);
    }
    cluster->peer_count = 0;
    pawl_cluster_seeds_end(cluster);
    pawl_cluster_bury(cluster);
}
