/* Leases: taken once, by their owner, before their deadline; full is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/lease.h"

#define SECOND UINT64_C(1000000000)

static const struct pawl_id owner = { 7, 8 };
static const struct pawl_id stranger = { 7, 9 };

struct rig {
    struct pawl_leases leases;
    void *memory;
};

static void rig_begin(struct rig *rig, size_t leases_max)
{
    rig->memory = calloc(1, pawl_leases_size(leases_max));
    assert_non_null(rig->memory);
    assert_int_equal(
        pawl_leases_init(&rig->leases, rig->memory, leases_max, (struct pawl_id){ 3, 5 }), PAWL_OK);
}

static void rig_end(struct rig *rig)
{
    pawl_leases_deinit(&rig->leases);
    free(rig->memory);
}

static struct pawl_instant at(uint64_t ns)
{
    return (struct pawl_instant){ ns };
}

static struct pawl_id id_of(uint64_t number)
{
    return (struct pawl_id){ number * UINT64_C(0x9e3779b97f4a7c15) + 1, number };
}

static void lease_fill(struct pawl_lease *lease, size_t charges, uint64_t number, uint64_t end_ns)
{
    memset(lease, 0, sizeof(*lease));
    lease->owner = owner;
    lease->granted = number + 1;
    lease->deadline = at(end_ns);
    lease->charges_count = charges;
    for (size_t i = 0; i < charges; i++) {
        lease->charges[i].id = id_of(number * 100 + i);
        lease->charges[i].charge = number * 1000 + i + 1;
        lease->charges[i].kind = (uint8_t)(1 + i % 4);
    }
}

static enum pawl_status open_one(struct rig *rig, size_t charges, uint64_t number, uint64_t end_ns,
                                 uint64_t now_ns)
{
    struct pawl_lease lease;

    lease_fill(&lease, charges, number, end_ns);
    return pawl_leases_open(&rig->leases, id_of(number), &lease, at(now_ns));
}

static enum pawl_status take_one(struct rig *rig, uint64_t number, uint64_t now_ns,
                                 struct pawl_lease *lease)
{
    return pawl_leases_take(&rig->leases, id_of(number), owner, at(now_ns), lease);
}

static struct pawl_leases_metrics metrics_of(struct rig *rig)
{
    struct pawl_leases_metrics metrics;

    pawl_leases_metrics_get(&rig->leases, &metrics);
    return metrics;
}

static void a_lease_is_taken_whole_and_once(void **state)
{
    static const size_t sizes[] = { 0, 1, 8, 9, 16, 17, 64 };
    struct pawl_lease wanted;
    struct pawl_lease lease;
    struct rig rig;

    (void)state;
    rig_begin(&rig, 64);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(open_one(&rig, sizes[i], i, SECOND, 0), PAWL_OK);
    }
    assert_int_equal(metrics_of(&rig).open, 7);
    assert_int_equal(metrics_of(&rig).places, 1 + 1 + 1 + 2 + 2 + 3 + 8);
    assert_int_equal(open_one(&rig, 1, 3, SECOND, 0), PAWL_EBUSY);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        lease_fill(&wanted, sizes[i], i, SECOND);
        memset(&lease, 0, sizeof(lease));
        assert_int_equal(pawl_leases_take(&rig.leases, id_of(i), stranger, at(1), &lease),
                         PAWL_ENOENT);
        assert_int_equal(take_one(&rig, i, 1, &lease), PAWL_OK);
        assert_memory_equal(&lease, &wanted, sizeof(lease));
        assert_int_equal(take_one(&rig, i, 1, &lease), PAWL_ENOENT);
    }
    assert_int_equal(metrics_of(&rig).open, 0);
    assert_int_equal(metrics_of(&rig).places, 0);
    rig_end(&rig);
}

static void a_lease_is_good_until_its_deadline_and_not_at_it(void **state)
{
    struct pawl_lease lease;
    struct rig rig;

    (void)state;
    rig_begin(&rig, 8);
    assert_int_equal(open_one(&rig, 1, 1, SECOND, 0), PAWL_OK);
    assert_int_equal(open_one(&rig, 9, 2, SECOND, 0), PAWL_OK);
    assert_int_equal(open_one(&rig, 9, 3, 2 * SECOND, 0), PAWL_OK);
    assert_int_equal(take_one(&rig, 1, SECOND - 1, &lease), PAWL_OK);
    assert_int_equal(take_one(&rig, 2, SECOND, &lease), PAWL_ENOENT);
    assert_int_equal(pawl_leases_expire(&rig.leases, 100, at(2 * SECOND - 1)), 0);
    assert_int_equal(pawl_leases_expire(&rig.leases, 100, at(2 * SECOND)), 1);
    assert_int_equal(take_one(&rig, 3, 0, &lease), PAWL_ENOENT);
    assert_int_equal(metrics_of(&rig).expired, 2);
    assert_int_equal(metrics_of(&rig).places, 0);
    rig_end(&rig);
}

static void full_is_refused_and_drops_nothing_that_is_open(void **state)
{
    struct pawl_lease lease;
    struct rig rig;

    (void)state;
    rig_begin(&rig, 4);
    assert_int_equal(open_one(&rig, 1, 1, SECOND, 0), PAWL_OK);
    assert_int_equal(open_one(&rig, 17, 2, 9 * SECOND, 0), PAWL_OK);
    assert_int_equal(open_one(&rig, 1, 3, 9 * SECOND, 0), PAWL_EFULL);
    assert_int_equal(metrics_of(&rig).refused, 1);
    assert_int_equal(open_one(&rig, 9, 3, 9 * SECOND, SECOND), PAWL_EFULL); /* one place is free */
    assert_int_equal(open_one(&rig, 8, 3, 9 * SECOND, SECOND), PAWL_OK);
    assert_int_equal(take_one(&rig, 1, SECOND, &lease), PAWL_ENOENT);
    assert_int_equal(take_one(&rig, 2, SECOND, &lease), PAWL_OK);
    assert_int_equal(lease.charges_count, 17);
    assert_int_equal(open_one(&rig, 24, 4, 9 * SECOND, SECOND), PAWL_OK);
    assert_int_equal(take_one(&rig, 3, SECOND, &lease), PAWL_OK);
    rig_end(&rig);
}

