/*
 * Reservations: take between min and max now, and say later how much it was (core/lease.h).
 *
 *   reserve -> charged, and a lease -> commit (used)  -> granted - used goes back
 *                                  \-> cancel         -> all of it goes back
 *                                  \-> lease_ms passed -> it stays charged: never over
 *
 * A lease works once, in the namespace it was given in, until this process ends.
 */
#include <stdio.h>
#include <string.h>

#include "edge/durable.h"
#include "edge/forward.h"

#define LEASE_BYTES    16
#define LEASE_MS       60000
#define LEASE_MS_MAX   3600000
#define LEASE_ID_TRIES 8

/** A reservation that is being made. */
struct reserving {
    uint64_t id;
    uint64_t min, max;
    uint32_t lease_ms;
    uint64_t bypassed; /* a bit for each item */
    size_t asked;      /* items in dispatch->asked: the others */
    bool exact;
    enum pawl_verdict verdict;
    uint64_t granted;
    uint8_t lease[LEASE_BYTES];
    struct pawl_limit_grant grant;
};

static void refuse(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                   unsigned wire_status, const char *text)
{
    if (wire_status == PAWL__V1__STATUS__STATUS_INVALID) {
        pawl_count(&dispatch->metrics->invalid);
    }
    pawl_reply_error(session, id, wire_status, text);
}

/* Whose a lease is: who may not act in the namespace may not commit in it either. */
static struct pawl_id owner_of(const struct pawl_dispatch *dispatch)
{
    return pawl_keyhash128(&dispatch->app->limiter->subkey, dispatch->ns.data, dispatch->ns.size);
}

/* ---- reserve: what is asked ---------------------------------------------------------------- */

static const char *read_amounts(struct reserving *reserving, const Pawl__V1__Reserve *reserve)
{
    reserving->min = reserve->min == 0 ? 1 : reserve->min;
    reserving->max = reserve->max == 0 ? reserving->min : reserve->max;
    reserving->lease_ms = reserve->lease_ms == 0 ? LEASE_MS : reserve->lease_ms;
    if (reserve->n_items == 0) {
        return "a reservation needs at least one limit";
    }
    if (reserving->min > reserving->max || reserving->max > PAWL_COUNT_MAX) {
        return "a reservation takes min to max, and both lie below 2^40";
    }
    if (reserving->lease_ms > LEASE_MS_MAX) {
        return "lease_ms is at most 3600000, an hour";
    }
    return NULL;
}

/* The items of @reserve: all in dispatch->items, those that are counted in dispatch->asked too.
 * Between two requests the hot one's struct is free for their wire form. */
static unsigned read_items(struct pawl_dispatch *dispatch, struct reserving *reserving,
                           const Pawl__V1__Reserve *reserve)
{
    size_t rates = 0;

    for (size_t i = 0; i < reserve->n_items && i < PAWL_ITEMS_MAX; i++) {
        const Pawl__V1__CheckItem *from = reserve->items[i];
        struct pawl_wire_item *wire = &dispatch->request.items[i];
        struct pawl_item_kind kind;
        unsigned status = PAWL__V1__STATUS__STATUS_INVALID;

        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "an item has at most 8 key parts and rates");
        if (pawl_dispatch_wire_item(wire, from->limit, from->n_key, from->key, from->n_rates,
                                    from->rates) != PAWL_OK) {
            return status;
        }
        wire->precision = from->precision;
        wire->tier = pawl_wire_bytes(from->tier);
        status = pawl_dispatch_item(dispatch, wire, &dispatch->inline_limits[i],
                                    &dispatch->items[i], &kind);
        if (status != 0) {
            return status;
        }
        rates += dispatch->items[i].limit->rates_count;
        reserving->bypassed |= (uint64_t)kind.bypass << i;
        if (!kind.bypass) {
            reserving->exact = reserving->exact || kind.exact;
            dispatch->asked_index[reserving->asked] = (uint8_t)i;
            dispatch->asked[reserving->asked++] = dispatch->items[i];
        }
    }
    (void)snprintf(dispatch->error, sizeof(dispatch->error), "too many rates in one reservation");
    return rates <= PAWL_RESULTS_MAX ? 0 : PAWL__V1__STATUS__STATUS_INVALID;
}

/* ---- reserve: charging --------------------------------------------------------------------- */

