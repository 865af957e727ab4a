#include "edge/watch.h"

#include <string.h>

#include "edge/durable.h"

#define LENGTH_BYTES 2 /* before each fact in pending->bytes */

_Static_assert(PAWL_FACT_BYTES_MAX + LENGTH_BYTES <= PAWL_PENDING_BYTES, "a fact fits");

/* ---- collecting, on the store's thread ------------------------------------------------------ */

static bool on_fact(struct pawl_job *job, const struct pawl_fact *fact)
{
    struct pawl_pending *pending = job->owner;
    uint8_t *at = pending->bytes + pending->used;
    size_t room = sizeof(pending->bytes) - pending->used;
    size_t size = 0;

    if (pending->as.watch.count >= pending->as.watch.count_max || room <= LENGTH_BYTES ||
        pawl_fact_encode(fact, at + LENGTH_BYTES, room - LENGTH_BYTES, &size) != PAWL_OK) {
        return false; /* this one begins the next answer */
    }
    at[0] = (uint8_t)(size & 0xff);
    at[1] = (uint8_t)(size >> 8);
    pending->used += LENGTH_BYTES + size;
    pending->as.watch.count++;
    pending->as.watch.last = fact->id;
    return true;
}

/* ---- the answer ----------------------------------------------------------------------------- */

/* Facts of namespaces in which the session may not read are none of its business. */
static bool may_see(struct pawl_session *session, struct pawl_bytes bytes, unsigned role)
{
    struct pawl_fact fact;

    return pawl_fact_decode(&fact, bytes) == PAWL_OK && pawl_session_enter(session, fact.ns) &&
           (pawl_session_roles(session) & role) != 0;
}

static unsigned facts_read(struct pawl_pending *pending, struct pawl_session *session,
                           ProtobufCBinaryData *facts)
{
    unsigned role = pending->as.watch.snapshot ? PAWL_ROLE_ADMIN : PAWL_ROLE_READ;
    unsigned count = 0;
    size_t at = 0;

    for (unsigned i = 0; i < pending->as.watch.count; i++) {
        size_t size = pending->bytes[at] | (size_t)pending->bytes[at + 1] << 8;
        uint8_t *fact = pending->bytes + at + LENGTH_BYTES;

        if (may_see(session, pawl_bytes_of(fact, size), role)) {
            facts[count].data = fact;
            facts[count++].len = size;
        }
        at += LENGTH_BYTES + size;
    }
    return count;
}

static void answer(struct pawl_pending *pending, struct pawl_session *session, bool gap)
{
    ProtobufCBinaryData facts[PAWL_WATCH_FACTS_MAX];
    Pawl__V1__WatchReply body = PAWL__V1__WATCH_REPLY__INIT;
    Pawl__V1__Cursor cursor = PAWL__V1__CURSOR__INIT;
    Pawl__V1__Cursor *cursors[1] = { &cursor };
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    body.n_facts = facts_read(pending, session, facts);
    body.facts = facts;
    body.gap = gap;
    body.snapshot_end = !gap && !pending->job.more;
    if (pending->as.watch.last.sequence != 0 && !gap) {
        cursor.origin.data = pending->as.watch.last.origin.bytes;
        cursor.origin.len = sizeof(pending->as.watch.last.origin.bytes);
        cursor.sequence = pending->as.watch.last.sequence;
        body.n_cursors = 1;
        body.cursors = cursors;
    }
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_WATCH;
    reply.watch = &body;
    pawl_reply_cold(pending->dispatch, session, &reply);
}

static bool wants_to_wait(const struct pawl_pending *pending)
{
    const struct pawl_dispatch *dispatch = pending->dispatch;

    return pending->as.watch.until_ms != 0 &&
           !atomic_load_explicit(&dispatch->app->watch.draining, memory_order_acquire) &&
           dispatch->clock_ms < pending->as.watch.until_ms;
}

static void wake_all(struct pawl_app *app);

