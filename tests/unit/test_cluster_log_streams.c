/* The log's streams: trimming, holes, forgers, journals, cancels, digests, and what it costs. */
#include "unit/log_rig.h"

#include <stdio.h>
#include <time.h>

static struct rig_stream *stream_of(struct rig *rig, unsigned number)
{
    return rig_stream(&rig->engine, &rig->nodes[number].self, false);
}

/* ---- trimming ------------------------------------------------------------------------------- */

static void what_has_expired_is_forgotten_and_trimmed(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id kept;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        (void)rig_add_until(rig, 0, "short", RIG_SLOW_S + 50, false);
    }
    kept = rig_add(rig, 0, "long");
    rig_run(rig, 2000);
    rig->slow_s += 49;
    rig_run(rig, 15000);
    assert_int_equal(stream_of(rig, 0)->count, 201); /* not a second early */
    rig->slow_s += 2;
    rig_run(rig, 15000);
    assert_int_equal(stream_of(rig, 0)->count, 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rig->nodes[i].log.stats.facts, 1);
        assert_true(rig_has(rig, i, &kept));
    }
    struct pawl_fact_id next = rig_add(rig, 0, "next");

    assert_int_equal(next.sequence, 202);
    rig_start(rig, 2, 1); /* who comes now begins behind what was trimmed */
    rig_up(&rig->nodes[2], 1);
    rig_run(rig, 2000);
    assert_int_equal(rig->nodes[2].heard_count, 2);
    assert_int_equal(rig->nodes[2].log.stats.hole_reads, 0);
    assert_true(pawl_log_synced_ms(&rig->nodes[2].log) + 1500 > rig->now_ms);
    rig_free(rig);
}

static void a_survivor_keeps_its_id_under_a_new_position(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id survivor = rig_add(rig, 0, "survivor");

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        (void)rig_add_until(rig, 0, "short", RIG_SLOW_S + 50, false);
    }
    rig_run(rig, 2000);
    rig->slow_s += 60;
    rig_run(rig, 30000);
    assert_int_equal(rig->nodes[0].log.stats.survivors, 1);
    assert_int_equal(stream_of(rig, 0)->count, 1);
    assert_int_equal(stream_of(rig, 0)->entries[0].position, 302);
    assert_true(rig_engine_has(rig, &survivor));
    assert_int_equal(rig->nodes[1].heard_count, 301); /* told once */
    assert_int_equal(pawl_log_next_id(&rig->nodes[0].log).sequence, 303);
    rig_start(rig, 2, 1);
    rig_up(&rig->nodes[2], 1);
    rig_run(rig, 2000);
    assert_true(rig_has(rig, 2, &survivor));
    rig_free(rig);
}

static void a_dead_origins_stream_ends_and_its_facts_live_on(void **state)
{
    struct rig *rig = rig_new(3);
    struct pawl_fact_id id = rig_add(rig, 2, "of the dead");

    (void)state;
    rig_run(rig, 2000);
    rig_kill(rig, 2);
    rig_run(rig, PAWL_LOG_DEAD_MS - 5000);
    assert_int_equal(rig_stream(&rig->engine, &id.origin, false)->count, 1);
    rig_run(rig, 80000);
    assert_null(rig_stream(&rig->engine, &id.origin, false)); /* dropped ... */
    assert_true(rig_engine_has(rig, &id));                    /* ... and appended to another */
    assert_int_equal(rig->nodes[0].log.stats.survivors, 1);
    assert_int_equal(rig->nodes[1].log.stats.survivors, 0); /* one member does it */
    rig_run(rig, 80000);
    assert_null(rig_stream(&rig->engine, &id.origin, false));
    assert_int_equal(rig->nodes[1].log.stats.origins, 2);
    assert_true(rig_has(rig, 1, &id));
    rig_free(rig);
}

/* ---- foreign hands -------------------------------------------------------------------------- */

