/* Family records: opening, ending, revoking, their stored form, and the join of two versions. */
#include "token_rig.h"

#include "core/family.h"

#define NOW_MS (RIG_NOW_S * 1000)

static struct pawl_family_open an_opening(void)
{
    struct pawl_family_open open = {
        .ns = text("default"),
        .issuer = text("https://auth.example"),
        .sid = text("018c8f3e-7b1a-7000-8000-0123456789ab"),
        .subject = text("alice"),
        .client = text("web"),
        .binding = text("a hash of something"),
        .scope = PAWL_SCOPE_TOKEN,
        .value = text("J0"),
        .iat_s = (int64_t)RIG_NOW_S,
        .exp_s = (int64_t)RIG_NOW_S + 86400,
        .born_ms = NOW_MS + 5,
    };

    return open;
}

static struct pawl_family a_family(void)
{
    struct pawl_family_open open = an_opening();
    struct pawl_family family;

    assert_int_equal(pawl_family_init(&family, &open, stamp_of_ms(NOW_MS), NULL), PAWL_OK);
    return family;
}

/* What a rotation does to a record, written apart from it. */
static void advance(struct pawl_family *family, const char *jti, uint64_t now_ms)
{
    family->prev = family->cur;
    family->superseded_ms = now_ms;
    family->grace_until_ms = now_ms + 10000;
    family->grace_uses = 0;
    family->rotated_ms = now_ms;
    family->generation++;
    assert_true(pawl_name_set(&family->cur.value, text(jti)));
    memmove(family->jtis + 1, family->jtis, 7 * sizeof(family->jtis[0]));
    family->jtis[0] = pawl_family_jti(PAWL_SCOPE_TOKEN, text(jti));
    family->jtis_count = family->jtis_count < 8 ? (uint8_t)(family->jtis_count + 1) : 8;
}

/* Two records are one when they are stored as the same bytes. */
static bool same(const struct pawl_family *a, const struct pawl_family *b)
{
    static uint8_t x[PAWL_FAMILY_BYTES_MAX];
    static uint8_t y[PAWL_FAMILY_BYTES_MAX];
    size_t x_size = 0;
    size_t y_size = 0;

    assert_int_equal(pawl_family_encode(a, x, sizeof(x), &x_size), PAWL_OK);
    assert_int_equal(pawl_family_encode(b, y, sizeof(y), &y_size), PAWL_OK);
    return x_size == y_size && memcmp(x, y, x_size) == 0;
}

static void a_family_opens_active_at_generation_zero(void **state)
{
    struct pawl_family family = a_family();

    (void)state;
    assert_int_equal(family.state, PAWL_FAMILY_ACTIVE);
    assert_int_equal(family.generation, 0);
    assert_int_equal(family.born_ms, NOW_MS + 5);
    assert_int_equal(family.rotated_ms, NOW_MS + 5);
    assert_int_equal(family.prev.scope, PAWL_SCOPE_NONE);
    assert_int_equal(pawl_family_position(&family, pawl_family_jti(PAWL_SCOPE_TOKEN, text("J0"))),
                     0);
    assert_int_equal(pawl_family_position(&family, pawl_family_jti(PAWL_SCOPE_TOKEN, text("J1"))),
                     -1);
    assert_false(pawl_family_has_ended(&family, stamp_of_ms(UINT64_MAX / 1000)));
}

