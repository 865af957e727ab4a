#include "pawl/v1/cold.h"

#include "pawl/v1/frame.h"

#include <string.h>

/* ---- the arena ------------------------------------------------------------------------- */

#define ARENA_ALIGN _Alignof(max_align_t)

static void *arena_alloc(void *data, size_t size)
{
    struct pawl_cold_arena *arena = data;
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    uint8_t *block = arena->memory + arena->used;

    if (rounded < size || rounded > arena->size - arena->used) {
        arena->full = true;
        return NULL;
    }
    arena->used += rounded;
    return block;
}

static void arena_free(void *data, void *block)
{
    (void)data; /* nothing is freed singly */
    (void)block;
}

void pawl_cold_arena_init(struct pawl_cold_arena *arena, void *memory, size_t size)
{
    size_t skip = (ARENA_ALIGN - (uintptr_t)memory % ARENA_ALIGN) % ARENA_ALIGN;

    skip = skip < size ? skip : size;
    arena->allocator.alloc = arena_alloc;
    arena->allocator.free = arena_free;
    arena->allocator.allocator_data = arena;
    arena->memory = (uint8_t *)memory + skip;
    arena->size = size - skip;
    pawl_cold_arena_reset(arena);
}

void pawl_cold_arena_reset(struct pawl_cold_arena *arena)
{
    arena->used = 0;
    arena->full = false;
}

/* ---- the caps -------------------------------------------------------------------------- */

/*
 * What differs from PAWL_FIELD_BYTES_MAX and PAWL_LIST_MAX. A repeated bytes field has both: so
 * many entries, each of so many bytes. 0 = the default.
 */
struct cap {
    const ProtobufCMessageDescriptor *message;
    uint32_t number;
    uint32_t bytes_max;
    uint32_t count_max;
};

#define MESSAGE(name) &pawl__v1__##name##__descriptor

static const struct cap caps[] = {
    { MESSAGE(request), 3, PAWL_NAMESPACE_MAX, 0 },
    { MESSAGE(hello), 5, PAWL_NAMESPACE_MAX, 0 },
    { MESSAGE(check), 1, 0, PAWL_ITEMS_MAX },
    { MESSAGE(check_item), 1, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(check_item), 2, PAWL_KEY_BYTES_MAX, PAWL_KEY_PARTS_MAX },
    { MESSAGE(check_item), 4, 0, PAWL_RATES_MAX },
    { MESSAGE(check_item), 7, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(check_reply), 2, 0, PAWL_RESULTS_MAX },
    { MESSAGE(refund), 1, 0, PAWL_ITEMS_MAX },
    { MESSAGE(refund_item), 1, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(refund_item), 2, PAWL_KEY_BYTES_MAX, PAWL_KEY_PARTS_MAX },
    { MESSAGE(refund_item), 4, 0, PAWL_RATES_MAX },
    { MESSAGE(refund_item), 5, 0, PAWL_RATES_MAX },
    { MESSAGE(refund_reply), 1, 0, PAWL_ITEMS_MAX },
    { MESSAGE(reset), 1, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(reset), 2, PAWL_KEY_BYTES_MAX, PAWL_KEY_PARTS_MAX },
    { MESSAGE(reset), 3, 0, PAWL_RATES_MAX },
    { MESSAGE(limits), 1, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(limits), 2, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(limit_info), 1, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(limit_info), 2, 0, PAWL_RATES_MAX },
    { MESSAGE(limit_info), 8, PAWL_NAMESPACE_MAX, 0 },
    { MESSAGE(reserve), 1, 0, PAWL_ITEMS_MAX },
    { MESSAGE(reserve_reply), 5, 0, PAWL_RESULTS_MAX },
    { MESSAGE(limit_figures), 1, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(limit_figures), 2, PAWL_NAMESPACE_MAX, 0 },
    { MESSAGE(denied_key), 1, PAWL_LIMIT_NAME_MAX, 0 },
    { MESSAGE(denied_key), 2, PAWL_NAMESPACE_MAX, 0 },
    { MESSAGE(revocation_event), 3, PAWL_NAMESPACE_MAX, 0 },
    { MESSAGE(token), 1, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(token), 2, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(token), 3, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(token), 4, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(token), 5, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(token), 6, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(token), 11, PAWL_TOKEN_MAX, 0 },
    { MESSAGE(revoke), 2, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(revoke), 3, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(revoke), 7, PAWL_ACTOR_MAX, 0 },
    { MESSAGE(revoke), 9, PAWL_TOKEN_MAX, 0 },
    { MESSAGE(unrevoke), 1, 0, PAWL_FACT_IDS_MAX },
    { MESSAGE(unrevoke), 2, PAWL_ACTOR_MAX, 0 },
    { MESSAGE(family_open), 1, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(family_open), 2, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(family_open), 3, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(family_open), 5, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(family_open_reply), 1, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(family_end), 1, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(family_end), 2, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(family_end), 4, PAWL_ACTOR_MAX, 0 },
    { MESSAGE(rotate), 4, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(rotate_reply), 4, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(rotate_reply), 7, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(rotate_reply), 12, PAWL_CLAIM_MAX, 0 },
    { MESSAGE(thaw), 2, PAWL_ACTOR_MAX, 0 },
    { MESSAGE(watch), 1, 0, PAWL_CURSORS_MAX },
    { MESSAGE(watch_reply), 1, PAWL_FACT_BYTES_MAX, 0 },
    { MESSAGE(pull), 1, PAWL_VIEW_WIRE_MAX, 0 },
    { MESSAGE(pull_reply), 1, PAWL_PULL_WIRE_MAX, 0 },
    { MESSAGE(push), 1, PAWL_VIEW_WIRE_MAX, 0 },
    { MESSAGE(push), 4, PAWL_PUSH_WIRE_MAX, 0 },
    { MESSAGE(view_push), 1, PAWL_VIEW_WIRE_MAX, 0 },
    { MESSAGE(view_push_reply), 1, PAWL_VIEW_WIRE_MAX, 0 },
};

