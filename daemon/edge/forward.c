#include "edge/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/outbound.h"
#include "edge/worker.h"
#include "pawl/v1/envelope.h"

/* ---- what waits ---------------------------------------------------------------------------- */

/* Links to members that left go when nothing is under way on them. */
static void drop_old_links(struct pawl_forward *forward)
{
    for (unsigned i = 0; i < PAWL_FORWARD_OLD_LINKS; i++) {
        struct pawl_peer_link *link = forward->old_links[i];

        if (link != NULL && pawl_peer_link_outstanding(link) == 0) {
            forward->old_links[i] = NULL;
            pawl_peer_link_destroy(link);
        }
    }
}

/* Their requests end from inside, and are run again: nothing else is going on now. */
static void end_doomed_links(struct pawl_forward *forward)
{
    while (forward->doomed_count > 0) {
        pawl_peer_link_destroy(forward->doomed_links[--forward->doomed_count]);
    }
}

static bool has_old_links(const struct pawl_forward *forward)
{
    for (unsigned i = 0; i < PAWL_FORWARD_OLD_LINKS; i++) {
        if (forward->old_links[i] != NULL) {
            return true;
        }
    }
    return false;
}

static void on_tick(void *ctx)
{
    struct pawl_forward *forward = ctx;

    forward->ticking = false;
    end_doomed_links(forward);
    pawl_parcels_look(forward);
    pawl_returns_look(forward);
    drop_old_links(forward);
    if (has_old_links(forward)) {
        pawl_forward_tick(forward, UINT64_MAX);
    }
}

static void on_poked(struct pawl_worker *worker, void *ctx)
{
    struct pawl_forward *forward = ctx;

    (void)worker;
    if (!forward->closing) {
        pawl_parcels_look(forward);
    }
}

/* ---- members ------------------------------------------------------------------------------- */

static struct pawl_tls_context *dial_context(void *ctx)
{
    struct pawl_forward *forward = ctx;

    return pawl_world_context(forward->world);
}

static void on_link(void *ctx, const struct pawl_member_id *member, bool open, const char *why)
{
    struct pawl_forward *forward = ctx;

    if (!open) {
        pawl_log_event(forward->dispatch->app->log, PAWL_LOG_WARN, "member_unreachable",
                       PAWL_F_TEXT("why", why));
        forward->world->calls.unreachable(forward->world->calls.self, *member);
    }
}

/* At most PAWL_MEMBERS_MAX of them between two ticks: no territory has more. */
static void retire_link(struct pawl_forward *forward, struct pawl_peer_link *link)
{
    if (link == NULL || pawl_peer_link_outstanding(link) == 0) {
        pawl_peer_link_destroy(link);
        return;
    }
    for (unsigned i = 0; i < PAWL_FORWARD_OLD_LINKS; i++) {
        if (forward->old_links[i] == NULL) {
            forward->old_links[i] = link;
            pawl_forward_tick(forward, UINT64_MAX);
            return;
        }
    }
    forward->doomed_links[forward->doomed_count++] = link;
    pawl_forward_tick(forward, 0);
}

void pawl_forward_take_territory(struct pawl_forward *forward)
{
    struct pawl_territory *old = forward->territory;
    struct pawl_peer_link *links[PAWL_MEMBERS_MAX];

    if (forward->doomed_count > 0) {
        return; /* with the next batch */
    }
    memcpy(links, forward->links, sizeof(links));
    memset(forward->links, 0, sizeof(forward->links));
    forward->territory =
        pawl_territory_current(&forward->world->territory, &forward->territory_version);
    for (uint16_t i = 0; old != NULL && i < old->member_count; i++) {
        uint16_t at = pawl_territory_find(forward->territory, &old->members[i].id);

        if (at != PAWL_RING_NOBODY &&
            strcmp(old->members[i].address, forward->territory->members[at].address) == 0) {
            forward->links[at] = links[i];
        } else {
            retire_link(forward, links[i]);
        }
    }
    pawl_territory_release(old);
}

struct pawl_peer_link *pawl_forward_link(struct pawl_forward *forward, uint16_t index, uint64_t *id)
{
    if (forward->links[index] == NULL) {
        struct pawl_peer_link_options options = {
            .net = forward->net,
            .member = forward->territory->members[index].id,
            .address = forward->territory->members[index].address,
            .name = pawl_world_peer_name(forward->world),
            .context = dial_context,
            .tls = forward->world->tls.ops,
            .ctx = forward,
            .seed = ++forward->seed,
            .changed = on_link,
        };

        forward->links[index] = pawl_peer_link_create(&options);
    }
    *id = forward->links[index] != NULL ? pawl_peer_link_next(forward->links[index]) : 0;
    return *id != 0 ? forward->links[index] : NULL;
}

