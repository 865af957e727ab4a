/* JWK sets: RFC 7517, with the keys of RFC 7518 section 6 and RFC 8037. */
#include "adapter/jwt/keys.h"

#include "adapter/jwt/base64url.h"
#include "adapter/jwt/key_json.h"
#include "core/keyhash.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define JWKS_DEPTH_MAX   8
#define JWKS_MEMBERS_MAX (PAWL_JWT_KEYS_MAX * 20)
#define JWKS_VALUES_MAX  (PAWL_JWT_KEYS_MAX * 40)
#define NUMBER_BYTES_MAX (PAWL_JWT_RSA_BITS_MAX / 8 + 8)

void pawl_jwt_warn(struct pawl_jwt_report *report, const char *format, ...)
{
    va_list arguments;

    if (report->warnings < PAWL_JWT_WARNINGS_MAX) {
        va_start(arguments, format);
        (void)vsnprintf(report->warning[report->warnings], PAWL_JWT_WARNING_BYTES, format,
                        arguments);
        va_end(arguments);
    }
    report->warnings++;
}

void pawl_jwt_material_clear(struct pawl_jwt_material *material)
{
    EVP_PKEY_free(material->public_key);
    pawl_wipe(material, sizeof(*material));
}

/* ---- one entry ----------------------------------------------------------------------------- */

struct entry {
    const json_t *jwk;
    char name[PAWL_JWT_WARNING_BYTES]; /* "keys.json: keys[3] (kid \"r1\")" */
    struct pawl_jwt_material *material;
    struct pawl_error *error;
};

static enum pawl_status bad(const struct entry *entry, const char *what)
{
    return pawl_error_set(entry->error, PAWL_EINVAL, 0, "%s: %s", entry->name, what);
}

/* NULL: not there, or no text, or a NUL in it (which the parser refused already). */
static const char *text(const struct entry *entry, const char *member)
{
    return json_string_value(json_object_get(entry->jwk, member));
}

static bool has(const struct entry *entry, const char *member)
{
    return json_object_get(entry->jwk, member) != NULL;
}

/* A base64url member. False: not there, not canonical, or over @max bytes. */
static bool octets(const struct entry *entry, const char *member, uint8_t *out, size_t max,
                   size_t *size)
{
    const json_t *value = json_object_get(entry->jwk, member);
    size_t length = json_string_length(value);

    return json_is_string(value) && length > 0 && PAWL_BASE64URL_DECODED(length) <= max + 2 &&
           pawl_base64url_decode(pawl_bytes_of(json_string_value(value), length), out, size) &&
           *size <= max;
}

static enum pawl_status from_params(const struct entry *entry, const char *type,
                                    OSSL_PARAM_BLD *build)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    bool ready = params != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1;
    bool made = ready && EVP_PKEY_fromdata(context, &entry->material->public_key,
                                           EVP_PKEY_PUBLIC_KEY, params) == 1;

    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    ERR_clear_error();
    if (!ready) {
        return pawl_error_set(entry->error, PAWL_ENOMEM, 0, "%s: out of memory", entry->name);
    }
    return made ? PAWL_OK : bad(entry, "OpenSSL does not take this key: a point off its curve?");
}

static enum pawl_status read_rsa(const struct entry *entry)
{
    uint8_t n[NUMBER_BYTES_MAX + 2];
    uint8_t e[NUMBER_BYTES_MAX + 2];
    size_t n_size;
    size_t e_size;

    if (!octets(entry, "n", n, NUMBER_BYTES_MAX, &n_size) ||
        !octets(entry, "e", e, NUMBER_BYTES_MAX, &e_size)) {
        return bad(entry, "n and e have to be base64url, without padding, of at most 8192 bits");
    }
    BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL);
    BIGNUM *exponent = BN_bin2bn(e, (int)e_size, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    enum pawl_status status = PAWL_ENOMEM;

    if (modulus != NULL && exponent != NULL && build != NULL &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1) {
        status = from_params(entry, "RSA", build);
    }
    OSSL_PARAM_BLD_free(build);
    BN_free(modulus);
    BN_free(exponent);
    return status;
}