static struct cap cap_of(const ProtobufCMessageDescriptor *message, uint32_t number)
{
    struct cap cap = { message, number, 0, 0 };

    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        if (caps[i].message == message && caps[i].number == number) {
            cap = caps[i];
            break;
        }
    }
    cap.bytes_max = cap.bytes_max != 0 ? cap.bytes_max : PAWL_FIELD_BYTES_MAX;
    cap.count_max = cap.count_max != 0 ? cap.count_max : PAWL_LIST_MAX;
    return cap;
}

/* ---- walking a message ----------------------------------------------------------------- */

/* A request with a value nobody here knows is refused; in a reply it reads as zero (COMPAT.md). */
enum unknown_enum {
    UNKNOWN_ENUM_REFUSED,
    UNKNOWN_ENUM_ZERO
};

static enum pawl_status check_message(ProtobufCMessage *message, enum unknown_enum rule);

static enum pawl_status check_enum(const ProtobufCFieldDescriptor *field, int32_t *value,
                                   enum unknown_enum rule)
{
    const ProtobufCEnumDescriptor *values = field->descriptor;

    if (protobuf_c_enum_descriptor_get_value(values, *value) != NULL) {
        return PAWL_OK;
    }
    *value = 0;
    return rule == UNKNOWN_ENUM_ZERO ? PAWL_OK : PAWL_EINVAL;
}

/* Check @element, the field's value or one of its values. */
static enum pawl_status check_element(const ProtobufCFieldDescriptor *field, struct cap cap,
                                      void *element, enum unknown_enum rule)
{
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const ProtobufCBinaryData *bytes = element;

        return bytes->len <= cap.bytes_max ? PAWL_OK : PAWL_ETOOBIG;
    }
    if (field->type == PROTOBUF_C_TYPE_ENUM) {
        return check_enum(field, element, rule);
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage **message = element;

        return *message == NULL ? PAWL_OK : check_message(*message, rule);
    }
    return PAWL_OK;
}

static size_t element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int32_t);
    default:
        return 0; /* nothing in it to check */
    }
}

static enum pawl_status check_repeated(const ProtobufCFieldDescriptor *field, struct cap cap,
                                       const uint8_t *base, enum unknown_enum rule)
{
    size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
    uint8_t *elements = *(uint8_t *const *)(const void *)(base + field->offset);
    size_t size = element_size(field->type);

    if (count > cap.count_max) {
        return PAWL_ETOOBIG;
    }
    for (size_t i = 0; i < count && size > 0; i++) {
        enum pawl_status status = check_element(field, cap, elements + i * size, rule);

        if (status != PAWL_OK) {
            return status;
        }
    }
    return PAWL_OK;
}

/* Is @field a member of a oneof that holds another one now? */
static bool is_other_of_oneof(const ProtobufCFieldDescriptor *field, const uint8_t *base)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
           *(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id;
}

/* Recurses as deep as the types nest: PAWL_NESTING_MAX, none of them holds itself. */
static enum pawl_status check_message(ProtobufCMessage *message, enum unknown_enum rule)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    uint8_t *base = (uint8_t *)message;

    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        struct cap cap = cap_of(type, field->id);
        enum pawl_status status;

        if (is_other_of_oneof(field, base)) {
            continue;
        }
        status = field->label == PROTOBUF_C_LABEL_REPEATED
                     ? check_repeated(field, cap, base, rule)
                     : check_element(field, cap, base + field->offset, rule);
        if (status != PAWL_OK) {
            return status;
        }
    }
    return PAWL_OK;
}

