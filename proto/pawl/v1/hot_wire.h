/*
 * Private to hot_read.c, hot_read_reply.c, hot_write.c and envelope.c: tags, varints and
 * length-prefixed bytes of protobuf (protobuf.dev, "Encoding"), inlined with a fast path for what
 * is one byte long.
 *
 * Readers move a cursor over lent bytes and never pass its end. Writers write without looking at
 * room: their callers took a bound first.
 */
#ifndef PAWL_V1_HOT_WIRE_H
#define PAWL_V1_HOT_WIRE_H

#include "core/status.h"

#include <string.h>

enum {
    WIRE_VARINT = 0,
    WIRE_I64 = 1,
    WIRE_LEN = 2,
    WIRE_I32 = 5
};

#define WIRE_TAG(number, type) ((uint32_t)(number) << 3 | (uint32_t)(type))
#define VARINT(number)         WIRE_TAG(number, WIRE_VARINT)
#define LEN(number)            WIRE_TAG(number, WIRE_LEN)
#define WIRE_BIT(number)       (UINT64_C(1) << (number)) /* of field numbers below 64 */
#define WIRE_VARINT_MAX        10                        /* bytes of a 64-bit varint */

struct wire_in {
    const uint8_t *at;
    const uint8_t *end;
};

/*
 * A cursor stays in registers as long as nobody is handed its address: what takes one is inlined
 * into its caller, and what is not gets a copy and returns where it came to.
 */
#define WIRE_INLINE static inline __attribute__((always_inline))

/** Where a number ends, and the number; two registers. @at NULL: malformed. */
struct wire_number {
    const uint8_t *at;
    uint64_t value;
};

/** A varint of any size, or the end of the input. Malformed: cut short or over 64 bits. */
struct wire_number pawl_wire_varint_long(struct wire_in in);

/** A tag or a length: at most 5 bytes and 32 bits, as in protobuf's own readers. */
struct wire_number pawl_wire_varint32_long(struct wire_in in);

/**
 * Skip the value of a field that @tag's message does not know. @known has a bit for each number
 * that it does know: such a field got here by a wrong wire type. Groups are refused.
 *
 * Returns where the next field begins, or NULL.
 */
const uint8_t *pawl_wire_skip(struct wire_in in, uint32_t tag, uint64_t known);

static inline struct wire_in wire_in_of(struct pawl_bytes bytes)
{
    struct wire_in in = { bytes.data, bytes.data + bytes.size };

    return in;
}

WIRE_INLINE size_t wire_left(const struct wire_in *in)
{
    return (size_t)(in->end - in->at);
}

#define WIRE_BODY_LAST  34 /* of the bodies in the .proto, of requests and replies alike */
#define WIRE_PEER_FIRST 50 /* of those between members */
#define WIRE_PEER_LAST  52
#define WIRE_PEERS      (WIRE_BIT(WIRE_PEER_LAST + 1) - WIRE_BIT(WIRE_PEER_FIRST))

/** Is this the tag of a body, of a request or a reply, that protobuf-c reads? */
static inline bool wire_is_cold_body(uint32_t tag)
{
    return (tag & 7) == WIRE_LEN && ((tag >= LEN(18) && tag <= LEN(WIRE_BODY_LAST)) ||
                                     (tag >= LEN(WIRE_PEER_FIRST) && tag <= LEN(WIRE_PEER_LAST)));
}

WIRE_INLINE bool wire_varint(struct wire_in *in, uint64_t *value)
{
    if (PAWL_LIKELY(in->at < in->end && *in->at < 0x80)) {
        *value = *in->at++;
        return true;
    }
    /* Windows, ids and ages: two bytes (whatever the third is, it is another's) or three. */
    if (PAWL_LIKELY(wire_left(in) >= 3)) {
        uint32_t low = (in->at[0] & 0x7fU) | (uint32_t)in->at[1] << 7;

        if (low < 0x80 << 7) {
            *value = low;
            in->at += 2;
            return true;
        }
        if (PAWL_LIKELY(in->at[2] < 0x80)) {
            *value = (low & 0x3fff) | (uint32_t)in->at[2] << 14;
            in->at += 3;
            return true;
        }
    }
    struct wire_number number = pawl_wire_varint_long(*in);

    if (PAWL_UNLIKELY(number.at == NULL)) {
        return false;
    }
    in->at = number.at;
    *value = number.value;
    return true;
}

