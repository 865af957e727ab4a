/* The generic cell rate algorithm by itself: exact, never over, both sides of each limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/gcra.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define YEAR   (UINT64_C(31557600) * SECOND)

__extension__ typedef unsigned __int128 wide;

static union {
    struct pawl_window window;
    uint8_t bytes[PAWL_WINDOW_BYTES_MIN];
} place;

static struct pawl_window *const record = &place.window;

static struct pawl_instant at(uint64_t ns)
{
    return (struct pawl_instant){ ns };
}

static void begin(const struct pawl_rate *rate, uint64_t now_ns)
{
    pawl_window_init(record, sizeof(place), (struct pawl_id){ 1, 2 }, rate->window_ms, at(now_ns));
    pawl_gcra_clear(record);
}

static bool take(const struct pawl_rate *rate, uint64_t burst, uint64_t cost, uint64_t now_ns,
                 uint64_t *event)
{
    uint64_t name;

    pawl_gcra_advance(record, rate, at(now_ns));
    if (pawl_gcra_room(record, rate, burst) < cost) {
        return false;
    }
    name = pawl_gcra_charge(record, cost);
    if (event != NULL) {
        *event = name;
    }
    return true;
}

static struct pawl_window_answer ask(const struct pawl_rate *rate, uint64_t burst, uint64_t cost,
                                     uint64_t now_ns)
{
    struct pawl_window_answer answer;

    pawl_gcra_advance(record, rate, at(now_ns));
    pawl_gcra_ask(record, rate, burst, cost, &answer);
    assert_int_equal(answer.allowed, pawl_gcra_room(record, rate, burst) >= cost);
    return answer;
}

static void a_burst_is_admitted_at_once_and_then_one_an_interval(void **state)
{
    struct pawl_rate rate = { 60, 60000, 0 };

    (void)state;
    begin(&rate, 5);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(ask(&rate, 10, 1, 5).remaining, 10 - i);
        assert_true(take(&rate, 10, 1, 5, NULL));
    }
    assert_false(take(&rate, 10, 1, 5, NULL));
    assert_int_equal(ask(&rate, 10, 1, 5).retry_after_ms, 1000);
    assert_int_equal(ask(&rate, 10, 10, 5).retry_after_ms, 10000);
    assert_int_equal(ask(&rate, 10, 10, 5).reset_after_ms, 10000);
    assert_true(ask(&rate, 10, 11, 5).never);
    assert_false(take(&rate, 10, 1, 4 + SECOND, NULL));
    assert_true(take(&rate, 10, 1, 5 + SECOND, NULL));
    assert_false(take(&rate, 10, 1, 5 + SECOND, NULL));
}

static void without_a_burst_the_count_may_come_at_once_and_zero_blocks(void **state)
{
    struct pawl_rate rate = { 3, 1000, 0 };
    struct pawl_rate none = { 0, 1000, 0 };

    (void)state;
    begin(&rate, 0);
    assert_true(take(&rate, 0, 3, 0, NULL));
    assert_false(take(&rate, 0, 1, 0, NULL));
    assert_int_equal(ask(&rate, 0, 1, 0).retry_after_ms, 334); /* 333.3 ms, late */
    begin(&none, 0);
    assert_false(take(&none, 7, 1, YEAR, NULL));
    assert_true(ask(&none, 7, 1, YEAR).never);
    assert_int_equal(ask(&none, 7, 1, YEAR).remaining, 0);
}

static void a_step_back_counts_as_no_time_and_a_year_idle_as_empty(void **state)
{
    struct pawl_rate rate = { 2, 1000, 0 };

    (void)state;
    begin(&rate, YEAR);
    assert_true(take(&rate, 0, 2, YEAR, NULL));
    assert_false(take(&rate, 0, 1, 0, NULL));
    assert_false(take(&rate, 0, 1, YEAR + 499 * MS, NULL));
    assert_true(take(&rate, 0, 1, YEAR + 500 * MS, NULL));
    assert_false(pawl_gcra_is_spent(record, at(YEAR + 1500 * MS - 1)));
    assert_true(pawl_gcra_is_spent(record, at(YEAR + 1500 * MS)));
    assert_int_equal(ask(&rate, 0, 1, 2 * YEAR).remaining, 2);
}

