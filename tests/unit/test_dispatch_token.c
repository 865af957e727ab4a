/* edge/dispatch_token.c with a verifier that says what it is told: what becomes of each reason. */
#include <sys/mman.h>

#include "token_rig.h"

#include "edge/dispatch.h"

#define TABLE_MAX 1024

static struct verifier {
    enum pawl_jwt_reason reason;
    struct pawl_jwt_claims claims;
    struct pawl_jwt_request asked; /* copy of the last request */
    unsigned calls;
} fake;

static struct pawl_app app;
static struct pawl_dispatch dispatch;
static struct pawl_dispatch_metrics metrics;
static struct pawl_rules rules;
static struct pawl_revocations revocations;
static struct pawl_token_keys keys;

static enum pawl_jwt_reason verify(void *verifier, const struct pawl_jwt_request *request,
                                   struct pawl_jwt_claims *claims)
{
    (void)verifier;
    fake.asked = *request;
    fake.calls++;
    *claims = fake.claims;
    return fake.reason;
}

static int setup(void **state)
{
    static const struct pawl_jwt_ops ops = { .verify = verify };
    struct pawl_revocations_options options = { .max = TABLE_MAX };
    uint64_t size = pawl_revocations_size(TABLE_MAX);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    memset(&dispatch, 0, sizeof(dispatch));
    memset(&metrics, 0, sizeof(metrics));
    memset(&rules, 0, sizeof(rules));
    memset(&fake, 0, sizeof(fake));
    keys = rig_keys();
    if (memory == MAP_FAILED ||
        pawl_revocations_init(&revocations, memory, size, &options) != PAWL_OK) {
        return -1;
    }
    pawl_revocations_set_mode(&revocations, PAWL_REVOCATIONS_SERVING);
    rules.tokens = pawl_token_policy_default();
    app.revocations = &revocations;
    app.keys = &keys;
    app.jwt.ops = &ops;
    dispatch.app = &app;
    dispatch.metrics = &metrics;
    dispatch.rules = &rules;
    dispatch.verifier = &fake;
    dispatch.ns = text("default");
    dispatch.now.wall.unix_s = (int64_t)RIG_NOW_S;
    dispatch.now.stamp.us = RIG_NOW_S * 1000000;
    dispatch.request.has_token = true;
    dispatch.request.token = (struct pawl_wire_token){ .raw = text("h.p.s") };
    fake.claims = (struct pawl_jwt_claims){ .issuer = text("https://a"),
                                            .jti = text("j"),
                                            .subject = text("alice"),
                                            .exp_s = (int64_t)RIG_NOW_S + 300,
                                            .iat_s = (int64_t)RIG_NOW_S - 10,
                                            .has_iat = true };
    *state = memory;
    return 0;
}

static int teardown(void **state)
{
    pawl_revocations_deinit(&revocations);
    return munmap(*state, pawl_revocations_size(TABLE_MAX));
}

static struct pawl_wire_token_verdict judge(void)
{
    struct pawl_wire_token_verdict out;

    enum pawl_token_status status = pawl_token_judge(&dispatch, NULL, &out);

    assert_int_equal(status, out.status);
    return out;
}

static void revoke(enum pawl_scope scope, const char *issuer, struct pawl_bytes value)
{
    struct pawl_fact fact = { .kind = PAWL_FACT_REVOCATION,
                              .scope = scope,
                              .reason = PAWL_REASON_LOGOUT,
                              .ns = text("default"),
                              .issuer = text(issuer),
                              .value = value,
                              .until_s = RIG_NOW_S + 9000 };

    assert_int_equal(pawl_revocations_apply(&revocations, &keys.facts, &fact, 0), PAWL_OK);
}

static void assert_detail(const struct pawl_wire_token_verdict *verdict, const char *detail)
{
    assert_int_equal(verdict->detail.size, strlen(detail));
    assert_memory_equal(verdict->detail.data, detail, strlen(detail));
}

static void a_verified_token_is_valid_and_its_claims_go_back(void **state)
{
    struct pawl_wire_token_verdict verdict = judge();
    Pawl__V1__Token *claims =
        pawl__v1__token__unpack(NULL, verdict.claims.size, verdict.claims.data);

    (void)state;
    assert_int_equal(verdict.status, PAWL_TOKEN_VALID);
    assert_non_null(claims);
    assert_int_equal(claims->subject.len, 5);
    assert_memory_equal(claims->subject.data, "alice", 5);
    assert_int_equal(claims->exp, RIG_NOW_S + 300);
    assert_int_equal(claims->signed_sha256.len, 32);
    pawl__v1__token__free_unpacked(claims, NULL);
}

