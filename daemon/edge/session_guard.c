/*
 * Who the peer of a session is: handshakes, certificates, credentials, and what becomes of them
 * when the guard changes. What a proof is worth is decided in identity.c.
 */
#include <string.h>

#include "edge/peer.h"
#include "edge/session.h"
#include "edge/worker.h"

#define WHY_UNKNOWN   "no entry of tls.clients matches the certificate" /* fits a goaway */
#define WHY_UNTRUSTED "the certificate's CA is trusted no more"
#define WHY_REMOVED   "what this connection proved counts no more"
#define WHY_GUESSES   "wrong credentials"

/* ---- saying so ----------------------------------------------------------------------------- */

/** A proof was not taken: log and audit, a line of each a second; @who may be empty. */
static void say_refused(struct pawl_session *session, const char *how, const char *why,
                        struct pawl_bytes who)
{
    struct pawl_worker *worker = session->worker;
    uint64_t held = 0;
    struct pawl_audit_peer peer;

    if (!pawl_log_gate_open(&worker->gate_proof, uv_now(&worker->loop), &held)) {
        return;
    }
    pawl_session_peer(session, &peer);
    pawl_log_event(worker->edge->log, PAWL_LOG_WARN, "edge_proof_refused", PAWL_F_TEXT("by", how),
                   PAWL_F_TEXT("why", why), PAWL_F_TEXT("address", peer.address),
                   PAWL_F_U64("held", held));
    pawl_audit_event(worker->edge->options.audit, PAWL_AUDIT_AUTH_FAILED, &peer,
                     PAWL_F_TEXT("by", how), PAWL_F_TEXT("why", why), PAWL_F_MASKED("client", who),
                     PAWL_F_U64("held", held));
}

/* ---- handshakes ---------------------------------------------------------------------------- */

/** Each worker has its share of tls.handshakes_max; the one that has waited longest gives way. */
static void make_room(struct pawl_worker *worker)
{
    unsigned share = worker->guard->handshakes_max / worker->edge->worker_count;
    struct pawl_deadline *oldest = NULL;

    if (pawl_edge_stat_get(&worker->stats.tls_handshaking) < (share > 0 ? share : 1)) {
        return;
    }
    oldest = pawl_deadlines_due(&worker->handshake, uv_now(&worker->loop), 0);
    if (oldest != NULL) {
        struct pawl_session *session =
            (struct pawl_session *)(void *)((char *)oldest - offsetof(struct pawl_session, pace));

        pawl_session_blame(session, &worker->stats.tls_handshakes_crowded,
                           "TLS handshakes_max reached, and this one had waited longest");
        pawl_session_close(session);
    }
}

bool pawl_session_secure(struct pawl_session *session)
{
    struct pawl_worker *worker = session->worker;
    struct pawl_guard *guard = worker->guard;

    session->is_tls = true;
    session->handshaking = true; /* until the end of it is counted */
    pawl_edge_stat_add(&worker->stats.tls_handshaking, 1);
    if (guard == NULL || guard->context == NULL) {
        pawl_session_blame(session, &worker->stats.tls_handshake_failures, "no certificate yet");
        return false;
    }
    make_room(worker);
    pawl_deadline_arm(&worker->handshake, &session->pace, uv_now(&worker->loop));
    return pawl_transport_secure(&session->transport, &worker->hub, guard->tls, guard->context) ==
           PAWL_OK;
}

void pawl_session_shaken(struct pawl_session *session)
{
    session->handshaking = false;
    pawl_deadline_disarm(&session->pace);
    pawl_edge_stat_add(&session->worker->stats.tls_handshaking, UINT64_MAX);
}

bool pawl_session_failed(struct pawl_session *session)
{
    const char *why = pawl_transport_failure(&session->transport);
    struct pawl_bytes nobody = { NULL, 0 };

    pawl_session_shaken(session);
    pawl_edge_stat_add(&session->worker->stats.tls_handshake_failures, 1);
    if (why == NULL) {
        return false; /* it went away in the middle, and said nothing */
    }
    say_refused(session, "tls", why, nobody);
    pawl_transport_discard(&session->transport);
    return true;
}

/* ---- certificates -------------------------------------------------------------------------- */

