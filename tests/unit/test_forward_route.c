/* Clients that go to the owners of keys by themselves: what a member tells them, and libpawl with
 * real members. */
#include "private.h"

#include "unit/forward_rig.h"

#include <arpa/inet.h>

#define ALL 7U

static int three(void **state)
{
    struct fleet *fleet = fleet_make(3);

    fleet->for_clients = true;
    fleet_settle(fleet, ALL);
    *state = fleet;
    return 0;
}

static int end(void **state)
{
    fleet_free(*state);
    return 0;
}

static struct pawl_client *client_for(const char *address, uint32_t flags)
{
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .addresses = address,
                                           .flags = flags | PAWL_CLIENT_NO_FALLBACK,
                                           .check_deadline_ms = 20000,
                                           .durable_deadline_ms = 20000 };
    struct pawl_client *client = NULL;

    assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
    return client;
}

static bool is_allowed(struct pawl_client *client, const char *text)
{
    struct pawl_str key = pawl_str(text);
    struct pawl_check_item item = { .limit = pawl_str("api"), .key = &key, .key_count = 1 };
    struct pawl_check_call call = { .struct_size = sizeof(call), .items = &item, .item_count = 1 };
    struct pawl_check_result result = { .struct_size = sizeof(result) };

    assert_int_equal(pawl_client_check(client, &call, &result), PAWL_RC_OK);
    assert_int_not_equal(result.outcome, PAWL_OUTCOME_UNDECIDED);
    return result.outcome == PAWL_OUTCOME_ALLOW;
}

static uint64_t direct(struct pawl_client *client)
{
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };

    pawl_client_figures(client, &figures);
    return figures.direct;
}

/** Check a key of @owner until one goes straight; how many checks that took. */
static unsigned until_direct(struct fleet *fleet, struct pawl_client *client, unsigned owner)
{
    uint64_t before = direct(client);
    char key[32];
    unsigned count = 0;

    while (direct(client) == before && count < 1000) {
        (void)is_allowed(client, fleet_key(fleet, owner, count, key));
        count++;
    }
    assert_true(direct(client) > before);
    return count;
}

/* ---- what is told -------------------------------------------------------------------------- */

static void operators_are_told_the_members(void **state)
{
    struct fleet *fleet = *state;
    struct pawl_client *client = client_for(fleet->nodes[1].client_uri, 0);
    struct pawl_member_info members[8];
    struct pawl_members_call call = { .struct_size = sizeof(call) };
    struct pawl_members_result result = { .struct_size = sizeof(result),
                                          .members = members,
                                          .members_max = 8 };
    unsigned found = 0;

    assert_int_equal(pawl_client_members(client, &call, &result), PAWL_RC_OK);
    assert_int_equal(result.view, fleet->view);
    assert_int_equal(result.member_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        unsigned index = members[i].node[0] - (unsigned)'a';

        assert_true(index < 3);
        assert_string_equal(members[i].address, fleet->nodes[index].both_uri);
        assert_string_equal(members[i].state, "serving");
        assert_int_equal(members[i].view, fleet->view);
        assert_true(index != 1 || strcmp(members[i].version, PAWL_VERSION) == 0);
        found |= 1U << index;
    }
    assert_int_equal(found, ALL);
    pawl_client_destroy(client);
}

/** Say hello with the wish to route; the answer is the caller's. */
static Pawl__V1__Reply *say_hello(int fd)
{
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Hello hello = PAWL__V1__HELLO__INIT;
    Pawl__V1__Ping ping = PAWL__V1__PING__INIT;

    hello.features = ~UINT64_C(0);
    request.id = 1;
    request.hello = &hello;
    request.body_case = PAWL__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    client_send(fd, &request);
    return client_receive(fd);
}

static int connect_tcp(const struct node *node)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)pawl_server_port(node->server, 3)),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static void who_is_known_gets_the_subkey_and_nobody_else(void **state)
{
    struct fleet *fleet = *state;
    int known = node_connect(&fleet->nodes[0]);
    int anonymous = connect_tcp(&fleet->nodes[0]);
    Pawl__V1__Reply *reply = say_hello(known);

    assert_non_null(reply->hello);
    assert_int_equal(reply->hello->features, PAWL_FEATURE_ROUTING);
    assert_int_equal(reply->hello->slots_subkey.len, sizeof(fleet->slots_key));
    assert_memory_equal(reply->hello->slots_subkey.data, &fleet->slots_key,
                        sizeof(fleet->slots_key));
    assert_int_equal(reply->hello->node.data[0], 'a');
    answer_free(reply);

    reply = say_hello(anonymous); /* it may check, and has proved nothing */
    assert_non_null(reply->hello);
    assert_int_equal(reply->hello->n_roles, 1);
    assert_int_equal(reply->hello->features, 0);
    assert_int_equal(reply->hello->slots_subkey.len, 0);
    answer_free(reply);
    (void)close(known);
    (void)close(anonymous);
}

