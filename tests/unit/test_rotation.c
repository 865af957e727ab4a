/* The decision table of rotation: every row, every pair of rows, and the edges of rows 1 to 9. */
#include "rotation_rig.h"

/* ---- the rows, one by one and in pairs ---- */

static const enum pawl_rotation_result result_of_row[16] = {
    [1] = PAWL_ROTATION_UNAVAILABLE, [2] = PAWL_ROTATION_DENIED,
    [3] = PAWL_ROTATION_EXPIRED,     [4] = PAWL_ROTATION_NOT_YET_VALID,
    [5] = PAWL_ROTATION_MISMATCH,    [6] = PAWL_ROTATION_REVOKED,
    [7] = PAWL_ROTATION_REVOKED,     [8] = PAWL_ROTATION_FAMILY_EXPIRED,
    [9] = PAWL_ROTATION_ROTATED,     [10] = PAWL_ROTATION_ROTATED,
    [11] = PAWL_ROTATION_GRACE,      [12] = PAWL_ROTATION_REUSE,
    [13] = PAWL_ROTATION_REUSE,      [14] = PAWL_ROTATION_UNKNOWN,
    [15] = PAWL_ROTATION_ADOPTED,
};

static void each_row_alone_answers_as_the_table_says(void **state)
{
    struct scene scene;

    (void)state;
    for (unsigned row = 1; row <= 15; row++) {
        scene_open(&scene);
        make_hold(&scene, row);
        assert_int_equal(decide(&scene), result_of_row[row]);
        assert_int_equal(scene.out.row, row);
    }
}

/*
 * Which pairs cannot hold together, and why:
 *   5 with 14, 15     without a record there is nothing to differ from
 *   8 with 14         without a record and without adoption there is no life to be over
 *   9 to 15           say where the token stands, which is one place: current (9), superseded (10
 *                     to 12), in a known family but not among its last 8 (13), nowhere (14, 15);
 *                     of the superseded ones 12 is "otherwise" to 11, and 14 and 15 differ in
 *                     whether it may be adopted. Left are 10 with 11 and 10 with 12.
 */
static bool can_hold_together(unsigned i, unsigned j)
{
    if (i >= 9) {
        return i == 10 && (j == 11 || j == 12);
    }
    return !(i == 5 && j >= 14) && !(i == 8 && j == 14);
}

static void of_every_pair_of_rows_the_first_one_answers(void **state)
{
    unsigned pairs = 0;
    struct scene scene;

    (void)state;
    for (unsigned i = 1; i <= 15; i++) {
        for (unsigned j = i + 1; j <= 15; j++) {
            if (!can_hold_together(i, j)) {
                continue;
            }
            scene_open(&scene);
            make_hold(&scene, j);
            assert_int_equal(decide(&scene), result_of_row[j]);
            make_hold(&scene, i);
            if (decide(&scene) != result_of_row[i] || scene.out.row != i) {
                fail_msg("rows %u and %u hold, row %u answered %s", i, j, scene.out.row,
                         pawl_rotation_result_name(scene.out.result));
            }
            pairs++;
        }
    }
    assert_int_equal(pairs, 105 - 3 - 21 + 2);
}

static void the_same_question_has_the_same_answer(void **state)
{
    static struct pawl_rotation_outcome first;
    struct scene scene;

    (void)state;
    for (unsigned row = 1; row <= 15; row++) {
        scene_open(&scene);
        make_hold(&scene, row);
        (void)decide(&scene);
        first = scene.out;
        memset(&scene.out, 0xa5, sizeof(scene.out));
        (void)decide(&scene);
        assert_int_equal(scene.out.result, first.result);
        assert_int_equal(scene.out.row, first.row);
        assert_int_equal(scene.out.generation, first.generation);
        assert_memory_equal(&scene.out.successor, &first.successor, sizeof(first.successor));
        assert_memory_equal(&scene.out.effects.family, &first.effects.family,
                            sizeof(first.effects.family));
        assert_int_equal(scene.out.effects.event, first.effects.event);
    }
}

