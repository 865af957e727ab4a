/*
 * The kinds of calls, as a table: structs, encoders, decoders. A decoder of NULL marks a hot call.
 */
#include "private.h"

#define CALL(kind_name, name, result_name, is_quick, is_write, does_fill, body, decoder)       \
    {                                                                                          \
        .kind = PAWL_CALL_##kind_name, .quick = (is_quick), .writes = (is_write),              \
        .fills = (does_fill), .reply = (body), .call_size = sizeof(struct pawl_##name##_call), \
        .result_size = sizeof(struct pawl_##result_name##_result),                             \
        .deadline_at = offsetof(struct pawl_##name##_call, deadline_ms),                       \
        .now_at = offsetof(struct pawl_##name##_call, now_ms),                                 \
        .ns_at = offsetof(struct pawl_##name##_call, ns),                                      \
        .info_at = offsetof(struct pawl_##result_name##_result, info),                         \
        .encode = pawl_client_encode_##name, .decode = (decoder),                              \
    }

static void decode_nothing(struct pawl_client *client, const struct slot *slot,
                           const Pawl__V1__Reply *reply)
{
    (void)client;
    (void)slot;
    (void)reply;
}

static const struct call_type types[] = {
    CALL(CHECK, check, check, true, true, true, PAWL__V1__REPLY__BODY_CHECK, NULL),
    CALL(TOKEN_CHECK, token_check, token_check, true, false, true,
         PAWL__V1__REPLY__BODY_TOKEN_CHECK, NULL),
    CALL(REFUND, refund, refund, true, true, false, PAWL__V1__REPLY__BODY_REFUND,
         pawl_client_decode_refund),
    CALL(RESET, reset, reset, false, true, false, PAWL__V1__REPLY__BODY_RESET,
         pawl_client_decode_reset),
    CALL(REVOKE, revoke, revoke, false, true, false, PAWL__V1__REPLY__BODY_REVOKE,
         pawl_client_decode_revoke),
    CALL(UNREVOKE, unrevoke, unrevoke, false, true, false, PAWL__V1__REPLY__BODY_UNREVOKE,
         pawl_client_decode_unrevoke),
    CALL(ROTATE, rotate, rotate, false, true, true, PAWL__V1__REPLY__BODY_ROTATE,
         pawl_client_decode_rotate),
    CALL(FAMILY_OPEN, family_open, family_open, false, true, false,
         PAWL__V1__REPLY__BODY_FAMILY_OPEN, pawl_client_decode_family_open),
    CALL(FAMILY_END, family_end, revoke, false, true, false, PAWL__V1__REPLY__BODY_FAMILY_END,
         pawl_client_decode_revoke),
    CALL(LIMITS, limits, limits, false, false, false, PAWL__V1__REPLY__BODY_LIMITS,
         pawl_client_decode_limits),
    CALL(MEMBERS, members, members, false, false, false, PAWL__V1__REPLY__BODY_VIEW,
         pawl_client_decode_members),
    CALL(STATS, stats, stats, false, false, false, PAWL__V1__REPLY__BODY_STATS,
         pawl_client_decode_stats),
    CALL(THAW, thaw, thaw, false, true, false, PAWL__V1__REPLY__BODY_THAW, pawl_client_decode_thaw),
    CALL(RESERVE, reserve, reserve, true, true, false, PAWL__V1__REPLY__BODY_RESERVE,
         pawl_client_decode_reserve),
    CALL(COMMIT, commit, commit, true, true, false, PAWL__V1__REPLY__BODY_COMMIT,
         pawl_client_decode_commit),
    CALL(CANCEL_LEASE, cancel_lease, commit, true, true, false, PAWL__V1__REPLY__BODY_CANCEL,
         pawl_client_decode_commit),
    CALL(TOP, top, top, false, false, false, PAWL__V1__REPLY__BODY_TOP, pawl_client_decode_top),
    CALL(WATCH, watch, watch, false, false, false, PAWL__V1__REPLY__BODY_WATCH,
         pawl_client_decode_watch),
    CALL(PING, ping, ping, false, false, false, PAWL__V1__REPLY__BODY_PING, decode_nothing),
};

const struct call_type *pawl_client_call_type(enum pawl_call_kind kind)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].kind == kind) {
            return &types[i];
        }
    }
    return NULL;
}

uint32_t pawl_client_call_deadline(const struct call_type *type, const void *call)
{
    uint32_t value;

    memcpy(&value, (const uint8_t *)call + type->deadline_at, sizeof(value));
    return value;
}

uint64_t pawl_client_call_now(const struct call_type *type, const void *call)
{
    uint64_t value;

    memcpy(&value, (const uint8_t *)call + type->now_at, sizeof(value));
    return value;
}

struct pawl_str pawl_client_call_ns(const struct call_type *type, const void *call)
{
    struct pawl_str value;

    memcpy(&value, (const uint8_t *)call + type->ns_at, sizeof(value));
    return value;
}
