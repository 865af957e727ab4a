/* The window against the brute-force oracle, and at its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/window.h"
#include "support/oracle.h"

#define MS 1000000ULL

static struct pawl_instant at_ns(uint64_t ns)
{
    struct pawl_instant instant = { ns };

    return instant;
}

static struct pawl_instant at_ms(uint64_t ms)
{
    return at_ns(ms * MS);
}

static const struct pawl_id some_id = { 7, 9 };

/* ---- a record that grows as the table would let it, beside the oracle ---- */

struct driver {
    struct pawl_window *window;
    struct oracle oracle;
    struct pawl_rate rate;
    unsigned precision;
    bool grows;
    bool samples;         /* looks at some calls only: too many events to sum for each */
    uint64_t overfull_ms; /* the oracle's last ms with more than `precision` distinct ms */
    bool was_overfull;
    uint64_t random;
    uint64_t seed;
    unsigned step;
    uint64_t allowed, denied, exact;
};

static uint64_t next_random(struct driver *driver)
{
    driver->random ^= driver->random << 13;
    driver->random ^= driver->random >> 7;
    driver->random ^= driver->random << 17;
    return driver->random;
}

#define HOLDS(driver, condition)                                                                  \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fail_msg("seed %llu step %u: %s", (unsigned long long)(driver)->seed, (driver)->step, \
                     #condition);                                                                 \
        }                                                                                         \
    } while (0)

