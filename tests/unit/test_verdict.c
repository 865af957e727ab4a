/* Token verdicts: any scope that hits, and no guess where nothing is known. */
#include "token_rig.h"

#include <sys/mman.h>

#include "core/verdict.h"

#define NOW_MS (RIG_NOW_S * 1000)
#define NOW_S  ((int64_t)RIG_NOW_S)
#define LATER  (RIG_NOW_S + 2592000 + 3600)

struct rig {
    struct pawl_revocations table;
    struct pawl_token_keys keys;
    struct pawl_token_policy policy;
    struct pawl_token_view view;
    void *region;
    uint64_t size;
};

static int rig_setup(void **state)
{
    static struct rig rig;
    struct pawl_revocations_options options = { .max = 1000, .generation = 1 };

    memset(&rig, 0, sizeof(rig));
    rig.size = pawl_revocations_size(options.max);
    rig.region = mmap(NULL, rig.size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (rig.region == MAP_FAILED ||
        pawl_revocations_init(&rig.table, rig.region, rig.size, &options) != PAWL_OK) {
        return 1;
    }
    pawl_revocations_set_mode(&rig.table, PAWL_REVOCATIONS_SERVING);
    rig.keys = rig_keys();
    rig.policy = pawl_token_policy_default();
    rig.view = (struct pawl_token_view){ .table = &rig.table.view,
                                         .keys = &rig.keys,
                                         .policy = &rig.policy,
                                         .staleness_ms = 10,
                                         .now = { NOW_S },
                                         .stamp = { NOW_MS * 1000 } };
    *state = &rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = *state;

    pawl_revocations_deinit(&rig->table);
    return munmap(rig->region, rig->size);
}

static const uint8_t hash_a[PAWL_SHA256_BYTES] = "sha-256 of something, 32 bytes..";

static struct pawl_token_claims claims_of_alice(void)
{
    struct pawl_token_claims claims = {
        .ns = text("default"),
        .issuer = text("https://auth.example"),
        .jti = text("jti-1"),
        .subject = text("alice"),
        .client = text("web"),
        .kid = text("k1"),
        .sid = text("some-foreign-session"),
        .iat_s = NOW_S - 100,
        .exp_s = NOW_S + 200,
        .has_iat = true,
        .has_exp = true,
    };

    return claims;
}

static struct pawl_fact fact_about(enum pawl_scope scope, struct pawl_bytes value)
{
    struct pawl_fact fact = {
        .kind = pawl_scope_has_cutoff(scope) ? PAWL_FACT_CUTOFF : PAWL_FACT_REVOCATION,
        .scope = scope,
        .reason = PAWL_REASON_LOGOUT,
        .ns = text("default"),
        .issuer = text("https://auth.example"),
        .value = value,
        .cutoff_ms = pawl_scope_has_cutoff(scope) ? NOW_MS + 100 : 0,
        .until_s = LATER,
    };

    return fact;
}

static void apply(struct rig *rig, const struct pawl_fact *fact)
{
    assert_int_equal(pawl_fact_check(fact, NULL), PAWL_OK);
    assert_int_equal(pawl_revocations_apply(&rig->table, &rig->keys.facts, fact, 0), PAWL_OK);
}

static void cut_subject(struct rig *rig, uint64_t cutoff_ms)
{
    struct pawl_fact fact = fact_about(PAWL_SCOPE_SUBJECT, text("alice"));

    fact.cutoff_ms = cutoff_ms;
    apply(rig, &fact);
}

static enum pawl_token_status status_of(struct rig *rig, const struct pawl_token_claims *claims)
{
    return pawl_token_verdict(&rig->view, claims).status;
}

static struct pawl_sid sid_born_at(struct rig *rig, uint64_t ms)
{
    static const uint8_t entropy[PAWL_SID_ENTROPY] = { 1, 2, 3, 4, 5, 6 };
    struct pawl_sid sid;

    (void)pawl_sid_mint(&sid, &rig->keys, text("default"), stamp_of_ms(ms), 0, entropy);
    return sid;
}

static void a_token_that_nothing_is_known_about_is_valid_and_fresh(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_token_verdict verdict = pawl_token_verdict(&rig->view, &claims);

    assert_int_equal(verdict.status, PAWL_TOKEN_VALID);
    assert_true(verdict.fresh);
    assert_int_equal(verdict.staleness_ms, 10);
    assert_int_equal(verdict.reason, PAWL_REASON_NONE);
    assert_int_equal(verdict.scope, PAWL_SCOPE_NONE);
}

static const struct {
    enum pawl_scope scope;
    const char *value;
} scopes[] = {
    { PAWL_SCOPE_TOKEN, "jti-1" },   { PAWL_SCOPE_SIGNED, NULL },
    { PAWL_SCOPE_OPAQUE, NULL },     { PAWL_SCOPE_FAMILY, "some-foreign-session" },
    { PAWL_SCOPE_SUBJECT, "alice" }, { PAWL_SCOPE_CLIENT, "web" },
    { PAWL_SCOPE_KEY, "k1" },        { PAWL_SCOPE_NAMESPACE, "" },
};
#define SCOPE_COUNT (sizeof(scopes) / sizeof(scopes[0]))

static struct pawl_bytes scope_value(size_t i)
{
    return scopes[i].value == NULL ? pawl_bytes_of(hash_a, sizeof(hash_a)) : text(scopes[i].value);
}

/* Every set of scopes that hit: none masks another, and the first one is named. */
static void any_scope_that_hits_revokes_alone_and_with_others(void **state)
{
    for (unsigned set = 1; set < 1u << SCOPE_COUNT; set++) {
        struct pawl_token_claims claims = claims_of_alice();
        struct pawl_token_verdict verdict;
        unsigned first = 0;
        struct rig *rig;

        assert_int_equal(rig_setup(state), 0);
        rig = *state;
        claims.signed_hash = pawl_bytes_of(hash_a, sizeof(hash_a));
        claims.opaque = pawl_bytes_of(hash_a, sizeof(hash_a));
        for (unsigned i = SCOPE_COUNT; i-- > 0;) {
            if ((set >> i & 1) != 0) {
                struct pawl_fact fact = fact_about(scopes[i].scope, scope_value(i));

                fact.reason = (enum pawl_reason)(i + 1);
                apply(rig, &fact);
                first = i;
            }
        }
        verdict = pawl_token_verdict(&rig->view, &claims);
        assert_int_equal(verdict.status, PAWL_TOKEN_REVOKED);
        assert_int_equal(verdict.scope, scopes[first].scope);
        assert_int_equal(verdict.reason, first + 1);
        assert_int_equal(rig_teardown(state), 0);
    }
    assert_int_equal(rig_setup(state), 0);
}

static void a_hit_of_another_issuer_namespace_or_name_is_none(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();

    for (size_t i = 0; i < SCOPE_COUNT; i++) {
        struct pawl_fact fact = fact_about(scopes[i].scope, scope_value(i));

        fact.ns = text("other");
        apply(rig, &fact);
        if (scopes[i].value != NULL && scopes[i].scope != PAWL_SCOPE_NAMESPACE) {
            fact = fact_about(scopes[i].scope, scope_value(i));
            fact.issuer = text("https://evil.example");
            apply(rig, &fact);
            fact = fact_about(scopes[i].scope, text("somebody-else"));
            apply(rig, &fact);
        }
    }
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
}

static void a_cutoff_hits_the_same_second_and_spares_the_next(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();

    cut_subject(rig, (RIG_NOW_S - 100) * 1000 + 999); /* late in the second of iat */
    claims.iat_s = NOW_S - 100;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    claims.iat_s = NOW_S - 99;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.iat_s = NOW_S - 101;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    cut_subject(rig, (RIG_NOW_S - 99) * 1000); /* at its first millisecond */
    claims.iat_s = NOW_S - 99;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void a_family_born_a_millisecond_after_the_cutoff_is_spared(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    uint64_t cutoff_ms = NOW_MS + 100;
    struct pawl_sid before = sid_born_at(rig, cutoff_ms);
    struct pawl_sid after = sid_born_at(rig, cutoff_ms + 1);

    cut_subject(rig, cutoff_ms);
    claims.iat_s = NOW_S; /* the very second of the log-out: only the birth can tell */
    claims.sid = text(before.text);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    claims.sid = text(after.text);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    after.text[35] = after.text[35] == '0' ? '1' : '0'; /* forged */
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void an_immediate_login_after_a_log_out_everywhere_is_spared(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    static const uint8_t entropy[PAWL_SID_ENTROPY] = { 9 };
    struct pawl_sid sid;

    cut_subject(rig, pawl_cutoff_ms(rig->view.stamp, 0, 0));
    (void)pawl_sid_mint(&sid, &rig->keys, text("default"), rig->view.stamp,
                        pawl_revocations_newborn_ms(&rig->table.view), entropy);
    claims.iat_s = NOW_S;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    claims.sid = text(sid.text);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
}

static void a_token_with_neither_birth_nor_iat_is_hit_by_every_cutoff(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_sid after = sid_born_at(rig, 2);

    cut_subject(rig, 1); /* as early as can be */
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.has_iat = false;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    claims.sid = text(after.text);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
}

static void a_revoked_key_takes_tokens_of_any_age(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_fact fact = fact_about(PAWL_SCOPE_KEY, text("k1"));
    struct pawl_sid after = sid_born_at(rig, NOW_MS + 4000);

    fact.kind = PAWL_FACT_REVOCATION;
    fact.cutoff_ms = 0;
    apply(rig, &fact);
    claims.iat_s = NOW_S + 4; /* forged with the stolen key */
    claims.sid = text(after.text);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void exp_and_iat_have_their_edges_at_the_skew(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();

    claims.exp_s = NOW_S - 5;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_EXPIRED);
    claims.exp_s = NOW_S - 4;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.exp_s = NOW_S + 300;
    claims.iat_s = NOW_S + 5;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.iat_s = NOW_S + 6;
    assert_int_equal(pawl_token_verdict(&rig->view, &claims).cause, PAWL_TOKEN_CAUSE_NOT_YET_VALID);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_INVALID);
}

static void a_token_that_claims_to_live_too_long_is_invalid(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    int64_t life = (int64_t)rig->policy.max_lifetime_s;

    claims.exp_s = claims.iat_s + life;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.exp_s++;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_INVALID);
    claims.has_iat = false;
    claims.exp_s = NOW_S + life + 5;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.exp_s++;
    assert_int_equal(pawl_token_verdict(&rig->view, &claims).cause, PAWL_TOKEN_CAUSE_LIFETIME);
    claims.exp_s = INT64_MAX;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_INVALID);
    claims.has_iat = true;
    claims.iat_s = INT64_MIN;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_INVALID);
    claims.exp_s = INT64_MIN;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_EXPIRED);
}