static void the_biggest_numbers_do_not_wrap(void **state)
{
    struct pawl_rate slow = { 1, PAWL_WINDOW_MS_MAX, 0 };
    struct pawl_rate fast = { PAWL_COUNT_MAX, 1, 0 };

    (void)state;
    begin(&slow, 0);
    assert_true(take(&slow, PAWL_COUNT_MAX, PAWL_COUNT_MAX, 0, NULL));
    assert_int_equal(ask(&slow, PAWL_COUNT_MAX, 1, 0).remaining, 0);
    assert_int_equal(ask(&slow, PAWL_COUNT_MAX, 1, 0).retry_after_ms, PAWL_WINDOW_MS_MAX);
    assert_int_equal(ask(&slow, PAWL_COUNT_MAX, 1, 0).reset_after_ms,
                     PAWL_COUNT_MAX * PAWL_WINDOW_MS_MAX < PAWL_WAIT_MS_MAX
                         ? PAWL_COUNT_MAX * PAWL_WINDOW_MS_MAX
                         : PAWL_WAIT_MS_MAX);
    assert_false(pawl_gcra_is_spent(record, at(UINT64_MAX)));
    assert_int_equal(ask(&fast, PAWL_COUNT_MAX, 1, 0).count, PAWL_COUNT_MAX); /* as events */
    assert_int_equal(ask(&fast, PAWL_COUNT_MAX, 1, MS).count, 0);
    begin(&fast, 0);
    assert_true(take(&fast, 1, 1, 0, NULL)); /* a thousandth of a ns an event: still exact */
    assert_false(take(&fast, 1, 1, 0, NULL));
    assert_true(take(&fast, 1, 1, 1, NULL));
    begin(&fast, UINT64_MAX - 1);
    assert_true(take(&fast, 0, PAWL_COUNT_MAX, UINT64_MAX - 1, NULL));
    assert_false(take(&fast, 0, 2000000, UINT64_MAX, NULL));
}

/* ---- taking back ---- */

static void a_refund_of_the_newest_gives_its_interval_back_exactly(void **state)
{
    struct pawl_rate rate = { 7, 1000, 0 }; /* an interval that is no whole number of ns */
    uint64_t event = 0;

    (void)state;
    begin(&rate, 12345);
    assert_true(take(&rate, 3, 2, 12345, NULL));
    assert_true(take(&rate, 3, 1, 12345, &event));
    assert_false(take(&rate, 3, 1, 12345, NULL));
    assert_int_equal(pawl_gcra_refund(record, event, 1), 1);
    assert_int_equal(ask(&rate, 3, 1, 12345).remaining, 1);
    assert_true(take(&rate, 3, 1, 12345, &event));
    pawl_gcra_advance(record, &rate, at(12345 + 400 * MS)); /* 2.8 of 3 have flowed */
    assert_int_equal(pawl_gcra_refund(record, event, 1), 1);
    assert_int_equal(ask(&rate, 3, 1, 12345 + 400 * MS).remaining, 3);
    assert_int_equal(pawl_gcra_refund(record, event, 1), 0);
}

static void what_has_flowed_is_not_given_back_for_others_have_used_it(void **state)
{
    struct pawl_rate rate = { 10, 10000, 0 };
    uint64_t first = 0;
    uint64_t second = 0;

    (void)state;
    begin(&rate, 0);
    assert_true(take(&rate, 0, 10, 0, &first));
    assert_true(take(&rate, 0, 10, 10 * SECOND, &second));
    assert_int_equal(pawl_gcra_refund(record, first, 10), 0);
    assert_int_equal(ask(&rate, 0, 1, 10 * SECOND).remaining, 0);
    begin(&rate, 0);
    assert_true(take(&rate, 0, 4, 0, &first));
    assert_true(take(&rate, 0, 6, 0, &second));
    pawl_gcra_advance(record, &rate, at(3 * SECOND)); /* 1 of the first is left */
    assert_int_equal(pawl_gcra_refund(record, first, 4), 1);
    assert_int_equal(pawl_gcra_refund(record, first, 4), 0);
    assert_int_equal(pawl_gcra_refund(record, second, 9), 6);
    assert_int_equal(ask(&rate, 0, 1, 3 * SECOND).remaining, 10);
}

static void an_earlier_charge_is_given_back_once_and_later_ones_after_it(void **state)
{
    struct pawl_rate rate = { 10, 10000, 0 };
    uint64_t events[3] = { 0 };

    (void)state;
    begin(&rate, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(take(&rate, 0, 3, 0, &events[i]));
    }
    assert_int_equal(pawl_gcra_refund(record, events[0], 3), 3);
    assert_int_equal(pawl_gcra_refund(record, events[0], 3), 0);
    assert_int_equal(ask(&rate, 0, 1, 0).count, 6);
    assert_int_equal(pawl_gcra_refund(record, events[1], 3), 3);
    assert_int_equal(pawl_gcra_refund(record, events[1], 3), 0);
    assert_int_equal(pawl_gcra_refund(record, events[2], 3), 3);
    assert_int_equal(pawl_gcra_refund(record, 0, 3), 0);
    /* Time for handles is ahead now: the record stays until the clock has caught up. */
    assert_int_equal(ask(&rate, 0, 1, 0).count, 0);
    assert_false(pawl_gcra_is_spent(record, at(5 * SECOND)));
    assert_true(pawl_gcra_is_spent(record, at(9 * SECOND)));
}

