#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"
#include "pawl/v1/hot_put.h"
#include "unit/wire_build.h"

/* Replies: what the daemon writes and the client reads. test_hot.c has the requests. */

static struct pawl_wire_result results[PAWL_RESULTS_MAX];
static struct pawl_wire_reply reply;
static struct build message;
static uint8_t memory[1U << 20];

static const uint32_t to_check[] = { PAWL_BODY_CHECK };
static const uint32_t to_result[] = { PAWL_BODY_CHECK, 2 };
static const uint32_t to_check_token[] = { PAWL_BODY_CHECK, 3 };
static const uint32_t to_verdict[] = { PAWL_BODY_TOKEN_CHECK };

/* Every message of a hot reply: v varint, l length-prefixed, f fixed64, - not known. */
static const struct place {
    const uint32_t *path;
    size_t depth;
    const char *types;
} places[] = {
    { NULL, 0, "vvlllvv--------lllllllllllllllllll" },
    { to_check, 1, "vll" },
    { to_result, 2, "vvvvvvvvvvvvfvvvvv" },
    { to_check_token, 2, "vvvvvll" },
    { to_verdict, 1, "vvvvvll" },
};
#define PLACES (sizeof(places) / sizeof(places[0]))

static int set_up(void **state)
{
    (void)state;
    message.size = 0;
    memset(results, 0xa5, sizeof(results));
    memset(&reply, 0xa5, sizeof(reply));
    reply.results = results;
    return 0;
}

static enum pawl_status read_exactly(size_t size)
{
    uint8_t *copy = build_copy(&message, size);
    enum pawl_status status = pawl_wire_read_reply(&reply, pawl_bytes_of(copy, size));

    free(copy);
    return status;
}

static enum pawl_status read_built(void)
{
    return pawl_wire_read_reply(&reply, build_view(&message));
}

