/* What a key must be before a token is held against it, and the reading of PEM files. */
#include "adapter/jwt/keys.h"
#include "adapter/jwt/mint.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

/* ---- public keys --------------------------------------------------------------------------- */

static enum pawl_status check_rsa(EVP_PKEY *key, const struct pawl_jwt_alg_info *alg,
                                  const char *name, struct pawl_error *error)
{
    int bits = EVP_PKEY_get_bits(key);
    BIGNUM *exponent = NULL;

    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s: %s wants an RSA key, and this is %s",
                              name, alg->name, EVP_PKEY_get0_type_name(key));
    }
    if (bits < PAWL_JWT_RSA_BITS_MIN || bits > PAWL_JWT_RSA_BITS_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s: RSA of %d bits: %d to %d are taken (RFC 7518 section 3.3); "
                              "make a new key",
                              name, bits, PAWL_JWT_RSA_BITS_MIN, PAWL_JWT_RSA_BITS_MAX);
    }
    bool good = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
                BN_is_odd(exponent) && BN_num_bits(exponent) <= 64 &&
                BN_get_word(exponent) >= PAWL_JWT_RSA_EXPONENT_MIN;

    BN_free(exponent);
    return good
               ? PAWL_OK
               : pawl_error_set(error, PAWL_EINVAL, 0,
                                "%s: the exponent of this RSA key is none that is taken (odd, from "
                                "%d to 64 bits); make a new key with 65537",
                                name, PAWL_JWT_RSA_EXPONENT_MIN);
}

/* A key that brings its own curve could be made to fit any signature (CVE-2020-0601). */
static enum pawl_status check_ec(EVP_PKEY *key, const struct pawl_jwt_alg_info *alg,
                                 const char *name, struct pawl_error *error)
{
    char group[64] = "";
    int is_explicit = 0;

    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s: %s wants an EC key on %s, and this is %s",
                              name, alg->name, alg->curve, EVP_PKEY_get0_type_name(key));
    }
    (void)EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                 &is_explicit);
    if (is_explicit != 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s: the key spells its curve out: write it with a named curve",
                              name);
    }
    (void)EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
    if (strcmp(group, alg->group) != 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s: %s wants a key on %s, and this one is on %s", name, alg->name,
                              alg->curve, group[0] != '\0' ? group : "no curve that is known");
    }
    return PAWL_OK;
}

/* The y of the points of small order, both signs: for such a key anybody can sign something. */
static bool is_weak_point(const uint8_t point[PAWL_JWT_ED25519_BYTES])
{
    static const uint8_t weak[][PAWL_JWT_ED25519_BYTES] = {
        { 0 },
        { 1 },
        { 0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
          0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
          0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05 },
        { 0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
          0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
          0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a },
        { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
        { 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
        { 0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
    };
    uint8_t y[PAWL_JWT_ED25519_BYTES];

    memcpy(y, point, sizeof(y));
    y[sizeof(y) - 1] &= 0x7f;
    for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
        if (memcmp(y, weak[i], sizeof(y)) == 0) {
            return true;
        }
    }
    return false;
}

static enum pawl_status check_ed(EVP_PKEY *key, const char *name, struct pawl_error *error)
{
    uint8_t point[PAWL_JWT_ED25519_BYTES];
    size_t size = sizeof(point);

    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s: EdDSA wants an Ed25519 key, and this is %s", name,
                              EVP_PKEY_get0_type_name(key));
    }
    if (EVP_PKEY_get_raw_public_key(key, point, &size) != 1 || size != sizeof(point) ||
        is_weak_point(point)) {
        return pawl_error_set(
            error, PAWL_EINVAL, 0,
            "%s: a point of small order: anybody could sign for it; make a new key", name);
    }
    return PAWL_OK;
}

static enum pawl_status check_kind(EVP_PKEY *key, const struct pawl_jwt_alg_info *alg,
                                   const char *name, struct pawl_error *error)
{
    switch (alg->kind) {
    case PAWL_JWT_KIND_RSA:
    case PAWL_JWT_KIND_PSS:
        return check_rsa(key, alg, name, error);
    case PAWL_JWT_KIND_EC:
        return check_ec(key, alg, name, error);
    case PAWL_JWT_KIND_ED:
        return check_ed(key, name, error);
    default:
        return pawl_error_set(
            error, PAWL_EINVAL, 0,
            "%s: %s is checked with a secret (secret_file), not with a public key", name,
            alg->name);
    }
}

enum pawl_status pawl_jwt_check_public(EVP_PKEY *key, const struct pawl_jwt_alg_info *alg,
                                       const char *name, struct pawl_error *error)
{
    enum pawl_status status = check_kind(key, alg, name, error);

    if (status != PAWL_OK) {
        return status;
    }
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    if (context == NULL) {
        ERR_clear_error();
        return pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", name);
    }
    bool good = EVP_PKEY_public_check(context) == 1;

    EVP_PKEY_CTX_free(context);
    ERR_clear_error();
    return good ? PAWL_OK
                : pawl_error_set(
                      error, PAWL_EINVAL, 0,
                      "%s: OpenSSL finds this public key wrong in itself (a point off its "
                      "curve, a modulus with small factors): get it anew from the issuer",
                      name);
}

