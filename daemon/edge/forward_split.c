/*
 * Checks about keys of several members, and checks with a token whose keys are not counted here:
 * decided in parts. The token is judged here, first, and goes no further.
 *
 *   pending items -> all that one member owns are a part -> ours: decided first
 *                 |                                      -> others': sent, all at once
 *                 <- parts that were moved or not sent     -> all have ended: again, or the answer
 *
 * With PAWL_MODE_ATOMIC a part that is refused has what the others charged given back by its
 * handles (forward_return.c), and parts that are not decided yet are only asked. Nobody waits for
 * anybody meanwhile, so nothing can lock; but two checks that hold what the other one lacks both
 * refuse. So where a denial may be another's hold, the check begins anew once, in order: part by
 * part from the lowest slot on, in which whoever has the first key gets the second one, too.
 *
 * A part that is moved or not sent goes again, to whoever owns its slots by then. Where a part can
 * be decided by nobody, all is given back, and the check goes on as a degraded one. A part that
 * was sent and is not answered may be charged: the others go back, and the answer says so.
 */
#include "edge/forward_split.h"

#include <stdlib.h>

static void give_back(struct pawl_parcel *parcel)
{
    struct pawl_split *split = parcel->split;
    uint64_t charged = split->charged;

    split->returned |= charged;
    split->charged = 0;
    pawl_forward_give_back(parcel, charged, split->results, split->result_count);
}