static void a_verdict_does_not_depend_on_whether_a_cleaning_has_run(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_fact fact = fact_about(PAWL_SCOPE_TOKEN, text("jti-1"));

    fact.until_s = RIG_NOW_S - 1; /* revoked with too small an exp claimed */
    apply(rig, &fact);
    rig->view.slow_s = RIG_NOW_S;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    for (unsigned i = 0; i < PAWL_REVOCATIONS_SHARDS; i++) {
        (void)pawl_revocations_clean(&rig->table, i, RIG_NOW_S);
    }
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    fact.until_s = RIG_NOW_S;
    apply(rig, &fact);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void a_civil_clock_that_jumps_ahead_makes_no_revoked_token_valid(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_fact fact = fact_about(PAWL_SCOPE_TOKEN, text("jti-1"));

    claims.has_exp = false; /* else it is expired by then */
    apply(rig, &fact);
    rig->view.slow_s = RIG_NOW_S;
    rig->view.now.unix_s += 366 * 86400;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void a_floor_cuts_off_every_namespace_and_spares_who_is_born_later(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();

    claims.ns = text("a-namespace-that-no-fact-names");
    pawl_revocations_set_floor(&rig->table, NOW_MS);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    claims.iat_s = NOW_S + 1;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.has_iat = false;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    assert_true(pawl_revocations_newborn_ms(&rig->table.view) > NOW_MS);
    pawl_revocations_set_floor(&rig->table, 0);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
}

static void a_cancelled_revocation_is_forgotten(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_fact fact = fact_about(PAWL_SCOPE_TOKEN, text("jti-1"));

    apply(rig, &fact);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
    assert_true(pawl_fact_cancellable(&fact));
    assert_true(
        pawl_revocations_clear(&rig->table, pawl_fact_scope_id(&rig->keys.facts, &fact), NULL));
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
}

static void frozen_still_refuses_what_it_knows_and_decides_nothing_else(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_fact fact = fact_about(PAWL_SCOPE_TOKEN, text("jti-1"));

    pawl_revocations_set_mode(&rig->table, PAWL_REVOCATIONS_FROZEN);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_UNDECIDED);
    assert_int_equal(pawl_token_verdict(&rig->view, &claims).cause, PAWL_TOKEN_CAUSE_FROZEN);
    assert_false(pawl_token_verdict(&rig->view, &claims).fresh);
    claims.exp_s = NOW_S - 1000;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_UNDECIDED);
    claims = claims_of_alice();
    apply(rig, &fact);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void while_loading_only_hits_are_certain(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_fact fact = fact_about(PAWL_SCOPE_SUBJECT, text("alice"));

    pawl_revocations_set_mode(&rig->table, PAWL_REVOCATIONS_LOADING);
    assert_int_equal(pawl_token_verdict(&rig->view, &claims).cause, PAWL_TOKEN_CAUSE_LOADING);
    claims.exp_s = NOW_S - 1000;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_EXPIRED);
    claims = claims_of_alice();
    apply(rig, &fact);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void stale_data_follows_the_policy_but_a_hit_is_a_hit(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_fact fact = fact_about(PAWL_SCOPE_CLIENT, text("web"));

    rig->view.staleness_ms = 5001;
    assert_int_equal(pawl_token_verdict(&rig->view, &claims).cause, PAWL_TOKEN_CAUSE_STALE);
    assert_false(pawl_token_verdict(&rig->view, &claims).fresh);
    rig->policy.when_stale = PAWL_STALE_OPEN;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    assert_false(pawl_token_verdict(&rig->view, &claims).fresh);
    rig->policy.when_stale = PAWL_STALE_UNDECIDED;
    apply(rig, &fact);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_REVOKED);
}

