/*
 * The cache of verified tokens, and keys that are replaced under it: what a hit skips, what it
 * must not skip, and when it is forgotten. And minting, which verifying has to agree with.
 */
#include "unit/jwt_cases.h"

#include "adapter/jwt/cache.h"
#include "adapter/jwt/mint.h"

static struct jwt_rig ring;

static enum pawl_jwt_reason verify_at(const char *token, int64_t now_s)
{
    struct pawl_jwt_request request = jwt_rig_request(token, strlen(token));

    request.now.unix_s = now_s;
    return ring.port.ops->verify(ring.verifier, &request, &ring.claims);
}

static enum pawl_jwt_reason verify(const char *token)
{
    return verify_at(token, JWT_RIG_NOW);
}

static const char *token_of(const char *jti, const char *more)
{
    static char token[8192];
    char payload[4096];

    (void)snprintf(payload, sizeof(payload),
                   "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"jti\":\"%s\"%s}", jti, more);
    (void)snprintf(token, sizeof(token), "%s", hs(payload));
    return token;
}

struct found {
    const char *name;
    uint64_t value;
    bool there;
};

static void on_number(void *self, const char *name, uint64_t value)
{
    struct found *found = self;

    if (strcmp(found->name, name) == 0) {
        found->value = value;
        found->there = true;
    }
}

static void on_flag(void *self, const char *name, bool value)
{
    on_number(self, name, value);
}

static uint64_t figure(const char *name)
{
    struct found found = { name, 0, false };
    struct pawl_stats_sink sink = { .number = on_number, .flag = on_flag, .self = &found };

    ring.port.ops->stats(ring.port.self, &sink);
    assert_true(found.there);
    return found.value;
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void a_token_seen_again_comes_from_the_cache_with_the_same_claims(void **state)
{
    const char *token =
        token_of("again", ",\"sub\":7,\"sid\":\"s\",\"aud\":[\"x\",\"y\"],\"gen\":3");
    struct pawl_jwt_claims first;
    uint64_t hits = figure("jwt_cache_hits");

    (void)state;
    assert_int_equal(verify(token), PAWL_JWT_OK);
    first = ring.claims;
    assert_false(first.cached);
    assert_int_equal(verify(token), PAWL_JWT_OK);
    assert_true(ring.claims.cached);
    assert_memory_equal(ring.claims.signed_sha256, first.signed_sha256, 32);
    assert_int_equal(ring.claims.exp_s, first.exp_s);
    assert_int_equal(ring.claims.generation, 3);
    assert_int_equal(ring.claims.subject.size, 1);
    assert_memory_equal(ring.claims.sid.data, "s", 1);
    assert_memory_equal(ring.claims.audience.data, "x", 1);
    assert_int_equal(figure("jwt_cache_hits"), hits + 1);
}

static void a_known_payload_with_another_signature_is_not_in_the_cache(void **state)
{
    char token[4096];
    char *last;

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", token_of("sig", ""));
    assert_int_equal(verify(token), PAWL_JWT_OK);
    last = strrchr(token, '.') + 5;
    *last = *last == 'A' ? 'B' : 'A';
    assert_int_equal(verify(token), PAWL_JWT_SIGNATURE);
    assert_int_equal(verify(token), PAWL_JWT_SIGNATURE);
}

static void an_expired_token_leaves_the_cache(void **state)
{
    char token[4096];

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", token_of("old", ""));
    assert_int_equal(verify(token), PAWL_JWT_OK);
    uint64_t entries = figure("jwt_cache_entries");

    assert_int_equal(verify_at(token, 1800000600), PAWL_JWT_OK);
    assert_true(ring.claims.cached);
    assert_int_equal(ring.claims.exp_s, 1800000600); /* for the core to judge */
    assert_int_equal(figure("jwt_cache_entries"), entries - 1);
    assert_int_equal(verify_at(token, 1800000600), PAWL_JWT_OK);
    assert_false(ring.claims.cached);
    assert_int_equal(figure("jwt_cache_entries"), entries - 1);
}

static void refused_tokens_are_not_kept(void **state)
{
    uint64_t entries = figure("jwt_cache_entries");
    char token[4096];

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", token_of("bad", ",\"sub\":1.5"));
    assert_int_equal(verify(token), PAWL_JWT_CLAIM);
    assert_int_equal(verify(token), PAWL_JWT_CLAIM);
    assert_int_equal(figure("jwt_cache_entries"), entries);
}

