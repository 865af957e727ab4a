/*
 * The redis adapter and what goes wrong with a real server: wrong passwords and roles, restarts,
 * failovers, standstill, full memory. Each command is answered once, whatever happens.
 */
#include "unit/redis_rig.h"

static struct rig rig;
static struct rig_server server, other;

#define NEED_REDIS()                                     \
    do {                                                 \
        if (!rig_has_redis()) {                          \
            print_message("no /usr/bin/redis-server\n"); \
            skip();                                      \
        }                                                \
    } while (0)

static int begin(void **state)
{
    (void)state;
    memset(&server, 0, sizeof(server));
    memset(&other, 0, sizeof(other));
    if (rig_has_redis()) {
        rig_server_start(&server, 0, NULL);
        rig_init(&rig, server.port);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (server.folder[0] != '\0') {
        rig_server_end(&server);
    }
    if (other.folder[0] != '\0') {
        rig_server_end(&other);
    }
    return 0;
}

static void up(void)
{
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
}

static void replicate(struct rig_server *replica, uint16_t port)
{
    redisReply *reply = NULL;
    uint64_t until_ms = net_clock_ms() + RIG_PATIENCE_MS;

    rig_admin_do(replica, "REPLICAOF 127.0.0.1 %d", (int)port);
    for (bool done = false; !done;) {
        reply = redisCommand(replica->admin, "INFO replication");
        done = strstr(reply->str, "master_link_status:up") != NULL;
        freeReplyObject(reply);
        assert_true(net_clock_ms() < until_ms);
        (void)usleep(10000);
    }
}

/* Until the primary has heard of its replica: from then on it counts. */
static void acknowledged(struct rig_server *primary)
{
    uint64_t until_ms = net_clock_ms() + RIG_PATIENCE_MS;

    rig_admin_do(primary, "SET x y");
    while (rig_admin_number(primary, "WAIT 1 1000") < 1) {
        assert_true(net_clock_ms() < until_ms);
    }
}

/* ---- who is let in, and who is believed ---- */

static void a_wrong_password_is_said_and_a_right_one_goes_up(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, "CONFIG SET requirepass right");
    rig.options.password = "wrong";
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_non_null(strstr(rig.refused, "the password is refused: WRONGPASS"));
    assert_int_equal(rig.ups, 0);
    rig_stop(&rig);

    rig_init(&rig, server.port);
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_non_null(strstr(rig.refused, "a password is wanted"));
    rig_stop(&rig);

    rig_init(&rig, server.port);
    rig.options.password = "right";
    up();
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    rig_stop(&rig);
}

static void a_changed_password_is_used_by_the_next_connection(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, "CONFIG SET requirepass old");
    rig.options.password = "old";
    up();
    rig_admin_do(&server, "AUTH old");
    rig_admin_do(&server, "CONFIG SET requirepass new");
    rig_admin_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
    rig_until(&rig, rig.refused[0] != '\0');
    assert_int_equal(rig.ups, 1);
    pawl_redis_set_passwords(rig.redis, "new", NULL);
    rig_until(&rig, rig.ups == 2);
    rig_stop(&rig);
}

/* What is needed of a user, and no more: no INFO, no CONFIG, no CLIENT. */
static void a_user_who_may_ask_nothing_about_the_server_still_goes_up(void **state)
{
    struct pawl_epoch first;

    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, "ACL SETUSER small on >pw ~{t:* +@all -info -config -client -role");
    rig.options.user = "small";
    rig.options.password = "pw";
    up();
    assert_non_null(strstr(rig.state.warning, "INFO does not say"));
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "x")), PAWL_ENGINE_WON);
    first = rig.state.epoch;
    rig_admin_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
    rig_until(&rig, rig.ups == 2);
    assert_false(pawl_epoch_equal(first, rig.state.epoch)); /* cannot be told: say all again */
    rig_stop(&rig);
}

static void a_user_of_other_keys_is_told_so(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, "ACL SETUSER small on >pw ~other:* +@all");
    rig.options.user = "small";
    rig.options.password = "pw";
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_non_null(strstr(rig.refused, "NOPERM"));
    assert_int_equal(rig.ups, 0);
    rig_stop(&rig);
}

static void a_replica_is_refused_and_the_primary_behind_it_found(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_server_start(&other, 0, NULL);
    replicate(&other, server.port);
    rig.addresses[0].port = other.port;
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_string_equal(rig.refused, "it is a replica");
    rig_turn_for(&rig, 300);
    assert_int_equal(rig.ups, 0);
    rig_stop(&rig);

    acknowledged(&server);
    rig_init(&rig, other.port);
    rig.addresses[1].host = "127.0.0.1";
    rig.addresses[1].port = server.port;
    rig.options.address_count = 2;
    up();
    assert_int_equal(rig.state.replicas, 1);
    assert_non_null(strstr(rig.state.warning, "min-replicas-to-write is 0"));
    rig_stop(&rig);
}

