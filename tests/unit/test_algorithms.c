/* gcra, calendar quotas and concurrency in the limiter's table; overrides; memory; saving. */
#include "unit/algorithm_rig.h"

/* ---- each algorithm ---- */

static void a_gcra_limit_admits_its_burst_and_then_its_rate(void **state)
{
    struct table table;
    uint64_t charge;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_GCRA, "60/minute");

    limit.bursts[0] = 5;
    assert_true(take(&table, &limit, "ann", 5, 0));
    assert_int_equal(results[0].limit_count, 5);
    assert_int_equal(results[0].window_ms, 60000);
    charge = results[0].charge;
    assert_false(take(&table, &limit, "ann", 1, SECOND - 1));
    assert_int_equal(results[0].retry_after_ms, 1);
    assert_true(take(&table, &limit, "ann", 1, SECOND));
    assert_false(take(&table, &limit, "ann", 6, SECOND));
    assert_true(results[0].never);
    assert_int_equal(refund(&table, &limit, "ann", 5, &charge, SECOND), 4);
    assert_int_equal(count_of(&table, &limit, "ann", SECOND), 1);
    assert_int_equal(metrics_of(&table).keys, 1);
    for (unsigned i = 0; i < 4; i++) {
        (void)pawl_limiter_sweep(&table.limiter, i, 10000, at(9 * SECOND));
    }
    assert_int_equal(metrics_of(&table).keys, 0);
    table_end(&table);
}

static void a_calendar_quota_ends_with_its_period_and_a_clock_set_back_keeps_it(void **state)
{
    struct table table;
    uint64_t charge;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CALENDAR, "3/month");

    wall_s = JUNE - 10;
    assert_true(take(&table, &limit, "ann", 3, 0));
    charge = results[0].charge;
    assert_false(take(&table, &limit, "ann", 1, 0));
    assert_int_equal(results[0].retry_after_ms, 10000);
    assert_int_equal(results[0].reset_after_ms, 10000);
    wall_s = JUNE;
    assert_true(take(&table, &limit, "ann", 1, 10 * SECOND));
    assert_int_equal(results[0].count, 1);
    assert_int_equal(refund(&table, &limit, "ann", 3, &charge, 10 * SECOND), 0);
    wall_s = MAY; /* back: June is kept, with its charge, until July */
    assert_int_equal(count_of(&table, &limit, "ann", 11 * SECOND), 1);
    assert_int_equal(results[0].reset_after_ms, (uint64_t)(JUNE - MAY + 30 * DAY) * 1000);
    assert_true(take(&table, &limit, "ann", 2, 11 * SECOND));
    assert_false(take(&table, &limit, "ann", 1, 11 * SECOND));
    wall_s = JUNE + 29 * DAY;
    assert_false(take(&table, &limit, "ann", 1, 12 * SECOND));
    charge = 0;
    assert_int_equal(refund(&table, &limit, "ann", 1, &charge, 12 * SECOND), 0);
    assert_int_equal(refund(&table, &limit, "ann", 1, NULL, 12 * SECOND), 1);
    assert_true(take(&table, &limit, "ann", 1, 12 * SECOND));
    table_end(&table);
}

static void a_wall_clock_out_of_the_calendar_is_its_first_or_last_day(void **state)
{
    static const int64_t walls[] = { INT64_MAX, INT64_MIN, PAWL_CALENDAR_MIN_S,
                                     PAWL_CALENDAR_MAX_S };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct table table;

        table_begin(&table);
        struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CALENDAR, "2/year");

        wall_s = walls[i];
        assert_true(take(&table, &limit, "ann", 2, 0));
        wall_s = walls[i ^ 3];
        assert_false(take(&table, &limit, "ann", 1, 0));
        assert_true(results[0].reset_after_ms > 0);
        table_end(&table);
    }
    wall_s = MAY;
}

