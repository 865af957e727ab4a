#include "pawl/v1/envelope.h"

#include "pawl/v1/frame.h"
#include "pawl/v1/hot_wire.h"

#define NUMBERS(first, last) ((WIRE_BIT(last) - WIRE_BIT(first)) | WIRE_BIT(last))
#define BODIES               (NUMBERS(16, WIRE_BODY_LAST) | NUMBERS(50, 52))
#define REQUEST_KNOWN        (NUMBERS(1, 7) | BODIES)
#define REPLY_KNOWN          (NUMBERS(1, 7) | BODIES)
#define REQUEST_REPLACED     (NUMBERS(1, 3) | NUMBERS(5, 7)) /* now_ms stays: test clocks agree */
#define REPLY_REPLACED       (WIRE_BIT(1) | NUMBERS(4, 6))
#define NAMES(set, number)   ((number) < 64 && ((set)&WIRE_BIT(number)) != 0)
#define WIRE_TYPE(tag)       ((tag)&7)

/* Whether the known field @tag has the wire type of its number in the .proto. */
static bool is_well_typed(uint32_t tag, uint64_t varints)
{
    return WIRE_TYPE(tag) == (NAMES(varints, tag >> 3) ? WIRE_VARINT : WIRE_LEN);
}

#define REQUEST_VARINTS (WIRE_BIT(1) | WIRE_BIT(2) | WIRE_BIT(4) | WIRE_BIT(6) | WIRE_BIT(7))
#define REPLY_VARINTS   (WIRE_BIT(1) | WIRE_BIT(2) | WIRE_BIT(6) | WIRE_BIT(7))

/* Where the field after the value of @tag begins; NULL: malformed. The usual ones without a call.
 */
WIRE_INLINE const uint8_t *skip_value(struct wire_in in, uint32_t tag)
{
    struct pawl_bytes bytes;
    uint64_t number;

    if (WIRE_TYPE(tag) == WIRE_LEN) {
        return wire_bytes(&in, SIZE_MAX, &bytes) == PAWL_OK ? in.at : NULL;
    }
    if (WIRE_TYPE(tag) == WIRE_VARINT) {
        return wire_varint(&in, &number) ? in.at : NULL;
    }
    return pawl_wire_skip(in, tag, 0);
}

/* Behind the tag of the next field of @in, which is not at its end; 0 when malformed. */
WIRE_INLINE uint32_t next_tag(struct wire_in *in, uint64_t known, uint64_t varints)
{
    uint32_t tag = wire_tag(in);

    return NAMES(known, tag >> 3) && !is_well_typed(tag, varints) ? 0 : tag;
}

/* The bytes from @from to @to behind @out; NULL when they pass @end. */
WIRE_INLINE uint8_t *copy_run(uint8_t *out, const uint8_t *end, const uint8_t *from,
                              const uint8_t *to)
{
    size_t size = (size_t)(to - from);

    if (size > (size_t)(end - out)) {
        return NULL;
    }
    if (size > 0) {
        memcpy(out, from, size);
    }
    return out + size;
}

/* Copy all fields of @message but those of @replaced to @out; NULL when malformed or over @end.
 * Neighbours that stay go in one piece. */
WIRE_INLINE uint8_t *copy_others(uint8_t *out, const uint8_t *end, struct pawl_bytes message,
                                 uint64_t replaced, uint64_t known, uint64_t varints)
{
    struct wire_in in = wire_in_of(message);
    const uint8_t *run = in.at;

    while (in.at < in.end) {
        const uint8_t *from = in.at;
        uint32_t tag = next_tag(&in, known, varints);

        in.at = tag >> 3 != 0 ? skip_value(in, tag) : NULL;
        if (in.at == NULL) {
            return NULL;
        }
        if (NAMES(replaced, tag >> 3)) {
            out = copy_run(out, end, run, from);
            run = in.at;
            if (out == NULL) {
                return NULL;
            }
        }
    }
    return copy_run(out, end, run, in.at);
}

/* Frame header in front of what ends at @at, which is NULL when there is nothing. */
static size_t seal_frame(uint8_t *out, const uint8_t *at, size_t size_max)
{
    size_t size = at == NULL ? 0 : (size_t)(at - out) - PAWL_FRAME_HEADER_BYTES;

    if (size == 0 || size > size_max) {
        return 0;
    }
    pawl_frame_header(out, size);
    return size + PAWL_FRAME_HEADER_BYTES;
}

size_t pawl_envelope_forward(uint8_t *out, size_t capacity, struct pawl_bytes message,
                             const struct pawl_envelope *with)
{
    uint8_t *at = out + PAWL_FRAME_HEADER_BYTES;

    if (capacity < PAWL_ENVELOPE_FORWARD_BYTES || with->namespace_.size > PAWL_NAMESPACE_MAX) {
        return 0;
    }
    at = wire_put_u64(at, 1, with->id);
    at = wire_put_u64(at, 2, with->deadline_ms);
    at = wire_put_bytes(at, 3, with->namespace_);
    at = wire_put_bool(at, 6, true);
    at = wire_put_u64(at, 7, with->view);
    at = copy_others(at, out + capacity, message, REQUEST_REPLACED, REQUEST_KNOWN, REQUEST_VARINTS);
    return seal_frame(out, at, PAWL_REQUEST_BYTES_MAX);
}

/* What is no field of the envelope itself: a body, or of a later version. */
WIRE_INLINE enum pawl_status skip_other(struct pawl_envelope_reply *envelope, struct wire_in *in,
                                        uint32_t tag)
{
    if (tag >> 3 == 0 || (NAMES(REPLY_KNOWN, tag >> 3) && !is_well_typed(tag, REPLY_VARINTS))) {
        return PAWL_EINVAL;
    }
    if (NAMES(BODIES, tag >> 3)) {
        envelope->body = tag >> 3;
    }
    in->at = skip_value(*in, tag);
    return in->at != NULL ? PAWL_OK : PAWL_EINVAL;
}

enum pawl_status pawl_envelope_read_reply(struct pawl_envelope_reply *envelope,
                                          struct pawl_bytes message)
{
    struct wire_in in = wire_in_of(message);
    enum pawl_status status = PAWL_OK;

    memset(envelope, 0, sizeof(*envelope));
    while (status == PAWL_OK && in.at < in.end) {
        uint32_t tag = wire_tag(&in);

        switch (tag) {
        case VARINT(1):
            status = wire_u64(&in, &envelope->id);
            break;
        case VARINT(2):
            status = wire_u32(&in, &envelope->status);
            break;
        case LEN(3):
            status = wire_bytes(&in, PAWL_FIELD_BYTES_MAX, &envelope->error);
            break;
        case VARINT(6):
            status = wire_u64(&in, &envelope->view_number);
            break;
        default:
            envelope->goaway = envelope->goaway || tag == LEN(5);
            status = skip_other(envelope, &in, tag);
        }
    }
    return status;
}

size_t pawl_envelope_reply(uint8_t *out, size_t capacity, struct pawl_bytes message, uint64_t id,
                           struct pawl_bytes hello)
{
    uint8_t *at = out + PAWL_FRAME_HEADER_BYTES;

    if (capacity < PAWL_ENVELOPE_REPLY_BYTES || capacity - PAWL_ENVELOPE_REPLY_BYTES < hello.size) {
        return 0;
    }
    at = wire_put_u64(at, 1, id);
    at = wire_put_bytes(at, 4, hello);
    at = copy_others(at, out + capacity, message, REPLY_REPLACED, REPLY_KNOWN, REPLY_VARINTS);
    return seal_frame(out, at, PAWL_REPLY_BYTES_MAX);
}
