/* Members: joining, leaving, dying, coming back; never two who decide about one slot. */
#include "unit/members_rig.h"

static void end(struct rig *rig)
{
    assert_int_equal(rig->overlaps, 0);
    rig_destroy(rig);
}

/* ---- joining ---- */

static void one_alone_waits_for_others_that_might_be_then_decides(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_start(rig, 0);
    rig_run(rig, PAWL_MEMBERS_FENCE_MS - 100);
    assert_int_equal(rig_view(rig, 0)->number, 0);
    assert_true(rig_await(rig, 1, 1000) < 600);
    assert_int_equal(rig->nodes[0].tenure_ms - rig->nodes[0].members.granted_ms, PAWL_TENURE_MS);
    end(rig);
}

static void one_more_joins_within_a_moment(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    rig_start(rig, 2);
    assert_true(rig_await(rig, 3, 1000) < 50);
    assert_string_equal(rig_view(rig, 0)->members[2].address, "tcp:host2:1");
    end(rig);
}

static void five_at_once_all_join(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        rig_start(rig, i);
    }
    assert_true(rig_await(rig, 5, 10000) < PAWL_MEMBERS_FENCE_MS + 1000);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(rig->nodes[i].expelled, 0); /* no proposal undid another one */
    }
    end(rig);
}

static void who_is_not_ready_does_not_join(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 1);
    rig_start(rig, 1);
    rig->nodes[1].members.ready = false;
    rig_run(rig, 5000);
    assert_false(rig_has(rig, 0, 1));
    assert_int_equal(rig->nodes[1].tenure_ms, 0);
    assert_int_equal(rig_view(rig, 1)->count, 1); /* it knows the others' view */
    pawl_members_ready(&rig->nodes[1].members, rig->now_ms);
    (void)rig_await(rig, 2, 1000);
    end(rig);
}

static void two_proposals_at_once_do_not_undo_each_other(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    rig_start(rig, 2); /* in lock step: both propose a successor of one view */
    rig_start(rig, 3);
    (void)rig_await(rig, 4, 1000);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(rig->nodes[i].expelled, 0);
    }
    struct pawl_members_metrics two, three;

    pawl_members_metrics_get(&rig->nodes[2].members, &two);
    pawl_members_metrics_get(&rig->nodes[3].members, &three);
    assert_int_equal(two.won + three.won, 2);
    assert_int_equal(two.proposed + three.proposed, 3); /* one was refused, and said again */
    end(rig);
}

/* ---- leaving ---- */

static void who_leaves_serves_no_more_decides_on_and_then_is_gone(void **state)
{
    struct rig *rig = rig_create();
    struct pawl_member_id id = rig_id(1);

    (void)state;
    rig_fleet(rig, 3);
    pawl_members_leave(&rig->nodes[1].members, rig->now_ms);
    rig_run(rig, 20);
    for (unsigned i = 0; i < 3; i++) {
        const struct pawl_view *view = rig_view(rig, i);

        assert_int_equal(view->members[pawl_view_find(view, &id)].state, PAWL_VIEW_LEAVING);
    }
    rig_run(rig, 20000);
    assert_true(rig_decides(rig, &rig->nodes[1])); /* until everything was fetched */
    assert_int_equal(rig->nodes[1].done, 0);
    pawl_members_gone(&rig->nodes[1].members, rig->now_ms);
    assert_int_equal(rig->nodes[1].tenure_ms, 0);
    assert_true(rig_await(rig, 2, 1000) < 10);
    assert_int_equal(rig->nodes[1].done, 1);
    assert_int_equal(rig->engine.count, 2); /* not announced any more */
    uint64_t view = rig_view(rig, 0)->number;

    rig_run(rig, 10000);
    assert_int_equal(rig_view(rig, 0)->number, view);
    end(rig);
}

static void the_last_one_leaves_and_the_next_begins_at_once(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 1);
    pawl_members_leave(&rig->nodes[0].members, rig->now_ms);
    rig_run(rig, 20);
    pawl_members_gone(&rig->nodes[0].members, rig->now_ms);
    rig_run(rig, 20);
    assert_int_equal(rig->nodes[0].done, 1);
    rig_start(rig, 1);
    assert_true(rig_await(rig, 1, 1000) < 50);
    end(rig);
}

