/*
 * Giving back what a check about keys of several members charged before one of them refused: by the
 * handles of the charges, wherever the keys are counted by now.
 *
 *   items -> ours -> done
 *         -> a member's: one message for all that it counts -> done
 *         |                    -> moved, not sent: waits -> all of it from the beginning
 *         |                    -> unknown, refused: kept
 *         -> on its way to us, or nobody's: waits
 *
 * What waits longer than RETURN_MS from the refusal on stays charged. Who answers that it
 * moved or was never sent it has done nothing, so trying again gives nothing back twice.
 */
#include "edge/durable.h"
#include "edge/forward.h"

#include <stdlib.h>
#include <string.h>

#include "pawl/v1/envelope.h"

#define RETURN_MS 3000 /* a view that a member announces is known to all by then */

/** A message of refunds, as it was packed: under way, or waiting. */
struct pawl_return {
    struct pawl_return *next;
    struct pawl_forward *forward;
    struct pawl_member_id owner; /* under way: at whom */
    uint64_t until_ms;           /* BOOTTIME */
    uint64_t retry_ms;           /* BOOTTIME */
    size_t item_count;
    size_t size;
    uint8_t message[];
};

/** Items of one check, while they are distributed; all lent. */
struct batch {
    struct pawl_bytes ns;
    Pawl__V1__RefundItem **items;
    size_t count;
    uint64_t until_ms;
};

static void keep(struct pawl_forward *forward, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pawl_count(&forward->dispatch->metrics->holds_kept);
    }
}

/* ---- messages ------------------------------------------------------------------------------ */

static ProtobufCBinaryData lent(struct pawl_bytes bytes)
{
    return (ProtobufCBinaryData){ bytes.size, (uint8_t *)(uintptr_t)bytes.data };
}

/* Pack @batch under @id; its frame, of @size bytes, is forward->frame then. NULL: it is kept. */
static struct pawl_return *pack(struct pawl_forward *forward, const struct batch *batch,
                                uint64_t id, size_t *size)
{
    Pawl__V1__Refund body = PAWL__V1__REFUND__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    struct pawl_return *back = NULL;

    body.n_items = batch->count;
    body.items = batch->items;
    request.id = id;
    request.deadline_ms = RETURN_MS;
    request.forwarded = true;
    request.view = forward->territory->view;
    request.namespace_ = lent(batch->ns);
    request.body_case = PAWL__V1__REQUEST__BODY_REFUND;
    request.refund = &body;
    *size = pawl_cold_write_request(forward->frame, sizeof(forward->frame), &request);
    if (*size > 0 && forward->return_count < PAWL_RETURNS_MAX) {
        back = malloc(sizeof(*back) + *size - PAWL_FRAME_HEADER_BYTES);
    }
    if (back == NULL) {
        keep(forward, batch->count);
        return NULL;
    }
    *back = (struct pawl_return){ .forward = forward,
                                  .until_ms = batch->until_ms,
                                  .item_count = batch->count,
                                  .size = *size - PAWL_FRAME_HEADER_BYTES };
    memcpy(back->message, forward->frame + PAWL_FRAME_HEADER_BYTES, back->size);
    forward->return_count++;
    return back;
}

static void end(struct pawl_return *back, bool given)
{
    struct pawl_forward *forward = back->forward;

    if (!given) {
        keep(forward, back->item_count);
    }
    forward->return_count--;
    free(back);
}

static void wait_for_change(struct pawl_return *back)
{
    struct pawl_forward *forward = back->forward;

    back->retry_ms = pawl_forward_clock_ms(forward) + PAWL_FORWARD_TICK_MS;
    if (forward->closing || back->retry_ms >= back->until_ms) {
        end(back, false);
        return;
    }
    back->next = forward->returns;
    forward->returns = back;
    pawl_forward_tick(forward, back->retry_ms);
}

static void on_returned(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes reply,
                        const char *why)
{
    struct pawl_return *back = ctx;
    struct pawl_envelope_reply envelope;
    bool is_reply =
        outcome == PAWL_PEER_REPLY && pawl_envelope_read_reply(&envelope, reply) == PAWL_OK;

    (void)why;
    if (is_reply && envelope.status == PAWL__V1__STATUS__STATUS_MOVED) {
        (void)pawl_forward_on_moved(back->forward, &back->owner, envelope.view_number);
        wait_for_change(back);
    } else if (outcome == PAWL_PEER_UNSENT) {
        wait_for_change(back);
    } else {
        end(back, is_reply && envelope.status == PAWL__V1__STATUS__STATUS_OK);
    }
}

