/*
 * Rotation: the request becomes a job that brings the core's decision table into the store's
 * transaction; the outcome becomes the answer.
 */
#include <stdio.h>
#include <string.h>

#include "edge/durable.h"

/* ---- rotate -------------------------------------------------------------------------------- */

static struct pawl_token_ref ref_of(ProtobufCBinaryData jti, ProtobufCBinaryData opaque,
                                    ProtobufCBinaryData text)
{
    struct pawl_token_ref ref = { PAWL_SCOPE_TOKEN, pawl_wire_bytes(jti) };

    if (jti.len == 0 && opaque.len > 0) {
        ref = (struct pawl_token_ref){ PAWL_SCOPE_OPAQUE, pawl_wire_bytes(opaque) };
    } else if (jti.len == 0 && text.len > 0) {
        ref = (struct pawl_token_ref){ PAWL_SCOPE_SIGNED, pawl_wire_bytes(text) };
    }
    return ref;
}

/* A presented token that does not get as far as the table; row and result as there. */
static void refuse_presented(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             uint64_t id, enum pawl_jwt_reason reason)
{
    Pawl__V1__RotateReply body = PAWL__V1__ROTATE_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    const char *text = pawl_jwt_reason_text(reason);

    body.result = PAWL__V1__ROTATE_RESULT__ROTATE_INVALID;
    body.row = 2;
    if (reason == PAWL_JWT_KEY_REVOKED) {
        body.result = PAWL__V1__ROTATE_RESULT__ROTATE_REVOKED;
        body.reason = PAWL__V1__REASON__REASON_KEY_COMPROMISED;
        body.row = 7;
    } else if (reason == PAWL_JWT_NOT_BEFORE) {
        body.result = PAWL__V1__ROTATE_RESULT__ROTATE_NOT_YET_VALID;
        body.row = 4;
    } else if (reason == PAWL_JWT_INTERNAL) {
        body.result = PAWL__V1__ROTATE_RESULT__ROTATE_UNAVAILABLE;
        body.row = 1;
    }
    pawl_count(&dispatch->metrics->rotate_rows[body.row]);
    reply.id = id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_ROTATE;
    reply.rotate = &body;
    reply.error = pawl_wire_data(pawl_bytes_of(text, strlen(text)));
    pawl_reply_cold(dispatch, session, &reply);
}

/*
 * A whole presented token: verified here, and then its own claims count and nothing that the caller
 * says beside it. False: it has been answered.
 */
static bool read_presented(struct pawl_dispatch *dispatch, struct pawl_session *session,
                           uint64_t id, Pawl__V1__Rotate *rotate, Pawl__V1__Token *token)
{
    const struct pawl_jwt_claims *claims = &dispatch->raw_claims;
    struct pawl_jwt_request ask = {
        .raw = pawl_wire_bytes(token->raw),
        .issuer = pawl_wire_bytes(token->issuer),
        .audience = pawl_wire_bytes(token->audience),
        .type = pawl_wire_bytes(token->type),
    };
    enum pawl_jwt_reason reason = pawl_dispatch_verify(dispatch, &ask, &dispatch->raw_claims);

    if (reason == PAWL_JWT_NO_KEYS) {
        return pawl_dispatch_raw_is_read(dispatch, session, id, reason);
    }
    if (reason != PAWL_JWT_OK) {
        refuse_presented(dispatch, session, id, reason);
        return false;
    }
    pawl__v1__token__init(token);
    token->issuer = pawl_wire_data(claims->issuer);
    token->jti = pawl_wire_data(claims->jti);
    token->subject = pawl_wire_data(claims->subject);
    token->client = pawl_wire_data(claims->client);
    token->key = pawl_wire_data(claims->kid);
    token->sid = pawl_wire_data(claims->sid);
    token->iat = claims->has_iat ? (uint64_t)claims->iat_s : 0;
    token->exp = (uint64_t)claims->exp_s;
    token->signed_sha256 =
        pawl_wire_data(pawl_bytes_of(claims->signed_sha256, sizeof(claims->signed_sha256)));
    rotate->presented = token;
    rotate->verified = true;
    rotate->has_generation = claims->has_generation;
    rotate->generation = claims->generation;
    return true;
}

