/* libpawl: who is in a fleet, and the straight way to the owner of a key. Members are pawlds of the
 * test (fake_pawld.h) that tell a view. */
#include "private.h"

#include "core/ring.h"
#include "unit/fake_pawld.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MEMBERS 3

static struct fake *fleet[MEMBERS];

static int start_fleet(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MEMBERS; i++) {
        fleet[i] = fake_start(FAKE_ANSWER);
        memset(fleet[i]->node, (int)(0x11 * (i + 1)), sizeof(fleet[i]->node));
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        memcpy(fleet[i]->fleet, fleet, sizeof(fleet));
        atomic_store(&fleet[i]->fleet_count, MEMBERS);
        atomic_store(&fleet[i]->view, 7);
    }
    return 0;
}

static int stop_fleet(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (fleet[i] != NULL) {
            fake_stop(fleet[i]);
            fleet[i] = NULL;
        }
    }
    return 0;
}

static struct pawl_client *client_for(const struct fake *fake, uint32_t flags)
{
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .addresses = fake->address,
                                           .flags = flags | PAWL_CLIENT_NO_FALLBACK,
                                           .check_deadline_ms = 20000,
                                           .durable_deadline_ms = 20000 };
    struct pawl_client *client = NULL;

    assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
    return client;
}

/** Check @count keys at once; the outcome of the last. */
static enum pawl_outcome check_keys(struct pawl_client *client, const char *const *keys,
                                    size_t count)
{
    struct pawl_str parts[4];
    struct pawl_check_item items[4];
    struct pawl_check_call call = { .struct_size = sizeof(call),
                                    .items = items,
                                    .item_count = count };
    struct pawl_check_result result = { .struct_size = sizeof(result) };

    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < count; i++) {
        parts[i] = pawl_str(keys[i]);
        items[i].rates = "5/minute";
        items[i].key = &parts[i];
        items[i].key_count = 1;
    }
    assert_int_equal(pawl_client_check(client, &call, &result), PAWL_RC_OK);
    return result.outcome;
}

static enum pawl_outcome check(struct pawl_client *client, unsigned number)
{
    char text[16];
    const char *key = text;

    (void)snprintf(text, sizeof(text), "key-%u", number);
    return check_keys(client, &key, 1);
}

/** Whose key-@number is, among the first @count of the fleet. */
static unsigned owner_of(unsigned number, unsigned count)
{
    struct pawl_member_id ids[MEMBERS];
    struct pawl_ring ring;
    struct pawl_subkey key;
    struct pawl_bytes part;
    uint16_t owner;
    char text[16];

    memcpy(key.bytes, FAKE_SUBKEY, sizeof(key.bytes));
    for (unsigned i = 0; i < count; i++) {
        memcpy(ids[i].bytes, fleet[i]->node, sizeof(ids[i].bytes));
    }
    assert_int_equal(pawl_ring_build(&ring, &key, 1, ids, count), PAWL_OK);
    part = pawl_bytes_of(text, (size_t)snprintf(text, sizeof(text), "key-%u", number));
    owner = ring.owner[pawl_ring_slot(&key, pawl_bytes_of("default", 7), &part, 1)];
    for (unsigned i = 0; i < count; i++) {
        if (memcmp(ring.members[owner].bytes, fleet[i]->node, sizeof(fleet[i]->node)) == 0) {
            return i;
        }
    }
    return MEMBERS;
}

static uint64_t direct(struct pawl_client *client)
{
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };

    pawl_client_figures(client, &figures);
    return figures.direct;
}

static unsigned requests(unsigned member)
{
    return (unsigned)atomic_load(&fleet[member]->requests);
}

/** Until the way to every other of @count members is there: checks go on meanwhile. */
static void settle(struct pawl_client *client, unsigned count)
{
    unsigned found = 0;

    for (unsigned turn = 0; turn < 2000 && found < count - 1; turn++) {
        found = 0;
        for (unsigned k = 0; k < 32; k++) {
            uint64_t before = direct(client);

            assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
            if (direct(client) > before) {
                found |= 1u << owner_of(k, count);
            }
        }
        found = (unsigned)__builtin_popcount(found);
    }
    assert_int_equal(found, count - 1);
}

