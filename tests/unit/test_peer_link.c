/* A link to another member, over a network that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "edge/peer_link.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"

/* ---- the network --------------------------------------------------------------------------- */

#define SENT_MAX 65536

static struct {
    uint64_t now_ms;
    unsigned dials;
    bool refuses; /* connect() has no memory */
    bool full;    /* write() has no room */
    bool open, alive, closing;
    struct pawl_stream_events events;
    void *ctx;
    uint16_t port;
    char host[64];
    uint8_t sent[SENT_MAX];
    size_t sent_size;
    /* the timer */
    void (*run)(void *ctx);
    void *timer_ctx;
    uint64_t due_ms; /* 0: it does not run */
    bool released;
} net;

static struct pawl_stream *net_connect(void *self, const struct pawl_dial *dial,
                                       const struct pawl_stream_events *events, void *ctx)
{
    (void)self;
    net.dials++;
    if (net.refuses) {
        return NULL;
    }
    assert_false(net.alive); /* one at a time */
    net.events = *events;
    net.ctx = ctx;
    net.port = dial->port;
    (void)snprintf(net.host, sizeof(net.host), "%s", dial->host);
    net.alive = true;
    net.open = false;
    net.closing = false;
    net.sent_size = 0;
    return (struct pawl_stream *)&net;
}

static enum pawl_status net_write(struct pawl_stream *stream, const void *data, size_t size)
{
    (void)stream;
    if (!net.open || net.closing) {
        return PAWL_ECONN;
    }
    if (net.full || size > SENT_MAX - net.sent_size) {
        return PAWL_EFULL;
    }
    memcpy(net.sent + net.sent_size, data, size);
    net.sent_size += size;
    return PAWL_OK;
}

static void net_close(struct pawl_stream *stream)
{
    (void)stream;
    assert_true(net.alive);
    net.closing = true;
}

static struct pawl_timer *net_timer(void *self, void (*run)(void *ctx), void *ctx)
{
    (void)self;
    net.run = run;
    net.timer_ctx = ctx;
    net.released = false;
    return (struct pawl_timer *)&net;
}

static void net_start(struct pawl_timer *timer, uint32_t ms)
{
    (void)timer;
    net.due_ms = net.now_ms + ms;
}

static void net_stop(struct pawl_timer *timer)
{
    (void)timer;
    net.due_ms = 0;
}

static void net_release(struct pawl_timer *timer)
{
    (void)timer;
    net.due_ms = 0;
    net.released = true;
}

static uint64_t net_now_ms(void *self)
{
    (void)self;
    return net.now_ms;
}

static const struct pawl_net_ops net_ops = { .connect = net_connect,
                                             .write = net_write,
                                             .close = net_close,
                                             .timer = net_timer,
                                             .start = net_start,
                                             .stop = net_stop,
                                             .release = net_release,
                                             .now_ms = net_now_ms };

/* The connection ends; also the end of one that was closed here. */
static void net_end(const char *why)
{
    assert_true(net.alive);
    net.alive = false;
    net.open = false;
    net.events.closed(net.ctx, PAWL_ECONN, why);
}

static void net_opens(void)
{
    net.open = true;
    net.events.opened(net.ctx);
}

static void pass(uint64_t ms)
{
    net.now_ms += ms;
    if (net.due_ms != 0 && net.now_ms >= net.due_ms) {
        net.due_ms = 0;
        net.run(net.timer_ctx);
    }
}

/* ---- the other member ---------------------------------------------------------------------- */

static const struct pawl_member_id other = { "the other member" };

static void net_brings(const Pawl__V1__Reply *reply)
{
    static uint8_t frame[PAWL_FRAME_HEADER_BYTES + PAWL_REPLY_BYTES_MAX];
    size_t size = pawl_cold_write_reply(frame, sizeof(frame), reply);

    assert_int_not_equal(size, 0);
    net.events.bytes(net.ctx, frame, size);
}

/* The id of the @nth request sent; 0: there are not so many. */
static uint64_t sent_id(unsigned nth, bool *hello)
{
    size_t at = 0;
    struct pawl_bytes message;

    while (at < net.sent_size &&
           pawl_frame_next(net.sent + at, net.sent_size - at, PAWL_REQUEST_BYTES_MAX, &message,
                           NULL) == PAWL_OK) {
        Pawl__V1__Request *request = pawl__v1__request__unpack(NULL, message.size, message.data);
        uint64_t id = request->id;

        if (hello != NULL) {
            *hello = request->hello != NULL;
        }
        pawl__v1__request__free_unpacked(request, NULL);
        if (nth-- == 0) {
            return id;
        }
        at += PAWL_FRAME_HEADER_BYTES + message.size;
    }
    return 0;
}