static enum pawl_status charge(struct pawl_dispatch *dispatch, struct reserving *reserving)
{
    struct pawl_limit_request ask = {
        .items = dispatch->asked,
        .items_count = reserving->asked,
        .now = dispatch->now.instant,
        .wall = dispatch->now.wall,
    };

    if (reserving->asked == 0) { /* nothing but keys that are never limited */
        reserving->verdict = PAWL_ALLOW;
        reserving->granted = reserving->max;
        return PAWL_OK;
    }
    enum pawl_status status =
        pawl_limiter_reserve(dispatch->app->limiter, &ask, reserving->min, reserving->max,
                             dispatch->results, PAWL_LIMITER_SLOTS_MAX, &reserving->grant);

    reserving->verdict = reserving->grant.verdict;
    reserving->granted = reserving->grant.granted;
    return status;
}

static void give_back(struct pawl_dispatch *dispatch, const struct pawl_limit_grant *grant)
{
    for (size_t i = 0; i < grant->charges_count; i++) {
        (void)pawl_limiter_give_back(dispatch->app->limiter, &grant->charges[i], grant->granted,
                                     dispatch->now.instant);
    }
}

static enum pawl_status open_lease(struct pawl_dispatch *dispatch, struct reserving *reserving)
{
    const struct pawl_entropy *entropy = dispatch->app->entropy;
    struct pawl_lease lease = {
        .owner = owner_of(dispatch),
        .granted = reserving->granted,
        .deadline = { dispatch->now.instant.ns + UINT64_C(1000000) * reserving->lease_ms },
        .charges_count = reserving->grant.charges_count,
    };
    enum pawl_status status = PAWL_EBUSY;

    memcpy(lease.charges, reserving->grant.charges,
           reserving->grant.charges_count * sizeof(lease.charges[0]));
    for (unsigned i = 0; i < LEASE_ID_TRIES && (status == PAWL_EBUSY || status == PAWL_EINVAL);
         i++) {
        struct pawl_id id;

        if (entropy->fill(entropy->self, reserving->lease, sizeof(reserving->lease)) != PAWL_OK) {
            return PAWL_EIO;
        }
        if (dispatch->forward != NULL) { /* leads back here; 96 random bits stay */
            const struct pawl_cluster_world *world = dispatch->forward->world;

            pawl_forward_lease_tag(world, &world->self, reserving->lease);
        }
        memcpy(&id, reserving->lease, sizeof(id));
        status = pawl_leases_open(dispatch->app->leases, id, &lease, dispatch->now.instant);
    }
    return status;
}

/* ---- reserve: answering -------------------------------------------------------------------- */

static void note_denied(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const struct pawl_limit_item *item)
{
    struct pawl_limiter_slot slots[PAWL_RATES_MAX] = { 0 };
    struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_RATES_MAX };
    const struct pawl_limit_request alone = {
        .items = item, .items_count = 1, .now = dispatch->now.instant, .wall = dispatch->now.wall
    };
    struct pawl_denial denial = { .place = pawl_rule_place(item->limit),
                                  .ns = item->ns,
                                  .parts = item->parts,
                                  .parts_count = item->parts_count };

    if (pawl_limiter_prepare(dispatch->app->limiter, &alone, &plan) != PAWL_OK) {
        return;
    }
    denial.id = slots[0].id;
    if (pawl_dispatch_denied_again(dispatch, &denial)) {
        pawl_dispatch_denied(dispatch, session, &denial, item->limit);
    }
}

void pawl_dispatch_count_asked(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               size_t count)
{
    for (size_t i = 0; i < count;) {
        const struct pawl_limit_item *item = &dispatch->asked[dispatch->results[i].item];
        size_t first = i;
        bool refused = false;
        bool overflow = false;

        for (; i < count && dispatch->results[i].item == dispatch->results[first].item; i++) {
            refused = refused || !dispatch->results[i].allowed;
            overflow = overflow || dispatch->results[i].overflow;
        }
        pawl_dispatch_count(dispatch, item->limit, refused, overflow);
        if (refused && !item->limit->shadow) {
            note_denied(dispatch, session, item);
        }
    }
}