static void who_leaves_while_the_engine_is_away_says_so_when_it_is_back(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    pawl_members_leave(&rig->nodes[1].members, rig->now_ms);
    rig_run(rig, 200);
    rig->down = true;
    rig_run(rig, 10);
    pawl_members_gone(&rig->nodes[1].members, rig->now_ms);
    rig_run(rig, 5000);
    assert_int_equal(rig->nodes[1].done, 0);
    rig->down = false;
    rig_fail_over(rig, 1000); /* which has lost that it is leaving */
    rig_run(rig, 1500);
    assert_int_equal(rig->nodes[1].done, 1);
    (void)rig_await(rig, 1, 5000);
    end(rig);
}

/* ---- dying ---- */

static void the_dead_go_after_the_ttl_and_not_before(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    rig_run(rig, 3000);
    rig->nodes[2].stopped = true;
    uint64_t last_ms = rig->nodes[2].members.sent_ms;

    rig_run(rig, last_ms + PAWL_MEMBER_TTL_MS - rig->now_ms);
    assert_true(rig_has(rig, 0, 2));
    assert_true(rig_has(rig, 1, 2));
    assert_false(rig_decides(rig, &rig->nodes[2]));
    assert_true(rig_await(rig, 2, 3000) < PAWL_MEMBERS_INTERVAL_MS + 200);
    rig_run(rig, 10);
    end(rig);
}

/* What a dropped one once knew it may still answer for a while: it has to be seen (acks.h). */
static void announcements_of_the_dead_stay_for_as_long_as_they_may_answer(void **state)
{
    const uint64_t ghost_ms = PAWL_MEMBERS_GHOST_MS + 20000;
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    for (int i = 0; i < 2; i++) {
        pawl_members_set_ghost(&rig->nodes[i].members, ghost_ms);
    }
    rig_run(rig, 3000);
    rig->nodes[2].stopped = true;
    rig_run(rig, ghost_ms - 3000);
    assert_false(rig_has(rig, 0, 2));
    assert_int_equal(rig->engine.count, 3);
    rig_run(rig, 6000);
    assert_int_equal(rig->engine.count, 2);
    end(rig);
}

static void what_lay_in_the_socket_of_a_stopped_one_condemns_nobody(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    rig_run(rig, 3000);
    /* Stopped between its announcement and the reply. */
    while (rig->nodes[0].members.announce_tag == 0) {
        rig_step(rig);
    }
    rig->nodes[0].stopped = true;
    rig->nodes[1].cut = true;
    rig_run(rig, 4900); /* less than the TTL, and a reply of long ago waits */
    rig->nodes[1].cut = false;
    rig_run(rig, 50);
    rig->nodes[0].stopped = false;
    rig_run(rig, 5000);
    assert_true(rig_agree(rig, 2));
    assert_int_equal(rig->nodes[0].expelled + rig->nodes[1].expelled, 0);
    end(rig);
}

static void nobody_is_removed_within_a_ttl_of_a_new_epoch(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    rig_run(rig, 3000);
    rig->nodes[2].stopped = true;
    rig_run(rig, 4500);
    rig_fail_over(rig, 0);
    rig_run(rig, PAWL_MEMBER_TTL_MS - 10);
    assert_true(rig_has(rig, 0, 2));
    (void)rig_await(rig, 2, PAWL_MEMBERS_INTERVAL_MS + 200);
    end(rig);
}

