/*
 * Checks about keys of several members, and checks with a token whose keys are not counted here:
 * decided part by part. The token is judged here, first, and goes no further.
 *
 *   pending items -> the lowest slot's owner -> all that it owns are one part: decided here, or
 * sent as a check of their own -> its results noted -> ... -> no item is pending: the answer
 *
 * Parts go one after the other in the order of their slots. With PAWL_MODE_ATOMIC a part that is
 * refused has what the parts before it charged given back by its handles, and the parts behind it
 * are only asked. Nothing is held longer than that: a charge that cannot be given back stays.
 *
 * A part that is moved or not sent goes again, to whoever owns its slots by then. Where a part can
 * be decided by nobody, all is given back, and the check goes on as a degraded one.
 */
#include "edge/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pawl/v1/envelope.h"

#define GIVE_BACK_MS 1000

struct pawl_split {
    uint64_t pending;  /* items that nobody has decided; a bit for each */
    uint64_t sent;     /* of the part under way */
    uint64_t local;    /* decided here ... */
    uint64_t exact;    /* ... and to be saved before the answer */
    uint64_t charged;  /* and not given back */
    uint64_t returned; /* charged, and given back */
    bool atomic;
    bool refused;
    bool undecided;
    uint32_t part_count;
    uint8_t part_items[PAWL_ITEMS_MAX]; /* of the part under way: index of each in the check */
    struct pawl_member_id owners[PAWL_ITEMS_MAX]; /* who decided it */
    uint32_t result_count;
    struct pawl_wire_result results[PAWL_RESULTS_MAX];
};

void pawl_split_free(struct pawl_split *split)
{
    free(split);
}

static bool has(uint64_t set, uint32_t item)
{
    return (set >> item & 1) != 0;
}

/* ---- giving back --------------------------------------------------------------------------- */

/* The handles of what @item charged, by rate. Returns how many rates it has. */
static size_t handles_of(const struct pawl_split *split, uint32_t item,
                         uint64_t charges[PAWL_RATES_MAX])
{
    size_t count = 0;

    memset(charges, 0, PAWL_RATES_MAX * sizeof(charges[0]));
    for (uint32_t i = 0; i < split->result_count; i++) {
        const struct pawl_wire_result *result = &split->results[i];

        if (result->item == item && result->rate_index < PAWL_RATES_MAX) {
            charges[result->rate_index] = result->charge;
            count = count > result->rate_index ? count : result->rate_index + 1;
        }
    }
    return count;
}

/* forward->part holds the check. */
static void give_back_here(struct pawl_parcel *parcel, uint32_t index)
{
    struct pawl_dispatch *dispatch = parcel->forward->dispatch;
    struct pawl_limit inline_limit;
    struct pawl_limit_item item;
    struct pawl_item_kind kind;
    uint64_t charges[PAWL_RATES_MAX];

    (void)handles_of(parcel->split, index, charges);
    if (pawl_dispatch_item(dispatch, &parcel->forward->part.items[index], &inline_limit, &item,
                           &kind) != 0 ||
        pawl_limiter_refund(dispatch->app->limiter, &item, charges, dispatch->now.instant, NULL) !=
            PAWL_OK) {
        pawl_count(&dispatch->metrics->holds_kept);
        return;
    }
    pawl_forward_end_hold(dispatch, &item);
}

static ProtobufCBinaryData lent(struct pawl_bytes bytes)
{
    return (ProtobufCBinaryData){ bytes.size, (uint8_t *)(uintptr_t)bytes.data };
}

/* The name that the owner finds the limit by: that of its tier, where it has one. */
static ProtobufCBinaryData name_of(struct pawl_dispatch *dispatch,
                                   const struct pawl_wire_item *wire)
{
    const struct pawl_rule *rule =
        wire->limit.size == 0
            ? NULL
            : pawl_rules_find(dispatch->rules, dispatch->ns, wire->limit, wire->tier);

    return rule != NULL ? pawl_wire_text(rule->limit.name) : lent(wire->limit);
}