static void answers_hello_as(const struct pawl_member_id *member, Pawl__V1__Role role)
{
    Pawl__V1__HelloReply hello = PAWL__V1__HELLO_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    uint8_t node[16];
    bool is_hello = false;

    memcpy(node, member->bytes, sizeof(node));
    hello.node.data = node;
    hello.node.len = sizeof(node);
    hello.n_roles = 1;
    hello.roles = &role;
    reply.id = sent_id(0, &is_hello);
    assert_true(is_hello);
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.hello = &hello;
    net_brings(&reply);
}

static void answers(uint64_t id, Pawl__V1__Status status)
{
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    reply.id = id;
    reply.status = status;
    net_brings(&reply);
}

static void says_goaway(uint64_t last_id)
{
    Pawl__V1__GoAway goaway = PAWL__V1__GO_AWAY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    goaway.last_id = last_id;
    reply.goaway = &goaway;
    net_brings(&reply);
}

/* ---- who asks ------------------------------------------------------------------------------ */

static struct pawl_peer_link *peer;

struct ask {
    uint64_t id;
    enum pawl_peer_outcome outcome; /* NONE: outstanding */
    unsigned times;
    size_t size;
};

static struct ask asks[8];

static void on_done(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes reply,
                    const char *why)
{
    struct ask *ask = ctx;

    assert_true((outcome == PAWL_PEER_REPLY) == (why == NULL));
    assert_true((outcome == PAWL_PEER_REPLY) == (reply.size > 0));
    ask->outcome = outcome;
    ask->size = reply.size;
    ask->times++;
}

static bool ask(unsigned which, uint32_t timeout_ms)
{
    Pawl__V1__Ping ping = PAWL__V1__PING__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    uint8_t frame[64];
    size_t size;

    memset(&asks[which], 0, sizeof(asks[which]));
    request.id = pawl_peer_link_next(peer);
    if (request.id == 0) {
        return false;
    }
    request.body_case = PAWL__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    size = pawl_cold_write_request(frame, sizeof(frame), &request);
    asks[which].id = request.id;
    return pawl_peer_link_ask(peer, request.id, pawl_bytes_of(frame, size), timeout_ms, on_done,
                              &asks[which]) == PAWL_OK;
}

static void expect(unsigned which, enum pawl_peer_outcome outcome)
{
    assert_int_equal(asks[which].outcome, outcome);
    assert_int_equal(asks[which].times, outcome == PAWL_PEER_NONE ? 0 : 1);
}

static int make(void **state)
{
    struct pawl_peer_link_options options = {
        .net = { &net_ops, NULL }, .member = other, .address = "tcp:10.0.0.7:7400", .seed = 1
    };

    (void)state;
    memset(&net, 0, sizeof(net));
    net.now_ms = 1000000;
    peer = pawl_peer_link_create(&options);
    return peer != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    pawl_peer_link_destroy(peer);
    assert_true(net.released);
    if (net.alive) {
        net_end("closed");
    }
    return 0;
}