static void refusals_change_nothing(void **state)
{
    static const unsigned rows[] = { 1, 2, 3, 4, 5, 6, 7, 8, 10, 14 };
    struct scene scene;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        scene_open(&scene);
        make_hold(&scene, rows[i]);
        (void)decide(&scene);
        assert_false(scene.out.effects.write_family);
        assert_int_equal(scene.out.effects.facts_count, 0);
        assert_int_equal(scene.out.has_successor, rows[i] == 10);
    }
}

/* ---- row 1 and 2 ---- */

static void unavailable_carries_a_hint_and_nothing_else(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    pawl_rotation_unavailable(&scene.out); /* the commit did not hold */
    assert_int_equal(scene.out.result, PAWL_ROTATION_UNAVAILABLE);
    assert_int_equal(scene.out.row, 1);
    assert_true(scene.out.retry_after_ms > 0);
    assert_false(scene.out.has_successor);
    assert_false(scene.out.effects.write_family);
}

#define invalid(change, expected)                                \
    do {                                                         \
        scene_open(&scene);                                      \
        change;                                                  \
        assert_int_equal(decide(&scene), PAWL_ROTATION_INVALID); \
        assert_int_equal(scene.out.row, 2);                      \
        assert_int_equal(scene.out.fault, expected);             \
    } while (0)

static void malformed_requests_are_invalid_and_say_why(void **state)
{
    static const uint8_t big[PAWL_NAME_MAX + 1] = { 'x' };
    struct scene scene;

    (void)state;
    invalid(scene.request.ns.size = 0, PAWL_ROTATION_FAULT_NAMESPACE);
    invalid(scene.request.ns = pawl_bytes_of(big, PAWL_NS_MAX + 1), PAWL_ROTATION_FAULT_NAMESPACE);
    invalid(scene.request.ns = text("other"), PAWL_ROTATION_FAULT_NAMESPACE);
    invalid(scene.request.presented.value.size = 0, PAWL_ROTATION_FAULT_PRESENTED);
    invalid(scene.request.presented.scope = PAWL_SCOPE_FAMILY, PAWL_ROTATION_FAULT_PRESENTED);
    invalid(scene.request.presented.scope = PAWL_SCOPE_OPAQUE, PAWL_ROTATION_FAULT_PRESENTED);
    invalid(scene.request.presented.value = pawl_bytes_of(big, sizeof(big)),
            PAWL_ROTATION_FAULT_PRESENTED);
    invalid(scene.request.proposed.value.size = 0, PAWL_ROTATION_FAULT_PROPOSED);
    invalid(scene.request.proposed.value = pawl_bytes_of(big, sizeof(big)),
            PAWL_ROTATION_FAULT_PROPOSED);
    invalid(scene.request.client = pawl_bytes_of(big, sizeof(big)), PAWL_ROTATION_FAULT_CLAIM);
    invalid(scene.request.binding = pawl_bytes_of(big, PAWL_FAMILY_KEY_BYTES + 1),
            PAWL_ROTATION_FAULT_CLAIM);
    invalid(scene.request.proposed_exp_s = NOW_S, PAWL_ROTATION_FAULT_PROPOSED_TIMES);
    invalid(scene.request.proposed_iat_s = NOW_S + 6, PAWL_ROTATION_FAULT_PROPOSED_TIMES);
    invalid(scene.request.proposed_exp_s = NOW_S + 2592000 + 1, PAWL_ROTATION_FAULT_PROPOSED_TIMES);
    invalid(scene.request.has_exp = true;
            scene.request.exp_s = NOW_S + 2592000 + 6, PAWL_ROTATION_FAULT_LIFETIME);
    for (unsigned fault = 0; fault <= PAWL_ROTATION_FAULT_CLAIM; fault++) {
        assert_true(strlen(pawl_rotation_fault_text((enum pawl_rotation_fault)fault)) > 5);
    }
}