static void a_quota_is_swept_only_when_both_clocks_are_past_its_period(void **state)
{
    struct table table;

    (void)state;
    table_begin_with(&table, SMALL, 1, 7);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CALENDAR, "3/day");

    wall_s = MAY;
    assert_true(take(&table, &limit, "ann", 3, 0));
    pawl_limiter_set_wall(&table.limiter, (struct pawl_wall){ JUNE }); /* a jump, for a moment */
    assert_int_equal(pawl_limiter_sweep(&table.limiter, 0, 10000, at(SECOND)), 0);
    pawl_limiter_set_wall(&table.limiter, (struct pawl_wall){ MAY + DAY - 1 });
    assert_int_equal(pawl_limiter_sweep(&table.limiter, 0, 10000, at(2 * DAY * SECOND)), 0);
    assert_false(take(&table, &limit, "ann", 1, 2 * DAY * SECOND));
    pawl_limiter_set_wall(&table.limiter, (struct pawl_wall){ MAY + DAY });
    assert_int_equal(pawl_limiter_sweep(&table.limiter, 0, 10000, at(4 * DAY * SECOND)), 1);
    table_end(&table);
}

static void slots_are_released_by_their_own_handle_once(void **state)
{
    struct table table;
    uint64_t charges[3];

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, "3/minute");

    for (unsigned i = 0; i < 3; i++) { /* in the same millisecond */
        assert_true(take(&table, &limit, "ann", 1, 0));
        charges[i] = results[0].charge;
    }
    assert_false(take(&table, &limit, "ann", 1, 0));
    assert_int_equal(results[0].retry_after_ms, 60000);
    assert_int_equal(refund(&table, &limit, "ann", 1, &charges[1], 0), 1);
    assert_int_equal(refund(&table, &limit, "ann", 1, &charges[1], 0), 0);
    assert_int_equal(count_of(&table, &limit, "ann", 0), 2);
    assert_true(take(&table, &limit, "ann", 1, 30 * SECOND));
    uint64_t later = results[0].charge;

    assert_int_equal(refund(&table, &limit, "ann", 1, &charges[1], 30 * SECOND), 0);
    assert_int_equal(refund(&table, &limit, "ann", 1, NULL, 30 * SECOND), 1); /* the oldest */
    assert_int_equal(refund(&table, &limit, "ann", 1, &charges[0], 30 * SECOND), 0);
    assert_int_equal(count_of(&table, &limit, "ann", 60 * SECOND), 1); /* the other expired */
    assert_int_equal(refund(&table, &limit, "ann", 1, &charges[2], 60 * SECOND), 0);
    assert_int_equal(refund(&table, &limit, "ann", 1, &later, 60 * SECOND), 1);
    assert_true(take(&table, &limit, "ann", 3, 61 * SECOND)); /* three under one handle */
    later = results[0].charge;
    assert_false(take(&table, &limit, "ann", 1, 61 * SECOND));
    assert_int_equal(refund(&table, &limit, "ann", 9, &later, 61 * SECOND), 3);
    table_end(&table);
}

static void four_thousand_slots_are_held_and_released_in_any_order(void **state)
{
    static uint64_t charges[PAWL_SLOTS_MAX];
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, "4096/45d");

    for (unsigned i = 0; i < PAWL_SLOTS_MAX; i++) {
        assert_true(take(&table, &limit, "ann", 1, i * MS / 3));
        charges[i] = results[0].charge;
    }
    assert_false(take(&table, &limit, "ann", 1, 2 * SECOND));
    for (unsigned i = 0; i < PAWL_SLOTS_MAX; i++) {
        unsigned which = i * 1237 % PAWL_SLOTS_MAX;

        assert_int_equal(refund(&table, &limit, "ann", 1, &charges[which], 2 * SECOND), 1);
    }
    assert_int_equal(count_of(&table, &limit, "ann", 2 * SECOND), 0);
    table_end(&table);
}

/* ---- random traces against plain lists ---- */

#define HELD 600

