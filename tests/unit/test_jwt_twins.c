/*
 * ECDSA gives every signature a twin: (r, s) and (r, n - s) are right for the same text, and either
 * is made of the other by anybody. What the twin is and is not, under `ecdsa_s: any` and `low`.
 */
#include "unit/jwt_cases.h"

#include "adapter/jwt/mint.h"
#include "adapter/jwt/signature.h"

#include <openssl/obj_mac.h>

#define HALF_MAX 66

static const struct {
    enum pawl_jwt_alg alg;
    size_t signer; /* in signers[] */
    int curve;
} curves[] = {
    { PAWL_JWT_ES256, 9, NID_X9_62_prime256v1 },
    { PAWL_JWT_ES384, 10, NID_secp384r1 },
    { PAWL_JWT_ES512, 11, NID_secp521r1 },
};
#define CURVES (sizeof(curves) / sizeof(curves[0]))

/* A signed text and both signatures of it. */
struct twins {
    char low[4096];
    char high[4096];
};

static struct twins twins_of(const char *token)
{
    struct twins twins;
    uint8_t raw[2 * HALF_MAX];
    size_t size = signature_of(token, raw);
    bool high;

    (void)snprintf(twins.low, sizeof(twins.low), "%s", token);
    high = jwt_rig_twin(raw, size);
    (void)snprintf(twins.high, sizeof(twins.high), "%s", with_signature(token, raw, size));
    if (high) {
        struct twins swapped = twins;

        memcpy(twins.low, swapped.high, sizeof(twins.low));
        memcpy(twins.high, swapped.low, sizeof(twins.high));
    }
    return twins;
}

static struct twins twins_by(size_t curve)
{
    return twins_of(signed_by(curves[curve].signer));
}

static void want(enum pawl_jwt_ecdsa_s which)
{
    rig.issuers[0].ecdsa_s = which;
    assert_int_equal(pawl_jwt_replace(rig.keyring, &rig.settings, NULL, &rig.error), PAWL_OK);
}

static int want_any(void **state)
{
    (void)state;
    want(PAWL_JWT_ECDSA_S_ANY);
    return 0;
}

static int want_low(void **state)
{
    (void)state;
    want(PAWL_JWT_ECDSA_S_LOW);
    return 0;
}

static enum pawl_jwt_reason verify_to_revoke(const char *token)
{
    struct pawl_jwt_request request = jwt_rig_request(token, strlen(token));

    request.signature_only = true;
    return rig.port.ops->verify(rig.verifier, &request, &rig.claims);
}

static void s_is_high_from_half_the_order_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < CURVES; i++) {
        const struct pawl_jwt_alg_info *alg = pawl_jwt_alg_of(curves[i].alg);
        int half = (int)alg->coordinate_bytes;
        struct pawl_bytes raw;
        uint8_t bytes[2 * HALF_MAX];
        EC_GROUP *group = EC_GROUP_new_by_curve_name(curves[i].curve);
        BIGNUM *middle = BN_dup(EC_GROUP_get0_order(group)); /* (n - 1) / 2: the greatest low one */

        assert_int_equal(BN_rshift1(middle, middle), 1);
        raw = pawl_bytes_of(bytes, 2 * (size_t)half);
        memset(bytes, 0xff, (size_t)half); /* r has no part in it */
        assert_int_equal(BN_bn2binpad(middle, bytes + half, half), half);
        assert_false(pawl_es_is_high(alg, raw));
        assert_int_equal(BN_add_word(middle, 1), 1);
        assert_int_equal(BN_bn2binpad(middle, bytes + half, half), half);
        assert_true(pawl_es_is_high(alg, raw));
        assert_int_equal(BN_bn2binpad(EC_GROUP_get0_order(group), bytes + half, half), half);
        bytes[2 * half - 1]--;
        assert_true(pawl_es_is_high(alg, raw));
        memset(bytes + half, 0, (size_t)half);
        bytes[2 * half - 1] = 1;
        assert_false(pawl_es_is_high(alg, raw));
        BN_free(middle);
        EC_GROUP_free(group);
    }
}

static void both_are_the_same_token_by_default(void **state)
{
    (void)state;
    for (size_t i = 0; i < CURVES; i++) {
        struct twins twins = twins_by(i);
        uint8_t identity[32];

        assert_string_not_equal(twins.low, twins.high);
        refused(twins.low, PAWL_JWT_OK);
        memcpy(identity, rig.claims.signed_sha256, 32);
        refused(twins.high, PAWL_JWT_OK);
        assert_false(rig.claims.cached); /* verified by itself, not by its twin */
        assert_memory_equal(rig.claims.signed_sha256, identity, 32);
        equals(rig.claims.jti, "j1");
    }
}

