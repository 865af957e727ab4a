/* Facts: what may be stored, how, for how long, and who they are about. */
#include "token_rig.h"

#include "core/fact.h"

static struct pawl_fact a_revocation(void)
{
    struct pawl_fact fact = {
        .id = { { "node-id-8nonce-8" }, 42 },
        .kind = PAWL_FACT_REVOCATION,
        .scope = PAWL_SCOPE_TOKEN,
        .reason = PAWL_REASON_LOGOUT,
        .ns = text("default"),
        .issuer = text("https://auth.example"),
        .value = text("jti-1"),
        .actor = text("admin@example"),
        .at_ms = RIG_NOW_S * 1000,
        .until_s = RIG_NOW_S + 7200,
    };

    return fact;
}

static struct pawl_fact a_cutoff(void)
{
    struct pawl_fact fact = a_revocation();

    fact.kind = PAWL_FACT_CUTOFF;
    fact.scope = PAWL_SCOPE_SUBJECT;
    fact.value = text("alice");
    fact.cutoff_ms = RIG_NOW_S * 1000 + 100;
    return fact;
}

static struct pawl_fact a_cancel(uint8_t ids[2 * PAWL_FACT_ID_BYTES])
{
    struct pawl_fact fact = a_revocation();
    struct pawl_fact_id other = { { "another-origin-x" }, 7 };

    pawl_fact_id_write(ids, &fact.id);
    pawl_fact_id_write(ids + PAWL_FACT_ID_BYTES, &other);
    fact.kind = PAWL_FACT_CANCEL;
    fact.scope = PAWL_SCOPE_NONE;
    fact.issuer.size = 0;
    fact.value.size = 0;
    fact.cancels = pawl_bytes_of(ids, 2 * (size_t)PAWL_FACT_ID_BYTES);
    return fact;
}

static void assert_bytes_equal(struct pawl_bytes a, struct pawl_bytes b)
{
    assert_int_equal(a.size, b.size);
    if (a.size > 0) {
        assert_memory_equal(a.data, b.data, a.size);
    }
}

static void assert_round_trip(const struct pawl_fact *fact)
{
    uint8_t buffer[PAWL_FACT_BYTES_MAX];
    struct pawl_fact back;
    size_t size = 0;

    assert_int_equal(pawl_fact_encode(fact, buffer, sizeof(buffer), &size), PAWL_OK);
    assert_int_equal(pawl_fact_decode(&back, pawl_bytes_of(buffer, size)), PAWL_OK);
    assert_true(pawl_fact_is_known(&back));
    assert_int_equal(pawl_fact_id_compare(&back.id, &fact->id), 0);
    assert_int_equal(back.kind, fact->kind);
    assert_int_equal(back.scope, fact->scope);
    assert_int_equal(back.reason, fact->reason);
    assert_int_equal(back.cutoff_ms, fact->cutoff_ms);
    assert_int_equal(back.at_ms, fact->at_ms);
    assert_int_equal(back.until_s, fact->until_s);
    assert_bytes_equal(back.ns, fact->ns);
    assert_bytes_equal(back.issuer, fact->issuer);
    assert_bytes_equal(back.value, fact->value);
    assert_bytes_equal(back.actor, fact->actor);
    assert_bytes_equal(back.cancels, fact->cancels);
    assert_bytes_equal(back.extra, fact->extra);
}

static void every_kind_survives_its_serialized_form(void **state)
{
    uint8_t ids[2 * PAWL_FACT_ID_BYTES];
    struct pawl_fact revocation = a_revocation();
    struct pawl_fact cutoff = a_cutoff();
    struct pawl_fact cancel = a_cancel(ids);
    struct pawl_fact extended = a_revocation();

    (void)state;
    extended.extra = text("of a newer version");
    assert_round_trip(&revocation);
    assert_round_trip(&cutoff);
    assert_round_trip(&cancel);
    assert_round_trip(&extended);
}

