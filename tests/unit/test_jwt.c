/*
 * Signed tokens: the good ones of every algorithm, and the bad ones by algorithm, key and signature
 * that a verifier somewhere has accepted, each refused with its own reason.
 */
#include "unit/jwt_cases.h"

#include "adapter/jwt/claims.h"
#include "adapter/jwt/jws.h"
#include "adapter/jwt/signature.h"
#include "core/keyhash.h"

/* ---- good ones ------------------------------------------------------------------------------- */

static void a_token_of_every_algorithm_is_verified_and_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIGNERS; i++) {
        const char *token = signed_by(i);
        uint8_t sha256[32];

        refused(token, PAWL_JWT_OK);
        equals(rig.claims.issuer, JWT_RIG_ISS);
        equals(rig.claims.subject, "ann");
        equals(rig.claims.jti, "j1");
        equals(rig.claims.kid, signers[i].kid);
        assert_int_equal(rig.claims.exp_s, 1800000600);
        assert_true(rig.claims.has_iat);
        assert_int_equal(rig.claims.iat_s, 1799999900);
        pawl_sha256(sha256, token, (size_t)(strrchr(token, '.') - token));
        assert_memory_equal(rig.claims.signed_sha256, sha256, 32);
    }
}

static void every_other_byte_of_a_signed_token_makes_it_another(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIGNERS; i++) {
        char token[4096];

        size_t size = (size_t)snprintf(token, sizeof(token), "%s", signed_by(i));

        for (size_t at = 0; at < size; at += 3) {
            char was = token[at];

            token[at] = was == 'A' ? 'B' : 'A';
            if (jwt_rig_verify(&rig, token) == PAWL_JWT_OK) {
                fail_msg("%s with a change at %zu", signers[i].alg, at);
            }
            token[at] = was;
        }
        refused(token, PAWL_JWT_OK);
    }
}

static void all_claims_are_read(void **state)
{
    (void)state;
    refused(hs_with(
                "\"client_id\":\"web\",\"sid\":\"s1\",\"aud\":[\"one\",\"two\"],\"scope\":\"a b\","
                "\"token_type\":\"access\",\"gen\":7,\"nbf\":1799999000,\"sub\":\"\xc3\xa4\""),
            PAWL_JWT_OK);
    equals(rig.claims.client, "web");
    equals(rig.claims.sid, "s1");
    equals(rig.claims.audience, "one");
    equals(rig.claims.scope, "a b");
    equals(rig.claims.type, "access");
    equals(rig.claims.subject, "\xc3\xa4");
    assert_true(rig.claims.has_generation);
    assert_int_equal(rig.claims.generation, 7);
    assert_false(rig.claims.has_iat);
    assert_int_equal(rig.claims.jti.size, 0);
}

static void a_subject_that_is_a_number_is_its_decimal_text(void **state)
{
    (void)state;
    refused(hs_with("\"sub\":42"), PAWL_JWT_OK);
    equals(rig.claims.subject, "42");
    refused(hs_with("\"sub\":\"42\""), PAWL_JWT_OK);
    equals(rig.claims.subject, "42");
    refused(hs_with("\"sub\":-9007199254740992"), PAWL_JWT_OK);
    equals(rig.claims.subject, "-9007199254740992");
    refused(hs_with("\"sub\":9007199254740993"), PAWL_JWT_CLAIM);
    refused(hs_with("\"sub\":42.0"), PAWL_JWT_CLAIM);
    refused(hs_with("\"sub\":4e1"), PAWL_JWT_CLAIM);
    refused(hs_with("\"sub\":true"), PAWL_JWT_CLAIM);
    refused(hs_with("\"sub\":null"), PAWL_JWT_CLAIM);
}

static void an_expired_token_is_passed_on_for_the_core_to_judge(void **state)
{
    (void)state;
    refused(hs("{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":0}"), PAWL_JWT_OK);
    assert_int_equal(rig.claims.exp_s, 0);
}

/* ---- the algorithm -----------------------------------------------------------------------------
 */

static void none_is_refused_in_any_case(void **state)
{
    static const char *const nones[] = { "none", "None", "NONE", "nOnE", "nonE" };

    (void)state;
    for (size_t i = 0; i < sizeof(nones) / sizeof(nones[0]); i++) {
        char header[64];

        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", nones[i]);
        refused(hs_header(header), PAWL_JWT_ALG_NONE);
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"rs256\"}", nones[i]);
        refused(hs_header(header), PAWL_JWT_ALG_NONE);
    }
}

