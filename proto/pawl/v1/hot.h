/*
 * The hot messages (check, token check and their replies), read and written without a copy and
 * without an allocation. Tested differentially against protobuf-c on the same pawl.proto.
 *
 * Reading leaves views into the input: they live as long as it does. Unknown fields are skipped, a
 * field seen twice takes the last value (proto3), a sub-message seen twice is merged field by
 * field, and of several bodies the last one holds. Pure functions, any thread.
 *
 * What is refused here is what the bytes alone show: not protobuf, a known number with another wire
 * type, groups, field number 0, varints over 64 bits, tags and lengths over 32 bits, and every
 * count and length over its cap, each occurrence of a field by itself. A hello and the claims of a
 * verdict are kept as bytes, unread: a second one is refused. Enums and 32-bit fields take the low
 * 32 bits of what was sent, as in protobuf. Ranges are for the dispatcher: op, mode, algorithm and
 * on_error known; precision, count, cost and window_ms within caps.h; digests of 32 bytes; a
 * limit's name or rates, not both; a period only with a name.
 */
#ifndef PAWL_V1_HOT_H
#define PAWL_V1_HOT_H

#include "core/status.h"
#include "pawl/v1/caps.h"

/** Numbers are those of the .proto; hot.c asserts it at compile time. */
enum pawl_wire_body {
    PAWL_BODY_NONE = 0,
    PAWL_BODY_CHECK = 16,
    PAWL_BODY_TOKEN_CHECK = 17,
    PAWL_BODY_COLD = 255, /* anything else: use protobuf-c */
};

struct pawl_wire_rate {
    uint64_t count;
    uint32_t window_ms;
    uint32_t algorithm;
    uint64_t burst;
    uint32_t period; /* calendar quotas are for named limits: the dispatcher refuses it */
};

struct pawl_wire_item {
    struct pawl_bytes limit;
    struct pawl_bytes key[PAWL_KEY_PARTS_MAX];
    uint32_t key_count;
    uint32_t rate_count;
    uint64_t cost; /* as sent: 0 means 1 */
    struct pawl_wire_rate rates[PAWL_RATES_MAX];
    uint32_t precision;
    uint32_t on_error;
    struct pawl_bytes tier;
};

struct pawl_wire_token {
    struct pawl_bytes issuer, jti, subject, client, key, sid;
    uint64_t iat, exp; /* seconds; 0 = none */
    struct pawl_bytes opaque_sha256, signed_sha256, raw, audience, type;
};

/** A decoded hot request. Big (about 20 KiB): one per worker, filled in place, reused. */
struct pawl_wire_request {
    uint64_t id;
    uint32_t deadline_ms;
    uint64_t now_ms;
    uint64_t view;
    bool forwarded;
    bool has_hello; /* hello holds the sub-message's bytes: unpack with protobuf-c */
    bool has_token;
    struct pawl_bytes namespace_;
    struct pawl_bytes hello;
    enum pawl_wire_body body;
    uint32_t op;   /* of check */
    uint32_t mode; /* of check */
    bool hold;     /* of check; between members */
    uint32_t item_count;
    struct pawl_wire_token token; /* where has_token */
    struct pawl_wire_item items[PAWL_ITEMS_MAX];
};

/**
 * Decode @message into @request.
 *
 * Only what the message holds is written: items beyond item_count, keys and rates beyond their
 * counts and a token without has_token keep old bytes. When the body is not hot, or a number from
 * 35 to 127 that only a later version knows, body is PAWL_BODY_COLD and the envelope's fields alone
 * are filled.
 *
 * Returns PAWL_OK, PAWL_EINVAL (not protobuf, wrong wire type of a known field, no body) or
 * PAWL_ETOOBIG (over a cap of caps.h). After an error request->id is the id when it could be read,
 * else 0, so that the refusal can be addressed.
 */
PAWL_MUST_USE PAWL_HOT enum pawl_status pawl_wire_read_request(struct pawl_wire_request *request,
                                                               struct pawl_bytes message);

/** A rate's result, as in RateResult of the .proto (units there). */
struct pawl_wire_result {
    uint64_t limit_count, count, remaining; /* as in struct pawl_limit_result: copied together */
    uint64_t oldest_age_ms, reset_after_ms, retry_after_ms;
    uint64_t charge;
    uint32_t window_ms, item, rate_index;
    bool never, allowed, shadow, overflow, contended, bypass, full; /* and on_error: 8 bytes */
    uint8_t on_error;
};

struct pawl_wire_token_verdict {
    uint32_t status, reason, scope;
    bool fresh;
    uint64_t staleness_ms;
    struct pawl_bytes detail;
    struct pawl_bytes claims; /* a packed Token message, or empty */
};

/** A reply to a hot request, or the envelope of a cold one. */
struct pawl_wire_reply {
    uint64_t id;
    uint32_t status;
    struct pawl_bytes error;
    struct pawl_bytes hello;  /* a packed HelloReply, or empty */
    uint64_t view_number;     /* with STATUS_MOVED */
    bool effect_unknown;      /* it may have been done */
    enum pawl_wire_body body; /* NONE: envelope only */
    uint32_t verdict;
    bool has_token;
    struct pawl_wire_token_verdict token;
    uint32_t result_count;
    struct pawl_wire_result *results; /* caller's array; reading: of PAWL_RESULTS_MAX */
};

/** Bytes that writing @reply, frame header included, takes at most. */
size_t pawl_wire_reply_bound(const struct pawl_wire_reply *reply);

/**
 * Write frame header and message at @out, which has room for pawl_wire_reply_bound().
 * Returns the bytes written.
 */
PAWL_HOT size_t pawl_wire_write_reply(uint8_t *out, const struct pawl_wire_reply *reply);

/**
 * The client's half: the same for requests. @request->hello is a packed Hello; it is sent when
 * has_hello is set or it is not empty. Bodies other than the two hot ones are not written.
 */
size_t pawl_wire_request_bound(const struct pawl_wire_request *request);
size_t pawl_wire_write_request(uint8_t *out, const struct pawl_wire_request *request);

/**
 * Decode a reply. body is PAWL_BODY_COLD for those protobuf-c has to read: the other bodies, and
 * anything with a goaway; the envelope's fields (id, status, error, hello) are filled for all.
 * Enums not known here are left as they came (a verdict that is neither ALLOW nor DENY is
 * UNDECIDED). @reply->results must point at an array of PAWL_RESULTS_MAX. Returns PAWL_OK,
 * PAWL_EINVAL or PAWL_ETOOBIG.
 */
PAWL_MUST_USE enum pawl_status pawl_wire_read_reply(struct pawl_wire_reply *reply,
                                                    struct pawl_bytes message);

#endif
