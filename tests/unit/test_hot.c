#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"
#include "unit/wire_build.h"

/*
 * Requests. Expected bytes come from wire_build.h or from protobuf-c on the same pawl.proto.
 * test_hot_bad.c has the requests that are refused, test_hot_reply.c the replies.
 */

static struct pawl_wire_request request;
static struct build message;
static uint8_t memory[1U << 20];

static const uint32_t to_check[] = { PAWL_BODY_CHECK };
static const uint32_t to_item[] = { PAWL_BODY_CHECK, 1 };
static const uint32_t to_token[] = { PAWL_BODY_TOKEN_CHECK, 1 };

static int set_up(void **state)
{
    (void)state;
    message.size = 0;
    memset(&request, 0xa5, sizeof(request)); /* nothing may rely on zeros */
    return 0;
}

static enum pawl_status read_exactly(size_t size)
{
    uint8_t *copy = build_copy(&message, size);
    enum pawl_status status = pawl_wire_read_request(&request, pawl_bytes_of(copy, size));

    free(copy);
    return status;
}

static enum pawl_status read_built(void)
{
    return pawl_wire_read_request(&request, build_view(&message));
}

static void assert_bytes(struct pawl_bytes bytes, const char *text)
{
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

/* ---- whole messages ---------------------------------------------------------------------- */

static void build_item_of_all(struct build *item)
{
    struct build rate = { 0 };

    build_text(item, 1, "api");
    build_text(item, 2, "user");
    build_text(item, 2, "");
    build_text(item, 2, "7");
    build_u64(item, 3, PAWL_COUNT_MAX);
    build_u64(&rate, 1, 100);
    build_u64(&rate, 2, PAWL_WINDOW_MS_MAX);
    build_u64(&rate, 3, 2);
    build_u64(&rate, 4, UINT64_MAX);
    build_u64(&rate, 5, 4);
    build_message(item, 4, &rate);
    rate.size = 0;
    build_message(item, 4, &rate);
    build_u64(item, 5, 4096);
    build_u64(item, 6, 3);
    build_text(item, 7, "gold");
}

static void build_envelope(void)
{
    build_u64(&message, 1, UINT64_MAX);
    build_u64(&message, 2, 20);
    build_text(&message, 3, "tenant");
    build_u64(&message, 4, UINT64_C(1700000000123));
    build_text(&message, 5, "hello");
    build_u64(&message, 6, 1);
    build_u64(&message, 7, 9);
}

static void build_token_of_all(struct build *token)
{
    static const char *const texts[] = { "iss", "jti", "sub", "cli", "kid", "sid" };

    for (uint32_t i = 0; i < 6; i++) {
        build_text(token, i + 1, texts[i]);
    }
    build_u64(token, 7, UINT64_C(1700000000));
    build_u64(token, 8, UINT64_MAX);
    build_text(token, 9, "opaque");
    build_text(token, 10, "signed");
    build_text(token, 11, "raw");
    build_text(token, 12, "aud");
    build_text(token, 13, "typ");
}

static void build_check_of_all(void)
{
    struct build check = { 0 };
    struct build part = { 0 };

    build_envelope();
    build_item_of_all(&part);
    build_message(&check, 1, &part);
    part.size = 0;
    build_message(&check, 1, &part);
    build_u64(&check, 2, 1);
    build_u64(&check, 3, 1);
    build_token_of_all(&part);
    build_message(&check, 4, &part);
    build_message(&message, PAWL_BODY_CHECK, &check);
}

static void assert_envelope(void)
{
    assert_true(request.id == UINT64_MAX);
    assert_int_equal(request.deadline_ms, 20);
    assert_bytes(request.namespace_, "tenant");
    assert_true(request.now_ms == UINT64_C(1700000000123));
    assert_true(request.has_hello);
    assert_bytes(request.hello, "hello");
    assert_true(request.forwarded);
    assert_int_equal(request.view, 9);
}

static void assert_token(const struct pawl_wire_token *token)
{
    assert_bytes(token->issuer, "iss");
    assert_bytes(token->jti, "jti");
    assert_bytes(token->subject, "sub");
    assert_bytes(token->client, "cli");
    assert_bytes(token->key, "kid");
    assert_bytes(token->sid, "sid");
    assert_true(token->iat == UINT64_C(1700000000));
    assert_true(token->exp == UINT64_MAX);
    assert_bytes(token->opaque_sha256, "opaque");
    assert_bytes(token->signed_sha256, "signed");
    assert_bytes(token->raw, "raw");
    assert_bytes(token->audience, "aud");
    assert_bytes(token->type, "typ");
}

static void assert_item_of_all(const struct pawl_wire_item *item)
{
    assert_bytes(item->limit, "api");
    assert_int_equal(item->key_count, 3);
    assert_bytes(item->key[0], "user");
    assert_bytes(item->key[1], "");
    assert_bytes(item->key[2], "7");
    assert_true(item->cost == PAWL_COUNT_MAX);
    assert_int_equal(item->rate_count, 2);
    assert_int_equal(item->rates[0].count, 100);
    assert_true(item->rates[0].window_ms == PAWL_WINDOW_MS_MAX);
    assert_int_equal(item->rates[0].algorithm, 2);
    assert_true(item->rates[0].burst == UINT64_MAX);
    assert_int_equal(item->rates[0].period, 4);
    assert_int_equal(item->rates[1].count, 0);
    assert_int_equal(item->rates[1].window_ms, 0);
    assert_int_equal(item->rates[1].algorithm, 0);
    assert_int_equal(item->rates[1].burst, 0);
    assert_int_equal(item->rates[1].period, 0);
    assert_int_equal(item->precision, 4096);
    assert_int_equal(item->on_error, 3);
    assert_bytes(item->tier, "gold");
}

static void assert_empty_item(const struct pawl_wire_item *item)
{
    assert_int_equal(item->limit.size, 0);
    assert_int_equal(item->key_count, 0);
    assert_int_equal(item->cost, 0);
    assert_int_equal(item->rate_count, 0);
    assert_int_equal(item->precision, 0);
    assert_int_equal(item->on_error, 0);
    assert_int_equal(item->tier.size, 0);
}

static void a_check_is_read_whole(void **state)
{
    (void)state;
    build_check_of_all();
    assert_int_equal(read_built(), PAWL_OK);
    assert_envelope();
    assert_int_equal(request.body, PAWL_BODY_CHECK);
    assert_int_equal(request.item_count, 2);
    assert_item_of_all(&request.items[0]);
    assert_empty_item(&request.items[1]);
    assert_int_equal(request.op, 1);
    assert_int_equal(request.mode, 1);
    assert_true(request.has_token);
    assert_token(&request.token);
}

static void a_token_check_is_read_whole(void **state)
{
    (void)state;
    build_token_of_all(&message);
    build_wrap(&message, to_token, 2);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.body, PAWL_BODY_TOKEN_CHECK);
    assert_true(request.has_token);
    assert_token(&request.token);
}