static void come_up(void)
{
    assert_true(ask(0, 1000));
    net_opens();
    answers_hello_as(&other, PAWL__V1__ROLE__ROLE_PEER);
    assert_int_equal(pawl_peer_link_state(peer), PAWL_PEER_LINK_OPEN);
    answers(asks[0].id, PAWL__V1__STATUS__STATUS_OK);
    expect(0, PAWL_PEER_REPLY);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void what_is_asked_while_it_opens_is_sent_after_hello(void **state)
{
    (void)state;
    assert_int_equal(net.dials, 0); /* nobody asked */
    assert_true(ask(0, 1000));
    assert_true(ask(1, 1000));
    assert_int_equal(net.dials, 1);
    assert_string_equal(net.host, "10.0.0.7");
    assert_int_equal(net.port, 7400);
    net_opens();
    assert_int_equal(sent_id(1, NULL), 0); /* hello alone */
    answers_hello_as(&other, PAWL__V1__ROLE__ROLE_PEER);
    assert_int_equal(sent_id(1, NULL), asks[0].id);
    assert_int_equal(sent_id(2, NULL), asks[1].id);
    answers(asks[1].id, PAWL__V1__STATUS__STATUS_MOVED);
    expect(0, PAWL_PEER_NONE);
    expect(1, PAWL_PEER_REPLY);
    answers(asks[0].id, PAWL__V1__STATUS__STATUS_OK);
    expect(0, PAWL_PEER_REPLY);
    answers(asks[0].id, PAWL__V1__STATUS__STATUS_OK); /* once more: nobody's */
    expect(0, PAWL_PEER_REPLY);
    assert_int_equal(pawl_peer_link_outstanding(peer), 0);
}

static void another_member_behind_the_address_is_not_asked(void **state)
{
    static const struct pawl_member_id third = { "the third member" };

    (void)state;
    assert_true(ask(0, 1000));
    net_opens();
    answers_hello_as(&third, PAWL__V1__ROLE__ROLE_PEER);
    expect(0, PAWL_PEER_UNSENT);
    assert_int_equal(sent_id(1, NULL), 0);
    assert_non_null(strstr(pawl_peer_link_why(peer), "another member"));
    net_end("closed");
    pass(3000);
    assert_true(ask(1, 1000));
    net_opens();
    answers_hello_as(&other, PAWL__V1__ROLE__ROLE_CHECK);
    expect(1, PAWL_PEER_UNSENT);
    assert_non_null(strstr(pawl_peer_link_why(peer), "role peer"));
}

static void a_lost_connection_is_unknown_for_what_was_sent(void **state)
{
    (void)state;
    come_up();
    assert_true(ask(1, 1000));
    net_end("reset");
    expect(1, PAWL_PEER_UNKNOWN);
}

static void a_connection_that_never_opened_sent_nothing(void **state)
{
    (void)state;
    assert_true(ask(0, 1000));
    net_end("refused");
    expect(0, PAWL_PEER_UNSENT);
    assert_int_equal(pawl_peer_link_state(peer), PAWL_PEER_LINK_RESTING);
    assert_false(ask(1, 1000)); /* not before it has rested */
    assert_int_equal(net.dials, 1);
    pass(60);
    assert_true(ask(1, 1000));
    assert_int_equal(net.dials, 2);
    net_end("refused");
}

static void it_rests_longer_after_each_failure_and_not_beyond_two_seconds(void **state)
{
    unsigned longest = 0;

    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        unsigned waited = 0;

        while (!ask(0, 1000)) {
            pass(1);
            waited++;
        }
        longest = waited > longest ? waited : longest;
        assert_true(waited <= 2001);
        net_end("refused");
    }
    assert_true(longest >= 1000);
}

static void a_connection_that_served_is_made_anew_at_once(void **state)
{
    (void)state;
    come_up();
    pass(1500);
    net_end("reset");
    assert_true(ask(1, 1000));
    assert_int_equal(net.dials, 2);
    net_opens();
    answers_hello_as(&other, PAWL__V1__ROLE__ROLE_PEER);
    answers(asks[1].id, PAWL__V1__STATUS__STATUS_OK);
    expect(1, PAWL_PEER_REPLY);
}

static void each_request_has_its_deadline(void **state)
{
    (void)state;
    come_up();
    assert_true(ask(1, 50));
    assert_true(ask(2, 20));
    assert_true(ask(3, 500));
    pass(20);
    expect(2, PAWL_PEER_UNKNOWN);
    expect(1, PAWL_PEER_NONE);
    pass(30);
    expect(1, PAWL_PEER_UNKNOWN);
    expect(3, PAWL_PEER_NONE);
    answers(asks[1].id, PAWL__V1__STATUS__STATUS_OK); /* too late: nobody's */
    expect(1, PAWL_PEER_UNKNOWN);
    answers(asks[3].id, PAWL__V1__STATUS__STATUS_OK);
    expect(3, PAWL_PEER_REPLY);
}

static void what_was_held_past_its_deadline_was_not_sent(void **state)
{
    (void)state;
    assert_true(ask(0, 30));
    pass(30);
    expect(0, PAWL_PEER_UNSENT);
    net_opens();
    answers_hello_as(&other, PAWL__V1__ROLE__ROLE_PEER);
    assert_int_equal(sent_id(1, NULL), 0);
}

static void a_hello_without_an_answer_ends_the_connection(void **state)
{
    (void)state;
    assert_true(ask(0, 60000));
    net_opens();
    pass(PAWL_PEER_CONNECT_MS);
    expect(0, PAWL_PEER_UNSENT);
    assert_true(net.closing);
}

static void after_goaway_nothing_is_sent_and_what_was_not_begun_is_unsent(void **state)
{
    (void)state;
    come_up();
    assert_true(ask(1, 1000));
    assert_true(ask(2, 1000));
    says_goaway(UINT64_MAX);
    assert_int_equal(pawl_peer_link_state(peer), PAWL_PEER_LINK_PARTING);
    assert_false(ask(3, 1000));
    expect(1, PAWL_PEER_NONE);
    says_goaway(asks[1].id);
    expect(2, PAWL_PEER_UNSENT);
    answers(asks[1].id, PAWL__V1__STATUS__STATUS_OK);
    expect(1, PAWL_PEER_REPLY);
    assert_true(net.closing); /* nothing is outstanding */
    net_end("closed");
    assert_true(ask(3, 1000));
    assert_int_equal(net.dials, 2);
    net_end("refused");
}

