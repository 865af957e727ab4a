/* Rotation among retries, tabs, thieves and strangers: rows 10 to 15, and what feeds the table. */
#include "rotation_rig.h"

#include <sys/mman.h>

/* ---- rows 10 to 12: retries, tabs, thieves ---- */

static void the_winners_retry_answers_rotated_again_even_when_strict(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.policy.leeway_ms = 0;
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
    for (unsigned i = 0; i < 3; i++) {
        at_ms(&scene, NOW_MS + i * UINT64_C(600000));
        present(&scene, "J3");
        propose(&scene, "J4");
        assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
        assert_int_equal(scene.out.row, 10);
        assert_int_equal(scene.out.generation, 4);
        assert_int_equal(scene.out.successor.iat_s, NOW_S); /* as the first time */
        assert_int_equal(scene.out.successor.exp_s, NOW_S + 86400);
        assert_false(scene.out.effects.write_family);
    }
}

static void a_retry_after_the_successor_was_used_raced_and_is_no_theft(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
    assert_int_equal(rotate(&scene, "J4", "J5"), PAWL_ROTATION_ROTATED);
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_RACED);
    assert_int_equal(scene.out.row, 10);
    assert_int_equal(scene.record.state, PAWL_FAMILY_ACTIVE);
}

static void of_many_tabs_one_rotates_and_the_rest_get_its_successor(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(rotate(&scene, "J3", "tab-0"), PAWL_ROTATION_ROTATED);
    for (unsigned i = 1; i <= 31; i++) {
        char next[16];

        (void)snprintf(next, sizeof(next), "tab-%u", i);
        at_ms(&scene, NOW_MS + i * UINT64_C(10));
        assert_int_equal(rotate(&scene, "J3", next), PAWL_ROTATION_GRACE);
        assert_memory_equal(scene.out.successor.value.data, "tab-0", 5);
        assert_int_equal(scene.out.generation, 4);
    }
    assert_int_equal(scene.record.grace_uses, 31);
    assert_int_equal(rotate(&scene, "tab-0", "J9"), PAWL_ROTATION_ROTATED);
}

static void the_65th_grace_answer_is_raced(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
    for (unsigned use = 1; use <= 70; use++) {
        assert_int_equal(rotate(&scene, "J3", "another"),
                         use <= 64 ? PAWL_ROTATION_GRACE : PAWL_ROTATION_RACED);
        assert_int_equal(scene.out.row, 11);
        assert_int_equal(scene.out.effects.write_family, use <= 64);
    }
    assert_int_equal(scene.record.state, PAWL_FAMILY_ACTIVE);
}

static void soft_mode_mints_and_revokes_nothing_in_grace(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.policy.mode = PAWL_ROTATION_SOFT;
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
    assert_int_equal(rotate(&scene, "J3", "J5"), PAWL_ROTATION_RACED);
    assert_int_equal(scene.out.row, 11);
    assert_false(scene.out.has_successor);
    assert_false(scene.out.effects.write_family);
}

static void grace_ends_at_its_edge(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
    present(&scene, "J3");
    propose(&scene, "J5");
    at_ms(&scene, NOW_MS + 10000);
    assert_int_equal(decide(&scene), PAWL_ROTATION_GRACE);
    at_ms(&scene, NOW_MS + 10001);
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.row, 12);
}

static void grace_only_ever_shrinks(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
    present(&scene, "J3");
    propose(&scene, "J5");
    at_ms(&scene, NOW_MS + 5000);
    scene.policy.leeway_ms = 300000; /* a longer one is for later rotations */
    assert_int_equal(decide(&scene), PAWL_ROTATION_GRACE);
    at_ms(&scene, NOW_MS + 10001);
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
    at_ms(&scene, NOW_MS + 5000);
    scene.policy.leeway_ms = 4999; /* a shorter one counts at once */
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
    scene.policy.leeway_ms = 0;
    at_ms(&scene, NOW_MS);
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
}

