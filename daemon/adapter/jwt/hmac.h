/*
 * HMAC tokens: two readers have to agree. libjwt says whether the MAC is right, and so
 * does OpenSSL, in constant time; a token passes only if both say yes.
 *
 * libjwt 1.10 does not look at tokens whose typ is there and is not "JWT" (RFC 9068: "at+jwt"); for
 * those OpenSSL decides alone. Nothing reaches either before the strict reading of jws.h, and the
 * secret is the one of the key that (issuer, kid) chose. One thread for each object.
 */
#ifndef PAWL_ADAPTER_JWT_HMAC_H
#define PAWL_ADAPTER_JWT_HMAC_H

#include "adapter/jwt/claims.h"
#include "adapter/jwt/jws.h"
#include "adapter/jwt/keys.h"

struct pawl_hmac; /* private */

/**
 * Whether the libjwt at hand compares MACs in constant time: the fix of CVE-2024-25189 exports
 * jwt_strcmp. Where it does not, HS keys are refused when they are loaded.
 */
bool pawl_hmac_is_safe(void);

/** NULL: no memory. */
struct pawl_hmac *pawl_hmac_create(void);
void pawl_hmac_destroy(struct pawl_hmac *hmac); /* NULL is allowed */

/**
 * @raw     the whole token, of at most PAWL_JWT_BYTES_MAX, taken apart into @jws.
 * @record  its header, read.
 * OK, SIGNATURE, or INTERNAL (no memory, or the two readers disagree).
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_hmac_verify(struct pawl_hmac *hmac,
                                                    const struct pawl_jwt_key *key,
                                                    struct pawl_bytes raw,
                                                    const struct pawl_jws *jws,
                                                    const struct pawl_jwt_record *record);

#endif