static void what_was_not_sent_reads_as_zero_whatever_lay_there_before(void **state)
{
    (void)state;
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.id, 0);
    assert_int_equal(request.deadline_ms, 0);
    assert_int_equal(request.namespace_.size, 0);
    assert_int_equal(request.now_ms, 0);
    assert_false(request.has_hello);
    assert_int_equal(request.hello.size, 0);
    assert_false(request.forwarded);
    assert_int_equal(request.view, 0);
    assert_int_equal(request.body, PAWL_BODY_CHECK);
    assert_int_equal(request.op, 0);
    assert_int_equal(request.mode, 0);
    assert_int_equal(request.item_count, 0);
    assert_false(request.has_token);
}

static void an_empty_token_holds_nothing_of_the_one_before(void **state)
{
    static const struct pawl_wire_token nothing;

    (void)state;
    build_zero(&message, 4, BUILD_LEN);
    build_wrap(&message, to_check, 1);
    assert_int_equal(read_built(), PAWL_OK);
    assert_true(request.has_token);
    assert_memory_equal(&request.token, &nothing, sizeof(nothing));
}

static void reading_writes_no_items_beyond_those_sent(void **state)
{
    const uint8_t *untouched = (const uint8_t *)&request.items[1];

    (void)state;
    build_zero(&message, 1, BUILD_LEN);
    build_wrap(&message, to_check, 1);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.item_count, 1);
    for (size_t i = 0; i < sizeof(request.items) - sizeof(request.items[0]); i++) {
        assert_int_equal(untouched[i], 0xa5);
    }
}

static void a_request_cut_at_any_byte_is_refused_as_protobuf_c_refuses_it(void **state)
{
    struct pawl_cold_arena arena;
    Pawl__V1__Request *cold;
    size_t whole;

    (void)state;
    build_check_of_all();
    whole = message.size;
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    for (size_t size = 0; size < whole; size++) {
        enum pawl_status expected = PAWL_EINVAL; /* without its last field there is no body */

        pawl_cold_arena_reset(&arena);
        assert_int_equal(read_exactly(size), expected);
        if (pawl_cold_read_request(&arena, pawl_bytes_of(message.data, size), &cold) == PAWL_OK) {
            assert_int_equal(cold->body_case, PAWL__V1__REQUEST__BODY__NOT_SET);
        }
    }
    assert_int_equal(read_exactly(whole), PAWL_OK);
}

