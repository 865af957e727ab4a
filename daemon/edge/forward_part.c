/*
 * The parts of a check about keys of several members: those decided here, those that others are
 * asked for, and what becomes of their replies.
 */
#include "edge/forward_split.h"

#include <stdio.h>
#include <string.h>

/* ---- what a part brings -------------------------------------------------------------------- */

/* A result of the part of @items. False: it is none of what was asked. */
static bool note_result(struct pawl_split *split, uint64_t items,
                        const struct pawl_wire_result *result)
{
    uint32_t item = pawl_split_item_at(items, result->item);

    if (split->result_count == PAWL_RESULTS_MAX || item == PAWL_ITEMS_MAX) {
        return false;
    }
    split->results[split->result_count] = *result;
    split->results[split->result_count++].item = item;
    split->charged |= result->charge != 0 ? pawl_split_bit(item) : 0;
    split->contended = split->contended || (!result->allowed && result->contended);
    return true;
}

static void note_verdict(struct pawl_split *split, uint64_t items, uint32_t verdict)
{
    split->pending &= ~items;
    if (verdict == PAWL_DENY) {
        split->refused = true;
    } else if (verdict != PAWL_ALLOW) {
        split->undecided = true;
    }
}

/* No answer but this one, when all parts have ended. */
static void note_failure(struct pawl_split *split, unsigned status, bool perhaps, const char *text,
                         size_t size)
{
    split->perhaps = split->perhaps || perhaps;
    if (split->failed == 0 || perhaps) {
        split->failed = status;
        (void)snprintf(split->text, sizeof(split->text), "%.*s",
                       (int)(size < sizeof(split->text) ? size : sizeof(split->text) - 1), text);
    }
}

static void note_again(struct pawl_split *split, enum pawl_again why)
{
    split->again = !split->unheard || why > split->again ? why : split->again;
    split->unheard = true;
}

static void note_unreadable(struct pawl_split *split)
{
    static const char text[] = "the reply of a member does not fit to what it was asked";

    note_failure(split, PAWL__V1__STATUS__STATUS_UNAVAILABLE, true, text, sizeof(text) - 1);
}

static void on_reply(struct pawl_part *part, struct pawl_bytes message)
{
    struct pawl_forward *forward = part->parcel->forward;
    struct pawl_split *split = part->parcel->split;
    struct pawl_wire_reply *reply = &forward->part_reply;
    unsigned status;

    reply->results = forward->part_results;
    if (pawl_wire_read_reply(reply, message) != PAWL_OK) {
        note_unreadable(split);
        return;
    }
    status = reply->status;
    if (status == PAWL__V1__STATUS__STATUS_MOVED) {
        note_again(split, pawl_forward_on_moved(forward, &part->owner, reply->view_number));
        return;
    }
    if (status != PAWL__V1__STATUS__STATUS_OK) {
        note_failure(split, status, reply->effect_unknown, (const char *)reply->error.data,
                     reply->error.size);
        return;
    }
    if (reply->body != PAWL_BODY_CHECK) {
        note_unreadable(split);
        return;
    }
    for (uint32_t i = 0; i < reply->result_count; i++) {
        if (!note_result(split, part->items, &reply->results[i])) {
            note_unreadable(split);
            return;
        }
    }
    note_verdict(split, part->items, reply->verdict);
}

static void on_part(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes reply,
                    const char *why)
{
    struct pawl_part *part = ctx;
    struct pawl_parcel *parcel = part->parcel;
    struct pawl_split *split = parcel->split;
    char text[PAWL_ERROR_BYTES];

    if (outcome == PAWL_PEER_REPLY) {
        on_reply(part, reply);
    } else if (outcome == PAWL_PEER_UNSENT) {
        note_again(split, PAWL_AGAIN_UNSENT);
    } else {
        (void)snprintf(text, sizeof(text),
                       "a member that counts one of the keys did not answer, and may have counted "
                       "it (%.120s); the others were given back",
                       why);
        note_failure(split, PAWL__V1__STATUS__STATUS_UNAVAILABLE, true, text, strlen(text));
    }
    if (--split->under_way == 0) {
        pawl_split_go_on(parcel);
    }
}

/* ---- parts --------------------------------------------------------------------------------- */

static uint32_t op_of(const struct pawl_split *split, const struct pawl_check *check)
{
    return split->atomic && split->refused ? PAWL_OP_PEEK : (uint32_t)check->plan.op;
}

/* Whether what the part of @items charges may go back, because there are others. */
static bool is_hold(const struct pawl_split *split, uint64_t items)
{
    return split->atomic && (split->pending & ~items) != 0;
}