static Pawl__V1__Rate **rates_of(struct pawl_dispatch *dispatch, const struct pawl_wire_item *wire)
{
    Pawl__V1__Rate **rates =
        pawl_dispatch_room(dispatch, PAWL_RATES_MAX * sizeof(Pawl__V1__Rate *));

    for (uint32_t i = 0; rates != NULL && i < wire->rate_count; i++) {
        rates[i] = pawl_dispatch_room(dispatch, sizeof(*rates[i]));
        if (rates[i] == NULL) {
            return NULL;
        }
        pawl__v1__rate__init(rates[i]);
        rates[i]->count = wire->rates[i].count;
        rates[i]->window_ms = wire->rates[i].window_ms;
        rates[i]->algorithm = (Pawl__V1__Algorithm)wire->rates[i].algorithm;
        rates[i]->burst = wire->rates[i].burst;
    }
    return rates;
}

static Pawl__V1__RefundItem *refund_item(struct pawl_parcel *parcel, uint32_t index)
{
    struct pawl_dispatch *dispatch = parcel->forward->dispatch;
    const struct pawl_wire_item *wire = &parcel->forward->part.items[index];
    Pawl__V1__RefundItem *item = pawl_dispatch_room(dispatch, sizeof(*item));
    uint64_t *charges = pawl_dispatch_room(dispatch, PAWL_RATES_MAX * sizeof(*charges));
    ProtobufCBinaryData *key =
        pawl_dispatch_room(dispatch, PAWL_KEY_PARTS_MAX * sizeof(ProtobufCBinaryData));
    Pawl__V1__Rate **rates = rates_of(dispatch, wire);

    if (item == NULL || charges == NULL || key == NULL || rates == NULL) {
        return NULL;
    }
    pawl__v1__refund_item__init(item);
    item->limit = name_of(dispatch, wire);
    item->cost = wire->cost;
    item->n_key = wire->key_count;
    item->key = key;
    for (uint32_t i = 0; i < wire->key_count; i++) {
        key[i] = lent(wire->key[i]);
    }
    item->n_rates = wire->rate_count;
    item->rates = rates;
    item->n_charges = handles_of(parcel->split, index, charges);
    item->charges = charges;
    return item;
}

/* Nobody waits for it: what comes of it is counted. */
static void on_given_back(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes reply,
                          const char *why)
{
    struct pawl_forward *forward = ctx;
    struct pawl_envelope_reply envelope;

    (void)why;
    if (outcome != PAWL_PEER_REPLY || pawl_envelope_read_reply(&envelope, reply) != PAWL_OK ||
        envelope.status != PAWL__V1__STATUS__STATUS_OK) {
        pawl_count(&forward->dispatch->metrics->holds_kept);
    }
}

static bool send_refund(struct pawl_parcel *parcel, const struct pawl_member_id *owner,
                        uint64_t items)
{
    struct pawl_forward *forward = parcel->forward;
    Pawl__V1__Refund body = PAWL__V1__REFUND__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__RefundItem *list[PAWL_ITEMS_MAX];
    uint16_t index = pawl_territory_find(forward->territory, owner);
    struct pawl_peer_link *link =
        index != PAWL_RING_NOBODY ? pawl_forward_link(forward, index, &request.id) : NULL;

    pawl_cold_arena_reset(&forward->dispatch->arena);
    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        if (has(items, i)) {
            list[body.n_items] = refund_item(parcel, i);
            if (list[body.n_items++] == NULL) {
                return false;
            }
        }
    }
    body.items = list;
    request.deadline_ms = GIVE_BACK_MS;
    request.forwarded = true;
    request.view = forward->territory->view;
    request.namespace_ = lent(pawl_parcel_ns(parcel));
    request.body_case = PAWL__V1__REQUEST__BODY_REFUND;
    request.refund = &body;
    size_t size = link != NULL
                      ? pawl_cold_write_request(forward->frame, sizeof(forward->frame), &request)
                      : 0;

    return size > 0 && pawl_peer_link_ask(link, request.id, pawl_bytes_of(forward->frame, size),
                                          GIVE_BACK_MS, on_given_back, forward) == PAWL_OK;
}

/* All that was charged for @parcel so far. */
static void give_back(struct pawl_parcel *parcel)
{
    struct pawl_forward *forward = parcel->forward;
    struct pawl_split *split = parcel->split;
    uint64_t left = split->charged;

    split->returned |= split->charged;
    split->charged = 0;
    forward->dispatch->ns = pawl_parcel_ns(parcel);
    if (left == 0 ||
        pawl_wire_read_request(&forward->part, pawl_parcel_message(parcel)) != PAWL_OK) {
        return;
    }
    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        uint64_t together = 0;

        if (!has(left, i)) {
            continue;
        }
        if (has(split->local, i)) {
            give_back_here(parcel, i);
            left &= ~(UINT64_C(1) << i);
            continue;
        }
        for (uint32_t j = i; j < PAWL_ITEMS_MAX; j++) {
            bool same = has(left, j) && !has(split->local, j) &&
                        memcmp(&split->owners[j], &split->owners[i], sizeof(split->owners[i])) == 0;

            together |= same ? UINT64_C(1) << j : 0;
        }
        left &= ~together;
        if (!send_refund(parcel, &split->owners[i], together)) {
            pawl_count(&forward->dispatch->metrics->holds_kept);
        }
    }
}

