/*
 * Cold messages: protobuf-c, unpacked into a capped arena.
 *
 * protobuf-c's own allocator turns 4 KiB of empty sub-messages into 278 KiB; the
 * arena returns NULL when full and the unpack fails cleanly. One arena per worker, reset for each
 * batch; nothing in it is freed singly.
 */
#ifndef PAWL_V1_COLD_H
#define PAWL_V1_COLD_H

#include "core/status.h"
#include "pawl/v1/caps.h"
#include "pawl/v1/pawl.pb-c.h"

struct pawl_cold_arena {
    ProtobufCAllocator allocator; /* hand this to protobuf-c */
    /* ---- private ---- */
    uint8_t *memory;
    size_t size;
    size_t used;
    bool full; /* the last unpack asked for more than there was */
};

/** Use @memory (@size bytes, caller's, outlives the arena) for unpacking. */
void pawl_cold_arena_init(struct pawl_cold_arena *arena, void *memory, size_t size);

/** Forget everything unpacked so far. */
void pawl_cold_arena_reset(struct pawl_cold_arena *arena);

/**
 * Unpack a request into @arena and hold it against every cap of caps.h (bytes fields, repeated
 * counts, enums in range). @request lives until the arena is reset and points into it only; NULL
 * unless PAWL_OK. A request may have no body known here: body_case NOT_SET (STATUS_UNSUPPORTED).
 * What an inline rate's count, window or precision may be is for the dispatcher.
 *
 * Returns PAWL_OK, PAWL_EINVAL (not protobuf, or an enum value not known here), or PAWL_ETOOBIG
 * when a cap is passed or the arena is full.
 */
PAWL_MUST_USE enum pawl_status pawl_cold_read_request(struct pawl_cold_arena *arena,
                                                      struct pawl_bytes message,
                                                      Pawl__V1__Request **request);

/**
 * The same for a reply (client side), but an enum value not known here is set to 0, the safe
 * meaning: a newer server is no reason to fail (COMPAT.md).
 */
PAWL_MUST_USE enum pawl_status pawl_cold_read_reply(struct pawl_cold_arena *arena,
                                                    struct pawl_bytes message,
                                                    Pawl__V1__Reply **reply);

/**
 * Frame header and packed message at @out. Returns the bytes written, 0 if @capacity is too small
 * or the message above PAWL_REPLY_BYTES_MAX or PAWL_REQUEST_BYTES_MAX.
 */
size_t pawl_cold_write_reply(uint8_t *out, size_t capacity, const Pawl__V1__Reply *reply);
size_t pawl_cold_write_request(uint8_t *out, size_t capacity, const Pawl__V1__Request *request);

#endif
