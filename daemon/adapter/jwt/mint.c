#include "adapter/jwt/mint.h"

#include "adapter/jwt/base64url.h"
#include "adapter/jwt/json.h"
#include "adapter/jwt/key_json.h"
#include "adapter/jwt/keys.h"
#include "core/keyhash.h"

#include <jwt.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

static const struct pawl_json_caps caps = { PAWL_JWT_DEPTH_MAX, PAWL_JWT_MEMBERS_MAX,
                                            PAWL_JWT_VALUES_MAX };

static const char *typ_of(const struct pawl_jwt_mint *mint)
{
    return mint->typ == NULL ? "JWT" : mint->typ;
}

static bool has_kid(const struct pawl_jwt_mint *mint)
{
    return mint->kid != NULL && mint->kid[0] != '\0';
}

static enum pawl_status no_memory(struct pawl_error *error)
{
    return pawl_error_set(error, PAWL_ENOMEM, 0, "token: out of memory");
}

/* ---- libjwt: HS, RS -------------------------------------------------------------------------- */

/* PEM texts are read up to a 0, which a view has not. */
static uint8_t *key_copy(struct pawl_bytes key)
{
    uint8_t *copy = malloc(key.size + 1);

    if (copy != NULL) {
        memcpy(copy, key.data, key.size);
        copy[key.size] = 0;
    }
    return copy;
}

static bool fill_libjwt(jwt_t *token, const struct pawl_jwt_mint *mint, const char *claims,
                        const uint8_t *key)
{
    jwt_alg_t alg = jwt_str_alg(mint->alg);

    return jwt_add_grants_json(token, claims) == 0 &&
           (!has_kid(mint) || jwt_add_header(token, "kid", mint->kid) == 0) &&
           jwt_set_alg(token, alg, key, (int)mint->key.size) == 0 && jwt_get_alg(token) == alg;
}

static enum pawl_status by_libjwt(const struct pawl_jwt_mint *mint, const char *claims, char **out,
                                  struct pawl_error *error)
{
    uint8_t *key = key_copy(mint->key);
    jwt_t *token = NULL;

    *out = NULL;
    if (key != NULL && jwt_new(&token) == 0 && fill_libjwt(token, mint, claims, key)) {
        *out = jwt_encode_str(token);
    }
    jwt_free(token);
    if (key != NULL) {
        pawl_wipe(key, mint->key.size);
    }
    free(key);
    ERR_clear_error();
    return *out != NULL
               ? PAWL_OK
               : pawl_error_set(error, PAWL_EIO, 0, "libjwt does not sign with %s", mint->alg);
}

/* ---- OpenSSL: PS, ES, EdDSA, other types ----------------------------------------------------- */

static char *header_text(const struct pawl_jwt_mint *mint)
{
    json_t *header = has_kid(mint) ? json_pack("{s:s, s:s, s:s}", "alg", mint->alg, "typ",
                                               typ_of(mint), "kid", mint->kid)
                                   : json_pack("{s:s, s:s}", "alg", mint->alg, "typ", typ_of(mint));
    char *text = header == NULL ? NULL : json_dumps(header, JSON_COMPACT);

    json_decref(header);
    return text;
}

/* The lower of s and n - s, for verifiers that take no other (`ecdsa_s: low`). */
static bool lower(const struct pawl_jwt_alg_info *alg, const BIGNUM *s, uint8_t *out)
{
    int half = (int)alg->coordinate_bytes;
    BIGNUM *order = BN_bin2bn(alg->order, half, NULL);
    bool good = order != NULL && BN_sub(order, order, s) == 1;

    good = good && BN_bn2binpad(BN_cmp(order, s) < 0 ? order : s, out, half) == half;
    BN_free(order);
    return good;
}

/* RFC 7518 section 3.4: r and s of the curve's full length, where OpenSSL writes DER. */
static bool raw_of(const struct pawl_jwt_alg_info *alg, uint8_t *signature, size_t *size)
{
    const uint8_t *at = signature;
    int half = (int)alg->coordinate_bytes;
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)*size);
    bool good = parts != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(parts), signature, half) == half &&
                lower(alg, ECDSA_SIG_get0_s(parts), signature + half);

    ECDSA_SIG_free(parts);
    *size = 2 * (size_t)half;
    return good;
}

