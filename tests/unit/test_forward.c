/* Requests about limits in a cluster: counted by the member that owns the key, whoever is asked. */
#include "unit/forward_rig.h"

#define ALL 7U

static int three(void **state)
{
    *state = fleet_make(3);
    return 0;
}

static int end(void **state)
{
    fleet_free(*state);
    return 0;
}

static void expect_verdict(Pawl__V1__Reply *reply, Pawl__V1__Verdict verdict)
{
    if (reply->status != PAWL__V1__STATUS__STATUS_OK) {
        fail_msg("status %d: %.*s", (int)reply->status, (int)reply->error.len,
                 (const char *)reply->error.data);
    }
    assert_int_equal(reply->body_case, PAWL__V1__REPLY__BODY_CHECK);
    assert_int_equal(reply->check->verdict, verdict);
    answer_free(reply);
}

static void expect_status(Pawl__V1__Reply *reply, Pawl__V1__Status status, const char *text)
{
    if (reply->status != status) {
        fail_msg("status %d with \"%s\" expected, %d with \"%.*s\" came", (int)status, text,
                 (int)reply->status, (int)reply->error.len, (const char *)reply->error.data);
    }
    assert_int_equal(reply->body_case, PAWL__V1__REPLY__BODY__NOT_SET);
    assert_int_equal(reply->effect_unknown, strstr(text, "may have") != NULL);
    if (memmem(reply->error.data, reply->error.len, text, strlen(text)) == NULL) {
        fail_msg("\"%s\" is not in \"%.*s\"", text, (int)reply->error.len,
                 (const char *)reply->error.data);
    }
    answer_free(reply);
}

/* ---- forwarding ---- */

static void a_key_is_counted_by_its_owner_whoever_is_asked(void **state)
{
    struct fleet *fleet = *state;
    char key[32];

    (void)fleet_key(fleet, 1, 0, key);
    for (unsigned i = 0; i < 12; i++) {
        int fd = node_connect(&fleet->nodes[i % 3]);
        struct asked asked = { .limit = "api", .keys = { key } };

        expect_verdict(client_check(fleet, fd, asked),
                       i < 10 ? PAWL__V1__VERDICT__VERDICT_ALLOW : PAWL__V1__VERDICT__VERDICT_DENY);
        (void)close(fd);
    }
    assert_int_equal(node_count(&fleet->nodes[1], "api", key), 10);
    assert_int_equal(node_count(&fleet->nodes[0], "api", key), 0);
    assert_int_equal(FIGURE(&fleet->nodes[0], forwarded), 4);
    assert_int_equal(FIGURE(&fleet->nodes[1], forwarded), 0);
    assert_int_equal(FIGURE(&fleet->nodes[2], forwarded), 4);
    assert_int_equal(FIGURE(&fleet->nodes[1], checks), 12);
}

static void many_in_flight_come_back_under_their_own_ids(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[2][32];
    bool seen[201] = { false };

    (void)fleet_key(fleet, 1, 0, keys[0]);
    (void)fleet_key(fleet, 2, 0, keys[1]);
    for (unsigned i = 0; i < 200; i++) {
        client_ask(fleet, fd, (struct asked){ .limit = "api", .keys = { keys[i % 2] } });
    }
    for (unsigned i = 0; i < 200; i++) {
        Pawl__V1__Reply *reply = client_receive(fd);

        assert_true(reply->id >= 1 && reply->id <= 200 && !seen[reply->id]);
        seen[reply->id] = true;
        assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_OK);
        answer_free(reply);
    }
    assert_int_equal(node_count(&fleet->nodes[1], "api", keys[0]), 10);
    assert_int_equal(node_count(&fleet->nodes[2], "api", keys[1]), 10);
    (void)close(fd);
}

/* Room for two frames in one write: they are one batch. */
struct two_frames {
    uint8_t bytes[8192];
    size_t size;
};

