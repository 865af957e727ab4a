/*
 * Levels of acknowledgement: what the log, the journal and the members have said, and when the
 * caller is told. The log is a table of numbers here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cluster/acks.h"

/* ---- the log, in place of the real one ------------------------------------------------------ */

static struct {
    uint64_t appended, replicated[PAWL_LOG_REPLICAS_MAX + 1], confirmed[4];
    uint64_t wanted;
    uint32_t wanted_replicas;
    bool silent[4];
    uint64_t announces;
    unsigned asked_for;
} now;

uint64_t pawl_log_appended(const struct pawl_facts_log *log)
{
    (void)log;
    return now.appended;
}

uint64_t pawl_log_replicated(const struct pawl_facts_log *log, uint32_t replicas)
{
    (void)log;
    return now.replicated[replicas];
}

uint64_t pawl_log_confirmed(const struct pawl_facts_log *log, const struct pawl_member_id *member)
{
    (void)log;
    return now.confirmed[member->bytes[0]];
}

void pawl_log_want(struct pawl_facts_log *log, uint64_t position, uint32_t replicas)
{
    (void)log;
    now.wanted = position;
    now.wanted_replicas = replicas;
}

/* ---- a rig --------------------------------------------------------------------------------- */

static struct pawl_acks acks;

struct waiter {
    struct pawl_ack_wait wait;
    unsigned ended;
    enum pawl_status status;
    const char *why;
};

static bool is_silent(void *self, const struct pawl_member_id *member)
{
    (void)self;
    return now.silent[member->bytes[0]];
}

static uint64_t announces(void *self)
{
    (void)self;
    return now.announces;
}

static void announce(void *self)
{
    (void)self;
    now.asked_for++;
}

/* An announcement is sent, and its reply shows members 1 to @members. */
static void announced(unsigned members)
{
    const struct pawl_announced all[3] = { { .id = { { 1 } } },
                                           { .id = { { 2 } } },
                                           { .id = { { 3 } } } };

    pawl_acks_on_announced(&acks, all, members, ++now.announces, 1);
}

static void on_end(struct pawl_ack_wait *wait, enum pawl_status status, const char *why)
{
    struct waiter *waiter = wait->owner;

    waiter->ended++;
    waiter->status = status;
    waiter->why = why;
}

/* Members 1 to @members, this one is the first. */
static void begin(unsigned members, uint32_t replicas)
{
    const struct pawl_acks_options options = {
        .self = { { 1 } }, .silent = is_silent, .announces = announces, .announce = announce
    };
    const struct pawl_member_id all[3] = { { { 1 } }, { { 2 } }, { { 3 } } };

    memset(&now, 0, sizeof(now));
    pawl_acks_init(&acks, &options);
    pawl_acks_on_members(&acks, all, members, 0);
    pawl_acks_on_engine(&acks, true, replicas, 0);
}

static void ask(struct waiter *waiter, enum pawl_ack_level level, bool journal)
{
    memset(waiter, 0, sizeof(*waiter));
    waiter->wait = (struct pawl_ack_wait){ .asked = level,
                                           .position = 5,
                                           .deadline_ms = 1000,
                                           .journaling = journal,
                                           .done = on_end,
                                           .owner = waiter };
    pawl_acks_begin(&acks, &waiter->wait, 0);
}

