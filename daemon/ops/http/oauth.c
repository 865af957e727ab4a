/*
 * POST /oauth/revoke (RFC 7009) and /oauth/introspect (RFC 7662). Callers prove themselves by HTTP
 * Basic, with an entry of `credentials` that has the role (revoke; check) in the namespace.
 *
 * A token of three parts is a JWT and is verified; anything else is an opaque token and is known by
 * its SHA-256. pawld issues no opaque tokens and knows of revoked ones alone, so it never says that
 * one is active: any text would be. Who holds opaque tokens asks /v1/check, after his own table.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/keyhash.h"
#include "ops/audit.h"
#include "ops/http/exchange.h"
#include "ops/json.h"

#define TOKEN_MAX  8192
#define BODY_BYTES 8192
#define NS_MAX     64

struct ask {
    struct pawl_str token;
    bool is_jwt;
    char ns[NS_MAX + 1];
    char actor[80];
};

/* ---- who asks, for what ---- */

static void refuse_caller(struct pawl_http_exchange *exchange, const struct ask *ask)
{
    const struct pawl_http_world *world = pawl_http_world_of(exchange);
    struct pawl_audit_peer peer = { .address = "http", .uid = -1 };
    const char *who = ask->actor;

    if (who[0] != '\0') {
        pawl_http_count_wrong(exchange);
    }
    if (who[0] != '\0' && world->may_tell(world->self)) {
        pawl_audit_event(world->audit, PAWL_AUDIT_AUTH_FAILED, &peer,
                         PAWL_F_TEXT("by", "credential"),
                         PAWL_F_TEXT("why", "no entry has this id and secret"),
                         PAWL_F_MASKED("client", pawl_bytes_of(who, strlen(who))));
    }
    pawl_http_set(exchange, "WWW-Authenticate", "Basic realm=\"pawl\", charset=\"UTF-8\"");
    pawl_http_reply_error(exchange, 401, "invalid_client",
                          "HTTP Basic with the id and secret of an entry of credentials");
}

/* Somebody known asks for what is not his. */
static void refuse_role(struct pawl_http_exchange *exchange, const struct ask *ask, unsigned role)
{
    const struct pawl_http_world *world = pawl_http_world_of(exchange);
    struct pawl_audit_peer peer = { .address = "http", .uid = -1 };

    (void)snprintf(peer.client, sizeof(peer.client), "%s", ask->actor + sizeof("http:") - 1);
    if (world->may_tell(world->self)) {
        pawl_audit_event(world->audit, PAWL_AUDIT_FORBIDDEN, &peer,
                         PAWL_F_BYTES("ns", pawl_bytes_of(ask->ns, strlen(ask->ns))),
                         PAWL_F_TEXT("role", role == PAWL_GRANT_REVOKE ? "revoke" : "check"));
    }
    pawl_http_reply_error(exchange, 403, "unauthorized_client",
                          "this credential has not the role in this namespace");
}

/* RFC 6749, 2.3.1 has both parts form-encoded; many clients send them as they are. */
static bool authenticate_encoded(const struct pawl_http_world *world, struct pawl_bytes id,
                                 struct pawl_bytes secret, struct pawl_http_caller *caller)
{
    uint8_t text[2 * PAWL_HTTP_BASIC_MAX + 2];
    struct pawl_http_form form = { .count = 0 };
    const char *why;
    bool good = false;
    size_t size = id.size + 1 + secret.size;

    if (memchr(id.data, '=', id.size) != NULL || memchr(id.data, '&', id.size) != NULL ||
        memchr(secret.data, '&', secret.size) != NULL) {
        return false; /* encoded text has neither */
    }
    memcpy(text, id.data, id.size);
    text[id.size] = '=';
    memcpy(text + id.size + 1, secret.data, secret.size);
    if (pawl_http_form_parse(text, size, &form, &why) == PAWL_OK && form.count == 1) {
        good = world->authenticate(world->self, form.pairs[0].name, form.pairs[0].value, caller);
    }
    pawl_wipe(text, sizeof(text));
    return good;
}

static bool authenticate(struct pawl_http_exchange *exchange, struct pawl_http_caller *caller,
                         struct ask *ask)
{
    const struct pawl_http_world *world = pawl_http_world_of(exchange);
    uint8_t room[PAWL_HTTP_BASIC_MAX];
    struct pawl_bytes text;
    struct pawl_bytes id;
    struct pawl_bytes secret;
    bool good = pawl_http_authorization(pawl_http_header(exchange, "Authorization"), &text) ==
                    PAWL_HTTP_SCHEME_BASIC &&
                pawl_http_basic(text, room, &id, &secret);