static void driver_begin(struct driver *driver, uint64_t seed, uint64_t limit, uint32_t window_ms,
                         unsigned precision)
{
    memset(driver, 0, sizeof(*driver));
    driver->window = calloc(1, PAWL_WINDOW_BYTES_MIN);
    assert_non_null(driver->window);
    pawl_window_init(driver->window, PAWL_WINDOW_BYTES_MIN, some_id, window_ms, at_ns(0));
    oracle_init(&driver->oracle);
    driver->rate.count = limit;
    driver->rate.window_ms = window_ms;
    driver->precision = precision;
    driver->grows = true;
    driver->seed = seed;
    driver->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static void driver_end(struct driver *driver)
{
    free(driver->window);
    oracle_free(&driver->oracle);
}

static uint64_t driver_charge(struct driver *driver, uint64_t cost)
{
    bool wide = false;
    size_t bytes = pawl_window_wants(driver->window, driver->precision, cost, &wide);

    if (bytes != 0 && driver->grows) {
        struct pawl_window *to = malloc(bytes);

        assert_non_null(to);
        pawl_window_move(to, bytes, driver->window, wide);
        free(driver->window);
        driver->window = to;
        HOLDS(driver, pawl_window_wants(to, driver->precision, cost, &wide) == 0);
    }
    return pawl_window_charge(driver->window, driver->precision, cost);
}

static bool driver_is_exact(const struct driver *driver)
{
    return driver->grows && !driver->samples &&
           (!driver->was_overfull ||
            driver->oracle.seen_ns / MS >= driver->overfull_ms + driver->rate.window_ms);
}

static void compare_exactly(struct driver *driver, uint64_t cost,
                            const struct pawl_window_answer *answer)
{
    uint64_t limit = driver->rate.count;
    uint32_t window_ms = driver->rate.window_ms;
    struct oracle_view view = oracle_look(&driver->oracle, window_ms);

    HOLDS(driver, answer->count == view.total);
    HOLDS(driver, answer->remaining == (view.total < limit ? limit - view.total : 0));
    HOLDS(driver, answer->oldest_age_ms == view.oldest_age_ms);
    HOLDS(driver, answer->reset_after_ms == view.reset_after_ms);
    uint64_t retry_ms = oracle_retry(&driver->oracle, window_ms, limit, cost);

    HOLDS(driver, answer->allowed == (retry_ms == 0));
    HOLDS(driver, answer->never == (retry_ms == UINT64_MAX));
    HOLDS(driver, answer->never || answer->retry_after_ms == retry_ms);
    driver->exact++;
}

/* A lone caller who waits as told is let in, and not a ms later than needed by this record. */
static void check_retry(struct driver *driver, uint64_t cost,
                        const struct pawl_window_answer *answer)
{
    size_t bytes = (size_t)driver->window->units * 8;
    struct pawl_window *copy = malloc(bytes);
    struct pawl_window_answer later;
    uint64_t ns = driver->oracle.seen_ns + answer->retry_after_ms * MS;

    assert_non_null(copy);
    memcpy(copy, driver->window, bytes);
    pawl_window_advance(copy, driver->rate.window_ms, at_ns(ns - MS));
    HOLDS(driver, !pawl_window_ask(copy, &driver->rate, cost, &later));
    pawl_window_advance(copy, driver->rate.window_ms, at_ns(ns));
    HOLDS(driver, pawl_window_ask(copy, &driver->rate, cost, &later));
    free(copy);
}

static void check_bounds(struct driver *driver, uint64_t cost, bool allowed)
{
    const struct pawl_rate *rate = &driver->rate;
    unsigned capacity = (driver->window->units * 8U - PAWL_WINDOW_HEAD_BYTES) /
                        ((driver->window->flags & PAWL_RECORD_WIDE) != 0 ? 9U : 5U);
    unsigned precision = driver->precision;

    if (!driver->grows && capacity < precision) {
        precision = capacity;
    }
    uint64_t late_ms = precision > 1 ? rate->window_ms / (precision - 1) : 0;

    if (allowed) {
        HOLDS(driver, oracle_real_total(&driver->oracle, rate->window_ms) <= rate->count);
    } else if (cost <= rate->count && precision > 1) { /* a single entry only empties whole */
        HOLDS(driver,
              oracle_late_total(&driver->oracle, rate->window_ms, late_ms) + cost > rate->count);
    }
    HOLDS(driver, driver->window->length <= driver->precision);
}

/* One call at @now_ns; compares if @look. Returns the event's time, 0 if it was denied. */
static uint64_t driver_call(struct driver *driver, uint64_t now_ns, uint64_t cost, bool look)
{
    struct pawl_window_answer answer;
    uint64_t event_ms = 0;
    uint32_t window_ms = driver->rate.window_ms;

    driver->step++;
    (void)oracle_see(&driver->oracle, now_ns);
    oracle_forget(&driver->oracle, (uint64_t)window_ms * 3);
    pawl_window_advance(driver->window, window_ms, at_ns(now_ns));
    bool allowed = pawl_window_ask(driver->window, &driver->rate, cost, &answer);

    HOLDS(driver, allowed == pawl_window_fits(driver->window, &driver->rate, cost));
    if (look && driver_is_exact(driver)) {
        compare_exactly(driver, cost, &answer);
    }
    if (look && !allowed && !answer.never) {
        check_retry(driver, cost, &answer);
    }
    if (look && !allowed) {
        check_bounds(driver, cost, false);
    }
    if (allowed) {
        event_ms = driver_charge(driver, cost);
        oracle_admit(&driver->oracle, cost);
        if (look) {
            check_bounds(driver, cost, true);
        }
    }
    if (!driver->samples &&
        oracle_look(&driver->oracle, window_ms).distinct_ms > driver->precision) {
        driver->was_overfull = true;
        driver->overfull_ms = driver->oracle.seen_ns / MS + 1;
    }
    driver->allowed += allowed ? 1 : 0;
    driver->denied += allowed ? 0 : 1;
    return event_ms;
}

/* The next time of a stream: dense, equal, idle, and sometimes a step back. */
static uint64_t next_ns(struct driver *driver, uint64_t now_ns)
{
    uint64_t window_ns = (uint64_t)driver->rate.window_ms * MS;
    uint64_t dense_ns = window_ns / ((uint64_t)driver->precision * 12);
    uint64_t dice = next_random(driver) % 1000;

    if (dice < 100) {
        return now_ns; /* the same instant */
    }
    if (dice < 120) {
        uint64_t back_ns = next_random(driver) % (window_ns / 4 + 1);

        return now_ns > back_ns ? now_ns - back_ns : 0;
    }
    uint64_t rare = next_random(driver) % ((uint64_t)driver->precision * 40);

    if (rare == 0) {
        return now_ns + window_ns + next_random(driver) % (window_ns * 2);
    }
    if (rare < 3) {
        return now_ns + next_random(driver) % (window_ns / 2 + 1);
    }
    return now_ns + next_random(driver) % (dense_ns * 2 + 2);
}

static uint64_t next_cost(struct driver *driver, uint64_t cost_max)
{
    uint64_t dice = next_random(driver);

    return dice % 8 == 0 ? 1 + next_random(driver) % cost_max : 1 + dice % (cost_max / 64 + 1);
}

/* A generator that meets no denial or no exact moment would judge nothing: asserted by callers. */
static uint64_t denied_by_play;
static uint64_t exact_by_play;

static void play(uint64_t seed, uint64_t limit, uint32_t window_ms, unsigned precision,
                 uint64_t cost_max, unsigned steps, unsigned stride, bool grows)
{
    struct driver driver;
    uint64_t now_ns = 5 * MS + seed * 999;

    driver_begin(&driver, seed, limit, window_ms, precision);
    driver.grows = grows;
    driver.samples = stride > 1;
    for (unsigned i = 0; i < steps; i++) {
        now_ns = next_ns(&driver, now_ns);
        if (next_random(&driver) % 2000 == 0) {
            driver.rate.count = limit / 2 + next_random(&driver) % limit; /* keeps the counts */
        }
        (void)driver_call(&driver, now_ns, next_cost(&driver, cost_max), i % stride == 0);
    }
    HOLDS(&driver, driver.allowed > 0);
    denied_by_play += driver.denied;
    exact_by_play += driver.exact;
    driver_end(&driver);
}

static void random_streams_are_never_over_and_late_by_a_cell_at_most(void **state)
{
    (void)state;
    denied_by_play = 0;
    exact_by_play = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        play(seed, 800, 60000, 64, 1, 6000, 1, true); /* 12 and more events a cell */
        play(seed, 400, 60000, 64, 1, 3000, 1, true);
        play(seed, 300, 1000, 16, 5, 3000, 1, true);
        play(seed, 20, 1000, 64, 2, 3000, 1, true);
        play(seed, 90, 7, 64, 3, 2000, 1, true);
        play(seed, UINT64_C(1) << 34, 61001, 33, UINT64_C(1) << 31, 3000, 1, true);
        play(seed, 50, 1000, 2, 4, 2000, 1, true);
        play(seed, 3, PAWL_WINDOW_MS_MAX, 64, 1, 1000, 1, true);
        play(seed, PAWL_COUNT_MAX, PAWL_WINDOW_MS_MAX, 10, PAWL_COUNT_MAX, 1000, 1, true);
        play(seed, 1, 1, 2, 1, 500, 1, true);
    }
    assert_true(denied_by_play > 10000);
    assert_true(exact_by_play > 10000);
}

