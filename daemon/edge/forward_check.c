/*
 * Checks in a cluster: which are ours, and those that nobody else can decide.
 */
#include "edge/forward.h"

#include <stdio.h>
#include <string.h>

#define SLOT_MASK ((uint64_t)PAWL_RING_SLOTS - 1)

/* The low bits of a record's id are its slot (core/limiter.h). */
static uint32_t slot_of(const struct pawl_limiter_slot *slot)
{
    return (uint32_t)(slot->id.lo & SLOT_MASK);
}

/* ---- degraded ------------------------------------------------------------------------------ */

/* Whether every limit asked is one that is decided without its owner. */
static bool may_degrade(const struct pawl_dispatch *dispatch, const struct pawl_check *check)
{
    for (size_t i = 0; i < dispatch->asked_count; i++) {
        size_t index = check->bypassed != 0 ? dispatch->asked_index[i] : i;
        enum pawl_on_error own = dispatch->items[index].limit->on_error;

        if (own == PAWL_ON_ERROR_NONE) { /* the operator said nothing: the caller's word */
            own = (enum pawl_on_error)dispatch->request.items[index].on_error;
        }
        if (own != PAWL_ON_ERROR_LOCAL) {
            return false;
        }
    }
    return true;
}

static uint64_t share_of(uint64_t count, unsigned members)
{
    uint64_t share = members > 1 ? count / members : count;

    return count > 0 && share == 0 ? 1 : share;
}

/* The limit of @item with its bursts scaled, where it has some of its own. Figures know a named
 * limit by the rule around it. */
static void scale_bursts(struct pawl_forward *forward, struct pawl_limit_item *item, size_t index,
                         unsigned members)
{
    struct pawl_rule *scaled = &forward->scaled_rules[index];
    const struct pawl_rule *rule = pawl_rule_of(item->limit);

    if (item->limit->algorithm != PAWL_ALGORITHM_GCRA) {
        return;
    }
    if (rule != NULL) {
        *scaled = *rule;
    } else {
        scaled->limit = *item->limit;
    }
    for (size_t i = 0; i < scaled->limit.rates_count; i++) {
        scaled->limit.bursts[i] = share_of(scaled->limit.bursts[i], members);
    }
    item->limit = &scaled->limit;
}

/* Every rate is this member's share of it. */
static void scale_items(struct pawl_dispatch *dispatch)
{
    struct pawl_forward *forward = dispatch->forward;
    unsigned members = forward->territory->ring.member_count;
    size_t used = 0;

    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        struct pawl_limit_item *item = &dispatch->items[i];
        const struct pawl_rate *rates = item->rates != NULL ? item->rates : item->limit->rates;
        size_t count = item->limit->rates_count;

        if (count > PAWL_LIMITER_SLOTS_MAX - used) {
            return; /* too many rates for a check: it was refused before */
        }
        for (size_t rate = 0; rate < count; rate++) {
            forward->scaled_rates[used + rate] = rates[rate];
            forward->scaled_rates[used + rate].count = share_of(rates[rate].count, members);
        }
        item->rates = &forward->scaled_rates[used];
        used += count;
        scale_bursts(forward, item, i, members);
    }
}

void pawl_forward_degrade(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          struct pawl_check *check, uint32_t slot)
{
    struct pawl_forward *forward = dispatch->forward;
    struct pawl_ways lapsed = { .way = PAWL_WAY_LAPSED, .slot = slot };

    if (!may_degrade(dispatch, check)) {
        pawl_forward_whole(dispatch, session, &lapsed);
        return;
    }
    scale_items(dispatch);
    check->exact = false; /* there is nobody to save it at */
    if (pawl_dispatch_prepare_check(dispatch, check) != PAWL_OK) {
        pawl_forward_whole(dispatch, session, &lapsed); /* cannot be: it was prepared before */
        return;
    }
    pawl_count(&dispatch->metrics->degraded);
    for (size_t i = 0; i < check->plan.slots_count; i++) {
        forward->world->calls.counted(forward->world->calls.self, slot_of(&check->plan.slots[i]));
    }
    pawl_dispatch_decide_now(dispatch, check);
}

/* ---- holds --------------------------------------------------------------------------------- */

void pawl_forward_hold(struct pawl_dispatch *dispatch, const struct pawl_check *check)
{
    for (size_t i = 0; i < check->plan.slots_count; i++) {
        pawl_hold_begin(&dispatch->forward->world->holds, check->plan.slots[i].id,
                        pawl_forward_now_ms(dispatch));
    }
}

void pawl_forward_end_hold(struct pawl_dispatch *dispatch, const struct pawl_limit_item *item)
{
    struct pawl_limiter_slot slots[PAWL_RATES_MAX];
    struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_RATES_MAX };
    const struct pawl_limit_request alone = {
        .items = item, .items_count = 1, .now = dispatch->now.instant, .wall = dispatch->now.wall
    };

    if (pawl_limiter_prepare(dispatch->app->limiter, &alone, &plan) != PAWL_OK) {
        return;
    }
    for (size_t i = 0; i < plan.slots_count; i++) {
        pawl_hold_end(&dispatch->forward->world->holds, slots[i].id);
    }
}

bool pawl_forward_is_contended(struct pawl_dispatch *dispatch, struct pawl_id id)
{
    bool is = pawl_hold_is(&dispatch->forward->world->holds, id, pawl_forward_now_ms(dispatch));

    if (is) {
        pawl_count(&dispatch->metrics->contended);
    }
    return is;
}

/* ---- the way of a check -------------------------------------------------------------------- */

/* @check turned out to be ours after all; prepared to the end where that had stopped. */
static void decide_here(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check, bool has_stopped)
{
    if (has_stopped && pawl_dispatch_prepare_check(dispatch, check) != PAWL_OK) {
        pawl_reply_error(session, check->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "the check cannot be prepared"); /* what may fail was checked before */
        return;
    }
    pawl_dispatch_decide_now(dispatch, check);
}

void pawl_forward_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check)
{
    struct pawl_forward *forward = dispatch->forward;
    uint32_t slots[PAWL_LIMITER_SLOTS_MAX];
    size_t count = check->plan.slots_count;
    bool has_stopped = pawl_limiter_has_stopped(&check->plan);
    struct pawl_ways ways;

    check->plan.ownership = NULL;
    if (forward->at_hand != NULL && forward->at_hand->split != NULL) {
        pawl_forward_split(dispatch, session, check);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        slots[i] = slot_of(&check->plan.slots[i]);
    }
    if (has_stopped) {
        slots[count++] = check->plan.elsewhere;
    }
    ways = pawl_forward_ways(dispatch, slots, count);
    if (forward->at_hand != NULL && forward->at_hand->degrade && ways.way != PAWL_WAY_LOCAL) {
        ways.way = PAWL_WAY_LAPSED;
    }
    if (ways.way == PAWL_WAY_LAPSED) {
        pawl_forward_degrade(dispatch, session, check, ways.slot);
    } else if (ways.way == PAWL_WAY_LOCAL) { /* by now, or while its owner was asked */
        decide_here(dispatch, session, check, has_stopped);
    } else if (ways.way == PAWL_WAY_FORWARD && (ways.several || check->has_token)) {
        pawl_forward_split(dispatch, session, check);
    } else {
        pawl_forward_whole(dispatch, session, &ways);
    }
}
