/*
 * What in a message may make two right readers disagree: a slow scan by protobuf-c's descriptors,
 * written apart from both readers. fuzz_hot.c allows a difference only where one of these is seen.
 */
#ifndef PAWL_TESTS_WIRE_ODDITIES_H
#define PAWL_TESTS_WIRE_ODDITIES_H

#include "core/types.h"

#include <protobuf-c/protobuf-c.h>

enum {
    ODD_NUMBER = 1,         /* field number 0, or a tag over 32 bits: protobuf-c skips the field */
    ODD_VARINT = 2,         /* over 64 bits: protobuf-c drops the upper ones */
    ODD_LENGTH = 4,         /* over 32 bits: likewise */
    ODD_BOOL = 8,           /* of another wire type: protobuf-c reads it all the same */
    ODD_MESSAGE_TWICE = 16, /* protobuf-c replaces a oneof's, and forgets numbers in merging */
    ODD_BYTES_TWICE = 32,   /* caps: each occurrence in the hot reader, the last one in the cold */
    ODD_ENUM = 64, /* a value not in the .proto: left to the dispatcher by the hot reader */
};

struct odd_scan {
    const uint8_t *at;
    const uint8_t *end;
    unsigned found;
};

/* A varint of at most @bytes_max bytes; false at the end of what can be read. */
static inline bool odd_varint(struct odd_scan *scan, unsigned bytes_max, unsigned last_max,
                              unsigned odd, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < bytes_max && scan->at < scan->end; i++) {
        uint8_t byte = *scan->at++;

        *value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            scan->found |= i == bytes_max - 1 && byte > last_max ? odd : 0;
            return true;
        }
    }
    return false;
}

static inline bool odd_seen(uint8_t *seen, unsigned index)
{
    bool before = (seen[index / 8] >> (index % 8) & 1) != 0;

    seen[index / 8] |= (uint8_t)(1U << (index % 8));
    return before;
}

/* A field known to its message: index among the message's fields, its wire type, its varint. */
static inline unsigned odd_field(const ProtobufCMessageDescriptor *type, unsigned index,
                                 unsigned wire_type, uint64_t value, uint8_t *seen, bool *body_seen)
{
    const ProtobufCFieldDescriptor *field = &type->fields[index];
    bool twice = odd_seen(seen, index) && field->label != PROTOBUF_C_LABEL_REPEATED;
    unsigned found = 0;

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        twice = *body_seen;
        *body_seen = true;
    }
    if (field->type == PROTOBUF_C_TYPE_BOOL && wire_type != 0) {
        found |= ODD_BOOL;
    }
    if (field->type == PROTOBUF_C_TYPE_ENUM && wire_type == 0 &&
        protobuf_c_enum_descriptor_get_value(field->descriptor, (int)(uint32_t)value) == NULL) {
        found |= ODD_ENUM;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && twice) {
        found |= ODD_MESSAGE_TWICE;
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES && twice) {
        found |= ODD_BYTES_TWICE;
    }
    return found;
}

static inline unsigned odd_index(const ProtobufCMessageDescriptor *type, uint64_t number)
{
    unsigned index = 0;

    while (index < type->n_fields && type->fields[index].id != number) {
        index++;
    }
    return index;
}

/* The value behind a tag. False when it cannot be read; @value is a length or a varint. */
static inline bool odd_value(struct odd_scan *scan, unsigned wire_type, uint64_t *value)
{
    *value = 0;
    switch (wire_type) {
    case 0:
        return odd_varint(scan, 10, 1, ODD_VARINT, value);
    case 1:
        *value = 8;
        break;
    case 2:
        if (!odd_varint(scan, 5, 15, ODD_LENGTH, value)) {
            return false;
        }
        *value = (uint32_t)*value; /* as protobuf-c takes it */
        break;
    case 5:
        *value = 4;
        break;
    default:
        return false;
    }
    return *value <= (uint64_t)(scan->end - scan->at);
}

/** The oddities of the message of @type in @bytes, sub-messages included. */
static inline unsigned odd_message(const ProtobufCMessageDescriptor *type, struct pawl_bytes bytes)
{
    struct odd_scan scan = { bytes.data, bytes.data + bytes.size, 0 };
    uint8_t seen[8] = { 0 };
    bool body_seen = false;

    while (scan.at < scan.end) {
        uint64_t tag;
        uint64_t value;
        unsigned index;
        unsigned wire_type;

        if (!odd_varint(&scan, 5, 15, ODD_NUMBER, &tag)) {
            break;
        }
        wire_type = (unsigned)tag & 7;
        scan.found |= tag >> 3 == 0 ? ODD_NUMBER : 0;
        if (!odd_value(&scan, wire_type, &value)) {
            break;
        }
        index = odd_index(type, tag >> 3);
        if (index < type->n_fields) {
            scan.found |= odd_field(type, index, wire_type, value, seen, &body_seen);
            if (wire_type == 2 && type->fields[index].type == PROTOBUF_C_TYPE_MESSAGE) {
                scan.found |=
                    odd_message(type->fields[index].descriptor, pawl_bytes_of(scan.at, value));
            }
        }
        scan.at += wire_type == 0 ? 0 : value;
    }
    return scan.found;
}

#endif