static void only_no_keys_internal_and_a_revoked_key_are_not_invalid(void **state)
{
    (void)state;
    for (enum pawl_jwt_reason reason = PAWL_JWT_NO_KEYS; reason <= PAWL_JWT_INTERNAL; reason++) {
        enum pawl_token_status expected = reason == PAWL_JWT_NO_KEYS || reason == PAWL_JWT_INTERNAL
                                              ? PAWL_TOKEN_UNDECIDED
                                          : reason == PAWL_JWT_KEY_REVOKED ? PAWL_TOKEN_REVOKED
                                                                           : PAWL_TOKEN_INVALID;

        fake.reason = reason;
        struct pawl_wire_token_verdict verdict = judge();

        assert_int_equal(verdict.status, expected);
        assert_detail(&verdict, pawl_jwt_reason_text(reason));
        assert_int_equal(verdict.claims.size > 0, reason == PAWL_JWT_KEY_REVOKED);
        if (reason == PAWL_JWT_KEY_REVOKED) {
            assert_int_equal(verdict.scope, PAWL_SCOPE_KEY);
            assert_int_equal(verdict.reason, PAWL_REASON_KEY_COMPROMISED);
        }
    }
}

static void without_a_verifier_a_token_is_undecided(void **state)
{
    (void)state;
    dispatch.verifier = NULL;
    struct pawl_wire_token_verdict verdict = judge();

    assert_int_equal(verdict.status, PAWL_TOKEN_UNDECIDED);
    assert_detail(&verdict, "no_keys");
    assert_int_equal(fake.calls, 0);
}

static void what_is_wanted_goes_to_the_verifier_and_the_clock_is_ours(void **state)
{
    (void)state;
    dispatch.request.token.issuer = text("i");
    dispatch.request.token.audience = text("a");
    dispatch.request.token.type = text("t");
    rules.tokens.skew_s = 7;
    (void)judge();
    assert_memory_equal(fake.asked.issuer.data, "i", 1);
    assert_memory_equal(fake.asked.audience.data, "a", 1);
    assert_memory_equal(fake.asked.type.data, "t", 1);
    assert_int_equal(fake.asked.now.unix_s, RIG_NOW_S);
    assert_int_equal(fake.asked.skew_s, 7);
    assert_false(fake.asked.signature_only);
}

static void claims_beside_a_whole_token_do_not_count(void **state)
{
    (void)state;
    revoke(PAWL_SCOPE_TOKEN, "https://a", text("other"));
    dispatch.request.token.jti = text("other");
    assert_int_equal(judge().status, PAWL_TOKEN_VALID);
    revoke(PAWL_SCOPE_TOKEN, "https://a", text("j"));
    assert_int_equal(judge().status, PAWL_TOKEN_REVOKED);
}

static void every_scope_of_the_claims_is_asked(void **state)
{
    static const uint8_t digest[32] = { 9 };
    const struct {
        enum pawl_scope scope;
        struct pawl_bytes value;
    } cases[] = { { PAWL_SCOPE_FAMILY, text("f") },
                  { PAWL_SCOPE_CLIENT, text("c") },
                  { PAWL_SCOPE_KEY, text("k") },
                  { PAWL_SCOPE_SIGNED, pawl_bytes_of(digest, 32) } };

    (void)state;
    memcpy(fake.claims.signed_sha256, digest, 32);
    fake.claims.jti = text("");
    fake.claims.sid = text("f");
    fake.claims.client = text("c");
    fake.claims.kid = text("k");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pawl_id id;
        struct pawl_fact fact = { .kind = PAWL_FACT_REVOCATION,
                                  .scope = cases[i].scope,
                                  .ns = text("default"),
                                  .issuer = text("https://a"),
                                  .value = cases[i].value };

        assert_int_equal(judge().status, PAWL_TOKEN_VALID);
        revoke(cases[i].scope, "https://a", cases[i].value);
        struct pawl_wire_token_verdict verdict = judge();

        assert_int_equal(verdict.status, PAWL_TOKEN_REVOKED);
        assert_int_equal(verdict.scope, cases[i].scope);
        id = pawl_fact_scope_id(&keys.facts, &fact);
        (void)pawl_revocations_clear(&revocations, id, NULL);
    }
}

