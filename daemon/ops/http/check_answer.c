#include "ops/http/check_answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/json.h"

#define FIELD_BYTES                                                               \
    4096 /* of RateLimit-Policy and RateLimit: rates that do not fit are left out \
          */
#define BODY_BYTES 512
#define SF_MAX     UINT64_C(999999999999999) /* the largest integer of a structured field */

static uint64_t seconds_up(uint64_t ms)
{
    return ms / 1000 + (ms % 1000 != 0 ? 1 : 0);
}

static uint64_t sf_integer(uint64_t value)
{
    return value < SF_MAX ? value : SF_MAX;
}

/* ---- the body ---- */

static void answer(struct pawl_http_exchange *exchange, unsigned status, const char *verdict,
                   const char *reason)
{
    struct pawl_json json = { .data = pawl_http_take(exchange, BODY_BYTES),
                              .capacity = BODY_BYTES };

    pawl_http_set(exchange, "X-Pawl-Verdict", verdict);
    if (reason[0] != '\0') {
        pawl_http_set(exchange, "X-Pawl-Reason", reason);
    }
    if (json.data == NULL) {
        pawl_http_reply(exchange, status, NULL, pawl_bytes_of("", 0));
        return;
    }
    pawl_json_text(&json, "verdict", pawl_bytes_of(verdict, strlen(verdict)));
    if (reason[0] != '\0') {
        pawl_json_text(&json, "reason", pawl_bytes_of(reason, strlen(reason)));
    }
    pawl_json_raw(&json, "}\n");
    json.data[0] = '{';
    pawl_http_reply(exchange, status, "application/json", pawl_bytes_of(json.data, json.used));
}

/* Nobody knows: never 401, never 429. */
static void undecided(struct pawl_http_exchange *exchange, const struct pawl_http_verdict *verdict,
                      const char *reason)
{
    if (verdict->undecided_allows) {
        answer(exchange, 200, "undecided", reason);
        return;
    }
    pawl_http_set(exchange, "Retry-After", "1");
    answer(exchange, 503, "undecided", reason);
}

/* The dispatcher took the question for none. */
static void failed(struct pawl_http_exchange *exchange, const struct pawl_http_verdict *verdict,
                   int rc)
{
    if (rc == PAWL_RC_INVALID || rc == PAWL_RC_TOO_BIG || rc == PAWL_RC_NOT_FOUND) {
        pawl_http_reply_error(exchange, 400, "invalid_request",
                              rc == PAWL_RC_NOT_FOUND ? "no limit of that name" : pawl_rc_text(rc));
    } else {
        undecided(exchange, verdict, pawl_rc_text(rc));
    }
}

/* ---- tokens ---- */

/* A quoted-string: what cannot stand in one becomes '_'. */
static void quote(char *out, size_t size, struct pawl_bytes text)
{
    size_t used = 0;

    for (size_t i = 0; i < text.size && used + 2 < size; i++) {
        uint8_t c = text.data[i];

        if (c == '"' || c == '\\') {
            out[used++] = '\\';
        }
        out[used++] = (char)(c >= 0x20 && c < 0x7f ? c : '_');
    }
    out[used] = '\0';
}

/* RFC 6750, 3: no error code where no token came at all. */
static void challenge(struct pawl_http_exchange *exchange, const struct pawl_http_verdict *verdict,
                      const char *error, const char *description)
{
    char realm[64] = "pawl";
    char text[256];

    if (verdict->realm != NULL) {
        quote(realm, sizeof(realm), *verdict->realm);
    }
    if (error == NULL) {
        (void)snprintf(text, sizeof(text), "Bearer realm=\"%s\"", realm);
    } else {
        (void)snprintf(text, sizeof(text),
                       "Bearer realm=\"%s\", error=\"%s\", error_description=\"%s\"", realm, error,
                       description);
    }
    pawl_http_set(exchange, "WWW-Authenticate", text);
}

void pawl_http_check_refuse(struct pawl_http_exchange *exchange,
                            const struct pawl_http_verdict *verdict, const char *why)
{
    if (why != NULL) {
        challenge(exchange, verdict, "invalid_token", why);
        answer(exchange, 401, "deny", "token_invalid");
    } else if (verdict->token_missing) {
        challenge(exchange, verdict, NULL, NULL);
        answer(exchange, 401, "deny", "token_missing");
    } else {
        challenge(exchange, verdict, "invalid_request", "Authorization is no bearer token");
        answer(exchange, 401, "deny", "token_malformed");
    }
}

