/* The gate: closed with each epoch, open when all have said what they know, or when time is up. */
#include "core/cluster/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct pawl_epoch first = { { 1 } };
static const struct pawl_epoch second = { { 2 } };

struct rig {
    struct pawl_gate gate;
    struct pawl_engine_command last;
    unsigned emitted, looks, opened, closed;
    uint64_t now_ms;
    struct pawl_epoch open_for; /* at the engine */
    struct pawl_member_id ready[4];
    uint32_t ready_count;
};

static struct rig rig;
static struct pawl_view view;

static struct pawl_member_id id_of(unsigned number)
{
    struct pawl_member_id id = { { (uint8_t)number } };

    return id;
}

static void take(void *self, const struct pawl_engine_command *command)
{
    (void)self;
    assert_int_equal(command->part, PAWL_PART_GATE);
    rig.last = *command;
    rig.emitted++;
}

static void changed(void *ctx, const struct pawl_epoch *epoch, bool open)
{
    (void)ctx;
    (void)epoch;
    *(open ? &rig.opened : &rig.closed) += 1;
}

static void look(void *ctx)
{
    (void)ctx;
    rig.looks++;
}

/* Member 1 of a view of @members, in the first epoch. */
static void begin(unsigned members, bool strict)
{
    struct pawl_gate_options options = {
        .out = { take, NULL }, .self = id_of(1), .strict = strict, .changed = changed, .look = look
    };

    memset(&rig, 0, sizeof(rig));
    memset(&view, 0, sizeof(view));
    view.number = 1;
    for (unsigned i = 1; i <= members; i++) {
        struct pawl_member_id id = id_of(i);

        assert_int_equal(pawl_view_put(&view, &id, PAWL_VIEW_SERVING, pawl_bytes_of("a", 1)),
                         PAWL_OK);
    }
    rig.now_ms = 50000;
    pawl_gate_init(&rig.gate, &options);
    pawl_gate_on_up(&rig.gate, &first, rig.now_ms);
}

static void answer(enum pawl_engine_result result)
{
    struct pawl_engine_reply reply = {
        .verb = rig.last.verb, .part = PAWL_PART_GATE, .tag = rig.last.tag, .result = result
    };

    pawl_gate_on_reply(&rig.gate, &reply, rig.now_ms);
}

static void announce(void)
{
    struct pawl_engine_reply reply = { .verb = PAWL_ENGINE_ANNOUNCE, .result = PAWL_ENGINE_WON };

    reply.announce.gate = rig.open_for;
    reply.announce.ready = rig.ready;
    reply.announce.ready_count = rig.ready_count;
    pawl_gate_on_announce(&rig.gate, &reply, &view, rig.now_ms);
}

static void say_ready(unsigned number)
{
    rig.ready[rig.ready_count++] = id_of(number);
}

static void tick_at(uint64_t after_ms)
{
    rig.now_ms = 50000 + after_ms;
    pawl_gate_tick(&rig.gate, rig.now_ms);
}

/* This member has merged and said so, and sees itself. */
static void be_ready(void)
{
    pawl_gate_merged(&rig.gate, &first, rig.now_ms);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_READY);
    answer(PAWL_ENGINE_WON);
    say_ready(1);
    announce();
}

static void it_opens_when_all_members_are_ready(void **state)
{
    (void)state;
    begin(3, false);
    assert_false(pawl_gate_is_open(&rig.gate, &first));
    announce();
    assert_int_equal(rig.emitted, 0); /* nothing is said before everything was merged */
    be_ready();
    say_ready(2);
    announce();
    assert_int_equal(rig.emitted, 1);
    say_ready(3);
    announce();
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_OPEN);
    assert_true(pawl_epoch_equal(rig.last.gate.epoch, first));
    assert_false(pawl_gate_is_open(&rig.gate, &first));
    rig.now_ms += 7;
    answer(PAWL_ENGINE_WON);
    assert_true(pawl_gate_is_open(&rig.gate, &first));
    assert_false(pawl_gate_is_open(&rig.gate, &second));
    assert_int_equal(rig.opened, 1);
    struct pawl_gate_metrics metrics;

    pawl_gate_metrics_get(&rig.gate, rig.now_ms, &metrics);
    assert_true(metrics.open);
    assert_int_equal(metrics.openings, 1);
    assert_int_equal(metrics.by_time, 0);
    assert_int_equal(metrics.closed_last_ms, 7);
    assert_int_equal(metrics.closed_total_ms, 7);
}

static void it_opens_by_time_and_not_before(void **state)
{
    (void)state;
    begin(2, false);
    be_ready();
    tick_at(PAWL_GATE_WAIT_MS - 1);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_READY);
    assert_int_equal(rig.gate.next_ms, 50000 + PAWL_GATE_WAIT_MS);
    tick_at(PAWL_GATE_WAIT_MS);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_OPEN);
    answer(PAWL_ENGINE_WON);
    assert_true(pawl_gate_is_open(&rig.gate, &first));
    assert_int_equal(rig.gate.openings_by_time, 1);
}

static void who_has_not_merged_opens_nothing(void **state)
{
    (void)state;
    begin(2, false);
    say_ready(1);
    say_ready(2);
    announce();
    tick_at(10 * PAWL_GATE_WAIT_MS);
    assert_int_equal(rig.emitted, 0);
    pawl_gate_merged(&rig.gate, &second, rig.now_ms); /* of another epoch */
    assert_int_equal(rig.emitted, 0);
}