static void rotate_fill(struct pawl_dispatch *dispatch, struct pawl_pending *pending,
                        const Pawl__V1__Rotate *rotate, bool may_rotate)
{
    static const ProtobufCBinaryData none = { 0, NULL };
    const Pawl__V1__Token *token = rotate->presented;
    struct pawl_rotation_request *request = &pending->as.rotate.request;

    *request = (struct pawl_rotation_request){
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .issuer = pawl_pending_copy(pending,
                                    pawl_dispatch_issuer(dispatch, pawl_wire_bytes(token->issuer))),
        .subject = pawl_pending_copy(pending, pawl_wire_bytes(token->subject)),
        .client = pawl_pending_copy(pending, pawl_wire_bytes(token->client)),
        .kid = pawl_pending_copy(pending, pawl_wire_bytes(token->key)),
        .sid = pawl_pending_copy(pending, pawl_wire_bytes(token->sid)),
        .binding = pawl_pending_copy(pending, pawl_wire_bytes(rotate->binding)),
        .presented = ref_of(token->jti, token->opaque_sha256, token->signed_sha256),
        .proposed = ref_of(rotate->next_jti, rotate->next_opaque_sha256, none),
        .iat_s = (int64_t)token->iat,
        .exp_s = (int64_t)token->exp,
        .has_iat = token->iat != 0,
        .has_exp = token->exp != 0,
        .generation = rotate->generation,
        .has_generation = rotate->has_generation,
        .proposed_iat_s = (int64_t)rotate->next_iat,
        .proposed_exp_s = (int64_t)rotate->next_exp,
        .leeway_ms = rotate->leeway_ms,
        .has_leeway = rotate->has_leeway,
        .verified = rotate->verified || rotate->adopt,
        .adopt = rotate->adopt,
        .authorised = may_rotate,
    };
    request->presented.value = pawl_pending_copy(pending, request->presented.value);
    request->proposed.value = pawl_pending_copy(pending, request->proposed.value);
    if (rotate->next_seed.len == PAWL_FAMILY_SEED_BYTES) {
        memcpy(request->proposed_seed, rotate->next_seed.data, PAWL_FAMILY_SEED_BYTES);
    }
}

/* On the store's thread, inside the transaction. */
static void rotate_decide(struct pawl_pending *pending, const struct pawl_family *old,
                          const struct pawl_now *now, enum pawl_rotation_gate gate)
{
    const struct pawl_app *app = pending->dispatch->app;
    struct pawl_rotation_time time = pawl_durable_time(app, now);
    struct pawl_rotation_hits hits;

    pawl_rotation_gather(&app->revocations->view, app->keys, old, &pending->as.rotate.request,
                         &time, pending->as.rotate.policy.skew_s, &hits);
    pawl_rotation_decide(old, &pending->as.rotate.request, &hits, &pending->as.rotate.policy,
                         app->keys, &time, gate, &pending->as.rotate.outcome);
}

static void decide_rotate(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                          struct pawl_family_outcome *outcome)
{
    struct pawl_pending *pending = job->owner;
    const struct pawl_rotation_effects *effects = &pending->as.rotate.outcome.effects;

    outcome->write = outcome->confirm = false;
    outcome->fact_count = 0;
    pending->as.rotate.missed = old == NULL && pending->as.rotate.candidate > 0;
    if (pending->as.rotate.missed) {
        return; /* look under the newer secret next */
    }
    /* An answer that comes too late would burn the caller's token: nothing is done then. */
    rotate_decide(pending, old, &now,
                  pawl_durable_is_late(pending, &now) ? PAWL_ROTATION_CLOSED : PAWL_ROTATION_OPEN);
    outcome->write = effects->write_family && !(effects->create_family && old != NULL);
    if (outcome->write) {
        outcome->record = effects->family;
    }
    outcome->confirm = !outcome->write && pending->as.rotate.outcome.has_successor;
    outcome->fact_count = effects->facts_count;
    for (unsigned i = 0; i < effects->facts_count; i++) {
        outcome->facts[i] = effects->facts[i];
    }
}

/*
 * Where a family's record may lie: an id adopted under an older secret is not what the newest
 * gives, and a row of an older secret has its key under that one. The oldest is looked up first, so
 * that an adopted token is never adopted twice. One secret: one candidate.
 */
static unsigned sid_candidates(const struct pawl_pending *pending)
{
    struct pawl_name sid;
    unsigned count = 0;

    while (
        pawl_rotation_sid(&pending->as.rotate.request, pending->dispatch->app->keys, count, &sid)) {
        count++;
    }
    return count;
}

static void choose_candidate(struct pawl_pending *pending, unsigned candidate)
{
    const struct pawl_rotation_request *request = &pending->as.rotate.request;
    const struct pawl_app *app = pending->dispatch->app;
    unsigned sids = sid_candidates(pending);
    struct pawl_name sid;

    pending->as.rotate.candidate = candidate;
    if (sids > 0 && pawl_rotation_sid(request, app->keys, candidate % sids, &sid)) {
        pending->job.family = pawl_family_key(&app->family_keys[candidate / sids], request->ns,
                                              request->issuer, pawl_name_bytes(&sid));
    }
}

