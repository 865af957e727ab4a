/*
 * Verified tokens, as the edge sees them: whose signature is right, and what the token says.
 * Revocation and lifetime are judged afterwards, by core/verdict.h.
 *
 * Each worker opens a verifier of its own: it holds the worker's cache of verified tokens, and no
 * lock is taken per token. Keys are replaced as a whole by whoever made this object; a verifier
 * picks the new set up at its next token, and its cache forgets what an old key has vouched for.
 */
#ifndef PAWL_PORT_JWT_H
#define PAWL_PORT_JWT_H

#include "core/status.h"
#include "core/types.h"
#include "port/stats.h"

#define PAWL_JWT_BYTES_MAX 8192 /* a whole token; the wire's cap is the same */

/**
 * Why a token is refused: a closed list, the words of the wire's TokenVerdict.detail. All but OK,
 * NO_KEYS and KEY_REVOKED make the token `invalid`; EXPIRED and NOT_YET_VALID are judged by the
 * core.
 */
#define PAWL_JWT_REASON_MAP(X)                                                                \
    X(OK, "none")                                                                             \
    X(NO_KEYS, "no_keys")         /* no issuer is configured: undecided */                    \
    X(KEY_REVOKED, "key_revoked") /* its key is in state revoked: revoked */                  \
    X(TOO_BIG, "too_big")         /* over 8 KiB */                                            \
    X(PARTS, "parts")             /* not three parts, or an empty one: also a stripped MAC */ \
    X(BASE64, "base64")           /* not canonical base64url: padding, other alphabet, stray  \
                                     bits in the last character */                            \
    X(JSON, "json")               /* header or payload is no JSON object within the caps */   \
    X(DUPLICATE, "duplicate")     /* a member stands twice */                                 \
    X(CRIT, "crit")               /* crit is there: no extension is understood here */        \
    X(ALG_MISSING, "alg_missing")                                                             \
    X(ALG_NONE, "alg_none") /* "none" in any case */                                          \
    X(ALG_UNKNOWN, "alg_unknown")                                                             \
    X(TYPE, "type")               /* typ or token_type is not the one that is wanted */       \
    X(ISSUER, "issuer")           /* iss is not configured, or not the one asked for */       \
    X(KEY_UNKNOWN, "key_unknown") /* no key of this issuer has this kid */                    \
    X(KEY_PENDING, "key_pending")                                                             \
    X(ALG_MISMATCH, "alg_mismatch") /* the header's alg is not its key's */                   \
    X(SIGNATURE, "signature")       /* wrong, of a wrong length, or not in its one form */    \
    X(HIGH_S, "high_s")             /* right, but ECDSA's form that is refused here */        \
    X(CLAIM, "claim")               /* a claim of a wrong JSON type, or beyond its cap */     \
    X(EXP_MISSING, "exp_missing")                                                             \
    X(NOT_BEFORE, "not_yet_valid") /* nbf lies ahead of now + skew */                         \
    X(AUDIENCE, "audience")                                                                   \
    X(INTERNAL, "internal") /* no memory, or the library failed: undecided */

enum pawl_jwt_reason {
#define X(name, text) PAWL_JWT_##name,
    PAWL_JWT_REASON_MAP(X)
#undef X
};

/** The word of @reason; never NULL. */
static inline const char *pawl_jwt_reason_text(enum pawl_jwt_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) text,
        PAWL_JWT_REASON_MAP(X)
#undef X
    };

    return (size_t)reason < sizeof(texts) / sizeof(texts[0]) ? texts[reason] : "internal";
}

/** A token and what the caller wants of it; lent for the call. */
struct pawl_jwt_request {
    struct pawl_bytes raw;
    struct pawl_bytes issuer;   /* wanted; empty: any that is configured */
    struct pawl_bytes audience; /* wanted in aud, in place of the configured ones; empty: those */
    struct pawl_bytes type;     /* wanted as token_type or typ, in place of the configured */
    struct pawl_wall now;
    uint64_t skew_s;
    bool signature_only; /* revoking: nbf, aud, type and ECDSA's form are not looked at */
};

/** What a verified token says. Bytes lie in the verifier until its next call. */
struct pawl_jwt_claims {
    struct pawl_bytes issuer; /* empty: it names none */
    struct pawl_bytes jti;
    struct pawl_bytes subject; /* a number as its decimal text */
    struct pawl_bytes client;
    struct pawl_bytes kid;
    struct pawl_bytes sid;
    struct pawl_bytes audience; /* the one that matched, or the first */
    struct pawl_bytes type;     /* token_type, else the header's typ */
    struct pawl_bytes scope;    /* OAuth: as it stands */
    int64_t exp_s;
    int64_t iat_s;       /* with has_iat */
    uint64_t generation; /* with has_generation: the gen claim */
    bool has_iat;
    bool has_generation;
    bool cached;               /* the signature was verified before */
    uint8_t signed_sha256[32]; /* of header.payload: the token's identity where jti is empty */
};

/** Implemented by adapter/jwt. */
struct pawl_jwt_ops {
    /** A verifier for one thread; NULL = no memory. */
    void *(*open)(void *self);
    void (*close)(void *verifier);
    /** @claims is filled for OK and KEY_REVOKED alone. */
    enum pawl_jwt_reason (*verify)(void *verifier, const struct pawl_jwt_request *request,
                                   struct pawl_jwt_claims *claims);
    /** How many issuers are configured; the only one's name in @issuer (lent until the next
     * replacement of keys) where it is 1. Any thread. */
    unsigned (*issuers)(void *self, struct pawl_bytes *issuer);
    void (*stats)(void *self, const struct pawl_stats_sink *sink);
};

struct pawl_jwt {
    const struct pawl_jwt_ops *ops; /* NULL: pawld verifies nothing */
    void *self;
};

#endif