/* ---- caps on sums, which no single field shows ------------------------------------------ */

static enum pawl_status item_sums(size_t count, Pawl__V1__CheckItem *const *items)
{
    size_t rates = 0;

    for (size_t i = 0; i < count; i++) {
        const Pawl__V1__CheckItem *item = items[i];

        if (item->limit.len > 0 && item->tier.len > 0 &&
            item->limit.len + 1 + item->tier.len > PAWL_LIMIT_NAME_MAX) {
            return PAWL_ETOOBIG;
        }
        rates += item->n_rates;
    }
    return rates <= PAWL_RESULTS_MAX ? PAWL_OK : PAWL_ETOOBIG;
}

static enum pawl_status refund_sums(const Pawl__V1__Refund *refund)
{
    size_t rates = 0;

    for (size_t i = 0; i < refund->n_items; i++) {
        rates += refund->items[i]->n_rates;
    }
    return rates <= PAWL_RESULTS_MAX ? PAWL_OK : PAWL_ETOOBIG;
}

static enum pawl_status request_sums(const Pawl__V1__Request *request)
{
    if (request->body_case == PAWL__V1__REQUEST__BODY_CHECK) {
        return item_sums(request->check->n_items, request->check->items);
    }
    if (request->body_case == PAWL__V1__REQUEST__BODY_RESERVE) {
        return item_sums(request->reserve->n_items, request->reserve->items);
    }
    if (request->body_case == PAWL__V1__REQUEST__BODY_REFUND) {
        return refund_sums(request->refund);
    }
    return PAWL_OK;
}

/* ---- reading and writing ---------------------------------------------------------------- */

static enum pawl_status unpack(struct pawl_cold_arena *arena,
                               const ProtobufCMessageDescriptor *type, struct pawl_bytes message,
                               ProtobufCMessage **unpacked)
{
    arena->full = false;
    *unpacked = protobuf_c_message_unpack(type, &arena->allocator, message.size, message.data);
    if (*unpacked != NULL) {
        return PAWL_OK;
    }
    return arena->full ? PAWL_ETOOBIG : PAWL_EINVAL;
}

enum pawl_status pawl_cold_read_request(struct pawl_cold_arena *arena, struct pawl_bytes message,
                                        Pawl__V1__Request **request)
{
    ProtobufCMessage *unpacked;
    enum pawl_status status;

    *request = NULL;
    if (message.size > PAWL_REQUEST_BYTES_MAX) {
        return PAWL_ETOOBIG;
    }
    status = unpack(arena, &pawl__v1__request__descriptor, message, &unpacked);
    if (status == PAWL_OK) {
        status = check_message(unpacked, UNKNOWN_ENUM_REFUSED);
    }
    if (status == PAWL_OK) {
        status = request_sums((Pawl__V1__Request *)unpacked);
    }
    if (status == PAWL_OK) {
        *request = (Pawl__V1__Request *)unpacked;
    }
    return status;
}

enum pawl_status pawl_cold_read_reply(struct pawl_cold_arena *arena, struct pawl_bytes message,
                                      Pawl__V1__Reply **reply)
{
    ProtobufCMessage *unpacked;
    enum pawl_status status;

    *reply = NULL;
    if (message.size > PAWL_REPLY_BYTES_MAX) {
        return PAWL_ETOOBIG;
    }
    status = unpack(arena, &pawl__v1__reply__descriptor, message, &unpacked);
    if (status == PAWL_OK) {
        status = check_message(unpacked, UNKNOWN_ENUM_ZERO);
    }
    if (status == PAWL_OK) {
        *reply = (Pawl__V1__Reply *)unpacked;
    }
    return status;
}

static size_t write_message(uint8_t *out, size_t capacity, const ProtobufCMessage *message,
                            size_t size_max)
{
    size_t size = protobuf_c_message_get_packed_size(message);

    if (size > size_max || capacity < PAWL_FRAME_HEADER_BYTES ||
        size > capacity - PAWL_FRAME_HEADER_BYTES) {
        return 0;
    }
    pawl_frame_header(out, size);
    return PAWL_FRAME_HEADER_BYTES +
           protobuf_c_message_pack(message, out + PAWL_FRAME_HEADER_BYTES);
}

size_t pawl_cold_write_reply(uint8_t *out, size_t capacity, const Pawl__V1__Reply *reply)
{
    return write_message(out, capacity, &reply->base, PAWL_REPLY_BYTES_MAX);
}

size_t pawl_cold_write_request(uint8_t *out, size_t capacity, const Pawl__V1__Request *request)
{
    return write_message(out, capacity, &request->base, PAWL_REQUEST_BYTES_MAX);
}
