#include "adapter/jwt/signature.h"

#include "adapter/jwt/hmac.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_PROBE 65536 /* more than a verification takes */

struct pawl_signatures {
    EVP_MD *sha256, *sha384, *sha512;
    EVP_MD_CTX *whole, *part; /* reused for each token */
    EVP_MD_CTX *ed;
    struct pawl_hmac *hmac;
    EVP_PKEY_CTX **contexts; /* one for each key of the set in use, made when first needed */
    unsigned context_count;
};

struct pawl_signatures *pawl_signatures_create(void)
{
    struct pawl_signatures *signatures = calloc(1, sizeof(*signatures));

    if (signatures == NULL) {
        return NULL;
    }
    signatures->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    signatures->sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
    signatures->sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
    signatures->whole = EVP_MD_CTX_new();
    signatures->part = EVP_MD_CTX_new();
    signatures->ed = EVP_MD_CTX_new();
    signatures->hmac = pawl_hmac_create();
    if (signatures->sha256 == NULL || signatures->sha384 == NULL || signatures->sha512 == NULL ||
        signatures->whole == NULL || signatures->part == NULL || signatures->ed == NULL ||
        signatures->hmac == NULL) {
        ERR_clear_error();
        pawl_signatures_destroy(signatures);
        return NULL;
    }
    return signatures;
}

static void forget(struct pawl_signatures *signatures)
{
    for (unsigned i = 0; i < signatures->context_count; i++) {
        EVP_PKEY_CTX_free(signatures->contexts[i]);
    }
    free(signatures->contexts);
    signatures->contexts = NULL;
    signatures->context_count = 0;
    (void)EVP_MD_CTX_reset(signatures->ed);
}

void pawl_signatures_destroy(struct pawl_signatures *signatures)
{
    if (signatures == NULL) {
        return;
    }
    if (signatures->ed != NULL) {
        forget(signatures);
    }
    pawl_hmac_destroy(signatures->hmac);
    EVP_MD_CTX_free(signatures->whole);
    EVP_MD_CTX_free(signatures->part);
    EVP_MD_CTX_free(signatures->ed);
    EVP_MD_free(signatures->sha256);
    EVP_MD_free(signatures->sha384);
    EVP_MD_free(signatures->sha512);
    free(signatures);
}

bool pawl_signatures_use(struct pawl_signatures *signatures, const struct pawl_jwt_keys *keys)
{
    forget(signatures);
    if (keys == NULL || keys->key_count == 0) {
        return true;
    }
    signatures->contexts = calloc(keys->key_count, sizeof(EVP_PKEY_CTX *));
    signatures->context_count = signatures->contexts == NULL ? 0 : keys->key_count;
    return signatures->contexts != NULL;
}

bool pawl_signatures_hash(struct pawl_signatures *signatures, struct pawl_bytes data,
                          uint8_t sha256[32])
{
    bool good = EVP_DigestInit_ex2(signatures->whole, signatures->sha256, NULL) == 1 &&
                EVP_DigestUpdate(signatures->whole, data.data, data.size) == 1 &&
                EVP_DigestFinal_ex(signatures->whole, sha256, NULL) == 1;

    if (!good) {
        ERR_clear_error();
    }
    return good;
}

/* ---- ES: r and s ----------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *number, unsigned size)
{
    uint8_t any = 0;

    for (unsigned i = 0; i < size; i++) {
        any |= number[i];
    }
    return any == 0;
}

/* DER's INTEGER: no needless zeros, and one before a set top bit. */
static size_t put_integer(uint8_t *out, const uint8_t *number, unsigned size)
{
    while (size > 1 && number[0] == 0) {
        number++;
        size--;
    }
    unsigned pad = number[0] >> 7;

    out[0] = 0x02;
    out[1] = (uint8_t)(size + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, number, size);
    return 2 + pad + size;
}