static void a_successor_has_to_be_new(void **state)
{
    struct scene scene;

    (void)state;
    invalid(propose(&scene, "J3"), PAWL_ROTATION_FAULT_PROPOSED_SAME); /* itself */
    invalid(propose(&scene, "J2"), PAWL_ROTATION_FAULT_PROPOSED_SAME);
    invalid(propose(&scene, "J0"), PAWL_ROTATION_FAULT_PROPOSED_SAME);
    invalid(present(&scene, "J1"); propose(&scene, "J3"), PAWL_ROTATION_FAULT_PROPOSED_SAME);
    invalid(present(&scene, "J1"); propose(&scene, "J0"), PAWL_ROTATION_FAULT_PROPOSED_SAME);
    scene_open(&scene);
    present(&scene, "J1");
    propose(&scene, "J2"); /* what its first call got: a retry */
    assert_int_equal(decide(&scene), PAWL_ROTATION_RACED);
    assert_int_equal(scene.out.row, 10);
}

/* ---- rows 3 to 8 ---- */

static void expiry_has_its_edge_at_the_skew_and_comes_from_the_record_if_left_out(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.request.has_exp = true;
    scene.request.exp_s = NOW_S - 5;
    assert_int_equal(decide(&scene), PAWL_ROTATION_EXPIRED);
    scene.request.exp_s = NOW_S - 4;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    scene.request.has_exp = false;
    scene.record.cur.exp_s = NOW_S - 5;
    assert_int_equal(decide(&scene), PAWL_ROTATION_EXPIRED);
    present(&scene, "J2");
    scene.record.prev.exp_s = NOW_S - 5;
    assert_int_equal(decide(&scene), PAWL_ROTATION_EXPIRED);
    present(&scene, "J1"); /* the record has forgotten it */
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
}

static void an_iat_in_the_future_is_refused_and_tells_of_a_clock(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.request.has_iat = true;
    scene.request.iat_s = NOW_S + 5;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    scene.request.iat_s = NOW_S + 6;
    assert_int_equal(decide(&scene), PAWL_ROTATION_NOT_YET_VALID);
    assert_int_equal(scene.out.effects.event, PAWL_ROTATION_EVENT_CLOCK);
    scene.request.has_iat = false;
    scene.record.cur.iat_s = NOW_S + 6;
    assert_int_equal(decide(&scene), PAWL_ROTATION_NOT_YET_VALID);
}

static void only_what_both_sides_say_is_compared(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.request.issuer = text("https://auth.example");
    scene.request.client = text("web");
    scene.request.binding = text("a device"); /* the record has none */
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    scene.record.binding_size = 3;
    assert_int_equal(decide(&scene), PAWL_ROTATION_MISMATCH);
    scene.request.binding.size = 0;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    scene.request.client = text("we");
    assert_int_equal(decide(&scene), PAWL_ROTATION_MISMATCH);
    scene.request.client = text("web");
    scene.request.issuer = text("https://evil.example");
    assert_int_equal(decide(&scene), PAWL_ROTATION_MISMATCH);
    assert_int_equal(scene.out.effects.event, PAWL_ROTATION_EVENT_MISMATCH);
    assert_false(scene.out.effects.write_family);
}

static void a_mismatch_revokes_where_the_policy_says_so(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.policy.on_mismatch = PAWL_ON_MISMATCH_REVOKE_FAMILY;
    scene.request.subject = text("mallory");
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_MISMATCH);
    assert_int_equal(scene.record.state, PAWL_FAMILY_REVOKED);
    assert_int_equal(scene.record.reason, PAWL_REASON_MISMATCH);
    assert_int_equal(scene.out.effects.facts_count, 1);
}

