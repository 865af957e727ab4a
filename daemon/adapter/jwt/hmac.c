#include "adapter/jwt/hmac.h"

#include "core/keyhash.h"

#include <jwt.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Not in libjwt's header: its presence alone is the sign. */
extern int jwt_strcmp(const char *a, const char *b) __attribute__((weak));

struct pawl_hmac {
    EVP_MAC *mac;
    EVP_MAC_CTX *context;
    char token[PAWL_JWT_BYTES_MAX + 1];
};

bool pawl_hmac_is_safe(void)
{
    return jwt_strcmp != NULL;
}

struct pawl_hmac *pawl_hmac_create(void)
{
    struct pawl_hmac *hmac = calloc(1, sizeof(*hmac));

    if (hmac == NULL) {
        return NULL;
    }
    hmac->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    hmac->context = hmac->mac == NULL ? NULL : EVP_MAC_CTX_new(hmac->mac);
    if (hmac->context == NULL) {
        ERR_clear_error();
        pawl_hmac_destroy(hmac);
        return NULL;
    }
    return hmac;
}

void pawl_hmac_destroy(struct pawl_hmac *hmac)
{
    if (hmac == NULL) {
        return;
    }
    EVP_MAC_CTX_free(hmac->context);
    EVP_MAC_free(hmac->mac);
    pawl_wipe(hmac->token, sizeof(hmac->token));
    free(hmac);
}

static enum pawl_jwt_reason by_openssl(struct pawl_hmac *hmac, const struct pawl_jwt_key *key,
                                       const struct pawl_jws *jws)
{
    uint8_t mac[PAWL_JWT_DIGEST_MAX];
    size_t size = 0;
    union {
        const char *lent;
        char *own; /* OSSL_PARAM only reads it */
    } digest = { key->alg->digest };
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.own, 0),
        OSSL_PARAM_construct_end(),
    };

    if (jws->signature.size != key->alg->digest_bytes) {
        return PAWL_JWT_SIGNATURE;
    }
    if (EVP_MAC_init(hmac->context, key->secret, key->secret_size, params) != 1 ||
        EVP_MAC_update(hmac->context, jws->signed_part.data, jws->signed_part.size) != 1 ||
        EVP_MAC_final(hmac->context, mac, &size, sizeof(mac)) != 1 ||
        size != key->alg->digest_bytes) {
        ERR_clear_error();
        return PAWL_JWT_INTERNAL;
    }
    bool same = pawl_equal_secret(mac, jws->signature.data, size);

    pawl_wipe(mac, sizeof(mac));
    return same ? PAWL_JWT_OK : PAWL_JWT_SIGNATURE;
}

static jwt_alg_t libjwt_alg(const struct pawl_jwt_alg_info *alg)
{
    return alg->alg == PAWL_JWT_HS256   ? JWT_ALG_HS256
           : alg->alg == PAWL_JWT_HS384 ? JWT_ALG_HS384
                                        : JWT_ALG_HS512;
}

/* Out of memory while it copies the key it reports success, with no algorithm and no claims:
 * so the algorithm is asked for. */
static bool by_libjwt(struct pawl_hmac *hmac, const struct pawl_jwt_key *key, struct pawl_bytes raw)
{
    jwt_t *token = NULL;

    memcpy(hmac->token, raw.data, raw.size);
    hmac->token[raw.size] = '\0';
    bool good = jwt_decode(&token, hmac->token, key->secret, (int)key->secret_size) == 0 &&
                token != NULL && jwt_get_alg(token) == libjwt_alg(key->alg);

    jwt_free(token);
    pawl_wipe(hmac->token, raw.size);
    return good;
}

static bool libjwt_looks_at(const struct pawl_jwt_record *record)
{
    struct pawl_bytes typ = pawl_jwt_record_text(record, PAWL_JWT_TEXT_TYP);

    return !record->has_typ ||
           (typ.size == 3 && strncasecmp((const char *)typ.data, "JWT", 3) == 0);
}

enum pawl_jwt_reason pawl_hmac_verify(struct pawl_hmac *hmac, const struct pawl_jwt_key *key,
                                      struct pawl_bytes raw, const struct pawl_jws *jws,
                                      const struct pawl_jwt_record *record)
{
    enum pawl_jwt_reason reason = by_openssl(hmac, key, jws);

    if (reason != PAWL_JWT_OK || !libjwt_looks_at(record)) {
        return reason;
    }
    return by_libjwt(hmac, key, raw) ? PAWL_JWT_OK : PAWL_JWT_INTERNAL;
}
