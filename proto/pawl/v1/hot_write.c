#include "pawl/v1/hot.h"

#include "pawl/v1/frame.h"
#include "pawl/v1/hot_put.h"

/*
 * Written in the order of the field numbers, zeros left out, lengths as short as they go: byte for
 * byte what protobuf-c packs from the same values. Nothing is measured beforehand: each sub-message
 * gets one byte for its length, and the rare long one is moved up.
 */

uint8_t *pawl_wire_put_end_long(uint8_t *body, uint8_t *out)
{
    size_t size = (size_t)(out - body);
    uint8_t length[WIRE_VARINT_MAX];
    size_t extra = (size_t)(wire_put_varint(length, size) - length) - 1;

    memmove(body + extra, body, size);
    memcpy(body - 1, length, extra + 1);
    return out + extra;
}

/* ---- replies ---------------------------------------------------------------------------- */

static uint8_t *put_verdict(uint8_t *out, const struct pawl_wire_token_verdict *verdict)
{
    out = wire_put_u64(out, 1, verdict->status);
    out = wire_put_u64(out, 2, verdict->reason);
    out = wire_put_u64(out, 3, verdict->scope);
    out = wire_put_bool(out, 4, verdict->fresh);
    out = wire_put_u64(out, 5, verdict->staleness_ms);
    out = wire_put_bytes(out, 6, verdict->detail);
    return wire_put_bytes(out, 7, verdict->claims);
}

static inline uint8_t *put_results(uint8_t *out, const struct pawl_wire_result *results,
                                   uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *body = wire_put_begin(out, 2);

        out = wire_put_end(body, wire_put_result(body, &results[i]));
    }
    return out;
}

static inline uint8_t *put_check_reply(uint8_t *out, const struct pawl_wire_reply *reply)
{
    out = wire_put_u64(out, 1, reply->verdict);
    out = put_results(out, reply->results, reply->result_count);
    if (reply->has_token) {
        uint8_t *body = wire_put_begin(out, 3);
        out = wire_put_end(body, put_verdict(body, &reply->token));
    }
    return out;
}

size_t pawl_wire_reply_bound(const struct pawl_wire_reply *reply)
{
    size_t bound = PAWL_FRAME_HEADER_BYTES +
                   5 * (size_t)WIRE_VARINT_FIELD; /* id, status, view, effect, verdict */

    bound += 3 * (size_t)WIRE_SUBMESSAGE + reply->error.size + reply->hello.size; /* and the body */
    bound += (size_t)reply->result_count * (WIRE_SUBMESSAGE + WIRE_RESULT_CONTENT);
    if (reply->has_token || reply->body == PAWL_BODY_TOKEN_CHECK) {
        bound += 3 * (size_t)WIRE_SUBMESSAGE +
                 5 * (size_t)WIRE_VARINT_FIELD; /* itself, detail, claims */
        bound += reply->token.detail.size + reply->token.claims.size;
    }
    return bound;
}

size_t pawl_wire_write_reply(uint8_t *out, const struct pawl_wire_reply *reply)
{
    uint8_t *message = out + PAWL_FRAME_HEADER_BYTES;
    uint8_t *at = message;
    uint8_t *body;

    at = wire_put_u64(at, 1, reply->id);
    at = wire_put_u64(at, 2, reply->status);
    at = wire_put_bytes(at, 3, reply->error);
    at = wire_put_bytes(at, 4, reply->hello);
    at = wire_put_u64(at, 6, reply->view_number);
    at = wire_put_bool(at, 7, reply->effect_unknown);
    if (reply->body == PAWL_BODY_CHECK) {
        body = wire_put_begin(at, PAWL_BODY_CHECK);
        at = wire_put_end(body, put_check_reply(body, reply));
    } else if (reply->body == PAWL_BODY_TOKEN_CHECK) {
        body = wire_put_begin(at, PAWL_BODY_TOKEN_CHECK);
        at = wire_put_end(body, put_verdict(body, &reply->token));
    }
    pawl_frame_header(out, (size_t)(at - message));
    return (size_t)(at - out);
}

/* ---- requests --------------------------------------------------------------------------- */

static uint8_t *put_token(uint8_t *out, const struct pawl_wire_token *token)
{
    out = wire_put_bytes(out, 1, token->issuer);
    out = wire_put_bytes(out, 2, token->jti);
    out = wire_put_bytes(out, 3, token->subject);
    out = wire_put_bytes(out, 4, token->client);
    out = wire_put_bytes(out, 5, token->key);
    out = wire_put_bytes(out, 6, token->sid);
    out = wire_put_u64(out, 7, token->iat);
    out = wire_put_u64(out, 8, token->exp);
    out = wire_put_bytes(out, 9, token->opaque_sha256);
    out = wire_put_bytes(out, 10, token->signed_sha256);
    out = wire_put_bytes(out, 11, token->raw);
    out = wire_put_bytes(out, 12, token->audience);
    return wire_put_bytes(out, 13, token->type);
}

