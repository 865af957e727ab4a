/* The limiter table: several limits at once, full memory, saving and loading, threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/limiter.h"
#include "support/oracle.h"

#define MS     1000000ULL
#define SECOND (1000 * MS)
#define SMALL  (4u << 20)

struct table {
    struct pawl_limiter limiter;
    void *region;
};

static void table_begin_with(struct table *table, size_t memory, unsigned shards, bool persist)
{
    struct pawl_limiter_config config = {
        .memory_max = memory, .shards = shards, .salt = { 1, 2 }, .life = 77, .persist = persist
    };
    struct pawl_error error;

    table->region = aligned_alloc(PAWL_ARENA_PAGE, memory);
    assert_non_null(table->region);
    memset(table->region, 0, memory);
    config.region = table->region;
    memset(config.subkey.bytes, 5, sizeof(config.subkey.bytes));
    assert_int_equal(pawl_limiter_init(&table->limiter, &config, &error), PAWL_OK);
}

static void table_begin(struct table *table)
{
    table_begin_with(table, SMALL, 16, true);
}

static void table_end(struct table *table)
{
    pawl_limiter_deinit(&table->limiter);
    free(table->region);
}

static struct pawl_limit limit_of(const struct table *table, const char *name, const char *text)
{
    struct pawl_limit limit;
    struct pawl_error error;

    memset(&limit, 0, sizeof(limit));
    (void)snprintf(limit.name, sizeof(limit.name), "%s", name);
    (void)snprintf(limit.ns, sizeof(limit.ns), "default");
    assert_int_equal(pawl_rate_text_parse(pawl_bytes_of(text, strlen(text)), limit.rates,
                                          &limit.rates_count, NULL),
                     PAWL_OK);
    assert_int_equal(pawl_limit_init(&limit, &table->limiter, &error), PAWL_OK);
    return limit;
}

static struct pawl_bytes bytes_of(const char *text)
{
    return pawl_bytes_of(text, strlen(text));
}

static struct pawl_instant at(uint64_t ns)
{
    struct pawl_instant instant = { ns };

    return instant;
}

/* What the last request answered. */
static struct pawl_limit_result results[PAWL_LIMITER_SLOTS_MAX];

/* One limit for one key of one part. */
static bool ask(struct table *table, const struct pawl_limit *limit, const char *key, uint64_t cost,
                uint64_t now_ns, enum pawl_limiter_op op)
{
    struct pawl_bytes part = bytes_of(key);
    struct pawl_limit_item item = { limit, bytes_of("default"), &part, 1, cost };
    struct pawl_limit_request request = { &item, 1, PAWL_MODE_ATOMIC, op, at(now_ns) };
    struct pawl_limit_outcome outcome;

    assert_int_equal(pawl_limiter_check(&table->limiter, &request, results, PAWL_LIMITER_SLOTS_MAX,
                                        &outcome),
                     PAWL_OK);
    assert_int_equal(outcome.results_count, limit->rates_count);
    return outcome.verdict == PAWL_ALLOW;
}

static bool take(struct table *table, const struct pawl_limit *limit, const char *key,
                 uint64_t now_ns)
{
    return ask(table, limit, key, 1, now_ns, PAWL_OP_CHECK);
}

static uint64_t count_of(struct table *table, const struct pawl_limit *limit, const char *key,
                         uint64_t now_ns)
{
    (void)ask(table, limit, key, 1, now_ns, PAWL_OP_PEEK);
    return results[0].count;
}

/* Two limits for one key each. */
static bool ask_two(struct table *table, const struct pawl_limit *a, const char *key_a,
                    const struct pawl_limit *b, const char *key_b, enum pawl_limiter_mode mode,
                    uint64_t now_ns)
{
    struct pawl_bytes parts[2] = { bytes_of(key_a), bytes_of(key_b) };
    struct pawl_limit_item items[2] = { { a, bytes_of("default"), &parts[0], 1, 1 },
                                        { b, bytes_of("default"), &parts[1], 1, 1 } };
    struct pawl_limit_request request = { items, 2, mode, PAWL_OP_CHECK, at(now_ns) };
    struct pawl_limit_outcome outcome;

    assert_int_equal(pawl_limiter_check(&table->limiter, &request, results, PAWL_LIMITER_SLOTS_MAX,
                                        &outcome),
                     PAWL_OK);
    return outcome.verdict == PAWL_ALLOW;
}

static struct pawl_limiter_metrics metrics_of(struct table *table)
{
    struct pawl_limiter_metrics metrics;

    pawl_limiter_metrics_get(&table->limiter, &metrics);
    return metrics;
}

/* ---- one limit ---- */

static void a_limit_allows_its_count_and_says_when_to_come_back(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, "api", "3/minute");

    for (unsigned i = 0; i < 3; i++) {
        assert_true(take(&table, &limit, "ann", i * SECOND));
        assert_int_equal(results[0].count, i + 1);
        assert_int_equal(results[0].remaining, 2 - i);
        assert_true(results[0].charge != 0);
    }
    assert_false(take(&table, &limit, "ann", 10 * SECOND));
    assert_int_equal(results[0].retry_after_ms, 50000);
    assert_int_equal(results[0].reset_after_ms, 52000);
    assert_int_equal(results[0].oldest_age_ms, 10000);
    assert_int_equal(results[0].limit_count, 3);
    assert_int_equal(results[0].charge, 0);
    assert_true(take(&table, &limit, "bob", 10 * SECOND));
    assert_true(take(&table, &limit, "ann", 60 * SECOND));
    struct pawl_limiter_metrics metrics = metrics_of(&table);

    assert_int_equal(metrics.allowed, 5);
    assert_int_equal(metrics.denied, 1);
    assert_int_equal(metrics.keys, 2);
    table_end(&table);
}