static void rotate_events(struct pawl_pending *pending)
{
    static const char *const names[] = { NULL, "refresh_token_reuse", "refresh_token_mismatch",
                                         "refresh_state_lost", "refresh_clock_ahead" };
    struct pawl_dispatch *dispatch = pending->dispatch;
    const struct pawl_rotation_outcome *outcome = &pending->as.rotate.outcome;
    enum pawl_rotation_event event = outcome->effects.event;

    if (outcome->row < 16) {
        pawl_count(&dispatch->metrics->rotate_rows[outcome->row]);
    }
    if (event == PAWL_ROTATION_EVENT_NONE) {
        return;
    }
    if (event == PAWL_ROTATION_EVENT_REUSE) {
        pawl_count(&dispatch->metrics->reuse_events);
    }
    pawl_audit_say_rotation(pending);
    pawl_log_event(dispatch->app->log, PAWL_LOG_WARN, names[event],
                   PAWL_F_ID("family", pending->job.family), PAWL_F_U64("row", outcome->row),
                   PAWL_F_U64("generation", outcome->generation));
}

static void successor_fill(Pawl__V1__RotateReply *body, const struct pawl_rotation_outcome *outcome)
{
    const struct pawl_family_token *successor = &outcome->successor;

    if (!outcome->has_successor) {
        return;
    }
    if (successor->scope == PAWL_SCOPE_TOKEN) {
        body->successor = pawl_wire_data(pawl_name_bytes(&successor->value));
    } else {
        body->successor_opaque_sha256 = pawl_wire_data(pawl_name_bytes(&successor->value));
        body->successor_seed.data = (uint8_t *)(uintptr_t)successor->seed;
        body->successor_seed.len = sizeof(successor->seed);
    }
    body->successor_iat = (uint64_t)successor->iat_s;
    body->successor_exp = (uint64_t)successor->exp_s;
}

static void reply_rotate(struct pawl_pending *pending, struct pawl_session *session)
{
    struct pawl_rotation_outcome *outcome = &pending->as.rotate.outcome;
    Pawl__V1__RotateReply body = PAWL__V1__ROTATE_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    if (pending->job.status != PAWL_OK) {
        pawl_rotation_unavailable(outcome);
    } else if (pending->as.rotate.missed) {
        choose_candidate(pending, pending->as.rotate.candidate - 1);
        pending->again = true;
        return;
    }
    rotate_events(pending);
    if (session == NULL) {
        return;
    }
    body.result = (Pawl__V1__RotateResult)outcome->result;
    body.reason = (Pawl__V1__Reason)outcome->reason;
    body.generation = outcome->generation;
    body.sid = pawl_wire_data(pawl_name_bytes(&outcome->sid));
    body.superseded = outcome->superseded;
    body.row = outcome->row;
    body.retry_after_ms = outcome->retry_after_ms;
    successor_fill(&body, outcome);
    if (outcome->has_successor) {
        body.family_exp = outcome->effects.family.abs_exp_s;
        body.subject = pawl_wire_data(pawl_name_bytes(&outcome->effects.family.subject));
    }
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_ROTATE;
    reply.rotate = &body;
    if (outcome->fault != PAWL_ROTATION_FAULT_NONE) {
        const char *text = pawl_rotation_fault_text(outcome->fault);

        reply.error = pawl_wire_data(pawl_bytes_of(text, strlen(text)));
    } else if (pending->job.status != PAWL_OK) {
        const char *text = pending->job.error.text[0] != '\0'
                               ? pending->job.error.text
                               : pawl_status_text(pending->job.status);

        reply.error = pawl_wire_data(pawl_bytes_of(text, strlen(text)));
    }
    pawl_reply_cold(pending->dispatch, session, &reply);
}

void pawl_dispatch_rotate(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    Pawl__V1__Rotate rotate = *request->rotate;
    struct pawl_app *app = dispatch->app;
    Pawl__V1__Token token;

    if (rotate.presented == NULL) {
        pawl_durable_invalid(dispatch, session, request->id, "rotate needs the presented token");
        return;
    }
    token = *rotate.presented;
    if (token.raw.len > 0 && !read_presented(dispatch, session, request->id, &rotate, &token)) {
        return;
    }
    struct pawl_pending *pending = pawl_durable_take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    rotate_fill(dispatch, pending, &rotate, true);
    pending->as.rotate.policy = dispatch->rules->rotation;
    memset(&pending->as.rotate.outcome, 0, sizeof(pending->as.rotate.outcome));
    pending->job.kind = PAWL_JOB_FAMILY;
    pending->job.ack = pawl_durable_ack(dispatch, rotate.ack);
    pending->job.decide = decide_rotate;
    pending->reply = reply_rotate;
    pending->as.rotate.missed = false;
    unsigned count = sid_candidates(pending) * app->family_key_count;

    if (count == 0) {
        /* No record can be meant: the table answers without the store. */
        rotate_decide(pending, NULL, &dispatch->now,
                      app->store.ops->frozen(app->store.self) ? PAWL_ROTATION_CLOSED
                                                              : PAWL_ROTATION_OPEN);
        pending->job.status = PAWL_OK;
        reply_rotate(pending, session);
        pawl_pending_give(pending);
        return;
    }
    choose_candidate(pending, count - 1);
    (void)pawl_pending_submit(pending, session);
}