static void a_revoked_family_answers_its_reason_and_makes_no_new_event(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    (void)pawl_family_revoke(&scene.record, PAWL_REASON_LOGOUT, text("alice"), NOW_MS);
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
    assert_int_equal(scene.out.reason, PAWL_REASON_LOGOUT);
    assert_false(scene.out.superseded);
    present(&scene, "J1"); /* would be theft; the family is dead already */
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
    assert_true(scene.out.superseded);
    assert_int_equal(scene.out.effects.event, PAWL_ROTATION_EVENT_NONE);
    assert_false(scene.out.effects.write_family);
    present(&scene, "J-older-than-eight");
    scene.request.has_generation = true;
    scene.request.generation = 0;
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
    assert_true(scene.out.superseded);
}

static void a_family_fact_counts_before_the_record_knows_it(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.hits.family = (struct pawl_revocation){ PAWL_REASON_LOGOUT_ALL, 1, 0 };
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
    assert_int_equal(scene.out.row, 6);
    assert_int_equal(scene.out.reason, PAWL_REASON_LOGOUT_ALL);
    make_hold(&scene, 15); /* nor is a revoked family adopted again */
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
    assert_int_equal(scene.out.row, 6);
}

static void every_cutoff_scope_hits_a_family_born_up_to_it(void **state)
{
    struct scene scene;

    (void)state;
    for (unsigned scope = PAWL_SCOPE_SUBJECT; scope < PAWL_SCOPES; scope++) {
        scene_open(&scene);
        scene.hits.cutoffs[scope] = (struct pawl_revocation){ PAWL_REASON_PASSWORD_CHANGE,
                                                              UINT64_MAX, scene.record.born_ms };
        assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
        assert_int_equal(scene.out.row, 7);
        assert_int_equal(scene.out.reason, PAWL_REASON_PASSWORD_CHANGE);
        scene.hits.cutoffs[scope].cutoff_ms--;
        assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
        scene.hits.cutoffs[scope].cutoff_ms = PAWL_CUTOFF_ALL_MS;
        scene.record.born_ms = UINT64_MAX;
        assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
    }
}

static void an_api_clock_that_is_ahead_does_not_outlive_a_cutoff(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.request.has_iat = true;
    scene.request.iat_s = NOW_S + 4; /* minted before the log-out by a fast clock */
    scene.hits.cutoffs[PAWL_SCOPE_SUBJECT] =
        (struct pawl_revocation){ PAWL_REASON_LOGOUT_ALL, UINT64_MAX, NOW_MS };
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
}

static void a_stranger_is_judged_by_birth_or_iat(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    make_hold(&scene, 15);
    scene.hits.cutoffs[PAWL_SCOPE_SUBJECT] =
        (struct pawl_revocation){ PAWL_REASON_LOGOUT_ALL, UINT64_MAX, (NOW_S - 1000) * 1000 };
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
    scene.request.iat_s++;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ADOPTED);
}

static void a_family_ends_by_age_and_by_idleness(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.record.abs_exp_s = RIG_NOW_S + 1;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    scene.record.abs_exp_s = RIG_NOW_S;
    assert_int_equal(decide(&scene), PAWL_ROTATION_FAMILY_EXPIRED);
    scene.record.abs_exp_s = 0;
    scene.record.idle_s = 61; /* the last rotation was a minute ago */
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    scene.record.idle_s = 60;
    assert_int_equal(decide(&scene), PAWL_ROTATION_FAMILY_EXPIRED);
    present(&scene, "J1"); /* never theft: the answer must not depend on what was forgotten */
    assert_int_equal(decide(&scene), PAWL_ROTATION_FAMILY_EXPIRED);
}

/* ---- row 9: winning ---- */