static void strict_waits_for_all(void **state)
{
    (void)state;
    begin(2, true);
    be_ready();
    tick_at(100 * PAWL_GATE_WAIT_MS);
    announce();
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_READY);
    struct pawl_member_id dead = id_of(2);

    assert_true(pawl_view_drop(&view, &dead)); /* it is not waited for once it is out */
    announce();
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_OPEN);
}

static void nobodys_view_is_not_everybodys_word(void **state)
{
    (void)state;
    begin(0, false);
    be_ready();
    announce();
    assert_int_equal(rig.emitted, 1);
    tick_at(PAWL_GATE_WAIT_MS);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_OPEN);
}

static void others_may_open_it(void **state)
{
    (void)state;
    begin(3, false);
    rig.open_for = first;
    announce();
    assert_true(pawl_gate_is_open(&rig.gate, &first));
    assert_int_equal(rig.emitted, 0);
    assert_int_equal(rig.gate.next_ms, UINT64_MAX);
}

static void a_new_epoch_closes_it_and_the_same_one_does_not(void **state)
{
    (void)state;
    begin(1, false);
    be_ready();
    answer(PAWL_ENGINE_WON);
    assert_true(pawl_gate_is_open(&rig.gate, &first));
    pawl_gate_on_down(&rig.gate, rig.now_ms);
    pawl_gate_on_up(&rig.gate, &first, rig.now_ms);
    assert_true(pawl_gate_is_open(&rig.gate, &first));
    rig.now_ms += 1000;
    pawl_gate_on_up(&rig.gate, &second, rig.now_ms);
    assert_false(pawl_gate_is_open(&rig.gate, &first));
    assert_false(pawl_gate_is_open(&rig.gate, &second));
    unsigned emitted = rig.emitted;

    rig.ready_count = 0;  /* they are of an epoch each */
    rig.open_for = first; /* the old one's, still there */
    announce();
    assert_false(pawl_gate_is_open(&rig.gate, &second));
    assert_int_equal(rig.emitted, emitted); /* and it has to be merged anew */
    pawl_gate_merged(&rig.gate, &second, rig.now_ms);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_READY);
    assert_true(pawl_epoch_equal(rig.last.gate.epoch, second));
}

static void the_answer_of_an_old_epoch_opens_nothing(void **state)
{
    (void)state;
    begin(1, false);
    be_ready();
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_OPEN);
    pawl_gate_on_up(&rig.gate, &second, rig.now_ms);
    answer(PAWL_ENGINE_WON);
    assert_false(pawl_gate_is_open(&rig.gate, &second));
    assert_false(pawl_gate_is_open(&rig.gate, &first));
}

static void what_was_not_answered_is_said_again(void **state)
{
    (void)state;
    begin(1, false);
    pawl_gate_merged(&rig.gate, &first, rig.now_ms);
    answer(PAWL_ENGINE_UNKNOWN);
    assert_int_equal(rig.emitted, 1);
    tick_at(PAWL_GATE_RETRY_MS - 1);
    assert_int_equal(rig.emitted, 1);
    tick_at(PAWL_GATE_RETRY_MS);
    assert_int_equal(rig.emitted, 2);
    answer(PAWL_ENGINE_WON);
    say_ready(1);
    announce();
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_OPEN);
    answer(PAWL_ENGINE_UNKNOWN);
    tick_at(5000);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_OPEN);
    answer(PAWL_ENGINE_WON);
    assert_true(pawl_gate_is_open(&rig.gate, &first));
}

static void a_flushed_engine_closes_it(void **state)
{
    (void)state;
    begin(1, false);
    be_ready();
    answer(PAWL_ENGINE_WON);
    unsigned emitted = rig.emitted;

    rig.ready_count = 0;
    announce();
    assert_false(pawl_gate_is_open(&rig.gate, &first));
    assert_int_equal(rig.emitted, emitted); /* the families are gone, too: first they are merged */
    pawl_gate_merged(&rig.gate, &first, rig.now_ms);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_READY);
}

static void an_engine_that_is_flushed_before_it_opens_has_to_be_told_anew(void **state)
{
    (void)state;
    begin(2, false);
    be_ready();
    announce();
    unsigned emitted = rig.emitted;

    rig.ready_count = 0;
    announce();
    announce();
    assert_int_equal(rig.emitted, emitted);
    pawl_gate_merged(&rig.gate, &first, rig.now_ms);
    assert_int_equal(rig.emitted, emitted + 1);
    assert_int_equal(rig.last.verb, PAWL_ENGINE_GATE_READY);
}

static void while_it_is_closed_members_look_often_and_not_for_ever(void **state)
{
    (void)state;
    begin(2, true);
    be_ready();
    for (uint64_t ms = 0; ms < 60000; ms++) {
        tick_at(ms);
    }
    assert_in_range(rig.looks, PAWL_GATE_WAIT_MS / PAWL_GATE_LOOK_MS,
                    PAWL_GATE_WAIT_MS / PAWL_GATE_LOOK_MS + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_when_all_members_are_ready),
        cmocka_unit_test(it_opens_by_time_and_not_before),
        cmocka_unit_test(who_has_not_merged_opens_nothing),
        cmocka_unit_test(strict_waits_for_all),
        cmocka_unit_test(nobodys_view_is_not_everybodys_word),
        cmocka_unit_test(others_may_open_it),
        cmocka_unit_test(a_new_epoch_closes_it_and_the_same_one_does_not),
        cmocka_unit_test(the_answer_of_an_old_epoch_opens_nothing),
        cmocka_unit_test(what_was_not_answered_is_said_again),
        cmocka_unit_test(a_flushed_engine_closes_it),
        cmocka_unit_test(an_engine_that_is_flushed_before_it_opens_has_to_be_told_anew),
        cmocka_unit_test(while_it_is_closed_members_look_often_and_not_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
