/* The log of a fleet: what was taken once is nowhere lost, whatever the engine forgets. */
#include "unit/log_rig.h"

#include <stdio.h>

static void each_has(struct rig *rig, const struct pawl_fact_id *id)
{
    for (unsigned i = 0; i < RIG_NODES; i++) {
        assert_true(!rig->nodes[i].alive || rig_has(rig, i, id));
    }
}

static void each_is_synced(struct rig *rig)
{
    for (unsigned i = 0; i < RIG_NODES; i++) {
        if (rig->nodes[i].alive) {
            assert_true(pawl_log_synced_ms(&rig->nodes[i].log) + 1500 > rig->now_ms);
        }
    }
}

static void a_fact_of_one_is_told_once_by_each(void **state)
{
    struct rig *rig = rig_new(3);
    struct pawl_fact_id id = rig_add(rig, 0, "one");

    (void)state;
    assert_int_equal(id.sequence, 1);
    assert_int_equal(rig->nodes[0].heard_count, 1); /* at once */
    assert_int_equal(rig->nodes[0].log.stats.facts, 1);
    assert_true(rig->nodes[0].log.stats.origins >= 1);
    assert_int_equal(rig->nodes[0].heard[0].source, PAWL_LOG_SOURCE_OWN);
    rig_run(rig, 50);
    each_has(rig, &id);
    rig_run(rig, 3000);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig->nodes[i].heard_count, 1);
        assert_true(rig->nodes[i].heard[0].counts);
    }
    assert_int_equal(pawl_log_appended(&rig->nodes[0].log), 1);
    each_is_synced(rig);
    rig_free(rig);
}

static void nothing_goes_out_before_the_tops_are_known(void **state)
{
    struct rig *rig = rig_new(1);

    (void)state;
    rig->no_announcements = true;
    rig_up_all(rig, 2);
    (void)rig_add(rig, 0, "early");
    rig_run(rig, 2000);
    assert_int_equal(rig->engine.appends, 0);
    rig->no_announcements = false;
    rig_run(rig, 100);
    assert_int_equal(rig->engine.appends, 1);
    rig_free(rig);
}

/* E1: acknowledged entries are gone with the primary; the follower's cursor is ahead of the top. */
static void a_lost_tail_is_appended_again_and_what_follows_is_read(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id ids[20];
    char jti[16];

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(jti, sizeof(jti), "t%u", i);
        ids[i] = rig_add(rig, 0, jti);
    }
    rig_run(rig, 1500);
    rig_lose_tail(rig, &rig->nodes[0].self, 10);
    rig_up_all(rig, 2);
    struct pawl_fact_id after = rig_add(rig, 0, "after");

    rig_run(rig, 2500);
    each_has(rig, &after);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(rig_engine_has(rig, &ids[i]));
    }
    assert_true(rig->nodes[0].log.stats.reasserted >= 10);
    assert_int_equal(rig->nodes[0].log.stats.lost_tail, 10);
    rig_start(rig, 2, 1); /* who comes now finds all of it */
    rig_up(&rig->nodes[2], 2);
    rig_run(rig, 2000);
    each_has(rig, &ids[0]);
    each_has(rig, &ids[19]);
    each_has(rig, &after);
    each_is_synced(rig);
    assert_int_equal(rig->nodes[1].log.stats.holes, 0);
    rig_free(rig);
}

/* E9: the origin dies right after its last entry was read by others, and the engine loses it. */
static void a_dead_origins_tail_is_appended_again_by_others(void **state)
{
    struct rig *rig = rig_new(3);
    struct pawl_fact_id ids[5];

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        ids[i] = rig_add(rig, 0, "tail");
    }
    rig_run(rig, 1500);
    rig_kill(rig, 0);
    rig_lose_tail(rig, &ids[0].origin, 3);
    rig_up_all(rig, 2);
    rig_run(rig, 2000);
    rig_kill(rig, 1);
    rig_start(rig, 3, 1);
    rig_kill(rig, 2); /* nobody is left who held it */
    rig_up(&rig->nodes[3], 2);
    rig_run(rig, 2000);
    for (unsigned i = 0; i < 5; i++) {
        each_has(rig, &ids[i]);
    }
    rig_free(rig);
}

static uint32_t turn(uint32_t *state, uint32_t below)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % below;
}