static void what_is_forged_is_void(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact fact;
    uint8_t bytes[PAWL_LOG_ENTRY_MAX];

    (void)state;
    (void)rig_add(rig, 0, "1");
    rig_run(rig, 1200);
    struct rig_stream *stream = stream_of(rig, 0);
    struct pawl_bytes real = { stream->entries[0].bytes, stream->entries[0].size };

    rig_stream_put(stream, 2, real); /* sealed, but for another position */
    fact = rig_fact((struct pawl_fact_id){ rig->nodes[0].self, 3 }, "x", RIG_SLOW_S + 9);
    struct pawl_bytes body = rig_bytes(&fact);

    bytes[0] = 1;
    memcpy(bytes + 1, body.data, body.size);
    memset(bytes + 1 + body.size, 0, 8);
    rig_stream_put(stream, 3, pawl_bytes_of(bytes, 1 + body.size + 8));
    rig_run(rig, 3000);
    assert_int_equal(rig->nodes[1].heard_count, 1);
    assert_true(rig->nodes[1].log.stats.forged >= 2);
    assert_true(rig->nodes[0].log.stats.conflicts >= 2); /* its origin notices */
    struct pawl_fact_id next = rig_add(rig, 0, "4");     /* and goes on behind them */

    assert_int_equal(next.sequence, 4);
    rig_run(rig, 3000);
    assert_true(rig_has(rig, 1, &next));
    assert_true(pawl_log_synced_ms(&rig->nodes[1].log) + 1500 > rig->now_ms);
    rig_free(rig);
}

static void an_overwritten_entry_is_said_again(void **state)
{
    struct rig *rig = rig_new(1);

    (void)state;
    rig_stream_put(rig_stream(&rig->engine, &rig->nodes[0].self, true), 1,
                   pawl_bytes_of("junk", 4));
    rig->no_announcements = true;
    struct pawl_fact_id id = rig_add(rig, 0, "mine"); /* "there already", says the engine */

    rig_run(rig, 50);
    rig->no_announcements = false;
    rig_run(rig, 12000);
    assert_true(rig_engine_has(rig, &id));
    assert_true(rig->nodes[0].log.stats.vanished + rig->nodes[0].log.stats.conflicts > 0);
    rig_free(rig);
}

static void a_hole_is_read_again_and_not_stepped_over(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id ids[3];

    (void)state;
    rig_run(rig, 1200);
    rig->nodes[1].cut = true;
    for (unsigned i = 0; i < 3; i++) {
        ids[i] = rig_add(rig, 0, "h");
    }
    rig_run(rig, 50);
    struct rig_stream *stream = stream_of(rig, 0);
    struct rig_entry entry = stream->entries[1];

    stream->entries[1] = stream->entries[2]; /* 1, 3 */
    stream->count = 2;
    rig->nodes[1].cut = false;
    uint64_t from_ms = rig->now_ms;

    rig_run(rig, 5000);
    assert_true(rig_has(rig, 1, &ids[2])); /* what is there acts ... */
    assert_false(rig_has(rig, 1, &ids[1]));
    assert_true(rig->nodes[1].log.stats.hole_reads > 2);
    assert_int_equal(rig->nodes[1].log.stats.holes, 1);
    assert_true(pawl_log_synced_ms(&rig->nodes[1].log) < from_ms + 20); /* ... but is not all */
    stream->entries[2] = stream->entries[1];
    stream->entries[1] = entry;
    stream->count = 3;
    rig_run(rig, 3000);
    assert_true(rig_has(rig, 1, &ids[1]));
    assert_true(pawl_log_synced_ms(&rig->nodes[1].log) + 1500 > rig->now_ms);
    rig_free(rig);
}

static void a_hole_that_stays_is_given_up_with_an_alarm(void **state)
{
    struct rig *rig = rig_new(2);

    (void)state;
    rig->nodes[1].cut = true;
    for (unsigned i = 0; i < 3; i++) {
        (void)rig_add(rig, 0, "h");
    }
    rig_run(rig, 50);
    rig_stream_cut(stream_of(rig, 0), 1, 2);
    rig->nodes[1].cut = false;
    rig_run(rig, PAWL_LOG_HOLE_MS + 5000);
    assert_int_equal(rig->nodes[1].log.stats.holes_given_up, 1);
    assert_true(pawl_log_synced_ms(&rig->nodes[1].log) + 1500 > rig->now_ms);
    rig_free(rig);
}

/* ---- journals ------------------------------------------------------------------------------- */