static void the_members_are_told(void **state)
{
    struct pawl_client *client = client_for(fleet[0], 0);
    struct pawl_member_info members[2];
    struct pawl_members_call call = { .struct_size = sizeof(call) };
    struct pawl_members_result result = { .struct_size = sizeof(result),
                                          .members = members,
                                          .members_max = 2 };

    (void)state;
    assert_int_equal(pawl_client_members(client, &call, &result), PAWL_RC_OK);
    assert_int_equal(result.view, 7);
    assert_int_equal(result.member_count, 2);
    assert_int_equal(result.member_total, MEMBERS);
    assert_memory_equal(members[1].node, fleet[1]->node, 16);
    assert_string_equal(members[1].address, fleet[1]->address);
    assert_string_equal(members[1].state, "serving");
    assert_string_equal(members[1].version, "9.9");
    assert_int_equal(members[1].uptime_s, 61);
    pawl_client_destroy(client);
}

static void a_check_goes_straight_to_the_owner_of_its_key(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    unsigned before[MEMBERS];
    unsigned expected[MEMBERS] = { 0 };

    (void)state;
    settle(client, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) {
        before[i] = requests(i);
    }
    for (unsigned k = 0; k < 300; k++) {
        assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
        expected[owner_of(k, MEMBERS)]++;
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        assert_true(expected[i] > 50);
        assert_int_equal(requests(i) - before[i], expected[i]);
    }
    pawl_client_destroy(client);
}

static void without_the_flag_or_a_fleet_one_daemon_is_asked(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 2; turn++) {
        struct pawl_client *client = client_for(fleet[0], turn == 0 ? 0 : PAWL_CLIENT_ROUTE);

        atomic_store(&fleet[0]->view, turn == 0 ? 7 : 0);
        for (unsigned k = 0; k < 100; k++) {
            assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
        }
        assert_int_equal(atomic_load(&fleet[0]->features), turn == 0 ? 0 : PAWL_FEATURE_ROUTING);
        assert_int_equal(direct(client), 0);
        pawl_client_destroy(client);
    }
    assert_int_equal(requests(1) + requests(2), 0);
}

static void keys_of_several_owners_go_the_ordinary_way(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    char texts[2][16] = { "", "" };
    const char *keys[2] = { texts[0], texts[1] };
    unsigned before;
    uint64_t direct_before;

    (void)state;
    settle(client, MEMBERS);
    for (unsigned k = 0; texts[0][0] == '\0' || texts[1][0] == '\0'; k++) {
        unsigned owner = owner_of(k, MEMBERS);

        if (owner > 0) {
            (void)snprintf(texts[owner - 1], sizeof(texts[0]), "key-%u", k);
        }
    }
    before = requests(0);
    direct_before = direct(client);
    assert_int_equal(check_keys(client, keys, 2), PAWL_OUTCOME_ALLOW);
    assert_int_equal(requests(0), before + 1);
    assert_int_equal(direct(client), direct_before);
    pawl_client_destroy(client);
}

static void a_member_that_goes_is_passed_by(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);

    (void)state;
    settle(client, MEMBERS);
    fake_stop(fleet[2]);
    fleet[2] = NULL;
    for (unsigned k = 0; k < 300; k++) { /* its end is seen before anything is sent to it */
        assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
    }
    pawl_client_destroy(client);
}

static void a_member_that_says_goaway_answers_elsewhere(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };

    (void)state;
    settle(client, MEMBERS);
    atomic_store(&fleet[1]->mode, FAKE_GOAWAY); /* the next one is not begun */
    for (unsigned k = 0; k < 100; k++) {
        assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
    }
    pawl_client_figures(client, &figures);
    assert_int_equal(figures.goaways, 1);
    assert_int_equal(figures.moved, 1);
    assert_int_equal(figures.lost, 0);
    pawl_client_destroy(client);
}

static void a_member_that_is_silent_is_left_and_the_breaker_stays_closed(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };
    unsigned undecided = 0;

    (void)state;
    settle(client, MEMBERS);
    atomic_store(&fleet[1]->mode, FAKE_SILENT);
    client->check_deadline_ms = 50;
    for (unsigned k = 0; k < 200; k++) {
        undecided += check(client, k) == PAWL_OUTCOME_UNDECIDED;
    }
    pawl_client_figures(client, &figures);
    assert_int_equal(undecided, 1);
    assert_int_equal(figures.timeouts, 1);
    assert_int_equal(figures.breaker_open, 0);
    assert_int_equal(figures.breaker_opens, 0);
    pawl_client_destroy(client);
}

