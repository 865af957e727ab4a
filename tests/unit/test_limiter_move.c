/* Records joined, and walked by slot: what a cluster asks of the limiter's table. */
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
#include "core/record_join.h"
#include "core/ring.h"
#include "support/oracle.h"

#define MS     UINT64_C(1000000)
#define MEMORY (16u << 20)
#define SMALL  (2u << 20)

struct table {
    struct pawl_limiter limiter;
    void *region;
};

static uint8_t scratch[2 * PAWL_RECORD_BYTES_MAX];
static struct pawl_subkey slots_key = { { 7, 7 } };
static uint64_t seed;

static uint64_t random_below(uint64_t below)
{
    uint64_t mixed = seed += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ mixed >> 31) % below;
}

static void table_begin_with(struct table *table, size_t memory, const struct pawl_subkey *slots)
{
    struct pawl_limiter_config config = {
        .memory_max = memory, .slots = slots, .salt = { random_below(1000), 2 }, .persist = true
    };

    table->region = aligned_alloc(PAWL_ARENA_PAGE, memory);
    assert_non_null(table->region);
    memset(table->region, 0, memory);
    config.region = table->region;
    memset(config.subkey.bytes, 5, sizeof(config.subkey.bytes));
    assert_int_equal(pawl_limiter_init(&table->limiter, &config, NULL), PAWL_OK);
}

static void table_begin(struct table *table)
{
    table_begin_with(table, MEMORY, &slots_key);
}

static void table_end(struct table *table)
{
    pawl_limiter_deinit(&table->limiter);
    free(table->region);
}

static struct pawl_instant at(uint64_t ns)
{
    struct pawl_instant instant = { ns };

    return instant;
}

static struct pawl_limit limit_of(const struct table *table, enum pawl_algorithm algorithm,
                                  uint64_t count, uint32_t window_ms)
{
    struct pawl_limit limit;

    memset(&limit, 0, sizeof(limit));
    (void)snprintf(limit.name, sizeof(limit.name), "limit");
    (void)snprintf(limit.ns, sizeof(limit.ns), "ns");
    limit.algorithm = algorithm;
    limit.rates_count = 1;
    limit.rates[0].count = count;
    limit.rates[0].window_ms = window_ms;
    if (algorithm == PAWL_ALGORITHM_CALENDAR) {
        limit.rates[0].window_ms = 0;
        limit.rates[0].period = PAWL_PERIOD_DAY;
    }
    assert_int_equal(pawl_limit_init(&limit, &table->limiter, NULL), PAWL_OK);
    return limit;
}

static struct pawl_limit_result result;

static bool ask(struct table *table, const struct pawl_limit *limit, const char *key, uint64_t cost,
                uint64_t now_ns, int64_t wall_s, enum pawl_limiter_op op)
{
    struct pawl_bytes part = pawl_bytes_of(key, strlen(key));
    struct pawl_limit_item item = { limit, pawl_bytes_of("ns", 2), &part, 1, cost, NULL };
    struct pawl_limit_request request = { &item, 1, PAWL_MODE_ATOMIC, op, at(now_ns), { wall_s } };
    struct pawl_limit_outcome outcome;

    assert_int_equal(pawl_limiter_check(&table->limiter, &request, &result, 1, &outcome), PAWL_OK);
    return outcome.verdict == PAWL_ALLOW;
}

static bool take(struct table *table, const struct pawl_limit *limit, const char *key,
                 uint64_t cost, uint64_t now_ns)
{
    return ask(table, limit, key, cost, now_ns, 0, PAWL_OP_CHECK);
}

static uint64_t count_of(struct table *table, const struct pawl_limit *limit, const char *key,
                         uint64_t now_ns)
{
    (void)ask(table, limit, key, 1, now_ns, 0, PAWL_OP_PEEK);
    return result.count;
}

/* ---- serialized records ---- */

struct kept {
    unsigned count;
    size_t sizes[4096];
    uint8_t *records[4096];
    unsigned room; /* refuses behind so many; 0: none */
};

static bool keep(void *data, const uint8_t *record, size_t size)
{
    struct kept *kept = data;

    if ((kept->room != 0 && kept->count >= kept->room) || kept->count == 4096) {
        return false;
    }
    kept->records[kept->count] = malloc(size);
    assert_non_null(kept->records[kept->count]);
    memcpy(kept->records[kept->count], record, size);
    kept->sizes[kept->count++] = size;
    return true;
}