/* A check of @key by two rates of its own: @counts in so many minutes each. */
static void put_inline_check(struct fleet *fleet, struct two_frames *frames, const char *key,
                             const unsigned counts[2], const unsigned minutes[2])
{
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Check check = PAWL__V1__CHECK__INIT;
    Pawl__V1__CheckItem items[2];
    Pawl__V1__CheckItem *list[2];
    Pawl__V1__Rate rates[2];
    Pawl__V1__Rate *rate_list[2];
    ProtobufCBinaryData part = wire_text(key);

    for (unsigned i = 0; i < 2; i++) {
        pawl__v1__rate__init(&rates[i]);
        rates[i].count = counts[i];
        rates[i].window_ms = minutes[i] * 60000;
        rate_list[i] = &rates[i];
        pawl__v1__check_item__init(&items[i]);
        items[i].n_key = 1;
        items[i].key = &part;
        items[i].n_rates = 1;
        items[i].rates = &rate_list[i];
        list[i] = &items[i];
    }
    check.n_items = 2;
    check.items = list;
    request.id = fleet->next_id++;
    request.body_case = PAWL__V1__REQUEST__BODY_CHECK;
    request.check = &check;
    size_t size = pawl_cold_write_request(frames->bytes + frames->size,
                                          sizeof(frames->bytes) - frames->size, &request);

    assert_int_not_equal(size, 0);
    frames->size += size;
}

static void a_check_behind_one_that_went_away_has_its_own_rates(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    struct two_frames frames = { .size = 0 };
    uint64_t first = fleet->next_id;
    char theirs[32], ours[32];

    put_inline_check(fleet, &frames, fleet_key(fleet, 1, 0, theirs), (unsigned[]){ 5, 7 },
                     (unsigned[]){ 1, 2 });
    put_inline_check(fleet, &frames, fleet_key(fleet, 0, 0, ours), (unsigned[]){ 7, 3 },
                     (unsigned[]){ 2, 3 }); /* the first is the other's second */
    rig_send(fd, frames.bytes, frames.size);
    for (unsigned i = 0; i < 2; i++) {
        Pawl__V1__Reply *reply = client_receive(fd);
        bool is_first = reply->id == first;

        assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_OK);
        assert_int_equal(reply->check->n_results, 2);
        assert_int_equal(reply->check->results[0]->limit_count, is_first ? 5 : 7);
        assert_int_equal(reply->check->results[1]->limit_count, is_first ? 7 : 3);
        answer_free(reply);
    }
    assert_int_equal(FIGURE(&fleet->nodes[0], forwarded), 1);
    (void)close(fd);
}

static void requests_of_all_sizes_are_passed_on_one_after_the_other(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[1000];

    for (unsigned i = 0; i < 400; i++) { /* what one leaves is used for the next */
        size_t size = i % 4 == 3 ? sizeof(key) - 1 : 8 + i % 200;

        memset(key, 'k', size);
        (void)snprintf(key, sizeof(key), "%u", i % 90);
        key[strlen(key)] = '-';
        key[size] = '\0';
        expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key } }),
                       PAWL__V1__VERDICT__VERDICT_ALLOW);
    }
    assert_true(FIGURE(&fleet->nodes[0], forwarded) > 100);
    (void)close(fd);
}

static void only_members_may_say_forwarded(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];
    struct asked asked = { .limit = "api",
                           .keys = { fleet_key(fleet, 0, 0, key) },
                           .forwarded = true,
                           .view = fleet->view };

    expect_status(client_check(fleet, fd, asked), PAWL__V1__STATUS__STATUS_DENIED, "role peer");
    assert_int_equal(node_count(&fleet->nodes[0], "api", key), 0);
    (void)close(fd);
    fd = node_connect_peer(&fleet->nodes[0]);
    expect_verdict(client_check(fleet, fd, asked), PAWL__V1__VERDICT__VERDICT_ALLOW);
    asked.forwarded = false; /* a peer that says it is none has no role to check */
    expect_status(client_check(fleet, fd, asked), PAWL__V1__STATUS__STATUS_DENIED, "role check");
    (void)close(fd);
}

static void a_forwarded_request_goes_no_further(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect_peer(&fleet->nodes[0]);
    char key[32];
    struct asked asked = { .limit = "api",
                           .keys = { fleet_key(fleet, 1, 0, key) },
                           .forwarded = true,
                           .view = fleet->view };
    Pawl__V1__Reply *reply = client_check(fleet, fd, asked);

    assert_int_equal(reply->view_number, fleet->view);
    expect_status(reply, PAWL__V1__STATUS__STATUS_MOVED, "nothing was done");
    assert_int_equal(FIGURE(&fleet->nodes[0], forwarded), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(node_count(&fleet->nodes[i], "api", key), 0);
    }
    (void)close(fd);
}

