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

#define PAWL_ES_DER_MAX (3 + 2 * (2 + 1 + 66))

/**
 * An ES signature, r and s of exactly the curve's size each (RFC 7518 section 3.4), as DER, which
 * OpenSSL wants. Returns its bytes; 0: another size, or r or s not within [1, n-1].
 */
size_t pawl_es_to_der(const struct pawl_jwt_alg_info *alg, struct pawl_bytes raw,
                      uint8_t der[PAWL_ES_DER_MAX]);

#endif