/* ---- what a part brings -------------------------------------------------------------------- */

/* False: there are more results than a check can have. */
static bool note_result(struct pawl_split *split, const struct pawl_wire_result *result)
{
    struct pawl_wire_result *to = &split->results[split->result_count];

    if (split->result_count == PAWL_RESULTS_MAX || result->item >= split->part_count) {
        return false;
    }
    *to = *result;
    to->item = split->part_items[result->item];
    if (result->charge != 0) {
        split->charged |= UINT64_C(1) << to->item;
    }
    split->result_count++;
    return true;
}

static void note_verdict(struct pawl_parcel *parcel, uint32_t verdict)
{
    struct pawl_split *split = parcel->split;

    split->pending &= ~split->sent;
    split->sent = 0;
    if (verdict == PAWL_DENY) {
        split->refused = true;
    } else if (verdict != PAWL_ALLOW) {
        split->undecided = true;
    }
    if (split->refused && split->atomic) {
        give_back(parcel);
    }
}

/* Everything back, and no answer but @status; @perhaps: what does not come back was charged. */
static void give_up(struct pawl_parcel *parcel, unsigned status, bool perhaps, const char *text)
{
    give_back(parcel);
    pawl_parcel_refuse(parcel, status, perhaps, text);
}

static void part_again(struct pawl_parcel *parcel, enum pawl_again why)
{
    parcel->split->sent = 0;
    pawl_parcel_again(parcel, why);
}

static void on_reply(struct pawl_parcel *parcel, struct pawl_bytes message)
{
    struct pawl_forward *forward = parcel->forward;
    struct pawl_wire_reply *reply = &forward->part_reply;
    char text[PAWL_ERROR_BYTES];

    reply->results = forward->part_results;
    if (pawl_wire_read_reply(reply, message) != PAWL_OK) {
        give_up(parcel, PAWL__V1__STATUS__STATUS_UNAVAILABLE, true,
                "the reply of a member cannot be read");
        return;
    }
    if (reply->status == PAWL__V1__STATUS__STATUS_MOVED) {
        part_again(parcel, pawl_forward_on_moved(forward, &parcel->owner, reply->view_number));
        return;
    }
    if (reply->status != PAWL__V1__STATUS__STATUS_OK || reply->body != PAWL_BODY_CHECK) {
        (void)snprintf(text, sizeof(text), "%.*s", (int)reply->error.size,
                       reply->error.size > 0 ? (const char *)reply->error.data : "");
        give_up(parcel,
                reply->status != PAWL__V1__STATUS__STATUS_OK ? reply->status
                                                             : PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                reply->effect_unknown, text);
        return;
    }
    for (uint32_t i = 0; i < reply->result_count; i++) {
        if (!note_result(parcel->split, &reply->results[i])) {
            give_up(parcel, PAWL__V1__STATUS__STATUS_UNAVAILABLE, true,
                    "the reply of a member does not fit to what it was asked");
            return;
        }
    }
    note_verdict(parcel, reply->verdict);
    pawl_parcel_run(parcel);
}

static void on_part(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes reply,
                    const char *why)
{
    struct pawl_parcel *parcel = ctx;
    char text[PAWL_ERROR_BYTES];

    parcel->state = PAWL_PARCEL_AT_HAND;
    if (parcel->forward->closing) {
        pawl_parcel_drop(parcel);
        return;
    }
    switch (outcome) {
    case PAWL_PEER_REPLY:
        on_reply(parcel, reply);
        return;
    case PAWL_PEER_UNSENT:
        part_again(parcel, PAWL_AGAIN_UNSENT);
        return;
    default:
        (void)snprintf(text, sizeof(text),
                       "a member that counts one of the keys did not answer, and may have counted "
                       "it (%.120s); the others were given back",
                       why);
        give_up(parcel, PAWL__V1__STATUS__STATUS_UNAVAILABLE, true, text);
        return;
    }
}

