/*
 * Signed tokens while memory runs out: loading keys, opening a verifier, verifying and minting,
 * with the n-th allocation failing, for each n, once and for ever. OpenSSL, jansson and libjwt take
 * theirs from the same place.
 *
 * Whatever fails, no bad token is ever good, and a good one is good or `internal`, never "invalid":
 * not known is not no.
 */
#include "support/alloc_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/jwt_rig.h"

#include "adapter/jwt/mint.h"

#define CALLS_MAX 20000 /* far above what anything here takes */

static const char payload[] = "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"jti\":\"j\"}";
static const struct {
    const char *alg, *kid, *key;
} signers[] = {
    { "HS256", "hs256", jwt_secret },        { "RS256", "rs256", jwt_private_rsa },
    { "PS384", "ps384", jwt_private_rsa },   { "ES256", "es256", jwt_private_ec256 },
    { "ES512", "es512", jwt_private_ec521 }, { "EdDSA", "eddsa", jwt_private_ed },
};
#define SIGNERS (sizeof(signers) / sizeof(signers[0]))

static struct jwt_rig rig;
static char good[SIGNERS][2048];
static char bad[SIGNERS][2048];

static void load_each(uint64_t length)
{
    struct pawl_jwt_settings settings = rig.settings;
    struct pawl_jwt_issuer_settings issuer = rig.issuers[0];
    struct pawl_jwt_key_settings keys[2] = { rig.keys[0], rig.keys[12] };

    /* HS256 and EdDSA: OpenSSL's check of an RSA key takes 10 ms, and thousands of allocations. */
    issuer.keys = keys;
    issuer.key_count = 2;
    settings.issuers = &issuer;
    settings.issuer_count = 1;
    for (unsigned nth = 1; nth < CALLS_MAX; nth++) {
        struct pawl_jwt_keyring *keyring = NULL;
        void *verifier = NULL;

        alloc_arm(nth, length);
        enum pawl_status status = pawl_jwt_create(&keyring, &settings, &rig.report, &rig.error);

        if (status == PAWL_OK) {
            struct pawl_jwt port = pawl_jwt_port(keyring);

            verifier = port.ops->open(port.self);
            if (verifier != NULL) {
                port.ops->close(verifier);
            }
        } else {
            assert_null(keyring);
            assert_true(rig.error.text[0] != '\0');
        }
        uint64_t failed = alloc_disarm();

        pawl_jwt_destroy(keyring);
        if (failed == 0) {
            assert_int_equal(status, PAWL_OK);
            assert_non_null(verifier);
            assert_true(nth > 50);
            return;
        }
    }
    fail_msg("loading takes more than %d allocations", CALLS_MAX);
}

static void without_memory_keys_are_loaded_whole_or_not_at_all(void **state)
{
    (void)state;
    load_each(1);
    load_each(ALLOC_FOR_EVER);
}

/* Whether nothing failed any more. */
static bool verify_with(size_t signer, unsigned nth, uint64_t length)
{
    struct pawl_jwt port = pawl_jwt_port(rig.keyring);
    void *verifier = port.ops->open(port.self); /* a new one: nothing is prepared or cached */
    struct pawl_jwt_request request = jwt_rig_request(good[signer], strlen(good[signer]));

    assert_non_null(verifier);
    alloc_arm(nth, length);
    enum pawl_jwt_reason reason = port.ops->verify(verifier, &request, &rig.claims);
    uint64_t failed = alloc_disarm();

    if (reason != PAWL_JWT_OK && (reason != PAWL_JWT_INTERNAL || failed == 0)) {
        fail_msg("%s: %s with allocation %u failing", signers[signer].alg,
                 pawl_jwt_reason_text(reason), nth);
    }
    request.raw = pawl_bytes_of(bad[signer], strlen(bad[signer]));
    alloc_arm(nth, length);
    reason = port.ops->verify(verifier, &request, &rig.claims);
    failed += alloc_disarm();
    assert_true(reason == PAWL_JWT_SIGNATURE || reason == PAWL_JWT_INTERNAL);
    port.ops->close(verifier);
    return failed == 0;
}

static void without_memory_a_good_token_is_not_called_bad_nor_a_bad_one_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIGNERS; i++) {
        unsigned nth = 1;

        for (; !verify_with(i, nth, 1); nth++) {
            assert_true(nth < CALLS_MAX);
        }
        for (nth = 1; !verify_with(i, nth, ALLOC_FOR_EVER); nth++) {
            assert_true(nth < CALLS_MAX);
        }
    }
}

static void without_memory_nothing_is_minted_by_halves(void **state)
{
    static char token[PAWL_JWT_MINT_BYTES_MAX + 1];
    struct pawl_jwt_request request;

    (void)state;
    /* EdDSA: libjwt itself falls over when it has no memory, in pawlctl and nowhere else. */
    for (size_t i = SIGNERS - 1; i < SIGNERS; i++) {
        struct pawl_jwt_mint mint = { signers[i].alg, signers[i].kid, NULL,
                                      pawl_bytes_of(signers[i].key, strlen(signers[i].key)),
                                      pawl_bytes_of(payload, strlen(payload)) };
        uint64_t failed = 1;

        for (unsigned nth = 1; failed != 0; nth++) {
            assert_true(nth < CALLS_MAX);
            alloc_arm(nth, 1);
            enum pawl_status status = pawl_jwt_mint(&mint, token, sizeof(token), NULL, &rig.error);

            failed = alloc_disarm();
            assert_true(status == PAWL_OK || failed != 0);
            if (status == PAWL_OK) {
                request = jwt_rig_request(token, strlen(token));
                assert_int_equal(rig.port.ops->verify(rig.verifier, &request, &rig.claims),
                                 PAWL_JWT_OK);
            }
        }
    }
}

static int open_rig(void **state)
{
    (void)state;
    jwt_rig_folder(&rig);
    jwt_rig_settings(&rig);
    rig.settings.cache_max = 64;
    jwt_rig_open(&rig);
    for (size_t i = 0; i < SIGNERS; i++) {
        char header[64];

        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", signers[i].alg,
                       signers[i].kid);
        (void)snprintf(good[i], sizeof(good[i]), "%s",
                       jwt_rig_token(signers[i].alg, signers[i].key, header, payload));
        memcpy(bad[i], good[i], sizeof(bad[i]));
        char *letter = strrchr(bad[i], '.') + 20;

        *letter = *letter == 'A' ? 'B' : 'A';
    }
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    jwt_rig_close(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_keys_are_loaded_whole_or_not_at_all),
        cmocka_unit_test(without_memory_a_good_token_is_not_called_bad_nor_a_bad_one_good),
        cmocka_unit_test(without_memory_nothing_is_minted_by_halves),
    };

    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