static void what_opens_a_family_is_checked(void **state)
{
    static const uint8_t big[PAWL_NAME_MAX + 1] = { 'x' };
    struct pawl_family_open opens[9];
    static const enum pawl_status expected[9] = { PAWL_EINVAL,  PAWL_ETOOBIG, PAWL_EINVAL,
                                                  PAWL_ETOOBIG, PAWL_EINVAL,  PAWL_EINVAL,
                                                  PAWL_EINVAL,  PAWL_ETOOBIG, PAWL_EINVAL };
    struct pawl_error error;
    struct pawl_family family;

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        opens[i] = an_opening();
    }
    opens[0].ns.size = 0;
    opens[1].ns = pawl_bytes_of(big, PAWL_NS_MAX + 1);
    opens[2].sid.size = 0;
    opens[3].subject = pawl_bytes_of(big, sizeof(big));
    opens[4].exp_s = 0;
    opens[5].scope = PAWL_SCOPE_FAMILY;
    opens[6].scope = PAWL_SCOPE_OPAQUE; /* two bytes are no SHA-256 */
    opens[7].binding = pawl_bytes_of(big, PAWL_FAMILY_KEY_BYTES + 1);
    opens[8].iat_s = -1;
    for (unsigned i = 0; i < 9; i++) {
        memset(&error, 0, sizeof(error));
        assert_int_equal(pawl_family_init(&family, &opens[i], stamp_of_ms(NOW_MS), &error),
                         expected[i]);
        assert_int_equal(error.status, expected[i]);
        assert_int_equal(family.state, PAWL_FAMILY_NONE);
    }
}

static void the_first_token_is_clamped_to_the_end_of_the_family(void **state)
{
    struct pawl_family_open open = an_opening();
    struct pawl_family family;

    (void)state;
    open.family_max_s = 3600;
    assert_int_equal(pawl_family_init(&family, &open, stamp_of_ms(NOW_MS), NULL), PAWL_OK);
    assert_int_equal(family.abs_exp_s, RIG_NOW_S + 3600);
    assert_int_equal(family.cur.exp_s, RIG_NOW_S + 3600);
    assert_false(pawl_family_has_ended(&family, stamp_of_ms((RIG_NOW_S + 3600) * 1000 - 1)));
    assert_true(pawl_family_has_ended(&family, stamp_of_ms((RIG_NOW_S + 3600) * 1000)));
}

static void idle_time_runs_from_the_last_rotation(void **state)
{
    struct pawl_family_open open = an_opening();
    struct pawl_family family;

    (void)state;
    open.idle_max_s = 60;
    assert_int_equal(pawl_family_init(&family, &open, stamp_of_ms(NOW_MS), NULL), PAWL_OK);
    assert_false(pawl_family_has_ended(&family, stamp_of_ms(NOW_MS + 5 + 59999)));
    assert_true(pawl_family_has_ended(&family, stamp_of_ms(NOW_MS + 5 + 60000)));
    advance(&family, "J1", NOW_MS + 50000);
    assert_false(pawl_family_has_ended(&family, stamp_of_ms(NOW_MS + 5 + 60000)));
    assert_false(pawl_family_has_ended(&family, stamp_of_ms(0))); /* time going back */
    assert_int_equal(family.state, PAWL_FAMILY_ACTIVE);           /* derived, never written */
}

static void revoking_keeps_the_first_reason(void **state)
{
    struct pawl_family family = a_family();

    (void)state;
    assert_true(pawl_family_revoke(&family, PAWL_REASON_LOGOUT, text("alice"), NOW_MS + 9));
    assert_false(pawl_family_revoke(&family, PAWL_REASON_ADMIN, text("root"), NOW_MS + 1));
    assert_int_equal(family.reason, PAWL_REASON_LOGOUT);
    assert_int_equal(family.revoked_ms, NOW_MS + 9);
    assert_memory_equal(family.actor.data, "alice", 5);
    assert_int_equal(family.state, PAWL_FAMILY_REVOKED);
}