static void the_largest_fact_fits_its_cap(void **state)
{
    static uint8_t big[PAWL_FACT_BYTES_MAX];
    struct pawl_fact fact = a_revocation();

    (void)state;
    memset(big, 'x', sizeof(big));
    fact.ns = pawl_bytes_of(big, PAWL_NS_MAX);
    fact.issuer = pawl_bytes_of(big, PAWL_NAME_MAX);
    fact.value = pawl_bytes_of(big, PAWL_NAME_MAX);
    fact.actor = pawl_bytes_of(big, PAWL_ACTOR_MAX);
    fact.extra = pawl_bytes_of(big, PAWL_FACT_EXTRA_MAX);
    assert_round_trip(&fact);
}

static void a_fact_of_an_unknown_kind_or_version_is_kept_and_passed_on(void **state)
{
    uint8_t buffer[PAWL_FACT_BYTES_MAX];
    uint8_t again[PAWL_FACT_BYTES_MAX];
    struct pawl_fact fact = a_revocation();
    struct pawl_fact back;
    size_t size = 0;
    size_t size_again = 0;

    (void)state;
    assert_int_equal(pawl_fact_encode(&fact, buffer, sizeof(buffer), &size), PAWL_OK);
    for (unsigned newer = 0; newer < 2; newer++) {
        buffer[0] = newer == 0 ? 1 : 9; /* version */
        buffer[1] = newer == 0 ? 77 : PAWL_FACT_REVOCATION;
        assert_int_equal(pawl_fact_decode(&back, pawl_bytes_of(buffer, size)), PAWL_OK);
        assert_false(pawl_fact_is_known(&back));
        assert_int_equal(pawl_fact_id_compare(&back.id, &fact.id), 0);
        assert_int_equal(back.until_s, fact.until_s);
        assert_bytes_equal(back.ns, fact.ns);
        assert_int_equal(pawl_fact_encode(&back, again, sizeof(again), &size_again), PAWL_OK);
        assert_int_equal(size_again, size);
        assert_memory_equal(again, buffer, size);
        assert_false(pawl_fact_cancellable(&back));
    }
}

static void every_truncation_and_every_extra_byte_is_damage(void **state)
{
    uint8_t buffer[PAWL_FACT_BYTES_MAX] = { 0 };
    uint8_t ids[2 * PAWL_FACT_ID_BYTES];
    struct pawl_fact facts[] = { a_revocation(), a_cutoff(), a_cancel(ids) };
    struct pawl_fact back;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t size = 0;

        assert_int_equal(pawl_fact_encode(&facts[i], buffer, sizeof(buffer), &size), PAWL_OK);
        for (size_t cut = 0; cut < size; cut++) {
            assert_int_equal(pawl_fact_decode(&back, pawl_bytes_of(buffer, cut)), PAWL_ECORRUPT);
        }
        assert_int_equal(pawl_fact_decode(&back, pawl_bytes_of(buffer, size + 1)), PAWL_ECORRUPT);
        assert_int_equal(pawl_fact_decode(&back, pawl_bytes_of(buffer, sizeof(buffer) + 1)),
                         PAWL_ECORRUPT);
    }
}

static void what_decodes_encodes_to_the_same_bytes(void **state)
{
    uint64_t seed = rig_seed();
    uint64_t random = seed;
    uint8_t ids[2 * PAWL_FACT_ID_BYTES];
    struct pawl_fact facts[] = { a_revocation(), a_cutoff(), a_cancel(ids) };
    unsigned decoded = 0;

    (void)state;
    for (unsigned round = 0; round < 60000; round++) {
        uint8_t buffer[PAWL_FACT_BYTES_MAX];
        uint8_t again[PAWL_FACT_BYTES_MAX];
        struct pawl_fact back;
        size_t size = 0;
        size_t size_again = 0;

        assert_int_equal(pawl_fact_encode(&facts[round % 3], buffer, sizeof(buffer), &size),
                         PAWL_OK);
        for (uint64_t flips = 1 + rig_random(&random) % 3; flips > 0; flips--) {
            buffer[rig_random(&random) % size] ^= (uint8_t)(1u << rig_random(&random) % 8);
        }
        if (pawl_fact_decode(&back, pawl_bytes_of(buffer, size)) == PAWL_OK) {
            decoded++;
            rig_check(seed, pawl_fact_encode(&back, again, sizeof(again), &size_again) == PAWL_OK);
            rig_check(seed, size_again == size && memcmp(again, buffer, size) == 0);
        }
    }
    assert_true(decoded > 1000); /* flips in names and times are other facts, not damage */
}