static void a_peek_charges_nothing_and_makes_no_record(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, "api", "1/minute");

    assert_true(ask(&table, &limit, "ann", 1, 0, PAWL_OP_PEEK));
    assert_false(ask(&table, &limit, "ann", 2, 0, PAWL_OP_PEEK));
    assert_true(results[0].never);
    assert_int_equal(metrics_of(&table).keys, 0);
    assert_true(take(&table, &limit, "ann", 0));
    assert_false(ask(&table, &limit, "ann", 1, 0, PAWL_OP_PEEK));
    assert_int_equal(metrics_of(&table).peeks, 3);
    table_end(&table);
}

static void keys_are_parts_and_not_their_concatenation(void **state)
{
    struct table table;
    struct pawl_bytes ab_c[2] = { bytes_of("a_b"), bytes_of("c") };
    struct pawl_bytes a_bc[2] = { bytes_of("a"), bytes_of("b_c") };
    struct pawl_limit_outcome outcome;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, "api", "1/minute");
    struct pawl_limit_item items[4] = { { &limit, bytes_of("default"), ab_c, 2, 1 },
                                        { &limit, bytes_of("default"), a_bc, 2, 1 },
                                        { &limit, bytes_of("default"), ab_c, 1, 1 },
                                        { &limit, bytes_of("other"), ab_c, 2, 1 } };
    struct pawl_limit_request request = { items, 4, PAWL_MODE_ATOMIC, PAWL_OP_CHECK, at(0) };

    assert_int_equal(pawl_limiter_check(&table.limiter, &request, results, 4, &outcome), PAWL_OK);
    assert_int_equal(outcome.verdict, PAWL_ALLOW);
    assert_int_equal(metrics_of(&table).keys, 4);
    table_end(&table);
}

static void inline_rates_have_a_record_for_each_window(void **state)
{
    struct pawl_rate rates[2] = { { 5, 60000 }, { 2, 1000 } };
    struct pawl_limit both;
    struct pawl_limit minute;
    struct table table;

    (void)state;
    table_begin(&table);
    assert_int_equal(pawl_limit_init_inline(&both, &table.limiter, rates, 2, 0, NULL), PAWL_OK);
    assert_int_equal(pawl_limit_init_inline(&minute, &table.limiter, rates, 1, 0, NULL), PAWL_OK);
    assert_true(take(&table, &both, "ann", 0));
    assert_true(take(&table, &both, "ann", 0));
    assert_false(take(&table, &both, "ann", 0));
    assert_true(results[0].allowed);
    assert_false(results[1].allowed);
    assert_int_equal(count_of(&table, &minute, "ann", 0), 2);
    rates[1].window_ms = 60000;
    assert_int_equal(pawl_limit_init_inline(&both, &table.limiter, rates, 2, 0, NULL), PAWL_EINVAL);
    table_end(&table);
}

static void refund_by_charge_and_reset_give_room_again(void **state)
{
    struct pawl_bytes part = bytes_of("ann");
    struct table table;
    uint64_t refunded = 0;
    size_t forgotten = 0;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, "api", "3/minute");
    struct pawl_limit_item item = { &limit, bytes_of("default"), &part, 1, 1 };

    assert_true(take(&table, &limit, "ann", 0));
    assert_true(ask(&table, &limit, "ann", 2, SECOND, PAWL_OP_CHECK));
    uint64_t charge = results[0].charge;
    uint64_t foreign = charge ^ (UINT64_C(1) << 50);
    uint64_t zero = 0;

    assert_int_equal(pawl_limiter_refund(&table.limiter, &item, &foreign, at(SECOND), &refunded),
                     PAWL_OK);
    assert_int_equal(refunded, 0);
    assert_int_equal(pawl_limiter_refund(&table.limiter, &item, &zero, at(SECOND), &refunded),
                     PAWL_OK);
    assert_int_equal(refunded, 0);
    assert_int_equal(pawl_limiter_refund(&table.limiter, &item, &charge, at(SECOND), &refunded),
                     PAWL_OK);
    assert_int_equal(refunded, 1);
    assert_int_equal(count_of(&table, &limit, "ann", SECOND), 2);
    assert_int_equal(results[0].oldest_age_ms, 1000); /* the first is still there */
    item.cost = 9;
    assert_int_equal(pawl_limiter_refund(&table.limiter, &item, NULL, at(SECOND), &refunded),
                     PAWL_OK);
    assert_int_equal(refunded, 2);
    assert_int_equal(count_of(&table, &limit, "ann", SECOND), 0);
    assert_true(ask(&table, &limit, "ann", 3, SECOND, PAWL_OP_CHECK));
    charge = results[0].charge;
    assert_int_equal(pawl_limiter_reset(&table.limiter, &item, at(SECOND), &forgotten), PAWL_OK);
    assert_int_equal(forgotten, 1);
    assert_true(ask(&table, &limit, "ann", 3, SECOND, PAWL_OP_CHECK));
    assert_int_equal(
        pawl_limiter_refund(&table.limiter, &item, &charge, at(61 * SECOND), &refunded), PAWL_OK);
    assert_int_equal(refunded, 0);
    assert_int_equal(metrics_of(&table).refunded, 3);
    table_end(&table);
}