/** The next tag; the cursor is not at its end. Returns 0 when malformed: no field has that. */
WIRE_INLINE uint32_t wire_tag(struct wire_in *in)
{
    uint32_t first = in->at[0];

    if (PAWL_LIKELY(first < 0x80)) {
        in->at++;
        return first;
    }
    if (PAWL_LIKELY(wire_left(in) > 1 && in->at[1] < 0x80)) {
        uint32_t tag = (first & 0x7f) | (uint32_t)in->at[1] << 7;

        in->at += 2;
        return tag;
    }
    struct wire_number number = pawl_wire_varint32_long(*in);

    in->at = number.at != NULL ? number.at : in->at;
    return number.at != NULL ? (uint32_t)number.value : 0;
}

/** The same where all fields known have tags of one byte: the others are for the long way. */
WIRE_INLINE uint32_t wire_tag_short(struct wire_in *in)
{
    if (PAWL_LIKELY(in->at[0] < 0x80)) {
        return *in->at++;
    }
    struct wire_number number = pawl_wire_varint32_long(*in);

    in->at = number.at != NULL ? number.at : in->at;
    return number.at != NULL ? (uint32_t)number.value : 0;
}

/** pawl_wire_skip() with the cursor moved. */
WIRE_INLINE enum pawl_status wire_skip(struct wire_in *in, uint32_t tag, uint64_t known)
{
    const uint8_t *at = pawl_wire_skip(*in, tag, known);

    if (PAWL_UNLIKELY(at == NULL)) {
        return PAWL_EINVAL;
    }
    in->at = at;
    return PAWL_OK;
}

WIRE_INLINE enum pawl_status wire_u64(struct wire_in *in, uint64_t *value)
{
    return PAWL_LIKELY(wire_varint(in, value)) ? PAWL_OK : PAWL_EINVAL;
}

/** The low 32 bits, as protobuf reads a uint32 or an enum that was sent wider. */
WIRE_INLINE enum pawl_status wire_u32(struct wire_in *in, uint32_t *value)
{
    uint64_t wide = 0; /* for compilers that do not follow at -Og */

    if (PAWL_UNLIKELY(!wire_varint(in, &wide))) {
        return PAWL_EINVAL;
    }
    *value = (uint32_t)wide;
    return PAWL_OK;
}

WIRE_INLINE enum pawl_status wire_bool(struct wire_in *in, bool *value)
{
    uint64_t wide = 0; /* for compilers that do not follow at -Og */

    if (PAWL_UNLIKELY(!wire_varint(in, &wide))) {
        return PAWL_EINVAL;
    }
    *value = wide != 0;
    return PAWL_OK;
}

WIRE_INLINE enum pawl_status wire_fixed64(struct wire_in *in, uint64_t *value)
{
    uint64_t sum = 0;

    if (PAWL_UNLIKELY(wire_left(in) < 8)) {
        return PAWL_EINVAL;
    }
    for (unsigned i = 0; i < 8; i++) {
        sum |= (uint64_t)in->at[i] << (8 * i);
    }
    in->at += 8;
    *value = sum;
    return PAWL_OK;
}

/** Length-prefixed bytes, @max at most. The cap comes first: what is too big is not looked at. */
WIRE_INLINE enum pawl_status wire_bytes(struct wire_in *in, size_t max, struct pawl_bytes *bytes)
{
    size_t size;

    /* The analyzer takes a view that starts at the cursor for one that may be NULL. */
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    if (PAWL_LIKELY(in->at < in->end && *in->at < 0x80)) {
        size = *in->at++;
    } else {
        struct wire_number number = pawl_wire_varint32_long(*in);

        if (PAWL_UNLIKELY(number.at == NULL)) {
            return PAWL_EINVAL;
        }
        in->at = number.at;
        size = (size_t)number.value;
    }
    if (PAWL_UNLIKELY(size > max)) {
        return PAWL_ETOOBIG;
    }
    if (PAWL_UNLIKELY(size > wire_left(in))) {
        return PAWL_EINVAL;
    }
    bytes->data = in->at;
    bytes->size = size;
    in->at += size;
    return PAWL_OK;
}