static void when_more_than_half_vanish_the_view_is_kept_a_while(void **state)
{
    struct rig *rig = rig_create();
    struct pawl_members_metrics metrics;

    (void)state;
    rig_fleet(rig, 5);
    for (unsigned i = 2; i < 5; i++) {
        rig->nodes[i].stopped = true;
    }
    rig_run(rig, PAWL_MEMBER_TTL_MS + 2500);
    pawl_members_metrics_get(&rig->nodes[0].members, &metrics);
    assert_true(metrics.panic);
    assert_int_equal(metrics.panics, 1);
    rig_run(rig, PAWL_MEMBERS_PANIC_MS - 2600);
    assert_int_equal(rig_view(rig, 0)->count, 5);
    (void)rig_await(rig, 2, 4000);
    pawl_members_metrics_get(&rig->nodes[0].members, &metrics);
    assert_false(metrics.panic);
    end(rig);
}

static void two_of_five_are_no_panic(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 5);
    rig->nodes[3].stopped = true;
    rig->nodes[4].stopped = true;
    (void)rig_await(rig, 3, PAWL_MEMBER_TTL_MS + 2000);
    end(rig);
}

/* ---- coming back ---- */

static void who_was_stopped_finds_itself_out_and_joins_again(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    rig->nodes[1].stopped = true;
    (void)rig_await(rig, 2, 8000);
    rig_run(rig, 10000);
    rig->nodes[1].stopped = false;
    assert_false(rig_decides(rig, &rig->nodes[1]));
    (void)rig_await(rig, 3, 2000);
    assert_int_equal(rig->nodes[1].expelled, 1);
    end(rig);
}

static void who_was_stopped_a_little_keeps_what_it_had(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    rig->nodes[1].stopped = true;
    rig_run(rig, PAWL_TENURE_MS + 600);
    assert_false(rig_decides(rig, &rig->nodes[1]));
    rig->nodes[1].stopped = false;
    assert_true(rig_await(rig, 3, 1000) < 400);
    assert_int_equal(rig->nodes[1].expelled, 0);
    end(rig);
}

/* Judged dead, back just before the view without it is set: its announcement is WON and shows it
 * the old view, so it decides once more. Its heir waits for the end of that. */
static void who_comes_back_just_before_it_is_removed_is_waited_for(void **state)
{
    struct rig *rig = rig_create();
    struct rig_member *back = &rig->nodes[1];

    (void)state;
    rig_fleet(rig, 2);
    rig->no_push = true;
    back->stopped = true;
    while (rig->nodes[0].members.proposal == rig_view(rig, 0)->number ||
           rig->nodes[0].members.set_tag == 0) {
        rig_step(rig); /* until the other one has proposed, and the engine has not got it */
    }

    /* What it does in this moment, with all its waiting behind it. */
    back->stopped = false;
    rig_run_replies(rig, back);
    back->members.again = true;
    pawl_members_tick(&back->members, rig->now_ms);
    for (unsigned i = 0; i < back->queued; i++) {
        if (back->queue[i]->command.verb == PAWL_ENGINE_ANNOUNCE && !back->queue[i]->executed) {
            rig_execute(rig, back->queue[i]);
        }
    }
    rig_run_replies(rig, back);
    for (unsigned i = 0; i < back->queued; i++) {
        back->queue[i]->answer_ms = rig->now_ms;
    }
    rig_run_replies(rig, back);
    assert_true(rig_decides(rig, back));
    back->stopped = true; /* and does not announce itself again */
    rig_run(rig, PAWL_TENURE_MS - 100);
    assert_true(rig_decides(rig, back));
    assert_int_equal(rig_view(rig, 0)->count, 2); /* the view without it is known, not acted on */
    assert_int_equal(rig->nodes[0].members.known.view.count, 1);
    assert_true(rig_decides(rig, &rig->nodes[0])); /* its own slots are its own */
    (void)rig_await(rig, 1, 1500);
    end(rig);
}

/* ---- the engine ---- */

static void when_the_engine_is_away_the_tenure_runs_out(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    rig->down = true;
    rig_run(rig, PAWL_TENURE_MS - 1200);
    assert_true(rig_decides(rig, &rig->nodes[0]));
    rig_run(rig, 1200);
    assert_false(rig_decides(rig, &rig->nodes[0]));
    assert_false(rig_decides(rig, &rig->nodes[1]));
    rig_run(rig, 60000);
    rig->down = false;
    rig_fail_over(rig, 0);
    assert_true(rig_await(rig, 2, 2000) < 600); /* all are back: nobody knows a higher view */
    assert_int_equal(rig->nodes[0].expelled + rig->nodes[1].expelled, 0);
    end(rig);
}