static void an_item_or_token_cut_at_any_byte_is_read_as_protobuf_c_reads_it(void **state)
{
    struct pawl_cold_arena arena;
    Pawl__V1__Request *cold;
    struct build whole = { 0 };

    (void)state;
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    for (size_t i = 0; i < 2; i++) {
        whole.size = 0;
        if (i == 0) {
            build_item_of_all(&whole);
        } else {
            build_token_of_all(&whole);
        }
        for (size_t size = 0; size <= whole.size; size++) {
            message.size = 0;
            build_raw(&message, whole.data, size);
            build_wrap(&message, i == 0 ? to_item : to_token, 2);
            pawl_cold_arena_reset(&arena);
            assert_int_equal(read_exactly(message.size),
                             pawl_cold_read_request(&arena, build_view(&message), &cold));
        }
    }
}

static void a_token_check_cut_at_any_byte_is_refused(void **state)
{
    size_t whole;

    (void)state;
    build_token_of_all(&message);
    build_wrap(&message, to_token, 2);
    whole = message.size;
    for (size_t size = 0; size < whole; size++) {
        assert_int_equal(read_exactly(size), PAWL_EINVAL);
    }
    assert_int_equal(read_exactly(whole), PAWL_OK);
}

/* ---- fields and bodies seen twice -------------------------------------------------------- */

static void a_field_seen_twice_takes_its_last_value(void **state)
{
    (void)state;
    build_u64(&message, 1, 1);
    build_text(&message, 3, "one");
    build_u64(&message, 1, 2);
    build_text(&message, 3, "two");
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    build_u64(&message, 1, 3);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.id, 3);
    assert_bytes(request.namespace_, "two");
}

static void build_check_with_key(const char *key)
{
    struct build part = { 0 };

    build_text(&part, 2, key);
    build_wrap(&part, to_item, 2);
    build_raw(&message, part.data, part.size);
}

static void a_check_seen_twice_is_merged(void **state)
{
    (void)state;
    build_check_with_key("one");
    build_check_with_key("two");
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.item_count, 2);
    assert_bytes(request.items[0].key[0], "one");
    assert_bytes(request.items[1].key[0], "two");
}

static void a_token_seen_twice_is_merged(void **state)
{
    struct build part = { 0 };

    (void)state;
    build_text(&part, 2, "jti");
    build_u64(&part, 7, 12);
    build_wrap(&part, to_token, 2);
    build_raw(&message, part.data, part.size);
    part.size = 0;
    build_text(&part, 3, "sub");
    build_wrap(&part, to_token, 2);
    build_raw(&message, part.data, part.size);
    assert_int_equal(read_built(), PAWL_OK);
    assert_bytes(request.token.jti, "jti");
    assert_bytes(request.token.subject, "sub");
    assert_int_equal(request.token.iat, 12);
}

static void the_last_body_holds_and_nothing_of_the_others(void **state)
{
    struct build part = { 0 };

    (void)state;
    build_check_with_key("one");
    build_text(&part, 2, "jti");
    build_u64(&part, 7, 12);
    build_wrap(&part, to_token, 2);
    build_raw(&message, part.data, part.size);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.body, PAWL_BODY_TOKEN_CHECK);
    assert_int_equal(request.item_count, 0);
    assert_bytes(request.token.jti, "jti");
    build_check_with_key("three");
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.body, PAWL_BODY_CHECK);
    assert_false(request.has_token);
    assert_int_equal(request.item_count, 1);
    assert_bytes(request.items[0].key[0], "three");
    build_zero(&message, 34, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.body, PAWL_BODY_COLD);
    assert_int_equal(request.item_count, 0);
}

static void two_hellos_are_refused(void **state)
{
    (void)state;
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    build_zero(&message, 5, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_OK);
    assert_true(request.has_hello);
    assert_int_equal(request.hello.size, 0);
    build_zero(&message, 5, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_EINVAL);
}

/* ---- bodies that are not hot ------------------------------------------------------------- */

static void other_bodies_are_cold_whatever_is_in_them(void **state)
{
    (void)state;
    for (uint32_t number = 18; number <= 127; number++) {
        message.size = 0;
        build_u64(&message, 1, number);
        build_text(&message, number, "not looked at");
        assert_int_equal(read_built(), PAWL_OK);
        assert_int_equal(request.body, PAWL_BODY_COLD);
        assert_int_equal(request.id, number);
    }
}