    if (good) {
        good = world->authenticate(world->self, id, secret, caller) ||
               authenticate_encoded(world, id, secret, caller);
        (void)snprintf(ask->actor, sizeof(ask->actor), "http:%.*s",
                       (int)(id.size < 64 ? id.size : 64), (const char *)id.data);
    }
    pawl_wipe(room, sizeof(room));
    return good;
}

static bool holds(const struct pawl_text_list *namespaces, const char *ns)
{
    for (unsigned i = 0; i < namespaces->count; i++) {
        if (strcmp(namespaces->items[i], "*") == 0 || strcmp(namespaces->items[i], ns) == 0) {
            return true;
        }
    }
    return false;
}

/* The one asked for; else the caller's only one; else the default one. */
static bool choose_namespace(const struct pawl_http_form *form,
                             const struct pawl_http_caller *caller, struct ask *ask)
{
    const struct pawl_bytes *wanted = pawl_http_form_get(form, "ns");

    if (wanted != NULL) {
        if (wanted->size == 0 || wanted->size > NS_MAX ||
            memchr(wanted->data, '\0', wanted->size) != NULL) {
            return false;
        }
        memcpy(ask->ns, wanted->data, wanted->size);
    } else if (caller->namespaces.count == 1 && strcmp(caller->namespaces.items[0], "*") != 0) {
        (void)snprintf(ask->ns, sizeof(ask->ns), "%s", caller->namespaces.items[0]);
    } else {
        (void)snprintf(ask->ns, sizeof(ask->ns), "default");
    }
    return holds(&caller->namespaces, ask->ns);
}

/* Header, payload and signature; whether they are good is for the verifier to say. */
static bool looks_like_jwt(struct pawl_bytes token)
{
    unsigned dots = 0;

    for (size_t i = 0; i < token.size; i++) {
        dots += token.data[i] == '.' ? 1 : 0;
    }
    return dots == 2 && token.size > 2 && memcmp(token.data, "ey", 2) == 0;
}

/* Everything before the dispatcher is asked; false: it is answered already. */
static bool read_request(struct pawl_http_exchange *exchange, unsigned role, struct ask *ask)
{
    const struct pawl_http_form *form = pawl_http_form_of(exchange);
    const struct pawl_bytes *token = pawl_http_form_get(form, "token");
    struct pawl_http_caller caller = { .roles = 0 };

    if (!authenticate(exchange, &caller, ask)) {
        refuse_caller(exchange, ask);
        return false;
    }
    if (pawl_http_query_count(exchange) > 0) { /* they would end in somebody's access log */
        pawl_http_reply_error(exchange, 400, "invalid_request", "parameters belong in the body");
        return false;
    }
    if (!choose_namespace(form, &caller, ask) || (caller.roles & role) == 0) {
        refuse_role(exchange, ask, role);
        return false;
    }
    if (token == NULL || token->size == 0 || token->size > TOKEN_MAX ||
        pawl_http_form_count(form, "token") != 1) {
        pawl_http_reply_error(exchange, 400, "invalid_request",
                              "one parameter token, of 1 to 8192 bytes");
        return false;
    }
    ask->token = (struct pawl_str){ token->data, token->size };
    ask->is_jwt = looks_like_jwt(*token);
    return true;
}

static void unavailable(struct pawl_http_exchange *exchange, const char *text)
{
    pawl_http_set(exchange, "Retry-After", "1");
    pawl_http_reply_error(exchange, 503, "temporarily_unavailable", text);
}

/* ---- revoke ---- */

static void on_revoked(void *data, const struct pawl_answer *answer)
{
    struct pawl_http_exchange *exchange = data;
    const struct pawl_revoke_result *result = answer->of.revoke;

    switch (answer->rc) {
    case PAWL_RC_OK:
        if (result->acknowledged < result->asked) {
            unavailable(exchange, "taken, but not yet as safely as asked; say it again");
            return;
        }
        pawl_http_reply(exchange, 200, NULL, pawl_bytes_of("", 0));
        return;
    case PAWL_RC_INVALID:
    case PAWL_RC_NOT_FOUND:
        /* RFC 7009, 2.2: a token that is no good needs no revoking, and that is no error. */
        pawl_http_reply(exchange, 200, NULL, pawl_bytes_of("", 0));
        return;
    case PAWL_RC_UNSUPPORTED:
        pawl_http_reply_error(exchange, 400, "unsupported_token_type",
                              "no issuer is configured whose tokens could be read");
        return;
    default:
        unavailable(exchange, pawl_rc_text(answer->rc));
        return;
    }
}