static void a_short_failover_costs_no_decision(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    rig_run(rig, 1000);
    rig->down = true;
    for (unsigned i = 0; i < 1500; i++) {
        rig_step(rig);
        assert_true(rig_agree(rig, 3));
    }
    rig->down = false;
    rig_fail_over(rig, 1000);
    for (unsigned i = 0; i < 5000; i++) {
        rig_step(rig);
        assert_true(rig_agree(rig, 3));
    }
    end(rig);
}

static void a_view_that_a_failover_lost_is_set_again(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    rig_run(rig, 3000);
    rig_start(rig, 2);
    (void)rig_await(rig, 3, 1000);
    uint64_t number = rig_view(rig, 0)->number;

    rig_fail_over(rig, 2500);
    assert_true(rig->engine.number < number);
    rig_run(rig, 10);
    assert_int_equal(rig->engine.number, number);
    (void)rig_await(rig, 3, 1000);
    assert_int_equal(rig_view(rig, 0)->number, number);
    end(rig);
}

/* Views 3 to 5 are set at a primary that is cut off, and another line of them at the next one. */
static void views_of_others_that_are_replaced_let_nobody_go_on_with_what_it_has(void **state)
{
    static struct rig_engine before;
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    before = rig->engine;
    for (unsigned i = 2; i < 5; i++) {
        rig_start(rig, i);
        (void)rig_await(rig, i + 1, 5000);
    }
    uint64_t number = rig_view(rig, 0)->number;

    for (unsigned i = 0; i < 5; i++) {
        rig->nodes[i].cut = true;
    }
    rig_run(rig, PAWL_TENURE_MS);
    rig_fail_over(rig, 0);
    rig->engine = before;
    rig_start(rig, 5);
    for (unsigned i = 0; i < 30000 && !rig_decides(rig, &rig->nodes[5]); i++) {
        rig_step(rig);
    }
    assert_true(rig_decides(rig, &rig->nodes[5]));
    assert_true(rig->engine.number < number && rig->engine.number != before.number);
    for (unsigned i = 0; i < 5; i++) {
        rig->nodes[i].cut = false;
        assert_int_equal(rig->nodes[i].expelled, 0);
    }
    (void)rig_await(rig, 6, 30000);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(rig->nodes[i].expelled, 1); /* what it held is dropped, and loaded */
    }
    end(rig);
}

/* Removed, then the engine forgets the removal: the one that comes back may not take it that
 * nothing happened, for the others decide about its slots until their tenure ends. */
static void who_comes_back_into_an_older_view_waits_for_those_who_know_better(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    rig->nodes[2].stopped = true;
    (void)rig_await(rig, 2, 8000);
    rig_run(rig, 1000);
    while (rig->nodes[0].tenure_ms < rig->now_ms + PAWL_TENURE_MS - 100) {
        rig_step(rig);
    }
    rig->nodes[0].cut = true; /* on their way to the new primary */
    rig->nodes[1].cut = true;
    rig_fail_over(rig, 2500);
    assert_int_equal(rig->engine.number, rig_view(rig, 2)->number);
    rig->nodes[2].stopped = false;
    rig_run(rig, 3000);
    assert_true(rig_decides(rig, &rig->nodes[0]));
    assert_false(rig_decides(rig, &rig->nodes[2]));
    rig_run(rig, 1400);
    assert_true(rig_decides(rig, &rig->nodes[2])); /* nobody else does any more */
    rig->nodes[0].cut = false;
    rig->nodes[1].cut = false;
    (void)rig_await(rig, 3, 10000);
    end(rig);
}

static void an_engine_that_forgot_everything_is_told_again(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    memset(&rig->engine, 0, sizeof(rig->engine));
    rig_run(rig, 1200);
    assert_int_equal(rig->engine.number, rig_view(rig, 0)->number);
    rig_run(rig, 10000);
    assert_true(rig_agree(rig, 3));
    end(rig);
}

