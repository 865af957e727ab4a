/*
 * libjwt and the own path over one corpus: every algorithm both know, sound tokens and thousands of
 * changed ones. Both directions have a list of allowed differences, and each entry of it has to be
 * seen, so that the list says what is so.
 *
 * We take, libjwt refuses:
 *   - typ other than "JWT" (RFC 9068's at+jwt)
 * libjwt takes, we refuse:
 *   - base64: padding, newline, the standard alphabet, stray bits; parts: a dot behind the third
 *   - duplicate, crit, json (depth, members), claim, exp_missing, not_yet_valid, issuer
 *   - alg_unknown: names in other cases; alg_none: without a key
 *   - alg_mismatch: a MAC by the public key, ES256 by a P-384 key; key_unknown: any key will do
 *
 * Never: a token that libjwt, given the right key, finds right and we find wrong in its signature;
 * and nothing that we take and libjwt finds wrong in its signature.
 */
#include "unit/jwt_cases.h"

#include <jwt.h>
#include <strings.h>

static const struct known {
    const char *alg, *kid, *private, *public;
    unsigned changes; /* it reads a PEM for each token of the latter ones */
} both[] = {
    { "HS256", "hs256", jwt_secret, jwt_secret, 2000 },
    { "HS384", "hs384", jwt_secret, jwt_secret, 1000 },
    { "HS512", "hs512", jwt_secret, jwt_secret, 1000 },
    { "RS256", "rs256", jwt_private_rsa, jwt_public_rsa, 200 },
    { "RS512", "rs512", jwt_private_rsa, jwt_public_rsa, 100 },
    { "ES256", "es256", jwt_private_ec256, jwt_public_ec256, 200 },
    { "ES384", "es384", jwt_private_ec384, jwt_public_ec384, 100 },
    { "ES512", "es512", jwt_private_ec521, jwt_public_ec521, 100 },
};
#define BOTH (sizeof(both) / sizeof(both[0]))

#define BIT(reason) (1UL << (reason))
#define ALLOWED                                                                                    \
    (BIT(PAWL_JWT_BASE64) | BIT(PAWL_JWT_DUPLICATE) | BIT(PAWL_JWT_CRIT) |                         \
     BIT(PAWL_JWT_ALG_UNKNOWN) | BIT(PAWL_JWT_ALG_MISMATCH) | BIT(PAWL_JWT_KEY_UNKNOWN) |          \
     BIT(PAWL_JWT_ISSUER) | BIT(PAWL_JWT_CLAIM) | BIT(PAWL_JWT_EXP_MISSING) | BIT(PAWL_JWT_JSON) | \
     BIT(PAWL_JWT_NOT_BEFORE) | BIT(PAWL_JWT_ALG_NONE) | BIT(PAWL_JWT_PARTS))

static unsigned long seen; /* reasons for which we refused what libjwt takes */
static unsigned long long compared;
static unsigned stricter; /* of libjwt: typ */

static bool libjwt_takes(const char *token, const char *key)
{
    jwt_t *jwt = NULL;
    bool takes = jwt_decode(&jwt, token, (const unsigned char *)key,
                            key == NULL ? 0 : (int)strlen(key)) == 0;

    jwt_free(jwt);
    return takes;
}

/* @key is what libjwt is given. Returns our reason. */
static enum pawl_jwt_reason compare(const char *token, const char *key)
{
    enum pawl_jwt_reason ours = jwt_rig_verify(&rig, token);
    bool theirs = libjwt_takes(token, key);

    compared++;
    if (theirs && ours != PAWL_JWT_OK) {
        if ((BIT(ours) & ALLOWED) == 0) {
            fail_msg("libjwt takes what is %s here: %s", pawl_jwt_reason_text(ours), token);
        }
        seen |= BIT(ours);
    }
    if (!theirs && ours == PAWL_JWT_OK) {
        fail_msg("libjwt refuses: %s", token);
    }
    return ours;
}

static const char *token_by(const struct known *signer, const char *header_more,
                            const char *payload)
{
    char header[512];

    (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"%s}", signer->alg,
                   signer->kid, header_more);
    return jwt_rig_token(signer->alg, signer->private, header, payload);
}

static void both_take_what_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < BOTH; i++) {
        for (unsigned round = 0; round < 8; round++) {
            char payload[512];

            (void)snprintf(payload, sizeof(payload),
                           "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"jti\":\"%u\"}",
                           round);
            assert_int_equal(
                compare(token_by(&both[i], round % 2 == 0 ? "" : ",\"typ\":\"JWT\"", payload),
                        both[i].public),
                PAWL_JWT_OK);
        }
    }
}

static unsigned next(unsigned *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

static void both_refuse_what_was_changed_but_for_the_list(void **state)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.\n ";
    unsigned random = 1;

    (void)state;
    for (size_t i = 0; i < BOTH; i++) {
        char token[4096];
        char changed[4096];
        size_t size = (size_t)snprintf(token, sizeof(token), "%s", token_by(&both[i], "", PAYLOAD));

        for (unsigned change = 0; change < both[i].changes; change++) {
            size_t at = change % 4 == 0 ? size - 1 - next(&random) % 3 : next(&random) % size;
            char letter = letters[next(&random) % (sizeof(letters) - 1)];

            memcpy(changed, token, size + 1);
            switch (next(&random) % 4) {
            case 0: /* one less */
                memmove(changed + at, changed + at + 1, size - at);
                break;
            case 1: /* one more */
                memmove(changed + at + 1, changed + at, size - at + 1);
                changed[at] = letter;
                break;
            default:
                changed[at] = letter;
                break;
            }
            if (strcmp(changed, token) != 0) {
                assert_int_not_equal(compare(changed, both[i].public), PAWL_JWT_OK);
            }
        }
    }
}

