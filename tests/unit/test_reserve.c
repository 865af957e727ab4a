/* Reservations: the most that all rates have room for, given back by record, and threads. */
#include <pthread.h>

#include "unit/algorithm_rig.h"

#include "core/lease.h"

static struct pawl_limit_grant grant;

/* ---- reserve ---- */

static bool reserve(struct table *table, const struct pawl_limit_item *items, size_t count,
                    uint64_t min, uint64_t max, uint64_t now_ns)
{
    struct pawl_limit_request request = { items,         count,      PAWL_MODE_ATOMIC,
                                          PAWL_OP_CHECK, at(now_ns), { wall_s } };

    assert_int_equal(pawl_limiter_reserve(&table->limiter, &request, min, max, results,
                                          PAWL_LIMITER_SLOTS_MAX, &grant),
                     PAWL_OK);
    return grant.verdict == PAWL_ALLOW;
}

static void give_back(struct table *table, uint64_t cost, uint64_t now_ns)
{
    for (size_t i = 0; i < grant.charges_count; i++) {
        assert_int_equal(
            pawl_limiter_give_back(&table->limiter, &grant.charges[i], cost, at(now_ns)), cost);
    }
}

static void a_reservation_takes_the_most_that_all_have_room_for_or_nothing(void **state)
{
    struct pawl_bytes ann = bytes_of("ann");
    struct pawl_bytes bob = bytes_of("bob");
    struct table table;

    (void)state;
    wall_s = MAY;
    table_begin(&table);
    struct pawl_limit limits[4];
    struct pawl_limit_item items[5];
    static const char *const texts[4] = { "9/1h, 20/day", "8/1h", "7/hour", "10/1h" };

    for (unsigned i = 0; i < 4; i++) {
        limits[i] = limit_of(&table, algorithms[i], texts[i]);
        (void)snprintf(limits[i].name, sizeof(limits[i].name), "limit%u", i);
        assert_int_equal(pawl_limit_init(&limits[i], &table.limiter, NULL), PAWL_OK);
        items[i] = (struct pawl_limit_item){ &limits[i], bytes_of("default"), &ann, 1, 0, NULL };
    }
    items[4] = items[0];
    items[4].parts = &bob;
    assert_true(take(&table, &limits[2], "ann", 2, 0)); /* leaves 5, the least */
    assert_false(reserve(&table, items, 5, 6, 9, 0));
    assert_int_equal(grant.granted, 0);
    assert_int_equal(grant.charges_count, 0);
    assert_int_equal(count_of(&table, &limits[0], "ann", 0), 0);
    assert_true(reserve(&table, items, 5, 2, 9, 0));
    assert_int_equal(grant.granted, 5);
    assert_int_equal(grant.charges_count, 7);
    assert_int_equal(grant.results_count, 7);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(count_of(&table, &limits[i], "ann", 0), i == 2 ? 7 : 5);
    }
    give_back(&table, 3, SECOND); /* used 2: whatever the settings say by now */
    for (unsigned i = 0; i < 4; i++) {
        /* of gcra eight parts of 3600 have flowed by now: what is left counts as a whole */
        assert_int_equal(count_of(&table, &limits[i], "ann", SECOND), i == 2 ? 4 : 2);
    }
    assert_true(reserve(&table, items, 5, 1, 2, SECOND)); /* never more than the most */
    assert_int_equal(grant.granted, 2);
    struct pawl_limit_request bad = { items, 5, PAWL_MODE_ATOMIC, PAWL_OP_CHECK, at(0), { 0 } };

    assert_int_equal(pawl_limiter_reserve(&table.limiter, &bad, 0, 1, results, 64, &grant),
                     PAWL_EINVAL);
    assert_int_equal(pawl_limiter_reserve(&table.limiter, &bad, 2, 1, results, 64, &grant),
                     PAWL_EINVAL);
    assert_int_equal(pawl_limiter_reserve(&table.limiter, &bad, 1, 2, results, 6, &grant),
                     PAWL_ETOOBIG);
    assert_int_equal(grant.verdict, PAWL_VERDICT_NONE);
    table_end(&table);
}