/* ---- parts --------------------------------------------------------------------------------- */

static uint32_t op_of(const struct pawl_split *split, const struct pawl_check *check)
{
    return split->atomic && split->refused ? PAWL_OP_PEEK : (uint32_t)check->plan.op;
}

static void begin_part(struct pawl_split *split, uint64_t items)
{
    split->sent = items;
    split->part_count = 0;
    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        if (has(items, i)) {
            split->part_items[split->part_count++] = (uint8_t)i;
        }
    }
}

/* A charge that others may be told of, or a denial that another's may be the reason of. */
static void note_hold(struct pawl_dispatch *dispatch, const struct pawl_split *split,
                      const struct pawl_check *check, struct pawl_wire_result *result)
{
    struct pawl_holds *holds = &dispatch->forward->world->holds;
    uint32_t item = split->part_items[result->item];

    for (size_t i = 0; i < check->plan.slots_count; i++) {
        const struct pawl_limiter_slot *slot = &check->plan.slots[i];
        uint32_t own = check->bypassed != 0 ? dispatch->asked_index[slot->item] : slot->item;

        if (own != item || slot->rate_index != result->rate_index) {
            continue;
        }
        if (!result->allowed) {
            result->contended = pawl_forward_is_contended(dispatch, slot->id);
        } else if (result->charge != 0 && split->atomic && split->pending != split->sent) {
            pawl_hold_begin(holds, slot->id, pawl_forward_now_ms(dispatch));
        }
    }
}

static void decide_here(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_parcel *parcel, struct pawl_check *check)
{
    struct pawl_split *split = parcel->split;
    struct pawl_limit_outcome outcome = { PAWL_VERDICT_NONE, 0 };
    struct pawl_limit_request ask = { .items = dispatch->asked,
                                      .items_count = split->part_count,
                                      .mode = (enum pawl_limiter_mode)dispatch->request.mode,
                                      .op = (enum pawl_limiter_op)op_of(split, check),
                                      .now = dispatch->now.instant,
                                      .wall = dispatch->now.wall };

    for (uint32_t i = 0; i < split->part_count; i++) {
        dispatch->asked[i] = dispatch->items[split->part_items[i]];
    }
    if (pawl_limiter_check(dispatch->app->limiter, &ask, dispatch->results, PAWL_LIMITER_SLOTS_MAX,
                           &outcome) != PAWL_OK) {
        outcome = (struct pawl_limit_outcome){ PAWL_UNDECIDED, 0 }; /* cannot be: prepared before */
    }
    if (ask.op == PAWL_OP_CHECK) {
        pawl_dispatch_count_asked(dispatch, session, outcome.results_count);
    }
    split->local |= split->sent;
    for (size_t i = 0; i < outcome.results_count; i++) {
        struct pawl_wire_result result =
            pawl_dispatch_wire_result(&dispatch->results[i],
                                      dispatch->asked[dispatch->results[i].item].limit);

        note_hold(dispatch, split, check, &result);
        (void)note_result(split, &result);
    }
    note_verdict(parcel, outcome.verdict);
}

/* The part as a check of its own, in forward->frame; 0: too large. */
static size_t write_part(struct pawl_dispatch *dispatch, const struct pawl_parcel *parcel,
                         const struct pawl_check *check, uint64_t id, uint32_t left_ms)
{
    struct pawl_forward *forward = dispatch->forward;
    struct pawl_wire_request *part = &forward->part;
    const struct pawl_split *split = parcel->split;

    part->id = id;
    part->deadline_ms = pawl_forward_share_ms(left_ms);
    part->now_ms = 0;
    part->view = forward->territory->view;
    part->forwarded = true;
    part->has_hello = false;
    part->has_token = false;
    part->namespace_ = pawl_parcel_ns(parcel);
    part->hello = pawl_bytes_of(NULL, 0);
    part->body = PAWL_BODY_CHECK;
    part->op = op_of(split, check);
    part->mode = dispatch->request.mode;
    part->hold = split->atomic && split->pending != split->sent;
    part->item_count = split->part_count;
    for (uint32_t i = 0; i < split->part_count; i++) {
        part->items[i] = dispatch->request.items[split->part_items[i]];
    }
    return pawl_wire_request_bound(part) <= sizeof(forward->frame)
               ? pawl_wire_write_request(forward->frame, part)
               : 0;
}