/* E7: ten failovers that each lose ends of streams, under load, a node killed at some of them. */
static void ten_lossy_failovers_lose_nothing_that_was_taken(void **state)
{
    static struct pawl_fact_id ids[4000];
    struct rig *rig = rig_new(3);
    uint32_t random = 4711;
    unsigned count = 0;
    unsigned life = 1;
    char jti[16];

    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 200; i++) {
            (void)snprintf(jti, sizeof(jti), "%u", count);
            ids[count++] = rig_add(rig, turn(&random, 3), jti);
            rig_run(rig, turn(&random, 3) * 10);
        }
        rig_run(rig, 100); /* others have read it: that is what the level asks for */
        for (unsigned i = 0; i < RIG_ORIGINS; i++) {
            struct rig_stream *stream = rig->engine.streams[i];

            if (stream != NULL && stream->count > 1) {
                rig_lose_tail(rig, &stream->origin, turn(&random, stream->count));
            }
        }
        if (round % 3 == 2) {
            unsigned victim = turn(&random, 3);

            rig_kill(rig, victim);
            rig_start(rig, victim, ++life);
        }
        rig_up_all(rig, (uint8_t)(round + 2));
        rig_run(rig, 300);
    }
    rig_run(rig, 3000);
    for (unsigned i = 0; i < count; i++) {
        each_has(rig, &ids[i]);
        assert_true(rig_engine_has(rig, &ids[i]));
    }
    each_is_synced(rig);
    assert_int_equal(rig->nodes[0].log.stats.conflicts, 0);
    rig_free(rig);
}

static void an_emptied_engine_is_filled_again(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id dead = rig_add_until(rig, 0, "dead", RIG_SLOW_S + 10, false);
    struct pawl_fact_id first = rig_add(rig, 0, "a");
    struct pawl_fact_id gone = rig_add_until(rig, 0, "gone", RIG_SLOW_S + 10, false);
    struct pawl_fact_id second = rig_add(rig, 0, "b");
    struct pawl_fact_id other = rig_add(rig, 1, "c");

    (void)state;
    rig_run(rig, 1500);
    rig->slow_s += 100; /* "dead" and "gone" expire */
    rig_run(rig, 8000);
    assert_false(rig_has(rig, 1, &gone));
    rig_flush_all(rig); /* the same epoch: FLUSHALL */
    rig_run(rig, 2500);
    assert_true(rig_engine_has(rig, &first) && rig_engine_has(rig, &second));
    assert_true(rig_engine_has(rig, &other));
    assert_false(rig_engine_has(rig, &dead));
    rig_start(rig, 2, 1); /* a follower steps over what was dead */
    rig_up(&rig->nodes[2], 1);
    rig_run(rig, 2500);
    each_has(rig, &first);
    each_has(rig, &second);
    each_is_synced(rig);
    assert_int_equal(rig->nodes[2].log.stats.holes, 0);
    assert_int_equal(rig->nodes[2].log.stats.hole_reads, 0);
    rig_free(rig);
}

static void what_is_taken_while_the_engine_is_away_follows(void **state)
{
    struct rig *rig = rig_new(2);

    (void)state;
    rig_down(&rig->nodes[0]);
    struct pawl_fact_id id = rig_add(rig, 0, "away");

    rig_run(rig, 2000);
    assert_int_equal(pawl_log_appended(&rig->nodes[0].log), 0);
    assert_false(rig_has(rig, 1, &id));
    rig_up(&rig->nodes[0], 1);
    rig_run(rig, 1000);
    each_has(rig, &id);
    assert_int_equal(pawl_log_appended(&rig->nodes[0].log), 1);
    rig_free(rig);
}

static void a_refused_entry_is_never_followed_by_the_next(void **state)
{
    struct rig *rig = rig_new(2);
    struct pawl_fact_id ids[6];

    (void)state;
    (void)rig_add(rig, 0, "0");
    rig_run(rig, 50);
    rig->engine.fail_appends = 1; /* of several on their way */
    for (unsigned i = 0; i < 6; i++) {
        ids[i] = rig_add(rig, 0, "x");
    }
    rig_run(rig, 20);
    assert_int_equal(rig_stream(&rig->engine, &rig->nodes[0].self, false)->top, 1);
    rig_run(rig, 3000);
    for (unsigned i = 0; i < 6; i++) {
        each_has(rig, &ids[i]);
    }
    rig->engine.lose_replies = 2;
    struct pawl_fact_id unknown = rig_add(rig, 0, "u");

    rig_run(rig, 3000);
    each_has(rig, &unknown);
    assert_int_equal(pawl_log_appended(&rig->nodes[0].log), 8);
    assert_int_equal(rig_stream(&rig->engine, &rig->nodes[0].self, false)->count, 8);
    assert_int_equal(rig->nodes[1].log.stats.hole_reads, 0);
    rig_free(rig);
}