static void ended(const struct waiter *waiter, enum pawl_ack_level reached)
{
    assert_int_equal(waiter->ended, 1);
    assert_int_equal(waiter->status, PAWL_OK);
    assert_int_equal(waiter->wait.reached, reached);
    assert_int_equal(acks.stats.waiting, 0);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void memory_waits_for_nothing(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(3, 2);
    ask(&waiter, PAWL_ACK_LEVEL_MEMORY, false);
    ended(&waiter, PAWL_ACK_LEVEL_MEMORY);
}

static void durable_is_the_journal_or_a_replica_or_another_member(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(3, 0);
    ask(&waiter, PAWL_ACK_LEVEL_DURABLE, true);
    assert_int_equal(waiter.ended, 0);
    pawl_acks_journaled(&acks, &waiter.wait, true, 1);
    ended(&waiter, PAWL_ACK_LEVEL_DURABLE);

    begin(3, 2);
    ask(&waiter, PAWL_ACK_LEVEL_DURABLE, false);
    assert_int_equal(now.wanted, 5);
    assert_int_equal(now.wanted_replicas, 1);
    now.appended = 5;
    pawl_acks_on_progress(&acks, 1);
    assert_int_equal(waiter.ended, 0); /* the primary alone is no second place */
    now.replicated[1] = 5;
    pawl_acks_on_progress(&acks, 2);
    assert_int_equal(waiter.ended, 1);
    assert_in_range(waiter.wait.reached, PAWL_ACK_LEVEL_DURABLE, PAWL_ACK_LEVEL_QUORUM);

    begin(3, 0);
    assert_true(pawl_acks_confirm(&acks, PAWL_ACK_LEVEL_DURABLE, false));
    assert_false(pawl_acks_confirm(&acks, PAWL_ACK_LEVEL_DURABLE, true));
    ask(&waiter, PAWL_ACK_LEVEL_DURABLE, false);
    now.appended = 5;
    now.confirmed[3] = 4;
    pawl_acks_on_progress(&acks, 1);
    assert_int_equal(waiter.ended, 0);
    now.confirmed[3] = 5;
    pawl_acks_on_progress(&acks, 2);
    ended(&waiter, PAWL_ACK_LEVEL_DURABLE);
}

static void quorum_is_a_majority_with_the_primary(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(3, 4);
    ask(&waiter, PAWL_ACK_LEVEL_QUORUM, false);
    assert_int_equal(now.wanted_replicas, 2);
    now.appended = 5;
    now.replicated[1] = 5;
    pawl_acks_on_progress(&acks, 1);
    assert_int_equal(waiter.ended, 0);
    now.replicated[2] = 5;
    pawl_acks_on_progress(&acks, 2);
    ended(&waiter, PAWL_ACK_LEVEL_QUORUM);
}

static void a_quorum_of_no_replicas_is_not_waited_for(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(3, 0);
    ask(&waiter, PAWL_ACK_LEVEL_QUORUM, true);
    now.appended = 5;
    pawl_acks_on_progress(&acks, 1);
    assert_int_equal(waiter.ended, 0);
    pawl_acks_journaled(&acks, &waiter.wait, true, 2);
    ended(&waiter, PAWL_ACK_LEVEL_DURABLE);
    assert_int_equal(acks.stats.shortfall, 1);
}

static void everywhere_is_every_member_that_may_still_answer(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(3, 2);
    assert_true(pawl_acks_confirm(&acks, PAWL_ACK_LEVEL_EVERYWHERE, true));
    ask(&waiter, PAWL_ACK_LEVEL_EVERYWHERE, true);
    now.appended = 5;
    now.replicated[1] = 5;
    pawl_acks_journaled(&acks, &waiter.wait, true, 1);
    announced(3);
    now.confirmed[2] = 5;
    pawl_acks_on_progress(&acks, 2);
    assert_int_equal(waiter.ended, 0); /* the third has not said so */
    now.silent[3] = true;
    pawl_acks_tick(&acks, 200);
    ended(&waiter, PAWL_ACK_LEVEL_EVERYWHERE);
}

static void confirmed_by_all_is_not_everywhere_before_the_replicas_have_it(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(2, 2);
    ask(&waiter, PAWL_ACK_LEVEL_EVERYWHERE, false);
    now.appended = 5;
    now.confirmed[2] = 5;
    pawl_acks_on_progress(&acks, 1);
    announced(2);
    assert_int_equal(waiter.ended, 0);
    now.replicated[1] = 5;
    pawl_acks_on_progress(&acks, 2);
    ended(&waiter, PAWL_ACK_LEVEL_EVERYWHERE);
}

/* One who joins, or was dropped: not in the view, and maybe fresh. */
static void everywhere_is_also_who_is_announced_and_no_member(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(2, 1);
    announced(2); /* before it was appended: the third may have come since, and be fresh */
    now.appended = 4;
    ask(&waiter, PAWL_ACK_LEVEL_EVERYWHERE, false);
    assert_int_equal(now.asked_for, 0);
    announced(2);
    now.appended = 5;
    now.replicated[1] = 5;
    now.confirmed[2] = 5;
    pawl_acks_on_progress(&acks, 2);
    assert_int_equal(waiter.ended, 0);
    assert_int_equal(now.asked_for, 1);
    announced(3);
    assert_int_equal(waiter.ended, 0);
    now.confirmed[3] = 5;
    pawl_acks_on_progress(&acks, 3);
    ended(&waiter, PAWL_ACK_LEVEL_EVERYWHERE);
    assert_int_equal(now.asked_for, 1);
}

/* Cut off, out of the view, and what said that it was there is flushed: fresh for a while yet. */
static void everywhere_is_also_who_was_announced_in_data_that_are_gone(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(2, 1);
    announced(3);
    pawl_acks_lost(&acks, 500);
    announced(2);
    ask(&waiter, PAWL_ACK_LEVEL_EVERYWHERE, false);
    now.appended = 5;
    now.replicated[1] = 5;
    now.confirmed[2] = 5;
    pawl_acks_on_progress(&acks, 2);
    announced(2);
    pawl_acks_on_progress(&acks, 499);
    assert_int_equal(waiter.ended, 0);
    pawl_acks_on_progress(&acks, 500);
    ended(&waiter, PAWL_ACK_LEVEL_EVERYWHERE);
}

static void more_nodes_than_can_be_counted_are_not_everywhere(void **state)
{
    static struct pawl_announced all[PAWL_MEMBERS_SEEN_MAX + 2];
    struct waiter waiter;

    (void)state;
    begin(1, 1);
    now.appended = 5;
    now.replicated[1] = 5;
    now.confirmed[2] = 5;
    for (unsigned i = 0; i < PAWL_MEMBERS_SEEN_MAX + 2; i++) {
        all[i].id.bytes[0] = i == 0 ? 1 : 2;
    }
    ask(&waiter, PAWL_ACK_LEVEL_EVERYWHERE, false);
    pawl_acks_on_announced(&acks, all, PAWL_MEMBERS_SEEN_MAX + 2, ++now.announces, 1);
    assert_int_equal(waiter.ended, 0);
    pawl_acks_on_announced(&acks, all, PAWL_MEMBERS_SEEN_MAX + 1, ++now.announces, 2);
    ended(&waiter, PAWL_ACK_LEVEL_EVERYWHERE);
}

static void at_the_deadline_the_level_reached_is_told(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(3, 2);
    ask(&waiter, PAWL_ACK_LEVEL_EVERYWHERE, false);
    now.appended = 5;
    now.replicated[1] = 5;
    pawl_acks_tick(&acks, 999);
    assert_int_equal(waiter.ended, 0);
    pawl_acks_tick(&acks, 1200);
    ended(&waiter, PAWL_ACK_LEVEL_QUORUM);
}

static void nothing_but_this_memory_is_refused_and_says_what_to_do(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(1, 0);
    pawl_acks_on_engine(&acks, false, 0, 0);
    ask(&waiter, PAWL_ACK_LEVEL_DURABLE, false);
    pawl_acks_tick(&acks, 1200);
    assert_int_equal(waiter.ended, 1);
    assert_int_equal(waiter.status, PAWL_EUNAVAIL);
    assert_non_null(strstr(waiter.why, "data_dir"));
    assert_int_equal(acks.stats.refused, 1);
}

static void alone_with_an_engine_that_has_no_replicas_it_is_told_at_once(void **state)
{
    struct waiter waiter;

    (void)state;
    begin(1, 0);
    ask(&waiter, PAWL_ACK_LEVEL_DURABLE, false);
    assert_int_equal(waiter.ended, 0);
    now.appended = 5;
    pawl_acks_on_progress(&acks, 1);
    ended(&waiter, PAWL_ACK_LEVEL_MEMORY);
}

static void the_end_ends_all_with_what_they_have(void **state)
{
    struct waiter held, lost;

    (void)state;
    begin(3, 2);
    ask(&held, PAWL_ACK_LEVEL_EVERYWHERE, false);
    ask(&lost, PAWL_ACK_LEVEL_QUORUM, false);
    lost.wait.position = 9;
    now.appended = 5;
    now.replicated[1] = 5;
    pawl_acks_end(&acks, 10);
    assert_int_equal(held.status, PAWL_OK);
    assert_int_equal(held.wait.reached, PAWL_ACK_LEVEL_QUORUM);
    assert_int_equal(lost.status, PAWL_EUNAVAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_waits_for_nothing),
        cmocka_unit_test(durable_is_the_journal_or_a_replica_or_another_member),
        cmocka_unit_test(quorum_is_a_majority_with_the_primary),
        cmocka_unit_test(a_quorum_of_no_replicas_is_not_waited_for),
        cmocka_unit_test(everywhere_is_every_member_that_may_still_answer),
        cmocka_unit_test(confirmed_by_all_is_not_everywhere_before_the_replicas_have_it),
        cmocka_unit_test(everywhere_is_also_who_is_announced_and_no_member),
        cmocka_unit_test(everywhere_is_also_who_was_announced_in_data_that_are_gone),
        cmocka_unit_test(more_nodes_than_can_be_counted_are_not_everywhere),
        cmocka_unit_test(at_the_deadline_the_level_reached_is_told),
        cmocka_unit_test(nothing_but_this_memory_is_refused_and_says_what_to_do),
        cmocka_unit_test(alone_with_an_engine_that_has_no_replicas_it_is_told_at_once),
        cmocka_unit_test(the_end_ends_all_with_what_they_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