size_t pawl_es_to_der(const struct pawl_jwt_alg_info *alg, struct pawl_bytes raw,
                      uint8_t der[PAWL_ES_DER_MAX])
{
    unsigned half = alg->coordinate_bytes;
    uint8_t body[PAWL_ES_DER_MAX];
    size_t size;

    if (raw.size != 2 * (size_t)half) {
        return 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *number = raw.data + (size_t)i * half;

        if (is_zero(number, half) || memcmp(number, alg->order, half) >= 0) {
            return 0;
        }
    }
    size = put_integer(body, raw.data, half);
    size += put_integer(body + size, raw.data + half, half);
    der[0] = 0x30;
    if (size < 0x80) {
        der[1] = (uint8_t)size;
        memcpy(der + 2, body, size);
        return size + 2;
    }
    der[1] = 0x81; /* P-521 alone */
    der[2] = (uint8_t)size;
    memcpy(der + 3, body, size);
    return size + 3;
}

bool pawl_es_is_high(const struct pawl_jwt_alg_info *alg, struct pawl_bytes raw)
{
    unsigned half = alg->coordinate_bytes;
    uint8_t middle[PAWL_ES_COORDINATE_MAX] = { 0 };
    uint8_t carry = 0;

    for (unsigned i = 0; i < half; i++) { /* n is odd: s and n - s lie on different sides of it */
        middle[i] = (uint8_t)(alg->order[i] >> 1 | carry);
        carry = (uint8_t)(alg->order[i] << 7);
    }
    return raw.size == 2 * (size_t)half && memcmp(raw.data + half, middle, half) > 0;
}

/* ---- OpenSSL --------------------------------------------------------------------------------- */

static EVP_MD *digest_of(const struct pawl_signatures *signatures,
                         const struct pawl_jwt_alg_info *alg)
{
    return alg->digest_bytes == 32   ? signatures->sha256
           : alg->digest_bytes == 48 ? signatures->sha384
                                     : signatures->sha512;
}

/* RFC 7518 section 3.5: the salt is as long as the hash, which is MGF1's as well. */
static bool set_up(EVP_PKEY_CTX *context, const struct pawl_jwt_alg_info *alg, const EVP_MD *digest)
{
    if (EVP_PKEY_verify_init(context) != 1 || EVP_PKEY_CTX_set_signature_md(context, digest) != 1) {
        return false;
    }
    if (alg->kind == PAWL_JWT_KIND_RSA) {
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    }
    return alg->kind != PAWL_JWT_KIND_PSS ||
           (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static EVP_PKEY_CTX *context_of(struct pawl_signatures *signatures, const struct pawl_jwt_key *key)
{
    if (key->index >= signatures->context_count) {
        return NULL;
    }
    EVP_PKEY_CTX **place = &signatures->contexts[key->index];

    if (*place == NULL) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->public_key, NULL);

        if (context == NULL || !set_up(context, key->alg, digest_of(signatures, key->alg))) {
            EVP_PKEY_CTX_free(context);
            return NULL;
        }
        *place = context;
    }
    return *place;
}

/* Not every door of OpenSSL says that memory ran out; it is asked for here. */
static bool is_memory_left(void)
{
    void *volatile probe = malloc(MEMORY_PROBE);
    bool left = probe != NULL;

    free(probe);
    return left;
}

/* 1 is yes. Everything else is no, unless memory ran out: that is not known. Nothing that a token
 * can bring about may be taken for that. */
static enum pawl_jwt_reason reason_of(int result)
{
    bool no_memory = false;

    if (result == 1) {
        return PAWL_JWT_OK;
    }
    for (unsigned long code = ERR_get_error(); code != 0; code = ERR_get_error()) {
        no_memory = no_memory || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    }
    return no_memory || !is_memory_left() ? PAWL_JWT_INTERNAL : PAWL_JWT_SIGNATURE;
}

