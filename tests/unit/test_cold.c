#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"
#include "unit/wire_build.h"

#include <stdio.h>

#define ARENA_BYTES (16U << 20)

static uint8_t memory[ARENA_BYTES];
static struct pawl_cold_arena arena;
static struct build message;

static int set_up(void **state)
{
    (void)state;
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    message.size = 0;
    return 0;
}

static enum pawl_status read_request(void)
{
    Pawl__V1__Request *request;

    pawl_cold_arena_reset(&arena);
    return pawl_cold_read_request(&arena, build_view(&message), &request);
}

static enum pawl_status read_reply(void)
{
    Pawl__V1__Reply *reply;

    pawl_cold_arena_reset(&arena);
    return pawl_cold_read_reply(&arena, build_view(&message), &reply);
}

static enum pawl_status read_any(bool is_request)
{
    return is_request ? read_request() : read_reply();
}

/* ---- every field of every message, found by the descriptors ------------------------------ */

/* Caps other than PAWL_FIELD_BYTES_MAX and PAWL_LIST_MAX, written down a second time. */
static const struct {
    const char *field;
    size_t bytes;
    size_t count;
} expected_caps[] = {
    { "Request.namespace", PAWL_NAMESPACE_MAX, 0 },
    { "Hello.namespace", PAWL_NAMESPACE_MAX, 0 },
    { "LimitInfo.namespace", PAWL_NAMESPACE_MAX, 0 },
    { "Check.items", 0, PAWL_ITEMS_MAX },
    { "Refund.items", 0, PAWL_ITEMS_MAX },
    { "Reserve.items", 0, PAWL_ITEMS_MAX },
    { "ReserveReply.results", 0, PAWL_RESULTS_MAX },
    { "LimitFigures.limit", PAWL_LIMIT_NAME_MAX, 0 },
    { "LimitFigures.namespace", PAWL_NAMESPACE_MAX, 0 },
    { "DeniedKey.limit", PAWL_LIMIT_NAME_MAX, 0 },
    { "DeniedKey.namespace", PAWL_NAMESPACE_MAX, 0 },
    { "RevocationEvent.namespace", PAWL_NAMESPACE_MAX, 0 },
    { "RefundReply.refunded", 0, PAWL_ITEMS_MAX },
    { "CheckItem.limit", PAWL_LIMIT_NAME_MAX, 0 },
    { "CheckItem.tier", PAWL_LIMIT_NAME_MAX, 0 },
    { "CheckItem.key", PAWL_KEY_BYTES_MAX, PAWL_KEY_PARTS_MAX },
    { "CheckItem.rates", 0, PAWL_RATES_MAX },
    { "RefundItem.limit", PAWL_LIMIT_NAME_MAX, 0 },
    { "RefundItem.key", PAWL_KEY_BYTES_MAX, PAWL_KEY_PARTS_MAX },
    { "RefundItem.rates", 0, PAWL_RATES_MAX },
    { "RefundItem.charges", 0, PAWL_RATES_MAX },
    { "Reset.limit", PAWL_LIMIT_NAME_MAX, 0 },
    { "Reset.key", PAWL_KEY_BYTES_MAX, PAWL_KEY_PARTS_MAX },
    { "Reset.rates", 0, PAWL_RATES_MAX },
    { "Limits.limit", PAWL_LIMIT_NAME_MAX, 0 },
    { "Limits.after", PAWL_LIMIT_NAME_MAX, 0 },
    { "LimitInfo.name", PAWL_LIMIT_NAME_MAX, 0 },
    { "LimitInfo.rates", 0, PAWL_RATES_MAX },
    { "CheckReply.results", 0, PAWL_RESULTS_MAX },
    { "Token.raw", PAWL_TOKEN_MAX, 0 },
    { "Revoke.raw", PAWL_TOKEN_MAX, 0 },
    { "Revoke.actor", PAWL_ACTOR_MAX, 0 },
    { "Unrevoke.actor", PAWL_ACTOR_MAX, 0 },
    { "Unrevoke.ids", 0, PAWL_FACT_IDS_MAX },
    { "FamilyEnd.actor", PAWL_ACTOR_MAX, 0 },
    { "Thaw.actor", PAWL_ACTOR_MAX, 0 },
    { "Watch.cursors", 0, PAWL_CURSORS_MAX },
    { "WatchReply.facts", PAWL_FACT_BYTES_MAX, 0 },
    { "Pull.view", PAWL_VIEW_WIRE_MAX, 0 },
    { "PullReply.records", PAWL_PULL_WIRE_MAX, 0 },
    { "Push.view", PAWL_VIEW_WIRE_MAX, 0 },
    { "Push.records", PAWL_PUSH_WIRE_MAX, 0 },
    { "ViewPush.view", PAWL_VIEW_WIRE_MAX, 0 },
    { "ViewPushReply.view", PAWL_VIEW_WIRE_MAX, 0 },
    { "Token.issuer", PAWL_CLAIM_MAX, 0 },
    { "Token.jti", PAWL_CLAIM_MAX, 0 },
    { "Token.subject", PAWL_CLAIM_MAX, 0 },
    { "Token.client", PAWL_CLAIM_MAX, 0 },
    { "Token.key", PAWL_CLAIM_MAX, 0 },
    { "Token.sid", PAWL_CLAIM_MAX, 0 },
    { "Revoke.issuer", PAWL_CLAIM_MAX, 0 },
    { "Revoke.value", PAWL_CLAIM_MAX, 0 },
    { "FamilyOpen.issuer", PAWL_CLAIM_MAX, 0 },
    { "FamilyOpen.subject", PAWL_CLAIM_MAX, 0 },
    { "FamilyOpen.client", PAWL_CLAIM_MAX, 0 },
    { "FamilyOpen.jti", PAWL_CLAIM_MAX, 0 },
    { "FamilyOpenReply.sid", PAWL_CLAIM_MAX, 0 },
    { "FamilyEnd.issuer", PAWL_CLAIM_MAX, 0 },
    { "FamilyEnd.sid", PAWL_CLAIM_MAX, 0 },
    { "Rotate.next_jti", PAWL_CLAIM_MAX, 0 },
    { "RotateReply.successor", PAWL_CLAIM_MAX, 0 },
    { "RotateReply.sid", PAWL_CLAIM_MAX, 0 },
    { "RotateReply.subject", PAWL_CLAIM_MAX, 0 },
};

