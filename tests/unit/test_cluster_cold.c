/* How long a member without a fact waits for its first ones before it is called ready. */
#include "core/cluster/cold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void who_hears_of_others_waits_long_and_not_for_ever(void **state)
{
    const struct pawl_cold cold = { .others = true };

    (void)state;
    assert_true(pawl_cold_waits(&cold, 0));
    assert_true(pawl_cold_waits(&cold, PAWL_COLD_MAX_MS - 1));
    assert_false(pawl_cold_waits(&cold, PAWL_COLD_MAX_MS));
    assert_false(pawl_cold_waits(&cold, UINT64_MAX));
}

static void who_hears_of_nobody_waits_as_long_as_it_takes_to_ask(void **state)
{
    const struct pawl_cold cold = { .others = false };

    (void)state;
    assert_true(pawl_cold_waits(&cold, 0));
    assert_true(pawl_cold_waits(&cold, PAWL_COLD_ALONE_MS - 1));
    assert_false(pawl_cold_waits(&cold, PAWL_COLD_ALONE_MS));
}

static void who_has_followed_the_engine_or_has_a_journal_waits_for_nothing(void **state)
{
    const struct pawl_cold synced = { .synced = true, .others = true };
    const struct pawl_cold loaded = { .loaded = true, .others = true };

    (void)state;
    assert_false(pawl_cold_waits(&synced, 0));
    assert_false(pawl_cold_waits(&loaded, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_hears_of_others_waits_long_and_not_for_ever),
        cmocka_unit_test(who_hears_of_nobody_waits_as_long_as_it_takes_to_ask),
        cmocka_unit_test(who_has_followed_the_engine_or_has_a_journal_waits_for_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