static void the_finest_precision_holds_too_even_with_more_cells_than_ms(void **state)
{
    (void)state;
    denied_by_play = 0;
    play(1, 300, 1000, 4096, 8, 3000, 1, true);
    play(2, 30000, 60000, 4096, 1, 150000, 401, true);
    play(3, 30000, 1000, 4096, 1, 60000, 401, true);
    assert_true(denied_by_play > 1000);
}

static void a_record_that_may_not_grow_is_never_over_and_only_later(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        play(seed, 300, 60000, 64, 1, 2000, 1, false);
        play(seed, 100000, 1000, 64, 900, 2000, 1, false);
        play(seed, 30, 1000, 64, 2, 2000, 1, false);
    }
}

static void sparse_streams_are_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct driver driver;
        uint64_t now_ns = 1;

        driver_begin(&driver, seed, 30, 1000, seed % 2 == 0 ? 64 : 4096);
        for (unsigned i = 0; i < 500; i++) {
            now_ns += next_random(&driver) % (60 * MS);
            (void)driver_call(&driver, now_ns, 1, true);
        }
        HOLDS(&driver, driver.exact == 500);
        HOLDS(&driver, driver.denied == 0 || driver.allowed > 0);
        driver_end(&driver);
    }
}

static void a_full_record_is_exact_again_one_window_after(void **state)
{
    struct driver driver;

    (void)state;
    driver_begin(&driver, 1, 1000, 1000, 16);
    for (uint64_t ms = 0; ms < 1000; ms += 2) {
        (void)driver_call(&driver, ms * MS, 1, true);
    }
    assert_true(driver.was_overfull);
    uint64_t before = driver.exact;

    for (uint64_t ms = 1000; ms < 6000; ms += 90) {
        (void)driver_call(&driver, ms * MS, 1, true);
    }
    assert_true(driver.exact > before + 30);
    driver_end(&driver);
}