static void what_moved_is_asked_again_and_charged_once(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];
    uint32_t slot;

    /* Node 0 believes that 1 owns it; 1 knows a later view, in which it is 2's. */
    for (unsigned nth = 0;; nth++) {
        (void)fleet_key(fleet, 1, nth, key);
        slot = fleet_slot(fleet, key);
        if (fleet_owner(fleet, slot, 5) == 2) {
            break;
        }
    }
    node_learn(fleet, &fleet->nodes[1], fleet->view + 65536, 5);
    node_learn(fleet, &fleet->nodes[2], fleet->view + 65536, 5);
    node_state(&fleet->nodes[1], slot, PAWL_SLOT_FOREIGN);
    node_state(&fleet->nodes[2], slot, PAWL_SLOT_HELD);
    client_ask(fleet, fd, (struct asked){ .limit = "api", .keys = { key } });
    AWAIT(atomic_load(&fleet->nodes[0].refreshed) > 0);
    assert_int_equal(atomic_load(&fleet->nodes[0].refreshed_to), fleet->view + 65536);
    node_learn(fleet, &fleet->nodes[0], fleet->view + 65536, 5);
    expect_verdict(client_receive(fd), PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_int_equal(node_count(&fleet->nodes[2], "api", key), 1);
    assert_int_equal(node_count(&fleet->nodes[1], "api", key), 0);
    assert_true(FIGURE(&fleet->nodes[0], moved) >= 1);
    (void)close(fd);
}

static void a_receiver_with_a_lower_view_refreshes_first(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect_peer(&fleet->nodes[2]);
    char key[32];
    uint32_t slot;

    for (unsigned nth = 0;; nth++) {
        (void)fleet_key(fleet, 1, nth, key);
        slot = fleet_slot(fleet, key);
        if (fleet_owner(fleet, slot, 5) == 2) {
            break;
        }
    }
    client_ask(
        fleet, fd,
        (struct asked){
            .limit = "api", .keys = { key }, .forwarded = true, .view = fleet->view + 65536 });
    AWAIT(atomic_load(&fleet->nodes[2].refreshed) > 0);
    assert_int_equal(atomic_load(&fleet->nodes[2].refreshed_to), fleet->view + 65536);
    node_state(&fleet->nodes[2], slot, PAWL_SLOT_WANTED);
    node_learn(fleet, &fleet->nodes[2], fleet->view + 65536, 5);
    AWAIT(atomic_load(&fleet->nodes[2].wanted) > 0);
    assert_int_equal(node_count(&fleet->nodes[2], "api", key), 0);
    node_state(&fleet->nodes[2], slot, PAWL_SLOT_HELD);
    expect_verdict(client_receive(fd), PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_int_equal(node_count(&fleet->nodes[2], "api", key), 1);
    (void)close(fd);
}

/* ---- waiting ---- */

static void a_wanted_slot_waits_for_its_records(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 0, 0, key));

    node_state(&fleet->nodes[0], slot, PAWL_SLOT_WANTED);
    for (unsigned i = 0; i < 3; i++) {
        client_ask(fleet, fd, (struct asked){ .limit = "two", .keys = { key } });
    }
    AWAIT(atomic_load(&fleet->nodes[0].wanted) >= 3);
    assert_int_equal(node_count(&fleet->nodes[0], "two", key), 0);
    node_state(&fleet->nodes[0], slot, PAWL_SLOT_HELD);
    unsigned allowed = 0;

    for (unsigned i = 0; i < 3; i++) {
        Pawl__V1__Reply *reply = client_receive(fd);

        assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_OK);
        allowed += reply->check->verdict == PAWL__V1__VERDICT__VERDICT_ALLOW;
        answer_free(reply);
    }
    assert_int_equal(allowed, 2);
    assert_int_equal(FIGURE(&fleet->nodes[0], parked), 3);
    (void)close(fd);
}

static void who_waits_too_long_is_told(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 0, 0, key));

    node_state(&fleet->nodes[0], slot, PAWL_SLOT_WANTED);
    expect_status(
        client_check(fleet, fd,
                     (struct asked){ .limit = "api", .keys = { key }, .deadline_ms = 50 }),
        PAWL__V1__STATUS__STATUS_UNAVAILABLE, "nothing was done");
    node_state(&fleet->nodes[0], slot, PAWL_SLOT_HELD);
    expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key } }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_int_equal(node_count(&fleet->nodes[0], "api", key), 1);
    (void)close(fd);
}

