/*
 * What operators ask: top and watch.
 */
#include "cold_pack.h"

#include "core/fact.h"

int pawl_client_encode_top(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_top_call *top = call;
    Pawl__V1__Request request;
    Pawl__V1__Top body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__top__init(&body);
    body.keys_max = top->keys_max;
    body.events_max = top->events_max;
    request.top = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_watch(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_watch_call *watch = call;
    Pawl__V1__Cursor cursors[PAWL_FACT_IDS_MAX];
    Pawl__V1__Cursor *pointers[PAWL_FACT_IDS_MAX];
    Pawl__V1__Request request;
    Pawl__V1__Watch body;

    if (watch->cursor_count > PAWL_FACT_IDS_MAX) {
        return pawl_cold_refuse(client, "a watch has at most 64 cursors");
    }
    for (size_t i = 0; i < watch->cursor_count; i++) {
        const struct pawl_fact_name *name = &watch->cursors[i];

        if (name->origin_size > sizeof(name->origin)) {
            return pawl_cold_refuse(client, "the origin of a fact has 16 bytes");
        }
        pawl__v1__cursor__init(&cursors[i]);
        cursors[i].origin = pawl_cold_binary(name->origin, name->origin_size);
        cursors[i].sequence = name->sequence;
        pointers[i] = &cursors[i];
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__watch__init(&body);
    body.n_cursors = watch->cursor_count;
    body.cursors = pointers;
    body.snapshot = (watch->flags & PAWL_WATCH_SNAPSHOT) != 0;
    body.wait_ms = watch->wait_ms;
    body.facts_max = watch->facts_max != 0 && watch->facts_max < CLIENT_FACTS_MAX
                         ? watch->facts_max
                         : CLIENT_FACTS_MAX;
    request.watch = &body;
    return pawl_cold_finish(client, slot, &request);
}

/* ---- answers ----------------------------------------------------------------------------- */

static size_t capped(size_t count, const void *array, size_t max)
{
    return array == NULL ? 0 : count < max ? count : max;
}

static void put_limits(struct pawl_client *client, const Pawl__V1__TopReply *from)
{
    struct pawl_top_result *result = &client->results.of.top;

    result->limits_max = from->n_limits < CLIENT_TOP_MAX ? from->n_limits : CLIENT_TOP_MAX;
    result->limits = pawl_client_array(client, result->limits_max, sizeof(*result->limits));
    result->limit_count = capped(from->n_limits, result->limits, CLIENT_TOP_MAX);
    for (size_t i = 0; i < result->limit_count; i++) {
        struct pawl_limit_figures *to = &result->limits[i];

        pawl_client_put_chars(to->limit, sizeof(to->limit), from->limits[i]->limit);
        pawl_client_put_chars(to->ns, sizeof(to->ns), from->limits[i]->namespace_);
        to->allowed = from->limits[i]->allowed;
        to->denied = from->limits[i]->denied;
        to->shadow_denied = from->limits[i]->shadow_denied;
        to->bypassed = from->limits[i]->bypassed;
        to->overflowed = from->limits[i]->overflowed;
    }
}

static void put_keys(struct pawl_client *client, const Pawl__V1__TopReply *from)
{
    struct pawl_top_result *result = &client->results.of.top;

    result->keys_max = from->n_keys < CLIENT_TOP_MAX ? from->n_keys : CLIENT_TOP_MAX;
    result->keys = pawl_client_array(client, result->keys_max, sizeof(*result->keys));
    result->key_count = capped(from->n_keys, result->keys, CLIENT_TOP_MAX);
    for (size_t i = 0; i < result->key_count; i++) {
        struct pawl_denied_key *to = &result->keys[i];

        pawl_client_put_chars(to->limit, sizeof(to->limit), from->keys[i]->limit);
        pawl_client_put_chars(to->ns, sizeof(to->ns), from->keys[i]->namespace_);
        pawl_client_put_chars(to->key, sizeof(to->key), from->keys[i]->key);
        to->denied = from->keys[i]->denied;
        to->last_ms = from->keys[i]->last_ms;
    }
}

static void put_events(struct pawl_client *client, const Pawl__V1__TopReply *from)
{
    struct pawl_top_result *result = &client->results.of.top;

    result->events_max = from->n_events < CLIENT_TOP_MAX ? from->n_events : CLIENT_TOP_MAX;
    result->events = pawl_client_array(client, result->events_max, sizeof(*result->events));
    result->event_count = capped(from->n_events, result->events, CLIENT_TOP_MAX);
    for (size_t i = 0; i < result->event_count; i++) {
        struct pawl_revocation_event *to = &result->events[i];

        to->scope = (enum pawl_revoke_scope)from->events[i]->scope;
        to->reason = (enum pawl_why)from->events[i]->reason;
        pawl_client_put_chars(to->ns, sizeof(to->ns), from->events[i]->namespace_);
        pawl_client_put_chars(to->value, sizeof(to->value), from->events[i]->value);
        to->at_ms = from->events[i]->at_ms;
    }
}

void pawl_client_decode_top(struct pawl_client *client, const struct slot *slot,
                            const Pawl__V1__Reply *reply)
{
    (void)slot;
    put_limits(client, reply->top);
    put_keys(client, reply->top);
    put_events(client, reply->top);
}

static void put_cancels(struct pawl_fact_info *to, struct pawl_bytes ids)
{
    size_t count = ids.size / PAWL_FACT_ID_BYTES;

    to->cancel_count = (uint32_t)(count < PAWL_FACT_IDS_MAX ? count : PAWL_FACT_IDS_MAX);
    for (uint32_t i = 0; i < to->cancel_count; i++) {
        struct pawl_fact_id id = pawl_fact_id_read(ids.data + i * (size_t)PAWL_FACT_ID_BYTES);

        memcpy(to->cancels[i].origin, id.origin.bytes, sizeof(to->cancels[i].origin));
        to->cancels[i].origin_size = sizeof(to->cancels[i].origin);
        to->cancels[i].sequence = id.sequence;
    }
}

static void put_fact(struct pawl_fact_info *to, ProtobufCBinaryData packed)
{
    struct pawl_fact fact;

    if (pawl_fact_decode(&fact, pawl_bytes_of(packed.data, packed.len)) != PAWL_OK) {
        return; /* id with no origin: the caller skips what it cannot name */
    }
    memcpy(to->id.origin, fact.id.origin.bytes, sizeof(to->id.origin));
    to->id.origin_size = sizeof(to->id.origin);
    to->id.sequence = fact.id.sequence;
    to->at_ms = fact.at_ms;
    to->until_s = fact.until_s;
    pawl_client_put_text(&to->ns, fact.ns.data, fact.ns.size);
    if (pawl_fact_is_known(&fact) && fact.kind == PAWL_FACT_CANCEL) {
        put_cancels(to, fact.cancels);
        return;
    }
    if (!pawl_fact_is_known(&fact)) {
        return; /* scope NONE, and cancels nothing that is known */
    }
    to->scope = (enum pawl_revoke_scope)fact.scope;
    to->reason = (enum pawl_why)fact.reason;
    to->before_ms = fact.cutoff_ms;
    if (pawl_scope_is_token(fact.scope) && fact.until_s > PAWL_FACT_SLACK_S) {
        to->exp_s = fact.until_s - PAWL_FACT_SLACK_S;
    }
    pawl_client_put_text(&to->issuer, fact.issuer.data, fact.issuer.size);
    pawl_client_put_text(&to->value, fact.value.data, fact.value.size);
    pawl_client_put_text(&to->actor, fact.actor.data, fact.actor.size);
}

void pawl_client_decode_watch(struct pawl_client *client, const struct slot *slot,
                              const Pawl__V1__Reply *reply)
{
    struct pawl_watch_result *result = &client->results.of.watch;
    const Pawl__V1__WatchReply *from = reply->watch;

    (void)slot;
    result->gap = from->gap;
    result->snapshot_end = from->snapshot_end;
    result->facts_max = from->n_facts < CLIENT_FACTS_MAX ? from->n_facts : CLIENT_FACTS_MAX;
    result->facts = pawl_client_array(client, result->facts_max, sizeof(*result->facts));
    result->fact_count = capped(from->n_facts, result->facts, CLIENT_FACTS_MAX);
    for (size_t i = 0; i < result->fact_count; i++) {
        put_fact(&result->facts[i], from->facts[i]);
    }
    result->cursors_max = from->n_cursors < PAWL_FACT_IDS_MAX ? from->n_cursors : PAWL_FACT_IDS_MAX;
    result->cursors = pawl_client_array(client, result->cursors_max, sizeof(*result->cursors));
    result->cursor_count = capped(from->n_cursors, result->cursors, PAWL_FACT_IDS_MAX);
    for (size_t i = 0; i < result->cursor_count; i++) {
        struct pawl_fact_name *to = &result->cursors[i];
        ProtobufCBinaryData origin = from->cursors[i]->origin;

        if (origin.len == sizeof(to->origin)) {
            memcpy(to->origin, origin.data, sizeof(to->origin));
            to->origin_size = sizeof(to->origin);
        }
        to->sequence = from->cursors[i]->sequence;
    }
}
