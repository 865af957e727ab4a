/*
 * The log in a storm: engines that lose, refuse and forget, nodes that die and are cut off, by a
 * seed; afterwards all are the same, and who comes then finds it all.
 *
 * PAWL_LOG_SEEDS=N runs N seeds, PAWL_LOG_SEED=S begins at one.
 */
#include "unit/log_rig.h"

#include <stdio.h>

#define TAKEN_MAX 4000

struct storm {
    struct rig *rig;
    uint32_t random;
    unsigned life, epoch;
    unsigned count;
    struct {
        struct pawl_fact_id id;
        uint64_t until_s;
    } taken[TAKEN_MAX];
};

static uint32_t turn(struct storm *storm, uint32_t below)
{
    storm->random = storm->random * 1664525u + 1013904223u;
    return (storm->random >> 8) % below;
}

static void take_one(struct storm *storm)
{
    unsigned number = turn(storm, 3);
    char jti[8];
    uint64_t until_s = storm->rig->slow_s + 20 + turn(storm, turn(storm, 4) == 0 ? 2000 : 60);
    uint32_t canceled = 0;

    if (!storm->rig->nodes[number].alive || storm->count == TAKEN_MAX) {
        return;
    }
    if (storm->count > 0 && turn(storm, 20) == 0) {
        unsigned which = turn(storm, storm->count);

        (void)rig_cancel(storm->rig, number, &storm->taken[which].id, &canceled);
        return;
    }
    (void)snprintf(jti, sizeof(jti), "%u", turn(storm, 50));
    storm->taken[storm->count].id =
        rig_add_until(storm->rig, number, jti, until_s, turn(storm, 8) == 0);
    storm->taken[storm->count++].until_s = until_s;
    if (turn(storm, 4) == 0) {
        struct pawl_facts_log *log = &storm->rig->nodes[number].log;

        pawl_log_want(log, pawl_log_position(log), 1 + turn(storm, 2));
    }
}

static void next_epoch(struct storm *storm)
{
    storm->epoch++;
    for (unsigned i = 0; i < RIG_NODES; i++) {
        if (storm->rig->nodes[i].alive && turn(storm, 4) != 0) {
            rig_up(&storm->rig->nodes[i], (uint8_t)storm->epoch);
        }
    }
    for (unsigned i = 0; i < RIG_NODES; i++) { /* the others notice a little later */
        if (storm->rig->nodes[i].alive) {
            rig_run(storm->rig, turn(storm, 20) * 10);
            rig_up(&storm->rig->nodes[i], (uint8_t)storm->epoch);
        }
    }
}

static void fail_over(struct storm *storm)
{
    /* All that a failover may lose is what others have not had time to read. */
    for (unsigned i = 0; i < RIG_ORIGINS; i++) {
        struct rig_stream *stream = storm->rig->engine.streams[i];
        uint32_t lost = stream != NULL && stream->count > 1 ? turn(storm, stream->count) : 0;

        if (lost > 0) {
            rig_lose_tail(storm->rig, &stream->origin, lost);
        }
    }
    next_epoch(storm);
}

/* A node dies when another has read what it took: that much every level but "memory" promises. */
static void kill_one(struct storm *storm)
{
    unsigned victim = turn(storm, 3);

    for (unsigned i = 0; i < RIG_NODES; i++) {
        storm->rig->nodes[i].cut = false;
        if (storm->rig->nodes[i].alive && !storm->rig->nodes[i].up) {
            rig_up(&storm->rig->nodes[i], (uint8_t)storm->epoch);
        }
    }
    storm->rig->engine.fail_appends = 0;
    storm->rig->engine.lose_replies = 0;
    rig_run(storm->rig, 4000);
    rig_kill(storm->rig, victim);
    if (turn(storm, 3) == 0) {
        fail_over(storm);
    }
    rig_start(storm->rig, victim, ++storm->life);
    rig_up(&storm->rig->nodes[victim], (uint8_t)storm->epoch);
    rig_run(storm->rig, 6000); /* it is a copy, too, before the next one dies */
}