static void tokens_from_before_the_store_follow_the_policy(void **state)
{
    struct rig *rig = *state;
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_sid born = sid_born_at(rig, NOW_MS - 50000);

    rig->policy.store_birth_ms = NOW_MS - 50000;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID); /* accept is the default */
    rig->policy.older_than_store = PAWL_OLDER_UNDECIDED;
    assert_int_equal(pawl_token_verdict(&rig->view, &claims).cause,
                     PAWL_TOKEN_CAUSE_OLDER_THAN_STORE);
    claims.sid = text(born.text);
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims = claims_of_alice();
    claims.iat_s = NOW_S - 49;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_VALID);
    claims.has_iat = false;
    assert_int_equal(status_of(rig, &claims), PAWL_TOKEN_UNDECIDED);
}

static void claims_beyond_the_caps_or_without_a_name_are_invalid(void **state)
{
    static const uint8_t big[PAWL_NAME_MAX + 1] = { 'x' };
    struct rig *rig = *state;
    struct pawl_token_claims good = claims_of_alice();
    struct pawl_token_claims claims[] = { good, good, good, good, good, good, good };

    claims[0].ns.size = 0;
    claims[1].ns = pawl_bytes_of(big, PAWL_NS_MAX + 1);
    claims[2].jti = pawl_bytes_of(big, sizeof(big));
    claims[3].opaque = pawl_bytes_of(hash_a, 31);
    claims[4].signed_hash = pawl_bytes_of(hash_a, 1);
    claims[5].issuer = pawl_bytes_of(big, sizeof(big));
    claims[6].jti.size = claims[6].sid.size = claims[6].subject.size = 0;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        struct pawl_token_verdict verdict = pawl_token_verdict(&rig->view, &claims[i]);

        assert_int_equal(verdict.status, PAWL_TOKEN_INVALID);
        assert_int_equal(verdict.cause, PAWL_TOKEN_CAUSE_MALFORMED);
    }
    good.jti = pawl_bytes_of(big, PAWL_NAME_MAX);
    assert_int_equal(status_of(rig, &good), PAWL_TOKEN_VALID);
}