/* ---- secrets ------------------------------------------------------------------------------- */

static bool begins_with(struct pawl_bytes bytes, const char *text)
{
    size_t size = strlen(text);

    return bytes.size >= size && memcmp(bytes.data, text, size) == 0;
}

/* The public half of a key pair is known to all: as a secret it lets anybody sign (RFC 8725
 * section 3.1). */
static const char *other_key(struct pawl_bytes secret)
{
    const unsigned char *at = secret.data;

    if (memmem(secret.data, secret.size, "-----BEGIN", 10) != NULL) {
        return "a PEM file";
    }
    if (begins_with(secret, "ssh-") || begins_with(secret, "ecdsa-sha2-")) {
        return "an SSH public key";
    }
    if (begins_with(secret, "{") && memmem(secret.data, secret.size, "\"kty\"", 5) != NULL) {
        return "a JWK (put it into a jwks_file)";
    }
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)secret.size);

    EVP_PKEY_free(key);
    ERR_clear_error();
    return key != NULL ? "a DER public key" : NULL;
}

enum pawl_status pawl_jwt_check_secret(struct pawl_bytes secret,
                                       const struct pawl_jwt_alg_info *alg, const char *name,
                                       struct pawl_error *error)
{
    if (alg->kind != PAWL_JWT_KIND_HMAC) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s: %s is checked with a public key (file), not with a secret", name,
                              alg->name);
    }
    const char *what = secret.size == 0 ? NULL : other_key(secret);

    if (what != NULL) {
        return pawl_error_set(
            error, PAWL_EINVAL, 0,
            "%s: is %s, and must not be the secret of %s: give the key pair's own "
            "alg, or make a secret: openssl rand -hex %u",
            name, what, alg->name, alg->digest_bytes);
    }
    if (secret.size < alg->digest_bytes) {
        return pawl_error_set(
            error, PAWL_EINVAL, 0,
            "%s: a secret of %zu bytes: %s wants %u or more (RFC 7518 section 3.2); "
            "openssl rand -hex %u makes one",
            name, secret.size, alg->name, alg->digest_bytes, alg->digest_bytes);
    }
    if (secret.size > PAWL_JWT_SECRET_MAX) {
        return pawl_error_set(error, PAWL_ETOOBIG, 0, "%s: a secret of %zu bytes: at most %d", name,
                              secret.size, PAWL_JWT_SECRET_MAX);
    }
    return PAWL_OK;
}

struct pawl_bytes pawl_jwt_secret_trim(struct pawl_bytes file)
{
    size_t size = file.size;

    if (size > 0 && file.data[size - 1] == '\n') {
        size--;
        if (size > 0 && file.data[size - 1] == '\r') {
            size--;
        }
    }
    for (size_t i = 0; i < size; i++) {
        if (file.data[i] < 0x20 || file.data[i] > 0x7e) {
            return file; /* binary: its last byte may happen to be a newline */
        }
    }
    return pawl_bytes_of(file.data, size);
}

/* ---- PEM ----------------------------------------------------------------------------------- */

static bool holds(struct pawl_bytes text, const char *what)
{
    return memmem(text.data, text.size, what, strlen(what)) != NULL;
}

static const char *hint_of(struct pawl_bytes pem)
{
    if (holds(pem, "PRIVATE KEY-----")) {
        return "holds a private key, which pawld must not have: give it the public part, openssl "
               "pkey -in KEY -pubout";
    }
    if (holds(pem, "BEGIN CERTIFICATE-----")) {
        return "is a certificate: give the key in it, openssl x509 -in CERT -pubkey -noout";
    }
    if (holds(pem, "BEGIN RSA PUBLIC KEY-----")) {
        return "is in the old PKCS #1 form: openssl rsa -RSAPublicKey_in -in KEY -pubout";
    }
    return holds(pem, "-----BEGIN PUBLIC KEY-----")
               ? NULL
               : "is no PEM public key (-----BEGIN PUBLIC KEY-----)";
}

enum pawl_status pawl_jwt_read_pem(struct pawl_bytes pem, const struct pawl_jwt_alg_info *alg,
                                   const char *name, EVP_PKEY **out, struct pawl_error *error)
{
    const char *hint = hint_of(pem);
    const uint8_t *first = memmem(pem.data, pem.size, "-----BEGIN", 10);

    *out = NULL;
    if (hint != NULL) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s %s", name, hint);
    }
    size_t left = pem.size - (size_t)(first + 1 - pem.data);

    if (memmem(first + 1, left, "-----BEGIN", 10) != NULL) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s holds more than one key: one file for each", name);
    }
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    bool no_memory = bio == NULL || ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;

    BIO_free(bio);
    ERR_clear_error();
    if (key == NULL) {
        return no_memory ? pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", name)
                         : pawl_error_set(error, PAWL_EINVAL, 0,
                                          "%s: OpenSSL cannot read the PEM public key in it", name);
    }
    enum pawl_status status = pawl_jwt_check_public(key, alg, name, error);

    if (status != PAWL_OK) {
        EVP_PKEY_free(key);
        return status;
    }
    *out = key;
    return PAWL_OK;
}
