/*
 * Tokens: claims that the caller verified, or a raw token that is verified here (port/jwt.h), and
 * then one judgement for both (core/verdict.h). Of a raw token nothing the caller says counts but
 * what it wants of it: issuer, audience, type.
 */
#include <stdio.h>
#include <string.h>

#include "edge/dispatch.h"

/* Who a token is, whatever way it came. */
struct read_token {
    enum pawl_jwt_reason reason;
    struct pawl_token_claims claims; /* with OK and KEY_REVOKED */
};

static struct pawl_token_claims claims_of_request(const struct pawl_dispatch *dispatch)
{
    const struct pawl_wire_token *token = &dispatch->request.token;

    return (struct pawl_token_claims){
        .ns = dispatch->ns,
        .issuer = pawl_dispatch_issuer(dispatch, token->issuer),
        .jti = token->jti,
        .signed_hash = token->signed_sha256,
        .opaque = token->opaque_sha256,
        .subject = token->subject,
        .client = token->client,
        .kid = token->key,
        .sid = token->sid,
        .iat_s = (int64_t)token->iat,
        .exp_s = (int64_t)token->exp,
        .has_iat = token->iat != 0,
        .has_exp = token->exp != 0,
    };
}

enum pawl_jwt_reason pawl_dispatch_verify(struct pawl_dispatch *dispatch,
                                          const struct pawl_jwt_request *request,
                                          struct pawl_jwt_claims *out)
{
    const struct pawl_jwt *jwt = &dispatch->app->jwt;
    struct pawl_jwt_request ask = *request;

    if (dispatch->verifier == NULL) {
        return PAWL_JWT_NO_KEYS;
    }
    ask.now = dispatch->now.wall;
    ask.skew_s = dispatch->rules->tokens.skew_s;
    return jwt->ops->verify(dispatch->verifier, &ask, out);
}

bool pawl_dispatch_raw_is_read(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               uint64_t id, enum pawl_jwt_reason reason)
{
    switch (reason) {
    case PAWL_JWT_OK:
    case PAWL_JWT_KEY_REVOKED:
        return true;
    case PAWL_JWT_NO_KEYS:
        pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_UNSUPPORTED,
                         "this pawld has no keys to read tokens (jwt.issuers); use the claims");
        return false;
    case PAWL_JWT_INTERNAL:
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "the token could not be looked at; try again");
        return false;
    case PAWL_JWT_KEY_UNKNOWN:
    case PAWL_JWT_KEY_PENDING: /* its key may come, and the token would be good then */
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "the token's key is not in use here (%s): nothing was done; ask again when "
                       "it is, or name the token by its jti",
                       pawl_jwt_reason_text(reason));
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_UNAVAILABLE, dispatch->error);
        return false;
    default:
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "this is no token of a configured issuer: %s", pawl_jwt_reason_text(reason));
        pawl_count(&dispatch->metrics->invalid);
        pawl_reply_error(session, id, PAWL__V1__STATUS__STATUS_INVALID, dispatch->error);
        return false;
    }
}

struct pawl_token_claims pawl_dispatch_claims(const struct pawl_dispatch *dispatch,
                                              const struct pawl_jwt_claims *from)
{
    return (struct pawl_token_claims){
        .ns = dispatch->ns,
        .issuer = from->issuer,
        .jti = from->jti,
        .signed_hash = from->jti.size == 0
                           ? pawl_bytes_of(from->signed_sha256, sizeof(from->signed_sha256))
                           : pawl_bytes_of(NULL, 0),
        .subject = from->subject,
        .client = from->client,
        .kid = from->kid,
        .sid = from->sid,
        .iat_s = from->iat_s,
        .exp_s = from->exp_s,
        .has_iat = from->has_iat,
        .has_exp = true,
    };
}

