/*
 * Revocations, their cancels, and thaw: facts that act in memory at once and are acknowledged after
 * the commit.
 */
#include <stdio.h>
#include <string.h>

#include "edge/durable.h"

/* ---- revoke -------------------------------------------------------------------------------- */

/* What is revoked: as the request says it, or as the token in it does. */
struct target {
    enum pawl_scope scope;
    struct pawl_bytes issuer;
    struct pawl_bytes value;
    int64_t exp_s; /* 0: not known */
};

/*
 * A whole token: its signature has to be right, or anybody could have foreign ids revoked; whether
 * it has expired, whom it is for and of which type it is plays no part (RFC 7009 section 2.1: what
 * no longer works needs no error). The token alone is revoked, by jti, or by the hash of what was
 * signed where it has none; its family only where the request's scope says so.
 */
static bool target_of_raw(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request, struct target *target)
{
    const Pawl__V1__Revoke *revoke = request->revoke;
    struct pawl_jwt_request ask = {
        .raw = pawl_wire_bytes(revoke->raw),
        .issuer = pawl_wire_bytes(revoke->issuer),
        .signature_only = true,
    };
    struct pawl_jwt_claims *claims = &dispatch->raw_claims;
    enum pawl_jwt_reason reason = pawl_dispatch_verify(dispatch, &ask, claims);

    if (!pawl_dispatch_raw_is_read(dispatch, session, request->id, reason)) {
        return false;
    }
    *target = (struct target){ PAWL_SCOPE_TOKEN, claims->issuer, claims->jti, claims->exp_s };
    if (revoke->scope == PAWL__V1__SCOPE__SCOPE_FAMILY) {
        target->scope = PAWL_SCOPE_FAMILY;
        target->value = claims->sid;
    } else if (claims->jti.size == 0) {
        target->scope = PAWL_SCOPE_SIGNED;
        target->value = pawl_bytes_of(claims->signed_sha256, sizeof(claims->signed_sha256));
    }
    return true;
}

static bool target_fill(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request, struct target *target)
{
    const Pawl__V1__Revoke *revoke = request->revoke;

    if (revoke->raw.len == 0) {
        *target = (struct target){
            (enum pawl_scope)revoke->scope,
            pawl_dispatch_issuer(dispatch, pawl_wire_bytes(revoke->issuer)),
            pawl_wire_bytes(revoke->value),
            (int64_t)revoke->exp,
        };
        return true;
    }
    if (revoke->scope != PAWL__V1__SCOPE__SCOPE_NONE &&
        revoke->scope != PAWL__V1__SCOPE__SCOPE_TOKEN &&
        revoke->scope != PAWL__V1__SCOPE__SCOPE_FAMILY) {
        pawl_durable_invalid(dispatch, session, request->id,
                             "a whole token revokes itself (scope token) or its family");
        return false;
    }
    return target_of_raw(dispatch, session, request, target);
}

/* The fact that a revocation of one token, a subject, a client, a key or a namespace writes. */
static void fact_fill(struct pawl_dispatch *dispatch, struct pawl_pending *pending,
                      const Pawl__V1__Revoke *revoke, const struct target *target)
{
    struct pawl_fact *fact = &pending->job.fact;
    enum pawl_scope scope = target->scope;
    const struct pawl_now *now = &dispatch->now;

    *fact = (struct pawl_fact){
        .kind = PAWL_FACT_REVOCATION,
        .scope = scope,
        .reason = pawl_durable_reason(revoke->reason, pawl_scope_is_token(scope)
                                                          ? PAWL_REASON_LOGOUT
                                                          : PAWL_REASON_LOGOUT_ALL),
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .issuer = pawl_pending_copy(pending, target->issuer),
        .value = pawl_pending_copy(pending, target->value),
        .actor = pawl_pending_copy(pending, pawl_wire_bytes(revoke->actor)),
        .at_ms = now->stamp.us / 1000,
        .until_s = pawl_fact_until(scope, target->exp_s, pawl_durable_now_s(now),
                                   dispatch->rules->tokens.max_lifetime_s),
    };
    /*
     * A stolen signing key mints tokens of any date, so a cutoff would not hold it: the whole key
     * is refused. Subjects, clients and namespaces get a cutoff, and a new login is spared.
     */
    if (scope == PAWL_SCOPE_KEY) {
        fact->reason = pawl_durable_reason(revoke->reason, PAWL_REASON_KEY_COMPROMISED);
    }
    if (pawl_scope_has_cutoff(scope) && (scope != PAWL_SCOPE_KEY || revoke->before_ms != 0)) {
        fact->kind = PAWL_FACT_CUTOFF;
        fact->cutoff_ms =
            pawl_cutoff_ms(now->stamp, revoke->before_ms,
                           pawl_revocations_birth_max_ms(&dispatch->app->revocations->view));
    }
}

