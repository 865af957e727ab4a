/*
 * Reading and writing of stored forms: little endian, length-prefixed, bounds checked.
 *
 * Both ends remember that something did not fit and do nothing from then on, so that a caller
 * asks once at the end. Pure.
 */
#ifndef PAWL_CORE_OCTETS_H
#define PAWL_CORE_OCTETS_H

#include "core/types.h"

#include <string.h>

/** The low @bytes bytes of @value to @out, and back: for forms of a fixed size. */
static inline void pawl_put_le(uint8_t *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline uint64_t pawl_get_le(const uint8_t *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

struct pawl_octet_writer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool overflown;
};

struct pawl_octet_reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool bad; /* something was missing, or longer than its cap */
};

/* NOLINTNEXTLINE(readability-non-const-parameter): kept, to be written through */
static inline struct pawl_octet_writer pawl_octet_writer_init(uint8_t *buffer, size_t capacity)
{
    struct pawl_octet_writer writer = { buffer, 0, capacity, false };

    return writer;
}

static inline void pawl_octet_put(struct pawl_octet_writer *writer, const void *data, size_t size)
{
    if (writer->overflown || writer->capacity - writer->size < size) {
        writer->overflown = true;
        return;
    }
    if (size > 0) {
        memcpy(writer->data + writer->size, data, size);
    }
    writer->size += size;
}

/** The low @bytes bytes of @value. */
static inline void pawl_octet_put_uint(struct pawl_octet_writer *writer, uint64_t value,
                                       unsigned bytes)
{
    uint8_t out[8];

    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
    pawl_octet_put(writer, out, bytes);
}

/** Size as 2 bytes, then the bytes. */
static inline void pawl_octet_put_part(struct pawl_octet_writer *writer, struct pawl_bytes part)
{
    if (part.size > UINT16_MAX) {
        writer->overflown = true;
        return;
    }
    pawl_octet_put_uint(writer, part.size, 2);
    pawl_octet_put(writer, part.data, part.size);
}

/** @size bytes lent from the input; NULL when they are not there. */
static inline const uint8_t *pawl_octet_get(struct pawl_octet_reader *reader, size_t size)
{
    if (reader->bad || reader->size - reader->at < size) {
        reader->bad = true;
        return NULL;
    }
    reader->at += size;
    return reader->data + reader->at - size;
}

static inline uint64_t pawl_octet_get_uint(struct pawl_octet_reader *reader, unsigned bytes)
{
    const uint8_t *in = pawl_octet_get(reader, bytes);
    uint64_t value = 0;

    for (unsigned i = 0; in != NULL && i < bytes; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

/** A part of at most @max bytes, lent from the input. */
static inline struct pawl_bytes pawl_octet_get_part(struct pawl_octet_reader *reader, size_t max)
{
    size_t size = (size_t)pawl_octet_get_uint(reader, 2);
    struct pawl_bytes part = { NULL, 0 };

    if (size > max) {
        reader->bad = true;
    }
    part.data = pawl_octet_get(reader, size);
    part.size = part.data == NULL ? 0 : size;
    return part;
}

/** Whether all was there, within the caps, and nothing is left. */
static inline bool pawl_octet_all_read(const struct pawl_octet_reader *reader)
{
    return !reader->bad && reader->at == reader->size;
}

#endif
