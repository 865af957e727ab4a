/*
 * One worker's eye on one listener: a duplicate of the shared listening descriptor, polled in the
 * worker's own loop.
 *
 * Why a shared socket and not SO_REUSEPORT: with SO_REUSEPORT every worker has a queue of its own,
 * the kernel fills them by a hash of addresses (50 connections over 4 workers: 7 on one and 18 on
 * another is ordinary), and what waits in a queue is reset when its socket is closed. With one
 * queue nothing is lost while any worker, or the service manager, holds it. Its known fault, that
 * the loop which wakes first takes all, is met by handing the connection to the worker with the
 * fewest: one hop when a connection is made, none afterwards. Measured spread: 50 connections over
 * 4 workers are 13, 13, 12, 12.
 *
 * Out of descriptors: a reserve descriptor is given up to accept the peer, tell it and close it, so
 * that the poll does not spin on a queue nobody can empty; where that does not work either,
 * accepting pauses until the next tick.
 */
#ifndef PAWL_EDGE_ACCEPTOR_H
#define PAWL_EDGE_ACCEPTOR_H

#include <uv.h>

#include "edge/listener.h"

struct pawl_edge;
struct pawl_worker;

struct pawl_acceptor {
    uv_poll_t poll;
    const struct pawl_listener *listener;
    struct pawl_worker *worker;
    int fd; /* -1 = not open */
    bool polling;
};

/** Duplicate @listener's descriptor and begin to poll. PAWL_OK or PAWL_EIO (nothing to close). */
PAWL_MUST_USE enum pawl_status pawl_acceptor_open(struct pawl_acceptor *acceptor,
                                                  struct pawl_worker *worker,
                                                  const struct pawl_listener *listener);

/**
 * Hand @fd, a connected Unix stream socket, to the worker with the fewest connections. Any thread,
 * while workers serve. PAWL_OK (@fd is taken over) or PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_acceptor_adopt(struct pawl_edge *edge, int fd, unsigned roles);

/** Accept what is in the queue, at most listen_backlog connections. */
void pawl_acceptor_empty(struct pawl_acceptor *acceptor);

/** Poll again after a pause; nothing if it is polling or closed. */
void pawl_acceptor_resume(struct pawl_acceptor *acceptor);

/** Stop polling and close the duplicate. Nothing if it is not open. */
void pawl_acceptor_close(struct pawl_acceptor *acceptor);

#endif