static void the_view_comes_before_the_next_answer_and_once(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    struct asked asked = { .limit = "api", .keys = { "some" } };
    Pawl__V1__Reply *reply = say_hello(fd);

    assert_int_equal(reply->id, 1);
    answer_free(reply);
    for (unsigned i = 0; i < 4; i++) {
        if (i == 2) {
            fleet_settle(fleet, 3);
        }
        client_ask(fleet, fd, asked);
        reply = client_receive(fd);
        if (i % 2 == 0) {
            assert_int_equal(reply->id, 0);
            assert_int_equal(reply->body_case, PAWL__V1__REPLY__BODY_VIEW);
            assert_int_equal(reply->view->view, fleet->view);
            assert_int_equal(reply->view->n_members, i == 0 ? 3 : 2);
            answer_free(reply);
            reply = client_receive(fd);
        }
        assert_int_not_equal(reply->id, 0);
        answer_free(reply);
    }
    (void)close(fd);
}

/* ---- libpawl ------------------------------------------------------------------------------- */

static void a_client_that_routes_makes_no_member_pass_anything_on(void **state)
{
    struct fleet *fleet = *state;
    struct pawl_client *client = client_for(fleet->nodes[0].client_uri, PAWL_CLIENT_ROUTE);
    uint64_t forwarded;
    char key[32];

    (void)until_direct(fleet, client, 1);
    (void)until_direct(fleet, client, 2);
    forwarded = FIGURE(&fleet->nodes[0], forwarded);
    for (unsigned owner = 0; owner < 3; owner++) {
        (void)fleet_key(fleet, owner, 2000, key);
        for (unsigned i = 0; i < 12; i++) {
            assert_int_equal(is_allowed(client, key), i < 10);
        }
        assert_int_equal(node_count(&fleet->nodes[owner], "api", key), 10);
    }
    assert_int_equal(FIGURE(&fleet->nodes[0], forwarded), forwarded);
    assert_int_equal(FIGURE(&fleet->nodes[1], forwarded), 0);
    assert_int_equal(FIGURE(&fleet->nodes[2], forwarded), 0);
    pawl_client_destroy(client);
}

static void a_client_learns_of_a_change_from_whoever_it_asks(void **state)
{
    struct fleet *fleet = *state;
    struct pawl_client *client = client_for(fleet->nodes[0].client_uri, PAWL_CLIENT_ROUTE);
    char key[32];

    (void)until_direct(fleet, client, 1);
    (void)until_direct(fleet, client, 2);
    fleet_settle(fleet, 3);
    for (unsigned nth = 0; nth < 20; nth++) { /* its keys have new owners: asked of it, passed on */
        (void)is_allowed(client, fleet_key(fleet, 2, nth, key));
        (void)is_allowed(client, fleet_key(fleet, 1, nth, key));
    }
    {
        uint64_t sum = FIGURE(&fleet->nodes[0], forwarded) + FIGURE(&fleet->nodes[1], forwarded) +
                       FIGURE(&fleet->nodes[2], forwarded);

        for (unsigned nth = 20; nth < 60; nth++) {
            (void)is_allowed(client, fleet_key(fleet, 2, nth, key));
        }
        assert_int_equal(FIGURE(&fleet->nodes[0], forwarded) + FIGURE(&fleet->nodes[1], forwarded) +
                             FIGURE(&fleet->nodes[2], forwarded),
                         sum);
    }
    pawl_client_destroy(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, three, end)
    const struct CMUnitTest tests[] = {
        TEST(operators_are_told_the_members),
        TEST(who_is_known_gets_the_subkey_and_nobody_else),
        TEST(the_view_comes_before_the_next_answer_and_once),
        TEST(a_client_that_routes_makes_no_member_pass_anything_on),
        TEST(a_client_learns_of_a_change_from_whoever_it_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