static void an_engine_that_may_forget_is_told_and_refused_when_strict(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, "CONFIG SET maxmemory 100mb maxmemory-policy noeviction");
    up();
    assert_false(rig.state.unsafe);
    assert_non_null(strstr(rig.state.warning, "noeviction"));
    rig_stop(&rig);

    rig_admin_do(&server, "CONFIG SET maxmemory-policy allkeys-lru");
    rig_init(&rig, server.port);
    up();
    assert_true(rig.state.unsafe);
    assert_non_null(strstr(rig.state.warning, "revocations may be evicted"));
    rig_stop(&rig);

    rig_init(&rig, server.port);
    rig.options.strict = true;
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_non_null(strstr(rig.refused, "allkeys-"));
    rig_turn_for(&rig, 300);
    assert_int_equal(rig.ups, 0);
    rig_admin_do(&server, "CONFIG SET appendonly yes maxmemory-policy volatile-ttl");
    rig_until(&rig, rig.ups == 1);
    assert_string_equal(rig.state.warning, "");
    rig_stop(&rig);

    rig_admin_do(&server, "CONFIG SET appendonly no maxmemory-policy volatile-lru");
    rig_init(&rig, server.port);
    rig.options.strict = true; /* advice is no refusal */
    up();
    assert_false(rig.state.unsafe);
    assert_non_null(strstr(rig.state.warning, "set volatile-ttl"));
    assert_non_null(strstr(rig.state.warning, "set appendonly yes"));
    rig_stop(&rig);
}

static void a_policy_that_is_set_otherwise_meanwhile_is_noticed(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_admin_do(&server, "CONFIG SET maxmemory-policy volatile-ttl");
    up();
    assert_false(rig.state.unsafe);
    rig_admin_do(&server, "CONFIG SET maxmemory-policy allkeys-lru");
    net_ahead_ms += 61000;
    rig_until(&rig, rig.ups == 2);
    assert_true(rig.state.unsafe);
    net_ahead_ms += 61000; /* the same again is no news */
    rig_turn_for(&rig, 600);
    assert_int_equal(rig.ups, 2);
    rig_stop(&rig);
    net_ahead_ms = 0;
}

static void nobody_there_is_tried_again_and_commands_are_unsent(void **state)
{
    uint16_t port = server.port;

    (void)state;
    NEED_REDIS();
    rig_server_kill(&server);
    rig_start(&rig);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_UNSENT);
    assert_int_equal(rig_do(&rig, rig_wait(1, 100)), PAWL_ENGINE_UNSENT);
    rig_turn_for(&rig, 1000);
    assert_in_range(rig.net.connects, 4, 14); /* two each, from 200 ms up */
    rig_server_start(&server, port, NULL);
    rig_until(&rig, rig.ups == 1);
    rig_stop(&rig);
}

/* ---- another life ---- */

static void a_restart_is_another_epoch(void **state)
{
    struct pawl_epoch first;
    uint16_t port = server.port;

    (void)state;
    NEED_REDIS();
    up();
    first = rig.state.epoch;
    rig_server_kill(&server);
    rig_until(&rig, rig.downs == 1);
    rig_server_start(&server, port, NULL);
    rig_until(&rig, rig.ups == 2);
    assert_false(pawl_epoch_equal(first, rig.state.epoch));
    rig_stop(&rig);
}

static void a_lost_connection_is_the_same_epoch(void **state)
{
    struct pawl_epoch first;

    (void)state;
    NEED_REDIS();
    up();
    first = rig.state.epoch;
    rig_admin_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
    rig_until(&rig, rig.ups == 2);
    assert_int_equal(rig.downs, 1);
    assert_true(pawl_epoch_equal(first, rig.state.epoch));
    rig_stop(&rig);
}

static void a_demoted_primary_is_left_within_the_second_by_itself(void **state)
{
    uint64_t before_ms;

    (void)state;
    NEED_REDIS();
    rig_server_start(&other, 0, NULL);
    up();
    before_ms = net_clock_ms();
    rig_admin_do(&server, "REPLICAOF 127.0.0.1 %d", (int)other.port);
    rig_until(&rig, rig.downs == 1); /* nothing was asked of it */
    assert_true(net_clock_ms() - before_ms < 3000);
    rig_turn_for(&rig, 200);
    assert_int_equal(rig.ups, 1);
    rig_stop(&rig);
}

