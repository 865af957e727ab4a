/*
 * Requests that have to be durable: revocations, families, rotation, thaw. Each becomes a job at
 * the store; a revocation acts in memory at once and is acknowledged after the commit.
 */
#include <stdio.h>
#include <string.h>

#include "edge/dispatch.h"
#include "edge/pending.h"

static struct pawl_bytes bytes_of(ProtobufCBinaryData data)
{
    return pawl_bytes_of(data.data, data.len);
}

static ProtobufCBinaryData data_of(struct pawl_bytes bytes)
{
    ProtobufCBinaryData data = { bytes.size, (uint8_t *)(uintptr_t)bytes.data };

    return data;
}

static uint64_t later_now_s(const struct pawl_now *now)
{
    uint64_t stamp_s = now->stamp.us / 1000000;
    uint64_t wall_s = now->wall.unix_s > 0 ? (uint64_t)now->wall.unix_s : 0;

    return stamp_s > wall_s ? stamp_s : wall_s;
}

static struct pawl_rotation_time rotation_time(const struct pawl_now *now, uint64_t slow_s)
{
    return (struct pawl_rotation_time){ now->wall, now->stamp, slow_s };
}

/* Take a pending job, or reply that there is no room. */
static struct pawl_pending *take(struct pawl_dispatch *dispatch, struct pawl_session *session,
                                 uint64_t id)
{
    struct pawl_pending *pending = pawl_pending_take(dispatch, session, id);

    if (pending == NULL) {
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "too many writes wait for the disk; try again");
        return NULL;
    }
    if (dispatch->request.deadline_ms != 0 && !dispatch->app->test_clock) {
        pending->deadline_ms =
            pawl_worker_batch_ms(dispatch->worker) + dispatch->request.deadline_ms;
    }
    return pending;
}

static void invalid(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                    const char *text)
{
    pawl_count(&dispatch->metrics->invalid);
    pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_INVALID, text);
}

static bool is_late(const struct pawl_pending *pending, const struct pawl_now *now)
{
    return pending->deadline_ms != 0 && now->instant.ns / 1000000 > pending->deadline_ms;
}

/* What the store said of a job that was not done. */
static void reply_not_done(struct pawl_pending *pending, struct pawl_session *session)
{
    const struct pawl_job *job = &pending->job;
    const char *text = job->error.text[0] != '\0' ? job->error.text : pawl_status_text(job->status);

    pawl_reply_error(session, pending->to.id, pawl_wire_status(job->status), text);
}

/* ---- revoke -------------------------------------------------------------------------------- */

static void fact_id_fill(Pawl__V1__FactId *out, const struct pawl_fact_id *id)
{
    out->origin.data = (uint8_t *)(uintptr_t)id->origin.bytes;
    out->origin.len = sizeof(id->origin.bytes);
    out->sequence = id->sequence;
}

static void reply_revoke(struct pawl_pending *pending, struct pawl_session *session)
{
    Pawl__V1__RevokeReply body = PAWL__V1__REVOKE_REPLY__INIT;
    Pawl__V1__FactId id = PAWL__V1__FACT_ID__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    const struct pawl_job *job = &pending->job;

    if (session == NULL) {
        return;
    }
    if (job->status != PAWL_OK) {
        reply_not_done(pending, session);
        return;
    }
    body.acknowledged = (Pawl__V1__Ack)job->reached;
    body.asked = (Pawl__V1__Ack)job->ack;
    if (job->id.sequence != 0) {
        fact_id_fill(&id, &job->id);
        body.id = &id;
    }
    body.until = job->fact.until_s;
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = (Pawl__V1__Reply__BodyCase)pending->body;
    reply.revoke = &body; /* the same member of the union as family_end */
    pawl_reply_cold(pending->dispatch, session, &reply);
}

static enum pawl_reason reason_of(Pawl__V1__Reason reason, enum pawl_reason otherwise)
{
    return reason == PAWL__V1__REASON__REASON_NONE ? otherwise : (enum pawl_reason)reason;
}