static void a_request_may_narrow_the_leeway_and_never_widen_it(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.request.has_leeway = true;
    scene.request.leeway_ms = 2000;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    assert_int_equal(scene.out.effects.family.grace_until_ms, NOW_MS + 2000);
    scene.request.leeway_ms = 999999;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    assert_int_equal(scene.out.effects.family.grace_until_ms, NOW_MS + 10000);
    scene.policy.leeway_ms = UINT64_MAX; /* a policy nobody checked */
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    assert_int_equal(scene.out.effects.family.grace_until_ms, NOW_MS + 300000);
}

static void grace_ends_when_the_successor_is_consumed(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
    assert_int_equal(rotate(&scene, "J3", "J4b"), PAWL_ROTATION_GRACE);
    assert_int_equal(rotate(&scene, "J4", "J5"), PAWL_ROTATION_ROTATED);
    assert_int_equal(rotate(&scene, "J3", "J4c"), PAWL_ROTATION_REUSE);
}

static void reuse_revokes_the_family_once_with_a_fact_and_an_event(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.request.actor = text("api-7");
    assert_int_equal(rotate(&scene, "J1", "stolen"), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.reason, PAWL_REASON_REUSE);
    assert_int_equal(scene.out.effects.event, PAWL_ROTATION_EVENT_REUSE);
    assert_int_equal(scene.out.effects.facts_count, 1);
    assert_int_equal(scene.out.effects.facts[0].kind, PAWL_FACT_REVOCATION);
    assert_int_equal(scene.out.effects.facts[0].scope, PAWL_SCOPE_FAMILY);
    assert_int_equal(scene.out.effects.facts[0].reason, PAWL_REASON_REUSE);
    assert_int_equal(scene.out.effects.facts[0].until_s, RIG_NOW_S + 2592000 + 3600);
    assert_int_equal(scene.out.effects.facts[0].value.size, scene.record.sid.size);
    assert_int_equal(scene.out.effects.facts[0].actor.size, 5);
    assert_int_equal(pawl_fact_check(&scene.out.effects.facts[0], NULL), PAWL_OK);
    assert_int_equal(scene.record.state, PAWL_FAMILY_REVOKED);
    assert_int_equal(rotate(&scene, "J3", "victim"), PAWL_ROTATION_REVOKED); /* both are out */
    assert_int_equal(rotate(&scene, "J1", "again"), PAWL_ROTATION_REVOKED);
    assert_int_equal(scene.out.effects.event, PAWL_ROTATION_EVENT_NONE);
}

static void reuse_may_only_deny_and_then_tells_once(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.policy.on_reuse = PAWL_ON_REUSE_DENY;
    assert_int_equal(rotate(&scene, "J1", "stolen"), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.effects.event, PAWL_ROTATION_EVENT_REUSE);
    assert_int_equal(scene.out.effects.facts_count, 0);
    assert_int_equal(rotate(&scene, "J1", "stolen"), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.effects.event, PAWL_ROTATION_EVENT_NONE);
    assert_false(scene.out.effects.write_family);
    assert_int_equal(rotate(&scene, "J3", "J4"), PAWL_ROTATION_ROTATED);
}

static void reuse_may_log_the_subject_out_everywhere(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    scene.policy.on_reuse = PAWL_ON_REUSE_REVOKE_SUBJECT;
    assert_int_equal(rotate(&scene, "J1", "stolen"), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.effects.facts_count, 2);
    assert_int_equal(scene.out.effects.facts[1].kind, PAWL_FACT_CUTOFF);
    assert_int_equal(scene.out.effects.facts[1].scope, PAWL_SCOPE_SUBJECT);
    assert_int_equal(scene.out.effects.facts[1].cutoff_ms, NOW_MS + 100);
    assert_memory_equal(scene.out.effects.facts[1].value.data, "alice", 5);
    assert_int_equal(pawl_fact_check(&scene.out.effects.facts[1], NULL), PAWL_OK);
    scene_open(&scene);
    scene.policy.on_reuse = PAWL_ON_REUSE_REVOKE_SUBJECT;
    scene.record.subject.size = 0; /* nobody to log out: the family at least */
    assert_int_equal(rotate(&scene, "J1", "stolen"), PAWL_ROTATION_REUSE);
    assert_int_equal(scene.out.effects.facts_count, 1);
}

