/*
 * The strict reading of a compact JWS (RFC 7515 section 7.1) before any library sees it: length,
 * three parts, canonical base64url, and the size and shape of its JSON.
 */
#ifndef PAWL_ADAPTER_JWT_JWS_H
#define PAWL_ADAPTER_JWT_JWS_H

#include "adapter/jwt/base64url.h"
#include "core/types.h"
#include "port/jwt.h"

#include <jansson.h>

#define PAWL_JWS_DECODED_MAX (PAWL_BASE64URL_DECODED(PAWL_JWT_BYTES_MAX) + 4)

#define PAWL_JWT_DEPTH_MAX   8   /* of a header or a payload; itself is 1 */
#define PAWL_JWT_MEMBERS_MAX 64  /* in all of it */
#define PAWL_JWT_VALUES_MAX  512 /* in all of it: members and elements of arrays */

/** The parts of a token: signed_part in the token, the others in the buffer. */
struct pawl_jws {
    struct pawl_bytes signed_part; /* header.payload as they stand */
    struct pawl_bytes header;
    struct pawl_bytes payload;
    struct pawl_bytes signature;
};

struct pawl_json_caps {
    unsigned depth, members, values;
};

/**
 * Take @raw apart into @jws. @buffer has PAWL_JWS_DECODED_MAX bytes.
 * OK, TOO_BIG, PARTS or BASE64.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_jws_split(struct pawl_bytes raw, uint8_t *buffer,
                                                  struct pawl_jws *jws);

/**
 * Whether @text stays within @caps, told from its brackets, colons and commas alone. It need not
 * be JSON.
 */
PAWL_MUST_USE bool pawl_json_within(struct pawl_bytes text, const struct pawl_json_caps *caps);

/**
 * Parse @text, within @caps, as one JSON object: UTF-8 that holds no NUL, no member twice at any
 * depth, nothing behind it. @out is the caller's to json_decref().
 * OK, JSON, DUPLICATE or INTERNAL (no memory); *@out is NULL unless OK.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_json_parse(struct pawl_bytes text,
                                                   const struct pawl_json_caps *caps, json_t **out);

#endif