/* Returns false when something came while the store was asked: ask it again. */
static bool park(struct pawl_pending *pending, struct pawl_session *session)
{
    struct pawl_dispatch *dispatch = pending->dispatch;
    struct pawl_app *app = dispatch->app;
    uint64_t version = atomic_load_explicit(&app->watch.version, memory_order_acquire);

    if (pending->as.watch.seen != version) {
        pending->as.watch.seen = version;
        return false;
    }
    pending->next = dispatch->watchers;
    dispatch->watchers = pending;
    dispatch->watcher_count++;
    atomic_fetch_add_explicit(&app->watch.waiting, 1, memory_order_seq_cst);
    pawl_session_owe(session, 1);
    if (version != atomic_load_explicit(&app->watch.version, memory_order_seq_cst) ||
        atomic_load_explicit(&app->watch.draining, memory_order_seq_cst)) {
        wake_all(app); /* it came before anybody saw us wait */
    }
    return true;
}

static void on_reply(struct pawl_pending *pending, struct pawl_session *session)
{
    const struct pawl_job *job = &pending->job;

    if (session == NULL) {
        return;
    }
    if (job->status != PAWL_OK && job->status != PAWL_ENOENT) {
        pawl_durable_not_done(pending, session);
        return;
    }
    if (job->status == PAWL_OK && job->follow.latest) {
        pending->as.watch.last = job->id;
        pending->job.follow.latest = false;
        pending->job.follow.after = job->id;
    }
    pending->dispatch->clock_ms =
        pawl_clock_read(pending->dispatch->app->clock).instant.ns / 1000000;
    if (job->status == PAWL_OK && pending->as.watch.count == 0 && wants_to_wait(pending) &&
        pending->dispatch->watcher_count < PAWL_WATCHERS_MAX) {
        pending->kept = park(pending, session);
        pending->again = !pending->kept;
        return;
    }
    answer(pending, session, job->status == PAWL_ENOENT);
}

/* ---- the request ---------------------------------------------------------------------------- */

static bool cursor_read(const Pawl__V1__Watch *watch, struct pawl_fact_id *after)
{
    const Pawl__V1__Cursor *cursor;

    if (watch->n_cursors == 0) {
        return true;
    }
    cursor = watch->cursors[0];
    if (watch->n_cursors > 1 || cursor->origin.len != sizeof(after->origin.bytes) ||
        cursor->sequence == 0) {
        return false;
    }
    memcpy(after->origin.bytes, cursor->origin.data, sizeof(after->origin.bytes));
    after->sequence = cursor->sequence;
    return true;
}

void pawl_dispatch_watch(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         const Pawl__V1__Request *request)
{
    const Pawl__V1__Watch *watch = request->watch;
    struct pawl_fact_id after = { .sequence = 0 };
    struct pawl_pending *pending;
    uint32_t wait_ms =
        watch->wait_ms < PAWL_WATCH_WAIT_MAX_MS ? watch->wait_ms : PAWL_WATCH_WAIT_MAX_MS;

    if (watch->snapshot && (pawl_session_roles(session) & PAWL_ROLE_ADMIN) == 0) {
        pawl_count(&dispatch->metrics->forbidden);
        pawl_audit_say_forbidden(dispatch, session, "admin");
        pawl_reply_error(
            session, request->id, PAWL__V1__STATUS__STATUS_DENIED,
            "a snapshot of all facts wants the role admin; watching new ones does not");
        return;
    }
    if (!cursor_read(watch, &after)) {
        pawl_durable_invalid(dispatch, session, request->id,
                             "a watch has one cursor of this node, or none: use that of the reply");
        return;
    }
    if (watch->snapshot && watch->n_cursors == 0) {
        pawl_audit_say_admin(dispatch, session, "watch"); /* its first page, for all of them */
    }
    pending = pawl_durable_take(dispatch, session, request->id);
    if (pending == NULL) {
        return;
    }
    memset(&pending->as.watch, 0, sizeof(pending->as.watch));
    pending->as.watch.last = after;
    pending->as.watch.snapshot = watch->snapshot;
    pending->as.watch.count_max = watch->facts_max != 0 && watch->facts_max < PAWL_WATCH_FACTS_MAX
                                      ? watch->facts_max
                                      : PAWL_WATCH_FACTS_MAX;
    pending->as.watch.seen =
        atomic_load_explicit(&dispatch->app->watch.version, memory_order_acquire);
    if (wait_ms != 0 && !dispatch->app->test_clock) { /* whose time stands still between calls */
        pending->as.watch.until_ms = dispatch->now.instant.ns / 1000000 + wait_ms;
    }
    pending->job.kind = PAWL_JOB_FOLLOW;
    pending->job.follow.after = after;
    pending->job.follow.latest = after.sequence == 0 && !watch->snapshot;
    pending->job.follow.on_fact = on_fact;
    pending->reply = on_reply;
    (void)pawl_pending_submit(pending, session);
}