static void random_slots_are_those_of_a_plain_list(void **state)
{
    static struct {
        uint64_t until_ms, charge, slots;
    } held[HELD];

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct table table;
        uint64_t window_ms = 1 + random_below(200);
        uint64_t slots = random_below(12);
        uint64_t now = random_below(1000) * SECOND;
        uint64_t seen = 0;
        char text[32];

        (void)snprintf(text, sizeof(text), "%u/%ums", (unsigned)slots, (unsigned)window_ms);
        table_begin(&table);
        struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, text);
        size_t count = 0;

        for (unsigned i = 0; i < HELD; i++) {
            uint64_t cost = 1 + random_below(3);
            uint64_t taken = 0;

            now += random_below(3) == 0 ? random_below(window_ms * MS) : random_below(2);
            uint64_t shown = i > 0 && random_below(4) == 0 ? now / 2 : now; /* back: no time */

            seen = shown > seen ? shown : seen;
            for (size_t j = 0; j < count; j++) {
                taken += held[j].until_ms * MS > seen / MS * MS ? held[j].slots : 0;
            }
            bool allowed = take(&table, &limit, "ann", cost, shown);

            assert_int_equal(allowed, taken + cost <= slots);
            if (allowed) {
                held[count].until_ms = (seen + MS - 1) / MS + window_ms;
                held[count].charge = results[0].charge;
                held[count].slots = cost;
                count++;
            } else if (cost <= slots) {
                uint64_t wait_ms = results[0].retry_after_ms;

                assert_true(wait_ms > 0);
                now = seen + wait_ms * MS;
                seen = now;
                assert_true(ask(&table, &limit, "ann", cost, now, PAWL_OP_PEEK));
            }
            if (count > 0 && random_below(3) == 0) {
                size_t which = random_below(count);
                bool live;

                uint64_t want = 1 + random_below(3);

                seen = now > seen ? now : seen;
                live = held[which].until_ms * MS > seen / MS * MS;
                uint64_t most = want < held[which].slots ? want : held[which].slots;

                assert_int_equal(refund(&table, &limit, "ann", want, &held[which].charge, now),
                                 live ? most : 0);
                held[which].slots -= live ? most : 0;
            }
        }
        table_end(&table);
    }
}

static void random_quotas_are_those_of_a_plain_list_of_periods(void **state)
{
    static uint64_t charged[20000]; /* by hour since the start */

    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        struct table table;
        uint64_t now = SECOND;
        uint64_t count = 1 + random_below(9);
        int64_t latest = 0;
        bool exists = false;
        char text[32];

        memset(charged, 0, sizeof(charged));
        (void)snprintf(text, sizeof(text), "%u/hour", (unsigned)count);
        table_begin(&table);
        struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CALENDAR, text);

        wall_s = MAY;
        for (unsigned i = 0; i < 2000; i++) {
            uint64_t cost = 1 + random_below(3);

            wall_s += (int64_t)random_below(1200);
            now += random_below(1200) * SECOND;
            int64_t true_wall = wall_s;

            if (random_below(5) == 0) {
                wall_s -= (int64_t)random_below((uint64_t)(wall_s - MAY + 1)); /* back */
            }
            int64_t hour = (wall_s - MAY) / 3600;

            latest = hour > latest || !exists ? hour : latest;
            bool allowed = take(&table, &limit, "ann", cost, now);

            assert_int_equal(allowed, charged[latest] + cost <= count);
            if (allowed) {
                uint64_t charge = results[0].charge;

                exists = true;
                charged[latest] += cost;
                if (random_below(4) == 0) {
                    assert_int_equal(refund(&table, &limit, "ann", 1, &charge, now), 1);
                    charged[latest]--;
                }
            }
            assert_int_equal(count_of(&table, &limit, "ann", now), charged[latest]);
            if (pawl_limiter_sweep(&table.limiter, (unsigned)random_below(4), 1000, at(now)) > 0) {
                exists = false; /* over by both clocks: nothing is known of it any more */
                memset(charged, 0, sizeof(charged));
            }
            wall_s = true_wall;
        }
        table_end(&table);
    }
    wall_s = MAY;
}

/* ---- changed settings ---- */