static size_t expected_cap(const char *name, bool of_count)
{
    for (size_t i = 0; i < sizeof(expected_caps) / sizeof(expected_caps[0]); i++) {
        size_t cap = of_count ? expected_caps[i].count : expected_caps[i].bytes;

        if (cap != 0 && strcmp(expected_caps[i].field, name) == 0) {
            return cap;
        }
    }
    return of_count ? PAWL_LIST_MAX : PAWL_FIELD_BYTES_MAX;
}

struct walk {
    bool is_request;
    uint32_t path[8];
    size_t depth;
    size_t deepest;
    void (*visit)(const struct walk *walk, const ProtobufCFieldDescriptor *field, const char *name);
    size_t visited;
};

static void walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type)
{
    assert_true(walk->depth < 8);
    walk->deepest = walk->depth + 1 > walk->deepest ? walk->depth + 1 : walk->deepest;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char name[128];

        (void)snprintf(name, sizeof(name), "%s.%s", type->short_name, field->name);
        if (walk->visit != NULL) {
            walk->visit(walk, field, name);
            walk->visited++;
        }
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            walk->path[walk->depth++] = field->id;
            walk_message(walk, field->descriptor);
            walk->depth--;
        }
    }
}

static void walk_all(void (*visit)(const struct walk *, const ProtobufCFieldDescriptor *,
                                   const char *))
{
    struct walk walk = { .is_request = true, .visit = visit };

    walk_message(&walk, &pawl__v1__request__descriptor);
    walk.is_request = false;
    walk_message(&walk, &pawl__v1__reply__descriptor);
    assert_true(walk.visited > 200);
}

