/* Checks about keys of several members, with a token, refunds and reservations in a cluster. */
#include "unit/forward_rig.h"

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

static void expect_ok(const Pawl__V1__Reply *reply)
{
    if (reply->status != PAWL__V1__STATUS__STATUS_OK) {
        fail_msg("status %d: %.*s", (int)reply->status, (int)reply->error.len,
                 (const char *)reply->error.data);
    }
}

static void expect_verdict(Pawl__V1__Reply *reply, Pawl__V1__Verdict verdict)
{
    expect_ok(reply);
    assert_int_equal(reply->check->verdict, verdict);
    answer_free(reply);
}

static void keys_of_all(struct fleet *fleet, unsigned nth, char keys[3][32])
{
    for (unsigned i = 0; i < 3; i++) {
        (void)fleet_key(fleet, i, nth, keys[i]);
    }
}

static uint64_t count_of(struct fleet *fleet, const char *limit, unsigned owner, const char *key)
{
    return node_count(&fleet->nodes[owner], limit, key);
}

/* ---- all or none ---- */

static void a_check_of_several_owners_charges_all_of_them(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    Pawl__V1__Reply *reply = client_check(
        fleet, fd,
        (struct asked){ .limit = "api", .keys = { keys[0], keys[1], keys[2] }, .cost = 2 });

    expect_ok(reply);
    assert_int_equal(reply->check->verdict, PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_int_equal(reply->check->n_results, 3);
    for (unsigned i = 0; i < 3; i++) { /* in the order asked */
        assert_int_equal(reply->check->results[i]->item, i);
        assert_int_equal(reply->check->results[i]->count, 2);
        assert_int_equal(reply->check->results[i]->remaining, 8);
        assert_int_not_equal(reply->check->results[i]->charge, 0);
        assert_int_equal(count_of(fleet, "api", i, keys[i]), 2);
    }
    answer_free(reply);
    assert_int_equal(FIGURE(&fleet->nodes[0], multi_owner), 1);
    (void)close(fd);
}

static void a_refusal_gives_back_what_the_others_charged(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    for (unsigned full = 0; full < 3; full++) { /* whoever comes first, second, last */
        keys_of_all(fleet, full + 1, keys);
        expect_verdict(
            client_check(fleet, fd,
                         (struct asked){ .limit = "two", .keys = { keys[full] }, .cost = 2 }),
            PAWL__V1__VERDICT__VERDICT_ALLOW);
        Pawl__V1__Reply *reply =
            client_check(fleet, fd,
                         (struct asked){ .limit = "two", .keys = { keys[0], keys[1], keys[2] } });

        expect_ok(reply);
        assert_int_equal(reply->check->verdict, PAWL__V1__VERDICT__VERDICT_DENY);
        assert_int_equal(reply->check->n_results, 3);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(reply->check->results[i]->item, i);
            assert_int_equal(reply->check->results[i]->charge, 0);
            assert_int_equal(reply->check->results[i]->allowed, i != full);
            assert_int_equal(reply->check->results[i]->count, i == full ? 2 : 0);
            AWAIT(count_of(fleet, "two", i, keys[i]) == (i == full ? 2 : 0));
        }
        answer_free(reply);
    }
    assert_int_equal(FIGURE(&fleet->nodes[0], holds_kept), 0);
    (void)close(fd);
}

