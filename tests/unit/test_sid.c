/* Family ids: which carry a birth time, and which are only names. */
#include "token_rig.h"

#define NOW_MS  (RIG_NOW_S * 1000)
#define SKEW_MS 5000

static const uint8_t entropy[PAWL_SID_ENTROPY] = { 0xff, 0x11, 0xff, 0x22, 0x33, 0x44 };

static struct pawl_sid minted_at(uint64_t ms)
{
    struct pawl_token_keys keys = rig_keys();
    struct pawl_sid sid;

    (void)pawl_sid_mint(&sid, &keys, text("default"), stamp_of_ms(ms), 0, entropy);
    return sid;
}

static uint64_t birth_of(const char *sid, uint64_t now_ms)
{
    struct pawl_token_keys keys = rig_keys();

    return pawl_sid_birth_ms(&keys, text("default"), text(sid), stamp_of_ms(now_ms), SKEW_MS);
}

static void a_minted_id_is_a_version_7_uuid_that_carries_its_birth(void **state)
{
    struct pawl_sid sid = minted_at(NOW_MS + 123);
    uint8_t uuid[16];

    (void)state;
    assert_int_equal(strlen(sid.text), PAWL_SID_TEXT);
    assert_true(pawl_uuid_parse(uuid, text(sid.text)));
    assert_int_equal(uuid[6] >> 4, 7);
    assert_int_equal(uuid[8] >> 6, 2);
    assert_int_equal(birth_of(sid.text, NOW_MS + 123), NOW_MS + 123);
}

static void an_id_is_born_after_every_known_cutoff(void **state)
{
    struct pawl_token_keys keys = rig_keys();
    struct pawl_sid sid;

    (void)state;
    assert_int_equal(pawl_sid_mint(&sid, &keys, text("default"), stamp_of_ms(NOW_MS), NOW_MS + 101,
                                   entropy),
                     NOW_MS + 101);
    assert_int_equal(birth_of(sid.text, NOW_MS), NOW_MS + 101);
    assert_int_equal(pawl_sid_mint(&sid, &keys, text("default"), stamp_of_ms(NOW_MS), NOW_MS - 1,
                                   entropy),
                     NOW_MS);
    assert_int_equal(pawl_sid_mint(&sid, &keys, text("default"), stamp_of_ms(NOW_MS), UINT64_MAX,
                                   entropy),
                     (UINT64_C(1) << 48) - 1);
}

static void a_birth_later_than_now_and_skew_is_none(void **state)
{
    struct pawl_sid sid = minted_at(NOW_MS);

    (void)state;
    assert_int_equal(birth_of(sid.text, NOW_MS - SKEW_MS), NOW_MS);
    assert_int_equal(birth_of(sid.text, NOW_MS - SKEW_MS - 1), 0);
    assert_int_equal(birth_of(sid.text, 0), 0);
    assert_int_equal(birth_of(sid.text, NOW_MS * 2), NOW_MS);
}

static void every_flipped_bit_takes_the_birth_away(void **state)
{
    struct pawl_sid sid = minted_at(NOW_MS);
    uint8_t uuid[16];

    (void)state;
    for (unsigned bit = 0; bit < 128; bit++) {
        char forged[PAWL_SID_TEXT + 1];

        assert_true(pawl_uuid_parse(uuid, text(sid.text)));
        uuid[bit / 8] ^= (uint8_t)(1u << bit % 8);
        pawl_uuid_format(forged, uuid);
        assert_int_equal(birth_of(forged, UINT64_C(1) << 50), 0);
    }
}

/* With the right MAC, made here by the layout that sid.h tells. */
static void another_version_or_variant_carries_no_birth_even_with_its_mac(void **state)
{
    static const uint8_t versions[] = { 0x70, 0x40, 0x70 };
    static const uint8_t variants[] = { 0x80, 0x80, 0xc0 };
    struct pawl_token_keys keys = rig_keys();

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char made[PAWL_SID_TEXT + 1];
        uint8_t packed[64];
        struct pawl_pack pack;
        uint8_t uuid[16];
        uint64_t mac;

        assert_true(pawl_uuid_parse(uuid, text(minted_at(NOW_MS).text)));
        uuid[6] = (uint8_t)((uuid[6] & 0x0f) | versions[i]);
        uuid[8] = (uint8_t)((uuid[8] & 0x3f) | variants[i]);
        pawl_pack_init(&pack, packed, sizeof(packed));
        pawl_pack_bytes(&pack, "default", 7);
        pawl_pack_bytes(&pack, uuid, 12);
        mac = pawl_keyhash64(&keys.sid[0], packed, pack.size);
        for (unsigned at = 0; at < 4; at++) {
            uuid[12 + at] = (uint8_t)(mac >> (8 * at));
        }
        pawl_uuid_format(made, uuid);
        assert_int_equal(birth_of(made, NOW_MS), i == 0 ? NOW_MS : 0);
    }
}

