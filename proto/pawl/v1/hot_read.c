#include "pawl/v1/hot.h"

#include "pawl/v1/hot_wire.h"
#include "pawl/v1/pawl.pb-c.h"

/*
 * One function for each message, all of one shape: a loop over the fields with a switch on the
 * whole tag, so that number and wire type are compared at once and a known number with another
 * wire type falls through to pawl_wire_skip(), which refuses it.
 *
 * Speed comes from three things: views instead of copies, one-byte fast paths, and clearing only
 * what the message makes us use.
 */

_Static_assert((int)PAWL_BODY_CHECK == (int)PAWL__V1__REQUEST__BODY_CHECK, "see pawl.proto");
_Static_assert((int)PAWL_BODY_TOKEN_CHECK == (int)PAWL__V1__REQUEST__BODY_TOKEN_CHECK, "");
_Static_assert(WIRE_BODY_LAST == (int)PAWL__V1__REQUEST__BODY_TOP, "the last one known");

#define BODY_LAST                                                                  \
    127 /* of the numbers of an envelope that are bodies, now or later (COMPAT.md) \
         */

#define KNOWN_RATE  (WIRE_BIT(6) - WIRE_BIT(1))
#define KNOWN_ITEM  (WIRE_BIT(8) - WIRE_BIT(1))
#define KNOWN_TOKEN (WIRE_BIT(14) - WIRE_BIT(1))
#define KNOWN_CHECK (WIRE_BIT(5) - WIRE_BIT(1) + WIRE_BIT(16))
#define KNOWN_REQUEST \
    ((WIRE_BIT(8) - WIRE_BIT(1)) | (WIRE_BIT(WIRE_BODY_LAST + 1) - WIRE_BIT(16)) | WIRE_PEERS)

/* ---- the long forms of hot_wire.h ------------------------------------------------------- */

struct wire_number pawl_wire_varint_long(struct wire_in in)
{
    struct wire_number bad = { NULL, 0 };
    uint64_t sum = 0;

    for (unsigned shift = 0; shift < 64 && in.at < in.end; shift += 7) {
        uint64_t byte = *in.at++;

        if (shift == 63 && byte > 1) {
            return bad; /* over 64 bits, or an eleventh byte follows */
        }
        sum |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            return (struct wire_number){ in.at, sum };
        }
    }
    return bad;
}

struct wire_number pawl_wire_varint32_long(struct wire_in in)
{
    struct wire_number bad = { NULL, 0 };
    uint32_t sum = 0;

    for (unsigned shift = 0; shift < 32 && in.at < in.end; shift += 7) {
        uint32_t byte = *in.at++;

        if (shift == 28 && byte > 0x0f) {
            return bad;
        }
        sum |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            return (struct wire_number){ in.at, sum };
        }
    }
    return bad;
}

static const uint8_t *skip_fixed(struct wire_in in, size_t size)
{
    return size > wire_left(&in) ? NULL : in.at + size;
}

const uint8_t *pawl_wire_skip(struct wire_in in, uint32_t tag, uint64_t known)
{
    uint32_t number = tag >> 3;
    struct pawl_bytes bytes;

    if (number == 0 || (number < 64 && (known & WIRE_BIT(number)) != 0)) {
        return NULL;
    }
    switch (tag & 7) {
    case WIRE_VARINT:
        return pawl_wire_varint_long(in).at;
    case WIRE_I64:
        return skip_fixed(in, 8);
    case WIRE_LEN:
        return wire_bytes(&in, SIZE_MAX, &bytes) == PAWL_OK ? in.at : NULL;
    case WIRE_I32:
        return skip_fixed(in, 4);
    default:
        return NULL; /* groups, and types that do not exist */
    }
}

/* ---- requests --------------------------------------------------------------------------- */

static enum pawl_status read_rate(struct pawl_wire_rate *rate, struct wire_in in)
{
    enum pawl_status status = PAWL_OK;

    memset(rate, 0, sizeof(*rate));
    while (in.at < in.end && status == PAWL_OK) {
        uint32_t tag = wire_tag_short(&in);

        switch (tag) {
        case VARINT(1):
            status = wire_u64(&in, &rate->count);
            break;
        case VARINT(2):
            status = wire_u32(&in, &rate->window_ms);
            break;
        case VARINT(3):
            status = wire_u32(&in, &rate->algorithm);
            break;
        case VARINT(4):
            status = wire_u64(&in, &rate->burst);
            break;
        case VARINT(5):
            status = wire_u32(&in, &rate->period);
            break;
        default:
            status = wire_skip(&in, tag, KNOWN_RATE);
            break;
        }
    }
    return status;
}