/* False: its owner cannot be asked now. */
static bool send_part(struct pawl_dispatch *dispatch, struct pawl_parcel *parcel,
                      const struct pawl_check *check, uint16_t to)
{
    struct pawl_forward *forward = dispatch->forward;
    struct pawl_split *split = parcel->split;
    uint32_t left_ms = pawl_parcel_left_ms(parcel, forward->net.ops->now_ms(forward->net.self));
    uint64_t id = 0;
    struct pawl_peer_link *link = pawl_forward_link(forward, to, &id);
    size_t size = link != NULL ? write_part(dispatch, parcel, check, id, left_ms) : 0;

    if (link != NULL && size == 0) {
        give_up(parcel, PAWL__V1__STATUS__STATUS_INVALID, false,
                "too large to be passed on to the members that count its keys");
        return true;
    }
    parcel->owner = forward->territory->members[to].id;
    for (uint32_t i = 0; i < split->part_count; i++) {
        split->owners[split->part_items[i]] = parcel->owner;
    }
    parcel->state = PAWL_PARCEL_SENT;
    if (size == 0 || pawl_peer_link_ask(link, id, pawl_bytes_of(forward->frame, size), left_ms,
                                        on_part, parcel) != PAWL_OK) {
        parcel->state = PAWL_PARCEL_AT_HAND;
        split->sent = 0;
        return false;
    }
    pawl_count(&dispatch->metrics->forwarded);
    return true;
}

/* ---- the answer ---------------------------------------------------------------------------- */

/* What a charge that was given back did to the numbers. */
static void take_out_charge(struct pawl_dispatch *dispatch, struct pawl_wire_result *result)
{
    uint64_t cost = dispatch->items[result->item].cost;

    if (result->charge == 0) {
        return;
    }
    result->charge = 0;
    result->count = result->count > cost ? result->count - cost : 0;
    result->remaining = result->remaining + cost < result->limit_count ? result->remaining + cost
                                                                       : result->limit_count;
}

/* All results in the order of the items, those of bypassed keys among them. */
static uint32_t join_results(struct pawl_dispatch *dispatch, const struct pawl_split *split,
                             const struct pawl_check *check)
{
    uint32_t count = 0;

    for (uint32_t item = 0; item < dispatch->request.item_count; item++) {
        if (has(check->bypassed, item)) {
            count += pawl_dispatch_bypassed(dispatch, item, check->plan.op == PAWL_OP_CHECK,
                                            &dispatch->wire_results[count]);
            continue;
        }
        for (uint32_t i = 0; i < split->result_count && count < PAWL_RESULTS_MAX; i++) {
            if (split->results[i].item != item) {
                continue;
            }
            dispatch->wire_results[count] = split->results[i];
            if (has(split->returned, item)) {
                take_out_charge(dispatch, &dispatch->wire_results[count]);
            }
            count++;
        }
    }
    return count;
}

static void send_answer(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const struct pawl_split *split, const struct pawl_wire_reply *reply)
{
    uint64_t saved = split->exact & split->local & split->charged;
    uint8_t bytes[PAWL_EXACT_REPLY_MAX];
    size_t count = 0;

    if (saved == 0) {
        pawl_reply_hot(session, reply);
        return;
    }
    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        if (has(saved, i)) {
            dispatch->asked[count++] = dispatch->items[i];
        }
    }
    bool fits = pawl_wire_reply_bound(reply) <= sizeof(bytes); /* else it is answered so */

    pawl_dispatch_exact(dispatch, session, reply->id, dispatch->asked, count,
                        pawl_bytes_of(bytes, fits ? pawl_wire_write_reply(bytes, reply) : 0));
}

static void finish(struct pawl_dispatch *dispatch, struct pawl_session *session,
                   struct pawl_parcel *parcel, const struct pawl_check *check)
{
    const struct pawl_split *split = parcel->split;
    enum pawl_verdict limits = split->refused     ? PAWL_DENY
                               : split->undecided ? PAWL_UNDECIDED
                                                  : PAWL_ALLOW;
    struct pawl_wire_reply reply = {
        .id = check->id,
        .status = PAWL__V1__STATUS__STATUS_OK,
        .hello = pawl_parcel_hello(parcel),
        .body = PAWL_BODY_CHECK,
        .has_token = check->has_token,
        .verdict = pawl_dispatch_joint_verdict(limits, check->token_status),
        .results = dispatch->wire_results,
        .result_count = join_results(dispatch, split, check),
    };

