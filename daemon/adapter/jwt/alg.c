#include "adapter/jwt/alg.h"

#include <string.h>

/* SEC 2, version 2: the orders of secp256r1, secp384r1 and secp521r1. */
static const uint8_t order_p256[32] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
};
static const uint8_t order_p384[48] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
};
static const uint8_t order_p521[66] = {
    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b,
    0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c,
    0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38, 0x64, 0x09,
};

static const struct pawl_jwt_alg_info algs[] = {
    { "HS256", PAWL_JWT_HS256, PAWL_JWT_KIND_HMAC, "SHA256", 32, NULL, NULL, 0, NULL },
    { "HS384", PAWL_JWT_HS384, PAWL_JWT_KIND_HMAC, "SHA384", 48, NULL, NULL, 0, NULL },
    { "HS512", PAWL_JWT_HS512, PAWL_JWT_KIND_HMAC, "SHA512", 64, NULL, NULL, 0, NULL },
    { "RS256", PAWL_JWT_RS256, PAWL_JWT_KIND_RSA, "SHA256", 32, NULL, NULL, 0, NULL },
    { "RS384", PAWL_JWT_RS384, PAWL_JWT_KIND_RSA, "SHA384", 48, NULL, NULL, 0, NULL },
    { "RS512", PAWL_JWT_RS512, PAWL_JWT_KIND_RSA, "SHA512", 64, NULL, NULL, 0, NULL },
    { "PS256", PAWL_JWT_PS256, PAWL_JWT_KIND_PSS, "SHA256", 32, NULL, NULL, 0, NULL },
    { "PS384", PAWL_JWT_PS384, PAWL_JWT_KIND_PSS, "SHA384", 48, NULL, NULL, 0, NULL },
    { "PS512", PAWL_JWT_PS512, PAWL_JWT_KIND_PSS, "SHA512", 64, NULL, NULL, 0, NULL },
    { "ES256", PAWL_JWT_ES256, PAWL_JWT_KIND_EC, "SHA256", 32, "P-256", "prime256v1", 32,
      order_p256 },
    { "ES384", PAWL_JWT_ES384, PAWL_JWT_KIND_EC, "SHA384", 48, "P-384", "secp384r1", 48,
      order_p384 },
    { "ES512", PAWL_JWT_ES512, PAWL_JWT_KIND_EC, "SHA512", 64, "P-521", "secp521r1", 66,
      order_p521 },
    { "EdDSA", PAWL_JWT_EDDSA, PAWL_JWT_KIND_ED, NULL, 0, "Ed25519", NULL, 0, NULL },
};

#define ALG_COUNT (sizeof(algs) / sizeof(algs[0]))

const struct pawl_jwt_alg_info *pawl_jwt_alg_of(unsigned alg)
{
    for (size_t i = 0; i < ALG_COUNT; i++) {
        if (algs[i].alg == alg) {
            return &algs[i];
        }
    }
    return NULL;
}

const struct pawl_jwt_alg_info *pawl_jwt_alg_named(struct pawl_bytes name)
{
    for (size_t i = 0; i < ALG_COUNT; i++) {
        if (strlen(algs[i].name) == name.size && memcmp(algs[i].name, name.data, name.size) == 0) {
            return &algs[i];
        }
    }
    return NULL;
}

const struct pawl_jwt_alg_info *pawl_jwt_alg_of_curve(const char *curve)
{
    for (size_t i = 0; i < ALG_COUNT; i++) {
        if (algs[i].curve != NULL && strcmp(algs[i].curve, curve) == 0) {
            return &algs[i];
        }
    }
    return NULL;
}