static void a_buffer_that_is_too_small_is_refused(void **state)
{
    uint8_t buffer[PAWL_FACT_BYTES_MAX];
    struct pawl_fact fact = a_revocation();
    size_t size = 0;
    size_t wrong = 12345;

    (void)state;
    assert_int_equal(pawl_fact_encode(&fact, buffer, sizeof(buffer), &size), PAWL_OK);
    for (size_t room = 0; room < size; room++) {
        assert_int_equal(pawl_fact_encode(&fact, buffer, room, &wrong), PAWL_ETOOBIG);
    }
    assert_int_equal(wrong, 12345);
    assert_int_equal(pawl_fact_encode(&fact, buffer, size, &size), PAWL_OK);
}

/* A fact that is wrong in one way, and what the check has to say. */
#define refused(base, change, expected)                             \
    do {                                                            \
        struct pawl_fact fact = (base);                             \
        struct pawl_error error = { .status = PAWL_OK };            \
        change;                                                     \
        assert_int_equal(pawl_fact_check(&fact, &error), expected); \
        assert_int_equal(error.status, expected);                   \
        assert_true(strlen(error.text) > 10);                       \
        assert_int_equal(pawl_fact_check(&fact, NULL), expected);   \
    } while (0)

static void facts_that_make_no_sense_are_refused_with_a_reason(void **state)
{
    static const uint8_t big[PAWL_FACT_BYTES_MAX] = { 1 };
    uint8_t ids[2 * PAWL_FACT_ID_BYTES];

    (void)state;
    refused(a_revocation(), fact.ns.size = 0, PAWL_EINVAL);
    refused(a_revocation(), fact.ns = pawl_bytes_of(big, PAWL_NS_MAX + 1), PAWL_ETOOBIG);
    refused(a_revocation(), fact.issuer = pawl_bytes_of(big, PAWL_NAME_MAX + 1), PAWL_ETOOBIG);
    refused(a_revocation(), fact.value = pawl_bytes_of(big, PAWL_NAME_MAX + 1), PAWL_ETOOBIG);
    refused(a_revocation(), fact.actor = pawl_bytes_of(big, PAWL_ACTOR_MAX + 1), PAWL_ETOOBIG);
    refused(a_revocation(), fact.extra = pawl_bytes_of(big, PAWL_FACT_EXTRA_MAX + 1), PAWL_ETOOBIG);
    refused(a_revocation(), fact.value.size = 0, PAWL_EINVAL);
    refused(a_revocation(), fact.until_s = 0, PAWL_EINVAL);
    refused(a_revocation(), fact.cutoff_ms = 1, PAWL_EINVAL);
    refused(a_revocation(), fact.kind = 0, PAWL_EINVAL);
    refused(a_revocation(), fact.kind = 4, PAWL_EINVAL);
    refused(a_revocation(), fact.scope = PAWL_SCOPE_NONE, PAWL_EINVAL);
    refused(a_revocation(), fact.scope = (enum pawl_scope)PAWL_SCOPES, PAWL_EINVAL);
    refused(a_revocation(), fact.scope = PAWL_SCOPE_OPAQUE, PAWL_EINVAL); /* not 32 bytes */
    refused(a_revocation(), fact.scope = PAWL_SCOPE_SIGNED, PAWL_EINVAL);
    refused(a_revocation(), fact.scope = PAWL_SCOPE_NAMESPACE, PAWL_EINVAL); /* has a value */
    refused(a_revocation(), fact.reason = (enum pawl_reason)64, PAWL_EINVAL);
    refused(a_cutoff(), fact.scope = PAWL_SCOPE_TOKEN, PAWL_EINVAL);
    refused(a_cutoff(), fact.scope = PAWL_SCOPE_FAMILY, PAWL_EINVAL);
    refused(a_cutoff(), fact.cutoff_ms = 0, PAWL_EINVAL);
    refused(a_cutoff(), fact.cutoff_ms = PAWL_CUTOFF_ALL_MS, PAWL_EINVAL);
    refused(a_cancel(ids), fact.cancels.size = 0, PAWL_EINVAL);
    refused(a_cancel(ids), fact.cancels.size -= 1, PAWL_EINVAL);
    refused(a_cancel(ids), fact.scope = PAWL_SCOPE_TOKEN, PAWL_EINVAL);
    refused(a_cancel(ids),
            fact.cancels =
                pawl_bytes_of(big, (PAWL_FACT_CANCELS_MAX + 1) * (size_t)PAWL_FACT_ID_BYTES),
            PAWL_ETOOBIG);
}