void pawl_split_end(struct pawl_parcel *parcel)
{
    if (parcel->split != NULL) {
        give_back(parcel);
        free(parcel->split);
        parcel->split = NULL;
    }
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
        if (pawl_split_has(check->bypassed, item)) {
            count += pawl_dispatch_bypassed(dispatch, item, check->plan.op == PAWL_OP_CHECK,
                                            &dispatch->wire_results[count]);
            continue;
        }
        for (uint32_t i = 0; i < split->result_count && count < PAWL_RESULTS_MAX; i++) {
            if (split->results[i].item != item) {
                continue;
            }
            dispatch->wire_results[count] = split->results[i];
            if (pawl_split_has(split->returned, item)) {
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
        if (pawl_split_has(saved, i)) {
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
    parcel->split->charged = 0; /* it stays */
    pawl_parcel_drop(parcel);
}

/* ---- rounds -------------------------------------------------------------------------------- */

static struct pawl_split *begin_split(struct pawl_dispatch *dispatch,
                                      const struct pawl_check *check)
{
    struct pawl_split *split = calloc(1, sizeof(*split));
    uint64_t all = dispatch->request.item_count == 64
                       ? UINT64_MAX
                       : pawl_split_bit(dispatch->request.item_count) - 1;

    if (split != NULL) {
        split->pending = all & ~check->bypassed;
        split->atomic = dispatch->request.mode == PAWL_MODE_ATOMIC;
        split->begun_ms = pawl_forward_now_ms(dispatch);
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

/** Where the pending items go. */
struct round {
    uint64_t local;
    uint64_t away;
    uint16_t to[PAWL_ITEMS_MAX];
    struct pawl_ways stop; /* WAIT, LAPSED: of an item, so that none of this round is begun */
};

/* In order: of @round stays what goes with the item of the lowest slot. */
static void leave_first(struct round *round, const uint32_t *slots)
{
    uint64_t all = round->local | round->away;
    uint32_t first = PAWL_ITEMS_MAX;

    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        first = pawl_split_has(all, i) && (first == PAWL_ITEMS_MAX || slots[i] < slots[first])
                    ? i
                    : first;
    }
    if (first == PAWL_ITEMS_MAX || pawl_split_has(round->local, first)) {
        round->away = 0;
        return;
    }
    round->local = 0;
    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        if (pawl_split_has(round->away, i) && round->to[i] != round->to[first]) {
            round->away &= ~pawl_split_bit(i);
        }
    }
}

static void find_ways(struct pawl_dispatch *dispatch, const struct pawl_parcel *parcel,
                      const uint32_t *slots, struct round *round)
{
    const struct pawl_split *split = parcel->split;

    *round = (struct round){ .stop = { .way = PAWL_WAY_LOCAL } };
    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        struct pawl_ways ways;

        if (!pawl_split_has(split->pending, i)) {
            continue;
        }
        ways = pawl_forward_way(dispatch, slots[i]);
        if (ways.way == PAWL_WAY_LOCAL) {
            round->local |= pawl_split_bit(i);
        } else if (ways.way == PAWL_WAY_FORWARD && !parcel->degrade) {
            round->away |= pawl_split_bit(i);
            round->to[i] = ways.to;
        } else if (ways.way == PAWL_WAY_WAIT) {
            round->stop = round->stop.way == PAWL_WAY_LAPSED ? round->stop : ways;
        } else {
            round->stop = ways;
            round->stop.way = PAWL_WAY_LAPSED;
        }
    }
    if (split->ordered) {
        leave_first(round, slots);
    }
}

/* Whoever cannot be asked now is waited for, or done without: then @round stops. */
static void find_links(struct pawl_parcel *parcel, const uint32_t *slots, struct round *round)
{
    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        uint64_t id;

        if (pawl_split_has(round->away, i) &&
            pawl_forward_link(parcel->forward, round->to[i], &id) == NULL) {
            parcel->slot = slots[i];
            round->stop = (struct pawl_ways){ .way = PAWL_WAY_LAPSED, .slot = slots[i] };
            if (pawl_parcel_await_link(parcel, round->to[i])) {
                round->stop.way = PAWL_WAY_FORWARD; /* it is parked */
            }
            return;
        }
    }
}

/* Nobody decides a part: all back, and then as if nobody could decide any. */
static void degrade(struct pawl_dispatch *dispatch, struct pawl_session *session,
                    struct pawl_parcel *parcel, struct pawl_check *check, uint32_t slot)
{
    give_back(parcel);
    pawl_forward_degrade(dispatch, session, check, slot);
    pawl_parcel_drop(parcel);
}

static void send_parts(struct pawl_dispatch *dispatch, struct pawl_parcel *parcel,
                       const struct pawl_check *check, const uint32_t *slots,
                       const struct round *round)
{
    uint64_t left = round->away;

    parcel->state = PAWL_PARCEL_SENT;
    for (uint32_t i = 0; i < dispatch->request.item_count && parcel->split->failed == 0; i++) {
        uint64_t items = 0;

        for (uint32_t j = i; pawl_split_has(left, i) && j < dispatch->request.item_count; j++) {
            items |=
                pawl_split_has(left, j) && round->to[j] == round->to[i] ? pawl_split_bit(j) : 0;
        }
        left &= ~items;
        if (items != 0) {
            parcel->slot = slots[i];
            pawl_part_send(dispatch, parcel, check, items, round->to[i]);
        }
    }
    if (parcel->split->under_way > 0) {
        return;
    }
    parcel->state = PAWL_PARCEL_AT_HAND;
    parcel->split->part_count = 0;
    parcel->split->unheard = false;
    if (parcel->split->failed != 0) {
        pawl_parcel_refuse(parcel, parcel->split->failed, false, parcel->split->text);
    } else { /* none of them could be, just now: their links tell then what to do */
        pawl_parcel_park(parcel, parcel->slot, PAWL_FORWARD_TICK_MS);
    }
}

/* Whether to begin anew, in order: what refused it may have gone back meanwhile. */
static bool may_begin_anew(const struct pawl_dispatch *dispatch, const struct pawl_parcel *parcel)
{
    const struct pawl_split *split = parcel->split;
    uint64_t now_ms = pawl_forward_clock_ms(parcel->forward);
    uint64_t took_ms = now_ms > split->begun_ms ? now_ms - split->begun_ms : 0;

    return split->refused && split->atomic && split->contended && !split->ordered &&
           dispatch->request.op == PAWL_OP_CHECK &&
           now_ms + (took_ms + 1) * dispatch->request.item_count < parcel->deadline_ms;
}

static void begin_anew(struct pawl_dispatch *dispatch, const struct pawl_check *check,
                       struct pawl_split *split)
{
    split->pending = dispatch->request.item_count == 64
                         ? UINT64_MAX
                         : pawl_split_bit(dispatch->request.item_count) - 1;
    split->pending &= ~check->bypassed;
    split->result_count = 0;
    split->local = 0;
    split->returned = 0;
    split->refused = false;
    split->undecided = false;
    split->contended = false;
    split->ordered = true;
}

void pawl_split_go_on(struct pawl_parcel *parcel)
{
    struct pawl_split *split = parcel->split;

    parcel->state = PAWL_PARCEL_AT_HAND;
    split->part_count = 0;
    if (parcel->forward->closing) {
        pawl_parcel_drop(parcel);
    } else if (split->failed != 0) {
        pawl_parcel_refuse(parcel, split->failed, split->perhaps, split->text);
    } else if (split->unheard) {
        split->unheard = false;
        pawl_parcel_again(parcel, split->again);
    } else {
        pawl_parcel_run(parcel);
    }
}

void pawl_forward_split(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check)
{
    struct pawl_parcel *parcel;
    struct pawl_split *split;
    uint32_t slots[PAWL_ITEMS_MAX] = { 0 };
    struct round round;

    pawl_dispatch_flush(dispatch); /* what came before acts before it; @check stays as it is */
    parcel = pawl_parcel_take(dispatch, session);
    if (parcel == NULL) {
        return;
    }
    if (parcel->split == NULL && (parcel->split = begin_split(dispatch, check)) == NULL) {
        pawl_parcel_refuse(parcel, PAWL__V1__STATUS__STATUS_UNAVAILABLE, false, "out of memory");
        return;
    }
    split = parcel->split;
    split->exact = check->exact ? UINT64_MAX : 0;
    find_slots(dispatch, check, slots);
    for (;;) {
        if (split->refused && split->atomic) {
            give_back(parcel);
        }
        if (split->pending == 0 && may_begin_anew(dispatch, parcel)) {
            begin_anew(dispatch, check, split);
        }
        if (split->pending == 0) {
            finish(dispatch, session, parcel, check);
            return;
        }
        find_ways(dispatch, parcel, slots, &round);
        if (round.stop.way == PAWL_WAY_LOCAL) {
            find_links(parcel, slots, &round);
        }
        if (round.stop.way == PAWL_WAY_WAIT) {
            pawl_parcel_park(parcel, round.stop.slot, 0);
            return;
        }
        if (round.stop.way == PAWL_WAY_LAPSED) {
            degrade(dispatch, session, parcel, check, round.stop.slot);
            return;
        }
        if (round.stop.way != PAWL_WAY_LOCAL) {
            return; /* parked */
        }
        if (round.local != 0) {
            pawl_part_decide(dispatch, session, split, check, round.local);
            dispatch->ns = check->ns;
        }
        if (round.away != 0) {
            send_parts(dispatch, parcel, check, slots, &round);
            return;
        }
    }
}