/* A refusal that comes when its asker waits no more is none: asked of a key that waits here, and of
 * one whose owner takes the connection and says nothing. */
static void a_refusal_is_back_before_its_asker_gives_up(void **state)
{
    enum {
        PATIENCE_MS = 800
    };
    struct fleet *fleet = *state;
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = node_connect(&fleet->nodes[0]);
    char keys[2][32];

    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", fleet->nodes[1].folder);
    assert_int_equal(bind(silent, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(silent, 8), 0);
    (void)snprintf(fleet->nodes[1].peer_uri, sizeof(fleet->nodes[1].peer_uri), "unix:%s",
                   un.sun_path);
    node_learn(fleet, &fleet->nodes[0], fleet->view + 65536, ALL);
    node_state(&fleet->nodes[0], fleet_slot(fleet, fleet_key(fleet, 0, 0, keys[0])),
               PAWL_SLOT_WANTED);
    (void)fleet_key(fleet, 1, 0, keys[1]);
    for (unsigned i = 0; i < 2; i++) {
        struct asked asked = { .limit = "api", .keys = { keys[i] }, .deadline_ms = PATIENCE_MS };
        uint64_t begun_ms = fleet_now_ms();

        expect_status(client_check(fleet, fd, asked), PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                      "nothing was done");
        assert_in_range(fleet_now_ms() - begun_ms, PATIENCE_MS / 2, PATIENCE_MS - 1);
    }
    (void)close(fd);
    (void)close(silent);
    (void)unlink(un.sun_path);
}

static void a_client_that_goes_while_it_waits_charges_nothing(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 0, 0, key));

    node_state(&fleet->nodes[0], slot, PAWL_SLOT_WANTED);
    client_ask(fleet, fd, (struct asked){ .limit = "api", .keys = { key }, .deadline_ms = 200 });
    AWAIT(atomic_load(&fleet->nodes[0].wanted) > 0);
    (void)close(fd);
    AWAIT(atomic_load(&fleet->nodes[0].world.workers[0].waiting) +
              atomic_load(&fleet->nodes[0].world.workers[1].waiting) ==
          0);
    node_state(&fleet->nodes[0], slot, PAWL_SLOT_HELD);
    fd = node_connect(&fleet->nodes[0]);
    expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key } }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_true(node_count(&fleet->nodes[0], "api", key) <= 2);
    (void)close(fd);
}

/* ---- without the owner ---- */

static void without_tenure_limits_follow_their_on_error(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];

    (void)fleet_key(fleet, 0, 0, key);
    node_tenure(&fleet->nodes[0], false);
    expect_status(client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key } }),
                  PAWL__V1__STATUS__STATUS_UNAVAILABLE, "engine");
    for (unsigned i = 0; i < 5; i++) { /* 10 of three members: 3 each */
        expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "near", .keys = { key } }),
                       i < 3 ? PAWL__V1__VERDICT__VERDICT_ALLOW : PAWL__V1__VERDICT__VERDICT_DENY);
    }
    for (unsigned i = 0; i < 5; i++) { /* the burst is shared, too */
        expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "flow", .keys = { key } }),
                       i < 3 ? PAWL__V1__VERDICT__VERDICT_ALLOW : PAWL__V1__VERDICT__VERDICT_DENY);
    }
    assert_int_equal(FIGURE(&fleet->nodes[0], degraded), 10);
    assert_int_equal(atomic_load(&fleet->nodes[0].counted), 10);
    (void)close(fd);
}

static void an_owner_that_cannot_be_reached_is_done_without(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];

    (void)fleet_key(fleet, 1, 0, key);
    expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "near", .keys = { key } }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    node_stop(&fleet->nodes[1]);
    expect_status(client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key } }),
                  PAWL__V1__STATUS__STATUS_UNAVAILABLE, "cannot be asked");
    for (unsigned i = 0; i < 5; i++) {
        expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "near", .keys = { key } }),
                       i < 3 ? PAWL__V1__VERDICT__VERDICT_ALLOW : PAWL__V1__VERDICT__VERDICT_DENY);
    }
    assert_true(atomic_load(&fleet->nodes[0].unreachable) > 0);
    (void)close(fd);
}