static void replies_may_come_in_pieces(void **state)
{
    static uint8_t frame[400000];
    static uint8_t records[300000];
    Pawl__V1__PullReply pull = PAWL__V1__PULL_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    size_t size;

    (void)state;
    come_up();
    assert_true(ask(1, 1000));
    assert_true(ask(2, 1000));
    pull.records.data = records;
    pull.records.len = sizeof(records);
    reply.id = asks[1].id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_PULL;
    reply.pull = &pull;
    size = pawl_cold_write_reply(frame, sizeof(frame), &reply);
    reply.body_case = PAWL__V1__REPLY__BODY__NOT_SET;
    reply.id = asks[2].id;
    size += pawl_cold_write_reply(frame + size, sizeof(frame) - size, &reply);
    for (size_t at = 0; at < size;) {
        size_t piece = at < 10 ? 1 : 65536;

        piece = piece < size - at ? piece : size - at;
        net.events.bytes(net.ctx, frame + at, piece);
        at += piece;
    }
    expect(1, PAWL_PEER_REPLY);
    assert_true(asks[1].size > sizeof(records));
    expect(2, PAWL_PEER_REPLY);
}

static void bytes_that_are_no_reply_end_the_connection(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        { "\xff\xff\xff\xff", 4 },         /* too long a frame */
        { "\x00\x00\x00\x01\x07", 5 },     /* no protobuf */
        { "\x00\x00\x00\x00\x00", 5 },     /* nothing in it */
        { "\x00\x00\x00\x02\x2a\x05", 6 }, /* a goaway cut short */
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        come_up();
        assert_true(ask(1, 1000));
        net.events.bytes(net.ctx, (const uint8_t *)bad[i].bytes, bad[i].size);
        assert_true(net.closing);
        expect(1, PAWL_PEER_UNKNOWN);
        net.events.bytes(net.ctx, (const uint8_t *)"rest", 4); /* nobody listens any more */
        (void)end(state);
        assert_int_equal(make(state), 0);
    }
}

static void it_takes_no_more_than_it_has_room_for(void **state)
{
    static uint64_t ids[PAWL_PEER_IN_FLIGHT_MAX];
    unsigned taken = 0;

    (void)state;
    come_up();
    while (ask(1, 60000)) {
        assert_true(taken < PAWL_PEER_IN_FLIGHT_MAX);
        ids[taken++] = asks[1].id;
        net.sent_size = 0;
    }
    assert_int_equal(taken, PAWL_PEER_IN_FLIGHT_MAX - 1);
    answers(ids[7], PAWL__V1__STATUS__STATUS_OK);
    assert_true(ask(2, 60000));
    assert_true(asks[2].id > ids[taken - 1]); /* upwards, for goaway */
    net.full = true;
    answers(ids[8], PAWL__V1__STATUS__STATUS_OK);
    assert_false(ask(3, 1000));
}

static void destroying_it_ends_what_is_outstanding(void **state)
{
    (void)state;
    come_up();
    assert_true(ask(1, 1000));
    pawl_peer_link_destroy(peer);
    expect(1, PAWL_PEER_UNKNOWN);
    net_end("closed");
    assert_int_equal(make(state), 0);
    assert_true(ask(2, 1000));
    pawl_peer_link_destroy(peer);
    expect(2, PAWL_PEER_UNSENT);
    net_end("closed");
    assert_int_equal(make(state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_asked_while_it_opens_is_sent_after_hello, make,
                                        end),
        cmocka_unit_test_setup_teardown(another_member_behind_the_address_is_not_asked, make, end),
        cmocka_unit_test_setup_teardown(a_lost_connection_is_unknown_for_what_was_sent, make, end),
        cmocka_unit_test_setup_teardown(a_connection_that_never_opened_sent_nothing, make, end),
        cmocka_unit_test_setup_teardown(
            it_rests_longer_after_each_failure_and_not_beyond_two_seconds, make, end),
        cmocka_unit_test_setup_teardown(a_connection_that_served_is_made_anew_at_once, make, end),
        cmocka_unit_test_setup_teardown(each_request_has_its_deadline, make, end),
        cmocka_unit_test_setup_teardown(what_was_held_past_its_deadline_was_not_sent, make, end),
        cmocka_unit_test_setup_teardown(a_hello_without_an_answer_ends_the_connection, make, end),
        cmocka_unit_test_setup_teardown(
            after_goaway_nothing_is_sent_and_what_was_not_begun_is_unsent, make, end),
        cmocka_unit_test_setup_teardown(replies_may_come_in_pieces, make, end),
        cmocka_unit_test_setup_teardown(bytes_that_are_no_reply_end_the_connection, make, end),
        cmocka_unit_test_setup_teardown(it_takes_no_more_than_it_has_room_for, make, end),
        cmocka_unit_test_setup_teardown(destroying_it_ends_what_is_outstanding, make, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