static enum pawl_jwt_reason by_digest(struct pawl_signatures *signatures,
                                      const struct pawl_jwt_key *key, const struct pawl_jws *jws,
                                      const uint8_t sha256[32])
{
    struct pawl_bytes signature = jws->signature;
    uint8_t der[PAWL_ES_DER_MAX];
    uint8_t other[PAWL_JWT_DIGEST_MAX];
    const uint8_t *digest = sha256; /* the token's identity was hashed anyway */

    if (key->alg->kind == PAWL_JWT_KIND_EC) {
        signature = pawl_bytes_of(der, pawl_es_to_der(key->alg, signature, der));
        if (signature.size == 0) {
            return PAWL_JWT_SIGNATURE;
        }
    } else if (signature.size != (size_t)EVP_PKEY_get_size(key->public_key)) {
        return PAWL_JWT_SIGNATURE; /* RFC 8017 section 8.2.2: k octets, no more and no less */
    }
    EVP_PKEY_CTX *context = context_of(signatures, key);

    if (key->alg->digest_bytes != 32) {
        digest = other;
        if (EVP_DigestInit_ex2(signatures->part, digest_of(signatures, key->alg), NULL) != 1 ||
            EVP_DigestUpdate(signatures->part, jws->signed_part.data, jws->signed_part.size) != 1 ||
            EVP_DigestFinal_ex(signatures->part, other, NULL) != 1) {
            context = NULL;
        }
    }
    if (context == NULL) {
        ERR_clear_error();
        return PAWL_JWT_INTERNAL;
    }
    int result =
        EVP_PKEY_verify(context, signature.data, signature.size, digest, key->alg->digest_bytes);

    if (result < 0 && key->alg->kind == PAWL_JWT_KIND_EC) {
        ERR_clear_error(); /* not a no: of the DER made above nothing but a failure brings this */
        return PAWL_JWT_INTERNAL;
    }
    return reason_of(result);
}

/* RFC 8032: over the text itself. OpenSSL refuses an S that is not below the group's order. */
static enum pawl_jwt_reason by_ed25519(struct pawl_signatures *signatures,
                                       const struct pawl_jwt_key *key, const struct pawl_jws *jws)
{
    if (jws->signature.size != 2 * (size_t)PAWL_JWT_ED25519_BYTES) {
        return PAWL_JWT_SIGNATURE;
    }
    if (EVP_MD_CTX_reset(signatures->ed) != 1 ||
        EVP_DigestVerifyInit(signatures->ed, NULL, NULL, NULL, key->public_key) != 1) {
        ERR_clear_error();
        return PAWL_JWT_INTERNAL;
    }
    return reason_of(EVP_DigestVerify(signatures->ed, jws->signature.data, jws->signature.size,
                                      jws->signed_part.data, jws->signed_part.size));
}

static enum pawl_jwt_reason by_public_key(struct pawl_signatures *signatures,
                                          const struct pawl_jwt_key *key,
                                          const struct pawl_jws *jws,
                                          const struct pawl_jwt_record *record)
{
    return key->alg->kind == PAWL_JWT_KIND_ED
               ? by_ed25519(signatures, key, jws)
               : by_digest(signatures, key, jws, record->signed_sha256);
}

enum pawl_jwt_reason pawl_signatures_verify(struct pawl_signatures *signatures,
                                            const struct pawl_jwt_key *key, struct pawl_bytes raw,
                                            const struct pawl_jws *jws,
                                            const struct pawl_jwt_record *record)
{
    ERR_clear_error();
    if (key->alg->kind == PAWL_JWT_KIND_HMAC) {
        return pawl_hmac_verify(signatures->hmac, key, raw, jws, record);
    }
    enum pawl_jwt_reason reason = by_public_key(signatures, key, jws, record);

    /* For PSS and Ed25519 OpenSSL calls a single allocation that failed a wrong signature. */
    if (reason == PAWL_JWT_SIGNATURE &&
        (key->alg->kind == PAWL_JWT_KIND_PSS || key->alg->kind == PAWL_JWT_KIND_ED)) {
        reason = by_public_key(signatures, key, jws, record);
    }
    return reason;
}
