/*
 * Is this token still good? One answer from all scopes (P5, P6).
 *
 * A verdict is any scope that hits: no scope masks another. A miss is only "valid" when the data
 * is complete, fresh enough for the operator's policy and the token not older than the store;
 * everything else that cannot be told is its own answer. Pure; any thread or process.
 */
#ifndef PAWL_CORE_VERDICT_H
#define PAWL_CORE_VERDICT_H

#include "core/fact.h"
#include "core/policy.h"
#include "core/revocations.h"
#include "core/sid.h"
#include "core/types.h"

enum pawl_token_status {
    PAWL_TOKEN_NONE = 0, /* nobody decided */
    PAWL_TOKEN_VALID = 1,
    PAWL_TOKEN_REVOKED = 2,
    PAWL_TOKEN_EXPIRED = 3,
    PAWL_TOKEN_INVALID = 4,
    PAWL_TOKEN_UNDECIDED = 5,
};

/** Why a token is expired, invalid or undecided. */
#define PAWL_TOKEN_CAUSE_MAP(X)                                                               \
    X(NONE, 0, "none")                                                                        \
    X(MALFORMED, 1, "malformed") /* no identity, or a claim beyond the caps */                \
    X(EXPIRED, 2, "expired")                                                                  \
    X(NOT_YET_VALID, 3, "not_yet_valid") /* iat in the future */                              \
    X(LIFETIME, 4, "lifetime")           /* claims to live longer than tokens.max_lifetime */ \
    X(LOADING, 5, "loading")             /* not all facts are in yet */                       \
    X(FROZEN, 6, "frozen")               /* facts may be missing until thaw */                \
    X(STALE, 7, "stale")                                                                      \
    X(OLDER_THAN_STORE, 8, "older_than_store")

enum pawl_token_cause {
#define X(name, value, text) PAWL_TOKEN_CAUSE_##name = (value),
    PAWL_TOKEN_CAUSE_MAP(X)
#undef X
};

/** What the caller knows about a token; what it does not know is left empty. */
struct pawl_token_claims {
    struct pawl_bytes ns;     /* not empty */
    struct pawl_bytes issuer; /* after pawl_issuer_default() */
    struct pawl_bytes jti;
    struct pawl_bytes signed_hash; /* JWT without jti: SHA-256 of header.payload; empty or 32 */
    struct pawl_bytes opaque;      /* SHA-256 of an opaque token; empty or 32 */
    struct pawl_bytes subject;
    struct pawl_bytes client;
    struct pawl_bytes kid;
    struct pawl_bytes sid;
    int64_t iat_s; /* ignored unless has_iat */
    int64_t exp_s;
    bool has_iat;
    bool has_exp;
};

/** What a verdict is made from. */
struct pawl_token_view {
    const struct pawl_revocations_view *table;
    const struct pawl_token_keys *keys;
    const struct pawl_token_policy *policy;
    uint64_t staleness_ms; /* pawl_revocations_staleness_ms(), read once per batch */
    struct pawl_wall now;
    struct pawl_stamp stamp; /* the fleet's now */
    uint64_t
        slow_s; /* unix time on a clock that cannot run fast; facts past it are over. 0: none */
};

struct pawl_token_verdict {
    enum pawl_token_status status;
    enum pawl_reason reason;     /* of the hit, when revoked */
    enum pawl_scope scope;       /* that hit; with several the first in the order of pawl_scope */
    enum pawl_token_cause cause; /* when expired, invalid or undecided */
    bool fresh;
    uint64_t staleness_ms;
};

/** The look-ups that a verdict needs, on their way into the cache. */
struct pawl_token_probes {
    unsigned count;
    enum pawl_scope scope[PAWL_SCOPES];
    struct pawl_id id[PAWL_SCOPES];
};

/**
 * Judge the token of @claims. At least one of jti, signed_hash, opaque, sid, subject must be there.
 *
 * Order: malformed is invalid; with a frozen table a hit is revoked and all else undecided; exp +
 * skew <= now is expired; iat > now + skew and lives longer than max_lifetime are invalid; any
 * hit is revoked; then loading, older than the store and stale as the policy says; else valid.
 *
 * A cutoff spares a family born after it; otherwise it hits iat <= cutoff in whole seconds, and
 * every token without iat.
 */
PAWL_HOT struct pawl_token_verdict pawl_token_verdict(const struct pawl_token_view *view,
                                                      const struct pawl_token_claims *claims);

/**
 * The same in two steps, for many tokens at once: prepare all, then finish each; the memory of one
 * loads while the next is hashed. A fact that lands between the two steps may go unseen, so a
 * batch prepares nothing before the revocations that stand ahead of it are in.
 */
PAWL_HOT void pawl_token_prepare(const struct pawl_token_view *view,
                                 const struct pawl_token_claims *claims,
                                 struct pawl_token_probes *probes);
PAWL_HOT struct pawl_token_verdict pawl_token_finish(const struct pawl_token_view *view,
                                                     const struct pawl_token_claims *claims,
                                                     const struct pawl_token_probes *probes);

/**
 * Whether a cutoff at @cutoff_ms hits a token. @birth_ms  its family's birth time, 0: none.
 * @iat_s  ignored unless @has_iat.
 */
bool pawl_cutoff_hits(uint64_t cutoff_ms, uint64_t birth_ms, bool has_iat, int64_t iat_s);

/** The words of the command line and of metrics ("valid", "revoked", ...), never NULL. */
const char *pawl_token_status_name(enum pawl_token_status status);
const char *pawl_token_cause_name(enum pawl_token_cause cause);

#endif