static void other_texts_of_the_same_bytes_are_on_the_list(void **state)
{
    static const char *const tails[] = { "=", "==", "\n", " ", "." };

    (void)state;
    for (size_t i = 0; i < BOTH; i++) {
        for (size_t j = 0; j < sizeof(tails) / sizeof(tails[0]); j++) {
            char token[4096];

            (void)snprintf(token, sizeof(token), "%s%s", token_by(&both[i], "", PAYLOAD), tails[j]);
            (void)compare(token, both[i].public);
        }
    }
    assert_true(libjwt_takes("x", NULL) == false);
    assert_true((seen & BIT(PAWL_JWT_BASE64)) != 0);
}

static void what_is_signed_but_should_not_be_believed_is_on_the_list(void **state)
{
    static const struct {
        const char *header, *payload;
        enum pawl_jwt_reason ours;
    } cases[] = {
        { ",\"crit\":[\"exp\"]", PAYLOAD, PAWL_JWT_CRIT },
        { ",\"kid\":\"x\"", PAYLOAD, PAWL_JWT_DUPLICATE },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1,\"exp\":1800000600}", PAWL_JWT_DUPLICATE },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":\"1800000600\"}", PAWL_JWT_CLAIM },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600.5}", PAWL_JWT_CLAIM },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":-1}", PAWL_JWT_CLAIM },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"jti\":7}", PAWL_JWT_CLAIM },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\"}", PAWL_JWT_EXP_MISSING },
        { "", "{\"iss\":\"nobody\",\"exp\":1800000600}", PAWL_JWT_ISSUER },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"nbf\":1900000000}",
          PAWL_JWT_NOT_BEFORE },
        { "", "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"x\":[[[[[[[[1]]]]]]]]}",
          PAWL_JWT_JSON },
    };

    (void)state;
    for (size_t i = 0; i < BOTH; i++) {
        for (size_t j = 0; j < sizeof(cases) / sizeof(cases[0]); j++) {
            assert_int_equal(compare(token_by(&both[i], cases[j].header, cases[j].payload),
                                     both[i].public),
                             cases[j].ours);
        }
    }
}

static void the_key_confusions_of_libjwt_are_on_the_list(void **state)
{
    char token[1024];
    size_t size;

    (void)state;
    /* The public key as the secret of a MAC. */
    assert_int_equal(compare(jwt_rig_token("HS256", jwt_public_rsa,
                                           "{\"alg\":\"HS256\",\"kid\":\"rs256\"}", PAYLOAD),
                             jwt_public_rsa),
                     PAWL_JWT_ALG_MISMATCH);
    /* A curve that is not the algorithm's. */
    const char *foreign =
        jwt_rig_token("ES256", jwt_private_ec384, "{\"alg\":\"ES256\",\"kid\":\"es384\"}", PAYLOAD);

    assert_int_equal(compare(foreign, jwt_public_ec384), PAWL_JWT_ALG_MISMATCH);
    /* A key that nobody has, a name in another case. */
    assert_int_equal(
        compare(jwt_rig_token("HS256", jwt_secret, "{\"alg\":\"HS256\",\"kid\":\"?\"}", PAYLOAD),
                jwt_secret),
        PAWL_JWT_KEY_UNKNOWN);
    assert_int_equal(compare(jwt_rig_token("HS256", jwt_secret,
                                           "{\"alg\":\"hs256\",\"kid\":\"hs256\"}", PAYLOAD),
                             jwt_secret),
                     PAWL_JWT_ALG_UNKNOWN);
    /* Without a key it takes what nobody signed. */
    size = jwt_rig_encode("{\"alg\":\"none\"}", 14, token);
    token[size++] = '.';
    size += jwt_rig_encode(PAYLOAD, strlen(PAYLOAD), token + size);
    (void)snprintf(token + size, sizeof(token) - size, ".AA");
    assert_true(libjwt_takes(token, NULL));
    assert_int_equal(compare(token, NULL), PAWL_JWT_ALG_NONE);
    assert_false(libjwt_takes(token, jwt_secret));
}

static void a_type_of_its_own_is_the_one_thing_that_only_we_take(void **state)
{
    (void)state;
    for (size_t i = 0; i < BOTH; i++) {
        const char *token = token_by(&both[i], ",\"typ\":\"at+jwt\"", PAYLOAD);
        struct pawl_jwt_request request = jwt_rig_request(token, strlen(token));

        request.type = pawl_bytes_of("at+jwt", 6);
        assert_int_equal(rig.port.ops->verify(rig.verifier, &request, &rig.claims), PAWL_JWT_OK);
        stricter += !libjwt_takes(token, both[i].public);
    }
    assert_int_equal(stricter, BOTH);
}

static void every_difference_on_the_list_was_seen(void **state)
{
    (void)state;
    for (unsigned reason = 0; reason <= PAWL_JWT_INTERNAL; reason++) {
        if ((BIT(reason) & ALLOWED) != (BIT(reason) & seen)) {
            fail_msg("%s is on the list, and no token shows it",
                     pawl_jwt_reason_text((enum pawl_jwt_reason)reason));
        }
    }
    assert_true(compared > 4500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_take_what_is_sound),
        cmocka_unit_test(both_refuse_what_was_changed_but_for_the_list),
        cmocka_unit_test(other_texts_of_the_same_bytes_are_on_the_list),
        cmocka_unit_test(what_is_signed_but_should_not_be_believed_is_on_the_list),
        cmocka_unit_test(the_key_confusions_of_libjwt_are_on_the_list),
        cmocka_unit_test(a_type_of_its_own_is_the_one_thing_that_only_we_take),
        cmocka_unit_test(every_difference_on_the_list_was_seen),
    };

    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