static void kept_free(struct kept *kept)
{
    for (unsigned i = 0; i < kept->count; i++) {
        free(kept->records[i]);
    }
    memset(kept, 0, sizeof(*kept));
}

/* The one record of @key, serialized. */
static struct pawl_bytes record_of(struct table *table, const struct pawl_limit *limit,
                                   const char *key, uint64_t now_ns, struct kept *kept)
{
    struct pawl_bytes part = pawl_bytes_of(key, strlen(key));
    struct pawl_limit_item item = { limit, pawl_bytes_of("ns", 2), &part, 1, 1, NULL };

    kept_free(kept);
    assert_int_equal(pawl_limiter_collect_item(&table->limiter, &item, at(now_ns), scratch, keep,
                                               kept),
                     PAWL_OK);
    assert_int_equal(kept->count, 1);
    return pawl_bytes_of(kept->records[0], kept->sizes[0]);
}

static enum pawl_status join(struct table *table, struct pawl_bytes record, uint64_t elapsed_ms,
                             uint64_t now_ns)
{
    return pawl_limiter_join(&table->limiter, record, elapsed_ms, PAWL_JOIN_GIVEN, at(now_ns),
                             scratch);
}

/* From @from to @to at @now_ns. */
static void give(struct table *from, struct table *to, const struct pawl_limit *limit,
                 const char *key, uint64_t now_ns)
{
    static struct kept kept;

    assert_int_equal(join(to, record_of(from, limit, key, now_ns, &kept), 0, now_ns), PAWL_OK);
    kept_free(&kept);
}

/* ---- sliding ---- */

/* Events of one key fall to two tables; joined, they count as the list of all of them does. */
static void one_pair_of_histories(uint64_t of)
{
    static const uint32_t windows[] = { 50, 1000, 60000, 3600000 };
    struct oracle oracle;
    struct table tables[2];
    struct pawl_limit limit;
    unsigned events;
    uint32_t window_ms;
    uint64_t now_ns;
    uint64_t late_ms;

    seed = of;
    window_ms = windows[random_below(4)];
    events = (unsigned)random_below(random_below(3) == 0 ? 600 : 60) + 2;
    now_ns = random_below(2) == 0 ? 1 : random_below(UINT64_C(1) << 52);
    /* a cell before the join, a cell after it, and the ms that each of the two rounds */
    late_ms = 2 * (window_ms / (PAWL_PRECISION_DEFAULT - 1)) + 4;
    oracle_init(&oracle);
    table_begin(&tables[0]);
    table_begin(&tables[1]);
    limit = limit_of(&tables[0], PAWL_ALGORITHM_SLIDING, PAWL_COUNT_MAX, window_ms);
    for (unsigned i = 0; i < events; i++) {
        uint64_t cost = random_below(8) == 0 ? random_below(100000) + 1 : random_below(3) + 1;

        now_ns += random_below(window_ms * MS / (events / 2) + 1);
        (void)oracle_see(&oracle, now_ns);
        oracle_admit(&oracle, cost);
        assert_true(take(&tables[random_below(2)], &limit, "k", cost, now_ns));
    }
    if (count_of(&tables[1], &limit, "k", now_ns) > 0) {
        give(&tables[1], &tables[0], &limit, "k", now_ns);
    }
    for (unsigned i = 0; i < 20; i++) {
        uint64_t count = count_of(&tables[0], &limit, "k", now_ns);

        (void)oracle_see(&oracle, now_ns);
        assert_true(count >= oracle_real_total(&oracle, window_ms));
        assert_true(count <= oracle_late_total(&oracle, window_ms, late_ms));
        if (random_below(3) == 0) {
            oracle_admit(&oracle, 1);
            assert_true(take(&tables[0], &limit, "k", 1, now_ns));
        }
        now_ns += random_below(window_ms * MS / 10);
    }
    oracle_free(&oracle);
    table_end(&tables[0]);
    table_end(&tables[1]);
}

static void joined_histories_count_as_the_list_of_all_events(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 150; i++) {
        one_pair_of_histories(i);
    }
}

