/*
 * Reservations: reserve, commit, cancel.
 */
#include "cold_pack.h"

struct packed_item {
    Pawl__V1__CheckItem item;
    ProtobufCBinaryData key[PAWL_KEY_PARTS_MAX];
    struct packed_rates rates;
};

static int pack_item(struct pawl_client *client, const struct pawl_check_item *given,
                     struct packed_item *packed)
{
    int rc = pawl_cold_pack_key(client, given->key, given->key_count, packed->key);

    if (rc == PAWL_RC_OK) {
        rc = pawl_cold_pack_rates(client, given->rates, given->rate_list, given->rate_count,
                                  (struct rates_kind){ given->algorithm, given->burst },
                                  &packed->rates);
    }
    if (rc != PAWL_RC_OK) {
        return rc;
    }
    if (given->limit.size == 0 && packed->rates.count == 0) {
        return pawl_cold_refuse(client, "name a limit or give rates");
    }
    pawl__v1__check_item__init(&packed->item);
    packed->item.limit = pawl_cold_binary_of(given->limit);
    packed->item.tier = pawl_cold_binary_of(given->tier);
    packed->item.n_key = given->key_count;
    packed->item.key = packed->key;
    packed->item.precision = given->precision;
    packed->item.n_rates = given->limit.size > 0 ? 0 : packed->rates.count;
    packed->item.rates = packed->rates.pointers;
    return PAWL_RC_OK;
}

int pawl_client_encode_reserve(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_reserve_call *reserve = call;
    struct packed_item packed[PAWL_ITEMS_MAX];
    Pawl__V1__CheckItem *pointers[PAWL_ITEMS_MAX];
    Pawl__V1__Request request;
    Pawl__V1__Reserve body;

    if (reserve->item_count < 1 || reserve->item_count > PAWL_ITEMS_MAX) {
        return pawl_cold_refuse(client, "a reservation has 1 to 64 items");
    }
    if (reserve->min > PAWL_COUNT_MAX || reserve->max > PAWL_COUNT_MAX ||
        (reserve->max != 0 && reserve->max < reserve->min)) {
        return pawl_cold_refuse(client, "min and max are below 2^40, and max is not below min");
    }
    for (size_t i = 0; i < reserve->item_count; i++) {
        int rc = pack_item(client, &reserve->items[i], &packed[i]);

        if (rc != PAWL_RC_OK) {
            return rc;
        }
        pointers[i] = &packed[i].item;
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__reserve__init(&body);
    body.n_items = reserve->item_count;
    body.items = pointers;
    body.min = reserve->min;
    body.max = reserve->max;
    body.lease_ms = reserve->lease_ms;
    request.reserve = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_commit(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_commit_call *commit = call;
    Pawl__V1__Request request;
    Pawl__V1__Commit body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__commit__init(&body);
    body.lease = pawl_cold_binary(commit->lease, sizeof(commit->lease));
    body.used = commit->used;
    request.commit = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_cancel_lease(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_cancel_lease_call *cancel = call;
    Pawl__V1__Request request;
    Pawl__V1__Cancel body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__cancel__init(&body);
    body.lease = pawl_cold_binary(cancel->lease, sizeof(cancel->lease));
    request.cancel = &body;
    return pawl_cold_finish(client, slot, &request);
}

/* ---- answers ----------------------------------------------------------------------------- */

void pawl_client_decode_reserve(struct pawl_client *client, const struct slot *slot,
                                const Pawl__V1__Reply *reply)
{
    struct pawl_reserve_result *result = &client->results.of.reserve;
    const Pawl__V1__ReserveReply *from = reply->reserve;

    (void)slot;
    result->outcome = pawl_client_outcome_of((uint32_t)from->verdict);
    result->granted = from->granted;
    result->lease_ms = from->lease_ms;
    if (from->lease.len == sizeof(result->lease)) {
        memcpy(result->lease, from->lease.data, sizeof(result->lease));
    }
    if (result->granted == 0) {
        result->info.effect = PAWL_EFFECT_NONE;
    }
    result->rates = client->results.rates;
    result->rates_max = PAWL_CHECK_RATES;
    result->rate_count = from->n_results < PAWL_CHECK_RATES ? from->n_results : PAWL_CHECK_RATES;
    for (size_t i = 0; i < result->rate_count; i++) {
        struct pawl_rate_result *rate = &result->rates[i];

        CLIENT_RATE_COPY(rate, from->results[i]);
        pawl_client_note_denied(rate, &result->retry_after_ms, &result->retry_never);
    }
}

void pawl_client_decode_commit(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply)
{
    client->results.of.commit.refunded =
        slot->type->kind == PAWL_CALL_COMMIT ? reply->commit->refunded : reply->cancel->refunded;
}
