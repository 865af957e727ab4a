/*
 * The algorithms of RFC 7518 section 3.1 and RFC 8037 that tokens may be signed with, and what
 * each one demands of its key and its signature. Constant tables; any thread.
 */
#ifndef PAWL_ADAPTER_JWT_ALG_H
#define PAWL_ADAPTER_JWT_ALG_H

#include "core/types.h"
#include "ops/settings.h"

enum pawl_jwt_kind {
    PAWL_JWT_KIND_HMAC = 1,
    PAWL_JWT_KIND_RSA, /* PKCS #1 v1.5 */
    PAWL_JWT_KIND_PSS,
    PAWL_JWT_KIND_EC,
    PAWL_JWT_KIND_ED,
};

#define PAWL_JWT_RSA_BITS_MIN     2048
#define PAWL_JWT_RSA_BITS_MAX     8192
#define PAWL_JWT_RSA_EXPONENT_MIN 65537
#define PAWL_JWT_SIGNATURE_MAX    (PAWL_JWT_RSA_BITS_MAX / 8)
#define PAWL_JWT_DIGEST_MAX       64
#define PAWL_JWT_ED25519_BYTES    32

struct pawl_jwt_alg_info {
    const char *name; /* as in the header, exactly */
    enum pawl_jwt_alg alg;
    enum pawl_jwt_kind kind;
    const char *digest; /* of OpenSSL; NULL: the algorithm hashes by itself */
    unsigned digest_bytes;
    const char *curve;         /* JWK's crv; NULL: none */
    const char *group;         /* OpenSSL's name of it */
    unsigned coordinate_bytes; /* half of an ES signature */
    const uint8_t *order;      /* n of the curve, as many bytes */
};

/** NULL for what is no algorithm. */
const struct pawl_jwt_alg_info *pawl_jwt_alg_of(unsigned alg);

/** By exact name; NULL when it is not known. */
const struct pawl_jwt_alg_info *pawl_jwt_alg_named(struct pawl_bytes name);

/** The one that belongs to a JWK curve; NULL when it is not known. */
const struct pawl_jwt_alg_info *pawl_jwt_alg_of_curve(const char *curve);

#endif