static void step(struct storm *storm)
{
    struct rig *rig = storm->rig;
    unsigned number = turn(storm, 3);

    switch (turn(storm, 40)) {
    case 0:
        rig->engine.fail_appends += turn(storm, 4);
        break;
    case 1:
        rig->engine.lose_replies += turn(storm, 4);
        break;
    case 2:
        rig->nodes[number].cut = !rig->nodes[number].cut;
        break;
    case 3:
        rig_down(&rig->nodes[number]);
        break;
    case 4:
        rig_up(&rig->nodes[number], (uint8_t)storm->epoch);
        break;
    case 5:
        fail_over(storm);
        break;
    case 6:
        if (turn(storm, 3) == 0) {
            rig_flush_all(rig);
        }
        break;
    case 7:
        if (turn(storm, 3) == 0) {
            kill_one(storm);
        }
        break;
    case 8:
        rig->slow_s += turn(storm, 30);
        break;
    case 9:
        rig->engine.replicas = turn(storm, 3);
        break;
    case 10:
        rig->reverse = !rig->reverse;
        break;
    case 11: /* time to expire and to trim */
        rig->slow_s += turn(storm, 60);
        rig_run(rig, turn(storm, 30000));
        break;
    case 12:
        if (turn(storm, 8) == 0) { /* until the streams of the dead are taken over */
            rig_run(rig, PAWL_LOG_DEAD_MS + turn(storm, 120000));
        }
        break;
    case 13:
        for (unsigned i = turn(storm, 100); i > 0; i--) {
            take_one(storm);
        }
        break;
    default:
        take_one(storm);
    }
    rig_run(rig, turn(storm, 30) * 10);
}

static void heal(struct storm *storm)
{
    struct rig *rig = storm->rig;

    rig->engine.fail_appends = 0;
    rig->engine.lose_replies = 0;
    for (unsigned i = 0; i < RIG_NODES; i++) {
        rig->nodes[i].cut = false;
        if (rig->nodes[i].alive && !rig->nodes[i].up) {
            rig_up(&rig->nodes[i], (uint8_t)storm->epoch);
        }
    }
    rig_run(rig, 10000);
    rig_start(rig, 3, ++storm->life);
    rig_up(&rig->nodes[3], (uint8_t)storm->epoch);
    rig_run(rig, 3000);
}

static void check(const struct storm *storm)
{
    const struct rig *rig = storm->rig;

    for (unsigned i = 0; i < RIG_NODES; i++) {
        const struct pawl_facts_log *log = &rig->nodes[i].log;

        assert_true(pawl_log_synced_ms(log) + 1500 > rig->now_ms);
        assert_int_equal(pawl_log_appended(log), pawl_log_position(log));
        assert_int_equal(log->stats.holes, 0);
        assert_int_equal(log->stats.holes_given_up, 0);
        assert_int_equal(log->stats.conflicts, 0);
        assert_int_equal(log->stats.forged, 0);
    }
    for (unsigned i = 0; i < storm->count; i++) {
        bool first = false;

        if (storm->taken[i].until_s < rig->slow_s) {
            continue;
        }
        for (unsigned n = 0; n < RIG_NODES; n++) {
            bool canceled = false;

            assert_true(pawl_log_has(&rig->nodes[n].log, &storm->taken[i].id, &canceled));
            first = n == 0 ? canceled : first;
            assert_int_equal(canceled, first);
        }
    }
}

static void say(const struct storm *storm, unsigned seed)
{
    struct pawl_log_stats sum = { .facts = 0 };

    for (unsigned i = 0; i < 3; i++) {
        const struct pawl_log_stats *stats = &storm->rig->nodes[i].log.stats;

        sum.lost_tail += stats->lost_tail;
        sum.reasserted += stats->reasserted;
        sum.adopted += stats->adopted;
        sum.survivors += stats->survivors;
        sum.trims += stats->trims;
    }
    print_message("seed %u: %u taken, %u live, %u lost, %u said again, %u adopted, %u moved, "
                  "%u trims\n",
                  seed, storm->count, (unsigned)storm->rig->nodes[0].log.stats.facts,
                  (unsigned)sum.lost_tail, (unsigned)sum.reasserted, (unsigned)sum.adopted,
                  (unsigned)sum.survivors, (unsigned)sum.trims);
}

static void whatever_happens_all_end_with_all_that_was_taken(void **state)
{
    const char *seeds = getenv("PAWL_LOG_SEEDS");
    const char *seed = getenv("PAWL_LOG_SEED");
    unsigned from = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : 1;
    unsigned count = seeds != NULL ? (unsigned)strtoul(seeds, NULL, 10) : 8;
    static struct storm storm;

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        memset(&storm, 0, sizeof(storm));
        storm.random = from + i;
        storm.life = 1;
        storm.epoch = 1;
        storm.rig = rig_new(3);
        rig_run(storm.rig, 1500);
        for (unsigned j = 0; j < 400; j++) {
            step(&storm);
        }
        heal(&storm);
        say(&storm, from + i);
        check(&storm);
        rig_free(storm.rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_all_end_with_all_that_was_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
