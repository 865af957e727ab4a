/*
 * The frame a server sends on its own: Reply{id 0, goaway}. Pure; any thread.
 *
 * last_id UINT64_MAX: "send nothing new on this connection; what you have sent is begun". Any other
 * last_id is final: later ids were not begun and may be sent elsewhere; 0 = none was begun.
 */
#ifndef PAWL_EDGE_GOAWAY_H
#define PAWL_EDGE_GOAWAY_H

#include "core/types.h"

#define PAWL_GOAWAY_BYTES_MAX  160 /* frame header included */
#define PAWL_GOAWAY_REASON_MAX 64  /* longer ones are cut */

/**
 * Write the frame at @out (PAWL_GOAWAY_BYTES_MAX bytes of room).
 *
 * @refused   the connection was not taken at all: status UNAVAILABLE and @reason as the error;
 *            otherwise status OK.
 * @reason    C string, a word or a few.
 * @drain_ms  the connection closes after this; 0 = at once.
 *
 * Returns the bytes written.
 */
size_t pawl_goaway_write(uint8_t *out, bool refused, uint64_t last_id, const char *reason,
                         uint32_t drain_ms);

#endif