static void a_changed_algorithm_starts_used_up_and_a_spent_record_does_not(void **state)
{
    (void)state;
    wall_s = MAY;
    for (unsigned from = 0; from < 4; from++) {
        for (unsigned to = 0; to < 4; to++) {
            struct table table;

            table_begin(&table);
            struct pawl_limit before = any_limit(&table, algorithms[from]);
            struct pawl_limit after = any_limit(&table, algorithms[to]);

            assert_true(take(&table, &before, "ann", 1, 0));
            if (from == to) {
                table_end(&table);
                continue;
            }
            assert_false(take(&table, &after, "ann", 1, 0));
            assert_int_equal(results[0].count, 5);
            assert_int_equal(results[0].remaining, 0);
            assert_int_equal(results[0].retry_after_ms,
                             algorithms[to] == PAWL_ALGORITHM_GCRA ? 720000 : 3600000);
            wall_s = MAY + 3600;
            assert_true(take(&table, &after, "ann", 5, 3600 * SECOND));
            wall_s = MAY + 3 * 3600; /* by now nothing of it counts */
            pawl_limiter_set_wall(&table.limiter, (struct pawl_wall){ wall_s });
            assert_true(take(&table, &before, "ann", 5, 3 * 3600 * SECOND));
            wall_s = MAY;
            table_end(&table);
        }
    }
}

static void another_count_or_window_keeps_what_was_charged(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit slots = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, "4/minute");
    struct pawl_limit fewer = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, "2/hour");
    struct pawl_limit month = limit_of(&table, PAWL_ALGORITHM_CALENDAR, "9/month");
    struct pawl_limit day = limit_of(&table, PAWL_ALGORITHM_CALENDAR, "9/day");

    wall_s = MAY + 5 * DAY;
    assert_true(take(&table, &slots, "ann", 3, 0));
    assert_int_equal(count_of(&table, &fewer, "ann", SECOND), 3);
    assert_int_equal(results[0].remaining, 0);
    assert_int_equal(count_of(&table, &fewer, "ann", 3599 * SECOND), 3); /* the new window */
    assert_true(take(&table, &fewer, "ann", 1, 3600 * SECOND));
    assert_true(take(&table, &month, "bob", 4, 0));
    assert_int_equal(count_of(&table, &day, "bob", 0), 4);
    month.anchor_day = 3;
    assert_int_equal(count_of(&table, &month, "bob", 0), 4);
    assert_int_equal(results[0].reset_after_ms, (uint64_t)(JUNE - MAY - 3 * DAY) * 1000);
    wall_s = MAY;
    table_end(&table);
}

static void overrides_take_the_place_of_the_rates_of_the_same_record(void **state)
{
    static const enum pawl_algorithm kinds[] = { PAWL_ALGORITHM_SLIDING, PAWL_ALGORITHM_GCRA,
                                                 PAWL_ALGORITHM_CALENDAR,
                                                 PAWL_ALGORITHM_CONCURRENCY };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct table table;

        table_begin(&table);
        struct pawl_limit limit = any_limit(&table, kinds[i]);
        struct pawl_rate more = limit.rates[0];

        more.count = 7;
        assert_true(take(&table, &limit, "ann", 5, 0));
        assert_false(take(&table, &limit, "ann", 1, 0));
        override = &more;
        assert_true(take(&table, &limit, "ann", 2, 0));
        assert_int_equal(results[0].limit_count, 7);
        assert_int_equal(results[0].count, 7);
        assert_false(take(&table, &limit, "ann", 1, 0));
        override = NULL;
        assert_int_equal(count_of(&table, &limit, "ann", 0), 7);
        assert_int_equal(metrics_of(&table).keys, 1);
        table_end(&table);
    }
}

static void limits_that_cannot_be_are_refused_with_their_reason(void **state)
{
    struct pawl_limit_case {
        enum pawl_algorithm algorithm;
        const char *text;
        const char *reason;
    };
    struct pawl_rate rate = { 5, 1000, 0 };
    struct pawl_error error;
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_GCRA, "5/minute");

#define REFUSED(why)                                                          \
    do {                                                                      \
        assert_int_equal(pawl_limit_init(&limit, NULL, &error), PAWL_EINVAL); \
        assert_non_null(strstr(error.text, why));                             \
    } while (0)
    limit.count_denied = true;
    REFUSED("count_denied");
    limit.count_denied = false;
    limit.bursts[0] = PAWL_COUNT_MAX + 1;
    REFUSED("burst");
    limit = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, "4096/minute");
    limit.rates[0].count = 4097;
    REFUSED("4096 slots");
    limit = limit_of(&table, PAWL_ALGORITHM_CALENDAR, "5/week, 9/month");
    limit.anchor_day = 8;
    REFUSED("anchor_day");
    limit.anchor_day = 7;
    assert_int_equal(pawl_limit_init(&limit, NULL, &error), PAWL_OK);
    limit.rates[1].period = PAWL_PERIOD_WEEK;
    REFUSED("same period");
    limit.rates[1].period = 6;
    REFUSED("1000/month");
    limit.algorithm = (enum pawl_algorithm)4;
    REFUSED("algorithm 4");
    assert_int_equal(pawl_limit_init_inline_as(&limit, &table.limiter, PAWL_ALGORITHM_CALENDAR,
                                               &rate, NULL, 1, 0, &error),
                     PAWL_EINVAL);
    table_end(&table);
}