static void scope_identities_never_meet(void **state)
{
    struct pawl_token_keys keys = rig_keys();
    static const uint8_t hash[PAWL_SHA256_BYTES] = "same bytes, different scopes....";
    struct pawl_bytes value = pawl_bytes_of(hash, sizeof(hash));
    struct pawl_id ids[40];
    size_t count = 0;

    (void)state;
    for (enum pawl_scope scope = PAWL_SCOPE_TOKEN; scope < PAWL_SCOPES; scope++) {
        ids[count++] = pawl_scope_id(&keys.facts, scope, text("a"), text("b"), value);
        ids[count++] = pawl_scope_id(&keys.facts, scope, text("x"), text("b"), value);
    }
    ids[count++] = pawl_scope_id(&keys.facts, PAWL_SCOPE_TOKEN, text("a_b"), text("c"), text("d"));
    ids[count++] = pawl_scope_id(&keys.facts, PAWL_SCOPE_TOKEN, text("a"), text("b_c"), text("d"));
    ids[count++] = pawl_scope_id(&keys.facts, PAWL_SCOPE_TOKEN, text("a_b"), text(""), text("cd"));
    ids[count++] =
        pawl_scope_id(&keys.facts, PAWL_SCOPE_SUBJECT, text("a_b"), text("c"), text("d"));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_false(pawl_id_equal(ids[i], ids[j]));
        }
    }
}

static void the_keyer_gives_the_same_identities_as_one_by_one(void **state)
{
    struct pawl_token_keys keys = rig_keys();
    struct pawl_scope_keyer keyer;

    (void)state;
    pawl_scope_keyer_init(&keyer, &keys.facts, text("default"), text("https://auth.example"));
    for (unsigned round = 0; round < 2; round++) {
        for (enum pawl_scope scope = PAWL_SCOPE_TOKEN; scope < PAWL_SCOPES; scope++) {
            struct pawl_bytes value = text(round == 0 ? "a rather long value it is" : "v");

            assert_true(pawl_id_equal(pawl_scope_keyer_id(&keyer, scope, value),
                                      pawl_scope_id(&keys.facts, scope, text("default"),
                                                    text("https://auth.example"), value)));
        }
    }
}

static void an_identity_is_the_keyed_hash_of_its_packed_parts_and_its_class(void **state)
{
    static const unsigned class_of[PAWL_SCOPES] = { 0, 0, 0, 0, 1, 2, 3, 3, 3 };
    uint64_t seed = rig_seed();
    uint64_t random = seed;
    struct pawl_token_keys keys = rig_keys();
    static uint8_t noise[PAWL_NAME_MAX];

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        uint8_t packed[4 * 4 + 1 + PAWL_NS_MAX + 2 * PAWL_NAME_MAX];
        uint8_t tag = (uint8_t)(1 + rig_random(&random) % (PAWL_SCOPES - 1));
        struct pawl_bytes ns = pawl_bytes_of(noise, 1 + rig_random(&random) % PAWL_NS_MAX);
        struct pawl_bytes issuer = pawl_bytes_of(noise, rig_random(&random) % PAWL_NAME_MAX);
        struct pawl_bytes value = pawl_bytes_of(noise, rig_random(&random) % PAWL_NAME_MAX);
        struct pawl_id expected;
        struct pawl_id id;
        struct pawl_pack pack;

        noise[rig_random(&random) % sizeof(noise)] = (uint8_t)rig_random(&random);
        if (tag == PAWL_SCOPE_SIGNED || tag == PAWL_SCOPE_OPAQUE || tag == PAWL_SCOPE_NAMESPACE) {
            issuer.size = 0;
        }
        pawl_pack_init(&pack, packed, sizeof(packed));
        pawl_pack_bytes(&pack, ns.data, ns.size);
        pawl_pack_bytes(&pack, issuer.data, issuer.size);
        pawl_pack_bytes(&pack, &tag, 1);
        pawl_pack_bytes(&pack, value.data, value.size);
        expected = pawl_keyhash128(&keys.facts, packed, pack.size);
        id = pawl_scope_id(&keys.facts, (enum pawl_scope)tag, ns, issuer, value);
        rig_check(seed, id.lo == expected.lo);
        rig_check(seed, id.hi == (expected.hi >> 2 | (uint64_t)class_of[tag] << 62));
    }
}