static void a_record_survives_its_stored_form(void **state)
{
    struct pawl_family family = a_family();
    uint8_t buffer[PAWL_FAMILY_BYTES_MAX];
    struct pawl_family back;
    size_t size = 0;

    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        char jti[8];

        (void)snprintf(jti, sizeof(jti), "N%u", i);
        assert_int_equal(pawl_family_encode(&family, buffer, sizeof(buffer), &size), PAWL_OK);
        assert_int_equal(pawl_family_decode(&back, pawl_bytes_of(buffer, size)), PAWL_OK);
        assert_true(same(&family, &back));
        assert_int_equal(back.generation, i);
        advance(&family, jti, NOW_MS + i);
    }
    (void)pawl_family_revoke(&family, PAWL_REASON_REUSE, text("x"), NOW_MS);
    family.reuse_reported = true;
    assert_int_equal(pawl_family_encode(&family, buffer, sizeof(buffer), &size), PAWL_OK);
    assert_int_equal(pawl_family_decode(&back, pawl_bytes_of(buffer, size)), PAWL_OK);
    assert_int_equal(back.state, PAWL_FAMILY_REVOKED);
    assert_true(back.reuse_reported);
    for (size_t room = 0; room < size; room++) {
        size_t wrong = 7;

        assert_int_equal(pawl_family_encode(&family, buffer, room, &wrong), PAWL_ETOOBIG);
        assert_int_equal(wrong, 7);
    }
}

static void damaged_records_are_refused_and_never_half_read(void **state)
{
    uint64_t seed = rig_seed();
    uint64_t random = seed;
    struct pawl_family family = a_family();
    uint8_t buffer[PAWL_FAMILY_BYTES_MAX] = { 0 };
    struct pawl_family back;
    size_t size = 0;

    (void)state;
    advance(&family, "J1", NOW_MS + 50);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t again[PAWL_FAMILY_BYTES_MAX];
        enum pawl_status status;
        size_t size_again = 0;

        assert_int_equal(pawl_family_encode(&family, buffer, sizeof(buffer), &size), PAWL_OK);
        for (uint64_t flips = 1 + rig_random(&random) % 3; flips > 0; flips--) {
            buffer[rig_random(&random) % size] ^= (uint8_t)(1u << rig_random(&random) % 8);
        }
        status = pawl_family_decode(&back, pawl_bytes_of(buffer, size));
        if (status != PAWL_OK) {
            rig_check(seed, status == PAWL_ECORRUPT || status == PAWL_EVERSION);
            rig_check(seed, back.state == PAWL_FAMILY_NONE && back.ns.size + back.jtis_count == 0);
            continue;
        }
        rig_check(seed, pawl_family_encode(&back, again, sizeof(again), &size_again) == PAWL_OK);
        rig_check(seed, size_again == size && memcmp(again, buffer, size) == 0);
    }
    assert_int_equal(pawl_family_encode(&family, buffer, sizeof(buffer), &size), PAWL_OK);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(pawl_family_decode(&back, pawl_bytes_of(buffer, cut)), PAWL_ECORRUPT);
    }
    assert_int_equal(pawl_family_decode(&back, pawl_bytes_of(buffer, size + 1)), PAWL_ECORRUPT);
    buffer[0] = 2;
    assert_int_equal(pawl_family_decode(&back, pawl_bytes_of(buffer, size)), PAWL_EVERSION);
}

/* ---- merge ---- */

static struct pawl_family merged(const struct pawl_family *a, const struct pawl_family *b)
{
    struct pawl_family out;

    assert_int_equal(pawl_family_merge(&out, a, b), PAWL_OK);
    return out;
}

static void the_higher_generation_wins_a_merge(void **state)
{
    struct pawl_family old = a_family();
    struct pawl_family new = a_family();
    struct pawl_family out;

    (void)state;
    advance(&new, "J1", NOW_MS + 100);
    out = merged(&old, &new);
    assert_true(same(&out, &new));
    assert_int_equal(pawl_family_merge(&old, &old, &new), PAWL_OK); /* in place */
    assert_true(same(&old, &new));
}

