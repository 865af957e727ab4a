/*
 * Signed tokens: what is wrong with their form or their claims, each refused with its own reason
 * although the signature is right.
 */
#include "unit/jwt_cases.h"

#include "adapter/jwt/claims.h"
#include "pawl/v1/caps.h"

/* ---- the form ----------------------------------------------------------------------------------
 */

static void other_texts_of_the_same_bytes_are_refused(void **state)
{
    char token[4096];

    (void)state;
    for (size_t i = 0; i < SIGNERS; i++) {
        size_t size = (size_t)snprintf(token, sizeof(token) - 8, "%s", signed_by(i));
        char last = token[size - 1];

        memcpy(token + size, "=", 2); /* padded */
        refused(token, PAWL_JWT_BASE64);
        memcpy(token + size, "==", 3);
        refused(token, PAWL_JWT_BASE64);
        memcpy(token + size, "\n", 2); /* newline appended */
        refused(token, PAWL_JWT_BASE64);
        memcpy(token + size, " ", 2);
        refused(token, PAWL_JWT_BASE64);
        memcpy(token + size, "A", 2);
        assert_int_not_equal(jwt_rig_verify(&rig, token), PAWL_JWT_OK);
        token[size] = '\0';
        if ((size - (size_t)(strrchr(token, '.') + 1 - token)) % 4 != 0) { /* it has unused bits */
            static const char alphabet[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

            token[size - 1] = alphabet[(size_t)(strchr(alphabet, last) - alphabet) + 1];
            refused(token, PAWL_JWT_BASE64);
            token[size - 1] = last;
        }
        refused(token, PAWL_JWT_OK);
    }
}

static void the_standard_alphabet_is_refused(void **state)
{
    char token[4096];
    unsigned seen = 0;

    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        char payload[256];

        (void)snprintf(payload, sizeof(payload),
                       "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"jti\":\"%u\"}", round);
        (void)snprintf(token, sizeof(token), "%s",
                       jwt_rig_token("RS256", jwt_private_rsa,
                                     "{\"alg\":\"RS256\",\"kid\":\"rs256\"}", payload));
        for (char *at = token; *at != '\0'; at++) {
            char was = *at;

            if (was == '-' || was == '_') {
                *at = was == '-' ? '+' : '/';
                refused(token, PAWL_JWT_BASE64);
                *at = was;
                seen++;
            }
        }
    }
    assert_true(seen > 8);
}

static void whitespace_and_strange_bytes_anywhere_are_refused(void **state)
{
    static const char strange[] = { '\n', '\r', '\t', ' ', '=', '+', '/', '\0', '\x80', '\xff' };
    char token[2048];
    size_t size = (size_t)snprintf(token, sizeof(token), "%s", hs(PAYLOAD));

    (void)state;
    for (size_t i = 0; i < sizeof(strange); i++) {
        for (size_t at = 0; at <= size; at += 5) {
            char longer[2050];

            memcpy(longer, token, at);
            longer[at] = strange[i];
            memcpy(longer + at + 1, token + at, size - at);
            assert_int_equal(jwt_rig_verify_bytes(&rig, longer, size + 1), PAWL_JWT_BASE64);
        }
    }
}

static void anything_but_three_parts_is_refused(void **state)
{
    static const char *const bad[] = { "",        ".",      "..",     "...",       "a",
                                       "a.b",     "a.b.",   "a..c",   ".b.c",      "..c",
                                       "a.b.c.d", "a.b.c.", ".a.b.c", "a.b.c.d.e", "a...b" };
    char token[2048];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(bad[i], PAWL_JWT_PARTS);
    }
    (void)snprintf(token, sizeof(token), "%s.AA", hs(PAYLOAD));
    refused(token, PAWL_JWT_PARTS);
    (void)snprintf(token, sizeof(token), ".%s", hs(PAYLOAD));
    refused(token, PAWL_JWT_PARTS);
}

