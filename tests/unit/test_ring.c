/* Ownership: everybody agrees, shares are even, and only what has to move moves. */
#include "core/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct pawl_subkey key = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
static const struct pawl_subkey other_key = { { 16, 2, 3 } };

static struct pawl_member_id member(unsigned number)
{
    struct pawl_member_id id = { { 0 } };

    id.bytes[0] = (uint8_t)number;
    id.bytes[15] = (uint8_t)(number * 7);
    return id;
}

static void members_from(struct pawl_member_id *out, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        out[i] = member(first + i);
    }
}

static void build(struct pawl_ring *ring, const struct pawl_member_id *members, size_t count)
{
    assert_int_equal(pawl_ring_build(ring, &key, 1, members, count), PAWL_OK);
}

static struct pawl_ring one, two; /* 18 KiB each: not for the stack */

static void a_ring_of_nobody_and_of_one(void **state)
{
    struct pawl_member_id alone = member(1);

    (void)state;
    build(&one, NULL, 0);
    assert_int_equal(one.owner[0], PAWL_RING_NOBODY);
    build(&one, &alone, 1);
    for (unsigned slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        assert_int_equal(one.owner[slot], 0);
        assert_int_equal(one.heir[slot], PAWL_RING_NOBODY);
    }
}

static void the_order_of_the_list_does_not_matter(void **state)
{
    struct pawl_member_id members[5];
    struct pawl_member_id turned[5];

    (void)state;
    members_from(members, 1, 5);
    for (unsigned i = 0; i < 5; i++) {
        turned[i] = members[(i + 3) % 5];
    }
    build(&one, members, 5);
    build(&two, turned, 5);
    for (unsigned slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        assert_memory_equal(&one.members[one.owner[slot]], &two.members[two.owner[slot]], 16);
        assert_memory_equal(&one.members[one.heir[slot]], &two.members[two.heir[slot]], 16);
    }
}

static void shares_are_even_for_every_size(void **state)
{
    struct pawl_member_id members[PAWL_MEMBERS_MAX];

    (void)state;
    members_from(members, 1, PAWL_MEMBERS_MAX);
    for (unsigned count = 2; count <= PAWL_MEMBERS_MAX; count *= 2) {
        unsigned share[PAWL_MEMBERS_MAX] = { 0 };
        unsigned fair = PAWL_RING_SLOTS / count;

        build(&one, members, count);
        for (unsigned slot = 0; slot < PAWL_RING_SLOTS; slot++) {
            share[one.owner[slot]]++;
        }
        for (unsigned i = 0; i < count; i++) {
            assert_true(share[i] > fair / 3 && share[i] < fair * 2);
        }
    }
}

static void only_the_slots_of_who_goes_move_and_they_go_to_the_heir(void **state)
{
    struct pawl_member_id members[6];
    unsigned moved = 0;

    (void)state;
    members_from(members, 1, 6);
    build(&one, members, 6);
    build(&two, members, 5); /* the sixth goes */
    for (unsigned slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        if (one.owner[slot] == 5) {
            moved++;
            assert_int_equal(two.owner[slot], one.heir[slot]);
        } else {
            assert_int_equal(two.owner[slot], one.owner[slot]);
        }
    }
    assert_true(moved > 400 && moved < 1000);
}

static void what_changes_for_a_member_is_told(void **state)
{
    struct pawl_member_id members[6];
    struct pawl_member_id stranger = member(77);
    uint64_t gained[PAWL_RING_SLOTS / 64];
    uint64_t lost[PAWL_RING_SLOTS / 64];
    unsigned bits = 0;

    (void)state;
    members_from(members, 1, 6);
    build(&one, members, 5);
    build(&two, members, 6);
    uint32_t joined = pawl_ring_change(&one, &two, &members[5], gained, lost);

    for (unsigned i = 0; i < PAWL_RING_SLOTS / 64; i++) {
        bits += (unsigned)__builtin_popcountll(gained[i]);
        assert_int_equal(lost[i], 0);
    }
    assert_int_equal(joined, bits);
    uint32_t given = 0;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(pawl_ring_change(&one, &two, &members[i], gained, lost), 0);
        for (unsigned j = 0; j < PAWL_RING_SLOTS / 64; j++) {
            given += (uint32_t)__builtin_popcountll(lost[j]);
        }
    }
    assert_int_equal(given, joined);
    assert_int_equal(pawl_ring_change(&one, &two, &stranger, NULL, NULL), 0);
}

