/*
 * Watching: facts in the order in which the store took them, and waiting for the next one.
 *
 * A watch is a job at the store (pending.h). Where it finds nothing and its caller wants to wait,
 * it is parked with its worker, until a fact comes, the wait is over, or the daemon drains:
 *
 *   submit -> (facts, a gap, no wait) -> answer
 *          -> nothing -> parked -> woken -> submit again, or answer without facts
 *
 * The store's thread and the main loop wake a worker with a post; between two runs of that post
 * further wakes cost one atomic exchange.
 */
#ifndef PAWL_EDGE_WATCH_H
#define PAWL_EDGE_WATCH_H

#include "edge/dispatch.h"

#define PAWL_WATCH_WAIT_MAX_MS 60000
#define PAWL_WATCHERS_MAX      256 /* parked with one worker */

/** Begin what @dispatch keeps of watches; worker's opener. */
void pawl_watch_open(struct pawl_dispatch *dispatch, unsigned index);
/** No post is under way any more. */
void pawl_watch_close(struct pawl_dispatch *dispatch);

void pawl_dispatch_watch(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         const Pawl__V1__Request *request);

/** A fact or a cancel was committed. Any thread. */
void pawl_watch_on_fact(struct pawl_app *app);

/** End waits that are over; the main loop's tick. */
void pawl_watch_tick(struct pawl_app *app);

/** Answer all who wait, and let nobody wait any more: the daemon drains. Any thread. */
void pawl_watch_drain(struct pawl_app *app);

#endif