static void what_is_not_valid_is_refused(void **state)
{
    struct pawl_leases leases;
    struct pawl_lease lease;
    struct rig rig;

    (void)state;
    assert_int_equal(pawl_leases_init(&leases, NULL, 0, owner), PAWL_EINVAL);
    assert_int_equal(pawl_leases_init(&leases, NULL, PAWL_LEASES_MAX + 1, owner), PAWL_EINVAL);
    rig_begin(&rig, 1);
    lease_fill(&lease, 1, 1, SECOND);
    assert_int_equal(pawl_leases_open(&rig.leases, (struct pawl_id){ 0, 0 }, &lease, at(0)),
                     PAWL_EINVAL);
    lease.charges_count = PAWL_LIMITER_SLOTS_MAX + 1;
    assert_int_equal(pawl_leases_open(&rig.leases, id_of(1), &lease, at(0)), PAWL_EINVAL);
    rig_end(&rig);
}

/* Against a list: many leases in few places, ids that share their home in the index. */
static void random_leases_are_those_of_a_plain_list(void **state)
{
    static struct {
        bool open;
        uint64_t end_ns;
        size_t charges;
    } list[200];
    struct pawl_lease lease;
    uint64_t random = 9;
    uint64_t now = 0;
    struct rig rig;

    (void)state;
    rig_begin(&rig, 100);
    for (unsigned round = 0; round < 40000; round++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        unsigned i = (unsigned)(random >> 33) % 200;
        size_t charges = (size_t)(random >> 40) % 20;

        now += random >> 61;
        if ((random >> 50 & 1) != 0) {
            bool was_open = list[i].open;
            enum pawl_status status = open_one(&rig, charges, i, now + 50 + (random >> 55), now);

            if (status == PAWL_OK) {
                assert_true(!was_open || list[i].end_ns <= now);
                list[i].open = true;
                list[i].end_ns = now + 50 + (random >> 55);
                list[i].charges = charges;
            } else {
                assert_true(status == PAWL_EBUSY ? was_open : status == PAWL_EFULL);
            }
        } else {
            bool good = list[i].open && list[i].end_ns > now;

            assert_int_equal(take_one(&rig, i, now, &lease), good ? PAWL_OK : PAWL_ENOENT);
            if (good) {
                assert_int_equal(lease.charges_count, list[i].charges);
                assert_int_equal(lease.granted, i + 1);
            }
            list[i].open = false;
        }
        (void)pawl_leases_expire(&rig.leases, random >> 60 & 3, at(now));
        assert_true(metrics_of(&rig).places <= 100);
    }
    (void)pawl_leases_expire(&rig.leases, 1000, at(UINT64_MAX));
    assert_int_equal(metrics_of(&rig).places, 0);
    assert_int_equal(metrics_of(&rig).open, 0);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_is_taken_whole_and_once),
        cmocka_unit_test(a_lease_is_good_until_its_deadline_and_not_at_it),
        cmocka_unit_test(full_is_refused_and_drops_nothing_that_is_open),
        cmocka_unit_test(what_is_not_valid_is_refused),
        cmocka_unit_test(random_leases_are_those_of_a_plain_list),
    };

    return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