static void read_raw(struct pawl_dispatch *dispatch, struct read_token *out)
{
    const struct pawl_wire_token *token = &dispatch->request.token;
    struct pawl_jwt_request ask = {
        .raw = token->raw,
        .issuer = token->issuer,
        .audience = token->audience,
        .type = token->type,
    };

    memset(&out->claims, 0, sizeof(out->claims));
    out->reason = pawl_dispatch_verify(dispatch, &ask, &dispatch->raw_claims);
    if (out->reason == PAWL_JWT_OK || out->reason == PAWL_JWT_KEY_REVOKED) {
        out->claims = pawl_dispatch_claims(dispatch, &dispatch->raw_claims);
    }
}

/* ---- what was found, for the caller -------------------------------------------------------- */

static ProtobufCBinaryData data_of(struct pawl_bytes bytes)
{
    ProtobufCBinaryData data = { bytes.size, (uint8_t *)(uintptr_t)bytes.data };

    return data;
}

/* The claims of a verified token as the wire's Token, packed behind those of earlier checks. */
static struct pawl_bytes pack_claims(struct pawl_dispatch *dispatch,
                                     const struct pawl_jwt_claims *claims)
{
    Pawl__V1__Token token = PAWL__V1__TOKEN__INIT;

    token.issuer = data_of(claims->issuer);
    token.jti = data_of(claims->jti);
    token.subject = data_of(claims->subject);
    token.client = data_of(claims->client);
    token.key = data_of(claims->kid);
    token.sid = data_of(claims->sid);
    token.iat = claims->has_iat && claims->iat_s > 0 ? (uint64_t)claims->iat_s : 0;
    token.exp = claims->exp_s > 0 ? (uint64_t)claims->exp_s : 0;
    token.audience = data_of(claims->audience);
    token.type = data_of(claims->type);
    token.signed_sha256 =
        data_of(pawl_bytes_of(claims->signed_sha256, sizeof(claims->signed_sha256)));
    size_t size = pawl__v1__token__get_packed_size(&token);

    if (size > sizeof(dispatch->claims) - dispatch->claims_used) {
        return pawl_bytes_of(NULL, 0);
    }
    uint8_t *at = dispatch->claims + dispatch->claims_used;

    dispatch->claims_used += pawl__v1__token__pack(&token, at);
    return pawl_bytes_of(at, size);
}

void pawl_token_make_room(struct pawl_dispatch *dispatch)
{
    if (PAWL_UNLIKELY(sizeof(dispatch->claims) - dispatch->claims_used < PAWL_CLAIMS_BYTES_MAX)) {
        pawl_dispatch_flush(dispatch);
    }
    if (dispatch->batch_count == 0) {
        dispatch->claims_used = 0;
    }
}

/* ---- judging ------------------------------------------------------------------------------- */

static struct pawl_token_view view_of(const struct pawl_dispatch *dispatch)
{
    return (struct pawl_token_view){
        .table = &dispatch->app->revocations->view,
        .keys = dispatch->app->keys,
        .policy = &dispatch->rules->tokens,
        .staleness_ms = dispatch->staleness_ms,
        .now = dispatch->now.wall,
        .stamp = dispatch->now.stamp,
        .slow_s = atomic_load_explicit(&dispatch->app->slow_s, memory_order_relaxed),
    };
}

static void put_detail(struct pawl_wire_token_verdict *out, const char *detail)
{
    out->detail = pawl_bytes_of(detail, strlen(detail));
}

static void judge_claims(const struct pawl_dispatch *dispatch,
                         const struct pawl_token_claims *claims,
                         struct pawl_wire_token_verdict *out)
{
    struct pawl_token_view view = view_of(dispatch);
    struct pawl_token_verdict verdict = pawl_token_verdict(&view, claims);

    *out = (struct pawl_wire_token_verdict){
        .status = (uint32_t)verdict.status,
        .reason = (uint32_t)verdict.reason,
        .scope = (uint32_t)verdict.scope,
        .fresh = verdict.fresh,
        .staleness_ms = verdict.staleness_ms,
    };
    put_detail(out,
               verdict.cause == PAWL_TOKEN_CAUSE_NONE ? "" : pawl_token_cause_name(verdict.cause));
}