/* A token of exactly @size bytes, or the nearest above it that there is. */
static size_t token_of_size(size_t size, char *out)
{
    static char payload[16384];
    size_t done = 0;

    for (size_t fill = size * 3 / 4 - 260; done < size; fill++) {
        int head = snprintf(payload, sizeof(payload),
                            "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"x\":\"");

        memset(payload + head, 'x', fill);
        memcpy(payload + head + fill, "\"}", 2);
        done = jwt_rig_token_of("HS256", jwt_secret, strlen(jwt_secret), HS_HEADER,
                                strlen(HS_HEADER), payload, (size_t)head + fill + 2, out);
    }
    return done;
}

static void eight_kibibytes_are_read_and_one_byte_more_is_not(void **state)
{
    static char token[JWT_RIG_TOKEN];
    size_t size = token_of_size(PAWL_JWT_BYTES_MAX - 3, token);

    (void)state;
    assert_true(size <= PAWL_JWT_BYTES_MAX);
    refused(token, PAWL_JWT_OK);
    size = token_of_size(PAWL_JWT_BYTES_MAX + 1, token);
    assert_true(size > PAWL_JWT_BYTES_MAX);
    refused(token, PAWL_JWT_TOO_BIG);
    assert_int_equal(jwt_rig_verify_bytes(&rig, token, PAWL_JWT_BYTES_MAX + 1), PAWL_JWT_TOO_BIG);
    assert_int_not_equal(jwt_rig_verify_bytes(&rig, token, PAWL_JWT_BYTES_MAX), PAWL_JWT_TOO_BIG);
    memset(token, 'A', sizeof(token)); /* 64 KiB: what a library may put on its stack */
    assert_int_equal(jwt_rig_verify_bytes(&rig, token, sizeof(token)), PAWL_JWT_TOO_BIG);
}

static void what_is_no_json_object_is_refused(void **state)
{
    static const char *const bad[] = { "",
                                       " ",
                                       "7",
                                       "\"x\"",
                                       "null",
                                       "[]",
                                       "{",
                                       "}",
                                       "{}{}",
                                       "{},",
                                       "{\"a\":}",
                                       "{a:1}",
                                       "{'a':1}",
                                       "\xef\xbb\xbf{}",
                                       "{\"a\":1,}",
                                       "{\"a\":01}",
                                       "{\"a\":NaN}",
                                       "{\"a\":\"\t\"}",
                                       "{\"a\":\"\x80\"}",
                                       "{\"a\":\"\xc0\xae\"}",
                                       "{\"a\":\"\\ud800\"}",
                                       "{\"a\":99999999999999999999}",
                                       "{\"a\":1e999}",
                                       "{\"a\":1} x" };

    (void)state;
    for (size_t i = 1; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(hs(bad[i]), PAWL_JWT_JSON);
        refused(hs_header(bad[i]), PAWL_JWT_JSON);
    }
}

static void a_nul_in_a_claim_is_refused(void **state)
{
    char token[2048];

    (void)state;
    refused(hs_with("\"sub\":\"ann\\u0000x\""), PAWL_JWT_JSON);
    refused(hs_with("\"jti\":\"\\u0000\""), PAWL_JWT_JSON);
    refused(hs_with("\"su\\u0000b\":\"x\""), PAWL_JWT_JSON);
    (void)jwt_rig_token_of("HS256", jwt_secret, strlen(jwt_secret), HS_HEADER, strlen(HS_HEADER),
                           PAYLOAD "\0", strlen(PAYLOAD) + 1, token);
    refused(token, PAWL_JWT_JSON);
}

static void a_member_that_stands_twice_is_refused(void **state)
{
    (void)state;
    refused(hs_with("\"exp\":1900000000"), PAWL_JWT_DUPLICATE);
    refused(hs_with("\"sub\":\"ann\",\"sub\":\"bob\""), PAWL_JWT_DUPLICATE);
    refused(hs_with("\"sub\":\"ann\",\"s\\u0075b\":\"bob\""), PAWL_JWT_DUPLICATE);
    refused(hs_with("\"x\":{\"a\":1,\"a\":2}"), PAWL_JWT_DUPLICATE);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"alg\":\"HS256\"}"),
            PAWL_JWT_DUPLICATE);
    refused(hs_header("{\"alg\":\"none\",\"kid\":\"hs256\",\"alg\":\"HS256\"}"),
            PAWL_JWT_DUPLICATE);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"x\",\"\\u006bid\":\"hs256\"}"),
            PAWL_JWT_DUPLICATE);
}