static void a_rotation_advances_the_family_and_keeps_the_way_back(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.request.proposed_iat_s = NOW_S - 2;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    assert_int_equal(scene.out.generation, 4);
    assert_true(scene.out.effects.write_family);
    assert_false(scene.out.effects.create_family);
    assert_int_equal(scene.out.effects.facts_count, 0);
    assert_int_equal(scene.out.effects.family.generation, 4);
    assert_memory_equal(scene.out.effects.family.cur.value.data, "J4", 2);
    assert_memory_equal(scene.out.effects.family.prev.value.data, "J3", 2);
    assert_int_equal(scene.out.effects.family.cur.iat_s, NOW_S - 2);
    assert_int_equal(scene.out.effects.family.grace_until_ms, NOW_MS + 10000);
    assert_int_equal(scene.out.effects.family.rotated_ms, NOW_MS);
    assert_memory_equal(scene.out.successor.value.data, "J4", 2);
    assert_int_equal(scene.out.successor.exp_s, NOW_S + 86400);
    assert_memory_equal(scene.out.sid.data, scene.record.sid.data, scene.record.sid.size);
}

static void a_successor_never_outlives_the_family(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.record.abs_exp_s = RIG_NOW_S + 50;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    assert_true(scene.out.clamped);
    assert_int_equal(scene.out.successor.exp_s, NOW_S + 50);
    assert_int_equal(scene.out.effects.family.cur.exp_s, NOW_S + 50);
}

static void only_the_last_eight_tokens_are_remembered(void **state)
{
    struct scene scene;
    char from[8] = "J3";

    (void)state;
    scene_open(&scene);
    for (unsigned i = 4; i <= 12; i++) {
        char to[8];

        (void)snprintf(to, sizeof(to), "J%u", i);
        at_ms(&scene, NOW_MS + i * UINT64_C(60000));
        assert_int_equal(rotate(&scene, from, to), PAWL_ROTATION_ROTATED);
        memcpy(from, to, sizeof(to));
    }
    assert_int_equal(scene.record.jtis_count, 8);
    propose(&scene, "J13");
    present(&scene, "J5");
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.row, 12);
    present(&scene, "J4"); /* forgotten: proven stale by its generation */
    assert_int_equal(decide(&scene), PAWL_ROTATION_UNKNOWN);
    scene.request.has_generation = true;
    scene.request.generation = 4;
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.row, 13);
}

static void results_have_the_words_of_the_table(void **state)
{
    (void)state;
    assert_string_equal(pawl_rotation_result_name(PAWL_ROTATION_FAMILY_EXPIRED), "family_expired");
    assert_string_equal(pawl_rotation_result_name(PAWL_ROTATION_NOT_YET_VALID), "not_yet_valid");
    assert_string_equal(pawl_rotation_result_name((enum pawl_rotation_result)99), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_alone_answers_as_the_table_says),
        cmocka_unit_test(of_every_pair_of_rows_the_first_one_answers),
        cmocka_unit_test(the_same_question_has_the_same_answer),
        cmocka_unit_test(refusals_change_nothing),
        cmocka_unit_test(unavailable_carries_a_hint_and_nothing_else),
        cmocka_unit_test(malformed_requests_are_invalid_and_say_why),
        cmocka_unit_test(a_successor_has_to_be_new),
        cmocka_unit_test(expiry_has_its_edge_at_the_skew_and_comes_from_the_record_if_left_out),
        cmocka_unit_test(an_iat_in_the_future_is_refused_and_tells_of_a_clock),
        cmocka_unit_test(only_what_both_sides_say_is_compared),
        cmocka_unit_test(a_mismatch_revokes_where_the_policy_says_so),
        cmocka_unit_test(a_revoked_family_answers_its_reason_and_makes_no_new_event),
        cmocka_unit_test(a_family_fact_counts_before_the_record_knows_it),
        cmocka_unit_test(every_cutoff_scope_hits_a_family_born_up_to_it),
        cmocka_unit_test(an_api_clock_that_is_ahead_does_not_outlive_a_cutoff),
        cmocka_unit_test(a_stranger_is_judged_by_birth_or_iat),
        cmocka_unit_test(a_family_ends_by_age_and_by_idleness),
        cmocka_unit_test(a_rotation_advances_the_family_and_keeps_the_way_back),
        cmocka_unit_test(a_successor_never_outlives_the_family),
        cmocka_unit_test(only_the_last_eight_tokens_are_remembered),
        cmocka_unit_test(results_have_the_words_of_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
