/*
 * Limits as requests name them: items for the limiter out of a request's, and the requests beside
 * the check: refund, reset, and the listing.
 */
#include <stdio.h>
#include <string.h>

#include "edge/durable.h"
#include "edge/forward.h"

/* ---- items --------------------------------------------------------------------------------- */

static unsigned item_error(struct pawl_dispatch *dispatch, unsigned status, const char *text,
                           struct pawl_bytes name)
{
    (void)snprintf(dispatch->error, sizeof(dispatch->error), "%s '%.*s'", text,
                   (int)(name.size < 64 ? name.size : 64),
                   name.size > 0 ? (const char *)name.data : "");
    return status;
}

/* What the limiter does not look at itself; NULL where all is well. */
static const char *inline_fault(const struct pawl_wire_item *wire)
{
    if (wire->rate_count == 0) {
        return "an item needs the name of a limit or a rate; key";
    }
    for (unsigned i = 0; i < wire->rate_count; i++) {
        const struct pawl_wire_rate *rate = &wire->rates[i];

        if (rate->algorithm > PAWL_ALGORITHM_CONCURRENCY) {
            return "this algorithm is not known here; key";
        }
        if (rate->algorithm == PAWL_ALGORITHM_CALENDAR || rate->period != 0) {
            return "calendar quotas are for named limits: zone and day come from the settings; key";
        }
        if (rate->algorithm != wire->rates[0].algorithm) {
            return "the rates of one item have one algorithm; key";
        }
        if (rate->burst != 0 && rate->algorithm != PAWL_ALGORITHM_GCRA) {
            return "a burst is for the algorithm gcra; key";
        }
    }
    return NULL;
}

static unsigned inline_item(struct pawl_dispatch *dispatch, const struct pawl_wire_item *wire,
                            struct pawl_limit *inline_limit)
{
    struct pawl_rate rates[PAWL_RATES_MAX];
    uint64_t bursts[PAWL_RATES_MAX];
    struct pawl_error error;
    const char *fault = inline_fault(wire);

    if (PAWL_UNLIKELY(fault != NULL)) {
        return item_error(dispatch, PAWL__V1__STATUS__STATUS_INVALID, fault,
                          wire->key_count > 0 ? wire->key[0] : wire->limit);
    }
    for (unsigned i = 0; i < wire->rate_count; i++) {
        rates[i] = (struct pawl_rate){ wire->rates[i].count, wire->rates[i].window_ms, 0 };
        bursts[i] = wire->rates[i].burst;
    }
    if (pawl_limit_init_inline_as(inline_limit, dispatch->app->limiter,
                                  (enum pawl_algorithm)wire->rates[0].algorithm, rates, bursts,
                                  wire->rate_count, wire->precision, &error) != PAWL_OK) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error), "%.200s", error.text);
        return PAWL__V1__STATUS__STATUS_INVALID;
    }
    return 0;
}

/* Only limits that have overrides or a bypass list come here. A key that the limiter will refuse is
 * left to it. */
static void look_up_key(const struct pawl_rule *rule, struct pawl_limit_item *item,
                        struct pawl_item_kind *kind)
{
    struct pawl_key_text text;

    if (item->parts_count > 0 && pawl_key_text_make(&text, item->parts, item->parts_count)) {
        kind->bypass = pawl_rule_keys_bypass(rule->keys, &text);
        item->rates = pawl_rule_keys_rates(rule->keys, &text);
    }
}

/* The rule that @wire names. Servers ask for the same few limits again and again: those found last
 * are compared before the name is hashed. */
static const struct pawl_rule *find_rule(struct pawl_dispatch *dispatch,
                                         const struct pawl_wire_item *wire)
{
    struct pawl_bytes name = wire->limit;
    const struct pawl_rule **last =
        &dispatch
             ->last_rules[(name.data[0] ^ name.data[name.size - 1] ^ name.size) % PAWL_LAST_RULES];

    if (PAWL_UNLIKELY(wire->tier.size > 0)) {
        return pawl_rules_find(dispatch->rules, dispatch->ns, name, wire->tier);
    }
    if (PAWL_UNLIKELY(*last == NULL || !pawl_rule_is(*last, dispatch->ns, name))) {
        *last = pawl_rules_find(dispatch->rules, dispatch->ns, name, wire->tier);
    }
    return *last;
}

unsigned pawl_dispatch_item(struct pawl_dispatch *dispatch, const struct pawl_wire_item *wire,
                            struct pawl_limit *inline_limit, struct pawl_limit_item *item,
                            struct pawl_item_kind *kind)
{
    *kind = (struct pawl_item_kind){ false, false };
    if (wire->limit.size > 0) {
        const struct pawl_rule *rule = find_rule(dispatch, wire);

        if (rule == NULL) {
            return item_error(dispatch, PAWL__V1__STATUS__STATUS_NOT_FOUND,
                              "no limit of this name in the settings of this namespace:",
                              wire->limit);
        }
        if (wire->rate_count > 0) {
            return item_error(dispatch, PAWL__V1__STATUS__STATUS_INVALID,
                              "rates come with the settings where a limit is named; limit",
                              wire->limit);
        }
        pawl_dispatch_item_fill(dispatch, wire, &rule->limit, item);
        kind->exact = rule->exact;
        if (PAWL_UNLIKELY(rule->keys != NULL)) {
            look_up_key(rule, item, kind);
        }
    } else {
        unsigned status = inline_item(dispatch, wire, inline_limit);

        if (status != 0) {
            return status;
        }
        pawl_dispatch_item_fill(dispatch, wire, inline_limit, item);
    }
    return 0;
}