/* ---- rows 13 to 15: strangers ---- */

static void a_stranger_in_a_known_family_is_judged_by_its_generation(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene); /* generation 3 */
    make_hold(&scene, 13);
    for (uint64_t generation = 0; generation < 7; generation++) {
        scene.request.generation = generation;
        (void)decide(&scene);
        assert_int_equal(scene.out.row, 13);
        assert_int_equal(scene.out.result, generation < 2   ? PAWL_ROTATION_REUSE
                                           : generation < 4 ? PAWL_ROTATION_UNKNOWN
                                                            : PAWL_ROTATION_UNAVAILABLE);
        assert_int_equal(scene.out.effects.event, generation < 2 ? PAWL_ROTATION_EVENT_REUSE
                                                  : generation < 4
                                                      ? PAWL_ROTATION_EVENT_NONE
                                                      : PAWL_ROTATION_EVENT_LOST_STATE);
    }
    scene.request.generation = UINT64_MAX;
    assert_int_equal(decide(&scene), PAWL_ROTATION_UNAVAILABLE);
}

static void a_stranger_without_generation_is_theft_only_if_verified_with_this_sid(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    present(&scene, "J-unheard-of");
    assert_int_equal(decide(&scene), PAWL_ROTATION_UNKNOWN);
    scene.request.verified = true;
    assert_int_equal(decide(&scene), PAWL_ROTATION_UNKNOWN);
    scene.request.sid = text("018c8f3e-7b1a-7000-8000-0123456789ab");
    assert_int_equal(decide(&scene), PAWL_ROTATION_REUSE);
    scene.request.verified = false;
    assert_int_equal(decide(&scene), PAWL_ROTATION_UNKNOWN);
    assert_int_equal(scene.out.row, 13);
}

static void adoption_makes_a_family_and_rotates_it(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    make_hold(&scene, 15);
    scene.request.subject = text("bob");
    scene.request.issuer = text("https://old.example");
    assert_int_equal(decide(&scene), PAWL_ROTATION_ADOPTED);
    assert_int_equal(scene.out.row, 15);
    assert_true(scene.out.effects.create_family);
    assert_true(scene.out.effects.write_family);
    assert_int_equal(scene.out.generation, 1);
    assert_int_equal(scene.out.effects.family.born_ms, (RIG_NOW_S - 1000) * 1000);
    assert_memory_equal(scene.out.effects.family.prev.value.data, "from before pawl", 16);
    assert_memory_equal(scene.out.effects.family.subject.data, "bob", 3);
    assert_memory_equal(scene.out.successor.value.data, "J4", 2);
    assert_int_equal(pawl_sid_birth_ms(&scene.keys, text("default"),
                                       pawl_name_bytes(&scene.out.sid), scene.now.stamp, 0),
                     (RIG_NOW_S - 1000) * 1000);
}

static void concurrent_adoptions_meet_in_one_family(void **state)
{
    struct pawl_name sid;
    struct scene scene;

    (void)state;
    scene_open(&scene);
    make_hold(&scene, 15);
    assert_int_equal(decide(&scene), PAWL_ROTATION_ADOPTED);
    scene.record = scene.out.effects.family;
    scene.known = true;
    assert_true(pawl_rotation_sid(&scene.request, &scene.keys, 0, &sid)); /* the loser's look-up */
    assert_int_equal(sid.size, scene.record.sid.size);
    assert_memory_equal(sid.data, scene.record.sid.data, sid.size);
    propose(&scene, "the loser's");
    assert_int_equal(decide(&scene), PAWL_ROTATION_GRACE);
    assert_memory_equal(scene.out.successor.value.data, "J4", 2);
}