WIRE_INLINE enum pawl_status add_key(struct pawl_wire_item *item, struct wire_in *in)
{
    if (PAWL_UNLIKELY(item->key_count == PAWL_KEY_PARTS_MAX)) {
        return PAWL_ETOOBIG;
    }
    return wire_bytes(in, PAWL_KEY_BYTES_MAX, &item->key[item->key_count++]);
}

WIRE_INLINE enum pawl_status add_rate(struct pawl_wire_item *item, struct wire_in *in)
{
    struct wire_in message;
    enum pawl_status status;

    if (PAWL_UNLIKELY(item->rate_count == PAWL_RATES_MAX)) {
        return PAWL_ETOOBIG;
    }
    status = wire_message(in, &message);
    return status == PAWL_OK ? read_rate(&item->rates[item->rate_count++], message) : status;
}

static inline void clear_item(struct pawl_wire_item *item)
{
    item->limit = pawl_bytes_of(NULL, 0);
    item->tier = pawl_bytes_of(NULL, 0);
    item->key_count = 0;
    item->rate_count = 0;
    item->cost = 0;
    item->precision = 0;
    item->on_error = 0;
}

/* "api" and "premium" name the limit "api.premium": the cap is on the whole of it. */
static inline bool name_fits(const struct pawl_wire_item *item)
{
    return item->tier.size == 0 || item->limit.size == 0 ||
           item->limit.size + 1 + item->tier.size <= PAWL_LIMIT_NAME_MAX;
}

static enum pawl_status read_item(struct pawl_wire_item *item, struct wire_in in)
{
    clear_item(item);
    while (in.at < in.end) {
        uint32_t tag = wire_tag_short(&in);
        enum pawl_status status;

        switch (tag) {
        case LEN(1):
            status = wire_bytes(&in, PAWL_LIMIT_NAME_MAX, &item->limit);
            break;
        case LEN(2):
            status = add_key(item, &in);
            break;
        case VARINT(3):
            status = wire_u64(&in, &item->cost);
            break;
        case LEN(4):
            status = add_rate(item, &in);
            break;
        case VARINT(5):
            status = wire_u32(&in, &item->precision);
            break;
        case VARINT(6):
            status = wire_u32(&in, &item->on_error);
            break;
        case LEN(7):
            status = wire_bytes(&in, PAWL_LIMIT_NAME_MAX, &item->tier);
            break;
        default:
            status = wire_skip(&in, tag, KNOWN_ITEM);
            break;
        }
        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            return status;
        }
    }
    return PAWL_LIKELY(name_fits(item)) ? PAWL_OK : PAWL_ETOOBIG;
}

/* Merges into @token: the caller clears it before the first of several. */
static enum pawl_status read_token(struct pawl_wire_token *token, struct wire_in in)
{
    while (in.at < in.end) {
        uint32_t tag = wire_tag(&in);
        enum pawl_status status;

        switch (tag) {
        case LEN(1):
            status = wire_bytes(&in, PAWL_CLAIM_MAX, &token->issuer);
            break;
        case LEN(2):
            status = wire_bytes(&in, PAWL_CLAIM_MAX, &token->jti);
            break;
        case LEN(3):
            status = wire_bytes(&in, PAWL_CLAIM_MAX, &token->subject);
            break;
        case LEN(4):
            status = wire_bytes(&in, PAWL_CLAIM_MAX, &token->client);
            break;
        case LEN(5):
            status = wire_bytes(&in, PAWL_CLAIM_MAX, &token->key);
            break;
        case LEN(6):
            status = wire_bytes(&in, PAWL_CLAIM_MAX, &token->sid);
            break;
        case VARINT(7):
            status = wire_u64(&in, &token->iat);
            break;
        case VARINT(8):
            status = wire_u64(&in, &token->exp);
            break;
        case LEN(9):
            status = wire_bytes(&in, PAWL_FIELD_BYTES_MAX, &token->opaque_sha256);
            break;
        case LEN(10):
            status = wire_bytes(&in, PAWL_FIELD_BYTES_MAX, &token->signed_sha256);
            break;
        case LEN(11):
            status = wire_bytes(&in, PAWL_TOKEN_MAX, &token->raw);
            break;
        case LEN(12):
            status = wire_bytes(&in, PAWL_FIELD_BYTES_MAX, &token->audience);
            break;
        case LEN(13):
            status = wire_bytes(&in, PAWL_FIELD_BYTES_MAX, &token->type);
            break;
        default:
            status = wire_skip(&in, tag, KNOWN_TOKEN);
            break;
        }
        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            return status;
        }
    }
    return PAWL_OK;
}

