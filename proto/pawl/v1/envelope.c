#include "pawl/v1/envelope.h"

#include "pawl/v1/frame.h"
#include "pawl/v1/hot_wire.h"

#define NUMBERS(first, last) ((WIRE_BIT(last) - WIRE_BIT(first)) | WIRE_BIT(last))
#define BODIES               (NUMBERS(16, WIRE_BODY_LAST) | NUMBERS(50, 52))
#define REQUEST_KNOWN        (NUMBERS(1, 7) | BODIES)
#define REPLY_KNOWN          (NUMBERS(1, 6) | BODIES)
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
#define REPLY_VARINTS   (WIRE_BIT(1) | WIRE_BIT(2) | WIRE_BIT(6))

/** What a walk over the outer fields meets next. */
struct field {
    uint32_t tag;
    struct wire_in value; /* from behind the tag to the field's end */
};

/* The next field of @in, which is not at its end; false when malformed. */
static bool next_field(struct wire_in *in, uint64_t known, uint64_t varints, struct field *field)
{
    field->tag = wire_tag(in);
    if (field->tag >> 3 == 0 ||
        (NAMES(known, field->tag >> 3) && !is_well_typed(field->tag, varints))) {
        return false;
    }
    field->value.at = in->at;
    in->at = pawl_wire_skip(*in, field->tag, 0);
    field->value.end = in->at;
    return in->at != NULL;
}

/* Copy all fields of @message but those of @replaced to @out; NULL when malformed or over @end. */
static uint8_t *copy_others(uint8_t *out, const uint8_t *end, struct pawl_bytes message,
                            uint64_t replaced, uint64_t known, uint64_t varints)
{
    struct wire_in in = wire_in_of(message);
    struct field field;

    while (in.at < in.end) {
        const uint8_t *from = in.at;

        if (!next_field(&in, known, varints, &field)) {
            return NULL;
        }
        if (NAMES(replaced, field.tag >> 3)) {
            continue;
        }
        size_t size = (size_t)(in.at - from);

        if (size > (size_t)(end - out)) {
            return NULL;
        }
        memcpy(out, from, size);
        out += size;
    }
    return out;
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

static enum pawl_status read_reply_field(struct pawl_envelope_reply *envelope, struct field *field)
{
    switch (field->tag) {
    case VARINT(1):
        return wire_u64(&field->value, &envelope->id);
    case VARINT(2):
        return wire_u32(&field->value, &envelope->status);
    case LEN(3):
        return wire_bytes(&field->value, PAWL_FIELD_BYTES_MAX, &envelope->error);
    case LEN(5):
        envelope->goaway = true;
        return PAWL_OK;
    case VARINT(6):
        return wire_u64(&field->value, &envelope->view_number);
    default:
        if (NAMES(BODIES, field->tag >> 3)) {
            envelope->body = field->tag >> 3;
        }
        return PAWL_OK;
    }
}

enum pawl_status pawl_envelope_read_reply(struct pawl_envelope_reply *envelope,
                                          struct pawl_bytes message)
{
    struct wire_in in = wire_in_of(message);

    memset(envelope, 0, sizeof(*envelope));
    while (in.at < in.end) {
        struct field field;
        enum pawl_status status =
            next_field(&in, REPLY_KNOWN, REPLY_VARINTS, &field) ? PAWL_OK : PAWL_EINVAL;

        if (status == PAWL_OK) {
            status = read_reply_field(envelope, &field);
        }
        if (status != PAWL_OK) {
            return status;
        }
    }
    return PAWL_OK;
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