/* RFC 7518 section 6.2.1.2: both coordinates have their full length. */
static enum pawl_status read_ec(const struct entry *entry)
{
    const struct pawl_jwt_alg_info *alg = entry->material->alg;
    size_t half = alg->coordinate_bytes;
    uint8_t point[1 + 2 * 68 + 2] = { 4 };
    uint8_t y[68 + 2];
    size_t x_size = 0;
    size_t y_size = 0;

    if (!octets(entry, "x", point + 1, 68, &x_size) || !octets(entry, "y", y, 68, &y_size) ||
        x_size != half || y_size != half) {
        return bad(entry, "x and y have to be base64url of the curve's full length");
    }
    memcpy(point + 1 + half, y, half);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    enum pawl_status status = PAWL_ENOMEM;

    if (build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, alg->group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * half) ==
            1) {
        status = from_params(entry, "EC", build);
    }
    OSSL_PARAM_BLD_free(build);
    return status;
}

static enum pawl_status read_okp(const struct entry *entry)
{
    uint8_t point[PAWL_JWT_ED25519_BYTES + 2];
    size_t size;

    if (!octets(entry, "x", point, PAWL_JWT_ED25519_BYTES, &size) ||
        size != PAWL_JWT_ED25519_BYTES) {
        return bad(entry, "x has to be base64url of 32 bytes");
    }
    entry->material->public_key =
        EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, point, size);
    ERR_clear_error();
    return entry->material->public_key != NULL ? PAWL_OK
                                               : bad(entry, "OpenSSL does not take this key");
}

static enum pawl_status read_oct(const struct entry *entry)
{
    struct pawl_jwt_material *material = entry->material;
    uint8_t secret[PAWL_JWT_SECRET_MAX + 2];
    size_t size;
    bool good = octets(entry, "k", secret, PAWL_JWT_SECRET_MAX, &size);

    if (good) {
        memcpy(material->secret, secret, size);
        material->secret_size = size;
    }
    pawl_wipe(secret, sizeof(secret));
    return good ? pawl_jwt_check_secret(pawl_bytes_of(material->secret, material->secret_size),
                                        material->alg, entry->name, entry->error)
                : bad(entry, "k has to be base64url of at most 4096 bytes");
}

static enum pawl_status read_numbers(const struct entry *entry, const char *kty)
{
    enum pawl_status status = strcmp(kty, "RSA") == 0  ? read_rsa(entry)
                              : strcmp(kty, "EC") == 0 ? read_ec(entry)
                                                       : read_okp(entry);

    if (status == PAWL_ENOMEM) {
        return pawl_error_set(entry->error, PAWL_ENOMEM, 0, "%s: out of memory", entry->name);
    }
    return status == PAWL_OK
               ? pawl_jwt_check_public(entry->material->public_key, entry->material->alg,
                                       entry->name, entry->error)
               : status;
}

/* ---- which entries are of use ---------------------------------------------------------------- */

enum use {
    USE_SKIP,
    USE_TAKE,
    USE_BAD
};

/* RFC 7517 sections 4.2 and 4.3. */
static enum use usage_of(const struct entry *entry, const char **why)
{
    const json_t *operations = json_object_get(entry->jwk, "key_ops");
    const char *use = text(entry, "use");
    bool verifies = operations == NULL;

    if ((has(entry, "use") && use == NULL) || (operations != NULL && !json_is_array(operations))) {
        *why = "use has to be a text and key_ops a list";
        return USE_BAD;
    }
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *operation = json_string_value(json_array_get(operations, i));