static void what_is_not_valid_is_refused_and_charges_nothing(void **state)
{
    static uint8_t big[PAWL_LIMIT_KEY_BYTES_MAX + 1];
    struct pawl_bytes part = bytes_of("ann");
    struct pawl_bytes parts[PAWL_LIMIT_PARTS_MAX + 1];
    struct pawl_limit_outcome outcome;
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, "api", "3/minute,9/hour");
    struct pawl_limit_item items[40];
    struct pawl_limit_request request = { items, 2, PAWL_MODE_ATOMIC, PAWL_OP_CHECK, at(0) };

    for (size_t i = 0; i < 40; i++) {
        items[i] = (struct pawl_limit_item){ &limit, bytes_of("default"), &part, 1, 1 };
    }
    for (size_t i = 0; i <= PAWL_LIMIT_PARTS_MAX; i++) {
        parts[i] = bytes_of("x");
    }
#define ANSWERS(status)                                                                       \
    do {                                                                                      \
        assert_int_equal(pawl_limiter_check(&table.limiter, &request, results, 64, &outcome), \
                         status);                                                             \
        assert_int_equal(outcome.verdict, PAWL_VERDICT_NONE);                                 \
    } while (0)
    ANSWERS(PAWL_EINVAL); /* the same record twice */
    request.items_count = 0;
    ANSWERS(PAWL_EINVAL);
    request.items_count = 1;
    items[0].cost = 0;
    ANSWERS(PAWL_EINVAL);
    items[0].cost = PAWL_COUNT_MAX + 1;
    ANSWERS(PAWL_EINVAL);
    items[0].cost = 1;
    items[0].parts_count = 0;
    ANSWERS(PAWL_EINVAL);
    items[0].parts = parts;
    items[0].parts_count = PAWL_LIMIT_PARTS_MAX + 1;
    ANSWERS(PAWL_ETOOBIG);
    items[0].parts_count = 1;
    parts[0] = pawl_bytes_of(big, sizeof(big));
    ANSWERS(PAWL_ETOOBIG);
    request.items_count = 40; /* 80 rates */
    for (size_t i = 0; i < 40; i++) {
        static char names[40][8];

        (void)snprintf(names[i], sizeof(names[i]), "k%zu", i);
        parts[0] = part;
        items[i].parts = &part;
        items[i].ns = bytes_of(names[i]);
    }
    ANSWERS(PAWL_ETOOBIG);
    request.items_count = 1;
    assert_int_equal(pawl_limiter_check(&table.limiter, &request, results, 1, &outcome),
                     PAWL_ETOOBIG);
    assert_int_equal(metrics_of(&table).keys, 0);
    request.items_count = 32; /* 64 rates: the most */
    assert_int_equal(pawl_limiter_check(&table.limiter, &request, results, 64, &outcome), PAWL_OK);
    assert_int_equal(outcome.verdict, PAWL_ALLOW);
    table_end(&table);
}

static void limits_and_tables_out_of_bounds_are_refused_with_a_reason(void **state)
{
    struct pawl_limiter_config config = { .memory_max = 1000 };
    struct pawl_limiter limiter;
    struct pawl_error error;
    struct table table;

    (void)state;
    assert_int_equal(pawl_limiter_init(&limiter, &config, &error), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "memory_max"));
    config.memory_max = SMALL;
    config.shards = 3;
    assert_int_equal(pawl_limiter_init(&limiter, &config, &error), PAWL_EINVAL);
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, "api", "3/minute");

    limit.precision = 1;
    assert_int_equal(pawl_limit_init(&limit, NULL, &error), PAWL_EINVAL);
    limit.precision = 4097;
    assert_int_equal(pawl_limit_init(&limit, NULL, &error), PAWL_EINVAL);
    limit.precision = 4096;
    assert_int_equal(pawl_limit_init(&limit, NULL, &error), PAWL_OK);
    limit.rates[0].window_ms = PAWL_WINDOW_MS_MAX + 1;
    assert_int_equal(pawl_limit_init(&limit, NULL, &error), PAWL_EINVAL);
    limit.rates[0].window_ms = 1;
    limit.name[0] = '\0';
    assert_int_equal(pawl_limit_init(&limit, NULL, &error), PAWL_EINVAL);
    table_end(&table);
}

/* ---- several ---- */

static void atomic_charges_all_or_none_and_names_the_one_that_refused(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit user = limit_of(&table, "user", "5/minute");
    struct pawl_limit address = limit_of(&table, "address", "2/minute");

    assert_true(ask_two(&table, &user, "ann", &address, "::1", PAWL_MODE_ATOMIC, 0));
    assert_true(ask_two(&table, &user, "bob", &address, "::1", PAWL_MODE_ATOMIC, 0));
    assert_false(ask_two(&table, &user, "eve", &address, "::1", PAWL_MODE_ATOMIC, 0));
    assert_true(results[0].allowed);
    assert_false(results[1].allowed);
    assert_int_equal(results[0].charge, 0);
    assert_int_equal(count_of(&table, &user, "eve", 0), 0);
    assert_int_equal(count_of(&table, &address, "::1", 0), 2);
    assert_int_equal(metrics_of(&table).keys, 3); /* eve left no record behind */
    table_end(&table);
}

static void each_decides_and_charges_every_limit_for_itself(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit user = limit_of(&table, "user", "1/second,2/minute");
    struct pawl_limit address = limit_of(&table, "address", "9/minute");

    assert_true(ask_two(&table, &user, "ann", &address, "::1", PAWL_MODE_EACH, 0));
    assert_false(ask_two(&table, &user, "ann", &address, "::1", PAWL_MODE_EACH, 0));
    assert_false(results[0].allowed);
    assert_true(results[1].allowed);
    assert_int_equal(results[1].charge, 0); /* the rates of one limit are all or none */
    assert_int_equal(results[1].count, 1);
    assert_int_equal(results[2].count, 2);
    assert_true(results[2].charge != 0);
    table_end(&table);
}