static bool sign(EVP_PKEY *key, const struct pawl_jwt_alg_info *alg, struct pawl_bytes text,
                 uint8_t *signature, size_t *size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL;
    bool good = context != NULL &&
                EVP_DigestSignInit_ex(context, &options, alg->digest, NULL, NULL, key, NULL) == 1;

    if (good && alg->kind == PAWL_JWT_KIND_PSS) {
        good = EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1;
    }
    good = good && EVP_DigestSign(context, signature, size, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    return good && (alg->kind != PAWL_JWT_KIND_EC || raw_of(alg, signature, size));
}

static enum pawl_status by_openssl(const struct pawl_jwt_mint *mint, EVP_PKEY *key,
                                   const struct pawl_jwt_alg_info *alg, const char *claims,
                                   char **out, struct pawl_error *error)
{
    char *header = header_text(mint);
    uint8_t signature[PAWL_JWT_SIGNATURE_MAX];
    size_t size = sizeof(signature);

    *out = header == NULL ? NULL
                          : malloc(PAWL_BASE64URL_ENCODED(strlen(header)) +
                                   PAWL_BASE64URL_ENCODED(strlen(claims)) +
                                   PAWL_BASE64URL_ENCODED(sizeof(signature)) + 3);
    if (*out == NULL) {
        free(header);
        return no_memory(error);
    }
    size_t done = pawl_base64url_encode(pawl_bytes_of(header, strlen(header)), *out);

    (*out)[done++] = '.';
    done += pawl_base64url_encode(pawl_bytes_of(claims, strlen(claims)), *out + done);
    free(header);
    if (!sign(key, alg, pawl_bytes_of(*out, done), signature, &size)) {
        ERR_clear_error();
        free(*out);
        *out = NULL;
        return pawl_error_set(error, PAWL_EIO, 0, "OpenSSL does not sign with %s", mint->alg);
    }
    (*out)[done++] = '.';
    done += pawl_base64url_encode(pawl_bytes_of(signature, size), *out + done);
    (*out)[done] = '\0';
    return PAWL_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

/* What verifies the token has to be a key that pawld takes. */
static enum pawl_status check_private(const struct pawl_jwt_mint *mint,
                                      const struct pawl_jwt_alg_info *alg, EVP_PKEY **out,
                                      struct pawl_error *error)
{
    BIO *bio = BIO_new_mem_buf(mint->key.data, (int)mint->key.size);
    static char no_password[] = "";

    *out = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, no_password);
    BIO_free(bio);
    ERR_clear_error();
    if (*out == NULL) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "the key for %s is no PEM private key without a password", mint->alg);
    }
    enum pawl_status status = pawl_jwt_check_public(*out, alg, "the key to sign with", error);

    if (status != PAWL_OK) {
        EVP_PKEY_free(*out);
        *out = NULL;
    }
    return status;
}

/* The claims once more as compact text, checked as a verifier will. */
static enum pawl_status compact(struct pawl_bytes claims, char **out, struct pawl_error *error)
{
    json_t *root = NULL;
    enum pawl_jwt_reason reason = claims.size > PAWL_JWT_MINT_BYTES_MAX
                                      ? PAWL_JWT_TOO_BIG
                                      : pawl_json_parse(claims, &caps, &root);

    *out = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    switch (reason) {
    case PAWL_JWT_OK:
        return *out != NULL ? PAWL_OK : no_memory(error);
    case PAWL_JWT_INTERNAL:
        return no_memory(error);
    case PAWL_JWT_TOO_BIG:
        return pawl_error_set(error, PAWL_ETOOBIG, 0, "claims: %zu bytes, at most %d", claims.size,
                              PAWL_JWT_MINT_BYTES_MAX);
    case PAWL_JWT_DUPLICATE:
        return pawl_error_set(error, PAWL_EINVAL, 0, "claims: a member stands twice");
    default:
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "claims are no JSON object of at most depth %d and %d members",
                              PAWL_JWT_DEPTH_MAX, PAWL_JWT_MEMBERS_MAX);
    }
}

/* libjwt knows neither PS nor EdDSA, signs ES with either s, and writes typ JWT over any other. */
static bool libjwt_can(const struct pawl_jwt_mint *mint, const struct pawl_jwt_alg_info *alg)
{
    return (alg->kind == PAWL_JWT_KIND_HMAC || alg->kind == PAWL_JWT_KIND_RSA) &&
           strcmp(typ_of(mint), "JWT") == 0;
}