#define not_adopted(change)                                      \
    do {                                                         \
        scene_open(&scene);                                      \
        make_hold(&scene, 15);                                   \
        change;                                                  \
        assert_int_equal(decide(&scene), PAWL_ROTATION_UNKNOWN); \
        assert_int_equal(scene.out.row, 14);                     \
        assert_false(scene.out.effects.write_family);            \
    } while (0)

static void adoption_needs_everything_it_asks_for(void **state)
{
    struct scene scene;

    (void)state;
    not_adopted(scene.policy.adopt_until_s = 0);
    not_adopted(scene.policy.adopt_until_s = scene.request.iat_s - 1);
    not_adopted(scene.request.adopt = false);
    not_adopted(scene.request.has_iat = false);
    not_adopted(scene.request.has_exp = false);
    not_adopted(scene.hits.sid_birth_ms = 1); /* a sid of ours: its family was lost */
    scene_open(&scene);
    make_hold(&scene, 15);
    scene.policy.adopt_until_s = scene.request.iat_s; /* the deadline itself is in time */
    assert_int_equal(decide(&scene), PAWL_ROTATION_ADOPTED);
}

static void a_token_too_old_for_family_max_or_idle_max_is_not_adopted(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    make_hold(&scene, 15);
    scene.policy.family_max_s = 1000;
    assert_int_equal(decide(&scene), PAWL_ROTATION_FAMILY_EXPIRED);
    assert_int_equal(scene.out.row, 8);
    assert_false(scene.out.effects.write_family);
    scene.policy.family_max_s = 1001;
    assert_int_equal(decide(&scene), PAWL_ROTATION_ADOPTED);
    assert_true(scene.out.clamped);
    scene.policy.family_max_s = 0;
    scene.policy.idle_max_s = 1000;
    assert_int_equal(decide(&scene), PAWL_ROTATION_FAMILY_EXPIRED);
}

static void a_family_adopted_under_an_older_secret_is_found(void **state)
{
    struct pawl_name old;
    struct pawl_name sid;
    struct scene scene;

    (void)state;
    scene_open(&scene);
    make_hold(&scene, 15);
    assert_true(pawl_rotation_sid(&scene.request, &scene.keys, 0, &old));
    assert_false(pawl_rotation_sid(&scene.request, &scene.keys, 1, &sid));
    scene.keys.adopt[1] = scene.keys.adopt[0];
    scene.keys.adopt[0].bytes[3] ^= 1;
    scene.keys.adopt_count = 2;
    scene.request.sid = text("a sid of its own");
    assert_true(pawl_rotation_sid(&scene.request, &scene.keys, 0, &sid));
    assert_memory_equal(sid.data, "a sid of its own", 16);
    assert_true(pawl_rotation_sid(&scene.request, &scene.keys, 1, &sid));
    assert_memory_not_equal(sid.data, old.data, old.size);
    assert_true(pawl_rotation_sid(&scene.request, &scene.keys, 2, &sid));
    assert_memory_equal(sid.data, old.data, old.size);
    assert_false(pawl_rotation_sid(&scene.request, &scene.keys, 3, &sid));
    scene.request.has_iat = false;
    assert_false(pawl_rotation_sid(&scene.request, &scene.keys, 1, &sid));
}

/* ---- what the table is fed with ---- */