static void a_record_with_nothing_in_it_changes_no_count(void **state)
{
    static struct kept kept;
    struct table table;
    struct pawl_limit limit;
    uint8_t empty[PAWL_RECORD_HEAD_BYTES];

    (void)state;
    table_begin(&table);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 10, 1000);
    assert_true(take(&table, &limit, "k", 4, MS));
    memcpy(empty, record_of(&table, &limit, "k", MS, &kept).data, sizeof(empty));
    empty[2] = 0;
    assert_int_equal(join(&table, pawl_bytes_of(empty, sizeof(empty)), 0, MS), PAWL_OK);
    assert_int_equal(count_of(&table, &limit, "k", MS), 4);
    /* one that has left while it was away is as empty */
    assert_int_equal(join(&table, pawl_bytes_of(kept.records[0], kept.sizes[0]), 1000, MS),
                     PAWL_OK);
    assert_int_equal(count_of(&table, &limit, "k", MS), 4);
    kept_free(&kept);
    table_end(&table);
}

static void a_tombstone_of_a_peer_reaches_the_saver_and_one_of_the_saver_does_not(void **state)
{
    static struct kept kept;
    static struct kept dirty;
    struct table table;
    struct pawl_limit limit;
    uint8_t empty[PAWL_RECORD_HEAD_BYTES];

    (void)state;
    table_begin(&table);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 10, 1000);
    assert_true(take(&table, &limit, "k", 4, MS));
    memcpy(empty, record_of(&table, &limit, "k", MS, &kept).data, sizeof(empty));
    empty[2] = 0;
    struct pawl_id id = pawl_limiter_record_id(empty);
    unsigned bundle = (unsigned)id.lo & 63;

    assert_true(pawl_limiter_forget_slots(&table.limiter, bundle, UINT64_MAX) == 1);
    assert_false(pawl_limiter_holds(&table.limiter, id, at(MS)));
    assert_int_equal(pawl_limiter_join(&table.limiter, pawl_bytes_of(empty, sizeof(empty)), 0,
                                       PAWL_JOIN_SAVED, at(MS), scratch),
                     PAWL_OK);
    assert_false(pawl_limiter_holds(&table.limiter, id, at(MS)));
    assert_int_equal(join(&table, pawl_bytes_of(empty, sizeof(empty)), 0, MS), PAWL_OK);
    assert_true(pawl_limiter_holds(&table.limiter, id, at(MS)));
    /* what the saver has of before the reset does not come back */
    assert_int_equal(pawl_limiter_join(&table.limiter,
                                       pawl_bytes_of(kept.records[0], kept.sizes[0]), 0,
                                       PAWL_JOIN_SAVED, at(MS), scratch),
                     PAWL_OK);
    assert_int_equal(count_of(&table, &limit, "k", MS), 0);
    assert_int_equal(pawl_limiter_collect_dirty_slots(&table.limiter, bundle, UINT64_MAX, SIZE_MAX,
                                                      at(MS), scratch, keep, &dirty, NULL),
                     PAWL_OK);
    assert_int_equal(dirty.count, 1);
    assert_int_equal(dirty.sizes[0], PAWL_RECORD_HEAD_BYTES);
    assert_false(pawl_limiter_holds(&table.limiter, id, at(MS)));
    kept_free(&dirty);
    kept_free(&kept);
    table_end(&table);
}

static void without_memory_a_join_charges_what_comes_to_what_is_there(void **state)
{
    struct table from;
    struct table to;
    struct pawl_limit limit;
    char key[16];
    unsigned keys = 0;

    (void)state;
    table_begin(&from);
    table_begin_with(&to, SMALL, &slots_key);
    limit = limit_of(&from, PAWL_ALGORITHM_SLIDING, 100000, 60000);
    for (unsigned i = 0; i < 60; i++) {
        assert_true(take(&from, &limit, "k", 3, 1000 * MS + i * 17 * MS));
    }
    assert_true(take(&to, &limit, "k", 5, 1000 * MS));
    do {
        (void)snprintf(key, sizeof(key), "%u", keys++);
        (void)take(&to, &limit, key, 1, 1000 * MS + keys);
    } while (!result.full && keys < 200000);
    give(&from, &to, &limit, "k", 2000 * MS);
    assert_int_equal(count_of(&to, &limit, "k", 2000 * MS), 185);
    assert_true(count_of(&to, &limit, "k", 61500 * MS) >= 150);
    table_end(&from);
    table_end(&to);
}

