/*
 * The redis adapter and a server that is none: replies without end, of no sense, too early, too
 * many. A scripted server in the same loop greets as Redis does and then says what the test says.
 */
#include "unit/redis_rig.h"

#define RUN_ID "0123456789abcdef0123456789abcdef01234567"
#define REPLID "89abcdef0123456789abcdef0123456789abcdef"

static struct rig rig;

/** What it answers; NULL: as a primary would. */
static struct fake {
    int listener;
    uint16_t port;
    const char *role, *version, *run_id, *replid;
    const char *tail_run_id; /* to every second connection */
    const char *announce;    /* raw; NULL: nothing at all */
    const char *read;        /* raw; NULL: nothing */
    size_t repeat;           /* the raw answer so often */
    const char *touch;
    unsigned accepted, announces;
    char kills[64];
    bool mute; /* accepts and says nothing */
} fake;

static void say(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left > 0) { /* the loop is the same: what does not fit now is not waited for */
        ssize_t sent = send(fd, text, left, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent <= 0) {
            return;
        }
        text += sent;
        left -= (size_t)sent;
    }
}

static void say_bulk(int fd, const char *text)
{
    char line[512];

    (void)snprintf(line, sizeof(line), "$%zu\r\n%s\r\n", strlen(text), text);
    say(fd, line);
}

static void say_raw(int fd, const char *text)
{
    for (size_t i = 0; text != NULL && i < (fake.repeat > 0 ? fake.repeat : 1); i++) {
        say(fd, text);
    }
}

static void say_info(int fd, const char *section)
{
    char text[400];

    if (strcmp(section, "server") == 0) {
        (void)snprintf(text, sizeof(text), "# Server\r\nredis_version:%s\r\nrun_id:%s\r\n",
                       fake.version != NULL ? fake.version : "7.0.15",
                       fake.tail_run_id != NULL && fd % 2 == 0 ? fake.tail_run_id
                       : fake.run_id != NULL                   ? fake.run_id
                                                               : RUN_ID);
    } else if (strcmp(section, "replication") == 0) {
        (void)snprintf(text, sizeof(text), "role:%s\r\nconnected_slaves:0\r\nmaster_replid:%s\r\n",
                       fake.role != NULL ? fake.role : "master",
                       fake.replid != NULL ? fake.replid : REPLID);
    } else {
        (void)snprintf(text, sizeof(text), "maxmemory:0\r\nmaxmemory_policy:volatile-ttl\r\n");
    }
    say_bulk(fd, text);
}

static void serve(int fd, char **words, size_t count)
{
    if (fake.mute) {
        return;
    }
    if (strcmp(words[0], "INFO") == 0) {
        say_info(fd, words[1]);
    } else if (strcmp(words[0], "CLIENT") == 0 && strcmp(words[1], "ID") == 0) {
        char line[24];

        (void)snprintf(line, sizeof(line), ":%d\r\n", 1000 + fd);
        say(fd, line);
    } else if (strcmp(words[0], "CLIENT") == 0 && strcmp(words[1], "KILL") == 0) {
        (void)snprintf(fake.kills + strlen(fake.kills), sizeof(fake.kills) - strlen(fake.kills),
                       "%s ", words[3]);
        say(fd, ":1\r\n");
    } else if (strcmp(words[0], "CONFIG") == 0) {
        say(fd, "*0\r\n");
    } else if (strcmp(words[0], "EXISTS") == 0) {
        say(fd, fake.touch != NULL ? fake.touch : ":0\r\n");
    } else if (strcmp(words[0], "EVAL") == 0) {
        fake.announces++;
        say_raw(fd, fake.announce);
    } else if (strcmp(words[0], "XREAD") == 0) {
        say_raw(fd, fake.read);
    } else {
        say(fd, "+OK\r\n");
    }
    (void)count;
}