static void gathering_finds_every_scope_of_token_and_record(void **state)
{
    struct pawl_revocations_options options = { .max = 1000 };
    uint64_t size = pawl_revocations_size(options.max);
    void *region = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    static struct pawl_revocations table;
    struct scene scene;
    static const char *const values[PAWL_SCOPES] = { [PAWL_SCOPE_TOKEN] = "J3",
                                                     [PAWL_SCOPE_SUBJECT] = "alice",
                                                     [PAWL_SCOPE_CLIENT] = "web",
                                                     [PAWL_SCOPE_KEY] = "k1",
                                                     [PAWL_SCOPE_NAMESPACE] = "" };

    (void)state;
    assert_true(region != MAP_FAILED);
    assert_int_equal(pawl_revocations_init(&table, region, size, &options), PAWL_OK);
    for (unsigned scope = PAWL_SCOPE_TOKEN; scope < PAWL_SCOPES; scope++) {
        bool cutoff = pawl_scope_has_cutoff((enum pawl_scope)scope);
        struct pawl_fact fact = { .kind = cutoff ? PAWL_FACT_CUTOFF : PAWL_FACT_REVOCATION,
                                  .scope = (enum pawl_scope)scope,
                                  .ns = text("default"),
                                  .issuer = text("https://auth.example"),
                                  .cutoff_ms = cutoff ? 1000 + scope : 0,
                                  .until_s = RIG_NOW_S + 9 };

        scene_open(&scene);
        if (scope != PAWL_SCOPE_FAMILY && values[scope] == NULL) {
            continue; /* signed and opaque tokens: the same path as jti */
        }
        fact.value =
            values[scope] == NULL ? pawl_name_bytes(&scene.record.sid) : text(values[scope]);
        assert_int_equal(pawl_revocations_apply(&table, &scene.keys.facts, &fact, 0), PAWL_OK);
    }
    scene.request.kid = text("k1"); /* the rest comes from the record */
    pawl_rotation_gather(&table.view, &scene.keys, &scene.record, &scene.request, &scene.now, 5,
                         &scene.hits);
    assert_int_equal(scene.hits.token.until_s, RIG_NOW_S + 9);
    assert_int_equal(scene.hits.family.until_s, RIG_NOW_S + 9);
    for (unsigned scope = PAWL_SCOPE_SUBJECT; scope < PAWL_SCOPES; scope++) {
        assert_int_equal(scene.hits.cutoffs[scope].cutoff_ms, 1000 + scope);
    }
    at_ms(&scene, NOW_MS + 10000); /* a civil clock alone ends no fact */
    pawl_rotation_gather(&table.view, &scene.keys, &scene.record, &scene.request, &scene.now, 5,
                         &scene.hits);
    assert_int_equal(scene.hits.token.until_s, RIG_NOW_S + 9);
    pawl_revocations_set_floor(&table, NOW_MS);
    pawl_rotation_gather(&table.view, &scene.keys, &scene.record, &scene.request, &scene.now, 5,
                         &scene.hits);
    assert_int_equal(scene.hits.cutoffs[PAWL_SCOPE_NAMESPACE].cutoff_ms, NOW_MS);
    pawl_revocations_set_floor(&table, 0);
    scene.now.slow_s = RIG_NOW_S + 10; /* past its time, dropped or not */
    pawl_rotation_gather(&table.view, &scene.keys, &scene.record, &scene.request, &scene.now, 5,
                         &scene.hits);
    assert_int_equal(scene.hits.token.until_s, 0);
    assert_int_equal(scene.hits.family.until_s, 0);
    pawl_revocations_deinit(&table);
    (void)munmap(region, size);
}

static void an_ended_session_makes_one_fact(void **state)
{
    struct pawl_fact fact;
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_true(pawl_rotation_revoke(&scene.record, PAWL_REASON_LOGOUT, text("alice"), &scene.now,
                                     86400, &fact));
    assert_int_equal(pawl_fact_check(&fact, NULL), PAWL_OK);
    assert_int_equal(fact.scope, PAWL_SCOPE_FAMILY);
    assert_int_equal(fact.until_s, RIG_NOW_S + 86400 + 3600);
    assert_false(pawl_rotation_revoke(&scene.record, PAWL_REASON_ADMIN, text("root"), &scene.now,
                                      86400, &fact));
    assert_int_equal(fact.reason, PAWL_REASON_LOGOUT);
    assert_int_equal(decide(&scene), PAWL_ROTATION_REVOKED);
}

