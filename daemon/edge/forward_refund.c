/*
 * Refunds about keys of several members: each member gets its part, all at once, and what came back
 * is put together. Of a member that does not answer nothing came back; a refund that may have been
 * done is not sent again.
 */
#include "edge/forward.h"

#include <stdlib.h>
#include <string.h>

#include "pawl/v1/envelope.h"

#define ARENA_BYTES 8192

/** One refund that is taken apart; ends with its last part. */
struct joint {
    struct pawl_parcel *parcel;
    unsigned left; /* parts, and one while they are being sent */
    size_t count;
    bool effect_unknown; /* a member was asked, and did not answer */
    uint64_t refunded[PAWL_ITEMS_MAX];
};

struct part {
    struct joint *joint;
    size_t count;
    uint8_t items[PAWL_ITEMS_MAX];
};

static void part_ended(struct joint *joint)
{
    struct pawl_parcel *parcel = joint->parcel;
    struct pawl_forward *forward = parcel->forward;
    struct pawl_session *session =
        forward->closing ? NULL : pawl_session_find(forward->dispatch->worker, parcel->to.ticket);
    Pawl__V1__RefundReply body = PAWL__V1__REFUND_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    if (--joint->left > 0) {
        return;
    }
    body.n_refunded = joint->count;
    body.refunded = joint->refunded;
    reply.id = parcel->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.effect_unknown = joint->effect_unknown;
    reply.body_case = PAWL__V1__REPLY__BODY_REFUND;
    reply.refund = &body;
    if (session != NULL) {
        struct pawl_session_state *state = pawl_session_user(session);

        if (parcel->hello_size > 0) { /* packed anew with the reply */
            state->hello_owed = true;
            state->hello_id = parcel->to.id;
        }
        pawl_reply_cold(forward->dispatch, session, &reply);
    }
    pawl_parcel_drop(parcel);
    free(joint);
}

static void take_part(const struct part *part, struct pawl_bytes message)
{
    uint64_t memory[ARENA_BYTES / sizeof(uint64_t)];
    struct pawl_cold_arena arena;
    Pawl__V1__Reply *reply = NULL;

    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    if (pawl_cold_read_reply(&arena, message, &reply) != PAWL_OK ||
        reply->status != PAWL__V1__STATUS__STATUS_OK ||
        reply->body_case != PAWL__V1__REPLY__BODY_REFUND) {
        return;
    }
    for (size_t i = 0; i < part->count && i < reply->refund->n_refunded; i++) {
        part->joint->refunded[part->items[i]] = reply->refund->refunded[i];
    }
}

static void on_part(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes message,
                    const char *why)
{
    struct part *part = ctx;
    struct joint *joint = part->joint;

    (void)why;
    if (outcome == PAWL_PEER_REPLY) {
        take_part(part, message);
    }
    joint->effect_unknown = joint->effect_unknown || outcome == PAWL_PEER_UNKNOWN;
    free(part);
    part_ended(joint);
}

/* The items of @all that go to member @to. False: it was not sent. */
static bool send_part(struct joint *joint, const Pawl__V1__Refund *all, const uint16_t *owners,
                      uint16_t to)
{
    struct pawl_parcel *parcel = joint->parcel;
    struct pawl_forward *forward = parcel->forward;
    uint32_t left_ms = pawl_parcel_left_ms(parcel, pawl_forward_now_ms(forward->dispatch));
    struct part *part = calloc(1, sizeof(*part));
    Pawl__V1__RefundItem *items[PAWL_ITEMS_MAX];
    Pawl__V1__Refund body = PAWL__V1__REFUND__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    struct pawl_peer_link *link = part != NULL ? pawl_forward_link(forward, to, &request.id) : NULL;
    size_t size = 0;

    for (size_t i = 0; link != NULL && i < joint->count; i++) {
        if (owners[i] == to) {
            items[part->count] = all->items[i];
            part->items[part->count++] = (uint8_t)i;
        }
    }
    if (link != NULL) {
        part->joint = joint;
        body.n_items = part->count;
        body.items = items;
        request.deadline_ms = left_ms;
        request.forwarded = true;
        request.view = forward->territory->view;
        request.namespace_.data = parcel->ns;
        request.namespace_.len = parcel->ns_size;
        request.body_case = PAWL__V1__REQUEST__BODY_REFUND;
        request.refund = &body;
        size = pawl_cold_write_request(forward->frame, sizeof(forward->frame), &request);
    }
    if (size == 0 || pawl_peer_link_ask(link, request.id, pawl_bytes_of(forward->frame, size),
                                        left_ms, on_part, part) != PAWL_OK) {
        free(part);
        return false;
    }
    pawl_count(&forward->dispatch->metrics->forwarded);
    joint->left++;
    return true;
}

void pawl_forward_refund(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         const Pawl__V1__Request *request, const uint32_t *slots)
{
    uint16_t owners[PAWL_ITEMS_MAX] = { 0 };
    struct joint *joint = calloc(1, sizeof(*joint));
    struct pawl_parcel *parcel = joint != NULL ? pawl_parcel_take(dispatch, session) : NULL;
    const Pawl__V1__Refund *refund = request->refund;

    if (parcel == NULL) {
        free(joint);
        return;
    }
    joint->parcel = parcel;
    parcel->state = PAWL_PARCEL_SENT;
    joint->count = refund->n_items;
    joint->left = 1;
    for (size_t i = 0; i < joint->count; i++) {
        struct pawl_ways ways = pawl_forward_way(dispatch, slots[i]);

        owners[i] = ways.way == PAWL_WAY_FORWARD ? ways.to : PAWL_RING_NOBODY;
        if (ways.way == PAWL_WAY_LOCAL) {
            (void)pawl_dispatch_refund_one(dispatch, refund->items[i], &joint->refunded[i]);
        }
    }
    for (uint16_t to = 0; to < dispatch->forward->territory->ring.member_count; to++) {
        bool any = false;

        for (size_t i = 0; i < joint->count; i++) {
            any = any || owners[i] == to;
        }
        if (any) {
            (void)send_part(joint, refund, owners, to);
        }
    }
    part_ended(joint);
}