static void count_denied_records_the_attempt_of_the_limit_that_refused(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit strict = limit_of(&table, "strict", "1/minute");
    struct pawl_limit other = limit_of(&table, "other", "9/minute");

    strict.count_denied = true;
    assert_true(take(&table, &strict, "ann", 0));
    assert_false(take(&table, &strict, "ann", 59 * SECOND));
    assert_int_equal(results[0].count, 2);
    assert_int_equal(results[0].charge, 0);
    assert_false(take(&table, &strict, "ann", 60 * SECOND));
    assert_false(ask_two(&table, &strict, "ann", &other, "ann", PAWL_MODE_ATOMIC, 61 * SECOND));
    assert_int_equal(results[0].count, 3);
    assert_int_equal(results[1].count, 0);
    assert_int_equal(results[0].retry_after_ms, 60000);
    assert_false(ask(&table, &strict, "new", 2, 0, PAWL_OP_CHECK));
    assert_int_equal(count_of(&table, &strict, "new", 0), 2);
    table_end(&table);
}

static void a_shadow_limit_is_decided_and_reported_but_never_denies(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit shadow = limit_of(&table, "shadow", "1/minute");
    struct pawl_limit real = limit_of(&table, "real", "3/minute");

    shadow.shadow = true;
    assert_true(take(&table, &shadow, "ann", 0));
    assert_true(take(&table, &shadow, "ann", 0));
    assert_true(results[0].shadow);
    assert_false(results[0].allowed);
    assert_int_equal(results[0].count, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(ask_two(&table, &shadow, "ann", &real, "ann", PAWL_MODE_ATOMIC, 0));
        assert_false(results[0].allowed);
        assert_int_equal(results[1].count, i + 1);
    }
    assert_false(ask_two(&table, &shadow, "bob", &real, "ann", PAWL_MODE_ATOMIC, 0));
    assert_int_equal(count_of(&table, &shadow, "bob", 0), 0);
    assert_int_equal(metrics_of(&table).shadow_denied, 4);
    table_end(&table);
}

static void a_reload_keeps_counts_and_a_renamed_limit_starts_new(void **state)
{
    struct table table;

    (void)state;
    table_begin(&table);
    struct pawl_limit before = limit_of(&table, "api", "5/minute");
    struct pawl_limit up = limit_of(&table, "api", "8/minute");
    struct pawl_limit down = limit_of(&table, "api", "3/minute");
    struct pawl_limit longer = limit_of(&table, "api", "6/hour");
    struct pawl_limit renamed = limit_of(&table, "api2", "5/minute");

    for (unsigned i = 0; i < 5; i++) {
        assert_true(take(&table, &before, "ann", i * SECOND));
    }
    assert_false(take(&table, &before, "ann", 5 * SECOND));
    assert_int_equal(count_of(&table, &up, "ann", 5 * SECOND), 5);
    assert_int_equal(count_of(&table, &down, "ann", 5 * SECOND), 5);
    assert_int_equal(results[0].remaining, 0);
    assert_false(take(&table, &down, "ann", 5 * SECOND));
    assert_int_equal(count_of(&table, &longer, "ann", 5 * SECOND), 5);
    assert_int_equal(count_of(&table, &longer, "ann", 600 * SECOND), 5);
    assert_int_equal(count_of(&table, &renamed, "ann", 5 * SECOND), 0);
    table_end(&table);
}

/* ---- full ---- */

static void flood(struct table *table, const struct pawl_limit *limit, unsigned keys, uint64_t now)
{
    char key[32];

    for (unsigned i = 0; i < keys; i++) {
        (void)snprintf(key, sizeof(key), "flood-%u", i);
        (void)take(table, limit, key, now + i);
    }
}

static void a_flood_of_keys_forgets_nothing_and_admits_nobody_above_the_limit(void **state)
{
    struct table table;

    (void)state;
    table_begin_with(&table, 2u << 20, 16, true);
    struct pawl_limit limit = limit_of(&table, "api", "3/hour");

    assert_true(take(&table, &limit, "two", 0));
    assert_true(take(&table, &limit, "two", 0));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(take(&table, &limit, "denied", 0), i < 3);
    }
    flood(&table, &limit, 60000, 0);
    struct pawl_limiter_metrics metrics = metrics_of(&table);

    assert_true(metrics.overflowed > 10000);
    assert_true(metrics.cells > 100 && metrics.cells <= PAWL_LIMITER_CELLS);
    assert_true(metrics.memory_records + metrics.memory_index + metrics.memory_own <=
                metrics.memory_max);
    assert_int_equal(count_of(&table, &limit, "two", SECOND), 2);
    assert_true(take(&table, &limit, "two", SECOND));
    assert_false(take(&table, &limit, "two", SECOND));
    assert_false(take(&table, &limit, "denied", SECOND));
    unsigned allowed = 0;

    for (unsigned i = 0; i < 10; i++) {
        allowed += take(&table, &limit, "never seen", SECOND) ? 1 : 0;
        assert_true(results[0].overflow || results[0].full);
    }
    assert_true(allowed <= 3);
    table_end(&table);
}