static void result_fill(Pawl__V1__RateResult *to, const struct pawl_limit_result *from,
                        const struct pawl_limit *limit, uint32_t item)
{
    to->item = item;
    to->rate_index = from->rate_index;
    to->window_ms = from->window_ms;
    to->limit_count = from->limit_count;
    to->count = from->count;
    to->remaining = from->remaining;
    to->oldest_age_ms = from->oldest_age_ms;
    to->reset_after_ms = from->reset_after_ms;
    to->retry_after_ms = from->retry_after_ms;
    to->never = from->never;
    to->allowed = from->allowed;
    to->shadow = from->shadow;
    to->overflow = from->overflow;
    to->full = from->full;
    to->on_error = (Pawl__V1__OnError)limit->on_error;
    /* No charge handle: what a reservation charged goes back by its lease alone. */
}

static void bypass_fill(Pawl__V1__RateResult *to, const struct pawl_wire_result *from)
{
    to->item = from->item;
    to->rate_index = from->rate_index;
    to->window_ms = from->window_ms;
    to->limit_count = from->limit_count;
    to->remaining = from->remaining;
    to->allowed = true;
    to->bypass = true;
    to->shadow = from->shadow;
    to->on_error = (Pawl__V1__OnError)from->on_error;
}

static Pawl__V1__RateResult *add_result(struct pawl_dispatch *dispatch,
                                        Pawl__V1__ReserveReply *body)
{
    Pawl__V1__RateResult *result = pawl_dispatch_room(dispatch, sizeof(*result));

    if (result != NULL) {
        pawl__v1__rate_result__init(result);
        body->results[body->n_results++] = result;
    }
    return result;
}

/* All results in the order of the items asked, those of bypassed keys among them. */
static bool fill_results(struct pawl_dispatch *dispatch, const struct reserving *reserving,
                         size_t item_count, size_t count, Pawl__V1__ReserveReply *body)
{
    size_t at = 0;

    body->results = pawl_dispatch_room(dispatch, PAWL_RESULTS_MAX * sizeof(body->results[0]));
    for (uint32_t item = 0; body->results != NULL && item < item_count; item++) {
        Pawl__V1__RateResult *to;

        if ((reserving->bypassed >> item & 1) != 0) {
            struct pawl_wire_result *own = dispatch->wire_results;
            uint32_t rates = pawl_dispatch_bypassed(dispatch, item, true, own);

            for (uint32_t i = 0; i < rates; i++) {
                if ((to = add_result(dispatch, body)) == NULL) {
                    return false;
                }
                bypass_fill(to, &own[i]);
            }
            continue;
        }
        for (; at < count && dispatch->asked_index[dispatch->results[at].item] == item; at++) {
            if ((to = add_result(dispatch, body)) == NULL) {
                return false;
            }
            result_fill(to, &dispatch->results[at], dispatch->items[item].limit, item);
        }
    }
    return body->results != NULL;
}

static void answer(struct pawl_dispatch *dispatch, struct pawl_session *session,
                   const struct reserving *reserving, size_t item_count)
{
    size_t count = reserving->asked > 0 ? reserving->grant.results_count : 0;
    Pawl__V1__ReserveReply body = PAWL__V1__RESERVE_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    pawl_dispatch_count_asked(dispatch, session, count);
    if (!fill_results(dispatch, reserving, item_count, count, &body)) {
        pawl_reply_error(session, reserving->id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "no room for so large an answer: reserve for fewer limits at once");
        return;
    }
    body.verdict = (Pawl__V1__Verdict)reserving->verdict;
    body.granted = reserving->granted;
    if (reserving->granted > 0) {
        body.lease.data = (uint8_t *)(uintptr_t)reserving->lease;
        body.lease.len = sizeof(reserving->lease);
        body.lease_ms = reserving->lease_ms;
    }
    reply.id = reserving->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_RESERVE;
    reply.reserve = &body;
    if (reserving->exact && reserving->granted > 0) {
        uint8_t bytes[PAWL_EXACT_REPLY_MAX];
        size_t size = pawl_reply_cold_write(dispatch, session, &reply, bytes, sizeof(bytes));

        pawl_dispatch_exact(dispatch, session, reserving->id, dispatch->asked, reserving->asked,
                            pawl_bytes_of(bytes, size));
        return;
    }
    pawl_reply_cold(dispatch, session, &reply);
}

