/*
 * Building messages byte by byte, for tests of the readers: also wrong ones, which no packer makes.
 * A build that would not fit aborts the test.
 */
#ifndef PAWL_TESTS_WIRE_BUILD_H
#define PAWL_TESTS_WIRE_BUILD_H

#include "core/types.h"
#include "pawl/v1/caps.h"

#include <stdlib.h>
#include <string.h>

#define BUILD_BYTES (PAWL_REPLY_BYTES_MAX + 16384) /* the largest field there is, and more */

enum build_type {
    BUILD_VARINT = 0,
    BUILD_I64 = 1,
    BUILD_LEN = 2,
    BUILD_GROUP = 3,
    BUILD_GROUP_END = 4,
    BUILD_I32 = 5,
};

struct build {
    size_t size;
    uint8_t data[BUILD_BYTES];
};

static inline void build_raw(struct build *build, const void *data, size_t size)
{
    if (size > sizeof(build->data) - build->size) {
        abort();
    }
    if (size > 0) {
        memcpy(build->data + build->size, data, size);
        build->size += size;
    }
}

static inline void build_byte(struct build *build, unsigned byte)
{
    uint8_t value = (uint8_t)byte;

    build_raw(build, &value, 1);
}

static inline void build_varint(struct build *build, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        build_byte(build, (unsigned)(value & 0x7f) | 0x80);
    }
    build_byte(build, (unsigned)value);
}

/** @value in exactly @size bytes: as long as it need not be. */
static inline void build_varint_padded(struct build *build, uint64_t value, unsigned size)
{
    for (unsigned i = 1; i < size; i++) {
        build_byte(build, (unsigned)(value & 0x7f) | 0x80);
        value >>= 7;
    }
    build_byte(build, (unsigned)value);
}

static inline void build_tag(struct build *build, uint32_t number, enum build_type type)
{
    build_varint(build, (uint64_t)number << 3 | (unsigned)type);
}

static inline void build_u64(struct build *build, uint32_t number, uint64_t value)
{
    build_tag(build, number, BUILD_VARINT);
    build_varint(build, value);
}

static inline void build_bytes(struct build *build, uint32_t number, const void *data, size_t size)
{
    build_tag(build, number, BUILD_LEN);
    build_varint(build, size);
    build_raw(build, data, size);
}

static inline void build_text(struct build *build, uint32_t number, const char *text)
{
    build_bytes(build, number, text, strlen(text));
}

/** @size bytes of filler. */
static inline void build_filler(struct build *build, uint32_t number, size_t size)
{
    build_tag(build, number, BUILD_LEN);
    build_varint(build, size);
    for (size_t i = 0; i < size; i++) {
        build_byte(build, 'x');
    }
}

static inline void build_message(struct build *build, uint32_t number, const struct build *message)
{
    build_bytes(build, number, message->data, message->size);
}

/** A field with a value that is good protobuf for its wire type, empty or zero. */
static inline void build_zero(struct build *build, uint32_t number, enum build_type type)
{
    static const uint8_t zeros[8];

    build_tag(build, number, type);
    switch (type) {
    case BUILD_VARINT:
    case BUILD_LEN:
        build_raw(build, zeros, 1);
        break;
    case BUILD_I64:
        build_raw(build, zeros, 8);
        break;
    case BUILD_I32:
        build_raw(build, zeros, 4);
        break;
    case BUILD_GROUP:
    case BUILD_GROUP_END:
        break;
    }
}

/**
 * Wrap @inner in the messages of @path (numbers from the outside in, @depth of them), in place.
 */
static inline void build_wrap(struct build *inner, const uint32_t *path, size_t depth)
{
    static struct build outer;

    for (size_t i = depth; i > 0; i--) {
        outer.size = 0;
        build_message(&outer, path[i - 1], inner);
        inner->size = 0;
        build_raw(inner, outer.data, outer.size);
    }
}

static inline struct pawl_bytes build_view(const struct build *build)
{
    return pawl_bytes_of(build->data, build->size);
}

/** A copy of the first @size bytes in a block of exactly that size, so that ASan sees an overread.
 */
static inline uint8_t *build_copy(const struct build *build, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL) {
        abort();
    }
    memcpy(copy, build->data, size);
    return copy;
}

#endif