static enum pawl_ack ack_of(Pawl__V1__Ack ack)
{
    return ack == PAWL__V1__ACK__ACK_DEFAULT ? PAWL_ACK_DURABLE : (enum pawl_ack)ack;
}

/* The fact that a revocation of one token, a subject, a client, a key or a namespace writes. */
static void fact_fill(struct pawl_dispatch *dispatch, struct pawl_pending *pending,
                      const Pawl__V1__Revoke *revoke)
{
    struct pawl_fact *fact = &pending->job.fact;
    enum pawl_scope scope = (enum pawl_scope)revoke->scope;
    const struct pawl_now *now = &dispatch->now;

    *fact = (struct pawl_fact){
        .kind = PAWL_FACT_REVOCATION,
        .scope = scope,
        .reason = reason_of(revoke->reason, pawl_scope_is_token(scope) ? PAWL_REASON_LOGOUT
                                                                       : PAWL_REASON_LOGOUT_ALL),
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .issuer = pawl_pending_copy(pending, bytes_of(revoke->issuer)),
        .value = pawl_pending_copy(pending, bytes_of(revoke->value)),
        .actor = pawl_pending_copy(pending, bytes_of(revoke->actor)),
        .at_ms = now->stamp.us / 1000,
        .until_s = pawl_fact_until(scope, (int64_t)revoke->exp, later_now_s(now),
                                   dispatch->rules->tokens.max_lifetime_s),
    };
    /*
     * A stolen signing key mints tokens of any date, so a cutoff would not hold it: the whole key
     * is refused. Subjects, clients and namespaces get a cutoff, and a new login is spared.
     */
    if (scope == PAWL_SCOPE_KEY) {
        fact->reason = reason_of(revoke->reason, PAWL_REASON_KEY_COMPROMISED);
    }
    if (pawl_scope_has_cutoff(scope) && (scope != PAWL_SCOPE_KEY || revoke->before_ms != 0)) {
        fact->kind = PAWL_FACT_CUTOFF;
        fact->cutoff_ms = pawl_cutoff_ms(now->stamp, revoke->before_ms);
    }
}

/* A revocation acts in memory before it is on disk. When the table is full nothing is revoked. */
static bool act_now(struct pawl_dispatch *dispatch, struct pawl_session *session,
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

static void family_end(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                       const Pawl__V1__FamilyEnd *end, unsigned body);

void pawl_dispatch_revoke(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    const Pawl__V1__Revoke *revoke = request->revoke;
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (revoke->raw.len > 0) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_UNSUPPORTED,
                         "this pawld has no keys to read tokens; revoke by jti");
        return;
    }
    if (revoke->scope == PAWL__V1__SCOPE__SCOPE_FAMILY) {
        Pawl__V1__FamilyEnd end = PAWL__V1__FAMILY_END__INIT;

        end.issuer = revoke->issuer;
        end.sid = revoke->value;
        end.reason = revoke->reason;
        end.actor = revoke->actor;
        end.ack = revoke->ack;
        family_end(dispatch, session, request->id, &end, PAWL__V1__REPLY__BODY_REVOKE);
        return;
    }
    struct pawl_pending *pending = take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    fact_fill(dispatch, pending, revoke);
    pending->body = PAWL__V1__REPLY__BODY_REVOKE;
    pending->job.kind = PAWL_JOB_APPEND;
    pending->job.ack = ack_of(revoke->ack);
    pending->reply = reply_revoke;
    if (pawl_fact_check(&pending->job.fact, &error) != PAWL_OK) {
        pawl_pending_give(pending);
        invalid(dispatch, session, request->id, error.text);
        return;
    }
    if (act_now(dispatch, session, pending)) {
        (void)pawl_pending_submit(pending, session);
    }
}

/* ---- unrevoke ------------------------------------------------------------------------------ */