static void inline_rates_of_two_algorithms_count_apart(void **state)
{
    struct pawl_rate rate = { 2, 60000, 0 };
    uint64_t burst = 1;
    struct pawl_limit sliding;
    struct pawl_limit gcra;
    struct pawl_limit slots;
    struct table table;

    (void)state;
    table_begin(&table);
    assert_int_equal(pawl_limit_init_inline(&sliding, &table.limiter, &rate, 1, 0, NULL), PAWL_OK);
    assert_int_equal(pawl_limit_init_inline_as(&gcra, &table.limiter, PAWL_ALGORITHM_GCRA, &rate,
                                               &burst, 1, 0, NULL),
                     PAWL_OK);
    assert_int_equal(pawl_limit_init_inline_as(&slots, &table.limiter, PAWL_ALGORITHM_CONCURRENCY,
                                               &rate, NULL, 1, 0, NULL),
                     PAWL_OK);
    assert_true(take(&table, &sliding, "ann", 2, 0));
    assert_true(take(&table, &gcra, "ann", 1, 0));
    assert_false(take(&table, &gcra, "ann", 1, 0));
    assert_true(take(&table, &slots, "ann", 2, 0));
    assert_int_equal(count_of(&table, &sliding, "ann", 0), 2);
    assert_int_equal(metrics_of(&table).keys, 3);
    table_end(&table);
}

static void shadow_limits_of_every_algorithm_are_counted_and_deny_nothing(void **state)
{
    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        struct table table;

        table_begin(&table);
        struct pawl_limit limit = any_limit(&table, algorithms[i]);

        limit.shadow = true;
        assert_true(take(&table, &limit, "ann", 5, 0));
        assert_true(take(&table, &limit, "ann", 1, 0));
        assert_false(results[0].allowed);
        assert_int_equal(results[0].charge, 0);
        assert_int_equal(metrics_of(&table).shadow_denied, 1);
        table_end(&table);
    }
}

/* ---- full memory ---- */

static void without_room_every_algorithm_counts_in_a_cell_and_is_never_over(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct table table;
        uint64_t allowed = 0;

        table_begin_with(&table, 1u << 20, 1, 9);
        fill_memory(&table);
        struct pawl_limit limit = any_limit(&table, algorithms[i]);

        wall_s = MAY;
        for (unsigned j = 0; j < 20; j++) {
            allowed += take(&table, &limit, "ann", 1, j * SECOND) ? 1 : 0;
            assert_true(results[0].overflow && !results[0].full);
            if (algorithms[i] == PAWL_ALGORITHM_CONCURRENCY && results[0].charge != 0) {
                uint64_t charge = results[0].charge;

                assert_int_equal(refund(&table, &limit, "ann", 1, &charge, j * SECOND), 0);
            }
        }
        assert_int_equal(allowed, 5);
        limit.bursts[0] = 2;
        if (algorithms[i] == PAWL_ALGORITHM_GCRA) { /* two in each 24 minutes, in a cell */
            allowed = 0;
            for (unsigned j = 0; j < 7200; j++) {
                allowed += take(&table, &limit, "bob", 1, j * SECOND) ? 1 : 0;
            }
            assert_int_equal(allowed, 10);
        }
        limit.when_full = PAWL_WHEN_FULL_CLOSED;
        assert_false(take(&table, &limit, "eve", 1, 0));
        assert_true(results[0].full);
        limit.when_full = PAWL_WHEN_FULL_OPEN;
        assert_true(take(&table, &limit, "eve", 1, 0));
        assert_int_equal(results[0].charge, 0);
        table_end(&table);
    }
}