static void two_winners_of_one_generation_revoke_the_family(void **state)
{
    struct pawl_family a = a_family();
    struct pawl_family b = a_family();
    struct pawl_family out;

    (void)state;
    advance(&a, "J1a", NOW_MS + 100);
    advance(&b, "J1b", NOW_MS + 101);
    out = merged(&a, &b);
    assert_int_equal(out.state, PAWL_FAMILY_REVOKED);
    assert_int_equal(out.reason, PAWL_REASON_FORK);
    advance(&b, "J2b", NOW_MS + 200); /* seen later too, through what b remembers */
    out = merged(&a, &b);
    assert_int_equal(out.state, PAWL_FAMILY_REVOKED);
    assert_int_equal(out.generation, 2);
}

static void a_revoked_version_absorbs_and_the_earliest_reason_stays(void **state)
{
    struct pawl_family a = a_family();
    struct pawl_family b = a_family();
    struct pawl_family out;

    (void)state;
    (void)pawl_family_revoke(&a, PAWL_REASON_LOGOUT, text("alice"), NOW_MS + 500);
    advance(&b, "J1", NOW_MS + 600);
    out = merged(&a, &b);
    assert_int_equal(out.state, PAWL_FAMILY_REVOKED);
    assert_int_equal(out.reason, PAWL_REASON_LOGOUT);
    assert_int_equal(out.generation, 1);
    (void)pawl_family_revoke(&b, PAWL_REASON_ADMIN, text("root"), NOW_MS + 400);
    out = merged(&a, &b);
    assert_int_equal(out.reason, PAWL_REASON_ADMIN);
    assert_int_equal(out.revoked_ms, NOW_MS + 400);
}

static void ends_of_life_and_grace_only_shrink_in_a_merge(void **state)
{
    struct pawl_family a = a_family();
    struct pawl_family b;
    struct pawl_family out;

    (void)state;
    advance(&a, "J1", NOW_MS + 100);
    b = a;
    a.grace_until_ms = NOW_MS + 200;
    a.grace_uses = 3;
    b.grace_uses = 2;
    a.abs_exp_s = 0;
    b.abs_exp_s = RIG_NOW_S + 50;
    out = merged(&a, &b);
    assert_int_equal(out.grace_until_ms, NOW_MS + 200);
    assert_int_equal(out.grace_uses, 3);
    assert_int_equal(out.abs_exp_s, RIG_NOW_S + 50);
}

static void versions_of_different_families_do_not_merge(void **state)
{
    struct pawl_family a = a_family();
    struct pawl_family b = a_family();
    struct pawl_family out;

    (void)state;
    (void)pawl_name_set(&b.sid, text("another"));
    memset(&out, 0x5a, sizeof(out));
    assert_int_equal(pawl_family_merge(&out, &a, &b), PAWL_EINVAL);
    assert_int_equal(out.generation, UINT64_C(0x5a5a5a5a5a5a5a5a));
}

/* A version such as a fleet can have: some path through a tree of rotations, forks included, of
 * at most 7 generations (as far back as versions remember), then grace, revocation, shrinking. */
static struct pawl_family grown_version(uint64_t *random)
{
    struct pawl_family family = a_family();
    uint64_t depth = rig_random(random) % 8;
    uint64_t path = 0;

    for (uint64_t i = 1; i <= depth; i++) {
        char jti[40];

        path = path * 2 + (rig_random(random) % 8 == 0); /* now and then the other branch */
        (void)snprintf(jti, sizeof(jti), "J%llu.%llu", (unsigned long long)i,
                       (unsigned long long)path);
        advance(&family, jti, NOW_MS + i * 1000 + path);
    }
    if (depth > 0 && rig_random(random) % 2 == 0) {
        family.grace_uses = (uint32_t)(rig_random(random) % 4);
        family.grace_until_ms -= rig_random(random) % 5;
    }
    if (rig_random(random) % 4 == 0) {
        (void)pawl_family_revoke(&family, (enum pawl_reason)(1 + rig_random(random) % 3),
                                 text(rig_random(random) % 2 == 0 ? "a" : "bb"),
                                 NOW_MS + rig_random(random) % 3);
    }
    family.reuse_reported = rig_random(random) % 4 == 0;
    family.abs_exp_s = rig_random(random) % 3 * (RIG_NOW_S + rig_random(random) % 3);
    return family;
}