static void a_journals_facts_go_out_unless_a_stream_has_them(void **state)
{
    struct rig *rig = rig_new(1);
    struct pawl_fact_id known = rig_add(rig, 0, "known");
    struct pawl_fact fact =
        rig_fact((struct pawl_fact_id){ rig_origin(9, 1), 17 }, "old", RIG_SLOW_S + 5000);
    struct pawl_fact again = rig_fact(known, "known", RIG_SLOW_S + 86400);

    (void)state;
    rig_run(rig, 1500);
    struct pawl_facts_log_options none = { .keys_count = 0 };

    rig_start_with(rig, 1, 1, &none);
    assert_int_equal(pawl_log_load(&rig->nodes[1].log, rig_bytes(&fact), rig->now_ms), PAWL_OK);
    assert_int_equal(pawl_log_load(&rig->nodes[1].log, rig_bytes(&again), rig->now_ms), PAWL_OK);
    assert_int_equal(rig->nodes[1].heard[0].source, PAWL_LOG_SOURCE_JOURNAL);
    rig_members(rig);
    rig_run(rig, 3000);
    assert_false(rig_has(rig, 0, &fact.id)); /* the engine is away */
    rig_up(&rig->nodes[1], 1);
    rig_run(rig, 8000);
    assert_true(rig_has(rig, 0, &fact.id));
    assert_int_equal(rig->nodes[1].log.stats.adopted, 1);
    assert_int_equal(stream_of(rig, 1)->count, 1);
    assert_int_equal(rig->nodes[1].heard_count, 2);
    rig_free(rig);
}

/* ---- cancels -------------------------------------------------------------------------------- */

static void a_cancel_works_before_and_after_its_fact(void **state)
{
    struct rig *rig = rig_new(2);
    uint32_t canceled = 0;
    struct pawl_fact_id weak = rig_add_until(rig, 0, "tok", RIG_SLOW_S + 100, false);
    struct pawl_fact_id strong = rig_add_until(rig, 0, "tok", RIG_SLOW_S + 200, false);
    bool is_canceled = false;

    (void)state;
    (void)rig_add(rig, 0, "another");
    rig_run(rig, 100);
    (void)rig_cancel(rig, 1, &strong, &canceled);
    assert_int_equal(canceled, 1);
    assert_int_equal(rig->nodes[1].remaining_until_s, RIG_SLOW_S + 100);
    struct pawl_fact_id twice = rig_cancel(rig, 1, &strong, &canceled);

    assert_int_equal(canceled, 0);
    rig_run(rig, 100);
    assert_int_equal(rig->nodes[0].canceled, 1);
    assert_int_equal(rig->nodes[0].remaining_until_s, RIG_SLOW_S + 100);
    (void)rig_cancel(rig, 0, &weak, &canceled);
    assert_int_equal(rig->nodes[0].remaining_until_s, 0);
    rig_run(rig, 100);
    assert_int_equal(rig->nodes[1].canceled, 2);
    /* Cancels by the first stream that a new node reads, facts by the second. */
    struct rig_stream *facts = stream_of(rig, 0);
    struct rig_stream *cancels = stream_of(rig, 1);

    for (unsigned i = 0; i < RIG_ORIGINS; i++) {
        rig->engine.streams[i] = i == 0 ? cancels : i == 1 ? facts : NULL;
    }
    rig_kill(rig, 0);
    rig_start(rig, 0, 2);
    rig_up(&rig->nodes[0], 1);
    rig_run(rig, 1500);
    assert_true(rig_has(rig, 0, &twice));
    assert_true(pawl_log_has(&rig->nodes[0].log, &strong, &is_canceled) && is_canceled);
    assert_true(pawl_log_has(&rig->nodes[0].log, &weak, &is_canceled) && is_canceled);
    unsigned counting = 0;

    for (unsigned i = 0; i < rig->nodes[0].heard_count; i++) {
        counting += rig->nodes[0].heard[i].counts;
    }
    assert_int_equal(rig->nodes[0].heard_count, 6);
    assert_int_equal(counting - rig->nodes[0].canceled, 1); /* "another" */
    rig_free(rig);
}