static void more_events_than_a_record_holds_merge_and_are_never_less(void **state)
{
    static struct kept kept;
    struct table tables[2];
    struct pawl_limit limit;
    uint64_t now_ns = MS;

    (void)state;
    table_begin(&tables[0]);
    table_begin(&tables[1]);
    limit = limit_of(&tables[0], PAWL_ALGORITHM_SLIDING, PAWL_COUNT_MAX, 10000000);
    limit.precision = PAWL_PRECISION_MAX;
    for (unsigned i = 0; i < 8000; i++) {
        now_ns += MS;
        assert_true(take(&tables[i % 2], &limit, "k", 1 + i % 300, now_ns));
    }
    uint64_t sum =
        count_of(&tables[0], &limit, "k", now_ns) + count_of(&tables[1], &limit, "k", now_ns);

    give(&tables[1], &tables[0], &limit, "k", now_ns);
    assert_int_equal(count_of(&tables[0], &limit, "k", now_ns), sum);
    struct pawl_record_head head;

    assert_int_equal(pawl_record_check(record_of(&tables[0], &limit, "k", now_ns, &kept), &head),
                     PAWL_OK);
    assert_true(head.entries <= PAWL_PRECISION_MAX);
    assert_true(take(&tables[0], &limit, "k", 1, now_ns + MS));
    kept_free(&kept);
    table_end(&tables[0]);
    table_end(&tables[1]);
}

/* ---- the others ---- */

static void levels_of_gcra_add(void **state)
{
    struct table tables[2];
    struct pawl_limit limit;

    (void)state;
    table_begin(&tables[0]);
    table_begin(&tables[1]);
    limit = limit_of(&tables[0], PAWL_ALGORITHM_GCRA, 100, 1000);
    assert_true(take(&tables[0], &limit, "k", 30, MS));
    uint64_t charge = result.charge;

    assert_true(take(&tables[1], &limit, "k", 50, MS));
    give(&tables[1], &tables[0], &limit, "k", 101 * MS); /* 20 and 40 are left */
    assert_int_equal(count_of(&tables[0], &limit, "k", 101 * MS), 60);
    assert_false(take(&tables[0], &limit, "k", 41, 101 * MS));
    assert_true(take(&tables[0], &limit, "k", 40, 101 * MS));
    (void)charge;
    assert_int_equal(count_of(&tables[0], &limit, "k", 601 * MS), 50);
    assert_int_equal(count_of(&tables[0], &limit, "k", 1101 * MS), 0);
    table_end(&tables[0]);
    table_end(&tables[1]);
}

static void calendar_counts_add_while_both_periods_may_run(void **state)
{
    static const int64_t day = 1790035200; /* a midnight, UTC */
    struct table tables[3];
    struct pawl_limit limit;
    static struct kept kept;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        table_begin(&tables[i]);
    }
    limit = limit_of(&tables[0], PAWL_ALGORITHM_CALENDAR, 100, 0);
    assert_true(ask(&tables[0], &limit, "k", 30, MS, day + 10, PAWL_OP_CHECK));
    assert_true(ask(&tables[1], &limit, "k", 50, MS, day + 20, PAWL_OP_CHECK));
    assert_true(ask(&tables[2], &limit, "k", 7, MS, day + 86400, PAWL_OP_CHECK));
    /* the same period */
    give(&tables[1], &tables[0], &limit, "k", 2 * MS);
    assert_false(ask(&tables[0], &limit, "k", 21, 2 * MS, day + 30, PAWL_OP_CHECK));
    assert_true(ask(&tables[0], &limit, "k", 20, 2 * MS, day + 30, PAWL_OP_CHECK));
    /* the next period, of one whose clock is ahead: neither is forgotten */
    give(&tables[2], &tables[0], &limit, "k", 2 * MS);
    (void)ask(&tables[0], &limit, "k", 1, 2 * MS, day + 31, PAWL_OP_PEEK);
    assert_int_equal(result.count, 107);
    /* an earlier one that has ended here counts no more */
    give(&tables[1], &tables[2], &limit, "k", 2 * MS);
    (void)ask(&tables[2], &limit, "k", 1, 2 * MS, day + 86401, PAWL_OP_PEEK);
    assert_int_equal(result.count, 7);
    kept_free(&kept);
    for (unsigned i = 0; i < 3; i++) {
        table_end(&tables[i]);
    }
}

