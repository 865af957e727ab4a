/*
 * Verifying one token after the other (port/jwt.h), in this order, the first no is the reason:
 *
 *   no_keys, too_big                        what is configured, and the length
 *   (the cache: all below up to exp_missing was answered before, for the same bytes)
 *   parts, base64                           jws.h
 *   json, duplicate                         of the header
 *   crit, alg_missing, alg_none, alg_unknown, claim (kid, typ)
 *   json, duplicate                         of the payload
 *   claim (iss), issuer                     unknown, or not the one asked for
 *   key_unknown, key_pending, alg_mismatch  the key by (issuer, kid); no other one is tried
 *   signature
 *   claim, exp_missing                      believed from here on
 *   (not cached, each time:)
 *   issuer                                  not the one asked for
 *   key_revoked
 *   high_s, type, not_yet_valid, audience           unless the request is about the signature alone
 *
 * `internal` may take the place of any of them where memory or a library fails. An expired token
 * is `none` like a good one: the core judges exp, revocation first.
 */
#ifndef PAWL_ADAPTER_JWT_VERIFIER_H
#define PAWL_ADAPTER_JWT_VERIFIER_H

#include "adapter/jwt/cache.h"
#include "adapter/jwt/json.h"
#include "adapter/jwt/jws.h"
#include "adapter/jwt/keys.h"
#include "adapter/jwt/signature.h"

#include <stdatomic.h>

#define PAWL_JWT_REASON_COUNT (PAWL_JWT_INTERNAL + 1)

/** Written by the verifier's thread alone, read by any. */
struct pawl_jwt_figures {
    _Atomic uint64_t answered[PAWL_JWT_REASON_COUNT]; /* [0]: good ones */
    _Atomic uint64_t cache_hits;
    _Atomic uint64_t cache_entries;
    _Atomic uint64_t cache_evicted;
    _Atomic uint64_t cache_too_big;
};

/** One thread's; the keyring gives it the keys. */
struct pawl_jwt_verifier {
    struct pawl_jwt_figures figures;
    struct pawl_jwt_keys *keys; /* a reference; NULL: `internal` */
    struct pawl_signatures *signatures;
    struct pawl_jwt_cache cache;
    uint64_t cache_max; /* what the cache was made for */
    struct pawl_jwt_record record;
    struct pawl_json json;
    uint8_t buffer[PAWL_JWS_DECODED_MAX];

    /* ---- the keyring's ---- */
    struct pawl_jwt_keyring *keyring;
    struct pawl_jwt_verifier *next, *previous;
};

/** All zero is a verifier without keys. */
void pawl_jwt_verifier_deinit(struct pawl_jwt_verifier *verifier);

/** Take @keys, a reference that is the verifier's from then on, in place of the ones it has; what
 * these vouched for is forgotten. Without memory it has no keys then: `internal`. */
void pawl_jwt_verifier_use(struct pawl_jwt_verifier *verifier, struct pawl_jwt_keys *keys);

/** As port/jwt.h: verify. */
enum pawl_jwt_reason pawl_jwt_verifier_verify(struct pawl_jwt_verifier *verifier,
                                              const struct pawl_jwt_request *request,
                                              struct pawl_jwt_claims *claims);

#endif