static void changing_window_and_precision_keeps_what_is_there_and_is_never_over(void **state)
{
    static const uint32_t windows[] = { 1000, 250, 4000, 60000, 999 };
    static const unsigned precisions[] = { 64, 2, 16, 300, 4 };

    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct driver driver;
        uint64_t now_ns = 0;

        driver_begin(&driver, seed, 200, 1000, 64);
        for (unsigned i = 0; i < 6000; i++) {
            struct pawl_window_answer answer;

            if (next_random(&driver) % 150 == 0) {
                driver.rate.window_ms = windows[next_random(&driver) % 5];
                driver.precision = precisions[next_random(&driver) % 5];
                driver.rate.count = 50 + next_random(&driver) % 400;
            }
            now_ns += next_random(&driver) % (4 * MS);
            driver.step++;
            (void)oracle_see(&driver.oracle, now_ns);
            oracle_forget(&driver.oracle, driver.rate.window_ms);
            pawl_window_advance(driver.window, driver.rate.window_ms, at_ns(now_ns));
            uint64_t cost = 1 + next_random(&driver) % 9;
            bool allowed = pawl_window_ask(driver.window, &driver.rate, cost, &answer);

            HOLDS(&driver, answer.count >= oracle_look(&driver.oracle, UINT32_MAX).total);
            if (allowed) {
                (void)driver_charge(&driver, cost);
                oracle_admit(&driver.oracle, cost);
                HOLDS(&driver, oracle_real_total(&driver.oracle, driver.rate.window_ms) <=
                                   driver.rate.count);
            }
        }
        now_ns += 60000 * MS + MS;
        pawl_window_advance(driver.window, driver.rate.window_ms, at_ns(now_ns));
        HOLDS(&driver, driver.window->length == 0 && driver.window->total == 0);
        driver_end(&driver);
    }
}

static void a_refund_by_charge_lowers_that_event_in_the_exact_log(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct driver driver;
        uint64_t now_ns = 0;

        driver_begin(&driver, seed, 60, 1000, 64);
        for (unsigned i = 0; i < 400; i++) {
            now_ns += next_random(&driver) % (40 * MS) + 2 * MS;
            uint64_t event_ms = driver_call(&driver, now_ns, 1 + next_random(&driver) % 5, true);

            if (event_ms != 0 && next_random(&driver) % 3 == 0) {
                uint64_t cost = 1 + next_random(&driver) % 4;
                uint64_t want = oracle_refund(&driver.oracle, now_ns, cost);

                HOLDS(&driver, pawl_window_refund(driver.window, 1000, event_ms, cost) == want);
            }
        }
        HOLDS(&driver, driver.exact == 400);
        driver_end(&driver);
    }
}

/* ---- edges ---- */

struct small {
    union {
        struct pawl_window window;
        uint64_t bytes[64 / 8];
    };
};

static void small_begin(struct small *small)
{
    pawl_window_init(&small->window, sizeof(small->bytes), some_id, 1000, at_ns(0));
}

static bool small_take(struct small *small, const struct pawl_rate *rate, uint64_t cost,
                       uint64_t ns, struct pawl_window_answer *answer)
{
    pawl_window_advance(&small->window, rate->window_ms, at_ns(ns));
    if (!pawl_window_ask(&small->window, rate, cost, answer)) {
        return false;
    }
    (void)pawl_window_charge(&small->window, 64, cost);
    return true;
}