static void json_that_is_too_deep_is_refused(void **state)
{
    char more[256];

    (void)state;
    refused(hs_with("\"x\":[[[[[[[1]]]]]]]"), PAWL_JWT_OK); /* eight with the object */
    refused(hs_with("\"x\":[[[[[[[[1]]]]]]]]"), PAWL_JWT_JSON);
    refused(hs_with("\"x\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}"),
            PAWL_JWT_JSON);
    refused(hs_with("\"x\":\"[[[[[[[[[[[[{{{{{{{{{{{{\\\"[[[[\""), PAWL_JWT_OK); /* a text */
    memset(more, '[', sizeof(more));
    memcpy(more, "\"x\":", 4);
    more[sizeof(more) - 1] = '\0';
    refused(hs_with(more), PAWL_JWT_JSON);
}

static void a_flood_of_members_or_elements_is_refused(void **state)
{
    static char more[6000];

    (void)state;
    for (unsigned members = 62; members <= 63; members++) { /* iss and exp are there as well */
        size_t at = 0;

        for (unsigned i = 0; i < members; i++) {
            at +=
                (size_t)snprintf(more + at, sizeof(more) - at, "%s\"a%u\":1", i > 0 ? "," : "", i);
        }
        refused(hs_with(more), members == 62 ? PAWL_JWT_OK : PAWL_JWT_JSON);
    }
    for (unsigned count = 508; count <= 509; count++) {
        size_t at = (size_t)snprintf(more, sizeof(more), "\"x\":[1");

        for (unsigned i = 1; i < count; i++) {
            more[at++] = ',';
            more[at++] = '1';
        }
        memcpy(more + at, "]", 2);
        refused(hs_with(more), count == 508 ? PAWL_JWT_OK : PAWL_JWT_JSON);
    }
}

static void extensions_that_have_to_be_understood_are_refused(void **state)
{
    (void)state;
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"crit\":[\"exp\"]}"), PAWL_JWT_CRIT);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"crit\":[\"x\"],\"x\":1}"),
            PAWL_JWT_CRIT);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"crit\":[]}"), PAWL_JWT_CRIT);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"crit\":null}"), PAWL_JWT_CRIT);
    refused(hs_header("{\"alg\":\"none\",\"crit\":[\"b64\"],\"b64\":false}"), PAWL_JWT_CRIT);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"b64\":false}"), PAWL_JWT_CRIT);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"cty\":\"x\",\"zip\":\"DEF\"}"),
            PAWL_JWT_OK);
}

/* ---- claims ------------------------------------------------------------------------------------
 */

static void exp_has_to_be_a_whole_number(void **state)
{
    static const char *const bad[] = {
        "\"1800000600\"", "1800000600.0", "1.8e9",        "-1", "9007199254740993",
        "true",           "null",         "[1800000600]", "{}"
    };
    char payload[256];

    (void)state;
    refused(hs("{\"iss\":\"" JWT_RIG_ISS "\"}"), PAWL_JWT_EXP_MISSING);
    refused(hs("{\"iss\":\"" JWT_RIG_ISS "\",\"Exp\":1800000600}"), PAWL_JWT_EXP_MISSING);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(payload, sizeof(payload), "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":%s}",
                       bad[i]);
        refused(hs(payload), PAWL_JWT_CLAIM);
    }
    refused(hs("{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":9007199254740992}"), PAWL_JWT_OK);
}

static void the_other_dates_are_whole_numbers_too(void **state)
{
    static const char *const names[] = { "iat", "nbf", "gen" };
    static const char *const bad[] = { "\"1\"", "1.0", "-1", "9007199254740993", "null", "false" };
    char more[128];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
            (void)snprintf(more, sizeof(more), "\"%s\":%s", names[i], bad[j]);
            refused(hs_with(more), PAWL_JWT_CLAIM);
        }
    }
}