static void a_view_of_somebody_else_gives_no_tenure(void **state)
{
    struct rig *rig = rig_create();
    struct pawl_members_metrics metrics;

    (void)state;
    rig_fleet(rig, 1);
    rig->engine.view[20] ^= 1;
    rig_run(rig, 6000);
    assert_false(rig_decides(rig, &rig->nodes[0]));
    pawl_members_metrics_get(&rig->nodes[0].members, &metrics);
    assert_true(metrics.bad > 0);
    end(rig);
}

/* ---- from others ---- */

static void an_older_view_changes_nothing(void **state)
{
    struct rig *rig = rig_create();
    uint8_t old[PAWL_VIEW_SEALED_MAX];
    size_t size;

    (void)state;
    rig_fleet(rig, 2);
    size = pawl_members_sealed(&rig->nodes[0].members).size;
    memcpy(old, pawl_members_sealed(&rig->nodes[0].members).data, size);
    rig_start(rig, 2);
    (void)rig_await(rig, 3, 1000);
    unsigned adopted = rig->nodes[0].adopted;

    assert_int_equal(
        pawl_members_learn(&rig->nodes[0].members, pawl_bytes_of(old, size), rig->now_ms), PAWL_OK);
    assert_int_equal(rig->nodes[0].adopted, adopted);
    assert_int_equal(rig_view(rig, 0)->count, 3);
    rig->engine.number = 0; /* nor when the engine has it */
    memcpy(rig->engine.view, old, size);
    rig->engine.view_size = size;
    rig->engine.number = pawl_view_peek(pawl_bytes_of(old, size));
    rig_run(rig, 3000);
    assert_true(rig_agree(rig, 3));
    end(rig);
}

static void a_forged_view_is_refused(void **state)
{
    struct rig *rig = rig_create();
    uint8_t forged[PAWL_VIEW_SEALED_MAX];

    (void)state;
    rig_fleet(rig, 1);
    struct pawl_bytes sealed = pawl_members_sealed(&rig->nodes[0].members);

    memcpy(forged, sealed.data, sealed.size);
    forged[4] ^= 0x40; /* a higher number */
    assert_int_equal(pawl_members_learn(&rig->nodes[0].members, pawl_bytes_of(forged, sealed.size),
                                        rig->now_ms),
                     PAWL_ECORRUPT);
    assert_int_equal(rig_view(rig, 0)->number, pawl_view_peek(sealed));
    end(rig);
}

static void a_view_that_cannot_be_read_is_written_over_when_nobody_decides(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 3);
    rig_garble(rig);
    rig_run(rig, PAWL_MEMBERS_HEAL_MS - 1500);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(rig_decides(rig, &rig->nodes[i]));
        assert_int_equal(rig->nodes[i].members.metrics.healed, 0);
        assert_true(rig->nodes[i].members.metrics.unreadable_since_ms > 0);
    }
    rig_run(rig, 15000);
    assert_true(rig_agree(rig, 3));
    uint64_t healed = 0;

    for (unsigned i = 0; i < 3; i++) {
        healed += rig->nodes[i].members.metrics.healed;
        assert_int_equal(rig->nodes[i].members.metrics.unreadable_since_ms, 0);
        assert_true(rig_decides(rig, &rig->nodes[i]));
    }
    assert_in_range(healed, 1, 3);
    assert_int_equal(rig->overlaps, 0);
    end(rig);
}

static void a_cold_fleet_finds_a_view_that_cannot_be_read_and_begins_anew(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 1);
    rig_kill(rig, 0);
    rig_garble(rig);
    rig->engine.number = UINT64_MAX; /* whatever stands beside it */
    rig_start(rig, 0);
    rig_start(rig, 1);
    rig_run(rig, 30000);
    assert_true(rig_agree(rig, 2));
    end(rig);
}