static void another_key_places_slots_elsewhere(void **state)
{
    struct pawl_member_id members[4];
    unsigned same = 0;

    (void)state;
    members_from(members, 1, 4);
    build(&one, members, 4);
    assert_int_equal(pawl_ring_build(&two, &other_key, 1, members, 4), PAWL_OK);
    for (unsigned slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        same += one.owner[slot] == two.owner[slot];
    }
    assert_true(same > PAWL_RING_SLOTS / 8 && same < PAWL_RING_SLOTS / 2);
}

static void a_key_has_one_slot_whatever_its_limit_and_parts_do_not_run_together(void **state)
{
    struct pawl_bytes ns = { (const uint8_t *)"default", 7 };
    struct pawl_bytes ab_c[2] = { { (const uint8_t *)"a_b", 3 }, { (const uint8_t *)"c", 1 } };
    struct pawl_bytes a_bc[2] = { { (const uint8_t *)"a", 1 }, { (const uint8_t *)"b_c", 3 } };
    unsigned seen[PAWL_RING_SLOTS] = { 0 };

    (void)state;
    assert_int_not_equal(pawl_ring_slot(&key, ns, ab_c, 2), pawl_ring_slot(&key, ns, a_bc, 2));
    for (uint32_t i = 0; i < 40 * PAWL_RING_SLOTS; i++) {
        struct pawl_bytes part = { (const uint8_t *)&i, sizeof(i) };
        seen[pawl_ring_slot(&key, ns, &part, 1)]++;
    }
    for (unsigned slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        assert_true(seen[slot] > 5 && seen[slot] < 100);
    }
}

/* Stored ids and libpawl's routes depend on it: whatever computes a slot computes this. */
static void a_slot_is_the_keyed_hash_of_the_packed_key(void **state)
{
    static uint8_t text[2 * 1024];
    uint8_t buffer[sizeof(text) + 256];

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (uint8_t)(i * 31 + 7);
    }
    for (size_t size = 0; size < 1100; size += size < 40 ? 1 : 97) {
        struct pawl_bytes ns = pawl_bytes_of(text, size % 65);
        struct pawl_bytes parts[3] = { pawl_bytes_of(text + 3, size),
                                       pawl_bytes_of(text + 11, (size * 7) % 23),
                                       pawl_bytes_of(text + 1, size % 9) };
        struct pawl_pack pack;

        pawl_pack_init(&pack, buffer, sizeof(buffer));
        pawl_pack_bytes(&pack, ns.data, ns.size);
        for (size_t count = 1; count <= 3; count++) {
            pawl_pack_bytes(&pack, parts[count - 1].data, parts[count - 1].size);
            assert_false(pack.overflown);
            assert_int_equal(pawl_ring_slot(&key, ns, parts, count),
                             pawl_keyhash64(&key, buffer, pack.size) % PAWL_RING_SLOTS);
        }
    }
}

static void a_list_that_is_wrong_is_refused(void **state)
{
    struct pawl_member_id members[PAWL_MEMBERS_MAX + 1];

    (void)state;
    members_from(members, 1, PAWL_MEMBERS_MAX + 1);
    assert_int_equal(pawl_ring_build(&one, &key, 1, members, PAWL_MEMBERS_MAX + 1), PAWL_EINVAL);
    assert_int_equal(pawl_ring_build(&one, &key, 0, members, 2), PAWL_EINVAL);
    members[1] = members[0];
    assert_int_equal(pawl_ring_build(&one, &key, 1, members, 2), PAWL_EINVAL);
    assert_int_equal(one.member_count, 0);
    assert_int_equal(one.owner[7], PAWL_RING_NOBODY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_of_nobody_and_of_one),
        cmocka_unit_test(the_order_of_the_list_does_not_matter),
        cmocka_unit_test(shares_are_even_for_every_size),
        cmocka_unit_test(only_the_slots_of_who_goes_move_and_they_go_to_the_heir),
        cmocka_unit_test(what_changes_for_a_member_is_told),
        cmocka_unit_test(another_key_places_slots_elsewhere),
        cmocka_unit_test(a_key_has_one_slot_whatever_its_limit_and_parts_do_not_run_together),
        cmocka_unit_test(a_slot_is_the_keyed_hash_of_the_packed_key),
        cmocka_unit_test(a_list_that_is_wrong_is_refused),
    };

    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