static void without_a_name_the_newest_are_given_back(void **state)
{
    struct pawl_rate rate = { 10, 10000, 0 };

    (void)state;
    begin(&rate, 0);
    assert_true(take(&rate, 0, 5, 0, NULL));
    assert_int_equal(pawl_gcra_refund(record, 0, 2), 2);
    assert_int_equal(ask(&rate, 0, 1, 0).count, 3);
    assert_int_equal(pawl_gcra_refund(record, 0, 9), 3);
    assert_int_equal(pawl_gcra_refund(record, UINT64_MAX, 1), 0);
}

/* ---- against brute force ---- */

#define EVENTS 4000

static struct {
    uint64_t ns;
    uint64_t cost;
    uint64_t name;
} events[EVENTS];
static size_t events_count;

/*
 * In every stretch from one admitted event to the last one: burst + count * t / window. In real
 * ns, nothing rounded; refunded events are not there.
 */
static void require_never_over(const struct pawl_rate *rate, uint64_t burst)
{
    uint64_t capacity = pawl_gcra_capacity(rate, burst);
    wide sum = 0;

    for (size_t i = events_count; i-- > 0;) {
        wide flowed = (wide)rate->count * (events[events_count - 1].ns - events[i].ns);

        sum += events[i].cost;
        assert_true(sum * ((wide)rate->window_ms * MS) <=
                    (wide)capacity * ((wide)rate->window_ms * MS) + flowed);
    }
}

static uint64_t random_state = 3;

static uint64_t random_below(uint64_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (random_state >> 24) % bound;
}

static void run_trace(const struct pawl_rate *rate, uint64_t burst, bool refunds)
{
    uint64_t now = random_below(YEAR);
    uint64_t latest = now;
    uint64_t interval_ns = (uint64_t)rate->window_ms * MS / rate->count + 1;
    uint64_t capacity = pawl_gcra_capacity(rate, burst);
    wide level = 0; /* in parts, as if there were no refunds: then the decision is exact */

    begin(rate, now);
    events_count = 0;
    for (unsigned i = 0; i < 600 && events_count < EVENTS; i++) {
        uint64_t cost = 1 + random_below(capacity < 5 ? capacity : 5);
        uint64_t name = 0;

        now += random_below(3) != 0 ? random_below(2 * interval_ns) : random_below(3);
        uint64_t shown = random_below(5) == 0 ? now - random_below(now) : now;

        if (shown > latest) {
            wide flowed = (wide)rate->count * (shown - latest);

            level = flowed < level ? level - flowed : 0;
            latest = shown;
        }
        wide parts = (wide)rate->window_ms * MS;
        bool fits = level + cost * parts <= capacity * parts;
        struct pawl_window_answer answer = ask(rate, burst, cost, shown);

        assert_int_equal(answer.count + answer.remaining, capacity);
        if (!refunds) {
            assert_int_equal(answer.allowed, fits);
        }
        if (take(rate, burst, cost, shown, &name)) {
            level += cost * parts;
            events[events_count].ns = latest;
            events[events_count].cost = cost;
            events[events_count].name = name;
            events_count++;
            require_never_over(rate, burst);
        } else {
            struct pawl_window copy[2];
            uint64_t wait = answer.retry_after_ms;

            memcpy(copy, &place, sizeof(place));
            assert_true(wait > 0);
            assert_false(ask(rate, burst, cost, latest + (wait - 1) * MS).allowed && !refunds);
            memcpy(&place, copy, sizeof(place));
            assert_true(ask(rate, burst, cost, latest + wait * MS).allowed);
            memcpy(&place, copy, sizeof(place));
        }
        if (refunds && events_count > 0 && random_below(4) == 0) {
            size_t which = events_count - 1 - random_below(events_count < 8 ? events_count : 8);
            uint64_t given = events[which].cost > 0
                                 ? pawl_gcra_refund(record, events[which].name, events[which].cost)
                                 : 0;

            assert_true(given <= events[which].cost);
            events[which].cost -= given;     /* rounded up where a part has flowed */
            events[which].name = UINT64_MAX; /* once for each charge */
        }
    }
}