WIRE_INLINE enum pawl_status add_token(struct pawl_wire_request *request, struct wire_in *in)
{
    struct wire_in message;
    enum pawl_status status = wire_message(in, &message);

    if (PAWL_UNLIKELY(status != PAWL_OK)) {
        return status;
    }
    if (!request->has_token) {
        memset(&request->token, 0, sizeof(request->token));
        request->has_token = true;
    }
    return read_token(&request->token, message);
}

WIRE_INLINE enum pawl_status add_item(struct pawl_wire_request *request, struct wire_in *in)
{
    struct wire_in message;
    enum pawl_status status;

    if (PAWL_UNLIKELY(request->item_count == PAWL_ITEMS_MAX)) {
        return PAWL_ETOOBIG;
    }
    status = wire_message(in, &message);
    return status == PAWL_OK ? read_item(&request->items[request->item_count++], message) : status;
}

static bool rates_fit(const struct pawl_wire_request *request)
{
    uint32_t rates = 0;

    if (PAWL_LIKELY(request->item_count <= PAWL_RESULTS_MAX / PAWL_RATES_MAX)) {
        return true; /* whatever each has */
    }
    for (uint32_t i = 0; i < request->item_count; i++) {
        rates += request->items[i].rate_count;
    }
    return rates <= PAWL_RESULTS_MAX;
}

static inline enum pawl_status read_check(struct pawl_wire_request *request, struct wire_in in)
{
    while (in.at < in.end) {
        uint32_t tag = wire_tag_short(&in);
        enum pawl_status status;

        switch (tag) {
        case LEN(1):
            status = add_item(request, &in);
            break;
        case VARINT(2):
            status = wire_u32(&in, &request->op);
            break;
        case VARINT(3):
            status = wire_u32(&in, &request->mode);
            break;
        case LEN(4):
            status = add_token(request, &in);
            break;
        case VARINT(16):
            status = wire_bool(&in, &request->hold);
            break;
        default:
            status = wire_skip(&in, tag, KNOWN_CHECK);
            break;
        }
        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            return status;
        }
    }
    return PAWL_LIKELY(rates_fit(request)) ? PAWL_OK : PAWL_ETOOBIG;
}

static enum pawl_status read_token_check(struct pawl_wire_request *request, struct wire_in in)
{
    enum pawl_status status = PAWL_OK;

    while (in.at < in.end && status == PAWL_OK) {
        uint32_t tag = wire_tag(&in);

        status = tag == LEN(1) ? add_token(request, &in) : wire_skip(&in, tag, WIRE_BIT(1));
    }
    return status;
}

/*
 * The oneof: the last body wins, and what an earlier one of another kind left behind is forgotten;
 * one of the same kind is merged into.
 */
static inline void begin_request_body(struct pawl_wire_request *request, enum pawl_wire_body body)
{
    if (request->body != body) {
        request->body = body;
        request->op = 0;
        request->mode = 0;
        request->hold = false;
        request->item_count = 0;
        request->has_token = false;
    }
}

WIRE_INLINE enum pawl_status request_body(struct pawl_wire_request *request, struct wire_in *in,
                                          enum pawl_wire_body body)
{
    struct wire_in message;
    enum pawl_status status = wire_message(in, &message);

    if (PAWL_UNLIKELY(status != PAWL_OK)) {
        return status;
    }
    begin_request_body(request, body);
    return body == PAWL_BODY_CHECK ? read_check(request, message)
                                   : read_token_check(request, message);
}