static void slots_that_find_no_room_to_grow_are_released_by_expiry_alone(void **state)
{
    struct table table;
    uint64_t charges[40];
    uint64_t released = 0;

    (void)state;
    table_begin_with(&table, 1u << 20, 1, 9);
    struct pawl_limit limit = limit_of(&table, PAWL_ALGORITHM_CONCURRENCY, "40/minute");
    char key[16];

    assert_true(take(&table, &limit, "ann", 1, 0));
    charges[0] = results[0].charge;
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof(key), "g%u", i);
        assert_true(take(&table, &limit, key, 1, 0));
    }
    fill_memory(&table);
    for (unsigned i = 0; metrics_of(&table).squeezed == 0; i++) { /* eat up the reserve as well */
        assert_true(i < 3000 * 39);
        (void)snprintf(key, sizeof(key), "g%u", i % 3000);
        assert_true(take(&table, &limit, key, 1, 0));
    }
    for (unsigned i = 1; i < 40; i++) {
        assert_true(take(&table, &limit, "ann", 1, i * MS));
        charges[i] = results[0].charge;
    }
    assert_false(take(&table, &limit, "ann", 1, SECOND));
    for (unsigned i = 0; i < 40; i++) {
        released += refund(&table, &limit, "ann", 1, &charges[i], SECOND);
    }
    assert_true(released < 40);
    assert_int_equal(count_of(&table, &limit, "ann", SECOND), 40 - released);
    assert_int_equal(count_of(&table, &limit, "ann", 61 * SECOND), 0);
    table_end(&table);
}

/* ---- saving and loading ---- */

static struct {
    uint8_t bytes[PAWL_RECORD_BYTES_MAX];
    size_t size;
} saved;

static bool keep(void *unused, const uint8_t *record, size_t size)
{
    (void)unused;
    memcpy(saved.bytes, record, size);
    saved.size = size;
    return true;
}

static void save_one(struct table *table, uint64_t now_ns)
{
    static uint8_t scratch[PAWL_RECORD_BYTES_MAX];

    saved.size = 0;
    for (unsigned shard = 0; shard < 4; shard++) {
        assert_int_equal(pawl_limiter_collect_dirty(&table->limiter, shard, SIZE_MAX, at(now_ns),
                                                    scratch, keep, NULL, NULL),
                         PAWL_OK);
    }
    assert_true(saved.size >= PAWL_RECORD_HEAD_BYTES);
}

static void counts_of_every_algorithm_come_back_after_a_restart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct table table;
        struct table after;
        uint64_t charge;

        wall_s = MAY;
        table_begin(&table);
        table_begin_with(&after, SMALL, 4, 78);
        struct pawl_limit limit = any_limit(&table, algorithms[i]);

        assert_true(take(&table, &limit, "ann", 2, 100 * SECOND));
        charge = results[0].charge;
        assert_true(take(&table, &limit, "ann", 2, 150 * SECOND));
        save_one(&table, 200 * SECOND);
        assert_int_equal(pawl_limiter_load(&after.limiter, pawl_bytes_of(saved.bytes, saved.size),
                                           5000, at(3 * SECOND)),
                         PAWL_OK);
        assert_int_equal(metrics_of(&after).loaded, 1);
        assert_int_equal(count_of(&after, &limit, "ann", 3 * SECOND), 4);
        assert_int_equal(count_of(&table, &limit, "ann", 205 * SECOND), 4);
        uint64_t there = results[0].reset_after_ms;

        (void)count_of(&after, &limit, "ann", 3 * SECOND);
        assert_int_equal(results[0].reset_after_ms, there);
        /* Slots keep their names over a restart; other charges are of another life. */
        assert_int_equal(refund(&after, &limit, "ann", 2, &charge, 3 * SECOND),
                         algorithms[i] == PAWL_ALGORITHM_CONCURRENCY ? 2 : 0);
        table_end(&table);
        table_end(&after);
    }
}