static size_t token_bound(const struct pawl_wire_token *token)
{
    const struct pawl_bytes *const fields[] = {
        &token->issuer,        &token->jti,           &token->subject, &token->client,
        &token->key,           &token->sid,           &token->raw,     &token->audience,
        &token->opaque_sha256, &token->signed_sha256, &token->type,
    };
    size_t bound = WIRE_SUBMESSAGE + 2 * (size_t)WIRE_VARINT_FIELD;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        bound += WIRE_SUBMESSAGE + fields[i]->size;
    }
    return bound;
}

static uint8_t *put_rate(uint8_t *out, const struct pawl_wire_rate *rate)
{
    out = wire_put_u64(out, 1, rate->count);
    out = wire_put_u64(out, 2, rate->window_ms);
    out = wire_put_u64(out, 3, rate->algorithm);
    out = wire_put_u64(out, 4, rate->burst);
    return wire_put_u64(out, 5, rate->period);
}

static uint8_t *put_item(uint8_t *out, const struct pawl_wire_item *item)
{
    out = wire_put_bytes(out, 1, item->limit);
    for (uint32_t i = 0; i < item->key_count; i++) {
        out = wire_put_part(out, 2, item->key[i]);
    }
    out = wire_put_u64(out, 3, item->cost);
    for (uint32_t i = 0; i < item->rate_count; i++) {
        uint8_t *body = wire_put_begin(out, 4);

        out = wire_put_end(body, put_rate(body, &item->rates[i]));
    }
    out = wire_put_u64(out, 5, item->precision);
    out = wire_put_u64(out, 6, item->on_error);
    return wire_put_bytes(out, 7, item->tier);
}

static size_t item_bound(const struct pawl_wire_item *item)
{
    size_t bound =
        3 * (size_t)WIRE_SUBMESSAGE + 3 * (size_t)WIRE_VARINT_FIELD; /* itself, limit, tier */

    bound += item->limit.size + item->tier.size;
    for (uint32_t i = 0; i < item->key_count; i++) {
        bound += WIRE_SUBMESSAGE + item->key[i].size;
    }
    return bound + (size_t)item->rate_count * (WIRE_SUBMESSAGE + 5 * (size_t)WIRE_VARINT_FIELD);
}

static uint8_t *put_check(uint8_t *out, const struct pawl_wire_request *request)
{
    uint8_t *body;

    for (uint32_t i = 0; i < request->item_count; i++) {
        body = wire_put_begin(out, 1);
        out = wire_put_end(body, put_item(body, &request->items[i]));
    }
    out = wire_put_u64(out, 2, request->op);
    out = wire_put_u64(out, 3, request->mode);
    if (request->has_token) {
        body = wire_put_begin(out, 4);
        out = wire_put_end(body, put_token(body, &request->token));
    }
    return wire_put_bool(out, 16, request->hold);
}

static uint8_t *put_token_check(uint8_t *out, const struct pawl_wire_request *request)
{
    if (request->has_token) {
        uint8_t *body = wire_put_begin(out, 1);

        out = wire_put_end(body, put_token(body, &request->token));
    }
    return out;
}

size_t pawl_wire_request_bound(const struct pawl_wire_request *request)
{
    size_t bound = PAWL_FRAME_HEADER_BYTES + 8 * (size_t)WIRE_VARINT_FIELD;

    bound += 3 * (size_t)WIRE_SUBMESSAGE + request->namespace_.size + request->hello.size;
    for (uint32_t i = 0; i < request->item_count; i++) {
        bound += item_bound(&request->items[i]);
    }
    return request->has_token ? bound + token_bound(&request->token) : bound;
}

size_t pawl_wire_write_request(uint8_t *out, const struct pawl_wire_request *request)
{
    uint8_t *message = out + PAWL_FRAME_HEADER_BYTES;
    uint8_t *at = message;
    uint8_t *body;

    at = wire_put_u64(at, 1, request->id);
    at = wire_put_u64(at, 2, request->deadline_ms);
    at = wire_put_bytes(at, 3, request->namespace_);
    at = wire_put_u64(at, 4, request->now_ms);
    if (request->has_hello || request->hello.size > 0) {
        at = wire_put_part(at, 5, request->hello);
    }
    at = wire_put_bool(at, 6, request->forwarded);
    at = wire_put_u64(at, 7, request->view);
    if (request->body == PAWL_BODY_CHECK) {
        body = wire_put_begin(at, PAWL_BODY_CHECK);
        at = wire_put_end(body, put_check(body, request));
    } else if (request->body == PAWL_BODY_TOKEN_CHECK) {
        body = wire_put_begin(at, PAWL_BODY_TOKEN_CHECK);
        at = wire_put_end(body, put_token_check(body, request));
    }
    pawl_frame_header(out, (size_t)(at - message));
    return (size_t)(at - out);
}