static void an_event_exactly_one_window_old_has_left(void **state)
{
    struct pawl_rate rate = { 1, 1000 };
    struct pawl_window_answer answer;
    struct small small;

    (void)state;
    small_begin(&small);
    assert_true(small_take(&small, &rate, 1, 5 * MS, &answer));
    assert_false(small_take(&small, &rate, 1, 1005 * MS - 1, &answer));
    assert_int_equal(answer.retry_after_ms, 1);
    assert_true(small_take(&small, &rate, 1, 1005 * MS, &answer));
}

static void times_between_two_ms_round_late_and_never_early(void **state)
{
    struct pawl_rate rate = { 1, 1000 };
    struct pawl_window_answer answer;
    struct small small;

    (void)state;
    small_begin(&small);
    assert_true(small_take(&small, &rate, 1, 5 * MS + 1, &answer));
    assert_false(small_take(&small, &rate, 1, 1005 * MS + 2, &answer));
    assert_false(small_take(&small, &rate, 1, 1006 * MS - 1, &answer));
    assert_int_equal(answer.retry_after_ms, 1);
    assert_true(small_take(&small, &rate, 1, 1006 * MS, &answer));
}

static void a_step_back_counts_as_no_time_passed(void **state)
{
    struct pawl_rate rate = { 2, 1000 };
    struct pawl_window_answer answer;
    struct small small;

    (void)state;
    small_begin(&small);
    assert_true(small_take(&small, &rate, 1, 5000 * MS, &answer));
    assert_true(small_take(&small, &rate, 1, 0, &answer));
    assert_false(small_take(&small, &rate, 1, 5999 * MS, &answer));
    assert_int_equal(answer.count, 2);
    assert_true(small_take(&small, &rate, 1, 6000 * MS, &answer));
    assert_int_equal(answer.count, 0);
}

static void a_year_idle_leaves_an_empty_window(void **state)
{
    struct pawl_rate rate = { 5, PAWL_WINDOW_MS_MAX };
    struct pawl_window_answer answer;
    struct small small;
    uint64_t year_ns = 365ULL * 86400 * 1000 * MS;

    (void)state;
    small_begin(&small);
    assert_true(small_take(&small, &rate, 5, 1, &answer));
    assert_false(pawl_window_is_spent(&small.window, at_ms(PAWL_WINDOW_MS_MAX)));
    assert_true(pawl_window_is_spent(&small.window, at_ms(PAWL_WINDOW_MS_MAX + 1ULL)));
    assert_true(small_take(&small, &rate, 5, year_ns, &answer));
    assert_int_equal(answer.count, 0);
    assert_true(small_take(&small, &rate, 5, 20 * year_ns, &answer));
}

static void the_end_of_time_does_not_wrap(void **state)
{
    struct pawl_rate rate = { PAWL_COUNT_MAX, PAWL_WINDOW_MS_MAX };
    struct pawl_window_answer answer;
    struct small small;

    (void)state;
    small_begin(&small);
    assert_true(small_take(&small, &rate, PAWL_COUNT_MAX, UINT64_MAX - 1, &answer));
    assert_false(small_take(&small, &rate, 1, UINT64_MAX, &answer));
    assert_int_equal(answer.count, PAWL_COUNT_MAX);
    assert_int_equal(answer.remaining, 0);
}

static void sums_saturate_and_still_deny(void **state)
{
    struct pawl_rate rate = { PAWL_COUNT_MAX, 1000 };
    struct pawl_window_answer answer;
    struct small small;

    (void)state;
    small_begin(&small);
    for (unsigned i = 0; i < 100; i++) { /* as count_denied does: charged without asking */
        pawl_window_advance(&small.window, 1000, at_ms(i));
        (void)pawl_window_charge(&small.window, 64, PAWL_COUNT_MAX);
    }
    assert_false(pawl_window_ask(&small.window, &rate, 1, &answer));
    assert_true(answer.count >= PAWL_COUNT_MAX);
    assert_int_equal(answer.remaining, 0);
    pawl_window_advance(&small.window, 1000, at_ms(1099));
    assert_true(pawl_window_ask(&small.window, &rate, 1, &answer));
}