static void a_member_where_we_may_not_check_is_not_asked(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);

    (void)state;
    atomic_store(&fleet[1]->denies, true);
    for (unsigned turn = 0; turn < 20; turn++) {
        for (unsigned k = 0; k < 32; k++) {
            assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
        }
    }
    assert_int_equal(requests(1), 0);
    assert_true(requests(2) > 0);
    assert_int_equal(atomic_load(&fleet[1]->hellos), 1);
    pawl_client_destroy(client);
}

static void a_new_view_moves_keys_and_keeps_the_connections(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };
    uint64_t connects;
    unsigned before[MEMBERS];

    (void)state;
    settle(client, MEMBERS);
    pawl_client_figures(client, &figures);
    connects = figures.connects;
    for (unsigned i = 0; i < MEMBERS; i++) { /* the last one leaves */
        atomic_store(&fleet[i]->fleet_count, MEMBERS - 1);
        atomic_store(&fleet[i]->view, 8);
    }
    atomic_store(&fleet[0]->mode, FAKE_GOAWAY); /* so a new connection asks again */
    for (unsigned k = 0; k < 64; k++) {
        assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        before[i] = requests(i);
    }
    for (unsigned k = 0; k < 100; k++) {
        unsigned owner = owner_of(k, MEMBERS - 1);

        assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
        before[owner]++;
        assert_int_equal(requests(owner), before[owner]);
    }
    assert_int_equal(requests(2), before[2]);
    pawl_client_figures(client, &figures);
    assert_int_equal(figures.connects, connects + 1);
    pawl_client_destroy(client);
}

/** How many of keys 0 to 63 that member @owner counts go straight now. */
static unsigned straight_to(struct pawl_client *client, unsigned owner)
{
    unsigned straight = 0;

    for (unsigned k = 0; k < 64; k++) {
        uint64_t before = direct(client);

        assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
        straight += owner_of(k, MEMBERS) == owner && direct(client) > before;
    }
    return straight;
}

static void a_member_that_goes_by_a_name_is_found_by_a_look_up(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    struct fake *named = fake_start(FAKE_HANG_UP); /* that is the one which listens on TCP */
    unsigned port;

    (void)state;
    atomic_store(&named->mode, FAKE_ANSWER);
    memcpy(named->node, fleet[1]->node, sizeof(named->node));
    assert_memory_equal(named->address, "tcp:127.0.0.1:", strlen("tcp:127.0.0.1:"));
    port = (unsigned)strtoul(named->address + strlen("tcp:127.0.0.1:"), NULL, 10);
    (void)snprintf(named->address, sizeof(named->address), "tcp:localhost:%u", port);
    for (unsigned i = 0; i < MEMBERS; i++) {
        fleet[i]->fleet[1] = named;
    }
    memcpy(named->fleet, fleet[0]->fleet, sizeof(named->fleet));
    atomic_store(&named->fleet_count, MEMBERS);
    atomic_store(&named->view, 7);
    while (straight_to(client, 2) == 0) {
    }
    assert_int_equal(straight_to(client, 1), 0);
    assert_int_equal(pawl_client_resolve(client), PAWL_RC_OK);
    while (straight_to(client, 1) == 0) {
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        atomic_store(&fleet[i]->view, 8); /* it is known by now, and needs no other look-up */
    }
    atomic_store(&fleet[0]->mode, FAKE_GOAWAY); /* so a new connection asks again */
    assert_int_equal(check(client, 0), PAWL_OUTCOME_ALLOW);
    while (straight_to(client, 1) == 0) {
    }
    pawl_client_destroy(client);
    fake_stop(named);
}

/* A process that was started where a member was, and that the view does not know yet. */
static void another_behind_a_members_address_is_not_asked(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    struct fake *known = calloc(1, sizeof(*known)); /* of it no more is there than its view */

    (void)state;
    assert_non_null(known);
    memcpy(known->node, fleet[1]->node, sizeof(known->node));
    memcpy(known->address, fleet[1]->address, sizeof(known->address));
    fleet[0]->fleet[1] = known;
    memset(fleet[1]->node, 0x77, sizeof(fleet[1]->node));
    for (unsigned turn = 0; turn < 8; turn++) {
        for (unsigned k = 0; k < 64; k++) {
            assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
        }
    }
    assert_true(direct(client) > 0);
    assert_int_equal(requests(1), 0);
    pawl_client_destroy(client);
    fleet[0]->fleet[1] = fleet[1];
    free(known);
}