/* A node that starts reads all cancels of the fleet, beside all its facts. */
static void a_cancel_looks_at_what_is_about_the_same_and_not_at_all_there_is(void **state)
{
    enum {
        FACTS = 3000,
        CANCELS = 500
    };
    struct rig *rig = rig_new(1);
    struct pawl_fact_id ids[CANCELS];
    uint32_t canceled;

    (void)state;
    for (unsigned i = 0; i < FACTS; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "jti-%u", i);
        struct pawl_fact_id id = rig_add(rig, 0, name);

        if (i < CANCELS) {
            ids[i] = id;
        }
    }
    for (unsigned i = 0; i < CANCELS; i++) {
        (void)rig_cancel(rig, 0, &ids[i], &canceled);
        assert_int_equal(canceled, 1);
        assert_int_equal(rig->nodes[0].remaining_until_s, 0);
    }
    assert_in_range(rig->nodes[0].log.stats.cancel_looks, CANCELS, CANCELS * 10);
    struct pawl_fact_id again = rig_add(rig, 0, "jti-7"); /* comes after the index was made */
    struct pawl_fact_id once_more = rig_add(rig, 0, "jti-7");

    (void)rig_cancel(rig, 0, &again, &canceled);
    assert_true(rig->nodes[0].remaining_until_s > 0);
    (void)rig_cancel(rig, 0, &once_more, &canceled);
    assert_int_equal(rig->nodes[0].remaining_until_s, 0);
    rig_free(rig);
}

/* Each allocation of a cancel fails in turn: it is refused whole, or told right. */
static void a_cancel_without_memory_is_refused_or_told_right(void **state)
{
    unsigned refused = 0;

    (void)state;
    for (unsigned good = 0; good < 12; good++) {
        struct rig *rig = rig_new(1);
        struct pawl_fact_id first = rig_add(rig, 0, "same");
        struct pawl_facts_log *log = &rig->nodes[0].log;
        uint8_t named[PAWL_FACT_ID_BYTES];
        uint64_t position;
        uint32_t canceled = 0;

        (void)rig_add(rig, 0, "same"); /* which still stands afterwards */
        for (unsigned i = 0; i < 40; i++) {
            char name[16];

            (void)snprintf(name, sizeof(name), "jti-%u", i);
            (void)rig_add(rig, 0, name);
        }
        pawl_fact_id_write(named, &first);
        struct pawl_fact cancel = { .id = pawl_log_next_id(log),
                                    .kind = PAWL_FACT_CANCEL,
                                    .ns = pawl_bytes_of("default", 7),
                                    .at_ms = RIG_SLOW_S * UINT64_C(1000),
                                    .until_s = RIG_SLOW_S + 90000,
                                    .cancels = pawl_bytes_of(named, sizeof(named)) };

        rig_memory_ends = true;
        rig_allocations = good;
        enum pawl_status status =
            pawl_log_add(log, rig_bytes(&cancel), false, rig->now_ms, &position, &canceled);

        rig_memory_ends = false;
        if (status != PAWL_OK) {
            assert_int_equal(status, PAWL_ENOMEM);
            assert_int_equal(rig->nodes[0].canceled, 0);
            refused++;
        } else {
            assert_int_equal(canceled, 1);
            assert_true(rig->nodes[0].remaining_until_s > 0);
        }
        rig_free(rig);
    }
    assert_in_range(refused, 1, 11);
}

static void an_expired_cancel_leaves_the_table_whole(void **state)
{
    struct rig *rig = rig_new(1);
    struct pawl_fact_id ids[60];
    bool is_canceled;

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        ids[i] = rig_add_until(rig, 0, "t", RIG_SLOW_S + 1000000, false);
    }
    for (unsigned i = 0; i < 60; i++) {
        uint32_t canceled;

        (void)rig_cancel(rig, 0, &ids[i], &canceled);
        assert_int_equal(canceled, 1);
    }
    rig->slow_s += 90001; /* the cancels expire, what they name stays canceled */
    rig_run(rig, 8000);
    assert_int_equal(rig->nodes[0].log.stats.facts, 60);
    for (unsigned i = 0; i < 60; i++) {
        assert_true(pawl_log_has(&rig->nodes[0].log, &ids[i], &is_canceled) && is_canceled);
    }
    rig_free(rig);
}

/* ---- following ------------------------------------------------------------------------------ */

struct followed {
    struct pawl_fact_id ids[64];
    unsigned count, max;
};

static bool follow(void *self, const struct pawl_fact *fact)
{
    struct followed *f = self;

    if (f->count == f->max) {
        return false;
    }
    f->ids[f->count++] = fact->id;
    return true;
}

