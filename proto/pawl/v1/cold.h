/*
 * Cold messages: protobuf-c, unpacked into a capped arena.
 *
 * protobuf-c's own allocator turns 4 KiB of empty sub-messages into 278 KiB (LIBRARIES 2); the
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
};

/** Use @memory (@size bytes, caller's, outlives the arena) for unpacking. */
void pawl_cold_arena_init(struct pawl_cold_arena *arena, void *memory, size_t size);

/** Forget everything unpacked so far. */
void pawl_cold_arena_reset(struct pawl_cold_arena *arena);

/**
 * Unpack a request into @arena and hold it against every cap of caps.h (bytes fields, repeated
 * counts, enums in range). @request lives until the arena is reset and points into it only.
 *
 * Returns PAWL_OK, PAWL_EINVAL, or PAWL_ETOOBIG when a cap is passed or the arena is full.
 */
PAWL_MUST_USE enum pawl_status pawl_cold_read_request(struct pawl_cold_arena *arena,
                                                      struct pawl_bytes message,
                                                      Pawl__V1__Request **request);

/** The same for a reply (client side). */
PAWL_MUST_USE enum pawl_status pawl_cold_read_reply(struct pawl_cold_arena *arena,
                                                    struct pawl_bytes message,
                                                    Pawl__V1__Reply **reply);

/** Frame header and packed message at @out; returns bytes written, 0 if @capacity is too small. */
size_t pawl_cold_write_reply(uint8_t *out, size_t capacity, const Pawl__V1__Reply *reply);
size_t pawl_cold_write_request(uint8_t *out, size_t capacity, const Pawl__V1__Request *request);

#endif