    if (check->has_token) {
        reply.token = check->token;
    }
    if (reply.verdict == PAWL_DENY) {
        pawl_count(&dispatch->metrics->checks_denied);
    }
    send_answer(dispatch, session, split, &reply);
    pawl_parcel_drop(parcel);
}

/* ---- from part to part --------------------------------------------------------------------- */

static struct pawl_split *begin_split(struct pawl_dispatch *dispatch,
                                      const struct pawl_check *check)
{
    struct pawl_split *split = calloc(1, sizeof(*split));
    uint64_t all = dispatch->request.item_count == 64
                       ? UINT64_MAX
                       : (UINT64_C(1) << dispatch->request.item_count) - 1;

    if (split != NULL) {
        split->pending = all & ~check->bypassed;
        split->atomic = dispatch->request.mode == PAWL_MODE_ATOMIC;
        pawl_count(&dispatch->metrics->checks);
        pawl_count(&dispatch->metrics->multi_owner);
    }
    return split;
}

/* The slot of each item of the check at hand; of a rate of it, for they all have the same. */
static void find_slots(const struct pawl_dispatch *dispatch, const struct pawl_check *check,
                       uint32_t slots[PAWL_ITEMS_MAX])
{
    for (size_t i = 0; i < check->plan.slots_count; i++) {
        const struct pawl_limiter_slot *slot = &check->plan.slots[i];
        size_t item = check->bypassed != 0 ? dispatch->asked_index[slot->item] : slot->item;

        slots[item] = (uint32_t)(slot->id.lo & (PAWL_RING_SLOTS - 1));
    }
}

/* Where the pending item with the lowest slot goes, and in @items all that go with it. */
static struct pawl_ways next_part(struct pawl_dispatch *dispatch, const struct pawl_split *split,
                                  const uint32_t *slots, uint64_t *items)
{
    uint32_t lowest = PAWL_RING_SLOTS;

    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        if (has(split->pending, i) && slots[i] < lowest) {
            lowest = slots[i];
        }
    }
    struct pawl_ways ways = pawl_forward_way(dispatch, lowest);

    *items = 0;
    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        struct pawl_ways own = pawl_forward_way(dispatch, slots[i]);

        if (has(split->pending, i) && own.way == ways.way && own.to == ways.to) {
            *items |= UINT64_C(1) << i;
        }
    }
    return ways;
}

/* Nobody decides a part: all back, and then as if nobody could decide any. */
static void degrade(struct pawl_dispatch *dispatch, struct pawl_session *session,
                    struct pawl_parcel *parcel, struct pawl_check *check, uint32_t slot)
{
    give_back(parcel);
    dispatch->ns = check->ns;
    pawl_forward_degrade(dispatch, session, check, slot);
    pawl_parcel_drop(parcel);
}

void pawl_forward_split(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check)
{
    struct pawl_parcel *parcel;
    uint32_t slots[PAWL_ITEMS_MAX] = { 0 };

    pawl_dispatch_flush(dispatch); /* what came before acts before it; @check stays as it is */
    parcel = pawl_parcel_take(dispatch, session);
    if (parcel == NULL) {
        return;
    }
    if (parcel->split == NULL && (parcel->split = begin_split(dispatch, check)) == NULL) {
        pawl_parcel_refuse(parcel, PAWL__V1__STATUS__STATUS_UNAVAILABLE, false, "out of memory");
        return;
    }
    parcel->split->exact = check->exact ? UINT64_MAX : 0;
    find_slots(dispatch, check, slots);
    while (parcel->split->pending != 0) {
        uint64_t items;
        struct pawl_ways ways = next_part(dispatch, parcel->split, slots, &items);

        parcel->slot = ways.slot;
        if (ways.way == PAWL_WAY_WAIT) {
            pawl_parcel_park(parcel, ways.slot, 0);
            return;
        }
        begin_part(parcel->split, items);
        if (ways.way == PAWL_WAY_LOCAL) {
            decide_here(dispatch, session, parcel, check);
            dispatch->ns = check->ns;
        } else {
            bool asked = ways.way == PAWL_WAY_FORWARD && !parcel->degrade &&
                         (send_part(dispatch, parcel, check, ways.to) ||
                          pawl_parcel_await_link(parcel, ways.to));

            if (!asked) {
                degrade(dispatch, session, parcel, check, ways.slot);
            }
            return;
        }
    }
    finish(dispatch, session, parcel, check);
}
