#include "edge/pending.h"

#include <stdlib.h>
#include <string.h>

struct pawl_pending *pawl_pending_take(struct pawl_dispatch *dispatch, struct pawl_session *session,
                                       uint64_t request_id)
{
    struct pawl_pending *pending = dispatch->pending_free;

    if (pending != NULL) {
        dispatch->pending_free = pending->next;
    } else {
        if (dispatch->pending_count >= PAWL_PENDING_MAX) {
            return NULL;
        }
        pending = malloc(sizeof(*pending));
        if (pending == NULL) {
            return NULL;
        }
        dispatch->pending_count++;
    }
    memset(&pending->job, 0, sizeof(pending->job));
    memset(&pending->post, 0, sizeof(pending->post));
    pending->dispatch = dispatch;
    pending->to.ticket = pawl_session_ticket(session);
    pending->to.id = request_id;
    pending->deadline_ms = 0;
    pending->used = 0;
    return pending;
}

void pawl_pending_give(struct pawl_pending *pending)
{
    pending->next = pending->dispatch->pending_free;
    pending->dispatch->pending_free = pending;
}

struct pawl_bytes pawl_pending_copy(struct pawl_pending *pending, struct pawl_bytes bytes)
{
    if (bytes.size == 0 || bytes.size > sizeof(pending->bytes) - pending->used) {
        return pawl_bytes_of(NULL, 0);
    }
    uint8_t *copy = pending->bytes + pending->used;

    memcpy(copy, bytes.data, bytes.size);
    pending->used += bytes.size;
    return pawl_bytes_of(copy, bytes.size);
}

static void on_worker(struct pawl_post *post, struct pawl_worker *worker)
{
    struct pawl_pending *pending = (struct pawl_pending *)(void *)post;
    struct pawl_session *session = pawl_session_find(worker, pending->to.ticket);
    struct pawl_dispatch *dispatch = pending->dispatch;

    atomic_fetch_sub_explicit(&dispatch->metrics->pending, 1, memory_order_relaxed);
    if (pending->job.status != PAWL_OK) {
        pawl_count(&dispatch->metrics->unavailable);
    }
    pending->again = false;
    pending->kept = false;
    pending->reply(pending, session);
    if (session != NULL) {
        pawl_session_owe(session, -1);
        if (pending->again) {
            (void)pawl_pending_submit(pending, session);
            return;
        }
    }
    if (!pending->kept) {
        pawl_pending_give(pending);
    }
}

/* On the store's thread. */
static void on_done(struct pawl_job *job)
{
    struct pawl_pending *pending = job->owner;

    pending->post.run = on_worker;
    pawl_worker_post(pending->dispatch->worker, &pending->post);
}

bool pawl_pending_submit(struct pawl_pending *pending, struct pawl_session *session)
{
    struct pawl_dispatch *dispatch = pending->dispatch;
    const struct pawl_store *store = &dispatch->app->store;

    pending->job.owner = pending;
    pending->job.deadline_ms = pending->deadline_ms;
    pending->job.done = on_done;
    if (dispatch->app->test_clock) {
        pending->job.has_now = true;
        pending->job.now = dispatch->now;
    }
    atomic_fetch_add_explicit(&dispatch->metrics->pending, 1, memory_order_relaxed);
    enum pawl_status status = store->ops->submit(store->self, &pending->job);

    if (status == PAWL_OK) {
        pawl_session_owe(session, 1);
        return true;
    }
    atomic_fetch_sub_explicit(&dispatch->metrics->pending, 1, memory_order_relaxed);
    pawl_count(&dispatch->metrics->unavailable);
    pending->job.status = status;
    pending->reply(pending, session);
    pawl_pending_give(pending);
    return false;
}

void pawl_pending_free_all(struct pawl_dispatch *dispatch)
{
    while (dispatch->pending_free != NULL) {
        struct pawl_pending *pending = dispatch->pending_free;

        dispatch->pending_free = pending->next;
        free(pending);
    }
}
