/*
 * Families of refresh tokens: a login opens one, a log-out ends it.
 */
#include <stdio.h>
#include <string.h>

#include "edge/durable.h"

/* ---- families ------------------------------------------------------------------------------ */

static void decide_open(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                        struct pawl_family_outcome *outcome)
{
    struct pawl_pending *pending = job->owner;

    pending->as.family.known = old != NULL;
    pending->as.family.late = pawl_durable_is_late(pending, &now);
    outcome->fact_count = 0;
    outcome->write = !pending->as.family.known && !pending->as.family.late;
    if (outcome->write) {
        outcome->record = pending->as.family.record;
    }
}

static void reply_open(struct pawl_pending *pending, struct pawl_session *session)
{
    const struct pawl_family *record = &pending->as.family.record;
    Pawl__V1__FamilyOpenReply body = PAWL__V1__FAMILY_OPEN_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    if (session == NULL) {
        return;
    }
    if (pending->job.status != PAWL_OK) {
        pawl_durable_not_done(pending, session);
        return;
    }
    if (pending->as.family.late) {
        pawl_reply_error(session, pending->to.id, PAWL__V1__STATUS__STATUS_LATE,
                         "its deadline had passed before the store began it; nothing was done");
        return;
    }
    if (pending->as.family.known) {
        pawl_reply_error(session, pending->to.id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "this family id is taken; try again");
        return;
    }
    body.sid = pawl_wire_data(pawl_name_bytes(&record->sid));
    body.exp = (uint64_t)record->cur.exp_s;
    body.family_exp = record->abs_exp_s;
    body.acknowledged = (Pawl__V1__Ack)pending->job.reached;
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_FAMILY_OPEN;
    reply.family_open = &body;
    pawl_reply_cold(pending->dispatch, session, &reply);
}

static enum pawl_status family_fill(struct pawl_dispatch *dispatch, struct pawl_family *record,
                                    const Pawl__V1__FamilyOpen *open, struct pawl_error *error)
{
    uint8_t entropy[PAWL_SID_ENTROPY];
    struct pawl_sid sid;
    const struct pawl_app *app = dispatch->app;
    bool opaque = open->opaque_sha256.len > 0;

    if (app->entropy->fill(app->entropy->self, entropy, sizeof(entropy)) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EUNAVAIL, 0, "the system gave no randomness");
    }
    uint64_t born_ms = pawl_sid_mint(&sid, app->keys, dispatch->ns, dispatch->now.stamp,
                                     pawl_revocations_newborn_ms(&app->revocations->view), entropy);

    pawl_revocations_born(app->revocations, born_ms);
    struct pawl_family_open fill = {
        .ns = dispatch->ns,
        .issuer = pawl_dispatch_issuer(dispatch, pawl_wire_bytes(open->issuer)),
        .sid = pawl_bytes_of(sid.text, PAWL_SID_TEXT),
        .subject = pawl_wire_bytes(open->subject),
        .client = pawl_wire_bytes(open->client),
        .binding = pawl_wire_bytes(open->binding),
        .scope = opaque ? PAWL_SCOPE_OPAQUE : PAWL_SCOPE_TOKEN,
        .value = pawl_wire_bytes(opaque ? open->opaque_sha256 : open->jti),
        .iat_s = open->iat != 0 ? (int64_t)open->iat : dispatch->now.wall.unix_s,
        .exp_s = (int64_t)open->exp,
        .born_ms = born_ms,
        .family_max_s = dispatch->rules->rotation.family_max_s,
        .idle_max_s = dispatch->rules->rotation.idle_max_s,
    };

    return pawl_family_init(record, &fill, dispatch->now.stamp, error);
}

/* What is wrong with the times of the first token; NULL: nothing. A life that is too long is said
 * here and not at the first rotation, when the login is long made. */
static const char *bad_times(const struct pawl_dispatch *dispatch, const Pawl__V1__FamilyOpen *open)
{
    /* exp is civil time: the stamp may be ahead for long, where a clock once was. */
    uint64_t now_s = (uint64_t)dispatch->now.wall.unix_s;
    uint64_t iat_s = open->iat != 0 ? open->iat : now_s;

    if (open->exp <= now_s || open->exp > INT64_MAX) {
        return "family open needs exp in the future, in seconds since 1970";
    }
    if (open->exp > iat_s && open->exp - iat_s > dispatch->rules->tokens.max_lifetime_s) {
        return "family open: exp - iat is longer than tokens.max_lifetime, no rotation would take "
               "this token";
    }
    return NULL;
}