static void a_hash_is_its_own_name_whatever_the_issuer(void **state)
{
    struct pawl_token_keys keys = rig_keys();

    (void)state;
    for (enum pawl_scope scope = PAWL_SCOPE_TOKEN; scope < PAWL_SCOPES; scope++) {
        bool same =
            pawl_id_equal(pawl_scope_id(&keys.facts, scope, text("n"), text("i"), text("v")),
                          pawl_scope_id(&keys.facts, scope, text("n"), text(""), text("v")));

        assert_int_equal(same, scope == PAWL_SCOPE_SIGNED || scope == PAWL_SCOPE_OPAQUE ||
                                   scope == PAWL_SCOPE_NAMESPACE);
    }
}

static void a_token_fact_is_kept_until_its_exp_and_an_hour(void **state)
{
    const uint64_t now = RIG_NOW_S;
    const uint64_t life = 2592000;

    (void)state;
    assert_int_equal(pawl_fact_until(PAWL_SCOPE_TOKEN, (int64_t)now + 300, now, life),
                     now + 300 + 3600);
    assert_int_equal(pawl_fact_until(PAWL_SCOPE_TOKEN, 0, now, life), now + life + 3600);
    assert_int_equal(pawl_fact_until(PAWL_SCOPE_OPAQUE, -5, now, life), now + life + 3600);
    assert_int_equal(pawl_fact_until(PAWL_SCOPE_TOKEN, INT64_MAX, now, life), now + life + 3600);
    assert_int_equal(pawl_fact_until(PAWL_SCOPE_SUBJECT, (int64_t)now + 300, now, life),
                     now + life + 3600);
    assert_int_equal(pawl_fact_until(PAWL_SCOPE_FAMILY, (int64_t)now + 300, now, life),
                     now + life + 3600);
    assert_int_equal(pawl_fact_until(PAWL_SCOPE_SUBJECT, 0, UINT64_MAX - 5, life), UINT64_MAX);
}

static void a_cutoff_reaches_the_clock_bound_past_now_and_no_further(void **state)
{
    (void)state;
    assert_int_equal(pawl_cutoff_ms(stamp_of_ms(5000), 0, 0), 5100);
    assert_int_equal(pawl_cutoff_ms(stamp_of_ms(5000), 4000, 0), 4000);
    assert_int_equal(pawl_cutoff_ms(stamp_of_ms(5000), 5100, 0), 5100);
    assert_int_equal(pawl_cutoff_ms(stamp_of_ms(5000), 9000, 0), 5100);
    /* A login that was born ahead of the clock is reached, but by a cutoff that asks for less. */
    assert_int_equal(pawl_cutoff_ms(stamp_of_ms(5000), 0, 5099), 5100);
    assert_int_equal(pawl_cutoff_ms(stamp_of_ms(5000), 0, 5101), 5101);
    assert_int_equal(pawl_cutoff_ms(stamp_of_ms(5000), 4000, 5101), 4000);
}

static void only_revocations_of_tokens_can_be_cancelled(void **state)
{
    uint8_t ids[2 * PAWL_FACT_ID_BYTES];
    struct pawl_fact fact = a_revocation();
    struct pawl_fact cutoff = a_cutoff();
    struct pawl_fact cancel = a_cancel(ids);

    (void)state;
    assert_true(pawl_fact_cancellable(&fact));
    assert_false(pawl_fact_cancellable(&cutoff));
    assert_false(pawl_fact_cancellable(&cancel));
    for (enum pawl_scope scope = PAWL_SCOPE_FAMILY; scope < PAWL_SCOPES; scope++) {
        fact.scope = scope;
        assert_false(pawl_fact_cancellable(&fact));
    }
}