/** Close @session, telling both sides why. */
static void dismiss(struct pawl_session *session, _Atomic uint64_t *stat,
                    const struct pawl_tls_peer *peer, const char *why)
{
    struct pawl_bytes who = { NULL, 0 };

    if (peer != NULL && peer->san_count > 0) {
        who = pawl_bytes_of((const uint8_t *)peer->sans[0], strlen(peer->sans[0]));
    }
    pawl_edge_stat_add(stat, 1);
    say_refused(session, session->is_tls ? "certificate" : "credential", why, who);
    pawl_session_part(session, why);
}

void pawl_session_opened(struct pawl_session *session)
{
    struct pawl_worker *worker = session->worker;
    struct pawl_tls_peer peer;

    pawl_session_shaken(session);
    session->is_secured = true;
    pawl_edge_stat_add(&worker->stats.tls_handshakes, 1);
    pawl_edge_stat_add(&worker->stats.tls_connections, 1);
    session->read_ms = uv_now(&worker->loop);
    if (!pawl_transport_peer(&session->transport, &peer)) {
        session->guard_serial = worker->guard_serial;
        return;
    }
    if (session->guard_serial != worker->guard_serial &&
        !pawl_transport_is_trusted(&session->transport, worker->guard->context)) {
        dismiss(session, &worker->stats.tls_refused, &peer, WHY_UNTRUSTED);
        return;
    }
    session->guard_serial = worker->guard_serial;
    if (pawl_identity_certify(&session->identity, worker->guard, &peer) != PAWL_OK) {
        dismiss(session, &worker->stats.tls_refused, &peer, WHY_UNKNOWN);
    }
}

void pawl_session_review(struct pawl_session *session)
{
    struct pawl_worker *worker = session->worker;
    struct pawl_tls_peer peer;
    bool has_certificate;

    if (session->guard_serial == worker->guard_serial || session->handshaking ||
        session->state != PAWL_SESSION_OPEN) {
        return; /* a handshake is judged when it is done */
    }
    session->guard_serial = worker->guard_serial;
    has_certificate = pawl_transport_peer(&session->transport, &peer);
    if (has_certificate &&
        !pawl_transport_is_trusted(&session->transport, worker->guard->context)) {
        dismiss(session, &worker->stats.tls_dismissed, &peer, WHY_UNTRUSTED);
    } else if ((has_certificate || session->identity.grant_count > 0) &&
               pawl_identity_renew(&session->identity, worker->guard,
                                   has_certificate ? &peer : NULL) != PAWL_OK) {
        dismiss(session, &worker->stats.tls_dismissed, has_certificate ? &peer : NULL, WHY_REMOVED);
    }
    pawl_worker_mark(worker, session);
}

/* ---- credentials, namespaces (handler.h) --------------------------------------------------- */

enum pawl_status pawl_session_authenticate(struct pawl_session *session, struct pawl_bytes id,
                                           struct pawl_bytes secret)
{
    struct pawl_worker *worker = session->worker;

    pawl_session_review(session); /* what it proved before counts under today's guard */
    if (session->state != PAWL_SESSION_OPEN) {
        return PAWL_EPERM;
    }
    if (worker->guard != NULL &&
        pawl_identity_credit(&session->identity, worker->guard, id, secret) == PAWL_OK) {
        session->guard_serial = worker->guard_serial;
        return PAWL_OK;
    }
    pawl_edge_stat_add(&worker->stats.credentials_wrong, 1);
    say_refused(session, "credential", "unknown, or its secret is wrong", id);
    session->guesses++;
    if (session->guesses >= PAWL_SESSION_GUESSES_MAX) {
        pawl_session_part(session, WHY_GUESSES);
        pawl_worker_mark(worker, session);
    }
    return PAWL_EPERM;
}

unsigned pawl_session_roles_everywhere(const struct pawl_session *session)
{
    return pawl_identity_everywhere(&session->identity);
}

bool pawl_session_enter(struct pawl_session *session, struct pawl_bytes ns)
{
    return pawl_identity_enter(&session->identity, ns);
}

bool pawl_session_is_known(const struct pawl_session *session)
{
    const struct pawl_identity *identity = &session->identity;

    return (identity->by_uid && identity->base != 0) || identity->grant_count > 0;
}
