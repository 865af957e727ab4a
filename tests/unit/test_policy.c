/* What cannot be told, and what the operator wants then. */
#include "token_rig.h"

#include "core/policy.h"

static void an_outage_becomes_what_the_operator_wrote(void **state)
{
    (void)state;
    assert_int_equal(pawl_outage_verdict(PAWL_ON_ERROR_OPEN), PAWL_ALLOW);
    assert_int_equal(pawl_outage_verdict(PAWL_ON_ERROR_CLOSED), PAWL_DENY);
    assert_int_equal(pawl_outage_verdict(PAWL_ON_ERROR_LOCAL), PAWL_UNDECIDED);
    assert_int_equal(pawl_outage_verdict(PAWL_ON_ERROR_NONE), PAWL_UNDECIDED);
    assert_int_equal(pawl_outage_verdict((enum pawl_on_error)77), PAWL_UNDECIDED);
}

static void the_defaults_are_those_of_the_reference_and_pass_the_check(void **state)
{
    struct pawl_token_policy policy = pawl_token_policy_default();

    (void)state;
    assert_int_equal(policy.max_lifetime_s, 2592000);
    assert_int_equal(policy.staleness_max_ms, 5000);
    assert_int_equal(policy.when_stale, PAWL_STALE_UNDECIDED);
    assert_int_equal(policy.older_than_store, PAWL_OLDER_ACCEPT);
    assert_int_equal(pawl_token_policy_check(&policy, NULL), PAWL_OK);
}

static void a_policy_that_nobody_filled_in_accepts_nothing_uncertain(void **state)
{
    struct pawl_token_policy policy = { 0 };

    (void)state;
    assert_false(pawl_stale_verdict(&policy, 1).usable);
    assert_true(pawl_token_is_older(&policy, 0, false, 0));
    assert_int_not_equal(policy.older_than_store, PAWL_OLDER_ACCEPT);
    assert_int_equal(pawl_token_policy_check(&policy, NULL), PAWL_EINVAL);
}

static void values_beyond_the_caps_are_refused(void **state)
{
    struct pawl_token_policy policy = pawl_token_policy_default();
    struct pawl_error error = { .status = PAWL_OK };

    (void)state;
    policy.skew_s = 61;
    assert_int_equal(pawl_token_policy_check(&policy, &error), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "61"));
    policy.skew_s = 60;
    assert_int_equal(pawl_token_policy_check(&policy, &error), PAWL_OK);
    policy.max_lifetime_s = PAWL_TOKEN_LIFETIME_MAX_S + 1;
    assert_int_equal(pawl_token_policy_check(&policy, &error), PAWL_EINVAL);
    policy = pawl_token_policy_default();
    policy.when_stale = PAWL_STALE_OPEN_UNTIL;
    policy.stale_open_ms = policy.staleness_max_ms - 1;
    assert_int_equal(pawl_token_policy_check(&policy, &error), PAWL_EINVAL);
}

static void data_is_fresh_up_to_its_bound_and_then_as_the_policy_says(void **state)
{
    struct pawl_token_policy policy = pawl_token_policy_default();

    (void)state;
    policy.stale_open_ms = 60000;
    for (int when = PAWL_STALE_UNDECIDED; when <= PAWL_STALE_OPEN_UNTIL; when++) {
        policy.when_stale = (enum pawl_when_stale)when;
        assert_true(pawl_stale_verdict(&policy, 5000).fresh);
        assert_true(pawl_stale_verdict(&policy, 5000).usable);
        assert_false(pawl_stale_verdict(&policy, 5001).fresh);
        assert_int_equal(pawl_stale_verdict(&policy, 5001).usable, when != PAWL_STALE_UNDECIDED);
        assert_int_equal(pawl_stale_verdict(&policy, 60000).usable, when != PAWL_STALE_UNDECIDED);
        assert_int_equal(pawl_stale_verdict(&policy, 60001).usable, when == PAWL_STALE_OPEN);
        assert_int_equal(pawl_stale_verdict(&policy, UINT64_MAX).usable, when == PAWL_STALE_OPEN);
    }
}

static void a_token_is_older_if_it_may_have_been_issued_before_the_store(void **state)
{
    struct pawl_token_policy policy = pawl_token_policy_default();

    (void)state;
    policy.store_birth_ms = 5000500;
    assert_true(pawl_token_is_older(&policy, 0, true, 4999));
    assert_true(pawl_token_is_older(&policy, 0, true, 5000)); /* the store's first second */
    assert_false(pawl_token_is_older(&policy, 0, true, 5001));
    assert_true(pawl_token_is_older(&policy, 0, true, -1));
    assert_true(pawl_token_is_older(&policy, 0, false, 9999)); /* neither birth time nor iat */
    assert_false(pawl_token_is_older(&policy, 5000500, true, 5000));
    assert_true(pawl_token_is_older(&policy, 5000499, true, 5000));
    assert_true(pawl_token_is_older(&policy, 5000499, false, 0));
    assert_false(pawl_token_is_older(&policy, 5000499, true, 5001)); /* refreshed since */
}

static void a_left_out_issuer_is_the_only_one_or_none(void **state)
{
    struct pawl_bytes configured[] = { text("https://a.example"), text("https://b.example") };

    (void)state;
    assert_int_equal(pawl_issuer_default(text(""), NULL, 0).size, 0);
    assert_non_null(pawl_issuer_default(text(""), NULL, 0).data);
    assert_ptr_equal(pawl_issuer_default(text(""), configured, 1).data, configured[0].data);
    assert_int_equal(pawl_issuer_default(text(""), configured, 2).size, 0);
    assert_int_equal(pawl_issuer_default(text("x"), configured, 1).size, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_becomes_what_the_operator_wrote),
        cmocka_unit_test(the_defaults_are_those_of_the_reference_and_pass_the_check),
        cmocka_unit_test(a_policy_that_nobody_filled_in_accepts_nothing_uncertain),
        cmocka_unit_test(values_beyond_the_caps_are_refused),
        cmocka_unit_test(data_is_fresh_up_to_its_bound_and_then_as_the_policy_says),
        cmocka_unit_test(a_token_is_older_if_it_may_have_been_issued_before_the_store),
        cmocka_unit_test(a_left_out_issuer_is_the_only_one_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