/* ---- ways ---------------------------------------------------------------------------------- */

/* What a request that another member passed on may do here. */
static struct pawl_ways way_of_forwarded(struct pawl_dispatch *dispatch, uint32_t slot,
                                         enum pawl_slot_state state)
{
    struct pawl_forward *forward = dispatch->forward;
    const struct pawl_territory *territory = forward->territory;
    struct pawl_ways ways = { .way = PAWL_WAY_MOVED, .slot = slot };

    if (dispatch->request.view > territory->view) {
        forward->world->calls.refresh(forward->world->calls.self, dispatch->request.view);
        ways.way = PAWL_WAY_WAIT;
    } else if (state != PAWL_SLOT_HELD && territory->self != PAWL_RING_NOBODY &&
               territory->ring.owner[slot] == territory->self) {
        ways.way = PAWL_WAY_WAIT; /* ours by the view, and the states follow it */
    }
    return ways;
}

struct pawl_ways pawl_forward_way(struct pawl_dispatch *dispatch, uint32_t slot)
{
    struct pawl_forward *forward = dispatch->forward;
    const struct pawl_ownership *ownership = &forward->world->ownership;
    const struct pawl_territory *territory = forward->territory;
    enum pawl_slot_state state =
        atomic_load_explicit(&ownership->states[slot], memory_order_acquire);
    uint64_t now_ms = pawl_forward_now_ms(dispatch);
    struct pawl_route route =
        pawl_route(ownership, &territory->ring, territory->self, slot, now_ms);
    struct pawl_ways ways = { .way = PAWL_WAY_LAPSED, .to = route.to, .slot = slot };

    /* Ours by the view, and not lapsed: between a view and the states that follow it. */
    bool follows = state != PAWL_SLOT_HELD && territory->self != PAWL_RING_NOBODY &&
                   territory->ring.owner[slot] == territory->self &&
                   now_ms < atomic_load_explicit(&ownership->tenure_until_ms, memory_order_acquire);

    if (route.kind == PAWL_ROUTE_LOCAL) {
        ways.way = PAWL_WAY_LOCAL;
    } else if (route.kind == PAWL_ROUTE_WAIT || (follows && !dispatch->request.forwarded)) {
        ways.way = PAWL_WAY_WAIT;
    } else if (dispatch->request.forwarded) {
        return way_of_forwarded(dispatch, slot, state);
    } else if (route.kind == PAWL_ROUTE_FORWARD) {
        ways.way = PAWL_WAY_FORWARD;
    }
    return ways;
}

struct pawl_ways pawl_forward_ways(struct pawl_dispatch *dispatch, const uint32_t *slots,
                                   size_t count)
{
    struct pawl_ways ways = pawl_forward_way(dispatch, slots[0]);

    for (size_t i = 1; i < count; i++) {
        struct pawl_ways next;

        if (slots[i] == slots[i - 1]) {
            continue;
        }
        next = pawl_forward_way(dispatch, slots[i]);
        /* What keeps all of it from being done comes first. */
        if (next.way != ways.way || (next.way == PAWL_WAY_FORWARD && next.to != ways.to)) {
            ways.several = true;
            if (next.way > ways.way) {
                ways.way = next.way;
                ways.to = next.to;
                ways.slot = next.slot;
            }
        }
    }
    return ways;
}

/* ---- passing on ---------------------------------------------------------------------------- */

void pawl_forward_say_moved(struct pawl_dispatch *dispatch, struct pawl_session *session,
                            uint32_t slot)
{
    static const char text[] = "this member does not count the key now; nothing was done";
    const struct pawl_forward *forward = dispatch->forward;
    bool held = atomic_load_explicit(&forward->world->ownership.states[slot],
                                     memory_order_acquire) == PAWL_SLOT_HELD;
    struct pawl_wire_reply reply = { .id = dispatch->request.id,
                                     .status = PAWL__V1__STATUS__STATUS_MOVED,
                                     .error = pawl_bytes_of(text, sizeof(text) - 1),
                                     .hello = forward->hello,
                                     .view_number = held ? 0 : forward->territory->view };

    pawl_reply_hot(session, &reply);
}

enum pawl_again pawl_forward_on_moved(struct pawl_forward *forward,
                                      const struct pawl_member_id *member, uint64_t number)
{
    pawl_count(&forward->dispatch->metrics->moved);
    if (number == 0) {
        forward->world->calls.unreachable(forward->world->calls.self, *member);
        return PAWL_AGAIN_ALONE;
    }
    if (number > forward->territory->view) {
        forward->world->calls.refresh(forward->world->calls.self, number);
    }
    return PAWL_AGAIN_MOVED;
}