        verifies = verifies || (operation != NULL && strcmp(operation, "verify") == 0);
    }
    if (use != NULL && strcmp(use, "sig") == 0 && !verifies) {
        *why = "use says sig, and key_ops does not hold verify: they contradict each other";
        return USE_BAD;
    }
    *why = "it is not for verifying signatures";
    return verifies && (use == NULL || strcmp(use, "sig") == 0) ? USE_TAKE : USE_SKIP;
}

static bool kind_has_type(const struct pawl_jwt_alg_info *alg, const char *kty)
{
    switch (alg->kind) {
    case PAWL_JWT_KIND_HMAC:
        return strcmp(kty, "oct") == 0;
    case PAWL_JWT_KIND_EC:
        return strcmp(kty, "EC") == 0;
    case PAWL_JWT_KIND_ED:
        return strcmp(kty, "OKP") == 0;
    default:
        return strcmp(kty, "RSA") == 0;
    }
}

/* An entry without alg has the one that its curve has; RSA means RS256, as the issuers that leave
 * it out sign: one algorithm all the same, never several. */
static enum use implied_alg(const struct entry *entry, const char *kty, const char **why)
{
    const char *curve = text(entry, "crv");

    if (strcmp(kty, "oct") == 0) {
        *why = "a secret without alg: add \"alg\": \"HS256\", or whichever it is for";
        return USE_BAD;
    }
    entry->material->alg = strcmp(kty, "RSA") == 0 ? pawl_jwt_alg_of(PAWL_JWT_RS256)
                           : curve != NULL         ? pawl_jwt_alg_of_curve(curve)
                                                   : NULL;
    *why = "its crv is not known here";
    return entry->material->alg != NULL ? USE_TAKE : USE_SKIP;
}

static enum use alg_of(const struct entry *entry, const char *kty, const char **why)
{
    const json_t *value = json_object_get(entry->jwk, "alg");
    const char *curve = text(entry, "crv");

    if (value == NULL) {
        return implied_alg(entry, kty, why);
    }
    if (!json_is_string(value)) {
        *why = "alg has to be a text";
        return USE_BAD;
    }
    entry->material->alg =
        pawl_jwt_alg_named(pawl_bytes_of(json_string_value(value), json_string_length(value)));
    if (entry->material->alg == NULL) {
        *why = "its alg is not known here";
        return USE_SKIP;
    }
    if (!kind_has_type(entry->material->alg, kty) ||
        (entry->material->alg->curve != NULL &&
         (curve == NULL || strcmp(curve, entry->material->alg->curve) != 0))) {
        *why = "alg does not fit kty and crv";
        return USE_BAD;
    }
    return USE_TAKE;
}

static enum use type_of(const struct entry *entry, const char **kty, const char **why)
{
    static const char *const known[] = { "RSA", "EC", "OKP", "oct" };

    *kty = text(entry, "kty");
    if (*kty == NULL) {
        *why = "kty is missing";
        return USE_BAD;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(*kty, known[i]) == 0) {
            return USE_TAKE;
        }
    }
    *why = "its kty is not known here";
    return USE_SKIP;
}

static enum use classify(const struct entry *entry, const char **kty, const char **why)
{
    enum use use = type_of(entry, kty, why);

    if (use == USE_TAKE) {
        use = usage_of(entry, why);
    }
    if (use == USE_TAKE) {
        use = alg_of(entry, *kty, why);
    }
    if (use == USE_TAKE && strcmp(*kty, "oct") != 0 && has(entry, "d")) {
        *why = "holds a private key (member d), which pawld must not have: give it the public part "
               "of the set";
        return USE_BAD;
    }
    return use;
}

static enum pawl_status name_entry(struct entry *entry, const char *file, size_t index)
{
    const json_t *kid = json_object_get(entry->jwk, "kid");

    (void)snprintf(entry->name, sizeof(entry->name), "%s: keys[%zu]", file, index);
    if (kid == NULL) {
        return PAWL_OK;
    }
    if (!json_is_string(kid) || json_string_length(kid) > 255) {
        return bad(entry, "kid has to be a text of at most 255 bytes");
    }
    memcpy(entry->material->kid, json_string_value(kid), json_string_length(kid) + 1);
    return PAWL_OK;
}