void pawl_dispatch_family_open(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               const Pawl__V1__Request *request)
{
    const Pawl__V1__FamilyOpen *open = request->family_open;
    struct pawl_error error = { PAWL_OK, 0, "" };
    const char *wrong = bad_times(dispatch, open);

    if (wrong != NULL) {
        pawl_durable_invalid(dispatch, session, request->id, wrong);
        return;
    }
    struct pawl_pending *pending = pawl_durable_take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    struct pawl_family *record = &pending->as.family.record;
    enum pawl_status status = family_fill(dispatch, record, open, &error);

    if (status != PAWL_OK) {
        pawl_pending_give(pending);
        pawl_reply_error(session, request->id, pawl_wire_status(status), error.text);
        return;
    }
    pending->job.kind = PAWL_JOB_FAMILY;
    pending->job.ack = pawl_durable_ack(dispatch, open->ack);
    pending->job.family =
        pawl_family_key(&dispatch->app->family_keys[0], dispatch->ns,
                        pawl_name_bytes(&record->issuer), pawl_name_bytes(&record->sid));
    pending->job.decide = decide_open;
    pending->reply = reply_open;
    (void)pawl_pending_submit(pending, session);
}

/* Log-out: the family's record becomes REVOKED and a fact says so, known family or not. */
static void decide_end(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                       struct pawl_family_outcome *outcome)
{
    struct pawl_pending *pending = job->owner;
    struct pawl_rotation_time time = pawl_durable_time(pending->dispatch->app, &now);

    outcome->write = false;
    outcome->fact_count = 1;
    outcome->facts[0] = job->fact;
    if (old == NULL) {
        return;
    }
    pending->as.family.record = *old;
    if (!pawl_rotation_revoke(&pending->as.family.record, job->fact.reason, job->fact.actor, &time,
                              pending->as.family.max_lifetime_s, &outcome->facts[0])) {
        outcome->facts[0] = job->fact; /* revoked before: the fact may reach further */
        return;
    }
    outcome->write = true;
    outcome->record = pending->as.family.record;
}

void pawl_durable_family_end(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             uint64_t id, const Pawl__V1__FamilyEnd *end, unsigned body)
{
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_bytes issuer = pawl_dispatch_issuer(dispatch, pawl_wire_bytes(end->issuer));
    struct pawl_pending *pending = pawl_durable_take(dispatch, session, id);

    if (pending == NULL) {
        return;
    }
    pending->job.fact = (struct pawl_fact){
        .kind = PAWL_FACT_REVOCATION,
        .scope = PAWL_SCOPE_FAMILY,
        .reason = pawl_durable_reason(end->reason, PAWL_REASON_LOGOUT),
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .issuer = pawl_pending_copy(pending, issuer),
        .value = pawl_pending_copy(pending, pawl_wire_bytes(end->sid)),
        .actor = pawl_pending_copy(pending, pawl_wire_bytes(end->actor)),
        .at_ms = dispatch->now.stamp.us / 1000,
        .until_s = pawl_fact_until(PAWL_SCOPE_FAMILY, 0, pawl_durable_now_s(&dispatch->now),
                                   dispatch->rules->tokens.max_lifetime_s),
    };
    pending->as.family.max_lifetime_s = dispatch->rules->tokens.max_lifetime_s;
    pending->body = body;
    /* A frozen store takes no families, but the fact alone ends this one. */
    pending->job.kind = dispatch->app->store.ops->frozen(dispatch->app->store.self)
                            ? PAWL_JOB_APPEND
                            : PAWL_JOB_FAMILY;
    pending->job.ack = pawl_durable_ack(dispatch, end->ack);
    pending->job.decide = decide_end;
    pending->reply = pawl_durable_reply;
    if (pawl_fact_check(&pending->job.fact, &error) != PAWL_OK) {
        pawl_pending_give(pending);
        pawl_durable_invalid(dispatch, session, id, error.text);
        return;
    }
    pending->job.family = pawl_family_key(&dispatch->app->family_keys[0], dispatch->ns, issuer,
                                          pawl_wire_bytes(end->sid));
    if (pawl_durable_act(dispatch, session, pending)) {
        (void)pawl_pending_submit(pending, session);
    }
}

void pawl_dispatch_family_end(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              const Pawl__V1__Request *request)
{
    pawl_durable_family_end(dispatch, session, request->id, request->family_end,
                            PAWL__V1__REPLY__BODY_FAMILY_END);
}