static void a_request_without_a_body_is_refused(void **state)
{
    (void)state;
    assert_int_equal(read_built(), PAWL_EINVAL);
    assert_int_equal(pawl_wire_read_request(&request, pawl_bytes_of(NULL, 0)), PAWL_EINVAL);
    build_u64(&message, 1, 5);
    assert_int_equal(read_built(), PAWL_EINVAL);
    build_text(&message, 128, "no number of a body");
    build_text(&message, 15, "nor this");
    build_u64(&message, 35, 1);
    assert_int_equal(read_built(), PAWL_EINVAL);
}

static void an_unknown_field_beside_a_hot_body_does_not_make_it_cold(void **state)
{
    (void)state;
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    build_text(&message, 40, "later");
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(request.body, PAWL_BODY_CHECK);
}

static void the_id_of_a_refused_request_is_known_wherever_it_stands(void **state)
{
    (void)state;
    build_filler(&message, 3, PAWL_NAMESPACE_MAX + 1);
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    build_u64(&message, 1, 12345);
    assert_int_equal(read_built(), PAWL_ETOOBIG);
    assert_int_equal(request.id, 12345);
    message.size = 0;
    build_u64(&message, 1, 6);
    build_byte(&message, 0x07); /* no such wire type: nothing behind it can be read */
    build_u64(&message, 1, 7);
    assert_int_equal(read_built(), PAWL_EINVAL);
    assert_int_equal(request.id, 6);
    message.size = 0;
    build_byte(&message, 0x07);
    build_u64(&message, 1, 7);
    assert_int_equal(read_built(), PAWL_EINVAL);
    assert_int_equal(request.id, 0);
}

/* ---- writing ----------------------------------------------------------------------------- */

/* What was written must be, byte for byte, what protobuf-c packs from the same values. */
static void assert_written_as_protobuf_c_does(const uint8_t *written, size_t size)
{
    static uint8_t again[BUILD_BYTES];
    struct pawl_cold_arena arena;
    struct pawl_bytes framed = { NULL, 0 };
    Pawl__V1__Request *cold;

    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    assert_int_equal(pawl_frame_next(written, size, PAWL_REQUEST_BYTES_MAX, &framed, NULL),
                     PAWL_OK);
    assert_int_equal(framed.size, size - PAWL_FRAME_HEADER_BYTES);
    assert_int_equal(pawl_cold_read_request(&arena, framed, &cold), PAWL_OK);
    assert_int_equal(pawl_cold_write_request(again, sizeof(again), cold), size);
    assert_memory_equal(written, again, size);
}

static uint8_t *write_exactly(const struct pawl_wire_request *from, size_t *size)
{
    size_t bound = pawl_wire_request_bound(from);
    uint8_t *out = malloc(bound);

    assert_non_null(out);
    *size = pawl_wire_write_request(out, from);
    assert_true(*size <= bound);
    return out;
}

/* A hello that protobuf-c packs the same: field 1 = 1. */
static const uint8_t packed_hello[] = { 0x08, 0x01 };

static void a_read_request_is_written_as_protobuf_c_packs_it(void **state)
{
    uint8_t *out;
    size_t size;

    (void)state;
    build_check_of_all();
    assert_int_equal(read_built(), PAWL_OK);
    request.hello = pawl_bytes_of(packed_hello, sizeof(packed_hello));
    out = write_exactly(&request, &size);
    assert_written_as_protobuf_c_does(out, size);
    free(out);
    message.size = 0;
    build_token_of_all(&message);
    build_wrap(&message, to_token, 2);
    assert_int_equal(read_built(), PAWL_OK);
    out = write_exactly(&request, &size);
    assert_written_as_protobuf_c_does(out, size);
    free(out);
}

static void a_written_check_reads_back(void **state)
{
    static struct pawl_wire_request back;
    uint8_t *out;
    size_t size;

    (void)state;
    build_check_of_all();
    assert_int_equal(read_built(), PAWL_OK);
    out = write_exactly(&request, &size);
    assert_int_equal(pawl_wire_read_request(&back, pawl_bytes_of(out + 4, size - 4)), PAWL_OK);
    request = back;
    assert_envelope();
    assert_int_equal(request.item_count, 2);
    assert_item_of_all(&request.items[0]);
    assert_empty_item(&request.items[1]);
    assert_int_equal(request.op, 1);
    assert_int_equal(request.mode, 1);
    assert_token(&request.token);
    free(out);
}

