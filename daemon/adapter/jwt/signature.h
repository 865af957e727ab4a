/*
 * Whether a signature is right, by the one key that (issuer, kid) chose and that key's one
 * algorithm. Public keys by OpenSSL, HMAC by hmac.h.
 *
 * Keys are parsed once, in their set; what OpenSSL prepares for one of them is made at its first
 * token and kept here, per thread. Digests are fetched once. One thread for each object.
 */
#ifndef PAWL_ADAPTER_JWT_SIGNATURE_H
#define PAWL_ADAPTER_JWT_SIGNATURE_H

#include "adapter/jwt/claims.h"
#include "adapter/jwt/jws.h"
#include "adapter/jwt/keys.h"

struct pawl_signatures; /* private */

/** NULL: no memory. */
struct pawl_signatures *pawl_signatures_create(void);
void pawl_signatures_destroy(struct pawl_signatures *signatures); /* NULL is allowed */

/** From now on keys are those of @keys, which has to outlive the next call of this. False: no
 * memory, and nothing verifies until it succeeds. NULL: of none. */
PAWL_MUST_USE bool pawl_signatures_use(struct pawl_signatures *signatures,
                                       const struct pawl_jwt_keys *keys);

/** SHA-256 of @data. False: the library failed. */
PAWL_MUST_USE bool pawl_signatures_hash(struct pawl_signatures *signatures, struct pawl_bytes data,
                                        uint8_t sha256[32]);

/**
 * @key     one of the set in use; its algorithm was compared with the header's.
 * @raw     the whole token, taken apart into @jws; @record: its header was read, and signed_sha256
 *          is filled.
 * OK, SIGNATURE or INTERNAL.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_signatures_verify(struct pawl_signatures *signatures,
                                                          const struct pawl_jwt_key *key,
                                                          struct pawl_bytes raw,
                                                          const struct pawl_jws *jws,
                                                          const struct pawl_jwt_record *record);

#define PAWL_ES_COORDINATE_MAX 66 /* P-521 */
#define PAWL_ES_DER_MAX        (3 + 2 * (2 + 1 + PAWL_ES_COORDINATE_MAX))

/**
 * An ES signature, r and s of exactly the curve's size each (RFC 7518 section 3.4), as DER, which
 * OpenSSL wants. Returns its bytes; 0: another size, or r or s not within [1, n-1].
 */
size_t pawl_es_to_der(const struct pawl_jwt_alg_info *alg, struct pawl_bytes raw,
                      uint8_t der[PAWL_ES_DER_MAX]);

/**
 * Whether s of an ES signature lies above half the curve's order n. Whoever holds one signature
 * makes the other one of the same text, with n - s, without the key; exactly one of them is low.
 *
 * @raw  one that pawl_es_to_der() takes.
 */
bool pawl_es_is_high(const struct pawl_jwt_alg_info *alg, struct pawl_bytes raw);

#endif