static void slots_of_concurrency_are_united_by_their_handles(void **state)
{
    struct table tables[2];
    struct pawl_limit limit;
    struct pawl_bytes part = pawl_bytes_of("k", 1);
    uint64_t charges[2];
    uint64_t refunded = 0;

    (void)state;
    table_begin(&tables[0]);
    table_begin(&tables[1]);
    limit = limit_of(&tables[0], PAWL_ALGORITHM_CONCURRENCY, 10, 60000);
    assert_true(take(&tables[0], &limit, "k", 2, MS));
    charges[0] = result.charge;
    assert_true(take(&tables[1], &limit, "k", 3, 2 * MS));
    charges[1] = result.charge;
    give(&tables[1], &tables[0], &limit, "k", 3 * MS);
    assert_int_equal(count_of(&tables[0], &limit, "k", 3 * MS), 5);
    give(&tables[1], &tables[0], &limit, "k", 4 * MS); /* the same again is the same */
    assert_int_equal(count_of(&tables[0], &limit, "k", 4 * MS), 5);
    for (unsigned i = 0; i < 2; i++) {
        struct pawl_limit_item item = { &limit, pawl_bytes_of("ns", 2), &part, 1, 3, NULL };

        assert_int_equal(pawl_limiter_refund(&tables[0].limiter, &item, &charges[i], at(5 * MS),
                                             &refunded),
                         PAWL_OK);
        assert_int_equal(refunded, i == 0 ? 2 : 3);
    }
    assert_int_equal(count_of(&tables[0], &limit, "k", 5 * MS), 0);
    table_end(&tables[0]);
    table_end(&tables[1]);
}

static void records_of_two_algorithms_are_used_up_together(void **state)
{
    static const enum pawl_algorithm algorithms[] = { PAWL_ALGORITHM_SLIDING, PAWL_ALGORITHM_GCRA,
                                                      PAWL_ALGORITHM_CONCURRENCY };
    struct table tables[2];

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        struct pawl_limit a;
        struct pawl_limit b;

        table_begin(&tables[0]);
        table_begin(&tables[1]);
        a = limit_of(&tables[0], algorithms[i / 3], 100, 1000);
        b = limit_of(&tables[0], algorithms[i % 3], 100, 1000);
        assert_true(take(&tables[0], &a, "k", 1, MS));
        assert_true(take(&tables[1], &b, "k", 1, MS));
        give(&tables[1], &tables[0], &b, "k", MS);
        if (i / 3 == i % 3) {
            assert_int_equal(count_of(&tables[0], &a, "k", MS), 2);
        } else {
            assert_false(take(&tables[0], &a, "k", 1, MS));
            assert_true(take(&tables[0], &a, "k", 1, 2100 * MS));
        }
        table_end(&tables[0]);
        table_end(&tables[1]);
    }
}

/* ---- ids and slots ---- */

static void all_rates_and_cells_of_a_key_have_its_slot(void **state)
{
    struct table table;
    struct pawl_limit limit;
    struct pawl_limiter_slot slots[PAWL_LIMITER_SLOTS_MAX];
    char key[16];

    (void)state;
    table_begin(&table);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 10, 1000);
    limit.rates_count = 2;
    limit.rates[1] = (struct pawl_rate){ 100, 60000, 0 };
    for (unsigned i = 0; i < 200; i++) {
        struct pawl_bytes part = pawl_bytes_of(key, (size_t)snprintf(key, sizeof(key), "%u", i));
        struct pawl_limit_item item = { &limit, pawl_bytes_of("ns", 2), &part, 1, 1, NULL };
        struct pawl_limit_request request = { &item,         1,     PAWL_MODE_ATOMIC,
                                              PAWL_OP_CHECK, at(1), { 0 } };
        struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_LIMITER_SLOTS_MAX };
        uint32_t slot = pawl_ring_slot(&slots_key, item.ns, &part, 1);

        assert_int_equal(pawl_limiter_prepare(&table.limiter, &request, &plan), PAWL_OK);
        for (size_t j = 0; j < plan.slots_count; j++) {
            assert_int_equal(pawl_limiter_slot_of(&plan.slots[j]), slot);
            assert_int_equal(plan.slots[j].shard, slot % PAWL_LIMITER_BUNDLES);
        }
        assert_int_equal(pawl_limiter_key_slot(&table.limiter, item.ns, &part, 1), slot);
        assert_false(pawl_id_equal(plan.slots[0].id, plan.slots[1].id));
    }
    assert_int_equal(pawl_limiter_key_slot(&table.limiter, pawl_bytes_of("ns", 2), NULL, 0),
                     PAWL_LIMITER_CELLS);
    table_end(&table);
}