static enum pawl_status read_entry(struct entry *entry, struct pawl_jwt_report *report, bool *taken)
{
    const char *kty = "";
    const char *why = "";

    *taken = false;
    switch (classify(entry, &kty, &why)) {
    case USE_BAD:
        return bad(entry, why);
    case USE_SKIP:
        report->skipped++;
        pawl_jwt_warn(report, "%s is left out: %s", entry->name, why);
        return PAWL_OK;
    default:
        *taken = true;
        return strcmp(kty, "oct") == 0 ? read_oct(entry) : read_numbers(entry, kty);
    }
}

/* ---- sets ---------------------------------------------------------------------------------- */

static enum pawl_status read_each(const json_t *keys, const char *file,
                                  struct pawl_jwt_report *report, pawl_jwt_key_taker take,
                                  void *self, struct pawl_error *error)
{
    enum pawl_status status = PAWL_OK;

    for (size_t i = 0; status == PAWL_OK && i < json_array_size(keys); i++) {
        struct pawl_jwt_material material = { 0 };
        struct entry entry = { .jwk = json_array_get(keys, i),
                               .material = &material,
                               .error = error };
        bool taken = false;

        status = name_entry(&entry, file, i);
        if (status == PAWL_OK && !json_is_object(entry.jwk)) {
            status = bad(&entry, "is no JSON object");
        }
        if (status == PAWL_OK) {
            status = read_entry(&entry, report, &taken);
        }
        if (status == PAWL_OK && taken) {
            status = take(self, &material, entry.name, error);
        }
        pawl_jwt_material_clear(&material);
    }
    return status;
}

/* The texts of secrets in jansson's memory, which it frees as they are. */
static void wipe_secrets(const json_t *keys)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *value = json_object_get(json_array_get(keys, i), "k");
        union {
            const char *lent;
            char *own;
        } secret = { json_string_value(value) };

        if (secret.own != NULL) {
            pawl_wipe(secret.own, json_string_length(value));
        }
    }
}

static enum pawl_status not_json(enum pawl_jwt_reason reason, const char *file,
                                 struct pawl_error *error)
{
    switch (reason) {
    case PAWL_JWT_INTERNAL:
        return pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", file);
    case PAWL_JWT_DUPLICATE:
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s: a member stands twice in one object",
                              file);
    default:
        return pawl_error_set(
            error, PAWL_EINVAL, 0,
            "%s is no JSON object {\"keys\": [...]} within the caps (depth %d, %d "
            "keys)",
            file, JWKS_DEPTH_MAX, PAWL_JWT_KEYS_MAX);
    }
}

enum pawl_status pawl_jwt_read_jwks(struct pawl_bytes text_, const char *file,
                                    struct pawl_jwt_report *report, pawl_jwt_key_taker take,
                                    void *self, struct pawl_error *error)
{
    static const struct pawl_json_caps caps = { JWKS_DEPTH_MAX, JWKS_MEMBERS_MAX, JWKS_VALUES_MAX };
    json_t *root = NULL;
    enum pawl_jwt_reason reason = pawl_json_parse(text_, &caps, &root);

    if (reason != PAWL_JWT_OK) {
        return not_json(reason, file, error);
    }
    const json_t *keys = json_object_get(root, "keys");
    enum pawl_status status;

    if (!json_is_array(keys) || json_array_size(keys) > PAWL_JWT_KEYS_MAX) {
        status =
            pawl_error_set(error, PAWL_EINVAL, 0, "%s: keys has to be a list of at most %d keys%s",
                           file, PAWL_JWT_KEYS_MAX,
                           json_object_get(root, "kty") != NULL
                               ? "; this is one key: write {\"keys\": [it]}"
                               : "");
    } else {
        status = read_each(keys, file, report, take, self, error);
    }
    wipe_secrets(keys);
    json_decref(root);
    return status;
}