static void reply_unrevoke(struct pawl_pending *pending, struct pawl_session *session)
{
    Pawl__V1__UnrevokeReply body = PAWL__V1__UNREVOKE_REPLY__INIT;
    Pawl__V1__FactId id = PAWL__V1__FACT_ID__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    if (session == NULL) {
        return;
    }
    if (pending->job.status != PAWL_OK) {
        reply_not_done(pending, session);
        return;
    }
    fact_id_fill(&id, &pending->job.id);
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
        invalid(dispatch, session, request->id, "unrevoke needs 1 to 64 ids of facts");
        return;
    }
    for (size_t i = 0; i < unrevoke->n_ids; i++) {
        struct pawl_fact_id id = { .sequence = unrevoke->ids[i]->sequence };

        if (unrevoke->ids[i]->origin.len != PAWL_ORIGIN_BYTES) {
            invalid(dispatch, session, request->id, "the origin of a fact's id has 16 bytes");
            return;
        }
        memcpy(id.origin.bytes, unrevoke->ids[i]->origin.data, PAWL_ORIGIN_BYTES);
        pawl_fact_id_write(ids + i * PAWL_FACT_ID_BYTES, &id);
    }
    struct pawl_pending *pending = take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    pending->job.fact = (struct pawl_fact){
        .kind = PAWL_FACT_CANCEL,
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .actor = pawl_pending_copy(pending, bytes_of(unrevoke->actor)),
        .at_ms = dispatch->now.stamp.us / 1000,
        .until_s = pawl_fact_until(PAWL_SCOPE_NONE, 0, later_now_s(&dispatch->now),
                                   dispatch->rules->tokens.max_lifetime_s),
        .cancels = pawl_pending_copy(pending, pawl_bytes_of(ids, unrevoke->n_ids *
                                                                     (size_t)PAWL_FACT_ID_BYTES)),
    };
    pending->job.kind = PAWL_JOB_CANCEL;
    pending->job.ack = ack_of(unrevoke->ack);
    pending->reply = reply_unrevoke;
    if (pawl_fact_check(&pending->job.fact, &error) != PAWL_OK) {
        pawl_pending_give(pending);
        invalid(dispatch, session, request->id, error.text);
        return;
    }
    (void)pawl_pending_submit(pending, session);
}

/* ---- families ------------------------------------------------------------------------------ */

static void decide_open(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                        struct pawl_family_outcome *outcome)
{
    struct pawl_pending *pending = job->owner;

    pending->as.family.known = old != NULL;
    pending->as.family.late = is_late(pending, &now);
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
        reply_not_done(pending, session);
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
    body.sid = data_of(pawl_name_bytes(&record->sid));
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
    struct pawl_family_open fill = {
        .ns = dispatch->ns,
        .issuer = bytes_of(open->issuer),
        .sid = pawl_bytes_of(sid.text, PAWL_SID_TEXT),
        .subject = bytes_of(open->subject),
        .client = bytes_of(open->client),
        .binding = bytes_of(open->binding),
        .scope = opaque ? PAWL_SCOPE_OPAQUE : PAWL_SCOPE_TOKEN,
        .value = bytes_of(opaque ? open->opaque_sha256 : open->jti),
        .iat_s = open->iat != 0 ? (int64_t)open->iat : dispatch->now.wall.unix_s,
        .exp_s = (int64_t)open->exp,
        .born_ms = born_ms,
        .family_max_s = dispatch->rules->rotation.family_max_s,
        .idle_max_s = dispatch->rules->rotation.idle_max_s,
    };

    return pawl_family_init(record, &fill, dispatch->now.stamp, error);
}

void pawl_dispatch_family_open(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               const Pawl__V1__Request *request)
{
    const Pawl__V1__FamilyOpen *open = request->family_open;
    struct pawl_error error = { PAWL_OK, 0, "" };

    /* exp is civil time: the stamp may be ahead for long, where a clock once was. */
    if ((int64_t)open->exp <= dispatch->now.wall.unix_s || open->exp > INT64_MAX) {
        invalid(dispatch, session, request->id,
                "family open needs exp in the future, in seconds since 1970");
        return;
    }
    struct pawl_pending *pending = take(dispatch, session, request->id);

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
    pending->job.ack = ack_of(open->ack);
    pending->job.family =
        pawl_family_key(&dispatch->app->keys->facts, dispatch->ns, pawl_name_bytes(&record->issuer),
                        pawl_name_bytes(&record->sid));
    pending->job.decide = decide_open;
    pending->reply = reply_open;
    (void)pawl_pending_submit(pending, session);
}