static void a_cell_lies_in_the_slot_of_its_keys(void **state)
{
    static struct kept kept;
    struct table table;
    struct pawl_limit limit;
    char key[16];
    unsigned cells = 0;
    unsigned keys = 0;

    (void)state;
    table_begin_with(&table, SMALL, &slots_key);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 1000, 3600000);
    do {
        (void)snprintf(key, sizeof(key), "%u", keys++);
        (void)take(&table, &limit, key, 1, MS + keys);
    } while (!result.overflow && keys < 100000);
    assert_true(result.overflow);
    struct pawl_bytes part = pawl_bytes_of(key, strlen(key));
    uint32_t slot = pawl_limiter_key_slot(&table.limiter, pawl_bytes_of("ns", 2), &part, 1);
    uint64_t cursor = 0;

    assert_int_equal(pawl_limiter_collect_slots(&table.limiter, slot % 64,
                                                UINT64_C(1) << (slot / 64), false, &cursor,
                                                SIZE_MAX, at(2 * MS), scratch, keep, &kept, NULL),
                     PAWL_OK);
    for (unsigned i = 0; i < kept.count; i++) {
        cells += (kept.records[i][1] & 2) != 0 ? 1 : 0;
        assert_int_equal(pawl_limiter_record_id(kept.records[i]).lo % PAWL_RING_SLOTS, slot);
    }
    assert_int_equal(cells, 1);
    kept_free(&kept);
    table_end(&table);
}

static void a_cluster_has_as_many_shards_as_bundles(void **state)
{
    static _Alignas(4096) uint8_t region[SMALL];
    struct pawl_limiter_config config = {
        .region = region, .memory_max = SMALL, .shards = 32, .slots = &slots_key
    };
    struct pawl_limiter limiter;
    struct pawl_error error;

    (void)state;
    assert_int_equal(pawl_limiter_init(&limiter, &config, &error), PAWL_EINVAL);
    config.shards = 64;
    assert_int_equal(pawl_limiter_init(&limiter, &config, &error), PAWL_OK);
    pawl_limiter_deinit(&limiter);
}

/* ---- walks ---- */

#define WALK_KEYS 3000

static uint32_t fill(struct table *table, const struct pawl_limit *limit, unsigned keys,
                     uint32_t per_slot[PAWL_RING_SLOTS])
{
    char key[16];
    uint32_t count = 0;

    memset(per_slot, 0, PAWL_RING_SLOTS * sizeof(per_slot[0]));
    for (unsigned i = 0; i < keys; i++) {
        struct pawl_bytes part = pawl_bytes_of(key, (size_t)snprintf(key, sizeof(key), "%u", i));

        assert_true(take(table, limit, key, 1, MS));
        per_slot[pawl_limiter_key_slot(&table->limiter, pawl_bytes_of("ns", 2), &part, 1)]++;
        count++;
    }
    return count;
}

static uint32_t expected(const uint32_t per_slot[PAWL_RING_SLOTS], unsigned bundle, uint64_t set)
{
    uint32_t count = 0;

    for (unsigned bit = 0; bit < 64; bit++) {
        count += (set >> bit & 1) != 0 ? per_slot[bit * 64 + bundle] : 0;
    }
    return count;
}