void pawl_dispatch_revoke(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    const Pawl__V1__Revoke *revoke = request->revoke;
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct target target;

    if (!target_fill(dispatch, session, request, &target)) {
        return;
    }
    if (target.scope == PAWL_SCOPE_FAMILY) {
        Pawl__V1__FamilyEnd end = PAWL__V1__FAMILY_END__INIT;

        end.issuer = pawl_wire_data(target.issuer);
        end.sid = pawl_wire_data(target.value);
        end.reason = revoke->reason;
        end.actor = revoke->actor;
        end.ack = revoke->ack;
        pawl_durable_family_end(dispatch, session, request->id, &end, PAWL__V1__REPLY__BODY_REVOKE);
        return;
    }
    struct pawl_pending *pending = pawl_durable_take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    fact_fill(dispatch, pending, revoke, &target);
    pending->body = PAWL__V1__REPLY__BODY_REVOKE;
    pending->job.kind = PAWL_JOB_APPEND;
    pending->job.ack = pawl_durable_ack(dispatch, revoke->ack);
    pending->reply = pawl_durable_reply;
    if (pawl_fact_check(&pending->job.fact, &error) != PAWL_OK) {
        pawl_pending_give(pending);
        pawl_durable_invalid(dispatch, session, request->id, error.text);
        return;
    }
    if (pawl_durable_act(dispatch, session, pending)) {
        (void)pawl_pending_submit(pending, session);
    }
}

/* ---- unrevoke ------------------------------------------------------------------------------ */

static void reply_unrevoke(struct pawl_pending *pending, struct pawl_session *session)
{
    Pawl__V1__UnrevokeReply body = PAWL__V1__UNREVOKE_REPLY__INIT;
    Pawl__V1__FactId id = PAWL__V1__FACT_ID__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    pawl_audit_say_unrevoked(pending);
    if (session == NULL) {
        return;
    }
    if (pending->job.status != PAWL_OK) {
        pawl_durable_not_done(pending, session);
        return;
    }
    pawl_durable_fact_id(&id, &pending->job.id);
    body.canceled = pending->job.canceled;
    body.acknowledged = (Pawl__V1__Ack)pending->job.reached;
    body.id = &id;
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_UNREVOKE;
    reply.unrevoke = &body;
    pawl_reply_cold(pending->dispatch, session, &reply);
}

void pawl_dispatch_unrevoke(struct pawl_dispatch *dispatch, struct pawl_session *session,
                            const Pawl__V1__Request *request)
{
    const Pawl__V1__Unrevoke *unrevoke = request->unrevoke;
    uint8_t ids[PAWL_FACT_IDS_MAX * PAWL_FACT_ID_BYTES];
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (unrevoke->n_ids == 0 || unrevoke->n_ids > PAWL_FACT_IDS_MAX) {
        pawl_durable_invalid(dispatch, session, request->id, "unrevoke needs 1 to 64 ids of facts");
        return;
    }
    for (size_t i = 0; i < unrevoke->n_ids; i++) {
        struct pawl_fact_id id = { .sequence = unrevoke->ids[i]->sequence };

        if (unrevoke->ids[i]->origin.len != PAWL_ORIGIN_BYTES) {
            pawl_durable_invalid(dispatch, session, request->id,
                                 "the origin of a fact's id has 16 bytes");
            return;
        }
        memcpy(id.origin.bytes, unrevoke->ids[i]->origin.data, PAWL_ORIGIN_BYTES);
        pawl_fact_id_write(ids + i * PAWL_FACT_ID_BYTES, &id);
    }
    struct pawl_pending *pending = pawl_durable_take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    pending->job.fact = (struct pawl_fact){
        .kind = PAWL_FACT_CANCEL,
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .actor = pawl_pending_copy(pending, pawl_wire_bytes(unrevoke->actor)),
        .at_ms = dispatch->now.stamp.us / 1000,
        .until_s = pawl_fact_until(PAWL_SCOPE_NONE, 0, pawl_durable_now_s(&dispatch->now),
                                   dispatch->rules->tokens.max_lifetime_s),
        .cancels = pawl_pending_copy(pending, pawl_bytes_of(ids, unrevoke->n_ids *
                                                                     (size_t)PAWL_FACT_ID_BYTES)),
    };
    pending->job.kind = PAWL_JOB_CANCEL;
    pending->job.ack = pawl_durable_ack(dispatch, unrevoke->ack);
    pending->reply = reply_unrevoke;
    if (pawl_fact_check(&pending->job.fact, &error) != PAWL_OK) {
        pawl_pending_give(pending);
        pawl_durable_invalid(dispatch, session, request->id, error.text);
        return;
    }
    (void)pawl_pending_submit(pending, session);
}

/* ---- thaw ---------------------------------------------------------------------------------- */

static void reply_thaw(struct pawl_pending *pending, struct pawl_session *session)
{
    Pawl__V1__ThawReply body = PAWL__V1__THAW_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    const struct pawl_job *job = &pending->job;

    pawl_audit_say_thaw(pending);
    if (session == NULL) {
        return;
    }
    if (job->status != PAWL_OK) {
        pawl_durable_not_done(pending, session);
        return;
    }
    body.facts_kept = job->thaw.facts_kept;
    body.families_kept = job->thaw.families_kept;
    body.cutoff_ms = job->thaw.cutoff_ms;
    body.set_aside =
        pawl_wire_data(pawl_bytes_of(job->thaw.set_aside, strlen(job->thaw.set_aside)));
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_THAW;
    reply.thaw = &body;
    pawl_reply_cold(pending->dispatch, session, &reply);
}

void pawl_dispatch_thaw(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request)
{
    struct pawl_pending *pending = pawl_durable_take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    pending->job.kind = PAWL_JOB_THAW;
    pending->job.fact.actor = pawl_pending_copy(pending, pawl_wire_bytes(request->thaw->actor));
    pending->job.lost_since_unix_s = (int64_t)request->thaw->lost_since;
    pending->reply = reply_thaw;
    (void)pawl_pending_submit(pending, session);
}