static void two_steps_answer_what_one_does(void **state)
{
    struct rig *rig = *state;
    struct pawl_fact fact = fact_about(PAWL_SCOPE_FAMILY, text("some-foreign-session"));
    struct pawl_token_claims claims = claims_of_alice();
    struct pawl_token_probes probes;

    apply(rig, &fact);
    pawl_token_prepare(&rig->view, &claims, &probes);
    assert_int_equal(probes.count, 1); /* scopes without facts cost nothing */
    assert_int_equal(pawl_token_finish(&rig->view, &claims, &probes).status, PAWL_TOKEN_REVOKED);
    claims.sid.size = 0;
    pawl_token_prepare(&rig->view, &claims, &probes);
    assert_int_equal(probes.count, 0);
    assert_int_equal(pawl_token_finish(&rig->view, &claims, &probes).status, PAWL_TOKEN_VALID);
}

static void words_are_those_of_the_command_line(void **state)
{
    (void)state;
    assert_string_equal(pawl_token_status_name(PAWL_TOKEN_UNDECIDED), "undecided");
    assert_string_equal(pawl_token_status_name((enum pawl_token_status)0), "none");
    assert_string_equal(pawl_token_cause_name(PAWL_TOKEN_CAUSE_OLDER_THAN_STORE),
                        "older_than_store");
}