static void expect(const struct walk *walk, const char *name, enum pawl_status expected)
{
    enum pawl_status status;

    build_wrap(&message, walk->path, walk->depth);
    status = read_any(walk->is_request);
    if (status != expected) {
        print_error("%s: %s instead of %s\n", name, pawl_status_name(status),
                    pawl_status_name(expected));
    }
    assert_int_equal(status, expected);
}

static void visit_bytes_cap(const struct walk *walk, const ProtobufCFieldDescriptor *field,
                            const char *name)
{
    size_t cap = expected_cap(name, false);

    if (field->type != PROTOBUF_C_TYPE_BYTES) {
        return;
    }
    for (size_t over = 0; over < 2; over++) {
        message.size = 0;
        build_filler(&message, field->id, cap + over);
        expect(walk, name, over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

static void every_bytes_field_is_capped_on_both_sides(void **state)
{
    (void)state;
    walk_all(visit_bytes_cap);
}

static void visit_count_cap(const struct walk *walk, const ProtobufCFieldDescriptor *field,
                            const char *name)
{
    size_t cap = expected_cap(name, true);

    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        return;
    }
    for (size_t over = 0; over < 2; over++) {
        enum build_type type =
            field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_MESSAGE
                ? BUILD_LEN
            : field->type == PROTOBUF_C_TYPE_FIXED64 ? BUILD_I64
                                                     : BUILD_VARINT;

        message.size = 0;
        for (size_t i = 0; i < cap + over; i++) {
            build_zero(&message, field->id, type);
        }
        expect(walk, name, over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

static void every_repeated_field_is_capped_on_both_sides(void **state)
{
    (void)state;
    walk_all(visit_count_cap);
}

/* protobuf-c does not look at the wire type of a bool (it reads whatever is there as one). */
static void visit_wrong_type(const struct walk *walk, const ProtobufCFieldDescriptor *field,
                             const char *name)
{
    bool is_len = field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_MESSAGE;
    enum build_type wrong = is_len ? BUILD_VARINT : BUILD_I32;

    if (field->type == PROTOBUF_C_TYPE_BOOL) {
        return;
    }
    message.size = 0;
    build_zero(&message, field->id, wrong);
    expect(walk, name, PAWL_EINVAL);
}

static void every_field_of_a_wrong_wire_type_is_refused(void **state)
{
    (void)state;
    walk_all(visit_wrong_type);
}

static void visit_enum(const struct walk *walk, const ProtobufCFieldDescriptor *field,
                       const char *name)
{
    const ProtobufCEnumDescriptor *values = field->descriptor;
    uint64_t last;

    if (field->type != PROTOBUF_C_TYPE_ENUM) {
        return;
    }
    last = (uint64_t)values->values[values->n_values - 1].value; /* they are in order */
    for (uint64_t over = 0; over < 2; over++) {
        message.size = 0;
        build_u64(&message, field->id, last + over);
        expect(walk, name, over == 1 && walk->is_request ? PAWL_EINVAL : PAWL_OK);
    }
}

static void an_enum_value_not_known_is_refused_in_requests_and_let_pass_in_replies(void **state)
{
    (void)state;
    walk_all(visit_enum);
}

static void visit_unknown(const struct walk *walk, const ProtobufCFieldDescriptor *field,
                          const char *name)
{
    static const enum build_type types[] = { BUILD_VARINT, BUILD_I64, BUILD_LEN, BUILD_I32 };

    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        message.size = 0;
        build_zero(&message, 1000, types[i]);
        build_wrap(&message, &field->id, 1);
        expect(walk, name, PAWL_OK);
    }
    message.size = 0;
    build_tag(&message, 1000, BUILD_GROUP);
    build_tag(&message, 1000, BUILD_GROUP_END);
    build_wrap(&message, &field->id, 1);
    expect(walk, name, PAWL_EINVAL);
}

static void unknown_fields_are_skipped_and_groups_refused_in_every_message(void **state)
{
    (void)state;
    walk_all(visit_unknown);
}

static void messages_nest_no_deeper_than_the_cap(void **state)
{
    struct walk walk = { .is_request = true };

    (void)state;
    walk_message(&walk, &pawl__v1__request__descriptor);
    assert_int_equal(walk.deepest, PAWL_NESTING_MAX);
    walk.deepest = 0;
    walk_message(&walk, &pawl__v1__reply__descriptor);
    assert_int_equal(walk.deepest, PAWL_NESTING_MAX);
}

/* ---- caps on wholes ---------------------------------------------------------------------- */

static void a_message_may_be_as_large_as_its_cap_and_no_larger(void **state)
{
    static uint8_t data[PAWL_REPLY_BYTES_MAX + 1];
    Pawl__V1__Request *request;
    Pawl__V1__Reply *reply;
    struct build head = { 0 };
    size_t size;

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        enum pawl_status expected = over == 0 ? PAWL_OK : PAWL_ETOOBIG;

        /* one unknown field fills the message: a tag of 2 bytes and a length of 3 */
        head.size = 0;
        build_tag(&head, 1000, BUILD_LEN);
        build_varint(&head, PAWL_REQUEST_BYTES_MAX - 5 + over);
        assert_int_equal(head.size, 5);
        memcpy(data, head.data, 5);
        size = PAWL_REQUEST_BYTES_MAX + over;
        assert_int_equal(pawl_cold_read_request(&arena, pawl_bytes_of(data, size), &request),
                         expected);
        assert_true((request != NULL) == (over == 0));
        head.size = 0;
        build_tag(&head, 1000, BUILD_LEN);
        build_varint(&head, PAWL_REPLY_BYTES_MAX - 5 + over);
        memcpy(data, head.data, 5);
        size = PAWL_REPLY_BYTES_MAX + over;
        assert_int_equal(pawl_cold_read_reply(&arena, pawl_bytes_of(data, size), &reply), expected);
        assert_true((reply != NULL) == (over == 0));
    }
}

/* @items items with 8 empty rates each, and one more with @rest. */
static void build_rates(uint32_t body, size_t items, size_t rest)
{
    struct build item = { 0 };

    message.size = 0;
    for (size_t i = 0; i < items + 1; i++) {
        item.size = 0;
        for (size_t j = 0; j < (i < items ? 8 : rest); j++) {
            build_zero(&item, 4, BUILD_LEN);
        }
        build_message(&message, 1, &item);
    }
    build_wrap(&message, &body, 1);
}

static void the_rates_of_a_check_refund_or_reservation_are_capped_together(void **state)
{
    static const uint32_t bodies[] = { 16, 18, 31 };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        build_rates(bodies[i], PAWL_RESULTS_MAX / 8, 0);
        assert_int_equal(read_request(), PAWL_OK);
        build_rates(bodies[i], PAWL_RESULTS_MAX / 8, 1);
        assert_int_equal(read_request(), PAWL_ETOOBIG);
    }
}

static void a_tier_counts_towards_the_name_of_its_limit(void **state)
{
    static const uint32_t path[] = { 16, 1 };

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        message.size = 0;
        build_filler(&message, 1, PAWL_LIMIT_NAME_MAX - 21);
        build_filler(&message, 7, 20 + over); /* and a dot between them */
        build_wrap(&message, path, 2);
        assert_int_equal(read_request(), over == 0 ? PAWL_OK : PAWL_ETOOBIG);
    }
}

/* ---- the arena --------------------------------------------------------------------------- */

/* 4 KiB of empty sub-messages are 278 KiB unpacked. */
static void a_full_arena_refuses_the_message_and_takes_the_next_one(void **state)
{
    Pawl__V1__Request *request;
    struct build list = { 0 };

    (void)state;
    pawl_cold_arena_init(&arena, memory, 16384);
    for (size_t i = 0; i < 1024; i++) {
        build_zero(&list, 1, BUILD_LEN);
    }
    build_message(&message, 25, &list); /* watch: within its cap of cursors */
    assert_int_equal(pawl_cold_read_request(&arena, build_view(&message), &request), PAWL_ETOOBIG);
    assert_null(request);
    assert_true(arena.used <= arena.size);
    pawl_cold_arena_reset(&arena);
    message.size = 0;
    build_zero(&message, 30, BUILD_LEN);
    assert_int_equal(pawl_cold_read_request(&arena, build_view(&message), &request), PAWL_OK);
    assert_int_equal(request->body_case, PAWL__V1__REQUEST__BODY_PING);
}

static void an_arena_of_any_size_and_alignment_stays_within_its_memory(void **state)
{
    Pawl__V1__Request *request;

    (void)state;
    build_text(&message, 3, "tenant");
    build_zero(&message, 30, BUILD_LEN);
    for (size_t size = 0; size < 1200; size += 7) {
        uint8_t *block = malloc(size + 1);
        enum pawl_status status;

        assert_non_null(block);
        pawl_cold_arena_init(&arena, block + size % 2, size);
        status = pawl_cold_read_request(&arena, build_view(&message), &request);
        assert_true(status == PAWL_OK || status == PAWL_ETOOBIG);
        assert_true(status == (size > 1000 ? PAWL_OK : status));
        if (status == PAWL_OK) {
            assert_int_equal((uintptr_t)request % _Alignof(max_align_t), 0);
            assert_memory_equal(request->namespace_.data, "tenant", 6);
        }
        free(block);
    }
}

static void messages_of_one_batch_live_side_by_side_until_the_reset(void **state)
{
    Pawl__V1__Request *first;
    Pawl__V1__Request *second;

    (void)state;
    build_u64(&message, 1, 7);
    build_text(&message, 3, "one");
    assert_int_equal(pawl_cold_read_request(&arena, build_view(&message), &first), PAWL_OK);
    message.size = 0;
    build_u64(&message, 1, 8);
    build_text(&message, 3, "two");
    assert_int_equal(pawl_cold_read_request(&arena, build_view(&message), &second), PAWL_OK);
    assert_int_equal(first->id, 7);
    assert_memory_equal(first->namespace_.data, "one", 3);
    assert_int_equal(second->id, 8);
    pawl_cold_arena_reset(&arena);
    assert_int_equal(arena.used, 0);
}

/* ---- reading ----------------------------------------------------------------------------- */

static void build_revoke(void)
{
    struct build revoke = { 0 };

    message.size = 0;
    build_u64(&revoke, 1, PAWL__V1__SCOPE__SCOPE_SUBJECT);
    build_text(&revoke, 3, "alice");
    build_u64(&revoke, 4, UINT64_C(1700000000123));
    build_u64(&revoke, 6, PAWL__V1__REASON__REASON_LOGOUT_ALL);
    build_text(&revoke, 7, "admin");
    build_u64(&message, 1, UINT64_MAX);
    build_u64(&message, 2, 1000);
    build_message(&message, 20, &revoke);
}

static void a_revoke_is_read_whole(void **state)
{
    Pawl__V1__Request *request;

    (void)state;
    build_revoke();
    assert_int_equal(pawl_cold_read_request(&arena, build_view(&message), &request), PAWL_OK);
    assert_true(request->id == UINT64_MAX);
    assert_int_equal(request->deadline_ms, 1000);
    assert_int_equal(request->body_case, PAWL__V1__REQUEST__BODY_REVOKE);
    assert_int_equal(request->revoke->scope, PAWL__V1__SCOPE__SCOPE_SUBJECT);
    assert_int_equal(request->revoke->value.len, 5);
    assert_true(request->revoke->before_ms == UINT64_C(1700000000123));
    assert_memory_equal(request->revoke->actor.data, "admin", 5);
}

static void a_request_cut_inside_its_body_is_refused_at_every_byte(void **state)
{
    Pawl__V1__Request *request;
    size_t whole;

    (void)state;
    build_revoke();
    whole = message.size;
    for (size_t size = 1; size < whole; size++) {
        uint8_t *copy = build_copy(&message, size);
        bool at_border = size == 11 || size == 14; /* behind id, behind deadline */

        assert_int_equal(pawl_cold_read_request(&arena, pawl_bytes_of(copy, size), &request),
                         at_border ? PAWL_OK : PAWL_EINVAL);
        free(copy);
    }
}

static void a_body_of_a_later_version_reads_as_no_body(void **state)
{
    Pawl__V1__Request *request;

    (void)state;
    build_u64(&message, 1, 5);
    build_text(&message, 40, "later");
    assert_int_equal(pawl_cold_read_request(&arena, build_view(&message), &request), PAWL_OK);
    assert_int_equal(request->body_case, PAWL__V1__REQUEST__BODY__NOT_SET);
    assert_int_equal(request->id, 5);
}

static void an_enum_value_not_known_reads_as_zero_in_a_reply(void **state)
{
    Pawl__V1__Reply *reply;
    struct build rotate = { 0 };
    struct build hello = { 0 };

    (void)state;
    build_u64(&rotate, 1, 200);
    build_u64(&rotate, 3, 9);
    build_u64(&hello, 8, PAWL__V1__ROLE__ROLE_READ);
    build_u64(&hello, 8, 77);
    build_message(&message, 4, &hello);
    build_message(&message, 22, &rotate);
    assert_int_equal(pawl_cold_read_reply(&arena, build_view(&message), &reply), PAWL_OK);
    assert_int_equal(reply->rotate->result, PAWL__V1__ROTATE_RESULT__ROTATE_NONE);
    assert_int_equal(reply->rotate->generation, 9);
    assert_int_equal(reply->hello->n_roles, 2);
    assert_int_equal(reply->hello->roles[0], PAWL__V1__ROLE__ROLE_READ);
    assert_int_equal(reply->hello->roles[1], PAWL__V1__ROLE__ROLE_NONE);
}

static void the_last_body_holds(void **state)
{
    Pawl__V1__Request *request;
    struct build limits = { 0 };

    (void)state;
    build_filler(&limits, 1, 3);
    build_message(&message, 28, &limits);
    build_zero(&message, 30, BUILD_LEN);
    assert_int_equal(pawl_cold_read_request(&arena, build_view(&message), &request), PAWL_OK);
    assert_int_equal(request->body_case, PAWL__V1__REQUEST__BODY_PING);
}

/* ---- writing ----------------------------------------------------------------------------- */

static void a_written_request_is_a_frame_that_reads_back(void **state)
{
    uint8_t out[64];
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Request *back;
    Pawl__V1__Ping ping = PAWL__V1__PING__INIT;
    struct pawl_bytes framed = { NULL, 0 };
    size_t size;

    (void)state;
    request.id = 300;
    request.body_case = PAWL__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    size = pawl_cold_write_request(out, sizeof(out), &request);
    assert_int_equal(size, 4 + 3 + 3);
    assert_int_equal(pawl_frame_next(out, size, PAWL_REQUEST_BYTES_MAX, &framed, NULL), PAWL_OK);
    assert_int_equal(pawl_cold_read_request(&arena, framed, &back), PAWL_OK);
    assert_int_equal(back->id, 300);
    assert_int_equal(back->body_case, PAWL__V1__REQUEST__BODY_PING);
    assert_int_equal(pawl_cold_write_request(out, size, &request), size);
    for (size_t capacity = 0; capacity < size; capacity++) {
        uint8_t *small = malloc(capacity + 1);

        assert_non_null(small);
        assert_int_equal(pawl_cold_write_request(small, capacity, &request), 0);
        free(small);
    }
}

static void a_written_reply_is_a_frame_that_reads_back(void **state)
{
    uint8_t out[64];
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    Pawl__V1__Reply *back;
    struct pawl_bytes framed = { NULL, 0 };
    size_t size;

    (void)state;
    reply.id = 1;
    reply.status = PAWL__V1__STATUS__STATUS_FULL;
    size = pawl_cold_write_reply(out, sizeof(out), &reply);
    assert_int_equal(size, 4 + 2 + 2);
    assert_int_equal(pawl_frame_next(out, size, PAWL_REPLY_BYTES_MAX, &framed, NULL), PAWL_OK);
    assert_int_equal(pawl_cold_read_reply(&arena, framed, &back), PAWL_OK);
    assert_int_equal(back->status, PAWL__V1__STATUS__STATUS_FULL);
    assert_int_equal(pawl_cold_write_reply(out, size, &reply), size);
    assert_int_equal(pawl_cold_write_reply(out, size - 1, &reply), 0);
    assert_int_equal(pawl_cold_write_reply(out, 3, &reply), 0);
}

static void nothing_above_the_cap_of_a_frame_is_written(void **state)
{
    static uint8_t filler[PAWL_REPLY_BYTES_MAX];
    static uint8_t out[PAWL_REPLY_BYTES_MAX + 64];
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;

    (void)state;
    reply.error.data = filler;
    reply.error.len = PAWL_REPLY_BYTES_MAX - 4; /* a tag and a length of 3 bytes */
    assert_int_equal(pawl_cold_write_reply(out, sizeof(out), &reply), 4 + PAWL_REPLY_BYTES_MAX);
    reply.error.len++;
    assert_int_equal(pawl_cold_write_reply(out, sizeof(out), &reply), 0);
    request.namespace_.data = filler;
    request.namespace_.len = PAWL_REQUEST_BYTES_MAX - 4;
    assert_int_equal(pawl_cold_write_request(out, sizeof(out), &request),
                     4 + PAWL_REQUEST_BYTES_MAX);
    request.namespace_.len++;
    assert_int_equal(pawl_cold_write_request(out, sizeof(out), &request), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_bytes_field_is_capped_on_both_sides),
        TEST(every_repeated_field_is_capped_on_both_sides),
        TEST(every_field_of_a_wrong_wire_type_is_refused),
        TEST(an_enum_value_not_known_is_refused_in_requests_and_let_pass_in_replies),
        TEST(unknown_fields_are_skipped_and_groups_refused_in_every_message),
        TEST(messages_nest_no_deeper_than_the_cap),
        TEST(a_message_may_be_as_large_as_its_cap_and_no_larger),
        TEST(the_rates_of_a_check_refund_or_reservation_are_capped_together),
        TEST(a_tier_counts_towards_the_name_of_its_limit),
        TEST(a_full_arena_refuses_the_message_and_takes_the_next_one),
        TEST(an_arena_of_any_size_and_alignment_stays_within_its_memory),
        TEST(messages_of_one_batch_live_side_by_side_until_the_reset),
        TEST(a_revoke_is_read_whole),
        TEST(a_request_cut_inside_its_body_is_refused_at_every_byte),
        TEST(a_body_of_a_later_version_reads_as_no_body),
        TEST(an_enum_value_not_known_reads_as_zero_in_a_reply),
        TEST(the_last_body_holds),
        TEST(a_written_request_is_a_frame_that_reads_back),
        TEST(a_written_reply_is_a_frame_that_reads_back),
        TEST(nothing_above_the_cap_of_a_frame_is_written),
    };

    return cmocka_run_group_tests_name("cold", tests, NULL, NULL);
}
