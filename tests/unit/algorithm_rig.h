/*
 * What the tests of the limiter's other algorithms share: a table, a limit of each algorithm, and
 * one key asked at times that the test says. One test program at a time: results are global.
 */
#ifndef PAWL_TESTS_ALGORITHM_RIG_H
#define PAWL_TESTS_ALGORITHM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/limiter.h"
#include "core/quota.h"
#include "core/slots.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define SMALL  (4u << 20)
#define MAY    INT64_C(1777593600) /* 2026-05-01 00:00 UTC */
#define JUNE   INT64_C(1780272000)
#define DAY    86400

struct table {
    struct pawl_limiter limiter;
    void *region;
};

static inline void table_begin_with(struct table *table, size_t memory, unsigned shards,
                                    uint16_t life)
{
    struct pawl_limiter_config config = {
        .memory_max = memory, .shards = shards, .salt = { life, 2 }, .life = life, .persist = true
    };

    table->region = aligned_alloc(PAWL_ARENA_PAGE, memory);
    assert_non_null(table->region);
    memset(table->region, 0, memory);
    config.region = table->region;
    memset(config.subkey.bytes, 5, sizeof(config.subkey.bytes));
    assert_int_equal(pawl_limiter_init(&table->limiter, &config, NULL), PAWL_OK);
}

static inline void table_begin(struct table *table)
{
    table_begin_with(table, SMALL, 4, 77);
}

static inline void table_end(struct table *table)
{
    pawl_limiter_deinit(&table->limiter);
    free(table->region);
}

static inline struct pawl_bytes bytes_of(const char *text)
{
    return pawl_bytes_of(text, strlen(text));
}

static inline struct pawl_instant at(uint64_t ns)
{
    return (struct pawl_instant){ ns };
}

static inline struct pawl_limit limit_of(const struct table *table, enum pawl_algorithm algorithm,
                                         const char *text)
{
    struct pawl_limit limit;
    struct pawl_error error;

    memset(&limit, 0, sizeof(limit));
    (void)snprintf(limit.name, sizeof(limit.name), "api");
    (void)snprintf(limit.ns, sizeof(limit.ns), "default");
    limit.algorithm = algorithm;
    assert_int_equal((algorithm == PAWL_ALGORITHM_CALENDAR ? pawl_rate_text_parse_calendar
                                                           : pawl_rate_text_parse)(
                         bytes_of(text), limit.rates, &limit.rates_count, NULL),
                     PAWL_OK);
    if (pawl_limit_init(&limit, &table->limiter, &error) != PAWL_OK) {
        fail_msg("%s", error.text);
    }
    return limit;
}

static struct pawl_limit_result results[PAWL_LIMITER_SLOTS_MAX];
static int64_t wall_s = MAY; /* what requests say */
static const struct pawl_rate *override;

static inline bool ask(struct table *table, const struct pawl_limit *limit, const char *key,
                       uint64_t cost, uint64_t now_ns, enum pawl_limiter_op op)
{
    struct pawl_bytes part = bytes_of(key);
    struct pawl_limit_item item = { limit, bytes_of("default"), &part, 1, cost, override };
    struct pawl_limit_request request = { &item, 1, PAWL_MODE_ATOMIC, op, at(now_ns), { wall_s } };
    struct pawl_limit_outcome outcome;

    assert_int_equal(pawl_limiter_check(&table->limiter, &request, results, PAWL_LIMITER_SLOTS_MAX,
                                        &outcome),
                     PAWL_OK);
    return outcome.verdict == PAWL_ALLOW;
}

static inline bool take(struct table *table, const struct pawl_limit *limit, const char *key,
                        uint64_t cost, uint64_t now_ns)
{
    return ask(table, limit, key, cost, now_ns, PAWL_OP_CHECK);
}

static inline uint64_t count_of(struct table *table, const struct pawl_limit *limit,
                                const char *key, uint64_t now_ns)
{
    (void)ask(table, limit, key, 1, now_ns, PAWL_OP_PEEK);
    return results[0].count;
}

static inline uint64_t refund(struct table *table, const struct pawl_limit *limit, const char *key,
                              uint64_t cost, const uint64_t *charge, uint64_t now_ns)
{
    struct pawl_bytes part = bytes_of(key);
    struct pawl_limit_item item = { limit, bytes_of("default"), &part, 1, cost, NULL };
    uint64_t refunded[PAWL_RATES_MAX] = { 0 };

    assert_int_equal(pawl_limiter_refund(&table->limiter, &item, charge, at(now_ns), refunded),
                     PAWL_OK);
    return refunded[0];
}

static inline struct pawl_limiter_metrics metrics_of(struct table *table)
{
    struct pawl_limiter_metrics metrics;

    pawl_limiter_metrics_get(&table->limiter, &metrics);
    return metrics;
}

static uint64_t random_state = 11;

static inline uint64_t random_below(uint64_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return bound > 0 ? (random_state >> 24) % bound : 0;
}

static const enum pawl_algorithm algorithms[4] = { PAWL_ALGORITHM_SLIDING, PAWL_ALGORITHM_GCRA,
                                                   PAWL_ALGORITHM_CALENDAR,
                                                   PAWL_ALGORITHM_CONCURRENCY };

static inline struct pawl_limit any_limit(const struct table *table, enum pawl_algorithm algorithm)
{
    return limit_of(table, algorithm, algorithm == PAWL_ALGORITHM_CALENDAR ? "5/hour" : "5/1h");
}

static inline void fill_memory(struct table *table)
{
    struct pawl_rate rate = { 1, PAWL_WINDOW_MS_MAX, 0 };
    struct pawl_limit limit;
    char key[16];

    assert_int_equal(pawl_limit_init_inline(&limit, &table->limiter, &rate, 1, 0, NULL), PAWL_OK);
    for (unsigned i = 0; metrics_of(table).overflowed < 20; i++) {
        for (unsigned j = 0; j < 500; j++) {
            (void)snprintf(key, sizeof(key), "f%u-%u", i, j);
            (void)take(table, &limit, key, 1, 0);
        }
    }
}

#endif