static void lengths_around_each_step_of_a_varint_are_written_right(void **state)
{
    static const size_t sizes[] = { 0,   1,   100, 116, 117, 118, 119, 120,  121, 122,
                                    123, 124, 125, 126, 127, 128, 129, 1000, 1024 };
    static const uint8_t key[PAWL_KEY_BYTES_MAX];
    uint8_t *out;
    size_t size;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint32_t items = 1; items <= 17; items += 16) {
            memset(&request, 0, sizeof(request));
            request.body = PAWL_BODY_CHECK;
            request.item_count = items;
            for (uint32_t j = 0; j < items; j++) {
                request.items[j].key[0] = pawl_bytes_of(key, sizes[i]);
                request.items[j].key_count = 1;
            }
            out = write_exactly(&request, &size);
            assert_written_as_protobuf_c_does(out, size);
            free(out);
        }
    }
}

static void the_bound_holds_for_the_largest_values(void **state)
{
    uint8_t *out;
    size_t size;

    (void)state;
    memset(&request, 0, sizeof(request));
    request.id = request.now_ms = request.view = UINT64_MAX;
    request.deadline_ms = request.op = request.mode = UINT32_MAX;
    request.forwarded = true;
    request.body = PAWL_BODY_CHECK;
    request.item_count = PAWL_ITEMS_MAX;
    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        request.items[i].cost = UINT64_MAX;
        request.items[i].precision = request.items[i].on_error = UINT32_MAX;
        request.items[i].key_count = PAWL_KEY_PARTS_MAX;
        request.items[i].rate_count = PAWL_RATES_MAX;
        for (uint32_t j = 0; j < PAWL_RATES_MAX; j++) {
            request.items[i].rates[j].count = UINT64_MAX;
            request.items[i].rates[j].window_ms = UINT32_MAX;
            request.items[i].rates[j].algorithm = UINT32_MAX;
            request.items[i].rates[j].burst = UINT64_MAX;
            request.items[i].rates[j].period = UINT32_MAX;
        }
    }
    request.has_token = true;
    request.token.iat = request.token.exp = UINT64_MAX;
    out = write_exactly(&request, &size); /* in a block of exactly the bound */
    free(out);
}

static void a_hello_is_written_when_it_is_there_or_not_empty(void **state)
{
    uint8_t out[64];

    (void)state;
    memset(&request, 0, sizeof(request));
    request.body = PAWL_BODY_CHECK;
    assert_int_equal(pawl_wire_write_request(out, &request), 4 + 3);
    request.has_hello = true;
    assert_int_equal(pawl_wire_write_request(out, &request), 4 + 3 + 2);
    request.has_hello = false;
    request.hello = pawl_bytes_of(packed_hello, sizeof(packed_hello));
    assert_int_equal(pawl_wire_write_request(out, &request), 4 + 3 + 4);
    request.body = PAWL_BODY_NONE;
    assert_int_equal(pawl_wire_write_request(out, &request), 4 + 4);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_check_is_read_whole),
        TEST(a_token_check_is_read_whole),
        TEST(what_was_not_sent_reads_as_zero_whatever_lay_there_before),
        TEST(an_empty_token_holds_nothing_of_the_one_before),
        TEST(reading_writes_no_items_beyond_those_sent),
        TEST(a_request_cut_at_any_byte_is_refused_as_protobuf_c_refuses_it),
        TEST(an_item_or_token_cut_at_any_byte_is_read_as_protobuf_c_reads_it),
        TEST(a_token_check_cut_at_any_byte_is_refused),
        TEST(a_field_seen_twice_takes_its_last_value),
        TEST(a_check_seen_twice_is_merged),
        TEST(a_token_seen_twice_is_merged),
        TEST(the_last_body_holds_and_nothing_of_the_others),
        TEST(two_hellos_are_refused),
        TEST(other_bodies_are_cold_whatever_is_in_them),
        TEST(a_request_without_a_body_is_refused),
        TEST(an_unknown_field_beside_a_hot_body_does_not_make_it_cold),
        TEST(the_id_of_a_refused_request_is_known_wherever_it_stands),
        TEST(a_read_request_is_written_as_protobuf_c_packs_it),
        TEST(a_written_check_reads_back),
        TEST(lengths_around_each_step_of_a_varint_are_written_right),
        TEST(the_bound_holds_for_the_largest_values),
        TEST(a_hello_is_written_when_it_is_there_or_not_empty),
    };

    return cmocka_run_group_tests_name("hot requests", tests, NULL, NULL);
}