static void a_token_that_says_too_much_is_verified_each_time(void **state)
{
    static char scope[1200];
    uint64_t too_big = figure("jwt_cache_too_big");
    char token[8192];

    (void)state;
    (void)snprintf(scope, sizeof(scope), ",\"scope\":\"%01000d\"", 0);
    (void)snprintf(token, sizeof(token), "%s", token_of("big", scope));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(verify(token), PAWL_JWT_OK);
        assert_false(ring.claims.cached);
        assert_int_equal(ring.claims.scope.size, 1000);
    }
    assert_int_equal(figure("jwt_cache_too_big"), too_big + 2);
}

static void the_cache_never_holds_more_than_its_places(void **state)
{
    struct pawl_jwt_cache cache;
    struct pawl_jwt_record record;
    struct pawl_wall now = { 100 };

    (void)state;
    pawl_jwt_record_clear(&record);
    record.exp_s = 200;
    assert_true(pawl_jwt_cache_init(&cache, 64));
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t sha256[32] = { (uint8_t)i,        (uint8_t)(i >> 8), 0, 0, 0, 0, 0, 0,
                               (uint8_t)(i << 1), (uint8_t)(i >> 7) };

        record.iat_s = i;
        pawl_jwt_cache_put(&cache, sha256, now, &record);
        assert_true(cache.entries <= 64);
        assert_true(pawl_jwt_cache_find(&cache, sha256, now, &record));
        assert_int_equal(record.iat_s, i); /* the newest is always there */
    }
    assert_int_equal(cache.entries, 64);
    assert_int_equal(cache.evicted, 10000 - 64);
    pawl_jwt_cache_clear(&cache);
    assert_int_equal(cache.entries, 0);
    pawl_jwt_cache_deinit(&cache);
    assert_true(pawl_jwt_cache_init(&cache, UINT64_MAX)); /* what is asked for has a ceiling */
    assert_true(cache.bytes <= PAWL_JWT_CACHE_BYTES_MAX);
    pawl_jwt_cache_deinit(&cache);
}

static void the_one_not_used_for_longest_goes_and_expired_ones_before_it(void **state)
{
    struct pawl_jwt_cache cache;
    struct pawl_jwt_record record;
    struct pawl_wall now = { 100 };
    uint8_t sha256[32] = { 0 };

    (void)state;
    pawl_jwt_record_clear(&record);
    assert_true(pawl_jwt_cache_init(&cache, 8)); /* one set */
    for (unsigned i = 0; i < 8; i++) {
        sha256[8] = (uint8_t)(2 * i);
        record.exp_s = i == 5 ? 150 : 200;
        pawl_jwt_cache_put(&cache, sha256, now, &record);
    }
    sha256[8] = 0;
    assert_true(pawl_jwt_cache_find(&cache, sha256, now, &record)); /* used: 1 is the oldest now */
    now.unix_s = 160;                                               /* and 5 is over */
    record.exp_s = 200;
    sha256[8] = 100;
    pawl_jwt_cache_put(&cache, sha256, now, &record);
    assert_int_equal(cache.evicted, 0);
    sha256[8] = 10;
    assert_false(pawl_jwt_cache_find(&cache, sha256, now, &record));
    sha256[8] = 102;
    record.exp_s = 200;
    pawl_jwt_cache_put(&cache, sha256, now, &record);
    assert_int_equal(cache.evicted, 1);
    sha256[8] = 2;
    assert_false(pawl_jwt_cache_find(&cache, sha256, now, &record));
    sha256[8] = 0;
    assert_true(pawl_jwt_cache_find(&cache, sha256, now, &record));
    pawl_jwt_cache_deinit(&cache);
}

/* ---- keys that change ------------------------------------------------------------------------ */