static void opaque_successors_can_be_given_again_and_not_be_guessed(void **state)
{
    static const uint8_t seeds[2][PAWL_FAMILY_SEED_BYTES] = { { 1 }, { 2 } };
    uint8_t tokens[5][32];
    struct scene scene;

    (void)state;
    scene_open(&scene);
    pawl_rotation_opaque(&scene.keys, &scene.record, 4, seeds[0], tokens[0]);
    pawl_rotation_opaque(&scene.keys, &scene.record, 4, seeds[0], tokens[1]);
    assert_memory_equal(tokens[0], tokens[1], 32);
    pawl_rotation_opaque(&scene.keys, &scene.record, 5, seeds[0], tokens[1]);
    pawl_rotation_opaque(&scene.keys, &scene.record, 4, seeds[1], tokens[2]);
    scene.record.sid.data[0] ^= 1;
    pawl_rotation_opaque(&scene.keys, &scene.record, 4, seeds[0], tokens[3]);
    scene.record.sid.data[0] ^= 1;
    scene.keys.facts.bytes[0] ^= 1;
    pawl_rotation_opaque(&scene.keys, &scene.record, 4, seeds[0], tokens[4]);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_memory_not_equal(tokens[i], tokens[j], 16);
            assert_memory_not_equal(tokens[i] + 16, tokens[j] + 16, 16);
        }
    }
}

static void opaque_tokens_rotate_by_hash_and_grace_keeps_the_seed(void **state)
{
    static const uint8_t seed[PAWL_FAMILY_SEED_BYTES] = { 7 };
    uint8_t token[32];
    uint8_t again[32];
    uint8_t hash[32];
    struct scene scene;

    (void)state;
    scene_open(&scene);
    pawl_rotation_opaque(&scene.keys, &scene.record, 4, seed, token);
    pawl_sha256(hash, token, sizeof(token));
    scene.request.proposed =
        (struct pawl_token_ref){ PAWL_SCOPE_OPAQUE, pawl_bytes_of(hash, sizeof(hash)) };
    memcpy(scene.request.proposed_seed, seed, sizeof(seed));
    assert_int_equal(decide(&scene), PAWL_ROTATION_ROTATED);
    scene.record = scene.out.effects.family;
    assert_int_equal(rotate(&scene, "J3", "other"), PAWL_ROTATION_GRACE);
    pawl_rotation_opaque(&scene.keys, &scene.record, scene.out.generation, scene.out.successor.seed,
                         again);
    assert_memory_equal(token, again, sizeof(token));
}

static void leeway_has_a_soft_and_a_hard_cap(void **state)
{
    struct pawl_rotation_policy policy = pawl_rotation_policy_default();
    struct pawl_error error;
    bool soft = true;

    (void)state;
    assert_int_equal(policy.leeway_ms, 10000);
    assert_int_equal(pawl_rotation_policy_check(&policy, &soft, &error), PAWL_OK);
    assert_false(soft);
    policy.leeway_ms = 60001;
    assert_int_equal(pawl_rotation_policy_check(&policy, &soft, &error), PAWL_OK);
    assert_true(soft);
    policy.leeway_ms = 300001;
    assert_int_equal(pawl_rotation_policy_check(&policy, NULL, &error), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "300001"));
    policy = pawl_rotation_policy_default();
    policy.skew_s = 61;
    assert_int_equal(pawl_rotation_policy_check(&policy, NULL, NULL), PAWL_EINVAL);
}

/* Whatever clients do, in whatever order: one winner for each generation, no way out of REVOKED,
 * and within grace the direct predecessor of an unused successor is never called theft. */
