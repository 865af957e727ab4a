/*
 * Limits with consistency: exact. The records of a request are saved durably before its answer goes
 * out: both become one job at the store.
 */
#include <pthread.h>
#include <string.h>

#include "edge/dispatch.h"
#include "edge/pending.h"

_Static_assert(PAWL_EXACT_REPLY_MAX + PAWL_EXACT_BYTES_MAX <= PAWL_PENDING_BYTES,
               "the records, and behind them the answer");

/* The answer was made before the job went out, and lies behind the records. */
static void exact_reply(struct pawl_pending *pending, struct pawl_session *session)
{
    const uint8_t *kept = pending->bytes + sizeof(pending->bytes) - pending->as.check.size;
    uint8_t *out;

    if (session == NULL) {
        return;
    }
    if (pending->job.status != PAWL_OK) {
        pawl_reply_perhaps(session, pending->to.id,
                           "charged, but the count could not be saved durably "
                           "(consistency: exact)");
        return;
    }
    out = pawl_session_reserve(session, pending->as.check.size);
    if (out != NULL) {
        memcpy(out, kept, pending->as.check.size);
        pawl_session_commit(session, pending->as.check.size);
    }
}

static bool collect_exact(struct pawl_dispatch *dispatch, struct pawl_pending *pending,
                          const struct pawl_limit_item *items, size_t count)
{
    static _Thread_local uint8_t scratch[PAWL_RECORD_BYTES_MAX];
    struct pawl_record_sink sink = { pending->bytes, pending->used, sizeof(pending->bytes) };

    for (size_t i = 0; i < count; i++) {
        if (pawl_limiter_collect_item(dispatch->app->limiter, &items[i], dispatch->now.instant,
                                      scratch, pawl_record_append, &sink) != PAWL_OK) {
            return false;
        }
    }
    pending->used = sink.used;
    return true;
}

static void submit_exact(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                         const struct pawl_limit_item *items, size_t count, struct pawl_bytes reply)
{
    struct pawl_pending *pending = pawl_pending_take(dispatch, session, id);

    if (pending == NULL || reply.size == 0 || reply.size > PAWL_EXACT_REPLY_MAX ||
        !collect_exact(dispatch, pending, items, count) ||
        sizeof(pending->bytes) - pending->used < reply.size) {
        if (pending != NULL) {
            pawl_pending_give(pending);
        }
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_perhaps(session, id,
                           "charged, but too large or too many to save durably at once");
        return;
    }
    memcpy(pending->bytes + sizeof(pending->bytes) - reply.size, reply.data, reply.size);
    pending->as.check.size = reply.size;
    pending->job.kind = PAWL_JOB_COUNTER;
    pending->job.record = pawl_bytes_of(pending->bytes, pending->used);
    pending->reply = exact_reply;
    (void)pawl_pending_submit(pending, session);
}

/*
 * Of two saved states of one record the later one in the file counts. So states go to the store in
 * the order in which they were taken from the table: a worker that was put aside between the two
 * would put an older state, without a charge that was answered meanwhile, behind a newer one.
 */
void pawl_dispatch_exact(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                         const struct pawl_limit_item *items, size_t count, struct pawl_bytes reply)
{
    (void)pthread_mutex_lock(&dispatch->app->exact_order);
    submit_exact(dispatch, session, id, items, count, reply);
    (void)pthread_mutex_unlock(&dispatch->app->exact_order);
}
