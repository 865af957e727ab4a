/*
 * The envelope of a request or a reply, read and rewritten with the body left unread: what a member
 * does that passes one on. Only the fields of the envelope are looked at; every other field, also
 * of later versions, is copied as it lies. Pure functions, any thread.
 *
 * Refused: what is not protobuf at the outer level, a known number with another wire type, a field
 * over its cap. What is wrong inside a body is for whoever reads it.
 */
#ifndef PAWL_V1_ENVELOPE_H
#define PAWL_V1_ENVELOPE_H

#include "core/status.h"
#include "pawl/v1/caps.h"

/** What pawl_envelope_forward() adds to what it copies, frame header included, at most. */
#define PAWL_ENVELOPE_FORWARD_BYTES (PAWL_FRAME_HEADER_BYTES + PAWL_NAMESPACE_MAX + 40)

/** A request as it is passed on: each of these replaces what the message says. */
struct pawl_envelope {
    uint64_t id;
    uint64_t view;
    uint32_t deadline_ms;         /* what is left; 0 = none */
    struct pawl_bytes namespace_; /* written out: the receiver knows nothing of our hello */
};

/**
 * Write at @out (@capacity bytes) a frame with the request @message as a forwarded one: id,
 * deadline, namespace and view are @with's, forwarded is set, a hello is left out.
 *
 * Returns the bytes written; 0 when they do not fit, the message would be above
 * PAWL_REQUEST_BYTES_MAX, or @message is none.
 */
size_t pawl_envelope_forward(uint8_t *out, size_t capacity, struct pawl_bytes message,
                             const struct pawl_envelope *with);

/** What a reply says outside of its body. */
struct pawl_envelope_reply {
    uint64_t id;
    uint32_t status;
    uint64_t view_number;
    bool goaway;   /* it has one: server-sent */
    uint32_t body; /* number of its body, the last one holds; 0: none */
    struct pawl_bytes error;
};

/** Read @message's envelope: PAWL_OK, PAWL_EINVAL, PAWL_ETOOBIG. @envelope lends from it. */
PAWL_MUST_USE enum pawl_status pawl_envelope_read_reply(struct pawl_envelope_reply *envelope,
                                                        struct pawl_bytes message);

/** What pawl_envelope_reply() adds to @message and @hello, frame header included, at most. */
#define PAWL_ENVELOPE_REPLY_BYTES (PAWL_FRAME_HEADER_BYTES + 24)

/**
 * Write at @out (@capacity bytes) a frame with the reply @message under another id: the member's
 * own hello, goaway and view number are left out, @hello (a packed HelloReply) is put in where it
 * is not empty.
 *
 * Returns the bytes written; 0 when they do not fit, the message would be above
 * PAWL_REPLY_BYTES_MAX, or @message is none.
 */
size_t pawl_envelope_reply(uint8_t *out, size_t capacity, struct pawl_bytes message, uint64_t id,
                           struct pawl_bytes hello);

#endif
