/*
 * The redis adapter and Sentinel: real sentinels, real failovers, sentinels that are wrong.
 */
#include "unit/redis_rig.h"

static struct rig rig;
static struct rig_server first, second, sentinel;

#define NEED_SENTINEL()                                  \
    do {                                                 \
        if (!rig_has_redis()) {                          \
            print_message("no /usr/bin/redis-server\n"); \
            skip();                                      \
        }                                                \
    } while (0)

/* One sentinel decides alone: quorum 1, and nobody else to ask. */
static void start_sentinel(const char *password)
{
    char path[128];
    FILE *file;

    (void)snprintf(sentinel.folder, sizeof(sentinel.folder), "/tmp/pawl-redis-XXXXXX");
    assert_non_null(mkdtemp(sentinel.folder));
    (void)snprintf(path, sizeof(path), "%s/sentinel.conf", sentinel.folder);
    file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file,
                  "sentinel monitor mine 127.0.0.1 %u 1\n"
                  "sentinel down-after-milliseconds mine 300\n"
                  "sentinel failover-timeout mine 3000\n",
                  (unsigned)first.port);
    if (password != NULL) {
        (void)fprintf(file, "requirepass %s\n", password);
    }
    (void)fclose(file);
    const char *const words[] = { path, "--sentinel", NULL };

    rig_server_run(&sentinel, "/usr/bin/redis-server", 0, words);
}

static void wait_for(struct rig_server *server, const char *command, const char *text)
{
    uint64_t until_ms = net_clock_ms() + RIG_PATIENCE_MS;

    for (bool done = false; !done;) {
        redisReply *reply = redisCommand(server->admin, command);

        assert_non_null(reply);
        done = reply->str != NULL && strstr(reply->str, text) != NULL;
        freeReplyObject(reply);
        assert_true(net_clock_ms() < until_ms);
        (void)usleep(10000);
    }
}

static int begin(void **state)
{
    (void)state;
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    memset(&sentinel, 0, sizeof(sentinel));
    if (rig_has_redis()) {
        rig_server_start(&first, 0, NULL);
        rig_server_start(&second, 0, NULL);
        rig_admin_do(&second, "REPLICAOF 127.0.0.1 %d", (int)first.port);
        wait_for(&second, "INFO replication", "master_link_status:up");
    }
    return 0;
}

static int end(void **state)
{
    struct rig_server *all[] = { &first, &second, &sentinel };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        if (all[i]->folder[0] != '\0') {
            rig_server_end(all[i]);
        }
    }
    return 0;
}

static void by_name(const char *name)
{
    rig_init(&rig, sentinel.port);
    rig.options.addresses = NULL;
    rig.options.address_count = 0;
    rig.options.sentinel_name = name;
    rig.options.sentinels = rig.addresses;
    rig.options.sentinel_count = 1;
}

static bool leads_to(const struct rig_server *server)
{
    char port[8];

    (void)snprintf(port, sizeof(port), ":%u", server->port);
    return strstr(rig.state.address, port) != NULL;
}

static void the_primary_is_found_by_its_name(void **state)
{
    (void)state;
    NEED_SENTINEL();
    start_sentinel(NULL);
    by_name("mine");
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    assert_true(leads_to(&first));
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    rig_stop(&rig);

    by_name("another");
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_non_null(strstr(rig.refused, "does not know the master"));
    rig_stop(&rig);
}

static void a_password_of_sentinels_is_its_own(void **state)
{
    (void)state;
    NEED_SENTINEL();
    start_sentinel("watch");
    by_name("mine");
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_non_null(strstr(rig.refused, "NOAUTH"));
    rig_stop(&rig);

    by_name("mine");
    rig.options.sentinel_password = "watch";
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    rig_stop(&rig);
}

/* One that is away, one that names a replica, one that is right: which is asked first then. */
static void a_wrong_sentinel_is_passed_over_and_the_right_one_kept(void **state)
{
    unsigned before;

    (void)state;
    NEED_SENTINEL();
    start_sentinel(NULL);
    by_name("mine");
    rig.addresses[0].port = rig_free_port(); /* nobody */
    rig.addresses[1].host = "127.0.0.1";
    rig.addresses[1].port = first.port; /* no sentinel at all */
    rig.addresses[2].host = "127.0.0.1";
    rig.addresses[2].port = sentinel.port;
    rig.options.sentinel_count = 3;
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    before = rig.net.connects;
    rig_admin_do(&first, "CLIENT KILL TYPE normal SKIPME yes");
    rig_until(&rig, rig.ups == 2);
    assert_in_range(rig.net.connects - before, 3, 4); /* the right one, and two to the primary */
    rig_stop(&rig);
}