static void a_key_leaves_its_cell_only_when_that_is_empty(void **state)
{
    struct table table;

    (void)state;
    table_begin_with(&table, 2u << 20, 16, false);
    struct pawl_limit shorter = limit_of(&table, "short", "100000/second");
    struct pawl_limit limit = limit_of(&table, "api", "3/hour");

    flood(&table, &shorter, 40000, 0);
    assert_true(take(&table, &limit, "ann", 0));
    assert_true(results[0].overflow);
    for (unsigned shard = 0; shard < 16; shard++) { /* the flood is over: room again */
        (void)pawl_limiter_sweep(&table.limiter, shard, 20000, at(10 * SECOND));
    }
    assert_true(metrics_of(&table).expired > 1000);
    assert_true(take(&table, &limit, "ann", 10 * SECOND));
    assert_true(results[0].overflow);
    assert_int_equal(results[0].count, 2);
    assert_true(take(&table, &limit, "ann", 11 * SECOND));
    assert_false(take(&table, &limit, "ann", 12 * SECOND));
    assert_true(take(&table, &limit, "ann", 3612 * SECOND));
    assert_false(results[0].overflow);
    assert_int_equal(results[0].count, 1);
    table_end(&table);
}

static void inline_rates_share_cells_and_each_counts_its_own_window(void **state)
{
    struct pawl_rate second = { 5, 1000 };
    struct pawl_rate hour = { 5, 3600000 };
    struct pawl_limit fast;
    struct pawl_limit slow;
    struct table table;

    (void)state;
    table_begin_with(&table, 2u << 20, 16, false);
    struct pawl_limit filler = limit_of(&table, "filler", "1/day");

    assert_int_equal(pawl_limit_init_inline(&fast, &table.limiter, &second, 1, 4096, NULL),
                     PAWL_OK);
    assert_int_equal(pawl_limit_init_inline(&slow, &table.limiter, &hour, 1, 4096, NULL), PAWL_OK);
    flood(&table, &filler, 40000, 0);
    unsigned allowed_slow = 0;

    for (unsigned i = 0; i < 20; i++) { /* 2 calls a second: room for the fast rate alone */
        uint64_t now = 100 * SECOND + i * SECOND / 2;

        allowed_slow += take(&table, &slow, "ann", now) ? 1 : 0;
        assert_true(results[0].overflow);
        if (i >= 10) {
            assert_true(take(&table, &fast, "ann", now)); /* slow is at its limit by then */
            assert_true(results[0].count <= 5);
        }
    }
    assert_int_equal(allowed_slow, 5);
    table_end(&table);
}

static void when_full_open_and_closed_do_as_they_say(void **state)
{
    struct table table;

    (void)state;
    table_begin_with(&table, 2u << 20, 16, false);
    struct pawl_limit filler = limit_of(&table, "filler", "1/day");
    struct pawl_limit open = limit_of(&table, "open", "3/hour");
    struct pawl_limit closed = limit_of(&table, "closed", "3/hour");

    open.when_full = PAWL_WHEN_FULL_OPEN;
    closed.when_full = PAWL_WHEN_FULL_CLOSED;
    assert_true(take(&table, &closed, "known", 0));
    flood(&table, &filler, 40000, 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(take(&table, &open, "new", 0));
        assert_true(results[0].full);
        assert_int_equal(results[0].charge, 0);
        assert_false(take(&table, &closed, "new", 0));
        assert_true(results[0].full);
        assert_int_equal(results[0].retry_after_ms, PAWL_LIMITER_FULL_RETRY_MS);
    }
    assert_false(ask(&table, &open, "new", 4, 0, PAWL_OP_CHECK)); /* never fits, full or not */
    assert_true(take(&table, &closed, "known", 0));
    assert_false(ask_two(&table, &closed, "new", &closed, "known", PAWL_MODE_ATOMIC, 0));
    assert_int_equal(count_of(&table, &closed, "known", 0), 2);
    table_end(&table);
}

static void two_keys_of_one_request_in_the_same_cell_are_counted_together(void **state)
{
    struct table table;
    char a[16];
    char b[16];

    (void)state;
    table_begin_with(&table, 2u << 20, 16, false);
    struct pawl_limit filler = limit_of(&table, "filler", "1/day");
    struct pawl_limit limit = limit_of(&table, "api", "3/hour");
    unsigned refused = 0;

    flood(&table, &filler, 40000, 0);
    for (unsigned i = 0; i < 9000; i++) { /* every cell gets some; a pair shares one now and then */
        (void)snprintf(a, sizeof(a), "a%u", i);
        (void)snprintf(b, sizeof(b), "b%u", i);
        bool allowed = ask_two(&table, &limit, a, &limit, b, PAWL_MODE_ATOMIC, 0);

        assert_int_equal(allowed, results[0].allowed && results[1].allowed);
        assert_true(results[0].count <= 3 && results[1].count <= 3);
        refused += allowed ? 0 : 1;
    }
    assert_true(refused > 100);
    table_end(&table);
}