static void a_key_that_is_taken_away_takes_its_tokens_along(void **state)
{
    char token[4096];
    unsigned count = ring.issuers[0].key_count;

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", token_of("gone", ""));
    assert_int_equal(verify(token), PAWL_JWT_OK);
    assert_int_equal(verify(token), PAWL_JWT_OK);
    assert_true(ring.claims.cached);
    ring.issuers[0].keys = ring.keys + 1; /* hs256 is the first */
    ring.issuers[0].key_count = count - 1;
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
    assert_int_equal(verify(token), PAWL_JWT_KEY_UNKNOWN);
    ring.issuers[0].keys = ring.keys;
    ring.issuers[0].key_count = count;
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
    assert_int_equal(verify(token), PAWL_JWT_OK);
    assert_false(ring.claims.cached);
}

static void each_state_of_a_key_has_its_answer(void **state)
{
    static const enum pawl_jwt_reason answers[] = {
        [PAWL_JWT_STATE_ACTIVE] = PAWL_JWT_OK,
        [PAWL_JWT_STATE_PENDING] = PAWL_JWT_KEY_PENDING,
        [PAWL_JWT_STATE_VERIFY_ONLY] = PAWL_JWT_OK,
        [PAWL_JWT_STATE_REVOKED] = PAWL_JWT_KEY_REVOKED,
    };
    char token[4096];
    char forged[4096];

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", token_of("state", ""));
    (void)snprintf(forged, sizeof(forged), "%s", token);
    strrchr(forged, '.')[3] ^= 1;
    for (unsigned i = 0; i < 4; i++) {
        ring.keys[0].state = i;
        assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error),
                         PAWL_OK);
        memset(&ring.claims, 0, sizeof(ring.claims));
        assert_int_equal(verify(token), answers[i]);
        assert_int_equal(verify(token), answers[i]); /* from the cache where it is kept */
        assert_int_equal(ring.claims.jti.size, i == PAWL_JWT_STATE_PENDING ? 0 : 5);
        assert_int_not_equal(verify(forged), PAWL_JWT_OK);
        assert_int_not_equal(verify(forged), PAWL_JWT_KEY_REVOKED);
    }
    ring.keys[0].state = PAWL_JWT_STATE_ACTIVE;
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
}

static void keys_that_cannot_be_loaded_leave_the_old_ones(void **state)
{
    char token[4096];
    const char *file = ring.keys[3].file;

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", token_of("kept", ""));
    ring.keys[3].file = "/nowhere.pem";
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error),
                     PAWL_ENOENT);
    assert_non_null(strstr(ring.error.text, "/nowhere.pem"));
    assert_int_equal(figure("jwt_key_load_failed"), 1);
    assert_int_equal(verify(token), PAWL_JWT_OK);
    ring.keys[3].file = file;
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
    assert_int_equal(figure("jwt_key_load_failed"), 0);
}

static void files_that_changed_are_seen_and_only_those(void **state)
{
    char token[4096];
    bool changed = true;
    uint64_t loads = figure("jwt_key_loads");

    (void)state;
    (void)snprintf(token, sizeof(token), "%s", token_of("fresh", ""));
    assert_int_equal(pawl_jwt_refresh(ring.keyring, &changed, NULL, &ring.error), PAWL_OK);
    assert_false(changed);
    assert_int_equal(figure("jwt_key_loads"), loads);
    (void)jwt_rig_file(&ring, "secret",
                       "another secret, of 64 bytes or more, as long as HS512 wants it");
    assert_int_equal(pawl_jwt_refresh(ring.keyring, &changed, NULL, &ring.error), PAWL_EINVAL);
    assert_false(changed); /* 62: too short */
    assert_int_equal(verify(token), PAWL_JWT_OK);
    (void)jwt_rig_file(&ring, "secret",
                       "another secret, of 64 bytes or more, as long as HS512 wants it to be");
    assert_int_equal(pawl_jwt_refresh(ring.keyring, &changed, NULL, &ring.error), PAWL_OK);
    assert_true(changed);
    assert_int_equal(verify(token), PAWL_JWT_SIGNATURE);
    (void)jwt_rig_file(&ring, "secret", jwt_secret);
    assert_int_equal(pawl_jwt_refresh(ring.keyring, &changed, NULL, &ring.error), PAWL_OK);
    assert_true(changed);
    assert_int_equal(verify(token), PAWL_JWT_OK);
}