/* A token whose signature says nothing, or whose key is known to be stolen. */
static void judge_refused(const struct pawl_dispatch *dispatch, enum pawl_jwt_reason reason,
                          struct pawl_wire_token_verdict *out)
{
    struct pawl_freshness freshness =
        pawl_stale_verdict(&dispatch->rules->tokens, dispatch->staleness_ms);

    *out = (struct pawl_wire_token_verdict){
        .status = PAWL_TOKEN_INVALID,
        .fresh = freshness.fresh,
        .staleness_ms = dispatch->staleness_ms,
    };
    put_detail(out, pawl_jwt_reason_text(reason));
    if (reason == PAWL_JWT_KEY_REVOKED) {
        out->status = PAWL_TOKEN_REVOKED;
        out->scope = PAWL_SCOPE_KEY;
        out->reason = PAWL_REASON_KEY_COMPROMISED;
    } else if (reason == PAWL_JWT_NO_KEYS || reason == PAWL_JWT_INTERNAL) {
        out->status = PAWL_TOKEN_UNDECIDED; /* nobody looked: that is not "no" */
    }
}

static void judge_raw(struct pawl_dispatch *dispatch, struct read_token *token,
                      struct pawl_wire_token_verdict *out)
{
    read_raw(dispatch, token);
    if (token->reason == PAWL_JWT_OK) {
        judge_claims(dispatch, &token->claims, out);
    } else {
        judge_refused(dispatch, token->reason, out);
    }
    if (token->reason == PAWL_JWT_OK || token->reason == PAWL_JWT_KEY_REVOKED) {
        out->claims = pack_claims(dispatch, &dispatch->raw_claims);
    }
}

static void count_refused(struct pawl_dispatch_metrics *metrics, enum pawl_token_status status)
{
    switch (status) {
    case PAWL_TOKEN_REVOKED:
        pawl_count(&metrics->token_revoked);
        break;
    case PAWL_TOKEN_EXPIRED:
        pawl_count(&metrics->token_expired);
        break;
    case PAWL_TOKEN_INVALID:
        pawl_count(&metrics->token_invalid);
        break;
    default:
        pawl_count(&metrics->token_undecided);
        break;
    }
}

enum pawl_token_status pawl_token_judge(struct pawl_dispatch *dispatch,
                                        struct pawl_session *session,
                                        struct pawl_wire_token_verdict *out)
{
    struct read_token token;

    if (dispatch->request.token.raw.size > 0) {
        judge_raw(dispatch, &token, out);
    } else {
        token.claims = claims_of_request(dispatch);
        judge_claims(dispatch, &token.claims, out);
    }
    pawl_count(&dispatch->metrics->token_checks);
    if (PAWL_UNLIKELY(out->status != PAWL_TOKEN_VALID)) {
        count_refused(dispatch->metrics, (enum pawl_token_status)out->status);
        if (out->status != PAWL_TOKEN_UNDECIDED) {
            pawl_audit_say_token(dispatch, session, &token.claims, out);
        }
    }
    return (enum pawl_token_status)out->status;
}

void pawl_dispatch_token(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         struct pawl_bytes hello_reply)
{
    struct pawl_wire_reply reply = {
        .id = dispatch->request.id,
        .status = PAWL__V1__STATUS__STATUS_OK,
        .hello = hello_reply,
        .body = PAWL_BODY_TOKEN_CHECK,
        .has_token = true,
    };

    if (!pawl_dispatch_may_check(dispatch, session)) {
        return;
    }
    if (!dispatch->request.has_token) {
        pawl_count(&dispatch->metrics->invalid);
        pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_INVALID,
                         "a token check needs the token's claims, or the token");
        return;
    }
    pawl_token_make_room(dispatch);
    (void)pawl_token_judge(dispatch, session, &reply.token);
    pawl_reply_hot(session, &reply);
}