void pawl_dispatch_reserve(struct pawl_dispatch *dispatch, struct pawl_session *session,
                           const Pawl__V1__Request *request)
{
    const Pawl__V1__Reserve *reserve = request->reserve;
    struct reserving reserving = { .id = request->id };
    const char *wrong = read_amounts(&reserving, reserve);

    if (wrong != NULL) {
        refuse(dispatch, session, request->id, PAWL__V1__STATUS__STATUS_INVALID, wrong);
        return;
    }
    unsigned wire_status = read_items(dispatch, &reserving, reserve);

    if (wire_status != 0) {
        refuse(dispatch, session, request->id, wire_status, dispatch->error);
        return;
    }
    enum pawl_status status = charge(dispatch, &reserving);

    if (status != PAWL_OK) {
        refuse(dispatch, session, request->id, pawl_wire_status(status),
               "a key needs 1 to 8 parts and 1024 bytes at most, and no key may stand twice under "
               "the same limit and rate");
        return;
    }
    status = reserving.granted > 0 ? open_lease(dispatch, &reserving) : PAWL_OK;
    if (status != PAWL_OK) {
        give_back(dispatch, &reserving.grant);
        refuse(dispatch, session, request->id, pawl_wire_status(status),
               status == PAWL_EFULL ? "leases_max is reached: nothing was reserved; commit or "
                                      "cancel sooner, or raise it"
                                    : "no lease could be made: nothing was reserved");
        return;
    }
    answer(dispatch, session, &reserving, reserve->n_items);
}

/* ---- commit, cancel ------------------------------------------------------------------------ */

static bool take_lease(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                       ProtobufCBinaryData name, struct pawl_lease *lease)
{
    struct pawl_id lease_id;

    if (name.len != LEASE_BYTES) {
        refuse(dispatch, session, id, PAWL__V1__STATUS__STATUS_INVALID,
               "a lease has 16 bytes: those that reserve answered");
        return false;
    }
    memcpy(&lease_id, name.data, sizeof(lease_id));
    if (pawl_leases_take(dispatch->app->leases, lease_id, owner_of(dispatch), dispatch->now.instant,
                         lease) != PAWL_OK) {
        refuse(dispatch, session, id, PAWL__V1__STATUS__STATUS_NOT_FOUND,
               "no such lease in this namespace: it was used, or its time is over, and what it "
               "took stays charged");
        return false;
    }
    return true;
}

/* Give @back back on each rate that was charged, and answer with what came back on all of them. */
static void settle(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                   Pawl__V1__Reply__BodyCase body_case, const struct pawl_lease *lease,
                   uint64_t back)
{
    Pawl__V1__CommitReply body = PAWL__V1__COMMIT_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    body.refunded = back;
    for (size_t i = 0; back > 0 && i < lease->charges_count; i++) {
        uint64_t came = pawl_limiter_give_back(dispatch->app->limiter, &lease->charges[i], back,
                                               dispatch->now.instant);

        body.refunded = came < body.refunded ? came : body.refunded;
    }
    reply.id = id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = body_case;
    reply.commit = &body; /* the same member of the union as cancel */
    pawl_reply_cold(dispatch, session, &reply);
}

/* A lease that was taken to be looked at goes back, to be committed by who counts right. */
static void refuse_used(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request, const struct pawl_lease *lease)
{
    struct pawl_id id;

    memcpy(&id, request->commit->lease.data, sizeof(id));
    bool kept =
        pawl_leases_open(dispatch->app->leases, id, lease, dispatch->now.instant) == PAWL_OK;

    (void)snprintf(dispatch->error, sizeof(dispatch->error),
                   "used is more than the %llu that were granted; reserve the rest%s",
                   (unsigned long long)lease->granted,
                   kept ? "" : " (and the lease is gone: what it took stays charged)");
    refuse(dispatch, session, request->id, PAWL__V1__STATUS__STATUS_INVALID, dispatch->error);
}

void pawl_dispatch_commit(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    const Pawl__V1__Commit *commit = request->commit;
    struct pawl_lease lease;

    if (!take_lease(dispatch, session, request->id, commit->lease, &lease)) {
        return;
    }
    if (commit->used > lease.granted) {
        refuse_used(dispatch, session, request, &lease);
        return;
    }
    settle(dispatch, session, request->id, PAWL__V1__REPLY__BODY_COMMIT, &lease,
           lease.granted - commit->used);
}

void pawl_dispatch_cancel(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    struct pawl_lease lease;

    if (take_lease(dispatch, session, request->id, request->cancel->lease, &lease)) {
        settle(dispatch, session, request->id, PAWL__V1__REPLY__BODY_CANCEL, &lease, lease.granted);
    }
}