static void pass_reply_on(struct pawl_parcel *parcel, struct pawl_bytes reply)
{
    struct pawl_forward *forward = parcel->forward;
    struct pawl_session *session =
        forward->closing ? NULL : pawl_session_find(forward->dispatch->worker, parcel->to.ticket);
    size_t bound = reply.size + parcel->hello_size + PAWL_ENVELOPE_REPLY_BYTES;
    uint8_t *out = session != NULL ? pawl_session_reserve(session, bound) : NULL;

    if (out != NULL) {
        size_t size =
            pawl_envelope_reply(out, bound, reply, parcel->to.id, pawl_parcel_hello(parcel));

        if (size > 0) {
            pawl_session_commit(session, size);
        }
    }
    pawl_parcel_drop(parcel);
}

void pawl_parcel_again(struct pawl_parcel *parcel, enum pawl_again why)
{
    unsigned pause = ++parcel->tries < PAWL_FORWARD_PAUSES ? parcel->tries : PAWL_FORWARD_PAUSES;

    parcel->unsent += why == PAWL_AGAIN_UNSENT ? 1 : 0;
    if (why == PAWL_AGAIN_ALONE || parcel->unsent > PAWL_FORWARD_TRIES) {
        parcel->degrade = true;
        pawl_parcel_run(parcel);
        return;
    }
    pawl_parcel_park(parcel, parcel->slot, PAWL_FORWARD_TICK_MS * pause);
}

static void on_whole(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes reply,
                     const char *why)
{
    struct pawl_parcel *parcel = ctx;
    struct pawl_forward *forward = parcel->forward;
    struct pawl_envelope_reply envelope;

    parcel->state = PAWL_PARCEL_AT_HAND;
    if (forward->closing) {
        pawl_parcel_drop(parcel);
        return;
    }
    if (outcome == PAWL_PEER_UNSENT) {
        pawl_parcel_again(parcel, PAWL_AGAIN_UNSENT);
        return;
    }
    if (outcome != PAWL_PEER_REPLY || pawl_envelope_read_reply(&envelope, reply) != PAWL_OK) {
        char text[PAWL_ERROR_BYTES];

        (void)snprintf(text, sizeof(text),
                       "the member that counts this key did not answer, and may have counted it "
                       "(%.120s)",
                       why != NULL ? why : "its reply is none");
        pawl_parcel_refuse(parcel, PAWL__V1__STATUS__STATUS_UNAVAILABLE, true, text);
        return;
    }
    if (envelope.status == PAWL__V1__STATUS__STATUS_MOVED) {
        pawl_parcel_again(parcel,
                          pawl_forward_on_moved(forward, &parcel->owner, envelope.view_number));
        return;
    }
    pass_reply_on(parcel, reply);
}

bool pawl_parcel_await_link(struct pawl_parcel *parcel, uint16_t to)
{
    const struct pawl_peer_link *link = parcel->forward->links[to];

    if (link == NULL) {
        return false;
    }
    switch (pawl_peer_link_state(link)) {
    case PAWL_PEER_LINK_OPENING: /* full: its owner is there, and decides when its turn comes */
    case PAWL_PEER_LINK_OPEN:
        break;
    case PAWL_PEER_LINK_PARTING:
    case PAWL_PEER_LINK_IDLE: /* the end of the connection before is not through */
        if (++parcel->drains > PAWL_FORWARD_DRAINS) {
            return false;
        }
        break;
    default:
        return false;
    }
    pawl_parcel_park(parcel, parcel->slot, PAWL_FORWARD_TICK_MS);
    return true;
}

/* Send @parcel as it lies to member @to. False: not now. */
static bool send_whole(struct pawl_parcel *parcel, uint16_t to)
{
    struct pawl_forward *forward = parcel->forward;
    uint32_t left_ms = pawl_parcel_left_ms(parcel, pawl_forward_clock_ms(forward));
    struct pawl_envelope envelope = { .view = forward->territory->view,
                                      .deadline_ms = pawl_forward_share_ms(left_ms),
                                      .namespace_ = pawl_parcel_ns(parcel) };
    struct pawl_peer_link *link = pawl_forward_link(forward, to, &envelope.id);

    if (link == NULL) {
        return false;
    }
    size_t size = pawl_envelope_forward(forward->frame, sizeof(forward->frame),
                                        pawl_parcel_message(parcel), &envelope);

    if (size == 0) {
        pawl_parcel_refuse(parcel, PAWL__V1__STATUS__STATUS_INVALID, false,
                           "too large to be passed on to the member that counts it");
        return true;
    }
    parcel->state = PAWL_PARCEL_SENT;
    parcel->owner = forward->territory->members[to].id;
    if (pawl_peer_link_ask(link, envelope.id, pawl_bytes_of(forward->frame, size), left_ms,
                           on_whole, parcel) != PAWL_OK) {
        parcel->state = PAWL_PARCEL_AT_HAND;
        return false;
    }
    pawl_count(&forward->dispatch->metrics->forwarded);
    return true;
}

