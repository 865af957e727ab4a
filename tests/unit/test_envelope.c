#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pawl/v1/cold.h"
#include "pawl/v1/envelope.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"

#include <stdlib.h>
#include <string.h>

/* A request or a reply that is passed on: what is replaced, what stays, what is refused. */

static uint8_t out[1U << 21];
static uint8_t packed[1U << 20];
static struct pawl_cold_arena arena;
static uint8_t memory[1U << 20];

static const struct pawl_envelope envelope = { .id = 77,
                                               .view = (UINT64_C(9) << 16) + 3,
                                               .deadline_ms = 20,
                                               .namespace_ = { (const uint8_t *)"shop", 4 } };

static int set_up(void **state)
{
    (void)state;
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    return 0;
}

static ProtobufCBinaryData data(const char *text)
{
    ProtobufCBinaryData bytes = { strlen(text), (uint8_t *)(uintptr_t)text };

    return bytes;
}

/* A check as a client sends it, with all that an envelope can have. */
static struct pawl_bytes a_check(bool with_hello)
{
    Pawl__V1__Hello hello = PAWL__V1__HELLO__INIT;
    Pawl__V1__Check check = PAWL__V1__CHECK__INIT;
    Pawl__V1__CheckItem item = PAWL__V1__CHECK_ITEM__INIT;
    Pawl__V1__CheckItem *items[] = { &item };
    ProtobufCBinaryData key[] = { data("user"), data("7") };
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;

    hello.client = data("a client");
    item.limit = data("api");
    item.n_key = 2;
    item.key = key;
    item.cost = 3;
    check.n_items = 1;
    check.items = items;
    request.id = 1234567;
    request.deadline_ms = 5000;
    request.namespace_ = data("other");
    request.view = 4;
    request.hello = with_hello ? &hello : NULL;
    request.body_case = PAWL__V1__REQUEST__BODY_CHECK;
    request.check = &check;
    return pawl_bytes_of(packed, pawl__v1__request__pack(&request, packed));
}

static struct pawl_bytes framed(size_t size)
{
    struct pawl_bytes message = { NULL, 0 };

    assert_int_not_equal(size, 0);
    assert_int_equal(pawl_frame_next(out, size, PAWL_REPLY_BYTES_MAX, &message, NULL), PAWL_OK);
    assert_int_equal(message.size + PAWL_FRAME_HEADER_BYTES, size);
    return message;
}

static void a_forwarded_request_has_a_new_envelope_and_the_old_body(void **state)
{
    struct pawl_bytes message = a_check(true);
    Pawl__V1__Request *read = NULL;

    (void)state;
    message = framed(pawl_envelope_forward(out, sizeof(out), message, &envelope));
    assert_int_equal(pawl_cold_read_request(&arena, message, &read), PAWL_OK);
    assert_int_equal(read->id, 77);
    assert_int_equal(read->view, envelope.view);
    assert_int_equal(read->deadline_ms, 20);
    assert_true(read->forwarded);
    assert_null(read->hello);
    assert_int_equal(read->namespace_.len, 4);
    assert_memory_equal(read->namespace_.data, "shop", 4);
    assert_int_equal(read->body_case, PAWL__V1__REQUEST__BODY_CHECK);
    assert_int_equal(read->check->n_items, 1);
    assert_int_equal(read->check->items[0]->cost, 3);
    assert_memory_equal(read->check->items[0]->key[1].data, "7", 1);
}

static void what_it_adds_is_within_its_bound(void **state)
{
    static uint8_t name[PAWL_NAMESPACE_MAX];
    struct pawl_envelope widest = { UINT64_MAX, UINT64_MAX, UINT32_MAX, { name, sizeof(name) } };
    struct pawl_bytes message = a_check(false);

    (void)state;
    assert_true(pawl_envelope_forward(out, message.size + PAWL_ENVELOPE_FORWARD_BYTES, message,
                                      &widest) > 0);
    assert_int_equal(pawl_envelope_forward(out, 60, message, &widest), 0);
}

static void a_request_that_would_be_too_large_is_not_written(void **state)
{
    static uint8_t large[PAWL_REQUEST_BYTES_MAX];
    size_t content = sizeof(large) - 5;

    (void)state;
    memset(large, 0, sizeof(large));
    large[0] = 0xfa; /* number 127, length-prefixed: unknown, and copied */
    large[1] = 0x07;
    large[2] = (uint8_t)(content | 0x80);
    large[3] = (uint8_t)((content >> 7) | 0x80);
    large[4] = (uint8_t)(content >> 14);
    assert_int_equal(
        pawl_envelope_forward(out, sizeof(out), pawl_bytes_of(large, sizeof(large)), &envelope), 0);
}