static void send_to(struct pawl_forward *forward, const struct batch *batch, uint16_t to)
{
    uint64_t id = 0;
    struct pawl_peer_link *link = pawl_forward_link(forward, to, &id);
    size_t size;
    struct pawl_return *back = pack(forward, batch, id, &size);

    if (back == NULL) {
        return;
    }
    back->owner = forward->territory->members[to].id;
    if (link == NULL || pawl_peer_link_ask(link, id, pawl_bytes_of(forward->frame, size), RETURN_MS,
                                           on_returned, back) != PAWL_OK) {
        wait_for_change(back);
    }
}

/* ---- where they go ------------------------------------------------------------------------- */

static bool refund_here(struct pawl_dispatch *dispatch, const Pawl__V1__RefundItem *from)
{
    uint64_t charges[PAWL_RATES_MAX] = { 0 };
    struct pawl_limit inline_limit; /* a check may be at hand that has those of the dispatcher */
    struct pawl_wire_item wire;
    struct pawl_limit_item item;
    struct pawl_item_kind kind;

    if (from->n_charges > PAWL_RATES_MAX ||
        pawl_dispatch_wire_item(&wire, from->limit, from->n_key, from->key, from->n_rates,
                                from->rates) != PAWL_OK) {
        return false;
    }
    wire.cost = from->cost;
    if (from->n_charges > 0) {
        memcpy(charges, from->charges, from->n_charges * sizeof(charges[0]));
    }
    if (pawl_dispatch_item(dispatch, &wire, &inline_limit, &item, &kind) != 0 ||
        pawl_limiter_refund(dispatch->app->limiter, &item, charges, dispatch->now.instant, NULL) !=
            PAWL_OK) {
        return false;
    }
    pawl_forward_end_hold(dispatch, &item);
    return true;
}

static struct pawl_route route_of(struct pawl_forward *forward, struct pawl_bytes ns,
                                  const Pawl__V1__RefundItem *item)
{
    struct pawl_bytes parts[PAWL_KEY_PARTS_MAX];
    const struct pawl_territory *territory = forward->territory;

    for (size_t i = 0; i < item->n_key && i < PAWL_KEY_PARTS_MAX; i++) {
        parts[i] = pawl_wire_bytes(item->key[i]);
    }
    return pawl_route(&forward->world->ownership, &territory->ring, territory->self,
                      pawl_ring_slot(&forward->world->slots_key, ns, parts, item->n_key),
                      pawl_forward_clock_ms(forward));
}

/* Each item of @all where it is counted. In a batch. */
static void distribute(struct pawl_forward *forward, const struct batch *all)
{
    Pawl__V1__RefundItem *group[PAWL_ITEMS_MAX];
    struct batch one = { .ns = all->ns, .items = group, .until_ms = all->until_ms };
    uint16_t to[PAWL_ITEMS_MAX];

    forward->dispatch->ns = all->ns;
    for (size_t i = 0; i < all->count; i++) {
        struct pawl_route route = route_of(forward, all->ns, all->items[i]);

        to[i] = route.kind == PAWL_ROUTE_FORWARD ? route.to : PAWL_RING_NOBODY;
        if (route.kind == PAWL_ROUTE_LOCAL) {
            keep(forward, refund_here(forward->dispatch, all->items[i]) ? 0 : 1);
        } else if (route.kind != PAWL_ROUTE_FORWARD) {
            size_t size;
            const struct batch waits = { all->ns, &all->items[i], 1, all->until_ms };
            struct pawl_return *back = pack(forward, &waits, 0, &size);

            if (back != NULL) {
                wait_for_change(back);
            }
        }
    }
    for (size_t i = 0; i < all->count; i++) {
        uint16_t owner = to[i];

        one.count = 0;
        for (size_t j = i; owner != PAWL_RING_NOBODY && j < all->count; j++) {
            if (to[j] == owner) {
                group[one.count++] = all->items[j];
                to[j] = PAWL_RING_NOBODY;
            }
        }
        if (one.count > 0) {
            send_to(forward, &one, owner);
        }
    }
}

/* ---- what a check charged ------------------------------------------------------------------ */

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