static void an_owner_without_tenure_says_so_and_is_done_without(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];

    (void)fleet_key(fleet, 1, 0, key);
    node_tenure(&fleet->nodes[1], false);
    expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "near", .keys = { key } }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_int_equal(node_count(&fleet->nodes[1], "near", key), 0);
    assert_int_equal(node_count(&fleet->nodes[0], "near", key), 1);
    assert_int_equal(FIGURE(&fleet->nodes[0], moved), 1);
    assert_int_equal(FIGURE(&fleet->nodes[0], degraded), 1);
    (void)close(fd);
}

/* More than a link takes at once (PAWL_PEER_IN_FLIGHT_MAX) for an owner that takes its time. */
static void what_a_link_has_no_room_for_waits_for_its_owner(void **state)
{
    enum {
        CLIENTS = 6,
        EACH = 700
    };
    struct fleet *fleet = *state;
    char key[32];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 1, 0, key));
    int fds[CLIENTS];
    unsigned allowed = 0;

    node_state(&fleet->nodes[1], slot, PAWL_SLOT_WANTED);
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = node_connect(&fleet->nodes[0]);
        for (unsigned j = 0; j < EACH; j++) {
            client_ask(fleet, fds[i],
                       (struct asked){ .limit = "near", .keys = { key }, .deadline_ms = 20000 });
        }
    }
    AWAIT(FIGURE(&fleet->nodes[1], parked) >= PAWL_PEER_IN_FLIGHT_MAX - 2);
    node_state(&fleet->nodes[1], slot, PAWL_SLOT_HELD);
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned j = 0; j < EACH; j++) {
            Pawl__V1__Reply *reply = client_receive(fds[i]);

            assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_OK);
            allowed += reply->check->verdict == PAWL__V1__VERDICT__VERDICT_ALLOW;
            answer_free(reply);
        }
        (void)close(fds[i]);
    }
    assert_int_equal(allowed, 10);
    assert_int_equal(node_count(&fleet->nodes[0], "near", key), 0);
    assert_int_equal(FIGURE(&fleet->nodes[0], degraded), 0);
}

/* Two members know different views for longer than a few tries: the owner is there all the same. */
static void an_owner_that_is_there_is_never_done_without(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 1, 0, key));

    node_learn(fleet, &fleet->nodes[1], fleet->view + 65536, ALL & ~2U); /* it has left */
    node_state(&fleet->nodes[1], slot, PAWL_SLOT_FOREIGN);
    client_ask(fleet, fd, (struct asked){ .limit = "near", .keys = { key }, .deadline_ms = 20000 });
    AWAIT(FIGURE(&fleet->nodes[0], moved) > 2 * PAWL_FORWARD_TRIES);
    assert_int_equal(FIGURE(&fleet->nodes[0], degraded), 0);
    fleet_settle(fleet, ALL & ~2U);
    Pawl__V1__Reply *reply = client_receive(fd);

    expect_verdict(reply, PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_int_equal(FIGURE(&fleet->nodes[0], degraded), 0);
    (void)close(fd);
}

static void what_may_have_been_counted_is_not_asked_again(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 1, 0, key));

    node_state(&fleet->nodes[1], slot, PAWL_SLOT_WANTED); /* it has the request, and waits */
    client_ask(fleet, fd, (struct asked){ .limit = "near", .keys = { key } });
    AWAIT(atomic_load(&fleet->nodes[1].wanted) > 0);
    node_stop(&fleet->nodes[1]);
    expect_status(client_receive(fd), PAWL__V1__STATUS__STATUS_UNAVAILABLE, "may have counted");
    assert_int_equal(node_count(&fleet->nodes[0], "near", key), 0);
    (void)close(fd);
}