static void a_walk_meets_each_record_once_whatever_comes_and_goes_beside_it(void **state)
{
    static struct kept kept;
    static uint32_t per_slot[PAWL_RING_SLOTS];
    struct table table;
    struct pawl_limit limit;
    char key[16];

    (void)state;
    table_begin(&table);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 10, 3600000);
    for (unsigned bundle = 0; bundle < 64; bundle += 21) {
        const uint64_t set = UINT64_C(0x00ff00ff00ff00ff);
        uint64_t cursor = 0;
        unsigned calls = 0;
        unsigned more = 0;
        enum pawl_status status = PAWL_EAGAIN;

        (void)fill(&table, &limit, WALK_KEYS, per_slot);
        while (status == PAWL_EAGAIN) {
            kept.room = kept.count + 3;
            status = pawl_limiter_collect_slots(&table.limiter, bundle, set, false, &cursor,
                                                SIZE_MAX, at(2 * MS), scratch, keep, &kept, NULL);
            for (unsigned i = 0; i < 400 && calls < 60; i++) { /* others: the index grows */
                struct pawl_bytes part;
                uint32_t slot;

                part = pawl_bytes_of(key,
                                     (size_t)snprintf(key, sizeof(key), "m%u-%u", bundle, more++));
                slot = pawl_limiter_key_slot(&table.limiter, pawl_bytes_of("ns", 2), &part, 1);
                if ((set >> (slot / 64) & 1) == 0) {
                    (void)take(&table, &limit, key, 1, MS);
                }
            }
            if (calls++ == 30) { /* and others go */
                (void)pawl_limiter_forget_slots(&table.limiter, bundle, ~set);
            }
            assert_true(calls < 5000);
        }
        assert_int_equal(kept.count, expected(per_slot, bundle, set));
        for (unsigned i = 0; i < kept.count; i++) {
            struct pawl_id id = pawl_limiter_record_id(kept.records[i]);

            assert_int_equal(id.lo % 64, bundle);
            assert_true((set >> (id.lo % PAWL_RING_SLOTS / 64) & 1) != 0);
            for (unsigned j = 0; j < i; j++) {
                assert_false(pawl_id_equal(id, pawl_limiter_record_id(kept.records[j])));
            }
        }
        kept_free(&kept);
    }
    table_end(&table);
}

static void what_is_taken_or_forgotten_is_gone_and_nothing_else_is(void **state)
{
    static struct kept kept;
    static uint32_t per_slot[PAWL_RING_SLOTS];
    struct table table;
    struct pawl_limit limit;
    struct pawl_limiter_metrics metrics;
    const uint64_t set = UINT64_C(0xf0f0f0f0f0f0f0f0);
    uint64_t cursor = 0;

    (void)state;
    table_begin(&table);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 10, 3600000);
    uint32_t all = fill(&table, &limit, WALK_KEYS, per_slot);
    size_t handed = 0;

    assert_int_equal(pawl_limiter_collect_slots(&table.limiter, 5, set, true, &cursor, SIZE_MAX,
                                                at(2 * MS), scratch, keep, &kept, &handed),
                     PAWL_OK);
    assert_int_equal(handed, expected(per_slot, 5, set));
    assert_int_equal(pawl_limiter_forget_slots(&table.limiter, 6, set), expected(per_slot, 6, set));
    pawl_limiter_metrics_get(&table.limiter, &metrics);
    assert_int_equal(metrics.keys, all - expected(per_slot, 5, set) - expected(per_slot, 6, set));
    kept_free(&kept);
    table_end(&table);
}

static void dirty_records_leave_by_slot_and_come_again_when_marked(void **state)
{
    static struct kept kept;
    static uint32_t per_slot[PAWL_RING_SLOTS];
    struct table table;
    struct pawl_limit limit;
    const uint64_t set = UINT64_C(0x5555555555555555);
    struct pawl_instant since;
    size_t handed = 0;

    (void)state;
    table_begin(&table);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 10, 3600000);
    (void)fill(&table, &limit, WALK_KEYS, per_slot);
    assert_true(pawl_limiter_bundle_unsaved(&table.limiter, 9, &since));
    assert_int_equal(since.ns, MS);
    for (unsigned i = 0; i < 2; i++) {
        kept.room = 5;
        assert_int_equal(pawl_limiter_collect_dirty_slots(&table.limiter, 9, set, SIZE_MAX,
                                                          at(2 * MS), scratch, keep, &kept,
                                                          &handed),
                         PAWL_EAGAIN);
        assert_int_equal(handed, 5);
        kept.room = 0;
        assert_int_equal(pawl_limiter_collect_dirty_slots(&table.limiter, 9, set, SIZE_MAX,
                                                          at(2 * MS), scratch, keep, &kept,
                                                          &handed),
                         PAWL_OK);
        assert_int_equal(kept.count, expected(per_slot, 9, set));
        kept_free(&kept);
        assert_int_equal(pawl_limiter_collect_dirty_slots(&table.limiter, 9, set, SIZE_MAX,
                                                          at(2 * MS), scratch, keep, &kept,
                                                          &handed),
                         PAWL_OK);
        assert_int_equal(handed, 0);
        assert_int_equal(pawl_limiter_mark_slots(&table.limiter, 9, set, at(3 * MS)),
                         expected(per_slot, 9, set));
    }
    assert_int_equal(pawl_limiter_collect_dirty_slots(&table.limiter, 9, ~set, SIZE_MAX, at(2 * MS),
                                                      scratch, keep, &kept, &handed),
                     PAWL_OK);
    assert_int_equal(handed, expected(per_slot, 9, ~set)); /* they stayed dirty all the time */
    kept_free(&kept);
    table_end(&table);
}