static void what_was_signed_is_an_identity_only_where_there_is_no_jti(void **state)
{
    (void)state;
    revoke(PAWL_SCOPE_SIGNED, "", pawl_bytes_of(fake.claims.signed_sha256, 32));
    assert_int_equal(judge().status, PAWL_TOKEN_VALID);
    fake.claims.jti = text("");
    assert_int_equal(judge().status, PAWL_TOKEN_REVOKED);
}

static void a_verified_token_expires_all_the_same(void **state)
{
    (void)state;
    fake.claims.cached = true;
    fake.claims.exp_s = (int64_t)RIG_NOW_S - 6;
    assert_int_equal(judge().status, PAWL_TOKEN_EXPIRED);
    fake.claims.exp_s = (int64_t)RIG_NOW_S - 4; /* within the skew of 5 s */
    assert_int_equal(judge().status, PAWL_TOKEN_VALID);
}

static void an_issuer_that_is_left_out_is_the_only_one_configured(void **state)
{
    (void)state;
    revoke(PAWL_SCOPE_TOKEN, "https://a", text("j"));
    dispatch.request.token = (struct pawl_wire_token){ .jti = text("j") };
    assert_int_equal(judge().status, PAWL_TOKEN_VALID);
    assert_true(pawl_name_set(&rules.issuer, text("https://a")));
    assert_int_equal(judge().status, PAWL_TOKEN_REVOKED);
    dispatch.request.token.issuer = text("https://b");
    assert_int_equal(judge().status, PAWL_TOKEN_VALID);
}

static void claims_that_do_not_fit_are_left_out_and_the_verdict_stands(void **state)
{
    (void)state;
    dispatch.claims_used = sizeof(dispatch.claims) - 3;
    struct pawl_wire_token_verdict verdict = judge();

    assert_int_equal(verdict.status, PAWL_TOKEN_VALID);
    assert_int_equal(verdict.claims.size, 0);
}

static void claims_of_several_tokens_lie_beside_each_other(void **state)
{
    struct pawl_wire_token_verdict first = judge();
    struct pawl_wire_token_verdict second = judge();

    (void)state;
    assert_true(second.claims.data >= first.claims.data + first.claims.size);
    assert_int_equal(dispatch.claims_used, first.claims.size + second.claims.size);
    pawl_token_make_room(&dispatch); /* nothing is put off */
    assert_int_equal(dispatch.claims_used, 0);
}

static void refusals_are_counted_by_kind(void **state)
{
    (void)state;
    (void)judge();
    fake.reason = PAWL_JWT_SIGNATURE;
    (void)judge();
    fake.reason = PAWL_JWT_NO_KEYS;
    (void)judge();
    fake.reason = PAWL_JWT_KEY_REVOKED;
    (void)judge();
    fake.reason = PAWL_JWT_OK;
    fake.claims.exp_s = 1;
    (void)judge();
    assert_int_equal(atomic_load(&metrics.token_checks), 5);
    assert_int_equal(atomic_load(&metrics.token_invalid), 1);
    assert_int_equal(atomic_load(&metrics.token_undecided), 1);
    assert_int_equal(atomic_load(&metrics.token_revoked), 1);
    assert_int_equal(atomic_load(&metrics.token_expired), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_verified_token_is_valid_and_its_claims_go_back),
        TEST(only_no_keys_internal_and_a_revoked_key_are_not_invalid),
        TEST(without_a_verifier_a_token_is_undecided),
        TEST(what_is_wanted_goes_to_the_verifier_and_the_clock_is_ours),
        TEST(claims_beside_a_whole_token_do_not_count),
        TEST(every_scope_of_the_claims_is_asked),
        TEST(what_was_signed_is_an_identity_only_where_there_is_no_jti),
        TEST(a_verified_token_expires_all_the_same),
        TEST(an_issuer_that_is_left_out_is_the_only_one_configured),
        TEST(claims_that_do_not_fit_are_left_out_and_the_verdict_stands),
        TEST(claims_of_several_tokens_lie_beside_each_other),
        TEST(refusals_are_counted_by_kind),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