/* The refund of @wire, without its charges; NULL: no room. */
static Pawl__V1__RefundItem *refund_of(struct pawl_dispatch *dispatch,
                                       const struct pawl_wire_item *wire)
{
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
    memset(charges, 0, PAWL_RATES_MAX * sizeof(*charges));
    item->charges = charges;
    return item;
}

/* All of @items that was charged, with the handles; @list has room for all. Returns how many. */
static size_t collect(struct pawl_parcel *parcel, uint64_t items,
                      const struct pawl_wire_result *results, uint32_t result_count,
                      Pawl__V1__RefundItem **list)
{
    struct pawl_forward *forward = parcel->forward;
    Pawl__V1__RefundItem *of[PAWL_ITEMS_MAX] = { NULL };
    size_t count = 0;

    if (pawl_wire_read_request(&forward->part, pawl_parcel_message(parcel)) != PAWL_OK) {
        return 0; /* cannot be: it was read before */
    }
    pawl_cold_arena_reset(&forward->dispatch->arena);
    for (uint32_t i = 0; i < result_count; i++) {
        const struct pawl_wire_result *result = &results[i];
        uint32_t at = result->item;

        if (at >= forward->part.item_count || (items >> at & 1) == 0 ||
            result->rate_index >= PAWL_RATES_MAX) {
            continue;
        }
        if (of[at] == NULL) {
            of[at] = refund_of(forward->dispatch, &forward->part.items[at]);
            if (of[at] == NULL) {
                keep(forward, 1);
                items &= ~(UINT64_C(1) << at);
                continue;
            }
            list[count++] = of[at];
        }
        of[at]->charges[result->rate_index] = result->charge;
        of[at]->n_charges =
            of[at]->n_charges > result->rate_index ? of[at]->n_charges : result->rate_index + 1;
    }
    return count;
}

void pawl_forward_give_back(struct pawl_parcel *parcel, uint64_t items,
                            const struct pawl_wire_result *results, uint32_t result_count)
{
    struct pawl_forward *forward = parcel->forward;
    struct pawl_dispatch *dispatch = forward->dispatch;
    Pawl__V1__RefundItem *list[PAWL_ITEMS_MAX];
    struct pawl_bytes ns = dispatch->ns; /* that of the request at hand, if there is one */

    if (items == 0 || forward->closing) {
        return;
    }
    bool began = pawl_dispatch_begin(dispatch);

    dispatch->ns = pawl_parcel_ns(parcel);
    const struct batch all = { .ns = dispatch->ns,
                               .items = list,
                               .count = collect(parcel, items, results, result_count, list),
                               .until_ms = pawl_forward_clock_ms(forward) + RETURN_MS };

    distribute(forward, &all);
    dispatch->ns = ns;
    if (began) {
        pawl_dispatch_end(dispatch);
    }
}

/* ---- what waits ---------------------------------------------------------------------------- */

static void try_again(struct pawl_return *back)
{
    struct pawl_forward *forward = back->forward;
    struct pawl_cold_arena *arena = &forward->dispatch->arena;
    Pawl__V1__Request *request = NULL;

    pawl_cold_arena_reset(arena);
    if (pawl_cold_read_request(arena, pawl_bytes_of(back->message, back->size), &request) !=
        PAWL_OK) {
        end(back, false); /* cannot be: it was written here */
        return;
    }
    const struct batch all = { .ns = pawl_wire_bytes(request->namespace_),
                               .items = request->refund->items,
                               .count = request->refund->n_items,
                               .until_ms = back->until_ms };

    distribute(forward, &all);
    end(back, true);
}

void pawl_returns_look(struct pawl_forward *forward)
{
    struct pawl_return *waiting = forward->returns;
    bool began = waiting != NULL && pawl_dispatch_begin(forward->dispatch);
    uint64_t now_ms = pawl_forward_clock_ms(forward);

    forward->returns = NULL;
    for (struct pawl_return *next; waiting != NULL; waiting = next) {
        next = waiting->next;
        if (now_ms >= waiting->retry_ms) {
            try_again(waiting);
        } else {
            waiting->next = forward->returns;
            forward->returns = waiting;
            pawl_forward_tick(forward, waiting->retry_ms);
        }
    }
    if (began) {
        pawl_dispatch_end(forward->dispatch);
    }
}

void pawl_returns_close(struct pawl_forward *forward)
{
    for (struct pawl_return *next; forward->returns != NULL; forward->returns = next) {
        next = forward->returns->next;
        free(forward->returns);
    }
}