static void a_mac_holds_for_one_namespace_and_one_key_only(void **state)
{
    struct pawl_token_keys keys = rig_keys();
    struct pawl_sid sid = minted_at(NOW_MS);
    struct pawl_stamp now = stamp_of_ms(NOW_MS);

    (void)state;
    assert_int_equal(pawl_sid_birth_ms(&keys, text("other"), text(sid.text), now, 0), 0);
    keys.sid[0].bytes[0] ^= 1;
    assert_int_equal(pawl_sid_birth_ms(&keys, text("default"), text(sid.text), now, 0), 0);
    keys.sid[1] = rig_keys().sid[0]; /* the old secret is still looked up */
    keys.sid_count = 2;
    assert_int_equal(pawl_sid_birth_ms(&keys, text("default"), text(sid.text), now, 0), NOW_MS);
    keys.sid_count = 0;
    assert_int_equal(pawl_sid_birth_ms(&keys, text("default"), text(sid.text), now, 0), 0);
}

static void guessed_macs_do_not_hold(void **state)
{
    uint64_t seed = rig_seed();
    uint64_t random = seed;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char forged[PAWL_SID_TEXT + 1];
        uint8_t uuid[16];

        for (unsigned i = 0; i < 16; i++) {
            uuid[i] = (uint8_t)rig_random(&random);
        }
        uuid[6] = (uint8_t)(0x70 | (uuid[6] & 15));
        uuid[8] = (uint8_t)(0x80 | (uuid[8] & 63));
        pawl_uuid_format(forged, uuid);
        rig_check(seed, birth_of(forged, UINT64_C(1) << 50) == 0);
    }
}

static void only_the_canonical_text_parses(void **state)
{
    static const char *const bad[] = { "",
                                       "018c8f3e-7b1a-7000-8000-00000000000",
                                       "018c8f3e-7b1a-7000-8000-0000000000000",
                                       "018C8F3E-7b1a-7000-8000-000000000000",
                                       "018c8f3e07b1a-7000-8000-000000000000",
                                       "018c8f3e-7b1a-7000-8000 000000000000",
                                       "018c8f3g-7b1a-7000-8000-000000000000",
                                       "{18c8f3e-7b1a-7000-8000-00000000000}" };
    uint8_t uuid[16];

    (void)state;
    assert_true(pawl_uuid_parse(uuid, text("018c8f3e-7b1a-7000-8000-0123456789ab")));
    assert_int_equal(uuid[0], 0x01);
    assert_int_equal(uuid[15], 0xab);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(pawl_uuid_parse(uuid, text(bad[i])));
        assert_int_equal(birth_of(bad[i], NOW_MS), 0);
    }
}

static void an_upper_case_copy_of_an_id_carries_no_birth(void **state)
{
    struct pawl_sid sid = minted_at(NOW_MS);

    (void)state;
    for (size_t i = 0; i < PAWL_SID_TEXT; i++) {
        if (sid.text[i] >= 'a' && sid.text[i] <= 'f') {
            sid.text[i] = (char)(sid.text[i] - 'a' + 'A');
        }
    }
    assert_int_equal(birth_of(sid.text, NOW_MS), 0);
}

static void adoptions_of_one_token_meet_in_one_id(void **state)
{
    struct pawl_token_keys keys = rig_keys();
    struct pawl_id token =
        pawl_scope_id(&keys.sid[0], PAWL_SCOPE_TOKEN, text("default"), text("iss"), text("jti-1"));
    struct pawl_id other =
        pawl_scope_id(&keys.sid[0], PAWL_SCOPE_TOKEN, text("default"), text("iss"), text("jti-2"));
    struct pawl_sid a;
    struct pawl_sid b;

    (void)state;
    pawl_sid_adopt(&a, &keys.sid[0], text("default"), token, (int64_t)RIG_NOW_S);
    pawl_sid_adopt(&b, &keys.sid[0], text("default"), token, (int64_t)RIG_NOW_S);
    assert_string_equal(a.text, b.text);
    assert_int_equal(birth_of(a.text, NOW_MS), NOW_MS); /* at its iat, with a MAC that holds */
    pawl_sid_adopt(&b, &keys.sid[0], text("default"), other, (int64_t)RIG_NOW_S);
    assert_string_not_equal(a.text, b.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minted_id_is_a_version_7_uuid_that_carries_its_birth),
        cmocka_unit_test(an_id_is_born_after_every_known_cutoff),
        cmocka_unit_test(a_birth_later_than_now_and_skew_is_none),
        cmocka_unit_test(every_flipped_bit_takes_the_birth_away),
        cmocka_unit_test(another_version_or_variant_carries_no_birth_even_with_its_mac),
        cmocka_unit_test(a_mac_holds_for_one_namespace_and_one_key_only),
        cmocka_unit_test(guessed_macs_do_not_hold),
        cmocka_unit_test(only_the_canonical_text_parses),
        cmocka_unit_test(an_upper_case_copy_of_an_id_carries_no_birth),
        cmocka_unit_test(adoptions_of_one_token_meet_in_one_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