/* Whole commands only: they are small, and come in one piece. */
static void on_client(void *ctx, int fd)
{
    static char buffer[1 << 20];
    ssize_t size = recv(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT);
    char *at = buffer;

    (void)ctx;
    if (size <= 0) {
        net_unwatch(&rig.net, fd);
        (void)close(fd);
        return;
    }
    while (at < buffer + size && *at == '*') {
        static char none[] = "";
        char *words[16] = { none, none, none, none };
        size_t count = strtoul(at + 1, &at, 10);

        at += 2;
        for (size_t i = 0; i < count; i++) {
            size_t length = strtoul(at + 1, &at, 10);

            if (i < 16) {
                words[i] = at + 2;
            }
            at += 2 + length;
            *at = '\0';
            at += 2;
        }
        serve(fd, words, count);
    }
}

static void on_accept(void *ctx, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    (void)ctx;
    if (fd >= 0) {
        fake.accepted++;
        net_watch(&rig.net, fd, on_client, NULL);
    }
}

static int begin(void **state)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t size = sizeof(name);

    (void)state;
    memset(&fake, 0, sizeof(fake));
    (void)inet_pton(AF_INET, "127.0.0.1", &name.sin_addr);
    fake.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fake.listener, (const struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(fake.listener, 16), 0);
    assert_int_equal(getsockname(fake.listener, (struct sockaddr *)&name, &size), 0);
    fake.port = ntohs(name.sin_port);
    rig_init(&rig, fake.port);
    net_watch(&rig.net, fake.listener, on_accept, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NET_EXTRA; i++) {
        if (rig.net.extras[i].fd >= 0) {
            (void)close(rig.net.extras[i].fd);
        }
    }
    return 0;
}

static void up(void)
{
    rig_start(&rig);
    rig_until(&rig, rig.ups == 1);
}

static uint64_t emit_read(uint32_t entries_max)
{
    const struct pawl_log_cursor cursor = { rig_origin(1), 0 };
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_READ };

    command.read.cursors = &cursor;
    command.read.count = 1;
    command.read.entries_max = entries_max;
    return rig_emit(&rig, command);
}

/* ---- what is no reply ---- */

static void refused_in(const char *announce, size_t repeat, const char *why)
{
    uint64_t tag;

    fake.announce = announce;
    fake.repeat = repeat;
    up();
    tag = rig_emit(&rig, rig_announce(1, ""));
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_UNKNOWN);
    rig_until(&rig, rig.downs == 1);
    assert_non_null(strstr(rig.why, why));
    fake.announce = NULL;
    rig_until(&rig, rig.ups == 2); /* and tried again */
    rig_stop(&rig);
}

static void what_is_no_resp_ends_the_connection(void **state)
{
    (void)state;
    refused_in("HTTP/1.1 400 Bad Request\r\n", 1, "no RESP2");
}

static void a_push_of_resp3_ends_the_connection(void **state)
{
    (void)state;
    refused_in(">2\r\n+invalidate\r\n*0\r\n", 1, "no RESP2");
}

static void nesting_without_end_ends_the_connection(void **state)
{
    (void)state;
    refused_in("*1\r\n", 1000, "no RESP2");
}

static void an_endless_line_ends_the_connection(void **state)
{
    (void)state;
    refused_in("+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
               2000, "larger than any");
}

static void an_endless_length_ends_the_connection(void **state)
{
    (void)state;
    refused_in("$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1,
               "no RESP2");
}

static void a_huge_bulk_is_refused_by_its_length(void **state)
{
    (void)state;
    refused_in("$1000000000\r\naaaa", 1, "larger than any");
}

static void an_array_of_too_many_is_refused_by_its_count(void **state)
{
    (void)state;
    refused_in("*2147483647\r\n", 1, "larger than any");
}

static void an_array_that_only_claims_to_be_large_costs_nothing(void **state)
{
    uint64_t tag;
    struct pawl_engine_command announce = rig_announce(1, "");

    (void)state;
    fake.announce = "*524288\r\n:1\r\n";
    up();
    announce.deadline_ms = 100;
    tag = rig_emit(&rig, announce);
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_UNKNOWN);
    rig_until(&rig, rig.downs == 1); /* the rest never comes */
    rig_stop(&rig);
}

static void an_answer_to_another_question_is_none(void **state)
{
    (void)state;
    refused_in(":1\r\n", 1, "none to what was asked");
}

