/*
 * Framing: a 4-byte big-endian length, then one message.
 *
 * Pure functions over bytes; any thread.
 */
#ifndef PAWL_V1_FRAME_H
#define PAWL_V1_FRAME_H

#include "core/status.h"
#include "pawl/v1/caps.h"

/**
 * Find the first frame in @data.
 *
 * @size_max  largest message allowed (PAWL_REQUEST_BYTES_MAX or PAWL_REPLY_BYTES_MAX).
 * @message   out on PAWL_OK: the message inside @data; its frame is
 *            PAWL_FRAME_HEADER_BYTES + message->size bytes long.
 * @needed    out on PAWL_EAGAIN, may be NULL: bytes the whole frame takes, or 4 when even the
 *            length is not there yet.
 *
 * Returns PAWL_OK, PAWL_EAGAIN (expected: read more) or PAWL_ETOOBIG (close the connection:
 * nothing behind it can be trusted). A message of 0 bytes is PAWL_EINVAL.
 */
PAWL_MUST_USE enum pawl_status pawl_frame_next(const uint8_t *data, size_t size, size_t size_max,
                                               struct pawl_bytes *message, size_t *needed);

/** Write the header for a message of @size bytes at @out (PAWL_FRAME_HEADER_BYTES). */
void pawl_frame_header(uint8_t *out, size_t size);

#endif