static void facts_are_followed_in_order_of_arrival(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id ids[6];
    struct followed got = { .max = 4 };
    bool more = false;

    (void)state;
    assert_int_equal(pawl_log_latest(&rig->nodes[0].log).sequence, 0);
    for (unsigned i = 0; i < 6; i++) {
        ids[i] = rig_add(rig, i % 2, "f");
        rig_run(rig, 50);
    }
    const struct pawl_facts_log *log = &rig->nodes[0].log;

    assert_int_equal(pawl_log_follow(log, NULL, follow, &got, &more), PAWL_OK);
    assert_true(more);
    assert_int_equal(got.count, 4);
    got.max = 64;
    assert_int_equal(pawl_log_follow(log, &got.ids[3], follow, &got, &more), PAWL_OK);
    assert_false(more);
    assert_int_equal(got.count, 6);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pawl_fact_id_compare(&got.ids[i], &ids[i]), 0);
    }
    struct pawl_fact_id last = pawl_log_latest(log);

    assert_int_equal(pawl_fact_id_compare(&last, &ids[5]), 0);
    struct pawl_fact_id unknown = { .sequence = 99 };

    assert_int_equal(pawl_log_follow(log, &unknown, follow, &got, &more), PAWL_ENOENT);
    rig_free(rig);
}

/* ---- digests -------------------------------------------------------------------------------- */

static bool compare(struct rig *rig, unsigned a, unsigned b)
{
    uint8_t digest[PAWL_LOG_DIGEST_BYTES];
    uint8_t own[PAWL_LOG_DIGEST_BYTES];
    struct pawl_member_id member = pawl_member_of(rig->nodes[b].self);
    size_t size = pawl_log_digest(&rig->nodes[b].log, digest, rig->now_ms);

    assert_true(size > 0 && size <= 256);
    assert_true(pawl_log_digest(&rig->nodes[a].log, own, rig->now_ms) > 0);
    return pawl_log_compare(&rig->nodes[a].log, &member, pawl_bytes_of(digest, size), rig->now_ms);
}

static void digests_find_what_positions_do_not_show(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact fact =
        rig_fact((struct pawl_fact_id){ rig_origin(9, 1), 3 }, "odd", RIG_SLOW_S + 500000);

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        (void)rig_add_until(rig, i % 2, "d", RIG_SLOW_S + 400000 + i * 10000, false);
    }
    rig_run(rig, 130000);
    assert_true(compare(rig, 0, 1));
    /* A fact that no stream brings, and that is not published either while the engine is away. */
    rig_down(&rig->nodes[1]);
    assert_int_equal(pawl_log_load(&rig->nodes[1].log, rig_bytes(&fact), rig->now_ms), PAWL_OK);
    rig_run(rig, 1000);
    rig->no_announcements = true; /* so that it does not get to publish it */
    struct pawl_facts_log *log = &rig->nodes[1].log;
    struct pawl_log_tops tops = { NULL, 0, RIG_SLOW_S * UINT64_C(1000) + rig->now_ms, rig->now_ms };
    struct pawl_epoch epoch = { { 1 } };

    for (unsigned minute = 0; minute < 3; minute++) {
        rig->now_ms += 60000;
        tops.engine_ms += 60000;
        tops.sent_ms = rig->now_ms;
        pawl_log_on_up(log, &epoch, rig->now_ms);
        pawl_log_on_tops(log, &tops, rig->now_ms);
        rig_drop_commands(&rig->nodes[1]);
        assert_int_equal(rig->nodes[0].log.stats.rereads, 0);
        assert_false(compare(rig, 0, 1));
    }
    assert_int_equal(rig->nodes[0].log.stats.rereads, 1);
    rig_free(rig);
}

/* What the first node misses in the middle of its memory comes by reading all again. */
static void what_vanished_from_a_stream_is_published_again(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id ids[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        ids[i] = rig_add(rig, 0, "v");
    }
    rig_run(rig, 2000);
    rig_stream_cut(stream_of(rig, 0), 1, 2); /* a hand from outside */
    rig_kill(rig, 1);
    rig_start(rig, 1, 2);
    rig_up(&rig->nodes[1], 1);
    rig_run(rig, 65000); /* it gives the hole up; digests differ from now on */
    assert_false(rig_has(rig, 1, &ids[1]));
    for (unsigned minute = 0; minute < 5; minute++) {
        rig_run(rig, 60000);
        (void)compare(rig, 0, 1);
        (void)compare(rig, 1, 0);
    }
    rig_run(rig, 20000);
    assert_int_equal(rig->nodes[0].log.stats.rereads, 1);
    assert_int_equal(rig->nodes[0].log.stats.vanished, 1);
    assert_true(rig_has(rig, 1, &ids[1]));
    rig_free(rig);
}