static void an_announcement_without_its_parts_is_none(void **state)
{
    (void)state;
    refused_in("*2\r\n$1\r\n1\r\n$1\r\n2\r\n", 1, "none to what was asked");
}

static void a_reply_that_nobody_asked_for_ends_the_connection(void **state)
{
    uint64_t tag;

    (void)state;
    fake.announce = "-ERR one\r\n-ERR two\r\n";
    up();
    tag = rig_emit(&rig, rig_announce(1, ""));
    rig_until(&rig, rig.downs == 1);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_FAILED);
    assert_string_equal(rig.why, "a reply that nobody asked for");
    rig_stop(&rig);
}

static void after_a_reply_too_large_less_is_asked_for(void **state)
{
    uint64_t tag;

    (void)state;
    fake.read = "*2147483647\r\n";
    up();
    for (unsigned i = 0; i < 3; i++) {
        rig_until(&rig, rig.ups == i + 1);
        tag = emit_read(1000);
        rig_until(&rig, rig.table[tag].times > 0);
        assert_int_equal(rig.table[tag].result, PAWL_ENGINE_UNKNOWN);
    }
    rig_until(&rig, rig.ups == 4);
    fake.read = "*-1\r\n";
    tag = emit_read(1000);
    rig_until(&rig, rig.table[tag].times > 0);
    assert_int_equal(rig.table[tag].result, PAWL_ENGINE_WON);
    rig_stop(&rig);
}

/* ---- whom it believes ---- */

static void it_is_not_believed(const char *why)
{
    rig_start(&rig);
    rig_until(&rig, rig.refused[0] != '\0');
    assert_non_null(strstr(rig.refused, why));
    rig_turn_for(&rig, 100);
    assert_int_equal(rig.ups, 0);
    rig_stop(&rig);
}

static void one_older_than_7_0_is_refused(void **state)
{
    (void)state;
    fake.version = "6.2.14";
    it_is_not_believed("older than Redis 7.0");
}

static void a_sentinel_among_the_addresses_is_refused_with_what_to_do(void **state)
{
    (void)state;
    fake.version = "7.0.15\r\nredis_mode:sentinel";
    it_is_not_believed("cluster.sentinel.nodes");
}

static void a_server_in_cluster_mode_is_refused_with_what_to_do(void **state)
{
    (void)state;
    fake.version = "7.0.15\r\nredis_mode:cluster";
    it_is_not_believed("alone or under Sentinel");
}

static void two_connections_to_two_servers_are_refused(void **state)
{
    (void)state;
    fake.tail_run_id = "ffffffffffffffffffffffffffffffffffffffff";
    it_is_not_believed("different servers");
}

static void one_that_loads_its_data_is_not_used(void **state)
{
    (void)state;
    fake.touch = "-LOADING Redis is loading the dataset in memory\r\n";
    it_is_not_believed("LOADING");
}

static void one_that_is_silent_is_left(void **state)
{
    (void)state;
    fake.mute = true;
    it_is_not_believed("no answer to the handshake");
}

static void clients_of_the_same_life_are_killed_before_anything_is_sent(void **state)
{
    (void)state;
    fake.announce = "+nonsense\r\n";
    up();
    (void)rig_emit(&rig, rig_announce(1, ""));
    rig_until(&rig, rig.ups == 2);
    assert_true(strlen(fake.kills) >= 10); /* both */

    fake.kills[0] = '\0';
    (void)rig_emit(&rig, rig_announce(1, ""));
    fake.run_id = "ffffffffffffffffffffffffffffffffffffffff"; /* ids of another life mean others */
    rig_until(&rig, rig.ups == 3);
    assert_string_equal(fake.kills, "");
    rig_stop(&rig);
}

static void a_server_that_turns_replica_is_left(void **state)
{
    (void)state;
    up();
    fake.role = "slave";
    rig_until(&rig, rig.downs == 1);
    assert_non_null(strstr(rig.why, "none any more"));
    rig_stop(&rig);
}