static void malformed_messages_are_not_passed_on(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        { "\x08", 1 },         /* a number without its value */
        { "\x0a\x01x", 3 },    /* id with another wire type */
        { "\x1a\x05x", 3 },    /* a namespace cut short */
        { "\x83\x01\x01", 3 }, /* a group */
        { "\x80\x01\x01", 3 }, /* a body that is a number */
        { "\x00\x01", 2 },     /* number 0 */
        { "\x92\x03\x05x", 4 } /* a request between members, cut short */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pawl_bytes message = pawl_bytes_of(bad[i].bytes, bad[i].size);

        assert_int_equal(pawl_envelope_forward(out, sizeof(out), message, &envelope), 0);
    }
}

static struct pawl_bytes a_reply(unsigned status, uint64_t view)
{
    Pawl__V1__HelloReply hello = PAWL__V1__HELLO_REPLY__INIT;
    Pawl__V1__CheckReply check = PAWL__V1__CHECK_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    reply.id = 77;
    reply.status = (Pawl__V1__Status)status;
    reply.error = data("why");
    reply.view_number = view;
    reply.effect_unknown = true;
    reply.hello = &hello;
    reply.body_case = PAWL__V1__REPLY__BODY_CHECK;
    reply.check = &check;
    check.verdict = PAWL__V1__VERDICT__VERDICT_DENY;
    return pawl_bytes_of(packed, pawl__v1__reply__pack(&reply, packed));
}

static void a_replys_envelope_is_read(void **state)
{
    struct pawl_envelope_reply read;

    (void)state;
    assert_int_equal(
        pawl_envelope_read_reply(&read, a_reply(PAWL__V1__STATUS__STATUS_MOVED, 1 << 20)), PAWL_OK);
    assert_int_equal(read.id, 77);
    assert_int_equal(read.status, PAWL__V1__STATUS__STATUS_MOVED);
    assert_int_equal(read.view_number, 1 << 20);
    assert_int_equal(read.body, PAWL__V1__REPLY__BODY_CHECK);
    assert_int_equal(read.error.size, 3);
    assert_false(read.goaway);
    assert_int_equal(pawl_envelope_read_reply(&read, pawl_bytes_of("\x2a\x00", 2)), PAWL_OK);
    assert_true(read.goaway);
    assert_int_equal(pawl_envelope_read_reply(&read, pawl_bytes_of("\x0a\x00", 2)), PAWL_EINVAL);
}

static void a_reply_passed_on_has_its_askers_id_and_hello(void **state)
{
    static const uint8_t hello[] = { 0x08, 0x01, 0x38, 0x40 }; /* version 1, 64 in flight */
    struct pawl_bytes message = a_reply(PAWL__V1__STATUS__STATUS_OK, 5);
    Pawl__V1__Reply *read = NULL;

    (void)state;
    message = framed(
        pawl_envelope_reply(out, sizeof(out), message, 5555, pawl_bytes_of(hello, sizeof(hello))));
    assert_int_equal(pawl_cold_read_reply(&arena, message, &read), PAWL_OK);
    assert_int_equal(read->id, 5555);
    assert_int_equal(read->status, PAWL__V1__STATUS__STATUS_OK);
    assert_int_equal(read->view_number, 0);
    assert_true(read->effect_unknown);
    assert_non_null(read->hello);
    assert_int_equal(read->hello->in_flight_max, 64);
    assert_int_equal(read->check->verdict, PAWL__V1__VERDICT__VERDICT_DENY);
}

static void without_a_hello_the_members_own_is_left_out(void **state)
{
    struct pawl_bytes message = a_reply(PAWL__V1__STATUS__STATUS_OK, 5);
    Pawl__V1__Reply *read = NULL;

    (void)state;
    message = framed(pawl_envelope_reply(out, message.size + PAWL_ENVELOPE_REPLY_BYTES, message,
                                         UINT64_MAX, pawl_bytes_of(NULL, 0)));
    assert_int_equal(pawl_cold_read_reply(&arena, message, &read), PAWL_OK);
    assert_int_equal(read->id, UINT64_MAX);
    assert_null(read->hello);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_forwarded_request_has_a_new_envelope_and_the_old_body, set_up),
        cmocka_unit_test_setup(what_it_adds_is_within_its_bound, set_up),
        cmocka_unit_test_setup(a_request_that_would_be_too_large_is_not_written, set_up),
        cmocka_unit_test_setup(malformed_messages_are_not_passed_on, set_up),
        cmocka_unit_test_setup(a_replys_envelope_is_read, set_up),
        cmocka_unit_test_setup(a_reply_passed_on_has_its_askers_id_and_hello, set_up),
        cmocka_unit_test_setup(without_a_hello_the_members_own_is_left_out, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
