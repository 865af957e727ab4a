/*
 * The strict taking apart of a compact JWS (RFC 7515 section 7.1) before any library sees it:
 * length, three parts, canonical base64url.
 */
#ifndef PAWL_ADAPTER_JWT_JWS_H
#define PAWL_ADAPTER_JWT_JWS_H

#include "adapter/jwt/base64url.h"
#include "core/types.h"
#include "port/jwt.h"

#define PAWL_JWS_DECODED_MAX (PAWL_BASE64URL_DECODED(PAWL_JWT_BYTES_MAX) + 4)

/** The parts of a token: signed_part in the token, the others in the buffer. */
struct pawl_jws {
    struct pawl_bytes signed_part; /* header.payload as they stand */
    struct pawl_bytes header;
    struct pawl_bytes payload;
    struct pawl_bytes signature;
};

/**
 * Take @raw apart into @jws. @buffer has PAWL_JWS_DECODED_MAX bytes.
 * OK, TOO_BIG, PARTS or BASE64.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_jws_split(struct pawl_bytes raw, uint8_t *buffer,
                                                  struct pawl_jws *jws);

#endif