/* A charge that others may be told of, or a denial that another's may be the reason of. */
static void note_hold(struct pawl_dispatch *dispatch, const struct pawl_split *split,
                      const struct pawl_check *check, uint64_t items,
                      struct pawl_wire_result *result)
{
    struct pawl_holds *holds = &dispatch->forward->world->holds;
    uint32_t item = pawl_split_item_at(items, result->item);

    for (size_t i = 0; i < check->plan.slots_count; i++) {
        const struct pawl_limiter_slot *slot = &check->plan.slots[i];
        uint32_t own = check->bypassed != 0 ? dispatch->asked_index[slot->item] : slot->item;

        if (own != item || slot->rate_index != result->rate_index) {
            continue;
        }
        if (!result->allowed) {
            result->contended = pawl_forward_is_contended(dispatch, slot->id);
        } else if (result->charge != 0 && is_hold(split, items)) {
            pawl_hold_begin(holds, slot->id, pawl_forward_now_ms(dispatch));
        }
    }
}

void pawl_part_decide(struct pawl_dispatch *dispatch, struct pawl_session *session,
                      struct pawl_split *split, const struct pawl_check *check, uint64_t items)
{
    struct pawl_limit_outcome outcome = { PAWL_VERDICT_NONE, 0 };
    struct pawl_limit_request ask = { .items = dispatch->asked,
                                      .mode = (enum pawl_limiter_mode)dispatch->request.mode,
                                      .op = (enum pawl_limiter_op)op_of(split, check),
                                      .now = dispatch->now.instant,
                                      .wall = dispatch->now.wall };

    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        if (pawl_split_has(items, i)) {
            dispatch->asked[ask.items_count++] = dispatch->items[i];
        }
    }
    if (pawl_limiter_check(dispatch->app->limiter, &ask, dispatch->results, PAWL_LIMITER_SLOTS_MAX,
                           &outcome) != PAWL_OK) {
        outcome = (struct pawl_limit_outcome){ PAWL_UNDECIDED, 0 }; /* cannot be: prepared before */
    }
    if (ask.op == PAWL_OP_CHECK) {
        pawl_dispatch_count_asked(dispatch, session, outcome.results_count);
    }
    split->local |= items;
    for (size_t i = 0; i < outcome.results_count; i++) {
        struct pawl_wire_result result =
            pawl_dispatch_wire_result(&dispatch->results[i],
                                      dispatch->asked[dispatch->results[i].item].limit);

        note_hold(dispatch, split, check, items, &result);
        (void)note_result(split, items, &result);
    }
    note_verdict(split, items, outcome.verdict);
}

/* The part of @items as a check of its own, in forward->frame; 0: too large. */
static size_t write_part(struct pawl_dispatch *dispatch, const struct pawl_parcel *parcel,
                         const struct pawl_check *check, uint64_t items, uint64_t id)
{
    struct pawl_forward *forward = dispatch->forward;
    struct pawl_wire_request *part = &forward->part;
    const struct pawl_split *split = parcel->split;

    part->id = id;
    part->deadline_ms =
        pawl_forward_share_ms(pawl_parcel_left_ms(parcel, pawl_forward_clock_ms(forward)));
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
    part->hold = is_hold(split, items);
    part->item_count = 0;
    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        if (pawl_split_has(items, i)) {
            part->items[part->item_count++] = dispatch->request.items[i];
        }
    }
    return pawl_wire_request_bound(part) <= sizeof(forward->frame)
               ? pawl_wire_write_request(forward->frame, part)
               : 0;
}

void pawl_part_send(struct pawl_dispatch *dispatch, struct pawl_parcel *parcel,
                    const struct pawl_check *check, uint64_t items, uint16_t to)
{
    static const char too_large[] = "too large to be passed on to the members that count its keys";
    struct pawl_forward *forward = dispatch->forward;
    struct pawl_split *split = parcel->split;
    struct pawl_part *part = &split->parts[split->part_count++];
    uint64_t id = 0;
    struct pawl_peer_link *link = pawl_forward_link(forward, to, &id);
    size_t size = link != NULL ? write_part(dispatch, parcel, check, items, id) : 0;

    *part = (struct pawl_part){ parcel, items, forward->territory->members[to].id };
    if (link != NULL && size == 0) {
        note_failure(split, PAWL__V1__STATUS__STATUS_INVALID, false, too_large,
                     sizeof(too_large) - 1);
    } else if (link == NULL ||
               pawl_peer_link_ask(link, id, pawl_bytes_of(forward->frame, size),
                                  pawl_parcel_left_ms(parcel, pawl_forward_clock_ms(forward)),
                                  on_part, part) != PAWL_OK) {
        note_again(split, PAWL_AGAIN_UNSENT);
    } else {
        split->under_way++;
        pawl_count(&dispatch->metrics->forwarded);
    }
}