static void a_write_to_a_demoted_primary_did_not_happen(void **state)
{
    (void)state;
    NEED_REDIS();
    rig_server_start(&other, 0, NULL);
    up();
    rig_admin_do(&server, "REPLICAOF 127.0.0.1 %d", (int)other.port);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_UNSENT);
    rig_until(&rig, rig.downs == 1);
    assert_non_null(strstr(rig.why, "READONLY"));
    rig_stop(&rig);
}

/*
 * Demoted and promoted again while nobody looked: the connection lives on, the dataset may be
 * another. The next announcement is no announcement.
 */
static void a_promotion_under_a_live_connection_is_another_epoch(void **state)
{
    struct pawl_engine_command open = { .verb = PAWL_ENGINE_GATE_OPEN };
    struct pawl_epoch first;
    uint64_t announce;

    (void)state;
    NEED_REDIS();
    rig_server_start(&other, 0, NULL);
    up();
    first = rig.state.epoch;
    replicate(&server, other.port);
    rig_admin_do(&server, "REPLICAOF NO ONE");
    open.gate.epoch = first;
    (void)rig_emit(&rig, open);
    announce = rig_emit(&rig, rig_announce(1, ""));
    rig_until(&rig, rig.table[announce].times > 0);
    assert_int_equal(rig.table[announce - 1].result, PAWL_ENGINE_REFUSED); /* of another life */
    assert_int_equal(rig.table[announce].result, PAWL_ENGINE_UNKNOWN);
    rig_until(&rig, rig.ups == 2);
    assert_int_equal(rig.downs, 1);
    assert_false(pawl_epoch_equal(first, rig.state.epoch));
    rig_stop(&rig);
}

/* ---- standing still ---- */

static void what_a_stopped_server_was_sent_is_unknown_and_may_yet_happen(void **state)
{
    uint64_t tag;

    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(kill(server.pid, SIGSTOP), 0);
    struct pawl_engine_command append = rig_append(1, 1, "late");

    append.deadline_ms = 200;
    tag = rig_emit(&rig, append);
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_UNKNOWN);
    assert_int_equal(rig.downs, 0);  /* late is not lost */
    rig_until(&rig, rig.downs == 1); /* silence for so long is */
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_UNSENT);
    rig_turn_for(&rig, 300);
    assert_int_equal(kill(server.pid, SIGCONT), 0);
    rig_until(&rig, rig.ups == 2);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.top_count, 1); /* it happened */
    rig_stop(&rig);
}

static void a_server_that_is_slow_answers_late_and_stays(void **state)
{
    redisContext *sleeper;
    uint64_t tag;

    (void)state;
    NEED_REDIS();
    up();
    sleeper = rig_admin(server.port);
    assert_int_equal(redisAppendCommand(sleeper, "DEBUG SLEEP 0.6"), REDIS_OK);
    for (int done = 0; done == 0;) {
        assert_int_equal(redisBufferWrite(sleeper, &done), REDIS_OK);
    }
    rig_turn_for(&rig, 50);
    struct pawl_engine_command append = rig_append(1, 1, "late");

    append.deadline_ms = 200;
    tag = rig_emit(&rig, append);
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_UNKNOWN);
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "late")), PAWL_ENGINE_WON); /* the same again */
    assert_int_equal(rig.downs, 0);
    assert_int_equal(
        rig_admin_number(&server, "XLEN {t:rl:0}:o:%s", "cd010000000000000000000000000000"), 1);
    redisFree(sleeper);
    rig_stop(&rig);
}

/* ---- errors ---- */

static void a_full_engine_refuses_counters_and_takes_revocations(void **state)
{
    const struct pawl_slot_entry entry = { { 1, 2 }, { (const uint8_t *)"count", 5 } };
    struct pawl_engine_command save = { .verb = PAWL_ENGINE_SLOT_SAVE };
    uint64_t tag;

    (void)state;
    NEED_REDIS();
    up();
    rig_admin_do(&server, "CONFIG SET maxmemory 1mb maxmemory-policy noeviction");
    save.slot.entries = &entry;
    save.slot.count = 1;
    save.slot.view = 1;
    save.slot.keep_ms = 1000;
    tag = rig_emit(&rig, save);
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_FAILED);
    assert_non_null(strstr(rig.table[tag].error, "OOM"));
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "logged out")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.downs, 0);
    rig_stop(&rig);
}

static void too_few_replicas_fail_the_write_and_nothing_else(void **state)
{
    uint64_t tag;

    (void)state;
    NEED_REDIS();
    up();
    rig_admin_do(&server, "CONFIG SET min-replicas-to-write 1");
    tag = rig_emit(&rig, rig_announce(1, ""));
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_FAILED);
    assert_non_null(strstr(rig.table[tag].error, "NOREPLICAS"));
    rig_admin_do(&server, "CONFIG SET min-replicas-to-write 0");
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.downs, 0);
    rig_stop(&rig);
}

