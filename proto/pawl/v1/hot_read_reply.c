#include "pawl/v1/hot.h"

#include "pawl/v1/hot_wire.h"
#include "pawl/v1/pawl.pb-c.h"

/* The client's half of hot_read.c, of the same shape. */

_Static_assert((int)PAWL_BODY_CHECK == (int)PAWL__V1__REPLY__BODY_CHECK, "see pawl.proto");
_Static_assert((int)PAWL_BODY_TOKEN_CHECK == (int)PAWL__V1__REPLY__BODY_TOKEN_CHECK, "");

#define KNOWN_RESULT  (WIRE_BIT(19) - WIRE_BIT(1))
#define KNOWN_VERDICT (WIRE_BIT(8) - WIRE_BIT(1))
#define KNOWN_REPLY \
    ((WIRE_BIT(8) - WIRE_BIT(1)) | (WIRE_BIT(WIRE_BODY_LAST + 1) - WIRE_BIT(16)) | WIRE_PEERS)

static enum pawl_status read_result(struct pawl_wire_result *result, struct wire_in in)
{
    uint32_t on_error = 0;

    memset(result, 0, sizeof(*result));
    while (in.at < in.end) {
        uint32_t tag = wire_tag(&in);
        enum pawl_status status;

        switch (tag) {
        case VARINT(1):
            status = wire_u32(&in, &result->item);
            break;
        case VARINT(2):
            status = wire_u32(&in, &result->rate_index);
            break;
        case VARINT(3):
            status = wire_u32(&in, &result->window_ms);
            break;
        case VARINT(4):
            status = wire_u64(&in, &result->limit_count);
            break;
        case VARINT(5):
            status = wire_u64(&in, &result->count);
            break;
        case VARINT(6):
            status = wire_u64(&in, &result->remaining);
            break;
        case VARINT(7):
            status = wire_u64(&in, &result->oldest_age_ms);
            break;
        case VARINT(8):
            status = wire_u64(&in, &result->reset_after_ms);
            break;
        case VARINT(9):
            status = wire_u64(&in, &result->retry_after_ms);
            break;
        case VARINT(10):
            status = wire_bool(&in, &result->never);
            break;
        case VARINT(11):
            status = wire_bool(&in, &result->allowed);
            break;
        case VARINT(12):
            status = wire_bool(&in, &result->shadow);
            break;
        case WIRE_TAG(13, WIRE_I64):
            status = wire_fixed64(&in, &result->charge);
            break;
        case VARINT(14):
            status = wire_bool(&in, &result->overflow);
            break;
        case VARINT(15):
            status = wire_bool(&in, &result->contended);
            break;
        case VARINT(16):
            status = wire_u32(&in, &on_error);
            break;
        case VARINT(17):
            status = wire_bool(&in, &result->bypass);
            break;
        case VARINT(18):
            status = wire_bool(&in, &result->full);
            break;
        default:
            status = wire_skip(&in, tag, KNOWN_RESULT);
            break;
        }
        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            return status;
        }
    }
    result->on_error = on_error <= UINT8_MAX ? (uint8_t)on_error : PAWL_ON_ERROR_NONE;
    return PAWL_OK;
}

/* Kept as bytes, so two of them cannot be merged: refused. */
WIRE_INLINE enum pawl_status packed_once(struct wire_in *in, struct pawl_bytes *packed)
{
    return packed->data != NULL ? PAWL_EINVAL : wire_bytes(in, SIZE_MAX, packed);
}

static enum pawl_status read_verdict(struct pawl_wire_token_verdict *verdict, struct wire_in in)
{
    while (in.at < in.end) {
        uint32_t tag = wire_tag(&in);
        enum pawl_status status;

        switch (tag) {
        case VARINT(1):
            status = wire_u32(&in, &verdict->status);
            break;
        case VARINT(2):
            status = wire_u32(&in, &verdict->reason);
            break;
        case VARINT(3):
            status = wire_u32(&in, &verdict->scope);
            break;
        case VARINT(4):
            status = wire_bool(&in, &verdict->fresh);
            break;
        case VARINT(5):
            status = wire_u64(&in, &verdict->staleness_ms);
            break;
        case LEN(6):
            status = wire_bytes(&in, PAWL_FIELD_BYTES_MAX, &verdict->detail);
            break;
        case LEN(7):
            status = packed_once(&in, &verdict->claims);
            break;
        default:
            status = wire_skip(&in, tag, KNOWN_VERDICT);
            break;
        }
        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            return status;
        }
    }
    return PAWL_OK;
}