static void a_replid_that_changes_is_another_epoch(void **state)
{
    struct pawl_epoch first;

    (void)state;
    up();
    first = rig.state.epoch;
    fake.replid = "ffffffffffffffffffffffffffffffffffffffff";
    rig_until(&rig, rig.ups == 2);
    assert_int_equal(rig.downs, 1);
    assert_false(pawl_epoch_equal(first, rig.state.epoch));
    rig_stop(&rig);
}

/* ---- the caps of the contract ---- */

static void a_command_past_the_caps_fails_and_is_not_sent(void **state)
{
    static uint8_t bytes[PAWL_LOG_ENTRY_MAX + 1];
    struct pawl_engine_command append = rig_append(1, 1, "");

    (void)state;
    up();
    append.append.bytes = pawl_bytes_of(bytes, sizeof(bytes));
    assert_int_equal(rig_do(&rig, append), PAWL_ENGINE_FAILED);
    append = rig_append(1, 1, "");
    append.append.position = 0;
    assert_int_equal(rig_do(&rig, append), PAWL_ENGINE_FAILED);
    assert_int_equal(fake.announces, 0);
    rig_stop(&rig);
}

static void options_that_cannot_be_are_refused(void **state)
{
    const struct pawl_engine_events events = { rig_on_up, rig_on_down, rig_on_reply, &rig };
    struct pawl_redis_options options = rig.options;
    struct pawl_redis *redis;

    (void)state;
    options.prefix = "a{b";
    assert_int_equal(pawl_redis_create(&options, &events, &redis, NULL), PAWL_EINVAL);
    assert_null(redis);
    options = rig.options;
    options.address_count = 0;
    assert_int_equal(pawl_redis_create(&options, &events, &redis, NULL), PAWL_EINVAL);
    options = rig.options;
    options.sentinel_name = "m"; /* and addresses */
    assert_int_equal(pawl_redis_create(&options, &events, &redis, NULL), PAWL_EINVAL);
    options = rig.options;
    options.client_name = "two words";
    assert_int_equal(pawl_redis_create(&options, &events, &redis, NULL), PAWL_EINVAL);
}

static void closing_answers_everything_first(void **state)
{
    (void)state;
    up();
    (void)rig_emit(&rig, rig_announce(1, "")); /* never answered */
    (void)rig_emit(&rig, rig_wait(1, 100));
    (void)emit_read(1);
    rig_stop(&rig);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig.table[i].result, PAWL_ENGINE_UNKNOWN);
    }
}

static void closing_before_it_began_is_fine(void **state)
{
    (void)state;
    rig_start(&rig);
    rig_stop(&rig);
    assert_int_equal(fake.accepted, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_resp_ends_the_connection),
        TEST(a_push_of_resp3_ends_the_connection),
        TEST(nesting_without_end_ends_the_connection),
        TEST(an_endless_line_ends_the_connection),
        TEST(an_endless_length_ends_the_connection),
        TEST(a_huge_bulk_is_refused_by_its_length),
        TEST(an_array_of_too_many_is_refused_by_its_count),
        TEST(an_array_that_only_claims_to_be_large_costs_nothing),
        TEST(an_answer_to_another_question_is_none),
        TEST(an_announcement_without_its_parts_is_none),
        TEST(a_reply_that_nobody_asked_for_ends_the_connection),
        TEST(after_a_reply_too_large_less_is_asked_for),
        TEST(one_older_than_7_0_is_refused),
        TEST(a_sentinel_among_the_addresses_is_refused_with_what_to_do),
        TEST(a_server_in_cluster_mode_is_refused_with_what_to_do),
        TEST(two_connections_to_two_servers_are_refused),
        TEST(one_that_loads_its_data_is_not_used),
        TEST(one_that_is_silent_is_left),
        TEST(clients_of_the_same_life_are_killed_before_anything_is_sent),
        TEST(a_server_that_turns_replica_is_left),
        TEST(a_replid_that_changes_is_another_epoch),
        TEST(a_command_past_the_caps_fails_and_is_not_sent),
        TEST(options_that_cannot_be_are_refused),
        TEST(closing_answers_everything_first),
        TEST(closing_before_it_began_is_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