/* ---- waking --------------------------------------------------------------------------------- */

static void wake_one(struct pawl_pending *pending)
{
    struct pawl_dispatch *dispatch = pending->dispatch;
    struct pawl_session *session = pawl_session_find(dispatch->worker, pending->to.ticket);

    if (session == NULL) {
        pawl_pending_give(pending);
        return;
    }
    pawl_session_owe(session, -1);
    if (!wants_to_wait(pending) || pawl_session_is_ending(session)) {
        answer(pending, session, false);
        pawl_pending_give(pending);
    } else if (!park(pending, session)) {
        (void)pawl_pending_submit(pending, session);
    }
}

static void on_wake(struct pawl_post *post, struct pawl_worker *worker)
{
    struct pawl_watch_wake *wake = (struct pawl_watch_wake *)(void *)post;
    struct pawl_dispatch *dispatch = wake->dispatch;
    struct pawl_pending *all = dispatch->watchers;

    (void)worker;
    atomic_store_explicit(&wake->posted, false, memory_order_seq_cst);
    dispatch->clock_ms = pawl_clock_read(dispatch->app->clock).instant.ns / 1000000;
    atomic_fetch_sub_explicit(&dispatch->app->watch.waiting, dispatch->watcher_count,
                              memory_order_relaxed);
    dispatch->watchers = NULL;
    dispatch->watcher_count = 0;
    while (all != NULL) {
        struct pawl_pending *pending = all;

        all = pending->next;
        wake_one(pending);
    }
}

static void wake_all(struct pawl_app *app)
{
    if (atomic_load_explicit(&app->watch.waiting, memory_order_seq_cst) == 0) {
        return;
    }
    for (unsigned i = 0; i < PAWL_WORKERS_MAX; i++) {
        struct pawl_watch_wake *wake = &app->watch.wakes[i];

        if (wake->dispatch != NULL &&
            !atomic_exchange_explicit(&wake->posted, true, memory_order_seq_cst)) {
            wake->post.run = on_wake;
            pawl_worker_post(wake->dispatch->worker, &wake->post);
        }
    }
}

void pawl_watch_open(struct pawl_dispatch *dispatch, unsigned index)
{
    dispatch->wake = &dispatch->app->watch.wakes[index];
    dispatch->wake->dispatch = dispatch;
}

void pawl_watch_close(struct pawl_dispatch *dispatch)
{
    while (dispatch->watchers != NULL) {
        struct pawl_pending *pending = dispatch->watchers;

        dispatch->watchers = pending->next;
        pawl_pending_give(pending);
    }
    dispatch->wake->dispatch = NULL;
}

void pawl_watch_on_fact(struct pawl_app *app)
{
    atomic_fetch_add_explicit(&app->watch.version, 1, memory_order_seq_cst);
    wake_all(app);
}

void pawl_watch_tick(struct pawl_app *app)
{
    wake_all(app);
}

void pawl_watch_drain(struct pawl_app *app)
{
    atomic_store_explicit(&app->watch.draining, true, memory_order_seq_cst);
    wake_all(app);
}