/** A sub-message as a cursor of its own; its size has no cap but that of what holds it. */
WIRE_INLINE enum pawl_status wire_message(struct wire_in *in, struct wire_in *message)
{
    struct pawl_bytes bytes;
    enum pawl_status status = wire_bytes(in, SIZE_MAX, &bytes);

    if (PAWL_LIKELY(status == PAWL_OK)) {
        *message = wire_in_of(bytes);
    }
    return status;
}

/* ---- writing: @out has room ------------------------------------------------------------ */

static inline uint8_t *wire_put_varint(uint8_t *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

/** Little-endian bytes in one store. */
static inline void wire_store16(uint8_t *out, uint16_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap16(value);
#endif
    memcpy(out, &value, sizeof(value));
}

static inline void wire_store32(uint8_t *out, uint32_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    memcpy(out, &value, sizeof(value));
}

#define WIRE_SHORT (UINT32_C(1) << 21) /* numbers below it take three bytes at most */

/** A tag of one byte and a varint below WIRE_SHORT: one or two stores, and no loop. */
static inline uint8_t *wire_put_short(uint8_t *out, uint32_t tag, uint32_t value)
{
    uint32_t low = tag | (value & 0x7f) << 8;

    if (value < 0x80) {
        wire_store16(out, (uint16_t)low);
        return out + 2;
    }
    if (value < 0x80 << 7) {
        wire_store16(out, (uint16_t)(low | 0x8000));
        out[2] = (uint8_t)(value >> 7);
        return out + 3;
    }
    wire_store32(out, low | 0x808000 | (value >> 7 & 0x7f) << 16 | value >> 14 << 24);
    return out + 4;
}

/** A varint field, left out when 0. */
static inline uint8_t *wire_put_u64(uint8_t *out, unsigned number, uint64_t value)
{
    if (value != 0) {
        if (number < 16 && PAWL_LIKELY(value < WIRE_SHORT)) {
            return wire_put_short(out, WIRE_TAG(number, WIRE_VARINT), (uint32_t)value);
        }
        out = wire_put_varint(out, WIRE_TAG(number, WIRE_VARINT));
        out = wire_put_varint(out, value);
    }
    return out;
}

/** A fixed64 field, left out when 0. */
static inline uint8_t *wire_put_fixed64(uint8_t *out, unsigned number, uint64_t value)
{
    if (value != 0) {
        out = wire_put_varint(out, WIRE_TAG(number, WIRE_I64));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        value = __builtin_bswap64(value);
#endif
        memcpy(out, &value, sizeof(value));
        out += sizeof(value);
    }
    return out;
}

static inline uint8_t *wire_put_bool(uint8_t *out, unsigned number, bool value)
{
    if (value) {
        out = wire_put_varint(out, WIRE_TAG(number, WIRE_VARINT));
        *out++ = 1;
    }
    return out;
}

/** Length-prefixed bytes, also when empty: parts of a key, packed sub-messages. */
static inline uint8_t *wire_put_part(uint8_t *out, unsigned number, struct pawl_bytes bytes)
{
    out = wire_put_varint(out, WIRE_TAG(number, WIRE_LEN));
    out = wire_put_varint(out, bytes.size);
    if (bytes.size > 0) {
        memcpy(out, bytes.data, bytes.size);
    }
    return out + bytes.size;
}

/** A bytes field, left out when empty. */
static inline uint8_t *wire_put_bytes(uint8_t *out, unsigned number, struct pawl_bytes bytes)
{
    return bytes.size == 0 ? out : wire_put_part(out, number, bytes);
}

/** Begin a sub-message: leaves one byte for its length, which wire_put_end() fills. */
static inline uint8_t *wire_put_begin(uint8_t *out, unsigned number)
{
    return wire_put_varint(out, WIRE_TAG(number, WIRE_LEN)) + 1;
}

/** Moves what began at @body up by the bytes its length takes beyond one. */
uint8_t *pawl_wire_put_end_long(uint8_t *body, uint8_t *out);

/** End the sub-message whose first byte is at @body. */
static inline uint8_t *wire_put_end(uint8_t *body, uint8_t *out)
{
    size_t size = (size_t)(out - body);

    if (PAWL_LIKELY(size < 0x80)) {
        body[-1] = (uint8_t)size;
        return out;
    }
    return pawl_wire_put_end_long(body, out);
}

#endif