static enum pawl_status secret_key(const struct pawl_jwt_mint *mint,
                                   const struct pawl_jwt_alg_info *alg, EVP_PKEY **out,
                                   struct pawl_error *error)
{
    enum pawl_status status = pawl_jwt_check_secret(mint->key, alg, "the secret", error);

    if (status != PAWL_OK) {
        return status;
    }
    *out = EVP_PKEY_new_raw_private_key_ex(NULL, "HMAC", NULL, mint->key.data, mint->key.size);
    return *out != NULL ? PAWL_OK : no_memory(error);
}

static enum pawl_status sign_any(const struct pawl_jwt_mint *mint,
                                 const struct pawl_jwt_alg_info *alg, const char *claims,
                                 char **out, struct pawl_error *error)
{
    EVP_PKEY *key = NULL;
    enum pawl_status status = alg->kind == PAWL_JWT_KIND_HMAC
                                  ? secret_key(mint, alg, &key, error)
                                  : check_private(mint, alg, &key, error);

    if (status == PAWL_OK) {
        status = libjwt_can(mint, alg) ? by_libjwt(mint, claims, out, error)
                                       : by_openssl(mint, key, alg, claims, out, error);
    }
    EVP_PKEY_free(key);
    return status;
}

static json_t *part_of(const char *begin, const char *end)
{
    size_t length = (size_t)(end - begin);
    uint8_t *bytes = malloc(PAWL_BASE64URL_DECODED(length));
    size_t size = 0;
    json_t *part = NULL;

    if (bytes != NULL && pawl_base64url_decode(pawl_bytes_of(begin, length), bytes, &size)) {
        part = json_loadb((const char *)bytes, size, 0, NULL);
    }
    free(bytes);
    return part;
}

/* Out of memory libraries may leave something out, and report success. */
static bool says(const char *token, const struct pawl_jwt_mint *mint)
{
    const char *first = strchr(token, '.');
    const char *last = strrchr(token, '.');
    bool parted = first != NULL && last > first;
    json_t *header = parted ? part_of(token, first) : NULL;
    json_t *payload = parted ? part_of(first + 1, last) : NULL;
    json_t *wanted = json_loadb((const char *)mint->claims.data, mint->claims.size, 0, NULL);
    const char *alg = json_string_value(json_object_get(header, "alg"));
    bool good = alg != NULL && strcmp(alg, mint->alg) == 0 &&
                has_kid(mint) == (json_object_get(header, "kid") != NULL) && payload != NULL &&
                json_equal(payload, wanted) != 0;

    json_decref(header);
    json_decref(payload);
    json_decref(wanted);
    return good;
}

static enum pawl_status hand_over(char *token, char *out, size_t capacity, size_t *size,
                                  struct pawl_error *error)
{
    size_t bytes = strlen(token);
    bool fits = bytes <= PAWL_JWT_BYTES_MAX && bytes < capacity;

    if (fits) {
        memcpy(out, token, bytes + 1);
        if (size != NULL) {
            *size = bytes;
        }
    }
    free(token);
    return fits ? PAWL_OK
                : pawl_error_set(error, PAWL_ETOOBIG, 0,
                                 "the token has %zu bytes, at most %d: fewer claims", bytes,
                                 PAWL_JWT_BYTES_MAX);
}

enum pawl_status pawl_jwt_mint(const struct pawl_jwt_mint *mint, char *out, size_t capacity,
                               size_t *size, struct pawl_error *error)
{
    const struct pawl_jwt_alg_info *alg =
        pawl_jwt_alg_named(pawl_bytes_of(mint->alg, strlen(mint->alg)));
    char *claims = NULL;
    char *token = NULL;

    if (alg == NULL) {
        return pawl_error_set(
            error, PAWL_EINVAL, 0,
            "alg \"%.20s\": one of HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 "
            "PS512 ES256 ES384 ES512 EdDSA",
            mint->alg);
    }
    enum pawl_status status = compact(mint->claims, &claims, error);

    if (status == PAWL_OK) {
        status = sign_any(mint, alg, claims, &token, error);
    }
    free(claims);
    if (status == PAWL_OK && !says(token, mint)) {
        free(token);
        return no_memory(error);
    }
    return status == PAWL_OK ? hand_over(token, out, capacity, size, error) : status;
}