#define unit(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(a_token_that_nothing_is_known_about_is_valid_and_fresh),
        cmocka_unit_test_teardown(any_scope_that_hits_revokes_alone_and_with_others, rig_teardown),
        unit(a_hit_of_another_issuer_namespace_or_name_is_none),
        unit(a_cutoff_hits_the_same_second_and_spares_the_next),
        unit(a_family_born_a_millisecond_after_the_cutoff_is_spared),
        unit(an_immediate_login_after_a_log_out_everywhere_is_spared),
        unit(a_token_with_neither_birth_nor_iat_is_hit_by_every_cutoff),
        unit(a_revoked_key_takes_tokens_of_any_age),
        unit(exp_and_iat_have_their_edges_at_the_skew),
        unit(a_token_that_claims_to_live_too_long_is_invalid),
        unit(a_verdict_does_not_depend_on_whether_a_cleaning_has_run),
        unit(a_civil_clock_that_jumps_ahead_makes_no_revoked_token_valid),
        unit(a_floor_cuts_off_every_namespace_and_spares_who_is_born_later),
        unit(a_cancelled_revocation_is_forgotten),
        unit(frozen_still_refuses_what_it_knows_and_decides_nothing_else),
        unit(while_loading_only_hits_are_certain),
        unit(stale_data_follows_the_policy_but_a_hit_is_a_hit),
        unit(tokens_from_before_the_store_follow_the_policy),
        unit(claims_beyond_the_caps_or_without_a_name_are_invalid),
        unit(two_steps_answer_what_one_does),
        cmocka_unit_test(words_are_those_of_the_command_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