/* Credentials ride in a hello: two of them in one request are refused, not mixed. */
WIRE_INLINE enum pawl_status request_hello(struct pawl_wire_request *request, struct wire_in *in)
{
    if (request->has_hello) {
        return PAWL_EINVAL;
    }
    request->has_hello = true;
    return wire_bytes(in, SIZE_MAX, &request->hello);
}

/* A body of a later version: the dispatcher says that it does not know it. */
static bool is_unknown_body(uint32_t tag)
{
    return tag > LEN(WIRE_BODY_LAST) && tag <= LEN(BODY_LAST) && (tag & 7) == WIRE_LEN;
}

/* Returns where the next field begins, or NULL. */
static const uint8_t *request_other(struct pawl_wire_request *request, struct wire_in in,
                                    uint32_t tag, bool *unknown_body)
{
    struct pawl_bytes bytes;

    if (wire_is_cold_body(tag)) {
        begin_request_body(request, PAWL_BODY_COLD);
        return wire_bytes(&in, SIZE_MAX, &bytes) == PAWL_OK ? in.at : NULL;
    }
    *unknown_body = *unknown_body || is_unknown_body(tag);
    return pawl_wire_skip(in, tag, KNOWN_REQUEST);
}

static inline void clear_request(struct pawl_wire_request *request)
{
    request->id = 0;
    request->deadline_ms = 0;
    request->now_ms = 0;
    request->view = 0;
    request->forwarded = false;
    request->has_hello = false;
    request->has_token = false;
    request->namespace_ = pawl_bytes_of(NULL, 0);
    request->hello = pawl_bytes_of(NULL, 0);
    request->body = PAWL_BODY_NONE;
    request->op = 0;
    request->mode = 0;
    request->hold = false;
    request->item_count = 0;
}

static inline enum pawl_status read_request(struct pawl_wire_request *request, struct wire_in in)
{
    bool unknown_body = false;

    while (in.at < in.end) {
        uint32_t tag = wire_tag(&in);
        enum pawl_status status;

        switch (tag) {
        case VARINT(1):
            status = wire_u64(&in, &request->id);
            break;
        case VARINT(2):
            status = wire_u32(&in, &request->deadline_ms);
            break;
        case LEN(3):
            status = wire_bytes(&in, PAWL_NAMESPACE_MAX, &request->namespace_);
            break;
        case VARINT(4):
            status = wire_u64(&in, &request->now_ms);
            break;
        case LEN(5):
            status = request_hello(request, &in);
            break;
        case VARINT(6):
            status = wire_bool(&in, &request->forwarded);
            break;
        case VARINT(7):
            status = wire_u64(&in, &request->view);
            break;
        case LEN(PAWL_BODY_CHECK):
            status = request_body(request, &in, PAWL_BODY_CHECK);
            break;
        case LEN(PAWL_BODY_TOKEN_CHECK):
            status = request_body(request, &in, PAWL_BODY_TOKEN_CHECK);
            break;
        default:
            in.at = request_other(request, in, tag, &unknown_body);
            status = in.at != NULL ? PAWL_OK : PAWL_EINVAL;
            break;
        }
        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            return status;
        }
    }
    if (PAWL_UNLIKELY(request->body == PAWL_BODY_NONE)) {
        request->body = PAWL_BODY_COLD;
        return unknown_body ? PAWL_OK : PAWL_EINVAL;
    }
    return PAWL_OK;
}

/* The id of a message that was refused, wherever in it the id stands; 0 if it cannot be read. */
static uint64_t find_id(struct wire_in in)
{
    uint64_t id = 0;
    enum pawl_status status = PAWL_OK;

    while (in.at < in.end && status == PAWL_OK) {
        uint32_t tag = wire_tag(&in);

        status = tag == VARINT(1) ? wire_u64(&in, &id) : wire_skip(&in, tag, 0);
    }
    return id;
}

enum pawl_status pawl_wire_read_request(struct pawl_wire_request *request,
                                        struct pawl_bytes message)
{
    struct wire_in in;
    enum pawl_status status;

    clear_request(request);
    if (PAWL_UNLIKELY(message.size == 0 || message.size > PAWL_REQUEST_BYTES_MAX)) {
        return message.size == 0 ? PAWL_EINVAL : PAWL_ETOOBIG;
    }
    in = wire_in_of(message);
    status = read_request(request, in);
    if (PAWL_UNLIKELY(status != PAWL_OK)) {
        request->id = find_id(in);
    }
    return status;
}
