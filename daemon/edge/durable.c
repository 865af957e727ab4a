#include "edge/durable.h"

uint64_t pawl_durable_now_s(const struct pawl_now *now)
{
    uint64_t stamp_s = now->stamp.us / 1000000;
    uint64_t wall_s = now->wall.unix_s > 0 ? (uint64_t)now->wall.unix_s : 0;

    return stamp_s > wall_s ? stamp_s : wall_s;
}

struct pawl_rotation_time pawl_durable_time(const struct pawl_app *app, const struct pawl_now *now)
{
    return (struct pawl_rotation_time){
        .wall = now->wall,
        .stamp = now->stamp,
        .slow_s = atomic_load(&app->slow_s),
        .birth_max_ms = pawl_revocations_birth_max_ms(&app->revocations->view),
    };
}

/* Take a pending job, or reply that there is no room. */
struct pawl_pending *pawl_durable_take(struct pawl_dispatch *dispatch, struct pawl_session *session,
                                       uint64_t id)
{
    struct pawl_pending *pending = pawl_pending_take(dispatch, session, id);

    if (pending == NULL) {
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "too many writes wait for the disk; try again");
        return NULL;
    }
    pawl_session_peer(session, &pending->peer);
    if (dispatch->request.deadline_ms != 0 && !dispatch->app->test_clock) {
        pending->deadline_ms =
            pawl_worker_batch_ms(dispatch->worker) + dispatch->request.deadline_ms;
    }
    return pending;
}

void pawl_durable_invalid(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                          const char *text)
{
    pawl_count(&dispatch->metrics->invalid);
    pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_INVALID, text);
}

bool pawl_durable_is_late(const struct pawl_pending *pending, const struct pawl_now *now)
{
    return pending->deadline_ms != 0 && now->instant.ns / 1000000 > pending->deadline_ms;
}

/* What the store said of a job that was not done. */
void pawl_durable_not_done(struct pawl_pending *pending, struct pawl_session *session)
{
    const struct pawl_job *job = &pending->job;
    const char *text = job->error.text[0] != '\0' ? job->error.text : pawl_status_text(job->status);

    pawl_reply_error(session, pending->to.id, pawl_wire_status(job->status), text);
}

void pawl_durable_fact_id(Pawl__V1__FactId *out, const struct pawl_fact_id *id)
{
    out->origin.data = (uint8_t *)(uintptr_t)id->origin.bytes;
    out->origin.len = sizeof(id->origin.bytes);
    out->sequence = id->sequence;
}

void pawl_durable_reply(struct pawl_pending *pending, struct pawl_session *session)
{
    Pawl__V1__RevokeReply body = PAWL__V1__REVOKE_REPLY__INIT;
    Pawl__V1__FactId id = PAWL__V1__FACT_ID__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    const struct pawl_job *job = &pending->job;

    pawl_audit_say_fact(pending, pending->body == PAWL__V1__REPLY__BODY_FAMILY_END
                                     ? PAWL_AUDIT_FAMILY_ENDED
                                     : PAWL_AUDIT_REVOKED);
    if (session == NULL) {
        return;
    }
    if (job->status != PAWL_OK) {
        pawl_durable_not_done(pending, session);
        return;
    }
    body.acknowledged = (Pawl__V1__Ack)job->reached;
    body.asked = (Pawl__V1__Ack)job->ack;
    if (job->id.sequence != 0) {
        pawl_durable_fact_id(&id, &job->id);
        body.id = &id;
    }
    body.until = job->fact.until_s;
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = (Pawl__V1__Reply__BodyCase)pending->body;
    reply.revoke = &body; /* the same member of the union as family_end */
    pawl_reply_cold(pending->dispatch, session, &reply);
}

enum pawl_reason pawl_durable_reason(Pawl__V1__Reason reason, enum pawl_reason otherwise)
{
    return reason == PAWL__V1__REASON__REASON_NONE ? otherwise : (enum pawl_reason)reason;
}

enum pawl_ack pawl_durable_ack(const struct pawl_dispatch *dispatch, Pawl__V1__Ack ack)
{
    return ack == PAWL__V1__ACK__ACK_DEFAULT && dispatch->app->cluster == NULL ? PAWL_ACK_DURABLE
                                                                               : (enum pawl_ack)ack;
}

/* A revocation acts in memory before it is on disk. When the table is full nothing is revoked. */
bool pawl_durable_act(struct pawl_dispatch *dispatch, struct pawl_session *session,
                      struct pawl_pending *pending)
{
    enum pawl_status status =
        pawl_revocations_apply(dispatch->app->revocations, &dispatch->app->keys->facts,
                               &pending->job.fact, atomic_load(&dispatch->app->slow_s));

    if (status == PAWL_OK) {
        return true;
    }
    pawl_reply_error(session, pending->to.id, pawl_wire_status(status),
                     status == PAWL_EFULL ? "revocations_max is reached: nothing was revoked; "
                                            "raise it"
                                          : pawl_status_text(status));
    pawl_pending_give(pending);
    return false;
}
