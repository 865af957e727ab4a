/*
 * What the dispatcher says to the audit log: who asked for what, about whom (masked), and what came
 * of it. Nothing here decides anything.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "edge/durable.h"

#define ID_BYTES (2 * PAWL_ORIGIN_BYTES + 24)

/* As pawlctl writes the id of a fact: 32 hex digits, a colon, a number. "" for none. */
static void id_text(const struct pawl_fact_id *id, char *out)
{
    size_t used = 0;

    out[0] = '\0';
    if (id->sequence == 0) {
        return;
    }
    for (unsigned i = 0; i < PAWL_ORIGIN_BYTES; i++) {
        used += (size_t)snprintf(out + used, ID_BYTES - used, "%02x", id->origin.bytes[i]);
    }
    (void)snprintf(out + used, ID_BYTES - used, ":%" PRIu64, id->sequence);
}

/* "done", or why not. */
static const char *result_of(const struct pawl_job *job)
{
    return job->status == PAWL_OK ? "done" : pawl_status_name(job->status);
}

void pawl_audit_say_fact(const struct pawl_pending *pending, enum pawl_audit_event event)
{
    const struct pawl_job *job = &pending->job;
    const struct pawl_fact *fact = &job->fact;
    bool hashed = fact->scope == PAWL_SCOPE_SIGNED || fact->scope == PAWL_SCOPE_OPAQUE;
    char id[ID_BYTES];

    id_text(&job->id, id);
    /* Of a token that is known by its hash the hash is no name that anybody would recognise. */
    pawl_audit_event(pending->dispatch->app->audit, event, &pending->peer,
                     PAWL_F_BYTES("ns", fact->ns),
                     PAWL_F_TEXT("scope", pawl_scope_name(fact->scope)),
                     PAWL_F_BYTES("issuer", fact->issuer),
                     PAWL_F_MASKED("value", hashed ? pawl_bytes_of(NULL, 0) : fact->value),
                     PAWL_F_TEXT("reason", pawl_reason_name(fact->reason)),
                     PAWL_F_MASKED("actor", fact->actor), PAWL_F_U64("until", fact->until_s),
                     PAWL_F_TEXT("id", id), PAWL_F_TEXT("result", result_of(job)));
}

void pawl_audit_say_unrevoked(const struct pawl_pending *pending)
{
    const struct pawl_job *job = &pending->job;
    char id[ID_BYTES];

    id_text(&job->id, id);
    pawl_audit_event(pending->dispatch->app->audit, PAWL_AUDIT_UNREVOKED, &pending->peer,
                     PAWL_F_BYTES("ns", job->fact.ns), PAWL_F_MASKED("actor", job->fact.actor),
                     PAWL_F_U64("asked", job->fact.cancels.size / PAWL_FACT_ID_BYTES),
                     PAWL_F_U64("canceled", job->canceled), PAWL_F_TEXT("id", id),
                     PAWL_F_TEXT("result", result_of(job)));
}

void pawl_audit_say_thaw(const struct pawl_pending *pending)
{
    const struct pawl_job *job = &pending->job;

    pawl_audit_event(pending->dispatch->app->audit, PAWL_AUDIT_THAW, &pending->peer,
                     PAWL_F_MASKED("actor", job->fact.actor),
                     PAWL_F_I64("lost_since", job->lost_since_unix_s),
                     PAWL_F_U64("facts_kept", job->thaw.facts_kept),
                     PAWL_F_U64("families_kept", job->thaw.families_kept),
                     PAWL_F_U64("cutoff_ms", job->thaw.cutoff_ms),
                     PAWL_F_TEXT("set_aside", job->thaw.set_aside),
                     PAWL_F_TEXT("result", result_of(job)));
}