static void a_refused_reservation_says_when_the_least_would_fit(void **state)
{
    struct pawl_bytes ann = bytes_of("ann");
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, "5/minute");
    struct pawl_limit shadow = limit_of(&table, PAWL_ALGORITHM_SLIDING, "1/minute");
    struct pawl_limit_item items[2] = { { &limit, bytes_of("default"), &ann, 1, 0, NULL },
                                        { &shadow, bytes_of("other"), &ann, 1, 0, NULL } };

    shadow.shadow = true;
    assert_true(take(&table, &limit, "ann", 3, 0));
    assert_true(take(&table, &limit, "ann", 1, 10 * SECOND));
    assert_false(reserve(&table, items, 1, 2, 9, 20 * SECOND));
    assert_int_equal(results[0].retry_after_ms, 40000);
    assert_false(reserve(&table, items, 1, 6, 9, 20 * SECOND));
    assert_true(results[0].never);
    assert_true(reserve(&table, items, 2, 1, 5, 60 * SECOND)); /* the shadow does not lower it */
    assert_int_equal(grant.granted, 4);
    assert_int_equal(grant.charges_count, 1);
    table_end(&table);
}

static void keys_that_share_a_cell_are_granted_what_fits_together(void **state)
{
    struct pawl_bytes parts[40];
    struct pawl_limit_item items[40];
    char names[40][8];
    struct table table;
    uint64_t total = 0;

    (void)state;
    table_begin_with(&table, 1u << 20, 1, 9);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_GCRA, "100/1h");

    fill_memory(&table);
    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "r%u", i);
        parts[i] = bytes_of(names[i]);
        items[i] = (struct pawl_limit_item){ &limit, bytes_of("default"), &parts[i], 1, 0, NULL };
    }
    for (unsigned i = 0; i < 8; i++) {
        if (reserve(&table, items, 40, 1, 30, i * SECOND)) {
            total += grant.granted;
            assert_int_equal(grant.charges_count, 40);
        }
    }
    assert_true(total > 0 && total <= 100);
    table_end(&table);
}

static void give_back_knows_no_limit_and_nothing_that_is_gone(void **state)
{
    struct pawl_bytes ann = bytes_of("ann");
    struct table table;

    (void)state;
    wall_s = MAY;
    for (unsigned i = 0; i < 4; i++) {
        table_begin(&table);
        struct pawl_limit limit = any_limit(&table, algorithms[i]);
        struct pawl_limit other = any_limit(&table, algorithms[(i + 1) % 4]);
        struct pawl_limit_item item = { &limit, bytes_of("default"), &ann, 1, 0, NULL };

        assert_true(reserve(&table, &item, 1, 1, 4, 0));
        assert_int_equal(grant.granted, 4);
        struct pawl_charged charged = grant.charges[0];

        charged.id.hi ^= 1;
        assert_int_equal(pawl_limiter_give_back(&table.limiter, &charged, 4, at(0)), 0);
        charged = grant.charges[0];
        charged.charge = 0;
        assert_int_equal(pawl_limiter_give_back(&table.limiter, &charged, 4, at(0)), 0);
        assert_int_equal(pawl_limiter_give_back(&table.limiter, &grant.charges[0], 0, at(0)), 0);
        assert_int_equal(pawl_limiter_give_back(&table.limiter, &grant.charges[0], 4, at(0)), 4);
        assert_int_equal(count_of(&table, &limit, "ann", 0), 0);
        assert_true(reserve(&table, &item, 1, 1, 4, 0));
        assert_false(take(&table, &other, "ann", 1, 0)); /* another algorithm now: used up */
        assert_int_equal(pawl_limiter_give_back(&table.limiter, &grant.charges[0], 4, at(0)), 0);
        table_end(&table);
    }
}

static void a_lease_that_is_not_taken_stays_charged_and_one_is_committed_once(void **state)
{
    struct pawl_id owner = { 1, 2 };
    struct pawl_id id = { 3, 4 };
    struct pawl_bytes ann = bytes_of("ann");
    struct pawl_leases leases;
    struct pawl_lease lease;
    struct table table;
    void *memory = calloc(1, pawl_leases_size(4));

    (void)state;
    assert_non_null(memory);
    assert_int_equal(pawl_leases_init(&leases, memory, 4, owner), PAWL_OK);
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, "9/1h");
    struct pawl_limit_item item = { &limit, bytes_of("default"), &ann, 1, 0, NULL };

    for (unsigned round = 0; round < 2; round++) {
        assert_true(reserve(&table, &item, 1, 1, 4, 0));
        memset(&lease, 0, sizeof(lease));
        lease.owner = owner;
        lease.granted = grant.granted;
        lease.deadline = at(60 * SECOND);
        lease.charges_count = grant.charges_count;
        memcpy(lease.charges, grant.charges, sizeof(lease.charges));
        assert_int_equal(pawl_leases_open(&leases, id, &lease, at(0)), PAWL_OK);
        uint64_t now = round == 0 ? 59 * SECOND : 60 * SECOND;
        enum pawl_status status = pawl_leases_take(&leases, id, owner, at(now), &lease);

        assert_int_equal(status, round == 0 ? PAWL_OK : PAWL_ENOENT);
        if (status == PAWL_OK) { /* used 1 of 4 */
            assert_int_equal(pawl_limiter_give_back(&table.limiter, &lease.charges[0], 3, at(now)),
                             3);
        }
        assert_int_equal(pawl_leases_take(&leases, id, owner, at(now), &lease), PAWL_ENOENT);
    }
    assert_int_equal(count_of(&table, &limit, "ann", 61 * SECOND), 5);
    table_end(&table);
    pawl_leases_deinit(&leases);
    free(memory);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  2000