/* ---- threads ---- */

#define THREAD_CALLS 4000

struct caller {
    struct table *table;
    const struct pawl_limit *limit;
    unsigned number;
    unsigned admitted;
};

static void *call(void *data)
{
    struct caller *caller = data;
    char key[16];

    for (unsigned i = 0; i < THREAD_CALLS; i++) {
        struct pawl_bytes part =
            pawl_bytes_of(key, (size_t)snprintf(key, sizeof(key), "%u-%u", caller->number, i % 50));
        struct pawl_limit_item item = { caller->limit, pawl_bytes_of("ns", 2), &part, 1, 1, NULL };
        struct pawl_limit_request request = { &item,         1,          PAWL_MODE_ATOMIC,
                                              PAWL_OP_CHECK, at(MS + i), { 0 } };
        struct pawl_limit_result its;
        struct pawl_limit_outcome outcome;

        if (pawl_limiter_check(&caller->table->limiter, &request, &its, 1, &outcome) == PAWL_OK &&
            outcome.verdict == PAWL_ALLOW) {
            caller->admitted++;
        }
    }
    return NULL;
}

static void walks_beside_calls_lose_none_of_them(void **state)
{
    static struct kept kept;
    struct table table;
    struct pawl_limit limit;
    struct caller callers[2];
    pthread_t threads[2];
    uint64_t total = 0;
    char key[16];

    (void)state;
    table_begin(&table);
    limit = limit_of(&table, PAWL_ALGORITHM_SLIDING, 1000000, 3600000);
    for (unsigned i = 0; i < 2; i++) {
        callers[i] = (struct caller){ &table, &limit, i, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (unsigned i = 0; i < 300; i++) {
        uint64_t cursor = 0;

        (void)pawl_limiter_mark_slots(&table.limiter, i % 64, UINT64_MAX, at(MS));
        assert_int_equal(pawl_limiter_collect_slots(&table.limiter, i % 64, UINT64_MAX, false,
                                                    &cursor, SIZE_MAX, at(MS), scratch, keep, &kept,
                                                    NULL),
                         PAWL_OK);
        kept_free(&kept);
        assert_int_equal(pawl_limiter_collect_dirty_slots(&table.limiter, i % 64, UINT64_MAX,
                                                          SIZE_MAX, at(MS), scratch, keep, &kept,
                                                          NULL),
                         PAWL_OK);
        kept_free(&kept);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(callers[i].admitted, THREAD_CALLS);
        for (unsigned j = 0; j < 50; j++) {
            (void)snprintf(key, sizeof(key), "%u-%u", i, j);
            total += count_of(&table, &limit, key, 2 * MS);
        }
    }
    assert_int_equal(total, 2 * THREAD_CALLS);
    table_end(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined_histories_count_as_the_list_of_all_events),
        cmocka_unit_test(a_record_with_nothing_in_it_changes_no_count),
        cmocka_unit_test(a_tombstone_of_a_peer_reaches_the_saver_and_one_of_the_saver_does_not),
        cmocka_unit_test(without_memory_a_join_charges_what_comes_to_what_is_there),
        cmocka_unit_test(more_events_than_a_record_holds_merge_and_are_never_less),
        cmocka_unit_test(levels_of_gcra_add),
        cmocka_unit_test(calendar_counts_add_while_both_periods_may_run),
        cmocka_unit_test(slots_of_concurrency_are_united_by_their_handles),
        cmocka_unit_test(records_of_two_algorithms_are_used_up_together),
        cmocka_unit_test(all_rates_and_cells_of_a_key_have_its_slot),
        cmocka_unit_test(a_cell_lies_in_the_slot_of_its_keys),
        cmocka_unit_test(a_cluster_has_as_many_shards_as_bundles),
        cmocka_unit_test(a_walk_meets_each_record_once_whatever_comes_and_goes_beside_it),
        cmocka_unit_test(what_is_taken_or_forgotten_is_gone_and_nothing_else_is),
        cmocka_unit_test(dirty_records_leave_by_slot_and_come_again_when_marked),
        cmocka_unit_test(walks_beside_calls_lose_none_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