void pawl_audit_say_rotation(const struct pawl_pending *pending)
{
    static const enum pawl_audit_event events[] = {
        [PAWL_ROTATION_EVENT_REUSE] = PAWL_AUDIT_REUSE,
        [PAWL_ROTATION_EVENT_MISMATCH] = PAWL_AUDIT_MISMATCH,
        [PAWL_ROTATION_EVENT_LOST_STATE] = PAWL_AUDIT_STATE_LOST,
        [PAWL_ROTATION_EVENT_CLOCK] = PAWL_AUDIT_CLOCK_AHEAD,
    };
    const struct pawl_rotation_request *request = &pending->as.rotate.request;
    const struct pawl_rotation_outcome *outcome = &pending->as.rotate.outcome;
    const struct pawl_family *family = &outcome->effects.family;

    /* Whose it is: the family's word, where its record was written; else the request's. */
    pawl_audit_event(pending->dispatch->app->audit, events[outcome->effects.event], &pending->peer,
                     PAWL_F_BYTES("ns", request->ns), PAWL_F_BYTES("issuer", request->issuer),
                     PAWL_F_MASKED("sid", request->sid),
                     PAWL_F_MASKED("subject", outcome->effects.write_family
                                                  ? pawl_name_bytes(&family->subject)
                                                  : request->subject),
                     PAWL_F_BYTES("client_id", request->client), PAWL_F_U64("row", outcome->row),
                     PAWL_F_U64("generation", outcome->generation),
                     PAWL_F_TEXT("result", pawl_rotation_result_name(outcome->result)));
}

void pawl_audit_say_admin(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const char *request)
{
    struct pawl_audit_peer peer;

    pawl_session_peer(session, &peer);
    pawl_audit_event(dispatch->app->audit, PAWL_AUDIT_ADMIN, &peer,
                     PAWL_F_BYTES("ns", dispatch->ns), PAWL_F_TEXT("request", request));
}

void pawl_audit_say_reset(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_wire_item *item, size_t forgotten)
{
    struct pawl_audit_peer peer;
    char key[2 * PAWL_MASK_BYTES];
    size_t size =
        pawl_audit_mask_key(dispatch->app->audit, item->key, item->key_count, key, sizeof(key));

    pawl_session_peer(session, &peer);
    pawl_audit_event(dispatch->app->audit, PAWL_AUDIT_RESET, &peer,
                     PAWL_F_BYTES("ns", dispatch->ns), PAWL_F_BYTES("limit", item->limit),
                     PAWL_F_BYTES("key", pawl_bytes_of(key, size)),
                     PAWL_F_U64("records", forgotten));
}

void pawl_audit_say_forbidden(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              const char *role)
{
    struct pawl_audit_peer peer;

    if (!pawl_audit_may_deny(dispatch->app->audit, dispatch->now.instant)) {
        return;
    }
    pawl_session_peer(session, &peer);
    pawl_audit_event(dispatch->app->audit, PAWL_AUDIT_FORBIDDEN, &peer,
                     PAWL_F_BYTES("ns", dispatch->ns), PAWL_F_TEXT("role", role));
}

void pawl_audit_say_token(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_token_claims *claims,
                          const struct pawl_wire_token_verdict *verdict)
{
    struct pawl_audit_peer peer;
    enum pawl_token_status status = (enum pawl_token_status)verdict->status;

    if (!pawl_audit_may_deny(dispatch->app->audit, dispatch->now.instant)) {
        return;
    }
    pawl_session_peer(session, &peer);
    pawl_audit_event(dispatch->app->audit, PAWL_AUDIT_DENIED, &peer,
                     PAWL_F_BYTES("ns", dispatch->ns),
                     PAWL_F_TEXT("token", pawl_token_status_name(status)),
                     PAWL_F_TEXT("scope", status == PAWL_TOKEN_REVOKED
                                              ? pawl_scope_name((enum pawl_scope)verdict->scope)
                                              : ""),
                     PAWL_F_TEXT("reason", status == PAWL_TOKEN_REVOKED
                                               ? pawl_reason_name((enum pawl_reason)verdict->reason)
                                               : ""),
                     PAWL_F_BYTES("detail", verdict->detail),
                     PAWL_F_BYTES("issuer", claims->issuer),
                     PAWL_F_MASKED("subject", claims->subject), PAWL_F_MASKED("jti", claims->jti),
                     PAWL_F_MASKED("sid", claims->sid));
}

void pawl_audit_say_limit(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_limit *limit, const struct pawl_bytes *parts,
                          size_t count)
{
    struct pawl_audit_peer peer;
    char key[2 * PAWL_MASK_BYTES];
    size_t size = pawl_audit_mask_key(dispatch->app->audit, parts, count, key, sizeof(key));

    pawl_session_peer(session, &peer);
    pawl_audit_event(dispatch->app->audit, PAWL_AUDIT_DENIED, &peer,
                     PAWL_F_BYTES("ns", dispatch->ns), PAWL_F_TEXT("limit", limit->name),
                     PAWL_F_BYTES("key", pawl_bytes_of(key, size)));
}