static void the_only_issuer_has_a_name_and_without_any_nothing_is_known(void **state)
{
    struct pawl_bytes name;

    (void)state;
    assert_int_equal(ring.port.ops->issuers(ring.port.self, &name), 2);
    assert_int_equal(name.size, 0);
    ring.settings.issuer_count = 1;
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
    assert_int_equal(ring.port.ops->issuers(ring.port.self, &name), 1);
    assert_memory_equal(name.data, JWT_RIG_ISS, name.size);
    ring.settings.issuer_count = 0;
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
    assert_int_equal(verify(token_of("x", "")), PAWL_JWT_NO_KEYS);
    assert_int_equal(verify("rubbish"), PAWL_JWT_NO_KEYS);
    ring.settings.issuer_count = 2;
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
}

static void what_an_issuer_wants_is_judged_for_cached_tokens_too(void **state)
{
    static const char *const audience[] = { "api", "admin" };
    char token[4096];

    (void)state;
    (void)snprintf(token, sizeof(token), "%s",
                   token_of("wants", ",\"aud\":\"api\",\"token_type\":\"access\""));
    ring.issuers[0].audience.items = audience;
    ring.issuers[0].audience.count = 2;
    ring.issuers[0].token_type = "access";
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
    assert_int_equal(verify(token), PAWL_JWT_OK);
    assert_int_equal(verify(token_of("none", ",\"token_type\":\"access\"")), PAWL_JWT_AUDIENCE);
    assert_int_equal(verify(token_of("web", ",\"aud\":\"web\",\"token_type\":\"access\"")),
                     PAWL_JWT_AUDIENCE);
    assert_int_equal(verify(token_of("rt", ",\"aud\":\"api\",\"token_type\":\"refresh\"")),
                     PAWL_JWT_TYPE);
    assert_int_equal(verify(token_of("no", ",\"aud\":\"api\"")), PAWL_JWT_TYPE);
    ring.issuers[0].type = "at+jwt";
    ring.issuers[0].token_type = "";
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
    assert_int_equal(verify(token), PAWL_JWT_TYPE);
    assert_int_equal(verify(jwt_rig_token(
                         "HS256", jwt_secret,
                         "{\"alg\":\"HS256\",\"typ\":\"AT+JWT\",\"kid\":\"hs256\"}",
                         "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600,\"aud\":[\"admin\"]}")),
                     PAWL_JWT_OK);
    ring.issuers[0] = jwt_rig_issuer(JWT_RIG_ISS, ring.keys, 13);
    assert_int_equal(pawl_jwt_replace(ring.keyring, &ring.settings, NULL, &ring.error), PAWL_OK);
}

/* ---- minting --------------------------------------------------------------------------------- */

static const struct {
    const char *alg, *kid, *key;
} minters[] = {
    { "HS256", "hs256", jwt_secret },        { "HS384", "hs384", jwt_secret },
    { "HS512", "hs512", jwt_secret },        { "RS256", "rs256", jwt_private_rsa },
    { "RS384", "rs384", jwt_private_rsa },   { "RS512", "rs512", jwt_private_rsa },
    { "PS256", "ps256", jwt_private_rsa },   { "PS384", "ps384", jwt_private_rsa },
    { "PS512", "ps512", jwt_private_rsa },   { "ES256", "es256", jwt_private_ec256 },
    { "ES384", "es384", jwt_private_ec384 }, { "ES512", "es512", jwt_private_ec521 },
    { "EdDSA", "eddsa", jwt_private_ed },
};

static enum pawl_status mint(const char *alg, const char *kid, const char *typ, const char *key,
                             const char *claims, char out[PAWL_JWT_MINT_BYTES_MAX + 1])
{
    struct pawl_jwt_mint order = { alg, kid, typ, pawl_bytes_of(key, strlen(key)),
                                   pawl_bytes_of(claims, strlen(claims)) };
    size_t size = 0;
    enum pawl_status status =
        pawl_jwt_mint(&order, out, PAWL_JWT_MINT_BYTES_MAX + 1, &size, &ring.error);

    if (status == PAWL_OK) {
        assert_int_equal(size, strlen(out));
    }
    return status;
}

