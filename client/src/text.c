#include "private.h"

#define WORD(list, value) \
    ((size_t)(value) < sizeof(list) / sizeof((list)[0]) ? (list)[(size_t)(value)] : "unknown")

static const char *const outcomes[] = { "none", "allow", "deny", "undecided" };
static const char *const fails[] = { "none", "open", "closed", "local" };
static const char *const sources[] = { "none", "daemon", "fallback" };
static const char *const effects[] = { "none", "done", "unknown" };
static const char *const token_states[] = { "none",    "valid",   "revoked",
                                            "expired", "invalid", "undecided" };
static const char *const scopes[] = { "none",    "token",  "signed", "opaque",   "family",
                                      "subject", "client", "key",    "namespace" };
static const char *const whys[] = {
    "none",  "logout",          "logout_all",       "password_change", "compromised", "reuse",
    "admin", "key_compromised", "account_disabled", "superseded",      "thaw",        "mismatch",
    "fork",
};
static const char *const levels[] = { "default", "memory", "durable", "quorum", "everywhere" };
static const char *const refreshes[] = {
    "none",           "rotated", "grace",   "adopted",       "raced",
    "reuse",          "revoked", "expired", "not_yet_valid", "mismatch",
    "family_expired", "unknown", "invalid", "denied",        "unavailable",
};

const char *pawl_rc_text(int rc)
{
    switch (rc) {
    case PAWL_RC_OK:
        return "done";
    case PAWL_RC_INVALID:
        return "not valid";
    case PAWL_RC_NOMEM:
        return "out of memory";
    case PAWL_RC_FULL:
        return "full: a ceiling is reached";
    case PAWL_RC_UNAVAILABLE:
        return "the daemon cannot answer now";
    case PAWL_RC_CANCELED:
        return "canceled";
    case PAWL_RC_TIMEOUT:
        return "no answer within the deadline";
    case PAWL_RC_NOT_FOUND:
        return "not found";
    case PAWL_RC_NOT_PERMITTED:
        return "not permitted on this connection";
    case PAWL_RC_PROTOCOL:
        return "the peer does not speak pawl's protocol";
    case PAWL_RC_UNSUPPORTED:
        return "not known to this version of the daemon";
    case PAWL_RC_TOO_BIG:
        return "too big";
    case PAWL_RC_FROZEN:
        return "the store is frozen until thaw";
    case PAWL_RC_BUSY:
        return "a blocking call inside a callback";
    case PAWL_RC_CONNECT:
        return "no address answers";
    case PAWL_RC_LOST:
        return "the connection broke before the answer came";
    case PAWL_RC_BREAKER:
        return "the daemon was silent too often: not asked";
    case PAWL_RC_NO_RATES:
        return "cannot count here: the rates of the limit are not known";
    default:
        return "unknown";
    }
}

const char *pawl_outcome_text(enum pawl_outcome outcome)
{
    return WORD(outcomes, outcome);
}

const char *pawl_fail_text(enum pawl_fail fail)
{
    return WORD(fails, fail);
}

const char *pawl_source_text(enum pawl_source source)
{
    return WORD(sources, source);
}

const char *pawl_effect_text(enum pawl_effect effect)
{
    return WORD(effects, effect);
}

const char *pawl_token_state_text(enum pawl_token_state state)
{
    return WORD(token_states, state);
}

const char *pawl_revoke_scope_text(enum pawl_revoke_scope scope)
{
    return scope == PAWL_REVOKE_JWT          ? "jwt"
           : scope == PAWL_REVOKE_JWT_FAMILY ? "jwt_family"
                                             : WORD(scopes, scope);
}

const char *pawl_why_text(enum pawl_why why)
{
    return why == PAWL_WHY_OTHER ? "other" : WORD(whys, why);
}

const char *pawl_level_text(enum pawl_level level)
{
    return WORD(levels, level);
}

const char *pawl_refresh_text(enum pawl_refresh refresh)
{
    return WORD(refreshes, refresh);
}

static unsigned find_word(const char *const *words, size_t count, const char *text)
{
    for (unsigned i = 0; text != NULL && i < count; i++) {
        if (strcmp(words[i], text) == 0) {
            return i;
        }
    }
    return 0;
}

enum pawl_why pawl_why_from_text(const char *text)
{
    if (text != NULL && strcmp(text, "other") == 0) {
        return PAWL_WHY_OTHER;
    }
    return (enum pawl_why)find_word(whys, sizeof(whys) / sizeof(whys[0]), text);
}

enum pawl_level pawl_level_from_text(const char *text)
{
    return (enum pawl_level)find_word(levels, sizeof(levels) / sizeof(levels[0]), text);
}

enum pawl_revoke_scope pawl_revoke_scope_from_text(const char *text)
{
    if (text != NULL && strcmp(text, "jwt") == 0) {
        return PAWL_REVOKE_JWT;
    }
    if (text != NULL && strcmp(text, "jwt_family") == 0) {
        return PAWL_REVOKE_JWT_FAMILY;
    }
    return (enum pawl_revoke_scope)find_word(scopes, sizeof(scopes) / sizeof(scopes[0]), text);
}
