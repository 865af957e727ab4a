/*
 * Writing the usual answer to a check, inlined: a result goes from where it was worked out to the
 * bytes without being put together in memory first. hot_write.c writes the same for all replies.
 */
#ifndef PAWL_V1_HOT_PUT_H
#define PAWL_V1_HOT_PUT_H

#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"
#include "pawl/v1/hot_wire.h"

enum {
    WIRE_TAG_BYTES = 2,       /* of numbers up to 2047 */
    WIRE_LENGTH_BYTES = 5,    /* of up to 4 GiB */
    WIRE_VARINT_FIELD = 12,   /* tag and 64 bits */
    WIRE_SUBMESSAGE = 7,      /* tag and length */
    WIRE_RESULT_CONTENT = 113 /* 3 * 6 + 6 * 11 + 5 * 2 + 9 + 4 + 2 * 3: see wire_put_result() */
};

/* So a result's length always is one byte, and wire_put_end() never moves one. */
_Static_assert(WIRE_RESULT_CONTENT < 0x80, "the length of a result takes one byte");

/** Is it allowed, and nothing else? */
static inline bool wire_is_plain(const struct pawl_wire_result *result)
{
    unsigned others = (unsigned)result->never | (unsigned)result->shadow |
                      (unsigned)result->overflow | (unsigned)result->contended |
                      (unsigned)result->bypass | (unsigned)result->full | result->on_error;

    return result->allowed && others == 0;
}

static inline uint8_t *wire_put_numbers(uint8_t *out, const struct pawl_wire_result *result)
{
    out = wire_put_u64(out, 1, result->item);
    out = wire_put_u64(out, 2, result->rate_index);
    out = wire_put_u64(out, 3, result->window_ms);
    out = wire_put_u64(out, 4, result->limit_count);
    out = wire_put_u64(out, 5, result->count);
    out = wire_put_u64(out, 6, result->remaining);
    out = wire_put_u64(out, 7, result->oldest_age_ms);
    out = wire_put_u64(out, 8, result->reset_after_ms);
    return wire_put_u64(out, 9, result->retry_after_ms);
}

static inline uint8_t *wire_put_result(uint8_t *out, const struct pawl_wire_result *result)
{
    out = wire_put_numbers(out, result);
    if (PAWL_LIKELY(wire_is_plain(result))) {
        out = wire_put_bool(out, 11, true);
        return wire_put_fixed64(out, 13, result->charge);
    }
    out = wire_put_bool(out, 10, result->never);
    out = wire_put_bool(out, 11, result->allowed);
    out = wire_put_bool(out, 12, result->shadow);
    out = wire_put_fixed64(out, 13, result->charge);
    out = wire_put_bool(out, 14, result->overflow);
    out = wire_put_bool(out, 15, result->contended);
    out = wire_put_u64(out, 16, result->on_error);
    out = wire_put_bool(out, 17, result->bypass);
    return wire_put_bool(out, 18, result->full);
}

/** Bytes that an answer with @count results takes at most, frame header included. */
#define PAWL_WIRE_CHECK_BYTES(count) (64 + (size_t)(count)*128)

_Static_assert(PAWL_WIRE_CHECK_BYTES(0) >=
                       PAWL_FRAME_HEADER_BYTES + 3 * WIRE_VARINT_FIELD + WIRE_SUBMESSAGE &&
                   PAWL_WIRE_CHECK_BYTES(1) - PAWL_WIRE_CHECK_BYTES(0) >=
                       WIRE_SUBMESSAGE + WIRE_RESULT_CONTENT,
               "the bound of an answer to a check");

/** An answer under way: begin, add each result, end. */
struct pawl_wire_answer {
    uint8_t *frame;
    uint8_t *body;
    uint8_t *at;
};

/**
 * What pawl_wire_write_reply() writes for a check without hello and token: @frame has room for
 * PAWL_WIRE_CHECK_BYTES() of the results to come.
 */
static inline struct pawl_wire_answer pawl_wire_answer_begin(uint8_t *frame, uint64_t id,
                                                             uint32_t status, uint32_t verdict)
{
    struct pawl_wire_answer answer = { .frame = frame };

    answer.at = wire_put_u64(frame + PAWL_FRAME_HEADER_BYTES, 1, id);
    answer.at = wire_put_u64(answer.at, 2, status);
    answer.body = wire_put_begin(answer.at, PAWL_BODY_CHECK);
    answer.at = wire_put_u64(answer.body, 1, verdict);
    return answer;
}

static inline void pawl_wire_answer_add(struct pawl_wire_answer *answer,
                                        const struct pawl_wire_result *result)
{
    uint8_t *body = wire_put_begin(answer->at, 2);

    answer->at = wire_put_end(body, wire_put_result(body, result));
}

/** Returns the bytes written. */
static inline size_t pawl_wire_answer_end(const struct pawl_wire_answer *answer)
{
    uint8_t *end = wire_put_end(answer->body, answer->at);

    pawl_frame_header(answer->frame, (size_t)(end - answer->frame) - PAWL_FRAME_HEADER_BYTES);
    return (size_t)(end - answer->frame);
}

#endif