static void set_name(struct pawl_http_exchange *exchange, const char *header,
                     const struct pawl_text *text)
{
    if (text->size > 0) {
        pawl_http_set_bytes(exchange, header, pawl_bytes_of(text->data, text->size));
    }
}

static void identify(struct pawl_http_exchange *exchange, const struct pawl_claims *claims)
{
    set_name(exchange, "X-Pawl-Subject", &claims->subject);
    set_name(exchange, "X-Pawl-Client", &claims->client);
    set_name(exchange, "X-Pawl-Issuer", &claims->issuer);
    set_name(exchange, "X-Pawl-Token-Id", &claims->jti);
    set_name(exchange, "X-Pawl-Session", &claims->sid);
    if (claims->exp_s > 0) {
        pawl_http_set_number(exchange, "X-Pawl-Expires", claims->exp_s);
    }
}

/* True: the token said no, or nothing, and that is answered. */
static bool token_refused(struct pawl_http_exchange *exchange,
                          const struct pawl_http_verdict *verdict,
                          const struct pawl_token_answer *token)
{
    switch (token->status) {
    case PAWL_TOKEN_STATE_VALID:
        return false;
    case PAWL_TOKEN_STATE_REVOKED:
        challenge(exchange, verdict, "invalid_token", "the token was revoked");
        answer(exchange, 401, "deny", "token_revoked");
        return true;
    case PAWL_TOKEN_STATE_EXPIRED:
        challenge(exchange, verdict, "invalid_token", "the token has expired");
        answer(exchange, 401, "deny", "token_expired");
        return true;
    case PAWL_TOKEN_STATE_INVALID:
        challenge(exchange, verdict, "invalid_token", "the token is not valid");
        answer(exchange, 401, "deny", "token_invalid");
        return true;
    default:
        undecided(exchange, verdict, token->detail[0] != '\0' ? token->detail : "token_undecided");
        return true;
    }
}

void pawl_http_token_answer(struct pawl_http_exchange *exchange,
                            const struct pawl_http_verdict *verdict, int rc,
                            const struct pawl_token_check_result *result)
{
    if (rc != PAWL_RC_OK) {
        failed(exchange, verdict, rc);
        return;
    }
    if (result->info.source != PAWL_SOURCE_DAEMON) {
        undecided(exchange, verdict, pawl_rc_text(result->info.cause));
        return;
    }
    if (token_refused(exchange, verdict, &result->token)) {
        return;
    }
    if (result->token.has_claims && result->token.claims != NULL) {
        identify(exchange, result->token.claims);
    }
    answer(exchange, 200, "allow", "");
}

/* ---- limits ---- */

static bool is_counted(const struct pawl_rate_result *rate)
{
    return !rate->shadow && !rate->bypass;
}

/* "name", "name-2": a policy's name for the rate_index-th rate of a limit. */
static void policy_name(const struct pawl_http_verdict *verdict,
                        const struct pawl_rate_result *rate, char *out, size_t size)
{
    struct pawl_bytes name =
        rate->item < verdict->limit_count ? verdict->limits[rate->item] : pawl_bytes_of("", 0);
    size_t used;

    quote(out, size, name);
    used = strlen(out);
    if (rate->rate_index > 0) {
        (void)snprintf(out + used, size - used, "-%u", rate->rate_index + 1);
    }
}

static void set_fields(struct pawl_http_exchange *exchange, const struct pawl_http_verdict *verdict,
                       const struct pawl_check_result *result)
{
    char policy[FIELD_BYTES] = "";
    char limit[FIELD_BYTES] = "";
    size_t policy_used = 0;
    size_t limit_used = 0;

    for (size_t i = 0; i < result->rate_count && i < result->rates_max; i++) {
        const struct pawl_rate_result *rate = &result->rates[i];
        uint64_t wait_ms = rate->retry_after_ms > 0 ? rate->retry_after_ms : rate->reset_after_ms;
        char name[160];

        if (!is_counted(rate)) {
            continue;
        }
        if (FIELD_BYTES - policy_used < 256 || FIELD_BYTES - limit_used < 256) {
            break;
        }
        policy_name(verdict, rate, name, sizeof(name));
        policy_used +=
            (size_t)snprintf(policy + policy_used, FIELD_BYTES - policy_used, "%s\"%s\";q=%" PRIu64,
                             policy_used > 0 ? ", " : "", name, sf_integer(rate->limit_count));
        if (rate->window_ms > 0) {
            policy_used += (size_t)snprintf(policy + policy_used, FIELD_BYTES - policy_used,
                                            ";w=%" PRIu64, seconds_up(rate->window_ms));
        }
        limit_used +=
            (size_t)snprintf(limit + limit_used, FIELD_BYTES - limit_used,
                             "%s\"%s\";r=%" PRIu64 ";t=%" PRIu64, limit_used > 0 ? ", " : "", name,
                             sf_integer(rate->remaining), seconds_up(wait_ms));
    }
    pawl_http_set(exchange, "RateLimit-Policy", policy);
    pawl_http_set(exchange, "RateLimit", limit);
}