static void none_without_a_signature_has_not_even_three_parts(void **state)
{
    char token[1024];
    size_t size;

    (void)state;
    size = jwt_rig_encode("{\"alg\":\"none\"}", 14, token);
    token[size++] = '.';
    size += jwt_rig_encode(PAYLOAD, strlen(PAYLOAD), token + size);
    token[size] = '\0';
    refused(token, PAWL_JWT_PARTS);
    token[size++] = '.';
    token[size] = '\0';
    refused(token, PAWL_JWT_PARTS);
}

static void an_algorithm_that_is_missing_unknown_or_no_text_is_refused(void **state)
{
    (void)state;
    refused(hs_header("{\"kid\":\"hs256\"}"), PAWL_JWT_ALG_MISSING);
    refused(hs_header("{\"alg\":\"hs256\",\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    refused(hs_header("{\"alg\":\"HS256 \",\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    refused(hs_header("{\"alg\":\"\",\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    refused(hs_header("{\"alg\":\"ES256K\",\"kid\":\"es256\"}"), PAWL_JWT_ALG_UNKNOWN);
    refused(hs_header("{\"alg\":\"HS1\",\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    refused(hs_header("{\"alg\":null,\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    refused(hs_header("{\"alg\":[\"HS256\"],\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    /* The same letters from elsewhere in Unicode. */
    refused(hs_header("{\"alg\":\"\xef\xbc\xa8S256\",\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    refused(hs_header("{\"alg\":\"n\xc3\xb6ne\",\"kid\":\"hs256\"}"), PAWL_JWT_ALG_UNKNOWN);
    /* Written another way, it is the same text. */
    refused(hs_header("{\"\\u0061lg\":\"\\u0048S256\",\"kid\":\"hs256\"}"), PAWL_JWT_OK);
}

static void a_mac_with_the_public_key_as_its_secret_is_refused(void **state)
{
    (void)state;
    refused(jwt_rig_token("HS256", jwt_public_rsa, "{\"alg\":\"HS256\",\"kid\":\"rs256\"}",
                          PAYLOAD),
            PAWL_JWT_ALG_MISMATCH);
    refused(jwt_rig_token("HS256", jwt_public_rsa, "{\"alg\":\"RS256\",\"kid\":\"rs256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("HS256", jwt_public_rsa, "{\"alg\":\"HS256\",\"kid\":\"hs256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("HS256", jwt_public_ec256, "{\"alg\":\"HS256\",\"kid\":\"es256\"}",
                          PAYLOAD),
            PAWL_JWT_ALG_MISMATCH);
    refused(jwt_rig_token("HS256", jwt_public_ed, "{\"alg\":\"HS256\",\"kid\":\"eddsa\"}", PAYLOAD),
            PAWL_JWT_ALG_MISMATCH);
}

static void a_key_verifies_its_own_algorithm_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIGNERS; i++) {
        for (size_t j = 0; j < SIGNERS; j++) {
            char header[128];

            (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}",
                           signers[i].alg, signers[j].kid);
            refused(jwt_rig_token(signers[i].alg, signers[i].key, header, PAYLOAD),
                    i == j ? PAWL_JWT_OK : PAWL_JWT_ALG_MISMATCH);
        }
    }
}

static void a_signature_of_another_algorithm_under_the_right_name_is_refused(void **state)
{
    (void)state;
    refused(jwt_rig_token("PS256", jwt_private_rsa, "{\"alg\":\"RS256\",\"kid\":\"rs256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("RS384", jwt_private_rsa, "{\"alg\":\"RS256\",\"kid\":\"rs256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("RS256", jwt_private_rsa, "{\"alg\":\"PS256\",\"kid\":\"ps256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("HS512", jwt_secret, "{\"alg\":\"HS256\",\"kid\":\"hs256\"}", PAYLOAD),
            PAWL_JWT_SIGNATURE);
}

/* ---- the key -----------------------------------------------------------------------------------
 */

static void without_a_key_of_that_name_nothing_is_tried(void **state)
{
    (void)state;
    refused(jwt_rig_token("RS256", jwt_private_rsa, "{\"alg\":\"RS256\",\"kid\":\"nobody\"}",
                          PAYLOAD),
            PAWL_JWT_KEY_UNKNOWN);
    refused(jwt_rig_token("RS256", jwt_private_rsa, "{\"alg\":\"RS256\"}", PAYLOAD),
            PAWL_JWT_KEY_UNKNOWN);
    refused(jwt_rig_token("RS256", jwt_private_rsa, "{\"alg\":\"RS256\",\"kid\":\"\"}", PAYLOAD),
            PAWL_JWT_KEY_UNKNOWN);
    refused(jwt_rig_token("RS256", jwt_private_rsa, "{\"alg\":\"RS256\",\"kid\":\"RS256\"}",
                          PAYLOAD),
            PAWL_JWT_KEY_UNKNOWN);
}

static void the_key_of_another_issuer_is_not_this_ones(void **state)
{
    (void)state;
    /* Only "other" has a key of this name. */
    refused(jwt_rig_token("ES256", jwt_private_ec256, "{\"alg\":\"ES256\",\"kid\":\"theirs\"}",
                          PAYLOAD),
            PAWL_JWT_KEY_UNKNOWN);
    /* Both have one, and the other's signed it. */
    refused(jwt_rig_token("RS256", jwt_private_rsa2, "{\"alg\":\"RS256\",\"kid\":\"rs256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("RS256", jwt_private_rsa2, "{\"alg\":\"RS256\",\"kid\":\"rs256\"}",
                          "{\"iss\":\"other\",\"exp\":1800000600}"),
            PAWL_JWT_OK);
    equals(rig.claims.issuer, "other");
}

static void an_issuer_that_is_not_configured_or_not_asked_for_is_refused(void **state)
{
    struct pawl_jwt_request request;
    const char *token = hs("{\"iss\":\"https://auth.example/\",\"exp\":1800000600}");

    (void)state;
    refused(token, PAWL_JWT_ISSUER);
    refused(hs("{\"exp\":1800000600}"), PAWL_JWT_ISSUER);
    refused(hs("{\"iss\":\"\",\"exp\":1800000600}"), PAWL_JWT_ISSUER);
    refused(hs("{\"iss\":7,\"exp\":1800000600}"), PAWL_JWT_CLAIM);
    refused(hs("{\"iss\":[\"" JWT_RIG_ISS "\"],\"exp\":1800000600}"), PAWL_JWT_CLAIM);
    token = hs(PAYLOAD);
    request = jwt_rig_request(token, strlen(token));
    request.issuer = pawl_bytes_of("other", 5);
    for (unsigned i = 0; i < 2; i++) { /* the second time from the cache */
        assert_int_equal(rig.port.ops->verify(rig.verifier, &request, &rig.claims),
                         PAWL_JWT_ISSUER);
        refused(token, PAWL_JWT_OK);
    }
    request.issuer = pawl_bytes_of(JWT_RIG_ISS, strlen(JWT_RIG_ISS));
    assert_int_equal(rig.port.ops->verify(rig.verifier, &request, &rig.claims), PAWL_JWT_OK);
}

static void keys_that_a_token_brings_along_are_not_looked_at(void **state)
{
    (void)state;
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"},"
                      "\"jku\":\"http://x/\",\"x5u\":\"http://x/\",\"x5c\":[\"AA\"],\"x5t\":1}"),
            PAWL_JWT_OK);
    refused(jwt_rig_token("HS256", "my own secret, thirty-two bytes.",
                          "{\"alg\":\"HS256\",\"kid\":\"hs256\",\"jwk\":{\"kty\":\"oct\",\"k\":"
                          "\"bXkgb3duIHNlY3JldCwgdGhpcnR5LXR3byBieXRlcy4\"}}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("HS256", "x", "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", PAYLOAD),
            PAWL_JWT_KEY_UNKNOWN);
}

/* ---- the signature -----------------------------------------------------------------------------
 */

static void a_signature_of_a_foreign_curve_is_refused(void **state)
{
    (void)state;
    refused(jwt_rig_token("ES384", jwt_private_ec384, "{\"alg\":\"ES256\",\"kid\":\"es256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("ES256", jwt_private_ec384, "{\"alg\":\"ES256\",\"kid\":\"es256\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
    refused(jwt_rig_token("ES256", jwt_private_ec256, "{\"alg\":\"ES384\",\"kid\":\"es384\"}",
                          PAYLOAD),
            PAWL_JWT_SIGNATURE);
}

static void a_stripped_signature_is_refused(void **state)
{
    char token[2048];

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", signed_by(3));
    strrchr(token, '.')[1] = '\0';
    refused(token, PAWL_JWT_PARTS);
    *strrchr(token, '.') = '\0';
    refused(token, PAWL_JWT_PARTS);
}

static void a_signature_of_a_wrong_length_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIGNERS; i++) {
        char token[4096];
        uint8_t signature[2048] = { 0 };

        (void)snprintf(token, sizeof(token), "%s", signed_by(i));
        size_t size = signature_of(token, signature);

        refused(with_signature(token, signature, 1), PAWL_JWT_SIGNATURE);
        refused(with_signature(token, signature, size - 1), PAWL_JWT_SIGNATURE);
        refused(with_signature(token, signature, size + 1), PAWL_JWT_SIGNATURE);
        refused(with_signature(token, signature, 2 * size), PAWL_JWT_SIGNATURE);
        memmove(signature + 1, signature, size); /* a zero before it: the same number */
        signature[0] = 0;
        refused(with_signature(token, signature, size + 1), PAWL_JWT_SIGNATURE);
        refused(token, PAWL_JWT_OK);
    }
}

static void an_es_signature_in_der_is_refused(void **state)
{
    uint8_t raw[2048];
    uint8_t der[PAWL_ES_DER_MAX];
    char token[2048];
    const struct pawl_jwt_alg_info *alg = pawl_jwt_alg_of(PAWL_JWT_ES256);

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", signed_by(9));
    size_t size = pawl_es_to_der(alg, pawl_bytes_of(raw, signature_of(token, raw)), der);

    assert_true(size >= 68);
    refused(with_signature(token, der, size), PAWL_JWT_SIGNATURE);
}

static void r_and_s_lie_between_one_and_the_order(void **state)
{
    static const enum pawl_jwt_alg algs[] = { PAWL_JWT_ES256, PAWL_JWT_ES384, PAWL_JWT_ES512 };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct pawl_jwt_alg_info *alg = pawl_jwt_alg_of(algs[i]);
        size_t half = alg->coordinate_bytes;
        char token[4096];
        uint8_t good[132];
        uint8_t bad[132];
        uint8_t der[PAWL_ES_DER_MAX];

        (void)snprintf(token, sizeof(token), "%s", signed_by(9 + i));
        assert_int_equal(signature_of(token, good), 2 * half);
        for (unsigned which = 0; which < 2; which++) {
            memcpy(bad, good, 2 * half);
            memset(bad + which * half, 0, half);
            refused(with_signature(token, bad, 2 * half), PAWL_JWT_SIGNATURE);
            assert_int_equal(pawl_es_to_der(alg, pawl_bytes_of(bad, 2 * half), der), 0);
            memcpy(bad + which * half, alg->order, half);
            refused(with_signature(token, bad, 2 * half), PAWL_JWT_SIGNATURE);
            assert_int_equal(pawl_es_to_der(alg, pawl_bytes_of(bad, 2 * half), der), 0);
            memset(bad + which * half, 0xff, half);
            assert_int_equal(pawl_es_to_der(alg, pawl_bytes_of(bad, 2 * half), der), 0);
            memcpy(bad + which * half, alg->order, half);
            bad[which * half + half - 1]--; /* n - 1 is a number */
            assert_int_not_equal(pawl_es_to_der(alg, pawl_bytes_of(bad, 2 * half), der), 0);
        }
        memset(bad, 0, 2 * half);
        refused(with_signature(token, bad, 2 * half), PAWL_JWT_SIGNATURE);
    }
}

static void the_der_of_an_es_signature_is_what_openssl_writes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        const struct pawl_jwt_alg_info *alg = pawl_jwt_alg_of((unsigned)PAWL_JWT_ES256 + round % 3);
        unsigned half = alg->coordinate_bytes;
        uint8_t raw[132] = { 0 };
        uint8_t der[PAWL_ES_DER_MAX];
        uint8_t *openssl_der = NULL;
        ECDSA_SIG *signature = ECDSA_SIG_new();

        for (unsigned i = 0; i < 2 * half; i++) {
            raw[i] = (uint8_t)(round * 31 + i * 7 + (round >> 3) * i);
        }
        memset(raw, 0, round % half);
        raw[half] = raw[0] = (uint8_t)(round % 3 == 2 ? 0 : raw[0]);
        raw[half - 1] |= 1;
        (void)ECDSA_SIG_set0(signature, BN_bin2bn(raw, (int)half, NULL),
                             BN_bin2bn(raw + half, (int)half, NULL));
        int wanted = i2d_ECDSA_SIG(signature, &openssl_der);
        size_t size = pawl_es_to_der(alg, pawl_bytes_of(raw, 2 * (size_t)half), der);

        if (size != 0) { /* else not below the order */
            assert_int_equal(size, wanted);
            assert_memory_equal(der, openssl_der, size);
        }
        OPENSSL_free(openssl_der);
        ECDSA_SIG_free(signature);
    }
}

static void an_eddsa_signature_with_the_order_added_is_refused(void **state)
{
    static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,
                                       0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
                                       0,    0,    0,    0,    0,    0,    0,    0,
                                       0,    0,    0,    0,    0,    0,    0,    0x10 };
    char token[2048];
    uint8_t signature[66];
    unsigned carry = 0;

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", signed_by(12));
    assert_int_equal(signature_of(token, signature), 64);
    for (unsigned i = 0; i < 32; i++) {
        carry += (unsigned)signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    refused(with_signature(token, signature, 64), PAWL_JWT_SIGNATURE);
}

static void an_rsa_signature_with_the_modulus_added_is_refused(void **state)
{
    char token[4096];
    uint8_t signature[2048];
    EVP_PKEY *key = jwt_rig_private(jwt_private_rsa);
    BIGNUM *n = NULL;
    BIGNUM *number;

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", signed_by(3));
    assert_int_equal(signature_of(token, signature), 256);
    number = BN_bin2bn(signature, 256, NULL);
    assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &n), 1);
    assert_int_equal(BN_add(number, number, n), 1);
    int size = BN_bn2bin(number, signature);

    refused(with_signature(token, signature, (size_t)size), PAWL_JWT_SIGNATURE);
    BN_free(n);
    BN_free(number);
    EVP_PKEY_free(key);
}

static void a_pss_salt_of_another_length_is_refused(void **state)
{
    static const int lengths[] = { 0, 20, 31, 33, 64 };
    char token[4096];
    uint8_t signature[256];
    EVP_PKEY *key = jwt_rig_private(jwt_private_rsa);

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", signed_by(6));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        EVP_PKEY_CTX *options = NULL;
        size_t size = sizeof(signature);

        assert_int_equal(EVP_DigestSignInit(context, &options, EVP_sha256(), NULL, key), 1);
        (void)EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
        (void)EVP_PKEY_CTX_set_rsa_pss_saltlen(options, lengths[i]);
        assert_int_equal(EVP_DigestSign(context, signature, &size, (const uint8_t *)token,
                                        (size_t)(strrchr(token, '.') - token)),
                         1);
        refused(with_signature(token, signature, size), PAWL_JWT_SIGNATURE);
        EVP_MD_CTX_free(context);
    }
    EVP_PKEY_free(key);
}

/* ---- vectors -----------------------------------------------------------------------------------
 */

static void the_tokens_of_rfc_7515_and_rfc_8037_are_as_they_say(void **state)
{
    static const char a1[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
        "Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_"
        "wW1gFWFOEjXk";
    static const char a2[] =
        "eyJhbGciOiJSUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm"
        "NvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__"
        "dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AA"
        "uHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"
        "nZLgrnbyTyWzO75"
        "vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"
        "eOkHWEsqtFZESc6Bf"
        "I7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_"
        "IoypGlUPQGe7"
        "7Rw";
    static const char a3[] =
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm"
        "NvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-"
        "F4GawxaepmXFCgfTjDxw5djxLa8ISlSApm"
        "WQxfKTUJqPP3-Kg6NU1Q";
    static const char set[] = "{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"a1\",\"k\":"
                              "\"AyM1SysPpbyDfgZld3umj1"
                              "qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"},"
                              "{\"kty\":\"RSA\",\"kid\":\"a2\",\"n\":"
                              "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W"
                              "26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-"
                              "pCgNMsD1W_YpRPEwOWvG6b32690r2jZ4"
                              "7soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"
                              "UTo7WTBEMa2R2CapHg665xsmtdVM"
                              "TBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
                              "h9iaGNj8q2ethFkMLs91kzk2PAcD"
                              "TW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"},"
                              "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a3\",\"x\":"
                              "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus"
                              "9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
                              "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",\"x\":"
                              "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiM"
                              "lrwIaaPcHURo\"}]}";
    static const char *const tokens[] = { a1, a2, a3 };
    static const char ed_text[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    static const char ed_signature[] =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylG"
        "jg5BhVsPt9g7sVvpAr_MuM0KAg";
    struct jwt_rig vectors;
    struct pawl_jwt_keys *keys = NULL;
    struct pawl_signatures *signatures = pawl_signatures_create();

    (void)state;
    jwt_rig_folder(&vectors);
    vectors.issuers[0] = jwt_rig_issuer("joe", NULL, 0);
    vectors.issuers[0].jwks_file = jwt_rig_file(&vectors, "keys.json", set);
    vectors.settings.issuers = vectors.issuers;
    vectors.settings.issuer_count = 1;
    if (pawl_jwt_keys_load(&keys, &vectors.settings, NULL, &vectors.error) != PAWL_OK) {
        fail_msg("%s", vectors.error.text);
    }
    assert_true(pawl_signatures_use(signatures, keys));
    assert_int_equal(keys->key_count, 4); /* a1, a2, a3, ed */
    for (unsigned i = 0; i < 4; i++) {
        char token[1024];
        uint8_t buffer[PAWL_JWS_DECODED_MAX];
        struct pawl_jws jws;
        struct pawl_jwt_record record;

        if (i < 3) {
            (void)snprintf(token, sizeof(token), "%s", tokens[i]);
        } else {
            (void)snprintf(token, sizeof(token), "%s.%s", ed_text, ed_signature);
        }
        pawl_jwt_record_clear(&record);
        struct pawl_bytes raw = pawl_bytes_of(token, strlen(token));

        assert_int_equal(pawl_jws_split(raw, buffer, &jws), PAWL_JWT_OK);
        pawl_sha256(record.signed_sha256, jws.signed_part.data, jws.signed_part.size);
        assert_int_equal(pawl_signatures_verify(signatures, &keys->keys[i], raw, &jws, &record),
                         PAWL_JWT_OK);
        buffer[jws.header.size + jws.payload.size + 5] ^= 1; /* in the signature */
        assert_int_equal(pawl_signatures_verify(signatures, &keys->keys[i], raw, &jws, &record),
                         PAWL_JWT_SIGNATURE);
    }
    pawl_signatures_destroy(signatures);
    pawl_jwt_keys_unref(keys);
    jwt_rig_close(&vectors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_of_every_algorithm_is_verified_and_read),
        cmocka_unit_test(every_other_byte_of_a_signed_token_makes_it_another),
        cmocka_unit_test(all_claims_are_read),
        cmocka_unit_test(a_subject_that_is_a_number_is_its_decimal_text),
        cmocka_unit_test(an_expired_token_is_passed_on_for_the_core_to_judge),
        cmocka_unit_test(none_is_refused_in_any_case),
        cmocka_unit_test(none_without_a_signature_has_not_even_three_parts),
        cmocka_unit_test(an_algorithm_that_is_missing_unknown_or_no_text_is_refused),
        cmocka_unit_test(a_mac_with_the_public_key_as_its_secret_is_refused),
        cmocka_unit_test(a_key_verifies_its_own_algorithm_and_no_other),
        cmocka_unit_test(a_signature_of_another_algorithm_under_the_right_name_is_refused),
        cmocka_unit_test(without_a_key_of_that_name_nothing_is_tried),
        cmocka_unit_test(the_key_of_another_issuer_is_not_this_ones),
        cmocka_unit_test(an_issuer_that_is_not_configured_or_not_asked_for_is_refused),
        cmocka_unit_test(keys_that_a_token_brings_along_are_not_looked_at),
        cmocka_unit_test(a_signature_of_a_foreign_curve_is_refused),
        cmocka_unit_test(a_stripped_signature_is_refused),
        cmocka_unit_test(a_signature_of_a_wrong_length_is_refused),
        cmocka_unit_test(an_es_signature_in_der_is_refused),
        cmocka_unit_test(r_and_s_lie_between_one_and_the_order),
        cmocka_unit_test(the_der_of_an_es_signature_is_what_openssl_writes),
        cmocka_unit_test(an_eddsa_signature_with_the_order_added_is_refused),
        cmocka_unit_test(an_rsa_signature_with_the_modulus_added_is_refused),
        cmocka_unit_test(a_pss_salt_of_another_length_is_refused),
        cmocka_unit_test(the_tokens_of_rfc_7515_and_rfc_8037_are_as_they_say),
    };

    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