static void damaged_records_of_every_kind_are_refused_or_harmless(void **state)
{
    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        struct pawl_record_head head;
        struct table table;

        wall_s = MAY;
        table_begin(&table);
        struct pawl_limit limit = any_limit(&table, algorithms[i]);

        assert_true(take(&table, &limit, "ann", 2, SECOND));
        assert_true(take(&table, &limit, "ann", 1, 2 * SECOND));
        save_one(&table, 2 * SECOND);
        struct pawl_bytes record = pawl_bytes_of(saved.bytes, saved.size);

        assert_int_equal(pawl_record_check(record, &head), PAWL_OK);
        assert_int_equal(head.kind, algorithms[i] + 1);
        for (size_t bit = 0; bit < saved.size * 8; bit++) {
            saved.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            (void)!pawl_limiter_load(&table.limiter, record, 0, at(2 * SECOND));
            saved.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t cut = 0; cut < saved.size; cut++) {
            assert_int_equal(pawl_limiter_load(&table.limiter, pawl_bytes_of(saved.bytes, cut), 0,
                                               at(2 * SECOND)),
                             PAWL_ECORRUPT);
        }
        saved.bytes[0]++;
        assert_int_equal(pawl_record_check(record, &head), PAWL_EVERSION);
        table_end(&table);
    }
}

static void a_reset_of_every_kind_leaves_a_tombstone(void **state)
{
    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        struct pawl_bytes part = bytes_of("ann");
        struct table table;
        struct table after;
        size_t forgotten = 0;

        wall_s = MAY;
        table_begin(&table);
        table_begin_with(&after, SMALL, 4, 78);
        struct pawl_limit limit = any_limit(&table, algorithms[i]);
        struct pawl_limit_item item = { &limit, bytes_of("default"), &part, 1, 1, NULL };

        assert_true(take(&table, &limit, "ann", 5, 0));
        save_one(&table, 0);
        assert_int_equal(pawl_limiter_load(&after.limiter, pawl_bytes_of(saved.bytes, saved.size),
                                           0, at(0)),
                         PAWL_OK);
        assert_false(take(&after, &limit, "ann", 1, 0));
        assert_int_equal(pawl_limiter_reset(&table.limiter, &item, at(0), &forgotten), PAWL_OK);
        assert_int_equal(forgotten, 1);
        assert_int_equal(count_of(&table, &limit, "ann", 0), 0);
        save_one(&table, 0);
        assert_int_equal(pawl_limiter_load(&after.limiter, pawl_bytes_of(saved.bytes, saved.size),
                                           0, at(0)),
                         PAWL_OK);
        assert_true(take(&after, &limit, "ann", 5, 0));
        table_end(&table);
        table_end(&after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gcra_limit_admits_its_burst_and_then_its_rate),
        cmocka_unit_test(a_calendar_quota_ends_with_its_period_and_a_clock_set_back_keeps_it),
        cmocka_unit_test(a_wall_clock_out_of_the_calendar_is_its_first_or_last_day),
        cmocka_unit_test(a_quota_is_swept_only_when_both_clocks_are_past_its_period),
        cmocka_unit_test(slots_are_released_by_their_own_handle_once),
        cmocka_unit_test(four_thousand_slots_are_held_and_released_in_any_order),
        cmocka_unit_test(random_slots_are_those_of_a_plain_list),
        cmocka_unit_test(random_quotas_are_those_of_a_plain_list_of_periods),
        cmocka_unit_test(a_changed_algorithm_starts_used_up_and_a_spent_record_does_not),
        cmocka_unit_test(another_count_or_window_keeps_what_was_charged),
        cmocka_unit_test(overrides_take_the_place_of_the_rates_of_the_same_record),
        cmocka_unit_test(limits_that_cannot_be_are_refused_with_their_reason),
        cmocka_unit_test(inline_rates_of_two_algorithms_count_apart),
        cmocka_unit_test(shadow_limits_of_every_algorithm_are_counted_and_deny_nothing),
        cmocka_unit_test(without_room_every_algorithm_counts_in_a_cell_and_is_never_over),
        cmocka_unit_test(slots_that_find_no_room_to_grow_are_released_by_expiry_alone),
        cmocka_unit_test(counts_of_every_algorithm_come_back_after_a_restart),
        cmocka_unit_test(damaged_records_of_every_kind_are_refused_or_harmless),
        cmocka_unit_test(a_reset_of_every_kind_leaves_a_tombstone),
    };

    return cmocka_run_group_tests_name("algorithms", tests, NULL, NULL);
}
