#include "private.h"

#include <stdio.h>

static int refuse(struct pawl_client *client, const char *text)
{
    (void)snprintf(client->refusal, sizeof(client->refusal), "%s", text);
    return PAWL_RC_INVALID;
}

static int refuse_item(struct pawl_client *client, size_t item, const char *text)
{
    (void)snprintf(client->refusal, sizeof(client->refusal), "item %zu: %.130s", item, text);
    return PAWL_RC_INVALID;
}

static struct pawl_bytes bytes_of(struct pawl_str str)
{
    return pawl_bytes_of(str.data, str.size);
}

static int text_rates(const char *text, struct pawl_wire_rate *rates, uint32_t *rate_count)
{
    struct pawl_rate parsed[PAWL_RATES_MAX];
    struct pawl_rate_error error;
    size_t count = 0;

    if (pawl_rate_text_parse(pawl_bytes_of(text, strlen(text)), parsed, &count, &error) !=
        PAWL_OK) {
        return PAWL_RC_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        rates[i].count = parsed[i].count;
        rates[i].window_ms = parsed[i].window_ms;
        rates[i].algorithm = 0;
        rates[i].burst = 0;
    }
    *rate_count = (uint32_t)count;
    return PAWL_RC_OK;
}

int pawl_client_read_rates(const char *text, const struct pawl_rate_spec *list, size_t count,
                           struct pawl_wire_rate *rates, uint32_t *rate_count)
{
    *rate_count = 0;
    if (text != NULL) {
        return count > 0 ? PAWL_RC_INVALID : text_rates(text, rates, rate_count);
    }
    if (count > PAWL_RATES_MAX) {
        return PAWL_RC_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        if (list[i].window_ms < 1 || list[i].window_ms > PAWL_WINDOW_MS_MAX ||
            list[i].count > PAWL_COUNT_MAX || list[i].burst > PAWL_COUNT_MAX ||
            list[i].period != 0) {
            return PAWL_RC_INVALID;
        }
        rates[i].count = list[i].count;
        rates[i].window_ms = list[i].window_ms;
        rates[i].algorithm = list[i].algorithm;
        rates[i].burst = list[i].burst;
    }
    *rate_count = (uint32_t)count;
    return PAWL_RC_OK;
}

/* ---- encoding ---------------------------------------------------------------------------- */

static void begin_request(struct pawl_client *client, const struct slot *slot, const void *call)
{
    struct pawl_wire_request *request = &client->request;
    uint32_t deadline_ms = pawl_client_call_deadline(slot->type, call);

    memset(request, 0, offsetof(struct pawl_wire_request, token));
    request->id = slot->id;
    request->deadline_ms = deadline_ms != 0 ? deadline_ms : client->check_deadline_ms;
    request->now_ms = pawl_client_call_now(slot->type, call);
    request->namespace_ = bytes_of(pawl_client_call_ns(slot->type, call));
}

/* Raw opaque tokens and signed texts end here: only their SHA-256 goes into the request. */
static void put_token(struct pawl_client *client, struct slot *slot, const struct pawl_token *given,
                      uint8_t *digests)
{
    struct pawl_wire_token *token = &client->request.token;
    struct pawl_token full;

    memset(&full, 0, sizeof(full));
    memcpy(&full, given, given->struct_size < sizeof(full) ? given->struct_size : sizeof(full));
    memset(token, 0, sizeof(*token));
    token->issuer = bytes_of(full.issuer);
    token->jti = bytes_of(full.jti);
    token->subject = bytes_of(full.subject);
    token->client = bytes_of(full.client);
    token->key = bytes_of(full.key);
    token->sid = bytes_of(full.sid);
    token->iat = full.iat_s;
    token->exp = full.exp_s;
    if (full.opaque.size > 0) {
        pawl_sha256(digests, full.opaque.data, full.opaque.size);
        token->opaque_sha256 = pawl_bytes_of(digests, PAWL_SHA256_BYTES);
    }
    if (full.signed_text.size > 0) {
        pawl_sha256(digests + PAWL_SHA256_BYTES, full.signed_text.data, full.signed_text.size);
        token->signed_sha256 = pawl_bytes_of(digests + PAWL_SHA256_BYTES, PAWL_SHA256_BYTES);
    }
    token->raw = bytes_of(full.raw);
    token->audience = bytes_of(full.audience);
    token->type = bytes_of(full.type);
    slot->secret = full.raw.size > 0;
    client->request.has_token = true;
}