/* Log-out: the family's record becomes REVOKED and a fact says so, known family or not. */
static void decide_end(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                       struct pawl_family_outcome *outcome)
{
    struct pawl_pending *pending = job->owner;
    struct pawl_rotation_time time =
        rotation_time(&now, atomic_load(&pending->dispatch->app->slow_s));

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

static void family_end(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                       const Pawl__V1__FamilyEnd *end, unsigned body)
{
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_pending *pending = take(dispatch, session, id);

    if (pending == NULL) {
        return;
    }
    pending->job.fact = (struct pawl_fact){
        .kind = PAWL_FACT_REVOCATION,
        .scope = PAWL_SCOPE_FAMILY,
        .reason = reason_of(end->reason, PAWL_REASON_LOGOUT),
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .issuer = pawl_pending_copy(pending, bytes_of(end->issuer)),
        .value = pawl_pending_copy(pending, bytes_of(end->sid)),
        .actor = pawl_pending_copy(pending, bytes_of(end->actor)),
        .at_ms = dispatch->now.stamp.us / 1000,
        .until_s = pawl_fact_until(PAWL_SCOPE_FAMILY, 0, later_now_s(&dispatch->now),
                                   dispatch->rules->tokens.max_lifetime_s),
    };
    pending->as.family.max_lifetime_s = dispatch->rules->tokens.max_lifetime_s;
    pending->body = body;
    /* A frozen store takes no families, but the fact alone ends this one. */
    pending->job.kind = dispatch->app->store.ops->frozen(dispatch->app->store.self)
                            ? PAWL_JOB_APPEND
                            : PAWL_JOB_FAMILY;
    pending->job.ack = ack_of(end->ack);
    pending->job.decide = decide_end;
    pending->reply = reply_revoke;
    if (pawl_fact_check(&pending->job.fact, &error) != PAWL_OK) {
        pawl_pending_give(pending);
        invalid(dispatch, session, id, error.text);
        return;
    }
    pending->job.family = pawl_family_key(&dispatch->app->keys->facts, dispatch->ns,
                                          bytes_of(end->issuer), bytes_of(end->sid));
    if (act_now(dispatch, session, pending)) {
        (void)pawl_pending_submit(pending, session);
    }
}

void pawl_dispatch_family_end(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              const Pawl__V1__Request *request)
{
    family_end(dispatch, session, request->id, request->family_end,
               PAWL__V1__REPLY__BODY_FAMILY_END);
}

/* ---- rotate -------------------------------------------------------------------------------- */

static struct pawl_token_ref ref_of(ProtobufCBinaryData jti, ProtobufCBinaryData opaque,
                                    ProtobufCBinaryData text)
{
    struct pawl_token_ref ref = { PAWL_SCOPE_TOKEN, bytes_of(jti) };

    if (jti.len == 0 && opaque.len > 0) {
        ref = (struct pawl_token_ref){ PAWL_SCOPE_OPAQUE, bytes_of(opaque) };
    } else if (jti.len == 0 && text.len > 0) {
        ref = (struct pawl_token_ref){ PAWL_SCOPE_SIGNED, bytes_of(text) };
    }
    return ref;
}

static void rotate_fill(struct pawl_dispatch *dispatch, struct pawl_pending *pending,
                        const Pawl__V1__Rotate *rotate, bool may_rotate)
{
    static const ProtobufCBinaryData none = { 0, NULL };
    const Pawl__V1__Token *token = rotate->presented;
    struct pawl_rotation_request *request = &pending->as.rotate.request;

    *request = (struct pawl_rotation_request){
        .ns = pawl_pending_copy(pending, dispatch->ns),
        .issuer = pawl_pending_copy(pending, bytes_of(token->issuer)),
        .subject = pawl_pending_copy(pending, bytes_of(token->subject)),
        .client = pawl_pending_copy(pending, bytes_of(token->client)),
        .kid = pawl_pending_copy(pending, bytes_of(token->key)),
        .sid = pawl_pending_copy(pending, bytes_of(token->sid)),
        .binding = pawl_pending_copy(pending, bytes_of(rotate->binding)),
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
    struct pawl_rotation_time time = rotation_time(now, atomic_load(&app->slow_s));
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

    outcome->write = false;
    outcome->fact_count = 0;
    pending->as.rotate.missed = old == NULL && pending->as.rotate.candidate > 0;
    if (pending->as.rotate.missed) {
        return; /* look under the newer secret next */
    }
    /* An answer that comes too late would burn the caller's token: nothing is done then. */
    rotate_decide(pending, old, &now,
                  is_late(pending, &now) ? PAWL_ROTATION_CLOSED : PAWL_ROTATION_OPEN);
    outcome->write = effects->write_family && !(effects->create_family && old != NULL);
    if (outcome->write) {
        outcome->record = effects->family;
    }
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
        body->successor = data_of(pawl_name_bytes(&successor->value));
    } else {
        body->successor_opaque_sha256 = data_of(pawl_name_bytes(&successor->value));
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
    body.sid = data_of(pawl_name_bytes(&outcome->sid));
    body.superseded = outcome->superseded;
    body.row = outcome->row;
    body.retry_after_ms = outcome->retry_after_ms;
    successor_fill(&body, outcome);
    if (outcome->has_successor) {
        body.family_exp = outcome->effects.family.abs_exp_s;
        body.subject = data_of(pawl_name_bytes(&outcome->effects.family.subject));
    }
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_ROTATE;
    reply.rotate = &body;
    if (outcome->fault != PAWL_ROTATION_FAULT_NONE) {
        const char *text = pawl_rotation_fault_text(outcome->fault);

        reply.error = data_of(pawl_bytes_of(text, strlen(text)));
    } else if (pending->job.status != PAWL_OK) {
        const char *text = pending->job.error.text[0] != '\0'
                               ? pending->job.error.text
                               : pawl_status_text(pending->job.status);

        reply.error = data_of(pawl_bytes_of(text, strlen(text)));
    }
    pawl_reply_cold(pending->dispatch, session, &reply);
}

void pawl_dispatch_rotate(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request)
{
    const Pawl__V1__Rotate *rotate = request->rotate;
    struct pawl_app *app = dispatch->app;

    if (rotate->presented == NULL) {
        invalid(dispatch, session, request->id, "rotate needs the presented token");
        return;
    }
    struct pawl_pending *pending = take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    rotate_fill(dispatch, pending, rotate, true);
    pending->as.rotate.policy = dispatch->rules->rotation;
    memset(&pending->as.rotate.outcome, 0, sizeof(pending->as.rotate.outcome));
    pending->job.kind = PAWL_JOB_FAMILY;
    pending->job.ack = ack_of(rotate->ack);
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

/* ---- thaw ---------------------------------------------------------------------------------- */

static void reply_thaw(struct pawl_pending *pending, struct pawl_session *session)
{
    Pawl__V1__ThawReply body = PAWL__V1__THAW_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    const struct pawl_job *job = &pending->job;

    if (session == NULL) {
        return;
    }
    if (job->status != PAWL_OK) {
        reply_not_done(pending, session);
        return;
    }
    body.facts_kept = job->thaw.facts_kept;
    body.families_kept = job->thaw.families_kept;
    body.cutoff_ms = job->thaw.cutoff_ms;
    body.set_aside = data_of(pawl_bytes_of(job->thaw.set_aside, strlen(job->thaw.set_aside)));
    reply.id = pending->to.id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_THAW;
    reply.thaw = &body;
    pawl_reply_cold(pending->dispatch, session, &reply);
}

void pawl_dispatch_thaw(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request)
{
    struct pawl_pending *pending = take(dispatch, session, request->id);

    if (pending == NULL) {
        return;
    }
    pending->job.kind = PAWL_JOB_THAW;
    pending->job.lost_since_unix_s = (int64_t)request->thaw->lost_since;
    pending->reply = reply_thaw;
    (void)pawl_pending_submit(pending, session);
}