/* One with another secret among others, or two fleets under one prefix. */
static void who_finds_others_of_another_secret_writes_over_nothing(void **state)
{
    struct rig *rig = rig_create();
    uint64_t number;

    (void)state;
    rig_fleet(rig, 2);
    rig_run(rig, 2000);
    number = rig_view(rig, 0)->number;
    rig_start(rig, 2);
    rig->nodes[2].members.options.keys.keys[0].bytes[0] ^= 1;
    rig_run(rig, 60000);
    assert_int_equal(rig->nodes[2].members.metrics.healed, 0);
    assert_true(rig->nodes[2].members.metrics.unreadable_since_ms > 0);
    assert_int_equal(rig_view(rig, 0)->number, number);
    assert_true(rig_decides(rig, &rig->nodes[0]) && rig_decides(rig, &rig->nodes[1]));
    end(rig);
}

static void news_of_a_view_are_asked_for_at_once(void **state)
{
    struct rig *rig = rig_create();

    (void)state;
    rig_fleet(rig, 2);
    rig_run(rig, 1500);
    rig->no_push = true;
    while (rig->nodes[0].members.announce_tag != 0 ||
           rig->now_ms > rig->nodes[0].members.sent_ms + 100) {
        rig_step(rig); /* just announced */
    }
    rig_start(rig, 2);
    rig_run(rig, 30);
    assert_int_equal(rig_view(rig, 2)->count, 3);
    assert_int_equal(rig_view(rig, 0)->count, 2);
    pawl_members_hear(&rig->nodes[0].members, rig_view(rig, 2)->number, rig->now_ms);
    rig_run(rig, 30);
    assert_int_equal(rig_view(rig, 0)->count, 3);
    end(rig);
}

static void silence_and_the_engines_clock_are_told(void **state)
{
    struct rig *rig = rig_create();
    struct pawl_member_id one = rig_id(1);
    struct pawl_member_id nobody = rig_id(5);

    (void)state;
    rig_fleet(rig, 2);
    rig->nodes[1].stopped = true;
    rig_run(rig, 4000);
    uint64_t silent = pawl_members_silent_ms(&rig->nodes[0].members, &one);

    assert_true(silent >= 1700 && silent <= 4000);
    assert_true(pawl_members_silent_ms(&rig->nodes[0].members, &nobody) == UINT64_MAX);
    int64_t wall_ms = (int64_t)(1000000 + rig->now_ms) + 250;
    int64_t offset = pawl_members_clock_offset_ms(&rig->nodes[0].members, wall_ms, rig->now_ms);

    assert_in_range(offset + 1000, 1000 - 252, 1000 - 248);
    end(rig);
}

/* ---- chance ---- */

static void disturb(struct rig *rig)
{
    unsigned index = (unsigned)(rig_random(rig) % RIG_MAX);
    struct rig_member *node = &rig->nodes[index];

    switch (rig_random(rig) % 16) {
    case 0:
    case 1:
        node->stopped = !node->stopped;
        break;
    case 2:
        node->cut = !node->cut;
        break;
    case 3:
        rig->down = !rig->down;
        if (!rig->down) {
            rig_fail_over(rig, rig_random(rig) % 2000);
        }
        break;
    case 4:
        if (!rig->down) {
            rig_fail_over(rig, rig_random(rig) % 2000);
        }
        break;
    case 5:
        rig->no_push = !rig->no_push;
        break;
    case 6:
        rig_kill(rig, index);
        break;
    case 7:
    case 8:
        if (node->done > 0 || !node->exists) {
            rig_kill(rig, index);
            rig_start(rig, index);
        } else if (!node->stopped && node->members.leaving) {
            pawl_members_gone(&node->members, rig->now_ms);
        } else if (!node->stopped) {
            pawl_members_leave(&node->members, rig->now_ms);
        }
        break;
    case 9:
        if (rig_random(rig) % 4 == 0) { /* FLUSHALL */
            memset(&rig->engine, 0, sizeof(rig->engine));
        } else if (rig_random(rig) % 4 == 0) {
            rig_garble(rig);
        }
        break;
    default:
        node->stopped = false;
        node->cut = false;
        break;
    }
}