static int finish_request(struct pawl_client *client, struct slot *slot, const struct hint *hints,
                          size_t hint_count)
{
    size_t bound = pawl_wire_request_bound(&client->request);

    if (client->request.namespace_.size > PAWL_NAMESPACE_MAX) {
        return refuse(client, "ns: a namespace has at most 64 bytes");
    }
    if (!pawl_client_slot_room(client, slot, bound + hint_count * sizeof(*hints))) {
        return PAWL_RC_FULL;
    }
    slot->frame_size = pawl_wire_write_request(slot->frame, &client->request);
    client->queue_bytes += slot->frame_size;
    if (slot->frame_size > PAWL_REQUEST_BYTES_MAX + PAWL_FRAME_HEADER_BYTES) {
        return PAWL_RC_TOO_BIG;
    }
    if (hint_count > 0) { /* behind the frame, where sending does not reach */
        memcpy(slot->frame + slot->frame_size, hints, hint_count * sizeof(*hints));
        slot->hint_count = hint_count;
    }
    return PAWL_RC_OK;
}

static int check_item(struct pawl_client *client, const struct pawl_check_item *item, size_t index)
{
    bool asks_policy = (client->flags & PAWL_CLIENT_NO_FALLBACK) == 0;

    if (item->key_count < 1 || item->key_count > PAWL_KEY_PARTS_MAX) {
        return refuse_item(client, index, "a key has 1 to 8 parts");
    }
    if ((unsigned)item->on_error > PAWL_FAIL_LOCAL ||
        (asks_policy && item->on_error == PAWL_FAIL_UNSET)) {
        return refuse_item(client, index, "on_error is required: open, closed or local");
    }
    if (item->cost > PAWL_COUNT_MAX || item->burst > PAWL_COUNT_MAX) {
        return refuse_item(client, index, "a cost and a burst are below 2^40");
    }
    if (item->algorithm > PAWL_RATE_CONCURRENCY || item->algorithm == PAWL_RATE_CALENDAR) {
        return refuse_item(client, index,
                           "algorithm: sliding, gcra or concurrency; calendar "
                           "quotas are named limits");
    }
    if (item->limit.size > PAWL_LIMIT_NAME_MAX || item->tier.size > PAWL_LIMIT_NAME_MAX) {
        return refuse_item(client, index, "the name of a limit or tier has at most 64 bytes");
    }
    if (item->precision != 0 &&
        (item->precision < PAWL_PRECISION_MIN || item->precision > PAWL_PRECISION_MAX)) {
        return refuse_item(client, index, "precision is 2 to 4096");
    }
    for (size_t i = 0; i < item->key_count; i++) {
        if (item->key[i].size > PAWL_KEY_BYTES_MAX) {
            return refuse_item(client, index, "a part of a key has at most 1024 bytes");
        }
    }
    return PAWL_RC_OK;
}

/* Rates beside a name are hints for this process; they are not sent. */
static size_t take_hints(struct pawl_wire_item *item, uint32_t index, struct hint *hints)
{
    size_t count = item->rate_count;

    for (size_t i = 0; i < count; i++) {
        hints[i].item = index;
        hints[i].window_ms = item->rates[i].window_ms;
        hints[i].count = item->rates[i].count;
    }
    item->rate_count = 0;
    return count;
}

