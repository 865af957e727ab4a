/*
 * Refunds, resets, reservations and their ends in a cluster: which go on here.
 *
 * They go as a whole to the one member that counts their keys. A refund about keys of several
 * members is taken apart (forward_refund.c); a reservation is not: what it takes is one grant at
 * one member. A lease begins with a mark of the member that granted it, which leads commit and
 * cancel there, whoever counts the keys by then.
 */
#include "edge/durable.h"
#include "edge/forward.h"

#include <stdio.h>
#include <string.h>

/** Slots of what a request is about. */
struct slots {
    uint32_t at[PAWL_ITEMS_MAX];
    size_t count;
    bool whole; /* all of it can be placed; else it goes on here, to be refused */
};

static void add_key(struct pawl_dispatch *dispatch, struct slots *slots, size_t count,
                    const ProtobufCBinaryData *key)
{
    struct pawl_bytes parts[PAWL_KEY_PARTS_MAX];

    if (count == 0 || count > PAWL_KEY_PARTS_MAX || slots->count == PAWL_ITEMS_MAX) {
        slots->whole = false;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        parts[i] = pawl_wire_bytes(key[i]);
    }
    slots->at[slots->count++] =
        pawl_ring_slot(&dispatch->forward->world->slots_key, dispatch->ns, parts, count);
}

static void find_slots(struct pawl_dispatch *dispatch, const Pawl__V1__Request *request,
                       struct slots *slots)
{
    slots->count = 0;
    slots->whole = true;
    switch (request->body_case) {
    case PAWL__V1__REQUEST__BODY_REFUND:
        for (size_t i = 0; i < request->refund->n_items; i++) {
            add_key(dispatch, slots, request->refund->items[i]->n_key,
                    request->refund->items[i]->key);
        }
        return;
    case PAWL__V1__REQUEST__BODY_RESET:
        add_key(dispatch, slots, request->reset->n_key, request->reset->key);
        return;
    case PAWL__V1__REQUEST__BODY_RESERVE:
        for (size_t i = 0; i < request->reserve->n_items; i++) {
            add_key(dispatch, slots, request->reserve->items[i]->n_key,
                    request->reserve->items[i]->key);
        }
        return;
    default:
        return;
    }
}

/* ---- leases -------------------------------------------------------------------------------- */

void pawl_forward_lease_tag(const struct pawl_cluster_world *world,
                            const struct pawl_member_id *member, uint8_t tag[PAWL_LEASE_TAG_BYTES])
{
    uint64_t hash = pawl_keyhash64(&world->slots_key, member->bytes, sizeof(member->bytes));

    for (unsigned i = 0; i < PAWL_LEASE_TAG_BYTES; i++) {
        tag[i] = (uint8_t)(hash >> (8 * i));
    }
}

/* Index of the member that granted @lease, or NOBODY: ours, of one that left, or none at all. */
static uint16_t granter_of(const struct pawl_forward *forward, ProtobufCBinaryData lease)
{
    const struct pawl_territory *territory = forward->territory;
    uint8_t tag[PAWL_LEASE_TAG_BYTES];

    if (lease.len < sizeof(tag)) {
        return PAWL_RING_NOBODY;
    }
    pawl_forward_lease_tag(forward->world, &forward->world->self, tag);
    if (memcmp(tag, lease.data, sizeof(tag)) == 0) {
        return PAWL_RING_NOBODY;
    }
    for (uint16_t i = 0; i < territory->member_count; i++) {
        pawl_forward_lease_tag(forward->world, &territory->members[i].id, tag);
        if (memcmp(tag, lease.data, sizeof(tag)) == 0) {
            return i;
        }
    }
    return PAWL_RING_NOBODY;
}

static bool lease_goes_on_here(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               ProtobufCBinaryData lease)
{
    struct pawl_forward *forward = dispatch->forward;
    struct pawl_ways ways = { .way = PAWL_WAY_FORWARD };

    ways.to = granter_of(forward, lease);
    if (dispatch->request.forwarded || ways.to == PAWL_RING_NOBODY) {
        return true;
    }
    if (forward->at_hand != NULL && forward->at_hand->degrade) {
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "the member that granted this lease cannot be asked; nothing was done");
        return false;
    }
    pawl_forward_whole(dispatch, session, &ways);
    return false;
}

/* ---- the way of a request ------------------------------------------------------------------ */

static void refuse_several(struct pawl_dispatch *dispatch, struct pawl_session *session)
{
    pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_UNSUPPORTED,
                     "the keys of this request are counted by several members: ask for each "
                     "key by itself");
}

bool pawl_forward_is_passed_on(Pawl__V1__Request__BodyCase body)
{
    switch (body) {
    case PAWL__V1__REQUEST__BODY_REFUND:
    case PAWL__V1__REQUEST__BODY_RESET:
    case PAWL__V1__REQUEST__BODY_RESERVE:
    case PAWL__V1__REQUEST__BODY_COMMIT:
    case PAWL__V1__REQUEST__BODY_CANCEL:
        return true;
    default:
        return false;
    }
}

bool pawl_forward_cold(struct pawl_dispatch *dispatch, struct pawl_session *session,
                       const Pawl__V1__Request *request)
{
    struct pawl_forward *forward = dispatch->forward;
    struct slots slots;
    struct pawl_ways ways;

    if (!pawl_forward_is_passed_on(request->body_case)) {
        return true;
    }
    if (request->body_case == PAWL__V1__REQUEST__BODY_COMMIT) {
        return lease_goes_on_here(dispatch, session, request->commit->lease);
    }
    if (request->body_case == PAWL__V1__REQUEST__BODY_CANCEL) {
        return lease_goes_on_here(dispatch, session, request->cancel->lease);
    }
    find_slots(dispatch, request, &slots);
    if (!slots.whole || slots.count == 0) {
        return true;
    }
    ways = pawl_forward_ways(dispatch, slots.at, slots.count);
    if (forward->at_hand != NULL && forward->at_hand->degrade && ways.way != PAWL_WAY_LOCAL) {
        ways.way = PAWL_WAY_LAPSED;
    }
    if (ways.way == PAWL_WAY_LOCAL) {
        return true;
    }
    if (ways.way == PAWL_WAY_FORWARD && ways.several) {
        if (request->body_case == PAWL__V1__REQUEST__BODY_REFUND) {
            pawl_forward_refund(dispatch, session, request, slots.at);
        } else {
            refuse_several(dispatch, session);
        }
        return false;
    }
    pawl_forward_whole(dispatch, session, &ways);
    return false;
}
