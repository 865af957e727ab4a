/* pawl_window_hit() against the calls that it stands for, on two records of the same history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/window.h"

#define MS    1000000ULL
#define BYTES 512
#define STEPS 40000

struct pair {
    struct pawl_window *quick, *slow;
    struct pawl_rate rate;
    struct pawl_instant now;
    unsigned precision;
    uint64_t random;
    unsigned hits, misses;
};

static uint64_t draw(struct pair *pair, uint64_t below)
{
    pair->random ^= pair->random << 13;
    pair->random ^= pair->random >> 7;
    pair->random ^= pair->random << 17;
    return pair->random % below;
}

static void pair_begin(struct pair *pair, uint64_t seed)
{
    static const uint64_t counts[] = { 3, 50, 400, 100000, PAWL_COUNT_MAX };
    static const uint32_t windows[] = { 7, 1000, 60000, PAWL_WINDOW_MS_MAX };
    static const unsigned precisions[] = { 2, 5, 16, 64 };

    memset(pair, 0, sizeof(*pair));
    pair->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    pair->rate.count = counts[draw(pair, 5)];
    pair->rate.window_ms = windows[draw(pair, 4)];
    pair->precision = precisions[draw(pair, 4)];
    pair->now.ns = draw(pair, 1000) * MS;
    pair->quick = calloc(1, BYTES);
    pair->slow = calloc(1, BYTES);
    assert_non_null(pair->quick);
    assert_non_null(pair->slow);
    /* Records of all sizes: too small for their precision, and big enough. */
    size_t bytes = PAWL_WINDOW_BYTES_MIN + 8 * draw(pair, (BYTES - PAWL_WINDOW_BYTES_MIN) / 8);

    pawl_window_init(pair->quick, bytes, (struct pawl_id){ 7, 9 }, pair->rate.window_ms, pair->now);
    memcpy(pair->slow, pair->quick, BYTES);
}

static void pair_end(struct pair *pair)
{
    free(pair->quick);
    free(pair->slow);
}

/* Time stands still, goes on a little, by cells and by windows, and back. */
static void pass_time(struct pair *pair)
{
    uint64_t window_ns = pair->rate.window_ms * MS;

    switch (draw(pair, 8)) {
    case 0:
        pair->now.ns += draw(pair, MS);
        break;
    case 1:
        pair->now.ns += draw(pair, 3) * MS;
        break;
    case 2:
        pair->now.ns += draw(pair, 2 * window_ns / pair->precision + 1);
        break;
    case 3:
        pair->now.ns += draw(pair, 40) == 0 ? window_ns + draw(pair, window_ns) : 0;
        break;
    case 4:
        pair->now.ns -= draw(pair, 40) == 0 ? draw(pair, pair->now.ns + 1) : 0;
        break;
    default:
        break;
    }
}

static uint64_t draw_cost(struct pair *pair)
{
    static const uint64_t costs[] = { 1, 1, 1, 2, 254, 255, 300, 70000, PAWL_COUNT_MAX };

    return costs[draw(pair, draw(pair, 4) == 0 ? 9 : 4)];
}

/* Advance, ask and charge, one after the other. Returns whether it is allowed. */
static bool check_slowly(const struct pair *pair, struct pawl_window *window, uint64_t cost,
                         uint64_t *event_ms, struct pawl_window_answer *answer)
{
    pawl_window_advance(window, pair->rate.window_ms, pair->now);
    if (!pawl_window_ask(window, &pair->rate, cost, answer)) {
        return false;
    }
    *event_ms = pawl_window_charge(window, pair->precision, cost);
    (void)pawl_window_ask(window, &pair->rate, 0, answer);
    return true;
}

static void assert_same_answer(const struct pawl_window_answer *a,
                               const struct pawl_window_answer *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->remaining, b->remaining);
    assert_int_equal(a->oldest_age_ms, b->oldest_age_ms);
    assert_int_equal(a->reset_after_ms, b->reset_after_ms);
    assert_int_equal(a->retry_after_ms, b->retry_after_ms);
    assert_int_equal(a->allowed, b->allowed);
    assert_int_equal(a->never, b->never);
}

static void check_both(struct pair *pair)
{
    struct pawl_window_answer quick = { .never = true }, slow = { .never = true };
    uint64_t quick_ms = 0, slow_ms = 0;
    uint64_t cost = draw_cost(pair);
    bool allowed = check_slowly(pair, pair->slow, cost, &slow_ms, &slow);
    bool hit = pawl_window_hit(pair->quick, &pair->rate, pair->precision, cost, pair->now,
                               &quick_ms, &quick);

    pair->hits += hit;
    pair->misses += !hit;
    if (!hit) {
        assert_int_equal(check_slowly(pair, pair->quick, cost, &quick_ms, &quick), allowed);
    }
    assert_true(allowed || !hit);
    assert_int_equal(quick_ms, slow_ms);
    assert_same_answer(&quick, &slow);
    assert_memory_equal(pair->quick, pair->slow, BYTES);
}

static void a_hit_is_advance_ask_and_charge(void **state)
{
    unsigned hits = 0, misses = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct pair pair;

        pair_begin(&pair, seed);
        for (unsigned step = 0; step < STEPS / 200; step++) {
            pass_time(&pair);
            check_both(&pair);
        }
        hits += pair.hits;
        misses += pair.misses;
        pair_end(&pair);
    }
    assert_true(hits > STEPS / 4);
    assert_true(misses > STEPS / 20);
}

static void a_rate_of_another_window_is_no_hit_and_changes_nothing(void **state)
{
    struct pawl_window_answer answer;
    struct pawl_rate longer = { 5, 2000, 0 };
    uint64_t event_ms = 0;
    uint8_t before[BYTES];
    struct pair pair;

    (void)state;
    pair_begin(&pair, 1);
    pawl_window_init(pair.quick, BYTES, (struct pawl_id){ 7, 9 }, 1000, pair.now);
    (void)pawl_window_charge(pair.quick, 16, 1);
    memcpy(before, pair.quick, BYTES);
    assert_false(pawl_window_hit(pair.quick, &longer, 16, 1, pair.now, &event_ms, &answer));
    assert_memory_equal(pair.quick, before, BYTES);
    pair_end(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_is_advance_ask_and_charge),
        cmocka_unit_test(a_rate_of_another_window_is_no_hit_and_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