static void what_is_minted_is_verified_with_every_algorithm(void **state)
{
    static char token[PAWL_JWT_MINT_BYTES_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(minters) / sizeof(minters[0]); i++) {
        for (unsigned round = 0; round < 4; round++) { /* ES signatures vary in length as DER */
            if (mint(minters[i].alg, minters[i].kid, NULL, minters[i].key,
                     "{\"iss\":\"" JWT_RIG_ISS
                     "\",\"exp\":1800000600,\"sub\":\"\xc3\xa4 \\u0041\"}",
                     token) != PAWL_OK) {
                fail_msg("%s: %s", minters[i].alg, ring.error.text);
            }
            assert_int_equal(verify(token), PAWL_JWT_OK);
            assert_int_equal(ring.claims.subject.size, 4);
        }
        assert_int_equal(mint(minters[i].alg, minters[i].kid, "at+jwt", minters[i].key,
                              "{\"iss\":\"" JWT_RIG_ISS "\",\"exp\":1800000600}", token),
                         PAWL_OK);
        assert_int_equal(verify(token), PAWL_JWT_TYPE); /* signed right, of another type */
    }
}

static void what_would_be_refused_is_not_minted(void **state)
{
    static char token[PAWL_JWT_MINT_BYTES_MAX + 1];
    static char big[7000];

    (void)state;
    assert_int_equal(mint("none", "", NULL, "x", "{}", token), PAWL_EINVAL);
    assert_non_null(strstr(ring.error.text, "EdDSA"));
    assert_int_equal(mint("HS256", "", NULL, "short", "{}", token), PAWL_EINVAL);
    assert_int_equal(mint("HS256", "", NULL, jwt_public_rsa, "{}", token), PAWL_EINVAL);
    assert_int_equal(mint("RS256", "", NULL, jwt_public_rsa, "{}", token), PAWL_EINVAL);
    assert_int_equal(mint("RS256", "", NULL, jwt_private_ec256, "{}", token), PAWL_EINVAL);
    assert_int_equal(mint("ES384", "", NULL, jwt_private_ec256, "{}", token), PAWL_EINVAL);
    assert_int_equal(mint("HS256", "", NULL, jwt_secret, "[]", token), PAWL_EINVAL);
    assert_int_equal(mint("HS256", "", NULL, jwt_secret, "{\"a\":1,\"a\":2}", token), PAWL_EINVAL);
    (void)snprintf(big, sizeof(big), "{\"x\":\"%06900d\"}", 0);
    assert_int_equal(mint("HS256", "", NULL, jwt_secret, big, token), PAWL_ETOOBIG);
}

static int open_ring(void **state)
{
    (void)state;
    jwt_rig_folder(&ring);
    jwt_rig_settings(&ring);
    ring.settings.cache_max = 1024;
    jwt_rig_open(&ring);
    return 0;
}

static int close_ring(void **state)
{
    (void)state;
    jwt_rig_close(&ring);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_seen_again_comes_from_the_cache_with_the_same_claims),
        cmocka_unit_test(a_known_payload_with_another_signature_is_not_in_the_cache),
        cmocka_unit_test(an_expired_token_leaves_the_cache),
        cmocka_unit_test(refused_tokens_are_not_kept),
        cmocka_unit_test(a_token_that_says_too_much_is_verified_each_time),
        cmocka_unit_test(the_cache_never_holds_more_than_its_places),
        cmocka_unit_test(the_one_not_used_for_longest_goes_and_expired_ones_before_it),
        cmocka_unit_test(a_key_that_is_taken_away_takes_its_tokens_along),
        cmocka_unit_test(each_state_of_a_key_has_its_answer),
        cmocka_unit_test(keys_that_cannot_be_loaded_leave_the_old_ones),
        cmocka_unit_test(files_that_changed_are_seen_and_only_those),
        cmocka_unit_test(the_only_issuer_has_a_name_and_without_any_nothing_is_known),
        cmocka_unit_test(what_an_issuer_wants_is_judged_for_cached_tokens_too),
        cmocka_unit_test(what_is_minted_is_verified_with_every_algorithm),
        cmocka_unit_test(what_would_be_refused_is_not_minted),
    };

    return cmocka_run_group_tests(tests, open_ring, close_ring);
}