static void chance(uint64_t seed)
{
    struct rig *rig = rig_create();

    rig->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    rig->late = 10;
    for (unsigned i = 0; i < 4; i++) {
        rig_start(rig, i);
    }
    for (unsigned i = 0; i < 40; i++) {
        rig_run(rig, rig_random(rig) % 3000);
        disturb(rig);
        if (rig->overlaps > 0) {
            fail_msg("seed %llu: two decide at %llu", (unsigned long long)seed,
                     (unsigned long long)rig->now_ms);
        }
    }
    rig->down = false;
    rig_fail_over(rig, 0);
    rig->no_push = false;
    for (unsigned i = 0; i < RIG_MAX; i++) {
        rig->nodes[i].stopped = false;
        rig->nodes[i].cut = false;
        if (!rig->nodes[i].exists || rig->nodes[i].members.leaving) {
            rig_kill(rig, i);
            rig_start(rig, i);
        }
    }
    (void)rig_await(rig, RIG_MAX, 60000); /* and all is well again */
    end(rig);
}

static void whatever_happens_nobody_decides_beside_a_successor(void **state)
{
    const char *runs = getenv("PAWL_MEMBERS_SEEDS");
    const char *from = getenv("PAWL_MEMBERS_SEED");
    uint64_t count = runs != NULL ? strtoull(runs, NULL, 10) : 5;
    uint64_t first = from != NULL ? strtoull(from, NULL, 10) : 1;

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        chance(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_alone_waits_for_others_that_might_be_then_decides),
        cmocka_unit_test(one_more_joins_within_a_moment),
        cmocka_unit_test(five_at_once_all_join),
        cmocka_unit_test(who_is_not_ready_does_not_join),
        cmocka_unit_test(two_proposals_at_once_do_not_undo_each_other),
        cmocka_unit_test(who_leaves_serves_no_more_decides_on_and_then_is_gone),
        cmocka_unit_test(the_last_one_leaves_and_the_next_begins_at_once),
        cmocka_unit_test(who_leaves_while_the_engine_is_away_says_so_when_it_is_back),
        cmocka_unit_test(the_dead_go_after_the_ttl_and_not_before),
        cmocka_unit_test(announcements_of_the_dead_stay_for_as_long_as_they_may_answer),
        cmocka_unit_test(what_lay_in_the_socket_of_a_stopped_one_condemns_nobody),
        cmocka_unit_test(nobody_is_removed_within_a_ttl_of_a_new_epoch),
        cmocka_unit_test(when_more_than_half_vanish_the_view_is_kept_a_while),
        cmocka_unit_test(two_of_five_are_no_panic),
        cmocka_unit_test(who_was_stopped_finds_itself_out_and_joins_again),
        cmocka_unit_test(who_was_stopped_a_little_keeps_what_it_had),
        cmocka_unit_test(who_comes_back_just_before_it_is_removed_is_waited_for),
        cmocka_unit_test(when_the_engine_is_away_the_tenure_runs_out),
        cmocka_unit_test(a_short_failover_costs_no_decision),
        cmocka_unit_test(a_view_that_a_failover_lost_is_set_again),
        cmocka_unit_test(views_of_others_that_are_replaced_let_nobody_go_on_with_what_it_has),
        cmocka_unit_test(who_comes_back_into_an_older_view_waits_for_those_who_know_better),
        cmocka_unit_test(an_engine_that_forgot_everything_is_told_again),
        cmocka_unit_test(a_view_of_somebody_else_gives_no_tenure),
        cmocka_unit_test(an_older_view_changes_nothing),
        cmocka_unit_test(a_forged_view_is_refused),
        cmocka_unit_test(a_view_that_cannot_be_read_is_written_over_when_nobody_decides),
        cmocka_unit_test(a_cold_fleet_finds_a_view_that_cannot_be_read_and_begins_anew),
        cmocka_unit_test(who_finds_others_of_another_secret_writes_over_nothing),
        cmocka_unit_test(news_of_a_view_are_asked_for_at_once),
        cmocka_unit_test(silence_and_the_engines_clock_are_told),
        cmocka_unit_test(whatever_happens_nobody_decides_beside_a_successor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
