/*
 * Figures of the network half, one struct for each worker. One writer (the worker's thread), any
 * reader: relaxed atomics, so that a reader sees whole numbers and the writer pays for a plain add.
 */
#ifndef PAWL_EDGE_STATS_H
#define PAWL_EDGE_STATS_H

#include <stdatomic.h>

#include "core/types.h"

/* Counters only grow; gauges go both ways. X(field, printed name) */
#define PAWL_EDGE_STATS_MAP(X)                              \
    X(accepted, "edge_accepted")                            \
    X(closed, "edge_closed")                                \
    X(handed_over, "edge_handed_over")                      \
    X(refused_cap, "edge_refused_connections_max")          \
    X(refused_fds, "edge_refused_descriptors")              \
    X(refused_memory, "edge_refused_memory")                \
    X(accept_errors, "edge_accept_errors")                  \
    X(frames, "edge_frames")                                \
    X(batches, "edge_batches")                              \
    X(replies, "edge_replies")                              \
    X(writes, "edge_writes")                                \
    X(writes_waited, "edge_writes_waited")                  \
    X(bytes_in, "edge_bytes_in")                            \
    X(bytes_out, "edge_bytes_out")                          \
    X(paused, "edge_reading_paused")                        \
    X(slow_closed, "edge_closed_not_reading")               \
    X(frame_timeouts, "edge_closed_slow_frame")             \
    X(idle_timeouts, "edge_closed_idle")                    \
    X(finish_timeouts, "edge_closed_unfinished")            \
    X(too_big, "edge_closed_frame_too_big")                 \
    X(malformed, "edge_closed_malformed")                   \
    X(goaways, "edge_goaways_sent")                         \
    X(posts, "edge_posts")                                  \
    X(sessions, "edge_sessions")                            \
    X(buffers_bytes, "edge_buffers_bytes")                  \
    X(buffers_peak_bytes, "edge_buffers_peak_bytes")        \
    X(tls_handshakes, "tls_handshakes")                     \
    X(tls_handshake_failures, "tls_handshake_failures")     \
    X(tls_handshake_timeouts, "tls_handshake_timeouts")     \
    X(tls_handshakes_crowded, "tls_handshakes_crowded_out") \
    X(tls_handshaking, "tls_handshakes_under_way")          \
    X(tls_connections, "tls_connections")                   \
    X(tls_refused, "tls_clients_refused")                   \
    X(tls_dismissed, "tls_clients_dismissed")               \
    X(credentials_wrong, "credentials_wrong")

struct pawl_edge_stats {
#define X(field, name) _Atomic uint64_t field;
    PAWL_EDGE_STATS_MAP(X)
#undef X
};

/** The writer's own: add @n, which may be "negative" for gauges (two's complement). */
static inline void pawl_edge_stat_add(_Atomic uint64_t *stat, uint64_t n)
{
    uint64_t value = atomic_load_explicit(stat, memory_order_relaxed);

    atomic_store_explicit(stat, value + n, memory_order_relaxed);
}

static inline uint64_t pawl_edge_stat_get(const _Atomic uint64_t *stat)
{
    return atomic_load_explicit(stat, memory_order_relaxed);
}

#endif