static void the_higher_one_is_refused_where_low_is_wanted(void **state)
{
    (void)state;
    for (size_t i = 0; i < CURVES; i++) {
        for (unsigned round = 0; round < 8; round++) { /* signers make either */
            struct twins twins = twins_by(i);

            refused(twins.high, PAWL_JWT_HIGH_S);
            refused(twins.high, PAWL_JWT_HIGH_S); /* known by now, and all the same */
            refused(twins.low, PAWL_JWT_OK);
            refused(twins.low, PAWL_JWT_OK);
        }
    }
}

static void low_is_about_nothing_but_es(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIGNERS; i++) {
        if (i < curves[0].signer || i > curves[CURVES - 1].signer) {
            for (unsigned round = 0; round < 4; round++) {
                refused(signed_by(i), PAWL_JWT_OK);
            }
        }
    }
    for (unsigned round = 0; round < 16; round++) { /* this issuer's settings are its own */
        refused(jwt_rig_token("ES256", jwt_private_ec256, "{\"alg\":\"ES256\",\"kid\":\"theirs\"}",
                              "{\"iss\":\"other\",\"exp\":1800000600}"),
                PAWL_JWT_OK);
    }
}

static void a_wrong_signature_stays_a_wrong_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < CURVES; i++) {
        struct twins twins = twins_by(i);
        uint8_t raw[2 * HALF_MAX];
        size_t size = signature_of(twins.high, raw);

        raw[1] ^= 1; /* of r */
        refused(with_signature(twins.high, raw, size), PAWL_JWT_SIGNATURE);
    }
}

/* The issuer did sign this text: whoever wants it ended is served. */
static void either_one_revokes_and_that_lets_neither_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < CURVES; i++) {
        struct twins twins = twins_by(i);
        uint8_t identity[32];

        assert_int_equal(verify_to_revoke(twins.high), PAWL_JWT_OK);
        memcpy(identity, rig.claims.signed_sha256, 32);
        refused(twins.high, PAWL_JWT_HIGH_S); /* though it is in the cache now */
        assert_int_equal(verify_to_revoke(twins.low), PAWL_JWT_OK);
        assert_memory_equal(rig.claims.signed_sha256, identity, 32);
    }
}

static void a_key_that_is_revoked_says_so_of_both(void **state)
{
    struct twins twins = twins_by(0);

    (void)state;
    rig.keys[curves[0].signer].state = PAWL_JWT_STATE_REVOKED;
    want(PAWL_JWT_ECDSA_S_LOW);
    refused(twins.low, PAWL_JWT_KEY_REVOKED);
    refused(twins.high, PAWL_JWT_KEY_REVOKED);
    rig.keys[curves[0].signer].state = PAWL_JWT_STATE_ACTIVE;
    want(PAWL_JWT_ECDSA_S_LOW);
    refused(twins.low, PAWL_JWT_OK);
}

static void a_reload_changes_what_is_wanted_at_once(void **state)
{
    struct twins twins = twins_by(1);

    (void)state;
    want(PAWL_JWT_ECDSA_S_ANY);
    refused(twins.high, PAWL_JWT_OK);
    want(PAWL_JWT_ECDSA_S_LOW);
    refused(twins.high, PAWL_JWT_HIGH_S);
    want(PAWL_JWT_ECDSA_S_ANY);
    refused(twins.high, PAWL_JWT_OK);
}

static void what_is_minted_has_a_low_s(void **state)
{
    static char token[PAWL_JWT_MINT_BYTES_MAX + 1];

    (void)state;
    for (size_t i = 0; i < CURVES; i++) {
        const char *key = signers[curves[i].signer].key;
        struct pawl_jwt_mint order = { signers[curves[i].signer].alg, signers[curves[i].signer].kid,
                                       NULL, pawl_bytes_of(key, strlen(key)),
                                       pawl_bytes_of(PAYLOAD, strlen(PAYLOAD)) };

        for (unsigned round = 0; round < 16; round++) { /* by chance: once in 65536 */
            assert_int_equal(pawl_jwt_mint(&order, token, sizeof(token), NULL, &rig.error),
                             PAWL_OK);
            refused(token, PAWL_JWT_OK);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s_is_high_from_half_the_order_on),
        cmocka_unit_test_setup(both_are_the_same_token_by_default, want_any),
        cmocka_unit_test_setup(the_higher_one_is_refused_where_low_is_wanted, want_low),
        cmocka_unit_test_setup(low_is_about_nothing_but_es, want_low),
        cmocka_unit_test_setup(a_wrong_signature_stays_a_wrong_one, want_low),
        cmocka_unit_test_setup(either_one_revokes_and_that_lets_neither_in, want_low),
        cmocka_unit_test_setup(a_key_that_is_revoked_says_so_of_both, want_low),
        cmocka_unit_test(a_reload_changes_what_is_wanted_at_once),
        cmocka_unit_test_setup(what_is_minted_has_a_low_s, want_low),
    };

    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