static void a_cost_above_the_limit_never_fits_and_a_limit_of_zero_denies_all(void **state)
{
    struct pawl_rate three = { 3, 1000 };
    struct pawl_rate none = { 0, 1000 };
    struct pawl_window_answer answer;
    struct small small;

    (void)state;
    small_begin(&small);
    assert_false(small_take(&small, &three, 4, 0, &answer));
    assert_true(answer.never);
    assert_int_equal(answer.retry_after_ms, 0);
    assert_false(small_take(&small, &none, 1, 0, &answer));
    assert_true(answer.never);
    assert_true(small_take(&small, &three, 3, 0, &answer));
    assert_false(pawl_window_ask_empty(&none, 1, &answer));
    assert_true(pawl_window_ask_empty(&three, 3, &answer));
}

static void a_refund_without_charge_lowers_the_oldest_then_the_next(void **state)
{
    struct small small;

    (void)state;
    small_begin(&small);
    for (unsigned i = 0; i < 3; i++) {
        pawl_window_advance(&small.window, 1000, at_ms(i * 10ULL));
        (void)pawl_window_charge(&small.window, 64, 4);
    }
    assert_int_equal(pawl_window_refund(&small.window, 1000, 0, 6), 6);
    assert_int_equal(small.window.total, 6);
    assert_int_equal(small.window.length, 2);
    assert_int_equal(pawl_window_refund(&small.window, 1000, 0, 100), 6);
    assert_int_equal(small.window.total, 0);
    assert_int_equal(pawl_window_refund(&small.window, 1000, 0, 1), 0);
}

static void a_charge_out_of_the_window_gives_nothing_back(void **state)
{
    struct small small;

    (void)state;
    small_begin(&small);
    pawl_window_advance(&small.window, 1000, at_ms(10));
    uint64_t first = pawl_window_charge(&small.window, 64, 3);

    pawl_window_advance(&small.window, 1000, at_ms(1009));
    (void)pawl_window_charge(&small.window, 64, 3);
    pawl_window_advance(&small.window, 1000, at_ms(1010));
    assert_int_equal(pawl_window_refund(&small.window, 1000, first, 3), 0);
    assert_int_equal(small.window.total, 3);
    assert_int_equal(pawl_window_refund(&small.window, 1000, first + 100000, 3), 0);
}

static void entries_of_cost_one_take_five_bytes_and_big_counts_nine(void **state)
{
    struct driver driver;

    (void)state;
    assert_int_equal(pawl_window_size(64, false), 368);
    assert_int_equal(pawl_window_size(64, true), 624);
    driver_begin(&driver, 1, 100000, 3600000, 64);
    for (unsigned i = 0; i < 64; i++) {
        (void)driver_call(&driver, i * (10 * MS), 1, true);
    }
    assert_int_equal(driver.window->units * 8, 368);
    assert_int_equal(driver.window->length, 64);
    (void)driver_call(&driver, 641 * MS, 255, true);
    assert_true((driver.window->flags & PAWL_RECORD_WIDE) != 0);
    driver_end(&driver);
}

/* ---- serialized ---- */

static void saved_records_come_back_younger_never_older(void **state)
{
    static uint8_t bytes[PAWL_RECORD_BYTES_MAX];

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct driver driver;
        struct pawl_record_head head;
        struct pawl_window_answer was;
        struct pawl_window_answer is;
        uint64_t now_ns = 0;

        driver_begin(&driver, seed, 1000, 1000, seed % 2 == 0 ? 64 : 8);
        for (unsigned i = 0; i < 60; i++) {
            now_ns += next_random(&driver) % (20 * MS);
            (void)driver_call(&driver, now_ns, 1 + next_random(&driver) % (seed % 3 == 0 ? 900 : 9),
                              true);
        }
        size_t size = pawl_window_save(driver.window, at_ns(now_ns), bytes);
        uint64_t elapsed_ms = next_random(&driver) % 1200;
        struct pawl_instant boot = at_ns(next_random(&driver) % (10 * MS)); /* a new clock */
        size_t room = PAWL_RECORD_BYTES_MAX + 64;
        struct pawl_window *loaded = calloc(1, room);

        assert_non_null(loaded);
        assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, size), &head), PAWL_OK);
        pawl_window_load(loaded, room, pawl_bytes_of(bytes, size), &head, elapsed_ms, boot);
        pawl_window_advance(driver.window, 1000, at_ns(now_ns + elapsed_ms * MS));
        pawl_window_advance(loaded, 1000, boot);
        (void)pawl_window_ask(driver.window, &driver.rate, 1, &was);
        (void)pawl_window_ask(loaded, &driver.rate, 1, &is);
        HOLDS(&driver, is.count >= was.count);
        pawl_window_advance(driver.window, 1000, at_ns(now_ns + elapsed_ms * MS));
        pawl_window_advance(loaded, 1000, at_ns(boot.ns + was.reset_after_ms * MS + 2 * MS));
        HOLDS(&driver, loaded->length == 0); /* late by the rounding only */
        free(loaded);
        driver_end(&driver);
    }
}