void pawl_forward_whole(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const struct pawl_ways *ways)
{
    struct pawl_parcel *parcel;

    if (ways->way == PAWL_WAY_MOVED) {
        pawl_forward_say_moved(dispatch, session, ways->slot);
        return;
    }
    if (ways->way == PAWL_WAY_LAPSED) {
        struct pawl_wire_reply reply = { .id = dispatch->request.id,
                                         .status = PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                                         .hello = dispatch->forward->hello };
        const char *text = pawl_forward_why_lapsed(dispatch, ways->slot);

        (void)pawl_parcel_hello_at_hand(dispatch->forward, session);
        reply.error = pawl_bytes_of(text, strnlen(text, PAWL_ERROR_BYTES));
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_hot(session, &reply);
        return;
    }
    parcel = pawl_parcel_take(dispatch, session);
    if (parcel == NULL) {
        return;
    }
    parcel->slot = ways->slot;
    if (ways->way == PAWL_WAY_WAIT) {
        pawl_parcel_park(parcel, ways->slot, 0);
    } else if (!send_whole(parcel, ways->to) && !pawl_parcel_await_link(parcel, ways->to)) {
        parcel->degrade = true;
        pawl_dispatch_run_again(dispatch, session, parcel);
    }
}

const char *pawl_forward_why_lapsed(struct pawl_dispatch *dispatch, uint32_t slot)
{
    const struct pawl_forward *forward = dispatch->forward;
    const struct pawl_territory *territory = forward->territory;
    uint16_t owner = territory->view != 0 ? territory->ring.owner[slot] : PAWL_RING_NOBODY;

    if (owner == PAWL_RING_NOBODY || owner == territory->self) {
        return territory->view == 0
                   ? "this member has not joined the cluster yet; nothing was done"
                   : "this member counts the key and lost touch with the engine: it may not decide "
                     "until it is back; nothing was done";
    }
    const char *why =
        forward->links[owner] != NULL ? pawl_peer_link_why(forward->links[owner]) : "";

    (void)snprintf(dispatch->error, sizeof(dispatch->error),
                   "the member that counts this key cannot be asked; nothing was done: %.150s",
                   why[0] != '\0' ? why : territory->members[owner].address);
    return dispatch->error;
}

/* ---- life ---------------------------------------------------------------------------------- */

struct pawl_forward *pawl_forward_open(struct pawl_dispatch *dispatch)
{
    struct pawl_forward *forward = calloc(1, sizeof(*forward));
    struct pawl_cluster_world *world = dispatch->app->cluster;

    if (forward == NULL) {
        return NULL;
    }
    forward->dispatch = dispatch;
    forward->world = world;
    forward->part_reply.results = forward->part_results;
    forward->outbound = calloc(1, sizeof(*forward->outbound));
    if (forward->outbound == NULL ||
        pawl_outbound_init(forward->outbound, &dispatch->worker->loop, world->tls.ops) != PAWL_OK) {
        free(forward->outbound);
        free(forward);
        return NULL;
    }
    forward->net = pawl_outbound_net(forward->outbound);
    forward->timer = forward->net.ops->timer(forward->net.self, on_tick, forward);
    if (forward->timer == NULL) {
        pawl_outbound_close(forward->outbound, free, forward->outbound);
        free(forward);
        return NULL;
    }
    forward->seed = ((uint64_t)dispatch->index << 32) | (uint64_t)(uintptr_t)forward;
    pawl_forward_take_territory(forward);
    pawl_world_enter(world, dispatch->index, dispatch->worker, on_poked, forward);
    return forward;
}

void pawl_forward_close(struct pawl_forward *forward)
{
    if (forward == NULL) {
        return;
    }
    forward->closing = true;
    for (uint16_t i = 0; i < PAWL_MEMBERS_MAX; i++) {
        pawl_peer_link_destroy(forward->links[i]);
    }
    for (unsigned i = 0; i < PAWL_FORWARD_OLD_LINKS; i++) {
        pawl_peer_link_destroy(forward->old_links[i]);
    }
    end_doomed_links(forward);
    pawl_parcels_close(forward);
    pawl_returns_close(forward);
    forward->net.ops->release(forward->timer);
    pawl_outbound_close(forward->outbound, free, forward->outbound);
    pawl_territory_release(forward->territory);
    free(forward);
}