static int put_item(struct pawl_client *client, const struct pawl_check_item *given, size_t index)
{
    struct pawl_wire_item *item = &client->request.items[index];
    int rc = check_item(client, given, index);

    if (rc != PAWL_RC_OK) {
        return rc;
    }
    item->limit = bytes_of(given->limit);
    item->tier = bytes_of(given->tier);
    item->key_count = (uint32_t)given->key_count;
    for (size_t i = 0; i < given->key_count; i++) {
        item->key[i] = bytes_of(given->key[i]);
    }
    item->cost = given->cost;
    item->precision = given->precision;
    item->on_error = (uint32_t)given->on_error;
    rc = pawl_client_read_rates(given->rates, given->rate_list, given->rate_count, item->rates,
                                &item->rate_count);
    if (rc != PAWL_RC_OK) {
        return refuse_item(client, index,
                           "rates: write them as \"100/minute, 1000/day\", at most 8");
    }
    if (given->limit.size == 0 && item->rate_count == 0) {
        return refuse_item(client, index, "name a limit or give rates");
    }
    for (uint32_t i = 0; given->rates != NULL && i < item->rate_count; i++) {
        item->rates[i].algorithm = given->algorithm;
        item->rates[i].burst = given->burst;
    }
    return PAWL_RC_OK;
}

int pawl_client_encode_check(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_check_call *check = call;
    struct hint hints[PAWL_CHECK_RATES];
    uint8_t digests[2 * PAWL_SHA256_BYTES];
    size_t hint_count = 0;

    if (check->item_count > PAWL_ITEMS_MAX) {
        return PAWL_RC_TOO_BIG;
    }
    if (check->item_count == 0 && check->token == NULL) {
        return refuse(client, "a check has an item or a token");
    }
    if ((check->flags & ~(PAWL_CHECK_PEEK | PAWL_CHECK_EACH)) != 0) {
        return refuse(client, "flags: a bit that this library does not know");
    }
    begin_request(client, slot, call);
    client->request.body = PAWL_BODY_CHECK;
    for (size_t i = 0; i < check->item_count; i++) {
        int rc = put_item(client, &check->items[i], i);

        if (rc != PAWL_RC_OK) {
            return rc;
        }
        if (check->items[i].limit.size > 0 && hint_count + PAWL_RATES_MAX <= PAWL_CHECK_RATES) {
            hint_count += take_hints(&client->request.items[i], (uint32_t)i, hints + hint_count);
        } else if (check->items[i].limit.size > 0) {
            client->request.items[i].rate_count = 0;
        }
    }
    client->request.item_count = (uint32_t)check->item_count;
    slot->peek = (check->flags & PAWL_CHECK_PEEK) != 0;
    slot->each = (check->flags & PAWL_CHECK_EACH) != 0;
    client->request.op = slot->peek ? 1 : 0;
    client->request.mode = slot->each ? 1 : 0;
    if (check->token != NULL) {
        put_token(client, slot, check->token, digests);
    }
    slot->learn = !pawl_client_learned_all(client, &client->request);
    slot->owner = pawl_client_route_owner(client, &client->request);
    return finish_request(client, slot, hints, hint_count);
}

int pawl_client_encode_token_check(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_token_check_call *check = call;
    uint8_t digests[2 * PAWL_SHA256_BYTES];

    if (check->token == NULL) {
        return refuse(client, "a token check has a token");
    }
    begin_request(client, slot, call);
    client->request.body = PAWL_BODY_TOKEN_CHECK;
    put_token(client, slot, check->token, digests);
    return finish_request(client, slot, NULL, 0);
}

/* ---- the answer -------------------------------------------------------------------------- */

static void read_claims(struct pawl_client *client, struct pawl_bytes packed)
{
    struct pawl_claims *claims = &client->results.claims;
    struct pawl_cold_arena *arena = pawl_client_arena(client);
    Pawl__V1__Token *token =
        arena == NULL ? NULL : pawl__v1__token__unpack(&arena->allocator, packed.size, packed.data);

    memset(claims, 0, sizeof(*claims));
    if (token == NULL) {
        return;
    }
    pawl_client_put_text(&claims->issuer, token->issuer.data, token->issuer.len);
    pawl_client_put_text(&claims->jti, token->jti.data, token->jti.len);
    pawl_client_put_text(&claims->subject, token->subject.data, token->subject.len);
    pawl_client_put_text(&claims->client, token->client.data, token->client.len);
    pawl_client_put_text(&claims->key, token->key.data, token->key.len);
    pawl_client_put_text(&claims->sid, token->sid.data, token->sid.len);
    claims->iat_s = token->iat;
    claims->exp_s = token->exp;
}