static void in_mode_each_a_refusal_leaves_the_others_charged(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[2]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    expect_verdict(client_check(fleet, fd,
                                (struct asked){ .limit = "two", .keys = { keys[1] }, .cost = 2 }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    expect_verdict(client_check(fleet, fd,
                                (struct asked){ .limit = "two",
                                                .keys = { keys[0], keys[1], keys[2] },
                                                .mode = PAWL__V1__MODE__MODE_EACH }),
                   PAWL__V1__VERDICT__VERDICT_DENY);
    assert_int_equal(count_of(fleet, "two", 0, keys[0]), 1);
    assert_int_equal(count_of(fleet, "two", 1, keys[1]), 2);
    assert_int_equal(count_of(fleet, "two", 2, keys[2]), 1);
    (void)close(fd);
}

static void a_peek_of_several_owners_charges_nobody(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    expect_verdict(client_check(fleet, fd,
                                (struct asked){ .limit = "api",
                                                .keys = { keys[0], keys[1], keys[2] },
                                                .op = PAWL__V1__OP__OP_PEEK }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(count_of(fleet, "api", i, keys[i]), 0);
    }
    (void)close(fd);
}

static void when_a_part_has_no_owner_all_is_given_back(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    node_tenure(&fleet->nodes[2], false);
    Pawl__V1__Reply *reply =
        client_check(fleet, fd,
                     (struct asked){ .limit = "api", .keys = { keys[0], keys[1], keys[2] } });

    assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_UNAVAILABLE);
    answer_free(reply);
    for (unsigned i = 0; i < 3; i++) {
        AWAIT(count_of(fleet, "api", i, keys[i]) == 0);
    }
    /* Limits that may be decided without their owner are, all of them with a share. */
    expect_verdict(client_check(fleet, fd,
                                (struct asked){ .limit = "near",
                                                .keys = { keys[0], keys[1], keys[2] },
                                                .cost = 3 }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    expect_verdict(
        client_check(fleet, fd,
                     (struct asked){ .limit = "near", .keys = { keys[0], keys[1], keys[2] } }),
        PAWL__V1__VERDICT__VERDICT_DENY);
    AWAIT(count_of(fleet, "near", 1, keys[1]) == 0);
    (void)close(fd);
}

static void a_part_waits_for_its_slot(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    node_state(&fleet->nodes[0], fleet_slot(fleet, keys[0]), PAWL_SLOT_WANTED);
    client_ask(fleet, fd, (struct asked){ .limit = "api", .keys = { keys[0], keys[1], keys[2] } });
    AWAIT(atomic_load(&fleet->nodes[0].wanted) > 0);
    node_state(&fleet->nodes[0], fleet_slot(fleet, keys[0]), PAWL_SLOT_HELD);
    expect_verdict(client_receive(fd), PAWL__V1__VERDICT__VERDICT_ALLOW);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(count_of(fleet, "api", i, keys[i]), 1);
    }
    (void)close(fd);
}

/* Many clients at all members, about the same keys in different orders: never over. */
static void concurrent_checks_of_several_owners_are_never_over(void **state)
{
    struct fleet *fleet = *state;
    char keys[3][32];
    int fds[9];
    unsigned allowed = 0;

    keys_of_all(fleet, 0, keys);
    for (unsigned i = 0; i < 9; i++) {
        fds[i] = node_connect(&fleet->nodes[i % 3]);
        for (unsigned j = 0; j < 5; j++) {
            client_ask(fleet, fds[i],
                       (struct asked){
                           .limit = "api",
                           .keys = { keys[i % 3], keys[(i + 1) % 3], keys[(i + 2) % 3] },
                           .deadline_ms = 20000 });
        }
    }
    for (unsigned i = 0; i < 9; i++) {
        for (unsigned j = 0; j < 5; j++) {
            Pawl__V1__Reply *reply = client_receive(fds[i]);

            expect_ok(reply);
            allowed += reply->check->verdict == PAWL__V1__VERDICT__VERDICT_ALLOW;
            answer_free(reply);
        }
        (void)close(fds[i]);
    }
    assert_true(allowed <= 10 && allowed > 0);
    for (unsigned i = 0; i < 3; i++) {
        AWAIT(count_of(fleet, "api", i, keys[i]) == allowed);
    }
}

static void a_denial_during_anothers_hold_says_contended(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    int other = node_connect(&fleet->nodes[1]);
    char first[32];
    char second[32];

    (void)fleet_key(fleet, 1, 0, first);
    for (unsigned nth = 0; nth == 0 || fleet_slot(fleet, second) < fleet_slot(fleet, first);) {
        (void)fleet_key(fleet, 2, nth++, second);
    }
    node_state(&fleet->nodes[2], fleet_slot(fleet, second), PAWL_SLOT_WANTED);
    client_ask(fleet, fd,
               (struct asked){
                   .limit = "two", .keys = { first, second }, .cost = 2, .deadline_ms = 400 });
    AWAIT(count_of(fleet, "two", 1, first) == 2); /* so the first one is charged */
    Pawl__V1__Reply *reply =
        client_check(fleet, other, (struct asked){ .limit = "two", .keys = { first } });

    expect_ok(reply);
    assert_int_equal(reply->check->verdict, PAWL__V1__VERDICT__VERDICT_DENY);
    assert_true(reply->check->results[0]->contended);
    answer_free(reply);
    reply = client_receive(fd); /* its second part was not decided in time */
    assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_UNAVAILABLE);
    answer_free(reply);
    AWAIT(count_of(fleet, "two", 1, first) == 0);
    expect_verdict(client_check(fleet, other,
                                (struct asked){ .limit = "two", .keys = { first }, .cost = 2 }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    reply = client_check(fleet, other, (struct asked){ .limit = "two", .keys = { first } });
    assert_int_equal(reply->check->verdict, PAWL__V1__VERDICT__VERDICT_DENY);
    assert_false(reply->check->results[0]->contended);
    answer_free(reply);
    assert_int_equal(FIGURE(&fleet->nodes[1], contended), 1);
    (void)close(fd);
    (void)close(other);
}

static void parts_are_asked_at_the_same_time(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    for (unsigned i = 1; i < 3; i++) {
        node_state(&fleet->nodes[i], fleet_slot(fleet, keys[i]), PAWL_SLOT_WANTED);
    }
    client_ask(fleet, fd, (struct asked){ .limit = "api", .keys = { keys[0], keys[1], keys[2] } });
    AWAIT(atomic_load(&fleet->nodes[1].wanted) > 0 && atomic_load(&fleet->nodes[2].wanted) > 0);
    for (unsigned i = 1; i < 3; i++) {
        node_state(&fleet->nodes[i], fleet_slot(fleet, keys[i]), PAWL_SLOT_HELD);
    }
    expect_verdict(client_receive(fd), PAWL__V1__VERDICT__VERDICT_ALLOW);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(count_of(fleet, "api", i, keys[i]), 1);
    }
    (void)close(fd);
}

/* The first check holds a key that the second one wants, too, and loses it: the second one asks
 * again, and so does not refuse what nobody has. */
static void a_denial_by_anothers_hold_is_asked_again_once(void **state)
{
    struct fleet *fleet = *state;
    int fds[2] = { node_connect(&fleet->nodes[0]), node_connect(&fleet->nodes[0]) };
    char held[32], slow[2][32];

    (void)fleet_key(fleet, 1, 0, held);
    for (unsigned i = 0; i < 2; i++) {
        (void)fleet_key(fleet, 2, i, slow[i]);
        node_state(&fleet->nodes[2], fleet_slot(fleet, slow[i]), PAWL_SLOT_WANTED);
    }
    client_ask(fleet, fds[0],
               (struct asked){
                   .limit = "two", .keys = { held, slow[0] }, .cost = 2, .deadline_ms = 500 });
    AWAIT(count_of(fleet, "two", 1, held) == 2);
    client_ask(fleet, fds[1],
               (struct asked){
                   .limit = "two", .keys = { held, slow[1] }, .cost = 2, .deadline_ms = 20000 });
    AWAIT(FIGURE(&fleet->nodes[1], contended) == 1); /* it was refused there, and waits at 2 */
    Pawl__V1__Reply *reply = client_receive(fds[0]); /* too late for its second key */

    assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_UNAVAILABLE);
    answer_free(reply);
    AWAIT(count_of(fleet, "two", 1, held) == 0);
    node_state(&fleet->nodes[2], fleet_slot(fleet, slow[1]), PAWL_SLOT_HELD);
    expect_verdict(client_receive(fds[1]), PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_int_equal(count_of(fleet, "two", 1, held), 2);
    assert_int_equal(count_of(fleet, "two", 2, slow[1]), 2);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* A check by @fd of two members' keys is charged at one of them and refused by the other; the first
 * key, which @first is, has moved meanwhile. */
static void refuse_after_a_move(struct fleet *fleet, int fd, char first[32])
{
    char full[32];
    uint32_t slot = fleet_slot(fleet, fleet_key(fleet, 1, 0, first));

    (void)fleet_key(fleet, 2, 0, full);
    expect_verdict(client_check(fleet, fd,
                                (struct asked){ .limit = "two", .keys = { full }, .cost = 2 }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    node_state(&fleet->nodes[2], fleet_slot(fleet, full), PAWL_SLOT_WANTED);
    client_ask(fleet, fd, (struct asked){ .limit = "two", .keys = { first, full }, .cost = 1 });
    AWAIT(count_of(fleet, "two", 1, first) == 1);
    node_state(&fleet->nodes[1], slot, PAWL_SLOT_FOREIGN); /* who is asked says so */
    node_learn(fleet, &fleet->nodes[1], fleet->view + 65536, 5);
    node_state(&fleet->nodes[2], fleet_slot(fleet, full), PAWL_SLOT_HELD);
    expect_verdict(client_receive(fd), PAWL__V1__VERDICT__VERDICT_DENY);
}

static void what_is_given_back_follows_a_key_that_moves(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char first[32];

    refuse_after_a_move(fleet, fd, first);
    AWAIT(FIGURE(&fleet->nodes[0], moved) >= 2); /* it does not cease to ask */
    assert_int_equal(count_of(fleet, "two", 1, first), 1);
    fleet_settle(fleet, 7); /* a later view still, and the key is where it was */
    AWAIT(count_of(fleet, "two", 1, first) == 0);
    assert_int_equal(FIGURE(&fleet->nodes[0], holds_kept), 0);
    (void)close(fd);
}

static void what_nobody_takes_back_in_time_stays_and_is_counted(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char first[32];

    refuse_after_a_move(fleet, fd, first);
    AWAIT(FIGURE(&fleet->nodes[0], holds_kept) == 1);
    assert_int_equal(count_of(fleet, "two", 1, first), 1);
    (void)close(fd);
}

static void a_part_that_fell_silent_may_be_counted(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char keys[3][32];

    keys_of_all(fleet, 0, keys); /* the last has its part, and waits */
    node_state(&fleet->nodes[2], fleet_slot(fleet, keys[2]), PAWL_SLOT_WANTED);
    client_ask(fleet, fd, (struct asked){ .limit = "api", .keys = { keys[0], keys[1], keys[2] } });
    AWAIT(atomic_load(&fleet->nodes[2].wanted) > 0);
    node_stop(&fleet->nodes[2]);
    Pawl__V1__Reply *reply = client_receive(fd);

    assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_UNAVAILABLE);
    assert_non_null(memmem(reply->error.data, reply->error.len, "may have counted", 16));
    assert_true(reply->effect_unknown);
    answer_free(reply);
    for (unsigned i = 0; i < 2; i++) {
        AWAIT(count_of(fleet, "api", i, keys[i]) == 0);
    }
    (void)close(fd);
}

/* ---- tokens ---- */

static void revoke_at(struct node *node, const char *jti)
{
    struct pawl_fact fact = { .kind = PAWL_FACT_REVOCATION,
                              .scope = PAWL_SCOPE_TOKEN,
                              .reason = PAWL_REASON_LOGOUT,
                              .ns = pawl_bytes_of("default", 7),
                              .issuer = pawl_bytes_of("https://a", 9),
                              .value = pawl_bytes_of(jti, strlen(jti)),
                              .until_s = (uint64_t)time(NULL) + 9000 };

    assert_int_equal(pawl_revocations_apply(&node->revocations, &node->keys.facts, &fact, 0),
                     PAWL_OK);
}

static void a_token_is_judged_where_the_check_came(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    char key[32];

    (void)fleet_key(fleet, 1, 0, key);
    Pawl__V1__Reply *reply =
        client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key }, .jti = "good" });

    expect_ok(reply);
    assert_int_equal(reply->check->verdict, PAWL__V1__VERDICT__VERDICT_ALLOW);
    assert_non_null(reply->check->token);
    assert_int_equal(reply->check->token->status, PAWL__V1__TOKEN_STATUS__TOKEN_VALID);
    assert_int_equal(reply->check->n_results, 1);
    answer_free(reply);
    assert_int_equal(count_of(fleet, "api", 1, key), 1);
    revoke_at(&fleet->nodes[0], "bad"); /* the owner of the key has not heard of it */
    reply =
        client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key }, .jti = "bad" });
    expect_ok(reply);
    assert_int_equal(reply->check->verdict, PAWL__V1__VERDICT__VERDICT_DENY);
    assert_int_equal(reply->check->token->status, PAWL__V1__TOKEN_STATUS__TOKEN_REVOKED);
    answer_free(reply);
    assert_int_equal(count_of(fleet, "api", 1, key), 1); /* costs its caller nothing */
    (void)close(fd);
}

