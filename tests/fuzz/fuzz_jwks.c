/*
 * Key files: bits 0 and 1 of the first byte say what the rest is, a JWK set, a PEM public key for
 * an algorithm, or an HMAC secret.
 *
 * What is taken fits: each key has one algorithm of its own kind, an RSA key of 2048 to 8192 bits,
 * a named curve, or a secret as long as its hash that is no key of another kind. What is refused
 * says which entry, and is kept nowhere.
 */
#include "adapter/jwt/keys.h"
#include "adapter/jwt/mint.h"
#include "fuzz/require.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned taken;

static void require_fit(const struct pawl_jwt_alg_info *alg, EVP_PKEY *key, size_t secret_size)
{
    int bits = key == NULL ? 0 : EVP_PKEY_get_bits(key);

    require(alg != NULL);
    switch (alg->kind) {
    case PAWL_JWT_KIND_HMAC:
        require(key == NULL && secret_size >= alg->digest_bytes);
        require(secret_size <= PAWL_JWT_SECRET_MAX);
        break;
    case PAWL_JWT_KIND_RSA:
    case PAWL_JWT_KIND_PSS:
        require(EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA);
        require(bits >= PAWL_JWT_RSA_BITS_MIN && bits <= PAWL_JWT_RSA_BITS_MAX);
        break;
    case PAWL_JWT_KIND_EC:
        require(EVP_PKEY_get_base_id(key) == EVP_PKEY_EC);
        require((unsigned)(bits + 7) / 8 == alg->coordinate_bytes);
        break;
    case PAWL_JWT_KIND_ED:
        require(EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519);
        break;
    }
}

static enum pawl_status take(void *self, struct pawl_jwt_material *material, const char *name,
                             struct pawl_error *error)
{
    (void)self;
    require(strstr(name, "set.json: keys[") == name);
    require(strlen(material->kid) < sizeof(material->kid));
    require_fit(material->alg, material->public_key, material->secret_size);
    taken++;
    return taken % 5 == 0 ? pawl_error_set(error, PAWL_EINVAL, 0, "%s: no more", name) : PAWL_OK;
}

static void fuzz_set(struct pawl_bytes text)
{
    struct pawl_jwt_report report;
    struct pawl_error error = { 0 };

    memset(&report, 0, sizeof(report));
    enum pawl_status status = pawl_jwt_read_jwks(text, "set.json", &report, take, NULL, &error);

    require(report.skipped == report.warnings);
    if (status != PAWL_OK) {
        require(status == PAWL_EINVAL && error.status == status);
        require(strstr(error.text, "set.json") == error.text);
    }
}

static void fuzz_pem(struct pawl_bytes text, unsigned alg)
{
    const struct pawl_jwt_alg_info *info = pawl_jwt_alg_of(PAWL_JWT_HS256 + alg % 13);
    struct pawl_error error = { 0 };
    EVP_PKEY *key = NULL;

    if (pawl_jwt_read_pem(text, info, "key.pem", &key, &error) == PAWL_OK) {
        require(key != NULL && info->kind != PAWL_JWT_KIND_HMAC);
        require_fit(info, key, 0);
        require(memmem(text.data, text.size, "PRIVATE KEY-----", 16) == NULL);
    } else {
        require(key == NULL && strstr(error.text, "key.pem") == error.text);
    }
    EVP_PKEY_free(key);
}

static void fuzz_secret(struct pawl_bytes text, unsigned alg)
{
    const struct pawl_jwt_alg_info *info = pawl_jwt_alg_of(PAWL_JWT_HS256 + alg % 13);
    struct pawl_bytes secret = pawl_jwt_secret_trim(text);
    struct pawl_error error = { 0 };

    require(secret.data == text.data && text.size - secret.size <= 2);
    if (pawl_jwt_check_secret(secret, info, "secret", &error) == PAWL_OK) {
        require_fit(info, NULL, secret.size);
        require(memmem(secret.data, secret.size, "-----BEGIN", 10) == NULL);
    } else {
        require(strstr(error.text, "secret") == error.text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct pawl_bytes rest = pawl_bytes_of(data + 1, size - 1);
    unsigned alg = data[0] >> 2;

    switch (data[0] & 3) {
    case 0:
    case 1:
        fuzz_set(rest);
        break;
    case 2:
        fuzz_pem(rest, alg);
        break;
    default:
        fuzz_secret(rest, alg);
        break;
    }
    return 0;
}