static void a_child_makes_connections_of_its_own(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    int status = -1;
    pid_t pid;

    (void)state;
    settle(client, MEMBERS);
    pid = fork();
    if (pid == 0) {
        bool good = true;

        for (unsigned k = 0; k < 100; k++) {
            good = good && check(client, k) == PAWL_OUTCOME_ALLOW;
        }
        pawl_client_destroy(client);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    for (unsigned k = 0; k < 100; k++) {
        assert_int_equal(check(client, k), PAWL_OUTCOME_ALLOW);
    }
    pawl_client_destroy(client);
}

struct counted {
    unsigned answers, allowed;
};

static void on_counted(void *data, const struct pawl_answer *answer)
{
    struct counted *counted = data;

    counted->answers++;
    counted->allowed += answer->rc == PAWL_RC_OK && answer->of.check->outcome == PAWL_OUTCOME_ALLOW;
}

static void many_in_flight_are_all_answered_through_the_loop(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    struct counted counted = { 0, 0 };
    struct pollfd ready = { pawl_client_fd(client), POLLIN, 0 };
    unsigned submitted = 0;

    (void)state;
    for (unsigned turn = 0; turn < 10000 && counted.answers < 2000; turn++) {
        for (; submitted < 2000 && submitted - counted.answers < 100; submitted++) {
            char text[16];
            struct pawl_str key;
            struct pawl_check_item item = { .rates = "5/minute", .key = &key, .key_count = 1 };
            struct pawl_check_call call = { .struct_size = sizeof(call),
                                            .items = &item,
                                            .item_count = 1 };

            (void)snprintf(text, sizeof(text), "key-%u", submitted);
            key = pawl_str(text);
            assert_int_equal(pawl_client_submit_check(client, &call, on_counted, &counted, NULL),
                             PAWL_RC_OK);
        }
        pawl_client_flush(client);
        (void)poll(&ready, 1, pawl_client_timeout_ms(client));
        assert_true(pawl_client_process(client, ready.revents) >= 0);
    }
    assert_int_equal(counted.answers, 2000);
    assert_int_equal(counted.allowed, 2000);
    assert_true(direct(client) > 500);
    assert_int_equal(requests(0) + requests(1) + requests(2), 2000);
    pawl_client_destroy(client);
}

static void an_end_cancels_what_is_under_way_to_every_member(void **state)
{
    struct pawl_client *client = client_for(fleet[0], PAWL_CLIENT_ROUTE);
    struct counted counted = { 0, 0 };

    (void)state;
    settle(client, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) {
        atomic_store(&fleet[i]->mode, FAKE_SILENT);
    }
    for (unsigned k = 0; k < 60; k++) {
        char text[16];
        struct pawl_str key;
        struct pawl_check_item item = { .rates = "5/minute", .key = &key, .key_count = 1 };
        struct pawl_check_call call = { .struct_size = sizeof(call),
                                        .items = &item,
                                        .item_count = 1 };

        (void)snprintf(text, sizeof(text), "key-%u", k);
        key = pawl_str(text);
        assert_int_equal(pawl_client_submit_check(client, &call, on_counted, &counted, NULL),
                         PAWL_RC_OK);
        if (k == 30) {
            pawl_client_flush(client);
        }
    }
    pawl_client_destroy(client);
    assert_int_equal(counted.answers, 60);
    assert_int_equal(counted.allowed, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_fleet, stop_fleet)
    const struct CMUnitTest tests[] = {
        TEST(the_members_are_told),
        TEST(a_check_goes_straight_to_the_owner_of_its_key),
        TEST(without_the_flag_or_a_fleet_one_daemon_is_asked),
        TEST(keys_of_several_owners_go_the_ordinary_way),
        TEST(a_member_that_goes_is_passed_by),
        TEST(a_member_that_says_goaway_answers_elsewhere),
        TEST(a_member_that_is_silent_is_left_and_the_breaker_stays_closed),
        TEST(a_member_where_we_may_not_check_is_not_asked),
        TEST(a_new_view_moves_keys_and_keeps_the_connections),
        TEST(a_member_that_goes_by_a_name_is_found_by_a_look_up),
        TEST(another_behind_a_members_address_is_not_asked),
        TEST(a_child_makes_connections_of_its_own),
        TEST(many_in_flight_are_all_answered_through_the_loop),
        TEST(an_end_cancels_what_is_under_way_to_every_member),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