static void a_cancel_names_exactly_its_ids(void **state)
{
    uint8_t ids[2 * PAWL_FACT_ID_BYTES];
    struct pawl_fact cancel = a_cancel(ids);
    struct pawl_fact revocation = a_revocation();
    struct pawl_fact_id id = revocation.id;

    (void)state;
    assert_true(pawl_fact_cancels(&cancel, &id));
    id.sequence++;
    assert_false(pawl_fact_cancels(&cancel, &id));
    id.sequence--;
    id.origin.bytes[15] ^= 1;
    assert_false(pawl_fact_cancels(&cancel, &id));
    assert_false(pawl_fact_cancels(&revocation, &revocation.id));
}

static void an_id_has_a_text_form_that_parses_strictly(void **state)
{
    static const uint64_t sequences[] = { 1, 9, 10, 12345678901, UINT64_MAX };
    static const char *const bad[] = { "",
                                       "-1",
                                       "00",
                                       "00000000000000000000000000000000-",
                                       "00000000000000000000000000000000-0",
                                       "00000000000000000000000000000000-01",
                                       "00000000000000000000000000000000-18446744073709551616",
                                       "0000000000000000000000000000000A-1",
                                       "00000000000000000000000000000000-1 ",
                                       "000000000000000000000000000000000-1" };
    struct pawl_fact_id id = a_revocation().id;
    struct pawl_fact_id back;
    char written[PAWL_FACT_ID_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
        id.sequence = sequences[i];
        pawl_fact_id_format(written, &id);
        assert_int_equal(pawl_fact_id_parse(&back, text(written)), PAWL_OK);
        assert_int_equal(pawl_fact_id_compare(&id, &back), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(pawl_fact_id_parse(&back, text(bad[i])), PAWL_EINVAL);
    }
}

static void reasons_have_names_and_newer_ones_read_other(void **state)
{
    (void)state;
    assert_int_equal(pawl_reason_parse(text("logout_all")), PAWL_REASON_LOGOUT_ALL);
    assert_int_equal(pawl_reason_parse(text("logout_al")), PAWL_REASON_NONE);
    assert_string_equal(pawl_reason_name(PAWL_REASON_KEY_COMPROMISED), "key_compromised");
    assert_string_equal(pawl_reason_name((enum pawl_reason)50), "other");
    assert_string_equal(pawl_scope_name(PAWL_SCOPE_FAMILY), "family");
    assert_string_equal(pawl_scope_name((enum pawl_scope)99), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_survives_its_serialized_form),
        cmocka_unit_test(the_largest_fact_fits_its_cap),
        cmocka_unit_test(a_fact_of_an_unknown_kind_or_version_is_kept_and_passed_on),
        cmocka_unit_test(every_truncation_and_every_extra_byte_is_damage),
        cmocka_unit_test(what_decodes_encodes_to_the_same_bytes),
        cmocka_unit_test(a_buffer_that_is_too_small_is_refused),
        cmocka_unit_test(facts_that_make_no_sense_are_refused_with_a_reason),
        cmocka_unit_test(scope_identities_never_meet),
        cmocka_unit_test(the_keyer_gives_the_same_identities_as_one_by_one),
        cmocka_unit_test(an_identity_is_the_keyed_hash_of_its_packed_parts_and_its_class),
        cmocka_unit_test(a_hash_is_its_own_name_whatever_the_issuer),
        cmocka_unit_test(a_token_fact_is_kept_until_its_exp_and_an_hour),
        cmocka_unit_test(a_cutoff_reaches_the_clock_bound_past_now_and_no_further),
        cmocka_unit_test(only_revocations_of_tokens_can_be_cancelled),
        cmocka_unit_test(a_cancel_names_exactly_its_ids),
        cmocka_unit_test(an_id_has_a_text_form_that_parses_strictly),
        cmocka_unit_test(reasons_have_names_and_newer_ones_read_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