void pawl_http_revoke(struct pawl_http_exchange *exchange)
{
    struct ask ask = { .is_jwt = false };

    if (!read_request(exchange, PAWL_GRANT_REVOKE, &ask)) {
        return;
    }
    struct pawl_revoke_call call = {
        .struct_size = sizeof(call),
        .scope = ask.is_jwt ? PAWL_REVOKE_JWT : PAWL_REVOKE_OPAQUE,
        .reason = PAWL_WHY_LOGOUT,
        .value = ask.token,
        .actor = pawl_str(ask.actor),
        .ns = pawl_str(ask.ns),
    };

    pawl_http_wait_for(
        exchange, pawl_client_submit_revoke(pawl_http_client_of(exchange, PAWL_HTTP_CLIENT_REVOKE),
                                            &call, on_revoked, exchange, NULL));
}

/* ---- introspect ---- */

static void inactive(struct pawl_http_exchange *exchange)
{
    static const char body[] = "{\"active\":false}";

    pawl_http_reply(exchange, 200, "application/json", pawl_bytes_of(body, sizeof(body) - 1));
}

static void put_name(struct pawl_json *json, const char *name, const struct pawl_text *text)
{
    if (text->size > 0) {
        pawl_json_text(json, name, pawl_bytes_of(text->data, text->size));
    }
}

static void put_time(struct pawl_json *json, const char *name, uint64_t at_s)
{
    char text[24];

    if (at_s > 0) {
        (void)snprintf(text, sizeof(text), "%" PRIu64, at_s);
        pawl_json_plain(json, name, text);
    }
}

static void active(struct pawl_http_exchange *exchange, const struct pawl_claims *claims)
{
    struct pawl_json json = { .data = pawl_http_take(exchange, BODY_BYTES),
                              .capacity = BODY_BYTES };

    if (json.data == NULL) {
        unavailable(exchange, "no memory");
        return;
    }
    pawl_json_raw(&json, "{\"active\":true");
    put_name(&json, "iss", &claims->issuer);
    put_name(&json, "sub", &claims->subject);
    put_name(&json, "client_id", &claims->client);
    put_name(&json, "jti", &claims->jti);
    put_name(&json, "sid", &claims->sid);
    put_time(&json, "iat", claims->iat_s);
    put_time(&json, "exp", claims->exp_s);
    pawl_json_raw(&json, "}");
    pawl_http_reply(exchange, 200, "application/json", pawl_bytes_of(json.data, json.used));
}

static void on_introspected(void *data, const struct pawl_answer *answer)
{
    struct pawl_http_exchange *exchange = data;
    const struct pawl_token_check_result *result = answer->of.token_check;

    if (answer->rc == PAWL_RC_INVALID || answer->rc == PAWL_RC_TOO_BIG) {
        inactive(exchange);
        return;
    }
    if (answer->rc != PAWL_RC_OK || result->info.source != PAWL_SOURCE_DAEMON) {
        unavailable(exchange,
                    pawl_rc_text(answer->rc != PAWL_RC_OK ? answer->rc : (int)result->info.cause));
        return;
    }
    switch (result->token.status) {
    case PAWL_TOKEN_STATE_VALID:
        if (result->token.has_claims && result->token.claims != NULL) {
            active(exchange, result->token.claims);
            return;
        }
        unavailable(exchange, "the token's claims are not known");
        return;
    case PAWL_TOKEN_STATE_REVOKED:
    case PAWL_TOKEN_STATE_EXPIRED:
    case PAWL_TOKEN_STATE_INVALID:
        inactive(exchange);
        return;
    default: /* nobody knows: neither true nor false (P5) */
        unavailable(exchange, result->token.detail[0] != '\0' ? result->token.detail : "undecided");
        return;
    }
}

void pawl_http_introspect(struct pawl_http_exchange *exchange)
{
    struct ask ask = { .is_jwt = false };

    if (!read_request(exchange, PAWL_GRANT_CHECK, &ask)) {
        return;
    }
    if (!ask.is_jwt) {
        inactive(exchange);
        return;
    }
    struct pawl_token token = { .struct_size = sizeof(token), .raw = ask.token };
    struct pawl_token_check_call call = {
        .struct_size = sizeof(call),
        .token = &token,
        .ns = pawl_str(ask.ns),
    };

    pawl_http_wait_for(exchange, pawl_client_submit_token_check(
                                     pawl_http_client_of(exchange, PAWL_HTTP_CLIENT_CHECK), &call,
                                     on_introspected, exchange, NULL));
}
