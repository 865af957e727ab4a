/* Who is who in a view, and how a new one gets to those who read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/territory.h"

static const struct pawl_subkey key = { "the slots' key.." };

static struct pawl_territory_member member(char name, enum pawl_territory_state state)
{
    struct pawl_territory_member made = { .state = state };

    memset(made.id.bytes, name, sizeof(made.id.bytes));
    (void)snprintf(made.address, sizeof(made.address), "tcp:10.0.0.%d:7400", name);
    return made;
}

static void members_lie_as_in_the_ring_and_those_that_leave_behind(void **state)
{
    const struct pawl_territory_member members[] = { member('c', PAWL_TERRITORY_SERVING),
                                                     member('b', PAWL_TERRITORY_LEAVING),
                                                     member('a', PAWL_TERRITORY_SERVING),
                                                     member('d', PAWL_TERRITORY_SERVING) };
    struct pawl_territory *territory =
        pawl_territory_create(&key, 65536, members[2].id, members, 4);

    (void)state;
    assert_non_null(territory);
    assert_int_equal(territory->member_count, 4);
    assert_int_equal(territory->ring.member_count, 3);
    for (uint16_t i = 0; i < 3; i++) {
        assert_memory_equal(territory->members[i].id.bytes, territory->ring.members[i].bytes, 16);
        assert_int_equal(territory->members[i].state, PAWL_TERRITORY_SERVING);
    }
    assert_int_equal(territory->members[3].state, PAWL_TERRITORY_LEAVING);
    assert_int_equal(territory->members[3].id.bytes[0], 'b');
    assert_memory_equal(territory->members[territory->self].id.bytes, members[2].id.bytes, 16);
    for (size_t i = 0; i < 4; i++) {
        uint16_t at = pawl_territory_find(territory, &members[i].id);

        assert_string_equal(territory->members[at].address, members[i].address);
    }
    for (uint32_t slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        assert_true(territory->ring.owner[slot] < 3);
    }
    pawl_territory_release(territory);
}

static void who_leaves_or_is_not_there_owns_nothing(void **state)
{
    const struct pawl_territory_member members[] = { member('a', PAWL_TERRITORY_LEAVING),
                                                     member('b', PAWL_TERRITORY_SERVING) };
    const struct pawl_territory_member stranger = member('z', PAWL_TERRITORY_SERVING);
    struct pawl_territory *territory = pawl_territory_create(&key, 1, members[0].id, members, 2);

    (void)state;
    assert_int_equal(territory->self, PAWL_RING_NOBODY);
    assert_int_equal(pawl_territory_find(territory, &stranger.id), PAWL_RING_NOBODY);
    pawl_territory_release(territory);
}

static void without_a_view_nobody_owns_anything(void **state)
{
    const struct pawl_territory_member self = member('a', PAWL_TERRITORY_SERVING);
    struct pawl_territory *territory = pawl_territory_create(&key, 0, self.id, NULL, 0);

    (void)state;
    assert_non_null(territory);
    for (uint32_t slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        assert_int_equal(territory->ring.owner[slot], PAWL_RING_NOBODY);
    }
    pawl_territory_release(territory);
    assert_null(pawl_territory_create(&key, 0, self.id, &self, 1));
}

static void one_twice_and_too_many_are_refused(void **state)
{
    static struct pawl_territory_member many[PAWL_MEMBERS_MAX + 1];
    const struct pawl_territory_member twice[] = { member('a', PAWL_TERRITORY_SERVING),
                                                   member('a', PAWL_TERRITORY_LEAVING) };

    (void)state;
    assert_null(pawl_territory_create(&key, 1, twice[0].id, twice, 2));
    for (unsigned i = 0; i <= PAWL_MEMBERS_MAX; i++) {
        many[i] = member('m', PAWL_TERRITORY_SERVING);
        many[i].id.bytes[0] = (uint8_t)i;
    }
    assert_null(pawl_territory_create(&key, 1, many[0].id, many, PAWL_MEMBERS_MAX + 1));
    struct pawl_territory *territory =
        pawl_territory_create(&key, 1, many[0].id, many, PAWL_MEMBERS_MAX);

    assert_non_null(territory);
    pawl_territory_release(territory);
}

static void who_reads_the_old_one_keeps_it(void **state)
{
    const struct pawl_territory_member self = member('a', PAWL_TERRITORY_SERVING);
    struct pawl_territory_slot slot;
    unsigned first;
    unsigned second;

    (void)state;
    pawl_territory_slot_init(&slot, pawl_territory_create(&key, 0, self.id, NULL, 0));
    struct pawl_territory *old = pawl_territory_current(&slot, &first);

    pawl_territory_publish(&slot, pawl_territory_create(&key, 7, self.id, &self, 1));
    struct pawl_territory *current = pawl_territory_current(&slot, &second);

    assert_int_not_equal(first, second);
    assert_int_equal(old->view, 0);
    assert_int_equal(current->view, 7);
    pawl_territory_release(old);
    pawl_territory_slot_deinit(&slot);
    assert_int_equal(current->self, 0); /* still there */
    pawl_territory_release(current);
    pawl_territory_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_lie_as_in_the_ring_and_those_that_leave_behind),
        cmocka_unit_test(who_leaves_or_is_not_there_owns_nothing),
        cmocka_unit_test(without_a_view_nobody_owns_anything),
        cmocka_unit_test(one_twice_and_too_many_are_refused),
        cmocka_unit_test(who_reads_the_old_one_keeps_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