static void every_watched_key_keeps_its_limit_through_floods_and_full_memory(void **state)
{
    enum {
        WATCHED = 40
    };
    struct oracle oracles[WATCHED];
    struct table table;
    uint64_t random = 99;
    uint64_t now = 0;
    char key[32];

    (void)state;
    table_begin_with(&table, 2u << 20, 16, true);
    struct pawl_limit limit = limit_of(&table, "api", "70/second");

    limit.precision = 128;
    for (unsigned i = 0; i < WATCHED; i++) {
        oracle_init(&oracles[i]);
    }
    for (unsigned i = 0; i < 200000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        now += (random >> 40) % 30000;
        if ((random >> 33) % 2 == 0 && i % 60000 < 30000) {
            (void)snprintf(key, sizeof(key), "f%u", i);
            (void)take(&table, &limit, key, now);
            continue;
        }
        unsigned watched = (unsigned)(random >> 50) % WATCHED;

        (void)snprintf(key, sizeof(key), "w%u", watched);
        if (take(&table, &limit, key, now)) {
            (void)oracle_see(&oracles[watched], now);
            oracle_forget(&oracles[watched], 2000);
            oracle_admit(&oracles[watched], 1);
            if (oracle_real_total(&oracles[watched], 1000) > 70) {
                fail_msg("seed 99 step %u: key %s is over", i, key);
            }
        }
    }
    assert_true(metrics_of(&table).denied > 0);
    for (unsigned i = 0; i < WATCHED; i++) {
        oracle_free(&oracles[i]);
    }
    table_end(&table);
}

static void records_that_cannot_grow_merge_harder_and_stay_within_the_limit(void **state)
{
    struct table table;
    unsigned allowed = 0;

    (void)state;
    table_begin_with(&table, 1u << 20, 1, false);
    struct pawl_limit limit = limit_of(&table, "api", "60/hour");
    char key[32];

    for (unsigned round = 0; round < 40; round++) { /* all keys want to grow */
        for (unsigned i = 0; i < 9000; i++) {
            (void)snprintf(key, sizeof(key), "k%u", i);
            (void)take(&table, &limit, key, round * SECOND);
        }
    }
    assert_true(metrics_of(&table).squeezed > 0);
    for (unsigned i = 0; i < 100; i++) {
        allowed += take(&table, &limit, "k1", (40 + i) * SECOND) ? 1 : 0;
    }
    assert_int_equal(allowed, 20);
    table_end(&table);
}

static void sweeping_frees_what_expired_and_nothing_else(void **state)
{
    struct table table;

    (void)state;
    table_begin_with(&table, SMALL, 4, false);
    struct pawl_limit minute = limit_of(&table, "minute", "5/minute");
    struct pawl_limit hour = limit_of(&table, "hour", "5/hour");
    uint64_t free_before = metrics_of(&table).memory_free;

    flood(&table, &minute, 5000, 0);
    flood(&table, &hour, 1000, 0);
    assert_int_equal(metrics_of(&table).keys, 6000);
    for (unsigned shard = 0; shard < 4; shard++) {
        assert_int_equal(pawl_limiter_sweep(&table.limiter, shard, 20000, at(59 * SECOND)), 0);
        (void)pawl_limiter_sweep(&table.limiter, shard, 20000, at(61 * SECOND));
    }
    assert_int_equal(metrics_of(&table).keys, 1000);
    assert_int_equal(count_of(&table, &hour, "flood-7", 61 * SECOND), 1);
    for (unsigned shard = 0; shard < 4; shard++) {
        (void)pawl_limiter_sweep(&table.limiter, shard, 20000, at(3700 * SECOND));
    }
    struct pawl_limiter_metrics metrics = metrics_of(&table);

    assert_int_equal(metrics.keys, 0);
    assert_int_equal(metrics.memory_records, 0);
    assert_true(metrics.memory_free + metrics.memory_index >= free_before);
    table_end(&table);
}

/* ---- saving, loading ---- */

struct file {
    uint8_t bytes[1 << 20];
    size_t size;
    size_t records;
    size_t room; /* records it still takes */
};

static struct file file;
static uint8_t scratch[PAWL_RECORD_BYTES_MAX];

static bool file_sink(void *data, const uint8_t *record, size_t size)
{
    struct file *to = data;
    uint32_t prefix = (uint32_t)size;

    if (to->room == 0 || sizeof(to->bytes) - to->size < size + 4) {
        return false;
    }
    memcpy(to->bytes + to->size, &prefix, 4);
    memcpy(to->bytes + to->size + 4, record, size);
    to->size += size + 4;
    to->records++;
    to->room--;
    return true;
}

static void file_reset(void)
{
    file.size = 0;
    file.records = 0;
    file.room = SIZE_MAX;
}

static size_t save_dirty(struct table *table, uint64_t now)
{
    size_t before = file.records;

    for (unsigned shard = 0; shard < 16; shard++) {
        while (pawl_limiter_collect_dirty(&table->limiter, shard, 500, at(now), scratch, file_sink,
                                          &file, NULL) == PAWL_EAGAIN) {
        }
    }
    return file.records - before;
}

static void load_file(struct table *table, uint64_t elapsed_ms, uint64_t now)
{
    for (size_t offset = 0; offset < file.size;) {
        uint32_t size;

        memcpy(&size, file.bytes + offset, 4);
        assert_int_equal(pawl_limiter_load(&table->limiter,
                                           pawl_bytes_of(file.bytes + offset + 4, size), elapsed_ms,
                                           at(now)),
                         PAWL_OK);
        offset += 4 + size;
    }
}

static void counts_come_back_after_a_restart_less_what_expired(void **state)
{
    struct table table;
    struct table after;

    (void)state;
    file_reset();
    table_begin(&table);
    table_begin(&after);
    struct pawl_limit limit = limit_of(&table, "api", "300/minute");
    char key[16];

    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof(key), "k%u", i);
        for (unsigned j = 0; j <= i % 7; j++) {
            (void)ask(&table, &limit, key, 1 + i % 3 * 100, (100 + j * 5) * SECOND, PAWL_OP_CHECK);
        }
    }
    assert_int_equal(save_dirty(&table, 140 * SECOND), 100);
    load_file(&after, 7000, 3 * SECOND); /* saved 7 s ago; the clock began anew */
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof(key), "k%u", i);
        uint64_t was = count_of(&table, &limit, key, 147 * SECOND);

        assert_int_equal(count_of(&after, &limit, key, 3 * SECOND), was);
        assert_int_equal(count_of(&after, &limit, key, 24 * SECOND),
                         count_of(&table, &limit, key, 168 * SECOND));
    }
    assert_int_equal(metrics_of(&after).loaded, 100);
    table_end(&table);
    table_end(&after);
}