/* ---- refund, reset, reservations ---- */

static Pawl__V1__Reply *exchange(struct fleet *fleet, int fd, Pawl__V1__Request *request)
{
    request->id = fleet->next_id++;
    client_send(fd, request);
    Pawl__V1__Reply *reply = client_receive(fd);

    assert_int_equal(reply->id, request->id);
    return reply;
}

static void a_refund_goes_to_each_owner(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    Pawl__V1__Refund refund = PAWL__V1__REFUND__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__RefundItem items[3];
    Pawl__V1__RefundItem *list[3];
    ProtobufCBinaryData parts[3];
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    expect_verdict(client_check(fleet, fd,
                                (struct asked){ .limit = "api",
                                                .keys = { keys[0], keys[1], keys[2] },
                                                .cost = 3 }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    for (unsigned i = 0; i < 3; i++) {
        pawl__v1__refund_item__init(&items[i]);
        parts[i] = wire_text(keys[i]);
        items[i].limit = wire_text("api");
        items[i].n_key = 1;
        items[i].key = &parts[i];
        items[i].cost = 1 + i;
        list[i] = &items[i];
    }
    refund.n_items = 3;
    refund.items = list;
    request.body_case = PAWL__V1__REQUEST__BODY_REFUND;
    request.refund = &refund;
    Pawl__V1__Reply *reply = exchange(fleet, fd, &request);

    expect_ok(reply);
    assert_int_equal(reply->refund->n_refunded, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(reply->refund->refunded[i], 1 + i);
        assert_int_equal(count_of(fleet, "api", i, keys[i]), 3 - (1 + i));
    }
    answer_free(reply);
    refund.n_items = 1; /* one owner alone: as it lies */
    list[0] = &items[1];
    reply = exchange(fleet, fd, &request);
    expect_ok(reply);
    assert_int_equal(reply->refund->refunded[0], 1);
    answer_free(reply);
    (void)close(fd);
}

static void a_reset_reaches_the_owner(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    Pawl__V1__Reset reset = PAWL__V1__RESET__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    char key[32];
    ProtobufCBinaryData part = wire_text(fleet_key(fleet, 2, 0, key));

    expect_verdict(client_check(fleet, fd, (struct asked){ .limit = "api", .keys = { key } }),
                   PAWL__V1__VERDICT__VERDICT_ALLOW);
    reset.limit = wire_text("api");
    reset.n_key = 1;
    reset.key = &part;
    request.body_case = PAWL__V1__REQUEST__BODY_RESET;
    request.reset = &reset;
    Pawl__V1__Reply *reply = exchange(fleet, fd, &request);

    expect_ok(reply);
    assert_int_equal(reply->reset->records, 1);
    answer_free(reply);
    assert_int_equal(count_of(fleet, "api", 2, key), 0);
    (void)close(fd);
}

static void a_lease_leads_back_to_who_granted_it(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    int other = node_connect(&fleet->nodes[2]);
    Pawl__V1__Reserve reserve = PAWL__V1__RESERVE__INIT;
    Pawl__V1__Commit commit = PAWL__V1__COMMIT__INIT;
    Pawl__V1__CheckItem item = PAWL__V1__CHECK_ITEM__INIT;
    Pawl__V1__CheckItem *items[] = { &item };
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    char key[32];
    ProtobufCBinaryData part = wire_text(fleet_key(fleet, 1, 0, key));

    item.limit = wire_text("api");
    item.n_key = 1;
    item.key = &part;
    reserve.n_items = 1;
    reserve.items = items;
    reserve.min = 5;
    request.body_case = PAWL__V1__REQUEST__BODY_RESERVE;
    request.reserve = &reserve;
    Pawl__V1__Reply *granted = exchange(fleet, fd, &request);

    expect_ok(granted);
    assert_int_equal(granted->reserve->granted, 5);
    assert_int_equal(count_of(fleet, "api", 1, key), 5);
    commit.lease = granted->reserve->lease;
    commit.used = 2;
    request.body_case = PAWL__V1__REQUEST__BODY_COMMIT;
    request.commit = &commit;
    Pawl__V1__Reply *reply = exchange(fleet, other, &request); /* at a third member */

    expect_ok(reply);
    assert_int_equal(reply->commit->refunded, 3);
    assert_int_equal(count_of(fleet, "api", 1, key), 2);
    answer_free(reply);
    reply = exchange(fleet, other, &request);
    assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_NOT_FOUND);
    answer_free(reply);
    answer_free(granted);
    (void)close(fd);
    (void)close(other);
}

static void a_reservation_wants_keys_of_one_member(void **state)
{
    struct fleet *fleet = *state;
    int fd = node_connect(&fleet->nodes[0]);
    Pawl__V1__Reserve reserve = PAWL__V1__RESERVE__INIT;
    Pawl__V1__CheckItem items[3];
    Pawl__V1__CheckItem *list[3];
    ProtobufCBinaryData parts[3];
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    char keys[3][32];

    keys_of_all(fleet, 0, keys);
    for (unsigned i = 0; i < 3; i++) {
        pawl__v1__check_item__init(&items[i]);
        parts[i] = wire_text(keys[i]);
        items[i].limit = wire_text("api");
        items[i].n_key = 1;
        items[i].key = &parts[i];
        list[i] = &items[i];
    }
    reserve.n_items = 3;
    reserve.items = list;
    request.body_case = PAWL__V1__REQUEST__BODY_RESERVE;
    request.reserve = &reserve;
    Pawl__V1__Reply *reply = exchange(fleet, fd, &request);

    assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_UNSUPPORTED);
    answer_free(reply);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(count_of(fleet, "api", i, keys[i]), 0);
    }
    (void)close(fd);
}