static void a_random_life_keeps_the_promises(void **state)
{
    uint64_t seed = rig_seed();
    uint64_t random = seed;

    (void)state;
    for (unsigned life = 0; life < 300; life++) {
        uint64_t now_ms = NOW_MS;
        struct scene scene;

        scene_open(&scene);
        scene.policy.mode = (enum pawl_rotation_mode)(rig_random(&random) % 2);
        for (unsigned step = 0; step < 60; step++) {
            struct pawl_family before = scene.record;
            uint64_t pick = rig_random(&random);
            char from[24];
            char to[24];
            enum pawl_rotation_result result;

            now_ms += rig_random(&random) % 4000;
            at_ms(&scene, now_ms);
            (void)snprintf(from, sizeof(from), "%.*s", (int)before.cur.value.size,
                           (const char *)before.cur.value.data);
            if (pick % 3 == 0) {
                (void)snprintf(from, sizeof(from), "%.*s", (int)before.prev.value.size,
                               (const char *)before.prev.value.data);
            }
            (void)snprintf(to, sizeof(to), "L%u.%u", life, step);
            result = rotate(&scene, from, to);
            rig_check(seed, before.state != PAWL_FAMILY_REVOKED ||
                                (scene.record.state == PAWL_FAMILY_REVOKED &&
                                 result == PAWL_ROTATION_REVOKED));
            rig_check(seed, (result == PAWL_ROTATION_ROTATED) ==
                                (scene.record.generation == before.generation + 1));
            if (pick % 3 == 0 && before.state == PAWL_FAMILY_ACTIVE) {
                rig_check(seed,
                          (now_ms <= before.grace_until_ms) ==
                              (result == PAWL_ROTATION_GRACE || result == PAWL_ROTATION_RACED));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_winners_retry_answers_rotated_again_even_when_strict),
        cmocka_unit_test(a_retry_after_the_successor_was_used_raced_and_is_no_theft),
        cmocka_unit_test(of_many_tabs_one_rotates_and_the_rest_get_its_successor),
        cmocka_unit_test(the_65th_grace_answer_is_raced),
        cmocka_unit_test(soft_mode_mints_and_revokes_nothing_in_grace),
        cmocka_unit_test(grace_ends_at_its_edge),
        cmocka_unit_test(grace_only_ever_shrinks),
        cmocka_unit_test(a_request_may_narrow_the_leeway_and_never_widen_it),
        cmocka_unit_test(grace_ends_when_the_successor_is_consumed),
        cmocka_unit_test(reuse_revokes_the_family_once_with_a_fact_and_an_event),
        cmocka_unit_test(reuse_may_only_deny_and_then_tells_once),
        cmocka_unit_test(reuse_may_log_the_subject_out_everywhere),
        cmocka_unit_test(a_stranger_in_a_known_family_is_judged_by_its_generation),
        cmocka_unit_test(a_stranger_without_generation_is_theft_only_if_verified_with_this_sid),
        cmocka_unit_test(adoption_makes_a_family_and_rotates_it),
        cmocka_unit_test(concurrent_adoptions_meet_in_one_family),
        cmocka_unit_test(adoption_needs_everything_it_asks_for),
        cmocka_unit_test(a_token_too_old_for_family_max_or_idle_max_is_not_adopted),
        cmocka_unit_test(a_family_adopted_under_an_older_secret_is_found),
        cmocka_unit_test(gathering_finds_every_scope_of_token_and_record),
        cmocka_unit_test(an_ended_session_makes_one_fact),
        cmocka_unit_test(opaque_successors_can_be_given_again_and_not_be_guessed),
        cmocka_unit_test(opaque_tokens_rotate_by_hash_and_grace_keeps_the_seed),
        cmocka_unit_test(leeway_has_a_soft_and_a_hard_cap),
        cmocka_unit_test(a_random_life_keeps_the_promises),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
