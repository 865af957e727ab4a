/*
 * What the tests of bad tokens share: a rig, and short ways to sign a header or a payload.
 */
#ifndef PAWL_TESTS_JWT_CASES_H
#define PAWL_TESTS_JWT_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/jwt/base64url.h"
#include "support/jwt_rig.h"

__attribute__((unused)) static struct jwt_rig rig;

#define PAYLOAD                                                                            \
    "{\"iss\":\"https://auth.example\",\"sub\":\"ann\",\"jti\":\"j1\",\"exp\":1800000600," \
    "\"iat\":1799999900}"
#define HS_HEADER "{\"alg\":\"HS256\",\"kid\":\"hs256\"}"

static inline void refused(const char *token, enum pawl_jwt_reason reason)
{
    enum pawl_jwt_reason found = jwt_rig_verify(&rig, token);

    if (found != reason) {
        fail_msg("%s instead of %s: %.120s", pawl_jwt_reason_text(found),
                 pawl_jwt_reason_text(reason), token);
    }
}

static inline const char *hs(const char *payload)
{
    return jwt_rig_token("HS256", jwt_secret, HS_HEADER, payload);
}

static inline const char *hs_header(const char *header)
{
    return jwt_rig_token("HS256", jwt_secret, header, PAYLOAD);
}

/* A payload with iss and exp in it and @more behind them. */
static inline const char *hs_with(const char *more)
{
    static char payload[8192];

    (void)snprintf(payload, sizeof(payload), "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,%s}",
                   more);
    return hs(payload);
}

static inline void equals(struct pawl_bytes bytes, const char *text)
{
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

static const struct {
    const char *alg, *kid, *key;
} signers[] = {
    { "HS256", "hs256", jwt_secret },        { "HS384", "hs384", jwt_secret },
    { "HS512", "hs512", jwt_secret },        { "RS256", "rs256", jwt_private_rsa },
    { "RS384", "rs384", jwt_private_rsa },   { "RS512", "rs512", jwt_private_rsa },
    { "PS256", "ps256", jwt_private_rsa },   { "PS384", "ps384", jwt_private_rsa },
    { "PS512", "ps512", jwt_private_rsa },   { "ES256", "es256", jwt_private_ec256 },
    { "ES384", "es384", jwt_private_ec384 }, { "ES512", "es512", jwt_private_ec521 },
    { "EdDSA", "eddsa", jwt_private_ed },
};
#define SIGNERS (sizeof(signers) / sizeof(signers[0]))

static inline const char *signed_by(size_t i)
{
    char header[128];

    (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", signers[i].alg,
                   signers[i].kid);
    return jwt_rig_token(signers[i].alg, signers[i].key, header, PAYLOAD);
}

/* @token with @size bytes at @signature in place of its own. */
static inline const char *with_signature(const char *token, const uint8_t *signature, size_t size)
{
    static char out[JWT_RIG_TOKEN];
    size_t kept = (size_t)(strrchr(token, '.') + 1 - token);

    memmove(out, token, kept);
    (void)jwt_rig_encode(signature, size, out + kept);
    return out;
}

static inline size_t signature_of(const char *token, uint8_t *out)
{
    const char *text = strrchr(token, '.') + 1;
    size_t size = 0;

    assert_true(pawl_base64url_decode(pawl_bytes_of(text, strlen(text)), out, &size));
    return size;
}

static inline int open_rig(void **state)
{
    (void)state;
    jwt_rig_folder(&rig);
    jwt_rig_settings(&rig);
    rig.settings.cache_max = 64;
    jwt_rig_open(&rig);
    return 0;
}

static inline int close_rig(void **state)
{
    (void)state;
    jwt_rig_close(&rig);
    return 0;
}

#endif