static void texts_are_texts_of_at_most_255_bytes(void **state)
{
    static const char *const names[] = { "jti", "sub", "client_id", "sid", "token_type", "aud" };
    static char more[1024];
    char value[258];

    (void)state;
    assert_int_equal(PAWL_JWT_CLAIM_MAX, PAWL_CLAIM_MAX); /* of the wire */
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(more, sizeof(more), "\"%s\":\"%.255s\"", names[i], value);
        refused(hs_with(more), PAWL_JWT_OK);
        (void)snprintf(more, sizeof(more), "\"%s\":\"%.256s\"", names[i], value);
        refused(hs_with(more), PAWL_JWT_CLAIM);
        (void)snprintf(more, sizeof(more), "\"%s\":1.5", names[i]);
        refused(hs_with(more), PAWL_JWT_CLAIM);
        (void)snprintf(more, sizeof(more), "\"%s\":{}", names[i]);
        refused(hs_with(more), PAWL_JWT_CLAIM);
        (void)snprintf(more, sizeof(more), "\"%s\":null", names[i]);
        refused(hs_with(more), PAWL_JWT_CLAIM);
    }
    refused(hs_with("\"jti\":7"), PAWL_JWT_CLAIM);
    refused(hs_with("\"aud\":[\"a\",7]"), PAWL_JWT_CLAIM);
    refused(hs_with("\"scope\":[\"a\"]"), PAWL_JWT_OK);
    assert_int_equal(rig.claims.scope.size, 0);
    (void)snprintf(more, sizeof(more), "{\"alg\":\"HS256\",\"kid\":\"%.256s\"}", value);
    refused(hs_header(more), PAWL_JWT_CLAIM);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":7}"), PAWL_JWT_CLAIM);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"typ\":7}"), PAWL_JWT_CLAIM);
}

static void more_audiences_than_are_kept_are_refused(void **state)
{
    char more[1024];

    (void)state;
    for (unsigned count = 32; count <= 33; count++) {
        size_t at = (size_t)snprintf(more, sizeof(more), "\"aud\":[\"a\"");

        for (unsigned i = 1; i < count; i++) {
            at += (size_t)snprintf(more + at, sizeof(more) - at, ",\"a%u\"", i);
        }
        memcpy(more + at, "]", 2);
        refused(hs_with(more), count == 32 ? PAWL_JWT_OK : PAWL_JWT_CLAIM);
    }
}

static void a_token_does_not_hold_before_its_nbf(void **state)
{
    struct pawl_jwt_request request;
    const char *token;

    (void)state;
    refused(hs_with("\"nbf\":1800000060"), PAWL_JWT_OK); /* now + skew */
    refused(hs_with("\"nbf\":1800000061"), PAWL_JWT_NOT_BEFORE);
    refused(hs_with("\"nbf\":9007199254740992"), PAWL_JWT_NOT_BEFORE);
    token = hs_with("\"nbf\":1800000061");
    request = jwt_rig_request(token, strlen(token));
    request.now.unix_s++;
    assert_int_equal(rig.port.ops->verify(rig.verifier, &request, &rig.claims), PAWL_JWT_OK);
    refused(token, PAWL_JWT_NOT_BEFORE); /* known by now, and all the same */
}

static void the_typ_has_to_be_jwt_or_none_unless_configured(void **state)
{
    (void)state;
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"typ\":\"JWT\"}"), PAWL_JWT_OK);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"typ\":\"application/jwt\"}"),
            PAWL_JWT_OK);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"typ\":\"at+jwt\"}"), PAWL_JWT_TYPE);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"typ\":\"dpop+jwt\"}"), PAWL_JWT_TYPE);
    refused(hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"typ\":\"\"}"), PAWL_JWT_TYPE);
}