/* The rate that a client is nearest to: one that refused, else the one with the least left. */
static const struct pawl_rate_result *tightest(const struct pawl_check_result *result)
{
    const struct pawl_rate_result *best = NULL;

    for (size_t i = 0; i < result->rate_count && i < result->rates_max; i++) {
        const struct pawl_rate_result *rate = &result->rates[i];

        if (!is_counted(rate)) {
            continue;
        }
        if (best == NULL || (best->allowed && !rate->allowed) ||
            (best->allowed == rate->allowed &&
             (rate->allowed ? rate->remaining < best->remaining
                            : rate->retry_after_ms > best->retry_after_ms))) {
            best = rate;
        }
    }
    return best;
}

static void set_limits(struct pawl_http_exchange *exchange, const struct pawl_http_verdict *verdict,
                       const struct pawl_check_result *result)
{
    const struct pawl_rate_result *rate =
        result->info.source == PAWL_SOURCE_DAEMON ? tightest(result) : NULL;

    if (rate == NULL) {
        return;
    }
    set_fields(exchange, verdict, result);
    pawl_http_set_number(exchange, "X-RateLimit-Limit", rate->limit_count);
    pawl_http_set_number(exchange, "X-RateLimit-Remaining", rate->remaining);
    pawl_http_set_number(exchange, "X-RateLimit-Reset", seconds_up(rate->reset_after_ms));
}

static void denied(struct pawl_http_exchange *exchange, const struct pawl_http_verdict *verdict,
                   const struct pawl_check_result *result)
{
    const struct pawl_rate_result *rate = tightest(result);
    char name[160];

    if (result->info.source == PAWL_SOURCE_FALLBACK && result->retry_after_ms == 0) {
        /* nobody answered and on_error is closed: that says nothing about the caller's pace */
        undecided(exchange, verdict, pawl_rc_text(result->info.cause));
        return;
    }
    if (rate != NULL && !rate->allowed) {
        policy_name(verdict, rate, name, sizeof(name));
        pawl_http_set(exchange, "X-Pawl-Limit", name);
    }
    if (result->retry_never != 0) { /* waiting would not help */
        answer(exchange, 403, "deny", "cost_above_limit");
        return;
    }
    uint64_t wait_s = seconds_up(result->retry_after_ms);

    pawl_http_set_number(exchange, "Retry-After", wait_s > 0 ? wait_s : 1);
    answer(exchange, 429, "deny", "rate_limited");
}

void pawl_http_check_answer(struct pawl_http_exchange *exchange,
                            const struct pawl_http_verdict *verdict, int rc,
                            const struct pawl_check_result *result)
{
    if (rc != PAWL_RC_OK) {
        failed(exchange, verdict, rc);
        return;
    }
    set_limits(exchange, verdict, result);
    if (result->has_token && token_refused(exchange, verdict, &result->token)) {
        return;
    }
    if (verdict->token_asked && !result->has_token) {
        undecided(exchange, verdict, "token_undecided");
        return;
    }
    if (result->outcome == PAWL_OUTCOME_DENY) {
        denied(exchange, verdict, result);
        return;
    }
    if (result->outcome != PAWL_OUTCOME_ALLOW) {
        undecided(exchange, verdict,
                  result->info.cause != PAWL_RC_OK ? pawl_rc_text(result->info.cause)
                                                   : "undecided");
        return;
    }
    if (verdict->claims != NULL) {
        identify(exchange, verdict->claims);
    } else if (result->has_token && result->token.has_claims && result->token.claims != NULL) {
        identify(exchange, result->token.claims);
    }
    answer(exchange, 200, "allow", result->info.source == PAWL_SOURCE_FALLBACK ? "fallback" : "");
}