/* ---- between members ---- */

static void a_pull_is_answered_by_the_clusters_thread(void **state)
{
    struct fleet *fleet = *state;
    struct node *node = &fleet->nodes[0];
    int fd = node_connect_peer(node);
    Pawl__V1__Pull pull = PAWL__V1__PULL__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    uint8_t member[16] = "a member's id...";

    pull.view = wire_text("a sealed view");
    pull.bundle = 63;
    pull.cursor = 7;
    pull.member.data = member;
    pull.member.len = sizeof(member);
    request.id = 99;
    request.body_case = PAWL__V1__REQUEST__BODY_PULL;
    request.pull = &pull;
    client_send(fd, &request);
    AWAIT(atomic_load(&node->requests) == 1);
    struct pawl_peer_request *asked = atomic_exchange(&node->request, NULL);

    assert_int_equal(asked->kind, PAWL_PEER_PULL);
    assert_int_equal(asked->bundle, 63);
    assert_int_equal(asked->cursor, 7);
    assert_memory_equal(asked->view.data, "a sealed view", 13);
    assert_memory_equal(asked->member.bytes, member, 16);
    asked->status = PAWL_OK;
    asked->answer = malloc(300000);
    assert_non_null(asked->answer);
    memset(asked->answer, 'r', 300000);
    asked->answer_size = 300000;
    asked->next_cursor = 8;
    asked->whole = 5;
    pawl_peer_answer(asked);
    Pawl__V1__Reply *reply = client_receive(fd);

    assert_int_equal(reply->id, 99);
    expect_ok(reply);
    assert_int_equal(reply->pull->records.len, 300000);
    assert_int_equal(reply->pull->cursor, 8);
    assert_int_equal(reply->pull->whole, 5);
    answer_free(reply);
    (void)close(fd);
    fd = node_connect(node);
    client_send(fd, &request); /* a client may not */
    reply = client_receive(fd);
    assert_int_equal(reply->status, PAWL__V1__STATUS__STATUS_DENIED);
    answer_free(reply);
    (void)close(fd);
}