static void only_what_changed_is_collected_and_a_full_sink_loses_nothing(void **state)
{
    struct pawl_instant since;
    struct table table;

    (void)state;
    file_reset();
    table_begin(&table);
    struct pawl_limit limit = limit_of(&table, "api", "9/minute");

    assert_false(pawl_limiter_unsaved_since(&table.limiter, &since));
    flood(&table, &limit, 3000, 5 * SECOND);
    assert_true(pawl_limiter_unsaved_since(&table.limiter, &since));
    assert_int_equal(since.ns, 5 * SECOND);
    file.room = 700;
    for (unsigned shard = 0; shard < 16; shard++) {
        enum pawl_status status =
            pawl_limiter_collect_dirty(&table.limiter, shard, SIZE_MAX, at(6 * SECOND), scratch,
                                       file_sink, &file, NULL);

        assert_true(status == PAWL_OK || file.room == 0);
    }
    assert_int_equal(file.records, 700);
    file.room = SIZE_MAX;
    assert_int_equal(save_dirty(&table, 6 * SECOND), 2300);
    assert_int_equal(save_dirty(&table, 6 * SECOND), 0);
    assert_false(pawl_limiter_unsaved_since(&table.limiter, &since));
    (void)take(&table, &limit, "flood-3", 7 * SECOND);
    assert_int_equal(save_dirty(&table, 7 * SECOND), 1);
    table_end(&table);
}

static void a_reset_does_not_come_back_after_a_crash(void **state)
{
    struct pawl_bytes part = bytes_of("ann");
    struct table table;
    struct table after;
    size_t forgotten = 0;

    (void)state;
    file_reset();
    table_begin(&table);
    table_begin(&after);
    struct pawl_limit limit = limit_of(&table, "api", "3/minute");
    struct pawl_limit_item item = { &limit, bytes_of("default"), &part, 1, 1 };

    assert_true(ask(&table, &limit, "ann", 3, 0, PAWL_OP_CHECK));
    assert_int_equal(save_dirty(&table, 0), 1);
    assert_int_equal(pawl_limiter_reset(&table.limiter, &item, at(0), &forgotten), PAWL_OK);
    assert_int_equal(forgotten, 1);
    (void)pawl_limiter_sweep(&table.limiter, 0, 100000, at(0)); /* must not take it away */
    assert_int_equal(save_dirty(&table, 0), 1);
    assert_int_equal(metrics_of(&table).keys, 0);
    load_file(&after, 0, 0);
    assert_int_equal(count_of(&after, &limit, "ann", 0), 0);
    assert_int_equal(metrics_of(&after).keys, 0);
    table_end(&table);
    table_end(&after);
}

static void a_whole_snapshot_and_later_changes_together_miss_nothing(void **state)
{
    struct table table;
    struct table after;
    char key[16];
    unsigned extra = 0;

    (void)state;
    file_reset();
    table_begin(&table);
    table_begin(&after);
    struct pawl_limit limit = limit_of(&table, "api", "50/minute");

    flood(&table, &limit, 2000, 0);
    (void)save_dirty(&table, 0);
    file_reset();
    for (unsigned shard = 0; shard < 16; shard++) {
        bool restart = true;

        while (pawl_limiter_collect_all(&table.limiter, shard, restart, 300, at(SECOND), scratch,
                                        file_sink, &file, NULL) == PAWL_EAGAIN) {
            restart = false;
            for (unsigned i = 0; i < 20; i++) { /* records move while the walk stands still */
                (void)snprintf(key, sizeof(key), "flood-%u", extra++ % 2000);
                (void)ask(&table, &limit, key, 1, (extra / 2000 + 1) * SECOND, PAWL_OP_CHECK);
            }
        }
    }
    (void)save_dirty(&table, SECOND);
    load_file(&after, 0, SECOND);
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof(key), "flood-%u", i);
        assert_int_equal(count_of(&after, &limit, key, SECOND),
                         count_of(&table, &limit, key, SECOND));
    }
    table_end(&table);
    table_end(&after);
}