static void read_token(struct pawl_client *client, struct pawl_token_answer *token)
{
    const struct pawl_wire_token_verdict *from = &client->reply.token;
    size_t size =
        from->detail.size < sizeof(token->detail) ? from->detail.size : sizeof(token->detail) - 1;

    token->status = from->status <= PAWL_TOKEN_STATE_UNDECIDED
                        ? (enum pawl_token_state)from->status
                        : PAWL_TOKEN_STATE_UNDECIDED; /* a word of a later version */
    token->reason = (enum pawl_why)from->reason;
    token->scope = (enum pawl_revoke_scope)from->scope;
    token->fresh = from->fresh;
    token->staleness_ms = from->staleness_ms;
    if (size > 0) {
        memcpy(token->detail, from->detail.data, size);
    }
    token->detail[size] = '\0';
    if (from->claims.size > 0) {
        read_claims(client, from->claims);
        token->has_claims = true;
        token->claims = &client->results.claims;
    }
}

void pawl_client_note_denied(const struct pawl_rate_result *rate, uint64_t *retry_after_ms,
                             uint64_t *retry_never)
{
    if (rate->allowed || rate->shadow) {
        return;
    }
    *retry_never |= rate->never ? 1U : 0U;
    if (rate->retry_after_ms > *retry_after_ms) {
        *retry_after_ms = rate->retry_after_ms;
    }
}

enum pawl_outcome pawl_client_outcome_of(uint32_t verdict)
{
    return verdict == PAWL_ALLOW  ? PAWL_OUTCOME_ALLOW
           : verdict == PAWL_DENY ? PAWL_OUTCOME_DENY
                                  : PAWL_OUTCOME_UNDECIDED;
}

static void read_check(struct pawl_client *client, const struct slot *slot)
{
    struct pawl_check_result *result = &client->results.of.check;
    bool charged = false;

    for (uint32_t i = 0; i < client->reply.result_count; i++) {
        struct pawl_rate_result *rate = &client->results.rates[i];

        CLIENT_RATE_COPY(rate, &client->reply.results[i]);
        charged = charged || (slot->each && rate->allowed);
        pawl_client_note_denied(rate, &result->retry_after_ms, &result->retry_never);
    }
    result->rate_count = client->reply.result_count;
    result->outcome = pawl_client_outcome_of(client->reply.verdict);
    if (!slot->peek && (charged || (!slot->each && result->outcome == PAWL_OUTCOME_ALLOW &&
                                    result->rate_count > 0))) {
        result->info.effect = PAWL_EFFECT_DONE;
    }
    if (client->reply.has_token) {
        result->has_token = true;
        read_token(client, &result->token);
    }
}

int pawl_client_read_hot(struct pawl_client *client, const struct slot *slot)
{
    const struct pawl_wire_reply *reply = &client->reply;
    struct pawl_str text = { reply->error.data, reply->error.size };

    if (reply->status != PAWL__V1__STATUS__STATUS_OK) {
        return pawl_client_resolve_outcome(client, slot, pawl_client_rc_of_status(reply->status),
                                           pawl_client_effect(slot, reply->effect_unknown), true,
                                           text);
    }
    if ((uint8_t)reply->body != slot->type->reply) {
        return PAWL_RC_PROTOCOL;
    }
    if (slot->type->kind == PAWL_CALL_CHECK && slot->learn) {
        pawl_client_learn(client, slot);
    }
    pawl_client_begin_result(client, slot);
    pawl_client_info(client, slot)->source = PAWL_SOURCE_DAEMON;
    if (slot->type->kind == PAWL_CALL_CHECK) {
        read_check(client, slot);
    } else {
        read_token(client, &client->results.of.token_check.token);
    }
    return PAWL_RC_OK;
}