/* ---- cost ----------------------------------------------------------------------------------- */

static void memory_that_ends_costs_time_and_no_facts(void **state)
{
    (void)state;
    for (unsigned good = 0; good < 60; good++) {
        struct rig *rig = rig_new(2);
        struct pawl_fact_id ids[40];
        struct pawl_fact own;
        uint64_t position;

        for (unsigned i = 0; i < 40; i++) {
            ids[i] = rig_add_until(rig, 0, "m", RIG_SLOW_S + 500, i % 4 == 0);
            rig_run(rig, i == 20 ? 2000 : 0);
        }
        rig_run(rig, 10); /* appended, not all read */
        rig_allocations = good;
        rig_start(rig, 2, 1);
        rig_memory_ends = true;
        rig_up(&rig->nodes[2], 1);
        rig_run(rig, 3000);
        struct pawl_facts_log *log = &rig->nodes[1].log;

        own = rig_fact(pawl_log_next_id(log), "own", RIG_SLOW_S + 5);
        enum pawl_status status =
            pawl_log_add(log, rig_bytes(&own), false, rig->now_ms, &position, NULL);

        assert_true(status == PAWL_OK || status == PAWL_ENOMEM);
        assert_int_equal(rig_has(rig, 1, &own.id), status == PAWL_OK);
        rig_memory_ends = false;
        rig_run(rig, 5000);
        for (unsigned i = 0; i < 40; i++) {
            assert_true(rig_has(rig, 1, &ids[i]));
            assert_true(rig_has(rig, 2, &ids[i]));
        }
        assert_true(pawl_log_synced_ms(&rig->nodes[2].log) + 1500 > rig->now_ms);
        rig_free(rig);
    }
}

static void many_facts_load_fast_and_lie_close(void **state)
{
    struct rig *rig = rig_new(1);
    struct pawl_facts_log_options none = { .keys_count = 0 };
    struct pawl_facts_log *log = &rig->nodes[1].log;
    struct timespec from;
    struct timespec to;
    uint64_t bytes = 0;
    const char *wanted = getenv("PAWL_LOG_FACTS");
    unsigned count = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : 4000;

    (void)state;
    count += count == 0;
    (void)rig_start_with(rig, 1, 1, &none);
    rig->nodes[1].deaf = true;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < count; i++) {
        char jti[40];

        (void)snprintf(jti, sizeof(jti), "0190b5a2-6a01-7000-8000-%012u", i);
        struct pawl_fact fact =
            rig_fact((struct pawl_fact_id){ rig_origin(9, 1), i + 1 }, jti, RIG_SLOW_S + i);
        struct pawl_bytes all = rig_bytes(&fact);

        bytes += all.size;
        assert_int_equal(pawl_log_load(log, all, rig->now_ms), PAWL_OK);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    uint64_t beside = (log->stats.memory_bytes - bytes) / count;

    print_message("%u facts of %u bytes: %u bytes more each, %.2f s\n", count,
                  (unsigned)(bytes / count), (unsigned)beside,
                  (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    assert_true(beside <= 64);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_expired_is_forgotten_and_trimmed),
        cmocka_unit_test(a_survivor_keeps_its_id_under_a_new_position),
        cmocka_unit_test(a_dead_origins_stream_ends_and_its_facts_live_on),
        cmocka_unit_test(what_is_forged_is_void),
        cmocka_unit_test(an_overwritten_entry_is_said_again),
        cmocka_unit_test(a_hole_is_read_again_and_not_stepped_over),
        cmocka_unit_test(a_hole_that_stays_is_given_up_with_an_alarm),
        cmocka_unit_test(a_journals_facts_go_out_unless_a_stream_has_them),
        cmocka_unit_test(a_cancel_works_before_and_after_its_fact),
        cmocka_unit_test(an_expired_cancel_leaves_the_table_whole),
        cmocka_unit_test(a_cancel_without_memory_is_refused_or_told_right),
        cmocka_unit_test(a_cancel_looks_at_what_is_about_the_same_and_not_at_all_there_is),
        cmocka_unit_test(facts_are_followed_in_order_of_arrival),
        cmocka_unit_test(digests_find_what_positions_do_not_show),
        cmocka_unit_test(what_vanished_from_a_stream_is_published_again),
        cmocka_unit_test(memory_that_ends_costs_time_and_no_facts),
        cmocka_unit_test(many_facts_load_fast_and_lie_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