static void a_damaged_record_is_refused_at_every_length_and_flag(void **state)
{
    static uint8_t bytes[PAWL_RECORD_BYTES_MAX + 1];
    struct pawl_record_head head;
    struct small small;

    (void)state;
    small_begin(&small);
    for (unsigned i = 0; i < 3; i++) {
        pawl_window_advance(&small.window, 1000, at_ms(i * 10ULL));
        (void)pawl_window_charge(&small.window, 64, 2);
    }
    size_t size = pawl_window_save(&small.window, at_ms(30), bytes);

    assert_int_equal(size, PAWL_RECORD_HEAD_BYTES + 15);
    assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, size), &head), PAWL_OK);
    for (size_t cut = 0; cut < sizeof(bytes); cut += cut < size + 9 ? 1 : 997) {
        if (cut != size) {
            assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, cut), &head), PAWL_ECORRUPT);
        }
    }
    bytes[1] = 4; /* an unknown flag */
    assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, size), &head), PAWL_ECORRUPT);
    bytes[1] = 0;
    bytes[0] = PAWL_RECORD_BYTE_SLIDING + 1;
    assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, size), &head), PAWL_EVERSION);
    bytes[0] = 0;
    assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, size), &head), PAWL_ECORRUPT);
    bytes[0] = PAWL_RECORD_BYTE_SLIDING;
    bytes[28] = 0; /* a count of 0 */
    assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, size), &head), PAWL_ECORRUPT);
    bytes[28] = 2;
    bytes[29] = 200; /* older than the entry before it */
    assert_int_equal(pawl_record_check(pawl_bytes_of(bytes, size), &head), PAWL_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_streams_are_never_over_and_late_by_a_cell_at_most),
        cmocka_unit_test(the_finest_precision_holds_too_even_with_more_cells_than_ms),
        cmocka_unit_test(a_record_that_may_not_grow_is_never_over_and_only_later),
        cmocka_unit_test(sparse_streams_are_exact),
        cmocka_unit_test(a_full_record_is_exact_again_one_window_after),
        cmocka_unit_test(changing_window_and_precision_keeps_what_is_there_and_is_never_over),
        cmocka_unit_test(a_refund_by_charge_lowers_that_event_in_the_exact_log),
        cmocka_unit_test(an_event_exactly_one_window_old_has_left),
        cmocka_unit_test(times_between_two_ms_round_late_and_never_early),
        cmocka_unit_test(a_step_back_counts_as_no_time_passed),
        cmocka_unit_test(a_year_idle_leaves_an_empty_window),
        cmocka_unit_test(the_end_of_time_does_not_wrap),
        cmocka_unit_test(sums_saturate_and_still_deny),
        cmocka_unit_test(a_cost_above_the_limit_never_fits_and_a_limit_of_zero_denies_all),
        cmocka_unit_test(a_refund_without_charge_lowers_the_oldest_then_the_next),
        cmocka_unit_test(a_charge_out_of_the_window_gives_nothing_back),
        cmocka_unit_test(entries_of_cost_one_take_five_bytes_and_big_counts_nine),
        cmocka_unit_test(saved_records_come_back_younger_never_older),
        cmocka_unit_test(a_damaged_record_is_refused_at_every_length_and_flag),
    };

    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
