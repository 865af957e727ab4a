/*
 * A struct pawl_watch (port/watch.h) on a libuv loop: a poll handle, and a timer that is set anew
 * before the loop sleeps.
 *
 * Life: start -> [loop turns] -> close, then one more turn of the loop, before the storage goes.
 */
#ifndef PAWL_EDGE_POLLER_H
#define PAWL_EDGE_POLLER_H

#include <uv.h>

#include "core/status.h"
#include "port/watch.h"

/** The caller's storage, zeroed; fields are private. */
struct pawl_poller {
    struct pawl_watch watch;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_prepare_t prepare;
    bool has_poll;
    bool has_rest;
};

/** Begin on @loop; @watch is copied. PAWL_OK, or PAWL_EIO: then close is due all the same. */
PAWL_MUST_USE enum pawl_status pawl_poller_start(struct pawl_poller *poller, uv_loop_t *loop,
                                                 const struct pawl_watch *watch);

/** Let go of the descriptor, which must still be open. Nothing if it was not started. */
void pawl_poller_close(struct pawl_poller *poller);

#endif