static void damaged_records_change_nothing_and_another_kind_starts_used_up(void **state)
{
    struct pawl_bytes part = bytes_of("ann");
    struct table table;
    struct table after;

    (void)state;
    file_reset();
    table_begin(&table);
    table_begin(&after);
    struct pawl_limit limit = limit_of(&table, "api", "3/minute");
    struct pawl_limit_item item = { &limit, bytes_of("default"), &part, 1, 1 };

    assert_true(take(&table, &limit, "ann", 0));
    assert_int_equal(pawl_limiter_collect_item(&table.limiter, &item, at(0), scratch, file_sink,
                                               &file),
                     PAWL_OK);
    assert_int_equal(file.records, 1);
    size_t size = file.size - 4;
    uint8_t *record = file.bytes + 4;

    for (size_t bit = 0; bit < size * 8; bit++) {
        record[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)!pawl_limiter_load(&after.limiter, pawl_bytes_of(record, size), 0, at(0));
        record[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(pawl_limiter_load(&after.limiter, pawl_bytes_of(record, cut), 0, at(0)),
                         PAWL_ECORRUPT);
    }
    record[0] = PAWL_RECORD_RESERVE << 4 | 1; /* of the future */
    assert_int_equal(pawl_limiter_load(&after.limiter, pawl_bytes_of(record, size), 0, at(0)),
                     PAWL_OK);
    assert_false(take(&after, &limit, "ann", 0));
    assert_int_equal(results[0].count, 3);
    assert_int_equal(results[0].retry_after_ms, 60000);
    assert_true(take(&after, &limit, "ann", 60 * SECOND));
    table_end(&table);
    table_end(&after);
}

/* ---- threads ---- */

#define THREADS 4

struct worker {
    struct table *table;
    const struct pawl_limit *limits;
    uint64_t allowed;
    uint64_t random;
};

/* Atomic checks over three of ten keys, in any order: shards are locked in theirs. */
static void *worker_run(void *data)
{
    static const char *const keys[10] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    struct worker *worker = data;
    struct pawl_limit_result out[PAWL_LIMITER_SLOTS_MAX];
    struct pawl_limit_outcome outcome;

    for (unsigned i = 0; i < 3000; i++) {
        struct pawl_bytes parts[3];
        struct pawl_limit_item items[3];
        struct pawl_limit_request request = { items, 3, PAWL_MODE_ATOMIC, PAWL_OP_CHECK, at(i) };
        unsigned first = (unsigned)(worker->random % 10);

        worker->random = worker->random * UINT64_C(6364136223846793005) + 1442695040888963407;
        for (unsigned j = 0; j < 3; j++) {
            parts[j] = pawl_bytes_of(keys[(first + j * 3) % 10], 1);
            items[j] = (struct pawl_limit_item){ &worker->limits[j % 2], bytes_of("default"),
                                                 &parts[j], 1, 1 };
        }
        if (pawl_limiter_check(&worker->table->limiter, &request, out, PAWL_LIMITER_SLOTS_MAX,
                               &outcome) == PAWL_OK &&
            outcome.verdict == PAWL_ALLOW) {
            worker->allowed++;
        }
        if (i % 64 == 0) {
            (void)pawl_limiter_sweep(&worker->table->limiter, i % 16, 50, at(i));
        }
    }
    return NULL;
}

static void atomic_checks_of_many_threads_add_up_exactly(void **state)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    struct pawl_limit limits[2];
    struct table table;
    uint64_t allowed = 0;
    uint64_t charged = 0;
    char key[2] = { '0', 0 };

    (void)state;
    table_begin(&table);
    limits[0] = limit_of(&table, "a", "900/hour");
    limits[1] = limit_of(&table, "b", "500/hour,400/day");
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ &table, limits, 0, i + 1 };
        assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        allowed += workers[i].allowed;
    }
    for (; key[0] <= '9'; key[0]++) {
        uint64_t a = count_of(&table, &limits[0], key, SECOND);
        uint64_t b = count_of(&table, &limits[1], key, SECOND);

        assert_int_equal(results[0].count, results[1].count); /* both rates, always */
        assert_true(a <= 900 && b <= 400);
        charged += a + b;
    }
    assert_int_equal(charged, allowed * 3);
    assert_true(metrics_of(&table).denied > 0);
    table_end(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_allows_its_count_and_says_when_to_come_back),
        cmocka_unit_test(a_peek_charges_nothing_and_makes_no_record),
        cmocka_unit_test(keys_are_parts_and_not_their_concatenation),
        cmocka_unit_test(inline_rates_have_a_record_for_each_window),
        cmocka_unit_test(refund_by_charge_and_reset_give_room_again),
        cmocka_unit_test(what_is_not_valid_is_refused_and_charges_nothing),
        cmocka_unit_test(limits_and_tables_out_of_bounds_are_refused_with_a_reason),
        cmocka_unit_test(atomic_charges_all_or_none_and_names_the_one_that_refused),
        cmocka_unit_test(each_decides_and_charges_every_limit_for_itself),
        cmocka_unit_test(count_denied_records_the_attempt_of_the_limit_that_refused),
        cmocka_unit_test(a_shadow_limit_is_decided_and_reported_but_never_denies),
        cmocka_unit_test(a_reload_keeps_counts_and_a_renamed_limit_starts_new),
        cmocka_unit_test(a_flood_of_keys_forgets_nothing_and_admits_nobody_above_the_limit),
        cmocka_unit_test(a_key_leaves_its_cell_only_when_that_is_empty),
        cmocka_unit_test(inline_rates_share_cells_and_each_counts_its_own_window),
        cmocka_unit_test(when_full_open_and_closed_do_as_they_say),
        cmocka_unit_test(two_keys_of_one_request_in_the_same_cell_are_counted_together),
        cmocka_unit_test(every_watched_key_keeps_its_limit_through_floods_and_full_memory),
        cmocka_unit_test(records_that_cannot_grow_merge_harder_and_stay_within_the_limit),
        cmocka_unit_test(sweeping_frees_what_expired_and_nothing_else),
        cmocka_unit_test(counts_come_back_after_a_restart_less_what_expired),
        cmocka_unit_test(only_what_changed_is_collected_and_a_full_sink_loses_nothing),
        cmocka_unit_test(a_reset_does_not_come_back_after_a_crash),
        cmocka_unit_test(a_whole_snapshot_and_later_changes_together_miss_nothing),
        cmocka_unit_test(damaged_records_change_nothing_and_another_kind_starts_used_up),
        cmocka_unit_test(atomic_checks_of_many_threads_add_up_exactly),
    };

    return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