static void assert_bytes(struct pawl_bytes bytes, const char *text)
{
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Each field with a value of its own; the bools, 10 to 12, 14, 15, 17 and 18, as in @bools. */
static void build_result(struct build *result, unsigned bools)
{
    static const uint8_t charge[] = { 1, 2, 3, 4, 5, 6, 7, 8 };

    for (uint32_t number = 1; number <= 9; number++) {
        build_u64(result, number, (UINT64_C(1) << (3 * number)) + number);
    }
    for (uint32_t number = 10; number <= 15; number++) {
        if (number == 13) {
            build_tag(result, 13, BUILD_I64);
            build_raw(result, charge, sizeof(charge));
        } else {
            build_u64(result, number, bools >> number & 1);
        }
    }
    build_u64(result, 16, 3);
    build_u64(result, 17, bools >> 17 & 1);
    build_u64(result, 18, bools >> 18 & 1);
}

static void build_verdict(struct build *verdict)
{
    build_u64(verdict, 1, 2);
    build_u64(verdict, 2, 5);
    build_u64(verdict, 3, 7);
    build_u64(verdict, 4, 1);
    build_u64(verdict, 5, UINT64_MAX);
    build_text(verdict, 6, "why");
    build_text(verdict, 7, "claims");
}

static void build_reply_of_all(void)
{
    struct build check = { 0 };
    struct build part = { 0 };

    build_u64(&message, 1, UINT64_MAX);
    build_u64(&message, 2, 4);
    build_text(&message, 3, "store");
    build_text(&message, 4, "hello");
    build_u64(&message, 7, 1);
    build_u64(&check, 1, 2);
    build_result(&part, ~0U);
    build_message(&check, 2, &part);
    part.size = 0;
    build_message(&check, 2, &part);
    build_verdict(&part);
    build_message(&check, 3, &part);
    build_message(&message, PAWL_BODY_CHECK, &check);
}

static void assert_numbers(const struct pawl_wire_result *result)
{
    assert_int_equal(result->item, (1 << 3) + 1);
    assert_int_equal(result->rate_index, (1 << 6) + 2);
    assert_int_equal(result->window_ms, (1 << 9) + 3);
    assert_int_equal(result->limit_count, (1 << 12) + 4);
    assert_int_equal(result->count, (1 << 15) + 5);
    assert_int_equal(result->remaining, (1 << 18) + 6);
    assert_int_equal(result->oldest_age_ms, (1 << 21) + 7);
    assert_int_equal(result->reset_after_ms, (1 << 24) + 8);
    assert_int_equal(result->retry_after_ms, (1 << 27) + 9);
    assert_true(result->charge == UINT64_C(0x0807060504030201));
    assert_int_equal(result->on_error, 3);
}

static void assert_verdict(void)
{
    assert_true(reply.has_token);
    assert_int_equal(reply.token.status, 2);
    assert_int_equal(reply.token.reason, 5);
    assert_int_equal(reply.token.scope, 7);
    assert_true(reply.token.fresh);
    assert_true(reply.token.staleness_ms == UINT64_MAX);
    assert_bytes(reply.token.detail, "why");
    assert_bytes(reply.token.claims, "claims");
}

static void a_check_reply_is_read_whole(void **state)
{
    static const struct pawl_wire_result nothing;

    (void)state;
    build_reply_of_all();
    assert_int_equal(read_built(), PAWL_OK);
    assert_true(reply.id == UINT64_MAX);
    assert_int_equal(reply.status, 4);
    assert_bytes(reply.error, "store");
    assert_bytes(reply.hello, "hello");
    assert_true(reply.effect_unknown);
    assert_int_equal(reply.body, PAWL_BODY_CHECK);
    assert_int_equal(reply.verdict, 2);
    assert_int_equal(reply.result_count, 2);
    assert_ptr_equal(reply.results, results);
    assert_numbers(&results[0]);
    assert_true(results[0].never && results[0].allowed && results[0].shadow);
    assert_true(results[0].overflow && results[0].contended);
    assert_true(results[0].bypass && results[0].full);
    assert_memory_equal(&results[1], &nothing, sizeof(nothing));
    assert_verdict();
}

static void each_bool_of_a_result_is_read_alone(void **state)
{
    (void)state;
    for (uint32_t number = 10; number <= 18; number++) {
        message.size = 0;
        build_result(&message, 1U << number);
        build_wrap(&message, to_result, 2);
        assert_int_equal(read_built(), PAWL_OK);
        assert_int_equal(results[0].never, number == 10);
        assert_int_equal(results[0].allowed, number == 11);
        assert_int_equal(results[0].shadow, number == 12);
        assert_int_equal(results[0].overflow, number == 14);
        assert_int_equal(results[0].contended, number == 15);
        assert_int_equal(results[0].bypass, number == 17);
        assert_int_equal(results[0].full, number == 18);
    }
}

static void a_token_verdict_is_read_whole(void **state)
{
    (void)state;
    build_verdict(&message);
    build_wrap(&message, to_verdict, 1);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(reply.body, PAWL_BODY_TOKEN_CHECK);
    assert_verdict();
}

static void what_was_not_sent_reads_as_zero_whatever_lay_there_before(void **state)
{
    (void)state;
    build_u64(&message, 1, 9);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(reply.id, 9);
    assert_int_equal(reply.status, 0);
    assert_int_equal(reply.error.size, 0);
    assert_int_equal(reply.hello.size, 0);
    assert_int_equal(reply.body, PAWL_BODY_NONE);
    assert_int_equal(reply.verdict, 0);
    assert_false(reply.has_token);
    assert_int_equal(reply.result_count, 0);
    assert_ptr_equal(reply.results, results);
    assert_int_equal(pawl_wire_read_reply(&reply, pawl_bytes_of(NULL, 0)), PAWL_EINVAL);
}

static void other_bodies_and_a_goaway_are_for_protobuf_c(void **state)
{
    (void)state;
    for (uint32_t number = 18; number <= 34; number++) {
        message.size = 0;
        build_u64(&message, 1, number);
        build_text(&message, number, "not looked at");
        assert_int_equal(read_built(), PAWL_OK);
        assert_int_equal(reply.body, PAWL_BODY_COLD);
        assert_int_equal(reply.id, number);
    }
    message.size = 0;
    build_text(&message, 5, "not looked at");
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(reply.body, PAWL_BODY_COLD);
}

static void the_last_body_holds_and_nothing_of_the_others(void **state)
{
    struct build part = { 0 };

    (void)state;
    build_reply_of_all();
    build_u64(&part, 1, 1);
    build_message(&message, PAWL_BODY_TOKEN_CHECK, &part);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(reply.body, PAWL_BODY_TOKEN_CHECK);
    assert_int_equal(reply.verdict, 0);
    assert_int_equal(reply.result_count, 0);
    assert_int_equal(reply.token.status, 1);
    assert_int_equal(reply.token.detail.size, 0);
    build_zero(&message, PAWL_BODY_CHECK, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(reply.body, PAWL_BODY_CHECK);
    assert_false(reply.has_token);
}

static void bodies_seen_twice_are_merged(void **state)
{
    struct build part = { 0 };

    (void)state;
    build_reply_of_all();
    build_u64(&part, 1, 1);
    build_wrap(&part, to_check_token, 2);
    build_raw(&message, part.data, part.size);
    part.size = 0;
    build_wrap(&part, to_result, 2);
    build_raw(&message, part.data, part.size);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(reply.verdict, 2);
    assert_int_equal(reply.result_count, 3);
    assert_int_equal(reply.token.status, 1);
    assert_int_equal(reply.token.reason, 5);
}

static void two_hellos_or_two_sets_of_claims_are_refused(void **state)
{
    (void)state;
    build_zero(&message, 4, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_OK);
    build_zero(&message, 4, BUILD_LEN);
    assert_int_equal(read_built(), PAWL_EINVAL);
    for (size_t i = 3; i < PLACES; i++) {
        message.size = 0;
        build_zero(&message, 7, BUILD_LEN);
        build_zero(&message, 7, BUILD_LEN);
        build_wrap(&message, places[i].path, places[i].depth);
        assert_int_equal(read_built(), PAWL_EINVAL);
    }
}

static void an_on_error_that_does_not_fit_reads_as_not_said(void **state)
{
    (void)state;
    build_u64(&message, 16, 259);
    build_wrap(&message, to_result, 2);
    assert_int_equal(read_built(), PAWL_OK);
    assert_int_equal(results[0].on_error, PAWL_ON_ERROR_NONE);
}

/* ---- refusing ---------------------------------------------------------------------------- */

static void caps_hold_on_both_sides(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        enum pawl_status expected = over == 0 ? PAWL_OK : PAWL_ETOOBIG;

        message.size = 0;
        build_filler(&message, 3, PAWL_FIELD_BYTES_MAX + over);
        assert_int_equal(read_built(), expected);
        for (size_t i = 3; i < PLACES; i++) {
            message.size = 0;
            build_filler(&message, 6, PAWL_FIELD_BYTES_MAX + over);
            build_wrap(&message, places[i].path, places[i].depth);
            assert_int_equal(read_built(), expected);
        }
        message.size = 0;
        for (size_t i = 0; i < PAWL_RESULTS_MAX + over; i++) {
            build_zero(&message, 2, BUILD_LEN);
        }
        build_wrap(&message, to_check, 1);
        assert_int_equal(read_built(), expected);
    }
}

static void a_reply_may_be_as_large_as_its_cap_and_no_larger(void **state)
{
    static uint8_t data[PAWL_REPLY_BYTES_MAX + 1];
    struct build head = { 0 };

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        head.size = 0;
        build_tag(&head, 1000, BUILD_LEN);
        build_varint(&head, PAWL_REPLY_BYTES_MAX - 5 + over);
        memcpy(data, head.data, 5);
        assert_int_equal(pawl_wire_read_reply(&reply,
                                              pawl_bytes_of(data, PAWL_REPLY_BYTES_MAX + over)),
                         over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

static void every_field_of_a_wrong_wire_type_is_refused(void **state)
{
    static const enum build_type types[] = { BUILD_VARINT, BUILD_I64, BUILD_LEN, BUILD_I32,
                                             BUILD_GROUP };

    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        for (uint32_t number = 1; number <= strlen(places[i].types) + 1; number++) {
            char kind = number <= strlen(places[i].types) ? places[i].types[number - 1] : '-';

            for (size_t j = 0; j < 5; j++) {
                bool good = (kind == '-' && types[j] != BUILD_GROUP) ||
                            (kind == 'v' && types[j] == BUILD_VARINT) ||
                            (kind == 'l' && types[j] == BUILD_LEN) ||
                            (kind == 'f' && types[j] == BUILD_I64);

                message.size = 0;
                build_zero(&message, number, types[j]);
                build_wrap(&message, places[i].path, places[i].depth);
                assert_int_equal(read_built(), good ? PAWL_OK : PAWL_EINVAL);
            }
        }
    }
}

static void a_reply_cut_at_any_byte_is_refused_as_protobuf_c_refuses_it(void **state)
{
    struct pawl_cold_arena arena;
    Pawl__V1__Reply *cold;
    size_t borders = 0;

    (void)state;
    build_reply_of_all();
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    for (size_t size = 1; size < message.size; size++) {
        enum pawl_status hot = read_exactly(size);

        /* its hello is not protobuf, so protobuf-c takes no more than what precedes it */
        pawl_cold_arena_reset(&arena);
        if (pawl_cold_read_reply(&arena, pawl_bytes_of(message.data, size), &cold) == PAWL_OK) {
            assert_int_equal(hot, PAWL_OK);
        }
        borders += hot == PAWL_OK;
    }
    assert_int_equal(borders, 5); /* behind id, status, error, hello, effect */
    assert_int_equal(read_exactly(message.size), PAWL_OK);
}

static void a_result_or_verdict_cut_at_any_byte_is_refused_though_its_length_says_so(void **state)
{
    struct pawl_cold_arena arena;
    Pawl__V1__Reply *cold;
    struct build whole = { 0 };

    (void)state;
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    for (size_t i = 2; i < PLACES; i++) {
        whole.size = 0;
        if (places[i].path == to_result) {
            build_result(&whole, ~0U);
        } else {
            build_verdict(&whole);
            whole.size -= 8; /* without the claims, which are not protobuf */
        }
        for (size_t size = 0; size <= whole.size; size++) {
            message.size = 0;
            build_raw(&message, whole.data, size);
            build_wrap(&message, places[i].path, places[i].depth);
            pawl_cold_arena_reset(&arena);
            assert_int_equal(read_exactly(message.size),
                             pawl_cold_read_reply(&arena, build_view(&message), &cold));
        }
    }
}

/* ---- writing ----------------------------------------------------------------------------- */

static uint8_t *write_exactly(size_t *size)
{
    size_t bound = pawl_wire_reply_bound(&reply);
    uint8_t *out = malloc(bound);

    assert_non_null(out);
    *size = pawl_wire_write_reply(out, &reply);
    assert_true(*size <= bound);
    return out;
}

/* What was written must be, byte for byte, what protobuf-c packs from the same values. */
static void assert_written_as_protobuf_c_does(void)
{
    static uint8_t again[BUILD_BYTES];
    struct pawl_cold_arena arena;
    struct pawl_bytes framed = { NULL, 0 };
    Pawl__V1__Reply *cold;
    size_t size;
    uint8_t *out = write_exactly(&size);

    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    assert_int_equal(pawl_frame_next(out, size, PAWL_REPLY_BYTES_MAX, &framed, NULL), PAWL_OK);
    assert_int_equal(framed.size, size - PAWL_FRAME_HEADER_BYTES);
    assert_int_equal(pawl_cold_read_reply(&arena, framed, &cold), PAWL_OK);
    assert_int_equal(pawl_cold_write_reply(again, sizeof(again), cold), size);
    assert_memory_equal(out, again, size);
    free(out);
}

static const uint8_t packed[] = { 0x08, 0x01 }; /* field 1 = 1: a hello as well as nothing else */
static const uint8_t packed_claims[] = { 0x0a, 0x01, 'i' };

static void a_read_reply_is_written_as_protobuf_c_packs_it(void **state)
{
    (void)state;
    build_reply_of_all();
    assert_int_equal(read_built(), PAWL_OK);
    reply.hello = pawl_bytes_of(packed, sizeof(packed));
    reply.token.claims = pawl_bytes_of(packed_claims, sizeof(packed_claims));
    assert_written_as_protobuf_c_does();
    reply.body = PAWL_BODY_TOKEN_CHECK;
    assert_written_as_protobuf_c_does();
    reply.body = PAWL_BODY_NONE;
    assert_written_as_protobuf_c_does();
}

static void a_written_reply_reads_back(void **state)
{
    uint8_t *out;
    size_t size;

    (void)state;
    build_reply_of_all();
    assert_int_equal(read_built(), PAWL_OK);
    out = write_exactly(&size);
    memset(results, 0xa5, sizeof(results));
    assert_int_equal(pawl_wire_read_reply(&reply, pawl_bytes_of(out + 4, size - 4)), PAWL_OK);
    assert_true(reply.id == UINT64_MAX);
    assert_bytes(reply.error, "store");
    assert_bytes(reply.hello, "hello");
    assert_true(reply.effect_unknown);
    assert_int_equal(reply.verdict, 2);
    assert_int_equal(reply.result_count, 2);
    assert_numbers(&results[0]);
    assert_verdict();
    free(out);
}

static void each_bool_of_a_result_is_written_alone(void **state)
{
    uint8_t *out;
    size_t size;

    (void)state;
    for (uint32_t number = 10; number <= 18; number++) {
        message.size = 0;
        build_result(&message, 1U << number);
        build_wrap(&message, to_result, 2);
        assert_int_equal(read_built(), PAWL_OK);
        out = write_exactly(&size);
        memset(results, 0xa5, sizeof(results));
        assert_int_equal(pawl_wire_read_reply(&reply, pawl_bytes_of(out + 4, size - 4)), PAWL_OK);
        assert_int_equal(results[0].never, number == 10);
        assert_int_equal(results[0].allowed, number == 11);
        assert_int_equal(results[0].shadow, number == 12);
        assert_int_equal(results[0].overflow, number == 14);
        assert_int_equal(results[0].contended, number == 15);
        assert_int_equal(results[0].bypass, number == 17);
        assert_int_equal(results[0].full, number == 18);
        free(out);
    }
}

static void any_number_of_results_is_written_right(void **state)
{
    (void)state;
    for (uint32_t count = 0; count <= PAWL_RESULTS_MAX; count++) {
        memset(&reply, 0, sizeof(reply));
        memset(results, 0, sizeof(results));
        reply.results = results;
        reply.body = PAWL_BODY_CHECK;
        reply.verdict = PAWL_ALLOW;
        reply.result_count = count;
        for (uint32_t i = 0; i < count; i++) {
            results[i].item = i;
            results[i].limit_count = 100;
            results[i].allowed = i % 2 == 0;
        }
        assert_written_as_protobuf_c_does();
    }
}

/* A check's reply with numbers about 2^@bits in it, and the bools of @bools. */
static void fill_sized(unsigned bits, unsigned bools)
{
    uint64_t number = (UINT64_C(1) << bits) - (bools & 1);

    memset(&reply, 0, sizeof(reply));
    memset(results, 0, 2 * sizeof(results[0]));
    reply.results = results;
    reply.body = PAWL_BODY_CHECK;
    reply.id = number;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.verdict = PAWL_DENY;
    reply.result_count = 2;
    results[0] = (struct pawl_wire_result){
        .limit_count = number,
        .count = number,
        .remaining = number + 1,
        .oldest_age_ms = number,
        .reset_after_ms = number,
        .retry_after_ms = number - 1,
        .charge = number,
        .window_ms = (uint32_t)number,
        .item = (uint32_t)number,
        .rate_index = (uint32_t)number,
        .never = (bools & 1) != 0,
        .allowed = (bools & 2) != 0,
        .full = (bools & 4) != 0,
    };
    results[1].allowed = true;
}

static void numbers_of_all_sizes_are_written_as_protobuf_c_packs_them(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        for (unsigned bools = 0; bools < 8; bools++) {
            fill_sized(bits, bools);
            assert_written_as_protobuf_c_does();
        }
    }
}

static size_t write_shortly(uint8_t *out)
{
    struct pawl_wire_answer answer =
        pawl_wire_answer_begin(out, reply.id, reply.status, reply.verdict);

    for (uint32_t i = 0; i < reply.result_count; i++) {
        pawl_wire_answer_add(&answer, &results[i]);
    }
    return pawl_wire_answer_end(&answer);
}

static void the_short_way_to_write_a_check_writes_the_same(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 64 * 8; i++) {
        fill_sized(i / 8, i % 8);
        for (reply.result_count = 0; reply.result_count <= 2; reply.result_count++) {
            size_t bound = PAWL_WIRE_CHECK_BYTES(reply.result_count);
            uint8_t *out = malloc(bound); /* exactly */
            size_t size;
            uint8_t *whole = write_exactly(&size);

            assert_non_null(out);
            assert_int_equal(write_shortly(out), size);
            assert_memory_equal(out, whole, size);
            free(out);
            free(whole);
        }
    }
}

