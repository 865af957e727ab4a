/*
 * Deadlines of sessions: who took too long over a frame, a handshake, reading its replies, or
 * nothing at all. Each kind has a list in the worker, oldest first (deadline.h).
 */
#include "edge/session.h"
#include "edge/worker.h"

/** The session that holds @node, which lies @offset bytes into it. */
static struct pawl_session *of_node(struct pawl_deadline *node, size_t offset)
{
    return (struct pawl_session *)(void *)((char *)node - offset);
}

static void expire_list(struct pawl_worker *worker, struct pawl_deadlines *list,
                        uint64_t timeout_ms, size_t offset, _Atomic uint64_t *stat, const char *why)
{
    struct pawl_deadline *due;

    while ((due = pawl_deadlines_due(list, uv_now(&worker->loop), timeout_ms)) != NULL) {
        struct pawl_session *session = of_node(due, offset);

        if (stat != NULL) {
            pawl_session_blame(session, stat, why);
        }
        pawl_session_close(session);
    }
}

/** Idle nodes are not moved at each read, which would cost every request; they are here. */
static void expire_idle(struct pawl_worker *worker)
{
    uint64_t now_ms = uv_now(&worker->loop);
    uint64_t timeout_ms = worker->edge->options.idle_timeout_ms;
    struct pawl_deadline *due;

    while ((due = pawl_deadlines_due(&worker->idle, now_ms, timeout_ms)) != NULL) {
        struct pawl_session *session = of_node(due, offsetof(struct pawl_session, idle));

        if (session->owed > 0 || now_ms - session->read_ms < timeout_ms) {
            pawl_deadline_arm(&worker->idle, due, now_ms);
            continue;
        }
        pawl_edge_stat_add(&worker->stats.idle_timeouts, 1);
        pawl_session_part(session, "idle");
        pawl_session_step(session);
    }
}

void pawl_session_expire(struct pawl_worker *worker)
{
    const struct pawl_server_options *options = &worker->edge->options;
    struct pawl_edge_stats *stats = &worker->stats;

    expire_list(worker, &worker->frame, options->frame_timeout_ms,
                offsetof(struct pawl_session, pace), &stats->frame_timeouts,
                "frame not whole in time");
    if (worker->guard != NULL) {
        expire_list(worker, &worker->handshake, worker->guard->handshake_timeout_ms,
                    offsetof(struct pawl_session, pace), &stats->tls_handshake_timeouts,
                    "TLS handshake not done in time");
    }
    expire_list(worker, &worker->write, options->write_timeout_ms,
                offsetof(struct pawl_session, write), &stats->slow_closed,
                "does not read its replies");
    expire_list(worker, &worker->finish, options->drain_timeout_ms,
                offsetof(struct pawl_session, pace), &stats->finish_timeouts,
                "replies not given in time");
    expire_list(worker, &worker->linger, PAWL_LINGER_MS, offsetof(struct pawl_session, pace), NULL,
                NULL);
    if (options->idle_timeout_ms > 0) {
        expire_idle(worker);
    }
}