/* ---- refund, reset ------------------------------------------------------------------------- */

/* protobuf-c's view of limit, key and rates as the hot codec's, to share one way to items. */
enum pawl_status pawl_dispatch_wire_item(struct pawl_wire_item *item, ProtobufCBinaryData limit,
                                         size_t key_count, const ProtobufCBinaryData *key,
                                         size_t rate_count, Pawl__V1__Rate *const *rates)
{
    memset(item, 0, sizeof(*item));
    if (key_count > PAWL_KEY_PARTS_MAX || rate_count > PAWL_RATES_MAX) {
        return PAWL_ETOOBIG;
    }
    item->limit = pawl_wire_bytes(limit);
    item->key_count = (uint32_t)key_count;
    for (size_t i = 0; i < key_count; i++) {
        item->key[i] = pawl_wire_bytes(key[i]);
    }
    item->rate_count = (uint32_t)rate_count;
    for (size_t i = 0; i < rate_count; i++) {
        item->rates[i].count = rates[i]->count;
        item->rates[i].window_ms = rates[i]->window_ms;
        item->rates[i].algorithm = rates[i]->algorithm;
        item->rates[i].burst = rates[i]->burst;
        item->rates[i].period = rates[i]->period;
    }
    return PAWL_OK;
}

unsigned pawl_dispatch_refund_one(struct pawl_dispatch *dispatch, const Pawl__V1__RefundItem *from,
                                  uint64_t *refunded)
{
    uint64_t charges[PAWL_RATES_MAX] = { 0 };
    uint64_t by_rate[PAWL_RATES_MAX] = { 0 };
    struct pawl_wire_item wire;
    struct pawl_limit_item item;
    struct pawl_item_kind kind;

    if (pawl_dispatch_wire_item(&wire, from->limit, from->n_key, from->key, from->n_rates,
                                from->rates) != PAWL_OK ||
        from->n_charges > PAWL_RATES_MAX) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "a refund has at most 8 key parts, rates and charges");
        return PAWL__V1__STATUS__STATUS_INVALID;
    }
    wire.cost = from->cost;
    unsigned status =
        pawl_dispatch_item(dispatch, &wire, &dispatch->inline_limits[0], &item, &kind);

    if (status != 0) {
        return status;
    }
    if (from->n_charges > 0) {
        memcpy(charges, from->charges, from->n_charges * sizeof(charges[0]));
    }
    enum pawl_status done =
        pawl_limiter_refund(dispatch->app->limiter, &item, from->n_charges > 0 ? charges : NULL,
                            dispatch->now.instant, by_rate);

    if (done != PAWL_OK) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "a refund needs a key of 1 to 8 parts and a cost below 2^40");
        return pawl_wire_status(done);
    }
    if (PAWL_UNLIKELY(dispatch->request.forwarded)) { /* what a check of several owners held */
        pawl_forward_end_hold(dispatch, &item);
    }
    *refunded = by_rate[0];
    return 0;
}

void pawl_dispatch_refund(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    const Pawl__V1__Refund *refund = request->refund;
    Pawl__V1__RefundReply body = PAWL__V1__REFUND_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    uint64_t refunded[PAWL_ITEMS_MAX] = { 0 };

    for (size_t i = 0; i < refund->n_items && i < PAWL_ITEMS_MAX; i++) {
        unsigned status = pawl_dispatch_refund_one(dispatch, refund->items[i], &refunded[i]);

        if (status != 0) {
            pawl_reply_error(session, request->id, status, dispatch->error);
            return;
        }
    }
    body.n_refunded = refund->n_items < PAWL_ITEMS_MAX ? refund->n_items : PAWL_ITEMS_MAX;
    body.refunded = refunded;
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_REFUND;
    reply.refund = &body;
    pawl_reply_cold(dispatch, session, &reply);
}