static void the_bound_holds_for_the_largest_values(void **state)
{
    static const struct pawl_wire_result largest = {
        UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
        UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, true,       true,
        true,       true,       true,       true,       true,       UINT8_MAX,
    };
    static const uint8_t text[1024];
    uint8_t *out;
    size_t size;

    (void)state;
    memset(&reply, 0, sizeof(reply));
    reply.id = UINT64_MAX;
    reply.status = reply.verdict = UINT32_MAX;
    reply.error = reply.hello = pawl_bytes_of(text, sizeof(text));
    reply.view_number = UINT64_MAX;
    reply.effect_unknown = true;
    reply.has_token = true;
    reply.token.status = reply.token.reason = reply.token.scope = UINT32_MAX;
    reply.token.fresh = true;
    reply.token.staleness_ms = UINT64_MAX;
    reply.token.detail = reply.token.claims = pawl_bytes_of(text, sizeof(text));
    reply.results = results;
    for (size_t i = 0; i < PAWL_RESULTS_MAX; i++) {
        results[i] = largest;
    }
    reply.body = PAWL_BODY_CHECK;
    for (reply.result_count = 0; reply.result_count <= PAWL_RESULTS_MAX; reply.result_count++) {
        out = write_exactly(&size); /* in a block of exactly the bound */
        free(out);
        out = malloc(PAWL_WIRE_CHECK_BYTES(reply.result_count));
        assert_non_null(out);
        reply.status = PAWL__V1__STATUS__STATUS_OK;
        size = write_shortly(out);
        assert_true(size <= PAWL_WIRE_CHECK_BYTES(reply.result_count));
        free(out);
    }
    reply.body = PAWL_BODY_TOKEN_CHECK;
    out = write_exactly(&size);
    free(out);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_check_reply_is_read_whole),
        TEST(each_bool_of_a_result_is_read_alone),
        TEST(a_token_verdict_is_read_whole),
        TEST(what_was_not_sent_reads_as_zero_whatever_lay_there_before),
        TEST(other_bodies_and_a_goaway_are_for_protobuf_c),
        TEST(the_last_body_holds_and_nothing_of_the_others),
        TEST(bodies_seen_twice_are_merged),
        TEST(two_hellos_or_two_sets_of_claims_are_refused),
        TEST(an_on_error_that_does_not_fit_reads_as_not_said),
        TEST(caps_hold_on_both_sides),
        TEST(a_reply_may_be_as_large_as_its_cap_and_no_larger),
        TEST(every_field_of_a_wrong_wire_type_is_refused),
        TEST(a_reply_cut_at_any_byte_is_refused_as_protobuf_c_refuses_it),
        TEST(a_result_or_verdict_cut_at_any_byte_is_refused_though_its_length_says_so),
        TEST(each_bool_of_a_result_is_written_alone),
        TEST(a_read_reply_is_written_as_protobuf_c_packs_it),
        TEST(a_written_reply_reads_back),
        TEST(any_number_of_results_is_written_right),
        TEST(numbers_of_all_sizes_are_written_as_protobuf_c_packs_them),
        TEST(the_short_way_to_write_a_check_writes_the_same),
        TEST(the_bound_holds_for_the_largest_values),
    };

    return cmocka_run_group_tests_name("hot replies", tests, NULL, NULL);
}