static void what_a_sentinel_names_has_to_be_a_primary(void **state)
{
    (void)state;
    NEED_SENTINEL();
    start_sentinel(NULL);
    by_name("mine");
    rig_admin_do(&sentinel, "SENTINEL REMOVE mine");
    rig_admin_do(&sentinel, "SENTINEL MONITOR mine 127.0.0.1 %d 2", (int)second.port);
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_string_equal(rig.refused, "it is a replica");
    assert_int_equal(rig.ups, 0);
    rig_stop(&rig);
}

/*
 * The primary dies. Sentinel promotes the replica; what was lost is not invented, the epoch is
 * another one, and the old primary is no primary when it comes back.
 */
static void a_failover_is_followed(void **state)
{
    struct pawl_epoch before;
    uint16_t port = first.port;
    uint64_t began_ms;

    (void)state;
    NEED_SENTINEL();
    start_sentinel(NULL);
    rig_admin_do(&first, "SET x y");
    while (rig_admin_number(&first, "WAIT 1 1000") < 1) {
    }
    wait_for(&sentinel, "INFO sentinel", "slaves=1");
    by_name("mine");
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    before = rig.state.epoch;
    assert_int_equal(rig_do(&rig, rig_append(1, 1, "kept")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_wait(1, 1000)), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.wait.replicas, 1);
    began_ms = net_clock_ms();
    rig_server_kill(&first);
    rig_until(&rig, rig.downs == 1);
    assert_int_equal(rig_do(&rig, rig_append(1, 2, "not sent")), PAWL_ENGINE_UNSENT);
    rig_until(&rig, rig.ups == 2);
    print_message("failover followed after %u ms\n", (unsigned)(net_clock_ms() - began_ms));
    assert_true(leads_to(&second));
    assert_false(pawl_epoch_equal(before, rig.state.epoch));
    assert_int_equal(rig_do(&rig, rig_append(1, 2, "again")), PAWL_ENGINE_WON);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.tops[0].top, 2);

    rig_server_start(&first, port, NULL); /* it comes back, and believes itself primary */
    rig_turn_for(&rig, 300);
    assert_int_equal(rig.ups, 2);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    assert_int_equal(rig.last.announce.top_count, 1);
    rig_stop(&rig);
}

/*
 * The old primary is alive and believes in itself, but Sentinel has another: who stays with it
 * writes into the void.
 */
static void a_primary_that_sentinel_has_left_is_left(void **state)
{
    (void)state;
    NEED_SENTINEL();
    rig_admin_do(&second, "REPLICAOF NO ONE");
    start_sentinel(NULL);
    by_name("mine");
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    assert_true(leads_to(&first));
    rig_turn_for(&rig, 2500); /* looked at again, and the same */
    assert_int_equal(rig.downs, 0);
    rig_admin_do(&sentinel, "SENTINEL REMOVE mine");
    rig_admin_do(&sentinel, "SENTINEL MONITOR mine 127.0.0.1 %d 2", (int)second.port);
    rig_until(&rig, rig.downs == 1);
    assert_string_equal(rig.why, "Sentinel names another primary");
    rig_until(&rig, rig.ups == 2);
    assert_true(leads_to(&second));
    rig_stop(&rig);
}

static void without_sentinels_the_primary_is_kept(void **state)
{
    (void)state;
    NEED_SENTINEL();
    start_sentinel(NULL);
    by_name("mine");
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
    rig_server_kill(&sentinel);
    rig_turn_for(&rig, 3500);
    assert_int_equal(rig.downs, 0);
    assert_int_equal(rig_do(&rig, rig_announce(1, "")), PAWL_ENGINE_WON);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_primary_is_found_by_its_name, begin, end),
        cmocka_unit_test_setup_teardown(a_password_of_sentinels_is_its_own, begin, end),
        cmocka_unit_test_setup_teardown(a_wrong_sentinel_is_passed_over_and_the_right_one_kept,
                                        begin, end),
        cmocka_unit_test_setup_teardown(what_a_sentinel_names_has_to_be_a_primary, begin, end),
        cmocka_unit_test_setup_teardown(a_failover_is_followed, begin, end),
        cmocka_unit_test_setup_teardown(a_primary_that_sentinel_has_left_is_left, begin, end),
        cmocka_unit_test_setup_teardown(without_sentinels_the_primary_is_kept, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