static void an_emptied_script_cache_is_not_noticed(void **state)
{
    (void)state;
    NEED_REDIS();
    up();
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "a")), PAWL_ENGINE_WON);
    for (uint64_t i = 2; i < 200; i++) {
        (void)rig_emit(&rig, rig_append(1, i, "b"));
    }
    rig_admin_do(&server, "SCRIPT FLUSH");
    assert_int_equal(rig_do(&rig, rig_append(1, 200, "c")), PAWL_ENGINE_WON);
    for (uint64_t i = 0; i < rig.next_tag; i++) {
        assert_int_equal(rig.table[i].result, PAWL_ENGINE_WON);
    }
    rig_stop(&rig);
}

static void a_foreign_key_fails_its_command_only(void **state)
{
    (void)state;
    NEED_REDIS();
    up();
    rig_admin_do(&server, "SET {t:rl:0}:o:cd010000000000000000000000000000 x");
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "a")), PAWL_ENGINE_FAILED);
    assert_int_equal(rig_do(&rig, rig_append(2, 1, "a")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.downs, 0);
    rig_stop(&rig);
}

/* ---- replicas ---- */

static void waiting_counts_the_replicas_that_hold_it(void **state)
{
    uint64_t first;
    uint64_t began_ms;

    (void)state;
    NEED_REDIS();
    rig_server_start(&other, 0, NULL);
    replicate(&other, server.port);
    acknowledged(&server);
    up();
    assert_int_equal(rig.state.replicas, 1);
    (void)rig_emit(&rig, rig_append(1, 1, "a"));
    assert_int_equal(rig_do(&rig, rig_wait(1, 2000)), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.wait.replicas, 1);

    began_ms = net_clock_ms(); /* more than there are: it is not waited for */
    assert_int_equal(rig_do(&rig, rig_wait(3, 4000)), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.wait.replicas, 1);
    assert_true(net_clock_ms() - began_ms < 2000);

    assert_int_equal(kill(other.pid, SIGSTOP), 0); /* the replica holds nothing more */
    first = rig_emit(&rig, rig_append(1, 2, "b"));
    (void)rig_emit(&rig, rig_wait(1, 300));
    for (unsigned i = 0; i < 20; i++) {
        (void)rig_emit(&rig, rig_wait(1, 300));
    }
    began_ms = net_clock_ms();
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_true(net_clock_ms() - began_ms < 1500); /* not 21 times 300 ms */
    rig_until(&rig, rig.answers == rig.next_tag);
    assert_int_equal(rig.table[first + 1].result, PAWL_ENGINE_WON);
    assert_int_equal(kill(other.pid, SIGCONT), 0);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wrong_password_is_said_and_a_right_one_goes_up, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_changed_password_is_used_by_the_next_connection, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_user_who_may_ask_nothing_about_the_server_still_goes_up,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_user_of_other_keys_is_told_so, begin, end),
        cmocka_unit_test_setup_teardown(a_replica_is_refused_and_the_primary_behind_it_found, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_engine_that_may_forget_is_told_and_refused_when_strict,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_policy_that_is_set_otherwise_meanwhile_is_noticed, begin,
                                        end),
        cmocka_unit_test_setup_teardown(nobody_there_is_tried_again_and_commands_are_unsent, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_restart_is_another_epoch, begin, end),
        cmocka_unit_test_setup_teardown(a_lost_connection_is_the_same_epoch, begin, end),
        cmocka_unit_test_setup_teardown(a_demoted_primary_is_left_within_the_second_by_itself,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_write_to_a_demoted_primary_did_not_happen, begin, end),
        cmocka_unit_test_setup_teardown(a_promotion_under_a_live_connection_is_another_epoch, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            what_a_stopped_server_was_sent_is_unknown_and_may_yet_happen, begin, end),
        cmocka_unit_test_setup_teardown(a_server_that_is_slow_answers_late_and_stays, begin, end),
        cmocka_unit_test_setup_teardown(a_full_engine_refuses_counters_and_takes_revocations, begin,
                                        end),
        cmocka_unit_test_setup_teardown(too_few_replicas_fail_the_write_and_nothing_else, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_emptied_script_cache_is_not_noticed, begin, end),
        cmocka_unit_test_setup_teardown(a_foreign_key_fails_its_command_only, begin, end),
        cmocka_unit_test_setup_teardown(waiting_counts_the_replicas_that_hold_it, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
