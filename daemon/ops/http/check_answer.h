/*
 * From a verdict to the words of HTTP: status, RateLimit and RateLimit-Policy
 * (draft-ietf-httpapi-ratelimit-headers), Retry-After (RFC 9110), WWW-Authenticate (RFC 6750), and
 * the names that the upstream may rely on.
 */
#ifndef PAWL_OPS_HTTP_CHECK_ANSWER_H
#define PAWL_OPS_HTTP_CHECK_ANSWER_H

#include "ops/http/exchange.h"

#define PAWL_HTTP_LIMITS_MAX 16
#define PAWL_HTTP_PARTS_MAX  8

/** What was asked, as far as the answer has to know. */
struct pawl_http_verdict {
    unsigned limit_count;
    struct pawl_bytes limits[PAWL_HTTP_LIMITS_MAX]; /* names, in the order asked */
    const struct pawl_bytes *realm;                 /* of WWW-Authenticate, or NULL */
    const struct pawl_claims *claims; /* of a token that was verified before, or NULL */
    bool undecided_allows;            /* the operator's word on "cannot tell" */
    bool token_required;
    bool token_missing;
    bool token_asked;     /* in the same check: an answer without a verdict of it decides nothing */
    bool token_malformed; /* Authorization is of another scheme, or no token */
};

/** Answer a check. @result may be NULL where @rc is not PAWL_RC_OK. */
void pawl_http_check_answer(struct pawl_http_exchange *exchange,
                            const struct pawl_http_verdict *verdict, int rc,
                            const struct pawl_check_result *result);

/** Answer a question about a token alone, likewise. */
void pawl_http_token_answer(struct pawl_http_exchange *exchange,
                            const struct pawl_http_verdict *verdict, int rc,
                            const struct pawl_token_check_result *result);

/** 401 before anything is asked: none, malformed, or (@why) of no use. */
void pawl_http_check_refuse(struct pawl_http_exchange *exchange,
                            const struct pawl_http_verdict *verdict, const char *why);

#endif