static void answer_it(void *ctx)
{
    pawl_peer_answer(ctx);
}

/* The last worker comes to rest while the server is taken down; who asked belonged to the first. */
static void a_pull_that_waits_for_the_workers_ends_with_them(void **state)
{
    static struct pawl_quiesce quiesce;
    struct fleet *fleet = *state;
    struct node *node = &fleet->nodes[0];
    struct pawl_peer_request *asked = NULL;
    Pawl__V1__Pull pull = PAWL__V1__PULL__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    uint8_t member[16] = "a member's id...";
    int fds[64];
    unsigned count = 0;

    pull.member.data = member;
    pull.member.len = sizeof(member);
    request.id = 1;
    request.body_case = PAWL__V1__REQUEST__BODY_PULL;
    request.pull = &pull;
    while (asked == NULL || asked->worker != pawl_server_worker(node->server, 0)) {
        if (asked != NULL) {
            pawl_peer_answer(asked);
        }
        assert_true(count < 64);
        fds[count] = node_connect_peer(node);
        client_send(fds[count++], &request);
        AWAIT(atomic_load(&node->requests) == count);
        asked = atomic_exchange(&node->request, NULL);
    }
    pawl_server_stop(node->server);
    pawl_server_stop(node->server);
    assert_int_equal(pthread_join(node->thread, NULL), 0);
    pawl_quiesce(&node->world, &quiesce, answer_it, asked);
    pawl_server_destroy(node->server);
    node->server = NULL;
    while (count > 0) {
        (void)close(fds[--count]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_check_of_several_owners_charges_all_of_them, three, end),
        cmocka_unit_test_setup_teardown(a_refusal_gives_back_what_the_others_charged, three, end),
        cmocka_unit_test_setup_teardown(in_mode_each_a_refusal_leaves_the_others_charged, three,
                                        end),
        cmocka_unit_test_setup_teardown(a_peek_of_several_owners_charges_nobody, three, end),
        cmocka_unit_test_setup_teardown(when_a_part_has_no_owner_all_is_given_back, three, end),
        cmocka_unit_test_setup_teardown(a_part_waits_for_its_slot, three, end),
        cmocka_unit_test_setup_teardown(concurrent_checks_of_several_owners_are_never_over, three,
                                        end),
        cmocka_unit_test_setup_teardown(a_denial_during_anothers_hold_says_contended, three, end),
        cmocka_unit_test_setup_teardown(parts_are_asked_at_the_same_time, three, end),
        cmocka_unit_test_setup_teardown(a_denial_by_anothers_hold_is_asked_again_once, three, end),
        cmocka_unit_test_setup_teardown(what_is_given_back_follows_a_key_that_moves, three, end),
        cmocka_unit_test_setup_teardown(what_nobody_takes_back_in_time_stays_and_is_counted, three,
                                        end),
        cmocka_unit_test_setup_teardown(a_part_that_fell_silent_may_be_counted, three, end),
        cmocka_unit_test_setup_teardown(a_token_is_judged_where_the_check_came, three, end),
        cmocka_unit_test_setup_teardown(a_refund_goes_to_each_owner, three, end),
        cmocka_unit_test_setup_teardown(a_reset_reaches_the_owner, three, end),
        cmocka_unit_test_setup_teardown(a_lease_leads_back_to_who_granted_it, three, end),
        cmocka_unit_test_setup_teardown(a_reservation_wants_keys_of_one_member, three, end),
        cmocka_unit_test_setup_teardown(a_pull_is_answered_by_the_clusters_thread, three, end),
        cmocka_unit_test_setup_teardown(a_pull_that_waits_for_the_workers_ends_with_them, three,
                                        end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