/* R3: only an announcement, and only when all that it told of is applied. */
static void freshness_comes_from_announcements_alone(void **state)
{
    struct rig *rig = rig_new(2);

    (void)state;
    rig_run(rig, 1200);
    uint64_t synced_ms = pawl_log_synced_ms(&rig->nodes[1].log);

    assert_true(synced_ms != 0);
    rig->no_announcements = true;
    for (unsigned i = 0; i < 20; i++) {
        (void)rig_add(rig, 0, "more");
        rig_run(rig, 200); /* it reads them all ... */
    }
    assert_int_equal(rig->nodes[1].heard_count, 20);
    assert_int_equal(pawl_log_synced_ms(&rig->nodes[1].log), synced_ms); /* ... and grows old */
    rig_free(rig);
}

/* R6: not before the tops of all streams are applied. */
static void a_node_that_has_just_come_is_not_synced(void **state)
{
    struct rig *rig = rig_new(1);
    char jti[16];

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(jti, sizeof(jti), "%u", i);
        (void)rig_add(rig, 0, jti);
        rig_run(rig, i % 8 == 0 ? 10 : 0);
    }
    rig_run(rig, 500);
    rig_start(rig, 1, 1);
    assert_int_equal(pawl_log_synced_ms(&rig->nodes[1].log), 0);
    rig_up(&rig->nodes[1], 1);
    uint64_t up_ms = rig->now_ms;

    while (rig->nodes[1].heard_count < 2000) {
        assert_int_equal(pawl_log_synced_ms(&rig->nodes[1].log), 0);
        rig_run(rig, 10);
        assert_true(rig->now_ms < up_ms + 5000);
    }
    assert_true(pawl_log_synced_ms(&rig->nodes[1].log) >= up_ms);
    rig_free(rig);
}

/* R4, R7: whatever order they run in, and however late, all end with the same. */
static void the_order_of_delivery_does_not_matter(void **state)
{
    (void)state;
    for (unsigned turn_of = 0; turn_of < 8; turn_of++) {
        struct rig *rig = rig_new(3);
        struct pawl_fact_id ids[30];
        uint32_t random = turn_of * 977 + 1;

        rig->reverse = turn_of % 2 == 1;
        for (unsigned i = 0; i < 30; i++) {
            unsigned number = turn(&random, 3);

            ids[i] = rig_add(rig, number, i % 3 == 0 ? "same" : "other");
            if (turn(&random, 4) == 0) {
                rig->nodes[turn(&random, 3)].cut ^= true;
            }
            rig_run(rig, turn(&random, 20) * 10);
        }
        for (unsigned i = 0; i < 3; i++) {
            rig->nodes[i].cut = false;
        }
        rig_run(rig, 2500);
        for (unsigned i = 0; i < 30; i++) {
            each_has(rig, &ids[i]);
        }
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(rig->nodes[i].heard_count, 30);
        }
        rig_free(rig);
    }
}

static void replicas_are_asked_once_for_all_that_went_before(void **state)
{
    struct rig *rig = rig_new(1);
    struct rig_node *node = &rig->nodes[0];

    (void)state;
    rig->engine.replicas = 1;
    for (unsigned i = 0; i < 10; i++) {
        (void)rig_add(rig, 0, "q");
        pawl_log_want(&node->log, pawl_log_position(&node->log), 2);
    }
    rig_run(rig, 500);
    assert_int_equal(pawl_log_replicated(&node->log, 1), 10);
    assert_int_equal(pawl_log_replicated(&node->log, 2), 0);
    assert_true(node->log.stats.wait_short > 0);
    rig->engine.replicas = 2;
    rig_run(rig, 500);
    assert_int_equal(pawl_log_replicated(&node->log, 2), 10);
    assert_int_equal(node->progress[PAWL_LOG_REPLICATED].replicas, 2);
    rig_up(node, 2); /* replicas of another epoch have to be asked anew */
    assert_int_equal(pawl_log_replicated(&node->log, 1), 0);
    rig_free(rig);
}