static void random_traces_are_decided_exactly(void **state)
{
    static const struct {
        struct pawl_rate rate;
        uint64_t burst;
    } cases[] = {
        { { 60, 60000, 0 }, 0 },   { { 60, 60000, 0 }, 5 },    { { 7, 1000, 0 }, 1 },
        { { 1, 1, 0 }, 3 },        { { 999983, 1000, 0 }, 2 }, { { 3, PAWL_WINDOW_MS_MAX, 0 }, 4 },
        { { 1000003, 7, 0 }, 40 }, { { 1, 86400000, 0 }, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned j = 0; j < 12; j++) {
            run_trace(&cases[i].rate, cases[i].burst, false);
        }
    }
}

/* With refunds: the plain list without what was given back never holds more than is allowed. */
static void random_traces_with_refunds_are_never_over(void **state)
{
    (void)state;
    for (unsigned j = 0; j < 60; j++) {
        struct pawl_rate rate = { 1 + random_below(20), 1 + (uint32_t)random_below(5000), 0 };

        run_trace(&rate, random_below(9), true);
    }
}

static void another_rate_keeps_what_is_in_the_bucket(void **state)
{
    struct pawl_rate minute = { 60, 60000, 0 };
    struct pawl_rate hour = { 60, 3600000, 0 };
    struct pawl_rate more = { 120, 60000, 0 };

    (void)state;
    begin(&minute, 0);
    assert_true(take(&minute, 0, 60, 0, NULL));
    assert_int_equal(ask(&more, 0, 1, 0).count, 60);
    assert_int_equal(ask(&more, 0, 1, 0).remaining, 60);
    assert_int_equal(ask(&hour, 0, 1, 0).count, 60);
    assert_int_equal(ask(&hour, 0, 1, 60 * SECOND).count, 59);
    assert_int_equal(ask(&minute, 0, 1, 60 * SECOND).count, 59);
}

/* ---- saving ---- */

static void saved_records_come_back_too_young_and_never_too_old(void **state)
{
    struct pawl_rate rate = { 60, 60000, 0 };
    uint8_t saved[PAWL_GCRA_SAVED_BYTES];

    (void)state;
    begin(&rate, 0);
    assert_int_equal(pawl_gcra_save(record, at(0), saved), 0);
    assert_true(take(&rate, 0, 40, 0, NULL));
    assert_int_equal(pawl_gcra_save(record, at(10 * SECOND), saved), PAWL_GCRA_SAVED_BYTES);
    assert_true(pawl_gcra_check(saved, sizeof(saved), 60000));
    assert_false(pawl_gcra_check(saved, sizeof(saved) - 1, 60000));
    begin(&rate, 5 * SECOND);
    pawl_gcra_load(record, saved, 4000);
    assert_int_equal(ask(&rate, 0, 1, 5 * SECOND).count, 26);
    pawl_gcra_load(record, saved, UINT64_MAX);
    assert_int_equal(ask(&rate, 0, 1, 5 * SECOND).count, 0);
    memset(saved + 16, 0, 8);
    assert_false(pawl_gcra_check(saved, sizeof(saved), 60000)); /* nothing would ever flow */
    memset(saved + 16, 0xff, 8);
    assert_false(pawl_gcra_check(saved, sizeof(saved), 60000));
    saved[16] = 1;
    memset(saved + 17, 0, 7);
    memset(saved, 0xff, 16);
    assert_false(pawl_gcra_check(saved, sizeof(saved), 60000));
    memset(saved, 0, 16);
    assert_false(pawl_gcra_check(saved, sizeof(saved), 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_admitted_at_once_and_then_one_an_interval),
        cmocka_unit_test(without_a_burst_the_count_may_come_at_once_and_zero_blocks),
        cmocka_unit_test(a_step_back_counts_as_no_time_and_a_year_idle_as_empty),
        cmocka_unit_test(the_biggest_numbers_do_not_wrap),
        cmocka_unit_test(a_refund_of_the_newest_gives_its_interval_back_exactly),
        cmocka_unit_test(what_has_flowed_is_not_given_back_for_others_have_used_it),
        cmocka_unit_test(an_earlier_charge_is_given_back_once_and_later_ones_after_it),
        cmocka_unit_test(without_a_name_the_newest_are_given_back),
        cmocka_unit_test(random_traces_are_decided_exactly),
        cmocka_unit_test(random_traces_with_refunds_are_never_over),
        cmocka_unit_test(another_rate_keeps_what_is_in_the_bucket),
        cmocka_unit_test(saved_records_come_back_too_young_and_never_too_old),
    };

    return cmocka_run_group_tests_name("gcra", tests, NULL, NULL);
}