struct worker {
    struct table *table;
    struct pawl_limit *slots;
    struct pawl_limit *quota;
    uint64_t held_max;
    uint64_t reserved;
};

static uint64_t held_now; /* slots that somebody thinks he has */

static void *worker_run(void *data)
{
    struct worker *worker = data;
    struct pawl_bytes part = bytes_of("shared");
    struct pawl_limit_item slot = { worker->slots, bytes_of("default"), &part, 1, 1, NULL };
    struct pawl_limit_item quota = { worker->quota, bytes_of("default"), &part, 1, 1, NULL };
    struct pawl_limit_result out[2];

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct pawl_limit_request request = { &slot,         1,          PAWL_MODE_ATOMIC,
                                              PAWL_OP_CHECK, at(SECOND), { MAY } };
        struct pawl_limit_outcome outcome;
        struct pawl_limit_grant own;

        (void)!pawl_limiter_check(&worker->table->limiter, &request, out, 2, &outcome);
        if (outcome.verdict == PAWL_ALLOW) {
            uint64_t held = __atomic_add_fetch(&held_now, 1, __ATOMIC_SEQ_CST);
            uint64_t charge = out[0].charge;
            uint64_t refunded = 0;

            worker->held_max = held > worker->held_max ? held : worker->held_max;
            __atomic_sub_fetch(&held_now, 1, __ATOMIC_SEQ_CST);
            for (unsigned j = 0; j < 2; j++) { /* the second time nothing */
                (void)!pawl_limiter_refund(&worker->table->limiter, &slot, &charge, at(SECOND),
                                           &refunded);
                worker->held_max += refunded == (j == 0 ? 1 : 0) ? 0 : 1000;
            }
        }
        request.items = &quota;
        (void)!pawl_limiter_reserve(&worker->table->limiter, &request, 1, 5, out, 2, &own);
        if (own.verdict == PAWL_ALLOW) {
            uint64_t used = i % (own.granted + 1);

            worker->reserved += used;
            worker->reserved += own.granted - used -
                                pawl_limiter_give_back(&worker->table->limiter, &own.charges[0],
                                                       own.granted - used, at(SECOND));
        }
    }
    return NULL;
}

static void slots_and_reservations_of_many_threads_are_never_over(void **state)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    struct table table;
    uint64_t reserved = 0;

    (void)state;
    table_begin(&table);
    struct pawl_limit slots = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, "3/minute");
    struct pawl_limit quota = limit_of(&table, PAWL_ALGORITHM_CALENDAR, "5000/month");

    (void)snprintf(quota.name, sizeof(quota.name), "quota");
    assert_int_equal(pawl_limit_init(&quota, &table.limiter, NULL), PAWL_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ &table, &slots, &quota, 0, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(workers[i].held_max <= 3);
        reserved += workers[i].reserved;
    }
    wall_s = MAY;
    assert_int_equal(count_of(&table, &slots, "shared", SECOND), 0);
    assert_int_equal(count_of(&table, &quota, "shared", SECOND), reserved);
    assert_true(reserved <= 5000);
    table_end(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reservation_takes_the_most_that_all_have_room_for_or_nothing),
        cmocka_unit_test(a_refused_reservation_says_when_the_least_would_fit),
        cmocka_unit_test(keys_that_share_a_cell_are_granted_what_fits_together),
        cmocka_unit_test(give_back_knows_no_limit_and_nothing_that_is_gone),
        cmocka_unit_test(a_lease_that_is_not_taken_stays_charged_and_one_is_committed_once),
        cmocka_unit_test(slots_and_reservations_of_many_threads_are_never_over),
    };

    return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}