/* Any nonsense that decodes: commutative, idempotent and one-way must hold even there. */
static struct pawl_family wild_version(uint64_t *random)
{
    struct pawl_family family = grown_version(random);

    family.born_ms += rig_random(random) % 3;
    family.idle_s = rig_random(random) % 3;
    family.superseded_ms += rig_random(random) % 3;
    family.cur.exp_s += (int64_t)(rig_random(random) % 3);
    family.prev.iat_s += (int64_t)(rig_random(random) % 3);
    family.jtis[rig_random(random) % family.jtis_count].lo += rig_random(random) % 2;
    family.generation += family.generation == 0 ? 0 : rig_random(random) % 3;
    if (rig_random(random) % 3 == 0) {
        (void)pawl_name_set(&family.subject, text(rig_random(random) % 2 == 0 ? "" : "bob"));
        family.binding_size = 0;
    }
    return family;
}

static void merging_is_a_join(void **state)
{
    uint64_t seed = rig_seed();
    uint64_t random = seed;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct pawl_family a = grown_version(&random);
        struct pawl_family b = grown_version(&random);
        struct pawl_family c = grown_version(&random);
        struct pawl_family ab = merged(&a, &b);
        struct pawl_family ba = merged(&b, &a);
        struct pawl_family bc = merged(&b, &c);
        struct pawl_family left = merged(&ab, &c);
        struct pawl_family right = merged(&a, &bc);
        struct pawl_family twice = merged(&ab, &a);
        struct pawl_family self = merged(&a, &a);

        rig_check(seed, same(&ab, &ba));
        rig_check(seed, same(&left, &right));
        rig_check(seed, same(&twice, &ab));
        rig_check(seed, same(&self, &a));
    }
}

static void merging_never_leads_back_from_revoked_or_to_a_lower_generation(void **state)
{
    uint64_t seed = rig_seed() + 1;
    uint64_t random = seed;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct pawl_family a = wild_version(&random);
        struct pawl_family b = wild_version(&random);
        struct pawl_family ab = merged(&a, &b);
        struct pawl_family ba = merged(&b, &a);
        struct pawl_family self = merged(&a, &a);
        bool revoked = a.state == PAWL_FAMILY_REVOKED || b.state == PAWL_FAMILY_REVOKED;

        rig_check(seed, same(&ab, &ba));
        rig_check(seed, same(&self, &a));
        rig_check(seed, !revoked || ab.state == PAWL_FAMILY_REVOKED);
        rig_check(seed, ab.generation >= a.generation && ab.generation >= b.generation);
        rig_check(seed, ab.reuse_reported == (a.reuse_reported || b.reuse_reported));
        rig_check(seed, a.abs_exp_s == 0 || (ab.abs_exp_s != 0 && ab.abs_exp_s <= a.abs_exp_s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_opens_active_at_generation_zero),
        cmocka_unit_test(what_opens_a_family_is_checked),
        cmocka_unit_test(the_first_token_is_clamped_to_the_end_of_the_family),
        cmocka_unit_test(idle_time_runs_from_the_last_rotation),
        cmocka_unit_test(revoking_keeps_the_first_reason),
        cmocka_unit_test(a_record_survives_its_stored_form),
        cmocka_unit_test(damaged_records_are_refused_and_never_half_read),
        cmocka_unit_test(the_higher_generation_wins_a_merge),
        cmocka_unit_test(two_winners_of_one_generation_revoke_the_family),
        cmocka_unit_test(a_revoked_version_absorbs_and_the_earliest_reason_stays),
        cmocka_unit_test(ends_of_life_and_grace_only_shrink_in_a_merge),
        cmocka_unit_test(versions_of_different_families_do_not_merge),
        cmocka_unit_test(merging_is_a_join),
        cmocka_unit_test(merging_never_leads_back_from_revoked_or_to_a_lower_generation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
