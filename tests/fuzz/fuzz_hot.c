/*
 * The hot codec against protobuf-c: bit 0 of the first byte says request or reply, the rest is the
 * message.
 *
 * Both readers must take or refuse the same bytes and read the same values. The differences that
 * are allowed, and only with the oddity seen in the bytes (wire_oddities.h):
 *   - the hot reader refuses, protobuf-c takes: field number 0; tags, lengths and varints with bits
 *     above 32, 32 and 64; a bool of another wire type; a hello or claims seen twice; a field seen
 *     twice whose first value is over its cap; a request without a body;
 *   - the hot reader takes, the cold one refuses: what is wrong is inside a part that the hot one
 *     leaves unread (hello, claims, goaway, other bodies), or is an enum's value;
 *   - both take: values of a sub-message seen twice (protobuf-c replaces those of a oneof, and
 *     forgets numbers of the first when merging others).
 *
 * And what was read, written again, is what protobuf-c packs, and reads back as the same values.
 */
#include "fuzz/require.h"
#include "fuzz/wire_oddities.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (8U << 20)
#define STRICTER \
    (ODD_NUMBER | ODD_VARINT | ODD_LENGTH | ODD_BOOL | ODD_MESSAGE_TWICE | ODD_BYTES_TWICE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pawl_cold_arena arena;

static void same_bytes(struct pawl_bytes hot, ProtobufCBinaryData cold)
{
    require(hot.size == cold.len);
    require(hot.size == 0 || memcmp(hot.data, cold.data, hot.size) == 0);
}

static void same_view(struct pawl_bytes a, struct pawl_bytes b)
{
    require(a.size == b.size);
    require(a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- parts that the hot reader leaves unread ---------------------------------------------- */

static bool is_unread(bool is_request, uint64_t number)
{
    return number == (is_request ? 5 : 4) || (!is_request && number == 5) ||
           (number >= 18 && number <= 34) || (number >= 50 && number <= 52);
}

/* Copy @message without the parts left unread; returns the bytes copied. */
static size_t strip_unread(bool is_request, struct pawl_bytes message, uint8_t *out)
{
    struct odd_scan scan = { message.data, message.data + message.size, 0 };
    size_t size = 0;

    while (scan.at < scan.end) {
        const uint8_t *start = scan.at;
        uint64_t tag;
        uint64_t value;

        if (!odd_varint(&scan, 5, 15, ODD_NUMBER, &tag) ||
            !odd_value(&scan, (unsigned)tag & 7, &value)) {
            scan.at = scan.end; /* keep what cannot be read: both have to refuse it */
        } else {
            scan.at += (tag & 7) == 0 ? 0 : value;
            if (is_unread(is_request, tag >> 3) && (tag & 7) == 2) {
                continue;
            }
        }
        memcpy(out + size, start, (size_t)(scan.at - start));
        size += (size_t)(scan.at - start);
    }
    return size;
}

/* Is what the cold reader refused in a part that the hot one left unread? */
static bool unread_part_is_bad(bool is_request, struct pawl_bytes message)
{
    uint8_t *copy = malloc(message.size);
    Pawl__V1__Request *request;
    Pawl__V1__Reply *reply;
    struct pawl_bytes stripped;
    bool bad;

    require(copy != NULL);
    stripped = pawl_bytes_of(copy, strip_unread(is_request, message, copy));
    pawl_cold_arena_reset(&arena);
    bad = stripped.size < message.size &&
          (is_request ? pawl_cold_read_request(&arena, stripped, &request)
                      : pawl_cold_read_reply(&arena, stripped, &reply)) == PAWL_OK;
    free(copy);
    return bad;
}

static bool claims_are_bad(const struct pawl_wire_reply *reply)
{
    ProtobufCMessage *token;

    if (!reply->has_token || reply->token.claims.size == 0) {
        return false;
    }
    pawl_cold_arena_reset(&arena);
    token = protobuf_c_message_unpack(&pawl__v1__token__descriptor, &arena.allocator,
                                      reply->token.claims.size, reply->token.claims.data);
    return token == NULL || reply->token.claims.size > PAWL_CLAIM_MAX; /* maybe over a cap */
}

/* ---- requests ------------------------------------------------------------------------------ */

static void same_token(const struct pawl_wire_token *hot, const Pawl__V1__Token *cold)
{
    same_bytes(hot->issuer, cold->issuer);
    same_bytes(hot->jti, cold->jti);
    same_bytes(hot->subject, cold->subject);
    same_bytes(hot->client, cold->client);
    same_bytes(hot->key, cold->key);
    same_bytes(hot->sid, cold->sid);
    require(hot->iat == cold->iat);
    require(hot->exp == cold->exp);
    same_bytes(hot->opaque_sha256, cold->opaque_sha256);
    same_bytes(hot->signed_sha256, cold->signed_sha256);
    same_bytes(hot->raw, cold->raw);
    same_bytes(hot->audience, cold->audience);
    same_bytes(hot->type, cold->type);
}

static void same_optional_token(bool has_token, const struct pawl_wire_token *hot,
                                const Pawl__V1__Token *cold)
{
    require(has_token == (cold != NULL));
    if (has_token) {
        same_token(hot, cold);
    }
}

static void same_item(const struct pawl_wire_item *hot, const Pawl__V1__CheckItem *cold)
{
    same_bytes(hot->limit, cold->limit);
    require(hot->key_count == cold->n_key);
    for (uint32_t i = 0; i < hot->key_count; i++) {
        same_bytes(hot->key[i], cold->key[i]);
    }
    require(hot->cost == cold->cost);
    require(hot->rate_count == cold->n_rates);
    for (uint32_t i = 0; i < hot->rate_count; i++) {
        require(hot->rates[i].count == cold->rates[i]->count);
        require(hot->rates[i].window_ms == cold->rates[i]->window_ms);
        require(hot->rates[i].algorithm == (uint32_t)cold->rates[i]->algorithm);
        require(hot->rates[i].burst == cold->rates[i]->burst);
        require(hot->rates[i].period == (uint32_t)cold->rates[i]->period);
    }
    require(hot->precision == cold->precision);
    require(hot->on_error == (uint32_t)cold->on_error);
    same_bytes(hot->tier, cold->tier);
}

static void same_check(const struct pawl_wire_request *hot, const Pawl__V1__Check *cold)
{
    require(hot->op == (uint32_t)cold->op);
    require(hot->mode == (uint32_t)cold->mode);
    require(hot->hold == (cold->hold != 0));
    require(hot->item_count == cold->n_items);
    for (uint32_t i = 0; i < hot->item_count; i++) {
        same_item(&hot->items[i], cold->items[i]);
    }
    same_optional_token(hot->has_token, &hot->token, cold->token);
}

static void same_request(const struct pawl_wire_request *hot, const Pawl__V1__Request *cold)
{
    require(hot->id == cold->id);
    require(hot->deadline_ms == cold->deadline_ms);
    same_bytes(hot->namespace_, cold->namespace_);
    require(hot->now_ms == cold->now_ms);
    require(hot->has_hello == (cold->hello != NULL));
    require(hot->forwarded == cold->forwarded);
    require(hot->view == cold->view);
    if (cold->body_case == PAWL__V1__REQUEST__BODY_CHECK) {
        require(hot->body == PAWL_BODY_CHECK);
        same_check(hot, cold->check);
    } else if (cold->body_case == PAWL__V1__REQUEST__BODY_TOKEN_CHECK) {
        require(hot->body == PAWL_BODY_TOKEN_CHECK);
        same_optional_token(hot->has_token, &hot->token, cold->token_check->token);
    } else {
        require(hot->body == PAWL_BODY_COLD);
    }
}

/* Equal as structs, views by what they see: compared through what is written from them. */
static void request_again(struct pawl_wire_request *request)
{
    static struct pawl_wire_request back;
    size_t bound;
    size_t size;
    uint8_t *out;
    uint8_t *second;
    Pawl__V1__Request *cold;
    struct pawl_bytes message;

    request->has_hello = false; /* may be anything, and protobuf-c would pack it its own way */
    request->hello = pawl_bytes_of(NULL, 0);
    bound = pawl_wire_request_bound(request);
    out = malloc(bound);
    second = malloc(bound);
    require(out != NULL && second != NULL);
    size = pawl_wire_write_request(out, request);
    require(size <= bound);
    require(pawl_frame_next(out, size, PAWL_REQUEST_BYTES_MAX, &message, NULL) == PAWL_OK);
    require(message.size == size - PAWL_FRAME_HEADER_BYTES);
    require(pawl_wire_read_request(&back, message) == PAWL_OK);
    require(pawl_wire_write_request(second, &back) == size);
    require(memcmp(out, second, size) == 0);
    pawl_cold_arena_reset(&arena);
    if (odd_message(&pawl__v1__request__descriptor, message) == 0) {
        require(pawl_cold_read_request(&arena, message, &cold) == PAWL_OK);
        same_request(request, cold);
        require(pawl_cold_write_request(second, bound, cold) == size);
        require(memcmp(out, second, size) == 0);
    }
    free(out);
    free(second);
}

static void fuzz_request(struct pawl_bytes message)
{
    static struct pawl_wire_request hot;
    Pawl__V1__Request *cold;
    unsigned odd = odd_message(&pawl__v1__request__descriptor, message);
    enum pawl_status hot_status = pawl_wire_read_request(&hot, message);
    enum pawl_status cold_status = pawl_cold_read_request(&arena, message, &cold);

    if (hot_status == PAWL_OK && cold_status == PAWL_OK) {
        if ((odd & ODD_MESSAGE_TWICE) == 0) {
            same_request(&hot, cold);
        }
    } else if (cold_status == PAWL_OK) {
        require((odd & STRICTER) != 0 || cold->body_case == PAWL__V1__REQUEST__BODY__NOT_SET);
        if ((odd & (ODD_NUMBER | ODD_VARINT | ODD_LENGTH)) == 0) {
            require(hot.id == cold->id);
        }
    } else if (hot_status == PAWL_OK) {
        require((odd & ODD_ENUM) != 0 || unread_part_is_bad(true, message));
    }
    if (hot_status == PAWL_OK && hot.body != PAWL_BODY_COLD) {
        request_again(&hot);
    }
}

/* ---- replies ------------------------------------------------------------------------------- */

static void same_result(const struct pawl_wire_result *hot, const Pawl__V1__RateResult *cold)
{
    require(hot->item == cold->item);
    require(hot->rate_index == cold->rate_index);
    require(hot->window_ms == cold->window_ms);
    require(hot->limit_count == cold->limit_count);
    require(hot->count == cold->count);
    require(hot->remaining == cold->remaining);
    require(hot->oldest_age_ms == cold->oldest_age_ms);
    require(hot->reset_after_ms == cold->reset_after_ms);
    require(hot->retry_after_ms == cold->retry_after_ms);
    require(hot->never == cold->never);
    require(hot->allowed == cold->allowed);
    require(hot->shadow == cold->shadow);
    require(hot->charge == cold->charge);
    require(hot->overflow == cold->overflow);
    require(hot->contended == cold->contended);
    require(hot->on_error == (uint32_t)cold->on_error);
    require(hot->bypass == cold->bypass);
    require(hot->full == cold->full);
}

static void same_verdict(const struct pawl_wire_token_verdict *hot,
                         const Pawl__V1__TokenVerdict *cold)
{
    require(hot->status == (uint32_t)cold->status);
    require(hot->reason == (uint32_t)cold->reason);
    require(hot->scope == (uint32_t)cold->scope);
    require(hot->fresh == cold->fresh);
    require(hot->staleness_ms == cold->staleness_ms);
    same_bytes(hot->detail, cold->detail);
    require((hot->claims.data != NULL) == (cold->claims != NULL));
}

static void same_check_reply(const struct pawl_wire_reply *hot, const Pawl__V1__CheckReply *cold)
{
    require(hot->verdict == (uint32_t)cold->verdict);
    require(hot->result_count == cold->n_results);
    for (uint32_t i = 0; i < hot->result_count; i++) {
        same_result(&hot->results[i], cold->results[i]);
    }
    require(hot->has_token == (cold->token != NULL));
    if (hot->has_token) {
        same_verdict(&hot->token, cold->token);
    }
}

static void same_reply(const struct pawl_wire_reply *hot, const Pawl__V1__Reply *cold)
{
    require(hot->id == cold->id);
    require(hot->status == (uint32_t)cold->status);
    same_bytes(hot->error, cold->error);
    require((hot->hello.data != NULL) == (cold->hello != NULL));
    require(hot->view_number == cold->view_number);
    require(hot->effect_unknown == (cold->effect_unknown != 0));
    if (cold->goaway != NULL) {
        require(hot->body == PAWL_BODY_COLD);
    } else if (cold->body_case == PAWL__V1__REPLY__BODY_CHECK) {
        require(hot->body == PAWL_BODY_CHECK);
        same_check_reply(hot, cold->check);
    } else if (cold->body_case == PAWL__V1__REPLY__BODY_TOKEN_CHECK) {
        require(hot->body == PAWL_BODY_TOKEN_CHECK);
        same_verdict(&hot->token, cold->token_check);
    } else {
        require(hot->body == (cold->body_case == 0 ? PAWL_BODY_NONE : PAWL_BODY_COLD));
    }
}

static void reply_again(struct pawl_wire_reply *reply)
{
    static struct pawl_wire_result results[PAWL_RESULTS_MAX];
    struct pawl_wire_reply back = { .results = results };
    size_t bound;
    size_t size;
    uint8_t *out;
    uint8_t *second;
    Pawl__V1__Reply *cold;
    struct pawl_bytes message;

    reply->hello = pawl_bytes_of(NULL, 0);
    reply->token.claims = pawl_bytes_of(NULL, 0);
    bound = pawl_wire_reply_bound(reply);
    out = malloc(bound);
    second = malloc(bound);
    require(out != NULL && second != NULL);
    size = pawl_wire_write_reply(out, reply);
    require(size <= bound);
    if (size > PAWL_FRAME_HEADER_BYTES) {
        require(pawl_frame_next(out, size, PAWL_REPLY_BYTES_MAX, &message, NULL) == PAWL_OK);
        require(pawl_wire_read_reply(&back, message) == PAWL_OK);
        same_view(back.error, reply->error);
        require(back.result_count == (reply->body == PAWL_BODY_CHECK ? reply->result_count : 0));
        require(pawl_wire_write_reply(second, &back) == size);
        require(memcmp(out, second, size) == 0);
        pawl_cold_arena_reset(&arena);
        if (odd_message(&pawl__v1__reply__descriptor, message) == 0) {
            require(pawl_cold_read_reply(&arena, message, &cold) == PAWL_OK);
            require(pawl_cold_write_reply(second, bound, cold) == size);
            require(memcmp(out, second, size) == 0);
        }
    }
    free(out);
    free(second);
}

static void fuzz_reply(struct pawl_bytes message)
{
    static struct pawl_wire_result results[PAWL_RESULTS_MAX];
    struct pawl_wire_reply hot = { .results = results };
    Pawl__V1__Reply *cold;
    unsigned odd = odd_message(&pawl__v1__reply__descriptor, message);
    enum pawl_status hot_status = pawl_wire_read_reply(&hot, message);
    enum pawl_status cold_status = pawl_cold_read_reply(&arena, message, &cold);

    if (hot_status == PAWL_OK && cold_status == PAWL_OK) {
        if ((odd & (ODD_MESSAGE_TWICE | ODD_ENUM)) == 0) {
            same_reply(&hot, cold);
        }
    } else if (cold_status == PAWL_OK) {
        require((odd & STRICTER) != 0);
    } else if (hot_status == PAWL_OK) {
        /* bad claims may also be in a body that a later one took the place of */
        require(claims_are_bad(&hot) || unread_part_is_bad(false, message) ||
                (odd & ODD_MESSAGE_TWICE) != 0);
    }
    if (hot_status == PAWL_OK && hot.body != PAWL_BODY_COLD) {
        reply_again(&hot);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *memory;
    uint8_t *copy;

    if (size < 2 || size > PAWL_REQUEST_BYTES_MAX) {
        return 0;
    }
    if (memory == NULL) {
        memory = malloc(ARENA_BYTES);
        require(memory != NULL);
    }
    pawl_cold_arena_init(&arena, memory, ARENA_BYTES);
    copy = malloc(size - 1); /* of exactly its size: ASan sees one byte too far on either side */
    require(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    if ((data[0] & 1) == 0) {
        fuzz_request(pawl_bytes_of(copy, size - 1));
    } else {
        fuzz_reply(pawl_bytes_of(copy, size - 1));
    }
    free(copy);
    return 0;
}