static enum pawl_status merge_verdict(struct pawl_wire_reply *reply, struct wire_in message)
{
    if (!reply->has_token) {
        memset(&reply->token, 0, sizeof(reply->token));
        reply->has_token = true;
    }
    return read_verdict(&reply->token, message);
}

static enum pawl_status add_result(struct pawl_wire_reply *reply, struct wire_in message)
{
    if (PAWL_UNLIKELY(reply->result_count == PAWL_RESULTS_MAX)) {
        return PAWL_ETOOBIG;
    }
    return read_result(&reply->results[reply->result_count++], message);
}

static enum pawl_status read_check_reply(struct pawl_wire_reply *reply, struct wire_in in)
{
    enum pawl_status status = PAWL_OK;

    while (in.at < in.end && status == PAWL_OK) {
        uint32_t tag = wire_tag(&in);
        struct wire_in message;

        if (tag == VARINT(1)) {
            status = wire_u32(&in, &reply->verdict);
        } else if (tag == LEN(2) || tag == LEN(3)) {
            status = wire_message(&in, &message);
            if (status == PAWL_OK) {
                status = tag == LEN(2) ? add_result(reply, message) : merge_verdict(reply, message);
            }
        } else {
            status = wire_skip(&in, tag, WIRE_BIT(1) | WIRE_BIT(2) | WIRE_BIT(3));
        }
    }
    return status;
}

static void begin_reply_body(struct pawl_wire_reply *reply, enum pawl_wire_body body)
{
    if (reply->body != body) {
        reply->body = body;
        reply->verdict = 0;
        reply->has_token = false;
        reply->result_count = 0;
    }
}

WIRE_INLINE enum pawl_status reply_body(struct pawl_wire_reply *reply, struct wire_in *in,
                                        enum pawl_wire_body body)
{
    struct wire_in message;
    enum pawl_status status = wire_message(in, &message);

    if (status != PAWL_OK) {
        return status;
    }
    begin_reply_body(reply, body);
    return body == PAWL_BODY_CHECK ? read_check_reply(reply, message)
                                   : merge_verdict(reply, message);
}

/* What protobuf-c has to read: bodies that are not hot, and the server's goaway. Returns where the
 * next field begins, or NULL. */
static const uint8_t *reply_other(struct pawl_wire_reply *reply, struct wire_in in, uint32_t tag,
                                  bool *cold)
{
    struct pawl_bytes bytes;
    bool is_goaway = tag == LEN(5);

    if (!is_goaway && !wire_is_cold_body(tag)) {
        return pawl_wire_skip(in, tag, KNOWN_REPLY);
    }
    *cold = *cold || is_goaway;
    if (!is_goaway) {
        begin_reply_body(reply, PAWL_BODY_COLD);
    }
    return wire_bytes(&in, SIZE_MAX, &bytes) == PAWL_OK ? in.at : NULL;
}

static enum pawl_status read_reply(struct pawl_wire_reply *reply, struct wire_in in)
{
    bool cold = false;

    while (in.at < in.end) {
        uint32_t tag = wire_tag(&in);
        enum pawl_status status;

        switch (tag) {
        case VARINT(1):
            status = wire_u64(&in, &reply->id);
            break;
        case VARINT(2):
            status = wire_u32(&in, &reply->status);
            break;
        case LEN(3):
            status = wire_bytes(&in, PAWL_FIELD_BYTES_MAX, &reply->error);
            break;
        case LEN(4):
            status = packed_once(&in, &reply->hello);
            break;
        case VARINT(6):
            status = wire_u64(&in, &reply->view_number);
            break;
        case VARINT(7):
            status = wire_bool(&in, &reply->effect_unknown);
            break;
        case LEN(PAWL_BODY_CHECK):
            status = reply_body(reply, &in, PAWL_BODY_CHECK);
            break;
        case LEN(PAWL_BODY_TOKEN_CHECK):
            status = reply_body(reply, &in, PAWL_BODY_TOKEN_CHECK);
            break;
        default:
            in.at = reply_other(reply, in, tag, &cold);
            status = in.at != NULL ? PAWL_OK : PAWL_EINVAL;
            break;
        }
        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            return status;
        }
    }
    if (cold) {
        reply->body = PAWL_BODY_COLD;
    }
    return PAWL_OK;
}

enum pawl_status pawl_wire_read_reply(struct pawl_wire_reply *reply, struct pawl_bytes message)
{
    struct pawl_wire_result *results = reply->results;

    memset(reply, 0, sizeof(*reply));
    reply->results = results;
    if (PAWL_UNLIKELY(message.size == 0 || message.size > PAWL_REPLY_BYTES_MAX)) {
        return message.size == 0 ? PAWL_EINVAL : PAWL_ETOOBIG;
    }
    return read_reply(reply, wire_in_of(message));
}