void pawl_dispatch_reset(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         const Pawl__V1__Request *request)
{
    const Pawl__V1__Reset *reset = request->reset;
    Pawl__V1__ResetReply body = PAWL__V1__RESET_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    struct pawl_wire_item wire;
    struct pawl_limit_item item;
    struct pawl_item_kind kind;
    size_t forgotten = 0;

    if (pawl_dispatch_wire_item(&wire, reset->limit, reset->n_key, reset->key, reset->n_rates,
                                reset->rates) != PAWL_OK) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "a reset has at most 8 key parts and rates");
        return;
    }
    unsigned status =
        pawl_dispatch_item(dispatch, &wire, &dispatch->inline_limits[0], &item, &kind);

    if (status != 0) {
        pawl_reply_error(session, request->id, status, dispatch->error);
        return;
    }
    enum pawl_status done =
        pawl_limiter_reset(dispatch->app->limiter, &item, dispatch->now.instant, &forgotten);

    if (done != PAWL_OK) {
        pawl_reply_error(session, request->id, pawl_wire_status(done),
                         "a reset needs a key of 1 to 8 parts, 1024 bytes at most");
        return;
    }
    body.records = (uint32_t)forgotten;
    pawl_audit_say_reset(dispatch, session, &wire, forgotten);
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_RESET;
    reply.reset = &body;
    pawl_reply_cold(dispatch, session, &reply);
}

/* ---- limits -------------------------------------------------------------------------------- */

#define LIMITS_PAGE 256

static const char *when_full_name(enum pawl_when_full when_full)
{
    switch (when_full) {
    case PAWL_WHEN_FULL_OPEN:
        return "open";
    case PAWL_WHEN_FULL_CLOSED:
        return "closed";
    default:
        return "overflow";
    }
}

static bool limit_info(struct pawl_dispatch *dispatch, const struct pawl_rule *rule,
                       Pawl__V1__LimitInfo *info)
{
    const struct pawl_limit *limit = &rule->limit;

    pawl__v1__limit_info__init(info);
    info->name = pawl_wire_text(limit->name);
    info->namespace_ = pawl_wire_text(limit->ns);
    info->precision = limit->precision == 0 ? PAWL_PRECISION_DEFAULT : limit->precision;
    info->on_error = (Pawl__V1__OnError)limit->on_error;
    info->count_denied = limit->count_denied;
    info->shadow = limit->shadow;
    info->algorithm = (Pawl__V1__Algorithm)limit->algorithm;
    info->zone = pawl_wire_text(rule->zone);
    info->anchor_day = limit->anchor_day;
    info->overrides = pawl_rule_keys_overrides(rule->keys);
    info->bypass = pawl_rule_keys_bypasses(rule->keys);
    info->when_full = pawl_wire_text(when_full_name(limit->when_full));
    info->rates = pawl_dispatch_room(dispatch, limit->rates_count * sizeof(*info->rates));
    for (size_t i = 0; info->rates != NULL && i < limit->rates_count; i++) {
        Pawl__V1__Rate *rate = pawl_dispatch_room(dispatch, sizeof(*rate));

        if (rate == NULL) {
            return false;
        }
        pawl__v1__rate__init(rate);
        rate->count = limit->rates[i].count;
        rate->window_ms = limit->rates[i].window_ms;
        rate->algorithm = info->algorithm;
        rate->burst = limit->algorithm == PAWL_ALGORITHM_GCRA ? limit->bursts[i] : 0;
        rate->period = (Pawl__V1__Period)limit->rates[i].period;
        info->rates[info->n_rates++] = rate;
    }
    return info->rates != NULL;
}

static bool wanted(const struct pawl_limit *limit, struct pawl_bytes ns, struct pawl_bytes name,
                   struct pawl_bytes after)
{
    struct pawl_bytes own = pawl_bytes_of(limit->name, strlen(limit->name));
    size_t common = own.size < after.size ? own.size : after.size;
    int order = common == 0 ? 0 : memcmp(own.data, after.data, common);

    if (strlen(limit->ns) != ns.size || memcmp(limit->ns, ns.data, ns.size) != 0) {
        return false;
    }
    if (name.size > 0 && (own.size != name.size || memcmp(own.data, name.data, name.size) != 0)) {
        return false;
    }
    return after.size == 0 || order > 0 || (order == 0 && own.size > after.size);
}

void pawl_dispatch_limits(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    Pawl__V1__LimitsReply body = PAWL__V1__LIMITS_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    struct pawl_bytes name = pawl_wire_bytes(request->limits->limit);
    struct pawl_bytes after = pawl_wire_bytes(request->limits->after);
    const struct pawl_rule *rule;

    body.limits = pawl_dispatch_room(dispatch, LIMITS_PAGE * sizeof(*body.limits));
    for (unsigned i = 0; body.limits != NULL && (rule = pawl_rules_at(dispatch->rules, i)) != NULL;
         i++) {
        if (!wanted(&rule->limit, dispatch->ns, name, after)) {
            continue;
        }
        Pawl__V1__LimitInfo *info =
            body.n_limits < LIMITS_PAGE ? pawl_dispatch_room(dispatch, sizeof(*info)) : NULL;

        if (info == NULL || !limit_info(dispatch, rule, info)) {
            body.more = true;
            break;
        }
        body.limits[body.n_limits++] = info;
    }
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_LIMITS;
    reply.limits = &body;
    if (name.size > 0 && body.n_limits == 0) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_NOT_FOUND,
                         "no limit of this name in the settings of this namespace");
        return;
    }
    pawl_reply_cold(dispatch, session, &reply);
}