static enum pawl_jwt_reason verify_wanting(const char *token, const char *audience,
                                           const char *type)
{
    struct pawl_jwt_request request = jwt_rig_request(token, strlen(token));

    request.audience = pawl_bytes_of(audience, strlen(audience));
    request.type = pawl_bytes_of(type, strlen(type));
    return rig.port.ops->verify(rig.verifier, &request, &rig.claims);
}

static void what_the_request_wants_stands_in_place_of_the_settings(void **state)
{
    const char *token =
        hs_with("\"aud\":[\"web\",\"api\"],\"token_type\":\"access\",\"jti\":\"wants\"");

    (void)state;
    for (unsigned i = 0; i < 2; i++) { /* the second time from the cache */
        assert_int_equal(verify_wanting(token, "api", "access"), PAWL_JWT_OK);
        equals(rig.claims.audience, "api");
        assert_int_equal(verify_wanting(token, "ap", "access"), PAWL_JWT_AUDIENCE);
        assert_int_equal(verify_wanting(token, "webapi", ""), PAWL_JWT_AUDIENCE);
        assert_int_equal(verify_wanting(token, "api", "refresh"), PAWL_JWT_TYPE);
        assert_int_equal(verify_wanting(token, "", ""), PAWL_JWT_OK);
        equals(rig.claims.audience, "web");
    }
    assert_int_equal(verify_wanting(hs(PAYLOAD), "api", ""), PAWL_JWT_AUDIENCE);
    assert_int_equal(verify_wanting(hs(PAYLOAD), "", "access"), PAWL_JWT_TYPE);
    token = hs_header("{\"alg\":\"HS256\",\"kid\":\"hs256\",\"typ\":\"at+jwt\"}");
    assert_int_equal(verify_wanting(token, "", "at+jwt"), PAWL_JWT_OK);
    equals(rig.claims.type, "at+jwt");
    assert_int_equal(verify_wanting(token, "", "rt+jwt"), PAWL_JWT_TYPE);
}

static void revoking_looks_at_the_signature_alone(void **state)
{
    char token[2048];
    struct pawl_jwt_request request;

    (void)state;
    (void)snprintf(token, sizeof(token), "%s",
                   hs_with("\"nbf\":1900000000,\"aud\":\"x\",\"token_type\":\"odd\""));
    request = jwt_rig_request(token, strlen(token));
    request.signature_only = true;
    request.audience = pawl_bytes_of("y", 1);
    assert_int_equal(rig.port.ops->verify(rig.verifier, &request, &rig.claims), PAWL_JWT_OK);
    token[strlen(token) - 3] ^= 1;
    assert_int_not_equal(rig.port.ops->verify(rig.verifier, &request, &rig.claims), PAWL_JWT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_texts_of_the_same_bytes_are_refused),
        cmocka_unit_test(the_standard_alphabet_is_refused),
        cmocka_unit_test(whitespace_and_strange_bytes_anywhere_are_refused),
        cmocka_unit_test(anything_but_three_parts_is_refused),
        cmocka_unit_test(eight_kibibytes_are_read_and_one_byte_more_is_not),
        cmocka_unit_test(what_is_no_json_object_is_refused),
        cmocka_unit_test(a_nul_in_a_claim_is_refused),
        cmocka_unit_test(a_member_that_stands_twice_is_refused),
        cmocka_unit_test(json_that_is_too_deep_is_refused),
        cmocka_unit_test(a_flood_of_members_or_elements_is_refused),
        cmocka_unit_test(extensions_that_have_to_be_understood_are_refused),
        cmocka_unit_test(exp_has_to_be_a_whole_number),
        cmocka_unit_test(the_other_dates_are_whole_numbers_too),
        cmocka_unit_test(texts_are_texts_of_at_most_255_bytes),
        cmocka_unit_test(more_audiences_than_are_kept_are_refused),
        cmocka_unit_test(a_token_does_not_hold_before_its_nbf),
        cmocka_unit_test(the_typ_has_to_be_jwt_or_none_unless_configured),
        cmocka_unit_test(what_the_request_wants_stands_in_place_of_the_settings),
        cmocka_unit_test(revoking_looks_at_the_signature_alone),
    };

    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