/* The owner moves from address to address, and on each way there a request is under way. */
static void ways_to_addresses_of_before_are_bounded_and_end_with_an_answer(void **state)
{
    enum {
        MOVES = PAWL_FORWARD_OLD_LINKS + 5
    };
    struct fleet *fleet = *state;
    struct node *owner = &fleet->nodes[1];
    int fd = node_connect(&fleet->nodes[0]);
    char key[32], path[MOVES][64];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 1, 0, key));
    unsigned refused = 0;

    node_state(owner, slot, PAWL_SLOT_WANTED);
    for (unsigned i = 0; i < MOVES; i++) {
        (void)snprintf(path[i], sizeof(path[i]), "%s/p%u", owner->folder, i);
        assert_int_equal(symlink("p", path[i]), 0);
        (void)snprintf(owner->peer_uri, sizeof(owner->peer_uri), "unix:%s", path[i]);
        fleet->view += 65536;
        node_learn(fleet, &fleet->nodes[0], fleet->view, ALL);
        client_ask(fleet, fd,
                   (struct asked){ .limit = "api", .keys = { key }, .deadline_ms = 20000 });
        AWAIT(atomic_load(&owner->wanted) == i + 1);
    }
    for (; refused < MOVES - 1 - PAWL_FORWARD_OLD_LINKS; refused++) { /* for which there is none */
        expect_status(client_receive(fd), PAWL__V1__STATUS__STATUS_UNAVAILABLE, "may have counted");
    }
    node_state(owner, slot, PAWL_SLOT_HELD);
    for (unsigned i = 0; i < MOVES - refused; i++) { /* 16 old ways, and the one in use */
        Pawl__V1__Reply *reply = client_receive(fd);

        assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_OK);
        answer_free(reply);
    }
    for (unsigned i = 0; i < MOVES; i++) {
        (void)unlink(path[i]);
    }
    (void)snprintf(owner->peer_uri, sizeof(owner->peer_uri), "unix:%s/p", owner->folder);
    (void)close(fd);
}

static void without_a_view_nobody_decides(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];

    (void)fleet_key(fleet, 1, 0, key);
    node_learn(fleet, &fleet->nodes[0], 0, 0);
    expect_status(client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key } }),
                  PAWL__V1__STATUS__STATUS_UNAVAILABLE, "not joined");
    (void)close(fd);
}

/* ---- quiescence ---- */

static void quiet(void *ctx)
{
    atomic_store((_Atomic bool *)ctx, true);
}

static void quiescence_comes_when_every_worker_has_begun_anew(void **state)
{
    struct fleet *fleet = *state;
    static struct pawl_quiesce quiesce[3];
    static _Atomic bool done_flags[3];

    for (unsigned i = 0; i < 3; i++) {
        atomic_store(&done_flags[i], false);
        pawl_quiesce(&fleet->nodes[0].world, &quiesce[i], quiet, &done_flags[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        AWAIT(atomic_load(&done_flags[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_is_counted_by_its_owner_whoever_is_asked, three, end),
        cmocka_unit_test_setup_teardown(many_in_flight_come_back_under_their_own_ids, three, end),
        cmocka_unit_test_setup_teardown(a_check_behind_one_that_went_away_has_its_own_rates, three,
                                        end),
        cmocka_unit_test_setup_teardown(requests_of_all_sizes_are_passed_on_one_after_the_other,
                                        three, end),
        cmocka_unit_test_setup_teardown(only_members_may_say_forwarded, three, end),
        cmocka_unit_test_setup_teardown(a_forwarded_request_goes_no_further, three, end),
        cmocka_unit_test_setup_teardown(what_moved_is_asked_again_and_charged_once, three, end),
        cmocka_unit_test_setup_teardown(a_receiver_with_a_lower_view_refreshes_first, three, end),
        cmocka_unit_test_setup_teardown(a_wanted_slot_waits_for_its_records, three, end),
        cmocka_unit_test_setup_teardown(who_waits_too_long_is_told, three, end),
        cmocka_unit_test_setup_teardown(a_refusal_is_back_before_its_asker_gives_up, three, end),
        cmocka_unit_test_setup_teardown(a_client_that_goes_while_it_waits_charges_nothing, three,
                                        end),
        cmocka_unit_test_setup_teardown(without_tenure_limits_follow_their_on_error, three, end),
        cmocka_unit_test_setup_teardown(an_owner_that_cannot_be_reached_is_done_without, three,
                                        end),
        cmocka_unit_test_setup_teardown(an_owner_without_tenure_says_so_and_is_done_without, three,
                                        end),
        cmocka_unit_test_setup_teardown(what_a_link_has_no_room_for_waits_for_its_owner, three,
                                        end),
        cmocka_unit_test_setup_teardown(an_owner_that_is_there_is_never_done_without, three, end),
        cmocka_unit_test_setup_teardown(what_may_have_been_counted_is_not_asked_again, three, end),
        cmocka_unit_test_setup_teardown(
            ways_to_addresses_of_before_are_bounded_and_end_with_an_answer, three, end),
        cmocka_unit_test_setup_teardown(without_a_view_nobody_decides, three, end),
        cmocka_unit_test_setup_teardown(quiescence_comes_when_every_worker_has_begun_anew, three,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