static void each_member_confirms_what_asks_for_it(void **state)
{
    struct rig *rig = rig_new(3);
    struct pawl_member_id second = pawl_member_of(rig->nodes[1].self);
    struct pawl_member_id third = pawl_member_of(rig->nodes[2].self);

    (void)state;
    rig_run(rig, 1500);
    (void)rig_add(rig, 0, "quiet");
    rig_run(rig, 1000);
    assert_int_equal(pawl_log_confirmed(&rig->nodes[0].log, &second), 0);
    rig->nodes[2].cut = true;
    (void)rig_add_until(rig, 0, "asked", RIG_SLOW_S + 9, true);
    rig_run(rig, 60);
    assert_int_equal(pawl_log_confirmed(&rig->nodes[0].log, &second), 2);
    assert_int_equal(pawl_log_confirmed(&rig->nodes[0].log, &third), 0);
    rig->nodes[2].cut = false;
    rig_run(rig, 60);
    assert_int_equal(pawl_log_confirmed(&rig->nodes[0].log, &third), 2);
    assert_int_equal(rig->nodes[0].progress[PAWL_LOG_CONFIRMED].position, 2);
    /* Its word is lost with the primary: it says it again. */
    (void)rig_add_until(rig, 0, "again", RIG_SLOW_S + 9, true);
    rig->nodes[0].cut = true;
    rig_run(rig, 10);
    rig->nodes[0].cut = false;
    rig_run(rig, 500);
    assert_int_equal(pawl_log_confirmed(&rig->nodes[0].log, &third), 3);
    rig_free(rig);
}

static void a_full_log_refuses_its_own_and_takes_others(void **state)
{
    struct rig *rig = rig_new(1);
    struct pawl_facts_log_options small = { .facts_max = 10 };
    uint64_t position;

    (void)state;
    rig_start_with(rig, 1, 1, &small);
    rig_members(rig);
    rig_up(&rig->nodes[1], 1);
    for (unsigned i = 0; i < 15; i++) {
        (void)rig_add(rig, 0, "f");
    }
    rig_run(rig, 1500);
    assert_int_equal(rig->nodes[1].heard_count, 15);
    struct pawl_facts_log *log = &rig->nodes[1].log;
    struct pawl_fact fact = rig_fact(pawl_log_next_id(log), "own", RIG_SLOW_S + 5);

    assert_int_equal(pawl_log_add(log, rig_bytes(&fact), false, rig->now_ms, &position, NULL),
                     PAWL_EFULL);
    assert_int_equal(log->stats.refused_full, 1);
    for (unsigned i = 0; i < 10; i++) {
        (void)rig_add(rig, 0, "g");
    }
    rig_run(rig, 4000);
    /* Twice the cap: it takes no more, and does not say that it has all. */
    assert_int_equal(rig->nodes[1].heard_count, 20);
    assert_true(log->stats.overflow > 0);
    assert_true(pawl_log_synced_ms(log) + 3000 < rig->now_ms);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fact_of_one_is_told_once_by_each),
        cmocka_unit_test(nothing_goes_out_before_the_tops_are_known),
        cmocka_unit_test(a_lost_tail_is_appended_again_and_what_follows_is_read),
        cmocka_unit_test(a_dead_origins_tail_is_appended_again_by_others),
        cmocka_unit_test(ten_lossy_failovers_lose_nothing_that_was_taken),
        cmocka_unit_test(an_emptied_engine_is_filled_again),
        cmocka_unit_test(what_is_taken_while_the_engine_is_away_follows),
        cmocka_unit_test(a_refused_entry_is_never_followed_by_the_next),
        cmocka_unit_test(freshness_comes_from_announcements_alone),
        cmocka_unit_test(a_node_that_has_just_come_is_not_synced),
        cmocka_unit_test(the_order_of_delivery_does_not_matter),
        cmocka_unit_test(replicas_are_asked_once_for_all_that_went_before),
        cmocka_unit_test(each_member_confirms_what_asks_for_it),
        cmocka_unit_test(a_full_log_refuses_its_own_and_takes_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
